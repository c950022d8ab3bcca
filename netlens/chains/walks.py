"""Ways through what an HTTP/2 connection said, as :mod:`netlens.chains.explained` weighs them: what an event may be, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple


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
#: Requests beyond one of each start, those that wait, those answered in part, those whose body the server has not answered with WINDOW_UPDATE.
State = tuple[int, int, int, int]
#: What an event may add to each of these, how likely, and its kind; of a start, how many requests it begins, as :func:`begun`.
Change = tuple[int, int, int, int, float, int]
Changes = Callable[[State], Sequence[Change]]


class Event(NamedTuple):
    """A start (``way`` 0), a record of the server (1), what may be its WINDOW_UPDATEs (2) or the client's RST_STREAM (3), by its place among these."""

    ns: int
    way: int
    at: int


class Step(NamedTuple):
    """What one event may change.  kept : how likely requests wait until then, by how many wait.  missed : how likely one WINDOW_UPDATE that is late does not
    come; None while none is late."""

    changes: Changes
    kept: list[float]
    missed: float | None

    def of(self, state: State) -> tuple[State, float, Sequence[Change]]:
        """The state without what is late, how likely that is, and what may change. Both ways ask for it, as keeping it took 16 times the memory."""
        if self.missed is None or not state[3]:
            return state, self.kept[state[1]], self.changes(state)
        on = (*state[:3], 0)
        return on, self.kept[state[1]] * self.missed ** state[3], self.changes(on)


class Walk(NamedTuple):
    """All ways through a connection, by what was said until then. ``evidence`` is a logarithm.  starts : how many events are starts, which begin one request
    each, as a rule.  forward : of each state before the first event, and behind each.  last : how likely the connection ends in each state."""

    evidence: float
    starts: int
    events: list[Event]
    forward: list[dict[State, float]]
    steps: list[Step]
    last: dict[State, float]


def begun(n: int) -> int:
    """What a start is that begins so many requests, beside kinds of records."""
    return ~n
