// History: every batch of label events, undoing any, what two moments differ in, and whether all is as it was written.
import { confirmDialog, fill, h, icon, images, localTime, number, refill } from "../core/dom.js";
import { badge, button, form, problem, quiet, stateChoice, submit, table } from "../core/parts.js";
import { paged } from "../core/transport.js";

const PAGE = 50, MOST = 1000; // batches: at first, and in one answer
const moment = (at) => localTime(at, "medium");
const inWords = (moves) => moves.map(({ says }) => says).join(", ");

export async function mount(root, context) {
  const { ask, state, labels, overview, toast, complain } = context;
  let told = { batches: [] };
  const chain = h("section.panel.chain", { "aria-live": "polite" }), bar = h("div.bar");
  const list = h("div.batches"), between = h("div");
  const when = (name, text) => h("label", text, " ", h("input.field", { type: "datetime-local", step: 1, name }));
  const compared = h("details.panel", h("summary", "What two moments differ in"),
    form("bar", difference, when("since", "From"), when("until", "to (or now)"), submit("Compare")), between);
  fill(root, h("h1.unseen", "History"), h("div.history", h("section.panel", bar, list), h("div", chain, compared)));
  const chosen = () => ({ actor: state.get("actor"), class: state.get("class") });
  const pages = paged(context, "history", "batches", chosen, [PAGE, MOST], (answer) => {
    told = answer;
    drawBar();
    drawList();
  });
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
      form("bar", () => verify(field.value.trim()), field, submit("Check")));
  }
  async function difference(node) {
    try {
      const moments = [...new FormData(node).values()];
      const [since, until] = moments.map((value) => value && new Date(value).toISOString());
      if (!since) throw new Error("Give the first moment");
      const { total, moves, rows } = await ask("label_diff", { since, until: until || null });
      const cells = (row) => [h("span.path", row.id), row.says, row.by, moment(row.at)];
      const says = total ? `${number(total)} differences: ${inWords(moves)}` : "Nothing differs.";
      fill(between, h("p", says),
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
    const what = `Batch ${batch.batch} by ${batch.actor}, ${moment(batch.at)}: ${inWords(batch.moves)}.`;
    const words = batch.undoes ? { title: "Do it again?", yes: "Do it again" }
      : { title: "Take this back?", yes: "Take it back" };
    const asks = !(newest && batch.actor === overview.actor); // one's own last is taken back without a second thought
    if (asks && !(await confirmDialog(`${what} What was done since stays, and the undo can be undone.`, words))) return;
    await labels.undo(batch.batch).catch(complain);
    await pages.load();
  }
  function drawBar() {
    const which = (name, text, values) => stateChoice(state, name, [["", text], ...values], { "aria-label": text });
    const save = (text, values) => button([icon("download"), text], () => download(values).catch(complain));
    fill(bar, which("actor", "Everybody", told.actors), which("class", "All classes", overview.class_names),
      h("span.quiet.number", `${number(told.total)} ${told.total === 1 ? "batch" : "batches"}`),
      h("span.bar.push", save("Labels (CSV)", {}), save("Events (CSV)", { what: "events" })));
  }
  function drawList() {
    const { batches, total, actors } = told;
    const none = actors.length ? "No batch fits."
      : "What you change in the grid, the review and the duplicates is listed here, and can be taken back.";
    refill(list, [total ? h("ol", batches.map(row)) : quiet(none),
      batches.length < total && button("Older", pages.more, { "data-key": "older" })], root);
  }
  function row(batch) {
    const { moves, n, undoes, undone } = batch, verb = undoes ? "Redo" : "Undo";
    const pictures = batch.images.filter(({ i }) => i !== null).map(({ i, id }) =>
      context.picture(i, { alt: id, title: id, loading: "lazy", width: 40, height: 40 }));
    const own = { "data-key": `batch ${batch.batch}`, disabled: overview.read_only };
    return h("li", { class: undone ? "undone" : "" }, h("span.number.which", batch.batch),
      h("div.what", h("p", h("b", inWords(moves.slice(0, 4))),
        moves.length > 4 && ` and ${moves.length - 4} other kinds of change`,
        undone && badge("taken back", "", "undo")), quiet(`${batch.actor} · ${moment(batch.at)} · ${batch.says}`)),
      h("div.of-batch", pictures, n > 1 ? h("span.quiet.number", images(n)) : h("span.path", batch.images[0].id)),
      !undone && button([icon(verb.toLowerCase()), verb], () => undo(batch),
        { ...own, "aria-label": `${verb} batch ${batch.batch}` }));
  }
  context.on("changed", ({ items }) => { if (!items.some(({ saving }) => saving)) { pages.load(); verify(); } });
  await Promise.all([pages.load(), verify()]);
  return pages.close;
}
