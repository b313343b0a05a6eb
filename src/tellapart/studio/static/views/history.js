// History: every batch of label events, undoing any, what two moments differ in, and whether all is as it was written.
import { confirmDialog, fill, h, icon, images, localTime, number, refill } from "../core/dom.js";
import { badge, button, choice, problem, quiet, submit, table } from "../core/parts.js";
import { gather } from "../core/transport.js";
import { inWords as answerInWords } from "./agreement.js";

export const title = "History";
const PAGE = 50, MOST = 1000; // batches: at first, and in one answer
const MARKS = { excluded: ["excluded", "taken in again"], flagged: ["flagged", "flag taken off"] };
const moment = (at) => localTime(at, "medium");

/** One kind of change in words. */
function inWords({ field, old, new: value, n }) {
  const times = n > 1 ? `${number(n)} × ` : "";
  if (MARKS[field]) return `${times}${MARKS[field][value ? 0 : 1]}`;
  if (field === "review") return `${times}answered ${value ? answerInWords(value) : "nothing any more"}`;
  return `${times}${old || "blank"} → ${value || "blank"}`;
}

/** @param {HTMLElement} root @param {object} context @returns {Promise<function>} what takes the view down */
export async function mount(root, context) {
  const { ask, state, labels, overview, toast } = context;
  const complain = (error) => toast(error.message, { kind: "error" });
  let told = { batches: [] }, wanted = PAGE, asked = 0;
  const chain = h("section.panel.chain", { "aria-live": "polite" }), bar = h("div.bar");
  const list = h("div.batches"), between = h("div");
  const form = (act, ...children) => h("form.bar", { submit: (event) => {
    event.preventDefault();
    act(new FormData(event.target));
  } }, children);
  const when = (name, text) => h("label", text, " ", h("input.field", { type: "datetime-local", step: 1, name }));
  const compared = h("details.panel", h("summary", "What two moments differ in"),
    form(difference, when("since", "From"), when("until", "to (or now)"), submit("Compare")), between);
  fill(root, h("h1.unseen", title), h("div.history", h("section.panel", bar, list), h("div", chain, compared)));

  async function load() {
    const mine = ++asked, chosen = { actor: state.get("actor"), class: state.get("class") };
    const answer = await gather(ask, "history", chosen, "batches", wanted, MOST);
    if (mine !== asked) return;
    told = answer;
    drawBar();
    drawList();
  }
  async function verify(anchor = "") {
    const found = await ask("verify", anchor ? { anchor } : {}).catch((error) => ({ problem: error.message }));
    const field = h("input.field", { name: "anchor", value: anchor, "aria-label": "A hash from earlier",
      placeholder: "a hash noted earlier", spellcheck: "false", autocomplete: "off" });
    const copied = () => toast("Copied"), not = () => complain({ message: "Select the hash and copy it" });
    const whole = () => [h("p", icon("accept"), ` ${number(found.events)} events, each as it was written`,
        anchor && "; the hash that you gave is among theirs", "."),
      h("p.bar", h("span", "Last hash"), h("code.head", found.head),
        button("Copy", () => navigator.clipboard.writeText(found.head).then(copied, not))),
      quiet("Note it elsewhere: with it you can show later that nothing was cut off the end.")];
    fill(chain, found.problem ? problem(found.problem) : found.head ? whole() : quiet("No label has been changed yet."),
      form((values) => verify(values.get("anchor").trim()), field, submit("Check")));
  }
  async function difference(values) {
    try {
      const [since, until] = ["since", "until"].map((name) => values.get(name)
        && new Date(values.get(name)).toISOString());
      if (!since) throw new Error("Give the first moment");
      const { total, moves, rows } = await ask("label_diff", { since, until: until || null });
      const cells = (row) => [h("span.path", row.id),
        inWords({ ...row, old: row.before, new: row.after, n: 1 }), row.by, moment(row.at)];
      fill(between, h("p", total ? `${number(total)} differences: ${moves.map(inWords).join(", ")}`
        : "Nothing differs."),
        rows.length > 0 && table(["Image", "Change", "By", "When"], rows.map(cells), { label: "Differences" }),
        rows.length < total && quiet(`The first ${rows.length} are listed.`));
    } catch (error) { fill(between, problem(error.message)); }
  }
  async function download(values) {
    const { name, csv } = await ask("export_labels", values);
    const url = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
  async function undo(batch) {
    const newest = told.batches[0] === batch && !state.get("actor") && !state.get("class");
    const what = `Batch ${batch.batch} by ${batch.actor}, ${moment(batch.at)}: ${batch.moves.map(inWords).join(", ")}.`;
    const words = batch.undoes ? { title: "Do it again?", yes: "Do it again" }
      : { title: "Take this back?", yes: "Take it back" };
    const asks = !(newest && batch.actor === overview.actor); // one's own last is taken back without a second thought
    if (asks && !(await confirmDialog(`${what} What was done since stays, and the undo can be undone.`, words))) return;
    await labels.undo(batch.batch).catch(complain);
    await load();
  }

  function drawBar() {
    const which = (name, text, values) => choice([["", text], ...values], state.get(name),
      (value) => state.set({ [name]: value }, { push: true }), { "aria-label": text });
    const save = (text, values) => button([icon("download"), text], () => download(values).catch(complain));
    fill(bar, which("actor", "Everybody", told.actors), which("class", "All classes", overview.class_names),
      h("span.quiet.number", `${number(told.total)} ${told.total === 1 ? "batch" : "batches"}`),
      h("span.bar.push", save("Labels (CSV)", {}), save("Events (CSV)", { what: "events" })));
  }
  function drawList() {
    const { batches, total, actors } = told;
    const none = actors.length ? "No batch fits."
      : "What you change in the grid, the review and the duplicates is listed here, and can be taken back.";
    const older = () => { wanted = 2 * batches.length; return load(); };
    refill(list, [total ? h("ol", batches.map(row)) : quiet(none),
      batches.length < total && button("Older", older, { "data-key": "older" })], root);
  }
  function row(batch) {
    const { moves, n, undoes, undone } = batch, by = undoes ? `undo of ${undoes}` : batch.source;
    const pictures = batch.images.filter(({ i }) => i !== null).map(({ i, id }) => {
      const img = h("img", { alt: id, title: id, loading: "lazy", width: 40, height: 40 });
      context.show(img, i, 160);
      return img;
    });
    const verb = undoes ? "Redo" : "Undo", why = batch.why && !undoes ? ` · “${batch.why}”` : "";
    const own = { "data-key": `batch ${batch.batch}`, disabled: overview.read_only,
      "aria-label": `${verb} batch ${batch.batch}` };
    return h("li", { class: undone ? "undone" : "" }, h("span.number.which", batch.batch),
      h("div.what", h("p", h("b", moves.slice(0, 4).map(inWords).join(", ")),
        moves.length > 4 && ` and ${moves.length - 4} other kinds of change`,
          undone && badge("taken back", "", "undo")),
      quiet(`${batch.actor} · ${moment(batch.at)} · ${by}${why}`)), h("div.of-batch", pictures,
        n > 1 ? h("span.quiet.number", images(n)) : h("span.path", batch.images[0].id)),
      !undone && button([icon(verb.toLowerCase()), verb], () => undo(batch), own));
  }

  context.on("state", () => { wanted = PAGE; load(); });
  context.on("changed", ({ items }) => { if (!items.some(({ saving }) => saving)) { load(); verify(); } });
  await Promise.all([load(), verify()]);
  return () => { asked++; };
}
