"""Parties: those whose requests a provider may count together, each named, with its requests.

Theory of operation
-------------------
1. A party is a captured machine, a machine that the host was seen to carry for but that was not captured itself (another VM, a container), or one
   program of the host or of the VM where samples of its sockets tell programs apart.
2. Whose a request is follows the connection that carries it; over a relay on the host, the connection that the relay was asked on. Where that was not
   captured, what a connection carries besides the VM's is of others who use the relay.
3. A machine that was not captured is named by the address that it has before the host translates it. Of one behind a tunnel, that is the other end of
   the tunnel.

Limits: a capture made only where packets are translated already shows one address for all; whoever is behind it is then the host, or unknown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.processes import with_process
from netlens.chains.side import WORDS, Side
from netlens.chains.situation import HOST, REJECTED, UNKNOWN, VM
from netlens.columns import Ints, as_they_come, by_value
from netlens.parsers import connections
from netlens.text import endpoint

if TYPE_CHECKING:
    from netlens.chains.linking import Linked
    from netlens.chains.traffic import Traffic
    from netlens.schema import Table

#: length of the prefix that machines of one network share where nothing tells it: what hypervisors and container engines use
NEAR = {4: 24, 6: 64}


@dataclass(frozen=True)
class Party:
    """``name``: as texts call it.  vantage : the capture made there; None if there is none.  process : None for all of a machine's.

    requests, refused : to the target.
    """

    name: str
    vantage: str | None
    addresses: tuple[str, ...]
    process: str | None
    requests: int
    refused: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"addresses": list(self.addresses)}


@dataclass(frozen=True)
class Who:
    """Whose a connection is: ``code`` as in ``Requests.side``; ``address``: None where only translated ones were seen."""

    code: int
    name: str
    vantage: str | None
    address: str | None
    process: str | None = None


def parties(traffic: Traffic) -> list[Party]:
    """All that have requests, and the captured machines also without any; the VM first, then the host, then by requests."""
    everybody, of = traffic.once(of_requests)
    asked = np.bincount(of, minlength=len(everybody)).tolist()
    refused_of = np.bincount(of[traffic.situation.requests.rejected == REJECTED], minlength=len(everybody)).tolist()
    found: dict[tuple[str, str | None], list[Any]] = {}
    for name in traffic.sides:
        if name in WORDS:
            found[WORDS[name], None] = [name, set(), 0, 0]
    for whose, requests, refused in zip(everybody, asked, refused_of, strict=True):
        entry = found.setdefault((whose.name, whose.process), [whose.vantage, set(), 0, 0])
        entry[1] |= {whose.address} - {None}
        entry[2] += requests
        entry[3] += refused
    for name, side in traffic.further.items():
        found.setdefault((name, None), [name, set(), 0, 0])[1].update(
            ip for ip in connections.sent_from(side.capture) if not is_loopback(ip)
        )
    split = {name for name, process in found if process is not None}
    listed = [
        Party(name if process is None else f"{name}: {process}", vantage, tuple(sorted(ips)), process, requests, refused)
        for (name, process), (vantage, ips, requests, refused) in found.items()
        if requests or process is not None or name not in split
    ]
    order = {WORDS["vm"]: 0, WORDS["host"]: 1}
    return sorted(listed, key=lambda p: (order.get(p.name.partition(":")[0], 2), -p.requests, p.name))


def others(traffic: Traffic) -> str:
    """Who shares the egress with the VM, as a sentence says it: "the host and the other VM, 192.168.64.6"; "" if nobody was seen."""
    return listed(dict.fromkeys(whose.name for whose in traffic.once(of_requests)[0] if whose.code == HOST))


def listed(names: Iterable[str]) -> str:
    """Parties as a sentence names them: "the host, the other VM, 192.168.64.6, and vm2" (a capture's name is a name)."""
    words = [f"the {name}" if name in WORDS.values() or " " in name else name for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def who(linked: Linked) -> list[Who]:
    """Whose each connection of the upstream's capture is; equal ones are one object."""
    return by_value(lambda each: Who(*each), _owners(linked))


def _owners(linked: Linked) -> list[tuple[int, str, str | None, str | None, str | None]]:
    """The same as fields of :class:`Who`."""
    up = linked.upstream
    c, n = up.connections, up.connections.rows
    if up.name == "vm":
        return [(VM, WORDS["vm"], "vm", ip, None) for ip in c["orig_ip"].tolist()]
    own = _own(linked)
    in_vm = addresses_of_vm(linked)
    first = inner(linked)
    processes = linked.processes.get(up.name or "", {})
    vm_processes = linked.processes.get("vm", {})
    vm_of = [-1] * n if linked.pairing is None else linked.pairing.vm_of.tolist()
    by_tunnel = [None if k is None else up.sessions["orig_ip"][k] for k in c["tunnel_session_id"].tolist()]
    out: list[tuple[int, str, str | None, str | None, str | None]] = []
    ips = c["orig_ip"].tolist()
    private = {ip: connections.is_private(ip) for ip in set(ips)}
    for row in range(n):
        code, ip = int(linked.origin[row]), ips[first[row]]
        if (name := linked.claimed.get(row)) and code != VM:
            out.append((HOST, name, name, ip if ip not in own else None, None))
        elif code == VM:
            of_relay = linked.nested is not None or ip in own or is_loopback(ip)
            address = by_tunnel[first[row]] or (None if of_relay else ip)
            out.append((VM, WORDS["vm"], "vm" if "vm" in linked.sides else None, address, vm_processes.get(vm_of[row])))
        elif code == UNKNOWN:
            out.append((UNKNOWN, "unknown", None, ip, None))
        elif ip in own or is_loopback(ip) or not private[ip]:
            out.append((HOST, WORDS["host"], up.name, None if is_loopback(ip) else ip, processes.get(first[row])))
        else:
            out.append((HOST, _called(ip, in_vm), None, ip, None))
    return out


def inner(linked: Linked) -> list[int]:
    """Per connection of the upstream's capture, the first of its chain on that machine: itself, where no relay opened it."""
    first = list(range(linked.upstream.connections.rows))
    for last, hops in linked.served.items():
        first[last] = hops[0]
    return first


def of_requests(traffic: Traffic) -> tuple[list[Who], Ints]:
    """All that have requests to the target, as they come, and which of them each request is of (int64[n])."""
    side, code, place = traffic.upstream, traffic.situation.requests.side, traffic.rows[:, 0]
    row = np.full(len(place), -1)
    row[place >= 0] = side.owner[place[place >= 0]]
    carried = traffic.asked_of_relay
    asked = np.array([carried.get(k, -1) for k in place.tolist()], np.int64) if carried else np.full(len(place), -1)
    # of requests on connections of one party any is as good
    owners = traffic.once(who)
    codes, one = np.array([each.code for each in owners], np.int64), dict[int, int]()
    stands_for = np.array([one.setdefault(id(each), k) for k, each in enumerate(owners)], np.int64)
    own = np.flatnonzero((row >= 0) & (asked < 0))
    own = own[codes[row[own]] == code[own]]
    row[own] = stands_for[row[own]]
    alike, which = as_they_come(row, code.astype(np.int64), asked)
    numbers: dict[Who, int] = {}
    number_of = [numbers.setdefault(_who(traffic, *each), len(numbers)) for each in alike.tolist()]
    return list(numbers), np.array(number_of, np.int64)[which]


def _who(traffic: Traffic, row: int, code: int, asked: int) -> Who:
    """Whose a request is that was sent on a connection of the upstream's capture (-1: only the VM's capture or a key log has it) by a side; ``asked``:
    exchange with the relay that it carries on, else -1."""
    side, owners = traffic.upstream, traffic.once(who)
    if row >= 0:
        if asked >= 0:
            row = side.connection_of[int(side.capture.table("exchanges")["session_id"][asked])]
        if owners[row].code == code:
            return owners[row]
        if code == HOST and traffic.nested is not None and row in traffic.nested.carriers:
            return Who(HOST, "other users of the relay", None, None)
        if (name := traffic.claimed.get(row)) is not None:
            return Who(code, name, name, side.connections["orig_ip"][row])
        ip = side.connections["orig_ip"][row]
        if code == HOST and asked >= 0 and ip not in traffic.once(_own) and not is_loopback(ip):
            return Who(HOST, _called(ip, traffic.once(addresses_of_vm)), None, ip)
    name = {VM: WORDS["vm"], HOST: WORDS["host"]}.get(code, "unknown")
    vantage = {VM: "vm", HOST: "host"}.get(code)
    return Who(code, name, vantage if vantage in traffic.sides else None, None)


def _own(linked: Linked) -> set[str]:
    """Addresses of the machine of the upstream's capture."""
    side = linked.upstream
    c = side.connections
    told = connections.sent_from(side.capture) - addresses_of_vm(linked)
    told |= {
        ip for ip, to in zip(c["orig_ip"].tolist(), c["resp_ip"].tolist(), strict=True) if ip == to
    }  # what asks itself leaves no machine
    # what leaves by an address that others are translated to is the host's, whatever told the former
    return told | {ip for ip in c["nat_ip"].tolist() if ip is not None}


def addresses_of_vm(linked: Linked) -> set[str]:
    """Addresses of the VM as its own capture shows them; none where there is none beside the host's."""
    vm = linked.sides.get("vm")
    if vm is None or vm is linked.upstream:
        return set()
    sent = connections.sent_from(vm.capture)
    seen = {ip for name in ("orig_ip", "nat_ip") for ip in vm.connections[name][vm.target].tolist() if ip is not None}
    return {ip for ip in sent | seen if not is_loopback(ip)}


def _called(ip: str, in_vm: Iterable[str]) -> str:
    """How texts call a machine that was not captured: another VM if it is on a network of the VM's."""
    near = any(one_network(ip, other) for other in in_vm)
    return f"other VM, {ip}" if near or connections.is_of_guest(ip) else f"other machine, {ip}"


def one_network(one: str, other: str) -> bool:
    """Whether two addresses are of one network, as far as they tell."""
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a.version == b.version and b in ipaddress.ip_network((one, NEAR[a.version]), strict=False)


def guest(side: Side, row: int) -> str:
    """Address of the guest that a connection of the host's capture is of."""
    tunnel = side.connections["tunnel_session_id"][row]
    ip: str = side.connections["orig_ip"][row] if tunnel is None else side.sessions["orig_ip"][tunnel]
    return ip


def processes(table: Table, samples: Iterable[Mapping[str, Any]], side: str) -> dict[int, str]:
    """Row of connections -> the one process that its capture or samples of that side's sockets show for it. The table's column is filled."""
    seen: dict[tuple[str, str], set[str]] = {}
    for ends_of, sample in with_process(samples, side):
        seen.setdefault(ends_of, set()).add(str(sample["process"]))
    out = {row: str(name) for row, name in enumerate(table["process"].tolist()) if name is not None}
    if not seen:
        return out
    for row, (ip, port, to, to_port) in enumerate(table.tuples("orig_ip", "orig_port", "resp_ip", "resp_port")):
        names = seen.get((endpoint(ip, port), endpoint(to, to_port)), set())
        if len(names) == 1:
            out[row] = table["process"][row] = next(iter(names))
    return out
