"""Time one library on one capture inside this process: ``python -m tests.bench.inprocess LIBRARY CAPTURE [WARM_UP] [--check]``.

Prints JSON: seconds, rows found, peak memory, and with ``--check`` how netlens' rows differ from the truth. Imports are not timed, and
neither is a first reading of the small capture WARM_UP, which loads the compiled kernels.

``inflate`` is a bound: what it takes to have the content of a gzip file, and nothing else. So is ``--at-once``: each core reads the whole capture by
itself, all at the same time, and the seconds told are those of the slowest divided by their number. Cores that share one memory are not faster together.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def netlens_table(capture: str, table: str) -> Any:
    """One table of a capture and no other; a mapping from column names to numpy arrays."""
    import netlens

    return netlens.read(capture, tables=(table,)).table(table)


def nfstream(capture: str) -> int:
    from nfstream import NFStreamer

    return sum(1 for flow in NFStreamer(source=capture, n_dissections=0, statistical_analysis=False) if flow.protocol == 6)


def dpkt(capture: str) -> int:
    import dpkt

    sessions: dict[Any, list[int]] = {}
    with Path(capture).open("rb") as file:
        for _, data in dpkt.pcap.UniversalReader(file):
            ip = dpkt.ethernet.Ethernet(data).data
            if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP):
                _count(sessions, (ip.src, ip.data.sport), (ip.dst, ip.data.dport), len(ip.data.data))
    return len(sessions)


def scapy(capture: str) -> int:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether  # noqa: F401  (binds the link type)
    from scapy.utils import PcapReader

    sessions: dict[Any, list[int]] = {}
    with PcapReader(capture) as reader:
        for packet in reader:
            if TCP in packet:
                _count(sessions, (packet[IP].src, packet[TCP].sport), (packet[IP].dst, packet[TCP].dport), len(packet[TCP].payload))
    return len(sessions)


def pyshark(capture: str) -> int:
    import pyshark

    sessions: dict[Any, list[int]] = {}
    with pyshark.FileCapture(capture, keep_packets=False) as packets:
        for packet in packets:
            if "TCP" in packet:
                tcp = packet.tcp
                _count(sessions, (packet.ip.src, tcp.srcport), (packet.ip.dst, tcp.dstport), int(tcp.len))
    return len(sessions)


def _count(sessions: dict[Any, list[int]], source: tuple[Any, Any], destination: tuple[Any, Any], size: int) -> None:
    """What the least program with such a library does: frames and bytes by unordered 5-tuple."""
    state = sessions.setdefault((source, destination) if source < destination else (destination, source), [0, 0])
    state[0] += 1
    state[1] += size


BLOCK = 1 << 20


def inflate(capture: str) -> int:
    """One thread, by the fastest there is for a single stream (ISA-L)."""
    from isal import isal_zlib

    one = isal_zlib.decompressobj(wbits=31)
    with Path(capture).open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            while block:
                one.decompress(block, BLOCK)
                block = one.unconsumed_tail
    if not one.eof:
        raise ValueError(f"{capture}: its only member does not end")
    return 0


LIBRARIES: dict[str, Callable[[str], Any]] = {
    "inflate": inflate,
    "netlens-sessions": lambda capture: netlens_table(capture, "sessions"),
    "netlens-lookups": lambda capture: netlens_table(capture, "lookups"),
    "nfstream": nfstream,
    "dpkt": dpkt,
    "scapy": scapy,
    "pyshark": pyshark,
}


def peak_bytes() -> int:
    """The most memory this process held (VmHWM, which unlike ru_maxrss knows nothing of the process before exec)."""
    try:
        line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _on_core(core: int, library: str, capture: str, warm_up: str, ready: Any) -> tuple[float, int]:
    os.sched_setaffinity(0, {core})
    run = LIBRARIES[library]
    run(warm_up)
    ready.wait()
    started = time.perf_counter()
    run(capture)
    return time.perf_counter() - started, peak_bytes()


def at_once(library: str, capture: str, warm_up: str) -> dict[str, Any]:
    """One reading on each core, all at once: the time of the slowest divided by their number, and the memory of all."""
    cores = sorted(os.sched_getaffinity(0))
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(len(cores)) as pool:
        ready = manager.Barrier(len(cores))
        each = [pool.submit(_on_core, core, library, capture, warm_up, ready) for core in cores]
        took = [one.result() for one in each]
    return {"seconds": max(seconds for seconds, _ in took) / len(cores), "peak_bytes": sum(peak for _, peak in took), "rows": None}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inprocess")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("capture")
    parser.add_argument("warm_up", nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--at-once", action="store_true", help="a reading on each core at the same time")
    arguments = parser.parse_args()
    run = LIBRARIES[arguments.library]
    # What the import of numpy starts, and is not timed, would still spin for a tenth of a second.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    if arguments.at_once:
        print(json.dumps(at_once(arguments.library, arguments.capture, arguments.warm_up or arguments.capture)))
        return 0
    if arguments.warm_up:
        run(arguments.warm_up)
    started = time.perf_counter()
    found = run(arguments.capture)
    seconds = time.perf_counter() - started
    result: dict[str, Any] = {"seconds": seconds, "peak_bytes": peak_bytes()}
    if isinstance(found, int):
        result["rows"] = found
    else:
        result["rows"] = len(found["orig_ip"])
        if arguments.check:
            from tests.bench.check import differences
            from tests.bench.generate import load_truth

            result["differences"] = differences(load_truth(Path(arguments.capture)), found, arguments.library.split("-")[1])
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
