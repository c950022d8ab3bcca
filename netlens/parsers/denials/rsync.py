"""rsync's daemon (rsync 3: clientserver.c, authenticate.c): what it says to a module.

Ordinary: a module that is not there, unless a client asks for it twice; a list of modules.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "rsync", "rsync"
AT = At(tcp=(873,))
REPEATED = ("Unknown module",)
_SAID = ("auth failed", "max connections", "access denied", "Unknown module", "chroot failed", "chdir failed", "failed to open lock file", "invalid uid",
         "invalid gid")  # fmt: skip
_WORDS = {"max connections": "too many connections"}


def read(message: bytes, length: int, /) -> str | None:
    """An error by how it begins, or OK."""
    if message.startswith(b"@RSYNCD: OK"):
        return ""
    if not message.startswith(b"@ERROR"):
        return None
    said = next((words for words in _SAID if message[7:].lstrip().startswith(words.encode())), "@ERROR")
    return _WORDS.get(said, said)
