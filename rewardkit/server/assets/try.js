// Asks the server that this page came from: its models, then one stream of step scores for each chosen model.

const EXAMPLES = [
  {
    name: "a wrong sum",
    problem: "A baker makes 12 trays of 8 rolls, sells 70 rolls, and bakes 2 more trays. How many rolls are left?",
    response: "The baker makes 12 * 8 = 96 rolls.\n\nAfter selling 70 there are 96 - 70 = 36 rolls.\n\n" +
      "Two more trays are 2 * 8 = 16 rolls.\n\nSo 36 + 16 = 52 rolls are left.\n\n#### 52",
  },
  {
    name: "the same, right",
    problem: "A baker makes 12 trays of 8 rolls, sells 70 rolls, and bakes 2 more trays. How many rolls are left?",
    response: "The baker makes 12 * 8 = 96 rolls.\n\nAfter selling 70 there are 96 - 70 = 26 rolls.\n\n" +
      "Two more trays are 2 * 8 = 16 rolls.\n\nSo 26 + 16 = 42 rolls are left.\n\n#### 42",
  },
  {
    name: "a misread question",
    problem: "A train takes 3 hours for 240 km. How far does it go in 5 hours at half that speed?",
    response: "Its speed is 240 / 3 = 80 km/h.\n\nIn 5 hours it goes 80 * 5 = 400 km.\n\n#### 400",
  },
];

const state = { running: null };

function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

/** What the server said went wrong, in its own words. */
async function faultOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

async function loadModels() {
  const answer = await fetch("v1/models", { headers: headers() });
  $("key-field").hidden = answer.status !== 401 && !$("key").value;
  if (!answer.ok) {
    $("served").textContent = answer.status === 401 ? "This server wants a key." : await faultOf(answer);
    return;
  }
  const models = (await answer.json()).data.filter((model) => model.rewardkit && model.rewardkit.spec);
  const names = models.map((model) => model.id);
  $("first").replaceChildren(...names.map((name) => make("option", { text: name, value: name })));
  const none = make("option", { text: "nothing", value: "" });
  $("second").replaceChildren(none, ...names.map((name) => make("option", { text: name, value: name })));
  $("second-field").hidden = names.length < 2;
  $("served").textContent = models.map((model) => `${model.id}: ${model.rewardkit.spec.kind}, ${model.rewardkit.backend}`).join(" · ");
  document.documentElement.dataset.ready = "true";
}

/** The objects of a stream of server-sent events, as they come. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: {")) yield JSON.parse(part.slice(6));
  }
}

/** One model's column: a heading, facts, and a step for each event. */
function column(name) {
  const column = { name, steps: [], scores: [] };
  column.facts = make("p", { cls: "facts", text: "scoring …", role: "status" });
  column.list = make("ol", { cls: "steps" });
  column.node = make("section", { cls: "result", "aria-label": name }, make("h2", { text: name }), column.facts, column.list);
  return column;
}

function showStep(column, index, text, score) {
  if (column.steps[index]) {
    column.steps[index].querySelector(".text").textContent = text;
    return;
  }
  const gutter = make("div", { cls: "gutter" }, make("span", { cls: "number", text: `${index + 1}` }),
    make("span", { cls: "score", text: fixed(score) }));
  const node = make("li", { cls: "step", "data-step": index }, gutter, make("div", { cls: "text", text }));
  tint(node, score);
  column.steps[index] = node;
  column.scores[index] = score;
  column.list.append(node);
}

/** Steps that the two models put on different sides of one half. */
function markDifferences(columns) {
  if (columns.length < 2) return;
  columns[0].steps.forEach((node, index) => {
    const [a, b] = columns.map((one) => one.scores[index]);
    const differs = typeof a === "number" && typeof b === "number" && a >= 0.5 !== b >= 0.5;
    for (const one of columns) if (one.steps[index]) one.steps[index].dataset.differs = differs;
  });
}

function showWhole(column, datum, usage, began, response) {
  if (datum.error) throw new Error(datum.error.message);
  const scores = datum.step_scores ?? [datum.score];
  scores.forEach((score, index) => showStep(column, index, datum.step_scores ? datum.steps[index].text : response, score));
  const cached = usage.prompt_tokens_details.cached_tokens;
  const seconds = (performance.now() - began) / 1000;
  column.facts.replaceChildren(...[["score", fixed(datum.score, 3)], ["tokens", `${usage.prompt_tokens}`],
    ["cached", `${cached}`], ["seconds", fixed(seconds)]].map(([name, value]) =>
    make("span", { cls: "fact" }, make("span", { text: name }), make("b", { text: value }))));
}

async function score(column, columns, body, signal) {
  const began = performance.now();
  try {
    const answer = await fetch("v1/rewards", {
      method: "POST", headers: headers(), signal, body: JSON.stringify({ ...body, model: column.name }),
    });
    if (!answer.ok) throw new Error(await faultOf(answer));
    for await (const event of eventsOf(answer.body)) {
      if (event.error) throw new Error(event.error.message);
      if (event.object === "reward.step") showStep(column, event.step, event.text ?? "…", event.step_score);
      else showWhole(column, event.data[0], event.usage, began, body.input.response);
      markDifferences(columns);
    }
  } catch (error) {
    if (!signal.aborted) column.facts.replaceChildren(make("span", { cls: "fault", text: error.message }));
  }
}

async function run(event) {
  event.preventDefault();
  state.running?.abort();
  const control = (state.running = new AbortController());
  const names = [$("first").value, $("second").value].filter((name, place, all) => name && all.indexOf(name) === place);
  const columns = names.map(column);
  $("results").replaceChildren(...columns.map((one) => one.node));
  $("results").dataset.state = "running";
  const input = { prompt: $("problem").value, response: $("response").value };
  const body = { input, split_by: $("split").value, return: ["steps"], stream: true };
  await Promise.all(columns.map((one) => score(one, columns, body, control.signal)));
  if (state.running === control) $("results").dataset.state = "done";
}

function pick() {
  const example = EXAMPLES[$("example").selectedIndex - 1];
  if (!example) return;
  $("problem").value = example.problem;
  $("response").value = example.response;
}

$("example").append(make("option", { text: "your own" }), ...EXAMPLES.map((example) => make("option", { text: example.name })));
$("example").selectedIndex = 1;
pick();
$("example").addEventListener("change", pick);
$("problem").addEventListener("input", () => { $("example").selectedIndex = 0; });
$("response").addEventListener("input", () => { $("example").selectedIndex = 0; });
$("key").addEventListener("change", loadModels);
$("form").addEventListener("submit", run);
loadModels();
