"""Queries to a database in clear that waited in line: each was answered as soon as another connection's was that had been asked before, while the same query
is answered at once elsewhere. A pool with too few connections to the server behind it makes such lines, and so does a lock. What a transaction locks is free
when it ends (PostgreSQL's manual, 13.3): one that lasts counts as one query, from its beginning to the answer to COMMIT or ROLLBACK.

How long a query takes by itself says nothing: reports take minutes. Looked at are queries of PostgreSQL (Query, Parse, Bind, Execute) and of MySQL (COM_QUERY,
COM_STMT_PREPARE, COM_STMT_EXECUTE); what may wait for events (LISTEN, replication, COPY) is not looked at.

Limits: the same is what has the same first eight bytes and the same length, in one segment.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np

from netlens.lenses import _databases
from netlens.lenses._repeats import with_repeats
from netlens.lenses._view import S, View, grouped

WAIT_NS = S  #: that somebody notices
QUICK, QUICK_NS = 10, S // 10  #: times as quick, and how quick, the same query is elsewhere
NEXT_NS = S // 50  #: from the answer before to the next in line
LATER_NS = S // 20  #: from question to question: what was asked together may end together
LOOKED_AT = 50  #: answers before one
BEGIN, END = (b"BEG", b"STA"), (b"COM", b"ROL", b"END")  #: of a transaction, in words; without the first it begins behind the one before
IDLE_SHARE = 0.5  #: of a transaction's time: so long it waited for its client


class Turn(NamedTuple):
    """A query and its answer's first byte.  asked : its first bytes and length.  idle : it is a transaction, most of whose time nobody asked anything."""

    session: int
    asked_ns: int
    answered_ns: int
    asked: tuple[int, int]
    frames: tuple[int, int]
    idle: bool = False

    @property
    def wait_ns(self) -> int:
        return self.answered_ns - self.asked_ns


def in_line(view: View) -> tuple[list[tuple[Turn, Turn]], list[Turn]]:
    """Queries that waited in line, each with the one that it waited for, and all queries to the same servers."""
    found: list[tuple[Turn, Turn]] = []
    of: list[Turn] = []
    for group in grouped(view.once(turns), lambda turn: view.ends(turn.session)[2:]).values():
        quickest: dict[tuple[int, int], int] = {}
        for turn in group:
            quickest[turn.asked] = min(turn.wait_ns, quickest.get(turn.asked, turn.wait_ns))
        late = [turn for turn in group if turn.wait_ns >= WAIT_NS]
        line = sorted(late + _transactions(group), key=lambda turn: turn.answered_ns) if late else []
        times = [turn.answered_ns for turn in line]
        waited = []
        for turn in late:
            upto = bisect.bisect_right(times, turn.answered_ns)
            before = [
                each
                for each in line[max(bisect.bisect_left(times, turn.answered_ns - NEXT_NS), upto - LOOKED_AT) : upto]
                if each.session != turn.session and each.asked_ns + LATER_NS <= turn.asked_ns
            ]
            if before and quickest[turn.asked] <= min(turn.wait_ns // QUICK, QUICK_NS):
                waited.append((turn, max(before, key=lambda each: each.idle)))
        if waited:
            found += waited
            of += group
    return found, of


def _transactions(these: list[Turn]) -> list[Turn]:
    """Those that lasted, each as one query. Others go on when it ends, which may be just before its client hears of it."""
    out = []
    for group in grouped(these, lambda turn: turn.session).values():
        first, busy = None, 0
        for turn in group:
            word = (turn.asked[0] & 0xFFFFFF).to_bytes(3, "big").upper()
            if first is None or word in BEGIN:
                first, busy = turn, 0
            busy += turn.wait_ns
            if word in END:
                idle = busy <= (1 - IDLE_SHARE) * (turn.answered_ns - first.asked_ns)
                ended_ns = max(turn.asked_ns, turn.answered_ns - NEXT_NS // 2)
                out.append(Turn(turn.session, first.asked_ns, ended_ns, turn.asked, (first.frames[0], turn.frames[1]), idle))
                first = None
    return [each for each in out if each.wait_ns >= WAIT_NS]


def turns(view: View) -> list[Turn]:
    """Queries with answers on connections that were captured whole, on which nothing was lost."""
    s = view.sessions
    if view.trail is None or view.one_sided or not s.rows:
        return []
    postgres, mysql = _databases.starts(view.first_requests), _databases.greets(view.first_replies)
    usable = np.zeros(s.rows, bool)
    usable[view.in_one] = True
    usable[[*view.once(with_repeats)]] = False
    usable &= (postgres | mysql) & (view.missing_bytes == 0)
    if not usable.any() or not np.any(s["end_ns"][usable] - s["start_ns"][usable] >= WAIT_NS):
        return []
    t = view.trail.segments()
    rows = np.flatnonzero(usable[t["session"]] & (t["fresh"] > 0) & (t["length"] > 0))
    of, head, orig = t["session"][rows], t["head"][rows], view.by_originator(rows)
    kind = (head >> np.uint64(56)).astype(np.int64)
    command, number = (head >> np.uint64(24)) & np.uint64(0xFF), (head >> np.uint64(32)) & np.uint64(0xFF)
    query = np.where(postgres[of], np.isin(kind, list(b"QPBE")), (number == 0) & np.isin(command, _databases.COMMANDS))
    first = np.flatnonzero(query[:-1] & orig[:-1] & ~orig[1:] & (of[:-1] == of[1:]))
    pairs = rows[first], rows[first + 1]
    columns = [
        *(t[name][each].tolist() for name in ("ts", "frame") for each in pairs),
        head[first].tolist(),
        t["length"][pairs[0]].tolist(),
    ]
    return [
        Turn(k, asked_ns, answered_ns, (begin, length), (frame, answer))
        for k, asked_ns, answered_ns, frame, answer, begin, length in zip(of[first].tolist(), *columns, strict=True)
    ]
