"""IP in IP (RFC 2003, RFC 4213): no header besides the outer one of IP."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import IPV4, IPV6, all_kept
from netlens.wire.tunnels._kinds import PROTOCOL

IPV4_INSIDE = PROTOCOL | 4
KINDS = {IPV4_INSIDE: "IPv4 in IP", PROTOCOL | 41: "IPv6 in IP"}
ENTERED = "in_ip", "packets inside IP in IP: read in place of the outer one"
content = all_kept


@lean
def header(buf, o, cap, length, kind):
    return np.int64(0), np.int64(IPV4 if kind == IPV4_INSIDE else IPV6)
