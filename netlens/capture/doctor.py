"""What is missing for a recording that answers the question, on this machine and on the VM, and the command that mends it.

A check is one function, registered with :func:`check` under an id and a title. It is given a :class:`Machine` (this one, or the VM behind ssh)
and the :class:`Scene` (both machines and what was asked for), and answers a :class:`Result`:

``ok``              nothing to do
``warning``         a recording can be made, but something about it will be worse, or could not be looked at
``missing``         without this there is no recording, or one that cannot answer
``does not apply``  the question makes no sense on this machine

Nothing is changed, and nobody is contacted but the VM and the system's own resolver. All commands go through :func:`run`: an argument list, no
shell, a timeout. On the VM the same lists are run by ssh. Rights come from root or ``sudo -n``, and are used only to read redirect rules and to
see whether tcpdump may capture.

*Limits.* Processes in other network namespaces (containers) are left out, since their traffic takes another way. What a name resolved to when
sshuttle started is nowhere kept; whether an exclude still works is therefore read from the redirect rules, and where these cannot be read it is
said to be unknown.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, Literal

from netlens.capture import probes
from netlens.capture.command import BUFFER_KIB, SNAPLEN, SNAPLEN_HEADERS, SSH_LENDS_NOTHING, check_api, check_host, tart_name
from netlens.text import plural, size

Status = Literal["ok", "warning", "missing", "does not apply"]

COMMAND_TIMEOUT_S = 10  #: none of the commands does real work; one that takes longer hangs
RESOLVE_TIMEOUT_S = 5  #: the resolver's own first time-out: a name that takes longer will trouble the program as well
CONNECT_TIMEOUT_S = 10
OUTPUT_BYTES = 4_000_000  #: what is read of a command's output; a firewall of ten thousand rules has about 1 MB
API_PORT = 443
TART_USER = "admin"  #: of tart's published images; another is named as USER@tart:NAME

# --- running commands -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a command ended. ``status`` is that of the shell: 127 not there, 124 took too long."""

    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def complaint(self) -> str:
        """The last line on standard error, which is where programs say why they gave up."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


#: Where system programs live that are on no ordinary user's PATH, and on nobody's in a command by ssh.
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/Applications/Wireshark.app/Contents/MacOS"


def run(argv: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S, talk: Callable[[IO[bytes], IO[bytes]], None] | None = None) -> Outcome:
    """Run a command, at most ``timeout_s``; its output never blocks it and is read up to ``OUTPUT_BYTES``.

    Parameters
    ----------
    talk : is given the command's standard input and output while it runs; without it the input is empty.
    """
    # Files, not pipes: an ssh that stays in the background as a master may keep them open, and a pipe would then have no end.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talk else out,
                stderr=err,
                bufsize=0,
                env={**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"},
                process_group=0,  # not a new session: sudo's ticket belongs to the terminal
            )
        except FileNotFoundError:
            return Outcome(127, "", f"{argv[0]}: not found")
        except OSError as error:
            return Outcome(126, "", f"{argv[0]}: {error.strerror or error}")
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(process)

        watchdog = threading.Timer(timeout_s, stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            if talk is not None and process.stdin is not None and process.stdout is not None:
                with process.stdout, contextlib.suppress(OSError), process.stdin:  # it may have ended and closed its end
                    talk(process.stdin, process.stdout)
            process.wait()
        finally:
            watchdog.cancel()
            if process.poll() is None:  # Ctrl-C
                _kill(process)
                process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(OUTPUT_BYTES).decode("utf-8", "replace"))
    status = 124 if late.is_set() else process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Outcome(status, texts[0], f"took longer than {timeout_s:g} s" if status == 124 else texts[1])


def _kill(process: subprocess.Popen[bytes]) -> None:
    # sudo's child is root's and not ours to kill; it ends when sudo does
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


# --- machines ---------------------------------------------------------------------------------------------------------------------------

_WHICH = 'for program do command -v "$program"; done; :'
_PROGRAMS = (
    *("tcpdump", "tshark", "sudo", "ip", "ifconfig", "netstat", "ss", "lsof", "nft", "iptables-save", "ip6tables-save", "pfctl", "ps"),
    *("sshuttle", "chronyc", "timedatectl", "systemsetup", "getent", "dscacheutil", "scutil", "proxy-status"),
    *("apt-get", "dnf", "brew"),
)

#: Package of a program by package manager where it is not called like the program.
_PACKAGES = {
    "tshark": {"dnf": "wireshark-cli", "brew": "wireshark"},
    "ss": {"apt-get": "iproute2", "dnf": "iproute"},
    "ip": {"apt-get": "iproute2", "dnf": "iproute"},
    "chronyc": {"apt-get": "chrony", "dnf": "chrony"},
    "ps": {"apt-get": "procps", "dnf": "procps-ng"},
}


@dataclass(frozen=True)
class Rules:
    """Redirect rules of a machine: what could be read, from which programs, and why the others could not."""

    rules: list[probes.Rule]
    read: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def ports(self) -> list[int]:
        return sorted({rule.to_port for rule in self.rules if rule.redirects and rule.to_port is not None}, reverse=True)


class Machine:
    """This machine (``ssh`` empty), or one that commands reach with ``ssh`` put before them. Facts are asked for once."""

    def __init__(self, where: str, ssh: Sequence[str] = ()):
        self.where = where
        self.ssh = tuple(ssh)

    def run(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, talk: Callable[[IO[bytes], IO[bytes]], None] | None = None) -> Outcome:
        """Run a command on this machine, without a terminal and without input."""
        if not self.ssh:
            return run(argv, timeout_s, talk)
        # a command by ssh gets hardly any PATH and, maybe, this user's language
        far = shlex.join(["env", "LC_ALL=C", f"PATH={_SYSTEM_PATH}", *argv])
        return run([*self.ssh, far], timeout_s + CONNECT_TIMEOUT_S, talk)

    def run_as_root(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Outcome:
        """Run a command with rights where there are any (root, ``sudo -n``), else without."""
        return self.run(*(("sudo", "-n") if self.sudo else ()), *argv, timeout_s=timeout_s)

    @cached_property
    def system(self) -> str:
        """``Linux``, ``Darwin``, ..."""
        return self.run("uname", "-s").stdout.strip() or "unknown"

    @cached_property
    def programs(self) -> dict[str, str]:
        """Paths of those of ``_PROGRAMS`` that are there."""
        lines = self.run("sh", "-c", _WHICH, "sh", *_PROGRAMS).stdout.split("\n")
        return {line.rpartition("/")[2]: line for line in lines if line.startswith("/")}

    @cached_property
    def is_root(self) -> bool:
        return self.run("id", "-u").stdout.strip() == "0"

    @cached_property
    def sudo(self) -> bool:
        """Whether rights come from ``sudo`` without a password."""
        return not self.is_root and "sudo" in self.programs and self.run("sudo", "-n", "true").ok

    def install(self, program: str) -> str:
        """The command that installs a program."""
        manager = next((m for m in ("apt-get", "dnf", "brew") if m in self.programs), None)
        package = _PACKAGES.get(program, {}).get(manager or "", program)
        if manager is None:
            return f"install {package} with the package manager of the system"
        return f"{'' if manager == 'brew' or self.is_root else 'sudo '}{manager} install {package}"

    # facts

    @cached_property
    def interfaces(self) -> list[probes.Interface]:
        if "ip" in self.programs:
            return probes.parse_ip_addresses(self.run("ip", "-brief", "address").stdout)
        return probes.parse_ifconfig(self.run("ifconfig", "-a").stdout)

    @cached_property
    def routes(self) -> list[probes.Route]:
        if "ip" in self.programs:
            both = [self.run("ip", family, "route").stdout for family in ("-4", "-6")]
            return probes.parse_routes("\n".join(both))
        return probes.parse_routes(self.run("netstat", "-rn").stdout)

    @cached_property
    def resolver(self) -> probes.Resolver:
        if "scutil" in self.programs:
            return probes.parse_scutil_dns(self.run("scutil", "--dns").stdout)
        return probes.parse_resolv_conf(self.run("cat", "/etc/resolv.conf").stdout)

    @cached_property
    def sshuttles(self) -> list[probes.SshuttleProcess]:
        """Running sshuttles of this network namespace, with their versions as far as they can be read."""
        found = probes.parse_sshuttle_processes(self.run("ps", "-axww", "-o", "pid=", "-o", "args=").stdout)
        if self.system == "Linux":
            # the process list has lost the quotes; /proc has not, and is empty for a process that has ended meanwhile
            exact = [(p, self.run("cat", f"/proc/{p.pid}/cmdline").stdout.replace("\n", " ")) for p in found if self._is_ours(p.pid)]
            found = [next(iter(probes.parse_sshuttle_processes(f"{p.pid} {line}")), p) for p, line in exact if line]
        return [replace(process, version=self._version(process)) for process in found]

    def _is_ours(self, pid: int) -> bool:
        lines = self.run_as_root("stat", "-L", "-c", "%i", "/proc/self/ns/net", f"/proc/{pid}/ns/net").stdout.split()
        return len(lines) < 2 or lines[0] == lines[1]  # another user's process does not say, and is taken as ours

    def _version(self, process: probes.SshuttleProcess) -> str | None:
        # Read from the package beside the program; it is not run to be asked: the path comes from the process list, in which anybody can
        # write anything, and we may be root.
        for path in (process.program, process.python):
            prefix = path.rpartition("/")[0].rpartition("/")[0] if path and path.startswith("/") else ""
            if not prefix:
                continue
            listed = self.run("find", f"{prefix}/lib", "-maxdepth", "3", "-name", "sshuttle-*-info")
            if version := probes.parse_python_metadata(listed.stdout):
                return version
        return None

    @cached_property
    def rules(self) -> Rules:
        rules: list[probes.Rule] = []
        read, refused = [], []
        for program, arguments, parse in (
            ("nft", ("list", "ruleset"), probes.parse_nft_rules),
            ("iptables-save", (), probes.parse_iptables_rules),
            ("ip6tables-save", (), probes.parse_iptables_rules),
        ):
            if program not in self.programs:
                continue
            outcome = self.run_as_root(program, *arguments)
            if outcome.ok:
                read.append(program)
                # the nft variant of iptables-save shows what nft has shown; only what nft does not see (iptables-legacy) is new
                rules += parse(outcome.stdout) if program == "nft" or "nft" not in read or "nf_tables" not in outcome.stdout else []
            else:
                refused.append(f"{program}: {outcome.complaint}")
        if "pfctl" in self.programs:
            anchors = self.run_as_root("pfctl", "-s", "Anchors", "-v")
            if anchors.ok:
                read.append("pfctl")
                for anchor in probes.parse_pf_anchors(anchors.stdout):
                    if anchor.startswith("sshuttle"):
                        for kind in ("nat", "rules"):
                            rules += probes.parse_pf_rules(self.run_as_root("pfctl", "-a", anchor, "-s", kind).stdout, anchor)
            else:
                refused.append(f"pfctl: {anchors.complaint}")
        return Rules(rules, tuple(read), tuple(refused))

    def resolve(self, name: str) -> tuple[str, ...]:
        """Addresses of a name as programs of this machine get them; empty if there are none."""
        if name not in self._resolved:
            if probes.is_address(name):
                self._resolved[name] = (name,)
            elif "dscacheutil" in self.programs:
                outcome = self.run("dscacheutil", "-q", "host", "-a", "name", name, timeout_s=RESOLVE_TIMEOUT_S)
                self._resolved[name] = probes.parse_dscacheutil(outcome.stdout)
            else:
                self._resolved[name] = probes.parse_getent(self.run("getent", "ahosts", name, timeout_s=RESOLVE_TIMEOUT_S).stdout)
        return self._resolved[name]

    @cached_property
    def _resolved(self) -> dict[str, tuple[str, ...]]:
        return {}


@dataclass
class Scene:
    """What is looked at: this machine, the VM if one was named and answers, the API's names, where recordings go."""

    here: Machine
    vm: Machine | None = None
    apis: tuple[str, ...] = ()
    apis_named: bool = False  # by the user; else they are the usual ones, and one that does not resolve is no loss
    directory: str = "."
    reached: Outcome | None = None  # how the first command on the VM ended
    target: str = ""  # the VM as the user named it
    problem: str = ""  # why there is no address to reach the VM at
    mend: str = ""


# --- checks -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """``mend`` is a command (or, where no command does it, a short sentence); empty if there is nothing to do."""

    status: Status
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """``on``: on which machines it is run: this one, the VM, or each."""

    id: str
    title: str
    on: Literal["here", "vm", "each"]
    run: Callable[[Machine, Scene], Result]


@dataclass(frozen=True)
class Row:
    """One line of the doctor's table."""

    id: str
    title: str
    where: str
    status: Status
    text: str
    mend: str = ""


CHECKS: list[Check] = []

Function = Callable[[Machine, Scene], Result]


def check(id: str, title: str, on: Literal["here", "vm", "each"] = "each") -> Callable[[Function], Function]:  # noqa: A002
    """Register a check; the order of this file is that of the table."""

    def register(function: Function) -> Function:
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", id) or any(known.id == id for known in CHECKS):
            raise ValueError(f"check {id!r}: an id is made of small letters and '-', and there is one check of each")
        CHECKS.append(Check(id, title, on, function))
        return function

    return register


OK: Status = "ok"
WARNING: Status = "warning"
MISSING: Status = "missing"
NOT: Status = "does not apply"


@check("ssh", "ssh to the VM", on="vm")
def _ssh(machine: Machine, scene: Scene) -> Result:
    outcome = scene.reached
    if scene.problem:
        return Result(MISSING, scene.problem, scene.mend)
    if outcome is None or not outcome.ok:
        text, mend = ssh_problem(outcome or Outcome(255, "", ""), scene.target, machine.ssh)
        return Result(MISSING, text, mend)
    return Result(OK, f"{outcome.stdout.strip()} answers without a password")


@check("tcpdump", "tcpdump")
def _tcpdump(machine: Machine, scene: Scene) -> Result:
    if "tcpdump" not in machine.programs:
        return Result(MISSING, "not installed", machine.install("tcpdump"))
    outcome = machine.run("tcpdump", "--version")
    said = (outcome.stdout + outcome.stderr).splitlines()
    return Result(OK, ", ".join(line.replace(" version ", " ") for line in said if re.match(r"(tcpdump|libpcap) version", line)))


@check("rights", "right to capture")
def _rights(machine: Machine, scene: Scene) -> Result:
    if "tcpdump" not in machine.programs:
        return Result(NOT, "no tcpdump")
    # -d opens the interface, which needs the right, prints the program of an empty filter, and ends
    argv = ("tcpdump", "-p", "-d", "-i", "lo0" if machine.system == "Darwin" else "any")
    outcome = machine.run(*argv)
    if outcome.ok:
        return Result(
            OK, "root" if machine.is_root else "tcpdump has it (capabilities)" if machine.system == "Linux" else "/dev/bpf is open"
        )
    if machine.sudo and machine.run("sudo", "-n", *argv).ok:
        return Result(OK, "sudo without a password")
    if machine.is_root:
        return Result(MISSING, f"not even root may: {outcome.complaint}", "give the container or jail the capability NET_RAW")
    mend = (
        "sudo chgrp admin /dev/bpf* && sudo chmod g+rw /dev/bpf*"
        if machine.system == "Darwin"
        else f"sudo setcap cap_net_raw,cap_net_admin=eip {shlex.quote(machine.programs['tcpdump'])}"
    )
    return Result(MISSING, "not root, no sudo without a password, no capabilities", mend)


@check("interfaces", "interfaces")
def _interfaces(machine: Machine, scene: Scene) -> Result:
    up = [i for i in machine.interfaces if i.up]
    if not machine.interfaces:
        return Result(WARNING, "could not be listed", machine.install("ip") if machine.system == "Linux" else "")
    outside = [i for i in up if not i.name.startswith("lo") and (i.addresses or machine.system == "Linux")]
    if not outside:
        return Result(MISSING, "only loopback is up", f"ip link set {shlex.quote(machine.interfaces[-1].name)} up")
    shown = [f"{i.name} {_few([a for a in i.addresses if not a.startswith('fe80')] or list(i.addresses), 2)}".strip() for i in outside]
    loopback = "lo0" if machine.system == "Darwin" else "lo"
    return Result(OK, f"{_few(shown, 4)}; a tunnel's traffic is on {loopback}, so record {'pktap,all' if loopback == 'lo0' else 'any'}")


@check("sockets", "owners of sockets")
def _sockets(machine: Machine, scene: Scene) -> Result:
    if "ss" not in machine.programs and "lsof" not in machine.programs:
        mend = machine.install("ss" if machine.system == "Linux" else "lsof")
        return Result(WARNING, "neither ss nor lsof: a recording will not say whose connections they are", mend)
    program = "ss" if "ss" in machine.programs else "lsof"
    if machine.is_root or machine.sudo:
        return Result(OK, program)
    return Result(WARNING, f"{program}, but only root sees processes of other users", "sudo -v")


@check("snaplen", "snaplen")
def _snaplen(machine: Machine, scene: Scene) -> Result:
    return Result(
        OK,
        f"{SNAPLEN:,} bytes keep packets whole; ClientHellos need about 2,000, and with --headers-only ({SNAPLEN_HEADERS}) names, requests "
        "and pairing through a tunnel cannot be told",
    )


@check("buffer", "kernel buffer")
def _buffer(machine: Machine, scene: Scene) -> Result:
    wanted = BUFFER_KIB * 1024
    shown = f"{BUFFER_KIB // 1024} MiB"
    if machine.system == "Darwin":
        limit = machine.run("sysctl", "-n", "debug.bpf_maxbufsize").stdout.strip()
        if not limit.isdigit():
            return Result(WARNING, "its limit could not be read (sysctl debug.bpf_maxbufsize)")
        if int(limit) < wanted:
            text = f"the kernel gives a capture at most {size(int(limit))}; {shown} lose nothing at hundreds of packets per second"
            return Result(WARNING, text, f"sudo sysctl debug.bpf_maxbufsize={wanted}")
        return Result(OK, f"-B {BUFFER_KIB} ({shown}) is within the limit")
    found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB", machine.run("cat", "/proc/meminfo").stdout)
    if found and int(found[1]) * 1024 < 4 * wanted:
        text = f"{size(int(found[1]) * 1024)} of memory are free; a capture's buffer takes {shown}, and with less it loses packets"
        return Result(WARNING, text, "end programs that need much memory before recording")
    return Result(OK, f"-B {BUFFER_KIB} ({shown}); tcpdump's own 2 MiB lose packets at a few hundred per second")


@check("disk", "disk space", on="here")
def _disk(machine: Machine, scene: Scene) -> Result:
    directory = os.path.abspath(scene.directory)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    free = shutil.disk_usage(directory).free
    if not os.access(directory, os.W_OK | os.X_OK):
        return Result(MISSING, f"{directory} cannot be written to", "choose another folder: netlens capture -w DIR")
    # An hour of a streaming API client is some 10 MB; both captures of a whole machine that downloads may be 100 MB a minute.
    text = f"{size(free)} free in {directory}"
    if free < 200_000_000:
        return Result(MISSING, text, f"make room, or choose another folder: netlens capture -w DIR (df -h {shlex.quote(directory)})")
    if free < 2_000_000_000:
        return Result(
            WARNING,
            f"{text}: enough with the filter that is made for the API, not with --everything",
            "netlens capture --rotate-mb 100 --keep 5",
        )
    return Result(OK, text)


@check("tshark", "tshark", on="here")
def _tshark(machine: Machine, scene: Scene) -> Result:
    if "tshark" not in machine.programs:
        return Result(WARNING, "not installed: everything works but decryption with a key log", machine.install("tshark"))
    version = re.search(r"TShark \(Wireshark\) (\d+(?:\.\d+)*)", machine.run("tshark", "--version").stdout)
    return Result(OK, f"tshark {version[1] if version else 'of unknown version'}")


@check("clock", "clock")
def _clock(machine: Machine, scene: Scene) -> Result:
    state = None
    if "chronyc" in machine.programs:
        state = probes.parse_chronyc(machine.run("chronyc", "-n", "tracking").stdout)
    if state is None and "timedatectl" in machine.programs:
        state = probes.parse_timedatectl(machine.run("timedatectl", "show").stdout)
    if state is None and "systemsetup" in machine.programs:
        state = probes.parse_systemsetup(machine.run_as_root("systemsetup", "-getusingnetworktime").stdout)
    if state is None and "chronyc" in machine.programs:
        start = "sudo systemctl start chrony" if "timedatectl" in machine.programs else "sudo chronyd"
        return Result(WARNING, "chrony is installed, but does not run or does not say", start)
    if state is None:
        mend = machine.install("chronyc") if machine.system == "Linux" else "sudo systemsetup -setusingnetworktime on"
        return Result(
            WARNING, "nobody says whether it is kept; recordings of both sides are still put on one time line by their packets", mend
        )
    if state.synchronised is False:
        mend = {
            "chrony": "sudo chronyc makestep",
            "timed": "sudo systemsetup -setusingnetworktime on",
        }.get(state.keeper, "sudo timedatectl set-ntp true")
        return Result(WARNING, f"not synchronised ({state.keeper})", mend)
    off = (
        f", {_span(state.offset_s)} off, within {_span(state.bound_s)}" if state.offset_s is not None and state.bound_s is not None else ""
    )
    return Result(OK, f"synchronised by {state.keeper}{off}")


@check("clock-offset", "clock of the VM", on="vm")
def _clock_offset(machine: Machine, scene: Scene) -> Result:
    trips = clock_trips(machine)
    if not trips:
        return Result(WARNING, "date on the VM gave no time to compare with")
    low, high = offset_bounds(trips)
    if low > high:
        return Result(
            WARNING, "one of the clocks was set while they were compared: no offset explains all answers", "run netlens doctor again"
        )
    text = f"VM minus this machine: between {_span(low, True)} and {_span(high, True)} ({plural(len(trips), 'round trip')} by ssh)"
    if low > 1 or high < -1:
        return Result(
            WARNING, f"{text}; recordings are put on one time line by their packets, error logs read wrongly by eye", _set_clock(machine)
        )
    return Result(OK, text)


def _set_clock(machine: Machine) -> str:
    if "chronyc" in machine.programs:
        return "sudo chronyc makestep"
    return "sudo timedatectl set-ntp true" if "timedatectl" in machine.programs else "sudo systemsetup -setusingnetworktime on"


@check("routes", "routes")
def _routes(machine: Machine, scene: Scene) -> Result:
    defaults = [r for r in machine.routes if r.destination in ("default", "0/1", "0.0.0.0/1", "::/0", "0.0.0.0/0")]
    if not defaults:
        return Result(WARNING, "no default route: only neighbours can be reached" if machine.routes else "could not be listed")
    shown = _few(
        [f"{'default' if '/' not in r.destination else r.destination} by {r.gateway or r.interface} ({r.interface})" for r in defaults], 2
    )
    if machine.sshuttles and any(p.method == "tproxy" for p in machine.sshuttles):
        if 1 not in probes.parse_fwmark_rules(machine.run("ip", "rule").stdout):
            mend = "sudo ip route add local default dev lo table 100 && sudo ip rule add fwmark 0x1 lookup 100"
            return Result(MISSING, f"{shown}; sshuttle's tproxy needs a routing table for marked packets, and there is none", mend)
        return Result(OK, f"{shown}; marked packets have sshuttle's table")
    tunnels = [r.interface for r in defaults if r.interface and re.match(r"(utun|tun|tap|wg|ppp|ipsec)\d*", r.interface)]
    if tunnels:
        return Result(WARNING, f"{shown}: {_few(tunnels, 3)} looks like a VPN; the provider then sees its address, not this network's")
    return Result(OK, f"{shown}; sshuttle makes no routes, see its redirect rules" if machine.sshuttles else shown)


@check("proxy", "HTTP proxy")
def _proxy(machine: Machine, scene: Scene) -> Result:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    given = {}
    if machine.run("printenv", *names).stdout.strip():
        given = {name: value for name in names if (value := machine.run("printenv", name).stdout.strip())}
    mine = f"; {machine.programs['proxy-status']} says more" if "proxy-status" in machine.programs else ""
    if not given:
        return Result(OK, f"none in the environment{' of a command by ssh' if machine.ssh else ''}{mine}")
    # its value may hold a password: only the host is shown
    hosts = sorted({re.sub(r"^.*?://|^.*@|/.*$", "", value.rpartition("@")[2]) for value in given.values()})
    text = (
        f"{_few(list(given), 2)} is set ({_few(hosts, 2)}): programs that obey it connect to the proxy, and no API connection is seen here"
    )
    return Result(WARNING, text, f"unset {' '.join(given)}")


@check("sshuttle", "sshuttle")
def _sshuttle(machine: Machine, scene: Scene) -> Result:
    if not machine.sshuttles:
        if machine is scene.here:
            return Result(NOT, "none runs here" + (": a tunnel starts in the VM" if scene.vm or scene.target else ""))
        return Result(WARNING, "none runs: connections leave by NAT; start it first if the tunnel is what you ask about")
    texts = []
    for process in machine.sshuttles:
        method = process.method
        if method == "auto" and (chosen := _chosen_method(machine)):
            method = f"{chosen} (chosen by itself)"
        ports = ", ".join(str(p) for p in process.listen_ports or _listening(machine, process.pid))
        texts.append(
            f"{_version(machine, process)}, method {method}"
            + (f", to {process.remote}" if process.remote else "")
            + (f", listens on {ports}" if ports else "")
            + (", with DNS" if process.dns else ", without DNS")
            + (", --auto-hosts adds lookups of its own on the host" if process.auto_hosts else "")
        )
    if len(texts) > 1:
        if not (machine.is_root or machine.sudo):  # nor can it be told whether they are of this network namespace
            return Result(WARNING, f"{len(texts)} run at once, some perhaps in containers: {'; '.join(texts)}")
        return Result(WARNING, f"{len(texts)} run at once: {'; '.join(texts)}", f"sudo kill {machine.sshuttles[0].pid}")
    return Result(OK, texts[0])


def _version(machine: Machine, process: probes.SshuttleProcess) -> str:
    if process.version:
        return process.version
    if "sshuttle" in machine.programs and (found := re.search(r"\d+\.\d+[\w.]*", machine.run("sshuttle", "--version").stdout)):
        return f"{found[0]} (the one installed; the running one does not say)"
    return "version unknown"


def _chosen_method(machine: Machine) -> str | None:
    for rule in machine.rules.rules:
        if rule.table.startswith(("inet sshuttle", "ip sshuttle")):
            return "nft"
        if "mangle sshuttle" in rule.table:
            return "tproxy"
        if "nat sshuttle" in rule.table:
            return "nat"
        if rule.table.startswith("sshuttle"):
            return "pf"
    return None


def _listening(machine: Machine, pid: int) -> list[int]:
    if "ss" in machine.programs:
        sockets = probes.parse_ss(machine.run_as_root("ss", "-Htulnp").stdout)
    else:
        sockets = probes.parse_lsof(machine.run_as_root("lsof", "-nP", "-i", "-F", "pcfPnT").stdout)
    return sorted({s.local_port for s in sockets if s.pid == pid and s.remote_port is None}, reverse=True)


@check("redirects", "redirect rules")
def _redirects(machine: Machine, scene: Scene) -> Result:
    rules = machine.rules
    if not rules.read:
        if not rules.refused:
            why = "no program here shows them (nft, iptables-save, pfctl)"
            return Result(WARNING, why, machine.install("nftables")) if machine.sshuttles else Result(NOT, why)
        if machine.is_root or machine.sudo:
            return Result(WARNING, f"could not be read ({_few(list(rules.refused), 1)})")
        text = f"only root may read them ({_few([said.partition(':')[0] for said in rules.refused], 3)})"
        if not machine.sshuttles and not machine.ssh:
            return Result(NOT, f"no sshuttle runs here, and {text}")
        return Result(WARNING, text, "" if machine.ssh else "sudo -v && netlens doctor")
    ports = rules.ports
    dns = [r for r in rules.rules if r.redirects and r.protocol == "udp" and (53, 53) in r.ports]
    tables = list(dict.fromkeys(r.table for r in rules.rules if r.redirects))
    by = f"read with {_few(list(rules.read), 3)}"
    if not ports:
        if machine.sshuttles:
            return Result(MISSING, f"sshuttle runs, but nothing is redirected to it ({by})", "stop sshuttle and start it again")
        return Result(OK if scene.vm else NOT, f"none: connections leave as they are ({by})")
    text = f"to {'port' if len(ports) == 1 else 'ports'} {', '.join(map(str, ports))} ({_few(tables, 2)}){'; DNS too' if dns else ''}"
    if not machine.sshuttles and any("sshuttle" in table for table in tables):
        return Result(WARNING, f"{text}, but no sshuttle runs: what is redirected is refused", _remove(machine, tables))
    return Result(OK, text)


def _remove(machine: Machine, tables: list[str]) -> str:
    if tables[0].startswith("inet "):
        return f"sudo nft delete table {shlex.join(tables[0].split()[:2])}"
    if tables[0].startswith("sshuttle"):
        return f"sudo pfctl -a {shlex.quote(tables[0].split()[0])} -F all"
    return "start sshuttle and stop it with Ctrl-C: it removes its rules"


@check("names", "API names")
def _names(machine: Machine, scene: Scene) -> Result:
    if not scene.apis:
        return Result(NOT, "no API was named", "netlens doctor --api api.z.ai")
    found = {name: machine.resolve(name) for name in scene.apis}
    lost = [name for name, addresses in found.items() if not addresses]
    servers = _few(list(machine.resolver.nameservers), 2)
    asked = f"{'asked ' + servers if servers else 'no name server is configured'}"
    if len(lost) == len(found):
        status = MISSING if scene.apis_named else WARNING
        return Result(status, f"{_few(lost, 3)}: no address ({asked})", _look_up(machine, lost[0]))
    text = "; ".join(f"{name} is {_few(list(addresses), 3)}" for name, addresses in found.items() if addresses)
    if lost and scene.apis_named:
        return Result(MISSING, f"{_few(lost, 3)}: no address ({asked}); {text}", _look_up(machine, lost[0]))
    if machine is not scene.here and (apart := [n for n in found if set(found[n]) != set(scene.here.resolve(n))]):
        # more than a nuisance only where addresses were written down: netlens capture resolves on each side
        return Result(
            WARNING, f"{text}; the other machine gets other addresses for {_few(apart, 3)}: a filter needs those of both ({asked})"
        )
    return Result(OK, f"{text} ({asked})")


def _look_up(machine: Machine, name: str) -> str:
    return f"dscacheutil -q host -a name {name}" if "dscacheutil" in machine.programs else f"getent ahosts {name}"


@check("excludes", "excludes")
def _excludes(machine: Machine, scene: Scene) -> Result:
    if not machine.sshuttles:
        return Result(NOT, "no sshuttle runs")
    process = machine.sshuttles[0]
    excludes = [subnet for text in process.excludes if (subnet := probes.parse_subnet(text)) is not None]
    named = [subnet for subnet in excludes if subnet.is_name]
    wanted = [(name, address) for name in scene.apis for address in machine.resolve(name)]
    wanted += [(s.text, a) for s in named for a in machine.resolve(s.host) if (s.host, a) not in wanted]
    if not wanted:
        return Result(NOT, "no name that could be excluded has an address")
    restart = f"restart sshuttle: -x is resolved once, when it starts (now: {' '.join('-x ' + s.text for s in excludes)})"
    pf = process.method == "pf" or (process.method == "auto" and machine.system == "Darwin")
    if not any("sshuttle" in rule.table for rule in machine.rules.rules):
        return _excludes_unread(process, excludes, wanted, pf, restart)
    ports = {s.text: s.ports[0] for s in named if s.ports}
    direct: list[tuple[str, str]] = []
    tunnelled: list[tuple[str, str]] = []
    for name, address in wanted:
        rule = probes.redirected(machine.rules.rules, address, ports.get(name, API_PORT))
        (direct if rule is None else tunnelled).append((name, address))
    dead = sorted({name for name, _ in tunnelled if name in {s.text for s in named} or name in {s.host for s in named}})
    covered = sorted({s.text for s in excludes if any(s.covers(a, API_PORT) for _, a in tunnelled)})
    if covered:
        why = (
            " (sshuttle 2.0.0's pf rules take everything before they come to the excludes)"
            if pf and (process.version or "2.0.0") == "2.0.0"
            else ""
        )
        return Result(
            WARNING, f"dead: -x {_few(covered, 3)} has no effect{why}", "use sshuttle 1.3.2, or --method other than pf" if pf else restart
        )
    if dead:
        moved = _few(sorted({address for name, address in tunnelled if name in dead}), 3)
        return Result(WARNING, f"dead: {_few(dead, 3)} is now {moved}, which goes through the tunnel", restart)
    if direct and tunnelled:
        text = f"{_few(_distinct(direct), 3)} goes out directly, {_few(_distinct(tunnelled), 3)} through the tunnel"
        half = sorted({n for n, _ in direct} & {n for n, _ in tunnelled})
        if half:
            return Result(WARNING, f"{_few(half, 3)} goes both ways: {text}", restart)
        return Result(OK, text)
    if tunnelled:
        return Result(OK, f"{_few(_distinct(tunnelled), 3)} goes through the tunnel; no exclude is meant for it")
    return Result(OK, f"effective: {_few(_distinct(direct), 3)} goes out directly")


def _excludes_unread(
    process: probes.SshuttleProcess, excludes: list[probes.Subnet], wanted: list[tuple[str, str]], pf: bool, restart: str
) -> Result:
    """What can be said of excludes when the rules cannot be read: only what stands on the command line."""
    if pf and (process.version or "2.0.0") == "2.0.0" and excludes:
        known = "sshuttle 2.0.0" if process.version else "sshuttle of unknown version (2.0.0?)"
        return Result(
            WARNING, f"{known} with pf seems to disable all excludes by the order of its rules; only root can see the rules", "sudo -v"
        )
    covered = [name for name, address in wanted if any(s.covers(address, API_PORT) for s in excludes)]
    named = [s.text for s in excludes if s.is_name]
    if named:
        return Result(
            WARNING, f"{_few(named, 3)}: resolved when sshuttle started; only root can see whether its addresses still hold", restart
        )
    if covered:
        return Result(OK, f"{_few(sorted(set(covered)), 3)} is excluded by address")
    more = "; a file with more of them was given (-X or @), which is not read" if process.excludes_elsewhere else ""
    return Result(OK, f"{_few(_distinct(wanted), 3)} is not excluded: it goes through the tunnel{more}")


# --- parts of checks --------------------------------------------------------------------------------------------------------------------


def _few(items: list[str], most: int) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _distinct(pairs: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for name, _ in pairs))


def _span(seconds: float, sign: bool = False) -> str:
    """Seconds in a unit that leaves digits before the point."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(seconds) * factor >= 1 or unit == "us":
            return f"{seconds * factor:{'+' if sign else ''}.3g} {unit}"
    raise AssertionError


@dataclass(frozen=True)
class Trip:
    """One question for the time: sent and answered on our clock, and what the other clock said, within ``resolution_ns``."""

    sent_ns: int
    answered_ns: int
    theirs_ns: int
    resolution_ns: int


_TELL_TIME = "while read -r question; do date +%s.%N; done"
TRIPS = 8  #: the bounds are as good as the quickest of them; more than eight gain little


def clock_trips(machine: Machine, trips: int = TRIPS) -> list[Trip]:
    """Ask the machine's ``date`` for the time a few times over one connection."""
    found: list[Trip] = []

    def talk(stdin: IO[bytes], stdout: IO[bytes]) -> None:
        for _ in range(trips):
            sent = time.time_ns()
            stdin.write(b"?\n")
            line = b""
            while not line.endswith(b"\n") and len(line) < 64 and (part := stdout.read(64)):
                line += part
            answered = time.time_ns()
            # where date knows no %N (older macOS) it leaves the letter, and seconds are all there is
            if (answer := re.match(rb"(\d{9,11})\.(\d{9})?", line)) is None:
                return
            theirs = int(answer[1]) * 1_000_000_000 + int(answer[2] or 0)
            found.append(Trip(sent, answered, theirs, 1 if answer[2] else 1_000_000_000))

    machine.run("sh", "-c", _TELL_TIME, talk=talk)
    return found


def offset_bounds(trips: Sequence[Trip]) -> tuple[float, float]:
    """Their clock minus ours, in seconds: no less and no more than this, whatever the delays each way.

    Their time was told between ``sent`` and ``answered``; so the offset is at least theirs minus answered, at most theirs minus sent. Each trip
    gives such an interval and all hold, so the result is their intersection; empty (low > high) if a clock was set meanwhile.
    """
    low = max(trip.theirs_ns - trip.answered_ns for trip in trips)
    high = min(trip.theirs_ns + trip.resolution_ns - trip.sent_ns for trip in trips)
    return low / 1e9, high / 1e9


def ssh_problem(outcome: Outcome, target: str, ssh: Sequence[str]) -> tuple[str, str]:
    """What a failed ssh means, and the command that mends it."""
    host = shlex.quote(target)
    said = outcome.stderr
    if outcome.status == 127:
        return "no ssh on this machine", "install an OpenSSH client"
    for pattern, text, mend in (
        (
            r"REMOTE HOST IDENTIFICATION HAS CHANGED",
            "the host key is another than last time (a new VM at an old address?)",
            f"ssh-keygen -R {_host(target)}",
        ),
        (r"Host key verification failed|No .* host key is known", "the host key is not known yet", f"ssh {host}"),
        (r"Permission denied|Too many authentication", "it asks for a password, or refuses our keys", f"ssh-copy-id {host}"),
        (
            r"Could not resolve|Name or service not known",
            "the name has no address",
            "name the VM by its address, or give it an alias in ~/.ssh/config",
        ),
        (
            r"Connection refused",
            "no ssh server listens there",
            "start it on the VM (Linux: sudo systemctl start ssh; macOS: sudo systemsetup -setremotelogin on)",
        ),
        (r"timed out|No route to host|unreachable|took longer", "no answer", f"ping -c 3 {_host(target)}"),
    ):
        if re.search(pattern, said):
            return text, mend
    return outcome.complaint, shlex.join([*ssh[:1], "-v", "--", target, "true"]) if ssh else f"ssh -v -- {host} true"


def _host(target: str) -> str:
    return shlex.quote(target.rpartition("@")[2])


# --- the whole --------------------------------------------------------------------------------------------------------------------------

_SSH_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_TIMEOUT_S}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
    "ControlMaster=auto",
    "ControlPersist=60",
    *SSH_LENDS_NOTHING,
)


def ssh_command(target: str, folder: str, ssh: Sequence[str] = ("ssh",)) -> list[str]:
    """The argument list before a command on the VM; one connection, kept in ``folder``, serves all commands."""
    options = [word for option in (*_SSH_OPTIONS, f"ControlPath={folder}/s") for word in ("-o", option)]
    return [*ssh, *options, "-T", "-e", "none", "--", check_host(target)]


@contextlib.contextmanager
def look_at(vm: str | None, apis: Sequence[str], apis_named: bool, directory: str = ".", ssh: Sequence[str] = ("ssh",)) -> Iterator[Scene]:
    """The scene of an examination; a connection to the VM lives as long as it.

    Raises
    ------
    CaptureError
        the VM or an API is named in a way that cannot be meant (a host that begins with ``-``).
    """
    scene = Scene(Machine("here"), None, tuple(check_api(a) for a in apis), apis_named, directory)
    if vm is None:
        yield scene
        return
    scene.target = vm
    tart = tart_name(vm)
    if tart is None:
        check_host(vm)
    folder = tempfile.mkdtemp(prefix="netlens-")  # 0700; short, as a socket's path may have no more than 104 bytes on macOS
    try:
        if tart is not None:
            outcome = run(["tart", "ip", tart], COMMAND_TIMEOUT_S)
            address = probes.parse_tart_ip(outcome.stdout)
            if address is None:
                scene.problem = (
                    "tart is not installed" if outcome.status == 127 else f"tart gives no address for {tart}: {outcome.complaint}"
                )
                scene.mend = "brew install cirruslabs/cli/tart" if outcome.status == 127 else f"tart run {shlex.quote(tart)}"
                scene.vm = Machine("vm")
                yield scene
                return
            user = vm.rpartition("@")[0] or TART_USER
            scene.target = f"{user}@{address}"
        argv = ssh_command(scene.target, folder, ssh)
        scene.vm = Machine("vm", argv)
        scene.reached = scene.vm.run("uname", "-n")
        try:
            yield scene
        finally:
            run([*argv[:-2], "-O", "exit", *argv[-2:]], COMMAND_TIMEOUT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def examine(scene: Scene, checks: Sequence[Check] | None = None, progress: Callable[[str], None] = lambda title: None) -> list[Row]:
    """Every check on every machine it is for, this machine first; of a VM that does not answer only ``ssh`` is asked."""
    checks = CHECKS if checks is None else checks
    reachable = scene.reached is not None and scene.reached.ok
    rows = []
    for where in ("here", "vm"):
        for check in checks:
            if check.on not in (where, "each") or (scene.vm is None and where == "vm" and check.on != "vm"):
                continue
            machine = scene.here if where == "here" else scene.vm
            if machine is None:
                result = Result(NOT, "no VM was named (--vm)")
            elif where == "vm" and check.id != "ssh" and not reachable:
                result = Result(NOT, "the VM does not answer")
            else:
                progress(check.title)
                result = check.run(machine, scene)
            mend = result.mend
            if machine is not None and "sudo " in mend and machine.is_root:
                mend = re.sub(r"\bsudo ", "", mend)  # root has no use for it, and often not got it
            rows.append(Row(check.id, check.title, where, result.status, result.text, mend))
    return rows
