"""Network namespaces for the VM, the host and the provider, the links between them, and the host's NAT.

Every run has names of its own (the process id is part of them), so that runs can go side by side. Nothing outside the namespaces is
touched but ``/etc/netns/NAME`` (their resolv.conf) and ``/run/netlens-lab/NAME`` (keys and sockets of the run); both go with the run.
A second process, the janitor, waits for the end of the first: whatever way a run ends, also by SIGKILL, its namespaces and all
processes in them are removed. ``stale`` and ``remove`` serve ``netlens lab clean``, should both have been killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from netlens.capture.processes import SYSTEM_PATH
from netlens.errors import NetlensError
from netlens.lab.clock import Skew

if TYPE_CHECKING:
    from netlens.lab.scenario import Scenario

VM, HOST, PROVIDER = "vm", "host", "provider"
SIDES = (VM, HOST, PROVIDER)
#: further namespaces that a relay may add: another VM of the same host, a container in the VM
OTHER_VM, CONTAINER = "vm2", "container"

VM_IP, HOST_INSIDE_IP, HOST_IP = "192.168.64.2", "192.168.64.1", "203.0.113.1"
VM_NET = "192.168.64.0/24"
PROVIDER_IP, NAMESERVER_IP, OTHER_SITE_IP = "203.0.113.10", "203.0.113.53", "203.0.113.80"
#: of a provider with several; equally near to the host's, or the C library would sort them (RFC 6724, rule 9)
PROVIDER_IPS = (PROVIDER_IP, "203.0.113.11", "203.0.113.12", "203.0.113.13")
PROVIDER_IP6 = "2001:db8:71::10"

READY_S = 30.0  #: until a program that was started is up

STATE = Path("/run/netlens-lab")
_RESOLV = Path("/etc/netns")
_RUN_NAME = re.compile(r"nl(\d+)")

#: Of programs that are called otherwise.
_PACKAGES = {"ip": "iproute2", "nft": "nftables", "sshd": "openssh-server", "ssh": "openssh-client", "tinyproxy": "tinyproxy-bin"}

# Without this the kernel would add neighbour discovery and router solicitations, which say nothing here.
_NO_IPV6 = "net.ipv6.conf.all.disable_ipv6=1"


class LabError(NetlensError):
    """The laboratory cannot be built or run here (rights, missing programs, a part that does not start)."""


def _run(*argv: str, stdin: str | None = None) -> None:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or f'exit status {done.returncode}'}")


def need(programs: Sequence[str]) -> None:
    """Raise LabError, naming all that is missing, unless this is root on Linux and the programs are there."""
    if sys.platform != "linux":
        raise LabError("the laboratory needs Linux network namespaces; on another system run it in a Linux VM")
    if os.geteuid() != 0:
        raise LabError("the laboratory makes network namespaces and needs root: sudo netlens lab ...")
    if missing := [name for name in programs if not program(name)]:
        packages = " ".join(_PACKAGES.get(name, name) for name in missing)
        raise LabError(f"the laboratory needs {', '.join(missing)}; on Debian and Ubuntu: apt-get install {packages}")


def program(name: str) -> str | None:
    """The path of a program; sbin is not on every PATH."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)


class Topology:
    """The namespaces of one run; use it as a context manager.

    ``start`` runs a program in a namespace until the end of the run at most.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"nl{os.getpid()}"
        self.folder = STATE / self.name
        self._janitor: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[str]] = []

    def namespace(self, side: str) -> str:
        return f"{self.name}-{side}"

    def prefix(self, side: str) -> list[str]:
        """What to put before a command so that it runs in the namespace of a side."""
        return [program("ip") or "ip", "netns", "exec", self.namespace(side)]

    def laid_over_etc(self, side: str) -> Path:
        """The folder whose entries take the place of those in /etc for what is started on a side from now on."""
        return _RESOLV / self.namespace(side)

    def __enter__(self) -> Topology:
        self.folder.mkdir(mode=0o700, parents=True)
        # The janitor holds our end of a pipe: it wakes when this process is gone, whatever ended it.
        self._janitor = subprocess.Popen(
            [sys.executable, "-m", "netlens.lab.janitor", self.name], stdin=subprocess.PIPE, start_new_session=True, cwd="/"
        )
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _build(self) -> None:
        for side in SIDES:
            self.add(side)
        # Fixed hardware addresses: a recording shows them, and two runs of one seed should differ in nothing that we can hold still.
        self.link((VM, "eth0", "02:00:00:40:00:02"), (HOST, "vmnet0", "02:00:00:40:00:01"))
        self.link((HOST, "eth0", "02:00:00:71:00:01"), (PROVIDER, "eth0", "02:00:00:71:00:10"))
        for side, device, addresses in (
            (VM, "eth0", (VM_IP,)),
            (HOST, "vmnet0", (HOST_INSIDE_IP,)),
            (HOST, "eth0", (HOST_IP,)),
            (PROVIDER, "eth0", (*PROVIDER_IPS, NAMESERVER_IP, OTHER_SITE_IP)),
        ):
            for address in addresses:
                self.inside(side, "ip", "address", "add", f"{address}/24", "dev", device)
            self.inside(side, "ip", "link", "set", device, "up")
        self.inside(VM, "ip", "route", "add", "default", "via", HOST_INSIDE_IP)
        self.inside(HOST, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.masquerade(HOST, "eth0", VM_NET)

    def add(self, side: str) -> None:
        """Make a namespace, which has a loopback interface and nothing else."""
        namespace = self.namespace(side)
        # /etc/netns/NAME is laid over /etc by `ip netns exec`: each side has a resolv.conf of its own.
        folder = _RESOLV / namespace
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {NAMESERVER_IP}\n", encoding="ascii")
        _run("ip", "netns", "add", namespace)
        self.inside(side, "sysctl", "-q", "-w", _NO_IPV6)
        self.inside(side, "ip", "link", "set", "lo", "up")

    def link(self, *ends: tuple[str, str, str]) -> None:
        """A cable between two namespaces: of each end the side, the interface and its hardware address."""
        (one, device, address), (other, peer, peer_address) = ends
        _run(
            *("ip", "link", "add", device, "address", address, "netns", self.namespace(one)),
            *("type", "veth", "peer", "name", peer, "address", peer_address, "netns", self.namespace(other)),
        )

    def ip(self, side: str, *commands: str) -> None:
        """Run ``ip`` in a namespace, once for each command; LabError at the first that fails."""
        for words in commands:
            self.inside(side, "ip", *words.split())

    def masquerade(self, side: str, device: str, network: str) -> None:
        """Have a side put its own address in place of those of a network (IPv4 or IPv6) in what leaves by an interface."""
        family = "ip6" if ":" in network else "ip"
        rules = (
            f"table {family} lab {{ chain postrouting {{ type nat hook postrouting priority 100; "
            f'oifname "{device}" {family} saddr {network} masquerade; }}; }}'
        )
        self.inside(side, "nft", "-f", "-", stdin=rules)

    def inside(self, side: str, *argv: str, stdin: str | None = None) -> None:
        """Run a short command in a namespace; LabError if it fails."""
        _run(*self.prefix(side), *argv, stdin=stdin)

    def start(self, side: str, argv: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Start a program in a namespace; ``close`` ends it. ``options`` of Popen: its streams lead nowhere if these do not say where."""
        argv = [*self.prefix(side), program(argv[0]) or argv[0], *argv[1:]]
        options = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | options
        child: subprocess.Popen[str] = subprocess.Popen(argv, text=True, start_new_session=True, **options)  # type: ignore[call-overload]
        self._children.append(child)
        return child

    def close(self) -> None:
        """Remove everything; nothing happens the second time."""
        remove(self.name)
        for child in self._children:
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                with contextlib.suppress(OSError):
                    if stream:
                        stream.close()
        self._children.clear()
        if self._janitor and self._janitor.stdin:
            self._janitor.stdin.close()
            self._janitor.wait()
            self._janitor = None


@dataclass
class Context:
    """One run of a scenario: what a part of it (a program, a relay, the provider) needs to know when it is started.

    folder : of the recording; what belongs to the run alone goes into ``topology.folder``.
    skew : the clock of the VM.
    certificate : trusted by the programs.
    sshuttle : the one to use, if not the installed one.
    details : what a part wants to have in the manifest.
    api_ips : where the provider is asked.
    runs_in : the namespace in which a side's programs run, if not the side's own.
    addresses : of each side, as the manifest has them.
    """

    scenario: Scenario
    topology: Topology
    folder: Path
    seconds: float
    seed: int
    skew: Skew
    certificate: Path
    sshuttle: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    api_ips: Sequence[str] = PROVIDER_IPS[:1]
    runs_in: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=lambda: {VM: [VM_IP], HOST: [HOST_IP, HOST_INSIDE_IP]})

    def told(self, side: str, programs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the process of programs of any kind is told, as JSON."""
        return {
            "side": side,
            "seed": self.seed,
            "seconds": self.seconds,
            "programs": programs,
            "journal": str(self.folder / f"{side}-program.jsonl"),
            # Nobody records another VM, nor has its log.
            "log": str((self.topology.folder if side == OTHER_VM else self.folder) / f"{side}-errors.log"),
            "skew": asdict(self.skew if side == VM else Skew()),
            "certificate": str(self.certificate),
        }

    def python(self, side: str, module: str, config: Mapping[str, Any], name: str) -> subprocess.Popen[str]:
        """Start a module of the laboratory in the namespace of a side, and wait until it says that it is ready."""
        path = self.topology.folder / f"{name}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        argv = [sys.executable, "-m", f"netlens.lab.{module}", str(path)]
        child = self.topology.start(self.runs_in.get(side, side), argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        assert child.stdout
        if child.stdout.readline() != "ready\n":
            raise LabError(f"the lab's {name} did not start")
        return child


def _await(topology: Topology, side: str, argv: Sequence[str], child: subprocess.Popen[str], name: str) -> None:
    """Ask with a command until it says something; LabError if the program ends before, or takes too long."""
    deadline = time.monotonic() + READY_S
    while child.poll() is None and time.monotonic() < deadline:
        if _output(*topology.prefix(side), *argv).strip():
            return
        time.sleep(0.05)
    raise LabError(f"{name} did not start")


def await_listening(topology: Topology, side: str, port: int, child: subprocess.Popen[str], name: str) -> None:
    """Wait until somebody listens on a TCP port of a side, as one does not say that it is ready; LabError if it does not come to that."""
    _await(topology, side, (program("ss") or "ss", "-Hltn", f"sport = :{port}"), child, name)


def await_interface(topology: Topology, side: str, device: str, child: subprocess.Popen[str]) -> None:
    """Wait until an interface of a side, which a program makes, has an address."""
    _await(topology, side, ("ip", "-o", "address", "show", "up", "dev", device), child, device)


def await_line(lines: Iterable[str] | None, ready: str, name: str) -> None:
    """Read what a program says until a line has ``ready`` in it; LabError with all that it said if it ends before."""
    said = []
    for line in lines or ():
        said.append(line.strip())
        if ready in line:
            return
    raise LabError(f"{name} did not start: {'; '.join(said)}")


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _output("ip", "netns", "list").splitlines() if line.strip()]


def _kill(namespace: str) -> None:
    for pid in _output("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def remove(name: str) -> None:
    """End every process in the namespaces of a run and remove them with their files; what is not there is no error."""
    there = set(_namespaces())
    for side in (*SIDES, OTHER_VM, CONTAINER):
        namespace = f"{name}-{side}"
        if namespace in there:
            _kill(namespace)
            _kill(namespace)  # once more for what was being started while the first list was read
            _output("ip", "netns", "delete", namespace)
        shutil.rmtree(_RESOLV / namespace, ignore_errors=True)
    shutil.rmtree(STATE / name, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stale(alive: Callable[[int], bool] = _alive) -> list[str]:
    """Names of runs whose process is gone but whose namespaces or files are still here."""
    folders = [path.name for base in (_RESOLV, STATE) if base.is_dir() for path in base.iterdir()]
    names = {match[0]: int(match[1]) for text in [*_namespaces(), *folders] if (match := _RUN_NAME.match(text))}
    return sorted(name for name, pid in names.items() if not alive(pid))
