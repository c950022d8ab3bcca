"""Findings as text for a terminal: the answer first, then what it rests on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from netlens.report import answer, findings, overview
from netlens.text import duration, plural, printable, utc

if TYPE_CHECKING:
    from netlens.analysis import Analysis, PeakFacts, SideFindings

_PATHS = {"direct": "direct", "nat": "through NAT", "sshuttle": "through sshuttle"}
_VANTAGE = {"vm": "made on the VM", "host": "made on the host", None: "side unknown (say it with --vm or --host)"}
_STYLES = {"supported": "bold", "refuted": "dim", "undecided": ""}


def render(analysis: Analysis, console: Any, verbose: bool = False) -> None:
    """Print the findings to a rich console. ``verbose``: with frames, filters and what each capture shows by itself."""
    from rich.padding import Padding
    from rich.text import Text

    a = analysis
    if findings.is_all(a):
        findings.render(a, console, verbose)
        if verbose:
            console.print()
            for name, side in a.sides.items():
                _side(a, name, side, console)
            _basis(a, console)
        return
    console.print(Text("Answer", style="bold"))
    console.print(Padding(Text(printable(answer.sentence(a))), (0, 0, 1, 2)))
    _causes(a, console)
    _fixes(a, console)
    if others := [f for f in findings.beside_refusals(a) if f.severity != "note" or verbose]:
        console.print(Text("Also found", style="bold"))
        findings.listed(others, console, verbose)
        console.print()
    for name, side in a.sides.items():
        _side(a, name, side, console)
    _basis(a, console)


def _grid(
    console: Any, rows: list[tuple[Any, ...]], heading: str, padding: tuple[int, int, int, int], styles: list[str] | None = None
) -> None:
    """Rows of text under a heading; the last column wraps. ``styles``: of each row; without, the first column is bold."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    if not rows:
        return
    if heading:
        console.print(Text(heading, style="bold"))
    grid = RichTable.grid(padding=(0, 2))
    for k in range(len(rows[0])):
        grid.add_column(no_wrap=k < len(rows[0]) - 1, style="" if k or styles is not None else "bold")
    for k, row in enumerate(rows):
        # the line feeds are ours; those of strangers were escaped where their text came in
        *heads, last = (Text("\n".join(map(printable, cell.split("\n")))) for cell in row)
        for head in heads:
            head.stylize(styles[k] if styles else "")
        grid.add_row(*heads, last)
    console.print(Padding(grid, padding))


def _causes(a: Analysis, console: Any) -> None:
    rows = []
    for v in a.hypotheses:
        # what refutes is one sentence; that a rule separates is said where it supports
        lines = [e.text + _frames(e.frames) for e in (v.evidence if v.verdict != "refuted" else v.evidence[:1])]
        rows.append((f"{v.cause} {v.id}", v.verdict, "\n".join([*lines, *([f"needs {v.needs}"] if v.needs else [])])))
    _grid(console, rows, "Causes", (0, 0, 1, 2), [_STYLES[v.verdict] for v in a.hypotheses])


def _frames(frames: list[tuple[str, int]]) -> str:
    by: dict[str, list[str]] = {}
    for side, frame in frames:
        by.setdefault(side, []).append(f"{frame:,}")
    return f" ({'; '.join(f'{side} frames ' + ' '.join(numbers) for side, numbers in by.items())})" if by else ""


def _fixes(a: Analysis, console: Any) -> None:
    rows = []
    for f in a.fixes:
        wait = f", {f.added_wait_s:.1f} s waiting" if f.added_wait_s else ""
        told = "not predicted" if f.rejections_after is None else f"{f.rejections_before} -> {f.rejections_after} refused{wait}"
        rows.append((f.id, told, f.title + (f"\n{f.command}" if f.command else "")))
    _grid(console, rows, "Fixes", (0, 0, 1, 2), [""] * len(rows))


def _basis(a: Analysis, console: Any) -> None:
    """Where outcomes come from, the clock, cautions."""
    known, told = answer.outcomes(a)
    rows = [("outcomes", told)] if known else []
    if a.paired:
        p = a.peaks
        rows.append(("clock", a.clock.note))
        rows.append(("peaks", f"connections open at once: VM {p['vm']}, host {p['host']}, both together {p['combined']}"))
    _grid(console, [*rows, *(("caution", note) for note in a.quality["notes"])], "", (0, 0, 0, 0))


def _side(a: Analysis, name: str | None, side: SideFindings, console: Any) -> None:
    """What one capture shows by itself."""
    from rich.text import Text

    part = side.capture.part
    start, last = part.bounds_ns or (0, 0)
    for i in part.inputs:
        console.print(Text.assemble((printable(i.path), "bold"), f"  {overview.file(i)}"))
    when = f"from {utc(start)}, {(last - start) / 1e9:.3f} s" if part.bounds_ns else "no frame has a time"
    console.print(Text(f"{when}, {_VANTAGE[side.vantage]}"))
    sessions = side.capture.table("sessions").rows
    how = ", ".join(f"{count:,} {_PATHS[path]}" for path, count in sorted(side.paths.items()))
    rows = [
        ("target", _target(a)),
        (
            "connections",
            f"{int(side.rows.sum()):,} to the target{f' ({how})' if how else ''}; {plural(sessions, 'session')} on the wire in total",
        ),
        ("open at once", _peak(side.connections, start, "connection", "opened")),
        ("in flight", _peak(side.in_flight, start, "request", "started")),
        ("lookups", _lookups(side)),
        ("tunnels", _tunnels(side)),
        ("tails", _tails(side)),
    ]
    _grid(console, rows, "", (1, 0, 1, 0))


def _target(a: Analysis) -> str:
    addresses, source = a.target.addresses, a.given.apis_from
    more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
    at = f" ({', '.join(addresses[:4])}{more})" if a.target.names and addresses else ""
    if a.target.guessed:
        return f"{a.target.label}{at}; guessed: {a.target.why} (--api NAME chooses another)"
    return f"{a.target.label}{at}" + (f"; from {source}" if source == "the manifest" else "")


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
