"""Elements of BER (X.690 8.1), of which DER is a part: how SNMP, LDAP and certificates are written."""


def ber(message: bytes, at: int) -> tuple[int, int, int]:
    """(tag, start, end) of an element with a tag of one byte and a definite length below 2^32. IndexError: there is none."""
    size, start = message[at + 1], at + 2
    if size & 0x80:
        n = size & 0x7F
        if not 0 < n <= 4 or start + n > len(message):
            raise IndexError
        start, size = start + n, int.from_bytes(message[start : start + n], "big")
    return message[at], start, start + size


def ber_int(message: bytes, at: int, tag: int = 2) -> tuple[int, int]:
    """(value, end) of an INTEGER (or what has ``tag``) of at most eight bytes. IndexError: there is none."""
    found, start, end = ber(message, at)
    if found != tag or not start < end <= min(len(message), start + 8):
        raise IndexError
    return int.from_bytes(message[start:end], "big"), end
