"""Requests of HTTP/2 by what a client's records may hold: each number with its probability, and nothing where a request may have no body."""

from __future__ import annotations

from math import exp

import pytest

from netlens.chains import asked, explained, grammar, streams
from netlens.chains.asked import said as read
from tests.chains.test_streams import OPENED, Said, seen

FULL = [16384, 9]  #: a frame of 16,384 bytes


def at(ms: int, *sizes: int) -> Said:
    return [(ms, size) for size in sizes]


def numbers(*parts: Said, preface: Said = OPENED[:2]) -> dict[int, float]:
    """Probability of each number of requests, by what the client said."""
    said = read(seen([*preface, *(each for part in parts for each in part)]))
    assert said is not None
    return {len(each.reading.streams): exp(each.weight) for each in grammar.told(said)}


def likeliest(*parts: Said, preface: Said = OPENED[:2]) -> int:
    found = numbers(*parts, preface=preface)
    return max(found, key=lambda n: found[n])


ENDED = [at(10, 102, 900, 9), at(200, 45, 700, 9), at(300, 46, *FULL, 500, 9), at(400, 45, 700, 9)]
GO_PREFACE: Said = [(2, 70), (3, -40)]
HYPER_PREFACE: Said = [(2, 24), (2, 46), (3, -40)]
FIELDS = [at(10, 86, 900), at(12, 9), at(200, 22, 700), at(300, 23, *FULL, 500), at(400, 22, 700)]


def test_ends_and_fields_of_one_after_the_other() -> None:
    found = numbers(at(4, 9), *ENDED)
    assert found[4] > 0.95


def test_an_acknowledgment_in_one_record_with_the_fields_of_two() -> None:
    found = numbers(ENDED[0], at(20, 100, *FULL, 300, 950, 9, 9), *ENDED[1:])
    assert found[6] > 0.95


def test_an_end_in_one_record_with_the_next_fields() -> None:
    assert likeliest(at(4, 9), *ENDED, at(500, 45, 3000), at(501, 54, 441, 9)) == 6


def test_a_preface_in_two_records_is_no_request() -> None:
    """As hyper writes it, which sends no ends of bodies."""
    assert numbers(*FIELDS, preface=HYPER_PREFACE)[4] > 0.95


@pytest.mark.parametrize("fields", [136, 186])
def test_fields_of_others_with_the_first_body(fields: int) -> None:
    """Hyper writes all that was begun before the connection was open at once, behind the first request's fields, which may be long."""
    first = at(10, fields, 3820, 1938, 5522)  # the second holds fields of two, and the first body
    rest = [at(100 * k, 75, 2100 + 333 * k) for k in range(2, 9)]
    assert numbers(first, at(12, 9), *rest, preface=HYPER_PREFACE)[10] > 0.8
    assert likeliest(first, at(12, 9), *rest) < 10  # others write fields by themselves


def test_what_is_left_of_a_full_frame_is_no_fields() -> None:
    assert likeliest(*FIELDS, at(500, 23, 16384, 22), at(600, 22, 800)) == 6


def test_a_frame_in_two_parts_ends_no_body() -> None:
    """A window of 65,535 bytes ends within a frame."""
    parts = at(500, 23, *FULL, *FULL, *FULL, 12907), at(530, 3495, 1000)
    assert likeliest(*FIELDS, *parts, at(700, 22, 800), preface=GO_PREFACE) == 6


def test_records_that_grow_are_one_write() -> None:
    """Go's are 1,186 bytes longer each, until they are full."""
    grown = at(200, 22, 4 * 1186 + 1186 * 2, 8302, 2704)  # behind preface, fields, body and acknowledgment, the sixth and the seventh
    assert likeliest(at(10, 86, 900), at(12, 9), grown, *FIELDS[3:], preface=GO_PREFACE) == 4


@pytest.mark.parametrize("odd", [at(20_000, 22), at(20_000, 38)])
def test_fields_without_a_body_are_not_read(odd: Said) -> None:
    assert numbers(*FIELDS, odd, preface=GO_PREFACE) == {}


def test_fields_of_another_size_are_not_read_beside_others() -> None:
    assert numbers(at(4, 9), *ENDED, at(500, 45, 3000), at(501, 36), at(502, 9)) == {}


def test_a_body_that_waits_begins_no_request() -> None:
    """Fields and body in one write, of which the second fills a window."""
    first = [(2, 1500), (3, -40), (4, 9)]
    said = read(seen([*first, *at(300, *[16384] * 4, 90), (329, -26), *at(330, 16329), *at(900, 1200)]))
    assert said is not None
    (found,) = grammar.told(said)
    assert [round(sum(n * p for n, p in enumerate(many)), 1) for many in found.reading.many][1:] == pytest.approx([1.0, 0.0, 1.0], abs=0.2)


def test_a_client_that_sent_nothing_behind_its_preface() -> None:
    nothing = streams.Connection(asked.Said([], [], []), 0, cut=False)
    assert grammar.told(asked.Said([], [], [])) == []
    assert streams.likely([nothing], streams.NOTHING) == [explained.Counted([], 0, 0)]


def test_more_writes_than_can_be_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways through them grow with their square."""
    assert numbers(at(4, 9), *ENDED)
    monkeypatch.setattr(grammar, "MOST_WRITES", 8)
    assert not numbers(at(4, 9), *ENDED)


def test_of_very_many_records_none_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    said = read(seen([*OPENED, *(each for part in ENDED for each in part)]))
    assert said is not None
    monkeypatch.setattr(explained, "MOST", len(said.mine) - 1)
    monkeypatch.setattr(grammar, "told", lambda *_: pytest.fail("it was read"))
    assert len(streams.likely([streams.Connection(said, 0, cut=False)], streams.NOTHING)) == 1
