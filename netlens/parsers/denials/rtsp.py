"""RTSP (RFC 2326 7.1.1, 11).

Ordinary: 401, which asks for credentials; methods and transports that a server does not know (405, 461, 501, 551), tried one after the other.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "rtsp", "RTSP"
AT = At(tcp=(554, 8554))
_REFUSING = (b"403", b"404", b"408", b"453", b"454", b"500", b"502", b"503", b"504", b"505")


def read(message: bytes, length: int, /) -> str | None:
    """By the status."""
    status = message[9:12]
    if not message.startswith(b"RTSP/1.0 ") or message[12:13] not in (b" ", b"\r"):
        return None
    return "" if status[:1] == b"2" else status.decode() if status in _REFUSING else None
