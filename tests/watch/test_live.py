"""Real tcpdump in a namespace of its own: signals, pipes, rights, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netlens.api import Capture
from tests.capture.conftest import namespace, pair  # noqa: F401 -- fixtures
from tests.conftest import need_program

if TYPE_CHECKING:
    from tests.capture.conftest import Namespace, Pair

pytestmark = pytest.mark.lab

TALK = """
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", 443))
def answer(c):
    while c.recv(1000):
        c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    c.close()
def serve():
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
open_now = [socket.create_connection(("127.0.0.1", 443)) for _ in range(3)]
print("open", flush=True)
while True:
    for c in open_now:
        c.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        c.recv(1000)
    time.sleep(0.1)
"""


@pytest.fixture
def talk(namespace: Namespace) -> Iterator[Namespace]:  # noqa: F811
    """Three connections to port 443 on loopback that ask ten times a second."""
    process = subprocess.Popen([*namespace.prefix, sys.executable, "-I", "-c", TALK], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield namespace
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def watch(space: Namespace, *options: str, prefix: tuple[str, ...] = (), **more: object) -> subprocess.Popen[str]:
    command = [*space.prefix, *prefix, sys.executable, "-m", "netlens", "watch", "-i", "lo", "--everything", *options]
    defaults: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{**defaults, **more})  # type: ignore[call-overload, no-any-return]


def until_open(process: subprocess.Popen[str]) -> None:
    """Read objects until three connections are seen."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["captures"][0]["all"]["connections"]["now"] == 3:
            return
    assert process.stderr is not None
    pytest.fail(f"it ended before: {process.stderr.read()}")


def left_behind(space: Namespace) -> list[str]:
    """Names of programs that still run in the namespace."""
    pids = subprocess.run(["ip", "netns", "pids", space.name], capture_output=True, text=True, check=True).stdout.split()
    names = []
    for pid in pids:
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return [name for name in names if name in ("tcpdump", "tail", "sh")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_readable_recording(talk: Namespace, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "kept"
    process = watch(talk, "--json", "--side", "host", "-w", str(folder))
    until_open(process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    last = json.loads(out.splitlines()[-1])
    assert last["final"]
    one = last["captures"][0]
    assert one["dropped"] == 0
    assert one["peaks"]["connections"] == 3
    assert f"the recording is in {folder}" in errors
    capture = Capture([folder / "host.pcap"])
    assert capture.part.frames == one["packets"]
    assert capture.table("connections").rows == 3
    assert "complete = true" in (folder / "manifest.toml").read_text()
    assert left_behind(talk) == []


def test_without_a_folder_nothing_is_written(talk: Namespace, tmp_path: Path) -> None:
    process = watch(talk, "--json", "--seconds", "3", cwd=tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(talk: Namespace) -> None:
    process = watch(talk, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["final"] is False
    process.stdout.close()
    assert process.wait(60) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert left_behind(talk) == []


def test_lines_where_nobody_sees_a_screen(talk: Namespace) -> None:
    process = watch(talk, "--side", "host", "--limit", "2", "--count", "connections", "--seconds", "5")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "127.0.0.1:443 host  connections 3 (peak 3)" in out
    assert "ALARM  127.0.0.1:443: 3 connections at once, limit 2" in out
    assert "\x1b" not in out


def test_rejections_of_a_followed_log(talk: Namespace, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("")
    folder = tmp_path / "kept"
    process = watch(talk, "--json", "--side", "vm", "--errors", str(log), "-w", str(folder))
    until_open(process)
    with log.open("a") as file:
        file.write("2026-01-25T16:33:41.123Z rejected: code 1302 secret-prompt\n")
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)["rejections"]
        if found["logged"]:
            break
    assert [(r["side"], r["source"], r["code"]) for r in found["new"]] == [("vm", "error log", "1302")]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (folder / "vm-errors.log").read_text() == "2026-01-25T16:33:41.123Z code=1302\n"
    assert left_behind(talk) == []


def test_no_rights_and_no_interface_are_one_line(namespace: Namespace) -> None:  # noqa: F811
    process = subprocess.run(
        [*namespace.prefix, sys.executable, "-m", "netlens", "watch", "-i", "nosuch0", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    lines = process.stderr.splitlines()
    assert "nosuch0" in lines[-1]
    assert "Traceback" not in process.stderr
    need_program("setpriv", "takes rights away")
    setpriv = (  # all but those over files: a clone may lie where only root may enter, and its compiled kernels are used
        "setpriv",
        "--bounding-set=-net_raw,-net_admin,-setuid",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--no-new-privs",
        "--reuid=65534",
        "--clear-groups",
    )
    process = subprocess.run(
        [*namespace.prefix, *setpriv, sys.executable, "-m", "netlens", "watch", "--json"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "does not record" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_tcpdump_that_dies_is_told(talk: Namespace, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    process = watch(talk, "--json", "--side", "host", "-w", str(folder))
    until_open(process)
    for pid in subprocess.run(["ip", "netns", "pids", talk.name], capture_output=True, text=True, check=True).stdout.split():
        if Path(f"/proc/{pid}/comm").read_text().strip() == "tcpdump":
            os.kill(int(pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "tcpdump was killed" in errors
    assert Capture([folder / "host.pcap"]).part.frames > 0


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (200, 50)])
def test_a_terminal(talk: Namespace, columns: int, rows: int) -> None:
    """On a terminal: the alternate screen, whole lines only, and what it was all about remains at the end."""
    import fcntl
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
        environment.pop(name, None)
    process = watch(talk, "--side", "host", "--limit", "3", "--count", "connections", stdout=side, stdin=side, env=environment, text=False)
    os.close(side)
    shown = bytearray()
    seen = threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(main, 65536):
                shown.extend(data)
                if b"ALARM" in shown:
                    seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert seen.wait(60), shown[-2000:]
    time.sleep(1.5)  # a second picture
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stderr is not None
    process.stderr.close()
    reader.join(10)
    os.close(main)
    text = shown.decode()
    assert "\x1b[?1049h" in text  # the alternate screen, and back
    assert "\x1b[?1049l" in text
    assert text.count("\x1b[2J") <= 2  # no clearing between pictures: that would flicker
    assert "127.0.0.1" in text
    assert "peak 3 connections" in text.rpartition("\x1b[?1049l")[2]


def test_both_sides_by_ssh(pair: Pair, tmp_path: Path) -> None:  # noqa: F811
    """The VM's connections are seen where they begin and where they pass; the stream that carries the VM's capture is not."""
    folder = tmp_path / "kept"
    ssh = shlex.join(pair.ssh[len(pair.host.prefix) :])
    command = [*pair.host.prefix, sys.executable, "-m", "netlens", "watch", "-i", "any", "--side", "both", "--vm", "lab-vm", "--json"]
    process = subprocess.Popen(
        [*command, "--ssh-cmd", ssh, "--filter", "tcp", "-w", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    serve = "import socket; s = socket.create_server(('10.99.0.2', 443)); print('open', flush=True); c, _ = s.accept(); c.recv(1)"
    ask = "import socket, time; c = socket.create_connection(('10.99.0.2', 443)); time.sleep(30)"
    server = subprocess.Popen([*pair.host.prefix, sys.executable, "-I", "-c", serve], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    server.stdout.readline()
    client = subprocess.Popen([*pair.vm.prefix, sys.executable, "-I", "-c", ask])
    try:
        for line in process.stdout:
            now = {one["side"]: one["all"]["connections"]["now"] for one in json.loads(line)["captures"]}
            if now == {"vm": 1, "host": 1}:
                break
        else:
            assert process.stderr is not None
            pytest.fail(process.stderr.read())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        for helper in (client, server):
            helper.kill()
            helper.wait()
        server.stdout.close()
    assert process.returncode == 0, errors
    assert {p.name for p in folder.iterdir()} == {"vm.pcap", "host.pcap", "manifest.toml"}
    assert Capture([folder / "vm.pcap"]).table("connections").rows == 1
    assert left_behind(pair.vm) == []
