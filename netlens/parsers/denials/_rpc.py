"""Replies of ONC RPC (RFC 5531 9)."""

_ACCEPTED = {
    1: "program not available", 2: "program version not available", 3: "procedure not available", 4: "arguments not understood", 5: "system error",
}  # fmt: skip
_AUTH = {
    1: "bad credentials", 2: "credentials rejected", 3: "bad verifier", 5: "authentication too weak", 6: "invalid response",
    7: "authentication failed",
}  # fmt: skip
#: What callers try before they go another way
TRIED = ("program", "procedure")


def reply(message: bytes) -> tuple[str | None, bytes]:
    """(what a reply says, as ``read`` of a protocol does, what the procedure returned)."""
    words = [int.from_bytes(message[k : k + 4], "big") for k in range(0, 24, 4)]
    if len(message) < 20 or words[1] != 1:
        return None, b""
    if words[2] == 1:  # MSG_DENIED: RPC_MISMATCH, AUTH_ERROR
        no = "version of RPC not supported" if len(message) == 24 else None
        return {0: no, 1: _AUTH.get(words[4])}.get(words[3]), b""
    size = words[4]
    if words[2] or words[3] not in (0, 1, 2, 3, 6) or size > 400 or size % 4 or len(message) < 24 + size:
        return None, b""
    status = int.from_bytes(message[20 + size : 24 + size], "big")
    return (_ACCEPTED.get(status) if status else ""), message[24 + size :]
