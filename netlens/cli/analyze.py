"""``netlens analyze``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from netlens.cli.common import keylog_option, read_capture
from netlens.errors import CaptureError
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.chains.inputs import Inputs


@click.command(
    "analyze",
    epilog="""\b
    Examples:
      netlens analyze capture.pcap
      netlens analyze capture.pcap --api api.z.ai -o findings
      netlens analyze captures/same-nat-ip-sshuttle --format json | jq .cause
      netlens analyze --vm vm.pcap --host host.pcap --vm-errors opencode.log
      netlens analyze captures/same-nat-ip-sshuttle --bundle support.zip
    """,
)
@click.argument("capture", required=False, metavar="[CAPTURE|RECORDING]", type=click.Path(readable=False))
@click.option("--host", "host_file", metavar="FILE", type=click.Path(readable=False), help="A capture made on the host.")
@click.option("--vm", "vm_file", metavar="FILE", type=click.Path(readable=False), help="A capture made on the VM.")
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="NAME|IP",
    help="The server in question; may be repeated. Without it the recording's manifest says, or it is guessed and the guess stated.",
)
@click.option(
    "--vm-errors", metavar="FILE", type=click.Path(readable=False), help="Error log of the program on the VM: which requests were refused."
)
@click.option("--host-errors", metavar="FILE", type=click.Path(readable=False), help="Error log of the program on the host.")
@keylog_option("TLS keys (SSLKEYLOGFILE) of the programs; may be repeated; needs tshark.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Write report.html, report.json, pictures (PNG and SVG) and a text for the provider's support to DIR.",
)
@click.option(
    "--bundle",
    metavar="FILE.zip",
    type=click.Path(dir_okay=False),
    help="Write a zip for the provider's support: the captures anonymised, what they are analysed to, and the text. It must not exist yet.",
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="How to print the findings.")
def command(
    capture: str | None,
    host_file: str | None,
    vm_file: str | None,
    apis: tuple[str, ...],
    vm_errors: str | None,
    host_errors: str | None,
    keylogs: tuple[str, ...],
    output: str | None,
    bundle: str | None,
    form: str,
) -> None:
    """Why requests were refused: which cause the captures support, which they refute, what the limit is, and what each fix would change.

    Give both sides (a recording, or --vm and --host), or one capture: then everything that it can show is said, and what the other side would
    decide. A recording is a folder with host.pcap and/or vm.pcap (also .pcapng, .gz) and perhaps vm-errors.log, host-errors.log and a manifest.
    The findings are printed; with -o, report.html, report.json and pictures are written as well.
    """
    from netlens.analysis import analyze
    from netlens.api import TABLES

    if bundle is not None:
        _can_bundle(bundle, (capture, host_file, vm_file))
    given = _inputs(capture, host_file, vm_file).with_options(apis=apis, errors={"vm": vm_errors, "host": host_errors}, keylogs=keylogs)
    found = analyze({side: read_capture(paths, TABLES) for side, paths in given.captures.items()}, given)
    document = found.to_dict()
    if output is not None:
        _write(document, found, output)
    if bundle is not None:
        _bundle(given, document, bundle)
    if form == "json":
        json.dump(document, sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
        return
    _print(found)
    if output is not None:
        page = printable(os.path.join(output, "report.html"))
        sys.stderr.write(f"netlens: {page} opens in a browser; report.json and the pictures are beside it\n")


def _can_bundle(target: str, captures: tuple[str | None, ...]) -> None:
    """Refuse before the captures are read what would be refused after it."""
    from netlens.outputs import refuse_existing
    from netlens.report.bundle import refuse_standard_input

    refuse_existing(target)
    refuse_standard_input(captures)


def _bundle(given: Inputs, document: dict[str, Any], target: str) -> None:
    from netlens.cli.common import show_compilation
    from netlens.report.bundle import bundle

    show_compilation()
    made = bundle(given, document, target)
    if made.differs:
        said = ", ".join(made.differs)
        sys.stderr.write(
            f"netlens: warning: the anonymised captures are analysed to something else than these ({said}); say so to whom you send them\n"
        )
    if made.renamed:
        said = ", ".join(map(printable, made.renamed))
        sys.stderr.write(f"netlens: {said} has another name in it, since it was guessed; --api NAME keeps the name\n")
    sys.stderr.write(f"netlens: {printable(target)}: {plural(len(made.names), 'file')}, anonymised; ABOUT.txt in it says what is left\n")


def _print(found: Analysis) -> None:
    import io

    from rich.console import Console

    from netlens.cli.common import stop_at_a_closed_pipe
    from netlens.report.text import render

    to_terminal = sys.stdout.isatty()
    text = io.StringIO()
    console = Console(
        file=text, highlight=False, force_terminal=to_terminal, width=shutil.get_terminal_size().columns if to_terminal else 140
    )
    render(found, console)
    stop_at_a_closed_pipe()
    sys.stdout.write("".join(line.rstrip() + "\n" for line in text.getvalue().splitlines()))


def _inputs(capture: str | None, host: str | None, vm: str | None) -> Inputs:
    from netlens.chains.inputs import Inputs, from_folder

    if capture is not None and (host is not None or vm is not None):
        raise click.UsageError("name either a CAPTURE or recording, or the sides with --host and --vm")
    if capture is not None:
        return from_folder(capture) if os.path.isdir(capture) else Inputs({None: (capture,)})
    given: dict[str | None, tuple[str, ...]] = {side: (file,) for side, file in (("vm", vm), ("host", host)) if file is not None}
    if host == vm == "-":
        raise click.UsageError("only one side can be standard input; name a file for the other")
    if not given:
        raise click.UsageError("name a capture: netlens analyze CAPTURE (or --vm FILE, --host FILE)")
    return Inputs(given)


def _write(document: dict[str, Any], found: Analysis, output: str) -> None:
    """report.html, report.json, the pictures (of two sides in a folder each) and a text for the provider's support."""
    from netlens.outputs import replacing
    from netlens.report import html, support
    from netlens.report.plots import save_analysis

    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{output}: cannot be made a directory ({(error.strerror or str(error)).lower()})") from None
    with replacing(os.path.join(output, "report.json"), made_up=True) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, allow_nan=False)
        file.write("\n")
    html.write(found, document, os.path.join(output, "report.html"))
    if found.counts["rejections"]:
        with replacing(os.path.join(output, "support.md"), made_up=True) as path, open(path, "w", encoding="utf-8") as file:
            file.write(support.of(found))
    save_analysis(output, found)
