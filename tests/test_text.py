"""Words for people: durations and times in the unit that fits."""

from __future__ import annotations

import pytest

from netlens.text import duration, interval, shortened, utc


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(2.5, "2.5 s"), (0.0021, "2.1 ms"), (2e-6, "2 µs"), (3e-8, "30 ns"), (125, "2 min 5 s"), (11400, "3 h 10 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_has_a_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_time_outside_the_calendar_is_a_number() -> None:
    assert utc(1_769_300_000_123_456_789) == "2026-01-25 00:13:20.123 UTC"
    assert utc(10**30) == "1000000000000000000000 s after 1970"


def test_a_long_text_loses_its_middle() -> None:
    assert shortened("a" * 48, 48) == "a" * 48
    assert shortened("a" * 40 + "b" * 40, 12) == "aaaaaaa…bbbb"


@pytest.mark.parametrize(("least", "most", "said"), [(4, 4, "4"), (4, 7, "4 to 7"), (900, 1200, "900 to 1,200")])
def test_an_interval_of_one_number_is_that_number(least: int, most: int, said: str) -> None:
    assert interval(least, most) == said
