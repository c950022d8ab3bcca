"""Run an iterator in a thread, a few items ahead of who consumes it.

Worth it where both sides spend their time outside the interpreter lock: while one batch is folded, the next is read and decoded.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from netlens.wire import compiled

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int, cancel: Callable[[], None] | None = None, together: int = 1) -> Iterator[T]:
    """Yield ``items``, made by a thread that is at most ``depth`` finished lots of ``together`` items ahead.

    A handing-over wakes a thread, which takes as long as folding some hundred packets: so several items go together, unless each is wanted at once.
    While one lot is used and another one made, ``(depth + 2) * together`` items are there.

    What the iterator raises is raised here, in its place. When the consumer stops early, ``cancel`` is called to wake an iterator that waits for
    input, and the iterator is closed (in its thread).
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def hand_over(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        lot: list[T] = []
        try:
            for item in items:
                lot.append(item)
                if len(lot) == together:
                    if not hand_over("items", lot):
                        break
                    lot = []
            else:
                if hand_over("items", lot):
                    hand_over("end", None)
        except BaseException as error:  # noqa: BLE001 -- raised again by the consumer
            if hand_over("items", lot):
                hand_over("error", error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=produce, name="netlens-decoder", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield from value
    finally:
        stopped.set()
        if cancel is not None:
            cancel()
        compiled.give_up(thread)
        thread.join()
        compiled.gone(thread)
