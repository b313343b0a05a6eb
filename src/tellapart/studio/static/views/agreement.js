// How far reviewers agree, and settling what they disagree on.
import { fill, h, images, localTime, number } from "../core/dom.js";
import { button, empty, group, panel, quiet, table } from "../core/parts.js";
import { percent } from "/shared/curves.js";

/** The answer of a reviewer who holds no label right, because the image should not be used. */
export const EXCLUDED = "(excluded)";
/** A reviewer's answer in words. */
export const inWords = (answer) => (answer === EXCLUDED ? "not to be used" : answer);
const figure = (value) => value.toFixed(2).replace("-", "−");

/** Ask, and draw it in `place`; @param {object} context of the view */
export async function drawAgreement(place, context) {
  const { ask, labels, overview, toast } = context;
  const { pairs, reviewers, all, rows, disagreements } = await ask("agreement");
  const agreed = ({ a, b, n, observed, kappa, ci95 }) =>
    [b ? `${a} and ${b}` : a, number(n), n ? percent(observed) : "–",
      kappa === null ? "not defined" : figure(kappa), ci95 ? ci95.map(figure).join(" to ") : "–"];
  async function settle({ item, answers }, answer) {
    const seen = { seen: item.label, answered: answers[overview.actor] ?? "" };
    try {
      const { batch } = await labels.perform("decide", { i: item.i, answer, ...seen, source: "adjudication" });
      if (!batch) toast("The label and you say so already. Who gives way, or a third person, settles it.");
      await drawAgreement(place, context);
    } catch (error) { context.complain(error); }
  }
  function disputed(one) {
    const { item, answers, settled } = one;
    const thumb = context.picture(item, { alt: "", width: 80, height: 80, loading: "lazy" });
    const choices = [...new Set(Object.values(answers))].map((answer) =>
      button(inWords(answer), () => settle(one, answer), { disabled: overview.read_only }));
    return [thumb, h("span.path", item.id),
      Object.entries(answers).map(([name, answer]) => h("div", `${name}: ${inWords(answer)}`)),
      item.excluded ? "excluded" : item.label,
      [settled && h("div.quiet", `settled by ${settled.actor}, ${localTime(settled.at)}`),
        group(`Settle ${item.id}`, choices)]];
  }
  if (!pairs.length) {
    const who = reviewers.map(({ name, n }) => `${name} has answered ${number(n)}`).join(", ");
    return void fill(place, empty("Two reviewers are needed", [`So far ${who || "nobody has answered yet"}. A `,
      "colleague reviews the same images with ", h("code", "tellapart studio … --user NAME"), ", best in the blind."]));
  }
  const everybody = all ? [agreed({ a: `All ${reviewers.length} (Fleiss)`, ...all })] : [];
  const methods = [...new Set([...pairs, all].map((one) => one?.method).filter(Boolean))].join("; ");
  fill(place, panel("Agreement beyond chance",
    table(["Reviewers", "Images", "Agree on", "Kappa", "95 % interval"], [...pairs.map(agreed), ...everybody],
      { label: "Agreement of reviewers", numbers: 1 }),
    quiet("Of each reviewer's first answers, before anything was talked over. Kappa of two is Cohen's: 0 is chance, 1 ",
      "is agreement on every image.", methods && ` Interval: ${methods}.`)),
  panel(`${images(disagreements)} on which answers differ`,
    rows.length > 0 && table(["", "Image", "Answers", "Label in force", "Settle as"], rows.map(disputed),
      { label: "Disagreements", looks: "disputed", title: 1 })));
}
