"""A VXLAN tunnel between VM and host: the VM's packets travel inside UDP datagrams, and the host translates what comes out.

A capture of all interfaces shows each packet inside another one and by itself, on both machines.
"""

from __future__ import annotations

from netlens.lab.topology import HOST, HOST_INSIDE_IP, VM, VM_IP, Context

NEEDS = ("nft",)
DEVICE, PORT, NETWORK = "vxlan0", 4789, 42
VM_INNER, HOST_INNER, INNER_NET = "10.64.0.2", "10.64.0.1", "10.64.0.0/24"


def start(context: Context) -> None:
    """Make both ends, lead the VM's default route through the tunnel, and translate what comes out of it."""
    topology = context.topology
    for side, here, there, inner in ((VM, VM_IP, HOST_INSIDE_IP, VM_INNER), (HOST, HOST_INSIDE_IP, VM_IP, HOST_INNER)):
        topology.ip(
            side,
            f"link add {DEVICE} type vxlan id {NETWORK} local {here} remote {there} dstport {PORT}",
            f"addr add {inner}/24 dev {DEVICE}",
            f"link set {DEVICE} up",
        )
    topology.masquerade(HOST, "eth0", INNER_NET)
    topology.ip(VM, f"route replace default via {HOST_INNER}")
