"""Where packets were lost, where two captures show the same connection: between them, or beyond them.

What one capture shows of a direction and the other, nearer to its receiver, does not, was lost between them. Bytes are compared, repeats included, because
network cards join and cut segments. A connection that a relay carries on is another one on the other side; of it nothing is said, nor of one that either
capture does not hold from its SYN to its end, with all that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netlens.lenses._view import MOST_SEGMENTS, views
from netlens.text import size

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses._view import View

MOST, LITTLE = 0.5, 0.1  #: of what was sent again


def where(traffic: Traffic, view: View, sessions: Iterable[int]) -> str:
    """A clause that says where data of these sessions of a view was lost; empty where that is not known."""
    both = {each.name: each for each in views(traffic)}
    vm, host = both.get("vm"), both.get("host")
    if vm is None or host is None or traffic.pairing is None:
        return ""
    lost = again = 0
    for k in sessions:
        pair = same(traffic, view, host if view is vm else vm, k)
        if pair is None or not (_complete(view, k) and _complete(host if view is vm else vm, pair)):
            return ""
        of = {view.name: k, (host if view is vm else vm).name: pair}
        for up in (True, False):
            sender, receiver = (vm, host) if up else (host, vm)
            sent, unique = _sent(sender, of[sender.name], up)
            got, _ = _sent(receiver, of[receiver.name], up)
            lost += max(sent - got, 0)
            again += sent - unique
    if not lost:
        return "nothing was lost between the VM's and the host's capture"
    if lost >= MOST * again:
        return f"{size(lost)} were lost between the VM's and the host's capture"
    if lost <= LITTLE * again:
        return "almost none of it was lost between the VM's and the host's capture"
    return f"{size(lost)} of what was sent again was lost between the VM's and the host's capture"


def same(traffic: Traffic, view: View, other: View, k: int) -> int | None:
    """The session of the other capture that is this very connection."""
    if traffic.pairing is None:
        return None
    row = view.side.connection_of.get(k, -1)
    partner = traffic.pairing.host_of if view.side is traffic.vm else traffic.pairing.vm_of
    mate = int(partner[row]) if row >= 0 else -1
    if mate < 0:
        return None
    s = other.sessions
    numbers = [(v.column("orig_isn"), v.column("resp_isn")) for v in (view, other)]
    for m in other.side.session_ids[mate]:
        whole = s["orig_frames"][m] and s["resp_frames"][m]
        if whole and all(mine[k] is not None and mine[k] == theirs[m] for mine, theirs in zip(*numbers, strict=True)):
            return int(m)
    return None


def _complete(view: View, k: int) -> bool:
    """Whether a capture holds all of a session: SYN to close, and what was acknowledged (but for a FIN, which takes one number)."""
    s = view.sessions
    missing = max(s["orig_missing_bytes"][k], s["resp_missing_bytes"][k])
    return bool(view.column("closed_ns")[k] is not None and missing <= 1 and s["orig_frames"][k] + s["resp_frames"][k] <= MOST_SEGMENTS)


def _sent(view: View, k: int, up: bool) -> tuple[int, int]:
    """Bytes of data in one direction, repeats included; and without them."""
    seg = view.segments(k)
    lengths = [(seg.length[i], seg.offset[i] + seg.length[i]) for i in range(len(seg)) if seg.orig[i] == up and seg.length[i]]
    return sum(n for n, _ in lengths), max((end for _, end in lengths), default=0)
