"""Companions: what a forwarder opens beside the connections that it was asked for.

Theory of operation
-------------------
A forwarder that opens more connections than it was asked for does so at the same moment. So a session to the same server from
the same address, established and without a byte from this side, accompanies a forwarded connection if it begins between the VM's SYN and
shortly after the upstream session's, provided that such idle sessions are rare at other times: chance may explain at most :data:`CHANCE` of
those found.
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
    for place, near in places.items():
        candidates = np.array(waiting.get(place, []), dtype=np.int64)
        if len(candidates):
            _beside(found, near, candidates, out)
            for k in candidates.tolist():
                if out[k] < 0 and found.processes.of_tunnel(k):
                    out[k] = _nearest(found, near, k, COMPANION_NS[-1])
    return out


def _beside(found: Found, near: list[tuple[int, int]], candidates: Ints, out: Ints) -> None:
    """Companions at one server: in the narrowest window in which there are far more idle sessions than at other times."""
    v, h = found.v, found.h
    begun = np.array([[v.start[i], h.start[j]] for i, j in near], dtype=np.int64)
    total = max(h.last - h.first, 1)
    for window in COMPANION_NS:
        low, high = np.maximum(begun[:, 0] - found.time.uncertain_ns - TOLERANCE_NS, begun[:, 1] - window), begun[:, 1] + window
        order = np.argsort(low)
        low, high = low[order], high[order]
        reach = np.maximum.accumulate(high)
        fresh = np.concatenate([[True], low[1:] > reach[:-1]])
        first = low[fresh]
        last = reach[np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(reach) - 1]])]
        share = min(float((last - first).sum()) / total, 1.0)
        slot = np.searchsorted(first, h.start[candidates], side="right") - 1
        within = (slot >= 0) & (h.start[candidates] <= last[np.maximum(slot, 0)])
        inside, outside = int(within.sum()), int((~within).sum())
        if not inside or share >= 1:
            continue
        # half a session more than was seen: none seen does not mean that none can be
        by_chance = (outside + 0.5) * share / (1 - share)
        if by_chance > CHANCE * inside:
            continue
        for k in candidates[within].tolist():
            if out[k] < 0:
                out[k] = _nearest(found, near, k, window)


def _nearest(found: Found, near: list[tuple[int, int]], k: int, window: int) -> int:
    """The VM's connection whose upstream session began nearest to session ``k``, and could have caused it."""
    v, h = found.v, found.h
    begun = int(h.start[k])
    options = [
        (abs(begun - int(h.start[j])), i)
        for i, j in near
        if v.start[i] - found.time.uncertain_ns - TOLERANCE_NS <= begun <= h.start[j] + window
    ]
    return min(options)[1] if options else -1
