"""Ways through what an HTTP/2 connection said: what an event is, what it may be, and what that changes."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from netlens.chains.asked import Record
from netlens.chains.explained import kernels
from netlens.columns import Floats, Ints


class Kind(IntEnum):
    """What a record of the server is."""

    PIECE = 0
    DONE = 1
    HEAD = 2
    SHORT = 3
    TWO = 4  #: short answers
    THREE = 5
    FOUR = 6
    ENDS = 7  #: of two streams, empty frames
    ASIDE = kernels.ASIDE
    HEADS = 9  #: of two answers
    BROKEN = kernels.BROKEN  #: the client's RST_STREAM


SEVERAL = {Kind.TWO: 2, Kind.THREE: 3, Kind.FOUR: 4}
#: What a record changes: how many requests wait, how many are answered in part; and the kind that it is several of, or itself.
CHANGES = {
    Kind.PIECE: (0, 0, Kind.PIECE), Kind.DONE: (0, -1, Kind.DONE), Kind.HEAD: (-1, 1, Kind.HEAD), Kind.SHORT: (-1, 0, Kind.SHORT),
    Kind.ENDS: (0, -2, Kind.DONE), Kind.HEADS: (-2, 2, Kind.HEAD), **{kind: (-n, 0, Kind.SHORT) for kind, n in SEVERAL.items()},
}  # fmt: skip
SINGLE = tuple(kind for kind, (*_, one) in CHANGES.items() if kind == one)  #: kinds of which a record holds one


class Event(NamedTuple):
    """What looks like a request (``way`` START), a record of the server (ANSWER), what may be its WINDOW_UPDATEs (CONTROL), or the client's RST_STREAM
    (RESET), by its place among these, and the record; None of a start."""

    ns: int
    way: int
    at: int
    record: Record | None = None


class Walk(NamedTuple):
    """All ways through a connection, by what was said until then. ``evidence`` is a logarithm.  starts : how many events are starts, which begin one request
    each, as a rule.  last : how likely the connection ends in each of its last states."""

    evidence: float
    starts: int
    events: list[Event]
    ways: kernels.Ways
    last: Floats

    def behind(self, k: int) -> slice:
        """Places of the states behind event ``k``."""
        begin, end = self.ways.first[k + 1 : k + 3].tolist()
        return slice(begin, end)

    def size(self, i: int) -> int:
        """Of the record that event ``i`` is; 0 of a start."""
        record = self.events[i].record
        return 0 if record is None else record.size


def unpaid(states: Ints) -> Ints:
    """Requests whose body the server has not answered with WINDOW_UPDATE, by state."""
    return states & kernels.WAITING - 1


def waiting(states: Ints) -> Ints:
    return (states & kernels.ANSWERED - 1) // kernels.WAITING


def answered(states: Ints) -> Ints:
    """Requests that are answered in part."""
    return (states & kernels.EXTRA - 1) // kernels.ANSWERED


def extra(states: Ints) -> Ints:
    """Requests beyond one of each start."""
    return states // kernels.EXTRA
