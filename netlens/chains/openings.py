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
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.chains.side import Side
from netlens.columns import NEVER, Array, Bools, Ints
from netlens.wire import columns as c

SOON_NS = 1_000_000_000  #: from a lookup's answer to the first SYN: a program that needs longer looked the name up for another reason, or beforehand
SHARED_NS = 10_000_000  #: connections that begin so soon after an answer all waited for it
TOGETHER_NS = 5_000_000  #: A and AAAA from two sockets (musl, Go) leave within microseconds
RESENT_NS = 200_000_000  #: the shortest timer behind which a SYN is sent again (Linux; RFC 6298 2.1 has 1 s)
SEGMENTS = 64  #: in which a handshake is over
CHANGE_CIPHER, HANDSHAKE = 0x14, 0x16  #: kinds of TLS records
#: Times of an opening, in this order; NEVER: not seen, or there was none.
#:
#: syn_ns, open_ns : first SYN, first ACK.  asked_ns : first payload, where something is negotiated before TLS.  hello_ns : ClientHello.
#: flight_ns : the server's last segment before the client's last of the handshake.  ready_ns : the handshake's last message.
#: lookup_ns, looked_up_ns : first query and last answer that was waited for.  resyn_ns : last SYN before the answer.
#: synack_ns, resynack_ns : first and last SYN+ACK before that ACK.  turn_ns, again_ns : the server's last segment before the client first goes on with the
#: handshake, and that.
MOMENTS = (
    "syn_ns", "open_ns", "asked_ns", "hello_ns", "flight_ns", "ready_ns", "lookup_ns", "looked_up_ns", "resyn_ns", "synack_ns", "resynack_ns", "turn_ns",
    "again_ns",
)  # fmt: skip
SYN, OPEN, ASKED, HELLO, FLIGHT, READY, LOOKED, TOLD, RESYN, SYNACK, RESYNACK, TURN, AGAIN = range(len(MOMENTS))


def openings(side: Side, connections: Ints, first_frames: Ints) -> tuple[Ints, dict[int, tuple[int, ...]]]:
    """How connections were opened, as far as the capture shows it: int64[n, moments]; by place among them, rows of the lookups that were waited for.

    Parameters
    ----------
    connections : their rows.  first_frames : frame of the first byte of the first request of each; what comes behind it is no opening.
    """
    sessions = side.sessions
    times = np.full((len(connections), len(MOMENTS)), NEVER)
    times[:, SYN] = side.least(np.where(sessions["saw_syn"].astype(bool), sessions["start_ns"].astype(np.int64), NEVER))[connections]
    _handshakes(side, connections, first_frames, times)
    return times, _lookups(side, connections, times)


def _first_segments(side: Side, connections: Ints, first_frames: Ints) -> tuple[Ints, Ints]:
    """Rows of the trail: the first segments of all sessions of connections, in order, of each session no more than to the first from the frame named on; and
    where those of each connection begin, with the end of the last."""
    assert side.capture.trail is not None
    of_each = [side.session_ids[row] for row in connections.tolist()]
    counts = np.fromiter(map(len, of_each), np.int64, len(of_each))
    ids = np.array([k for these in of_each for k in these], np.int64)
    segments, upto, of = side.capture.trail.segments(), np.repeat(first_frames, counts), np.repeat(np.arange(len(counts)), counts)
    starts, stops = side.capture.trail.of_each(ids)
    most = np.minimum(stops - starts, SEGMENTS)
    sizes = np.minimum(most, 1)
    going_on = np.flatnonzero(most > 1)
    for size in range(2, SEGMENTS + 1):  # as long as the one before is no later than the opening
        going_on = going_on[(most[going_on] >= size) & (segments["frame"][starts[going_on] + size - 2] < upto[going_on])]
        sizes[going_on] = size
    at = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    of = np.repeat(of, sizes)
    mixed = np.flatnonzero((counts > 1)[of])
    rows = at[mixed]
    at[mixed] = rows[np.lexsort((segments["way"][rows] == side.originator[segments["session"][rows]], segments["frame"][rows], of[mixed]))]
    return at, np.searchsorted(of, np.arange(len(counts) + 1))


def _handshakes(side: Side, connections: Ints, first_frames: Ints, times: Ints) -> None:
    """Fill in TCP's and TLS's: the next segment of all connections at a time."""
    known = np.flatnonzero(times[:, SYN] != NEVER)  # others are older than the capture
    if side.capture.trail is None or not len(known):
        return
    columns = side.capture.trail.segments()
    at, begins = _first_segments(side, connections[known], first_frames[known])
    first, sizes = first_frames[known], np.diff(begins)
    t = np.full((len(MOMENTS), len(known)), NEVER)
    t[SYN] = times[known, SYN]
    last_server, tls_1_2 = np.full(len(known), NEVER), np.zeros(len(known), bool)
    going_on = np.arange(len(known))
    for number in range(int(sizes.max())):
        going_on = going_on[sizes[going_on] > number]
        k = at[begins[going_on] + number]
        ts, flags, orig = columns["ts"][k], columns["flags"][k], columns["way"][k] == side.originator[columns["session"][k]]
        acks, syn = flags & c.ACK_FLAG != 0, flags & c.SYN != 0
        opened = (t[OPEN, going_on] == NEVER) & orig & acks & (flags & (c.SYN | c.RST) == 0)
        t[OPEN, going_on[opened]] = ts[opened]
        _synchronized(t, going_on[syn], ts[syn], acks[syn])
        ahead = columns["frame"][k] < first[going_on]
        said = ahead & (columns["fresh"][k] > 0) & ~syn
        _negotiated(t, going_on[said], ts[said], orig[said], columns["head"][k[said]] >> np.uint64(56), last_server, tls_1_2)
        going_on = going_on[ahead]
    # the client's last message shares a segment with the request
    shared = (t[HELLO] != NEVER) & (t[READY] == t[HELLO]) & (last_server != NEVER)
    t[FLIGHT, shared] = t[READY, shared] = last_server[shared]
    times[known] = t.T


def _synchronized(t: Ints, of: Ints, ts: Ints, answers: Bools) -> None:
    """Take in a SYN of each of some openings, or what answers it; copies on other interfaces are the same packet."""
    if not len(of):
        return
    unopened = t[OPEN, of] == NEVER
    answer, syn = unopened & answers, unopened & ~answers & (t[SYNACK, of] == NEVER)
    first = answer & (t[SYNACK, of] == NEVER)
    t[SYNACK, of[first]] = ts[first]
    for last, its in ((RESYNACK, answer), (RESYN, syn)):
        anew = its & ((t[last, of] == NEVER) | (ts - t[last, of] >= RESENT_NS))
        t[last, of[anew]] = ts[anew]


def _negotiated(t: Ints, of: Ints, ts: Ints, orig: Bools, kind: Array, last_server: Ints, tls_1_2: Bools) -> None:
    """Take in new data of each of some openings.  kind : its first byte.  last_server : of all, when the server last sent any after the hello."""
    if not len(of):
        return
    greeted, is_handshake = t[HELLO, of] != NEVER, kind == HANDSHAKE
    hello, asked = orig & ~greeted & is_handshake, orig & ~greeted & ~is_handshake & (t[ASKED, of] == NEVER)
    t[HELLO, of[hello]] = t[READY, of[hello]] = ts[hello]
    t[ASKED, of[asked]] = ts[asked]
    goes_on = orig & greeted & (last_server[of] != NEVER)  # else it is the rest of a hello that takes several segments
    first = goes_on & (t[AGAIN, of] == NEVER)
    t[TURN, of[first]], t[AGAIN, of[first]] = last_server[of[first]], ts[first]
    tls_1_2[of[goes_on & is_handshake]] = True
    t[FLIGHT, of[goes_on]], t[READY, of[goes_on]] = last_server[of[goes_on]], ts[goes_on]
    server = greeted & ~orig
    last_server[of[server]] = ts[server]
    finished = server & tls_1_2[of] & (is_handshake | (kind == CHANGE_CIPHER))
    t[FLIGHT, of[finished]] = t[READY, of[finished]] = ts[finished]


# --- lookups


@dataclass(slots=True)
class _Question:
    rows: list[int]
    asked: int
    kinds: set[Any]
    socket: Any
    used: bool = False


def _lookups(side: Side, connections: Ints, times: Ints) -> dict[int, tuple[int, ...]]:
    """Fill in the lookup that each connection waited for; its rows by place of the connection."""
    table, found, waited = side.capture.table("lookups"), dict[int, tuple[int, ...]](), dict[int, tuple[int, int]]()
    if not table.rows:
        return found
    asked, answered = table.listed("query_ns"), table.listed("answer_ns")
    questions = _questions(table, asked)
    key_of = {k: key for key, group in questions.items() for q in group for k in q.rows}
    # times of the answers of each key in order, and the question of each; of those that came at once, that of the first question last
    answers: dict[Any, tuple[list[int], list[_Question]]] = {}
    for key, group in questions.items():
        in_order = sorted((at, -i) for i, q in enumerate(group) for k in q.rows if (at := answered[k]) is not None)
        answers[key] = [at for at, _ in in_order], [group[-i] for _, i in in_order]
    keys_of: dict[int, set[Any]] = defaultdict(set)
    for row, ids in enumerate(table["connection_ids"].tolist()):
        for connection in ids:
            if row in key_of:
                keys_of[connection].add(key_of[row])
    begun = zip(times[:, SYN].tolist(), connections.tolist(), range(len(connections)), strict=True)
    for syn, row, place in sorted(each for each in begun if each[0] != NEVER and each[1] in keys_of):
        best: tuple[bool, int, _Question] | None = None
        for key in keys_of[row]:
            came, whose = answers[key]
            for at in range(bisect.bisect_right(came, syn) - 1, -1, -1):
                done, q = came[at], whose[at]
                if syn - done > SOON_NS:
                    break
                if (not q.used or syn - done <= SHARED_NS) and (best is None or (not q.used, done) > best[:2]):
                    best = (not q.used, done, q)
                if not q.used:
                    break  # older ones are no better
        if best is not None:
            _, done, q = best
            q.used = True
            waited[place] = q.asked, done
            found[place] = tuple(q.rows)
    times[list(waited), LOOKED : TOLD + 1] = np.array(list(waited.values()), np.int64).reshape(-1, 2)
    return found


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
