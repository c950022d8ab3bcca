"""The recordings in captures/ agree with the truth beside them; of each family of scenarios there are some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from netlens.capture.recording import read_manifest
from netlens.lab import check, scenario
from netlens.lab.check import story

#: Others are only run: limits over time and their like need minutes and megabytes, and of each kind of path one recording is enough.
BUNDLED = [name for name in scenario.names() if (Path(__file__).parents[2] / "captures" / name).is_dir()]


@pytest.mark.parametrize("name", BUNDLED)
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
    assert {path.name for path in check.bundled(captures)} == set(BUNDLED)
    assert len(BUNDLED) >= 36


def test_of_each_cause_that_the_providers_log_tells_there_is_a_recording() -> None:
    shown = {cause for name in BUNDLED for cause in scenario.load(name).expect.causes}
    assert set(story.TOLD) - {"own-rate"} <= shown  # limits over time need minutes


def test_a_port_that_is_used_again_is_another_connection(captures: Path, tmp_path: Path) -> None:
    """The provider's log has one of the same port a second before: its end is not held against the later one."""
    folder = tmp_path / "copy"
    shutil.copytree(captures / "same-nat-ip-nat", folder)
    log = folder / "provider.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    older = []
    for event in events:
        if event["event"] == "accept":
            number = 10_000 + event["connection"]
            older.append(event | {"connection": number, "ns": event["ns"] - 1_000_000_000})
            older += [{"ns": event["ns"] - 900_000_000, "event": kind, "connection": number} for kind in ("fin_in", "fin_out")]
    log.write_text("".join(f"{json.dumps(each)}\n" for each in [*older, *events]))
    assert not [problem for problem in check.check(folder).problems if problem.startswith("vm connection end")]
