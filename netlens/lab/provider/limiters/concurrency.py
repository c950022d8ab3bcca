"""Refuses a request when the others in progress have reached the limit.

Others are requests in flight (accepted and not yet answered in full) or open connections, of the same source address or the same key. The connection
that carries the request is not among them, and a refused request holds no place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.provider.limiters import Held, Request

ID = "concurrency"


@dataclass(frozen=True)
class Concurrency:
    """``counts``: requests or connections; ``per``: ip or key."""

    counts: str
    per: str
    limit: int

    def __post_init__(self) -> None:
        if self.counts not in ("requests", "connections") or self.per not in ("ip", "key"):
            raise ValueError(f"no such rule: counts {self.counts!r} per {self.per!r}")
        if self.counts == "connections" and self.per == "key":
            raise ValueError("connections have no key: a key is first seen in a request")
        if self.limit < 1:
            raise ValueError(f"a limit of {self.limit} refuses everything")


SETTINGS = Concurrency


def others(settings: Concurrency | None, request: Request, held: Held) -> tuple[int, ...]:
    """Numbers of what others hold when a request arrives; without a limit, of the requests in flight from the same address."""
    if settings and settings.counts == "connections":
        return tuple(number for number, ip in held.connections.items() if ip == request.ip and number != request.connection)
    scope = settings.per if settings else "ip"
    return tuple(number for number, other in held.requests.items() if getattr(other, scope) == getattr(request, scope))


def decide(settings: Concurrency, request: Request, held: Held) -> bool:
    return len(others(settings, request, held)) >= settings.limit
