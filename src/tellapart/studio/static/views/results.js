// Results: what a run's predictions are worth, the images behind each number, and how two runs differ.
import { announce, clear, dialog, h, icon, interval, number, percent } from "../core/dom.js";

export const title = "Results";

const SHARES = {
  sensitivity: "Sensitivity", specificity: "Specificity", ppv: "PPV", npv: "NPV",
  accuracy: "Accuracy", balanced_accuracy: "Balanced accuracy", precision: "Precision", recall: "Recall",
};
const OTHERS = {
  roc_auc_macro: "ROC AUC", average_precision_macro: "Average precision", mcc: "Matthews’ coefficient", f1: "F1", roc_auc: "ROC AUC",
  lr_positive: "Likelihood ratio +", lr_negative: "Likelihood ratio −", log_loss: "Log loss", brier: "Brier score", ece: "Calibration error",
};
const FIRST = { true: ["sensitivity", "specificity", "roc_auc_macro", "accuracy", "ppv", "npv"], false: ["accuracy", "balanced_accuracy", "roc_auc_macro", "mcc"] };
const KINDS = { wrong: "Wrong", confident: "Confident and wrong", uncertain: "Least certain", right: "Right" };
const OUTCOMES = { "both right": "Both right", fixed: "Fixed", broken: "Broken", "both wrong": "Both wrong" };
const PAGE = 24, POLL_MS = 400;

const nameOf = (figure) => SHARES[figure] ?? OTHERS[figure];
const value = (figure, { value: v }) => (v === null ? "not defined" : figure in SHARES ? percent(v) : v.toFixed(3));
const bounds = (figure, { ci95 }) => (!ci95 ? "no interval" : figure in SHARES ? interval(ci95) : ci95.map((v) => v.toFixed(3)).join("–"));
const images = (n) => `${number(n)} ${n === 1 ? "image" : "images"}`;
/** A list of names for the grid's address, where commas part them. */
const listed = (names) => names.map((name) => name.replace(/[\\,]/g, "\\$&")).join(",");

/**
 * A part of the page, drawn anew when one of its parameters changes. A late answer is dropped, focus is kept.
 * @param {string[]} names of parameters @param {function(URLSearchParams): Promise<Node[]>} draw
 */
function part(root, context, names, draw) {
  const box = root.appendChild(h("section"));
  let shown = null;
  return async (anew = false) => {
    const state = context.state.get();
    const now = JSON.stringify(names.map((name) => state.get(name)));
    if (now === shown && !anew) return;
    shown = now;
    const nodes = await draw(state).catch((error) => {
      if (!("status" in error)) throw error;
      return [h("p", { class: "note", role: "alert" }, icon("warning"), ` ${error.message} `, state.get("run") && h("button", { type: "button", class: "link", click: () => context.state.set({ run: null, with: null, outcome: null }) }, "Show the first run"))];
    });
    if (shown !== now) return;
    const key = box.contains(document.activeElement) && document.activeElement.dataset.key;
    clear(box).append(...nodes.flat().filter(Boolean));
    if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  };
}

/** A share with its interval as a line from 0 to 1; says nothing that the text beside it does not. */
function span({ value: at, ci95 }) {
  if (at === null || !ci95) return null;
  return h("span", { class: "span", "aria-hidden": "true", style: { "--low": ci95[0], "--high": ci95[1], "--at": at } }, h("i"), h("b"));
}

const cell = (figure, estimate) => h("td", { class: "n", title: estimate.method }, value(figure, estimate), h("small", {}, bounds(figure, estimate)));
const scrolling = (label, table) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);

/** The bar at the top: which run, compared with which, under which labels. */
function toolbar({ run, runs, relabelled, excluded, corrected }, context, other) {
  const choose = (label, key, names, chosen, none) => h("label", { class: "check" }, label,
    h("select", { class: "field", "data-key": key, change: (event) => context.state.set({ [key]: event.target.value, outcome: null }, { push: true }) },
      none && h("option", { value: "" }, none), names.map((name) => h("option", { value: name, selected: name === chosen }, name))));
  return h("div", { class: "bar" },
    choose("Run", "run", runs, run),
    runs.length > 1 && choose("Compare with", "with", runs.filter((name) => name !== run), other, "no other run"),
    (relabelled > 0 || excluded > 0 || corrected) && h("label", { class: "check" },
      h("input", { type: "checkbox", "data-key": "corrected", checked: corrected, change: (event) => context.state.set({ corrected: event.target.checked ? "yes" : null }) }),
      "Figures under corrected labels"));
}

/** What was corrected since the run, and what to do about it. */
function correctionNote({ relabelled, excluded, corrected, not_here: notHere, metrics }, context) {
  const said = [
    relabelled && `${relabelled} of these labels ${relabelled === 1 ? "was" : "were"} corrected`,
    excluded && `${images(excluded)} ${excluded === 1 ? "was" : "were"} left out`,
  ].filter(Boolean).join(" and ");
  return [
    said && h("p", { class: "note" }, icon("warning"), ` ${said} since this run: `,
      h("button", { type: "button", class: "link", "data-key": "retrain", click: () => context.go("training") }, "retrain"), " or re-evaluate. ",
      corrected ? "These figures are worked out anew under the labels in force; the run’s own stay as they are stored."
        : "The figures below are those that the run stored; the grid shows labels as they are now, so that a cell may open fewer or more images."),
    notHere > 0 && h("p", { class: "quiet" }, `${images(notHere)} of ${number(metrics.n_samples)} that this run tested ${notHere === 1 ? "is" : "are"} not in this folder and cannot be shown.`),
  ];
}

function headline({ metrics, test_set: testSet }) {
  const two = "threshold" in metrics;
  const first = FIRST[two].filter((figure) => metrics[figure]);
  const rest = [...Object.keys(SHARES), ...Object.keys(OTHERS)].filter((figure) => metrics[figure]?.method && !first.includes(figure));
  const { unit, n_units: units } = metrics.resampled ?? {};
  const line = (figure) => h("tr", {}, h("th", { scope: "row" }, nameOf(figure)), cell(figure, metrics[figure]));
  return [
    h("p", {}, `${images(metrics.n_samples)}${unit === "groups" ? ` of ${number(units)} groups` : ""}, ${testSet}. Intervals are at 95 %.`,
      two && ` From a probability of ${metrics.threshold.toFixed(3)} on, the answer is “${metrics.positive}” (${metrics.threshold_chosen_on === "default" ? "a threshold that nobody chose" : `${metrics.threshold_rule}, chosen on ${metrics.threshold_chosen_on} data`}).`),
    h("ul", { class: "cards" }, first.map((figure) => h("li", { title: metrics[figure].method },
      h("h3", {}, nameOf(figure)), h("p", { class: "value" }, value(figure, metrics[figure])), span(metrics[figure]), h("p", { class: "quiet number" }, bounds(figure, metrics[figure]))))),
    rest.length > 0 && h("details", {}, h("summary", {}, "All figures"), h("table", { class: "table" }, h("tbody", {}, rest.map(line)))),
  ];
}

/** The confusion matrix: every number that is not 0 is a button that opens its images in the grid. */
function confusion({ metrics, run, labels, corrected }, context) {
  const names = metrics.class_names;
  const open = (actual, called) => context.go("grid", { label: listed(labels[actual]), predicted: listed([called]), run, ...(corrected && { excluded: "no" }) });
  const row = (counts, i) => {
    const total = counts.reduce((sum, n) => sum + n, 0);
    return h("tr", {}, h("th", { scope: "row" }, names[i], h("small", {}, images(total))), counts.map((n, j) => {
      const share = total ? n / total : 0;
      const told = `${names[i]}, called ${names[j]}: ${n} of ${images(total)}, ${percent(share, 0)}`;
      const shown = [h("b", {}, number(n)), names.length <= 8 && h("small", {}, percent(share, 0))];
      return h("td", { class: i === j ? "right" : "wrong", style: { "--share": share } },
        n ? h("button", { type: "button", "aria-label": `${told}; show them`, title: told, "data-key": `cell ${i} ${j}`, click: () => open(names[i], names[j]) }, shown) : h("span", {}, shown));
    }));
  };
  return h("div", {}, h("h2", {}, "Confusion matrix"),
    scrolling("Confusion matrix", h("table", { class: "confusion", "aria-label": "Confusion matrix", keydown: moveAmongCells },
      h("thead", {}, h("tr", {}, h("td", {}, h("small", {}, "predicted →"), h("small", {}, "label ↓")), names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, metrics.confusion_matrix.map(row)))),
    h("p", { class: "quiet" }, "Rows are the labels, columns the predictions; shade and percentage are shares of the row; right answers are outlined. Choose a number to see its images."));
}

/** Arrow keys go to the next number in that direction. */
function moveAmongCells(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const from = event.target.closest("td");
  if (!step || !from) return;
  event.preventDefault();
  const { rows } = from.closest("table");
  for (let y = from.parentNode.rowIndex + step[0], x = from.cellIndex + step[1]; rows[y]?.cells[x]; y += step[0], x += step[1]) {
    const button = rows[y].cells[x].querySelector("button");
    if (button) return button.focus();
  }
}

function perClass({ metrics, labels, run }, context) {
  const figures = ["precision", "recall", "specificity", "f1", "roc_auc"];
  return h("div", {}, h("h2", {}, "By class"), scrolling("Figures by class", h("table", { class: "table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Class"), h("th", { scope: "col", class: "n" }, "Images"), figures.map((figure) => h("th", { scope: "col", class: "n" }, nameOf(figure))))),
    h("tbody", {}, Object.entries(metrics.per_class).map(([name, row]) => h("tr", {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", "data-key": `class ${name}`, click: () => context.go("grid", { label: listed(labels[name]), correct: "wrong", run }), title: `the wrong ones of ${name}` }, name)),
      h("td", { class: "n" }, number(row.support)), figures.map((figure) => cell(figure, row[figure]))))))));
}

function bySubgroup({ subgroups }) {
  if (!subgroups.length) {
    return [h("h2", {}, "By subgroup"), h("p", { class: "quiet" }, "The images have no metadata column of few values, such as sex, site or age; a manifest can bring some. Then this shows whether the model is as good for everyone.")];
  }
  const figures = Object.keys(subgroups[0].figures);
  const units = subgroups.some((one) => one.n_units !== one.n);
  const small = subgroups.filter((one) => one.small).length;
  const line = (one, i) => h("tr", { class: subgroups[i - 1]?.column === one.column ? "" : "begins" },
    h("th", { scope: "row" }, h("small", {}, `${one.column} `), one.value, one.small && h("span", { class: "badge warn" }, icon("warning"), "few")),
    h("td", { class: "n" }, number(one.n)), units && h("td", { class: "n" }, number(one.n_units)),
    figures.map((figure) => h("td", { class: "n", title: one.figures[figure].method }, value(figure, one.figures[figure]), span(one.figures[figure]),
      h("small", {}, one.figures[figure].n ? `${bounds(figure, one.figures[figure])} · n ${number(one.figures[figure].n)}` : "no such image"))));
  return [h("h2", {}, "By subgroup"),
    h("p", { class: "quiet" }, `Of ${subgroups.length} subgroups some differ by chance alone: look at the intervals, and at a difference that other data show too.`,
      small > 0 && ` ${small} ${small === 1 ? "has" : "have"} fewer than 30 independent images and ${small === 1 ? "says" : "say"} little.`),
    scrolling("Figures by subgroup", h("table", { class: "table subgroups" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Subgroup"), h("th", { scope: "col", class: "n" }, "Images"), units && h("th", { scope: "col", class: "n" }, "Groups"), figures.map((figure) => h("th", { scope: "col", class: "n" }, nameOf(figure))))),
      h("tbody", {}, subgroups.map(line))))];
}

/** How sure the model was: bars for its most probable classes. */
function scores(item) {
  return h("div", { class: "scores" }, item.scores.map(([name, p]) => [h("span", { class: "name" }, name),
    h("span", { class: `track ${name === item.predicted ? "" : "other"}`, "aria-hidden": "true" }, h("i", { style: { width: `${100 * p}%` } })), h("span", {}, percent(p, p > 0.995 && p < 1 ? 2 : 1))]),
    item.more > 0 && h("small", {}, `and ${item.more} more`));
}

/** Images as cards, each opening the whole picture; `ask(start)` gets a page of them. */
async function strip(context, run, ask, none) {
  const list = h("ul", { class: "strip" });
  const more = h("button", { type: "button", class: "button", click: () => add(list.children.length) });
  const card = (item) => {
    const picture = h("img", { alt: "", loading: "lazy", width: 160, height: 160 });
    if (item.i !== null) context.show(picture, item);
    const was = item.then !== item.label && item.then !== null ? `, was ${item.then}` : "";
    return h("li", {}, h("button", { type: "button", class: "picture", "aria-label": `${item.id}: ${item.label}${was}, called ${item.predicted}; look closely`, disabled: item.i === null, click: () => look(context, run, item) },
      item.i === null ? h("span", { class: "quiet" }, "not in this folder") : picture),
      h("p", {}, h("b", { class: item.right ? "" : "miss" }, item.right ? "✓ " : "✗ ", item.label ?? "unknown"), item.right ? "" : ` called ${item.predicted}`, item.before !== undefined && h("small", {}, ` before: ${item.before}`), was && h("small", {}, was)),
      scores(item));
  };
  async function add(start) {
    const { total, items } = await ask(start);
    const last = list.lastElementChild;
    list.append(...items.map(card));
    more.hidden = list.children.length >= total;
    more.textContent = `Show more of ${number(total)}`;
    if (start) last.nextElementSibling?.querySelector("button").focus();
    else announce(images(total));
    return total;
  }
  return (await add(0)) ? [list, more] : [h("p", { class: "quiet" }, none)];
}

/** One image, whole, with its scores and, on demand, what the answer seems to come from. */
function look(context, run, item) {
  const picture = h("img", { alt: `${item.id}` });
  context.showFull(picture, item);
  const hint = h("div", { class: "hint" });
  const content = h("div", { class: "look" }, h("div", { class: "split" }, picture, h("div", {},
    h("p", { class: "path" }, item.id), h("p", {}, "Label ", h("b", {}, item.label ?? "unknown"), ", predicted ", h("b", {}, item.predicted), "."), scores(item), hint)));
  let open = true;
  const explain = async (wanted) => {
    clear(hint).append(h("p", { class: "quiet", role: "status" }, "Working it out; a large network takes some seconds …"));
    try {
      for (;;) {
        const made = await context.ask("saliency", { i: item.i, run, ...wanted });
        if (!open) return;
        if (made.state === "done") return void clear(hint).append(...explanation(made, explain));
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch (error) {
      clear(hint).append(h("p", { class: "note", role: "alert" }, error.message));
    }
  };
  hint.append(h("button", { type: "button", class: "button", click: () => explain({ class: item.predicted }) }, "Where does this answer come from?"));
  const answers = [{ value: "grid", text: "Look closer and relabel" }, { value: null, text: "Close", primary: true }];
  return dialog(item.id.split("/").pop(), content, answers).then((answer) => {
    open = false;
    if (answer === "grid") context.go("grid", { run, at: item.i, zoom: "yes" });
  });
}

function explanation(made, explain) {
  const choose = (label, options, chosen, wanted) => h("label", { class: "check" }, label,
    h("select", { class: "field", change: (event) => explain(wanted(event.target.value)) }, options.map(([key, text]) => h("option", { value: key, selected: key === chosen }, text))));
  const methods = [...(made.no_grad_cam ? [] : [["grad-cam", "Grad-CAM"]]), ["occlusion", "Occlusion"]];
  return [
    h("div", { class: "bar" },
      choose("What speaks for", made.class_names.map((name) => [name, name]), made.class_name, (name) => ({ class: name, method: made.method })),
      choose("by", methods, made.method, (method) => ({ class: made.class_name, method })), h("span", { class: "quiet number" }, percent(made.p))),
    h("figure", {}, h("img", { src: made.picture, alt: "" }), h("img", { src: made.overlay, alt: `The picture as the model gets it, in colour where it speaks for ${made.class_name}` })),
    h("p", {}, made.empty ? `Nothing in this picture speaks for ${made.class_name} by this method. ` : "", made.meaning),
    made.no_grad_cam && h("p", { class: "quiet" }, `No Grad-CAM: ${made.no_grad_cam}.`),
    h("p", { class: "note" }, icon("warning"), ` ${made.caveat}`),
  ].filter(Boolean);
}

/** Two runs on the images that both tested. */
async function comparison(state, context, current) {
  const [first, second, outcome] = [state.get("with"), current(), state.get("outcome")];
  if (!first || first === second) return [];
  const told = await context.ask("compare", { first, second });
  const compared = `${second} compared with ${first}`, heading = h("h2", {}, compared);
  if (!told.n) return [heading, h("p", { class: "note" }, "No image was tested by both runs, so that they cannot be compared image by image. Train both with the same test set (a split in the data, or the same seed and test size).")];
  const { difference: { value: gain, ci95 }, accuracy, p_value: p, counts } = told;
  const points = (v) => `${v < 0 ? "−" : "+"}${Math.abs(100 * v).toFixed(1)}`;
  const choice = (name) => h("td", { class: ["fixed", "broken"].includes(name) ? name : "" }, h("button", { type: "button", "data-key": name, "aria-pressed": String(outcome === name), disabled: !counts[name], click: () => context.state.set({ outcome: outcome === name ? null : name }) },
    h("b", {}, number(counts[name])), h("small", {}, OUTCOMES[name])));
  return [heading,
    h("p", {}, `On ${images(told.n)} that both tested, ${second} is right on ${percent(accuracy[1])} and ${first} on ${percent(accuracy[0])}: a difference of `,
      h("b", {}, `${points(gain)} points`), ci95 && ` (95 % interval ${points(ci95[0])} to ${points(ci95[1])})`, `. McNemar’s exact test: p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}. `,
      ci95 && ci95[0] <= 0 && ci95[1] >= 0 ? "Chance alone could explain it." : "Chance alone hardly explains it."),
    !told.independent && h("p", { class: "note" }, "Several images come from one group, so that the test’s p is too small; the interval takes the groups into account."),
    told.relabelled > 0 && h("p", { class: "quiet" }, `Both are judged by the labels in force; ${images(told.relabelled)} ${told.relabelled === 1 ? "has" : "have"} another one than when a run was made.`),
    h("table", { class: "confusion paired", "aria-label": compared },
      h("thead", {}, h("tr", {}, h("td"), h("th", { scope: "col" }, `${second} right`), h("th", { scope: "col" }, "wrong"))),
      h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, `${first} right`), choice("both right"), choice("broken")), h("tr", {}, h("th", { scope: "row" }, "wrong"), choice("fixed"), choice("both wrong")))),
    outcome in OUTCOMES && await strip(context, second, (start) => context.ask("outcomes", { first, second, outcome, start, count: PAGE }), "None."),
  ];
}

/** The kinds of images as tabs, and those of the chosen one. */
async function gallery(state, context, told) {
  const { run, kinds, corrected } = told();
  const chosen = state.get("show") in KINDS ? state.get("show") : "confident";
  const tab = (kind) => h("button", { type: "button", class: "button", "data-key": kind, "aria-pressed": String(kind === chosen), click: () => context.state.set({ show: kind }) }, KINDS[kind],
    (kind === "wrong" || kind === "right") && h("small", { class: "number" }, number(kinds[kind])));
  return [h("h2", {}, "Images"), h("div", { class: "bar", role: "group", "aria-label": "Which images" }, Object.keys(KINDS).map(tab)),
    await strip(context, run, (start) => context.ask("ranked", { run, kind: chosen, corrected, start, count: PAGE }), "There are none.")];
}

export async function mount(root, context) {
  const page = root.appendChild(h("div", { class: "results" }));
  let told, asked = 0;
  const figures = part(page, context, ["run", "with", "corrected"], async (state) => {
    const mine = (asked += 1);
    told = undefined;
    const answer = await context.ask("results", { run: state.get("run") ?? "", corrected: state.get("corrected") === "yes" });
    if (mine === asked) told = answer;
    if (!told.run) {
      return [h("div", { class: "empty" }, h("h2", {}, "No results yet"), h("p", {}, "Train a classifier in the Training view, or name a run: ", h("code", {}, "tellapart studio DATA --run RUN")),
        told.unfinished.length > 0 && h("p", {}, `Without a test set, or still going on: ${told.unfinished.join(", ")}.`))];
    }
    return [h("h1", { class: "unseen" }, `Results of ${told.run}`), toolbar(told, context, state.get("with")), correctionNote(told, context), headline(told),
      h("div", { class: `split matrices ${told.metrics.class_names.length > 5 ? "many" : ""}` }, confusion(told, context), perClass(told, context))].flat();
  });
  const parts = [
    part(page, context, ["run", "with", "outcome"], (state) => comparison(state, context, () => told.run)),
    part(page, context, ["run", "corrected", "show"], (state) => gallery(state, context, () => told)),
    part(page, context, ["run", "corrected"], async () => bySubgroup(told)),
  ];
  const draw = async (anew = false) => {
    await figures(anew);
    for (const box of [...page.children].slice(1)) box.hidden = !told?.run;
    if (told?.run) await Promise.all(parts.map((one) => one(anew)));
  };
  context.on("state", () => draw());
  context.on("changed", () => draw(true));
  await draw();
  return () => page.remove();
}
