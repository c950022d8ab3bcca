"""Did packets arrive damaged?

Asks: whether segments that had to be sent again had arrived here the first time with a wrong checksum; the same of answers of DNS behind which their client
    asked again.
Applies: to DNS over UDP, and to TCP captured near the receiver, in files that can be read again, where several segments were sent again that had been seen.
Cannot see: frames that the network card or a router throws away, whose checksums are of Ethernet; what was damaged so that the checksum is right.
Normal: a receiver drops a segment with a wrong checksum, and its sender repeats it (RFC 9293 3.1, 3.8.1). Ethernet finds bits that change on a line, so what
    is left was damaged in a router, a modem, a tunnel or memory (Stone and Partridge, 2000). What is sent here has no checksum yet where the card adds it,
    and what the card has put together has none that fits; both are taken, and not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from netlens.columns import MISSING, Ints
from netlens.errors import NetlensError
from netlens.lenses import Finding
from netlens.lenses._repeats import deliveries
from netlens.lenses._said import TCP, UDP
from netlens.lenses._view import ACK, S, View, finding, most
from netlens.schema import Table
from netlens.text import plural

ID = "wrong-checksums"
GROUP = "delivery"
RANK = 48
LEAST, SHARE = 3, 0.2  #: damaged segments; and of those that were sent again (others are lost as well where frames are damaged)
NEARER = 3  #: times the way to one side is shorter than to the other: then the capture is near it
MOST = 64  #: segments that are looked at
LOOKED_AT = 1 << 12  #: lookups among which those are sought whose checksums must be right
#: from an answer to the same question; a resolver library waits 1 to 5 s for what it takes for no answer (resolv.conf(5))
AGAIN_NS = (S // 2, 6 * S)
TWICE = 2  #: sendings; the last frame of a repeat is its acknowledgment


def look(view: View) -> list[Finding]:
    """Segments that were sent again, and answers of DNS that were not taken."""
    return [*_segments(view), *_answers(view)]


def _answers(view: View) -> list[Finding]:
    """Answers of DNS that were in the capture when their client asked the same again, from the same port with the same id."""
    lookups = view.side.capture.table("lookups")
    lookups = lookups.take((lookups.ints("query_ns") != MISSING) & (lookups["transport"] == "udp"))
    names = ("orig_ip", "orig_port", "resolver_ip", "txid", "qname", "qtype", "query_ns", "answer_ns", "answer_frame")
    ignored: list[tuple[str, str, int]] = []
    repeated: set[tuple[str, str]] = set()  # client and name
    last: dict[tuple[object, ...], tuple[int | None, int]] = {}
    for *key, asked_ns, answered_ns, frame in sorted(lookups.take(_asked_twice(lookups)).tuples(*names), key=lambda r: r[6]):
        before_ns, before = last.get(tuple(key), (None, 0))
        if before_ns is not None and AGAIN_NS[0] <= asked_ns - before_ns <= AGAIN_NS[1]:
            ignored.append((key[0], key[2], before))
            repeated.add((key[0], key[4]))
        last[tuple(key)] = answered_ns, frame
    if len(ignored) < LEAST:
        return []
    first = {frame for *_, frame in ignored[:MOST]}
    # where checksums of questions, or of answers that were taken, are wrong too, they tell nothing: addresses were changed, or the card makes them
    rows = [*lookups.take(np.arange(min(lookups.rows, LOOKED_AT))).tuples("orig_ip", "qname", "answer_frame", "query_frame")]
    taken = [answer for client, name, answer, _ in rows if answer is not None and (client, name) not in repeated][:MOST]
    others = {*[frame for *_, frame in rows if frame is not None][:MOST], *taken}
    right = checked(view, [*first, *others], UDP)
    damaged = [each for each in ignored[:MOST] if right.get(each[2]) is False]
    if len(damaged) < LEAST or any(right.get(frame) for frame in first) or not all(right.get(frame, True) for frame in others):
        return []
    text = (
        f"{plural(len(damaged), 'DNS answer')} arrived damaged: their UDP checksums are wrong, and {most(client for client, *_ in damaged)} asked again as if "
        f"{most(resolver for _, resolver, _ in damaged)} had said nothing."
    )
    values = {"damaged": len(damaged), "resolvers": sorted({resolver for _, resolver, _ in damaged})}
    advice = (
        "Something on the way changes answers and leaves their checksums as they were (a NAT, a filter, a tunnel, a network card or its driver): compare "
        "with a capture at the resolver."
    )
    return [finding(view, ID, "problem", text, [frame for *_, frame in damaged], values, advice)]


def _asked_twice(lookups: Table) -> Ints:
    """Rows of which others have the same port and id."""
    _, which, times = np.unique(lookups.ints("orig_port") << 16 | lookups.ints("txid"), return_inverse=True, return_counts=True)
    return np.flatnonzero(times[which] > 1)


def _segments(view: View) -> list[Finding]:
    ways = dict.fromkeys(
        (r.session, r.orig)
        for d in view.once(deliveries)
        for r in d.repeats
        if not r.missed and not r.deaf and r.acked and len(r.frames) > TWICE and _is_near_receiver(view, d.session, r.orig)
    )
    pairs = [(k, *frames) for k, orig in ways for frames in _sent_again(view, k, orig)]
    again = pairs[:MOST]
    if len(again) < LEAST:
        return []
    taken = _taken(view, ways, pairs)
    right = checked(view, [*(frame for _, *frames in again for frame in frames), *taken])
    damaged = [(k, first, last) for k, first, last in again if right.get(first) is False and right.get(last)]
    known = sum(first in right for _, first, _ in again)
    if len(damaged) < LEAST or len(damaged) < SHARE * known or not all(right.get(frame, True) for frame in taken):
        return []
    sessions = {k for k, *_ in damaged}
    text = (
        f"{len(damaged):,} of {plural(known, 'segment')} that had to be sent again had arrived damaged: their checksums are wrong, those of the others "
        f"are right ({plural(len(sessions), 'connection')}, {most(view.server(k) for k in sessions)})."
    )
    values = {"damaged": len(damaged), "resent": known, "connections": len(sessions)}
    advice = (
        "Something on the way changes packets (a faulty router, modem, cable, network card or its driver): look at the error counters of each (ethtool -S, "
        "ip -s link), and replace one after the other."
    )
    return [finding(view, ID, "problem", text, [frame for _, *frames in damaged for frame in frames], values, advice)]


def _sent_again(view: View, k: int, orig: bool) -> list[tuple[int, int]]:
    """Frames of the first and the last sending of what one side sent again before it was acknowledged: what a receiver throws away comes again as soon as three
    others have come (RFC 5681 3.2), which may be less than a handshake took."""
    seg, acked = view.segments(k), -1
    sent: dict[int, list[int]] = {}
    for i in range(len(seg)):
        if seg.orig[i] != orig:
            acked = max(acked, seg.acked[i]) if seg.flags[i] & ACK else acked
        elif seg.length[i] and (seg.offset[i] not in sent or acked <= seg.offset[i]):
            sent.setdefault(seg.offset[i], []).append(seg.frame[i])
    return [(frames[0], frames[-1]) for frames in sent.values() if len(frames) > 1]


def _taken(view: View, ways: Iterable[tuple[int, bool]], pairs: list[tuple[int, int, int]]) -> list[int]:
    """Some frames of the same directions whose data was not sent again, or for the last time: if checksums of these are wrong, they tell nothing."""
    again = {frame for _, first, last in pairs for frame in (first, last)}
    found: list[int] = []
    for k, orig in ways:
        seg = view.segments(k)
        offsets = {seg.offset[i] for i in range(len(seg)) if seg.orig[i] == orig and seg.frame[i] in again}
        mine = (i for i in range(len(seg)) if seg.orig[i] == orig and seg.length[i] and seg.offset[i] not in offsets)
        found += [seg.frame[i] for i in islice(mine, MOST)]
        if len(found) >= MOST:
            break
    return [*(last for *_, last in pairs[:MOST]), *found]


def _is_near_receiver(view: View, k: int, orig: bool) -> bool:
    """Whether a session was captured near who receives what one side sends, as the handshake shows."""
    s = view.sessions
    to_server = float(s["synack_ms"][k])
    to_client = float(s["handshake_ms"][k]) - to_server
    return to_client > NEARER * to_server if orig else to_server > NEARER * to_client  # not so if either is unknown


def checked(view: View, frames: list[int], protocol: int = TCP, unfilled: set[int] | None = None) -> dict[int, bool]:
    """Whether checksums are right, by frame; of none where the capture cannot be read again. ``unfilled``: see :func:`netlens.parsers.checked.checksums`."""
    from netlens.parsers.checked import checksums
    from netlens.parsers.packet_digests import readable_again

    paths = view.side.capture.paths
    if not readable_again(paths):
        return {}
    try:
        return checksums(paths, frames, protocol, unfilled)
    except NetlensError:
        return {}  # it was changed since
