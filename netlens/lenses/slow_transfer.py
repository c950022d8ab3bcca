"""Which downloads were slow?

Asks: how fast the bodies of HTTP answers in the clear came.
Applies: to answers of 100 kB and more.
Cannot see: whether the sender had more to send: a stream is as slow as what it shows. So this is never more than a warning; the cause, where one is
    known, is another finding (packet-loss, zero-window, stalled).
Normal: no standard says. 64 kB/s is a modem of the year 2000; what is slower is felt.
"""

from __future__ import annotations

import itertools

from netlens.chains.divided import STALL
from netlens.lenses import Finding
from netlens.lenses._requests import LARGE_BYTES, Asked, asked, budget_of
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.text import plural, size

ID = "slow-transfer"
GROUP = "time"
RANK = 54
RATE = 64_000  #: per second
LEAST_NS = S
TOLD_SHARE = 0.1  #: of the slowest, from which on it is told that it stood still


def look(view: View) -> list[Finding]:
    large = [a for a in view.once(asked).remarkable if a.http and a.down_bytes >= LARGE_BYTES and a.took_ns > 0]
    slow = [a for a in large if a.took_ns >= LEAST_NS and a.down_bytes * S < RATE * a.took_ns]
    if not slow:
        return []
    slowest = min(slow, key=lambda a: a.down_bytes * S / a.took_ns)
    rate = slowest.down_bytes * S / slowest.took_ns
    budget = budget_of(view, slowest)
    stood = budget.ns(STALL) if budget is not None else 0
    share = f"; the slowest stood still for {seconds(stood)} of {seconds(slowest.took_ns)}" if stood >= TOLD_SHARE * slowest.took_ns else ""
    pause = 0 if share else _pause(view, slowest)
    if 2 * pause >= slowest.took_ns:
        share = f"; in the slowest no new data came for {seconds(pause)} of {seconds(slowest.took_ns)}"
    text = f"{len(slow):,} of {plural(len(large), 'download')} came slowly, at {size(rate)} a second: {most(view.server(a.session) for a in slow)}{share}."
    values = {"downloads": len(large), "slow": len(slow), "slowest_bytes_per_s": rate, "stalled_s": stood / 1e9, "paused_s": pause / 1e9}
    return [finding(view, ID, "warning", text, [f for a in slow for f in a.frames], values)]


def _pause(view: View, a: Asked) -> int:
    """The longest time within an answer in which no new data came, in ns."""
    seg = view.segments(a.session)
    times = [seg.ts[i] for i in range(len(seg)) if not seg.orig[i] and seg.fresh[i] and a.frames[1] <= seg.frame[i] <= a.frames[-1]]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0)
