// The list of traces. Rows have one height, and only those in sight exist, so that thousands cost nothing.

const ROW = 66;
const CELLS = 24;
const ROOMY = 12; // up to so many steps a cell has room for a sign; beyond, its outline alone marks a wrong step

/** One cell a step: tinted by score, marked by label. Long traces show their first cells and how many more. */
function strip(trace, labels) {
  const cells = trace.s.slice(0, CELLS).map((_, step) => {
    const kind = verdict(labels[step]);
    const cell = make("i", { text: kind === "wrong" && trace.s.length <= ROOMY ? "✗" : "", "data-label": kind });
    tint(cell, scoreOf(trace, step));
    return cell;
  });
  const more = trace.s.length - cells.length;
  return make("span", { cls: "strip", "aria-hidden": "true" }, ...cells, more > 0 ? make("b", { text: `+${more}` }) : null);
}

function summary(trace, found) {
  const parts = [count(trace.s.length, "step")];
  if (found.wrong) parts.push(`${found.wrong} wrong`);
  if (found.disagree) parts.push(count(found.disagree, "disagreement"));
  return parts.join(", ");
}

function row(position) {
  const index = order[position];
  const trace = DATA.traces[index];
  const found = judged[index];
  const node = make(
    "div",
    {
      cls: "row", role: "option", id: `row-${index}`, "data-index": index, "aria-selected": String(index === state.selected),
      "aria-setsize": order.length, "aria-posinset": position + 1,
    },
    make("span", { cls: "row-head" },
      make("span", { cls: "row-prompt", text: DATA.prompts[trace.q].replace(/\s+/g, " ").slice(0, 140) }),
      found.gap >= 0 ? make("span", { cls: `gap${found.disagree ? " gap-on" : ""}`, text: fixed(found.gap), title: "largest gap between label and score" }) : null),
    make("span", { cls: "row-foot" }, strip(trace, found.labels), make("span", { cls: "row-model", text: trace.m })),
    make("span", { cls: "sr", text: summary(trace, found) }),
  );
  node.style.transform = `translateY(${position * ROW}px)`;
  return node;
}

const list = $("list");
const rows = make("div", { cls: "rows", role: "presentation" });
list.append(rows);

function drawRows() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(order.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  rows.style.height = `${order.length * ROW}px`;
  const made = [];
  for (let position = first; position < last; position += 1) made.push(row(position));
  rows.replaceChildren(...made);
  if (state.selected >= 0) list.setAttribute("aria-activedescendant", `row-${state.selected}`);
}

/** Bring the selected row into the list's view. */
function reveal() {
  const position = order.indexOf(state.selected);
  if (position < 0) return;
  const top = position * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}

let waiting = false;
list.addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawRows(); });
}, { passive: true });
new ResizeObserver(drawRows).observe(list);
