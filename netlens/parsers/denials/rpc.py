"""ONC RPC (RFC 5531 9): mount (RFC 1813 appendix I); at these ports and those that a port mapper has named, see :mod:`netlens.parsers.denials.portmap`.

Ordinary: programs, versions and procedures that a server does not have, which callers try; a renewal of RPCSEC_GSS.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.denials._rpc import TRIED, reply

ID, NAME = "rpc", "RPC"
AT = At(tcp=(635, 20048), udp=(635, 20048), mark=4)
DAILY = TRIED
#: What stands alone in the result (MNT3ERR, RFC 1813 5.1.1; RFC 1094 A.1): others that begin so are longer
_DENIED = {
    1: "not owner",
    2: "no such directory",
    5: "I/O error",
    13: "access denied",
    20: "no directory",
    10004: "not supported",
    10006: "server fault",
}


def read(message: bytes, length: int, /) -> str | None:
    """A reply, and that a mount is denied."""
    no, result = reply(message)
    status = int.from_bytes(result, "big") if no == "" and len(result) == 4 else 0
    return f"mount: {_DENIED[status]} ({status})" if status in _DENIED else no
