"""Chains: by which relays each connection of the target went, from the program's socket to the last hop that was captured, in order.

Theory of operation
-------------------
1. What the VM's capture shows comes first: relays on the VM, its own redirect or translation. Then what the host's shows: relays on it, translation.
2. What stands between two hops of one chain is told by what the program had to say to it first: nothing (a port forwarded; a transparent proxy, if
   both go to one server), the few bytes of SOCKS, or the longer request of CONNECT. A relay that encrypts anew is a proxy.
3. One relay that both captures show (sshuttle, from either end) is listed once; the host's translation follows the VM's.

4. A bridge's port takes packets that are addressed to other machines; Linux cooked captures say so of each packet. In others a bridge shows only
   where the host translates behind it: each packet was seen twice before that.

5. A tunnel that encrypts shows by its outside in the VM's capture (:mod:`netlens.chains.tunnelled`).

Limits: without either, a bridge looks like routing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from netlens.chains import relays
from netlens.chains.linking import Linked
from netlens.chains.side import Side
from netlens.wire.tunnels import NOTES

DIRECT, NAT, SSHUTTLE, REDIRECT, SOCKS, PROXY, FORWARD = "direct", "nat", "sshuttle", "redirect", "socks", "proxy", "forward"
BRIDGE, TUNNEL = "bridge", "tunnel"
KINDS = (NAT, SSHUTTLE, REDIRECT, SOCKS, PROXY, FORWARD, BRIDGE, TUNNEL)
#: What a program says to SOCKS beside a server's name: up to 5 bytes of greeting, 7 around the name (RFC 1928 3, 4). CONNECT takes 25 and the name,
#: and most programs send header fields besides (RFC 9110 9.3.6). With an address in place of a name, SOCKS takes 26 at most, CONNECT 32 at least.
SOCKS_BYTES, SOCKS_WITH_ADDRESS_BYTES = 18, 28


def chains(linked: Linked) -> dict[str, int]:
    """Connections to the target that leave, by their chain."""
    return dict(Counter(path(linked, row) for row in np.flatnonzero(linked.upstream.target).tolist()))


def path(linked: Linked, row: int) -> str:
    """Relays of a connection of the upstream's capture, joined by ``>``; ``direct`` if there is none."""
    before, between, own = parts(linked, row)
    return ">".join(before + between + own) or DIRECT


def parts(linked: Linked, row: int) -> tuple[list[str], list[str], list[str]]:
    """Relays of a connection of the upstream's capture: up to its machine, between connections on it, and on the last of these."""
    if row not in linked.known_parts:
        linked.known_parts[row] = _parts(linked, row)
    return linked.known_parts[row]


def _parts(linked: Linked, row: int) -> tuple[list[str], list[str], list[str]]:
    up, vm, pairs = linked.upstream, linked.vm, linked.pairing
    hops = linked.served.get(row, ())
    kinds = _between(up, (*hops, row))
    first = hops[0] if hops else row
    before: list[str] = []
    mate = -1 if pairs is None or vm is None else int(pairs.vm_of[row])
    if vm is not None and mate >= 0:
        local = linked.served_in_vm.get(mate, ())
        anew = [] if local or not _asks_anew(vm, mate, linked.carried_in_vm) else [PROXY]
        before = _between(vm, (*local, mate)) + anew + _own(vm, mate)
        if vm.connections["orig_ip"][mate] in linked.tunnels and TUNNEL not in before:
            before.append(TUNNEL)
        if vm.connections["resp_ip"][mate] != up.connections["resp_ip"][first]:  # ssh -D or -L: only their ends are connections
            before.append(_kind(vm, mate, up, first))
    if (
        up.connections["path"][first] == SSHUTTLE
        and up.connections["redirect_port"][first] is None
        and not {SSHUTTLE, SOCKS, FORWARD} & {*before}
    ):
        before.append(SSHUTTLE)
    if linked.nested is not None and row in linked.nested.carriers:
        before.append(PROXY)
    kinds += [PROXY] if not hops and _asks_anew(up, row, linked.carried) else []
    return before, kinds, _own(up, row)


def _asks_anew(side: Side, row: int, carried: Mapping[int, int]) -> bool:
    """Whether a relay on the machine asks for others on the connection."""
    return bool(carried) and any(k in carried for k in side.exchange_rows[side.owner == row].tolist())


def _between(side: Side, hops: tuple[int, ...]) -> list[str]:
    """What stands between each two hops of a chain in one capture."""
    if len(hops) < 2:
        return []
    redirects = side.connections["redirect_port"]
    return [REDIRECT if redirects[a] is not None else _kind(side, a, side, b) for a, b in pairwise(hops)]


def _kind(one: Side, a: int, other: Side, b: int) -> str:
    """What a relay is by where connection ``a`` goes, and by what the program said there that did not go on in ``b``."""
    c, d = one.connections, other.connections
    if (c["resp_ip"][a], c["resp_port"][a]) == (d["resp_ip"][b], d["resp_port"][b]):
        return REDIRECT
    added = relays.sent(one, a, "orig") - relays.sent(other, b, "orig")
    most = max(SOCKS_WITH_ADDRESS_BYTES, SOCKS_BYTES + len(d["sni"][b] or c["sni"][a] or ""))
    return FORWARD if added <= 0 else SOCKS if added <= most else PROXY


def _own(side: Side, row: int) -> list[str]:
    """Relays of the machine itself on the last hop of its capture."""
    c = side.connections
    plugged = _plugged(side, row)
    if c["redirect_port"][row] is not None:
        return [*plugged, SSHUTTLE if c["tunnel_session_id"][row] is not None else REDIRECT]
    return plugged if c["nat_ip"][row] is None else [*plugged, NAT]


def _plugged(side: Side, row: int) -> list[str]:
    """What the packets came to the machine through, where that shows: a bridge or a tunnel."""
    c = side.connections
    ids, ip, own, translated = side.session_ids[row], side.sessions["orig_ip"], c["orig_ip"][row], c["nat_ip"][row]
    if translated is None and side.by_bridge.isdisjoint(ids):
        return []
    inner = next((k for k in ids if ip[k] == own), None)
    if inner is not None and inner in side.by_bridge:
        return [BRIDGE]
    outer = None if translated is None else next((k for k in ids if ip[k] == translated), None)
    if inner is None or outer is None:
        return []
    # Each packet is seen twice: on the bridge's port and on the bridge, or inside another packet and by itself. Frames that are cut otherwise
    # on one interface differ less.
    frames, copies = side.sessions["orig_frames"], side.sessions["orig_copies"]
    return [_twice(side)] if copies[inner] and 2 * frames[inner] >= 3 * frames[outer] else []


def _twice(side: Side) -> str:
    """What shows packets twice before they are translated: a tunnel, if the capture has packets inside others."""
    return TUNNEL if {name for name, _ in NOTES} & set(side.capture.table("quality")["reason"].tolist()) else BRIDGE
