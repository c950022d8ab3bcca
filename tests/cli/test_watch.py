"""``netlens watch`` on recordings: what it prints, and what it refuses."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netlens.cli import cli
from netlens.errors import NetlensError
from tests.watch.helpers import found_by_analyze


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["watch", *arguments])


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_as_fast_as_possible_ends_with_the_peaks_of_analyze(captures: Path) -> None:
    folder = captures / "two-causes"
    found = run("--replay", str(folder), "--speed", "0", "--json", "--limit", "2")
    assert found.exit_code == 0, found.output
    told = objects(found.stdout)
    assert [o["final"] for o in told] == [False] * (len(told) - 1) + [True]
    last = {one["side"]: one["peaks"] for one in told[-1]["captures"]}
    wanted = found_by_analyze(folder)
    assert {side: (p["connections"], p["requests"]) for side, p in last.items()} == wanted
    assert told[-1]["rejections"]["logged"] == 10
    assert told[-1]["limit"]["times"] >= 1
    assert sum(o["limit"]["alarm"] for o in told[:-1]) == told[-1]["limit"]["seconds"]
    # one object for each second of the capture
    times = [o["time_ns"] for o in told[:-1]]
    assert {b - a for a, b in itertools.pairwise(times)} == {1_000_000_000}


def test_one_side_of_a_recording(captures: Path) -> None:
    found = run("--replay", str(captures / "same-nat-ip-nat"), "--side", "vm", "--speed", "0", "--json")
    assert [one["side"] for one in objects(found.stdout)[-1]["captures"]] == ["vm"]


def test_a_file_without_an_api(captures: Path) -> None:
    found = run("--replay", str(captures / "same-nat-ip-nat" / "host.pcap.gz"), "--speed", "0", "--json")
    last = objects(found.stdout)[-1]["captures"][0]
    assert last["vantage"] == "host"
    assert {(t["target"], t["side"]): t["connections"]["peak"] for t in last["targets"]} == {("api.z.ai", "vm"): 2, ("api.z.ai", "host"): 2}


def test_lines_and_a_summary(captures: Path) -> None:
    found = run("--replay", str(captures / "two-causes"), "--side", "vm", "--speed", "200")
    lines = found.stdout.splitlines()
    assert any("api.z.ai vm  connections 1 (peak 1)  requests 1 (peak 1)" in line for line in lines)
    assert sum("  refusal  " in line for line in lines) == 7
    assert lines[-1] == "refusals: 7 in the error log"


def test_speed(captures: Path) -> None:
    started = time.monotonic()
    found = run("--replay", str(captures / "healthy"), "--speed", "20", "--json")
    assert found.exit_code == 0
    assert time.monotonic() - started > 26 / 20 - 0.2  # it is 26 s long: never faster than asked for


def test_an_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    found = run("--replay", str(path), "--speed", "0", "--json")
    assert found.exit_code == 0
    assert objects(found.stdout)[-1]["captures"][0]["packets"] == 0


def test_a_time_that_jumps_far_ahead_does_not_take_that_long(tmp_path: Path, captures: Path) -> None:
    import gzip
    import struct

    data = gzip.decompress((captures / "healthy" / "vm.pcap.gz").read_bytes())
    size = struct.unpack_from("<I", data, 32)[0]
    far = struct.pack("<I", 4_000_000_000) + data[28 : 40 + size]
    path = tmp_path / "far.pcap"
    path.write_bytes(data + far)
    for speed in ("0", "1000"):
        started = time.monotonic()
        found = run("--replay", str(path), "--speed", speed, "--json")
        assert found.exit_code == 0
        assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--replay", "nosuch.pcap"], 1, "nosuch.pcap: no such file"),
        (["--replay", "."], 1, "this folder is empty"),
        (["--replay", "x", "-i", "lo"], 2, "does not go with --replay"),
        (["--replay", "x", "-w", "y"], 2, "does not go with --replay"),
        (["--side", "both"], 2, "--side both needs the VM"),
        (["--side", "host", "--vm", "a@b"], 2, "--vm does not go with"),
        (["-w", "somewhere"], 2, "-w needs --side"),
        (["--limit", "0"], 2, "--limit"),
        (["--api", "-x"], 1, "neither a name nor an address"),
        (["-i", "-w"], 1, "not the name of an interface"),
        (["--everything", "--filter", "tcp"], 1, "exclude each other"),
        (["--ssh-cmd", "'"], 1, "--ssh-cmd"),
    ],
)
def test_bad_input_gets_one_clear_line(options: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*options)
    told = str(found.exception) if isinstance(found.exception, NetlensError) else found.output
    assert words in told
    assert (1 if isinstance(found.exception, NetlensError) else found.exit_code) == code


def test_a_reader_that_has_enough(captures: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "netlens", "watch", "--replay", str(captures / "two-causes"), "--speed", "20", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
