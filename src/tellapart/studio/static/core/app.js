// The page around the views: mounts the view that the address names, and says what is open and how much waits where.
import { address, createContext, scoped } from "./context.js";
import { announce, dialog, fill, give, h, icon, number } from "./dom.js";
import { keyboard } from "./keys.js";
import { badge, button } from "./parts.js";
import { httpTransport, tellRefusals } from "./transport.js";

const COUNT_AFTER_MS = 1500, LOOK_MS = 15_000;
const root = document.querySelector("main"), links = [...document.querySelectorAll("nav a")];
const titles = Object.fromEntries(links.map((link) => [link.dataset.view, link.firstChild.data]));
const nameOf = (path) => path.split(/[\\/]/).filter(Boolean).pop();
const viewOf = (path) => path.slice(1) || links[0].dataset.view;
let context, counting, shown = { name: null, takeDown: () => {} };

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
  const here = shown, [view, release] = scoped(context);
  let down = release;
  shown.takeDown = () => down();
  give(fill(root), { "data-view": name });
  for (const link of links) give(link, { "aria-current": link.dataset.view === name && "page" });
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  try {
    if (!titles[name]) throw new Error(`there is no view called ${name}`);
    const module = await import(`/static/views/${name}.js`);
    if (shown !== here) return null;
    document.title = `${titles[name]} · ${nameOf(context.overview.data)} · tellapart studio`;
    const takeDown = await module.mount(root, view);
    down = () => { takeDown?.(); release(); };
    if (shown !== here) return down();
    if (!focus) return null;
    root.focus({ preventScroll: true });
    return announce(titles[name]);
  } catch (error) {
    release();
    const told = h("div.empty", { role: "alert" }, h("h2", "This view cannot be shown"), h("p", error.message));
    if (shown === here) fill(root, told);
    return report(error);
  }
}

/** Write beside a link how much there is. */
function tally(name, n) {
  const place = document.querySelector(`nav [data-view=${name}] .count`);
  if (place) place.textContent = n ? number(n) : "";
}
/** Tally what waits, and take in what a check or a training has brought meanwhile. */
async function count() {
  const { ask, overview, emit } = context, queue = await ask("queue"), { open } = await ask("clusters", { count: 1 });
  tally("review", queue.open.length);
  tally("duplicates", open);
  if (queue.run === overview.run && queue.has_findings === overview.has_findings) return;
  Object.assign(overview, await ask("overview"));
  emit("changed", { items: [], more: true });
}
/** Count once nothing has changed for a moment; and now and then, for nobody tells when a check ends. */
function countSoon(wait = COUNT_AFTER_MS) {
  clearTimeout(counting);
  counting = setTimeout(() => (document.hidden ? Promise.resolve() : count()).finally(() => countSoon(LOOK_MS)), wait);
}

/** Have the header's links change the view and not the page, and say beside them what is open. */
function header({ n, actor, data, read_only: readOnly }) {
  const click = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(event.currentTarget.dataset.view);
  };
  for (const link of links) give(link, { click });
  tally("grid", n);
  const facts = h("p.facts", h("span.data", { title: data }, nameOf(data)), h("span", actor),
    readOnly && badge("read only", "", "lock"));
  const help = button("?", () => context.keys.help(), { class: "plain", "aria-label": "Keys", title: "Keys (?)" });
  document.querySelector("header").append(facts, help);
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
  const transport = httpTransport(), overview = await transport.ask("overview");
  const keys = keyboard(document, overview.keys);
  const publish = (parameters, push) => {
    const query = parameters.size ? `?${parameters}` : "";
    history[push ? "pushState" : "replaceState"](null, "", `${location.pathname}${query}`);
  };
  context = createContext({ transport, overview, keys, go, publish });
  header(overview);
  const goes = Object.keys(titles).map((name) => [`go${name[0].toUpperCase()}${name.slice(1)}`, () => go(name)]);
  keys.bind(null, { help: () => keys.help(), ...context.labels.keys, ...Object.fromEntries(goes) });
  context.on("connection", connectionNote);
  context.on("changed", () => countSoon());
  countSoon();
  if (overview.version !== undefined) context.labels.follow(overview.version);
  window.addEventListener("popstate", () => arrive(false));
  return arrive(false);
}

tellRefusals();
start().catch((error) => {
  report(error);
  return dialog("The studio cannot start", error.message, [{ value: null, text: "Close" }]);
});
