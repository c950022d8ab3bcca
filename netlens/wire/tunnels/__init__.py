"""Tunnels that carry IP: where in a packet the next one begins. One tunnel a file, for the decoder and the anonymizer alike.

A tunnel is entered only if IP is found in it; otherwise the packet stays what it was, GRE or UDP. The inner packet takes the place of the outer one,
whose addresses make no session. Sessions that have the same ends in two tunnels (two tenants, say) are one here, as in Wireshark.
"""

import numpy as np

from netlens.registry import members
from netlens.wire.compiled import chosen, lean
from netlens.wire.link import IPV4, IPV6, walk
from netlens.wire.loads import byte
from netlens.wire.tunnels._kinds import PORT, PROTOCOL, SOURCE, Tunnel

__all__ = ["HEADERS", "MAX_TUNNELS", "NOTES", "PORT", "PROTOCOL", "PROTOCOLS", "SOURCE", "enter", "header", "note_of", "of_ports"]

MAX_TUNNELS = 4  #: in each other; a mobile network has two (GTP-U in IPsec or GRE), an overlay on it one more

HEADERS = members("netlens.wire.tunnels", Tunnel, unique=("KINDS", "ENTERED"))
NOTES = tuple(member.ENTERED for member in HEADERS)
PROTOCOLS = tuple(sorted(kind & 0xFF for member in HEADERS for kind in member.KINDS if kind & PROTOCOL))

_NUMBERS = np.array([(kind, k) for k, member in enumerate(HEADERS) for kind in member.KINDS], np.int64)
header = chosen(f"{__name__}.header", "buf, o, cap, length, kind", [(m.KINDS, m.header) for m in HEADERS], "np.int64(-1), np.int64(0)")


@lean
def note_of(kind):
    """Which of NOTES is that of the tunnels of a kind; -1 if it is the kind of none."""
    for k in range(len(_NUMBERS)):
        if _NUMBERS[k, 0] == kind:
            return _NUMBERS[k, 1]
    return np.int64(-1)


@lean
def of_ports(source, destination):
    """(kind, note) of the tunnel that a UDP datagram may be by its ports; note -1 if it is none."""
    kind = PORT | destination
    note = note_of(kind)
    if note < 0:
        kind = SOURCE | source
        note = note_of(kind)
    return kind, note


@lean
def enter(buf, o, cap, length, kind):
    """The packet in the tunnel of ``kind`` whose header is at ``o``.

    Returns
    -------
    (size, following, start, EtherType)
        size of the header, -1 if there is none or no IP in it, or if it is cut before that shows; kind of what is behind it; where IP begins, and which.
    """
    size, following = header(buf, o, cap, length, kind)
    if size >= 0:
        start, found, _where = walk(buf, o + size, o + cap, following)
        if 0 <= start < o + cap and (found == IPV4 or found == IPV6) and byte(buf, start) >> 4 == (4 if found == IPV4 else 6):
            return size, following, start, found
    return np.int64(-1), np.int64(0), np.int64(-1), np.int64(0)
