// How views reach the studio over HTTP. Notebooks have another transport with the same three functions.
import { toast } from "./dom.js";

/** What a failed question throws: `status` is HTTP's (0 where nothing answered), `clashes` those of a conflict. */
export class AskError extends Error {
  constructor(message, status, clashes = []) {
    super(message);
    Object.assign(this, { name: "AskError", status, clashes });
  }
}

/** Note what the studio refused and nobody caught; returns what ends it. */
export function tellRefusals() {
  const told = (event) => {
    if (!(event.reason instanceof AskError)) return;
    event.preventDefault();
    toast(event.reason.message, { kind: "error" });
  };
  window.addEventListener("unhandledrejection", told);
  return () => window.removeEventListener("unhandledrejection", told);
}

const AGAIN_MS = 400;
const UNREACHABLE = "the studio does not answer; is it still running in its terminal?";

/** @param {string} edition changes when pictures may have: browsers keep what they got under the same one
 * @returns {object} {ask(operation, values), show(img, item, size), showFull(img, item)}: `ask` resolves to the answer;
 *   the others let an image element show an item, or one by its number */
export function httpTransport(edition = document.documentElement.dataset.edition) {
  const numberOf = (item) => (typeof item === "number" ? item : item.i);
  return {
    async ask(operation, values = {}) {
      const headers = { "Content-Type": "application/json", "X-Tellapart": "studio" }, body = JSON.stringify(values);
      const response = await fetch(`/api/${operation}`, { method: "POST", headers, body }).catch(() => null);
      if (!response) throw new AskError(UNREACHABLE, 0);
      const answer = await response.json().catch(() => null); // it may end while it answers
      if (!answer) throw new AskError(UNREACHABLE, 0);
      if (!response.ok) throw new AskError(answer.error, response.status, answer.clashes);
      return answer;
    },
    show(img, item, size = 160) { img.src = `/thumb/${numberOf(item)}?s=${size}&v=${edition}`; },
    showFull(img, item) { img.src = `/image/${numberOf(item)}?v=${edition}`; },
  };
}

/** A list of which people ask for more, and which is asked for anew when the address changes.
 * @param {object} context of the view @param {string} operation that takes `start`, `count`, and answers with `total`
 * @param {string} rows what the rows are called in its answer @param {function(): object} values to ask with besides
 * @param {number[]} sizes how many rows are shown at first, and how many one answer holds at most
 * @param {function(object)} draw gets the last answer, with the rows of all
 * @returns {{load: function, more: function, close: function}} */
export function paged({ ask, on }, operation, rows, values, [first, most], draw) {
  let wanted = first, shown = 0, asked = 0;
  async function load() {
    const mine = ++asked, n = wanted, asking = values(), found = [];
    let answer;
    do {
      answer = await ask(operation, { ...asking, start: found.length, count: Math.min(most, n - found.length) });
      found.push(...answer[rows]);
    } while (answer[rows].length && found.length < Math.min(n, answer.total));
    if (mine !== asked) return;
    shown = found.length;
    draw({ ...answer, [rows]: found });
  }
  on("state", () => { wanted = first; load(); });
  return { load, more: () => { wanted = 2 * shown; return load(); }, close: () => { asked++; } };
}

/** Ask until the state of the answer is `ready`, or `waiting`, called each time it is not, returns false. */
export async function patiently(ask, operation, values, ready, waiting) {
  for (;;) {
    const answer = await ask(operation, values);
    if (answer.state === ready || waiting() === false) return answer;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}
