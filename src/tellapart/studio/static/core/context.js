// What every view gets, on a page and in a notebook alike.
import { announce, h, toast } from "./dom.js";
import { labelling } from "./labels.js";

const escaped = (name) => String(name).replace(/[\\,]/g, "\\$&");

/** Parameters of an address, without null, false, "" and []. Commas join lists; those in names have a backslash. */
export function address(parameters) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    const text = Array.isArray(value) ? value.map(escaped).join(",") : value ?? "";
    if (text !== "" && text !== false) found.set(name, text);
  }
  return found;
}

/** The parameters of a view; `publish(parameters, push)` puts them where people can see and share them. */
function addressable(emit, publish) {
  let parameters = new URLSearchParams();
  const adopt = (next) => { parameters = new URLSearchParams(next); emit("state"); };
  return {
    adopt, all: () => Object.fromEntries(parameters),
    get: (name, otherwise = "") => parameters.get(name) ?? otherwise,
    /** The names in a list. */
    names: (name) => (parameters.get(name)?.match(/(\\.|[^,\\])+/g) ?? []).map((one) => one.replace(/\\(.)/g, "$1")),
    /** Change some parameters, see `address`. `push` makes a step to go back to. */
    set(partial, { push = false } = {}) {
      const next = address({ ...Object.fromEntries(parameters), ...partial });
      if (next.toString() === parameters.toString()) return;
      publish(next, push);
      adopt(next);
    },
  };
}

/** @param {{transport: object, overview: object, keys: object, publish?: function, go?: function}} parts
 * @returns {object} {ask, show, showFull, overview, state, go, labels, keys, on, emit, announce, toast}, what makes an
 *   img: picture(item, attributes, size) and wholePicture(item, attributes), what notes an error: complain(error),
 *   and what starts a check of the data and goes where it is seen to run: check()
 */
export function createContext({ transport, overview, keys, publish = () => {}, go = () => {} }) {
  const listeners = new Map();
  const on = (event, listener) => {
    listeners.set(event, [...(listeners.get(event) ?? []), listener]);
    return () => listeners.set(event, listeners.get(event).filter((other) => other !== listener));
  };
  const emit = (event, detail = {}) => (listeners.get(event) ?? []).forEach((listener) => listener(detail));
  const drawn = (show) => (item, attributes, size) => {
    const img = h("img", attributes);
    show(img, item, size);
    return img;
  };
  const complain = (error) => { toast(error.message, { kind: "error" }); };
  const check = () => transport.ask("check_start").catch(complain).finally(() => go("training"));
  const context = { ...transport, overview, keys, go, on, emit, announce, toast, complain, check,
    picture: drawn(transport.show), wholePicture: drawn(transport.showFull), state: addressable(emit, publish) };
  context.labels = labelling(context);
  return context;
}

/** The context for one view, and what takes back all that the view bound and listened to. */
export function scoped(context) {
  const offs = [], kept = (off) => (offs.push(off), off);
  const bind = (scope, handlers) => kept(context.keys.bind(scope, handlers));
  const keys = Object.assign(Object.create(context.keys), { bind });
  return [{ ...context, on: (event, listener) => kept(context.on(event, listener)), keys },
    () => offs.forEach((off) => off())];
}
