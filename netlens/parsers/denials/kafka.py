"""Kafka (its protocol guide: Metadata, FindCoordinator, SaslHandshake and SaslAuthenticate; error codes): a topic without a leader, a login that fails.

Ordinary: topics and coordinators that are made just then: that there is no leader, no such topic or no coordinator counts where a client hears nothing else.
An answer says nothing of what it is, so these are read by their requests (:mod:`netlens.parsers.denials._questions`).
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "kafka", "Kafka"
AT = At(tcp=(9092,), mark=4)
_ERRORS = {
    3: "unknown topic or partition", 5: "leader not available", 14: "coordinator loads", 15: "coordinator not available", 16: "not the coordinator",
    17: "invalid topic", 29: "topic authorization failed", 30: "group authorization failed", 31: "cluster authorization failed",
    33: "SASL mechanism not supported", 34: "illegal SASL state", 35: "version not supported", 58: "SASL authentication failed",
}  # fmt: skip
_NOT_YET = (3, 5)  # a topic that is made at its first use
CHALLENGES = tuple(f"{_ERRORS[code]} ({code})" for code in (3, 5, 14, 15, 16))
METADATA, _COORDINATOR, _HANDSHAKE, _LOGIN = 3, 10, 17, 36
#: Where the error stands behind the number, by kind of request: from which version on
_PLACES = {_COORDINATOR: ((0, 0), (1, 4), (3, 5), (4, -1)), _HANDSHAKE: ((0, 0),), _LOGIN: ((0, 0), (2, 1))}


def read(message: bytes, length: int, /) -> str | None:
    """Without its request nothing is known of an answer but its number."""
    return None


def said(message: bytes, asked: bytes) -> str | None:
    """What an answer says; ``asked``: kind and version of the request."""
    kind, version = int.from_bytes(asked[:2], "big"), int.from_bytes(asked[2:4], "big")
    if kind == METADATA:
        errors = _topics(message, version)
        code = next(filter(None, errors), 0)
        if code in _NOT_YET and 0 in errors:
            code = 0  # of other topics it is told all
        if not errors:
            return None
    elif kind in _PLACES:
        place = next(place for since, place in reversed(_PLACES[kind]) if version >= since)
        if place < 0 or len(message) < 6 + place:
            return None
        code = int.from_bytes(message[4 + place : 6 + place], "big")
    else:
        return None
    return f"{_ERRORS[code]} ({code})" if code in _ERRORS else None if code else ""


class _Reader:
    """Fields one after the other; of flexible versions lengths are of a variable size, and one more."""

    def __init__(self, message: bytes, at: int, flexible: bool) -> None:
        self.message, self.at, self.flexible = message, at, flexible

    def number(self, size: int) -> int:
        self.at += size
        if self.at > len(self.message):
            raise IndexError
        return int.from_bytes(self.message[self.at - size : self.at], "big", signed=True)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1) & 0xFF
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80 or shift > 28:
                return value

    def count(self, size: int = 4) -> int:
        return self.varint() - 1 if self.flexible else self.number(size)

    def skip(self, size: int) -> None:
        self.at += max(size, 0)

    def string(self) -> None:
        self.skip(self.count(2))

    def tags(self) -> None:
        for _ in range(self.varint() if self.flexible else 0):
            self.varint()
            self.skip(self.varint())


def _topics(message: bytes, version: int) -> list[int]:
    """The error of each topic of a Metadata response, or that of its first partition that has one; as far as they are there."""
    reader = _Reader(message, 4, version >= 9)
    reader.tags()
    reader.skip(4 if version >= 3 else 0)
    for _ in range(reader.count()):  # brokers
        reader.skip(4)
        reader.string()
        reader.skip(4)
        if version >= 1:
            reader.string()
        reader.tags()
    if version >= 2:
        reader.string()
    reader.skip(4 if version >= 1 else 0)
    found = []
    try:
        for _ in range(reader.count()):
            code = reader.number(2)
            reader.string()
            reader.skip((16 if version >= 10 else 0) + (1 if version >= 1 else 0))
            for _ in range(reader.count()):
                code = reader.number(2) or code
                reader.skip(12 if version >= 7 else 8)
                for _ in range(3 if version >= 5 else 2):
                    reader.skip(4 * reader.count())
                reader.tags()
            reader.skip(4 if version >= 8 else 0)
            reader.tags()
            found.append(code)
    except IndexError:
        pass
    return found
