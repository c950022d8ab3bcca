"""Which routes of BGP come and go?

Asks: whether one router withdraws a prefix again and again, and announces it again each time.
Applies: where its UPDATEs are in the capture in clear, in files that can be read again.
Cannot see: what makes the route go; messages that begin in one segment and end in the next; sessions with several paths for a prefix (RFC 7911), or whose
    messages may all be read so.
Normal: a route is withdrawn when it is gone, and announced when it is there; a new announcement in place of the old one (other attributes) is no withdrawal.
    What is withdrawn and announced in one message or moment was there all the time (RFC 4271 4.3). Of the routes of the whole internet some flap all day: a
    warning, unless they are a tenth of those that the session told of from its beginning. So are routes of hosts, which programs announce while they run;
    those that are to be dropped (BLACKHOLE, RFC 7999) come and go by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import NamedTuple

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._reread import reread
from netlens.lenses._view import S, View, graded, grouped, most, seconds, up_to
from netlens.parsers.pipeline import again
from netlens.text import plural
from netlens.wire import columns as c

ID = "bgp-flaps"
GROUP = "delivery"
RANK = 47
PORT = 179
#: Withdrawals within a time that are too many (RFC 7196: 1,000 each, halved in 15 min, and damped from 6,000 on)
FLAPS, FLAPS_NS = 6, 900 * S
SHARE = 0.1
TOGETHER_NS = S // 2  #: of a withdrawal and the announcement behind it: one change, of which two messages were made
MOST = 50_000  #: segments that are read again
SHORTEST = 23  #: bytes of an UPDATE; a KEEPALIVE has 19 (RFC 4271 4.3, 4.4)
_MARKER, _HEADER, _OPEN, _UPDATE = b"\xff" * 16, 19, 1, 2
_COMMUNITIES, _BLACKHOLE = 8, b"\xff\xff\x02\x9a"
_REACHED, _UNREACHED = 14, 15  # attributes with prefixes of other families (RFC 4760)
_LONG = 0x10  # flag of an attribute: its length has two bytes
_IPV4, _IPV6, _UNICAST = 1, 2, 1


class Told(NamedTuple):
    """Of a prefix, or of an OPEN, which has none ("").  is_plain : whether no number of a path can stand before it (RFC 7911)."""

    prefix: str
    announced: bool
    is_plain: bool


def look(view: View) -> list[Finding]:
    """At most one."""
    frames = _frames(view)
    told: dict[tuple[str, str], list[tuple[int, int, Told]]] = {}
    for frame, said in reread(view, list(frames), _said).items():
        ts, sender, receiver = frames[frame]
        told.setdefault((sender, receiver), []).extend((ts, frame, each) for each in said)
    found = []
    for ends, said_ in told.items():
        said_.sort()
        plain = {":" in each.prefix for _, _, each in said_ if each.prefix and each.is_plain}
        by_prefix = grouped((each for each in said_ if each[2].prefix and (":" in each[2].prefix) in plain), lambda each: each[2].prefix)
        flapping = {prefix: gone for prefix, group in by_prefix.items() if _flaps(gone := _withdrawn(group))}
        if flapping:
            networks = [prefix for prefix in flapping if not prefix.endswith("/128" if ":" in prefix else "/32")]
            from_begin = not said_[0][2].prefix
            found.append((ends, flapping, from_begin and len(networks) >= max(SHARE * len(by_prefix), 1)))
    if not found:
        return []
    shown = [each for each in found if each[2]] or found
    (sender, receiver), _, grave = shown[0]
    times = [len(gone) for _, flapping, _ in shown for gone in flapping.values()]
    lasted = max(gone[-1][0] - gone[0][0] for _, flapping, _ in shown for gone in flapping.values())
    prefixes = [prefix for _, flapping, _ in shown for prefix in flapping]
    text = (
        f"BGP: {most(prefixes)} came and went: {sender} withdrew {'it' if len(prefixes) == 1 else 'them'} {up_to(prefixes)}{plural(max(times), 'time')} "
        f"over {seconds(lasted)}, and announced {'it' if len(prefixes) == 1 else 'them'} again each time (flapping), to {receiver}."
    )
    values = {"prefixes": sorted(prefixes), "times": max(times), "longest_s": lasted / 1e9}
    advice = (
        f"Look behind {sender}, at the link or the session by which it has the route (its log, show ip bgp flap-statistics); until that is mended, damping "
        "keeps the changes from the others (RFC 7196)."
    )
    return [
        graded(
            view, ID, grave, text, [frame for _, flapping, _ in shown for gone in flapping.values() for _, frame in gone], values, advice
        )
    ]


def _frames(view: View) -> dict[int, tuple[int, str, str]]:
    """Segments that may hold UPDATEs: when, and between whom; of directions that have enough of them."""
    found: dict[int, tuple[int, str, str]] = {}
    if view.trail is None or not view.sessions.rows:
        return found
    s = view.sessions
    mine = np.flatnonzero((s["orig_port"] == PORT) | (s["resp_port"] == PORT)).tolist()
    for k in sorted(set(mine).intersection(view.first_copies)):
        seg = view.segments(k)
        for orig in (True, False):
            at = [i for i in range(len(seg)) if seg.orig[i] is orig and seg.fresh[i] and seg.length[i] >= SHORTEST]
            if len(at) >= FLAPS and len(found) + len(at) <= MOST:
                ends = view.address(k, orig), view.address(k, not orig)
                found |= {seg.frame[i]: (seg.ts[i], *ends) for i in at}
    return found


def _said(paths: Sequence[str], frames: Iterable[int]) -> dict[int, list[Told]]:
    return {
        row[c.FRAME]: [*updates(buf[row[c.PAY_OFF] : row[c.PAY_OFF] + row[c.PAY_CAP]].tobytes())]
        for buf, packets in again(paths, frames, c.TCP)
        for row in packets.tolist()
    }


def updates(data: bytes) -> Iterator[Told]:
    """What the messages say that are whole in a segment (RFC 4271 4.3); nothing of one that names a prefix twice, as its prefixes begin with a number then."""
    at = data.find(_MARKER)
    while 0 <= at <= len(data) - _HEADER:
        size = int.from_bytes(data[at + 16 : at + 18], "big")
        message = data[at + _HEADER : at + size]
        if data[at : at + 16] != _MARKER or size < _HEADER or at + size > len(data):
            return
        if data[at + 18] == _OPEN:
            yield Told("", True, True)
        if data[at + 18] == _UPDATE:
            told = [*_update(message)]
            if len(set(told)) == len(told):
                yield from told
        at += size


def _update(message: bytes) -> Iterator[Told]:
    gone = 2 + int.from_bytes(message[:2], "big")
    end = min(gone + 2 + int.from_bytes(message[gone : gone + 2], "big"), len(message))
    attributes = [*_attributes(message[gone + 2 : end])]
    dropped = any(kind == _COMMUNITIES and _BLACKHOLE in (value[k : k + 4] for k in range(0, len(value), 4)) for kind, value in attributes)
    fields = [(message[2:gone], 32, False)]
    for kind, value in attributes:
        if kind in (_REACHED, _UNREACHED) and int.from_bytes(value[:2], "big") in (_IPV4, _IPV6) and value[2:3] == bytes([_UNICAST]):
            bits = 32 if value[1] == _IPV4 else 128
            rest = value[5 + value[3] :] if kind == _REACHED and len(value) > 4 else value[3:] if kind == _UNREACHED else b""
            fields.append((rest, bits, kind == _REACHED))
    for data, bits, announced in (*fields, (message[end:], 32, True)):
        if not (announced and dropped):
            is_plain = not _has_numbers(data, bits)
            yield from (Told(prefix, announced, is_plain) for prefix in _prefixes(data, bits))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 3 <= len(data):
        begin = at + (4 if data[at] & _LONG else 3)
        kind, at = data[at + 1], begin + int.from_bytes(data[at + 2 : begin], "big")
        yield kind, data[begin:at]


def _has_numbers(data: bytes, bits: int) -> bool:
    """Whether prefixes may be such with the number of a path before each (four bytes)."""
    at = 0
    while at < len(data):
        length = data[at + 4] if at + 4 < len(data) else bits + 1
        at += 5 + (length + 7) // 8
        if length > bits or at > len(data):
            return False
    return True


def _prefixes(data: bytes, bits: int) -> Iterator[str]:
    at = 0
    while at < len(data):
        length = data[at]
        size = (length + 7) // 8
        packed = data[at + 1 : at + 1 + size]
        if length > bits or len(packed) < size:
            return
        number = int.from_bytes(packed.ljust(bits // 8, b"\0"), "big")
        yield f"{ip_network((number if bits == 32 else number.to_bytes(16, 'big'), length), strict=False)}"
        at += 1 + size


def _withdrawn(said: list[tuple[int, int, Told]]) -> list[tuple[int, int]]:
    """When a prefix was withdrawn that had been announced, and in which frame, unless it was back at once; but for the last time, if it does not come."""
    gone: list[tuple[int, int]] = []
    there = False
    for ts, frame, each in said:
        if there and not each.announced:
            gone.append((ts, frame))
        elif each.announced and not there and gone and ts - gone[-1][0] < TOGETHER_NS:
            gone.pop()
        there = each.announced
    return gone if there else gone[:-1]


def _flaps(gone: list[tuple[int, int]]) -> bool:
    return any(gone[k + FLAPS - 1][0] - gone[k][0] <= FLAPS_NS for k in range(len(gone) - FLAPS + 1))
