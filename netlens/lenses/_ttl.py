"""Whether a reset most likely came from the machine in whose name it came, by the hops that packets of both had made.

Systems begin with a time to live of 64, 128 or 255 (RFC 1700 has 64 as the default), so that what is missing to the next of these was used up on the way.
All packets of one connection take one way, as a rule, so a reset that made another number of hops than all else of its sender was sent by something else: a
firewall, a proxy, a balancer. One that began with another number and made as many hops may be of the same host, whose kernel resets where its program has
another one; programs and devices begin with others, too (:data:`RARE`). A kernel may send its resets by another route than its programs send.
"""

from __future__ import annotations

from typing import NamedTuple

from netlens.lenses._reread import reread
from netlens.lenses._view import RST, View
from netlens.parsers.headers_again import hops_left
from netlens.text import plural

BEGIN = (64, 128, 255)
RARE = (30, 32, 60, 100, 150, 200)  #: of programs, of devices and older systems
FAR = 30  #: hops; no way is longer (traceroute's limit)
BESIDE = 8  #: other packets of the server that are looked at, and must be two at least
MOST = 200  #: connections that are looked at


class Hops(NamedTuple):
    """Time to live of a reset, and of all else of the server, where they were captured."""

    reset: int
    others: int


def sent_by_another(view: View, sessions: list[int]) -> Hops | None:
    """Of connections that the server reset, whether another machine sent all these resets; the hops of the first one."""
    resets: dict[int, tuple[int, list[int]]] = {}
    for k in sessions[:MOST]:
        seg = view.segments(k)
        at = next((i for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & RST), None)
        if at is None:
            return None
        beside = [seg.frame[i] for i in range(at) if not seg.orig[i]]
        resets[k] = seg.frame[at], [*beside[:2], *beside[2:][-BESIDE:]]
    left = reread(view, [frame for one, others in resets.values() for frame in (one, *others)], hops_left)
    found = []
    for one, others in resets.values():
        theirs = {left.get(frame, 0) for frame in others}
        if len(theirs) != 1 or 0 in theirs or not left.get(one) or _may_have_made(left[one]) & _may_have_made(*theirs):
            return None
        found.append(Hops(left[one], *theirs))
    return found[0] if found else None


def _made(left: int) -> int:
    """Hops that were made."""
    return next(begin for begin in BEGIN if left <= begin) - left


def _may_have_made(left: int) -> set[int]:
    return {_made(left)} | {begin - left for begin in (*BEGIN, *RARE) if 0 <= begin - left <= FAR}


def told(hops: Hops, n: int) -> str:
    """The end of a sentence about resets.  n : how many."""
    return (
        f"; most likely another machine sent {'this reset' if n == 1 else 'these resets'}: {'it has' if n == 1 else 'they have'} a TTL of {hops.reset}, all "
        f"else from there {hops.others} ({plural(_made(hops.reset), 'hop')} away instead of {_made(hops.others)})"
    )


ADVICE = (
    "Most likely something on the way (a firewall, a proxy, a balancer) ends these connections in the server's name: look at its log, its rules, and its "
    "time-outs; a capture at the server, which then shows no such reset, makes sure (its kernel may also reset by another route)."
)
