"""CoAP (RFC 7252 3, 5.9): errors of a server.

Ordinary: 4.01 and 4.08 (an Echo or a block is asked for), 4.04 unless that is all that a client hears, 4.05 and other answers to what the client asked for.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "coap", "CoAP"
AT = At(udp=(5683,))
CHALLENGES = ("4.04",)
_CODES = {
    0x83: "4.03 forbidden", 0x84: "4.04 not found", 0xA0: "5.00 internal error", 0xA2: "5.02 bad gateway", 0xA3: "5.03 not available",
    0xA4: "5.04 gateway timeout",
}  # fmt: skip
_PAYLOAD = 0xFF


def read(message: bytes, length: int, /) -> str | None:
    """By the code of a whole message of version 1 whose options end where its payload begins."""
    if len(message) < 4 or message[0] >> 6 != 1 or message[0] & 15 > 8 or length != len(message):
        return None
    at = 4 + (message[0] & 15)
    while at < length and message[at] != _PAYLOAD:
        delta, size = message[at] >> 4, message[at] & 15
        if delta == 15 or size == 15:
            return None
        extended = at + 1 + (delta > 12) + (delta > 13)
        at = extended + (size > 12) + (size > 13) + (size if size < 13 else message[extended] + 13 if size == 13 else length)
    if at > length or at == length - 1:  # a payload has a byte
        return None
    return "" if message[1] >> 5 == 2 else _CODES.get(message[1])
