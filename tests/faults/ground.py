"""What faults are injected into."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import throwaway_ssh

ROOT = Path(__file__).resolve().parent.parent.parent
NETLENS = [sys.executable, "-m", "netlens"]
_numbers = itertools.count(1)
_SOURCE = """
import mmap, os, signal, socket, struct, sys, time
path, address, size, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
shared = mmap.mmap(os.open(path, os.O_RDWR), 8)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
i = 0
sys.stdin.read(1)
halted = []
signal.signal(signal.SIGTERM, lambda *_: halted.append(1))
while not halted:
    try:
        s.sendto(b"netlens!%010d" % i + bytes(size), (address, 5300))
        i += 1
        shared[:8] = struct.pack("<q", i)
    except OSError:
        time.sleep(0.01)
    if pause:
        time.sleep(pause)
"""
_MARK = re.compile(rb"netlens!(\d{10})")


class Broken(AssertionError):
    """Something is not as it must be after a fault."""


def need(truth: object, what: str) -> None:
    if not truth:
        raise Broken(what)


def command(*argv: str, check: bool = True) -> str:
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout


def name_of(pid: int | str) -> str:
    """The name of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@dataclass
class Namespace:
    """A network namespace."""

    name: str

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def processes(self, name: str = "") -> list[int]:
        """Processes in it, of that name if one is given."""
        out = []
        for pid in command("ip", "netns", "pids", self.name, check=False).split():
            with contextlib.suppress(OSError):
                comm = name_of(pid)
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and (not name or comm == name):
                    out.append(int(pid))
        return out

    def signal(self, number: signal.Signals, name: str = "") -> int:
        """Send a signal to those processes; how many there were."""
        found = self.processes(name)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(found)


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"nlf{os.getpid()}-{next(_numbers)}")
    command("ip", "netns", "add", made.name)
    try:
        command(*made.prefix, "ip", "link", "set", "lo", "up")
        yield made
    finally:
        made.signal(signal.SIGCONT)
        made.signal(signal.SIGKILL)
        command("ip", "netns", "del", made.name, check=False)


HERE, OTHER = "10.98.0.1", "10.98.0.2"


def wire(here: Namespace, other: Namespace) -> None:
    """Tie two namespaces together: w0 in each, with the addresses HERE and OTHER."""
    command("ip", "link", "add", "w0", "netns", here.name, "type", "veth", "peer", "name", "w0", "netns", other.name)
    for side, address in ((here, HERE), (other, OTHER)):
        command(*side.prefix, "ip", "address", "add", f"{address}/24", "dev", "w0")
        command(*side.prefix, "ip", "link", "set", "w0", "up")
    mac = command(*other.prefix, "cat", "/sys/class/net/w0/address").strip()
    command(*here.prefix, "ip", "neigh", "replace", OTHER, "lladdr", mac, "dev", "w0")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="netlens-faults-", dir="/var/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    path = place / "disk"
    path.mkdir()
    command("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "netlens-faults", str(path))
    try:
        yield path
    finally:
        command("umount", "-l", str(path), check=False)


@dataclass
class Source:
    """Sends numbered datagrams without end."""

    process: subprocess.Popen[bytes]
    shared: mmap.mmap

    def go(self) -> None:
        """Begin."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def halt(self) -> None:
        """Send no more, between two datagrams."""
        self.process.terminate()
        self.process.wait()

    @property
    def sent(self) -> int:
        return int(struct.unpack("<q", self.shared[:8])[0])


@contextlib.contextmanager
def traffic(where: Namespace, address: str = "127.0.0.1", size: int = 100, pause: float = 0.002, go: bool = True) -> Iterator[Source]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(8))
        file.flush()
        process = subprocess.Popen(
            [*where.prefix, sys.executable, "-I", "-c", _SOURCE, file.name, address, str(size), str(pause)], stdin=subprocess.PIPE
        )
        shared = mmap.mmap(file.fileno(), 8)
        source = Source(process, shared)
        if go:
            source.go()
        try:
            yield source
        finally:
            process.kill()
            process.wait()
            shared.close()


@dataclass
class Capture:
    """``netlens capture`` while it runs."""

    process: subprocess.Popen[str]
    folder: Path
    said: list[str] = field(default_factory=list)
    listens: threading.Event = field(default_factory=threading.Event)
    reader: threading.Thread | None = None

    def follow(self, sides: int = 1) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.strip())
            if sum("tcpdump listens" in said for said in self.said) >= sides:
                self.listens.set()
        self.listens.set()

    def end(self, timeout: float = 90) -> int:
        """Its exit status."""
        status = self.process.wait(timeout)
        assert self.reader is not None
        self.reader.join(10)
        return status

    @property
    def message(self) -> str:
        """The line that it ended with, of a warning or error."""
        lines = [line for line in self.said if line.startswith("netlens: ") and "tcpdump listens" not in line]
        return lines[-1].removeprefix("netlens: ") if lines else ""


@contextlib.contextmanager
def capture(where: Namespace | None, place: Path, *options: str, wait: bool = True, side: str = "host") -> Iterator[Capture]:
    prefix = where.prefix if where else []
    argv = [*prefix, *NETLENS, "capture", "--side", side, "-w", str(place), "--min-free-mb", "0", "--filter", "udp port 5300", *options]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = Capture(process, place)
    made.reader = threading.Thread(target=made.follow, daemon=True)
    made.reader.start()
    try:
        if wait:
            made.listens.wait(60)
            need(process.poll() is None, f"it did not begin: {made.said}")
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        made.reader.join(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def numbers(paths: list[Path]) -> list[int]:
    """Numbers of the datagrams in these captures, each once, in order; fails where netlens cannot read one to its end."""
    from netlens.wire.containers import Reader

    found: list[int] = []
    for path in paths:
        reader = Reader([path])
        for batch in reader.batches():
            for at, cap, *_ in batch.frames[: batch.n].tolist():
                mark = _MARK.search(batch.buf[at : at + cap].tobytes())
                if mark:
                    found.append(int(mark[1]))
        warnings = [w for i in reader.inputs for w in i.warnings]
        need(not warnings, f"{path.name}: {warnings}")
    return sorted(set(found))


def gaps(found: list[int]) -> int:
    """Numbers missing between the first and the last."""
    return found[-1] - found[0] + 1 - len(found) if found else 0


@dataclass
class Far:
    """A VM behind a wire: its namespace, that of the host, and how the host calls ssh."""

    vm: Namespace
    host: Namespace
    ssh: str
    options: str


@contextlib.contextmanager
def far(place: Path) -> Iterator[Far]:
    """Two namespaces and a real sshd with throw-away keys; breaks of the connection are noticed within two seconds."""
    keys = place / "ssh"
    throwaway_ssh.prepare(keys, "MaxStartups 100")
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    need(sshd, "no sshd")
    with namespace() as vm, namespace() as host:
        command("ip", "link", "add", "w0", "netns", vm.name, "type", "veth", "peer", "name", "w0", "netns", host.name)
        for side, address in ((vm, "10.99.0.1"), (host, "10.99.0.2")):
            command(*side.prefix, "ip", "address", "add", f"{address}/24", "dev", "w0")
            command(*side.prefix, "ip", "link", "set", "w0", "up")
        server = subprocess.Popen(
            [*vm.prefix, str(sshd), "-D", "-e", "-f", str(keys / "sshd_config")],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert server.stderr is not None
        for line in server.stderr:
            if "Server listening on" in line:
                break
        drain = threading.Thread(target=server.stderr.read, daemon=True)
        drain.start()
        ssh = f"ip netns exec {host.name} ssh -F {keys}/config -o ServerAliveInterval=1 -o ServerAliveCountMax=2"
        try:
            yield Far(vm, host, ssh, "lab-vm")
        finally:
            vm.signal(signal.SIGCONT)
            vm.signal(signal.SIGKILL)
            server.kill()
            server.wait()
            drain.join(10)
            server.stderr.close()


def nothing_left(where: Namespace, source: Source, seconds: float = 10, but: tuple[str, ...] = ()) -> None:
    """No process goes on in a namespace, but the source of traffic and those of these names."""
    until = time.monotonic() + seconds
    while left := [p for p in where.processes() if p != source.process.pid and name_of(p) not in but]:
        need(time.monotonic() < until, f"processes that go on: {[Path(f'/proc/{p}/cmdline').read_bytes()[:80] for p in left]}")
        time.sleep(0.1)


def write_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` into a page, between the two comments of its section; the rest of the page stays."""
    begin, end = f"<!-- {name}: made by a command -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(begin)
    after = rest.partition(end)[2]
    if before and not before.endswith("\n\n"):
        before = before.rstrip("\n") + "\n\n"
    path.write_text(before + begin + "\n" + text + "\n" + end + after, encoding="utf-8")
