"""Refuses every request once so many were accepted, until it is reset some time after the first refusal."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lab.provider.limiters import Held, Request, check_per

OVER_TIME = True


@dataclass(frozen=True)
class Settings:
    """``limit`` requests; ``reset_s``: from the first refusal to the reset."""

    limit: int
    reset_s: float = 3600.0
    per: str = "key"

    def __post_init__(self) -> None:
        check_per(self.per)
        if self.limit < 1:
            raise ValueError(f"a quota of {self.limit} refuses everything")


def decide(settings: Settings, request: Request, held: Held) -> bool:
    used, closed_s = 0, None
    for each, accepted in reversed(list(held.before(request, settings.per))):
        if closed_s is not None and each.seconds >= closed_s + settings.reset_s:
            used, closed_s = 0, None
        used += accepted
        if not accepted and closed_s is None and used >= settings.limit:
            closed_s = each.seconds
    if closed_s is not None and request.seconds >= closed_s + settings.reset_s:
        return False
    return used >= settings.limit
