"""Where did a connection stand still?

Asks: whether data that had been sent stayed without acknowledgment for seconds and had to be sent again, once or many times.
Applies: to connections captured in both directions.
Cannot see: on which part of the way the data was lost; what programs wait for each other (see slow-server, slow-client).
Normal: RFC 6298 2.1 sets the first time-out to 1 s at least and doubles it (5.5), stacks begin at 200 ms; RFC 9293 3.8.3 has TCP doubt the way after
    three retransmissions. Silence while nothing is outstanding is idleness, and after the close nobody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.lenses._repeats import Repeat, stalled
from netlens.lenses._view import finding, grouped, most, seconds, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View

ID = "stalled"
GROUP = "delivery"
RANK = 45


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view)]


def _of(view: View) -> list[Finding]:
    waits = view.once(stalled)
    if not waits:
        return []
    by_session: dict[int, list[Repeat]] = grouped(waits, lambda r: r.session)
    longest = max(waits, key=lambda r: r.wait_ns)
    lost = sum(not r.acked for r in waits)
    n = len(by_session)
    times = sum(r.times for r in waits)
    end = f"; {plural(lost, 'of them was', 'of them were')} never acknowledged" if lost else ""
    lasted = f"{'up to' if longest.acked else 'at least'} {seconds(longest.wait_ns)}"
    text = (
        f"{plural(n, 'connection')} stood still for {lasted} because data to or from {most(view.server(k) for k in by_session)} "
        f"was not acknowledged and was sent again {plural(times, 'time')}{end}."
    )
    values = {
        "connections": n,
        "waits": len(waits),
        "retransmissions": times,
        "longest_s": longest.wait_ns / 1e9,
        "never_acknowledged": lost,
    }
    advice = (
        "Something on the way drops packets, or the peer is gone: compare with a capture nearer to the peer; if only large packets are lost, "
        "look at the MTU."
    )
    return [finding(view, ID, "problem", text, [f for r in sorted(waits, key=lambda r: -r.wait_ns) for f in r.frames], values, advice)]
