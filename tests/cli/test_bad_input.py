"""Input that cannot be used, through the command as people run it: one clear line on standard error and exit status 1.

A capture that was cut is usable: what could be read is printed, a warning names the byte offset, and the exit status is 0.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netlens.cli import COMMANDS
from tests.wire.helpers import Pcapng, ip4, pcap, tcp

TABLES = ("sessions", "connections", "dns", "exchanges", "analyze")
PACKETS = [ip4(tcp(flags=2, seq=99)), ip4(tcp(b"x" * 50, seq=100)), ip4(tcp(b"y" * 50, seq=150))]
CAPTURE = pcap(PACKETS)
NOBODY = 65534


def run(*args: str, data: bytes | None = None, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(before or []), sys.executable, "-m", "netlens", *args]
    done = subprocess.run(command, input=data, capture_output=True, timeout=300, check=False)
    lines = done.stderr.decode().splitlines(keepends=True)
    messages = "".join(line for line in lines if not line.startswith("netlens: compiling its kernels"))  # the first run after a change
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), messages)


def refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """One line that says all of it; nothing on standard output; exit status 1."""
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("netlens: ")
    for text in says:
        assert text in lines[0]


def cut(done: subprocess.CompletedProcess[str], offset: int, frames: int) -> None:
    """All that could be read, one warning with the offset, exit status 0."""
    assert done.returncode == 0
    (session,) = json.loads(done.stdout)
    assert session["orig_frames"] == frames
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("netlens: warning: ")
    assert f"at byte offset {offset}" in warning
    assert f"{frames} frames before it were read" in warning


@pytest.fixture
def place() -> Iterator[Callable[[bytes, str], str]]:
    """Write a file into a folder that everybody may enter; its path."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)

        def write(data: bytes, name: str = "c.pcap") -> str:
            path = Path(folder, name)
            path.write_bytes(data)
            return str(path)

        yield write


def test_the_commands_that_read_captures_are_all_here() -> None:
    assert set(TABLES) <= set(COMMANDS)


@pytest.mark.parametrize("command", TABLES)
def test_every_command_refuses_in_one_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(b"")
    refused(run(command, str(path)), str(path), "empty (0 bytes)")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", ["empty (0 bytes)", "tcpdump"]),
        (b"No.,Time,Source\n1,0.0,192.0.2.1\n", ["looks like text", "tcpdump -w"]),
        (b"\x7fELF\x02\x01\x01" + bytes(60), ["neither pcap nor pcapng", "editcap"]),
        (CAPTURE[:20], ["cut inside its 24-byte file header (20 bytes)"]),
        (Pcapng().bytes()[:27], ["cut inside its section header (27 bytes)"]),
        (b"\x34\xcd\xb2\xa1" + CAPTURE[4:], ["Kuznetzov's modified format", "editcap -F pcap"]),
        (b"\x28\xb5\x2f\xfd" + bytes(60), ["compressed with zstd", "zstd -dc"]),
        (b"\x1f\x8b\x08\x00this is no gzip at all", ["is it really a .gz file?"]),
        (gzip.compress(CAPTURE, mtime=0)[:15], ["is it really a .gz file?", "ends early"]),
        (gzip.compress(b"a text in gzip, as logs often are", mtime=0), ["looks like text"]),
    ],
    ids=[
        "empty",
        "text",
        "binary",
        "half a pcap header",
        "half a pcapng header",
        "modified pcap",
        "zstd",
        "no gzip",
        "half a gzip",
        "text in gzip",
    ],
)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_files_that_are_no_captures(data: bytes, says: list[str], piped: bool, tmp_path: Path) -> None:
    path = tmp_path / "what.pcap"
    path.write_bytes(data)
    if piped:
        refused(run("sessions", "-", data=data), "standard input: ", *says)
    else:
        refused(run("sessions", str(path)), f"{path}: ", *says)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pcap"
    refused(run("sessions", str(missing)), f"{missing}: no such file")
    refused(run("sessions", str(tmp_path)), f"{tmp_path}: is a directory")


def test_a_third_file_that_is_missing_is_told_before_the_first_is_read(tmp_path: Path) -> None:
    good = tmp_path / "good.pcap"
    good.write_bytes(CAPTURE)
    refused(run("sessions", str(good), str(good), str(tmp_path / "typo.pcap")), "typo.pcap: no such file")


def test_a_name_with_control_characters_is_shown_as_data(tmp_path: Path) -> None:
    done = run("sessions", str(tmp_path / "a\x1b[31mb\nc.pcap"))
    refused(done, r"a\x1b[31mb\x0ac.pcap: no such file")


def test_no_permission(place: Callable[..., str]) -> None:
    path = place(CAPTURE)
    os.chmod(path, 0)
    before: list[str] = []
    if os.geteuid() == 0:  # root may read everything: run as nobody
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv (util-linux) is needed to run as somebody else than root")
        before = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if subprocess.run([*before, sys.executable, "-c", "import netlens"], capture_output=True, check=False).returncode:
            pytest.skip("nobody may not enter the folder of this project")
    for command in (["sessions", path], ["analyze", path], ["extract", path, "--connection", "0", "-w", path + ".out"]):
        refused(run(*command, before=before), f"{path}: no permission to read it", "sudo chown")


@pytest.mark.parametrize("lost", [1, 30, 65, 90, 91, 105])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_a_capture_cut_in_the_middle_of_a_record(lost: int, piped: bool, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(CAPTURE[:-lost])
    done = run("sessions", "--format", "json", "-", data=CAPTURE[:-lost]) if piped else run("sessions", "--format", "json", str(path))
    cut(done, len(CAPTURE) - 16 - len(PACKETS[2]), 2)


def test_a_pcapng_and_a_gzip_that_were_cut(tmp_path: Path) -> None:
    file = Pcapng().interface()
    for packet in PACKETS:
        file.enhanced(packet)
    path = tmp_path / "cut.pcapng"
    path.write_bytes(file.bytes()[:-5])
    cut(run("sessions", "--format", "json", str(path)), sum(map(len, file.out[:-1])), 2)

    random = [ip4(tcp(os.urandom(700), seq=100 + 700 * i)) for i in range(20)]
    packed = gzip.compress(pcap(random))
    path = tmp_path / "cut.pcap.gz"
    path.write_bytes(packed[: len(packed) // 2])
    done = run("sessions", "--format", "json", str(path))
    assert done.returncode == 0
    (session,) = json.loads(done.stdout)
    assert 5 < session["orig_frames"] < 15
    (warning,) = done.stderr.splitlines()
    assert re.search(r"the gzip stream ends early after \d+ bytes; ", warning)
    assert f"{session['orig_frames']} frames before it were read" in warning


def test_a_damaged_record_is_a_warning_too(tmp_path: Path) -> None:
    damaged = bytearray(CAPTURE)
    at = len(CAPTURE) - 16 - len(PACKETS[2])
    damaged[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    path = tmp_path / "damaged.pcap"
    path.write_bytes(bytes(damaged))
    done = run("sessions", "--format", "json", str(path))
    cut(done, at, 2)
    assert "damaged at byte offset" in done.stderr


def test_the_first_capture_is_read_although_the_second_was_cut(tmp_path: Path) -> None:
    first, second = tmp_path / "1.pcap", tmp_path / "2.pcap.gz"
    first.write_bytes(CAPTURE)
    second.write_bytes(gzip.compress(pcap(PACKETS[1:])[:-1]))
    done = run("sessions", "--format", "json", str(first), str(second))
    assert done.returncode == 0
    (session,) = json.loads(done.stdout)
    assert session["orig_frames"] == 4
    assert f"{second}: cut short in the middle of a record at byte offset {24 + 16 + len(PACKETS[1])}" in done.stderr


def test_an_empty_capture_is_a_capture_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "header.pcap"
    path.write_bytes(pcap([]))
    done = run("sessions", "--format", "json", str(path))
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [], f"netlens: warning: {path}: holds no frames\n")


def test_a_writer_that_stays_does_not_keep_the_command_alive() -> None:
    """Text in a pipe whose other end stays open, as of a program that failed: the command says so and ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "netlens", "sessions", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write(b"tcpdump: eth0: You don't have permission to capture on that device\n")
        child.stdin.flush()
        assert child.wait(120) == 1
        assert child.stderr.read().decode().splitlines()[-1].startswith("netlens: standard input: looks like text")


def test_a_file_of_another_kind_is_called_by_name(place: Callable[[bytes, str], str]) -> None:
    picture = place(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50), "p.jpg")
    capture = place(CAPTURE, "c.pcap")
    refused(run("sessions", picture), "p.jpg: this is a JPEG picture, not a capture")
    refused(run("analyze", capture, "--vm-errors", picture), "p.jpg: this is a JPEG picture, not an error log")


def test_a_folder_that_is_no_recording_says_what_it_holds(tmp_path: Path) -> None:
    refused(run("analyze", str(tmp_path)), "this folder is empty")
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vm.pcap").write_bytes(CAPTURE)
    refused(run("analyze", str(tmp_path)), "it holds 2 recordings: after, before. Name one of them")
    (tmp_path / "before" / "vm.pcap").rename(tmp_path / "before" / "some.pcap")
    refused(run("analyze", str(tmp_path / "before")), "name the file: ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sessions", "c.pcap", "--limit", "-1"], "-1 is not a whole number of 0 or more"),
        (["extract", "c.pcap", "-w", "x", "--connection", "abc"], "abc is not a whole number of 0 or more"),
        (["capture", "--side", "host", "--seconds", "0"], "0 is not a number above 0"),
        (["capture", "--side", "host", "--snaplen", "2"], "2 is not a whole number from 64 to 262144"),
        (["sessions", "c.pcap", "--columns", "foo"], "; all: session_id, orig_ip, "),
        (["sessions", "c.pcap", "--format", "parquet"], "add -o FILE.parquet"),
        (["analyze", "c.pcap", "-o", sys.executable], "is a file, but a folder is needed here"),
        (["analyze", "a", "b"], "each must be a recording (a folder), and a is not"),
    ],
)
def test_wrong_usage_ends_with_what_is_wrong(args: list[str], says: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: netlens ")
    assert done.stderr.splitlines()[-1].startswith("netlens: ")
    assert says in done.stderr.splitlines()[-1]
