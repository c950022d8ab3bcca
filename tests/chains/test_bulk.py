"""HTTP/2 clients that begin many requests in one write: unknown, not too few."""

from __future__ import annotations

import pytest

from netlens.chains import streams
from netlens.chains.streams import Connection
from tests.chains.test_grammar import at
from tests.chains.test_streams import OPENED, Said, connection

ROUNDS = range(10)


def found(connections: list[Connection]) -> list[tuple[int, int] | None]:
    known = streams.learned(connections, streams.NOTHING)
    return [None if one is None else (one.least, one.most) for one in streams.likely(connections, known)]


def said(first: Said, write: list[int], answers: list[int], *, sizes: range = range(1)) -> Connection:
    """Writes, each a little longer than the one before as a rule, and answers that come 2 ms apart, as the server says them: negative."""
    out = [*OPENED, *first]
    for k in ROUNDS:
        t = 100 + 400 * k
        out += [(t, size + sizes[k % len(sizes)]) for size in write]
        out += [(t + 20 + 2 * n, -size) for n, size in enumerate(answers)]
    return connection(out, 6_000, cut=False)


def test_answers_of_one_size_that_come_together() -> None:
    """Eight requests without a body in each write, and eight answers to it."""
    first = [*at(10, 172), *at(30, *[-93] * 8)]
    assert found([said(first, [128], [93] * 8)]) == [None]


def test_ends_that_show() -> None:
    """Ten requests with bodies of any size in each write: the last pieces of their answers are followed by empty frames, so that it is never 11."""
    pieces = [39, 183, 184, 366, *[185, 9] * 10]
    first = [*at(10, 15_300), *((20 + n, -size) for n, size in enumerate(pieces))]
    assert found([said(first, [14_638], pieces, sizes=range(0, 1500, 170))]) in ([None], [(11, 110)])


def test_writes_that_are_so_many_times_as_long() -> None:
    """A load generator with up to 18 requests in one write, whose answers share records."""
    times = [1, 2, 7, 1, 18, 3, 1, 9, 2, 1]
    out = [*OPENED, *at(10, 16 * 843 + 85), (60, -346), (60, -1400)]
    for k, n in enumerate(times):
        out += [(100 + 400 * k, n * 843), *((150 + 400 * k + 3 * j, -340 - j) for j in range(min(n, 4)))]
    assert found([connection(out, 6_000, cut=False)]) == [None]


def test_writes_of_one_size_without_bodies() -> None:
    """Seven requests in each write, as far as it may be, and one record for all answers."""
    assert found([said([*at(10, 204), (12, -418)], [119], [336])]) == [None]


def test_what_is_as_long_as_ping_and_is_answered_otherwise() -> None:
    """Requests of 17 bytes, each answered at once (h2load)."""
    assert found([said([*at(10, 111), (12, -124)], [17], [42])]) in ([None], [(11, 11)])


@pytest.mark.parametrize("write", [[900], [90]])
def test_one_request_in_each_write_is_not_unknown(write: list[int]) -> None:
    """Of other sizes each."""
    one = said([*at(10, write[0] + 90), *at(30, -150)], write, [120], sizes=range(0, 100, 7))
    assert (number := found([one])[0]) is not None
    assert number[0] <= 11 <= number[1]


def test_what_fills_a_buffer_of_the_server_is_no_answer() -> None:
    """nginx sends answers in pieces of 4 KiB, so many records are of one size."""
    answer = [176, *[4105] * 14, 700, 9]
    number = found([said([*at(10, 990), *((20 + n, -size) for n, size in enumerate(answer))], [900], answer, sizes=range(0, 100, 7))])[0]
    assert number == (11, 11)
