"""A SOCKS proxy on the VM that leads to the host (``ssh -D``); a program of the VM says ``proxy = "socks5://127.0.0.1:1080"``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from netlens.lab.relays.sshuttle import start_sshd
from netlens.lab.topology import HOST_INSIDE_IP, VM, LabError

if TYPE_CHECKING:
    from netlens.lab.context import Context

ID = "socks"
OWN_CONNECTIONS = True
OPTIONS: dict[str, Any] = {}
NEEDS = ("sshd", "ssh", "ssh-keygen")
PORT = 1080


def start(context: Context) -> None:
    """Start sshd and ssh, and wait until the latter listens: it runs a command after that."""
    ready = ["-o", "ExitOnForwardFailure=yes", "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready"]
    argv = [*start_sshd(context.topology).split(), *ready, "-N", "-D", f"127.0.0.1:{PORT}", f"root@{HOST_INSIDE_IP}"]
    child = context.topology.start(VM, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    for line in child.stdout or ():
        said.append(line.strip())
        if line == "ready\n":
            return
    raise LabError(f"ssh -D did not start: {'; '.join(said)}")
