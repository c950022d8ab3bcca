"""X11 (X Window System Protocol 8, Connection Setup): a display that lets a client not in.

Ordinary: nothing.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "x11", "X11"
AT = At(tcp=tuple(range(6000, 6011)), within=(0, 1))


def read(message: bytes, length: int, /) -> str | None:
    """The first answer; its byte order is the client's."""
    order = {b"\x0b\x00": "little", b"\x00\x0b": "big"}.get(message[2:4])
    if len(message) < 8 or order is None or message[4:6] != b"\x00\x00":
        return None
    words = int.from_bytes(message[6:8], order)  # type: ignore[arg-type]
    if message[0] == 0:
        return "connection refused" if 8 + 4 * words == length and message[1] <= 4 * words else None
    return "" if message[0] == 1 and 8 + 4 * words >= length else None
