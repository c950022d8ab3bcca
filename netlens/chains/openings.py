"""How each connection came to be ready for its first request: lookup, TCP handshake, TLS handshake, as one capture shows it.

Theory of operation
-------------------
1. *Lookup.* One question is a name asked for with all its types at once (A and AAAA come from one socket, or within :data:`TOGETHER_NS`). A question
   belongs to the first connection that begins within :data:`SOON_NS` of its answer, to an address that the name has; to several only if
   they begin at once (:data:`SHARED_NS`): a browser opens six. What was looked up earlier was no part of anybody's wait.
2. *Connect* goes from the first SYN to the originator's first acknowledgment after it, so lost SYNs are in it. Which SYN and which SYN+ACK came through
   is told by the last of each: what comes within :data:`RESENT_NS` of the one before is the same packet on another interface.
3. *TLS* goes from the ClientHello to the last message of the handshake before the first request: the client's Finished (RFC 8446 2), or with TLS 1.2 the
   server's ChangeCipherSpec and Finished behind it (RFC 5246 7.3). Session tickets, which the server sends when it likes, are not waited for.
4. Halves of a redirected connection are read together.

Limits: what a program did before its first packet is not seen. A handshake whose last message shares a segment with the request ends with that segment.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from netlens.chains.side import Side
from netlens.columns import NEVER
from netlens.wire import columns as c

SOON_NS = 1_000_000_000  #: from a lookup's answer to the first SYN: a program that needs longer looked the name up for another reason, or beforehand
SHARED_NS = 10_000_000  #: connections that begin so soon after an answer all waited for it
TOGETHER_NS = 5_000_000  #: A and AAAA from two sockets (musl, Go) leave within microseconds
RESENT_NS = 200_000_000  #: the shortest timer behind which a SYN is sent again (Linux; RFC 6298 2.1 has 1 s)
SEGMENTS = 64  #: in which a handshake is over
AT_A_TIME = 1024  #: connections whose first segments are read together; each takes 5 kB meanwhile
CHANGE_CIPHER, HANDSHAKE = 0x14, 0x16  #: kinds of TLS records


@dataclass(slots=True)
class Opening:
    """Times of one capture; None: not seen, or there was none.

    lookup_ns, looked_up_ns : first query and last answer that was waited for; ``lookups``: rows of them.  syn_ns, open_ns : first SYN, first ACK.
    resyn_ns : last SYN before the answer.  synack_ns, resynack_ns : first and last SYN+ACK before that ACK.
    asked_ns : first payload, where something is negotiated before TLS.  hello_ns : ClientHello.  flight_ns : the server's last segment before the client's last
    of the handshake.  ready_ns : the handshake's last message.  turn_ns, again_ns : the server's last segment before the client first goes on with the
    handshake, and that.
    """

    syn_ns: int | None = None
    open_ns: int | None = None
    asked_ns: int | None = None
    hello_ns: int | None = None
    flight_ns: int | None = None
    ready_ns: int | None = None
    lookup_ns: int | None = None
    looked_up_ns: int | None = None
    lookups: tuple[int, ...] = ()
    resyn_ns: int | None = None
    synack_ns: int | None = None
    resynack_ns: int | None = None
    turn_ns: int | None = None
    again_ns: int | None = None


def openings(side: Side, first_frames: dict[int, int]) -> dict[int, Opening]:
    """Of the connections named, by row: how they were opened, as far as the capture shows it.

    Parameters
    ----------
    first_frames : frame of the first byte of the first request, by row of connections; what comes behind it is no opening.
    """
    sessions = side.sessions
    syn = side.least(np.where(sessions["saw_syn"].astype(bool), sessions["start_ns"].astype(np.int64), NEVER)).tolist()
    made = {row: Opening(None if syn[row] == NEVER else syn[row]) for row in first_frames}
    seen = ((row, frame) for row, frame in first_frames.items() if syn[row] != NEVER)  # others are older than the capture
    while some := dict(islice(seen, AT_A_TIME)):
        for row, segments in _segments(side, some):
            _handshakes(made[row], segments, first_frames[row])
    _lookups(side, made)
    return made


Segment = tuple[int, int, bool, int, int, int]  #: frame, time, by the originator, flags, new bytes, first byte


def _segments(side: Side, first_frames: dict[int, int]) -> Iterator[tuple[int, list[Segment]]]:
    """Of connections, the first segments of all their sessions in order, no more than to the first from the frame named on."""
    trail = side.capture.trail
    if trail is None:
        return
    columns = trail.segments()
    ids = np.array([k for row in first_frames for k in side.session_ids[row]], np.int64)
    counts = np.array([len(side.session_ids[row]) for row in first_frames], np.int64)
    upto = np.repeat(np.fromiter(first_frames.values(), np.int64, len(first_frames)), counts)
    starts, stops = trail.of_each(ids)
    sizes = np.minimum(stops - starts, SEGMENTS)
    at = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    of = np.repeat(np.arange(len(ids)), sizes)
    before = columns["frame"][at - 1] < upto[of]  # whether the one before it is no later than the opening
    kept = before | (at == starts[of])
    at, of = at[kept], of[kept]
    frame, ts, flags, fresh = (columns[name][at].tolist() for name in ("frame", "ts", "flags", "fresh"))
    mine, head = (columns["way"][at] == side.originator[ids][of]).tolist(), (columns["head"][at] >> np.uint64(56)).tolist()
    rows = list(zip(frame, ts, mine, flags, fresh, head, strict=True))
    ends = np.searchsorted(of, np.append(0, np.cumsum(counts))).tolist()
    for row, count, (begin, end) in zip(first_frames, counts.tolist(), pairwise(ends), strict=True):
        yield row, sorted(rows[begin:end]) if count > 1 else rows[begin:end]


def _handshakes(opening: Opening, segments: list[Segment], first_frame: int) -> None:
    """TCP's and TLS's."""
    last_server = None
    tls_1_2 = False
    for frame, ts, orig, flags, fresh, head in segments:
        if opening.open_ns is None and orig and flags & c.ACK_FLAG and not flags & (c.SYN | c.RST):
            opening.open_ns = ts
        if flags & c.SYN and opening.open_ns is None:
            _synchronized(opening, ts, answer=bool(flags & c.ACK_FLAG))
        if frame >= first_frame:
            break
        if fresh <= 0 or flags & c.SYN:
            continue
        if orig and opening.hello_ns is None:
            if head == HANDSHAKE:
                opening.hello_ns = opening.ready_ns = ts
            elif opening.asked_ns is None:
                opening.asked_ns = ts
        elif opening.hello_ns is None:
            continue
        elif orig and last_server is None:
            continue  # the rest of a hello that takes several segments
        elif orig:
            tls_1_2 = tls_1_2 or head == HANDSHAKE
            if opening.again_ns is None:
                opening.turn_ns, opening.again_ns = last_server, ts
            opening.flight_ns, opening.ready_ns = last_server, ts
        else:
            last_server = ts
            if tls_1_2 and head in (CHANGE_CIPHER, HANDSHAKE):
                opening.flight_ns = opening.ready_ns = ts
    if opening.hello_ns is not None and opening.ready_ns == opening.hello_ns and last_server is not None:
        opening.flight_ns = opening.ready_ns = last_server  # the client's last message shares a segment with the request


def _synchronized(opening: Opening, ts: int, *, answer: bool) -> None:
    """Take in a SYN, or what answers it; copies on other interfaces are the same packet."""
    if answer:
        opening.synack_ns = ts if opening.synack_ns is None else opening.synack_ns
        if opening.resynack_ns is None or ts - opening.resynack_ns >= RESENT_NS:
            opening.resynack_ns = ts
    elif opening.synack_ns is None and (opening.resyn_ns is None or ts - opening.resyn_ns >= RESENT_NS):
        opening.resyn_ns = ts


# --- lookups


@dataclass(slots=True)
class _Question:
    rows: list[int]
    asked: int
    kinds: set[Any]
    socket: Any
    used: bool = False


def _lookups(side: Side, made: dict[int, Opening]) -> None:
    """Fill in the lookup that each connection waited for."""
    table = side.capture.table("lookups")
    if not table.rows:
        return
    asked, answered = table.listed("query_ns"), table.listed("answer_ns")
    questions = _questions(table, asked)
    of_row = {row: (key, q) for key, group in questions.items() for q in group for row in q.rows}
    # answers of each key in order, with the number of the question in its group
    answers = {
        key: sorted((at, i) for i, q in enumerate(group) for k in q.rows if (at := answered[k]) is not None)
        for key, group in questions.items()
    }
    keys_of: dict[int, set[Any]] = defaultdict(set)
    for row, ids in enumerate(table["connection_ids"].tolist()):
        for connection in ids:
            if row in of_row:
                keys_of[connection].add(of_row[row][0])
    order = sorted((o.syn_ns, row) for row, o in made.items() if o.syn_ns is not None and row in keys_of)
    for syn, row in order:
        best: tuple[bool, int, _Question] | None = None
        for key in keys_of[row]:
            near = answers[key][bisect.bisect_left(answers[key], (syn - SOON_NS,)) : bisect.bisect_left(answers[key], (syn + 1,))]
            for i in sorted({i for _, i in near}):
                q = questions[key][i]
                done = max((answered[k] for k in q.rows if answered[k] is not None and answered[k] <= syn), default=None)
                if done is None or syn - done > (SHARED_NS if q.used else SOON_NS):
                    continue
                if best is None or (not q.used, done) > best[:2]:
                    best = (not q.used, done, q)
        if best is not None:
            _, done, q = best
            q.used = True
            made[row].lookup_ns, made[row].looked_up_ns, made[row].lookups = q.asked, done, tuple(q.rows)


def _questions(table: Any, asked: list[int | None]) -> dict[Any, list[_Question]]:
    """Questions by who asks for what, in order; the types of one name that are asked for together are one."""
    names = [table[name].tolist() for name in ("orig_ip", "qname", "orig_port", "qtype")]
    found: dict[Any, list[_Question]] = defaultdict(list)
    for row in sorted((k for k in range(table.rows) if asked[k] is not None), key=lambda k: asked[k] or 0):
        ip, name, port, kind = (column[row] for column in names)
        at = int(asked[row] or 0)
        recent = [q for q in found[ip, name][-8:] if kind not in q.kinds]
        same = [q for q in recent if q.socket == port and at - q.asked <= SOON_NS] or [q for q in recent if at - q.asked <= TOGETHER_NS]
        if same:
            same[-1].rows.append(row)
            same[-1].kinds.add(kind)
        else:
            found[ip, name].append(_Question([row], at, {kind}, port))
    return found
