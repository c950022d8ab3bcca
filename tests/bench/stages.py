"""Where the time of ``netlens analyze`` on two captures goes, stage by stage: ``python -m tests.bench.stages FOLDER [--report]``.

Prints JSON: of each stage wall time and processor time in seconds, both without what other stages did inside it; requests and packets.
``--report`` writes the report too, as ``-o`` does. ``FOLDER`` is a recording as :mod:`tests.bench.two_sides` makes them; the kernels are loaded by a
small one before, imports are not timed, and threads allocate in one heap, as in the command. Several threads may work in a stage, so that its processor
time is more than its wall time; that of a second process (:mod:`netlens.aside`) is in the stage that waited for it. Of two processes the memory of the
larger is told.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

#: Stage -> functions that do it, as "module:name" where they are looked up. What none of them does is that of the stage around it.
STAGES = {
    "read": ("netlens.parsers.pipeline:run", "netlens.api:Capture.table"),
    "clock": ("netlens.chains.clock:estimate",),
    "pairing and linking": ("netlens.analysis:link", "netlens.analysis:rebuild"),
    "labels": ("netlens.analysis:labelled",),
    "limit search": ("netlens.lenses.refused.over_time:fits", "netlens.lenses.refused.weighing:infer"),
    "causes": ("netlens.lenses.refused.weighing:weigh",),
    "replay": ("netlens.lenses.refused.fixes:predict",),
    "damaged": ("netlens.lenses.damaged:compare",),
    "other lenses": ("netlens.lenses:look",),
    "budget": ("netlens.chains.budget:budget", "netlens.analysis:document"),
    "report": ("tests.bench.stages:_reported",),
}
REST = "the rest"


class Clock:
    """Time by stage: what runs inside a stage and is another's is taken off."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {stage: [0.0, 0.0] for stage in (*STAGES, REST)}
        self._open: list[str] = [REST]
        self._since = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime

    def tick(self) -> tuple[float, float]:
        """Count what was spent until now; the times, wall and processor."""
        now = self._now()
        for k in (0, 1):
            self.spent[self._open[-1]][k] += now[k] - self._since[k]
        self._since = now
        return now

    def watch(self, stage: str, place: str) -> None:
        """Have a function's time counted."""
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        function = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            self._open.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.tick()
                self._open.pop()

        setattr(owner, name, timed)

    def start(self) -> tuple[float, float]:
        """Forget what was spent before; the times when that was."""
        now = self.tick()
        self.spent = {stage: [0.0, 0.0] for stage in self.spent}
        return now


def _reported(found: Any, document: dict[str, Any], folder: str) -> None:
    from netlens.cli import analyze

    analyze._write(document, found, folder)


def run(folder: Path, report: bool) -> dict[str, Any]:
    """Analyse a recording with every stage timed."""
    import netlens
    from netlens.arrays import one_heap

    with tempfile.TemporaryDirectory(prefix="netlens-bench-") as temporary:
        # in a process of its own: what the generator holds is not netlens' memory
        subprocess.run([sys.executable, "-m", "tests.bench.two_sides", temporary, "--connections", "60"], check=True, capture_output=True)
        warm = netlens.analyze(temporary)
        document = warm.to_dict()
        if report:
            _reported(warm, document, str(Path(temporary, "out")))
        one_heap()  # as the command does
        clock = Clock()
        for stage, places in STAGES.items():
            for place in places:
                clock.watch(stage, place)
        written: Callable[..., None] = sys.modules["tests.bench.stages"]._reported
        begun = clock.start()
        found = netlens.analyze(str(folder))
        document = found.to_dict()
        if report:
            written(found, document, str(Path(temporary, "report")))
        took = [end - start for start, end in zip(begun, clock.tick(), strict=True)]
    return {
        "requests": found.counts["exchanges"],
        "packets": sum(each["frames"] for each in document["inputs"]),
        "seconds": took[0],
        "processor_s": took[1],
        "stages": {stage: spent for stage, spent in clock.spent.items() if report or stage != "report"},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stages", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    module = import_module("tests.bench.stages")  # the one whose functions are watched; this one is called __main__
    print(json.dumps(module.run(arguments.folder, arguments.report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
