// Lookups as lanes of their own: a bar from the question to the answer; hollow where none came or the answer was an error.

const lookupLanes = [], LOOKUP_ROW = 7, MOST_LOOKUP_LANES = 24;

function makeLookups(root) {
  model.core.captures.forEach((capture, index) => {
    const table = tableOf("lookups", index), n = table?.by.query_ns.values.length ?? 0;
    if (!n) return;
    const start = Float64Array.from(table.by.query_ns.values, (t) => t ?? -1), end = Float64Array.from(table.by.answer_ns.values, (t) => t ?? -1);
    const order = [...start.keys()].filter((k) => start[k] >= 0).sort((a, b) => start[a] - start[b]), lane = new Int32Array(n), free = [], gap = model.core.span_ns / 400;
    for (const k of order) {
      let at = free.findIndex((until) => until <= start[k]);
      if (at < 0) at = free.length < MOST_LOOKUP_LANES ? free.push(0) - 1 : k % MOST_LOOKUP_LANES;
      free[at] = Math.max(start[k], end[k]) + gap;
      lane[k] = at;
    }
    const bad = Uint8Array.from(table.by.rcode.values, (rcode, k) => (end[k] < 0 ? 2 : rcode === "NOERROR" || rcode === null ? 0 : 1));
    const canvas = el("canvas", { class: "lane-canvas", role: "img" }), failed = bad.reduce((sum, b) => sum + (b ? 1 : 0), 0);
    const head = el("div", { class: "lane-head" }, el("span", { class: "who" }, model.core.captures.length > 1 ? `at ${capture.title}` : "seen"), el("span", { class: "name" }, "lookups"),
      el("span", { class: "count" }, `${number(n)}${failed ? `, ${number(failed)} failed or unanswered` : ""}`));
    const made = { index, table, order, start, end, bad, lane, lanes: Math.max(1, free.length), canvas };
    canvas.setAttribute("aria-label", `${capture.title}: ${plural(n, "lookup")}, ${number(failed)} failed or without an answer; the tables below list them`);
    canvas.style.height = `${made.lanes * LOOKUP_ROW + 6}px`;
    root.append(head, canvas);
    lookupLanes.push(made);
  });
}

function drawLookups(made) {
  const { g, width, height } = surface(made.canvas), x = scaleX(width), { from, to } = model.view;
  gridlines(g, width, height);
  if (model.hidden.has("lookups")) return;
  g.save();
  g.beginPath(); g.rect(GUTTER, 0, width - GUTTER - 8, height); g.clip();
  const mine = model.picked?.lookup;
  for (const k of made.order) {
    const end = made.end[k] < 0 ? made.start[k] : made.end[k];
    if (made.start[k] > to || end < from) continue;
    const left = x(made.start[k]), wide = Math.max(3, x(end) - left), top = made.lane[k] * LOOKUP_ROW + 3;
    g.globalAlpha = model.hits && !model.hits.lookups[made.index]?.has(k) ? theme.dim : 1;
    g.fillStyle = made.bad[k] ? theme.page : theme.lookups;
    g.strokeStyle = made.bad[k] ? theme.rejected : theme["lookups-dark"];
    g.lineWidth = made.bad[k] ? 1.6 : 0.7;
    g.fillRect(left, top, wide, LOOKUP_ROW - 2);
    g.strokeRect(left + 0.4, top + 0.4, wide - 0.8, LOOKUP_ROW - 2.8);
    if (mine?.capture === made.index && mine.row === k) { g.strokeStyle = theme.focus; g.lineWidth = 2.5; g.strokeRect(left - 2, top - 2, wide + 4, LOOKUP_ROW + 2); }
  }
  g.restore();
}

/** The lookup at a place of a lane's canvas; -1 without. */
function hitLookup(made, px, py) {
  const x = scaleX(made.canvas.clientWidth), lane = Math.floor((py - 3) / LOOKUP_ROW);
  let best = -1, near = 5;
  for (const k of made.order) {
    if (Math.abs(made.lane[k] - lane) > 0) continue;
    const left = x(made.start[k]), right = Math.max(left + 3, x(made.end[k])), off = Math.max(left - px, px - right, 0);
    if (off < near) { near = off; best = k; }
  }
  return best;
}

/** What a lookup is, for tooltip and panel. */
function factsOfLookup({ capture, row }) {
  const table = tableOf("lookups", capture), get = (name) => cell(table, name, row), out = [];
  out.push(["name", get("qname")], ["type", get("qtype")], ["result", get("rcode") ?? "no answer"]);
  if (get("answers")?.length) out.push(["answers", get("answers").join(", ")]);
  out.push(["asked", `${seconds(get("query_ns"))} s${get("attempts") > 1 ? `, ${get("attempts")} times` : ""}`]);
  if (get("latency_ms") !== null) out.push(["answered after", `${+get("latency_ms").toPrecision(4)} ms`]);
  out.push(["by", `${get("orig_ip")}, of ${get("resolver_ip")} (${get("transport")})`]);
  const frames = [get("query_frame"), get("answer_frame")].filter((frame) => frame !== null);
  out.push(["frames", frames.map(number).join(", ")]);
  return out;
}

function lookupSection(lookup) {
  const table = tableOf("lookups", lookup.capture), frames = ["query_frame", "answer_frame"].map((name) => cell(table, name, lookup.row)).filter((frame) => frame !== null);
  const followed = cell(table, "connection_ids", lookup.row) ?? [], capture = model.core.captures[lookup.capture];
  return [describe(factsOfLookup(lookup)),
    followed.length ? el("p", { class: "met-then" }, "Connections that followed: ", followed.slice(0, 12).map((row) => el("button", { type: "button", class: "chip", onclick: () => pick({ bar: barsOf(lookup.capture) + row }, { reveal: true }) }, `connection ${number(row)}`))) : null,
    el("div", { class: "muted" }, `Wireshark display filter for ${capture.paths.join(", ")}`), copyable(frames.map((frame) => `frame.number == ${frame}`).join(" || "), "Wireshark display filter of the lookup")].filter(Boolean);
}
