"""Was the capture's clock set back?

Asks: whether a frame is older, by a second or more, than the one before it.
Applies: to TCP.
Cannot see: whether the clock of the machine was set, or files were joined in another order; clocks that are set forward, which looks like a
    pause; with a second capture beside it nothing is said of waits in which that may have happened.
Normal: a few ms between interfaces of one capture, and files that were joined one after the other on purpose. Recorders take the time of the wall clock, which
    jumps where NTP or a person sets it (RFC 5905 11.3 steps from 128 ms on); what lasted across the jump has no length then. Nothing failed, so this is never a
    problem.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, seconds, up_to
from netlens.text import plural

ID = "clock-set"
GROUP = "sight"
RANK = 92
NEAR = 50  #: segments on either side in which a connection goes on


def look(view: View) -> list[Finding]:
    """One note; a warning if connections go on across the jump, so that their times are wrong."""
    if view.trail is None or not len(view.side.capture.part.decoder.times.set_back()):
        return []
    t = view.trail.segments()
    order = np.argsort(t["frame"], kind="stable")
    step = np.diff(t["ts"][order])
    jumps = np.flatnonzero(step <= -S)
    if not len(jumps):
        return []
    session, frames = t["session"][order], t["frame"][order]
    across = any(
        len(np.intersect1d(session[max(at + 1 - NEAR, 0) : at + 1], session[at + 1 : at + 1 + NEAR])) for at in jumps[:NEAR].tolist()
    )
    longest = int(-step[jumps].min())
    text = (
        f"The capture's clock goes back {plural(len(jumps), 'time')}, by {up_to(jumps)}{seconds(longest)} at frame "
        f"{int(frames[jumps[int(step[jumps].argmin())] + 1]):,}: times before and after it cannot be compared."
    )
    values = {"times": len(jumps), "longest_s": longest / 1e9, "across": across}
    advice = (
        "The clock was set while this was recorded, or files were joined in another order: sort them by time, or record again."
        if across
        else ""
    )
    return [finding(view, ID, "warning" if across else "note", text, (frames[jumps + 1]).tolist(), values, advice)]
