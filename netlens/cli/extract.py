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
    """,
)
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=FILE)
@_numbers("connection")
@_numbers("session")
@click.option("-w", "--write", "output", required=True, metavar="FILE", help="Write to FILE (pcapng if it ends so); - is standard output.")
def command(captures: tuple[str, ...], connections: tuple[int, ...], sessions: tuple[int, ...], output: str) -> None:
    """Copy the frames of one or more connections to a capture of their own.

    A connection is copied with all its parts: both halves where it was redirected, and the copies before and after NAT. Link layer, times and
    order stay as they were. Frames of several interfaces are written as pcapng, otherwise as pcap. Name the same files as for
    `netlens connections`: the numbers count through all of them."""
    if not connections and not sessions:
        raise click.UsageError("name what to extract: --connection N or --session N (netlens connections CAPTURE lists them)")
    target = None if output == "-" else output
    if target is None and sys.stdout.isatty():
        raise click.UsageError("a capture is binary and not for a terminal: use -w FILE, or -w - into a pipe or a file")
    from netlens.report import extract

    extract.files_only(captures)
    extract.not_an_input(target, captures)
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
