"""A pair of captures of one situation, as large as wanted: ``python -m tests.bench.two_sides FOLDER [--connections N] [--path sshuttle|nat]``.

The VM's programs and the host's own call one API that refuses by the number of requests in flight from the egress address. The VM goes through
sshuttle (redirect halves and lookups on its side, sessions of the host's own on the other, the SSH connection on both) or through NAT (every
packet three times). ``FOLDER`` becomes a recording without a manifest: ``vm.pcap``, ``host.pcap``, ``vm-errors.log``, ``host-errors.log``;
``truth.json`` beside them
says what is in it ("alone": refusals while the side itself held the limit). The same parameters give the same bytes. 15 connections make about
1,000 packets a side.

The VM's clock is ahead by :data:`OFFSET_NS` and gains :data:`DRIFT_PPM`.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.frames import LINUX_SLL2, POOL_BYTES, SYN, TCP, UDP, Frames, Overlay, write

EPOCH_NS = 1_769_358_813_000_000_000
US, MS, S = 1_000, 1_000_000, 1_000_000_000
OFFSET_NS, DRIFT_PPM = 1_234_567_000, 20.0
NAMES = (b"api.z.ai", b"cdn.aa.b")  #: the API, and something else; of one length, so that hellos are
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_COLUMNS = ("time_ns", "kind", "src", "dst", "sport", "dport", "length", "seq", "ack", "flags", "tsval", "tsecr", "source")
SEGMENT = 1448
Address = tuple[int, int]


def ip(text: str) -> int:
    a, b, c, d = (int(x) for x in text.split("."))
    return a << 24 | b << 16 | c << 8 | d


VM, BRIDGE, HOST, LOCAL, RESOLVER = ip("192.168.64.2"), ip("192.168.64.1"), ip("203.0.113.1"), ip("127.0.0.1"), ip("203.0.113.53")
SERVERS = ((ip("203.0.113.10"), 443), (ip("203.0.113.20"), 443))


def vm_clock(ns: int) -> int:
    """What the VM's clock shows at ``ns`` of the host's, in whole microseconds."""
    return int(ns + OFFSET_NS + (ns - EPOCH_NS) * DRIFT_PPM / 1e6) // US * US


@dataclass
class Wire:
    """Frames of one capture as they are added; ``vm``: stamped by the VM's clock."""

    vm: bool
    columns: dict[str, array[int]] = field(default_factory=lambda: {name: array("q") for name in _COLUMNS})
    overlays: dict[int, tuple[array[int], bytearray]] = field(default_factory=dict)  # width: frames, bytes

    def add(
        self, ns: int, src: Address, dst: Address, length: int = 0, seq: int = 0, ack: int = 0, flags: int = _ACK, kind: int = TCP,
        start: bytes = b"", source: int = 0,
    ) -> None:  # fmt: skip
        """``source``: what the payload is, behind ``start``; any number, the same wherever the same bytes are captured."""
        if start:
            frames, data = self.overlays.setdefault(len(start), (array("q"), bytearray()))
            frames.append(len(self.columns["kind"]))
            data += start
        now = vm_clock(ns) if self.vm else ns // US * US
        milliseconds = ns // MS & 0xFFFFFFF
        row = (now, kind, src[0], dst[0], src[1], dst[1], length, seq, ack, flags, milliseconds, milliseconds, source % POOL_BYTES)
        for name, value in zip(_COLUMNS, row, strict=True):
            self.columns[name].append(value)

    def write(self, path: Path) -> int:
        columns: dict[str, Any] = {name: np.frombuffer(values, np.int64) for name, values in self.columns.items()}
        columns["kind"] = columns["kind"].astype(np.int8)
        overlays = [
            Overlay(np.frombuffer(frames, np.int64), np.frombuffer(data, np.uint8).reshape(len(frames), width))
            for width, (frames, data) in self.overlays.items()
        ]
        frames = Frames(**columns, window=np.full(len(columns["kind"]), 502), overlays=overlays)
        write(path, frames, link=LINUX_SLL2)
        return len(frames)


@dataclass(frozen=True)
class Message:
    """One segment of payload: when the program's side and the provider's have it, ns of the host's clock."""

    up: bool
    near_ns: int
    far_ns: int
    length: int
    start: bytes = b""


def tcp(
    wire: Wire, client: Address, server: Address, messages: Iterable[tuple[int, Message]], isn: tuple[int, int], open_ns: int, close_ns: int,
    trip_ns: int, *, to: Address | None = None, source: int = 0,
) -> None:  # fmt: skip
    """One session as one capture point sees it. ``to``: where the client's packets go, if a redirect answers in the server's name.

    source : what the connection carries, as of :meth:`Wire.add`; it is the same at every point, whatever the sequence numbers.
    """
    to = to or server
    wire.add(open_ns, client, to, seq=isn[0], flags=_SYN, kind=SYN)
    wire.add(open_ns + trip_ns, server, client, seq=isn[1], ack=isn[0] + 1, flags=_SYN | _ACK, kind=SYN)
    sent = [isn[0] + 1, isn[1] + 1]
    wire.add(open_ns + trip_ns + 20 * US, client, to, seq=sent[0], ack=sent[1])
    for ns, m in messages:
        here = source + sent[0] + sent[1] - isn[0] - isn[1]
        if m.up:
            wire.add(ns, client, to, m.length, sent[0], sent[1], _PSH | _ACK, start=m.start, source=here)
            sent[0] += m.length
            wire.add(ns + 30 * US, server, client, seq=sent[1], ack=sent[0])
        else:
            wire.add(ns, server, client, m.length, sent[1], sent[0], _PSH | _ACK, start=m.start, source=here)
            sent[1] += m.length
            wire.add(ns + 30 * US, client, to, seq=sent[0], ack=sent[1])
    wire.add(close_ns, client, to, seq=sent[0], ack=sent[1], flags=_FIN | _ACK)
    wire.add(close_ns + trip_ns, server, client, seq=sent[1], ack=sent[0] + 1, flags=_FIN | _ACK)
    wire.add(close_ns + trip_ns + 20 * US, client, to, seq=sent[0] + 1, ack=sent[1] + 1)


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def client_hello(name: bytes, random: bytes) -> bytes:
    """TLS 1.3, HTTP/1.1 only."""
    extensions = (
        _extension(0, (len(name) + 3).to_bytes(2) + b"\0" + len(name).to_bytes(2) + name)
        + _extension(10, bytes.fromhex("0002001d"))
        + _extension(13, bytes.fromhex("000404030804"))
        + _extension(16, b"\x00\x09\x08http/1.1")
        + _extension(43, bytes.fromhex("020304"))
        + _extension(51, bytes.fromhex("0024001d0020") + random[::-1])
        + _extension(21, bytes(240))
    )
    body = b"\x03\x03" + random + b"\x20" + random + bytes.fromhex("000413011302") + b"\x01\x00" + len(extensions).to_bytes(2) + extensions
    return b"\x16\x03\x01" + (len(body) + 4).to_bytes(2) + b"\x01" + len(body).to_bytes(3) + body


def server_hello(random: bytes) -> bytes:
    """ServerHello, ChangeCipherSpec, and a record of 2,000 bytes that holds the certificate."""
    extensions = _extension(51, bytes.fromhex("001d0020") + random[::-1]) + _extension(43, b"\x03\x04")
    body = b"\x03\x03" + random + b"\x20" + random + bytes.fromhex("130100") + len(extensions).to_bytes(2) + extensions
    record = b"\x16\x03\x03" + (len(body) + 4).to_bytes(2) + b"\x02" + len(body).to_bytes(3) + body
    return record + bytes.fromhex("140303000101" + "170303") + (2000).to_bytes(2)


FINISHED = bytes.fromhex("140303000101" + "1703030035")


def application(length: int) -> bytes:
    return b"\x17\x03\x03" + (length - 5).to_bytes(2)


@dataclass
class Planned:
    """A connection of a program: its side, server and messages."""

    vm: bool
    server: int
    open_ns: int
    close_ns: int = 0
    messages: list[Message] = field(default_factory=list)
    random: bytes = b""


def plan(rng: np.random.Generator, connections: int, limit: int, sshuttle: bool) -> tuple[list[Planned], list[tuple[bool, int, bool]], int]:
    """Connections with their messages, refusals (VM's?, when read, whether its side alone held the limit), number of requests.

    The provider decides in order of time.
    """
    through = 1500 * US if sshuttle else 0  # one way through the tunnel
    trip = 5 * MS  # one way to the provider, from the host
    made: list[Planned] = []
    queue: list[tuple[int, int, int, int]] = []  # when the program sends, connection, requests left, length of what is sent again
    times = EPOCH_NS + 2 * S + np.cumsum(rng.exponential(0.55 * S, connections)).astype(np.int64)
    for number, open_ns in enumerate(times.tolist()):
        vm, other = bool(rng.random() < 0.75), bool(rng.random() < 0.05)
        random = rng.bytes(32)
        made.append(Planned(vm, int(other), open_ns, random=random))
        far = open_ns + (through if vm else 0) + 2 * trip
        hello, answer = client_hello(NAMES[other], random), server_hello(random[::-1])
        at = open_ns + (2 * trip if not (sshuttle and vm) else 100 * US) + 300 * US
        far = max(at + (through if vm else 0), far + 100 * US)
        made[-1].messages.append(Message(True, at, far, len(hello), hello))
        back = far + 2 * trip
        for k, part in enumerate((answer, b"")):
            size = SEGMENT if k == 0 else len(answer) + 2000 - SEGMENT
            made[-1].messages.append(Message(False, back + k * 50 * US + (through if vm else 0), back + k * 50 * US, size, part))
        at = back + (through if vm else 0) + MS
        made[-1].messages.append(Message(True, at, at + (through if vm else 0), 64, FINISHED))
        heapq.heappush(queue, (at + 2 * MS, number, int(rng.integers(1, 5)), 0))
    flying: list[tuple[int, bool]] = []
    refusals: list[tuple[bool, int, bool]] = []
    requests = 0
    while queue:
        at, number, left, again = heapq.heappop(queue)
        c = made[number]
        delay = through if c.vm else 0
        far = at + delay
        length = again or int(rng.integers(700, 1400))
        c.messages.append(Message(True, at, far, length, application(length)))
        refused = False
        if c.server == 0:
            requests += 1
            while flying and flying[0][0] <= far + trip:
                heapq.heappop(flying)
            refused = len(flying) >= limit
        if refused:
            first, sizes = far + 2 * trip + 3 * MS, [289]
        else:
            first, sizes = (
                far + 2 * trip + int(rng.exponential(0.2) * S) + 60 * MS,
                [int(n) for n in rng.integers(200, 1400, rng.integers(2, 6))],
            )
        step = int(rng.exponential(0.25) * S) + MS
        for k, size in enumerate(sizes):
            when = first + k * step
            c.messages.append(Message(False, when + delay, when, size, application(size)))
        read = first + (len(sizes) - 1) * step + delay
        if refused:
            refusals.append((c.vm, read, sum(vm == c.vm for _, vm in flying) >= limit))
            heapq.heappush(queue, (read + 2 * S + int(rng.exponential(0.3) * S), number, left, length))
            continue
        if c.server == 0:
            heapq.heappush(flying, (read - delay - trip, c.vm))
        if left > 1:
            heapq.heappush(queue, (read + int(rng.exponential(1.5) * S) + 20 * MS, number, left - 1, False))
        else:
            c.close_ns = read + int(rng.exponential(1.0) * S) + MS
    return made, refusals, requests


def _lookup(vm: Wire, host: Wire, c: Planned, number: int, sshuttle: bool) -> None:
    labels = b"".join(len(p).to_bytes(1) + p for p in NAMES[c.server].split(b".")) + b"\0"
    txid = (number * 40503 & 0xFFFF).to_bytes(2)
    question = txid + bytes.fromhex("01000001000000000000") + labels + bytes.fromhex("00010001")
    answer = (
        txid
        + bytes.fromhex("81800001000100000000")
        + labels
        + bytes.fromhex("00010001c00c000100010000003c0004")
        + SERVERS[c.server][0].to_bytes(4)
    )
    port = 10_000 + number % 20_000
    asked, answered = c.open_ns - 6 * MS, c.open_ns - MS

    def one(wire: Wire, at: int, back: int, client: Address, to: Address, says: Address) -> None:
        wire.add(at, client, to, len(question), kind=UDP, start=question)
        wire.add(back, says, client, len(answer), kind=UDP, start=answer)

    if c.vm:
        one(vm, asked, answered, (VM, port), (LOCAL, 12299) if sshuttle else (RESOLVER, 53), (RESOLVER, 53))
    if not (c.vm and not sshuttle):
        one(host, asked + MS, answered - MS, (HOST, port + 20_000), (RESOLVER, 53), (RESOLVER, 53))
    else:
        one(host, asked + 50 * US, answered - 50 * US, (VM, port), (RESOLVER, 53), (RESOLVER, 53))
        one(host, asked + 60 * US, answered - 60 * US, (HOST, port), (RESOLVER, 53), (RESOLVER, 53))


def _ssh(vm: Wire, host: Wire, carried: list[tuple[int, bool, int]], isn: tuple[int, int]) -> None:
    """The SSH connection on both sides; ``carried``: (when sent, up, payload)."""
    client, server = (VM, 36_632), (BRIDGE, 22)
    banner = b"SSH-2.0-OpenSSH_9.7\r\n"
    begin = EPOCH_NS + S
    rows = [(begin + 2 * MS, True, len(banner), banner), (begin + 3 * MS, False, len(banner), banner)]
    rows += [(begin + (4 + k) * MS, k % 2 == 0, 1_000, b"") for k in range(6)]
    rows += [(ns, up, min(length + 44, SEGMENT), b"") for ns, up, length in sorted(carried)]
    sent = [isn[0] + 1, isn[1] + 1]
    for wire, near in ((vm, True), (host, False)):
        for k, (up, flags) in enumerate(((True, _SYN), (False, _SYN | _ACK), (True, _ACK))):
            ns = begin + k * 200 * US + (0 if up == near else 90 * US)
            ends = (client, server) if up else (server, client)
            wire.add(ns, *ends, 0, sent[not up] - (k < 2), (sent[up] if k else 0), flags, SYN if k < 2 else TCP)
    last = [0, 0]
    for ns, up, length, start in rows:
        ends = (client, server) if up else (server, client)
        came = max(ns + 90 * US + ns // US % 37 * US, last[up] + US)
        last[up] = came
        seq, ack = sent[not up], sent[up]
        for wire, near in ((vm, True), (host, False)):
            wire.add(ns if up == near else came, *ends, length, seq, ack, _PSH | _ACK, start=start, source=seq)
        sent[not up] += length
        seq, ack = sent[up], sent[not up]
        for wire, near in ((vm, True), (host, False)):
            wire.add(came + (95 if up == near else 10) * US, ends[1], ends[0], 0, seq, ack)


def _error_line(ns: int, number: int) -> str:
    when = datetime.fromtimestamp(ns // S, UTC)
    return (
        f'timestamp={when:%Y-%m-%dT%H:%M:%S}.{ns % S // MS:03d}Z level=ERROR service=llm sessionID=ses_{number:06d} message="stream error" '
        'error.error="AI_APICallError: High concurrency usage of this API, please reduce concurrency"\n'
    )


def generate(folder: Path, *, connections: int = 150, path: str = "sshuttle", limit: int = 6, seed: int = 1) -> dict[str, Any]:
    """Write the recording; returns its truth."""
    rng = np.random.default_rng(seed)
    sshuttle = path == "sshuttle"
    made, refusals, requests = plan(rng, connections, limit, sshuttle)
    vm, host = Wire(True), Wire(False)
    carried: list[tuple[int, bool, int]] = []
    for number, c in enumerate(made):
        server = SERVERS[c.server]
        isn = tuple(int(x) for x in rng.integers(1 << 20, 1 << 32, 4))
        port, upstream = 32_768 + number % 28_000, 32_768 + (number * 7 + 11) % 28_000
        source = number * SEGMENT
        near, far = [(m.near_ns, m) for m in c.messages], [(m.far_ns, m) for m in c.messages]
        if number % 3 == 0:
            _lookup(vm, host, c, number, sshuttle)
        if not c.vm:
            tcp(host, (HOST, upstream), server, far, (isn[0], isn[1]), c.open_ns, c.close_ns, 10 * MS, source=source)
        elif sshuttle:
            tcp(vm, (VM, port), server, near, (isn[0], isn[1]), c.open_ns, c.close_ns, 30 * US, to=(LOCAL, 12300), source=source)
            tcp(
                host, (HOST, upstream), server, far, (isn[2], isn[3]), c.open_ns + 1500 * US, c.close_ns + 1500 * US, 10 * MS, source=source
            )
            carried.append((c.open_ns + 200 * US, True, 40))
            carried += [((m.near_ns + 200 * US, True, m.length) if m.up else (m.far_ns + 200 * US, False, m.length)) for m in c.messages]
            carried.append((c.close_ns + 200 * US, True, 8))
        else:
            for wire, client, shift in ((vm, (VM, port), 0), (host, (VM, port), 60), (host, (HOST, upstream), 70)):
                moved = [(ns + (shift if m.up else 100 - shift) * US, m) for ns, m in far]
                tcp(
                    wire, client, server, moved, (isn[0], isn[1]), c.open_ns + shift * US, c.close_ns + shift * US, 10 * MS - 2 * shift * US,
                    source=source,
                )  # fmt: skip
    _ssh(vm, host, carried, (1_000_000_000 + seed * 7_654_321, 2_000_000_000 + seed * 1_234_567))
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"vm": vm.write(folder / "vm.pcap"), "host": host.write(folder / "host.pcap")}
    for name, mine in (("vm", True), ("host", False)):
        times = sorted(ns for side, ns, _ in refusals if side == mine)
        text = "".join(_error_line((vm_clock(ns) if mine else ns) + 3 * MS, k) for k, ns in enumerate(times))
        (folder / f"{name}-errors.log").write_text(text)
    truth = {
        "frames": frames, "connections": len(made), "requests": requests, "refused": len(refusals), "limit": limit,
        "alone": sum(alone for _, _, alone in refusals), "path": path, "to_the_api": sum(c.server == 0 for c in made),
    }  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.two_sides", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=150)
    parser.add_argument("--path", choices=("sshuttle", "nat"), default="sshuttle")
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    truth = generate(given.folder, connections=given.connections, path=given.path, limit=given.limit, seed=given.seed)
    print(json.dumps(truth), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
