// What every view gets, on a page and in a notebook alike.
import { announce, toast } from "./dom.js";
import { labelling } from "./labels.js";

/** The parameters of a view's address; `publish(parameters, push)` puts them where people can see and share them. */
function addressable(text, emit, publish) {
  let parameters = new URLSearchParams(text);
  const adopt = (next) => {
    parameters = new URLSearchParams(next);
    emit("state", { state: parameters });
  };
  return {
    get: () => new URLSearchParams(parameters),
    adopt,
    /** Change some parameters; null, "" and [] take one out, lists are joined by commas. `push` makes a step to go back to. */
    set(partial, { push = false } = {}) {
      const next = new URLSearchParams(parameters);
      for (const [name, value] of Object.entries(partial)) {
        if (value === null || value === undefined || value === "" || value?.length === 0) next.delete(name);
        else next.set(name, Array.isArray(value) ? value.join(",") : value);
      }
      if (next.toString() === parameters.toString()) return;
      publish(next, push);
      adopt(next);
    },
  };
}

/**
 * @param {{transport: object, overview: object, keys: object, address?: string, publish?: function, go?: function}} parts
 * @returns {object} {ask, show, showFull, overview, state, go, labels, keys, on, emit, announce, toast}
 */
export function createContext({ transport, overview, keys, address = "", publish = () => {}, go = () => {} }) {
  const listeners = new Map();
  const on = (event, listener) => {
    listeners.set(event, [...(listeners.get(event) ?? []), listener]);
    return () => listeners.set(event, listeners.get(event).filter((other) => other !== listener));
  };
  const emit = (event, detail = {}) => (listeners.get(event) ?? []).forEach((listener) => listener(detail));
  const context = { ...transport, overview, keys, go, on, emit, announce, toast, state: addressable(address, emit, publish) };
  context.labels = labelling(context);
  return context;
}

/** The context for one view, and what takes back all that the view bound and listened to. */
export function scoped(context) {
  const offs = [];
  const kept = (off) => (offs.push(off), off);
  const view = { ...context,
    on: (event, listener) => kept(context.on(event, listener)),
    keys: Object.assign(Object.create(context.keys), { bind: (scope, handlers) => kept(context.keys.bind(scope, handlers)) }) };
  return [view, () => offs.forEach((off) => off())];
}
