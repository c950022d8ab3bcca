"""Are addresses that DHCP gives away in use already, or given to two machines?

Asks: whether two machines with one client identifier got one address and both use it; whether one hardware address answers for each address that a client
    was given, so that it declines them all.
Applies: where the leases and the answers to ARP are in the capture.
Cannot see: which of the two had the identifier first.
Normal: an identifier is that of one client (RFC 2131 4.2, RFC 4361 6.1). A machine that is made anew, or changes its hardware address, may keep it, and the
    address; then the old one is heard no more. A client declines an address that another host has (RFC 2131 3.1, RFC 5227 2.1); a router that answers for hosts
    elsewhere (proxy ARP, RFC 1027) does so for some, not for all addresses of the network that asks.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.parsers.leases import ACK, DECLINE, Message
from netlens.text import plural

ID = "dhcp-clients"
GROUP = "handshakes"
RANK = 17
ADDRESSES = 3  #: for which one answers
PROBED_NS = 10 * S  #: a client probes for some seconds before it declines (RFC 5227 1.1)


def look(view: View) -> list[Finding]:
    """At most one of each."""
    return [*_shared(view), *_declined(view)]


def _shared(view: View) -> list[Finding]:
    leases, claims = view.side.capture.leases, view.side.capture.asking.claims
    identifiers = {client: next((m.identifier for m in messages if m.identifier), b"") for client, messages in leases.items()}
    given: dict[tuple[bytes, str], dict[str, Message]] = {}
    for client, messages in leases.items():
        for m in messages:
            if m.kind == ACK and m.address and identifiers[client]:
                given.setdefault((identifiers[client], m.address), {}).setdefault(client, m)
    shared: dict[str, dict[str, Message]] = {}
    for (_, address), acks in given.items():
        since = max(m.ts for m in acks.values())
        using = {claim.hardware for claim in claims.get(address, ()) if claim.ts > since}
        using |= {client for client in acks if any(m.kind == ACK and m.address == address and m.ts > since for m in leases[client])}
        if len(both := {client: m for client, m in acks.items() if client in using}) > 1:
            shared[address] = both
    if not shared:
        return []
    clients = sorted({client for both in shared.values() for client in both})
    text = f"DHCP gave {most(shared)} to {most(clients)}, which have the same client identifier, and both use it."
    advice = "Give each machine its own identity: clones share what it is made of (/etc/machine-id, a DUID); or let the clients go by their hardware address."
    frames = [m.frame for both in shared.values() for m in both.values()]
    return [finding(view, ID, "problem", text, frames, {"addresses": sorted(shared), "clients": clients}, advice)]


def _declined(view: View) -> list[Finding]:
    claims = view.side.capture.asking.claims
    found = [
        (claim.hardware, m.address, client, claim.frame, m.frame)
        for client, messages in view.side.capture.leases.items()
        for m in messages
        if m.kind == DECLINE
        for claim in claims.get(m.address, ())
        if 0 <= m.ts - claim.ts <= PROBED_NS and claim.hardware != client
    ]
    for hardware, group in grouped(found, lambda each: each[0]).items():
        addresses = sorted({address for _, address, *_ in group})
        if len(addresses) >= ADDRESSES:
            clients = sorted({client for _, _, client, *_ in group})
            text = (
                f"{hardware} answers ARP for each address that DHCP gave to {most(clients)}, which declined all of them: "
                f"{most(addresses)} ({plural(len(addresses), 'address', 'addresses')})."
            )
            advice = f"It answers for others (proxy ARP): switch that off at the router {hardware}, or set the right netmask there."
            frames = [frame for *_, claimed, declined in group for frame in (claimed, declined)]
            return [finding(view, ID, "problem", text, frames, {"addresses": addresses, "clients": clients, "hardware": hardware}, advice)]
    return []
