"""ONC RPC (RFC 5531 9): mount (RFC 1813 appendix I); of the port mapper see :mod:`netlens.parsers.denials.portmap`.

Ordinary: programs, versions and procedures that a server does not have, which callers try; a renewal of RPCSEC_GSS.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.denials._rpc import TRIED, reply

ID, NAME = "rpc", "RPC"
AT = At(tcp=(635, 20048), udp=(635, 20048), mark=4)
DAILY = TRIED
_MOUNT_DENIED = b"\x00\x00\x00\x0d"  # MNT3ERR_ACCES, behind which nothing stands; other results that begin so are longer


def read(message: bytes, length: int, /) -> str | None:
    """A reply, and that a mount is denied."""
    no, result = reply(message)
    return "access denied to a mount" if no == "" and result == _MOUNT_DENIED else no
