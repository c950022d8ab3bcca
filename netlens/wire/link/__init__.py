"""Link types, and what may stand between one and the network header: one header a file, for the decoder and the anonymizer alike.

A file declares by which kinds its header is reached (``KINDS``), how long it is and what follows it (``header``), and what each of its bytes is to a copy
with addresses replaced (``content``); :class:`netlens.wire.link._kinds.Header` says how. A new header needs a new file and a test with
its frames (``FORMS``, in tests/wire/link): names, messages, the anonymizer and the reference page follow.

Frames of link types that no file declares are counted as ``link_type``.
"""

import numpy as np

from netlens.registry import members
from netlens.wire.compiled import chosen, inlined
from netlens.wire.link._kinds import (
    AIR_DAMAGED,
    AIR_ENCRYPTED,
    AIR_FIRST,
    AIR_PIECE,
    AIR_RETRY,
    AIR_TALK,
    BLANK,
    CUT,
    IPV4,
    IPV6,
    KEPT,
    LINK,
    MAC,
    MAC_BELOW,
    NAME,
    NOT_READ,
    ON_AIR,
    ONES,
    PPP_OTHER,
    Header,
    all_kept,
    is_likely,
)  # fmt: skip

__all__ = [
    "AIR_DAMAGED", "AIR_ENCRYPTED", "AIR_FIRST", "AIR_PIECE", "AIR_RETRY", "AIR_TALK", "BLANK", "CUT",
    "ETHERNET", "HEADERS", "IPV4", "IPV6", "KEPT", "LINK", "MAC", "MAC_BELOW", "MAX_HEADERS", "NAME", "NAMES", "NOT_READ", "ONES", "ON_AIR",
    "PPP_OTHER", "READ", "all_kept", "header", "is_likely", "network_start", "walk",
]  # fmt: skip

ETHERNET = LINK | 1  #: the kind of an Ethernet header, which other headers carry too
#: Headers followed in one frame: an Ethernet header and eight tags or labels. QinQ has two, service-provider stacks rarely four.
MAX_HEADERS = 9

HEADERS = members("netlens.wire.link", Header, unique=("KINDS",))
_KINDS = {kind: name for member in HEADERS for kind, name in member.KINDS.items()}
#: Link types that are read.
READ = tuple(sorted(kind & 0xFFFFFFFF for kind in _KINDS if isinstance(kind, int) and kind & LINK))
NAMES = {
    # These are not read; they have a name so that a message can say what the frames are.
    143: "DOCSIS", 187: "Bluetooth", 201: "Bluetooth", 189: "USB", 220: "USB", 195: "IEEE 802.15.4", 230: "IEEE 802.15.4", 253: "Netlink",
    **{number: _KINDS[LINK | number] for number in READ},
}  # fmt: skip

#: ``header`` of the file that declares ``kind``.
header = chosen(f"{__name__}.header", "buf, o, cap, kind", [(m.KINDS, m.header) for m in HEADERS], "np.int64(-2), kind, np.int64(0)")


@inlined
def walk(buf, o, end, kind):
    """From a header of ``kind`` at ``o`` to the network header.

    Returns
    -------
    (start, kind, where)
        start: offset into buf, CUT, or NOT_READ (of a link type); kind: the EtherType of what is there; where: what tells the capture point apart
        inside one interface (SLL2: ifindex << 8 | packet type; SLL: packet type; PKTAP: hash of the interface's name << 8; IEEE 802.11: ON_AIR and
        flags; else 0).
    """
    where = np.int64(0)
    for _ in range(MAX_HEADERS):
        size, following, here = header(buf, o, end - o, kind)
        if size == CUT:
            return size, kind & 0xFFFF, where
        if size == NOT_READ:
            break
        o += size
        kind = following
        where = here if here != 0 else where
        if kind == IPV4 or kind == IPV6:
            return o, kind, where
    return np.int64(NOT_READ if kind >= LINK else o), kind & 0xFFFF, where


@inlined
def network_start(buf, o, cap, link):
    """:func:`walk` from the start of a frame of ``link`` type."""
    return walk(buf, o, o + cap, LINK | link)
