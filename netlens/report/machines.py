"""What ``netlens doctor --report`` shows: one text about the machines, with names, addresses and keys replaced, that can be sent with a bug report.

It has versions, the checks, what system programs print about interfaces, routes, name servers and redirects, and the lines that netlens' parsers could not
read. Command lines of processes are not in it, but for what is understood of sshuttle's. What stays and what is replaced: :mod:`netlens.anonymize.texts`.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from netlens import __version__
from netlens.anonymize import secret
from netlens.anonymize.mapper import Mapper
from netlens.anonymize.texts import Texts
from netlens.capture.processes import versions
from netlens.capture.programs import sockets
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.capture.checks import Scene
    from netlens.capture.doctor import Row
    from netlens.capture.machine import Machine

MOST_LINES = 60  #: of one program's output
ABOUT = """\
netlens doctor --report: what this machine (and the VM) looks like to netlens, to be sent with a bug report.

In it: versions; each check with its result; what ifconfig or ip, netstat or ip route, scutil or resolv.conf, pfctl or nft print; what netlens understood
of a running sshuttle; lines that netlens could not read. Nothing was sent anywhere, and nothing of a recording is in it.
Replaced, the same everywhere: addresses (private ones keep what network they are of; others are of 198.51.100.0/24, 203.0.113.0/24, 192.0.2.0/24,
2001:db8::/32), hardware addresses (02:00:00:...), names of users, machines and domains, and every word that netlens does not know (x and eight digits).
Port and process numbers stay. Read it before you send it."""

#: What is shown as the programs print it, by the headings of :data:`netlens.capture.facts.SCRIPT`.
OUTPUTS = (
    "uname -srm", "tcpdump --version", "sshuttle --version", "ifconfig -a", "netstat -rn", "ip -brief address", "ip route", "ip -6 route", "ip rule",
    "cat /etc/resolv.conf", "scutil --dns", "sysctl -n kern.timecounter.hardware", "sysctl -n debug.bpf_maxbufsize",
    "systemsetup -getusingnetworktime", "timedatectl show", "chronyc -n tracking",
)  # fmt: skip
#: What needs rights, and is asked for a report only.
ASKED = {
    "pfctl": (
        ("pfctl", "-s", "info"),
        ("pfctl", "-s", "Anchors", "-v"),
        ("pfctl", "-s", "nat"),
        ("pfctl", "-s", "rules"),
        ("pfctl", "-s", "state"),
    ),
    "nft": (("nft", "list", "ruleset"),),
    "iptables-save": (("iptables-save",),),
}
#: Words of the programs' formats that netlens' own source does not happen to have.
FORMATS = """
aaaa aarch64 abbreviated accept active addr address address_list addresses airdrop all allmulti alpine altq amd64 america anchor anchors any apple
applicationfirewall arm64 asia attributes autoconf automatic autoselect bad base_v4 bit block blocked bpf bridge broadcast build bun bytes cache
canntp chain channel channel_io charging checksum claude cloned cloning close_wait closed closing cloudprintd codex com com.apple comment common
communication configuration congestion connect connected connection cost counter csum ct current dad daddr darwin debian debug default denied
deprecated destination detached device dhcp direct directly directory disabled discover dns docker domain down dport drop dst duplicated dynamic
enabled encap entries established etc ether europe evaluations exist exists expire failed false fe fedora fib file filter filtering fin_wait_1
fin_wait_2 flag flags flowhash forward forwarding found fragment from full fw fwddelay gateway genmask global gnu group half handle haproxy has
hellotime hop host hostcache hostid hw i386 icmp id identityservicesd iface ifcost ifindex ifmaxaddr in inactive index inet inet6 info input inserts
interface interface_stats interfaces internal internet internet6 internet_sharing invalid ip ip6tables ipfilter iptables irtt is jumbo jump keep
kernel lan language last last_ack lastuse leap learning level libpcap limit link linkdown linux listen lladdr load local localhost localrtc lookup
loopback lower lro mac macos main mangle mark masquerade match maxage maximum mbuf mdns mdnsresponder media medium member memory metric mitmproxy mode
mss mtu multicast multiple name nameserver nat nd6 ndp negative net netif netmask network networking new next nfnetlink nft nginx no no_route
no_traffic noarp nocheck node nonat none normal not ntp ntpmessage ntpsynchronized null number off offset on onlink only opencode openssl operation
option options order out output overrides packet packets partial partial_csum pass passed path peer performnud permanent permission permitted pim
point pointopoint pointtopoint policy port pref preferred prefix prefixlen priority private privileged probe process promisc proto proto_cksum
protocol proxy python python3 quick random rapportd rate rdr re reach reachable reassemble record records redirect ref reference refs reject related
remoted removals request required reserved resolver resolvers return returning root rootid route router routes routing rtc rtt rule rules ruleset
running rxcsum scope scoped scopeid scrub search searches seconds secure secured servers service set shared shared_v4 shared_v6 short simplex single
site skip slave slow smart socket sockets softnet source specific speed sport src src-nodes ssh sshd sshuttle stale standard state state-limit
state-mismatch state_insert states static status stp stratum subnet supplemental sw sw_timestamp syn syn_rcvd syn_sent synchronised synfloods synproxy
system table tables tag tart tcp tcpdump temporary tentative throw time time_wait timeout timer times timestamp timezone to token tpacket tpacket_v3
transient translation transport trunk tshark tso tso4 tso6 tunnel txcsum txstatus type u ubuntu uc uci ucs ucsi ucsig udp ug ugcg ugcig ugh ugsc ugscg
ugscig uh uhg uhl uhli uhls uhlwi uhlwii uhlwiig uhlwiir uhlwir uhmlwi uhs umci umcs umcsi unicast universal unknown unlimited unreach unreachable up
updated urgent usb uscg use usec used user utc v3 valid vendor version via virtio virtual vlan vlan_hwtagging vlan_mtu wait warning wifi window wire
with without x86 x86_64 zeroinvert
"""
_LSOF_RECORD = re.compile(r"(?m)^(?=[pf])")


def as_text(scene: Scene, rows: Sequence[Row], mapper: Mapper | None = None) -> str:
    """The whole report. NetlensError if the package that maps addresses is not there."""
    machines = [
        machine
        for machine in (scene.here, scene.vm)
        if machine is not None and (machine is scene.here or (scene.reached and scene.reached.ok))
    ]
    mapper = mapper or Mapper(secret.fresh(), keep=scene.apis)
    texts = Texts(mapper, vocabulary(), secrets(scene, machines), keep=scene.apis)
    parts = [ABOUT, _section("versions", [f"netlens {__version__}", *(f"{name} {version}" for name, version in versions().items())])]
    parts.append(_section("checks", _checks(rows)))
    for machine in machines:
        where = "this machine" if machine is scene.here else "the VM"
        for heading, lines in _of_machine(machine):
            parts.append(_section(f"{where}: {heading}", lines))
    shown = [parts[0], *(texts.text(part, routes=": netstat -rn\n" in part) for part in parts[1:])]
    return "".join(f"{part}\n\n" for part in shown)


def _section(title: str, lines: Iterable[str]) -> str:
    kept = [printable(line.replace("\t", "    ")).rstrip() for line in lines]
    more = [f"... {plural(len(kept) - MOST_LINES, 'more line')}"] if len(kept) > MOST_LINES else []
    return "\n".join([f"== {title}", *kept[:MOST_LINES], *more])


def _checks(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        fix = f" | to fix: {row.fix}" if row.fix else ""
        yield f"{'VM' if row.where == 'vm' else 'here'}  {row.status}  {row.id}: {row.text}{fix}"


def _of_machine(machine: Machine) -> Iterator[tuple[str, list[str]]]:
    yield "programs", [", ".join(sorted(machine.programs)) or "none found"]
    for heading in OUTPUTS:
        if machine.said.get(heading, "").strip():
            yield heading, machine.said[heading].strip("\n").split("\n")
    for program, commands in ASKED.items():
        for argv in commands if program in machine.programs else ():
            outcome = machine.run_as_root(*argv)
            yield " ".join(argv), (outcome.stdout.strip("\n") if outcome.ok else outcome.complaint).split("\n")
    for tunnel in machine.facts.to_dict()["sshuttle_processes"]:
        yield "sshuttle, as understood", [f"{name} = {value}" for name, value in tunnel.items()]
    for heading, lines in unread(machine.said).items():
        yield f"{heading}: lines that netlens could not read", lines


def unread(said: Mapping[str, str]) -> dict[str, list[str]]:
    """Lines about sockets that the parsers understood nothing of, by the command that printed them."""
    out: dict[str, list[str]] = {}
    for heading, text in said.items():
        if heading.startswith("ss "):
            lines = [line for line in text.splitlines() if line.strip() and not sockets.parse_ss(line)]
        elif heading.startswith("lsof "):
            lines = list(_unread_of_lsof(text))
        else:
            continue
        if lines:
            out[heading] = lines
    return out


def _unread_of_lsof(text: str) -> Iterator[str]:
    process = ""
    for record in _LSOF_RECORD.split(text):
        if record.startswith("p"):
            process = record
        elif record and not sockets.parse_lsof(process + record) and not re.search(r"(?m)^n\*:\*$", record):
            yield ", ".join(f"{line[:1]} {line[1:]}" for line in f"{process}{record}".splitlines())


def secrets(scene: Scene, machines: Iterable[Machine]) -> dict[str, str]:
    """Names of users and machines, and home folders, as far as they can be learned: what stands for each."""
    users, hosts = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}, {socket.gethostname()}
    homes = {os.path.expanduser("~")}
    with contextlib.suppress(KeyError, OSError):  # a user of a number that nobody gave a name
        users.add(getpass.getuser())
    for machine in machines:
        users |= {machine.run(*argv).stdout.strip() for argv in (("id", "-un"), ("id", "-F"))}
        hosts |= {
            machine.run(*argv).stdout.strip()
            for argv in (("uname", "-n"), ("scutil", "--get", "ComputerName"), ("scutil", "--get", "LocalHostName"))
        }
    user, _, host = scene.target.rpartition("@")
    users.add(user)
    if not re.fullmatch(r"[\d.]+|.*:.*:.*", host):
        hosts.add(host.removeprefix("tart:"))
    words = {part for text in users for part in text.split()} | users
    names = {part for host in hosts for part in (host, host.partition(".")[0], host.removesuffix(".local"))}
    return dict.fromkeys(names, "HOST") | dict.fromkeys(words, "USER") | dict.fromkeys(homes - {"/", "/root"}, "HOME")


@cache
def vocabulary() -> frozenset[str]:
    """Words that netlens' own source has where it asks machines, and those of the programs' formats."""
    words = set(FORMATS.split())
    for text in _sources(resources.files("netlens.capture")):
        words |= {word.lower() for word in re.findall(r"[A-Za-z]+", text)}
    return frozenset(words)


def _sources(folder: Traversable) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry)
        elif entry.name.endswith(".py"):
            yield entry.read_text(encoding="utf-8")
