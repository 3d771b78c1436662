"use strict";
// What the pages share: making elements and tinting them. Text goes into a page through textContent alone.

const $ = (id) => document.getElementById(id);

/** An element with a class, text, attributes and children; `text` is never read as HTML. */
function make(tag, { cls = "", text = null, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const fixed = (x, digits = 2) => (x === null || x === undefined ? "–" : x.toFixed(digits));

/** Tint an element by a score: side and strength of a diverging scale whose middle is 0.5. */
function tint(node, score) {
  if (score === null) return;
  node.dataset.side = score >= 0.5 ? "high" : "low";
  node.style.setProperty("--strength", Math.abs(2 * score - 1).toFixed(3));
}
