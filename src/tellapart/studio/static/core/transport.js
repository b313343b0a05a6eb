// How views reach the studio over HTTP. Notebooks have another transport with the same three functions.

/** What a failed question throws: `status` is HTTP's (0 where nothing answered), `clashes` those of a conflict. */
export class AskError extends Error {
  constructor(message, status, clashes = []) {
    super(message);
    Object.assign(this, { name: "AskError", status, clashes });
  }
}

const UNREACHABLE = "the studio does not answer; is it still running in its terminal?";

/**
 * @param {string} edition changes when pictures may have: browsers keep what they got under the same one
 * @returns {object} {ask(operation, values), show(img, item, size), showFull(img, item)}: `ask` resolves to the answer;
 *   the others let an image element show an item, or one by its number
 */
export function httpTransport(edition = document.documentElement.dataset.edition) {
  const numberOf = (item) => (typeof item === "number" ? item : item.i);
  return {
    async ask(operation, values = {}) {
      const headers = { "Content-Type": "application/json", "X-Tellapart": "studio" };
      const order = { method: "POST", headers, body: JSON.stringify(values) };
      const response = await fetch(`/api/${operation}`, order).catch(() => null);
      if (!response) throw new AskError(UNREACHABLE, 0);
      const answer = await response.json().catch(() => ({ error: UNREACHABLE }));
      if (!response.ok) throw new AskError(answer.error, response.status, answer.clashes);
      return answer;
    }, show(img, item, size = 160) { img.src = `/thumb/${numberOf(item)}?s=${size}&v=${edition}`; },
    showFull(img, item) { img.src = `/image/${numberOf(item)}?v=${edition}`; },
  };
}

/**
 * Ask for the first `n` rows of a list of which one answer holds at most `most`.
 * @param {function} ask @param {string} operation that takes `start` and `count`, and answers with `total`
 * @param {string} rows what the rows are called in its answer
 * @returns {Promise<object>} the last answer, with the rows of all
 */
export async function gather(ask, operation, values, rows, n, most) {
  const found = [];
  for (;;) {
    const answer = await ask(operation, { ...values, start: found.length, count: Math.min(most, n - found.length) });
    found.push(...answer[rows]);
    if (!answer[rows].length || found.length >= Math.min(n, answer.total)) return { ...answer, [rows]: found };
  }
}
