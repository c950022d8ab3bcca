"""How netlens counts requests of HTTP/2 without keys in the recordings of a folder, beside the servers' own log; and how many it says are in progress, beside
what tshark reads of the wire with the keys, or that log where a client writes none."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import netlens
from netlens.chains.explained.counting import Counted
from tests.bench.http2.make import KEYS, PORT, SERVER

STEP_NS = 5_000_000  #: between two times at which requests in progress are compared
WIRE_NS, LOG_NS = 1_000_000, 15_000_000  #: of doubt between what is on the wire and what tshark tells of it, or a program's log
FRAMES = "frame.time_epoch", "tcp.srcport", "tcp.dstport", "http2.type", "http2.streamid", "http2.flags"
DATA, HEADERS, RST_STREAM, END_STREAM = 0, 1, 3, 1  #: RFC 9113 6

Spans = list[tuple[int, int]]  #: when requests began and ended, in ns


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


def on_wire(folder: Path) -> dict[int, Spans]:
    """Of each client's port, when fields of requests were sent, and when their answers ended; empty without keys."""
    keys = folder / KEYS
    if not keys.exists() or not keys.stat().st_size:
        return {}
    command = ["tshark", "-r", str(folder / "vm.pcap"), "-o", f"tls.keylog_file:{keys}", "-d", f"tcp.port=={PORT},tls"]
    command += ["-Y", "http2.streamid > 0", "-T", "fields", *(part for name in FRAMES for part in ("-e", name))]
    spans: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        when, source, dest, *frames = line.split("\t")
        seconds, _, rest = when.partition(".")
        ns, asks = int(seconds) * 10**9 + int(rest[:9].ljust(9, "0")), int(dest) == PORT
        streams = spans[int(source if asks else dest)]
        for kind, stream, flags in zip(
            *(map(int, field.split(",")) for field in frames[:2]), (int(each, 16) for each in frames[2].split(",")), strict=True
        ):
            begun, _ = streams.get(stream, (0, 0))
            if asks and kind == HEADERS and not begun:
                streams[stream] = ns, 0
            elif begun and (kind == RST_STREAM or (not asks and kind in (DATA, HEADERS) and flags & END_STREAM)):
                streams[stream] = begun, ns
    last_ns = max((ns for streams in spans.values() for span in streams.values() for ns in span), default=0)
    return {port: sorted((begun, ended or last_ns) for begun, ended in streams.values()) for port, streams in spans.items()}


def _within(counted: Counted, spans: Spans, doubt_ns: int, over_ns: int) -> float:
    start, end = (np.array([span[k] for span in spans], np.int64) for k in (0, 1))
    at = np.arange(start.min(), max(int(end.max()), int(start.min()) + STEP_NS), STEP_NS)
    surely_in = end - start > 2 * doubt_ns
    fewest = _in_progress(start[surely_in] + doubt_ns, end[surely_in] - doubt_ns, at)
    most = _in_progress(start - doubt_ns, end + doubt_ns, at)
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
    truth: dict[int, Spans] = defaultdict(list)
    for line in (folder / "truth.jsonl").read_text().splitlines():
        one = json.loads(line)
        truth[one["port"]].append((one["start"], one["end"]))
    found = netlens.analyze(folder / "vm.pcap", apis=f"{SERVER}:{PORT}")
    up, seen = found.assembled.upstream, on_wire(folder)
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
            spans, doubt_ns = (seen[port], WIRE_NS) if port in seen else (those, LOG_NS)
            within = _within(counted, spans, doubt_ns, int(c["end_ns"][row]))
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
