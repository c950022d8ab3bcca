"""What a machine says about itself: versions, interfaces, routes, name servers, sshuttle, clock, and the API's addresses as seen from there.

One shell script, the same here and on a VM behind ssh, prints sections; :func:`parse` makes a :class:`Facts` of them. The script reads
and starts nothing that needs rights, and reaches the shell by standard input, so that it does not find itself in the list of processes.

*Limits*: processes, and sockets' owners, of other users are seen by root only. The addresses of a name are those of one moment.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netlens.capture import probes

MARK = "%%netlens"

SCRIPT = r"""
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin
exec 2>/dev/null
say() { echo "%%netlens $*"; }
have() { command -v "$1" >/dev/null; }
say time; date +%s.%N
say system; uname -s; uname -r; uname -m
say user; id -u
say tcpdump; tcpdump --version 2>&1
say sshuttle; have sshuttle && sshuttle --version 2>&1
if have ip; then
  say interfaces; ip -brief address
  say routes; ip route; ip -6 route
else
  say interfaces; ifconfig -a
  say routes; netstat -rn
fi
say resolv; cat /etc/resolv.conf
if have scutil; then say scutil; scutil --dns; fi
if [ -r /proc/self/cmdline ]; then
  say processes
  ps -A -o pid=,args= -ww | grep -i sshuttle | while read -r pid rest; do
    [ -r "/proc/$pid/cmdline" ] && { printf '%s ' "$pid"; cat "/proc/$pid/cmdline"; echo; }
  done
else
  say processes; ps -A -ww -o pid=,args= | grep -i sshuttle
fi
if have ss; then say sockets; ss -Htunap; else say sockets; lsof -nP -iTCP -iUDP -F pcPnT; fi
say clocksource; cat /sys/devices/system/clocksource/clocksource0/current_clocksource || sysctl -n kern.timecounter.hardware
say timedatectl; have timedatectl && timedatectl show
say chronyc; have chronyc && chronyc -n tracking
say systemsetup; have systemsetup && systemsetup -getusingnetworktime
for name in "$@"; do
  say addresses "$name"
  if have getent; then getent ahosts "$name"
  elif have dscacheutil; then dscacheutil -q host -a name "$name"
  else host "$name"; fi
done
say time; date +%s.%N
"""


@dataclass
class Facts:
    """What was learned; empty where nothing was shown."""

    system: str = ""
    release: str = ""
    machine: str = ""
    root: bool = False
    tcpdump: str = ""
    libpcap: str = ""
    sshuttle: str = ""  #: version of the sshuttle on the PATH; a running one may be another
    interfaces: list[probes.Interface] = field(default_factory=list)
    routes: list[probes.Route] = field(default_factory=list)
    nameservers: tuple[str, ...] = ()
    tunnels: list[probes.SshuttleProcess] = field(default_factory=list)
    sockets: list[probes.Socket] = field(default_factory=list)
    clock_source: str = ""
    clock: probes.ClockState | None = None
    addresses: dict[str, list[str]] = field(default_factory=dict)
    time_ns: int | None = None  #: this side's clock when the script ended

    def redirect_ports(self) -> list[int]:
        """Ports at which a running sshuttle takes connections and DNS, as far as visible."""
        ports = {p for t in self.tunnels for p in t.listen_ports}
        pids = {t.pid for t in self.tunnels}
        for s in self.sockets:
            # its DNS socket is UDP and its name is that of the script, or of Python
            if s.state in ("LISTEN", "UNCONNECTED") and (s.pid in pids or s.process == "sshuttle") and s.local_port:
                ports.add(s.local_port)
        return sorted(ports)

    def own_addresses(self) -> list[str]:
        """Addresses of this machine that others can reach."""
        out = []
        for text in (a for i in self.interfaces for a in i.addresses):
            address = ipaddress.ip_address(text)
            if not (address.is_loopback or address.is_link_local or address.is_unspecified) and text not in out:
                out.append(text)
        return out

    def ssh_ports(self) -> list[int]:
        """Ports of SSH servers in use from here: those of sshuttle's -r, and of ssh's own connections where shown."""
        ports = set()
        for tunnel in self.tunnels:
            if found := re.search(r":(\d{1,5})\Z", tunnel.remote or ""):
                if (tunnel.remote or "").count(":") == 1:
                    ports.add(int(found[1]))
        ports |= {s.remote_port for s in self.sockets if s.process == "ssh" and s.remote_port and s.state == "ESTABLISHED"}
        return sorted(p for p in ports if 0 < p < 65536)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "system": self.system,
            "release": self.release,
            "machine": self.machine,
            "root": self.root,
            "tcpdump": self.tcpdump,
            "libpcap": self.libpcap,
            "sshuttle": self.sshuttle or None,
            "nameservers": list(self.nameservers),
            "clock": {
                "source": self.clock_source or None,
                "keeper": self.clock.keeper if self.clock else None,
                "synchronised": self.clock.synchronised if self.clock else None,
                "offset_s": self.clock.offset_s if self.clock else None,
                "bound_s": self.clock.bound_s if self.clock else None,
            },
            "interfaces": [{"name": i.name, "addresses": list(i.addresses), "up": i.up} for i in self.interfaces],
            "routes": [{"destination": r.destination, "gateway": r.gateway, "interface": r.interface} for r in self.routes],
            "sshuttle_processes": [
                {
                    "pid": t.pid,
                    "method": t.method,
                    "ports": list(t.listen_ports) or [s.local_port for s in self.sockets if s.pid == t.pid and s.state == "LISTEN"],
                    "remote": t.remote,
                    "subnets": list(t.subnets),
                    "excludes": list(t.excludes),
                    "excludes_elsewhere": t.excludes_elsewhere,
                    "dns": t.dns,
                    "auto_hosts": t.auto_hosts,
                    "auto_nets": t.auto_nets,
                }
                for t in self.tunnels
            ],
        }


def sections(text: str) -> dict[str, str]:
    """The script's output by section; a name keeps its argument (``addresses api.z.ai``)."""
    out: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.split("\n"):
        if line.startswith(MARK + " "):
            current = out.setdefault(line[len(MARK) + 1 :].strip(), [])
            current.clear()  # the second "time" is the one that counts
        else:
            current.append(line)
    return {name: "\n".join(lines) for name, lines in out.items()}


def parse(text: str) -> Facts:
    """Facts from the output of :data:`SCRIPT`. Never raises: it may come from another machine."""
    found = sections(text)
    system = [*found.get("system", "").split("\n"), "", "", ""]
    darwin = system[0] == "Darwin"
    sockets = found.get("sockets", "")
    interfaces = found.get("interfaces", "")
    resolvers = probes.parse_scutil_dns(found["scutil"]) if found.get("scutil") else probes.parse_resolv_conf(found.get("resolv", ""))
    clock = (
        probes.parse_chronyc(found.get("chronyc", ""))
        or probes.parse_timedatectl(found.get("timedatectl", ""))
        or probes.parse_systemsetup(found.get("systemsetup", ""))
    )
    tcpdump, libpcap = parse_tcpdump_version(found.get("tcpdump", ""))
    version = re.search(r"\d+(?:\.\d+)+\S*", found.get("sshuttle", ""))
    return Facts(
        system=system[0].strip(),
        release=system[1].strip(),
        machine=system[2].strip(),
        root=found.get("user", "").strip() == "0",
        tcpdump=tcpdump,
        libpcap=libpcap,
        sshuttle=version[0] if version else "",
        interfaces=probes.parse_ifconfig(interfaces) if "flags=" in interfaces else probes.parse_ip_addresses(interfaces),
        routes=probes.parse_routes(found.get("routes", "")),
        nameservers=resolvers.nameservers,
        tunnels=probes.parse_sshuttle_processes(found.get("processes", "")),
        sockets=probes.parse_lsof(sockets) if darwin or sockets[:1] == "p" else probes.parse_ss(sockets),
        clock_source=found.get("clocksource", "").strip().split("\n")[0],
        clock=clock,
        addresses={name.partition(" ")[2]: parse_addresses(value) for name, value in found.items() if name.startswith("addresses ")},
        time_ns=parse_time(found.get("time", "")),
    )


def parse_tcpdump_version(text: str) -> tuple[str, str]:
    """Versions of tcpdump and libpcap from ``tcpdump --version``; empty where they are not shown."""
    tcpdump = re.search(r"tcpdump version (\S+)", text)
    libpcap = re.search(r"libpcap version (\S+)", text)
    return tcpdump[1] if tcpdump else "", libpcap[1] if libpcap else ""


def parse_addresses(text: str) -> list[str]:
    """Addresses in the output of ``getent ahosts``, ``dscacheutil -q host`` or ``host``, each once, in order."""
    out: list[str] = []
    for line in text.splitlines():
        words = line.split()
        match words:
            case ["ip_address:" | "ipv6_address:", *more]:
                candidates = more
            case [_, "has", "address", word] | [_, "has", "IPv6", "address", word]:
                candidates = [word]
            case [first, *_]:
                candidates = [first]
            case _:
                candidates = []
        for word in candidates:
            try:
                address = ipaddress.ip_address(word.partition("%")[0])
            except ValueError:
                continue
            plain = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped else address
            if str(plain) not in out:
                out.append(str(plain))
    return out


def parse_time(text: str) -> int | None:
    """Nanoseconds from ``date +%s.%N``; macOS's date has no %N and prints "N", which counts as the start of the second."""
    found = re.match(r"\s*(\d{1,12})(?:\.(\d{9}))?", text)
    return int(found[1]) * 1_000_000_000 + int(found[2] or 0) if found else None


def merged_addresses(facts: Iterable[Facts]) -> dict[str, list[str]]:
    """Addresses of each name as seen from anywhere."""
    out: dict[str, list[str]] = {}
    for f in facts:
        for name, addresses in f.addresses.items():
            known = out.setdefault(name, [])
            known += [a for a in addresses if a not in known]
    return out
