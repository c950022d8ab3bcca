"""Certificates that servers show in clear (TLS 1.2 and older): whose they are, from when and until when they are valid. Nothing is verified.

A connection is followed from its ServerHello (:mod:`netlens.wire.hints` knows the segment), in that direction, until the first certificate of the Certificate
message is there; it is the server's own (RFC 5246 7.4.2). That is plain Python behind a mask, as it takes a handful of segments of each connection: while
``netlens analyze`` reads the capture, and no other command.

Limits: TLS 1.3 encrypts certificates, and a resumed connection shows none. What comes before its turn waits, but what came before its ServerHello is missed;
behind a hole there is no certificate.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.ber import ber
from netlens.parsers.lifecycle import LEAST_ROWS
from netlens.wire import columns as c
from netlens.wire import hints as h

MAX_BYTES = 1 << 16  #: of a direction from its ServerHello on; chains of 10 kB are large, and the server's own certificate is the first
MAX_OPEN = 4096  #: connections that are followed at a time; the oldest is given up
MAX_CERTIFICATES = 100_000
MAX_KNOWN = 1024  #: different certificates that are remembered as read
MAX_NAMES = 100  #: of a certificate
MAX_NAME = 100  #: characters; a DNS name has 253 at most, and its end is what tells
HEADER = 5  #: bytes in front of a record (RFC 8446 5.1)
HANDSHAKE = 22
SERVER_HELLO, CERTIFICATE = b"\x02", b"\x0b"
#: A ServerHello, and nothing in the segment that is sent only where no certificate follows in clear: ChangeCipherSpec, application data.
_MASK = h.CLASS_MASK | h.SERVER_HELLO | h.CHANGE_CIPHER | h.APPLICATION
_HELLO = h.TLS | h.SERVER_HELLO
_COMMON_NAME, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x1d\x11"  # 2.5.4.3 and 2.5.29.17
_SEQUENCE, _IDENTIFIER, _UTC_TIME, _GENERALIZED_TIME, _BMP_STRING, _DNS_NAME, _EXTENSIONS = 0x30, 0x06, 0x17, 0x18, 0x1E, 0x82, 0xA3
_VERSION = 0xA0


class Leaf(NamedTuple):
    """Times in seconds since 1970, both inclusive.  name : its common name, else its first DNS name; "" without.  names : its DNS names, the first few.
    itself : it names itself as its issuer.
    """

    not_before: int
    not_after: int
    name: str
    names: tuple[str, ...] = ()
    itself: bool = False

    def is_for(self, host: str) -> bool:
        """Whether one of its names is that of a host (RFC 9525 6.3; of those without DNS names the common name, as once was usual)."""
        if len(self.names) > MAX_NAMES:
            return True  # nobody knows
        host, suffix = host.lower(), host.lower().partition(".")[2]
        return any(name.lower() in (host, f"*.{suffix}") for name in self.names or (self.name,))


class Shown(NamedTuple):
    """A certificate on a connection.  frame, ts : of the segment that completed it.  way : the direction of the server."""

    session: int
    way: int
    frame: int
    ts: int
    leaf: Leaf


class _Stream:
    """The server's bytes from its ServerHello on.

    messages : what its handshake records hold, without their headers.  ended : no more of them come in clear.
    """

    __slots__ = ("at", "ended", "held", "later", "left", "messages", "rest")

    def __init__(self, at: int) -> None:
        self.at = at  # stream offset of what comes next
        self.rest = b""  # of a record's header, what has come
        self.left = 0  # bytes of the record that are still to come
        self.messages = bytearray()
        self.ended = False
        self.later: dict[int, bytes] = {}
        self.held = 0

    def add(self, offset: int, length: int, payload: bytes) -> None:
        """Take a segment, of which ``payload`` was captured."""
        if offset > self.at:
            self.later[offset] = payload if len(payload) == length else b""
            self.held += len(payload)
            self.ended |= self.held > MAX_BYTES
            return
        self._take(offset, length, payload)
        while self.later and not self.ended and (first := min(self.later)) <= self.at:
            payload = self.later.pop(first)
            self.held -= len(payload)
            self.ended |= not payload
            self._take(first, len(payload), payload)

    def _take(self, offset: int, length: int, payload: bytes) -> None:
        data = self.rest + payload[self.at - offset :]
        self.at = max(self.at, offset + length)
        at = 0
        while True:
            part = data[at : at + self.left]
            self.messages += part
            self.left -= len(part)
            at += len(part)
            if self.left or len(data) - at < HEADER:
                break
            if data[at] != HANDSHAKE or data[at + 1] != 3 or len(self.messages) > MAX_BYTES:
                self.ended = True
                return
            self.left = int.from_bytes(data[at + 3 : at + 5], "big")
            at += HEADER
        self.rest = data[at:]
        self.ended |= len(payload) < length

    def certificate(self) -> bytes | None:
        """The first certificate (DER); None: not there yet; empty: there is none in clear."""
        messages = self.messages
        at = 4 + int.from_bytes(messages[1:4], "big")  # behind the ServerHello
        if messages[:1] not in (b"", SERVER_HELLO) or messages[at : at + 1] not in (b"", CERTIFICATE):
            return b""
        size = int.from_bytes(messages[at + 7 : at + 10], "big")  # behind the length of the message and of the list
        end = at + 10 + size
        if len(messages) >= max(end, at + 10):
            return bytes(messages[at + 10 : end])
        return b"" if self.ended or size > MAX_BYTES else None


class CertificateBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._followed = np.zeros(LEAST_ROWS, bool)  # sessions of these
        self._leaf = lru_cache(MAX_KNOWN)(leaf)

    def feed(self, buf: Array, rows: Array) -> None:
        hellos = np.empty(len(rows), np.int64)
        hellos = hellos[: h.with_hints(rows, _MASK, _HELLO, _HELLO, hellos)]
        if not self._streams and not len(hellos):
            return
        number = rows[:, c.SESSION]
        begins = np.zeros(len(rows), np.bool_)
        begins[hellos] = number[hellos] >= 0
        room = len(self._followed)
        if (most := int(number.max())) >= room:
            self._followed = np.concatenate([self._followed, np.zeros(max(most + 1 - room, room), bool)])
        self._followed[number[begins]] = True
        wanted = self._followed[number] & (number >= 0) & (rows[:, c.FRESH] > 0)
        columns = [c.SESSION, c.DIRECTION, c.OFFSET, c.LENGTH, c.PAY_OFF, c.PAY_CAP, c.FRAME, c.TS]
        for row, begin in zip(rows[wanted][:, columns].tolist(), begins[wanted].tolist(), strict=True):
            session, way, offset, length, start, held, frame, ts = row
            stream = self._streams.get((session, way))
            if stream is None and begin and len(self.shown) < MAX_CERTIFICATES:
                if len(self._streams) >= MAX_OPEN:
                    del self._streams[next(iter(self._streams))]
                stream = self._streams[session, way] = _Stream(offset)
            if stream is None:
                continue
            stream.add(offset, length, buf[start : start + held].tobytes())
            der = stream.certificate()
            if der is not None:
                del self._streams[session, way]
                if der and (found := self._leaf(der)) is not None:
                    self.shown.append(Shown(session, way, frame, ts, found))
        self._followed[number[begins]] = False
        self._followed[[session for session, _ in self._streams]] = True


def leaf(der: bytes) -> Leaf | None:
    """What a certificate (RFC 5280 4.1) says of itself; None if it cannot be read."""
    try:
        _, at, end = _element(der, 0, len(der), _SEQUENCE)
        _, at, end = _element(der, at, end, _SEQUENCE)
        parts = list(_elements(der, at, end))
        if parts[0][0] == _VERSION:
            del parts[0]
        issuer, validity, subject = parts[2:5]
        before, after = (_time(tag, der[start:stop]) for tag, start, stop in _elements(der, *validity[1:]))
        names = next((_dns_names(der, *part[1:]) for part in parts[6:] if part[0] == _EXTENSIONS), ())
        name = _common_name(der, *subject[1:]) or next(iter(names), "")
    except (ValueError, IndexError, OverflowError):
        return None
    return Leaf(before, after, name[:MAX_NAME], names, der[slice(*issuer[1:])] == der[slice(*subject[1:])])


def _element(der: bytes, at: int, end: int, tag: int | None = None) -> tuple[int, int, int]:
    """(tag, start, stop) of the contents of the element that begins at ``at``.

    Raises
    ------
    ValueError
        it goes on behind ``end``, has another tag than it must, or four octets of length or more.
    IndexError
        there is none.
    """
    found, start, stop = ber(der, at)
    if stop > end or start - at > 5 or tag not in (None, found):
        raise ValueError
    return found, start, stop


def _elements(der: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Of the contents of an element, those inside."""
    while at < end:
        yield (found := _element(der, at, end))
        at = found[2]


def _time(tag: int, text: bytes) -> int:
    """Seconds since 1970 of UTCTime (years 1950 to 2049) or GeneralizedTime (RFC 5280 4.1.2.5)."""
    digits = text.decode("ascii").removesuffix("Z")
    if len(digits) == len(text) or not digits.isdigit():
        raise ValueError
    if tag == _UTC_TIME:
        digits = ("19" if digits >= "5" else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError
    if len(digits) == 12:  # seconds were left out before RFC 2459
        digits += "00"
    if len(digits) != 14:
        raise ValueError
    year, *rest = int(digits[:4]), *(int(digits[i : i + 2]) for i in range(4, 14, 2))
    return int(datetime(year, *rest, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


def _common_name(der: bytes, at: int, end: int) -> str:
    for _, names, names_end in _elements(der, at, end):
        for _, pair, pair_end in _elements(der, names, names_end):
            _, start, stop = _element(der, pair, pair_end, _IDENTIFIER)
            if der[start:stop] == _COMMON_NAME:
                tag, start, stop = _element(der, stop, pair_end)
                return der[start:stop].decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace")
    return ""


def _dns_names(der: bytes, at: int, end: int) -> tuple[str, ...]:
    _, at, end = _element(der, at, end, _SEQUENCE)
    for _, extension, extension_end in _elements(der, at, end):
        *_, (_, value, value_end) = _elements(der, extension, extension_end)
        _, start, stop = _element(der, extension, extension_end, _IDENTIFIER)
        if der[start:stop] == _ALTERNATIVE_NAMES:
            _, start, stop = _element(der, value, value_end, _SEQUENCE)
            names = [
                der[name:name_end].decode("utf-8", "replace") for tag, name, name_end in _elements(der, start, stop) if tag == _DNS_NAME
            ]
            return tuple(names[: MAX_NAMES + 1])
    return ()
