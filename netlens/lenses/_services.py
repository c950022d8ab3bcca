"""Services over TCP that answer what they are asked: a message that was acknowledged, and then nothing, is a wait in vain.

Told by the server's port, as most of these begin by a question without a mark of its own; a proxy of SOCKS 5 at any port by its first words. Not here: HTTP
(``_requests``), TLS (``tls_failed``), DNS, and what may wait for events or says nothing on purpose: chat, message queues, logs, remote consoles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.lenses._connects import scanning
from netlens.lenses._repeats import with_repeats
from netlens.lenses._view import FIN, RST, SEAM_NS, SYN, S, Segments, View, grouped
from netlens.lenses._websockets import unheard

GIVEN_UP_NS = 5 * S  #: by the client, which closed
PENDING_NS = 10 * S  #: what the end of the capture may owe
MANY = 20  #: messages of which not one is answered, before both close: no patience is needed to see it
#: Each message of the client is answered, but for those of :func:`needs_none`.
EACH = {21: "FTP", 25: "SMTP", 88: "Kerberos", 110: "POP3", 111: "RPC", 119: "NNTP", 139: "SMB", 143: "IMAP", 389: "LDAP", 445: "SMB", 502: "Modbus",
        587: "SMTP", 1433: "SQL Server", 2049: "RPC", 3268: "LDAP", 3306: "MySQL", 5432: "PostgreSQL"}  # fmt: skip
#: The first is; later ones may wait (Redis BLPOP), or want none (MQTT PUBLISH).
FIRST = {22: "SSH", 43: "whois", 79: "finger", 102: "ISO transport", 179: "BGP", 554: "RTSP", 1080: "SOCKS", 1521: "Oracle", 1720: "H.225", 1723: "PPTP",
         1883: "MQTT", 2181: "ZooKeeper", 2404: "IEC 104", 3389: "RDP", 3868: "Diameter", 4840: "OPC UA", 5672: "AMQP", 6379: "Redis", 9042: "Cassandra",
         9092: "Kafka", 11211: "memcached", 27017: "MongoDB", 44_818: "EtherNet/IP"}  # fmt: skip
NAMES = EACH | FIRST
#: How memcached's commands begin that write, or say farewell
_WRITES = (b"set ", b"add ", b"cas ", b"incr ", b"decr ", b"touch ", b"append ", b"delete ", b"replace ", b"prepend ", b"flush_al", b"quit")
_QUIET = (0x09, 0x0D, *range(0x11, 0x1B))
_SHORTEST = 10  #: bytes of LDAP's messages behind their length; a request that is answered has more
#: The server speaks first (RFC 959 5.4, RFC 5321 3.1, RFC 1939 4, RFC 3977 5.1, RFC 9051 7.1.1; MySQL's protocol, connection phase)
GREETS = (21, 25, 110, 119, 143, 587, 3306)
MODBUS = 502
SOCKS, SOCKS_METHODS = 5, 8  #: version, and ways to log in that a client offers at most
UNGREETED, UNGREETED_NS = 3, 30 * S  #: so many that were left without a greeting, or one after so long: some servers pause on purpose


@dataclass
class Silence:
    """A message without an answer; ``given_up``: the client closed, else the capture ended."""

    session: int
    protocol: str
    wait_ns: int
    given_up: bool
    frames: list[int]


def silences(view: View) -> list[Silence]:
    """At most one of each session: its last message, or a WebSocket's ping in vain."""
    s = view.sessions
    asked_ns, said_ns = view.column("orig_last_payload_ns"), view.column("resp_last_payload_ns")
    patient = (s["end_ns"] - s["start_ns"] >= GIVEN_UP_NS) | ((s["resp_bytes"] == 0) & (s["orig_frames"] > MANY))
    proxied = _is_before_the_tunnel(view)
    served = (np.isin(s["resp_port"], [*NAMES]) | proxied) & (patient | (s["end_ns"] < view.side.bounds_ns[1]))
    missing = view.missing_bytes
    lossy = view.once(with_repeats)
    pings = [Silence(each.session, "WebSocket, ping", each.wait_ns, True, each.frames) for each in view.once(unheard)]
    found = (
        pings
        + _units(view)
        + _ungreeted(view, served & np.isin(s["resp_port"], GREETS) & (s["resp_bytes"] == 0) & s["saw_syn"] & ~missing.astype(bool))
    )
    told = {each.session for each in found}
    for k in view.whole:
        if (
            not served[k]
            or missing[k]
            or asked_ns[k] is None
            or k in lossy
            or k in told
            or k in view.halves
            or view.column("protocol")[k] in ("tls", "http")
        ):
            continue
        port = view.ends(k)[3]
        each = port in EACH or proxied[k]
        owed = said_ns[k] is None or said_ns[k] < asked_ns[k] if each else said_ns[k] is None and s["saw_syn"][k]
        owed &= not proxied[k] or _is_greeting_of_socks(view.opening(k))
        if owed and (one := _last(view, k, "SOCKS" if proxied[k] else NAMES[port])):
            found.append(one)
    return found


def _is_before_the_tunnel(view: View) -> np.ndarray[Any, Any]:
    """bool by session: those with a proxy of SOCKS 5 that has chosen a method, has perhaps taken a password, and has said no more (RFC 1928 3, RFC 1929)."""
    asked, said = view.first_requests, view.first_replies
    methods = asked >> 48 & 0xFF
    found: np.ndarray[Any, Any] = (
        (asked >> 56 == SOCKS)
        & (methods > 0)
        & (methods <= SOCKS_METHODS)
        & (said >> 56 == SOCKS)
        & np.isin(view.sessions["resp_bytes"], (2, 4))
    )
    return found


def _is_greeting_of_socks(seg: Segments) -> bool:
    """Whether the client's first segment holds its version and methods, and nothing else."""
    first = next((i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]), None)
    return first is not None and seg.length[first] == 2 + seg.text(first)[1]


def _units(view: View) -> list[Silence]:
    """Requests to a unit behind a server of Modbus that never answers, while the server is there (Modbus Messaging on TCP/IP 4.4.2)."""
    if view.one_sided:
        return []
    missing, lossy = view.missing_bytes, view.once(with_repeats)
    asked: dict[tuple[str, int, int], list[Silence]] = {}
    answered: set[tuple[str, int, int]] = set()
    for k in np.flatnonzero(view.sessions["resp_port"] == MODBUS).tolist():
        if k in view.whole and not missing[k] and k not in lossy:
            _, _, server, port = view.ends(k)
            for unit, silence in _of_units(k, view.segments(k)):
                if silence is None:
                    answered.add((server, port, unit))
                else:
                    asked.setdefault((server, port, unit), []).append(silence)
    left = {key: these for key, these in asked.items() if key not in answered and len(these) >= UNGREETED}
    longest = [
        max(these, key=lambda each: each.wait_ns) for of in left.values() for these in grouped(of, lambda each: each.session).values()
    ]
    return list({each.session: each for each in longest}.values())


def _of_units(k: int, seg: Segments) -> Iterator[tuple[int, Silence | None]]:
    """By unit each answer (None), and each request that was acknowledged and behind which the server said nothing until the client went on or closed."""
    for i in range(len(seg)):
        head = seg.text(i)
        if not seg.fresh[i] or head[2:4] != bytes(2) or int.from_bytes(head[4:6], "big") + 6 != seg.length[i]:
            continue
        if not seg.orig[i]:
            yield head[6], None
            continue
        after = next((j for j in range(i + 1, len(seg)) if seg.fresh[j] or seg.flags[j] & (FIN | RST)), None)
        acknowledged = any(not seg.orig[j] and seg.acked[j] >= seg.end(i) for j in range(i + 1, after or len(seg)))
        if after is not None and seg.orig[after] and acknowledged and head[6] and seg.ts[after] - seg.ts[i] >= S:
            yield head[6], Silence(k, f"Modbus, unit {head[6]}", seg.ts[after] - seg.ts[i], True, [seg.frame[i], seg.frame[after]])


def _ungreeted(view: View, among: np.ndarray[Any, Any]) -> list[Silence]:
    """Connections that a client closes as the server does not say a word. Of one to which it speaks at times nothing is said, nor of who opens many ports."""
    left: dict[int, Silence] = {}
    for k in filter(set(np.flatnonzero(among).tolist()).__contains__, view.in_one):
        seg = view.segments(k)
        answered = next((i for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & SYN), len(seg))
        opened = next((i for i in range(answered, len(seg)) if seg.orig[i] and not seg.flags[i] & SYN), len(seg))
        end = next((i for i in range(opened, len(seg)) if seg.flags[i] & (FIN | RST)), None)
        heard = any(not seg.orig[i] and not seg.flags[i] & (SYN | RST) for i in range(opened, len(seg)))
        if end is not None and seg.orig[end] and heard and GIVEN_UP_NS <= seg.ts[end] - seg.ts[opened] < SEAM_NS:
            frames = [seg.frame[i] for i in (answered, end)]
            left[k] = Silence(k, NAMES[view.ends(k)[3]], seg.ts[end] - seg.ts[opened], True, frames)
    spoke = {view.service(k) for k in np.flatnonzero(view.first_replies).tolist()} if left else set()
    return [
        left[k]
        for service, group in grouped(left, view.service).items()
        if service not in spoke and not view.once(scanning).intersection(group)
        for k in group
        if len(group) >= UNGREETED or left[k].wait_ns >= UNGREETED_NS
    ]


def _last(view: View, k: int, protocol: str) -> Silence | None:
    seg = view.segments(k)
    asked = max((i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]), default=None)
    if asked is None or needs_none(protocol, seg, asked):
        return None
    after = range(asked + 1, len(seg))
    if not any(not seg.orig[i] for i in after) or any(seg.flags[i] & (FIN | RST) for i in range(asked + 1)):
        return None  # not acknowledged, or said to somebody who had closed
    end = next((i for i in after if seg.flags[i] & (FIN | RST)), None)
    if end is not None and not seg.orig[end]:
        return None  # the server's no
    until = seg.ts[end] if end is not None else view.end_of(seg.frame[-1])
    wait = until - seg.ts[asked]
    sent = [i for i in range(asked + 1) if seg.orig[i] and seg.fresh[i]]
    if (
        end is not None
        and len(sent) >= MANY
        and protocol in EACH.values()
        and not any(seg.fresh[i] for i in range(len(seg)) if not seg.orig[i])
    ):
        return Silence(k, protocol, until - seg.ts[sent[0]], True, [seg.frame[i] for i in (sent[0], asked, end)])
    if not (GIVEN_UP_NS if end is not None else PENDING_NS) <= wait < SEAM_NS:
        return None
    return Silence(k, protocol, wait, end is not None, [seg.frame[i] for i in (asked, end) if i is not None])


def needs_none(protocol: str, seg: Segments, asked: int) -> bool:
    """Whether a client's message (segment ``asked``) is a farewell or another one that gets no answer, or none yet."""
    head = seg.text(asked)
    before = (i for i in range(asked - 1, -1, -1) if seg.fresh[i] and not seg.orig[i])
    if protocol == "MySQL":  # COM_QUIT, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE, a replica's acknowledgment (semi-synchronous replication)
        return head[3] == 0 and head[4] in (0x01, 0x18, 0x19, 0xEF)
    if protocol == "PostgreSQL":  # Terminate (a start-up has no type), CopyData (also a replica's), CancelRequest
        return head[:5] == b"X\0\0\0\4" or head[:2] == b"d\0" or head == b"\0\0\0\x10\x04\xd2\x16\x2e"
    if protocol == "RPC":  # the client's reply to a call of the server, behind the record's mark (RFC 8881 2.10.3.1)
        return any(seg.head[i] & 0xFFFFFFFF == seg.head[asked] & 0xFFFFFFFF for i in before)
    if protocol == "FTP":  # while a file is sent (RFC 959 4.2: a preliminary reply) many servers read no command
        return next((seg.head[i] >> 56 == ord("1") for i in before), False)
    if protocol == "Modbus":  # a broadcast that writes (MODBUS messaging on TCP/IP 4.2: unit 0)
        return head[6] == 0 and head[7] in (5, 6, 15, 16)
    # commands that wait for data have names of 5, 8 or 10 letters (BLPOP, XREAD, BZPOPMIN, BRPOPLPUSH); SHUTDOWN has 8
    if protocol == "Redis":
        return head[:1] == b"*" and (head[4:] == b"$8\r\n" or (head[1:2] > b"2" and head[4:] in (b"$5\r\n", b"$10\r")))
    if protocol == "memcached":  # what writes may say "noreply"; of the binary protocol the quiet commands
        return head.startswith(_WRITES) or (head[0] == 0x80 and head[1] in _QUIET)
    if protocol == "SMB":
        return head[:1] == b"\x85"  # a keep-alive (RFC 1002 4.3.5)
    # unbind and abandon (RFC 4511 4.3, 4.11), behind a message id of 1 to 3 bytes; Windows writes lengths of four bytes
    if protocol == "LDAP":
        short = head[1:5] == b"\x84\0\0\0" and head[5] <= _SHORTEST
        return head[:1] == b"\x30" and (short or any(op in head[5:8] for op in (0x42, 0x50)))
    return False
