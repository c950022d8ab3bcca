"""Captures of conversations over relays, packet by packet: cooked as ``tcpdump -i any`` writes them, with real ClientHellos and turns."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.parsers.test_pipeline import ACK, FIN, PSH, RST, SYN, client_hello, segment

SERVER = "198.51.100.10"
EGRESS = "203.0.113.7"
HERE, IN, OTHER_HOST, OUT = 772, 0, 3, 4  #: ARPHRD_LOOPBACK; packet types of SLL2
T0 = 1_700_000_000
ANSWER = b"\x17\x03\x03\x01\x90" + bytes(400)


def request(size: int) -> bytes:
    """A TLS record of application data."""
    return b"\x17\x03\x03" + struct.pack(">H", size) + bytes(size)


@dataclass
class Talk:
    """One connection: handshake, perhaps a negotiation with a relay, a hello and its answer, requests of these sizes, and FINs or a reset."""

    client: tuple[str, int]
    server: tuple[str, int]
    start: float
    hello: bytes
    isn: int
    sizes: tuple[int, ...] = (500, 700, 900)
    every: float = 1.0
    negotiation: tuple[bytes, bytes] = (b"", b"")
    begins: float = 0.0  # what is earlier is not captured
    reset: bool = False  # the client ends with an RST
    one_way: bool = False  # what the server sends is not captured
    shorter: float = 0.0  # by how much its answers come earlier
    # the last request has no answer: the "client" leaves it, also behind "tickets", or the "server" closes, or says farewell ("alert"), or "resets"
    unanswered: str = ""

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        """(time, from the client, flags, payload)"""
        t = self.start
        yield t, True, SYN, b""
        yield t + 0.001, False, SYN | ACK, b""
        yield t + 0.002, True, ACK, b""
        if self.negotiation[0]:
            yield t + 0.003, True, PSH | ACK, self.negotiation[0]
            yield t + 0.006, False, PSH | ACK, self.negotiation[1]
        yield t + 0.010, True, PSH | ACK, self.hello
        yield t + 0.012, False, PSH | ACK, b"\x16\x03\x03\x03\xe8" + bytes(1000)
        for k, size in enumerate(self.sizes):
            at = t + 0.1 + k * self.every
            yield at, True, PSH | ACK, request(size)
            if self.unanswered and k == len(self.sizes) - 1:
                yield from self._ends_without(at + 0.2)
                return
            yield at + 0.3 - self.shorter, False, PSH | ACK, ANSWER
        if self.reset:
            yield t + 0.1 + len(self.sizes) * self.every, True, RST | ACK, b""
            return
        yield t + 0.1 + len(self.sizes) * self.every, True, FIN | ACK, b""
        yield t + 0.102 + len(self.sizes) * self.every, False, FIN | ACK, b""

    def _ends_without(self, at: float) -> Iterator[tuple[float, bool, int, bytes]]:
        if self.unanswered == "resets":
            yield at, False, RST | ACK, b""
            return
        if self.unanswered == "tickets":  # which the server sends of itself behind the handshake; then the client gives up
            yield at - 0.1997, False, PSH | ACK, 2 * request(218)
            at += 2
        if self.unanswered == "alert":
            yield at - 0.001, False, PSH | ACK, b"\x17\x03\x03\x00\x13" + bytes(19)
        first = self.unanswered != "server"
        yield at, first, FIN | ACK, b""
        yield at + 0.001, not first, FIN | ACK, b""

    def packets(self) -> Iterator[tuple[float, bool, bytes]]:
        """(time, from the client, IP packet)"""
        seq, ack = self.isn, self.isn ^ 0x5A5A5A5A
        for t, up, flags, data in self.turns():
            ends, mine, theirs = (self.client, self.server), seq, ack
            if not up:
                ends, mine, theirs = (self.server, self.client), ack, seq
            if t >= self.begins and (up or not self.one_way):
                yield t, up, segment(*ends[0], *ends[1], flags, mine, 0 if flags == SYN else theirs, data)
            step = len(data) + (1 if flags & (SYN | FIN) else 0)
            seq, ack = (seq + step, ack) if up else (seq, ack + step)


@dataclass
class Machine:
    """A capture of one machine: which packets passed which interfaces, one after the other."""

    frames: list[tuple[float, int, int, int, bytes]] = field(default_factory=list)

    def see(self, talk: Talk, *interfaces: tuple[int, bool], late: float = 0.0, kind: int = 1, to_others: bool = False) -> Machine:
        """``interfaces``: index, and whether what the client sends comes in there.  to_others : what comes in is addressed to another machine."""
        came = OTHER_HOST if to_others else IN
        for t, up, packet in talk.packets():
            for k, (index, comes_in) in enumerate(interfaces if up else interfaces[::-1]):
                self.frames.append((t + late + k * 2e-6, index, came if comes_in == up else OUT, kind, packet))
        return self

    def write(self, path: Path, interface: int | None = None) -> None:
        """All interfaces, as ``-i any`` gives them; or one, as Ethernet."""
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 276 if interface is None else 1)]
        for t, index, direction, kind, packet in sorted(self.frames, key=lambda frame: frame[0]):
            header = (
                struct.pack(">HHIHBB8s", 0x800, 0, index, kind, direction, 6, bytes(8)) if interface is None else bytes(12) + b"\x08\x00"
            )
            if interface in (None, index):
                us = round((T0 + t) * 1e6)
                size = len(header) + len(packet)
                out.append(struct.pack("<IIII", us // 10**6, us % 10**6, size, size) + header + packet)
        path.write_bytes(b"".join(out))


def hellos(count: int, name: str | None = "api.example.test") -> Iterable[bytes]:
    return (client_hello(name) for _ in range(count))
