// One image, closely: whole or pixel by pixel, with all that is known of it, and the same keys as in the grid.
import { fill, h, icon, localTime, openDialog } from "../core/dom.js";
import { badge, button, scoreBars } from "../core/parts.js";
import { pickClass } from "../core/picker.js";
import { percent } from "/shared/curves.js";

const LEAST = 0.05, MOST = 32, STEP = 1.25, PAN_PX = 60, MOST_EVENTS = 30;

/** Open the close-up in a dialog.
 * @param {object} context of the view
 * @param {object} list {item(), place(), step(delta), classes, run(), label(name), mark(field), closed(), decide}:
 *   where the image comes from, and what is done to it; `decide` has further actions of keys
 * @returns {{look: function, close: function}} `look` after the cursor has moved */
export function zoom(context, list) {
  const { classes, run = () => null, item, place, step, label, mark, closed = () => {}, decide = {} } = list;
  const { ask, showFull, keys, labels, on, overview } = context;
  let shown = null, asked = 0, scale = 1, x = 0, y = 0, turn = 0, fits = true, drag = null;
  const loaded = () => { note.hidden = true; fit(); };
  const img = h("img", { alt: "", draggable: "false", load: loaded, error: () => say("This file cannot be shown.") });
  const note = h("p.note", { hidden: true }), how = "Picture; + and - make it larger and smaller, arrows move it";
  const stage = h("div.stage", { tabindex: "0", role: "group", "aria-label": how }, img, note);
  const facts = h("div.known"), where = h("span.number"), zoomed = h("output.number");
  const range = { type: "range", min: "40", max: "250", value: "100", input: light };
  const lights = ["Brightness", "Contrast"].map((name) =>
    h("label.light", name, h("input", { ...range, "data-light": name.toLowerCase() })));
  const box = h("dialog.zoom", { "aria-label": "Close-up" },
    h("div.bar", button(icon("left"), () => go(-1), { "aria-label": "Previous image" }),
      button(icon("right"), () => go(1), { "aria-label": "Next image" }), where,
      button("Fit", fit), button("1:1", () => magnify(1 / devicePixelRatio)),
      button("−", () => magnify(scale / STEP), { "aria-label": "Smaller" }),
      button("+", () => magnify(scale * STEP), { "aria-label": "Larger" }), zoomed,
      button("Rotate", rotate), lights, button("Reset", reset),
      button(icon("close"), () => box.close(), { "aria-label": "Close", class: "plain push" })),
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
    const sides = [img.naturalWidth, img.naturalHeight], [width, height] = turn % 180 ? sides.reverse() : sides;
    scale = Math.min(stage.clientWidth / (width || 1), stage.clientHeight / (height || 1), 8);
    [x, y, fits] = [0, 0, true];
    draw();
  }
  function magnify(to, dx = 0, dy = 0) {
    const next = Math.max(LEAST, Math.min(MOST, to));
    x = dx - (dx - x) * (next / scale);
    y = dy - (dy - y) * (next / scale);
    [scale, fits] = [next, false];
    draw();
  }
  function rotate() {
    turn = (turn + 90) % 360;
    if (fits) fit();
    else draw();
  }
  const ranges = () => lights.map((one) => one.lastChild);
  function light() {
    img.style.filter = ranges().map(({ dataset, value }) => `${dataset.light}(${value}%)`).join(" ");
  }
  function reset() {
    for (const one of ranges()) one.value = 100;
    turn = 0;
    light();
    fit();
  }
  const pan = (dx, dy) => () => {
    if (!fits) {
      [x, y] = [x + dx, y + dy];
      draw();
    } else if (dx) go(-Math.sign(dx));
  };
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top, width, height } = stage.getBoundingClientRect();
    magnify(scale * Math.exp(-event.deltaY / 400), event.clientX - left - width / 2, event.clientY - top - height / 2);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    drag = [event.clientX - x, event.clientY - y];
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    [x, y, fits] = [event.clientX - drag[0], event.clientY - drag[1], false];
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { drag = null; });

  // ---- what is known ----
  function go(delta) {
    step(delta);
    look();
  }
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
    const mine = ++asked, all = await ask("item", { i: now.i, ...(run() && { run: run() }) });
    if (mine === asked) tell(all);
  }
  function tell(all) {
    const { file, probabilities_by: by } = all;
    const row = ([name, value]) => value && [h("dt", name), h("dd", value)];
    const part = (name, content) => content && h("section", h("h3", name), content);
    if (file.problem) { note.textContent = ""; say(`This file cannot be shown: ${file.problem}.`); }
    const event = ({ says, actor, at, why }) =>
      h("li", says, h("small", `${actor}, ${localTime(at)}${why ? `, ${why}` : ""}`));
    const decisions = () => h("div.bar", classes.slice(0, 10).map((name, k) =>
      button([keys.cap(`label${k + 1}`), name], () => label(name), { "aria-pressed": String(name === all.label) })),
    button([keys.cap("pick"), "other …"], pick),
    button([keys.cap("exclude"), all.excluded ? "Take in again" : "Exclude"], () => mark("excluded")),
    button([keys.cap("flag"), all.flagged ? "Take flag off" : "Flag"], () => mark("flagged")));
    const about = [["File", h("span.path", all.path)], ["Size", file.says], ["Part", all.split], ["Group", all.group]];
    fill(facts, h("h2", all.label, all.changed && h("small", ` given as ${all.given}`)),
      h("p.marks", all.excluded && badge("excluded", "warn", "exclude"), all.flagged && badge("flagged", "", "flag"),
        all.suggested && badge(`suspected: ${all.suggested}`, "warn", "warning")),
      !overview.read_only && decisions(),
      part(`Probabilities, by ${by === "check" ? "the check" : by}`,
        all.probabilities && scoreBars(all.probabilities, all.label)),
      part("Findings", all.findings.length > 0
        && h("ul", all.findings.map(({ kind, message }) => h("li", h("b", kind), ` ${message}`)))),
      part("Image", h("dl", [...about, ...Object.entries(all.metadata)].map(row))),
      part("History", all.history.length > 0 && h("ol.events", all.history.slice(0, MOST_EVENTS).map(event))));
  }
  async function pick() {
    const name = await pickClass(classes);
    if (name !== null) label(name);
  }
  const unbind = keys.bind(box, { ...decide, pick, label: (_, k) => (classes[k] ? label(classes[k]) : false),
    exclude: () => mark("excluded"), flag: () => mark("flagged"),
    left: pan(PAN_PX, 0), right: pan(-PAN_PX, 0), up: pan(0, PAN_PX), down: pan(0, -PAN_PX),
    larger: () => magnify(scale * STEP), smaller: () => magnify(scale / STEP), rotate, next: () => go(1),
    previous: () => go(-1), zoom: () => (fits ? magnify(1 / devicePixelRatio) : fit()), close: () => box.close(),
    ...labels.keys, help: () => keys.help() });
  const off = on("changed", ({ items }) => {
    if (items.some((one) => one.i === shown && !one.saving)) look({ again: true });
  });
  const sizes = new ResizeObserver(() => fits && fit());
  function leave() {
    unbind();
    off();
    sizes.disconnect();
    closed();
  }
  openDialog(box, leave);
  stage.focus();
  sizes.observe(stage);
  look();
  return { look, close: () => box.close() };
}
