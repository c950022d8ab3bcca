"""Answers that are begun and ended, told by sizes in all of a capture. Sizes are those of nghttp with granian, read with its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.chains.explained import begun
from netlens.chains.explained.begun import Kind, Sizes
from tests.chains.test_at_once import nghttp
from tests.chains.test_signs import PIECES, talk

if TYPE_CHECKING:
    from tests.chains.test_streams import Said

STREAM = [*PIECES, 223, 221, 227]
KNOWN = Sizes(range(221, 229), frozenset({9, *range(21, 26), *range(325, 330)}))


def answers(line: str) -> list[Said]:
    """Sizes; a prime stands where the next record comes at once, else it comes 20 ms later."""
    out: Said = []
    ms = 100.0
    for each in line.split():
        out.append((ms, -int(each.rstrip("'"))))
        ms += 1 if each.endswith("'") else 20
    return [out]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("251 197 196 224 23", 3),  # a stream and two refusals
        ("251 197 196 57' 221' 225 223 221 23 223 23", 4),  # two streams, one with fields apart
        ("285 263 223 221 327' 222 327' 9", 2),  # the last piece ends an answer, or an empty frame behind it
        ("252 256' 226 223 240 221 327' 23 225 327' 23 327' 23", 3),
        ("252 255' 227 227 224' 225 221 23", 2),
        ("251' 197' 196' 196", 4),
        ("289 228 238' 226 221' 222 223 327 227 327 14' 226 227 225 222 327", 3),  # fields that stood in full before
        ("63' 221 225 227 327' 9 263 221 225 222 327", 2),
        ("285 226 458' 223 327 327", 2),  # fields and two pieces, as two are ended
        ("285 226 480' 223 23", None),  # two pieces, or a whole answer
        ("251' 197' 197'", 3),
        ("419 374", 2),
        ("284 223 23 9", None),  # more ends than are begun
        ("251 23 221 221", None),  # no piece comes behind the last end
    ],
)
def test_answers_that_are_begun_and_ended(line: str, number: int | None) -> None:
    assert begun.number(talk(nghttp(857, *answers(line))), KNOWN) == number


def test_pieces_that_differ_as_much_as_fields_do_tell_nothing() -> None:
    wide = Sizes(range(203, 229), KNOWN.ends)
    assert begun.number(talk(nghttp(857, *answers("284 205 227 23"))), wide) is None
    assert begun.number(talk(nghttp(857, *answers("419 374"))), wide) == 2


def test_sizes_of_pieces_and_ends_are_those_of_all_connections() -> None:
    stream = " ".join(map(str, STREAM))
    known = begun.sizes([talk(nghttp(857, *answers(f"284 {stream} 327"))), talk(nghttp(857, *answers(f"251 {stream} 23")))])
    assert known == Sizes(range(221, 229), KNOWN.ends)


def test_of_those_that_may_be_whole_the_earliest_are_begun() -> None:
    both, goes_on, ends = Kind.BEGINS_OR_WHOLE, Kind.GOES_ON, Kind.ENDS
    assert begun._balanced([both, goes_on, both, ends, both]) == 3
    assert begun._balanced([goes_on, both, ends]) is None
    assert begun._balanced([both, ends, goes_on]) is None
    assert begun._balanced([Kind.BEGINS, both]) is None
    assert begun._balanced([Kind.WHOLE, Kind.BEGINS, goes_on, ends]) == 2
