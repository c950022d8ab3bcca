"""Which SYNs look for the way to a host (traceroute by TCP): their time to live rises from 1, and an answer of any kind is what they are sent for.

Limits: the capture must be in files that can be read again. Only refused SYNs are looked at: one that is answered harms nobody.
"""

from __future__ import annotations

from netlens.lenses._connects import REFUSED, Attempt, attempts
from netlens.lenses._reread import reread
from netlens.lenses._view import View, grouped
from netlens.parsers.headers_again import hops_left

LEAST, NEAR = 3, 5  #: different times to live, and the lowest: a host has one for all it sends, 64 or more less the hops to the recorder
MOST = 1000  #: SYNs of one client to one service that are looked at


def tracing(view: View) -> set[int]:
    """Sessions of clients that look for the way to a service."""
    refused = {a.service for a in view.once(attempts) if a.outcome == REFUSED and not a.said}
    by_service = grouped((a for a in view.once(attempts) if a.service in refused), lambda a: a.service)
    likely = {service: group for service, group in by_service.items() if len(group) >= LEAST}
    left = reread(view, [a.syn_frames[0] for group in likely.values() for a in group[:MOST]], hops_left)
    return {a.session for group in likely.values() if _rises(group[:MOST], left) for a in group}


def _rises(group: list[Attempt], left: dict[int, int]) -> bool:
    seen = {left[a.syn_frames[0]] for a in group if a.syn_frames[0] in left}
    return len(seen) >= LEAST and min(seen) <= NEAR
