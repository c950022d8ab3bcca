"""Did a receiver keep its sender waiting?

Asks: how long a receiver's window was zero while its peer had data to send: its program does not read fast enough.
Applies: to connections captured in both directions.
Cannot see: why the program does not read.
Normal: RFC 9293 3.8.6.1 provides for it, and the Wireshark manual names a printer. Below 200 ms nobody notices; a window of zero on a RST, behind a FIN
    or on the last acknowledgment says nothing. A client takes an answer at its own pace (a rate limit, a slow disk): nobody else waits, and its window is
    shut for less than a second at a time; a player that is paused shuts it for as long as it likes.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most, seconds
from netlens.lenses._waits import shut_windows
from netlens.lenses.zero_window_stuck import stuck
from netlens.text import plural

ID = "zero-window"
GROUP = "delivery"
RANK = 55
LONG_NS = S  #: in one stretch
SHARE = 0.1  #: of the transfer
NOTICED_NS = 200_000_000
OFTEN = 5


def look(view: View) -> list[Finding]:
    left_out = {id(shut) for shut in view.once(stuck)}
    shuts = [shut for shut in view.once(shut_windows) if id(shut) not in left_out and shut.reopened]
    together = grouped(shuts, lambda s: (s.session, s.orig)).values()
    often = {id(s) for g in together if sum(s.share for s in g) >= SHARE and sum(s.lasted_ns for s in g) >= LONG_NS for s in g}
    plays = view.side.capture.films
    grave = [
        s
        for s in shuts
        if not (s.orig and s.session in plays)
        and (s.lasted_ns >= LONG_NS or (not s.orig and ((s.share >= SHARE and s.lasted_ns >= NOTICED_NS) or id(s) in often)))
    ]
    some = [s for s in shuts if s.lasted_ns >= NOTICED_NS]
    shown = grave or some or (shuts if len(shuts) >= OFTEN and sum(s.lasted_ns for s in shuts) >= NOTICED_NS else [])
    if not shown:
        return []
    longest = max(s.lasted_ns for s in shown)
    who = most(view.address(s.session, s.orig) for s in shown)
    total = max(sum(s.lasted_ns for s in g) for g in grouped(shown, lambda s: s.session).values())
    in_all = f" and {seconds(total)} in all on one connection" if total > longest else ""
    text = f"{plural(len(shown), 'time')} a receiver's window was shut, for up to {seconds(longest)}{in_all}, while data waited for it: {who} did not read."
    values = {"times": len(shown), "longest_s": longest / 1e9, "total_s": total / 1e9, "connections": len({s.session for s in shown})}
    advice = "The receiving program is busy, blocked, paused, or limits its own rate: look at it, its CPU and disk, not at the network."
    frames = [f for s in shown for f in s.frames]
    return [graded(view, ID, grave, text, frames, values, advice)]
