"""The same packet recorded twice: by a mirror port, before and after routing, by NFLOG; on the air, sent once more or on by an access point.

A copy has the IP identification of the packet and comes at once; a packet sent again is a new one, a round trip later at the earliest. Of copies with data
the receiver's own words tell whether the way made them (D-SACK): it then got them twice. Without these nobody knows, and they are taken for the recorder's.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, NamedTuple

import numpy as np

from netlens.api import Capture
from netlens.errors import NetlensError
from netlens.parsers.headers_again import duplicates
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.trail import Trail
from netlens.wire.link import AIR_RETRY, ON_AIR

#: A copy comes within this of the packet; measured 0 to 12.5 ms. The shortest retransmission time-out in use is 200 ms (Linux; RFC 6298 says 1 s).
COPY_NS = 50_000_000
COPY_V6_NS = 20_000_000  #: without an identification (IPv6, or zero), with the same TCP timestamp, which ticks each 1 to 10 ms
COPY_BARE_NS = 1_000_000  #: with neither
#: An access point keeps what is for a station that sleeps until this wakes up: after some beacons, 100 ms each (IEEE 802.11-2020 11.2.3)
SENT_ON_NS = 1_000_000_000
#: A receiver answers a segment that it has got before at once (RFC 5681 4.2); at the sender a round trip later
ANSWERED_NS = 1_000_000_000
_FIN_OR_SYN, _ACK = 3, 16


def is_copy(apart: int, ident_before: int, ident: int, stamp_before: int, stamp: int) -> bool:
    """Whether a segment that is otherwise the same as one ``apart`` ns before is a copy of it."""
    if apart < 0:
        return ident_before == ident
    if ident > 0 or ident_before > 0:
        return ident == ident_before and apart < COPY_NS
    if stamp > 0 or stamp_before > 0:
        return stamp == stamp_before and apart < COPY_V6_NS
    return apart < COPY_BARE_NS


def is_copy_on_air(apart: int, iface_before: int, iface: int, ident_before: int, ident: int) -> bool:
    """The same of segments that were heard on the air: a station sends a frame once more that is not acknowledged there (Retry, IEEE 802.11-2020 10.3.4.4), and
    an access point sends on what is for another station.

    iface_before, iface : as in :mod:`netlens.wire.columns`.
    """
    if not iface & iface_before & ON_AIR or ident != ident_before or apart < 0:
        return False
    sent_on = (iface ^ iface_before) & 3 != 0
    return apart < (SENT_ON_NS if sent_on else COPY_NS if iface & AIR_RETRY else 0)


class Copies(NamedTuple):
    """Segments of sessions that repeat something, each of which is a copy of one before it.

    segments : all.  repeated : those of them that count as repeated.  on_the_way : those of all that came to their receiver twice, as it says.
    """

    segments: int
    repeated: int
    on_the_way: int


def copies_of_repeats(capture: Capture) -> Copies:
    """How many there are."""
    if capture.trail is None:
        return Copies(0, 0, 0)
    t, s = capture.trail.segments(), capture.table("sessions")
    suspicious: np.ndarray[Any, Any] = s["orig_retransmits"] + s["resp_retransmits"] > 0
    at = np.flatnonzero(suspicious[t["session"]])
    keys = [t[name][at] for name in ("ts", "ident", "stamp", "window", "flags", "length", "offset", "acked", "way", "session")]
    order = np.lexsort(keys)
    same = np.ones(max(len(at) - 1, 0), bool)
    for key in keys[1:]:
        same &= np.diff(key[order].astype(np.int64)) == 0
    soon = np.where(keys[1] > 0, COPY_NS, np.where(keys[2] > 0, COPY_V6_NS, COPY_BARE_NS))
    copy = at[order[1:]][same & (np.diff(keys[0][order]) < soon[order[1:]])]
    repeated = int(((t["length"][copy] > 0) | (t["flags"][copy] & _FIN_OR_SYN > 0)).sum())
    return Copies(len(copy), repeated, _on_the_way(capture, copy))


def _on_the_way(capture: Capture, copy: np.ndarray[Any, Any]) -> int:
    """How many copies their receiver got twice, as it says (D-SACK, RFC 2883): the way made these, and not who recorded them.

    Nobody says so of copies without data: they are taken with those of the same sender, if most of these are told of.  copy : rows of the trail.
    """
    assert capture.trail is not None
    t = capture.trail.segments()
    if not len(copy) or not readable_again(capture.paths):
        return 0
    answering = _answers(capture.trail, copy)
    try:
        told = duplicates(capture.paths, t["frame"][answering].tolist()) if len(answering) else {}
    except NetlensError:
        return 0
    said: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(
        list
    )  # by session and sender of what came twice: when, and which bytes
    for i in answering.tolist():
        if (block := told.get(int(t["frame"][i]))) is not None:
            acked = int(t["acked"][i])
            said[int(t["session"][i]), 1 - int(t["way"][i])].append((int(t["ts"][i]), acked + block.begin, acked + block.end))
    total = 0
    for (session, way), blocks in said.items():
        own = copy[(t["session"][copy] == session) & (t["way"][copy] == way)]
        data = np.sort(own[t["length"][own] > 0])
        proven, left = 0, deque(blocks)
        for i in data.tolist():  # each block tells of one copy
            ts, low, high = int(t["ts"][i]), int(t["offset"][i]), int(t["offset"][i] + t["length"][i])
            found = next((b for b in left if ts <= b[0] <= ts + ANSWERED_NS and b[1] < high and low < b[2]), None)
            if found is not None:
                left.remove(found)
                proven += 1
        total += len(own) - len(data) + proven if 2 * proven > len(data) else proven
    return total


def _answers(trail: Trail, copy: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of the trail that may tell of copies: of the same sessions, the other way, and soon after one."""
    t = trail.segments()
    with_data = copy[t["length"][copy] > 0]
    found = np.zeros(len(t["ts"]), bool)
    for session in np.unique(t["session"][with_data]).tolist():
        at = trail.of(session)
        rows = np.arange(at.start, at.stop)
        for way in (0, 1):
            times = np.sort(t["ts"][with_data[(t["session"][with_data] == session) & (t["way"][with_data] == way)]])
            theirs = rows[(t["way"][rows] != way) & (t["flags"][rows] & _ACK > 0)]
            if len(times):
                before = np.searchsorted(times, t["ts"][theirs], "right") - 1
                found[theirs[(before >= 0) & (t["ts"][theirs] - times[np.maximum(before, 0)] <= ANSWERED_NS)]] = True
    return np.flatnonzero(found)
