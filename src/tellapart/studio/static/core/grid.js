// The virtual grid: of any number of images, only those in sight are in the page. Views and notebooks mount it.
import { give, h } from "./dom.js";
import { percent } from "/shared/curves.js";

/** Long edges of the pictures, in pixels. */
export const SIZES = { small: 104, medium: 160, large: 300 };
const CHUNK = 100, MOST_CHUNKS = 40, MOST_ASKED = 2, OVERSCAN_ROWS = 2, GAP = 8, CAPTION = 24;
const MOST_PX = 15_000_000; // browsers lay out no taller boxes than about this
const CORNER = 30; // of a picture: a click there selects

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** What stands beside the label: glyphs, and in words what was predicted otherwise. */
function marksOf(item, edge) {
  const otherwise = item.correct === false && ["≠", edge >= SIZES.medium && item.predicted,
    edge >= SIZES.large && percent(item.p, 0)].filter(Boolean).join(" ");
  const doubted = item.suggested && item.label === item.given;
  return [item.excluded && "⊘", item.flagged && "⚑", doubted && "?", otherwise].filter(Boolean).join(" ");
}

/** An image in words, for those who do not see it. */
function describe(item) {
  const found = item.findings.filter((kind) => kind !== "suspected label");
  return [item.label, item.excluded && "excluded", item.flagged && "flagged", item.changed && `given as ${item.given}`,
    item.predicted && `predicted ${item.predicted} ${percent(item.p, 0)}`,
    item.suggested && `suspected to be ${item.suggested}`, ...found, item.id].filter(Boolean).join(", ");
}

/** @param {object} context of the view
 * @param {HTMLElement} host a box with a height of its own, which will scroll
 * @param {object} options `moved(item, cursor)` hears where the cursor is, `selected(n)` how many are chosen,
 *   `opened()` of double clicks, `listed(total)` how many images a new list has, `renewed(before, after)` that the
 *   studio had the list no longer and made it anew: how many were selected, and how many of them still are
 * @returns {object} {open, refresh, setEdge, moveTo, step, chosen, unselect, takeDown, item, total, cursor, selection,
 *   touched}; the last two tell how many are chosen, and how many have changed since the list was made */
export function grid(context, host, options = {}) {
  const nothing = () => {};
  const { moved = nothing, selected = nothing, opened = nothing, listed = nothing, renewed = nothing } = options;
  const { ask, show, keys, on } = context;
  let edge = options.edge ?? SIZES.medium;
  let query = {}, stamp = "", total = 0, epoch = 0, asked = 0;
  let cursor = 0, anchor = 0, base = new Set(), selection = new Set();
  let columns = 1, width = 0, view = 0, row = 1, ratio = 1, frame = 0;
  const chunks = new Map(), placeOf = new Map(), touched = new Set(), cells = new Map();
  const spacer = h("div.cells", { role: "listbox", "aria-multiselectable": "true", "aria-label": "Images" });
  host.classList.add("virtual");
  host.append(spacer);
  const itemAt = (position) => chunks.get(Math.floor(position / CHUNK))?.[position % CHUNK];

  // ---- what is in sight ----
  function measure() {
    width = host.clientWidth;
    view = host.clientHeight;
    columns = Math.max(1, Math.floor((width + GAP) / (edge + GAP)));
    row = edge + CAPTION + GAP;
    const height = Math.ceil(total / columns) * row;
    spacer.style.height = `${Math.min(height, MOST_PX)}px`;
    ratio = height > MOST_PX ? (height - view) / (MOST_PX - view) : 1;
    for (const [position, cell] of cells) place(cell, position);
    render();
  }
  const top = () => host.scrollTop * ratio; // of what is in sight; the box may be taller than browsers can lay out
  function place(cell, position) {
    const step = (width + GAP) / columns;
    cell.style.width = `${Math.floor(step - GAP)}px`;
    cell.style.height = `${row - GAP}px`;
    const y = Math.floor(position / columns) * row - (ratio === 1 ? 0 : top() - host.scrollTop);
    cell.style.transform = `translate(${Math.round((position % columns) * step)}px, ${y}px)`;
  }
  function render() {
    frame = 0;
    const first = clamp((Math.floor(top() / row) - OVERSCAN_ROWS) * columns, 0, total);
    const last = clamp((Math.ceil((top() + view) / row) + OVERSCAN_ROWS) * columns, 0, total);
    const spare = [];
    for (const [position, cell] of cells) {
      const focused = position === cursor && position < total;
      if ((position >= first && position < last) || focused) continue;
      cells.delete(position);
      spare.push(cell);
    }
    for (let position = first; position < last; position++) if (!cells.has(position)) put(position, spare.pop());
    if (total && !cells.has(cursor)) put(cursor, spare.pop());
    for (const cell of spare) cell.remove();
    if (ratio !== 1) for (const [position, cell] of cells) place(cell, position);
    need(first, last);
  }
  const newCell = () => h("div.cell", { role: "option" },
    h("img", { alt: "", decoding: "async", draggable: "false" }), h("span.name"), h("span.marks"));
  function put(position, cell = newCell()) {
    cells.set(position, cell);
    if (!cell.isConnected) spacer.append(cell);
    place(cell, position);
    fill(position);
  }
  function fill(position) {
    const cell = cells.get(position), item = itemAt(position);
    if (!cell) return;
    const [img, caption, marks] = cell.children;
    give(cell, { "aria-posinset": position + 1, "aria-setsize": total, "aria-label": item ? describe(item) : "loading",
      "aria-selected": String(selection.has(position)), tabindex: position === cursor ? 0 : -1 });
    cell.classList.toggle("cursor", position === cursor);
    const picture = item ? `${item.i} ${edge}` : "";
    if (cell.dataset.picture !== picture) {
      img.removeAttribute("src"); // what is no longer in sight is no longer asked for
      cell.dataset.picture = picture;
      if (item) show(img, item, edge * Math.min(devicePixelRatio, 2) > 200 ? 320 : 160);
    }
    caption.textContent = item?.label ?? "";
    marks.textContent = item ? marksOf(item, edge) : "";
    const marked = { ...item, wrong: item?.correct === false, touched: item && touched.has(item.i) };
    const looks = ["changed", "excluded", "saving", "wrong", "touched"];
    for (const mark of looks) cell.classList.toggle(mark, Boolean(marked[mark]));
  }
  const refill = () => { for (const position of cells.keys()) fill(position); };

  // ---- what is known ----
  function need(first, last) {
    for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK < last && asked < MOST_ASKED; chunk++) {
      if (!chunks.has(chunk)) fetchChunk(chunk);
    }
  }
  async function fetchChunk(chunk) {
    const mine = epoch;
    chunks.set(chunk, []); // asked for
    asked++;
    try {
      const answer = await ask("items", { ...query, list: stamp, start: chunk * CHUNK, count: CHUNK });
      if (mine !== epoch) return;
      if (answer.list === stamp) keep(chunk, answer.items);
      else await renew();
    } catch (error) {
      if (mine === epoch) chunks.delete(chunk);
      throw error;
    } finally {
      if (mine === epoch) asked--;
    }
    if (mine === epoch) render(); // what is in sight now, not what was when this was asked for
  }
  function keep(chunk, items) {
    chunks.delete(chunk);
    chunks.set(chunk, items);
    for (const [old, held] of chunks) {
      if (chunks.size <= MOST_CHUNKS) break;
      for (const item of held) placeOf.delete(item.i);
      chunks.delete(old);
    }
    items.forEach((item, k) => { placeOf.set(item.i, chunk * CHUNK + k); fill(chunk * CHUNK + k); });
    if (Math.floor(cursor / CHUNK) === chunk) moved(itemAt(cursor) ?? null, cursor);
  }
  function adopt(answer) {
    epoch++;
    asked = 0;
    ({ total, list: stamp } = answer);
    chunks.clear();
    placeOf.clear();
    touched.clear();
    selection = new Set();
    cursor = anchor = clamp(cursor, 0, Math.max(0, total - 1));
    for (const cell of cells.values()) cell.remove();
    cells.clear();
    listed(total);
    selected(0);
  }
  /** The studio no longer has this list: make it anew, and find cursor and selection again, as far as seen. */
  async function renew() {
    const before = selection.size, numbers = new Set([...selection].map((position) => itemAt(position)?.i));
    await open(query, itemAt(cursor)?.i ?? null);
    const { items } = numbers.size ? await ask("positions", { ...query, list: stamp }) : { items: [] };
    choose(new Set([...items.keys()].filter((position) => numbers.has(items[position]))));
    renewed(before, selection.size);
  }
  /** Show the images of a query, the cursor on image `at` if it is among them. */
  async function open(next, at = null) {
    const mine = ++epoch, hadFocus = spacer.contains(document.activeElement);
    const answer = await ask("items", { ...next, start: 0, count: CHUNK, find: at });
    if (mine !== epoch) return;
    query = next;
    cursor = answer.position ?? (at === null ? 0 : cursor);
    adopt(answer);
    keep(answer.start / CHUNK, answer.items);
    measure();
    host.scrollTop = 0;
    moveTo(cursor, { focus: hadFocus, centre: true });
  }

  // ---- moving and choosing ----
  function moveTo(position, { focus = true, extend = false, centre = false } = {}) {
    const before = cursor;
    cursor = clamp(position, 0, Math.max(0, total - 1));
    if (extend) choose(new Set([...base, ...range(anchor, cursor)]));
    else { anchor = cursor; base = new Set(selection); }
    const y = Math.floor(cursor / columns) * row;
    const outside = y < top() ? y : y + row > top() + view ? y + row - view : null;
    if (outside !== null) host.scrollTop = (centre ? y - (view - row) / 2 : outside) / ratio;
    render();
    fill(before);
    fill(cursor);
    if (focus) cells.get(cursor)?.focus({ preventScroll: true });
    moved(itemAt(cursor) ?? null, cursor);
  }
  function* range(a, b) { for (let k = Math.min(a, b); k <= Math.max(a, b); k++) yield k; }
  function choose(next) {
    selection = next;
    refill();
    selected(selection.size);
  }
  function toggle(position) {
    const next = new Set(selection);
    if (!next.delete(position)) next.add(position);
    choose(next);
    [anchor, base] = [position, new Set(next)];
  }
  function unselect() {
    if (!selection.size) return false;
    base = new Set();
    choose(new Set());
    return true;
  }
  /** The images chosen, or the one under the cursor; those never seen have only i, label, excluded, flagged. None where
   * the studio cannot tell which those are, because it no longer has the list that was seen. */
  async function chosen() {
    const places = selection.size ? [...selection].sort((a, b) => a - b) : total ? [cursor] : [];
    if (places.every(itemAt)) return places.map(itemAt);
    const seen = stamp, first = places[0];
    try {
      const told = await ask("positions", { ...query, list: seen, first, last: places.at(-1) });
      if (seen !== stamp) return [];
      const [excluded, flagged] = [new Set(told.excluded), new Set(told.flagged)];
      const unseen = (k, i = told.items[k]) =>
        ({ i, label: told.label[k], excluded: excluded.has(i), flagged: flagged.has(i) });
      return places.map((position) => itemAt(position) ?? unseen(position - first));
    } catch (error) {
      if (error.status !== 409) throw error;
      await renew();
      return [];
    }
  }
  const page = () => Math.max(1, Math.floor(view / row)) * columns;
  const moves = {
    left: () => -1, right: () => 1, up: () => -columns, down: () => columns,
    first: () => -total, last: () => total, pageUp: () => -page(), pageDown: () => page(),
  };
  function go(step, extend) {
    const there = cursor + step, steps = Math.abs(step) <= columns; // one row or less does not go past an edge
    if (!steps || (there >= 0 && there < total)) moveTo(there, { extend });
  }
  const selectAll = () => choose(new Set(range(0, total - 1)));
  const bound = { select: () => toggle(cursor), selectAll, close: unselect };
  for (const [action, step] of Object.entries(moves)) {
    bound[action] = () => go(step(), false);
    bound[`extend${action[0].toUpperCase()}${action.slice(1)}`] = () => go(step(), true);
  }
  const unbind = keys.bind(spacer, bound);
  spacer.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const position = Number(cell.getAttribute("aria-posinset")) - 1, box = cell.getBoundingClientRect();
    const corner = event.clientX - box.left < CORNER && event.clientY - box.top < CORNER;
    if (event.shiftKey) return moveTo(position, { extend: true });
    if (!corner && !event.ctrlKey && !event.metaKey) unselect();
    moveTo(position);
    if (corner || event.ctrlKey || event.metaKey) toggle(position);
  });
  spacer.addEventListener("dblclick", (event) => event.target.closest(".cell") && opened());
  host.addEventListener("scroll", () => { frame ||= requestAnimationFrame(render); }, { passive: true });
  const resized = () => host.clientWidth !== width || host.clientHeight !== view;
  const sizes = new ResizeObserver(() => resized() && measure());
  sizes.observe(host);
  const off = on("changed", ({ items, more }) => {
    if (more) { chunks.clear(); epoch++; asked = 0; }
    for (const item of items) {
      const position = placeOf.get(item.i), known = position === undefined ? null : itemAt(position);
      touched.add(item.i);
      if (!known) continue;
      chunks.get(Math.floor(position / CHUNK))[position % CHUNK] = { ...known, saving: false, ...item };
      fill(position);
    }
    if (more) render();
  });

  return {
    open, moveTo, chosen, unselect, refresh: () => open(query, itemAt(cursor)?.i ?? null),
    setEdge(next) {
      edge = next;
      for (const cell of cells.values()) cell.dataset.picture = "";
      measure();
      refill();
      moveTo(cursor, { focus: false, centre: true });
    },
    step: (delta, how) => moveTo(cursor + delta, how), get item() { return itemAt(cursor) ?? null; },
    get total() { return total; }, get cursor() { return cursor; },
    get selection() { return selection.size; }, get touched() { return touched.size; },
    takeDown() {
      off();
      unbind();
      sizes.disconnect();
      cancelAnimationFrame(frame);
      epoch++;
      spacer.remove();
    },
  };
}
