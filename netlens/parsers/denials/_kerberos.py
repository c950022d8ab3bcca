"""Kerberos errors as they stand in messages of Kerberos and inside other protocols (RFC 4120 5.9.1, 7.5.9; RFC 4121 4.1)."""

_ERRORS = {
    1: "client's entry has expired", 2: "service's entry has expired", 6: "client not known", 7: "service not known (S_PRINCIPAL_UNKNOWN)",
    8: "several entries for one name",
    12: "policy forbids it", 14: "no common encryption", 18: "account disabled", 23: "password has expired", 24: "wrong password", 29: "KDC not available",
    31: "integrity check failed", 32: "ticket has expired", 33: "ticket not yet valid", 34: "replay", 36: "ticket and client do not match", 37: "clocks differ",
    41: "message was modified", 44: "key version not known", 60: "generic error",
}  # fmt: skip
#: An option not granted, a type of data not used, preauthentication wanted, ask again by TCP, ask another realm (RFC 6806 7)
_ORDINARY = (13, 16, 25, 52, 68)
_HEADER = b"\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e"  # pvno [0] 5, msg-type [1] 30
_TOKEN = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03\x00"  # of GSS-API: Kerberos 5, KRB_ERROR


def error(message: bytes) -> str | None:
    """Of a KRB-ERROR in words; None: it is ordinary or no KRB-ERROR."""
    at = message.find(b"\xa6\x03\x02\x01")  # error-code [6] INTEGER
    if message[:1] != b"\x7e" or _HEADER not in message[:20] or at < 0 or at + 4 >= len(message):
        return None
    code = message[at + 4]
    return None if code in _ORDINARY else _ERRORS.get(code, f"error {code}")


def error_inside(message: bytes) -> str | None:
    """Of a KRB-ERROR in a token of GSS-API somewhere in a message."""
    at = message.find(_TOKEN)
    return error(message[at + len(_TOKEN) :]) if at >= 0 else None
