"""What stations and access points of IEEE 802.11 say on the air: which networks there are, who is let in or sent away, how keys are agreed on, how well frames
get through.

Kept while ``netlens analyze`` reads a capture, and by no other command. Management frames: IEEE 802.11-2020 9.3.3 and 9.4; EAPOL-Key: 12.7.2, of which the
four messages of the handshake (12.7.6) are told apart. A frame that is sent once more (Retry, 10.3.4.4) counts as one message. Of data frames sums are kept
by access point and station: of those to a group nobody sends one once more, so they are left out.

Limits: of the first :data:`MAX_MESSAGES`, a network's first beacon of each batch counting as one; what management frames say under protection (PMF) is
not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.link_talk import EAPOL
from netlens.wire import decode as d
from netlens.wire.link import AIR_RETRY
from netlens.wire.link.ieee80211 import CONTROL, DATA, FROM_DS, MANAGEMENT, ORDER, PROTECTED, TO_DS

MAX_MESSAGES = 200_000
MAX_PAIRS = 20_000  #: of access point and station
_HEADER = 24  # bytes of three addresses
_LOOKED_AT = 600  # bytes of a message
_SHOWN = 20  # frames that are remembered to show something
#: Subtypes of management frames
ASSOCIATION, REASSOCIATION, PROBE, PROBED, BEACON, DISASSOCIATION, AUTHENTICATION, DEAUTHENTICATION = 0, 2, 4, 5, 8, 10, 11, 12
KEY = 16  #: no subtype: a message of the handshake
_SSID, _CHANNEL, _RSN, _HT, _VENDOR = 0, 3, 48, 61, 221  # elements
_WPA = b"\x00\x50\xf2\x01"  # a vendor's element that names the first WPA
_SAE = (b"\x00\x0f\xac\x08", b"\x00\x0f\xac\x09")  # how WPA3 lets stations in
_PRIVACY = 0x10  # capability
_EAPOL_KEY = 3
_PAIRWISE, _ACK, _MIC, _SECURE = 0x0008, 0x0080, 0x0100, 0x0200  # of key information
_DATA_LENGTH = 97  # where in EAPOL-Key it stands, with a MIC of 16 bytes
_SECOND = 10**9
EVERYBODY = "ff:ff:ff:ff:ff:ff"


class Event(NamedTuple):
    """Something that a station and an access point say to each other.

    what : a subtype, or KEY.  by_ap : whether the access point says it.  answers : whether it answers a request.  code : status or reason, -1 if it is not
    known; step : of authentication its number, of KEY 1 to 4.
    """

    ts: int
    frame: int
    what: int
    ap: str
    station: str
    by_ap: bool
    answers: bool
    code: int
    step: int


@dataclass(slots=True)
class Network:
    """What an access point says of itself.  name : "" if it hides it.  channel : 0 if it is not known.  security : WPA3, WPA2, WPA, WEP, "open" or "" """

    name: str = ""
    channel: int = 0
    security: str = ""
    frame: int = 0


@dataclass(slots=True)
class Flow:
    """Data frames between an access point and a station, one way.  loud : sum of their signals in dBm, of so many ``heard``.  shown : frames sent once more.
    secret_s : seconds in which encrypted frames were sent."""

    frames: int = 0
    again: int = 0
    encrypted: int = 0
    loud: int = 0
    heard: int = 0
    last_ns: int = 0
    shown: list[int] = field(default_factory=list)
    secret_s: set[int] = field(default_factory=set)


class Sought(NamedTuple):
    """A station asked for a network by its name."""

    ts: int
    frame: int
    station: str


class WlanBuilder:
    """Fed with what the decoder hands back.

    networks : by the access point's address.  events : in order.  flows : by access point, station and whether to the access point.  sought : by name of a
    network, who asked for it.  management, control : frames.
    """

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.events: list[Event] = []
        self.flows: dict[tuple[str, str, bool], Flow] = {}
        self.sought: dict[str, list[Sought]] = {}
        self.management = self.control = self.data = self.encrypted = 0
        self._latest: dict[bytes, tuple[int, bytes]] = {}  # by sender, subtype and sequence control of its last message
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        heard = rows[rows[:, d.PIECE] == d.HEARD]
        if not len(heard):
            return
        what, subtype = heard[:, 4] >> 10 & 3, heard[:, 4] >> 12
        self.management += int((what == MANAGEMENT).sum())
        self.control += int((what == CONTROL).sum())
        self._data(buf, heard[(what == DATA) & (heard[:, 13] >= _HEADER)])
        chosen = (what == MANAGEMENT) & (heard[:, 13] >= _HEADER)
        beacons = np.flatnonzero(chosen & (subtype == BEACON))
        if len(beacons):
            _, first = np.unique(_address(buf, heard[beacons, 11], 16), return_index=True)
            chosen[np.delete(beacons, first)] = False
        keys = {row[0]: row for row in rows[(rows[:, d.PIECE] == d.OF_LINK) & (rows[:, 3] == EAPOL)].tolist()}
        if keys:
            chosen |= np.isin(heard[:, 0], list(keys))
        for row in heard[chosen][: MAX_MESSAGES - self._read].tolist():
            self._read += 1
            frame, ts, control, mhz, at = row[0], row[1], row[4], row[6], row[11]
            header = buf[at : at + _HEADER].tobytes()
            sender, latest = header[10:16], (control >> 8, header[22:24])
            if control & AIR_RETRY and self._latest.get(sender) == latest:
                continue
            self._latest[sender] = latest
            if frame in keys:
                key = keys[frame]
                self._key(ts, frame, control, header, buf[key[11] : key[11] + min(key[13], _LOOKED_AT)].tobytes())
            elif control >> 10 & 3 == MANAGEMENT:
                begin = _HEADER + (4 if control & ORDER else 0)
                body = b"" if control & PROTECTED else buf[at + begin : at + min(row[13], _LOOKED_AT)].tobytes()
                self._management(ts, frame, control >> 12, header, body, mhz)

    # -- data --

    def _data(self, buf: Array, rows: Array) -> None:
        if not len(rows):
            return
        control, at = rows[:, 4], rows[:, 11]
        carries = control >> 12 & 4 == 0
        secret = carries & (control & PROTECTED != 0)
        self.data += int(carries.sum())
        self.encrypted += int(secret.sum())
        one, two = _address(buf, at, 4), _address(buf, at, 10)
        up, down = control & TO_DS != 0, control & FROM_DS != 0
        single = (one >> 40 & 1 == 0) & ~(up & down) & (up | down)
        ap, station = np.where(up, one, two), np.where(up, two, one)
        keys, which = np.unique(np.stack([ap, station, up], axis=1)[single], axis=0, return_inverse=True)
        which = which.reshape(-1)
        frames, ts, again = rows[single, 0], rows[single, 1], control[single] & AIR_RETRY != 0
        real, hidden, dbm = carries[single], secret[single], rows[single, 5]
        for k, (ap_, station_, up_) in enumerate(keys.tolist()):
            flow = self.flows.get(name := (_text(ap_), _text(station_), bool(up_)))
            if flow is None:
                if len(self.flows) >= MAX_PAIRS:
                    continue
                flow = self.flows[name] = Flow()
            of = which == k
            repeated = of & again & real
            flow.frames += int((of & real).sum())
            flow.again += int(repeated.sum())
            flow.encrypted += int((of & hidden).sum())
            flow.loud += int(dbm[of].sum())
            flow.heard += int((dbm[of] != 0).sum())
            flow.last_ns = max(flow.last_ns, int(ts[of].max()))
            flow.shown += frames[repeated][: max(_SHOWN - len(flow.shown), 0)].tolist()
            if up_:
                flow.secret_s.update((ts[of & hidden] // _SECOND).tolist())

    # -- messages --

    def _management(self, ts: int, frame: int, subtype: int, header: bytes, body: bytes, mhz: int) -> None:
        receiver, sender, ap = (header[k : k + 6].hex(":") for k in (4, 10, 16))
        if subtype in (BEACON, PROBED):
            self._network(sender, frame, body, mhz)
        elif subtype == PROBE:
            if name := _name(_elements(body).get(_SSID, b"")):
                self.sought.setdefault(name, []).append(Sought(ts, frame, sender))
        elif subtype in (ASSOCIATION, REASSOCIATION):
            self._tell(ts, frame, ASSOCIATION, ap, sender, by_ap=False)
            name = _name(_elements(body[4 if subtype == ASSOCIATION else 10 :]).get(_SSID, b""))
            network = self.networks.setdefault(ap, Network(frame=frame))
            network.name = network.name or name
        elif subtype in (ASSOCIATION + 1, REASSOCIATION + 1):
            self._tell(ts, frame, ASSOCIATION, ap, receiver, by_ap=True, answers=True, code=_le16(body, 2))
        elif subtype == AUTHENTICATION:
            by_ap, step = sender == ap, _le16(body, 2)
            self._tell(ts, frame, subtype, ap, receiver if by_ap else sender, by_ap=by_ap, answers=by_ap, code=_le16(body, 4), step=step)
        elif subtype in (DISASSOCIATION, DEAUTHENTICATION):
            by_ap = sender == ap
            self._tell(ts, frame, subtype, ap, receiver if by_ap else sender, by_ap=by_ap, code=_le16(body, 0))

    def _tell(
        self, ts: int, frame: int, what: int, ap: str, station: str, *, by_ap: bool, answers: bool = False, code: int = 0, step: int = 0
    ) -> None:
        self.events.append(Event(ts, frame, what, ap, station, by_ap, answers, code, step))

    def _network(self, ap: str, frame: int, body: bytes, mhz: int) -> None:
        elements = _elements(body[12:])
        known = self.networks.get(ap)
        if known is None:
            if len(self.networks) >= MAX_PAIRS:
                return
            known = self.networks[ap] = Network(frame=frame)
        known.name = known.name or _name(elements.get(_SSID, b""))
        told = elements.get(_CHANNEL, b"")[:1] or elements.get(_HT, b"")[:1]
        known.channel = told[0] if told else known.channel or channel_of(mhz)
        rsn = elements.get(_RSN)
        if rsn is not None:
            known.security = "WPA3" if any(suite in rsn for suite in _SAE) else "WPA2"
        elif len(body) >= 12 and not known.security:
            wep = "WPA" if elements.get(_VENDOR, b"")[:4] == _WPA else "WEP"
            known.security = wep if _le16(body, 10) & _PRIVACY else "open"

    def _key(self, ts: int, frame: int, control: int, header: bytes, message: bytes) -> None:
        if len(message) < 7 or message[1] != _EAPOL_KEY or control & 3 not in (TO_DS, FROM_DS):
            return
        one, two = header[4:10].hex(":"), header[10:16].hex(":")
        info, by_ap = int.from_bytes(message[5:7], "big"), bool(control & FROM_DS)
        if not info & _PAIRWISE:
            return
        if by_ap:
            step = 3 if info & _MIC else 1
        else:
            step = 4 if info & _SECURE or message[_DATA_LENGTH : _DATA_LENGTH + 2] == b"\0\0" else 2
        if bool(info & _ACK) == by_ap:
            self._tell(ts, frame, KEY, two if by_ap else one, one if by_ap else two, by_ap=by_ap, step=step)


def channel_of(mhz: int) -> int:
    """The number of a channel in the bands of 2.4, 5 and 6 GHz (IEEE 802.11-2020 annex E), 0 if it is none."""
    if mhz == 2484:
        return 14
    if 2407 < mhz < 2484:
        return (mhz - 2407) // 5
    if 5000 < mhz < 5900:
        return (mhz - 5000) // 5
    return (mhz - 5950) // 5 if 5950 < mhz < 7125 else 0


def _address(buf: Array, at: Array, place: int) -> Array:
    """int64[n]: hardware addresses as numbers."""
    octets = buf[at[:, None] + np.arange(place, place + 6)].astype(np.int64)
    return (octets << np.arange(40, -1, -8)).sum(axis=1)


def _text(address: int) -> str:
    return address.to_bytes(6, "big").hex(":")


def _le16(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 2], "little") if len(body) >= at + 2 else -1


def _elements(body: bytes) -> dict[int, bytes]:
    """The first element of each number (9.4.2); of vendors' that of the first WPA, if there is one."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(body):
        number, size = body[at], body[at + 1]
        data = body[at + 2 : at + 2 + size]
        if number not in found or (number == _VENDOR and data[:4] == _WPA):
            found[number] = data
        at += 2 + size
    return found


def _name(ssid: bytes) -> str:
    """A network's name, "" if it is hidden or that of any."""
    return ssid[:32].decode("utf-8", "replace") if any(ssid) else ""
