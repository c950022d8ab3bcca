"""Files beside a capture: what is no file is refused at once, what is too large is read in part and told."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from netlens import sidefiles
from netlens.anonymize import secret
from netlens.capture.recording import read_manifest, sha256
from netlens.chains.inputs import from_folder
from netlens.errors import NetlensError
from netlens.lab import journal
from netlens.parsers import decrypted, errorlog
from netlens.sidefiles import Lines, Rows
from tests.recordings import FOLDER

READERS: dict[str, Callable[[Path], object]] = {
    "vm-errors.log": errorlog.read,
    "requests.jsonl": lambda path: decrypted.read_rows(str(path)),
    "sockets.jsonl": lambda path: list(Rows(path, 9, lambda row: row, "row")),
    "keys.txt": lambda path: decrypted.requests([FOLDER / "http2" / "host.pcap.gz"], path),
    "manifest.toml": lambda path: read_manifest(path.parent),
    "vm.pcap": sha256,
    "host.pcap": lambda path: from_folder(str(path.parent)),
    "provider.jsonl": lambda path: list(journal.read(path)),
    "key-file": lambda path: secret.from_file(str(path)),
}


def special(kind: str, path: Path) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["directory", "named pipe", "socket", "device"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_at_once(name: str, kind: str, tmp_path: Path) -> None:
    """A link to /dev/zero was read until memory was full, a named pipe was waited for."""
    special(kind, tmp_path / name)
    with pytest.raises(NetlensError) as caught:
        READERS[name](tmp_path / name)
    said = str(caught.value)
    assert f"{name}: is a {kind}, not a file" in said or (name == "keys.txt" and "the key log must be a file" in said)
    assert "\n" not in said


@pytest.mark.parametrize("name", READERS)
def test_a_link_to_a_file_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    (tmp_path / name).symlink_to("there")
    said = ""
    try:
        READERS[name](tmp_path / name)
    except NetlensError as error:  # an empty file is no manifest
        said = str(error)
    assert "not a file" not in said


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_would_have_to_be_waited_for(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg is, which root may read: it says that it is a file. Here a pipe says so."""
    os.mkfifo(tmp_path / name)
    keep_open = os.open(tmp_path / name, os.O_RDWR)
    monkeypatch.setattr(sidefiles, "_refuse", lambda *_: None)
    try:
        if name == "keys.txt":
            monkeypatch.setattr(os.path, "isfile", lambda _: True)
        with pytest.raises(NetlensError, match="it has to be waited for, so it is not a file"):
            READERS[name](tmp_path / name)
    finally:
        os.close(keep_open)


@pytest.mark.skipif(sys.platform != "linux", reason="has no such files")
def test_a_capture_that_is_a_file_of_the_kernel(tmp_path: Path) -> None:
    """/proc/kmsg has something to read now and then; a recording that linked to it passed the check then, and was waited for after that."""
    (tmp_path / "vm.pcap").symlink_to("/proc/self/status")
    with pytest.raises(NetlensError, match="has content though its size is 0, so it is not a file on a disk"):
        from_folder(str(tmp_path))


def test_a_pipe_of_the_caller_is_read_as_process_substitution_gives_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as file:
        file.write(b"2026-06-20T16:38:30Z 429\n")
    try:
        assert len(errorlog.read(f"/dev/fd/{read}").events) == 1
    finally:
        os.close(read)


def test_a_pipe_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidefiles, "MAX_BYTES", 1 << 20)
    read, write = os.pipe()

    def pour() -> None:
        with os.fdopen(write, "wb") as file:
            try:
                while True:
                    file.write(b"x\n" * 5000)
            except BrokenPipeError:
                pass

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        log = errorlog.read(f"/dev/fd/{read}")
    finally:
        os.close(read)
        pouring.join()
    assert log.cut
    assert log.note == f"/dev/fd/{read}: only its first 1.05 MB were read"


def test_a_gzip_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    """600 kB of it took 4.2 GB and minutes."""
    path = tmp_path / "vm-errors.log"
    line = b"1782000000.5 1302\n"
    path.write_bytes(gzip.compress(line * 3_000_000, 1))
    log = errorlog.read(path)
    assert log.cut
    assert log.note == f"{path}: only its first 100,000 refusals were read"
    assert len(log.events) == log.lines == errorlog.MAX_EVENTS
    path.write_bytes(gzip.compress(b"x" * 40_000_000, 9))
    lines = Lines(path, 100, 1000)
    assert [len(each) for each in lines] == [1000]
    assert lines.note == f"{path}: only its first 16.8 MB were read; unpack it (gunzip) to have more of it read"


def test_lines_are_given_whole_and_told_from_cut_ones(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\r\n\n" + b"y" * 30 + b"\nlast")
    lines = Lines(path, 100, 10)
    assert [(each, lines.number, lines.whole) for each in lines] == [
        (b"one", 1, True), (b"", 2, True), (b"y" * 10, 3, False), (b"last", 4, False),
    ]  # fmt: skip
    assert lines.note is None
    lines = Lines(path, 2, 10)
    assert len(list(lines)) == 2
    assert lines.note == f"{path}: only its first 2 lines were read"


def test_a_file_of_exactly_the_limit_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345\n" * 4)
    monkeypatch.setattr(sidefiles, "MAX_BYTES", 24)
    lines = Lines(path, 4, 10)
    assert len(list(lines)) == 4
    assert lines.note is None
    assert sidefiles.whole(path, 24) == path.read_bytes()
    with pytest.raises(NetlensError, match=r"larger than 23 B, which a manifest never is$"):
        sidefiles.whole(path, 23, "a manifest")


def test_blank_space_does_not_take_time_by_its_square(tmp_path: Path) -> None:
    """The search for the head of a line inside a line began anew at each blank; 3 MB of them took minutes."""
    path = tmp_path / "log"
    path.write_bytes((b"x" + b" " * 65_000 + b"\n") * 3_000)
    done = subprocess.run(  # a child, so that a search without end is ended too
        [sys.executable, "-c", "import sys; from netlens.parsers import errorlog; print(errorlog.read(sys.argv[1]).unread)", str(path)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout == "3000\n"


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "x = " + "[" * 40 + "]" * 40,
        "x = " + "9" * 5000,
        "x = 0x" + "f" * 5000,
        "packets = 9223372036854775808",
        "a" + ".a" * 2_000_000 + " = 1",
        "[" + "a." * 2_000_000 + "a]",
        'x = "\u0007"',
        "format = true",
        "format = 1\nfiles = [{name = 7}]",
        'format = 1\n[[sides]]\nside = "vm"\nfiles = ["vm.pcap"]\npackets_dropped = -5',
    ],
    ids=range(11),
)
def test_a_manifest_that_nobody_can_have_written(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(NetlensError, match=r"manifest\.toml: ") as caught:
        read_manifest(tmp_path)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 400


def test_dots_in_texts_of_a_manifest_are_no_keys(tmp_path: Path) -> None:
    bpf = " or ".join(f"host 192.0.2.{i}" for i in range(200))
    (tmp_path / "manifest.toml").write_text(f'format = 1\nbpf = "{bpf} \\" x"\n')
    assert read_manifest(tmp_path).extra["bpf"].startswith("host 192.0.2.0 or")


def test_requests_that_are_none_are_told(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    row = dict.fromkeys(("session_id", "stream", "start_ns", "frame"), 1) | dict.fromkeys(
        ("request_end_ns", "response_ns", "end_ns", "status", "code", "response_frame", "end_frame")
    )
    path.write_text(json.dumps(row | {"complete": True, "http": "2"}) + "\n" + json.dumps(row) + "\n" + "[" * 90_000 + "\n")
    found = decrypted.read_rows(str(path))
    assert len(found.rows) == 1
    assert found.note == f"{path}: 2 lines left out: not a request of netlens (first at line 2)"
