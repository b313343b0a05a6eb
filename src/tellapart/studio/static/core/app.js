// The page around the views: says what is open, where one can go, and mounts the view that the address names.
import { address, createContext, scoped } from "./context.js";
import { announce, dialog, fill, h, icon, number, toast } from "./dom.js";
import { keyboard } from "./keys.js";
import { badge, button } from "./parts.js";
import { httpTransport } from "./transport.js";

const VIEWS = {
  grid: "Grid", review: "Review", duplicates: "Duplicates", augment: "Augmentation", training: "Training",
  results: "Results", threshold: "Threshold", try: "Try", history: "History",
};
const root = document.querySelector("main");
const there = document.documentElement.dataset.views.split(" ").filter(Boolean);
const nameOf = (path) => path.split(/[\\/]/).filter(Boolean).pop();
const viewOf = (path) => path.slice(1) || there[0];
let context, shown = { name: null, takeDown: () => {} };

/** Show a view with these parameters, as a new step of the browser's history. */
function go(name, parameters = {}) {
  const query = address(parameters);
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
  fill(root).setAttribute("data-view", name);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  try {
    if (!there.includes(name)) throw new Error(`there is no view called ${name}`);
    const module = await import(`/static/views/${name}.js`);
    if (shown !== here) return null;
    document.title = `${module.title ?? VIEWS[name]} · ${nameOf(context.overview.data)} · tellapart studio`;
    const takeDown = await module.mount(root, view);
    down = () => { takeDown?.(); release(); };
    if (shown !== here) return down();
    if (!focus) return null;
    root.focus({ preventScroll: true });
    return announce(module.title ?? VIEWS[name]);
  } catch (error) {
    release();
    const told = h("div.empty", { role: "alert" }, h("h2", "This view cannot be shown"), h("p", error.message));
    if (shown === here) fill(root, told);
    return report(error);
  }
}

const COUNT_AFTER_MS = 1500, LOOK_MS = 15_000;
let counting;

/** Write beside the links how much waits there, and take in what a check or a training has brought meanwhile. */
async function count() {
  const { ask, overview, emit } = context, queue = await ask("queue"), { open } = await ask("clusters", { count: 1 });
  for (const [name, n] of Object.entries({ review: queue.open.length, duplicates: open })) {
    const place = document.querySelector(`nav [data-view=${name}] .count`);
    if (place) place.textContent = n ? number(n) : "";
  }
  if (queue.run === overview.run && queue.has_findings === overview.has_findings) return;
  Object.assign(overview, await ask("overview"));
  emit("changed", { items: [], more: true });
}
/** Count once nothing has changed for a moment; and now and then, for nobody tells when a check ends. */
function countSoon(wait = COUNT_AFTER_MS) {
  clearTimeout(counting);
  counting = setTimeout(() => (document.hidden ? Promise.resolve() : count()).finally(() => countSoon(LOOK_MS)), wait);
}

function header({ n, actor, data, read_only: readOnly }) {
  const counted = ["grid", "review", "duplicates"];
  const click = (name) => (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(name);
  };
  const link = (name) => h("a", { href: `/${name}`, "data-view": name, click: click(name) }, VIEWS[name],
    counted.includes(name) && h("span.count", name === "grid" && number(n)));
  return [h("p.brand", "tellapart", h("b", " studio")), h("nav", { "aria-label": "Views" }, there.map(link)),
    h("p.facts", h("span.data", { title: data }, nameOf(data)), h("span", actor),
      readOnly && badge("read only", "", "lock")),
    button("?", () => context.keys.help(), { class: "plain", "aria-label": "Keys", title: "Keys (?)" }),
  ];
}

/** Say while nothing answers that what is shown may be old. */
function connectionNote({ answers, message }) {
  document.querySelector(".lost")?.remove();
  if (answers) return;
  document.body.prepend(h("p.lost", { role: "alert" }, icon("warning"), `${message} What is shown here may be old.`));
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
    const query = parameters.size ? `?${parameters}` : "";
    history[push ? "pushState" : "replaceState"](null, "", `${location.pathname}${query}`);
  };
  context = createContext({ transport, overview, keys, go, publish });
  document.querySelector("header").append(...header(overview));
  const goes = there.map((name) => [`go${name[0].toUpperCase()}${name.slice(1)}`, () => go(name)]);
  const { labels } = context;
  const undoing = { undo: () => labels.undo(), redo: () => labels.redo(), redoAlso: () => labels.redo() };
  keys.bind(null, { help: () => keys.help(), ...undoing, ...Object.fromEntries(goes) });
  context.on("connection", connectionNote);
  context.on("changed", () => countSoon());
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
