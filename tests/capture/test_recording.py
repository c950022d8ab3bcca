"""The folder and its manifest: what is written is read back, and a stranger's manifest cannot lead elsewhere."""

from __future__ import annotations

import os
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.capture.recording import SideResult, create_directory, read_manifest, to_toml, use_directory, write_manifest
from netlens.errors import CaptureError


def side(path: Path, **changes: Any) -> SideResult:
    values: dict[str, Any] = {
        "side": path.name.split(".")[0],
        "path": path,
        "packets_captured": 3,
        "packets_received": 3,
        "packets_dropped": 0,
        "started_ns": 1_700_000_000_000_000_001,
        "stopped_ns": 1_700_000_060_000_000_002,
        "argv": ["tcpdump", "-w", "-", "--", 'port 53 or "x"\n'],
    }
    return SideResult(**(values | changes))


def test_written_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "vm.pcap").write_bytes(b"abc")
    extra = {"api": {"names": ["api.z.ai"], "resolved": [{"name": "api.z.ai", "addresses": []}]}, "nothing": None, "warnings": []}
    written = write_manifest(tmp_path, [side(tmp_path / "vm.pcap", packets_dropped=None, bpf="port 53")], extra)
    found = read_manifest(tmp_path)
    assert found == written or found.extra == {k: v for k, v in written.extra.items() if v is not None}
    assert found.sides == written.sides
    assert found.complete
    assert found.files == {"vm.pcap": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert found.extra["api"] == extra["api"]
    assert stat.S_IMODE((tmp_path / "manifest.toml").stat().st_mode) == 0o600
    assert found.changed() == []
    (tmp_path / "vm.pcap").write_bytes(b"abd")
    assert found.changed() == ["vm.pcap"]


def test_an_incomplete_side_makes_the_recording_incomplete(tmp_path: Path) -> None:
    for name in ("vm.pcap", "host.pcap"):
        (tmp_path / name).write_bytes(b"")
    sides = [side(tmp_path / "vm.pcap", complete=False, reason="tcpdump was killed (signal 9)"), side(tmp_path / "host.pcap")]
    write_manifest(tmp_path, sides, {"reasons": ["no room"]})
    found = read_manifest(tmp_path)
    assert not found.complete
    assert found.reasons == ["vm: tcpdump was killed (signal 9)", "no room"]
    host = found.side("host")
    assert host is not None
    assert host.complete


def test_a_second_manifest_replaces_the_first(tmp_path: Path) -> None:
    (tmp_path / "vm.pcap").write_bytes(b"")
    for number in (1, 2):
        write_manifest(tmp_path, [side(tmp_path / "vm.pcap")], {"number": number})
    assert read_manifest(tmp_path).extra["number"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.toml", "vm.pcap"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "format"),
        ("format = 2", "format"),
        ("format = [", "not a manifest"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = ["../../etc/passwd"]', "not the name of a file"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = ["/etc/passwd"]', "not the name of a file"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = [".."]', "not the name of a file"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = []', "without files"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = ["vm.pcap"]\npackets_dropped = "many"', "packets_dropped"),
        ('format = 1\n[[sides]]\nside = "vm"\nfiles = ["vm.pcap"]\npackets_dropped = true', "packets_dropped"),
        ('format = 1\nsides = "vm"', "arrays of tables"),
        ("format = 1\n[[files]]\nname = 5", "not the name of a file"),
        ("format = 1\ncomplete = 1", "complete"),
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(CaptureError, match=said) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be read"):
        read_manifest(tmp_path)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        (Path(folder) / "manifest.toml").write_bytes(data)
        with pytest.raises(CaptureError):
            read_manifest(folder)


def test_an_empty_folder_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir(mode=0o755)
    assert stat.S_IMODE(use_directory(tmp_path / "r").stat().st_mode) == 0o700


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir(mode=0o755)
    (tmp_path / "r").symlink_to(tmp_path / "victim")
    with pytest.raises(CaptureError, match="not an empty folder"):
        use_directory(tmp_path / "r")
    assert stat.S_IMODE((tmp_path / "victim").stat().st_mode) == 0o755


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(tmp_path / "r", 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(CaptureError, match="belongs to another user"):
        use_directory(tmp_path / "r")
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o755


def test_a_link_where_the_draft_of_a_manifest_is_written(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "vm.pcap").write_bytes(b"")
    (tmp_path / "r" / ".manifest.toml.new").symlink_to(tmp_path / "victim")
    (tmp_path / "r" / "manifest.toml").symlink_to(tmp_path / "victim")
    write_manifest(tmp_path / "r", [side(tmp_path / "r" / "vm.pcap")], {})
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "r" / "manifest.toml").is_symlink()
    assert [p.name for p in (tmp_path / "r").iterdir() if p.name.startswith(".")] == [".manifest.toml.new"]  # not ours, and not used


def test_folders(tmp_path: Path) -> None:
    now = datetime(2026, 1, 25, 16, 33, 41, tzinfo=UTC)
    first = create_directory(tmp_path / "captures", "vm", now)
    second = create_directory(tmp_path / "captures", "vm", now)
    assert [first.name, second.name] == ["20260125T163341Z-vm", "20260125T163341Z-vm-2"]
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert use_directory(first) == first
    (first / "x").touch()
    with pytest.raises(CaptureError, match="not an empty folder"):
        use_directory(first)
    with pytest.raises(CaptureError):
        use_directory(first / "x" / "y")


values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=6))
def test_toml_is_read_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(document)) == document


def test_toml_leaves_none_out_and_mends_undecodable_names() -> None:
    assert tomllib.loads(to_toml({"a": None, "b": [1, None], "c": "x\udcff", "t": datetime(2026, 1, 1, tzinfo=UTC)})) == {
        "b": [1],
        "c": "x\ufffd",
        "t": datetime(2026, 1, 1, tzinfo=UTC),
    }
