"""Where did a connection stand still?

Asks: whether data that had been sent stayed without acknowledgment for seconds and had to be sent again, once or many times.
Applies: to connections captured in both directions.
Cannot see: without an ICMP error, on which part of the way the data was lost; what programs wait for each other (see slow-server, slow-client).
Normal: RFC 6298 2.1 sets the first time-out to 1 s at least and doubles it (5.5), stacks begin at 200 ms; RFC 9293 3.8.3 has TCP doubt the way after
    three retransmissions. Silence while nothing is outstanding is idleness, and after the close nobody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.lenses._mtu import too_large
from netlens.lenses._repeats import Repeat, stalled
from netlens.lenses._said import TCP, said, undelivered
from netlens.lenses._view import finding, grouped, most, seconds, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View
    from netlens.parsers.icmp import Error

ID = "stalled"
GROUP = "delivery"
RANK = 45
_LOST = "Something on the way drops packets, or the peer is gone: compare with a capture nearer to the peer; if only large packets are lost, look at the MTU."
_MTU = (
    "A link on the way takes no packets that large, and the sender does not learn it: let ICMP (fragmentation needed, packet too big) through to the sender, "
    "lower its MTU (ip link set dev DEV mtu 1400), or clamp the MSS on the router."
)


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
        f"was not acknowledged and was sent again {plural(times, 'time')}{end}"
    )
    large = view.once(too_large)
    heard = [e for each in large for e in each.told] + [e for r in waits for e in _undelivered(view, r)]
    if large:
        worst = max(large, key=lambda each: each.wait.wait_ns)
        text += f"; only large packets were lost ({worst.size:,} bytes were sent {worst.times} times in vain)"
    text += f"; {said(heard)}." if heard else "."
    values = {
        "connections": n,
        "waits": len(waits),
        "retransmissions": times,
        "longest_s": longest.wait_ns / 1e9,
        "never_acknowledged": lost,
        "too_large": len(large),
        "icmp_errors": len(heard),
    }
    advice = _MTU if large else _LOST
    frames = [f for r in sorted(waits, key=lambda r: -r.wait_ns) for f in r.frames]
    return [finding(view, ID, "problem", text, [*(e.frame for e in heard), *frames], values, advice)]


def _undelivered(view: View, wait: Repeat) -> list[Error]:
    """What was said of the data while it was waited for."""
    orig, orig_port, resp, resp_port = view.ends(wait.session)
    ends = ((orig, orig_port), (resp, resp_port))
    about = view.once(undelivered).get((TCP, *(ends if wait.orig else ends[::-1])), [])
    return [e for e in about if wait.start_ns <= e.ts <= wait.end_ns]
