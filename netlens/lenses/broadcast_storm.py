"""Does the same broadcast come again and again, as where switches are connected in a circle?

Asks: whether one question by ARP came more than a hundred times within a second.
Applies: to ARP over Ethernet.
Cannot see: whether switches send the same frame in circles, or a host sends it anew without pause: a question by ARP has no number of its own. So this is a
    warning.
Normal: a host asks for an address once a second at most (RFC 1122 2.3.2.1); who looks for hosts asks for many, for each a few times. A port that mirrors
    several others records each question some times.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, most
from netlens.text import plural

ID = "broadcast-storm"
GROUP = "delivery"
RANK = 71


def look(view: View) -> list[Finding]:
    """At most one."""
    bursts = view.side.capture.asking.bursts
    if not bursts:
        return []
    times = max(burst.times for burst in bursts.values())
    asked = most(f"{target}, asked for by {source}" for source, target in bursts)
    text = f"The same broadcast came up to {times:,} times within a second ({plural(len(bursts), 'question')} by ARP: {asked})."
    advice = "Look for switches that are connected in a loop (spanning tree, counters of broadcasts), or for a program on that host that asks without pause."
    return [
        finding(
            view,
            ID,
            "warning",
            text,
            [burst.frame for burst in bursts.values()],
            {"questions": len(bursts), "most_a_second": times},
            advice,
        )
    ]
