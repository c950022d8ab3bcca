"""Which downloads were slow?

Asks: at which rate the bodies of HTTP answers in clear came.
Applies: to answers of 100 kB and more.
Cannot see: whether the sender had more to send: a stream is as slow as what it shows. So this is never more than a warning; the cause, where one is
    known, is another finding (packet-loss, zero-window, stalled).
Normal: no standard says. 64 kB/s is a modem of the year 2000; what is slower is felt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.lenses._requests import asked
from netlens.lenses._view import S, finding, most, views
from netlens.text import plural, size

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View

ID = "slow-transfer"
GROUP = "time"
RANK = 54
BYTES, RATE = 100_000, 64_000  #: per second
LEAST_NS = S


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view)]


def _of(view: View) -> list[Finding]:
    large = [a for a in view.once(asked) if a.http and a.down_bytes >= BYTES and a.took_ns > 0]
    slow = [a for a in large if a.took_ns >= LEAST_NS and a.down_bytes * S < RATE * a.took_ns]
    if not slow:
        return []
    rate = min(a.down_bytes * S / a.took_ns for a in slow)
    text = f"{len(slow):,} of {plural(len(large), 'download')} came slowly, at {size(rate)} a second: {most(view.server(a.session) for a in slow)}."
    values = {"downloads": len(large), "slow": len(slow), "slowest_bytes_per_s": rate}
    return [finding(view, ID, "warning", text, [f for a in slow for f in a.frames], values)]
