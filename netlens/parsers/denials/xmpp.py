"""XMPP in clear (RFC 6120 4.9.3, 6.5): a login that fails, a stream that ends with an error.

Ordinary: another host to be asked, a server that shuts down, a connection that was idle, a client that logs in twice.
"""

import re

from netlens.parsers.denials._kinds import At

ID, NAME = "xmpp", "XMPP"
AT = At(tcp=(5222, 5269))
_NO = re.compile(
    rb"<(?:stream:error|failure xmlns=['\"]urn:ietf:params:xml:ns:xmpp-sasl['\"])[^>]*>\s*<(not-authorized|account-disabled|credentials-expired|"
    rb"invalid-mechanism|mechanism-too-weak|encryption-required|temporary-auth-failure|host-unknown|host-gone|improper-addressing|internal-server-error|"
    rb"invalid-from|policy-violation|remote-connection-failed|resource-constraint|unsupported-version)\b"
)


def read(message: bytes, length: int, /) -> str | None:
    """A failure or a stream error with a condition of the RFC."""
    if message.startswith(b"<success xmlns="):
        return ""
    found = _NO.search(message[:600])
    return found[1].decode() if found else None
