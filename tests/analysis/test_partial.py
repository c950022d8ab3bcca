"""Recordings of which only a part is there: one interface, one direction, cut frames, the middle only. Never a wrong cause, and nothing refuted that was
not seen; where what leaves the host is not in its capture, the capture that would show it is named."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlens
from tests.analysis.recordings import FOLDER, NAMES, copy, expected

if TYPE_CHECKING:
    from netlens.analysis.findings import Analysis

Frame = tuple[bytes, bytes]  # record header, Linux cooked v2 frame
NAT = [name for name in NAMES if name.endswith(("-nat", "-excluded")) and name != "clock-skew"]


def filtered(path: Path, keep: Callable[[bytes], bool], snaplen: int | None = None, skip: float = 0.0) -> None:
    """Rewrite a capture with the frames that ``keep`` chooses, perhaps cut, without the first part of them."""
    packed = path.suffix == ".gz"
    data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    assert struct.unpack_from("<I", data, 20)[0] == 276, "Linux cooked v2"
    records: list[bytes] = []
    at = 24
    while at < len(data):
        size, original = struct.unpack_from("<II", data, at + 8)
        frame = data[at + 16 : at + 16 + size]
        if keep(frame):
            cut = frame if snaplen is None else frame[:snaplen]
            records.append(data[at : at + 8] + struct.pack("<II", len(cut), original) + cut)
        at += 16 + size
    out = data[:24] + b"".join(records[int(skip * len(records)) :])
    path.write_bytes(gzip.compress(out, 1) if packed else out)


def interface(frame: bytes) -> int:
    return int(struct.unpack_from(">I", frame, 4)[0])


def source(frame: bytes) -> str:
    return ".".join(map(str, frame[20 + 12 : 20 + 16])) if frame[20] >> 4 == 4 else ""


def inner_interfaces(path: Path) -> set[int]:
    """Interfaces on which the VM's own address is seen."""
    found: set[int] = set()

    def look(frame: bytes) -> bool:
        if source(frame).startswith("192.168."):
            found.add(interface(frame))
        return True

    filtered(path, look)
    return found


def supported(found: Analysis) -> set[str]:
    return {v.id for v in found.hypotheses if v.verdict == "supported"}


def of(found: Analysis, cause: str) -> str:
    return next(v.verdict for v in found.hypotheses if v.id == cause)


@pytest.fixture(params=NAT)
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, copy(request.param, tmp_path / "r", without=("provider.jsonl",))


def capture_of(folder: Path, side: str) -> Path:
    return next(p for p in (folder / f"{side}.pcap", folder / f"{side}.pcap.gz") if p.exists())


def test_the_bridge_of_the_host_alone_shows_nothing_of_what_leaves(recording: tuple[str, Path]) -> None:
    name, folder = recording
    path = capture_of(folder, "host")
    inner = inner_interfaces(path)
    assert inner
    filtered(path, lambda frame: interface(frame) in inner)
    found = netlens.analyze(folder)
    situation = found.assembled.situation
    assert situation.vm_seen
    assert not situation.egress_seen
    assert supported(found) <= set(expected(name)["causes"]) & {"dns"}  # lookups over TCP are seen on the VM's side too
    for cause in ("same-nat-ip", "multiplexing", "keep-alive", "own-concurrency", "own-rate"):
        assert of(found, cause) == "undecided", (name, cause)
    assert of(found, "provider") != "supported"
    if found.counts["rejections"] >= 5:
        needs = {v.needs for v in found.hypotheses if v.needs}
        assert any("where its connections leave" in need for need in needs), needs


def test_requests_of_the_vm_count_though_the_host_file_does_not_show_them(recording: tuple[str, Path]) -> None:
    name, folder = recording
    whole = netlens.analyze(folder)
    mine = int((whole.requests.side == "vm").sum())
    refused = int(((whole.requests.side == "vm") & (whole.requests.rejected == True)).sum())  # noqa: E712  # nullable
    path = capture_of(folder, "host")
    vm_address = "192.168."

    def host_only(frame: bytes) -> bool:  # neither the VM's packets nor what they are translated to: an interface that another network uses
        return not source(frame).startswith(vm_address) and frame[20 + 16 : 20 + 18] != bytes((192, 168))

    filtered(path, lambda frame: host_only(frame) and b"\x01\xbb" not in frame[40:44])
    found = netlens.analyze(folder)
    assert supported(found) <= set(expected(name)["causes"]) & {"dns"}
    counted = found.requests[found.requests.side == "vm"]
    assert abs(len(counted) - mine) <= 1
    assert abs(int((counted.rejected == True).sum()) - refused) <= 1  # noqa: E712


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"snaplen": 96}, id="snaplen 96"),
        pytest.param({"skip": 0.4}, id="begins in the middle"),
    ],
)
@pytest.mark.parametrize("side", ["vm", "host"])
def test_cut_captures_support_no_other_cause(recording: tuple[str, Path], side: str, change: dict[str, float]) -> None:
    name, folder = recording
    filtered(capture_of(folder, side), lambda _: True, **change)  # type: ignore[arg-type]
    found = netlens.analyze(folder)
    assert supported(found) <= set(expected(name)["causes"])
    assert any(v.verdict != "refuted" for v in found.hypotheses) or not found.counts["rejections"]


@pytest.mark.parametrize("way", ["sent", "received"])
def test_one_direction_supports_no_other_cause(recording: tuple[str, Path], way: str) -> None:
    name, folder = recording
    api = expected(name).get("api", "203.0.113.10")
    for side in ("vm", "host"):
        filtered(capture_of(folder, side), lambda frame: (source(frame) == api) == (way == "received"))
    found = netlens.analyze(folder, apis=(api,))
    assert supported(found) <= set(expected(name)["causes"])


def test_recordings_are_of_these_kinds() -> None:
    assert len(NAT) >= 6
    assert all((FOLDER / name).exists() for name in NAT)
