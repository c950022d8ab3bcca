"""Load: ``watch`` and ``capture`` for half an hour, and recordings at the highest rate that there is: ``python -m tests.faults.load --minutes 30``.

1. *Endurance.* In a network namespace a client opens connections one after the other, asks twice on each, looks a name up, and sends numbered datagrams;
   ``netlens watch`` and ``netlens capture`` run beside each other. Their memory is looked at every few seconds. It is flat where the median of the last
   fifth is not above that of the second fifth by more than :data:`FLAT_BYTES`: the first fifth belongs to what is loaded and filled once.
2. *Rate.* Senders as fast as they can, into a recording. Whatever was sent is in the file or in the count of drops that netlens reports, to the packet.
   Once with tcpdump stopped for a while, so that the kernel's buffer overflows for certain.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import ground
from tests.faults.ground import NETLENS, ROOT, need

FLAT_BYTES = 8_000_000  #: 20 a second make 29,000 connections between the two: state that kept 300 bytes of each would show
FILTER = "tcp port 443 or udp port 53 or udp port 5300"
_LAB = """
import asyncio, socket, struct, sys, time
rate = float(sys.argv[1])

async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 600\\r\\n\\r\\n" + bytes(600))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()

class Resolver(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        answer = data[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + data[12:] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\x7f\\0\\0\\1"
        self.transport.sendto(answer, address)

async def client(i):
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.sendto(struct.pack(">H", i & 65535) + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7example\\3org\\0\\0\\1\\0\\1", ("127.0.0.1", 53))
    reader, writer = await asyncio.open_connection("127.0.0.1", 443)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\\r\\n\\r\\n")
        await reader.readexactly(638)
        await asyncio.sleep(0.2)
    asking.close()
    writer.close()

async def main():
    await asyncio.start_server(serve, "127.0.0.1", 443)
    await asyncio.get_running_loop().create_datagram_endpoint(Resolver, ("127.0.0.1", 53))
    begun, i, running = time.monotonic(), 0, set()
    while True:
        task = asyncio.create_task(client(i))
        running.add(task)
        task.add_done_callback(running.discard)
        i += 1
        await asyncio.sleep(max(0, begun + i / rate - time.monotonic()))

asyncio.run(main())
"""


def _memory(pid: int) -> tuple[int, int]:
    """Bytes of memory of a process that are its own, and nanoseconds of processor time."""
    values = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    own = sum(int(values[name].split()[0]) * 1024 for name in ("Private_Clean", "Private_Dirty"))
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own, (int(times[11]) + int(times[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass
class Course:
    """Memory of one process in the course of time."""

    name: str
    pid: int
    own: list[int] = field(default_factory=list)
    cpu_ns: int = 0

    def look(self) -> None:
        with contextlib.suppress(OSError):
            own, self.cpu_ns = _memory(self.pid)
            self.own.append(own)

    def fifth(self, i: int) -> float:
        n = len(self.own)
        return statistics.median(self.own[n * i // 5 : n * (i + 1) // 5])

    @property
    def growth(self) -> float:
        return self.fifth(4) - self.fifth(1)


@contextlib.contextmanager
def _lab(where: ground.Namespace, rate: float) -> Iterator[None]:
    process = subprocess.Popen([*where.prefix, sys.executable, "-I", "-c", _LAB, str(rate)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _packet_rate(sent: int, seconds: float) -> str:
    return f"{round(sent / seconds, -3 if sent / seconds > 10_000 else 0):,.0f}"


def endurance(minutes: float, rate: float, every: float = 5) -> list[str]:
    """Lines about half an hour of both commands."""
    with (
        ground.folder() as place,
        ground.namespace() as where,
        ground.traffic(where, pause=0.01) as source,
        _lab(where, rate),
        open(place / "watch.json", "w+") as out,
        ground.capture(where, place / "r", "--rotate-mb", "20", "--filter", FILTER) as capture,
    ):
        argv = [*where.prefix, *NETLENS, "watch", "--json", "--api", "127.0.0.1", "--side", "host", "--filter", FILTER]
        watch = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True)
        try:
            need(watch.stderr, "no standard error")
            while os.fstat(out.fileno()).st_size == 0:
                need(watch.poll() is None, "watch did not begin")
                time.sleep(0.1)
            courses = [Course("`watch`", watch.pid), Course("`capture`", capture.process.pid)]
            pids = {f"tcpdump of {course.name}": _descendants(course.pid, "tcpdump") for course in courses}
            courses += [Course(name, pid) for name, found in pids.items() for pid in found]
            began, before = time.monotonic(), source.sent
            while (now := time.monotonic()) < began + minutes * 60:
                need(watch.poll() is None and capture.process.poll() is None, f"ended by itself: {capture.said}")
                for course in courses:
                    course.look()
                if len(courses[0].own) % round(60 / every) == 0:
                    print(
                        f"{(now - began) / 60:.0f} min: " + ", ".join(f"{c.name} {c.own[-1] / 1e6:.1f} MB" for c in courses),
                        file=sys.stderr,
                        flush=True,
                    )
                time.sleep(max(0, min(every, began + minutes * 60 - now)))
            seconds, sent = time.monotonic() - began, source.sent - before
            watch.send_signal(signal.SIGINT)
            capture.process.send_signal(signal.SIGINT)
            need(watch.wait(60) == 0, f"watch: status {watch.returncode}")
            need(capture.end() == 0, f"capture: {capture.said}")
        finally:
            if watch.poll() is None:
                watch.kill()
            watch.wait()
            if watch.stderr is not None:
                watch.stderr.close()
        paths = sorted(capture.folder.glob("host*.pcap"))
        found = ground.numbers(paths)
        need(ground.gaps(found) == 0, f"{ground.gaps(found)} packets are missing between others")
        need(len(found) >= sent, f"{len(found)} packets of {sent}")
        from netlens.capture.recording import read_manifest

        (side,) = read_manifest(capture.folder).sides
        need(side.packets_dropped == 0, f"{side.packets_dropped} dropped")
        size = sum(p.stat().st_size for p in paths)
        out.seek(0)
        told = [json.loads(line) for line in out]
        rows = []
        for course in courses:
            rows.append(
                f"| {course.name} | {course.fifth(1) / 1e6:.1f} MB | {course.fifth(4) / 1e6:.1f} MB | {max(course.own) / 1e6:.1f} MB "
                f"| {course.cpu_ns / 1e7 / seconds:.1f} % |"
            )
            need(course.growth < FLAT_BYTES, f"{course.name} grew by {course.growth / 1e6:.1f} MB")
        text = (
            f"`watch` and `capture` ran beside each other for {seconds / 60:.0f} minutes. Meanwhile {rate * seconds:,.0f} connections were opened, "
            f"asked on twice, and closed, as many names were looked up, and {sent:,} numbered datagrams were sent. `capture` stored "
            f"{side.packets_captured:,} packets ({size / 1e6:,.0f} MB in {len(paths)} files); of the datagrams none is missing. `watch` wrote "
            f"{len(told):,} lines."
        )
        return [
            *textwrap.wrap(text, 150),
            "",
            "| process | memory of its own after a fifth of the time | at the end | at most | processor |",
            "|---|---:|---:|---:|---:|",
            *rows,
        ]


def _descendants(pid: int, name: str) -> list[int]:
    out, at = [], [pid]
    while at:
        parent = at.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            for child in task.read_text().split():
                at.append(int(child))
                if ground.name_of(child) == name:
                    out.append(int(child))
    return out


def highest_rate(seconds: float, senders: int, size: int, stopped_s: float = 0) -> str:
    """A row about one recording: what was sent is stored or reported as dropped. Not on loopback, where the kernel counts each drop twice."""
    with ground.folder() as place, ground.namespace() as where, ground.namespace() as other:
        ground.wire(where, other)
        with ground.capture(where, place / "r", "-i", "w0") as capture, contextlib.ExitStack() as stack:
            sources = [stack.enter_context(ground.traffic(where, ground.OTHER, size, 0, go=False)) for _ in range(senders)]
            began = time.monotonic()
            for source in sources:
                source.go()
            if stopped_s:
                time.sleep(1)
                where.signal(signal.SIGSTOP, "tcpdump")
                time.sleep(stopped_s)
                where.signal(signal.SIGCONT, "tcpdump")
            time.sleep(max(0, began + seconds - time.monotonic()))
            for source in sources:
                source.halt()
            took, sent = time.monotonic() - began, sum(source.sent for source in sources)
            capture.process.send_signal(signal.SIGINT)
            status = capture.end()
        from netlens.capture.recording import read_manifest
        from netlens.wire.containers import Reader

        (side,) = read_manifest(capture.folder).sides
        stored = 0
        for path in side.paths:
            reader = Reader([path])
            for _ in reader.batches():
                pass
            stored += reader.frame
        need(status == 0, f"status {status}: {capture.said}")
        need(side.packets_captured == stored, f"the manifest counts {side.packets_captured} packets, the file holds {stored}")
        need(side.packets_dropped is not None, "no count of drops")
        missing = sent - stored
        need(missing == side.packets_dropped, f"{missing} packets are missing, {side.packets_dropped} reported as dropped")
        need(not missing or any("dropped" in line for line in capture.said), f"drops without a warning: {capture.said}")
        title = f"{senders} sender{'s' if senders > 1 else ''} of {size + 18} bytes" + (
            f", tcpdump stopped for {stopped_s:.0f} s" if stopped_s else ""
        )
        return f"| {title} | {sent:,} | {_packet_rate(sent, took)} | {stored:,} | {missing:,} | {side.packets_dropped:,} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="of watch and capture")
    parser.add_argument("--rate", type=float, default=20, help="connections a second meanwhile")
    parser.add_argument("--seconds", type=float, default=10, help="of each recording at the highest rate; 0: none")
    parser.add_argument("--out", type=Path, help="write the figures into this page, in place of those that it has")
    options = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("load is made as root on Linux")
    lines = [
        "## Load",
        "",
        "Made by `python -m tests.faults.load` (root on Linux), which fails where memory is not flat or a packet is neither stored nor counted.",
        "",
    ]
    if options.minutes:
        lines += endurance(options.minutes, options.rate)
    if options.seconds:
        lines += [
            "",
            "At the highest rate that the senders of one machine reach, with the recording on the same processors, each packet is in the file or in the",
            "count of drops that netlens reports:",
            "",
            "| traffic | sent | a second | stored | missing | reported as dropped |",
            "|---|---:|---:|---:|---:|---:|",
            highest_rate(options.seconds, 1, 100),
            highest_rate(options.seconds, 2, 100),
            highest_rate(options.seconds, 2, 1400),
            highest_rate(options.seconds, 2, 1400, 3),
        ]
    lines += ["", f"{os.cpu_count()} processors, {platform.system()} {platform.release()}."]
    print("\n".join(lines))
    if options.out:
        ground.write_section(ROOT / options.out, "load", "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
