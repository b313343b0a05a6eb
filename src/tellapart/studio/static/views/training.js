// Runs, past and under way: how they go, what they came to, and one more with the labels as they are now.
import { confirmDialog, fill, h, icon, images, localTime, number, refill } from "../core/dom.js";
import { badge, bars, button, choice, form, link, note, problem, quiet, submit, table, tick } from "../core/parts.js";
import { lineChart } from "/shared/curves.js";

const STYLES = ["s1", "s2", "s3", "s4"];
const BADGES = {
  running: ["good", "play"], done: ["", "accept"], failed: ["warn", "warning"], damaged: ["warn", "warning"],
  stopped: ["warn", "stop"], unfinished: ["warn", "stop"],
};
const BUSY_MS = 1000, IDLE_MS = 4000;
const stateOf = (state) => badge(state, ...(BADGES[state] ?? []));
const share = (figure) => figure && [figure.says, h("small", ` ${figure.range}`)];
/** What work does now and has done. */
const stagesOf = ({ state, now, bars: rows }) =>
  state === "running" && [h("p.now", now), rows.length > 0 && bars(rows, "stages")];

/** Loss and accuracy by epoch: of one run on training and validation images, of several on validation images. */
function curves(histories) {
  const drawn = histories.filter(({ rows }) => rows.length).slice(0, STYLES.length);
  if (!drawn.length) return null;
  const [{ rows, columns }] = drawn, alone = drawn.length === 1;
  const domain = [0, Math.max(5, ...drawn.map(({ epochs }) => epochs))];
  const line = (name, style, rows, key) => ({ name, style, points: rows.map((row) => [row.epoch, row[key]]) });
  const chart = (what, most) => {
    const both = () => [line("training images", "s2", rows, `train_${what}`),
      line("validation images", "s1", rows, `val_${what}`)];
    const series = alone ? both() : drawn.map((run, k) => line(run.name, STYLES[k], run.rows, `val_${what}`));
    const values = series.flatMap(({ points }) => points.map(([, y]) => y));
    const kept = drawn.map((run) => run.rows.find(({ epoch }) => epoch === run.best_epoch)).filter(Boolean);
    const marks = kept.map((row) => ({ x: row.epoch, y: row[`val_${what}`], label: `kept: epoch ${row.epoch}` }));
    const ends = most ? [Math.max(0, Math.min(...values) - 0.05), most] : [0, Math.max(...values) * 1.05];
    const [x, y] = [{ label: "epoch", domain }, { label: what, domain: ends }];
    return lineChart({ title: `${what} by epoch`, x, y, series, marks });
  };
  const cells = (row) => [row.epoch, ...Object.keys(columns).map((key) => number(row[key]))];
  return h("div.curves", h("div.pair", chart("loss"), chart("accuracy", 1)),
    quiet("◆ marks the epoch that is kept: the lowest loss on validation images."),
    alone && h("details", h("summary", "The epochs as a table"),
      table(["epoch", ...Object.values(columns)], rows.map(cells), { label: "Epochs", numbers: 1 })));
}

/** Two runs on the test images that both have. */
function differenceTable({ before, after, says, figures }) {
  const row = ({ words }) => [[words.label, words.note && h("small", words.note)], words.before, words.after,
    words.difference, [words.interval, words.chance && h("small", words.chance)]];
  return h("section.panel.difference", h("h2", `${before} → ${after}`), h("p", says),
    table(["Figure", before, after, "Difference", "95 % interval"], figures.map(row),
      { label: "Difference", numbers: 1 }));
}

/** One run: what it does or did, its buttons and its log; `update` is told each new history and its row. */
function runPanel(context, name, refresh) {
  const { ask, go, overview } = context, write = !overview.read_only;
  const act = (operation, values) => async () => { await ask(operation, values); refresh(); };
  const stop = act("train_stop", { run: name });
  const sure = () => confirmDialog(`Stop ${name} now? Nothing of the epoch under way is kept; it can go on later.`,
    { yes: "Stop now", no: "Let it run" });
  const sign = (symbol, says, click, looks = "") => button([icon(symbol), says], click, { class: looks });
  const buttons = {
    keep: sign("accept", "Stop after this epoch and keep the best", act("train_stop", { run: name, keep: true })),
    cancel: sign("stop", "Stop now", async () => (await sure()) && stop()),
    resume: sign("play", "Go on", act("train_start", { resume: name }), "primary"),
    results: sign("right", "Results", () => go("results", { run: name }), "primary"),
    tryIt: sign("right", "Try it", () => go("try", { run: name })),
  };
  const head = h("h2"), body = h("div"), log = h("pre.log", { tabindex: 0 });
  const printed = h("details", h("summary", "What it printed"), log), bar = h("div.bar", Object.values(buttons));
  const node = h("section.panel.run", { "aria-label": name }, head, bar, body, printed);
  const update = (history, row, only) => {
    const { state, epochs, stopping, command, error, log: lines } = history;
    const running = state === "running", done = state === "done";
    fill(head, name, " ", stateOf(state));
    const shown = { keep: write && running && epochs > 0 && !stopping, cancel: write && running, results: done,
      tryIt: done, resume: write && command && ["stopped", "failed"].includes(state) };
    for (const [key, one] of Object.entries(buttons)) one.hidden = !shown[key];
    const ending = "It ends after this epoch; the best one is then tested and kept.";
    fill(body, error && problem(error), stopping && running && h("p.note", ending), row?.facts && h("p", row.facts),
      stagesOf(history), only && curves([history]));
    printed.hidden = !lines.length;
    log.textContent = [command && `$ ${command}`, ...lines].filter(Boolean).join("\n");
  };
  return { node, update };
}

/** The form that starts a training with the labels now in force. */
function startForm(context, started) {
  const { modes, policies, backbones, defaults } = context.overview.training;
  const heading = h("h2"), said = h("p.note", { hidden: true }), go = submit([icon("play"), "Train"], "primary");
  const whole = (low) => h("input.field", { type: "number", min: low, step: 1 });
  const fields = {
    like: choice([], "", () => take()), name: h("input.field", { required: true, maxlength: 60 }),
    mode: choice(Object.entries(modes), "", () => showEpochs()),
    backbone: h("input.field", { list: "backbones", required: true }), epochs: whole(1),
    augment: choice(Object.keys(policies), "", () => {}), seed: whole(0),
  };
  const words = { like: "Settings of", name: "Name", mode: "Mode", backbone: "Network", epochs: "Epochs",
    augment: "Augmentation", seed: "Seed" };
  let runs = [], suggested = "", same = true;
  const sameTest = tick("keep its test images, so that before and after compare", same, (on) => { same = on; });
  const send = async () => {
    go.disabled = true;
    const values = Object.entries(fields).map(([key, { value }]) => [key, value]);
    const { like, epochs, seed, ...others } = Object.fromEntries(values);
    const numbers = { epochs: others.mode === "features" ? null : Number(epochs), seed: Number(seed) };
    const wanted = { ...others, ...numbers, like: like || null, same_test: same };
    const job = await context.ask("train_start", wanted).finally(() => { go.disabled = false; });
    fields.name.value = suggested; // the next one's comes with the list
    started(job, like && same ? like : null);
  };
  const field = ([name, control]) => h("label", h("span", words[name]), control);
  const node = form("panel.start", send, heading, said, h("div.fields", Object.entries(fields).map(field)), sameTest,
    h("datalist", { id: "backbones" }, backbones.map((value) => h("option", { value }))), h("div.bar.end", go));
  const showEpochs = () => {
    for (const one of [fields.epochs, fields.augment]) one.closest("label").hidden = fields.mode.value === "features";
  };
  /** Take over the settings of the run that is named. */
  const take = () => {
    const run = runs.find(({ name }) => name === fields.like.value);
    for (const [name, usual] of Object.entries(defaults)) fields[name].value = run?.[name] ?? usual;
    sameTest.hidden = !run;
    showEpochs();
  };
  const update = ({ changes, corrected, runs: all, suggested: next, why_not: whyNot, running }) => {
    heading.textContent = corrected ? `Train with my ${corrected}` : "Train";
    heading.title = `${images(changes.relabelled)} relabelled, ${number(changes.excluded)} excluded`;
    const finished = all.filter(({ state, backbone }) => state === "done" && backbone);
    const namesOf = (some) => some.map(({ name }) => name).join();
    if (namesOf(finished) !== namesOf(runs) || !fields.like.options.length) {
      const chosen = fields.like.value || finished[0]?.name || "";
      const option = (value, text = value) => h("option", { value }, text);
      fill(fields.like, finished.map(({ name }) => option(name)), option("", "the defaults"));
      [runs, fields.like.value] = [finished, chosen];
      take();
    }
    if (fields.name.value === suggested) fields.name.value = next;
    suggested = next;
    const why = whyNot || (running && `${running} is under way; one training at a time.`);
    fill(said, why);
    [said.hidden, go.disabled] = [!why, Boolean(why)];
  };
  return { node, update };
}

/** The check of the data: when it was, what it found, and a button. */
function checkPanel({ ask, go, overview }, refresh) {
  const text = h("p"), body = h("div"), write = !overview.read_only;
  const act = (operation) => async () => { update(await ask(operation)); refresh(); };
  const check = button([icon("search"), "Check now"], act("check_start"));
  const stop = button([icon("stop"), "Stop"], act("check_stop")), see = button("Review them", () => go("review"));
  const node = h("section.panel.check", h("h2", "Check the data"), text, body, h("div.bar.end", stop, see, check));
  function update(found) {
    const { state, checked_at: at, n_findings: n, error } = found, running = state === "running";
    fill(text, at ? `Checked ${localTime(at)}: ${found.found}.`
      : "Looks for suspected labels, copies, leaks, shortcuts and bad files, in the background.");
    fill(body, error && problem(error), stagesOf(found));
    [check.hidden, stop.hidden, see.hidden] = [running || !write, !running || !write, !n];
  }
  return { node, update };
}

export async function mount(root, context) {
  const { ask, state, announce } = context;
  const histories = new Map(), panels = new Map(), list = h("div"), detail = h("div.detail"), extra = h("div");
  let listing, timer, ended = false, compared = "";
  /** The runs that are shown: those of the address, else the newest. */
  const chosen = () => {
    const names = listing.runs.map(({ name }) => name);
    const found = state.names("runs").filter((name) => names.includes(name)).slice(0, STYLES.length);
    return found.length ? found : names.slice(0, 1);
  };
  const choose = (names) => state.set({ runs: names }, { push: true });
  const start = startForm(context, async (job, before) => {
    announce(`${job.name} has started`);
    await refresh(); // or the new run would not be known yet, and another be shown
    choose([before, job.name].filter(Boolean));
  });
  const check = checkPanel(context, () => refresh());
  fill(root, h("h1", "Training"), h("div.training", h("div", h("section.panel", list), start.node, check.node),
    h("div", detail, extra)));
  function drawList() {
    const { runs } = listing, selected = chosen();
    if (!runs.length) return refill(list, quiet("No run yet. The form below starts the first one."));
    const compare = (name) => ({ target }) => {
      const others = chosen().filter((other) => other !== name);
      target.checked ||= !others.length; // one is always shown
      choose(target.checked ? [...others, name] : others);
    };
    const box = ({ name }) => h("input", { type: "checkbox", checked: selected.includes(name), change: compare(name),
      "aria-label": `compare ${name}`, "data-key": `compare ${name}` });
    const cells = (run) => [h("label.check", box(run)),
      [link(run.name, () => choose([run.name]), { "data-key": run.name }), h("small", localTime(run.when))],
      [stateOf(run.state), run.corrected && h("small", run.corrected)],
      [run.mode, h("small", run.backbone)], share(run.accuracy), share(run.balanced_accuracy)];
    const row = (k) => ({ "aria-selected": selected.includes(runs[k].name) && "true" });
    const heads = [h("span.unseen", "Compare"), "Run", "State", "Mode", "Accuracy", "Balanced"];
    return refill(list, table(heads, runs.map(cells),
      { label: "Runs", looks: "runs", caption: listing.listed, title: 1, numbers: 4, row }));
  }
  async function follow(name) {
    const before = histories.get(name), rows = before?.rows ?? [];
    const next = await ask("run_history", { run: name, after: rows.at(-1)?.epoch ?? 0 });
    if (before?.state === "running" && next.state !== "running") announce(`${name}: ${next.state}`);
    histories.set(name, { ...next, rows: [...rows, ...next.rows] });
  }
  async function drawDetail() {
    const names = chosen(), going = (name) => (histories.get(name)?.state ?? "running") === "running";
    await Promise.all(names.filter(going).map(follow));
    if (ended || names.join() !== chosen().join()) return;
    for (const [name, { node }] of panels) if (!names.includes(name)) { node.remove(); panels.delete(name); }
    for (const name of names) {
      if (!panels.has(name)) panels.set(name, runPanel(context, name, () => { histories.delete(name); refresh(); }));
      panels.get(name).update(histories.get(name), listing.runs.find((run) => run.name === name), names.length === 1);
    }
    const nodes = names.map((name) => panels.get(name).node), { children } = detail;
    if (nodes.length !== children.length || nodes.some((node, k) => children[k] !== node)) fill(detail, nodes);
    const done = names.filter((name) => histories.get(name).state === "done"), now = `${names}/${done}`;
    const hint = listing.runs.length > 1 && quiet("Tick two runs to compare them: the older one is “before”.");
    if (names.length < 2) fill(extra, hint);
    else if (now !== compared || done.length < names.length) {
      const [after, before] = listing.runs.map(({ name }) => name).filter((name) => names.includes(name));
      const told = names.length === 2 && done.length === 2
        && await ask("run_difference", { before, after }).then(differenceTable, ({ message }) => note(message));
      fill(extra, told, curves(names.map((name) => histories.get(name))));
    }
    compared = now;
  }
  async function refresh() {
    clearTimeout(timer);
    const next = await ask("runs");
    if (ended) return;
    const changed = JSON.stringify(next) !== JSON.stringify(listing);
    listing = next;
    if (changed) {
      drawList();
      start.update(listing);
    }
    const found = await ask("check_state");
    check.update(found);
    await drawDetail();
    clearTimeout(timer);
    const again = () => refresh().catch(() => { timer = setTimeout(again, IDLE_MS); });
    if (!ended) timer = setTimeout(again, listing.running || found.state === "running" ? BUSY_MS : IDLE_MS);
  }
  context.on("state", () => { if (listing) { drawList(); drawDetail(); } });
  await refresh();
  return () => { ended = true; clearTimeout(timer); };
}
