"""memcached (protocol.txt, Error strings; protocol_binary.txt, 2.2 Response Status), and what it says to a connection for which it has no room
(memcached.c: the option maxconns_fast, on by default since 1.4.33).

Ordinary: keys that are not there (but see :mod:`netlens.lenses.cache_misses`), ERROR to commands that a version does not know.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "memcached", "memcached"
AT = At(tcp=(11211,))
_STATUS = {0: "", 0x20: "authentication failed", 0x82: "out of memory", 0x85: "busy", 0x86: "temporary failure"}


def read(message: bytes, length: int, /) -> str | None:
    """A line that begins with SERVER_ERROR, or a status."""
    if message[:1] == b"\x81" and len(message) >= 24:
        return _STATUS.get(int.from_bytes(message[6:8], "big"))
    if message.startswith((b"STORED\r\n", b"VALUE ", b"END\r\n", b"DELETED\r\n", b"OK\r\n")):
        return ""
    if message.startswith(b"ERROR Too many open connections"):
        return "too many connections"
    if message.startswith(b"SERVER_ERROR "):
        return "SERVER_ERROR out of memory" if b"out of memory" in message[:40] else "SERVER_ERROR"
    return None
