// Puts the charts of curves.js into the report: each element with data-chart names its drawing and its data.
// report.py inlines both files into one module script, without the import below.
import { decisionCurve, histogram, lineChart, reliabilityChart, thresholdExplorer } from "./curves.js";

const data = JSON.parse(document.getElementById("report-data").textContent);
const charts = { decisionCurve, histogram, lineChart, reliabilityChart, thresholdExplorer };

for (const place of document.querySelectorAll("[data-chart]")) {
  const drawn = [data[place.dataset.from]].flat().map((options) => charts[place.dataset.chart](options));
  place.replaceChildren(...drawn);
}

// The table of contents marks the section that is being read.
const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "0px 0px -75% 0px" });
for (const section of document.querySelectorAll("main section[id]")) reading.observe(section);

// Folded tables are printed unfolded, except those too long to be worth the paper.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details:not(.long)")) fold.open = true;
});
