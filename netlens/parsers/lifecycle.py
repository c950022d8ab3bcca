"""The life of a parser's state: what whoever runs parsers (pipeline, watch, cluster) may ask of them without knowing their arrays.

=========  ==========================================================================================================================
feed       take in a batch of packet rows
rows       the table of all that was found so far; changes nothing, and more may be fed afterwards
drain      take out what is finished, so that a capture without an end needs no more memory than what goes on
forget     drop sessions; those that stay move up
merge      append the state of the part of the capture that follows
nbytes     memory held
=========  ==========================================================================================================================

:class:`Stateful` is what all have. What runs behind the session fold is fed the buffer that holds the payload (uint8), packet rows that the fold has filled
in (int64[n, WIDTH]), and the state of all sessions after them (int64[m, S_WIDTH]). ``rows``, ``drain`` and ``merge`` have the types of what is found:
a parser whose rows follow from packet rows alone (exchanges, tunnels) has no ``merge``, because the session fold replays those of the later part.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from netlens.columns import Array

LEAST_ROWS = 1024  #: rows that a state has at least


def grown(state: Array, rows: int) -> Array:
    """``state`` with room for ``rows`` rows at least; it doubles, new ones are 0."""
    room = len(state)
    while room < rows:
        room *= 2
    return np.concatenate([state, np.zeros((room - len(state), *state.shape[1:]), state.dtype)])


@dataclass(frozen=True)
class Kept:
    """Sessions that stay when the others are forgotten.

    sessions : int64[m], their rows, rising.  place : int64[n], the new row of each session, -1 of those that go.
    room : rows that states have afterwards, half as many again as are used.
    """

    sessions: Array
    place: Array
    room: int

    @classmethod
    def of(cls, sessions: Array, n: int) -> "Kept":
        place = np.full(n, -1, np.int64)
        place[sessions] = np.arange(len(sessions))
        room = LEAST_ROWS
        while room < len(sessions) + len(sessions) // 2:
            room *= 2
        return cls(sessions, place, room)

    def rows(self, state: Array, fill: int = 0) -> Array:
        """The rows of ``state`` (one a session, perhaps not of the last ones) in their new places; the rest is ``fill``."""
        out = np.full((self.room, *state.shape[1:]), fill, state.dtype)
        known = self.sessions[self.sessions < len(state)]
        out[: len(known)] = state[known]
        return out

    def renamed(self, sessions: Array) -> Array:
        """New rows of ``sessions``; -1 of those that go, of -1, and of those that never were."""
        known = (sessions >= 0) & (sessions < len(self.place))
        out = np.full(len(sessions), -1, np.int64)
        out[known] = self.place[sessions[known]]
        return out


class Stateful(Protocol):
    """What holds state by session."""

    def forget(self, kept: Kept) -> None:
        """Drop all sessions but ``kept``, which get new rows. What was found in the others must have been drained before."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory held, without what is a constant of the parser."""
