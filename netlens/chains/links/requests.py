"""The same requests at the same times, on connections of which a capture lacks the beginning.

Theory of operation
-------------------
A connection that was open when one capture began has no hello there that could be compared, and other totals. What it carries goes on to be the same: a
tunnel and a translation pass each request and answer as they are, some milliseconds later. Each request of a possible pair that has a mate (equal bytes
both ways, at about the same time) makes the pair likelier by how seldom one like it would be there by chance; each that has none where it should, less
likely. A pair is made where it is far likelier than chance, and than any other of either connection.

Limits: needs a clock. Two programs whose requests are equal byte by byte and go out in step are told apart by nothing.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.compared import MAX_DELAY_NS, TOLERANCE_NS, Compared, Found
from netlens.columns import Bools, Floats, Ints, distinct_rows

ID = "requests"
RANK = 4
EXACT = False
NEAR_NS = 100_000_000  #: from a request at the VM to the same at the host; slower ones are mates of nothing
LIKELY = 9.0  #: log of the odds against chance: about 1 in 10,000, for as many connections are compared at most
AHEAD = 5.0  #: log of the odds to the next best
MISSED = 3.0  #: one request in 20 has no mate: captures lose packets
LEAST = 3  #: requests that have mates
MOST_EDGES = 1_000_000  #: possible mates looked at


def join(found: Found) -> None:
    if not found.time.known:
        return
    v, h = found.v, found.h
    mine, others = _asking(v, found.free_vm()), _asking(h, found.free_host())
    if not len(mine) or not len(others) or not (_uncertain(v)[v.request_of[mine]].any() or _uncertain(h)[h.request_of[others]].any()):
        return
    i, j, weight = _weighed(found, mine, others)
    rival = np.maximum(_rival(i, weight), _rival(j, weight))
    for k in np.flatnonzero((weight >= LIKELY) & (weight - rival >= AHEAD)).tolist():
        found.add(int(i[k]), int(j[k]), ID, float(1 - np.exp(-weight[k])))


def _rival(of: Ints, weight: Floats) -> Floats:
    """Per pair the greatest weight of the other pairs with the same connection."""
    out = np.full(len(of), -np.inf)
    order = np.lexsort((-weight, of))
    first = np.searchsorted(of[order], of[order])
    at = np.arange(len(of))
    other = np.where(first == at, at + 1, first)
    there = (other < len(of)) & (of[order][np.minimum(other, len(of) - 1)] == of[order])
    out[order[there]] = weight[order][other[there]]
    return out


def _uncertain(t: Compared) -> Bools:
    """Connections whose beginning is not in the capture, or whose hello is not: all others are told by it."""
    return t.censored | np.array([not randoms for randoms in t.randoms], bool)


def _asking(t: Compared, rows: Ints) -> Ints:
    """Exchanges of connections ``rows`` that were answered, but for what is the rest of one that began before the capture."""
    wanted = np.zeros(t.n, bool)
    wanted[rows] = True
    first = np.zeros(len(t.request_of), bool)
    owner, at = np.unique(t.request_of, return_index=True)  # exchanges are in order of time
    first[at[owner >= 0]] = t.censored[owner[owner >= 0]]
    out: Ints = np.flatnonzero((t.request_of >= 0) & wanted[t.request_of] & (t.request_down > 0) & ~first)
    return out


def _weighed(found: Found, mine: Ints, others: Ints) -> tuple[Ints, Ints, Floats]:
    """Possible pairs with their weights: log of how much likelier their requests are than by chance."""
    v, h = found.v, found.h
    slack = found.time.uncertain_ns + TOLERANCE_NS
    key = distinct_rows(
        np.concatenate([v.server[v.request_of[mine]], h.server[h.request_of[others]]]),
        np.concatenate([v.request_up[mine], h.request_up[others]]),
        np.concatenate([v.request_down[mine], h.request_down[others]]),
    )[1]
    of_v, of_h, at_v, at_h = v.request_of[mine], h.request_of[others], v.request_ns[mine], h.request_ns[others]
    # one axis for all keys: far enough apart that no window reaches from one to the next
    zero = min(int(at_v.min()), int(at_h.min()))
    far = max(int(at_v.max()), int(at_h.max())) - zero + 2 * (NEAR_NS + slack)
    if (max(int(key.max()), v.n, h.n) + 1) * far > np.iinfo(np.int64).max:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    place_v, place_h = key[: len(mine)] * far + at_v - zero, key[len(mine) :] * far + at_h - zero
    order = np.argsort(place_h)
    low, high = (np.searchsorted(place_h[order], place_v + by) for by in (-slack, slack + NEAR_NS))
    counts = np.minimum(high - low, max(MOST_EDGES // len(mine), 1))
    a = np.repeat(np.arange(len(mine)), counts)
    b = order[np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())]
    # by chance, one of that connection's requests of this kind falls into the window
    _, kind, alike = distinct_rows(key[len(mine) :], of_h)
    rate = alike[kind] / np.maximum(h.end - h.start, 10 * NEAR_NS)[of_h]
    once, which, _ = distinct_rows(a, of_h[b])  # of each request, the connections that have a mate of it
    worth = np.empty(len(once))
    worth[which] = -np.log(np.minimum(rate[b] * (NEAR_NS + 2 * slack), 0.5))
    a, of = once[:, 0], once[:, 1]
    pairs, which, n = distinct_rows(of_v[a], of)
    i, j = pairs[:, 0], pairs[:, 1]
    weight = np.bincount(which, worth, len(pairs)).astype(float)
    low_ns, high_ns = np.maximum(v.start[i], h.start[j]) + slack, np.minimum(v.end[i], h.end[j]) - slack - MAX_DELAY_NS
    for rows, of_side, at in ((i, of_v, at_v), (j, of_h, at_h)):
        own = np.sort(of_side * far + at - zero)
        begin, end = (np.searchsorted(own, rows * far + np.clip(ns - zero, 0, far - 1)) for ns in (low_ns, high_ns))
        weight -= MISSED * np.maximum(end - begin - n, 0)
    chosen = (n >= LEAST) & (_uncertain(v)[i] | _uncertain(h)[j])
    return i[chosen], j[chosen], weight[chosen]
