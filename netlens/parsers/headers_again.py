"""What stands in the headers of chosen segments that no table keeps, as few are worth it: the capture is read again.

What receivers say that they got twice (D-SACK, RFC 2883), and how many hops SYNs may still make.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.pipeline import again
from netlens.wire import columns as c

_BLOCKS, _DUPLICATE, _SACK, _LEAST = 15 << 25, 1 << 29, 5, 20  #: what columns.OPTIONS has of SACK: how many blocks, and D-SACK
_BYTES = 60  #: of a TCP header at most
_IPV4, _IPV6 = 20, 40  #: bytes of a header


class Duplicate(NamedTuple):
    """The first block of an acknowledgment, counted from that acknowledgment: bytes ``begin`` to ``end`` had come before."""

    begin: int
    end: int


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


def _header(buf: Array, row: Array) -> tuple[bytes, int]:
    """What stands before a segment's payload, and where in it TCP's header begins; -1 if that is not found."""
    end = int(row[c.PAY_OFF])
    numbers = (int(row[name]) & 0xFFFFFFFF for name in (c.PORTS, c.SEQ, c.ACK))
    before = buf[max(end - _BYTES - _IPV6, 0) : end].tobytes()
    return before, before.rfind(b"".join(number.to_bytes(4, "big") for number in numbers))


def _first_block(buf: Array, row: Array) -> Duplicate | None:
    header, at = _header(buf, row)
    number = int(row[c.ACK])
    if at < 0:
        return None
    options = header[at + _LEAST :]
    i = 0
    while i + 1 < len(options):
        if options[i] in (0, 1):
            i += 1
            continue
        if options[i] == _SACK and i + 10 <= len(options):
            left, right = (_signed(int.from_bytes(options[i + k : i + k + 4], "big") - number) for k in (2, 6))
            return Duplicate(left, right)
        i += max(options[i + 1], 2)
    return None


def _signed(difference: int) -> int:
    """Of two sequence numbers, in 32 bits (RFC 9293 3.4)."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)
