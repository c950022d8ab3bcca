"""Did a receiver keep its sender waiting?

Asks: how long a receiver's window was zero while its peer had data to send: its program does not read fast enough.
Applies: to connections captured in both directions.
Cannot see: why the program does not read.
Normal: RFC 9293 3.8.6.1 provides for it, and the Wireshark manual names a printer. Below 200 ms nobody notices; a window of zero on a RST, behind a FIN
    or on the last acknowledgment says nothing. A client takes an answer at its own pace (a rate limit, a pager, a program that is suspended): nobody
    else waits, unless it is stuck, and that shows in half a minute, or in seconds that come again and again. A receiver that pauses for seconds, as a slow disk
    does, and goes on is a warning; of a server 10 s are as long as many clients wait. A player that is paused shuts it for as long as it likes.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most, seconds
from netlens.lenses._waits import Shut, shut_windows
from netlens.lenses.zero_window_stuck import stuck
from netlens.text import plural

ID = "zero-window"
GROUP = "delivery"
RANK = 55
LONG_NS, SERVED_NS = 30 * S, 10 * S  #: in one stretch, of a client's window and of a server's
SHARE, SHARE_NS = 0.1, S  #: of the transfer, of a server's windows that shut again and again, and in all
PACE, PACE_NS, EACH_NS = 0.5, 10 * S, S  #: the same of a client's, and of each: what is shut for less reads on
NOTICED_NS = 200_000_000
TIMES = 3  #: again and again
OFTEN = 5


def look(view: View) -> list[Finding]:
    left_out = {id(shut) for shut in view.once(stuck)}
    shuts = [shut for shut in view.once(shut_windows) if id(shut) not in left_out and shut.reopened]
    together = grouped(shuts, lambda s: (s.session, s.orig)).values()
    often = {id(s) for g in together if _is_often(g) for s in g}
    plays = view.side.capture.films
    grave = [
        s for s in shuts if not (s.orig and s.session in plays) and (s.lasted_ns >= (LONG_NS if s.orig else SERVED_NS) or id(s) in often)
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


def _is_often(group: list[Shut]) -> bool:
    """Whether one window is shut again and again for much of the transfer."""
    client = group[0].orig
    group = [s for s in group if not client or s.lasted_ns >= EACH_NS]
    share, least = (PACE, PACE_NS) if client else (SHARE, SHARE_NS)
    return len(group) >= TIMES and sum(s.share for s in group) >= share and sum(s.lasted_ns for s in group) >= least
