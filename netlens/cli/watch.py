"""``netlens watch``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from netlens.cli.common import say, show_compilation
from netlens.cli.options import RIGHTS, Real, Whole, api_option, live_options, logs_by_side

if TYPE_CHECKING:
    import threading

    from netlens.watch.live import Live
    from netlens.watch.monitor import Snapshot
    from netlens.watch.state import Watched


@click.command(
    "watch",
    epilog="""\b
    Examples:
      sudo netlens watch --side host --api api.z.ai --limit 3
      netlens watch --side both --vm admin@192.168.64.5 --api api.z.ai --errors opencode
      netlens watch --replay captures/two-causes --limit 2 --speed 10
      sudo netlens watch --json --api api.z.ai | jq '.captures[0].all.requests.now'
    """
    + RIGHTS,
)
@api_option("Default: every server on port 443.")
@click.option("--side", type=click.Choice(("vm", "host", "both")), help="Which machine this is; both needs --vm (or a recording of both).")
@click.option("--vm", metavar="USER@HOST|tart:NAME", help="Watch this VM by ssh; nothing is left on it.")
@click.option("--limit", type=Whole(min=1), metavar="N", help="Raise an alarm when N are in progress at once.")
@click.option("--count", type=click.Choice(("requests", "connections")), default="requests", show_default=True, help="What --limit counts.")
@live_options("Keep the recording in DIR; needs --side.")
@click.option("--replay", metavar="CAPTURE|RECORDING", help="Play a capture, or a recording with its error logs, instead of capturing.")
@click.option("--speed", type=Real(min=0), default=1, show_default=True, metavar="X", help="Speed of --replay; 0 is as fast as possible.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a second; the last one has the totals.")
def command(
    side: str | None,
    vm: str | None,
    apis: tuple[str, ...],
    limit: int | None,
    count: str,
    errors: tuple[str, ...],
    replay: str | None,
    speed: float,
    as_json: bool,
    seconds: float | None,
    **options: Any,
) -> None:
    """Capture, and show every second how many connections and requests are open, and which requests are refused.

    On a terminal this is a screen, redrawn every second; elsewhere lines of text, or with --json one object a second. "now" is the highest
    count within the last second. Ctrl-C stops it and prints a summary, counted by the rules of `netlens analyze`.
    """
    import shlex
    import threading

    from netlens.cli.ending import break_off, interrupts

    live_only = {
        "--vm": vm,
        "-i": options["interface"],
        "-w": options["folder"],
        "--filter": options["filter"],
        "--everything": options["everything"],
    }
    for name, value in live_only.items():
        if replay is not None and value:
            raise click.UsageError(f"{name} is for capturing and does not go with --replay")
    if replay is None and side == "both" and vm is None:
        raise click.UsageError("--side both needs the VM: --vm USER@HOST, --vm tart:NAME, or an alias of your ssh configuration")
    if vm is not None and side == "host":
        raise click.UsageError("--vm does not go with --side host; use --side both or --side vm")
    if vm is not None and side is None:
        side = "vm"
    if options["folder"] is not None and side is None:
        raise click.UsageError("-w needs --side: which machine this is, vm, host or both")
    stop = threading.Event()
    shown = _Output(as_json, seconds)

    def interrupted(number: int) -> None:
        stop.set()
        if not shown.begun:  # nothing to end yet: kernels are compiled, names looked up, tcpdump started
            break_off(number)

    with interrupts(interrupted):
        show_compilation()
        if replay is not None:
            _play(replay, side, apis, limit, count, errors, speed, stop, shown)
            return
        from netlens.watch.live import Live, Options

        _warm()
        logs = logs_by_side(errors, side)
        wanted = Options(side=side, vm=vm, apis=apis, errors=logs, invocation=shlex.join(["netlens", *sys.argv[1:]]), **options)
        what = ", ".join(apis) or options["filter"] or ("everything" if options["everything"] else "port 443")
        with Live(wanted, stop, say) as live:
            _record(live, limit, count, logs, what, shown)


def _record(live: Live, limit: int | None, count: str, logs: tuple[tuple[str, str], ...], what: str, shown: _Output) -> None:
    from netlens.errors import CaptureError
    from netlens.text import printable
    from netlens.watch.monitor import Monitor

    monitor = live.start(lambda watched: Monitor(watched, limit, count, tuple(name for name, _ in logs)))
    where = " + ".join(f"{feed.recorder.interface} ({feed.place.side})" for feed in live.feeds.values())
    with shown.on(f"{where}  {what}", live.stop):
        for times in live.run():
            if not shown.show(monitor.snapshot(times)):
                live.stop.set()
        shown.wait_for("stopping: reading what tcpdump still holds")
        last = monitor.snapshot(live.finish(), final=True)
    shown.end(last)
    for watched in monitor.watched.values():
        for line in watched.unread():
            say(f"warning: {line}")
    if live.options.folder is not None:
        say(f"the recording is in {live.options.folder}")
    if live.fault is not None:
        raise CaptureError(f"the watch ended early: {printable(live.fault)}")


def _play(
    path: str,
    side: str | None,
    apis: tuple[str, ...],
    limit: int | None,
    count: str,
    errors: tuple[str, ...],
    speed: float,
    stop: threading.Event,
    shown: _Output,
) -> None:
    from netlens.watch.monitor import Monitor
    from netlens.watch.replay import Replay, open_recording
    from netlens.watch.state import Watched

    given = open_recording(path, side)
    logs = given.errors | dict(logs_by_side(errors, side))
    watched: dict[str | None, Watched] = {name: Watched(name, apis or given.apis) for name in given.captures}
    monitor = Monitor(watched, limit, count, tuple(logs))
    replay = Replay(given.captures, monitor, speed, stop, logs)
    times = None
    what = ", ".join(apis or given.apis) or "all servers"
    with shown.on(f"{os.path.basename(os.path.normpath(path))}  {what}" + (f"  x{speed:g}" if speed else ""), stop):
        for times in replay.run():
            if not shown.show(monitor.snapshot(times), hurry=not speed):
                stop.set()
    for warning in (*replay.notes, *replay.warnings):
        say(f"warning: {warning}")
    if times is not None:
        shown.end(monitor.snapshot(times, final=True))


def _warm() -> None:
    """Load (or compile) every kernel before the first packet waits for one."""
    import tempfile

    from netlens.warm import tiny_capture
    from netlens.watch.state import Watched
    from netlens.wire.containers import Reader

    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(tiny_capture())
        file.flush()
        watched = Watched("host", ("example.invalid",))
        for batch in Reader([file.name]).batches():
            watched.feed(batch)
        watched.tick((watched.last_ns or 0) + 1)
        watched.exact()


class _Output:
    """Where snapshots go: a screen, lines, or JSON."""

    def __init__(self, as_json: bool, seconds: float | None):
        self.as_json = as_json
        self.seconds = seconds
        self.title = ""
        self.screen: Any = None
        self.broken = False
        self.begun = False
        self.drawn = 0.0

    def on(self, title: str, stop: threading.Event) -> _Output:
        """For a ``with``: from now on it is shown, for so many seconds if that was asked for."""
        import threading

        self.title, self.begun = title, True
        if self.seconds is not None:
            timer = threading.Timer(self.seconds, stop.set)
            timer.daemon = True
            timer.start()
        return self

    def __enter__(self) -> _Output:
        if not self.as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            from rich.console import Console
            from rich.live import Live as Screen
            from rich.text import Text

            console = Console()
            self.screen = Screen(Text(""), console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self.screen.start(refresh=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self.screen is not None:
            self.screen.stop()
            self.screen = None

    def show(self, snapshot: Snapshot, hurry: bool = False) -> bool:
        """Show one moment; False if nobody looks any more."""
        import time

        if self.screen is not None:
            now = time.monotonic()
            if now - self.drawn < 0.2:  # a replay may tick faster than eyes
                return True
            self.drawn = now
            self._draw(snapshot)
            return True
        if self.as_json:
            return self._write([_json(snapshot)])
        if hurry:
            return True
        from netlens.watch.screen import plain

        return self._write(plain(snapshot))

    def _draw(self, snapshot: Snapshot) -> None:
        from rich.text import Text

        from netlens.watch.screen import lines

        console = self.screen.console
        encoding = (console.encoding or "").lower()
        text = Text(no_wrap=True, overflow="crop", end="")
        for i, parts in enumerate(lines(snapshot, console.width, console.height, self.title, not encoding.startswith("utf"))):
            text.append("\n" if i else "")
            for piece, style in parts:
                text.append(piece, style=_STYLES[style])
        self.screen.update(text, refresh=True)

    def wait_for(self, what: str) -> None:
        if not self.screen and not self.as_json:
            say(what)

    def end(self, snapshot: Snapshot) -> None:
        """The last moment, and the sum of it all."""
        if self.as_json:
            self._write([_json(snapshot)])
        else:
            from netlens.watch.screen import summary

            self._write(summary(snapshot))

    def _write(self, lines: list[str]) -> bool:
        if self.broken:
            return False
        try:
            for line in lines:
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has what it wanted. Nothing may be flushed at exit either.
            self.broken = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return not self.broken


_STYLES = {"": "", "dim": "dim", "bold": "bold", "good": "cyan", "warn": "bold yellow", "alarm": "bold white on red"}


def _json(snapshot: Snapshot) -> str:
    import json

    from netlens.watch.monitor import to_json

    return json.dumps(to_json(snapshot), ensure_ascii=True)
