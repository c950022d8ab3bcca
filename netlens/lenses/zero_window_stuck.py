"""Did a receiver stop reading for good?

Asks: whether a window stayed zero, through probe after probe, until the connection was reset or the capture ended; and whether its receiver answered
    the probes, or nothing was heard of it any more.
Applies: to connections captured in both directions.
Cannot see: whether it would have opened after the end of the capture.
Normal: RFC 9293 3.8.6.1: the sender probes at growing intervals and may do so for ever; a window may stay shut, but somebody waits for it,
    unless its receiver plays film or sound (Content-Type), and is paused. A client that stops for less than half a minute, and then quits or is still there at
    the end of the capture, may be a pager, or suspended by its user: a warning. A receiver must answer a probe, however long its window stays shut (RFC 9293
    3.8.6.1): one that does not is gone, or the probes or its answers are dropped.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds, up_to
from netlens.lenses._waits import Shut, shut_windows
from netlens.text import plural

ID = "zero-window-stuck"
GROUP = "delivery"
RANK = 44
STUCK_NS = 3 * S  #: two probes are sent within that time (RFC 6298: 1, 2 s)
PATIENT_NS = 30 * S  #: in which who reads may go on, or its user quits; as in zero-window


UNHEARD, UNHEARD_NS = 3, 2 * S  #: probes without an answer, over so long: R1 of RFC 9293 3.8.3; one or two may have been lost


def stuck(view: View) -> list[Shut]:
    """Windows that never opened again; a player may be paused."""
    plays = view.side.capture.films
    shut = [s for s in view.once(shut_windows) if not s.reopened and s.probes and s.lasted_ns >= STUCK_NS]
    return [s for s in shut if not (s.orig and s.session in plays) or _unheard(s)]


def _unheard(shut: Shut) -> bool:
    return shut.unheard >= UNHEARD and shut.unheard_ns >= UNHEARD_NS


def look(view: View) -> list[Finding]:
    """Receivers that stopped reading, and such of which nothing was heard any more."""
    shown = view.once(stuck)
    unheard = [s for s in shown if _unheard(s)]
    reading = [s for s in shown if not _unheard(s)]
    paused = [s for s in reading if s.lasted_ns < PATIENT_NS and (s.left or (s.orig and not s.given_up))]
    stopped = [s for s in reading if s not in paused]
    return [
        *(_stopped_reading(view, stopped) if stopped else _paused(view, paused) if paused else []),
        *(_not_heard(view, unheard) if unheard else []),
    ]


def _stopped_reading(view: View, shown: list[Shut]) -> list[Finding]:
    longest = max(s.lasted_ns for s in shown)
    who = most(view.address(s.session, s.orig) for s in shown)
    text = f"{plural(len(shown), 'connection')} hung because {who} stopped reading: the window stayed shut for {seconds(longest)} and never opened."
    values = {"connections": len(shown), "longest_s": longest / 1e9, "probes": sum(s.probes for s in shown)}
    advice = "The receiving program is stuck: take its stack trace (py-spy, gdb, jstack) while it happens."
    return [finding(view, ID, "problem", text, [f for s in shown for f in s.frames], values, advice)]


def _paused(view: View, shown: list[Shut]) -> list[Finding]:
    longest = max(s.lasted_ns for s in shown)
    who = most(view.address(s.session, s.orig) for s in shown)
    left = sum(s.left for s in shown)
    end = "then reset the connection" if left == len(shown) else "had not gone on when the capture ended" if not left else "did not go on"
    text = f"On {plural(len(shown), 'connection')} {who} stopped reading for {up_to(shown)}{seconds(longest)}, and {end}."
    values = {"connections": len(shown), "longest_s": longest / 1e9, "probes": sum(s.probes for s in shown)}
    return [finding(view, ID, "warning", text, [f for s in shown for f in s.frames], values)]


def _not_heard(view: View, shown: list[Shut]) -> list[Finding]:
    longest = max(s.lasted_ns for s in shown)
    who = most(view.address(s.session, s.orig) for s in shown)
    text = (
        f"{plural(len(shown), 'connection')} hung: {who} shut its window, and nothing was heard of it any more ({up_to(shown)}"
        f"{max(s.unheard for s in shown)} window probes without an answer over {seconds(max(s.unheard_ns for s in shown))})."
    )
    probes = {"probes": sum(s.probes for s in shown), "unanswered": sum(s.unheard for s in shown)}
    values = {"connections": len(shown), "longest_s": longest / 1e9, **probes}
    advice = (
        "Who reads answers probes even while its window is shut: something on the way (a firewall) drops them, or the answers, among them the one that "
        "opens the window, or the peer is gone. Capture at its side."
    )
    return [finding(view, ID, "problem", text, [f for s in shown for f in s.frames], values, advice)]
