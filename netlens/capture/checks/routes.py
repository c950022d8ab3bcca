"""Routes.

Claim: there is a default route, it is no VPN's, and sshuttle's tproxy method, where it is used, has the routing table it needs.
Fix: make that table. A VPN is only said: the provider then sees its address.
"""

from __future__ import annotations

import re

from netlens.capture.checks import MISSING, OK, WARNING, Machine, Result, Scene, few
from netlens.capture.programs.network import parse_fwmark_rules

TITLE = "routes"
RANK = 120


def look(machine: Machine, scene: Scene) -> Result:
    defaults = [r for r in machine.facts.routes if r.destination in ("default", "0/1", "0.0.0.0/1", "::/0", "0.0.0.0/0")]
    if not defaults:
        return Result(WARNING, "no default route: only neighbours can be reached" if machine.facts.routes else "could not be listed")
    shown = few(
        [f"{'default' if '/' not in r.destination else r.destination} via {r.gateway or r.interface} ({r.interface})" for r in defaults], 2
    )
    if machine.tunnels and any(p.method == "tproxy" for p in machine.tunnels):
        if 1 not in parse_fwmark_rules(machine.said.get("ip rule", "")):
            fix = "sudo ip route add local default dev lo table 100 && sudo ip rule add fwmark 0x1 lookup 100"
            return Result(MISSING, f"{shown}; sshuttle's tproxy needs a routing table for marked packets, and there is none", fix)
        return Result(OK, f"{shown}; marked packets have sshuttle's table")
    tunnels = [r.interface for r in defaults if r.interface and re.match(r"(utun|tun|tap|wg|ppp|ipsec)\d*", r.interface)]
    if tunnels:
        return Result(
            WARNING,
            f"{shown}: {few(tunnels, 3)} {'looks' if len(tunnels) == 1 else 'look'} like a VPN; the provider then sees its address, not this network's",
        )
    return Result(OK, f"{shown}; sshuttle makes no routes, see its redirect rules" if machine.tunnels else shown)
