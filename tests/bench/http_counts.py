"""HTTP/1.1 in clear beside tshark: ``python -m tests.bench.http_counts CAPTURE...``, frames in which requests and answers begin, and answers end.

Counted are connections whose beginning was captured, of which tshark misses nothing, and whose packets are whole. tshark puts heads and bodies together: a
message begins in the first of its segments and ends in the frame that completes it. Its 1xx answers are left out, which no row counts. An answer that
lasts until the close ends with its last byte here, and with the FIN there: that counts as alike. Answers that are not whole, of which tshark tells nothing,
are left out where netlens says so, too. Left out as well are connections with a request that names no version: HTTP/0.9, whose answers tshark does not
find. What only one of both says is printed.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

from netlens.api import Capture
from netlens.errors import NetlensError

OPTIONS = ("-o", "tcp.reassemble_out_of_order:TRUE")
FIELDS = (
    "frame.number", "tcp.stream", "frame.len", "frame.cap_len", "tcp.analysis.lost_segment", "tcp.analysis.ack_lost_segment", "tcp.flags.syn",
    "tcp.flags.fin", "tcp.len", "tcp.segment", "http.request.method", "http.request.version", "http.response.code",
)  # fmt: skip
Frames = Counter[int]
WHAT = ("requests", "answers", "ends of answers")


def tshark(path: str) -> tuple[dict[int, int], set[int], dict[int, tuple[Frames, Frames, Frames]], dict[int, int]]:
    """Stream of each frame, streams that are whole, their messages, and for each FIN without data the last frame of data before it."""
    command = ["tshark", "-n", "-r", path, *OPTIONS, "-Y", "tcp && !icmp && !icmpv6", "-T", "fields"]
    done = subprocess.run([*command, *(x for f in FIELDS for x in ("-e", f))], capture_output=True, text=True, check=False, timeout=300)
    stream_of: dict[int, int] = {}
    syns: Counter[int] = Counter()
    left_out: set[int] = set()
    found: dict[int, tuple[Frames, Frames, Frames]] = defaultdict(lambda: (Counter(), Counter(), Counter()))
    data: dict[int, int] = {}
    before: dict[int, int] = {}
    for line in done.stdout.splitlines():
        number, streams, size, kept, lost, ack_lost, syn, fin, length, segments, methods, versions, codes = line.split("\t")
        if "," in streams or not streams:  # a tunnel within a tunnel
            continue
        frame, stream = int(number), int(streams)
        stream_of[frame] = stream
        syns[stream] += syn in ("1", "True")
        if size != kept or lost or ack_lost:
            left_out.add(stream)
        if fin in ("1", "True") and length == "0" and stream in data:
            before[frame] = data[stream]
        if length != "0":
            data[stream] = frame
        first = min(map(int, segments.split(","))) if segments else frame
        asked = [m for m in methods.split(",") if m]
        if len(asked) > sum(map(bool, versions.split(","))):
            left_out.add(stream)
        said = [code for code in codes.split(",") if code and (code == "101" or not code.startswith("1"))]
        for frames, messages in ((found[stream][0], asked), (found[stream][1], said)):
            for k in range(len(messages)):
                frames[first if k == 0 else frame] += 1
        if said:
            found[stream][2][frame] += len(said)
    return stream_of, {stream for stream, n in syns.items() if n >= 2 and stream not in left_out}, found, before


def netlens(
    path: str, stream_of: dict[int, int], theirs: dict[int, tuple[Frames, Frames, Frames]]
) -> dict[int, tuple[Frames, Frames, Frames]]:
    """The same of the exchanges of connections that speak HTTP."""
    capture = Capture([path])
    http = {row["session_id"] for row in capture.table("sessions").records() if row["protocol"] == "http"}
    found: dict[int, tuple[Frames, Frames, Frames]] = defaultdict(lambda: (Counter(), Counter(), Counter()))
    for row in capture.table("exchanges").records():
        if row["session_id"] in http and (stream := stream_of.get(row["start_frame"])) is not None:
            starts, answers, ends = found[stream]
            starts[row["start_frame"]] += 1
            if row["response_frame"] is not None and (row["complete"] or row["response_frame"] in theirs[stream][1]):
                answers[row["response_frame"]] += 1
                ends[row["end_frame"]] += 1
    return found


def main(paths: Sequence[str]) -> None:
    total = {what: [0, 0] for what in WHAT}  # alike, and of either
    connections = 0
    for path in paths:
        stream_of, whole, theirs, before = tshark(path)
        try:
            mine = netlens(path, stream_of, theirs)
        except NetlensError as e:
            print(f"{path}: {e}")
            continue
        for stream in sorted(whole & (theirs.keys() | mine.keys())):
            connections += any(theirs[stream])
            for what, ours, other in zip(WHAT, mine[stream], theirs[stream], strict=True):
                if what == WHAT[2]:
                    other = Counter(frame if frame in ours else before.get(frame, frame) for frame in other.elements())
                same, either = (ours & other).total(), (ours | other).total()
                total[what] = [total[what][0] + same, total[what][1] + either]
                if same < either:
                    only = [sorted((a - b).elements())[:8] for a, b in ((ours, other), (other, ours))]
                    print(f"{path}: stream {stream}, {what}: only netlens {only[0]}, only tshark {only[1]}")
    print(f"{connections:,} connections")
    for what, (same, either) in total.items():
        print(f"{what}: {same:,} of {either:,} alike ({100 * same / max(either, 1):.2f} %)")


if __name__ == "__main__":
    main(sys.argv[1:])
