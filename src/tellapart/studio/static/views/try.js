// Try images that belong to no data: dropped, pasted, chosen or photographed. Nothing is kept unless one says so.
import { confirmDialog, fill, h, icon, number } from "../core/dom.js";
import { badge, button, choice, empty, problem, quiet, scoreBars } from "../core/parts.js";
import { percent } from "/shared/curves.js";

const MOST_BYTES = 18_000_000, MOST_CLASSES = 8, MOST_BUTTONS = 4;
const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
  reader.addEventListener("error", () => reject(new Error("the file cannot be read")));
  reader.readAsDataURL(file);
});

/** A dialog with what the camera sees; resolves to a JPEG file, or null. */
async function photograph() {
  const wanted = { facingMode: "environment", width: { ideal: 1920 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  const video = h("video", { autoplay: true, playsinline: true, class: "camera" });
  Object.assign(video, { muted: true, srcObject: stream });
  try {
    if (!(await confirmDialog(video, { title: "Photograph", yes: "Take the picture" }))) return null;
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    const name = `photograph ${new Date().toLocaleTimeString("en-GB")}.jpg`;
    return blob && new File([blob], name, { type: "image/jpeg" });
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

export async function mount(root, context) {
  const { ask, state, announce, overview, toast } = context;
  const tried = [], answers = h("div.answers");
  let about;
  try {
    about = await ask("try", { images: [], run: state.get("run", null) });
  } catch ({ message }) {
    const train = button("Train a model", () => context.go("training"), { class: "primary" });
    return void fill(root, empty("Nothing to try yet", message, train));
  }
  const run = () => state.get("run", about.model);
  /** The line by which people say that an answer is wrong. */
  function correction(file, { label: said }) {
    const where = h("p.note", { role: "status", hidden: true });
    const keep = async (label) => {
      const example = { base64: await base64(file), name: file.name, label, run: run() };
      const { path, n, how, moved_from: before } = await ask("keep_example", example);
      fill(where, icon("accept"), ` Kept as ${label}${before ? `, no longer as ${before}` : ""}: `,
        h("span.path", path), `. ${number(n)} kept so far. To train with them, ${how}.`);
      where.hidden = false;
      announce(`kept as ${label}`);
    };
    const others = about.class_names.filter((name) => name !== said);
    const picker = choice(others, others[0], () => {}, { "aria-label": "What it is" });
    const choices = others.length <= MOST_BUTTONS ? others.map((name) => button(name, () => keep(name)))
      : [picker, button("Keep", () => keep(picker.value))];
    return h("div.correct", h("div.bar", h("span.quiet", "This is wrong, it is"), choices), where);
  }
  async function answer({ file, node }) {
    node.setAttribute("aria-busy", "true");
    const name = h("h2", file.name);
    try {
      const size = number(file.size / 1e6, 1);
      if (file.size > MOST_BYTES) throw new Error(`it has ${size} MB; at most ${MOST_BYTES / 1e6} MB can be tried`);
      about = await ask("try", { images: [{ name: file.name, base64: await base64(file) }], run: run() });
      const { threshold, predictions: [given] } = about;
      if (given.error) throw new Error(given.error);
      const { label, probability, probabilities, thumbnail, abstained } = given;
      const marks = threshold ? { [threshold.positive]: threshold.value } : {};
      fill(node, h("img", { src: thumbnail, alt: file.name }), h("div", name,
        h("p.said", h("b", label), ` ${percent(probability)} `, abstained && badge("for a person", "warn")),
        scoreBars(probabilities, label, { most: MOST_CLASSES, marks }),
        threshold && quiet(`The line: called ${threshold.positive} from ${percent(threshold.value)}.`),
        !overview.read_only && correction(file, given)));
      announce(`${file.name}: ${label}, ${percent(probability)}`);
    } catch ({ message }) {
      const sign = h("div.none", { "aria-hidden": "true" }, icon("warning"));
      fill(node, sign, h("div", name, problem(`No answer: ${message}`)));
    }
    node.removeAttribute("aria-busy");
  }
  async function take(files) {
    for (const file of files) {
      const node = h("section.panel.tried", { "aria-label": file.name }, quiet(`${file.name} …`));
      tried.unshift({ file, node });
      answers.prepend(node);
      await answer(tried[0]); // one after another: a request holds one large image
    }
  }
  const chosen = ({ target }) => { const files = [...target.files]; target.value = ""; take(files); };
  const input = h("input", { type: "file", multiple: true, accept: "image/*,.tif,.tiff", class: "unseen", id: "tried",
    tabindex: "-1", "aria-label": "Images to try", change: chosen });
  const none = ({ message }) => toast(`No picture: ${message}`, { kind: "error" });
  const shoot = () => photograph().then((file) => file && take([file]), none);
  const camera = navigator.mediaDevices?.getUserMedia && button([icon("camera"), "Photograph"], shoot);
  const forget = () => { tried.length = 0; fill(answers); announce("all gone"); };
  const zone = h("div.drop", icon("upload"), h("p", "Drop images here, or paste them."),
    h("div.bar", button("Choose files", () => input.click(), { class: "primary" }), camera,
      button([icon("close"), "Clear"], forget)), input,
    quiet("They are answered as the service would answer, on this machine, and not kept unless you say that an answer ",
      "is wrong."));
  const model = choice(about.models, about.model, (name) => { state.set({ run: name }); tried.forEach(answer); });
  const over = (event) => { event.preventDefault(); zone.classList.toggle("over", event.type === "dragover"); };
  const drop = (event) => { over(event); take(event.dataTransfer.files); };
  const paste = ({ clipboardData }) => { if (clipboardData?.files.length) take(clipboardData.files); };
  const listeners = Object.entries({ dragover: over, dragleave: over, drop, paste });
  for (const [event, listener] of listeners) document.addEventListener(event, listener);
  fill(root, h("h1", "Try"), h("div.bar", h("label.bar", h("span.quiet", "Model"), model)), zone, answers);
  return () => { for (const [event, listener] of listeners) document.removeEventListener(event, listener); };
}
