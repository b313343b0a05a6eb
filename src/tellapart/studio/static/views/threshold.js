// Threshold: move it or choose it by a rule, on validation images; store it with a reason, and look at the test once.
import { clear, dialog, h, icon, number } from "../core/dom.js";
import { decisionCurve, explorer, percent } from "/shared/curves.js";

export const title = "Threshold";

const SHARES = { sensitivity: "Sensitivity", specificity: "Specificity", ppv: "PPV", npv: "NPV" };
const WAIT_MS = 150, SHOWN = 12;

const images = (n) => `${number(n)} ${n === 1 ? "image" : "images"}`;
const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${n} times`);
const short = (value) => Number(value.toPrecision(3)).toString();
const day = (at) => at.replace("T", " ").slice(0, 16);
const range = (ends) => (ends ? `${percent(ends[0]).replace(" %", "")} to ${percent(ends[1])}` : "no interval");
const numeral = (text) => (text === null || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));
const share = ({ value, ci95 }) => [percent(value ?? NaN), h("small", {}, value === null ? "no such image" : range(ci95))];

/** Four shares as a table of one row, and the counts behind them. @param {object} told {tp, fp, fn, tn, figures} */
function figureTable(told, label) {
  const shares = Object.entries(SHARES);
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", { class: "table figures" },
    h("thead", {}, h("tr", {}, shares.map(([, name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, h("tr", {}, shares.map(([key]) => h("td", { "data-figure": key }, share(told.figures[key]))))))),
  h("p", { class: "quiet" }, `${number(told.tp)} true and ${number(told.fp)} false positives, ${number(told.tn)} true and ${number(told.fn)} false negatives.`)];
}

/** One validation image, whole. */
function look(context, run, item, name) {
  const picture = h("img", { class: "whole", alt: item.id });
  context.showFull(picture, item);
  const content = h("div", {}, picture, h("p", { class: "path" }, item.id), h("p", {}, "Label ", h("b", {}, item.label), `; probability of ${name} ${percent(item.p)}.`));
  return dialog(item.id.split("/").pop(), content, [{ value: "grid", text: "Open in the grid" }, { value: null, text: "Close", primary: true }])
    .then((answer) => answer === "grid" && context.go("grid", { search: item.id, run }));
}

/** Images with their labels and probabilities; ✓ where the call at this threshold is right. */
function strip(context, { run, positive }, items, at) {
  return h("ul", { class: "strip" }, items.map((item) => {
    const picture = h("img", { alt: "", loading: "lazy", width: 160, height: 160 });
    if (item.i !== null) context.show(picture, item);
    const right = (item.label === positive) === (item.p >= at);
    return h("li", {}, h("button", { type: "button", class: "picture", disabled: item.i === null, "aria-label": `${item.id}: ${item.label}, probability of ${positive} ${percent(item.p)}; look closely`, click: () => look(context, run, item, positive) },
      item.i === null ? h("span", { class: "quiet" }, "not in this folder") : picture),
      h("p", {}, h("b", { class: right ? "" : "miss" }, right ? "✓ " : "✗ ", item.label), h("span", { class: "number" }, ` ${percent(item.p)}`)));
  }));
}

/** The ways to choose by a rule; `choose(arguments)` is told which. */
function rules({ positive }, choose, said) {
  const field = (name, value, text, unit, extra = {}) => h("label", { class: "check" }, text, h("input", { class: "field", type: "number", name, value, step: "any", min: 0, ...extra }), unit);
  const line = (method, text, ...fields) => h("form", { class: "bar", "aria-label": text, submit: (event) => {
    event.preventDefault();
    const said = Object.fromEntries([...event.target.querySelectorAll("input")].filter((one) => one.type !== "checkbox" && one.value !== "")
      .map((one) => [one.name, Number(one.value) / (one.name === "cost" ? 1 : 100)]));
    choose({ method, ...said, ...(event.target.querySelector("[type=checkbox]")?.checked && { surely: true }) });
  } }, fields, h("button", { class: "button" }, text));
  return h("section", { class: "panel rules" }, h("h2", {}, "Choose by a rule"),
    line("sensitivity", "Reach this sensitivity", field("sensitivity", 95, "Sensitivity of at least", "%", { max: 100, required: true }),
      h("label", { class: "check" }, h("input", { type: "checkbox" }), "by the lower end of its interval")),
    line("cost", "Least cost", field("cost", 10, `A missed ${positive} is as bad as`, "false alarms", { required: true }), field("prevalence", "", "at a prevalence of", "%", { max: 100, placeholder: "as here" })),
    line("band", "Leave the rest to a person", field("sensitivity", 95, "Sensitivity", "%", { max: 100, required: true }), field("specificity", 95, "and specificity", "%", { max: 100, required: true })),
    line("youden", "Youden’s index", h("span", { class: "quiet" }, "Most of sensitivity + specificity")), said);
}

/** What was chosen since training, and what that means for the test set. */
function record({ choices, n_test: nTest, overlap }) {
  const row = (one) => h("tr", {}, h("td", { class: "number" }, day(one.at)), h("td", {}, one.by), h("td", { class: "n" }, one.band ? one.band.map(short).join(" – ") : short(one.value)), h("td", {}, one.rule), h("td", {}, one.why));
  return [
    !nTest && h("p", { class: "quiet" }, "This run has no test set: test the model on other images with ", h("code", {}, "tellapart evaluate"), "."),
    nTest > 0 && h("p", { class: "looks" }, `The test set of this run (${images(nTest)}) has been looked at ${times(choices.length + 1)}: after training`,
      choices.length > 0 && `, and with ${choices.length === 1 ? "one choice" : `each of ${choices.length} choices`} of a threshold`, ". Choosing again because of what the test said makes its figures optimistic."),
    overlap > 0 && h("p", { class: "note" }, icon("warning"), ` ${number(overlap)} of the ${number(nTest)} test images are also among these validation images, as after a cross-validation: test figures at a threshold chosen here are optimistic.`),
    choices.length > 0 && h("details", {}, h("summary", {}, "Who chose what, when and why"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Choices" }, h("table", { class: "table" },
      h("thead", {}, h("tr", {}, ["When (UTC)", "Who", "Threshold", "Rule", "Why"].map((name) => h("th", { scope: "col", class: name === "Threshold" ? "n" : "" }, name)))), h("tbody", {}, [...choices].reverse().map(row))))),
  ];
}

/** The answer to using a threshold: the test's figures, once, and what to do about copies of the model. */
function outcome({ in_use: used, test, elsewhere, overlap }) {
  return [h("h3", {}, icon("accept"), ` ${short(used.value)} is in use`),
    test && h("p", {}, h("b", {}, `On the test set (${images(test.n)})`), overlap ? ", which shares images with the validation data:" : ", shown here once; the report keeps them:"),
    test && figureTable(test, "Figures on the test set"),
    test?.referral.referred && h("p", {}, `With the band, ${percent(test.referral.referred.value)} (${range(test.referral.referred.ci95)}) go to a person; of the rest, sensitivity is ${percent(test.referral.sensitivity.value ?? NaN)} (${range(test.referral.sensitivity.ci95)}) and specificity ${percent(test.referral.specificity.value ?? NaN)} (${range(test.referral.specificity.ci95)}). Above, images of the band count as positive.`),
    h("p", {}, "Model card, report, metrics and predictions of the run agree with it. Copies made before do not, until you run:"),
    h("dl", { class: "copies" }, elsewhere.map(({ where, command }) => [h("dt", {}, where), h("dd", {}, h("code", {}, command))]))];
}

/** Mount the view; the address holds run, class, `at` (the threshold that moves) and `and` (a band's other end). */
export async function mount(root, context) {
  const { ask, state } = context;
  let data, plot, places, rule = null, at = null, other = null, drawn = null, asked = 0, timer;
  const key = () => JSON.stringify([state.get().get("run"), state.get().get("class")]);
  const indexOf = (value) => (value === null ? undefined : data.points.thresholds.indexOf(value));
  const failed = (error) => {
    if (!("status" in error)) throw error;
    context.toast(error.message, { kind: "error" });
  };

  /** Get the counts, with the thresholds of the address among them, and draw what changed. */
  async function load() {
    const [address, mine] = [state.get(), ++asked];
    const ends = { at: numeral(address.get("at")), and: numeral(address.get("and")) };
    const found = await ask("threshold", { run: address.get("run"), class: address.get("class"), ...ends });
    if (mine !== asked) return;
    data = found;
    if (data.missing) {
      drawn = key();
      return void clear(root).append(top(), h("div", { class: "empty" }, h("h2", {}, "No threshold to choose here"), h("p", {}, data.missing)));
    }
    const band = ends.at === null ? data.in_use?.band : null;
    [at, other] = band ?? [ends.at ?? data.points.thresholds[data.points.start], ends.and];
    if ([at, other].some((value) => indexOf(value) === -1)) { state.set({ at, and: other }); return load(); }
    if (drawn !== key()) skeleton();
    plot = explorer({ classes: [data.points], macro: null }, moved);
    clear(places.plot).append(plot.element);
    clear(places.utility).append(decisionCurve({ title: `Net benefit, ${data.positive}`, name: data.positive, points: data.utility }));
    show();
  }

  /** Put the marker where `at` is, and ask for what stands beside the curves. */
  function show() {
    plot.place(indexOf(at), indexOf(other));
    details();
  }
  function moved(index) {
    const value = data.points.thresholds[index];
    if (value === at) return;
    [at, rule] = [value, null];
    clear(places.rule);
    details();
  }
  function go(to, how) {
    [at, other] = to;
    rule = how ?? null;
    if (!rule) clear(places.rule);
    if ([at, other].some((value) => indexOf(value) === -1)) { state.set({ at, and: other }); return load(); }
    return show();
  }
  const choose = (how) => ask("choose", { run: data.run, class: data.positive, ...how }).then(async (found) => {
    await go(found.band ? [...found.band] : [found.value, null], how);
    clear(places.rule).append(`${found.band ? found.band.map(short).join(" – ") : short(found.value)}: ${found.rule}.`);
  }).catch(failed);

  /** What depends on the threshold, once it rests: the address, the band, the images. */
  function details() {
    places.use.disabled = at === null || !data.storable;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (at === null) return;
      const mine = ++asked;
      state.set({ at, and: other });
      const found = await ask("near", { run: data.run, class: data.positive, at, and: other, from: data.in_use?.value, count: SHOWN }).catch(failed);
      if (mine !== asked || !found) return;
      clear(places.band).append(...bandPart(found.band).flat());
      clear(places.images).append(...imagePart(found).filter(Boolean));
    }, WAIT_MS);
  }

  function bandPart(band) {
    if (!band) {
      const split = () => { const i = indexOf(at); go([data.points.thresholds[Math.max(0, i - 5)], at]); };
      return [h("p", { class: "quiet" }, "With a second threshold, images between the two are referred to a person, and the service answers that it abstains."), h("button", { type: "button", class: "button", click: split }, "Set a second threshold")];
    }
    const [low, high] = at < other ? [at, other] : [other, at];
    const n = data.n, { referred } = band.figures;
    return [h("p", {}, `Below ${short(low)} the model says ${data.others}, from ${short(high)} ${data.positive}. In between, ${number(band.referred)} of ${images(n)} go to a person: ${percent(referred.value)} (${range(referred.ci95)}).`),
      h("h3", {}, "Of the rest"), figureTable(band, "Figures of the images that are not referred"),
      h("div", { class: "bar" }, h("button", { type: "button", class: "button", click: () => go([other, at], rule) }, `Move the other end (${short(other)})`), h("button", { type: "button", class: "button", click: () => go([at, null]) }, "One threshold only")),
      h("p", { class: "quiet" }, `The square marks the end that rests. Who ignores that the service abstains gets the label ${data.positive} there.`)];
  }

  function imagePart({ nearest, flips }) {
    const n = flips.gained + flips.lost;
    const from = Math.min(at, other ?? at);
    const to = flips.gained ? data.positive : data.others;
    return [data.in_use && h("h2", {}, "What changes"),
      data.in_use && h("p", {}, n ? `Against the threshold in use, ${short(data.in_use.value)}, ${images(n)} ${n === 1 ? "becomes" : "become"} ${to}: ${number(flips.right)} of them rightly, ${number(n - flips.right)} wrongly.` : `No image is called otherwise than at the threshold in use, ${short(data.in_use.value)}.`),
      n > 0 && strip(context, data, flips.items, from), h("h2", {}, "Nearest to the threshold"), strip(context, data, nearest, from)];
  }

  /** The bar at the top: which run, which class. */
  function top() {
    const select = (label, name, names, chosen) => h("label", { class: "check" }, label, h("select", { class: "field", change: (event) => state.set({ [name]: event.target.value, at: null, and: null }, { push: true }) },
      names.map((one) => h("option", { value: one, selected: one === chosen }, one))));
    return h("div", { class: "bar" }, data.runs.length > 0 && select("Run", "run", data.runs, data.run),
      data.class_names?.length > 2 && select("Class against the rest", "class", data.class_names, data.positive));
  }

  function useful() {
    return h("section", { class: "panel" }, h("h2", {}, "Is it of use? The decision curve"), places.utility,
      h("p", { class: "quiet" }, `Net benefit of the model (full line) against calling all images ${data.positive} (dashed) or none (dotted), for those who would act from a probability on.`));
  }

  function skeleton() {
    drawn = key();
    const why = h("textarea", { class: "field", rows: 2, id: "why", required: true, maxlength: 1000 });
    const told = h("div", { class: "told", role: "status" });
    const past = h("div", {}, record(data).filter(Boolean));
    const use = h("button", { class: "button primary" }, "Use this threshold");
    const { positives, negatives } = data.points;
    places = { plot: h("div"), utility: h("div"), band: h("div"), images: h("section"), rule: h("p", { class: "said", role: "status" }), use };
    const submit = async (event) => {
      event.preventDefault();
      if (use.disabled) return;
      use.disabled = true;
      clear(told).append(h("p", { class: "quiet" }, "Writing it, and asking the test set; with many images this takes a minute …"));
      const how = rule ?? { method: "hand", at, and: other };
      const answer = await ask("use_threshold", { run: data.run, ...how, why: why.value, seen: data.in_use.value }).catch((error) => { clear(told); failed(error); });
      use.disabled = false;
      if (!answer) return;
      why.value = "";
      clear(told).append(...outcome(answer).flat().filter(Boolean));
      clear(past).append(...record({ ...data, ...answer }).filter(Boolean));
      await load();
    };
    const cannot = data.class_names.length > 2 ? "A threshold is stored for models of two classes; with more, the answer is the most probable class. Here it is only to look at." : context.overview.read_only ? "This studio only reads." : null;
    clear(root).append(top(),
      h("p", { class: "basis" }, h("span", { class: "badge good" }, "validation data"), ` ${images(data.n)}, ${number(positives)} ${data.positive} and ${number(negatives)} ${data.others}, ${data.data === "out-of-fold" ? "each scored by a model that had not learned from it (out of fold)" : "which the model did not learn from"}. The test set is not in any figure here. Intervals are 95 %${data.unit === "groups" ? ", images of one group counted together" : ""}.`),
      places.plot, h("p", { class: "quiet hint" }, "Click or drag on a curve, or move the slider with the arrow keys. Give the prevalence where the model is to be used, and PPV and NPV are those to expect there, with a range from the ends of the intervals of sensitivity and specificity."),
      h("div", { class: "split" },
        h("div", {}, rules(data, choose, places.rule), h("section", { class: "panel" }, h("h2", {}, "Leave a band to a person"), places.band), useful()),
        h("div", {}, h("section", { class: "panel" }, h("h2", {}, "Use it"),
          cannot ? h("p", { class: "quiet" }, cannot) : h("form", { submit }, h("label", { for: "why" }, "Why this threshold? The reason goes into the model’s card."), why, h("div", { class: "bar" }, use, h("span", { class: "quiet" }, "Then shows the test figures at it, once."))),
          told, past))),
      places.images);
  }

  context.on("state", () => {
    const address = state.get();
    if (drawn !== key()) return load().catch(failed);
    if (data.missing || (numeral(address.get("at")) ?? at) === at && numeral(address.get("and")) === other) return undefined;
    rule = null;
    return load().catch(failed);
  });
  await load();
  return () => { clearTimeout(timer); asked += 1; };
}
