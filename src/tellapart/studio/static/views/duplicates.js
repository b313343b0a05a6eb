// Duplicates: clusters of images that show the same, what makes figures wrong first; and a split that parts none.
import { dialog, fill, give, h, icon, number, refill } from "../core/dom.js";
import { badge, button, empty, panel, problem, quiet, stateChoice, table, tick } from "../core/parts.js";
import { paged } from "../core/transport.js";

const PAGE = 20, MOST = 100; // clusters: at first, and in one answer
const MOST_SHOWN = 12, MOST_KEYS = 20, BLINK_MS = 600;
const namesIn = ({ images }) => [...new Set(images.map(({ label }) => label))];

export async function mount(root, context) {
  const { ask, state, keys, labels, overview, toast, announce, complain } = context;
  const write = !overview.read_only, classes = overview.class_names;
  let rows = [], told = { total: 0, open: 0, choices: {} }, at = 0, chosen = 0;
  const bar = h("div.bar.duplicates-bar"), made = h("div", { "aria-live": "polite" }), list = h("div.clusters");
  fill(root, h("h1.unseen", "Duplicates"), bar, made, list);
  const which = () => ({ kind: state.get("kind"), all: state.get("all") === "yes" });
  const { load, more, close } = paged(context, "clusters", "clusters", which, [PAGE, MOST], (answer) => {
    [told, rows] = [answer, answer.clusters];
    at = Math.max(0, Math.min(at, rows.length - 1));
    draw();
  });

  // ---- deciding ----
  const valueOf = { keep: (item) => (item.excluded ? "yes" : ""), label: (item) => item.label, leave: () => "" };
  async function resolve({ images }, action, text, more = {}) {
    const seen = { images: images.map(({ i }) => i), seen: images.map(valueOf[action]) };
    try {
      const { batch } = await labels.perform("resolve", { ...seen, action, ...more });
      chosen = 0;
      if (batch) toast(text, { action: () => labels.undo(batch).then(load) });
      else toast("It is so already");
      announce(text);
    } catch (error) { complain(error); }
    return load();
  }
  const keepOne = (cluster, { id, i }) =>
    resolve(cluster, "keep", `Kept ${id}, excluded ${cluster.images.length - 1}`, { keep: i });
  const oneLabel = (cluster, name) =>
    resolve(cluster, "label", `All ${cluster.images.length} are ${name}`, { label: name });
  const leave = (cluster) => resolve(cluster, "leave", "Left as it is");
  const here = (act) => (...given) => (rows[at] ? act(rows[at], ...given) : false);
  const decide = (act) => here((cluster, ...given) => (write ? act(cluster, ...given) : false));
  async function makeSplit() {
    fill(made, h("p.note", "Looking at every image for copies, then dealing them anew …"));
    try {
      const split = await ask("split"), names = split.class_names;
      const cells = (row) => [row.split, ...["images", "groups", ...names].map((name) => number(row[name]))];
      const how = ` · train with --split and this file; ${number(split.n_excluded)} excluded`;
      fill(made, panel([icon("accept"), " A new split, with the corrections in force"],
        h("p", h("code", split.path), h("span.quiet", how)), h("ul", split.facts.map((fact) => h("li", fact))),
        table(["Part", "Images", "Independent", ...names], split.rows.map(cells), { label: "Parts", numbers: 1 })));
    } catch (error) { fill(made, problem(error.message)); }
    return load();
  }

  // ---- showing ----
  function draw() {
    const left = told.total - rows.length, decided = (on) => state.set({ all: on ? "yes" : null }, { push: true });
    refill(bar, [stateChoice(state, "kind", Object.entries(told.choices),
      { "data-key": "kind", "aria-label": "Which clusters" }),
      tick("also those decided on", state.get("all") === "yes", decided, { "data-key": "all" }),
      h("span.quiet.number", `${number(told.open)} to decide on`),
      button("Make the split anew", makeSplit, { class: "push", "data-key": "split", disabled: !write })], root);
    refill(list, [rows.length ? rows.map(card) : nothing(),
      left > 0 && button(`More (${number(left)})`, more, { "data-key": "more" })], root);
    mark();
  }
  /** Show which cluster, and which image of it, keys are about. Drawn anew, a button would be gone before its click. */
  function mark() {
    [...list.querySelectorAll(".cluster")].forEach((node, k) => {
      node.classList.toggle("current", k === at);
      give(node, { "aria-current": k === at && "true" });
      node.querySelectorAll(".copies li").forEach((copy, n) =>
        copy.classList.toggle("chosen", k === at && n === chosen));
    });
  }
  function card(cluster, k) {
    const { images, kinds, now, decided, message } = cluster, names = namesIn(cluster);
    const act = (name, text, click, extra) =>
      button(text, click, { "data-key": `${k}-${name}`, disabled: !write, ...extra });
    const all = (name) => {
      const n = classes.indexOf(name) + 1, cap = n > 0 && n <= MOST_KEYS && keys.cap(`label${n}`);
      return act(`all-${name}`, [`All ${name}`, cap], () => oneLabel(cluster, name));
    };
    const wrong = (kind) => badge(kind, now.includes(kind) ? "warn" : "", now.includes(kind) && "warning");
    const rest = images.length - MOST_SHOWN, says = `Cluster ${k + 1} of ${told.total}: ${kinds.join(", ")}`;
    return h("section.panel.cluster", { "aria-label": says, focusin: () => point(k) },
      h("div.bar", kinds.map(wrong), decided && badge(decided, "good", "accept"), h("span.quiet.message", message)),
      h("ul.copies", images.slice(0, MOST_SHOWN).map((item, n) => copy(cluster, item, n, k))),
      rest > 0 && quiet(`and ${number(rest)} more, which every decision here concerns too`),
      h("div.bar", names.length > 1 && names.map(all), act("leave", "Leave as it is", () => leave(cluster)),
        act("compare", [icon("zoom"), "Compare", keys.cap("zoom")], () => compare(cluster, k === at ? chosen : 0),
          { disabled: false })));
  }
  function copy(cluster, item, n, k) {
    const picture = context.picture(item, { alt: `${item.id}, ${item.label}`, loading: "lazy" }, 320);
    const open = () => { chosen = n; mark(); compare(cluster, n); };
    return h("li", { class: item.excluded && "out" },
      h("button.copy-picture", { type: "button", "data-key": `${k}-look-${n}`, click: open }, picture),
      h("span.path", item.id), h("span", item.label, item.side && h("span.quiet", ` · ${item.side} `),
        item.excluded && badge("excluded", "warn", "exclude")),
      button(["Keep only this", keys.cap("keep")], () => keepOne(cluster, item),
        { disabled: !write, "data-key": `${k}-keep-${n}` }));
  }
  const nothing = () => empty(...told.nothing,
    !overview.has_findings && write && button("Check the data", context.check, { class: "primary" }));
  /** Lay two images of a cluster over one another. */
  function compare({ images, pairs }, n) {
    const first = images[n], partner = pairs.find(([a, b]) => a === first.i || b === first.i) ?? [];
    const other = images.find(({ i }) => i !== first.i && partner.slice(0, 2).includes(i)) ?? images[n ? 0 : 1];
    const [under, over] = [first, other].map((item) => context.wholePicture(item, { alt: item.id }));
    const mix = h("input", { type: "range", min: 0, max: 100, value: 50,
      "aria-label": `From ${first.id} to ${other.id}`, input: () => { over.style.opacity = mix.value / 100; } });
    let turn = 0, mirror = 1, timer;
    const place = () => { over.style.transform = `scaleX(${mirror}) rotate(${turn}deg)`; };
    const pressing = (act) => ({ currentTarget: node }) => give(node, { "aria-pressed": String(Boolean(act())) });
    const press = (text, act) => button(text, pressing(act), { "aria-pressed": "false" });
    const swap = () => { mix.value = mix.value > 50 ? 0 : 100; over.style.opacity = mix.value / 100; };
    const blink = () => { timer = timer ? clearInterval(timer) : setInterval(swap, BLINK_MS); return timer; };
    const flip = () => { mirror = -mirror; place(); return mirror < 0; };
    over.style.opacity = 0.5;
    const facts = (item) => h("div", h("span.path", item.id), h("br"), item.label, item.side && ` · ${item.side}`);
    return dialog("Two of a cluster", h("div.compare", h("div.overlay", under, over),
      h("div.bar", facts(first), mix, facts(other)),
      h("div.bar", press("Difference", () => over.classList.toggle("difference")), press("Blink", blink),
        press("Mirrored", flip), button("Turn", () => { turn = (turn + 90) % 360; place(); }),
        partner[2] && h("span.quiet.number", `similarity ${number(partner[2], 2)}`)))).then(() => clearInterval(timer));
  }

  // ---- moving ----
  function point(k) {
    if (k === at) return;
    [at, chosen] = [k, 0];
    mark();
  }
  const move = (step) => () => {
    if (!rows[at + step]) return false;
    point(at + step);
    list.children[at].scrollIntoView({ block: "nearest" });
    return announce(list.children[at].getAttribute("aria-label"));
  };
  const choose = (step) => here(({ images }) => {
    chosen = (chosen + step + images.length) % images.length;
    announce(images[chosen].id);
    return mark();
  });
  const oneOf = (cluster, event, k) => {
    const names = namesIn(cluster);
    return names.length > 1 && names.includes(classes[k]) ? oneLabel(cluster, classes[k]) : false;
  };
  const exclude = ({ images: { [chosen]: item } }) =>
    labels.write([item], "excluded", item.excluded ? "" : "yes").catch(complain);
  keys.bind(root, { next: move(1), previous: move(-1), down: move(1), up: move(-1), right: choose(1), left: choose(-1),
    zoom: here((cluster) => { compare(cluster, chosen); }), label: decide(oneOf), exclude: decide(exclude),
    keep: decide((cluster) => keepOne(cluster, cluster.images[chosen])) });
  const concerns = ({ i, saving }) => !saving && rows.some(({ images }) => images.some((one) => one.i === i));
  context.on("changed", ({ items, more }) => { if (more || items.some(concerns)) load(); });
  await load();
  return close;
}
