"""How many requests a client wrote all at once, by answers that are begun and ended, where fields and bodies stand in one record.

Pieces of streams are of about one size in all of a capture, so that each other size has a meaning:

- a piece and 11 to :data:`~netlens.chains.explained.talks.SHORT_HEAD` bytes more, which are the fields (RFC 9113 6.2), begins an answer, or is a whole one;
- what is as short as fields, and no end, begins one;
- what other answers end with, alone or together with the last piece, ends one;
- any other size is a whole answer, such as a refusal;
- two pieces may stand in one record, with fields or without.

Where a record may be one thing or another, each is tried. As many answers are begun as are ended, none is ended before it is begun, no piece comes where none
is in progress, and all that come out so must be of one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from itertools import pairwise, product, zip_longest
from typing import NamedTuple

from netlens.chains.asked import EMPTY, Record
from netlens.chains.explained import signs
from netlens.chains.explained.signs import LONGEST_END, WIDEST
from netlens.chains.explained.talks import EMPTY_NS, LEAST_HEAD, LONGEST_HEAD, SHORT_HEAD, Talk, pieces_of

END_DIFFERS = 2  #: bytes by which ends differ, as some name a number
MOST_IN_DOUBT = 5  #: records
ALIKE, OFTEN = 2, 3  #: bytes by which whole answers differ, and how many that are alike are no chance


class Kind(Enum):
    """What a record does to an answer."""

    GOES_ON = auto()
    BEGINS = auto()
    ENDS = auto()
    WHOLE = auto()
    BEGINS_OR_WHOLE = auto()


class Sizes(NamedTuple):
    """Of pieces, and of what ends answers, in bytes."""

    pieces: range
    ends: frozenset[int]


def sizes(talks: Iterable[Talk]) -> Sizes:
    """Of all connections of a capture."""
    talks = list(talks)
    said = [[r.size for r in talk.said.answers if r.size != EMPTY] for talk in talks]
    pieces = pieces_of([size for those in said for size in those])
    last = {
        those[-1]
        for talk, those in zip(talks, said, strict=True)
        if len(those) > 1 and signs.is_over(talk) and those[-1] not in pieces and (those[-2] in pieces or those[-1] <= LONGEST_END)
    }
    return Sizes(pieces, frozenset({EMPTY, *(near for size in last for near in range(size - END_DIFFERS, size + END_DIFFERS + 1))}))


def number(talk: Talk, known: Sizes) -> int | None:
    """Requests of a connection; None where that does not come out even, or in more than one way."""
    answers, pieces = talk.said.answers, known.pieces
    if _whole(answers, known):
        return len(answers)
    if not pieces or len(pieces) > WIDEST:
        return None
    kinds = _kinds(answers, known)
    if sum(len(each) > 1 for each in kinds) > MOST_IN_DOUBT:
        return None
    found = {n for each in product(*kinds) if (n := _balanced(each)) is not None}
    return found.pop() if len(found) == 1 else None


def _whole(answers: Sequence[Record], known: Sizes) -> bool:
    """Whether each record is an answer by itself."""
    behind = [r.size for r in answers[1:]]
    if any(r.size <= LONGEST_HEAD or r.size in known.ends for r in answers) or any(size in known.pieces for size in behind):
        return False
    apart = all(after.ts - r.ts > EMPTY_NS for r, after in pairwise(answers))
    return apart or (len(answers) >= OFTEN and max(behind) - min(behind) <= ALIKE)


def _kinds(answers: Sequence[Record], known: Sizes) -> list[list[Kind]]:
    """What each record may be."""
    pieces, ends = known
    behind = [after.size if after is not None and after.ts - r.ts <= EMPTY_NS else 0 for r, after in zip_longest(answers, answers[1:])]
    before_end = [
        k > 0 and then in ends and then <= LONGEST_END and then != r.size and (r.size in ends or r.size > LONGEST_HEAD)
        for k, (r, then) in enumerate(zip(answers, behind, strict=True))
    ]
    short_ends = [size for size in ends if size <= LONGEST_END]
    with_end = {r.size + end for r, soon in zip(answers, before_end, strict=True) if soon for end in short_ends}
    out = []
    for k, (r, soon) in enumerate(zip(answers, before_end, strict=True)):
        size = r.size
        if soon:
            out.append([Kind.GOES_ON])
        elif size in ends or size in with_end:
            out.append([Kind.ENDS])
        elif size in pieces and k:
            out.append([Kind.GOES_ON])
        elif size <= LONGEST_HEAD:
            out.append([Kind.BEGINS])
        else:
            fields = range(LEAST_HEAD, (SHORT_HEAD if k else LONGEST_HEAD) + 1)
            begins = range(pieces.start + fields.start, pieces.stop - 1 + fields.stop)
            may_be = [Kind.BEGINS_OR_WHOLE if size in begins else Kind.WHOLE]
            if any(size - end in pieces for end in ends):
                may_be.append(Kind.ENDS)
            if 2 * pieces.start <= size <= 2 * (pieces.stop - 1) + SHORT_HEAD:
                may_be += [Kind.GOES_ON, Kind.BEGINS]
            out.append(may_be)
    return out


def _balanced(kinds: Sequence[Kind]) -> int | None:
    """Answers that are begun and ended; None where these do not come out even. Of those that may be whole, the earliest are begun, so that any can be ended."""
    begun = kinds.count(Kind.ENDS) - kinds.count(Kind.BEGINS)  # of those that may be whole
    if not 0 <= begun <= kinds.count(Kind.BEGINS_OR_WHOLE):
        return None
    in_progress = 0
    for kind in kinds:
        if kind is Kind.BEGINS_OR_WHOLE and begun:
            begun -= 1
            in_progress += 1
        elif kind is Kind.BEGINS:
            in_progress += 1
        elif kind in (Kind.ENDS, Kind.GOES_ON) and not in_progress:
            return None
        elif kind is Kind.ENDS:
            in_progress -= 1
    return sum(kind in (Kind.BEGINS, Kind.WHOLE, Kind.BEGINS_OR_WHOLE) for kind in kinds)
