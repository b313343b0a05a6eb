// What views are made of: buttons, choices, tables, bars, notes. Knows nothing of what they are about.
import { h, icon, number } from "./dom.js";
import { percent } from "/shared/curves.js";

/** A button; `class` adds to its looks, and false takes it out. */
export const button = (says, click, { class: looks = "", ...extra } = {}) =>
  h("button", { type: "button", class: `button ${looks || ""}`.trim(), click, ...extra }, says);
/** A button within words. */
export const link = (says, click, extra = {}) => h("button", { type: "button", class: "link", click, ...extra }, says);
/** A form of these looks; `send` gets it when it is sent. */
export const form = (looks, send, ...children) =>
  h(`form.${looks}`, { submit: (event) => { event.preventDefault(); return send(event.target); } }, children);
/** The button that sends a form. */
export const submit = (says, looks = "") => h("button", { class: `button ${looks}`.trim() }, says);

/** A drop-down of texts, or of pairs of value and text; `change` hears the value. */
export function choice(values, chosen, change, extra = {}) {
  const pairs = values.map((one) => (Array.isArray(one) ? one : [one, one]));
  return h("select.field", { change: ({ target }) => change(target.value), ...extra },
    pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

/** A drop-down for a parameter of the address, whose change is a step to go back to.
 * @param {object} how `chosen`, where the address need not say it; `also`, what else it changes; attributes */
export const stateChoice = (state, name, values, { chosen = state.get(name), also = {}, ...extra } = {}) =>
  choice(values, chosen, (value) => state.set({ [name]: value, ...also }, { push: true }), extra);
/** Buttons that belong together; `label` says to what. */
export const group = (label, ...buttons) => h("div.bar", { role: "group", "aria-label": label }, buttons);
/** A panel under a heading. */
export const panel = (title, ...content) => h("section.panel", h("h2", title), content);
/** A control behind its words. */
export const labelled = (says, control) => h("label.check", says, control);
/** A box to tick before its words; `change` hears whether it is ticked. */
export const tick = (says, checked, change, extra = {}) => h("label.check",
  h("input", { type: "checkbox", checked, change: ({ target }) => change(target.checked), ...extra }), says);
export const badge = (says, looks = "", sign = null) =>
  h("span", { class: `badge ${looks}`.trim() }, sign && icon(sign), says);
export const quiet = (...says) => h("p.quiet", says);
/** What one should know before going on; `problem` is read out at once. */
export const note = (...says) => h("p.note", icon("warning"), " ", says);
export const problem = (...says) => h("p.note", { role: "alert" }, icon("warning"), " ", says);
/** What stands where there is nothing to show: why, and what to do. */
export const empty = (title, ...says) => h("div.empty", h("h2", title),
  says.map((one) => one && (one instanceof HTMLParagraphElement ? one : h("p", one))));
/** A box in which something wide is scrolled, by keys as well. */
export const scrolling = (label, node) => h("div.scroll", { tabindex: "0", role: "region", "aria-label": label }, node);

/** A table in a box that scrolls.
 * @param {Array} heads of the columns @param {Array[]} rows of cells
 * @param {object} how {label, looks, caption}; `numbers`: columns from this one on are numbers; `title`: the column
 *   that names the row; `row(k)` gives attributes of row k */
export function table(heads, rows, { label, looks = "", caption, numbers = Infinity, title = 0, row = () => ({}) }) {
  const cell = (content, k) =>
    h(k === title ? "th" : "td", { scope: k === title && "row", class: k >= numbers && "n" }, content);
  const head = (content, k) => (content ? h("th", { scope: "col", class: k >= numbers && "n" }, content) : h("td"));
  return scrolling(label, h("table", { class: `table ${looks}`.trim() }, caption && h("caption", caption),
    h("thead", h("tr", heads.map(head))), h("tbody", rows.map((cells, k) => h("tr", row(k), cells.map(cell))))));
}

/** Shares as bars. @param {object[]} rows {name, share, says, other: it is pale, mark: where a line crosses it} */
export function bars(rows, looks = "") {
  const bar = ({ name, share, says, other, mark }) => [h("span.name", name),
    h("span", { class: other ? "track other" : "track", "aria-hidden": "true" },
      h("i", { style: { width: `${100 * Math.min(1, share)}%` } }),
      mark !== undefined && h("u.limit", { style: { left: `${100 * mark}%` } })), h("span.number", says)];
  return h("div", { class: `scores ${looks}`.trim() }, rows.map(bar));
}

/** Probabilities of classes as bars, the likeliest first; that of `strong` is dark.
 * @param {Array} scores pairs of class and probability, or an object of them
 * @param {{most?: number, more?: number, marks?: object}} how many bars, how many more classes, and where lines stand
 */
export function scoreBars(scores, strong, { most = 10, more = 0, marks = {} } = {}) {
  const pairs = Array.isArray(scores) ? scores : Object.entries(scores).sort(([, a], [, b]) => b - a);
  const shown = pairs.slice(0, most), n = pairs.length - shown.length + more;
  const rest = Math.max(0, 1 - shown.reduce((sum, [, p]) => sum + p, 0));
  const says = (p) => percent(p, p > 0.995 && p < 1 ? 2 : 1);
  const bar = ([name, p]) => ({ name, share: p, says: says(p), other: name !== strong, mark: marks[name] });
  return [bars(shown.map(bar)), n > 0 && quiet(`and ${number(n)} more, together ${percent(rest)}`)];
}
