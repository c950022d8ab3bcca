"""Diagnostics of vehicles and machines over CAN (UDS, ISO 14229-1; GMLAN): what control units answer to testers; and what controllers say of their bus.

Kept while ``netlens analyze`` reads a capture, and by no other command. A response is told by its request: a frame of another identifier that asked for the
same service within :data:`PENDING_NS`. Errors are frames that a controller makes for its own machine (SocketCAN: linux/can/error.h), not of the bus.

Limits: of the first :data:`MAX_FRAMES`; messages that fit into one frame (ISO 15765-2 9.6.2), and the first frames of longer responses, without an address in
front of them (normal addressing).
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.denials import BY_NAME, Answer, uds
from netlens.wire import decode as d
from netlens.wire.link.can import CAN

MAX_FRAMES = 500_000
PENDING_NS = 5 * 10**9  #: P2* of ISO 14229-2 is 5 s
_HEADER, _LONGEST = 8, 64  # bytes of SocketCAN's header, and of data in a frame of CAN FD
_EXTENDED, _REMOTE, _ERROR = 1 << 31, 1 << 30, 1 << 29  # flags of an identifier
_LONGEST_SHORT = 0x7FF
MAX_ERRORS = 100_000
_SINGLE, _FIRST = 0, 1  # kinds of frames of ISO-TP
_NAME = BY_NAME[uds.NAME].NAME


class BusError(NamedTuple):
    """A controller says what went wrong.  kinds : bits of the identifier.  state : of the controller (the second byte), where the kinds say that it matters."""

    ts: int
    frame: int
    kinds: int
    state: int


class VehicleBuilder:
    """Fed with what the decoder hands back.

    answers : of control units, in order, by identifiers of CAN.  errors : by interface of the capture, in order.  frames : of all but these, by interface.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.errors: dict[int, list[BusError]] = {}
        self.frames: dict[int, int] = {}
        self._errors = 0
        self._asked: dict[int, tuple[int, int]] = {}  # by service, who asked for it last, and when
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        rows = rows[(rows[:, d.PIECE] == d.OF_LINK) & (rows[:, 3] == CAN) & (rows[:, 13] > _HEADER)]
        if not len(rows):
            return
        self._faults(buf, rows)
        chosen = rows[: MAX_FRAMES - self._read]
        self._read += len(chosen)
        for frame, ts, _, _, _, _, _, _, _, _, _, at, _, captured in chosen.tolist():
            raw = buf[at : at + min(captured, _HEADER + _LONGEST)].tobytes()
            message = _message(raw[_HEADER : _HEADER + raw[4]])
            sender = _sender(raw[:4])
            if not message or sender & (_REMOTE | _ERROR):
                continue
            service = message[1] if message[0] == uds.NEGATIVE and len(message) == 3 else message[0] - uds.ANSWERS
            asker, when = self._asked.get(service, (sender, 0))
            if asker == sender or ts - when > PENDING_NS:
                self._asked[message[0]] = sender, ts
            elif (no := uds.said(message)) is not None:
                self.answers.append(Answer(ts, frame, _NAME, _named(sender), _named(asker), no))

    def _faults(self, buf: Array, rows: Array) -> None:
        is_error = (buf[rows[:, 11]] >> 5 == _ERROR >> 29) & (rows[:, 13] >= _HEADER + 2)
        for iface, n in zip(*np.unique(rows[~is_error, 2], return_counts=True), strict=True):
            self.frames[int(iface)] = self.frames.get(int(iface), 0) + int(n)
        chosen = rows[is_error][: MAX_ERRORS - self._errors]
        self._errors += len(chosen)
        for frame, ts, iface, _, _, _, _, _, _, _, _, at, _, _ in chosen.tolist():
            kinds = int.from_bytes(buf[at : at + 4].tobytes(), "big") & ~_ERROR
            self.errors.setdefault(iface, []).append(BusError(ts, frame, kinds, int(buf[at + _HEADER + 1])))


def _sender(raw: bytes) -> int:
    """Identifier and flags; some programs write them in the byte order of their machine, by which alone a short identifier (11 bits) looks like one."""
    sender, swapped = int.from_bytes(raw, "big"), int.from_bytes(raw, "little")
    return swapped if swapped <= _LONGEST_SHORT < sender else sender


def _message(data: bytes) -> bytes:
    """The first bytes of what a frame of ISO-TP carries; b"" if it is none, or carries on another one."""
    if len(data) < 2:
        return b""
    kind, length = data[0] >> 4, data[0] & 15
    if data[0] == 0:  # of CAN FD: the length is in the next byte
        return data[2 : 2 + data[1]] if len(data) > 8 else b""
    if kind == _SINGLE:
        return data[1 : 1 + length]
    return data[2:] if kind == _FIRST else b""


def _named(identifier: int) -> str:
    number = identifier & 0x1FFFFFFF
    return f"CAN {number:#010x}" if identifier & _EXTENDED else f"CAN {number:#05x}"
