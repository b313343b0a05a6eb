// History: every batch of label events, undoing any, what two moments differ in, and whether all is as it was written.
import { clear, confirmDialog, h, icon, number } from "../core/dom.js";

export const title = "History";
const PAGE = 50, MOST = 1000;
const MARKS = { excluded: ["excluded", "taken in again"], flagged: ["flagged", "flag taken off"] };
const localTime = (at) => new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** One kind of change in words. */
function inWords({ field, old, new: value, n }) {
  const times = n > 1 ? `${number(n)} × ` : "";
  if (MARKS[field]) return `${times}${MARKS[field][value ? 0 : 1]}`;
  return field === "review" ? `${times}answered ${value || "nothing any more"}` : `${times}${old || "blank"} → ${value || "blank"}`;
}

const problem = (text) => h("p", { class: "note", role: "alert" }, icon("warning"), ` ${text}`);

/** @param {HTMLElement} root @param {object} context @returns {Promise<function>} what takes the view down */
export async function mount(root, context) {
  const { ask, state, labels, overview, toast } = context;
  let told, count = PAGE, asked = 0;
  const chain = h("section", { class: "panel chain", "aria-live": "polite" }), bar = h("div", { class: "bar" }), list = h("div", { class: "batches" }), between = h("div", {});
  const parameter = (name) => state.get().get(name) ?? "";
  const form = (act, ...children) => h("form", { class: "bar", submit: (event) => { event.preventDefault(); act(new FormData(event.target)); } }, children);
  const moment = (name, text) => h("label", {}, text, " ", h("input", { class: "field", type: "datetime-local", step: 1, name }));
  const compared = h("details", { class: "panel" }, h("summary", {}, "What two moments differ in"),
    form(difference, moment("since", "From"), moment("until", "to (or now)"), h("button", { class: "button" }, "Compare")), between);
  clear(root).append(h("h1", { class: "unseen" }, title),
    h("div", { class: "history" }, h("section", { class: "panel" }, bar, list), h("div", {}, chain, compared)));

  async function load() {
    const mine = ++asked, answer = await ask("history", { actor: parameter("actor"), class: parameter("class"), count });
    if (mine !== asked) return;
    told = answer;
    drawBar();
    drawList();
  }
  async function verify(anchor = "") {
    const found = await ask("verify", anchor ? { anchor } : {}).catch((error) => ({ problem: error.message }));
    const field = h("input", { class: "field", name: "anchor", value: anchor, "aria-label": "A hash from earlier",
      placeholder: "a hash noted earlier", spellcheck: "false", autocomplete: "off" });
    const copy = () => navigator.clipboard.writeText(found.head).then(() => toast("Copied"), () => toast("Select the hash and copy it", { kind: "error" }));
    const whole = () => [
      h("p", {}, icon("accept"), ` ${number(found.events)} events, each as it was written${anchor ? "; the hash that you gave is among theirs" : ""}.`),
      h("p", { class: "bar" }, h("span", {}, "Last hash"), h("code", { class: "head" }, found.head), h("button", { type: "button", class: "button", click: copy }, "Copy")),
      h("p", { class: "quiet" }, "Note it elsewhere: with it you can show later that nothing was cut off the end.")];
    clear(chain).append(...(found.problem ? [problem(found.problem)] : found.head ? whole() : [h("p", { class: "quiet" }, "No label has been changed yet.")]),
      form((values) => verify(values.get("anchor").trim()), field, h("button", { class: "button" }, "Check")));
  }
  async function difference(values) {
    try {
      const [since, until] = ["since", "until"].map((name) => values.get(name) && new Date(values.get(name)).toISOString());
      if (!since) throw new Error("Give the first moment");
      const found = await ask("label_diff", { since, until: until || null });
      const rows = found.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: "path" }, row.id)),
        [inWords({ ...row, old: row.before, new: row.after, n: 1 }), row.by, localTime(row.at)].map((text) => h("td", {}, text))));
      clear(between).append(h("p", {}, found.total ? `${number(found.total)} differences: ${found.moves.map(inWords).join(", ")}` : "Nothing differs."),
        rows.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, h("table", { class: "table" }, h("tbody", {}, rows))) : "",
        rows.length < found.total ? h("p", { class: "quiet" }, `The first ${rows.length} are listed.`) : "");
    } catch (error) { clear(between).append(problem(error.message)); }
  }
  async function download(values) {
    const { name, csv } = await ask("export_labels", values), url = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
  async function undo(batch) {
    const newest = told.batches[0]?.batch === batch.batch && !parameter("actor") && !parameter("class"), mine = batch.actor === overview.actor;
    const what = `Batch ${batch.batch} by ${batch.actor}, ${localTime(batch.at)}: ${batch.moves.map(inWords).join(", ")}.`;
    const words = batch.undoes ? { title: "Do it again?", yes: "Do it again" } : { title: "Take this back?", yes: "Take it back" };
    if (!(newest && mine) && !(await confirmDialog(`${what} What was done since stays, and the undo can be undone.`, words))) return;
    try { await labels.undo(batch.batch); } catch (error) { toast(error.message, { kind: "error" }); }
    await load();
  }

  function drawBar() {
    const choose = (name, text, values) => h("select", { class: "field", "aria-label": text, change: (event) => state.set({ [name]: event.target.value }, { push: true }) },
      h("option", { value: "" }, text), values.map((value) => h("option", { value, selected: value === parameter(name) }, value)));
    const save = (text, values) => h("button", { type: "button", class: "button", click: () => download(values).catch((error) => toast(error.message, { kind: "error" })) }, icon("download"), text);
    clear(bar).append(choose("actor", "Everybody", told.actors), choose("class", "All classes", overview.class_names),
      h("span", { class: "quiet number" }, `${number(told.total)} ${told.total === 1 ? "batch" : "batches"}`),
      h("span", { class: "bar push" }, save("Labels (CSV)", {}), save("Events (CSV)", { what: "events" })));
  }
  function drawList() {
    const none = told.actors.length ? "No batch fits." : "What you change in the grid, the review and the duplicates is listed here, and can be taken back.";
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.batch : null;
    clear(list).append(told.total ? h("ol", {}, told.batches.map(row)) : h("p", { class: "quiet" }, none));
    if (told.batches.length < told.total && count < MOST) list.append(h("button", { type: "button", class: "button", click: () => { count = Math.min(MOST, 2 * count); load(); } }, "Older"));
    if (focused) (list.querySelector(`[data-batch="${focused}"]`) ?? root).focus({ preventScroll: true });
  }
  function row(batch) {
    const pictures = batch.images.filter(({ i }) => i !== null).map(({ i, id }) => {
      const img = h("img", { alt: id, title: id, loading: "lazy", width: 40, height: 40 });
      context.show(img, i, 160);
      return img;
    });
    const { moves, n, undoes, undone } = batch, by = undoes ? `undo of ${undoes}` : batch.source, verb = undoes ? "Redo" : "Undo";
    const why = batch.why && !undoes ? ` · “${batch.why}”` : "";
    return h("li", { class: undone ? "undone" : "" }, h("span", { class: "number which" }, batch.batch),
      h("div", { class: "what" }, h("p", {}, h("b", {}, moves.slice(0, 4).map(inWords).join(", ")), moves.length > 4 && ` and ${moves.length - 4} other kinds of change`,
        undone && h("span", { class: "badge" }, icon("undo"), "taken back")),
      h("p", { class: "quiet" }, `${batch.actor} · ${localTime(batch.at)} · ${by}${why}`)),
      h("div", { class: "of-batch" }, pictures, n > 1 ? h("span", { class: "quiet number" }, `${number(n)} images`) : h("span", { class: "path" }, batch.images[0].id)),
      !undone && h("button", { type: "button", class: "button", "data-batch": batch.batch, disabled: overview.read_only, "aria-label": `${verb} batch ${batch.batch}`,
        click: () => undo(batch) }, icon(verb.toLowerCase()), verb));
  }

  context.on("state", load);
  context.on("changed", ({ items }) => { if (!items.some(({ saving }) => saving)) { load(); verify(); } });
  await Promise.all([load(), verify()]);
  return () => { asked++; };
}
