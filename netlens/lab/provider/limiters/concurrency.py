"""Refuses a request when the others in progress have reached the limit.

Others are requests in flight (accepted and not yet answered in full) or open connections, of the same source address or the same key. The connection
that carries the request is not among them, and a refused request holds no place. A place may be given back late, the limit may change while the
provider runs, and models may have limits of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.provider.limiters import Held, Request

ID = "concurrency"


@dataclass(frozen=True)
class Settings:
    """``counts``: requests or connections; ``per``: ip or key.

    held_s : how long a place stays taken after the answer.  changes : (seconds since the start, limit from then on).
    models : limits of models that count by themselves; ``limit`` is that of each other.
    """

    counts: str
    per: str
    limit: int
    held_s: float = 0.0
    changes: Sequence[tuple[float, int]] = ()
    models: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.counts not in ("requests", "connections") or self.per not in ("ip", "key"):
            raise ValueError(f"no such rule: counts {self.counts!r} per {self.per!r}")
        if self.counts == "connections" and self.per == "key":
            raise ValueError("connections have no key: a key is first seen in a request")
        if self.counts == "connections" and (self.models or self.held_s):
            raise ValueError("connections have no model, and are not given back late")
        if min(self.limit, *(limit for _, limit in self.changes), *self.models.values(), self.limit) < 1:
            raise ValueError(f"a limit of {self.limit} refuses everything")

    def limit_for(self, request: Request) -> int:
        """The limit that holds for a request, at its time."""
        if request.model in self.models:
            return self.models[request.model]
        return next((limit for at, limit in reversed(self.changes) if at <= request.seconds), self.limit)


def others(settings: Settings | None, request: Request, held: Held) -> tuple[int, ...]:
    """Numbers of what others hold when a request arrives; without a limit, of the requests in flight from the same address."""
    if settings and settings.counts == "connections":
        return tuple(number for number, ip in held.connections.items() if ip == request.ip and number != request.connection)
    scope = settings.per if settings else "ip"
    there = dict(held.requests)
    if settings and settings.held_s:
        there |= {number: each for number, (ended_s, each) in held.ended_s.items() if request.seconds < ended_s + settings.held_s}
    apart = bool(settings and settings.models)
    return tuple(
        number
        for number, other in there.items()
        if getattr(other, scope) == getattr(request, scope) and not (apart and other.model != request.model)
    )


def decide(settings: Settings, request: Request, held: Held) -> bool:
    return len(others(settings, request, held)) >= settings.limit_for(request)
