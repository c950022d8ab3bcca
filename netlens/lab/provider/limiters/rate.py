"""Refuses what comes faster than allowed, whatever is open: so many requests in a window of time, or a bucket of tokens. Refused ones are not counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.provider.limiters import Held, Request

ID = "rate"
WINDOWS = ("sliding", "fixed", "bucket")


@dataclass(frozen=True)
class Rate:
    """``limit`` requests in ``window_s`` seconds: any of that length ("sliding"), or from multiples of it on ("fixed"). Of a "bucket", ``limit`` is how many
    tokens it holds, and ``window_s`` how long one takes to come back. ``per``: ip or key."""

    per: str
    limit: int
    window_s: float
    window: str = "sliding"

    def __post_init__(self) -> None:
        if self.window not in WINDOWS or self.per not in ("ip", "key") or self.limit < 1 or self.window_s <= 0:
            raise ValueError(f"no such rate: {self.limit} in {self.window_s} s, {self.window!r}, per {self.per!r}")


SETTINGS = Rate


def decide(settings: Rate, request: Request, held: Held) -> bool:
    times = [each.seconds for each in held.accepted if getattr(each, settings.per) == getattr(request, settings.per)]
    if settings.window == "bucket":
        tokens, at = float(settings.limit), 0.0
        for time in times:
            tokens, at = min(tokens + (time - at) / settings.window_s, settings.limit) - 1, time
        return min(tokens + (request.seconds - at) / settings.window_s, settings.limit) < 1
    begin = (
        request.seconds - settings.window_s if settings.window == "sliding" else request.seconds // settings.window_s * settings.window_s
    )
    return sum(time > begin for time in times) >= settings.limit
