"""``netlens analyze``."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from netlens.cli.common import read_capture
from netlens.errors import CaptureError

if TYPE_CHECKING:
    from netlens.analysis.findings import Analysis


@click.command(
    "analyze",
    epilog="""\b
    Examples:
      netlens analyze capture.pcap
      netlens analyze capture.pcap --api api.z.ai -o findings
      netlens analyze captures/same-nat-ip-sshuttle --format json | jq .peaks
    """,
)
@click.argument("capture", required=False, metavar="[CAPTURE|RECORDING]")
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

    The findings are printed; with -o, report.json and the pictures are written as well. A recording is a folder with host.pcap and/or vm.pcap
    (also .pcapng, .gz): each side is analysed by itself. The causes stay undecided and each says what would decide it.
    """
    from netlens.analysis.findings import analyze, both_sides
    from netlens.api import TABLES

    inputs = _inputs(capture, host_file, vm_file)
    found = {side: analyze(read_capture(paths, TABLES), apis, side) for side, paths in inputs.items() if side is not None}
    single = None if found else analyze(read_capture(inputs[None], TABLES), apis)
    document = single.to_dict() if single else both_sides(found)
    analyses = {"": single} if single else {side if len(found) > 1 else "": a for side, a in found.items()}
    if output is not None:
        _write(document, analyses, output)
    if form == "json":
        json.dump(document, sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
        return
    _print([one for one in analyses.values() if one is not None])
    if output is not None:
        sys.stderr.write(f"netlens: report.json and the pictures are in {output}\n")


def _print(analyses: list[Analysis]) -> None:
    """The findings as text, of two sides one after the other."""
    import io

    from rich.console import Console

    from netlens.cli.common import stop_at_a_closed_pipe
    from netlens.report.text import render

    to_terminal = sys.stdout.isatty()
    text = io.StringIO()
    console = Console(
        file=text, highlight=False, force_terminal=to_terminal, width=shutil.get_terminal_size().columns if to_terminal else 140
    )
    for one in analyses:
        render(one, console, with_causes=len(analyses) == 1)
    if len(analyses) > 1:
        console.print(
            "Causes: undecided. Both sides are here, but this version does not pair them on one clock yet, nor does it read error logs."
        )
    stop_at_a_closed_pipe()
    sys.stdout.write("".join(line.rstrip() + "\n" for line in text.getvalue().splitlines()))


def _inputs(capture: str | None, host: str | None, vm: str | None) -> dict[str | None, tuple[str, ...]]:
    """Side (None: unknown) -> its files in order."""
    if capture is not None and (host is not None or vm is not None):
        raise click.UsageError("name either a CAPTURE or recording, or the sides with --host and --vm")
    if capture is not None and not os.path.isdir(capture):
        return {None: (capture,)}
    if capture is not None:
        sides = {side: files for side in ("vm", "host") if (files := _side_files(capture, side))}
        if not sides:
            raise CaptureError(f"{capture}: a directory without host.pcap or vm.pcap (or .pcapng, .gz), so not a recording")
        return dict(sides.items())
    given: dict[str | None, tuple[str, ...]] = {side: (file,) for side, file in (("vm", vm), ("host", host)) if file is not None}
    if not given:
        raise click.UsageError("name a capture: netlens analyze CAPTURE (or --vm FILE, --host FILE)")
    return given


def _side_files(folder: str, side: str) -> tuple[str, ...]:
    """The capture of one side in a recording: one file, or those of a rotation (``vm-0001.pcap``, ...) in order."""
    for ending in (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz"):
        path = os.path.join(folder, side + ending)
        if os.path.exists(path):
            return (path,)
    try:
        parts = [name for name in os.listdir(folder) if re.fullmatch(side + r"-\d+\.pcap(ng)?(\.gz)?", name)]
    except OSError as error:
        raise CaptureError(f"{folder}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    return tuple(os.path.join(folder, name) for name in sorted(parts, key=lambda name: (len(name), name)))


def _write(document: dict[str, Any], analyses: Mapping[str, Analysis | None], output: str) -> None:
    """report.json, and the pictures of each side; of two sides in a folder each."""
    from netlens.report.export import replacing
    from netlens.report.plots import save_all

    try:
        for side in analyses:
            os.makedirs(os.path.join(output, side), exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{output}: cannot be made a directory ({(error.strerror or str(error)).lower()})") from None
    with replacing(os.path.join(output, "report.json")) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, allow_nan=False)
        file.write("\n")
    for side, found in analyses.items():
        assert found is not None
        tables = (found.capture.table(name) for name in ("connections", "sessions", "exchanges", "lookups"))
        save_all(os.path.join(output, side), *tables, capture_ns=found.capture.part.bounds_ns)
