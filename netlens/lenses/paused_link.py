"""Is a link held still by PAUSE frames?

Asks: whether one end tells the other to be silent again and again, and never that it may go on.
Applies: where PAUSE frames are in the capture, of all classes (IEEE 802.3-2018 annex 31B) or by class (31D); most network cards do not hand them on.
Cannot see: how fast the link is, so how long a pause lasts: 65,535 quanta are 336 ms at 100 Mbit/s, 34 ms at 1 Gbit/s, 3 ms at 10 Gbit/s.
Normal: who cannot take more for a moment sends one, and often another of no time when it can. A storage network lives with thousands, among many more frames
    of data. A card whose driver hangs sends them without end, before the time of the last one is over.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.switches import FRAME, QUANTA, SENDER, TS
from netlens.text import plural

ID = "paused-link"
GROUP = "delivery"
RANK = 49
TIMES, SPAN_NS = 100, 3 * S
QUANTUM_NS = 512  #: at 1 Gbit/s (512 bit times)
HELD = 0.9  #: share of the time that is asked for at 1 Gbit/s


def look(view: View) -> list[Finding]:
    """At most one."""
    pauses = view.side.capture.switches.pauses()
    held: dict[str, np.ndarray] = {}
    for sender in np.unique(pauses[:, SENDER]) if len(pauses) >= TIMES else ():
        mine = pauses[pauses[:, SENDER] == sender]
        lasted = int(mine[-1, TS] - mine[0, TS])
        gaps = np.diff(mine[:, TS])
        asked = np.minimum(mine[:-1, QUANTA] * QUANTUM_NS, gaps).sum()
        if len(mine) >= TIMES and lasted >= SPAN_NS and mine[:, QUANTA].all() and asked >= HELD * lasted:
            held[int(sender).to_bytes(6, "big").hex(":")] = mine
    if not held:
        return []
    n = sum(map(len, held.values()))
    lasted = max(int(mine[-1, TS] - mine[0, TS]) for mine in held.values())
    text = f"{most(held)} holds the link still by PAUSE frames: {plural(n, 'frame')} over {seconds(lasted)}, none that lets it go on."
    values = {"senders": sorted(held), "frames": n, "longest_s": lasted / 1e9}
    advice = "Its card or driver hangs, or it cannot take what is sent: pull its cable, then update its driver; switch flow control off there (ethtool -A)."
    grave = 2 * n > view.side.capture.part.frames
    return [graded(view, ID, grave, text, [frame for mine in held.values() for frame in mine[:20, FRAME].tolist()], values, advice)]
