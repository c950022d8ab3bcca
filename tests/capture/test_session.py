"""Whole recordings: both sides for real, and every way in which one can end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netlens.capture import session
from netlens.capture.command import SshConnection
from netlens.capture.recording import Manifest, read_manifest
from netlens.capture.session import Options, Session, check
from netlens.errors import CaptureError
from tests.capture.conftest import Namespace, Pair, await_packets, comm, numbers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"side": "both"}, "needs the VM"),
        ({"side": "vm", "filter": "port 1", "everything": True}, "exclude each other"),
        ({"side": "vm", "until_rejection": True}, "needs a log"),
        ({"side": "vm", "keep": 2}, "--rotate-mb"),
        ({"side": "vm", "errors": (("host", "x"),)}, "not recorded"),
        ({"side": "vm", "errors": (("vm", ""),)}, "names no file"),
        ({"side": "neither"}, "not a side"),
        ({"side": "vm", "vm": "-oProxyCommand=id"}, "refused"),
        ({"side": "vm", "vm": "tart:-x"}, "tart VM"),
        ({"side": "vm", "apis": ("-x",)}, "neither a name"),
        ({"side": "vm", "interface": "-z"}, "interface"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(CaptureError, match=said):
        check(Options(**options))


def test_a_name_without_an_address(tmp_path: Path) -> None:
    options = Options("host", apis=("no.such.name.invalid",), folder=tmp_path / "r")
    with pytest.raises(CaptureError, match=r"no\.such\.name\.invalid: no address"):
        Session(options, lambda _: None).run()
    assert not (tmp_path / "r").exists()


def test_a_host_that_begins_with_a_dash(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="refused"):
        Session(Options("vm", vm="-oProxyCommand=touch x", folder=tmp_path / "r"), lambda _: None).run()


def test_a_netlens_that_is_started_later_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, later = SshConnection("192.0.2.1", 1, "192.0.2.2", 22), SshConnection("192.0.2.1", 50001, "192.0.2.2", 22)
    said: list[str] = []
    found = Session(Options("host"), said.append)
    found._streams = [mine]
    monkeypatch.setattr(session, "open_streams", lambda: [mine, later])
    found._tell_of_others()
    found._tell_of_others()
    (line,) = said
    assert "its ssh connection (192.0.2.1:50001 to 192.0.2.2:22) is in this recording" in line
    assert found.warnings == [line.removeprefix("warning: ")]


class Running:
    """A session in a thread: what it says can be awaited."""

    def __init__(self, options: Options):
        self.said: list[str] = []
        self.shown: list[str] = []
        self.manifest: Manifest | None = None
        self.error: BaseException | None = None
        self.ticked = threading.Event()
        self.session = Session(options, self.said.append, self._show)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        # A start that fails sets nothing: then the thread ends.
        while not self.session._ready.wait(0.1) and self._thread.is_alive():
            pass

    def _show(self, line: str) -> None:
        self.shown.append(line)
        self.ticked.set()

    def _run(self) -> None:
        try:
            self.manifest = self.session.run()
        except CaptureError as error:
            self.error = error

    def end(self) -> Manifest:
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None, self.error
        assert self.manifest is not None
        found = read_manifest(self.manifest.directory)
        assert found.changed() == []
        assert found.reasons == self.manifest.reasons
        for path in found.directory.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(found.directory.stat().st_mode) == 0o700
        assert not [p for p in found.directory.iterdir() if p.name.startswith(".")]
        return found

    def stop(self) -> Manifest:
        self.session.interrupted()
        return self.end()


def _options(namespace: Namespace, folder: Path, **changes: Any) -> Options:
    values: dict[str, Any] = {
        "side": "vm",
        "folder": folder,
        "prefixes": {"vm": namespace.prefix},
        "apis": ("127.0.0.9",),
        "min_free_mb": 1,
    }
    return Options(**(values | changes))


@pytest.mark.lab
def test_one_side(namespace: Namespace, tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    log.touch()
    running = Running(_options(namespace, tmp_path / "r", errors=(("vm", str(log)),)))
    namespace.send(100)
    assert running.ticked.wait(10)
    manifest = running.stop()
    assert manifest.complete
    assert numbers(manifest.sides[0].path) == list(range(100))
    assert manifest.extra["api"]["addresses"] == ["127.0.0.9"]
    machine = manifest.extra["machines"]["vm"]
    assert machine["system"] == "Linux"
    assert machine["tcpdump"]
    assert machine["clock_reading"]["before_ns"] <= machine["clock_reading"]["time_ns"] <= machine["clock_reading"]["after_ns"]
    assert [i["name"] for i in machine["interfaces"]] == ["lo"]
    assert "127.0.0.9" in manifest.sides[0].bpf
    assert manifest.extra["samples"]["vm"] >= 1
    assert "vm 0 packets" in running.shown[0] or "vm 100 packets" in running.shown[0]


@pytest.mark.lab
def test_both_sides(pair: Pair, tmp_path: Path) -> None:
    options = Options(
        "both",
        vm="lab-vm",
        apis=("10.99.0.2",),
        folder=tmp_path / "r",
        ssh=pair.ssh,
        prefixes={"host": pair.host.prefix},
        everything=True,
        min_free_mb=1,
    )
    running = Running(options)
    with _server(pair.host, 443), _client(pair.vm, "10.99.0.2", 443):
        pair.vm.send(150, to="10.99.0.2")
        assert _await_row(tmp_path / "r" / "sockets.jsonl", "10.99.0.2:443", 6)
        manifest = running.stop()
    assert manifest.complete, manifest.reasons
    # processes are those of the whole machine: another test may start or end its sshuttle meanwhile
    assert [warning for warning in manifest.extra["warnings"] if "sshuttle was started or ended" not in warning] == []
    for side in ("vm", "host"):
        result = manifest.side(side)
        assert result is not None
        assert numbers(result.path) == list(range(150))
        assert _count(result.path, "tcp port 443") >= 3
        assert _count(result.path, "tcp port 2222") == 0, "the stream that carries the capture is in it"
        assert result.packets_dropped == 0
    assert manifest.extra["addresses"] == {"vm": ["10.99.0.1"], "host": ["10.99.0.2"]}
    assert manifest.extra["ssh"]["target"] == "lab-vm"
    rows = [json.loads(line) for line in (manifest.directory / "sockets.jsonl").read_text().splitlines()]
    # ss looks at processes before it looks at sockets: one that was opened in between has none in the first sample
    theirs = [r for r in rows if r["side"] == "vm" and r["remote"] == "10.99.0.2:443"]
    assert all(r["process"] for r in theirs[1:])
    program = next(r for r in theirs if r["process"])
    assert program["state"] == "ESTABLISHED"
    assert program["process"].startswith("python")
    assert program["pid"] > 0


@pytest.mark.lab
def test_until_rejection_through_ssh(pair: Pair, tmp_path: Path) -> None:
    log = tmp_path / "opencode.log"
    log.write_text("ERROR 2026-01-25T16:00:00 +1ms service=llm error=1302\n")
    options = Options(
        "vm", vm="lab-vm", folder=tmp_path / "r", ssh=pair.ssh, errors=(("vm", str(log)),), until_rejection=True, min_free_mb=1
    )
    running = Running(options)
    while running._thread.is_alive():  # the follower begins some time after everything listens
        with log.open("a") as file:
            file.write("INFO  2026-01-25T16:33:41 +5ms service=llm my secret\nERROR 2026-01-25T16:33:41 +58ms service=llm 1302 my secret\n")
        running._thread.join(0.3)
    manifest = running.end()
    assert manifest.complete
    kept = (tmp_path / "r" / "vm-errors.log").read_text().splitlines()
    assert kept[:2] == ["INFO  2026-01-25T16:33:41 +5ms", "ERROR 2026-01-25T16:33:41 +58ms service=llm code=1302"]
    assert not any("secret" in path.read_text(errors="replace") for path in manifest.directory.iterdir())
    assert manifest.extra["rejections_logged"] >= 1


@pytest.mark.lab
def test_the_vm_goes_away(pair: Pair, tmp_path: Path) -> None:
    options = Options("both", vm="lab-vm", folder=tmp_path / "r", ssh=pair.ssh, prefixes={"host": pair.host.prefix}, min_free_mb=1)
    running = Running(options)
    pair.vm.send(120, to="10.99.0.2")
    assert all(await_packets(r, 120) for r in running.session.recorders)
    pair.vm.run("ip", "link", "set", "w0", "down")
    manifest = running.end()
    assert not manifest.complete
    assert manifest.reasons[0].startswith("vm: the ssh connection to lab-vm broke")
    for side in ("vm", "host"):
        result = manifest.side(side)
        assert result is not None
        assert numbers(result.path) == list(range(120))
        assert result.complete == (side == "host")


@pytest.mark.lab
def test_a_killed_tcpdump(namespace: Namespace, tmp_path: Path) -> None:
    running = Running(_options(namespace, tmp_path / "r"))
    namespace.send(80)
    (recorder,) = running.session.recorders
    assert await_packets(recorder, 80)
    assert recorder.tcpdump_pid is not None
    os.kill(recorder.tcpdump_pid, signal.SIGKILL)
    manifest = running.end()
    assert manifest.reasons == ["vm: tcpdump was killed (signal 9)"]
    assert numbers(manifest.sides[0].path) == list(range(80))


@pytest.mark.lab
def test_a_full_disk(namespace: Namespace, small_disk: Callable[[int], Path]) -> None:
    running = Running(_options(namespace, small_disk(2048) / "r", min_free_mb=0))
    namespace.send(2000, size=1400)
    manifest = running.end()
    assert not manifest.complete
    assert "disk took no more" in manifest.reasons[0]
    found = numbers(manifest.sides[0].path)
    assert found == list(range(len(found)))
    assert len(found) > 900


@pytest.mark.lab
def test_too_little_room_to_begin(namespace: Namespace, small_disk: Callable[[int], Path]) -> None:
    running = Running(_options(namespace, small_disk(2048) / "r", min_free_mb=200))
    running._thread.join(30)
    assert "less than 200 MB free" in str(running.error)
    assert not running.session.directory.exists()


@pytest.mark.lab
def test_a_start_that_fails_leaves_nothing(namespace: Namespace, tmp_path: Path) -> None:
    running = Running(_options(namespace, tmp_path / "r", filter="and and"))
    running._thread.join(30)
    assert "can't parse filter expression" in str(running.error)
    assert not (tmp_path / "r").exists()


@pytest.mark.lab
def test_a_folder_in_which_another_recording_begins(namespace: Namespace, tmp_path: Path) -> None:
    """Both found it empty: the first to take its place there goes on, the other leaves without a trace."""
    (tmp_path / "r").mkdir()
    first = Running(_options(namespace, tmp_path / "r"))
    with pytest.raises(CaptureError, match="not an empty folder"):
        Session(_options(namespace, tmp_path / "r"), lambda _: None).run()
    late = Session(_options(namespace, tmp_path / "r"), lambda _: None)
    late.directory = tmp_path / "r"
    with pytest.raises(CaptureError, match="another recording is being made here"):
        late._reserve(tmp_path / "r" / ".reserve")
    namespace.send(20)
    assert await_packets(first.session.recorders[0], 20)
    assert numbers(first.stop().sides[0].path) == list(range(20))


@pytest.mark.lab
@pytest.mark.parametrize("name", ["-rf $(touch made)", "a; touch made\n#", "%s%n", "'\"`touch made`", "x" * 255])
def test_folders_with_hostile_names(namespace: Namespace, tmp_path: Path, name: str) -> None:
    running = Running(_options(namespace, tmp_path / name))
    namespace.send(10)
    assert await_packets(running.session.recorders[0], 10)
    assert running.stop().directory == tmp_path / name
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert not Path("made").exists()


@pytest.mark.lab
def test_the_command_and_ctrl_c(namespace: Namespace, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    argv = [
        sys.executable,
        "-m",
        "netlens",
        "capture",
        "--side",
        "host",
        "--api",
        "127.0.0.9",
        "-w",
        str(folder),
        "--min-free-mb",
        "1",
        "--headers-only",
    ]
    with subprocess.Popen([*namespace.prefix, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        while "tcpdump listens" not in (line := process.stderr.readline()):
            assert line, lines
            lines.append(line)
        namespace.send(40)
        assert _await_row(folder / "host.pcap", "", 1)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert out == f"{folder}\n"
    assert "stay undecidable" in lines[0]
    assert "40 packets" in errors
    manifest = read_manifest(folder)
    assert manifest.complete
    assert manifest.sides[0].snaplen == 160
    assert numbers(manifest.sides[0].path) == list(range(40))


def test_wrong_usage_is_told_with_status_2() -> None:
    argv = [sys.executable, "-m", "netlens", "capture", "--side", "both"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs the VM" in done.stderr


@pytest.mark.lab
def test_the_command_exits_with_1_when_incomplete(namespace: Namespace, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "netlens", "capture", "--side", "host", "-w", str(tmp_path / "r"), "--min-free-mb", "1"]
    with subprocess.Popen([*namespace.prefix, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "tcpdump listens" not in process.stderr.readline():
                pass
            pids = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=True).stdout.split()
            (tcpdump,) = [int(p) for p in pids if comm(p) == "tcpdump"]
            os.kill(tcpdump, signal.SIGKILL)
            out, errors = process.communicate(timeout=30)
        finally:
            process.kill()  # leaving the block waits for it
    assert process.returncode == 1
    assert out == f"{tmp_path / 'r'}\n"
    assert (
        errors.splitlines()[-1] == "netlens: the recording is incomplete (host: tcpdump was killed (signal 9)); what was captured is kept"
    )


def _count(path: Path, bpf: str) -> int:
    done = subprocess.run(["tcpdump", "-n", "-r", str(path), bpf], capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def _await_row(path: Path, text: str, lines: int, timeout: float = 20) -> bool:
    """Wait until a growing file has so many lines with ``text`` (or, without one, any bytes)."""
    import time

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if path.exists():
            data = path.read_bytes()
            if data.count(text.encode()) >= lines if text else data:
                return True
        time.sleep(0.05)  # files of another process give no event that all systems have
    return False


def _server(namespace: Namespace, port: int) -> Any:
    return _Python(
        namespace,
        f"import socket, time\ns = socket.create_server(('', {port}))\nprint('ready', flush=True)\na = s.accept()\na[0].recv(1)\n",
    )


def _client(namespace: Namespace, address: str, port: int) -> Any:
    return _Python(
        namespace, f"import socket\ns = socket.create_connection(('{address}', {port}))\nprint('ready', flush=True)\ns.recv(1)\n"
    )


class _Python:
    """A program in a namespace that says "ready" and then waits until it is killed."""

    def __init__(self, namespace: Namespace, code: str):
        self.argv = [*namespace.prefix, sys.executable, "-I", "-c", code]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_several_vms_are_recorded_as_vantages_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr("netlens.capture.places.connected", lambda side, vm, *_: asked.append((side, vm)))
    options = Options("both", vm="one", further=("two", "three"))
    Session(options, print, print)._connect(contextlib.ExitStack())
    assert asked == [("vm", "one"), ("host", "one"), ("vm2", "two"), ("vm3", "three")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("both", vm="one", further=("one",)), "--vm one is given twice"),
        (Options("both", vm="one", further=("two", "two")), "--vm two is given twice"),
        (Options("both", vm="one", further=("-oProxyCommand=x",)), "-oProxyCommand"),
    ],
)
def test_further_vms_that_cannot_be(options: Options, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        check(options)
