"""``netlens analyze``."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from netlens.cli.common import print_json, read_captures, say, show_compilation, stop_at_a_closed_pipe
from netlens.cli.options import FILE, Folder, api_option, format_option, keylog_option
from netlens.errors import CaptureError
from netlens.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable

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
      netlens analyze --vm vm.pcap --host host.pcap --capture vm2=second.pcap
      netlens analyze captures/same-nat-ip-sshuttle --bundle support.zip
    """,
)
@click.argument("captures", nargs=-1, metavar="[CAPTURE|RECORDING]...", type=FILE)
@click.option("--host", "host_file", metavar="FILE", type=FILE, help="Capture made on the host.")
@click.option("--vm", "vm_file", metavar="FILE", type=FILE, help="Capture made on the VM.")
@click.option(
    "--capture",
    "further",
    metavar="NAME=FILE",
    multiple=True,
    help="Capture made on another machine behind the host, such as a second VM; repeatable. Results call it NAME.",
)
@api_option("Default: the manifest's, or a guess, which is printed.")
@click.option("--vm-errors", metavar="FILE", type=FILE, help="Error log of the program on the VM: says which requests were refused.")
@click.option("--host-errors", metavar="FILE", type=FILE, help="Error log of the program on the host.")
@click.option(
    "--errors",
    "logs",
    multiple=True,
    metavar="NAME:FILE",
    help="Error log of one program on the VM (vm:FILE), on the host (host:FILE) or on the machine of a --capture (NAME:FILE); repeatable, for several "
    "programs of one machine. Many programs' formats are recognised, and may be mixed.",
)
@keylog_option("of the programs")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=Folder(),
    help="Write report.html, report.json and pictures (PNG and SVG) to DIR; where requests were refused, also a letter to the provider's support (support.md).",
)
@click.option(
    "--bundle",
    metavar="FILE.zip",
    type=click.Path(dir_okay=False),
    help="Write a zip for the provider's support: anonymised captures, their analysis, and the letter. Must not exist yet.",
)
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Show the evidence with frames and Wireshark filters, every fix that helps, and what each capture shows by itself; -vv shows all.",
)
@format_option("text", "json")
def command(
    captures: tuple[str, ...],
    host_file: str | None,
    vm_file: str | None,
    further: tuple[str, ...],
    apis: tuple[str, ...],
    vm_errors: str | None,
    host_errors: str | None,
    logs: tuple[str, ...],
    keylogs: tuple[str, ...],
    output: str | None,
    bundle: str | None,
    verbose: int,
    form: str,
) -> None:
    """Find what is wrong in a capture (failed lookups and connections, errors, losses, delays), and why requests were refused.

    Where requests were refused, you get the cause, the limit, and what each fix would change.

    Give both sides: a RECORDING, or --vm and --host. A recording is a folder with vm.pcap and host.pcap (also .pcapng, .gz), and perhaps
    captures NAME.pcap of other machines, vm-errors.log, host-errors.log and manifest.toml (what `netlens capture` noted: the API, the machines, the tunnel).
    With a single CAPTURE, you get what it shows, and which other capture would show what it cannot. Several recordings of the same situation are
    weighed together: refusals too few for a verdict in each can be enough together.
    """
    if len(captures) > 1:
        if host_file or vm_file or further or vm_errors or host_errors or logs or keylogs or output or bundle:
            raise click.UsageError("several recordings are weighed together as they are: only --api, --format and -v go with them")
        if not all(map(os.path.isdir, captures)):  # two files may be the two sides of one run, whose requests would count twice
            file = next(path for path in captures if not os.path.isdir(path))
            raise click.UsageError(
                f"several paths were given, so each must be a recording (a folder), and {printable(file)} is not; the two captures of one run are "
                "given with --vm and --host"
            )
        if len(set(map(os.path.realpath, captures))) < len(captures):
            raise click.UsageError("the same recording is given twice")
        _together(captures, apis, form, verbose)
        return
    capture = captures[0] if captures else None
    from netlens.kinds import not_a_log

    if bundle is not None:  # what would be refused after minutes of reading is refused now
        from netlens.outputs import refuse_existing
        from netlens.report.bundle import refuse_standard_input

        refuse_existing(bundle)
        refuse_standard_input((capture, host_file, vm_file))
    given = _inputs(capture, host_file, vm_file, _named(further)).with_options(
        apis=apis, errors={"vm": vm_errors, "host": host_errors}, more_errors=_logs(logs), keylogs=keylogs
    )
    if unknown := next((name for name in given.errors if name not in ("vm", "host") and name not in given.captures), None):
        raise click.BadParameter(
            f"no capture is called {printable(unknown)}; use vm, host, or the NAME of a --capture", param_hint="--errors"
        )
    for path in (*given.errors.values(), *(path for _, path in given.more_errors)):
        if (kind := not_a_log(path)) is not None:
            raise CaptureError(f"{printable(path)}: this is {kind}, not an error log")
    found = _analyzed(given)
    text = _text(found, verbose) if form == "text" else ""
    if output is not None or bundle is not None or form == "json":
        document = found.to_dict()
        drawn = output is not None and _write(document, found, output)
        if bundle is not None:
            _bundle(given, document, bundle)
        if form == "json":
            print_json(document)
            return
    _print(text)
    if output is not None:
        say(
            f"{os.path.join(output, 'report.html')} opens in a browser; {'report.json and the pictures are' if drawn else 'report.json is'} beside it"
        )


def _analyzed(given: Inputs) -> Analysis:
    """What the captures say. What judges them is imported while they are read, which takes a third of a second."""
    from netlens.api import TABLES
    from netlens.arrays import one_heap
    from netlens.parsers import closely, packet_digests, pipeline  # noqa: F401 -- or reading would take turns with the other imports, for these
    from netlens.threads import in_parallel

    one_heap()
    captures, analyze = in_parallel(lambda: read_captures(given.captures, TABLES, trail=True), _import)
    found: Analysis = analyze(captures, given)
    gc.freeze()  # a search for cycles in millions of small objects takes a fifth of a second, and finds none
    return found


def _import() -> Callable[..., Analysis]:
    import numpy.ma  # noqa: F401 -- numpy imports it when it is first asked for different values

    from netlens import lenses
    from netlens.analysis import analyze

    lenses.all_lenses()
    return analyze


def _together(recordings: tuple[str, ...], apis: tuple[str, ...], form: str, verbose: int) -> None:
    """Several recordings of one situation: each by itself in a line, then what they say together."""
    from netlens.analysis import together

    found = [_analyzed(_inputs(path, None, None, {}).with_options(apis=apis)) for path in recordings]
    all_of_them = together(found)
    each = [
        {"path": path, "counts": one.counts, "cause": one.cause, "limiter": one.limiter}
        for path, one in zip(recordings, found, strict=True)
    ]
    if form == "json":
        print_json(all_of_them.to_dict() | {"recordings": each})
        return
    for path, one in zip(recordings, found, strict=True):
        say(
            f"{printable(path)}: {one.counts['rejections']} of {plural(one.counts['exchanges'], 'request')} refused; cause {one.cause or 'not told'}"
        )
    say("all together:")
    _print(_text(all_of_them, verbose))


def _logs(named: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """``--errors`` as (side, path)."""
    out = []
    for each in named:
        side, colon, path = each.partition(":")
        if not colon or not side or not path:
            raise click.BadParameter(
                f"{printable(each)}: must be vm:FILE, host:FILE or NAME:FILE, where NAME is that of a --capture", param_hint="--errors"
            )
        if not os.path.exists(path):
            raise click.BadParameter(f"{printable(path)} does not exist", param_hint="--errors")
        out.append((side, path))
    return tuple(out)


def _bundle(given: Inputs, document: dict[str, Any], target: str) -> None:
    from netlens.report.bundle import bundle

    show_compilation()
    made = bundle(given, document, target)
    if made.differs:
        say(f"warning: the analysis of the anonymised captures differs in {', '.join(made.differs)}; tell whoever you send them to")
    if made.renamed:
        say(f"{', '.join(made.renamed)} was guessed and is replaced in the bundle; --api NAME keeps the name")
    say(f"{target}: {plural(len(made.names), 'file')}, anonymised; ABOUT.txt in it says what was left in")


def _text(found: Analysis, verbose: int) -> str:
    import io

    from rich.console import Console

    from netlens.report.text import render

    to_terminal = sys.stdout.isatty()
    text = io.StringIO()
    width = shutil.get_terminal_size().columns if to_terminal else 140
    render(found, Console(file=text, highlight=False, force_terminal=to_terminal, width=width, height=25), verbose)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def _print(text: str) -> None:
    stop_at_a_closed_pipe()
    sys.stdout.write(text)


def _named(further: tuple[str, ...]) -> dict[str | None, tuple[str, ...]]:
    """``--capture NAME=FILE`` by name."""
    from netlens.chains.inputs import vantage

    out: dict[str | None, tuple[str, ...]] = {}
    for text in further:
        name, equals, file = text.partition("=")
        if not equals or not file or vantage(name) is None:
            raise click.UsageError(f"--capture {printable(text)}: give NAME=FILE; a name consists of letters, digits, dots, - and _")
        if name in out:
            raise click.UsageError(f"--capture {name}: given twice")
        out[name] = (file,)
    return out


def _inputs(capture: str | None, host: str | None, vm: str | None, further: dict[str | None, tuple[str, ...]]) -> Inputs:
    from netlens.chains.inputs import Inputs, from_folder

    if capture is not None and (host is not None or vm is not None):
        raise click.UsageError("give either a CAPTURE or RECORDING, or the sides with --vm and --host, not both")
    if capture is not None:
        found = from_folder(capture) if os.path.isdir(capture) else Inputs({None: (capture,)})
        return replace(found, captures=found.captures | further)
    if twice := [name for name, file in (("vm", vm), ("host", host)) if file is not None and name in further]:
        raise click.UsageError(f"--{twice[0]} and --capture {twice[0]}=FILE are the same; give one of them")
    given: dict[str | None, tuple[str, ...]] = {side: (file,) for side, file in (("vm", vm), ("host", host)) if file is not None}
    given |= further
    if sum(files == ("-",) for files in given.values()) > 1:
        raise click.UsageError("only one side can be standard input; give a file for the other")
    if not given:
        raise click.UsageError("give a capture: netlens analyze CAPTURE (or --vm FILE, --host FILE)")
    return Inputs(given)


def _write(document: dict[str, Any], found: Analysis, output: str) -> bool:
    """report.html, report.json, the pictures (of two sides in a folder each) and a text for the provider's support. Whether there are pictures."""
    from netlens.arrays import give_back
    from netlens.aside import each
    from netlens.extras import missing
    from netlens.outputs import replacing
    from netlens.report import html, letter

    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{output}: cannot be made a directory ({(error.strerror or str(error)).lower()})") from None
    with replacing(os.path.join(output, "report.json"), made_up=True) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, allow_nan=False)
        file.write("\n")
    why = missing("matplotlib")
    give_back()
    write = html.prepared(found, document)
    found.let_segments_go()  # before there are two processes, and the page's tables take as much again
    give_back()
    tasks: list[Callable[[], object]] = [lambda: write(os.path.join(output, "report.html"))]
    if why is None:
        from netlens.report.plots import of_analysis

        tasks += of_analysis(output, found)
    else:
        say(f"no pictures: {why}")
    each(tasks)
    if found.counts["rejections"]:
        with replacing(os.path.join(output, "support.md"), made_up=True) as path, open(path, "w", encoding="utf-8") as file:
            file.write(letter.of(found))
    return why is None
