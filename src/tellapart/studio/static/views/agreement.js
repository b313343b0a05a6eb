// How far reviewers agree, and settling what they disagree on.
import { clear, h, number, percent } from "../core/dom.js";

/** The answer of a reviewer who holds no label right, because the image should not be used. */
export const EXCLUDED = "(excluded)";

/** A reviewer's answer in words. */
export const inWords = (answer) => (answer === EXCLUDED ? "not to be used" : answer);

const figure = (value) => value.toFixed(2).replace("-", "−");
const bounds = ([low, high]) => `${figure(low)} to ${figure(high)}`;
const when = (at) => at.slice(0, 16).replace("T", " ");

/** Ask, and draw it in `place`; @param {object} context of the view */
export async function drawAgreement(place, context) {
  const { ask, labels, overview, toast } = context;
  const told = await ask("agreement");
  const row = ({ a, b, n, observed, kappa, ci95 }) => h("tr", {}, h("th", { scope: "row" }, b ? `${a} and ${b}` : a), h("td", { class: "n" }, number(n)),
    h("td", { class: "n" }, n ? percent(observed) : "–"), h("td", { class: "n" }, kappa === null ? "not defined" : figure(kappa)), h("td", { class: "n" }, ci95 ? bounds(ci95) : "–"));

  async function settle({ item, answers }, answer) {
    try {
      const { batch } = await labels.perform("decide", { i: item.i, answer, seen: item.label, answered: answers[overview.actor] ?? "", source: "adjudication" });
      if (!batch) toast("The label and you say so already. Who gives way, or a third person, settles it.");
      await drawAgreement(place, context);
    } catch (error) { toast(error.message, { kind: "error" }); }
  }
  function disputed(one) {
    const { item, answers, settled } = one, thumb = h("img", { alt: "", width: 80, height: 80, loading: "lazy" });
    context.show(thumb, item, 160);
    return h("tr", {}, h("td", {}, thumb), h("th", { scope: "row" }, h("span", { class: "path" }, item.id)),
      h("td", {}, Object.entries(answers).map(([name, answer]) => h("div", {}, `${name}: ${inWords(answer)}`))),
      h("td", {}, item.excluded ? "excluded" : item.label),
      h("td", {}, settled && h("div", { class: "quiet" }, `settled by ${settled.actor}, ${when(settled.at)} UTC`),
        h("div", { class: "bar", role: "group", "aria-label": `Settle ${item.id}` }, [...new Set(Object.values(answers))].map((answer) =>
          h("button", { type: "button", class: "button", disabled: overview.read_only, click: () => settle(one, answer) }, inWords(answer))))));
  }
  const heads = (names, numeric) => h("thead", {}, h("tr", {}, names.map((name, k) => (name ? h("th", { scope: "col", class: k && numeric ? "n" : "" }, name) : h("td")))));
  const table = (text, ...children) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text }, h("table", { class: "table disputed" }, children));
  if (!told.pairs.length) {
    const who = told.reviewers.map(({ name, n }) => `${name} has answered ${number(n)}`).join(", ") || "nobody has answered yet";
    clear(place).append(h("div", { class: "empty" }, h("h2", {}, "Two reviewers are needed"),
      h("p", {}, `So far ${who}. A colleague reviews the same images with `, h("code", {}, "tellapart studio … --user NAME"), ", best in the blind.")));
    return;
  }
  const methods = [...new Set([...told.pairs, told.all].map((one) => one?.method).filter(Boolean))].join("; ");
  clear(place).append(
    h("section", { class: "panel" }, h("h2", {}, "Agreement beyond chance"),
      table("Agreement of reviewers", heads(["Reviewers", "Images", "Agree on", "Kappa", "95 % interval"], true),
        h("tbody", {}, told.pairs.map(row), told.all ? row({ a: `All ${told.reviewers.length} (Fleiss)`, ...told.all }) : "")),
      h("p", { class: "quiet" }, "Of each reviewer's first answers, before anything was talked over. Kappa of two is Cohen's: 0 is chance, 1 is agreement on every image.",
        methods && ` Interval: ${methods}.`)),
    h("section", { class: "panel" }, h("h2", {}, `${number(told.disagreements)} ${told.disagreements === 1 ? "image" : "images"} on which answers differ`),
      told.rows.length ? table("Disagreements", heads(["", "Image", "Answers", "Label in force", "Settle as"]), h("tbody", {}, told.rows.map(disputed))) : ""));
}
