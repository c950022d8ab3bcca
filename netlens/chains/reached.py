"""At which address the VM reaches the host: what a command that runs on the VM has to name.

The manifest is asked first: the VM's default gateway, or an address of the host in the VM's own network. Else what the captures show the VM to reach on
the host: the end of a tunnel that both captures have, or a relay there.

Limits: a VM whose packets the host only translates is never seen to talk to the host itself; without a manifest the address is then unknown.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from netlens.addresses import is_loopback
from netlens.chains.parties import one_network
from netlens.chains.traffic import Traffic
from netlens.parsers.connections import is_private


def host_from_vm(traffic: Traffic) -> str | None:
    """The host's address as the VM reaches it; None if nothing shows it."""
    seen = Counter(ip for ip in (*_tunnel_ends(traffic), *_relays(traffic)) if is_private(ip) and not is_loopback(ip))
    return traffic.beside.host_address or next((ip for ip, _ in seen.most_common(1)), None)


def _tunnel_ends(traffic: Traffic) -> Iterable[str]:
    """Of SSH connections that the VM opened and the host's capture has as well."""
    vm = traffic.vm
    if vm is None:
        return []
    there = set(traffic.upstream.capture.table("tunnels")["resp_ip"].tolist())
    return [ip for ip, carries in vm.capture.table("tunnels").tuples("resp_ip", "carries") if carries and ip in there]


def _relays(traffic: Traffic) -> Iterable[str]:
    """Of connections that a relay on the host carries on, or answers by asking for itself."""
    if traffic.vm is None:
        return []
    up = traffic.upstream
    sessions = up.capture.table("exchanges")["session_id"]
    asked = {up.connection_of[int(sessions[row])] for row in traffic.carried.values()}
    return [up.connections["resp_ip"][row] for row in (*(hops[0] for hops in traffic.served.values()), *asked)]


def told(manifest: Mapping[str, Any]) -> str | None:
    """What a manifest says of it; None if nothing that can be true."""
    machines, addresses = manifest.get("machines"), manifest.get("addresses")
    of_host = _addresses(machines, "host") + _listed(addresses, "host")
    of_vm = _addresses(machines, "vm") + _listed(addresses, "vm")
    vm = machines.get("vm") if isinstance(machines, dict) else None
    routes = vm.get("routes") if isinstance(vm, dict) else None
    ways = (
        [r.get("gateway") for r in routes if isinstance(r, dict) and r.get("destination") == "default"] if isinstance(routes, list) else []
    )
    near = [ip for ip in of_host for other in of_vm if one_network(ip, other)]
    return next((ip for ip in ways if ip in of_host), None) or next(iter(near), None)


def _addresses(machines: object, side: str) -> list[str]:
    machine = machines.get(side) if isinstance(machines, dict) else None
    interfaces = machine.get("interfaces") if isinstance(machine, dict) else None
    return (
        [ip for each in interfaces if isinstance(each, dict) for ip in _listed(each, "addresses")] if isinstance(interfaces, list) else []
    )


def _listed(table: object, name: str) -> list[str]:
    """Private addresses of a list; what is none is left out."""
    values = table.get(name) if isinstance(table, dict) else None
    out = []
    for value in values if isinstance(values, list) else []:
        try:
            ip = str(ipaddress.ip_address(value)) if isinstance(value, str) else ""
        except ValueError:
            continue
        if ip and is_private(ip) and not is_loopback(ip):
            out.append(ip)
    return out
