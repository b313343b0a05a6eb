// One image, closely: whole or pixel by pixel, with all that is known of it, and the same keys as in the grid.
import { clear, h, icon, number, openDialog, percent } from "../core/dom.js";
import { pickClass } from "../core/picker.js";

const LEAST = 0.05, MOST = 32, STEP = 1.25, PAN_PX = 60;
const FIELDS = { label: "Label", excluded: "Excluded", flagged: "Flag", review: "Review" };

/** Probabilities as bars, the likeliest first. */
export function scoreBars(probabilities, strong) {
  const rows = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, 10);
  return h("div", { class: "scores" }, rows.map(([name, p]) => [h("span", { class: "name" }, name),
    h("span", { class: `track ${name === strong ? "" : "other"}` }, h("i", { style: { width: `${100 * p}%` } })), h("span", { class: "n" }, percent(p))]));
}

/**
 * Open the close-up in a dialog.
 * @param {object} context of the view
 * @param {object} list {item(), place(), step(delta), classes, run(), label(name), mark(field), closed(), decide}: where the image
 *   comes from, and what is done to it; `decide` has further actions of keys
 * @returns {{look: function, close: function}} `look` after the cursor has moved
 */
export function zoom(context, { classes, run, item, place, step, label, mark, closed, decide = {} }) {
  const { ask, showFull, keys, on, overview } = context;
  let shown = null, asked = 0, scale = 1, x = 0, y = 0, turn = 0, fits = true, drag = null;
  const img = h("img", { alt: "", draggable: "false", load: () => { note.hidden = true; fit(); }, error: () => say("This file cannot be shown.") });
  const note = h("p", { class: "note", hidden: true });
  const stage = h("div", { class: "stage", tabindex: "0", role: "group", "aria-label": "Picture; + and - make it larger and smaller, arrows move it" }, img, note);
  const facts = h("div", { class: "known" });
  const where = h("span", { class: "number" }), zoomed = h("output", { class: "number" });
  const slider = (text, name) => h("label", { class: "light" }, text, h("input", { type: "range", min: "40", max: "250", value: "100", "data-light": name, input: light }));
  const lights = [slider("Brightness", "brightness"), slider("Contrast", "contrast")];
  const button = (text, click, extra = {}) => h("button", { type: "button", class: "button", click, ...extra }, text);
  const box = h("dialog", { class: "zoom", "aria-label": "Close-up", close: leave },
    h("div", { class: "bar" }, button(icon("left"), () => go(-1), { "aria-label": "Previous image" }), button(icon("right"), () => go(1), { "aria-label": "Next image" }), where,
      button("Fit", fit), button("1:1", () => magnify(1 / devicePixelRatio)), button("−", () => magnify(scale / STEP), { "aria-label": "Smaller" }), button("+", () => magnify(scale * STEP), { "aria-label": "Larger" }), zoomed,
      button("Rotate", rotate), lights, button("Reset", reset), button(icon("close"), () => box.close(), { "aria-label": "Close", class: "button plain push" })),
    stage, facts);

  // ---- the picture ----
  function say(text) {
    note.textContent ||= text; // what is known of the file says more than that it was not shown
    note.hidden = !note.textContent;
  }
  function draw() {
    img.style.transform = `translate(-50%, -50%) translate(${x}px, ${y}px) rotate(${turn}deg) scale(${scale})`;
    img.classList.toggle("pixels", scale * devicePixelRatio >= 2);
    zoomed.textContent = percent(scale * devicePixelRatio, 0);
  }
  function fit() {
    const [width, height] = turn % 180 ? [img.naturalHeight, img.naturalWidth] : [img.naturalWidth, img.naturalHeight];
    [scale, x, y, fits] = [Math.min(stage.clientWidth / (width || 1), stage.clientHeight / (height || 1), 8), 0, 0, true];
    draw();
  }
  function magnify(to, dx = 0, dy = 0) {
    const next = Math.max(LEAST, Math.min(MOST, to));
    x = dx - (dx - x) * (next / scale);
    y = dy - (dy - y) * (next / scale);
    [scale, fits] = [next, false];
    draw();
  }
  function rotate() { turn = (turn + 90) % 360; if (fits) fit(); else draw(); }
  function light() { img.style.filter = lights.map((one) => one.lastChild).map((range) => `${range.dataset.light}(${range.value}%)`).join(" "); }
  function reset() { for (const one of lights) one.lastChild.value = 100; turn = 0; light(); fit(); }
  const pan = (dx, dy) => () => { if (fits) { if (dx) go(-Math.sign(dx)); } else { x += dx; y += dy; draw(); } };
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = stage.getBoundingClientRect();
    magnify(scale * Math.exp(-event.deltaY / 400), event.clientX - frame.left - frame.width / 2, event.clientY - frame.top - frame.height / 2);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => { drag = [event.clientX - x, event.clientY - y]; stage.setPointerCapture(event.pointerId); });
  stage.addEventListener("pointermove", (event) => { if (drag) { [x, y, fits] = [event.clientX - drag[0], event.clientY - drag[1], false]; draw(); } });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { drag = null; });

  // ---- what is known ----
  function go(delta) { step(delta); look(); }
  async function look({ again = false } = {}) {
    const now = item();
    if (!now || (shown === now.i && !again)) return;
    where.textContent = place();
    if (shown !== now.i) {
      shown = now.i;
      note.textContent = "";
      say("");
      showFull(img, now);
    }
    const mine = ++asked, all = await ask("item", { i: now.i, ...(run() ? { run: run() } : {}) });
    if (mine === asked) tell(all);
  }
  function tell(all) {
    const { file } = all, row = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
    if (file.problem) { note.textContent = ""; say(`This file cannot be shown: ${file.problem}.`); }
    const write = !overview.read_only;
    clear(facts).append(h("h2", {}, all.label, all.changed && h("small", {}, ` given as ${all.given}`)),
      h("p", { class: "marks" }, all.excluded && h("span", { class: "badge warn" }, icon("exclude"), "excluded"), all.flagged && h("span", { class: "badge" }, icon("flag"), "flagged"),
        all.suggested && h("span", { class: "badge warn" }, icon("warning"), `suspected: ${all.suggested}`)),
      write ? h("div", { class: "bar" }, classes.slice(0, 10).map((name, k) => h("button", { type: "button", class: "button", "aria-pressed": String(name === all.label), click: () => label(name) }, h("kbd", {}, keys.keyOf(`label${k + 1}`)), name)),
        button("other …", pick), button(all.excluded ? "Take in again" : "Exclude", () => mark("excluded")), button(all.flagged ? "Take flag off" : "Flag", () => mark("flagged"))) : "",
      all.probabilities ? h("section", {}, h("h3", {}, all.probabilities_by === "check" ? "Probabilities, by the check" : `Probabilities, by ${all.probabilities_by}`), scoreBars(all.probabilities, all.label)) : "",
      all.findings.length ? h("section", {}, h("h3", {}, "Findings"), h("ul", {}, all.findings.map(({ kind, message }) => h("li", {}, h("b", {}, kind), ` ${message}`)))) : "",
      h("section", {}, h("h3", {}, "Image"), h("dl", {}, row("File", h("span", { class: "path" }, all.path)), row("Size", file.width && `${number(file.width)} × ${number(file.height)} px, ${number(Math.ceil(file.bytes / 1000))} kB, ${file.format}`),
        row("Part", all.split), row("Group", all.group), Object.entries(all.metadata).map(([name, value]) => row(name, value)))),
      all.history.length ? h("section", {}, h("h3", {}, "History"), h("ol", { class: "events" }, all.history.slice(0, 30).map((event) =>
        h("li", {}, `${FIELDS[event.field]}: ${event.old || "blank"} → ${event.new || "blank"}`, h("small", {}, `${event.actor}, ${event.at.slice(0, 16).replace("T", " ")} UTC${event.why ? `, ${event.why}` : ""}`))))) : "");
  }
  async function pick() {
    const name = await pickClass(classes);
    if (name !== null) label(name);
  }

  const unbind = keys.bind(box, { ...decide, pick, label: (_, k) => (classes[k] ? label(classes[k]) : false), exclude: () => mark("excluded"), flag: () => mark("flagged"),
    left: pan(PAN_PX, 0), right: pan(-PAN_PX, 0), up: pan(0, PAN_PX), down: pan(0, -PAN_PX), next: () => go(1), previous: () => go(-1),
    larger: () => magnify(scale * STEP), smaller: () => magnify(scale / STEP), rotate, zoom: () => (fits ? magnify(1 / devicePixelRatio) : fit()), close: () => box.close(),
    undo: () => context.labels.undo(), redo: () => context.labels.redo(), redoAlso: () => context.labels.redo(), help: () => keys.help() });
  const off = on("changed", ({ items }) => items.some((one) => one.i === shown && !one.saving) && look({ again: true }));
  const sizes = new ResizeObserver(() => fits && fit());
  function leave() { unbind(); off(); sizes.disconnect(); box.remove(); closed(); }
  openDialog(box);
  stage.focus();
  sizes.observe(stage);
  look();
  return { look, close: () => box.close() };
}
