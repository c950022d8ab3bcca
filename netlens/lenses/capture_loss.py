"""What did the recorder miss?

Asks: how much was acknowledged that the capture does not hold, and whether only one direction was recorded; whether of UDP datagrams in fragments only the
    first ones were.
Applies: to TCP, and to fragments.
Cannot see: other UDP that was missed; what is missing at the very end.
Normal: the recorder's loss, not the network's. Zeek (policy/misc/capture-loss) speaks of too much from 10 % of acknowledgments; a gap or two happen where
    a capture begins, or a buffer was small. A filter by ports keeps the first fragment of a datagram only, as the others have none.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import View, finding
from netlens.lenses.ack_storm import storms
from netlens.lenses.fragments_missing import LEAST, pieces, whole
from netlens.text import plural, size

ID = "capture-loss"
GROUP = "sight"
RANK = 90
SHARE = 0.01
SESSIONS = 3


def look(view: View) -> list[Finding]:
    return [*_of_tcp(view), *_of_fragments(view)]


def _of_fragments(view: View) -> list[Finding]:
    """Datagrams of which the recorder kept the first fragment only: none of a later one is there."""
    found = view.once(pieces)
    if len(found) < LEAST or whole(view) or any(p.more for p in found):
        return []
    text = (
        f"Of {plural(len(found), 'UDP datagram')} only the first IP fragment is in the capture, and no later one at all: as if a filter by ports left them "
        "out."
    )
    advice = "Record without a filter by ports, or add 'or ip[6:2] & 0x1fff != 0' to it: only the first fragment has ports."
    return [finding(view, ID, "note", text, [p.frame for p in found], {"datagrams": len(found)}, advice)]


def _of_tcp(view: View) -> list[Finding]:
    s = view.sessions
    firsts = s["first_frame"]
    advice = "Record with a larger buffer (netlens capture does), on the interface that carries both directions, without a filter that drops one."
    if view.one_sided:
        n = sum(not (s["orig_frames"][k] and s["resp_frames"][k]) for k in view.first_copies)
        were = "was" if n == 1 else "were"
        text = f"{n:,} of {plural(len(view.first_copies), 'connection')} {were} recorded in one direction only: what the other side said is not known."
        frames = [int(firsts[k]) for k in view.first_copies[:5]]
        return [finding(view, ID, "warning", text, frames, {"one_sided": n, "connections": len(view.first_copies)}, advice)]
    if view.contents_alone:
        return []  # all that is missing may have been left out on purpose
    missing = view.missing_bytes
    # a FIN that was not recorded takes one number of each direction
    data = np.maximum(s["orig_missing_bytes"] - 1, 0) + np.maximum(s["resp_missing_bytes"] - 1, 0)
    never_sent = view.once(storms)  # what is acknowledged there was put in by others
    lacking = [k for k in view.in_one if data[k] > 0 and k not in never_sent]
    if not lacking:
        return []
    lost = int(sum(missing[k] for k in lacking))
    seen = int(sum(s["orig_bytes"][k] + s["resp_bytes"][k] for k in view.whole))
    share = lost / max(lost + seen, 1)
    grave = share >= SHARE or len(lacking) >= SESSIONS
    text = (
        f"{size(lost)} that were acknowledged are not in the capture ({share:.1%} of the payload, {plural(len(lacking), 'connection')}): "
        "the recorder missed them, or they were left out later."
    )
    frames = [int(firsts[k]) for k in lacking]
    values = {"missing_bytes": lost, "share": share, "connections": len(lacking)}
    return [finding(view, ID, "warning" if grave else "note", text, frames, values, advice if grave else "")]
