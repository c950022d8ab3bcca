"""Compile every module and kernel once, so that no capture waits: ``python -m netlens.warm``, run by ``make`` at installation.

The modules' bytecode too: from a checkout nothing else writes it where ``PYTHONDONTWRITEBYTECODE`` is set, as in many containers, and compiling
them at each start took 0.09 s.

The machine code is kept beside the package, where every user finds it, if this user may write there (:mod:`netlens.wire.machinecode`). It is made
anew when the sources, the versions of numba and Python, or the processor change.

Where there are more cores than one, processes compile side by side (:func:`work`): each goes through the same captures, compiles the kernels that no
other one has claimed, and runs those that another one compiles as Python. At the end one process goes through larger captures and compiles what is left.

The command line starts the same beside itself (:mod:`netlens.background`): after it has read a small capture with kernels that were not compiled, or
before a large one.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from netlens import background, threads
from netlens.wire import machinecode, writing

if TYPE_CHECKING:
    from netlens.api import Capture

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


def _count_requests() -> None:
    """Of an HTTP/2 client: fields, a body and its end, three times; and what its server says."""
    from netlens.chains import asked, grammar
    from netlens.chains.explained import forward_backward
    from netlens.chains.explained.model import Model
    from netlens.chains.explained.talks import Talk

    sizes = [9, 100, 900, 9, *[50, 900, 9] * 3]
    mine = [asked.Record(asked.CLIENT, size, k * SECOND // 1000, k, size) for k, size in enumerate(sizes)]
    said = asked.Said(mine, [asked.Record(asked.SERVER, 300, SECOND + k, k, 300) for k in range(4)], [])
    talk = Talk(said, 2 * SECOND, False, {}, grammar.told(said))
    forward_backward.explain(talk, talk.best, Model(False))


def _in_spans(path: Path) -> None:
    """A capture as large ones are, by several cores."""
    from netlens.parsers import spans
    from netlens.wire.spans import borders

    first = struct.unpack("<I", path.read_bytes()[32:36])[0]
    spans.read(str(path), [40 + first])  # its connection goes on behind its SYN
    borders(str(path), 2)


def _tables(path: Path, tables: Iterable[str]) -> Capture:
    """A capture whose tables were made."""
    from netlens.api import Capture

    capture = Capture([path], tables)
    for table in tables:
        capture.table(table)
    return capture


def _read(folder: Path, clients: int) -> None:
    """Captures, as their sessions alone are read and as all tables are."""
    from netlens.api import TABLES

    path = folder / "tiny.pcap"
    path.write_bytes(tiny_capture(clients))
    for tables in (("sessions",), TABLES):
        _tables(path, tables)
    _in_spans(path)
    _join_lookups()


def _analyze(folder: Path, clients: int) -> None:
    """Two sides, and what the program wrote down; one capture."""
    import numpy as np

    from netlens import analyze
    from netlens.lenses.refused.kernels import soonest_alike
    from netlens.parsers.stream_digests import Streams, read_blocks
    from netlens.report.numbers import encoded

    log = folder / "errors.log"
    log.write_text("".join(f"1970-01-01T00:00:{1 + k // 2:02}.{500 * (k % 2) + 25:03}Z ERROR status=429\n" for k in range(24) if k % 3))
    vm, host = folder / "vm.pcap", folder / "host.pcap"
    for path in (vm, host):
        path.write_bytes(refused_requests(path is host))
    analyze(vm=vm, host=host, apis="2.2.2.2", vm_errors=str(log)).to_dict()
    numbers = np.zeros(1, np.int64)
    read_blocks([str(vm)], Streams(numbers, numbers, numbers, numbers + 9), {0: [(0, 9)]})  # as where the two differ
    encoded(numbers)
    soonest_alike(
        numbers, np.zeros(2, np.int64), numbers, numbers, numbers, numbers, numbers, 8, np.full(1, -1)
    )  # as where TLS hides what was answered
    _count_requests()
    path = folder / "tiny.pcap"
    path.write_bytes(tiny_capture(clients))
    analyze(str(path))


def _read_others(folder: Path, _clients: int) -> None:
    """What only some captures need."""
    from netlens.api import TABLES
    from netlens.chains import clock
    from netlens.cluster.job import NEEDS, ClusterCapture, Executor
    from netlens.cluster.sources import Source
    from netlens.wire.spans import borders

    path = folder / "tiny.pcapng"
    path.write_bytes(tiny_pcapng())
    capture = _tables(path, TABLES)
    borders(str(path), 2)
    clock.estimate(capture, capture)  # the second pass has kernels of its own
    path = folder / "part.pcap"
    path.write_bytes(tiny_capture())
    on_workers = ClusterCapture(Executor(), [Source(str(path), k, False) for k in range(2)], tuple(NEEDS))
    for table in NEEDS:
        on_workers.table(table)


def _anonymize(folder: Path, clients: int) -> None:
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.errors import NetlensError

    for path, data in ((folder / "mine.pcap", tiny_capture(clients)), (folder / "mine.pcapng", tiny_pcapng())):
        path.write_bytes(data)
        with contextlib.suppress(NetlensError):  # where the package cryptography is missing, nothing is anonymised
            recordings.capture(str(path), str(path.with_suffix(".new")), Mapper(secret.fresh()))


#: What makes kernels run, those first that most commands need
STEPS = (_read, _analyze, _read_others, _anonymize)


def _run(steps: Iterable[Callable[[Path, int], None]], clients: int) -> None:
    from netlens import linker
    from netlens.wire import compiled

    compiled.compile_at_once()
    compiled.find_linker = linker.find
    with tempfile.TemporaryDirectory() as folder:
        for step in steps:
            step(Path(folder), clients)


def work(order: int) -> None:
    """Compile for a process that holds the lock, beside others that do, for as long as that one is there. order : 1, or -1 to begin at the end."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    machinecode.under_lock = True
    _run(STEPS[::order], clients=1)  # of which Python makes rows fast enough where another process compiles


def later() -> None:
    """At low priority: whoever works meanwhile comes first."""
    os.nice(5)
    main()


def now() -> None:
    """Somebody waits: what is needed first comes first, for all."""
    main(orders=(1, 1))


def main(orders: tuple[int, int] = (1, -1)) -> None:
    """orders : of every other process's steps. The kernels of the last step take nearly half of the time, so that one begins with them."""
    import netlens.analysis
    import netlens.anonymize.recordings
    import netlens.cluster.job  # noqa: F401 -- with these all kernels are known
    from netlens.compiling import Shown
    from netlens.wire import compiled, jit

    compileall.compile_dir(str(Path(__file__).parent), quiet=1)
    shown = compiled.shown = Shown()
    store, many = machinecode.store(), min(threads.cores(), background.AT_ONCE)
    if store is not None and not store.complete and not machinecode.settings() and many > 1:
        with store.alone(shown.waiting):
            if store.writable:
                background.divide(
                    [f"work({orders[k % 2]})" for k in range(many)], lambda: shown.compiling(len(store.names()), compiled.known)
                )
                shown.ended()
    _run(STEPS, CLIENTS)
    jit.say_complete()


if __name__ == "__main__":
    main()
