"""What netlens found, as comments on single frames: Wireshark shows them in the packet, in its list (column frame.comment) and under Expert Information.

A frame gets a comment where a connection, a lookup or a request begins, where its answer begins and ends (with the time budget), and where a finding rests
on it. Text of strangers is printable; what was said in payload is not in it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from netlens.chains.divided import PHASES, RELAY, Divided
from netlens.chains.side import WORDS as SIDES
from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.report.time_budget import WORDS
from netlens.text import duration, endpoint, printable

if TYPE_CHECKING:
    from netlens.analysis import Analysis

MOST_LENGTH = 2000  #: characters of one comment; a finding has some hundred
MOST = 20  #: comments on one frame
BEGIN = "netlens"  #: of every comment, so that those of other programs can be told apart

Comments = dict[int, list[str]]


def comments(a: Analysis) -> Comments:
    """Frame -> what is said about it, of an analysis of one capture."""
    said: dict[int, list[str]] = defaultdict(list)
    for finding in a.findings:
        for _, frame in finding.every or finding.frames:
            said[frame].append(f"{finding.severity} {finding.id}: {finding.text}" + (f" To do: {finding.advice}" if finding.advice else ""))
    _connections(a, said)
    _lookups(a, said)
    _requests(a, said)
    return {frame: [f"{BEGIN} {printable(text)}"[:MOST_LENGTH] for text in texts[:MOST]] for frame, texts in said.items()}


def _connections(a: Analysis, said: Comments) -> None:
    table = a.capture.table("connections")
    for row in table.records():
        server = f"{row['sni']}:{row['resp_port']}" if row["sni"] else endpoint(row["resp_ip"], row["resp_port"])
        whose = f" of the {SIDES.get(row['origin'], row['origin'])}" if row["origin"] else ""
        said[row["first_frame"]].append(
            f"connection {row['connection_id']}{whose}, {row['path']}, from {endpoint(row['orig_ip'], row['orig_port'])} to {server}; "
            f"state {row['state']}, {row['orig_bytes']:,} bytes up, {row['resp_bytes']:,} down"
        )


def _lookups(a: Analysis, said: Comments) -> None:
    for row in a.capture.table("lookups").records():
        what = f"lookup {row['lookup_id']}, {row['qtype']} {row['qname']}"
        if row["query_frame"]:
            said[row["query_frame"]].append(what + (": no answer was captured" if row["answer_frame"] is None else ""))
        if row["answer_frame"]:
            took = "" if row["latency_ms"] is None else f" after {duration(row['latency_ms'] / 1e3)}"
            said[row["answer_frame"]].append(f"{what}: {row['rcode']}{took}")


def _requests(a: Analysis, said: Comments) -> None:
    rejected = a.assembled.situation.requests.rejected
    source = a.assembled.situation.requests.source
    exchanges = list(a.capture.table("exchanges").records())
    for d in a.divided:
        if d.exchange is None:
            continue
        row = exchanges[d.exchange]
        name = f"request {d.exchange} to {d.server}"
        outcome = {REJECTED: "refused", ACCEPTED: "accepted"}.get(int(rejected[d.request])) if d.request >= 0 else None
        told = f": {outcome} ({source[d.request]})" if outcome and d.request >= 0 else ""
        said[row["start_frame"]].append(f"{name} begins{told}" + ("" if row["response_frame"] else "; no answer was captured"))
        if row["response_frame"]:
            status = f", status {row['status']}" if row["status"] else ""
            took = duration(max(row["response_ns"] - row["start_ns"], 0) / 1e9)
            said[row["response_frame"]].append(f"{name}: the answer begins {took} after the request{status}")
            said[row["end_frame"]].append(f"{name}: the answer {'ends' if d.complete else 'is not seen to end'}; {budget(d)}")


def budget(d: Divided) -> str:
    """``660 ms: server 440 ms, stream 220 ms``."""
    parts = [(d.ns(phase), WORDS.get(phase, phase)) for phase in PHASES if phase != RELAY]
    parts += [(d.ns(RELAY, k), relay) for k, relay in enumerate(d.relays)]
    told = ", ".join(f"{name} {duration(ns / 1e9)}" for ns, name in sorted(parts, key=lambda part: -part[0]) if ns)
    return f"{duration((d.end_ns - d.begin_ns) / 1e9)} in all: {told or 'no time'}"
