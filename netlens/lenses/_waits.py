"""When a connection stood still: data that was lost and sent again was waited for, or a receiver's window was shut while its peer had something to send."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from netlens.lenses._repeats import Repeat, deliveries
from netlens.lenses._view import FIN, RST, SEAM_NS, SYN, S, Segments, View

DELAY_NS = S // 2  #: of an acknowledgment at most (RFC 9293 3.8.6.3)
WAITING_NS = S  #: data that comes so soon after the window opened had waited for it


@dataclass
class Shut:
    """A window that was shut. ``probes``: segments of the peer meanwhile; ``reopened``: else it was shut to the end of the connection or the capture."""

    session: int
    orig: bool  # the originator's window
    start_ns: int
    end_ns: int
    probes: int
    reopened: bool
    frames: list[int]
    share: float  # of the time in which the peer sent data
    unheard: int = 0  # probes behind the last that was heard of who shut it
    unheard_ns: int = 0  # between the first and the last of them
    left: bool = False  # who had shut it reset the connection
    given_up: bool = False  # the sender did

    @property
    def lasted_ns(self) -> int:
        return self.end_ns - self.start_ns


def shut_windows(view: View) -> list[Shut]:
    """All of them in which the peer had data waiting."""
    s = view.sessions
    zero = s["orig_zero_windows"] + s["resp_zero_windows"]
    return [shut for k in view.in_one if zero[k] > 0 for shut in _of(view, k)]


def _of(view: View, k: int) -> list[Shut]:
    seg = view.segments(k)
    found = []
    for orig in (True, False):
        since = -1
        probes = 0
        unheard: list[int] = []  # when probes were sent that nothing answered yet
        closing = False
        data = [seg.ts[i] for i in range(len(seg)) if seg.orig[i] != orig and seg.length[i]]
        active = max(data[-1] - data[0], 1) if data else 1
        for i in range(len(seg)):
            flags = seg.flags[i]
            if seg.orig[i] == orig and not flags & RST:
                unheard = []
                if seg.window[i] == 0 and not flags & (SYN | FIN) and not closing:
                    if since < 0:
                        since, probes = i, 0
                elif since >= 0 and seg.window[i] > 0:
                    waited = probes > 0 or any(
                        seg.orig[j] != orig and seg.length[j] and seg.ts[j] - seg.ts[i] <= WAITING_NS
                        for j in range(i + 1, min(i + 20, len(seg)))
                    )
                    if waited:
                        took = seg.ts[i] - seg.ts[since]
                        found.append(Shut(k, orig, seg.ts[since], seg.ts[i], probes, True, [seg.frame[since], seg.frame[i]], took / active))
                    since = -1
            elif since >= 0:
                probed = seg.orig[i] != orig and not flags & (FIN | RST)
                probes += probed
                unheard += [seg.ts[i]] if probed else []
            if flags & RST and since >= 0:
                mute = unheard if seg.orig[i] != orig else []
                found.append(
                    replace(_for_good(k, orig, seg, (since, i), probes, mute), left=seg.orig[i] == orig, given_up=seg.orig[i] != orig)
                )
                since = -1
                break
            closing |= bool(flags & (FIN | RST))
        if since >= 0 and probes > 0:
            found.append(_for_good(k, orig, seg, (since, len(seg) - 1), probes, unheard))
    return [shut for shut in found if shut.lasted_ns < SEAM_NS]


def _for_good(k: int, orig: bool, seg: Segments, ends: tuple[int, int], probes: int, unheard: list[int]) -> Shut:
    """A window that did not open again."""
    first, last = ends
    took = unheard[-1] - unheard[0] if unheard else 0
    return Shut(k, orig, seg.ts[first], seg.ts[last], probes, False, [seg.frame[first], seg.frame[last]], 1.0, len(unheard), took)


def waits(view: View) -> dict[int, list[tuple[int, int]]]:
    """By session, from when until when, in the capture's own time; they may overlap."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for delivery in view.once(deliveries):
        found[delivery.session] += [(r.start_ns, _came(view, r)) for r in delivery.repeats if r.wait_ns]
    for shut in view.once(shut_windows):
        found[shut.session].append((shut.start_ns, shut.end_ns))
    return dict(found)


def _came(view: View, r: Repeat) -> int:
    """When the wait for a repeat was over: with its last sending, if that was acknowledged as soon as a round trip and a delay allow, for these are as
    long without any loss; else when it was acknowledged."""
    trip = view.column("handshake_ms")[r.session]
    usual = r.last_ns + DELAY_NS + (int(trip * 1e6) if trip == trip else 0)
    return r.last_ns if r.acked and r.end_ns <= usual else r.end_ns
