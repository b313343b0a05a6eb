// Results: what a run's predictions are worth, the images behind each number, and how two runs differ.
import { announce, fill, h, images, number, refill } from "../core/dom.js";
import { badge, button, choice, empty, group, labelled, link, note, problem, quiet } from "../core/parts.js";
import { scoreBars, scrolling, stateChoice, table, tick } from "../core/parts.js";
import { card, look } from "../core/strip.js";
import { patiently } from "../core/transport.js";
import { percent } from "/shared/curves.js";

const PAGE = 24;

/** A part of the page, drawn anew when one of its parameters changes. A late answer is dropped, focus is kept.
 * @param {string[]} names of parameters @param {function(): Promise<*>} draw gives what is in it */
function part(root, { state }, names, draw) {
  const box = root.appendChild(h("section"));
  let shown = null;
  const failed = (error) => {
    if (!("status" in error)) throw error;
    const first = () => state.set({ run: null, with: null, outcome: null });
    return problem(error.message, " ", state.get("run") && link("Show the first run", first));
  };
  return async (anew = false) => {
    const now = JSON.stringify(names.map((name) => state.get(name)));
    if (now === shown && !anew) return;
    shown = now;
    const content = await draw().catch(failed);
    if (shown !== now) return;
    refill(box, content);
  };
}

/** A share with its interval as a line from 0 to 1; says nothing that the text beside it does not. */
function span({ value: at, ci95 }) {
  const style = at !== null && ci95 && { "--low": ci95[0], "--high": ci95[1], "--at": at };
  return style && h("span.span", { "aria-hidden": "true", style }, h("i"), h("b"));
}
const told = ({ method, says, range }) => h("span", { title: method }, says, h("small", range));

/** The bar at the top: which run, compared with which, under which labels. */
function toolbar({ run, runs, since, corrected }, { state }) {
  const which = (key, names, chosen) =>
    stateChoice(state, key, names, { chosen, also: { outcome: null }, "data-key": key });
  const others = [["", "no other run"], ...runs.filter((name) => name !== run)];
  return h("div.bar", labelled("Run", which("run", runs, run)),
    runs.length > 1 && labelled("Compare with", which("with", others, state.get("with"))),
    (since || corrected) && tick("Figures under corrected labels", corrected,
      (on) => state.set({ corrected: on ? "yes" : null }), { "data-key": "corrected" }));
}

/** What was corrected since the run, and what to do about it. */
function correctionNote({ since, which, gone }, { go }) {
  const retrain = link("retrain", () => go("training"), { "data-key": "retrain" });
  return [since && note(`${since} since this run: `, retrain, " or re-evaluate. ", which), gone && quiet(gone)];
}

function headline({ cards, others, basis }) {
  const card = (one) => h("li", { title: one.method }, h("h3", one.label), h("p.value", one.says), span(one),
    h("p.quiet.number", one.range));
  const row = (one) => h("tr", h("th", { scope: "row" }, one.label), h("td.n", told(one)));
  return [h("p", basis), h("ul.cards", cards.map(card)), others.length > 0
    && h("details", h("summary", "All figures"), h("table.table", h("tbody", others.map(row))))];
}

/** The confusion matrix: every number that is not 0 is a button that opens its images in the grid. */
function confusion({ metrics, run, labels, corrected }, { go }) {
  const names = metrics.class_names;
  const open = (actual, called) =>
    go("grid", { label: labels[actual], predicted: [called], run, excluded: corrected && "no" });
  const row = (counts, i) => {
    const total = counts.reduce((sum, n) => sum + n, 0);
    const cell = (n, j) => {
      const share = total ? n / total : 0, shares = percent(share, 0);
      const shown = [h("b", number(n)), names.length <= 8 && h("small", shares)];
      const says = `${names[i]}, called ${names[j]}: ${n} of ${images(total)}, ${shares}`;
      const about = { type: "button", title: says, "aria-label": `${says}; show them`, "data-key": `cell ${i} ${j}` };
      return h("td", { class: i === j ? "right" : "wrong", style: { "--share": share } },
        n ? h("button", { ...about, click: () => open(names[i], names[j]) }, shown) : h("span", shown));
    };
    return h("tr", h("th", { scope: "row" }, names[i], h("small", images(total))), counts.map(cell));
  };
  return h("div", h("h2", "Confusion matrix"),
    scrolling("Confusion matrix", h("table.confusion", { "aria-label": "Confusion matrix", keydown: moveAmongCells },
      h("thead", h("tr", h("td", h("small", "predicted →"), h("small", "label ↓")),
        names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", metrics.confusion_matrix.map(row)))),
    quiet("Rows are the labels, columns the predictions; shade and percentage are shares of the row; right answers ",
      "are outlined. Choose a number to see its images."));
}

/** Arrow keys go to the next number in that direction. */
function moveAmongCells(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const from = event.target.closest("td");
  if (!step || !from) return;
  event.preventDefault();
  const { rows } = from.closest("table"), [dy, dx] = step;
  for (let y = from.parentNode.rowIndex + dy, x = from.cellIndex + dx; rows[y]?.cells[x]; y += dy, x += dx) {
    const button = rows[y].cells[x].querySelector("button");
    if (button) return button.focus();
  }
}

function perClass({ by_class: classes, labels, run }, { go }) {
  const open = (name) => link(name, () => go("grid", { label: labels[name], correct: "wrong", run }),
    { "data-key": `class ${name}`, title: `the wrong ones of ${name}` });
  const heads = ["Class", "Images", ...classes[0].figures.map(({ label }) => label)];
  const row = ({ name, n, figures }) => [open(name), number(n), ...figures.map(told)];
  return h("div", h("h2", "By class"), table(heads, classes.map(row), { label: "Figures by class", numbers: 1 }));
}

function bySubgroup({ subgroups, caution }) {
  const units = subgroups.some((one) => one.n_units !== one.n);
  const cell = (found) => h("span", { title: found.method }, found.says, span(found),
    h("small", found.n ? `${found.range} · n ${number(found.n)}` : "no such image"));
  const row = (one) => [[h("small", `${one.column} `), one.value, one.small && badge("few", "warn", "warning")],
    number(one.n), ...(units ? [number(one.n_units)] : []), ...Object.values(one.figures).map(cell)];
  const figures = Object.values(subgroups[0]?.figures ?? {}).map(({ label }) => label);
  const heads = ["Subgroup", "Images", ...(units ? ["Groups"] : []), ...figures];
  const begins = (k) => ({ class: subgroups[k - 1]?.column === subgroups[k].column ? "" : "begins" });
  return [h("h2", "By subgroup"), quiet(caution), subgroups.length > 0 && table(heads, subgroups.map(row),
    { label: "Figures by subgroup", looks: "subgroups", numbers: 1, row: begins })];
}

const bars = (item) => scoreBars(item.scores, item.predicted, { more: item.more });

/** Images as cards; `ask(start)` gets a page of them. */
async function strip(context, run, ask, none) {
  const list = h("ul.strip"), more = button("", () => add(list.children.length));
  const one = (item) => {
    const was = item.then !== item.label && item.then !== null ? `, was ${item.then}` : "";
    const says = `${item.label}${was}, called ${item.predicted}`, open = () => closely(context, run, item);
    const before = item.before !== undefined && h("small", ` before: ${item.before}`);
    return card(context, item, { right: item.right, says, open },
      [!item.right && ` called ${item.predicted}`, before, was && h("small", was)], bars(item));
  };
  async function add(start) {
    const { total, items } = await ask(start), last = list.lastElementChild;
    list.append(...items.map(one));
    more.hidden = list.children.length >= total;
    more.textContent = `Show more of ${number(total)}`;
    if (start) last.nextElementSibling?.querySelector("button").focus();
    else announce(images(total));
    return total;
  }
  return (await add(0)) ? [list, more] : quiet(none);
}

/** One image, whole, with its scores and, on demand, what the answer seems to come from. */
async function closely(context, run, item) {
  let open = true;
  const explain = async (wanted) => {
    fill(hint, h("p.quiet", { role: "status" }, "Working it out; a large network takes some seconds …"));
    try {
      const made = await patiently(context.ask, "saliency", { i: item.i, run, ...wanted }, "done", () => open);
      if (open) fill(hint, explanation(made, explain));
    } catch (error) { fill(hint, problem(error.message)); }
  };
  const hint = h("div.hint", button("Where does this answer come from?", () => explain({ class: item.predicted })));
  await look(context, item, { run }, h("p", "Label ", h("b", item.label ?? "unknown"), ", predicted ",
    h("b", item.predicted), "."), bars(item), hint);
  open = false;
}

function explanation(made, explain) {
  const { class_name: name, method, no_grad_cam: noGradCam } = made;
  const which = (says, values, chosen, wanted) =>
    labelled(says, choice(values, chosen, (value) => explain(wanted(value))));
  const methods = [...(noGradCam ? [] : [["grad-cam", "Grad-CAM"]]), ["occlusion", "Occlusion"]];
  return [h("div.bar", which("What speaks for", made.class_names, name, (one) => ({ class: one, method })),
      which("by", methods, method, (one) => ({ class: name, method: one })), h("span.quiet.number", percent(made.p))),
    h("figure", h("img", { src: made.picture, alt: "" }),
      h("img", { src: made.overlay, alt: `The picture as the model gets it, in colour where it speaks for ${name}` })),
    h("p", made.empty && `Nothing in this picture speaks for ${name} by this method. `, made.meaning),
    noGradCam && quiet(`No Grad-CAM: ${noGradCam}.`), note(made.caveat)];
}

/** Two runs on the images that both tested. */
async function comparison(context, second) {
  const { state, ask } = context, [first, outcome] = [state.get("with"), state.get("outcome")];
  if (!first || first === second) return null;
  const { says, notes, counts } = await ask("compare", { first, second });
  const compared = `${second} compared with ${first}`, told = notes.map((text) => h("p.note", text));
  if (!says) return [h("h2", compared), told];
  const cell = (name) => {
    const click = () => state.set({ outcome: outcome === name ? null : name });
    const about = { "data-key": name, "aria-pressed": String(outcome === name), disabled: !counts[name] };
    return h("td", { class: ["fixed", "broken"].includes(name) && name },
      h("button", { type: "button", ...about, click }, h("b", number(counts[name])), h("small", name)));
  };
  const row = (name, ...cells) => h("tr", h("th", { scope: "row" }, name), cells.map(cell));
  const page = (start) => ask("outcomes", { first, second, outcome, start, count: PAGE });
  return [h("h2", compared), h("p", says[0], h("b", says[1]), says[2]), told,
    h("table.confusion.paired", { "aria-label": compared },
      h("thead", h("tr", h("td"), h("th", { scope: "col" }, `${second} right`), h("th", { scope: "col" }, "wrong"))),
      h("tbody", row(`${first} right`, "both right", "broken"), row("wrong", "fixed", "both wrong"))),
    outcome in counts && await strip(context, second, page, "None.")];
}

/** The kinds of images as tabs, and those of the chosen one. */
async function gallery(context, { run, kinds, kind_names: names, corrected }) {
  const { state, ask } = context, chosen = state.get("show") in kinds ? state.get("show") : "confident";
  const counted = (kind) => ["wrong", "right"].includes(kind) && h("small.number", number(kinds[kind]));
  const tab = (kind) => button([names[kind], counted(kind)], () => state.set({ show: kind }),
    { "data-key": kind, "aria-pressed": String(kind === chosen) });
  const page = (start) => ask("ranked", { run, kind: chosen, corrected, start, count: PAGE });
  return [h("h2", "Images"), group("Which images", Object.keys(kinds).map(tab)),
    await strip(context, run, page, "There are none.")];
}

export async function mount(root, context) {
  const { state, ask } = context, page = root.appendChild(h("div.results"));
  let found, asked = 0;
  const nothing = ({ unfinished }) => empty("No results yet",
    ["Train a classifier in the Training view, or name a run: ", h("code", "tellapart studio DATA --run RUN")],
    unfinished.length > 0 && `Without a test set, or still going on: ${unfinished.join(", ")}.`);
  const figures = part(page, context, ["run", "with", "corrected"], async () => {
    const mine = ++asked;
    found = undefined;
    const answer = await ask("results", { run: state.get("run"), corrected: state.get("corrected") === "yes" });
    if (mine === asked) found = answer;
    if (!answer.run) return nothing(answer);
    const many = answer.metrics.class_names.length > 5 && "many";
    return [h("h1.unseen", `Results of ${answer.run}`), toolbar(answer, context), correctionNote(answer, context),
      headline(answer),
      h("div.split.matrices", { class: many }, confusion(answer, context), perClass(answer, context))];
  });
  const parts = [part(page, context, ["run", "with", "outcome"], async () => comparison(context, found.run)),
    part(page, context, ["run", "corrected", "show"], async () => gallery(context, found)),
    part(page, context, ["run", "corrected"], async () => bySubgroup(found))];
  const draw = async (anew = false) => {
    await figures(anew);
    for (const box of [...page.children].slice(1)) box.hidden = !found?.run;
    if (found?.run) await Promise.all(parts.map((one) => one(anew)));
  };
  context.on("state", () => draw());
  context.on("changed", () => draw(true));
  await draw();
  return () => page.remove();
}
