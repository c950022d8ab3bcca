"""Do packets of a television stream (MPEG-TS) get lost?

Asks: whether the counters of a transport stream in UDP jump.
Applies: to streams of seconds in UDP whose counters go up one by one, by which they are certain to be such; those in RTP are told by rtp-loss.
Cannot see: where they were lost, on the way or by the recorder, unless connections of TCP show that the recorder missed packets; how many a jump stands for,
    as a counter has 16 values; whether the receiver gets them again.
Normal: the counter of each program's part goes up by one with each packet that carries something, a packet may come twice, and a stream that is cut on
    purpose says so (ISO/IEC 13818-1 2.4.3.3, 2.4.3.5). Each other jump is an error of the first priority (ETSI TR 101 290 5.2.1), which is seen or heard. A
    router, or a mirror of several ports, shows each datagram twice, the second time behind others. A player that shows one file in a loop begins anew with
    its counters, at zero or as it did before.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.copies import COPY_NS
from netlens.columns import Array
from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.transport_streams import DIGEST, DST_LO, FRAME, HEADERS, MOST, NONE, PORTS, SRC_LO, TS
from netlens.text import endpoint, plural

ID = "ts-loss"
GROUP = "delivery"
RANK = 48
DATAGRAMS, LASTED_NS = 100, 2 * S  #: of a stream
ONE_BY_ONE = 0.6  #: of its counters
JUMPS, SPELLS = 10, 3  #: datagrams before which something is missing, and seconds in which they are; less may be an interruption
STUFFING = 0x1FFF  #: packets without content, which count nothing
SHOWN = 20


def look(view: View) -> list[Finding]:
    """At most one."""
    t = view.side.capture.transport
    if len(t) < DATAGRAMS:
        return []
    t = t[np.lexsort((t[:, PORTS], t[:, DST_LO], t[:, SRC_LO]))]  # stable: each stream in order
    begins = np.flatnonzero(np.diff(t[:, [PORTS, DST_LO, SRC_LO]], axis=0).any(axis=1)) + 1
    streams = [part for part in map(_once, np.split(t, begins)) if len(part) >= DATAGRAMS and part[-1, TS] - part[0, TS] >= LASTED_NS]
    found = [(part, behind) for part in streams if len(behind := _jumps(part)) >= JUMPS]
    if not found:
        return []
    jumps, sent = sum(len(behind) for _, behind in found), sum(len(part) for part, _ in found)
    lasted = max(int(part[-1, TS] - part[0, TS]) for part, _ in found)
    receivers = {(t.source[1], t.destination[1]): endpoint(*t.destination) for t in view.conversations}
    whom = most(receivers.get((int(part[0, PORTS]) >> 16 & 0xFFFF, int(part[0, PORTS]) & 0xFFFF), "hosts") for part, _ in found)
    text = (
        f"Packets of {plural(len(found), 'television stream')} (MPEG-TS) to {whom} are missing: the counters jump before {jumps:,} of "
        f"{plural(sent, 'datagram')} over {seconds(lasted)}."
    )
    grave = any(len(np.unique(part[behind, TS] // S)) >= SPELLS for part, behind in found) and not (view.missing_bytes > 1).any()
    values = {"streams": len(found), "jumps": jumps, "datagrams": sent, "longest_s": lasted / 1e9}
    advice = "Something on the way drops packets (a full link, Wi-Fi, a policer of multicast): capture nearer to the sender, and give it priority."
    frames = [int(frame) for part, behind in found for frame in part[behind[:SHOWN], FRAME]]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _once(part: Array) -> Array:
    """A stream without what was recorded again soon after."""
    order = np.argsort(part[:, DIGEST], kind="stable")
    again = (np.diff(part[order, DIGEST]) == 0) & (np.diff(part[order, TS]) < COPY_NS)
    return np.delete(part, order[1:][again], axis=0)


def _jumps(part: Array) -> Array:
    """Rows of a stream before which counters jump; none unless most of them go up one by one, or if it begins anew there."""
    of, head = np.repeat(np.arange(len(part)), MOST), part[:, HEADERS:].reshape(-1)
    pid, content = head >> 24 & 0x1FFF, head >> 20 & 1
    known = (head != NONE) & (pid != STUFFING) & (content == 1)
    of, head, pid = of[known], head[known], pid[known]
    order = np.argsort(pid, kind="stable")
    of, head, pid = of[order], head[order], pid[order]
    same = pid[1:] == pid[:-1]
    counter = head >> 16 & 15
    step = (np.diff(counter) & 15)[same]
    # an adaptation field of at least a byte that says that the counter may jump
    told = ((head >> 21 & 1 == 1) & (head >> 8 & 0xFF > 0) & (head >> 7 & 1 == 1))[1:][same]
    if not len(step) or (step == 1).mean() < ONE_BY_ONE:
        return of[:0]
    jumps = (step > 1) & ~told
    behind = of[1:][same][jumps]
    _, which, times = np.unique(part[:, DIGEST], return_inverse=True, return_counts=True)
    anew = (counter[1:][same][jumps] == 0) | (times[which] > 1)[behind]
    if len(np.unique(behind[~anew])) < JUMPS:  # of lost packets, one in 16 jumps leads to zero
        return of[:0]
    return np.unique(behind)
