// Threshold: move it or choose it by a rule, on validation images; store it with a reason, and look at the test once.
import { fill, give, h, icon, images, localTime, number } from "../core/dom.js";
import { badge, button, empty, form, labelled, note, panel, quiet } from "../core/parts.js";
import { stateChoice, submit, table } from "../core/parts.js";
import { card, look } from "../core/strip.js";
import { decisionCurve, explorer, percent } from "/shared/curves.js";

const WAIT_MS = 150, MOST_IMAGES = 12, LONGEST_REASON = 1000;
const short = (value) => Number(value.toPrecision(3)).toString();
const ends = ({ band, value }) => (band ? band.map(short).join(" – ") : short(value));
const numeral = (text) => (text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** Four shares as a table of one row, and the counts behind them. */
function figureTable({ shares, counted }, label) {
  const cell = ({ name, says, range }) => h("span", { "data-figure": name }, says, h("small", range));
  const heads = shares.map((one) => one.label);
  return [table(heads, [shares.map(cell)], { label, looks: "figures", title: -1 }), quiet(counted)];
}

/** Images with their labels and probabilities; ✓ where the call at this threshold is right. */
function strip(context, { run, positive, n_test: tested }, items, at) {
  const address = tested ? { run } : {}; // only test predictions can be laid beside the images of the grid
  return h("ul.strip", items.map((item) => {
    const right = (item.label === positive) === (item.p >= at), p = `probability of ${positive} ${percent(item.p)}`;
    const says = `${item.label}, ${p}`;
    const open = () => look(context, item, address, h("p", "Label ", h("b", item.label), `; ${p}.`));
    return card(context, item, { right, says, open }, h("span.number", ` ${percent(item.p)}`));
  }));
}

/** The ways to choose by a rule; `choose(arguments)` is told which. */
function rules({ positive }, choose, said) {
  const field = (name, value, text, unit, extra = {}) => {
    const typed = { type: "number", step: "any", min: 0, max: name === "cost" ? null : 100, required: true };
    return labelled(text, [h("input.field", { ...typed, name, value, ...extra }), unit]);
  };
  const sent = (method) => (node) => {
    const inputs = [...node.querySelectorAll("input")];
    const typed = inputs.filter(({ type, value }) => type === "number" && value);
    const values = typed.map(({ name, value }) => [name, Number(value) / (name === "cost" ? 1 : 100)]);
    choose({ method, ...Object.fromEntries(values), ...(inputs.some(({ checked }) => checked) && { surely: true }) });
  };
  const line = (method, text, ...fields) =>
    give(form("bar", sent(method), fields, submit(text)), { "aria-label": text });
  return h("section.panel.rules", h("h2", "Choose by a rule"),
    line("sensitivity", "Reach this sensitivity", field("sensitivity", 95, "Sensitivity of at least", "%"),
      h("label.check", h("input", { type: "checkbox" }), "by the lower end of its interval")),
    line("cost", "Least cost", field("cost", 10, `A missed ${positive} is as bad as`, "false alarms"),
      field("prevalence", "", "at a prevalence of", "%", { required: false, placeholder: "as here" })),
    line("band", "Leave the rest to a person", field("sensitivity", 95, "Sensitivity", "%"),
      field("specificity", 95, "and specificity", "%")),
    line("youden", "Youden’s index", h("span.quiet", "Most of sensitivity + specificity")), said);
}

/** What was chosen since training, and what that means for the test set. */
function record({ choices, looks, shared }) {
  const rows = [...choices].reverse().map((one) => [localTime(one.at), one.by, ends(one), one.rule, one.why]);
  const elsewhere = h("code", "tellapart evaluate");
  return [looks ? h("p.looks", looks)
    : quiet("This run has no test set: test the model on other images with ", elsewhere, "."), shared && note(shared),
  rows.length > 0 && h("details", h("summary", "Who chose what, when and why"),
    table(["When", "Who", "Threshold", "Rule", "Why"], rows, { label: "Choices" }))];
}

/** The answer to using a threshold: the test's figures, once, and what to do about copies of the model. */
const outcome = ({ in_use: used, test, elsewhere }) => [h("h3", icon("accept"), ` ${short(used.value)} is in use`),
  test && [h("p", h("b", test.says)), figureTable(test, "Figures on the test set"), test.band && h("p", test.band)],
  h("p", "Model card, report, metrics and predictions of the run agree with it. Older copies do not, until you run:"),
  h("dl.elsewhere", elsewhere.map(({ where, command }) => [h("dt", where), h("dd", h("code", command))]))];

/** Mount the view; the address holds run, class, `at` (the threshold that moves) and `and` (a band's other end). */
export async function mount(root, context) {
  const { ask, state, overview } = context;
  let data, plot, places, rule = null, at = null, other = null, drawn = null, asked = 0, timer;
  const key = () => JSON.stringify([state.get("run"), state.get("class")]);
  const indexOf = (value) => (value === null ? undefined : data.points.thresholds.indexOf(value));
  const failed = (error) => {
    if (!("status" in error)) throw error;
    context.complain(error);
  };
  /** Get the counts, with the thresholds of the address among them, and draw what changed. */
  async function load() {
    const mine = ++asked, named = { run: state.get("run"), class: state.get("class") };
    const wanted = { at: numeral(state.get("at")), and: numeral(state.get("and")) };
    const found = await ask("threshold", { ...named, ...wanted });
    if (mine !== asked) return null;
    data = found;
    if (data.missing) {
      drawn = key();
      return fill(root, top(), empty("No threshold to choose here", data.missing));
    }
    const band = wanted.at === null ? data.in_use?.band : null;
    [at, other] = band ?? [wanted.at ?? data.points.thresholds[data.points.start], wanted.and];
    if (elsewhere()) return load();
    if (drawn !== key()) skeleton();
    plot = explorer({ classes: [data.points], macro: null }, moved);
    fill(places.plot, plot.element);
    const { positive: name, utility: points } = data;
    fill(places.utility, decisionCurve({ title: `Net benefit, ${name}`, name, points }));
    return show();
  }
  /** Whether a threshold is not among those that we have; then the address names it, so that it is asked for. */
  function elsewhere() {
    const missing = [at, other].some((value) => indexOf(value) === -1);
    if (missing) state.set({ at, and: other });
    return missing;
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
    fill(places.rule);
    details();
  }
  function go(to, how = null) {
    [[at, other], rule] = [to, how];
    if (!rule) fill(places.rule);
    return elsewhere() ? load() : show();
  }
  async function choose(how) {
    try {
      const found = await ask("choose", { run: data.run, class: data.positive, ...how });
      await go(found.band ? [...found.band] : [found.value, null], how);
      fill(places.rule, `${ends(found)}: ${found.rule}.`);
    } catch (error) { failed(error); }
  }
  /** What depends on the threshold, once it rests: the address, the band, the images. */
  function details() {
    places.use.disabled = at === null || !data.storable;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (at === null) return;
      const mine = ++asked, named = { run: data.run, class: data.positive };
      state.set({ at, and: other });
      const wanted = { ...named, at, and: other, from: data.in_use?.value, count: MOST_IMAGES };
      const found = await ask("near", wanted).catch(failed);
      if (mine !== asked || !found) return;
      fill(places.band, bandPart(found.band));
      fill(places.images, imagePart(found));
    }, WAIT_MS);
  }
  function bandPart(band) {
    if (!band) {
      const split = () => go([data.points.thresholds[Math.max(0, indexOf(at) - 5)], at]);
      return [quiet("With a second threshold, images between the two are referred to a person, and the service ",
        "answers that it abstains."), button("Set a second threshold", split)];
    }
    return [h("p", band.says), h("h3", "Of the rest"), figureTable(band, "Figures of the images that are not referred"),
    h("div.bar", button(`Move the other end (${short(other)})`, () => go([other, at], rule)),
      button("One threshold only", () => go([at, null]))),
    quiet("The square marks the end that rests. Who ignores that the service abstains gets the label ",
      `${data.positive} there.`)];
  }
  function imagePart({ nearest, flips }) {
    const from = Math.min(at, other ?? at), { items, says } = flips;
    return [data.in_use && [h("h2", "What changes"), h("p", says)],
      items.length > 0 && strip(context, data, items, from),
      h("h2", "Nearest to the threshold"), strip(context, data, nearest, from)];
  }
  /** The bar at the top: which run, which class. */
  function top() {
    const select = (says, name, names, chosen) =>
      labelled(says, stateChoice(state, name, names, { chosen, also: { at: null, and: null } }));
    return h("div.bar", data.runs.length > 0 && select("Run", "run", data.runs, data.run),
      data.class_names?.length > 2 && select("Class against the rest", "class", data.class_names, data.positive));
  }
  function skeleton() {
    drawn = key();
    const { positive, class_names: names, basis } = data;
    const why = h("textarea.field", { rows: 2, required: true, maxlength: LONGEST_REASON });
    const told = h("div.told", { role: "status" }), past = h("div", record(data));
    const use = submit("Use this threshold", "primary"), ruled = h("p.said", { role: "status" });
    places = { plot: h("div"), utility: h("div"), band: h("div"), images: h("section"), rule: ruled, use };
    const send = async () => {
      if (use.disabled) return;
      use.disabled = true;
      fill(told, quiet("Writing it, and asking the test set; with many images this takes a minute …"));
      const how = rule ?? { method: "hand", at, and: other }, seen = data.in_use.value;
      const answer = await ask("use_threshold", { run: data.run, ...how, why: why.value, seen }).catch(failed);
      use.disabled = false;
      if (!answer) return void fill(told);
      why.value = "";
      fill(told, outcome(answer));
      fill(past, record({ ...data, ...answer }));
      await load();
    };
    const cannot = names.length > 2
      ? ["A threshold is stored for models of two classes; with more, the answer is the most probable class. ",
        "Here it is only to look at."]
      : overview.read_only && "This studio only reads.";
    fill(root, top(), h("p.basis", badge("validation data", "good"), " ", basis),
    places.plot, h("p.quiet.hint",
      "Click or drag on a curve, or move the slider with the arrow keys. Give the prevalence where the model is to be ",
      "used, and PPV and NPV are those to expect there, with a range from the ends of the intervals of sensitivity ",
      "and specificity."),
    h("div.split",
      h("div", rules(data, choose, places.rule), panel("Leave a band to a person", places.band),
        panel("Is it of use? The decision curve", places.utility,
          quiet(`Net benefit of the model (full line) against calling all images ${positive} (dashed) or none `,
            "(dotted), for those who would act from a probability on."))),
      h("div", panel("Use it", cannot ? quiet(cannot) : form("reason", send,
        h("label", "Why this threshold? The reason goes into the model’s card.", why),
        h("div.bar", use, h("span.quiet", "Then shows the test figures at it, once."))), told, past))), places.images);
  }
  context.on("state", () => {
    if (drawn !== key()) return load().catch(failed);
    const [first, second] = ["at", "and"].map((name) => numeral(state.get(name)));
    if (data.missing || ((first ?? at) === at && second === other)) return undefined;
    rule = null;
    return load().catch(failed);
  });
  await load();
  return () => { clearTimeout(timer); asked += 1; };
}
