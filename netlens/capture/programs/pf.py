"""Redirect rules of macOS, from pfctl."""

from __future__ import annotations

import re

from netlens.capture.programs._reading import Network, every, is_number, network_of
from netlens.capture.programs.rules import Rule, port_range


def parse_pf_rules(text: str, table: str = "pf") -> list[Rule]:
    """Rules of ``pfctl -a ANCHOR -s nat`` and ``-s rules`` as sshuttle writes them.

    Two kinds take part: ``pass out route-to lo0`` sends a packet to the loopback interface, where ``rdr`` sends it to sshuttle's port. The
    first kind decides what is tunnelled; its rows have no port. Without ``quick`` the last rule that matches decides.
    """
    rules = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] not in ("rdr", "pass"):
            continue
        if words[0] == "pass" and "out" not in words:
            continue
        rdr = words[0] == "rdr"
        arrow = words.index("->") if "->" in words else len(words)
        before, after = words[:arrow], words[arrow + 1 :]
        protocol = before[before.index("proto") + 1 :][:1] if "proto" in before else []
        family = 4 if "inet" in before else 6 if "inet6" in before else None
        networks: tuple[Network, ...] = ()
        ports: tuple[tuple[int, int], ...] = ()
        # rdr works "on lo0", on what a filter rule has sent there: by itself it redirects nothing of this machine's own
        conditions = [" ".join(before[before.index("on") :][:2])] if "on" in before else []
        for word in ("user", "group"):  # whose connections: not everybody's
            if word in before:
                conditions.append(" ".join(before[before.index(word) :][:3]))
        if not rdr and "from" in before and before[before.index("from") + 1 :][:1] not in ([], ["any"]):
            conditions.append(" ".join(before[before.index("from") : before.index("to") if "to" in before else None]))
        if "to" in before:
            target = before[before.index("to") + 1 :]
            if target and target[0] not in ("any", "port"):
                # not a table (<dns_servers>), a negation, an interface
                networks = every([target[0]], network_of, conditions, f"to {target[0]}")
            if "port" in target:
                value = [word for word in target[target.index("port") + 1 :] if word != "="][:1]
                ports = every(value, port_range, conditions, f"port {' '.join(value)}")
        to_port = None
        if rdr:
            number = after[after.index("port") + 1 :][:1] if "port" in after else []
            if not number or not is_number(number[0]):
                continue
            to_port = int(number[0])
        rules.append(
            Rule(
                f"{table} {'rdr' if rdr else 'filter'}",
                protocol[0] if protocol else None,
                networks,
                ports,
                rdr or "route-to" in before,
                to_port,
                family,
                " ".join(conditions),
                rdr or "quick" in before,
            )
        )
    return rules


def parse_pf_anchors(text: str) -> list[str]:
    """Names of ``pfctl -s Anchors -v``."""
    return [line.strip() for line in text.splitlines() if re.fullmatch(r"[\w./-]+", line.strip())]
