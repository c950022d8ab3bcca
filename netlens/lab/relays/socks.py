"""A SOCKS proxy on the VM that leads to the host (``ssh -D``); a program of the VM says ``proxy = "socks5://127.0.0.1:1080"``."""

from __future__ import annotations

import subprocess

from netlens.lab.relays.sshuttle import start_sshd
from netlens.lab.topology import HOST_INSIDE_IP, VM, Context, Topology, await_line

OWN_CONNECTIONS = True
NEEDS = ("sshd", "ssh", "ssh-keygen")
PORT = 1080
UP = "ssh-is-up"  #: nothing that ssh itself says


def start(context: Context) -> None:
    start_ssh(context.topology, "-D", f"127.0.0.1:{PORT}")


def start_ssh(topology: Topology, *forward: str) -> None:
    """Start sshd on the host and ssh on the VM with an option that forwards; ssh runs a command once it listens."""
    ready = ["-o", "ExitOnForwardFailure=yes", "-o", "PermitLocalCommand=yes", "-o", f"LocalCommand=echo {UP}"]
    argv = [*start_sshd(topology).split(), *ready, "-N", *forward, f"root@{HOST_INSIDE_IP}"]
    child = topology.start(VM, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    await_line(child.stdout, UP, "ssh")
