"""Checksums of chosen TCP segments, which needs the capture read again: no other question asks for them, and of every packet they would cost time.

Limits: of IPv4 without options and IPv6 without extension headers, of segments that were captured whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from netlens.columns import Array
from netlens.parsers import pipeline
from netlens.wire import columns as c

_IP = {4: 20, 6: 40}  #: bytes of a header, by version
_CHECKSUM = 16  #: where it stands in a TCP header


def checksums(paths: Sequence[str], frames: Iterable[int]) -> dict[int, bool]:
    """Whether the TCP checksum (RFC 9293 3.1) of frames is right; those of which it cannot be said are left out.

    Parameters
    ----------
    paths : the files of one capture in order, each a regular file.
    frames : their numbers, from 1.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    wanted = np.unique(np.fromiter(frames, np.int64))
    found: dict[int, bool] = {}
    pace = pipeline.pace(alone=False)
    for unit in pipeline.Decoder().read(pipeline.reader_of(paths, pace), pace):
        for buf, packets in unit.pieces:
            for row in packets[np.isin(packets[:, c.FRAME], wanted) & (packets[:, c.KIND] == c.TCP)].tolist():
                right = _is_right(buf, row)
                if right is not None:
                    found[row[c.FRAME]] = right
    return found


def _is_right(buf: Array, row: list[int]) -> bool | None:
    version, at, length = row[c.PORTS] >> 32, row[c.PAY_OFF], row[c.LENGTH]
    if row[c.PAY_CAP] < length:
        return None
    ports = (row[c.PORTS] & 0xFFFFFFFF).to_bytes(4, "big")
    for header in range(20, 64, 4):
        begin = at - header
        ip = begin - _IP[version]
        if ip < 0:
            return None
        packet = buf[ip : at + length].tobytes()
        tcp = packet[_IP[version] :]
        if tcp[:4] != ports or tcp[12] >> 4 != header // 4 or packet[0] >> 4 != version:
            continue
        if (packet[0] != 0x45 or packet[9] != c.TCP) if version == 4 else packet[6] != c.TCP:
            continue
        if tcp[_CHECKSUM : _CHECKSUM + 2] == b"\0\0":
            return None
        addresses = packet[12:20] if version == 4 else packet[8:40]
        return _sum(addresses + (c.TCP).to_bytes(4, "big") + len(tcp).to_bytes(4, "big") + tcp) == 0xFFFF
    return None


def _sum(data: bytes) -> int:
    """Sum of 16-bit words in ones' complement (RFC 1071)."""
    total = int(np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").sum(dtype=np.int64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
