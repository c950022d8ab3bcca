"""What real clients and servers wrote that was misread once. Sizes are those of captures, read with their keys."""

from __future__ import annotations

from math import exp

import pytest

from netlens.chains import asked, grammar, streams
from netlens.chains.asked import said as read
from netlens.chains.explained import numbers, signs
from netlens.chains.explained.model import Model
from netlens.chains.explained.talks import SURELY, Look
from netlens.chains.explained.walks import Kind
from tests.chains.test_grammar import HYPER_PREFACE, at
from tests.chains.test_signs import GO_OPENS, HAPROXY_OPENS, PIECES, go, opened, talk
from tests.chains.test_streams import Said, connection, seen


def by_hyper(*parts: Said) -> dict[int, float]:
    """Probability of each number of requests, each answered a while behind it."""
    said = read(seen([*HYPER_PREFACE, *(each for part in parts for each in part)]))
    assert said is not None
    return {len(each.reading.streams): exp(each.weight) for each in grammar.told(said, 0, grammar.Sizes([said]))}


LATER = [at(200 * k, 72, 1_500 + 333 * k) for k in range(1, 6)]


@pytest.mark.parametrize(
    ("first", "begun"),
    [
        ((134, 1462), 1),
        ((134, 155), 1),  # a body as short as fields
        ((134, 1462, 2593), 2),  # fields of the second in one record with the first body
        ((134, 594, 800, 1077), 3),
        ((135, 16384, 81, 906, 16384, 9, 9453), 2),  # and with what is left of a frame
        ((135, 16384, 225, 4226, 16384, 9, 9448, 2735, 3000), 4),
    ],
)
def test_what_hyper_writes_at_first(first: tuple[int, ...], begun: int) -> None:
    """All that waits for its connection; fields of further requests are as long as those of later ones."""
    found = by_hyper(at(10, *first), at(12, 9), *LATER)
    assert max(found, key=found.__getitem__) == begun + len(LATER)
    assert found[begun + len(LATER)] > 0.8


def test_fields_that_may_be_those_of_more_are_left_open() -> None:
    """207 bytes are those of one request or of two, of which the body of one waits."""
    said = read(seen([*HYPER_PREFACE, *at(10, 207, 6_566), *at(12, 9), *(each for part in LATER for each in part)]))
    assert said is not None
    assert said.waited


def test_goaway_behind_all_is_no_request() -> None:
    """nghttp, the last record of whose body is as short as fields."""
    said = read(seen([(2, 16_384), (3, -40), (4, 16_384), (5, 18), (6, 9), (60, -95), (61, -34), (90, -159), (91, -9), (92, -9), (95, 17)]))
    assert said is not None
    assert said.mine[-1].size != 17


def test_requests_as_long_as_many_updates_are_none() -> None:
    """h2load, each of whose requests has 299 bytes, 23 times 13."""
    asks: Said = [each for k in range(6) for each in ((50 * k + 10, 299), (50 * k + 40, -223))]
    one = talk(connection([(2, 337), (3, -40), (4, -9), (5, 9), *asks, (400, 17)], 401, cut=False))
    starts = [each.begin_ns for each in one.best.streams]
    assert len(starts) == 7
    assert [look.echo for look in one.looks(starts)] == [0] * 6


def test_as_many_short_answers_as_have_room_in_a_record() -> None:
    model = Model(False)
    for _ in range(20):
        model.add(Look(197, 0, 0, 0, False), Kind.SHORT)
    odds = model.odds(Look(251, 0, 0, 0, False))
    assert odds[Kind.SHORT] > odds[Kind.TWO] > 0.0 == odds[Kind.FOUR]


@pytest.mark.parametrize(
    ("bodies", "paid"),
    [
        ((446, 500, 406), 3),
        ((446, 500, 16_384), 0),  # frames of long bodies are read in parts
    ],
)
def test_haproxy_pays_for_each_short_body(bodies: tuple[int, ...], paid: int) -> None:
    """One WINDOW_UPDATE for each, and one each time that it has read."""
    asks: Said = [(10, bodies[0]), (11, -26), *[(12, size) for size in bodies[1:]], (13, -39), (60, -281), (61, -281), (62, -281)]
    one = talk(connection([*opened(HAPROXY_OPENS)[1:], *asks, (70, 17)], 71, cut=False))
    assert signs.paid_in_all(one._replace(said=one.said._replace(pays=2))) == paid


def test_records_that_grow_are_one_body_to_haproxy() -> None:
    """Go's, which it reads in two parts."""
    asks: Said = [(10, 112), *[(10, size) for size in (3_558, 4_744, 5_930, 2_161, 1_381)], (11, 9), (12, -26), (12, -26), (60, -281)]
    one = talk(connection([(2, 70), (3, -HAPROXY_OPENS), *asks, (70, 17)], 71, cut=False))
    assert signs.paid_in_all(one._replace(said=one.said._replace(pays=2))) == 0


def test_fields_are_no_part_of_a_frame_that_waited() -> None:
    """73 bytes of fields, and 16,329 of the last frame that a window lets through, are as many as a frame in two parts."""
    said = read(seen([*HYPER_PREFACE, *at(10, 135, 3_424), *at(12, 9), *at(110, 73, 16_384, 9, 16_384, 9, 16_329), (300, -300)]))
    assert said is not None
    assert [w.size for w in grammar.written(said.mine, said.preface)] == [135, 3_424, 9, 73, 16_393, 16_393, 16_329]


def test_updates_of_curl_before_bodies_are_no_fields() -> None:
    """Two of them as an answer begins, at once behind which it asks for more now and then."""
    bodies = [2_141, 4_194, 7_230, 7_364, 9_454, 13_024, 13_898, 15_881]
    said = read(
        seen(
            [
                (2, 809),
                (3, -40),
                (4, 9),
                *[each for k, size in enumerate(bodies) for each in ([(20 * k + 9, 26)] * (k % 2) + [(20 * k + 9, size)])],
            ]
        )
    )
    assert said is not None
    writes = grammar.written(said.mine, said.preface)
    assert grammar._fields(writes, []) == 0


def test_what_is_left_of_a_window_is_no_fields() -> None:
    """curl: 71 bytes at once behind a piece of a body, and the next one once the server allows it."""
    said = read(
        seen(
            [
                (2, 700),
                (3, -40),
                (4, 9),
                *[each for k in range(4) for each in ((30 * k + 10, 43_477), (30 * k + 10, 71), (30 * k + 17, 38_579))],
            ]
        )
    )
    assert said is not None
    assert grammar._fields(grammar.written(said.mine, said.preface), []) == 0


def test_short_writes_that_follow_each_other_are_requests_and_no_long_body() -> None:
    """curl, refused each time, with WINDOW_UPDATE before each request: 27 of them, some 70 kB."""
    asks: Said = [each for k in range(27) for each in ((10 + 2 * k, 900 + 130 * k), (10 + 2 * k, -26), (11 + 2 * k, -281))]
    said = read(seen([(2, 513), (3, -40), (4, 9), *asks]))
    assert said is not None
    (told,) = grammar.told(said, 0, grammar.Sizes([said]))
    assert sum(1 - none > 0.5 for none, *_ in told.reading.many) == 28


def test_what_is_left_of_a_buffer_is_no_request() -> None:
    """curl: 64 KiB, and the rest of a body that is as long as a window, at once."""
    asks: Said = [
        each for k in range(6) for each in ((300 * k + 10, 65_430), (300 * k + 10, 222), (300 * k + 11, -26), (300 * k + 200, -281))
    ]
    said = read(seen([(2, 513), (3, -40), (4, 9), *asks]))
    assert said is not None
    (told,) = grammar.told(said, 0, grammar.Sizes([said]))
    rests = [sum(several) for each, (_, *several) in zip(told.reading.streams, told.reading.many, strict=True) if each.up < 300]
    assert max(rests, default=0.0) < 0.05


def test_the_first_record_of_go_is_a_head_however_long() -> None:
    one = go(4_482, 121, 13, 155, 13, 155, 13, 155)
    look = one.looks([one.best.streams[0].begin_ns])[0]
    assert look.head == SURELY
    odds = Model(False).odds(look)
    assert odds[Kind.HEAD] > 1e3 * odds[Kind.SHORT]


def test_heads_and_ends_of_go_speak_against_another_number() -> None:
    """Three requests, one of which is read as two."""
    answers: Said = [each for k in range(3) for each in ((400 * k + 50, -(128, 35, 36)[k]), (400 * k + 60, -159))]
    asks = [(400 * k + 10, 900) for k in range(1, 3)]
    said = sorted([*opened(GO_OPENS, 13, 9), *asks, *answers, (2_000, 17)], key=lambda each: each[0])
    one = talk(connection(said, 2_001, cut=False)._replace(said=asked.said_of_all([seen(said)])[0]))
    assert signs.heads_apart(one) == (3, 0)
    assert signs.other_heads(one, 4) == 3
    assert signs.other_heads(one, 3) == signs.other_heads(one, 5) == 0


def test_what_a_load_generator_writes_is_as_long_as_so_many_requests() -> None:
    asks: Said = [each for k in range(5) for each in ((100 * k + 110, 1_000), (100 * k + 160, -281))]
    one = connection([(2, 3_024), (3, -40), (4, -9), (5, 9), *asks, (700, -281), (701, -281), (702, -281), (800, 17)], 801, cut=False)
    assert one.said is not None
    one = one._replace(said=one.said._replace(at_once=True))
    (ways,) = streams._told([one]).values()
    assert numbers.surely(ways, 0.999) == 8
    counted = streams.likely([one], streams.NOTHING)[0]
    assert counted is not None
    assert (counted.least, counted.most) == (8, 8)


def test_a_piece_that_comes_first_behind_a_request_begins_no_answer() -> None:
    """nginx and a client with two workers: the other answer goes on as one is begun, so that two are always in progress."""
    said: Said = [(2, 40_900), (3, -40), (4, 9), (5, 41_000)]
    ends = [(300 * k + 310, 300 * k + 312) for k in range(12)]
    for k, (end, begin) in enumerate(ends):
        said += [(end - 280, -(298 + k % 12))]  # fields and a piece
        said += [(end - 260 + 20 * n, -PIECES[(n + k) % 7]) for n in range(12)]
        said += [(end, -9), *([(begin, 3_000 + 500 * k)] if k < 10 else [])]
    one = connection(sorted(said, key=lambda each: each[0]), 4_000, cut=False)
    counted = streams.likely([one], streams.NOTHING)[0]
    assert counted is not None
    assert counted.exact
    begun = sorted(each.begin_ns for each in counted.streams)
    ended = sorted(each.end_ns for each in counted.streams)
    assert all(sum(b <= ns for b in begun) - sum(e < ns for e in ended) == 2 for ns in range(ended[0] - 10_000_000, ended[9], 50_000_000))
