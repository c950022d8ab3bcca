"""A CONNECT proxy (tinyproxy) that the VM reaches through sshuttle: on an address of the host that the tunnel carries.

A program of the VM says ``proxy = "http://203.0.113.1:8888"``. On the host the tunnel's connection to the proxy stays on loopback.
"""

from __future__ import annotations

from netlens.lab.relays import connect, sshuttle
from netlens.lab.topology import HOST_IP, Context

OWN_CONNECTIONS = True
NEEDS = (*connect.NEEDS, *sshuttle.NEEDS)


def start(context: Context) -> None:
    """The proxy first: its address is there before the tunnel."""
    connect.start_tinyproxy(context.topology, HOST_IP)
    sshuttle.start(context)
