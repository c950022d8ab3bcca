"""What stands in the headers of chosen segments that no table keeps, as few are worth it: the capture is read again.

What receivers say that they got twice (D-SACK, RFC 2883), how many hops SYNs may still make, where a frame went on its link, and how a segment is signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.pipeline import again
from netlens.wire import columns as c

_BLOCKS, _DUPLICATE, _SACK, _LEAST = 15 << 25, 1 << 29, 5, 20  #: what columns.OPTIONS has of SACK: how many blocks, and D-SACK
_BYTES = 60  #: of a TCP header at most
_IPV4, _IPV6 = 20, 40  #: bytes of a header
#: Kinds of TCP options, by number: a segment that bears one and does not fit the receiver's key is dropped without a word (RFC 2385 2, RFC 5925 4.1)
SIGNED = {19: "TCP MD5 signature (RFC 2385)", 29: "TCP-AO signature (RFC 5925)"}
_ETHERNET, _TYPES = 14, {4: b"\x08\x00", 6: b"\x86\xdd"}  #: bytes of a header, and what stands at its end, by version of IP
#: What stands at bytes 8 and 9 of these where a tag is behind the addresses (IEEE 802.1Q, 802.1ad, QinQ of old), and at 6 to 11 that of SNAP
_TAGS, _SNAP = (b"\x81\x00", b"\x88\xa8", b"\x91\x00"), b"\xaa\xaa\x03\0\0\0"


class Duplicate(NamedTuple):
    """The first block of an acknowledgment, counted from that acknowledgment: bytes ``begin`` to ``end`` had come before."""

    begin: int
    end: int


class Sent(NamedTuple):
    """``to``: the hardware address that a frame of Ethernet goes to, if it has no tag; else "".  signed : how, as :data:`SIGNED` has it; "" if it is not."""

    to: str
    signed: str


def duplicates(paths: Sequence[str], frames: Iterable[int]) -> dict[int, Duplicate]:
    """Of those of some frames of TCP that report a duplicate.

    Parameters
    ----------
    paths : the files of one capture in order, each a regular file.
    frames : their numbers, from 1.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    return _blocks(paths, frames, _DUPLICATE)


def selective(paths: Sequence[str], frames: Iterable[int], enough: int) -> dict[int, Duplicate]:
    """The first block (RFC 2018 3) of those of some frames of TCP that have any, whatever it says, until there are ``enough``; other parameters and errors as
    of :func:`duplicates`."""
    return _blocks(paths, frames, _BLOCKS, enough)


def _blocks(paths: Sequence[str], frames: Iterable[int], which: int, enough: int | None = None) -> dict[int, Duplicate]:
    found: dict[int, Duplicate] = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets[packets[:, c.OPTIONS] & which != 0]:
            if (block := _first_block(buf, row)) is not None:
                found[int(row[c.FRAME])] = block
        if enough is not None and len(found) >= enough:
            break
    return found


def hops_left(paths: Sequence[str], frames: Iterable[int]) -> dict[int, int]:
    """The time to live, or hop limit, of some frames of TCP right behind IPv4 without options or IPv6; parameters and errors as of :func:`duplicates`."""
    found = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets:
            before, at = _header(buf, row)
            size, field = (_IPV4, 8) if int(row[c.PORTS]) >> 32 == 4 else (_IPV6, 7)
            if at >= size:
                found[int(row[c.FRAME])] = before[at - size + field]
    return found


def identifiers(paths: Sequence[str], frames: Iterable[int]) -> dict[int, int]:
    """The identification (RFC 791 3.1) of some frames of TCP right behind IPv4 without options; parameters and errors as of :func:`duplicates`."""
    found = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets:
            before, at = _header(buf, row)
            if at >= _IPV4 and int(row[c.PORTS]) >> 32 == 4:
                found[int(row[c.FRAME])] = int.from_bytes(before[at - _IPV4 + 4 : at - _IPV4 + 6], "big")
    return found


def sent(paths: Sequence[str], frames: Iterable[int], ethernet: bool) -> dict[int, Sent]:
    """Where some frames of TCP went, and how they are signed; other parameters and errors as of :func:`duplicates`.

    ethernet : whether all links of the capture are. Without it no hardware address is told.
    """
    found = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets:
            before, at = _header(buf, row)
            if at >= 0:
                signed = next((SIGNED[kind] for kind, _ in _options(before[at + _LEAST :]) if kind in SIGNED), "")
                found[int(row[c.FRAME])] = Sent(_destination(before[:at], int(row[c.PORTS]) >> 32) if ethernet else "", signed)
    return found


def vlans(paths: Sequence[str], frames: Iterable[int]) -> dict[int, int]:
    """The VLAN (IEEE 802.1Q) of some frames of TCP, by the tag right before the header of IP; 0 without; parameters and errors as of :func:`duplicates`."""
    found = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets:
            before, at = _header(buf, row)
            version = int(row[c.PORTS]) >> 32
            ip = at - (_IPV4 if version == 4 else _IPV6)
            if at >= 0 and ip >= _ETHERNET:
                tagged = before[ip - 6 : ip - 4] in _TAGS and before[ip - 2 : ip] == _TYPES[version]
                found[int(row[c.FRAME])] = int.from_bytes(before[ip - 4 : ip - 2], "big") & 0xFFF if tagged else 0
    return found


def _destination(before: bytes, version: int) -> str:
    """The hardware address in the header of Ethernet before that of IP, with which these bytes end; "" if they do not."""
    ip = len(before) - (_IPV4 if version == 4 else _IPV6)
    link = before[ip - _ETHERNET : ip] if ip >= _ETHERNET else b""
    plain = link[12:] == _TYPES[version] and before[ip] >> 4 == version and link[8:10] not in _TAGS and link[6:12] != _SNAP
    return link[:6].hex(":") if plain else ""


def _header(buf: Array, row: Array) -> tuple[bytes, int]:
    """What stands before a segment's payload, and where in it TCP's header begins; -1 if that is not found."""
    end = int(row[c.PAY_OFF])
    numbers = (int(row[name]) & 0xFFFFFFFF for name in (c.PORTS, c.SEQ, c.ACK))
    before = buf[max(end - _BYTES - _IPV6 - _ETHERNET, 0) : end].tobytes()
    return before, before.rfind(b"".join(number.to_bytes(4, "big") for number in numbers))


def _first_block(buf: Array, row: Array) -> Duplicate | None:
    header, at = _header(buf, row)
    number = int(row[c.ACK])
    if at < 0:
        return None
    for kind, blocks in _options(header[at + _LEAST :]):
        if kind == _SACK and len(blocks) >= 8:
            left, right = (_signed(int.from_bytes(blocks[k : k + 4], "big") - number) for k in (0, 4))
            return Duplicate(left, right)
    return None


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kinds of TCP options, and what follows their lengths up to the end of the header (RFC 9293 3.1)."""
    i = 0
    while i + 1 < len(data):
        if data[i] in (0, 1):
            i += 1
            continue
        yield data[i], data[i + 2 :]
        i += max(data[i + 1], 2)


def _signed(difference: int) -> int:
    """Of two sequence numbers, in 32 bits (RFC 9293 3.4)."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)
