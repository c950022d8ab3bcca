"""Do datagrams arrive in part only?

Asks: whether fragments of UDP datagrams are in the capture of which others never came.
Applies: where the fragments behind the first are recorded, too. Where none is, a filter by ports left them out (capture-loss).
Cannot see: whether a fragment was lost on the way or by the recorder, unless connections of TCP show that the recorder missed packets; which program they
    belong to, where the first one is missing, which alone has the ports. What went on for too many datagrams at a time is given up.
Normal: fragments of one datagram come together (RFC 791 3.2). The first and the last moment of a capture cut some apart, and so does a recording of one link
    of several over which they are spread, as only the first has ports to choose by (RFC 8900 3.7 names firewalls and balancers that lose them). One lost now
    and then is noise. Answers of which only the first fragment comes are told by dns-unanswered and udp-unanswered, errors about them by unreachable.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from netlens.lenses import Finding
from netlens.lenses._said import UDP
from netlens.lenses._view import S, View, finding, most
from netlens.text import plural
from netlens.wire.addresses import ip_text

ID = "fragments-missing"
GROUP = "delivery"
RANK = 75
LEAST, SHARE = 3, 0.1  #: datagrams between two hosts, of those of the capture that came in fragments
BEGIN_NS, END_NS = S // 10, S  #: of a capture, in which the other fragments may lie outside of it


class Piece(NamedTuple):
    """A datagram of UDP that never became whole. ``first``: its first fragment came; ``more``: another one did."""

    source: str
    destination: str
    frame: int
    first: bool
    more: bool


def pieces(view: View) -> list[Piece]:
    """Datagrams that did not become whole, though time was left. What came by several interfaces in parts is whole for its receiver."""
    begin, end = view.side.bounds_ns
    by_name = defaultdict(list)
    for (_, *name), datagram in view.side.capture.part.decoder.fragments.open.items():
        by_name[tuple(name)].append(datagram)
    return [
        Piece(
            ip_text(s_hi, s_lo, version),
            ip_text(d_hi, d_lo, version),
            only.frame,
            only.starts[:1] == [0],
            only.starts != [0] or only.end >= 0,
        )
        for (version, s_hi, s_lo, d_hi, d_lo, *_), (only, *others) in by_name.items()
        if only.proto == UDP and not others and begin + BEGIN_NS <= only.since_ns <= end - END_NS
    ]


def whole(view: View) -> int:
    """Datagrams that were put together."""
    return sum(n for reason, n in view.side.capture.table("quality").tuples("reason", "frames") if reason == "reassembled")


def look(view: View) -> list[Finding]:
    by_ends: dict[tuple[str, str], list[Piece]] = defaultdict(list)
    for piece in view.once(pieces):
        by_ends[piece.source, piece.destination].append(piece)
    found = [group for group in by_ends.values() if len(group) >= LEAST and any(p.more for p in group)]
    shown, joined = [p for group in found for p in group], whole(view)
    if not shown or view.one_sided or view.missing_bytes[view.in_one].any() or len(shown) < SHARE * (len(shown) + joined):
        return []
    headless = sum(not p.first for p in shown)
    which = ", the first ones among them" if headless else ""
    text = (
        f"{plural(len(shown), 'UDP datagram')} from {most(p.source for p in shown)} to {most(p.destination for p in shown)} arrived in part: fragments "
        f"never came{which}; {joined:,} came whole."
    )
    values = {"datagrams": len(shown), "without_first": headless, "whole": joined}
    advice = (
        "Something on the way drops fragments, by their size or as all but the first have no ports: ping with full packets (ping -M do -s 1472), let "
        "fragments pass firewalls, or have the sender send less in one datagram."
    )
    return [finding(view, ID, "warning", text, [p.frame for p in shown], values, advice)]
