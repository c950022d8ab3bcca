"""Connections as bars over time, grouped by target, with the concurrency curves under them on the same axis.

What it decides: how much can be shown. Up to :data:`LANE_EACH` connections have a lane each, labelled with who opened them. More share
lanes: a connection takes the first lane of its target that is free again. More than :data:`BARS`, or more lanes than fit, are no longer
bars: each target becomes a strip whose height says how many were open, coloured by path. So nothing is drawn that is smaller than can be
seen, and a file stays small however long the capture.

A bar is drawn at least one pixel wide, so a connection of a millisecond in a capture of a day is seen; it looks longer than it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.chains import overlap
from netlens.columns import Bools, Floats, Ints, Objects
from netlens.report.plots import concurrency, style
from netlens.text import duration, endpoint, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANE_EACH = 40  # connections with a lane of their own: at 0.2 inch a lane that is one screen
BARS = 400  # connections drawn as bars; beyond this bars are thinner than their own rims
MAX_LANES = 90  # lanes over all targets: at 0.1 inch a lane still a picture and not a scroll
MAX_TARGETS = 12  # groups; the targets with the fewest connections share the last one
PIXELS = 1000  # across the axis on a page 1200 wide: what is closer than this is one block
MAX_BLOCKS = 8000  # requests drawn inside bars (about 120 bytes each in SVG); beyond this neighbours are joined more coarsely
SLICES = 240  # across a strip: five pixels each on a page 1200 wide
STRIP = 3.0  # height of a strip in lanes


@dataclass
class _Scene:
    """All a drawing needs, in seconds since the start; one element per connection unless said otherwise."""

    bounds: tuple[int, int]
    span: float
    start: Floats
    end: Floats
    early: Bools  # open before the capture
    late: Bools  # not seen to close
    path: Objects
    group: Ints  # index into names
    names: list[str]
    intervals: overlap.Intervals
    ex_row: Ints  # per exchange drawn: its connection
    ex_start: Floats
    ex_end: Floats
    ex_rejected: Bools

    @property
    def pixel(self) -> float:
        return self.span / PIXELS


def draw(
    connections: overlap.Columns,
    exchanges: overlap.Columns | None = None,
    sessions: overlap.Columns | None = None,
    *,
    capture_ns: tuple[int, int] | None = None,
) -> Figure:
    """The picture of a capture.

    connections, exchanges, sessions : tables of ``netlens.tables``. Without exchanges bars are empty; with ``sessions`` unanswered requests end when
    their session does, and the curve of half-closed but receiving sessions is drawn if there are any.
    capture_ns : first and last time of the capture, where it is known to be longer than the tables.
    """
    total = len(connections["start_ns"])
    if total == 0:
        return style.nothing("No connections in this capture", "No TCP connection was seen, so there is nothing to draw over time.")
    bounds = capture_ns or concurrency.capture_bounds(connections, exchanges)
    scene = _scene(connections, exchanges, sessions, bounds)
    open_curve = overlap.sweep(scene.intervals)
    curves = [(open_curve, concurrency.OPEN)]
    flight = None
    if exchanges is not None and len(exchanges["start_ns"]):
        flight = overlap.exchanges_curve(exchanges, sessions, connections, bounds)
        curves.append((flight, concurrency.IN_FLIGHT))
    if sessions is not None and len(sessions["start_ns"]):
        zombies = overlap.sweep(overlap.half_closed_intervals(sessions, bounds))
        if len(zombies.times_ns):
            curves.append((zombies, concurrency.HALF_CLOSED))

    rows = _rows(scene, total)
    with style.context():
        inch = 0.2 if rows.mode == "each" else 0.11 if rows.mode == "packed" else 0.2
        bars_in = max(0.6, inch * rows.lanes + 0.24 * len(scene.names))
        figure = style.new_figure(bars_in + 2.0 + 1.75)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[bars_in, 2.0])
        header = 0.24 / inch  # height of a target's line in lanes
        if rows.mode == "strips":
            _draw_strips(above, scene, header)
        else:
            _draw_bars(above, scene, rows, header, connections)
        top = max(concurrency.draw_curve(below, curve, layer, bounds) for curve, layer in curves)
        style.count_axis(below, top)
        below.set_ylabel("at once")
        style.time_axis(below, *bounds)
        above.tick_params(axis="x", labelbottom=False, length=0)
        for axes in (above, below):
            axes.grid(axis="x")
        sliced = any(len(curve.times_ns) > concurrency.EXACT_STEPS for curve, _ in curves)
        _titles(figure, connections, scene, rows.mode, open_curve, flight, sliced)
        banded = any(bool(np.any(curve.high > curve.low)) for curve, _ in curves)
        style.legend(figure, _handles(scene, rows.mode) + concurrency.handles([layer for _, layer in curves], banded))
    return figure


def _scene(
    connections: overlap.Columns,
    exchanges: overlap.Columns | None,
    sessions: overlap.Columns | None,
    bounds: tuple[int, int],
) -> _Scene:
    origin = bounds[0]
    intervals = overlap.connection_intervals(connections, bounds)
    groups, others = concurrency.top_targets(overlap.labels(connections, "target"), MAX_TARGETS)
    kinds, inverse, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    rank = sorted(range(len(kinds)), key=lambda i: (kinds[i] == others, -sizes[i], kinds[i]))
    place = np.empty(len(kinds), np.int64)
    place[rank] = np.arange(len(kinds))
    ex_row, ex_start, ex_end, ex_rejected = np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.bool_)
    if exchanges is not None and len(exchanges["start_ns"]):
        flights = overlap.exchange_intervals(exchanges, sessions, connections, bounds)
        owner = overlap.owner_rows(exchanges, connections)[flights.rows]
        flights, ex_row = flights.take(owner >= 0), owner[owner >= 0]
        ex_start, ex_end = style.seconds(flights.start_ns, origin), style.seconds(flights.end_ns, origin)
        rejected = exchanges.get("rejected", [])
        refused = np.fromiter((isinstance(v, (bool, np.bool_)) and bool(v) for v in rejected), np.bool_, len(rejected))
        ex_rejected = refused[flights.rows] if len(refused) else np.zeros(len(flights), np.bool_)
    return _Scene(
        bounds=bounds,
        span=max((bounds[1] - bounds[0]) / 1e9, 1e-6),
        start=style.seconds(intervals.start_ns, origin),
        end=style.seconds(intervals.end_ns, origin),
        early=intervals.censored_left,
        late=intervals.censored_right,
        path=style.path_names(connections["path"]),
        group=place[inverse],
        names=[str(kinds[i]) for i in rank],
        intervals=intervals,
        ex_row=ex_row,
        ex_start=ex_start,
        ex_end=ex_end,
        ex_rejected=ex_rejected,
    )


@dataclass
class _Rows:
    """How connections are laid out: ``lane`` is each one's lane within its group (empty for strips), ``lanes`` all lanes together."""

    mode: str  # each, packed or strips
    lane: Ints
    lanes: float
    per_group: Ints


def _rows(scene: _Scene, total: int) -> _Rows:
    if total <= BARS:
        # what is drawn decides what collides: pale tails too, and never less than a pixel, with a pixel between neighbours
        begin = np.where(scene.early, 0.0, scene.start)
        finish = np.where(scene.late, scene.span, np.maximum(scene.end, scene.start + 2 * scene.pixel)) + 2 * scene.pixel
        lane = np.zeros(total, np.int64)
        per_group = np.zeros(len(scene.names), np.int64)
        for g in range(len(scene.names)):
            mine = np.flatnonzero(scene.group == g)
            mine = mine[np.lexsort((mine, begin[mine]))]
            lane[mine] = np.arange(len(mine)) if total <= LANE_EACH else style.lanes(begin[mine], finish[mine])[0]
            per_group[g] = lane[mine].max() + 1
        if total <= LANE_EACH or per_group.sum() <= MAX_LANES:
            return _Rows("each" if total <= LANE_EACH else "packed", lane, int(per_group.sum()), per_group)
    per_group = np.full(len(scene.names), STRIP)
    return _Rows("strips", np.empty(0, np.int64), float(STRIP * len(scene.names)), per_group)


def _draw_bars(axes: Axes, scene: _Scene, rows: _Rows, header: float, connections: overlap.Columns) -> None:
    floor = np.cumsum(rows.per_group + header) - rows.per_group  # y of each group's first lane
    middle = floor[scene.group] + rows.lane + 0.5
    end = np.maximum(scene.end, scene.start + scene.pixel)
    half = 0.4 if rows.mode == "each" else 0.38
    dark = 0.22 if rows.mode == "each" else 0.2
    for path in style.PATHS:
        mine = scene.path == path
        tails = [(np.zeros(len(middle)), scene.start, mine & scene.early), (end, np.full(len(middle), scene.span), mine & scene.late)]
        for left, right, mask in tails:
            if mask.any():
                pale = _boxes(axes, left[mask], right[mask], middle[mask], half * 0.7, f"tails {path}")
                pale.set(facecolor="white", edgecolor=style.COLOURS[path], hatch=style.HATCH, linewidth=0.5)
        if mine.any():
            _boxes(axes, scene.start[mine], end[mine], middle[mine], half, f"bars {path}").set(facecolor=style.COLOURS[path], linewidth=0)
    for mask, x, mark, gid in ((scene.early, 0.0, "<", "open before"), (scene.late, scene.span, ">", "open after")):
        if mask.any():
            size = 60 if rows.mode == "each" else 30
            colours = [style.COLOURS[p] for p in scene.path[mask]]
            axes.scatter(
                np.full(mask.sum(), x), middle[mask], s=size, c=colours, marker=mark, zorder=4, linewidths=0, clip_on=False, gid=gid
            )
    row, left, right = _joined(scene)
    right = np.minimum(right, end[row])  # at least a pixel, but inside its bar
    left = np.maximum(np.minimum(left, right - scene.pixel), scene.start[row])
    for path in style.PATHS:
        mine = scene.path[row] == path
        if mine.any():
            _boxes(axes, left[mine], right[mine], middle[row[mine]], dark, f"requests {path}").set(facecolor=style.DARK[path], linewidth=0)
    refused = np.flatnonzero(scene.ex_rejected)
    if len(refused):
        spot = np.round(scene.ex_start[refused] / scene.pixel).astype(np.int64)
        _, first = np.unique(np.column_stack([scene.ex_row[refused], spot]), axis=0, return_index=True)
        refused = refused[first]
        style.crosses(axes, scene.ex_start[refused], middle[scene.ex_row[refused]], 60 if rows.mode == "each" else 34)
    for g, name in enumerate(scene.names):
        _head(axes, scene, g, float(floor[g]), header, name)
    if rows.mode == "each":
        who = [endpoint(ip, port) for ip, port in zip(connections["orig_ip"], connections["orig_port"], strict=True)]
        axes.set_yticks(middle, [style.safe(w) for w in who])
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_yticks([])
    _frame(axes, float(rows.per_group.sum() + header * len(scene.names)))


def _draw_strips(axes: Axes, scene: _Scene, header: float) -> None:
    edges = np.unique(np.linspace(scene.bounds[0], scene.bounds[1] + 1, SLICES + 1).astype(np.int64))
    x = style.seconds(edges, scene.bounds[0])
    ticks, names = [], []
    for g, name in enumerate(scene.names):
        base = (g + 1) * (STRIP + header) - 0.6  # room for marks under the strip; y grows downwards
        mine = scene.group == g
        whole = overlap.sweep(scene.intervals.take(mine))
        highest = whole.highest(edges)[0]
        top = max(1, int(highest.max()))
        scale = (STRIP - 0.7) / top
        below = np.zeros(len(edges) - 1)
        for path in style.PATHS:
            part = mine & (scene.path == path)
            if not part.any():
                continue
            above = below + overlap.sweep(scene.intervals.take(part)).mean(edges)
            axes.fill_between(
                x, base - _closed(below) * scale, base - _closed(above) * scale, step="post",
                color=style.COLOURS[path], linewidth=0, gid=f"strip {path}",
            )  # fmt: skip
            below = above
        axes.plot(x, base - _closed(highest) * scale, drawstyle="steps-post", color=style.INK, linewidth=0.6, gid="highest")
        axes.axhline(base, color=style.PALE, linewidth=0.5)
        ticks += [base, base - top * scale]
        names += ["0", f"{top:,}"]
        refused = scene.ex_rejected & (scene.group[scene.ex_row] == g) if len(scene.ex_row) else np.empty(0, np.bool_)
        if refused.any():
            hit = np.unique(np.searchsorted(x, scene.ex_start[refused], side="right") - 1)
            style.crosses(axes, (x[hit] + x[np.minimum(hit + 1, len(x) - 1)]) / 2, np.full(len(hit), base + 0.28), 20)
        _head(axes, scene, g, g * (STRIP + header) + header, header, name)
    axes.set_yticks(ticks, names)
    axes.set_ylabel("connections open")
    _frame(axes, len(scene.names) * (STRIP + header))


def _closed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One value more, as a step function needs at its right edge."""
    return np.append(values, values[-1])


def _boxes(axes: Axes, left: Floats, right: Floats, middle: Floats, half: float, gid: str) -> Any:
    from matplotlib.collections import PolyCollection

    corners = np.empty((len(left), 4, 2))
    corners[:, 0, 0] = corners[:, 1, 0] = left
    corners[:, 2, 0] = corners[:, 3, 0] = right
    corners[:, 0, 1] = corners[:, 3, 1] = middle - half
    corners[:, 1, 1] = corners[:, 2, 1] = middle + half
    boxes = PolyCollection(list(corners), gid=gid, zorder=2)
    axes.add_collection(boxes, autolim=False)
    return boxes


def _head(axes: Axes, scene: _Scene, group: int, floor: float, header: float, name: str) -> None:
    mine = scene.group == group
    peak = overlap.sweep(scene.intervals.take(mine)).peak().count
    if group:
        axes.axhline(floor - header, color=style.GRID, linewidth=0.8, zorder=0.5)
    counts = f"{plural(int(mine.sum()), 'connection')}, at most {peak:,} open at once"
    label = style.safe(name)
    axes.annotate(
        label, (0, floor - header * 0.45), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
        va="center", fontsize=10, fontweight="bold", gid="target", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    axes.annotate(
        counts, (1, floor - header * 0.45), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points",
        va="center", ha="right", fontsize=9, color=style.PALE, gid="target counts",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _frame(axes: Axes, height: float) -> None:
    axes.set_ylim(height + 0.15, 0)
    axes.spines["left"].set_visible(False)


def _joined(scene: _Scene) -> tuple[Ints, Floats, Floats]:
    """Requests as blocks of at least a pixel, neighbours of one connection joined where no pixel parts them; coarser if too many."""
    if not len(scene.ex_row):
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    order = np.lexsort((scene.ex_start, scene.ex_row))
    row, start, end = scene.ex_row[order], scene.ex_start[order], scene.ex_end[order]
    gap = scene.pixel
    while True:
        finish = np.maximum(end, start + gap)
        # the running end must not leak from one connection into the next: lift each by more than the span
        lift = row * (4 * scene.span + 4 * gap)
        until = np.maximum.accumulate(finish + lift)
        fresh = np.append(True, start[1:] + lift[1:] > until[:-1] + gap)
        if fresh.sum() <= MAX_BLOCKS:
            break
        gap *= 2
    heads = np.flatnonzero(fresh)
    return row[heads], start[heads], np.maximum.reduceat(finish, heads)


def _handles(scene: _Scene, mode: str) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    what = "open (average)" if mode == "strips" else "connection"
    present = [path for path in style.PATHS if (scene.path == path).any()]
    found: list[Any] = [Patch(facecolor=style.COLOURS[path], label=f"{path} {what}") for path in present]
    if mode == "strips":
        found.append(Line2D([], [], color=style.INK, linewidth=0.8, label="open (highest)"))
    else:
        if len(scene.ex_row):
            found.append(Patch(facecolor=style.DARK[present[0]], label="request in progress"))
        if (scene.early | scene.late).any():
            pale = Patch(facecolor="white", edgecolor=style.COLOURS[present[0]], hatch=style.HATCH, label="opening or close not captured")
            found.append(pale)
    if scene.ex_rejected.any():
        found.append(style.cross_handle("refused request"))
    return found


def _titles(
    figure: Figure,
    connections: overlap.Columns,
    scene: _Scene,
    mode: str,
    open_curve: overlap.Curve,
    flight: overlap.Curve | None,
    sliced: bool,
) -> None:
    total = len(scene.start)
    targets = len(set(overlap.labels(connections, "target")))
    headline = f"{plural(total, 'connection')} to {plural(targets, 'target')} in {duration(scene.span)}; "
    headline += f"at most {open_curve.peak().count:,} open{concurrency.perhaps(open_curve)}"
    if flight is not None:
        headline += f" and {plural(flight.peak().count, 'request')} in flight"
    headline += " at once"
    refused = int(scene.ex_rejected.sum())
    if refused:
        headline += f"; {refused:,} refused"
    note = {
        "each": "A bar is a connection; on the left who opened it.",
        "packed": "A bar is a connection; connections of one target share a lane when they do not overlap.",
        "strips": "The height of a strip is the number of connections open to that target; each strip has its own scale.",
    }[mode]
    if sliced:
        note += " " + concurrency.slice_note(scene.bounds)
    style.title(figure, headline, note)
