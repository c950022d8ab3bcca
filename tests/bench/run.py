"""Measure netlens and its peers side by side: ``python -m tests.bench.run [--workloads full ...] [--repeat 3] [--out docs/benchmarks.md]``.

One run is one table: every contestant reads the same files, from a warm page cache, in turns (all of them once, then all of them again),
and the median of the turns is reported. netlens' rows are compared with the truth of the generated capture; if one differs nothing is
written. A peer that is missing or cannot read a file is listed as such.

Captures lie in ``$NETLENS_BENCH_DIR`` (default ``~/.cache/netlens-bench``) and are made when they are missing or were made otherwise.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import peers
from tests.bench.check import differences, rows_expected
from tests.bench.generate import is_current, load_truth, parameters
from tests.bench.peers import cache_folder
from tests.bench.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
TWO_SIDES = "## Two captures"  #: begins the sections of tests.bench.stage_page, which stay
SEED = 1
EXCERPT = 20  #: the slow peers read a capture with a twentieth of the sessions: pyshark would take an hour and a half for the whole one
WARM_UP = 2000  #: kernels are loaded by reading a capture of the same kind with that fraction of its sessions
LIMIT_S = 180.0  #: a contestant that takes longer is given up
#: peak memory that grows by less than this from a file to one twice as long is the same: two runs on one file differ by a few per cent
SAME_MEMORY = 1.10
TWICE_THE_TIME = 2.10  #: for twice the packets
SCALES = (2, 4)  #: files that many times as long, besides the workload itself
ONE_TURN_S = 60.0  #: a peer that takes longer is measured once
QUICK_S, QUICK = (
    2.0,
    3,
)  #: a contestant that takes less is measured so many times as often: what else the machine does is a larger part of it


class BenchError(Exception):
    """netlens failed, or its rows are not the truth, or results cannot be put side by side."""


@dataclass(frozen=True)
class Contestant:
    """One program on one capture. ``command`` makes its argument list from the capture, a small capture and an output file."""

    name: str
    command: Callable[[Path, Path, Path], list[str]]
    program: str | None = None  #: must be on the path
    module: str | None = None  #: must be importable; the command then prints its own time, as inprocess.py does
    rows: str | None = None  #: pattern of an output line that is one session
    table: str = "sessions"
    ours: bool = False
    slow: bool = False
    peer: bool = False  #: ``module`` lies in the environment of the peers
    suffix: str = ""  #: of the only captures that it is run on


@dataclass
class Result:
    """Measurements of one contestant on one capture; ``failure`` says why there are none."""

    contestant: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    rows: int | None = None
    packets: int = 0
    failure: str = ""
    excerpt: bool = False

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def peak_mb(self) -> float:
        return max(self.peak_bytes) / 1e6


def _inprocess(library: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda capture, small, _: [sys.executable, "-m", "tests.bench.inprocess", library, str(capture), str(small), "--check"]


def _own(library: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda capture, _, __: [sys.executable, "-m", "tests.bench.inprocess", library, str(capture)]


def _peer(library: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda capture, _, __: [str(peers.python()), "-m", "tests.bench.inprocess", library, str(capture)]


def _netlens(command: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda capture, _, out: [sys.executable, "-m", "netlens", command, str(capture), "--format", "parquet", "-o", str(out)]


CAPINFOS = Contestant("capinfos -c", lambda capture, _, __: ["capinfos", "-c", str(capture)], "capinfos")
NETLENS = Contestant("netlens, in process", _inprocess("netlens-sessions"), module="netlens", ours=True)
ONE_CORE = Contestant(
    "netlens, in process, one core",
    lambda *arguments: ["taskset", "-c", str(min(os.sched_getaffinity(0))), *NETLENS.command(*arguments)],
    "taskset",
    module="netlens",
    ours=True,
)
NETLENS_COMMAND = Contestant("netlens sessions --format parquet", _netlens("sessions"), ours=True)
NETLENS_DNS = Contestant("netlens lookups, in process", _inprocess("netlens-lookups"), module="netlens", table="lookups", ours=True)
NETLENS_DNS_COMMAND = Contestant("netlens dns --format parquet", _netlens("dns"), table="lookups", ours=True)
TCPTRACE = Contestant(
    "tcptrace -n", lambda capture, _, __: ["tcptrace", "-n", str(capture)], "tcptrace", rows=r" *\d+: .*\([a-z]+2[a-z]+\)"
)
TSHARK = Contestant(
    "tshark -q -z conv,tcp", lambda capture, _, __: ["tshark", "-q", "-z", "conv,tcp", "-r", str(capture)], "tshark", rows=r".* <-> .*"
)
TSHARK_DNS = Contestant("tshark -q -z dns,tree", lambda capture, _, __: ["tshark", "-q", "-z", "dns,tree", "-r", str(capture)], "tshark")
ARGUS = Contestant(
    "argus -r", lambda capture, _, out: ["argus", "-X", "-e", "127.0.0.1", "-r", str(capture), "-w", f"{out}.argus"], "argus"
)
LIBRARIES = (
    Contestant("nfstream, no dissection", _peer("nfstream"), module="nfstream", peer=True),
    Contestant("dpkt loop", _peer("dpkt"), module="dpkt", peer=True),
    Contestant("scapy PcapReader loop", _own("scapy"), module="scapy", slow=True),
    Contestant("pyshark loop", _own("pyshark"), program="tshark", module="pyshark", slow=True),
)
#: What no program of this machine could be faster than: on all cores, as they share its memory, and with one stream of gzip.
AT_ONCE = Contestant(
    "bound for all cores: one reader on each, at once",
    lambda *arguments: [*_own("netlens-sessions")(*arguments), str(arguments[1]), "--at-once"],
    module="netlens",
    suffix=".pcap",
    ours=True,
)
INFLATE = Contestant("bound for gzip: inflated, and nothing else", _own("inflate"), module="isal", suffix=".pcap.gz")
SESSIONS = (CAPINFOS, NETLENS, ONE_CORE, AT_ONCE, INFLATE, NETLENS_COMMAND, TCPTRACE, ARGUS, TSHARK, *LIBRARIES)
LOOKUPS = (CAPINFOS, NETLENS_DNS, NETLENS_DNS_COMMAND, TSHARK_DNS)
GROWTH = (CAPINFOS, NETLENS, NETLENS_COMMAND)
GROWTH_LOOKUPS = (CAPINFOS, NETLENS_DNS, NETLENS_DNS_COMMAND)
HELP = Contestant("netlens --help", lambda *_: [sys.executable, "-m", "netlens", "--help"], ours=True)
SMALL = Contestant("netlens sessions", lambda capture, _, __: [sys.executable, "-m", "netlens", "sessions", str(capture)], ours=True)

SMALL_BY_NUMBA = Contestant(
    "netlens sessions, with numba", lambda *arguments: ["env", "NETLENS_KERNELS=numba", *SMALL.command(*arguments)], ours=True
)


def _python(code: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda capture, _, __: [sys.executable, "-c", code, str(capture)]


READ = "import netlens, sys; netlens.read(sys.argv[1], tables=('sessions',)).table('sessions')"
#: Each line does what the one above it does, and more.
START = (
    Contestant("python -c pass", _python("pass"), ours=True),
    Contestant("+ import numpy", _python("import numpy"), ours=True),
    Contestant("+ import netlens' readers and parsers", _python("import netlens.api, netlens.parsers.pipeline"), ours=True),
    Contestant("+ load the kernels, read ten packets, make the rows", _python(READ), ours=True),
    SMALL,
    SMALL_BY_NUMBA,
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def capture_file(workload: str, *, scale: int = 1, part: int = 1) -> Path:
    """The generated capture, made if it is not there as wanted; ``part`` 20 has a twentieth of the sessions."""
    known = WORKLOADS[workload]
    sessions = max(1, known.sessions // part)
    name = f"{workload}-x{scale}" + (f"-part{part}" if part > 1 else "")
    path = cache_folder() / (name + known.suffix)
    if not is_current(path, parameters(workload, SEED, scale, sessions)):
        path.parent.mkdir(parents=True, exist_ok=True)
        say(f"making {path.name}")
        # in a process of its own: the memory it takes is given back, and this one stays small
        command = [sys.executable, "-m", "tests.bench.generate", workload, str(path), "--seed", str(SEED)]
        subprocess.run([*command, "--scale", str(scale), "--sessions", str(sessions)], cwd=ROOT, check=True)
    return path


def warm(path: Path) -> None:
    """Read the file once, so that no contestant waits for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(16 << 20):
            pass


def missing(contestant: Contestant) -> str:
    if contestant.program and not shutil.which(contestant.program):
        return "not installed"
    if contestant.module and contestant.peer:
        return "" if peers.version(contestant.module) else "not installed"
    if contestant.module and not contestant.ours:
        try:
            importlib.metadata.version(contestant.module)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"
    return ""


def measure(contestant: Contestant, capture: Path, small: Path, folder: Path, result: Result) -> Path:
    """One turn: adds a time and a peak to ``result``, or its failure. Returns the file that ``-o`` named."""
    stem = folder / re.sub(r"\W+", "-", f"{contestant.name} {capture.name}")
    out, err, parquet = (stem.with_name(stem.name + suffix) for suffix in (".out", ".err", ".parquet"))
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("measure.py")), str(out), str(err)]
    with subprocess.Popen(
        command + contestant.command(capture, small, parquet), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # the group is this contestant's own
            result.failure = f"gave up after {LIMIT_S:.0f} s"
            return parquet
    measured = json.loads(output)
    if measured["exit_code"]:
        lines = [line.strip() for line in err.read_text(errors="replace").splitlines() if line.strip() and "Running as user" not in line]
        # a traceback ends with what went wrong, a plain message begins with it
        reason = (lines[-1] if lines[0].startswith("Traceback") else lines[0]) if lines else "no message"
        reason = reason.replace(str(capture), capture.name)
        result.failure = f"failed (exit code {measured['exit_code']}): {reason}"
        return parquet
    if contestant.module:
        inside = json.loads(out.read_text().splitlines()[-1])
        if inside.get("differences"):
            raise BenchError(f"{contestant.name} on {capture.name}: " + "; ".join(inside["differences"]))
        measured |= {"seconds": inside["seconds"], "peak_bytes": inside["peak_bytes"]}
        result.rows = inside["rows"]
    elif contestant.rows:
        pattern = re.compile(contestant.rows)
        with out.open(errors="replace") as lines_of:
            result.rows = sum(1 for line in lines_of if pattern.match(line))
    result.seconds.append(measured["seconds"])
    result.peak_bytes.append(measured["peak_bytes"])
    return parquet


def check_parquet(parquet: Path, capture: Path, table: str) -> int:
    """Compare the rows of a Parquet file with the truth; returns their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = pq.read_table(parquet)
    columns = {}
    for name in stored.column_names:
        column = stored.column(name)
        if pa.types.is_integer(column.type):
            column = column.fill_null(-1)  # with nulls it would come as float64, which cannot hold ns since 1970
        columns[name] = column.to_numpy(zero_copy_only=False)
    if found := differences(load_truth(capture), columns, table):
        raise BenchError(f"{parquet.name}: " + "; ".join(found))
    return stored.num_rows


def contest(
    workload: str, contestants: Iterable[Contestant], repeat: int, folder: Path, *, scale: int = 1, everything: bool = False
) -> list[Result]:
    """All contestants on one workload, in turns."""
    capture = capture_file(workload, scale=scale)
    small = capture if workload == "ten" else capture_file(workload, part=WARM_UP)
    warm(capture)
    truth = load_truth(capture)
    packets = int(truth["frames"])
    results: dict[str, tuple[Contestant, Path, Result]] = {}
    for contestant in contestants:
        result = Result(contestant.name, packets=packets, failure=missing(contestant))
        file = capture
        if contestant.slow and not result.failure:
            result.excerpt = True
            if everything:
                file = capture_file(workload, scale=scale, part=EXCERPT)
                result.packets = int(load_truth(file)["frames"])
                warm(file)
            else:
                result.failure = "not run (slow; --all runs it)"
        results[contestant.name] = (contestant, file, result)
    for contestant, _, _ in results.values():
        if (
            contestant.ours and contestant not in START
        ):  # once on the small capture, outside of all measurements: compiles what is not in the cache yet
            rehearsal = Result(contestant.name)
            measure(contestant, small, small, folder, rehearsal)
            if rehearsal.failure:
                raise BenchError(f"{contestant.name} on {small.name}: {rehearsal.failure}")
    for turn in range(QUICK * repeat):
        for contestant, file, result in results.values():
            if result.failure or (turn and (contestant.slow or (not contestant.ours and max(result.seconds) > ONE_TURN_S))):
                continue
            if turn >= repeat and max(result.seconds) > QUICK_S:
                continue
            parquet = measure(contestant, file, small, folder, result)
            if contestant.ours and result.failure:
                raise BenchError(f"{contestant.name} on {file.name}: {result.failure}")
            if contestant in (NETLENS_COMMAND, NETLENS_DNS_COMMAND) and turn == 0:
                result.rows = check_parquet(parquet, file, contestant.table)
            last = (QUICK if max(result.seconds, default=0.0) <= QUICK_S else 1) * repeat - 1
            for left in (parquet, parquet.with_name(f"{parquet.name}.argus")):
                if turn < last or contestant is ARGUS:
                    left.unlink(missing_ok=True)
            text = result.failure or f"{result.seconds[-1]:.3f} s, {result.peak_bytes[-1] / 1e6:.0f} MB"
            say(f"{workload} x{scale}, turn {turn + 1}: {contestant.name}: {text}")
    if workload != "ten":
        say(f"{workload} x{scale}: {rows_expected(truth, 'sessions'):,} sessions, {rows_expected(truth, 'lookups'):,} lookups expected")
    return [result for _, _, result in results.values()]


# --- the machine and the programs -----------------------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What a time depends on besides the programs."""
    try:
        model = next(
            line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
        if sys.platform == "darwin":
            model = (
                subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False).stdout.strip()
                or model
            )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPU": model,
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "scheduling": "real-time, beside other work" if _is_real_time() else "usual",
    }


def _is_real_time() -> bool:
    return hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def _first_line(*command: str) -> str:
    if not shutil.which(command[0]):
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    text = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r"\d+\.\d+", line)]
    found = re.search(r"\d+(\.\d+)+", text[0]) if text else None
    return found.group() if found else "unknown"


def versions() -> dict[str, str]:
    programs = {
        name: _first_line(name, *options)
        for name, *options in (("capinfos", "--version"), ("tshark", "--version"), ("tcptrace", "-v"), ("argus", "-X", "-h"))
    }
    for package in ("netlens", "numba", "numpy", "pyarrow", "scapy", "pyshark"):
        try:
            programs[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            programs[package] = "not installed"
    for package in ("nfstream", "dpkt"):
        programs[package] = peers.version(package) or "not installed"
    source = hashlib.sha256()
    for file in sorted((ROOT / "netlens").rglob("*.py")):
        source.update(file.read_bytes())
    programs["netlens"] += f", source {source.hexdigest()[:12]}"  # two states of one version are two programs
    return programs


# --- the report -------------------------------------------------------------------------------------------------------------------


def by_name(results: Iterable[Result], contestant: Contestant) -> Result | None:
    return next((r for r in results if r.contestant == contestant.name and r.seconds), None)


def markdown_table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    align = ["---", *("---:" for _ in head[1:])]
    return ["| " + " | ".join(row) + " |" for row in (head, align, *rows)] + [""]


def _ratio(result: Result, other: Result | None) -> str:
    if other is None:
        return ""
    # time per packet, so that an excerpt is compared fairly
    value = (result.median_s / result.packets) / (other.median_s / other.packets)
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _workload_section(name: str, results: list[Result], capture: dict[str, Any]) -> list[str]:
    lookups = name == "dns"
    references = (CAPINFOS, TSHARK_DNS) if lookups else (CAPINFOS, TCPTRACE, TSHARK)
    known = [by_name(results, reference) for reference in references]
    rows = []
    for r in results:
        if r.failure:
            rows.append([r.contestant, r.failure.replace("|", "\\|"), *[""] * (4 + len(references))])
            continue
        label = r.contestant + (f" (1/{EXCERPT} of the sessions, one turn)" if r.excerpt else "")
        spread = f"{r.median_s:.3f}" if r.median_s < 100 else f"{r.median_s:.0f}"
        row = [label, spread, f"{min(r.seconds):.3f} to {max(r.seconds):.3f}", f"{r.packets / r.median_s:,.0f}", f"{r.peak_mb:,.0f}"]
        rows.append([*row, f"{r.rows:,}" if r.rows is not None else "", *(_ratio(r, k) for k in known)])
    head = [
        "program",
        "median, s",
        "range, s",
        "packets/s",
        "peak, MB",
        "lookups" if lookups else "sessions",
        *(f"/ {c.name}" for c in references),
    ]
    title = f"## {name}: {WORKLOADS[name].title}"
    return [title, "", f"{capture['frames']:,} packets, {capture['bytes'] / 1e9:.2f} GB.", "", *markdown_table(head, rows)]


def targets(data: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    """What was promised: claim, target, measured, met (None: could not be measured)."""
    small, growth = data["small"], data["growth"]
    rows: list[tuple[str, str, str, bool | None]] = []

    def at_most(claim: str, most: float, ours: Result | None, peer: Result | None, bound: Result | None = None) -> None:
        if ours is None or peer is None:
            rows.append((claim, f"at most {most:.2f}", "not measured", None))
        else:
            a, b = ours.median_s / ours.packets, peer.median_s / peer.packets
            least = "" if bound is None else f"; the bound is {bound.median_s:.3f} s = {bound.median_s / bound.packets / b:.3f}"
            rows.append(
                (claim, f"at most {most:.2f}", f"{ours.median_s:.3f} s / {peer.median_s:.3f} s = {a / b:.3f}{least}", a <= most * b)
            )

    ratios = []
    for name, results in data["workloads"].items():
        ours, counted = by_name(results, NETLENS), by_name(results, CAPINFOS)
        if ours is not None and counted is not None and not WORKLOADS[name].suffix.endswith(".gz"):  # there inflating is most of the time
            ratios.append(ours.median_s / counted.median_s)
            if name != "full":
                at_most(f"{name}: sessions in process / capinfos -c", 1.2, ours, counted)
            if WORKLOADS[name].suffix == ".pcap":
                one, bound = (by_name(results, each) for each in (ONE_CORE, AT_ONCE))
                at_most(f"{name}: sessions in process, all cores / one", 1 / 1.5, ours, one, bound)
    if ratios:
        mean = math.prod(ratios) ** (1 / len(ratios))
        claim = f"sessions in process / capinfos -c, geometric mean of {len(ratios)} workloads"
        rows.append((claim, "at most 1.00", f"{mean:.3f}", mean <= 1))
    for name, results in data["workloads"].items():
        command = by_name(results, NETLENS_DNS_COMMAND if name == "dns" else NETLENS_COMMAND)
        if name == "full":
            at_most("full: sessions in process / capinfos -c", 1.0, by_name(results, NETLENS), by_name(results, CAPINFOS))
            at_most("full: whole command / tcptrace -n", 0.75, command, by_name(results, TCPTRACE))
            four = growth.get("full", {}).get("4", [])
            at_most("full, four times as long: whole command / tcptrace -n", 0.5, by_name(four, NETLENS_COMMAND), by_name(four, TCPTRACE))
            at_most("full: whole command / tshark -q -z conv,tcp", 0.08, command, by_name(results, TSHARK))
            for label, contestant in (("in process", NETLENS), ("whole command", NETLENS_COMMAND)):
                one = by_name(results, contestant)
                claim, target = f"full: peak memory, {label}", "at most 300 MB"
                rows.append((claim, target, f"{one.peak_mb:.0f} MB", one.peak_mb <= 300) if one else (claim, target, "not measured", None))
            continue
        if name == "dns":
            at_most("dns: whole command / tshark -q -z dns,tree", 0.1, command, by_name(results, TSHARK_DNS))
            continue
        peers = [r for r in results if r.seconds and r.contestant in {c.name for c in (TCPTRACE, ARGUS, TSHARK, *LIBRARIES)}]
        fastest = min(peers, key=lambda r: r.median_s / r.packets, default=None)
        at_most(f"{name}: whole command / the fastest peer ({fastest.contestant if fastest else 'none'})", 1.0, command, fastest)
        at_most(f"{name}: whole command / tshark -q -z conv,tcp", 0.12, command, by_name(results, TSHARK), by_name(results, INFLATE))
    for name, scales in growth.items():
        pair = (NETLENS_DNS, NETLENS_DNS_COMMAND) if name == "dns" else (NETLENS, NETLENS_COMMAND)
        for label, contestant in zip(("in process", "whole command"), pair, strict=True):
            of = {int(scale): by_name(results, contestant) for scale, results in scales.items()}
            for before, after in ((1, 2), (2, 4)):
                one, two = of.get(before), of.get(after)
                if one is None or two is None:
                    continue
                times = (two.median_s / one.median_s) / (two.packets / one.packets) * 2
                claim = f"{name}, {before} to {after} times as long, {label}: time for twice the packets"
                text = f"{one.median_s:.3f} s, {two.median_s:.3f} s ({times:.2f} times)"
                rows.append((claim, f"at most {TWICE_THE_TIME:.2f} times", text, times <= TWICE_THE_TIME))
                if name != "dns":  # there the rows grow
                    factor = two.peak_mb / one.peak_mb
                    claim = f"{name}, {before} to {after} times as long, {label}: peak memory"
                    text = f"{one.peak_mb:.0f} MB, {two.peak_mb:.0f} MB ({factor:.2f} times)"
                    rows.append((claim, f"at most {SAME_MEMORY:.2f} times", text, factor <= SAME_MEMORY))
    helping = by_name(small, HELP)
    if helping is None:
        rows.append(("netlens --help", "below 0.25 s", "not measured", None))
    else:
        rows.append(("netlens --help", "below 0.25 s", f"{helping.median_s:.3f} s", helping.median_s < 0.25))
    at_most("netlens sessions / tshark, ten packets", 1.5, by_name(small, SMALL), by_name(small, TSHARK))
    return rows


def report(data: dict[str, Any]) -> str:
    """The page, from the results of :func:`collect`."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m tests.bench.run` (`make bench`); not edited by hand. All numbers are of one machine, each table of one run:",
        f"the same files, read once before (warm page cache), contestants in turns, wall time, median of {data['repeat']} turns",
        f"({QUICK * data['repeat']} of those that take less than {QUICK_S:.0f} s).",
        "Peak memory is the largest resident set of the process. netlens' kernels were compiled before; its rows agree with the",
        "truth of the generated captures: addresses, ports, frames and bytes each way, first and last frame and time, state.",
        "*In process* is without starting Python and imports; the other lines are whole commands. A *bound* is what no program of this machine is",
        "faster than: cores share its memory, so one reader on each of them, all at once, takes longer than one alone (told is their time divided by",
        "their number); and one stream of gzip is inflated by one core (by ISA-L, and nothing else is done).",
        "",
        *markdown_table(["machine", ""], [[k, v] for k, v in (data["machine"] | {"date": data["date"]}).items()]),
        *markdown_table(["program", "version"], [[k, v] for k, v in data["versions"].items()]),
        "## Targets",
        "",
    ]
    word = {True: "yes", False: "**no**", None: "not measured"}
    lines += markdown_table(
        ["claim", "target", "measured", "met"], [[claim, target, text, word[met]] for claim, target, text, met in targets(data)]
    )
    for name, results in data["workloads"].items():
        lines += _workload_section(name, results, data["captures"][name])
    if data["growth"]:
        lines += [
            "## Growth",
            "",
            "Scale K is a file K times as long with the same number of sessions; of dns with K times as many lookups.",
            "",
        ]
        rows = [
            [name, scale, f"{r.packets:,}", r.contestant, f"{r.median_s:.3f}", f"{r.packets / r.median_s:,.0f}", f"{r.peak_mb:,.0f}"]
            for name, scales in data["growth"].items()
            for scale, results in scales.items()
            for r in results
            if r.seconds
        ]
        lines += markdown_table(["workload", "scale", "packets", "program", "median, s", "packets/s", "peak, MB"], rows)
    if data["small"]:
        lines += [
            "## Start-up",
            "",
            "One capture of ten packets. The first lines are steps to the whole command; each does what the one above it does. The one with numba is without",
            "entries, as on a machine that has no linker.",
            "",
        ]
        rows = [[r.contestant, r.failure or f"{r.median_s:.3f}", f"{r.peak_mb:,.0f}" if r.seconds else ""] for r in data["small"]]
        lines += markdown_table(["program", "median, s", "peak, MB"], rows)
    return "\n".join(lines)


# --- one run ----------------------------------------------------------------------------------------------------------------------


def collect(
    names: list[str],
    repeat: int,
    folder: Path,
    everything: bool,
    chosen: Callable[[Contestant], bool],
    scales: tuple[int, ...] = SCALES,
    keep: bool = True,
) -> dict[str, Any]:
    """Measure; the result is what :func:`report` writes from."""
    data: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "repeat": repeat,
        "workloads": {},
        "captures": {},
        "growth": {},
        "small": [],
    }
    for name in names:
        contestants = [c for c in (LOOKUPS if name == "dns" else SESSIONS) if chosen(c) and c.suffix in ("", WORKLOADS[name].suffix)]
        data["workloads"][name] = contest(name, contestants, repeat, folder, everything=everything)
        file = capture_file(name)
        data["captures"][name] = {"frames": int(load_truth(file)["frames"]), "bytes": file.stat().st_size}
        growing = GROWTH_LOOKUPS if name == "dns" else GROWTH
        data["growth"][name] = {"1": [r for r in data["workloads"][name] if r.contestant in {c.name for c in growing}]}
        for scale in scales:
            more = (*growing, TCPTRACE) if (name, scale) == ("full", 4) else growing
            data["growth"][name][str(scale)] = contest(name, [c for c in more if chosen(c)], repeat, folder, scale=scale)
            if not keep:
                capture_file(name, scale=scale).unlink()
    # so short that the machine's noise is the larger part: more turns
    data["small"] = contest("ten", [c for c in (*START, HELP, TSHARK) if chosen(c)], max(repeat, 3) * 2, folder)
    return data


def check_mergeable(data: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise BenchError if ``stored`` is of another machine or other versions: its numbers do not belong beside those of ``data``."""
    for what in ("machine", "versions", "repeat"):
        if stored[what] != data[what]:
            raise BenchError(f"the stored results are of other {what} ({stored[what]}, now {data[what]}): run without --merge")


def merge(data: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """Add the workloads of an earlier run that this one did not measure, see :func:`check_mergeable`."""
    check_mergeable(data, stored)
    return data | {part: stored[part] | data[part] for part in ("workloads", "captures", "growth")}


def _to_json(data: dict[str, Any]) -> str:
    return json.dumps(data, default=asdict, indent=1)


def _from_json(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    data["workloads"] = {name: [Result(**r) for r in results] for name, results in data["workloads"].items()}
    data["growth"] = {
        name: {scale: [Result(**r) for r in results] for scale, results in scales.items()} for name, scales in data["growth"].items()
    }
    data["small"] = [Result(**r) for r in data["small"]]
    return data


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--workloads", nargs="+", default=[w for w in WORKLOADS if w != "ten"], choices=[w for w in WORKLOADS if w != "ten"], metavar="NAME"
    )
    parser.add_argument("--repeat", type=int, default=3, help="turns; the median is reported")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what every contestant wrote")
    parser.add_argument("--all", action="store_true", help=f"also the slow peers, on a {EXCERPT}th of the sessions")
    parser.add_argument("--scales", nargs="*", type=int, default=list(SCALES), help="how many times as long the further files are")
    parser.add_argument("--tidy", action="store_true", help="delete the longer files once they are measured (all together take 40 GB)")
    parser.add_argument("--contestants", nargs="+", metavar="WORD", help="only those whose name contains one of the words")
    parser.add_argument(
        "--merge", action="store_true", help="keep the other workloads of the last run; only of the same machine and programs"
    )
    arguments = parser.parse_args(argv)
    words = arguments.contestants

    def chosen(contestant: Contestant) -> bool:
        return not words or any(word in contestant.name for word in words)

    store = cache_folder() / "results.json"
    try:
        stored = _from_json(store.read_text()) if arguments.merge and store.exists() else None
        if stored:
            check_mergeable({"machine": machine(), "versions": versions(), "repeat": arguments.repeat}, stored)  # before measuring
        with tempfile.TemporaryDirectory(prefix="netlens-bench-") as temporary:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            data = collect(
                arguments.workloads, arguments.repeat, folder.resolve(), arguments.all, chosen, tuple(arguments.scales), not arguments.tidy
            )
        if stored:
            data = merge(data, stored)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    store.write_text(_to_json(data) + "\n")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    page = arguments.out.read_text() if arguments.out.exists() else ""
    behind = page[page.index(TWO_SIDES) :] if TWO_SIDES in page else ""
    arguments.out.write_text(report(data) + (f"\n{behind}" if behind else ""))
    say(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
