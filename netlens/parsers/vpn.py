"""How tunnels begin over UDP: IKE (RFC 7296 3.1, at ports 500 and 4500) and OpenVPN (its hard resets, whatever the port).

Both encrypt what they say of a login that fails; lengths, repeats and what follows tell it. Kept while ``netlens analyze`` reads a capture, and by no other
command.

Limits: of the first :data:`MAX_ATTEMPTS` of each; a client of OpenVPN that got data through once is left alone from then on.
"""

from dataclasses import dataclass, field

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_ATTEMPTS = 20_000
End = tuple[str, int]
IKE_PORTS = (500, 4500)
_IKE_HEADER, _VERSION_2 = 28, 2
_INIT, _AUTH = 34, 35  # exchanges
_FRAGMENT = 53  # the payload of a fragment (RFC 7383 2.5)
_RESPONSE, _INITIATOR = 0x20, 0x08  # flags
_RESETS, _RESET_BACK, _SHORTEST = (0x38, 0x50), 0x40, 14  # first bytes of OpenVPN: hard resets of a client and of a server
_CONTROL, _OPCODE = 4, 3  # P_CONTROL_V1; bits below an opcode
_DATA = (6, 9)  # P_DATA_V1, P_DATA_V2
_ODD = -0x61C8864680B583EB  # 2^64 by the golden ratio (Knuth, TAOCP 6.4)


@dataclass
class Login:
    """An attempt of IKEv2, by the number that its initiator chose.

    asked : last message of IKE_AUTH of the client.  answer, answer_ts, answer_frame : bytes of the server's last answer to one, 0 without, and when it came.
    answered : the number of the message that this answers; its fragments (RFC 7383) count together.
    """

    ts: int
    frame: int
    client: str
    server: str
    asked: int = 0
    answer: int = 0
    answer_ts: int = 0
    answer_frame: int = 0
    answered: bytes = b""


@dataclass
class Handshakes:
    """What a client of OpenVPN begins with a server.  sessions : by its number, the first reset.  answered : those behind which the server said more than that
    it is there.  data : whether data came or went."""

    sessions: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    answered: set[bytes] = field(default_factory=set)
    last_ns: int = 0
    data: bool = False


class VpnBuilder:
    """Fed with decoded datagrams.  logins : of IKE, in order, by the initiator's number.  openvpn : by client and server."""

    def __init__(self) -> None:
        self.logins: dict[bytes, Login] = {}
        self.openvpn: dict[tuple[str, End], Handshakes] = {}
        self._of: dict[
            int, tuple[str, End, bool]
        ] = {}  # by mixed ends of a packet, the pair that it belongs to, and whether the client sends it
        self._now: dict[tuple[str, End], bytes] = {}
        self._known = np.empty(0, np.int64)

    def feed(self, buf: Array, packets: Array) -> None:
        ports = packets[:, c.PORTS]
        source, destination = ports >> 16 & 0xFFFF, ports & 0xFFFF
        ike = (source == IKE_PORTS[0]) | (source == IKE_PORTS[1]) | (destination == IKE_PORTS[0]) | (destination == IKE_PORTS[1])
        chosen = packets[ike & (packets[:, c.PAY_CAP] >= _IKE_HEADER)]
        if len(chosen):  # ESP, behind NAT at the same port, is most of it
            begins = buf[chosen[:, c.PAY_OFF][:, None] + np.arange(4)]
            plain = (chosen[:, c.PORTS] & 0xFFFF != IKE_PORTS[1]) & (chosen[:, c.PORTS] >> 16 & 0xFFFF != IKE_PORTS[1])
            chosen = chosen[plain | ~begins.any(axis=1)]
        for row in chosen.tolist():
            at = row[c.PAY_OFF]
            self._ike(buf[at : at + _IKE_HEADER + 4].tobytes(), row)
        there = packets[:, c.PAY_CAP] >= _SHORTEST
        first = buf[np.minimum(packets[:, c.PAY_OFF], len(buf) - 1)]
        opens = there & ((first == _RESETS[0]) | (first == _RESETS[1]))
        if not opens.any() and not len(self._known):
            return
        for row in packets[opens].tolist():
            self._opened(row)
        mixed = _mixed(packets)
        of_known = there & np.isin(mixed, self._known)
        for row, key in zip(packets[of_known].tolist(), mixed[of_known].tolist(), strict=True):
            if key in self._of:
                at = row[c.PAY_OFF]
                self._openvpn(self._of[key], buf[at : at + 9].tobytes(), row)

    # -- IKE --

    def _ike(self, message: bytes, row: list[int]) -> None:
        if IKE_PORTS[1] in (row[c.PORTS] & 0xFFFF, row[c.PORTS] >> 16 & 0xFFFF):  # behind NAT, in front of what is not ESP (RFC 3948 2.2)
            message = message[4:]
        if len(message) < _IKE_HEADER or message[17] >> 4 != _VERSION_2:
            return
        number, exchange, flags, length = message[:8], message[18], message[19], int.from_bytes(message[24:28], "big")
        login = self.logins.get(number)
        if exchange == _INIT and not flags & _RESPONSE and flags & _INITIATOR:
            if login is None and len(self.logins) < MAX_ATTEMPTS:
                client, server = _ends(row)
                self.logins[number] = Login(row[c.TS], row[c.FRAME], client[0], server[0])
        elif login is not None and exchange == _AUTH:
            if flags & _RESPONSE:
                before = login.answer if message[16] == _FRAGMENT and login.answered == message[20:24] else 0
                login.answer, login.answer_ts, login.answer_frame = before + length, row[c.TS], row[c.FRAME]
                login.answered = message[20:24]
            else:
                login.asked = max(login.asked, int.from_bytes(message[20:24], "big"))

    # -- OpenVPN --

    def _opened(self, row: list[int]) -> None:
        client, server = _ends(row)
        pair = client[0], server
        if len(self._of) >= 2 * MAX_ATTEMPTS or (pair in self.openvpn and self.openvpn[pair].data):
            return
        self.openvpn.setdefault(pair, Handshakes())
        keys = [int(each) for each in _mixed(np.array([row, _turned(row)], np.int64))]
        if keys[0] not in self._of:
            self._of[keys[0]], self._of[keys[1]] = (*pair, True), (*pair, False)
            self._known = np.array(list(self._of), np.int64)

    def _openvpn(self, of: tuple[str, End, bool], message: bytes, row: list[int]) -> None:
        client, server, asks = of
        pair, kind = self.openvpn[client, server], message[0] >> _OPCODE
        if pair.data:
            return
        pair.last_ns = row[c.TS]
        if asks and message[0] in _RESETS:
            self._now[client, server] = message[1:9]
            pair.sessions.setdefault(message[1:9], (row[c.TS], row[c.FRAME]))
        elif not asks and kind == _CONTROL and (client, server) in self._now:
            pair.answered.add(self._now[client, server])
        elif kind in _DATA:
            pair.data = True


def _ends(row: list[int]) -> tuple[End, End]:
    version, ports = row[c.PORTS] >> 32, row[c.PORTS]
    return (
        (ip_text(row[c.SRC_HI], row[c.SRC_LO], version), ports >> 16 & 0xFFFF),
        (ip_text(row[c.DST_HI], row[c.DST_LO], version), ports & 0xFFFF),
    )


def _turned(row: list[int]) -> list[int]:
    """The ends of a packet as those of an answer to it."""
    out, ports = list(row), row[c.PORTS]
    out[c.SRC_HI], out[c.SRC_LO], out[c.DST_HI], out[c.DST_LO] = row[c.DST_HI], row[c.DST_LO], row[c.SRC_HI], row[c.SRC_LO]
    out[c.PORTS] = (ports >> 32 << 32) | (ports & 0xFFFF) << 16 | (ports >> 16 & 0xFFFF)
    return out


def _mixed(packets: Array) -> Array:
    """int64[n]: both ends of packets as one number each."""
    mixed = np.zeros(len(packets), np.int64)
    for column in (c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS):
        mixed = mixed * _ODD + packets[:, column]  # modulo 2^64
    return mixed
