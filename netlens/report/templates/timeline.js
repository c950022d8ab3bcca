// The timeline: its canvases drawn together, pointer and keys, and the tooltip.

const stage = $("#stage"), tip = $("#tip"), cursor = $("#cursor"), brush = $("#brush");
let asked = 0;

/** Draw everything once, at the next frame of the browser. */
function redraw() {
  if (!asked) asked = requestAnimationFrame(drawNow);
}

function drawNow() {
  asked = 0;
  const wanted = panels(), canvases = $$("#curves canvas");
  while (canvases.length > wanted.length) canvases.pop().remove();
  while (canvases.length < wanted.length) {
    const canvas = el("canvas", { role: "img" });
    $("#curves").append(canvas);
    canvases.push(canvas);
  }
  wanted.forEach((panel, k) => drawCurve(canvases[k], panel));
  groups.forEach(drawGroup);
  lookupLanes.forEach(drawLookups);
  placeArea();
  drawAxis($("#axis"));
  drawOverview($("#overview"));
  for (const button of $$("[data-unit]")) button.setAttribute("aria-pressed", String(button.dataset.unit === model.unit));
  for (const button of $$("[data-scope]")) button.setAttribute("aria-pressed", String(button.dataset.scope === model.scope));
}

function drawLegend() {
  const held = new Set(["requests", "connections"].flatMap((unit) => Object.keys(model.core.curves[unit].all.held)));
  const entry = (title, draw, share = null) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    legend.append(share === null ? el("span", {}, canvas, title) : el("button", { type: "button", "aria-pressed": String(!model.hidden.has(share)), "data-share": share, title: `Show or hide: ${title}`, onclick: () => {
      if (!model.hidden.delete(share)) model.hidden.add(share);
      drawLegend();
      $(`[data-share="${share}"]`, legend).focus();
      tell("view");
    } }, canvas, title));
    const { g } = surface(canvas);
    draw(g);
  };
  const legend = $("#legend");
  legend.replaceChildren();
  for (const share of model.core.curves.shares)
    if (held.has(share)) entry(SHARE_TITLES[share], (g) => {
      g.fillStyle = share === "leftover" ? hatch(g, theme.leftover) : theme[share];
      g.fillRect(0, 0, 22, 12);
      g.strokeStyle = theme[share + "-dark"] || theme.leftover;
      g.strokeRect(0.5, 0.5, 21, 11);
    }, share);
  if (model.bars.n) entry("request inside its connection", (g) => { g.fillStyle = theme.unknown; g.fillRect(0, 0, 22, 12); g.fillStyle = theme["unknown-dark"]; g.fillRect(5, 3, 12, 6); });
  if (model.refusals.length) entry("refused", (g) => cross(g, 11, 6), "refused");
  if (model.core.limit) entry("limit", (g) => { g.strokeStyle = theme.limit; g.lineWidth = 2; g.setLineDash([6, 4]); g.beginPath(); g.moveTo(0, 6); g.lineTo(22, 6); g.stroke(); }, "limit");
  if (lookupLanes.length && !held.has("lookups")) entry("lookup", (g) => { g.fillStyle = theme.lookups; g.fillRect(0, 2, 22, 8); }, "lookups");
  if (lookupLanes.some((made) => made.bad.some(Boolean))) entry("lookup without a good answer", (g) => { g.strokeStyle = theme.rejected; g.lineWidth = 1.6; g.strokeRect(1, 3, 20, 6); });
}

// --- what is under the pointer

function describe(list) {
  return el("dl", {}, list.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
}

function titleOf(bar) {
  const capture = model.core.captures[model.bars.capture[bar]].title;
  return `Connection ${model.bars.row[bar]} (${capture}), ${model.core.groups[model.bars.group[bar]].title}`;
}

function under(event) {
  const canvas = event.target;
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  if (px < GUTTER) return null;
  const group = groups.find((each) => each.canvas === canvas);
  if (group) {
    if (group.mode === "bars") return hit(group, px, py);
    const n = group.counts?.[Math.round(px)];
    return n ? { text: `${plural(n, "connection")} of ${group.title}`, at: timeAt(px, box.width) } : null;
  }
  const lane = lookupLanes.find((each) => each.canvas === canvas);
  if (lane) {
    const row = hitLookup(lane, px, py);
    return row < 0 ? null : { lookup: { capture: lane.index, row }, at: timeAt(px, box.width) };
  }
  if (!canvas.geometry) return null;
  const { curve, marks, y } = canvas.geometry, x = scaleX(box.width);
  let best = null, near = 9;
  for (const mark of marks) {
    const off = Math.hypot(x(model.calls.start[mark.k]) - px, (mark.met === null ? 16 : y(mark.met)) - py);
    if (off < near) { near = off; best = mark; }
  }
  if (best) return { bar: model.calls.bar[best.k], call: best.k };
  return { curve, at: timeAt(px, box.width) };
}

function tooltip(found, event) {
  tip.replaceChildren();
  if (found.bar !== undefined) {
    tip.append(el("h4", {}, titleOf(found.bar)), describe(factsOf(found.bar)));
    if (found.call >= 0) {
      const refused = model.calls.rejected[found.call] === REFUSED, k = model.calls.request[found.call];
      tip.append(el("h4", { class: refused ? "refused-word" : "" }, `${refused ? "Refused request" : "Request"}${k < 0 ? "" : ` ${k}`}`), describe(factsOfCall(found.call)));
    }
    tip.append(el("div", { class: "muted" }, "Click: both sides, and a filter to copy"));
  } else if (found.lookup) tip.append(el("h4", {}, "Lookup"), describe(factsOfLookup(found.lookup)));
  else if (found.curve) {
    const counts = Object.entries(countAt(found.curve, found.at)).filter(([, n]) => n);
    const total = counts.reduce((sum, [, n]) => sum + n, 0);
    tip.append(el("h4", {}, `${number(total)} ${unitWords()} at ${seconds(found.at)} s`), describe(counts.map(([share, n]) => [SHARE_TITLES[share], number(n)])));
    const limit = panels()[0][2];
    if (limit !== null && total >= limit) tip.append(el("div", {}, `The limit (${limit}) is reached: the next request is refused.`));
  } else tip.append(el("h4", {}, found.text), el("div", {}, `at ${seconds(found.at)} s`));
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), right = event.clientX + 16 + box.width > innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX - 16 - box.width : event.clientX + 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 6))}px`;
}

// --- pointer: drag to choose a stretch, shift-drag to pan, the overview pans, two fingers pinch

const pointers = new Map();
let drag = null;

stage.addEventListener("pointerdown", (event) => {
  if (event.target.tagName !== "CANVAS" || event.button > 1) return;
  pointers.set(event.pointerId, event.clientX);
  const box = event.target.getBoundingClientRect();
  const whole = event.target.id === "overview";
  if (whole) {
    const at = model.whole.from + ((event.clientX - box.left - GUTTER) / (box.width - GUTTER - 8)) * (model.whole.to - model.whole.from);
    const { from, to } = model.view;
    if (at < from || at > to) show(at - (to - from) / 2, at + (to - from) / 2);
  }
  const pans = whole || event.shiftKey || event.button === 1 || event.pointerType === "touch";
  drag = { mode: whole ? "overview" : pans ? "pan" : "brush", x: event.clientX, view: { ...model.view }, box, moved: false };
  event.target.setPointerCapture(event.pointerId);
});

stage.addEventListener("pointermove", (event) => {
  if (event.target.tagName !== "CANVAS") return leave();
  const box = event.target.getBoundingClientRect();
  const wide = box.width - GUTTER - 8;
  if (pointers.size === 2 && pointers.has(event.pointerId)) {
    const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)[1];
    const before = Math.abs(pointers.get(event.pointerId) - other), after = Math.abs(event.clientX - other);
    if (before > 10 && after > 10) zoom(before / after, timeAt((event.clientX + other) / 2 - box.left, box.width));
    pointers.set(event.pointerId, event.clientX);
    drag = null;
    return;
  }
  if (drag && pointers.has(event.pointerId)) {
    const moved = event.clientX - drag.x;
    if (!drag.moved && Math.abs(moved) < 5) return;
    drag.moved = true;
    tip.hidden = true;
    const per = (drag.view.to - drag.view.from) / wide;
    if (drag.mode === "pan") show(drag.view.from - moved * per, drag.view.to - moved * per);
    else if (drag.mode === "overview") {
      const far = (moved / wide) * (model.whole.to - model.whole.from);
      show(drag.view.from + far, drag.view.to + far);
    } else {
      const outer = stage.getBoundingClientRect();
      brush.hidden = false;
      brush.style.left = `${Math.min(drag.x, event.clientX) - outer.left}px`;
      brush.style.width = `${Math.abs(moved)}px`;
    }
    return;
  }
  if (event.target.id === "overview" || event.target.id === "axis") return leave();
  const outer = stage.getBoundingClientRect();
  cursor.hidden = event.clientX - outer.left < GUTTER;
  cursor.style.left = `${event.clientX - outer.left}px`;
  const found = under(event);
  if (found) tooltip(found, event);
  else tip.hidden = true;
});

function leave() {
  tip.hidden = true;
  cursor.hidden = true;
}
stage.addEventListener("pointerleave", leave);

stage.addEventListener("pointerup", (event) => {
  pointers.delete(event.pointerId);
  if (!drag) return;
  const { mode, moved, x, box } = drag;
  drag = null;
  placeArea();
  if (mode === "brush" && moved) {
    const ends = [x, event.clientX].map((at) => timeAt(Math.max(GUTTER, at - box.left), box.width)).sort((a, b) => a - b);
    setArea({ from: ends[0], to: ends[1] });
  } else if (!moved && mode !== "overview") {
    const found = under(event);
    if (!found && model.area) setArea(null);
    pick(found && found.bar !== undefined ? { bar: found.bar, call: found.call } : found?.lookup ? { lookup: found.lookup } : null);
    if (event.pointerType === "touch" && found) tip.hidden = true;
  }
});
stage.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); drag = null; placeArea(); });
stage.addEventListener("dblclick", (event) => event.target.tagName === "CANVAS" && show(model.whole.from, model.whole.to));
stage.addEventListener("wheel", (event) => {
  const canvas = event.target;
  if (canvas.tagName !== "CANVAS") return;
  const box = canvas.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.0025), timeAt(event.clientX - box.left, box.width));
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / box.width);
  else if (event.shiftKey) pan(event.deltaY / box.width);
  else return;
  event.preventDefault();
}, { passive: false });

// --- keys

function nextRefusal(step) {
  const { refusals, calls, picked: now, view } = model;
  if (!refusals.length) return;
  let at = now && now.call >= 0 ? refusals.findIndex((k) => calls.request[k] === calls.request[now.call]) : -1;
  if (at < 0) at = step > 0 ? refusals.findIndex((k) => calls.start[k] >= view.from) - 1 : refusals.length;
  const k = refusals[(Math.max(-1, at) + step + refusals.length) % refusals.length];
  pick({ bar: calls.bar[k], call: k }, { reveal: true });
}

function nextConnection(step) {
  const order = groups.filter((g) => g.open).flatMap((g) => g.members);
  if (!order.length) return;
  const at = model.picked ? order.indexOf(model.picked.bar) : -1;
  pick({ bar: order[(at + step + order.length + (at < 0 && step < 0 ? 1 : 0)) % order.length] }, { reveal: true });
}

const KEYS = {
  ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: () => show(model.whole.from, model.whole.to),
  n: () => nextRefusal(1), p: () => nextRefusal(-1), "]": () => nextConnection(1), "[": () => nextConnection(-1), z: () => (model.area ? show(model.area.from, model.area.to) : zoomToPicked()), Escape: () => (model.area ? setArea(null) : pick(null)),
};
stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key] || event.target.tagName === "BUTTON") return;
  KEYS[event.key]();
  event.preventDefault();
  event.stopPropagation();
});

function zoomToPicked() {
  if (!model.picked || model.picked.bar < 0) return;
  const { bar, call } = model.picked, from = call >= 0 ? model.calls.start[call] : model.bars.start[bar], to = call >= 0 ? model.calls.end[call] : model.bars.end[bar];
  const room = Math.max((to - from) * 0.15, 1e6);
  show(from - room, to + room);
}

on("view", redraw);
on("picked", ({ reveal: wanted }) => {
  drawPicked();
  const lookup = wanted && model.picked?.lookup, lane = lookup && lookupLanes.find((each) => each.index === lookup.capture);
  if (lane) reveal(lane.start[lookup.row], Math.max(lane.start[lookup.row], lane.end[lookup.row]));
  if (model.picked && model.picked.bar >= 0) {
    const group = groups[model.bars.group[model.picked.bar]];
    if (!group.open) $("button", group.canvas.previousElementSibling).click();
    if (wanted) {
      const { bar, call } = model.picked;
      reveal(call >= 0 ? model.calls.start[call] : model.bars.start[bar], call >= 0 ? model.calls.end[call] : model.bars.end[bar]);
    }
  }
  redraw();
});
