"""Measure ``netlens analyze`` on two captures, stage by stage: ``python -m tests.bench.stage_page [--million] [--repeat 3] [--out docs/benchmarks.md]``.

The page keeps what ``tests.bench.run`` wrote; the section of the stages is replaced, or added at its end. Each turn measures capinfos of both files, the
analysis, and the analysis with its report (:mod:`tests.bench.stages`), and both as whole commands, whose peak memory is shown; of each time the median of the
turns. With ``--million`` it is measured instead how each stage grows up to a million requests: that takes 18 GB on disk, 10 GB of memory and ten minutes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.peers import cache_folder
from tests.bench.run import ROOT, TWO_SIDES, BenchError, markdown_table, say, versions, warm

TITLE = f"{TWO_SIDES} analysed, stage by stage"
CONNECTIONS = (1_500, 15_000)
MILLION_TITLE, MILLION = f"{TWO_SIDES} with a million requests", 340_000  #: connections
MOST_CAPINFOS = {"plain": 9.0, "report": 18.0}  #: wanted of the largest pair: times capinfos -c of both files
MOST_MB = 400.0
MEASURE = str(Path(__file__).with_name("measure.py"))
NAMES = {"plain": "all without the report", "report": "all with the report, as with -o"}
LEAST_S = 0.02  #: of a stage of the smallest pair; how a shorter one grows is noise


def pair_folder(connections: int) -> Path:
    """The generated recording, made if it is not there as wanted."""
    folder = cache_folder() / f"two-sides-{connections}"
    sources = (ROOT / "tests" / "bench" / name for name in ("two_sides.py", "frames.py"))
    stamp, made = folder / "made", hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    if not stamp.exists() or stamp.read_text() != made:
        say(f"making {folder.name}")
        command = [sys.executable, "-m", "tests.bench.two_sides", str(folder), "--connections", str(connections)]
        subprocess.run(command, cwd=ROOT, check=True)
        stamp.write_text(made)
    return folder


def _timed(command: list[str]) -> tuple[float, float, str]:
    """Wall time, processor time and output of a command."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def collect(repeat: int) -> dict[str, Any]:
    """Measure; the result is what :func:`section` writes from."""
    sizes: dict[int, Any] = {}
    for n in CONNECTIONS:
        folder = pair_folder(n)
        files = [folder / name for name in ("vm.pcap", "host.pcap")]
        for file in files:
            warm(file)
        turns: dict[str, list[Any]] = {"capinfos": [], "plain": [], "report": []}
        for turn in range(repeat):
            turns["capinfos"].append(_timed(["capinfos", "-c", *map(str, files)])[:2])
            for kind, options in (("plain", ()), ("report", ("--report",))):
                inside = json.loads(_timed([sys.executable, "-m", "tests.bench.stages", str(folder), *options])[2])
                turns[kind].append(inside | {"command": _command(folder, bool(options))})
                say(f"{n:,} connections, turn {turn + 1}: {NAMES[kind]}: {turns[kind][-1]['seconds']:.2f} s")
        capinfos = [statistics.median(each[k] for each in turns["capinfos"]) for k in (0, 1)]
        sizes[n] = {"capinfos": capinfos} | {kind: _middle(turns[kind]) for kind in NAMES}
    other = f"{os.getloadavg()[2]:.0f} on {os.cpu_count()} cores"
    return {
        "load": other,
        "netlens": versions()["netlens"],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "repeat": repeat,
        "sizes": sizes,
    }


def _command(folder: Path, report: bool) -> dict[str, Any]:
    """``netlens analyze`` as a whole command: seconds and peak_bytes, the most that it or a process of its own held."""
    with tempfile.TemporaryDirectory(prefix="netlens-bench-") as out:
        command = [sys.executable, "-m", "netlens", "analyze", str(folder), *(["-o", out] if report else [])]
        found: dict[str, Any] = json.loads(_timed([sys.executable, "-I", "-S", MEASURE, os.devnull, os.devnull, *command])[2])
    if found["exit_code"]:
        raise BenchError(f"netlens analyze {folder} failed")
    return found


def _middle(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several turns one; a time is a pair, wall and processor."""
    stages = {stage: [statistics.median(each["stages"][stage][k] for each in turns) for k in (0, 1)] for stage in turns[0]["stages"]}
    return {
        "requests": turns[0]["requests"],
        "packets": turns[0]["packets"],
        "command_s": statistics.median(each["command"]["seconds"] for each in turns),
        "peak_mb": max(each["command"]["peak_bytes"] for each in turns) / 1e6,
        "all": [statistics.median(each[name] for each in turns) for name in ("seconds", "processor_s")],
        "stages": stages,
    }


def section(data: dict[str, Any]) -> list[str]:
    """The section of the page, in lines."""
    sizes = list(data["sizes"].values())
    small, large = sizes[0], sizes[-1]
    more = large["report"]["requests"] / small["report"]["requests"]

    def row(name: str, times: list[list[float]]) -> list[str]:
        grown = times[-1][1] / times[0][1] / more if times[0][1] >= LEAST_S and more > 1 else None
        return [name, *(f"{wall:.2f} / {used:.2f}" for wall, used in times), "" if grown is None else f"{grown:.2f}"]

    head = ["stage"]
    for connections, size in data["sizes"].items():
        of = size["report"]
        head.append(f"{int(connections):,} connections, {of['requests']:,} requests, {of['packets']:,} packets")
    rows = [row(stage, [size["report"]["stages"][stage] for size in sizes]) for stage in large["report"]["stages"]]
    rows += [row(name, [size[kind]["all"] for size in sizes]) for kind, name in NAMES.items()]
    rows.append([*row("capinfos -c of both files", [size["capinfos"] for size in sizes])[:-1], ""])
    commands = [f"{size['plain']['command_s']:.2f} / {size['report']['command_s']:.2f}" for size in sizes]
    rows.append(["whole command, wall time in s, without -o / with it", *commands, ""])
    peaks = [f"{size['plain']['peak_mb']:,.0f} / {size['report']['peak_mb']:,.0f}" for size in sizes]
    rows.append(["whole command, peak memory in MB, without -o / with it", *peaks, ""])
    wanted = []
    for kind, most in MOST_CAPINFOS.items():
        for k, unit in enumerate(("wall time", "processor time")):
            ratio = large[kind]["all"][k] / large["capinfos"][k]
            claim = f"{NAMES[kind]}, {unit} / capinfos -c of both files"
            wanted.append([claim, f"at most {most:.0f}", f"{ratio:.1f}", "yes" if ratio <= most else "**no**"])
    peak = large["report"]["peak_mb"]
    wanted.append(
        ["peak memory of the command with -o", f"at most {MOST_MB:.0f} MB", f"{peak:,.0f} MB", "yes" if peak <= MOST_MB else "**no**"]
    )
    return [
        TITLE,
        "",
        f"`python -m tests.bench.stage_page`, {data['date']}, netlens {data['netlens']}; median of {data['repeat']} turns. In process, kernels",
        "loaded, threads in one heap as in the command, warm page cache. Seconds of wall time / of processor time; the latter counts all threads, and",
        f"changes less with other work on the machine (load while this was measured: {data['load']}). A stage is without the stages inside it; what a",
        "second process did meanwhile is in the processor time of the stage that waited for it. *Growth*: of processor time over that of requests; 1 is",
        "linear.",
        "",
        *markdown_table([*head, "growth"], rows),
        *markdown_table(["claim, of the largest pair", "target", "measured", "met"], wanted),
    ]


def collect_million(repeat: int) -> list[dict[str, Any]]:
    """Stages of the largest pair that is kept, the turn with the least processor time, and of one with a million requests, which is removed."""
    small = pair_folder(CONNECTIONS[-1])
    with tempfile.TemporaryDirectory(prefix="netlens-bench-", dir=cache_folder()) as large:
        command = [sys.executable, "-m", "tests.bench.two_sides", large, "--connections", str(MILLION)]
        subprocess.run(command, cwd=ROOT, check=True)
        out = []
        for folder, turns in ((str(small), repeat), (large, 1)):
            found = [json.loads(_timed([sys.executable, "-m", "tests.bench.stages", folder])[2]) for _ in range(turns)]
            out.append(min(found, key=lambda each: float(each["processor_s"])))
            say(f"{out[-1]['requests']:,} requests: {out[-1]['seconds']:.0f} s")
    return out


def million_section(found: list[dict[str, Any]]) -> list[str]:
    """The section of what was measured of both, in lines."""
    small, large = found
    more = large["requests"] / small["requests"]
    log = more * math.log(large["requests"]) / math.log(small["requests"])
    rows = []
    for stage, (wall, used) in large["stages"].items():
        before, of = small["stages"][stage]
        if of >= LEAST_S:
            rows.append([stage, f"{before:.2f} / {of:.2f}", f"{wall:.1f} / {used:.1f}", f"{used / of:.0f}"])
    head = [f"{each['requests']:,} requests, {each['packets']:,} packets" for each in found]
    return [
        MILLION_TITLE,
        "",
        f"`python -m tests.bench.stage_page --million`, {dt.datetime.now(dt.UTC).date().isoformat()}, netlens {versions()['netlens']}; without a report.",
        "Wall time / processor time in seconds. *Times*: of processor time, for",
        f"{more:.1f} times the requests; n log n would be {log:.0f}. Reading is linear in packets, so what it takes beyond {more:.0f} is memory: of",
        "gigabytes less is in the processor's caches.",
        "",
        *markdown_table(["stage", *head, "times"], rows),
    ]


def with_section(page: str, lines: list[str]) -> str:
    """The page with the section replaced that has the same title, or added at its end."""
    before, _, rest = page.partition(lines[0])
    behind = re.search(r"^## ", rest, re.MULTILINE)
    return before.rstrip("\n") + "\n\n" + "\n".join(lines) + ("\n" + rest[behind.start() :] if behind else "")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stage_page", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3, help="turns; the median is reported")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--million", action="store_true", help="how stages grow up to a million requests; takes 18 GB on disk")
    arguments = parser.parse_args(argv)
    page = arguments.out.read_text() if arguments.out.exists() else "# Benchmarks\n"
    lines = million_section(collect_million(arguments.repeat)) if arguments.million else section(collect(arguments.repeat))
    arguments.out.write_text(with_section(page, lines))
    say(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
