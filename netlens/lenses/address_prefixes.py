"""Can hosts make addresses of the prefixes that routers advertise?

Asks: whether all prefixes of which hosts are told to make addresses have another length than 64 bits.
Applies: where router advertisements are in the capture, in frames of Ethernet without a tag.
Cannot see: addresses that people set by hand.
Normal: on Ethernet the other half of an address has 64 bits (RFC 2464 4, RFC 4291 2.5.1), and hosts ignore a prefix that leaves other room (RFC 4862 5.5.3).
    Where a router says that addresses are to be had by DHCPv6, or any prefix has 64 bits, hosts have one. People may set them by hand: so this is a warning,
    and a problem where a host goes beyond its network, to no such prefix, by the address that is for its link alone (RFC 4291 2.5.6), as it has no other.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._view import View, graded, most
from netlens.parsers.routers import ADDRESSES

ID = "address-prefixes"
GROUP = "handshakes"
RANK = 13
LENGTH = "/64"


def look(view: View) -> list[Finding]:
    """At most one."""
    if ADDRESSES in view.side.capture.promised:
        return []
    useless = [
        each
        for said in view.side.capture.router_advertisements.values()
        if not any(prefix.endswith(LENGTH) for each in said for prefix in each.prefixes)
        for each in said
        if each.prefixes
    ]
    if not useless:
        return []
    prefixes = sorted({prefix for each in useless for prefix in each.prefixes})
    text = (
        f"Hosts can make no address of the {'prefix' if len(prefixes) == 1 else 'prefixes'} that {most(each.router for each in useless)} advertises: "
        f"{most(prefixes)}; they need {LENGTH}."
    )
    advice = "Advertise a /64 of it on this network (radvd, or the router's LAN settings): what a provider delegates (/48, /56, /60) is to be divided."
    networks = [ip_network(prefix, strict=False) for prefix in prefixes]
    without = sorted({here for here, there in view.once(_by_link) if not any(ip_address(there) in network for network in networks)})
    if without:
        text = f"{text.removesuffix('.')}, and {most(without)} has none."
    values = {"prefixes": prefixes, "without_address": without}
    return [graded(view, ID, without, text, [each.frame for each in useless], values, advice)]


def _by_link(view: View) -> set[tuple[str, str]]:
    """Who asks for something by an address of its link, and whom, by one that is not."""
    ways = [view.ends(k)[::2] for k in range(view.sessions.rows)] + [(t.source[0], t.destination[0]) for t in view.conversations]
    ways += [(p.source, p.destination) for p in view.side.capture.asking.pings.values()]
    return {(here, there) for here, there in ways if _is_of_link(here) and is_one_host(there) and not _is_of_link(there)}


def _is_of_link(address: str) -> bool:
    return ":" in address and ip_address(address.partition("%")[0]).is_link_local
