"""Concurrency curves alone: how many connections to each target were open, and how many requests in flight, over time.

What it decides: which curves are drawn, and how finely. A curve of few steps is drawn exactly; one of very many as the highest count in
each of hundreds of slices of time, because it is the peaks that meet a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netlens.chains import overlap
from netlens.columns import Floats, Ints
from netlens.report.plots import style
from netlens.text import duration, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Steps drawn exactly, and slices otherwise: 600 slices are two pixels each on a page 1200 wide; twice as many only double the file.
EXACT_STEPS = 1500
SLICES = 600
MAX_TARGETS = 8  # panels; more do not fit on a screen


class Layer(NamedTuple):
    """A kind of curve: what it counts, its colour, and whether it is a line, an area, or a hatched area (seen above another)."""

    name: str
    colour: str
    look: str


class Line(NamedTuple):
    """A limit: how many of what ("requests" or "connections") to which targets (as labelled here)."""

    value: int
    unit: str
    targets: frozenset[str]


LOW = 12  #: up to this a band is drawn whole
OPEN = Layer("connections open", style.OPEN, "line")
IN_FLIGHT = Layer("requests in flight", style.IN_FLIGHT, "area")
HALF_CLOSED = Layer("half-closed, still receiving", style.HALF_CLOSED, "hatched")


def capture_bounds(connections: overlap.Columns, exchanges: overlap.Columns | None = None) -> tuple[int, int]:
    """First and last time of the tables, where nobody says when the capture began and ended."""
    times = [np.asarray(connections["start_ns"], np.int64), np.asarray(connections["end_ns"], np.int64)]
    if exchanges is not None:
        times.append(np.asarray(exchanges["start_ns"], np.int64))
    every = np.concatenate(times)
    return (int(every.min()), int(every.max())) if len(every) else (0, 0)


def steps(curve: overlap.Curve, capture_ns: tuple[int, int]) -> tuple[Floats, list[Ints], float]:
    """A curve as drawn: seconds, [count, low, high], and the width of a slice in seconds (0 if exact)."""
    first, last = capture_ns
    if len(curve.times_ns) <= EXACT_STEPS:
        times = np.concatenate([[first], curve.times_ns, [max(last, first)]])
        values = [np.concatenate([[0], v, v[-1:] if len(v) else [0]]) for v in (curve.count, curve.low, curve.high)]
        return style.seconds(times, first), values, 0.0
    edges = np.unique(np.linspace(first, last + 1, SLICES + 1).astype(np.int64))
    values = [np.append(v, v[-1]) for v in curve.highest(edges)]
    return style.seconds(edges, first), values, (last - first) / 1e9 / SLICES


def draw_curve(axes: Axes, curve: overlap.Curve, layer: Layer, capture_ns: tuple[int, int]) -> int:
    """One curve with its band; returned is how high the axis should reach.

    That is the top of the band; of one above :data:`LOW` not more than thrice the top of the curve, as it would press what is known flat.
    """
    times, (count, low, high), _ = steps(curve, capture_ns)
    if np.any(high > low):
        axes.fill_between(times, low, high, step="post", color=layer.colour, alpha=0.18, linewidth=0, gid=f"band {layer.name}")
    if layer.look != "line":
        axes.fill_between(times, count, step="post", gid=layer.name, **_area(layer))
    else:
        axes.plot(times, count, drawstyle="steps-post", color=layer.colour, linewidth=1.3, gid=layer.name)
    return int(high.max() if high.max() <= LOW else min(high.max(), 3 * max(1, count.max())))


def _area(layer: Layer) -> dict[str, Any]:
    """How an area is filled; it has a rim of its own colour, so that what lasts less than a pixel is seen."""
    if layer.look == "hatched":
        return {"facecolor": "none", "edgecolor": layer.colour, "hatch": style.HATCH_BACK, "linewidth": 1.0}
    return {"facecolor": layer.colour, "edgecolor": layer.colour, "linewidth": 0.5, "alpha": 0.65}


def handles(layers: list[Layer], banded: bool) -> list[Any]:
    """Entries of the legend for curves."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Any] = []
    for layer in layers:
        if layer.look != "line":
            found.append(Patch(label=layer.name, **_area(layer)))
        else:
            found.append(Line2D([], [], color=layer.colour, linewidth=1.6, label=layer.name))
    if banded:
        found.append(Patch(facecolor=style.INK, alpha=0.18, label="pale: uncertain, as opening or close was not captured"))
    return found


def perhaps(curve: overlap.Curve) -> str:
    """What the band adds to the peak, in words; nothing if nothing."""
    most = int(curve.high.max()) if len(curve.high) else 0
    return f" (perhaps {most:,})" if most > curve.peak().count else ""


def slice_note(capture_ns: tuple[int, int]) -> str:
    return f"Curves show the highest count in each {duration((capture_ns[1] - capture_ns[0]) / 1e9 / SLICES)}."


def draw(
    connections: overlap.Columns,
    exchanges: overlap.Columns | None = None,
    sessions: overlap.Columns | None = None,
    *,
    capture_ns: tuple[int, int] | None = None,
    limit: Line | None = None,
) -> Figure:
    """One panel per target, most connections first; targets beyond :data:`MAX_TARGETS` share the last panel.

    connections, exchanges, sessions : tables of ``netlens.tables``; without exchanges no requests are drawn, ``sessions`` tells when an unanswered
    request ended.  capture_ns : first and last time, where it is known to be longer than the tables.  limit : drawn in the panels of its targets.
    """
    total = len(connections["start_ns"])
    if total == 0:
        return style.nothing("No connections in this capture", "Nothing was open, so there is no concurrency to show.")
    bounds = capture_ns or capture_bounds(connections, exchanges)
    groups, others = top_targets(overlap.labels(connections, "target"), MAX_TARGETS)
    curves = overlap.curves_by(connections, groups, capture_ns=bounds)
    flights: dict[str, overlap.Curve] = {}
    if exchanges is not None and len(exchanges["start_ns"]):
        owner = overlap.owner_rows(exchanges, connections)
        intervals = overlap.exchange_intervals(exchanges, sessions, connections, bounds)
        intervals = intervals.take(owner[intervals.rows] >= 0)
        names = np.where(owner >= 0, groups[np.maximum(owner, 0)], "")
        flights = overlap.curves_by(exchanges, names, intervals=intervals)
    order = [name for name in curves if name != others] + [name for name in curves if name == others]

    with style.context():
        figure = style.new_figure(1.5 + 1.45 * len(order))
        panels = figure.subplots(len(order), 1, sharex=True, squeeze=False)[:, 0]
        sliced = banded = False
        for axes, name in zip(panels, order, strict=True):
            mine = curves[name]
            peak = mine.peak()
            top = draw_curve(axes, mine, OPEN, bounds)
            said = f"{style.safe(name)}: {plural(int(np.sum(groups == name)), 'connection')}, at most {peak.count:,} open at once"
            said += perhaps(mine)
            drawn = [mine]
            if name in flights:
                top = max(top, draw_curve(axes, flights[name], IN_FLIGHT, bounds))
                said += f", at most {plural(flights[name].peak().count, 'request')} in flight"
                drawn.append(flights[name])
            sliced |= any(len(c.times_ns) > EXACT_STEPS for c in drawn)
            banded |= any(bool(np.any(c.high > c.low)) for c in drawn)
            if limit is not None and name in limit.targets:
                style.limit_line(axes, limit.value, f"limit of {'requests' if limit.unit == 'requests' else 'connections'}")
                top = max(top, limit.value)
            axes.set_title(said, fontsize=10)
            axes.set_ylabel("at once")
            style.count_axis(axes, top)
        style.time_axis(panels[-1], *bounds)
        best = overlap.connections_curve(connections, bounds).peak()
        at = duration((best.from_ns - bounds[0]) / 1e9)
        targets = len(set(overlap.labels(connections, "target")))
        headline = (
            f"At most {plural(best.count, 'connection')} open at once ({at} after the start), "
            f"out of {total:,} to {plural(targets, 'target')}"
        )
        style.title(figure, headline, slice_note(bounds) if sliced else "")
        style.legend(figure, handles([OPEN, *([IN_FLIGHT] if flights else [])], banded))
    return figure


def top_targets(names: overlap.Labels, most: int) -> tuple[overlap.Labels, str | None]:
    """Labels with all but the ``most`` - 1 largest targets renamed to one, and that one's name (None if all fit)."""
    kinds, inverse, sizes = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    out = names.copy()
    if len(kinds) <= most:
        return out, None
    rank = np.lexsort((np.arange(len(kinds)), -sizes))
    others = f"others ({len(kinds) - most + 1:,} targets)"
    small = np.ones(len(kinds), np.bool_)
    small[rank[: most - 1]] = False
    out[small[inverse]] = others
    return out, others
