"""Are connections left half-closed?

Asks: whether one side's FIN was acknowledged and the other did not close for a minute or longer: the other program forgot it (CLOSE_WAIT);
    whether a server closed none of many.
Applies: to connections captured in both directions.
Cannot see: whether the other side still has something to do.
Normal: RFC 9293 3.6 allows a half-close for as long as anybody likes; a server streams on, ssh -N waits, browsers let go after 15 s.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import NEVER
from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.text import plural

ID = "half-closed"
GROUP = "leaks"
RANK = 81
LONG_NS = 60 * S
SOON_NS, LONGEST_NS = S, 5 * S  #: of a server that closes none: each, and the longest
MANY = 20


def look(view: View) -> list[Finding]:
    s = view.sessions
    fins, data = ({orig: s.ints(f"{end}_{name}_ns", without) for orig, end in ((True, "orig"), (False, "resp"))}
                  for name, without in (("fin", NEVER), ("last_payload", 0)))  # fmt: skip
    reset, last_frame = s.ints("rst_ns", NEVER) != NEVER, s["last_frame"]
    first, second = np.minimum(fins[True], fins[False]), np.maximum(fins[True], fins[False])
    may_be = ~reset & (first != NEVER) & ((second == NEVER) | (second - first >= SOON_NS))
    found: list[tuple[int, bool, int]] = []
    soon: dict[tuple[str, int], list[tuple[int, bool, int]]] = {}  # of a server that closes none: those that stay open for less long
    for k in (k for k in view.in_one if may_be[k]):
        for orig in (True, False):
            mine, other = int(fins[orig][k]), int(fins[not orig][k])
            if other <= mine:
                continue
            until = other if other != NEVER else view.end_of(int(last_frame[k]))
            since = max(mine, int(data[not orig][k]))
            if orig and SOON_NS <= until - since < LONG_NS and _acknowledged(view, k, orig):
                soon.setdefault(view.ends(k)[2:], []).append((k, not orig, until - since))
            if LONG_NS <= until - since < 3600 * S * 24 and _acknowledged(view, k, orig):
                found.append((k, not orig, until - since))
    grave = len(found) >= MANY
    closes = {view.ends(k)[2:] for k in view.whole if reset[k] or fins[False][k] != NEVER} if soon else set()
    found += [
        each
        for service, group in soon.items()
        if len(group) >= MANY and service not in closes and max(ns for *_, ns in group) >= LONGEST_NS
        for each in group
    ]
    if not found:
        return []
    longest = max(f[2] for f in found)
    who = most(view.address(k, orig) for k, orig, _ in found)
    text = f"{plural(len(found), 'connection')} stayed half-closed for up to {seconds(longest)}: the peer had closed and {who} did not."
    values = {"connections": len(found), "longest_s": longest / 1e9}
    advice = (
        "The program does not close its side when it reads the end of the stream (CLOSE_WAIT in ss -t): its sockets leak."
        if len(found) >= MANY
        else ""
    )
    return [finding(view, ID, "problem" if grave else "warning", text, [int(last_frame[k]) for k, _, _ in found], values, advice)]


def _acknowledged(view: View, k: int, orig: bool) -> bool:
    """Whether the FIN of a side was acknowledged: else its peer is gone, and forgot nothing."""
    seg = view.segments(k)
    fin = next((i for i in range(len(seg)) if seg.orig[i] == orig and seg.flags[i] & 1), None)
    if fin is None:
        return False
    end = seg.end(fin) + 1
    return any(seg.orig[i] != orig and seg.acked[i] >= end for i in range(fin + 1, len(seg)))
