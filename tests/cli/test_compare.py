"""``netlens compare`` as people type it."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.test_bad_input import refused, run
from tests.wire.helpers import pcap

CAPTURES = Path(__file__).parents[2] / "captures"
BEFORE, AFTER = str(CAPTURES / "zombie-sshuttle"), str(CAPTURES / "zombie-excluded")


def test_the_first_line_says_it() -> None:
    done = run("compare", BEFORE, AFTER)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.split()[0].lower().startswith("better")
    assert run("compare", AFTER, BEFORE).stdout.split()[0].lower().startswith("worse")


def test_the_json_is_one_object() -> None:
    done = run("compare", BEFORE, AFTER, "--format", "json")
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert (document["baseline"], document["candidate"], document["verdict"]) == (BEFORE, AFTER, "better")
    assert {"before", "after", "p"} <= set(document)


def test_a_recording_with_itself_cannot_be_told_apart() -> None:
    document = json.loads(run("compare", BEFORE, BEFORE, "--format", "json").stdout)
    assert document["verdict"] == "cannot-tell"
    assert document["p"] == pytest.approx(1.0)


def test_captures_of_one_side_and_of_standard_input() -> None:
    vm = str(Path(BEFORE) / "vm.pcap.gz")
    assert run("compare", vm, AFTER).returncode == 0
    assert run("compare", "-", AFTER, data=gzip.decompress(Path(vm).read_bytes())).returncode == 0
    done = run("compare", "-", "-", data=b"")
    assert done.returncode == 2
    assert "only one of the two recordings can be standard input" in done.stderr


def test_captures_with_nothing_in_them(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap([]))
    done = run("compare", str(path), AFTER, "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "cannot-tell"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([BEFORE, "nope"], "nope: no such file"),
        ([BEFORE, str(CAPTURES)], "this folder has no host.pcap or vm.pcap"),
        ([BEFORE, AFTER, "--api", "nowhere.example"], "--api nowhere.example: this capture has no connection there"),
        (["a\x1b[2J", AFTER], r"a\x1b[2J: no such file"),
    ],
)
def test_input_that_cannot_be_used(args: list[str], says: str) -> None:
    refused(run("compare", *args), says)


def test_a_manifest_whose_api_nobody_called(tmp_path: Path) -> None:
    shutil.copytree(AFTER, tmp_path / "r")
    manifest = tmp_path / "r" / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('names = ["api.z.ai"]', 'names = ["other.example"]'))
    refused(run("compare", BEFORE, str(tmp_path / "r")), "the manifest's API other.example")


@pytest.mark.parametrize("args", [[], [BEFORE], [BEFORE, AFTER, BEFORE], [BEFORE, AFTER, "--format", "csv"]])
def test_wrong_usage(args: list[str]) -> None:
    done = run("compare", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "compare" in done.stderr
