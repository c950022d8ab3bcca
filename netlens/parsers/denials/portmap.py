"""Port mapper (RFC 1833 2, 3) over ONC RPC (RFC 5531 9).

Ordinary: a program that is not registered (port 0, or an empty address: 2.1, 2.2.1), unless a client hears of no other; programs, versions and procedures
that a server does not have, which callers try.
"""

from netlens.parsers.denials._kinds import FOUND, NOTHING, At
from netlens.parsers.denials._rpc import TRIED, reply

ID, NAME = "portmap", "port mapper"
AT = At(tcp=(111,), udp=(111,), mark=4)
DAILY = TRIED


def read(message: bytes, length: int, /) -> str | None:
    """A reply of RPC; of GETPORT a port, of GETADDR an address, of DUMP a list: nothing in it is four zeros in each."""
    no, result = reply(message)
    if no != "" or len(result) < 4:
        return no
    return FOUND if any(result[:4]) else f"{NOTHING}: program not registered"
