"""One injection of the quicker faults, and what the commands that write docs/reliability.md rest on."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.faults import cases, ground, load

HERE = {case.run.__name__: case for case in cases.CASES}
needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("tcpdump"), reason="needs root on Linux and tcpdump"
)


@pytest.mark.parametrize("name", ["file_grows", "file_shrinks", "export_killed"])
def test_without_root(name: str) -> None:
    HERE[name].run(random.Random(1))


@needs_root
@pytest.mark.lab
@pytest.mark.parametrize("name", ["tcpdump_killed", "two_in_one_folder", "output_disk_full"])
def test_with_root(name: str) -> None:
    HERE[name].run(random.Random(1))


@needs_root
@pytest.mark.lab
def test_drops_are_reported_to_the_packet() -> None:
    """tcpdump is stopped until the kernel's buffer is full."""
    row = [cell.strip() for cell in load.highest_rate(3, 1, 1400, stopped_s=1.5).split("|")]
    stored, missing, reported = (int(cell.replace(",", "")) for cell in row[4:7])
    assert stored > 0
    assert missing == reported


def test_a_log_whose_clock_was_stepped() -> None:
    log = "INFO 2026-01-25T16:33:41 +58ms a\nINFO 2026-01-25T16:33:50 +9000ms b\nINFO 2026-01-25T16:33:51 +1000ms c\nat 2026-01-25T16:33:52.500Z\n"
    moved = cases._stepped(log, 1769358825, -10)
    assert moved == (
        "INFO 2026-01-25T16:33:41 +58ms a\nINFO 2026-01-25T16:33:40 +-1000ms b\nINFO 2026-01-25T16:33:41 +1000ms c\nat 2026-01-25T16:33:42.500Z\n"
    )


def test_sections_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    ground.write_section(page, "a", "one\n")
    ground.write_section(page, "b", "two\n")
    whole = page.read_text(encoding="utf-8")
    ground.write_section(page, "a", "three\n")
    ground.write_section(page, "b", "two\n")
    assert page.read_text(encoding="utf-8") == whole.replace("one", "three")
