"""Options that several commands have, declared once. One term and one explanation each, wherever they appear."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from netlens.errors import CaptureError

F = TypeVar("F", bound=Callable[..., Any])
SHOWN_ROWS = 1000  #: rows of a text table on a terminal unless --limit says otherwise; nobody reads more, and files get all
_DASK = "Needs the extra `cluster`: pip install 'netlens[cluster]', or '.[cluster]' in a clone."
#: What the help of ``capture`` and ``watch`` ends with.
RIGHTS = """
    \b
    Rights: root, or sudo without a password, or once
      Linux: sudo setcap cap_net_raw,cap_net_admin=eip $(command -v tcpdump)
      macOS, until the next restart: sudo chgrp admin /dev/bpf* && sudo chmod g+rw /dev/bpf*
    `netlens doctor` says whether they are enough.
    """
FILE = click.Path(readable=False)  #: opened by netlens, whose message says more than click's


class Whole(click.IntRange):
    """A whole number; the message for anything else says which."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _in_words(self, "a whole number", super().convert, value, param, ctx)


class Real(click.FloatRange):
    """A number; the message for anything else says which."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _in_words(self, "a number", super().convert, value, param, ctx)


def _in_words(kind: click.IntRange | click.FloatRange, what: str, convert: Callable[..., Any], value: Any, *where: Any) -> Any:
    """``value`` converted; else the error says which numbers may be given."""
    try:
        return convert(value, *where)
    except click.BadParameter:
        above = "" if kind.min is None else f" above {kind.min}" if kind.min_open else f" of {kind.min} or more"
        kind.fail(f"{value} is not {what}{above if kind.max is None else f' from {kind.min} to {kind.max}'}", *where)


class Folder(click.Path):
    """A folder to write to, which may not be there yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if os.path.exists(value) and not os.path.isdir(value):
            self.fail(f"{os.fsdecode(value)} is a file, but a folder is needed here (it is made if it does not exist)", param, ctx)
        return super().convert(value, param, ctx)


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def api_option(without: str) -> Callable[[Any], Any]:
    """``--api NAME|IP``, any number of times, as ``apis``. ``without``: what happens if it is not given, a sentence."""
    return click.option("--api", "apis", multiple=True, metavar="NAME|IP", help=f"The API's server; repeatable. {without}")


def keylog_option(whose: str) -> Callable[[Any], Any]:
    """``--keylog FILE``, any number of times, as ``keylogs``."""
    return click.option(
        "--keylog", "keylogs", multiple=True, metavar="FILE", type=FILE, help=f"TLS keys (SSLKEYLOGFILE) {whose}; repeatable. Needs tshark."
    )


def format_option(*formats: str) -> Callable[[Any], Any]:
    """``--format`` of a command that prints findings, as ``form``; the first is the default."""
    return click.option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help="How to print the result."
    )


def live_options(folder: str) -> Callable[[F], F]:
    """What ``capture`` and ``watch`` have in common, by the names of their ``Options``. ``folder``: what ``-w`` does."""
    return together(
        click.option("-w", "--write", "folder", metavar="DIR", type=Folder(path_type=Path), help=folder),
        click.option("-i", "--interface", metavar="NAME", help="Interface to listen on.  [default: any; on macOS pktap,all]"),
        click.option(
            "--errors",
            multiple=True,
            metavar="[vm:|host:]PATH|PROGRAM",
            help="Error log to follow: a file, a folder of *.log files, or the name of a program whose log is then found (opencode, codex, "
            "claude-code); repeatable. The prefix says which machine it is on; without one, it is the side that is captured, or the VM if both are. Only "
            "times, error codes and starts of requests are kept, never prompts or keys.",
        ),
        click.option("--filter", metavar="BPF", help="tcpdump filter to use instead of the default one."),
        click.option("--everything", is_flag=True, help="Capture without a filter."),
        click.option("--seconds", type=Real(min=0, min_open=True), metavar="N", help="Stop after N seconds instead of at Ctrl-C."),
        click.option(
            "--ssh-cmd",
            "ssh",
            default="ssh",
            show_default=True,
            metavar="COMMAND",
            callback=lambda _context, _option, command: ssh_words(command),
            help="The ssh command with its options: 'ssh -p 2222 -i KEY'.",
        ),
    )


def ssh_words(command: str) -> tuple[str, ...]:
    """The words of ``--ssh-cmd``. CaptureError if a quote is not closed."""
    try:
        return tuple(shlex.split(command)) or ("ssh",)
    except ValueError as error:
        raise CaptureError(f"--ssh-cmd: {error}") from None


def logs_by_side(paths: Iterable[str], side: str | None) -> tuple[tuple[str, str], ...]:
    """``--errors`` as (side, path): ``vm:PATH``, ``host:PATH``, or a path of the side that is captured (the VM if that is both, or unknown)."""
    out = []
    for value in paths:
        head, colon, path = value.partition(":")
        out.append((head, path) if colon and head in ("vm", "host") else (side if side in ("vm", "host") else "vm", value))
    return tuple(out)


def output_options(table: str) -> Callable[[F], F]:
    """What every command that lists a table has; the formats that can write the table are listed in its help."""
    from netlens.report import exports

    formats = exports.of(table)

    def decorate(function: F) -> F:
        listed = "".join(f"\n  {name:<8} {export.MEANING}" for name, export in formats.items())
        # Before Python 3.13 a docstring keeps its indentation.
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nFormats:{listed}\n\nColumns: {_columns(table)}."
        return together(
            click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=FILE),
            click.option("--format", "form", type=click.Choice(list(formats)), default="table", show_default=True, help="Output format."),
            click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE instead of standard output."),
            click.option("--columns", metavar="A,B,...", help="Show only these columns, in this order; their names are listed above."),
            click.option(
                "--limit",
                type=Whole(min=0),
                metavar="N",
                help=f"Show at most N rows; 0 shows all.  [default: {SHOWN_ROWS:,} for a table on a terminal, else all]",
            ),
            click.option("--workers", metavar="N", type=Whole(min=1), help=f"Read with N processes on this machine. {_DASK}"),
            click.option(
                "--scheduler",
                metavar="ADDRESS",
                help=f"Read on the workers of a Dask scheduler; CAPTURE may be a folder, a pattern or a URL. {_DASK}",
            ),
        )(function)

    return decorate


def columns_of(table: str) -> tuple[list[str], list[str]]:
    """The columns that a table has, and those that ``--format table`` makes of them."""
    from netlens.report.communityid import COLUMN, TABLES
    from netlens.report.exports.table import NARROW
    from netlens.tables import ALL

    names = [*ALL[table].names(), *([COLUMN.name] if table in TABLES else [])]
    return names, [name for name in NARROW[table] if name not in names]


def _columns(table: str) -> str:
    names, made = columns_of(table)
    return ", ".join(names) + (f"; --format table also has {', '.join(made)}, made from others" if made else "")


community_id_option = click.option(
    "--community-id",
    is_flag=True,
    help="Add the column community_id: a hash of addresses and ports (version 1, seed 0) that is the same in logs of Zeek and Suricata.",
)
