// Duplicates: clusters of images that show the same, what makes figures wrong first, and a split that parts none of them.
import { clear, dialog, h, icon, number } from "../core/dom.js";

export const title = "Duplicates";
const KINDS = ["conflicting labels", "leak", "identical files", "near-duplicates"];
const PAGE = 20, MOST_SHOWN = 12, BLINK_MS = 600;
const namesIn = ({ images }) => [...new Set(images.map(({ label }) => label))];

/** @param {HTMLElement} root @param {object} context @returns {Promise<function>} what takes the view down */
export async function mount(root, context) {
  const { ask, state, keys, labels, overview, toast, announce } = context;
  const write = !overview.read_only, classes = overview.class_names;
  let rows = [], told = { total: 0, open: 0, kinds: {} }, at = 0, chosen = 0, count = PAGE, asked = 0;
  const bar = h("div", { class: "bar duplicates-bar" }), made = h("div", { "aria-live": "polite" }), list = h("div", { class: "clusters" });
  clear(root).append(h("h1", { class: "unseen" }, title), bar, made, list);
  const parameter = (name) => state.get().get(name) ?? "";

  async function load() {
    const mine = ++asked, answer = await ask("clusters", { kind: parameter("kind"), all: parameter("all") === "yes", count });
    if (mine !== asked) return;
    [told, rows] = [answer, answer.clusters];
    at = Math.max(0, Math.min(at, rows.length - 1));
    draw();
  }

  // ---- deciding ----
  const valueOf = { keep: (item) => (item.excluded ? "yes" : ""), label: (item) => item.label, leave: () => "" };
  async function resolve(cluster, action, text, more = {}) {
    const { images } = cluster;
    try {
      const { batch } = await labels.perform("resolve", { images: images.map(({ i }) => i), action, seen: images.map(valueOf[action]), ...more });
      chosen = 0;
      toast(batch ? text : "It is so already", batch ? { action: () => labels.undo(batch).then(load), label: "Undo" } : {});
      announce(text);
    } catch (error) { toast(error.message, { kind: "error" }); }
    return load();
  }
  const keepOne = (cluster, item) => resolve(cluster, "keep", `Kept ${item.id}, excluded ${cluster.images.length - 1}`, { keep: item.i });
  const oneLabel = (cluster, name) => resolve(cluster, "label", `All ${cluster.images.length} are ${name}`, { label: name });
  const leave = (cluster) => resolve(cluster, "leave", "Left as it is");
  const here = (act) => (...given) => (rows[at] ? act(rows[at], ...given) : false);
  const decide = (act) => here((cluster, ...given) => (write ? act(cluster, ...given) : false));

  async function makeSplit() {
    clear(made).append(h("p", { class: "note" }, "Looking at every image for copies, then dealing them anew …"));
    try {
      const split = await ask("split");
      const joined = Object.entries(split.n_joined).map(([kind, n]) =>
        h("li", {}, `${number(n)} × ${kind} lay on two sides, now on one; for example `, h("code", {}, split.joined[kind][0].join(" = "))));
      const cells = (row) => [row.images, row.groups, ...split.class_names.map((name) => row[name])].map((n) => h("td", { class: "n" }, number(n)));
      clear(made).append(h("section", { class: "panel" }, h("h2", {}, icon("accept"), " A new split, with the corrections in force"),
        h("p", {}, h("code", {}, split.path), h("span", { class: "quiet" }, ` · train with --split and this file; ${number(split.n_excluded)} excluded`)),
        h("ul", {}, joined, h("li", {}, `${number(split.kept_together)} images are copies of another or of its group, and go where that goes`),
          (split.leaks.length ? split.leaks : ["No leak is left"]).map((text) => h("li", {}, text))),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parts" }, h("table", { class: "table" },
          h("thead", {}, h("tr", {}, ["Part", "Images", "Independent", ...split.class_names].map((name, k) => h("th", { scope: "col", class: k ? "n" : "" }, name)))),
          h("tbody", {}, split.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.split), cells(row))))))));
    } catch (error) { clear(made).append(h("p", { class: "note", role: "alert" }, icon("warning"), ` ${error.message}`)); }
    return load();
  }

  // ---- showing ----
  function draw() {
    const all = parameter("all") === "yes", focused = root.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    const which = h("select", { class: "field", "data-act": "kind", "aria-label": "Which clusters", change: (event) => state.set({ kind: event.target.value }, { push: true }) },
      ["", ...KINDS].map((name) => h("option", { value: name, selected: name === parameter("kind") }, name ? `${name} (${number(told.kinds[name])})` : "All kinds")));
    const decided = h("input", { type: "checkbox", "data-act": "all", checked: all, change: (event) => state.set({ all: event.target.checked ? "yes" : null }, { push: true }) });
    clear(bar).append(which, h("label", { class: "check" }, decided, "also those decided on"),
      h("span", { class: "quiet number" }, `${number(told.open)} to decide on`),
      h("button", { type: "button", class: "button push", "data-act": "split", disabled: !write, click: makeSplit }, "Make the split anew"));
    clear(list).append(...(rows.length ? rows.map(card) : [nothing()]));
    if (rows.length < told.total) list.append(h("button", { type: "button", class: "button", click: () => { count = Math.min(100, count + PAGE); load(); } }, `More (${number(told.total - rows.length)})`));
    if (focused !== null) (root.querySelector(`[data-act="${focused}"]:not(:disabled)`) ?? root).focus({ preventScroll: true });
  }
  const kbd = (action, current) => current && h("kbd", {}, keys.keyOf(action));
  function card(cluster, k) {
    const { images, kinds, now, state: standing, message } = cluster, current = k === at, names = namesIn(cluster);
    const button = (name, text, click, extra = {}) => h("button", { type: "button", class: "button", "data-act": `${k}-${name}`, disabled: !write, click, ...extra }, text);
    const shown = images.slice(0, MOST_SHOWN);
    const done = { settled: "settled", left: `left as it is by ${cluster.left_by.join(", ")}` }[standing];
    const keyOf = (name) => classes.includes(name) && classes.indexOf(name) < 20 && kbd(`label${classes.indexOf(name) + 1}`, current);
    return h("section", { class: `panel cluster ${current ? "current" : ""}`, "aria-label": `Cluster ${k + 1} of ${told.total}: ${kinds.join(", ")}`,
      "aria-current": current ? "true" : null, focusin: () => point(k) },
      h("div", { class: "bar" }, kinds.map((kind) => h("span", { class: `badge ${now.includes(kind) ? "warn" : ""}` }, now.includes(kind) && icon("warning"), kind)),
        done && h("span", { class: "badge good" }, icon("accept"), done), h("span", { class: "quiet message" }, message)),
      h("ul", { class: "copies" }, shown.map((item, n) => copy(cluster, item, n, current))),
      images.length > MOST_SHOWN && h("p", { class: "quiet" }, `and ${number(images.length - MOST_SHOWN)} more, which every decision here concerns too`),
      h("div", { class: "bar" }, names.length > 1 && names.map((name) => button(`all-${name}`, [`All ${name}`, keyOf(name)], () => oneLabel(cluster, name))),
        button("leave", "Leave as it is", () => leave(cluster)),
        button("compare", [icon("zoom"), "Compare", kbd("zoom", current)], () => compare(cluster, current ? chosen : 0), { disabled: false })));
  }
  function copy(cluster, item, n, current) {
    const k = rows.indexOf(cluster), picture = h("img", { alt: `${item.id}, ${item.label}`, loading: "lazy" });
    context.show(picture, item, 320);
    return h("li", { class: `${item.excluded ? "out" : ""} ${current && n === chosen ? "chosen" : ""}` },
      h("button", { type: "button", class: "copy-picture", "data-act": `${k}-look-${n}`, click: () => { chosen = n; compare(cluster, n); } }, picture),
      h("span", { class: "path" }, item.id),
      h("span", {}, item.label, item.side && h("span", { class: "quiet" }, ` · ${item.side} `), item.excluded && h("span", { class: "badge warn" }, icon("exclude"), "excluded")),
      h("button", { type: "button", class: "button", disabled: !write, "data-act": `${k}-keep-${n}`, click: () => keepOne(cluster, item) }, "Keep only this", kbd("keep", current && n === chosen)));
  }
  const nothing = () => h("div", { class: "empty" }, h("h2", {}, overview.has_findings ? "No cluster is left to decide on" : "No copies are known"),
    h("p", {}, overview.has_findings ? "Whatever you decided, the images that show the same are on one side of a split that is made anew." : "A check of the data finds identical files, near-duplicates, and which of them have different labels or lie on two sides of a split."),
    !overview.has_findings && h("p", {}, h("button", { type: "button", class: "button primary", click: () => context.go("training") }, "Check the data")));

  /** Lay two images of a cluster over one another. */
  function compare({ images, pairs }, n) {
    const first = images[n], partner = pairs.find(([a, b]) => a === first.i || b === first.i) ?? [];
    const other = images.find(({ i }) => i !== first.i && partner.slice(0, 2).includes(i)) ?? images[n ? 0 : 1];
    const [under, over] = [first, other].map((item) => { const img = h("img", { alt: item.id }); context.showFull(img, item); return img; });
    const mix = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `From ${first.id} to ${other.id}`, input: () => { over.style.opacity = mix.value / 100; } });
    let turn = 0, mirror = 1, timer;
    const place = () => { over.style.transform = `scaleX(${mirror}) rotate(${turn}deg)`; };
    const press = (text, click) => h("button", { type: "button", class: "button", "aria-pressed": "false",
      click: (event) => event.currentTarget.setAttribute("aria-pressed", String(Boolean(click()))) }, text);
    const swap = () => { mix.value = mix.value > 50 ? 0 : 100; over.style.opacity = mix.value / 100; };
    const blink = () => { timer = timer ? clearInterval(timer) : setInterval(swap, BLINK_MS); return timer; };
    over.style.opacity = 0.5;
    const facts = (item) => h("div", {}, h("span", { class: "path" }, item.id), h("br"), item.label, item.side && ` · ${item.side}`);
    return dialog("Two of a cluster", h("div", { class: "compare" }, h("div", { class: "overlay" }, under, over),
      h("div", { class: "bar" }, facts(first), mix, facts(other)),
      h("div", { class: "bar" }, press("Difference", () => over.classList.toggle("difference")), press("Blink", blink),
        press("Mirrored", () => { mirror = -mirror; place(); return mirror < 0; }), h("button", { type: "button", class: "button", click: () => { turn = (turn + 90) % 360; place(); } }, "Turn"), h("span", { class: "quiet number" }, partner[2] ? `similarity ${number(partner[2], 2)}` : ""))),
    [{ value: null, text: "Close", primary: true }]).then(() => clearInterval(timer));
  }

  // ---- moving ----
  function point(k) {
    if (k === at) return;
    [at, chosen] = [k, 0];
    draw();
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
    return draw();
  });
  const oneOf = (cluster, event, k) => (namesIn(cluster).length > 1 && namesIn(cluster).includes(classes[k]) ? oneLabel(cluster, classes[k]) : false);
  const exclude = ({ images: { [chosen]: item } }) => labels.write([item], "excluded", item.excluded ? "" : "yes").catch((error) => toast(error.message, { kind: "error" }));
  keys.bind(root, { next: move(1), previous: move(-1), down: move(1), up: move(-1), right: choose(1), left: choose(-1),
    zoom: here((cluster) => { compare(cluster, chosen); }), keep: decide((cluster) => keepOne(cluster, cluster.images[chosen])), label: decide(oneOf), exclude: decide(exclude) });
  context.on("state", load);
  context.on("changed", ({ items, more }) => (more || items.some(({ i, saving }) => !saving && rows.some(({ images }) => images.some((one) => one.i === i)))) && load());
  await load();
  return () => { asked++; };
}
