"""Refuses nothing: serves so many requests at once, and lets the others wait in the order in which they came."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lab.provider.limiters import Held, Request, check_per

WAITS = True


@dataclass(frozen=True)
class Settings:
    """``limit``: served at once."""

    limit: int
    per: str = "key"

    def __post_init__(self) -> None:
        check_per(self.per)
        if self.limit < 1:
            raise ValueError("a queue that serves nobody never ends")


def decide(settings: Settings, request: Request, held: Held) -> bool:
    return sum(getattr(other, settings.per) == getattr(request, settings.per) for other in held.requests.values()) >= settings.limit
