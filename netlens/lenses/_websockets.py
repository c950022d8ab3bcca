"""WebSockets in clear (RFC 6455): how servers end them, and pings that they never answer.

Limits: a segment that holds several frames is known by its first, and where the last one of a side does, nothing is said, as a close may stand there; what is
said by HTTP/2 (RFC 8441) or inside TLS is not read.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from netlens.lenses._repeats import with_repeats
from netlens.lenses._view import ALIKE, RST, S, Segments, View, grouped, seconds, timed_out

#: Why a server closes a WebSocket with which it does not want to go on (RFC 6455 7.4.1, and IANA's registry). 1001 and 1012: it goes away or restarts.
_CLOSED = {1002: "protocol error", 1003: "kind of data not taken", 1007: "wrong data", 1008: "policy violation", 1009: "too big",
           1011: "internal error", 1013: "try again later", 1014: "bad gateway", 3000: "unauthorized", 3003: "forbidden"}  # fmt: skip
#: Codes with which a client leaves in order; 1005 is said by no one, and stands for a close without a code
_IN_ORDER = (1000, 1001, 1005)
SOON_NS = 10 * S  #: after a WebSocket began; who must log in first is given so long
AT_ONCE_NS = S // 10  #: behind a client's word: who ends then may have waited for it
REPORTS = 3  #: messages of who tells something, and wants no answer
TIMES = 3  #: WebSockets that end in the same way; one or two meet a restart
UNHEARD_NS = S  #: that a ping is left without an answer; a server that is there answers at once
_GET, _MASKED = int.from_bytes(b"GET ", "big"), 0x80 << 48
_RENEWED = (1008, 1013)  #: codes of servers that let nobody stay for longer than some time
_MESSAGES = (0x81, 0x82, 0xC1, 0xC2)  #: first bytes of a text or of bytes that are whole, compressed or not (RFC 7692 6)
_CLOSE, _PING, _SWITCHED = 0x88, 0x89, 101  # first bytes of frames (RFC 6455 5.2); HTTP's status


@dataclass
class Ended:
    """A WebSocket that a server ended: how, and whether nothing tells that this was right."""

    session: int
    what: str
    lasting: bool
    frames: list[int]


class Unheard(NamedTuple):
    """A ping that a server acknowledged, and behind which it said nothing until the client ended the connection."""

    session: int
    wait_ns: int
    frames: list[int]


class _Socket(NamedTuple):
    """A session, the segment with the server's 101, and whether frames came with it."""

    session: int
    begin: int
    spoke: bool


def ended(view: View) -> list[Ended]:
    """Those that a server closed with an error soon after they began, more than once and to the last. Later it may be a token that ended, or a client that
    sleeps; so may it be where all that served last for the same time. Who answers a close repeats its code (RFC 6455 5.5.1): so only of a server that closed
    first. And those that end without a close."""
    kept: dict[tuple[str, str, int], int] = {}  # when one last began that was not closed so, or not soon
    found = []
    lives: dict[tuple[str, str, int], list[int]] = {}  # of those with a code of _RENEWED; 0 where the server had said nothing, or another
    sockets = view.once(_sockets)
    for k, begin, spoke in sockets:
        seg, start = view.segments(k), view.column("start_ns")[k]
        closed = _closed(seg)
        if closed is None or closed[2] - start > SOON_NS:
            kept[view.service(k)] = max(start, kept.get(view.service(k), 0))
        if closed is not None:
            found.append(Ended(k, f"WebSocket closed: {_CLOSED[closed[0]]} ({closed[0]})", True, [closed[1]]))
            served = spoke or any(seg.length[i] and not seg.orig[i] for i in range(begin + 1, seg.frame.index(closed[1])))
            lives.setdefault(view.service(k), []).append(closed[2] - start if served and closed[0] in _RENEWED else 0)
    renewed = {service for service, each in lives.items() if len(each) > 1 and min(each) >= S and max(each) <= min(each) * (1 + ALIKE)}
    for each in found:
        each.lasting = kept.get(view.service(each.session), 0) < view.column("start_ns")[each.session]
    times = Counter(view.service(each.session) for each in found if each.lasting)
    for each in found:
        each.lasting &= times[view.service(each.session)] > 1 and view.service(each.session) not in renewed
    return found + [each for group in grouped(sockets, lambda s: view.service(s.session)).values() for each in _cut(view, group)]


def unheard(view: View) -> list[Unheard]:
    """Pings in vain (RFC 6455 5.5.2) for which clients left: those that end without a close, or with a code that tells of trouble. Who does not wait for its
    pongs closes in order."""
    lossy = view.once(with_repeats)
    every = [each for s in view.once(_sockets) if s.session not in lossy and (each := _in_vain(view, s)) is not None]
    return every if not view.one_sided else []


def _sockets(view: View) -> list[_Socket]:
    """Of all sessions, those in which a server switched to WebSocket."""
    x = view.side.capture.table("exchanges")
    switched = x.ints("status", -1) == _SWITCHED
    upgraded = dict(zip(x["session_id"][switched].tolist(), x["start_frame"][switched].tolist(), strict=True))
    spoke = view.side.capture.spoke_at_once
    found = []
    for k in filter(upgraded.__contains__, view.first_copies):
        seg = view.segments(k)
        at = bisect.bisect_left(seg.frame, upgraded[k])
        answer = next((i for i in range(at, len(seg)) if not seg.orig[i] and seg.fresh[i]), len(seg))
        if _is_websocket(seg, at, answer):
            found.append(_Socket(k, answer, k in spoke))
    return found


def _is_websocket(seg: Segments, at: int, answer: int) -> bool:
    """Whether what a server switched to may be WebSocket: asked for by GET (RFC 6455 4.1), and what the client then says is masked (5.1). Else it is a terminal
    of Docker, SPDY or HTTP/2."""
    said = next((seg.head[i] for i in range(answer, len(seg)) if seg.orig[i] and seg.fresh[i]), _MASKED)
    return at < len(seg) and seg.head[at] >> 32 == _GET and bool(said & _MASKED)


def _cut(view: View, sockets: list[_Socket]) -> list[Ended]:
    """Of a client's WebSockets with one server, in order: those that the server ends without a close (RFC 6455 7.1.1), again and again, each followed by the
    next. When nothing was said for the same time, it is a proxy whose timeout is shorter than the silence of the program; a silence longer than
    :data:`SOON_NS` is a warning: programs know that they must speak now and then. Others tell something only if they end soon: where the client spoke and the
    server never did, it never served, unless the client only reports, or all that was wanted is its last word; what the server says before such an end may be
    all that was wanted of it."""
    cuts: list[tuple[int, int, int, int]] = []  # session, silence, age, frame
    mute, told, reset, pause = True, False, False, 0
    starts = view.column("start_ns")
    for (k, begin, spoke), following in zip(sockets, [*(s.session for s in sockets[1:]), None], strict=True):
        seg = view.segments(k)
        end = seg.closing()
        if end < 0 and following is None:
            continue  # it is open still
        said = [i for i in range(max(end, 0)) if seg.length[i] and seg.fresh[i]]
        behind = [i for i in said if i > begin]
        clean = any(seg.head[i] >> 56 == _CLOSE for i in said)
        clean |= any(_holds_more(seg, [i for i in behind if seg.orig[i] == orig]) for orig in (True, False))
        again = following is None or 0 <= starts[following] - seg.ts[end] <= SOON_NS
        if clean or seg.orig[end] or seg.length[end] or not said or not again:
            return []
        reset |= bool(seg.flags[end] & RST)
        mute &= not spoke and bool(behind) and all(seg.orig[i] for i in behind)
        messages = [i for i in behind if seg.head[i] >> 56 in _MESSAGES]
        told |= len(messages) >= REPORTS or bool(messages and seg.ts[end] - seg.ts[messages[-1]] < AT_ONCE_NS)
        pause = max([pause, *(seg.ts[b] - seg.ts[a] for a, b in pairwise([begin, *behind]))])
        cuts.append((k, seg.ts[end] - seg.ts[said[-1]], seg.ts[end] - starts[k], seg.frame[end]))
    if len(cuts) < TIMES:
        return []
    silences = [silence for _, silence, *_ in cuts]
    if timed_out(silences, pause):
        what, lasting = f"WebSocket cut without a close after {seconds(min(silences))} of silence", max(silences) <= SOON_NS
    elif max(age for *_, age, _ in cuts) <= SOON_NS and (mute or not reset):  # of others reset tells
        what, lasting = (
            f"WebSocket ended without a close{', or a word from the server,' if mute else ''} soon after it began",
            mute and not told,
        )
    else:
        return []
    return [Ended(k, what, lasting, [frame]) for k, *_, frame in cuts]


def _holds_more(seg: Segments, sent: list[int]) -> bool:
    """Whether the last segment of those that a side sent goes on behind its first frame, or behind one that began before: a close may stand there."""
    until = -1  # where the last known frame ends
    for i in sent:
        if seg.offset[i] >= until:
            until = seg.offset[i] + _size(seg.text(i))
    return bool(sent) and until < seg.end(sent[-1])


def _size(head: bytes) -> int:
    """Bytes of the frame that begins so (RFC 6455 5.2); of one with 64 KiB or more, that many at least."""
    masked, length = head[1] & 0x80, head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(length, 0)
    length = int.from_bytes(head[2:8], "big") << 16 if length == 127 else int.from_bytes(head[2:4], "big") if extended else length
    return 2 + extended + (4 if masked else 0) + length


def _closed(seg: Segments) -> tuple[int, int, int] | None:
    """Code, frame and time of the error with which a server closed, in a segment of its own."""
    for i in range(len(seg)):
        if not (seg.length[i] and seg.fresh[i]) or seg.head[i] >> 56 != _CLOSE:
            continue
        if seg.orig[i]:
            return None
        size, code = seg.head[i] >> 48 & 0xFF, seg.head[i] >> 32 & 0xFFFF
        if size + 2 == seg.length[i] < 128:
            return (code, seg.frame[i], seg.ts[i]) if code in _CLOSED else None
    return None


def _in_vain(view: View, socket: _Socket) -> Unheard | None:
    seg = view.segments(socket.session)
    end = seg.closing()
    if end < 0 or not seg.orig[end]:
        return None
    last = max((i for i in range(socket.begin, end) if seg.length[i] and not seg.orig[i]), default=socket.begin)
    ours = [i for i in range(last + 1, end) if seg.orig[i] and seg.fresh[i]]
    ping = next((i for i in ours if seg.head[i] >> 56 == _PING), None)
    if ping is None or any(seg.head[i] >> 56 == _CLOSE and _code(seg, i) in _IN_ORDER for i in ours):
        return None
    acknowledged = any(not seg.orig[i] and seg.acked[i] >= seg.end(ping) for i in range(ping, end))
    left = next((i for i in ours if i > ping and seg.head[i] >> 56 == _CLOSE), end)
    wait = seg.ts[left] - seg.ts[ping]
    return Unheard(socket.session, wait, [seg.frame[ping], seg.frame[left]]) if acknowledged and wait >= UNHEARD_NS else None


def _code(seg: Segments, i: int) -> int:
    """Of a client's close: its code, which is masked (RFC 6455 5.3)."""
    head = seg.text(i)
    return (head[2] ^ head[6]) << 8 | (head[3] ^ head[7]) if seg.length[i] >= len(head) else 1005
