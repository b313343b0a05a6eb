// Try images that belong to no data: dropped, pasted, chosen or photographed. Nothing is kept unless one says so.
import { clear, dialog, h, icon, number, percent } from "../core/dom.js";

export const title = "Try";

const MOST_BYTES = 18_000_000;
const MOST_CLASSES = 8;
const KINDS = "image/*,.tif,.tiff";

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
  reader.addEventListener("error", () => reject(new Error("the file cannot be read")));
  reader.readAsDataURL(file);
});

/** Bars of the classes, most probable first; the threshold is a line on the bar of the class that it decides. */
function bars({ label, probabilities }, threshold) {
  const sorted = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const rest = sorted.slice(MOST_CLASSES);
  const bar = ([name, p]) => {
    const limit = threshold?.positive === name && threshold.value;
    return [h("span", { class: "name" }, name === label ? h("b", {}, name) : name),
      h("span", { class: `track ${name === label ? "" : "other"}` }, h("i", { style: { width: `${100 * p}%` } }), limit !== false && h("u", { class: "limit", style: { left: `${100 * limit}%` } })), h("span", {}, percent(p))];
  };
  return h("div", {}, h("div", { class: "scores" }, sorted.slice(0, MOST_CLASSES).map(bar)),
    rest.length > 0 && h("p", { class: "quiet" }, `and ${rest.length} more classes, together ${percent(rest.reduce((sum, [, p]) => sum + p, 0))}`),
    threshold && h("p", { class: "quiet" }, `The line: called ${threshold.positive} from ${percent(threshold.value)}.`));
}

/** A dialog with what the camera sees; resolves to a JPEG file, or null. */
async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  const video = h("video", { autoplay: true, playsinline: true, class: "camera" });
  video.muted = true;
  video.srcObject = stream;
  try {
    if (!(await dialog("Photograph", video, [{ value: false, text: "Cancel" }, { value: true, text: "Take the picture", primary: true }]))) return null;
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    return blob && new File([blob], `photograph ${new Date().toLocaleTimeString("en-GB")}.jpg`, { type: "image/jpeg" });
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

export async function mount(root, context) {
  const { ask, state, announce, overview } = context;
  let about;
  try {
    about = await ask("try", { images: [], run: state.get().get("run") });
  } catch ({ message }) {
    return clear(root).append(h("div", { class: "empty" }, h("h2", {}, "Nothing to try yet"), h("p", {}, message), h("button", { type: "button", class: "button primary", click: () => context.go("training") }, "Train a model")));
  }
  const tried = [];
  const run = () => state.get().get("run") ?? about.model;

  /** The line by which people say that an answer is wrong. */
  function correction(entry, answer) {
    const keep = async (label) => {
      const kept = await ask("keep_example", { base64: await base64(entry.file), name: entry.file.name, label, run: run() });
      where.replaceChildren(icon("accept"), ` Kept as ${label}${kept.moved_from ? `, no longer as ${kept.moved_from}` : ""}: `, h("span", { class: "path" }, kept.path), `. ${number(kept.n)} kept so far. To train with them, ${kept.how}.`);
      where.hidden = false;
      announce(`kept as ${label}`);
    };
    const where = h("p", { class: "note", role: "status", hidden: true });
    const others = about.class_names.filter((name) => name !== answer.label);
    const picker = h("select", { class: "field", "aria-label": "What it is" }, others.map((name) => h("option", { value: name }, name)));
    const choices = others.length <= 4 ? others.map((name) => h("button", { type: "button", class: "button", click: () => keep(name) }, name))
      : [picker, h("button", { type: "button", class: "button", click: () => keep(picker.value) }, "Keep")];
    return [h("div", { class: "bar" }, h("span", { class: "quiet" }, "This is wrong, it is"), choices), where];
  }

  async function answer(entry) {
    entry.node.setAttribute("aria-busy", "true");
    try {
      if (entry.file.size > MOST_BYTES) throw new Error(`it has ${number(entry.file.size / 1e6, 1)} MB; at most ${MOST_BYTES / 1e6} MB can be tried`);
      const found = await ask("try", { images: [{ name: entry.file.name, base64: await base64(entry.file) }], run: run() });
      const [given] = found.predictions;
      if (given.error) throw new Error(given.error);
      about = found;
      clear(entry.node).append(h("img", { src: given.thumbnail, alt: entry.file.name }), h("div", {}, h("h2", {}, entry.file.name), h("p", { class: "said" }, h("b", {}, given.label), ` ${percent(given.probability)}`),
        bars(given, found.threshold), !overview.read_only && h("div", { class: "correct" }, correction(entry, given))));
      announce(`${entry.file.name}: ${given.label}, ${percent(given.probability)}`);
    } catch ({ message }) {
      clear(entry.node).append(h("div", { class: "none", "aria-hidden": "true" }, icon("warning")), h("div", {}, h("h2", {}, entry.file.name), h("p", { class: "note", role: "alert" }, icon("warning"), ` No answer: ${message}`)));
    }
    entry.node.removeAttribute("aria-busy");
  }

  async function take(files) {
    for (const file of files) {
      const entry = { file, node: h("section", { class: "panel tried", "aria-label": file.name }, h("p", { class: "quiet" }, `${file.name} …`)) };
      tried.unshift(entry);
      answers.prepend(entry.node);
      // One after another: a request holds one large image.
      await answer(entry);
    }
  }

  const input = h("input", { type: "file", multiple: true, accept: KINDS, class: "unseen", id: "tried", "aria-label": "Images to try", change: ({ target }) => { const files = [...target.files]; target.value = ""; take(files); } });
  const camera = navigator.mediaDevices?.getUserMedia && h("button", { type: "button", class: "button", click: () => photograph().then((file) => file && take([file]), ({ message }) => context.toast(`No picture: ${message}`, { kind: "error" })) }, icon("camera"), "Photograph");
  const model = h("select", { class: "field", change: ({ target }) => { state.set({ run: target.value }); tried.forEach(answer); } }, about.models.map((name) => h("option", { value: name, selected: name === about.model }, name)));
  const forget = h("button", { type: "button", class: "button", click: () => { tried.length = 0; clear(answers); announce("all gone"); } }, icon("close"), "Clear");
  const zone = h("div", { class: "drop" }, icon("upload"), h("p", {}, "Drop images here, or paste them."),
    h("div", { class: "bar" }, h("button", { type: "button", class: "button primary", click: () => input.click() }, "Choose files"), camera, forget), input,
    h("p", { class: "quiet" }, "They are answered as the service would answer, on this machine, and not kept unless you say that an answer is wrong."));
  const answers = h("div", { class: "answers" });
  const over = (event) => { event.preventDefault(); zone.classList.toggle("over", event.type === "dragover"); };
  const listeners = { dragover: over, dragleave: over, drop: (event) => { over(event); take(event.dataTransfer.files); },
    paste: ({ clipboardData }) => { if (clipboardData?.files.length) take(clipboardData.files); } };
  for (const [event, listener] of Object.entries(listeners)) document.addEventListener(event, listener);
  clear(root).append(h("h1", {}, "Try"), h("div", { class: "bar" }, h("label", { class: "bar" }, h("span", { class: "quiet" }, "Model"), model)), zone, answers);
  return () => { for (const [event, listener] of Object.entries(listeners)) document.removeEventListener(event, listener); };
}
