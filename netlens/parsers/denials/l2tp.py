"""L2TP (RFC 2661 3.1, 4.4.2): a tunnel or call that is refused.

Ordinary: an end that somebody asked for, a caller that hangs up.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "l2tp", "L2TP"
AT = At(udp=(1701,), either=True)
_CONTROL = 0xC802  # type, length and sequence, version 2
_SCCRP, _STOP, _ICRP, _CDN = 2, 4, 11, 14
_CODES = {_STOP: {2: "tunnel: general error", 4: "tunnel: not authorized", 5: "tunnel: version not supported"},
          _CDN: {2: "call: general error", 4: "call: no facilities at present", 5: "call: no facilities", 6: "call: invalid destination"}}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """The Result Code of a StopCCN or CDN."""
    if (
        len(message) < 20
        or int.from_bytes(message[:2], "big") != _CONTROL
        or int.from_bytes(message[2:4], "big") != length
        or message[14:18] != bytes(4)
    ):
        return None
    kind, at = int.from_bytes(message[18:20], "big"), 20
    if kind in (_SCCRP, _ICRP):
        return ""
    while kind in _CODES and at + 8 <= len(message):
        size = int.from_bytes(message[at : at + 2], "big") & 0x3FF
        if message[at + 2 : at + 6] == b"\x00\x00\x00\x01" and not message[at] & 0x40:
            no = _CODES[kind].get(code := int.from_bytes(message[at + 6 : at + 8], "big"))
            return f"{no} ({code})" if no else None
        if size < 6:
            return None
        at += size
    return None
