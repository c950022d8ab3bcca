"""IP addresses as text: what is one, and what stays inside a machine."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=4096)
def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)  # captures have few addresses and many connections
def is_loopback(ip: str) -> bool:
    """Whether an address (perhaps with a zone, ``%eth0``) never leaves its machine."""
    return ipaddress.ip_address(ip.partition("%")[0]).is_loopback


@lru_cache(maxsize=4096)
def is_one_host(ip: str) -> bool:
    """Whether an address is of one machine: neither multicast nor unspecified nor, as far as it shows, broadcast."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    return not (address.is_multicast or address.is_unspecified or ip.endswith(".255"))
