"""``netlens lab``."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from pathlib import Path

import click

from netlens.cli.common import stop_at_a_closed_pipe
from netlens.cli.options import Real, format_option


class WholeSummaries(click.Group):
    """Lists its commands with the whole first sentence of each, over several lines if need be."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, (command.help or "").split("\n\n")[0].replace("\n", " ")) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    "lab",
    cls=WholeSummaries,
    epilog="""\b
    Examples:
      netlens lab list
      sudo netlens lab run same-nat-ip-sshuttle -o recording --seconds 20
      netlens lab check recording
    """,
)
def command() -> None:
    """Rebuild VM, host and provider in network namespaces of this machine, and record both sides.

    Every cause has a scenario, with a real sshd, a real sshuttle and a provider that logs what it did and why."""


@command.command("list", epilog="\b\nExample:\n  netlens lab list")
def list_() -> None:
    """List the scenarios, a line each: the true causes, where requests are refused, and what is rebuilt."""
    from netlens.lab import scenario

    stop_at_a_closed_pipe()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    rows = [("scenario", "true causes", "refused", "what is rebuilt")]
    rows += [
        (each.name, ", ".join(each.expect.causes) or "-", each.expect.rejections, each.title)
        for each in map(scenario.load, scenario.names())
    ]
    first, second, third = (max(len(row[k]) for row in rows) for k in range(3))
    for name, causes, refused, title in rows:
        line = f"{name:<{first}}  {causes:<{second}}  {refused:<{third}}  {title}"
        click.echo(textwrap.fill(line, width, subsequent_indent="    ") if width else line)


@command.command(epilog="\b\nExample:\n  sudo netlens lab run same-nat-ip-sshuttle -o recording --seconds 20 --seed 2")
@click.argument("scenario")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), help="Folder of the recording.  [default: captures/SCENARIO]")
@click.option("--seconds", type=Real(min=1), metavar="N", help="How long the programs run.  [default: the scenario's]")
@click.option("--seed", type=int, metavar="N", help="Seed of all random choices.  [default: the scenario's]")
@click.option(
    "--sshuttle", type=click.Path(exists=True, dir_okay=False), help="The sshuttle to use, 1.3 or later.  [default: the installed one]"
)
@click.option("--snaplen", type=click.IntRange(min=96), metavar="N", help="Bytes kept of each packet.  [default: all]")
def run(scenario: str, output: Path | None, seconds: float | None, seed: int | None, sshuttle: str | None, snaplen: int | None) -> None:
    """Run a scenario and record both sides, with the provider's own log.

    Needs root on Linux. Removes its namespaces and processes, however it ends."""
    from netlens.capture.command import SNAPLEN
    from netlens.lab import run as lab_run
    from netlens.lab.scenario import load

    folder = output or Path("captures") / scenario
    options = lab_run.Options(seconds, seed, sshuttle, snaplen or SNAPLEN)
    lab_run.run(load(scenario), folder, options, lambda text: click.echo(text, err=True))
    click.echo(os.fsencode(folder))


@command.command(epilog="\b\nExample:\n  sudo netlens lab prove opencode-own-title -o proofs --seconds 60")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the recordings; those that are already in it are not made again.",
)
@click.option("--fix", "only", multiple=True, metavar="ID", help="Only this fix; repeatable.  [default: all that can be done here]")
@click.option("--seconds", type=Real(min=1), metavar="N", help="How long the programs run.  [default: the scenario's]")
@click.option("--seed", type=int, metavar="N", help="Seed of all random choices.  [default: the scenario's]")
def prove(scenarios: tuple[str, ...], folder: Path, only: tuple[str, ...], seconds: float | None, seed: int | None) -> None:
    """Apply each fix that the analysis of a scenario offers, by the command that it shows, and compare the result with its prediction.

    Prints a table of refusals, predicted and measured. Needs root on Linux."""
    from netlens.lab import prove as lab_prove
    from netlens.lab.run import Options
    from netlens.lab.scenario import load

    for name in scenarios:
        lab_prove.prove(load(name), folder, Options(seconds, seed), lambda text: click.echo(text, err=True), only)
    click.echo(lab_prove.as_markdown(lab_prove.read([folder])), nl=False)


@command.command(epilog="\b\nExample:\n  netlens lab proven proofs > docs/fixes-proven.md")
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
def proven(folders: tuple[Path, ...]) -> None:
    """Print the page of the fixes that `netlens lab prove` has tried."""
    from netlens.lab import prove as lab_prove

    click.echo(lab_prove.as_markdown(lab_prove.read(folders)), nl=False)


@command.command(epilog="\b\nExample:\n  sudo netlens lab install opencode")
@click.argument("program", type=click.Choice(["opencode"]))
def install(program: str) -> None:
    """Install a real program for the scenarios that use one.

    opencode: a fixed version of its npm package, installed by npm into a folder of the lab (200 MB). Its scenarios reach no host but the stand-in."""
    from netlens.lab.programs import opencode

    if (found := opencode.binary()) is None:
        click.echo(f"installing {opencode.PACKAGE} by npm into {opencode.folder()}", err=True)
        found = opencode.install()
    click.echo(os.fsencode(found))


@command.command(epilog="\b\nExample:\n  netlens lab check captures/*")
@click.argument("recordings", nargs=-1, type=click.Path(path_type=Path, readable=False))
@format_option("table", "json")
def check(recordings: tuple[Path, ...], form: str) -> None:
    """Compare what netlens reads in lab recordings with what the provider and the programs logged.

    Without an argument, checks every lab recording under captures/. Exits with status 1 if anything disagrees."""
    from netlens.lab import check as lab_check

    stop_at_a_closed_pipe()
    reports = [lab_check.check(each) for each in recordings or lab_check.bundled(Path("captures"))]
    click.echo(lab_check.as_json(reports) if form == "json" else lab_check.as_text(reports))
    if any(report.problems for report in reports):
        raise click.exceptions.Exit(1)


@command.command(epilog="\b\nExample:\n  sudo netlens lab clean")
def clean() -> None:
    """Remove what killed runs have left behind."""
    from netlens.lab import topology

    topology.need(["ip"])
    for name in (names := topology.stale()):
        topology.remove(name)
        click.echo(f"removed {name}", err=True)
    if not names:
        click.echo("nothing to remove", err=True)
