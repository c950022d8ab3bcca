"""The arithmetic of clocks: whatever the delays, the true offset is inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from netlens.chains import offset
from netlens.chains.offset import Bounds, Corridor, fit
from netlens.columns import Floats, Ints

START = 1_700_000_000_000_000_000
S, MS, US = 10**9, 10**6, 10**3
KNOWN = 20e-6


@dataclass
class World:
    """True times of the bounds, the VM's clock as a function of true time (the host's is true), and the bounds that came of it."""

    true: Ints
    vm: Ints  # the VM's clock when each packet was seen there, exactly
    bounds: Bounds
    offset: Floats  # true offset at the VM's time of each


def world(
    rng: np.random.Generator, n: int, span_s: float, changes: list[tuple[float, int, float]], least: int = 0, mean: int = 50 * US
) -> World:
    """``n`` packets in both directions; ``changes``: (at what fraction of the span, jump in ns, drift from then on), the first at 0."""
    true = np.sort(rng.integers(0, int(span_s * S), n))
    upper = rng.random(n) < 0.5
    delay = (least + rng.exponential(mean, n)).astype(np.int64)
    at_vm = true + np.where(upper, delay, 0)
    at_host = true + np.where(upper, 0, delay)
    order = np.argsort(at_vm, kind="stable")
    upper, at_vm, at_host = upper[order], at_vm[order], at_host[order]
    offset = np.zeros(n)
    begins = [int(span_s * S * c[0]) for c in changes]
    for begin, (_, jump, drift), end in zip(begins, changes, [*begins[1:], None], strict=True):
        later = np.clip(at_vm - begin, 0, None if end is None else end - begin)
        offset += np.where(at_vm >= begin, jump + later * drift, 0)
    vm = at_vm + np.rint(offset).astype(np.int64)
    # both captures are written in microseconds
    shown_vm, shown_host = (START + vm) // US * US, (START + at_host) // US * US
    frames = np.arange(1, n + 1)
    return World(at_vm, START + vm, Bounds(shown_vm, shown_vm - shown_host, upper, frames, frames), offset)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    offset = draw(st.one_of(st.integers(-3 * S, 3 * S), st.integers(-100_000 * S, 100_000 * S), st.just(0)))
    drift = draw(st.floats(-5e-4, 5e-4))
    made = world(
        rng,
        draw(st.integers(2, 80)),
        draw(st.floats(0.001, 4000)),
        [(0, offset, drift)],
        mean=draw(st.sampled_from([0, 1, US, 50 * US, 50 * MS])),
    )
    assume(made.bounds.two_sided)
    return made


@given(worlds())
def test_the_true_line_is_inside(w: World) -> None:
    found = fit(w.bounds, KNOWN)
    assert len(found.pieces) == 1
    assert not found.steps
    piece = found.pieces[0]
    for k in (0, len(w.bounds) - 1):
        low, high = piece.interval_ns(int(w.bounds.vm_ns[k]))
        # the time itself is cut to a microsecond, in which a clock drifts by nothing
        assert low - 1 <= w.offset[k] <= high + 1
    low, high = found.at_start(int(w.bounds.vm_ns[0]))
    used = piece.offset_ns(w.bounds.vm_ns[:1])[0]
    assert low - 1 <= used <= high + 1
    for k in (0, len(w.bounds) - 1):
        wrong = abs(float(piece.offset_ns(w.bounds.vm_ns[k : k + 1])[0]) - w.offset[k])
        assert wrong <= piece.miss_ns(int(w.bounds.vm_ns[k]), offset.MAX_SLOPE) + 2


@given(worlds())
def test_corridor_agrees_with_a_search(w: World) -> None:
    """Slopes and interval against a look at every pair of bounds: the outermost lines touch one of each kind."""
    c = Corridor(w.bounds)
    x = (w.bounds.vm_ns - c.x0_ns).astype(float)
    d = (w.bounds.diff_ns - c.d0_ns).astype(float)
    upper = w.bounds.upper
    lx, ly, ux, uy = x[~upper], d[~upper] - offset.SLACK_NS, x[upper], d[upper] + offset.SLACK_NS
    dx = ux[None, :] - lx[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (uy[None, :] - ly[:, None]) / dx
    most = min(offset.MAX_SLOPE, slope[dx > 0].min(initial=np.inf))
    least = max(-offset.MAX_SLOPE, slope[dx < 0].max(initial=-np.inf))
    assert c.slopes == pytest.approx((least, most), rel=1e-6, abs=1e-12)
    b = np.linspace(*c.slopes, 500)
    at = int(w.bounds.vm_ns[len(w.bounds) // 2])
    floor = (ly[:, None] + b * ((at - c.x0_ns) - lx[:, None])).max(axis=0)
    ceiling = (uy[:, None] + b * ((at - c.x0_ns) - ux[:, None])).min(axis=0)
    low, high = c.interval(at)
    room = 1 + 1e-9 * abs(low)
    assert low <= floor.min() + room
    assert high >= ceiling.max() - room


@given(st.integers(0, 2**32), st.floats(0.1, 0.9), st.sampled_from([-1, 1]), st.floats(5.7, 10), st.floats(-1e-4, 1e-4))
@example(296959, 0.1, -1, 6.0, 0.0)  # the host sent the first packet before the step, the VM saw it after
def test_a_step_is_found_and_the_start_is_right(seed: int, at: float, sign: int, size: float, drift: float) -> None:
    rng = np.random.default_rng(seed)
    jump = int(sign * 10**size)
    w = world(rng, 400, 60, [(0, 3 * S, drift), (at, jump, drift)], least=10 * US)
    for begin in (at * 60 - 2, at * 60):  # without both kinds near it, a slow change of half a millisecond cannot be told from a step
        near = (w.true >= begin * S) & (w.true < (begin + 2) * S)
        assume(len(np.unique(w.bounds.upper[near])) == 2)
    found = fit(w.bounds, KNOWN)
    assert len(found.steps) == 1
    assert (found.bends, found.wrong) == (0, 0)
    step = found.steps[0]
    assert step.low_s <= jump / 1e9 <= step.high_s
    assert step.low_s <= step.size_s <= step.high_s
    assert 0 <= step.at_ns - START - at * 60 * S < 3 * S
    low, high = found.at_start(int(w.bounds.vm_ns[0]))
    assert low - 1 <= w.offset[0] <= high + 1
    for piece in found.pieces:
        least, most = piece.corridor.slopes
        assert least - 2e-8 <= drift <= most + 2e-8  # slopes are per second of the VM's clock


@given(st.integers(0, 2**32), st.floats(0.2, 0.8), st.floats(-1e-4, 1e-4), st.sampled_from([-5e-4, -5e-5, 5e-5, 5e-4]))
def test_a_change_of_rate_is_no_step(seed: int, at: float, drift: float, more: float) -> None:
    rng = np.random.default_rng(seed)
    w = world(rng, 1000, 100, [(0, -3 * S, drift), (at, 0, drift + more)], least=10 * US)
    found = fit(w.bounds, KNOWN)
    assert not found.steps
    assert found.bends == 1
    for piece, true in zip(found.pieces, (drift, drift + more), strict=True):
        least, most = piece.corridor.slopes
        assert least - 1e-6 <= true <= most + 1e-6  # slopes are per second of the VM's clock
    low, high = found.at_start(int(w.bounds.vm_ns[0]))
    assert low - 1 <= w.offset[0] <= high + 1
    converted = np.concatenate([p.offset_ns(w.bounds.vm_ns) for p in found.pieces]).reshape(2, -1)
    which = (w.bounds.vm_frame >= found.pieces[1].from_frame).astype(int)
    assert np.abs(converted[which, np.arange(len(which))] - w.offset).max() < 50 * US + 3 * S * abs(more)


@pytest.mark.parametrize("size", [200 * US, 50 * MS, 10 * S])
@pytest.mark.parametrize("upper", [False, True])
def test_one_wrong_bound_is_dropped(size: int, upper: bool) -> None:
    w = world(np.random.default_rng(5), 500, 60, [(0, S, 30e-6)], least=10 * US)
    k = int(np.flatnonzero(w.bounds.upper == upper)[100])
    w.bounds.diff_ns[k] += -size if upper else size
    found = fit(w.bounds, KNOWN)
    assert (found.wrong, len(found.pieces), found.steps) == (1, 1, [])
    low, high = found.at_start(int(w.bounds.vm_ns[0]))
    assert low - 1 <= w.offset[0] <= high + 1


def test_rate_that_wanders() -> None:
    """Temperature: no line fits, and lines still convert to within what they claim."""
    w = world(np.random.default_rng(1), 5000, 600, [(0, 0, 0)], least=5 * US, mean=20 * US)
    wander = np.rint(200 * US * np.sin(w.true / (100 * S))).astype(np.int64)
    bounds = Bounds(w.bounds.vm_ns + wander, w.bounds.diff_ns + wander, w.bounds.upper, w.bounds.vm_frame, w.bounds.host_frame)
    found = fit(bounds, KNOWN)
    assert 2 <= len(found.pieces) <= offset.MAX_PIECES
    assert not found.steps
    low, high = found.at_start(int(bounds.vm_ns[0]))
    assert low <= wander[0] <= high
    for piece, end in zip(found.pieces, [*[p.from_frame for p in found.pieces[1:]], 10**9], strict=True):
        mine = (bounds.vm_frame >= piece.from_frame) & (bounds.vm_frame < end)
        assert np.abs(piece.offset_ns(bounds.vm_ns[mine]) - wander[mine]).max() < 100 * US


def test_a_day_of_weather() -> None:
    """Five milliseconds forth and back each hour, and a third of one each five minutes: more than lines describe to the microsecond."""
    w = world(np.random.default_rng(1), 50_000, 24 * 3600, [(0, S, 0)], least=5 * US)
    hours, minutes = np.sin(w.true / (600 * S)), np.sin(w.true / (50 * S))
    wander = np.rint(5 * MS * hours + 0.3 * MS * minutes).astype(np.int64)
    bounds = Bounds(w.bounds.vm_ns + wander, w.bounds.diff_ns + wander, w.bounds.upper, w.bounds.vm_frame, w.bounds.host_frame)
    found = fit(bounds, KNOWN)
    assert 2 <= len(found.pieces) <= offset.MAX_PIECES
    assert found.slack_ns > offset.SLACK_NS
    low, high = found.at_start(int(bounds.vm_ns[0]))
    assert low <= S + wander[0] <= high


def test_bounds_that_describe_no_clock() -> None:
    rng = np.random.default_rng(1)
    n = 2000
    frames = np.arange(n)
    bounds = Bounds(START + frames * MS, rng.integers(-S, S, n), frames % 2 == 0, frames, frames)
    assert fit(bounds, KNOWN).pieces == []
    assert Corridor(bounds).gap_ns < 0


def test_two_bounds_that_contradict() -> None:
    """One of each kind and the wrong way round: no piece has both."""
    two = np.array([1, 2])
    found = fit(Bounds(START + two, np.array([10 * MS, -10 * MS]), np.array([False, True]), two, two), KNOWN)
    assert found.pieces == []


def test_slope_of_a_single_exchange_is_plausible() -> None:
    """Two packets leave any slope; the one used is none that no clock has."""
    two = np.array([1, 2])
    found = fit(Bounds(START + two * MS, np.array([S, S + 300 * US]), np.array([False, True]), two, two), KNOWN)
    piece = found.pieces[0]
    assert not piece.known
    assert piece.slope == 0
    assert piece.offset_ns(np.array([START]))[0] == S + 150 * US


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=60))
def test_hull(points: list[tuple[int, int]]) -> None:
    x, y = (np.array([p[k] for p in points], float) for k in (0, 1))
    hx, hy = offset.hull(x, y)
    if not points:
        assert len(hx) == 0
        return
    assert (np.diff(hx) > 0).all()
    assert (np.diff(np.diff(hy) / np.diff(hx)) < 0).all()
    assert (np.interp(x, hx, hy) >= y - 1e-9).all()
    assert {(a, b) for a, b in zip(hx, hy, strict=True)} <= set(points)


def test_hull_of_a_curve_that_stays() -> None:
    """No point of a parabola can be left out, and of one upside down all but two in as many rounds as it takes."""
    x = np.arange(1000.0)
    assert len(offset.hull(x, -(x**2))[0]) == 1000
    assert len(offset.hull(x, x**2)[0]) == 2
    waves = x**2 / 1e6 + np.sin(x)
    hx, hy = offset.hull(x, waves)
    assert (np.interp(x, hx, hy) >= waves - 1e-9).all()


def test_reversed_twice_is_the_same() -> None:
    w = world(np.random.default_rng(3), 50, 10, [(0, S, 1e-5)])
    back = w.bounds.reversed().reversed()
    for name in ("vm_ns", "diff_ns", "upper", "vm_frame", "host_frame"):
        assert (getattr(back, name) == getattr(w.bounds, name)).all()
