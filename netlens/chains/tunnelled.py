"""Tunnels that encrypt whole packets: which connections of a machine went through WireGuard, OpenVPN or a tunnel device of SSH (``ssh -w``).

Theory of operation
-------------------
1. *The outside* is told by how it opens, or by its port: messages of WireGuard (whitepaper 5.4: a number from 1 to 4 and three zeros; 51820), hard resets of
   OpenVPN (1194, over UDP and over TCP, where a length goes before), and SSH.
2. *The inside* has another address of the same machine: that of the tunnel's device. All that it sends goes through the tunnel, so the outside lasts as long,
   and carries in each direction at least as much, but not more than :data:`MOST` times as much: a tunnel adds some 30 to 80 bytes a packet.

Limits: a tunnel that compresses carries more than it seems to; one that others use as well is not recognised, nor one on an unusual port that is older than the
capture. What a tunnel of the host beyond the machine carries is not looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.side import OPENVPN_PORT, OPENVPN_RESETS, Side

WIREGUARD_PORT = 51820
MOST = 2  #: times the bytes of what it carries
HEADERS = 40  #: bytes of IP and TCP, at least
SLACK_NS = 1_000_000_000  #: the last packets inside may be older than the last outside, or newer
INITIATION = 148  #: bytes of WireGuard's first message
LEAST = 2  #: datagrams each way


class Outside(NamedTuple):
    """What carries packets: from where it goes, to where; bytes each way; first and last time."""

    name: str
    source: str
    server: tuple[str, int]
    up: int
    down: int
    first_ns: int
    last_ns: int


def outsides(side: Side) -> list[Outside]:
    """All tunnels that a capture shows from outside, in order of their beginning."""
    c, s = side.connections, side.sessions
    names = np.where(side.vpn, "OpenVPN", "").astype(object)
    ssh = (c["resp_port"] == 22) | np.array([any(s["protocol"][k] == "ssh" for k in ids) for ids in side.session_ids], bool)
    names[ssh] = "SSH"
    found = [
        Outside(name, source, (server, port), up, down, first, last)
        for name, (source, server, port, up, down, first, last) in zip(
            names.tolist(), c.tuples("orig_ip", "resp_ip", "resp_port", "orig_bytes", "resp_bytes", "start_ns", "end_ns"), strict=True
        )
        if name
    ]
    trail = side.capture.trail
    talks = {(t.source, t.destination): t for t in trail.conversations()} if trail is not None else {}
    for (source, destination), there in talks.items():
        back = talks.get((destination, source)) if there.datagrams >= LEAST else None
        if back is None or back.datagrams < LEAST or there.first_ns > back.first_ns:
            continue
        if name := _by_datagrams(there.head, there.bytes // max(there.datagrams, 1), {source[1], destination[1]}):
            last = max(there.last_ns, back.last_ns)
            found.append(Outside(name, source[0], destination, there.bytes, back.bytes, there.first_ns, last))
    return sorted(found, key=lambda each: each.first_ns)


def _by_datagrams(head: int, size: int, ports: set[int]) -> str:
    first = head.to_bytes(8, "big")
    if first[0] in (1, 2, 3, 4) and first[1:4] == bytes(3) and (WIREGUARD_PORT in ports or (first[0] == 1 and size >= INITIATION // 2)):
        return "WireGuard"
    return "OpenVPN" if OPENVPN_PORT in ports or first[0] in OPENVPN_RESETS else ""


def tunnelled(side: Side) -> dict[str, Outside]:
    """Own addresses of a machine whose connections went through a tunnel from another address of it -> that tunnel."""
    out: dict[str, Outside] = {}
    found = outsides(side)
    if not found:
        return out
    c, s = side.connections, side.sessions
    first, last = c["start_ns"].astype(np.int64), c["end_ns"].astype(np.int64)
    sent = {end: side.most(s[f"{end}_frames"].astype(np.int64)) * HEADERS + c[f"{end}_bytes"].astype(np.int64) for end in ("orig", "resp")}
    ends = c["orig_ip"].tolist()
    for address in dict.fromkeys(ends):
        rows = np.array([row for row, ip in enumerate(ends) if ip == address], np.int64)
        payload = [int(c[f"{end}_bytes"][rows].sum()) for end in ("orig", "resp")]
        whole = [int(sent[end][rows].sum()) for end in ("orig", "resp")]
        for outside in found:
            if (
                outside.source != address
                and outside.server[0] != address
                and not is_loopback(address)
                and not is_loopback(outside.source)
                and outside.first_ns <= first[rows].min()
                and outside.last_ns >= last[rows].max() - SLACK_NS
                and all(inside <= carried for inside, carried in zip(payload, (outside.up, outside.down), strict=True))
                and outside.up + outside.down <= MOST * sum(whole)
            ):
                out.setdefault(address, outside)
    return out
