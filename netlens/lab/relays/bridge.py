"""The VM plugged into a bridge on the host, as libvirt and Docker do it, behind the host's translation of addresses.

A capture of all the host's interfaces shows each packet of the VM on the bridge's port, on the bridge, and translated on the way out.
Programs with ``side = "vm2"`` run on a second VM on the same bridge, which nobody records.
"""

from __future__ import annotations

from netlens.lab.topology import HOST, HOST_INSIDE_IP, OTHER_VM, Context

BRIDGE, PORT = "virbr0", "vmnet0"
OTHER_VM_IP = "192.168.64.3"


def start(context: Context) -> None:
    """Move the host's inside address to a bridge, and make the VM's interface a port of it, and that of the second VM if one is there."""
    topology = context.topology
    topology.ip(
        HOST,
        f"link add {BRIDGE} address 02:00:00:40:00:01 type bridge",  # the address that the VM may have resolved already
        f"addr del {HOST_INSIDE_IP}/24 dev {PORT}",
        f"link set {PORT} master {BRIDGE}",
        f"addr add {HOST_INSIDE_IP}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    )
    if any(each["side"] == OTHER_VM for each in context.scenario.programs):
        topology.add(OTHER_VM)
        topology.link((OTHER_VM, "eth0", "02:00:00:40:00:03"), (HOST, "vmnet1", "02:00:00:40:01:01"))
        topology.ip(HOST, f"link set vmnet1 master {BRIDGE}", "link set vmnet1 up")
        topology.ip(OTHER_VM, f"addr add {OTHER_VM_IP}/24 dev eth0", "link set eth0 up", f"route add default via {HOST_INSIDE_IP}")
