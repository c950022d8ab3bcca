"""Where packets were lost, where two captures show the same connection: between them, or beyond them.

What one capture shows of a direction and the other, nearer to its receiver, does not, was lost between them. Bytes are compared, repeats included, because
network cards join and cut segments. A connection that a relay carries on is another one on the other side; of it nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netlens.lenses._view import views
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
        pair = _same(traffic, view, vm, host, k)
        if pair is None:
            return ""
        for up in (True, False):
            sender, receiver = (vm, host) if up else (host, vm)
            sent, unique = _sent(sender, pair[sender.name], up)
            got, _ = _sent(receiver, pair[receiver.name], up)
            lost += max(sent - got, 0)
            again += sent - unique
    if lost and lost >= MOST * again:
        return f"{size(lost)} were lost between the VM's and the host's capture"
    if lost <= LITTLE * again:
        return (
            "nothing was lost between the VM's and the host's capture"
            if not lost
            else "hardly any of it between the VM's and the host's capture"
        )
    return f"{size(lost)} of it between the VM's and the host's capture"


def _same(traffic: Traffic, view: View, vm: View, host: View, k: int) -> dict[str, int] | None:
    """The session of each capture that is this very connection, whole in both."""
    assert traffic.pairing is not None
    row = view.side.connection_of.get(k, -1)
    host_of = traffic.pairing.host_of.tolist()
    if view is vm:
        mate = host_of[row] if row >= 0 else -1
    else:
        mate = host_of.index(row) if row in host_of else -1
    other = host if view is vm else vm
    if mate < 0:
        return None
    known = set(other.whole)
    numbers = [(v.column("orig_isn"), v.column("resp_isn")) for v in (view, other)]
    for m in other.side.session_ids[mate]:
        if m in known and all(mine[k] is not None and mine[k] == theirs[m] for mine, theirs in zip(*numbers, strict=True)):
            return {view.name: k, other.name: m}
    return None


def _sent(view: View, k: int, up: bool) -> tuple[int, int]:
    """Bytes of data in one direction, repeats included; and without them."""
    seg = view.segments(k)
    lengths = [(seg.length[i], seg.offset[i] + seg.length[i]) for i in range(len(seg)) if seg.orig[i] == up and seg.length[i]]
    return sum(n for n, _ in lengths), max((end for _, end in lengths), default=0)
