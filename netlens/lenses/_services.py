"""Services over TCP that answer what they are asked: a message that was acknowledged, and then nothing, is a wait in vain.

Told by the server's port, as most of these begin by a question without a mark of its own; a proxy of SOCKS 5 at any port by its first words. Not here: HTTP
(``_requests``), TLS (``tls_failed``), DNS, and what may wait for events or says nothing on purpose: chat, message queues, logs, remote consoles.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median_low
from typing import Any

import numpy as np

from netlens.lenses._connects import scanning
from netlens.lenses._repeats import with_repeats
from netlens.lenses._requests import HTTP2
from netlens.lenses._view import FIN, RST, SEAM_NS, SYN, S, Segments, View, grouped
from netlens.lenses._websockets import unheard

GIVEN_UP_NS = 5 * S  #: by the client, which closed
LEAST_NS = 2 * S  #: by a client that does so twice after the same time: a timer's
ALIKE, ALIKE_NS = 0.05, S // 5  #: of each other: waits that a timer ends, whichever is more
AGAIN_NS = S  #: who waits so long and then says something else has not heard what it waits for
PENDING_NS = 10 * S  #: what the end of the capture may owe
MANY = 20  #: messages of which not one is answered, before both close: no patience is needed to see it
#: Each message of the client is answered, but for those of :func:`needs_none`.
EACH = {21: "FTP", 25: "SMTP", 88: "Kerberos", 110: "POP3", 111: "RPC", 119: "NNTP", 139: "SMB", 143: "IMAP", 389: "LDAP", 445: "SMB", 502: "Modbus",
        587: "SMTP", 1433: "SQL Server", 2049: "RPC", 3268: "LDAP", 3306: "MySQL", 5432: "PostgreSQL"}  # fmt: skip
#: The first is; later ones may wait (Redis BLPOP), or want none (MQTT PUBLISH).
FIRST = {22: "SSH", 43: "whois", 79: "finger", 102: "ISO transport", 179: "BGP", 554: "RTSP", 873: "rsync", 1080: "SOCKS", 1521: "Oracle",
         1720: "H.225", 1723: "PPTP", 1883: "MQTT", 2181: "ZooKeeper", 2404: "IEC 104", 3389: "RDP", 3868: "Diameter", 4222: "NATS", 4840: "OPC UA",
         5672: "AMQP", 6379: "Redis", 9042: "Cassandra", 9092: "Kafka", 11211: "memcached", 20_000: "DNP3", 27017: "MongoDB",
         44_818: "EtherNet/IP"}  # fmt: skip
NAMES = EACH | FIRST
#: How memcached's commands begin that write, or say farewell
_WRITES = (b"set ", b"add ", b"cas ", b"incr ", b"decr ", b"touch ", b"append ", b"delete ", b"replace ", b"prepend ", b"flush_al", b"quit")
_META = (b"ms ", b"md ", b"ma ", b"mg ")  #: of memcached's protocol, which may say "q": no answer if it is the usual one
#: Commands of Redis that are answered at once, by the number of their parts and the length of their name: what waits, or switches answers off, has three parts
#: or more (BLPOP, XREAD, WAIT, CLIENT REPLY OFF), with names of six letters five (BLMPOP, BLMOVE); SHUTDOWN has a name of eight.
#: Words without parts (inline commands) by their first letter
_AT_ONCE = re.compile(rb"\*(?:[12]\r\n\$(?!8)|\d+\r\n\$[34]|4\r\n\$6)|[^*BbWwXx]")
MAY_BE_WAIT, WAIT = b"*3\r\n$4\r\n", 35  #: how Redis' WAIT begins (and HGET), and its bytes at most
_QUIET = (0x09, 0x0D, *range(0x11, 0x1B))
#: How later messages begin that such a server answers as well: commands of Redis with names of 3 or 4 letters (GET, SET, HGET, PING), those of memcached that
#: read, and what asks whether a broker is there (MQTT 3.1.1 3.12)
_ANSWERED = {
    "Redis": re.compile(rb"\*[1-9]\r\n\$[34]\r"), "memcached": re.compile(rb"gets? |version\r|stats"), "MQTT": re.compile(rb"\xc0\0{7}"),
    "NATS": re.compile(rb"PING\r\n\0\0"),
}  # fmt: skip
#: How a client begins; without this it is another protocol at that port, as data of FTP may be
_BEGINS = {name: re.compile(begins, re.DOTALL) for name, begins in {
    "Kerberos": rb"\0[\0-\x0f]..[\x60-\x7f]", "RPC": rb"(?!\0{4})[\0\x80][\0-\x1f]", "SMB": rb"\0...[\xfd-\xff]SMB|\x81\0", "Modbus": rb"..\0\0",
    "LDAP": rb"0(?:.|\x81.|\x82..|\x83...|\x84....)\x02", "SQL Server": rb"[\x02\x10\x12][\0-\x1f]..\0\0",
    "PostgreSQL": rb"\0\0..(?:\0\x03\0|\x04\xd2\x16)", "SSH": rb"SSH-", "whois": rb"[ -~\r\n]{2}", "finger": rb"[ -~\r\n]{2}", "ISO transport": rb"\x03\0",
    "BGP": rb"\xff{8}", "RTSP": rb"[A-Z]{4}", "rsync": rb"@RSYNCD:", "SOCKS": rb"[\x04\x05]", "Oracle": rb"..\0\0\x01", "H.225": rb"\x03\0",
    "PPTP": rb"\0\x9c\0\x01\x1a\x2b\x3c\x4d", "MQTT": rb"[\x10\x30]", "ZooKeeper": rb"\0\0\0.\0{4}|[a-z]{4}", "IEC 104": rb"\x68[\x04-\xfd]",
    "RDP": rb"\x03\0", "Diameter": rb"\x01\0..[\x80-\xff]", "OPC UA": rb"HELF", "AMQP": rb"AMQP", "Redis": rb"\*\d|[A-Za-z]{3}",
    "Cassandra": rb"[\x01-\x06AB][\0-\x1f]..?[\x01\x05]", "Kafka": rb"\0[\0-\x0f]..\0[\0-\x7f]\0", "memcached": rb"[a-z]{2}|\x80",
    "MongoDB": rb"(?!\0{4})..[\0-\x03]\0", "EtherNet/IP": rb"[\x04\x63-\x65]\0..\0{4}",
    "DNP3": rb"\x05\x64.[\x80-\xff]",  # from a master
    # before the greeting, if at all
    **dict.fromkeys(("FTP", "SMTP", "POP3"), rb"[A-Za-z]{3,4}[ \r\n]"), "NNTP": rb"[A-Za-z]{4}", "IMAP": rb"[\w.]+(?: [A-Za-z]|\Z)", "NATS": rb"[A-Z]{3}",
    "MySQL": rb"(?!)",
}.items()}  # fmt: skip
_PROXY = (b"PROXY ", b"\r\n\r\n\0\r\n")  #: what a load balancer says first of its client (PROXY protocol 2.1, 2.2)
#: FTP's replies that name a port, and its commands that do (RFC 959 4.1.2, 5.4, RFC 2428)
_NAMED, _NAMING = ([int.from_bytes(word, "big") for word in words] for words in ((b"227 ", b"229 "), (b"PORT", b"EPRT")))
OPENED_NS = 10 * S  #: after that a connection for data is
#: PostgreSQL's messages that are answered when Sync or Flush comes, and the bytes of these
_OPEN, _SYNC = (b"P\0", b"B\0", b"D\0", b"E\0", b"C\0"), 5
_ENDS_A_MESSAGE = b".\r\n"  #: of SMTP and NNTP
_ANY = ("MQTT", "NATS")  #: what comes before need not be answered, and does not hold up what does
#: A server wants more before it answers (RFC 5321 4.3.2, RFC 3977 6.3.1, RFC 9051 7.5)
_MORE = (b"354", b"340", b"335", b"334", b"+ ")
_CONFIRMS = 8  #: DNP3's length of what holds nothing but a function
SMB1 = b"\xffSMB"  #: behind a length of four bytes
SEARCH = 0x63  #: LDAP's (RFC 4511 4.5.1)
_SHORTEST = 10  #: bytes of LDAP's messages behind their length; a request that is answered has more
#: The server speaks first (RFC 959 5.4, RFC 5321 3.1, RFC 1939 4, RFC 3977 5.1, RFC 9051 7.1.1; MySQL's and NATS' protocols)
GREETS = (21, 25, 110, 119, 143, 587, 3306, 4222)
MODBUS = 502
#: How a client of AMQP 0-9-1 begins (4.2.2), a heartbeat (4.2.7, 4.2.3), and how many pass in two intervals: each side sends one in half of one
AMQP, HEARTBEAT, BEATS = int.from_bytes(b"AMQP\0\0\x09\x01", "big"), 0x08000000000000CE, 4
#: How a client of MQTT begins, but for the length of what it says (3.1.1 3.1), a broker's first word, the answer to a ping, and messages that tell
MQTT, CONNACK, PINGRESP, UNTAKEN = int.from_bytes(b"\x10\0\0\4MQTT", "big"), 0x20, b"\xd0\0", 3
MQTT_DUP = 8  #: in the first byte of a PUBLISH that is sent again (3.1.1 3.3.1.1)
SOCKS, SOCKS_METHODS = 5, 8  #: version, and ways to log in that a client offers at most
UNGREETED, UNGREETED_NS = 3, 30 * S  #: so many that were left without a greeting, or one after so long: some servers pause on purpose


@dataclass
class Silence:
    """A message without an answer; ``given_up``: the client closed, else the capture ended. ``certain``: however short, as there were
    :data:`MANY`, or the answer came after :data:`GIVEN_UP_NS` and more, when the client was gone."""

    session: int
    protocol: str
    wait_ns: int
    given_up: bool
    frames: list[int]
    certain: bool = False
    doubtful: bool = False  #: what was asked may owe nothing (yet)


def silences(view: View) -> list[Silence]:
    """At most one of each session: its last message, or the first of several that a client sent with pauses, having heard nothing; or a WebSocket's ping in
    vain. What a server says when its client has closed is no answer any more."""
    s = view.sessions
    asked_ns, said_ns, closed_ns = view.column("orig_last_payload_ns"), view.column("resp_last_payload_ns"), view.column("orig_fin_ns")
    patient = (s["end_ns"] - s["start_ns"] >= LEAST_NS) | ((s["resp_bytes"] == 0) & (s["orig_frames"] > MANY))
    proxied, http2 = _is_before_the_tunnel(view), view.first_requests == np.uint64(HTTP2)
    served = (np.isin(s["resp_port"], [*NAMES]) | proxied | http2) & (patient | (s["end_ns"] < view.side.bounds_ns[1]))
    missing = view.missing_bytes
    lossy = view.once(with_repeats)
    pings = [Silence(each.session, "WebSocket, ping", each.wait_ns, True, each.frames) for each in view.once(unheard)]
    units = pings + _units(view) + _not_taken(view)
    served[list(_data_of_ftp(view))] = False
    found = _ungreeted(view, served & np.isin(s["resp_port"], GREETS) & s["saw_syn"] & ~missing.astype(bool))
    told = {each.session for each in units + found}
    for k in view.whole:
        if (
            not served[k]
            or missing[k]
            or asked_ns[k] is None
            or k in lossy
            or k in told
            or k in view.halves
            or view.column("protocol")[k] == "tls"
            or (view.column("protocol")[k] == "http" and not http2[k])
        ):
            continue
        protocol = "SOCKS" if proxied[k] else "HTTP/2" if http2[k] else NAMES[view.ends(k)[3]]
        late = said_ns[k] is not None and closed_ns[k] is not None and said_ns[k] > closed_ns[k] >= asked_ns[k]
        each = protocol in EACH.values() or bool(proxied[k])
        if said_ns[k] is not None and not (late or each or protocol in _ANSWERED):
            continue  # once the server has spoken, nothing tells which message it owes an answer
        if said_ns[k] is None or said_ns[k] < asked_ns[k] or late:
            if one := _last(view, k, protocol, each):
                found.append(one)
    return units + _long(view, found)


def without_beats(view: View) -> list[Silence]:
    """Of each session of AMQP 0-9-1 the longest silence of its server in which the client sent heartbeats for two intervals: both owe them (4.2.7). A client
    may send them more often than it must, so the silence must last twice as long as others between heartbeats of the server, or :data:`PENDING_NS`."""
    asking = set(np.flatnonzero(view.first_requests == np.uint64(AMQP)).tolist())
    missing, found = view.missing_bytes, []
    for k in filter(asking.__contains__, view.in_one):
        seg, silences = view.segments(k), []
        beats: list[int] = []
        paces: list[int] = []  # of the server, from heartbeat to heartbeat
        said = 0
        for i in range(len(seg)):
            if seg.orig[i] and seg.fresh[i] and seg.head[i] == HEARTBEAT and not missing[k]:
                beats.append(i)
            elif (seg.fresh[i] and not seg.orig[i]) or seg.flags[i] & (FIN | RST) or i == len(seg) - 1:
                if not seg.orig[i] and not seg.orig[said] and seg.head[i] == seg.head[said] == HEARTBEAT:
                    paces.append(seg.ts[i] - seg.ts[said])
                if len(beats) >= BEATS and any(not seg.orig[j] and seg.acked[j] >= seg.end(beats[-1]) for j in range(beats[-1], i + 1)):
                    silences.append(Silence(k, "AMQP", seg.ts[i] - seg.ts[said], False, [seg.frame[j] for j in (said, beats[0], i)]))
                beats, said = [], i
        longest = max(silences, key=lambda each: each.wait_ns, default=None)
        if longest is not None:
            if longest.wait_ns in paces:
                paces.remove(longest.wait_ns)
            if longest.wait_ns >= (2 * median_low(paces) if paces else PENDING_NS):
                found.append(longest)
    return found


def _not_taken(view: View) -> list[Silence]:
    """Messages of MQTT that must be acknowledged (QoS 1, 3.1.1 4.3.2), of which a broker acknowledges none, though it has them and speaks: three and more on a
    connection, for as long as a client waits, behind which there came nothing but answers to pings, as others may hide an acknowledgment. Where the capture
    ends before the client closes or sends one again (DUP), a broker that acknowledges many at once may still do so."""
    if view.one_sided:
        return []
    missing, lossy, found = view.missing_bytes, view.once(with_repeats), []
    mqtt = view.first_requests & np.uint64(0xF000FFFFFFFFFFFF) == np.uint64(MQTT)
    for k in np.flatnonzero(mqtt & (view.first_replies >> np.uint64(56) == CONNACK)).tolist():
        if k not in view.whole or k in view.halves or missing[k] or k in lossy:
            continue
        seg = view.segments(k)
        asked: list[int] = []
        for i in range(len(seg)):
            if seg.flags[i] & (FIN | RST):
                break
            if not seg.length[i] or not seg.fresh[i]:
                continue
            if seg.orig[i]:
                asked += [i] if _is_to_be_taken(seg, i) else []
            elif asked and not (seg.length[i] == len(PINGRESP) and seg.text(i)[: len(PINGRESP)] == PINGRESP):
                asked = []
                break
        if len(asked) >= UNTAKEN:
            last = next((i for i in range(asked[-1] + 1, len(seg)) if seg.flags[i] & (FIN | RST)), len(seg) - 1)
            had = any(not seg.orig[i] and seg.acked[i] >= seg.end(asked[-1]) for i in range(asked[-1] + 1, len(seg)))
            closed = bool(seg.flags[last] & (FIN | RST))
            again = any(seg.text(i)[0] & MQTT_DUP for i in asked)
            if had and (closed or again) and seg.ts[last] - seg.ts[asked[0]] >= GIVEN_UP_NS and (seg.orig[last] or not closed):
                found.append(Silence(k, "MQTT, PUBACK", seg.ts[last] - seg.ts[asked[0]], closed, [seg.frame[i] for i in asked]))
    return found


def _is_to_be_taken(seg: Segments, i: int) -> bool:
    """Whether a segment holds a PUBLISH of QoS 1 and nothing else (3.1.1 2.2, 3.3.1)."""
    text, left, shift, at = seg.text(i), 0, 0, 1
    if text[0] & 0xF6 != 0x32:
        return False
    while at <= 4:
        left, shift, at = left | (text[at] & 0x7F) << shift, shift + 7, at + 1
        if text[at - 1] < 0x80:
            break
    return at + left == seg.length[i]


def _data_of_ftp(view: View) -> set[int]:
    """Sessions that a client or server of FTP opened, at whatever port, right after the other end had named it."""
    told = view.sessions_where(lambda head: np.isin(head >> np.uint64(32), _NAMED + _NAMING))
    opened: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for start_ns, k in sorted(zip(view.column("start_ns"), range(view.sessions.rows), strict=True)) if told else ():
        client, _, server, _ = view.ends(k)
        opened.setdefault((client, server), []).append((start_ns, k))
    data: set[int] = set()
    for k in told:
        client, _, server, _ = view.ends(k)
        seg = view.segments(k)
        for i in range(len(seg)):
            if seg.head[i] >> 32 in (_NAMING if seg.orig[i] else _NAMED):
                later = opened.get((server, client) if seg.orig[i] else (client, server), [])
                at = bisect.bisect_left(later, (seg.ts[i], 0))
                data |= {of for ns, of in later[at : at + 1] if ns < seg.ts[i] + OPENED_NS}
    return data


def _long(view: View, found: list[Silence]) -> list[Silence]:
    """Those that lasted long, or were ended by a timer: a client gave them up after the same time."""
    timed: set[int] = set()
    for group in grouped((each for each in found if each.given_up), lambda each: view.service(each.session)).values():
        for one, next_ in pairwise(sorted(group, key=lambda each: each.wait_ns)):
            if next_.wait_ns - one.wait_ns <= max(ALIKE * one.wait_ns, ALIKE_NS):
                timed |= {id(one), id(next_)}
    return [each for each in found if not each.given_up or each.certain or each.wait_ns >= GIVEN_UP_NS or id(each) in timed]


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
    said_ns, closed_ns = view.column("resp_first_payload_ns"), view.column("orig_fin_ns")
    # a greeting for a client that has closed is none
    spoke = {k for k, ns in enumerate(said_ns) if ns is not None and not (closed_ns[k] is not None and closed_ns[k] < ns)}
    for k in filter((set(np.flatnonzero(among).tolist()) - spoke).__contains__, view.in_one):
        seg = view.segments(k)
        answered = next((i for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & SYN), len(seg))
        opened = next((i for i in range(answered, len(seg)) if seg.orig[i] and not seg.flags[i] & SYN), len(seg))
        end = next((i for i in range(opened, len(seg)) if seg.flags[i] & (FIN | RST)), None)
        heard = any(not seg.orig[i] and not seg.flags[i] & (SYN | RST) for i in range(opened, len(seg)))
        paused = end is not None and seg.orig[end] and heard and LEAST_NS <= seg.ts[end] - seg.ts[opened] < SEAM_NS
        if end is not None and paused and _speaks(NAMES[view.ends(k)[3]], seg):
            frames = [seg.frame[i] for i in (answered, end)]
            left[k] = Silence(k, NAMES[view.ends(k)[3]], seg.ts[end] - seg.ts[opened], True, frames)
    greeted = {view.service(k) for k in spoke} if left else set()
    return [
        left[k]
        for service, group in grouped(left, view.service).items()
        if service not in greeted and not view.once(scanning).intersection(group)
        for k in group
        if len(group) >= UNGREETED or left[k].wait_ns >= UNGREETED_NS
    ]


def _last(view: View, k: int, protocol: str, each: bool) -> Silence | None:
    """each : whether all messages of the protocol are answered."""
    seg = view.segments(k)
    end = next((i for i in range(len(seg)) if seg.flags[i] & (FIN | RST)), len(seg))
    said = max((i for i in range(end) if seg.fresh[i] and not seg.orig[i]), default=-1)
    owed = [i for i in range(said + 1, end) if seg.fresh[i] and seg.orig[i]]
    if not owed or any(seg.fresh[i] and seg.orig[i] for i in range(end, len(seg))):
        return None
    if said < 0 and view.sessions["saw_syn"][k] and not _speaks(protocol, seg):
        return None
    always = _ANSWERED.get(protocol)
    if said >= 0 and protocol in _ANY and always:
        owed = [i for i in owed if always.match(seg.text(i))]
        if not owed:
            return None
    behind = [i for i in owed if needs_none(protocol, seg, i)]  # a farewell, say
    while owed and owed[-1] in behind:
        owed.pop()
    if not owed:
        return None
    asked = owed[-1]
    for i in reversed(owed[:-1]):
        if seg.ts[asked] - seg.ts[i] < AGAIN_NS or (said >= 0 and seg.text(said).startswith(_MORE)):
            break
        asked = i
    if said < 0 and not each:
        each = bool(view.sessions["saw_syn"][k])
    if not each and not (always and all(always.match(seg.text(i)) for i in (owed[0], asked))):
        return None
    if any(i in behind or _may_wait(protocol, seg, i) for i in (owed[0], asked, owed[-1])) or (
        protocol == "SOCKS" and not _is_greeting_of_socks(seg)
    ):
        return None
    if all(seg.orig[asked + 1 :]) or (end < len(seg) and not seg.orig[end]):
        return None  # not acknowledged, or the server's no
    ended = end < len(seg)
    until = next((seg.ts[i] for i in behind if seg.ts[i] - seg.ts[asked] >= AGAIN_NS), seg.ts[end] if ended else view.end_of(seg.frame[-1]))
    wait = until - seg.ts[asked]
    sent = [i for i in range(end) if seg.orig[i] and seg.fresh[i]]
    if ended and len(sent) >= MANY and protocol in EACH.values() and said < 0:
        return Silence(k, protocol, until - seg.ts[sent[0]], True, [seg.frame[i] for i in (sent[0], asked, end)], True)
    paused = said < 0 and view.ends(k)[3] in GREETS  # on purpose, before the greeting
    if not (PENDING_NS if not ended else GIVEN_UP_NS if paused else LEAST_NS) <= wait < SEAM_NS:
        return None
    answered = next((i for i in range(end, len(seg)) if seg.fresh[i] and not seg.orig[i]), len(seg))
    late = answered < len(seg) and seg.ts[answered] - seg.ts[asked] >= GIVEN_UP_NS
    late &= any(seg.orig[i] and seg.flags[i] & RST for i in range(answered, len(seg)))
    if protocol == "PostgreSQL" and not late and all(map(partial(_is_open, seg), owed)) and (behind or len(owed) > 1):
        return None  # a pipeline that its client left, or goes on to fill
    doubtful = said >= 0 and _may_owe_nothing(protocol, seg, said, owed[-1], late)
    return Silence(k, protocol, wait, ended, [seg.frame[i] for i in ((asked, end) if ended else (asked,))], late, doubtful)


def _speaks(protocol: str, seg: Segments) -> bool:
    """Whether the client begins as the protocol does, if it says anything."""
    first = next((seg.text(i) for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]), None)
    return first is None or protocol not in _BEGINS or first.startswith(_PROXY) or bool(_BEGINS[protocol].match(first))


def _is_open(seg: Segments, i: int) -> bool:
    """Whether PostgreSQL may not answer a segment yet: it may hold no Sync behind Parse, Bind, Describe, Execute or Close (its documentation, 54.2.3)."""
    head = seg.text(i)
    return head.startswith(_OPEN) and int.from_bytes(head[1:5], "big") + 1 + _SYNC != seg.length[i]


def _may_wait(protocol: str, seg: Segments, asked: int) -> bool:
    """Whether a command may wait for something, or want no answer, as far as its beginning tells."""
    head = seg.text(asked)
    if protocol == "Redis":
        return not _AT_ONCE.match(head) or (head == MAY_BE_WAIT and seg.length[asked] <= WAIT)
    if protocol == "SMB":  # of SMB1, behind an answer: it may wait for a change in a folder (MS-CIFS 2.2.7.4)
        return head[4:] == SMB1 and any(seg.fresh[i] and not seg.orig[i] and seg.text(i)[4:] == SMB1 for i in range(asked))
    return protocol == "memcached" and head.startswith(_META)


def _may_owe_nothing(protocol: str, seg: Segments, said: int, asked: int, late: bool) -> bool:
    """Whether a message may not have ended, unless it was answered ``late``, or is a search of LDAP with controls, which may last (persistent search,
    notification of changes)."""
    head = seg.text(asked)
    if protocol == "LDAP":
        return _may_have_controls(head)
    more = not late and seg.text(said).startswith(_MORE) and not seg.text(said).startswith(b"334")
    return protocol in ("SMTP", "NNTP", "IMAP") and more and not head[: seg.length[asked]].endswith(_ENDS_A_MESSAGE)


def _may_have_controls(head: bytes) -> bool:
    """Whether a message of LDAP is, or may be, a search that is shorter than its envelope (RFC 4511 4.1.1); longer lengths are not seen."""
    at = 2 + (head[1] & 0x7F if head[1] & 0x80 else 0)  # of the message's id
    op = at + 2 + head[at + 1] if at + 1 < len(head) else len(head)
    if op < len(head) and head[op] != SEARCH:
        return False
    if op + 1 >= len(head) or head[op + 1] & 0x80:
        return True
    envelope = int.from_bytes(head[2:at], "big") if at > 2 else head[1]
    return envelope != op + 2 + head[op + 1] - at


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
    if protocol == "DNP3":  # a confirmation, or what is sent to all (IEEE 1815 4.2.2.4, 9.2.5.2)
        return head[2] <= _CONFIRMS or head[5] == 0xFF
    if protocol == "SMB":
        return head[:1] == b"\x85"  # a keep-alive (RFC 1002 4.3.5)
    # unbind and abandon (RFC 4511 4.3, 4.11), behind a message id of 1 to 3 bytes; Windows writes lengths of four bytes
    if protocol == "LDAP":
        short = head[1:5] == b"\x84\0\0\0" and head[5] <= _SHORTEST
        return head[:1] == b"\x30" and (short or any(op in head[5:8] for op in (0x42, 0x50)))
    return False
