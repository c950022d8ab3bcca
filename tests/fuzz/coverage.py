"""Which lines and branches of netlens an input reached that none before it did, told by the interpreter itself (``sys.monitoring``, Python 3.12).

Kernels are followed where they run as plain Python (``NUMBA_DISABLE_JIT=1``): a hundred times as slow, and every branch of them is seen. A place that was
seen is no longer reported, so the followed code soon runs as fast as any.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable
from types import CodeType
from typing import Any

import netlens

AVAILABLE = hasattr(sys, "monitoring")
#: What is followed: the package, not whatever lies in a folder of this name, as a clone with its tests and its virtual environment may.
PACKAGE = os.path.dirname(netlens.__file__) + os.sep


class Coverage:
    """Follows this process from now on."""

    def __init__(self) -> None:
        self.places = 0
        self._new: set[Hashable] = set()
        self._ways: dict[tuple[CodeType, int], set[int]] = {}
        watch: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._seen = watch.DISABLE
        events = watch.events
        watch.use_tool_id(watch.COVERAGE_ID, "netlens-fuzz")
        watch.register_callback(watch.COVERAGE_ID, events.LINE, self._line)
        watch.register_callback(watch.COVERAGE_ID, events.BRANCH, self._branch)
        watch.set_events(watch.COVERAGE_ID, events.LINE | events.BRANCH)
        watch.restart_events()  # places that an earlier one of this process has seen are new to this one

    def _line(self, code: CodeType, line: int) -> Any:
        if code.co_filename.startswith(PACKAGE):
            self._new.add((code.co_filename, line))
        return self._seen

    def _branch(self, code: CodeType, at: int, to: int) -> Any:
        if not code.co_filename.startswith(PACKAGE):
            return self._seen
        ways = self._ways.setdefault((code, at), set())
        if to not in ways:
            ways.add(to)
            self._new.add((code.co_filename, code.co_firstlineno, at, to))
        return self._seen if len(ways) > 1 else None

    def take(self) -> set[Hashable]:
        """Places reached for the first time since this was last asked."""
        new, self._new = self._new, set()
        self.places += len(new)
        return new

    def stop(self) -> None:
        """Follow no more."""
        watch: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        watch.set_events(watch.COVERAGE_ID, 0)
        watch.free_tool_id(watch.COVERAGE_ID)
