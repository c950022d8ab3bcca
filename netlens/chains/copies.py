"""The same packet recorded twice: by a mirror port, before and after routing, by NFLOG; on the air, sent once more or on by an access point.

A copy has the IP identification of the packet and comes at once; a packet sent again is a new one, a round trip later at the earliest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.api import Capture
from netlens.wire.link import AIR_RETRY, ON_AIR

#: A copy comes within this of the packet; measured 0 to 12.5 ms. The shortest retransmission time-out in use is 200 ms (Linux; RFC 6298 says 1 s).
COPY_NS = 50_000_000
COPY_V6_NS = 20_000_000  #: without an identification (IPv6, or zero), with the same TCP timestamp, which ticks each 1 to 10 ms
COPY_BARE_NS = 1_000_000  #: with neither
#: An access point keeps what is for a station that sleeps until this wakes up: after some beacons, 100 ms each (IEEE 802.11-2020 11.2.3)
SENT_ON_NS = 1_000_000_000
_FIN_OR_SYN = 3


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


def copies_of_repeats(capture: Capture) -> tuple[int, int]:
    """Of sessions that repeat something: segments that are copies of one before, and those of them that count as repeated."""
    if capture.trail is None:
        return 0, 0
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
    return len(copy), int(((t["length"][copy] > 0) | (t["flags"][copy] & _FIN_OR_SYN > 0)).sum())
