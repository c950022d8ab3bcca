"""S7 communication (as Siemens' controllers speak it over ISO 8073 on TCP, RFC 1006): what a controller says to items that are read or written, and that it
takes no connection.

Ordinary: to be turned away at first, as programs try several racks and slots: it counts where a client hears nothing else. Refusals of items count where the
same is asked twice.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "s7", "S7"
OFTEN = 0.5  # clients ask for what a device need not have
AT = At(tcp=(102,))
CHALLENGES, REPEATED = ("no connection",), ("item:", "error")
_ITEMS = {
    1: "hardware fault",
    3: "access not allowed",
    5: "address out of range",
    6: "data type not supported",
    7: "data types differ",
    10: "object does not exist",
}
_DATA, _DISCONNECT = b"\x02\xf0\x80\x32", 0x80
_ANSWERS, _READ, _WRITE, _DONE = (2, 3), 4, 5, 0xFF
_IN_BITS = (3, 4, 5)  #: how the length of what was read is counted, by its kind


def read(message: bytes, length: int, /) -> str | None:
    """The first item that fails of an answer that fills its segment."""
    if message[:2] != b"\x03\0" or int.from_bytes(message[2:4], "big") != length:
        return None
    if message[5] == _DISCONNECT and length == 11:
        return f"no connection: disconnected (reason {message[10]})"
    if message[4:8] != _DATA or message[8] not in _ANSWERS:
        return None
    error = int.from_bytes(message[17:19], "big")
    if error:
        return f"error {error:#06x}"
    kind, items, at = message[19], message[20], 21
    if kind not in (_READ, _WRITE):
        return None
    for _ in range(items):
        if message[at] != _DONE:
            return f"item: {_ITEMS[message[at]]} ({message[at]:#04x})" if message[at] in _ITEMS else None
        size = int.from_bytes(message[at + 2 : at + 4], "big") if kind == _READ else 0
        size = (size + 7) // 8 if kind == _READ and message[at + 1] in _IN_BITS else size
        at += 4 + size + size % 2 if kind == _READ else 1
    return ""
