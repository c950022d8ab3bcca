"""Which requests did a server answer late?

Asks: how long it took from the last byte of a request to the first of its answer, while the client did nothing and nothing was lost.
Applies: to HTTP/1.1 in clear; inside TLS to turns, which is told more carefully: a wait there may be a push channel or a long poll.
Cannot see: what the server did meanwhile, or asked others; of one capture, the share of the way. With a capture on both sides of a tunnel or relay its share
    is measured, and where it is most of the wait, the server is not blamed.
Normal: people notice 1 s and leave after 10 s (Nielsen); a model or a report may need longer. Protocols that wait for events (push, chat, subscriptions)
    are not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlens.lenses._requests import asked, budget_of, relayed
from netlens.lenses._view import S, finding, most, seconds, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View

ID = "slow-server"
GROUP = "time"
RANK = 52
LONG_NS = 5 * S  #: once is enough
LATE_NS = 3 * S  #: twice, or a tenth of all
NOTICED_NS = S
TIMES, SHARE = 2, 0.1
TOLD_SHARE, MOST_SHARE = 0.1, 0.5  #: of the longest wait, from which on a relay's share is told, and is the reason
LOOK = (
    "The requests were acknowledged at once, so the time was spent at the server or behind it: look at its log. Something between that acknowledges for the "
    "server (a proxy, a tunnel) looks the same: then capture behind it as well."
)
UNANSWERED_NS = 10 * S  #: without any answer: what the end of the capture may owe


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view, traffic)]


def _of(view: View, traffic: Traffic) -> list[Finding]:
    all_ = [a for a in view.once(asked) if a.answered or a.wait_ns >= UNANSWERED_NS]
    clear = [a for a in all_ if a.http]
    long = [a for a in clear if a.wait_ns >= LONG_NS]
    late = [a for a in clear if a.wait_ns >= LATE_NS]
    grave = bool(long) or len(late) >= TIMES or (bool(late) and len(late) >= SHARE * len(clear))
    hidden = [a for a in all_ if not a.http and a.answered and a.wait_ns >= LONG_NS]
    some = [a for a in clear if a.wait_ns >= NOTICED_NS]
    shown = late if grave else (late or some) + hidden
    if not shown:
        return []
    of = clear if grave or not hidden else all_
    slowest = max(shown, key=lambda a: a.wait_ns)
    longest = slowest.wait_ns
    in_relay, relay = relayed(budget_of(traffic, view, slowest)) if len(traffic.sides) > 1 else (0, "")
    share = f", {seconds(in_relay)} of it in {relay}" if in_relay >= TOLD_SHARE * longest else ""
    silent = sum(not a.answered for a in shown)
    end = f"; {silent:,} got none" if silent else ""
    whom = most(view.server(a.session) for a in shown)
    kind = "HTTP request" if of is clear else "request"
    text = f"{len(shown):,} of {plural(len(of), kind)}, to {whom}, waited up to {seconds(longest)} for the answer's first byte{share}{end}."
    values: dict[str, Any] = {"requests": len(of), "slow": len(shown), "unanswered": silent, "longest_s": longest / 1e9}
    if share:
        values |= {"relay": relay, "in_relay_s": in_relay / 1e9}
    advice = LOOK if grave else ""
    if grave and in_relay >= MOST_SHARE * longest:
        advice = f"Most of the wait was between the two captures ({relay}), not at the server: look at what carries the traffic there."
    frames = [f for a in sorted(shown, key=lambda a: -a.wait_ns) for f in a.frames[:2]]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]
