"""``netlens analyze``."""

from __future__ import annotations

import json
import sys

import click

from netlens.cli.common import read_capture
from netlens.errors import CaptureError


@click.command(
    "analyze",
    epilog="""\b
    Examples:
      netlens analyze capture.pcap
      netlens analyze capture.pcap --api api.z.ai -o findings
      netlens analyze --vm vm.pcap --format json | jq .peaks
    """,
)
@click.argument("capture", required=False, metavar="[CAPTURE]")
@click.option("--host", "host_file", metavar="FILE", help="A capture made on the host.")
@click.option("--vm", "vm_file", metavar="FILE", help="A capture made on the VM.")
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="NAME|IP",
    help="The server in question; may be repeated. Guessed, and the guess stated, if not given.",
)
@click.option(
    "-o", "--output", metavar="DIR", type=click.Path(file_okay=False), help="Write report.json and the pictures (PNG and SVG) to DIR."
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="How to print the findings.")
def command(capture: str | None, host_file: str | None, vm_file: str | None, apis: tuple[str, ...], output: str | None, form: str) -> None:
    """What happened in a capture: connections to the target, how many at once, lookups, tunnels, tails.

    The findings are printed; with -o, report.json and the pictures are written as well. One capture shows what happened at its place; the
    causes stay undecided and each says what would decide it.
    """
    given = [(f, v) for f, v in ((capture, None), (host_file, "host"), (vm_file, "vm")) if f is not None]
    if not given:
        raise click.UsageError("name a capture: netlens analyze CAPTURE (or --vm FILE, or --host FILE)")
    if len(given) > 1:
        raise click.UsageError("one capture at a time for now: analyze each side by itself")
    path, vantage = given[0]
    from netlens.analysis.findings import analyze
    from netlens.api import TABLES

    found = analyze(read_capture((path,), TABLES), apis, vantage)
    if output is not None:
        _write(found, output)
    if form == "json":
        json.dump(found.to_dict(), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
        return
    from rich.console import Console

    from netlens.report.text import render

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    render(found, console)
    if output is not None:
        sys.stderr.write(f"netlens: report.json and pictures are in {output}\n")


def _write(found: object, output: str) -> None:
    import os

    from netlens.analysis.findings import Analysis
    from netlens.report.export import replacing
    from netlens.report.plots import save_all

    assert isinstance(found, Analysis)
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{output}: cannot be made a directory ({(error.strerror or str(error)).lower()})") from None
    with replacing(os.path.join(output, "report.json")) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(found.to_dict(), file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
    c, part = found.capture, found.capture.part
    bounds = (part.first_ns, part.last_ns) if part.first_ns is not None and part.last_ns is not None else None
    save_all(output, c.table("connections"), c.table("sessions"), c.table("exchanges"), c.table("lookups"), capture_ns=bounds)
