"""The verdict on every bundled recording, against the provider's own log; with everything, with less, and with a wrong clock."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlens
from tests.recordings import FOLDER, NAMES, copy, expected, with_keys

if TYPE_CHECKING:
    from netlens.analysis import Analysis

LOGS = ("vm-errors.log", "host-errors.log")
KEYS = ("vm-keylog.txt", "host-keylog.txt")


def supported(found: Analysis) -> set[str]:
    return {v.id for v in found.hypotheses if v.verdict == "supported"}


def holds(found: Analysis, name: str) -> None:
    truth = expected(name)
    assert supported(found) == set(truth["causes"])
    assert found.cause in (truth["causes"] or [None])
    if truth["causes"] and truth["causes"] != ["provider"]:
        assert found.limit is not None
        if "limit" in truth:
            assert (found.limit.value, found.limit.low, found.limit.high) == (truth["limit"],) * 3
    else:
        assert found.limit is None


@pytest.mark.parametrize("name", NAMES)
def test_the_cause_and_nothing_else_is_supported(name: str) -> None:
    found = with_keys(FOLDER / name)
    holds(found, name)
    assert all(v.needs for v in found.hypotheses if v.verdict == "undecided")
    assert all(v.evidence for v in found.hypotheses if v.verdict != "undecided")
    if not expected(name)["causes"]:
        assert found.counts["rejections"] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("offset_s", "drift_ppm"), [(3.0, 100.0), (-2.9, -100.0)])
def test_a_wrong_clock_changes_nothing(name: str, offset_s: float, drift_ppm: float, tmp_path: Path) -> None:
    holds(with_keys(copy(name, tmp_path / "r", offset_s=offset_s, drift_ppm=drift_ppm)), name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("host_back", [(0.3, 2.5), (0.6, 11.0), (0.5, 3000.0)])
def test_a_host_whose_clock_is_set_back_names_no_other_cause(name: str, host_back: tuple[float, float], tmp_path: Path) -> None:
    found = with_keys(copy(name, tmp_path / "r", host_back=host_back))
    assert supported(found) <= set(expected(name)["causes"])
    assert found.cause in (None, *expected(name)["causes"])
    assert any("clock was set back while recording" in note for note in found.quality["notes"])
    if host_back[1] == 2.5 and name not in (
        "refused-in-stream",
        "same-nat-ip-vxlan",
        "own-concurrency-haproxy",
    ):  # of which few requests (or 4 refusals) are left
        assert found.cause in (expected(name)["causes"] or [None])
    if host_back[1] == 3000.0:  # longer than the recording: no order is left
        assert supported(found) == set()


def test_a_frame_with_a_damaged_time_is_no_clock_that_was_set_back(tmp_path: Path) -> None:
    folder = copy("own-concurrency-idle-host", tmp_path / "r")
    (folder / "host.pcap.gz").rename(folder / "was.gz")
    data = bytearray(gzip.decompress((folder / "was.gz").read_bytes()))
    at = 24
    for _ in range(30):
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + 3600)
    (folder / "host.pcap").write_bytes(data)
    found = netlens.analyze(folder)
    assert found.cause == "own-concurrency"
    assert not any("no evidence" in note for note in found.quality["notes"])


def test_files_in_the_wrong_order_are_told_of_as_such(tmp_path: Path) -> None:
    data = gzip.decompress((FOLDER / "same-nat-ip-nat" / "host.pcap.gz").read_bytes())
    at, middle = 24, 24
    while at < len(data):
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
        middle = at if at < len(data) // 2 else middle
    (tmp_path / "later.pcap").write_bytes(data[:24] + data[middle:])
    (tmp_path / "earlier.pcap").write_bytes(data[:middle])
    found = netlens.analyze([tmp_path / "later.pcap", tmp_path / "earlier.pcap"])
    (note,) = (note for note in found.quality["notes"] if "no evidence" in note)
    assert "earlier.pcap begins before the file before it ends" in note
    assert "give the files in the order of their times" in note


@pytest.mark.parametrize("name", NAMES)
def test_without_error_logs_it_is_right_or_undecided(name: str, tmp_path: Path) -> None:
    found = netlens.analyze(copy(name, tmp_path / "r", without=("provider.jsonl", *LOGS, *KEYS)))
    assert supported(found) <= set(expected(name)["causes"])
    assert found.cause in (None, *expected(name)["causes"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["vm", "host"])
def test_one_side_is_right_or_undecided(name: str, side: str, tmp_path: Path) -> None:
    other = {"vm": "host", "host": "vm"}[side]
    copy(name, tmp_path / "r", without=("provider.jsonl", f"{other}.pcap.gz") if other == "host" else ("provider.jsonl", *LOGS))
    if other == "vm":
        (tmp_path / "r" / "vm.pcap").unlink()
    found = netlens.analyze(tmp_path / "r")
    assert set(found.sides) == {side}
    assert supported(found) <= set(expected(name)["causes"])


TWINS = [
    ("zombie-sshuttle", "zombie-excluded"),
    ("zombie-sshuttle", "zombie-direct"),
    ("two-causes", "two-causes-excluded"),
    ("fan-out", "fan-out-excluded"),
]


@pytest.mark.parametrize(("before", "after"), TWINS)
def test_the_twin_without_the_cause_is_better(before: str, after: str) -> None:
    from netlens.lenses.refused.comparison import compare

    a, b = (netlens.analyze(FOLDER / n).assembled.situation for n in (before, after))
    assert compare(a, b).verdict == "better"
    assert compare(b, a).verdict == "worse"
