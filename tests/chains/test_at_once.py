"""Clients of HTTP/2 that write all they ask for at once, so that only answers tell how many requests it was (nghttp, h2load)."""

from __future__ import annotations

from netlens.chains import grammar, streams
from netlens.chains.streams import Connection, Counted
from tests.chains.test_grammar import said_by
from tests.chains.test_streams import OPENED, Said, connection, together

FAREWELL = 17


def nghttp(write: int, *answers: Said) -> Connection:
    """A first write with its preface, one acknowledgment, what the server says, and GOAWAY."""
    said = together(*answers)
    one = connection([(2, write), (3, -40), (4, -9), (5, 9), *said, (said[-1][0] + 1, FAREWELL)], 6_000, cut=False)
    assert one.said is not None
    return one._replace(said=one.said._replace(at_once=True))


def whole(ms: int, size: int, head: int = 176) -> Said:
    """A head, a body and an empty frame.  size, head : bytes; the heads of later answers are shorter (HPACK)."""
    return [(ms, -head), (ms, -size), (ms, -9)]


def found(*those: Connection) -> list[Counted | None]:
    known = streams.learned(list(those), streams.NOTHING)
    return streams.likely(list(those), known)


def counted(those: list[Connection]) -> list[int | None]:
    """How many requests each has, where that needs no model."""
    every = streams.all_counted(those, streams.with_shorts(those, streams.NOTHING))
    return [None if each is None else each.most for each in every]


def test_answers_that_end_with_an_empty_frame_tell_the_number() -> None:
    three = nghttp(16_384 + 2_788, whole(300, 1253), whole(340, 1253, 46), whole(380, 1253, 46))
    assert [(each.least, each.most) for each in found(three) if each is not None] == [(3, 3)]


def test_it_is_an_interval_where_records_may_be_answers_or_pieces() -> None:
    """HAProxy: two refusals, and one answer in several records, or as many answers."""
    one = found(nghttp(14_400, [(11, -153), (11, -761), (15, -793), (15, -826), (15, -779), (463, -4363), (464, -4362)]))[0]
    assert one is not None
    assert one.least == 1
    assert one.most >= 6


def test_two_records_are_not_counted_as_one_answer() -> None:
    """A refusal and an answer (HAProxy); of a client that is not known to begin several at once they would be one."""
    those = [nghttp(5_116 + k, [(38, -823)], [(57, -8729 - k)]) for k in range(2)]
    assert counted(those) == [None, None]
    plain = [each._replace(said=each.said._replace(at_once=False)) for each in those if each.said is not None]
    assert counted(plain) == [1, 1]


def test_a_single_answer_in_one_record_is_counted() -> None:
    assert counted([nghttp(4_746, [(38, -823)])]) == [1]


def test_what_learning_alone_finds_is_open() -> None:
    """The last answer has no empty frame, as some of HAProxy."""
    *answers, last = [whole(300 + 40 * k, 1253, 46 if k else 176) for k in range(3)]
    one = found(nghttp(9_000, *answers, last[:-1]))[0]
    assert one is not None
    assert one.least < 3 < one.most


def test_four_requests_are_as_likely_as_one_in_a_first_write() -> None:
    many = []
    for at_once in (False, True):
        said = said_by([(10, 9_000), (11, 9), (300, -176)], preface=OPENED[:2])._replace(at_once=at_once)
        many.append([p for read in grammar.told(said) for p in read.reading.many[0][1:]])
    assert many[0][0] > 2 * max(many[0][1:])
    assert many[1][0] == many[1][3]
