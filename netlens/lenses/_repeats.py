"""What had to be sent again, and how long somebody waited for it.

Theory of operation
-------------------
1. Of a direction the stream is followed by its offsets. A segment below what was sent is a *repeat* if all of it was seen before, else it *fills* a hole.
2. A fill that comes within a round trip (3 ms where that is unknown, as Wireshark) is reordered, not sent again. One whose bytes were acknowledged before
   it came was missed by the recorder.
3. A repeat of what was acknowledged already is spurious: the sender waited too short, nobody waited for it.
4. What is left is real. Its wait goes from the first time that the bytes were sent (or their hole was seen) to their acknowledgment. Without one it goes
   on until a RST, the last segment of the session, or the time at which the next sending would be due (RFC 6298 5.5: twice the last interval).
5. Not looked at: SYN, FIN, probes of one byte, what follows a RST, what a peer that has closed never acknowledged, and farewells of a side that has closed.
6. A connection of which one direction is not in the capture is looked at only if most of what else reaches its originator is: then silence is silence.
   So is one of a sender that repeats itself :data:`STALL_TIMES` times: it heard nothing. Where all were recorded in one direction only, that alone tells, and
   a wait lasts until the last sending.
7. Where the peer of :data:`MANY` segments sent more than its SYN, but not one acknowledgment without data is in the capture (a filter took them out),
   nobody knows when they were acknowledged: a wait then lasts until the last sending.
8. An acknowledgment that comes sooner after the only repeat than the way there and back takes is of the first sending: nothing was lost (RFC 3522).
9. A sender that was silent for long, and then begins by repeating what had been acknowledged, had not heard it: the connection stood still meanwhile.
   So it did if a sender of many segments in a row was silent for long, and leaves a hole right when it goes on: what was lost first
   it sends first, and what comes then is new. Where the peer's own data was sent again meanwhile, that tells the same, and which way was lost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from netlens.lenses._said import TCP, too_big
from netlens.lenses._view import ACK, FIN, OPENING, RST, SEAM_NS, SYN, S, Segments, View

REORDER_NS = 3_000_000
NO_TRIP = 1 << 62
LONGEST_WAIT_NS = 120 * S  #: between two tries, as stacks have it (RFC 6298 2.4 allows 60 s as the least limit)
FLOW_NS = S // 2  #: segments of a sender that has more to send come closer together
MANY_SENT = 1000  #: segments under way of which the sending time is kept
FAREWELL = 64  #: bytes behind which nobody waits once their sender has closed: a close_notify is 31
ENOUGH = 5000  #: sessions that are looked at
#: of frames that fill holes: fewer in a session without repeats cost nobody time, and millions of segments would be looked at
LATE_SHARE = 0.001
STALL_NS = 2_500_000_000  #: two time-outs of 1 s (RFC 6298 2.1 and 5.5: 1 s, then 2 s), as measured between first and last sending
TRIP_SHARE = 0.6  #: of the shortest round trip, which varies; what comes sooner answers something earlier
MANY = 10  #: segments with data; a receiver acknowledges every second one at once (RFC 9293 3.8.6.3)
IGNORED = 2  #: times that the same is sent once more in vain after a router has said that it is too large; one may have been under way
STALL_TIMES = 3  #: R1 of RFC 9293 3.8.3: three retransmissions make TCP doubt the way


@dataclass(slots=True)
class Repeat:
    """Bytes that were sent again. ``start_ns`` to ``end_ns`` is the wait; ``last_ns``: last sending; ``times``: how often they were sent again.

    missed : the first sending is not in the capture.  acked : whether ever; else the wait may have been longer.  deaf : it was the acknowledgment
    that was not heard.
    """

    session: int
    orig: bool
    start_ns: int
    last_ns: int
    times: int
    frames: list[int]
    due_ns: int  # when it would be sent next
    missed: bool = False
    end_ns: int = 0
    acked: bool = False
    deaf: bool = False

    @classmethod
    def first(cls, session: int, orig: bool, start_ns: int, ts: int, frames: list[int], missed: bool = False) -> Repeat:
        return cls(session, orig, start_ns, ts, 1, frames, 3 * ts - 2 * start_ns, missed)

    def again(self, ts: int, frame: int) -> None:
        """Sent once more."""
        self.times += 1
        self.due_ns, self.last_ns = 3 * ts - 2 * self.last_ns, ts
        self.frames.append(frame)

    def end(self, ts: int, frame: int | None = None) -> Repeat:
        """``frame``: what acknowledged it."""
        self.end_ns, self.acked = max(ts, self.last_ns), frame is not None
        self.frames += [frame] if frame is not None else []
        return self

    @property
    def wait_ns(self) -> int:
        return max(self.end_ns - self.start_ns, 0)


@dataclass(slots=True)
class Delivery:
    """Of one session: real repeats, how many were spurious, and segments with data (both directions)."""

    session: int
    repeats: list[Repeat]
    spurious: int
    segments: int

    @property
    def resent(self) -> int:
        return sum(r.times for r in self.repeats)

    @property
    def waited_ns(self) -> int:
        """Time in which at least one repeat was waited for."""
        total, until = 0, -(1 << 62)
        for r in sorted(self.repeats, key=lambda each: each.start_ns):
            total += max(r.end_ns - max(r.start_ns, until), 0)
            until = max(until, r.end_ns)
        return total


def deliveries(view: View) -> list[Delivery]:
    """Sessions seen in both directions in which something was sent again."""
    s = view.sessions
    again = s["orig_retransmits"] + s["resp_retransmits"] > 0
    filled = s["orig_out_of_order"] + s["resp_out_of_order"]
    suspicious = again | ((filled > 0) & (filled >= LATE_SHARE * (s["orig_frames"] + s["resp_frames"])))
    chosen = [k for k in [*view.whole, *_unheard(view)] if suspicious[k] and k not in view.halves][:ENOUGH]
    return [found for k in chosen if (found := _delivery(view, k)).repeats or found.spurious]


def with_repeats(view: View) -> set[int]:
    """Sessions in which something was sent again."""
    return {found.session for found in view.once(deliveries)}


def _unheard(view: View) -> list[int]:
    """Connections of which only one direction is in the capture: that of the originator, though most others of it are there in both; or, where no
    others are, of a sender that repeats itself."""
    up, down = view.sessions["orig_frames"], view.sessions["resp_frames"]
    repeated = view.sessions["orig_retransmits"]
    if view.one_sided:
        repeated = repeated + view.sessions["resp_retransmits"]
        return [k for k in view.first_copies if up[k] * down[k] == 0 and repeated[k] >= STALL_TIMES]
    heard = Counter(view.ends(k)[0] for k in view.whole)
    alone = [k for k in view.first_copies if up[k] and not down[k]]
    unheard = Counter(view.ends(k)[0] for k in alone)
    missing = view.sessions["resp_missing_bytes"]
    return [k for k in alone if (heard[view.ends(k)[0]] >= unheard[view.ends(k)[0]] or repeated[k] >= STALL_TIMES) and missing[k] == 0]


def _delivery(view: View, k: int) -> Delivery:
    seg = view.segments(k)
    rtt = view.column("handshake_ms")[k]
    once = sum(bool(flags & SYN) for flags in seg.flags[:OPENING]) <= 2  # else the handshake took as long as somebody waited to repeat it
    reorder = max(REORDER_NS, int(rtt * 1e6) if rtt == rtt and once else 0)
    alone = view.one_sided and len({*seg.orig}) == 1
    found, spurious, count = [], 0, 0
    for orig in (True, False):
        repeats, false_ones, data = _direction(k, seg, orig, reorder)
        if alone or (data >= MANY and _filtered(seg, not orig)):
            for r in repeats:
                r.end_ns, r.acked = r.last_ns, True
        found += repeats
        spurious += false_ones
        count += data
    long = [r for r in found if not r.deaf and r.last_ns - r.start_ns >= STALL_NS]  # few, as are the deaf
    told = {id(r) for r in found if r.deaf and any(b.orig != r.orig and b.start_ns <= r.end_ns and r.start_ns <= b.end_ns for b in long)}
    return Delivery(k, [r for r in found if id(r) not in told], spurious, count)


def _filtered(seg: Segments, orig: bool) -> bool:
    """Whether one side's acknowledgments without data are missing from the capture, though more of it than its SYN is there."""
    theirs = [i for i in range(len(seg)) if seg.orig[i] == orig and not seg.flags[i] & (SYN | RST)]
    return bool(theirs) and not any(not seg.length[i] and seg.flags[i] & (ACK | FIN) == ACK for i in theirs)


def _direction(k: int, seg: Segments, orig: bool, reorder: int) -> tuple[list[Repeat], int, int]:
    next_ = acked = None
    end_ns = seg.ts[-1]
    first_sent: dict[int, tuple[int, int, int]] = {}  # offset -> time, frame, end
    holes: list[list[int]] = []  # start, end, time, frame
    open_: dict[int, tuple[Repeat, int]] = {}  # by first offset: not yet acknowledged, and its end
    done: list[Repeat] = []
    spurious = data = 0
    peer_closed = closed = False
    in_vain: set[int] = set()  # begun after the peer had closed
    sent_ns: dict[int, int] = {}  # end of what was sent once -> when
    trip = NO_TRIP
    before_ns = before_frame = -1  # what came last from this side, if it had data
    in_a_row = 0  # segments without a pause, up to that
    pause = (0, 0, -NO_TRIP)  # the last one of a sender of many: since when, behind which frame, and until when
    for i in range(len(seg)):
        flags, ts = seg.flags[i], seg.ts[i]
        if flags & RST:
            end_ns = ts
            break
        if seg.orig[i] != orig:
            if flags & ACK and seg.acked[i] >= 0 and (acked is None or seg.acked[i] > acked):
                acked = seg.acked[i]
                if (sent := sent_ns.get(acked)) is not None:
                    trip = min(trip, ts - sent)
                while sent_ns and next(iter(sent_ns)) <= acked:
                    del sent_ns[next(iter(sent_ns))]
                for offset in [o for o, (_, end) in open_.items() if end <= acked]:
                    repeat = open_.pop(offset)[0].end(ts, seg.frame[i])
                    if repeat.times == 1 and not repeat.missed and ts - repeat.last_ns < TRIP_SHARE * trip < NO_TRIP * TRIP_SHARE:
                        spurious += 1
                    else:
                        done.append(repeat)
            peer_closed |= bool(flags & FIN)
            continue
        if flags & SYN:
            if next_ is None:
                sent_ns[0] = ts
            else:
                sent_ns.pop(0, None)  # nobody knows which one is acknowledged
            next_ = 0
        offset, length = seg.offset[i], seg.length[i]
        if length and not flags & SYN:
            end = offset + length
            probe = length == 1 and next_ is not None and offset == next_ - 1
            if next_ is None or offset >= next_:
                data += 1
                if before_frame >= 0 and STALL_NS <= ts - before_ns <= LONGEST_WAIT_NS and in_a_row >= MANY:
                    pause = (before_ns, before_frame, ts)
                if next_ is not None and offset > next_:
                    since = pause[:2] if ts - pause[2] <= FLOW_NS else (ts, seg.frame[i])
                    holes.append([next_, offset, *since])
                next_ = end
                first_sent[offset] = (ts, seg.frame[i], end)
                if len(sent_ns) < MANY_SENT:
                    sent_ns[end] = ts
            elif not probe and not (closed and length <= FAREWELL):
                if peer_closed and offset not in open_:
                    in_vain.add(offset)
                data += 1
                sent_ns = {at: sent for at, sent in sent_ns.items() if at <= offset or at > end}
                hole = next((h for h in holes if h[0] < end and offset < h[1]), None)
                if hole is not None:
                    holes.remove(hole)
                    if hole[0] < offset:
                        holes.append([hole[0], offset, hole[2], hole[3]])
                    if end < hole[1]:
                        holes.append([end, hole[1], hole[2], hole[3]])
                    if not (acked is not None and acked >= min(end, hole[1])) and ts - hole[2] > reorder:
                        open_[offset] = (Repeat.first(k, orig, hole[2], ts, [hole[3], seg.frame[i]], missed=True), end)
                    first_sent.setdefault(offset, (ts, seg.frame[i], end))
                    next_ = max(next_, end)
                elif acked is not None and acked >= min(end, next_):
                    spurious += 1
                    next_ = max(next_, end)
                    if before_frame >= 0 and STALL_NS <= ts - before_ns <= LONGEST_WAIT_NS and not peer_closed:
                        done.append(Repeat.first(k, orig, before_ns, ts, [before_frame, seg.frame[i]], missed=True).end(ts, seg.frame[i]))
                        done[-1].deaf = True
                else:
                    next_ = max(next_, end)
                    if offset in open_:
                        repeat, old = open_[offset]
                        repeat.again(ts, seg.frame[i])
                        open_[offset] = (repeat, max(old, end))
                    else:
                        before = first_sent.get(offset) or _covering(first_sent, offset)
                        if before is not None and ts - before[0] > reorder:
                            open_[offset] = (Repeat.first(k, orig, before[0], ts, [before[1], seg.frame[i]]), end)
        in_a_row = 1 + (in_a_row if before_frame >= 0 and ts - before_ns <= FLOW_NS else 0)
        before_ns, before_frame = (ts, seg.frame[i]) if length and not flags & FIN else (-1, -1)
        closed |= bool(flags & FIN)
    silent = [repeat.end(min(repeat.due_ns, end_ns)) for offset, (repeat, _) in open_.items() if offset not in in_vain]
    return [r for r in done + silent if r.wait_ns < SEAM_NS], spurious, data


def _covering(first_sent: dict[int, tuple[int, int, int]], offset: int) -> tuple[int, int, int] | None:
    """The latest sending that holds an offset; among the last hundred only."""
    for start in list(first_sent)[-100:][::-1]:
        if start <= offset < first_sent[start][2]:
            return first_sent[start]
    return None


def stalled(view: View) -> list[Repeat]:
    """Waits long enough to be a standstill, or in vain as a router had said; of a peer that is not heard at all, after :data:`STALL_TIMES` repeats."""
    heard = set(view.whole)
    return [
        r
        for d in view.once(deliveries)
        for r in d.repeats
        if (r.last_ns - r.start_ns >= STALL_NS or _told(view, r)) and (r.session in heard or r.times >= STALL_TIMES)
    ]


def _told(view: View, r: Repeat) -> bool:
    """Whether what was never acknowledged was sent again and again though a router had said that it is too large."""
    return (
        not r.acked
        and r.times >= IGNORED
        and any(r.start_ns <= e.ts < r.last_ns for e in view.once(too_big).get((TCP, *view.way(r.session, r.orig)), ()))
    )
