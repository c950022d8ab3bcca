"""Findings as text for a terminal: the answer first, then what it rests on."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from netlens.report import findings, story
from netlens.text import plural, printable, size
from netlens.wire.link import NAMES

if TYPE_CHECKING:
    from netlens.analysis import Analysis, PeakFacts, SideFindings

_PATHS = {"direct": "direct", "nat": "through NAT", "sshuttle": "through sshuttle"}
_VANTAGE = {"vm": "made on the VM", "host": "made on the host", None: "side unknown (--vm or --host says)"}
_STYLES = {"supported": "bold", "refuted": "dim", "undecided": ""}


def render(analysis: Analysis, console: Any, verbose: bool = False) -> None:
    """Print the findings to a rich console. ``verbose``: with frames, filters and what each capture shows by itself."""
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
    _indented(console, answer(a))
    console.print()
    _causes(a, console)
    _fixes(a, console)
    if others := [f for f in a.findings if f.id != "refused" and (f.severity != "note" or verbose)]:
        console.print(Text("Also found", style="bold"))
        findings.listed(others, console, verbose)
        console.print()
    for name, side in a.sides.items():
        _side(a, name, side, console)
    _basis(a, console)


def answer(a: Analysis) -> str:
    """The answer in a few sentences: cause, limit, best fix, or what is missing."""
    refused, requests = a.counts["rejections"], a.counts["exchanges"]
    supported = [v for v in a.hypotheses if v.verdict == "supported"]
    if not requests:
        return f"No request to {a.target.label} is in the capture." if not a.assembled.situation.uncountable else _needs(a)
    if not refused and not a.assembled.situation.uncountable:
        return f"None of {plural(requests, 'request')} to {a.target.label} is known to have been refused, so nothing is to be explained. {_needs(a)}"
    said = [f"{refused:,} of {plural(requests, 'request')} to {a.target.label} were refused."]
    if not supported:
        return " ".join([*said, "Why is undecided.", _needs(a)])
    said += [
        v.claim + f" ({v.id}, {v.attributable_fraction:.0%} of the refusals)" for v in sorted(supported, key=lambda v: v.id != a.cause)
    ]
    if a.limit:
        span = f"{a.limit.value}" if a.limit.low == a.limit.high else f"{a.limit.value} ({a.limit.low} to {a.limit.high} fit as well)"
        tied = f"; {' and '.join(a.limit.tied)} fit as well" if a.limit.tied else ""
        said.append(f"A request is refused when others hold {span} already: {a.limit.rule}{tied}.")
    elif (limiter := story.limiter(a)) is not None:
        said.append(f"The limit is {limiter}.")
    for best in a.fixes[:1]:
        if best.rejections_after is not None and best.rejections_after < best.rejections_before:
            wait = f", {best.added_wait_s:.1f} s of waiting added" if best.added_wait_s else ""
            said.append(f"Best fix: {best.title} ({plural(best.rejections_before, 'refusal')} become {best.rejections_after}{wait}).")
    return " ".join(said)


def _needs(a: Analysis) -> str:
    wanted = [v.needs for v in a.hypotheses if v.verdict == "undecided" and v.needs]
    return f"What would decide: {max(dict.fromkeys(wanted), key=wanted.count)}." if wanted else ""


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
            told = f"{f.rejections_before} > {f.rejections_after} refused{wait}"
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
    sources = [s for s in a.assembled.situation.requests.source.tolist() if s]
    if sources:
        told = ", ".join(f"{sources.count(s):,} by {_SOURCES.get(s, s)}" for s in sorted(set(sources)))
        unknown = a.counts["exchanges"] - len(sources)
        facts.add_row(
            "labels", Text(f"of {plural(a.counts['exchanges'], 'request')}: {told}" + (f", {unknown:,} unknown" if unknown else ""))
        )
    if a.paired:
        facts.add_row("clock", Text(printable(a.clock.note)))
        p = a.peaks
        facts.add_row("peaks", Text(f"connections open at once: VM {p['vm']}, host's own {p['host']}, together {p['combined']}"))
    for note in a.quality["notes"]:
        facts.add_row("caution", Text(printable(note)))
    if facts.row_count:
        console.print(Padding(facts, (0, 0, 0, 0)))


_SOURCES = {
    "error log": "the error log",
    "key log": "decryption",
    "look-alike": "likeness to logged refusals",
    "inferred": "inference from traffic",
}


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
    when = f"from {_utc(start)}, {(last - start) / 1e9:.3f} s" if part.bounds_ns else "no frame has a time"
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
    fact("connections", f"{n:,} to the target{f' ({how})' if how else ''}; {plural(sessions, 'session')} on the wire in all")
    fact("open at once", _peak(side.connections, start, "connection", "opened"))
    fact("in flight", _peak(side.in_flight, start, "request", "begun"))
    fact("lookups", _lookups(side))
    fact("tunnels", _tunnels(side))
    fact("tails", _tails(side))
    console.print(Padding(facts, (1, 0, 1, 0)))


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


def _lookups(a: SideFindings) -> str:
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


def _tunnels(a: SideFindings) -> str:
    carrying = [r for r in a.capture.table("tunnels").records() if r["carries"]]
    if not carrying:
        return "no SSH connection that carries others"
    r = carrying[0]
    more = f"; {len(carrying) - 1} more" if len(carrying) > 1 else ""
    return f"SSH {r['orig_ip']} > {r['resp_ip']} carries {r['carries']}, {plural(r['connections'], 'connection')}: {r['evidence']}{more}"


def _tails(a: SideFindings) -> str:
    if not a.tails:
        return "no connection received on after its program had closed it"
    worst = max(a.tails, key=lambda t: t["tail_s"])
    amount = "" if worst["bytes"] is None else f" and {worst['bytes']:,} bytes"
    return (
        f"{plural(len(a.tails), 'connection')} received on for more than 1 s after the program's FIN; the longest {worst['tail_s']:.3f} s{amount}"
        f" (session {worst['session_id']}, frames {worst['frames'][0]:,} to {worst['frames'][1]:,})"
    )
