// Wires the page together: header, figures, filters, keys, theme.

function overview() {
  const steps = DATA.traces.reduce((sum, trace) => sum + trace.s.length, 0);
  const shown = DATA.traces.length < DATA.total ? `${whole(DATA.traces.length)} of ${count(DATA.total, "trace")}` : count(DATA.total, "trace");
  const parts = [shown, count(DATA.prompts.length, "problem"), count(steps, "step")];
  const model = DATA.report?.model?.name ?? DATA.report?.model?.path;
  if (model) parts.push(`scored by ${model}`);
  return parts.join(" · ");
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value, text, selected: value === chosen })));
}

/** The source with the most verdicts is shown first. */
function mainSource() {
  const verdicts = DATA.sources.map(() => 0);
  for (const trace of DATA.traces) for (const [, p, source] of trace.l) if (p !== null) verdicts[source] += 1;
  return Math.max(0, verdicts.indexOf(Math.max(...verdicts)));
}

function buildToolbar() {
  for (const [name, filter] of Object.entries(FILTERS)) {
    const button = make("button", { type: "button", "data-filter": name, "aria-pressed": "false" }, filter.name, make("span", { cls: "n" }));
    button.addEventListener("click", () => { state.filter = name; update(); });
    $("filters").append(button);
  }
  const models = [...new Set(DATA.traces.map((trace) => trace.m))].sort();
  options($("model"), [["", "all"], ...models.map((name) => [name, name])], "");
  options($("source"), DATA.sources.map(({ source, meaning }, i) => [String(i), `${source} (${meaning})`]), String(state.source));
  options($("sort"), Object.entries(SORTS).map(([name, sort]) => [name, sort.name]), state.sort);
  $("model-field").hidden = models.length < 2;
  $("source-field").hidden = DATA.sources.length < 2;
  $("threshold-field").hidden = !hasScores || !hasLabels;
}

function select(index, { scroll = true } = {}) {
  state.selected = index;
  drawTrace();
  reveal();
  drawRows();
  const edge = document.querySelector(".toolbar").getBoundingClientRect().bottom;
  if (scroll && $("trace").getBoundingClientRect().top < edge - 4) $("workspace").scrollIntoView({ block: "start" });
}

function move(by) {
  if (!order.length) return;
  const at = order.indexOf(state.selected);
  select(order[Math.min(order.length - 1, Math.max(0, at + by))]);
}

/** Filter, sort and draw; the selected trace stays selected where it is still listed. */
function update({ anew = false } = {}) {
  if (anew) rejudge();
  const counts = arrange();
  for (const button of $("filters").children) {
    button.setAttribute("aria-pressed", String(button.dataset.filter === state.filter));
    button.querySelector(".n").textContent = whole(counts[button.dataset.filter]);
  }
  $("count").textContent = `${whole(order.length)} of ${count(DATA.traces.length, "trace")}`;
  $("threshold-value").textContent = fixed(state.threshold);
  if (!order.includes(state.selected)) {
    state.selected = order.length ? order[0] : -1;
    list.scrollTop = 0;
  }
  drawTrace();
  reveal();
  drawRows();
}

function listen() {
  $("query").addEventListener("input", (event) => { state.query = event.target.value; update(); });
  $("model").addEventListener("change", (event) => { state.model = event.target.value; update(); });
  $("sort").addEventListener("change", (event) => { state.sort = event.target.value; update(); });
  $("source").addEventListener("change", (event) => { state.source = Number(event.target.value); update({ anew: true }); });
  $("threshold").addEventListener("input", (event) => { state.threshold = Number(event.target.value); update({ anew: true }); });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) select(Number(row.dataset.index));
  });
  document.addEventListener("keydown", onKey);
}

const KEYS = { j: 1, k: -1 };
const LIST_KEYS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

function onKey(event) {
  if (event.key === "Escape") hideTip();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input, select")) return;
  const by = KEYS[event.key] ?? (document.activeElement === list ? LIST_KEYS[event.key] : undefined);
  if (by !== undefined) move(by);
  else if (event.key === "/") $("query").focus();
  else return;
  event.preventDefault();
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; };

function setUpTheme() {
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  prefersDark.addEventListener("change", nameTheme);
  nameTheme();
}

// The list sticks below the toolbar, however many lines that takes.
const bar = document.querySelector(".toolbar");
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);

$("title").textContent = DATA.title;
$("overview").textContent = overview();
setUpTheme();
drawEvaluation(DATA.report);
state.source = mainSource();
state.sort = hasLabels && hasScores ? "disagreement" : "order";
buildToolbar();
listen();
update({ anew: true });
document.documentElement.dataset.ready = "true";
