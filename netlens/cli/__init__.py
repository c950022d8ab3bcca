"""The command line: parses arguments, calls, prints. Each command is a module of its own (those that list tables share one) and is imported when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

COMMANDS = {
    "analyze": "Find what is wrong in a capture, and why requests were refused.",
    "anonymize": "Copy a capture or recording with addresses and names replaced.",
    "capture": "Record the host, the VM, or both at once.",
    "compare": "Compare two recordings, before and after a change: did it help?",
    "connections": "List connections as the program made them.",
    "dns": "List DNS lookups.",
    "doctor": "Check what a recording needs, and print what fixes it.",
    "exchanges": "List requests with their responses.",
    "extract": "Copy frames of connections, lookups or findings to a file.",
    "lab": "Rebuild VM, host and provider on one machine, and record them.",
    "sessions": "List TCP sessions as they are on the wire.",
    "watch": "Record, and show every second how many connections and requests are open.",
}

EPILOG = """\b
Examples:
  netlens analyze capture.pcap -o findings
  netlens sessions capture.pcap --format csv -o sessions.csv
  tcpdump -i any -w - | netlens connections -

\b
Exit status: 0 done, 1 the input cannot be used or the output cannot be written, 2 wrong usage.
If netlens itself fails, set NETLENS_DEBUG=1 to see the traceback.
"""


class Commands(click.Group):
    """Knows the names and one line of help of all commands without importing them, so that ``netlens --help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        lists = name in ("connections", "dns", "exchanges", "sessions")
        module = importlib.import_module(f"netlens.cli.{'tables' if lists else name}")
        command: click.Command = getattr(module, name if lists else "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(
                f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else f"; the commands are {', '.join(COMMANDS)}")
            )
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from netlens import __version__
        from netlens.capture.processes import versions

        click.echo(f"netlens {__version__}")
        for name, found in versions().items():
            click.echo(f"{name} {found}")
        ctx.exit()


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the versions of netlens and of the programs it uses.",
)
def cli() -> None:
    """Find out from packet captures what is wrong on the network, why an API refuses requests, and how many connections and requests were open at each
    moment."""


def _invoke() -> int:
    """Run the command that was typed. (click's own ``main`` would handle a closed pipe, return what ``Exit`` holds and print the rest.)"""
    if os.environ.get("_NETLENS_COMPLETE"):
        cli.main(prog_name="netlens")  # a shell asks what could come next
    try:
        with cli.make_context("netlens", sys.argv[1:]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    finally:
        if "netlens.wire.compiled" in sys.modules:
            from netlens.cli.common import compile_for_later

            compile_for_later()
    return 0


def main() -> NoReturn:
    """Entry point: one line for whatever goes wrong, and the exit status that the documentation promises."""
    import signal

    from netlens.cli.ending import break_off, status_of

    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own pool holds 20 MB of what it was given back
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and stays in force
            signal.signal(number, lambda number, _: break_off(number))
    sys.exit(status_of(_invoke))
