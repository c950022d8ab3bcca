"""The recordings in captures/ agree with the truth beside them, and each scenario has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlens.capture.recording import read_manifest
from netlens.lab import check, programs, scenario

#: Of the stand-in program; those of real ones are tested in test_real.
NAMES = [name for name in scenario.names() if {programs.kind_of(each) for each in scenario.load(name).programs} == {programs.DEFAULT}]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_recording_agrees_with_the_providers_own_log(captures: Path, name: str) -> None:
    folder = captures / name
    manifest = read_manifest(folder)
    assert manifest.extra["lab"]["scenario"] == name
    assert manifest.extra["command"].startswith(f"sudo netlens lab run {name} ")
    assert manifest.changed() == []
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1_000_000
    report = check.check(folder)
    assert report.problems == []


def test_bundled_finds_only_lab_recordings(captures: Path) -> None:
    assert {path.name for path in check.bundled(captures)} == set(NAMES)
