// Plots as inline SVG: axes, ticks, series told apart by dash and marker as well as by colour.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 250;
const BOX = { left: 48, right: 310, top: 10, bottom: 206 };

function svg(tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

/** About `wanted` round numbers that cover [low, high]. */
function ticks(low, high, wanted = 5) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const made = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) made.push(i * step);
  return made;
}

const short = (x) => (Math.abs(x) >= 10000 ? `${+(x / 1000).toFixed(1)}k` : String(+x.toFixed(4)));

/** A linear or logarithmic (base 2) map from data to pixels. */
function scale({ domain: [low, high], log = false }, from, to) {
  const f = log ? Math.log2 : (x) => x;
  const span = f(high) - f(low) || 1;
  return (x) => from + ((f(x) - f(low)) / span) * (to - from);
}

/** An empty chart with its axes; `x` and `y` are {label, domain, log, ticks}. */
function frame(x, y, bottom = BOX.bottom) {
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const px = scale(x, BOX.left, BOX.right);
  const py = scale(y, bottom, BOX.top);
  for (const value of y.ticks ?? ticks(...y.domain)) {
    root.append(svg("line", { class: "grid", x1: BOX.left, x2: BOX.right, y1: py(value), y2: py(value) }),
      svg("text", { class: "tick", x: BOX.left - 7, y: py(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of x.ticks ?? ticks(...x.domain)) {
    root.append(svg("line", { class: "axis", x1: px(value), x2: px(value), y1: BOX.bottom, y2: BOX.bottom + 4 }),
      svg("text", { class: "tick", x: px(value), y: BOX.bottom + 18, "text-anchor": "middle" }, short(value)));
  }
  root.append(svg("line", { class: "axis", x1: BOX.left, x2: BOX.right, y1: BOX.bottom, y2: BOX.bottom }),
    svg("text", { class: "axis-label", x: (BOX.left + BOX.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, x.label),
    svg("text", { class: "axis-label", transform: `translate(13 ${(BOX.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  return { root, px, py };
}

const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 4"];

function marker(kind, x, y, cls) {
  const shapes = [
    () => svg("circle", { cx: x, cy: y, r: 3.6 }),
    () => svg("rect", { x: x - 3.3, y: y - 3.3, width: 6.6, height: 6.6 }),
    () => svg("path", { d: `M${x} ${y - 4.4}L${x + 4.2} ${y + 3.2}H${x - 4.2}Z` }),
    () => svg("path", { d: `M${x} ${y - 4.6}L${x + 4.6} ${y}L${x} ${y + 4.6}L${x - 4.6} ${y}Z` }),
  ];
  const node = shapes[kind % shapes.length]();
  node.setAttribute("class", `marker ${cls}`);
  return node;
}

function drawSeries({ root, px, py }, series, number) {
  const cls = `s${number % 6}`;
  const points = series.points.map(([x, y]) => [px(x), py(y)]);
  (series.band ?? []).forEach(([low, high], i) => {
    root.append(svg("line", { class: `band ${cls}`, x1: points[i][0], x2: points[i][0], y1: py(low), y2: py(high) }));
  });
  const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  root.append(svg("path", { class: `line ${cls}`, d: path, "stroke-dasharray": DASHES[number % DASHES.length] }));
  if (!series.markers) return;
  points.forEach(([x, y], i) => {
    const dot = marker(number, x, y, cls);
    dot.append(svg("title", {}, `${series.name}: ${series.points[i].map((v) => short(v)).join(", ")}`));
    root.append(dot);
  });
}

function legendEntry(series, number) {
  const swatch = svg("svg", { viewBox: "0 0 30 12", class: "swatch", "aria-hidden": "true" });
  swatch.append(svg("line", { class: `line s${number % 6}`, x1: 1, x2: 29, y1: 6, y2: 6, "stroke-dasharray": DASHES[number % DASHES.length] }));
  if (series.markers) swatch.append(marker(number, 15, 6, `s${number % 6}`));
  return make("span", { cls: "key" }, swatch, series.name);
}

/** A figure element: heading, chart, legend, and a sentence that says it in words. */
function plot(title, chart, series, caption) {
  chart.root.setAttribute("aria-label", `${title}. ${caption}`);
  const keys = series.length > 1 ? make("div", { cls: "legend" }, ...series.map(legendEntry)) : null;
  return make("figure", { cls: "plot" }, make("h3", { text: title }), chart.root, keys, make("figcaption", { text: caption }));
}

const UNIT = [0, 1];
const UNIT_TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1];

function diagonal({ root, px, py }) {
  root.append(svg("line", { class: "reference", x1: px(0), y1: py(0), x2: px(1), y2: py(1) }));
}

/** Counts of the bins as bars in a band of their own under the reliability plot. */
function histogram({ root, px }, bins, top) {
  const most = Math.max(...bins.map((bin) => bin.count));
  for (const bin of bins) {
    const height = Math.max(1, (bin.count / most) * (BOX.bottom - top));
    const bar = svg("rect", { class: "count", x: px(bin.low) + 1, width: Math.max(1, px(bin.high) - px(bin.low) - 2), y: BOX.bottom - height, height });
    bar.append(svg("title", {}, `${count(bin.count, "step")} with a score in (${short(bin.low)}, ${short(bin.high)}]`));
    root.append(bar);
  }
  root.append(svg("text", { class: "tick", x: BOX.left - 7, y: top + 8, "text-anchor": "end" }, whole(most)));
}

function reliabilityPlot(bins, source = "") {
  const chart = frame({ label: "mean score", domain: UNIT, ticks: UNIT_TICKS }, { label: "share of right steps", domain: UNIT, ticks: UNIT_TICKS }, 158);
  diagonal(chart);
  histogram(chart, bins, 172);
  const series = { name: "model", markers: true, points: bins.map((b) => [b.mean_score, b.accuracy]), band: bins.map((b) => b.interval) };
  drawSeries(chart, series, 0);
  return plot(source ? `Reliability, ${source}` : "Reliability", chart, [series], "On the dashed line a score means what it says. Bars: 95% intervals; below, how many steps each bin holds.");
}

const EMPHASIS = ["reward model", "weighted vote", "majority", "oracle"];
const rank = (name) => (EMPHASIS.indexOf(name) + 1 || EMPHASIS.length + 1);

function bestOfNPlot({ n: samples, curves, bands, tokens }) {
  const n = tokens?.length ? tokens.map(Math.round) : samples;
  const label = tokens?.length ? "tokens a problem" : "samples a problem (n)";
  const names = Object.keys(curves).sort((a, b) => rank(a) - rank(b));
  const values = [...Object.values(curves).flat(), ...Object.values(bands ?? {}).flat(2)];
  const low = Math.max(0, Math.floor(Math.min(...values) * 10 - 0.2) / 10);
  const high = Math.min(1, Math.ceil(Math.max(...values) * 10 + 0.2) / 10);
  const log = n.length > 1 && n[0] > 0;
  const domain = n.length > 1 ? [n[0], n[n.length - 1]] : [n[0] - 0.5, n[0] + 0.5];
  const chart = frame({ label, domain, log, ticks: n }, { label: "accuracy", domain: [low, high] });
  const series = names.map((name) => ({ name, markers: true, band: bands?.[name], points: n.map((x, i) => [x, curves[name][i]]) }));
  series.forEach((one, number) => drawSeries(chart, one, number));
  return plot("Best of n", chart, series, "Accuracy of the chosen answer; the oracle is the ceiling of any choice.");
}

function curvesPlot({ title, caption, x, y, at, lines, bands }) {
  const values = [...Object.values(lines).flat(), ...Object.values(bands).flat(2)];
  const span = Math.max(...values) - Math.min(...values) || 1;
  const domain = [Math.min(...values) - 0.05 * span, Math.max(...values) + 0.05 * span];
  const chart = frame({ label: x, domain: [at[0], at[at.length - 1]], ticks: at }, { label: y, domain });
  const series = Object.entries(lines).map(([name, line]) => ({ name, markers: true, band: bands[name], points: at.map((place, i) => [place, line[i]]) }));
  series.forEach((one, number) => drawSeries(chart, one, number));
  return plot(title, chart, series, caption);
}

function rocPlot(points) {
  const chart = frame({ label: "false positive rate", domain: UNIT, ticks: UNIT_TICKS }, { label: "true positive rate", domain: UNIT, ticks: UNIT_TICKS });
  diagonal(chart);
  const series = { name: "model", points };
  drawSeries(chart, series, 0);
  return plot("ROC", chart, [series], "Finding wrong steps by their low scores; chance is the dashed line.");
}

function precisionRecallPlot(points) {
  const chart = frame({ label: "recall", domain: UNIT, ticks: UNIT_TICKS }, { label: "precision", domain: UNIT, ticks: UNIT_TICKS });
  const base = points[points.length - 1][1];
  chart.root.append(svg("line", { class: "reference", x1: chart.px(0), x2: chart.px(1), y1: chart.py(base), y2: chart.py(base) }));
  const series = { name: "model", points };
  drawSeries(chart, series, 0);
  return plot("Precision and recall", chart, [series], `Finding wrong steps; chance is their share, ${fixed(base)} (dashed).`);
}

function trainingPlot({ loss, eval: held }) {
  const series = [];
  if (loss.length) series.push({ name: "training loss", points: loss });
  if (held.length) series.push({ name: "evaluation loss", points: held, markers: true });
  const points = series.flatMap((one) => one.points);
  const domainOf = (i) => [Math.min(...points.map((p) => p[i])), Math.max(...points.map((p) => p[i]))];
  const [, top] = domainOf(1);
  const chart = frame({ label: "training step", domain: domainOf(0) }, { label: "loss", domain: [0, top * 1.05] });
  series.forEach((one, number) => drawSeries(chart, one, number));
  return plot("Training", chart, series, "Loss over optimiser steps.");
}

function interval({ value, low, high }) {
  const within = [value, low, high].every((x) => typeof x === "number" && x >= 0 && x <= 1);
  if (!within) return null;
  const track = make("div", { cls: "track", "aria-hidden": "true" }, make("i"), make("b"));
  track.firstChild.style.left = `${100 * low}%`;
  track.firstChild.style.width = `${Math.max(0.8, 100 * (high - low))}%`;
  track.lastChild.style.left = `${100 * value}%`;
  return track;
}

/** What the baselines have of a figure, as one line. */
function beside({ name }, baselines) {
  const known = Object.entries(baselines).map(([title, figures]) => [title, figures.find((f) => f.name === name)]);
  return known.filter(([, f]) => f && f.value !== null).map(([title, f]) => `${title} ${fixed(f.value, 3)}`).join(", ");
}

function figureCard(figure, compared) {
  const known = typeof figure.low === "number" && typeof figure.high === "number";
  const range = known ? `95% [${fixed(figure.low, 3)}, ${fixed(figure.high, 3)}]` : "no interval";
  return make("div", { cls: "figure" },
    make("div", { cls: "figure-name", text: figure.name }),
    make("div", { cls: `figure-value${figure.value === null ? " figure-none" : ""}`, text: figure.value === null ? "not defined" : fixed(figure.value, 3) }),
    interval(figure),
    make("div", { cls: "figure-range" }, make("span", { text: range }), make("span", { text: `n ${whole(figure.n)}` })),
    compared ? make("div", { cls: "figure-note", text: `beside it: ${compared}` }) : null,
    figure.note ? make("div", { cls: "figure-note", text: figure.note }) : null);
}

/** Figures and plots of the evaluation report; the section stays hidden without one. */
function drawEvaluation(report) {
  if (!report) return;
  $("evaluation").hidden = false;
  $("figures").append(...report.figures.map((figure) => figureCard(figure, beside(figure, report.baselines ?? {}))));
  const plots = [];
  if (report.reliability.length) plots.push(reliabilityPlot(report.reliability));
  for (const [source, bins] of Object.entries(report.reliability_by_source ?? {})) plots.push(reliabilityPlot(bins, source));
  if (report.best_of_n?.n.length) plots.push(bestOfNPlot(report.best_of_n));
  plots.push(...(report.curves ?? []).filter(({ at }) => at.length).map(curvesPlot));
  if (report.roc.length) plots.push(rocPlot(report.roc));
  if (report.precision_recall.length) plots.push(precisionRecallPlot(report.precision_recall));
  if (report.training && (report.training.loss.length || report.training.eval.length)) plots.push(trainingPlot(report.training));
  $("plots").append(...plots);
}
