"""``netlens extract``."""

from __future__ import annotations

import sys
from typing import Any

import click

from netlens.cli.common import progress_of, read_capture, say, stop_at_a_closed_pipe
from netlens.cli.options import FILE
from netlens.text import plural


def _numbers(what: str) -> Any:
    return click.option(
        f"--{what}",
        f"{what}s",
        multiple=True,
        type=click.IntRange(min=0),
        metavar="N",
        help=f"A {what}_id from `netlens {what}s`; repeatable.",
    )


@click.command(
    "extract",
    epilog="""\b
    Examples:
      netlens extract capture.pcap --connection 3 -w connection-3.pcap
      netlens extract part-*.pcap.gz --connection 3 --connection 7 -w both.pcap
      netlens extract capture.pcap --session 12 -w - | tshark -r -
      netlens extract capture.pcap --comments -w commented.pcapng
    """,
)
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=FILE)
@_numbers("connection")
@_numbers("session")
@click.option("-w", "--write", "output", required=True, metavar="FILE", help="Write to FILE (pcapng if it ends so); - is standard output.")
@click.option(
    "--comments",
    is_flag=True,
    help="Write what netlens found as packet comments, which Wireshark shows: where connections, lookups, requests and answers begin and end, how long each "
    "phase took, and findings. The result is a pcapng; without --connection and --session it has all frames.",
)
def command(captures: tuple[str, ...], connections: tuple[int, ...], sessions: tuple[int, ...], output: str, comments: bool) -> None:
    """Copy the frames of one or more connections to a capture of their own.

    A connection is copied with all its parts: both halves where it was redirected, and the copies before and after NAT. Link layer, times and
    order stay as they were. Frames of several interfaces are written as pcapng, otherwise as pcap. Name the same files as for
    `netlens connections`: the numbers count through all of them."""
    if not connections and not sessions and not comments:
        raise click.UsageError("name what to extract: --connection N or --session N (netlens connections CAPTURE lists them)")
    target = None if output == "-" else output
    if target is None and sys.stdout.isatty():
        raise click.UsageError("a capture is binary and not for a terminal: use -w FILE, or -w - into a pipe or a file")
    from netlens.report import extract

    extract.files_only(captures)
    extract.not_an_input(target, captures)
    if comments:
        if output.endswith((".pcap", ".cap")):
            raise click.BadParameter(f"{output}: only a pcapng holds comments; name it FILE.pcapng", param_hint="-w")
        _commented(captures, connections, sessions, target)
        return
    capture = read_capture(captures, ("connections",) if connections else ("sessions",))
    wanted = sorted({*sessions, *(extract.sessions_of(capture.table("connections"), connections) if connections else ())})
    with progress_of(captures) as progress:
        selection = extract.select(captures, capture.table("sessions"), wanted, progress)
        form = "pcapng" if output.endswith(".pcapng") else selection.form
        stop_at_a_closed_pipe()
        frames = extract.write(captures, selection, target, form)
    several = form == "pcapng" and len(selection.interfaces) > 1
    note = f" (pcap cannot hold frames of {len(selection.interfaces)} interfaces)" if several else ""
    say(f"{plural(frames, 'frame')} of {plural(len(wanted), 'session')} written as {form}{note}")


def _commented(captures: tuple[str, ...], connections: tuple[int, ...], sessions: tuple[int, ...], target: str | None) -> None:
    """The frames of sessions, or all, with what was found."""
    from netlens.analysis import analyze
    from netlens.api import TABLES
    from netlens.chains.inputs import Inputs
    from netlens.report import extract
    from netlens.report.comments import comments

    capture = read_capture(captures, TABLES, trail=True)
    found = comments(analyze({None: capture}, Inputs({None: captures})))
    with progress_of(captures) as progress:
        if connections or sessions:
            wanted = sorted({*sessions, *extract.sessions_of(capture.table("connections"), connections)})
            selection = extract.select(captures, capture.table("sessions"), wanted, progress)
        else:
            selection = extract.everything(captures, progress)
        stop_at_a_closed_pipe()
        frames = extract.write(captures, selection, target, "pcapng", comments=found)
    with_comments = sum(frame in found for frame in selection.frames.tolist())
    say(f"{plural(frames, 'frame')} written as pcapng, {with_comments:,} with comments (Wireshark: filter frame.comment)")
