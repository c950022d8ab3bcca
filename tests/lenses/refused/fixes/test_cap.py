"""Which caps are offered, and which one is recommended."""

from __future__ import annotations

import pytest

from netlens.chains.situation import VM
from netlens.lenses.refused.fixes import Case, Context, cap
from tests.lenses.refused.made_up import Rule, situation

#: Five at once from 0 s on, a second apart each; of a limit of 3 the fourth and fifth are refused (and tried again when all others are done).
FIVE = [(VM, 0, 20, 0), (VM, 1, 20, 0), (VM, 2, 20, 0), (VM, 3, 3.1, 1), (VM, 4, 4.1, 1)]


def ids(requests: list[tuple], rule: Rule | None) -> list[tuple[str, bool]]:
    return [(v.id, v.recommended) for v in cap.variants(Case(situation(requests), rule, Context()))]


def test_the_largest_cap_without_refusals_is_recommended():
    # the peak of the program's own requests is 4 (three that last and a refused one): caps to 3, which is the limit
    assert ids(FIVE, Rule("requests", "side", 3)) == [("cap-1", False), ("cap-2", False), ("cap-3", True)]


def test_none_where_one_at_a_time_is_all_there_was():
    assert ids([(VM, 0, 1, 1), (VM, 3, 4, 0)], Rule("requests", "side", 1)) == []


def test_one_without_numbers_where_no_count_decides():
    assert ids(FIVE, None) == [("cap-1", False)]


def test_of_many_the_best_is_looked_for():
    # thirty at once, each on a connection; limit 12 of connections: twelve others are refused, so that twelve or thirteen at once are too many
    many = [(VM, 0.3 * k, 60, int(k >= 12), None if k < 12 else 0.3 * k + 0.1) for k in range(30)]
    found = cap.variants(Case(situation(many), Rule("connections", "egress", 12), Context()))
    assert sum(v.recommended for v in found) == 1
    assert len(found) <= 3


@pytest.mark.parametrize("k", [1, 2])
def test_what_the_setting_does_not_do_is_said(k: int):
    variant = cap.variants(Case(situation(FIVE), Rule("requests", "side", 3), Context(program="opencode")))[k - 1]
    assert variant.command == f"BUN_CONFIG_MAX_HTTP_REQUESTS={k} opencode"
    assert any("counts for one process" in each for each in variant.caveats)


def test_several_windows_are_not_capped_by_a_setting_that_counts_for_each() -> None:
    assert cap.variants(Case(situation(FIVE), Rule("requests", "side", 3), Context(at_once=1)))
    assert not cap.variants(Case(situation(FIVE), Rule("requests", "side", 3), Context(at_once=2)))
