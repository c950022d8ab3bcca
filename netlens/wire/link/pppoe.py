"""PPPoE session (RFC 2516): six bytes of its own, then PPP."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import LINK, all_kept
from netlens.wire.link.ppp import named

KINDS = {LINK | 51: "PPPoE", 0x8864: "PPPoE"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    return named(buf, o, np.int64(6), cap)
