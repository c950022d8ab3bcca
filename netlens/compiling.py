"""What is said on standard error while kernels are compiled, and only then: a bar on a terminal, one line elsewhere."""

from __future__ import annotations

import sys
import time


class Shown:
    """Shows what :mod:`netlens.wire.compiled` reports.

    bar : draw one where standard error is a terminal.  waits : say when this process waits for another one that compiles.
    """

    WIDTH = 24
    EVERY_S = 0.1  #: as often as an eye follows

    def __init__(self, bar: bool = True, waits: bool = True):
        self.bar = bar and sys.stderr.isatty()
        self.waits = waits
        self.said: set[str] = set()
        self.drawn = False
        self.last = 0.0

    def compiling(self, done: int, about: int) -> None:
        """``done`` kernels are compiled, of ``about`` as many as there are."""
        if not self.bar:
            self._once("compiling its kernels for this machine, once (up to a minute)")
            return
        now = time.monotonic()
        if now - self.last < self.EVERY_S:
            return
        self.last, self.drawn = now, True
        share = min(done / max(about, 1), 1)
        filled = "#" * int(share * self.WIDTH)
        self._write(f"\rnetlens: compiling its kernels for this machine, once [{filled:<{self.WIDTH}}] {share:4.0%}\x1b[K")

    def waiting(self) -> None:
        """Another process compiles."""
        if self.waits:
            self._once("waiting for another netlens, which is compiling the kernels")

    def not_kept(self, why: str) -> None:
        """What is compiled now cannot be kept for the next run."""
        self._once(f"its kernels are compiled for this run only: {why}")

    def ended(self) -> None:
        if self.drawn:
            self._write("\r\x1b[K")
            self.drawn = False

    def _once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self._write(f"netlens: {text}\n")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.bar = False  # a terminal that is gone is no reason to fail
