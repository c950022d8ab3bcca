"""Redirect rules, from ``nft list ruleset``."""

from __future__ import annotations

from netlens.capture.programs._reading import Network, every, is_number, network_of
from netlens.capture.programs.rules import Rule, port_range


def parse_nft_rules(text: str) -> list[Rule]:
    """Redirects and returns of ``nft list ruleset``, in order."""
    rules = []
    blocks: list[list[str]] = []  # what is open: a table, and in it a chain, a set, ...
    for line in text.splitlines():
        words = line.split()
        match words, blocks:
            case [*head, "{"], _:
                blocks.append(head)
            case ["}"], _:
                del blocks[-1:]
            case [_, *_], [["table", family, table], ["chain", chain]]:
                name = f"{family} {table}" if table == chain else f"{family} {table} {chain}"
                if (rule := _nft_rule(words, name, family)) is not None:
                    rules.append(rule)
    return rules


def _nft_set(words: list[str]) -> list[str]:
    """The value that ``words`` begin with, taken off them: one word, or all of ``{ a, b }``."""
    if words[:1] == ["{"] and "}" in words:
        end = words.index("}")
        values = [word.rstrip(",") for word in words[1:end]]
        del words[: end + 1]
        return values
    return [words.pop(0)] if words else []


def _nft_rule(words: list[str], table: str, family_of_table: str) -> Rule | None:
    words = list(words)
    protocol: str | None = None
    networks: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    conditions: list[str] = []
    family = {"ip": 4, "ip6": 6}.get(family_of_table)
    redirects, to_port, passes = False, None, False
    while words:
        match words:
            case ["meta", "l4proto", ("tcp" | "udp") as protocol, *words] | ["ip", "protocol", ("tcp" | "udp") as protocol, *words]:
                pass
            case ["meta", "nfproto", ("ipv4" | "ipv6") as name, *words]:
                family = 4 if name == "ipv4" else 6
            case [("ip" | "ip6") as name, "daddr", value, *_] if value != "!=":
                words = words[2:]
                family = 4 if name == "ip" else 6
                # not a range or a named set, which is not shown with its members
                networks = every(_nft_set(words), network_of, conditions, "daddr") or networks
            case [("tcp" | "udp" | "th") as name, "dport", value, *_] if value != "!=":
                words = words[2:]
                protocol = protocol if name == "th" else name
                ports = every(_nft_set(words), port_range, conditions, "dport") or ports
            case ["counter", "packets", _, "bytes", _, *words] | ["counter", *words]:
                pass
            case ["meta", "mark", "set", _, *words] | ["log", *words]:
                pass
            case ["comment", *_]:
                break
            case ["redirect" | "tproxy", *rest]:
                # tproxy may name a family and an address first: "tproxy ip to 127.0.0.1:12300"
                rest = rest[1:] if rest[:1] in (["ip"], ["ip6"]) else rest
                redirects = True
                if rest[:1] == ["to"] and len(rest) > 1:
                    number = rest[1].rpartition(":")[2]
                    to_port = int(number) if is_number(number) else None
                break
            case ["dnat", *rest]:
                target = rest[rest.index("to") + 1 :][:1] if "to" in rest else []
                host, _, number = target[0].rpartition(":") if target else ("", "", "")
                local = network_of(host.strip("[]"))
                if local is None or not local.is_loopback or not is_number(number):
                    return None  # to another machine: a port forward, not a redirect into a program of this one
                redirects, to_port = True, int(number)
                break
            case ["return" | "accept", *_]:
                passes = True
                break
            case _:
                conditions.append(words.pop(0))
    if not redirects and not passes:
        return None
    return Rule(table, protocol, networks, ports, redirects, to_port, family, " ".join(conditions))
