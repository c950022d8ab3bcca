"""What a comparison of two recordings says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netlens.chains.situation import VM
from netlens.lenses.refused.comparison import compare
from netlens.report.comparison import Compared, lines, rows, told
from tests.lenses.refused.made_up import situation
from tests.lenses.refused.test_comparison import recorded


def found(before: tuple[int, int], after: tuple[int, int]) -> Compared:
    return told(compare(recorded(*before), recorded(*after)))


def test_the_verdict_is_first_and_every_figure_stands_below() -> None:
    c = found((40, 20), (40, 0))
    shown = lines(c)
    assert shown[0] == c.sentence
    assert (
        c.sentence
        == "Better: 20 of 40 requests (50%) were refused before and 0 of 40 requests (0%) after (Fisher's exact test, p below 0.001)."
    )
    for name, before, after in rows(c):
        assert any(name in line and before in line and after in line for line in shown)


def test_too_little_says_how_long_in_round_numbers_and_what_stands_behind_it() -> None:
    c = found((20, 4), (20, 8))  # 20 % and 40 %, a request a minute
    assert c.sentence.endswith("Chance alone can make that difference; to tell, about 91 minutes of each would be needed.")
    assert any("91 requests in each recording" in line and "80% (power)" in line for line in c.details)
    assert any("71 minutes of before and 71 minutes of after; to record more of before, undo the change" in line for line in c.details)
    big = told(replace(c, needed_requests=7611, more_minutes_before=7591.0, more_minutes_after=7591.0))
    assert "about 7,600 minutes of each" in big.sentence
    assert any("7,611 requests" in line for line in big.details)


def test_the_change_is_in_percentage_points_beside_the_share_it_is_of() -> None:
    shown = rows(found((40, 20), (40, 0)))
    at = [row[0] for row in shown].index("refused at least once")
    assert shown[at + 2] == ("  change, percentage points", "", "-50.0")
    low, high = map(float, shown[at + 3][2].split(" to "))
    assert low < -50 < high < 0


def test_retries_are_told_apart_from_requests() -> None:
    chain = [(VM, 0, 0.1, 1), (VM, 2.1, 2.2, 1), (VM, 6.2, 6.3, 1), (VM, 14.3, 15, 0)]
    c = told(compare(situation(chain), recorded(5, 0)))
    row = next(row for row in rows(c) if row[0] == "requests")
    assert row[1:] == ("1 (4 with retries)", "5")


def test_the_table_fits_80_columns() -> None:
    shown = lines(found((40_000, 20_000), (40_000, 0)))
    table = shown[shown.index("") + 1 :]
    assert max(map(len, table[: table.index("")])) <= 80


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ((30, 3), (30, 3), "The shares are equal here; a true difference may still hide in recordings this short."),
        ((30, 0), (30, 0), "nothing was refused in either recording"),
        ((0, 0), (5, 1), "the recording before has no request whose outcome is known"),
        ((5, 1), (0, 0), "the recording after has no request whose outcome is known"),
        ((0, 0), (0, 0), "neither recording has a request whose outcome is known"),
    ],
)
def test_what_cannot_be_told(before: tuple[int, int], after: tuple[int, int], says: str) -> None:
    c = found(before, after)
    assert says in c.sentence
    lines(c)
