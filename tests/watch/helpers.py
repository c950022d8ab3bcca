"""What the tests of the live state share: a capture fed second by second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import netlens
from netlens.api import Capture
from netlens.chains import overlap
from netlens.watch.peaks import SECOND
from netlens.wire.containers import Batch, Reader
from netlens.wire.framing import F_TS

if TYPE_CHECKING:
    from netlens.watch.refusals import Refusal
    from netlens.watch.state import Watched


def play(watched: Watched, paths: Iterable[str | Path], step_ns: int = SECOND, refusals: list[Refusal] | None = None) -> int:
    """Feed captures with a tick each ``step_ns`` of their time; returns the last moment."""
    told = refusals if refusals is not None else []
    due: int | None = None
    for batch in Reader(paths).batches():
        at = 0
        while at < batch.n:
            if due is None:
                due = int(batch.frames[at, F_TS]) // step_ns * step_ns + step_ns
            later = np.flatnonzero(batch.frames[at : batch.n, F_TS] >= due)
            stop = at + int(later[0]) if len(later) else batch.n
            if stop > at:
                watched.feed(Batch(batch.buf, batch.frames[at:stop], stop - at, batch.links, batch.frame0 + at))
                at = stop
            if at < batch.n:
                told += watched.tick(due)
                due += step_ns
    end = (watched.last_ns or 0) + 1
    told += watched.tick(end)
    return end


@lru_cache
def found_by_analyze(folder: Path) -> dict[str | None, tuple[int, int]]:
    """Per capture of a recording the peaks of connections and of requests in flight that ``netlens analyze`` says."""
    return {name: (side.connections.count, side.in_flight.count) for name, side in netlens.analyze(folder).sides.items()}


def by_target(paths: Sequence[str | Path]) -> dict[str, int]:
    """Peak of connections by target, by the code of ``overlap``."""
    capture = Capture(paths)
    curves: dict[str, Any] = overlap.curves_by(capture.table("connections"), "target")
    return {name: curve.peak().count for name, curve in curves.items()}
