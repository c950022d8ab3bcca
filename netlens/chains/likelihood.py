"""How much likelier a pair of connections is seen if the two belong together than if they met by chance.

Theory of operation
-------------------
Each possible pair has a weight, the log of that ratio:

- *time*: sshuttle accepts by itself, so the VM's SYN comes first and the host's follows in a few milliseconds; by chance it would follow at the
  rate at which the host's connections to this server begin;
- *payload*: a tunnel neither adds nor loses bytes, so both totals are equal; by chance they are as often as others' are;
- *inner times*: first and last payload and the close of both are as far apart in both captures, whatever the clocks;
- *lookups* over TCP: transaction ids and names.

What cannot be is no pair (:func:`possible`): another hello, another name, more bytes coming out than went in, an effect before its cause.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.chains.compared import (
    DONE,
    FIRST_DOWN,
    FIRST_UP,
    LAST_DOWN,
    LAST_UP,
    MAX_DELAY_NS,
    START,
    TOLERANCE_NS,
    USUAL_DELAY_NS,
    Compared,
    Found,
    only,
)
from netlens.columns import MISSING, Bools, Floats, Ints, distinct_rows

RARE_DELAY = 0.1  #: share of delays that are not usual: machines stall
INNER_NS = 20_000_000  #: how far inner times differ without remark: both ways through the tunnel
#: Chance that another connection has the same totals although none in the capture does. Rejections of one API differ by 3 bytes only.
EQUAL_BY_CHANCE = 0.05
SHORT_BYTES, SHORT_BY_CHANCE = 256, 0.5  #: alerts, keep-alives and lookups have few lengths
ODD_CUT = 3.0  #: unequal totals are explained by a reset or loss once in about 20 connections
ODD_CLOSE = 2.0  #: the program closed, and upstream nothing did
INNER_MOST = 4.0  #: one odd time shall not outweigh equal totals
SAME_LOOKUP = 11.0  #: log of 65,536 transaction ids
MANY = 32  #: candidates of one connection that are weighed; a runner-up is among them if there is one
NOT_OPENED = frozenset({"S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR"})  #: states of sessions that held no place at the server
_BASES = (START, DONE, FIRST_UP, LAST_UP)  #: by preference, the event whose delay counts; all go from the VM to the host


def possible(found: Found, i: Ints, j: Ints) -> Bools:
    """Which pairs nothing forbids."""
    v, h = found.v, found.h
    ok = (v.start[i] <= h.end[j] + found.time.uncertain_ns + TOLERANCE_NS) & (
        h.start[j] <= v.end[i] + found.time.uncertain_ns + MAX_DELAY_NS
    )
    # translation would have kept the numbers
    ok &= ~(~v.forwarded[i] & (v.isn[i] >= 0) & (h.isn[j] >= 0) & (v.isn[i] != h.isn[j]))
    # no more comes out than went in; what was lost to the capture is known by its acknowledgment
    ok &= ~(~v.censored[i] & ~v.open_end[i] & (h.up[j] > v.up[i] + v.up_missing[i]))
    ok &= ~(~h.censored[j] & ~h.open_end[j] & (v.down[i] > h.down[j] + h.down_missing[j]))
    # who was forwarded an answer had its question forwarded
    opened = ~np.isin(np.array(h.state, dtype=object), list(NOT_OPENED)) if h.n else np.zeros(0, bool)
    whole = ~(v.censored[i] | h.censored[j] | h.open_end[j]) & (h.up_missing[j] == 0)
    ok &= ~(whole & opened[j] & (h.up[j] == 0) & (v.up[i] > 0))
    # in an orderly close everything arrives
    orderly = whole & ~v.open_end[i] & ~v.reset[i] & ~h.reset[j] & (v.up_missing[i] + v.down_missing[i] + h.down_missing[j] == 0)
    ok &= ~(orderly & ((h.up[j] != v.up[i]) | (h.down[j] != v.down[i])))
    if found.time.known:
        for event, sign in ((START, 1), (FIRST_UP, 1), (FIRST_DOWN, -1)):
            x, valid = difference(v, h, i, j, event)
            ok &= ~(valid & (sign * x < -found.time.uncertain_ns - TOLERANCE_NS))
    names: dict[Any, int] = {None: -1}
    name, other = (np.array([names.setdefault(x, len(names)) for x in t.connections["sni"].tolist()], np.int64) for t in (v, h))
    ok &= (name[i] < 0) | (other[j] < 0) | (name[i] == other[j])
    # one whose random is in both captures once has a partner, which it was not paired with for a reason
    mine, others = only(enumerate(v.randoms)), only(enumerate(h.randoms))
    placed_v = np.array([any(r in mine and r in others for r in rs) for rs in v.randoms], dtype=bool)
    placed_h = np.array([any(r in mine and r in others for r in rs) for rs in h.randoms], dtype=bool)
    ok &= ~(placed_v[i] | placed_h[j])
    for left, right in ((v.randoms, h.randoms), (v.asked, h.asked)):
        both = np.array([bool(x) for x in left], dtype=bool)[i] & np.array([bool(x) for x in right], dtype=bool)[j]
        for k in np.flatnonzero(ok & both).tolist():
            ok[k] = not left[i[k]].isdisjoint(right[j[k]])
    return ok


def difference(v: Compared, h: Compared, i: Ints, j: Ints, event: int) -> tuple[Ints, Bools]:
    """Host's time of an event less the VM's, and where both saw that same event."""
    a, b = v.events[i, event], h.events[j, event]
    valid = (a != MISSING) & (b != MISSING)
    if event in (FIRST_UP, FIRST_DOWN):
        # of an older connection, the first payload seen is the same only after both captures had begun
        begun = max(v.first, h.first)
        valid &= ~(v.censored[i] | h.censored[j]) | ((a > begun) & (b > begun))
    elif event == LAST_UP:
        valid &= v.up[i] == h.up[j]
    elif event == LAST_DOWN:
        valid &= v.down[i] == h.down[j]
    return np.where(valid, b - np.where(valid, a, b), 0), valid


def inner(v: Compared, h: Compared, i: Ints, j: Ints) -> Floats:
    """What inner times that differ between the captures take from the weight; needs no clock."""
    differences = np.empty((len(i), 7), np.int64)
    valid = np.empty((len(i), 7), bool)
    for event in range(7):
        differences[:, event], valid[:, event] = difference(v, h, i, j, event)
    # from the middle one: a stall makes one event late, and that shall count once
    ranked = np.sort(np.where(valid, differences, np.iinfo(np.int64).max), axis=1)
    middle = ranked[np.arange(len(i)), np.maximum(valid.sum(axis=1) - 1, 0) // 2]
    off = np.abs(np.where(valid, differences - middle[:, None], 0)) / INNER_NS
    cost = np.minimum(np.log1p(off), INNER_MOST).sum(axis=1)
    # the program closed long before the host's capture ended, and upstream nothing did
    done = v.events[i, DONE]
    left = (done != MISSING) & (h.events[j, DONE] == MISSING) & (done + MAX_DELAY_NS < h.last)
    return cost + np.where(left, ODD_CLOSE, 0.0)


def weights(found: Found, i: Ints, j: Ints, usual_ns: float | None) -> Floats:
    """Log of how much likelier each pair is than chance."""
    v, h = found.v, found.h
    base = np.full(len(i), -1, np.int64)
    delay = np.zeros(len(i), np.int64)
    for event in reversed(_BASES):
        x, valid = difference(v, h, i, j, event)
        base[valid], delay[valid] = event, x[valid]
    # how many of the host's connections go to the server, and how often one begins
    servers = int(max(h.server.max(), v.server.max())) + 1
    count = np.bincount(h.server, minlength=servers).astype(float)[h.server[j]]
    span = float(max(h.last - h.first, MAX_DELAY_NS))
    tau = float(usual_ns or USUAL_DELAY_NS) + 2.0 * found.time.uncertain_ns
    rate = count / span
    if found.time.known:
        # where the clock is uncertain, the next one of a burst is as good a partner; where it is certain, cause and order tell
        blur = 2.0 * found.time.uncertain_ns / tau
        rate = rate + blur * np.maximum(_bursts(v, servers, tau), _bursts(h, servers, tau))[h.server[j]]
        off = np.where(delay < 0, -2 * delay, delay)  # a close may be seen late at the VM, but an effect before its cause is odd
        usual = (1 - RARE_DELAY) / tau * np.exp(-off / tau)
        rare = np.where(
            off > MAX_DELAY_NS + 2.0 * found.time.uncertain_ns, 1e-3 * rate, RARE_DELAY / (MAX_DELAY_NS + 2.0 * found.time.uncertain_ns)
        )
        density = usual + rare
        weight = np.where(base >= 0, np.log(density / rate), -np.log(count))
    else:
        weight = -np.log(np.minimum(count, np.maximum(1.0, rate * 2.0 * found.time.uncertain_ns)))
    weight += _equality(found, i, j, count)
    weight -= inner(v, h, i, j)
    # those that asked different questions are no pairs (possible)
    asks_v, asks_h = (np.array([bool(x) for x in t.asked], dtype=bool) for t in (v, h))
    return weight + np.where(asks_v[i] & asks_h[j], SAME_LOOKUP, 0.0)


def _bursts(t: Compared, servers: int, window_ns: float) -> Floats:
    """By server: how often another connection begins within a window around one; above the mean rate where they come in bursts."""
    order = np.flatnonzero(~t.censored)
    order = order[np.lexsort((t.start[order], t.server[order]))]
    # one axis for all servers: far enough apart that no window reaches from one to the next
    begun = t.start[order] - (t.start[order].min() if len(order) else 0)
    at = begun + t.server[order] * (int(begun.max(initial=0)) + 4 * int(window_ns) + 1)
    others = np.searchsorted(at, at + int(window_ns), side="right") - np.searchsorted(at, at - int(window_ns)) - 1
    total = np.bincount(t.server[order], weights=others, minlength=servers)
    return total / np.maximum(np.bincount(t.server[order], minlength=servers), 1) / (2 * window_ns)


def by_chance(h: Compared) -> Floats:
    return np.where(h.up + h.down < SHORT_BYTES, SHORT_BY_CHANCE, EQUAL_BY_CHANCE)


def _equality(found: Found, i: Ints, j: Ints, count: Floats) -> Floats:
    """The part of payload totals: equal ones are worth as much as they are rare."""
    v, h = found.v, found.h

    def others(*columns: Ints) -> Floats:
        """How many other connections of the host to the same server have the same values."""
        _, back, counts = distinct_rows(h.server, *columns)
        return (counts[back] - 1).astype(float)

    chance = by_chance(h)[j]
    up, down = v.up[i] == h.up[j], v.down[i] == h.down[j]
    worth = np.where(up & down, -np.log((others(h.up, h.down)[j] + chance) / (count + 1)), 0.0)
    worth = np.where(up & ~down, -np.log((others(h.up)[j] + chance) / (count + 1)), worth)
    worth = np.where(~up & down, -np.log((others(h.down)[j] + chance) / (count + 1)), worth)
    # one that is cut by an edge of a capture may well differ
    cut = v.censored[i] | h.censored[j] | v.open_end[i] | h.open_end[j]
    odd = (~up).astype(float) + (~down & ~v.reset[i])
    return np.maximum(worth, 0.0) - np.where(cut, 0.0, ODD_CUT * odd)
