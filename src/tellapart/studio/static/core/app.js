// The page around the views: says what is open, where one can go, and mounts the view that the address names.
import { createContext, scoped } from "./context.js";
import { announce, clear, dialog, h, icon, number, toast } from "./dom.js";
import { keyboard } from "./keys.js";
import { httpTransport } from "./transport.js";

const VIEWS = { grid: "Grid", review: "Review", duplicates: "Duplicates", augment: "Augmentation", training: "Training", results: "Results", threshold: "Threshold", try: "Try", history: "History" };
const root = document.querySelector("main");
const there = document.documentElement.dataset.views.split(" ").filter(Boolean);
const nameOf = (path) => path.split(/[\\/]/).filter(Boolean).pop();
const viewOf = (path) => path.slice(1) || there[0];
let context, shown = { name: null, takeDown: () => {} };

/** Show a view with these parameters, as a new step of the browser's history. */
function go(name, parameters = {}) {
  const query = new URLSearchParams(parameters);
  history.pushState(null, "", `/${name}${query.size ? `?${query}` : ""}`);
  arrive(true);
}

/** Show what the address says. */
function arrive(focus) {
  const name = viewOf(location.pathname);
  if (name === shown.name) return context.state.adopt(location.search);
  shown.takeDown();
  shown = { name, takeDown: () => {} };
  context.state.adopt(location.search);
  return mount(name, focus);
}

async function mount(name, focus) {
  const here = shown;
  const [view, release] = scoped(context);
  let down = release;
  shown.takeDown = () => down();
  clear(root).setAttribute("data-view", name);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  try {
    if (!there.includes(name)) throw new Error(`there is no view called ${name}`);
    const module = await import(`/static/views/${name}.js`);
    if (shown !== here) return;
    document.title = `${module.title ?? VIEWS[name]} · ${nameOf(context.overview.data)} · tellapart studio`;
    const takeDown = await module.mount(root, view);
    down = () => { takeDown?.(); release(); };
    if (shown !== here) return down();
    if (focus) { root.focus({ preventScroll: true }); announce(module.title ?? VIEWS[name]); }
  } catch (error) {
    release();
    if (shown === here) clear(root).append(h("div", { class: "empty", role: "alert" }, h("h2", {}, "This view cannot be shown"), h("p", {}, error.message)));
    report(error);
  }
}

/** How many images or clusters wait in a view. */
const WAITING = { review: async () => (await context.ask("queue")).open.length, duplicates: async () => (await context.ask("clusters", { count: 1 })).open };
const COUNT_AFTER_MS = 1500;
let counting;

/** Write beside the links how much waits there, once nothing has changed for a moment. */
function countSoon() {
  clearTimeout(counting);
  counting = setTimeout(async () => {
    for (const name of there.filter((view) => WAITING[view])) {
      const n = await WAITING[name]();
      document.querySelector(`nav [data-view=${name}] .count`).textContent = n ? number(n) : "";
    }
  }, COUNT_AFTER_MS);
}

function header({ n, actor, data, read_only: readOnly }) {
  const link = (name) => h("a", { href: `/${name}`, "data-view": name, click: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(name);
  } }, VIEWS[name], (name === "grid" || WAITING[name]) && h("span", { class: "count" }, name === "grid" && number(n)));
  return [
    h("p", { class: "brand" }, "tellapart", h("b", {}, " studio")),
    h("nav", { "aria-label": "Views" }, there.map(link)),
    h("p", { class: "facts" }, h("span", { class: "data", title: data }, nameOf(data)), h("span", {}, actor), readOnly && h("span", { class: "badge" }, icon("lock"), "read only")),
    h("button", { type: "button", class: "button plain", "aria-label": "Keys", title: "Keys (?)", click: () => context.keys.help() }, "?"),
  ];
}

/** Say while nothing answers that what is shown may be old. */
function connectionNote({ answers, message }) {
  document.querySelector(".lost")?.remove();
  if (!answers) document.body.prepend(h("p", { class: "lost", role: "alert" }, icon("warning"), `${message} What is shown here may be old.`));
}

/** Our own mistakes belong in the console; what the studio refuses is shown only. */
function report(error) {
  if (error.name !== "AskError") console.error(error);
}

async function start() {
  const transport = httpTransport();
  const overview = await transport.ask("overview");
  const keys = keyboard(document, overview.keys);
  const publish = (parameters, push) => {
    const address = `${location.pathname}${parameters.size ? `?${parameters}` : ""}`;
    history[push ? "pushState" : "replaceState"](null, "", address);
  };
  context = createContext({ transport, overview, keys, go, publish });
  document.querySelector("header").append(...header(overview));
  const goes = there.map((name) => [`go${name[0].toUpperCase()}${name.slice(1)}`, () => go(name)]);
  const { labels } = context;
  keys.bind(null, { help: () => keys.help(), undo: () => labels.undo(), redo: () => labels.redo(), redoAlso: () => labels.redo(), ...Object.fromEntries(goes) });
  context.on("connection", connectionNote);
  context.on("changed", countSoon);
  countSoon();
  if (overview.version !== undefined) labels.follow(overview.version);
  window.addEventListener("popstate", () => arrive(false));
  return arrive(false);
}

window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AskError") return;
  event.preventDefault();
  toast(event.reason.message, { kind: "error" });
});
start().catch((error) => {
  report(error);
  return dialog("The studio cannot start", error.message, [{ value: null, text: "Close" }]);
});
