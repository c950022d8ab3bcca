"""Limits over time: found where a provider has one, with its numbers, and not where what is open decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import ACCEPTED, HOST, REJECTED, UNKNOWN, UNLABELLED, VM, Situation
from netlens.lenses.refused import limit, over_time, weighing
from netlens.lenses.refused.limiters import all_limiters, token_bucket
from tests.bench.situations import draw
from tests.lenses.refused.made import situation

Decide = Callable[[str, float, int], bool]  # (side, time, open now) -> accepted


def sliding(limit: int, window_s: float, *, together: bool = False) -> Decide:
    taken: dict[str, deque[float]] = {}

    def decide(side: str, now: float, _: int) -> bool:
        mine = taken.setdefault("all" if together else side, deque())
        while mine and mine[0] <= now - window_s:
            mine.popleft()
        if len(mine) >= limit:
            return False
        mine.append(now)
        return True

    return decide


def fixed(limit: int, window_s: float, edge_s: float) -> Decide:
    taken: dict[tuple[str, int], int] = {}

    def decide(side: str, now: float, _: int) -> bool:
        key = (side, int((now - edge_s) // window_s))
        if taken.get(key, 0) >= limit:
            return False
        taken[key] = taken.get(key, 0) + 1
        return True

    return decide


def bucket(burst: int, refill_s: float) -> Decide:
    state: dict[str, tuple[float, float]] = {}

    def decide(side: str, now: float, _: int) -> bool:
        tokens, before = state.get(side, (float(burst), now))
        tokens = min(float(burst), tokens + (now - before) / refill_s)
        state[side] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    return decide


def concurrency(limit: int) -> Decide:
    return lambda _, __, open_now: open_now < limit


def played(decide: Decide, *, seed: int, seconds: float, rates: dict[str, float], lasts: tuple[float, float] = (0.3, 3.0)) -> Situation:
    """Programs that send requests in bursts with pauses, try a refused one again once, and a provider that decides; each request on a session of
    its own."""
    rng = np.random.default_rng(seed)
    sends: list[tuple[float, str]] = []
    for side, rate in rates.items():
        now = 0.5
        while now < seconds:
            for _ in range(int(rng.integers(1, 7))):
                sends.append((now, side))
                now += float(rng.exponential(0.15))
            now += float(rng.exponential(6 / rate))
    sends.sort()
    open_until: list[tuple[float, str]] = []
    rows: list[tuple[str, int, float, float, int]] = []
    again: list[tuple[float, str]] = []
    while sends or again:
        source = sends if sends and (not again or sends[0] <= again[0]) else again
        now, side = source.pop(0)
        open_until = [(end, whose) for end, whose in open_until if end > now]
        accepted = decide(side, now, sum(whose == side for _, whose in open_until))
        end = now + (float(rng.uniform(*lasts)) if accepted else 0.04)
        if accepted:
            open_until.append((end, side))
        elif source is sends:
            again.append((now + float(rng.uniform(1.5, 2.5)), side))
            again.sort()
        rows.append((side, len(rows), now, end, ACCEPTED if accepted else REJECTED))
    return situation(rows, uncertain_ns=2_000_000)


def judged(made: Situation) -> tuple[set[str], dict[str, object]]:
    weighed = weighing.weigh(made)
    return {v.id for v in weighed.verdicts if v.verdict == "supported"}, weighed.limiter or {}


@pytest.mark.parametrize(
    ("decide", "cause", "value"),
    [(lambda: sliding(14, 15.0), "own-rate", 14), (lambda: sliding(20, 15.0, together=True), "same-nat-ip", 20)],
    ids=["each side", "together"],
)
def test_a_window_that_was_partly_used_up_when_the_capture_began(decide: Callable[[], Decide], cause: str, value: int) -> None:
    """What was sent before is to blame for the first refusals, and they say nothing; before, all of them spoke for the provider."""
    whole = played(decide(), seed=4, seconds=100.0, rates={"vm": 2.2, "host": 0.4})
    begins = int(whole.requests.start_ns.min()) + 50_000_000_000
    made = replace(whole, requests=whole.requests.take(np.flatnonzero(whole.requests.start_ns >= begins)), midway_ns=begins)
    first = made.requests.rejected[made.requests.start_ns < begins + 15_000_000_000]
    assert (first == REJECTED).sum() > 3
    supported, limiter = judged(made)
    assert supported == {cause}
    assert (limiter["kind"], limiter["value"], limiter["window_s"]) == ("rate", value, 15.0)


@pytest.mark.parametrize("added", [True, False], ids=["opened by a relay", "opened by the program"])
def test_a_connection_for_each_request_may_be_what_is_counted(added: bool) -> None:
    """The program keeps its connection and a relay opens one for each request: by a limit on new connections the same ones are refused."""
    made = played(sliding(14, 15.0), seed=4, seconds=100.0, rates={"vm": 2.2})
    made = replace(made, requests=replace(made.requests, added=np.arange(len(made.requests)) >= (1 if added else len(made.requests))))
    told = {v.id: v for v in weighing.weigh(made).verdicts}
    if not added:
        assert (told["own-rate"].verdict, told["multiplexing"].verdict) == ("supported", "refuted")
        return
    assert told["own-rate"].verdict == told["multiplexing"].verdict == "undecided"
    assert told["own-rate"].needs == told["multiplexing"].needs
    assert "for the 1 that programs opened" in str(told["own-rate"].needs)


@pytest.mark.parametrize("unasked", [True, False], ids=["perhaps a relay's own", "a program's"])
def test_what_others_send_may_be_a_relays_own(unasked: bool) -> None:
    made = played(sliding(20, 15.0, together=True), seed=4, seconds=100.0, rates={"vm": 2.2, "host": 2.0})
    made.facts["unasked"] = int((made.sessions.side == 1).sum()) if unasked else 0
    told = {v.id: v for v in weighing.weigh(made).verdicts}
    if not unasked:
        assert (told["same-nat-ip"].verdict, told["multiplexing"].verdict) == ("supported", "refuted")
        return
    assert told["same-nat-ip"].verdict == told["multiplexing"].verdict == "undecided"
    assert "health checks off" in str(told["multiplexing"].needs)


def sized(decide: Callable[[float, int, float, list[float]], bool], *, seed: int, hold_s: float = 0.0) -> Situation:
    """Requests of one program with sizes, each tried again once; ``decide(now, bytes, open now, ends)``."""
    rng = np.random.default_rng(seed)
    sends: list[tuple[float, int, bool]] = []
    now = 0.5
    while now < 240:
        for _ in range(int(rng.integers(1, 7))):
            sends.append((now, int(10_000 * rng.lognormal()), True))
            now += float(rng.exponential(0.15))
        now += float(rng.exponential(1.5))
    rows, sizes = [], []
    held: list[float] = []
    while sends:
        at, size, fresh = sends.pop(0)
        held = [end for end in held if end > at]
        accepted = decide(at, size, len(held), held)
        end = at + (float(rng.uniform(0.3, 3.0)) if accepted else 0.04)
        if accepted:
            held.append(end + hold_s)
        elif fresh:
            sends.append((at + float(rng.uniform(1.5, 2.5)), size, False))
            sends.sort()
        rows.append(("vm", len(rows), at, end, ACCEPTED if accepted else REJECTED))
        sizes.append(size)
    made = situation(rows, uncertain_ns=2_000_000)
    return replace(made, requests=replace(made.requests, sent_bytes=np.array(sizes, np.int64)))


SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_on_bytes_is_found_with_its_number(seed: int) -> None:
    taken: list[tuple[float, int]] = []

    def decide(now: float, size: int, *_: object) -> bool:
        taken[:] = [each for each in taken if each[0] > now - 10]
        if sum(each[1] for each in taken) + size > 80_000:
            return False
        taken.append((now, size))
        return True

    supported, found = judged(sized(decide, seed=seed))
    assert supported == {"own-rate"}
    assert (found["kind"], found["unit"]) == ("volume", "bytes")
    assert found["value"] == pytest.approx(80_000, rel=0.05)
    assert found["window_s"] == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_headers_that_are_not_counted_and_room_for_oneself_are_found(seed: int) -> None:
    """A limit on the bytes of bodies, reached only by what was sent before, in windows by the clock."""
    window, used = 0.0, 0

    def decide(now: float, size: int, *_: object) -> bool:
        nonlocal window, used
        if now // 30 != window:
            window, used = now // 30, 0
        accepted = used < 150_000
        used += (size - 400) * accepted
        return accepted

    supported, found = judged(sized(decide, seed=seed))
    assert supported == {"own-rate"}
    assert (found["kind"], found["window"], found["window_s"]) == ("volume", "fixed", 30.0)
    assert found["value"] == pytest.approx(150_000, rel=0.05)


def test_unlabelled_requests_that_are_answered_like_refusals_take_nothing() -> None:
    made = played(sliding(10, 10.0), seed=1, seconds=300, rates={"vm": 3})
    known = made.requests.rejected.copy()
    refused = np.flatnonzero(known == REJECTED)
    known[refused[::2]] = UNLABELLED
    supported, found = judged(replace(made, requests=replace(made.requests, rejected=known)))
    assert supported == {"own-rate"}
    assert found["value"] == 10


@pytest.mark.parametrize("seed", SEEDS)
def test_attempts_may_count_instead_of_what_was_accepted(seed: int) -> None:
    sent: list[float] = []

    def decide(now: float, *_: object) -> bool:
        sent[:] = [each for each in sent if each > now - 30]
        sent.append(now)
        return len(sent) <= 30

    supported, found = judged(sized(decide, seed=seed))
    assert supported <= {"own-rate"}
    if found:
        assert (found["kind"], found["window"]) == ("rate", "sliding")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("hold_s", [1.0, 5.0])
def test_places_given_back_late_are_not_called_the_providers_whim(seed: int, hold_s: float) -> None:
    supported, _ = judged(sized(lambda _, __, held, ___: held < 2, seed=seed, hold_s=hold_s))
    assert supported <= {"own-concurrency", "keep-alive"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("limit", "window_s"), [(20, 60.0), (10, 10.0), (8, 30.0)])
def test_a_sliding_window_is_found_with_its_numbers(seed: int, limit: int, window_s: float) -> None:
    supported, found = judged(played(sliding(limit, window_s), seed=seed, seconds=300, rates={"vm": 3}))
    assert supported == {"own-rate"}
    assert (found["kind"], found["value"]) == ("rate", limit)
    assert found["window_s"] == pytest.approx(window_s, rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("burst", "refill_s", "rate"), [(5, 2.0, 4), (10, 1.0, 9), (4, 6.0, 4)])
def test_a_bucket_is_found_with_burst_and_refill(seed: int, burst: int, refill_s: float, rate: float) -> None:
    supported, found = judged(played(bucket(burst, refill_s), seed=seed, seconds=300, rates={"vm": rate}))
    assert supported == {"own-rate"}
    assert (found["window"], found["burst"]) == ("bucket", burst)
    assert found["refill_s"] == pytest.approx(refill_s, rel=0.1)


@pytest.mark.parametrize(
    "decide", [sliding(10, 10.0), fixed(20, 20.0, 3.3), bucket(5, 0.73)], ids=["sliding window", "fixed window", "token bucket"]
)
def test_a_long_recording_is_searched_in_part_and_judged_as_a_whole(decide: Decide, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small error of the refill adds up over what was not searched."""
    for name, value in (("MANY", 200), ("REACHED", 30), ("MOST", 300)):
        monkeypatch.setattr(over_time, name, value)
    made = played(decide, seed=2, seconds=900, rates={"vm": 4})
    assert len(made.requests) > 1_500
    supported, found = judged(made)
    assert supported == {"own-rate"}
    assert found["auc"] == 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fixed_window_is_found_whatever_its_edge(seed: int) -> None:
    supported, found = judged(played(fixed(25, 60.0, 17.3), seed=seed, seconds=400, rates={"vm": 4}))
    assert supported == {"own-rate"}
    assert (found["kind"], found["window_s"]) == ("rate", 60.0)
    assert found["value"] == pytest.approx(25, rel=0.1)


def test_an_edge_between_two_requests_is_found_where_other_requests_tell() -> None:
    """Recorded in the laboratory: no refusal comes shortly before the edge at 12.3 of 20 s, and what was accepted right behind one comes late."""
    told = [
        "12.44 12.44 12.44 12.45 12.49 13.33 13.46 13.68 14.09 14.25 14.57x 15.29x 15.71x 16.58x 17.29x 17.71x 20.58x 21.29x 21.72x 28.58x 29.29x 29.72x",
        "44.59 45.29 45.68 45.72 45.73 46.68 47.38 47.85 47.9 48.33 48.44x 48.76x 49.02x 49.77x 50.44x 50.76x 51.03x 51.78x",
        "54.44 54.77 55.03 55.42 55.78 56.25 56.92 57.99 58.13 58.33 58.91x 58.97x 59.35x 59.71x 60.92x 60.97x 61.35x 61.71x 64.92x 65.35x 65.71x",
        "72.92 72.98 73.35 73.72 73.76 74.62 74.96 76.05 76.1 76.12 76.13x 76.85x 77.15x 77.78x 82.13x 82.85x 83.16x 83.78x 90.14x 90.86x 91.16x",
    ]
    rows = []
    for k, text in enumerate(" ".join(told).split()):
        at = float(text.rstrip("x"))
        rows.append(("vm", k, at, at + (0.04 if text.endswith("x") else 0.5), REJECTED if text.endswith("x") else ACCEPTED))
    supported, found = judged(situation(rows, uncertain_ns=2_000_000))
    assert supported == {"own-rate"}
    assert (found["window"], found["window_s"], found["value"]) == ("fixed", 20.0, 10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_edge_of_windows_is_found_though_other_refusals_lie_about(seed: int) -> None:
    """An account each, and an overload of another class: what was accepted right after that says nothing of an edge."""
    rng = np.random.default_rng(seed)
    window = fixed(2, 10.0, 4.8)
    overloaded: list[float] = []

    def decide(side: str, now: float, open_now: int) -> bool:
        if now % 20 < 7 and rng.random() < 0.7:
            overloaded.append(now)
            return False
        return window(side, now, open_now)

    made = played(decide, seed=seed, seconds=300, rates={"vm": 9, "host": 9})
    known = made.requests.rejected.copy()
    known[np.isin(np.round(made.requests.start_ns / 1e9, 4), np.round(overloaded, 4))] = UNLABELLED
    supported, found = judged(replace(made, requests=replace(made.requests, rejected=known)))
    assert supported == {"own-rate"}
    assert (found["window"], found["window_s"], found["value"], found["scope"]) == ("fixed", 10.0, 2, "party")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_that_both_sides_fill_together_is_the_shared_address(seed: int) -> None:
    made = played(sliding(24, 60.0, together=True), seed=seed, seconds=600, rates={"vm": 0.4, "host": 0.4})
    supported, found = judged(made)
    assert supported == {"same-nat-ip"}
    assert (found["scope"], found["value"]) == ("egress", 24)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_window_for_both_that_each_side_exceeds_by_itself_own_rate_is_not_refuted(seed: int) -> None:
    """What is accepted in place of a refusal takes of the limit, too: without the other side most would be refused all the same."""
    made = played(sliding(24, 60.0, together=True), seed=seed, seconds=300, rates={"vm": 1.5, "host": 3})
    found = weighing.weigh(made)
    verdicts = {v.id: v for v in found.verdicts}
    assert verdicts["own-rate"].verdict != "refuted"
    assert verdicts["same-nat-ip"].verdict == "undecided"
    alone = found.weighing.alone(found.weighing.by_time[0])
    at, by_itself = int(alone.at.sum()), sum(_refused_alone(made, side, 24, 60.0) for side in (VM, HOST))
    assert by_itself >= 0.8 * at  # with all retries, which are fewer where more is accepted
    assert alone.least <= alone.most <= 0.5 * at
    assert found.limiter is not None
    assert (found.limiter["scope"], found.limiter["value"]) == ("egress", 24)


def _refused_alone(made: Situation, side: int, limit: int, window_s: float) -> int:
    """How many of a side's requests a window refuses if nobody else sends any."""
    taken: list[int] = []
    out = 0
    for now in made.requests.start_ns[made.requests.side == side].tolist():
        if sum(now - at < window_s * 1e9 for at in taken) < limit:
            taken.append(now)
        else:
            out += 1
    return out


def test_refusals_of_an_unknown_side_are_not_called_its_own() -> None:
    """Half of the requests are nobody's in particular: together they reach the limit, whoever sent them."""
    made = played(sliding(24, 60.0, together=True), seed=1, seconds=300, rates={"vm": 1.5, "host": 1.5})
    r = made.requests
    early = r.start_ns < np.percentile(r.start_ns, 55)
    supported, _ = judged(replace(made, requests=replace(r, side=np.where(early, UNKNOWN, r.side).astype(np.int8))))
    assert supported <= {"same-nat-ip"}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [2, 4])
def test_what_is_open_is_not_taken_for_a_limit_over_time(seed: int, limit: int) -> None:
    supported, found = judged(played(concurrency(limit), seed=seed, seconds=200, rates={"vm": 4}))
    assert supported == {"own-concurrency"}
    assert (found["kind"], found["value"]) == ("concurrency", limit)


@pytest.mark.parametrize("seed", range(8))
def test_answers_that_all_take_equally_long_leave_the_kind_open(seed: int) -> None:
    """So many open, each for two seconds, is so many accepted in two seconds: nothing may be claimed about which it is."""
    made = played(concurrency(3), seed=seed, seconds=200, rates={"vm": 4}, lasts=(2.0, 2.0001))
    weighed = weighing.weigh(made)
    assert weighed.weighing.kind in ("either", "concurrency")
    assert "own-rate" not in {v.id for v in weighed.verdicts if v.verdict == "supported"}
    if weighed.weighing.kind == "either":
        assert all("explain the refusals equally well" in (v.needs or "") for v in weighed.verdicts if v.verdict == "undecided")


@pytest.mark.parametrize(("seed", "hidden"), [(0, 20), (1, 20), (2, 20), (6, 35), (7, 35)])
def test_a_window_is_no_place_that_is_given_back_half_a_minute_late(seed: int, hidden: int) -> None:
    """Where the VM's capture begins late, nobody knows whose the first requests were; that says nothing of what kind the limit is."""
    made = played(sliding(12, 30.0), seed=seed, seconds=120, rates={"vm": 1.2, "host": 1.0}, lasts=(0.3, 0.9))
    r = made.requests
    early = r.start_ns < np.percentile(r.start_ns, hidden)
    supported, found = judged(replace(made, requests=replace(r, side=np.where(early, UNKNOWN, r.side).astype(np.int8))))
    assert supported <= {"own-rate"}
    assert found.get("kind", "rate") == "rate"


@pytest.mark.parametrize(("limit", "window_s", "rate", "seed"), [(12, 30.0, 0.7, 5), (8, 20.0, 0.8, 0)])
def test_nor_does_such_a_place_make_a_window_of_each_side_less_likely(limit: int, window_s: float, rate: float, seed: int) -> None:
    supported, found = judged(played(sliding(limit, window_s), seed=seed, seconds=120, rates={"vm": rate, "host": rate}))
    assert supported == {"own-rate"}
    assert (found["value"], found["scope"]) == (limit, "party")


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_no_limit_over_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    supported, found = judged(played(lambda *_: bool(rng.random() > 0.2), seed=seed, seconds=200, rates={"vm": 4}))
    assert supported <= {"provider"}
    assert found.get("kind", "overload") == "overload"


def test_with_fewer_than_five_refusals_nothing_is_claimed() -> None:
    rows = [("vm", k, float(k), k + 0.5, REJECTED if k in (10, 11, 30) else ACCEPTED) for k in range(40)]
    assert judged(situation(rows)) == (set(), {})


@pytest.mark.parametrize("limiter", all_limiters(), ids=lambda each: each.ID)
def test_a_limiter_is_complete_and_scores_what_came_before_only(limiter: object) -> None:
    starts = np.cumsum(np.full(50, 700_000_000, np.int64))
    taken = np.ones(50)
    for parameter in limiter.parameters(starts, taken):  # type: ignore[attr-defined]
        for score in limiter.scores(starts, taken, parameter):  # type: ignore[attr-defined]
            assert score.shape == (50,)
            assert score[0] == 0
            assert (score >= 0).all()
        later = taken.copy()
        later[30:] = 0
        if limiter.WINDOW != "fixed":  # type: ignore[attr-defined]  # whose edges are taken from the labels
            both = (limiter.scores(starts, each, parameter) for each in (taken, later))  # type: ignore[attr-defined]
            for score, changed in zip(*both, strict=True):
                assert (changed[:30] == score[:30]).all()
    assert limiter.described(60.0, 5)["window"] == limiter.WINDOW  # type: ignore[attr-defined]
    assert "Claim:" in limiter.__doc__  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(5))
def test_a_bucket_that_was_in_use_before_the_recording(seed: int) -> None:
    whole = played(bucket(5, 2.0), seed=seed, seconds=160, rates={"vm": 2.0})
    r = whole.requests
    first = int(np.flatnonzero(r.rejected[20:] == REJECTED)[0]) + 20  # it begins in the midst of refusals
    kept = replace(r, **{name: getattr(r, name)[first:] for name in r.__dataclass_fields__})
    found = weighing.weigh(replace(whole, requests=kept), 199)
    told = found.limiter
    assert found.cause == "own-rate"
    assert told is not None
    assert (told["kind"], told["burst"]) == ("rate", 5)
    assert told["refill_s"] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(("limit", "window_s"), [(8, 6.0), (10, 12.0), (25, 45.0)])
def test_windows_of_unusual_lengths_are_found_where_the_usual_ones_explain_nothing(limit: int, window_s: float) -> None:
    for seed in SEEDS:
        supported, limiter = judged(played(fixed(limit, window_s, edge_s=2.3), seed=seed, seconds=240, rates={"vm": 5.0}))
        assert supported == {"own-rate"}
        assert (limiter["kind"], limiter["value"], limiter["window_s"], limiter["window"]) == ("rate", limit, window_s, "fixed")


def test_a_quota_that_each_side_used_up_once_is_no_limit_over_time() -> None:
    """Nothing was accepted again: the next window would have, and a quota would not. Where one side goes on for a while, it is no outage."""
    for seed in SEEDS:
        supported, limiter = judged(played(sliding(30, 1e9), seed=seed, seconds=120, rates={"vm": 2.0, "host": 2.0}))
        assert supported <= {"own-rate"}
        assert not limiter


def test_where_all_is_refused_from_a_moment_on_neither_chance_nor_a_window_is_claimed() -> None:
    """An outage, a quota, or what counts attempts: nothing that was captured tells them apart, unless one side goes on for a while."""
    for used in ({"vm": 25}, {"vm": 12, "host": 14}):
        left = dict(used)

        def decide(side: str, _: float, __: int, left: dict[str, int] = left) -> bool:
            left[side] = left.get(side, 10_000) - 1
            return left[side] >= 0

        made = played(decide, seed=3, seconds=120, rates=dict.fromkeys(used, 2.0))
        weighed = weighing.weigh(made)
        assert weighed.weighing.from_a_moment_on
        assert weighed.limiter is None
        shut_out = weighed.weighing.shut_out is not None
        assert shut_out == (len(used) == 2)
        assert [v.id for v in weighed.verdicts if v.verdict == "supported"] == ["own-rate"] * shut_out
        assert [v.verdict for v in weighed.verdicts if v.id == "provider"] == ["undecided"]
        named = replace(made, requests=replace(made.requests, refusal_class=np.where(made.requests.rejected == REJECTED, logs.QUOTA, "")))
        assert {v.id for v in weighing.weigh(named).verdicts if v.verdict == "supported"} == {"own-rate"}


@pytest.mark.parametrize("shared", [True, False], ids=["one quota", "one each"])
def test_a_quota_that_is_used_up_for_both_sides_at_once_may_be_one(shared: bool) -> None:
    left = {"vm": 20, "host": 45}

    def decide(side: str, now: float, _: int) -> bool:
        left["vm" if shared else side] -= 1
        return left["vm" if shared else side] >= 0

    made = played(decide, seed=3, seconds=120, rates={"vm": 2.0, "host": 2.0})
    named = replace(made, requests=replace(made.requests, refusal_class=np.where(made.requests.rejected == REJECTED, logs.QUOTA, "")))
    found = weighing.weigh(named)
    told = {v.id: v for v in found.verdicts}
    limiter = found.limiter
    assert limiter is not None
    assert (limiter["kind"], limiter["value"]) == ("quota", None)  # what was used of it before is not seen
    assert limiter["low"] == 20 if shared else limiter["low"] >= 20
    assert told["own-rate"].verdict == ("undecided" if shared else "supported")
    assert told["same-nat-ip"].verdict == "undecided"
    assert ("one key or plan" in str(told["own-rate"].needs)) is shared


def test_quota_is_what_some_providers_call_a_limit_by_the_minute() -> None:
    made = played(sliding(10, 20.0), seed=1, seconds=240, rates={"vm": 5.0})
    said = replace(made, requests=replace(made.requests, refusal_class=np.where(made.requests.rejected == REJECTED, logs.QUOTA, "")))
    supported, limiter = judged(said)
    assert supported == {"own-rate"}
    assert (limiter["kind"], limiter["value"], limiter["window_s"]) == ("rate", 10, 20.0)


def test_no_window_and_no_bucket_is_shorter_than_a_second() -> None:
    """What comes nearer to each other than that is in progress together."""
    for seed in SEEDS:
        made = played(concurrency(2), seed=seed, seconds=60, rates={"vm": 3.0})
        found = over_time.fits(made, np.ones(len(made.requests), bool))
        spans = [f.value * f.parameter_s if f.limiter.WINDOW == "bucket" else f.parameter_s for f in found]
        assert min(spans) > 0.9


def test_sides_that_reach_a_limit_once_each_reach_it_once() -> None:
    hits = np.array([False, True, True, False, False, True, True])
    sides = [np.array([0, 1, 2]), np.array([3, 4, 5, 6])]
    everything = np.ones(7, bool)
    assert limit.runs_of(hits, everything, sides) == 1
    assert limit.runs_of(hits, everything, [np.arange(7)]) == 2
    assert limit.runs_of(~hits & False, everything, sides) == 0


def counter(limit: int, window_s: float, *, attempts: bool) -> Decide:
    """As HAProxy's rates and two counters in Redis do it: this window, and of the one before what a window that slides would still reach."""
    taken: dict[tuple[str, int], int] = {}

    def decide(side: str, now: float, _: int) -> bool:
        number, part = divmod(now, window_s)
        past, own = taken.get((side, int(number) - 1), 0), taken.get((side, int(number)), 0)
        accepted = int(past * (1.0 - part / window_s)) + own < limit
        taken[side, int(number)] = own + (attempts or accepted)
        return accepted

    return decide


def begun(limit: int, window_s: float) -> Decide:
    """A number that expires so long after the first request."""
    window: dict[str, tuple[float, int]] = {}

    def decide(side: str, now: float, _: int) -> bool:
        since, taken = window.get(side, (-np.inf, 0))
        if now >= since + window_s:
            since, taken = now, 0
        window[side] = since, taken + 1
        return taken < limit

    return decide


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("decide", "value", "window_s"),
    [
        (lambda: counter(12, 10.0, attempts=True), 12, 10.0),
        (lambda: counter(14, 15.0, attempts=False), 14, 15.0),
        (lambda: begun(13, 12.0), 13, 12.0),
    ],
    ids=["counted attempts", "two counters", "a number that expires"],
)
def test_windows_as_counters_make_them(decide: Callable[[], Decide], value: int, window_s: float, seed: int) -> None:
    """Chance was blamed for the first kind: no window that slides, and none of a fixed length, has these refusals."""
    supported, limiter = judged(played(decide(), seed=seed, seconds=160, rates={"vm": 2.5}))
    assert supported == {"own-rate"}
    assert limiter["window_s"] == pytest.approx(window_s, rel=0.2)
    assert limiter["value"] == pytest.approx(value, abs=1)


def test_chance_is_not_told_against_the_providers_word() -> None:
    """Somebody elsewhere may have the same key, or tokens of answers may count: neither is seen, and neither is a whim."""
    rng = np.random.default_rng(3)
    made = played(lambda *_: bool(rng.random() < 0.7), seed=3, seconds=200, rates={"vm": 2.0})
    r = made.requests
    assert judged(made)[0] == {"provider"}
    told = replace(made, requests=replace(r, refusal_class=np.where(r.rejected == REJECTED, logs.RATE, "").astype(object)))
    verdicts = weighing.weigh(told).verdicts
    assert not [v for v in verdicts if v.verdict == "supported"]
    assert {v.id: v.verdict for v in verdicts if v.id in ("own-rate", "provider")} == {"own-rate": "undecided", "provider": "undecided"}
    assert any("who else uses this key" in (v.needs or "") for v in verdicts)


def with_others_of_the_same_key(others: int, seed: int, *, limit: int = 25, window_s: float = 15.0, seconds: float = 70.0) -> Situation:
    """One program beside so many others that no capture shows, all of which ask one thing at a time and fill one window; the provider says so."""
    rng, taken, rows = np.random.default_rng(seed), deque[float](), []
    due = [[float(at), 1 + k] for k, at in enumerate(rng.uniform(0, 1, others))] + [[0.2, 0]]
    while (first := min(due))[0] <= seconds:
        now = first[0]
        while taken and taken[0] <= now - window_s:
            taken.popleft()
        accepted = len(taken) < limit
        taken.extend([now] * accepted)
        lasts = float(rng.uniform(1.2, 3.2)) if accepted else 0.01
        if not first[1]:
            rows.append(("vm", 0, now, now + lasts, ACCEPTED if accepted else REJECTED))
        first[0] = now + lasts + (float(rng.uniform(0.1, 0.8 if first[1] else 2.0)) if accepted else 1.0)
    made = situation(rows, uncertain_ns=2_000_000)
    refused = made.requests.rejected == REJECTED
    return replace(made, requests=replace(made.requests, refusal_class=np.where(refused, logs.RATE, "").astype(object)))


@pytest.mark.parametrize("seed", range(12))
def test_who_fills_a_window_together_with_others_of_the_same_key_is_not_blamed_alone(seed: int) -> None:
    """Requests are refused after one or two in the window, and accepted after more at other times. Before, the provider's word of a rate was enough in five."""
    made = with_others_of_the_same_key(6, seed)
    assert (made.requests.rejected == REJECTED).sum() >= 5
    verdicts = weighing.weigh(made).verdicts
    assert not [v.id for v in verdicts if v.verdict == "supported"]
    assert any("who else uses this key" in (v.needs or "") for v in verdicts)


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_retries_does_not_hide_what_a_window_lets_through(seed: int) -> None:
    """Others of the same key fill a window of a minute, of which five to seven requests are left to this program, and one in the first. Beyond five, some
    are accepted: hardly 1 % of all attempts, but a tenth of what was accepted."""
    rng, rows, now = np.random.default_rng(seed), list[tuple[str, int, float, float, int]](), 40.0
    for minute, left in enumerate((1, 5, 6, 5, 7, 5, 6)):
        now = max(now, 60.0 * minute)
        while now < 60.0 * (minute + 1):
            accepted = left > 0
            left -= accepted
            end = now + (float(rng.uniform(0.5, 2.0)) if accepted else 0.05)
            rows.append(("vm", 0, now, end, ACCEPTED if accepted else REJECTED))
            now = end + (0.1 if accepted else float(rng.uniform(0.3, 0.5)))
    assert weighing.weigh(replace(situation(rows), capture_ns=(40_000_000_000, 420_000_000_000))).cause is None


def begun_late(decide: Decide, seed: int, *, midway: bool) -> Situation:
    """A recording that begins when requests were sent already; ``midway``: over connections that are open then."""
    whole = played(decide, seed=seed, seconds=192.0, rates={"vm": 2.2})
    begins = int(whole.requests.start_ns.min()) + 20_000_000_000
    kept = whole.requests.take(np.flatnonzero(whole.requests.start_ns >= begins))
    return replace(whole, requests=kept, capture_ns=(begins, whole.capture_ns[1]), midway_ns=begins if midway else None)


@pytest.mark.parametrize("midway", [True, False], ids=["open connections", "none"])
@pytest.mark.parametrize(("value", "edge_s"), [(12, 7.0), (20, 33.0)])
@pytest.mark.parametrize("seed", range(3))
def test_a_fixed_window_of_which_the_beginning_was_not_captured(seed: int, value: int, edge_s: float, midway: bool) -> None:
    """Most is refused, in two or three stretches. Before, bursts of an overload explained these, and the provider was blamed."""
    supported, limiter = judged(begun_late(fixed(value, 60.0, edge_s), seed, midway=midway))
    assert supported == {"own-rate"}
    assert (limiter["value"], limiter["window"], limiter["window_s"]) == (value, "fixed", 60.0)


@pytest.mark.parametrize("seed", range(3))
def test_no_window_reaches_back_over_a_time_that_was_captured(seed: int) -> None:
    """The captures began ten minutes before the first request: what was sent before it is known, and was nothing."""
    made = begun_late(fixed(20, 60.0, 33.0), seed, midway=False)
    assert weighing.weigh(made).by_time[0].begun
    earlier = replace(made, capture_ns=(int(made.requests.start_ns[0]) - 600_000_000_000, made.capture_ns[1]))
    found = weighing.weigh(earlier)
    assert not any(fit.begun for fit in found.weighing.time_fits)
    assert found.cause is None


@pytest.mark.parametrize("midway", [True, False], ids=["open connections", "none"])
def test_the_evidence_accounts_for_the_refusals_of_the_first_window(midway: bool) -> None:
    """It named fewer refusals at the limit than the sentence beside it, and nothing of the rest."""
    made = begun_late(fixed(20, 60.0, 33.0), 1, midway=midway)
    found = weighing.weigh(made)
    (fit, *_), refused = found.by_time, made.requests.rejected == REJECTED
    at, early = int((refused & (fit.counts.count >= 20)).sum()), int((refused & (fit.counts.count < 20)).sum())
    share, separates = next(v for v in found.verdicts if v.id == "own-rate").evidence
    assert early
    assert f" of {at} refusals at the limit" in share.text
    assert separates.text.startswith(f"{at} of {at + early} refused requests came when ")
    assert f"{early} of the others came in the first 60 s of the recording" in separates.text


@pytest.mark.parametrize("labels", ["!...!!!!!!!!............!!!!!!!!!.!!", "!..........!!!!!!!......................!!!!!!!!!!......!"])
def test_stretches_at_the_ends_of_a_recording_are_not_left_out_of_what_is_said(labels: str) -> None:
    """Of these there are four, two of which may go on; "all refusals came in 2 stretches" was not true."""
    verdicts = weighing.weigh(situation([("vm", k, 2.0 * k, 2.0 * k + 0.3, int(c == "!")) for k, c in enumerate(labels)])).verdicts
    (needed,) = {v.needs for v in verdicts if v.id in ("own-rate", "provider")}
    assert needed is not None
    assert needed.startswith("a longer recording: refusals came in few stretches, ")


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_dense_chance_is_no_window_that_begins_with_an_accepted_request(seed: int) -> None:
    """Nearly all is refused: a window that began anew with each request that is accepted would explain any such."""
    rng = np.random.default_rng(seed)
    found = weighing.weigh(played(lambda *_: rng.random() >= 0.95, seed=seed - 1000, seconds=300, rates={"vm": 2.0}), 199)
    assert found.cause != "own-rate"


def test_a_window_that_would_reach_back_over_most_of_a_recording_is_not_believed() -> None:
    """Bursts of an overload: attempts in 313 s fit the last 26 of 211 requests, and would have begun before all others."""
    drawn = draw(2_001_082)
    assert drawn.truth.causes == {"provider"}
    assert weighing.weigh(drawn.situation).cause == "provider"


@pytest.mark.parametrize("own", [True, False], ids=["with its own bytes", "without"])
@pytest.mark.parametrize("seed", range(3))
def test_a_bucket_of_bytes_is_found_with_burst_and_refill(seed: int, own: bool) -> None:
    """As input tokens are limited: 600 bytes of each request are headers, which nobody counts."""
    level, before = 90_000.0, 0.0

    def decide(now: float, size: int, *_: object) -> bool:
        nonlocal level, before
        level, before = min(90_000.0, level + (now - before) * 9_000), now
        accepted = level >= max(size - 600, 0) if own else level > 0
        level -= max(size - 600, 0) * accepted
        return accepted

    supported, found = judged(sized(decide, seed=seed))
    assert supported == {"own-rate"}
    assert (found["kind"], found["unit"], found["window"]) == ("volume", "bytes", "bucket")
    assert found["burst"] == pytest.approx(90_000, rel=0.05)
    assert found["value"] == pytest.approx(60 * 9_000, rel=0.05)


def answered(seed: int, *, limit: int, window_s: float, streamed: bool = False) -> Situation:
    """A limit on the bytes of answers, each of which counts when it is over, or evenly while it is sent."""
    rng = np.random.default_rng(seed)
    answers: list[tuple[float, float, int]] = []

    def used(now: float) -> float:
        def until(at: float) -> float:
            parts = (
                (min(max((at - begun) / (end - begun), 0.0), 1.0) if streamed else float(end <= at)) * size for begun, end, size in answers
            )
            return sum(parts)

        return until(now) - until(now - window_s)

    rows, sizes, now = [], [], 0.5
    for _ in range(250):
        now += float(rng.exponential(1.2))
        accepted = used(now) < limit
        lasts, size = float(rng.uniform(0.5, 4.0)), int(rng.integers(500, 9_000))
        if accepted:
            answers.append((now + 0.1, now + lasts, size))
        rows.append(("vm", len(rows), now, now + (lasts if accepted else 0.04), ACCEPTED if accepted else REJECTED))
        sizes.append(size if accepted else 250)
    made = situation(rows, uncertain_ns=2_000_000)
    begun = made.requests.start_ns + np.where(made.requests.rejected == ACCEPTED, 100_000_000, 20_000_000)
    return replace(made, requests=replace(made.requests, answer_bytes=np.array(sizes, np.int64), answer_ns=begun))


@pytest.mark.parametrize("streamed", [False, True], ids=["when it is over", "as it is sent"])
@pytest.mark.parametrize("seed", range(3))
def test_a_limit_on_bytes_of_answers_is_no_whim_of_the_provider(seed: int, streamed: bool) -> None:
    made = answered(seed, limit=40_000, window_s=15.0, streamed=streamed)
    supported, found = judged(made)
    assert supported == {"own-rate"}
    assert (found["kind"], found["unit"], found["window_s"]) == ("volume", "answer bytes", pytest.approx(15.0, rel=0.1))
    assert found["value"] == pytest.approx(40_000, rel=0.1)
    unknown = replace(made, requests=replace(made.requests, answer_bytes=np.zeros(len(made.requests), np.int64)))
    assert judged(unknown)[1].get("kind") != "volume"


def slower(burst: int, refills_s: tuple[float, float], at_s: float) -> Decide:
    tokens, before = float(burst), 0.0

    def decide(_: str, now: float, __: int) -> bool:
        nonlocal tokens, before
        tokens = min(float(burst), tokens + (now - before) / refills_s[now >= at_s])
        before, accepted = now, tokens >= 1
        tokens -= accepted
        return accepted

    return decide


@pytest.mark.parametrize(("seed", "refills_s"), [(1, (1.5, 4.0)), (2, (3.0, 1.2)), (3, (1.5, 4.0))])
def test_a_bucket_that_fills_at_another_pace_from_some_time_on(seed: int, refills_s: tuple[float, float]) -> None:
    made = played(slower(5, refills_s, 70.0), seed=seed, seconds=140.0, rates={"vm": 3.0})
    supported, found = judged(made)
    assert supported == {"own-rate"}
    assert (found["kind"], found["window"], found["burst"]) == ("rate", "bucket", 5)
    assert found["refill_s"] == pytest.approx(refills_s[1], rel=0.03)
    changes = found["changes"]
    assert [each["value"] for each in changes] == pytest.approx([60 / p for p in refills_s], rel=0.03)  # type: ignore[union-attr]
    assert abs((changes[1]["at_ns"] - made.capture_ns[0]) / 1e9 - 70.0) < 6.0  # type: ignore[index]


def test_a_bucket_at_another_pace_is_a_plain_one_on_its_own_clock() -> None:
    refills = ((0, 1.0), (10_000_000_000, 2.0))
    at = np.array([0, 4, 10, 12, 20], np.int64) * 1_000_000_000
    assert (over_time.paced(at, refills) / 1e9).tolist() == [0, 4, 10, 11, 15]
    assert over_time.paced(at, ()) is at
    meter = over_time._Paced(token_bucket.decide(1.0, 1, 0), refills)
    meter.take(9_000_000_000, 1.0)
    assert meter.free_at(9_000_000_000, 1.0) == pytest.approx(10_000_000_000, abs=10)
    meter.take(11_000_000_000, 1.0)
    assert meter.free_at(11_000_000_000, 1.0) == pytest.approx(13_000_000_000, abs=10)


def over_one_connection(seed: int, limit: int = 9, window_s: float = 10.0) -> Situation:
    """Each of three connections upstream takes so many requests in a window, whoever asks by it."""
    rng = np.random.default_rng(seed)
    decide, rows, now = sliding(limit, window_s), [], 0.5
    for _ in range(300):
        busy = now % 60 < 30
        now += float(rng.exponential(0.35 if busy else 1.2))
        session = int(rng.choice(3, p=[0.6, 0.3, 0.1] if now % 40 < 20 else [0.1, 0.3, 0.6]))
        accepted = decide(str(session), now, 0)
        end = now + (float(rng.uniform(0.05, 0.3)) if accepted else 0.04)
        rows.append(("vm", session, now, end, ACCEPTED if accepted else REJECTED))
    return situation(rows, uncertain_ns=2_000_000)


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_on_each_connection_is_said_where_no_other_explains(seed: int) -> None:
    made = over_one_connection(seed)
    weighed = weighing.weigh(made)
    assert weighed.cause is None
    assert any(
        "9 requests in any 10 s of one connection explain the refusals (0 exceptions in 300)" in (v.needs or "") for v in weighed.verdicts
    )


@pytest.mark.parametrize("seed", range(6))
def test_chance_is_no_volume_and_no_limit_on_a_connection(seed: int) -> None:
    """Refusals at random, in bursts, of requests and answers whose sizes are known."""
    rng = np.random.default_rng(seed)
    busy = False

    def decide(_: str, __: float, ___: int) -> bool:
        nonlocal busy
        busy = rng.random() < (0.7 if busy else 0.1)
        return not busy

    made = played(decide, seed=seed, seconds=250, rates={"vm": 3})
    r = made.requests
    sizes = [(10_000 * rng.lognormal(size=len(r))).astype(np.int64) for _ in range(2)]
    sessions = rng.integers(0, 4, len(r))
    made = replace(made, requests=replace(r, sent_bytes=sizes[0], answer_bytes=sizes[1], session=sessions))
    supported, found = judged(made)
    assert supported <= {"provider"}
    assert found.get("kind") in (None, "overload")
    assert weighing.weigh(made).weighing.by_connection is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("besides", [-300, 0, 300])
def test_the_interval_of_a_limit_on_bytes_has_what_may_be_counted_of_each_request(seed: int, besides: int) -> None:
    """Headers and records that nobody counts, and what is kept free for answers: the limit is the provider's, and what was captured are bytes on the wire."""
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    taken: deque[tuple[float, int]] = deque()

    def decide(side: str, now: float, open_now: int) -> bool:
        sizes.append(int(rng.uniform(2_000, 20_000)))
        while taken and taken[0][0] <= now - 15.0:
            taken.popleft()
        if sum(size for _, size in taken) + sizes[-1] > 100_000:
            return False
        taken.append((now, sizes[-1]))
        return True

    made = played(decide, seed=seed, seconds=300, rates={"vm": 3.0})
    found = weighing.weigh(replace(made, requests=replace(made.requests, sent_bytes=np.array(sizes) - besides)))
    told = found.limiter
    assert told is not None
    assert (told["kind"], told["unit"], told["window_s"]) == ("volume", "bytes", 15.0)
    assert told["low"] <= 100_000 <= told["high"]
    assert told["high"] - told["low"] <= 0.35 * 100_000
