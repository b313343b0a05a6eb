// What an augmentation policy does to these images before a network sees them; two policies side by side.
import { fill, give, h, icon } from "../core/dom.js";
import { badge, button, choice, empty, form, note, submit } from "../core/parts.js";
import { patiently } from "../core/transport.js";

const SHOWN = 6, VARIANTS = 8;

/** One image under one policy: the original, if it is to be shown, and its variants. */
function strip(image, policy, withOriginal) {
  if (image.error) return note(image.error);
  const picture = (src, alt, kind) => h("img", { src, alt, class: kind, draggable: "false" });
  return h("div.variants", withOriginal && picture(image.original, `${image.id}, original`, "original"),
    image.variants.map((src, k) => picture(src, `${image.id}, ${policy}, variant ${k + 1}`)));
}

export async function mount(root, context) {
  const { ask, state, announce, toast, overview: { training: { policies } } } = context;
  const field = (label, control) => h("label.bar", h("span.quiet", label), control);
  const next = (name) => String(Number(state.get(name, "0")) + 1);
  const policy = choice(Object.keys(policies), "", (name) => state.set({ policy: name }));
  const other = choice([["", "nothing"], ...Object.keys(policies)], "", (name) => state.set({ other: name }));
  const search = h("input.field", { type: "search", placeholder: "part of a name" });
  const [says, place] = [h("p.quiet", { role: "status" }), h("div.augmented")];
  let asked = 0, ended = false;
  async function find() {
    const text = search.value.trim();
    if (!text) return state.set({ items: null });
    const { items } = await ask("items", { search: text, start: 0, count: SHOWN });
    return items.length ? state.set({ items: items.map(({ i }) => i) }) : toast(`No image's name contains “${text}”.`);
  }
  function wait() {
    says.textContent = "Preparing: the training library is being loaded, which takes a few seconds the first time …";
    return !ended;
  }
  async function draw() {
    const mine = ++asked, items = state.names("items").map(Number), answers = [];
    [policy.value, other.value] = [state.get("policy", "standard"), state.get("other")];
    const drawn = { seed: Number(state.get("seed", "0")), draw: Number(state.get("draw", "0")) };
    const values = { ...drawn, variants: VARIANTS, ...(items.length && { items }) };
    place.setAttribute("aria-busy", "true");
    try {
      for (const name of [policy.value, other.value].filter(Boolean)) {
        answers.push(await patiently(ask, "augmentations", { ...values, policy: name }, "ready", wait));
      }
    } catch ({ message }) {
      says.textContent = "";
      return fill(place, h("div", { role: "alert" }, empty("Nothing to show", message)));
    }
    if (ended || mine !== asked) return null;
    const [first] = answers, many = answers.length > 1;
    const meant = answers.map((answer) => `${answer.policy}: ${policies[answer.policy]}`).join("; ");
    fill(says, `At ${first.size} × ${first.size} pixels, as the network sees them. ${meant}. Outlined: the original.`);
    place.removeAttribute("aria-busy");
    const under = (k) => ({ images, policy: name }, n) => [many && h("h3", name), strip(images[k], name, !n || many)];
    fill(place, first.images.map((image, k) => h("section", { "aria-label": image.id },
      h("h2", image.id, " ", badge(image.label)), answers.map(under(k)))));
    return announce(`${first.images.length} images, ${answers.map((answer) => answer.policy).join(" and ")}`);
  }
  const others = () => { search.value = ""; state.set({ items: null, draw: next("draw") }); };
  fill(root, h("h1", "Augmentation"), h("div.bar", field("Policy", policy), field("beside", other),
    give(form("bar", find, field("Images", search), submit([icon("search"), "Show"])), { role: "search" }),
    button([icon("right"), "Other images"], others),
    button([icon("redo"), "Other variants"], () => state.set({ seed: next("seed") }))), says, place);
  context.on("state", draw);
  draw();
  return () => { ended = true; };
}
