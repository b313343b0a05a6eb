// Elements, icons, numbers, and how the page speaks to people. Knows nothing of the studio.

/** Give a node attributes: functions become listeners, `style` takes an object; false and null take one off. */
export function give(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    else if (value === false || value == null) node.removeAttribute(key);
    else node.setAttribute(key, value === true ? "" : value);
  }
  return node;
}

/** Make an element, such as h("p.quiet", { title: "…" }, "text", h("b", "more")).
 * @param {string} what name and classes
 * @param {object=} attributes as for `give`
 * @param {...*} children elements and texts, in lists as well; false, null, undefined and "" are left out */
export function h(what, attributes, ...children) {
  const [name, ...classes] = what.split("."), node = document.createElement(name);
  const given = attributes?.constructor === Object;
  give(node, given ? attributes : {});
  node.classList.add(...classes);
  return fill(node, given ? null : attributes, children);
}

const shown = (children) => children.flat(Infinity).filter((child) => child != null && child !== false && child !== "");

/** Put these in a node, in place of all that is in it; returns the node. Children are those of `h`. */
export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
  return node;
}

/** As `fill`; the focus stays on what has the same `data-key` as what had it, else it goes to `otherwise`, if given. */
export function refill(node, children, otherwise) {
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key ?? "" : null;
  fill(node, children);
  if (key === null) return;
  const same = node.querySelector(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  (same ?? otherwise)?.focus({ preventScroll: true });
}

const ICONS = {
  accept: "M3 8.5l3.2 3.2L13 4.5", close: "M4 4l8 8M12 4l-8 8", flag: "M4 14V2.5h8l-2 3 2 3H4",
  exclude: "M8 2.5a5.5 5.5 0 1 0 .01 0M4.2 4.2l7.6 7.6", undo: "M6 3L3 6l3 3M3 6h6a3.5 3.5 0 0 1 0 7H6",
  redo: "M10 3l3 3-3 3M13 6H7a3.5 3.5 0 0 0 0 7h3", search: "M7 2.5a4.5 4.5 0 1 0 .01 0M10.2 10.2L14 14",
  zoom: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10", left: "M10 3L5 8l5 5", right: "M6 3l5 5-5 5",
  warning: "M8 2L14.5 13.5h-13zM8 6.5v3.2M8 11.4v.4", upload: "M8 11V3M4.5 6L8 2.5 11.5 6M2.5 11v2.5h11V11",
  download: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M2.5 13.5h11", play: "M5 3l8 5-8 5z", stop: "M4 4h8v8H4z",
  camera: "M2 5h3l1-1.8h4L11 5h3v8H2zM8 6.8a2.2 2.2 0 1 0 .01 0", lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
  blind: "M2 8s2.2-4 6-4 6 4 6 4-2.2 4-6 4-6-4-6-4M3 13L13 3",
};

/** One of our icons, 16 px, in the colour of the text; hidden from screen readers. */
export function icon(name) {
  const [root, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  give(root, { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" });
  give(path, { d: ICONS[name] });
  root.append(path);
  return root;
}

/** @returns {string} such as "12,345" or "0.715" */
export const number = (value, digits = 3) =>
  (Number.isFinite(value) ? value.toLocaleString("en", { maximumFractionDigits: digits }) : "not defined");
/** @returns {string} such as "1 image" or "1,200 images" */
export const images = (n) => `${number(n)} image${n === 1 ? "" : "s"}`;
/** A moment, given in UTC, as people here write it. */
export const localTime = (at, timeStyle = "short") =>
  (at ? new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle }) : "");
const THROTTLE_MS = 250;
let page = document.body, region, waiting, spoken = "";
/** Have words, notes and dialogs in this element, not in the whole page: for a widget in somebody else's. */
export const speakIn = (root) => { page = root; };

/** Say something to screen readers when they are done speaking; of several in a moment, the last. */
export function announce(text) {
  if (!region?.isConnected) region = page.appendChild(h("div.unseen", { "aria-live": "polite", role: "status" }));
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    spoken = text === spoken ? `${text}\u00a0` : text; // the same words twice are said twice
    region.textContent = spoken;
  }, THROTTLE_MS);
}

/** A note at the edge of the page that leaves by itself.
 * @param {string} text @param {{action?: function, label?: string, kind?: "error"}} options a button, what it does */
export function toast(text, { action, label = "Undo", kind } = {}) {
  const place = page.querySelector(".toasts") ?? page.appendChild(h("div.toasts", { role: "status" }));
  let timer;
  const leave = () => note.remove();
  const start = () => (timer = setTimeout(leave, action || kind === "error" ? 10_000 : 4_000));
  const note = h("div", { class: `toast ${kind ?? ""}`, mouseenter: () => clearTimeout(timer), mouseleave: start },
    kind === "error" && icon("warning"), h("span", text),
    action && h("button", { type: "button", class: "button", click: () => { leave(); action(); } }, label),
    h("button", { type: "button", class: "button plain", "aria-label": "Close this note", click: leave },
      icon("close")));
  place.replaceChildren(...[...place.children].slice(-2), note);
  start();
  return leave;
}

/** Ask in a modal dialog; Escape answers null.
 * @param {string} title @param {Node|string} content @param {{value: *, text: string, primary?: boolean}[]} answers
 * @returns {Promise<*>} the value of the answer */
export function dialog(title, content, answers = [{ value: null, text: "Close", primary: true }]) {
  return new Promise((resolve) => {
    let chosen = null;
    const choice = ({ value, text, primary }) =>
      h("button", { type: "button", class: `button ${primary ? "primary" : ""}`, autofocus: primary,
        click: () => { chosen = value; box.close(); } }, text);
    const box = h("dialog.dialog", { "aria-label": title }, h("h2", title),
      typeof content === "string" ? h("p", content) : content, h("div.bar.end", answers.map(choice)));
    openDialog(box, () => resolve(chosen));
  });
}

/** Show a dialog. Once it closes it is taken out, the focus goes back to where it was, and `closed` is told. */
export function openDialog(box, closed) {
  const before = document.activeElement;
  box.addEventListener("close", () => { box.remove(); before?.focus?.({ preventScroll: true }); closed(); });
  page.append(box);
  box.showModal();
}

/** @returns {Promise<boolean>} whether the reader agreed */
export async function confirmDialog(content, { yes = "Go on", no = "Cancel", title = "Please confirm" } = {}) {
  return Boolean(await dialog(title, content, [{ value: false, text: no }, { value: true, text: yes, primary: true }]));
}
