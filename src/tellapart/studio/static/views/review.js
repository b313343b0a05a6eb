// The review: images worth a second look, one at a time, decided by one key; and how far reviewers agree.
import { clear, h, icon, number } from "../core/dom.js";
import { pickClass } from "../core/picker.js";
import { drawAgreement, EXCLUDED, inWords } from "./agreement.js";
import { scoreBars, zoom } from "./zoom.js";

export const title = "Review";
const REASONS = { "": "All images in doubt", suspected: "Suspected labels", disagreement: "Seen otherwise by the run" };
const REFRESH_MS = 400;

/** @param {HTMLElement} root @param {object} context @returns {Promise<function>} what takes the view down */
export async function mount(root, context) {
  const { ask, state, keys, labels, overview, announce, toast } = context;
  const classes = overview.class_names, write = !overview.read_only;
  const ahead = new Map(); // image -> what is asked of it, so that the next is there at once
  const steps = []; // what Backspace goes back over: {i, done}
  let queue, open, here = null, revealed = null, busy = false, asked = 0, ours = 0, timer;
  const bar = h("div", { class: "bar review-bar" }), body = h("div", {});
  clear(root).append(h("h1", { class: "unseen" }, title), bar, body);

  const parameter = (name) => state.get().get(name) ?? "";
  const snapshot = () => ["tab", "reason", "blind", "i"].map(parameter);
  const blind = () => parameter("blind") === "yes";
  const hidden = () => blind() && here !== null && revealed !== here.item.i && !here.answer;
  const about = (i) => {
    if (!ahead.has(i)) ahead.set(i, ask("neighbours", { i }).catch((error) => { ahead.delete(i); throw error; }));
    return ahead.get(i);
  };

  // ---- which image ----
  async function tally() {
    queue = await ask("queue", { reason: parameter("reason") });
    open = new Set(queue.open);
  }
  async function show() {
    await tally();
    if (parameter("tab")) { drawBar(); return drawAgreement(body, context); }
    const first = [Number(parameter("i") || -1), queue.open[0], queue.images[0]].find((i) => queue.images.includes(i));
    if (first === undefined) { here = null; return draw(); }
    return look(first);
  }
  /** Show an image, and ask for the one after it. */
  async function look(i) {
    const mine = ++asked, told = await about(i);
    if (mine !== asked) return;
    [here, revealed] = [told, null];
    state.set({ i });
    draw();
    const after = following(1);
    if (after === undefined) return;
    about(after).catch(() => {});
    context.showFull(new Image(), after);
  }
  /** The next image in a direction that is still to be answered, or any if `all`. */
  function following(step, all = false) {
    const from = queue.images.indexOf(here.item.i), rest = step > 0 ? queue.images.slice(from + 1) : queue.images.slice(0, Math.max(from, 0)).reverse();
    return rest.find((i) => all || open.has(i));
  }
  async function advance() {
    const done = here.item.i, after = following(1) ?? [...open].find((i) => i !== done);
    if (after === undefined) announce("Nothing is left to review");
    return look(after ?? done);
  }

  // ---- deciding ----
  /** Send an answer. The progress counts it once it is on disk. */
  async function send(answer, { source = "review", apply = true } = {}) {
    const { item, answer: answered } = here;
    const done = labels.perform("decide", { i: item.i, answer, seen: item.label, answered, source, apply });
    steps.push({ i: item.i, done });
    ahead.delete(item.i);
    ours++;
    try {
      queue.latest = (await done).latest;
      ahead.delete(item.i);
      open.delete(item.i);
      drawBar();
    } catch (error) {
      toast(error.message, { kind: "error" });
      steps.splice(steps.findIndex((step) => step.done === done), 1);
      ahead.delete(item.i);
      await look(item.i);
      return false;
    } finally { ours--; }
    return true;
  }
  async function decide(answer, options) {
    const { i, label } = here.item;
    if (!hidden()) {
      send(answer, options).then((kept) => kept && here.item.i === i && look(i)); // the last stays, and shows what was said
      return advance();
    }
    // An answer in the blind is kept as it is; whether the label changes is a second thought.
    if (!(await send(answer, { apply: false }))) return false;
    if (answer === label) { announce(`You agree: ${label}`); return advance(); }
    [here, revealed] = [await about(i), i];
    announce(`You say ${inWords(answer)}, the label is ${label}`);
    return draw();
  }
  /** Until the next image is shown, keys do nothing: what is on the screen has been decided on. */
  const may = (act) => (...given) => {
    if (!here || !write || parameter("tab")) return false;
    const done = busy ? true : act(...given);
    if (done instanceof Promise) { busy = true; done.finally(() => { busy = false; }); }
    return done;
  };
  const told = () => revealed === here.item.i;
  const accept = may(() => (hidden() ? false : told() ? decide(here.answer) : here.suggested ? decide(here.suggested, { source: "suggestion" }) : false));
  const keep = may(() => (hidden() ? false : told() ? advance() : decide(here.item.label)));
  const label = may((event, k) => (classes[k] ? decide(classes[k]) : false));
  const exclude = may(() => decide(EXCLUDED));
  const complain = (error) => { toast(error.message, { kind: "error" }); };
  const flag = may(() => { labels.write([here.item], "flagged", here.item.flagged ? "" : "yes").catch(complain); }); // not waited for
  const pick = may(() => { pickClass(classes).then((name) => name && decide(name)); });
  const skip = may(() => { steps.push({ i: here.item.i }); return advance(); });
  const move = (step) => () => { const i = here ? following(step, true) : undefined; return i === undefined ? false : look(i); };
  async function back() {
    const last = steps.pop(), done = await last?.done?.catch(() => null);
    if (!last) return announce("There is nothing to go back to");
    if (done?.batch) { await labels.undo(done.batch); await tally(); }
    ahead.delete(last.i);
    return look(last.i);
  }
  /** Look closely at this image, or at one of its neighbours; not in the blind, for the close-up tells all. */
  function closely(k = 0) {
    if (!here || hidden() || parameter("tab")) return false;
    const list = () => [here.item, ...here.neighbours];
    return zoom(context, { classes, run: () => null, item: () => list()[k], place: () => (k ? `Neighbour ${k} of ${here.neighbours.length}` : "In doubt"), decide: {},
      step: (delta) => { k = Math.max(0, Math.min(here.neighbours.length, k + delta)); }, label: (name) => labels.write([list()[k]], "label", name),
      mark: (field) => labels.write([list()[k]], field, list()[k][field] ? "" : "yes"), closed: () => {} });
  }
  function toggleBlind() {
    state.set({ blind: blind() ? null : "yes" });
    announce(blind() ? "Blind: label and prediction are hidden until you have answered" : "Labels are shown");
  }

  // ---- showing ----
  const kbd = (action) => h("kbd", {}, keys.keyOf(action).replace("Backspace", "⌫"));
  const act = (action, text, click, { primary, symbol, off, pressed } = {}) => h("button", { type: "button", class: `button ${primary ? "primary" : ""}`, "data-act": action, click, disabled: off, "aria-pressed": pressed },
    symbol && icon(symbol), text, kbd(action));
  /** Draw anew, and leave the focus on the control that had it. */
  function redraw(place, ...children) {
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.act ?? "" : null;
    clear(place).append(...children.flat().filter(Boolean));
    if (focused !== null) (place.querySelector(`[data-act="${focused}"]:not(:disabled)`) ?? root).focus({ preventScroll: true });
  }
  function drawBar() {
    const { images, latest, reasons } = queue, tab = parameter("tab"), answered = images.length - open.size;
    const choice = (name, text) => h("button", { type: "button", class: "button", "data-act": `tab-${name}`, "aria-pressed": String(tab === name), click: () => state.set({ tab: name }, { push: true }) }, text);
    const which = h("select", { class: "field", "data-act": "which", "aria-label": "Which images", change: (event) => state.set({ reason: event.target.value, i: null }, { push: true }) },
      Object.entries(REASONS).map(([name, text]) => h("option", { value: name, selected: name === parameter("reason") }, name ? `${text} (${number(reasons[name])})` : text)));
    redraw(bar, h("div", { class: "bar", role: "group", "aria-label": "Show" }, choice("", "Queue"), choice("agreement", "Agreement")), !tab && [which,
      h("span", { class: "progress number" }, h("progress", { max: images.length || 1, value: answered, "aria-label": "Answered" }), `${number(answered)} of ${number(images.length)} answered`),
      latest.n > 0 && h("span", { class: "quiet number latest" }, `Of your last ${latest.n}, ${latest.errors} ${latest.errors === 1 ? "was an error" : "were errors"}${latest.excluded ? `, ${latest.excluded} excluded` : ""}`),
      h("span", { class: "push" }, act("blind", "Blind", toggleBlind, { symbol: "blind", pressed: String(blind()) }))]);
  }
  function draw() {
    drawBar();
    if (here) redraw(body, h("div", { class: "review" }, picture(), h("div", { class: "judge" }, hidden() ? veiled() : told() ? secondThought() : doubt(), ways())));
    else redraw(body, nothing());
  }
  function picture() {
    const { item, answer } = here, veil = hidden();
    const img = h("img", { alt: veil ? "The image to judge" : `${item.id}, labelled ${item.label}` });
    context.showFull(img, item);
    return h("figure", {}, h("button", { type: "button", class: "subject", "data-act": "zoom", "aria-label": "Look closely", disabled: veil, click: () => closely() }, img),
      h("figcaption", {}, h("span", { class: "path" }, veil ? `image ${number(item.i)}` : item.id), item.excluded && h("span", { class: "badge warn" }, icon("exclude"), "excluded"),
        item.flagged && h("span", { class: "badge warn" }, icon("flag"), "flagged"), answer && h("span", { class: "badge good" }, icon("accept"), `you said ${inWords(answer)}`)));
  }
  const choices = (pressed) => h("div", { class: "bar", role: "group", "aria-label": "It is" }, classes.slice(0, 10).map((name, k) =>
    act(`label${k + 1}`, name, (event) => label(event, k), { off: !write, pressed: pressed && String(name === pressed) })), act("pick", "other …", pick, { off: !write }));
  const marks = () => [act("exclude", "Exclude", exclude, { symbol: "exclude", off: !write }), act("flag", here.item.flagged ? "Take flag off" : "Flag", flag, { symbol: "flag", off: !write })];
  const veiled = () => [h("h2", {}, "What is it?"), h("p", { class: "quiet" }, "Label, prediction and name are hidden until you have answered."), choices(), h("div", { class: "bar" }, marks()), neighbourhood(true)];
  const secondThought = () => [h("h2", {}, `You say ${inWords(here.answer)}; the label is ${here.item.label}`), h("p", { class: "quiet" }, "Your answer is kept. The label stays as it is unless you change it."),
    h("div", { class: "bar" }, act("keep", `Leave it ${here.item.label}`, keep, { primary: true }), act("accept", `Make it ${inWords(here.answer)}`, accept, { symbol: "accept" })), evidence(), neighbourhood(false)];
  function doubt() {
    const { item, suggested, reason, by } = here, doubted = suggested && suggested !== item.label;
    const why = { suspected: `The check suspects the label${item.changed ? ` ${item.given}, which has been changed` : ""}.`, disagreement: `Predicted by ${by}.` }[reason];
    return [h("h2", {}, `Labelled ${item.label}`, doubted && `, looks like ${suggested}`), h("p", { class: "quiet" }, why),
      h("div", { class: "bar" }, act("accept", doubted ? `Accept ${suggested}` : "Accept", accept, { primary: true, symbol: "accept", off: !write || !suggested }), act("keep", `Keep ${item.label}`, keep, { off: !write }), marks()),
      choices(item.label), evidence(), neighbourhood(false)];
  }
  const evidence = () => Object.keys(here.probability).length > 0 && h("section", {}, h("h3", {}, `Probabilities, by ${here.by}`), scoreBars(here.probability, here.item.label));
  function neighbourhood(veil) {
    const near = here.neighbours.map((one, k) => {
      const thumb = h("img", { alt: "" });
      context.show(thumb, one.i, 160);
      return h("li", {}, h("button", { type: "button", class: "neighbour", disabled: veil, "aria-label": veil ? `Neighbour ${k + 1}` : `Neighbour ${k + 1}, ${one.label}`, click: () => closely(k + 1) },
        thumb, !veil && h("span", { class: one.label === here.item.label ? "" : "other" }, one.label === here.item.label ? "" : "≠ ", one.label), !veil && h("small", { class: "number" }, one.similarity?.toFixed(2))));
    });
    return near.length > 0 && h("section", {}, h("h3", {}, "Nearest images"), h("ul", { class: "neighbours" }, near));
  }
  const ways = () => h("div", { class: "bar ways" }, act("previous", "Previous", move(-1)), act("next", "Next", move(1)), act("skip", "Skip", skip, { off: !write }), act("undoBack", "Undo, back", may(back), { symbol: "undo", off: !write }));
  const nothing = () => h("div", { class: "empty" }, h("h2", {}, "Nothing to review"),
    h("p", {}, overview.has_findings || overview.has_predictions ? "No label is suspected, and no test image is seen otherwise." : "Images are put in doubt by a check of the data, or by a run that was tested on some of them."),
    !overview.has_findings && h("p", {}, h("button", { type: "button", class: "button primary", click: () => context.go("training") }, "Check the data")));

  // ---- keeping up ----
  keys.bind(root, { accept, keep, label, exclude, flag, pick, skip, next: move(1), previous: move(-1), right: move(1), left: move(-1), undoBack: may(back), blind: toggleBlind, zoom: () => closely() });
  let last = snapshot();
  context.on("state", () => {
    const now = snapshot(), [tab, reason, veil, i] = now.map((value, k) => value !== last[k]);
    last = now;
    if (tab || reason) show();
    else if (veil) { revealed = null; draw(); }
    else if (i && here && Number(now[3]) !== here.item.i && queue.images.includes(Number(now[3]))) look(Number(now[3]));
  });
  context.on("changed", ({ items, more }) => {
    const fresh = new Map(items.map((item) => [item.i, item])), renew = (item) => (fresh.has(item.i) ? { ...item, ...fresh.get(item.i) } : item);
    for (const i of fresh.keys()) ahead.delete(i);
    if (here && !parameter("tab") && (more || [here.item, ...here.neighbours].some(({ i }) => fresh.has(i))) && !ours) {
      here = { ...here, item: renew(here.item), neighbours: here.neighbours.map(renew) };
      draw();
    }
    clearTimeout(timer);
    if (!ours) timer = setTimeout(() => tally().then(drawBar), REFRESH_MS);
  });
  await show();
  return () => { asked++; clearTimeout(timer); };
}
