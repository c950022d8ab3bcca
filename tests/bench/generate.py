"""Write a benchmark capture and its truth: ``python -m tests.bench.generate WORKLOAD OUT [--seed N] [--scale K] [--sessions N]``.

Beside ``OUT`` stand ``OUT.truth.npz`` (what is in the capture, see :func:`load_truth`) and ``OUT.stamp.json`` (the parameters it was
made with, written last: a capture without a stamp is not complete). The same parameters give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.frames import Array, write
from tests.bench.workloads import WORKLOADS, Plan

VERSION = 1  #: to be raised with every change of what the generator writes, so that no old file is taken for a new one


def truth_path(capture: Path) -> Path:
    return capture.with_name(capture.name + ".truth.npz")


def stamp_path(capture: Path) -> Path:
    return capture.with_name(capture.name + ".stamp.json")


def parameters(workload: str, seed: int, scale: int, sessions: int | None) -> dict[str, Any]:
    """What a capture depends on; equal parameters, equal bytes."""
    return {
        "version": VERSION,
        "workload": workload,
        "seed": seed,
        "scale": scale,
        "sessions": sessions or WORKLOADS[workload].sessions,
        "numpy": np.__version__,  # numpy promises the same random stream only within a release
    }


def truth(plan: Plan, order: Array) -> dict[str, Array]:
    """Columns of the truth: ``session.*`` by session in order of first frame, ``lookup.*`` by lookup, ``frames`` and ``connections``.

    ``session.orig_ip`` and the like are numbers; times are ns since 1970 UTC; frames count from 1.
    """
    result: dict[str, Array] = {"frames": np.array(len(order)), "connections": np.array(plan.connections)}
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    if plan.sessions:
        sessions = len(plan.sessions["orig_ip"])
        member = np.flatnonzero(plan.session >= 0)
        session, forward, frame = plan.session[member], plan.forward[member], number[member]
        length = np.where(plan.again[member], 0, plan.frames.length[member]) if plan.again is not None else plan.frames.length[member]
        columns = dict(plan.sessions)
        columns["first_frame"] = np.full(sessions, len(order) + 1)
        columns["last_frame"] = np.zeros(sessions, np.int64)
        np.minimum.at(columns["first_frame"], session, frame)
        np.maximum.at(columns["last_frame"], session, frame)
        columns["start_ns"] = plan.frames.time_ns[order[columns["first_frame"] - 1]]
        columns["end_ns"] = plan.frames.time_ns[order[columns["last_frame"] - 1]]
        for name, way in (("orig", forward), ("resp", ~forward)):
            columns[f"{name}_frames"] = np.bincount(session[way], minlength=sessions)
            columns[f"{name}_bytes"] = np.bincount(session[way], length[way].astype(np.float64), sessions).astype(np.int64)
        rank = np.argsort(columns["first_frame"])
        result |= {f"session.{k}": v[rank] for k, v in columns.items()}
    for name, values in plan.lookups.items():
        if name.endswith("_index"):
            result[f"lookup.{name.removesuffix('_index')}_frame"] = np.where(values >= 0, number[values], -1)
        else:
            result[f"lookup.{name}"] = values
    return result


def load_truth(capture: Path) -> dict[str, Array]:
    """The truth that :func:`generate` wrote beside ``capture``, see :func:`truth`."""
    with np.load(truth_path(capture)) as stored:
        return {k: stored[k] for k in stored.files}


def is_current(capture: Path, wanted: dict[str, Any]) -> bool:
    """Whether ``capture`` is complete and was made with these parameters."""
    try:
        stamp = json.loads(stamp_path(capture).read_text())
        return bool(stamp["parameters"] == wanted and stamp["bytes"] == capture.stat().st_size and truth_path(capture).is_file())
    except (OSError, ValueError, KeyError):
        return False


def generate(workload: str, out: Path, *, seed: int = 1, scale: int = 1, sessions: int | None = None) -> dict[str, Array]:
    """Write the capture, its truth and its stamp; returns the truth."""
    wanted = parameters(workload, seed, scale, sessions)
    stamp_path(out).unlink(missing_ok=True)
    plan = WORKLOADS[workload].build(np.random.default_rng(seed), scale, wanted["sessions"])
    order = write(out, plan.frames, link=plan.link, container=plan.container, snaplen=plan.snaplen, interfaces=plan.interfaces, seed=seed)
    result = truth(plan, order)
    np.savez(truth_path(out), **result)  # type: ignore[arg-type]
    stamp_path(out).write_text(json.dumps({"parameters": wanted, "bytes": out.stat().st_size, "frames": len(order)}, indent=1) + "\n")
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generate", description=__doc__.split("\n")[0])
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=1, help="sessions that many times as long, the same number of them")
    parser.add_argument("--sessions", type=int, help="how many; the default is the workload's")
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    result = generate(arguments.workload, arguments.out, seed=arguments.seed, scale=arguments.scale, sessions=arguments.sessions)
    took = time.perf_counter() - started
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {int(result['frames']):,} packets, {size / 1e9:.3f} GB, {took:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
