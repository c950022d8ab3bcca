"""The command line: parses arguments, calls, prints. Each command is a module of its own and is imported when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from netlens.errors import NetlensError

COMMANDS = {
    "analyze": "Why requests were refused: causes, limit, fixes; or what one capture shows.",
    "anonymize": "A copy about other addresses and names, without payload, for somebody else's eyes.",
    "capture": "Record the host, the VM, or both: captures, sockets, error logs, manifest.",
    "compare": "Whether a change helped: two recordings, before and after it.",
    "connections": "One row per connection as the application made it.",
    "dns": "One row per DNS lookup.",
    "doctor": "What is missing for a recording, and the command that mends it.",
    "exchanges": "One row per request and response.",
    "extract": "The frames of one connection as a capture of their own.",
    "lab": "Rebuild VM, host and provider in network namespaces, and record both sides.",
    "sessions": "One row per TCP session, as Wireshark numbers its streams.",
    "watch": "See live how many connections and requests are open at once, and what is refused.",
}

EPILOG = """\b
Examples:
  netlens analyze capture.pcap -o findings
  netlens sessions capture.pcap --format csv -o sessions.csv
  tcpdump -i any -w - | netlens connections -

\b
Exit status: 0 done, 1 the input could not be used, 2 wrong usage.
"""


class Commands(click.Group):
    """Knows the names and one line of help of all commands without importing them, so that ``netlens --help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"netlens.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"no command is called {args[0]!r}" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"))
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from netlens import __version__
        from netlens.capture.versions import versions

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
    help="Print versions of netlens and of what it runs with, and exit.",
)
def cli() -> None:
    """Rebuild what happened on the network from packet captures, and find out why requests were refused."""


def _ended(number: int, _frame: object) -> None:
    """SIGTERM, SIGHUP: unwind, so that files written aside are deleted."""
    sys.exit(128 + number)


def _say(text: str) -> None:
    from netlens.text import printable

    sys.stderr.write(f"netlens: {printable(text)}\n")


def _show(error: click.UsageError) -> None:
    """What click says of a wrong usage; words of the command line in it may be names of a stranger's files."""
    import io

    from netlens.text import printable

    said = io.StringIO()
    error.show(said)
    sys.stderr.write("\n".join(printable(line) for line in said.getvalue().split("\n")))


def main() -> None:
    """Entry point; turns the project's own errors into one line and exit status 1."""
    import os
    import signal

    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own pool holds 20 MB of what it was given back
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and stays in force
            signal.signal(number, _ended)
    try:
        cli.main(standalone_mode=False, prog_name="netlens")
    except click.exceptions.Abort:
        sys.stderr.write("netlens: interrupted\n")
        sys.exit(130)
    except click.UsageError as error:
        _show(error)
        sys.exit(2)
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(1)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except NetlensError as error:
        _say(str(error))
        sys.exit(1)
    except OSError as error:  # standard output on a full disk, a closed terminal
        sys.stderr.write(f"netlens: the output cannot be written ({(error.strerror or str(error)).lower()})\n")
        sys.exit(1)
