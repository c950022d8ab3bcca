"""Offset and drift between two clocks, as lines that obey bounds: the arithmetic of :mod:`netlens.chains.clock`.

Theory of operation
-------------------
1. The offset is a function of time: what the VM's clock shows minus what the host's clock shows at the same moment. A packet that left the VM at
   v (its clock) and was seen by the host at h (its) was under way for a time that is not negative, so the offset at v is at least v - h: a
   *lower* bound. One that came from the host gives an *upper* bound.
2. While neither clock is set nor slewed, the offset is a line a + b x, x being the VM's time. All lines above the lower and below the upper
   bounds are a convex polygon in (a, b): the two-variable linear programme of Moon, Skelly and Towsley (INFOCOM 1999). Only the vertices of two
   convex hulls matter (Zhang, Liu and Xia, INFOCOM 2002). For a slope b the offset at x = 0 lies between L(b) = max(l - b x) and
   U(b) = min(u - b x); U - L is concave and bends only at slopes of hull edges, so the polygon is exact after a look at each of those.
3. If no line obeys all bounds, a clock was changed meanwhile. The order of events is that of the frames in the VM's capture, whatever the
   clocks do. From the left, each piece is the longest run that some line obeys; then the same from the right. Both give the fewest pieces there
   can be, and if the truth has as many, its k-th change lies between the k-th border from the right and the k-th from the left. What lies in
   between may belong to either, so neither piece uses it: the polygon of a piece contains the true line.
4. A single bound whose removal saves two borders is wrong (a packet taken for another), not two changes. It is dropped.
5. A border is a *step* if the offset on both sides of it cannot be the same, nor differ by what a drift does in between; otherwise the rate has
   changed there.

Times differ in microseconds while a recording lasts hours and two clocks can be years apart: differences are taken in int64, relative to the
first bound, and only then as float64.

Limits: the guarantee is as good as its premises: delays are not negative, and rates are constant between the fewest possible changes. A rate that
wanders by less than the width of the corridor is not seen. Where it changes without a step, the interval at the start is widened by what a
change that large could do (:meth:`Fit.at_start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from netlens.columns import Bools, Floats, Ints, Rows

#: How much later or earlier than it happened something may be stamped: captures are written in microseconds, cut off. Twice of it widens every
#: interval by 2 us; half of it makes a pair of captures with next to no delay contradict itself.
SLACK_NS = 1_000
#: The steepest line considered. chrony slews by at most a twelfth (its maxslewrate of 83,333 ppm), adjtime and NTP by 500 ppm.
MAX_SLOPE = 0.1
#: Clocks that are left alone differ by less: crystals are good to 20 to 50 ppm each. Only chooses among lines that all obey the bounds.
PLAUSIBLE_SLOPE = 100e-6
#: With more, the rate wanders in ways that lines do not describe: the slack is then made larger until they do. Each piece costs 10 ms to find.
MAX_PIECES = 128
MAX_SLACK_NS = 5_000_000  #: beyond it bounds do not describe a clock at all
MAX_WRONG = 16  #: bounds that are dropped as wrong
#: While borders are looked for: bounds of each kind that are looked at. The final polygons use all.
COARSE = 4096


@dataclass(frozen=True, eq=False)
class Bounds(Rows):
    """Bounds of the offset, in order of the VM's frames; arrays of equal length.

    vm_ns : when, by the VM's clock.  diff_ns : the VM's minus the host's time.  upper : the offset is at most (else: at least) that.
    vm_frame, host_frame : what it rests on.
    """

    vm_ns: Ints
    diff_ns: Ints
    upper: Bools
    vm_frame: Ints
    host_frame: Ints

    def __len__(self) -> int:
        return len(self.vm_ns)

    @property
    def two_sided(self) -> bool:
        return bool(self.upper.any() and not self.upper.all())

    def reversed(self) -> Bounds:
        """The same of the other clock's offset: the host's minus the VM's, in order of the host's frames."""
        return Bounds(self.vm_ns - self.diff_ns, -self.diff_ns, ~self.upper, self.host_frame, self.vm_frame).in_order()

    def in_order(self) -> Bounds:
        return self.take(np.argsort(self.vm_frame, kind="stable"))


def join(parts: list[Bounds]) -> Bounds:
    if not parts:
        none = np.zeros(0, np.int64)
        return Bounds(none, none, none.astype(bool), none, none)
    return parts[0].joined(*parts[1:]).in_order()


def hull(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Vertices of the upper convex hull of points, from left to right."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    last = np.append(x[1:] != x[:-1], True)[: len(x)]  # the highest of one x
    x, y = x[last], y[last]
    # A point below the chord of its neighbours is no vertex, whichever others go with it. A few rounds leave the vertices of ordinary data.
    for _ in range(40):
        if len(x) < 3:
            return x, y
        chord = y[:-2] + (y[2:] - y[:-2]) * ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))
        keep = np.ones(len(x), bool)
        keep[1:-1] = y[1:-1] > chord
        if keep.all():
            return x, y
        x, y = x[keep], y[keep]
    stack: list[tuple[float, float]] = []
    for p in zip(x.tolist(), y.tolist(), strict=True):
        while len(stack) > 1 and (stack[-1][1] - stack[-2][1]) * (p[0] - stack[-2][0]) <= (p[1] - stack[-2][1]) * (
            stack[-1][0] - stack[-2][0]
        ):
            stack.pop()
        stack.append(p)
    return np.array([p[0] for p in stack]), np.array([p[1] for p in stack])


class Corridor:
    """All lines that obey some bounds.

    Parameters
    ----------
    bounds : at least one.
    slack_ns : by how much each is relaxed.

    Attributes
    ----------
    gap_ns : how wide the corridor is where it is widest, over all slopes; negative: no line obeys all bounds, and the best one misses by half of it.
    slopes : the least and the greatest slope of a line inside; of an empty corridor, twice that of the line that misses least.
    """

    def __init__(self, bounds: Bounds, slack_ns: float = SLACK_NS):
        self.x0_ns, self.d0_ns = int(bounds.vm_ns[0]), int(bounds.diff_ns[0])
        x = (bounds.vm_ns - self.x0_ns).astype(np.float64)
        d = (bounds.diff_ns - self.d0_ns).astype(np.float64)
        upper = bounds.upper
        self._low = hull(x[~upper], d[~upper] - slack_ns)
        self._high = hull(x[upper], -d[upper] - slack_ns)  # of what is turned upside down
        edges = [np.array([-MAX_SLOPE, MAX_SLOPE])]
        for sign, (hx, hy) in ((1.0, self._low), (-1.0, self._high)):
            if len(hx) > 1:
                edges.append(sign * np.diff(hy) / np.diff(hx))
        bends = np.concatenate(edges)
        bends = np.unique(bends[np.abs(bends) <= MAX_SLOPE])
        gaps = self._ceiling(bends) - self._floor(bends)
        best = int(np.argmax(gaps))
        self.gap_ns = float(gaps[best])
        inside = np.flatnonzero(gaps >= 0)
        if not len(inside):
            self.slopes = (float(bends[best]), float(bends[best]))
        else:
            first, last = int(inside[0]), int(inside[-1])
            low, high = float(bends[first]), float(bends[last])
            if first:  # U - L is straight between two bends
                low -= (low - float(bends[first - 1])) * float(gaps[first] / (gaps[first] - gaps[first - 1]))
            if last + 1 < len(bends):
                high += (float(bends[last + 1]) - high) * float(gaps[last] / (gaps[last] - gaps[last + 1]))
            self.slopes = (low, high)
        self._bends = bends

    def _floor(self, b: Floats) -> Floats:
        """L(b)."""
        return _support(*self._low, b)

    def _ceiling(self, b: Floats) -> Floats:
        """U(b)."""
        return -_support(*self._high, -b)

    def interval(self, vm_ns: int, steepest: float = MAX_SLOPE) -> tuple[float, float]:
        """The least and the greatest offset at a time, in ns relative to ``d0_ns``, over all lines inside that are at most so steep (if any is)."""
        x = float(vm_ns - self.x0_ns)
        low, high = self.slopes
        if max(low, -steepest) <= min(high, steepest):
            low, high = max(low, -steepest), min(high, steepest)
        b = np.concatenate([[low, high], self._bends[(self._bends > low) & (self._bends < high)]])
        return float((self._floor(b) + b * x).min()), float((self._ceiling(b) + b * x).max())

    def line(self, slope: float) -> float:
        """The offset at ``x0_ns``, relative to ``d0_ns``, of the line of that slope in the middle of the corridor."""
        b = np.array([slope])
        low, high = float(self._floor(b)[0]), float(self._ceiling(b)[0])
        return (low + high) / 2 if np.isfinite(low) and np.isfinite(high) else low if np.isfinite(low) else high


def _support(x: Floats, y: Floats, b: Floats) -> Floats:
    """max(y - b x) over the vertices of an upper hull, for each b; -inf of no vertices."""
    if not len(x):
        return np.full(len(b), -np.inf)
    falling = np.diff(y) / np.diff(x)
    at = np.searchsorted(-falling, -b)  # the edges steeper than b come before the vertex
    return y[at] - b * x[at]


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch in which the offset is a line.

    from_ns, from_frame : the VM's time and frame with which it begins; the first piece holds for all that comes before, too.
    until_ns : VM's time of the last bound it rests on.
    corridor, bounds : what surely belongs to it.
    used : the corridor whose middle converts times: up to a bend, also of the bounds that may belong to the next piece.
    slope : of the line that is used.  known : whether ``used.slopes`` is narrow enough to name it.
    """

    from_ns: int
    from_frame: int
    until_ns: int
    corridor: Corridor
    bounds: Bounds
    used: Corridor
    slope: float
    known: bool

    def offset_ns(self, vm_ns: Ints) -> Ints:
        """Offset at times of the VM's clock."""
        c = self.used
        inner = c.line(self.slope) + self.slope * (vm_ns - c.x0_ns).astype(np.float64)
        return c.d0_ns + np.rint(inner).astype(np.int64)

    def interval_ns(self, vm_ns: int) -> tuple[float, float]:
        """Interval of the offset at a time of the VM's clock."""
        low, high = self.corridor.interval(vm_ns)
        return self.corridor.d0_ns + low, self.corridor.d0_ns + high

    def miss_ns(self, vm_ns: int, steepest: float) -> float:
        """By how much :meth:`offset_ns` can be wrong at a time, as far as the corridor in use tells and the drift is at most ``steepest``."""
        low, high = self.used.interval(vm_ns, steepest)
        here = float(self.offset_ns(np.array([vm_ns]))[0] - self.used.d0_ns)
        return max(high - here, here - low)


@dataclass(frozen=True)
class Step:
    """A clock was set: the offset changed by ``size_s`` (between ``low_s`` and ``high_s``) at or shortly before ``at_ns`` (host's clock)."""

    at_ns: int
    size_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True, eq=False)
class Fit:
    """The offset as pieces; none if no lines describe it. ``wrong``: bounds dropped; ``bends``: borders that are no step."""

    pieces: list[Piece]
    steps: list[Step]
    bends: int
    wrong: int
    slack_ns: float

    def at_start(self, vm_ns: int) -> tuple[float, float]:
        """Interval of the offset in the first piece, in ns.

        Where the rate is known to change, it may do so inside a piece too: there, each bound also holds for other times with the rate off by as
        much as the largest such change, and the interval is the union.
        """
        piece = self.pieces[0]
        low, high = piece.interval_ns(vm_ns)
        if self.bends:
            c = piece.used
            also = c.interval(vm_ns)
            low, high = min(low, c.d0_ns + also[0]), max(high, c.d0_ns + also[1])
            change = max(abs(p.slope - q.slope) for p, q in pairwise(self.pieces))
            x = (piece.bounds.vm_ns - vm_ns).astype(np.float64)
            d = (piece.bounds.diff_ns - c.d0_ns).astype(np.float64) - piece.slope * x
            upper, spread = piece.bounds.upper, change * np.abs(x) + self.slack_ns
            low = min(low, c.d0_ns + float((d - spread)[~upper].max()))
            high = max(high, c.d0_ns + float((d + spread)[upper].min()))
        return low, high


def _longest(test: Callable[[int], bool], n: int, guess: int) -> int:
    """The largest m <= n with test(m), which holds up to there and for 1."""
    low, high = 1, min(n, guess)
    while high > low and test(high):
        low = high
        high = min(n, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        if test(middle):
            low = middle
        else:
            high = middle
    return low


def _borders(bounds: Bounds, slack_ns: float) -> tuple[list[int], list[int]] | None:
    """Where pieces begin, found from the left and from the right, each with 0 and ``len(bounds)``; None: too many."""
    n = len(bounds)

    def fits(start: int, end: int) -> bool:
        return Corridor(bounds.take(slice(start, end)), slack_ns).gap_ns >= 0

    left = [0]
    while left[-1] < n:
        start, pieces = left[-1], len(left) - 1
        if pieces >= MAX_PIECES or (pieces >= 8 and pieces * n > 4 * MAX_PIECES * start):  # or it will come to that by far
            return None
        left.append(start + _longest(lambda m, s=start: fits(s, s + m), n - start, 64))  # type: ignore[misc]
    right = [n]
    while right[-1] > 0:
        if len(right) > MAX_PIECES + 1:
            return None
        end = right[-1]
        right.append(end - _longest(lambda m, e=end: fits(e - m, e), end, 64))  # type: ignore[misc]
    return left, right[::-1]


def _coarse(bounds: Bounds) -> Ints:
    """Indices of at most about 2 x :data:`COARSE` bounds: of each group of neighbours the highest lower and the lowest upper."""
    n = len(bounds)
    if n <= 2 * COARSE:
        return np.arange(n)
    group = np.arange(n) * COARSE // n
    tightness = np.where(bounds.upper, -bounds.diff_ns, bounds.diff_ns)
    order = np.lexsort((tightness, bounds.upper, group))
    kind = (2 * group + bounds.upper)[order]
    return np.sort(order[np.append(kind[1:] != kind[:-1], True)])


def fit(bounds: Bounds, known_slope: float) -> Fit:
    """The fewest lines that obey all bounds.

    Parameters
    ----------
    bounds : in order, of both kinds.
    known_slope : half of the range of slopes up to which a slope counts as known.
    """
    whole = Corridor(bounds)
    if whole.gap_ns >= 0:
        return Fit(_pieces(bounds, [(0, len(bounds))], [0], SLACK_NS, known_slope), [], 0, 0, SLACK_NS)
    slack = float(SLACK_NS)
    while slack <= MAX_SLACK_NS:
        some = _coarse(bounds)
        found = _borders(bounds.take(some), slack)
        if found is None:
            slack *= 4
            continue
        some, found, wrong = _without_wrong(bounds, some, found, slack)
        return _assemble(bounds, some, found, wrong, slack, known_slope)
    return Fit([], [], 0, 0, slack)


def _without_wrong(
    bounds: Bounds, some: Ints, found: tuple[list[int], list[int]], slack: float
) -> tuple[Ints, tuple[list[int], list[int]], list[int]]:
    """Drop single bounds that cost two borders: the first of a piece of a few bounds between two others."""
    wrong: list[int] = []
    k = 1
    while len(wrong) < MAX_WRONG and k < len(found[0]) - 2:
        left = found[0]
        # without it, the piece before goes on well beyond the piece that it began
        around = np.delete(np.arange(left[k - 1], min(left[k + 2], left[k + 1] + 32)), left[k] - left[k - 1])
        if left[k + 1] - left[k] <= 16 and Corridor(bounds.take(some[around]), slack).gap_ns >= 0:
            less = np.delete(some, left[k])
            again = _borders(bounds.take(less), slack)
            if again is not None and len(again[0]) <= len(left) - 2:
                wrong.append(int(some[left[k]]))
                some, found = less, again
                continue
        k += 1
    return some, found, wrong


def _assemble(bounds: Bounds, some: Ints, found: tuple[list[int], list[int]], wrong: list[int], slack: float, known_slope: float) -> Fit:
    left, right = found
    ends = right if len(left) == len(right) else left
    good = np.ones(len(bounds), bool)
    good[wrong] = False
    ranges, begins = [], []
    for k in range(len(left) - 1):
        first, last = int(some[left[k]]), int(some[left[k + 1] - 1])
        for end in (ends[k + 1], left[k + 1]):  # without, then with what may belong to the next piece
            if end > left[k] and bounds.take(slice(first, int(some[end - 1]) + 1)).two_sided:
                last = int(some[end - 1])
                break
        else:
            continue  # bounded on one side only: nothing is known there
        ranges.append((first, last + 1))
        begins.append(first)
    pieces = _pieces(bounds, ranges, begins, slack, known_slope, good, some)
    steps, bends = [], 0
    for k, (before, after) in enumerate(pairwise(pieces)):
        step = _step(before, after)
        if step is not None:
            steps.append(step)
            continue
        bends += 1
        between = (bounds.vm_frame >= before.from_frame) & (bounds.vm_frame < after.from_frame)
        chosen = np.zeros(len(bounds), bool)
        chosen[some] = True
        for index in (np.flatnonzero(between & good), np.flatnonzero(between & chosen)):
            whole = Corridor(bounds.take(index), slack)
            if whole.gap_ns >= 0:
                slope, known = _slope(whole, known_slope, before.slope)
                pieces[k] = replace(before, used=whole, slope=slope, known=known)
                break
    return Fit(pieces, steps, bends, len(wrong), slack)


def _pieces(
    bounds: Bounds,
    ranges: list[tuple[int, int]],
    begins: list[int],
    slack: float,
    known_slope: float,
    good: Bools | None = None,
    some: Ints | None = None,
) -> list[Piece]:
    made: list[tuple[int, Bounds, Corridor]] = []
    for begin, (first, end) in zip(begins, ranges, strict=True):
        index = np.arange(first, end)
        part = bounds.take(index if good is None else index[good[first:end]])
        corridor = Corridor(part, slack)
        if corridor.gap_ns < 0 and some is not None:  # bounds that were not looked at while borders were found do contradict
            part = bounds.take(some[(some >= first) & (some < end)])
            corridor = Corridor(part, slack)
        if corridor.gap_ns >= 0:
            made.append((begin, part, corridor))
    if not made:
        return []
    # a piece too short to tell its slope takes that of the one that tells it best
    tightest = min((c for _, _, c in made), key=lambda c: c.slopes[1] - c.slopes[0])
    general, _ = _slope(tightest, known_slope, None)
    pieces = []
    for begin, part, corridor in made:
        slope, known = _slope(corridor, known_slope, general)
        until = int(part.vm_ns.max())
        pieces.append(Piece(int(bounds.vm_ns[begin]), int(bounds.vm_frame[begin]), until, corridor, part, corridor, slope, known))
    return pieces


def _slope(corridor: Corridor, known_slope: float, general: float | None) -> tuple[float, bool]:
    """The slope to use, and whether it is known: the middle of what is possible, of that what is plausible, or the nearest to ``general``."""
    low, high = corridor.slopes
    if high - low <= 2 * known_slope:
        return (low + high) / 2, True
    if general is not None:
        return min(max(general, low), high), False
    if low <= PLAUSIBLE_SLOPE and high >= -PLAUSIBLE_SLOPE:
        return (max(low, -PLAUSIBLE_SLOPE) + min(high, PLAUSIBLE_SLOPE)) / 2, False
    return min(max(0.0, low), high), False


def _step(before: Piece, after: Piece) -> Step | None:
    """The step between two pieces; None if the offset can be the same on both sides, or nearly: then only the rate has changed.

    Lines are compared at the two moments of the host's clock between which the change must be: the last bound of the one and the first of the other.
    """
    a_ns, b_ns = int(before.bounds.vm_ns[-1]), after.from_ns
    apart = int((b_ns - after.bounds.diff_ns[0]) - (a_ns - before.bounds.diff_ns[-1]))  # by the host's clock
    base = after.corridor.d0_ns - before.corridor.d0_ns
    sizes = []
    for old_ns, new_ns in ((a_ns, b_ns - apart), (a_ns + apart, b_ns)):
        old, new = before.corridor.interval(old_ns), after.corridor.interval(new_ns)
        sizes.append((base + new[0] - old[1], base + new[1] - old[0]))
    slewed = PLAUSIBLE_SLOPE * abs(apart)  # so much can have come of another rate in between
    if not (all(low > slewed for low, _ in sizes) or all(high < -slewed for _, high in sizes)):
        return None
    low, high = min(s[0] for s in sizes), max(s[1] for s in sizes)
    size = int(after.offset_ns(np.array([b_ns]))[0] - before.offset_ns(np.array([a_ns + apart]))[0])
    # by the host's clock, at the latest: a packet that the host sent before the step may be the first that the VM saw after it
    return Step(int(b_ns - after.interval_ns(b_ns)[0]), size / 1e9, low / 1e9, high / 1e9)
