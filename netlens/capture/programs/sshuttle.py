"""Running sshuttles and what their command lines say.

Command lines hold passwords and keys: :func:`parse_sshuttle_processes` keeps the options it knows to be harmless and drops the rest, a password
before the ``@`` of ``-r`` among them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from netlens.capture.programs._reading import is_number, network_of


@dataclass(frozen=True, slots=True)
class Subnet:
    """A network as sshuttle's command line writes it: ``host[/width][:port[-port]]``, where the host may be a name."""

    text: str
    host: str
    width: int | None
    ports: tuple[int, int] | None

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, which sshuttle resolved once, when it started."""
        return network_of(self.host) is None

    def covers(self, ip: str, port: int) -> bool:
        """Whether a connection to ``ip:port`` is meant; never for a name, whose addresses at that time nobody knows."""
        if self.is_name:
            return False
        network = ipaddress.ip_network(f"{self.host}/{self.width}" if self.width is not None else self.host, strict=False)
        address = ipaddress.ip_address(ip)
        return address.version == network.version and address in network and (self.ports is None or self.ports[0] <= port <= self.ports[1])


_SUBNET = re.compile(r"(?P<host>(?:\*\.)?[\w.-]+)(?:/(?P<width>\d{1,3}))?(?::(?P<low>\d{1,5})(?:-(?P<high>\d{1,5}))?)?", re.ASCII)
_SUBNET6 = re.compile(r"\[?(?P<host>[0-9a-fA-F:.]+)(?:/(?P<width>\d{1,3}))?(?:\](?::(?P<low>\d{1,5})(?:-(?P<high>\d{1,5}))?)?)?", re.ASCII)


def parse_subnet(text: str) -> Subnet | None:
    """``192.0.2.0/24``, ``api.z.ai``, ``api.z.ai:443``, ``[2001:db8::1/64]:443``; None for what sshuttle would refuse."""
    found = (_SUBNET6 if text.count(":") > 1 else _SUBNET).fullmatch(text)
    if found is None:
        return None
    width = int(found["width"]) if found["width"] else None
    network = network_of(found["host"])
    if (network is None and ":" in found["host"]) or (width is not None and width > (network.max_prefixlen if network else 128)):
        return None
    low, high = found["low"], found["high"] or found["low"]
    return Subnet(text, found["host"], width, (int(low), int(high)) if low else None)


@dataclass(frozen=True, slots=True)
class SshuttleProcess:
    """One running sshuttle (its main process; helpers with ``--firewall`` are left out).

    ``method`` is as given: ``auto`` where it was not. ``listen_ports`` holds ports only where ``-l`` names them; else sshuttle takes the first
    that is free from 12300 downward. ``remote`` has lost its password. ``excludes_elsewhere`` says that more excludes or options stand in files
    (``-X``, ``@FILE``), which are not read. ``program`` is the path of the script, ``python`` that of its interpreter, as far as shown.
    """

    pid: int
    method: str
    listen_ports: tuple[int, ...]
    remote: str | None
    excludes: tuple[str, ...]
    dns: bool
    subnets: tuple[str, ...] = ()
    auto_hosts: bool = False
    auto_nets: bool = False
    excludes_elsewhere: bool = False
    program: str | None = None
    python: str | None = None
    version: str | None = None


#: sshuttle's options: long ones that a value follows, long ones that stand alone, and short ones. From ``sshuttle --help`` of 1.3.2 and 2.0.0.
_WITH_VALUE = (
    "listen", "ns-hosts", "to-ns", "method", "python", "remote", "exclude", "exclude-from", "ssh-cmd", "remote-shell",
    "seed-hosts", "latency-buffer-size", "wrap", "subnets", "pidfile", "user", "group", "sudoers-user", "tmark", "namespace",
    "namespace-pid",
)  # fmt: skip
_ALONE = (
    "auto-hosts", "auto-nets", "dns", "verbose", "version", "no-cmd-delimiter", "no-latency-control", "disable-ipv6", "daemon",
    "syslog", "firewall", "hostwatch", "sudoers-no-modify", "no-sudo-pythonpath",
)  # fmt: skip
_LONG = dict.fromkeys(_WITH_VALUE, True) | dict.fromkeys(_ALONE, False)
_SHORT = {
    "l": "listen", "H": "auto-hosts", "N": "auto-nets", "r": "remote", "x": "exclude", "X": "exclude-from", "v": "verbose",
    "V": "version", "e": "ssh-cmd", "D": "daemon", "s": "subnets", "t": "tmark",
}  # fmt: skip


def parse_sshuttle_processes(text: str) -> list[SshuttleProcess]:
    r"""Running sshuttles among the lines of ``ps -axo pid=,args=``.

    ``ps`` writes arguments with blanks between them, so that the end of ``-e "ssh -i key"`` is a guess. Where ``/proc`` can be read, give lines
    of the process number, a blank and the content of ``/proc/PID/cmdline`` as it is (arguments end with NUL): then nothing is guessed.
    """
    found = []
    for line in text.split("\n"):
        number, _, rest = line.strip(" \t\r").partition(" ")
        if not is_number(number):
            continue
        exact = "\0" in rest
        argv = rest.rstrip("\0").split("\0") if exact else rest.split()
        start = _sshuttle_arguments(argv)
        if start is not None and (process := _sshuttle(int(number), argv, start, exact)) is not None:
            found.append(process)
    return found


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _sshuttle_arguments(argv: list[str]) -> int | None:
    """Where sshuttle's own arguments begin; None if the program is another, though its arguments may name sshuttle."""
    if not argv:
        return None
    if _base(argv[0]) == "sshuttle":
        return 1
    if not re.fullmatch(r"[Pp]ython[\d.]*", _base(argv[0])):
        return None
    i = 1
    while i < len(argv) and argv[i].startswith("-") and argv[i] != "-m":
        if argv[i] == "-c":
            return None
        i += 2 if argv[i] in ("-W", "-X") else 1
    if argv[i : i + 2] == ["-m", "sshuttle"]:
        return i + 2
    return i + 1 if i < len(argv) and _base(argv[i]) == "sshuttle" else None


def _options(argv: list[str], exact: bool) -> Iterator[tuple[str, str]]:
    """Name and value of each option as argparse would read them; a positional argument has the name ``""``."""
    i = 0
    only_positionals = False
    while i < len(argv):
        word = argv[i]
        i += 1
        if only_positionals or not word.startswith("-") or word == "-":
            yield "", word
            continue
        if word == "--":
            only_positionals = True
            continue
        name, value, given = "", "", False
        if word.startswith("--"):
            stem, equals, value = word[2:].partition("=")
            given = bool(equals)
            candidates = [stem] if stem in _LONG else [option for option in _LONG if option.startswith(stem)]
            name = candidates[0] if len(candidates) == 1 else ""
        else:
            rest = word[1:]
            while rest:  # -vvD, -vr host, -rhost
                name = _SHORT.get(rest[0], "")
                value, rest = rest[1:].removeprefix("="), rest[1:]
                if not name or _LONG[name]:
                    given = bool(value)
                    break
                if rest:
                    yield name, ""
        if not name:
            continue
        if _LONG[name] and not given:
            if name == "ssh-cmd" and not exact:
                i = _end_of_ssh_command(argv, i)
                continue
            value = argv[i] if i < len(argv) else ""
            i += 1
        yield name, value


#: Options of ssh that take a value in the next word (ssh(1)).
_SSH_VALUES = frozenset(
    ["-B", "-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-P", "-p", "-Q", "-R", "-S", "-W", "-w"]
)


def _end_of_ssh_command(argv: list[str], i: int) -> int:
    """Where the value of ``-e`` ends in a line that has lost its quotes: before the first word that ssh would not understand."""
    i += 1  # the program
    while i < len(argv) and argv[i].startswith("-") and not argv[i].startswith("--"):
        word = argv[i]
        subnet = parse_subnet(argv[i + 1]) if word == "-x" and i + 1 < len(argv) else None
        if word == "-r" or subnet is not None or set(word[1:]) <= set("HDNV") - {"N"}:
            break
        i += 2 if word in _SSH_VALUES else 1
    return i


def _sshuttle(pid: int, argv: list[str], start: int, exact: bool) -> SshuttleProcess | None:
    given = list(_options(argv[start:], exact))
    names = {name for name, _ in given}
    if names & {"firewall", "hostwatch", "version", "sudoers-no-modify"}:
        return None

    def values(name: str) -> list[str]:
        return [value for key, value in given if key == name]

    # A value is kept only where it has the form it should have: what a mistyped line holds in its place might be anything. So might a bare
    # word of a line that has lost its quotes; where they are kept it is a name, since sshuttle has resolved it.
    methods = [value for value in values("method") if re.fullmatch(r"[a-z]+", value)]
    ports = [int(port) for value in values("listen") for listen in value.split(",") if is_number(port := listen.rpartition(":")[2])]
    python = argv[0] if _base(argv[0]) != "sshuttle" else None
    program = argv[start - 1] if _base(argv[start - 1]) == "sshuttle" and "/" in argv[start - 1] else None
    return SshuttleProcess(
        pid,
        methods[-1] if methods else "auto",
        tuple(ports),
        next((remote for value in reversed(values("remote")) if (remote := _without_password(value))), None),
        tuple(value for value in values("exclude") if parse_subnet(value) is not None),
        "dns" in names,
        tuple(value for value in values("") if (subnet := parse_subnet(value)) is not None and (exact or not subnet.is_name)),
        "auto-hosts" in names,
        "auto-nets" in names,
        "exclude-from" in names or any(value.startswith("@") for value in values("")),
        program,
        python,
    )


def _without_password(remote: str) -> str | None:
    """``user@host[:port]`` of ``[user[:password]@]host[:port]``."""
    user, at, host = remote.rpartition("@")
    user = user.partition(":")[0]
    if not re.fullmatch(r"[\w.:\[\]%-]+", host) or not re.fullmatch(r"[\w.+-]*", user):
        return None
    return f"{user}@{host}" if at else host


def parse_python_metadata(text: str) -> str | None:
    """Sshuttle's version from the paths that ``find PREFIX -name 'sshuttle-*.dist-info'`` prints."""
    found = re.search(r"/sshuttle-(\d[\w.+!]*?)(?:-py[\d.]+)?\.(?:dist|egg)-info", text)
    return found[1] if found else None
