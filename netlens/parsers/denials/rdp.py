"""RDP ([MS-RDPBCGR] 2.2.1.2): a negotiation that fails.

Ordinary: a client that then offers what the server wants.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "rdp", "RDP"
AT = At(tcp=(3389,), within=(0, 1))
_CODES = {1: "the server requires TLS", 2: "the server does not allow TLS", 3: "the server has no certificate", 4: "flags do not fit",
          5: "the server requires network level authentication", 6: "the server requires TLS with a client certificate"}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """A connection confirm of X.224 with what was negotiated."""
    if length != 19 or message[:6] != b"\x03\x00\x00\x13\x0e\xd0" or message[13:15] != b"\x08\x00":
        return None
    return "" if message[11] == 2 else _CODES.get(int.from_bytes(message[15:19], "little")) if message[11] == 3 else None
