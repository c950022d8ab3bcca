"""Companions: what a forwarder opens beside the connections that it was asked for.

Theory of operation
-------------------
A forwarder that opens more connections than it was asked for does so at the same moment. So a session to the same server from
the same address, established and without a byte from this side, accompanies a forwarded connection if it begins between the VM's SYN and
shortly after the upstream session's, provided that such idle sessions are rare at other times: chance may explain at most :data:`CHANCE` of
those found. A relay of which the host's capture shows both sides may do so as well (:func:`netlens.chains.relays.beside`): one that races connections to
several addresses, or keeps a spare one.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from netlens.chains.compared import TOLERANCE_NS, Found
from netlens.chains.likelihood import NOT_OPENED
from netlens.columns import Ints

COMPANION_NS = (10_000_000, 50_000_000, 250_000_000)  #: windows tried for companions, from sure to loose
CHANCE = 0.1  #: share of companions that chance may explain


def companions(found: Found) -> Ints:
    """The VM's connection that each idle session of the host accompanies, or -1."""
    v, h = found.v, found.h
    out = np.full(h.n, -1, np.int64)
    pairs = np.flatnonzero((found.host_of >= 0) & v.forwarded & ~v.censored)
    pairs = pairs[~h.censored[found.host_of[pairs]]]
    idle = np.array(
        [
            j
            for j in found.free_host().tolist()
            if h.up[j] == 0 and not h.randoms[j] and not h.censored[j] and not found.processes.own[j] and h.state[j] not in NOT_OPENED
        ],
        dtype=np.int64,
    )
    if not len(pairs) or not len(idle) or not found.time.known:
        return out
    upstream = found.host_of[pairs]
    places = defaultdict(list)
    for i, j in zip(pairs.tolist(), upstream.tolist(), strict=True):
        places[int(h.server[j]), h.orig_ip[j]].append((i, j))
    waiting = defaultdict(list)
    for k in idle.tolist():
        waiting[int(h.server[k]), h.orig_ip[k]].append(k)
    total = max(h.last - h.first, 1)
    slack = found.time.uncertain_ns + TOLERANCE_NS
    for place, near in places.items():
        candidates = np.array(waiting.get(place, []), dtype=np.int64)
        if len(candidates):
            begun = np.array([[v.start[i], h.start[j]] for i, j in near], dtype=np.int64)
            whose = begun_beside(begun, h.start[candidates], total, slack)
            for k, of in zip(candidates.tolist(), whose.tolist(), strict=True):
                if of < 0 and found.processes.of_tunnel(k):
                    of = _nearest(begun, int(h.start[k]), COMPANION_NS[-1], slack)
                if of >= 0:
                    out[k] = near[of][0]
    return out


def begun_beside(begun: Ints, starts: Ints, total_ns: int, slack_ns: int = 0) -> Ints:
    """Which of the forwarded connections each idle session was opened beside, or -1: in the narrowest window in which there are far more than at other times.

    Parameters
    ----------
    begun : int64[n, 2], when each began, and when its own session upstream did.  starts : of the idle sessions.
    total_ns : of the capture.  slack_ns : by which the first of these times may be wrong.
    """
    out = np.full(len(starts), -1, np.int64)
    for window in COMPANION_NS:
        low, high = np.maximum(begun[:, 0] - slack_ns, begun[:, 1] - window), begun[:, 1] + window
        order = np.argsort(low)
        low, high = low[order], high[order]
        reach = np.maximum.accumulate(high)
        fresh = np.concatenate([[True], low[1:] > reach[:-1]])
        first = low[fresh]
        last = reach[np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(reach) - 1]])]
        share = min(float((last - first).sum()) / total_ns, 1.0)
        slot = np.searchsorted(first, starts, side="right") - 1
        within = (slot >= 0) & (starts <= last[np.maximum(slot, 0)])
        inside, outside = int(within.sum()), int((~within).sum())
        if not inside or share >= 1:
            continue
        # half a session more than was seen: none seen does not mean that none can be
        by_chance = (outside + 0.5) * share / (1 - share)
        if by_chance > CHANCE * inside:
            continue
        for k in np.flatnonzero(within & (out < 0)).tolist():
            out[k] = _nearest(begun, int(starts[k]), window, slack_ns)
    return out


def _nearest(begun: Ints, start: int, window: int, slack_ns: int) -> int:
    """The connection whose session upstream began nearest to ``start``, and could have caused a session that began then."""
    could = np.flatnonzero((begun[:, 0] - slack_ns <= start) & (start <= begun[:, 1] + window))
    return int(could[np.abs(begun[could, 1] - start).argmin()]) if len(could) else -1
