// Duplicates: clusters of images that show the same, what makes figures wrong first; and a split that parts none.
import { dialog, fill, h, icon, number, refill } from "../core/dom.js";
import { badge, button, choice, empty, problem, table, tick } from "../core/parts.js";
import { gather } from "../core/transport.js";

export const title = "Duplicates";
const KINDS = ["conflicting labels", "leak", "identical files", "near-duplicates"];
const PAGE = 20, MOST = 100; // clusters: at first, and in one answer
const MOST_SHOWN = 12, MOST_KEYS = 20, BLINK_MS = 600;
const namesIn = ({ images }) => [...new Set(images.map(({ label }) => label))];

/** @param {HTMLElement} root @param {object} context @returns {Promise<function>} what takes the view down */
export async function mount(root, context) {
  const { ask, state, keys, labels, overview, toast, announce, go } = context;
  const write = !overview.read_only, classes = overview.class_names;
  const complain = (error) => toast(error.message, { kind: "error" });
  let rows = [], told = { total: 0, open: 0, kinds: {} }, at = 0, chosen = 0, wanted = PAGE, asked = 0;
  const bar = h("div.bar.duplicates-bar"), made = h("div", { "aria-live": "polite" }), list = h("div.clusters");
  fill(root, h("h1.unseen", title), bar, made, list);

  async function load() {
    const mine = ++asked, values = { kind: state.get("kind"), all: state.get("all") === "yes" };
    const answer = await gather(ask, "clusters", values, "clusters", wanted, MOST);
    if (mine !== asked) return;
    [told, rows] = [answer, answer.clusters];
    at = Math.max(0, Math.min(at, rows.length - 1));
    draw();
  }

  // ---- deciding ----
  const valueOf = { keep: (item) => (item.excluded ? "yes" : ""), label: (item) => item.label, leave: () => "" };
  async function resolve({ images }, action, text, more = {}) {
    const seen = { images: images.map(({ i }) => i), seen: images.map(valueOf[action]) };
    try {
      const { batch } = await labels.perform("resolve", { ...seen, action, ...more });
      chosen = 0;
      const undo = () => labels.undo(batch).then(load);
      toast(batch ? text : "It is so already", batch ? { action: undo } : {});
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
      const joined = Object.entries(split.n_joined).map(([kind, n]) =>
        [`${number(n)} × ${kind} lay on two sides, now on one; `,
        "for example ", h("code", split.joined[kind][0].join(" = "))]);
      const cells = (row) => [row.split, ...[row.images, row.groups, ...names.map((name) => row[name])].map((n) =>
        number(n))];
      const facts = [...joined,
        `${number(split.kept_together)} images are copies of another or of its group, and go where that goes`,
        ...(split.leaks.length ? split.leaks : ["No leak is left"])];
      fill(made, h("section.panel", h("h2", icon("accept"), " A new split, with the corrections in force"),
        h("p", h("code", split.path), h("span.quiet",
          ` · train with --split and this file; ${number(split.n_excluded)} excluded`)),
        h("ul", facts.map((fact) => h("li", fact))),
        table(["Part", "Images", "Independent", ...names], split.rows.map(cells), { label: "Parts", numbers: 1 })));
    } catch (error) { fill(made, problem(error.message)); }
    return load();
  }

  // ---- showing ----
  function draw() {
    const kinds = ["", ...KINDS].map((name) => [name, name ? `${name} (${number(told.kinds[name])})` : "All kinds"]);
    const which = choice(kinds, state.get("kind"), (kind) => state.set({ kind }, { push: true }),
      { "data-key": "kind", "aria-label": "Which clusters" });
    const decided = tick("also those decided on", state.get("all") === "yes",
      (on) => state.set({ all: on ? "yes" : null }, { push: true }), { "data-key": "all" });
    const more = () => { wanted = 2 * rows.length; return load(); };
    const left = told.total - rows.length;
    refill(bar, [which, decided, h("span.quiet.number", `${number(told.open)} to decide on`),
      button("Make the split anew", makeSplit, { class: "push", "data-key": "split", disabled: !write })], root);
    refill(list, [rows.length ? rows.map(card) : nothing(),
      left > 0 && button(`More (${number(left)})`, more, { "data-key": "more" })], root);
    mark();
  }
  /** Show which cluster, and which image of it, keys are about. Drawn anew, a button would be gone before its click. */
  function mark() {
    [...list.querySelectorAll(".cluster")].forEach((node, k) => {
      node.classList.toggle("current", k === at);
      if (k === at) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      const copies = [...node.querySelectorAll(".copies li")];
      copies.forEach((copy, n) => copy.classList.toggle("chosen", k === at && n === chosen));
    });
  }
  function card(cluster, k) {
    const { images, kinds, now, state: standing, message, left_by: leftBy } = cluster, names = namesIn(cluster);
    const act = (name, says, click, extra) =>
      button(says, click, { "data-key": `${k}-${name}`, disabled: !write, ...extra });
    const done = { settled: "settled", left: `left as it is by ${leftBy.join(", ")}` }[standing];
    const numbered = (name) => classes.indexOf(name) >= 0 && classes.indexOf(name) < MOST_KEYS;
    const all = (name) => act(`all-${name}`,
      [`All ${name}`, numbered(name) && keys.cap(`label${classes.indexOf(name) + 1}`)], () => oneLabel(cluster, name));
    const wrong = (kind) => badge(kind, now.includes(kind) ? "warn" : "", now.includes(kind) && "warning");
    const rest = images.length - MOST_SHOWN;
    return h("section.panel.cluster",
      { "aria-label": `Cluster ${k + 1} of ${told.total}: ${kinds.join(", ")}`, focusin: () => point(k) },
      h("div.bar", kinds.map(wrong), done && badge(done, "good", "accept"), h("span.quiet.message", message)),
      h("ul.copies", images.slice(0, MOST_SHOWN).map((item, n) => copy(cluster, item, n, k))),
      rest > 0 && h("p.quiet", `and ${number(rest)} more, which every decision here concerns too`),
      h("div.bar", names.length > 1 && names.map(all), act("leave", "Leave as it is", () => leave(cluster)),
        act("compare", [icon("zoom"), "Compare", keys.cap("zoom")], () => compare(cluster, k === at ? chosen : 0),
          { disabled: false })));
  }
  function copy(cluster, item, n, k) {
    const picture = h("img", { alt: `${item.id}, ${item.label}`, loading: "lazy" });
    context.show(picture, item, 320);
    const open = () => { chosen = n; mark(); compare(cluster, n); };
    return h("li", { class: item.excluded && "out" },
      h("button.copy-picture", { type: "button", "data-key": `${k}-look-${n}`, click: open }, picture),
      h("span.path", item.id), h("span", item.label, item.side && h("span.quiet", ` · ${item.side} `),
        item.excluded && badge("excluded", "warn", "exclude")),
      button(["Keep only this", keys.cap("keep")], () => keepOne(cluster, item),
        { disabled: !write, "data-key": `${k}-keep-${n}` }));
  }
  const nothing = () => (overview.has_findings ? empty("No cluster is left to decide on",
      "Whatever you decided, the images that show the same are on one side of a split that is made anew.")
    : empty("No copies are known", ["A check of the data finds identical files, near-duplicates, and which of them ",
      "have different labels or lie on two sides of a split."],
      button("Check the data", () => go("training"), { class: "primary" })));

  /** Lay two images of a cluster over one another. */
  function compare({ images, pairs }, n) {
    const first = images[n], partner = pairs.find(([a, b]) => a === first.i || b === first.i) ?? [];
    const other = images.find(({ i }) => i !== first.i && partner.slice(0, 2).includes(i)) ?? images[n ? 0 : 1];
    const [under, over] = [first, other].map((item) => {
      const img = h("img", { alt: item.id });
      context.showFull(img, item);
      return img;
    });
    const mix = h("input", { type: "range", min: 0, max: 100, value: 50,
      "aria-label": `From ${first.id} to ${other.id}`, input: () => { over.style.opacity = mix.value / 100; } });
    let turn = 0, mirror = 1, timer;
    const place = () => { over.style.transform = `scaleX(${mirror}) rotate(${turn}deg)`; };
    const press = (text, click) => button(text,
      ({ currentTarget }) => currentTarget.setAttribute("aria-pressed", String(Boolean(click()))),
        { "aria-pressed": "false" });
    const swap = () => { mix.value = mix.value > 50 ? 0 : 100; over.style.opacity = mix.value / 100; };
    const blink = () => { timer = timer ? clearInterval(timer) : setInterval(swap, BLINK_MS); return timer; };
    const flip = () => { mirror = -mirror; place(); return mirror < 0; };
    over.style.opacity = 0.5;
    const facts = (item) => h("div", h("span.path", item.id), h("br"), item.label, item.side && ` · ${item.side}`);
    return dialog("Two of a cluster", h("div.compare", h("div.overlay", under, over),
      h("div.bar", facts(first), mix, facts(other)),
      h("div.bar", press("Difference", () => over.classList.toggle("difference")), press("Blink", blink),
        press("Mirrored", flip),
        button("Turn", () => { turn = (turn + 90) % 360; place(); }),
        partner[2] && h("span.quiet.number", `similarity ${number(partner[2], 2)}`))),
    [{ value: null, text: "Close", primary: true }]).then(() => clearInterval(timer));
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
    zoom: here((cluster) => { compare(cluster, chosen); }),
      keep: decide((cluster) => keepOne(cluster, cluster.images[chosen])),
    label: decide(oneOf), exclude: decide(exclude) });
  context.on("state", () => { wanted = PAGE; load(); });
  const concerns = ({ i, saving }) => !saving && rows.some(({ images }) => images.some((one) => one.i === i));
  context.on("changed", ({ items, more }) => { if (more || items.some(concerns)) load(); });
  await load();
  return () => { asked++; };
}
