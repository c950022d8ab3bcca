"""What the readers share: numbers, addresses, networks and ``key: value`` lines in text from anywhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LINK_LOCAL, _LINK_LOCAL_GROUPS = ipaddress.IPv6Network("fe80::/16"), ipaddress.IPv6Network("ff02::/16")


def is_number(text: str) -> bool:
    """Digits that int() understands; str.isdigit alone is true of superscripts as well."""
    return text.isascii() and text.isdigit() and len(text) <= 19


def plain_address(text: str) -> str:
    """A plain address: without brackets and interface; text that is no address stays, so that nothing is lost silently.

    lsof of macOS shows the interface's number as the kernel keeps it, in the second group of a link-local address (``fe80:4::1``), where the wire has zero.
    """
    text = text.strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text or "*"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        elif address in _LINK_LOCAL or address in _LINK_LOCAL_GROUPS:
            address = ipaddress.IPv6Address(int(address) & ~(0xFFFF << 96))
    return str(address)


def network_of(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def every(texts: Iterable[str], parse: Callable[[str], T | None], conditions: list[str], otherwise: str) -> tuple[T, ...]:
    """Every text parsed; if one cannot be, none, and ``otherwise`` is one more of the conditions."""
    values = [parse(text) for text in texts]
    kept = tuple(value for value in values if value is not None)
    if len(kept) == len(values):
        return kept
    conditions.append(otherwise)
    return ()


def colon_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()
