"""Servers over UDP that say no: Kerberos errors, RADIUS rejections, SIP failures, DHCP refusals.

Kept while ``netlens analyze`` reads a capture, and by no other command. Of a message only what says no is read: an error's number or a status.

Formats: RFC 4120 5.9.1 and 7.5.9, RFC 2865 3, RFC 3261 21, RFC 2131 3 with RFC 2132 9.6.

Limits: of the first :data:`MAX_MESSAGES` from these ports; not of Kerberos and SIP over TCP.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

Array = np.ndarray[Any, Any]

MAX_MESSAGES = 100_000
LOOKED_AT = 600  #: bytes of a message
KERBEROS, RADIUS, SIP, DHCP = "Kerberos", "RADIUS", "SIP", "DHCP"
_OF_PORT = {88: KERBEROS, 1645: RADIUS, 1812: RADIUS, 5060: SIP, 67: DHCP}
_KERBEROS = {
    1: "client's entry has expired", 2: "service's entry has expired", 6: "client not known", 7: "service not known", 8: "several entries for one name",
    12: "policy forbids it", 14: "no common encryption", 18: "account disabled", 23: "password has expired", 24: "wrong password", 29: "KDC not available",
    31: "integrity check failed", 32: "ticket has expired", 33: "ticket not yet valid", 34: "replay", 36: "ticket and client do not match", 37: "clocks differ",
    41: "message was modified", 44: "key version not known", 60: "generic error",
}  # fmt: skip
#: An option not granted, a type of data not used, preauthentication wanted, ask again by TCP, ask another realm (RFC 6806 7)
_ORDINARY = (13, 16, 25, 52, 68)
_REFUSING = (403, 408)  #: of SIP; other 4xx and 6xx are answers to probes, negotiation, and what people do with a call
_MAGIC = b"\x63\x82\x53\x63"
_NAK = 6


class Answer(NamedTuple):
    """A server's answer; ``no``: in words, "" if it grants what was asked."""

    ts: int
    frame: int
    protocol: str
    server: str
    client: str  # of DHCP its hardware address
    no: str


class DenialBuilder:
    """Fed with decoded packets."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        """Take in a batch (int64[n, WIDTH])."""
        ports = packets[:, c.PORTS] >> 16 & 0xFFFF
        chosen = np.flatnonzero((packets[:, c.KIND] == c.UDP) & np.isin(ports, tuple(_OF_PORT)))[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row, port in zip(packets[chosen], ports[chosen].tolist(), strict=True):
            at, captured = int(row[c.PAY_OFF]), int(row[c.PAY_CAP])
            protocol = _OF_PORT[port]
            message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
            no = _READ[protocol](message, int(row[c.LENGTH]))
            if no is not None:
                version = int(row[c.PORTS]) >> 32
                server, client = (ip_text(int(row[hi]), int(row[lo]), version) for hi, lo in ((c.SRC_HI, c.SRC_LO), (c.DST_HI, c.DST_LO)))
                if protocol == DHCP:  # a NAK is broadcast, what follows need not be (RFC 2131 4.1)
                    client = message[28:34].hex(":")
                self.answers.append(Answer(int(row[c.TS]), int(row[c.FRAME]), protocol, server, client, no))


def _kerberos(message: bytes, _: int) -> str | None:
    if message[:1] in (b"\x6b", b"\x6d"):  # AS-REP, TGS-REP
        return ""
    at = message.find(b"\xa6\x03\x02\x01")  # error-code [6] INTEGER
    if message[:1] != b"\x7e" or at < 0 or at + 4 >= len(message):
        return None
    code = message[at + 4]
    return None if code in _ORDINARY else _KERBEROS.get(code, f"error {code}")


def _radius(message: bytes, length: int) -> str | None:
    if len(message) < 20 or message[0] not in (2, 3) or int.from_bytes(message[2:4], "big") != length:
        return None
    return "Access-Reject" if message[0] == 3 else ""


def _sip(message: bytes, _: int) -> str | None:
    status = message[8:11]
    if not message.startswith(b"SIP/2.0 ") or not status.isdigit() or status[:1] == b"1":
        return None
    code = int(status)
    return "" if code < 400 else str(code) if code in _REFUSING or 500 <= code < 600 else None


def _dhcp(message: bytes, _: int) -> str | None:
    if len(message) < 244 or message[0] != 2 or message[236:240] != _MAGIC:
        return None
    at = 240
    while at + 2 < len(message) and message[at] != 255:
        if message[at] == 53:
            return "NAK" if message[at + 2] == _NAK else ""
        at += 1 if message[at] == 0 else 2 + message[at + 1]
    return None


_READ = {KERBEROS: _kerberos, RADIUS: _radius, SIP: _sip, DHCP: _dhcp}
