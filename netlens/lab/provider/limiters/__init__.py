"""When the provider refuses a request: one kind of limit a file, named in a scenario by its table, ``[provider.concurrency]``.

Each has its ``SETTINGS`` and ``decide``, which is pure: the request, its time and all that is held are given, chance included (``draw``). So one seed
gives one sequence of decisions, and a limit is tested without a socket. :mod:`netlens.lab.provider.admission` asks them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from netlens.registry import members


@dataclass(frozen=True)
class Request:
    """One request as it arrives. ``seconds``: since the provider started.  ``draw``: between 0 and 1, by chance."""

    number: int
    connection: int
    ip: str
    key: str
    seconds: float = 0.0
    draw: float = 1.0


@dataclass
class Held:
    """What is held when a request arrives: requests in flight and open connections (with their addresses), by number; and all that were accepted so far."""

    requests: dict[int, Request] = field(default_factory=dict)
    connections: dict[int, str] = field(default_factory=dict)
    accepted: list[Request] = field(default_factory=list)


class Limiter(Protocol):
    """One kind of limit. ``SETTINGS``: a dataclass of what its table may hold; ValueError if that makes no sense."""

    ID: str
    SETTINGS: type

    def decide(self, settings: Any, request: Request, held: Held, /) -> bool:
        """Whether the request is refused."""
        ...


def kinds() -> Mapping[str, Limiter]:
    """All kinds of limit, by id, in the order in which they are asked."""
    return MappingProxyType({each.ID: each for each in members(__name__, Limiter)})


def settings_of(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of each limit that has a table; TypeError or ValueError for one that makes no sense."""
    return {name: kind.SETTINGS(**tables[name]) for name, kind in kinds().items() if tables.get(name) is not None}
