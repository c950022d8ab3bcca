"""How connections of QUIC begin: when a client sent its Initials, when the server said more than that it had got them, and whether the client then went on
behind the handshake; and which versions a server named that did not have the client's.

What acknowledges alone may be small; a datagram with an Initial that says more fills :data:`FULL` bytes, the client's as the server's (RFC 9000 14.1).

Limits: of the first :data:`MAX_MESSAGES` such datagrams, of versions 1 and 2 (RFC 9369 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text
from netlens.wire.datagrams import QUIC_2

MAX_MESSAGES = 100_000
FOLLOWED = 64  #: datagrams of two ports behind the first, in which a client may say that the handshake is over
MAX_NEGOTIATION, MAX_ID = 512, 20  #: bytes of such an answer, and of a connection's id in version 1 (RFC 9000 17.2)
INITIAL, HANDSHAKE, RETRY, BEHIND = 0, 2, 3, 4  #: kinds of packets; the last are all that come behind a handshake, and what cannot be read
_BOTH_PORTS = 0xFFFFFFFF
FULL = 1200  #: bytes
AGAIN_NS = 100_000_000  #: what comes sooner belongs to the Initial before; of DTLS, it is a copy, or bears the cookie
ATTEMPT_NS = 60 * 10**9  #: after this, it is another connection from the same port
_VERSION_1_INITIAL, _VERSION_2_INITIAL = 0xC0, 0xD0  # the upper four bits of the first byte
_VERSION_1_HANDSHAKE, _VERSION_2_HANDSHAKE = 0xE0, 0xF0


@dataclass
class Opening:
    """One attempt, of QUIC or DTLS.

    frames, last_ns : of the client's Initials or hellos before the answer, at least :data:`AGAIN_NS` apart.  answer_ns : 0 without one.
    Of QUIC, behind the answer: established : the client sent what comes behind the handshake, or what cannot be read.  left_ns, left_frame : of its last
    datagram of the handshake until then; 0 without.  told_ns : of the server's last full datagram of the handshake.  id : of the client's end, if it has one.
    """

    client: tuple[str, int]
    server: tuple[str, int]
    frames: list[int]
    first_ns: int
    last_ns: int
    answer_ns: int = 0
    answer_frame: int = 0
    established: bool = False
    left_ns: int = 0
    left_frame: int = 0
    told_ns: int = 0
    id: bytes = b""

    @classmethod
    def of(cls, row: list[int]) -> Opening:
        """One that begins with a datagram."""
        client, server = ((ip_text(*end[:2], row[c.PORTS] >> 32), end[2]) for end in ends(row))
        return cls(client, server, [row[c.FRAME]], row[c.TS], row[c.TS])

    def again(self, row: list[int]) -> None:
        """The client says the same again."""
        if not self.answer_ns and row[c.TS] - self.last_ns >= AGAIN_NS:
            self.frames.append(row[c.FRAME])
            self.last_ns = row[c.TS]

    def answered(self, row: list[int]) -> None:
        """The server says more than that it got it."""
        self.told_ns = row[c.TS]
        if not self.answer_ns:
            self.answer_ns, self.answer_frame = row[c.TS], row[c.FRAME]


class Negotiated(NamedTuple):
    """A server's answer that it does not have the client's version.  id : the connection's, as the client chose it.  versions : those it has."""

    client: tuple[str, int]
    server: tuple[str, int]
    frame: int
    id: bytes
    versions: tuple[int, ...]


def ends(row: list[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Where a datagram comes from, and where it goes: both halves of the address, and the port."""
    ports = row[c.PORTS]
    return (row[c.SRC_HI], row[c.SRC_LO], ports >> 16 & 0xFFFF), (row[c.DST_HI], row[c.DST_LO], ports & 0xFFFF)


class OpeningBuilder:
    """Fed with decoded datagrams.  openings, negotiated : in the order of their first datagrams."""

    def __init__(self) -> None:
        self.openings: list[Opening] = []
        self.negotiated: list[Negotiated] = []
        self._young: dict[tuple[int, ...], list[Opening]] = {}  # answered, of which the last is not established
        self._read = 0
        self._known: dict[tuple[int, ...], Opening] = {}

    @property
    def whole(self) -> bool:
        """Whether all datagrams of handshakes were read."""
        return self._read < MAX_MESSAGES

    def feed(self, buf: Array, packets: Array) -> None:
        full = np.flatnonzero((packets[:, c.LENGTH] >= FULL) & (packets[:, c.PAY_CAP] >= 5))
        full = full[buf[packets[full, c.PAY_OFF]] >= _VERSION_1_INITIAL]
        at = packets[full, c.PAY_OFF]
        kind, version = buf[at] & 0xF0, np.zeros(len(full), np.int64)
        for k in range(1, 5):
            version = version << 8 | buf[at + k]
        initial = ((version == 1) & (kind == _VERSION_1_INITIAL)) | ((version == QUIC_2) & (kind == _VERSION_2_INITIAL))
        handshake = ((version == 1) & (kind == _VERSION_1_HANDSHAKE)) | ((version == QUIC_2) & (kind == _VERSION_2_HANDSHAKE))
        chosen = np.flatnonzero(initial | handshake)[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row, begins in zip(packets[full[chosen]].tolist(), initial[chosen].tolist(), strict=True):
            self._take(row, begins, _id_of_sender(buf, row) if begins else b"")
        self._follow(buf, packets)
        self._negotiated(buf, packets)

    def _follow(self, buf: Array, packets: Array) -> None:
        """What clients say behind the answer."""
        if not self._young:
            return
        ports = packets[:, c.PORTS] & _BOTH_PORTS
        at = np.flatnonzero(np.isin(ports, [ends[2] << 16 | ends[5] for ends in self._young]))
        at = at[np.argsort(ports[at], kind="stable")]
        begins = np.searchsorted(ports[at], ports[at])
        for row in packets[np.sort(at[np.arange(len(at)) - begins < FOLLOWED])].tolist():
            sender, receiver = ends(row)
            own = next((o for o in reversed(self._young.get((*sender, *receiver), ())) if o.answer_frame < row[c.FRAME]), None)
            if own is None or own.established:
                continue
            said = _packets_in(buf[row[c.PAY_OFF] : row[c.PAY_OFF] + row[c.PAY_CAP]].tobytes(), row[c.LENGTH])
            if BEHIND in said:
                own.established = True
                if own is self._young[*sender, *receiver][-1]:
                    del self._young[*sender, *receiver]
            elif HANDSHAKE in said:
                own.left_ns, own.left_frame = row[c.TS], row[c.FRAME]

    def _negotiated(self, buf: Array, packets: Array) -> None:
        """Version Negotiation (RFC 9000 17.2.1): both ids, and what is there instead."""
        short = np.flatnonzero(
            (packets[:, c.LENGTH] <= MAX_NEGOTIATION) & (packets[:, c.PAY_CAP] == packets[:, c.LENGTH]) & (packets[:, c.LENGTH] > 10)
        )
        at = packets[short, c.PAY_OFF]
        none = buf[at] >= 0x80
        for k in range(1, 5):
            none &= buf[at + k] == 0
        for row in packets[short[none]][: MAX_MESSAGES - len(self.negotiated)].tolist():
            text = buf[row[c.PAY_OFF] : row[c.PAY_OFF] + row[c.PAY_CAP]].tobytes()
            of_client = 6 + text[5]
            first = text[of_client : of_client + 1]
            end = of_client + 1 + (first[0] if first else 0)
            rest = text[end:]
            if rest and len(rest) % 4 == 0 and max(text[5], first[0]) <= MAX_ID:
                server, client = ((ip_text(*each[:2], row[c.PORTS] >> 32), each[2]) for each in ends(row))
                versions = tuple(int.from_bytes(rest[k : k + 4], "big") for k in range(0, len(rest), 4))
                self.negotiated.append(Negotiated(client, server, row[c.FRAME], text[of_client + 1 : end], versions))

    def _take(self, row: list[int], begins: bool, name: bytes) -> None:
        sender, receiver = ends(row)
        asked = self._known.get((*receiver, *sender))
        if asked is not None:
            if not asked.answer_ns:
                self._young.setdefault((*receiver, *sender), []).append(asked)
            asked.answered(row)
            return
        if not begins or sender[-1] < receiver[-1]:
            return  # behind the first flight, or a server, of a connection that is older than the capture
        own = self._known.get((*sender, *receiver))
        another = (
            own is not None and own.answer_ns and begins and own.id and name not in (b"", own.id)
        )  # of a client with one port for several
        if own is None or row[c.TS] - own.last_ns > ATTEMPT_NS or another:
            self._known[*sender, *receiver] = own = Opening.of(row)
            own.id = name
            self.openings.append(own)
        else:
            own.again(row)


def _id_of_sender(buf: Array, row: list[int]) -> bytes:
    """The id of its end that the sender of a datagram with a long header chose; empty where it has none, or where it was not captured."""
    text = buf[row[c.PAY_OFF] : row[c.PAY_OFF] + row[c.PAY_CAP]][:48].tobytes()
    at = 6 + text[5] if len(text) > 5 else len(text)
    return text[at + 1 : at + 1 + text[at]] if at < len(text) else b""


def _packets_in(data: bytes, length: int) -> set[int]:
    """Kinds of the packets that share a datagram (RFC 9000 12.2) of ``length`` bytes."""
    found: set[int] = set()
    p = 0
    try:
        while p < length:
            if data[p] < 0x80:
                return found | {BEHIND} if data[p] & 0x40 or any(data[p:]) or len(data) < length else found  # zeros fill up
            version, kind = int.from_bytes(data[p + 1 : p + 5], "big"), data[p] >> 4 & 3
            if version not in (1, QUIC_2):
                return found | {BEHIND}
            kind = kind if version == 1 else (kind - 1) % 4
            p += 6 + data[p + 5]
            p += 1 + data[p]
            if kind == RETRY:
                break
            if kind == INITIAL:
                token, p = _number(data, p)
                p += token
            rest, p = _number(data, p)
            p += rest
            found.add(kind if p <= length else BEHIND)
    except IndexError:
        found.add(BEHIND)
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length (RFC 9000 16), and where it ends."""
    end = at + (1 << (data[at] >> 6))
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[at:end], "big") & (1 << (8 * (end - at) - 2)) - 1, end
