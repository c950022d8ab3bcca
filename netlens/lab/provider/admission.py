"""Decides each request by the provider's limits, and keeps what is held; used by all its threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netlens.lab.provider.limiters import Held, Request, concurrency, kinds


@dataclass(frozen=True)
class Decision:
    """``others``: numbers of the requests or connections that held a place; ``refused``: by which limit (None: accepted)."""

    others: tuple[int, ...]
    refused: str | None


class Admission:
    """``limits``: settings by the id of their limiter; see :func:`netlens.lab.provider.limiters.settings_of`."""

    def __init__(self, limits: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.limits = limits or {}
        self._held = Held()
        self._lock = threading.Lock()
        self._random = random.Random(f"overload {seed}")

    def opened(self, connection: int, ip: str) -> int:
        """A connection was accepted; returns how many are open from its address, itself included."""
        with self._lock:
            self._held.connections[connection] = ip
            return sum(each == ip for each in self._held.connections.values())

    def closed(self, connection: int) -> None:
        with self._lock:
            self._held.connections.pop(connection, None)

    def ask(self, number: int, connection: int, ip: str, key: str, seconds: float) -> Decision:
        """Decide one request; if it is accepted it holds a place until ``done``."""
        with self._lock:
            # A number is drawn for each request, so that the sequence does not depend on when a burst falls.
            request = Request(number, connection, ip, key, seconds, self._random.random())
            others = concurrency.others(self.limits.get(concurrency.ID), request, self._held)
            limiters = kinds()
            refused = next((name for name, limit in self.limits.items() if limiters[name].decide(limit, request, self._held)), None)
            if refused is None:
                self._held.requests[number] = request
                self._held.accepted.append(request)
            return Decision(others, refused)

    def done(self, number: int) -> None:
        with self._lock:
            self._held.requests.pop(number, None)

    def held(self) -> tuple[int, int]:
        """Requests in flight and connections open, of everybody."""
        with self._lock:
            return len(self._held.requests), len(self._held.connections)
