"""Who asks on a link itself, before there is any IP: hosts for a PPPoE server, and for being let into the network by 802.1X or by PPP inside PPPoE.

Kept while ``netlens analyze`` reads a capture, and by no other command. PPPoE discovery (RFC 2516 5): a host broadcasts PADI, and whoever serves answers with
PADO. EAP over a LAN (IEEE 802.1X-2010 11.3; RFC 3748 4): the network ends with Success or Failure what a host answered; where it answered nothing, as one that
knows nothing of 802.1X, a Failure refuses nobody. Logins of PPP (PAP: RFC 1334 2.2; CHAP: RFC 1994 4.2; EAP: RFC 3748 4.2) end with an answer of the server.

On the air (IEEE 802.11) hosts answer to the access point, and several may at once. Wi-Fi Protected Setup ends with a Failure by design (Wi-Fi Simple
Configuration 2.0 7.7): it refuses nobody.

Limits: of the first :data:`MAX_MESSAGES`, in frames of Ethernet without a tag, and of IEEE 802.11; logins of PPP inside PPPoE, with tags or without.
"""

import numpy as np

from netlens.columns import Array
from netlens.parsers.asking import Seen
from netlens.parsers.denials import BY_NAME, Answer
from netlens.parsers.routers import vlans
from netlens.wire import decode as d

MAX_MESSAGES = 50_000
LOOKED_AT = 16  #: bytes of a message
PPPOE, EAPOL = 0x8863, 0x888E  #: the first also stands for what controls PPP (:mod:`netlens.wire.link.ppp`)
_SESSION = b"\x88\x64\x11\0"  # EtherType of PPPoE sessions, and how their header begins
_HEADER = 8  # bytes of it, with the number of the protocol inside PPP
PADI, PADO = 0x09, 0x07
_PACKET, _START = 0, 1  # types of EAPOL
_REQUEST, _RESPONSE = 1, 2  # codes of EAP
_EAP, _PPP = BY_NAME["EAP"], BY_NAME["PPP"]
_SETUP = 254  # the type of EAP in which Wi-Fi Protected Setup goes
_SNAP = b"\xaa\xaa\x03\0\0\0"


class LinkBuilder:
    """Fed with what the decoder hands back.

    sought : by a host's hardware address, when it looked for a PPPoE server.  offered : hosts to which one offered itself.
    answers : of 802.1X and PPP, in order.
    knocking : by a host's hardware address, when it asked by 802.1X to be asked who it is (EAPOL-Start).  asking : who asks hosts who they are.
    """

    def __init__(self) -> None:
        self.sought: dict[str, list[Seen]] = {}
        self.offered: set[str] = set()
        self.answers: list[Answer] = []
        self.knocking: dict[str, list[Seen]] = {}
        self.asking: set[str] = set()
        self._on_air: set[str] = set()  # hosts that answered there
        self._answering = ""  # which host answered last: to a group of addresses (802.1X 11.1.1), so on a link of two
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        kinds = rows[:, 3]
        chosen = rows[(rows[:, d.PIECE] == d.OF_LINK) & ((kinds == PPPOE) | (kinds == EAPOL))][: MAX_MESSAGES - self._read]
        if not len(chosen):
            return
        self._read += len(chosen)
        heard = rows[rows[:, d.PIECE] == d.HEARD]
        heard = heard[np.isin(heard[:, 0], chosen[:, 0])]
        on_air = dict(zip(heard[:, 0].tolist(), heard[:, 11].tolist(), strict=True))
        for frame, ts, _, kind, _, _, _, _, _, _, _, at, _, captured in chosen.tolist():
            if frame in on_air:
                if kind == EAPOL and captured > 5 and buf[at + 1] == _PACKET and buf[at - 8 : at - 2].tobytes() == _SNAP:
                    ends = buf[on_air[frame] + 4 : on_air[frame] + 16].tobytes()
                    self._eap_on_air(
                        buf[at : at + min(captured, LOOKED_AT)].tobytes(), Seen(ts, frame), ends[6:].hex(":"), ends[:6].hex(":")
                    )
                continue
            if kind == PPPOE and at >= _HEADER + 14 and buf[at - _HEADER - 2 : at - _HEADER + 2].tobytes() == _SESSION:
                self._login(buf, at, captured, Seen(ts, frame))
                continue
            header = buf[at - 14 : at].tobytes() if at >= 14 else b""
            if header[12:] != kind.to_bytes(2, "big") or header[8:10] == b"\x81\x00":
                continue
            message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
            sender, receiver = header[6:12].hex(":"), header[:6].hex(":")
            if kind == PPPOE and message[:1] == b"\x11" and len(message) > 1:
                if message[1] == PADI:
                    self.sought.setdefault(sender, []).append(Seen(ts, frame))
                elif message[1] == PADO:
                    self.offered.add(receiver)
            elif kind == EAPOL and len(message) > 1 and message[1] == _START:
                self.knocking.setdefault(sender, []).append(Seen(ts, frame))
            elif kind == EAPOL and len(message) > 4 and message[1] == _PACKET:
                self._eap(message, Seen(ts, frame), sender)

    def _login(self, buf: Array, at: int, captured: int, seen: Seen) -> None:
        """A message that controls PPP, behind the number of its protocol."""
        message = buf[at - 2 : at + min(captured, LOOKED_AT)].tobytes()
        header = at - _HEADER - 14 - 4 * len(vlans(buf, at - _HEADER))
        if header >= 0 and len(message) > 2 and (no := _PPP.read(message, len(message))) is not None:
            server, client = buf[header + 6 : header + 12].tobytes().hex(":"), buf[header : header + 6].tobytes().hex(":")
            self.answers.append(Answer(*seen, _PPP.NAME, server, client, no))

    def _eap(self, message: bytes, seen: Seen, sender: str) -> None:
        if message[4] == _REQUEST:
            self.asking.add(sender)
        if message[4] == _RESPONSE:
            self._answering = sender
        elif (no := _EAP.read(message, len(message))) is not None and self._answering:
            self.answers.append(Answer(*seen, _EAP.NAME, sender, self._answering, no))
            self._answering = ""

    def _eap_on_air(self, message: bytes, seen: Seen, sender: str, receiver: str) -> None:
        if message[4] == _REQUEST:
            self.asking.add(sender)
        if message[4] == _RESPONSE:
            (self._on_air.discard if message[8:9] == bytes([_SETUP]) else self._on_air.add)(sender)
        elif receiver in self._on_air and (no := _EAP.read(message, len(message))) is not None:
            self._on_air.discard(receiver)
            self.answers.append(Answer(*seen, _EAP.NAME, sender, receiver, no))
