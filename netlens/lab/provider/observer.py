"""What the server itself cannot see: when a FIN or RST arrived. epoll tells the journal, and nobody else."""

from __future__ import annotations

import contextlib
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.journal import Journal


class Observer:
    """Writes down when FINs and RSTs arrive, without the serving threads knowing."""

    _WANTED = select.EPOLLRDHUP | select.EPOLLET

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._epoll = select.epoll()
        self._numbers: dict[int, int] = {}
        self._told: set[tuple[int, str]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._loop, daemon=True).start()

    def add(self, fd: int, number: int) -> None:
        with self._lock:
            self._numbers[fd] = number
        self._epoll.register(fd, self._WANTED)

    def remove(self, fd: int) -> None:
        """Look a last time (the serving thread may have been quicker than ours) and forget it; call this before the descriptor is closed."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        last = select.poll()
        last.register(fd, select.POLLRDHUP)
        for _fd, events in last.poll(0):
            self._tell(fd, events)

    def reset(self, number: int) -> None:
        """A serving thread met a reset; to nobody else will the kernel tell it again."""
        with self._lock:
            if (number, "reset") in self._told:
                return
            self._told.add((number, "reset"))
        self._journal.write("reset", connection=number)

    def _loop(self) -> None:
        while True:
            for fd, events in self._epoll.poll():
                self._tell(fd, events)

    def _tell(self, fd: int, events: int) -> None:
        # A reset shows as ERR; HUP alone is only "both directions are done". The numbers are the same for poll and epoll.
        kind = "reset" if events & select.EPOLLERR else "fin_in" if events & select.EPOLLRDHUP else None
        with self._lock:
            told = (self._numbers[fd], kind)
            if kind is None or told in self._told:
                return
            self._told.add(told)  # type: ignore[arg-type]
        self._journal.write(kind, connection=told[0])
