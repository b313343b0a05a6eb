// Shows the service's own OpenAPI document: every route with its curl line, every schema, and a way to try GET.
import { authorization, description, element, origin, prose } from "./dom.js";

const routes = document.getElementById("routes");
const key = document.getElementById("key");
let example; // a model's name and version, for the fields of paths

try {
  show(await description());
} catch (error) {
  routes.replaceChildren(element("p", { class: "note", role: "alert" },
    "The service does not answer. Reload this page when it runs again."));
}

function show(document_) {
  const { info, tags, paths, components } = document_;
  const about = document_["x-tellapart"];
  example = { model: about.models[0]?.name, version: about.models[0]?.version, path: "service.css" };
  document.getElementById("facts").textContent = `${origin} · tellapart ${info.version} · OpenAPI ${document_.openapi} ·`;
  document.getElementById("about").append(...prose(info.description));
  document.getElementById("key-field").hidden = !about.key_required;
  document.getElementById("key-field").addEventListener("submit", (event) => event.preventDefault());

  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })));
  const groups = tags.map((tag) => ({ ...tag, operations: operations.filter((one) => one.tags.includes(tag.name)) }));
  routes.replaceChildren(
    ...groups.map(group),
    element("section", { id: "schemas" }, element("h2", {}, "Schemas"),
      element("p", { class: "quiet" }, "Members in bold are always there."),
      Object.entries(components.schemas).map(([name, schema]) => shape(name, schema))),
  );
  document.getElementById("contents").append(...groups.map(contents), schemaLinks(Object.keys(components.schemas)));
  addEventListener("hashchange", unfold);
  unfold();
}

/** Open what the address points at. */
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

function anchor({ method, path }) {
  return method + path.replace(/[^a-z0-9]+/gi, "-").replace(/-$/, "");
}

function contents({ name, operations }) {
  return element("div", {}, element("h2", {}, name), element("ul", {}, operations.map((one) =>
    element("li", {}, element("a", { href: `#${anchor(one)}` }, badge(one.method), element("code", {}, ...breakable(one.path)))))));
}

function schemaLinks(names) {
  return element("div", {}, element("h2", {}, "schemas"), element("ul", {}, names.map((name) =>
    element("li", {}, element("a", { href: `#schema-${name}` }, name)))));
}

function badge(method) {
  return element("span", { class: `method ${method}` }, method.toUpperCase());
}

/** A path that may be broken after its slashes. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);
}

function group({ name, description: says, operations }) {
  return element("section", {}, element("h2", {}, name[0].toUpperCase() + name.slice(1)),
    element("p", { class: "quiet" }, ...prose(says)), operations.map(route));
}

function route(operation) {
  const { method, path, summary, description: says, security } = operation;
  return element("details", { class: "route", id: anchor(operation), open: path === "/v1/predict" },
    element("summary", {}, badge(method), element("code", {}, ...breakable(path)), element("span", { class: "says" }, summary),
      security ? element("span", { class: "locked" }, "key") : null),
    element("div", { class: "inside" },
      says ? element("p", {}, ...prose(says)) : null,
      command(operation),
      operation.parameters?.length ? parameters(operation.parameters) : null,
      operation.requestBody ? body(operation.requestBody) : null,
      answers(operation.responses),
      method === "get" ? trial(operation) : null));
}

function command(operation) {
  const line = operation["x-codeSamples"][0].source
    .replaceAll("$URL", origin).replaceAll("$MODEL", example.model).replaceAll("$VERSION", example.version);
  const copy = element("button", { type: "button", click: async () => {
    await navigator.clipboard.writeText(line);
    copy.textContent = "Copied";
  } }, "Copy");
  return element("div", { class: "command" },
    element("pre", { tabindex: 0, role: "region", "aria-label": "Command" }, line), navigator.clipboard ? copy : null);
}

function table(caption, heads, rows, kind = "") {
  return element("div", { class: `scroll ${kind}`, tabindex: 0, role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption),
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows)));
}

function row(name, ...cells) {
  return element("tr", {}, element("th", { scope: "row" }, name), cells.map((cell) => element("td", {}, ...[cell].flat())));
}

function parameters(given) {
  return table("Parameters", ["name", "type", "meaning"], given.map((one) =>
    row([element("code", {}, one.name), element("small", {}, `in the ${one.in}`)], type(one.schema), prose(one.description))), "members");
}

function body({ content }) {
  return element("div", {}, element("h3", {}, "Body"), Object.entries(content).map(([media, { schema, example: given }]) =>
    element("div", { class: "media" },
      element("p", {}, element("code", {}, media), ": ", ...type(schema)),
      schema.properties ? members(media, schema) : null,
      given ? json(given) : null)));
}

function answers(responses) {
  const [good, ...errors] = Object.entries(responses);
  const given = Object.values(good[1].content ?? {}).find((media) => media.example)?.example;
  return element("div", {},
    table("Answers", ["status", "meaning", "body"], [good, ...errors].map(([status, { description: says, content = {} }]) =>
      row(status, prose(says), Object.entries(content).flatMap(([media, { schema }], i) =>
        [i ? element("br") : "", ...type(schema), element("small", {}, media)])))),
    given ? json(given) : null);
}

function json(value) {
  return element("pre", { tabindex: 0, role: "region", "aria-label": "Example" }, JSON.stringify(value, null, 2));
}

/** One schema of the document. */
function shape(name, schema) {
  const given = schema.examples?.[0];
  return element("section", { class: "schema", id: `schema-${name}` }, element("h3", {}, name),
    element("p", { class: "quiet" }, ...prose(schema.description)),
    schema.properties ? members(name, schema) : element("p", {}, ...type(schema)),
    given ? json(given) : null);
}

function members(name, schema) {
  return table(`Members of ${name}`, ["member", "type", "meaning"], memberRows(schema, ""), "members");
}

/** A row per member, and below it those of objects inside it, as `outer[].inner`. */
function memberRows(schema, prefix) {
  return Object.entries(schema.properties).flatMap(([name, inner]) => {
    const label = element("code", {}, prefix + name);
    const nested = inner.properties ? memberRows(inner, `${prefix}${name}.`)
      : inner.items?.properties ? memberRows(inner.items, `${prefix}${name}[].`) : [];
    const shown = schema.required?.includes(name) ? element("b", {}, label) : label;
    return [row(shown, type(inner), prose(inner.description)), ...nested];
  });
}

/** What a value may be, in words, as nodes. */
function type(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return [element("a", { href: `#schema-${name}` }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, i) => (i ? [" or ", ...type(one)] : type(one)));
  if (schema.enum) return schema.enum.flatMap((one, i) => [i ? " or " : "", element("code", {}, one)]);
  if (schema.type === "array") return ["list of ", ...type(schema.items)];
  if (schema.additionalProperties?.type) return ["class → ", ...type(schema.additionalProperties)];
  if (schema.contentMediaType) return ["file"];
  const bounds = [schema.minimum != null && `from ${schema.minimum}`, schema.maximum != null && `to ${schema.maximum}`];
  return [[[schema.type ?? "anything"].flat().join(" or "), ...bounds].filter(Boolean).join(" ")];
}

/** A form that sends the GET request and shows what comes back. */
function trial({ path, parameters: given = [], summary }) {
  const fields = given.filter((one) => one.in === "path").map(({ name }) => {
    const id = `${path}-${name}`;
    return [element("label", { for: id }, name), element("input", { id, name, value: example[name] ?? "", required: true, autocomplete: "off" })];
  });
  const result = element("div", { class: "result", role: "status" });
  return element("form", { class: "trial", autocomplete: "off", submit: (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    send(path.replace(/{(\w+)}/g, (_, name) => encodeURIComponent(values[name])), result);
  } }, fields.flat(), element("button", { type: "submit", "aria-label": `Send: ${summary}` }, "Send"), result);
}

async function send(path, result) {
  const began = performance.now();
  try {
    const response = await fetch(`.${path}`, { headers: authorization(key.value.trim()) });
    const said = await response.text();
    const took = Math.round(performance.now() - began);
    result.replaceChildren(
      element("p", { class: "quiet" }, `${response.status} ${response.statusText} · ${took} ms · ${response.headers.get("content-type") ?? "no body"}`),
      element("pre", { tabindex: 0, role: "region", "aria-label": "Answer" }, pretty(said)));
  } catch (error) {
    result.replaceChildren(element("p", { class: "note" }, "The service does not answer."));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
