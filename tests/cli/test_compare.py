"""``netlens compare`` as people type it."""

from __future__ import annotations

import gzip
import json
import re
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
    assert "both are the same recording" in document["sentence"]


def test_a_copy_of_a_recording_is_the_same_recording(tmp_path: Path) -> None:
    shutil.copytree(BEFORE, tmp_path / "copy")
    assert "both are the same recording" in run("compare", BEFORE, str(tmp_path / "copy")).stdout


def test_recordings_of_one_time_are_no_before_and_after() -> None:
    """The laboratory made them side by side. It asked whether they were the wrong way round."""
    told = run("compare", BEFORE, AFTER).stdout
    assert "caution: both were recorded at the same time for 32.4 s" in told
    assert "wrong way round" not in told


def test_requests_whose_outcome_nobody_knows_are_there(tmp_path: Path) -> None:
    """Of captures without logs it said that there were none. No refusal shows here how they look."""
    told = run("compare", str(Path(BEFORE).parent / "healthy" / "host.pcap.gz"), f"{AFTER}/host.pcap.gz").stdout
    [line] = [line for line in told.split("\n") if line.startswith("requests ")]
    assert "outcomes unknown" in line


def test_streams_without_a_log_were_accepted_where_refusals_before_were_short() -> None:
    told = run("compare", f"{BEFORE}/host.pcap.gz", f"{AFTER}/host.pcap.gz").stdout
    assert re.search(r"\d+ answers after are streams and counted as accepted", told)
    [line] = [line for line in told.split("\n") if line.startswith("requests ")]
    assert "outcomes unknown" not in line


def test_what_differs_is_said() -> None:
    differs = [line for line in run("compare", BEFORE, AFTER).stdout.split("\n") if line.startswith("differs: ")]
    assert differs == [
        "differs: API excluded from the tunnel: no before, yes after",
        "differs: sshuttle options: -x 203.0.113.10/32 only after",
        "differs: connections to the API: 8 sshuttle before; 11 nat after",
    ]
    assert "differs" not in run("compare", BEFORE, BEFORE).stdout


def test_programs_and_machines_that_differ_are_said(tmp_path: Path) -> None:
    for name, version in (("a", "1.1.2"), ("b", "1.3.2")):
        shutil.copytree(AFTER, tmp_path / name)
        with open(tmp_path / name / "manifest.toml", "a") as file:
            file.write(f'[machines.vm]\nsshuttle = "{version}\\u001b[2J"\nnameservers = ["192.0.2.1"]\n')
    stdout = run("compare", str(tmp_path / "a"), str(tmp_path / "b")).stdout
    assert r"differs: sshuttle version of the VM: 1.1.2\x1b[2J before, 1.3.2\x1b[2J after" in stdout
    assert "name servers" not in stdout


def test_the_wrong_way_round_is_cautioned() -> None:
    later, earlier = str(CAPTURES / "same-nat-ip-sshuttle"), str(CAPTURES / "healthy")
    assert "the recording given as after began 3 min 43 s earlier" in run("compare", later, earlier).stdout
    assert "wrong way round" not in run("compare", earlier, later).stdout


def test_different_apis_are_not_compared_unless_both_are_named(tmp_path: Path) -> None:
    other = shutil.copytree(AFTER, tmp_path / "other")
    manifest = other / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('names = ["api.z.ai"]', 'names = ["192.168.64.1"]'))
    refused(run("compare", BEFORE, str(other)), "the recordings are about different APIs: api.z.ai before, 192.168.64.1 after")


def test_the_result_goes_to_a_file(tmp_path: Path) -> None:
    shown = run("compare", BEFORE, AFTER).stdout
    done = run("compare", BEFORE, AFTER, "-o", str(tmp_path / "compared.txt"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "Better" in done.stderr
    assert (tmp_path / "compared.txt").read_text() == shown
    assert run("compare", BEFORE, AFTER, "-o", str(tmp_path / "compared.json")).returncode == 0
    assert json.loads((tmp_path / "compared.json").read_text())["verdict"] == "better"


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
