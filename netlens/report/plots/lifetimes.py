"""How long connections lived, by path, and how long they stayed half-closed.

Left: the share of connections that were over after a time. A connection whose opening or close was not captured lived at least as long as
was seen; the estimator of Kaplan and Meier (1958) uses just that, and is the plain distribution where all were seen from open to close.
Right: the same for the time between the first FIN and the close: a tail in which one side is done and the other is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.chains import overlap
from netlens.columns import Bools, Floats, Objects
from netlens.report.plots import style
from netlens.text import duration, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_S = 1e-6  # what took no time at all has no place on a log axis; captures count in microseconds
WIDTHS = {"direct": 3.4, "nat": 2.5, "sshuttle": 1.6, "unknown": 1.2}  # so that curves that coincide are still all seen
STEPS = 800  # of a drawn curve; more than the pixels of a panel
MARKS = 15  # of what was cut off, on one curve; more hide it
RUG = 200  # tails marked one by one at the foot of the panel; more are a black strip, and a curve says more


def draw(connections: overlap.Columns, sessions: overlap.Columns | None = None) -> Figure:
    """Distributions of lifetimes and, with ``sessions``, of half-closed tails; without connections a picture that says so."""
    total = len(connections["start_ns"])
    if total == 0:
        return style.nothing("No connections in this capture", "No TCP connection was seen, so none lived for any time.")
    intervals = overlap.connection_intervals(connections)
    lived = style.seconds(intervals.end_ns - intervals.start_ns, 0)
    cut = intervals.censored_left | intervals.censored_right
    path = style.path_names(connections["path"])
    tails, tail_path, receiving, unfinished = _tails(connections, sessions, path)

    with style.context():
        figure = style.new_figure(5.0)
        left, right = figure.subplots(1, 2)
        for name in style.PATHS:
            _curve(left, lived[path == name], cut[path == name], name)
            if len(tails):
                mine = tail_path == name
                _curve(right, tails[mine], unfinished[mine], name)
        _scales(left, lived)
        left.set_title("Lifetime", fontsize=11)
        left.set_xlabel("time from first frame to close (log scale)")
        left.set_ylabel("share of connections that were over")
        right.set_title("Half-closed tail", fontsize=11)
        right.set_xlabel("time from first FIN to close (log scale)")
        if len(tails):
            _scales(right, tails)
            right.set_ylabel("share of tails that were over")
            if 0 < receiving.sum() <= RUG:
                y = np.full(int(receiving.sum()), -0.03)
                right.scatter(np.maximum(tails[receiving], FLOOR_S), y, marker="|", s=60, color=style.INK, linewidths=1.2, gid="receiving")
            elif receiving.any():
                _curve(right, tails[receiving], unfinished[receiving], None)
        else:
            right.set_axis_off()
            said = "No half-closed tail:\nno connection sent a FIN." if sessions is not None else "No sessions given."
            right.text(0.5, 0.5, said, transform=right.transAxes, ha="center", va="center", color=style.PALE, fontsize=11)
        style.title(figure, _headline(lived, cut, tails, receiving), _note(cut, unfinished))
        style.legend(figure, _handles(path, bool(cut.any() or unfinished.any()), int(receiving.sum())))
    return figure


def _tails(connections: overlap.Columns, sessions: overlap.Columns | None, path: Objects) -> tuple[Floats, Objects, Bools, Bools]:
    """Longest half-closed time of each connection, its path, whether it received payload in it, and whether its close is missing.

    Copies of a connection (NAT, redirects) are one; sessions of no connection (the tunnel) are left out.
    """
    if sessions is None:
        return np.empty(0), np.empty(0, object), np.empty(0, np.bool_), np.empty(0, np.bool_)
    seconds = np.asarray(sessions["half_closed_s"], np.float64)
    owner = overlap.owner_rows(sessions, connections)
    rows = np.flatnonzero(~np.isnan(seconds) & (owner >= 0))
    rows = rows[np.lexsort((-seconds[rows], owner[rows]))]
    rows = rows[np.unique(owner[rows], return_index=True)[1]]
    late = np.asarray(sessions["orig_bytes_after_fin"], np.int64) + np.asarray(sessions["resp_bytes_after_fin"], np.int64) > 0
    received = np.isin(owner, owner[late])
    still_open = np.fromiter((not isinstance(v, (int, np.integer)) for v in sessions["closed_ns"]), np.bool_, len(seconds))
    return seconds[rows], path[owner[rows]], received[rows], still_open[rows]


def survival(durations: Floats, cut: Bools) -> tuple[Floats, npt.NDArray[np.floating[Any]]]:
    """Kaplan and Meier's estimate: sorted durations and the share that was over by each; ``cut`` ones lasted at least that long."""
    order = np.lexsort((cut, durations))  # at equal durations ends come before cuts
    at_risk = len(durations) - np.arange(len(durations))
    return durations[order], 1 - np.cumprod(1 - ~cut[order] / at_risk)


def _curve(axes: Axes, durations: Floats, cut: Bools, name: str | None) -> None:
    """The curve of a path, or (None) of all tails that received payload."""
    if not len(durations):
        return
    x, share = survival(np.maximum(durations, FLOOR_S), cut)
    x, share = np.append(x[0], x), np.append(0.0, share)
    if len(x) > STEPS:
        keep = np.unique(np.linspace(0, len(x) - 1, STEPS).astype(np.int64))
        x, share = x[keep], share[keep]
    if name is None:
        axes.plot(x, share, drawstyle="steps-post", color=style.INK, linestyle="--", linewidth=1.3, gid="receiving")
        return
    colour = style.COLOURS[name]
    axes.plot(x, share, drawstyle="steps-post", color=colour, linewidth=WIDTHS[name], gid=f"lifetimes {name}")
    if cut.any():
        where = np.unique(np.maximum(durations[cut], FLOOR_S))
        if len(where) > MARKS:
            where = where[np.linspace(0, len(where) - 1, MARKS).astype(np.int64)]
        height = share[np.searchsorted(x, where, side="right") - 1]
        axes.plot(where, height, linestyle="", marker="+", markersize=8, markeredgewidth=1.3, color=colour, gid=f"cut {name}")


def _scales(axes: Axes, values: Floats) -> None:
    from matplotlib.ticker import PercentFormatter

    style.decades(axes, "x", np.maximum(values, FLOOR_S), _tick)
    axes.set_ylim(-0.06, 1.04)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid()


def _tick(seconds: float) -> str:
    if seconds < 0.9e-3:
        return f"{seconds * 1e6:g} µs"
    return f"{seconds * 1e3:g} ms" if seconds < 0.9 else f"{seconds:,.0f} s"


def _handles(path: Objects, cut: bool, receiving: int) -> list[Any]:
    from matplotlib.lines import Line2D

    found: list[Any] = []
    for name in style.PATHS:
        n = int((path == name).sum())
        if n:
            label = f"{name} ({plural(n, 'connection')})"
            found.append(Line2D([], [], color=style.COLOURS[name], linewidth=WIDTHS[name], label=label))
    if cut:
        label = "opening or close not captured: at least this long"
        found.append(Line2D([], [], color=style.PALE, linestyle="", marker="+", markersize=8, label=label))
    if receiving:
        one_by_one = receiving <= RUG
        tick = Line2D([], [], color=style.INK, label="tails that received payload", linewidth=1.3)
        tick.set(linestyle="" if one_by_one else "--", marker="|" if one_by_one else "", markersize=8)
        found.append(tick)
    return found


def _headline(lived: Floats, cut: Bools, tails: Floats, receiving: Bools) -> str:
    x, share = survival(lived, cut)
    half = int(np.searchsorted(share, 0.5 - 1e-9))
    n = plural(len(lived), "connection")
    if len(lived) == 1:
        said = f"{n}: it lived {'at least ' if cut[0] else ''}{duration(float(lived[0]))}"
    elif half < len(x):
        least = "at least " if cut[np.argmax(lived)] else ""
        said = f"Half of {n} were over within {duration(float(x[half]))}, the longest lived {least}{duration(float(lived.max()))}"
    else:
        said = f"Less than half of {n} were seen to close; the longest lived at least {duration(float(lived.max()))}"
    if len(tails):
        said += f"; half-closed for up to {duration(float(tails.max()))}"
        if receiving.any():
            said += f", {int(receiving.sum()):,} still receiving"
    return said


def _note(cut: Bools, unfinished: Bools) -> str:
    said = []
    if cut.any():
        said.append(f"{plural(int(cut.sum()), 'connection')} not seen from open to close: at least as long as was seen.")
    if unfinished.any():
        said.append(f"{plural(int(unfinished.sum()), 'half-closed tail')} did not end within the capture.")
    return " ".join(said)
