"""DNS lookups over time with their latency; those without an answer stand in a row of their own at the top.

Few lookups are points: coloured by path, larger the more attempts they took, hollow where the answer was an error. Many are a grid of
time and latency whose shade says how many, because thousands of points are a smear and a large file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.columns import MISSING, Bools, Floats, Ints, Objects, ints
from netlens.report.plots import style
from netlens.text import duration, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netlens.chains.overlap import Columns

POINTS = 2000  # lookups drawn one by one; about 100 bytes each in SVG, and beyond this they hide each other
FLOOR_MS = 0.001  # an answer in the same microsecond has no place on a log axis
SLICES, LEVELS = 180, 48


def draw(lookups: Columns, *, capture_ns: tuple[int, int] | None = None) -> Figure:
    """Latency over time of a table of lookups; without any, a picture that says so."""
    total = len(lookups["qname"])
    if total == 0:
        return style.nothing(
            "No DNS lookups in this capture",
            "Names may have been looked up before it began, over HTTPS or TLS, or where it does not see them.",
        )
    query, answer = ints(lookups["query_ns"]), ints(lookups["answer_ns"])
    latency = np.asarray(lookups["latency_ms"], np.float64)
    when = np.where(query != MISSING, query, answer)
    unanswered = answer == MISSING
    measured = ~unanswered & ~np.isnan(latency)
    known = when[when != MISSING]
    first, last = capture_ns or ((int(known.min()), int(max(known.max(), answer.max()))) if len(known) else (0, 0))
    x = style.seconds(when, first)
    path = style.path_names(lookups["path"])
    attempts = np.asarray(lookups["attempts"], np.int64)
    failed = np.fromiter((isinstance(r, str) and r != "NOERROR" for r in lookups["rcode"]), np.bool_, total)

    with style.context():
        figure = style.new_figure(5.2)
        if unanswered.any():
            top, axes = figure.subplots(2, 1, sharex=True, height_ratios=[0.75, 4])
            _unanswered(top, x, unanswered, path, attempts, first, last)
        else:
            axes = figure.add_subplot()
        shown = np.maximum(latency, FLOOR_MS)
        handles: list[Any] = []
        if total > POINTS:
            _grid(figure, axes, x[measured], shown[measured], (last - first) / 1e9)
        else:
            handles = _points(axes, x, shown, measured, unanswered, path, attempts, failed)
        style.decades(
            axes, "y", shown[measured] if measured.any() else np.array([1.0, 100.0]), lambda ms: f"{ms:,.0f}" if ms >= 1 else f"{ms:g}"
        )
        if not measured.any():
            axes.text(0.5, 0.5, "no lookup was answered", transform=axes.transAxes, ha="center", va="center", color=style.PALE, fontsize=11)
        axes.set_ylabel("latency in ms (log scale)")
        axes.grid()
        style.time_axis(axes, first, last)
        style.title(figure, _headline(lookups, latency, measured, unanswered, attempts), _note(query, answer, failed))
        style.legend(figure, handles)
    return figure


def _points(
    axes: Axes,
    x: Floats,
    latency: Floats,
    measured: Bools,
    unanswered: Bools,
    path: Objects,
    attempts: Ints,
    failed: Bools,
) -> list[Any]:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for name in style.PATHS:
        colour = style.COLOURS[name]
        for bad in (False, True):
            mine = measured & (path == name) & (failed == bad)
            if mine.any():
                look = _hollow(colour) if bad else {"facecolors": colour, "edgecolors": "white", "linewidths": 0.5, "alpha": 0.85}
                gid = f"lookups {name}{' failed' if bad else ''}"
                axes.scatter(x[mine], latency[mine], s=_size(attempts[mine]), zorder=3, gid=gid, **look)
        if ((measured | unanswered) & (path == name)).any():
            handles.append(_dot(f"{name} lookup", colour, colour, 1))
    if (measured & failed).any():
        handles.append(_dot("answered with an error", "none", style.PALE, 1))
    retried = sorted({min(4, int(a)) for a in attempts[measured | unanswered] if a > 1})
    handles += [_dot(f"{n} attempts" if n < 4 else "4 or more attempts", style.PALE, style.PALE, n) for n in retried]
    if unanswered.any():
        handles.append(
            Line2D([], [], color=style.INK, marker="v", linestyle="", markersize=7, markerfacecolor="none", label="no answer captured")
        )
    return handles


def _hollow(colour: str) -> dict[str, Any]:
    return {"facecolors": "none", "edgecolors": colour, "linewidths": 1.4}


def _dot(label: str, face: str, edge: str, attempts: int) -> Any:
    from matplotlib.lines import Line2D

    size = float(np.sqrt(_size(np.array([attempts]))[0]))
    return Line2D([], [], color=edge, marker="o", linestyle="", markersize=size, markerfacecolor=face, markeredgecolor=edge, label=label)


def _size(attempts: Ints) -> Floats:
    """Area of a mark in square points; what was asked four times and more looks alike."""
    return 34.0 * np.clip(attempts, 1, 4).astype(np.float64) ** 1.5


def _unanswered(
    axes: Axes,
    x: Floats,
    mask: Bools,
    path: Objects,
    attempts: Ints,
    first: int,
    last: int,
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.tick_params(axis="x", labelbottom=False, length=0)
    if len(x) <= POINTS:
        for name in style.PATHS:
            mine = mask & (path == name)
            if mine.any():
                sizes = np.minimum(_size(attempts[mine]), 110)
                gid = f"unanswered {name}"
                axes.scatter(x[mine], np.zeros(mine.sum()), s=sizes, marker="v", zorder=3, gid=gid, **_hollow(style.COLOURS[name]))
        axes.set_yticks([0], ["no answer"])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-1, 1)
    else:
        span = max((last - first) / 1e9, 1e-6)
        counts, edges = np.histogram(x[mask], bins=SLICES, range=(0, span))
        axes.stairs(counts, edges, fill=True, color=style.INK, gid="unanswered")
        axes.set_ylabel("no answer", rotation=0, ha="right", va="center")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
        axes.set_ylim(0, max(1, counts.max()) * 1.1)
    axes.grid(axis="x")


def _grid(figure: Figure, axes: Axes, x: Floats, latency: Floats, span: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    if not len(x):
        return
    low, high = latency.min() / 1.5, latency.max() * 1.5
    levels = np.geomspace(low, high, LEVELS + 1)
    counts, across, up = np.histogram2d(x, latency, bins=[np.linspace(0, max(span, 1e-6), SLICES + 1), levels])
    greys = ListedColormap(colormaps["Greys"](np.linspace(0.3, 1, 128)))  # no path's colour; the lightest is seen on white
    norm = LogNorm(1, max(2.0, counts.max()))
    shade = axes.pcolormesh(across, up, np.ma.masked_equal(counts.T, 0), norm=norm, cmap=greys, rasterized=True, gid="lookups")
    bar = figure.colorbar(shade, ax=axes, pad=0.01, format=lambda value, _: f"{value:,.0f}")
    bar.minorticks_off()
    bar.set_label("lookups per cell")
    bar.outline.set_visible(False)


def _headline(
    lookups: Columns,
    latency: Floats,
    measured: Bools,
    unanswered: Bools,
    attempts: Ints,
) -> str:
    names = len(set(lookups["qname"]))
    said = f"{plural(len(latency), 'DNS lookup')} of {plural(names, 'name')}"
    if measured.any():
        slowest = int(np.argmax(np.where(measured, latency, -np.inf)))
        longest = f"{duration(float(latency[slowest]) / 1e3)} ({style.safe(lookups['qname'][slowest])})"
        if measured.sum() == 1:
            said += f"; answered within {longest}"
        else:
            said += f"; half within {duration(float(np.median(latency[measured])) / 1e3)}, slowest {longest}"
    if unanswered.any():
        said += f"; {int(unanswered.sum()):,} unanswered"
    if (attempts > 1).any():
        said += f"; {int((attempts > 1).sum()):,} retried"
    return said


def _note(query: Ints, answer: Ints, failed: Bools) -> str:
    said = []
    if failed.any():
        said.append(f"{plural(int(failed.sum()), 'answer')} reported an error (NXDOMAIN, SERVFAIL, ...).")
    alone = int(((query < 0) & (answer >= 0)).sum())
    if alone:
        said.append(f"{plural(alone, 'answer')} without a captured question: no latency, not drawn.")
    return " ".join(said)
