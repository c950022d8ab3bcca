"""Does a broadcast go round in circles?

Asks: whether one host's question by ARP or neighbour discovery for one address came a hundred times within a second.
Applies: where such questions are in the capture.
Cannot see: where the loop is; one in which no such question was caught.
Normal: a host asks once a second (RFC 1122 2.3.2.1, RFC 4861 10), and a mirror port shows a question twice. Switches forward a broadcast to all ports and
    have no TTL: where two links make a circle and no spanning tree (IEEE 802.1D) cuts it, the same one passes for ever.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most
from netlens.parsers.asking import Seen

ID = "broadcast-storm"
GROUP = "delivery"
RANK = 17
TIMES, WITHIN_NS = 100, S


def look(view: View) -> list[Finding]:
    found = {pair: times for pair, seen in view.side.capture.asking.sought.items() if (times := _most_within(seen)) >= TIMES}
    if not found:
        return []
    sought = view.side.capture.asking.sought
    all_ = sum(len(sought[pair]) for pair in found)
    who, whom = most(source for source, _ in found), most(target for _, target in found)
    text = (
        f"The same broadcast passes again and again: {who} asked for the hardware address of {whom} up to {max(found.values()):,} times in a second "
        f"({all_:,} in all)."
    )
    values = {"questions": len(found), "times": all_, "most_in_a_second": max(found.values())}
    advice = "Two links between switches make a circle: unplug one, and turn on the spanning tree (or loop protection) there."
    return [finding(view, ID, "problem", text, [each.frame for pair in found for each in sought[pair]], values, advice)]


def _most_within(seen: list[Seen]) -> int:
    best = low = 0
    for high, each in enumerate(seen):
        while each.ts - seen[low].ts > WITHIN_NS:
            low += 1
        best = max(best, high - low + 1)
    return best
