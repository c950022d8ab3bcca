"""``netlens compare``."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from netlens.cli.common import read_captures, say, stop_at_a_closed_pipe
from netlens.cli.options import FILE, api_option, format_option, keylog_option

if TYPE_CHECKING:
    from netlens.chains.differing import Recorded


@click.command(
    "compare",
    epilog="""\b
    Examples:
      netlens compare captures/zombie-sshuttle captures/zombie-excluded
      netlens compare before after -o compared.txt
      netlens compare before after --api api.z.ai --format json | jq .verdict
    """,
)
@click.argument("baseline", metavar="BEFORE", type=FILE)
@click.argument("candidate", metavar="AFTER", type=FILE)
@api_option("Default: the manifest's, or a guess, which is printed.")
@keylog_option("of either recording")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write to FILE instead of standard output; JSON if it ends in .json.",
)
@format_option("text", "json")
def command(baseline: str, candidate: str, apis: tuple[str, ...], keylogs: tuple[str, ...], output: str | None, form: str) -> None:
    """Compare two recordings, made before and after a change: did it help?

    BEFORE and AFTER are recordings (folders), or one capture each. The first line of the result is the verdict: better, worse, or cannot tell and
    how long the recordings would have to be. Below it is what else differs (the tunnel's options, programs, how connections went). Then, of each recording:

    \b
    - requests that were refused at least once, with a 95% confidence interval
    - the most requests and connections that were open at once
    - how long TCP sessions to the API were open, and how many were left open after the program had closed them
    """
    if baseline == candidate == "-":
        raise click.UsageError("only one of the two recordings can be standard input")
    before, after = _recorded(baseline, apis, keylogs), _recorded(candidate, apis, keylogs)
    from netlens.outputs import replacing
    from netlens.report.comparison import compared, lines

    found = compared(before, after)
    found.notes.extend(
        f"{which}: {note}" for which, one in (("before", before), ("after", after)) for note in (*one.given.notes, *one.traffic.notes)
    )
    if form == "json" or (output or "").endswith(".json"):
        text = json.dumps({"baseline": baseline, "candidate": candidate, **found.to_dict()}, indent=2, allow_nan=False)
    else:
        text = "\n".join(lines(found))
    if output is not None:
        with replacing(output) as path, open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
        say(f"{output}: {found.sentence}")
        return
    stop_at_a_closed_pipe()
    sys.stdout.write(text + "\n")


def _recorded(path: str, apis: tuple[str, ...], keylogs: tuple[str, ...]) -> Recorded:
    from netlens.analysis import rebuilt
    from netlens.api import TABLES
    from netlens.chains.differing import Recorded
    from netlens.chains.inputs import Inputs, from_folder

    given = (from_folder(path) if os.path.isdir(path) else Inputs({None: (path,)})).with_options(apis=apis, keylogs=keylogs)
    return Recorded(given, rebuilt(read_captures(given.captures, TABLES), given))
