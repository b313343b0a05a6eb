// Sends one image to /v1/predict and shows what the model says about it.
import { authorization, description, element, origin } from "./dom.js";

const MOST_BARS = 8;
const [title, facts, choices, model, key, drop, file, picture, unseen, answer, status] =
  ["title", "facts", "choices", "model", "key", "drop", "file", "picture", "unseen", "answer", "status"]
    .map((id) => document.getElementById(id));

let about; // the models and limits of this service
let image; // what is shown and asked about
let asking = new AbortController();
let threshold = 0;

listen(); // at once: a browser would leave the page for a file that is dropped before
const ready = introduceService();

async function introduceService() {
  try {
    about = (await description())["x-tellapart"];
  } catch (error) {
    return refuse("The service does not answer.", "Reload this page when it runs again.");
  }
  for (const { name } of about.models) model.append(element("option", { value: name }, name));
  document.getElementById("model-field").hidden = about.models.length < 2;
  document.getElementById("key-field").hidden = !about.key_required;
  choices.hidden = about.models.length < 2 && !about.key_required;
  document.getElementById("limits").textContent =
    `JPEG, PNG, WebP, TIFF, BMP or GIF, up to ${about.max_body_bytes / 1e6} MB`;
  introduce();
}

function listen() {
  choices.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  key.addEventListener("change", ask);
  model.addEventListener("change", () => { introduce(); ask(); });
  file.addEventListener("change", () => show(file.files[0]));
  addEventListener("paste", (event) => show(event.clipboardData.files[0]));
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    show(event.dataTransfer.files[0]);
  });
}

function chosen() {
  return about.models.find(({ name }) => name === model.value) ?? about.models[0];
}

/** Say what the chosen model tells apart. */
function introduce() {
  const { name, version, backbone, precision, size_px, class_names: names } = chosen();
  title.textContent = names.length <= 4
    ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}?` : `Which of ${names.length} classes?`;
  facts.textContent = [name, `version ${version}`, backbone, `${size_px} px`, precision].filter(Boolean).join(" · ");
}

function show(given) {
  if (!given) return;
  image = given;
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(image);
  picture.alt = image.name ?? "The image";
  picture.hidden = false;
  unseen.hidden = true;
  picture.onerror = () => {
    picture.hidden = true;
    unseen.hidden = false;
    unseen.textContent = `${image.name}: this browser cannot show it`;
  };
  document.getElementById("invitation").hidden = true;
  document.getElementById("again").hidden = false;
  file.value = ""; // so that the same file can be chosen again
  ask();
}

async function ask() {
  await ready;
  if (!image || !about) return;
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  if (image.size > about.max_body_bytes) {
    const [size, most] = [image.size, about.max_body_bytes].map((bytes) => (bytes / 1e6).toFixed(1));
    return refuse("This file is too large.", `It has ${size} MB; the service takes ${most} MB.`);
  }
  if (about.key_required && !key.value.trim()) {
    key.focus();
    return refuse("This service wants a key.", "Type it above; the image is asked about as soon as it is there.");
  }
  answer.setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ model: chosen().name, ...(threshold && { threshold }) });
  const began = performance.now();
  try {
    // Whatever the file is called, the service looks at what is in it.
    const type = image.type.startsWith("image/") ? image.type : "application/octet-stream";
    const headers = { "Content-Type": type, ...authorization(key.value.trim()) };
    const response = await fetch(`v1/predict?${query}`, { method: "POST", body: image, headers, signal });
    const said = await response.json();
    const milliseconds = performance.now() - began;
    if (response.ok) tell(said, milliseconds);
    else refuse(heading(response.status), said.detail, response.status === 401);
  } catch (error) {
    if (!signal.aborted) refuse("The service does not answer.", "It may have stopped. Try again in a moment.");
  } finally {
    if (!signal.aborted) answer.removeAttribute("aria-busy");
  }
}

function heading(code) {
  const known = {
    401: "The key is not accepted.", 413: "This image is too large.", 429: "Too many requests.",
    503: "The service is busy.",
  };
  return known[code] ?? (code < 500 ? "This is not an image that can be read." : "Something went wrong.");
}

function refuse(what, why = "", focusKey = false) {
  answer.replaceChildren(element("div", { class: "refusal" }, element("h2", {}, what), element("p", {}, why)));
  answer.removeAttribute("aria-busy");
  status.textContent = `${what} ${why}`;
  if (focusKey) key.focus();
}

function tell({ predictions: [said], version }, milliseconds) {
  const sure = percent(said.probability);
  const verdict = said.abstained
    ? [element("h2", { class: "unsure" }, "Not sure"),
      element("p", { class: "sure" }, said.probability < threshold
        ? `most likely ${said.label}, ${sure}: below the ${percent(threshold)} asked for`
        : `${said.label} with ${sure}: where this model leaves the decision to a person`)]
    : [element("h2", {}, said.label), element("p", { class: "sure" }, `${sure} probable${rule(said)}`)];
  const took = milliseconds < 995 ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  answer.replaceChildren(
    ...verdict,
    ...bars(said),
    slider(),
    element("p", { class: "quiet took" }, `Answered in ${took} by version ${version}.`),
    element("details", {}, element("summary", {}, "The same from a terminal"), element("pre", { tabindex: 0 }, terminal())),
  );
  status.textContent = said.abstained ? `Not sure: ${said.label}, ${sure}.` : `${said.label}, ${sure}.`;
}

/** Why the label is not the most probable class, where it is not. */
function rule({ label, probability, probabilities }) {
  const { threshold: own } = chosen();
  if (!own || probability >= Math.max(...Object.values(probabilities))) return "";
  return `; this model says ${own.positive} from ${percent(own.value)}`;
}

function bars({ label, probabilities }) {
  const rows = Object.entries(probabilities).sort(([, a], [, b]) => b - a).map(([name, p]) => {
    const row = element("li", { class: name === label && "decided" },
      element("span", { class: "name" }, name), element("span", { class: "p" }, percent(p)),
      element("span", { class: "track", "aria-hidden": "true" }, element("i")));
    row.style.setProperty("--p", p); // a property set by script, which the content policy allows
    return row;
  });
  const rest = rows.splice(MOST_BARS);
  return [
    element("ul", { class: "bars", "aria-label": "Probability of each class" }, rows),
    rest.length ? element("details", {}, element("summary", {}, `${rest.length} more classes`),
      element("ul", { class: "bars" }, rest)) : null,
  ].filter(Boolean);
}

function slider() {
  const say = (value) => (Number(value) ? percent(value) : "never");
  const shown = element("b", { "aria-hidden": "true" }, say(threshold));
  const range = element("input", {
    id: "threshold", type: "range", min: 0, max: 1, step: 0.01, value: threshold,
    "aria-valuetext": say(threshold),
    input: () => {
      shown.textContent = say(range.value);
      range.setAttribute("aria-valuetext", say(range.value));
      mark(range.value);
    },
    change: () => { threshold = Number(range.value); ask().then(() => document.getElementById("threshold")?.focus()); },
  });
  mark(threshold);
  return element("p", { class: "slider" },
    element("label", { for: "threshold" }, "Say “not sure” below: "), shown, range);
}

function mark(value) {
  answer.style.setProperty("--threshold", value);
}

function terminal() {
  const authorize = about.key_required ? " \\\n  -H 'Authorization: Bearer '$KEY" : "";
  const options = new URLSearchParams({ ...(about.models.length > 1 && { model: chosen().name }), ...(threshold && { threshold }) });
  const query = options.size ? `?${options}` : "";
  return `curl --data-binary @image.jpg -H 'Content-Type: image/jpeg'${authorize} \\\n  '${origin}/v1/predict${query}'`;
}

function percent(p) {
  const value = 100 * p;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value === 0 || value === 100 ? 0 : 1)} %`;
}
