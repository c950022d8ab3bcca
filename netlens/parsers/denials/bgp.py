"""BGP (RFC 4271 4.5, 6; RFC 4486; RFC 8538): a NOTIFICATION, which ends a session whichever side sends it.

Ordinary: two connections at once of which one is given up (collision). What an administrator does (shutdown, reset, configuration) is no problem.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "bgp", "BGP"
AT = At(tcp=(179,), either=True)
_CEASE = {0: "Cease", 1: "Cease: too many prefixes", 2: "administrative shutdown", 3: "peer removed from the configuration", 4: "administrative reset",
          5: "Cease: connection rejected", 6: "configuration changed", 8: "Cease: out of resources", 9: "Cease: hard reset", 10: "Cease: BFD down"}  # fmt: skip
DAILY = ("administrative", "peer removed", "configuration changed")
_OPEN = {1: "version not supported", 2: "wrong AS of the peer", 3: "bad identifier", 4: "optional parameter not supported", 5: "authentication failed",
         6: "hold time not accepted", 7: "capability not supported", 11: "role mismatch"}  # fmt: skip
_CODES = {1: "message header error", 2: "OPEN error", 3: "UPDATE error", 4: "hold timer expired", 5: "error of the state machine", 7: "ROUTE-REFRESH error",
          8: "send hold timer expired"}  # fmt: skip
_COLLISION, _HARD = (6, 7), (6, 9)


def read(message: bytes, length: int, /) -> str | None:
    """The messages of a segment until one is a NOTIFICATION."""
    at = 0
    while message[at : at + 16] == b"\xff" * 16:
        size, kind = int.from_bytes(message[at + 16 : at + 18], "big"), message[at + 18]
        if not 19 <= size <= 65535 or at + size > length or not 1 <= kind <= 5:
            return None
        if kind == 3 and size >= 21:
            why = message[at + 19], message[at + 20]
            if why == _HARD and size >= 23:  # RFC 8538 3.1: the reason is in its data
                return _said((message[at + 21], message[at + 22]), ", hard reset") or _said(why)
            return _said(why)
        at += size
    return None


def _said(why: tuple[int, int], more: str = "") -> str | None:
    """What a code and subcode mean; None of those that say nothing."""
    code, sub = why
    if why == _COLLISION:
        return None
    if code == 6:
        words = _CEASE.get(sub, "Cease")
    elif code in _CODES:
        words = _CODES[code] + (f": {_OPEN[sub]}" if code == 2 and sub in _OPEN else "")
    else:
        return None
    return f"{words} ({code}/{sub}{more})"
