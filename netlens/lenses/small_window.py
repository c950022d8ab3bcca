"""Did a small receive window bound a transfer?

Asks: whether a sender sent all the time what its receiver's window let it, as soon as an acknowledgment came, and waited a round trip for the next; whether
    something on the way changed by how much windows are scaled.
Applies: to connections captured in both directions with their handshake, in files that can be read again.
Cannot see: who made the window so small: a program (SO_RCVBUF), a system without window scaling, or what stands between; what the line could carry.
Normal: a transfer is no faster than a window in each round trip (RFC 7323 1.1); without scaling a window is 65,535 bytes at most (2.2), and systems make
    theirs larger as a transfer needs it. Where a line is full, its queue makes round trips longer, and a larger window would only make the queue longer: so
    the window must be what goes by in the round trip of the handshake. A program that reads slowly makes its window smaller and larger (zero-window). Within
    a network (below 20 ms) nobody waits for a window. A small device has no room for more: a problem only from 10 s on, for so long people wait (Nielsen,
    1993), and below 64 kB/s, as in slow-transfer, and only where much is carried, the receiver scales windows at all, never had a larger one (a background
    transfer makes its own smaller: LEDBAT, RFC 6817), and acknowledges at once: one that puts it off works at its own pace. Who has no more to say waits for
    acknowledgments as well (Nagle, RFC 1122 4.2.3.4), but leaves room in the window. A receiver must not take back a window that it gave (RFC
    9293 3.8.6), and that of a SYN is never scaled (RFC 7323 2.2): one that is a small part of it right behind the handshake was scaled by another number than
    the SYN says here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.lenses import Finding
from netlens.lenses._reread import reread
from netlens.lenses._view import ACK, RST, SYN, S, View, graded, most, seconds
from netlens.lenses.slow_transfer import FAR_MS, LONG_NS, RATE
from netlens.parsers.announced import Announced, announced
from netlens.text import plural, size

ID = "small-window"
GROUP = "time"
RANK = 56
UNSCALED = 65_535  #: bytes that a window has without scaling at most
LONGEST_NS = 10 * S  #: for which people wait for something and keep their mind on it
SEGMENTS = 50  #: with data
ANSWERS = 0.1  #: segments with data of the receiver, by the sender's: more is a dialog, in which each waits for the other
STEADY = 0.75  #: of the usual window, and as much more, within which nine of ten acknowledgments keep
FILLED = (0.5, 1.2)  #: windows in a round trip; acknowledgments that are put off make each longer
#: Segments that come as soon as an acknowledgment lets them: from that, so much of the way to the sender and back, and so much of the round trip more
ON_TIME, SOONER, LATER = 0.5, 0.8, 0.25
FULL = 0.75  #: of the waits, before which the window had no room for a full-size segment more
OPTIONS = 40  #: bytes in each segment at most (RFC 9293 3.1)
JITTER = 0.05  #: of a round trip
MUCH = 200_000  #: bytes
REPEATED = 0.01  #: of the segments; loss slows a transfer by itself
TAKEN_BACK = 4  #: times as large as the first window behind the handshake is that of the SYN, if it was scaled by another number
MOST = 64  #: connections that are looked at


class Bound(NamedTuple):
    """One direction of a session that its receiver's window bounds.

    window : bytes.  rate : bytes per second.  changed : how it shows that the window scale was changed on the way, "" where it does not.  meant : whether the
    receiver may have wanted it so.
    """

    session: int
    orig: bool
    window: int
    rate: float
    bytes: int
    lasted_ns: int
    trip_ns: int
    changed: str
    meant: bool
    frames: list[int]


def look(view: View) -> list[Finding]:
    """At most one."""
    found = _found(view)
    long = [each for each in found if each.lasted_ns >= LONGEST_NS and each.rate < RATE]
    grave = [each for each in long if each.changed or (each.bytes >= MUCH and not each.meant)]
    shown = grave or found
    if not shown:
        return []
    worst = max(shown, key=lambda each: (bool(each.changed), each.lasted_ns))
    whose = most(view.address(each.session, not each.orig) for each in shown)
    text = (
        f"{plural(len(shown), 'transfer')} with {most(view.server(each.session) for each in shown)} went no faster than the receive window of {whose} allows: "
        f"{worst.window:,} bytes in each round trip ({worst.trip_ns / 1e6:.0f} ms) are {size(worst.rate)} a second, {size(worst.bytes)} took "
        f"{seconds(worst.lasted_ns)}{f'; {worst.changed}' if worst.changed else ''}."
    )
    values = {
        "transfers": len(shown),
        "window_bytes": worst.window,
        "bytes_per_s": worst.rate,
        "bytes": worst.bytes,
        "longest_s": worst.lasted_ns / 1e9,
        "round_trip_s": worst.trip_ns / 1e9,
        "scale_changed": sum(bool(each.changed) for each in shown),
    }
    advice = (
        "A firewall, load balancer or accelerator on the way rewrites or removes the window scale option of SYNs: compare the SYN at both ends, and have it "
        "left alone there."
        if worst.changed
        else f"Give the receiver a larger buffer: leave its size to the system (no SO_RCVBUF in the program; net.ipv4.tcp_rmem, tcp_window_scaling = 1 on "
        f"Linux), on {whose}."
    )
    frames = [frame for each in sorted(shown, key=lambda each: -each.lasted_ns) for frame in each.frames]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _found(view: View) -> list[Bound]:
    likely = [one for k in _likely(view) for orig in (True, False) if (one := _Way(view, k, orig)).is_steady]
    shakes = {one.k: frames for one in likely if (frames := one.handshake())}
    told = reread(view, [frame for frames in shakes.values() for frame in frames], announced)
    found = []
    for one in likely:
        frames = shakes.get(one.k)
        if frames is not None and all(frame in told for frame in frames):
            offered, answered = (told[frame] for frame in frames)
            bound = one.bound(*((answered, offered) if one.orig else (offered, answered)), list(frames))
            found += [bound] if bound is not None else []
    return found


def _likely(view: View) -> list[int]:
    """Sessions of seconds with a far host, and no more than an unscaled window in each round trip."""
    if view.trail is None:
        return []
    s = view.sessions
    took, trip = s["end_ns"] - s["start_ns"], s["handshake_ms"]
    data = np.maximum(s["orig_bytes"], s["resp_bytes"])
    frames, again = s["orig_frames"] + s["resp_frames"], s["orig_retransmits"] + s["resp_retransmits"]
    with np.errstate(invalid="ignore"):
        chosen = s["saw_syn"].astype(bool) & (took >= LONG_NS) & (trip >= FAR_MS) & (frames >= SEGMENTS) & (again <= REPEATED * frames)
    chosen &= data * np.nan_to_num(trip) * 1e6 <= FILLED[1] * UNSCALED * took
    return sorted(set(np.flatnonzero(chosen).tolist()).intersection(view.in_one), key=lambda k: -int(took[k]))[:MOST]


class _Way:
    """One direction of a session: its segments with data, and the acknowledgments of its receiver."""

    def __init__(self, view: View, k: int, orig: bool) -> None:
        assert view.trail is not None
        at = view.trail.of(k)
        self.k, self.orig, self.view = k, orig, view
        self.t: dict[str, Array] = {name: column[at] for name, column in view.trail.segments().items()}
        self.by_sender = view.by_originator(at) == orig
        flags = self.t["flags"]
        self.data = np.flatnonzero(self.by_sender & (self.t["length"] > 0))
        self.acks = np.flatnonzero(~self.by_sender & ((flags & (ACK | SYN | RST)) == ACK))
        self.window = self.t["window"][self.acks].astype(np.int64)
        self.trip_ns = float(view.sessions["handshake_ms"][k]) * 1e6
        there = float(view.sessions["synack_ms"][k]) * 1e6
        self.there_ns = self.trip_ns - there if orig else there  # to the sender and back

    @property
    def is_steady(self) -> bool:
        """Whether one side alone sends, and the other's window stays as it is."""
        answers = np.count_nonzero(~self.by_sender & (self.t["length"] > 0))
        if len(self.data) < SEGMENTS or len(self.acks) < 2 or answers > ANSWERS * len(self.data):
            return False
        usual = float(np.median(self.window))
        return usual > 0 and bool(np.mean((self.window >= STEADY * usual) & (self.window <= usual / STEADY)) >= 0.9)

    def handshake(self) -> tuple[int, int] | None:
        """The frames of SYN and SYN+ACK."""
        flags, frame = self.t["flags"], self.t["frame"]
        from_originator = self.by_sender == self.orig
        syns = np.flatnonzero(from_originator & ((flags & (SYN | ACK)) == SYN))
        answers = np.flatnonzero(~from_originator & ((flags & (SYN | ACK)) == SYN | ACK))
        return (int(frame[syns[0]]), int(frame[answers[0]])) if len(syns) and len(answers) else None

    def bound(self, receiver: Announced, sender: Announced, frames: list[int]) -> Bound | None:
        """What the window bounds, if it does, as the receiver has scaled it, or as if it had not."""
        scale = max(receiver.scale, 0) if sender.scale >= 0 else 0
        mss = min((each.mss for each in (receiver, sender) if each.mss > 0), default=0)
        one = self._bound_by(scale, receiver.scale < 0, mss, frames)
        if one is not None:
            return one._replace(changed=self._taken_back(scale))
        one = self._bound_by(0, receiver.scale < 0, mss, frames) if scale else None
        sender_ip = self.view.address(self.k, self.orig)
        changed = f"these windows are to be multiplied by {1 << scale:,}, as the SYN says here, and {sender_ip} does not"
        return one._replace(changed=changed) if one is not None else None

    def _bound_by(self, scale: int, is_small: bool, mss: int, frames: list[int]) -> Bound | None:
        t, data = self.t, self.data
        window = int(np.median(self.window)) << scale
        ts, end = t["ts"][data], np.maximum.accumulate(t["offset"][data].astype(np.int64) + t["length"][data])
        pauses = np.minimum(np.diff(ts), int(2 * self.trip_ns))
        lasted = int(pauses.sum())
        came = int(end[-1] - end[0])
        if not 0 < window <= UNSCALED or lasted < LONG_NS:
            return None
        rate = came * S / lasted
        if not FILLED[0] <= rate * self.trip_ns / S / window <= FILLED[1]:
            return None
        edges = np.maximum.accumulate(t["acked"][self.acks].astype(np.int64) + (self.window << scale))
        allowed = np.searchsorted(edges, end)  # the acknowledgment that first let each segment be sent
        known = allowed < len(edges)
        late = ts[known] - t["ts"][self.acks][allowed[known]]
        on_time = (late >= SOONER * self.there_ns) & (late <= self.there_ns + LATER * self.trip_ns)
        if np.count_nonzero(on_time) < ON_TIME * len(data):
            return None
        last = np.flatnonzero(np.diff(ts) >= SOONER * self.trip_ns)  # before each wait
        if not len(last) or np.count_nonzero(self._is_full(last, ts, end, edges, mss)) < FULL * len(last):
            return None
        acked = np.searchsorted(np.maximum.accumulate(t["acked"][self.acks].astype(np.int64)), end[last])
        last, acked = last[acked < len(self.acks)], acked[acked < len(self.acks)]
        put_off = t["ts"][self.acks][acked] - ts[last] - (self.trip_ns - self.there_ns)
        had = self.window[t["ts"][self.acks] <= ts[-1]].max(initial=0) << scale
        meant = is_small or bool(had > window / STEADY or (len(last) and np.median(put_off) > LATER * self.trip_ns))
        shown = [*frames, *t["frame"][data[:2]].tolist(), *t["frame"][self.acks[:2]].tolist()]
        return Bound(self.k, self.orig, window, rate, came, lasted, int(self.trip_ns), "", meant, shown)

    def _is_full(self, last: Array, ts: Array, end: Array, edges: Array, mss: int) -> Array:
        """Whether each of some segments filled the window: to its edge, or full-size segments so that it had no room for another."""
        length = self.t["length"][self.data].astype(np.int64)
        full = int(np.max(length[length <= (mss or length.max())], initial=0))
        heard = np.searchsorted(self.t["ts"][self.acks], ts[last] - self.there_ns + JITTER * self.trip_ns, side="right") - 1
        room = edges[np.maximum(heard, 0)] - end[last]
        return (heard >= 0) & ((room == 0) | ((room >= 0) & (room < full) & (length[last] % max(full, 1) == 0) & (full >= mss - OPTIONS)))

    def _taken_back(self, scale: int) -> str:
        """Where the first window behind the handshake is a small part of the SYN's, before any data came."""
        flags = self.t["flags"]
        syn = np.flatnonzero(~self.by_sender & (flags & SYN > 0))
        first, begins = self.acks[0], self.data[0]
        given, then = int(self.t["window"][syn[0]]), int(self.t["window"][first]) << scale
        if first > begins or not 0 < then * TAKEN_BACK <= given:
            return ""
        return f"its SYN gave {given:,} bytes and the next packet {then:,}, so something on the way changed the window scale that the SYN tells"
