// What an augmentation policy does to these images before a network sees them; two policies side by side.
import { clear, h, icon } from "../core/dom.js";

export const title = "Augmentation";

const POLICIES = {
  none: "the picture as it is", light: "mirrored, in half of the cases", standard: "cropped to 70–100 %, mirrored, brightness and contrast ± 20 %",
  strong: "cropped to 50–100 %, turned and mirrored, brightness, contrast and saturation ± 30 %, sometimes a part erased",
};
const SHOWN = 6;
const AGAIN_MS = 400;

/** One image under one policy: the original, if it is to be shown, and its variants. */
function strip(image, policy, withOriginal) {
  const picture = (src, alt, kind) => h("img", { src, alt, class: kind, draggable: "false" });
  if (image.error) return h("p", { class: "note" }, icon("warning"), ` ${image.error}`);
  return h("div", { class: "variants" }, withOriginal && picture(image.original, `${image.id}, original`, "original"),
    image.variants.map((src, k) => picture(src, `${image.id}, ${policy}, variant ${k + 1}`)));
}

export async function mount(root, context) {
  const { ask, state, announce, toast } = context;
  const parameter = (name, otherwise) => state.get().get(name) ?? otherwise;
  const field = (label, control) => h("label", { class: "bar" }, h("span", { class: "quiet" }, label), control);
  const picker = (name, names) => h("select", { class: "field", change: ({ target }) => state.set({ [name]: target.value }) }, names.map(([value, text]) => h("option", { value }, text)));
  const button = (text, sign, click) => h("button", { type: "button", class: "button", click }, icon(sign), text);
  const next = (name) => String(Number(parameter(name, "0")) + 1);
  const named = Object.keys(POLICIES).map((name) => [name, name]);
  const [policy, other] = [picker("policy", named), picker("other", [["", "nothing"], ...named])];
  const search = h("input", { class: "field", type: "search", placeholder: "part of a name" });
  const find = h("form", { class: "bar", role: "search", submit: async (event) => {
    event.preventDefault();
    if (!search.value.trim()) return state.set({ items: null });
    const { items } = await ask("items", { search: search.value.trim(), start: 0, count: SHOWN });
    if (items.length) state.set({ items: items.map(({ i }) => i) }); else toast(`No image's name contains “${search.value}”.`);
  } }, field("Images", search), h("button", { class: "button" }, icon("search"), "Show"));
  const [says, place] = [h("p", { class: "quiet", role: "status" }), h("div", { class: "augmented" })];
  let asked = 0, ended = false;

  async function told(values) {
    for (;;) {
      const answer = await ask("augmentations", values);
      if (ended || answer.state === "ready") return answer;
      says.textContent = "Preparing: the training library is being loaded, which takes a few seconds the first time …";
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async function draw() {
    const mine = (asked += 1), items = parameter("items", "").split(",").filter(Boolean).map(Number);
    [policy.value, other.value] = [parameter("policy", "standard"), parameter("other", "")];
    const values = { seed: Number(parameter("seed", "0")), draw: Number(parameter("draw", "0")), variants: 8, ...(items.length && { items }) };
    place.setAttribute("aria-busy", "true");
    let answers;
    try {
      answers = [];
      for (const name of [policy.value, other.value].filter(Boolean)) answers.push(await told({ ...values, policy: name }));
    } catch ({ message }) {
      says.textContent = "";
      return clear(place).append(h("div", { class: "empty", role: "alert" }, h("h2", {}, "Nothing to show"), h("p", {}, message)));
    }
    if (ended || mine !== asked) return null;
    const [first] = answers;
    says.textContent = `At ${first.size} × ${first.size} pixels, as the network sees them. ${answers.map((answer) => `${answer.policy}: ${POLICIES[answer.policy]}`).join("; ")}. Outlined: the original.`;
    place.removeAttribute("aria-busy");
    clear(place).append(...first.images.map((image, k) => h("section", { "aria-label": image.id },
      h("h2", {}, image.id, " ", h("span", { class: "badge" }, image.label)),
      answers.map((answer, n) => [answers.length > 1 && h("h3", {}, answer.policy), strip(answer.images[k], answer.policy, n === 0 || answers.length > 1)]))));
    return announce(`${first.images.length} images, ${answers.map((answer) => answer.policy).join(" and ")}`);
  }

  clear(root).append(h("h1", {}, "Augmentation"), h("div", { class: "bar" }, field("Policy", policy), field("beside", other), find,
    button("Other images", "right", () => { search.value = ""; state.set({ items: null, draw: next("draw") }); }), button("Other variants", "redo", () => state.set({ seed: next("seed") }))), says, place);
  context.on("state", draw);
  draw();
  return () => { ended = true; };
}
