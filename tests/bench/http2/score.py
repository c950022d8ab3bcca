"""How netlens counts requests of HTTP/2 without keys in the recordings of a folder, beside the servers' own log."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import netlens
from netlens.chains.explained.counting import Counted
from tests.bench.http2.make import PORT, SERVER

STEP_NS = 5_000_000  #: between two times at which requests in progress are compared
SLACK_NS = 15_000_000  #: between what a program logs and what is on the wire


@dataclass(frozen=True)
class Scored:
    """One connection.

    true : requests that the server logged.  at_once : most of these in progress at once.  least, likeliest, most : as netlens says; None where it says that
    it cannot tell.  within : share of its time in which the number in progress is within netlens' interval.
    """

    recording: str
    port: int
    true: int
    at_once: int
    least: int | None
    likeliest: int | None
    most: int | None
    within: float

    @property
    def exact(self) -> bool:
        return self.least is not None and self.least == self.most == self.true

    @property
    def wrong(self) -> bool:
        return self.least is not None and self.least == self.most != self.true

    @property
    def outside(self) -> bool:
        return self.least is not None and self.most is not None and not self.least <= self.true <= self.most

    @property
    def unknown(self) -> bool:
        return self.least is None

    @property
    def right(self) -> bool:
        return self.likeliest == self.true

    def __str__(self) -> str:
        kind = next((name for name in ("wrong", "outside", "unknown") if getattr(self, name)), "open")
        said = f"{self.least} to {self.most}, likeliest {self.likeliest}, within {self.within:.2f}"
        return f"{kind:8}{self.recording:28}{self.port:6} true {self.true:3} at once {self.at_once}: {said}"


SUMS = {
    "exact": "exact",
    "wrong": "wrong",
    "outside": "outside",
    "unknown": "unknown",
    "likeliest": "right",
}  #: columns, and what they count


def _in_progress(start: np.ndarray, end: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(start), at, "right") - np.searchsorted(np.sort(end), at, "left")


def _extreme(start: np.ndarray, end: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fewest and most in progress within the slack around each time."""
    near = [_in_progress(start, end, at + shift) for shift in np.linspace(-SLACK_NS, SLACK_NS, 7).astype(np.int64)]
    return np.min(near, axis=0), np.max(near, axis=0)


def _within(counted: Counted, start: np.ndarray, end: np.ndarray, over_ns: int) -> float:
    at = np.arange(start.min(), max(int(end.max()), int(start.min()) + STEP_NS), STEP_NS)
    fewest, most = _extreme(start, end, at)
    doubt = np.array([each.doubt_ns for each in counted.streams], np.int64).reshape(-1, 4)
    begun = np.array([each.begin_ns for each in counted.streams], np.int64)
    ended = np.array([each.end_ns if each.end_ns >= 0 else over_ns for each in counted.streams], np.int64)
    surely, no_longer = begun + doubt[:, 1], ended - doubt[:, 2]
    sure = no_longer > surely
    more = np.array(counted.further, np.int64).reshape(-1, 2)
    low = _in_progress(surely[sure], no_longer[sure], at)
    high = _in_progress(np.append(begun - doubt[:, 0], more[:, 0]), np.append(ended + doubt[:, 3], more[:, 1]), at)
    return float(np.mean((low <= most) & (high >= fewest)))


def score(folder: Path) -> list[Scored]:
    """Of each connection of a recording on which something was asked."""
    truth: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in (folder / "truth.jsonl").read_text().splitlines():
        one = json.loads(line)
        truth[one["port"]].append((one["start"], one["end"]))
    found = netlens.analyze(folder / "vm.pcap", apis=f"{SERVER}:{PORT}")
    up = found.assembled.upstream
    c = up.connections
    rows = {int(c["orig_port"][k]): k for k in range(c.rows)}
    out = []
    for port, those in sorted(truth.items()):
        start, end = (np.array([each[k] for each in those], np.int64) for k in (0, 1))
        at_once = int(_in_progress(start, end, np.sort(start)).max())
        row = rows.get(port)
        counted = None if row is None else up.counted.get(row)
        if row is None or counted is None:
            out.append(Scored(folder.name, port, len(those), at_once, None, None, None, 0.0))
        else:
            within = _within(counted, start, end, int(c["end_ns"][row]))
            out.append(Scored(folder.name, port, len(those), at_once, counted.least, len(counted.streams), counted.most, within))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.http2.score", description="Connections that are not told exactly, then sums."
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="recordings of tests.bench.http2.make")
    done = sorted(each.parent for folder in parser.parse_args().folders for each in folder.glob("*/what.json"))
    if not done:
        parser.error("no recording that is complete (what.json) lies there; make some with python -m tests.bench.http2.make")
    scored = [each for folder in done for each in score(folder)]
    for each in scored:
        if not each.exact:
            print(each)
    print(f"{'at once':8}{'connections':>12}", *(f"{name:>10}" for name in SUMS), f"{'in progress':>12}")
    for name, least, most in (("1", 1, 1), ("2 to 4", 2, 4), ("all", 0, sys.maxsize)):
        if those := [each for each in scored if least <= each.at_once <= most]:
            sums = [sum(getattr(each, kind) for each in those) for kind in SUMS.values()]
            print(f"{name:8}{len(those):12}", *(f"{n:10}" for n in sums), f"{np.mean([each.within for each in those]):12.3f}")


if __name__ == "__main__":
    main()
