"""Did a receiver stop reading for good?

Asks: whether a window stayed zero, through probe after probe, until the connection was reset or the capture ended.
Applies: to connections captured in both directions.
Cannot see: whether it would have opened after the end of the capture.
Normal: RFC 9293 3.8.6.1: the sender probes at growing intervals and may do so for ever; a window may stay shut, but somebody waits for it,
    unless its receiver plays film or sound (Content-Type), and is paused.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.lenses._waits import Shut, shut_windows
from netlens.text import plural

ID = "zero-window-stuck"
GROUP = "delivery"
RANK = 44
STUCK_NS = 3 * S  #: two probes are sent within that time (RFC 6298: 1, 2 s)


def stuck(view: View) -> list[Shut]:
    """Windows that never opened again; a player may be paused."""
    plays = view.side.capture.films
    shut = [s for s in view.once(shut_windows) if not s.reopened and s.probes and s.lasted_ns >= STUCK_NS]
    return [s for s in shut if not (s.orig and s.session in plays)]


def look(view: View) -> list[Finding]:
    shown = view.once(stuck)
    if not shown:
        return []
    longest = max(s.lasted_ns for s in shown)
    who = most(view.address(s.session, s.orig) for s in shown)
    text = f"{plural(len(shown), 'connection')} hung because {who} stopped reading: the window stayed shut for {seconds(longest)} and never opened."
    values = {"connections": len(shown), "longest_s": longest / 1e9, "probes": sum(s.probes for s in shown)}
    advice = "The receiving program is stuck: take its stack trace (py-spy, gdb, jstack) while it happens."
    return [finding(view, ID, "problem", text, [f for s in shown for f in s.frames], values, advice)]
