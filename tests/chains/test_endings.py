"""Requests of HTTP/2 at servers that do not show where answers end: what ends them is learned; right, or not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.chains import grammar, streams
from netlens.chains.situation import ACCEPTED, REJECTED
from tests.chains.test_streams import MS, OPENED, T0, Said, analysed, asked, connection, refused, streamed, together, work

if TYPE_CHECKING:
    from pathlib import Path

DONE = 23  #: bytes of a record with "data: [DONE]"


def ends_hidden(said: Said) -> Said:
    """The same of a server that ends answers in their last piece."""
    return [(ms, size) for k, (ms, size) in enumerate(said) if size != -9 or k < len(OPENED)]


def learned(*conversations: Said, cut: int = 0) -> streams.Shapes:
    """What is known of a server by these; ``cut`` : ms, when the capture ends, if it does before they do."""
    return streams.learned([connection(said, cut or 60_000, cut=bool(cut)) for said in conversations], streams.NOTHING)


def count(said: Said, known: streams.Shapes, cut: int = 0) -> list[tuple[int, int]] | None:
    """(sent, ended) in ms of each request, -1 for one without an end; None where they cannot be counted."""
    found, fits = streams.counted(connection(said, cut or 60_000, cut=bool(cut)), known)
    return [((each.sent_ns - T0) // MS, -1 if each.end_ns < 0 else (each.end_ns - T0) // MS) for each in found] if fits else None


def alone(rounds: int = 4, refusals: int = 258) -> Said:
    """One request after the other, with time between."""
    parts = [OPENED]
    for k in range(rounds):
        t = 3000 * k + 10
        parts += [asked(t, 900 + k), streamed(t + 300, t + 1500), asked(t + 2000, 800), refused(t + 2015, refusals)]
    return ends_hidden(together(*parts))


def rounds_of(many: int) -> list[tuple[int, int]]:
    return [each for k in range(many) for each in [(3000 * k + 10, 3000 * k + 1510), (3000 * k + 2010, 3000 * k + 2025)]]


def test_what_ends_answers_is_learned_from_those_by_themselves() -> None:
    known = learned(alone())
    assert known.learned
    assert DONE in known.done
    assert known.short == {258}
    assert count(alone(), known) == rounds_of(4)


def test_another_end_than_the_usual_is_learned() -> None:
    said = [(ms, -60 if size == -DONE else size) for ms, size in alone()]
    assert learned(said).done == {60}
    assert count(said, learned(said)) == rounds_of(4)


def test_head_and_body_of_short_answers_are_no_two_answers() -> None:
    """Most have both in one record of 258 bytes, some in two of 100 and 158, between which another request begins."""
    parts = []
    for t in range(30_000, 40_000, 2500):
        parts += [asked(t, 800), asked(t + 20, 800), [(t + 15, -100), (t + 21, -158), (t + 40, -258)]]
        parts += [asked(t + 1000, 800), [(t + 1015, -100), (t + 1016, -158)]]
    known = learned(alone(6), ends_hidden(together(OPENED, *parts)))
    assert 258 in known.short
    assert 100 not in known.short


def test_nothing_is_learned_where_ends_show() -> None:
    said = together(OPENED, *(part for k in range(4) for part in (asked(1000 * k + 10, 900), streamed(1000 * k + 200, 1000 * k + 900))))
    assert not learned(said).learned


def test_several_at_a_time_and_a_refusal_among_them() -> None:
    known = learned(alone())
    both = together(OPENED, asked(10, 900), streamed(200, 2000), asked(500, 700), streamed(800, 3000), asked(1500, 800), refused(1512))
    assert count(ends_hidden(both), known) == [(10, 2000), (500, 3000), (1500, 1512)]


def test_an_end_in_one_record_with_a_piece_leaves_several_at_a_time_uncounted() -> None:
    known = learned(alone())
    both = together(OPENED, asked(10, 900), streamed(200, 2000), asked(500, 700), streamed(800, 3000))
    hidden = [(ms, -151 if (ms, size) == (2000, -DONE) else size) for ms, size in ends_hidden(both)]
    assert count(hidden, known) is None


def test_where_pieces_are_as_long_as_refusals_only_one_after_the_other_is_counted() -> None:
    one, known = alone(refusals=140), learned(alone(refusals=140))
    assert 140 in known.inside
    assert count(one, known) == rounds_of(4)
    both = together(OPENED, asked(10, 900), streamed(200, 2000), asked(500, 700), streamed(800, 3000), asked(1500, 800), refused(1512, 140))
    assert count(ends_hidden(both), known) is None


def test_the_first_record_of_a_stream_may_be_as_long_as_a_refusal() -> None:
    said = [(ms, -258 if (ms, size) == (3310, -127) else size) for ms, size in alone()]
    assert count(said, learned(alone())) == rounds_of(4)


def test_a_refusal_of_a_size_that_none_had() -> None:
    said = [(ms, -301 if (ms, size) == (8025, -258) else size) for ms, size in alone()]
    assert count(said, learned(alone())) == rounds_of(4)


def in_bursts(said: Said) -> Said:
    """The same of a client that sends fields, body and end in one record."""
    opened, rest = said[: len(OPENED)], said[len(OPENED) :]
    return opened + [(ms, size) for ms, size in rest if size not in (9, 45)]


def test_bursts_are_counted_one_after_the_other_only() -> None:
    one = in_bursts(alone())
    known = learned(one)
    assert count(one, known) == rounds_of(4)
    both = together(OPENED, asked(10, 900), streamed(200, 2000), asked(500, 700), streamed(800, 3000))
    assert count(in_bursts(ends_hidden(both)), known) is None  # as each may hold two
    at_once = [*OPENED, (10, 900), (10, 800), *[each for each in streamed(200, 900) if each[1] != -9], (1000, 700), (1015, -258)]
    assert count(at_once, known) is None


def with_fields_apart(said: Said) -> Said:
    """The same of a client that sends fields, and body and end (Go)."""
    opened, rest = said[: len(OPENED)], said[len(OPENED) :]
    return opened + [(ms, 22 if size == 45 else size) for ms, size in rest if size != 9]


def test_requests_that_begin_with_fields() -> None:
    one = with_fields_apart(alone())
    known = learned(one)
    assert count(one, known) == rounds_of(4)
    parts = [part for k in range(3) for part in (asked(3000 * k + 10, 900), streamed(3000 * k + 200, 3000 * k + 2000))]
    parts += [part for k in range(3) for part in (asked(3000 * k + 12, 700), streamed(3000 * k + 800, 3000 * k + 2500))]
    found = count(with_fields_apart(ends_hidden(together(OPENED, *parts))), known)
    assert found == sorted([(3000 * k + 10, 3000 * k + 2000) for k in range(3)] + [(3000 * k + 12, 3000 * k + 2500) for k in range(3)])


@pytest.mark.parametrize("form", [list, in_bursts, with_fields_apart])
def test_a_request_without_a_body_makes_a_connection_uncountable(form: type) -> None:
    one = form(alone())
    assert count([*one, (13_000, 38), (13_010, -80)], learned(one)) is None


def test_answers_that_are_no_streams() -> None:
    parts = [OPENED, asked(10, 900), refused(30)]
    for k in range(1, 5):
        parts += [
            asked(2000 * k, 900),
            [(2000 * k + 800, -80), (2000 * k + 801, -3000 - 170 * k)],
            asked(2000 * k + 1200, 700),
            refused(2000 * k + 1210),
        ]
    said = ends_hidden(together(*parts))
    known = learned(said)
    assert known.whole
    expected = [(10, 30), *(each for k in range(1, 5) for each in [(2000 * k, 2000 * k + 801), (2000 * k + 1200, 2000 * k + 1210)])]
    assert count(said, known) == expected


def test_ends_as_long_as_pieces_one_after_the_other() -> None:
    said = [(ms, -130 if size == -DONE else size) for ms, size in alone(6)]
    known = learned(said)
    assert count(said, known) == rounds_of(6)


def test_many_updates_behind_a_long_body_are_no_answer() -> None:
    said = [*alone(), (12_010, 45), (12_010, 16384), (12_010, 9), (12_010, 3000), (12_010, 9), (12_011, -117), (12_040, -258)]
    assert count(said, learned(alone())) == [*rounds_of(4), (12_010, 12_040)]


def test_in_progress_when_the_capture_ends() -> None:
    goes_on = together(alone(), asked(12_010, 900), streamed(12_300, 13_000))[:-2]
    assert count(goes_on, learned(goes_on, cut=13_000), cut=13_000) == [*rounds_of(4), (12_010, -1)]
    asks = together(alone(), asked(12_010, 900))
    assert count(asks, learned(asks, cut=12_020), cut=12_020) == [*rounds_of(4), (12_010, -1)]
    # perhaps broken off, or one of several
    assert count([*goes_on, (12_999, 13)], learned(goes_on, cut=13_000), cut=13_000) is None
    assert count(together(goes_on, asked(12_500, 800)), learned(goes_on, cut=13_000), cut=13_000) is None


def test_two_refusals_in_one_record_are_not_taken_for_one() -> None:
    known = learned(in_bursts(alone()))
    assert count([*OPENED, (10, 16384), (10, 700), (30, -516)], known) is None


def test_requests_of_a_capture_are_counted_and_refusals_found(tmp_path: Path) -> None:
    said, refusals, requests = work(8)
    refusals = sorted([*refusals, *(3000 * k + 2015 for k in range(4))])
    found = analysed(tmp_path, [ends_hidden(said), alone()], refusals)
    r = found.assembled.situation.requests
    assert found.assembled.situation.uncountable is None
    assert len(r) == requests + 8
    assert int((r.rejected == REJECTED).sum()) == len(refusals)
    assert int((r.rejected == ACCEPTED).sum()) >= requests + 8 - len(refusals) - 2  # the log covers no more
    assert found.counts["rejections"] == len(refusals)
    assert sum("counted by the sizes of TLS records" in note for note in found.quality["notes"]) == 1


def test_one_connection_that_cannot_be_counted_is_told_between_wide_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be made of what its client wrote, and a request without a body is among it."""
    monkeypatch.setattr(grammar, "_by_fields", lambda *_: [])
    said, refusals, _ = work(4)
    odd = [*alone(), (13_000, 38), (13_010, -80)]
    found = analysed(tmp_path, [ends_hidden(said), odd], refusals)
    assert found.assembled.situation.uncountable is not None
    guessed = found.assembled.upstream.counted[1]
    assert guessed.least < 9 < guessed.most
    assert guessed.least <= len(guessed.streams) <= guessed.most
