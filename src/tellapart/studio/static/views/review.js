// The review: images worth a second look, one at a time, decided by one key; and how far reviewers agree.
import { fill, h, icon, number, refill } from "../core/dom.js";
import { badge, button, empty, group, quiet, scoreBars, stateChoice } from "../core/parts.js";
import { pickClass } from "../core/picker.js";
import { drawAgreement, EXCLUDED, inWords } from "./agreement.js";
import { zoom } from "./zoom.js";

const REFRESH_MS = 400;

export async function mount(root, context) {
  const { ask, state, keys, labels, overview, announce, complain } = context;
  const classes = overview.class_names, write = !overview.read_only;
  const ahead = new Map(); // image -> what is asked of it, so that the next is there at once
  const steps = []; // what Backspace goes back over: {i, done}
  let queue, open, here = null, revealed = null, busy = false, asked = 0, ours = 0, timer;
  const bar = h("div.bar.review-bar"), body = h("div");
  fill(root, h("h1.unseen", "Review"), bar, body);
  const snapshot = () => ["tab", "reason", "blind", "i"].map((name) => state.get(name));
  const blind = () => state.get("blind") === "yes";
  const hidden = () => blind() && here !== null && revealed !== here.item.i && !here.answer;
  const about = (i) => {
    const forget = (error) => { ahead.delete(i); throw error; };
    if (!ahead.has(i)) ahead.set(i, ask("neighbours", { i }).catch(forget));
    return ahead.get(i);
  };

  // ---- which image ----
  async function tally() {
    queue = await ask("queue", { reason: state.get("reason") });
    open = new Set(queue.open);
  }
  async function show() {
    await tally();
    if (state.get("tab")) { drawBar(); return drawAgreement(body, context); }
    const wanted = [Number(state.get("i", "-1")), queue.open[0], queue.images[0]];
    const first = wanted.find((i) => queue.images.includes(i));
    if (first !== undefined) return look(first);
    here = null;
    return draw();
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
    context.wholePicture(after);
  }
  /** The next image in a direction that is still to be answered, or any if `all`. */
  function following(step, all = false) {
    const from = queue.images.indexOf(here.item.i);
    const rest = step > 0 ? queue.images.slice(from + 1) : queue.images.slice(0, Math.max(from, 0)).reverse();
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
    const { item, answer: answered } = here, seen = { i: item.i, seen: item.label, answered };
    const done = labels.perform("decide", { ...seen, answer, source, apply });
    steps.push({ i: item.i, done });
    ahead.delete(item.i);
    ours++;
    try {
      queue.latest = (await done).latest;
      ahead.delete(item.i);
      open.delete(item.i);
      drawBar();
      return true;
    } catch (error) {
      complain(error);
      steps.splice(steps.findIndex((step) => step.done === done), 1);
      ahead.delete(item.i);
      await look(item.i);
      return false;
    } finally { ours--; }
  }
  async function decide(answer, options) {
    const { i, label } = here.item;
    if (!hidden()) {
      // The last stays, and shows what was said.
      send(answer, options).then((kept) => kept && here.item.i === i && look(i));
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
    if (!here || !write || state.get("tab")) return false;
    const done = busy ? true : act(...given);
    if (done instanceof Promise) { busy = true; done.finally(() => { busy = false; }); }
    return done;
  };
  const told = () => revealed === here.item.i;
  const accept = may(() => {
    if (hidden()) return false;
    if (told()) return decide(here.answer);
    return here.suggested ? decide(here.suggested, { source: "suggestion" }) : false;
  });
  const keep = may(() => (hidden() ? false : told() ? advance() : decide(here.item.label)));
  const label = may((_, k) => (classes[k] ? decide(classes[k]) : false));
  const exclude = may(() => decide(EXCLUDED));
  const mark = (item, field) => labels.write([item], field, item[field] ? "" : "yes").catch(complain);
  const flag = may(() => { mark(here.item, "flagged"); }); // not waited for
  const pick = may(() => { pickClass(classes).then((name) => name && decide(name)); });
  const skip = may(() => { steps.push({ i: here.item.i }); return advance(); });
  const move = (step) => () => {
    const i = here ? following(step, true) : undefined;
    return i === undefined ? false : look(i);
  };
  const back = may(async () => {
    const last = steps.pop(), done = await last?.done?.catch(() => null);
    if (!last) return announce("There is nothing to go back to");
    if (done?.batch) { await labels.undo(done.batch); await tally(); }
    ahead.delete(last.i);
    return look(last.i);
  });
  /** Look closely at this image, or at one of its neighbours; not in the blind, for the close-up tells all. */
  function closely(k = 0) {
    if (!here || hidden() || state.get("tab")) return false;
    const near = here.neighbours.length, item = () => [here.item, ...here.neighbours][k];
    return zoom(context, { classes, item, place: () => (k ? `Neighbour ${k} of ${near}` : "In doubt"),
      step: (delta) => { k = Math.max(0, Math.min(near, k + delta)); },
      label: (name) => labels.write([item()], "label", name), mark: (field) => mark(item(), field) });
  }
  function toggleBlind() {
    state.set({ blind: blind() ? null : "yes" });
    announce(blind() ? "Blind: label and prediction are hidden until you have answered" : "Labels are shown");
  }

  // ---- showing ----
  const act = (action, text, click, { symbol, ...extra } = {}) =>
    button([symbol && icon(symbol), text, keys.cap(action)], click, { "data-key": action, ...extra });
  function drawBar() {
    const { images, latest, choices: reasons } = queue, tab = state.get("tab");
    const view = (name, text) => button(text, () => state.set({ tab: name }, { push: true }),
      { "data-key": `tab-${name}`, "aria-pressed": String(tab === name) });
    const which = stateChoice(state, "reason", Object.entries(reasons),
      { also: { i: null }, "data-key": "which", "aria-label": "Which images" });
    const all = images.length, answered = all - open.size;
    refill(bar, [
      group("Show", view("", "Queue"), view("agreement", "Agreement")), !tab && [which,
        h("span.progress.number", h("progress", { max: all || 1, value: answered, "aria-label": "Answered" }),
          `${number(answered)} of ${number(all)} answered`),
        latest.says && h("span.quiet.number.latest", latest.says),
        h("span.push", act("blind", "Blind", toggleBlind, { symbol: "blind", "aria-pressed": String(blind()) }))],
    ], root);
  }
  function draw() {
    drawBar();
    if (!here) return refill(body, nothing(), root);
    const judge = hidden() ? veiled() : told() ? secondThought() : doubt();
    return refill(body, h("div.review", picture(), h("div.judge", judge, ways())), root);
  }
  function picture() {
    const { item, answer } = here, veil = hidden();
    const img = context.wholePicture(item, { alt: veil ? "The image to judge" : `${item.id}, labelled ${item.label}` });
    const look = { type: "button", class: "subject", "data-key": "zoom", "aria-label": "Look closely", disabled: veil };
    return h("figure", h("button", { ...look, click: () => closely() }, img),
      h("figcaption", h("span.path", veil ? `image ${number(item.i)}` : item.id),
        item.excluded && badge("excluded", "warn", "exclude"), item.flagged && badge("flagged", "warn", "flag"),
        answer && badge(`you said ${inWords(answer)}`, "good", "accept")));
  }
  const off = { disabled: !write };
  const choices = (pressed) => group("It is", classes.slice(0, 10).map((name, k) =>
    act(`label${k + 1}`, name, (event) => label(event, k),
      { ...off, "aria-pressed": pressed && String(name === pressed) })), act("pick", "other …", pick, off));
  const marks = () => [act("exclude", "Exclude", exclude, { symbol: "exclude", ...off }),
    act("flag", here.item.flagged ? "Take flag off" : "Flag", flag, { symbol: "flag", ...off })];
  const veiled = () => [h("h2", "What is it?"), quiet("Label, prediction and name are hidden until you have answered."),
    choices(), h("div.bar", marks()), neighbourhood(true)];
  const secondThought = () => [h("h2", `You say ${inWords(here.answer)}; the label is ${here.item.label}`),
    quiet("Your answer is kept. The label stays as it is unless you change it."),
    h("div.bar", act("keep", `Leave it ${here.item.label}`, keep, { class: "primary" }),
      act("accept", `Make it ${inWords(here.answer)}`, accept, { symbol: "accept" })),
    evidence(), neighbourhood(false)];
  function doubt() {
    const { item, suggested, why } = here, doubted = suggested && suggested !== item.label;
    return [h("h2", `Labelled ${item.label}`, doubted && `, looks like ${suggested}`), quiet(why),
      h("div.bar", act("accept", doubted ? `Accept ${suggested}` : "Accept", accept,
        { class: "primary", symbol: "accept", disabled: !write || !suggested }),
      act("keep", `Keep ${item.label}`, keep, off), marks()),
      choices(item.label), evidence(), neighbourhood(false)];
  }
  const evidence = () => Object.keys(here.probability).length > 0 && h("section",
    h("h3", `Probabilities, by ${here.by}`), scoreBars(here.probability, here.item.label));
  function neighbourhood(veil) {
    const near = here.neighbours.map(({ i, label: its, similarity }, k) => {
      const same = its === here.item.label, says = `Neighbour ${k + 1}${veil ? "" : `, ${its}`}`;
      const known = [h("span", { class: same ? "" : "other" }, !same && "≠ ", its),
        h("small.number", similarity?.toFixed(2))];
      return h("li", h("button", { type: "button", class: "neighbour", disabled: veil, "aria-label": says,
        click: () => closely(k + 1) }, context.picture(i, { alt: "" }), !veil && known));
    });
    return h("section", h("h3", "Nearest images"),
      near.length ? h("ul.neighbours", near) : quiet(here.why_no_neighbours, "."));
  }
  const ways = () => h("div.bar.ways", act("previous", "Previous", move(-1)), act("next", "Next", move(1)),
    act("skip", "Skip", skip, off), act("undoBack", "Undo, back", back, { symbol: "undo", ...off }));
  const nothing = () => empty("Nothing to review", queue.nothing,
    !overview.has_findings && write && button("Check the data", context.check, { class: "primary" }));

  // ---- keeping up ----
  keys.bind(root, { accept, keep, label, exclude, flag, pick, skip, next: move(1), previous: move(-1), right: move(1),
    left: move(-1), undoBack: back, blind: toggleBlind, zoom: () => closely() });
  let last = snapshot();
  context.on("state", () => {
    const now = snapshot(), [tab, reason, veil] = now.map((value, k) => value !== last[k]), i = Number(now[3]);
    const moved = now[3] !== last[3] && here && i !== here.item.i && queue.images.includes(i);
    last = now;
    if (tab || reason) show();
    else if (veil) { revealed = null; draw(); } else if (moved) look(i);
  });
  context.on("changed", ({ items, more }) => {
    const fresh = new Map(items.map((item) => [item.i, item]));
    const renew = (item) => (fresh.has(item.i) ? { ...item, ...fresh.get(item.i) } : item);
    for (const i of fresh.keys()) ahead.delete(i);
    const shown = here && !state.get("tab") ? [here.item, ...here.neighbours] : [];
    if (!ours && shown.length && (more || shown.some(({ i }) => fresh.has(i)))) {
      here = { ...here, item: renew(here.item), neighbours: here.neighbours.map(renew) };
      draw();
    }
    clearTimeout(timer);
    if (!ours) timer = setTimeout(() => (here || state.get("tab") ? tally().then(drawBar) : show()), REFRESH_MS);
  });
  await show();
  return () => { asked++; clearTimeout(timer); };
}
