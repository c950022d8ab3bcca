"""NFS 3 and 4 (RFC 1813 2.6, RFC 7530 13.1) over ONC RPC: the status that each result begins with.

Ordinary: names that are not there or there already, directories that are not empty, and what is tried in several ways.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.denials._rpc import TRIED, reply

ID, NAME = "nfs", "NFS"
AT = At(tcp=(2049,), udp=(2049,), mark=4)
DAILY = TRIED
_STATUS = {1: "not owner", 5: "I/O error", 13: "access denied", 28: "no space left", 30: "read-only file system", 69: "quota exceeded", 70: "stale file handle",
           10006: "server fault", 10016: "wrong security"}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """A reply of RPC, and the status of its result."""
    no, result = reply(message)
    if no or no is None or len(result) < 4:
        return no or None
    status = int.from_bytes(result[:4], "big")
    return f"{_STATUS[status]} ({status})" if status in _STATUS else None if status else ""
