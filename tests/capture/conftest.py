"""Network namespaces, a real sshd, and a small disk, for the tests that record for real."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import throwaway_ssh
from tests.conftest import IN_CI, need_program

if TYPE_CHECKING:
    from netlens.capture.recorder import SideRecorder


def _need_root() -> None:
    if sys.platform == "linux" and os.geteuid() == 0:
        return
    if IN_CI:
        pytest.fail("the tests marked lab need root on Linux")
    pytest.skip("needs root on Linux")


def comm(pid: int | str) -> str:
    """Name of a process; "" for one that has just ended, as helpers of helpers do."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def await_packets(recorder: SideRecorder, count: int, timeout: float = 10.0) -> bool:
    """Wait until so many packets are stored, or it ended; whether they are."""
    end = time.monotonic() + timeout
    while recorder.packets < count and not recorder._ended and time.monotonic() < end:
        time.sleep(0.01)
    return recorder.packets >= count


@dataclass
class Namespace:
    """A network namespace with its loopback up."""

    name: str
    address: str = "127.0.0.1"

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def run(self, *argv: str) -> str:
        return subprocess.run([*self.prefix, *argv], check=True, capture_output=True, text=True).stdout

    def send(self, count: int, size: int = 100, to: str = "127.0.0.1", port: int = 53, first: int = 0) -> None:
        """Send numbered datagrams; each payload begins with its number."""
        code = (
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"for i in range({first}, {first + count}):\n"
            f"    s.sendto(b'%08d' % i + bytes({size - 8}), ('{to}', {port}))\n"
        )
        self.run(sys.executable, "-I", "-c", code)


def _namespace(name: str) -> Namespace:
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    made = Namespace(name)
    made.run("ip", "link", "set", "lo", "up")
    return made


def _remove(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """One namespace with loopback."""
    _need_root()
    need_program("ip", "makes network namespaces")
    need_program("tcpdump", "records")
    name = f"nl{os.getpid()}a"
    try:
        yield _namespace(name)
    finally:
        _remove(name)


@dataclass
class Pair:
    """Two namespaces joined by a wire, and an sshd in the first that the second can reach as ``lab-vm``."""

    vm: Namespace
    host: Namespace
    ssh: tuple[str, ...]
    sshd: subprocess.Popen[str]
    folder: Path
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def kill_connections(self) -> None:
        """Kill the server's processes of all open connections, as a crash of the VM's sshd would."""
        for pid in self._descendants(self.sshd.pid):
            if comm(pid).startswith("sshd"):
                os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _descendants(pid: int) -> list[int]:
        found: list[int] = []
        queue = [pid]
        while queue:
            of = queue.pop()
            for task in Path(f"/proc/{of}/task").glob("*/children"):
                children = [int(c) for c in task.read_text().split()]
                found += children
                queue += children
        return found


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A VM with a real sshd (throw-away keys) and a host, in namespaces."""
    _need_root()
    for program, why in (
        ("ip", "makes network namespaces"),
        ("tcpdump", "records"),
        ("ssh-keygen", "makes keys"),
        ("ssh", "reaches the VM"),
    ):
        need_program(program, why)
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin") or need_program("sshd", "stands for the VM's ssh server")
    folder = tmp_path / "ssh"
    throwaway_ssh.prepare(folder)
    names = (f"nl{os.getpid()}v", f"nl{os.getpid()}h")
    process = None
    try:
        vm, host = (_namespace(n) for n in names)
        subprocess.run(["ip", "link", "add", "w0", "netns", vm.name, "type", "veth", "peer", "name", "w0", "netns", host.name], check=True)
        for side, address in ((vm, "10.99.0.1"), (host, "10.99.0.2")):
            side.address = address
            side.run("ip", "address", "add", f"{address}/24", "dev", "w0")
            side.run("ip", "link", "set", "w0", "up")
        process = subprocess.Popen(
            [*vm.prefix, sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        assert process.stderr is not None
        while line := process.stderr.readline():
            if "Server listening on" in line:
                break
        else:
            pytest.fail("sshd did not start")
        # Breaks are noticed in two seconds instead of fifteen: of an option ssh takes the first value it is given.
        options = ("-F", str(folder / "config"), "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
        yield Pair(vm, host, (*host.prefix, "ssh", *options), process, folder)
    finally:
        if process is not None:
            for pid in Pair._descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
        for name in names:
            _remove(name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(kilobytes)``: a file system of that size."""
    _need_root()
    mounted: list[Path] = []

    def make(kilobytes: int) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "netlens-test", str(path)], check=True)
        mounted.append(path)
        return path

    try:
        yield make
    finally:
        for path in mounted:
            subprocess.run(["umount", "-l", str(path)], check=False)


def numbers(path: Path) -> list[int]:
    """Numbers of the datagrams in a capture, as tcpdump reads it; fails if it cannot read all of it."""
    done = subprocess.run(
        ["tcpdump", "-n", "-r", str(path), "-A", "udp port 53"], capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr
    import re

    return [int(n) for n in re.findall(r"(?<!\d)0\d{7}(?!\d)", done.stdout)]
