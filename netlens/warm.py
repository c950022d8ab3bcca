"""Compile every module and kernel once, so that no capture waits: ``python -m netlens.warm``, run by ``make`` at installation.

The modules' bytecode too: from a checkout nothing else writes it where ``PYTHONDONTWRITEBYTECODE`` is set, as in many containers, and compiling
them at each start took 0.09 s.

The machine code is kept beside the package, where every user finds it, if this user may write there (:mod:`netlens.wire.machinecode`). It is made
anew when the sources, the versions of numba and Python, or the processor change.

The command line starts the same in the background (:mod:`netlens.background`) after it has read a small capture with kernels that were not compiled.
"""

from __future__ import annotations

import compileall
import contextlib
import struct
import tempfile
from pathlib import Path

from netlens.wire import writing

SECOND = 1_000_000_000
SERVER = 0x02020202
CLIENTS = 2600  #: more than the tables of sessions and of addresses hold at first


def _ip(proto: int, payload: bytes, client: int = 1, fragment: int = 0, up: bool = True, number: int = 7) -> bytes:
    """An IPv4 packet without checksums."""
    addresses = struct.pack(">II", *(0x0A000000 + client, SERVER)[:: 1 if up else -1])
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), number, fragment, 64, proto, 0) + addresses + payload


def _tcp(flags: int, payload: bytes = b"", seq: int = 0, ack: int = 0, port: int = 1024, up: bool = True) -> bytes:
    return struct.pack(">HHIIBBHHH", *(port, 80)[:: 1 if up else -1], seq, ack, 0x50, flags, 0xFFFF, 0, 0) + payload


def tiny_capture(clients: int = 1) -> bytes:
    """A pcap of a SYN of each client, the begin of a ClientHello, and a DNS query, whole and in fragments: enough to make kernels run."""
    question = bytes.fromhex("000101000001000000000000") + b"\x01a\x00\x00\x01\x00\x01"
    udp = struct.pack(">HHHH", 1024, 53, 8 + len(question), 0) + question
    hello = bytes.fromhex("1603010200010001fc0303") + bytes(40)  # 512 bytes, of which there are few
    packets = [_ip(6, _tcp(2)), _ip(17, udp), _ip(6, _tcp(0x18, hello, 1)), _ip(17, udp[:16], 1, 0x2000), _ip(17, udp[16:], 1, 2)]
    packets += [_ip(6, _tcp(2), client) for client in range(2, clients + 1)]
    return writing.pcap_header(101, unit_ns=1000) + b"".join(writing.pcap_record(packet, SECOND, len(packet), 1000) for packet in packets)


def refused_requests(behind_nat: bool, many: int = 24) -> bytes:
    """A pcap of HTTP requests of one client, a connection each, of which all but every third are refused: as sent, or as translated a millisecond later."""
    ask = b"POST /v1 HTTP/1.1\r\nHost: api.example\r\nContent-Length: 900\r\n\r\n" + bytes(900)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nanswered"
    frames: list[tuple[int, bytes]] = []
    for k in range(many):
        refused, port, at, base = k % 3 > 0, 2000 + k + 9000 * behind_nat, k * SECOND // 2 + SECOND // 1000 * behind_nat, 100_003 * k
        says = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n" if refused else answer
        lasts = SECOND // 50 if refused else SECOND * 7 // 5
        talk = [(0, True, 2, 0, 0, b""), (1, False, 0x12, 0, 1, b""), (2, True, 0x18, 1, 1, ask), (99, False, 0x18, 1, 1 + len(ask), says)]
        talk += [(101, True, 0x11, 1 + len(ask), 1 + len(says), b""), (102, False, 0x11, 1 + len(says), 2 + len(ask), b"")]
        for n, (part, up, flags, seq, ack, payload) in enumerate(talk):
            segment = _tcp(flags, payload, base + seq, base + ack if ack else 0, port, up)
            frames.append((at + lasts * part // 100, _ip(6, segment, 1 + 4 * behind_nat, up=up, number=10 * k + n)))
    records = [writing.pcap_record(packet, SECOND + at, len(packet), 1000) for at, packet in sorted(frames)]
    return writing.pcap_header(101, unit_ns=1000) + b"".join(records)


def tiny_pcapng() -> bytes:
    """Its first SYN in a pcapng, so that its framing kernel runs too."""
    packet = tiny_capture()[40:80]
    return writing.SECTION + writing.interface(101) + writing.packet(0, packet, SECOND, len(packet))


def _join_lookups() -> None:
    """As of captures with very many."""
    import numpy as np

    from netlens.parsers import lookup_columns, lookup_join
    from netlens.wire import dns as d

    rows = np.zeros((4, d.MESSAGE_WIDTH), np.int64)
    usual, lookup_join.PART = lookup_join.PART, 1
    for times in ([1, 2, 3, 4], [4, 3, 2, 1]):
        rows[:, d.TS] = times
        lookup_join.join(rows)
    lookup_join.PART = usual
    lookup_columns.grown(np.zeros(8, np.uint8), np.zeros(2, np.int64), 0, np.int64(1))


def main() -> None:
    compileall.compile_dir(str(Path(__file__).parent), quiet=1)
    from netlens import analyze, linker
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.api import TABLES, Capture
    from netlens.chains import clock
    from netlens.cluster.job import NEEDS, ClusterCapture, Executor
    from netlens.cluster.sources import Source
    from netlens.compiling import Shown
    from netlens.errors import NetlensError
    from netlens.wire import compiled, jit

    compiled.compile_at_once()
    compiled.shown, compiled.find_linker = Shown(), linker.find
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("tiny.pcap", tiny_capture(CLIENTS)), ("tiny.pcapng", tiny_pcapng())):
            path = Path(folder, name)
            path.write_bytes(data)
            for tables in (TABLES, ("sessions",)):
                capture = Capture([path], tables)
                for table in tables:
                    capture.table(table)
            clock.estimate(capture, capture)  # the second pass has kernels of its own
            with contextlib.suppress(NetlensError):  # where the package cryptography is missing, nothing is anonymised
                recordings.capture(str(path), str(path.with_suffix(".new")), Mapper(secret.fresh()))
        _join_lookups()
        vm, host = Path(folder, "vm.pcap"), Path(folder, "host.pcap")
        for path in (vm, host):
            path.write_bytes(refused_requests(path is host))
        analyze(vm=vm, host=host, apis="2.2.2.2").to_dict()
        on_workers = ClusterCapture(Executor(), [Source(str(Path(folder, "tiny.pcap")), k, False) for k in range(2)], tuple(NEEDS))
        for table in NEEDS:
            on_workers.table(table)
    jit.say_complete()


if __name__ == "__main__":
    main()
