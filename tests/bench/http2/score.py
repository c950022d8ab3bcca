"""How netlens counts requests of HTTP/2 without keys in the recordings of a folder, beside the servers' own log."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
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
        return self.least is not None and self.least == self.most

    @property
    def outside(self) -> bool:
        return self.least is not None and self.most is not None and not self.least <= self.true <= self.most


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
        if counted is None or row is None:
            out.append(Scored(folder.name, port, len(those), at_once, None, None, None, 0.0))
        else:
            within = _within(counted, start, end, int(c["end_ns"][row]))
            out.append(Scored(folder.name, port, len(those), at_once, counted.least, len(counted.streams), counted.most, within))
    return out


def main(argv: Sequence[str]) -> None:
    """``FOLDER ...``: one line for each connection that is not told exactly, then the sums."""
    scored = [each for folder in argv for one in sorted(Path(folder).iterdir()) if (one / "what.json").exists() for each in score(one)]
    for each in scored:
        if not each.exact or each.least != each.true:
            kind = "WRONG" if each.exact else "OUTSIDE" if each.outside else "unknown" if each.least is None else "open"
            print(
                f"{kind:8}{each.recording:28}{each.port:6} true {each.true:3} at once {each.at_once}: "
                f"{each.least} to {each.most}, likeliest {each.likeliest}, within {each.within:.2f}"
            )
    print(f"{'at once':10}{'connections':>12}{'exact':>7}{'wrong':>7}{'outside':>9}{'unknown':>9}{'likeliest':>11}{'in progress':>13}")
    for name, those in (
        ("1", [e for e in scored if e.at_once == 1]),
        ("2 to 4", [e for e in scored if 1 < e.at_once <= 4]),
        ("all", scored),
    ):
        if those:
            sums = [
                sum(f(e) for e in those)
                for f in (
                    lambda e: e.exact and e.least == e.true,
                    lambda e: e.exact and e.least != e.true,
                    lambda e: e.outside,
                    lambda e: e.least is None,
                    lambda e: e.likeliest == e.true,
                )
            ]
            print(
                f"{name:10}{len(those):12}{sums[0]:7}{sums[1]:7}{sums[2]:9}{sums[3]:9}{sums[4]:11}{np.mean([e.within for e in those]):13.3f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
