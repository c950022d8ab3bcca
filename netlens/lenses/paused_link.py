"""Is a link held still by PAUSE frames?

Asks: whether one end tells the other to be silent again and again, and never that it may go on.
Applies: where PAUSE frames are in the capture, of all classes (IEEE 802.3-2018 annex 31B) or by class (31D); most network cards do not hand them on.
Cannot see: how fast the link is, so how long a pause lasts: 65,535 quanta are 34 ms at 1 Gbit/s, 3.4 ms at 10 Gbit/s, 0.34 ms at 100 Gbit/s. So it is a
    problem only where a good part of the time is asked for even if the link is a fast one of its kind, else a warning. Pauses by class are for links of data
    centres, of 10 Gbit/s and more.
Normal: who cannot take more for a moment sends one, and often another of no time when it can. A storage network lives with thousands, among many more frames
    of data. A card whose driver hangs sends them without end, before the time of the last one is over.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.switches import CLASSES, FRAME, QUANTA, SENDER, TS
from netlens.text import plural

ID = "paused-link"
GROUP = "delivery"
RANK = 49
TIMES, SPAN_NS = 100, 3 * S
QUANTUM_BITS = 512
SPEEDS = (1, 10), (10, 100)  #: Gbit/s of slow and of fast links, where all classes are paused and by class
HELD, GRAVE = 0.9, 0.25  #: share of the time that is asked for on a slow link, and on a fast one


def look(view: View) -> list[Finding]:
    """At most one."""
    pauses = view.side.capture.switches.pauses()
    held: dict[str, tuple[np.ndarray, float, int]] = {}
    for sender in np.unique(pauses[:, SENDER]) if len(pauses) >= TIMES else ():
        mine = pauses[pauses[:, SENDER] == sender]
        slow, fast = SPEEDS[int(mine[:, CLASSES].any())]
        if len(mine) >= TIMES and mine[-1, TS] - mine[0, TS] >= SPAN_NS and mine[:, QUANTA].all() and _asked(mine, slow) >= HELD:
            held[int(sender).to_bytes(6, "big").hex(":")] = mine, _asked(mine, fast), fast
    grave = {sender: each for sender, each in held.items() if each[1] >= GRAVE and 2 * len(each[0]) > view.side.capture.part.frames}
    held = grave or held
    if not held:
        return []
    n = sum(len(mine) for mine, _, _ in held.values())
    lasted = max(int(mine[-1, TS] - mine[0, TS]) for mine, _, _ in held.values())
    asked, fast = min((asked, fast) for _, asked, fast in held.values())
    tells = "tells" if len(held) == 1 else "tell"
    text = (
        f"{most(held)} {tells} the other end by PAUSE frames to be silent, and never to go on: {plural(n, 'frame')} over {seconds(lasted)}, which asks for "
        f"{asked:.0%} of the time if the link is of {fast} Gbit/s, and for more if it is slower."
    )
    values = {"senders": sorted(held), "frames": n, "longest_s": lasted / 1e9}
    advice = "Its card or driver hangs, or it cannot take what is sent: pull its cable, then update its driver; switch flow control off there (ethtool -A)."
    return [graded(view, ID, grave, text, [frame for mine, _, _ in held.values() for frame in mine[:20, FRAME].tolist()], values, advice)]


def _asked(mine: np.ndarray, speed: int) -> float:
    """Share of the time for which the other end is to be silent, at so many Gbit/s."""
    gaps = np.diff(mine[:, TS])
    return float(np.minimum(mine[:-1, QUANTA] * QUANTUM_BITS // speed, gaps).sum() / max(gaps.sum(), 1))
