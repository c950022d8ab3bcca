"""Several parties behind one address: who is counted together, and what a log of one tells of another without."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netlens import logs
from netlens.chains.parties import Who, of_requests
from netlens.chains.situation import ACCEPTED, APART, ELSEWISE, HOST, REJECTED, UNLABELLED, VM, Situation
from netlens.lenses.refused import _of_some_parties, weighing
from netlens.lenses.refused.labels import ERROR_LOG, LOOK_ALIKE, Told, _of_one_that_logs_nothing, _perhaps_refused, _without_a_log
from tests.lenses.refused.made import situation

MS = 1_000_000
EVERYBODY = [Who(VM, "VM", "vm", None), Who(HOST, "host", "host", None), Who(HOST, "other VM", None, "192.168.64.6")]


def shared(limit: int, together: tuple[int, ...], seed: int, seconds: float = 240.0) -> tuple[Situation, np.ndarray[Any, Any]]:
    """A situation of the parties 0 (VM), 1 (host) and 2 (another VM), and whose each request is; those ``together`` have one key, the rest another each."""
    rng = np.random.default_rng(seed)
    sends = sorted((float(t), who) for who in range(3) for t in np.cumsum(rng.exponential(1.6, int(seconds / 1.6))) + 1)
    busy: list[tuple[float, int]] = []
    rows, whose = [], []
    for now, who in sends:
        busy = [(end, key) for end, key in busy if end > now]
        key = 9 if who in together else who
        accepted = sum(k == key for _, k in busy) < (limit if who in together else 99)
        end = now + (float(rng.uniform(0.5, 3.0)) if accepted else 0.02)
        if accepted:
            busy.append((end, key))
        rows.append(("vm" if who == 0 else "host", len(rows), now, end, ACCEPTED if accepted else REJECTED))
        whose.append(who)
    return situation(rows, uncertain_ns=MS), np.array(whose)


def traffic(made: Situation, whose: np.ndarray[Any, Any], **more: Any) -> Any:
    def once(function: Any) -> Any:
        assert function is of_requests
        return EVERYBODY, whose

    return SimpleNamespace(situation=made, once=once, **more)


@pytest.mark.parametrize("together", [(0, 2), (0, 1)])
def test_one_party_may_have_a_key_of_its_own(together: tuple[int, ...]) -> None:
    made, whose = shared(3, together, seed=1)
    alone = ({0, 1, 2} - set(together)).pop()
    plain = weighing.weigh(made)
    assert plain.limiter is None
    found = _of_some_parties(traffic(made, whose), plain)
    assert found.cause == "same-nat-ip"
    assert found.limit is not None
    assert (found.limit.scope, found.limit.value) == ("egress", 3)
    assert set(np.flatnonzero(found.weighing.situation.requests.rejected == APART)) == set(np.flatnonzero(whose == alone))
    name = EVERYBODY[alone].name
    assert found.weighing.situation.facts["left_out"] == f"the {int((whose == alone).sum())} requests of the {name}"
    assert name not in found.weighing.situation.facts["others"]


def test_nobody_is_left_out_where_a_limit_explains_all_or_chance_does() -> None:
    made, whose = shared(3, (0, 1, 2), seed=2)
    plain = weighing.weigh(made)
    assert _of_some_parties(traffic(made, whose), plain) is plain
    rng = np.random.default_rng(5)
    labels = np.where(rng.random(len(whose)) < 0.2, REJECTED, ACCEPTED).astype(np.int8)
    random = replace(made, requests=replace(made.requests, rejected=labels, refusal_class=np.zeros(0, object)))
    plain = weighing.weigh(random)
    assert _of_some_parties(traffic(random, whose), plain) is plain


def chats_and_embeddings(limit: int, seed: int) -> Situation:
    """Chats by a pool of connections, whose answers are streams, up to ``limit`` at once; and embeddings by two connections of their own, which are answered at
    once and do not count."""
    rng = np.random.default_rng(seed)
    sends = sorted((float(t), kind) for kind, every in ((0, 1.3), (1, 0.9), (2, 0.9)) for t in np.cumsum(rng.exponential(every, 120)) + 1)
    free = [0.0] * 40  # when each connection is: the first for chats from 2 on
    busy: list[float] = []
    rows = []
    for sent, kind in sends:
        session = kind - 1 if kind else next(k for k in range(2, 40) if free[k] <= sent)
        now = max(sent, free[session])
        busy = [end for end in busy if end > now]
        accepted = bool(kind) or len(busy) < limit
        end = now + (float(rng.uniform(0.2, 0.6)) if kind else float(rng.uniform(1.0, 4.0)) if accepted else 0.03)
        busy += [end] * (accepted and not kind)
        free[session] = end + 0.01
        rows.append((now, session, end, ACCEPTED if accepted else REJECTED, end if kind or not accepted else now + 0.3))
    rows.sort()
    made = situation([("vm", session, now, end, label) for now, session, end, label, _ in rows], uncertain_ns=MS)
    answered = np.array([round(begun * 1000) * MS for *_, begun in rows])
    return replace(made, requests=replace(made.requests, answer_ns=answered))


@pytest.mark.parametrize("seed", range(3))
def test_embeddings_beside_chats_may_not_count(seed: int) -> None:
    """They hid the limit on chats, as no count of all tells which chats are refused."""
    made = chats_and_embeddings(3, seed)
    plain = weighing.weigh(made)
    assert plain.limiter is None
    found = _of_some_parties(traffic(made, np.zeros(len(made.requests), np.int64)), plain)
    assert found.cause == "own-concurrency"
    assert found.limit is not None
    assert found.limit.value == 3
    assert found.weighing.situation.facts["left_out"] == "the 240 requests that were answered at once, by connections of their own,"


@pytest.mark.parametrize("seed", range(4))
def test_embeddings_are_not_left_out_where_chats_are_refused_by_chance(seed: int) -> None:
    made, rng = chats_and_embeddings(99, seed), np.random.default_rng(seed)
    chats = made.requests.session >= 2
    labels = np.where(chats & (rng.random(len(chats)) < 0.3), REJECTED, ACCEPTED).astype(np.int8)
    made = replace(made, requests=replace(made.requests, rejected=labels, refusal_class=np.zeros(0, object)))
    plain = weighing.weigh(made)
    assert _of_some_parties(traffic(made, np.zeros(len(chats), np.int64)), plain) is plain


def jobs_and_questions(seed: int, free: bool) -> Situation:
    """Jobs of many sizes, of which 8 may begin in 12 s, and questions whether they are done, which are free or count as well."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, float, int]] = []
    taken: list[float] = []
    for now in np.cumsum(rng.exponential(0.4, 260)).tolist():
        asks = rng.random() < 0.6
        taken = [at for at in taken if at > now - 12.0]
        counts = not (asks and free)
        accepted = not counts or len(taken) < 8
        taken += [now] * (counts and accepted)
        rows.append((now, 265 if asks else int(rng.integers(900, 1900)), ACCEPTED if accepted else REJECTED))
    made = situation([("vm", k, now, now + 0.02, label) for k, (now, _, label) in enumerate(rows)], uncertain_ns=MS)
    return replace(made, requests=replace(made.requests, sent_bytes=np.array([size for _, size, _ in rows])))


@pytest.mark.parametrize("seed", range(3))
def test_small_requests_that_are_never_refused_may_be_free(seed: int) -> None:
    """They take next to nothing of a limit on bytes, which so may explain the refusals, though the limit is on how many others there are."""
    made = jobs_and_questions(seed, free=True)
    plain = weighing.weigh(made)
    assert (plain.limiter or {"kind": "volume"})["kind"] == "volume"
    found = _of_some_parties(traffic(made, np.zeros(len(made.requests), np.int64)), plain)
    assert found.cause == "own-rate"
    assert found.limiter is not None
    assert (found.limiter["kind"], found.limiter["value"], found.limiter["window_s"]) == ("rate", 8, pytest.approx(12, rel=0.05))
    assert "small requests" in found.weighing.situation.facts["left_out"]


@pytest.mark.parametrize("seed", range(3))
def test_small_requests_that_are_refused_as_well_are_not_free(seed: int) -> None:
    made = jobs_and_questions(seed, free=False)
    plain = weighing.weigh(made)
    assert (plain.limiter or {}).get("kind") == "rate"
    assert _of_some_parties(traffic(made, np.zeros(len(made.requests), np.int64)), plain) is plain


def answers(sizes: list[int]) -> dict[str, np.ndarray[Any, Any]]:
    """Exchanges with answers of these sizes: short and quick below 1 kB, else streams."""
    n = len(sizes)
    asked = np.arange(n) * 1000 * MS
    quick = np.array(sizes) < 1000
    response = asked + np.where(quick, 5, 300) * MS
    return {
        "start_ns": asked, "request_end_ns": asked, "response_ns": response, "end_ns": response + np.where(quick, 1, 900) * MS,
        "up_bytes": np.zeros(n, np.int64), "down_bytes": np.array(sizes), "complete": np.ones(n, bool),
    }  # fmt: skip


def told_of(sizes: list[int], log: list[int], whose: list[int]) -> Told:
    told = Told.nothing(len(sizes))
    told.rejected[:] = log
    told.source[told.rejected != UNLABELLED] = ERROR_LOG
    rows = np.stack([np.arange(len(sizes))] * 3, axis=1)
    made = traffic(situation([]), np.array(whose), rows=rows, upstream=SimpleNamespace(exchanges=answers(sizes)))
    _without_a_log(made, told)
    return told


def test_a_machine_without_a_log_is_labelled_by_what_anothers_shows() -> None:
    log = [REJECTED] * 6 + [ACCEPTED] * 3 + [UNLABELLED] * 4
    told = told_of([400] * 6 + [9000] * 3 + [401, 400, 9000, 700], log, [0] * 9 + [2] * 4)
    assert told.rejected.tolist() == [*log[:9], REJECTED, REJECTED, ACCEPTED, UNLABELLED]
    assert told.source.tolist()[9:] == [LOOK_ALIKE] * 3 + [""]
    assert told.refusal_class.tolist()[9:11] == [logs.UNKNOWN] * 2


def told_by_group(rows: list[tuple[int, int, int, int]]) -> Told:
    """Of (size of the answer, label, connection, size of the request)."""
    sizes, log, owner, sent = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    told = Told.nothing(len(rows))
    told.rejected[:] = log
    told.source[told.rejected != UNLABELLED] = ERROR_LOG
    made = situation([("vm", k, float(k), k + 0.5, ACCEPTED) for k in range(len(rows))])
    made = replace(made, requests=replace(made.requests, sent_bytes=sent))
    up = SimpleNamespace(exchanges=answers(sizes.tolist()), owner=owner, ja4={})
    _of_one_that_logs_nothing(SimpleNamespace(situation=made, rows=np.stack([np.arange(len(rows))] * 3, axis=1), upstream=up), told)  # type: ignore[arg-type]
    return told


LOGGED = [(400, REJECTED, 0, 30_000)] * 8 + [(9000, ACCEPTED, 0, 31_000)] * 8


@pytest.mark.parametrize(
    ("silent", "size", "found"),
    [
        ([(400, UNLABELLED, 1, 30_500)] * 3, 400, True),  # a connection of which no line ever tells
        ([(400, UNLABELLED, 0, 3_000)] * 6, 400, True),  # small requests of the same program (titles)
        ([(400, UNLABELLED, 1, 30_500)] * 2, 400, False),  # too few
        ([(401, UNLABELLED, 1, 30_500)] * 3, 401, False),  # of nearly that size
        ([(400, UNLABELLED, 0, 30_500)] * 3, 400, False),  # among those that have lines: these tries may be something else
    ],
)
def test_a_program_or_a_kind_of_request_that_the_log_never_tells_of(
    silent: list[tuple[int, int, int, int]], size: int, found: bool
) -> None:
    told = told_by_group([*LOGGED, *silent])
    assert told.rejected.tolist()[len(LOGGED) :] == [REJECTED if found else UNLABELLED] * len(silent)
    assert set(told.source.tolist()[len(LOGGED) :]) == {LOOK_ALIKE if found else ""}
    assert told.rejected.tolist()[: len(LOGGED)] == [label for _, label, _, _ in LOGGED]


def test_where_refusals_that_are_told_of_lack_lines_silence_says_nothing() -> None:
    told = told_by_group([*LOGGED, *[(400, UNLABELLED, 0, 30_000)] * 2, *[(400, UNLABELLED, 1, 30_500)] * 4])
    assert told.rejected.tolist()[len(LOGGED) :] == [UNLABELLED] * 6


def test_two_refusals_teach_where_still_more_answers_look_otherwise() -> None:
    log = [REJECTED] * 2 + [ACCEPTED] * 15 + [UNLABELLED] * 3
    told = told_of([400] * 2 + [9000] * 15 + [401, 9000, 700], log, [0] * 17 + [2] * 3)
    assert told.rejected.tolist() == [*log[:17], REJECTED, ACCEPTED, UNLABELLED]
    few = [REJECTED] * 2 + [ACCEPTED] * 14 + [UNLABELLED] * 3
    assert told_of([400] * 2 + [9000] * 14 + [401, 9000, 700], few, [0] * 16 + [2] * 3).rejected.tolist() == few


def test_three_refusals_teach_where_many_answers_look_otherwise() -> None:
    log = [REJECTED] * 3 + [ACCEPTED] * 10 + [UNLABELLED] * 3
    told = told_of([400] * 3 + [9000] * 10 + [401, 9000, 700], log, [0] * 13 + [2] * 3)
    assert told.rejected.tolist() == [*log[:13], REJECTED, ACCEPTED, UNLABELLED]
    few = [REJECTED] * 3 + [ACCEPTED] * 9 + [UNLABELLED] * 3
    assert told_of([400] * 3 + [9000] * 9 + [401, 9000, 700], few, [0] * 12 + [2] * 3).rejected.tolist() == few


@pytest.mark.parametrize(
    ("log", "whose"),
    [
        ([REJECTED] * 4 + [ACCEPTED] * 5 + [UNLABELLED] * 4, [0] * 9 + [2] * 4),  # too few refusals teach
        ([REJECTED] * 6 + [ACCEPTED] * 3 + [UNLABELLED] * 4, [0] * 13),  # of the program that has a log: there silence was weighed
    ],
)
def test_what_is_not_known_stays_unknown(log: list[int], whose: list[int]) -> None:
    sizes = [400] * 6 + [9000] * 3 + [401, 400, 9000, 700]
    assert told_of(sizes, log, whose).rejected.tolist() == log


def test_refusals_that_look_like_accepted_answers_teach_nothing() -> None:
    log = [REJECTED] * 6 + [ACCEPTED] * 3 + [UNLABELLED] * 2
    assert told_of([400] * 11, log, [0] * 9 + [2] * 2).rejected.tolist() == log


def test_what_refusals_of_another_class_say_is_not_refuted() -> None:
    """Beside a limit on what is open, a quota is used up from time to time."""
    made, _ = shared(2, (0,), seed=3)
    made = replace(made, requests=made.requests.take(np.flatnonzero(made.requests.side == VM)))
    r = made.requests
    classes = np.where(r.rejected == REJECTED, logs.CONCURRENCY, "").astype(object)
    late = np.flatnonzero(r.rejected == ACCEPTED)[-8:]
    labels = r.rejected.copy()
    labels[late], classes[late] = REJECTED, logs.QUOTA
    weighed = weighing.weigh(replace(made, requests=replace(r, rejected=labels, refusal_class=classes)))
    assert (weighed.weighing.situation.requests.rejected == ELSEWISE).sum() == 8
    verdicts = {v.id: v for v in weighed.verdicts}
    assert weighed.weighing.kind == "concurrency"
    assert verdicts["own-rate"].verdict == "undecided"
    assert verdicts["own-rate"].needs is not None
    assert "8 refusals say that too much was sent over time" in verdicts["own-rate"].needs


def test_short_answers_of_a_size_that_a_log_calls_something_else_may_be_no_refusals() -> None:
    """An answer of 500, say, of which other lines tell: those of the time before the log are no more."""
    sizes = [400] * 6 + [9000] * 6 + [400] * 2
    for named, perhaps in ((False, 8), (True, 0)):
        told = Told.nothing(len(sizes))
        if named:
            told.rejected[12:], told.source[12:] = ACCEPTED, ERROR_LOG
        rows = np.stack([np.arange(len(sizes))] * 3, axis=1)
        goal = SimpleNamespace(guessed=False, names=["api.example.test"])
        made = SimpleNamespace(rows=rows, upstream=SimpleNamespace(exchanges=answers(sizes)), goal=goal)
        assert _perhaps_refused(made, told) == perhaps  # type: ignore[arg-type]
