// What both pages need to build themselves: elements, text with `code` in it, and the service's description.

/** Make an element. Attributes that are false or null are left out; functions become listeners. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ""));
  return made;
}

/** Text whose `quoted` parts are code. */
export function prose(text = "") {
  return text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part)).filter(Boolean);
}

/** The OpenAPI document of this service. */
export async function description() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: HTTP ${response.status}`);
  return response.json();
}

/** The header that carries a key, or none. Keys stay in the page's memory: nothing stores them. */
export function authorization(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The address that this service was reached by, without the page. */
export const origin = new URL(".", location.href).href.replace(/\/$/, "");
