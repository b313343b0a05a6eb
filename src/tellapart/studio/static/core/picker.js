// Choosing a class by typing part of its name, or a new one.
import { h, openDialog } from "./dom.js";

const MOST_SHOWN = 100;

/** @param {string[]} names of the classes @returns {Promise<string|null>} the class chosen, maybe new; null if none */
export function pickClass(names, title = "Label as") {
  return new Promise((resolve) => {
    let shown = [], active = 0, answer = null;
    const list = h("ul.options", { id: "class-options", role: "listbox", "aria-label": "Classes" });
    const combobox = { role: "combobox", "aria-expanded": "true", "aria-controls": "class-options" };
    const typing = { type: "text", autocomplete: "off", spellcheck: "false", autofocus: true, maxlength: "200" };
    const input = () => { active = 0; draw(); };
    const field = h("input.field", { ...combobox, "aria-label": "Class", ...typing, input, keydown });
    const box = h("dialog.dialog.picker", { "aria-label": title }, h("h2", title), field, list);
    const choose = (name) => { answer = name; box.close(); };
    function draw() {
      const typed = field.value.trim(), folded = typed.toLocaleLowerCase();
      const rank = (name) => (name.toLocaleLowerCase().startsWith(folded) ? 0 : 1);
      const fitting = names.filter((name) => name.toLocaleLowerCase().includes(folded));
      shown = fitting.sort((a, b) => rank(a) - rank(b)).slice(0, MOST_SHOWN).map((name) => [name, name]);
      if (typed && !names.includes(typed)) shown.push([typed, `New class “${typed}”`]);
      list.replaceChildren(...shown.map(([name, text], k) => h("li", { id: `class-option-${k}`, role: "option",
        "aria-selected": String(k === active), click: () => choose(name) }, text)));
      field.setAttribute("aria-activedescendant", shown.length ? `class-option-${active}` : "");
      list.children[active]?.scrollIntoView({ block: "nearest" });
    }
    function keydown(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        active = (active + step + shown.length) % Math.max(1, shown.length);
        draw();
      } else if (event.key === "Enter" && shown.length) choose(shown[active][0]);
      else return;
      event.preventDefault();
    }
    draw();
    openDialog(box, () => resolve(answer));
  });
}
