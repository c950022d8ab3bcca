"""What had to be sent again, and how long somebody waited for it.

Theory of operation
-------------------
1. Of a direction the stream is followed by its offsets. A segment below what was sent is a *repeat* if all of it was seen before, else it *fills* a hole.
2. A fill that comes sooner after its hole than a sender could have repaired it (three quarters of the handshake, 3 ms where that is unknown, as sessions count
   it) is reordered, not sent again. One whose bytes were acknowledged before it came was missed by the recorder.
3. A repeat of what was acknowledged already is spurious: the sender waited too short, nobody waited for it.
4. What is left is real. Its wait goes from the first time that the bytes were sent (or their hole was seen) to their acknowledgment. Without one it goes
   on until a RST, the last segment of the session, or the time at which the next sending would be due (RFC 6298 5.5: twice the last interval).
5. Not looked at: SYN, FIN, probes of one byte, what follows a RST, what a client that has closed never acknowledged, and farewells to
   or of a side that has closed.
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
from netlens.parsers.session_fold import REORDER_DENOMINATOR, REORDER_NS, REORDER_NUMERATOR

NO_TRIP, NOTHING = 1 << 62, -(1 << 62)  #: of round trips, and of what was acknowledged
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
    that was not heard.  low, high : offsets of the bytes.
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
    low: int = 0
    high: int = 0

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
    sent = (up > 0) & (down == 0)
    alone = [k for k, alone in zip(view.first_copies, sent[view.first_copies].tolist(), strict=True) if alone]
    if not alone:
        return []
    heard = Counter(view.ends(k)[0] for k in view.whole)
    unheard = Counter(view.ends(k)[0] for k in alone)
    missing = view.sessions["resp_missing_bytes"]
    return [k for k in alone if (heard[view.ends(k)[0]] >= unheard[view.ends(k)[0]] or repeated[k] >= STALL_TIMES) and missing[k] == 0]


def _delivery(view: View, k: int) -> Delivery:
    seg = view.segments(k)
    rtt = view.column("handshake_ms")[k]
    once = sum(bool(flags & SYN) for flags in seg.flags[:OPENING]) <= 2  # else the handshake took as long as somebody waited to repeat it
    reorder = int(rtt * 1e6) * REORDER_NUMERATOR // REORDER_DENOMINATOR if rtt == rtt and once else REORDER_NS
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


class _Sender:
    """One side of a session, of which each segment and each acknowledgment of its peer is taken in; numbers as of the theory above."""

    def __init__(self, session: int, orig: bool, reorder: int) -> None:
        self.session, self.orig, self.reorder = session, orig, reorder
        self.next: int | None = None  # the offset behind all that was sent
        self.acked = NOTHING
        self.first_sent: dict[int, tuple[int, int, int]] = {}  # offset -> time, frame, end
        self.holes: list[list[int]] = []  # start, end, time, frame
        self.open: dict[int, tuple[Repeat, int]] = {}  # by first offset: not yet acknowledged, and its end
        self.done: list[Repeat] = []
        self.spurious = self.data = 0
        self.closed = self.peer_closed = self.shut = False
        self.in_vain: set[int] = set()  # begun after the other side had closed
        self.sent_ns: dict[int, int] = {}  # end of what was sent once -> when
        self.trip = NO_TRIP
        self.before_ns = self.before_frame = -1  # what came last from this side, if it had data
        self.in_a_row = 0  # segments without a pause, up to that
        self.pause = (0, 0, -NO_TRIP)  # the last one of a sender of many: since when, behind which frame, and until when

    def hear(self, seg: Segments, i: int) -> None:
        """Take in a segment of the peer."""
        if seg.flags[i] & ACK and seg.acked[i] >= 0 and seg.acked[i] > self.acked:
            self._acknowledged(seg.acked[i], seg.ts[i], seg.frame[i])
        self.peer_closed |= bool(seg.flags[i] & FIN)
        self.shut = seg.window[i] == 0

    def _acknowledged(self, acked: int, ts: int, frame: int) -> None:
        self.acked = acked
        if (sent := self.sent_ns.get(acked)) is not None:
            self.trip = min(self.trip, ts - sent)
        while self.sent_ns and next(iter(self.sent_ns)) <= acked:
            del self.sent_ns[next(iter(self.sent_ns))]
        for offset in [o for o, (_, end) in self.open.items() if end <= acked]:
            repeat = self.open.pop(offset)[0].end(ts, frame)
            if repeat.times == 1 and not repeat.missed and ts - repeat.last_ns < TRIP_SHARE * self.trip < NO_TRIP * TRIP_SHARE:
                self.spurious += 1  # 8
            else:
                self.done.append(repeat)

    def send(self, seg: Segments, i: int) -> None:
        """Take in a segment of this side."""
        flags, ts, frame, offset, length = seg.flags[i], seg.ts[i], seg.frame[i], seg.offset[i], seg.length[i]
        if flags & SYN:
            if self.next is None:
                self.sent_ns[0] = ts
            else:
                self.sent_ns.pop(0, None)  # nobody knows which one is acknowledged
            self.next = 0
        elif length and (self.next is None or offset >= self.next):
            self._anew(offset, offset + length, ts, frame)
        elif length and self.next is not None:
            if not self._is_probe(offset, length) and not (self.closed and length <= FAREWELL):
                self._again(offset, offset + length, ts, frame)
                self.next = max(self.next, offset + length)
        self.in_a_row = 1 + (self.in_a_row if self.before_frame >= 0 and ts - self.before_ns <= FLOW_NS else 0)
        self.before_ns, self.before_frame = (ts, frame) if length and not flags & FIN else (-1, -1)
        self.closed |= bool(flags & FIN)

    def _is_probe(self, offset: int, length: int) -> bool:
        """Whether one byte asks whether the peer is there (RFC 9293 3.8.4: while nothing is outstanding), or whether its window is open (3.8.6.1), and is no
        data that was sent in a segment of its own and is not acknowledged, as who types sends it."""
        if length != 1 or self.next is None or offset != self.next - 1:
            return False
        typed = self.first_sent.get(offset, (0, 0, 0))[2] == offset + 1
        return not typed or self.shut or self.acked == NOTHING or self.acked >= self.next

    def _was_silent(self, ts: int) -> bool:
        """Whether this side had sent data, and then nothing for long."""
        return self.before_frame >= 0 and STALL_NS <= ts - self.before_ns <= LONGEST_WAIT_NS

    def _anew(self, offset: int, end: int, ts: int, frame: int) -> None:
        """Data beyond all that was sent, perhaps behind a hole."""
        self.data += 1
        if self._was_silent(ts) and self.in_a_row >= MANY:
            self.pause = (self.before_ns, self.before_frame, ts)
        if self.next is not None and offset > self.next:
            since = self.pause[:2] if ts - self.pause[2] <= FLOW_NS else (ts, frame)  # 9
            self.holes.append([self.next, offset, *since])
        self.next = end
        self.first_sent[offset] = (ts, frame, end)
        if len(self.sent_ns) < MANY_SENT:
            self.sent_ns[end] = ts

    def _again(self, offset: int, end: int, ts: int, frame: int) -> None:
        """Data below what was sent: it fills a hole, or repeats what was acknowledged, or what was not."""
        assert self.next is not None
        self.data += 1
        if self.peer_closed and (not self.orig or end - offset <= FAREWELL) and offset not in self.open:
            self.in_vain.add(offset)
        self.sent_ns = {at: sent for at, sent in self.sent_ns.items() if at <= offset or at > end}
        hole = next((h for h in self.holes if h[0] < end and offset < h[1]), None)
        if hole is not None:
            self._fill(hole, offset, end, ts, frame)
        elif self.acked >= min(end, self.next):
            self.spurious += 1
            seen = offset in self.first_sent or _covering(self.first_sent, offset) is not None  # else numbers jumped back
            if seen and self._was_silent(ts) and not self.peer_closed:  # 9
                self.done.append(self._first(self.before_ns, ts, [self.before_frame, frame], offset, end, missed=True).end(ts, frame))
                self.done[-1].deaf = True
        elif offset in self.open:
            repeat, old = self.open[offset]
            repeat.again(ts, frame)
            self.open[offset] = (repeat, max(old, end))
            repeat.high = max(old, end)
        else:
            before = self.first_sent.get(offset) or _covering(self.first_sent, offset)
            if before is not None and ts - before[0] > self.reorder:
                self.open[offset] = (self._first(before[0], ts, [before[1], frame], offset, end), end)

    def _fill(self, hole: list[int], offset: int, end: int, ts: int, frame: int) -> None:
        low, high, since, behind = hole
        self.holes.remove(hole)
        if low < offset:
            self.holes.append([low, offset, since, behind])
        if end < high:
            self.holes.append([end, high, since, behind])
        if self.acked < min(end, high) and ts - since > self.reorder:  # 2
            self.open[offset] = (self._first(since, ts, [behind, frame], offset, end, missed=True), end)
        self.first_sent.setdefault(offset, (ts, frame, end))

    def _first(self, start_ns: int, ts: int, frames: list[int], low: int, high: int, missed: bool = False) -> Repeat:
        return Repeat(self.session, self.orig, start_ns, ts, 1, frames, 3 * ts - 2 * start_ns, missed, low=low, high=high)


def _direction(k: int, seg: Segments, orig: bool, reorder: int) -> tuple[list[Repeat], int, int]:
    """Real repeats of one side, how many were spurious, and its segments with data."""
    sender, end_ns = _Sender(k, orig, reorder), seg.ts[-1]
    for i in range(len(seg)):
        if seg.flags[i] & RST:
            end_ns = seg.ts[i]
            break
        if seg.orig[i] == orig:
            sender.send(seg, i)
        else:
            sender.hear(seg, i)
    silent = [repeat.end(min(repeat.due_ns, end_ns)) for offset, (repeat, _) in sender.open.items() if offset not in sender.in_vain]
    return [r for r in sender.done + silent if r.wait_ns < SEAM_NS], sender.spurious, sender.data


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
