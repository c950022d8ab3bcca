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
from tests.recordings import FOLDER, NAMES, copy, expected

if TYPE_CHECKING:
    from netlens.analysis import Analysis

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


LOOPBACK = struct.pack(">H", 772)  # ARPHRD_LOOPBACK, in the header of Linux cooked v2
SENT = 4  # its packet type of what the machine of the capture sent


@pytest.mark.parametrize("name", ["clock-skew", "fan-out", "same-nat-ip-sshuttle"])
def test_the_uplink_of_a_vm_with_sshuttle_shows_nothing_of_its_programs(name: str, tmp_path: Path) -> None:
    folder = copy(name, tmp_path / name)
    filtered(capture_of(folder, "vm"), lambda frame: frame[8:10] != LOOPBACK)
    found = netlens.analyze(folder, apis=("api.z.ai",))
    assert not found.assembled.situation.vm_seen
    assert supported(found) <= set(expected(name)["causes"])
    for cause in ("same-nat-ip", "multiplexing", "keep-alive", "own-concurrency"):
        assert of(found, cause) != "refuted", cause
    assert any("record with -i any" in note for note in found.assembled.notes)


@pytest.mark.parametrize("name", ["same-nat-ip-excluded", "same-nat-ip-nat"])
def test_the_loopback_of_a_vm_behind_nat_shows_nothing_of_its_programs(name: str, tmp_path: Path) -> None:
    folder = copy(name, tmp_path / name)
    filtered(capture_of(folder, "vm"), lambda frame: frame[8:10] == LOOPBACK)
    found = netlens.analyze(folder, apis=("api.z.ai",))
    assert not found.assembled.situation.vm_seen
    assert supported(found) <= set(expected(name)["causes"])
    for cause in ("same-nat-ip", "multiplexing", "keep-alive", "own-concurrency"):
        assert of(found, cause) != "refuted", cause


@pytest.mark.parametrize("sent", [True, False], ids=["sent", "received"])
@pytest.mark.parametrize("name", ["fan-out", "pool-lingers", "same-nat-ip-sshuttle"])
def test_one_direction_of_what_leaves_refutes_nothing_that_counts_there(name: str, sent: bool, tmp_path: Path) -> None:
    folder = copy(name, tmp_path / name)
    filtered(capture_of(folder, "host"), lambda frame: (frame[10] == SENT) == sent)
    found = netlens.analyze(folder, apis=("203.0.113.10",))
    assert not found.assembled.situation.egress_seen
    assert supported(found) == set()
    for cause in ("same-nat-ip", "multiplexing", "keep-alive", "own-concurrency", "own-rate"):
        assert of(found, cause) == "undecided", cause


@pytest.mark.parametrize(("name", "sent"), [("dns-over-tcp", True), ("dns-over-tcp-excluded", False)])
def test_connections_of_lookups_that_do_not_show_where_they_leave_refute_nothing(name: str, sent: bool, tmp_path: Path) -> None:
    folder = copy(name, tmp_path / name)
    filtered(capture_of(folder, "host"), lambda frame: (frame[10] == SENT) == sent)
    assert of(netlens.analyze(folder, apis=("203.0.113.10",)), "dns") == "undecided"


def test_captures_that_lack_much_support_nothing(tmp_path: Path) -> None:
    folder = copy("dns-over-tcp", tmp_path / "lossy")
    for side in ("vm", "host"):
        number = iter(range(10**6))
        filtered(capture_of(folder, side), lambda _, number=number: next(number) % 10 > 0)  # type: ignore[misc]
    found = netlens.analyze(folder, apis=("api.z.ai",))
    assert supported(found) <= {"dns"}
    assert of(found, "dns") != "refuted"
    assert any("with less loss" in (v.needs or "") for v in found.hypotheses)


def test_ends_of_connections_that_are_missing_do_not_make_a_limit_over_time(tmp_path: Path) -> None:
    folder = copy("pool-lingers", tmp_path / "lossy")
    for side in ("vm", "host"):
        number = iter(range(10**6))
        filtered(capture_of(folder, side), lambda _, number=number: next(number) % 50 > 0)  # type: ignore[misc]
    found = netlens.analyze(folder, apis=("api.z.ai",))
    assert supported(found) <= {"keep-alive"}
    assert of(found, "keep-alive") != "refuted"


def test_a_relay_on_the_host_is_not_where_connections_leave(tmp_path: Path) -> None:
    folder = copy("same-nat-ip-nat", tmp_path / "relay")
    api, bridge = bytes((203, 0, 113, 10)), bytes((192, 168, 64, 1))
    for side in ("vm", "host"):
        path = capture_of(folder, side)
        inner = inner_interfaces(path)
        filtered(path, lambda frame, inner=inner: interface(frame) in inner)  # type: ignore[misc]
        path.write_bytes(
            gzip.compress(_unpacked(path).replace(api, bridge), 1) if path.suffix == ".gz" else _unpacked(path).replace(api, bridge)
        )
    found = netlens.analyze(folder, apis=("api.z.ai",))
    assert not found.assembled.situation.egress_seen
    assert supported(found) == set()
    assert of(found, "same-nat-ip") == "undecided"


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_recordings_are_of_these_kinds() -> None:
    assert len(NAT) >= 6
    assert all((FOLDER / name).exists() for name in NAT)
