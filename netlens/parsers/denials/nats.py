"""NATS (client protocol, -ERR; nats-server's server/errors.go): a client that is not let in, or is shut out.

Ordinary: a subject that a client may not use, with which its connection stays open; a client that does not say in time who it is, as a bare check of the port;
credentials that ran out, with which a client comes anew; what is not NATS (a scanner). Said of a client that fell silent or behind, -ERR is no refusal
(Stale Connection, Slow Consumer).
"""

import re

from netlens.parsers.denials._kinds import At

ID, NAME = "nats", "NATS"
#: The beginning of what a server says: later, PONGs are no news, and there may be very many
AT = At(tcp=(4222,), within=(0, 1 << 14))
DAILY = ("permissions violation", "authentication timeout", "authorization timeout", "user authentication expired",
         "account authentication expired", "unknown protocol operation", "parser error")  # fmt: skip
_HARD = ("authorization violation", "user authentication revoked", "maximum connections exceeded", "maximum account active connections exceeded",
         "maximum subscriptions exceeded", "maximum payload violation", "maximum control line exceeded", "secure connection - tls required",
         "attempted to connect to route port", "invalid client protocol")  # fmt: skip
_ERROR = re.compile(rb"-ERR\s+'(" + "|".join((*DAILY, *_HARD)).encode() + rb")", re.IGNORECASE)


def read(message: bytes, length: int, /) -> str | None:
    """An -ERR that refuses; PONG and +OK, which a client gets only when it was let in."""
    if message.startswith((b"PONG\r\n", b"+OK\r\n")):
        return ""
    said = _ERROR.match(message)
    return said[1].decode().lower() if said else None
