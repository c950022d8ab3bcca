"""Are connections left open?

Asks: whether connections to one service stay open and idle for long, and become more; whether a client opened many one after the other, used each once, and
    closed none.
Applies: to captures of at least five minutes; the latter to any.
Cannot see: what happens after the end of the capture; an open connection there is normal.
Normal: RFC 9293 3.8.4: TCP itself never ends an idle connection, and keep-alive probes come after two hours at the earliest. Pools keep a few. Workers that
    are started one after the other, and connect once, look for a while as if connections piled up, so that this is a warning.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, seconds
from netlens.text import endpoint

ID = "never-closed"
GROUP = "leaks"
RANK = 80
SOME, SOME_IDLE_NS = 20, 300 * S
MANY, MANY_IDLE_NS = 100, 900 * S  #: and most of them opened one after the other while the earlier ones stayed

PILED, PILED_NS = 30, 3 * S  #: connections, and the time in which they were opened; a pool opens all at once
IN_TURN = 0.95  #: of them are opened when the one before has been used


def open_and_idle(view: View) -> list[tuple[int, int]]:
    """(session, idle ns): established, open at the end of its excerpt, and silent for so long by then."""
    if view.contents_alone:
        return []  # what closes them would not be here
    ends, last, states = view.sessions["end_ns"], view.sessions["last_frame"], view.column("state")
    closes = [view.column(name) for name in ("closed_ns", "orig_fin_ns", "resp_fin_ns")]
    return [
        (k, view.end_of(int(last[k])) - int(ends[k]))
        for k in view.whole
        if states[k] in ("S1", "OTH") and all(close[k] is None for close in closes)
    ]


def look(view: View) -> list[Finding]:
    """One for each client and service."""
    found = _piling_up(view)
    for (client, server, port), group in grouped(view.once(open_and_idle), lambda p: view.service(p[0])).items():
        idle = [p for p in group if p[1] >= SOME_IDLE_NS]
        if len(idle) < SOME:
            continue
        starts = sorted(view.column("start_ns")[k] for k, _ in idle)
        growing = starts[-1] - starts[0] >= MANY_IDLE_NS
        grave = len([p for p in idle if p[1] >= MANY_IDLE_NS]) >= MANY and growing
        text = f"{len(idle):,} connections from {client} to {endpoint(server, port)} stay open, idle for {seconds(min(p[1] for p in idle))} and more."
        per_hour = len(idle) / max((starts[-1] - starts[0]) / (3600 * S), 1e-9) if growing else None
        values = {"client": client, "server": server, "port": port, "connections": len(idle), "opened_per_hour": per_hour}
        advice = "The program opens connections and does not close them: look for responses that are not read to the end, or a client object made per request."
        frames = [int(view.sessions["last_frame"][k]) for k, _ in idle]
        found.append(finding(view, ID, "problem" if grave else "warning", text, frames, values, advice if growing else ""))
    return found


def _piling_up(view: View) -> list[Finding]:
    """Connections that are opened one after the other, used once each, and never closed, however short the time."""
    starts, asked, told = (view.column(name) for name in ("start_ns", "orig_last_payload_ns", "resp_last_payload_ns"))
    idle = dict(view.once(open_and_idle))
    many = {key for key, group in grouped(idle, view.service).items() if len(group) >= PILED - 2}
    of = grouped((k for k in view.whole if view.service(k) in many), view.service) if many else {}
    out = []
    for (client, server, port), group in of.items():
        # the last may be in use
        if len(group) < PILED or max(idle.get(k, 0) for k in group) >= SOME_IDLE_NS or any(k not in idle for k in group[:-2]):
            continue
        group = sorted(group, key=lambda k: starts[k])
        done = [max(asked[k] or 0, told[k] or 0) for k in group]
        used = all(asked[k] is not None and told[k] is not None for k in group[:-2])
        in_turn = sum(end <= starts[k] for end, k in zip(done, group[1:], strict=False))
        lasted = starts[group[-1]] - starts[group[0]]
        if not used or in_turn < IN_TURN * (len(group) - 1) or lasted < PILED_NS:
            continue
        text = (
            f"{len(group):,} connections from {client} to {endpoint(server, port)} were opened one after the other within {seconds(lasted)}; each was "
            "used once, and none was closed."
        )
        per_hour = len(group) / (lasted / (3600 * S))
        values = {"client": client, "server": server, "port": port, "connections": len(group), "opened_per_hour": per_hour}
        frames = [int(view.sessions["first_frame"][k]) for k in group]
        out.append(finding(view, ID, "warning", text, frames, values))
    return out
