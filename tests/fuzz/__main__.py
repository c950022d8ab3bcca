"""Runs the targets: ``python -m tests.fuzz --seconds 60``, ``--files 20000 --corpus DIR`` for a fixed number of mutated captures,
``--target log --inputs 5000`` for a number of inputs of one target: of what lies beside captures these are log, manifest, sockets, requests, recording.

Each worker is a process that mutates inputs of its targets, and keeps those that behaved in a new way to mutate them further. Workers have roles:

checked   compiled kernels with bounds checks (NUMBA_BOUNDSCHECK=1); "a new way" is what a target tells of
followed  kernels as plain Python (NUMBA_DISABLE_JIT=1) with coverage: "a new way" is a line or branch of netlens that no input reached before.
          What it keeps goes to ``build/fuzz/corpus``, where later runs of all roles begin
plain     kernels as they are shipped

A failure is: an exception that is not NetlensError, an assertion of a target, more than 10 s for an input, more than 1 GB of memory of the process (where
kernels were compiled by another one before, as in any use but the first; without what a worker remembers of earlier inputs), a process that dies. Its
input goes to ``build/fuzz/failures``; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from netlens.warm import tiny_capture, tiny_pcapng
from tests.fuzz.coverage import AVAILABLE

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "fuzz"
CORPUS = OUT / "corpus"
HANG_S = 10
STUCK_S = 60  #: a kernel cannot be interrupted: then the process ends itself, and says where it was
MEMORY_BYTES = 1_000_000_000
#: How often a target is chosen: the whole way counts most, an analysis takes a hundred times as long as a packet.
WEIGHTS = {
    "pipeline": 30, "container": 10, "packet": 20, "message": 15, "hello": 10, "clear": 5, "traffic": 6, "output": 5, "analysis": 5, "sink": 3,
    "log": 2, "manifest": 1, "sockets": 1, "requests": 1, "recording": 2,
}  # fmt: skip
FILES = ("pipeline", "container", "output", "analysis", "sink")  # whose inputs are capture files
BURST = 20  #: inputs of one target in a row
MOST_KEPT_BYTES = 100_000_000  #: of inputs that behaved in a new way, in memory
ROLES = {"checked": {"NUMBA_BOUNDSCHECK": "1"}, "followed": {"NUMBA_DISABLE_JIT": "1"}, "plain": {}}


#: Inputs besides the first that make kernels compile before memory and time are looked at: the two formats of captures.
KINDS: dict[str, tuple[bytes, ...]] = {name: (tiny_capture(), tiny_pcapng()) for name in FILES}


class Hang(Exception):
    """An input took too long."""


def _alarm(*_: object) -> None:
    raise Hang("took too long")


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def held_bytes() -> int:
    """The memory of this process now."""
    _reset_peak()
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory since the last reset; 0 where the system does not tell (macOS)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Worker:
    """One process: mutates and runs until time or files run out."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.chance = random.Random(options.seed)
        self.seen: dict[str, set[Any]] = {}
        self.corpus: dict[str, list[bytes]] = {}
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self.largest = 0
        self.held_at_first = held_bytes()
        self.kept_bytes = 0
        self.coverage: Any = None

    def run(self) -> dict[str, Any]:
        from tests.fuzz import mutate, seeds
        from tests.fuzz.targets import TARGETS

        os.environ["NETLENS_DEBUG"] = "1"  # a lens that fails is a failure
        warnings.simplefilter("ignore")
        names = self.options.target or list(WEIGHTS)
        folders = [*seeds.FOLDERS, *(Path(p) for p in self.options.corpus)]
        for name in names:
            self.corpus[name] = [*seeds.of(name, folders, random.Random(self.options.seed)), *_grown(name)] or [b"\0"]
            self.seen[name] = set()
            for first in (*self.corpus[name][:4], *KINDS.get(name, ())):
                with contextlib.suppress(Exception):
                    TARGETS[name](first)  # loads or compiles the kernels, which is not what is timed
        if self.options.role == "followed":
            from tests.fuzz.coverage import Coverage

            self.coverage = Coverage()
        signal.signal(signal.SIGALRM, _alarm)
        self.held_at_first = held_bytes()  # kernels, and what is mutated
        until = time.monotonic() + self.options.seconds
        while time.monotonic() < until and self.counts["files"] < self.options.files and self.counts["inputs"] < self.options.inputs:
            name = self.chance.choices(names, [WEIGHTS[n] for n in names])[0]
            pool = self.corpus[name]
            for _ in range(BURST):
                # what was found last is chosen more often: it stands at the end
                at = int(len(pool) * self.chance.random() ** 0.5)
                made = mutate.changed(name, pool[at], self.chance, self.chance.choice(pool))
                behaviour = self.one(name, TARGETS[name], made)
                new = {hash(b) for b in behaviour} - self.seen[name]
                self.seen[name] |= new
                if self.coverage is not None:
                    new = self.coverage.take()
                    if new:
                        _keep(CORPUS / name, made)
                if new and self.kept_bytes + len(made) < MOST_KEPT_BYTES:
                    self.kept_bytes += len(made)
                    pool.append(made)
        self.counts["kept"] = sum(len(p) for p in self.corpus.values())
        if self.coverage is not None:
            self.coverage.stop()
            self.counts["lines and branches reached"] = self.coverage.places
        return {"counts": dict(self.counts), "failures": self.failures, "slowest_s": round(self.slowest, 2), "largest_bytes": self.largest}

    def one(self, name: str, target: Any, data: bytes) -> set[Any]:
        Path(self.options.current).write_bytes(name.encode() + b"\n" + data)  # what a process that dies was at
        self.counts["inputs"] += 1
        self.counts[f"inputs of {name}"] += 1
        if name in FILES:
            self.counts["files"] += 1
        held = held_bytes()
        started = time.monotonic()
        limit = HANG_S * self.options.patience if self.coverage is None else STUCK_S
        signal.alarm(limit)
        faulthandler.dump_traceback_later(STUCK_S * 2, exit=True)
        try:
            behaviour = target(data)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is what is looked for
            signal.alarm(0)
            if isinstance(error, Hang) and self.coverage is not None:  # plain Python is slow
                self.counts["given up"] += 1
                return set()
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "/netlens/" in f.filename), where)
            self.fail(name, data, f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:200]}")
            return set()
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
        took = time.monotonic() - started
        peak = self.held_at_first + peak_bytes() - held  # what a worker itself remembers of ten thousand inputs is no input's
        self.slowest, self.largest = max(self.slowest, took), max(self.largest, peak)
        if took > limit:
            self.fail(name, data, f"hang: {took:.1f} s")
        if peak > MEMORY_BYTES:
            self.fail(name, data, f"memory: {peak / 1e9:.2f} GB")
        return behaviour

    def fail(self, name: str, data: bytes, what: str) -> None:
        what = f"{name}: {what}"
        if sum(f.rpartition(" -> ")[0] == what for f in self.failures) >= 3:
            self.counts["more failures of a kind"] += 1
            return
        self.failures.append(f"{what} -> {_keep(OUT / 'failures', data, name + '-')}")
        print(self.failures[-1], file=sys.stderr, flush=True)


def _keep(folder: Path, data: bytes, prefix: str = "") -> Path:
    path = folder / (prefix + hashlib.sha256(data).hexdigest()[:16])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _grown(name: str) -> list[bytes]:
    """What earlier runs with coverage kept."""
    return [p.read_bytes() for p in sorted((CORPUS / name).glob("*"))]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz everything that reads a stranger's bytes.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--files", type=float, default=float("inf"), help="stop after so many mutated capture files in all")
    parser.add_argument("--inputs", type=float, default=float("inf"), help="stop after so many inputs of any target in all")
    parser.add_argument("--target", action="append", choices=sorted(WEIGHTS))
    parser.add_argument("--corpus", action="append", default=[], help="a folder of further captures to begin with")
    parser.add_argument("--patience", type=int, default=1, help="times 10 s for an input, where the machine has other work")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--roles", default="checked,followed,plain", help="of the workers, by turns")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run (on the same corpus)")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--current", help=argparse.SUPPRESS)
    parser.add_argument("input", nargs="?", help="TARGET:FILE, one input to run once; its traceback is shown")
    return parser.parse_args(argv)


def _start(options: argparse.Namespace, role: str, seed: int, current: Path, seconds: float | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(options.seconds if seconds is None else seconds), "--role", role]
    command += [
        "--files",
        str(options.files / options.jobs),
        "--inputs",
        str(options.inputs / options.jobs),
        "--seed",
        str(seed),
        "--current",
        str(current),
    ]
    command += ["--patience", str(options.patience)]
    command += [a for t in options.target or () for a in ("--target", t)] + [a for c in options.corpus for a in ("--corpus", c)]
    environment = os.environ | {"NUMBA_NUM_THREADS": "1", "MPLBACKEND": "Agg"} | ROLES[role]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def main(argv: list[str] | None = None) -> int:
    options = _arguments(argv)
    if options.input:
        from tests.fuzz.targets import TARGETS

        name, _, path = options.input.partition(":")
        print(sorted(TARGETS[name](Path(path).read_bytes()), key=str))
        return 0
    if options.current:
        faulthandler.enable()
        sys.stdout.write(json.dumps(Worker(options).run()) + "\n")
        return 0
    roles = [r for r in options.roles.split(",") if r != "followed" or AVAILABLE]
    if not roles or not set(roles) <= set(ROLES):
        sys.exit(f"--roles: of {', '.join(ROLES)}" + ("" if AVAILABLE else " (followed: from Python 3.12 on)"))
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    OUT.mkdir(parents=True, exist_ok=True)
    total: Counter[str] = Counter()
    failures: list[str] = []
    slowest, largest = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="netlens-fuzz-") as folder:
        chosen = [roles[i % len(roles)] for i in range(options.jobs)]
        for role in sorted(set(chosen) - {"followed"}):  # compiles the kernels: memory of the compiler is none of an input
            _start(options, role, seed, Path(folder, "first"), seconds=0).communicate()
        running = [(role, Path(folder, str(i)), _start(options, role, seed + i, Path(folder, str(i)))) for i, role in enumerate(chosen)]
        for role, current, process in running:
            out, _ = process.communicate()
            if process.returncode or not out.strip():
                name, _, data = current.read_bytes().partition(b"\n") if current.exists() else (b"none", b"", b"")
                kept = _keep(OUT / "failures", data, f"{name.decode()}-")
                failures.append(f"{name.decode()}: the process died ({process.returncode}), {role} -> {kept}")
                continue
            said = json.loads(out.strip().splitlines()[-1])
            failures += said["failures"]
            slowest, largest = max(slowest, said["slowest_s"]), max(largest, said["largest_bytes"])
            for key, count in said["counts"].items():
                total[key] += count
                if key in ("files", "inputs"):
                    total[f"{key}, {role}"] += count
    print(f"seed {seed}: " + ", ".join(f"{count:,} {key}" for key, count in sorted(total.items())))
    print(f"slowest input {slowest:.2f} s, largest process {largest / 1e6:.0f} MB, failures {len(failures)}")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
