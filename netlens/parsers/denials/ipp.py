"""IPP (RFC 8010 3.1, RFC 8011 4.1.8, B.1.4, B.1.5): what a printer answers inside HTTP, which says 200 all the same.

Ordinary: a job that is gone or done (0x0404, 0x0406), values, operations and versions that a printer does not know (0x040b, 0x0501, 0x0503), by which clients
learn what it knows; credentials that it wants (0x0402). What grants is a job, or that one is valid, not that the printer says what it can.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "ipp", "IPP"
AT = At(tcp=(631,))
_STATUS = {
    0x0400: "bad request", 0x0401: "forbidden", 0x0403: "not authorized", 0x0405: "timeout", 0x0408: "job too large",
    0x0409: "kind of address not supported", 0x040A: "document format not supported", 0x040C: "scheme not supported", 0x040D: "charset not supported",
    0x040E: "conflicting attributes", 0x040F: "compression not supported", 0x0410: "compression error", 0x0411: "document format error",
    0x0412: "document cannot be had", 0x0500: "internal error", 0x0502: "service unavailable", 0x0504: "device error", 0x0505: "temporary error",
    0x0506: "not accepting jobs", 0x0507: "busy",
}  # fmt: skip
#: The first group, and its first attribute, behind version, status and number (RFC 8011 4.1.4.2)
_BEGINS = b"\x01\x47\x00\x12attributes-charset"
_JOB = b"\x00\x06job-id"


def read(message: bytes, length: int, /) -> str | None:
    """By the status of a response, with or without the head of HTTP before it."""
    if message.startswith(b"HTTP/1."):
        message = message.partition(b"\r\n\r\n")[2]
    if message[0] not in (1, 2) or message[8 : 8 + len(_BEGINS)] != _BEGINS:
        return None
    status = int.from_bytes(message[2:4], "big")
    if status < 0x0100:
        return "" if _JOB in message else None
    return f"{_STATUS[status]} (0x{status:04x})" if status in _STATUS else None
