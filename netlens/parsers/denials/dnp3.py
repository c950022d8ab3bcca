"""DNP3 over TCP (IEEE 1815 4.2.2.6, 4.5): internal indications of an outstation by which it refuses a request.

Ordinary: objects that an outstation does not have and functions that it does not know, for which masters ask at first (unsolicited responses, say),
unless a master hears nothing else; that it restarted, or needs the time.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "dnp3", "DNP3"
AT = At(tcp=(20_000,))
DAILY = ("function not supported", "object unknown")
VAIN = (("function not supported", 3), ("object unknown", 3))
_START, _RESPONSE = b"\x05\x64", 0x81
_FIRST = 0x40  # flag of the transport header; in front of it stand ten bytes of the link's
#: Bits of the second byte of the indications, the gravest first
_REFUSED = ((0x20, "configuration corrupt"), (0x04, "parameter error"), (0x01, "function not supported"), (0x02, "object unknown"))


def read(message: bytes, length: int, /) -> str | None:
    """The first fragment of a response (not of what an outstation says unasked) that begins a segment."""
    if message[:2] != _START or not message[10] & _FIRST or message[12] != _RESPONSE:
        return None
    return next((f"{words} (IIN2 {message[14]:#04x})" for bit, words in _REFUSED if message[14] & bit), "")
