// Runs, past and under way: how they go, what they came to, and one more with the labels as they are now.
import { lineChart } from "/shared/curves.js";
import { clear, confirmDialog, h, icon, interval, number, percent } from "../core/dom.js";

export const title = "Training";

const STYLES = ["s1", "s2", "s3", "s4"];
const SHARES = { accuracy: "Accuracy", balanced_accuracy: "Balanced accuracy", roc_auc_macro: "ROC AUC", sensitivity: "Sensitivity", specificity: "Specificity" };
const SCORES = { log_loss: "Log loss", ece: "Calibration error" };
const BADGES = { running: ["good", "play"], done: ["", "accept"], failed: ["warn", "warning"], damaged: ["warn", "warning"], stopped: ["warn", "stop"], unfinished: ["warn", "stop"] };
const BACKBONES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "resnet18", "resnet50", "mobilenet_v3_large", "convnext_tiny"];

const badge = (state) => h("span", { class: `badge ${BADGES[state]?.[0] ?? ""}` }, BADGES[state] && icon(BADGES[state][1]), state);
const day = (when) => (when ? new Date(when).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "");
const plural = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
const duration = (s) => (s < 90 ? `${Math.ceil(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
const share = (figure) => (figure?.value == null ? "" : [percent(figure.value), h("small", {}, ` ${interval(figure.ci95)}`)]);

/** What work does now and has done: a line of rate and time left, and a bar for every stage; past epochs share one. */
function stagesOf({ stages, rate, left_s: left, state, epochs = 0, rows = [] }) {
  if (state !== "running") return [];
  const now = stages.at(-1), shown = stages.filter((stage) => stage.total && (stage === now || !/^epoch \d/.test(stage.description))).slice(-8);
  if (rows.length) shown.splice(-1, 0, { description: "epochs", done: rows.length, total: epochs, unit: "epoch" });
  const bar = ({ description, done, total, unit }) => [h("span", { class: "name" }, description),
    h("span", { class: "track" }, h("i", { style: { width: `${Math.min(100, (100 * done) / total)}%` } })), h("span", { class: "number" }, `${number(done)} of ${plural(total, unit)}`)];
  const line = [rate && `${number(rate, 1)} ${now.unit}s/s`, left != null && `about ${duration(left)} left`].filter(Boolean).join(", ");
  return [h("p", { class: "now" }, now ? `Now: ${now.description}${line ? ` · ${line}` : ""}` : "Now: starting (loading the libraries takes a few seconds)"),
    shown.length > 0 && h("div", { class: "scores stages" }, shown.map(bar))];
}

/** Loss and accuracy by epoch: of one run on training and validation images, of several on validation images. */
function curves(histories) {
  const drawn = histories.filter(({ rows }) => rows.length).slice(0, STYLES.length);
  if (!drawn.length) return null;
  const last = Math.max(5, ...drawn.map(({ epochs }) => epochs));
  const line = (rows, key) => rows.map((row) => [row.epoch, row[key]]);
  const series = (what) => (drawn.length === 1
    ? [{ name: "training images", style: "s2", points: line(drawn[0].rows, `train_${what}`) }, { name: "validation images", style: "s1", points: line(drawn[0].rows, `val_${what}`) }]
    : drawn.map(({ name, rows }, k) => ({ name, style: STYLES[k], points: line(rows, `val_${what}`) })));
  const chart = (what, label, top) => {
    const lines = series(what), values = lines.flatMap(({ points }) => points.map(([, y]) => y));
    const marks = drawn.map(({ rows, best_epoch: best }) => rows.find(({ epoch }) => epoch === best)).filter(Boolean)
      .map((row) => ({ x: row.epoch, y: row[`val_${what}`], label: `kept: epoch ${row.epoch}` }));
    return lineChart({ title: `${label} by epoch`, x: { label: "epoch", domain: [0, last] }, y: { label, domain: [top ? Math.max(0, Math.min(...values) - 0.05) : 0, top ?? Math.max(...values) * 1.05] }, series: lines, marks });
  };
  const figures = { train_loss: "training loss", val_loss: "validation loss", train_accuracy: "training accuracy", val_accuracy: "validation accuracy", images_per_second: "images/s" };
  const table = drawn.length === 1 && h("details", {}, h("summary", {}, "The epochs as a table"), h("div", { class: "scroll", tabindex: 0 }, h("table", { class: "table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "epoch"), Object.values(figures).map((name) => h("th", { scope: "col", class: "n" }, name)))),
    h("tbody", {}, drawn[0].rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.epoch), Object.keys(figures).map((key) => h("td", { class: "n" }, number(row[key])))))))));
  return h("div", { class: "curves" }, h("div", { class: "pair" }, chart("loss", "loss"), chart("accuracy", "accuracy", 1)),
    h("p", { class: "quiet" }, "◆ marks the epoch that is kept: the lowest loss on validation images."), table);
}

/** Two runs on the test images that both have. */
function differenceTable(found) {
  const shown = (name, value) => (name in SHARES ? percent(value) : number(value));
  const change = (name, value) => (value == null ? "not defined" : `${value > 0 ? "+" : value < 0 ? "−" : "±"}${name in SHARES ? `${Math.abs(100 * value).toFixed(1)} points` : number(Math.abs(value))}`);
  const bounds = (name, ci) => (ci ? ci.map((end) => change(name, end).replace(" points", "")).join(" to ") : "not estimable");
  return h("section", { class: "panel difference" }, h("h2", {}, `${found.before} → ${found.after}`),
    h("p", {}, `Both on the same ${plural(found.n, "test image")}`, (found.n < found.n_before || found.n < found.n_after) && ` (of ${number(found.n_before)} and ${number(found.n_after)})`,
      ", with the labels that ", found.after, " was tested with",
      found.relabelled ? `: ${number(found.relabelled)} of them with another label than when ${found.before} was tested.` : "."),
    h("div", { class: "scroll", tabindex: 0 }, h("table", { class: "table" },
      h("thead", {}, h("tr", {}, ["Figure", found.before, found.after, "Difference", "95 % interval"].map((name, k) => h("th", { scope: "col", class: k && "n" }, name)))),
      h("tbody", {}, found.figures.map(({ name, before, after, difference, ci95 }) => h("tr", {}, h("th", { scope: "row" }, SHARES[name] ?? [SCORES[name], h("small", {}, "less is better")]),
        h("td", { class: "n" }, shown(name, before)), h("td", { class: "n" }, shown(name, after)), h("td", { class: "n" }, change(name, difference)),
        h("td", { class: "n" }, bounds(name, ci95), ci95?.[0] <= 0 && ci95[1] >= 0 && h("small", {}, "may be chance"))))))));
}

/** What a run was made of, and came to, in a sentence. */
const factsOf = ({ n, n_test: tested, seconds, seed, corrections, accuracy }) => (n == null ? null : h("p", {}, `${plural(n, "image")}, ${tested == null ? "none" : number(tested)} of them for testing; seed ${seed}; ${plural(corrections ? corrections.relabelled + corrections.excluded : 0, "label change")}; took ${duration(seconds)}.`,
  accuracy && [" Accuracy ", h("b", {}, percent(accuracy.value)), ` (${interval(accuracy.ci95)}).`]));

/** One run: what it does or did, its buttons and its log; `update` is told each new history, and its row of the list. */
function runPanel(context, name, refresh) {
  const { ask, go } = context, write = !context.overview.read_only;
  const act = (operation, values) => async () => { await ask(operation, values); refresh(); };
  const cancel = async () => (await confirmDialog(`Stop ${name} now? Nothing of the epoch under way is kept; it can go on later.`, { yes: "Stop now", no: "Let it run" })) && act("train_stop", { run: name })();
  const button = (text, sign, click, primary) => h("button", { type: "button", class: `button ${primary ? "primary" : ""}`, click }, icon(sign), text);
  const buttons = {
    keep: button("Stop after this epoch and keep the best", "accept", act("train_stop", { run: name, keep: true })), cancel: button("Stop now", "stop", cancel),
    resume: button("Go on", "play", act("train_start", { resume: name }), true), results: button("Results", "right", () => go("results", { run: name }), true), tryIt: button("Try it", "right", () => go("try", { run: name })),
  };
  const [head, body, log] = [h("h2", {}), h("div", {}), h("pre", { class: "log", tabindex: 0 })];
  const printed = h("details", {}, h("summary", {}, "What it printed"), log);
  const node = h("section", { class: "panel run", "aria-label": name }, head, h("div", { class: "bar" }, Object.values(buttons)), body, printed);
  const update = (history, row, only) => {
    const { state } = history;
    head.replaceChildren(name, " ", badge(state));
    const under = state === "running" && write, again = ["stopped", "failed"].includes(state) && history.command && write;
    const shown = { keep: under && history.epochs > 0 && !history.stopping, cancel: under, resume: again, results: state === "done", tryIt: state === "done" };
    for (const [key, each] of Object.entries(buttons)) each.hidden = !shown[key];
    clear(body).append(...[history.error && h("p", { class: "note", role: "alert" }, icon("warning"), " ", history.error), history.stopping && state === "running" && h("p", { class: "note" }, "It ends after this epoch; the best one is then tested and kept."),
      factsOf(row), ...stagesOf(history), only && curves([history])].filter(Boolean));
    printed.hidden = !history.log.length;
    log.textContent = [history.command && `$ ${history.command}`, ...history.log].filter(Boolean).join("\n");
  };
  return { node, update };
}

/** The form that starts a training with the labels now in force. */
function startForm(context, started) {
  const fields = {};
  const field = (name, label, control) => h("label", {}, h("span", {}, label), (fields[name] = control));
  const choice = (names) => h("select", { class: "field" }, names.map((name) => h("option", { value: name }, name)));
  const whole = (low) => h("input", { class: "field", type: "number", min: low, step: 1 });
  const same = h("input", { type: "checkbox", checked: true });
  const sameField = h("label", { class: "check" }, same, "keep its test images, so that before and after compare");
  const [heading, said, go] = [h("h2", {}), h("p", { class: "note", hidden: true }), h("button", { class: "button primary" }, icon("play"), "Train")];
  const form = h("form", { class: "panel start", submit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    const { like, name, mode, backbone, epochs, seed, augment } = Object.fromEntries(Object.entries(fields).map(([key, { value }]) => [key, value]));
    const chosen = { like: like || null, same_test: same.checked, name, mode, backbone, epochs: mode === "features" ? null : Number(epochs), seed: Number(seed), augment };
    try {
      started(await context.ask("train_start", chosen), like && same.checked ? like : null);
      fields.name.value = suggested; // the next one's comes with the list
    } finally { go.disabled = false; }
  } }, heading, said, h("div", { class: "fields" }, field("like", "Settings of", h("select", { class: "field", change: () => fill() })), field("name", "Name", h("input", { class: "field", required: true, maxlength: 60 })),
    field("mode", "Mode", h("select", { class: "field", change: () => showEpochs() }, [["auto", "auto: features without a GPU"], ["features", "features: seconds to minutes"], ["finetune", "finetune: the whole network"]].map(([value, text]) => h("option", { value }, text)))),
    field("backbone", "Network", h("input", { class: "field", list: "backbones", required: true })), field("epochs", "Epochs", whole(1)), field("augment", "Augmentation", choice(["none", "light", "standard", "strong"])), field("seed", "Seed", whole(0))),
    sameField, h("datalist", { id: "backbones" }, BACKBONES.map((value) => h("option", { value }))), h("div", { class: "bar end" }, go));
  let runs = [], suggested = "";
  const showEpochs = () => { for (const name of ["epochs", "augment"]) fields[name].closest("label").hidden = fields.mode.value === "features"; };
  const fill = () => {
    const run = runs.find(({ name }) => name === fields.like.value) ?? {};
    const values = { mode: run.mode ?? "auto", backbone: run.backbone ?? "efficientnet_lite1", epochs: run.epochs ?? 20, seed: run.seed ?? 0, augment: run.augment ?? "standard" };
    for (const [name, value] of Object.entries(values)) fields[name].value = value;
    sameField.hidden = !run.name;
    showEpochs();
  };
  const update = (listing) => {
    const { relabelled, excluded } = listing.changes;
    heading.textContent = relabelled + excluded ? `Train with my ${plural(relabelled + excluded, "label change")}` : "Train";
    heading.title = `${plural(relabelled, "image")} relabelled, ${number(excluded)} excluded`;
    const finished = listing.runs.filter(({ state, backbone }) => state === "done" && backbone);
    if (finished.map(({ name }) => name).join() !== runs.map(({ name }) => name).join() || !fields.like.options.length) {
      const before = fields.like.value || finished[0]?.name || "";
      fields.like.replaceChildren(...finished.map(({ name }) => h("option", { value: name }, name)), h("option", { value: "" }, "the defaults"));
      runs = finished;
      fields.like.value = before;
      fill();
    }
    if (fields.name.value === suggested) fields.name.value = suggested = listing.suggested;
    const why = listing.why_not || (listing.running && `${listing.running} is under way; one training at a time.`);
    said.textContent = why ?? "";
    said.hidden = !why;
    go.disabled = Boolean(why);
  };
  return { node: form, update };
}

/** The check of the data: when it was, what it found, and a button. */
function checkPanel({ ask, go, overview }, refresh) {
  const [text, body, check, stop] = [h("p", {}), h("div", {}), h("button", { type: "button", class: "button" }, icon("search"), "Check now"), h("button", { type: "button", class: "button" }, icon("stop"), "Stop")];
  const update = (found) => {
    const { state, checked_at: at, n_findings: n, changed, error, counts } = found;
    text.textContent = at ? `Checked ${day(at)}: ${n ? `${plural(n, "finding")} (${plural(counts.error, "error")}, ${plural(counts.warning, "warning")})` : "nothing found"}${changed ? `; ${plural(changed, "image")} changed since` : ""}.` : "Looks for suspected labels, copies, leaks, shortcuts and bad files, in the background.";
    clear(body).append(...[error && h("p", { class: "note", role: "alert" }, icon("warning"), " ", error), ...stagesOf(found)].filter(Boolean));
    check.hidden = state === "running" || overview.read_only;
    stop.hidden = state !== "running" || overview.read_only;
    see.hidden = !n;
  };
  check.addEventListener("click", async () => { update(await ask("check_start")); refresh(); });
  stop.addEventListener("click", async () => { update(await ask("check_stop")); refresh(); });
  const see = h("button", { type: "button", class: "button", click: () => go("review") }, "Review them");
  const node = h("section", { class: "panel check" }, h("h2", {}, "Check the data"), text, body, h("div", { class: "bar end" }, stop, see, check));
  return { node, update };
}

export async function mount(root, context) {
  const { ask, state, announce } = context;
  const histories = new Map(), panels = new Map();
  const [list, detail, extra] = [h("div", { class: "scroll", tabindex: 0 }), h("div", { class: "detail" }), h("div", {})];
  let listing, timer, ended = false, compared = "";
  /** The runs that are shown: those of the address, else the newest. */
  const chosen = () => {
    const asked = (state.get().get("runs") ?? "").split(",").filter(Boolean), names = listing.runs.map(({ name }) => name);
    const found = asked.filter((name) => names.includes(name)).slice(0, STYLES.length);
    return found.length ? found : names.slice(0, 1);
  };
  const choose = (names) => state.set({ runs: names }, { push: true });
  const form = startForm(context, async (job, before) => {
    announce(`${job.name} has started`);
    await refresh(); // or the new run would not be known yet, and another be shown
    choose([before, job.name].filter(Boolean));
  });
  const check = checkPanel(context, () => refresh());
  clear(root).append(h("h1", {}, "Training"), h("div", { class: "training" }, h("div", {}, h("section", { class: "panel" }, list), form.node, check.node), h("div", {}, detail, extra)));

  function drawList() {
    const selected = chosen(), focused = document.activeElement?.dataset?.run;
    const row = (run) => h("tr", { "aria-selected": selected.includes(run.name) ? "true" : null },
      h("td", {}, h("label", { class: "check" }, h("input", { type: "checkbox", checked: selected.includes(run.name), "aria-label": `compare ${run.name}`,
        change: ({ target }) => {
          const others = chosen().filter((name) => name !== run.name), on = target.checked || !others.length; // one is always shown
          target.checked = on;
          choose(on ? [...others, run.name] : others);
        } }))),
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", "data-run": run.name, click: () => choose([run.name]) }, run.name), h("small", {}, day(run.when))),
      h("td", {}, badge(run.state), run.corrections && h("small", {}, plural(run.corrections.relabelled + run.corrections.excluded, "label change"))),
      h("td", {}, run.mode ?? "", h("small", {}, run.backbone ?? "")),
      h("td", { class: "n" }, share(run.accuracy)), h("td", { class: "n" }, share(run.balanced_accuracy)));
    list.replaceChildren(listing.runs.length ? h("table", { class: "table runs" }, h("caption", {}, plural(listing.runs.length, "run")),
      h("thead", {}, h("tr", {}, ["", "Run", "State", "Mode", "Accuracy", "Balanced"].map((name, k) => h("th", { scope: "col", class: k > 3 && "n" }, name || h("span", { class: "unseen" }, "Compare"))))), h("tbody", {}, listing.runs.map(row)))
      : h("p", { class: "quiet" }, "No run yet. The form below starts the first one."));
    if (focused) [...list.querySelectorAll("[data-run]")].find(({ dataset }) => dataset.run === focused)?.focus({ preventScroll: true });
  }

  async function follow(name) {
    const before = histories.get(name), rows = before?.rows ?? [];
    const next = await ask("run_history", { run: name, after: rows.at(-1)?.epoch ?? 0 });
    if (before?.state === "running" && next.state !== "running") announce(`${name}: ${next.state}`);
    histories.set(name, { ...next, rows: [...rows, ...next.rows] });
  }

  async function drawDetail() {
    const names = chosen();
    await Promise.all(names.filter((name) => (histories.get(name)?.state ?? "running") === "running").map(follow));
    if (ended || names.join() !== chosen().join()) return;
    for (const [name, { node }] of panels) if (!names.includes(name)) { node.remove(); panels.delete(name); }
    for (const name of names) {
      if (!panels.has(name)) panels.set(name, runPanel(context, name, () => { histories.delete(name); refresh(); }));
      panels.get(name).update(histories.get(name), listing.runs.find((run) => run.name === name), names.length === 1);
    }
    const nodes = names.map((name) => panels.get(name).node);
    if (nodes.some((node, k) => detail.children[k] !== node) || detail.children.length !== nodes.length) detail.replaceChildren(...nodes);
    const done = names.filter((name) => histories.get(name).state === "done"), now = `${names}/${done}`;
    if (names.length < 2) clear(extra);
    else if (now !== compared || done.length < names.length) {
      const pair = names.length === 2 && done.length === 2, [newer, older] = listing.runs.map(({ name }) => name).filter((name) => names.includes(name));
      const table = pair && await ask("run_difference", { before: older, after: newer }).then(differenceTable, ({ message }) => h("p", { class: "note" }, message));
      extra.replaceChildren(...[table, curves(names.map((name) => histories.get(name)))].filter(Boolean));
    }
    compared = now;
    if (names.length === 1 && listing.runs.length > 1) extra.replaceChildren(h("p", { class: "quiet" }, "Tick two runs to compare them: the older one is “before”."));
  }

  async function refresh() {
    clearTimeout(timer);
    const next = await ask("runs");
    if (ended) return;
    const changed = JSON.stringify(next) !== JSON.stringify(listing);
    listing = next;
    if (changed) { drawList(); form.update(listing); }
    const found = await ask("check_state");
    check.update(found);
    await drawDetail();
    clearTimeout(timer);
    if (!ended) timer = setTimeout(() => refresh().catch(() => { timer = setTimeout(refresh, 5000); }), listing.running || found.state === "running" ? 1000 : 4000);
  }
  context.on("state", () => { if (listing) { drawList(); drawDetail(); } });
  await refresh();
  return () => { ended = true; clearTimeout(timer); };
}
