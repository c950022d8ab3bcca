"""Stages are timed without each other, and the page keeps what else is on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench import stage_page
from tests.bench.run import ROOT
from tests.bench.stages import STAGES
from tests.bench.two_sides import generate


def test_the_stages_are_the_whole(tmp_path: Path) -> None:
    truth = generate(tmp_path, connections=60)
    run = subprocess.run([sys.executable, "-m", "tests.bench.stages", str(tmp_path)], cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert found["requests"] == truth["requests"]
    assert found["packets"] == sum(truth["frames"].values())
    assert all(found["stages"][stage][0] > 0 for stage in STAGES if stage != "report")  # each is done, where it is looked for
    for k, whole in enumerate(("seconds", "processor_s")):
        assert abs(sum(each[k] for each in found["stages"].values()) - found[whole]) < 1e-6


def measured(requests: int, second: float) -> dict[str, Any]:
    times = [second, 2 * second]
    one = {
        "requests": requests,
        "packets": 9 * requests,
        "command_s": second,
        "peak_mb": 300.0,
        "all": times,
        "stages": {"read": times, "clock": times},
    }
    return {"capinfos": [0.1, 0.1], "plain": one, "report": one}


def test_the_section_is_replaced_and_the_rest_is_kept() -> None:
    data = {
        "load": "0 on 2 cores",
        "netlens": "1",
        "date": "2026-01-01",
        "repeat": 3,
        "sizes": {10: measured(100, 0.1), 100: measured(1000, 3.0)},
    }
    lines = stage_page.section(data)
    assert "| read | 0.10 / 0.20 | 3.00 / 6.00 | 3.00 |" in lines  # thirty times the time for ten times the requests
    assert "| all without the report, wall time / capinfos -c of both files | at most 9 | 30.0 | **no** |" in lines
    page = "# Benchmarks\n\nfirst\n"
    once = stage_page.with_section(page, lines)
    assert once.startswith(page)
    assert stage_page.with_section(once, lines) == once
    assert stage_page.with_section(once + "\n## More\n\nlast\n", [stage_page.TITLE, "new", ""]).endswith(
        f"first\n\n{stage_page.TITLE}\nnew\n\n## More\n\nlast\n"
    )


def test_a_million_requests_have_a_section_of_their_own() -> None:
    small, large = (each["plain"] | {"seconds": 1.0} for each in (measured(50_000, 1.0), measured(1_000_000, 30.0)))
    lines = stage_page.million_section([small, large])
    assert "| read | 1.00 / 2.00 | 30.0 / 60.0 | 30 |" in lines
    assert any("20.0 times the requests; n log n would be 26." in line for line in lines)
    page = stage_page.with_section("# Benchmarks\n\n## Other\n\nkept\n", lines)
    assert page.count(stage_page.MILLION_TITLE) == 1
    assert stage_page.with_section(page, lines) == page
