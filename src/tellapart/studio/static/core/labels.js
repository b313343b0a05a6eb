// Labels and marks: shown at once, written in order, undone, and kept in step with other windows.
import { dialog, h, number } from "./dom.js";
import { table } from "./parts.js";

const POLL_MS = 2000, MOST_TOLD = 8;
const PROPERTY = { label: "label", excluded: "excluded", flagged: "flagged", review: "reviewed" };
const asText = (value) => (typeof value === "boolean" ? (value ? "yes" : "") : value ?? "");
/** What an item looks like once `field` is `value`: "yes" and "" are true and false for marks. */
const withValue = (item, field, value) =>
  ({ ...item, [PROPERTY[field]]: field === "excluded" || field === "flagged" ? value === "yes" : value });

/** Writing for one window. Emits "changed" with {items}: those just shown have `saving` true until they are on disk.
 * @param {{ask: function, emit: function, announce: function, toast: function}} context
 * @returns {object} {write, perform, undo, redo, keys, follow}; `keys` are handlers for keys */
export function labelling({ ask, emit, announce, toast }) {
  const window_ = crypto.getRandomValues(new Uint32Array(4)).join("-"); // randomUUID is for https only
  const shown = new Map(); // number -> {pending: writes on their way, item: as it is shown, sure: as it is on disk}
  let queue = Promise.resolve();
  const current = (item) => shown.get(item.i)?.item ?? item;
  /** Do one thing after another, so that a write sees what the one before it wrote. */
  function inTurn(work) {
    const done = queue.then(work);
    queue = done.catch(() => {});
    return done;
  }
  function show(items, field, value) {
    for (const item of items) {
      const { pending = 0, sure = item } = shown.get(item.i) ?? {};
      shown.set(item.i, { pending: pending + 1, item: { ...withValue(item, field, value), saving: true }, sure });
    }
    emit("changed", { items: items.map(current) });
  }
  /** One write has ended, and has written `items` or nothing: what is sure is shown, where no other is under way. */
  function settle(numbers, items = []) {
    const written = new Map(items.map((item) => [item.i, item]));
    const settled = numbers.map((i) => [i, shown.get(i)]).filter(([i, entry]) => {
      entry.sure = written.get(i) ?? entry.sure;
      return --entry.pending === 0 && shown.delete(i);
    });
    emit("changed", { items: settled.map(([, { sure }]) => sure) });
  }
  /** Write `value` into `field` ("label", "excluded", "flagged", "review") of items; marks are "yes" or "".
   * Resolves to the answer with its batch, or to null where somebody else was first and theirs was kept. */
  async function write(items, field, value, options = {}) {
    const { source = items.length > 1 ? "bulk" : "key", why = "" } = options;
    const [before, numbers] = [items.map(current), items.map(({ i }) => i)];
    const seen = before.map((item) => asText(item[PROPERTY[field]]));
    const wish = { items: numbers, field, seen, new: value, source, why, window: window_ };
    show(before, field, value);
    return inTurn(async () => {
      try {
        const answer = await ask("write", wish);
        const written = before.map((item) => ({ ...withValue(item, field, value), saving: false }));
        settle(numbers, [...written, ...answer.items]); // of many, the answer tells only the first
        return answer;
      } catch (error) {
        settle(numbers);
        if (error.status !== 409 || !error.clashes.length) throw error;
        settleConflict(error.clashes, before, field, value, options);
        return null;
      }
    });
  }
  /** Show what stands there now, and ask whose is to hold. */
  async function settleConflict(clashes, items, field, value, options) {
    const found = new Map(clashes.map((clash) => [clash.i, clash]));
    const now = items.map((item) => (found.has(item.i) ? withValue(item, field, found.get(item.i).found) : item));
    emit("changed", { items: now });
    const rows = clashes.slice(0, MOST_TOLD).map((clash) =>
      [clash.id, clash.found || "blank", clash.by ?? "the data", value || "blank"]);
    const more = clashes.length - rows.length;
    const which = items.length > 1 ? `${number(clashes.length)} of these ${number(items.length)}` : "this";
    const content = h("div", h("p", `Somebody changed ${which} since you looked. Nothing of yours was written.`),
      table(["Image", "Now", "By", "Yours"], rows, { label: "Changes" }),
      more > 0 && h("p", `and ${number(more)} more`));
    const keep = { value: false, text: "Keep what stands there", primary: true };
    const answers = [keep, { value: true, text: "Write mine over it" }];
    if (await dialog("Changed elsewhere", content, answers)) await write(now, field, value, options);
  }
  /** Have another operation write, in turn; "changed" says `more` where it does not hold all that changed. */
  const perform = (operation, values) => inTurn(async () => {
    const answer = await ask(operation, { ...values, window: window_ });
    emit("changed", { items: answer.items, more: answer.n > answer.items.length });
    return answer;
  });
  async function take(values, verb) {
    const answer = await perform("undo", values);
    const text = `${verb}: ${answer.n === 1 ? answer.items[0].id : `${answer.n} images`}`;
    announce(text);
    return [answer, text];
  }
  async function undo(batch) {
    const [answer, text] = await take(batch === undefined ? {} : { batch }, "Undone");
    toast(text, { action: () => take({ batch: answer.batch }, "Done again"), label: "Redo" });
    return answer;
  }
  const redo = async () => (await take({ redo: true }, "Done again"))[0];
  const keys = { undo: () => undo(), redo, redoAlso: redo };
  /** Tell what other windows and people change, from the event number `version` on; returns what ends it. */
  function follow(version) {
    let trouble = "";
    const look = async () => {
      if (document.hidden) return;
      try {
        const answer = await ask("changes", { after: version });
        const moved = answer.version !== version;
        version = answer.version;
        if (trouble) emit("connection", { answers: true });
        trouble = "";
        const items = answer.items.filter(({ i }) => !shown.has(i));
        if (moved) emit("changed", { items, version, more: answer.n > answer.items.length });
      } catch (error) {
        if (trouble !== error.message) emit("connection", { answers: false, message: (trouble = error.message) });
      }
    };
    let timer, ended = false;
    const again = () => look().finally(() => { if (!ended) timer = setTimeout(again, POLL_MS); });
    timer = setTimeout(again, POLL_MS);
    return () => { ended = true; clearTimeout(timer); };
  }

  return { write, perform, undo, redo, keys, follow };
}
