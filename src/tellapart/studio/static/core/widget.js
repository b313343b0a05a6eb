// A view in a notebook: it asks the kernel, keeps its parameters to itself, and its keys from the notebook around it.
import { address, createContext, scoped } from "./context.js";
import { fill, h, icon, speakIn } from "./dom.js";
import { keyboard } from "./keys.js";
import { button } from "./parts.js";
import { AskError, tellRefusals } from "./transport.js";

const BATCH = 24, MOST_ON_THE_WAY = 2, PATIENCE_MS = 5000;
const NO_PICTURE = ""; // which an img takes for an error
// Shown until a picture comes; behind it stands which.
const BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==#";

/** As httpTransport, and `close`. Small pictures are asked for in batches, the latest wishes first.
 * @param {object} model of anywidget
 * @param {function(boolean): void} late hears that an answer is long in coming, and that one came */
export function widgetTransport(model, late = () => {}) {
  const mine = crypto.getRandomValues(new Uint32Array(2)).join("-"); // a widget shown twice hears each answer twice
  const open = new Map(), wanted = new Map(), numberOf = (item) => item.i ?? item;
  const holds = (img, key) => img.getAttribute("src") === BLANK + key;
  let asked = 0, onTheWay = 0;
  const request = (op, args) => new Promise((resolve) => {
    const id = `${mine} ${++asked}`;
    const timer = op !== "changes" && setTimeout(late, PATIENCE_MS, true); // those may take for ever
    open.set(id, (told) => { clearTimeout(timer); late(false); resolve(told); });
    model.send({ id, op, args });
  });
  const hear = ({ id, status, answer }, buffers) => {
    open.get(id)?.([status, JSON.parse(answer), buffers]);
    open.delete(id);
  };
  model.on("msg:custom", hear);
  function put(img, key, picture, type) {
    if (!holds(img, key)) return; // it shows something else by now
    const url = URL.createObjectURL(new Blob([picture], { type }));
    img.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    img.src = url;
  }
  async function fetchPictures() {
    for (const [img, key] of wanted) if (!holds(img, key)) wanted.delete(img);
    const size = [...wanted.values()].at(-1)?.split("-")[1];
    const batch = [...wanted].filter(([, key]) => key.endsWith(`-${size}`)).slice(-BATCH);
    if (!batch.length || onTheWay >= MOST_ON_THE_WAY) return;
    for (const [img] of batch) wanted.delete(img);
    onTheWay++;
    const items = batch.map(([, key]) => parseInt(key, 10));
    const [, , pictures] = await request("thumbs", { items, size: Number(size) });
    onTheWay--;
    batch.forEach(([img, key], k) => put(img, key, pictures?.[k] ?? NO_PICTURE, "image/jpeg")); // none, where it failed
    fetchPictures();
  }
  return {
    async ask(op, args = {}) {
      const [status, answer] = await request(op, args);
      if (status !== 200) throw new AskError(answer.error, status, answer.clashes);
      return answer;
    }, show(img, item, size = 160) {
      wanted.delete(img); // to the end of the line
      wanted.set(img, `${numberOf(item)}-${size}`);
      img.src = BLANK + wanted.get(img);
      setTimeout(fetchPictures);
    }, async showFull(img, item) {
      const key = `${numberOf(item)}-whole`;
      img.src = BLANK + key;
      const [, { type = "image/png" }, pictures] = await request("picture", { i: numberOf(item) });
      put(img, key, pictures?.[0] ?? NO_PICTURE, type);
    }, close: () => model.off("msg:custom", hear),
  };
}

/** Show the first of `views` ({name: {title, mount}}) in `el`; resolves to what takes it down again. */
export async function render(model, el, views) {
  const place = h("div"), back = h("div.bar.back", { hidden: true });
  const note = h("p.lost", { role: "status", hidden: true }, icon("warning"),
    "The kernel has not answered yet: it is busy with a cell, or gone.");
  const style = { "--height": `${model.get("height")}px` };
  const root = h("div.tellapart", { tabindex: "-1", "data-lm-suppress-shortcuts": "true", style }, note, back, place);
  el.append(root);
  speakIn(root);
  root.addEventListener("keydown", (event) => event.stopPropagation()); // or "d d" would delete the cell
  const transport = widgetTransport(model, (isLate) => { note.hidden = !isLate; });
  const overview = await transport.ask("overview");
  const keys = keyboard(root, overview.keys);
  const context = createContext({ transport, overview, keys, go });
  const { labels, toast } = context, trail = [];
  let shown, takeDown = () => {};
  function go(name, parameters = {}) {
    if (!views[name]) return toast(`That is in the studio: tellapart studio ${overview.data}`);
    trail.push([shown, context.state.all()]);
    return arrive(name, address(parameters));
  }
  async function arrive(name, parameters) {
    takeDown();
    const [view, release] = scoped(context), here = fill(place).appendChild(h("div", { "data-view": name }));
    [shown, takeDown] = [name, release];
    context.state.adopt(parameters);
    const [to, then] = trail.at(-1) ?? [], goBack = () => { trail.pop(); arrive(to, then); };
    fill(back, to && button([icon("left"), `Back to: ${views[to].title}`], goBack));
    back.hidden = !to;
    const down = await views[name].mount(here, view);
    if (here.isConnected) takeDown = () => { down?.(); release(); };
    else down?.();
  }
  keys.bind(null, { help: () => keys.help(), ...labels.keys });
  const ends = [tellRefusals(), labels.follow(overview.version), transport.close];
  arrive(Object.keys(views)[0], model.get("start"));
  return () => { takeDown(); ends.forEach((end) => end()); };
}
