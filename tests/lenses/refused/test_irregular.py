"""Places given back late and limits that change: found with their numbers, and not where a plain rule is enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netlens.chains.situation import ACCEPTED, REJECTED, Situation
from netlens.lenses.refused.counting import models
from netlens.lenses.refused.replay import Change, Setting, replay
from netlens.lenses.refused.weighing import weigh
from netlens.report import answer
from tests.bench.situations import draw
from tests.lenses.refused.made import S, situation
from tests.lenses.refused.test_over_time import concurrency, played


@pytest.mark.parametrize("seed", [1, 4, 6, 7])
def test_given_back_late(seed: int) -> None:
    drawn = draw(seed, "given-back-late")
    found = weigh(drawn.situation).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", drawn.truth.values["value"])
    assert found["held_s"] == pytest.approx(drawn.truth.values["held_s"], rel=0.15)


def broken_off(seed: int, late_s: float) -> Situation:
    """Three programs that break off half of their answers and ask again at once; the server notices so much later than what was captured ends."""
    rng = np.random.default_rng(seed)
    begins = sorted((float(t), who) for who in range(3) for t in np.cumsum(rng.uniform(0.9, 2.6, 90)))
    held: list[float] = []
    rows: list[tuple[str, int, float, float, int]] = []
    broken = []
    for now, _ in begins:
        held = [end for end in held if end > now]
        broken.append(bool(rng.random() < 0.5) and len(held) < 2)
        rows.append(
            (
                "vm",
                len(rows),
                now,
                now + (float(rng.uniform(0.5, 2.0)) if len(held) < 2 else 0.02),
                REJECTED if len(held) >= 2 else ACCEPTED,
            )
        )
        if len(held) < 2:
            held.append(rows[-1][3] + (late_s if broken[-1] else 0.0))
    made = situation(rows, uncertain_ns=2_000_000)
    return replace(made, requests=replace(made.requests, broken_off=np.array(broken)))


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_are_broken_off_count_until_the_server_notices(seed: int) -> None:
    weighed = weigh(broken_off(seed, 0.4))
    (best, *_) = weighed.weighing.rules
    assert (best.value, best.rule.held_s, best.misses, best.false_alarms) == (2, 0.0, 0, 0)
    assert best.rule.broken_s == pytest.approx(0.4, abs=0.15)
    assert weigh(broken_off(seed, 0.0)).weighing.rules[0].rule.broken_s == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_a_server_learns_of_broken_off_answers_with_its_next_write(seed: int) -> None:
    """One program, one at a time: it breaks off, its tunnel tells the server when the next request is on its way, and the server writes a little later."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, int, float, float, int]] = []
    noticed, done, now = [], {}, 0.0
    for k in range(30):
        end = now + float(rng.uniform(4.0, 8.0))
        broken = k % 2 == 0
        writes = end + float(rng.uniform(0.02, 0.3)) if broken else end
        done[len(rows)] = end - 2.5 if broken else end
        rows.append(("vm", len(rows), now, end, ACCEPTED))
        noticed.append(writes)
        now = end + float(rng.uniform(0.01, 0.2)) if broken else end + 3.0
        if now < writes:
            rows.append(("vm", len(rows), now, now + 0.001, REJECTED))
            noticed.append(now + 0.001)
            now += 2.2
    made = situation(rows, done=done, uncertain_ns=200_000)
    r = made.requests
    known = np.array([round(at * 1e9) for at in noticed], np.int64)
    told = np.stack([np.maximum(known, r.end_ns), np.minimum(r.done_ns, r.end_ns), np.minimum(r.done_ns, r.end_ns)], axis=1)
    broken_off = (known > r.end_ns) & (r.rejected == ACCEPTED)
    weighed = weigh(replace(made, requests=replace(r, broken_off=broken_off, noticed_ns=told)))
    refused = int((r.rejected == REJECTED).sum())
    (best, *_) = weighed.weighing.rules
    assert {v.id for v in weighed.verdicts if v.verdict == "supported"} == {"keep-alive"}
    assert best.rule.by_writes
    assert (best.value, best.hits, best.misses, best.false_alarms) == (1, refused, 0, 0)


def test_a_limit_that_is_lowered() -> None:
    halves = {True: 4, False: 2}
    made = played(lambda _, now, open_now: open_now < halves[now < 200], seed=4, seconds=400, rates={"vm": 2.0}, lasts=(1.0, 4.0))
    found = weigh(made).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", 2)
    assert [each["value"] for each in found["changes"]] == [4, 2]


def test_of_a_limit_that_refused_nothing_before_it_was_lowered_only_the_least_is_known() -> None:
    now_and_then = {True: 40, False: 2}
    made = played(lambda _, now, open_now: open_now < now_and_then[now < 200], seed=4, seconds=400, rates={"vm": 2.0}, lasts=(1.0, 4.0))
    weighed = weigh(made)
    assert weighed.limiter is not None
    assert [(each["value"] == 2, each["at_least"]) for each in weighed.limiter["changes"]] == [(False, True), (True, False)]
    fit = weighed.weighing.rules[0]
    assert f"as many as the limit (at least {fit.value}, then 2) or more" in weighed.weighing.separation(fit).text


@pytest.mark.parametrize("seed", [1, 3, 4, 11])
def test_models_that_count_by_themselves(seed: int) -> None:
    drawn = draw(seed, "model-limits")
    weighed = weigh(drawn.situation)
    found = weighed.limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", drawn.truth.values["value"])
    requests = drawn.situation.requests
    refused = models(requests)[requests.rejected == REJECTED]
    limits = (drawn.setup.provider.limit, drawn.setup.provider.small_limit)
    assert found["models"] == [value if (refused == model).any() else None for model, value in enumerate(limits)]


def test_of_a_model_that_refused_none_no_limit_is_told() -> None:
    """As many small requests as were open at once are no limit; and the replay refuses none of them."""
    found = weigh(draw(4, "model-limits").situation)
    assert found.limiter is not None
    assert found.limit is not None
    assert found.limiter["models"] == [1, None]
    assert answer.limit(found).endswith("; of the small ones, to another model, none was refused")
    assert "1 or more other large requests" in found.weighing.separation(found.weighing.rules[0]).text
    setting = Setting(found.weighing.situation, found.limit)
    first = [rows[0] for rows in setting.intents.attempts]
    large = frozenset(np.flatnonzero(models(found.weighing.situation.requests)[first] == 0).tolist())
    assert replay(setting, Change(without=large)).total == 0


def test_a_plain_limit_stays_plain() -> None:
    found = weigh(played(concurrency(2), seed=5, seconds=200, rates={"vm": 2.0}, lasts=(1.0, 4.0))).limiter
    assert found is not None
    assert (found["kind"], found["value"], found["held_s"], found["changes"], found["models"]) == ("concurrency", 2, None, [], [])


def held_for(late_s: float, seed: int) -> Situation:
    """Two programs that ask for about a second at a time, where three places are given back so long after the answer; each refusal is tried again."""
    rng = np.random.default_rng(seed)
    ready = [0.5, 0.9]
    taken: list[float] = []
    rows: list[tuple[str, int, float, float, int]] = []
    while (now := min(ready)) < 60:
        taken = [until for until in taken if until > now]
        accepted = len(taken) < 3
        end = now + (float(rng.uniform(0.3, 1.3)) if accepted else 0.02)
        if accepted:
            taken.append(end + late_s)
        ready[ready.index(now)] = end + (float(rng.uniform(0.6, 5.4)) if accepted else float(rng.uniform(1.0, 1.4)))
        rows.append(("vm", len(rows), now, end, ACCEPTED if accepted else REJECTED))
    return situation(rows, uncertain_ns=2_000_000)


def test_a_place_held_for_long_is_no_window_that_leaves_more_exceptions() -> None:
    """A window of 5 s explains as much but for one request: the kind is open, and neither cause is refuted."""
    found = weigh(held_for(4.0, seed=7))
    assert found.weighing.kind == "either"
    assert {v.id: v.verdict for v in found.verdicts if v.id in ("keep-alive", "own-rate")} == {
        "keep-alive": "undecided",
        "own-rate": "undecided",
    }


def test_late_release_is_searched_for_where_nearly_all_is_refused() -> None:
    """A limit that is always reached leaves few exceptions there, all that was accepted, and tells nothing."""
    rng = np.random.default_rng(2)
    rows: list[tuple[str, int, float, float, int]] = []
    free = 0.0
    for at in np.cumsum(rng.uniform(0.1, 0.4, 1_200)).tolist():
        accepted = at >= free
        end = at + (float(rng.uniform(0.3, 0.9)) if accepted else 0.02)
        rows.append(("vm", len(rows), at, end, ACCEPTED if accepted else REJECTED))
        free = end + 9.0 if accepted else free
    sessions = [("vm", row[2] - 0.01, row[3] + 0.01) for row in rows] + [("vm", 0.0, rows[-1][3])]  # the last is idle
    best, plain, *_ = weigh(situation(rows, sessions)).weighing.inference.fits
    assert (plain.rule.unit, plain.misses, plain.false_alarms) == ("connections", 0, sum(row[4] == ACCEPTED for row in rows))
    assert plain.false_alarms <= 0.03 * len(rows)
    assert best.rule.held_s == pytest.approx(9.0, rel=0.05)


def patient(limit: int, wait_s: float, workers: int, seed: int, *, streams: bool = True) -> Situation:
    """Programs whose requests wait for a place, first come, first served, and are refused if none came free for ``wait_s``; streams begin 0.2 s later."""
    rng = np.random.default_rng(seed)
    sends = [(float(rng.uniform(0, 1)), k) for k in range(workers)]
    places: list[float] = []
    rows, answers = [], []
    while sends:
        at, worker = sends.pop(0)
        if at > 80:
            break
        places = [end for end in places if end > at]
        served = at if len(places) < limit else sorted(places)[len(places) - limit]
        if served > at + wait_s:
            answer = end = at + wait_s + float(rng.uniform(0, 0.02))
        else:
            end = served + 0.25 + float(rng.uniform(0.5, 3.0))
            answer = served + 0.2 + float(rng.uniform(0, 0.05)) if streams else end - 0.001
            places.append(end)
        rows.append(("vm", worker, at, end, REJECTED if served > at + wait_s else ACCEPTED))
        answers.append(round(answer * S))
        sends = sorted([*sends, (end + float(rng.uniform(0.1, 1.0)), worker)])
    order = sorted(range(len(rows)), key=lambda k: rows[k][2])
    made = situation([rows[k] for k in order], uncertain_ns=2_000_000)
    return replace(made, requests=replace(made.requests, answer_ns=np.array([answers[k] for k in order], np.int64)))


@pytest.mark.parametrize("seed", range(4))
def test_requests_that_wait_for_a_place_and_are_refused_if_none_comes_free(seed: int) -> None:
    """What is open when they come tells nothing, as others wait, too: it was called chance."""
    made = patient(2, 1.5, 5, seed)
    assert (made.requests.rejected == REJECTED).sum() > 10
    found = weigh(made, 199)
    assert found.cause == "own-concurrency"
    assert found.limit is not None
    assert (found.limit.value, found.limit.low, found.limit.high) == (2, 2, 2)
    assert "after a wait of about 1.5 s" in found.weighing.separation(found.weighing.rules[0]).text


def test_waits_are_no_chance_where_nothing_tells_when_a_place_came_free() -> None:
    made = patient(2, 1.5, 5, 1, streams=False)
    verdicts = {v.id: v for v in weigh(made, 199).verdicts}
    assert verdicts["provider"].verdict != "supported"
    assert verdicts["own-concurrency"].verdict != "refuted"
