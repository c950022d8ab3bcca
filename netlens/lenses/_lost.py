"""What a sender had sent and its receiver never got, as later packets of the same sender show: no repeat of it is in the capture that could be counted.

Theory of operation
-------------------
1. What arrives behind a gap shows that the gap was sent, and the receiver's acknowledgments, which stay in front of it, that it did not arrive (RFC 9293
   3.8.1). A sender repeats it after a second or so (RFC 6298); a gap that is never filled until the receiver gives up was repeated in vain. What the
   recorder missed is acknowledged.
2. Where nothing arrived at all, the acknowledgment of the receiver's FIN tells how far the sender has come. It may have sent that in this very moment; so it
   must be much, and nothing else of it be in the capture.
3. An answer of which only the first, short segment arrives, and a round trip later one far behind: a sender that has heard nothing yet sends ten
   segments at most (RFC 6928). What lies between is more than ten such segments, so it was sent before in larger ones, and the short one is a repeat.

*Large packets* were lost where each gap is a multiple of a size above that of everything that arrived (RFC 2923 2.1) or of jumbo frames as the handshake
agreed on, or where nothing of such a size ever came
from that address, and data in small packets did. A link that fails between two segments of a flight loses its end and not its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netlens.lenses._repeats import ENOUGH, STALL_NS
from netlens.lenses._reread import reread
from netlens.lenses._view import ACK, FIN, OPENING, RST, SEAM_NS, SYN, S, Segments, View
from netlens.parsers.announced import announced

LARGE = 500  #: bytes; every IPv4 link takes packets of 576 (RFC 1122 3.3.2)
FULL = 1460  #: bytes of a segment on Ethernet at most
STAMPS = 12  #: bytes of TCP's timestamps in each segment (RFC 7323 3.2, appendix A)
FARTHEST = 1 << 24  #: bytes behind what is acknowledged: what is farther is no part of the stream
SILENT_NS = 5 * S  #: without anything of the answer
#: Bytes sent that never arrived, without anything behind them: two segments as every link of IPv6 takes them (RFC 8200 5, 8.3)
MUCH = 2 * 1220
AT_ONCE_NS = S // 2  #: a FIN is acknowledged so soon (RFC 9293 3.8.6.3)
INITIAL = 10  #: segments of a sender that has heard nothing (RFC 6928 2)
SHORT = 1200  #: bytes; who probes for a path's MTU begins with 1,024 and less (RFC 4821 7.2)
TRIP_SHARE = 0.5  #: of a round trip: what comes sooner is of the same flight


@dataclass(slots=True)
class Lost:
    """``lost`` bytes that one side sent did not arrive from ``start_ns`` to ``end_ns``.

    given_up : the receiver closed then.  large : only large packets were lost.  arrived : they came in the end, in short segments.
    behind : something that was sent later arrived.
    """

    session: int
    orig: bool
    start_ns: int
    end_ns: int
    lost: int
    given_up: bool
    large: bool
    frames: list[int]
    arrived: bool = False
    behind: bool = True

    @property
    def wait_ns(self) -> int:
        return self.end_ns - self.start_ns


def never_arrived(view: View) -> list[Lost]:
    """All of a capture, of each session and direction one."""
    if view.trail is None or view.one_sided or not view.whole:
        return []
    s, kept = view.sessions, np.zeros(view.sessions.rows, bool)
    kept[view.in_one] = True
    kept &= s["duration_s"] >= STALL_NS / S
    found: list[Lost] = []
    reach = _reach(view)
    for orig, side in ((True, "orig"), (False, "resp")):
        short = reach[0 if orig else 1] - s[f"{side}_bytes"] - s[f"{side}_missing_bytes"]
        for k in np.flatnonzero(kept & (short > LARGE) & (short < FARTHEST))[:ENOUGH].tolist():
            one = _never_filled(view, k, view.segments(k), orig) or _never_seen(view, k, view.segments(k), orig)
            if one is not None and one.wait_ns < SEAM_NS:
                found.append(one)
    asked = s.ints("orig_first_payload_ns", 0)
    late = s.ints("resp_first_payload_ns", 0) - asked
    again = s["resp_retransmits"] + s["resp_out_of_order"] > 0
    chosen = kept & again & (late >= STALL_NS) & (late < SEAM_NS) & (asked > 0)
    for k in np.flatnonzero(chosen)[:ENOUGH].tolist():
        if (first := _first(view, k, view.segments(k))) is not None:
            found.append(first)
    return found


def _reach(view: View) -> np.ndarray:
    """int64[2, sessions]: how far originator and responder have come, as offsets of their streams."""
    assert view.trail is not None
    t = view.trail.segments()
    ends = t["offset"] + t["length"]
    ends[t["flags"] & (SYN | RST) != 0] = 0
    return _most(view, ends)


def _most(view: View, of: np.ndarray) -> np.ndarray:
    """int64[2, sessions]: the largest number of all segments (``of``, none below 0) of originator and responder."""
    assert view.trail is not None
    session = view.trail.segments()["session"]
    out = np.zeros((2, view.sessions.rows), np.int64)
    if len(session):
        begins = np.concatenate([[0], np.flatnonzero(session[1:] != session[:-1]) + 1])  # segments stand by session
        by = view.by_originator()
        out[0, session[begins]] = np.maximum.reduceat(np.where(by, of, 0), begins)
        out[1, session[begins]] = np.maximum.reduceat(np.where(by, 0, of), begins)
    return out


def _acked(seg: Segments, orig: bool) -> int:
    """How far the stream of one side was acknowledged."""
    return max((seg.acked[i] for i in range(len(seg)) if seg.orig[i] != orig and seg.flags[i] & ACK), default=-1)


def _closing(seg: Segments, orig: bool) -> int | None:
    """The first FIN, or RST that acknowledges something, of one side."""
    return next(
        (i for i in range(len(seg)) if seg.orig[i] == orig and (seg.flags[i] & FIN or seg.flags[i] & (RST | ACK) == RST | ACK)), None
    )


def _never_filled(view: View, k: int, seg: Segments, orig: bool) -> Lost | None:
    acked = _acked(seg, orig)
    sent = [i for i in range(len(seg)) if seg.orig[i] == orig and seg.length[i] and not seg.flags[i] & (SYN | RST)]
    beyond = [i for i in sent if seg.offset[i] > acked]
    if acked < 0 or not beyond or any(seg.offset[i] <= acked < seg.end(i) for i in sent):
        return None
    since, closed = beyond[0], _closing(seg, not orig)
    told = [i for i in range(since + 1, len(seg)) if seg.orig[i] != orig and seg.flags[i] & ACK and seg.acked[i] == acked]
    told = [i for i in told if closed is None or i <= closed]
    if not told or seg.ts[told[-1]] - seg.ts[since] < STALL_NS:
        return None
    gaps, at = [], acked
    for low, high in sorted((seg.offset[i], seg.end(i)) for i in beyond):
        if low > at:
            gaps.append(low - at)
        at = max(at, high)
    largest = max(seg.length[i] for i in sent)
    alive = any(seg.orig[i] == orig and not seg.flags[i] & RST and seg.ts[i] - seg.ts[since] >= STALL_NS for i in range(since, len(seg)))
    large = alive and sum(gaps) >= 2 * LARGE and (_is_of_one_size(gaps, max(largest + 1, LARGE)) or _are_jumbo(view, seg, gaps, largest))
    last = told[-1]
    frames = [seg.frame[i] for i in (since, *told)]
    return Lost(k, orig, seg.ts[since], seg.ts[last], sum(gaps), last == closed, large, frames)


def _is_of_one_size(gaps: list[int], least: int) -> bool:
    """Whether all gaps are multiples of one size, two and more in all."""
    whole = int(np.gcd.reduce(gaps))
    return any(whole % n == 0 and sum(gaps) >= 2 * (whole // n) for n in range(-(-whole // FULL), whole // least + 1))


def _are_jumbo(view: View, seg: Segments, gaps: list[int], largest: int) -> bool:
    """Whether all gaps are multiples of the segment that the handshake agreed on, which is larger than Ethernet's and than all that arrived."""
    syns = [
        next((seg.frame[i] for i in range(min(OPENING, len(seg))) if seg.orig[i] == up and seg.flags[i] & SYN), 0) for up in (True, False)
    ]
    told = reread(view, syns, announced) if all(syns) else {}
    mss = min((each.mss for each in told.values()), default=0)
    return any(size > max(FULL, largest) and not any(gap % size for gap in gaps) for size in (mss, mss - STAMPS))


def _never_seen(view: View, k: int, seg: Segments, orig: bool) -> Lost | None:
    closed = _closing(seg, not orig)
    if closed is None or seg.flags[closed] & RST or closed + 1 >= len(seg):
        return None
    acked = _acked(seg, orig)
    answer = closed + 1
    before = [i for i in range(closed) if seg.orig[i] == orig]
    if seg.orig[answer] != orig or seg.flags[answer] & (SYN | RST) or seg.ts[answer] - seg.ts[closed] > AT_ONCE_NS or not before:
        return None
    far = seg.offset[answer] - acked
    waited = seg.ts[closed] - seg.ts[before[-1]]
    if seg.acked[closed] != acked or acked > seg.end(before[-1]) or far < MUCH or waited < SILENT_NS:
        return None
    sizes = view.once(_largest).get(view.address(k, orig), 0)
    frames = [seg.frame[i] for i in (before[-1], closed, answer)]
    return Lost(k, orig, seg.ts[before[-1]], seg.ts[closed], far, True, 0 < sizes < LARGE, frames, behind=False)


def _largest(view: View) -> dict[str, int]:
    """By address, bytes of the largest segment that came from it."""
    assert view.trail is not None
    largest = _most(view, view.trail.segments()["length"])
    out: dict[str, int] = {}
    for row, name in enumerate(("orig_ip", "resp_ip")):
        for address, size in zip(view.column(name), largest[row].tolist(), strict=True):
            out[address] = max(out.get(address, 0), size)
    return out


def _first(view: View, k: int, seg: Segments) -> Lost | None:
    sent = [i for i in range(len(seg)) if not seg.orig[i] and seg.length[i]][: 4 * INITIAL]
    asked = next((i for i in range(len(seg)) if seg.orig[i] and seg.length[i]), None)
    trip = view.column("handshake_ms")[k]
    if asked is None or len(sent) <= INITIAL or trip != trip or seg.offset[sent[0]] != 0:
        return None
    first, second = sent[:2]
    far = seg.offset[second] - seg.length[first]
    largest = max(seg.length[i] for i in sent)
    if not LARGE <= seg.length[first] <= largest <= SHORT or far <= INITIAL * largest or far > FARTHEST:
        return None
    if seg.ts[first] - seg.ts[asked] < STALL_NS or seg.ts[second] - seg.ts[first] < TRIP_SHARE * trip * 1e6:
        return None
    acknowledged = max((seg.ts[i] for i in range(asked, first) if not seg.orig[i]), default=seg.ts[asked])
    frames = [seg.frame[i] for i in (asked, first, second)]
    return Lost(k, False, acknowledged, seg.ts[first], seg.offset[second], False, True, frames, arrived=True)
