"""When a provider knows that an answer was broken off, which is when it gives the place back.

Theory of operation
-------------------
1. A program that breaks off closes its connection. A FIN says no more than that it sends nothing further; the provider's next write is answered with a reset,
   and the write after that fails. Where the program resets, as with part of the answer unread, the first write fails. Measured with a provider that does
   nothing but write, every 0.2 s: 0.400 to 0.404 s after a FIN (32 of 32), up to 0.19 s after a reset (28 of 28).
2. sshuttle 2 learns of the program's end in the same way, and ends its connection to the provider only when *something else* goes through the tunnel (its
   loop looks at a connection again when the tunnel's socket can be read or written; read in its source). Measured with 2.0.0 and opencode, which resets and
   has the tunnel to itself: its next connection, 2.5 to 3.2 s later, is what ends the answer before it, too late for the request on it (15 of 16). Where
   another program's answers came through all the time, the provider knew 0.76 to 1.0 s after a FIN (11 of 11).
3. Where nobody tells the provider (sshuttle 1.3), it writes on, and the capture shows when: these are the times at which it would have known.
4. A provider that watches its connections knows as soon as it is told. The capture does not tell which kind it is: what is computed here is the latest time.

Limits: a program whose own capture is missing is taken to end with a FIN. After the last write that was seen, others follow at the pace of those before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.chains.linking import Linked
from netlens.chains.side import Side
from netlens.chains.situation import BY_SSHUTTLE, DIRECTLY, RECORDED, VM
from netlens.columns import NEVER, Bools, Ints
from netlens.parsers.trail import Trail

SAME_WRITE_NS = 5_000_000  #: segments this close are one write, or copies before and after NAT
PAUSE_NS = 500_000_000  #: between the writes of an answer of which no two are known: pieces come several a second


class _Writes(NamedTuple):
    """Of one answer: when they were seen, the pause between two, and how long a reset takes to be answered for."""

    at_ns: Ints
    pause_ns: int
    trip_ns: int

    def after(self, ns: int) -> int:
        """The next write, seen or not."""
        k = int(np.searchsorted(self.at_ns, ns, "right"))
        if k < len(self.at_ns):
            return int(self.at_ns[k])
        last = int(self.at_ns[-1]) if k else ns
        return last + ((ns - last) // self.pause_ns + 1) * self.pause_ns

    def known(self, closed_ns: int, *, reset: bool) -> int:
        """When the provider knows that a connection was closed."""
        first = self.after(closed_ns)
        return first if reset else self.after(first + self.trip_ns)

    def between(self, begin: int, end: int) -> bool:
        return int(np.searchsorted(self.at_ns, end, "right")) > int(np.searchsorted(self.at_ns, begin, "right"))


class _Tunnel(NamedTuple):
    """What the VM's connections sent and received, and when they began, as it left the host: in order of time, with their sessions."""

    at_ns: Ints
    session: Ints

    @classmethod
    def of(cls, linked: Linked) -> _Tunnel:
        up, trail = linked.upstream, linked.upstream.capture.part.trail
        ids = np.array([k for row in np.flatnonzero(linked.origin == VM).tolist() for k in up.session_ids[row]], np.int64)
        t = {} if trail is None else trail.segments()
        theirs = np.zeros(up.sessions.rows, np.bool_)
        theirs[ids] = True
        sent = np.flatnonzero(theirs[t["session"]] & (t["length"] > 0)) if t else np.zeros(0, np.int64)
        at = np.concatenate([up.sessions["start_ns"].astype(np.int64)[ids], *([t["ts"][sent]] if t else [])])
        session = np.concatenate([ids, *([t["session"][sent].astype(np.int64)] if t else [])])
        order = np.argsort(at, kind="stable")
        return cls(at[order], session[order])

    def by_others(self, ids: list[int], after_ns: int, until_ns: int) -> int:
        """When it was used by another connection than this; ``until_ns`` if not before that."""
        part = slice(*np.searchsorted(self.at_ns, (after_ns, until_ns), "right").tolist())
        others = np.flatnonzero(~np.isin(self.session[part], ids))
        return int(self.at_ns[part][others[0]]) if len(others) else until_ns


def noticed(linked: Linked, end: Ints, done: Ints, broken_off: Bools, mate: Ints) -> Ints:
    """Per exchange of the upstream, when its place was given back at the latest: int64[n, 3], see :data:`netlens.chains.situation.RECORDED`.

    Parameters
    ----------
    end, done : when the answer was over upstream, and the program done with it.  broken_off : whether a reset ended it.
    mate : the same request's row in the VM's exchanges, -1 without.
    """
    up, vm = linked.upstream, linked.vm
    out = np.stack([end, np.minimum(done, end), np.minimum(done, end)], axis=1)
    tails = np.flatnonzero((end - done > SAME_WRITE_NS) | broken_off)
    if up.capture.part.trail is None or not len(tails):
        return out
    theirs = up if vm is None else vm
    resets, closed_by_server = _by_reset(theirs), up.least(up.sessions.ints("resp_fin_ns", NEVER))
    used = _Tunnel.of(linked)
    begun = up.exchanges.ints("response_ns", NEVER)
    for k in tails.tolist():
        writes = _writes(up, up.capture.part.trail, k, int(begun[k]), int(end[k]))
        row = int(up.owner[k]) if vm is None else int(vm.owner[mate[k]]) if mate[k] >= 0 else -1
        reset = row >= 0 and bool(resets[row])
        if broken_off[k]:
            out[k, RECORDED] = min(writes.after(int(end[k])), max(int(closed_by_server[up.owner[k]]), int(end[k])), NEVER)
        out[k, DIRECTLY] = min(writes.known(int(done[k]), reset=reset), NEVER)
        learned = int(done[k]) if reset else writes.after(writes.after(int(done[k])))
        closed = used.by_others(up.session_ids[up.owner[k]], learned, int(end[k]))
        # with part of the answer unread it resets, at a time that has nothing to do with the provider's writes: half a pause before one
        unread = writes.between(learned, closed)
        out[k, BY_SSHUTTLE] = min(closed + writes.pause_ns // 2 if unread else writes.known(closed, reset=False), NEVER)
        out[k] = np.minimum(out[k], out[k, RECORDED])
    return out


def _writes(up: Side, trail: Trail, k: int, begin: int, end: int) -> _Writes:
    """What the provider wrote to answer exchange ``k``, in this time."""
    ids, t = up.session_ids[up.owner[k]], trail.segments()
    rows = np.concatenate([np.arange(each.start, each.stop) for each in map(trail.of, ids)])
    rows = rows[(t["fresh"][rows] > 0) & (t["way"][rows] != up.originator[t["session"][rows]])]
    at = np.sort(t["ts"][rows])
    at = at[(at >= begin) & (at <= end)]
    at = at[np.diff(at, prepend=at[:1] - 2 * SAME_WRITE_NS) > SAME_WRITE_NS]
    trips = [float(up.sessions["handshake_ms"][each]) for each in ids]
    return _Writes(
        at, int(np.median(np.diff(at))) if len(at) > 1 else PAUSE_NS, int(max((trip for trip in trips if trip == trip), default=0.0) * 1e6)
    )


def _by_reset(side: Side) -> Bools:
    """Per connection, whether its program ended it with a reset and no FIN before it."""
    fins, resets = side.sessions.ints("orig_fin_ns", NEVER), side.sessions.ints("rst_ns", NEVER)
    return side.least(resets) < side.least(fins)
