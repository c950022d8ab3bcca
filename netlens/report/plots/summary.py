"""The summary for a bug report, on one page: the answer, connections by side, what was counted with its limit, and the verdicts.

Where nothing was refused there are no causes to weigh: then the findings take the place of the verdicts, with lookups over time, and all connections if
nobody named a target.

What it decides: of refusals only the target's connections are drawn, each group of them at most :data:`LANES` lanes high; more become a strip that says
how many were open. Times are of the host's clock.

Limits: printed on paper a cross is about 2 mm wide, so that of refusals nearer than that only one is seen; the title has their number.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.chains import overlap
from netlens.chains.situation import COMPANION, HOST, LOOKUPS, REJECTED, SIDES, VM
from netlens.lenses.refused import breakdown
from netlens.report import answer, findings
from netlens.report.plots import style
from netlens.report.scene import Scene, scene, shown_rule
from netlens.tables import FAILURES
from netlens.text import duration, plural, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netlens.analysis import Analysis
    from netlens.lenses.refused.verdict import Verdict

LANES = 24  #: of a group; at 0.13 inch a lane that is three inches
FEW_LANES = 6  #: of a group, where all servers are drawn
LANE_IN = 0.14
LINE_IN = 0.22  #: of text
ACROSS = 138  #: characters of a line
BARS = 120  #: of lookups over time
STRIP_IN = 0.7
FIXES = 4  #: told; the report has all
SLICES = 600
TITLES = {
    "vm": "VM",
    "host": "host itself",
    "unknown": "side unknown",
    "leftover": "left over (tail, idle)",
    "companion": "opened by the tunnel",
    "lookups": "lookups",
}


def draw(analysis: Analysis) -> Figure:
    a = analysis
    s = scene(a)
    refused = answer.anything_refused(a)
    every = not refused and (findings.is_all(a) or not any(group.target for group in s.groups))
    lanes = [_Lanes(s, k, FEW_LANES if every else LANES) for k, group in enumerate(s.groups) if group.target or every]
    panels = [] if every else _panels(a)
    told = _verdicts(a) if refused else _findings(a)
    timed: list[tuple[float, Callable[[Axes], None]]] = []
    if lanes or not every:
        timed.append((max(0.7, sum(each.height_in for each in lanes)), lambda axes: _draw_lanes(axes, s, lanes)))
    timed += [(1.7, lambda axes, panel=panel: _draw_stack(axes, a, s, *panel)) for panel in panels]  # type: ignore[misc]
    if every:
        timed += [(1.7, lambda axes, k=k: _draw_open(axes, s, k)) for k, bars in enumerate(s.bars) if len(bars)]  # type: ignore[misc]
    asked = None if refused else _lookups(a)
    if asked is not None:
        timed.append((1.7, lambda axes: _draw_lookups(axes, s, asked)))
    text_in = LINE_IN * max(len(told), 1)
    with style.context():
        heights = [*(height for height, _ in timed), text_in]
        figure = style.new_figure(sum(heights) + 2.2)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        drawn: list[Axes] = []
        for k, (_, make) in enumerate(timed):
            drawn.append(figure.add_subplot(grid[k], sharex=drawn[0] if drawn else None))
            make(drawn[-1])
        for axes in drawn:
            axes.grid(axis="x")
        if drawn:
            style.time_axis(drawn[-1], s.t0, s.t0 + s.span)
        for axes in drawn[:-1]:
            axes.tick_params(axis="x", labelbottom=False, length=0)
        _write(figure.add_subplot(grid[-1]), told)
        said = answer.sentence(a) if refused else "".join(part.text for part in answer.findings_headline(a))
        style.title(figure, style.words(said), style.words(_note(a)))
        style.legend(figure, [*_handles(a, s, panels, lanes), *(_lookup_handles(asked) if asked is not None else [])])
    return figure


def _note(a: Analysis) -> str:
    cautions = a.quality["notes"]
    # a picture is passed on: of a path the file's name tells, and of several files their folder's
    files = ", ".join("/".join(i["path"].split("/")[-1 if len(a.inputs) == 1 else -2 :]) for i in a.inputs)
    more = f" Before you draw conclusions: {'; '.join(cautions)}." if cautions else ""
    return f"From {files}.{more}"


# --- connections ---------------------------------------------------------------------------------------------------------------------------


class _Lanes:
    """A group as it is drawn: ``lane`` of each of its bars, or none where it is a strip."""

    def __init__(self, s: Scene, group: int, most: int) -> None:
        self.group = s.groups[group]
        self.bars = s.bars[self.group.capture]
        self.rows = np.flatnonzero(s.group_of[self.group.capture] == group)
        start, end = self.bars.start[self.rows], np.maximum(self.bars.end[self.rows], self.bars.start[self.rows] + s.span // 250)
        order = np.argsort(start, kind="stable")
        self.lane = np.zeros(len(order), np.int64)
        self.lane[order], count = style.lanes(start[order], end[order] + s.span // 400, most)
        self.strip = count > most
        self.lanes = max(1, count)
        self.height_in = 0.24 + (STRIP_IN if self.strip else LANE_IN * self.lanes)


def _colour(kind: int, whose: int) -> str:
    return "companion" if kind == COMPANION else "lookups" if kind == LOOKUPS else SIDES[whose]


def _look(share: str) -> dict[str, Any]:
    """How a share is filled, in bars, stacks and the legend."""
    if share == "leftover":
        return {"facecolor": "white", "edgecolor": style.LEFTOVER, "hatch": style.HATCH, "linewidth": 0.5}
    return {"facecolor": style.SHARES[share], "edgecolor": style.SHARES_DARK[share], "linewidth": 0.5}


def _draw_lanes(axes: Axes, s: Scene, groups: list[_Lanes]) -> None:
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    y = 0.0
    for each in groups:
        b = each.bars
        place = {"vm": "at the VM: ", "host": "at the host: "}.get(b.name or "", "")
        said = f"{place}{style.safe(each.group.title)}"
        axes.text(0.002, y + 0.11, said, transform=axes.get_yaxis_transform(), va="center", fontsize=9, fontweight="bold", gid="group")
        axes.text(
            0.998, y + 0.11, plural(len(each.rows), "connection"), transform=axes.get_yaxis_transform(),
            va="center", ha="right", fontsize=9, color=style.PALE, gid="group counts",
        )  # fmt: skip
        colour = _colour(each.group.kind, each.group.whose)
        if each.strip:
            _draw_strip(axes, s, each, y + 0.24, colour)
        else:
            _draw_bars(axes, s, each, y + 0.24, colour)
        y += each.height_in
    if not groups:
        axes.text(0.5, 0.5, "no connection to it was captured", transform=axes.transAxes, ha="center", va="center", color=style.PALE)
    axes.set_ylim(max(y, 0.3), 0)


def _draw_strip(axes: Axes, s: Scene, each: _Lanes, top: float, colour: str) -> None:
    edges = np.unique(np.linspace(0, s.span + 1, SLICES + 1).astype(np.int64))
    highest = overlap.curve(each.bars.start[each.rows], each.bars.end[each.rows]).highest(edges)[0]
    foot, scale = top + STRIP_IN - 0.08, (STRIP_IN - 0.15) / max(1, int(highest.max(initial=1)))
    above = foot - np.append(highest, highest[-1:]) * scale
    axes.fill_between(edges / 1e9, foot, above, step="post", color=style.SHARES[colour], linewidth=0, gid=f"strip {colour}")


def _draw_bars(axes: Axes, s: Scene, each: _Lanes, top: float, colour: str) -> None:
    from matplotlib.collections import PolyCollection

    b, pixel = each.bars, s.span / 1e9 / 1000
    tall = LANE_IN * 0.78
    boxes: dict[str, list[Any]] = {"bars": [], "tails": [], "requests": [], "left": []}
    first = np.searchsorted(s.calls.bar, np.arange(b.offset, b.offset + len(b) + 1))
    times = [each / 1e9 for each in (s.calls.start, s.calls.end, s.calls.done)]
    crosses = []
    for row, lane in zip(each.rows.tolist(), each.lane.tolist(), strict=True):
        y = top + lane * LANE_IN
        start, end, done = b.start[row] / 1e9, b.end[row] / 1e9, b.done[row] / 1e9
        tail = b.done[row] >= 0 and end - done > 2 * pixel
        boxes["bars"].append(_box(start, y, max((done if tail else end) - start, pixel), tall))
        if tail:
            boxes["tails"].append(_box(done, y, end - done, tall))
        for k in range(first[row], first[row + 1]):
            begin, finish, over = (float(each[k]) for each in times)
            if s.calls.rejected[k] == REJECTED:
                crosses.append((begin, y + tall / 2))
                continue
            boxes["requests"].append(_box(begin, y + tall * 0.25, max(over - begin, pixel), tall * 0.5))
            if finish - over > 2 * pixel:
                boxes["left"].append(_box(over, y + tall * 0.25, finish - over, tall * 0.5))
    dark = style.SHARES_DARK[colour]
    looks: dict[str, dict[str, Any]] = {
        "bars": _look(colour),
        "tails": _look("leftover"),
        "requests": {"facecolor": dark, "linewidth": 0},
        "left": {"facecolor": dark, "linewidth": 0, "alpha": 0.45},
    }
    for name, corners in boxes.items():
        if corners:
            axes.add_collection(PolyCollection(corners, gid=f"{name} {colour}", zorder=2, **looks[name]), autolim=False)
    if crosses:
        x, y_at = zip(*crosses, strict=True)
        style.crosses(axes, x, y_at, 34)


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Corners of a rectangle."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


# --- what was counted ----------------------------------------------------------------------------------------------------------------------


def _panels(a: Analysis) -> list[tuple[str, int | None]]:
    """(unit, side) of each panel: what the limit counts, together or per side."""
    fit, s = shown_rule(a), a.assembled.situation
    unit = fit.rule.unit if fit is not None else "requests" if s.uncountable is None else "connections"
    if fit is None or fit.rule.scope == "egress":
        return [(unit, None)]
    return [(unit, side) for side in (VM, HOST) if (s.requests.side == side).any()] or [(unit, None)]


def _draw_stack(axes: Axes, a: Analysis, s: Scene, unit: str, side: int | None) -> None:
    made = breakdown.stack(a.assembled.situation, unit, side)
    fit, r = shown_rule(a), a.assembled.situation.requests
    edges, counts = _drawn(made, s)
    below = np.zeros(counts.shape[1])
    for k, name in enumerate(breakdown.SHARES):
        if not counts[k].any():
            continue
        above = below + counts[k]
        axes.fill_between(edges, below, above, step="post", gid=f"share {name}", zorder=2, **_look(name))
        below = above
    top = int(made.total.max(initial=0))
    refused = np.flatnonzero((r.rejected == REJECTED) & (True if side is None else r.side == side))
    if fit is not None and fit.rule.unit == unit and len(refused):
        met = fit.counts.count[refused]
        style.crosses(axes, (r.start_ns[refused] - s.t0) / 1e9, met, 44)
        top = max(top, int(met.max()))
    if a.limit is not None and a.limit.unit == unit:
        style.limit_line(axes, a.limit.value)
        top = max(top, a.limit.value)
    whose = "all together" if side is None else "VM" if side == VM else "host itself"
    axes.set_title(f"{answer.UNITS[unit]}, {whose}", fontsize=9.5, loc="left")
    axes.set_ylabel("at once")
    style.count_axis(axes, top)


def _drawn(made: breakdown.Stack, s: Scene) -> tuple[Any, Any]:
    """Steps as drawn: exact where they are few, else of each slice the moment with the highest total."""
    times, counts = (made.times_ns - s.t0) / 1e9, made.counts
    if len(times) <= 4 * SLICES:
        zero = np.zeros((len(counts), 1), np.int64)
        return np.concatenate([[0.0], times, [max(s.span / 1e9, times[-1] if len(times) else 0.0)]]), np.hstack(
            [zero, counts, counts[:, -1:] if len(times) else zero]
        )
    slots = np.minimum((times / (s.span / 1e9) * SLICES).astype(np.int64), SLICES - 1)
    order = np.lexsort((-made.total, slots))
    best = order[np.unique(slots[order], return_index=True)[1]]
    return np.append(times[best], s.span / 1e9), np.hstack([counts[:, best], counts[:, best[-1:]]])


def _draw_open(axes: Axes, s: Scene, capture: int) -> None:
    """Connections of one capture that were open at once."""
    bars = s.bars[capture]
    edges = np.unique(np.linspace(0, s.span + 1, SLICES + 1).astype(np.int64))
    highest = overlap.curve(bars.start, bars.end).highest(edges)[0]
    axes.fill_between(edges / 1e9, 0, np.append(highest, highest[-1:]), step="post", color=style.UNKNOWN, linewidth=0, gid="open")
    axes.set_title(f"connections open, {answer.SIDE_NAMES.get(bars.name or '', 'all servers')}", fontsize=9.5, loc="left")
    axes.set_ylabel("at once")
    style.count_axis(axes, int(highest.max(initial=0)))


# --- lookups -------------------------------------------------------------------------------------------------------------------------------

ANSWERED, FAILED, UNANSWERED = range(3)
LOOKUP_LOOKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lookup answered", {"facecolor": style.SHARES["lookups"], "linewidth": 0}),
    ("lookup failed", {"facecolor": style.SHARES_DARK["lookups"], "linewidth": 0}),
    ("lookup unanswered", {"facecolor": "white", "edgecolor": style.INK, "hatch": style.HATCH, "linewidth": 0.5}),
)


def _lookups(a: Analysis) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """When lookups were asked (ns) and what came of each, of one capture; None without any."""
    captures = [a.assembled.upstream.capture, *(side.capture for side in a.sides.values())]
    table = next((t for t in (each.table("lookups") for each in captures) if t.rows), None)
    if table is None:
        return None
    query, answered = (table[name].tolist() for name in ("query_ns", "answer_ns"))
    when = np.array([told if asked is None else asked for asked, told in zip(query, answered, strict=True)], np.int64)
    bad = [code in FAILURES for code in table["rcode"].tolist()]
    return when, np.where([t is None for t in answered], UNANSWERED, np.where(bad, FAILED, ANSWERED))


def _draw_lookups(axes: Axes, s: Scene, asked: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    when, outcome = asked
    edges = np.linspace(0, s.span / 1e9, BARS + 1)
    below = np.zeros(BARS)
    for k, (name, look) in enumerate(LOOKUP_LOOKS):
        above = below + np.histogram((when[outcome == k] - s.t0) / 1e9, edges)[0]
        if (above > below).any():
            axes.fill_between(edges, np.append(below, below[-1]), np.append(above, above[-1]), step="post", gid=name, **look)
        below = above
    axes.set_title(f"DNS lookups, by when they were asked ({duration(s.span / 1e9 / BARS)} a bar)", fontsize=9.5, loc="left")
    axes.set_ylabel("lookups")
    style.count_axis(axes, int(below.max(initial=0)))


def _lookup_handles(asked: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> list[Any]:
    from matplotlib.patches import Patch

    return [Patch(label=name, **look) for k, (name, look) in enumerate(LOOKUP_LOOKS) if (asked[1] == k).any()]


# --- in words ------------------------------------------------------------------------------------------------------------------------------

#: Pieces of a line (where it begins, text) and whether it is bold.
_Line = tuple[tuple[tuple[float, str], ...], bool]


def _findings(a: Analysis) -> list[_Line]:
    """The first findings, with what to do."""
    shown = findings.first(a.findings)
    lines: list[_Line] = []
    for each in shown:
        for k, part in enumerate(textwrap.wrap(printable(each.text), ACROSS)):
            lines.append((((0.0, "" if k else each.severity), (0.07, part)), each.severity == "problem"))
        if each.advice and each.severity == "problem":
            lines += [(((0.07, part),), False) for part in textwrap.wrap(f"To do: {printable(each.advice)}", ACROSS)]
    if rest := findings.more(a.findings):
        lines.append((((0.07, f"{rest} in the report"),), False))
    return lines


def _verdicts(a: Analysis) -> list[_Line]:
    causes = sorted(a.hypotheses, key=lambda v: (v.id != a.cause, v.verdict != "supported"))
    rows = [("Causes", "", "", True, 0.25, 112)]
    rows += [(f"{v.cause}  {v.id}", v.verdict, _why(a, v), v.verdict == "supported", 0.25, 112) for v in causes]
    fixes = [(f.id, answer.effect(f), f.title, f is a.best_fix, 0.46, 82) for f in a.fixes[:FIXES]]  # what a fix changes takes more room
    rows += [("Fixes", "", "", True, 0.46, 82), *fixes] if fixes else []
    return [
        (((0.0, _short(name, 24)), (0.15, _short(said, 46)), (x, _short(text, longest))), bold)
        for name, said, text, bold, x, longest in rows
    ]


def _short(text: str, longest: int) -> str:
    return textwrap.shorten(printable(text), longest, placeholder=" ...")


def _write(axes: Axes, lines: list[_Line]) -> None:
    axes.set_axis_off()
    for k, (parts, bold) in enumerate(lines):
        for n, (x, part) in enumerate(parts):
            axes.text(
                x, 1 - k / len(lines), style.safe(part, len(part) + 60), transform=axes.transAxes, va="top", fontsize=9, gid="verdict",
                fontweight="bold" if bold and n < max(len(parts) - 1, 1) else "normal", color=style.INK if bold else style.PALE, in_layout=False,
            )  # fmt: skip


def _why(a: Analysis, v: Verdict) -> str:
    """The evidence that only this verdict has; else what it needs."""
    others = {e.text for other in a.hypotheses if other is not v for e in other.evidence}
    own = [e.text for e in v.evidence if e.text not in others] or [e.text for e in v.evidence]
    return own[0] if own else f"needs {v.needs}" if v.needs else v.claim


def _handles(a: Analysis, s: Scene, panels: list[tuple[str, int | None]], lanes: list[_Lanes]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    held = np.zeros(len(breakdown.SHARES), bool)
    for unit, side in panels:
        held |= breakdown.stack(a.assembled.situation, unit, side).counts.any(axis=1)
    drawn = {_colour(each.group.kind, each.group.whose) for each in lanes}
    found: list[Any] = []
    for k, name in enumerate(breakdown.SHARES):
        if held[k] or name in drawn:
            found.append(Patch(label=TITLES[name], **_look(name)))
    if lanes and len(s.calls):
        found.append(Patch(facecolor=style.SHARES_DARK["unknown"], label="request inside its connection"))
    if a.counts["rejections"]:
        found.append(style.cross_handle("refused"))
    if a.limit is not None:
        found.append(Line2D([], [], color=style.LIMIT, linewidth=1.8, linestyle=(0, (5, 3)), label="limit"))
    return found
