"""What chosen SYNs and SYN+ACKs announce in their options, which needs the capture read again: of all connections few are worth it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlens.parsers.pipeline import again
from netlens.wire import columns as c


class Announced(NamedTuple):
    """Options of a SYN.

    mss : the maximum segment size in bytes (RFC 9293 3.7.1), 0 without.  scale : of the window (RFC 7323 2.2), -1 without.  sack : whether selective
    acknowledgments are permitted (RFC 2018 2).  number : the sequence number.
    """

    mss: int
    scale: int
    sack: bool
    number: int


def announced(paths: Sequence[str], frames: Iterable[int]) -> dict[int, Announced]:
    """The options of frames that are TCP.

    Parameters
    ----------
    paths : the files of one capture in order, each a regular file.
    frames : their numbers, from 1.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    return {
        frame: Announced(options & 0xFFFF, (options >> 16 & 0xFF) - 1, bool(options >> 24 & 1), number & 0xFFFFFFFF)
        for _, packets in again(paths, frames, c.TCP)
        for frame, options, number in packets[:, (c.FRAME, c.OPTIONS, c.SEQ)].tolist()
    }
