"""Connections are closed with their answer instead of being kept for the next request.

Applies where connections idled, and where connections count (or nobody knows what does).
"""

from __future__ import annotations

from netlens.chains.situation import REQUESTS
from netlens.lenses.refused.fixes import OPEN, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "close-idle"
TITLE = "Close each connection after its answer"
RANK = 5
AGAINST = (OPEN,)
IDLE_NS = 300_000_000  #: shorter is no keeping

CAVEATS = (
    "opencode has no documented setting for this; a local proxy can do it (HAProxy: option http-server-close)",
    "each request then pays for a new handshake",
)


def variants(case: Case) -> list[Variant]:
    """One, if a session stayed open after its last answer."""
    if case.rule is not None and case.rule.unit != "connections":
        return []
    r, s = case.situation.requests, case.situation.sessions
    known = (r.session >= 0) & (r.session < len(s))
    idle = s.end_ns[r.session[known]] - r.end_ns[known] > IDLE_NS
    if not (idle & (s.kind[r.session[known]] == REQUESTS)).any():
        return []
    return [Variant(ID, TITLE, Change(close_idle=True), None, CAVEATS)]
