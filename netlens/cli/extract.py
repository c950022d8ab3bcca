"""``netlens extract``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from netlens.cli.common import progress_of, read_capture, say, stop_at_a_closed_pipe
from netlens.cli.options import FILE, Whole
from netlens.text import plural

MOST_FRAMES = 20_000_000  #: of one range


def _numbers(what: str) -> Any:
    return click.option(
        f"--{what}",
        f"{what}s",
        multiple=True,
        type=Whole(min=0),
        metavar="N",
        help=f"A {what}_id from `netlens {what}s`; repeatable.",
    )


def _ranges(_context: click.Context, _option: click.Parameter, text: str | None) -> list[range]:
    """``1,20-23`` as ranges. click.BadParameter for something else."""
    out = []
    for part in (text or "").replace(" ", "").split(",") if text else ():
        found = re.fullmatch(r"([1-9]\d{0,15})(?:-([1-9]\d{0,15}))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first or last - first >= MOST_FRAMES:
            raise click.BadParameter(f"{part!r} is neither a frame number nor a range; write 1,20-23")
        out.append(range(first, last + 1))
    return out


@click.command(
    "extract",
    epilog="""\b
    Examples:
      netlens extract capture.pcap --connection 3 -w connection-3.pcap
      netlens extract part-*.pcap.gz --connection 3 --connection 7 -w both.pcap
      netlens extract capture.pcap --session 12 -w - | tshark -r -
      netlens extract capture.pcap --finding dns-unanswered -w unanswered.pcap
      netlens extract capture.pcap --lookup 0 --frames 20-23,30 -w lookups.pcap
      netlens extract capture.pcap --comments -w commented.pcapng
    """,
)
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=FILE)
@_numbers("connection")
@_numbers("session")
@click.option(
    "--lookup",
    "lookups",
    multiple=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="First query and answer of a lookup, by its lookup_id from `netlens dns`; repeatable.",
)
@click.option(
    "--finding",
    "findings",
    multiple=True,
    metavar="ID",
    help="All frames that a finding of `netlens analyze` with this name (dns-unanswered) rests on; repeatable.",
)
@click.option("--frames", metavar="LIST", callback=_ranges, help="Frames by their numbers: 1,20-23.")
@click.option(
    "-w",
    "--write",
    "output",
    required=True,
    metavar="FILE",
    help="Write to FILE (pcapng if its name ends in .pcapng), overwriting it if it exists, as tcpdump and editcap do. - is standard output.",
)
@click.option(
    "--comments",
    is_flag=True,
    help="Write what netlens found as packet comments, which Wireshark shows: where connections, lookups, requests and answers begin and end, how long each "
    "phase took, and findings. The result is a pcapng of all frames, unless some are chosen.",
)
def command(
    captures: tuple[str, ...],
    connections: tuple[int, ...],
    sessions: tuple[int, ...],
    lookups: tuple[int, ...],
    findings: tuple[str, ...],
    frames: list[range],
    output: str,
    comments: bool,
) -> None:
    """Copy the frames of connections, lookups or findings to a capture of their own.

    A connection is copied with all its parts: both halves where it was redirected, and the copies before and after NAT. Link layer, times and
    order stay as they were. Frames of several interfaces are written as pcapng, otherwise as pcap. Name the same files as for
    `netlens connections`: the numbers count through all of them."""
    wanted = _Wanted(connections, sessions, lookups, findings, frames)
    if not wanted and not comments:
        raise click.UsageError(
            "name what to extract: --connection N or --session N (netlens connections CAPTURE lists them), --lookup N (netlens dns), --finding ID "
            "(netlens analyze), or --frames LIST"
        )
    from netlens.lenses import all_lenses

    known = [lens.ID for lens in all_lenses()] if findings else []
    if unknown := [name for name in findings if name not in known]:
        raise click.BadParameter(f"no finding is called {unknown[0]}; there are {', '.join(sorted(known))}", param_hint="--finding")
    target = None if output == "-" else output
    if target is None and sys.stdout.isatty():
        raise click.UsageError("a capture is binary and not for a terminal: use -w FILE, or -w - into a pipe or a file")
    from netlens.report import extract

    extract.files_only(captures)
    extract.not_an_input(target, captures)
    if comments:
        if output.endswith((".pcap", ".cap")):
            raise click.BadParameter(f"{output}: only a pcapng holds comments; name it FILE.pcapng", param_hint="-w")
        _commented(captures, wanted, target)
        return
    from netlens.api import TABLES

    tables = tuple(
        dict.fromkeys(["connections"] * bool(connections) + ["sessions"] * bool(sessions) + ["lookups", "connections"] * bool(lookups))
    )
    capture = read_capture(captures, TABLES if findings else tables or ("sessions",), trail=bool(findings))
    found = _analysis(capture, captures).findings if findings else []
    with progress_of(captures) as progress:
        selection = wanted.select(captures, capture, found, progress)
        form = "pcapng" if output.endswith(".pcapng") else selection.form
        stop_at_a_closed_pipe()
        n = extract.write(captures, selection, target, form)
    several = form == "pcapng" and len(selection.interfaces) > 1
    note = f" (pcap cannot hold frames of {len(selection.interfaces)} interfaces)" if several else ""
    say(f"{plural(n, 'frame')}{wanted.of(capture)} written as {form}{note}")


@dataclass(frozen=True)
class _Wanted:
    """What is extracted."""

    connections: tuple[int, ...]
    sessions: tuple[int, ...]
    lookups: tuple[int, ...]
    findings: tuple[str, ...]
    frames: list[range]

    def __bool__(self) -> bool:
        return any((self.connections, self.sessions, self.lookups, self.findings, self.frames))

    def session_ids(self, capture: Any) -> list[int]:
        from netlens.report import extract

        return sorted({*self.sessions, *(extract.sessions_of(capture.table("connections"), self.connections) if self.connections else ())})

    def of(self, capture: Any) -> str:
        """`` of 2 sessions`` where these are all that is wanted."""
        return "" if self.lookups or self.findings or self.frames else f" of {plural(len(self.session_ids(capture)), 'session')}"

    def select(self, captures: tuple[str, ...], capture: Any, found: Iterable[Any], progress: Any) -> Any:
        """The frames, of all sources together. NetlensError if something is not in the capture."""
        import numpy as np

        from netlens.errors import NetlensError
        from netlens.report import extract

        ids = self.session_ids(capture)
        selection = extract.select(captures, capture.table("sessions"), ids, progress) if ids else None
        if selection is not None and not (self.lookups or self.findings or self.frames):
            return selection
        numbers = [np.arange(each.start, each.stop) for each in self.frames]
        numbers.append(np.array(extract.of_lookups(capture.table("lookups"), self.lookups) if self.lookups else [], np.int64))
        for id_ in self.findings:
            mine = [frame for f in found if f.id == id_ for _, frame in f.every or f.frames]
            if not mine:
                there = ", ".join(dict.fromkeys(f.id for f in found if f.frames)) or "nothing"
                raise NetlensError(f"{id_} was not found in the capture; found was: {there}")
            numbers.append(np.array(mine, np.int64))
        return extract.numbered(captures, np.concatenate([*numbers, *([selection.frames] if selection is not None else [])]), progress)


def _analysis(capture: Any, captures: tuple[str, ...]) -> Any:
    from netlens.analysis import analyze
    from netlens.chains.inputs import Inputs

    return analyze({None: capture}, Inputs({None: captures}))


def _commented(captures: tuple[str, ...], wanted: _Wanted, target: str | None) -> None:
    """The frames that are wanted, or all, with what was found."""
    from netlens.api import TABLES
    from netlens.report import extract
    from netlens.report.comments import comments

    capture = read_capture(captures, TABLES, trail=True)
    a = _analysis(capture, captures)
    found = comments(a)
    with progress_of(captures) as progress:
        selection = wanted.select(captures, capture, a.findings, progress) if wanted else extract.numbered(captures, None, progress)
        stop_at_a_closed_pipe()
        frames = extract.write(captures, selection, target, "pcapng", comments=found)
    with_comments = sum(frame in found for frame in selection.frames.tolist())
    say(f"{plural(frames, 'frame')} written as pcapng, {with_comments:,} with comments (Wireshark: filter frame.comment)")
