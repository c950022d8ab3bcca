"""Does the same broadcast come again and again, as where switches are connected in a circle?

Asks: whether one question by ARP came more than a hundred times within a second.
Applies: to ARP over Ethernet.
Cannot see: whether switches send the same frame in circles, or a host sends it anew without pause: a question by ARP has no number of its own. So this is a
    warning; a problem where one of the two hosts meanwhile could not be reached, or only after seconds.
Normal: a host asks for an address once a second at most (RFC 1122 2.3.2.1); who looks for hosts asks for many, for each a few times. A port that mirrors
    many others records each question as often at once, within a millisecond or two, and then no more.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._connects import NOT_HEARD, OPEN, UNANSWERED, attempts
from netlens.lenses._view import S, View, finding, most
from netlens.lenses.slow_connect import LONG_NS
from netlens.text import plural

ID = "broadcast-storm"
GROUP = "delivery"
RANK = 13  #: before connections that fail for it
GOES_ON = 50  #: times within a second, copies within 2 ms (netlens.parsers.asking) left out


def _goes_on(times_ns: list[int]) -> bool:
    return any(later - earlier < S for earlier, later in zip(times_ns, times_ns[GOES_ON:], strict=False))


def look(view: View) -> list[Finding]:
    """At most one."""
    asking = view.side.capture.asking
    bursts = {pair: burst for pair, burst in asking.bursts.items() if _goes_on([seen.ts for seen in asking.sought.get(pair, ())])}
    if not bursts:
        return []
    times = max(burst.times for burst in bursts.values())
    asked = most(f"{target}, asked for by {source}" for source, target in bursts)
    text = f"The same broadcast came up to {times:,} times within a second ({plural(len(bursts), 'question')} by ARP: {asked})."
    hosts = {address for pair in bursts for address in pair}
    harmed = [
        a
        for a in view.once(attempts)
        if (a.outcome in (UNANSWERED, NOT_HEARD) or (a.outcome == OPEN and a.usable_ns - a.syn_ns[0] >= LONG_NS))
        and {a.client, a.server} & hosts
    ]
    if harmed:
        text = f"{text.removesuffix('.')}; {plural(len(harmed), 'connection')} of these hosts could not be opened meanwhile, or only after seconds."
    advice = "Look for switches that are connected in a loop (spanning tree, counters of broadcasts), or for a program on that host that asks without pause."
    return [
        finding(
            view,
            ID,
            "problem" if harmed else "warning",
            text,
            [*(burst.frame for burst in bursts.values()), *(frame for a in harmed for frame in a.syn_frames)],
            {"questions": len(bursts), "most_a_second": times, "connections": len(harmed)},
            advice,
        )
    ]
