"""Where packets were lost, where two captures show the same connection: between them, or beyond them.

What was sent again, and came to the capture nearer to its receiver only when it was, had been lost between them. What had come there before was lost beyond, or
its acknowledgment was. How long the way between takes is told by what was sent once. Of a connection that a relay carries on nothing is said, nor of one that
either capture does not hold from its SYN to its end, with all that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import numpy as np

from netlens.lenses._view import MOST_SEGMENTS, View, views
from netlens.text import size

MOST, LITTLE = 0.5, 0.1  #: of what was sent again


def where(view: View, sessions: Iterable[int]) -> str:
    """A clause that says where data of these sessions of a view was lost; empty where that is not known."""
    both = {each.name: each for each in views(view.traffic)}
    vm, host = both.get("vm"), both.get("host")
    if vm is None or host is None or view.traffic.exchanged:
        return ""
    other = host if view is vm else vm
    lost = again = 0
    for k in sessions:
        pair = same(view, other, k)
        if pair is None or not (_complete(view, k) and _complete(other, pair)):
            return ""
        of = {view.name: k, other.name: pair}
        for up in (True, False):
            sender, receiver = (vm, host) if up else (host, vm)
            sent, got = _sent(sender, of[sender.name], up), _sent(receiver, of[receiver.name], up)
            told = _lost(sent, got)
            # what came and was never sent shows that the captures are the other way round, or miss some
            if told is None or len(got) > len(sent):
                return ""
            lost, again = lost + told[0], again + told[1]
    if not lost:
        return "nothing was lost between the VM's and the host's capture"
    if lost >= MOST * again:
        return f"{size(lost)} were lost between the VM's and the host's capture"
    if lost <= LITTLE * again:
        return "almost none of it was lost between the VM's and the host's capture"
    return f"{size(lost)} of what was sent again was lost between the VM's and the host's capture"


def same(view: View, other: View, k: int) -> int | None:
    """The session of the other capture that is this very connection."""
    pairing = view.traffic.pairing
    if pairing is None:
        return None
    row = view.side.connection_of.get(k, -1)
    partner = pairing.host_of if view.side is view.traffic.vm else pairing.vm_of
    mate = int(partner[row]) if row >= 0 else -1
    if mate < 0:
        return None
    s = other.sessions
    numbers = [(v.column("orig_isn"), v.column("resp_isn")) for v in (view, other)]
    for m in other.side.session_ids[mate]:
        whole = s["orig_frames"][m] and s["resp_frames"][m]
        if whole and all(mine[k] is not None and mine[k] == theirs[m] for mine, theirs in zip(*numbers, strict=True)):
            return int(m)
    return None


def beyond(view: View, first_ns: int) -> View | None:
    """The host's view, of the VM's, if it was recorded by a time of the VM's: what is not in it did not come there."""
    clock, both = view.traffic.clock, {each.name: each for each in views(view.traffic)}
    host = both.get("host")
    if view is not both.get("vm") or host is None or not view.traffic.clock_told:
        return None
    return host if host.side.bounds_ns[0] + clock.uncertain_ns <= int(clock.to_host(np.array([first_ns], np.int64))[0]) else None


def lost_between(n: int, one: str, many: str) -> str:
    """A clause of so many packets; empty where none was lost."""
    return f"; {n:,} {one if n == 1 else many} lost between the VM's and the host's capture" if n > 0 else ""


def _complete(view: View, k: int) -> bool:
    """Whether a capture holds all of a session: SYN to close, and what was acknowledged (but for a FIN, which takes one number)."""
    s = view.sessions
    missing = max(s["orig_missing_bytes"][k], s["resp_missing_bytes"][k])
    return bool(view.column("closed_ns")[k] is not None and missing <= 1 and s["orig_frames"][k] + s["resp_frames"][k] <= MOST_SEGMENTS)


def _sent(view: View, k: int, up: bool) -> list[tuple[int, int, int]]:
    """(time, offset, end) of the segments with data of one direction, in order."""
    seg = view.segments(k)
    return [(seg.ts[i], seg.offset[i], seg.end(i)) for i in range(len(seg)) if seg.orig[i] == up and seg.length[i]]


def _lost(sent: list[tuple[int, int, int]], got: list[tuple[int, int, int]]) -> tuple[int, int] | None:
    """Of one direction, bytes that were sent again because they had not come to the other capture, and all bytes that were sent again; None where nothing
    tells how long the way between takes."""
    first_sent, first_got = ({offset: ts for ts, offset, _ in reversed(segments)} for segments in (sent, got))
    repeats = [(ts, offset, end) for ts, offset, end in sent if first_sent[offset] < ts]
    repeated = {offset for _, offset, _ in repeats}
    trips = [first_got[offset] - ts for offset, ts in first_sent.items() if offset in first_got and offset not in repeated]
    if not repeats:
        return 0, 0
    if not trips:
        return None
    trip = median(trips)
    lost = sum(
        end - offset for ts, offset, end in repeats if offset in first_got and 2 * (first_got[offset] - trip) >= first_sent[offset] + ts
    )
    return lost, sum(end - offset for _, offset, end in repeats)
