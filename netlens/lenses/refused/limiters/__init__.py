"""Limiters over time: how a provider may refuse by what was sent before, not by what is open. One file each, found without a list.

Every limiter is a number per request and a limit, fitted as counts of what is open are (:mod:`netlens.lenses.refused.limit`); the fit is
:mod:`netlens.lenses.refused.over_time`. What several share is in ``_windows.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from netlens.columns import Floats, Ints
from netlens.registry import members

#: What the docstring of a limiter says.
SECTIONS = ("Claim", "Cannot be told from", "Source")
SIZED = ("bytes", "answers")  #: what limiters count that counts sizes
#: Windows that providers and libraries use, in seconds: second, a few, minute, some, hour, five hours (plans of coding agents), day.
USUAL_S = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 18000.0, 86400.0)


class Meter(Protocol):
    """What one party has used of a limit, for the replay of what would happen; times in ns, never going back."""

    def free_at(self, now: int, room: float, /) -> int:
        """When a request that needs ``room`` would be accepted: ``now``, or later."""
        ...

    def take(self, now: int, room: float, /) -> None:
        """A request counts from now on."""
        ...


class Limiter(Protocol):
    """What a file of this folder has.

    KIND, WINDOW : as the JSON of analyze has them.  RANK : of limiters that fit equally well, the lowest is named.
    LATER : it is tried only where those without it explain nothing: it fits more, and is rarer.
    COUNTS : "accepted" requests, "attempts", "bytes" of what was accepted and of the request itself, or bytes of "answers".
    """

    ID: str
    KIND: str
    WINDOW: str
    COUNTS: str
    RANK: int
    LATER: bool

    def parameters(self, starts: Ints, taken: Floats, room: Floats | float = 0.0, /) -> list[float]:
        """Windows or refills to try first, in seconds; ``room``: what each request needs for itself (0 where it only asks whether anything is left)."""
        ...

    def scores(self, starts: Ints, taken: Floats, parameter_s: float, /) -> Iterable[Floats]:
        """How much of the limit earlier requests had used up when each came; a request is refused where that reaches the limit.

        More than one array where something besides the parameter is unknown (the edge of a fixed window).

        Parameters
        ----------
        starts : ns, in order.  taken : what each request took of the limit (1 if it was accepted).
        """
        ...

    def decide(self, parameter_s: float, limit: int, edge_ns: int, /) -> Meter:
        """The limiter at work; ``edge_ns``: when some window began, for windows that follow each other."""
        ...

    def described(self, parameter_s: float, limit: int, /) -> dict[str, Any]:
        """The limiter in the words of the JSON."""
        ...


def all_limiters() -> list[Limiter]:
    """Every limiter, in the order in which ties are named."""
    return sorted(members(__name__, Limiter, SECTIONS, ("ID", "RANK")), key=lambda limiter: limiter.RANK)
