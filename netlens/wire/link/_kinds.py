"""What a header file declares, and the words that it uses for it.

A *kind* is a number for what stands at a place: an EtherType as it is (up to 1500 it is a length, behind which LLC stands), a link type as
``LINK | number``. ``END | kind``: nothing that is read follows; the kind says as what it is counted.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from netlens.wire.compiled import lean

LINK, END = 1 << 32, 1 << 24
IPV4, IPV6, PPP_OTHER = 0x0800, 0x86DD, 0x880B  #: PPP_OTHER: RFC 5994; also what is told of PPP frames without IP

#: What frames of IEEE 802.11 are counted as behind ``END``, which no EtherType is: encrypted; management, control and without data; a piece of what was sent
#: in fragments; damaged on the way
AIR_ENCRYPTED, AIR_TALK, AIR_PIECE, AIR_DAMAGED = 1401, 1402, 1403, 1404
#: In ``where`` of what was heard on the air, besides to (1) and from (2) the distribution system: that it was; sent once more (Retry); the first packet of
#: several in one frame (A-MSDU)
ON_AIR, AIR_RETRY, AIR_FIRST = 0x80, 0x08, 0x10

#: What ``header`` says in place of a size: the header is cut; it is none that is read.
CUT, NOT_READ = -1, -2

#: What a byte of a header is to a copy with addresses replaced: set to zero; kept; the first of six of a hardware address; the same, but its upper four
#: bits must stay; the first of 24 of an interface's name; set to ones.
BLANK, KEPT, MAC, MAC_BELOW, NAME, ONES = 0, 1, 2, 3, 4, 5


class Header(Protocol):
    """A link type, or what may stand between one and the network header."""

    KINDS: dict[Any, str]  #: kinds (a ``range``: all in it) by which the header is reached, and their names

    def header(self, buf: Any, o: Any, cap: Any, kind: Any, /) -> Any:
        """(size, kind, where) of the header at ``o``, of which ``cap`` bytes and all that follows are there: CUT, NOT_READ or its size, never beyond
        ``cap``; the kind of what follows; what tells the capture point apart inside one interface (else 0)."""

    def content(self, buf: Any, o: Any, size: Any, i: Any, kind: Any, /) -> Any:
        """What byte ``i`` of the header at ``o`` is to a copy. ``size``: of the header; of a cut one the bytes that are there."""


@lean
def is_likely(kind):
    """Whether it is an EtherType that frames often begin with: how Ethernet is told where nothing says that it is."""
    return kind in (0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x8847, 0x8863, 0x8864)


@lean
def all_kept(buf, o, size, i, kind):
    """``content`` of a header that names nobody."""
    return np.int64(KEPT)
