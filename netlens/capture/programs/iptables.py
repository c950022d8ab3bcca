"""Redirect rules, from iptables-save and ip6tables-save."""

from __future__ import annotations

import re
import shlex

from netlens.capture.programs._reading import Network, every, is_number, network_of
from netlens.capture.programs.rules import Rule, port_range


def parse_iptables_rules(text: str) -> list[Rule]:
    """Redirects and returns of ``iptables-save`` or ``ip6tables-save``, in order."""
    rules = []
    table = ""
    family = 6 if "ip6tables-save" in text else 4 if "iptables-save" in text else None
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            continue
        line = re.sub(r"^\[\d+:\d+\] ", "", line)  # counters, with -c
        if not line.startswith("-A "):
            continue
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        match words:
            case [_, chain, *rest] if (rule := _iptables_rule(rest, f"{table} {chain}", family)) is not None:
                rules.append(rule)
    return rules


def _iptables_rule(words: list[str], table: str, family: int | None) -> Rule | None:
    protocol: str | None = None
    networks: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    conditions: list[str] = []
    target, to_port = "", None
    while words:
        match words:
            case ["-p", value, *words]:
                protocol = value
            case ["-d", value, *words]:
                networks = every([value], network_of, conditions, value) or networks
            case ["--dport" | "--dports", value, *words]:
                ports = every(value.split(","), port_range, conditions, value) or ports
            case ["-m", "tcp" | "udp" | "multiport" | "comment", *words] | ["--comment", _, *words]:
                pass
            case ["-j", target, *words]:
                pass
            case ["--to-ports" | "--on-port", value, *words]:
                first = value.partition("-")[0]
                to_port = int(first) if is_number(first) else None
            case ["--on-ip" | "--tproxy-mark", _, *words]:
                pass
            case _:
                conditions.append(words[0])
                words = words[1:]
    if target not in ("REDIRECT", "TPROXY", "RETURN", "ACCEPT"):
        return None
    return Rule(table, protocol, networks, ports, target in ("REDIRECT", "TPROXY"), to_port, family, " ".join(conditions))
