"""Refuses a request when too many were sent before: in a window that slides, in windows that follow each other, or by a bucket of tokens."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lab.provider.limiters import Held, Request, check_per, since_s

OVER_TIME = True


@dataclass(frozen=True)
class Settings:
    """``limit`` requests in ``window_s``; ``window``: sliding, fixed or bucket (of ``limit`` tokens, one back every ``window_s``).

    attempts : refused requests count too.
    """

    limit: int
    window_s: float
    window: str = "sliding"
    per: str = "key"
    attempts: bool = False

    def __post_init__(self) -> None:
        check_per(self.per)
        if self.window not in ("sliding", "fixed", "bucket"):
            raise ValueError(f"a window is sliding, fixed or a bucket, not {self.window!r}")
        if self.limit < 1 or self.window_s <= 0:
            raise ValueError(f"a rate of {self.limit} in {self.window_s:g} s refuses everything")


def decide(settings: Settings, request: Request, held: Held) -> bool:
    earlier = [each.seconds for each, accepted in held.before(request, settings.per) if accepted or settings.attempts]
    if settings.window == "bucket":
        tokens, at = float(settings.limit), 0.0
        for seconds in reversed(earlier):
            tokens, at = min(settings.limit, tokens + (seconds - at) / settings.window_s) - 1, seconds
        return min(settings.limit, tokens + (request.seconds - at) / settings.window_s) < 1
    since = since_s(request.seconds, settings.window_s, settings.window)
    return sum(seconds > since for seconds in earlier) >= settings.limit
