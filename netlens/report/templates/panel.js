// The panel of what is picked: the chain of a request over its relays with the time in each, and the connections that carried it. Esc closes it.

const picked = $("#picked");

/** The connection of a pass: bar, and its ends as the capture shows them. */
function carrierOf(k, pass) {
  const session = pass.exchange < 0 ? model.core.time.session[k] : cell(tableOf("exchanges", pass.capture), "session_id", pass.exchange);
  const bar = session === null ? -1 : barOfSession(pass.capture, session), table = tableOf("connections", pass.capture);
  const get = (name) => (bar < 0 ? null : cell(table, name, model.bars.row[bar]));
  const ends = bar < 0 ? "" : `${endpointOf(get("orig_ip"), get("orig_port"))} > ${endpointOf(get("resp_ip"), get("resp_port"))}`;
  return { bar, get, ends: ends && get("nat_ip") !== null ? `${ends}, after NAT ${endpointOf(get("nat_ip"), get("nat_port"))}` : ends };
}

/** Time per phase, relays one by one: Map of "phase" or "relay 0" -> ns. */
function timesOf(k) {
  const out = new Map();
  for (const spell of spellsOf(k)) {
    const key = spell.phase === "relay" ? `relay ${Math.max(spell.relay, 0)}` : spell.phase;
    out.set(key, (out.get(key) ?? 0) + spell.to - spell.from);
  }
  return out;
}

/** The chain as lines: stations (programs, relays' machines, the server) and what lies between, in order, each with its times. */
function chainOf(k) {
  const { time } = model.core, passes = passesOf(k), times = timesOf(k), out = [], used = new Set();
  const unknown = new Set(time.unmeasured[k].map((p) => time.phases[p]));
  const spent = (...phases) => phases.map((phase) => {
    used.add(phase);
    return unknown.has(phase) ? [phase, null] : [phase, times.get(phase) ?? 0];
  }).filter(([phase, ns]) => ns !== 0 || phase === "server");
  const carriers = passes.map((pass) => carrierOf(k, pass));
  const relay = (n) => {
    const ns = times.get(`relay ${n}`) ?? 0;
    used.add(`relay ${n}`);
    return { kind: "relay", name: time.labels[time.relays[k][n]].replaceAll(">", " > "), spent: [["relay", ns]] };
  };
  out.push({ kind: "party", name: time.labels[time.party[k]], where: carriers[0].ends, spent: spent("client") });
  const opened = spent("lookup", "connect", "tls");
  if (opened.length) out.push({ kind: "way", name: "opening the connection", spent: opened });
  passes.forEach((pass, n) => {
    if (!n) return;
    out.push(relay(n - 1));
    out.push({ kind: "party", name: `${model.core.captures[pass.capture].title}${passes[n - 1].capture === pass.capture ? ", next connection" : ""}`, where: carriers[n].ends, spent: [] });
  });
  for (let n = Math.max(passes.length - 1, 0); n < time.relays[k].length; n++) out.push(relay(n)); // a tunnel that carried only the lookup
  if (unknown.has("relay")) {
    const ways = carriers[0].get("path");
    out.push({ kind: "relay", name: ways && ways !== "direct" ? ways.replaceAll(">", " > ") : "relay", spent: [["relay", null]] });
  }
  out.push({ kind: "way", name: "on the wire", spent: spent("wire") });
  out.push({ kind: "party", name: time.labels[time.server[k]], where: "", spent: spent("server", "unanswered", "stream", "stall") });
  return out.filter((part) => part.kind === "party" || part.spent.length);
}

const LANE = 30, BUDGET = 16;

/** The same on one time axis: a lane for each connection that carried it, the time budget below. */
function chainPicture(k, wide) {
  const { time } = model.core, passes = passesOf(k), total = Math.max(totalOf(k), 1), x = (ns) => (Math.min(Math.max(ns, 0), total) / total) * wide;
  const height = passes.length * LANE + BUDGET + 22, parts = [];
  const word = (at, y, text, kind = "") => {
    const node = svg("text", { x: at, y, class: `tick ${kind}` });
    node.textContent = text;
    return node;
  };
  passes.forEach((pass, n) => {
    const y = n * LANE, answered = pass.answered ?? pass.end;
    const box = (from, to, kind, title) => to > from && parts.push(svg("rect", { x: x(from), y: y + 14, width: Math.max(1, x(to) - x(from)), height: 11, class: kind }, titled(`${title}: ${duration(to - from)}`)));
    parts.push(word(0, y + 10, `${model.core.captures[pass.capture].title}'s capture${passes.filter((p) => p.capture === pass.capture).length > 1 ? `, connection ${n + 1}` : ""}`));
    box(pass.start, pass.sent, "pass-sent", "request");
    box(pass.sent, answered, "pass-wait", "until the first byte of the answer");
    box(answered, pass.end, "pass-answer", "answer");
    if (n) for (const [near, far] of [[passes[n - 1].sent, pass.sent], [passes[n - 1].answered, pass.answered]])
      if (near !== null && far !== null) parts.push(svg("line", { x1: x(near), y1: y - LANE + 25, x2: x(far), y2: y + 14, class: "handed" }));
  });
  const at = passes.length * LANE + 2;
  for (const spell of spellsOf(k)) parts.push(svg("rect", { x: x(spell.from), y: at, width: x(spell.to) - x(spell.from), height: BUDGET, class: `phase-${spell.phase}` }, titled(`${phaseName(k, spell)}: ${duration(spell.to - spell.from)}`)));
  parts.push(word(0, at + BUDGET + 14, "0"), word(wide, at + BUDGET + 14, duration(total), "last"));
  return svg("svg", { width: wide, height, viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": `${plural(passes.length, "connection")} carried the request; ${duration(total)} in all, see the list` }, ...parts);
}

function chainSection(k) {
  const { time } = model.core, total = totalOf(k), refused = time.refused[k] === REFUSED;
  const share = (ns) => percent((100 * ns) / Math.max(total, 1));
  const lines = chainOf(k).map((part) => el("li", { class: `chain-${part.kind}` },
    el("span", { class: "station" }, part.name),
    el("dl", {}, part.spent.flatMap(([phase, ns]) => [
      el("dt", {}, el("span", { class: `key phase-${phase}` }), part.kind === "relay" ? "" : PHASE_WORDS[phase]),
      el("dd", {}, ...(ns === null ? ["not measured"] : [duration(ns), el("span", { class: "muted" }, ` ${share(ns)}`)])),
    ])), part.where ? el("span", { class: "muted where" }, part.where) : null));
  const notes = [];
  if (time.uncertain[k]) notes.push(`each way of the relay ± ${duration(time.uncertain[k])}, both together exact`);
  if (time.status[k]) notes.push(`HTTP status ${time.status[k]}`);
  return el("section", { class: "chain-of" },
    el("p", {}, refused ? el("span", { class: "refused-word" }, "Refused") : "Begun", ` at ${seconds(time.begin[k])} s, `, el("strong", {}, duration(total)), " in all"),
    chainPicture(k, Math.max(220, picked.clientWidth - 34)),
    el("ol", { class: "chain" }, lines),
    notes.length ? el("p", { class: "muted" }, notes.join("; ")) : null);
}

/** Frames of the request in one capture: first byte, first byte of the answer, last byte. */
function framesOf(k, bar) {
  const pass = passesOf(k).find((each) => each.capture === model.bars.capture[bar] && carrierOf(k, each).bar === bar);
  if (!pass) return null;
  const table = tableOf("exchanges", pass.capture), get = (name) => (pass.exchange < 0 ? null : cell(table, name, pass.exchange));
  const frames = pass.exchange < 0 ? [["request", model.core.time.frame[k]]] : [["request", get("start_frame")], ["first byte of the answer", get("response_frame")], ["last byte", get("end_frame")]];
  return frames.filter(([, frame]) => frame !== null && frame !== undefined);
}

/** One connection of what is picked: its part of the request in frames, its facts and its filter. */
function half(bar, k) {
  const capture = model.core.captures[model.bars.capture[bar]], filter = filterOf(bar), frames = k < 0 ? null : framesOf(k, bar);
  return el("div", { class: "half" }, el("h4", {}, titleOf(bar)),
    frames ? describe(frames.map(([name, frame]) => [name, `frame ${number(frame)}`])) : null,
    filter ? [el("div", { class: "muted" }, `Wireshark display filter for ${capture.paths.join(", ")}`), copyable(filter, "Wireshark display filter")] : null,
    el("details", { open: k < 0 }, el("summary", {}, "The connection"), describe(factsOf(bar))));
}

function nameOf({ bar, call, left }) {
  const { bars, calls } = model, kind = bars.kind[bar], whose = ["VM", "host", "unknown"][call >= 0 ? calls.side[calls.request[call]] : bars.whose[bar]];
  const what = kind === 1 ? "opened by the tunnel" : kind === 2 ? "lookups" : whose;
  return `${call >= 0 ? `request ${calls.request[call]}` : `connection ${bars.row[bar]}`}, ${what}${left ? ", left over" : ""}`;
}

/** Steps through the requests of a picked connection. */
function requestsOn(bar, call) {
  const from = model.callsFrom[bar], to = model.callsFrom[bar + 1], n = to - from;
  if (n < 2) return null;
  const at = call < 0 ? 0 : call - from;
  const turn = (step, word) => el("button", { type: "button", "aria-label": `${word} request on this connection`, disabled: at + step < 0 || at + step >= n, onclick: () => pick({ bar, call: from + at + step }, { reveal: true }) }, step < 0 ? "‹" : "›");
  return el("p", { class: "of-many" }, turn(-1, "Previous"), ` request ${number(at + 1)} of ${number(n)} on this connection `, turn(1, "Next"));
}

function drawPicked() {
  const now = model.picked;
  picked.replaceChildren();
  picked.hidden = now === null;
  document.body.classList.toggle("with-panel", now !== null);
  if (now === null) return;
  const { bar, call, time, frame, lookup } = now, { bars, calls } = model;
  const request = call >= 0 ? calls.request[call] : time >= 0 ? model.core.time.request[time] : -1;
  const refused = call >= 0 ? calls.rejected[call] === REFUSED : false;
  const title = lookup ? "Lookup" : call >= 0 || (time >= 0 && bar < 0) ? `${refused ? "Refused request" : "Request"}${request < 0 ? "" : ` ${request}`}` : bar >= 0 ? "Connection" : `Frame ${number(frame?.number ?? 0)}`;
  picked.append(el("header", {}, el("h3", {}, title), bar >= 0 ? el("button", { type: "button", onclick: zoomToPicked }, "Zoom to it") : null,
    el("button", { type: "button", title: "Close (Esc)", onclick: letGo }, "Close")));
  if (call >= 0) picked.append(describe(factsOfCall(call)));
  const others = othersAt(call);
  if (others.length) picked.append(el("p", { class: "met-then" }, "In progress when it was sent: ", others.slice(0, 12).map((other) => el("button", { type: "button", class: "chip",
    onclick: () => pick({ bar: other.bar, call: other.call }, { reveal: true }) }, nameOf(other))), others.length > 12 ? ` and ${number(others.length - 12)} more` : ""));
  if (frame) picked.append(el("div", { class: "muted" }, `Frame cited, in ${model.core.captures[frame.capture].paths[0]}`), copyable(`frame.number == ${frame.number}`, "Wireshark display filter of the frame"));
  if (lookup) picked.append(...lookupSection(lookup));
  if (bar >= 0) picked.append(requestsOn(bar, call) ?? "");
  if (time >= 0) picked.append(chainSection(time));
  if (bar < 0) return;
  const carried = time < 0 ? [] : passesOf(time).map((pass) => carrierOf(time, pass).bar);
  const all = new Set([...carried.filter((each) => each >= 0), bar, ...(bars.mate[bar] >= 0 ? [bars.mate[bar]] : [])]);
  picked.append(el("div", { class: "halves" }, [...all].sort((a, b) => bars.capture[a] - bars.capture[b] || carried.indexOf(a) - carried.indexOf(b)).map((each) => half(each, time))));
  if (all.size < 2 && model.core.captures.length > 1) picked.append(el("p", { class: "muted" }, "It is in this capture only."));
}

function letGo() {
  pick(null);
  stage.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && model.picked && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) letGo();
});
