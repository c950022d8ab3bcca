"""Pictures: one figure a file, each with a ``draw`` that takes tables and returns a matplotlib Figure; ``summary`` takes a whole analysis.

``figures`` has those of one capture of an analysis by name; ``save_all`` draws and writes those of one capture, ``save_analysis`` those of an analysis.
matplotlib is imported when the first figure is drawn, not before.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.aside import each
from netlens.errors import NetlensError
from netlens.outputs import subfolder
from netlens.report.plots import concurrency, lifetimes, lookups, summary, timeline
from netlens.report.plots.style import save
from netlens.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from netlens.analysis import Analysis
    from netlens.chains.overlap import Columns

__all__ = ["concurrency", "figures", "lifetimes", "lookups", "of_analysis", "save", "save_all", "save_analysis", "summary", "timeline"]


def figures(a: Analysis, name: str | None) -> dict[str, Callable[[], Figure]]:
    """How each figure of one capture is drawn, with the analysis' refusals and limit."""
    from netlens.report.outcomes import with_outcomes

    capture = a.sides[name].capture
    tables = (capture.table("connections"), capture.table("sessions"), with_outcomes(a, name), capture.table("lookups"))
    return _figures(*tables, capture_ns=capture.part.bounds_ns, limit=_limit(a, name))


def save_analysis(directory: str | os.PathLike[str], analysis: Analysis) -> list[Path]:
    """``summary``, and the pictures of each capture with the analysis' refusals and limit; of two captures in a folder each."""
    return [path for paths in each(of_analysis(directory, analysis)) for path in paths]


def of_analysis(directory: str | os.PathLike[str], analysis: Analysis) -> list[Callable[[], list[Path]]]:
    """What draws and writes each picture of :func:`save_analysis`; the folders are made now."""
    a, folder = analysis, Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetlensError(f"{printable(str(folder))}: cannot be made ({(error.strerror or str(error)).lower()})") from None
    tasks: list[Callable[[], list[Path]]] = [partial(_drawn, lambda: summary.draw(a), folder, "summary")]
    for name in a.sides:
        place = folder / (name or "") if len(a.sides) > 1 else folder
        if place != folder:
            subfolder(place)
        tasks += [partial(_drawn, make, place, figure) for figure, make in figures(a, name).items()]
    return tasks


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


def save_all(
    directory: str | os.PathLike[str],
    connections: Columns,
    sessions: Columns,
    exchanges: Columns,
    lookup_rows: Columns,
    *,
    capture_ns: tuple[int, int] | None = None,
    limit: concurrency.Line | None = None,
) -> dict[str, list[Path]]:
    """Draw every figure of one capture into ``directory``; per figure the PNG and the SVG."""
    made = _figures(connections, sessions, exchanges, lookup_rows, capture_ns=capture_ns, limit=limit)
    return {name: save(make(), directory, name) for name, make in made.items()}  # one at a time: a figure holds megabytes


def _figures(
    connections: Columns,
    sessions: Columns,
    exchanges: Columns,
    lookup_rows: Columns,
    *,
    capture_ns: tuple[int, int] | None,
    limit: concurrency.Line | None,
) -> dict[str, Callable[[], Figure]]:
    return {
        "timeline": lambda: timeline.draw(connections, exchanges, sessions, capture_ns=capture_ns),
        "concurrency": lambda: concurrency.draw(connections, exchanges, sessions, capture_ns=capture_ns, limit=limit),
        "lookups": lambda: lookups.draw(lookup_rows, capture_ns=capture_ns),
        "lifetimes": lambda: lifetimes.draw(connections, sessions),
    }
