"""Statements that a database refuses behind the login: errors of MySQL and PostgreSQL in clear that an application does not expect, again and again.

Of a statement only its first three letters are known, of an error its number. One kind of statement is refused for good where a client gets the same error to
it :data:`TIMES` times, and from the first of them on never an answer to one of that kind, by whatever server of that protocol.

One is enough of what is a fault by itself (:data:`FAULTS`: no disk, no memory, damaged data), of 1153, with which MySQL ends the connection, where no
statement of that kind is granted to the client any more (else a warning: it sends less at once), and of what costs work and time (:data:`COSTS`: a deadlock,
a lock that was waited for too long) where it is not tried again: the client closes, or a while passes, and none of that kind is granted to it any more.

Ordinary: an error after which the same works (a deadlock, unless every fifth statement ends so), or the client makes what was not there (installers ask for a
table to see whether it is), or prepares its statement anew, or runs what its pooler has prepared already; one kind that fails beside many that do not
(exporters); what is dropped, changed or deallocated though it is not there (dumps that are read in, poolers); a statement that somebody cancels, or one that
the server's limit of time ends (57014): that is what it is for (of several, each after the same time, a warning); a lock that is asked for without waiting
(55P03). Of a row that is there already (23505, 1062) nothing is said: who makes sure that it is hears that as well as whose sequence lags behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from netlens.lenses._view import S, Segments, View, grouped

TIMES = 3
OFTEN, OFTEN_TIMES = 0.2, 5  #: of a client's statements of one kind that end in a deadlock, though each is done again
MOST = 5000  #: segments of one session
#: Faults of the server, whatever was asked: no disk, no memory, errors of its storage, damaged data; and what ends the connection (MySQL's manual, B.3.2.8),
#: unless the client is then granted statements of that kind, as one that sends less at once
FAULTS = ("53100", "53200", "58030", "XX001", "XX002", "1021", "1037", "1041", "1114", "1194")
_TOO_LARGE = "1153"
#: What is taken back, and has to be done again (PostgreSQL's manual, 13.2.3, 13.3.4; MySQL's, 17.7.5.3); behind a wait, as what is refused at once was asked so
COSTS, WAITED = ("40001", "40P01", "1205", "1213"), "55P03"
WAITED_NS = S  #: that somebody notices
AWAY_NS = 10 * S  #: who has not tried again by then does not
#: MySQL's errors of statements (its manual, server error message reference; MariaDB's knowledge base)
MYSQL = {
    1021: "its disk is full", 1030: "error of its storage", 1037: "out of memory", 1038: "out of memory", 1041: "out of memory", 1044: "access denied",
    1047: "not ready", 1049: "database not known", 1054: "column not known", 1114: "its table is full", 1142: "access denied", 1143: "access denied",
    1146: "table not known", 1153: "packet too large", 1194: "a table is damaged", 1205: "waited too long for a lock", 1213: "deadlock",
    1226: "a limit of its configuration", 1227: "access denied", 1290: "read-only, or another option forbids it", 1305: "procedure not known",
    1370: "access denied", 1461: "too many prepared statements", 1792: "read-only transaction", 1836: "read-only", 1969: "took too long",
    3024: "took too long",
}  # fmt: skip
#: PostgreSQL's of statements, by SQLSTATE (its documentation, appendix A)
POSTGRES = {
    "0A000": "not supported", "25006": "read-only transaction", "26000": "prepared statement not known", "3F000": "schema not known",
    "40001": "conflict with another transaction", "40P01": "deadlock", "42501": "access denied", "42703": "column not known", "42704": "object not known",
    "42883": "function not known",
    "42P01": "table not known", "42P05": "prepared statement exists already", "53100": "its disk is full", "53200": "out of memory",
    "53400": "a limit of its configuration", "54000": "a limit of the program", "55006": "object in use", "55P03": "waited too long for a lock",
    "57014": "cancelled",
    "58030": "error of its storage", "58P01": "file or WAL segment gone",
    "XX000": "internal error", "XX001": "its data is damaged", "XX002": "an index is damaged",
}  # fmt: skip
_CANCELLED, _CANCEL = "57014", 0x0000001004D2162E  # CancelRequest, by a connection of its own
_TIMED, _TIMER = 2, 1.1  #: statements that were cancelled after the same time, and how alike: a timer's (statement_timeout)
WANTS_TLS, WANTS_GSSAPI = 0x0000000804D2162F, 0x0000000804D21630
_GREETING, _MYSQL_PORT = 0x000A, 3306
_CLEARS, _PREPARED_CLEARS = (b"DR", b"AL"), (b"DE",)  #: DROP, ALTER; DEALLOCATE, of a statement that is gone (:data:`_GONE`)
_GONE = "26000"
_OF_SESSION = (f"({_GONE})", "(42P05)")  #: what is prepared is the session's own: that others have it says nothing
_MAKES = (b"CR", b"AL")  #: CREATE, ALTER
_RUNS = (b"B", b"E")  #: PostgreSQL's Bind and Execute, of what was prepared before
#: PostgreSQL's CopyData, CopyDone, CopyFail, Terminate: an error may cross them, and is of the statement before
_GOES_ON = (b"d", b"c", b"f", b"X")
COMMANDS = (0x03, 0x16, 0x17)  #: MySQL's, of statements: COM_QUERY, COM_STMT_PREPARE, COM_STMT_EXECUTE


class Said(NamedTuple):
    """What a server said of a statement of this ``kind``; ``no``: in words, "" if it gave what was asked."""

    session: int
    kind: bytes
    no: str
    ts: int
    frames: list[int]
    wait_ns: int = 0


def refused(view: View) -> list[tuple[str, Said, bool]]:
    """What is refused again and again: protocol, statement, and whether for good."""
    codes = {k: {e.frame: e.code for e in group} for k, group in grouped(view.side.capture.fatal, lambda e: e.session).items()}
    greeted = greets(view.first_replies)
    greeted |= view.sessions["resp_port"] == _MYSQL_PORT  # older than the capture
    mysql = view.sessions_where(_fails, greeted)
    postgres = {e.session for e in view.side.capture.fatal if not e.ends}
    of_mysql = [
        (each, "MySQL") for each in _again(view, [s for k in _of_clients(view, mysql, greeted) for s in _mysql(k, view.segments(k))])
    ]
    theirs = [s for k in _of_clients(view, postgres, starts(view.first_requests)) for s in _postgres(k, view.segments(k), codes.get(k, {}))]
    return [(protocol, *each) for each, protocol in of_mysql + [(each, "PostgreSQL") for each in _again(view, theirs)]]


def starts(word: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether a client's first bytes (uint64) begin a connection to PostgreSQL: a start-up of version 3, or the wish for TLS or GSSAPI before it."""
    startup = ((word >> 48) == 0) & ((word >> 8) & 0xFFFFFF == 0x000300)
    found: np.ndarray[Any, Any] = startup | (word == WANTS_TLS) | (word == WANTS_GSSAPI)
    return found


def greets(word: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether a server's first bytes (uint64) are a greeting of MySQL: packet 0, version 10 of the protocol."""
    found: np.ndarray[Any, Any] = (word >> np.uint64(24)) & np.uint64(0xFFFF) == _GREETING
    return found


def _of_clients(view: View, failing: set[int], speaks: np.ndarray[Any, Any]) -> list[int]:
    """Sessions of the protocol, or with the same service, of clients that meet errors."""
    if not failing:
        return []
    services = {view.service(k) for k in failing}
    clients = {client for client, *_ in services}
    return [k for k in view.first_copies if (speaks[k] and view.service(k)[0] in clients) or view.service(k) in services]


def _again(view: View, said: list[Said]) -> list[tuple[Said, bool]]:
    cancels = {view.service(k)[0] for k in np.flatnonzero(view.first_requests == np.uint64(_CANCEL)).tolist()}
    granted = [e for e in said if not e.no]
    made = {
        client: [e.ts for e in these if e.kind[1:].lstrip(b"\0")[:2] in _MAKES]
        for client, these in grouped(granted, lambda each: view.service(each.session)[0]).items()
    }
    given = grouped(granted, lambda each: each.session)
    out = []
    for (client, _), these in grouped(said, lambda each: (view.service(each.session)[0], each.kind)).items():
        for no, group in grouped((e for e in these if e.no), lambda each: each.no).items():
            clears = "not known" in no and group[0].kind[1:].lstrip(b"\0")[:2] in (_PREPARED_CLEARS if _GONE in no else _CLEARS)
            if clears or (_CANCELLED in no and client in cancels):
                continue
            lost = [e for e in group if _is_lost(view, e, these)]
            if lost or len(group) < TIMES or "(55P03)" in no:  # a lock may be asked for without waiting
                told = f"({_TOO_LARGE})" in no or (_CANCELLED in no and _by_a_timer(group))
                out += [(e, True) for e in lost] or [(e, False) for e in group if told]
                continue
            own = no.endswith(_OF_SESSION)
            begin: dict[int, int] = {}
            for e in group:
                begin[e.session * own] = min(e.ts, begin.get(e.session * own, e.ts))
            lasting = not any(not e.no and e.ts > begin.get(e.session * own, e.ts) for e in these)
            lasting |= "deadlock" in no and len(group) >= max(OFTEN * len(these), OFTEN_TIMES)
            if "not known" in no:  # and is made then: asking for it shows whether it is there
                lasting &= not any(at > max(e.ts for e in group) for at in made.get(client, ()))
            if own or group[0].kind[:1] in _RUNS:  # and the client prepares it anew, or runs what is there, in the same session
                after = (b"P",) if group[0].kind[:1] in _RUNS else _RUNS
                lasting &= not all(any(g.kind[:1] in after and g.ts > e.ts for g in given.get(e.session, ())) for e in group)
            out += [(each, lasting) for each in group]
    return out


def _is_lost(view: View, e: Said, these: list[Said]) -> bool:
    """Whether one error is enough. ``these``: what the same client heard of statements of that kind."""
    code = e.no[e.no.rindex("(") + 1 : -1]
    if code == _TOO_LARGE:
        return not any(not other.no and other.ts > e.ts for other in these)
    if code in FAULTS:
        return True
    if code not in COSTS and not (code == WAITED and e.wait_ns >= WAITED_NS):
        return False
    closed_ns = view.column("orig_fin_ns")[e.session]
    goes = (closed_ns is not None and closed_ns >= e.ts) or view.end_of(e.frames[-1]) - e.ts >= AWAY_NS
    return goes and not any(not other.no and other.ts - other.wait_ns > e.ts for other in these)


def _by_a_timer(group: list[Said]) -> bool:
    """Whether statements were ended each after the same time, that somebody notices."""
    waits = [e.wait_ns for e in group]
    return len(waits) >= _TIMED and min(waits) >= WAITED_NS and max(waits) <= _TIMER * min(waits)


def _fails(head: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which segments begin as an error of MySQL that is no first packet."""
    found: np.ndarray[Any, Any] = ((head >> 24) & 0xFF == 0xFF) & ((head >> 32) & 0xFF != 0)
    return found


def dialog(seg: Segments) -> Iterator[tuple[int, bytes]]:
    """New data: where it is, and how it begins."""
    for i in range(min(len(seg), MOST)):
        if seg.length[i] and seg.fresh[i] == seg.length[i]:
            yield i, seg.text(i)


def _postgres(k: int, seg: Segments, codes: dict[int, str]) -> Iterator[Said]:
    kind, asked, asked_ns, given = b"", 0, 0, -1
    for i, text in dialog(seg):
        if seg.orig[i] and text[:1] in _GOES_ON and not text[1]:
            continue
        if seg.orig[i]:
            if given >= 0:
                yield Said(k, kind, "", seg.ts[given], [], seg.ts[given] - asked_ns)
                kind, given = b"", -1
            if text[:1] in b"QPBE" and not text[1]:  # else what belongs to the one before
                kind, asked, asked_ns = text[:1] + text[5:].upper(), seg.frame[i], seg.ts[i]
        elif kind and (code := codes.get(seg.frame[i])):
            if code in POSTGRES:
                yield Said(k, kind, f"{POSTGRES[code]} ({code})", seg.ts[i], [asked, seg.frame[i]], seg.ts[i] - asked_ns)
            kind, given = b"", -1
        elif kind and given < 0 and text[:1] in b"T12CDnIGHW":
            given = i
    if given >= 0:
        yield Said(k, kind, "", seg.ts[given], [], seg.ts[given] - asked_ns)


def _mysql(k: int, seg: Segments) -> Iterator[Said]:
    kind, asked, asked_ns = b"", 0, 0
    for i, text in dialog(seg):
        size = int.from_bytes(text[:3], "little") + 4
        if seg.orig[i]:
            if size >= seg.length[i] and not text[3] and text[4] in COMMANDS:
                kind, asked, asked_ns = text[4:].upper(), seg.frame[i], seg.ts[i]
        elif kind:
            number = int.from_bytes(text[5:7], "little") if text[3] and text[4] == 0xFF and size == seg.length[i] < 1024 else 0
            if not number:
                yield Said(k, kind, "", seg.ts[i], [], seg.ts[i] - asked_ns)
            elif number in MYSQL:
                yield Said(k, kind, f"{MYSQL[number]} ({number})", seg.ts[i], [asked, seg.frame[i]], seg.ts[i] - asked_ns)
            kind = b""
