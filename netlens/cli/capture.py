"""``netlens capture``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from netlens.cli.common import say
from netlens.cli.options import RIGHTS, Real, Whole, api_option, live_options, logs_by_side
from netlens.text import printable


@click.command(
    "capture",
    epilog="""\b
    Examples:
      sudo netlens capture --side host --api api.z.ai --seconds 60
      netlens capture --side both --vm admin@192.168.64.5 --api api.z.ai
      netlens capture --side both --vm tart:builder --vm tart:second --api api.z.ai
      netlens capture --side vm --vm tart:cal-dev --api api.z.ai --errors opencode --until-rejection
      netlens analyze "$(sudo netlens capture --side host --api api.z.ai --seconds 60)"
    """
    + RIGHTS,
)
@click.option("--side", type=click.Choice(("vm", "host", "both")), required=True, help="What to record; both needs --vm.")
@click.option(
    "--vm",
    "vms",
    multiple=True,
    metavar="USER@HOST|tart:NAME",
    help="Record this VM by ssh; nothing is left on it. Repeatable: the second becomes vm2.pcap. Without it, --side vm means this machine.",
)
@api_option("Default: everything on port 443.")
@live_options("Folder of the recording.  [default: captures/TIME-SIDE]")
@click.option("--until-rejection", is_flag=True, help="Stop at the first refusal that an --errors log shows.")
@click.option(
    "--snaplen",
    type=Whole(64, 262144),
    metavar="BYTES",
    default=262144,
    show_default=True,
    help="Bytes to keep of each packet; the default keeps all.",
)
@click.option("--headers-only", is_flag=True, help="Keep only 160 bytes of each packet. Most causes then stay undecided.")
@click.option("--rotate-mb", type=Real(min=0, min_open=True), metavar="N", help="Start a new file every N megabytes.")
@click.option("--keep", type=Whole(min=1), metavar="N", help="With --rotate-mb: keep only the latest N files.")
@click.option(
    "--min-free-mb",
    type=Real(min=0),
    default=200,
    show_default=True,
    metavar="N",
    help="Stop when the disk has less than N MB free.",
)
def command(side: str, vms: tuple[str, ...], snaplen: int, headers_only: bool, errors: tuple[str, ...], **options: Any) -> None:
    """Record the host, the VM, or both at once.

    A recording is a folder that only you can read: a capture of each side, sockets.jsonl (which program had which connection open, every second),
    reduced error logs, and manifest.toml. Its name is printed when it is complete. If a recording ends early, it is kept and says why, and the
    exit status is 1.
    """
    from netlens.capture.command import HEADERS_ONLY_WARNING, SNAPLEN_HEADERS
    from netlens.capture.session import Options, Session, check
    from netlens.cli.ending import break_off, interrupts
    from netlens.errors import CaptureError
    from netlens.text import plural, size

    live = _Live()
    if headers_only:
        snaplen = min(snaplen, SNAPLEN_HEADERS)
        live.say(f"warning: {HEADERS_ONLY_WARNING}")
    invocation = ("netlens", *sys.argv[1:])
    wanted = Options(
        side=side,
        vm=vms[0] if vms else None,
        further=vms[1:],
        errors=logs_by_side(errors, side),
        snaplen=snaplen,
        invocation=invocation,
        **options,
    )
    try:
        check(wanted)
    except CaptureError as error:
        raise click.UsageError(str(error)) from None
    session = Session(wanted, live.say, live.show)

    def interrupted(number: int) -> None:
        try:
            session.interrupted()
        except KeyboardInterrupt:  # nothing is recorded yet
            break_off(number)

    with interrupts(interrupted):
        try:
            manifest = session.run()
        finally:
            live.clear()
    for result in manifest.sides:
        dropped = "an unknown number" if result.packets_dropped is None else f"{result.packets_dropped:,}"
        live.say(f"{result.side}: {plural(result.packets_captured or 0, 'packet')}, {size(result.bytes)}; {dropped} dropped by the kernel")
    click.echo(os.fsencode(manifest.directory))
    if not manifest.complete:
        raise CaptureError(f"the recording is incomplete ({printable('; '.join(manifest.reasons))}); what was captured is kept")


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
        say(text)
