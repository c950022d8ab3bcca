"""A proxy on the host that programs ask with CONNECT (tinyproxy); a program of the VM says ``proxy = "http://192.168.64.1:8888"``."""

from __future__ import annotations

import subprocess
import threading

from netlens.lab.topology import HOST, HOST_INSIDE_IP, HOST_IP, VM_NET, Context, Topology, await_line

OWN_CONNECTIONS = True
NEEDS = ("tinyproxy",)
PORT = 8888


def start(context: Context) -> None:
    start_tinyproxy(context.topology, HOST_INSIDE_IP)


def start_tinyproxy(topology: Topology, ip: str) -> None:
    """Start it on an address of the host, for the VM and the host itself."""
    config = topology.folder / "tinyproxy.conf"
    config.write_text(f"Listen {ip}\nPort {PORT}\nAllow {VM_NET}\nAllow {HOST_IP}\nLogLevel Info\n", encoding="ascii")
    child = topology.start(HOST, ["tinyproxy", "-d", "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    await_line(child.stdout, "listening on fd", "tinyproxy")
    assert child.stdout
    threading.Thread(target=child.stdout.read, daemon=True).start()  # a log that nobody reads would block it in the end
