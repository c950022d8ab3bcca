"""Logs of real programs while a scenario runs: followed as ``netlens capture --errors`` follows them, and kept whole beside what the recorder keeps of them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.capture import errorlog
from netlens.capture.processes import LineProcess
from netlens.lab import programs
from netlens.lab.programs import opencode
from netlens.outputs import create

if TYPE_CHECKING:
    from netlens.lab.topology import Context


class RealLogs:
    """The logs of the sides that real programs run on."""

    def __init__(self, context: Context, sides: Sequence[str]) -> None:
        self._context, self._followers = context, list[LineProcess]()
        self._kept: dict[str, list[str]] = {side: [] for side in sides}
        for side, kept in self._kept.items():

            def keep(reduced: errorlog.Reduced, kept: list[str] = kept) -> None:
                kept.append(reduced.text)

            def wrap(argv: list[str], side: str = side) -> list[str]:
                return [*context.topology.prefix(side), *argv]

            self._followers.append(errorlog.follow(str(self._log(side)), side, keep, lambda _: None, wrap))

    def _log(self, side: str) -> Path:
        return opencode.home(self._context, side) / opencode.LOG

    def close(self) -> None:
        """Stop following, and write down what was kept, and the logs themselves."""
        for follower in self._followers:
            follower.stop()
        for side, kept in self._kept.items():
            if kept:  # as the recorder does: a log that said nothing is no log
                (self._context.folder / f"{side}-errors.log").write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            if self._log(side).exists():
                with create(self._context.folder / f"{side}-opencode.log.gz") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
                    packed.write(self._log(side).read_bytes())


def follow(context: Context) -> RealLogs:
    """Begin to follow them; what they say before the first prompt is in them too."""
    real = [each["side"] for each in context.scenario.programs if programs.kind_of(each) == opencode.ID]
    return RealLogs(context, sorted(set(real)))
