"""ICMP errors and redirects: who said what of which packet. They are evidence for what happened to connections, lookups and datagrams.

An error quotes the packet that it is about (RFC 792, RFC 4443 2.4): its IP header and at least the first 8 bytes behind it, hence both ends and TCP's sequence
number. Kept while ``netlens analyze`` reads the capture, and by no other command.

Limits: of the first :data:`MAX_ERRORS`; the rest is only counted. Not read are errors that come in fragments themselves. The packet quoted is as the reporter
received it: behind NAT it has other addresses, unless NAT translated the quotation, too (RFC 5508 4.2). Anybody can forge an error.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

End = tuple[str, int]  # address, port; 0 where there is none

MAX_ERRORS = 20_000
QUOTED = 128  #: bytes of a message that are looked at: an IPv6 header, extension headers and ports
PORT, HOST, NET, PROHIBITED = "port unreachable", "host unreachable", "network unreachable", "administratively prohibited"
PROTOCOL, TOO_BIG, EXPIRED, REDIRECT = "protocol unreachable", "packet too big", "time exceeded", "redirect"
SCOPE = "beyond scope of source address"
REASSEMBLY = "fragment reassembly time exceeded"
UNREACHABLE = (PORT, PROTOCOL, HOST, NET, PROHIBITED, SCOPE)  #: the packet was not delivered, and the next one will not be
REFUSING = (PORT, PROTOCOL)  #: the host itself is there and says no
#: RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1: code of a destination unreachable
_V4_UNREACHABLE = {
    0: NET, 1: HOST, 2: PROTOCOL, 3: PORT, 4: TOO_BIG, 6: NET, 7: HOST, 9: PROHIBITED, 10: PROHIBITED, 11: NET, 12: HOST, 13: PROHIBITED,
}  # fmt: skip
_V6_UNREACHABLE = {0: NET, 1: PROHIBITED, 2: SCOPE, 3: HOST, 4: PORT, 5: PROHIBITED, 6: NET}  # RFC 4443 3.1
_TIMES = {0: EXPIRED, 1: REASSEMBLY}  # codes of time exceeded, of both versions
#: IP version and type -> code -> what it is
_BY_CODE = {(4, 3): _V4_UNREACHABLE, (4, 11): _TIMES, (6, 1): _V6_UNREACHABLE, (6, 3): _TIMES, (6, 4): {1: PROTOCOL}}  # RFC 4443 3.4
_EXTENSIONS = (0, 43, 44, 60)
_REDIRECTED = 4  # option of a redirect (RFC 4861 4.6.3)


class Error(NamedTuple):
    """One message.

    reporter, told : addresses of who sent it, and to whom.  what : one of the words above.  protocol, source, destination : of the packet that it is about;
    protocol 0 if it quotes none that can be read.  seq : TCP's, -1 without.  size : of that packet in bytes.  mtu : of what is too big, 0 if it does not say.
    gateway : of a redirect, the better way; "" without.
    """

    frame: int
    ts: int
    reporter: str
    told: str
    what: str
    protocol: int
    source: End
    destination: End
    seq: int
    size: int
    mtu: int
    gateway: str


class ErrorBuilder:
    """Fed with what the decoder hands back."""

    def __init__(self) -> None:
        self.errors: list[Error] = []

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        for row in rows[rows[:, d.PIECE] == d.QUOTING][: MAX_ERRORS - len(self.errors)].tolist():
            frame, ts, _, version, s_hi, s_lo, d_hi, d_lo, _, _, _, at, _, captured = row
            message = buf[at : at + min(captured, QUOTED)].tobytes()
            found = _read(message, version, frame, ts, ip_text(s_hi, s_lo, version), ip_text(d_hi, d_lo, version))
            if found is not None:
                self.errors.append(found)


def _read(message: bytes, version: int, frame: int, ts: int, reporter: str, told: str) -> Error | None:
    if len(message) < 8:
        return None
    kind, code = message[0], message[1]
    what = _BY_CODE.get((version, kind), {}).get(code)
    mtu, gateway, quoted = int.from_bytes(message[6:8], "big") if what == TOO_BIG else 0, "", message[8:]
    if (version, kind) == (4, 5):
        what, gateway = REDIRECT, _address(message[4:8])
    elif (version, kind) == (6, 2):
        what, mtu = TOO_BIG, int.from_bytes(message[4:8], "big")
    elif (version, kind) == (6, 137) and len(message) >= 40:
        what, gateway, quoted = REDIRECT, _address(message[8:24]), _redirected(message[40:])
    if what is None:
        return None
    protocol, source, destination, seq, size = _packet(quoted)
    if kind == 137 and not protocol:
        destination = (_address(message[24:40]), 0)
    return Error(frame, ts, reporter, told, what, protocol, source, destination, seq, size, mtu, gateway)


def _redirected(options: bytes) -> bytes:
    """The packet that an IPv6 redirect quotes; empty without."""
    while len(options) >= 8 and options[1]:
        if options[0] == _REDIRECTED:
            return options[8:]
        options = options[8 * options[1] :]
    return b""


def _packet(data: bytes) -> tuple[int, End, End, int, int]:
    """Protocol, ends, sequence number and size of a packet whose beginning is quoted."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        size, protocol, at = int.from_bytes(data[2:4], "big"), data[9], 4 * (data[0] & 15)
        source, destination = _address(data[12:16]), _address(data[16:20])
        if int.from_bytes(data[6:8], "big") & 0x1FFF:
            at = len(data)  # a later fragment has no ports
    elif len(data) >= 40 and data[0] >> 4 == 6:
        size, protocol, at = int.from_bytes(data[4:6], "big") + 40, data[6], 40
        source, destination = _address(data[8:24]), _address(data[24:40])
        while protocol in _EXTENSIONS and at + 8 <= len(data):
            later = protocol == 44 and int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8
            protocol, at = data[at], len(data) if later else at + 8 * (1 + (data[at + 1] if protocol != 44 else 0))
    else:
        return 0, ("", 0), ("", 0), -1, 0
    ports = data[at : at + 4] if protocol in (c.TCP, c.UDP) and at + 4 <= len(data) else bytes(4)
    seq = int.from_bytes(data[at + 4 : at + 8], "big") if protocol == c.TCP and at + 8 <= len(data) else -1
    return protocol, (source, int.from_bytes(ports[:2], "big")), (destination, int.from_bytes(ports[2:], "big")), seq, size


def _address(packed: bytes) -> str:
    return ip_text(int.from_bytes(packed[:-8], "big"), int.from_bytes(packed[-8:], "big"), 4 if len(packed) == 4 else 6)
