"""What routers and hosts said of packets in ICMP errors: evidence that lenses cite.

An error counts for a flow only as it quotes it: both ends and the direction. So what a client says of an answer that came too late (its socket is closed; RFC
1122 4.1.3.1) is nothing about the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from netlens.chains.copies import COPY_NS
from netlens.lenses._view import View, grouped, most
from netlens.parsers.icmp import EXPIRED, PROHIBITED, REASSEMBLY, TOO_BIG, UNREACHABLE, Error

End = tuple[str, int]
TCP, UDP = 6, 17
ICMP = (1, 58)  #: of IPv4, of IPv6
TRACEROUTE = range(33_434, 33_701)  #: ports at which nobody is meant to listen (traceroute(8): from 33434 up)
HOPS = 3  #: routers that let packets to one destination expire: somebody asks for the way; a loop has two


def rules_to_look_at(heard: Collection[Error]) -> str:
    """Advice where errors say nothing but that it is administratively prohibited, as a filter alone does (RFC 1812 5.2.7.1); else ""."""
    if {e.what for e in heard} != {PROHIBITED}:
        return ""
    where = most(e.reporter for e in heard)
    return f"A firewall rejects, at {where} or in its name: look at its rules (nft list ruleset, or iptables-save), not at the service behind them."


def errors(view: View) -> list[Error]:
    """All of them, of copies one."""
    found: list[Error] = []
    last: dict[tuple[object, ...], int] = {}
    for each in view.side.capture.icmp_errors:
        key = (*each[2:10], each.gateway)
        if key not in last or not 0 <= each.ts - last[key] < COPY_NS:
            found.append(each)
        last[key] = each.ts
    return found


def undelivered(view: View) -> dict[tuple[int, End, End], list[Error]]:
    """Errors that say a packet did not arrive, by (protocol, source, destination) of that packet. What traceroute sends is meant not to."""
    lost = [e for e in view.once(errors) if e.what in (EXPIRED, REASSEMBLY, *UNREACHABLE)]
    expired = grouped((e for e in lost if e.what == EXPIRED), lambda e: e.destination[0])
    traced = {where for where, group in expired.items() if len({e.reporter for e in group}) >= HOPS}
    return grouped(
        (e for e in lost if e.destination[0] not in traced and not (e.protocol == UDP and e.destination[1] in TRACEROUTE)),
        lambda e: (e.protocol, e.source, e.destination),
    )


def too_big(view: View) -> dict[tuple[int, End, End], list[Error]]:
    """Errors that say a packet is too large for a link on the way, in the same manner: its sender must send smaller ones (RFC 1191, RFC 8201)."""
    return grouped((e for e in view.once(errors) if e.what == TOO_BIG), lambda e: (e.protocol, e.source, e.destination))


def fate(found: Iterable[Error]) -> str:
    """What became of packets that did not arrive."""
    words = {e.what for e in found}
    if words == {EXPIRED}:
        return "did not arrive, as the TTL ran out on the way (a routing loop, or traceroute)"
    return "arrived in part, as fragments were lost on the way" if words == {REASSEMBLY} else "reached nobody"


def said(found: Iterable[Error]) -> str:
    """ "192.0.2.1 said: host unreachable"."""
    return ", ".join(f"{most(e.reporter for e in group)} said: {what}" for what, group in grouped(found, lambda e: e.what).items())
