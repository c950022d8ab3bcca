"""``netlens doctor``."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter

import click

from netlens.capture.doctor import Row, examine, look_at
from netlens.cli.common import print_json, stop_at_a_closed_pipe
from netlens.cli.options import api_option, format_option
from netlens.outputs import replacing
from netlens.text import printable

#: Where no API is named: those of the provider whose refusals netlens was made for.
USUAL = ("z.ai", "bigmodel", "zhipu")


def usual_apis() -> tuple[str, ...]:
    """The provider's API names, without the domains they are under (a domain's web site is another machine)."""
    from netlens.chains.target import KNOWN_APIS

    names = [name for name in KNOWN_APIS if any(part in name for part in USUAL)]
    return tuple(name for name in names if not any(other.endswith("." + name) for other in names))


@click.command(
    "doctor",
    epilog="""\b
    Examples:
      netlens doctor
      netlens doctor --vm tart:cal-dev
      netlens doctor --vm admin@192.168.64.2 --api api.z.ai --format json
      netlens doctor --vm tart:cal-dev --report -o report.txt

    Exit status: 0 nothing is missing (there may be warnings) or a report was made, 1 something is missing, 2 wrong usage.
    """,
)
@click.option(
    "--vm",
    metavar="USER@HOST|tart:NAME|ALIAS",
    help="Check this VM as well, by ssh without a password: an address, a Tart VM, or an alias of ~/.ssh/config. Default: only this machine.",
)
@api_option("Default: those of the provider Z.ai (z.ai, bigmodel.cn).")
@click.option("-w", "--directory", metavar="DIR", default=".", show_default=True, help="Where recordings will be written.")
@format_option("table", "json")
@click.option(
    "--report",
    is_flag=True,
    help="Instead of the table, print one text to send with a bug report: names, addresses and keys in it are replaced.",
)
@click.option("-o", "--output", metavar="FILE", help="Where the report goes.  [default: standard output]")
def command(vm: str | None, apis: tuple[str, ...], directory: str, form: str, report: bool, output: str | None) -> None:
    """Check what a recording needs on this machine, and print the command that fixes what is missing.

    Checks tcpdump and whether you may capture with it, interfaces, buffers, disk, clocks, routes, proxies, sshuttle with its redirect rules and excludes, and
    the addresses of the API, here and (with --vm) on the VM. Changes nothing, and contacts only the VM and the system's resolver.
    """
    if report and form != "table":
        raise click.UsageError("--format does not go with --report, which is text")
    if output is not None and not report:
        raise click.UsageError("-o is for --report")
    with look_at(vm, apis or usual_apis(), bool(apis), directory) as scene:
        rows = examine(scene, progress=_progress)
        if report:
            from netlens.report.machines import as_text

            text = as_text(scene, rows)
    _progress("")
    stop_at_a_closed_pipe()
    if output is not None:
        with replacing(output, 0o600) as path, open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    if report:
        click.echo(text, nl=False)
        return
    heads = {"here": f"this machine ({scene.here.system})", "vm": f"the VM {scene.target}"}
    if form == "json":
        # "mend" is the name of "fix" in JSON since the first version
        print_json([{"mend" if name == "fix" else name: value for name, value in dataclasses.asdict(row).items()} for row in rows])
    else:
        _print(rows, heads)
    if any(row.status == "missing" for row in rows):
        raise click.exceptions.Exit(1)


def _print(rows: list[Row], heads: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red", "does not apply": "dim"}
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for where in dict.fromkeys(row.where for row in rows):
        of_machine = [row for row in rows if row.where == where]
        if all(row.status == "does not apply" for row in of_machine):
            continue  # no VM was named: nothing to read there
        table = Table(
            box=None, padding=(0, 2, 0, 0), title=Text(printable(heads[where])), title_justify="left", title_style="bold", show_header=False
        )
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for row in _folded(of_machine):
            dim = "dim" if row.status == "does not apply" else ""
            table.add_row(Text(row.status, styles[row.status]), Text(row.title, dim), Text(printable(row.text), dim))
        console.print(table)
        console.print()
    fixes = [row for row in rows if row.fix and row.status in ("warning", "missing")]
    if fixes:
        console.print(Text("To fix", "bold"))
        # whole lines, however long: they are to be copied
        for row in fixes:
            on = "on the VM, " if row.where == "vm" and row.id != "ssh" else ""
            console.print(Text(f"  # {on}{row.title}", styles[row.status]), soft_wrap=True)
            console.print(Text(f"  {printable(row.fix)}"), soft_wrap=True)
        console.print()
    counts = [(status, sum(row.status == status for row in rows)) for status in ("missing", "warning")]
    said = ", ".join(f"{count} {status}{'s' if status == 'warning' and count > 1 else ''}" for status, count in counts if count)
    console.print(Text(said or "nothing is missing"))


def _folded(rows: list[Row]) -> list[Row]:
    """Many checks that do not apply for one reason (a VM that does not answer) as one row."""
    reasons = Counter(row.text for row in rows if row.status == "does not apply")
    most = {text: count for text, count in reasons.items() if count > 3}
    kept = [row for row in rows if row.status != "does not apply" or row.text not in most]
    return kept + [Row("", f"{count} more checks", "", "does not apply", text) for text, count in most.items()]


def _progress(title: str) -> None:
    """The check that runs now, on a terminal only: a name without an answer, or a VM far away, takes seconds."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{'checking: ' if title else ''}{title}\x1b[K")
        sys.stderr.flush()
