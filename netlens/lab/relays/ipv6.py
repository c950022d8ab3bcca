"""IPv6 alone from the VM to the provider, over the host: routed with an address of its own, or translated to the host's (NAT66)."""

from __future__ import annotations

from typing import Any

from netlens.lab.topology import HOST, PROVIDER, PROVIDER_IP6, VM, Context

#: ``nat66``: whether the host puts its own address in place of the VM's.
OPTIONS: dict[str, Any] = {"nat66": True}
NEEDS = ("nft",)
VM_IP6, HOST_INSIDE_IP6, HOST_IP6, VM_NET6 = "fd00:64::2", "fd00:64::1", "2001:db8:71::1", "fd00:64::/64"


def prepare(context: Context) -> None:
    """Give every interface an address, and lead the way."""
    topology = context.topology
    for side, device, address in (
        (VM, "eth0", VM_IP6), (HOST, "vmnet0", HOST_INSIDE_IP6), (HOST, "eth0", HOST_IP6), (PROVIDER, "eth0", PROVIDER_IP6),
    ):  # fmt: skip
        topology.inside(side, "sysctl", "-q", "-w", f"net.ipv6.conf.{device}.disable_ipv6=0")
        topology.ip(side, f"addr add {address}/64 dev {device} nodad")
    topology.inside(HOST, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
    topology.ip(VM, f"-6 route add default via {HOST_INSIDE_IP6}")
    if context.scenario.path["nat66"]:
        topology.masquerade(HOST, "eth0", VM_NET6)
    else:
        topology.ip(PROVIDER, f"-6 route add {VM_NET6} via {HOST_IP6}")
    context.api_ips = (PROVIDER_IP6,)
    context.addresses[VM].append(VM_IP6)
    context.addresses[HOST] += [HOST_IP6, HOST_INSIDE_IP6]


def start(_context: Context) -> None:
    """The way is all there is."""
