"""Measure how work spreads over Dask workers: ``python -m tests.bench.cluster [--repeat 5] [--tables sessions exchanges]``.

The capture of a workload is cut into rotated files, once. Then one and two workers of one thread each, which is one core each, read it in turns
and write a table as Parquet; workers are started, and have their kernels loaded, before the clock runs. All rows are compared with those of one
process. Beside the time on the clock stands the processor time of the busiest worker and of this process, one after the other: what the clock would say
if nobody else used the machine and nothing waited. Last, the same steps are run in this process and what each hands on is counted as bytes of a message.

Files lie in ``$NETLENS_BENCH_DIR``, see :mod:`tests.bench.run`.
"""

from __future__ import annotations

import argparse
import mmap
import os
import pickle
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netlens.cluster.job import Executor
from tests.bench.inprocess import peak_bytes
from tests.bench.run import WARM_UP, BenchError, cache_folder, capture_file, say, warm

FILES = 8
WORKERS = (1, 2)
TARGET = 1.6  #: two workers against one


def rotated(capture: Path, files: int) -> list[str]:
    """``capture`` (a pcap of this machine's byte order) as so many files of about one size; made if they are not there."""
    folder = cache_folder() / f"{capture.stem}-{files}-files"
    stamp = folder / "of"
    wanted = f"{capture.stat().st_size} {capture.stat().st_mtime_ns}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with capture.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = begin = 24
            for i in range(files):
                until = 24 + (len(data) - 24) * (i + 1) // files
                while at < until:
                    at += 16 + struct.unpack_from("<I", data, at + 8)[0]
                (folder / f"part-{i}.pcap").write_bytes(data[:24] + data[begin:at])
                begin = at
        stamp.write_text(wanted)
    return [str(folder / f"part-{i}.pcap") for i in range(files)]


class Counted(Executor):
    """Notes the bytes that the results of each function are as messages."""

    def __init__(self) -> None:
        self.sizes: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments)
        self.seconds[function.__name__] += time.perf_counter() - started
        self.sizes[function.__name__] += len(pickle.dumps(result, protocol=5))
        return result


def _rows(folder: Path, table: str) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [pq.read_table(p) for p in sorted(folder.glob("*.parquet"))]
    key = {"sessions": "session_id", "exchanges": "exchange_id", "lookups": "lookup_id", "connections": "connection_id"}[table]
    rows: list[dict[str, Any]] = pa.concat_tables(parts).sort_by(key).to_pylist()
    return rows


def _expected(paths: Sequence[str], table: str, folder: Path) -> tuple[list[dict[str, Any]], float]:
    """Rows of one process by way of Parquet, too, and its time (two threads)."""
    import netlens
    from netlens.report.exports import Rows, write

    netlens.read(paths[:1], tables=(table,)).table(table)
    started = time.perf_counter()
    made = netlens.read(paths, tables=(table,)).table(table)
    folder.mkdir()
    write(Rows(made), "parquet", str(folder / "part-0.parquet"))
    return _rows(folder, table), time.perf_counter() - started


def measure(
    paths: Sequence[str], small: Path, table: str, repeat: int, folder: Path
) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    """Seconds, and of the processor, by number of workers; raises BenchError if a row differs."""
    from netlens.cluster.job import ClusterCapture
    from netlens.cluster.sources import expand
    from netlens.cluster.workers import on_workers

    expected, alone = _expected(paths, table, folder / f"alone-{table}")
    say(f"{table}: {len(expected):,} rows; one process with its two threads {alone:.2f} s")
    seconds: dict[int, list[float]] = {n: [] for n in WORKERS}
    processor: dict[int, list[float]] = {n: [] for n in WORKERS}
    for turn in range(repeat):
        for n in WORKERS if turn % 2 == 0 else WORKERS[::-1]:
            out = folder / f"{table}-{turn}-{n}"
            with on_workers(workers=n) as executor:
                ClusterCapture(executor, expand([str(small)] * n), (table,)).write(table, f"{out}-warm")
                before, mine = executor.client.run(time.process_time), time.process_time()
                started = time.perf_counter()
                ClusterCapture(executor, expand(paths), (table,)).write(table, str(out))
                seconds[n].append(time.perf_counter() - started)
                mine = time.process_time() - mine
                busiest = max(after - before[worker] for worker, after in executor.client.run(time.process_time).items())
                processor[n].append(busiest + mine)
                peaks = executor.client.run(peak_bytes)
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            say(
                f"  {n} workers {seconds[n][-1]:.2f} s, of the processor {busiest:.2f} and {mine:.2f} s, "
                f"at most {max(peaks.values()) / 1e6:.0f} MB each, load {load:.1f}"
            )
            if _rows(out, table) != expected:
                raise BenchError(f"{n} workers: rows of {table} differ from those of one process")
    return seconds, processor


def moved(paths: Sequence[str], table: str) -> str:
    """What each step hands on, in bytes."""
    from netlens.cluster.job import ClusterCapture
    from netlens.cluster.sources import expand

    counted = Counted()
    made = ClusterCapture(counted, expand(paths), (table,))
    sessions = sum(map(len, made.session_ids))
    lines = [f"{table}: {made.frames:,} packets, {sessions:,} sessions, {sum(i.bytes for i in made.inputs):,} bytes read"]
    if table in ("lookups", "connections"):
        say(f"  {made.table(table).rows:,} rows of {table}, joined in one place from the results of stitch")
    names = {
        "scan": "kept by a worker",
        "facts_of": "to the plan",
        "piece": "from worker to worker",
        "stitch": "kept by a worker",
        "_count": "to the plan",
    }
    for name, where in names.items():
        size = counted.sizes[name]
        lines.append(
            f"  {name:8} {counted.seconds[name]:7.2f} s  {size:14,} bytes {where}: "
            f"{size / max(sessions, 1):9.1f} a session, {size / made.frames:7.2f} a packet"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workload", default="full", metavar="NAME")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--repeat", type=int, default=5, help="turns; 0: only what moves")
    parser.add_argument("--tables", nargs="+", default=["sessions"], metavar="NAME", help="sessions, exchanges, lookups, connections")
    arguments = parser.parse_args(argv)
    capture, small = capture_file(arguments.workload), capture_file(arguments.workload, part=WARM_UP)
    paths = rotated(capture, arguments.files)
    for path in paths:
        warm(Path(path))
    met = True
    try:
        with tempfile.TemporaryDirectory(prefix="netlens-bench-") as temporary:
            for table in arguments.tables if arguments.repeat else ():
                seconds, processor = measure(paths, small, table, arguments.repeat, Path(temporary))
                one, two = (statistics.median(seconds[n]) for n in WORKERS)
                met &= one / two >= TARGET
                least, busy = [min(seconds[n]) for n in WORKERS], [statistics.median(processor[n]) for n in WORKERS]
                print(
                    f"{table}: {len(paths)} files, median of {arguments.repeat}: one worker {one:.2f} s, two workers {two:.2f} s, "
                    f"{one / two:.2f} times (wanted: {TARGET}); least {least[0]:.2f} s and {least[1]:.2f} s, {least[0] / least[1]:.2f} times; "
                    f"of the processor {busy[0]:.2f} s and {busy[1]:.2f} s, {busy[0] / busy[1]:.2f} times; all rows are those of one process"
                )
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    for table in arguments.tables:
        print(moved(paths, table))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
