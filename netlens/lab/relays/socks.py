"""A SOCKS proxy on the VM that leads to the host (``ssh -D``); a program of the VM says ``proxy = "socks5://127.0.0.1:1080"``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from netlens.lab.relays.sshuttle import start_sshd
from netlens.lab.topology import HOST_INSIDE_IP, VM, await_line

if TYPE_CHECKING:
    from netlens.lab.context import Context

ID = "socks"
OWN_CONNECTIONS = True
OPTIONS: dict[str, Any] = {}
NEEDS = ("sshd", "ssh", "ssh-keygen")
PORT = 1080
UP = "SOCKS-is-up"  #: nothing that ssh itself says


def start(context: Context) -> None:
    """Start sshd and ssh, and wait until the latter listens: it runs a command after that."""
    ready = ["-o", "ExitOnForwardFailure=yes", "-o", "PermitLocalCommand=yes", "-o", f"LocalCommand=echo {UP}"]
    argv = [*start_sshd(context.topology).split(), *ready, "-N", "-D", f"127.0.0.1:{PORT}", f"root@{HOST_INSIDE_IP}"]
    child = context.topology.start(VM, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    await_line(child.stdout, UP, "ssh -D")
