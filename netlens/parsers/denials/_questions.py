"""What some answers mean that cannot be told without their questions: a number that a request bears and its answer repeats, and what is asked."""

from collections.abc import Callable
from typing import NamedTuple

from netlens.parsers.ber import ber, ber_int

_GET_NEXT, _NO_SUCH_NAME = 0xA1, "not there: noSuchName"
_EXTENDED, _START_TLS = 0x77, b"1.3.6.1.4.1.1466.20037"
_VALIDATE_JOB = 4


class Question(NamedTuple):
    """Of one protocol.

    read : (number, what is asked) of a message; of an answer only the number is used. IndexError: it ends too early.
    means : what an answer says (:meth:`netlens.parsers.denials._kinds.Denying.read`) to who asked that.
    """

    read: Callable[[bytes], tuple[bytes, bytes]]
    means: Callable[[str | None, bytes], str | None] = lambda no, _: no


def _snmp(message: bytes) -> tuple[bytes, bytes]:
    """Request-id and kind of request of SNMP 1 and 2c (RFC 3416 3, RFC 1157 4.1)."""
    _, at, _ = ber(message, 0)
    _, at = ber_int(message, at)
    _, _, at = ber(message, at)
    kind, at, _ = ber(message, at)
    _, at, end = ber(message, at)
    return message[at:end], bytes([kind])


def _of_snmp(no: str | None, asked: bytes) -> str | None:
    """Where a walk with SNMP 1 ends, there is no next name (RFC 1157 4.1.3)."""
    return None if no and no.startswith(_NO_SUCH_NAME) and asked == bytes([_GET_NEXT]) else no


def _modbus(message: bytes) -> tuple[bytes, bytes]:
    """Transaction, and unit, function and address (Modbus Application Protocol 1.1b3, 6)."""
    return message[:2], message[6:10]


def _ipp(message: bytes) -> tuple[bytes, bytes]:
    """Request-id and operation (RFC 8010 3.1.1), behind the head of HTTP and the length of a chunk."""
    if message[:5] in (b"POST ", b"HTTP/"):
        message = message.partition(b"\r\n\r\n")[2]
        if message[0] not in (1, 2):
            message = message.partition(b"\r\n")[2]
    if message[0] not in (1, 2):
        raise IndexError
    return message[4:8], message[2:4]


def _of_ipp(no: str | None, asked: bytes) -> str | None:
    """To check a job is granted without one (RFC 8011 4.2.3)."""
    return "" if no is None and asked == _VALIDATE_JOB.to_bytes(2, "big") else no


def _ldap(message: bytes) -> tuple[bytes, bytes]:
    """Number, and which extended request (RFC 4511 4.12)."""
    _, at, _ = ber(message, 0)
    _, at, end = ber(message, at)
    number = message[at:end]
    kind, at, _ = ber(message, end)
    if kind != _EXTENDED:
        return number, b""
    _, at, end = ber(message, at)
    return number, message[at:end]


def _of_ldap(no: str | None, asked: bytes) -> str | None:
    """Of extended requests only StartTLS is more than a try (RFC 4511 4.14)."""
    return None if no and no.startswith("extended request") and asked not in (b"", _START_TLS) else no


#: By ID of the protocol
QUESTIONS = {
    "snmp": Question(_snmp, _of_snmp),
    "modbus": Question(_modbus),
    "ipp": Question(_ipp, _of_ipp),
    "ldap": Question(_ldap, _of_ldap),
}
