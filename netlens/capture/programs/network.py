"""Interfaces, routes, name servers and addresses of names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netlens.addresses import is_address
from netlens.capture.programs._reading import network_of, plain_address


def parse_resolv_conf(text: str) -> tuple[str, ...]:
    """Name servers of ``/etc/resolv.conf``, in order; they keep the interface of a link-local address (``fe80::1%eth0``)."""
    words = [re.split(r"[#;]", line)[0].split() for line in text.splitlines()]
    return _servers(w[1] for w in words if w[:1] == ["nameserver"] and len(w) > 1)


def parse_scutil_dns(text: str) -> tuple[str, ...]:
    """Name servers of macOS (``scutil --dns``): of the first resolver that is for every name, and of all of its kind.

    Resolvers for one domain (mDNS, a VPN's) and the lists of scoped and service-specific queries, which repeat them by interface, are left out.
    """
    servers: list[str] = []
    for block in re.split(r"(?m)^(?=resolver #)", text.partition("DNS configuration (for ")[0]):
        if not re.search(r"(?m)^\s*domain\s*:", block) or "search domain" in block:
            servers += re.findall(r"(?m)^\s*nameserver\[\d+\]\s*:\s*(\S+)", block)
    return _servers(servers)


def _servers(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(server for server in found if is_address(server.partition("%")[0])))


def parse_addresses(text: str) -> list[str]:
    """Addresses of a name in the output of ``getent ahosts``, ``dscacheutil -q host`` or ``host``, each once, in the resolver's order."""
    found: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["ip_address:" | "ipv6_address:", *more]:
                found += more
            case [_, "has", "address", word] | [_, "has", "IPv6", "address", word]:
                found.append(word)
            case [first, *_]:
                found.append(first)
    return list(dict.fromkeys(plain_address(word) for word in found if is_address(word.partition("%")[0])))


@dataclass(frozen=True, slots=True)
class Route:
    """One route; ``destination`` is a network, ``default``, or as printed where it is neither; ``gateway`` None where there is none (a neighbour)."""

    destination: str
    gateway: str | None
    interface: str | None


def parse_routes(text: str) -> list[Route]:
    """Routes of ``ip route`` (also ``ip -6 route``), or of ``netstat -rn`` on Linux and macOS."""
    lines = text.splitlines()
    headings = [line.split() for line in lines]
    if any(words[:2] == ["Destination", "Gateway"] for words in headings):
        return list(_netstat_routes(headings))
    return list(_ip_routes(headings))


def _ip_routes(lines: Iterable[list[str]]) -> Iterator[Route]:
    for words in lines:
        if words and words[0] in ("unreachable", "blackhole", "prohibit", "throw", "local", "broadcast", "anycast", "multicast", "unicast"):
            words = words[1:]
        if not words or (words[0] != "default" and network_of(words[0]) is None):
            continue
        options = dict(itertools.pairwise(words))
        gateway = options.get("via")
        if gateway in ("inet", "inet6"):
            gateway = options.get(gateway)
        yield Route(words[0], gateway, options.get("dev"))


def _netstat_routes(lines: Iterable[list[str]]) -> Iterator[Route]:
    columns: list[str] = []
    for words in lines:
        if words[:2] == ["Destination", "Gateway"]:
            columns = ["Netif" if word in ("Iface", "If") else word for word in words]
            continue
        if len(words) < len(columns) - 1 or len(words) < 4 or not columns:  # macOS leaves Expire empty
            continue
        row = dict(zip(columns, words, strict=False))
        destination = row["Destination"]
        if mask := row.get("Genmask"):
            network = network_of(f"{destination}/{mask}")
            if network is None:
                continue
            destination = str(network) if network.prefixlen else "default"
        gateway: str | None = row["Gateway"]
        if gateway in ("0.0.0.0", "*", "::") or re.fullmatch(r"link#\d+|[0-9a-f]{1,2}([:.][0-9a-f]{1,2}){5}", row["Gateway"]):
            gateway = None
        yield Route(destination, gateway, row.get("Netif"))


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; ``up`` is None where it is not shown."""

    name: str
    addresses: tuple[str, ...]
    up: bool | None


def parse_ip_addresses(text: str) -> list[Interface]:
    """``ip -brief address``."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or not words[1].isupper():
            continue
        # loopback and tunnels have no carrier to report, and are UNKNOWN while they work
        addresses = tuple(plain for word in words[2:] if is_address(plain := word.partition("/")[0]))
        found.append(Interface(words[0].partition("@")[0], addresses, words[1] != "DOWN"))
    return found


def parse_ifconfig(text: str) -> list[Interface]:
    """``ifconfig -a`` of macOS."""
    found: list[Interface] = []
    for line in text.splitlines():
        if head := re.match(r"([\w.-]+): flags=[0-9a-fA-F]+<([^>]*)>", line):
            found.append(Interface(head[1], (), "UP" in head[2].split(",")))
        elif found and (address := re.match(r"\s+inet6? ([0-9a-fA-F.:]+)", line)) and is_address(address[1]):
            last = found[-1]
            found[-1] = Interface(last.name, (*last.addresses, address[1]), last.up)
    return found


def parse_fwmark_rules(text: str) -> list[int]:
    """Marks that ``ip rule`` sends to a routing table of their own; sshuttle's tproxy method needs one, and does not make it."""
    marks = re.findall(r"(?a)fwmark (0x[0-9a-fA-F]{1,8}|\d{1,10})(?:/0x[0-9a-fA-F]+)? lookup", text)
    return [int(mark, 16) if mark.startswith("0x") else int(mark) for mark in marks]
