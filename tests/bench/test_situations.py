"""The simulator behind the calibration: its tables are sound, its truth is what the provider did, and each family is what it says."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
import pytest

from netlens.chains.situation import COMPANION, HOST, LOOKUPS, REJECTED, REQUESTS, UNKNOWN, UNLABELLED, VM, Situation
from netlens.lab.provider.limiters.overload import Settings as Overload
from netlens.lenses.refused.classes import of_one_class
from tests.bench.situations import (
    CORES,
    FAMILIES,
    FEWEST_REQUESTS,
    RANDOM,
    WEIGHTS,
    Drawn,
    Observed,
    View,
    as_text,
    draw,
    family_of,
    observe,
    readings,
    truth,
)
from tests.bench.world import ELSEWHERE, MOST_REQUESTS, NEVER, Flow, Held, Path, Program, Provider, Request, S, Setup, ns, simulate

SEEDS = range(4)


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    """A few of every family."""
    return [draw(seed, family) for family in FAMILIES for seed in SEEDS]


def columns(situation: Situation) -> list[np.ndarray]:
    return [getattr(t, f.name) for t in (situation.requests, situation.sessions) for f in fields(t)]


def test_the_same_seed_draws_the_same() -> None:
    for seed in (3, 11):
        one, other = draw(seed), draw(seed)
        assert one.family == other.family == family_of(seed)
        assert one.truth == other.truth
        assert all((a == b).all() for a, b in zip(columns(one.situation), columns(other.situation), strict=True))
    assert draw(3, "zombies").situation.capture_ns != draw(4, "zombies").situation.capture_ns


def test_families_are_all_drawn_and_told() -> None:
    assert {family_of(seed) for seed in range(1000)} == {name for name in FAMILIES if WEIGHTS.get(name, 1)}
    assert all(function.__doc__ for function in FAMILIES.values())


def test_tables_are_sound(drawn: list[Drawn]) -> None:
    for each in drawn:
        r, s = each.situation.requests, each.situation.sessions
        begin, end = each.situation.capture_ns
        assert FEWEST_REQUESTS <= len(r) <= MOST_REQUESTS
        assert len(each.rows) == len(r)
        for table in (r, s):
            assert len({len(getattr(table, f.name)) for f in fields(table)}) == 1
            assert (np.diff(table.start_ns) >= 0).all()
            assert (begin <= table.start_ns).all()
            assert (table.start_ns <= table.done_ns).all()
            assert (table.done_ns <= table.end_ns).all()
            assert (table.end_ns <= end).all()
            for frames, seen in ((table.host_frame, each.situation.host_seen), (table.vm_frame, each.situation.vm_seen)):
                there = frames[frames > 0]
                assert len(there) == len(np.unique(there))
                assert seen or not len(there)
        assert (r.host_frame > 0).all() or not each.situation.host_seen
        assert ((r.session >= 0) & (r.session < len(s))).all()
        assert (s.kind[r.session] == REQUESTS).all()
        assert (s.side[r.session] == r.side).all()
        assert (s.start_ns[r.session] <= r.start_ns).all()
        assert (r.end_ns <= s.end_ns[r.session]).all()
        assert each.n_rejections == (of_one_class(each.situation)[0].requests.rejected == REJECTED).sum()
        assert {source for source, label in zip(r.source, r.rejected, strict=True) if label == UNLABELLED} <= {""}
        assert ((r.stream == -1) | (r.stream % 2 == 1)).all()


def test_companions_accompany_a_connection(drawn: list[Drawn]) -> None:
    found = 0
    for each in drawn:
        s = each.situation.sessions
        mains = s.connection[s.kind == REQUESTS]
        companions = s.connection[s.kind == COMPANION]
        found += len(companions)
        assert (companions >= 0).all()
        if each.view.begins == 0:
            assert np.isin(companions, mains).all()
        assert len(np.unique(mains[mains >= 0])) == (mains >= 0).sum()
    assert found > 100


def test_without_http2_requests_take_turns(drawn: list[Drawn]) -> None:
    shared = 0
    for each in drawn:
        r = each.situation.requests
        for session in np.unique(r.session):
            rows = np.flatnonzero(r.session == session)
            if (r.stream[rows] < 0).all():
                assert (r.end_ns[rows[:-1]] <= r.start_ns[rows[1:]]).all()
            else:
                assert (np.diff(np.sort(r.stream[rows])) == 2).all() or each.view != View()
                shared += bool((r.end_ns[rows[:-1]] > r.start_ns[rows[1:]]).any())
    assert shared > 3


# --- the decisions are in the tables --------------------------------------------------------------------------------------------------------


def near(family: str, seed: int, begins: float = 0.0) -> tuple[Setup, Observed]:
    """A family's world with the capture point at the provider: no time passes between them."""
    name = f"near {family} {seed}"
    setup, _ = FAMILIES[family](random.Random(name))
    provider = replace(setup.provider, rtt_s=0.0, jitter_s=0.0)
    setup = replace(setup, seed=name, provider=provider, path=replace(setup.path, vm_delay_s=0.0), seconds=min(setup.seconds, 200.0))
    return setup, observe(simulate(setup), View(begins=begins), random.Random(name))


def recount(setup: Setup, observed: Observed, row: int) -> int:
    """What others held when a request came, by brute force from the tables."""
    r, s, provider = observed.situation.requests, observed.situation.sessions, setup.provider
    asker = observed.rows[row].flow
    at = r.start_ns[row]
    found = 0
    if provider.counts in ("requests", "bytes"):
        for other in range(len(r)):
            earlier = (r.start_ns[other], observed.rows[other].number) < (at, observed.rows[row].number)
            same = provider.per == "ip" or observed.rows[other].flow.program.key == asker.program.key
            same &= not provider.small_limit or observed.rows[other].small == observed.rows[row].small
            late = round(provider.late_s * 1e9)
            held = bool(earlier and same and at < r.end_ns[other] + late and r.rejected[other] != REJECTED)
            found += held * provider.takes(observed.rows[other].sent_bytes)
    elif provider.counts == "connections":
        for other in range(len(s)):
            first = s.start_ns[other]
            same = provider.per == "ip"
            if provider.per == "key":  # a connection has none before its first request
                mine = np.flatnonzero(r.session == other)
                same = len(mine) > 0 and observed.flows[other].program.key == asker.program.key
                first = r.start_ns[mine[0]] if len(mine) else at
            found += bool(other != r.session[row] and same and first <= at < s.end_ns[other])
    return found


@pytest.mark.parametrize("family", [*CORES, "rule-and-overload", "healthy", "one-side-silent", "bytes-in-progress"])
def test_decisions_follow_from_the_tables(family: str) -> None:
    checked = refused = 0
    for seed in range(6):
        setup, observed = near(family, seed)
        limit = setup.provider.limit
        for row in range(min(len(observed.rows), 250)):
            request = observed.rows[row]
            count = recount(setup, observed, row)
            assert count == request.count, f"{family} {seed}: row {row}"
            assert sum(h.takes for h in request.held) == (count if request.refused else 0)
            if setup.provider.counts != "nothing":
                assert (request.refused == "limit") == (count >= (request.limit or limit))
            refused += request.refused is not None
            checked += 1
    assert checked > 50
    assert refused > 3 or family == "healthy"


def test_what_was_under_way_when_the_captures_began_is_in_the_tables() -> None:
    early = 0
    for family in ("same-nat-ip", "same-key", "idle-host"):
        for seed in range(6):
            setup, observed = near(family, seed, begins=0.5)
            if setup.provider.counts != "requests":
                continue
            old, sessions = observed.situation.underway, observed.situation.sessions
            assert (old.end_ns > observed.situation.capture_ns[0]).all()
            assert (old.side == sessions.side[old.session]).all()
            for row in range(min(len(observed.rows), 100)):
                going_on = int((old.end_ns > observed.situation.requests.start_ns[row]).sum())
                assert recount(setup, observed, row) + going_on == observed.rows[row].count, f"{family} {seed}: row {row}"
                early += going_on > 0
            assert not len(near(family, seed)[1].situation.underway)
    assert early > 10


def test_overload_refuses_its_share() -> None:
    vm = Program(VM, "vm", agents=4, answer_s=1.0, think_s=(0.1, 0.2), idle_s=(0.1, 0.2))
    steady = simulate(Setup("steady", 400, Provider(overload=Overload(0.3)), Path(), (vm,)))
    assert np.mean([r.refused is not None for r in steady.requests]) == pytest.approx(0.3, abs=0.05)
    bursts = simulate(Setup("bursts", 400, Provider(overload=Overload(0.9, 10.0, 3.0)), Path(), (vm,)))
    inside = [r.decided_ns / S % 10 >= 7 for r in bursts.requests]
    assert np.mean([r.refused is not None for r, there in zip(bursts.requests, inside, strict=True) if there]) > 0.8
    assert not any(r.refused for r, there in zip(bursts.requests, inside, strict=True) if not there)


def test_the_provider_is_half_a_round_trip_away() -> None:
    setup = Setup("far", 60, Provider(rtt_s=0.2, jitter_s=0.003), Path(), (Program(HOST, "host"),))
    answered = [r for r in simulate(setup).requests if r.complete and not r.refused]
    assert len(answered) > 3
    for request in answered:
        assert ns(0.1) <= request.decided_ns - request.start_ns <= ns(0.103)
        assert request.end_ns - request.freed_ns == ns(0.1)


@pytest.mark.parametrize(
    ("kind", "side", "outlives"), [("sshuttle 1.3", VM, True), ("sshuttle 2", VM, False), ("sshuttle 1.3", HOST, False)]
)
def test_broken_off_answers_go_on_through_the_older_tunnel_only(kind: str, side: int, outlives: bool) -> None:
    program = Program(side, "key", abort_fraction=1.0, answer_s=10.0, spread=0.01, title=False)
    history = simulate(Setup("broken off", 120, Provider(), Path(kind), (program,)))
    tails = [r.freed_ns - r.gone_ns for r in history.requests if r.flow.gone_ns != NEVER]
    assert len(tails) > 10
    assert min(tails) > 7 * S if outlives else max(tails) < 1.1 * S
    sound = observe(history, View(), random.Random(0)).situation.requests
    assert (sound.end_ns - sound.done_ns).max() > 7 * S or not outlives


# --- the truth ------------------------------------------------------------------------------------------------------------------------------


def refusal(side: int, *held: Held, why: str = "limit") -> Request:
    flow = Flow(0, Program(side, "key"), REQUESTS, 0, 0, 0)
    return Request(0, flow, 0, -1, refused=why, held=held, count=len(held))


MINE, THEIRS, UNSEEN = Held(VM, REQUESTS, False), Held(HOST, REQUESTS, False), Held(ELSEWHERE, REQUESTS, False)
ZOMBIE, COMPANY, LOOKUP = Held(VM, REQUESTS, True), Held(VM, COMPANION, False), Held(VM, LOOKUPS, True)


@pytest.mark.parametrize(
    ("request_", "limit", "strict"),
    [
        (refusal(VM, MINE, MINE), 2, {"own-concurrency"}),
        (refusal(VM, MINE, MINE, THEIRS), 2, {"own-concurrency"}),
        (refusal(VM, MINE, THEIRS), 2, {"same-nat-ip"}),
        (refusal(HOST, MINE, THEIRS), 2, {"same-nat-ip"}),
        (refusal(VM, ZOMBIE, THEIRS), 2, {"same-nat-ip", "keep-alive"}),
        (refusal(VM, MINE, COMPANY, COMPANY), 3, {"multiplexing"}),
        (refusal(VM, MINE, COMPANY), 1, {"own-concurrency"}),
        (refusal(VM, LOOKUP, LOOKUP, MINE), 3, {"dns"}),
        (refusal(VM, ZOMBIE, ZOMBIE, ZOMBIE), 2, {"keep-alive"}),
        (refusal(VM, UNSEEN, UNSEEN), 2, {"provider"}),
        (refusal(VM, MINE, UNSEEN), 2, set()),
        (refusal(VM, MINE, MINE, why="overload"), 0, {"provider"}),
        (refusal(VM, ZOMBIE, LOOKUP, COMPANY, THEIRS), 1, set()),
    ],
)
def test_causes_of_one_refusal(request_: Request, limit: int, strict: set[str]) -> None:
    assert {cause for cause, found in readings(request_, limit).items() if found[0]} == strict


def test_where_others_elsewhere_decide_nothing_is_beyond_dispute() -> None:
    wide = {cause for cause, found in readings(refusal(VM, MINE, UNSEEN), 2).items() if found[-1]}
    assert wide == {"own-concurrency", "provider"}


def test_truth_of_a_mixture_is_borderline() -> None:
    setup, observed = near("own-key", 0)
    history = simulate(setup)
    rows = observed.rows
    refused = [r for r in rows if r.refused]
    assert len(refused) >= 4
    half = refused[: len(refused) // 2]
    for request in half:
        request.refused, request.held = "overload", ()
    found = truth(history, observed.situation, rows)
    assert found.borderline == {"own-concurrency", "provider"}
    for request in refused:
        request.refused, request.held = "overload", ()
    assert truth(history, observed.situation, rows).causes == {"provider"}
    assert not truth(history, observed.situation, rows).borderline


def test_a_side_by_itself_has_all_its_refusals_by_itself() -> None:
    """Also those of copies of what was answered already, as storms of retries send them: they would have been sent, and refused, all the same."""
    found = [
        each
        for seed in range(12)
        if (each := draw(seed, "fixed-window")).n_rejections and len({r.flow.program.side for r in each.rows}) == 1
    ]
    found += [draw(629, "fixed-window")]
    assert len(found) > 3
    assert {each.truth.shares["own-rate"] for each in found} == {(1.0, 1.0)}


def test_of_a_limit_that_both_sides_fill_half_goes_with_either() -> None:
    """As long as their programs have more to ask than is let through, each fills it again when it is by itself; nothing is asked of who is counted apart."""
    apart, both = draw(5, "own-key"), draw(375)
    assert apart.truth.shares["own-rate"] == (0.0, 0.0)
    assert {p.side for p in both.setup.programs} == {VM, HOST}
    least, most = both.truth.shares["same-nat-ip"]
    assert most == 1.0
    assert 0.4 < least < 0.65
    assert {"same-nat-ip", "own-rate"} <= both.truth.borderline


def test_without_refusals_there_is_no_cause(drawn: list[Drawn]) -> None:
    silent = [each for each in drawn if not each.n_rejections]
    assert len(silent) > 5
    assert not any(each.truth.causes or each.truth.borderline for each in silent)


# --- families and views ---------------------------------------------------------------------------------------------------------------------


def causes(family: str, count: int = 20) -> tuple[set[str], list[frozenset[str]]]:
    """Causes that ever come up, and those beyond dispute of each situation with refusals."""
    some = [each for seed in range(100, 100 + count) if (each := draw(seed, family)).n_rejections]
    return {c for each in some for c in each.truth.causes}, [each.truth.causes - each.truth.borderline for each in some]


@pytest.mark.parametrize(
    ("family", "mostly", "never"),
    [
        ("same-nat-ip", "same-nat-ip", {"multiplexing", "dns", "provider"}),
        ("same-key", "same-nat-ip", {"multiplexing", "dns", "provider"}),
        ("own-key", "own-concurrency", {"same-nat-ip", "multiplexing", "dns", "provider"}),
        ("idle-host", "own-concurrency", {"same-nat-ip", "multiplexing", "dns", "provider"}),
        ("zombies", "keep-alive", {"same-nat-ip", "multiplexing", "dns", "provider"}),
        ("zombies-and-host", "same-nat-ip", {"multiplexing", "dns", "provider"}),
        ("pool-lingers", "keep-alive", {"multiplexing", "dns", "provider"}),
        ("idle-pools", None, {"multiplexing", "dns", "provider"}),
        ("fan-out", "multiplexing", {"same-nat-ip", "dns", "provider"}),
        ("fan-out-constant", "multiplexing", {"same-nat-ip", "dns", "provider"}),
        ("dns-over-tcp", "dns", {"same-nat-ip", "multiplexing", "provider"}),
        ("http2", "own-concurrency", {"multiplexing", "dns", "provider"}),
        *((family, "provider", {"same-nat-ip", "multiplexing", "dns", "keep-alive", "own-concurrency"}) for family in RANDOM),
        ("one-side-silent", None, {"same-nat-ip", "multiplexing", "dns"}),
    ],
)
def test_a_family_has_the_causes_it_is_made_for(family: str, mostly: str | None, never: set[str]) -> None:
    ever, sure = causes(family)
    assert len(sure) >= 8
    assert not ever & never
    if mostly is not None:
        assert sum(mostly in each for each in sure) >= len(sure) / 2


def test_views_hide_what_they_hide(drawn: list[Drawn]) -> None:
    by_family = {family: [each for each in drawn if each.family == family] for family in FAMILIES}
    for each in by_family["begins-in-the-middle"]:
        earlier = [r for r in each.history.requests if begins_ns(each) > r.start_ns]
        assert not {id(r) for r in earlier} & {id(r) for r in each.rows}
        assert earlier
    for each in by_family["vm-capture-only"]:
        s = each.situation.sessions
        assert not each.situation.egress_seen
        assert (s.side == VM).all()
        assert (s.kind != COMPANION).all()
    for each in by_family["host-capture-only"]:
        s = each.situation.sessions
        assert not each.situation.vm_seen
        assert not (s.vm_frame > 0).any()
        assert ((s.side == UNKNOWN) | (s.side == HOST)).all() or each.setup.path.kind == "nat"
    for each in by_family["host-unlabelled"]:
        r = each.situation.requests
        assert (r.rejected[r.side == HOST] == UNLABELLED).all()
    assert any((each.situation.requests.side == HOST).any() for each in by_family["host-unlabelled"])
    missing = [np.mean(each.situation.requests.rejected == UNLABELLED) for each in by_family["labels-missing"]]
    assert 0.03 < np.mean(missing) < 0.2
    assert {each.n_rejections for each in by_family["few-rejections"]} <= {1, 2, 3, 4}
    assert all(each.n_rejections == 0 for each in by_family["healthy"])
    assert any((each.situation.sessions.side == UNKNOWN).any() for each in by_family["unpaired"])


def begins_ns(each: Drawn) -> int:
    """When its captures begin, by the simulation's clock."""
    return ns(each.history.end_ns / S * each.view.begins)


def test_what_nobody_sees_is_in_no_table() -> None:
    seen = [draw(seed, "elsewhere") for seed in SEEDS]
    assert all(any(f.program.side == ELSEWHERE for f in each.history.flows) for each in seen)
    assert all((each.situation.sessions.side != ELSEWHERE).all() and (each.situation.requests.side != ELSEWHERE).all() for each in seen)
    assert any(h.side == ELSEWHERE for each in seen for r in each.rows for h in r.held)


def test_clock_error_moves_only_what_the_vm_tells() -> None:
    moved = 0
    for seed in SEEDS:
        each = draw(seed, "clock-uncertain")
        exact = observe(each.history, View(), random.Random(0)).situation
        assert (exact.requests.start_ns == each.situation.requests.start_ns).all()
        assert (exact.sessions.end_ns == each.situation.sessions.end_ns).all()
        moved += int((exact.sessions.done_ns != each.situation.sessions.done_ns).sum())
        assert (np.abs(exact.sessions.done_ns - each.situation.sessions.done_ns) <= each.view.clock_half_ns).all()
        assert each.situation.uncertain_ns > exact.uncertain_ns
    assert moved


def test_a_situation_can_be_read() -> None:
    text = as_text(draw(1, "zombies-and-host"))
    assert "causes [" in text
    assert "limit vm/requests" in text or "limit host/requests" in text


@pytest.mark.parametrize(
    ("seed", "other"),
    [
        (144, {"counts": "nothing", "limit": 0}),  # connections that linger shut all out: so does an outage that begins then
        (134, {"per": "key", "limit": 3}),  # one key for both, or one each with a lower limit
        (1023, {"counts": "requests", "per": "ip", "limit": 1}),  # each connection of the program has as many companions
    ],
)
def test_what_no_capture_can_tell_has_a_twin(seed: int, other: dict[str, object]) -> None:
    """Another provider, under whom the same programs leave the very same tables, and the cause is none."""
    drawn = draw(seed)
    provider, programs = replace(drawn.setup.provider, **other), drawn.setup.programs  # type: ignore[arg-type]
    if provider.counts == "nothing":
        first_s, last_s = min(r.decided_ns for r in drawn.history.requests if r.refused) / S, drawn.history.end_ns / S + 1
        provider = replace(provider, overload=Overload(1.0, last_s, last_s - first_s + 1e-7))
    if provider.per == "key":
        programs = tuple(replace(p, key="vm" if p.side == VM else "host") for p in programs)
    history = simulate(replace(drawn.setup, provider=provider, programs=programs))
    twin = observe(history, drawn.view, random.Random(f"view {drawn.setup.seed}"))
    assert all((a == b).all() for a, b in zip(columns(drawn.situation), columns(twin.situation), strict=True))
    facts = truth(history, twin.situation, twin.rows)
    (cause,) = drawn.truth.causes
    assert cause not in facts.causes | facts.borderline
