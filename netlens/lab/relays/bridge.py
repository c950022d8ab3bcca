"""The VM plugged into a bridge on the host, as libvirt and Docker do it, behind the host's translation of addresses.

A capture of all the host's interfaces shows each packet of the VM on the bridge's port, on the bridge, and translated on the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlens.lab.topology import HOST, HOST_INSIDE_IP

if TYPE_CHECKING:
    from netlens.lab.context import Context

ID = "bridge"
OWN_CONNECTIONS = False
OPTIONS: dict[str, Any] = {}
NEEDS = ()
BRIDGE, PORT = "virbr0", "vmnet0"


def start(context: Context) -> None:
    """Move the host's inside address to a bridge, and make the VM's interface a port of it."""
    for words in (
        f"link add {BRIDGE} address 02:00:00:40:00:01 type bridge",  # the address that the VM may have resolved already
        f"addr del {HOST_INSIDE_IP}/24 dev {PORT}",
        f"link set {PORT} master {BRIDGE}",
        f"addr add {HOST_INSIDE_IP}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        context.topology.inside(HOST, "ip", *words.split())
