"""Did the network lose packets, and did that cost time?

Asks: how many segments with data really had to be sent again, and how long the other side waited for them.
Applies: to connections captured in both directions; where all were captured in one only, to those in which something was sent again three times.
Cannot see: where on the way they were lost, unless two captures show the connection; losses that SACK and a short round trip repair at once look the
    same as none to a program; whether others filled the line, too.
Normal: copies of packets, spurious retransmissions, reordering, repeated SYNs and FINs, probes and what comes after the close are not loss. A loss of 1 %
    repaired within a round trip (RFC 5681 3.2, fast retransmit) is everyday; only time lost makes it a problem: a second, or less of a
    transfer that takes few.
    What a receiver says that it got twice (D-SACK, RFC 2883) was not lost. On a line that is full, drops tell TCP how much it may send (RFC 5681 3.1, RFC
    2914 3), and cost nobody time as long as the line is never idle: a warning. A sender that takes the MTU from an ICMP error sends
    what was too large again, in smaller pieces (RFC 1191 6.3): nothing was lost, and the time is that of the search.
    A standstill is told by stalled; beside one there is a problem only if what else was lost makes one.
"""

from __future__ import annotations

from dataclasses import replace

from netlens.lenses import Finding
from netlens.lenses._between import same, where
from netlens.lenses._connects import OPEN, attempts
from netlens.lenses._full import full_rates
from netlens.lenses._needless import astray, without_needless
from netlens.lenses._repeats import STALL_TIMES, Delivery, Repeat, deliveries, stalled
from netlens.lenses._said import TCP, End, too_big
from netlens.lenses._view import SEAM_NS, S, View, finding, graded, most, seconds, views
from netlens.lenses.path_mtu import told_of
from netlens.parsers.icmp import Error
from netlens.text import plural

ID = "packet-loss"
GROUP = "delivery"
RANK = 70
RESENT = 3  #: fewer are an accident
#: of a connection with so many segments this share was sent again; of a shorter one that share
LONG, LONG_SHARE, SHORT_SHARE = 50, 0.03, 0.1
WAITED_NS = S  #: what is noticed
SLOWED_NS, SLOWED_SHARE = S // 2, 0.1  #: so is this, if it is so much of the time that a long one took
NOTICED_NS = S // 5  #: from here on, and where :data:`RESENT` were lost, the time for a lost SYN is counted as well
AGAIN_NS = (
    S // 2
)  #: no SYN is sent again sooner (RFC 6298 2.1: after 1 s); what does is a copy from another capture, as what else came again may be
SOME_SHARE = 0.01
ERRORS = 10  #: of ICMP that are shown


def look(view: View) -> list[Finding]:
    """At most one."""
    lossy, searched = view.once(_lossy)
    return _lost(view, lossy, view.once(told_of)[0]) or _fitted(view, [d for d in searched if d.resent >= RESENT])


def _lossy(view: View) -> tuple[list[Delivery], list[Delivery]]:
    """Connections on which something was lost, if there is enough of it to be told; and those on which something was too large."""
    split = {(e.source, e.destination) for group in view.once(told_of)[0] for e in group}
    repeated = [d for d in view.once(deliveries) if d.repeats and not 0 < view.once(_syn_waits).get(d.session, 0) < AGAIN_NS]
    searched = [d for each in repeated if (d := replace(each, repeats=[r for r in each.repeats if _was_too_large(view, r, split)])).repeats]
    fitted = {id(r) for d in searched for r in d.repeats}
    rest = [replace(d, repeats=[r for r in d.repeats if id(r) not in fitted]) for d in repeated]
    return _to_tell(view, [d for d in rest if d.repeats]), searched


def _was_too_large(view: View, r: Repeat, split: set[tuple[End, End]]) -> bool:
    """Whether what was sent again, and arrived, had been too large for a link, as a router said; ``split``: ways on which something merges packets."""
    way = view.way(r.session, r.orig)
    told = view.once(too_big).get((TCP, *way), ())
    return way not in split and r.acked and r.times < STALL_TIMES and any(r.start_ns <= e.ts <= r.last_ns for e in told)


def _fitted(view: View, shown: list[Delivery]) -> list[Finding]:
    """Segments that were sent again in smaller pieces."""
    if not shown:
        return []
    waited = max(d.waited_ns for d in shown)
    heard = [e for d in shown for orig in (True, False) for e in view.once(too_big).get((TCP, *view.way(d.session, orig)), ())]
    mtu = min((e.mtu for e in heard if e.mtu), default=0)
    text = (
        f"{sum(d.resent for d in shown):,} of {plural(sum(d.segments for d in shown), 'data segment')} on {plural(len(shown), 'connection')} "
        f"({most(view.server(d.session) for d in shown)}) were too large for a link on the way, as {most(e.reporter for e in heard)} said"
        f"{f' (MTU {mtu:,})' if mtu else ''}, and were sent again in smaller pieces, which took up to {seconds(waited)}: TCP found the MTU of the way."
    )
    values = {
        "connections": len(shown),
        "resent": sum(d.resent for d in shown),
        "segments": sum(d.segments for d in shown),
        "spurious": sum(d.spurious for d in shown),
        "waited_s": waited / 1e9,
        "full_mbit_s": 0.0,
    }
    frames = [
        *(e.frame for e in heard[:ERRORS]),
        *(f for d in shown for r in sorted(d.repeats, key=lambda r: -r.wait_ns) for f in r.frames),
    ]
    return [finding(view, ID, "warning", text, frames, values)]


def _standing(view: View, lossy: list[Delivery]) -> set[int]:
    """Repeats that "stalled" tells, by id: what else was never acknowledged there is part of the standstill."""
    stalls = view.once(stalled)
    ended = {(r.session, r.orig) for r in stalls if not r.acked}
    return {id(r) for r in stalls} | {id(r) for d in lossy for r in d.repeats if not r.acked and (r.session, r.orig) in ended}


def _chosen(view: View) -> tuple[list[Delivery], list[Delivery], list[Delivery], dict[int, float]]:
    """Of these: with grave losses, and without what "stalled" tells; with some; and the rates at which lines were full, by session."""
    lossy = view.once(_lossy)[0]
    standing = _standing(view, lossy)
    grave = [d for d in lossy if _grave(view, d)]
    rates = full_rates(view, [d for d in lossy if _is_some(d)])
    grave = [d for d in grave if d.session not in rates]
    only_here = [d for d in grave if _grave(view, replace(d, repeats=[r for r in d.repeats if id(r) not in standing]))]
    some = [d for d in lossy if _is_some(d)]
    if not grave and _everywhere([d for d in some if d.session not in rates]):
        grave = only_here = some
    return grave, only_here, some, rates


def _shown_beside(view: View) -> set[int]:
    """Sessions of which the other capture tells the same: two captures then speak of the same connections, and of one amount that was lost."""
    out: set[int] = set()
    for other in views(view.traffic):
        if other is not view and other.side in (view.traffic.vm, view.traffic.upstream):
            grave, _, some, _ = other.once(_chosen)
            out |= {k for d in grave or some if (k := same(other, view, d.session)) is not None}
    return out


def _lost(view: View, lossy: list[Delivery], mergers: list[list[Error]]) -> list[Finding]:
    grave, only_here, some, rates = view.once(_chosen)
    shown = grave or some
    if shown and len(view.traffic.sides) > 1:
        beside, known = _shown_beside(view), {d.session for d in shown}
        shown = [*shown, *(d for d in lossy if d.session in beside - known)]
    standing = _standing(view, lossy)
    if all(id(r) in standing for d in shown for r in d.repeats):  # the finding "stalled" says it
        return []
    resent, segments = sum(d.resent for d in shown), sum(d.segments for d in shown)
    waited = max(d.waited_ns for d in shown)
    place = where(view, [d.session for d in shown])
    ways = {view.way(d.session, orig) for d in shown for orig in (True, False)}
    merged = [e for group in mergers for e in group if (e.source, e.destination) in ways]
    if merged:
        named = f"{most(e.reporter for e in merged)} merges packets, and then finds them too big for a link (ICMP, MTU {merged[0].mtu:,})"
        place = f"{named}; {place}" if place else named
    filled = bool(shown) and all(d.session in rates for d in shown)
    syn_ns = max((view.once(_syn_waits).get(d.session, 0) for d in grave), default=0)
    cost = f"which cost up to {seconds(waited)}{f' and {seconds(syn_ns)} before that for a SYN' if syn_ns else ''}"
    if filled:
        rate = max(rates[d.session] for d in shown)
        cost = f"while the line was full, at {rate / 1e6:,.1f} Mbit/s (TCP sends more until something is dropped)"
    needless = sum(d.spurious for d in shown)
    garbled, wrong, blocks = ([], 0, 0) if filled else astray(view, shown)
    if garbled:
        place = (
            f"{wrong:,} of {blocks:,} selective acknowledgments (SACK) speak of bytes that were never sent, so that they repair nothing"
            f"{f'; {place}' if place else ''}"
        )
    besides = f"; {needless:,} more had arrived before" if needless > resent else ""
    text = (
        f"{resent:,} of {plural(segments, 'data segment')} had to be sent again on {plural(len(shown), 'connection')} "
        f"({most(view.server(d.session) for d in shown)}), {cost}{besides}{f'; {place}' if place else ''}."
    )
    values = {
        "connections": len(shown),
        "resent": resent,
        "segments": segments,
        "spurious": needless,
        "waited_s": waited / 1e9,
        "full_mbit_s": max((rates.get(d.session, 0.0) for d in shown), default=0.0) / 1e6 if filled else 0.0,
        "sack_astray": wrong,
    }
    frames = [f for d in shown for r in sorted(d.repeats, key=lambda r: -r.wait_ns) for f in r.frames]
    if merged:
        advice = f"Turn LRO and GRO off on the interfaces of {most(e.reporter for e in merged)} (ethtool -K DEV lro off gro off)."
        return [graded(view, ID, only_here, text, [*(e.frame for e in merged[:ERRORS]), *frames], values, advice)]
    advice = "Look for loss on the way: duplex or Wi-Fi errors near either end, a full queue, a policer; mtr HOST shows where it begins."
    if garbled:
        advice = (
            "A firewall or NAT on the way changes sequence numbers and not those in SACK: turn that off there (randomization of sequence numbers), or SACK "
            "(net.ipv4.tcp_sack=0) until it is mended; and look for the loss itself."
        )
    return [graded(view, ID, only_here, text, frames, values, advice)]


def _to_tell(view: View, lossy: list[Delivery]) -> list[Delivery]:
    """Connections with what was lost, if there is enough of it to be told."""
    if not any(_is_some(d) for d in lossy) and not _everywhere(lossy):
        return lossy
    return [d for d in without_needless(view, lossy) if d.repeats]


def _is_some(d: Delivery) -> bool:
    return d.resent >= RESENT or d.resent >= SOME_SHARE * d.segments > 1


def _everywhere(lossy: list[Delivery]) -> bool:
    """Whether connections that are too short to tell by themselves tell it together."""
    resent, segments = sum(d.resent for d in lossy), sum(d.segments for d in lossy)
    return segments >= LONG and resent >= SHORT_SHARE * segments and sum(d.waited_ns for d in lossy) >= WAITED_NS


def _grave(view: View, d: Delivery) -> bool:
    resent = d.resent + (d.spurious if d.repeats else 0)  # a sender that has lost something sends more again than it must
    share = resent / max(d.segments, 1)
    often = resent >= RESENT and share >= (LONG_SHARE if d.segments >= LONG else SHORT_SHARE)
    took = view.column("end_ns")[d.session] - view.column("start_ns")[d.session]
    noticed = d.waited_ns >= NOTICED_NS and d.resent >= RESENT
    waited = d.waited_ns + (view.once(_syn_waits).get(d.session, 0) if noticed else 0)
    slowed = d.segments >= LONG and d.waited_ns >= max(SLOWED_NS, SLOWED_SHARE * took)
    return often and (waited >= WAITED_NS or slowed) and d.waited_ns < SEAM_NS


def _syn_waits(view: View) -> dict[int, int]:
    """By session that opened, how long its client waited before it sent its SYN again: what is lost then is lost like the rest."""
    return {a.session: a.span_ns for a in view.once(attempts) if a.outcome == OPEN and a.span_ns}
