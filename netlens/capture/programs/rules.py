"""Redirect rules, whichever program shows them, and which of them a connection meets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from netlens.capture.programs._reading import Network, is_number


@dataclass(frozen=True, slots=True)
class Rule:
    """A redirect, or a rule before it that lets packets pass; in the order in which the kernel looks at them.

    ``networks`` and ``ports`` are empty where every address and every port match. ``conditions`` is what else has to hold, as written
    (owner, mark, interface); such a rule may or may not match. ``quick`` is False only for pf, where the last rule that matches decides
    unless one says ``quick``.
    """

    table: str
    protocol: str | None
    networks: tuple[Network, ...]
    ports: tuple[tuple[int, int], ...]
    redirects: bool
    to_port: int | None
    family: int | None = None  # 4 or 6; None: both
    conditions: str = ""
    quick: bool = True

    def matches(self, protocol: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
        return (
            self.protocol in (None, protocol)
            and self.family in (None, address.version)
            and (not self.networks or any(address in network for network in self.networks if network.version == address.version))
            and (not self.ports or any(low <= port <= high for low, high in self.ports))
        )


def redirected(rules: Sequence[Rule], ip: str, port: int, protocol: str = "tcp") -> Rule | None:
    """The rule that sends a connection to ``ip:port`` into a tunnel, or None if it goes out directly.

    Rules with further conditions are passed over: they may not apply to the program in question.
    """
    address = ipaddress.ip_address(ip)
    tables: dict[str, list[Rule]] = {}
    for rule in rules:
        tables.setdefault(rule.table, []).append(rule)
    for chain in tables.values():
        decided: Rule | None = None
        for rule in chain:
            if rule.conditions or not rule.matches(protocol, address, port):
                continue
            decided = rule
            if rule.quick:
                break
        if decided is not None and decided.redirects:
            return decided
    return None


#: pf and nft write the names of these where a number was given; only what a redirect rule plausibly holds.
_SERVICES = {"ssh": 22, "domain": 53, "http": 80, "https": 443}


def port_range(text: str) -> tuple[int, int] | None:
    """``443``, ``8000-8080`` (nft), ``8000:8080`` (iptables, pf), ``https``."""
    ends = [str(_SERVICES.get(end, end)) for end in re.split("[-:]", text)]
    if len(ends) > 2 or not all(is_number(end) and int(end) <= 65535 for end in ends):
        return None
    return int(ends[0]), int(ends[-1])
