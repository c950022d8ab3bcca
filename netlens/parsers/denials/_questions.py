"""What some answers mean that cannot be told without their questions: a number that a request bears and its answer repeats, and what is asked."""

from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from netlens.parsers.ber import ber, ber_int
from netlens.parsers.denials import bacnet, cip, kafka, opc_ua

_GET_NEXT, _NO_SUCH_NAME = 0xA1, "not there: noSuchName"
_EXTENDED, _START_TLS = 0x77, b"1.3.6.1.4.1.1466.20037"
_VALIDATE_JOB = 4
_CONNECT, _CONNACK = 0x10, 0x20  #: of MQTT
_ACCESS_REQUEST, _USER_NAME = 1, 1  #: of RADIUS
_LINE = 200  #: bytes
#: Commands of memcached's text protocol: that read one key, store one until some time, and delete one (protocol.txt)
_READS, _STORES, _DELETES = (b"get", b"gets"), (b"set", b"add", b"replace", b"cas"), b"delete"


class Question(NamedTuple):
    """Of one protocol.

    read : (number, what is asked) of a message; of an answer only the number is used. IndexError: it ends too early.
    means : what an answer says (:meth:`netlens.parsers.denials._kinds.Denying.read`) to who asked that; with the answer itself.
    number : as ``read`` of an answer, if that is another.  repeats : whether an answer itself says what was asked.
    """

    read: Callable[[bytes], tuple[bytes, bytes]]
    means: Callable[[str | None, bytes, bytes], str | None] = lambda no, *_: no
    number: Callable[[bytes], tuple[bytes, bytes]] | None = None
    repeats: bool = False


def _snmp(message: bytes) -> tuple[bytes, bytes]:
    """Request-id and kind of request of SNMP 1 and 2c (RFC 3416 3, RFC 1157 4.1)."""
    _, at, _ = ber(message, 0)
    _, at = ber_int(message, at)
    _, _, at = ber(message, at)
    kind, at, _ = ber(message, at)
    _, at, end = ber(message, at)
    return message[at:end], bytes([kind])


def _of_snmp(no: str | None, asked: bytes, _: bytes) -> str | None:
    """Where a walk with SNMP 1 ends, there is no next name (RFC 1157 4.1.3)."""
    return None if no and no.startswith(_NO_SUCH_NAME) and asked == bytes([_GET_NEXT]) else no


def _radius(message: bytes) -> tuple[bytes, bytes]:
    """Identifier, and who asks to be let in (RFC 2865 3, 5.1)."""
    at = 20 if message[0] == _ACCESS_REQUEST else len(message)
    while at + 2 < len(message) and message[at + 1] >= 2:
        if message[at] == _USER_NAME:
            return message[1:2], message[at + 2 : at + message[at + 1]]
        at += message[at + 1]
    return message[1:2], b""


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


def _of_ipp(no: str | None, asked: bytes, _: bytes) -> str | None:
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


def _of_ldap(no: str | None, asked: bytes, _: bytes) -> str | None:
    """Of extended requests only StartTLS is more than a try (RFC 4511 4.14)."""
    return None if no and no.startswith("extended request") and asked not in (b"", _START_TLS) else no


def _bacnet(message: bytes) -> tuple[bytes, bytes]:
    """Number, and service with its parameters of a confirmed request (ASHRAE 135 20.1.2); of answers the number."""
    said = bacnet.service(message)
    if said[0] >> 4:
        return said[1:2], b""
    if said[0] & 8:
        raise IndexError  # in segments
    return said[2:3], said[3:]


def _s7(message: bytes) -> tuple[bytes, bytes]:
    """Number, and function with its items, of a request."""
    if message[4:8] != b"\x02\xf0\x80\x32":
        raise IndexError
    return message[11:13], message[17 : 17 + int.from_bytes(message[13:15], "big")]


def _opc_ua(message: bytes) -> tuple[bytes, bytes]:
    """Number of a request, and the node that it is about."""
    try:
        return message[20:24], opc_ua.node(message)
    except IndexError:
        return message[20:24], b""


def _kafka(message: bytes) -> tuple[bytes, bytes]:
    """Number, and kind and version of a request (request header 0 and later)."""
    return message[4:8], message[:4]


def _of_kafka(_: str | None, asked: bytes, message: bytes) -> str | None:
    return kafka.said(message, asked)


def _mqtt(message: bytes) -> tuple[bytes, bytes]:
    """The name of a client stands in its first message (3.1.1 3.1.3.1; 5.0 3.1.2.11: behind properties), which the server's first answers."""
    if message[0] != _CONNECT:
        return b"other", b""
    at = next(k for k in range(1, 5) if message[k] < 0x80) + 1
    at += 2 + int.from_bytes(message[at : at + 2], "big") + 4  # name of the protocol; version, flags, keep-alive
    if message[at - 4] == 5:
        at += 1 + message[at]
    return b"", message[at + 2 : at + 2 + int.from_bytes(message[at : at + 2], "big")]


def _rsync(message: bytes) -> tuple[bytes, bytes]:
    """The line behind a client's greeting is a module's name (clientserver.c)."""
    return (b"greets", b"") if message.startswith((b"@RSYNCD: 3", b"@RSYNCD: 2")) else (b"", message[:_LINE])


def _memcached(message: bytes) -> tuple[bytes, bytes]:
    """Of a command of the text protocol a number that tells whether two keys are the same, and of one that stores its exptime. What else there is, as the rest
    of a value, is no question."""
    words = message[:_LINE].partition(b"\r\n")[0].split(b" ")
    number = crc32(words[1]).to_bytes(4, "big") if len(words) > 1 else b""
    if (words[0] in _READS and len(words) == 2) or words[0] == _DELETES:
        return b"", number
    if words[0] in _STORES and len(words) >= 5 and words[3].isdigit():
        return b"", number + int(words[3][:9]).to_bytes(4, "big")
    return b"other", b""


def _kerberos(message: bytes) -> tuple[bytes, bytes]:
    """The service that an error is about (RFC 4120 5.9.1: sname [10])."""
    tag, at, _ = ber(message, 0)
    _, at, end = ber(message, at)
    while tag == 0x7E and at < end:
        field, inside, at = ber(message, at)
        if field == 0xAA:
            return b"", message[inside:at]
    return b"", b""


#: By ID of the protocol
QUESTIONS = {
    "snmp": Question(_snmp, _of_snmp),
    "modbus": Question(_modbus),
    "radius": Question(_radius),
    "ipp": Question(_ipp, _of_ipp),
    "ldap": Question(_ldap, _of_ldap),
    "bacnet": Question(_bacnet),
    "cip": Question(cip.inside),
    "s7": Question(_s7),
    "opc-ua": Question(_opc_ua),
    "kafka": Question(_kafka, _of_kafka, lambda message: (message[:4], b"")),
    "mqtt": Question(_mqtt, number=lambda message: (b"" if message[0] == _CONNACK else b"other", b"")),
    "memcached": Question(_memcached, number=lambda _: (b"", b"")),
    "rsync": Question(_rsync, number=lambda _: (b"", b"")),
    "kerberos": Question(lambda _: (b"", b""), number=_kerberos, repeats=True),
}
