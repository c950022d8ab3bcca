"""DTLS (RFC 9147 4, RFC 8446 6): a fatal alert in clear, hence of a handshake; at any port.

Told by the lens ``tls-failed``. Ordinary: close_notify and other warnings. What follows a handshake is encrypted.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.records import ALERTS

ID, NAME = "dtls", "DTLS"
AT = At(begins=(15, b"\x15\xfe"))
_EPOCH_0, _ALERT, _FATAL = bytes(2), b"\x00\x02", 2


def read(message: bytes, length: int, /) -> str | None:
    """The description of an alert that stands alone."""
    if length != 15 or message[:2] != b"\x15\xfe" or message[3:5] != _EPOCH_0 or message[11:13] != _ALERT or message[13] != _FATAL:
        return None
    return f"{ALERTS.get(message[14], 'alert').replace('_', ' ')} ({message[14]})"
