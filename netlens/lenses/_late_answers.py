"""Answers of databases and caches that came late, on connections in clear.

Two sorts. A statement of PostgreSQL or MySQL may take minutes, as a report does: that it took long is told where others of the server are quick, and no more.
Not looked at is what is meant to last (VACUUM, CREATE INDEX, ALTER, COPY, ...), nor what waited in line (:mod:`netlens.lenses._in_line`).

A look into memory is never slow: commands of Redis with names of three or four letters (GET, SET, HGET, EVAL), reads of memcached. Redis does one command at a
time (its documentation, "Diagnosing latency issues": single threaded nature), so one that is slow (KEYS, a script, a large key) keeps all others waiting: that
two connections waited until the same moment shows it.

Ordinary: commands that wait for data (BLPOP, XREAD, SUBSCRIBE, whose names are longer) or for replicas (WAIT).

Limits: only the first eight bytes of a message are known; of several requests under way at once only the last is looked at. MongoDB and SQL Server are left
out: in these bytes what waits for events (a tailable cursor, WAITFOR) looks like any other.
"""

from __future__ import annotations

import bisect
import re
from typing import NamedTuple

import numpy as np

from netlens.lenses._in_line import NEXT_NS, QUICK_NS, Turn, turns
from netlens.lenses._repeats import with_repeats
from netlens.lenses._services import MAY_BE_WAIT, WAIT
from netlens.lenses._view import SEAM_NS, S, View, as_bytes, grouped

NOTICED_NS, LATE_NS, LONG_NS = S, 3 * S, 5 * S
#: How statements begin that are meant to take their time; of PostgreSQL's Parse without a name two letters are known
LASTING = (
    b"VAC",
    b"CRE",
    b"ALT",
    b"ANA",
    b"REI",
    b"CLU",
    b"REF",
    b"COP",
    b"CAL",
    b"DO ",
    b"LOC",
    b"CHE",
    b"DRO",
    b"TRU",
    b"OPT",
    b"LOA",
    b"GRA",
)
_LASTING_2 = tuple({word[:2] for word in LASTING})
MEMCACHED = 11211
_SURE_OF_REDIS, _THREE_LETTERS = re.compile(rb"\*[2-9]\r\n\$[34]\r"), re.compile(rb"\*[2-9]\r\n\$3\r")
_OF_MEMCACHED = re.compile(rb"gets? ")


class Late(NamedTuple):
    """Commands of one protocol that were answered late.  of : all of them.  together : another connection waited until the same moment."""

    protocol: str
    turns: list[Turn]
    of: int
    grave: bool
    together: bool


def late_statements(view: View, in_line: set[tuple[int, int]]) -> tuple[list[Turn], list[Turn]]:
    """Those that took :data:`LONG_NS` beside others that are quick, and all to the same servers.  in_line : frames of those that waited for others."""
    all_ = view.once(turns)
    late = [t for t in all_ if LONG_NS <= t.wait_ns < SEAM_NS and t.frames not in in_line and not _lasts(t)]
    quick = {view.ends(t.session)[2:] for t in all_ if t.wait_ns <= QUICK_NS} if late else set()
    late = [t for t in late if view.ends(t.session)[2:] in quick]
    servers = {view.ends(t.session)[2:] for t in late}
    return late, [t for t in all_ if view.ends(t.session)[2:] in servers] if late else []


def _lasts(turn: Turn) -> bool:
    """Whether a statement is one that is meant to."""
    text = turn.asked[0].to_bytes(8, "big").upper()
    if text[:1] == b"P" and text[5:6] == b"\0":
        return text[6:8] in _LASTING_2
    return text[5:8] in LASTING


def late_commands(view: View) -> list[Late]:
    """Of Redis and memcached, by server."""
    s = view.sessions
    if view.trail is None or view.one_sided or not s.rows:
        return []
    first, port = as_bytes(view.first_requests), s["resp_port"]
    redis = (first[:, 0] == ord("*")) & (first[:, 2] == ord("\r"))
    memcached = (port == MEMCACHED) & (first[:, 0] >= ord("a")) & (first[:, 0] <= ord("z"))
    usable = np.zeros(s.rows, bool)
    usable[view.in_one] = True
    usable &= (redis | memcached) & (view.missing_bytes == 0)
    if not np.any(s["end_ns"][usable] - s["start_ns"][usable] >= NOTICED_NS):
        return []
    usable[[*view.once(with_repeats)]] = False
    t = view.trail.segments()
    rows = np.flatnonzero(usable[t["session"]] & (t["fresh"] > 0) & (t["length"] > 0))
    of, orig, ts = t["session"][rows], view.by_originator(rows), t["ts"][rows]
    asked = np.flatnonzero(orig[:-1] & ~orig[1:] & (of[:-1] == of[1:]))
    slow = asked[(ts[asked + 1] - ts[asked] >= NOTICED_NS) & (ts[asked + 1] - ts[asked] < SEAM_NS)]
    columns = [t[name][rows[at]].tolist() for at in (slow, slow + 1) for name in ("ts", "frame", "head", "length")]
    late = []
    for k, ts_0, frame_0, head, length, ts_1, frame_1, *_ in zip(of[slow].tolist(), *columns, strict=True):
        late.append(Turn(k, ts_0, ts_1, (head, length), (frame_0, frame_1)))
    count = np.bincount(of[asked], minlength=s.rows)
    found = []
    for server, group in grouped(late, lambda turn: view.ends(turn.session)[2:]).items():
        of_server = int(sum(count[k] for k in np.flatnonzero(usable & (port == server[1])).tolist() if view.ends(k)[2:] == server))
        for protocol, speaks in (("Redis", redis), ("memcached", memcached)):
            these = [turn for turn in group if speaks[turn.session]]
            if these and (one := _of_protocol(protocol, these, of_server)) is not None:
                found.append(one)
    return found


def _of_protocol(protocol: str, late: list[Turn], of: int) -> Late | None:
    """What of these was owed at once."""
    sure = [turn for turn in late if _is_sure(protocol, turn)]
    if not sure:
        return None
    if protocol != "Redis":
        grave = max(turn.wait_ns for turn in sure) >= LONG_NS or sum(turn.wait_ns >= LATE_NS for turn in sure) > 1
        return Late(protocol, sure, of, grave, False)
    times = sorted((turn.answered_ns, turn.session) for turn in late)
    with_others = [turn for turn in sure if _has_company(turn, times)]
    apart = bool(with_others) and max(t.answered_ns for t in with_others) - min(t.answered_ns for t in with_others) >= NOTICED_NS
    grave = apart or any(turn.wait_ns >= LATE_NS for turn in with_others)
    grave |= any(turn.wait_ns >= LONG_NS and bool(_THREE_LETTERS.match(_text(turn))) for turn in sure)
    return Late(protocol, with_others or sure, of, grave, bool(with_others))


def _has_company(turn: Turn, times: list[tuple[int, int]]) -> bool:
    """Whether another connection, too, waited until then."""
    near = times[
        bisect.bisect_left(times, (turn.answered_ns - NEXT_NS, -1)) : bisect.bisect_right(times, (turn.answered_ns + NEXT_NS, 1 << 62))
    ]
    return any(session != turn.session for _, session in near)


def _text(turn: Turn) -> bytes:
    return turn.asked[0].to_bytes(8, "big")


def _is_sure(protocol: str, turn: Turn) -> bool:
    """Whether a command is one that nothing but trouble delays."""
    text = _text(turn)
    if protocol == "Redis":
        return bool(_SURE_OF_REDIS.match(text)) and not (text == MAY_BE_WAIT and turn.asked[1] <= WAIT)
    return bool(_OF_MEMCACHED.match(text))
