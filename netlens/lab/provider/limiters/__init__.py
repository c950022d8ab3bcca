"""When the provider refuses a request: one kind of limit a file, named in a scenario by its table, ``[provider.concurrency]``.

Each has its ``Settings`` and ``decide``, which is pure: the request, its time and all that is held and was sent are given, chance included (``draw``). So
one seed gives one sequence of decisions, and a limit is tested without a socket. :mod:`netlens.lab.provider.admission` asks them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from netlens.registry import members


@dataclass(frozen=True)
class Request:
    """One request as it arrives. ``seconds``: since the provider started.  ``draw``: between 0 and 1, by chance.  ``size``: bytes of its body."""

    number: int
    connection: int
    ip: str
    key: str
    seconds: float = 0.0
    draw: float = 1.0
    model: str = ""
    size: int = 0


@dataclass
class Held:
    """What is held when a request arrives: requests in flight and open connections (with their addresses), by number.

    ended_s : when requests ended that are in flight no more.  sent : all earlier requests, and whether each was accepted.
    """

    requests: dict[int, Request] = field(default_factory=dict)
    connections: dict[int, str] = field(default_factory=dict)
    ended_s: dict[int, tuple[float, Request]] = field(default_factory=dict)
    sent: list[tuple[Request, bool]] = field(default_factory=list)

    def before(self, request: Request, per: str) -> Iterator[tuple[Request, bool]]:
        """Earlier requests of the same address or key, the last first."""
        return ((each, accepted) for each, accepted in reversed(self.sent) if getattr(each, per) == getattr(request, per))


class Limiter(Protocol):
    """One kind of limit. ``Settings``: a dataclass of what its table may hold; ValueError if that makes no sense.

    OVER_TIME : it counts what was sent.  WAITS : a request that it would refuse waits until it would not.
    """

    ID: str
    Settings: type
    OVER_TIME: bool = False
    WAITS: bool = False

    def decide(self, settings: Any, request: Request, held: Held, /) -> bool:
        """Whether the request is refused."""
        ...


def kinds() -> Mapping[str, Limiter]:
    """All kinds of limit, by id, in the order in which they are asked."""
    return MappingProxyType({each.ID: each for each in members(__name__, Limiter)})


def settings_of(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of each limit that has a table; TypeError or ValueError for one that makes no sense."""
    return {name: kind.Settings(**tables[name]) for name, kind in kinds().items() if tables.get(name) is not None}


def check_per(per: str) -> None:
    """ValueError unless requests can be counted so."""
    if per not in ("ip", "key"):
        raise ValueError(f"requests are counted per ip or key, not per {per!r}")


def since_s(now_s: float, window_s: float, window: str) -> float:
    """When the window of a request began; what was sent at that very time does not count."""
    return now_s - window_s if window == "sliding" else now_s // window_s * window_s - 1e-9
