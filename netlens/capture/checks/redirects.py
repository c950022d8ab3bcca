"""Rules that send connections into the tunnel.

Claim: where sshuttle runs there are redirects to its ports, and where none runs there are none left.
Fix: start sshuttle again; remove the rules.
"""

from __future__ import annotations

import shlex

from netlens.capture.checks import MISSING, NOT, OK, WARNING, Machine, Result, Scene, few

TITLE = "redirect rules"
RANK = 150


def look(machine: Machine, scene: Scene) -> Result:
    rules = machine.rules
    if not rules.read:
        if not rules.refused:
            why = "no program here shows them (nft, iptables-save, pfctl)"
            return Result(WARNING, why, machine.install("nftables")) if machine.tunnels else Result(NOT, why)
        if machine.is_root or machine.sudo:
            return Result(WARNING, f"could not be read ({few(list(rules.refused), 1)})")
        text = f"only root may read them ({few([said.partition(':')[0] for said in rules.refused], 3)})"
        if not machine.tunnels and not machine.far:
            return Result(NOT, f"no sshuttle runs here, and {text}")
        return Result(WARNING, text, "" if machine.far else "sudo -v && netlens doctor")
    ports = rules.ports
    dns = [r for r in rules.rules if r.redirects and r.protocol == "udp" and (53, 53) in r.ports]
    tables = list(dict.fromkeys(r.table for r in rules.rules if r.redirects))
    by = f"read with {few(list(rules.read), 3)}"
    if not ports:
        if machine.tunnels:
            return Result(MISSING, f"sshuttle runs, but nothing is redirected to it ({by})", "stop sshuttle and start it again")
        return Result(OK if scene.vm else NOT, f"none: connections leave as they are ({by})")
    text = f"to {'port' if len(ports) == 1 else 'ports'} {', '.join(map(str, ports))} ({few(tables, 2)}){'; DNS too' if dns else ''}"
    if not machine.tunnels and any("sshuttle" in table for table in tables):
        return Result(WARNING, f"{text}, but no sshuttle runs: what is redirected is refused", _remove(tables))
    return Result(OK, text)


def _remove(tables: list[str]) -> str:
    if tables[0].startswith("inet "):
        return f"sudo nft delete table {shlex.join(tables[0].split()[:2])}"
    if tables[0].startswith("sshuttle"):
        return f"sudo pfctl -a {shlex.quote(tables[0].split()[0])} -F all"
    return "start sshuttle and stop it with Ctrl-C: it removes its rules"
