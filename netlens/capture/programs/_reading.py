"""What the readers share: numbers, addresses, networks and ``key: value`` lines in text from anywhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_number(text: str) -> bool:
    """Digits that int() understands; str.isdigit alone is true of superscripts as well."""
    return text.isascii() and text.isdigit() and len(text) <= 19


def plain_address(text: str) -> str:
    """A plain address: without brackets and interface; text that is no address stays, so that nothing is lost silently."""
    text = text.strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text or "*"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def network_of(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def every(texts: Iterable[str], parse: Callable[[str], T | None]) -> tuple[T, ...] | None:
    """Every text parsed, or None if one cannot be."""
    values = [parse(text) for text in texts]
    kept = tuple(value for value in values if value is not None)
    return kept if len(kept) == len(values) else None


def colon_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()
