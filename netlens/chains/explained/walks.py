"""Ways through what an HTTP/2 connection said: what an event is, what it may be, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from netlens.chains.asked import Record


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
    ASIDE = 8
    HEADS = 9  #: of two answers
    BROKEN = 10  #: the client's RST_STREAM


SEVERAL = {Kind.TWO: 2, Kind.THREE: 3, Kind.FOUR: 4}
#: What a record changes: how many requests wait, how many are answered in part; and the kind that it is several of, or itself.
CHANGES = {
    Kind.PIECE: (0, 0, Kind.PIECE), Kind.DONE: (0, -1, Kind.DONE), Kind.HEAD: (-1, 1, Kind.HEAD), Kind.SHORT: (-1, 0, Kind.SHORT),
    Kind.ENDS: (0, -2, Kind.DONE), Kind.HEADS: (-2, 2, Kind.HEAD), **{kind: (-n, 0, Kind.SHORT) for kind, n in SEVERAL.items()},
}  # fmt: skip
SINGLE = tuple(kind for kind, (*_, one) in CHANGES.items() if kind == one)  #: kinds of which a record holds one
#: Requests beyond one of each start, those that wait, those answered in part, those whose body the server has not answered with WINDOW_UPDATE.
State = tuple[int, int, int, int]
#: What an event may add to each of these, how likely, and its kind; of a start, how many requests it begins, as :func:`begun`.
Change = tuple[int, int, int, int, float, int]
Changes = Callable[[State], Sequence[Change]]
START, ANSWER, CONTROL, RESET = range(4)  #: ways of events


class Event(NamedTuple):
    """What looks like a request (``way`` START), a record of the server (ANSWER), what may be its WINDOW_UPDATEs (CONTROL), or the client's RST_STREAM
    (RESET), by its place among these, and the record; None of a start."""

    ns: int
    way: int
    at: int
    record: Record | None = None


class Step(NamedTuple):
    """What one event may change.  kept : how likely requests wait until then, by how many wait.  missed : how likely one WINDOW_UPDATE that is late does not
    come; None while none is late."""

    changes: Changes
    kept: list[float]
    missed: float | None

    def behind(self, state: State) -> tuple[float, Iterable[tuple[State, float, int]]]:
        """How likely nothing that is late was missed until then; and the states that may be behind the event, how likely each is, and of which kind the event
        is then. Whoever walks asks for it again, as keeping it took 16 times the memory."""
        kept = self.kept[state[1]]
        if self.missed is not None and state[3]:
            kept *= self.missed ** state[3]
            state = (*state[:3], 0)
        extra, waiting, answered, owed = state
        return kept, [
            ((extra + more, waiting + wait, answered + answer, owed + owe), p, kind)
            for more, wait, answer, owe, p, kind in self.changes(state)
        ]


class Walk(NamedTuple):
    """All ways through a connection, by what was said until then. ``evidence`` is a logarithm.  starts : how many events are starts, which begin one request
    each, as a rule.  forward : of each state before the first event, and behind each.  last : how likely the connection ends in each state."""

    evidence: float
    starts: int
    events: list[Event]
    forward: list[dict[State, float]]
    steps: list[Step]
    last: dict[State, float]

    def size(self, i: int) -> int:
        """Of the record that event ``i`` is; 0 of a start."""
        record = self.events[i].record
        return 0 if record is None else record.size


def begun(n: int) -> int:
    """What a start is that begins so many requests, beside kinds of records."""
    return ~n
