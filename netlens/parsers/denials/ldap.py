"""LDAP (RFC 4511 4.1.9, 4.2.2, 4.5.2, A): a login that fails, and answers that the client may not have or the server cannot give.

Ordinary: a login that goes on (14), referrals (10), entries that are not there (32; a warning if a client finds none at all, a problem if it goes on),
or there already (68), the limit of a search, unless the server has set it and a client meets it again and again (4.5.1.4: a client's own limit stands in its
request, 0 is none). An extended request that a server does not know (4.12, 4.14.2) is tried by many clients that then go on; StartTLS counts where a client
hears nothing else.
"""

from netlens.parsers.ber import ber, ber_int
from netlens.parsers.denials._kinds import FOUND, LIMITED, NOTHING, At

ID, NAME = "ldap", "LDAP"
AT = At(tcp=(389, 3268), either=True)
LAST = ("sizeLimitExceeded", "timeLimitExceeded")
CHALLENGES = ("extended request:",)
DAILY = (*LAST, NOTHING)  # where a search begins there may be nothing, as meant
_BIND, _ASKS, _ENTRY, _SEARCH, _EXTENDED = 0x61, 0x63, 0x64, 0x65, 0x78
_LIMITS = {3: "timeLimitExceeded", 4: "sizeLimitExceeded"}
_NO_SUCH_OBJECT = 32
_CHANGES = (0x67, 0x69, 0x6B, 0x6D)  # modify, add, delete, modify DN
_CODES = {
    1: "operationsError", 2: "protocolError", 7: "authMethodNotSupported", 8: "strongerAuthRequired", 13: "confidentialityRequired",
    48: "inappropriateAuthentication",
    49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable", 53: "unwillingToPerform", 11: "adminLimitExceeded",
    12: "unavailableCriticalExtension",
}  # fmt: skip
_OF_ALL = (1, 8, 13, 50, 51, 52, 53)


def read(message: bytes, length: int, /) -> str | None:
    """By the result code of an answer, also behind entries in the same segment."""
    said = None
    try:
        while True:
            said, at = _said(message, length)
            if said != FOUND or at >= len(message):
                return said
            message, length = message[at:], length - at
    except IndexError:
        if said is None:
            raise
        return said


def _said(message: bytes, length: int) -> tuple[str | None, int]:
    """What one message says, and where it ends."""
    tag, at, end = ber(message, 0)
    if tag != 0x30:
        return None, end
    _, at = ber_int(message, at)
    operation, at, _ = ber(message, at)
    if operation == _ENTRY:
        return FOUND, end  # it may go on in the next segment
    return _result(message, operation, at) if operation == _ASKS or end <= length else None, end


def _result(message: bytes, operation: int, at: int) -> str | None:
    """at : of what stands in the operation."""
    if operation == _ASKS:
        _, _, at = ber(message, at)  # where the search begins
        _, at = ber_int(message, at, 0x0A)  # scope
        _, at = ber_int(message, at, 0x0A)  # aliases
        entries, at = ber_int(message, at)
        return LIMITED if entries or ber_int(message, at)[0] else None
    if operation not in (_BIND, _SEARCH, 0x6F, _EXTENDED, *_CHANGES):
        return None
    code, _ = ber_int(message, at, 0x0A)
    if not code:
        return "" if operation == _BIND or operation in _CHANGES else FOUND if operation == _SEARCH else None
    if operation == _SEARCH and code == _NO_SUCH_OBJECT:
        return f"{NOTHING}: noSuchObject (32)"
    if operation == _SEARCH and code in _LIMITS:
        return f"{_LIMITS[code]} ({code})"
    if operation == _BIND and code not in (10, 14) and code < 123:
        return f"{_CODES.get(code, 'error')} ({code}) to the login"
    if operation == _EXTENDED and code in (2, 12):
        return f"extended request: {_CODES[code]} ({code})"
    return f"{_CODES[code]} ({code})" if code in _OF_ALL else None
