// The grid: all images, chosen by facets, in any order; relabelled by keys, alone or many at once.
import { confirmDialog, fill, give, h, icon, images, number, refill } from "../core/dom.js";
import { grid, SIZES } from "../core/grid.js";
import { badge, button, choice, quiet, tick } from "../core/parts.js";
import { pickClass } from "../core/picker.js";
import { zoom } from "./zoom.js";

const WORDS = { excluded: ["excluded", "taken in again"], flagged: ["flagged", "no longer flagged"] };
const FOLDED = ["given", "by"]; // until somebody opens them
const MOST_VALUES = 12, ASK_FROM = 200, SETTLE_MS = 300;

export async function mount(root, context) {
  const { ask, state, labels, keys, overview, announce, toast, on } = context;
  const classes = [...overview.class_names], may = !overview.read_only, facetNames = overview.facets;
  const open = new Set(), whole = new Set(), timers = {};
  let shown = null, closeup = null, counting = 0, runs = [];

  // ---- the page ----
  const search = h("input.field", { type: "search", placeholder: "Part of a name", "aria-label": "Search by name",
    input: () => soon("search", () => choose({ search: search.value.trim() })) });
  const reorder = (name) => choose({ sort: name === "name" ? null : name });
  const sort = choice(Object.entries(overview.sorts), "name", reorder, { "aria-label": "Order" });
  const order = button("", () => choose({ order: state.get("order") ? null : "descending" }));
  const size = (name, k) => button("SML"[k], () => state.set({ size: name === "medium" ? null : name }),
    { "data-size": name, "aria-label": name, title: `${name} pictures`,
      "aria-pressed": String(name === state.get("size", "medium")) });
  const sizes = h("div.sizes", { role: "group", "aria-label": "Size of the pictures" }, Object.keys(SIZES).map(size));
  const told = h("p.told", { role: "status" });
  const stale = button("", () => { list.refresh(); count(); }, { hidden: true });
  const facets = h("div.facets"), host = h("div.host"), wide = matchMedia("(min-width: 701px)").matches;
  const aside = h("details.aside", { open: wide }, h("summary", "Filters"), facets);
  const none = h("div.empty", { hidden: true }, h("h2", "No image is like that"),
    h("p", "Take a filter away, or search for less."), button("Clear all filters", clearFilters));
  const actions = h("div.bar.actions", { role: "toolbar", "aria-label": "Decide" });
  const page = h("div.grid-view", h("h1.unseen", "Images"), aside,
    h("div.pictures", h("div.bar", search, sort, order, sizes, stale, told), none, host, actions));
  fill(root, page);
  const list = grid(context, host, {
    edge: SIZES[state.get("size")],
    moved: () => {
      closeup?.look();
      soon("at", () => list.item && state.set({ at: list.cursor || closeup ? list.item.i : null }));
    },
    selected: () => drawActions(),
    listed: (total) => { [none.hidden, host.hidden] = [total > 0, total === 0]; tell(); },
    opened: () => look(),
    renewed: (before, after) => {
      const kept = before ? ` ${number(after)} of the ${images(before)} that you had selected still are.` : "";
      toast(`The studio had this list no longer, and made it anew. Nothing was changed.${kept}`, { kind: "error" });
    },
  });
  function soon(name, work) {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(() => { timers[name] = 0; work(); }, SETTLE_MS);
  }
  function tell() {
    const { total, touched } = list;
    told.textContent = total === overview.n ? images(total) : `${number(total)} of ${images(overview.n)}`;
    stale.hidden = !touched || !shown || shown === "{}";
    stale.textContent = `Refresh the list: ${number(touched)} changed`;
  }

  // ---- the address says what is shown ----
  const choose = (partial) => state.set({ ...partial, at: null, zoom: null }, { push: true });
  function clearFilters() {
    search.value = "";
    choose(Object.fromEntries([...facetNames, "search"].map((name) => [name, null])));
  }
  /** What the address asks for, as the studio takes it. */
  function query() {
    const wanted = [...facetNames, "search", "sort", "run"].map((name) => [name, state.get(name)]);
    const chosen = Object.fromEntries(wanted.filter(([, value]) => value));
    return { ...chosen, ...(state.get("order") && { descending: true }) };
  }
  async function follow() {
    const now = query(), edge = state.get("size", "medium"), at = state.get("at", null);
    if (document.activeElement !== search) search.value = now.search ?? "";
    sort.value = now.sort ?? "name";
    fill(order, now.descending ? "↓" : "↑");
    order.setAttribute("aria-label", now.descending ? "Descending; turn round" : "Ascending; turn round");
    for (const one of sizes.children) {
      const chosen = one.dataset.size === edge;
      if (chosen && one.getAttribute("aria-pressed") === "false") list.setEdge(SIZES[edge]);
      give(one, { "aria-pressed": String(chosen) });
    }
    if (shown !== JSON.stringify(now)) {
      shown = JSON.stringify(now);
      count();
      await list.open(now, at === null ? null : Number(at));
      announce(images(list.total));
    } else if (at !== null && Number(at) !== list.item?.i && !timers.at) await list.open(now, Number(at));
    if (!state.get("zoom")) closeup?.close();
    else if (!closeup) look();
  }

  // ---- facets ----
  /** Which runs can be laid beside the images: those that were tested on some. */
  async function knowRuns() {
    runs = (await ask("runs")).runs.filter((run) => run.n_test).map(({ name }) => name);
    if (runs.length > 1) await count();
  }
  async function count() {
    const mine = ++counting, now = query(), { groups } = await ask("facets", now);
    if (mine === counting) drawFacets(groups, now);
  }
  function drawFacets(groups, now) {
    const used = now.search || facetNames.some((name) => now[name]), usual = overview.run;
    const chooseRun = (name) => choose({ run: name === usual ? null : name });
    const run = runs.length > 1 && h("label.of-run", h("span.quiet", "Predictions of"),
      choice(runs, now.run ?? usual, chooseRun, { "data-key": "run" }));
    refill(facets, [run || (now.run && quiet(`Predictions of ${now.run}`)),
      used && button([icon("close"), "Clear all filters"], clearFilters, { "data-key": "clear" }),
      groups.map(drawGroup)]);
  }
  function drawGroup({ key, title, rows }) {
    const n = rows.filter((one) => one[4]).length, folded = FOLDED.includes(key);
    const some = whole.has(key) ? rows : rows.filter((one, k) => k < MOST_VALUES || one[4]);
    const toggle = (facet, value) => (on) => {
      const others = state.names(facet).filter((name) => name !== value);
      choose({ [facet]: on ? [...others, value] : others });
    };
    const row = ([facet, value, name, count, checked]) => {
      const says = [h("span.value", { title: name }, name), h("span.n", number(count))];
      return h("li", tick(says, checked, toggle(facet, value), { "data-key": `${facet} ${value}` }));
    };
    const more = () => { whole.add(key); count(); };
    const folds = ({ target }) => (target.open === folded ? open.add(key) : open.delete(key));
    return h("details", { open: n > 0 || folded === open.has(key), toggle: folds },
      h("summary", title, n > 0 && badge(n)), h("ul", some.map(row)),
      some.length < rows.length && button(`${rows.length - some.length} more`, more, { class: "plain" }));
  }

  // ---- deciding ----
  function drawActions() {
    const n = list.selection, act = (action, text, click) => button([keys.cap(action), text], click);
    fill(actions, may && [h("span.quiet", n ? `Label ${images(n)} as` : "Label as"),
      classes.slice(0, 10).map((name, k) => act(`label${k + 1}`, name, () => label(name))),
      act("pick", "other …", pick), act("exclude", "Exclude", () => mark("excluded")),
      act("flag", "Flag", () => mark("flagged"))],
    button([icon("zoom"), "Look closely"], () => look()),
    n > 0 && button(`Unselect ${number(n)}`, () => list.unselect(), { class: "plain push" }));
  }
  const targets = async () => (closeup ? [list.item].filter(Boolean) : list.chosen()); // closely, only what is seen
  /** Have many changed only once that was confirmed; resolves to the reason that was given, or to null. */
  async function confirmed(n, words) {
    const why = h("input.field", { maxlength: 1000 });
    const content = h("div", h("p", `${images(n)} will be ${words}. It can be undone at once.`),
      h("label.why", "Why? It is kept with the labels, and may stay empty.", why));
    return (await confirmDialog(content, { yes: `Change ${number(n)}` })) ? why.value.trim() : null;
  }
  /** Change a field of the images that are meant; `wish(images)` gives its value, and what they then are in words. */
  async function change(field, wish, { advance = false, source } = {}) {
    if (!may) return toast("This studio only reads.", { kind: "error" });
    const many = !closeup && list.selection > 0, meant = await targets();
    if (!meant.length) return null;
    const [value, words] = wish(meant);
    const differs = (item) => (field === "label" ? item.label !== value : item[field] !== (value === "yes"));
    const items = meant.filter(differs), n = items.length;
    if (!many && advance) list.step(1, { focus: !closeup });
    if (!n) return many && toast(`All of them are ${words} already.`);
    const why = n > ASK_FROM ? await confirmed(n, words) : "";
    const answer = why !== null && await labels.write(items, field, value, { source, why });
    if (!answer) return null;
    announce(`${many ? images(n) : items[0].id} ${words}`);
    if (!many) return answer;
    list.unselect();
    return toast(`${images(n)} ${words}`, { action: () => labels.undo(answer.batch) });
  }
  const label = (name, source) => change("label", () => [name, `labelled ${name}`], { advance: true, source });
  const mark = (field) => change(field, (items) => {
    const off = items.every((item) => item[field]);
    return [off ? "" : "yes", WORDS[field][Number(off)]];
  });
  async function pick() {
    const many = list.selection > 0 && !closeup;
    const name = await pickClass(classes, many ? `Label ${images(list.selection)} as` : "Label as");
    if (name !== null) await label(name);
  }
  function accept() {
    const name = list.item?.suggested;
    return name && (closeup || !list.selection) ? label(name, "suggestion") : false;
  }
  async function undoBack() {
    if (!may) return;
    await labels.undo();
    list.step(-1, { focus: !closeup });
  }
  keys.bind(page, { label: (_, k) => (classes[k] ? label(classes[k]) : false), pick, accept, undoBack,
    exclude: () => mark("excluded"), flag: () => mark("flagged"), zoom: () => look() });
  /** Show the image under the cursor as large as it is. */
  function look() {
    if (!list.item || closeup) return;
    const closed = () => {
      closeup = null;
      if (!page.isConnected) return; // closed because the view went: the address is another one's by now
      state.set({ zoom: null });
      list.step(0);
    };
    closeup = zoom(context, { classes, run: () => state.get("run"), item: () => list.item, label, mark, closed,
      place: () => `${number(list.cursor + 1)} of ${number(list.total)}`, decide: { accept, undoBack },
      step: (delta) => list.step(delta, { focus: false }) });
    state.set({ zoom: "yes", at: list.item.i });
  }
  on("changed", ({ items, more }) => {
    if (more) knowRuns(); // a training may have ended
    const brought = [...new Set(items.map((item) => item.label))].filter((name) => name && !classes.includes(name));
    classes.push(...brought);
    if (brought.length) drawActions();
    tell();
    if (!items.some((item) => item.saving)) soon("count", count);
  });
  on("state", follow);
  drawActions();
  await follow();
  knowRuns();
  return () => { Object.values(timers).forEach(clearTimeout); closeup?.close(); list.takeDown(); };
}
