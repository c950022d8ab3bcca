"""Findings as text for a terminal."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from netlens.text import plural, printable, size
from netlens.wire.link import NAMES

if TYPE_CHECKING:
    from netlens.analysis.findings import Analysis, PeakFacts

_PATHS = {"direct": "direct", "nat": "through NAT", "sshuttle": "through sshuttle"}
_VANTAGE = {"vm": "made on the VM", "host": "made on the host", None: "side unknown (--vm or --host says)"}


def render(analysis: Analysis, console: Any, with_causes: bool = True) -> None:
    """Print the findings to a rich console; without causes where two sides are shown one after the other."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    a, part = analysis, analysis.capture.part
    start, last = part.bounds_ns or (0, 0)
    for i in part.inputs:
        links = ", ".join(NAMES.get(link, f"link type {link}") for link in i.link_types)
        console.print(Text.assemble((printable(i.path), "bold"), f"  {i.container}, {links}, {plural(i.frames, 'frame')}, {size(i.bytes)}"))
    when = f"from {_utc(start)}, {(last - start) / 1e9:.3f} s" if part.bounds_ns else "no frame has a time"
    console.print(Text(f"{when}, {_VANTAGE[a.vantage]}"))
    facts = RichTable.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()

    def fact(name: str, text: str) -> None:
        facts.add_row(name, Text(printable(text)))

    addresses = a.target.addresses
    at = (
        f" ({', '.join(addresses[:4])}{f' and {len(addresses) - 4} more' if len(addresses) > 4 else ''})"
        if a.target.names and addresses
        else ""
    )
    fact("target", f"{a.target.label}{at}" + (f"; guessed: {a.target.why} (--api NAME chooses another)" if a.target.guessed else ""))
    n = int(a.target.rows.sum())
    sessions = a.capture.table("sessions").rows
    how = ", ".join(f"{count:,} {_PATHS[path]}" for path, count in sorted(a.paths.items()))
    fact("connections", f"{n:,} to the target{f' ({how})' if how else ''}; {plural(sessions, 'session')} on the wire in all")
    fact("open at once", _peak(a.connections, start, "connection", "opened"))
    fact("in flight", _peak(a.in_flight, start, "request", "begun"))
    fact("lookups", _lookups(a))
    fact("tunnels", _tunnels(a))
    fact("tails", _tails(a))
    for note in a.notes:
        fact("caution", note)
    console.print(Padding(facts, (1, 0, 1, 0)))
    if not with_causes:
        return
    console.print(Text("Causes", style="bold"), Text("one capture decides none of them; each says what would"), sep="  ")
    causes = RichTable.grid(padding=(0, 2))
    causes.add_column(no_wrap=True)
    causes.add_column(no_wrap=True)
    causes.add_column()
    for v in a.verdicts:
        causes.add_row(f"{v.cause} {v.id}", v.verdict, Text(f"needs {v.needs}"))
    console.print(Padding(causes, (0, 0, 0, 2)))


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S") + f".{ns % 10**9 // 10**6:03d} UTC"


def _peak(peak: PeakFacts, start: int, noun: str, verb: str) -> str:
    if not peak.count:
        return f"no {noun}"
    frames = ", ".join(f"{f:,}" for f in peak.frames[:6]) + (f" and {len(peak.frames) - 6:,} more" if len(peak.frames) > 6 else "")
    low, high = (peak.from_ns - start) / 1e9, (peak.to_ns - start) / 1e9
    by = "frame" if len(peak.frames) == 1 else "frames"
    return f"at most {plural(peak.count, noun)}, first at {low:.3f} s for {_span(high - low)} ({verb} by {by} {frames})"


def _span(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1000:.3f} ms"


def _lookups(a: Analysis) -> str:
    t = a.capture.table("lookups")
    if not t.rows:
        return "none in the capture"
    latency = [v for v in t["latency_ms"].tolist() if v == v]
    answered = f"median {statistics.median(latency):.3f} ms, longest {max(latency):.3f} ms" if latency else "none answered"
    open_ = sum(1 for v in t["answer_ns"].tolist() if v is None)
    retries = sum(max(v - 1, 0) for v in t["attempts"].tolist())
    return (
        f"{t.rows:,}, {answered}"
        + (f", {open_:,} unanswered" if open_ else "")
        + (f", {plural(retries, 'retry', 'retries')}" if retries else "")
    )


def _tunnels(a: Analysis) -> str:
    carrying = [r for r in a.capture.table("tunnels").records() if r["carries"]]
    if not carrying:
        return "no SSH connection that carries others"
    r = carrying[0]
    more = f"; {len(carrying) - 1} more" if len(carrying) > 1 else ""
    return f"SSH {r['orig_ip']} > {r['resp_ip']} carries {r['carries']}, {plural(r['connections'], 'connection')}: {r['evidence']}{more}"


def _tails(a: Analysis) -> str:
    if not a.tails:
        return "no connection received on after its program had closed it"
    worst = max(a.tails, key=lambda t: t["tail_s"])
    amount = "" if worst["bytes"] is None else f" and {worst['bytes']:,} bytes"
    return (
        f"{plural(len(a.tails), 'connection')} received on for more than 1 s after the program's FIN; the longest {worst['tail_s']:.3f} s{amount}"
        f" (session {worst['session_id']}, frames {worst['frames'][0]:,} to {worst['frames'][1]:,})"
    )
