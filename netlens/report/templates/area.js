// An area of the timeline, chosen by dragging: what happened in it, in numbers.

const areaBox = $("#area");

/** Choose a stretch of time, or null for none. */
function setArea(area) {
  model.area = area;
  drawArea();
  tell("area");
}

/** What falls into a stretch: requests sent and connections opened in it, and the most that was in flight or open at once. */
function statisticsOf({ from, to }) {
  const { bars, calls, core } = model, upstream = core.captures.length - 1, table = tableOf("exchanges", upstream);
  const carried = timeIndex().ofExchange, inside = (t) => t >= from && t < to, out = { sent: 0, refused: 0, unknown: 0, elsewhere: 0, up: 0, down: 0, sized: 0, opened: 0, peaks: {} };
  for (let bar = barsOf(upstream); bar < bars.n; bar++) {
    if (bars.kind[bar] !== OTHER && !bars.early[bar] && inside(bars.start[bar])) out.opened++;
    for (let k = model.callsFrom[bar]; k < model.callsFrom[bar + 1]; k++) {
      if (!inside(calls.start[k])) continue;
      if (calls.request[k] < 0) {
        const same = carried.get(`${upstream} ${calls.exchange[k]}`); // the same request on its way to a relay is not another
        if (same === undefined || core.time.request[same] < 0) out.elsewhere++;
        continue;
      }
      out.sent++;
      if (calls.rejected[k] === REFUSED) out.refused++;
      else if (calls.rejected[k] < 0) out.unknown++;
      if (calls.exchange[k] >= 0 && table) {
        out.sized++;
        out.up += cell(table, "up_bytes", calls.exchange[k]) ?? 0;
        out.down += cell(table, "down_bytes", calls.exchange[k]) ?? 0;
      }
    }
  }
  for (const unit of ["requests", "connections"]) {
    const { t, total } = core.curves[unit].all;
    let most = 0;
    for (let i = Math.max(0, above(t, from) - 1); i < t.length && t[i] < to; i++) if (i + 1 >= t.length || t[i + 1] > from) most = Math.max(most, total[i]);
    out.peaks[unit] = t.length && t[0] < to ? most : 0;
  }
  return out;
}

function size(bytes) {
  for (const [unit, of] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (bytes >= of) return `${+(bytes / of).toPrecision(3)} ${unit}`;
  return plural(bytes, "byte");
}

function drawArea() {
  const { area } = model;
  areaBox.hidden = !area;
  placeArea();
  if (!area) return;
  const s = statisticsOf(area), step = (area.to - area.from) / 100, facts = [];
  facts.push(["requests sent", `${number(s.sent)}${s.elsewhere ? ` (and ${number(s.elsewhere)} to other servers)` : ""}`]);
  facts.push(["refused", `${number(s.refused)}${s.unknown ? `, ${number(s.unknown)} unknown` : ""}`]);
  if (model.core.countable) facts.push(["most in flight", number(s.peaks.requests)]);
  facts.push(["most connections", `${number(s.peaks.connections)}, ${number(s.opened)} opened`]);
  if (s.sized) facts.push(["bytes of them", `${size(s.up)} up, ${size(s.down)} down${s.sized < s.sent ? ` (of ${number(s.sized)})` : ""}`]);
  areaBox.replaceChildren(
    el("strong", {}, `${seconds(area.from, step)} s to ${seconds(area.to, step)} s: ${duration(area.to - area.from)}`),
    el("dl", {}, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("button", { type: "button", title: "Zoom to it (z)", onclick: () => show(area.from, area.to) }, "Zoom to it"),
    el("button", { type: "button", title: "Clear (Esc)", onclick: () => setArea(null) }, "Clear"));
}

/** The shade over the chosen stretch, at its place in the view. */
function placeArea() {
  const { area, view } = model;
  if (drag?.mode === "brush" && drag.moved) return;
  brush.hidden = !area || area.to < view.from || area.from > view.to;
  if (brush.hidden) return;
  const x = scaleX(stage.clientWidth), left = Math.max(GUTTER, x(area.from)), right = Math.min(stage.clientWidth - 8, x(area.to));
  brush.style.left = `${left}px`;
  brush.style.width = `${Math.max(2, right - left)}px`;
}
