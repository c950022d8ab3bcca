"""Findings as text for a terminal: the answer first, then what it rests on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from netlens.report import answer
from netlens.text import duration, plural, printable, size, utc
from netlens.wire.link import NAMES

if TYPE_CHECKING:
    from netlens.analysis import Analysis, PeakFacts, SideFindings

_PATHS = {"direct": "direct", "nat": "through NAT", "sshuttle": "through sshuttle"}
_VANTAGE = {"vm": "made on the VM", "host": "made on the host", None: "side unknown (say it with --vm or --host)"}
_STYLES = {"supported": "bold", "refuted": "dim", "undecided": ""}


def render(analysis: Analysis, console: Any) -> None:
    """Print the findings to a rich console."""
    from rich.text import Text

    a = analysis
    console.print(Text("Answer", style="bold"))
    _indented(console, answer.sentence(a))
    console.print()
    _causes(a, console)
    _fixes(a, console)
    for name, side in a.sides.items():
        _side(a, name, side, console)
    _basis(a, console)


def _indented(console: Any, text: str) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(printable(text)), (0, 0, 0, 2)))


def _causes(a: Analysis, console: Any) -> None:
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text("Causes", style="bold"))
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for v in a.hypotheses:
        style = _STYLES[v.verdict]
        # what refutes is one sentence; that a rule separates is said where it supports
        shown = v.evidence if v.verdict != "refuted" else v.evidence[:1]
        lines = [e.text + _frames(e.frames) for e in shown]
        if v.needs:
            lines.append(f"needs {v.needs}")
        grid.add_row(
            Text(f"{v.cause} {v.id}", style=style), Text(v.verdict, style=style), Text(printable("\n".join(lines)).replace("\\x0a", "\n"))
        )
    console.print(Padding(grid, (0, 0, 1, 2)))


def _frames(frames: list[tuple[str, int]]) -> str:
    by: dict[str, list[str]] = {}
    for side, frame in frames:
        by.setdefault(side, []).append(f"{frame:,}")
    return f" ({'; '.join(f'{side} frames ' + ' '.join(numbers) for side, numbers in by.items())})" if by else ""


def _fixes(a: Analysis, console: Any) -> None:
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    if not a.fixes:
        return
    console.print(Text("Fixes", style="bold"))
    grid = RichTable.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(no_wrap=True)
    grid.add_column()
    for f in a.fixes:
        if f.rejections_after is None:
            told = "not predicted"
        else:
            wait = f", {f.added_wait_s:.1f} s waiting" if f.added_wait_s else ""
            told = f"{f.rejections_before} -> {f.rejections_after} refused{wait}"
        text = f.title + (f"\n{f.command}" if f.command else "")
        grid.add_row(Text(f.id), Text(told), Text(text))
    console.print(Padding(grid, (0, 0, 1, 2)))


def _basis(a: Analysis, console: Any) -> None:
    """The clock, where labels come from, cautions."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    facts = RichTable.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    known, told = answer.outcomes(a)
    if known:
        facts.add_row("outcomes", Text(told))
    if a.paired:
        facts.add_row("clock", Text(printable(a.clock.note)))
        p = a.peaks
        facts.add_row("peaks", Text(f"connections open at once: VM {p['vm']}, host {p['host']}, both together {p['combined']}"))
    for note in a.quality["notes"]:
        facts.add_row("caution", Text(printable(note)))
    if facts.row_count:
        console.print(Padding(facts, (0, 0, 0, 0)))


def _side(a: Analysis, name: str | None, side: SideFindings, console: Any) -> None:
    """What one capture shows by itself."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    part = side.capture.part
    start, last = part.bounds_ns or (0, 0)
    for i in part.inputs:
        links = ", ".join(NAMES.get(link, f"link type {link}") for link in i.link_types)
        console.print(Text.assemble((printable(i.path), "bold"), f"  {i.container}, {links}, {plural(i.frames, 'frame')}, {size(i.bytes)}"))
    when = f"from {utc(start)}, {(last - start) / 1e9:.3f} s" if part.bounds_ns else "no frame has a time"
    console.print(Text(f"{when}, {_VANTAGE[side.vantage]}"))
    facts = RichTable.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()

    def fact(what: str, text: str) -> None:
        facts.add_row(what, Text(printable(text)))

    addresses = a.target.addresses
    at = (
        f" ({', '.join(addresses[:4])}{f' and {len(addresses) - 4} more' if len(addresses) > 4 else ''})"
        if a.target.names and addresses
        else ""
    )
    source = a.given.apis_from
    guess = (
        f"; guessed: {a.target.why} (--api NAME chooses another)"
        if a.target.guessed
        else f"; from {source}"
        if source == "the manifest"
        else ""
    )
    fact("target", f"{a.target.label}{at}{guess}")
    n = int(side.rows.sum())
    sessions = side.capture.table("sessions").rows
    how = ", ".join(f"{count:,} {_PATHS[path]}" for path, count in sorted(side.paths.items()))
    fact("connections", f"{n:,} to the target{f' ({how})' if how else ''}; {plural(sessions, 'session')} on the wire in total")
    fact("open at once", _peak(side.connections, start, "connection", "opened"))
    fact("in flight", _peak(side.in_flight, start, "request", "started"))
    fact("lookups", _lookups(side))
    fact("tunnels", _tunnels(side))
    fact("tails", _tails(side))
    console.print(Padding(facts, (1, 0, 1, 0)))


def _peak(peak: PeakFacts, start: int, noun: str, verb: str) -> str:
    if not peak.count:
        return f"no {noun}"
    frames = ", ".join(f"{f:,}" for f in peak.frames[:6]) + (f" and {len(peak.frames) - 6:,} more" if len(peak.frames) > 6 else "")
    low, high = (peak.from_ns - start) / 1e9, (peak.to_ns - start) / 1e9
    by = "frame" if len(peak.frames) == 1 else "frames"
    return f"at most {plural(peak.count, noun)}, first at {low:.3f} s for {duration(high - low)} ({verb} in {by} {frames})"


def _lookups(a: SideFindings) -> str:
    t = a.capture.table("lookups")
    if not t.rows:
        return "none"
    latency = [v for v in t["latency_ms"].tolist() if v == v]
    answered = f"median {statistics.median(latency):.3f} ms, longest {max(latency):.3f} ms" if latency else "none answered"
    open_ = sum(1 for v in t["answer_ns"].tolist() if v is None)
    retries = sum(max(v - 1, 0) for v in t["attempts"].tolist())
    return (
        f"{t.rows:,}, {answered}"
        + (f", {open_:,} unanswered" if open_ else "")
        + (f", {plural(retries, 'retry', 'retries')}" if retries else "")
    )


def _tunnels(a: SideFindings) -> str:
    carrying = [r for r in a.capture.table("tunnels").records() if r["carries"]]
    if not carrying:
        return "none: no SSH connection carries others"
    r = carrying[0]
    more = f"; {len(carrying) - 1} more" if len(carrying) > 1 else ""
    return f"SSH {r['orig_ip']} > {r['resp_ip']} carries {r['carries']}, {plural(r['connections'], 'connection')}: {r['evidence']}{more}"


def _tails(a: SideFindings) -> str:
    if not a.tails:
        return "none: no connection kept receiving after the program closed it"
    worst = max(a.tails, key=lambda t: t["tail_s"])
    amount = "" if worst["bytes"] is None else f" and {worst['bytes']:,} bytes"
    return (
        f"{plural(len(a.tails), 'connection')} kept receiving for more than 1 s after the program's FIN; the longest {worst['tail_s']:.3f} s{amount}"
        f" (session {worst['session_id']}, frames {worst['frames'][0]:,} to {worst['frames'][1]:,})"
    )
