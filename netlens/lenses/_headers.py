"""Headers of chosen TCP segments, which lenses read again as only few of them need it: where a frame went on its link, and how a segment is signed."""

from __future__ import annotations

from typing import NamedTuple

from netlens.columns import Array
from netlens.errors import NetlensError
from netlens.lenses._view import View
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.pipeline import again
from netlens.wire import columns as c

#: Kinds of TCP options, by number: a segment that bears one and does not fit the receiver's key is dropped without a word (RFC 2385 2, RFC 5925 4.1)
SIGNED = {19: "TCP MD5 signature (RFC 2385)", 29: "TCP-AO signature (RFC 5925)"}
_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_IP = {4: 20, 6: 40}  # bytes of a header, by version
_END, _NOTHING = 0, 1  # options of one byte
_ETHERNET, _BEFORE_IP = 1, 14  # a link type, and the bytes of its header
#: What stands at bytes 8 and 9 of these where a tag is behind the addresses (IEEE 802.1Q, 802.1ad, QinQ of old), and at 6 to 11 that of SNAP
_TAGS, _SNAP = (b"\x81\x00", b"\x88\xa8", b"\x91\x00"), b"\xaa\xaa\x03\0\0\0"


class Header(NamedTuple):
    """``to``: the hardware address that a frame goes to, if all links of the capture are Ethernet, and it has no tag; else "".
    signed : how, as :data:`SIGNED` has it; "" if it is not."""

    to: str
    signed: str


def headers_of(view: View, frames: list[int]) -> dict[int, Header]:
    """By frame; empty where the capture cannot be read again, or was changed since."""
    paths = view.side.capture.paths
    if not frames or not readable_again(paths):
        return {}
    try:
        ethernet = {kind for given in view.side.capture.part.inputs for kind in given.link_types} == {_ETHERNET}
        found = ((row[c.FRAME], _header(buf, row, ethernet)) for buf, packets in again(paths, frames, c.TCP) for row in packets.tolist())
        return {frame: header for frame, header in found if header is not None}
    except NetlensError:
        return {}


def _header(buf: Array, row: list[int], ethernet: bool) -> Header | None:
    version, at = row[c.PORTS] >> 32, row[c.PAY_OFF]
    ports = (row[c.PORTS] & 0xFFFFFFFF).to_bytes(4, "big")
    if at > len(buf):
        return None  # it was cut
    for size in range(20, 64, 4):
        begin = at - size
        if begin < 0 or buf[begin + 12] >> 4 != size // 4 or buf[begin : begin + 4].tobytes() != ports:
            continue
        ip = begin - _IP[version]
        link = buf[ip - _BEFORE_IP : ip].tobytes() if ethernet and ip >= _BEFORE_IP else b""
        plain = link[12:] == _TYPES[version] and buf[ip] >> 4 == version and link[8:10] not in _TAGS and link[6:12] != _SNAP
        return Header(link[:6].hex(":") if plain else "", _signed(buf[begin + 20 : at].tobytes()))
    return None


def _signed(options: bytes) -> str:
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] in SIGNED:
            return SIGNED[options[at]]
        at += 1 if options[at] == _NOTHING else max(int.from_bytes(options[at + 1 : at + 2], "big"), 2)
    return ""
