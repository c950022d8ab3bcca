"""Who goes on to send packets that are too large for a link on the way?

Asks: whether a router says of what one host sends to another, for seconds, that it is too large and may not be fragmented.
Applies: where these errors of ICMP are in the capture.
Cannot see: why the sender does not obey: a firewall drops the errors on their way, or it does not know the packets that they quote.
Normal: a sender takes the MTU from the first error and sends smaller packets (RFC 1191 6.3, RFC 8201 4); what was on the way by then draws some more. Who looks
    for the way's MTU, or pings with sizes, wants such errors. A router that merges what it receives (LRO, GRO) and cannot send it on complains of packets
    that nobody sent. Who probes with packets of its own (RFC 4821 7.3, RFC 8899 5.1) tries each size up to three times, and a smaller one after an error.
    Where most datagrams are smaller, pass and are answered, such errors may be of probes, too: a warning.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from netlens.lenses import Finding
from netlens.lenses._said import TCP, UDP, errors
from netlens.lenses._view import S, View, graded, grouped, most, seconds
from netlens.parsers.icmp import TOO_BIG, Error
from netlens.text import plural

ID = "path-mtu"
GROUP = "delivery"
RANK = 43
TIMES, SPAN_NS = 5, 3 * S  #: errors about one conversation
SPELLS, FORGOTTEN_NS = 3, 60 * S  #: seconds in which they come, a burst has one or two, and how often one must come
HEADERS = {4: 40, 6: 60}  #: bytes of TCP in IP, at least
OPTIONS = 40  #: bytes of TCP's, at most
PROBES = 3  #: of one size (RFC 8899 5.1.2: MAX_PROBES)
PASSING = 4  #: times as many datagrams as errors


def look(view: View) -> list[Finding]:
    """At most one of packets that are too large, and one of packets that were merged."""
    merged, others = view.once(told_of)
    return [*_told(view, merged, True), *_told(view, others, False)]


def told_of(view: View) -> tuple[list[list[Error]], list[list[Error]]]:
    """Errors about each conversation that come for seconds: where what was sent is small enough, so that something merged it, and others."""
    told = [e for e in view.once(errors) if e.what == TOO_BIG and e.mtu and e.protocol in (TCP, UDP)]
    flows = grouped(told, lambda e: (e.reporter, e.protocol, e.source, e.destination, e.mtu))
    found = [group for group in flows.values() if _lasts(group)]
    merged = [group for group in found if _are_merged(view, group)]
    return merged, [group for group in found if group not in merged and not _probes(group)]


def _lasts(group: list[Error]) -> bool:
    """Whether errors about one conversation come again and again, and not when the MTU that the sender keeps is forgotten (RFC 1191 6.3: ten minutes)."""
    spells = {e.ts // S for e in group}
    lasted = group[-1].ts - group[0].ts
    return len(group) >= TIMES and len(spells) >= SPELLS and SPAN_NS <= lasted <= len(spells) * FORGOTTEN_NS


def _probes(group: list[Error]) -> bool:
    """Whether the sender looks for the size that fits: it tries each a few times, and smaller ones after it."""
    sizes = [e.size for e in group]
    return all(size >= later for size, later in pairwise(sizes)) and max(Counter(sizes).values()) <= PROBES


def _rest_passes(view: View, group: list[Error]) -> bool:
    """Whether what is too large is a small part of a conversation over UDP that is answered."""
    ends = group[0].source, group[0].destination
    sent = sum(t.datagrams for t in view.conversations if (t.source, t.destination) == ends)
    answers = sum(t.datagrams for t in view.conversations if (t.destination, t.source) == ends)
    return group[0].protocol == UDP and min(sent, PASSING * answers) >= PASSING * len(group)


def _are_merged(view: View, group: list[Error]) -> bool:
    """Whether all that is sent is small enough: by what the errors quote themselves, or with all options that TCP may have."""
    first, longest = group[0], 0
    for k in range(view.sessions.rows):
        for orig in (True, False):
            if first.protocol == TCP and view.way(k, orig) == (first.source, first.destination):
                seg = view.segments(k)
                longest = max([longest, *(n for n, mine in zip(seg.length, seg.orig, strict=True) if mine == orig)])
    headers = HEADERS[6 if ":" in first.source[0] else 4] + (OPTIONS if any(e.size > e.mtu for e in group) else 0)
    return 0 < longest <= first.mtu - headers


def _told(view: View, found: list[list[Error]], merged: bool) -> list[Finding]:
    if not found:
        return []
    told = [e for group in found for e in group]
    routers, senders, mtu = most(e.reporter for e in told), most(e.source[0] for e in told), min(e.mtu for e in told)
    lasted = max(group[-1].ts - group[0].ts for group in found)
    said = f"{plural(len(told), 'ICMP error')} over {seconds(lasted)}"
    if merged:
        text = f"{routers} says that packets of {senders} are too large for a link (MTU {mtu:,}), which are not so long where they are sent: {said}."
        advice = f"Something merges them before {routers} (LRO, GRO), which must not be where packets are forwarded: ethtool -K ... lro off gro off there."
    else:
        text = f"{senders} goes on to send packets that are too large for a link behind {routers} (MTU {mtu:,}): {said}."
        advice = "These errors do not reach the sender, or it ignores them: let ICMP through to it, or lower its MTU or the MSS (TCPMSS --clamp-mss-to-pmtu)."
    values = {"icmp_errors": len(told), "mtu": mtu, "merged": merged, "longest_s": lasted / 1e9}
    grave = merged or not all(_rest_passes(view, group) for group in found)
    return [graded(view, ID, grave, text, [e.frame for e in told], values, advice)]
