"""Are addresses that DHCP gives away in use already, or given to two machines?

Asks: whether two machines with one client identifier got one address and both use it; whether one hardware address answers for each address that a client
    was given, so that it declines them all.
Applies: where the leases and the answers to ARP are in the capture.
Cannot see: which of the two had the identifier first.
Normal: an identifier is that of one client (RFC 2131 4.2, RFC 4361 6.1). A machine that is made anew, or changes its hardware address, may keep it, and the
    address; then the old one is heard no more. A machine with two cards uses them by turns, and asks anew each time: two use it only where one speaks
    between two signs of the other without having asked again, or where both get it by turns within seconds. A client declines an address that another host has
    (RFC 2131 3.1, RFC 5227 2.1); a router that answers for hosts elsewhere (proxy ARP, RFC 1027) does so for some, not for all addresses of the network that
    asks.
"""

from __future__ import annotations

from itertools import pairwise, permutations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.parsers.leases import ACK, DECLINE, Message
from netlens.text import plural

ID = "dhcp-clients"
GROUP = "handshakes"
RANK = 17
ADDRESSES = 3  #: for which one answers
TURNS_NS = 10 * S  #: in which two get one address by turns; cards, or places, change more slowly
PROBED_NS = 10 * S  #: a client probes for some seconds before it declines (RFC 5227 1.1)


def look(view: View) -> list[Finding]:
    """At most one of each."""
    return [*_shared(view), *_declined(view)]


def _shared(view: View) -> list[Finding]:
    leases, claims = view.side.capture.leases, view.side.capture.asking.claims
    identifiers = {client: next((m.identifier for m in messages if m.identifier), b"") for client, messages in leases.items()}
    given: dict[tuple[bytes, str], dict[str, list[Message]]] = {}
    for client, messages in leases.items():
        for m in messages:
            if m.kind == ACK and m.address and identifiers[client]:
                given.setdefault((identifiers[client], m.address), {}).setdefault(client, []).append(m)
    shared: dict[str, dict[str, Message]] = {}
    for (_, address), acks in given.items():
        spoken = {client: [claim.ts for claim in claims.get(address, ()) if claim.hardware == client] for client in acks}
        for one, other in permutations(acks, 2):
            signs = [m.ts for m in acks[other]] + spoken[other]
            asked = sorted(m.ts for m in leases[one])
            if _speaks_between(spoken[one], asked, signs) or _by_turns(acks[one], acks[other]):
                shared.setdefault(address, {}).update({one: acks[one][0], other: acks[other][0]})
    if not shared:
        return []
    clients = sorted({client for both in shared.values() for client in both})
    text = f"DHCP gave {most(shared)} to {most(clients)}, which have the same client identifier, and both use it."
    advice = "Give each machine its own identity: clones share what it is made of (/etc/machine-id, a DUID); or let the clients go by their hardware address."
    frames = [m.frame for both in shared.values() for m in both.values()]
    return [finding(view, ID, "problem", text, frames, {"addresses": sorted(shared), "clients": clients}, advice)]


def _speaks_between(spoken: list[int], asked: list[int], signs: list[int]) -> bool:
    """Whether a client speaks by its address between two signs of another one, not having asked for it again since the first."""
    for ts in spoken:
        since = max((mine for mine in asked if mine < ts), default=ts)
        if any(since < sign < ts for sign in signs) and any(sign > ts for sign in signs):
            return True
    return False


def _by_turns(ours: list[Message], theirs: list[Message]) -> bool:
    """Whether a client gets an address, another one does, and the first does again, within seconds."""
    return any(a.ts < m.ts < b.ts <= a.ts + TURNS_NS for a, b in pairwise(ours) for m in theirs)


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
