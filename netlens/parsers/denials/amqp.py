"""AMQP 0-9-1 (specification 2.3.5, 4.2.3; constants in 1.1): a connection or channel that the server closes with an error.

Ordinary: code 200 (success), 320 (an operator closed it), 404 and 406 to a channel that asks whether something is there.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "amqp", "AMQP"
AT = At(tcp=(5672,))
DAILY = ("320", "404", "406")
_CODES = {311: "content too large", 312: "no route", 313: "no consumers", 320: "connection forced", 402: "invalid path", 403: "access refused",
          404: "not found",
          405: "resource locked",
          406: "precondition failed", 501: "frame error", 502: "syntax error", 503: "command invalid", 504: "channel error",
          505: "unexpected frame", 506: "resource error", 530: "not allowed", 540: "not implemented", 541: "internal error"}  # fmt: skip
_TUNE, _CLOSE, _CHANNEL_CLOSE = b"\x00\x0a\x00\x1e", b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28"


def read(message: bytes, length: int, /) -> str | None:
    """The method of a frame: tune (the login is through), or close."""
    if len(message) < 13 or message[0] != 1 or int.from_bytes(message[3:7], "big") + 8 > length:
        return None
    method, code = message[7:11], int.from_bytes(message[11:13], "big")
    if method == _TUNE:
        return ""
    return f"{code} {_CODES[code]}" if method in (_CLOSE, _CHANNEL_CLOSE) and code in _CODES else None
