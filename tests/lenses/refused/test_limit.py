"""The limit: likelihood by hand and by integration, what fits as well, p against all permutations there are, chains, ties, another account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.chains.situation import HOST, REJECTED, UNLABELLED, VM, Situation
from netlens.lenses.refused import limit as li
from netlens.lenses.refused.counting import RULES, Counts, others
from netlens.lenses.refused.limit import OTHER_ACCOUNT, RuleFit, infer, later_in_chain
from tests.lenses.refused.made import S, situation
from tests.lenses.refused.scenes import met, rounds

REQ_SIDE, REQ_EGRESS, CON_SIDE, CON_EGRESS = RULES


def fit_of(s: Situation, rule: object, permutations: int = 199) -> RuleFit:
    return next(f for f in infer(s, permutations).fits if f.rule == rule)


# --- likelihood ---------------------------------------------------------------------------------------------------------------------------------


def test_the_likelihood_of_two_requests_by_hand() -> None:
    fit = fit_of(rounds("v!v"), REQ_SIDE)
    # limit 1: the refused one is at it, the other below: each B(1, 21) / B(1, 20) = 20/21
    assert fit.log_likelihood == pytest.approx(2 * log(20 / 21))
    assert (fit.low, fit.high, fit.value, fit.hits, fit.misses, fit.false_alarms) == (1, 1, 1, 1, 0, 0)
    assert fit.auc == 1.0
    assert fit.youden == 1.0
    # limit 2: both are below, one of them wrongly: B(2, 21) / B(1, 20) = 20 / (21 * 22)
    counts = others(rounds("v!v"), REQ_SIDE)
    ll, _ = li.likelihoods(counts, np.array([False, True]), np.ones(2, bool), np.array([1, 2]))
    assert exp(ll[1]) == pytest.approx(20 / (21 * 22))


@pytest.mark.parametrize(("wrong", "right"), [(0, 0), (0, 7), (3, 0), (2, 9), (40, 300)])
def test_the_error_rate_is_integrated_out(wrong: int, right: int) -> None:
    e = (np.arange(1_000_000) + 0.5) / 1_000_000
    prior = li.NOISE * (1 - e) ** (li.NOISE - 1)
    assert exp(li.log_noise(wrong, right)) == pytest.approx(float(np.mean(e**wrong * (1 - e) ** right * prior)), rel=1e-4)


def test_the_table_of_likelihoods_is_the_formula() -> None:
    table = li.Noise(60)
    for wrong, right in product(range(0, 61, 7), repeat=2):
        if wrong + right <= 60:
            assert table(np.array([wrong]), np.array([right]))[0] == pytest.approx(li.log_noise(wrong, right), abs=1e-9)


def test_an_uncertain_count_is_the_toss_of_a_coin() -> None:
    counts = Counts(*(np.array(c) for c in ([0, 1, 2], [0, 0, 2], [0, 2, 2], [0, 0, 0], [0, 0, 0])))
    ll, possible = li.likelihoods(counts, np.array([False, True, True]), np.ones(3, bool), np.array([1, 2]))
    assert ll[0] == pytest.approx(2 * log(20 / 21) + log(0.5))
    assert possible[0] == pytest.approx(2 * log(20 / 21))


# --- the interval of limits ---------------------------------------------------------------------------------------------------------------------


def test_every_limit_between_the_last_accepted_and_the_first_refused_fits_as_well() -> None:
    fit = fit_of(met((0, 0), (1, 0), (4, 1), (6, 1)), CON_SIDE)
    assert (fit.low, fit.high, fit.value, fit.hits) == (2, 4, 4, 2)


def test_the_value_is_the_smallest_refused_count_inside_the_interval() -> None:
    # the refusal at 1 is an exception: limits 3 to 5 fit best
    fit = fit_of(met(*[(0, 0), (1, 0), (2, 0)] * 3, (1, 1), *[(5, 1), (8, 1)] * 3), CON_SIDE)
    assert (fit.low, fit.high, fit.value, fit.misses) == (3, 5, 5, 1)


def test_of_two_intervals_apart_the_lower_is_named() -> None:
    # with a limit of 2 the acceptance at 3 is an exception, with 4 the refusal at 2 is, with 3 both are
    fit = fit_of(met(*[(1, 0)] * 5, (3, 0), (2, 1), *[(4, 1)] * 5), CON_SIDE)
    assert (fit.low, fit.high, fit.value, fit.misses, fit.false_alarms) == (2, 2, 2, 0, 1)


def test_the_value_is_a_count_that_was_refused_even_where_counts_are_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    # accepted with 3 at most; refused with 6 for certain, and with 4 that may have been 2 to 8: limits 4 to 6 fit alike
    rows = [(k % 4, 0) for k in range(8)] + [(6, 1)] * 5 + [(4, 1)]
    count = np.array([c for c, _ in rows])
    made = Counts(count, np.where(count == 4, 2, count), np.where(count == 4, 8, count), *np.zeros((2, len(rows)), np.int64))
    monkeypatch.setattr(li, "others", lambda *_: made)
    fit = fit_of(situation([("vm", k, 10.0 * k, 10.0 * k + 1, label) for k, (_, label) in enumerate(rows)]), REQ_SIDE)
    assert (fit.low, fit.high, fit.value) == (4, 6, 4)


def test_misfits_are_counted_on_both_sides() -> None:
    good = ["v.v", "vv!v"] * 8
    fit = fit_of(rounds(*good, "v!v", "vv.v"), REQ_SIDE)
    assert (fit.value, fit.misses, fit.false_alarms, fit.hits) == (2, 1, 1, 8)
    assert 0.8 < fit.auc < 1.0


def test_there_is_no_limit_without_labels_of_both_kinds() -> None:
    assert infer(rounds("v.v")).fits == []
    assert infer(situation([("vm", 0, 1, 2, 1)])).fits == []
    assert infer(situation([])).best is None
    uncountable = replace(rounds("v!v"), uncountable="HTTP/2")
    assert infer(uncountable).fits == []


def test_rules_of_the_egress_address_need_all_that_leaves_by_it() -> None:
    s = replace(rounds("v!v", "h.h"), egress_seen=False)
    assert {f.rule for f in infer(s, 19).fits} == {REQ_SIDE, CON_SIDE}


# --- ties ---------------------------------------------------------------------------------------------------------------------------------------


def test_with_the_host_silent_side_and_egress_are_one_rule_and_one_test() -> None:
    found = infer(rounds(*["v.v", "vv!v"] * 8), 499)
    assert found.best is not None
    assert found.best.rule == REQ_SIDE
    assert REQ_EGRESS in {f.rule for f in found.tied}
    by_rule = {f.rule: f for f in found.fits}
    assert by_rule[REQ_SIDE].p == by_rule[REQ_EGRESS].p
    assert by_rule[REQ_SIDE].p == by_rule[REQ_SIDE].p_raw  # connections count the same here too: one test, nothing to adjust
    idle = rounds(*["v.v", "vv!v"] * 8)
    idle = situation(
        [("vm", k, r / S, e / S, y) for k, (r, e, y) in enumerate(zip(*_times(idle), strict=True))],
        [("vm", r / S - 0.01, e / S + 0.01) for r, e, _ in zip(*_times(idle), strict=True)] + [("host", 0.0, 400.0)],
    )
    fits = {f.rule: f for f in infer(idle, 499).fits}
    # connections from the egress address are one more now, all else is equal: two tests
    assert fits[REQ_SIDE].p == pytest.approx(2 * fits[REQ_SIDE].p_raw)


def _times(s: Situation) -> tuple[list[int], list[int], list[int]]:
    r = s.requests
    return r.start_ns.tolist(), r.end_ns.tolist(), r.rejected.tolist()


def test_host_and_vm_together_are_told_from_one_side_alone() -> None:
    found = infer(rounds(*["v.v", "h.h", "vh!v", "hv!h"] * 5), 199)
    assert found.best is not None
    assert found.best.rule == REQ_EGRESS
    assert REQ_SIDE not in {f.rule for f in found.tied}


def test_of_rules_within_the_tie_the_preferred_is_named_though_another_fits_better() -> None:
    # everything fits both rules but one refusal, which only the egress address explains; known so badly that it hardly counts
    s = rounds(*["v.v", "vv!v"] * 6, "vh!v")
    by_rule = {f.rule: f for f in infer(s, 99).fits}
    assert by_rule[REQ_EGRESS].log_likelihood > by_rule[REQ_SIDE].log_likelihood
    gap = by_rule[REQ_EGRESS].log_likelihood - by_rule[REQ_SIDE].log_likelihood
    assert infer(s, 99).fits[0].rule == (REQ_SIDE if gap <= li.TIE else REQ_EGRESS)


# --- chance -------------------------------------------------------------------------------------------------------------------------------------


def exact_p(s: Situation, rule: object) -> float:
    """All ways to give each side's refusals to its requests, one by one."""
    counts = others(s, rule)  # type: ignore[arg-type]
    r = s.requests
    first = (r.rejected >= 0) & ~later_in_chain(s)
    rows = np.flatnonzero(first)
    limits = np.arange(1, int(counts.high[rows].max()) + 2)

    def statistic(refused: Sequence[int]) -> float:
        y = np.isin(rows, refused)
        best = -np.inf
        for at in limits:
            sure, under = counts.low[rows] >= at, counts.high[rows] < at
            ll = li.log_noise(int((sure & ~y).sum()), int((sure & y).sum())) + li.log_noise(int((under & y).sum()), int((under & ~y).sum()))
            best = max(best, ll + int((~sure & ~under).sum()) * log(0.5))
        return best + 0.01 * li.auc_of(counts.count[rows], y, np.ones(len(rows), bool))

    by_side = []
    for side in np.unique(r.side[rows]):
        mine = rows[r.side[rows] == side].tolist()
        by_side.append(list(combinations(mine, int((r.rejected[mine] == REJECTED).sum()))))
    ours = statistic([i for i in rows if r.rejected[i] == REJECTED])
    every = [statistic([i for part in parts for i in part]) for parts in product(*by_side)]
    return float(np.mean([each >= ours - 1e-9 for each in every]))


SMALL = [
    rounds("v.v", "vv!v", "h.v", "vh!v"),
    rounds("v!v", "vv.v", "h.h", "hv!h"),
    rounds("vv!v", "v.v", "v!h", "h.v"),
    rounds("v!v", "v.v", "h!h", "h.h", "vh.v"),
]


@pytest.mark.parametrize("s", SMALL)
@pytest.mark.parametrize("rule", RULES)
def test_p_is_that_of_all_permutations(s: Situation, rule: object) -> None:
    exact = exact_p(s, rule)
    many = 20_000
    found = fit_of(s, rule, many).p_raw
    assert abs(found - exact) <= 5 * (exact * (1 - exact) / many) ** 0.5 + 2 / many


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=25))
def test_the_statistic_is_the_best_likelihood_and_a_little_of_the_auc(rows: list[tuple[int, bool]]) -> None:
    count, y = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    cells, cell, sizes = np.unique(count, return_inverse=True, return_counts=True)
    refused = np.bincount(cell[y], minlength=len(cells))
    found = li._Statistic(cells, cells, cells, sizes).of(refused[None, :])[0]
    all_of_them = np.ones(len(rows), bool)
    best = li.likelihoods(Counts(count, count, count, count, count), y, all_of_them, np.arange(1, int(count.max()) + 2))[0].max()
    auc = li.auc_of(count, y, all_of_them) if 0 < y.sum() < len(y) else 0.0
    assert found == pytest.approx(best + 0.01 * auc, abs=1e-9)


def test_uncertain_counts_are_permuted_with_their_requests() -> None:
    s = replace(rounds("v.v", "vv!v", "h.v", "vh!v"), uncertain_ns=4_950_000_000)
    exact = exact_p(s, REQ_EGRESS)
    assert 0 < exact < 1
    assert fit_of(s, REQ_EGRESS, 20_000).p_raw == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_permutations_that_need_not_be_drawn_would_not_have_fitted(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on how many fit as well holds: with it, p is what all draws give."""
    rng = np.random.default_rng(seed)
    s = rounds(*rng.choice(["vv!v", "vv!v", "v.v", "h.v", "v.h", "vv!h"], 60).tolist())
    drawn: list[int] = []
    real = li._Statistic.of
    monkeypatch.setattr(li._Statistic, "of", lambda self, refused: (drawn.append(len(refused)), real(self, refused))[1])
    with_bound = [f.p_raw for f in infer(s).fits]
    bounded = sum(drawn)
    monkeypatch.setattr(li, "NEGLIGIBLE", 1e-300)
    drawn.clear()
    assert [f.p_raw for f in infer(s).fits] == with_bound
    assert bounded < sum(drawn)


def test_p_does_not_depend_on_how_many_permutations_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    s = SMALL[0]
    exact = exact_p(s, REQ_EGRESS)
    monkeypatch.setattr(li, "MAX_CELLS", 40)
    assert fit_of(s, REQ_EGRESS, 20_000).p_raw == pytest.approx(exact, abs=0.02)


def test_more_open_connections_than_any_limit_take_no_time_and_no_memory() -> None:
    n = 6_000  # each opens a connection and never closes it
    s = situation([("vm", k, 1.0 * k, 1.0 * k + 0.5, int(k % 7 == 0)) for k in range(n)], [("vm", 1.0 * k, 1.0 * n) for k in range(n)])
    fit = fit_of(s, CON_SIDE, 199)
    assert fit.p_raw > 0.05
    assert fit.high <= li.MAX_LIMIT


def test_labels_stay_within_their_side() -> None:
    # all refusals are the host's and all its requests are refused: nothing to permute, so nothing is beyond chance
    s = situation(
        [*[("vm", k, 10.0 * k, 10.0 * k + 1, 0) for k in range(6)], *[("host", 6 + k, 100.0 + k, 100.5 + k, 1) for k in range(6)]]
    )
    assert fit_of(s, REQ_EGRESS).p_raw == 1.0


def test_p_is_never_zero_and_repeats_itself() -> None:
    s = rounds(*["v.v", "vv!v"] * 10)
    a, b = infer(s, 99), infer(s, 99)
    assert [f.p_raw for f in a.fits] == [f.p_raw for f in b.fits]
    assert min(f.p_raw for f in a.fits) >= 0.01


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01], [0.01]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.021, 0.022, 0.9], [0.08, 0.08, 0.08, 0.9]),
        ([], []),
    ],
)
def test_holm(raw: list[float], adjusted: list[float]) -> None:
    assert li._holm(raw) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(raw: list[float]) -> None:
    adjusted = li._holm(raw)
    assert all(a - 1e-12 <= b <= min(1.0, a * len(raw)) + 1e-12 for a, b in zip(raw, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(raw, kind="stable")] == sorted(adjusted)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool]]) -> None:
    counts, refused = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    pairs = [(a, b) for a in counts[refused] for b in counts[~refused]]
    wanted = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs) if pairs else 0.5
    assert li.auc_of(counts, refused, np.ones(len(rows), bool)) == pytest.approx(wanted)


# --- chains -------------------------------------------------------------------------------------------------------------------------------------


def later(*rows: tuple[str, int, float, int]) -> list[bool]:
    out: list[bool] = later_in_chain(situation([(side, session, at, at + 0.05, label) for side, session, at, label in rows])).tolist()
    return out


def test_retries_on_one_connection_are_one_chain() -> None:
    rows = [("vm", 0, 1, 1), ("vm", 0, 3, 1), ("vm", 1, 3.5, 1), ("vm", 0, 5, 1), ("vm", 1, 6, 0), ("vm", 0, 7, 0)]
    assert later(*rows) == [False, True, False, True, False, False]


def test_an_acceptance_ends_a_chain() -> None:
    assert later(("vm", 0, 1, 1), ("vm", 0, 2, 0), ("vm", 0, 3, 1), ("vm", 0, 4, 1)) == [False, False, False, True]


def test_a_chain_ends_five_seconds_after_its_first_refusal() -> None:
    assert later(*[("vm", 0, 1 + 2 * k, 1) for k in range(5)]) == [False, True, True, False, True]


def test_where_each_request_has_a_connection_of_its_own_the_side_retries() -> None:
    assert later(("vm", 0, 1, 1), ("vm", 1, 3, 1), ("host", 2, 3.5, 1), ("vm", 3, 4, 1)) == [False, True, False, True]


def test_what_nobody_knows_neither_makes_nor_ends_a_chain() -> None:
    assert later(("vm", 0, 1, 1), ("vm", 0, 2, UNLABELLED), ("vm", 0, 3, 1)) == [False, False, True]


def test_chains_count_once_for_chance_but_not_for_enough() -> None:
    s = situation([("vm", 0, 1 + k, 1.05 + k, 1) for k in range(4)] + [("vm", 0, 20, 21, 1), ("vm", 0, 40, 41, 0)])
    found = infer(s, 19)
    assert (found.refused, found.chains, found.accepted, found.enough) == (5, 2, 1, True)
    assert not infer(rounds(*["v!v"] * 4), 19).enough


# --- another account ----------------------------------------------------------------------------------------------------------------------------


def test_a_side_that_is_never_refused_may_have_an_account_of_its_own() -> None:
    s = rounds(*["v!v", "hhh.h"] * 8)
    fit = fit_of(s, REQ_SIDE)
    assert fit.other_account == HOST
    assert (fit.value, fit.misses, fit.false_alarms) == (1, 0, 0)
    vm_only = s.requests.side == VM
    limits = np.arange(1, 5)
    counts = others(s, REQ_SIDE)
    alone = li.likelihoods(counts, s.requests.rejected == REJECTED, vm_only, limits)[0].max()
    assert fit.log_likelihood == pytest.approx(alone + li.log_noise(0, int((~vm_only).sum())) - OTHER_ACCOUNT)


def test_leaving_a_side_out_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    s = rounds(*["v!v"] * 8, "h.h")
    assert fit_of(s, REQ_SIDE).other_account == HOST  # one exception among nine costs log 28, a little more than OTHER_ACCOUNT
    monkeypatch.setattr(li, "OTHER_ACCOUNT", 3.4)
    assert fit_of(s, REQ_SIDE).other_account is None
    # a side that was refused is never left out, nor by a rule of the egress address
    assert fit_of(rounds(*["v!v", "hhh.h"] * 8, "hhh!h"), REQ_SIDE).other_account is None
    assert fit_of(rounds(*["v!v", "hhh.h"] * 8), REQ_EGRESS).other_account is None
