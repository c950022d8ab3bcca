"""Requests of HTTP/2 by what a client's records may hold: each number with its probability."""

from __future__ import annotations

from math import exp

import pytest

from netlens.chains import asked, grammar, streams
from netlens.chains.asked import said as read
from netlens.chains.explained.counting import BEYOND, Counted
from netlens.chains.explained.numbers import by_client
from tests.chains.test_streams import OPENED, Said, seen

FULL = [16384, 9]  #: a frame of 16,384 bytes


def at(ms: int, *sizes: int) -> Said:
    return [(ms, size) for size in sizes]


def numbers(*parts: Said, preface: Said = OPENED[:2]) -> dict[int, float]:
    """Probability of each number of requests, by what the client said."""
    said = read(seen([*preface, *(each for part in parts for each in part)]))
    assert said is not None
    return {len(each.reading.streams): exp(each.weight) for each in grammar.told(said)}


def by_itself(conversation: Said) -> dict[int, float]:
    """The same where all that is known of its client is what it said."""
    said = read(seen(conversation))
    assert said is not None
    return by_client(grammar.told(said, 0, grammar.Sizes([said])), None)


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


def test_fields_as_long_as_frames_of_control() -> None:
    """30 bytes are PING and WINDOW_UPDATE, and fields where a body follows each time (Go, behind a table that has changed)."""
    parts = [at(200 * k, 30 if k % 3 == 0 else 23, 700 + 90 * k) for k in range(2, 32)]
    found = numbers(at(10, 86, 900), at(12, 9), at(250, 13), *parts, preface=GO_PREFACE)
    assert found[31] > 0.95


def test_fields_as_long_as_the_first() -> None:
    """Once the table of HPACK is full all is written out again: more than fields have as a rule, and a body and its end follow."""
    parts = [at(200 * k, 182 if k in (9, 20) else 46, 700 + 90 * k, 9) for k in range(2, 32)]
    found = numbers(at(4, 9), at(10, 102, 900, 9), *parts)
    assert found[31] > 0.95


def test_an_end_beside_fields_is_of_a_request_before() -> None:
    """100 bytes are no fields of two and an end, where nothing had been begun before."""
    parts = [at(200 * k, 100 if k % 8 == 3 else 46, 700 + 90 * k, 9) for k in range(2, 32)]
    found = numbers(at(4, 9), at(10, 102, 900, 9), *parts)
    assert found[31] > 0.9


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


def test_a_body_that_is_longer_than_many_by_just_some_fields_holds_these() -> None:
    """Hyper writes what waits meanwhile in one record with the end of a body."""
    alike = [at(100 * k, 38, 3070 if k == 5 else 2994) for k in range(2, 14)]  # of two more
    first = at(10, 98, 3108, 2994, 2994, 2994)  # of three more
    assert likeliest(first, at(12, 9), *alike, at(560, 2994), at(570, 2994), preface=HYPER_PREFACE) == 18
    other = [at(100 * k, 38, 2994 if k % 2 else 3070 + 40 * k) for k in range(2, 14)]  # of any length
    assert likeliest(at(10, 98, 3108), at(12, 9), *other, preface=HYPER_PREFACE) == 13


def test_the_first_fields_may_be_those_of_two() -> None:
    """One of them without a body, as both were begun before the connection was open (hyper)."""
    rest = [at(100 * k, 85, 658) if k % 3 else at(100 * k, 77) for k in range(2, 14)]
    first = at(10, 224, 658), at(12, 9)
    found = numbers(*first, *rest, preface=HYPER_PREFACE)
    assert found[14] > 0.002
    assert max(found, key=lambda n: found[n]) == 13
    assert 14 not in numbers(*first, *rest)


def test_what_stands_behind_a_window_that_is_filled_is_no_more_of_that_body() -> None:
    """65,535 bytes are three full frames and one that lacks a byte."""
    others = [at(1000 + 200 * k, *([33] if k % 3 else [46, 700, 9])) for k in range(9)]
    for last, n in (([16384, 8], 15), (FULL, 14)):
        parts = at(500, 46, *FULL, *FULL, *FULL, *last, 33), at(560, *FULL, 900, 9)
        found = by_itself([*OPENED, *(each for part in (*ENDED, *parts, *others) for each in part)])
        assert max(found, key=lambda n: found[n]) == n


def test_sizes_that_are_like_no_others_are_no_sums_of_these() -> None:
    """Bodies of any length: each write is one request, though others come to as much together."""
    sizes = [700 + 41 * k + 13 * k * k for k in range(24)]
    found = by_itself([*OPENED, *((10 + 400 * k, size) for k, size in enumerate(sizes))])
    assert max(found, key=lambda n: found[n]) == len(sizes)


def test_a_body_goes_on_behind_a_buffer_that_is_full() -> None:
    """curl writes 64 KiB at a time."""
    long = [16384, 16384, 16384, 15993, 16384, 9600]
    said: Said = []
    for k in range(12):
        said += [(10 + 400 * k, size) for size in (long if k % 3 == 1 else [960 + k])]
    found = by_itself([*OPENED, *said])
    assert max(found, key=lambda n: found[n]) == 12


def test_fields_that_are_answered_before_more_is_said_have_no_body() -> None:
    """httpx, one after the other and soon: fields without a body are about as long as others, and others follow within some ms."""
    said: Said = [*OPENED]
    t = 10
    for k in range(16):
        bare = k % 4 == 2
        said += [(t, 155)] if bare else [(t, 160 + 24 * (k == 0)), (t, 2508 + 71 * k), (t, 9)]
        said += [(t + 36, -(2122 + 31 * k)), (t + 36, -9)]
        t += 39
    found = by_itself(said)
    assert found[16] > 0.9


@pytest.mark.parametrize("acknowledged", [0, 9])
def test_a_body_as_short_as_fields_is_no_request_where_its_end_follows_at_once(acknowledged: int) -> None:
    """httpx: fields, body and end of one request within a ms. Where the body comes without fields, or later, it may be fields without a body."""
    usual = [at(500 + 100 * k, 45, 700 + k, 9) for k in range(6)]
    short = [at(1500 + 100 * k, 45 + acknowledged * (k == 0), size, 9) for k, size in enumerate((172, 138))]
    before = [] if acknowledged else [at(4, 9)]
    found = by_itself([*OPENED[:2], *(each for part in (*before, *ENDED, *usual, *short) for each in part)])
    assert found[12] > 0.9


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
def test_fields_without_a_body_leave_the_number_open_where_they_stand_alone(odd: Said) -> None:
    """As long as other fields, and as WINDOW_UPDATE with an acknowledgment; or as what may be left of a body."""
    found = numbers(*FIELDS, odd, preface=GO_PREFACE)
    assert found[4] > 0.01
    assert found[5] > 0.01


def test_fields_of_another_size_beside_others_are_a_request() -> None:
    assert numbers(at(4, 9), *ENDED, at(500, 45, 3000), at(501, 36), at(502, 9))[6] > 0.001


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
    assert streams.likely([nothing], streams.NOTHING) == [Counted([], 0, 0)]


def test_a_connection_of_many_requests() -> None:
    """An agent's of an hour: fields, a body and its end, 1,200 times."""
    found = numbers(at(4, 9), at(10, 102, 900, 9), *(at(200 * k, 45 + k % 2, 700 + 7 * k % 5000, 9) for k in range(2, 1201)))
    assert found[1200] > 0.8


def test_fields_that_grow_as_their_indices_do() -> None:
    """One more entry of HPACK's table with each request, so one field after the other takes a byte more (RFC 7541 5.1), until all are written out again."""
    sizes = [50] * 30 + [50 + k for k in range(1, 16)] + [140] + [50] * 30
    found = numbers(at(4, 9), at(10, 138, 900, 9), *(at(200 * k, size, 1700 + 11 * k, 9) for k, size in enumerate(sizes, 2)))
    assert found[77] > 0.9


def test_fields_of_six_in_one_record() -> None:
    """Seven workers: the first one's answer was not waited for."""
    ends = at(90, *[9] * 6)
    found = numbers(
        at(10, 138, 6114, 9), at(20, 309, 3280, 7277, 1600, 1995, 2351, 6800), ends, *(at(200 * k, 50, 900 + k, 9) for k in range(2, 32))
    )
    assert max(found, key=lambda n: found[n]) == 37


def test_fields_between_ends_of_others_are_fields() -> None:
    """Of several workers: half of the fields stand before the end of another body, or before other fields."""
    parts = [at(400 * k, 50, 50, 2837, 1822, 9, 9) for k in range(1, 20)]
    found = numbers(at(4, 9), at(10, 138, 900, 9), *parts)
    assert found[39] > 0.9


def test_settings_are_acknowledged_before_answers_are_read() -> None:
    """An end long after the first answer is no acknowledgment, though one more fits."""
    late = [(600, -300), (700, -9)]
    parts = [at(1000 * k, 50, 3000 + k, 9) for k in range(1, 30)]
    odd = at(30_000, 50, 7085, 9, 7749, 9)  # the second one's fields stand in one record with a piece of the first body
    with_answer = numbers(at(10, 138, 1735, 9), at(20, 59, 2309, 9), late, *parts, odd)
    without = numbers(at(10, 138, 1735, 9), at(20, 59, 2309, 9), *parts, odd)
    assert max(with_answer, key=lambda n: with_answer[n]) == 33
    assert max(without, key=lambda n: without[n]) == 32


def test_of_very_many_records_none_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    said = read(seen([*OPENED, *(each for part in ENDED for each in part)]))
    assert said is not None
    monkeypatch.setattr(streams, "MOST_RECORDS", len(said.mine) - 1)
    monkeypatch.setattr(grammar, "told", lambda *_: pytest.fail("it was read"))
    assert len(streams.likely([streams.Connection(said, 0, cut=False)], streams.NOTHING)) == 1


def said_by(*parts: Said, preface: Said = OPENED[:2]) -> asked.Said:
    said = read(seen([*preface, *(each for part in parts for each in part)]))
    assert said is not None
    return said


def weights(said: asked.Said, sizes: grammar.Sizes | None = None) -> dict[int, float]:
    return {len(each.reading.streams): exp(each.weight) for each in grammar.told(said, 0, sizes)}


def test_two_fields_in_one_record_by_the_size_of_others_of_the_capture() -> None:
    """httpx: behind the first, all that a connection asks may be begun in one record, with the acknowledgment."""
    few = said_by(at(10, 129, 3239, 9), at(30, 9 + 2 * 72, 3235, 4104), at(35, 9), at(36, 9))
    others = [said_by(at(4, 9), at(10, 129, 900, 9), *(at(100 * k, 72, 700 + k, 9) for k in range(1, 5)))] * 2
    assert weights(few) == {}
    sizes = grammar.Sizes([few, *others])
    assert (sizes.fields, sizes.ended) == (72, True)
    found = weights(few, sizes)
    assert max(found, key=lambda n: found[n]) == 3


def test_the_only_request_of_a_connection_whose_client_sends_fields_apart() -> None:
    """Java: with others to tell, the first fields and a body are one request."""
    one = said_by(at(10, 199, 2411), at(13, 9))
    others = [said_by(at(4, 9), at(10, 199, 900), *(at(100 * k, 33, 700 + k) for k in range(1, 6)))] * 2
    assert weights(one, grammar.Sizes([one, *others]))[1] > 0.999


def test_how_often_ends_hide_behind_pieces_is_learned() -> None:
    plain = [said_by(at(4, 9), at(10, 129, 900, 9), *(at(100 * k, 72, 700 + k, 9) for k in range(1, 9)))] * 3
    assert max((often := grammar.Sizes(plain).hidden), key=lambda each: often[each]) == grammar.HIDDEN
    hiding = [
        said_by(
            at(4, 9), at(10, 129, 900, 9), *(at(100 * k, 72, 700 + k, 9) for k in range(1, 5)),
            *(at(1000 * k, 72, 16384, 9, 500, 72, 2500, 2300, 9) for k in range(1, 9)),
        )
    ] * 3  # fmt: skip
    assert max((often := grammar.Sizes(hiding).hidden), key=lambda each: often[each]) > grammar.HIDDEN


def test_an_acknowledgment_with_the_first_fields_and_shorter_ones_behind() -> None:
    """niquests: no body is cut before a record or a window is full, so 23 bytes are no rest of one."""
    asked_for = [at(10, 121, 939, 9), at(11, 23, 1037, 9), at(12, 23, 1011, 9), at(20, 19, 1037, 9)]
    found = numbers(*asked_for)
    assert max(found, key=lambda n: found[n]) == 4
    assert found[4] > 0.9


def test_fields_whose_body_comes_late() -> None:
    """On a busy machine, or once a window is open."""
    late = [at(10, 86, 900), at(12, 9), at(200, 22), at(270, 700), at(300, 23, *FULL, 500), at(400, 22, 700)]
    assert numbers(*late, preface=GO_PREFACE)[4] > 0.95
    assert numbers(*late[:2], at(200, 22), at(270, 23, 700), at(300, 22, 800), preface=GO_PREFACE)[4] > 0.1  # one without a body


def test_words_of_farewell_are_no_request() -> None:
    """Java's GOAWAY has 34 bytes."""
    last: Said = [(10, 199), (10, 2411), (13, 9), (300, -52), (301, -182), (900, -9), (905, 34)]
    said = read(seen([*OPENED[:2], *last]))
    assert said is not None
    assert [r.size for r in said.mine] == [199, 2411, 9]
    assert said.bodies
    followed = read(seen([*OPENED[:2], *last, (950, -182)]))
    assert followed is not None
    assert followed.mine[-1].size == 34


def test_what_nothing_is_known_of_is_a_guess_with_room() -> None:
    said = said_by(at(10, 38), at(500, 12_000), at(900, 40))
    guess = grammar.guess(said)
    assert guess is not None
    found = by_client([grammar.Told(guess, 0.0)], None)
    assert all(found[n] > BEYOND for n in range(1, 8))
    assert 0 not in found


def test_a_part_that_follows_at_once_was_allowed_with_the_one_before() -> None:
    parts: Said = []
    for k in range(4):
        t = 3000 * k + 10
        parts += [(t, 16384)] * 4 + [
            (t, 190),
            (t + 21, -26),
            (t + 22, 16346),
            (t + 43, -26),
            (t + 44, 16346),
            (t + 44, 2740),
            (t + 1500, 800),
        ]
    (told,) = grammar.told(said_by(parts))
    found = by_client([told], None)
    assert max(found, key=lambda n: found[n]) in (8, 9)
    assert found[8] > 0.25


def test_bodies_longer_than_a_frame_alone_end_with_an_empty_one() -> None:
    """undici: what goes on behind a pause is no body of one request."""
    parts = [at(300 * k + 10, 12_000) if k % 3 else at(300 * k + 10, 16384, 5000, 9) for k in range(9)]
    said = said_by(at(4, 9), *parts)
    assert not any(each.likely and each.apart for each in said.readings)
    assert 9 in [len(each.streams) for each in said.readings if each.together]


def test_fields_that_hold_a_token_and_a_body_some_milliseconds_later() -> None:
    """hyper on a busy machine: GET, POST and GET, of which each says a token of 200 bytes anew."""
    answers: Said = [(300, -220), (300, -1262)]
    found = by_itself(
        [*GO_PREFACE, *at(10, 291, 3777), *at(100, 221), (120, -1600), *at(150, 229), *at(152, 4594), *answers, *at(400, 221), (420, -1700)]
    )
    assert found[4] > 0.2
    assert found[5] > 0.2  # or a request by itself: what the server says decides


def test_bodies_that_begin_late_are_requests_where_no_fields_are_as_long() -> None:
    found = by_itself([*GO_PREFACE, *at(10, 291, 3777), *at(150, 829), *at(152, 4594), (300, -1262), *at(400, 3221)])
    assert max(found, key=found.__getitem__) == 4


def test_fields_of_several_requests_in_one_record_before_all_their_bodies() -> None:
    """hyper, which waited for the connection with all four."""
    found = by_itself([*HYPER_PREFACE, *at(9, 454, 401, 401, 401, 401), *[(30, -264)] * 4])
    assert found[4] > 0.2


@pytest.mark.parametrize("late", [0, 3])
def test_records_that_grow_are_one_write_also_where_tcp_waits(late: int) -> None:
    """Go's first records are longer by 1,186 bytes each; these are a frame of a body."""
    said = read(seen([*GO_PREFACE, *at(10, 209, 309, 91, 5930), *at(10 + late, 7116, 3347, 4690), (200, -300)]))
    assert said is not None
    assert [w.size for w in grammar.written(said.mine, said.preface)] == [209, 309, 91, 16393, 4690]


def test_requests_without_a_body_beside_whole_ones() -> None:
    """curl writes fields and a short body at once; what is short is a request by itself, not the fields of the next body."""
    turns = [
        each
        for k in range(6)
        for each in (*at(100 * k + 50, 142), *at(100 * k + 60, 2807), *at(100 * k + 80, 2806), *at(100 * k + 99, 2807))
    ]
    found = by_itself([*OPENED[:2], *at(4, 2938), *turns, (900, -300)])
    assert found[25] > 0.001  # what follows soon behind 142 bytes may be their body
    assert sum(found[n] for n in range(19, 26)) > 0.95  # without each body that stands alone it would be 7


def test_fields_before_bodies_of_one_size_are_no_requests() -> None:
    found = by_itself([*OPENED[:2], *at(4, 138, 2665), *[each for k in range(6) for each in at(100 * k + 50, 142, 2665)], (900, -300)])
    assert max(found, key=found.__getitem__) == 7


def test_updates_for_answers_that_begin_together_are_no_request() -> None:
    """curl sends two WINDOW_UPDATEs as an answer begins, in one record for two of them."""
    turns = [
        each
        for k in range(8)
        for each in (*at(100 * k + 50, 1290), *at(100 * k + 51, 1290), (100 * k + 60, -96), (100 * k + 60, -233), (100 * k + 60, 52))
    ]
    found = by_itself([*OPENED[:2], *at(4, 1395), *turns, (900, -300)])
    assert found[17] > 0.9


def test_requests_of_one_size_are_as_many_as_a_write_is_long() -> None:
    """However seldom a program begins two at once."""
    said = said_by(at(10, 2 * 1062 + 63), *[at(100 * k, 1062) for k in range(1, 40)])
    usual = grammar.usual([said])[0]
    (read,) = grammar.told(said, usual, grammar.Sizes([said]))
    assert read.reading.many[0][2] > 0.9999


def test_bodies_of_one_size_are_no_fields_where_others_are_short() -> None:
    """curl: GETs by themselves have 148 bytes, so writes of 520 are no fields whose bodies follow."""
    sizes = 520, 523, 911, 1402, 1877, 2390
    turns = [
        each
        for k, size in enumerate(sizes)
        for each in (*at(800 * k + 50, 148), (800 * k + 60, -300), *at(800 * k + 400, size), *at(800 * k + 403, size + 301))
    ]
    found = by_itself([*OPENED[:2], *at(4, 1395), *turns, (9000, -300)])
    assert max(found, key=found.__getitem__) == 19


def test_what_is_as_long_as_every_request_is_one_behind_a_short_one_too() -> None:
    """curl: one body again and again, and a GET in between."""
    parts = [*at(4, 4722), *[each for k in range(1, 9) for each in at(k, 4590)], *at(10, 147), *at(11, 4590), *at(12, 4590)]
    said = said_by(parts, preface=OPENED[:2])
    told = grammar.told(said, grammar.usual([said])[0], grammar.Sizes([said]))
    assert by_client(told, None)[12] > 0.9


def test_updates_right_before_requests_are_no_fields() -> None:
    """curl answers a head with WINDOW_UPDATEs, and begins its next requests with the end of an answer, just behind others."""
    turns = [each for k in range(1, 5) for each in ((100 * k, -452), (100 * k, 26), (100 * k + 1, -198), *at(100 * k + 1, 26, 735, 736))]
    said = said_by([*at(4, 883, 735), (5, 9), *turns])
    assert {each.together for each in said.readings} == {True}


@pytest.mark.parametrize("by", [1186, 1179, 1187])
def test_a_body_in_growing_records_is_one_write(by: int) -> None:
    """Go, in TLS 1.3, and in TLS 1.2 with AES-GCM and with ChaCha20: the first request of a connection, with what is left in the last record."""
    said = said_by(at(10, 220, 3 * by), at(13, 4 * by), at(16, 2_442), preface=GO_PREFACE)
    assert [w.size for w in grammar.written(said.mine, said.preface)] == [220, 7 * by + 2_442]


def test_full_frames_are_of_the_body_behind_fields() -> None:
    """Go: the fields of one request in a record of their own, and its body in full frames, each a write by itself, as windows allow."""
    said = said_by(at(10, 236, *FULL), at(25, *FULL), at(46, *FULL), at(60, 4_422), at(300, -460))
    (one,) = grammar.told(said)
    begins = [1 - many[0] for each, many in zip(one.reading.streams, one.reading.many, strict=True) if each.up > 16_000]
    assert all(p < 0.02 for p in begins)


def test_updates_before_bodies_are_no_fields() -> None:
    """curl: two WINDOW_UPDATEs as an answer begins, and the next request some milliseconds behind, fields and body in one write."""
    parts = [each for k in range(8) for each in (at(100 * k + 10, 2_000 + 700 * k), at(100 * k + 90, -350), at(100 * k + 95, 26))]
    said = said_by(at(4, 9), *parts)
    assert all(each.reading.together for each in grammar.told(said))


def test_a_write_that_follows_an_answer_is_hardly_a_body() -> None:
    """curl: a GET, which is answered, and a POST 7 ms behind it, fields and body in one write."""
    parts = [at(10, 157), at(17, 2_291), at(500, 900), at(900, 1_200)]
    odds = []
    for said in (said_by(*parts), said_by(parts[0], at(16, -2_638), *parts[1:])):
        (one, *_) = grammar.told(said)
        odds.append(one.reading.many[1][0])
    assert odds[0] > 2 * odds[1]


def test_most_writes_tell_the_size_of_requests() -> None:
    """h2load: one body waits, so its rest is a write of another size."""
    said = said_by(at(10, 65_864), at(29, -13, -13), at(30, 39_014), *(at(100 * k, 52_387) for k in range(1, 14)))
    assert grammar.usual([said]) == [52_387]
    (one, *_) = grammar.told(said, 52_387)
    begins = [max(range(len(many)), key=many.__getitem__) for many in one.reading.many]
    assert (begins[0], sum(begins)) == (2, 15)
