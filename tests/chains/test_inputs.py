"""What a folder holds, what its manifest adds, and what the command line says instead."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

import netlens
from netlens.chains import inputs
from netlens.chains.inputs import Inputs, from_folder, read_sockets
from netlens.errors import CaptureError
from tests.recordings import FOLDER

NAME = "same-nat-ip-sshuttle"


def folder(tmp_path: Path, *names: str) -> str:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return str(tmp_path)


@pytest.mark.parametrize("ending", [".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz"])
def test_a_folder_without_a_manifest(ending: str, tmp_path: Path) -> None:
    found = from_folder(folder(tmp_path, "vm" + ending, "host" + ending, "vm-errors.log", "notes.txt", "vm-keylog.txt", "sockets.jsonl"))
    assert {side: [Path(f).name for f in files] for side, files in found.captures.items()} == {
        "vm": ["vm" + ending],
        "host": ["host" + ending],
    }
    assert {side: Path(f).name for side, f in found.errors.items()} == {"vm": "vm-errors.log"}
    assert found.keylogs == ()
    assert [Path(f).name for f in found.unused_keylogs] == ["vm-keylog.txt"]
    assert found.sockets is not None
    assert Path(found.sockets).name == "sockets.jsonl"
    assert (found.apis, found.complete, found.covering, found.missing) == ((), True, frozenset(), ())


def test_logs_of_further_machines_lie_beside_their_captures(tmp_path: Path) -> None:
    found = from_folder(folder(tmp_path, "vm.pcap", "host.pcap", "vm2.pcap", "vm2-errors.log", "vm3-errors.log", "host-errors.log"))
    assert {side: Path(f).name for side, f in found.errors.items()} == {"vm2": "vm2-errors.log", "host": "host-errors.log"}
    assert [Path(path).name for path in found.unused_logs] == ["vm3-errors.log"]
    assert found.notes == [f"{tmp_path}/vm3-errors.log: this error log is not used: the recording has no capture of that machine"]


def test_one_side_is_enough(tmp_path: Path) -> None:
    assert set(from_folder(folder(tmp_path, "host.pcapng")).captures) == {"host"}


def test_the_parts_of_a_rotation_are_one_stream_in_order(tmp_path: Path) -> None:
    found = from_folder(folder(tmp_path, *(f"vm-{n}.pcap" for n in (10, 9, 100, 1)), "vm-x.pcap", "host.pcap", "host-0001.pcap"))
    assert [Path(f).name for f in found.captures["vm"]] == ["vm-1.pcap", "vm-9.pcap", "vm-10.pcap", "vm-100.pcap"]
    assert [Path(f).name for f in found.captures["host"]] == ["host.pcap"]  # the whole goes before parts


def test_a_folder_that_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"this folder has no host\.pcap or vm\.pcap \(or \.pcapng, \.gz\), so it is not a recording$"):
        from_folder(folder(tmp_path, "readme"))
    with pytest.raises(CaptureError, match=r"so it is not a recording; to analyse a capture in it, name the file: .*/capture\.pcap$"):
        from_folder(folder(tmp_path, "capture.pcap", "readme"))
    with pytest.raises(CaptureError, match=r"nope: cannot be read \(no such file or directory\)$"):
        from_folder(str(tmp_path / "nope"))


def test_a_manifest_names_the_api_and_the_tunnel() -> None:
    found = from_folder(str(FOLDER / NAME))
    assert (found.apis, found.apis_from, found.complete, found.missing) == (("api.z.ai",), "the manifest", True, ())
    assert found.sshuttle is not None
    assert found.sshuttle[:3] == ("sshuttle", "--method", "nft")
    assert found.covering == {"vm", "host"}


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Inputs:
    to = tmp_path / "r"
    shutil.copytree(FOLDER / NAME, to)
    text = (to / "manifest.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (to / "manifest.toml").write_text(text)
    return from_folder(str(to))


@pytest.mark.parametrize(
    ("api", "names"),
    [
        ('names = ["a.example", "b.example"]', ("a.example", "b.example")),
        ('names = "a.example"', ("a.example",)),
        ("names = [1, 2]", ()),
        ("names = []", ("203.0.113.10",)),
        ("names = 7", ()),
    ],
)
def test_odd_names_in_a_manifest(api: str, names: tuple[str, ...], tmp_path: Path) -> None:
    found = changed(tmp_path, ('names = ["api.z.ai"]', api))
    assert found.apis == names
    assert found.apis_from == ("the manifest" if names else "")


RUNNING = """
[[machines.vm.sshuttle_processes]]
pid = 32
method = "nft"
ports = []
remote = "me@192.168.64.1"
subnets = ["0.0.0.0/0"]
excludes = ["192.168.64.1/32", "192.168.64.0/24"]
excludes_elsewhere = false
dns = true
auto_hosts = false
"""


@pytest.mark.parametrize(
    ("old", "new", "command"),
    [
        ("", "", "sshuttle --method nft --dns -r me@192.168.64.1 0.0.0.0/0 -x 192.168.64.1/32 -x 192.168.64.0/24"),
        ('"nft"', '"auto"', "sshuttle --dns -r me@192.168.64.1 0.0.0.0/0 -x 192.168.64.1/32 -x 192.168.64.0/24"),
        ('["0.0.0.0/0"]', "[]\nauto_nets = true", "sshuttle --method nft --dns --auto-nets -r me@192.168.64.1 -x 192.168.64.1/32 -x 192.168.64.0/24"),
        ('["0.0.0.0/0"]', "[]", None),
        ("where = false", "where = true", "sshuttle --method nft --dns -r me@192.168.64.1 0.0.0.0/0 -x 192.168.64.1/32 -x 192.168.64.0/24 -X FILE"),
        ('remote = "me@192.168.64.1"', "remote = 7", None),
        ("auto_hosts = false", f"auto_hosts = false\n{RUNNING}", None),  # two of them: whose command line would it be?
        ("[[machines.vm.sshuttle_processes]]", "[machines.vm.sshuttle_processes]", None),
        ("[[machines.vm.sshuttle_processes]]", "[[machines]]", None),
    ],
)  # fmt: skip
def test_the_command_line_of_a_recorded_tunnel(old: str, new: str, command: str | None, tmp_path: Path) -> None:
    """The fix that excludes the API showed a made-up command line beside the real one."""
    (tmp_path / "manifest.toml").write_text("format = 1\n" + RUNNING.replace(old, new, 1))
    found = from_folder(folder(tmp_path, "vm.pcap"))
    assert found.sshuttle == (tuple(command.split()) if command else None)


def test_an_incomplete_recording_says_why(tmp_path: Path) -> None:
    found = changed(
        tmp_path,
        ("complete = true\nreasons = []", 'complete = false\nreasons = ["the link broke"]'),
        ("packets_dropped = 0", "packets_dropped = 9"),
    )
    assert (found.complete, found.reasons, found.dropped) == (False, ("the link broke",), {"vm": 9})


def test_files_that_the_manifest_names_and_nobody_finds(tmp_path: Path) -> None:
    changed(tmp_path)
    (tmp_path / "r" / "vm.pcap.gz").unlink()
    found = from_folder(str(tmp_path / "r"))
    assert found.missing == ("vm.pcap.gz",)
    assert set(found.captures) == {"host"}


def test_captures_that_were_unpacked_or_compressed_since_are_there(tmp_path: Path) -> None:
    changed(tmp_path)
    capture = tmp_path / "r" / "vm.pcap.gz"
    (tmp_path / "r" / "vm.pcap").write_bytes(gzip.decompress(capture.read_bytes()))
    capture.unlink()
    assert from_folder(str(tmp_path / "r")).missing == ()
    changed(tmp_path / "other", ("vm.pcap.gz", "vm.pcap"))
    assert from_folder(str(tmp_path / "other" / "r")).missing == ()


@pytest.mark.parametrize("text", ["", "= = =", "format = 99\n", "\x00"])
def test_a_manifest_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(CaptureError, match=r"manifest\.toml: ") as caught:
        from_folder(folder(tmp_path, "vm.pcap"))
    assert "\n" not in str(caught.value)


def test_what_is_named_goes_before_what_lies_there() -> None:
    found = Inputs(
        {"vm": ("a",)},
        {"vm": "x", "host": "y"},
        unused_keylogs=("k",),
        apis=("a",),
        apis_from="the manifest",
        covering=frozenset({"vm", "host"}),
    )
    same = found.with_options()
    assert same == found
    other = found.with_options(apis=("b", "c"), errors={"vm": "z", "host": None}, keylogs=("l",))
    assert (other.apis, other.apis_from) == (("b", "c"), "named")
    assert other.errors == {"vm": "z", "host": "y"}
    assert (other.keylogs, other.unused_keylogs) == (("l",), ())
    assert other.covering == {"host"}  # nobody knows what a log covers that was not recorded with the captures


def test_sockets_that_are_garbage_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sockets.jsonl"
    path.write_bytes(b'{"pid": 1}\n[1]\nnull\n\xff\xfe\n{"b": \n\n{"time_ns": 2, "other": []}\n7\n{"pid":')
    samples = read_sockets(str(path))
    assert list(samples) == [{"pid": 1}, {"time_ns": 2}]
    assert samples.notes == [f"{path}: 5 lines left out: not a socket sample (first at line 2)"]
    monkeypatch.setattr(inputs, "MAX_SAMPLES", 3)
    samples = read_sockets(str(path))
    assert list(samples) == [{"pid": 1}]
    assert samples.notes[0] == f"{path}: only its first 3 lines were read"


@pytest.mark.parametrize(
    "value",
    ['"time_ns": NaN', '"time_ns": 1e400', '"time_ns": "x"', '"time_ns": 9223372036854775808', f'"time_ns": {"9" * 5000}', '"time_ns": -1',
     '"pid": [1]', '"pid": {}', '"pid": true', '"process": 7', '"local": ["a"]', '"remote": {}', '"side": 1', '"state": []', f'"x": {"[" * 30000}'],
    ids=range(15),
)  # fmt: skip
def test_a_socket_that_cannot_be(value: str, tmp_path: Path) -> None:
    """Such a row once ended the analysis of both sides with a traceback."""
    shutil.copytree(FOLDER / NAME, tmp_path / "r")
    (tmp_path / "r" / "sockets.jsonl").write_text('{"side": "host", "process": "x", "local": "a:1", "remote": "b:2", ' + value + "}\n")
    notes = netlens.analyze(tmp_path / "r").quality["notes"]
    assert sum("sockets.jsonl: 1 line left out" in note for note in notes) == 1


@pytest.mark.parametrize("name", ["vm.pcap", "host-0001.pcapng"])
def test_a_capture_that_is_a_named_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(CaptureError, match=rf"{name}: is a named pipe, not a file; "):
        from_folder(str(tmp_path))
