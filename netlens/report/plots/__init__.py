"""Pictures: one figure a file, each with a ``draw`` that takes tables and returns a matplotlib Figure; ``summary`` takes a whole analysis.

``figures`` has those of one capture of an analysis by name; ``of_analysis`` what draws and writes all of an analysis.
matplotlib is imported when the first figure is drawn, not before.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.errors import NetlensError
from netlens.outputs import subfolder
from netlens.report.plots import concurrency, lifetimes, lookups, summary, timeline
from netlens.report.plots.style import save
from netlens.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from netlens.analysis import Analysis

__all__ = ["concurrency", "figures", "lifetimes", "lookups", "of_analysis", "save", "summary", "timeline"]


def figures(a: Analysis, name: str | None) -> dict[str, Callable[[], Figure]]:
    """How each figure of one capture is drawn, with the analysis' refusals and limit."""
    from netlens.report.scene import with_outcomes

    capture = a.sides[name].capture
    connections, sessions, rows = (capture.table(kind) for kind in ("connections", "sessions", "lookups"))
    exchanges, bounds, limit = with_outcomes(a, name), capture.part.bounds_ns, _limit(a, name)
    return {
        "timeline": lambda: timeline.draw(connections, exchanges, sessions, capture_ns=bounds),
        "lifetimes": lambda: lifetimes.draw(connections, sessions),
        "concurrency": lambda: concurrency.draw(connections, exchanges, sessions, capture_ns=bounds, limit=limit),
        "lookups": lambda: lookups.draw(rows, capture_ns=bounds),
    }


def of_analysis(directory: str | os.PathLike[str], analysis: Analysis) -> list[Callable[[], list[Path]]]:
    """What draws and writes each picture: ``summary``, and those of each capture, of two captures in a folder each. The folders are made now.

    What takes longest comes first, so that two processes that share them end at the same time.
    """
    a, folder = analysis, Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetlensError(f"{printable(str(folder))}: cannot be made ({(error.strerror or str(error)).lower()})") from None
    tasks: list[list[Callable[[], list[Path]]]] = []
    for name in a.sides:
        place = folder / (name or "") if len(a.sides) > 1 else folder
        if place != folder:
            subfolder(place)
        tasks.append([partial(_drawn, make, place, figure) for figure, make in figures(a, name).items()])
    return [partial(_drawn, lambda: summary.draw(a), folder, "summary"), *chain.from_iterable(zip(*tasks, strict=True))]


def _drawn(make: Callable[[], Figure], place: Path, name: str) -> list[Path]:
    return save(make(), place, name)


def _limit(a: Analysis, name: str | None) -> concurrency.Line | None:
    """The limit where this capture's curves are of what it counts: all from the egress address, or one side."""
    from netlens.chains import overlap
    from netlens.chains.situation import SIDES

    if a.limit is None:
        return None
    side, situation = a.assembled.sides[name], a.assembled.situation
    busy = {SIDES[k] for k in situation.requests.side.tolist()}
    if not (name == "vm" if a.limit.scope == "side" and len(busy) > 1 else side is a.assembled.upstream):
        return None
    labels = overlap.labels(side.connections, "target")[side.target]
    return concurrency.Line(a.limit.value, a.limit.unit, frozenset(str(label) for label in labels))
