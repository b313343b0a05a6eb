// Line charts, histograms and the threshold explorer, drawn as SVG from plain data.
//
// Shared by the report, the browser app and notebooks, so nothing here knows the page it is put into:
// every exported chart takes one object of numbers and names and returns a detached element. Colours and
// line styles are CSS classes (ta-…), so light, dark and print need no redrawing.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 280;
const MARGIN = { left: 40, right: 12, top: 26, bottom: 40 };

const builder = (create) => (name, attributes = {}, ...children) => {
  const node = create(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
const svg = builder((name) => document.createElementNS(SVG, name));
export const html = builder((name) => document.createElement(name));

/** A share in percent; what stands exactly between two decimals goes to the even one, as in the report's tables. */
export function percent(value, digits = 1) {
  if (!Number.isFinite(value)) return "not defined";
  return `${(100 * value - ((100 * value) % 1 === 0.25 ? 0.01 : 0)).toFixed(digits)} %`;
}
/** The ends of an interval of a share, such as "80.1 to 88.2 %". */
export function range(ends) {
  if (!ends?.every(Number.isFinite)) return "not estimable";
  return `${percent(ends[0]).replace(" %", "")} to ${percent(ends[1])}`;
}
const ratio = (value) => {
  if (value === Infinity) return "∞";
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 2 : 1) : "not defined";
};
const rounded = (value, digits) => Number(value.toPrecision(digits));
const short = (value) => (value && Math.abs(value) < 0.001 ? value.toExponential() : String(rounded(value, 2)));
const line = (kind, [x1, y1], [x2, y2]) => svg("line", { class: kind, x1, y1, x2, y2 });
const text = (kind, x, y, words, anchor) => svg("text", { class: kind, x, y, "text-anchor": anchor }, words);

/** Round numbers that cover [low, high] in about `count` steps. */
function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** The empty plot. `x` and `y` are {label, domain: [low, high], format?}; px and py map data to pixels. */
function axes({ title, x, y, height = HEIGHT }) {
  const [left, right, top, bottom] = [MARGIN.left, WIDTH - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const px = (value) => left + ((value - x.domain[0]) / (x.domain[1] - x.domain[0])) * (right - left);
  const py = (value) => bottom - ((value - y.domain[0]) / (y.domain[1] - y.domain[0])) * (bottom - top);
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "ta-plot", role: "img", "aria-label": title });
  for (const value of ticks(...y.domain)) {
    root.append(line("ta-grid", [left, py(value)], [right, py(value)]));
    root.append(text("ta-tick", left - 6, py(value) + 4, (y.format ?? short)(value), "end"));
  }
  for (const value of ticks(...x.domain)) {
    root.append(line("ta-grid", [px(value), top], [px(value), bottom]));
    root.append(text("ta-tick", px(value), bottom + 14, (x.format ?? short)(value), "middle"));
  }
  root.append(svg("path", { class: "ta-axis", d: `M${left},${top}V${bottom}H${right}` }));
  root.append(text("ta-label", (left + right) / 2, height - 6, x.label, "middle"));
  root.append(text("ta-label", 2, 11, `↑ ${y.label}`));
  return { root, px, py, left, right, top, bottom };
}

const path = (points, { px, py }) =>
  points.filter(Boolean).map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)},${py(y).toFixed(1)}`).join("");

function legend(series) {
  const swatch = (style) => svg("svg", { viewBox: "0 0 26 8", class: "ta-swatch", "aria-hidden": "true" },
    svg("path", { class: `ta-line ${style}`, d: "M1,4H25" }));
  return html("ul", { class: "ta-legend" }, ...series.map(({ name, style }) => html("li", {}, swatch(style), name)));
}

function drawLines(options) {
  const plot = axes(options);
  for (const { points, style } of options.series) {
    plot.root.append(svg("path", { class: `ta-line ${style}`, d: path(points, plot) }));
  }
  for (const { x, y, label } of options.marks ?? []) {
    const transform = `translate(${plot.px(x)},${plot.py(y)})`;
    plot.root.append(svg("path", { class: "ta-used", d: "M0,-6L6,0L0,6L-6,0Z", transform }, svg("title", {}, label)));
  }
  return plot;
}

/**
 * Lines over common axes.
 * @param {{title: string, x: object, y: object, series: {name: string, style: string, points: number[][]}[],
 *          marks?: {x: number, y: number, label: string}[]}} options styles are "s1" … "s4", "base", "other"
 */
export function lineChart(options) {
  const named = options.series.filter(({ name }) => name);
  return html("div", { class: "ta-chart" }, drawLines(options).root, ...(named.length > 1 ? [legend(named)] : []));
}

/** Two groups as shares of each, one above and one below the line: {title, xLabel, edges, above, below, threshold?}. */
export function histogram({ title, xLabel, edges, above, below, threshold }) {
  const share = ({ counts }) => counts.map((count) => count / Math.max(1, counts.reduce((a, b) => a + b, 0)));
  const [up, down] = [share(above), share(below)];
  const top = Math.max(0.05, ...up, ...down) * 1.08;
  const format = (value) => `${Math.round(100 * Math.abs(value))} %`;
  const y = { label: "share of the group", domain: [-top, top], format };
  const plot = axes({ title, height: 230, x: { label: xLabel, domain: [0, 1] }, y });
  const bar = (style, value, i, count, name) => {
    const [y0, y1] = [plot.py(0), plot.py(value)];
    const [x, width] = [plot.px(edges[i]) + 0.5, plot.px(edges[i + 1]) - plot.px(edges[i]) - 1];
    return svg("rect", { class: style, x, width, y: Math.min(y0, y1), height: Math.abs(y1 - y0) },
      svg("title", {}, `${name}, ${edges[i].toFixed(2)} to ${edges[i + 1].toFixed(2)}: ${count}`));
  };
  plot.root.append(...up.map((value, i) => bar("ta-bar s1", value, i, above.counts[i], above.name)));
  plot.root.append(...down.map((value, i) => bar("ta-bar s2", -value, i, below.counts[i], below.name)));
  plot.root.append(line("ta-axis", [plot.left, plot.py(0)], [plot.right, plot.py(0)]));
  if (threshold !== null && threshold !== undefined) {
    plot.root.append(line("ta-line base", [plot.px(threshold), plot.top], [plot.px(threshold), plot.bottom]));
  }
  const said = ({ name, counts }) => `${name} (${counts.reduce((a, b) => a + b, 0).toLocaleString("en")})`;
  const middle = (plot.left + plot.right) / 2;
  plot.root.append(text("ta-note", middle, plot.top + 10, `▲ ${said(above)}`, "middle"),
    text("ta-note", middle, plot.bottom - 5, `▼ ${said(below)}`, "middle"));
  return html("div", { class: "ta-chart" }, plot.root);
}

/** Observed against predicted share: {title, of, bins: [{confidence, correct, low, high, count}]}, no empty bins. */
export function reliabilityChart({ title, of, bins }) {
  const unit = { domain: [0, 1] };
  const [x, y] = [`predicted probability of ${of}`, "share for which it was true"].map((label) => ({ ...unit, label }));
  const plot = drawLines({ title, x, y, series: [{ style: "base", points: [[0, 0], [1, 1]] }] });
  const most = Math.max(1, ...bins.map(({ count }) => count));
  for (const { from, to, count } of bins) {
    const tall = (0.16 * (plot.bottom - plot.top) * count) / most;
    const [x0, width] = [plot.px(from) + 1, plot.px(to) - plot.px(from) - 2];
    plot.root.append(svg("rect", { class: "ta-bar quiet", x: x0, width, y: plot.bottom - tall, height: tall }));
  }
  const points = bins.map(({ confidence, correct }) => [confidence, correct]);
  plot.root.append(svg("path", { class: "ta-line s1", d: path(points, plot) }));
  for (const { confidence, correct, low, high, count } of bins) {
    const at = plot.px(confidence);
    plot.root.append(line("ta-error", [at, plot.py(low)], [at, plot.py(high)]));
    plot.root.append(svg("circle", { class: "ta-dot", cx: at, cy: plot.py(correct), r: 4 },
      svg("title", {}, `predicted ${percent(confidence)}, true for ${percent(correct)} of ${count} images`)));
  }
  return html("div", { class: "ta-chart" }, plot.root);
}

/** PPV and NPV where a share `prevalence` is positive, by Bayes' rule. */
export function predictive(sensitivity, specificity, prevalence) {
  const [found, alarmed] = [sensitivity * prevalence, (1 - specificity) * (1 - prevalence)];
  const [missed, cleared] = [(1 - sensitivity) * prevalence, specificity * (1 - prevalence)];
  return { ppv: found / (found + alarmed), npv: cleared / (cleared + missed) };
}

/** Figures of one operating point, quotients of counts; given a `prevalence`, PPV and NPV are re-weighted to it. */
export function rates({ positives, negatives, ...counts }, index, prevalence) {
  const [tp, fp] = [counts.tp[index], counts.fp[index]];
  const [fn, tn] = [positives - tp, negatives - fp];
  const [sensitivity, specificity] = [tp / positives, tn / negatives];
  const values = prevalence === undefined
    ? { ppv: tp / (tp + fp), npv: tn / (tn + fn) } : predictive(sensitivity, specificity, prevalence);
  const ratios = { lrPlus: sensitivity / (1 - specificity), lrMinus: (1 - sensitivity) / specificity };
  return { sensitivity, specificity, ...values, ...ratios, tp, fp, fn, tn };
}

/** 95 % intervals at one operating point, if any; at another prevalence PPV's and NPV's from the others'. */
function bounds({ intervals }, index, prevalence) {
  if (!intervals) return {};
  const here = Object.fromEntries(Object.entries(intervals).map(([name, ends]) => [name, ends[index]]));
  if (prevalence === undefined) return here;
  const { sensitivity, specificity } = here;
  const both = sensitivity && specificity;
  const [low, high] = [0, 1].map((end) => both && predictive(sensitivity[end], specificity[end], prevalence));
  return { ...here, ...Object.fromEntries(["ppv", "npv"].map((name) => [name, low && [low[name], high[name]]])) };
}

const rocPoints = ({ tp, fp, positives, negatives }) => tp.map((count, i) => [fp[i] / negatives, count / positives]);
const prPoints = ({ tp, fp, positives }) =>
  tp.map((count, i) => (count + fp[i] ? [count / positives, count / (count + fp[i])] : null));

/** Net benefit against the threshold, beside calling all images positive, or none. */
export function decisionCurve({ title, points, name }) {
  const { thresholds, tp, fp, positives, negatives } = points;
  const total = positives + negatives;
  const grid = Array.from({ length: 98 }, (_, i) => (i + 1) / 100);
  const benefit = (t, found, alarms) => found / total - ((alarms / total) * t) / (1 - t);
  const at = (t) => thresholds.findIndex((value) => value === null || value >= t);
  const floor = -0.15 * (positives / total);
  const line = (values) => grid.map((t, i) => [t, values[i]]).map((p) => (p[1] >= floor ? p : null));
  const model = line(grid.map((t) => benefit(t, tp[at(t)], fp[at(t)])));
  const all = line(grid.map((t) => benefit(t, positives, negatives)));
  return lineChart({ title, x: { label: "threshold probability", domain: [0, 1] },
    y: { label: `net benefit, ${name}`, domain: [floor, (1.1 * positives) / total] },
    series: [
      { style: "base", points: [[0, 0], [1, 0]] }, { style: "s2", points: all }, { style: "s1", points: model }] });
}

/** One curve with a movable marker; `pick(index)` is told where the reader clicks or drags. */
function curvePanel({ title, xLabel, yLabel, toPoints, reference, macro }, classes, pick) {
  const holder = html("div", { class: "ta-chart ta-movable" });
  let plot, points, markers;
  const nearest = (event) => {
    const box = plot.root.getBoundingClientRect();
    const x = ((event.clientX - box.left) * WIDTH) / box.width, y = ((event.clientY - box.top) * HEIGHT) / box.height;
    const distance = (point) => (point ? (plot.px(point[0]) - x) ** 2 + (plot.py(point[1]) - y) ** 2 : Infinity);
    return points.reduce((best, point, i) => (distance(point) < distance(points[best]) ? i : best), 0);
  };
  holder.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    holder.setPointerCapture(event.pointerId);
    event.preventDefault();
    pick(nearest(event));
  });
  holder.addEventListener("pointermove", (event) => holder.hasPointerCapture(event.pointerId) && pick(nearest(event)));
  return {
    holder,
    draw(current) {
      points = toPoints(current);
      const others = classes.filter((entry) => entry !== current);
      const series = others.map((entry) => ({ style: "other", points: toPoints(entry) }));
      series.push({ style: "base", points: reference(current) }, { style: "s1", points });
      if (macro) series.splice(-1, 0, { style: "s2", points: macro });
      const used = current.in_use === null ? null : points[current.in_use];
      const marks = used ? [{ x: used[0], y: used[1], label: "threshold in use" }] : [];
      const [x, y] = [xLabel, yLabel].map((label) => ({ label, domain: [0, 1] }));
      plot = drawLines({ title: `${title}, ${current.name}`, x, y, series, marks });
      const square = svg("rect", { class: "ta-marker", x: -5, y: -5, width: 10, height: 10 });
      markers = [square, svg("circle", { class: "ta-marker", r: 6.5 })];
      plot.root.append(...markers);
      holder.replaceChildren(plot.root);
    },
    move(...indices) {
      for (const [i, marker] of markers.entries()) {
        const point = points[indices[i]];
        marker.style.display = point ? "" : "none";
        if (point) marker.setAttribute("transform", `translate(${plot.px(point[0])},${plot.py(point[1])})`);
      }
    },
  };
}

/** The table of figures beside the curves; `show(figures, intervals)` fills it. */
function readout() {
  const cells = {};
  const row = (key, label, hint) => {
    cells[key] = html("td", { "data-figure": key });
    return html("tr", {}, html("th", { scope: "row" }, label, html("small", {}, hint)), cells[key]);
  };
  const count = (key, label) => {
    cells[key] = html("b", { "data-figure": key });
    return html("td", {}, cells[key], html("small", {}, label));
  };
  const table = html("table", { class: "ta-readout" }, html("tbody", {},
    row("sensitivity", "Sensitivity", "found, of those that have it"),
    row("specificity", "Specificity", "cleared, of those that do not"),
    row("ppv", "PPV", "right, of those called positive"), row("npv", "NPV", "right, of those called negative"),
    row("lrPlus", "LR+", "odds × after a positive call"), row("lrMinus", "LR−", "odds × after a negative call")));
  const counts = html("table", { class: "ta-counts" }, html("tbody", {},
    html("tr", {}, count("tp", "true positives"), count("fp", "false positives")),
    html("tr", {}, count("fn", "false negatives"), count("tn", "true negatives"))));
  const show = (figures, intervals) => {
    for (const key of ["sensitivity", "specificity", "ppv", "npv"]) {
      const ends = intervals[key] ? [html("small", {}, range(intervals[key]))] : [];
      cells[key].replaceChildren(percent(figures[key]), ...ends);
    }
    for (const key of ["lrPlus", "lrMinus"]) cells[key].textContent = ratio(figures[key]);
    for (const key of ["tp", "fp", "fn", "tn"]) cells[key].textContent = figures[key];
  };
  return { holder: html("div", {}, table, counts), show };
}

/** The explorer alone, for a page that does not move it. */
export const thresholdExplorer = (data) => explorer(data).element;

/**
 * Prevalence as a number of percent and a slider, of which each follows the other. The slider is logarithmic: what
 * is screened for is rare, and from 0.1 to 1 % is as far as from 10 to 100 %.
 * @returns {{number: Element, slider: Element, start: function(number), value: function(): number|undefined}}
 *          `value` is undefined while it is that of the data, which `start` sets
 */
function prevalencePicker(changed) {
  const field = html("input", { type: "number", min: 0, max: 100, step: "any", inputmode: "decimal" });
  const slider = html("input", { type: "range", min: -4, max: 0, step: 0.02, "aria-label": "Prevalence, as a slider" });
  const share = () => (field.value === "" ? NaN : Number(field.value) / 100);
  const follow = () => {
    slider.value = Math.log10(Math.max(share(), 1e-4) || 1);
    slider.setAttribute("aria-valuetext", `prevalence ${field.value} %`);
  };
  field.addEventListener("input", () => { follow(); changed(); });
  slider.addEventListener("input", () => {
    field.value = rounded(100 * 10 ** Number(slider.value), 2);
    slider.setAttribute("aria-valuetext", `prevalence ${field.value} %`);
    changed();
  });
  return {
    number: field, slider,
    start(prevalence) { field.defaultValue = field.value = (100 * prevalence).toFixed(1); follow(); },
    value: () => (field.value !== field.defaultValue && share() >= 0 && share() <= 1 ? share() : undefined),
  };
}

/**
 * ROC and precision-recall curves with one movable threshold.
 * @param {{classes: object[], macro: number[][]|null}} data a class is {name, positives, negatives, thresholds, tp,
 *          fp, in_use, start, intervals?}; thresholds ascend, the last, null, calls nothing positive; `in_use` (or
 *          null) and `start` are indices into them; intervals are {figure: [low, high][]}, one for each threshold
 * @param {function(number): void} moved is told the index that the reader moved to
 * @returns {{element: Element, place: function(number, number|undefined)}} `place` puts the threshold at an index,
 *          and a mark at another, without telling `moved`
 */
export function explorer({ classes, macro }, moved = () => {}) {
  let current = classes[0];
  let marked;
  const slider = html("input", { type: "range", role: "slider", min: 0, step: 1, "aria-label": "Threshold" });
  const value = html("output", { class: "ta-value" });
  const prevalence = prevalencePicker(() => update());
  const reset = html("button", { type: "button" });
  const picker = html("select", {}, ...classes.map(({ name }, i) => html("option", { value: i }, name)));
  const move = () => { update(); moved(Number(slider.value)); };
  const pick = (index) => { slider.value = index; slider.focus({ preventScroll: true }); move(); };
  const share = ({ positives, negatives }) => positives / (positives + negatives);
  const panels = [
    curvePanel({ title: "ROC curve", xLabel: "1 − specificity (false alarms)", yLabel: "sensitivity (found)",
      toPoints: rocPoints, reference: () => [[0, 0], [1, 1]], macro }, classes, pick),
    curvePanel({ title: "Precision-recall curve", xLabel: "recall (= sensitivity)", yLabel: "precision (= PPV)",
      toPoints: prPoints, reference: (entry) => [[0, share(entry)], [1, share(entry)]] }, classes, pick)];
  const figures = readout();

  function update() {
    const index = Number(slider.value);
    const threshold = current.thresholds[index];
    const now = rates(current, index, prevalence.value());
    const name = threshold === null ? "above every probability" : rounded(threshold, 3).toString();
    const said = { sensitivity: "sensitivity", specificity: "specificity", ppv: "PPV", npv: "NPV" };
    const spoken = Object.entries(said).map(([key, word]) => `${word} ${percent(now[key])}`);
    value.textContent = index === current.in_use ? `${name} (in use)` : name;
    slider.setAttribute("aria-valuetext", `threshold ${name}, ${spoken.join(", ")}`);
    reset.hidden = index === current.start;
    panels.forEach((panel) => panel.move(marked, index));
    figures.show(now, bounds(current, index, prevalence.value()));
  }
  function select(entry) {
    current = entry;
    slider.max = entry.thresholds.length - 1;
    slider.value = entry.start;
    prevalence.start(share(entry));
    reset.textContent = entry.in_use === null ? "Back to 0.5" : "Back to the threshold in use";
    panels.forEach((panel) => panel.draw(entry));
    update();
  }
  slider.addEventListener("input", move);
  reset.addEventListener("click", () => pick(current.start));
  picker.addEventListener("change", () => select(classes[Number(picker.value)]));
  const field = (text, ...controls) => html("label", {}, html("span", {}, text), ...controls);
  const controls = html("div", { class: "ta-controls" },
    ...(classes.length > 1 ? [field("Class against the rest", picker)] : []),
    html("div", { class: "ta-prevalence" }, field("Prevalence", prevalence.number, " %"), prevalence.slider),
    html("span", { class: "ta-state" }, "Threshold ", value), reset);
  select(current);
  const element = html("div", { class: "ta-explorer" }, controls, slider,
    html("div", { class: "ta-panels" }, ...panels.map(({ holder }) => holder), figures.holder));
  return { element, place(index, other) { slider.value = index; marked = other; update(); } };
}
