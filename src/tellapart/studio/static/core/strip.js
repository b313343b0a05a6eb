// Images as cards in a strip, and one of them whole.
import { dialog, h } from "./dom.js";

/** A card that opens its image.
 * @param {object} context of the view
 * @param {object} item with `i`, null where the image is not in this folder
 * @param {{right: boolean, says: string, open: function}} how whether the answer is right, the card in words, a click
 * @param {...*} below the picture, after ✓ or ✗ and the label */
export function card(context, item, { right, says, open }, ...below) {
  const missing = item.i === null, lazy = { alt: "", loading: "lazy", width: 160, height: 160 };
  const face = missing ? h("span.quiet", "not in this folder") : context.picture(item, lazy);
  const attributes = { type: "button", class: "picture", "aria-label": `${item.id}: ${says}; look closely` };
  const mark = h("b", { class: right ? "" : "miss" }, right ? "✓ " : "✗ ", item.label ?? "unknown");
  const button = h("button", { ...attributes, disabled: missing, click: open }, face);
  return h("li", button, h("p", mark, below[0]), below.slice(1));
}

/** One image whole, with what is known of it beside it; from here it is opened in the grid.
 * @param {object} context of the view @param {object} item @param {object} address of the grid, besides the image
 * @returns {Promise<void>} once it is closed */
export async function look(context, item, address, ...beside) {
  const picture = context.wholePicture(item, { alt: item.id });
  const content = h("div.look.split", picture, h("div", h("p.path", item.id), beside));
  const answers = [{ value: true, text: "Look closer and relabel" }, { value: false, text: "Close", primary: true }];
  const closer = await dialog(item.id.split("/").pop(), content, answers);
  if (closer) context.go("grid", { ...address, at: item.i, zoom: "yes" });
}
