// Going through the suspects of an audit: three answers a step, downloaded as lines of JSON. Idle on any other page.

const ANSWERS = [["accept", "Accept", "the label is right"], ["flip", "Flip", "the label is wrong"], ["abstain", "Abstain", "cannot tell"]];
const decisions = new Map();
const suspectsOf = (trace) => DATA.audit?.suspects[trace.id] ?? {};

function decide(key, decision) {
  decisions.set(key, decision);
  for (const button of document.querySelectorAll(`[data-key="${key}"]`)) {
    button.setAttribute("aria-pressed", String(button.dataset.decision === decision.decision));
  }
  $("decided").textContent = count(decisions.size, "decision");
  $("download").disabled = false;
}

function suspectBox(trace, step, [suspicion, given, evidence]) {
  const key = `${trace.id}-${step}`;
  const buttons = ANSWERS.map(([decision, text, title]) => {
    const pressed = String(decisions.get(key)?.decision === decision);
    const button = make("button", { type: "button", text, title, "data-key": key, "data-decision": decision, "aria-pressed": pressed });
    const row = { trace_id: trace.id, step, given, decision, source: DATA.audit.source, meaning: DATA.audit.meaning };
    button.addEventListener("click", () => decide(key, row));
    return button;
  });
  return make("div", { cls: "suspect" },
    make("p", {}, make("b", { text: `suspect ${fixed(suspicion)} ` }), evidence),
    make("div", { cls: "segments", role: "group", "aria-label": `Decision on step ${step + 1}` }, ...buttons));
}

function addSuspects() {
  const trace = DATA.traces[state.selected];
  if (!trace) return;
  for (const [step, found] of Object.entries(suspectsOf(trace))) {
    document.querySelector(`#trace .step[data-step="${step}"]`)?.append(suspectBox(trace, Number(step), found));
  }
}

function download() {
  const text = [...decisions.values()].map((row) => `${JSON.stringify(row)}\n`).join("");
  const link = make("a", { download: "decisions.jsonl", href: URL.createObjectURL(new Blob([text], { type: "application/jsonl" })) });
  link.click();
  URL.revokeObjectURL(link.href);
}

if (DATA.audit) {
  const button = make("button", { type: "button", id: "download", cls: "ghost", text: "Download decisions", disabled: true });
  button.addEventListener("click", download);
  document.querySelector(".toolbar").append(make("span", { id: "decided", role: "status", text: "no decision yet" }), button);
  new MutationObserver(addSuspects).observe($("trace"), { childList: true });
  state.source = Math.max(0, DATA.sources.findIndex(({ source, meaning }) => source === DATA.audit.source && meaning === DATA.audit.meaning));
  state.sort = "order"; // the most suspect first
  $("source").value = String(state.source);
  $("sort").value = state.sort;
  state.selected = -1;
  update({ anew: true });
}
