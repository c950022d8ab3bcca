"""The VM bridged into the host's own network: an address of its own there, no translation, and the host's card shows its packets as they are."""

from __future__ import annotations

from netlens.lab.topology import HOST, HOST_INSIDE_IP, HOST_IP, VM, VM_IP, Context

BRIDGE = "br0"
VM_LAN_IP = "203.0.113.2"


def start(context: Context) -> None:
    """Make both of the host's interfaces ports of one bridge, which takes its address, and give the VM one beside it."""
    context.topology.ip(
        HOST, f"link add {BRIDGE} type bridge", f"addr del {HOST_INSIDE_IP}/24 dev vmnet0", f"addr del {HOST_IP}/24 dev eth0",
        f"link set vmnet0 master {BRIDGE}", f"link set eth0 master {BRIDGE}", f"addr add {HOST_IP}/24 dev {BRIDGE}", f"link set {BRIDGE} up",
    )  # fmt: skip
    context.topology.ip(VM, f"addr del {VM_IP}/24 dev eth0", f"addr add {VM_LAN_IP}/24 dev eth0")
    context.addresses[VM], context.addresses[HOST] = [VM_LAN_IP], [HOST_IP]
