// The data of the page, what is picked, and what is shown. Parts of the page listen to events of `bus`.

const bus = new EventTarget();
const tell = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
const on = (name, heard) => bus.addEventListener(name, (event) => heard(event.detail));

const model = { core: null, tables: null, view: { from: 0, to: 1 }, unit: "requests", scope: "egress", picked: null, area: null, hidden: new Set(), hits: null, theme: null };
const OTHER = 3, REFUSED = 1;
const SHARE_TITLES = {
  vm: "VM", host: "host itself", unknown: "side unknown", leftover: "left over (tail, idle)", companion: "opened by the tunnel", lookups: "lookups",
};

function prepare(core) {
  model.core = core;
  model.bars = { n: core.bars.row.length };
  for (const [name, values] of Object.entries(core.bars)) model.bars[name] = Float64Array.from(values);
  model.calls = { n: core.calls.bar.length, met: core.calls.met, side: core.calls.side };
  for (const name of ["bar", "start", "end", "done", "rejected", "request", "exchange"]) model.calls[name] = Float64Array.from(core.calls[name]);
  // calls stand in order of (bar, start): those of a bar are a stretch
  model.callsFrom = new Int32Array(model.bars.n + 1);
  for (const bar of core.calls.bar) model.callsFrom[bar + 1]++;
  for (let k = 0; k < model.bars.n; k++) model.callsFrom[k + 1] += model.callsFrom[k];
  for (const unit of ["requests", "connections"])
    for (const curve of Object.values(core.curves[unit])) {
      let t = 0;
      curve.t = Float64Array.from(curve.dt, (d) => (t += d));
      curve.total = new Float64Array(curve.t.length);
      for (const held of Object.values(curve.held)) held.forEach((n, i) => (curve.total[i] += n));
    }
  const upstream = core.captures.length - 1;
  model.refusals = [];
  for (let k = 0; k < model.calls.n; k++) {
    const bar = model.calls.bar[k];
    if (model.calls.rejected[k] === REFUSED && model.bars.capture[bar] === upstream && model.calls.request[k] >= 0) model.refusals.push(k);
  }
  model.refusals.sort((a, b) => model.calls.start[a] - model.calls.start[b]);
  const shown = core.limit ?? core.counted;
  model.unit = shown?.unit ?? (core.countable ? "requests" : "connections");
  model.scope = shown?.scope ?? "egress";
  model.whole = { from: -0.01 * core.span_ns, to: 1.01 * core.span_ns };
  model.view = { ...model.whole };
}

/** The table of a kind of a capture; columns by name in `.by`. */
function tableOf(kind, capture) {
  const table = model.tables?.find((t) => t.kind === kind && (t.capture === capture || t.capture === null));
  if (table && !table.by) table.by = Object.fromEntries(table.columns.map((c) => [c.name, c]));
  return table;
}

const cell = (table, name, row) => table?.by[name]?.values[row] ?? null;
const barsOf = (capture) => (model.barOffset ??= model.core.captures.map((_, n) => model.core.bars.capture.indexOf(n)))[capture];

/** The connection of a capture that a session belongs to, as a bar; -1 without. */
function barOfSession(capture, session) {
  model.ownerOf ??= [];
  if (!model.ownerOf[capture]) {
    const owner = (model.ownerOf[capture] = new Map());
    tableOf("connections", capture)?.by.session_ids.values.forEach((ids, row) => ids.forEach((id) => owner.set(id, row)));
  }
  const row = model.ownerOf[capture].get(session);
  return row === undefined ? -1 : barsOf(capture) + row;
}

/** Pick a bar, and perhaps one of its calls, a row of the time budget, a lookup and a frame; null lets go. */
function pick(picked, { reveal = false } = {}) {
  model.picked = picked === null ? null : { bar: -1, call: -1, time: -1, lookup: null, frame: null, ...picked };
  if (model.picked && model.picked.time < 0) model.picked.time = timeOf(model.picked);
  tell("picked", { reveal });
}

/** The passes of a request: {capture, exchange, start, sent, answered, end}, ns since it began; from the program to the server. */
function passesOf(k) {
  const flat = model.core.time.passes[k], out = [];
  for (let i = 0; i < flat.length; i += 6) out.push({ capture: flat[i], exchange: flat[i + 1], start: flat[i + 2], sent: flat[i + 3], answered: flat[i + 4], end: flat[i + 5] });
  return out;
}

/** Which rows of the time budget are of a request of the target, by its number; and of any other, by capture and exchange. */
function timeIndex() {
  if (!model.times) {
    model.times = { ofRequest: new Map(), ofExchange: new Map() };
    model.core.time.request.forEach((request, k) => {
      if (request >= 0) model.times.ofRequest.set(request, k);
      for (const pass of passesOf(k)) if (pass.exchange >= 0) model.times.ofExchange.set(`${pass.capture} ${pass.exchange}`, k);
    });
  }
  return model.times;
}

/** The row of the time budget of a call; of a bar, that of its first call that has one; -1 without. */
function timeOf({ bar, call }) {
  if (bar < 0) return -1;
  const index = timeIndex(), { bars, calls } = model;
  const one = (c) => index.ofRequest.get(calls.request[c]) ?? index.ofExchange.get(`${bars.capture[bar]} ${calls.exchange[c]}`) ?? -1;
  if (call >= 0) return one(call);
  for (let c = model.callsFrom[bar]; c < model.callsFrom[bar + 1]; c++) if (one(c) >= 0) return one(c);
  return -1;
}

/** The bar and the call of a row of the time budget: as the program's capture shows it, else as any. */
function placeOf(k) {
  const request = model.core.time.request[k], passes = passesOf(k), { calls } = model;
  for (const { capture, exchange } of passes) {
    if (exchange < 0) continue;
    const bar = barOfSession(capture, cell(tableOf("exchanges", capture), "session_id", exchange));
    if (bar < 0) continue;
    for (let c = model.callsFrom[bar]; c < model.callsFrom[bar + 1]; c++) if (calls.exchange[c] === exchange || (request >= 0 && calls.request[c] === request)) return { bar, call: c };
    return { bar, call: -1 };
  }
  const call = request < 0 ? -1 : calls.request.indexOf(request);
  return call < 0 ? { bar: -1, call: -1 } : { bar: calls.bar[call], call };
}

const isPicked = (bar) => model.picked !== null && (model.picked.bar === bar || (model.bars.mate[bar] >= 0 && model.bars.mate[bar] === model.picked.bar));

function show(from, to) {
  const { whole } = model, most = whole.to - whole.from;
  const span = Math.min(Math.max(to - from, 1e4), most); // 10 µs: below it capture times mean nothing
  let start = from + (to - from - span) / 2;
  start = Math.min(Math.max(start, whole.from), whole.to - span);
  model.view = { from: start, to: start + span };
  tell("view");
}

function zoom(factor, at = (model.view.from + model.view.to) / 2) {
  const { from, to } = model.view;
  show(at - (at - from) * factor, at + (to - at) * factor);
}

const pan = (share) => show(model.view.from + share * (model.view.to - model.view.from), model.view.to + share * (model.view.to - model.view.from));

function reveal(start, end) {
  const { from, to } = model.view;
  if (start >= from && end <= to && end - start > (to - from) / 60) return;
  const span = Math.max((end - start) * 3, Math.min(to - from, model.core.span_ns / 8));
  show((start + end - span) / 2, (start + end + span) / 2);
}

const endpointOf = (ip, port) => (String(ip).includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);

/** What a connection is, for tooltip and panel: [name, value] pairs. */
function factsOf(bar) {
  const { bars, core } = model, capture = bars.capture[bar], row = bars.row[bar], table = tableOf("connections", capture);
  const get = (name) => cell(table, name, row);
  const out = [];
  const fact = (name, value) => value !== null && value !== undefined && value !== "" && out.push([name, value]);
  if (table && row < (table.by.orig_ip?.values.length ?? 0)) {
    fact("from", endpointOf(get("orig_ip"), get("orig_port")));
    fact("to", endpointOf(get("resp_ip"), get("resp_port")));
    fact("server name", get("sni"));
    fact("path", get("path"));
  }
  fact("whose", { 0: "the VM's", 1: "the host's own", 2: "unknown" }[bars.whose[bar]]);
  if (bars.kind[bar] === 1) fact("kind", "opened by the tunnel beside another");
  if (bars.kind[bar] === 2) fact("kind", "lookups over TCP");
  fact("opened", `${seconds(bars.start[bar])} s${bars.early[bar] ? " (open before the capture)" : ""}`);
  fact("closed", `${seconds(bars.end[bar])} s${bars.late[bar] ? " (close not captured)" : ""}, after ${duration(bars.end[bar] - bars.start[bar])}`);
  if (bars.done[bar] >= 0 && bars.end[bar] - bars.done[bar] > 1e6) fact("tail", `${duration(bars.end[bar] - bars.done[bar])} after the program closed it`);
  if (table && row < (table.by.orig_ip?.values.length ?? 0)) {
    fact("state", get("state"));
    fact("bytes", `${number(get("orig_bytes"))} up, ${number(get("resp_bytes"))} down`);
    if (get("redirect_port") !== null) fact("redirected to port", get("redirect_port"));
    if (get("nat_ip") !== null) fact("after NAT", endpointOf(get("nat_ip"), get("nat_port")));
    fact("sessions", get("session_ids").join(", "));
    fact("frames", `${number(get("first_frame"))} to ${number(get("last_frame"))} (${core.captures[capture].title})`);
  }
  return out;
}

function factsOfCall(call) {
  const { calls } = model, out = [];
  const k = calls.request[call], table = tableOf("requests", null);
  out.push(["sent", `${seconds(calls.start[call])} s, held ${duration(calls.end[call] - calls.start[call])}`]);
  if (k >= 0 && table) {
    const get = (name) => cell(table, name, k);
    out.push(["outcome", get("outcome") + (get("told by") ? ` (told by: ${get("told by")})` : "")]);
    if (calls.met[k] !== undefined && model.core.counted) out.push(["met", `${plural(calls.met[k], "other")} (${model.core.counted.rule})`]);
    if (get("tail") > 0.001) out.push(["tail", `${get("tail").toPrecision(3)} s after the program was done`]);
    if (get("stream") !== null) out.push(["HTTP/2 stream", get("stream")]);
    const frames = [["VM", get("VM frame")], ["host", get("host frame")]].filter(([, f]) => f !== null).map(([side, f]) => `${side} ${number(f)}`);
    out.push(["frames", frames.join(", ")]);
  }
  return out;
}

/** What a request met: bars and calls nearest to the provider that held a place when it was sent, by the unit and scope that are counted. */
function othersAt(call) {
  const { counted, captures } = model.core, { bars, calls } = model;
  if (!counted || call < 0 || calls.request[call] < 0) return [];
  const upstream = captures.length - 1, request = calls.request[call];
  let own = -1;
  for (const bar of [calls.bar[call], bars.mate[calls.bar[call]]]) if (bar >= 0 && bars.capture[bar] === upstream) own = bar;
  if (own < 0) return [];
  let at = calls.start[call]; // as sent upstream
  for (let k = model.callsFrom[own]; k < model.callsFrom[own + 1]; k++) if (calls.request[k] === request) at = calls.start[k];
  const out = [];
  for (let bar = barsOf(upstream); bar < bars.n && out.length < 50; bar++) {
    if (bars.kind[bar] === OTHER || bars.start[bar] > at || (bars.end[bar] <= at && counted.unit === "connections")) continue;
    if (counted.unit === "connections") {
      if (bar !== own && (counted.scope !== "side" || bars.whose[bar] === bars.whose[own])) out.push({ bar, call: -1, left: bars.done[bar] >= 0 && bars.done[bar] <= at });
      continue;
    }
    for (let k = model.callsFrom[bar]; k < model.callsFrom[bar + 1]; k++)
      if (calls.request[k] >= 0 && calls.request[k] !== request && calls.rejected[k] !== REFUSED && calls.start[k] <= at && calls.end[k] > at
        && (counted.scope !== "side" || calls.side[calls.request[k]] === calls.side[request]))
        out.push({ bar, call: k, left: calls.done[k] <= at });
  }
  return out;
}

/** Wireshark's display filter for a connection: addresses and ports, and frames where one file is the capture. (Its stream numbers may differ from ours.) */
function filterOf(bar) {
  const capture = model.bars.capture[bar], row = model.bars.row[bar];
  const ids = cell(tableOf("connections", capture), "session_ids", row) ?? [];
  const sessions = tableOf("sessions", capture);
  const frames = (id) => (model.core.captures[capture].one_file ? ` && frame.number >= ${cell(sessions, "first_frame", id)} && frame.number <= ${cell(sessions, "last_frame", id)}` : "");
  const family = (ip) => (ip.includes(":") ? "ipv6" : "ip");
  const one = (id) => {
    const [a, b] = ["orig", "resp"].map((end) => [cell(sessions, end + "_ip", id), cell(sessions, end + "_port", id)]);
    return a[0] === null ? null : `(${[a, b].map(([ip, port]) => `${family(ip)}.addr == ${ip} && tcp.port == ${port}`).join(" && ")}${frames(id)})`;
  };
  return ids.map(one).filter(Boolean).join(" || ");
}

/** What a cited frame belongs to. `session`: its TCP session; -1: not known, and the connection is found by its frames. */
function pickFrame(side, frame, session) {
  const { core, bars, calls } = model;
  let capture = core.captures.findIndex((c) => c.name === side);
  if (capture < 0) capture = 0;
  const requests = tableOf("requests", null), column = side === "vm" ? "VM frame" : "host frame";
  const k = requests ? requests.by[column].values.indexOf(frame) : -1;
  let call = -1, bar = -1;
  if (k >= 0)
    for (let c = 0; c < calls.n; c++) if (calls.request[c] === k && (call < 0 || bars.capture[calls.bar[c]] === capture)) call = c;
  if (call >= 0) bar = calls.bar[call];
  else if (session >= 0) bar = barOfSession(capture, session);
  else {
    const table = tableOf("connections", capture);
    let row = table ? table.by.first_frame.values.indexOf(frame) : -1;
    if (row < 0 && table) row = table.by.first_frame.values.findIndex((first, r) => first <= frame && table.by.last_frame.values[r] >= frame && bars.kind[barsOf(capture) + r] !== OTHER);
    if (row >= 0) bar = barsOf(capture) + row;
  }
  pick({ bar, call, frame: { capture, number: frame } }, { reveal: true });
}
