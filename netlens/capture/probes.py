"""What the system's own programs say about sockets, redirects, tunnels, name servers, routes and clocks, as rows.

Pure: text in, rows out; nothing is started here. A line that is not understood is left out, never guessed at, because the text comes from
programs of many versions and, over ssh, from another machine. No function raises on any text.

What it cannot see: programs print sockets of other users without a name unless they run as root, and rules not at all; an empty result
therefore means "nothing shown", which the caller has to tell from "nothing there" by the program's exit status.

Command lines of processes may hold passwords and keys. :func:`parse_sshuttle_processes` keeps the options it knows to be harmless and drops
all the rest, a password before the ``@`` of ``-r`` among them.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

# --- sockets ------------------------------------------------------------------------------------------------------------------------

#: ss and lsof have their own words for the states of RFC 9293; these are the words of ``netstat``, which most people know.
_STATES = {
    "ESTAB": "ESTABLISHED",
    "SYN_RCVD": "SYN_RECEIVED",
    "SYN_RECV": "SYN_RECEIVED",
    "FIN_WAIT1": "FIN_WAIT_1",
    "FIN_WAIT2": "FIN_WAIT_2",
    "UNCONN": "UNCONNECTED",
    "CLOSE": "CLOSED",
}


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket as the kernel lists it.

    Addresses are plain: no brackets, no interface; IPv4 carried in IPv6 (``::ffff:192.0.2.1``) is IPv4, as on the wire; ``*`` is any address.
    ``remote_ip`` and ``remote_port`` are None where nothing is at the other end; ``process`` and ``pid`` are None where they are not shown
    (another user's socket, or one without a process such as TIME_WAIT).
    """

    local_ip: str
    local_port: int
    remote_ip: str | None
    remote_port: int | None
    state: str  # ESTABLISHED, LISTEN, FIN_WAIT_1, TIME_WAIT, ...; UNCONNECTED for a UDP socket that serves
    process: str | None
    pid: int | None
    protocol: str = "tcp"


def _is_number(text: str) -> bool:
    """Digits that int() understands; str.isdigit alone is true of superscripts as well."""
    return text.isascii() and text.isdigit() and len(text) <= 19


def _state(word: str) -> str:
    word = word.upper().replace("-", "_")
    return _STATES.get(word, word)


def _address(text: str) -> str:
    """A plain address: without brackets and interface; text that is no address stays, so that nothing is lost silently."""
    text = text.strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text or "*"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def _endpoint(text: str) -> tuple[str, int | None] | None:
    """``192.0.2.1:443``, ``[::1]:53``, ``127.0.0.53%lo:53``, ``*:22``, ``*:*``; None if it is none of these."""
    host, colon, port = text.rpartition(":")
    if not colon:
        return None
    if port == "*":
        return _address(host), None
    if not _is_number(port) or int(port) > 65535:
        return None
    return _address(host), int(port)


_SS_USER = re.compile(r'\(\("(.*?)",pid=(\d{1,10})')


def parse_ss(text: str) -> list[Socket]:
    """Sockets of ``ss -tuanp`` (also without ``-u``, ``-p``, heading or, for one state, the state's column)."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=6)
        protocol = "tcp"
        if words and words[0] in ("tcp", "udp"):
            protocol = words[0]
            words = words[1:]
        elif words and not _is_number(words[0]) and words[0].isalpha() and words[0].islower():
            continue  # a unix or netlink socket
        state = "ESTABLISHED"  # what ss lists when told nothing else, and then it has no column for it
        if words and not _is_number(words[0]):
            state = _state(words[0])
            words = words[1:]
        if len(words) < 4 or not (_is_number(words[0]) and _is_number(words[1])):
            continue
        local, remote = _endpoint(words[2]), _endpoint(words[3])
        if local is None or remote is None or local[1] is None:
            continue
        user = _SS_USER.search(" ".join(words[4:]))
        process, pid = (user[1], int(user[2])) if user else (None, None)
        remote_ip = remote[0] if remote[1] is not None else None
        found.append(Socket(local[0], local[1], remote_ip, remote[1], state, process, pid, protocol))
    return found


def parse_lsof(text: str) -> list[Socket]:
    """Sockets of ``lsof -nP -i``, as its table or as fields (``-F pcPnT``, which survives any process name)."""
    fields = text[:1] == "p" and _is_number(text[1:2])
    return list(_lsof_fields(text) if fields else _lsof_table(text))


def _lsof_socket(protocol: str, name: str, state: str, process: str | None, pid: int | None) -> Socket | None:
    here, arrow, there = name.partition("->")
    local, remote = _endpoint(here), _endpoint(there) if arrow else None
    if local is None or local[1] is None or protocol not in ("tcp", "udp"):
        return None
    if not state:
        state = "ESTABLISHED" if remote else "UNCONNECTED"
    remote_ip, remote_port = remote if remote else (None, None)
    return Socket(local[0], local[1], remote_ip, remote_port, _state(state), process, pid, protocol)


def _lsof_fields(text: str) -> Iterator[Socket]:
    process: str | None = None
    pid: int | None = None
    protocol = name = state = ""

    def flush() -> Socket | None:
        return _lsof_socket(protocol, name, state, process, pid) if name else None

    for line in text.splitlines():
        kind, value = line[:1], line[1:]
        if kind in "pf":  # a new process, or a new file of it: what was told of the last one is complete
            if (socket := flush()) is not None:
                yield socket
            protocol = name = state = ""
        if kind == "p":
            pid, process = (int(value) if _is_number(value) else None), None
        elif kind == "c":
            process = _lsof_name(value)
        elif kind == "P":
            if name and (socket := flush()) is not None:  # without ``f`` among the fields the protocol comes first
                yield socket
                name = state = ""
            protocol = value.lower()
        elif kind == "n":
            name = value
        elif kind == "T" and value.startswith("ST="):
            state = value[3:]
    if (socket := flush()) is not None:
        yield socket


def _lsof_table(text: str) -> Iterator[Socket]:
    for line in text.splitlines():
        words = line.split()
        at = next((i for i, word in enumerate(words) if word in ("TCP", "UDP") and i >= 6), None)
        if at is None or at + 1 >= len(words) or not _is_number(words[1]):
            continue
        state = words[at + 2].strip("()") if at + 2 < len(words) else ""
        if (socket := _lsof_socket(words[at].lower(), words[at + 1], state, _lsof_name(words[0]), int(words[1]))) is not None:
            yield socket


def _lsof_name(text: str) -> str:
    r"""Lsof writes a blank in a command's name as ``\x20``."""
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)


# --- the VM's address ---------------------------------------------------------------------------------------------------------------


def parse_tart_ip(text: str) -> str | None:
    """The address that ``tart ip NAME`` prints, or None where it prints none (the VM is not running, or has no lease yet)."""
    for line in text.splitlines():
        try:
            return str(ipaddress.ip_address(line.strip()))
        except ValueError:
            continue
    return None


# --- redirects ----------------------------------------------------------------------------------------------------------------------


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Redirect:
    """A rule that sends packets for ``destination`` to a port of this machine.

    ``destination`` is a network, or ``any``; ``table`` is where the rule stands (``inet sshuttle-ipv4-12300``, ``nat sshuttle-12300``,
    an anchor's name).
    """

    protocol: str
    destination: str
    to_port: int
    table: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A redirect, or a rule before it that lets packets pass; in the order in which the kernel looks at them.

    ``networks`` and ``ports`` are empty where every address and every port match. ``conditions`` is what else has to hold, as written
    (owner, mark, interface); such a rule may or may not match. ``quick`` is False only for pf, where the last rule that matches decides
    unless one says ``quick``.
    """

    table: str
    protocol: str | None
    networks: tuple[_Network, ...]
    ports: tuple[tuple[int, int], ...]
    redirects: bool
    to_port: int | None
    family: int | None = None  # 4 or 6; None: both
    conditions: str = ""
    quick: bool = True

    def matches(self, protocol: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
        return (
            self.protocol in (None, protocol)
            and self.family in (None, address.version)
            and (not self.networks or any(address in network for network in self.networks if network.version == address.version))
            and (not self.ports or any(low <= port <= high for low, high in self.ports))
        )


def _redirects(rules: Iterable[Rule]) -> list[Redirect]:
    return [
        Redirect(rule.protocol or "any", str(network) if network else "any", rule.to_port, rule.table)
        for rule in rules
        if rule.redirects and rule.to_port is not None
        for network in rule.networks or (None,)
    ]


def redirected(rules: Sequence[Rule], ip: str, port: int, protocol: str = "tcp") -> Rule | None:
    """The rule that sends a connection to ``ip:port`` into a tunnel, or None if it goes out directly.

    Rules with further conditions are passed over: they may not apply to the program in question.
    """
    address = ipaddress.ip_address(ip)
    tables: dict[str, list[Rule]] = {}
    for rule in rules:
        tables.setdefault(rule.table, []).append(rule)
    for chain in tables.values():
        decided: Rule | None = None
        for rule in chain:
            if rule.conditions or not rule.matches(protocol, address, port):
                continue
            decided = rule
            if rule.quick:
                break
        if decided is not None and decided.redirects:
            return decided
    return None


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


#: pf and nft write the names of these where a number was given; only what a redirect rule plausibly holds.
_SERVICES = {"ssh": 22, "domain": 53, "http": 80, "https": 443}


def _port_range(text: str) -> tuple[int, int] | None:
    """``443``, ``8000-8080`` (nft), ``8000:8080`` (iptables, pf), ``https``."""
    ends = [str(_SERVICES.get(end, end)) for end in re.split("[-:]", text)]
    if len(ends) > 2 or not all(_is_number(end) and int(end) <= 65535 for end in ends):
        return None
    return int(ends[0]), int(ends[-1])


T = TypeVar("T")


def _all(texts: Iterable[str], parse: Callable[[str], T | None]) -> tuple[T, ...] | None:
    """Every text parsed, or None if one cannot be."""
    values = [parse(text) for text in texts]
    kept = tuple(value for value in values if value is not None)
    return kept if len(kept) == len(values) else None


def parse_nft_redirects(text: str) -> list[Redirect]:
    """Redirects to ports of this machine in ``nft list ruleset``."""
    return _redirects(parse_nft_rules(text))


def parse_nft_rules(text: str) -> list[Rule]:
    """Redirects and returns of ``nft list ruleset``, in order."""
    rules = []
    blocks: list[list[str]] = []  # what is open: a table, and in it a chain, a set, ...
    for line in text.splitlines():
        words = line.split()
        match words, blocks:
            case [*head, "{"], _:
                blocks.append(head)
            case ["}"], _:
                del blocks[-1:]
            case [_, *_], [["table", family, table], ["chain", chain]]:
                if (rule := _nft_rule(words, _nft_table(family, table, chain), family)) is not None:
                    rules.append(rule)
    return rules


def _nft_table(family: str, table: str, chain: str) -> str:
    return f"{family} {table}" if table == chain else f"{family} {table} {chain}"


def _nft_set(words: list[str]) -> list[str]:
    """The value that ``words`` begin with, taken off them: one word, or all of ``{ a, b }``."""
    if words[:1] == ["{"] and "}" in words:
        end = words.index("}")
        values = [word.rstrip(",") for word in words[1:end]]
        del words[: end + 1]
        return values
    return [words.pop(0)] if words else []


def _nft_rule(words: list[str], table: str, family_of_table: str) -> Rule | None:
    words = list(words)
    protocol: str | None = None
    networks: tuple[_Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    conditions: list[str] = []
    family = {"ip": 4, "ip6": 6}.get(family_of_table)
    redirects, to_port, passes = False, None, False
    while words:
        match words:
            case ["meta", "l4proto", ("tcp" | "udp") as protocol, *words] | ["ip", "protocol", ("tcp" | "udp") as protocol, *words]:
                pass
            case ["meta", "nfproto", ("ipv4" | "ipv6") as name, *words]:
                family = 4 if name == "ipv4" else 6
            case [("ip" | "ip6") as name, "daddr", value, *_] if value != "!=":
                words = words[2:]
                found: tuple[_Network, ...] | None = _all(_nft_set(words), _network)
                family = 4 if name == "ip" else 6
                if found is None:
                    conditions.append("daddr")  # a range or a named set, which is not shown with its members
                else:
                    networks = found
            case [("tcp" | "udp" | "th") as name, "dport", value, *_] if value != "!=":
                words = words[2:]
                protocol = protocol if name == "th" else name
                numbers: tuple[tuple[int, int], ...] | None = _all(_nft_set(words), _port_range)
                if numbers is None:
                    conditions.append("dport")
                else:
                    ports = numbers
            case ["counter", "packets", _, "bytes", _, *words] | ["counter", *words]:
                pass
            case ["meta", "mark", "set", _, *words] | ["log", *words]:
                pass
            case ["comment", *_]:
                break
            case ["redirect" | "tproxy", *rest]:
                # tproxy may name a family and an address first: "tproxy ip to 127.0.0.1:12300"
                rest = rest[1:] if rest[:1] in (["ip"], ["ip6"]) else rest
                redirects = True
                if rest[:1] == ["to"] and len(rest) > 1:
                    number = rest[1].rpartition(":")[2]
                    to_port = int(number) if _is_number(number) else None
                break
            case ["dnat", *rest]:
                target = rest[rest.index("to") + 1 :][:1] if "to" in rest else []
                host, _, number = target[0].rpartition(":") if target else ("", "", "")
                local = _network(host.strip("[]"))
                if local is None or not local.is_loopback or not _is_number(number):
                    return None  # to another machine: a port forward, not a redirect into a program of this one
                redirects, to_port = True, int(number)
                break
            case ["return" | "accept", *_]:
                passes = True
                break
            case _:
                conditions.append(words.pop(0))
    if not redirects and not passes:
        return None
    return Rule(table, protocol, networks, ports, redirects, to_port, family, " ".join(conditions))


def parse_iptables_redirects(text: str) -> list[Redirect]:
    """Redirects to ports of this machine in ``iptables-save`` or ``ip6tables-save``."""
    return _redirects(parse_iptables_rules(text))


def parse_iptables_rules(text: str) -> list[Rule]:
    """Redirects and returns of ``iptables-save`` or ``ip6tables-save``, in order."""
    rules = []
    table = ""
    family = 6 if "ip6tables-save" in text else 4 if "iptables-save" in text else None
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            continue
        line = re.sub(r"^\[\d+:\d+\] ", "", line)  # counters, with -c
        if not line.startswith("-A "):
            continue
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        match words:
            case [_, chain, *rest] if (rule := _iptables_rule(rest, f"{table} {chain}", family)) is not None:
                rules.append(rule)
    return rules


def _iptables_rule(words: list[str], table: str, family: int | None) -> Rule | None:
    protocol: str | None = None
    networks: tuple[_Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    conditions: list[str] = []
    target, to_port = "", None
    while words:
        match words:
            case ["-p", value, *words]:
                protocol = value
            case ["-d", value, *words]:
                if (network := _network(value)) is None:
                    conditions.append(value)
                else:
                    networks = (network,)
            case ["--dport" | "--dports", value, *words]:
                numbers: tuple[tuple[int, int], ...] | None = _all(value.split(","), _port_range)
                if numbers is None:
                    conditions.append(value)
                else:
                    ports = numbers
            case ["-m", "tcp" | "udp" | "multiport" | "comment", *words] | ["--comment", _, *words]:
                pass
            case ["-j", target, *words]:
                pass
            case ["--to-ports" | "--on-port", value, *words]:
                first = value.partition("-")[0]
                to_port = int(first) if _is_number(first) else None
            case ["--on-ip" | "--tproxy-mark", _, *words]:
                pass
            case _:
                conditions.append(words[0])
                words = words[1:]
    if target not in ("REDIRECT", "TPROXY", "RETURN", "ACCEPT"):
        return None
    return Rule(table, protocol, networks, ports, target in ("REDIRECT", "TPROXY"), to_port, family, " ".join(conditions))


def parse_pf_redirects(text: str, table: str = "pf") -> list[Redirect]:
    """Redirects in ``pfctl -a ANCHOR -s nat`` (``rdr`` rules); ``table`` names the anchor."""
    return _redirects(parse_pf_rules(text, table))


def parse_pf_rules(text: str, table: str = "pf") -> list[Rule]:
    """Rules of ``pfctl -a ANCHOR -s nat`` and ``-s rules`` as sshuttle writes them.

    Two kinds take part: ``pass out route-to lo0`` sends a packet to the loopback interface, where ``rdr`` sends it to sshuttle's port. The
    first kind decides what is tunnelled; its rows have no port. Without ``quick`` the last rule that matches decides.
    """
    rules = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] not in ("rdr", "pass"):
            continue
        if words[0] == "pass" and "out" not in words:
            continue
        rdr = words[0] == "rdr"
        arrow = words.index("->") if "->" in words else len(words)
        before, after = words[:arrow], words[arrow + 1 :]
        protocol = before[before.index("proto") + 1 :][:1] if "proto" in before else []
        family = 4 if "inet" in before else 6 if "inet6" in before else None
        networks: tuple[_Network, ...] = ()
        ports: tuple[tuple[int, int], ...] = ()
        # rdr works "on lo0", on what a filter rule has sent there: by itself it redirects nothing of this machine's own
        conditions = " ".join(before[before.index("on") :][:2]) if "on" in before else ""
        if "to" in before:
            target = before[before.index("to") + 1 :]
            if target and target[0] not in ("any", "port"):
                network = _network(target[0])
                if network is None:  # a table (<dns_servers>), a negation, an interface
                    conditions = f"{conditions} to {target[0]}".strip()
                else:
                    networks = (network,)
            if "port" in target:
                value = [word for word in target[target.index("port") + 1 :] if word != "="][:1]
                numbers: tuple[tuple[int, int], ...] | None = _all(value, _port_range)
                if numbers is None:
                    conditions = f"{conditions} port {' '.join(value)}".strip()
                else:
                    ports = numbers
        to_port = None
        if rdr:
            number = after[after.index("port") + 1 :][:1] if "port" in after else []
            if not number or not _is_number(number[0]):
                continue
            to_port = int(number[0])
        rules.append(
            Rule(
                f"{table} {'rdr' if rdr else 'filter'}",
                protocol[0] if protocol else None,
                networks,
                ports,
                rdr or "route-to" in before,
                to_port,
                family,
                conditions,
                rdr or "quick" in before,
            )
        )
    return rules


def parse_pf_anchors(text: str) -> list[str]:
    """Names of ``pfctl -s Anchors -v``."""
    return [line.strip() for line in text.splitlines() if re.fullmatch(r"[\w./-]+", line.strip())]


# --- sshuttle -----------------------------------------------------------------------------------------------------------------------


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
        return _network(self.host) is None

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
    network = _network(found["host"])
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


#: sshuttle's long options and whether a value follows; the short ones are below. From ``sshuttle --help`` of 1.3.2 and 2.0.0.
_LONG = {
    "listen": True,
    "auto-hosts": False,
    "auto-nets": False,
    "dns": False,
    "ns-hosts": True,
    "to-ns": True,
    "method": True,
    "python": True,
    "remote": True,
    "exclude": True,
    "exclude-from": True,
    "verbose": False,
    "version": False,
    "ssh-cmd": True,
    "no-cmd-delimiter": False,
    "remote-shell": True,
    "seed-hosts": True,
    "no-latency-control": False,
    "latency-buffer-size": True,
    "wrap": True,
    "disable-ipv6": False,
    "daemon": False,
    "subnets": True,
    "syslog": False,
    "pidfile": True,
    "user": True,
    "group": True,
    "firewall": False,
    "hostwatch": False,
    "sudoers-no-modify": False,
    "sudoers-user": True,
    "no-sudo-pythonpath": False,
    "tmark": True,
    "namespace": True,
    "namespace-pid": True,
}
_SHORT = {
    "l": "listen",
    "H": "auto-hosts",
    "N": "auto-nets",
    "r": "remote",
    "x": "exclude",
    "X": "exclude-from",
    "v": "verbose",
    "V": "version",
    "e": "ssh-cmd",
    "D": "daemon",
    "s": "subnets",
    "t": "tmark",
}


def parse_sshuttle_processes(text: str) -> list[SshuttleProcess]:
    r"""Running sshuttles among the lines of ``ps -axo pid=,args=``.

    ``ps`` writes arguments with blanks between them, so that the end of ``-e "ssh -i key"`` is a guess. Where ``/proc`` can be read, give lines
    of the process number, a blank and the content of ``/proc/PID/cmdline`` as it is (arguments end with NUL): then nothing is guessed.
    """
    found = []
    for line in text.split("\n"):
        number, _, rest = line.strip(" \t\r").partition(" ")
        if not _is_number(number):
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
    ports = [int(port) for value in values("listen") for listen in value.split(",") if _is_number(port := listen.rpartition(":")[2])]
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


# --- name servers, routes, interfaces -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resolver:
    """Name servers in the order in which they are asked, and domains that are tried after a short name."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    """``/etc/resolv.conf``; servers keep the interface of a link-local address (``fe80::1%eth0``)."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = re.split(r"[#;]", line)[0].split()
        match words:
            case ["nameserver", server, *_] if _network(server.partition("%")[0]) is not None:
                servers.append(server)
            case ["search" | "domain", *names]:
                search = tuple(names)
    return Resolver(tuple(dict.fromkeys(servers)), search)


def parse_scutil_dns(text: str) -> Resolver:
    """The resolvers of macOS (``scutil --dns``): the first that is for every name, and those for all of its kind.

    Resolvers for one domain (mDNS, a VPN's) and the list of scoped queries, which repeats them by interface, are left out.
    """
    servers: list[str] = []
    search: list[str] = []
    for block in re.split(r"(?m)^(?=resolver #)", text.partition("DNS configuration (for scoped queries)")[0]):
        if re.search(r"(?m)^\s*domain\s*:", block) and not re.search(r"search domain", block):
            continue
        servers += [s for s in re.findall(r"(?m)^\s*nameserver\[\d+\]\s*:\s*(\S+)", block) if _network(s.partition("%")[0]) is not None]
        search += re.findall(r"(?m)^\s*search domain\[\d+\]\s*:\s*(\S+)", block)
    return Resolver(tuple(dict.fromkeys(servers)), tuple(dict.fromkeys(search)))


@dataclass(frozen=True, slots=True)
class Route:
    """One route; ``destination`` is a network, ``default``, or as printed where it is neither; ``gateway`` None where there is none."""

    destination: str
    gateway: str | None
    interface: str | None


def parse_routes(text: str) -> list[Route]:
    """Routes of ``ip route`` (also ``ip -6 route``), or of ``netstat -rn`` on Linux and macOS."""
    lines = text.splitlines()
    headings = [line.split() for line in lines]
    if any(words[:2] == ["Destination", "Gateway"] for words in headings):
        return list(_netstat_routes(headings))
    return list(_ip_routes(headings))


def _ip_routes(lines: Iterable[list[str]]) -> Iterator[Route]:
    for words in lines:
        if words and words[0] in ("unreachable", "blackhole", "prohibit", "throw", "local", "broadcast", "anycast", "multicast", "unicast"):
            words = words[1:]
        if not words or (words[0] != "default" and _network(words[0]) is None):
            continue
        options = dict(itertools.pairwise(words))
        gateway = options.get("via")
        if gateway in ("inet", "inet6"):
            gateway = options.get(gateway)
        yield Route(words[0], gateway, options.get("dev"))


def _netstat_routes(lines: Iterable[list[str]]) -> Iterator[Route]:
    columns: list[str] = []
    for words in lines:
        if words[:2] == ["Destination", "Gateway"]:
            columns = ["Netif" if word in ("Iface", "If") else word for word in words]
            continue
        if len(words) < len(columns) - 1 or len(words) < 4 or not columns:  # macOS leaves Expire empty
            continue
        row = dict(zip(columns, words, strict=False))
        destination = row["Destination"]
        if mask := row.get("Genmask"):
            network = _network(f"{destination}/{mask}")
            if network is None:
                continue
            destination = str(network) if network.prefixlen else "default"
        gateway: str | None = row["Gateway"]
        if gateway in ("0.0.0.0", "*", "::") or str(gateway).startswith("link#"):
            gateway = None
        yield Route(destination, gateway, row.get("Netif"))


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; ``up`` is None where it is not shown."""

    name: str
    addresses: tuple[str, ...]
    up: bool | None


def parse_ip_addresses(text: str) -> list[Interface]:
    """``ip -brief address``."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or not words[1].isupper():
            continue
        # loopback and tunnels have no carrier to report, and are UNKNOWN while they work
        addresses = tuple(word.partition("/")[0] for word in words[2:] if _network(word.partition("/")[0]) is not None)
        found.append(Interface(words[0].partition("@")[0], addresses, words[1] != "DOWN"))
    return found


def parse_ifconfig(text: str) -> list[Interface]:
    """``ifconfig -a`` of macOS."""
    found: list[Interface] = []
    for line in text.splitlines():
        if head := re.match(r"([\w.-]+): flags=[0-9a-fA-F]+<([^>]*)>", line):
            found.append(Interface(head[1], (), "UP" in head[2].split(",")))
        elif found and (address := re.match(r"\s+inet6? ([0-9a-fA-F.:]+)", line)):
            last = found[-1]
            found[-1] = Interface(last.name, (*last.addresses, address[1]), last.up)
    return found


# --- names -----------------------------------------------------------------------------------------------------------------------------


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_getent(text: str) -> tuple[str, ...]:
    """Addresses of ``getent ahosts NAME``, in the resolver's order."""
    words = [line.split() for line in text.splitlines()]
    return tuple(dict.fromkeys(_address(w[0]) for w in words if len(w) >= 2 and _network(w[0].partition("%")[0]) is not None))


def parse_dscacheutil(text: str) -> tuple[str, ...]:
    """Addresses of ``dscacheutil -q host -a name NAME`` of macOS."""
    found = [value for key, value in _colon_lines(text) if key in ("ip_address", "ipv6_address")]
    return tuple(dict.fromkeys(_address(v) for v in found if _network(v.partition("%")[0]) is not None))


def parse_fwmark_rules(text: str) -> list[int]:
    """Marks that ``ip rule`` sends to a routing table of their own; sshuttle's tproxy method needs one, and does not make it."""
    marks = re.findall(r"(?a)fwmark (0x[0-9a-fA-F]{1,8}|\d{1,10})(?:/0x[0-9a-fA-F]+)? lookup", text)
    return [int(mark, 16) if mark.startswith("0x") else int(mark) for mark in marks]


# --- clocks -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockState:
    """What keeps a machine's clock; None where it is not told.

    ``offset_s`` is by how much this clock is ahead of true time as its keeper estimates it, ``bound_s`` how wrong that may be.
    """

    keeper: str
    synchronised: bool | None
    offset_s: float | None = None
    bound_s: float | None = None


def parse_chronyc(text: str) -> ClockState | None:
    """``chronyc -n tracking``: the offset, and as its bound half the root delay plus the root dispersion (chronyc(1))."""
    values = dict(_colon_lines(text))
    if "System time" not in values and "Leap status" not in values:
        return None
    leap = values.get("Leap status", "")
    offset = None
    if found := re.match(r"(\d+\.\d+) seconds (slow|fast) of NTP time", values.get("System time", "")):
        offset = float(found[1]) * (-1 if found[2] == "slow" else 1)
    delay, dispersion = (_seconds(values.get(key, "")) for key in ("Root delay", "Root dispersion"))
    bound = delay / 2 + dispersion if delay is not None and dispersion is not None else None
    synchronised = None if not leap else leap != "Not synchronised"
    return ClockState("chrony", synchronised, offset if synchronised else None, bound if synchronised else None)


def _seconds(text: str) -> float | None:
    found = re.match(r"(\d+\.\d+) seconds", text)
    return float(found[1]) if found else None


def _colon_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def parse_timedatectl(text: str) -> ClockState | None:
    """``timedatectl show`` (``NTPSynchronized=yes``) or ``timedatectl status``."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line) | dict(_colon_lines(text))
    answer = values.get("NTPSynchronized") or values.get("System clock synchronized") or values.get("NTP synchronized")
    if answer not in ("yes", "no"):
        return None
    service = values.get("NTP") or values.get("NTP service")
    return ClockState("systemd-timesyncd" if service in ("yes", "active") else "timedatectl", answer == "yes")


def parse_sntp(text: str) -> ClockState | None:
    """``sntp SERVER``: ``+0.010475 +/- 0.027651 SERVER ADDRESS``; the server's clock minus this one, so the sign turns."""
    if found := re.search(r"([+-]\d+\.\d+) \(?\+/- (\d+\.\d+)", text):
        return ClockState("sntp", None, -float(found[1]), float(found[2]))
    return None


def parse_systemsetup(text: str) -> ClockState | None:
    """``systemsetup -getusingnetworktime`` of macOS: whether the clock is kept, not how well."""
    if found := re.search(r"Network Time: (On|Off)", text):
        return ClockState("timed", found[1] == "On")
    return None
