"""Captures made by hand: raw IP packets with chosen sequence numbers, times and interfaces, as packet rows or as pcap files.

scapy would do, but a property test makes tens of thousands of packets, and a few lines of struct are a hundred times quicker.
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from netlens.parsers.sessions import SessionFold
from netlens.wire import columns as c
from netlens.wire.decode import FRAGMENT_WIDTH, N_REASONS, decode
from tests.wire.links import RAW, SLL2

T0 = 1_700_000_000_000_000_000
US, MS, S = 1_000, 1_000_000, 1_000_000_000
LETTERS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
INCOMING, OUTGOING = 0, 4  # packet types of SLL2
Array = np.ndarray[Any, Any]
End = tuple[str, int]  # address and port


@dataclass(frozen=True)
class Packet:
    """One IP packet: when (ns after :data:`T0`), what, and where it was seen.  cut : bytes behind that, which the snaplen left out."""

    at: int
    data: bytes
    iface: int = 1
    kind: int = INCOMING
    cut: int = 0


def segment(src: End, dst: End, flags: str, seq: int, ack: int = 0, data: bytes = b"", window: int = 1000) -> bytes:
    """A TCP segment in IPv4 or IPv6; sequence numbers are taken modulo 2^32."""
    bits = sum(LETTERS[x] for x in flags)
    tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], seq % 2**32, ack % 2**32, 5 << 4, bits, window, 0, 0) + data
    return _ip(src[0], dst[0], 6, tcp)


def datagram(src: End, dst: End, data: bytes) -> bytes:
    return _ip(src[0], dst[0], 17, struct.pack(">HHHH", src[1], dst[1], 8 + len(data), 0) + data)


def unreachable(port: int) -> Packet:
    """An ICMP error that quotes a SYN of which nothing else was captured; tshark numbers it as a stream."""
    quoted = segment(("10.9.9.9", port), ("198.51.100.9", 443), "S", 1)
    return Packet(0, _ip("10.9.9.1", "10.9.9.9", 1, b"\x03\x01" + bytes(6) + quoted))


@lru_cache(1 << 14)
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _ip(src: str, dst: str, protocol: int, payload: bytes) -> bytes:
    a, b = _packed(src), _packed(dst)
    if len(a) == 16:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + a + b + payload
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + a + b + payload


class Talk:
    """A conversation whose sequence and acknowledgment numbers keep themselves.

    ``up`` is a segment of the client, ``down`` one of the server; both advance the clock by ``step``, note the packet in ``packets`` and return
    it. ``at`` may be moved by hand.
    """

    def __init__(
        self, client: End, server: End, isn: int = 0x1234_5678, answer: int = 0x89AB_CDEF, at: int = 0, step: int = MS, iface: int = 1
    ):
        self.client, self.server = client, server
        self.seq, self.back = isn, answer
        self.at, self.step, self.iface = at, step, iface
        self.packets: list[Packet] = []

    def up(self, flags: str = "A", data: bytes | int = b"", seq: int | None = None, ack: int | None = None, window: int = 1000) -> Packet:
        """``data`` is payload or its length; ``seq`` and ``ack`` replace the numbers that are due (and then nothing advances)."""
        data = bytes(data)
        packet = self._add(
            segment(
                self.client,
                self.server,
                flags,
                self.seq if seq is None else seq,
                (self.back if "A" in flags else 0) if ack is None else ack,
                data,
                window,
            )
        )
        if seq is None:
            self.seq += len(data) * ("R" not in flags) + ("S" in flags) + ("F" in flags)
        return packet

    def down(self, flags: str = "A", data: bytes | int = b"", seq: int | None = None, ack: int | None = None, window: int = 1000) -> Packet:
        data = bytes(data)
        packet = self._add(
            segment(
                self.server,
                self.client,
                flags,
                self.back if seq is None else seq,
                (self.seq if "A" in flags else 0) if ack is None else ack,
                data,
                window,
            )
        )
        if seq is None:
            self.back += len(data) * ("R" not in flags) + ("S" in flags) + ("F" in flags)
        return packet

    def _add(self, data: bytes) -> Packet:
        packet = Packet(self.at, data, self.iface)
        self.packets.append(packet)
        self.at += self.step
        return packet

    def open(self) -> Talk:
        """The three-way handshake."""
        self.up("S")
        self.down("SA")
        self.up("A")
        return self

    def close(self) -> Talk:
        """Both FINs and the last acknowledgment; the client closes first."""
        self.up("FA")
        self.down("FA")
        self.up("A")
        return self

    def again(self, packet: Packet | int = -1, iface: int | None = None) -> Packet:
        """The same packet once more, now (perhaps on another interface)."""
        old = self.packets[packet] if isinstance(packet, int) else packet
        packet = replace(old, at=self.at, iface=old.iface if iface is None else iface)
        self.packets.append(packet)
        self.at += self.step
        return packet

    def wait(self, ns: int) -> Talk:
        self.at += ns
        return self


def rewritten(packets: Iterable[Packet], change: dict[End, End], later: int = 20 * US, iface: int = 2) -> list[Packet]:
    """The packets as they leave a translator: ends renamed by ``change``, ``later`` ns after, on another interface."""
    return [Packet(p.at + later, _renamed(p.data, change), iface, OUTGOING) for p in packets]


def _renamed(data: bytes, change: dict[End, End]) -> bytes:
    v6 = data[0] >> 4 == 6
    first, size, header = (8, 16, 40) if v6 else (12, 4, 20)
    ends = []
    for i in range(2):
        address = str(ipaddress.ip_address(data[first + i * size : first + (i + 1) * size]))
        port = int.from_bytes(data[header + 2 * i : header + 2 * i + 2], "big")
        ends.append(change.get((address, port), (address, port)))
    packed = b"".join(ipaddress.ip_address(e[0]).packed for e in ends)
    ports = b"".join(struct.pack(">H", e[1]) for e in ends)
    return data[:first] + packed + data[first + 2 * size : header] + ports + data[header + 4 :]


def mixed(*streams: Iterable[Packet]) -> list[Packet]:
    """All packets in order of time; those of one time in the order given."""
    return sorted(itertools.chain(*streams), key=lambda p: p.at)


# -- as rows --


def rows(packets: Sequence[Packet], first_frame: int = 1) -> tuple[Array, Array]:
    """(buffer, packet rows) of the packets, through the real decoder, as if captured with ``-i any``."""
    blob = bytearray()
    frames = np.zeros((max(len(packets), 1), 5), np.int64)
    for i, p in enumerate(packets):
        data = _sll2(p)
        frames[i] = (len(blob), len(data), len(data), T0 + p.at, 0)
        blob += data
    buf = np.frombuffer(blob or bytearray(1), np.uint8)  # writable, as the reader's: a read-only one would compile every kernel once more
    out = np.zeros((max(len(packets), 1), c.WIDTH), np.int64)
    fragments = np.zeros((max(len(packets), 1), FRAGMENT_WIDTH), np.int64)
    quality = np.zeros((N_REASONS, 2), np.int64)
    m, _ = decode(buf, frames, len(packets), np.array([SLL2]), first_frame - 1, out, fragments, quality)
    return buf, out[:m]


def fold(packets: Sequence[Packet], deferred: bool = False, first_frame: int = 1, seed: int | None = None) -> SessionFold:
    """The session state after these packets."""
    state = SessionFold(deferred, seed)
    _, matrix = rows(packets, first_frame)
    state.feed(matrix)
    return state


def sessions(packets: Sequence[Packet]) -> list[dict[str, Any]]:
    """Rows of the session table."""
    return list(fold(packets).rows().records())


def one(packets: Sequence[Packet]) -> dict[str, Any]:
    """The row of the only session."""
    found = sessions(packets)
    assert len(found) == 1, [(r["first_frame"], r["last_frame"]) for r in found]
    return found[0]


# -- as files --


def _sll2(p: Packet) -> bytes:
    ether = 0x86DD if p.data[0] >> 4 == 6 else 0x0800
    return struct.pack(">HHIHBB8s", ether, 0, p.iface, 1, p.kind, 6, b"\2\0\0\0\0\1") + p.data


def pcap(packets: Iterable[Packet], link: int = SLL2) -> bytes:
    """A pcap with nanoseconds; SLL2 keeps the interface, RAW does not. Times may step back but not before 1970."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link)]
    for p in packets:
        data = _sll2(p) if link == SLL2 else p.data
        out.append(struct.pack("<IIII", (T0 + p.at) // S, (T0 + p.at) % S, len(data), len(data) + p.cut) + data)
    return b"".join(out)


def write(path: Path, packets: Iterable[Packet], link: int = SLL2) -> Path:
    path.write_bytes(pcap(packets, link))
    return path


def tshark_streams(tshark: str, packets: Sequence[Packet], folder: Path) -> list[int]:
    """What tshark numbers each packet's ``tcp.stream``.

    Raw IP: of cooked captures it would tell conversations apart by nothing more, and the file is smaller.
    """
    path = write(folder / "second-opinion.pcap", packets, RAW)
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-e", "tcp.stream"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(x) for x in done.stdout.split()]


def same_split(tshark: str, packets: Sequence[Packet], folder: Path) -> None:
    """Assert that each packet belongs to the session that tshark says; sessions are numbered alike."""
    state = SessionFold()
    _, matrix = rows(packets)
    state.feed(matrix)
    ours = matrix[:, c.SESSION].tolist()
    assert ours == tshark_streams(tshark, packets, folder)
    # and what the table says of them follows from it
    table = state.rows()
    for k, row in enumerate(table.records()):
        frames = [i + 1 for i, n in enumerate(ours) if n == k]
        assert (row["first_frame"], row["last_frame"]) == (frames[0], frames[-1])
        assert row["orig_frames"] + row["resp_frames"] == len(frames)
        directions = Counter(matrix[[f - 1 for f in frames], c.DIRECTION].tolist())
        assert {row["orig_frames"], row["resp_frames"]} == {directions[0], directions[1]}


# -- what is negotiated before the protocol proper --

ESTABLISHED = b"HTTP/1.0 200 Connection established\r\n\r\n"
ASK = b"CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n"
NAME = b"\x03\x10api.example.test\x01\xbb"
V5_GRANTED = b"\x05\x00\x00\x01" + bytes(6)
Turns = list[tuple[str, bytes]]

NEGOTIATED: dict[str, Turns] = {
    "CONNECT": [("up", ASK), ("down", ESTABLISHED)],
    "CONNECT in two segments": [("up", ASK[:50]), ("up", ASK[50:]), ("down", ESTABLISHED)],
    "CONNECT asked for a password": [
        ("up", ASK),
        ("down", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
        ("down", b"<html>"),
        ("up", ASK),
        ("down", ESTABLISHED),
    ],
    "SOCKS4": [("up", b"\x04\x01\x01\xbb\xcb\x00\x71\x0aname\x00"), ("down", b"\x00\x5a" + bytes(6))],
    "SOCKS4a": [("up", b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00api.example.test\x00"), ("down", b"\x00\x5a" + bytes(6))],
    "SOCKS5": [("up", b"\x05\x01\x00"), ("down", b"\x05\x00"), ("up", b"\x05\x01\x00" + NAME), ("down", V5_GRANTED)],
    "SOCKS5, an IPv6 address": [
        ("up", b"\x05\x03\x00\x01\x02"),
        ("down", b"\x05\x00"),
        ("up", b"\x05\x01\x00\x04" + bytes(18)),
        ("down", b"\x05\x00\x00\x04" + bytes(18)),
    ],
    "SOCKS5 with a password": [
        ("up", b"\x05\x02\x00\x02"),
        ("down", b"\x05\x02"),
        ("up", b"\x01\x04user\x06secret"),
        ("down", b"\x01\x00"),
        ("up", b"\x05\x01\x00" + NAME),
        ("down", b"\x05\x00\x00\x03\x05proxy\x12\x34"),
    ],
    "SOCKS5 without waiting": [("up", b"\x05\x01\x00\x05\x01\x00" + NAME), ("down", b"\x05\x00" + V5_GRANTED)],
    "PROXY": [("up", b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 443\r\n")],
    "PROXY, version 2": [("up", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12))],
}
