"""A port on the VM that leads to the provider over the host (``ssh -L``); a program of the VM says ``base_url = "https://127.0.0.1:8443"``."""

from __future__ import annotations

from netlens.lab.relays.socks import start_ssh
from netlens.lab.topology import PROVIDER_IP, Context

OWN_CONNECTIONS = True
NEEDS = ("sshd", "ssh", "ssh-keygen")
PORT = 8443


def start(context: Context) -> None:
    start_ssh(context.topology, "-L", f"127.0.0.1:{PORT}:{PROVIDER_IP}:443")
