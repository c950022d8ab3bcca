"use strict";
// Small helpers. Text of captures reaches the page as text nodes only: nothing here makes HTML from a string.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with properties, attributes (aria-*, data-*, role) and children; strings become text nodes. */
function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "scope" || name === "colspan") node.setAttribute(name, value);
    else if (name === "class") node.className = value;
    else node[name] = value;
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** JSON that was compressed and put into the page as base64. */
async function unpack(id) {
  const node = $("#data-" + id), text = atob(node.textContent), bytes = new Uint8Array(text.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = text.charCodeAt(k); // Uint8Array.from with a function takes ten times as long
  node.remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

/** After what was drawn is on the screen. */
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const number = (value) => grouped.format(value);
const plural = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** ns since the start as seconds, with as many digits as `step` (ns) needs. */
function seconds(ns, step = 1e3) {
  const digits = Math.max(0, Math.min(9, Math.ceil(9 - Math.log10(Math.max(step, 1)) - 1e-9)));
  return (ns / 1e9).toFixed(digits);
}

function duration(ns) {
  const s = ns / 1e9;
  if (s < 0.001) return `${+(s * 1e6).toPrecision(3)} µs`;
  if (s < 1) return `${+(s * 1e3).toPrecision(3)} ms`;
  return s < 100 ? `${+s.toPrecision(4)} s` : `${Math.floor(s / 60)} min ${(s % 60).toFixed(0)} s`;
}

const percent = (share) => (share >= 10 ? `${share.toFixed(0)} %` : share >= 0.05 || share === 0 ? `${share.toFixed(1)} %` : "< 0.1 %");

/** A string that sh reads as one word. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", `'"'"'`) + "'");

async function copyText(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { value: text, class: "sr" });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = done ? "Copied" : "Select it and copy";
  setTimeout(() => (button.textContent = before), 1600);
}

/** A command or filter with its copy button. */
function copyable(text, label) {
  return el("div", { class: "command" },
    el("pre", { tabIndex: 0, "aria-label": label }, el("code", {}, text)),
    el("button", { type: "button", class: "copy", onclick: (event) => copyText(text, event.currentTarget) }, "Copy"));
}

/** Index of the first element of sorted `list` that is greater than `value`. */
function above(list, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
