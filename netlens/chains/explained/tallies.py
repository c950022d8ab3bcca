"""Counters of what was seen in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

K = TypeVar("K")


class Tally(dict[K, float]):
    """How much was seen of each; nothing of what is not in it."""

    def __missing__(self, key: K) -> float:
        return 0.0

    def add(self, more: Mapping[K, float]) -> None:
        for key, weight in more.items():
            self[key] += weight

    def total(self) -> float:
        return sum(self.values())
