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
    """``others``: numbers of the requests or connections that held a place; ``refused``: by which limit (None: accepted).

    limit : that held then, on what is open.  alone : a limit over time would have refused it had its side sent everything alone.
    """

    others: tuple[int, ...]
    refused: str | None
    limit: int | None = None
    alone: bool | None = None


class Admission:
    """``limits``: settings by the id of their limiter; see :func:`netlens.lab.provider.limiters.settings_of`."""

    def __init__(self, limits: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.limits = limits or {}
        self._held = Held()
        self._alone: dict[str, Held] = {}  # what each side sent
        self._changed = threading.Condition()
        self._line: list[int] = []  # requests that wait
        self._random = random.Random(f"overload {seed}")

    def opened(self, connection: int, ip: str) -> int:
        """A connection was accepted; returns how many are open from its address, itself included."""
        with self._changed:
            self._held.connections[connection] = ip
            return sum(each == ip for each in self._held.connections.values())

    def closed(self, connection: int) -> None:
        with self._changed:
            self._held.connections.pop(connection, None)

    def ask(
        self, number: int, connection: int, ip: str, key: str, seconds: float, *, model: str = "", size: int = 0, side: str = ""
    ) -> Decision:
        """Decide one request; if it is accepted it holds a place until ``done``. Where there is a queue, this waits for its turn.

        ``side``: whose program sent it. No limit looks at it; the truth is told by it.
        """
        with self._changed:
            # A number is drawn for each request, so that the sequence does not depend on when a burst falls.
            request = Request(number, connection, ip, key, seconds, self._random.random(), model, size)
            self._wait(request)
            rule = self.limits.get(concurrency.ID)
            others = concurrency.others(rule, request, self._held)
            refused = self._refusing(request, self._held)
            mine = self._alone.setdefault(side, Held())
            alone = None
            if refused is None:
                self._held.requests[number] = request
            elif kinds()[refused].OVER_TIME:
                alone = kinds()[refused].decide(self.limits[refused], request, mine)
            for each in (self._held, mine):
                each.sent.append((request, refused is None))
            return Decision(others, refused, rule.limit_for(request) if rule else None, alone)

    def _refusing(self, request: Request, held: Held) -> str | None:
        """The id of the limit that refuses it."""
        limiters = kinds()
        found = (name for name, limit in self.limits.items() if not limiters[name].WAITS and limiters[name].decide(limit, request, held))
        return next(found, None)

    def _wait(self, request: Request) -> None:
        """Stand in line until nobody is before it and no limit lets it wait."""
        waits = [(kind, self.limits[name]) for name, kind in kinds().items() if kind.WAITS and name in self.limits]
        if not waits:
            return
        self._line.append(request.number)
        self._changed.wait_for(
            lambda: self._line[0] == request.number and not any(kind.decide(limit, request, self._held) for kind, limit in waits)
        )
        self._line.remove(request.number)
        self._changed.notify_all()

    def done(self, number: int, seconds: float | None = None) -> None:
        """Its answer is over, ``seconds`` after the provider's start."""
        with self._changed:
            request = self._held.requests.pop(number, None)
            if request is not None and seconds is not None:
                self._held.ended_s[number] = (seconds, request)
            self._changed.notify_all()

    def held(self) -> tuple[int, int]:
        """Requests in flight and connections open, of everybody."""
        with self._changed:
            return len(self._held.requests), len(self._held.connections)
