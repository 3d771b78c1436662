// The data, what the reader chose, and what follows from both.

const holder = document.getElementById("data");
const DATA = JSON.parse(holder.textContent);
holder.remove();

const whole = (n) => n.toLocaleString("en");
const count = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;

const state = { filter: "all", query: "", model: "", source: 0, sort: "order", threshold: 0.5, selected: -1 };

/** Words that a label says: right from 0.5 on, wrong below, abstains for null, none where the source is silent. */
function verdict(label) {
  if (!label) return "none";
  if (label.p === null) return "abstains";
  return label.p >= 0.5 ? "right" : "wrong";
}

/** For each step the label of the shown source. Sources are never merged: their meanings differ. */
function shownLabels(trace) {
  const labels = new Array(trace.s.length).fill(null);
  for (const [step, p, source, evidence] of trace.l) if (source === state.source && step in labels) labels[step] = { p, evidence };
  return labels;
}

const scoreOf = (trace, step) => (trace.c && typeof trace.c[step] === "number" ? trace.c[step] : null);

/** A label and a score disagree when they lie on different sides: the label of 0.5, the score of the threshold. */
function disagrees(label, score) {
  if (!label || label.p === null || score === null) return false;
  return label.p >= 0.5 !== score >= state.threshold;
}

/** What the list needs to know of a trace under the shown source and threshold. */
function judge(trace) {
  const labels = shownLabels(trace);
  const found = { labels, gap: -1, disagree: 0, wrong: 0, verdicts: 0, lowest: Infinity };
  labels.forEach((label, step) => {
    const score = scoreOf(trace, step);
    if (score !== null) found.lowest = Math.min(found.lowest, score);
    if (!label || label.p === null) return;
    found.verdicts += 1;
    if (label.p < 0.5) found.wrong += 1;
    if (score === null) return;
    found.gap = Math.max(found.gap, Math.abs(label.p - score));
    if (disagrees(label, score)) found.disagree += 1;
  });
  return found;
}

let judged = [];
let order = [];

const FILTERS = {
  all: { name: "All", keep: () => true },
  disagreement: { name: "Disagreement", keep: (found) => found.disagree > 0 },
  error: { name: "Has error", keep: (found) => found.wrong > 0 },
  unlabelled: { name: "Unlabelled", keep: (found) => found.verdicts === 0 },
};

const SORTS = {
  order: { name: "as in the file", key: () => 0 },
  disagreement: { name: "disagreement", key: (found) => -found.gap },
  lowest: { name: "lowest score", key: (found) => found.lowest },
  errors: { name: "most errors", key: (found) => -found.wrong },
  length: { name: "most steps", key: (found) => -found.labels.length },
};

/** Judge every trace anew: after a change of source or threshold. */
function rejudge() {
  judged = DATA.traces.map(judge);
}

let haystacks = null;
function contains(index, query) {
  haystacks ??= new Array(DATA.traces.length);
  const trace = DATA.traces[index];
  haystacks[index] ??= [DATA.prompts[trace.q], ...trace.s, trace.id].join("\n").toLowerCase();
  return haystacks[index].includes(query);
}

/** The traces that pass the model and text filters, before the segment is applied. */
function candidates() {
  const query = state.query.trim().toLowerCase();
  const kept = [];
  DATA.traces.forEach((trace, index) => {
    if (state.model && trace.m !== state.model) return;
    if (!query || contains(index, query)) kept.push(index);
  });
  return kept;
}

/** Filter and sort; returns how many candidates each segment would keep. */
function arrange() {
  const pool = candidates();
  const counts = {};
  for (const [name, filter] of Object.entries(FILTERS)) counts[name] = pool.filter((i) => filter.keep(judged[i])).length;
  order = pool.filter((i) => FILTERS[state.filter].keep(judged[i]));
  const { key } = SORTS[state.sort];
  const keys = new Map(order.map((i) => [i, key(judged[i])]));
  order.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  return counts;
}

const hasLabels = DATA.sources.length > 0;
const hasScores = DATA.traces.some((trace) => trace.c);
