"""Findings as text for a terminal: the answer first, then what it rests on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from netlens.chains.paths import DIRECT, chains
from netlens.chains.situation import VM
from netlens.lenses.refused.counting import in_flight_between
from netlens.lenses.refused.verdict import needed
from netlens.report import answer, findings, overview, time_budget
from netlens.text import duration, endpoint, interval, plural, printable, utc

if TYPE_CHECKING:
    from netlens.analysis import Analysis, PeakFacts, SideFindings

_PATHS = {DIRECT: "direct", "nat": "through NAT", "sshuttle": "through sshuttle"}
_VANTAGE = {"vm": "made on the VM", "host": "made on the host", None: "side unknown (say it with --vm or --host)"}
_STYLES = {"supported": "bold", "refuted": "dim", "undecided": ""}
_CAUTION = "yellow"
_LIKELY = 0.1  #: causes less likely than this are not named


def render(analysis: Analysis, console: Any, verbose: int = 0) -> None:
    """Print the findings to a rich console.

    verbose : 0 for about ten lines: the answer, why, how sure, the best fix.  1 for the evidence with frames, every fix that helps with its command,
    and what each capture shows by itself.  2 for all: statistics, notes, fixes that do not help.
    """
    from rich.text import Text

    a = analysis
    if findings.is_all(a):
        findings.render(a, console, verbose)
    else:
        wrong = answer.anything_refused(a) or findings.first(a.findings)
        console.print(Text(printable(_headline(a)), style="bold red" if wrong else "bold green"))
        _brief(a, console)
        if verbose and answer.anything_refused(a):
            console.print()
            _causes(a, console, verbose)
            _fixes(a, console, verbose)
        _also(a, console, verbose)
    if verbose:
        console.print()
        _grid(console, time_budget.rows(a), "Where the time went", (0, 0, 1, 2))
        for side in a.sides.values():
            _side(a, side, console)
        _basis(a, console)
    else:
        # of a capture that was looked at as a whole, only that it does not show what was asked for
        told = a.assembled.notes if a.given.apis else []
        cautions = [("caution", note) for note in (told if findings.is_all(a) else a.quality["notes"]) if note not in needed(a.hypotheses)]
        _grid(console, cautions, "", (0, 0, 0, 2), [_CAUTION] * len(cautions))
    if not verbose and not findings.is_all(a):
        console.print(Text(f"  -v shows {'causes, fixes and evidence' if answer.anything_refused(a) else 'more'}", style="dim"))


def _headline(a: Analysis) -> str:
    hidden = a.assembled.situation.uncountable and a.counts["exchanges"]
    if answer.anything_refused(a) or not (hidden or answer.requests_in_brief(a)):
        return answer.headline(a)[0].text
    return "".join(part.text for part in answer.findings_headline(a))


def _brief(a: Analysis, console: Any) -> None:
    """Why, which limit, how sure, what is ruled out, and what to do: a line each."""
    rows: list[tuple[Any, ...]] = []
    command = ""
    causes = answer.supported(a) if answer.anything_refused(a) else []
    for v in causes:
        rows.append(("why", "\n".join([f"{v.claim.removesuffix('.')} ({v.id})", *(e.text for e in v.evidence[:1])])))
    if (limit := answer.limiter(a)) is not None:
        rows.append(("limit", limit))
    if answer.anything_refused(a):
        if not causes:
            rows.append(("why", "Cause unknown" + _likely(a)))
        if wanted := [] if causes else needed(a.hypotheses):
            rows.append(("you need", wanted[0]))
        rows.append(("how sure", answer.how_sure_in_brief(a)))
        if out := [v.id for v in a.hypotheses if v.verdict == "refuted"]:
            rows.append(("ruled out", ", ".join(out)))
        fix = a.best_fix
        if more := answer.next_fixes(a):
            rows.append(("other fixes" if fix is not None else "try", ", ".join(f.id for f in more)))
        if fix is not None:
            rows.append(("best fix", f"{fix.title}: {answer.effect(fix)}{answer.why_best(a)}" + (f"; {fix.note}" if fix.note else "")))
            command = fix.how
    elif requests := answer.requests_in_brief(a):
        rows.append(("requests", requests))
    _grid(console, rows, "", (0, 0, 0, 2), ["bold green" if name == "best fix" else "bold" for name, _ in rows])
    _command(command, 4 + max((len(name) for name, _ in rows), default=0), console)


def _likely(a: Analysis) -> str:
    """The likeliest causes where few refusals were seen: ``; likely own-concurrency (72 %), same-nat-ip (20 %)``."""
    odds = sorted(((v.probability, v.id) for v in a.hypotheses if v.probability), reverse=True)[:2]
    told = ", ".join(f"{name} {probability:.0%}" for probability, name in odds if probability >= _LIKELY)
    return f"; with so few refusals, the odds are {told}" if told else ""


def _also(a: Analysis, console: Any, verbose: int) -> None:
    """What was found besides the refusals."""
    from rich.text import Text

    if others := [f for f in findings.beside_refusals(a) if f.severity != "note" or verbose]:
        if answer.anything_refused(a):
            console.print(Text("Also found", style="bold"))
        findings.listed(a, others, console, bool(verbose))


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


def _causes(a: Analysis, console: Any, verbose: int) -> None:
    rows = []
    for v in a.hypotheses:
        # what refutes is one sentence; that a rule separates is said where it supports
        told = v.evidence if v.verdict != "refuted" or verbose > 1 else v.evidence[:1]
        lines = [e.text + (f" ({e.detail})" if e.detail and verbose > 1 else "") + _frames(e.frames) for e in told]
        rows.append((f"{v.cause} {v.id}", v.verdict, "\n".join([*lines, *([f"needs {v.needs}"] if v.needs else [])])))
    _grid(console, rows, "Causes", (0, 0, 1, 2), [_STYLES[v.verdict] for v in a.hypotheses])


def _frames(frames: list[tuple[str, int]]) -> str:
    by: dict[str, list[str]] = {}
    for side, frame in frames:
        by.setdefault(side, []).append(str(frame))
    return f" ({'; '.join(f'{side} frames ' + ', '.join(numbers) for side, numbers in by.items())})" if by else ""


def _command(command: str, indent: int, console: Any) -> None:
    """A command in a line of its own, which can be pasted as it stands: the terminal wraps it, not we."""
    from rich.text import Text

    for line in command.splitlines():
        console.print(Text(" " * indent + printable(line)), soft_wrap=True)


def _fixes(a: Analysis, console: Any, verbose: int) -> None:
    """Each fix with what it changes and its command, or what to do in words."""
    from rich.text import Text

    rows = []
    said: set[str] = set()  # what holds of all predictions is said once
    best = a.best_fix
    for f in a.fixes if verbose > 1 else [*([best] if best else []), *answer.next_fixes(a)]:
        wait = f", {f.added_wait_s:.1f} s waiting" if f.added_wait_s else ""
        told = f.left if f.rejections_after is None else f"{f.rejections_before} -> {f.left} refused{wait}"
        news = [each for each in f.note.split("; ") if each and each not in said]
        said.update(news)
        rows.append((f.id, told, f.title + (f" ({'; '.join(news)})" if news else ""), f.how))
    if not rows:
        return
    console.print(Text("Fixes", style="bold"))
    name, effect = (max(len(row[k]) for row in rows) for k in (0, 1))
    for fix, told, title, command in rows:
        console.print(Text(f"  {fix:<{name}}  {told:<{effect}}  {printable(title)}"), soft_wrap=True)
        _command(command, name + 4, console)
    if useless := [f.id for f in a.fixes if f.rejections_after is not None and f.rejections_after >= f.rejections_before and verbose == 1]:
        console.print(Text(f"  no help: {', '.join(useless)}"))


def _basis(a: Analysis, console: Any) -> None:
    """Where outcomes come from, the clock, cautions."""
    known, told = answer.outcomes(a)
    rows = [("outcomes", told)] if known and not a.assembled.situation.uncountable else []
    if a.paired:
        p = a.peaks
        rows.append(("clock", a.clock.note))
        host = "the host's are not known" if p["host"] is None else f"host {p['host']}, both together {p['combined']}"
        rows.append(("peaks", f"connections open at once: VM {p['vm']}, {host}"))
    # what is needed is told elsewhere, and no sentence by itself
    cautions = [note for note in a.quality["notes"] if note not in needed(a.hypotheses)]
    _grid(console, [*rows, *(("caution", note) for note in cautions)], "", (0, 0, 0, 0))


REFUSED_TOO = ", refused ones included"  #: what one capture shows in flight; a limit counts only what was accepted


def _side(a: Analysis, side: SideFindings, console: Any) -> None:
    """What one capture shows by itself."""
    from rich.text import Text

    part = side.capture.part
    start, last = part.bounds_ns or (0, 0)
    for i in part.inputs:
        console.print(Text.assemble((printable(i.path), "bold"), f"  {overview.file(i)}"))
    when = f"from {utc(start)}, {(last - start) / 1e9:.3f} s" if part.bounds_ns else "no frame has a time"
    console.print(Text(f"{when}, {_VANTAGE[side.vantage]}"))
    sessions = side.capture.table("sessions").rows
    paths = side.paths
    if paths.keys() == {DIRECT} and side.rows is a.assembled.upstream.target:  # a relay on the machine made them for others
        paths = a.assembled.once(chains)
    how = ", ".join(f"{count:,} {_PATHS.get(path, f'through relays: {path}')}" for path, count in sorted(paths.items()))
    if "nat" in side.paths and all(ip is None for ip in side.capture.table("connections")["nat_ip"][side.rows].tolist()):
        how += ", by their private addresses; no translated copy was captured"
    rows = [
        ("target", _target(a)),
        (
            "connections",
            f"{int(side.rows.sum()):,} to the target{f' ({how})' if how else ''}; {plural(sessions, 'session')} on the wire in total",
        ),
        ("open at once", _peak(side.connections, start, "connection", "opened")),
        ("in flight", _in_flight(a, side, start)),
        ("lookups", _lookups(side)),
        ("tunnels", _tunnels(a, side)),
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


def _in_flight(a: Analysis, side: SideFindings, start: int) -> str:
    if a.counts["in_flight_between"] is None:
        return _peak(side.in_flight, start, "request", "started", REFUSED_TOO if a.counts["rejections"] else "")
    least, most = in_flight_between(a.assembled.situation, VM if side.vantage == "vm" else None)  # turns of HTTP/2 are no requests
    return f"{interval(least, most)} at once at the peak" if most else "no request"


def _peak(peak: PeakFacts, start: int, noun: str, verb: str, which: str = "") -> str:
    if not peak.count:
        return f"no {noun}"
    frames = ", ".join(str(f) for f in peak.frames[:6]) + (f" and {len(peak.frames) - 6:,} more" if len(peak.frames) > 6 else "")
    low, high = (peak.from_ns - start) / 1e9, (peak.to_ns - start) / 1e9
    by = "frame" if len(peak.frames) == 1 else "frames"
    lasted = f" for {duration(high - low)}" if peak.to_ns - peak.from_ns > 1 else ""  # of one frame it is not known
    return f"at most {plural(peak.count, noun)}{which}, first at {low:.3f} s{lasted} ({verb} in {by} {frames})"


def _lookups(a: SideFindings) -> str:
    rows, searches = overview.lookups(a.capture, "latency_ms", "attempts")
    found = f"{plural(len(searches), 'search', 'searches')} by multicast" if searches else ""
    if not rows:
        return found or "none"
    latency = [ms for ms, _ in rows if ms == ms]
    answered = f"median {statistics.median(latency):.3f} ms, longest {max(latency):.3f} ms" if latency else "none answered"
    open_ = overview.unanswered(a.capture)
    retries = sum(max(attempts - 1, 0) for _, attempts in rows)
    return (
        f"{len(rows):,}, {answered}"
        + (f", {open_:,} unanswered" if open_ else "")
        + (f", {plural(retries, 'retry', 'retries')}" if retries else "")
        + (f"; {found}" if found else "")
    )


def _tunnels(analysis: Analysis, a: SideFindings) -> str:
    linked = analysis.assembled
    if linked.tunnels and linked.vm is not None:
        address, outside = next(iter(linked.tunnels.items()))
        carried = int((linked.vm.connections["orig_ip"] == address).sum())
        there = endpoint(*outside.server)
        return f"{outside.name} {outside.source} > {there} carries {plural(carried, 'connection')} of {address}: as many bytes, meanwhile"
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
