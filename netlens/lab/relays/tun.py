"""A tunnel of a program's own between VM and host (socat on tun interfaces, as a VPN does it): the VM's packets inside datagrams that say nothing of it.

A capture of all interfaces shows each packet by itself on the tunnel's interface, and inside an unknown datagram; the host translates what comes out.
"""

from __future__ import annotations

from netlens.lab.relays.vxlan import HOST_INNER, INNER_NET, VM_INNER
from netlens.lab.topology import HOST, HOST_INSIDE_IP, VM, VM_IP, Context, await_interface

NEEDS = ("nft", "socat")
DEVICE, PORT = "tun0", 5555


def start(context: Context) -> None:
    """Start both ends, lead the VM's default route through the tunnel, and translate what comes out of it."""
    topology = context.topology
    for side, here, there, inner in ((HOST, HOST_INSIDE_IP, VM_IP, HOST_INNER), (VM, VM_IP, HOST_INSIDE_IP, VM_INNER)):
        ends = (f"UDP:{there}:{PORT},bind={here}:{PORT}", f"TUN:{inner}/24,tun-name={DEVICE},iff-up")
        child = topology.start(side, ["socat", *ends])
        await_interface(topology, side, DEVICE, child)
    topology.masquerade(HOST, "eth0", INNER_NET)
    topology.ip(VM, f"route replace default via {HOST_INNER}")
