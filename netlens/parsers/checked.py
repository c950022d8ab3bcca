"""Checksums of chosen TCP segments or UDP datagrams, which needs the capture read again: no other question asks for them, and of every packet they would cost
time.

Limits: of IPv4 without options and IPv6 without extension headers, of what was captured whole. Nothing is said where the sender's card adds the checksum: the
field is 0, or holds the sum of the pseudo-header alone, as systems leave it to the card; nor where that of an IPv4 header is there and wrong, as where
addresses were changed in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from netlens.columns import Array
from netlens.parsers.pipeline import again
from netlens.wire import columns as c

_IP = {4: 20, 6: 40}  #: bytes of a header, by version
_CHECKSUM = {c.TCP: 16, c.UDP: 6}  #: where it stands in a header
_UNFILLED = "unfilled"
_HEADERS = {c.TCP: range(20, 64, 4), c.UDP: range(8, 9)}  #: bytes of one


def checksums(paths: Sequence[str], frames: Iterable[int], protocol: int = c.TCP, unfilled: set[int] | None = None) -> dict[int, bool]:
    """Whether the checksum (RFC 9293 3.1, RFC 768) of frames is right; those of which it cannot be said are left out.

    Parameters
    ----------
    paths : the files of one capture in order, each a regular file.
    frames : their numbers, from 1.
    protocol : that of these frames, TCP or UDP.
    unfilled : where given, frames are added whose checksum was left to a card.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    found: dict[int, bool] = {}
    for buf, packets in again(paths, frames, protocol):
        for row in packets.tolist():
            right = _is_right(buf, row, protocol)
            if isinstance(right, bool):
                found[row[c.FRAME]] = right
            elif right == _UNFILLED and unfilled is not None:
                unfilled.add(row[c.FRAME])
    return found


def _is_right(buf: Array, row: list[int], protocol: int) -> bool | str | None:
    version, at, length = row[c.PORTS] >> 32, row[c.PAY_OFF], row[c.LENGTH]
    if row[c.PAY_CAP] < length:
        return None
    ports = (row[c.PORTS] & 0xFFFFFFFF).to_bytes(4, "big")
    for header in _HEADERS[protocol]:
        begin = at - header
        ip = begin - _IP[version]
        if ip < 0:
            return None
        packet = buf[ip : at + length].tobytes()
        segment = packet[_IP[version] :]
        fits = segment[12] >> 4 == header // 4 if protocol == c.TCP else int.from_bytes(segment[4:6], "big") == len(segment)
        if segment[:4] != ports or not fits or packet[0] >> 4 != version:
            continue
        if (packet[0] != 0x45 or packet[9] != protocol) if version == 4 else packet[6] != protocol:
            continue
        if version == 4 and packet[10:12] != b"\0\0" and _sum(packet[:20]) != 0xFFFF:
            return None
        pseudo = (packet[12:20] if version == 4 else packet[8:40]) + protocol.to_bytes(4, "big") + len(segment).to_bytes(4, "big")
        field = segment[_CHECKSUM[protocol] : _CHECKSUM[protocol] + 2]
        if int.from_bytes(field, "big") in (0, _sum(pseudo)):
            return _UNFILLED
        return _sum(pseudo + segment) == 0xFFFF
    return None


def _sum(data: bytes) -> int:
    """Sum of 16-bit words in ones' complement (RFC 1071)."""
    total = int(np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").sum(dtype=np.int64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
