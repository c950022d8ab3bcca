"""What a machine says about itself: versions, interfaces, routes, name servers, sshuttle, clock, and the API's addresses as seen from there.

Pure: :class:`netlens.capture.machine.Machine` runs :data:`SCRIPT`, here or on a VM, and :func:`parse` makes :class:`Facts` of its output, in which each
part has the command as its heading. The script needs no rights and starts nothing that stays; the shell gets it by standard input, so that it does
not find itself in the list of processes.

*Limits*: processes, and sockets' owners, of other users are seen by root only. The addresses of a name are those of one moment.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from netlens.capture.processes import version_of
from netlens.capture.programs import clocks, network, sockets
from netlens.capture.programs.sshuttle import SshuttleProcess, parse_sshuttle_processes

MARK = "%%netlens"

SCRIPT = r"""
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/opt/homebrew/bin:/Applications/Wireshark.app/Contents/MacOS
LC_ALL=C
export PATH LC_ALL
exec 2>/dev/null
have() { command -v "$1" >/dev/null; }
ask() { have "$1" && { echo "%%netlens $*"; "$@"; :; }; }
ask uname -srm
ask id -u
echo "%%netlens programs"
for program in tcpdump tshark sudo ip ifconfig netstat ss lsof nft iptables-save ip6tables-save pfctl ps sshuttle chronyc timedatectl systemsetup \
  getent dscacheutil scutil proxy-status apt-get dnf brew; do command -v "$program"; done
ask tcpdump --version 2>&1
ask sshuttle --version 2>&1
if have ip && [ "$(uname -s)" = Linux ]; then ask ip -brief address; ask ip route; ask ip -6 route; ask ip rule
else ask ifconfig -a; ask netstat -rn; fi
ask cat /etc/resolv.conf
ask scutil --dns
echo "%%netlens processes"
if [ -r /proc/self/cmdline ]; then
  ps -A -o pid=,args= -ww | grep -i sshuttle | while read -r pid rest; do
    [ -r "/proc/$pid/cmdline" ] && { printf '%s ' "$pid"; tr '\n' ' ' <"/proc/$pid/cmdline"; echo; }
  done
else
  ps -A -ww -o pid=,args= | grep -i sshuttle
fi
ask ss -Htunap || ask lsof -nP -iTCP -iUDP -F pcPnT
ask cat /sys/devices/system/clocksource/clocksource0/current_clocksource
ask sysctl -n kern.timecounter.hardware
ask sysctl -n debug.bpf_maxbufsize
ask grep MemAvailable /proc/meminfo
ask timedatectl show
ask chronyc -n tracking
ask systemsetup -getusingnetworktime
for name in "$@"; do
  echo "%%netlens addresses $name"
  if have getent; then getent ahosts "$name"
  elif have dscacheutil; then dscacheutil -q host -a name "$name"
  else host "$name"; fi
done
"""


@dataclass
class Facts:
    """What was learned; empty where nothing was shown."""

    system: str = ""  #: Linux, Darwin
    release: str = ""
    machine: str = ""
    root: bool = False
    programs: dict[str, str] = field(default_factory=dict)  #: name -> path, of those that the script asks for
    tcpdump: str = ""
    libpcap: str = ""
    sshuttle: str = ""  #: version of the sshuttle on the PATH; a running one may be another
    interfaces: list[network.Interface] = field(default_factory=list)
    routes: list[network.Route] = field(default_factory=list)
    nameservers: tuple[str, ...] = ()
    tunnels: list[SshuttleProcess] = field(default_factory=list)
    sockets: list[sockets.Socket] = field(default_factory=list)
    clock_source: str = ""
    clock: clocks.ClockState | None = None
    addresses: dict[str, list[str]] = field(default_factory=dict)

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
        plain = ("system", "release", "machine", "root", "tcpdump", "libpcap")
        clock = asdict(self.clock) if self.clock else dict.fromkeys(("keeper", "synchronised", "offset_s", "bound_s"))
        return {name: getattr(self, name) for name in plain} | {
            "sshuttle": self.sshuttle or None,
            "nameservers": list(self.nameservers),
            "clock": {"source": self.clock_source or None, **clock},
            "interfaces": [asdict(i) for i in self.interfaces],
            "routes": [asdict(r) for r in self.routes],
            "sshuttle_processes": [self._tunnel(t) for t in self.tunnels],
        }

    def _tunnel(self, tunnel: SshuttleProcess) -> dict[str, Any]:
        shown = ("pid", "method", "ports", "remote", "subnets", "excludes", "excludes_elsewhere", "dns", "auto_hosts", "auto_nets")
        ports = tunnel.listen_ports or [s.local_port for s in self.sockets if s.pid == tunnel.pid and s.state == "LISTEN"]
        values = asdict(tunnel) | {"ports": list(ports), "subnets": list(tunnel.subnets), "excludes": list(tunnel.excludes)}
        return {name: values[name] for name in shown}


def said(text: str) -> dict[str, str]:
    """The script's output by heading: a command (``ip route``), or what is listed (``addresses api.z.ai``)."""
    out: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.split("\n"):
        if line.startswith(MARK + " "):
            current = out.setdefault(line[len(MARK) + 1 :].strip(), [])
        else:
            current.append(line)
    return {heading: "\n".join(lines) for heading, lines in out.items()}


def parse(found: dict[str, str]) -> Facts:
    """Facts from what was :func:`said`. Never raises: it may come from another machine."""

    def text(*headings: str) -> str:
        return next((found[each] for each in headings if found.get(each, "").strip()), "")

    system, release, machine, *_ = [*text("uname -srm").split(), "", "", ""]
    return Facts(
        system=system,
        release=release,
        machine=machine,
        root=text("id -u").strip() == "0",
        programs={line.rpartition("/")[2]: line for line in text("programs").split("\n") if line.startswith("/")},
        tcpdump=version_of(r"tcpdump version (\d\S*)", text("tcpdump --version")),
        libpcap=version_of(r"libpcap version (\S+)", text("tcpdump --version")),
        sshuttle=version_of(r"(\d+(?:\.\d+)+\S*)", text("sshuttle --version")),
        interfaces=network.parse_ip_addresses(text("ip -brief address")) or network.parse_ifconfig(text("ifconfig -a")),
        routes=network.parse_routes(f"{text('ip route')}\n{text('ip -6 route')}") or network.parse_routes(text("netstat -rn")),
        nameservers=network.parse_scutil_dns(text("scutil --dns")) or network.parse_resolv_conf(text("cat /etc/resolv.conf")),
        tunnels=parse_sshuttle_processes(text("processes")),
        sockets=sockets.parse_sockets(text("ss -Htunap", "lsof -nP -iTCP -iUDP -F pcPnT")),
        clock_source=text(
            "cat /sys/devices/system/clocksource/clocksource0/current_clocksource", "sysctl -n kern.timecounter.hardware"
        ).strip(),
        clock=clocks.parse_chronyc(text("chronyc -n tracking"))
        or clocks.parse_timedatectl(text("timedatectl show"))
        or clocks.parse_systemsetup(text("systemsetup -getusingnetworktime")),
        addresses={
            name.partition(" ")[2]: network.parse_addresses(value) for name, value in found.items() if name.startswith("addresses ")
        },
    )


def parse_time(text: str) -> int | None:
    """Nanoseconds from ``date +%s.%N``; macOS's date has no %N and prints "N", which counts as the start of the second."""
    found = re.match(r"\s*(\d{1,12})(?:\.(\d{9}))?", text)
    return int(found[1]) * 1_000_000_000 + int(found[2] or 0) if found else None
