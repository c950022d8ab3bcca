"""Whether a line was full while data was lost on it: then drops are how TCP finds out how much it may send, and repairs cost nobody time.

Theory of operation
-------------------
1. A sender sends more until a queue overflows, and less then (RFC 5681 3.1, RFC 2914 3); somewhere on the way is a line that is never idle meanwhile.
2. What all connections between two hosts carry in a quarter of a second then hardly varies. Loss on a line that has room shows as intervals with less:
   the sender halves what it has under way, or waits for a time-out.
3. A bulk transfer fills its segments. What sends small ones at an even pace is a program (a voice, a sensor), not a line.

*Limits*: a line that others fill, too, between other hosts, is not seen to be full. A sender that is paced at an even rate looks alike, and loses as little
by repairs. A policer that drops much of what is sent leaves a steady rest: :data:`MOST_LOST`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from netlens.columns import Array
from netlens.lenses._repeats import Delivery
from netlens.lenses._view import S, View

INTERVAL_NS = S // 4  #: a time-out of RFC 6298 as stacks have it (200 ms at least) leaves most of one empty
LEAST = 6  #: intervals
LINK = 66  #: bytes of Ethernet, IPv4 and TCP with timestamps before the data
EVEN, SHARE = 0.1, 0.75  #: around the median, and of intervals that are so; half of what is sent is missing where a window is halved
IDLE = 0.1  #: of the line's time in all; from where a transfer so short of its rate is slow for its loss
PAUSE_NS, MANY = S // 20, 4  #: between packets, from which on a line is idle; and times the usual one, on a slow line
ALIKE = 0.9  #: of segments that are as long as most
MOST_LOST = 0.15  #: of the segments between two hosts; a queue that overflows loses less, and a policer more


def full_rates(view: View, lossy: list[Delivery]) -> dict[int, float]:
    """By session, bits per second of the line on which it sent again, if it was full all the while."""
    if view.trail is None:
        return {}
    ends = {d.session: tuple(sorted((view.address(d.session, True), view.address(d.session, False)))) for d in lossy}
    resent, segments = (Counter[tuple[str, ...]]() for _ in range(2))
    for d in lossy:
        resent[ends[d.session]] += d.resent
        segments[ends[d.session]] += d.segments
    found = {}
    for d in lossy:
        if resent[ends[d.session]] <= MOST_LOST * segments[ends[d.session]]:
            rate = min((_rate(view, d, orig) for orig in {r.orig for r in d.repeats}), default=0.0)
            found.update({d.session: rate} if rate else {})
    return found


def _rate(view: View, d: Delivery, orig: bool) -> float:
    assert view.trail is not None
    sent_ns, length = _sent(view, d.session, orig)
    if len(sent_ns) < 2 or np.mean(length < np.median(length)) > 1 - ALIKE:
        return 0.0
    first = min(r.start_ns for r in d.repeats if r.orig == orig)
    since, until = max(int(sent_ns[0]) + INTERVAL_NS, first - INTERVAL_NS), int(sent_ns[-1])
    n = (until - since) // INTERVAL_NS
    if n < LEAST:
        return 0.0
    at, upto = _on_the_way(view, (view.address(d.session, orig), view.address(d.session, not orig)))
    bounds = np.searchsorted(at, since + INTERVAL_NS * np.arange(n + 1))
    carried = np.diff(upto[bounds])
    usual = float(np.median(carried))
    if not usual:
        return 0.0
    even = np.abs(carried - usual) <= EVEN * usual
    idle = max(np.maximum(usual - carried, 0).sum() / (n * usual), _silent(at[bounds[0] : bounds[-1]]))
    return usual * 8 * S / INTERVAL_NS if even.mean() >= SHARE and idle <= IDLE else 0.0


def _silent(at: Array) -> float:
    """Share of the time that went by in pauses, of whatever length that intervals would hide."""
    pauses = np.diff(at)
    return float(pauses[pauses > max(PAUSE_NS, MANY * float(np.median(pauses)))].sum() / max(int(pauses.sum()), 1)) if len(pauses) else 1.0


def _on_the_way(view: View, ends: tuple[str, str]) -> tuple[Array, Array]:
    """When something was sent from one address to another, in order, and the bytes on the line before each and behind the last."""
    known = view.once(_known)
    if ends not in known:
        parts = [_sent(view, k, orig) for k, orig in view.once(_by_ends)[ends]]
        at, size = (np.concatenate([part[i] for part in parts]).astype(np.int64) for i in (0, 1))
        order = np.argsort(at, kind="stable")
        known[ends] = at[order], np.concatenate([[0], np.cumsum(size[order] + LINK)])
    return known[ends]


def _known(_: View) -> dict[tuple[str, str], tuple[Array, Array]]:
    return {}


def _by_ends(view: View) -> dict[tuple[str, str], list[tuple[int, bool]]]:
    """Sessions and directions by the addresses of sender and receiver."""
    found: dict[tuple[str, str], list[tuple[int, bool]]] = {}
    for k in (k for k in view.first_copies if k not in view.halves):
        for orig in (True, False):
            found.setdefault((view.address(k, orig), view.address(k, not orig)), []).append((k, orig))
    return found


def _sent(view: View, k: int, orig: bool) -> tuple[Array, Array]:
    """Times and lengths of the segments with data of one direction, int64."""
    assert view.trail is not None
    at = view.trail.of(k)
    t = view.trail.segments()
    mine = (t["length"][at] > 0) & (view.by_originator(at) == orig)
    return t["ts"][at][mine], t["length"][at][mine]
