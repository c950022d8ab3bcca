"""Excludes of the tunnel (``-x``), and whether they still work.

Claim: what was excluded goes out directly.
Fix: start sshuttle again. It resolves a name once, when it starts; what it resolved to is nowhere kept, so this is read from the redirect rules, and where
    these cannot be read it is said to be unknown.
"""

from __future__ import annotations

from netlens.capture.checks import API_PORT, NOT, OK, WARNING, Machine, Result, Scene, few
from netlens.capture.programs.rules import redirected
from netlens.capture.programs.sshuttle import SshuttleProcess, Subnet, parse_subnet

TITLE = "excludes"
RANK = 170


def look(machine: Machine, scene: Scene) -> Result:
    if not machine.tunnels:
        return Result(NOT, "no sshuttle runs")
    process = machine.tunnels[0]
    excludes = [subnet for text in process.excludes if (subnet := parse_subnet(text)) is not None]
    named = [subnet for subnet in excludes if subnet.is_name]
    wanted = [(name, address) for name in scene.apis for address in machine.resolve(name)]
    wanted += [(s.text, a) for s in named for a in machine.resolve(s.host) if (s.host, a) not in wanted]
    if not wanted:
        return Result(NOT, "no name that could be excluded has an address")
    restart = f"restart sshuttle: -x is resolved once, when it starts (now: {' '.join('-x ' + s.text for s in excludes)})"
    pf = process.method == "pf" or (process.method == "auto" and machine.system == "Darwin")
    if not any("sshuttle" in rule.table for rule in machine.rules.rules):
        return _excludes_unread(process, excludes, wanted, pf, restart)
    ports = {s.text: s.ports[0] for s in named if s.ports}
    direct: list[tuple[str, str]] = []
    tunnelled: list[tuple[str, str]] = []
    for name, address in wanted:
        rule = redirected(machine.rules.rules, address, ports.get(name, API_PORT))
        (direct if rule is None else tunnelled).append((name, address))
    dead = sorted({name for name, _ in tunnelled if name in {s.text for s in named} or name in {s.host for s in named}})
    covered = sorted({s.text for s in excludes if any(s.covers(a, API_PORT) for _, a in tunnelled)})
    if covered:
        why = (
            " (sshuttle 2.0.0's pf rules take everything before they come to the excludes)"
            if pf and (process.version or "2.0.0") == "2.0.0"
            else ""
        )
        return Result(
            WARNING, f"dead: -x {few(covered, 3)} has no effect{why}", "use sshuttle 1.3.2, or --method other than pf" if pf else restart
        )
    if dead:
        moved = few(sorted({address for name, address in tunnelled if name in dead}), 3)
        return Result(WARNING, f"dead: {few(dead, 3)} is now {moved}, which goes through the tunnel", restart)
    if direct and tunnelled:
        text = f"{_go(_distinct(direct))} out directly, {few(_distinct(tunnelled), 3)} through the tunnel"
        half = sorted({n for n, _ in direct} & {n for n, _ in tunnelled})
        if half:
            return Result(WARNING, f"{_go(half)} both ways: {text}", restart)
        return Result(OK, text)
    if tunnelled:
        return Result(
            OK, f"{_go(_distinct(tunnelled))} through the tunnel; no exclude names {'it' if len(_distinct(tunnelled)) == 1 else 'them'}"
        )
    return Result(OK, f"effective: {_go(_distinct(direct))} out directly")


def _excludes_unread(process: SshuttleProcess, excludes: list[Subnet], wanted: list[tuple[str, str]], pf: bool, restart: str) -> Result:
    """What can be said of excludes when the rules cannot be read: only what stands on the command line."""
    if pf and (process.version or "2.0.0") == "2.0.0" and excludes:
        known = "sshuttle 2.0.0" if process.version else "sshuttle of unknown version (2.0.0?)"
        return Result(
            WARNING, f"{known} with pf seems to disable all excludes by the order of its rules; only root can see the rules", "sudo -v"
        )
    covered = [name for name, address in wanted if any(s.covers(address, API_PORT) for s in excludes)]
    named = [s.text for s in excludes if s.is_name]
    if named:
        return Result(
            WARNING, f"{few(named, 3)}: resolved when sshuttle started; only root can see whether its addresses still hold", restart
        )
    if covered:
        return Result(OK, f"{few(sorted(set(covered)), 3)} {'is' if len(set(covered)) == 1 else 'are'} excluded by address")
    more = "; a file with more of them was given (-X or @), which is not read" if process.excludes_elsewhere else ""
    names = _distinct(wanted)
    told = "is not excluded: it goes" if len(names) == 1 else "are not excluded: they go"
    return Result(OK, f"{few(names, 3)} {told} through the tunnel{more}")


def _go(names: list[str]) -> str:
    return f"{few(names, 3)} {'goes' if len(names) == 1 else 'go'}"


def _distinct(pairs: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for name, _ in pairs))
