"""Refusals as they come: lines of the program's log, or inferred from short answers.

A log says more than traffic, so what is inferred is left out where a log is followed. Inference is that of :mod:`netlens.lenses.refused.labels.answers`, run
on the latest exchanges with the target: answers of one small size after which the same request came again until it was answered by a stream. So
the first ones of a kind are known late, some seconds after they came, and marked as inferred.

Limits: a line of a log is taken to be as old as its arrival, which is right within a second. Of HTTP/2 nothing is inferred.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netlens.chains.situation import REJECTED
from netlens.columns import objects
from netlens.lenses.refused.labels import answers

KEPT = 3000  #: latest exchanges that are looked at; ten minutes at five a second
ECHO_NS = 500_000_000  #: one refusal may leave several lines; those that come together are one
_CODE = re.compile(r"code=(\d{4})")


@dataclass(frozen=True)
class Refusal:
    """``source``: "error log", or "inferred"; ``code`` of the provider or HTTP status, if said."""

    time_ns: int
    side: str
    source: str
    code: str = ""
    target: str = ""


@dataclass
class Answer:
    """One exchange with the target, as far as inference needs it. ``session`` is a number that stays (its first frame)."""

    session: int
    start_ns: int
    asked_ns: int
    response_ns: int | None
    end_ns: int | None
    up: int
    down: int
    status: int
    complete: bool
    fin_ns: int | None
    rst_ns: int | None
    http2: bool | None  # None: its hello was not seen
    side: str
    target: str


class Log:
    """Lines of one log, as ``capture.errorlog`` reduces them; each refusal once."""

    def __init__(self, side: str):
        self.side = side
        self._last: tuple[int, str] | None = None

    def line(self, text: str, time_ns: int) -> Refusal | None:
        """A reduced line that speaks of a refusal; None if it is the echo of the one before."""
        found = _CODE.search(text)
        # what the line is besides its time and code: one refusal leaves a line of each kind
        return self.take(time_ns, re.sub(r"\S*\d\S*", "", text), found[1] if found else "")

    def take(self, time_ns: int, kind: str, code: str) -> Refusal | None:
        """The same for a line whose parts are known."""
        if self._last is not None and time_ns - self._last[0] <= ECHO_NS and kind != self._last[1]:
            return None
        self._last = time_ns, kind
        return Refusal(time_ns, self.side, "error log", code)


class Inference:
    """Refusals that the traffic alone shows."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, int], Answer] = {}
        self._shown: set[tuple[int, int]] = set()
        self._order: deque[tuple[int, int]] = deque()
        self._changed = False

    def add(self, answers: Iterable[Answer]) -> None:
        """Take exchanges, again when more is known of one."""
        for answer in answers:
            key = answer.session, answer.start_ns
            before = self.answers.get(key)
            if before is None:
                self._order.append(key)
            if before != answer:
                self.answers[key] = answer
                self._changed = True
        while len(self._order) > KEPT:
            key = self._order.popleft()
            del self.answers[key]
            self._shown.discard(key)

    def new(self) -> list[Refusal]:
        """Those that are known now and were not before."""
        if not self._changed:
            return []
        self._changed = False
        keys, rows = list(self.answers), list(self.answers.values())
        exchanges = {
            "session_id": np.array([a.session for a in rows], np.int64),
            "start_ns": np.array([a.start_ns for a in rows], np.int64),
            "request_end_ns": np.array([a.asked_ns for a in rows], np.int64),
            "response_ns": objects([a.response_ns for a in rows]),
            "end_ns": objects([a.end_ns for a in rows]),
            "up_bytes": np.array([a.up for a in rows], np.int64),
            "down_bytes": np.array([a.down for a in rows], np.int64),
            "status": objects([a.status or None for a in rows]),
            "complete": np.array([a.complete for a in rows], bool),
        }
        latest = {a.session: a for a in rows}
        sessions = {
            "session_id": np.array(list(latest), np.int64),
            "orig_fin_ns": objects([a.fin_ns for a in latest.values()]),
            "rst_ns": objects([a.rst_ns for a in latest.values()]),
        }
        offered = [(a.session, a.http2) for a in latest.values() if a.http2 is not None]
        hellos = {
            "session_id": np.array([number for number, _ in offered], np.int64),
            "alpn": objects([["h2"] if two else [] for _, two in offered]),
        }
        labels = answers.infer(exchanges, sessions, hellos)
        out = []
        for i in np.flatnonzero(labels.rejected == REJECTED).tolist():
            if keys[i] not in self._shown:
                self._shown.add(keys[i])
                a = rows[i]
                out.append(Refusal(a.end_ns or a.start_ns, a.side, "inferred", str(a.status) if a.status else "", a.target))
        return sorted(out, key=lambda r: r.time_ns)
