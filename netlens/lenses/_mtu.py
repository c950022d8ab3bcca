"""Large segments that never arrive while small ones do: a link on the way takes no packets that large, and the sender does not know (RFC 2923 2.1).

What tells it from a peer that is gone: the peer went on sending, and in the same direction shorter segments arrived, before or in between. A sender that
hears of it sends shorter ones at once (RFC 1191, RFC 8201), which nobody waits for; one that probes (RFC 4821) does so after some time-outs.
"""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lenses._repeats import STALL_TIMES, Repeat, stalled
from netlens.lenses._said import TCP, errors
from netlens.lenses._view import RST, View, grouped
from netlens.parsers.icmp import TOO_BIG, Error

LARGE = 500  #: bytes; every IPv4 link takes packets of 576 (RFC 1122 3.3.2)


@dataclass
class TooLarge:
    """Segments of ``size`` bytes were sent ``times`` times in vain, while shorter ones arrived. ``told``: routers that said so."""

    wait: Repeat
    size: int
    times: int
    told: list[Error]


def too_large(view: View) -> list[TooLarge]:
    """The standstills that were of this kind."""
    told = grouped((e for e in view.once(errors) if e.what == TOO_BIG), lambda e: (e.protocol, e.source, e.destination))
    return [found for wait in view.once(stalled) if (found := _too_large(view, wait, told)) is not None]


def _too_large(view: View, wait: Repeat, told: dict[tuple[int, tuple[str, int], tuple[str, int]], list[Error]]) -> TooLarge | None:
    seg = view.segments(wait.session)
    frames = set(wait.frames)
    sent = [i for i in range(len(seg)) if seg.orig[i] == wait.orig and seg.frame[i] in frames and seg.length[i]]
    # the first time, the sender's card may have been given several in one (offload)
    size = max((seg.length[i] for i in sent[1:]), default=0)
    whole = [i for i in sent if seg.length[i] >= size]
    if size < LARGE or len(whole) <= STALL_TIMES:
        return None
    offset = seg.offset[whole[0]]
    since, again = seg.ts[whole[0]], seg.ts[whole[1]]
    shorter = any(seg.orig[i] == wait.orig and seg.offset[i] == offset and 0 < seg.length[i] < size for i in range(whole[-1], len(seg)))
    if wait.acked and not shorter:
        return None  # it arrived after all
    passed = acked = 0
    small = alive = False
    for i in range(len(seg)):
        if seg.orig[i] == wait.orig:
            small |= seg.ts[i] > since and 0 < seg.length[i] < size and seg.offset[i] > offset
        elif not seg.flags[i] & RST:
            acked = max(acked, seg.acked[i])
            alive |= seg.ts[i] > again
    for i in range(whole[0]):
        if seg.orig[i] == wait.orig and seg.length[i] and seg.offset[i] + seg.length[i] <= min(acked, offset):
            passed = max(passed, seg.length[i])
    heard = told.get((TCP, *view.way(wait.session, wait.orig)), [])
    if not heard and (not alive or passed >= size or not (passed or small)):
        return None
    return TooLarge(wait, size, len(whole), heard)
