"""Refuses a share of the requests at random, whatever anybody holds: always, or for ``lasts_s`` out of every ``every_s`` seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.provider.limiters import Held, Request


@dataclass(frozen=True)
class Settings:
    fraction: float
    every_s: float = 0.0
    lasts_s: float = 0.0

    def now(self, seconds: float) -> bool:
        """Whether the provider is overloaded ``seconds`` after its start; bursts end each period, so that a run starts calmly."""
        return not self.every_s or seconds % self.every_s >= self.every_s - self.lasts_s


def decide(settings: Settings, request: Request, held: Held) -> bool:
    return settings.now(request.seconds) and request.draw < settings.fraction
