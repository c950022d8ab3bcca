// The concurrency curves: shares stacked, the limit, and a cross for every refusal at the count that it met.

const GUTTER = 44; // px left of every chart: numbers of the curve's axis

const theme = { read() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue("--" + name).trim();
  for (const name of ["page", "card", "line", "ink", "pale", "vm", "vm-dark", "host", "host-dark", "unknown", "unknown-dark", "leftover", "companion",
    "companion-dark", "lookups", "lookups-dark", "rejected", "rim", "limit", "grid", "focus", "mark"]) theme[name] = get(name);
  theme.dim = parseFloat(get("dim"));
} };

/** A canvas made ready to be drawn in CSS pixels. */
function surface(canvas) {
  const scale = model.printing ? 2 : window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = '12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
  return { g, width, height };
}

const scaleX = (width, { from, to } = model.view) => (t) => GUTTER + ((t - from) / (to - from)) * (width - GUTTER - 8);
const timeAt = (x, width) => model.view.from + ((x - GUTTER) / (width - GUTTER - 8)) * (model.view.to - model.view.from);

function hatch(g, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const h = tile.getContext("2d");
  h.strokeStyle = colour;
  h.lineWidth = 1.6;
  for (const d of [-6, 0, 6]) { h.moveTo(d, 6); h.lineTo(d + 6, 0); }
  h.stroke();
  return g.createPattern(tile, "repeat");
}

function cross(g, x, y, r = 4.2) {
  for (const [colour, width] of [[theme.rim, 4.6], [theme.rejected, 2.4]]) {
    g.strokeStyle = colour;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(x - r, y - r); g.lineTo(x + r, y + r);
    g.moveTo(x - r, y + r); g.lineTo(x + r, y - r);
    g.stroke();
  }
}

/** Steps of times that look even: 1, 2 or 5 times a power of ten, about `wanted` of them. */
function ticks(from, to, wanted) {
  const raw = Math.max((to - from) / Math.max(1, wanted), 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
  const out = [];
  for (let k = Math.ceil(from / step); k * step <= to && out.length < 100; k++) out.push(k * step);
  return { step, at: out };
}

function gridlines(g, width, height) {
  const x = scaleX(width);
  g.strokeStyle = theme.grid;
  g.lineWidth = 1;
  for (const t of ticks(model.view.from, model.view.to, width / 110).at) {
    const at = Math.round(x(t)) + 0.5;
    if (at < GUTTER) continue;
    g.beginPath(); g.moveTo(at, 0); g.lineTo(at, height); g.stroke();
  }
}

/** The steps of a curve that a view needs: exact where they are few, else the highest total of each pixel. */
function stepsOf(curve, view, pixels) {
  const first = Math.max(0, above(curve.t, view.from) - 1), last = above(curve.t, view.to);
  if (last - first <= 3 * pixels) return { index: Array.from({ length: last - first }, (_, k) => first + k), at: null };
  const index = [], at = [];
  const span = (view.to - view.from) / pixels;
  let k = first;
  for (let p = 0; p < pixels; p++) {
    const until = view.from + (p + 1) * span;
    let best = k;
    while (k + 1 < last && curve.t[k + 1] <= until) { k++; if (curve.total[k] > curve.total[best]) best = k; }
    index.push(best);
    at.push(view.from + p * span);
  }
  return { index, at };
}

function countAt(curve, t) {
  const i = above(curve.t, t) - 1;
  return Object.fromEntries(Object.entries(curve.held).map(([share, held]) => [share, i < 0 ? 0 : held[i]]));
}

/** How much is held in all, of the shares that the legend shows. */
function shownTotal(curve) {
  if (!Object.keys(curve.held).some((share) => model.hidden.has(share))) return curve.total;
  const total = new Float64Array(curve.t.length);
  for (const [share, held] of Object.entries(curve.held)) if (!model.hidden.has(share)) held.forEach((n, i) => (total[i] += n));
  return total;
}

/** The panels shown: [key of the curve, title, limit or null]. */
function panels() {
  const curves = model.core.curves[model.unit], { limit } = model.core;
  const mine = limit && limit.unit === model.unit && limit.scope === model.scope ? limit.value : null;
  const sides = ["vm", "host"].filter((name) => curves[name]);
  if (model.scope === "egress" || sides.length < 1) return [["all", "All together", mine]];
  return sides.map((name) => [name, name === "vm" ? "VM" : "Host itself", mine]);
}

const unitWords = () => (model.unit === "requests" ? "requests in flight" : "connections open");

function refusalsOf(key) {
  const side = { vm: 0, host: 1 }[key];
  const { counted } = model.core;
  const standing = counted && counted.unit === model.unit && (counted.scope === model.scope);
  return model.refusals.filter((k) => side === undefined || model.calls.side[model.calls.request[k]] === side).map((k) => ({ k, met: standing ? model.calls.met[model.calls.request[k]] : null }));
}

function drawCurve(canvas, [key, title, limit]) {
  const { g, width, height } = surface(canvas);
  const curve = model.core.curves[model.unit][key], x = scaleX(width);
  const marks = model.hidden.has("refused") ? [] : refusalsOf(key);
  const total = shownTotal(curve), most = total.reduce((a, b) => Math.max(a, b), 0);
  const top = Math.max(1, ...[limit ?? 0], most, marks.reduce((a, m) => Math.max(a, m.met ?? 0), 0)) * 1.18;
  const foot = height - 6, y = (n) => foot - (n / top) * (foot - 22);
  gridlines(g, width, height);
  g.fillStyle = theme.pale;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const n of ticks(0, top, 5).at.filter(Number.isInteger)) {
    g.fillText(number(n), GUTTER - 7, y(n));
    g.strokeStyle = theme.grid;
    g.beginPath(); g.moveTo(GUTTER, Math.round(y(n)) + 0.5); g.lineTo(width - 8, Math.round(y(n)) + 0.5); g.stroke();
  }
  g.save();
  g.beginPath(); g.rect(GUTTER, 0, width - GUTTER - 8, height); g.clip();
  const { index, at } = stepsOf({ t: curve.t, total }, model.view, Math.max(1, Math.floor(width - GUTTER - 8)));
  const floor = new Float64Array(index.length);
  for (const share of model.core.curves.shares) {
    const held = curve.held[share];
    if (!held || !index.length || model.hidden.has(share)) continue;
    g.beginPath();
    const time = (i) => (at ? at[i] : curve.t[index[i]]);
    const edge = (i) => x(i + 1 < index.length ? time(i + 1) : Math.max(model.view.to, time(i)));
    for (let i = 0; i < index.length; i++) { const level = y(floor[i] + held[index[i]]); g.lineTo(x(time(i)), level); g.lineTo(edge(i), level); }
    for (let i = index.length - 1; i >= 0; i--) { const level = y(floor[i]); g.lineTo(edge(i), level); g.lineTo(x(time(i)), level); }
    g.closePath();
    g.fillStyle = share === "leftover" ? hatch(g, theme.leftover) : theme[share];
    g.fill();
    g.strokeStyle = theme[share + "-dark"] || theme.leftover;
    g.lineWidth = 0.7;
    g.stroke();
    for (let i = 0; i < index.length; i++) floor[i] += held[index[i]];
  }
  const lined = limit !== null && !model.hidden.has("limit");
  if (lined) {
    g.strokeStyle = theme.limit;
    g.lineWidth = 2;
    g.setLineDash([8, 5]);
    g.beginPath(); g.moveTo(GUTTER, y(limit)); g.lineTo(width, y(limit)); g.stroke();
    g.setLineDash([]);
  }
  for (const { k, met } of marks) {
    const at = x(model.calls.start[k]);
    if (at < GUTTER - 6 || at > width + 6) continue;
    const level = met === null ? 16 : y(met);
    if (model.picked?.call >= 0 && model.calls.request[model.picked.call] === model.calls.request[k]) {
      g.fillStyle = theme.focus;
      g.beginPath(); g.arc(at, level, 9, 0, 7); g.fill();
    }
    cross(g, at, level);
  }
  g.restore();
  g.textAlign = "left";
  g.textBaseline = "top";
  label(g, `${title}: ${unitWords()}`, GUTTER + 6, 4, theme.ink, true);
  if (lined) {
    g.textBaseline = "bottom";
    const words = `limit ${number(limit)}`;
    label(g, words, width - 14 - g.measureText(words).width, y(limit) - 3, theme.limit, true);
  }
  canvas.setAttribute("aria-label", `${title}: ${unitWords()} over time, at most ${number(most)}` +
    `${limit === null ? "" : `, limit ${limit}`}; ${plural(marks.length, "refusal")}`);
  canvas.geometry = { y, curve, marks, x };
}

/** Text on a patch of the page's colour, so that what it lies on does not matter. */
function label(g, text, left, at, colour, bold = false) {
  const font = g.font;
  if (bold) g.font = "600 " + font;
  const width = g.measureText(text).width, under = g.textBaseline === "bottom";
  g.globalAlpha = 0.8;
  g.fillStyle = theme.page;
  g.fillRect(left - 3, under ? at - 15 : g.textBaseline === "middle" ? at - 8 : at - 1, width + 6, 16);
  g.globalAlpha = 1;
  g.fillStyle = colour;
  g.fillText(text, left, at);
  g.font = font;
}

function drawAxis(canvas) {
  const { g, width } = surface(canvas), x = scaleX(width);
  const { step, at } = ticks(model.view.from, model.view.to, width / 110);
  g.fillStyle = theme.pale;
  g.textAlign = "center";
  g.textBaseline = "middle";
  for (const t of at) if (x(t) >= GUTTER - 1 && x(t) < width - 20) g.fillText(`${seconds(t, step)} s`, x(t), 13);
}

function drawOverview(canvas) {
  const { g, width, height } = surface(canvas), x = scaleX(width, model.whole);
  const curve = model.core.curves[model.unit].all, top = Math.max(1, curve.total.reduce((a, b) => Math.max(a, b), 0));
  const { index, at } = stepsOf(curve, model.whole, Math.max(1, Math.floor(width - GUTTER)));
  g.fillStyle = theme.pale;
  g.beginPath();
  g.moveTo(index.length ? x(at ? at[0] : curve.t[0]) : GUTTER, height);
  index.forEach((k, i) => {
    const time = at ? at[i] : curve.t[k], next = i + 1 < index.length ? (at ? at[i + 1] : curve.t[index[i + 1]]) : time;
    const level = height - 2 - (curve.total[k] / top) * (height - 12);
    g.lineTo(x(time), level); g.lineTo(x(next), level);
  });
  g.lineTo(width, height);
  g.globalAlpha = 0.5;
  g.fill();
  g.globalAlpha = 1;
  g.fillStyle = theme.rejected;
  for (const k of model.refusals) g.fillRect(x(model.calls.start[k]) - 1, 2, 2, 8);
  const a = x(model.view.from), b = x(model.view.to);
  g.fillStyle = theme.page;
  g.globalAlpha = 0.65;
  g.fillRect(0, 0, Math.max(0, a), height);
  g.fillRect(b, 0, width - b, height);
  g.globalAlpha = 1;
  g.strokeStyle = theme.focus;
  g.lineWidth = 2;
  g.strokeRect(a + 1, 1, Math.max(4, b - a - 2), height - 2);
}
