"""Refuses a request when too many bytes were sent before it in a window, which slides or begins at round times."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lab.provider.limiters import Held, Request, check_per, since_s

OVER_TIME = True


@dataclass(frozen=True)
class Settings:
    """``limit`` bytes of bodies in ``window_s``; ``window``: sliding or fixed.  own : a request needs room for its own bytes too."""

    limit: int
    window_s: float
    window: str = "sliding"
    per: str = "key"
    own: bool = True

    def __post_init__(self) -> None:
        check_per(self.per)
        if self.window not in ("sliding", "fixed"):
            raise ValueError(f"a window is sliding or fixed, not {self.window!r}")
        if self.limit < 1 or self.window_s <= 0:
            raise ValueError(f"a volume of {self.limit} in {self.window_s:g} s refuses everything")


def decide(settings: Settings, request: Request, held: Held) -> bool:
    since = since_s(request.seconds, settings.window_s, settings.window)
    used = sum(each.size for each, accepted in held.before(request, settings.per) if accepted and each.seconds > since)
    return used + request.size > settings.limit if settings.own else used >= settings.limit
