"""What lenses share: one capture as they look at it, and what every one of them must leave alone.

Four things decide more than any threshold:

1. A *copy* is no retransmission. The same packet recorded twice (a mirror port, before and after routing, NFLOG) has the same IP identification and comes
   within milliseconds; a packet sent again is a new one, a round trip later at the earliest. Copies are taken out before anything is counted.
2. Of a *one-sided* conversation nothing can be said about answers: where one direction was not recorded, its silence means nothing.
3. The *end of the capture* is no fault: what is younger than an answer may need is pending. Nor is a seam, where files were joined
   (:mod:`netlens.parsers.trail`).
4. After the *close* nothing fails: what is repeated or reset then cost nobody anything.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from netlens.addresses import is_address, is_loopback
from netlens.chains.copies import is_copy, is_copy_on_air
from netlens.chains.side import Side, firsts
from netlens.chains.traffic import Traffic
from netlens.columns import NEVER, Ints
from netlens.lenses import Finding, Severity
from netlens.parsers.trail import Conversation
from netlens.schema import Table
from netlens.text import endpoint, plural

T = TypeVar("T")
S = 1_000_000_000  #: ns of a second
SEAM_NS = 3600 * S  #: what lasts longer is a seam of the capture, or a clock that was set
FIN, SYN, RST, ACK = 1, 2, 4, 16
FRAMES = 20  #: that a finding cites
ALIKE, LONGER = 0.05, 1.5  #: how far silences that a timer ends differ, and times as long as a pause before
MOST_SEGMENTS = 200_000  #: of one session that are looked at one by one (half a second)
AT_A_TIME = 1 << 15  #: segments whose first bytes are compared together, so that they stay in the cache
OPENING = 64  #: segments in which a handshake is over; a certificate chain is 10
#: Most conversations of a capture have frames of one direction only, and there are this many: it was recorded one-sided.
ONE_SIDED_SHARE, ONE_SIDED_LEAST = 0.9, 3


@dataclass
class Segments:
    """Segments of one session in the order of the capture, without copies; lists of equal length."""

    frame: list[int]
    ts: list[int]
    orig: list[bool]  # sent by the originator
    flags: list[int]
    window: list[int]
    length: list[int]
    fresh: list[int]
    offset: list[int]
    acked: list[int]
    head: list[int]

    def __len__(self) -> int:
        return len(self.frame)

    def end(self, i: int) -> int:
        """The offset behind the data of a segment."""
        return self.offset[i] + self.length[i]

    def text(self, i: int) -> bytes:
        """The first eight bytes of a segment's data."""
        return self.head[i].to_bytes(8, "big")

    def closing(self) -> int:
        """Where the first FIN or RST of either side is; -1 without."""
        return next((i for i in range(len(self)) if self.flags[i] & (FIN | RST)), -1)


class View:
    """One capture. ``traffic``: what it is part of; nobody may have labelled it yet."""

    def __init__(self, side: Side, traffic: Traffic):
        self.side, self.traffic = side, traffic
        self.name = side.of_log()
        self.sessions: Table = side.sessions
        self.trail = side.capture.trail
        self._worked_out: dict[Any, Any] = {}
        self._columns: dict[str, list[Any]] = {}
        self._segments: dict[int, Segments] = {}

    def once(self, function: Callable[[View], T]) -> T:
        """The result of a function of this view, worked out once."""
        if function not in self._worked_out:
            self._worked_out[function] = function(self)
        found: T = self._worked_out[function]
        return found

    # -- columns of sessions as lists --

    def column(self, name: str) -> list[Any]:
        """A column of sessions as a list; None is missing."""
        if name not in self._columns:
            self._columns[name] = self.sessions[name].tolist()
        return self._columns[name]

    @property
    def halves(self) -> set[int]:
        """Sessions that are half of a redirected connection: the other direction stands in another session."""
        return self.side.halves

    @cached_property
    def first_copies(self) -> list[int]:
        """Sessions, of each connection that was recorded several times (NAT, a bridge and its port) one."""
        ids = self.side.session_ids
        if not ids:
            return list(range(self.sessions.rows))
        n, halves = self.sessions.rows, self.halves
        frames = self.sessions["orig_frames"] + self.sessions["resp_frames"]
        best = self.side.least(np.arange(n) - n * frames)  # of each the one with most frames, of these the first
        half = np.array([bool(group) and group[0] in halves for group in ids]) if halves else np.zeros(len(ids), bool)
        chosen = np.ones(n, bool)
        chosen[[k for group in ids for k in group]] = False
        chosen[best[~half & (best != NEVER)] % n] = True
        return np.flatnonzero(chosen).tolist()

    @cached_property
    def whole(self) -> list[int]:
        """Sessions with frames of both directions, of copies one."""
        up, down = self.sessions["orig_frames"], self.sessions["resp_frames"]
        both = (up > 0) & (down > 0)
        return [k for k, kept in zip(self.first_copies, both[self.first_copies].tolist(), strict=True) if kept]

    @cached_property
    def in_one(self) -> list[int]:
        """Those of :attr:`whole` that are no half of a redirected connection."""
        return [k for k in self.whole if k not in self.halves]

    @cached_property
    def contents_alone(self) -> bool:
        """Whether all TCP frames hold data, as if chosen by what is in them (a display filter for http): what opens, acknowledges and closes is left out."""
        return bool(self.whole) and all(set(told) <= set("^DdTtGg") for told in set(self.column("history")))

    @cached_property
    def _ends(self) -> list[tuple[str, int, str, int]]:
        return list(zip(*(self.column(name) for name in ("orig_ip", "orig_port", "resp_ip", "resp_port")), strict=True))

    def ends(self, k: int) -> tuple[str, int, str, int]:
        """Originator and responder of a session."""
        return self._ends[k]

    def way(self, k: int, orig: bool) -> tuple[tuple[str, int], tuple[str, int]]:
        """Sender and receiver of one direction of a session."""
        ends = self.ends(k)[:2], self.ends(k)[2:]
        return ends if orig else ends[::-1]

    def service(self, k: int) -> tuple[str, str, int]:
        """Who asked whom for what: client, server and port of a session."""
        client, _, server, port = self.ends(k)
        return client, server, port

    def address(self, k: int, orig: bool) -> str:
        """Of one end of a session."""
        found: str = self.column("orig_ip" if orig else "resp_ip")[k]
        return found

    def server(self, k: int) -> str:
        """The responder as people write it, with its name where a ClientHello told."""
        _, _, ip, port = self.ends(k)
        sni = self.column("sni")[k]
        return f"{sni}:{port}" if sni and not is_address(sni) else endpoint(ip, port)

    # -- single segments --

    def segments(self, k: int) -> Segments:
        """Of one session, copies taken out."""
        if k not in self._segments:
            self._segments[k] = self._read(k)
        return self._segments[k]

    def opening(self, k: int) -> Segments:
        """The first :data:`OPENING` segments of a session."""
        return self._segments[k] if k in self._segments else self._read(k, OPENING)

    @cached_property
    def new_data(self) -> np.ndarray[Any, Any]:
        """int32: rows of the trail with bytes that had not come before."""
        if self.trail is None:
            return np.empty(0, np.int32)
        t = self.trail.segments()
        return np.flatnonzero((t["fresh"] > 0) & (t["length"] > 0)).astype(np.int32)

    @cached_property
    def _worded(self) -> np.ndarray[Any, Any]:
        """int32: rows of the trail whose first bytes are known, and not all 0."""
        return np.empty(0, np.int32) if self.trail is None else np.flatnonzero(self.trail.segments()["head"]).astype(np.int32)

    def by_originator(self, rows: np.ndarray[Any, Any] | slice = slice(None)) -> np.ndarray[Any, Any]:
        """bool: which rows of the trail the originator of their session sent; of all without."""
        assert self.trail is not None
        t = self.trail.segments()
        sent: np.ndarray[Any, Any] = t["way"][rows] == self.side.originator.astype(np.int8)[t["session"][rows]]
        return sent

    @cached_property
    def first_replies(self) -> np.ndarray[Any, Any]:
        """By session, the first bytes that the responder sent, as one number; 0 without."""
        return self._first_words(False)

    @cached_property
    def first_requests(self) -> np.ndarray[Any, Any]:
        """By session, the first bytes that the originator sent, as one number; 0 without."""
        return self._first_words(True)

    def _first_words(self, orig: bool) -> np.ndarray[Any, Any]:
        out = np.zeros(self.sessions.rows, np.uint64)
        if self.trail is not None and self.sessions.rows:
            t = self.trail.segments()
            sent = self.new_data[self.by_originator(self.new_data) == orig]
            of = t["session"][sent]
            first = sent[firsts(of)]  # segments stand by session
            out[t["session"][first]] = t["head"][first]
        return out

    def sessions_where(
        self, holds: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], among: np.ndarray[Any, Any] | None = None
    ) -> set[int]:
        """Sessions (of those ``among``, bool per session) with a segment of either end whose first bytes (uint64) satisfy a condition, which zeros do not."""
        if self.trail is None:
            return set()
        t, found = self.trail.segments(), set[int]()
        for begin in range(0, len(self._worded), AT_A_TIME):
            rows = self._worded[begin : begin + AT_A_TIME]
            of = t["session"][rows]
            if among is not None:
                rows, of = rows[among[of]], of[among[of]]
            of = of[holds(t["head"][rows])]
            found.update(of[np.diff(of, prepend=-1) > 0].tolist())  # segments stand by session
        return found

    def _read(self, k: int, most: int = MOST_SEGMENTS) -> Segments:
        if self.trail is None:
            return Segments([], [], [], [], [], [], [], [], [], [])
        at = self.trail.of(k)
        part = {
            name: values[at.start : min(at.stop, at.start + most)].tolist()
            for name, values in self.trail.segments().items()
            if name != "session"
        }
        originator = int(self.side.originator[k])
        seen: dict[tuple[int, int, int, int], tuple[int, int, int, int]] = {}
        ifaces = part.get("iface") or [0] * len(part["ts"])  # left out where nothing was heard on the air
        kept: list[int] = []
        for i in range(len(part["ts"])):
            way, flags, length, ts = part["way"][i], part["flags"][i], part["length"][i], part["ts"][i]
            ident, stamp = part["ident"][i], part["stamp"][i]
            if length or flags & (SYN | FIN | RST):
                key = (way, part["offset"][i], length, flags)
                before = seen.get(key)
                if before is not None and (
                    is_copy(ts - before[0], before[1], ident, before[2], stamp)
                    or is_copy_on_air(ts - before[0], before[3], ifaces[i], before[1], ident)
                ):
                    continue
                seen[key] = (ts, ident, stamp, ifaces[i])
            kept.append(i)
        names = ("frame", "ts", "flags", "window", "length", "fresh", "offset", "acked", "head")
        lists = {name: [part[name][i] for i in kept] for name in names}
        return Segments(orig=[part["way"][i] == originator for i in kept], **lists)

    def connections_of(self, frames: list[int]) -> list[int]:
        """Numbers of the connections that carry frames, in their order."""
        if self.trail is None or not frames:
            return []
        t, numbers = self.trail.segments(), self.side.connection_of
        at = np.flatnonzero(np.isin(t["frame"], frames))
        session = dict(zip(t["frame"][at].tolist(), t["session"][at].tolist(), strict=True))
        return list(dict.fromkeys(numbers[session[frame]] for frame in frames if session.get(frame) in numbers))

    @cached_property
    def conversations(self) -> list[Conversation]:
        """Of UDP, one a direction."""
        return self.trail.conversations() if self.trail is not None else []

    # -- time --

    @cached_property
    def _excerpts(self) -> list[list[int]]:
        return (self.trail.excerpts if self.trail is not None else []) or [[1, self.side.bounds_ns[1]]]

    def end_of(self, frame: int) -> int:
        """When the excerpt that holds a frame ends; of most captures it is their end."""
        return self._excerpts[max(bisect.bisect_right(self._excerpts, [frame, 1 << 63]) - 1, 0)][1]

    # -- what was not recorded --

    @cached_property
    def missing_bytes(self) -> Ints:
        """By session, bytes of both directions that were acknowledged and are not in the capture."""
        missing: Ints = self.sessions["orig_missing_bytes"] + self.sessions["resp_missing_bytes"]
        return missing

    @cached_property
    def one_sided(self) -> bool:
        """Whether (nearly) all conversations were recorded in one direction only, as their acknowledgments prove."""
        s = self.sessions
        k = np.array(self.first_copies, np.int64)
        up, down, state = s["orig_frames"][k], s["resp_frames"][k], s["state"][k]
        one_way = (up == 0) | (down == 0)
        # nobody claims to have heard anything
        mute = one_way & (self.missing_bytes[k] == 0) & ((state == "S0") | (state == "REJ") | (state == "RSTOS0"))
        talks = ~mute & (up + down > 1)  # a last packet alone says nothing
        n, alone = int(talks.sum()), int((talks & one_way).sum())
        return alone >= max(ONE_SIDED_SHARE * n, 1) and (n >= ONE_SIDED_LEAST or bool(self._acknowledging))

    @cached_property
    def heard_unseen(self) -> set[str]:
        """Addresses that acknowledge what was not recorded at all: what they hear is not in the capture."""
        return {address for address in self._acknowledging if not is_loopback(address)}  # that is both ends

    @cached_property
    def _acknowledging(self) -> set[str]:
        s, unseen = self.sessions, set()
        up, down = s["orig_frames"], s["resp_frames"]
        missing, their_missing = s["resp_missing_bytes"], s["orig_missing_bytes"]
        one_way = (up == 0) | (down == 0)
        for k in (k for k, alone in zip(self.first_copies, one_way[self.first_copies].tolist(), strict=True) if alone):
            orig, _, resp, _ = self.ends(k)
            if up[k] and (missing[k] > 0 or self.column("state")[k] in ("SH", "SHR", "OTH", "RSTOS0", "S1")):
                unseen.add(orig)
            elif down[k] and their_missing[k] > 0:
                unseen.add(resp)
        return unseen - {end for k in self.whole for end in self.ends(k)[::2]} if unseen else unseen

    def hears_nothing(self, ip: str) -> bool:
        """Whether what was sent to an address is known not to be in the capture."""
        return self.one_sided or ip in self.heard_unseen


def views(traffic: Traffic) -> list[View]:
    """One of each capture."""
    return traffic.once(views_anew)


def views_anew(traffic: Traffic) -> list[View]:
    """The same, with nothing worked out."""
    return [View(side, traffic) for side in traffic.sides.values()]


def finding(
    view: View,
    id_: str,
    severity: Severity,
    text: str,
    frames: Iterable[int | None],
    values: dict[str, Any],
    advice: str = "",
) -> Finding:
    """A finding with the frames that show it (the worst first), Wireshark's filter for them, and the connections that carry them."""
    given = list(dict.fromkeys(int(frame) for frame in frames if frame))
    every = [(view.name, frame) for frame in sorted(given)]
    filter_ = frame_filter([frame for _, frame in every[:FRAMES]])
    return Finding(id_, id_, severity, text, every[:FRAMES], filter_, values, advice, view.connections_of(given[:FRAMES]), every)


def graded(
    view: View, id_: str, grave: bool | Sized, text: str, frames: Iterable[int | None], values: dict[str, Any], advice: str
) -> Finding:
    """A problem with advice if it is grave (or any case is), else a warning without."""
    return finding(view, id_, "problem" if grave else "warning", text, frames, values, advice if grave else "")


def frame_filter(frames: list[int]) -> str:
    """Wireshark's display filter for frames; "" without any."""
    return f"frame.number in {{{', '.join(map(str, frames))}}}" if frames else ""


def timed_out(silences: list[int], pause: int) -> bool:
    """Whether a timer ends connections after a silence.

    silences : ns before the end of each.  pause : ns, the longest that any of them had before, and lived through; what speaks at an even pace ends after one
    of its pauses.
    """
    shortest = min(silences, default=0)
    return shortest >= max(S, LONGER * pause) and max(silences) <= shortest * (1 + ALIKE)


def as_bytes(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint8[n, 8]: the bytes of numbers (uint64) that stand for eight bytes each."""
    return np.ascontiguousarray(words.astype(">u8")).view(np.uint8).reshape(-1, 8)


def seconds(ns: float) -> str:
    """A time as people say it."""
    s = ns / S
    if abs(s) < 1:
        return f"{s * 1000:.0f} ms"
    return f"{s:.1f} s" if abs(s) < 120 else f"{s / 60:.0f} min" if abs(s) < 7200 else _hours(s / 3600)


def _hours(hours: float) -> str:
    """The same of what lasts hours and more."""
    days = hours / 24
    return f"{hours:.0f} h" if abs(days) <= 3 else f"{days:.0f} days" if abs(days) < 1000 else f"{days / 365.2425:.0f} years"


def up_to(shown: Sized) -> str:
    """What stands before the longest time: "up to " if it is of several."""
    return "up to " if len(shown) > 1 else ""


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Items by key, in order."""
    out: dict[Any, list[T]] = defaultdict(list)
    for item in items:
        out[key(item)].append(item)
    return out


def most(names: Iterable[str]) -> str:
    """The most frequent names: "a", "a and b", "a, b and 3 others"."""
    counts = Counter(iter(names))  # of a dict, its keys
    order = sorted(counts, key=lambda name: (-counts[name], name))
    if len(order) <= 2:
        return " and ".join(order)
    return f"{order[0]}, {order[1]} and {plural(len(order) - 2, 'other')}"
