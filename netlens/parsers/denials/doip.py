"""Diagnostics by IP (DoIP, ISO 13400-2:2019 7, 9): a tester that a gateway turns away, and messages that it does not pass on. What it carries is UDS.

Ordinary: nothing; a gateway asks for time by answers of UDS.
"""

from netlens.parsers.denials._kinds import At

ID, NAME, INSIDE = "doip", "DoIP", ("uds",)
AT = At(tcp=(13400,))
CHALLENGES = ("routing activation: TLS required",)  # at another port (7.3.4)
_ROUTING, _DIAGNOSTIC, _NOT_PASSED_ON = 0x0006, 0x8001, 0x8003  # types of payload
_ACTIVATED, _CONFIRM = 0x10, 0x11
_ROUTES = {0: "unknown source address", 1: "no socket free", 2: "another source address on this connection", 3: "source address in use elsewhere",
           4: "authentication missing", 5: "confirmation rejected", 6: "activation type not supported", 7: "TLS required"}  # fmt: skip
_NOT_PASSED = {2: "invalid source address", 3: "unknown target address", 4: "message too large", 5: "out of memory", 6: "target unreachable",
               7: "unknown network", 8: "transport protocol error"}  # fmt: skip


def carried(message: bytes, length: int) -> tuple[int, bytes]:
    """Type and what stands behind the addresses, of a message that fills its segment; -1 if there is none."""
    if len(message) < 9 or message[0] ^ message[1] != 0xFF or int.from_bytes(message[4:8], "big") + 8 != length:
        return -1, b""
    return int.from_bytes(message[2:4], "big"), message[12:]


def read(message: bytes, length: int, /) -> str | None:
    """By the code of a refusal."""
    kind, behind = carried(message, length)
    if kind == _ROUTING:
        code = behind[0]
        return "" if code in (_ACTIVATED, _CONFIRM) else f"routing activation: {_ROUTES[code]} ({code:#04x})" if code in _ROUTES else None
    if kind == _NOT_PASSED_ON:
        return f"not passed on: {_NOT_PASSED[behind[0]]} ({behind[0]:#04x})" if behind[0] in _NOT_PASSED else None
    return None
