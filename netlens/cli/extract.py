"""``netlens extract``."""

from __future__ import annotations

import sys

import click

from netlens.cli.common import Progress, read_capture, stop_at_a_closed_pipe, total_bytes
from netlens.text import plural


@click.command(
    "extract",
    epilog="""\b
    Examples:
      netlens extract capture.pcap --connection 3 -w connection-3.pcap
      netlens extract part-*.pcap.gz --connection 3 --connection 7 -w both.pcap
      netlens extract capture.pcap --session 12 -w - | tshark -r -
    """,
)
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=click.Path(readable=False))
@click.option(
    "--connection", "connections", multiple=True, type=click.IntRange(min=0), metavar="N", help="A connection_id of `netlens connections`."
)
@click.option(
    "--session",
    "sessions",
    multiple=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="A session_id of `netlens sessions`.",
)
@click.option("-w", "--write", "output", required=True, metavar="FILE", help="Write to FILE (.pcapng: as pcapng); - is standard output.")
def command(captures: tuple[str, ...], connections: tuple[int, ...], sessions: tuple[int, ...], output: str) -> None:
    """Write the frames of one connection (or several) as a capture of their own.

    All of it: both halves where it was redirected, and its copies behind a translation; link layer, times and order as they were. Several
    files are one stream. Frames of several interfaces are written as pcapng, else as pcap. The numbers are those of the capture as a whole:
    name the same files."""
    if not connections and not sessions:
        raise click.UsageError("name what to extract: --connection N or --session N (netlens connections CAPTURE lists them)")
    target = None if output == "-" else output
    if target is None and sys.stdout.isatty():
        raise click.UsageError("a capture is binary: -w FILE, or -w - into a pipe or a file")
    from netlens.report import extract

    extract.files_only(captures)
    extract.not_an_input(target, captures)
    capture = read_capture(captures, ("connections",) if connections else ("sessions",))
    wanted = sorted({*sessions, *(extract.sessions_of(capture.table("connections"), connections) if connections else ())})
    progress = Progress(total_bytes(captures))
    try:
        selection = extract.select(captures, capture.table("sessions"), wanted, progress)
        form = "pcapng" if output.endswith(".pcapng") else selection.form
        stop_at_a_closed_pipe()
        frames = extract.write(captures, selection, target, form)
    finally:
        progress.close()
    what = f"{plural(frames, 'frame')} of {plural(len(wanted), 'session')} written as {form}"
    note = (
        f" (from {len(selection.interfaces)} interfaces, which a pcap does not hold)"
        if form == "pcapng" and len(selection.interfaces) > 1
        else ""
    )
    sys.stderr.write(f"netlens: {what}{note}\n")
