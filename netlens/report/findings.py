"""What is wrong in a capture, as text for a terminal: an overview, the findings with what to do, the gravest first."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from netlens.report import overview
from netlens.text import duration, plural, printable, utc

if TYPE_CHECKING:
    from netlens.analysis import Analysis, SideFindings
    from netlens.lenses import Finding

_STYLES = {"problem": "bold red", "warning": "yellow", "note": "dim"}
MOST_OTHERS = 5  #: connections that are named beside the worst
SHOWN = 8  #: findings on the first screen; -v shows all


def is_all(a: Analysis) -> bool:
    """Whether findings are the whole answer: one capture, of which nobody said what to look for, and in which no request was refused."""
    return None in a.sides and a.target.guessed and not a.counts["rejections"]


def render(a: Analysis, console: Any, verbose: int = 0) -> None:
    """The first screen: the capture, an overview, the findings."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    for side in a.sides.values():
        _head(side, console)
        grid = RichTable.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column()
        for what, text in overview.lines(side.capture, verbose):
            grid.add_row(what, Text(printable(text)))
        console.print(Padding(grid, (0, 0, 1, 2)))
    console.print(Text(headline(a), style="bold"))
    listed(a, a.findings, console, bool(verbose))
    if not verbose and any(f.severity != "note" for f in a.findings):
        console.print(Text("  -v shows frames, Wireshark filters and more of the traffic", style="dim"))


def headline(a: Analysis) -> str:
    """How many problems there are, in one line."""
    count = {severity: sum(f.severity == severity for f in a.findings) for severity in _STYLES}
    said = [plural(count[s], s) for s in ("problem", "warning") if count[s]]
    if said:
        return "Found: " + " and ".join(said)
    parts = [side.capture.part for side in a.sides.values()]
    if not any(part.packets for part in parts):
        return "No packets in the capture"
    if not any(part.is_judged for part in parts):
        return "Nothing to judge: none of it is TCP, UDP, ICMP or ARP"
    hidden, frames = sum(part.hidden for part in parts), sum(part.packets for part in parts)
    return (
        f"No problem found, but next to nothing could be judged: {hidden:,} of {frames:,} frames were not read"
        if hidden == frames
        else "No problem found"
    )


def first(findings: list[Finding]) -> list[Finding]:
    """Those of the first screen: problems and warnings, the gravest :data:`SHOWN`."""
    return [f for f in findings if f.severity != "note"][:SHOWN]


def beside_refusals(a: Analysis) -> list[Finding]:
    """What was found besides the refusals of the target, which the answer tells."""
    return [f for f in a.findings if f.id != "refused" or "cause" not in f.values]


def more(findings: list[Finding]) -> str:
    """What the first screen leaves out: ``3 notes``, ``5 more``; empty if nothing."""
    rest, shown = len(findings) - len(first(findings)), len(first(findings))
    return "" if not rest else plural(rest, "note") if shown < SHOWN else f"{rest:,} more"


def in_wireshark(f: Finding) -> str:
    """What the filter shows: ``Wireshark``, ``Wireshark (the first 20 of 58 frames)``; of two captures in the first one."""
    shown, all_ = (sum(side == f.frames[0][0] for side, _ in frames) if f.frames else 0 for frames in (f.frames, f.every))
    return "Wireshark" + (f" (the first {shown:,} of {all_:,} frames)" if all_ > shown else "")


def to_extract(a: Analysis, f: Finding) -> tuple[str, str]:
    """What is taken out and by which command: the worst connection, or all frames. Empty for what no file can give again."""
    name = next((side for side, _ in f.frames), "")
    side = a.sides.get(name) or a.sides.get(None)
    paths = side.capture.paths if side is not None else []
    if not f.frames or "-" in paths:
        return "", ""
    files = shlex.join(paths)
    if f.connections:
        assert side is not None
        begun_before = side.capture.table("connections")["started_before_capture"]
        number, *others = sorted(f.connections, key=lambda k: bool(begun_before[k]))  # one that is whole is worth more
        also = f" (also {', '.join(map(str, others[:MOST_OTHERS]))}{', ...' if len(others) > MOST_OTHERS else ''})" if others else ""
        return f"connection {number}{also}", f"netlens extract {files} --connection {number} -w connection-{number}.pcap"
    if name not in a.sides and f.id != "refused":
        alone = sum(each.id == f.id for each in a.findings) == 1
        told = plural(f.frames_in_all, "frame") if alone else f"frames of all findings {f.id}"
        return told, f"netlens extract {files} --finding {f.id} -w {f.id}.pcap"
    # what rests on more than this capture is not found in it alone
    mine = [frame for whose, frame in f.frames if whose == name]
    return plural(len(mine), "frame"), f"netlens extract {files} --frames {','.join(map(str, mine))} -w {f.id}.pcap"


def listed(a: Analysis, findings: list[Finding], console: Any, verbose: bool) -> None:
    """One finding a row; with ``verbose`` all of them, with frames, filter, and the command that takes them out."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    if not findings:
        return
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    shown = findings if verbose else first(findings)
    for f in shown:
        rows = [f.text]
        if f.advice and f.severity == "problem":
            rows.append(f"To do: {f.advice}")
        if verbose and f.filter:
            rows.append(f"{f.id}; {in_wireshark(f)}: {f.filter}")
        if verbose and (taken := to_extract(a, f))[0]:
            rows.append(": ".join(taken))
        grid.add_row(Text(f.severity, style=_STYLES[f.severity]), Text("\n".join(printable(row) for row in rows)))
    if not verbose and (rest := more(findings)):
        grid.add_row("", Text(f"{rest} with -v", style="dim"))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _head(side: SideFindings, console: Any) -> None:
    """The files, their beginning and length."""
    from rich.text import Text

    part = side.capture.part
    for i in part.inputs:
        console.print(Text.assemble((printable(i.path), "bold"), f"  {overview.file(i)}"))
    if part.bounds_ns is None:
        if part.packets:
            console.print(Text("no frame has a time"))
        return
    start, last = part.bounds_ns
    console.print(Text(f"from {utc(start)}, {duration((last - start) / 1e9)}"))
