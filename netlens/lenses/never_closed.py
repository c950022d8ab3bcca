"""Are connections left open?

Asks: whether connections to one service stay open and idle for long, and become more.
Applies: to captures of at least five minutes.
Cannot see: what happens after the end of the capture; an open connection there is normal.
Normal: RFC 9293 3.8.4: TCP itself never ends an idle connection, and keep-alive probes come after two hours at the earliest. Pools keep a few.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, seconds

ID = "never-closed"
GROUP = "leaks"
RANK = 80
SOME, SOME_IDLE_NS = 20, 300 * S
MANY, MANY_IDLE_NS = 100, 900 * S  #: and most of them opened one after the other while the earlier ones stayed


def open_and_idle(view: View) -> list[tuple[int, int]]:
    """(session, idle ns): established, open at the end of its excerpt, and silent for so long by then."""
    ends, last, states = view.sessions["end_ns"], view.sessions["last_frame"], view.column("state")
    closes = [view.column(name) for name in ("closed_ns", "orig_fin_ns", "resp_fin_ns")]
    return [
        (k, view.end_of(int(last[k])) - int(ends[k]))
        for k in view.whole
        if states[k] in ("S1", "OTH") and all(close[k] is None for close in closes)
    ]


def look(view: View) -> list[Finding]:
    """One for each client and service."""
    found = []
    for key, group in grouped(view.once(open_and_idle), lambda p: view.service(p[0])).items():
        idle = [p for p in group if p[1] >= SOME_IDLE_NS]
        if len(idle) < SOME:
            continue
        starts = sorted(view.column("start_ns")[k] for k, _ in idle)
        growing = starts[-1] - starts[0] >= MANY_IDLE_NS
        grave = len([p for p in idle if p[1] >= MANY_IDLE_NS]) >= MANY and growing
        text = (
            f"{len(idle):,} connections from {key[0]} to {key[1]}:{key[2]} stay open, idle for {seconds(min(p[1] for p in idle))} and more."
        )
        per_hour = len(idle) / max((starts[-1] - starts[0]) / (3600 * S), 1e-9) if growing else None
        values = {"client": key[0], "server": key[1], "port": key[2], "connections": len(idle), "opened_per_hour": per_hour}
        advice = "The program opens connections and does not close them: look for responses that are not read to the end, or a client object made per request."
        frames = [int(view.sessions["last_frame"][k]) for k, _ in idle]
        found.append(finding(view, ID, "problem" if grave else "warning", text, frames, values, advice if growing else ""))
    return found
