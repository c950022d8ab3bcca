"""Pictures: one figure a file, each with a ``draw`` that takes tables and returns a matplotlib Figure.

``save_all`` draws and writes all of them. matplotlib is imported when the first figure is drawn, not before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.report.plots import concurrency, lifetimes, lookups, timeline
from netlens.report.plots.style import save

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from netlens.analysis.overlap import Columns

__all__ = ["concurrency", "lifetimes", "lookups", "save", "save_all", "timeline"]


def save_all(
    directory: str | os.PathLike[str],
    connections: Columns,
    sessions: Columns,
    exchanges: Columns,
    lookup_rows: Columns,
    *,
    capture_ns: tuple[int, int] | None = None,
) -> dict[str, list[Path]]:
    """Draw every figure of one capture into ``directory``; per figure the PNG and the SVG."""
    figures: dict[str, Callable[[], Figure]] = {
        "timeline": lambda: timeline.draw(connections, exchanges, sessions, capture_ns=capture_ns),
        "concurrency": lambda: concurrency.draw(connections, exchanges, sessions, capture_ns=capture_ns),
        "lookups": lambda: lookups.draw(lookup_rows, capture_ns=capture_ns),
        "lifetimes": lambda: lifetimes.draw(connections, sessions),
    }
    return {name: save(make(), directory, name) for name, make in figures.items()}  # one at a time: a figure holds megabytes
