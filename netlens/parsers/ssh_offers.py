"""Which algorithms the two ends of SSH offer each other in clear (KEXINIT, RFC 4253 7.1), where both offers were recorded from the first byte.

Kept while ``netlens analyze`` reads a capture, and by no other command. Names of algorithms are kept, no more.

Limits: of the first :data:`MAX_SESSIONS` connections; both streams must begin by "SSH-" and come in order, and an offer end within :data:`MAX_OPENING` bytes.
"""

from dataclasses import dataclass, field

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import grown
from netlens.wire import columns as c

MAX_SESSIONS = 10_000
MAX_OPENING = 16_384  #: bytes of version and offer; with post-quantum algorithms 2 kB
_WORD = np.frombuffer(b"SSH-", np.uint8)
_KEXINIT, _COOKIE, _LISTS = 20, 16, 10

Offer = list[list[str]]  #: the ten lists of names in their order


@dataclass
class Offers:
    """What both ends of a session offer: by way (0 the session's first endpoint), None where it is not known; and the frames in which the offers end."""

    by_way: list[Offer | None] = field(default_factory=lambda: [None, None])
    frames: list[int] = field(default_factory=list)


class OfferBuilder:
    """Fed with decoded packets whose sessions are known.  sessions : by number of the session."""

    def __init__(self) -> None:
        self.sessions: dict[int, Offers] = {}
        self._texts: dict[tuple[int, int], bytearray] = {}  # by session and way, what came so far of an offer
        self._open: Array = np.zeros(1024, bool)  # by session, whether it is read

    @property
    def follows(self) -> bool:
        """Whether an offer is being read."""
        return bool(self._texts)

    def feed(self, buf: Array, packets: Array) -> None:
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - 4)
        of = packets[:, c.SESSION]
        begins = (packets[:, c.OFFSET] == 0) & (packets[:, c.PAY_CAP] > 4) & (of >= 0) & (buf[at] == _WORD[0])
        if begins.any():
            begins &= (buf[at[:, None] + np.arange(4)] == _WORD).all(axis=1)
            for session in of[begins].tolist() if len(self.sessions) < MAX_SESSIONS else ():
                self._follow(session)
        if not self._texts:
            return
        known = np.minimum(of, len(self._open) - 1)
        chosen = (of == known) & (of >= 0) & self._open[known] & (packets[:, c.LENGTH] > 0)
        for row in packets[chosen].tolist():
            self._take(buf, row)

    def _follow(self, session: int) -> None:
        if session in self.sessions:
            return
        if session >= len(self._open):
            self._open = grown(self._open, session + 1)
        self._open[session] = True
        self.sessions[session] = Offers()
        self._texts[session, 0], self._texts[session, 1] = bytearray(), bytearray()

    def _take(self, buf: Array, row: list[int]) -> None:
        session, way, at = row[c.SESSION], row[c.DIRECTION], row[c.PAY_OFF]
        text = self._texts.get((session, way))
        if text is None or row[c.OFFSET] + row[c.LENGTH] <= len(text):
            return
        if row[c.OFFSET] != len(text) or row[c.PAY_CAP] < row[c.LENGTH]:
            self._end(session, way)  # something is missing
            return
        text += buf[at : at + row[c.PAY_CAP]].tobytes()
        offer = _offer(bytes(text))
        if offer is not None or len(text) >= MAX_OPENING:
            self.sessions[session].by_way[way] = offer
            self.sessions[session].frames.append(row[c.FRAME])
            self._end(session, way)

    def _end(self, session: int, way: int) -> None:
        del self._texts[session, way]
        if (session, 1 - way) not in self._texts:
            self._open[session] = False


def _offer(text: bytes) -> Offer | None:
    """The ten lists of names, once they are there."""
    if not text.startswith(bytes(_WORD)) or (line := text.find(b"\n") + 1) == 0:
        return None
    size = int.from_bytes(text[line : line + 4], "big")
    packet = text[line + 4 : line + 4 + size]
    if len(packet) < max(size, 2) or packet[1] != _KEXINIT:
        return None
    at, lists = 2 + _COOKIE, []
    for _ in range(_LISTS):
        length = int.from_bytes(packet[at : at + 4], "big")
        lists.append(packet[at + 4 : at + 4 + length].decode("ascii", "replace").split(","))
        at += 4 + length
    return lists if at <= len(packet) else None
