"""Refuses everything from the time on at which so many requests have been accepted, until a reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.provider.limiters import Held, Request

ID = "quota"


@dataclass(frozen=True)
class Quota:
    """``limit`` requests ``per`` ip or key; ``reset_s`` seconds after the provider's start it begins again (0: never)."""

    per: str
    limit: int
    reset_s: float = 0.0

    def __post_init__(self) -> None:
        if self.per not in ("ip", "key") or self.limit < 1:
            raise ValueError(f"no such quota: {self.limit} per {self.per!r}")


SETTINGS = Quota


def decide(settings: Quota, request: Request, held: Held) -> bool:
    begin = settings.reset_s if request.seconds >= settings.reset_s else 0.0
    used = [each for each in held.accepted if getattr(each, settings.per) == getattr(request, settings.per) and each.seconds >= begin]
    return len(used) >= settings.limit
