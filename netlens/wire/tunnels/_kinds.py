"""What the file of a tunnel declares. Its kinds are IP protocols as ``PROTOCOL | number``, UDP ports as ``PORT | number``, and as
``SOURCE | number`` where what comes from the port may be a tunnel, too."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

PROTOCOL, PORT, SOURCE = 1 << 33, 1 << 34, 1 << 35
NO_TUNNEL = np.int64(-1), np.int64(0)
TEB = 0x6558  #: EtherType of transparent Ethernet bridging, in GRE and Geneve


class Tunnel(Protocol):
    """A header whose payload is a packet again."""

    KINDS: dict[Any, str]  #: by what it is reached, and what that is called
    ENTERED: tuple[str, str]  #: id and meaning of the note on frames whose inner packet is read

    def header(self, buf: Any, o: Any, cap: Any, length: Any, kind: Any, /) -> Any:
        """(size, kind of what follows, see :mod:`netlens.wire.link`) of the header at ``o``, of which and all behind it ``cap`` bytes of ``length`` were
        captured; NO_TUNNEL if it is none. Any datagram may go to such a port, so the header's fixed bits must be right."""

    def content(self, buf: Any, o: Any, size: Any, i: Any, kind: Any, /) -> Any:
        """As of a header of :mod:`netlens.wire.link`."""
