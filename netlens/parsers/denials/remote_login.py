"""Telnet, rlogin and rsh (RFC 854, RFC 1282): what login and the servers print when they let nobody in.

Ordinary: a password mistyped once; then a prompt follows.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "remote-login", "remote login"
AT = At(tcp=(23, 513, 514))
_SAID = {b"login incorrect": "login incorrect", b"password incorrect": "password incorrect", b"permission denied": "permission denied",
         b"% login invalid": "login invalid", b"% authentication failed": "authentication failed", b"login failed": "login failed",
         b"% access denied": "access denied", b"% bad passwords": "bad passwords"}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """What a segment of text begins with; a prompt at its end."""
    text = message[:80].lstrip(b"\x00\x01\x07\r\n ").lower()
    for words, no in _SAID.items():
        if text.startswith(words):
            return no
    prompts = length == len(message) and message.rstrip(b" ")[-1:] in (b"$", b"#", b">")
    return "" if prompts or text.startswith((b"last login", b"welcome")) else None
