// Keys. Views bind actions, never keys, so that all can be remapped; studio/shortcuts.py has the table of both.
import { dialog, h } from "./dom.js";
import { tick } from "./parts.js";

const SECOND_STROKE_MS = 1500;
const TEXT = "textarea, [contenteditable=''], [contenteditable=true], input:not([type=checkbox], [type=radio], " +
  "[type=range], [type=button], [type=submit], [type=file], [type=color])";
const CONTROL = "button, a[href], summary, select, input, [role=slider], [role=tab]";
const MOVES = /^(Shift\+)?(Arrow\w+|Home|End|Page\w+)$/;
const CHARACTER = /^(Shift\+)?.$/u; // what speech or a slip of the hand may type: WCAG 2.1.4 wants it off on request
// In a cookie, since these do not look at the port, which may be another one each time the studio is started.
const OFF = "tellapart-keys=off";
const isOff = () => document.cookie.split("; ").includes(OFF);
const switchOff = (off) => { document.cookie = `${OFF}; path=/; samesite=strict; max-age=${off ? 34_000_000 : 0}`; };

/** The ways to write an event's key as in the table: what is printed on it, and which digit it is on any layout. */
export function strokes(event) {
  const { key, code, shiftKey } = event;
  const mod = event.ctrlKey || event.metaKey ? "Ctrl+" : event.altKey ? "Alt+" : "";
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
  const printed = key === " " ? "Space" : key.length === 1 ? key.toLowerCase() : key;
  const symbol = key.length === 1 && key.toLowerCase() === key.toUpperCase() && key !== " ";
  const found = [];
  if (!/^\d$/.test(key)) found.push(mod + (shiftKey && !symbol ? "Shift+" : "") + printed);
  if (digit && (key.length === 1)) found.push(`${mod}${shiftKey ? "Shift+" : ""}${digit}`);
  return found;
}

/** Whether a control that has the focus wants this key itself. */
function wanted(target, stroke) {
  if (!target.closest) return false;
  if (target.closest(TEXT)) return stroke !== "Escape";
  const control = target.closest(CONTROL);
  if (!control) return false;
  if (stroke === "Enter" || stroke === "Space") return true;
  if (control.matches("select")) return !/^(Ctrl|Alt)\+/.test(stroke) && stroke !== "Escape";
  return control.matches("input, [role=slider], [role=tab]") && MOVES.test(stroke);
}

/** The keyboard of one page or widget.
 * @param {Document|Element} host where keys are listened for
 * @param {Object<string, string[]>} actions -> key, what it does (same words share a line of help), and its caption
 * @returns {object} {bind(scope, {action: handler}), cap(action), help()}
 *   `bind` returns what unbinds. Handlers get the event; one that returns false did nothing, and the next is asked, the
 *   last bound first. `label` stands for label1 to label20, and gets the number from 0 as second argument. Keys reach a
 *   scope from inside it and from what is around it, such as a page without a focus; with null, from anywhere. */
export function keyboard(host, actions) {
  const keyOf = (action) => actions[action]?.[0];
  const bound = [];
  let prefix = "", timer;
  const handlerOf = (handlers, action) => {
    const labels = /^label(\d+)$/.exec(action);
    return handlers[action] ?? (labels && handlers.label && ((event) => handlers.label(event, Number(labels[1]) - 1)));
  };
  const reached = (target) => {
    const modal = target.closest?.("dialog[open]");
    const concerns = (scope) => scope.contains(target) || target.contains(scope);
    return bound.filter(({ scope }) => (modal ? scope && modal.contains(scope) : !scope || concerns(scope))).reverse();
  };
  const perform = (event, stroke) => {
    for (const { handlers } of reached(event.target)) {
      for (const action of Object.keys(actions)) {
        if (keyOf(action) !== stroke) continue;
        const handler = handlerOf(handlers, action);
        if (handler && handler(event) !== false) return true;
      }
    }
    return false;
  };
  const begins = (target, stroke) => reached(target).some(({ handlers }) =>
    Object.keys(handlers).some((action) => keyOf(action)?.startsWith(`${stroke} `)));
  host.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    for (const stroke of strokes(event)) {
      if (wanted(event.target, stroke) || (!prefix && CHARACTER.test(stroke) && isOff())) continue;
      const whole = prefix ? `${prefix} ${stroke}` : stroke;
      const first = !prefix && begins(event.target, stroke);
      if (!first && !perform(event, whole)) continue;
      clearTimeout(timer);
      prefix = first ? stroke : "";
      if (first) timer = setTimeout(() => (prefix = ""), SECOND_STROKE_MS);
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) prefix = "";
  });
  const top = host.documentElement ?? host;
  const showOff = () => top.classList.toggle("keys-off", isOff()); // buttons then name no key
  showOff();
  return {
    /** An action's key, to stand on a button. */
    cap: (action) => h("kbd", actions[action]?.[2]),
    bind(scope, handlers) {
      const entry = { scope, handlers };
      bound.push(entry);
      return () => bound.includes(entry) && bound.splice(bound.indexOf(entry), 1);
    },
    help() {
      const lines = new Map();
      for (const [action, [, text]] of Object.entries(actions)) {
        if (!text || !bound.some(({ handlers }) => handlerOf(handlers, action))) continue;
        lines.set(text, [...(lines.get(text) ?? []), h("kbd", actions[action]?.[2])]);
      }
      const rows = [...lines].map(([text, keys]) => h("div", h("dt", keys), h("dd", text)));
      const switched = (on) => { switchOff(!on); showOff(); };
      const single = tick("Keys without Ctrl, such as A, 1 or Shift+1, do something", !isOff(), switched);
      return dialog("Keys", h("div", h("dl.keys", rows), single));
    },
  };
}
