"""Measure a report in Chromium: ``python -m tests.bench.page FOLDER [--connections 60000] [--repeat 5]``.

``FOLDER`` gets a capture of as many connections (:mod:`tests.bench.generate`) and its report, or is a folder with a ``report.html`` already. Each turn opens
the page in a new Chromium. Told are the medians, and the slowest: of the time from the navigation to the first paint, to the timeline drawn, of drawing the
timeline once zoomed in, and from there to the next frame of the browser (up to 17 ms more, at 60 a second). Exit 1 if a median is above what is wanted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tests.bench.run import ROOT
from tests.report.browser import Browser, find

WANTED_MS = {"first paint": 2000.0, "drawn": 2000.0, "zoom, drawing": 50.0, "zoom, to the next frame": 50.0}
STEPS = 12  #: times zoomed in, by half each
DRAWN = """new MutationObserver(() => {
  if (document.documentElement.dataset.drawn) window.drawnAt ??= performance.now();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });"""
ZOOM = """new Promise((done) => {
  const times = [], frames = [];
  const step = (left) => {
    if (!left) return done([times, frames]);
    const begin = performance.now(), at = model.view.from + (model.view.to - model.view.from) * 0.37, span = (model.view.to - model.view.from) / 4;
    show(at - span, at + span);
    drawNow();
    times.push(performance.now() - begin);
    requestAnimationFrame(() => { frames.push(performance.now() - begin); step(left - 1); });
  };
  step(%d);
})"""


def make(folder: Path, connections: int) -> Path:
    """The report of a capture with so many connections."""
    report = folder / "report.html"
    if not report.exists():
        folder.mkdir(parents=True, exist_ok=True)
        capture = folder / "capture.pcap"
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, "-m", "tests.bench.generate", "short", str(capture), "--sessions", str(connections)], env=env, check=True
        )
        subprocess.run(
            [sys.executable, "-m", "netlens", "analyze", str(capture), "-o", str(folder)], env=env, stdout=subprocess.DEVNULL, check=True
        )
    return report


def measure(program: str, report: Path) -> dict[str, list[float]]:
    """Milliseconds of one turn."""
    with Browser(program) as browser:
        page = browser.page(1280, 900)
        page.call("Page.addScriptToEvaluateOnNewDocument", source=DRAWN)
        page.open(report)
        page.frame()
        paint = page.run(
            "performance.getEntriesByType('paint').filter((e) => e.name === 'first-contentful-paint').map((e) => e.startTime)[0]"
        )
        drawn = page.run("window.drawnAt")
        times, frames = page.run(ZOOM % STEPS)
        if said := page.complaints():
            raise SystemExit(f"the console says: {said[0]}")
        return {"first paint": [paint], "drawn": [drawn], "zoom, drawing": times, "zoom, to the next frame": frames}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=60_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    program = find()
    if program is None:
        parser.error("no Chromium is installed")
    report = make(options.folder, options.connections)
    turns = [measure(program, report) for _ in range(options.repeat)]
    missed = False
    print(f"{report.stat().st_size / 1e6:.1f} MB, {options.repeat} turns")
    for name, wanted in WANTED_MS.items():
        values = [value for turn in turns for value in turn[name]]
        median = statistics.median(values)
        missed |= median > wanted
        print(f"{name:<24} {median:8.1f} ms (slowest {max(values):.1f}); wanted {wanted:g}{' MISSED' if median > wanted else ''}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
