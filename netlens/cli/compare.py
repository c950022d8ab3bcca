"""``netlens compare``."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from netlens.cli.common import keylog_option, read_capture

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic


@click.command(
    "compare",
    epilog="""\b
    Examples:
      netlens compare captures/zombie-sshuttle captures/zombie-excluded
      netlens compare before after --api api.z.ai --format json | jq .verdict
    """,
)
@click.argument("baseline", metavar="BASELINE", type=click.Path(readable=False))
@click.argument("candidate", metavar="CANDIDATE", type=click.Path(readable=False))
@click.option("--api", "apis", multiple=True, metavar="NAME|IP", help="The server in question; may be repeated.")
@keylog_option("TLS keys of either recording; may be repeated; needs tshark.")
@click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="How to print the comparison."
)
def command(baseline: str, candidate: str, apis: tuple[str, ...], keylogs: tuple[str, ...], form: str) -> None:
    """Whether a change helped: two recordings, before and after it.

    BASELINE and CANDIDATE are recordings (folders), or captures of one side each. Compared are refusals per request with a confidence interval and
    an exact test, peaks, lifetimes and tails; the first sentence says better, worse, or cannot tell and how much more recording would.
    """
    from netlens.lenses.refused.comparison import compare

    if baseline == candidate == "-":
        raise click.UsageError("only one of the two can be standard input")
    before, notes_before = _rebuilt(baseline, apis, keylogs)
    after, notes_after = _rebuilt(candidate, apis, keylogs)
    found = compare(before.situation, after.situation)
    found.notes.extend(f"{which}: {note}" for which, notes in (("before", notes_before), ("after", notes_after)) for note in notes)
    if form == "json":
        json.dump({"baseline": baseline, "candidate": candidate, **found.to_dict()}, sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
        return
    from netlens.cli.common import stop_at_a_closed_pipe
    from netlens.report.comparison import lines

    stop_at_a_closed_pipe()
    sys.stdout.write("\n".join(lines(found)) + "\n")


def _rebuilt(path: str, apis: tuple[str, ...], keylogs: tuple[str, ...]) -> tuple[Traffic, list[str]]:
    """A recording or capture to compare, and notes on it."""
    from netlens.analysis import rebuilt
    from netlens.api import TABLES
    from netlens.chains.inputs import Inputs, from_folder

    given = (from_folder(path) if os.path.isdir(path) else Inputs({None: (path,)})).with_options(apis=apis, keylogs=keylogs)
    made = rebuilt({side: read_capture(paths, TABLES) for side, paths in given.captures.items()}, given)
    return made, [*given.notes, *made.notes]
