"""SSH before its keys (RFC 4253 4.2, 6, 11.1): a disconnect in clear by either side, and lines instead of a version.

Ordinary: a disconnect by the application (11) or because a user gave up (13).
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "ssh", "SSH"
AT = At(tcp=(22, 2222), either=True, within=(-(1 << 62), 8192))  # an exchange of keys with post-quantum keys takes 4 kB
_LINES = {b"Protocol mismatch": "protocol mismatch", b"Invalid SSH identification": "protocol mismatch", b"Exceeded MaxStartups": "too many connections",
          b"Not allowed at this time": "not allowed at this time"}  # fmt: skip
_REASONS = {1: "host not allowed", 2: "protocol error", 3: "key exchange failed", 5: "MAC error", 7: "service not available", 8: "version not supported",
            9: "host key not verifiable", 12: "too many connections", 14: "no more authentication methods", 15: "illegal user name"}  # fmt: skip
_DISCONNECT = 1
_KEYS = (21, 31, 33)  # new keys, a reply to the exchange of keys: the server takes the client


def read(message: bytes, length: int, /) -> str | None:
    """A packet that fills its segment with a disconnect whose description fits, or a line."""
    for words, no in _LINES.items():
        if message.startswith(words):
            return no
    size = int.from_bytes(message[:4], "big") + 4
    if message[5] in _KEYS and 12 <= size <= length:
        return ""
    if len(message) < 14 or size != length or message[5] != _DISCONNECT:
        return None
    reason, described = int.from_bytes(message[6:10], "big"), int.from_bytes(message[10:14], "big")
    why = _REASONS.get(reason)
    return f"{why} ({reason})" if why and 14 + described + message[4] <= length <= 18 + described + message[4] + 16 else None
