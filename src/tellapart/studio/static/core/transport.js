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
 * @returns {{ask: function(string, object=): Promise<object>, show: function(HTMLImageElement, object|number, number=): void,
 *            showFull: function(HTMLImageElement, object|number): void}} `show` and `showFull` take an item or its number
 */
export function httpTransport(edition = document.documentElement.dataset.edition) {
  const numberOf = (item) => (typeof item === "number" ? item : item.i);
  return {
    async ask(operation, values = {}) {
      const headers = { "Content-Type": "application/json", "X-Tellapart": "studio" };
      const response = await fetch(`/api/${operation}`, { method: "POST", headers, body: JSON.stringify(values) }).catch(() => null);
      if (!response) throw new AskError(UNREACHABLE, 0);
      const answer = await response.json().catch(() => ({ error: UNREACHABLE }));
      if (!response.ok) throw new AskError(answer.error, response.status, answer.clashes);
      return answer;
    },
    show(img, item, size = 160) {
      img.src = `/thumb/${numberOf(item)}?s=${size}&v=${edition}`;
    },
    showFull(img, item) {
      img.src = `/image/${numberOf(item)}?v=${edition}`;
    },
  };
}
