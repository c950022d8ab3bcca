// Where each request's time went: a bar of phases a request, in pages; all on one time line, or each from its own beginning. A click shows its chain.

const ROWS = 30, ROWS_PRINTED = 200, SVG = "http://www.w3.org/2000/svg", LEAST = 2; // px of the shortest request
const PHASE_WORDS = {
  client: "client", lookup: "lookup", connect: "connect", tls: "TLS", relay: "relay", wire: "wire", server: "server, to first byte", unanswered: "unanswered", stream: "stream", stall: "stall",
};
const water = { order: "sent", aligned: false, page: 0, rows: [] };

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function titled(text) {
  const title = svg("title", {});
  title.textContent = text;
  return title;
}

/** The spells of a request: {phase, relay, from, to}, ns since its beginning. */
function spellsOf(k) {
  const { time } = model.core, flat = time.spells[k], out = [];
  for (let i = 0, at = 0; i < flat.length; i += 3) out.push({ phase: time.phases[flat[i]], relay: flat[i + 1], from: at, to: (at += flat[i + 2]) });
  return out;
}

const totalOf = (k) => model.core.time.spells[k].reduce((sum, value, i) => (i % 3 === 2 ? sum + value : sum), 0);
const phaseName = (k, spell) => (spell.phase === "relay" && spell.relay >= 0 ? model.core.time.labels[model.core.time.relays[k][spell.relay]] : PHASE_WORDS[spell.phase]);

/** Each phase of a request with its whole time, relays by name, in the order in which they begin. */
function sumsOf(k) {
  const sums = new Map();
  for (const spell of spellsOf(k)) {
    const name = phaseName(k, spell), sum = sums.get(name) ?? { phase: spell.phase, ns: 0 };
    sum.ns += spell.to - spell.from;
    sums.set(name, sum);
  }
  return [...sums].filter(([, sum]) => sum.ns > 0);
}

function makeWaterfall() {
  const { time } = model.core;
  water.rows = [...time.begin.keys()];
  if (!water.rows.length) return;
  $("#waterfall").hidden = false;
  for (const button of $$("[data-order]")) button.addEventListener("click", () => { Object.assign(water, { order: button.dataset.order, page: 0 }); orderWaterfall(); tell("shown"); });
  for (const button of $$("[data-aligned]")) button.addEventListener("click", () => { water.aligned = button.dataset.aligned === "yes"; drawWaterfall(); tell("shown"); });
  $("#water-back").addEventListener("click", () => turnWaterfall(-1));
  $("#water-on").addEventListener("click", () => turnWaterfall(1));
  orderWaterfall();
  new ResizeObserver(() => drawWaterfall()).observe($("#waterfall"));
  on("picked", () => { for (const row of $$("#water-rows tr")) row.classList.toggle("picked", Number($("button", row).dataset.water) === model.picked?.time); });
}

function turnWaterfall(by) {
  water.page += by;
  drawWaterfall();
}

function orderWaterfall() {
  const { begin } = model.core.time, total = begin.map((_, k) => totalOf(k));
  water.rows.sort(water.order === "slowest" ? (a, b) => total[b] - total[a] : (a, b) => begin[a] - begin[b]);
  drawWaterfall();
}

function drawWaterfall() {
  const { time } = model.core, rows = model.printing ? ROWS_PRINTED : ROWS, pages = Math.max(1, Math.ceil(water.rows.length / rows));
  const page = Math.min(Math.max(water.page, 0), pages - 1), first = model.printing ? 0 : page * rows;
  if (!model.printing) water.page = page;
  const shown = water.rows.slice(first, first + rows);
  for (const button of $$("[data-order]")) button.setAttribute("aria-pressed", String(button.dataset.order === water.order));
  for (const button of $$("[data-aligned]")) button.setAttribute("aria-pressed", String((button.dataset.aligned === "yes") === water.aligned));
  $("#water-back").disabled = page === 0;
  $("#water-on").disabled = page === pages - 1;
  $("#water-which").textContent = `${number(first + 1)} to ${number(first + shown.length)} of ${number(water.rows.length)}`;
  $("#water-printed").textContent = `Requests ${$("#water-which").textContent}${water.order === "slowest" ? ", the slowest first" : ", as sent"}`;
  const from = water.aligned ? 0 : Math.min(...shown.map((k) => time.begin[k]));
  const to = Math.max(from + 1, ...shown.map((k) => (water.aligned ? 0 : time.begin[k]) + totalOf(k)));
  const body = $("#water-rows"), wide = Math.max(120, $("#water-axis").clientWidth - 2);
  const x = (ns) => ((ns - from) / (to - from)) * wide;
  const { step, at: marks } = ticks(from, to, Math.max(2, Math.floor(wide / 110)));
  $("#water-axis").replaceChildren(svg("svg", { height: 18, "aria-hidden": "true" }, ...marks.map((at) => {
    const text = svg("text", { x: `${(100 * Math.min(x(at), wide - 34)) / wide}%`, y: 13, class: "tick" });
    text.textContent = !at ? "0" : water.aligned ? duration(at) : `${seconds(at, step)} s`;
    return text;
  })));
  body.replaceChildren(...shown.map((k) => waterRow(k, x, wide, marks)));
  drawPhases(shown);
}

function waterRow(k, x, wide, marks) {
  const { time } = model.core, begin = water.aligned ? 0 : time.begin[k], total = totalOf(k), sums = sumsOf(k);
  const refused = time.refused[k] === REFUSED, server = time.labels[time.server[k]], party = time.labels[time.party[k]];
  const drawing = svg("svg", { viewBox: `0 0 ${wide} 16`, preserveAspectRatio: "none", height: 16, "aria-hidden": "true" }, ...marks.map((at) => svg("line", { x1: x(at), x2: x(at), y1: 0, y2: 16, class: "grid" })));
  const spells = x(begin + total) - x(begin) < LEAST ? [] : spellsOf(k).filter((spell) => spell.to > spell.from);
  for (const spell of spells) {
    const stall = spell.phase === "stall";
    drawing.append(svg("rect", { x: x(begin + spell.from), y: stall ? 0 : 2, width: x(spell.to) - x(spell.from), height: stall ? 16 : 12, class: `phase-${spell.phase}` }, titled(`${phaseName(k, spell)}: ${duration(spell.to - spell.from)}`)));
  }
  if (!spells.length) {
    const most = sums.reduce((a, b) => (b[1].ns > a[1].ns ? b : a), ["client", { phase: "client", ns: 0 }]);
    drawing.append(svg("rect", { x: x(begin), y: 2, width: LEAST, height: 12, class: `phase-${most[1].phase}` }, titled(`${most[0]}: ${duration(most[1].ns)}`)));
  }
  const said = sums.map(([name, sum]) => `${name} ${duration(sum.ns)}`).join(", ");
  const status = refused ? el("span", { class: "refused-word" }, "refused") : time.status[k] ? `${time.status[k]}` : "";
  const chosen = () => pick({ ...placeOf(k), time: k }, { reveal: true });
  const who = el("button", { type: "button", class: "water-who", title: `${party} to ${server}: ${said}`, onclick: chosen }, `${party} > ${server}`);
  who.dataset.water = k;
  return el("tr", { class: model.picked?.time === k ? "picked" : null },
    el("th", { scope: "row" }, who, refused ? el("span", { class: "refused-word phone-only" }, "refused") : null), el("td", { class: "state" }, status), el("td", { class: "drawn", onclick: chosen }, drawing), el("td", { class: "number" }, duration(total)));
}

/** The legend: the phases that are drawn, with their time. */
function drawPhases(shown) {
  const sums = Object.fromEntries(model.core.time.phases.map((phase) => [phase, 0]));
  for (const k of shown) for (const spell of spellsOf(k)) sums[spell.phase] += spell.to - spell.from;
  $("#water-legend").replaceChildren(...Object.entries(sums).filter(([, ns]) => ns > 0).map(([phase, ns]) => el("span", {}, el("span", { class: `key phase-${phase}` }), `${PHASE_WORDS[phase]} `, el("span", { class: "muted" }, duration(ns)))));
}
