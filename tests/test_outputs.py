"""Outputs where others may write: a planted link is replaced and what it leads to stays as it was; pipes and devices are written to if they were named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from netlens.errors import NetlensError
from netlens.outputs import new_file, replacing, subfolder
from tests.recordings import FOLDER

CAPTURE = str(FOLDER / "healthy" / "host.pcap.gz")


def run(*args: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "netlens", *args], capture_output="stdout" not in more, timeout=300, check=False, **more)  # type: ignore[call-overload, no-any-return]


def write(path: Path, *, made_up: bool = False) -> None:
    with replacing(path, made_up=made_up) as aside:
        Path(aside).write_text("new")


def _breaks(path: Path) -> None:
    with replacing(path) as aside:
        Path(aside).write_text("half")
        raise RuntimeError


@pytest.mark.parametrize("made_up", [False, True])
@pytest.mark.parametrize("to", ["precious", "nothing", "/dev/null", "pipe"])
def test_a_link_is_replaced_and_never_followed(to: str, made_up: bool, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("old")
    os.mkfifo(tmp_path / "pipe")
    link = tmp_path / "out"
    link.symlink_to(to)
    write(link, made_up=made_up)
    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert precious.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out", "pipe", "precious"]


def test_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(NetlensError, match="link: is a directory, not a file to write to"):
        write(tmp_path / "link")
    write(tmp_path / "link", made_up=True)  # of another's making: nothing that anybody asked for
    assert (tmp_path / "link").read_text() == "new"
    (tmp_path / "vm").symlink_to("folder")
    with pytest.raises(NetlensError, match=r"vm: a folder is needed here"):
        subfolder(tmp_path / "vm")
    subfolder(tmp_path / "host")
    subfolder(tmp_path / "host")
    assert (tmp_path / "host").is_dir()


def test_a_pipe_at_a_name_of_our_own_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    write(tmp_path / "report.json", made_up=True)
    assert (tmp_path / "report.json").read_text() == "new"


def test_rights_are_those_asked_for_and_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with replacing(path, 0o600) as aside:
        Path(aside).write_text("new")
        assert Path(aside).parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RuntimeError):
        _breaks(path)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_new_file_is_never_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("nothing")
    with pytest.raises(NetlensError, match="already exists and is not overwritten"), new_file(str(tmp_path / "out")):
        pass
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_streams_are_written_to(form: str, tmp_path: Path) -> None:
    def rows(text: bytes) -> int:
        return len(json.loads(text)) if form == "json" else text.count(b"\n") - 1

    wanted = rows(run("sessions", CAPTURE, "--format", form).stdout)
    assert wanted > 0
    assert rows(run("sessions", CAPTURE, "--format", form, "-o", "/dev/stdout").stdout) == wanted
    with open(tmp_path / "redirected", "wb") as file:
        run("sessions", CAPTURE, "--format", form, "-o", "/dev/stdout", stdout=file, stderr=subprocess.PIPE)
    assert rows((tmp_path / "redirected").read_bytes()) == wanted
    assert run("sessions", CAPTURE, "--format", form, "-o", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert run("sessions", CAPTURE, "--format", form, "-o", str(pipe)).returncode == 0
    reader.join()
    assert rows(read[0]) == wanted
    assert pipe.is_fifo()


COMMANDS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "rows.csv": lambda out: ("connections", CAPTURE, "--format", "csv", "-o", out),
    "rows.parquet": lambda out: ("sessions", CAPTURE, "--format", "parquet", "-o", out),
    "trace.json": lambda out: ("sessions", CAPTURE, "--format", "trace", "-o", out),
    "out.pcap": lambda out: ("extract", CAPTURE, "--session", "0", "-w", out),
    "new.pcap": lambda out: ("anonymize", CAPTURE, "-o", out),
    "bundle.zip": lambda out: ("analyze", CAPTURE, "--bundle", out),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_writes_through_a_planted_link(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("old")
    (tmp_path / name).symlink_to(precious)
    done = run(*COMMANDS[name](str(tmp_path / name)))
    assert precious.read_text() == "old"
    if name in ("new.pcap", "bundle.zip"):
        assert b"already exists and is not overwritten" in done.stderr
        assert done.returncode == 1
    else:
        assert done.returncode == 0
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).stat().st_size > 0


def test_an_analysis_writes_through_no_planted_link(tmp_path: Path) -> None:
    """Every name that it makes up, once found out by a first run, leads to a file of value in the second."""
    source = str(FOLDER / "same-nat-ip-sshuttle")
    assert run("analyze", source, "-o", str(tmp_path / "first")).returncode == 0
    names = [p.relative_to(tmp_path / "first") for p in sorted((tmp_path / "first").rglob("*")) if p.is_file()]
    assert {"report.html", "report.json", "support.md", "summary.png"} <= {str(n) for n in names}
    precious = tmp_path / "precious"
    precious.write_text("old")
    for name in names:
        (tmp_path / "second" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "second" / name).symlink_to(precious)
    assert run("analyze", source, "-o", str(tmp_path / "second")).returncode == 0
    assert precious.read_text() == "old"
    assert not any((tmp_path / "second" / name).is_symlink() for name in names)
    (tmp_path / "third").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "third" / "vm").symlink_to(tmp_path / "elsewhere")
    done = run("analyze", source, "-o", str(tmp_path / "third"))
    assert done.returncode == 1
    assert b"vm: a folder is needed here" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []
