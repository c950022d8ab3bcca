"""Did transfers go in tiny segments because a tiny maximum segment size was announced?

Asks: whether one side sent hundreds of full segments that are smaller than any network makes them, as SYN or SYN+ACK ask for.
Applies: to connections captured with their handshake, in files that can be read again.
Cannot see: who made the announcement so small, the host itself (its MTU, TCP_MAXSEG) or a router that clamps it; of segments that the sender's card still
    has to cut.
Normal: every host takes packets of 576 bytes, hence segments of 536 (RFC 9293 3.7.1), and links of low speed are told to use 296 or 256 (RFC 1144 5.2). A
    small device asks for less, as it has no room; it is sent little. A program that writes in small pieces makes small segments as well, whatever is announced.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._reread import reread
from netlens.lenses._view import ACK, SYN, View, finding, most
from netlens.parsers.announced import Announced, announced
from netlens.text import plural

ID = "tiny-segments"
GROUP = "time"
RANK = 66
DEFAULT = 536  #: bytes; what a host that announces nothing is sent
SMALLEST = 216  #: of a link that is made so: 256 bytes less both headers
ROOM = 4 << 10  #: bytes of the window in SYN+ACK; a small device has one or two KB
FULL, SHARE = 500, 0.5  #: segments of the full size, and of those with data
OPTIONS = 40  #: bytes of TCP options at most, which a segment has less (RFC 9293 3.7.1)
MOST = 64  #: connections that are looked at


class Tiny(NamedTuple):
    """One direction of a session.  size : of its full segments in bytes.  offered, answered : what SYN and SYN+ACK announce."""

    session: int
    orig: bool
    size: int
    full: int
    frames: list[int]
    offered: Announced
    answered: Announced


def look(view: View) -> list[Finding]:
    """Problem where the server, or both, ask for less than any link needs; who asks for little as a client, or has a small window, may be a small device."""
    found = _found(view)
    grave = [each for each in found if 0 < each.answered.mss < SMALLEST and _has_room(view, each.session)]
    shown = grave or found
    if not shown:
        return []
    worst = max(shown, key=lambda each: each.full)
    less = [
        f"{who} announced a maximum segment size of {told.mss:,} bytes"
        for who, told in ((view.server(worst.session), worst.answered), (view.address(worst.session, True), worst.offered))
        if 0 < told.mss < DEFAULT
    ]
    text = (
        f"{plural(len({each.session for each in shown}), 'connection')} with {most(view.server(each.session) for each in shown)} went in tiny segments "
        f"({worst.full:,} of {worst.size:,} bytes on one): {', and '.join(less)}, unless something on the way changed it (MSS clamping)."
    )
    values = {"connections": len({each.session for each in shown}), "segments": worst.full, "bytes": worst.size}
    advice = (
        "Look for a rule that clamps the MSS on the routers and firewalls between (iptables TCPMSS --set-mss), for the MTU of that host (ip link), and for "
        "TCP_MAXSEG in its program; 1,360 to 1,460 are usual."
    )
    frames = [frame for each in sorted(shown, key=lambda each: -each.full) for frame in each.frames]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _found(view: View) -> list[Tiny]:
    """Directions whose full segments are as small as the handshake asks for."""
    likely = _likely(view)
    shakes = {k: frames for k in {k for k, *_ in likely} if (frames := _handshake(view, k))}
    told = reread(view, [frame for frames in shakes.values() for frame in frames], announced)
    found = []
    for k, orig, size, full in likely:
        if k in shakes and all(frame in told for frame in shakes[k]):
            offered, answered = (told[frame] for frame in shakes[k])
            least = min((each.mss for each in (offered, answered) if each.mss), default=0)
            if size <= least <= size + OPTIONS and least < DEFAULT:
                found.append(Tiny(k, orig, size, full, list(shakes[k]), offered, answered))
    return found


def _likely(view: View) -> list[tuple[int, bool, int, int]]:
    """Session and direction with so many segments of one size, the largest, which is small; this size, and how many."""
    if view.trail is None:
        return []
    s, found = view.sessions, []
    frames, data = s["orig_frames"] + s["resp_frames"], s["orig_bytes"] + s["resp_bytes"]
    likely = s["saw_syn"].astype(bool) & (frames >= FULL) & (data > 0) & (data < DEFAULT * frames)
    length = view.trail.segments()["length"]
    if not likely.any():
        return []
    for k in sorted(set(np.flatnonzero(likely).tolist()).intersection(view.in_one)):
        at = view.trail.of(k)
        theirs, by_originator = length[at], view.by_originator(at)
        for orig in (True, False):
            sent = theirs[(by_originator == orig) & (theirs > 0)]
            size = int(sent.max(initial=0))
            full = int((sent == size).sum())
            if size < DEFAULT and full >= max(FULL, SHARE * len(sent)):
                found.append((k, orig, size, full))
        if len(found) >= MOST:
            break
    return found


def _has_room(view: View, k: int) -> bool:
    """Whether the server's first window is that of a host that could take large segments."""
    seg = view.opening(k)
    return any(seg.window[i] >= ROOM for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & SYN)


def _handshake(view: View, k: int) -> tuple[int, int] | None:
    """The frames of SYN and SYN+ACK."""
    seg = view.opening(k)
    syn = next((seg.frame[i] for i in range(len(seg)) if seg.orig[i] and seg.flags[i] & SYN), None)
    answer = next((seg.frame[i] for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & SYN and seg.flags[i] & ACK), None)
    return (syn, answer) if syn is not None and answer is not None else None
