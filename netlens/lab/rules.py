"""What the provider counts, and when it refuses. Pure: no clock, no socket; times and identities are given.

A request is refused if what *others* hold when it arrives has reached the limit: requests in flight (accepted and not yet answered in full)
or connections open, of the same source address or the same key. The connection that carries the request is not among the others, and
a refused request holds no place. Overload refuses at random, whatever anybody holds.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Overload:
    """Refuse a share of the requests at random: always, or for ``lasts_s`` out of every ``every_s`` seconds."""

    fraction: float
    every_s: float = 0.0
    lasts_s: float = 0.0

    def now(self, seconds: float) -> bool:
        """Whether the provider is overloaded ``seconds`` after its start; bursts end each period, so that a run starts calmly."""
        return not self.every_s or seconds % self.every_s >= self.every_s - self.lasts_s


@dataclass(frozen=True)
class Rule:
    """``counts``: requests, connections or nothing; ``per``: ip or key."""

    counts: str = "nothing"
    per: str = "ip"
    limit: int = 0
    overload: Overload | None = None

    def __post_init__(self) -> None:
        if self.counts not in ("requests", "connections", "nothing") or self.per not in ("ip", "key"):
            raise ValueError(f"no such rule: counts {self.counts!r} per {self.per!r}")
        if self.counts == "connections" and self.per == "key":
            raise ValueError("connections have no key: a key is first seen in a request")
        if self.counts != "nothing" and self.limit < 1:
            raise ValueError(f"a limit of {self.limit} refuses everything")


@dataclass(frozen=True)
class Decision:
    """What was found for one request: the others (numbers of requests or connections) that held a place, and why it was refused
    ("limit", "overload") or not (None)."""

    others: tuple[int, ...]
    refused: str | None


@dataclass
class Counter:
    """What is held at the moment, and the decisions that follow from it; one for the whole provider, used by all its threads."""

    rule: Rule
    seed: int = 0
    _requests: dict[int, tuple[str, str]] = field(default_factory=dict)
    _connections: dict[int, str] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(f"overload {self.seed}")

    def opened(self, connection: int, ip: str) -> int:
        """A connection was accepted; returns how many are open from its address, itself included."""
        with self._lock:
            self._connections[connection] = ip
            return sum(each == ip for each in self._connections.values())

    def closed(self, connection: int) -> None:
        with self._lock:
            self._connections.pop(connection, None)

    def ask(self, request: int, connection: int, ip: str, key: str, seconds: float) -> Decision:
        """Decide one request; if it is accepted it holds a place until ``done``."""
        with self._lock:
            if self.rule.counts == "connections":
                others = tuple(number for number, each in self._connections.items() if each == ip and number != connection)
            else:
                mine = (ip, key)[self.rule.per == "key"]
                others = tuple(number for number, held in self._requests.items() if held[self.rule.per == "key"] == mine)
            refused = None
            if self.rule.counts != "nothing" and len(others) >= self.rule.limit:
                refused = "limit"
            # A number is drawn for each request, so that the sequence does not depend on when a burst falls.
            draw = self._random.random()
            overload = self.rule.overload
            if refused is None and overload and overload.now(seconds) and draw < overload.fraction:
                refused = "overload"
            if refused is None:
                self._requests[request] = (ip, key)
            return Decision(others, refused)

    def done(self, request: int) -> None:
        with self._lock:
            self._requests.pop(request, None)

    def held(self) -> tuple[int, int]:
        """Requests in flight and connections open, of everybody."""
        with self._lock:
            return len(self._requests), len(self._connections)
