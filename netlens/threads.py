"""Work that divides, on as many threads: compiled kernels, zlib and the writers of files let go of the interpreter lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


children = 0  #: processes that work for this one (:mod:`netlens.aside`)


def free_cores() -> int:
    """Cores for threads of this process: those that its children leave, one at least."""
    return max(cores() - children, 1)


def in_parallel(*jobs: Callable[[], Any]) -> list[Any]:
    """Results of ``jobs`` in order: each in a thread where there are cores for them, else one after the other. What one of them raises is raised."""
    if len(jobs) < 2 or cores() < 2:
        return [job() for job in jobs]
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(k: int) -> None:
        try:
            results[k] = jobs[k]()
        except BaseException as error:  # noqa: BLE001 -- raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,), name=f"netlens-{k}", daemon=True) for k in range(1, len(jobs))]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def slices(n: int, least: int) -> list[tuple[int, int]]:
    """Begin and end of what each core gets of ``n`` items; one share where a part would have less than ``least``."""
    k = max(min(cores(), n // max(least, 1)), 1)
    return [(n * i // k, n * (i + 1) // k) for i in range(k)]
