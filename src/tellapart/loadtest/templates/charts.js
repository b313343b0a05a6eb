// Puts the charts of curves.js into the page; report.py inlines both files, without the import below.
import { lineChart } from "./curves.js";

const place = document.getElementById("charts");
for (const { title, x, y, series, marks } of JSON.parse(document.getElementById("charts-data").textContent)) {
  const across = x.is_doubling ? Math.log2 : (value) => value;
  const highest = Math.max(...series.flatMap(({ points }) => points.map((point) => point[1])));
  place.append(lineChart({
    title,
    // Five doublings at least, so that every tick is a whole one.
    x: x.is_doubling
      ? { label: x.label, domain: [0, Math.max(5, Math.log2(x.to))], format: (value) => String(2 ** value) }
      : { label: x.label, domain: [x.from, x.to], format: String },
    y: { label: y, domain: [0, 1.08 * highest || 1], format: (value) => value.toLocaleString("en") },
    series: series.map((line) => ({ ...line, points: line.points.map(([load, value]) => [across(load), value]) })),
    marks: marks.map((mark) => ({ ...mark, x: across(mark.x) })),
  }));
}
