"""The VM's programs in a container (Docker): a bridge and a second translation of addresses inside the VM, the host's own after it.

A capture of all the VM's interfaces shows each packet on the container's end of the cable, on the bridge, and translated on the way out.
"""

from __future__ import annotations

from netlens.lab.topology import CONTAINER, VM, Context

NEEDS = ("nft",)
BRIDGE, PORT = "docker0", "vethc0"
CONTAINER_IP, BRIDGE_IP, NETWORK = "172.17.0.2", "172.17.0.1", "172.17.0.0/16"


def start(context: Context) -> None:
    """Make the bridge and the container, and have the VM's programs run in it."""
    topology = context.topology
    topology.add(CONTAINER)
    topology.link((CONTAINER, "eth0", "02:42:ac:11:00:02"), (VM, PORT, "02:42:00:00:00:02"))
    topology.ip(
        VM, f"link add {BRIDGE} type bridge", f"link set {PORT} master {BRIDGE}", f"addr add {BRIDGE_IP}/16 dev {BRIDGE}",
        f"link set {PORT} up", f"link set {BRIDGE} up",
    )  # fmt: skip
    topology.ip(CONTAINER, f"addr add {CONTAINER_IP}/16 dev eth0", "link set eth0 up", f"route add default via {BRIDGE_IP}")
    topology.inside(VM, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    topology.masquerade(VM, "eth0", NETWORK)
    context.runs_in[VM] = CONTAINER
