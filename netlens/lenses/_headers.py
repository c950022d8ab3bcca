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


class Header(NamedTuple):
    """``to``: the hardware address that a frame of Ethernet without a tag goes to, "" without one.  signed : how, as :data:`SIGNED` has it; "" if it is not."""

    to: str
    signed: str


def headers_of(view: View, frames: list[int]) -> dict[int, Header]:
    """By frame; empty where the capture cannot be read again, or was changed since."""
    paths = view.side.capture.paths
    if not frames or not readable_again(paths):
        return {}
    try:
        found = ((row[c.FRAME], _header(buf, row)) for buf, packets in again(paths, frames, c.TCP) for row in packets.tolist())
        return {frame: header for frame, header in found if header is not None}
    except NetlensError:
        return {}


def _header(buf: Array, row: list[int]) -> Header | None:
    version, at = row[c.PORTS] >> 32, row[c.PAY_OFF]
    ports = (row[c.PORTS] & 0xFFFFFFFF).to_bytes(4, "big")
    if at > len(buf):
        return None  # it was cut
    for size in range(20, 64, 4):
        begin = at - size
        if begin < 0 or buf[begin + 12] >> 4 != size // 4 or buf[begin : begin + 4].tobytes() != ports:
            continue
        link = begin - _IP[version] - 14
        plain = link >= 0 and buf[link + 12 : link + 14].tobytes() == _TYPES[version] and buf[link + 14] >> 4 == version
        return Header(buf[link : link + 6].tobytes().hex(":") if plain else "", _signed(buf[begin + 20 : at].tobytes()))
    return None


def _signed(options: bytes) -> str:
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] in SIGNED:
            return SIGNED[options[at]]
        at += 1 if options[at] == _NOTHING else max(int.from_bytes(options[at + 1 : at + 2], "big"), 2)
    return ""
