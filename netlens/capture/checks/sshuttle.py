"""The tunnel.

Claim: one sshuttle runs on the VM.
Fix: end the one too many. Where none runs that is only said: a recording without a tunnel is of use too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlens.capture.checks import NOT, OK, WARNING, Machine, Result, Scene

if TYPE_CHECKING:
    from netlens.capture.programs.sshuttle import SshuttleProcess

TITLE = "sshuttle"
RANK = 140
#: A table of redirect rules, and the method that makes it.
_METHODS = (("^(inet|ip) sshuttle", "nft"), ("mangle sshuttle", "tproxy"), ("nat sshuttle", "nat"), ("^sshuttle", "pf"))


def look(machine: Machine, scene: Scene) -> Result:
    if not machine.tunnels:
        if machine is scene.here:
            return Result(NOT, "none runs here" + (": a tunnel starts in the VM" if scene.vm or scene.target else ""))
        return Result(WARNING, "none runs: connections leave by NAT; start it first if the tunnel is what you ask about")
    texts = []
    for process in machine.tunnels:
        method = process.method
        if method == "auto" and (chosen := _chosen_method(machine)):
            method = f"{chosen} (chosen by itself)"
        ports = ", ".join(str(p) for p in process.listen_ports or machine.listening(process.pid))
        texts.append(
            f"{_version(machine, process)}, method {method}"
            + (f", to {process.remote}" if process.remote else "")
            + (f", listens on {ports}" if ports else "")
            + (", with DNS" if process.dns else ", without DNS")
            + (", --auto-hosts adds lookups of its own on the host" if process.auto_hosts else "")
        )
    if len(texts) > 1:
        if not (machine.is_root or machine.sudo):  # nor can it be told whether they are of this network namespace
            return Result(WARNING, f"{len(texts)} run at once, some perhaps in containers: {'; '.join(texts)}")
        return Result(WARNING, f"{len(texts)} run at once: {'; '.join(texts)}", f"sudo kill {machine.tunnels[0].pid}")
    return Result(OK, texts[0])


def _version(machine: Machine, process: SshuttleProcess) -> str:
    if process.version:
        return process.version
    if installed := machine.facts.sshuttle:
        return f"{installed} (the one installed; the running one does not say)"
    return "version unknown"


def _chosen_method(machine: Machine) -> str | None:
    tables = (rule.table for rule in machine.rules.rules)
    return next((method for table in tables for pattern, method in _METHODS if re.search(pattern, table)), None)
