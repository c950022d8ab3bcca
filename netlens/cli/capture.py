"""``netlens capture``."""

from __future__ import annotations

import os
import sys

import click

from netlens.text import printable


def _errors(values: tuple[str, ...], side: str) -> tuple[tuple[str, str], ...]:
    """``vm:PATH``, ``host:PATH``, or a path of the side that is recorded (of both: the VM)."""
    out = []
    for value in values:
        head, colon, rest = value.partition(":")
        named = colon and head in ("vm", "host")
        out.append((head, rest) if named else ("vm" if side == "both" else side, value))
    return tuple(out)


@click.command(
    "capture",
    epilog="""\b
    Examples:
      sudo netlens capture --side host --api api.z.ai --seconds 60
      netlens capture --side both --vm admin@192.168.64.5 --api api.z.ai
      netlens capture --side vm --vm tart:cal-dev --api api.z.ai --errors '~/.local/share/opencode/log' --until-rejection
      netlens analyze "$(sudo netlens capture --side host --api api.z.ai --seconds 60)"

    \b
    Rights: root, sudo without a password, or once: sudo setcap cap_net_raw,cap_net_admin=eip $(command -v tcpdump)
    """,
)
@click.option("--side", type=click.Choice(("vm", "host", "both")), required=True, help="What is recorded; both needs --vm.")
@click.option("--vm", metavar="USER@HOST|tart:NAME", help="Record the VM by ssh: nothing is left there. Without it, vm means this machine.")
@click.option(
    "--api", "apis", multiple=True, metavar="NAME|IP", help="The server in question; may be repeated. None: everything on port 443."
)
@click.option("-i", "--interface", metavar="NAME", help="Where to listen [default: any; on macOS pktap,all].")
@click.option(
    "-w", "--write", "folder", metavar="DIR", type=click.Path(file_okay=False), help="The recording's folder [default: captures/TIME-SIDE]."
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Stop after N seconds; otherwise at Ctrl-C.")
@click.option(
    "--errors",
    multiple=True,
    metavar="[vm:|host:]PATH",
    help="An error log, or a folder of *.log files, to follow; only times and error codes are copied, never prompts or keys.",
)
@click.option("--until-rejection", is_flag=True, help="Stop at the first rejection that appears in an --errors log.")
@click.option("--filter", "bpf", metavar="BPF", help="Record what this tcpdump filter says, instead of what the question needs.")
@click.option("--everything", is_flag=True, help="Record without a filter.")
@click.option(
    "--snaplen",
    type=click.IntRange(64, 262144),
    default=262144,
    show_default=True,
    help="Bytes kept of each packet; the default keeps all.",
)
@click.option("--headers-only", is_flag=True, help="Keep 160 bytes a packet; most causes cannot be decided then.")
@click.option("--rotate-mb", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Begin a new file after N megabytes.")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="With --rotate-mb: keep the latest N files only.")
@click.option("--min-free-mb", type=click.FloatRange(min=0), default=200, show_default=True, help="Stop when the disk has less room.")
@click.option("--ssh-cmd", default="ssh", show_default=True, metavar="COMMAND", help="How to call ssh, with options: 'ssh -p 2222 -i KEY'.")
def command(
    side: str,
    vm: str | None,
    apis: tuple[str, ...],
    interface: str | None,
    folder: str | None,
    seconds: float | None,
    errors: tuple[str, ...],
    until_rejection: bool,
    bpf: str | None,
    everything: bool,
    snaplen: int,
    headers_only: bool,
    rotate_mb: float | None,
    keep: int | None,
    min_free_mb: float,
    ssh_cmd: str,
) -> None:
    """Record what goes over the network here, on the VM, or on both at once.

    The recording is a folder that only you can read: a capture of each side, sockets.jsonl (which program had which connection, every second),
    reduced error logs, and manifest.toml. Its name is printed when it is complete. A recording that ended early is kept, says why, and makes
    the exit status 1.
    """
    import shlex
    import signal
    from pathlib import Path

    from netlens.capture.command import HEADERS_ONLY_WARNING, SNAPLEN_HEADERS
    from netlens.capture.session import Options, Session, check
    from netlens.cli.ending import break_off
    from netlens.errors import CaptureError
    from netlens.text import plural, size

    live = _Live()
    try:
        ssh = tuple(shlex.split(ssh_cmd)) or ("ssh",)
    except ValueError as error:
        raise CaptureError(f"--ssh-cmd: {error}") from None
    if headers_only:
        snaplen = min(snaplen, SNAPLEN_HEADERS)
        live.say(f"warning: {HEADERS_ONLY_WARNING}")
    options = Options(
        side=side,
        vm=vm,
        apis=apis,
        interface=interface,
        folder=Path(folder) if folder is not None else None,
        seconds=seconds,
        until_rejection=until_rejection,
        errors=_errors(errors, side),
        filter=bpf,
        everything=everything,
        snaplen=snaplen,
        rotate_mb=rotate_mb,
        keep=keep,
        min_free_mb=min_free_mb,
        ssh=ssh,
        invocation=("netlens", *sys.argv[1:]),
    )
    try:
        check(options)
    except CaptureError as error:
        raise click.UsageError(str(error)) from None
    session = Session(options, live.say, live.show)

    def interrupted(number: int, _: object) -> None:
        try:
            session.interrupted()
        except KeyboardInterrupt:  # nothing is recorded yet
            break_off(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, interrupted)
    try:
        manifest = session.run()
    finally:
        live.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
    for result in manifest.sides:
        dropped = "an unknown number" if result.packets_dropped is None else f"{result.packets_dropped:,}"
        live.say(f"{result.side}: {plural(result.packets_captured or 0, 'packet')}, {size(result.bytes)}; {dropped} dropped by the kernel")
    click.echo(os.fsencode(manifest.directory))
    if not manifest.complete:
        raise CaptureError(f"the recording is incomplete, what there is is kept: {printable('; '.join(manifest.reasons))}")


class _Live:
    """Messages and the live line on standard error; the line only on a terminal."""

    def __init__(self) -> None:
        self.enabled = sys.stderr.isatty()
        self.shown = False

    def show(self, text: str) -> None:
        if self.enabled:
            import shutil

            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{printable(text)[:width]}\x1b[K")
            sys.stderr.flush()
            self.shown = True

    def clear(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.shown = False

    def say(self, text: str) -> None:
        self.clear()
        sys.stderr.write(f"netlens: {printable(text)}\n")
        sys.stderr.flush()
