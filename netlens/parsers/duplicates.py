"""What receivers say that they got twice (D-SACK, RFC 2883), which needs the capture read again: of all acknowledgments few say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.pipeline import again
from netlens.wire import columns as c

_DUPLICATE, _SACK, _LEAST = 1 << 29, 5, 20
_BYTES = 60  #: of a TCP header at most


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
    found = {}
    for buf, packets in again(paths, frames, c.TCP):
        for row in packets[packets[:, c.OPTIONS] & _DUPLICATE != 0]:
            if (block := _first_block(buf, row)) is not None:
                found[int(row[c.FRAME])] = block
    return found


def _first_block(buf: Array, row: Array) -> Duplicate | None:
    ports, number = int(row[c.PORTS]) & 0xFFFFFFFF, int(row[c.ACK])
    end = int(row[c.PAY_OFF])
    begins = ports.to_bytes(4, "big") + (int(row[c.SEQ]) & 0xFFFFFFFF).to_bytes(4, "big") + (number & 0xFFFFFFFF).to_bytes(4, "big")
    header = buf[max(end - _BYTES, 0) : end].tobytes()
    at = header.rfind(begins)
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
