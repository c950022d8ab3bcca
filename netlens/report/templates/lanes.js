// Connections as bars, by capture, target and whose they are. A group with more connections in view than can be told apart is a strip that says how many.

const MOST_LANES = 140; // lanes drawn as bars, at 5 px a screen full; more are a strip
const STRIP = 58; // px

const groups = [];

function makeGroups(root) {
  model.core.groups.forEach((group, index) => {
    const members = [];
    for (let bar = 0; bar < model.bars.n; bar++) if (model.bars.group[bar] === index) members.push(bar);
    members.sort((a, b) => model.bars.start[a] - model.bars.start[b]);
    const made = { ...group, index, members, open: group.target, lane: new Map(), lanes: 0, drawn: [], mode: "bars" };
    packLanes(made);
    const canvas = el("canvas", { class: "lane-canvas", role: "img" });
    const toggle = el("button", { type: "button", "aria-expanded": String(made.open), onclick: () => {
      made.open = !made.open;
      toggle.setAttribute("aria-expanded", String(made.open));
      tell("view");
    } }, group.title);
    made.canvas = canvas;
    made.count = el("span", { class: "count" });
    root.append(el("div", { class: "lane-head" }, el("span", { class: "who" }, model.core.captures.length > 1 ? `at ${model.core.captures[group.capture].title}` : "seen"), toggle, made.count), canvas);
    groups.push(made);
  });
}

/** The first lane that is free again, for each connection; with very many, any lane that is. */
function packLanes(group) {
  const { bars, core } = model, gap = core.span_ns / 500, free = [];
  const close = group.members.length > 3000;
  for (const bar of group.members) {
    let lane = -1;
    if (!close) lane = free.findIndex((until) => until <= bars.start[bar]);
    else for (let k = 0; k < Math.min(free.length, 64) && lane < 0; k++) if (free[k] <= bars.start[bar]) lane = k;
    if (lane < 0) lane = close && free.length >= 4096 ? bar % 4096 : free.push(0) - 1;
    free[lane] = (bars.late[bar] ? core.span_ns : bars.end[bar]) + gap;
    group.lane.set(bar, lane);
  }
  group.lanes = free.length;
}

const colourOf = (bar) => {
  const kind = model.bars.kind[bar];
  return kind === 1 ? "companion" : kind === 2 ? "lookups" : ["vm", "host", "unknown"][model.bars.whose[bar]];
};

function drawGroup(group) {
  const { bars, view } = model;
  const seen = group.members.filter((bar) => !model.hidden.has(colourOf(bar)) && bars.start[bar] <= view.to && (bars.end[bar] >= view.from || bars.late[bar]));
  const used = [...new Set(seen.map((bar) => group.lane.get(bar)))].sort((a, b) => a - b);
  group.mode = group.open && used.length <= MOST_LANES ? "bars" : "strip";
  const all = group.lanes <= MOST_LANES; // lanes keep their place unless there are too many
  const lanes = all ? group.lanes : used.length;
  const row = lanes <= 14 ? 18 : lanes <= 28 ? 13 : lanes <= 60 ? 8 : 5;
  const height = group.mode === "bars" ? lanes * row + 8 : group.open ? STRIP : 26;
  if (group.height !== height) group.canvas.style.height = `${(group.height = height)}px`;
  const { g, width } = surface(group.canvas);
  gridlines(g, width, height);
  group.count.textContent = `${plural(group.members.length, "connection")}${seen.length === group.members.length ? "" : `, ${number(seen.length)} in view`}`;
  const place = all ? (bar) => group.lane.get(bar) : ((index) => (bar) => index.get(group.lane.get(bar)))(new Map(used.map((lane, k) => [lane, k])));
  g.save();
  g.beginPath(); g.rect(GUTTER, 0, width - GUTTER - 8, height); g.clip();
  group.drawn = [];
  if (group.mode === "bars") for (const bar of seen) drawBar(g, group, bar, place(bar) * row + 4, row - (row > 6 ? 3 : 1), width);
  else drawStrip(g, group, seen, width, height);
  g.restore();
  group.canvas.setAttribute("aria-label", `${model.core.captures[group.capture].title}: ${group.title}, ${plural(group.members.length, "connection")}, ${seen.length} in view; the tables below list them`);
}

function drawBar(g, group, bar, top, tall, width) {
  const { bars, calls } = model, x = scaleX(width), colour = colourOf(bar), any = model.hits ? true : model.picked !== null && model.picked.bar >= 0;
  const left = x(bars.start[bar]), right = Math.max(x(bars.end[bar]), left + 2), mine = isPicked(bar), bright = mine || (model.hits ? model.hits.bars.has(bar) : !any);
  g.globalAlpha = bright ? 1 : theme.dim;
  const clip = (v) => Math.min(Math.max(v, -10), width + 10);
  const over = bars.done[bar] >= 0 ? x(bars.done[bar]) : right, done = right - over > 2 && !model.hidden.has("leftover") ? over : right; // a tail of two pixels is none
  g.fillStyle = theme[colour];
  g.fillRect(clip(left), top, Math.max(1.5, clip(Math.min(done, right)) - clip(left)), tall);
  if (done < right) {
    g.fillStyle = theme.page;
    g.fillRect(clip(done), top, clip(right) - clip(done), tall);
    g.fillStyle = hatch(g, theme.leftover);
    g.fillRect(clip(done), top, clip(right) - clip(done), tall);
  }
  if (bars.early[bar] || bars.late[bar]) {
    g.fillStyle = hatch(g, theme[colour]);
    if (bars.early[bar]) g.fillRect(clip(x(0)), top + 2, clip(left) - clip(x(0)), tall - 4);
    if (bars.late[bar]) g.fillRect(clip(right), top + 2, clip(x(model.core.span_ns)) - clip(right), tall - 4);
  }
  g.strokeStyle = done < right ? theme.leftover : theme[colour + "-dark"];
  g.lineWidth = 0.8;
  g.strokeRect(clip(left) + 0.4, top + 0.4, Math.max(1.2, clip(right) - clip(left) - 0.8), tall - 0.8);
  const inset = tall > 9 ? 3 : tall > 4 ? 1.5 : 1;
  let last = -1;
  for (let k = model.callsFrom[bar]; k < model.callsFrom[bar + 1]; k++) {
    const from = x(calls.start[k]), to = Math.max(x(calls.end[k]), from + 1.5);
    if (to < GUTTER || from > width || to <= last) continue;
    const over = Math.max(from + 1, Math.min(x(calls.done[k]), to));
    g.fillStyle = calls.rejected[k] === REFUSED ? theme.rejected : theme[colour + "-dark"];
    g.fillRect(clip(from), top + inset, Math.max(1.5, clip(over) - clip(from)), tall - 2 * inset);
    if (over < to - 1) {
      g.globalAlpha *= 0.45;
      g.fillRect(clip(over), top + inset, clip(to) - clip(over), tall - 2 * inset);
      g.globalAlpha = bright ? 1 : theme.dim;
    }
    last = to;
  }
  for (let k = model.callsFrom[bar]; k < model.callsFrom[bar + 1]; k++)
    if (!model.hidden.has("refused") && calls.rejected[k] === REFUSED && x(calls.start[k]) > GUTTER - 8 && x(calls.start[k]) < width + 8) cross(g, x(calls.start[k]), top + tall / 2, Math.max(2, Math.min(4.2, tall / 2.6)));
  g.globalAlpha = 1;
  if (mine) {
    g.strokeStyle = theme.focus;
    g.lineWidth = 2.5;
    g.strokeRect(clip(left) - 2.5, top - 2, clip(right) - clip(left) + 5, tall + 4);
  }
  group.drawn.push({ bar, left, right, top, bottom: top + tall });
}

/** How many are open at each pixel; what touches a pixel counts in it. */
function drawStrip(g, group, seen, width, height) {
  const x = scaleX(width), pixels = Math.ceil(width) + 2, change = new Int32Array(pixels + 1), refused = new Set();
  for (const bar of seen) {
    const from = Math.max(0, Math.floor(x(model.bars.start[bar]))), to = Math.min(pixels - 1, Math.floor(x(model.bars.end[bar])));
    if (to < from) continue;
    change[from]++;
    change[to + 1]--;
    for (let k = model.callsFrom[bar]; k < model.callsFrom[bar + 1]; k++) if (model.calls.rejected[k] === REFUSED) refused.add(Math.round(x(model.calls.start[k]) / 4) * 4);
  }
  let open = 0, most = 0;
  const counts = new Int32Array(pixels);
  for (let p = 0; p < pixels; p++) most = Math.max(most, (counts[p] = open += change[p]));
  group.counts = counts;
  g.fillStyle = seen.length ? theme[colourOf(seen[0])] : theme.unknown;
  const foot = height - 2, tall = height - (refused.size ? 14 : 6);
  for (let p = 0; p < pixels; p++) if (counts[p]) g.fillRect(p, foot - Math.max(1, (counts[p] / Math.max(1, most)) * tall), 1, foot);
  for (const at of refused) cross(g, at, 6, 3);
  if (group.open && most) {
    g.textAlign = "left";
    g.textBaseline = "top";
    label(g, `at most ${number(most)} at once; zoom in to see each`, GUTTER + 6, 2, theme.ink);
  }
}

/** The bar, and the call in it, at a place of a group's canvas. */
function hit(group, px, py) {
  let best = null, near = 5;
  for (const each of group.drawn) {
    if (py < each.top - 2 || py > each.bottom + 2) continue;
    const off = Math.max(each.left - px, px - each.right, 0);
    if (off < near || (off === near && best && isPicked(each.bar))) { near = off; best = each; }
  }
  if (!best) return null;
  const x = scaleX(group.canvas.clientWidth), { calls } = model;
  let call = -1, distance = 5;
  for (let k = model.callsFrom[best.bar]; k < model.callsFrom[best.bar + 1]; k++) {
    const from = x(calls.start[k]), to = x(calls.end[k]);
    const off = Math.max(from - px, px - to, 0) - (calls.rejected[k] === REFUSED && Math.abs(px - from) < 6 ? 10 : 0);
    if (off < distance) { distance = off; call = k; }
  }
  return { bar: best.bar, call };
}
