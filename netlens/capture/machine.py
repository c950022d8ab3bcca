"""A machine that can be asked: this one, one of the laboratory's namespaces, or a VM behind ssh.

The recorder, the manifest and the doctor all ask here, and here only. What needs no rights is asked once, by the script of :mod:`netlens.capture.facts`;
redirect rules, whose sockets are whose, and the addresses of a name are asked for when somebody wants them. Rights come from root or ``sudo -n``, and
are used only to read. Nothing is changed, and nobody is contacted but the VM and the system's own resolver.

*Limits*: a process of another network namespace (a container) is left out of :attr:`Machine.tunnels`, as its traffic takes another way; where its owner
is another user and there are no rights, that cannot be told, and it is taken as ours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING

from netlens.addresses import is_address
from netlens.capture import facts
from netlens.capture.command import tart_name
from netlens.capture.processes import COMMAND_TIMEOUT_S, SYSTEM_PATH, Outcome, Talk, run
from netlens.capture.programs import iptables, network, nft, pf, sockets, sshuttle
from netlens.errors import CaptureError

if TYPE_CHECKING:
    from netlens.capture.programs.rules import Rule

CONNECT_TIMEOUT_S = 10  #: what ssh may take on top of a command
FACTS_TIMEOUT_S = 60.0  #: for the whole script: several name lookups, each of which may wait for a name server
RESOLVE_TIMEOUT_S = 5  #: the resolver's own first time-out: a name that takes longer will trouble the program as well
#: A command by ssh gets hardly any PATH and, maybe, this user's language.
_FAR = ("sh", "-c", f'PATH=$PATH:{SYSTEM_PATH} LC_ALL=C; export PATH LC_ALL; exec "$@"', "sh")

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

    rules: list[Rule]
    read: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def ports(self) -> list[int]:
        return sorted({rule.to_port for rule in self.rules if rule.redirects and rule.to_port is not None}, reverse=True)


@dataclass(frozen=True)
class Trip:
    """One question for the time: sent and answered on our clock, and what the other clock said, within ``resolution_ns``."""

    sent_ns: int
    answered_ns: int
    theirs_ns: int
    resolution_ns: int


class Machine:
    """A machine, and what it says of itself; each fact is asked for once.

    where : its name in messages: here, vm, host.
    wrap : makes the argument list that runs a command there; for ssh and namespaces. Default: this machine.
    far : ``wrap`` goes through ssh, so commands get a PATH of the system's own, and more time.
    """

    def __init__(self, where: str, wrap: Callable[[list[str]], list[str]] = list, *, far: bool = False):
        self.where, self.wrap, self.far = where, wrap, far
        self._resolved: dict[str, tuple[str, ...]] = {}

    def run(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, given: str = "", talk: Talk | None = None) -> Outcome:
        """Run a command there, without a terminal."""
        if not self.far:
            return run(self.wrap([*argv]), timeout_s, given, talk)
        return run(self.wrap([*_FAR, *argv]), timeout_s + CONNECT_TIMEOUT_S, given, talk)

    def run_as_root(self, *argv: str) -> Outcome:
        """Run a command with rights where there are any (root, ``sudo -n``), else without."""
        return self.run(*(("sudo", "-n") if self.sudo else ()), *argv)

    def install(self, program: str) -> str:
        """The command that installs a program."""
        manager = next((m for m in ("apt-get", "dnf", "brew") if m in self.programs), None)
        package = _PACKAGES.get(program, {}).get(manager or "", program)
        if manager is None:
            return f"install {package} with the package manager of the system"
        return f"{'' if manager == 'brew' or self.is_root else 'sudo '}{manager} install {package}"

    # --- what needs no rights

    def learn(self, names: Sequence[str] = ()) -> facts.Facts:
        """What the machine says now, with the addresses of ``names``. CaptureError if its shell does not answer."""
        outcome = self._ask(names)
        found = facts.parse(facts.said(outcome.stdout))
        if not found.system:
            said = outcome.stderr.strip().splitlines()
            raise CaptureError(f"{self.where}: its shell answers nothing ({said[-1] if said else f'status {outcome.status}'})")
        return found

    def _ask(self, names: Sequence[str] = ()) -> Outcome:
        return self.run("sh", "-s", "--", *names, timeout_s=FACTS_TIMEOUT_S, given=facts.SCRIPT)

    @cached_property
    def said(self) -> dict[str, str]:
        """What each command of the script printed, as it is; empty if the machine does not answer."""
        return facts.said(self._ask().stdout)

    @cached_property
    def facts(self) -> facts.Facts:
        return facts.parse(self.said)

    @property
    def system(self) -> str:
        """``Linux``, ``Darwin``, ..."""
        return self.facts.system or "unknown"

    @property
    def programs(self) -> dict[str, str]:
        return self.facts.programs

    @property
    def is_root(self) -> bool:
        return self.facts.root

    def resolve(self, name: str) -> tuple[str, ...]:
        """Addresses of a name as programs of this machine get them; empty if there are none."""
        if name not in self._resolved:
            argv = ("dscacheutil", "-q", "host", "-a", "name", name) if "dscacheutil" in self.programs else ("getent", "ahosts", name)
            found = [name] if is_address(name) else network.parse_addresses(self.run(*argv, timeout_s=RESOLVE_TIMEOUT_S).stdout)
            self._resolved[name] = tuple(found)
        return self._resolved[name]

    # --- what needs them, or is more than a line of the script

    @cached_property
    def sudo(self) -> bool:
        """Whether rights come from ``sudo`` without a password."""
        return not self.is_root and "sudo" in self.programs and self.run("sudo", "-n", "true").ok

    @cached_property
    def tunnels(self) -> list[sshuttle.SshuttleProcess]:
        """Running sshuttles of this network namespace, with their versions as far as they can be read."""
        return [replace(t, version=self._version(t)) for t in self.facts.tunnels if self.system != "Linux" or self._is_ours(t.pid)]

    def _is_ours(self, pid: int) -> bool:
        numbers = self.run_as_root("stat", "-L", "-c", "%i", "/proc/self/ns/net", f"/proc/{pid}/ns/net", f"/proc/{pid}").stdout.split()
        # another user's process does not say, and is taken as ours; one that has ended meanwhile is not even there
        return numbers[0] == numbers[1] if len(numbers) == 3 else len(numbers) != 1

    def _version(self, process: sshuttle.SshuttleProcess) -> str | None:
        # Read from the package beside the program; it is not run to be asked: the path comes from the process list, in which anybody can
        # write anything, and we may be root.
        for path in (process.program, process.python):
            prefix = path.rpartition("/")[0].rpartition("/")[0] if path and path.startswith("/") else ""
            if not prefix:
                continue
            listed = self.run("find", f"{prefix}/lib", "-maxdepth", "3", "-name", "sshuttle-*-info")
            if version := sshuttle.parse_python_metadata(listed.stdout):
                return version
        return None

    def listening(self, pid: int) -> list[int]:
        """Ports on which a process serves."""
        argv = ("ss", "-Htulnp") if "ss" in self.programs else ("lsof", "-nP", "-i", "-F", "pcfPnT")
        found = sockets.parse_sockets(self.run_as_root(*argv).stdout)
        return sorted({s.local_port for s in found if s.pid == pid and s.remote_port is None}, reverse=True)

    @cached_property
    def rules(self) -> Rules:
        """Redirect rules, of every program that shows some."""
        found: list[Rule] = []
        read, refused = [], []
        for argv, parse in (
            (("nft", "list", "ruleset"), nft.parse_nft_rules),
            (("iptables-save",), iptables.parse_iptables_rules),
            (("ip6tables-save",), iptables.parse_iptables_rules),
            (("pfctl", "-s", "Anchors", "-v"), self._pf_rules),
        ):
            program = argv[0]
            if program not in self.programs:
                continue
            outcome = self.run_as_root(*argv)
            if not outcome.ok:
                refused.append(f"{program}: {outcome.complaint}")
                continue
            read.append(program)
            # the nft variant of iptables-save shows what nft has shown; only what nft does not see (iptables-legacy) is new
            if not (program.startswith("ip") and "nft" in read and "nf_tables" in outcome.stdout):
                found += parse(outcome.stdout)
        return Rules(found, tuple(read), tuple(refused))

    def _pf_rules(self, text: str) -> list[Rule]:
        anchors = [anchor for anchor in pf.parse_pf_anchors(text) if anchor.startswith("sshuttle")]
        shown = [(self.run_as_root("pfctl", "-a", anchor, "-s", kind).stdout, anchor) for anchor in anchors for kind in ("nat", "rules")]
        return [rule for text, anchor in shown for rule in pf.parse_pf_rules(text, anchor)]

    # --- its clock

    def clock_trips(self, trips: int) -> list[Trip]:
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
                if (theirs := facts.parse_time(line.decode("ascii", "replace"))) is None:
                    return
                # where date knows no %N (older macOS) it leaves the letter, and seconds are all there is
                exact = re.match(rb"\d+\.\d{9}", line) is not None
                found.append(Trip(sent, answered, theirs, 1 if exact else 1_000_000_000))

        self.run("sh", "-c", "while read -r question; do date +%s.%N; done", talk=talk)
        return found

    def read_clock(self) -> dict[str, int]:
        """This machine's clock between two readings of ours: it is ahead of ours by between ``time - after`` and ``time - before``; empty without answer."""
        return next(
            ({"before_ns": t.sent_ns, "time_ns": t.theirs_ns, "after_ns": t.answered_ns} for t in self.clock_trips(1)),
            {},
        )


# --- the VM's address ---------------------------------------------------------------------------------------------------------------------

TART_USER = "admin"  #: of tart's published images; another is named as USER@tart:NAME


def tart_address(target: str, tart: Sequence[str] = ("tart",)) -> tuple[str | None, Outcome]:
    """``USER@ADDRESS`` of a VM that is named as ``[USER@]tart:NAME``, None if tart gives none (it is not running, or has no lease yet), and what tart said."""
    outcome = run([*tart, "ip", tart_name(target) or ""])
    address = next((line.strip() for line in outcome.stdout.splitlines() if is_address(line.strip())), None)
    return f"{target.rpartition('@')[0] or TART_USER}@{address}" if outcome.ok and address else None, outcome
