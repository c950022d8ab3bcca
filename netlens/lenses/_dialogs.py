"""Protocols in clear in which a server says no, where an answer means nothing without its question: FTP, SMTP, POP3, IMAP, MySQL, PostgreSQL, Redis
(statements of databases: :mod:`netlens.lenses._databases`), gRPC, git; any other that says in words that it failed (:mod:`netlens.lenses._error_lines`);
and servers that speak another protocol than who asked, WebSockets that they close
with an error or that are cut, and SSH that ends before its keys: the two ends have no algorithm in common (RFC 4253 7.1 lets nothing but the end follow),
or the server closes before its version, again and again (OpenSSH's MaxStartups, hosts.deny), and serves nobody since: who is shut out alone may have
guessed passwords (OpenSSH's PerSourcePenalties).

Only the first eight bytes of a segment are known (:mod:`netlens.parsers.trail`), the code of a reply and the command before it; of PostgreSQL also the
SQLSTATE, of SSH the algorithms. What was said, for whom and with which password is never read.
A refusal counts if the same was not allowed later in the same session (a typing error).
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.lenses import _databases, _websockets
from netlens.lenses._connects import scanning
from netlens.lenses._crossed import crossed, masked
from netlens.lenses._error_lines import error_lines
from netlens.lenses._granted import CLOCK, NEXT_NS, checks, evenly
from netlens.lenses._services import AMQP, BEATS, HEARTBEAT
from netlens.lenses._view import FIN, RST, SYN, S, Segments, View, as_bytes, grouped, seconds
from netlens.parsers.fatal_errors import Fatal
from netlens.parsers.grpc import ERRORS, Calls
from netlens.text import size

#: Commands of FTP (RFC 959) and SMTP (RFC 5321, 3030, 4954) whose refusal ends what the program came for. EHLO, FEAT, SYST, OPTS, SIZE, ... are questions.
TASKS = {b"USER", b"PASS", b"ACCT", b"STOR", b"STOU", b"APPE", b"RETR", b"MAIL", b"RCPT", b"DATA", b"BDAT"}
LOGINS = {b"USER", b"PASS", b"ACCT", b"AUTH"}
_NO_TLS = 454  #: to STARTTLS (RFC 3207 4): a sender that must have TLS leaves, any other goes on, or comes again, without it
_MAIL = (25, 465, 587, 2525)  #: ports of servers that take mail
#: Of FTP those that open a data connection, and what a server says that cannot (RFC 959 5.4)
_TRANSFERS, _NO_DATA = {b"RETR", b"STOR", b"STOU", b"APPE", b"LIST", b"NLST", b"MLSD"}, 425
#: Greetings of SMTP, and with which codes a server does not want to talk at all (RFC 5321 4.2.2, 4.3.2, RFC 7504 3); others say that it knows another one
HELLOS, NO_TALK = {b"EHLO", b"HELO", b"LHLO"}, (421, 521, 550, 554)
_KNOWN = TASKS | {
    b"AUTH", b"EHLO", b"HELO", b"QUIT", b"RSET", b"NOOP", b"VRFY", b"EXPN", b"HELP", b"STLS", b"STAR", b"LHLO", b"FEAT", b"SYST", b"OPTS", b"SIZE", b"MDTM",
    b"LIST", b"NLST", b"MLSD", b"MLST", b"CWD ", b"CDUP", b"PWD\r", b"XPWD", b"TYPE", b"PORT", b"EPRT", b"PASV", b"EPSV", b"DELE", b"MKD ", b"RMD ", b"RNFR",
    b"RNTO", b"REST", b"ABOR", b"SITE", b"STAT", b"MODE", b"STRU", b"PBSZ", b"PROT", b"CCC\r", b"ALLO", b"CLNT", b"HOST", b"LANG", b"XCWD", b"XMKD", b"XRMD",
}  # fmt: skip
#: MySQL's errors at login; any other has its number only
MYSQL = {1040: "too many connections", 1044: "access denied", 1045: "access denied", 1129: "host blocked", 1130: "host not allowed",
         1203: "too many connections", 1226: "too many connections", 1698: "access denied", 1049: "database not known",
         1251: "way of login not supported", 1820: "password must be changed", 1862: "password has expired", 3118: "account locked",
         3159: "TLS is required"}  # fmt: skip
#: SQLSTATEs with which PostgreSQL ends a connection (its documentation, appendix A); any other has its code only
POSTGRES = {"28P01": "wrong password", "28000": "access denied", "3D000": "database not known", "42501": "access denied", "53300": "too many connections",
            "53400": "a limit of its configuration", "57P01": "ended by an administrator", "57P02": "the server crashed", "57P03": "not ready",
            "57P05": "idle for too long", "25P03": "a transaction idle for too long", "08P01": "protocol error, or a pooler refuses", "0A000": "not supported",
            "53100": "its disk is full", "53200": "out of memory"}  # fmt: skip
_IDLE = "57P05"  # what a pool keeps open and does not use (idle_session_timeout)
#: Redis: how an error begins -> in words, whether it stays one though other commands are served
REDIS = {b"-WRONGPA": ("WRONGPASS", False), b"-NOAUTH ": ("NOAUTH", False), b"-NOPERM ": ("NOPERM", False), b"-DENIED ": ("protected mode", False),
         b"-ERR unk": ("command not understood", False), b"-ERR Pro": ("protocol not understood", False), b"-ERR max": ("too many clients", False),
         b"-ERR ope": ("operation not permitted", False), b"-ERR AUT": ("no password is set", False), b"-ERR Cli": ("no password is set", False),
         b"-READONL": ("READONLY", False), b"-LOADING": ("LOADING", False), b"-MASTERD": ("MASTERDOWN", True), b"-CLUSTER": ("CLUSTERDOWN", True),
         b"-BUSY Re": ("busy with a script", True),
         b"-MISCONF": ("MISCONF: it cannot save", True), b"-OOM com": ("out of memory", True), b"-NOREPLI": ("NOREPLICAS", True)}  # fmt: skip
_WRONG_TYPE = b"-WRONGTY"  #: a program takes a value for what it is not; who looks through all keys may, once or twice
#: How connections begin (RFC 4253 4.2, RFC 9112 2.1, RFC 6143 7.1.1, an alert of TLS: RFC 8446 5.1; a page without a head, by which a server of HTTP/1 answers
#: what it does not understand; HTTP/2's preface and SETTINGS: RFC 9113 3.4): bits to shift the first eight bytes by, what is left, and the protocol
_WORDS = [(32, int.from_bytes(b"SSH-", "big"), "SSH"), (24, int.from_bytes(b"HTTP/", "big"), "HTTP"), (32, int.from_bytes(b"RFB ", "big"), "VNC"),
          (48, 0x1503, "TLS"), *((64 - 8 * len(verb), int.from_bytes(verb, "big"), "HTTP") for verb in (b"GET /", b"POST /", b"HEAD /", b"PUT /")),
          (0, int.from_bytes(b"<!DOCTYP", "big"), "HTTP"), (0, int.from_bytes(b"PRI * HT", "big"), "HTTP/2"),
          *((0, size << 40 | 4 << 32, "HTTP/2") for size in range(0, 60, 6))]  # fmt: skip
_STORES = (b"AP", b"CR")  #: commands by which a client stores a message after all
_LOGGED_IN = (b"SE", b"EX", b"LI", b"LS", b"AP", b"NA")  #: how IMAP's commands begin that need a login (RFC 9051 6.3)
#: In words of refusals, by protocol: FTP and SMTP, IMAP, POP3, MySQL and PostgreSQL, Redis
_ABOUT_LOGINS = ("530 to", "535 to", "the login", "to USER", "to PASS", "to APOP", "access denied", "wrong password", "NOAUTH", "WRONGPASS")
#: Status of gRPC that say that the server cannot or must not (its documentation, statuscodes); others answer what was asked, as 404 does
GRPC = {2: "UNKNOWN", 4: "DEADLINE_EXCEEDED", 7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED", 12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE",
        15: "DATA_LOSS", 16: "UNAUTHENTICATED"}  # fmt: skip
_RAISED, _UNIMPLEMENTED, _EXHAUSTED, _OUT_OF_RANGE, _NOT_ALLOWED = 2, 12, 8, 11, (7, 16)
_CHECK_NS = 9 * S // 10  #: pauses of who checks a server of gRPC, at least
#: Of them those that no client waits for; a server that starts or stops says others, who pulls what is not there yet runs into a deadline (Pub/Sub), and what
#: a program raises is UNKNOWN, as where it does not find something. What is not there is tried
_NEVER_MEANT, _OF_METHODS = (7, 8, 13, 15, 16), (7, 8, 12, 13, 15, 16)
#: What the server's program, or one behind it, has failed by, as HTTP's 500 and 503; and how many such calls of a method in a row tell, if half of all are
_OF_SERVERS, _IN_A_ROW = (13, 14, 15), 5
IN_WORDS = "in words"  #: the protocol of refusals by a line, of which nobody knows whether it is one
#: What must have a name in common, by the places of its lists in a KEXINIT (RFC 4253 7.1)
_IN_COMMON = (((0,), "key exchange method"), ((1,), "kind of host key"), ((2, 3), "cipher"), ((4, 5), "MAC"), ((6, 7), "compression"))
_AUTHENTICATED = ("gcm", "poly1305", "ccm", "ocb")  #: in names of ciphers that need no MAC (RFC 5647)
_SSH, _GIT_ERROR = int.from_bytes(b"SSH-", "big"), int.from_bytes(b"ERR ", "big")
#: Messages of SSH, behind four bytes of length and one of padding: a client's in the key exchange, the server's with its key, and a farewell (RFC 4253 8, 12,
#: RFC 4419 5, RFC 5656 7.1); and in names of kinds of host keys
_KEX_ASKS, _KEX_GIVES, _DISCONNECT, _HOST_KEYS = (30, 32), (31, 33), 1, ("rsa", "ecdsa", "ed25519")
#: How a server of NATS says that its client did not answer its PINGs, and how soon a host that is awake acknowledges that
_STALE, _AWAKE_NS, _STALE_TIMES = int.from_bytes(b"-ERR 'St", "big"), S, 2
#: Lines by which OpenSSH and NATS shut a client out, as far as they are known; how a client of NATS begins, and its server
_SSH_LINES = {"NOT ALLO": "not allowed at this time"}
NATS = {b"-ERR 'Au": "authorization violation", b"-ERR 'Ma": "a maximum exceeded"}
_CONNECT, _INFO = int.from_bytes(b"CONNECT ", "big"), int.from_bytes(b"INFO {", "big")
#: Port of brokers, how soon one ends a connection when another takes its place, and how a farewell begins (3.1.1 3.14)
_MQTT, _THROWN_NS, _MQTT_DISCONNECT = 1883, S // 2, 0xE0
#: In which libraries connect again (1 s in Paho, 10 s in ESP-MQTT, as they come), and how often one client will not have opened a new connection so soon
_AGAIN_NS, RENEWED = 15 * S, 8
_LONG = 1_000_000  #: bytes of a message that a limit may be about (4 MiB as gRPC comes); of shorter ones other things run out
_STILL = 2  #: times the longest pause between tries, after which they are over
SHUT, SHUT_NS = 3, S  #: connections that a server closes before a word, and over how long; one or two meet a restart, or many at once
_UNKNOWN = b"-ERR unk"
#: How a node of Redis sends a client to another one (Redis Cluster specification, MOVED and ASK redirection), and after how many Jedis and Lettuce give up
_MOVED, _ASK, CIRCLES = int.from_bytes(b"-MOVED ", "big"), int.from_bytes(b"-ASK ", "big"), 5
_REDIS_GIVES = tuple(bytes([sign]) for sign in b"+:$*%_#,(~=|")  #: its types (RESP 2 and 3) but for errors, and what is said unasked
_FIRST = np.frombuffer(b"+-:$*%_#,(~>=", np.uint8)  #: Redis: its types (RESP 2 and 3), and POP3.  IMAP: *
#: PostgreSQL: error, request for credentials, no or yes to TLS, protocol version; alone, or with a length below 2^24. SSH begins by S as well.
_POSTGRES = np.frombuffer(b"ERNSv", np.uint8)


@dataclass
class Refusal:
    """A server's no: ``what`` in words; ``lasting`` unless the same was allowed later; ``once``: it counts if it comes again on other connections."""

    session: int
    protocol: str
    what: str
    lasting: bool
    frames: list[int]
    once: bool = False

    @property
    def of_login(self) -> bool:
        """Whether it is about who asks."""
        return any(word in self.what for word in _ABOUT_LOGINS)


def refusals(view: View) -> list[Refusal]:
    """Of all sessions in clear."""
    begins = _begins(view.first_replies)
    begins[list(view.halves)] = False
    candidates = view.sessions_where(_says_no, begins) | {each.session for each in view.side.capture.fatal if each.ends}
    found: list[Refusal] = []
    for k in filter(candidates.__contains__, view.first_copies):
        seg = view.segments(k)
        found += next(filter(None, (of(k, seg, view) for of in (_replies, _mysql, _postgres, _redis, _pop))), [])
    found = _without_other_way(view, found)
    _insist(view, found)
    statements = [Refusal(said.session, protocol, said.no, lasting, said.frames) for protocol, said, lasting in _databases.refused(view)]
    found = [
        *found,
        *statements,
        *_of_another(view),
        *(Refusal(each.session, "WebSocket", each.what, each.lasting, each.frames) for each in _websockets.ended(view)),
        *_ssh(view),
        *_without_tls(view),
        *_grpc(view),
        *_git(view),
        *_ended(view),
        *_unheard(view),
        *_stale(view),
        *_taken_over(view),
        *_moved(view),
        *(Refusal(k, "Modbus", "answers with another transaction number", True, frames) for k, frames in crossed(view)),
        *(Refusal(k, "SMTP", "greeting and STARTTLS masked by a firewall", lasting, frames) for k, lasting, frames in masked(view)),
    ]
    lines = error_lines(view, {r.session for r in found})
    return found + _in_words(view, lines)


def _without_other_way(view: View, found: list[Refusal]) -> list[Refusal]:
    """But for what says 454 to STARTTLS to a client that at once goes to another server of mail, or to another port for it, or that checks it by the clock."""
    told = [r for r in found if r.what.startswith(f"{_NO_TLS} to STAR") and r.protocol == "SMTP"]
    if not told:
        return found
    starts, ends = view.column("start_ns"), view.column("end_ns")
    said, heard = view.column("orig_bytes"), view.column("resp_bytes")
    refused = {r.session for r in told}
    others = [k for k in view.first_copies if view.ends(k)[3] in _MAIL and k not in refused and said[k] and heard[k]]
    of_client = grouped(others, lambda k: view.ends(k)[0])
    left: set[int] = set()
    for service, group in grouped(told, lambda r: view.service(r.session)).items():
        ways = sorted(starts[k] for k in of_client.get(service[0], []) if view.service(k) != service)
        for r in group:
            at = bisect.bisect_left(ways, starts[r.session])
            if at < len(ways) and ways[at] <= ends[r.session] + NEXT_NS:
                left.add(r.session)
        if checks([starts[r.session] for r in group]):
            left.update(r.session for r in group)
    return [r for r in found if not (r in told and r.session in left)]


def _insist(view: View, found: list[Refusal]) -> None:
    """What may be ordinary on one connection is for good if a client hears it on each that it opens to that server from then on."""
    starts = view.column("start_ns")
    for service, group in grouped((r for r in found if r.once), lambda r: view.service(r.session)).items():
        told = {r.session for r in group}
        times = [starts[k] for k in told]
        later = {k for k in view.first_copies if view.service(k) == service and starts[k] >= min(times)}
        # one or two may meet a restart; what is told behind a login, to one connection after the other, has nothing to do with that
        ended = sorted((starts[k], view.column("end_ns")[k]) for k in told)
        in_turn = all(r.protocol == "IMAP" for r in group) and all(a <= b for (_, a), (b, _) in pairwise(ended))
        if len(told) >= SHUT and (in_turn or max(times) - min(times) >= SHUT_NS) and later == told:
            for r in group:
                r.lasting = True


def _in_words(view: View, lines: list[tuple[int, str, list[int]]]) -> list[Refusal]:
    """What a line means to a client of SSH (OpenSSH's MaxStartups and penalties), and to one of NATS that had said who it is, whatever the port; for good if
    no later one is served. Of others nobody knows whether it is a no."""
    starts, told = view.column("start_ns"), {k for k, *_ in lines}
    out = []
    for k, word, frames in lines:
        protocol = what = ""
        if view.first_requests[k] >> np.uint64(32) == _SSH:
            protocol, what = "SSH", _SSH_LINES.get(word, "")
        elif view.first_requests[k] == _CONNECT and view.first_replies[k] >> np.uint64(16) == _INFO:
            seg = view.segments(k)
            protocol, what = "NATS", NATS.get(seg.text(seg.frame.index(frames[0])), "")
        if not what:
            out.append(Refusal(k, IN_WORDS, word, False, frames))
            continue
        later = (j for j in view.whole if j not in told and starts[j] > starts[k] and view.service(j) == view.service(k))
        out.append(Refusal(k, protocol, what, not any(view.first_replies[j] for j in later), frames))
    return out


def _of_another(view: View) -> list[Refusal]:
    """Servers that answer in another protocol than they are spoken to; of TLS see tls-failed. Who speaks several to one server, or the wrong one to several,
    tries out what is there; so may who speaks the wrong one where others are served."""
    asked, answered = _spoken(view.first_requests), _spoken(view.first_replies)
    differ = (asked != "") & (answered != "") & (asked != answered) & (asked != "TLS") & view.sessions["saw_syn"]
    chosen = set(np.flatnonzero(differ).tolist()) & (set(view.first_copies) - view.halves)
    if not chosen:
        return []
    words: dict[tuple[str, str, int], set[Any]] = {}
    served: set[tuple[str, int]] = set()
    for k in np.flatnonzero(view.first_requests).tolist():
        words.setdefault(view.service(k), set()).add(asked[k] or int(view.first_requests[k]) >> 32)
        if asked[k] and asked[k] == answered[k]:
            served.add(view.service(k)[1:])
    found = []
    for k in sorted(chosen):
        seg = view.opening(k)
        first = {seg.orig[i]: i for i in reversed(range(len(seg))) if seg.length[i] and seg.fresh[i]}
        # both must begin their streams here: else what came before is missing
        if len(first) == 2 and not any(seg.offset[i] for i in first.values()) and len(words[view.service(k)]) == 1:
            lasting = view.service(k)[1:] not in served
            found.append(
                Refusal(k, asked[k], f"{asked[k]} was answered in {answered[k]}", lasting, [seg.frame[first[up]] for up in (True, False)])
            )
    tried = Counter(client for client, *_ in {view.service(r.session) for r in found})
    for r in found:
        r.lasting &= tried[view.service(r.session)[0]] == 1
    return found


def _ssh(view: View) -> list[Refusal]:
    """Connections without an algorithm in common, where a client never has one with that server (ssh-keyscan asks for the key of each kind; who asks once, of a
    server that agrees with others, may look around), and such that
    the server closes before a word, where no later one of anybody is served."""
    nothing: dict[int, str] = {}
    agreed: set[tuple[str, str, int]] = set()
    offers = view.side.capture.offers
    for k in filter(offers.__contains__, view.first_copies):
        up = int(view.side.originator[k])
        ours, theirs = offers[k].by_way[up], offers[k].by_way[1 - up]
        if ours is not None and theirs is not None and (missing := _missing(ours, theirs)):
            nothing[k] = missing
        elif theirs is not None:
            agreed.add(view.service(k))
    others, tries = {service[1:] for service in agreed}, Counter(view.service(k) for k in nothing)
    found = [
        Refusal(k, "SSH", f"no {missing} in common", tries[view.service(k)] > 1 or view.service(k)[1:] not in others, offers[k].frames)
        for k, missing in nothing.items()
        if view.service(k) not in agreed
    ]
    asking = set(np.flatnonzero(view.first_requests >> np.uint64(32) == _SSH).tolist()) - view.halves
    shut = {k: frame for k in view.first_copies if k in asking and (frame := _shut(view, k))}
    starts = view.column("start_ns")
    tried = {service: [starts[k] for k in group] for service, group in grouped(shut, view.service).items()}
    insists = {service for service, times in tried.items() if len(times) >= SHUT and max(times) - min(times) >= SHUT_NS}
    found += _untrusted(view, asking)
    served: dict[tuple[str, int], int] = {}
    for k in asking if shut else ():
        if view.first_replies[k]:
            served[view.service(k)[1:]] = max(starts[k], served.get(view.service(k)[1:], 0))
    for k, frame in shut.items():
        lasting = view.service(k) in insists and served.get(view.service(k)[1:], 0) < starts[k]
        found.append(Refusal(k, "SSH", "closed before the server's version", lasting, [frame]))
    return found


def _untrusted(view: View, asking: set[int]) -> list[Refusal]:
    """Clients of SSH that leave at the server's host key (RFC 4253 8: they must not go on if it is not that server's), again and again, and never go on.
    ssh-keyscan does so as well, but offers one kind of host key."""
    offers, starts = view.side.capture.offers, view.column("start_ns")
    found = []
    for group in grouped((k for k in view.in_one if k in asking and k in offers), view.service).values():
        left = {k: frames for k in group if (frames := _left(view, k))}
        names = {k: (offers[k].by_way[int(view.side.originator[k])] or [[], []])[1] for k in left}
        several = all(sum(any(kind in name for name in names[k]) for kind in _HOST_KEYS) > 1 for k in left)
        times = [starts[k] for k in left]
        if several and len(left) == len(group) >= SHUT and max(times) - min(times) >= SHUT_NS:
            found += [Refusal(k, "SSH", "its host key is not accepted", True, frames) for k, frames in left.items()]
    return found


def _left(view: View, k: int) -> list[int]:
    """The frames in which a client asks for the server's host key, and closes when it has that; empty if it takes new keys (RFC 4253 7.3), or is left."""
    seg = view.opening(k)
    end = seg.closing()
    kinds = [(i, seg.head[i] >> 16 & 0xFF) for i in range(end) if seg.length[i] and seg.fresh[i]]
    asked = next((i for i, kind in reversed(kinds) if seg.orig[i] and kind != _DISCONNECT), 0)
    asks = dict(kinds).get(asked) in _KEX_ASKS
    given = any(i > asked and not seg.orig[i] and kind in _KEX_GIVES for i, kind in kinds)
    return [seg.frame[asked], seg.frame[end]] if seg.orig[end] and asks and given else []


def _grpc(view: View) -> list[Refusal]:
    """Calls of gRPC of a client that all fail, or all those of a method do, with a status that is about the server. A method that is not there must be asked
    for several times in one connection, and not by the clock: load balancers ask for one to see whether somebody answers, each time in a new one or not. What
    another server grants the client then was asked of the wrong one."""
    calls, starts = view.side.capture.grpc, view.column("start_ns")
    found = []
    ours = [k for k in view.first_copies if k in calls]
    granted: dict[str, dict[int, int]] = {}  # by client, and path: when it was granted last, by whatever server
    for k in ours:
        theirs = granted.setdefault(view.ends(k)[0], {})
        theirs.update({path: max(ts, theirs.get(path, 0)) for path, ts in calls[k].given.items() if path})
    for (client, *_), group in grouped(ours, view.service).items():
        given = granted[client]
        failing = [k for k in group if calls[k].status in GRPC and calls[k].failed]
        for status, these in grouped(failing, lambda k: calls[k].status).items():
            if not _often(calls, status, these):
                continue
            stays = max(calls[k].answered for k in group) < min(starts[k] for k in these)
            for method, mine in grouped(these, lambda k: calls[k].method).items():
                answered = max(calls[k].answered for k in group if calls[k].method in (method, 0))
                lasting = stays or bool(method and _often(calls, status, mine) and answered < min(starts[k] for k in mine))
                denied = [each for k in mine for each in calls[k].denied]
                lasting &= not denied or not all(each.ts < given.get(each.path, 0) for each in denied)  # elsewhere
                lasting &= status != _UNIMPLEMENTED or not _by_the_clock(sorted(each.ts for each in denied))
                found += [Refusal(k, "gRPC", f"{GRPC[status]} ({status})", lasting, calls[k].failed) for k in mine]
        known = {r.session for r in found}
        others = [*_too_long(calls, group), *_same_call(view, calls, group)]
        known |= {each.session for each in others}
        found += [*others, *(each for each in _of_methods(calls, group, given) if each.session not in known)]
    return found


def _of_methods(calls: dict[int, Calls], group: list[int], given: dict[int, int]) -> list[Refusal]:
    """Calls of gRPC of one method that fail beside others that are answered: for good, if none of that method is answered any more (``given``: when each was
    last, by any server), of which so many are made over a while, and not by the clock, as by who checks whether somebody is there. A method that is not there
    must be asked for several times in one connection: who tries a newer version of a service asks once, and goes on with an older one. What a client may not
    must be the last on each of several connections: who goes on has asked whether it may. Where half of all calls fail by the server's own fault, no while is
    needed."""
    denied = [(k, each) for k in group for each in calls[k].denied if each.path and each.status in GRPC]
    asked = sum(calls[k].requests for k in group)
    found = []
    for (path, status), these in grouped(denied, lambda each: (each[1].path, each[1].status)).items():
        these = [(k, each) for k, each in these if each.ts > given.get(path, 0)]
        times = sorted(each.ts for _, each in these)
        in_one = Counter(k for k, _ in these)
        checked = _by_the_clock(times)
        most = len(these) >= max(_IN_A_ROW, asked / 2) and not checked
        lasting = len(these) >= SHUT and times[-1] - times[0] >= SHUT_NS and not checked
        if status not in _OF_METHODS:
            lasting = False
        elif status == _UNIMPLEMENTED:
            lasting &= max(in_one.values(), default=0) >= SHUT
        elif status in _NOT_ALLOWED:
            lasting &= len(in_one) >= SHUT and all(each.ts > calls[k].answered for k, each in these)
        lasting |= most and status in _OF_SERVERS
        if lasting or (len(these) > 1 and status in _NEVER_MEANT) or (most and status == _RAISED):
            what = f"{GRPC[status]} ({status})"
            found += [Refusal(k, "gRPC", what, lasting, [each.frame for j, each in these if j == k]) for k in in_one]
    return found


def _by_the_clock(times: list[int]) -> bool:
    """Whether calls are made in an even rhythm, as by who checks a server; some do each second."""
    return checks(times) or evenly(times, _CHECK_NS, CLOCK)


def _too_long(calls: dict[int, Calls], group: list[int]) -> list[Refusal]:
    """Calls of gRPC whose messages are longer than any that is answered, and that all fail for want of something, over a while, so that they are not too
    many at once: the server takes none that is so long."""
    denied = [(k, each) for k in group for each in calls[k].denied if each.status == _EXHAUSTED and each.length]
    most, least = max((calls[k].most for k in group), default=0), min((each.length for _, each in denied), default=0)
    times = [each.ts for _, each in denied]
    if len(denied) < SHUT or max(times) - min(times) < SHUT_NS or not most < least >= _LONG:
        return []
    what = f"{GRPC[_EXHAUSTED]} ({_EXHAUSTED}) to messages of {size(least)} and more"
    return [Refusal(k, "gRPC", what, True, [each.frame for j, each in denied if j == k]) for k in dict.fromkeys(k for k, _ in denied)]


def _same_call(view: View, calls: dict[int, Calls], group: list[int]) -> list[Refusal]:
    """The same call of gRPC, each time on a connection of its own, that is always out of range, until the capture ends: what was asked for is there no more.
    Who reads on and on hears that at the end as well, and goes on to ask on the same connection, or for something else."""
    found = []
    for each, same in grouped((k for k in group if calls[k].message), lambda k: (calls[k].method, calls[k].message)).items():
        times = sorted(view.column("start_ns")[k] for k in same)
        failing = all(calls[k].status == _OUT_OF_RANGE and calls[k].failed for k in same)
        if not each[0] or not failing or len(same) < SHUT or times[-1] - times[0] < SHUT_NS:
            continue
        if view.side.bounds_ns[1] - times[-1] <= _STILL * max(b - a for a, b in pairwise(times)):
            found += [Refusal(k, "gRPC", f"OUT_OF_RANGE ({_OUT_OF_RANGE}) to the same call", True, calls[k].failed) for k in same]
    return found


def _often(calls: dict[int, Calls], status: int, sessions: list[int]) -> bool:
    """Whether calls fail often enough."""
    times = [len(calls[k].failed) for k in sessions]
    return (max(times) if status == _UNIMPLEMENTED else sum(times)) >= SHUT


def _git(view: View) -> list[Refusal]:
    """What a server of git says instead of what it has: a line with its length, in hexadecimal, and ERR (gitprotocol-pack). A client may be given another
    repository, or the same by another name."""
    said = {k: int(head).to_bytes(8, "big") for k, head in enumerate(view.first_replies.tolist()) if head & 0xFFFFFFFF == _GIT_ERROR}
    denied = {}
    for k in filter(said.__contains__, view.first_copies):
        seg = view.opening(k)
        first = next(i for i in range(len(seg)) if seg.fresh[i] and not seg.orig[i])
        if said[k][:4].lower() == b"%04x" % seg.length[first]:
            denied[k] = seg.frame[first]
    starts, given = view.column("start_ns"), {view.service(k): 0 for k in denied}
    for k in view.first_copies if denied else ():
        if k not in denied and view.first_replies[k] and view.service(k) in given:
            given[view.service(k)] = max(given[view.service(k)], starts[k])
    found = []
    for service, group in grouped(denied, view.service).items():
        # once, where others were given, it may be a name that was tried; who is given others between has one that is not for him, and goes on
        lasting = given[service] < starts[group[0]] and (len(group) > 1 or not given[service])
        found += [Refusal(k, "git", "ERR instead of refs", lasting, [denied[k]]) for k in group]
    return found


def _ended(view: View) -> list[Refusal]:
    """Connections of HTTP/2 in clear that a server ended for an error; for good, if those of a client are more than one."""
    calls = view.side.capture.grpc
    found = [k for k in filter(calls.__contains__, view.first_copies) if calls[k].error in ERRORS]
    times = Counter(view.service(k) for k in found)
    return [
        Refusal(k, "HTTP/2", f"GOAWAY, {ERRORS[calls[k].error]} ({calls[k].error})", times[view.service(k)] > 1, [calls[k].error_frame])
        for k in found
    ]


def _unheard(view: View) -> list[Refusal]:
    """Clients of AMQP that say nothing while a server sends them heartbeats, until it ends the connection without a word (AMQP 0-9-1 4.2.7)."""
    asking = set(np.flatnonzero(view.first_requests == np.uint64(AMQP)).tolist()) - view.halves
    missing = view.sessions["orig_missing_bytes"]
    found = []
    for k in view.first_copies if asking else ():
        if k not in asking or missing[k]:
            continue
        seg = view.segments(k)
        end = seg.closing()
        said = [i for i in range(end) if seg.length[i] and seg.fresh[i]]
        last = max((i for i in said if seg.orig[i]), default=end)
        beats = [i for i in said if i > last and seg.head[i] == HEARTBEAT]
        if not seg.orig[end] and len(beats) >= BEATS and said[-1] == beats[-1]:
            silence = seg.ts[end] - seg.ts[last]
            what = f"ended after {seconds(silence)} without a heartbeat of the client"
            found.append(Refusal(k, "AMQP", what, True, [seg.frame[i] for i in (last, beats[0], end)]))
    return found


def _stale(view: View) -> list[Refusal]:
    """Clients of NATS that a server ends as they did not answer its PINGs (Stale Connection), more than once, though their hosts were awake: the program was
    busy or stuck. Whose host slept, or was out of reach, acknowledges nothing."""
    found = []
    candidates = view.sessions_where(lambda head: head == np.uint64(_STALE), view.sessions["resp_bytes"] > 0)
    for k in filter(candidates.__contains__, view.in_one):
        seg = view.segments(k)
        said = next(i for i in range(len(seg)) if seg.head[i] == _STALE and seg.length[i])
        upto = seg.offset[said] + seg.length[said]
        awake = any(seg.orig[i] and seg.acked[i] >= upto and seg.ts[i] - seg.ts[said] <= _AWAKE_NS for i in range(said + 1, len(seg)))
        end = next((i for i in range(said, len(seg)) if seg.flags[i] & (FIN | RST)), said)
        if not seg.orig[said] and not seg.orig[end] and awake:
            found.append(Refusal(k, "NATS", "ended as the client did not answer its PINGs", True, [seg.frame[said], seg.frame[end]]))
    times = Counter(view.service(r.session) for r in found)
    return [r for r in found if times[view.service(r.session)] >= _STALE_TIMES]


def _taken_over(view: View) -> list[Refusal]:
    """Clients of MQTT that a broker throws out as another connection comes with the same name (3.1.1 3.1.4: it must), again and again: each comes back, and
    throws the other one out. A client that lost its connection does so once, and is not thrown out itself. Nobody is thrown out before the other one is
    there, nor who has said DISCONNECT (3.14.4: the broker closes then), as one that publishes now and then does. One client that opens its new connection
    before it closes the old one (a new token, another network) does so now and then, not each time within the pause of a library that connects again; at one
    address the two look alike, so that it takes more."""
    starts, of = view.column("start_ns"), grouped(view.in_one, view.ends)
    found = []
    accepted = (a for a in view.side.capture.denials if a.protocol == "MQTT" and not a.no and a.asked)
    for same in grouped(accepted, lambda a: (a.server, a.asked)).values() if of else ():
        last: dict[int, int] = {}  # by session, when the broker took it in
        for a in same:
            there = [k for k in of.get((a.client, a.port, a.server, _MQTT), ()) if starts[k] <= a.ts]
            if there:
                last.setdefault(max(there, key=starts.__getitem__), a.ts)
        out, ends = [], {}
        for (k, _), (other, next_ns) in pairwise(sorted(last.items(), key=lambda each: each[1])):
            seg = view.segments(k)
            end = seg.closing()
            awake = end >= 0 and any(seg.orig[end + 1 :])  # else it is what a network that a device left has kept
            thrown = awake and not seg.orig[end] and starts[other] <= seg.ts[end] <= next_ns + _THROWN_NS
            if thrown and not any(seg.orig[i] and seg.length[i] and seg.head[i] >> 56 == _MQTT_DISCONNECT for i in range(end)):
                ends[k] = seg.ts[end]
                out.append(Refusal(k, "MQTT", "taken over by a connection with the same client identifier", True, [seg.frame[end]]))
        if len(out) >= SHUT and max(starts[r.session] for r in out) - min(starts[r.session] for r in out) >= SHUT_NS:
            soon = [b for a, b in pairwise(out) if ends[b.session] - ends[a.session] <= _AGAIN_NS]
            addresses = {view.ends(r.session)[0] for r in out}
            for r in out:
                r.lasting = len(soon) >= (RENEWED // 2 if len(addresses) > 1 else RENEWED)
            found += out
    return found


def _moved(view: View) -> list[Refusal]:
    """Clients that nodes of a Redis cluster send to each other in circles: the same command (as far as it is known) goes from node to node, and each says that
    another one has it. Ordinary is one such answer a slot, which teaches the client the way."""
    sent = view.sessions_where(_sends_on, view.sessions["resp_bytes"] > 0)
    clients = {view.ends(k)[0] for k in sent}
    found: dict[int, Refusal] = {}
    for _, sessions in grouped((k for k in view.in_one if view.ends(k)[0] in clients), lambda k: view.ends(k)[0]).items():
        turns: list[tuple[int, tuple[int, int], bool, int, list[int]]] = []
        for k in sessions if sent.intersection(sessions) else ():
            if k not in sent and int(view.first_requests[k]) >> 56 != ord("*"):
                continue
            seg = view.segments(k)
            data = [i for i, _ in _databases.dialog(seg)]
            turns += [
                (
                    seg.ts[j],
                    (seg.head[i], seg.length[i]),
                    bool(_sends_on(np.array(seg.head[j], np.uint64))),
                    k,
                    [seg.frame[i], seg.frame[j]],
                )
                for i, j in pairwise(data)
                if seg.orig[i] and not seg.orig[j]
            ]
        for same in grouped(sorted(turns), lambda turn: turn[1]).values():
            run: list[tuple[int, tuple[int, int], bool, int, list[int]]] = []
            for turn in [*same, None]:
                if turn is not None and turn[2] and (not run or view.ends(turn[3])[2:] != view.ends(run[-1][3])[2:]):
                    run.append(turn)
                    continue
                for *_, k, frames in run if len(run) >= CIRCLES else ():
                    refusal = found.setdefault(k, Refusal(k, "Redis", "MOVED in circles from node to node", False, []))
                    refusal.lasting |= turn is None or turn[2]
                    refusal.frames += frames
                run = [turn] if turn is not None and turn[2] else []
    return list(found.values())


def _sends_on(head: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which segments begin as an answer of Redis that sends the client to another node."""
    found: np.ndarray[Any, Any] = (head >> np.uint64(8) == np.uint64(_MOVED)) | (head >> np.uint64(24) == np.uint64(_ASK))
    return found


def _missing(ours: list[list[str]], theirs: list[list[str]]) -> str:
    """What a client (``ours``) and a server have no algorithm for; "" if they agree."""
    for places, what in _IN_COMMON:
        for at in places:
            chosen = next((name for name in ours[at] if name in theirs[at]), None)
            cipher = next((name for name in ours[at - 2] if name in theirs[at - 2]), "") if what == "MAC" else ""
            if chosen is None and not any(word in cipher.lower() for word in _AUTHENTICATED):
                return what
    return ""


def _shut(view: View, k: int) -> int:
    """The frame in which a server closed without a byte before, and before its client did; 0 if it did not."""
    seg = view.opening(k)
    if not any(not seg.orig[i] and seg.flags[i] & SYN for i in range(len(seg))):
        return 0
    for i in range(len(seg)):
        if seg.flags[i] & (FIN | RST):
            return 0 if seg.orig[i] or seg.offset[i] or seg.length[i] else seg.frame[i]
        if seg.length[i] and not seg.orig[i]:
            return 0
    return 0


def _spoken(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The protocol that begins with each of these words (uint64), as text; "" for others."""
    out = np.full(len(words), "", object)
    for shift, begin, name in _WORDS:
        out[words >> np.uint64(shift) == begin] = name
    return out


def _begins(reply: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether a server's first bytes (uint64) are how one of these protocols begins; what is encrypted may look like anything."""
    text = as_bytes(reply)
    digits = (text[:, 0] >= 0x31) & (text[:, 0] <= 0x35) & ((text[:, 1:3] >= 0x30) & (text[:, 1:3] <= 0x39)).all(axis=1)
    mysql = (text[:, 3] == 0) & ((text[:, 4] == 0x0A) | (text[:, 4] == 0xFF))
    postgres = np.isin(text[:, 0], _POSTGRES) & (text[:, 1] == 0)
    return digits | mysql | postgres | np.isin(text[:, 0], _FIRST)


def _says_no(head: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which segments begin as a refusal may."""
    first = head >> 56
    code = ((first == 0x34) | (first == 0x35)) & ((head >> 32) & 0xFF != 0) & ((head >> 48) & 0xF0 == 0x30)  # 4dd or 5dd
    errors = (first == 0x2D) | (first == 0x45) | ((head >> 24) & 0xFF == 0xFF)  # -ERR, PostgreSQL's E, MySQL's 0xff
    no = np.zeros(len(head), bool)
    for shift in (0, 8, 16, 24, 32, 40):  # IMAP: a tag, then NO
        no |= (head >> shift) & 0xFFFF == 0x4E4F
    return code | errors | no


def _data(seg: Segments) -> list[tuple[bool, bytes, int]]:
    """(by the originator, first bytes, frame) of new data."""
    return [(seg.orig[i], text, seg.frame[i]) for i, text in _databases.dialog(seg)]


def _code(text: bytes) -> int:
    return int(text[:3]) if text[:3].isdigit() and text[3:4] in (b" ", b"-", b"\r") and 100 <= int(text[:3]) < 600 else 0


def _replies(k: int, seg: Segments, view: View) -> list[Refusal]:
    """FTP and SMTP: replies of three digits."""
    data = _data(seg)
    codes = [_code(text) for orig, text, _ in data if not orig]
    commands = [text[:4].upper() for orig, text, _ in data if orig]
    if not codes or not codes[0] or not (any(command in _KNOWN for command in commands) or codes[0] in (421, 530, 554)):
        return []
    port = view.ends(k)[3]
    smtp = port in _MAIL or any(c in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"LHLO") for c in commands)
    protocol = "SMTP" if smtp else "FTP"
    asked, asked_frame, answered = b"", 0, False
    without_tls: list[int] = []
    found: list[tuple[bytes, int, list[int]]] = []
    allowed: dict[bytes, int] = {}
    for orig, text, frame in data:
        if orig:
            if text[:4].upper() in _KNOWN:
                asked, asked_frame = text[:4].upper(), frame
            without_tls = without_tls if asked not in (b"MAIL", b"AUTH") else []  # it does without
            answered = False
            continue
        code = _code(text)
        if not code or (code == 421 and asked and answered):
            continue  # the second: it was idle
        answered = 200 <= code < 300
        if 200 <= code < 400 and asked:
            allowed[asked] = frame
            for words in (LOGINS if code in (230, 235) else set(), HELLOS):
                allowed.update(dict.fromkeys(words if asked in words else (), frame))
        refused = code >= 500 or code in (421, 450, 451, 452)
        if protocol == "SMTP" and asked == b"STAR" and code == _NO_TLS:
            without_tls = [asked_frame, frame]
        no_data = protocol == "FTP" and code == _NO_DATA and asked in _TRANSFERS
        if protocol == "FTP" and 500 <= code <= 504 and (code, asked) not in ((500, b"USER"), (500, b"PASS")):
            refused = False  # a word that the server does not know; those of the login all do (RFC 959 5.1)
        login_failed = asked == b"AUTH" and code in (535, 534, 538, 454)
        turned_away = protocol == "SMTP" and asked in HELLOS and code in NO_TALK
        if (refused and (asked in TASKS or login_failed)) or turned_away or no_data:
            found.append((asked, code, [f for f in (asked_frame, frame) if f]))
        elif code in (421, 530, 554) and not asked:
            found.append((b"", code, [frame]))
    out = []
    for command, code, frames in found:
        lasting = allowed.get(command, 0) < frames[-1]
        if command == b"RCPT" and (b"DATA" in allowed or b"BDAT" in allowed):
            lasting = False  # the others get it
        word = command.decode().strip() or "the connection"
        out.append(Refusal(k, protocol, f"{code} to {word}", lasting, frames))
    if without_tls:
        out.append(Refusal(k, protocol, f"{_NO_TLS} to STARTTLS", False, without_tls, once=True))
    if protocol == "FTP" and any(r.what.startswith("530") for r in out):
        logins = [r for r in out if r.what.split()[-1] in ("USER", "PASS", "ACCT", "connection")]
        return logins[-1:] or out
    return out


def _mysql(k: int, seg: Segments, view: View) -> list[Refusal]:
    """An error packet (0xff) where a handshake begins, or within it."""
    data = _data(seg)
    server = [text for orig, text, _ in data if not orig]
    if not server or server[0][3:5] not in (b"\x00\x0a", b"\x00\xff"):
        return []
    for i, text in itertools.islice(_databases.dialog(seg), 12):
        size = int.from_bytes(text[:3], "little")
        code = int.from_bytes(text[5:7], "little")
        error = not seg.orig[i] and text[4] == 0xFF and text[3] != 1 and text[3] < 16  # 1: of a query
        if error and seg.length[i] - 4 <= size < 1024 and 1000 <= code < 10_000:
            return [Refusal(k, "MySQL", f"{MYSQL.get(code, 'error at login')} ({code})", True, [seg.frame[i]])]
    return []


def _postgres(k: int, seg: Segments, view: View) -> list[Refusal]:
    """A FATAL error to a start-up."""
    asked = next((text for orig, text, _ in _data(seg) if orig), b"")
    if asked[4:7] not in (b"\x00\x03\x00", b"\x04\xd2\x16"):  # protocol 3, a request for encryption
        return []
    found = next((each for each in view.once(_fatal).get(k, ()) if each.frame in seg.frame), None)
    if found is None:
        return []
    what = f"{POSTGRES.get(found.code, 'fatal error')} ({found.code})" if found.code else "fatal error at login"
    return [Refusal(k, "PostgreSQL", what, found.code != _IDLE, [found.frame])]


def _fatal(view: View) -> dict[int, list[Fatal]]:
    return grouped((each for each in view.side.capture.fatal if each.ends), lambda each: each.session)


def _without_tls(view: View) -> list[Refusal]:
    """Clients that want TLS of PostgreSQL, hear N and leave (SSLRequest), again and again, and go on with no such server. Of one that leaves once or twice, or
    opens many ports, nothing is said: it looks around."""
    asking = np.flatnonzero(_databases.starts(view.first_requests)).tolist()
    wants, starts = {_databases.WANTS_TLS, _databases.WANTS_GSSAPI}, view.column("start_ns")
    left: dict[int, int] = {}
    for k in filter(set(asking).__contains__, view.in_one):
        data = _data(view.opening(k))
        asked = [int.from_bytes(text, "big") for orig, text, _ in data if orig]
        said = {text for orig, text, _ in data if not orig}
        closed, answered = view.column("orig_fin_ns")[k], view.column("resp_fin_ns")[k]
        heard = view.column("resp_first_payload_ns")[k]
        if (
            set(asked) <= wants
            and asked[-1:] == [_databases.WANTS_TLS]
            and said == {b"N" + bytes(7)}
            and closed
            and heard <= closed <= (answered or closed)  # else it gave up before
        ):
            left[k] = data[-1][2]
    found = []
    for group in grouped(left, view.service).values():
        times = [starts[k] for k in group]
        if len(group) >= SHUT and max(times) - min(times) >= SHUT_NS and not view.once(scanning).intersection(group):
            client = view.service(group[0])[0]
            lasting = not any(view.service(k)[0] == client and starts[k] > min(times) for k in asking if k not in left)
            found += [Refusal(k, "PostgreSQL", "no TLS, which the client insists on", lasting, [left[k]]) for k in group]
    return found


def _redis(k: int, seg: Segments, view: View) -> list[Refusal]:
    found: list[tuple[str, bool, int]] = []
    wrong: dict[tuple[bytes, int], list[int]] = {}
    served, data = 0, _data(seg)
    if data and not data[0][0] and data[0][1].startswith(b"+OK"):
        return []  # a greeting: POP3, see below. Redis waits to be asked
    asked, long = b"", dict(zip(seg.frame[: _databases.MOST], seg.length[: _databases.MOST], strict=True))
    command = b"", 0
    for orig, text, frame in data:
        if orig:
            asked, command = text, (text, long[frame])
        elif text == _WRONG_TYPE:
            wrong.setdefault(command, []).append(frame)
        elif text == _UNKNOWN and asked[4:7] == b"$6\r":
            continue  # of CLIENT: drivers say who they are, and try what older servers do not know
        elif no := REDIS.get(text):
            found.append((*no, frame))
        elif text[:1] in _REDIS_GIVES:
            served = frame
            wrong.pop(command, None)
    amiss = [Refusal(k, "Redis", "WRONGTYPE", False, frames) for frames in wrong.values() if len(frames) >= _databases.TIMES]
    return [Refusal(k, "Redis", what, stays or frame > served, [frame]) for what, stays, frame in found] + amiss


def _pop(k: int, seg: Segments, view: View) -> list[Refusal]:
    """POP3 says -ERR to a login, IMAP NO; it may say that to a message that is to be stored as well, as a mailbox is full (OVERQUOTA, RFC 9208 4.3.1)."""
    data = _data(seg)
    server = [text for orig, text, _ in data if not orig]
    if not server:
        return []
    if server[0][:3] == b"+OK" or (server[0][:4] == b"-ERR" and view.ends(k)[3] in (110, 995)):
        asked, found, served = b"", [], 0
        for orig, text, frame in data:
            if orig:
                asked = text[:4].upper()
            elif text[:4] == b"-ERR" and asked in (b"USER", b"PASS", b"APOP"):  # AUTH asks which ways there are
                found.append(Refusal(k, "POP3", f"-ERR to {asked.decode()}", True, [frame]))
            elif text[:3] == b"+OK" and asked in (b"PASS", b"APOP"):
                served = frame
        return [Refusal(r.session, r.protocol, r.what, r.frames[0] > served, r.frames) for r in found]
    if server[0][:4] in (b"* OK", b"* NO", b"* BY", b"* PR"):
        asked_tag, found, served, appends, stored, goes_on = b"", [], 0, set(), 0, False
        kept_out: list[Refusal] = []
        for orig, text, frame in data:
            tag, _, rest = text.partition(b" ")
            if orig:
                asked_tag = tag if rest[:2].upper() in (b"LO", b"AU") else b""
                served = frame if rest[:2].upper() in _LOGGED_IN else served
                goes_on |= bool(kept_out) and rest[:2].upper() in _STORES
                appends |= {tag} if rest[:2].upper() == b"AP" else set()
            elif tag in appends and rest[:2].upper() in (b"NO", b"OK"):
                if rest[:2].upper() == b"OK":
                    stored = frame
                else:
                    kept_out.append(Refusal(k, "IMAP", "NO to APPEND", True, [frame]))
            elif asked_tag and tag == asked_tag and rest[:2].upper() == b"NO":
                found.append(Refusal(k, "IMAP", "NO to the login", True, [frame]))
        # once, a mailbox may have to be made first (TRYCREATE, RFC 9051 7.1), or another one takes it: its OK may stand behind what is told unasked
        again = len(kept_out) > 1
        kept_out = [
            Refusal(
                k, r.protocol, r.what, r.frames[0] > stored and again, r.frames, once=not again and not goes_on and r.frames[0] > stored
            )
            for r in kept_out
        ]
        return [Refusal(r.session, r.protocol, r.what, r.frames[0] > served, r.frames) for r in found] + kept_out
    return []
