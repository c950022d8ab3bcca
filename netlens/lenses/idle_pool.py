"""Are many connections held in reserve?

Asks: how many connections of one client to one service were open and idle for a minute at the same time.
Applies: to captures longer than a minute.
Cannot see: whether they would have been used again.
Normal: browsers keep six to a server (RFC 9112 9.4 asks for few); a pool of a program as many as it once needed. It costs the server memory, and where a
    provider counts connections it costs places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.lenses._view import S, finding, grouped, views
from netlens.lenses.never_closed import SOME, SOME_IDLE_NS, open_and_idle

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View

ID = "idle-pool"
GROUP = "leaks"
RANK = 82
LEAST, IDLE_NS = 10, 60 * S


def look(traffic: Traffic) -> list[Finding]:
    """One for each client and service."""
    return [found for view in views(traffic) for found in _of(view)]


def _of(view: View) -> list[Finding]:
    found = []
    idle = [p for p in view.once(open_and_idle) if p[1] >= IDLE_NS]
    for key, group in grouped(idle, lambda p: (view.ends(p[0])[0], *view.ends(p[0])[2:])).items():
        if len(group) < LEAST or sum(p[1] >= SOME_IDLE_NS for p in group) >= SOME:  # never-closed says it
            continue
        text = f"{len(group):,} connections from {key[0]} to {key[1]}:{key[2]} were held idle for a minute and longer."
        values = {"client": key[0], "server": key[1], "port": key[2], "connections": len(group)}
        found.append(finding(view, ID, "warning", text, [int(view.sessions["last_frame"][k]) for k, _ in group], values))
    return found
