// One trace: its problem, its steps tinted by score and marked by label, and the tooltip with the evidence.

const MARKS = { right: "✓", wrong: "✗", abstains: "○", none: "" };
const MEANINGS = { local: "this step alone", prefix: "no error so far", value: "chance to end right" };

/** The button that carries one label; its tooltip, and what a screen reader says, hold the evidence. */
function chip([step, p, source, evidence]) {
  const { source: name, meaning } = DATA.sources[source];
  const kind = verdict({ p });
  const soft = p !== null && p !== 0 && p !== 1 ? ` ${fixed(p)}` : "";
  const says = p === null ? "abstains" : `p_correct ${fixed(p)}`;
  const node = make("button", {
    cls: "chip", type: "button", "data-label": kind, "data-shown": String(source === state.source),
    "data-head": `${name} · ${meaning} · ${says}`,
    "data-body": evidence || `no evidence given; “${meaning}” means: ${MEANINGS[meaning] ?? meaning}`,
    "aria-label": `${kind}, ${name}, ${meaning}, ${says}. ${evidence}`,
  });
  node.append(make("span", { cls: "mark", text: MARKS[kind] }), `${name}${soft}`);
  if (p === null) node.append(make("em", { text: " abstains" }));
  return node;
}

function scoreBox(score) {
  if (score === null) return make("span", { cls: "score score-none", text: hasScores ? "no score" : "" });
  const bar = make("span", { cls: "bar" }, make("span"));
  bar.firstChild.style.width = `${(100 * score).toFixed(1)}%`;
  return make("span", { cls: "score", title: `score ${score}` }, make("span", { text: fixed(score) }), bar);
}

/** A step's text as it is; line breaks at its ends stay in the page but take no room. */
function stepText(text) {
  const end = text.trimEnd().length;
  let start = 0;
  while (start < end && text[start] === "\n") start += 1;
  const [head, body, tail] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
  if (!body) return make("div", { cls: "text empty-step" }, make("span", { cls: "edge", text }), "(white space alone)");
  return make("div", { cls: "text" }, make("span", { cls: "edge", text: head }), body, make("span", { cls: "edge", text: tail }));
}

function stepItem(trace, labels, step) {
  const label = labels[step];
  const score = scoreOf(trace, step);
  const chips = make("div", { cls: "chips" }, ...trace.l.filter((one) => one[0] === step).map(chip));
  if (disagrees(label, score)) chips.prepend(make("span", { cls: "differs", text: "≠ score" }));
  const item = make("li", { cls: "step", "data-label": verdict(label), "data-step": step },
    make("div", { cls: "gutter" }, make("span", { cls: "number", text: step + 1 }), scoreBox(score)),
    stepText(trace.s[step]),
    chips);
  tint(item, score);
  return item;
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? null
    : make("span", { cls: "fact" }, make("span", { text: name }), make("b", { text: value }));
}

function facts(trace, found) {
  const extra = Object.entries(trace.x).map(([name, value]) => fact(name, value));
  return make("div", { cls: "facts" }, fact("model", trace.m), fact("answer", trace.a), fact("reference", trace.r),
    fact("steps", trace.s.length), found.gap >= 0 ? fact("largest gap", fixed(found.gap)) : null, ...extra, fact("id", trace.id));
}

function legend() {
  const items = [];
  if (hasLabels) {
    for (const kind of ["right", "wrong", "abstains"]) {
      items.push(make("span", { cls: "key", "data-label": kind, text: `${MARKS[kind]} label ${kind}` }));
    }
  }
  if (hasScores) {
    items.push(make("span", { cls: "key scale" }, "score 0", make("span", { cls: "ramp" }), "1"));
  }
  return make("div", { cls: "legend", "aria-label": "Legend" }, ...items);
}

function drawTrace() {
  const trace = DATA.traces[state.selected];
  if (!trace) {
    $("trace").replaceChildren(make("p", { cls: "empty", text: "No trace passes these filters." }));
    return;
  }
  const found = judged[state.selected];
  $("trace").replaceChildren(
    make("div", { cls: "prompt" }, make("h2", { text: "Problem" }), make("div", { cls: "text", text: DATA.prompts[trace.q] })),
    facts(trace, found), legend(),
    make("ol", { cls: "steps" }, ...trace.s.map((_, step) => stepItem(trace, found.labels, step))));
}

const tip = $("tip");

function showTip(target) {
  tip.replaceChildren(make("b", { text: target.dataset.head }), make("span", { text: target.dataset.body }));
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
}

const hideTip = () => { tip.hidden = true; };

for (const kind of ["mouseover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const target = event.target.closest?.(".chip");
    if (target) showTip(target);
    else if (kind === "mouseover" && !event.target.closest?.("#tip") && !document.activeElement?.matches(".chip")) hideTip();
  });
}
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, { passive: true });
