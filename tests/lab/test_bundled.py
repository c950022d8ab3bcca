"""The recordings in captures/ agree with the truth beside them; of each family of scenarios there are some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from netlens.capture.recording import read_manifest
from netlens.lab import check, scenario

#: Scenarios that are only run: limits over time and their like need minutes and megabytes, and of each kind of path one recording is enough.
NOT_BUNDLED = {
    "late-release", "overload-beside", "queue", "quota", "rate-attempts", "rate-bucket", "rate-fixed", "rate-window", "shrinking-limit", "two-models",
    "sdk-anthropic", "sdk-openai", "second-program", "volume",
    "own-concurrency-forward", "own-concurrency-ipv6", "own-concurrency-mitmproxy", "own-concurrency-nginx", "own-concurrency-tun",
    "same-nat-ip-connect-tunnelled", "same-nat-ip-container", "same-nat-ip-lan", "same-nat-ip-nat66", "same-nat-ip-other-name", "same-nat-ip-redirect",
    "same-nat-ip-round-robin", "same-nat-ip-two-vms", "zombie-slow",
}  # fmt: skip
#: Of those of the real opencode, which take 1 to 3 minutes; others are tested in test_real.
REAL = {"opencode-own-title", "opencode-zombie"}
BUNDLED = sorted(name for name in set(scenario.names()) - NOT_BUNDLED if name in REAL or not name.startswith("opencode-"))


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
