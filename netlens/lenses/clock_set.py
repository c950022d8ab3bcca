"""Was the capture's clock set back?

Asks: whether a frame is older, by a second or more, than the one before it; whether most SYNs are answered later than a segment lives (2 minutes: RFC 9293
    3.4.2), so that the times cannot be right. Then nothing else that rests on times is said of that capture.
Applies: to TCP.
Cannot see: whether the clock of the machine was set, or files were joined in another order; clocks that are set forward, which looks like a
    pause; with a second capture beside it nothing is said of waits in which that may have happened. Frames that lie out of order in the file, time and
    again and for a moment each, are no clock: it would take as long again to come to the time that it had.
Normal: a few ms between interfaces of one capture, and files that were joined one after the other on purpose. Recorders take the time of the wall clock, which
    jumps where NTP or a person sets it (RFC 5905 11.3 steps from 128 ms on); what lasted across the jump has no length then. Nothing failed, so this is never a
    problem.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Ints
from netlens.lenses import Finding
from netlens.lenses._impossible import impossible
from netlens.lenses._view import S, View, finding, seconds, up_to
from netlens.tables import MSL_MS
from netlens.text import plural

ID = "clock-set"
GROUP = "sight"
RANK = 92
OFTEN, SOON = 20, 64  #: times that a frame is older than the one before; frames within which each time the highest time is there again
NEAR = 50  #: segments on either side in which a connection goes on


def look(view: View) -> list[Finding]:
    """One note; a warning if connections go on across the jump, so that their times are wrong, or if all are."""
    return _impossible(view) or _set_back(view)


def _impossible(view: View) -> list[Finding]:
    late = view.once(impossible)
    if not len(late):
        return []
    took = view.sessions["synack_ms"][late]
    longest = float(took.max()) / 1e3
    text = (
        f"The capture's times cannot be right: {plural(len(late), 'SYN')} had to wait {seconds(float(np.median(took)) * 1e6)} for an answer (median), and a "
        f"segment lives {MSL_MS // 60_000} minutes at most. What rests on times is left out."
    )
    advice = "The times were changed, or written wrongly: take the file as it was recorded."
    values = {"times": len(late), "longest_s": longest, "across": True}
    return [finding(view, ID, "warning", text, view.sessions["first_frame"][late].tolist(), values, advice)]


def _set_back(view: View) -> list[Finding]:
    if view.trail is None or not len(view.side.capture.part.decoder.times.set_back()):
        return []
    t = view.trail.segments()
    order = np.argsort(t["frame"], kind="stable")
    step = np.diff(t["ts"][order])
    jumps = np.flatnonzero(step <= -S)
    if not len(jumps):
        return []
    session, frames = t["session"][order], t["frame"][order]
    if _is_shuffled(t["ts"][order]):
        text = (
            f"Frames are out of order in the file: {int((step < 0).sum()):,} are older than the one before, by up to {seconds(int(-step.min()))}; their times "
            "are taken as they are, and what followed what cannot be told."
        )
        advice = "Sort the file by time (reordercap, which comes with Wireshark), and read it again."
        values = {"times": int((step < 0).sum()), "longest_s": int(-step.min()) / 1e9, "across": True}
        return [finding(view, ID, "warning", text, (frames[jumps + 1]).tolist(), values, advice)]
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


def _is_shuffled(times: Ints) -> bool:
    """Whether frames lie out of order in the file: again and again one is older than what came before, and soon after each is as new again."""
    highest = np.maximum.accumulate(times)
    behind = np.flatnonzero(times < highest)
    if (np.diff(times) < 0).sum() < OFTEN:
        return False
    begins = np.flatnonzero(np.diff(behind, prepend=-2) > 1)
    lengths = np.diff(np.append(begins, len(behind)))  # of runs of frames that are older than one before
    return bool(lengths.max() <= SOON)
