"""Which of what was sent again its receiver had got before, as it says itself (D-SACK, RFC 2883): nothing was lost there.

Probes of the tail (RFC 8985 7) and time-outs that are too short make such repeats. A sending more than its receiver says it got twice was needed.

Limits: the capture must be in files that can be read again, and hold not too many such answers (:data:`MOST`); a receiver need not speak of it, nor does its
acknowledgment always arrive.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import islice

from netlens.lenses._repeats import Delivery, Repeat
from netlens.lenses._reread import reread
from netlens.lenses._view import ACK, RST, SYN, S, View
from netlens.parsers.headers_again import Duplicate, duplicates, selective

ACKS, ASTRAY = 3, 0.9  #: with blocks, and of these the share that tells nothing
LATE_NS = 2 * S  #: after the last sending
TIMER_NS = S // 5  #: the shortest of a sender that waits for acknowledgments (Linux; RFC 6298 2.4 has 1 s)
FIRST, ENOUGH = 4_000, 64  #: acknowledgments that are looked at for blocks, and blocks that tell
UNSCALED = 65_535
MOST = 20_000  #: acknowledgments that are looked at; where there are more, none is


def without_needless(view: View, lossy: list[Delivery]) -> list[Delivery]:
    """These with what was needed alone as their repeats, and the rest counted as spurious."""
    frames = list(islice((f for d in lossy for f in _answers(view, d)), MOST + 1))
    if len(frames) > MOST:
        return lossy
    told = reread(view, frames, duplicates)
    return [_needed(view, d, told) for d in lossy] if told else lossy


def _answers(view: View, d: Delivery) -> list[int]:
    """Acknowledgments of a session that may speak of its repeats."""
    seg = view.segments(d.session)
    since, until = min(r.start_ns for r in d.repeats), max(r.last_ns for r in d.repeats) + LATE_NS
    senders = {r.orig for r in d.repeats}
    return [
        seg.frame[i]
        for i in range(len(seg))
        if since <= seg.ts[i] <= until and (not seg.orig[i]) in senders and seg.flags[i] & (ACK | SYN | RST) == ACK
    ]


def _needed(view: View, d: Delivery, told: dict[int, Duplicate]) -> Delivery:
    seg = view.segments(d.session)
    said: dict[bool, list[tuple[int, int, int]]] = defaultdict(list)  # by sender: when, and offsets
    for i in range(len(seg)):
        if (block := told.get(seg.frame[i])) is not None:
            said[not seg.orig[i]].append((seg.ts[i], seg.acked[i] + block.begin, seg.acked[i] + block.end))
    kept, spurious = [], d.spurious
    for r in d.repeats:
        needless = min(_times(r, said[r.orig]), r.times)
        spurious += needless
        if needless < r.times:
            kept.append(replace(r, times=r.times - needless))
    return replace(d, repeats=kept, spurious=spurious)


def _times(r: Repeat, said: list[tuple[int, int, int]]) -> int:
    """How often its receiver says that it has got bytes of a repeat once more."""
    return sum(r.start_ns <= ts <= r.last_ns + LATE_NS and low < r.high and r.low < high for ts, low, high in said)


def astray(view: View, lossy: list[Delivery]) -> tuple[list[Delivery], int, int]:
    """Of these, connections whose selective acknowledgments (RFC 2018) speak of bytes that were never sent; how many do, of how many.

    What lies behind all that was sent, or before the first byte, can be no block: something changed the sequence numbers of segments on their way, and not
    those in this option.
    """
    late = [d for d in lossy if any(r.wait_ns >= TIMER_NS for r in d.repeats)]  # what SACK repairs takes a round trip
    frames = list(islice((f for d in late for f in _answers(view, d)), FIRST))
    told = reread(view, frames, lambda paths, some: selective(paths, some, ENOUGH))
    found: list[Delivery] = []
    wrong, blocks = 0, 0
    for d in lossy if told else []:
        seg = view.segments(d.session)
        upto = {up: max((seg.end(i) for i in range(len(seg)) if seg.orig[i] == up), default=0) for up in (True, False)}
        begun = bool(view.sessions["saw_syn"][d.session])
        said = [(i, told[seg.frame[i]]) for i in range(len(seg)) if seg.frame[i] in told]
        # behind what was sent by more than a window without scaling: the recorder may have missed the last segments
        off = [i for i, b in said if seg.acked[i] + b.begin > upto[not seg.orig[i]] + UNSCALED or (begun and seg.acked[i] + b.end < 0)]
        if len(said) >= ACKS and len(off) >= ASTRAY * len(said):
            found.append(d)
            wrong, blocks = wrong + len(off), blocks + len(said)
    return found, wrong, blocks
