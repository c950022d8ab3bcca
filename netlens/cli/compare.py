"""``netlens compare``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from netlens.cli.common import print_json, read_capture, stop_at_a_closed_pipe
from netlens.cli.options import FILE, api_option, format_option, keylog_option

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
@click.argument("baseline", metavar="BASELINE", type=FILE)
@click.argument("candidate", metavar="CANDIDATE", type=FILE)
@api_option("Default: the manifest's, or a guess, which is printed.")
@keylog_option("of either recording")
@format_option("text", "json")
def command(baseline: str, candidate: str, apis: tuple[str, ...], keylogs: tuple[str, ...], form: str) -> None:
    """Compare two recordings, made before and after a change: did it help?

    BASELINE and CANDIDATE are recordings (folders), or one capture each. The first line of the result is the verdict: better, worse, or cannot
    tell and how much more to record. Below it are refusals per request with a confidence interval, peaks, lifetimes and tails.
    """
    from netlens.lenses.refused.comparison import compare

    if baseline == candidate == "-":
        raise click.UsageError("only one of the two recordings can be standard input")
    before, notes_before = _rebuilt(baseline, apis, keylogs)
    after, notes_after = _rebuilt(candidate, apis, keylogs)
    found = compare(before.situation, after.situation)
    found.notes.extend(f"{which}: {note}" for which, notes in (("before", notes_before), ("after", notes_after)) for note in notes)
    if form == "json":
        print_json({"baseline": baseline, "candidate": candidate, **found.to_dict()})
        return
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
