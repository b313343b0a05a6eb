// How far reviewers agree, and settling what they disagree on.
import { fill, h, images, localTime } from "../core/dom.js";
import { button, empty, group, panel, quiet, table } from "../core/parts.js";

/** The answer of a reviewer who holds no label right, because the image should not be used. */
export const EXCLUDED = "(excluded)";
/** A reviewer's answer in words. */
export const inWords = (answer) => (answer === EXCLUDED ? "not to be used" : answer);

/** Ask, and draw it in `place`; @param {object} context of the view */
export async function drawAgreement(place, context) {
  const { ask, labels, overview, toast } = context;
  const { table: agreed, methods, so_far: soFar, rows, disagreements } = await ask("agreement");
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
  if (!agreed.length) {
    return void fill(place, empty("Two reviewers are needed", [`So far ${soFar || "nobody has answered yet"}. A `,
      "colleague reviews the same images with ", h("code", "tellapart studio … --user NAME"), ", best in the blind."]));
  }
  fill(place, panel("Agreement beyond chance",
    table(["Reviewers", "Images", "Agree on", "Kappa", "95 % interval"], agreed,
      { label: "Agreement of reviewers", numbers: 1 }),
    quiet("Of each reviewer's first answers, before anything was talked over. Kappa of two is Cohen's: 0 is chance, 1 ",
      "is agreement on every image.", methods && ` Interval: ${methods}.`)),
  panel(`${images(disagreements)} on which answers differ`,
    rows.length > 0 && table(["", "Image", "Answers", "Label in force", "Settle as"], rows.map(disputed),
      { label: "Disagreements", looks: "disputed", title: 1 })));
}
