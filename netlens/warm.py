"""Compile every module and kernel once, so that no capture waits: ``python -m netlens.warm``, run by ``make`` at installation.

The modules' bytecode too: from a checkout nothing else writes it where ``PYTHONDONTWRITEBYTECODE`` is set, as in many containers, and compiling
them at each start took 0.09 s.

The machine code is kept beside the package, where every user finds it, if this user may write there (:mod:`netlens.wire.machinecode`). It is made
anew when the sources, the versions of numba and Python, or the processor change.
"""

from __future__ import annotations

import compileall
import contextlib
import struct
import tempfile
from pathlib import Path

from netlens.wire import writing

SECOND = 1_000_000_000
CLIENTS = 2600  #: more than the tables of sessions and of addresses hold at first


def _ip(proto: int, payload: bytes, client: int = 1, fragment: int = 0) -> bytes:
    """An IPv4 packet without checksums."""
    addresses = struct.pack(">II", 0x0A000000 + client, 0x02020202)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, proto, 0) + addresses + payload


def _tcp(flags: int, payload: bytes = b"", seq: int = 0) -> bytes:
    return struct.pack(">HHIIBBHHH", 1024, 80, seq, 0, 0x50, flags, 0xFFFF, 0, 0) + payload


def tiny_capture(clients: int = 1) -> bytes:
    """A pcap of a SYN of each client, the begin of a ClientHello, and a DNS query, whole and in fragments: enough to make kernels run."""
    question = bytes.fromhex("000101000001000000000000") + b"\x01a\x00\x00\x01\x00\x01"
    udp = struct.pack(">HHHH", 1024, 53, 8 + len(question), 0) + question
    hello = bytes.fromhex("1603010200010001fc0303") + bytes(40)  # 512 bytes, of which there are few
    packets = [_ip(6, _tcp(2)), _ip(17, udp), _ip(6, _tcp(0x18, hello, 1)), _ip(17, udp[:16], 1, 0x2000), _ip(17, udp[16:], 1, 2)]
    packets += [_ip(6, _tcp(2), client) for client in range(2, clients + 1)]
    return writing.pcap_header(101, unit_ns=1000) + b"".join(writing.pcap_record(packet, SECOND, len(packet), 1000) for packet in packets)


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
    from netlens import linker
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.api import TABLES, Capture
    from netlens.chains import clock
    from netlens.cluster.job import NEEDS, ClusterCapture, Executor
    from netlens.cluster.sources import Source
    from netlens.compiling import Shown
    from netlens.errors import NetlensError
    from netlens.wire import compiled

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
        on_workers = ClusterCapture(Executor(), [Source(str(Path(folder, "tiny.pcap")), k, False) for k in range(2)], tuple(NEEDS))
        for table in NEEDS:
            on_workers.table(table)


if __name__ == "__main__":
    main()
