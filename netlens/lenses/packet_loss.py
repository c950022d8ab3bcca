"""Did the network lose packets, and did that cost time?

Asks: how many segments with data really had to be sent again, and how long the other side waited for them.
Applies: to connections captured in both directions; where all were captured in one only, to those in which something was sent again three times.
Cannot see: where on the way they were lost, unless two captures show the connection; losses that SACK and a short round trip repair at once look the
    same as none to a program.
Normal: copies of packets, spurious retransmissions, reordering, repeated SYNs and FINs, probes and what comes after the close are not loss. A loss of 1 %
    repaired within a round trip (RFC 5681 3.2, fast retransmit) is everyday; only time lost makes it a problem: a second, or less of a
    transfer that takes few.
    A standstill is told by stalled; beside one there is a problem only if what else was lost makes one.
"""

from __future__ import annotations

from dataclasses import replace

from netlens.lenses import Finding
from netlens.lenses._between import where
from netlens.lenses._repeats import Delivery, deliveries, stalled
from netlens.lenses._view import SEAM_NS, S, View, graded, most, seconds
from netlens.lenses.path_mtu import told_of
from netlens.text import plural

ID = "packet-loss"
GROUP = "delivery"
RANK = 70
RESENT = 3  #: fewer are an accident
#: of a connection with so many segments this share was sent again; of a shorter one that share
LONG, LONG_SHARE, SHORT_SHARE = 50, 0.03, 0.1
WAITED_NS = S  #: what is noticed
SLOWED_NS, SLOWED_SHARE = S // 2, 0.1  #: so is this, if it is so much of the time that a long one took
SOME_SHARE = 0.01
ERRORS = 10  #: of ICMP that are shown


def look(view: View) -> list[Finding]:
    lossy = [d for d in view.once(deliveries) if d.repeats]
    stalls = view.once(stalled)
    standing = {id(r) for r in stalls}
    grave = [d for d in lossy if _grave(view, d)]
    only_here = [d for d in grave if _grave(view, replace(d, repeats=[r for r in d.repeats if id(r) not in standing]))]
    some = [d for d in lossy if d.resent >= RESENT or d.resent >= SOME_SHARE * d.segments > 1]
    if not grave and _everywhere(some):
        grave = only_here = some
    shown = grave or some
    if all(r in stalls for d in shown for r in d.repeats):  # the finding "stalled" says it
        return []
    resent, segments = sum(d.resent for d in shown), sum(d.segments for d in shown)
    waited = max(d.waited_ns for d in shown)
    place = where(view, [d.session for d in shown])
    ways = {view.way(d.session, orig) for d in shown for orig in (True, False)}
    merged = [e for group in view.once(told_of)[0] for e in group if (e.source, e.destination) in ways]
    if merged:
        named = f"{most(e.reporter for e in merged)} merges packets, and then finds them too big for a link (ICMP, MTU {merged[0].mtu:,})"
        place = f"{named}; {place}" if place else named
    text = (
        f"{resent:,} of {plural(segments, 'data segment')} had to be sent again on {plural(len(shown), 'connection')} "
        f"({most(view.server(d.session) for d in shown)}), which cost up to {seconds(waited)}{f'; {place}' if place else ''}."
    )
    values = {
        "connections": len(shown),
        "resent": resent,
        "segments": segments,
        "spurious": sum(d.spurious for d in shown),
        "waited_s": waited / 1e9,
    }
    frames = [f for d in shown for r in sorted(d.repeats, key=lambda r: -r.wait_ns) for f in r.frames]
    if merged:
        advice = f"Turn LRO and GRO off on the interfaces of {most(e.reporter for e in merged)} (ethtool -K DEV lro off gro off)."
        return [graded(view, ID, only_here, text, [*(e.frame for e in merged[:ERRORS]), *frames], values, advice)]
    advice = "Look for loss on the way: duplex or Wi-Fi errors near either end, a full queue, a policer; mtr HOST shows where it begins."
    return [graded(view, ID, only_here, text, frames, values, advice)]


def _everywhere(lossy: list[Delivery]) -> bool:
    """Whether connections that are too short to tell by themselves tell it together."""
    resent, segments = sum(d.resent for d in lossy), sum(d.segments for d in lossy)
    return segments >= LONG and resent >= SHORT_SHARE * segments and sum(d.waited_ns for d in lossy) >= WAITED_NS


def _grave(view: View, d: Delivery) -> bool:
    resent = d.resent + (d.spurious if d.repeats else 0)  # a sender that has lost something sends more again than it must
    share = resent / max(d.segments, 1)
    often = resent >= RESENT and share >= (LONG_SHARE if d.segments >= LONG else SHORT_SHARE)
    took = view.column("end_ns")[d.session] - view.column("start_ns")[d.session]
    slowed = d.segments >= LONG and d.waited_ns >= max(SLOWED_NS, SLOWED_SHARE * took)
    return often and (d.waited_ns >= WAITED_NS or slowed) and d.waited_ns < SEAM_NS
