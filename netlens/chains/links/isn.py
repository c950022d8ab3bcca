"""Equal initial sequence numbers: translation keeps them.

Both numbers are 64 random bits (RFC 6528). Where there was no answer, the SYN's number and the server must do. Numbers that two connections of one
capture have (a replayed or doubled capture) tell nothing.
"""

from __future__ import annotations

from typing import Any

from netlens.chains.compared import Compared, Found
from netlens.columns import Ints

ID = "isn"
RANK = 1
EXACT = True


def join(found: Found) -> None:
    v, h = found.v, found.h

    def both(t: Compared, rows: Ints) -> dict[int, Any]:
        return _keyed(rows[(t.isn[rows] >= 0) & (t.answer[rows] >= 0)], t.isn, t.answer)

    def alone(t: Compared, rows: Ints) -> dict[int, Any]:
        # a redirected connection is answered by the proxy; nobody else has its numbers
        return _keyed(rows[(t.isn[rows] >= 0) & (t.answer[rows] < 0) & ~t.forwarded[rows]], t.isn, t.server)

    for keys in (both, alone):
        found.unique(keys(v, found.free_vm()), keys(h, found.free_host()), ID)


def _keyed(rows: Ints, *columns: Ints) -> dict[int, Any]:
    return dict(zip(rows.tolist(), zip(*(each[rows].tolist() for each in columns), strict=True), strict=True))
