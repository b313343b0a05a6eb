// The grid: all images, chosen by facets, in any order; relabelled by keys, alone or many at once.
import { clear, confirmDialog, h, icon, number } from "../core/dom.js";
import { grid, SIZES } from "../core/grid.js";
import { pickClass } from "../core/picker.js";
import { zoom } from "./zoom.js";

export const title = "Grid";

const FACETS = { label: "Class", split: "Split", predicted: "Predicted", correct: "Prediction", finding: "Finding", given: "Label as given", by: "Decided by" };
const MARKS = [["changed", "yes", "Label changed"], ["flagged", "yes", "Flagged"], ["excluded", "yes", "Excluded"], ["excluded", "no", "Not excluded"],
  ["reviewed", "yes", "Reviewed by you"], ["reviewed", "no", "Not reviewed by you"]];
const CHOICES = [...Object.keys(FACETS), "changed", "flagged", "excluded", "reviewed"];
const SORTS = { name: "Name", confidence: "Confidence of the prediction", error: "How odd the label is", size: "Size of the file", random: "Random" };
const FOLDED = ["given", "by"]; // until somebody opens them
const MOST_VALUES = 12, ASK_FROM = 200, SETTLE_MS = 300;

const escaped = (name) => name.replace(/[\\,]/g, "\\$&");
/** The names in a parameter of the address; a comma or a backslash in a name has a backslash before it. */
const namesIn = (text) => (text ? text.match(/(\\.|[^,\\])+/g).map((name) => name.replace(/\\(.)/g, "$1")) : []);
const images = (n) => (n === 1 ? "1 image" : `${number(n)} images`);

function queryOf(state) {
  const query = {};
  for (const name of [...CHOICES, "search", "sort", "run"]) if (state.has(name)) query[name] = state.get(name);
  if (state.get("order") === "descending") query.descending = true;
  return query;
}

export async function mount(root, context) {
  const { ask, state, labels, keys, overview, announce, toast, on } = context;
  const classes = [...overview.class_names];
  const open = new Set(), whole = new Set();
  const timers = {};
  let shown = null, closeup = null, counting = 0;

  // ---- the page ----
  const search = h("input", { class: "field", type: "search", placeholder: "Part of a name", "aria-label": "Search by name", input: () => soon("search", () => choose({ search: search.value.trim() })) });
  const sort = h("select", { class: "field", "aria-label": "Order", change: () => choose({ sort: sort.value === "name" ? null : sort.value }) },
    Object.entries(SORTS).map(([value, text]) => h("option", { value }, text)));
  const order = h("button", { type: "button", class: "button", click: () => choose({ order: state.get().get("order") ? null : "descending" }) });
  const sizes = h("div", { class: "sizes", role: "group", "aria-label": "Size of the pictures" },
    Object.keys(SIZES).map((size, k) => h("button", { type: "button", class: "button", "data-size": size, "aria-label": size, title: `${size} pictures`, click: () => state.set({ size: size === "medium" ? null : size }) }, "SML"[k])));
  const told = h("p", { class: "told", role: "status" });
  const stale = h("button", { type: "button", class: "button", hidden: true, click: () => { list.refresh(); count(); } });
  const facets = h("div", { class: "facets" });
  const aside = h("details", { class: "aside", open: matchMedia("(min-width: 701px)").matches }, h("summary", {}, "Filters"), facets);
  const host = h("div", { class: "host" });
  const empty = h("div", { class: "empty", hidden: true }, h("h2", {}, "No image is like that"), h("p", {}, "Take a filter away, or search for less."),
    h("button", { type: "button", class: "button", click: clearFilters }, "Clear all filters"));
  const actions = h("div", { class: "bar actions", role: "toolbar", "aria-label": "Decide" });
  const page = h("div", { class: "grid-view" }, h("h1", { class: "unseen" }, "Images"), aside,
    h("div", { class: "pictures" }, h("div", { class: "bar" }, search, sort, order, sizes, stale, told), empty, host, actions));
  clear(root).append(page);

  const list = grid(context, host, {
    name: "Images", edge: SIZES[state.get().get("size")] ?? SIZES.medium,
    moved: () => { closeup?.look(); soon("at", () => list.item && state.set({ at: list.cursor || closeup ? list.item.i : null })); },
    selected: () => drawActions(),
    listed: (total) => { empty.hidden = total > 0; host.hidden = total === 0; tell(); },
    opened: () => look(),
  });

  function soon(name, work) {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(() => { timers[name] = 0; work(); }, SETTLE_MS);
  }
  function tell() {
    const all = list.total === overview.n;
    told.textContent = all ? images(list.total) : `${number(list.total)} of ${images(overview.n)}`;
    stale.hidden = !list.touched || !shown || shown === "{}";
    stale.textContent = `Refresh the list: ${number(list.touched)} changed`;
  }

  // ---- the address says what is shown ----
  const choose = (partial) => state.set({ ...partial, at: null, zoom: null }, { push: true });
  function clearFilters() {
    search.value = "";
    choose(Object.fromEntries([...CHOICES, "search", "run"].map((name) => [name, null])));
  }
  async function follow() {
    const now = state.get(), query = queryOf(now), edge = now.get("size") ?? "medium", at = now.get("at");
    if (document.activeElement !== search) search.value = query.search ?? "";
    sort.value = query.sort ?? "name";
    order.replaceChildren(query.descending ? "↓" : "↑");
    order.setAttribute("aria-label", query.descending ? "Descending; turn round" : "Ascending; turn round");
    for (const button of sizes.children) {
      if (button.dataset.size === edge && button.getAttribute("aria-pressed") === "false") list.setEdge(SIZES[edge]);
      button.setAttribute("aria-pressed", String(button.dataset.size === edge));
    }
    if (shown !== JSON.stringify(query)) {
      shown = JSON.stringify(query);
      count();
      await list.open(query, at === null ? null : Number(at));
      announce(images(list.total));
    } else if (at !== null && Number(at) !== list.item?.i && !timers.at) await list.open(query, Number(at));
    if (now.get("zoom") && !closeup) look();
    else if (!now.get("zoom")) closeup?.close();
  }

  // ---- facets ----
  async function count() {
    const mine = ++counting;
    const query = queryOf(state.get());
    const counts = await ask("facets", query);
    if (mine === counting) drawFacets(counts, query);
  }
  function drawFacets(counts, query) {
    const focused = document.activeElement?.dataset?.facet && [document.activeElement.dataset.facet, document.activeElement.value];
    const used = query.search || CHOICES.some((facet) => query[facet]);
    clear(facets).append(...[used && h("button", { type: "button", class: "button", click: clearFilters }, icon("close"), "Clear all filters"),
      query.run && h("p", { class: "quiet" }, `Predictions of ${query.run}`), ...Object.keys(FACETS).map((facet) => drawFacet(facet, counts[facet], namesIn(query[facet]))),
      drawGroup("marks", "Decisions", MARKS.filter(([facet]) => counts[facet].yes || query[facet]).map(([facet, value, text]) => [facet, value, text, counts[facet][value] ?? 0, query[facet] === value])),
    ].filter(Boolean));
    if (focused) facets.querySelector(`[data-facet="${focused[0]}"][value="${CSS.escape(focused[1])}"]`)?.focus({ preventScroll: true });
  }
  function drawFacet(facet, counts, wanted) {
    const values = Object.entries(counts).sort((a, b) => (facet === "label" ? 0 : b[1] - a[1]));
    const told = facet === "label" || wanted.length > 0 || values.length >= (facet === "finding" || facet === "by" ? 1 : 2);
    return told && drawGroup(facet, FACETS[facet], values.map(([name, n]) => [facet, name, facet === "split" && name === "none" ? "in no part" : name, n, wanted.includes(name)]));
  }
  function drawGroup(key, text, rows) {
    if (!rows.length) return null;
    const n = rows.filter((one) => one[4]).length, some = whole.has(key) ? rows : rows.filter((one, k) => k < MOST_VALUES || one[4]);
    const toggle = ({ target: { dataset: { facet }, value, checked } }) => {
      const wanted = namesIn(state.get().get(facet));
      choose({ [facet]: (checked ? [...wanted, value] : wanted.filter((name) => name !== value)).map(escaped) });
    };
    return h("details", { open: n > 0 || FOLDED.includes(key) === open.has(key), toggle: (event) => { if (event.target.open === FOLDED.includes(key)) open.add(key); else open.delete(key); } },
      h("summary", {}, text, n > 0 && h("span", { class: "badge" }, n)),
      h("ul", {}, some.map(([facet, value, name, count, checked]) => {
        const box = h("input", { type: "checkbox", value, "data-facet": facet, change: toggle });
        box.checked = checked;
        return h("li", {}, h("label", { class: "check" }, box, h("span", { class: "value", title: name }, name), h("span", { class: "n" }, number(count))));
      })),
      some.length < rows.length && h("button", { type: "button", class: "button plain", click: () => { whole.add(key); count(); } }, `${rows.length - some.length} more`));
  }

  // ---- deciding ----
  function drawActions() {
    const n = list.selection;
    const key = (action) => !keys.off && h("kbd", {}, keys.keyOf(action));
    clear(actions).append(...(overview.read_only ? [] : [
      h("span", { class: "quiet" }, n ? `Label ${images(n)} as` : "Label as"),
      ...classes.slice(0, 10).map((name, k) => h("button", { type: "button", class: "button", click: () => label(name) }, key(`label${k + 1}`), name)),
      h("button", { type: "button", class: "button", click: pick }, key("pick"), "other …"),
      h("button", { type: "button", class: "button", click: () => mark("excluded") }, key("exclude"), "Exclude"),
      h("button", { type: "button", class: "button", click: () => mark("flagged") }, key("flag"), "Flag"),
    ]), h("button", { type: "button", class: "button", click: () => look() }, icon("zoom"), "Look closely"),
    n ? h("button", { type: "button", class: "button plain push", click: () => list.unselect() }, `Unselect ${number(n)}`) : "");
  }
  const targets = async () => (closeup ? [list.item].filter(Boolean) : list.chosen()); // closely, only what is seen
  async function write(field, value, words, advance) {
    if (overview.read_only) return toast("This studio only reads.", { kind: "error" });
    const many = !closeup && list.selection > 0, items = (await targets()).filter((item) => (field === "label" ? item.label !== value : item[field] !== (value === "yes")));
    if (!many && advance) list.step(1, { focus: !closeup });
    if (!items.length) return many ? toast(`All of them are ${words} already.`) : null;
    if (items.length > ASK_FROM && !(await confirmDialog(`${images(items.length)} will be ${words}. It can be undone at once.`, { yes: `Change ${number(items.length)}` }))) return null;
    const answer = await labels.write(items, field, value);
    if (!answer) return null;
    announce(`${many ? images(items.length) : items[0].id} ${words}`);
    if (!many) return answer;
    list.unselect();
    toast(`${images(items.length)} ${words}`, { action: () => labels.undo(answer.batch) });
    return answer;
  }
  function label(name) {
    return write("label", name, `labelled ${name}`, true);
  }
  async function mark(field) {
    const items = await targets();
    const off = items.length > 0 && items.every((item) => item[field]);
    await write(field, off ? "" : "yes", { excluded: off ? "taken in again" : "excluded", flagged: off ? "no longer flagged" : "flagged" }[field], false);
  }
  async function pick() {
    const name = await pickClass(classes, list.selection && !closeup ? `Label ${images(list.selection)} as` : "Label as");
    if (name !== null) await label(name);
  }
  const decide = {
    label: (_, k) => { if (classes[k]) label(classes[k]); else return false; },
    pick, exclude: () => mark("excluded"), flag: () => mark("flagged"),
    accept: () => { const name = list.item?.suggested; if (!name || (list.selection && !closeup)) return false; label(name); },
    undoBack: async () => { if (!overview.read_only) { await labels.undo(); list.step(-1, { focus: !closeup }); } },
  };
  keys.bind(page, { ...decide, zoom: () => look() });

  /** Show the image under the cursor as large as it is. */
  function look() {
    if (!list.item || closeup) return;
    closeup = zoom(context, { classes, run: () => state.get().get("run"), item: () => list.item, place: () => `${number(list.cursor + 1)} of ${number(list.total)}`,
      step: (delta) => list.step(delta, { focus: false }), label, mark, decide: { accept: decide.accept, undoBack: decide.undoBack }, closed: () => { closeup = null; state.set({ zoom: null }); list.step(0); } });
    state.set({ zoom: "yes", at: list.item.i });
  }

  on("changed", ({ items }) => {
    const brought = [...new Set(items.map((item) => item.label))].filter((name) => name && !classes.includes(name));
    if (brought.length) { classes.push(...brought); drawActions(); }
    tell();
    if (!items.some((item) => item.saving)) soon("count", count);
  });
  on("state", follow);
  drawActions();
  for (const button of sizes.children) button.setAttribute("aria-pressed", String(SIZES[button.dataset.size] === (SIZES[state.get().get("size")] ?? SIZES.medium)));
  await follow();
  return () => { Object.values(timers).forEach(clearTimeout); closeup?.close(); list.takeDown(); };
}
