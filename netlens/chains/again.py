"""Requests that a relay sends once more, while the first is still in progress: a proxy that hedges, or tries again before it gives up.

Theory of operation
-------------------
1. A reverse proxy's requests are matched with those that it was asked, one with one (:func:`netlens.chains.relays.carried`). What it sends besides, from the
   address and with the ClientHello of those connections, is the same request again if it is as long, and sent while the exchange with the relay goes on.
2. Of all that were sent for one exchange the first is the program's; the others are the relay's own.
3. *Chance.* Requests of one length may be anybody's; so these count only if far fewer are found when times are shifted by some seconds.

Limits: one that a relay sends after it has answered, or with another length, is not known as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from netlens.chains.relays import BY_CHANCE, SHIFTS_S, TOLERANCE_NS
from netlens.chains.side import Side
from netlens.columns import NEVER, Bools, Ints

FEWEST = 3  #: so many, at least: one or two may be a request that was matched with another one's exchange


class Again(NamedTuple):
    """``asked``: exchange of the side (its place) that no other matching explains -> row of the exchange with the relay that it was sent for.
    ``copies``: per exchange of the side, whether one was sent for the same before."""

    asked: dict[int, int]
    copies: Bools


def sent_again(side: Side, asked: Mapping[int, int]) -> Again:
    """What relays on a machine sent more than once.

    Parameters
    ----------
    asked : exchange of the side, by its place -> row of the exchange with the relay that it carries on.
    """
    x, every = side.exchanges, side.capture.table("exchanges")
    none = Again({}, np.zeros(x.rows, np.bool_))
    free = _like_the_relays(side, asked)
    if not len(free):
        return none
    places, rows = np.array(list(asked)), np.array(list(asked.values()))
    sizes, theirs = x["up_bytes"].astype(np.int64), every["up_bytes"].astype(np.int64)
    more, many = np.unique(sizes[places] - theirs[rows], return_counts=True)
    c = side.capture.table("exchanges")["session_id"].astype(np.int64)
    s = side.sessions
    ends = list(s.tuples("resp_ip", "resp_port"))
    there = {ends[k] for k in np.unique(c[rows]).tolist()}
    at_relay = np.flatnonzero(np.isin(c, [k for k, end in enumerate(ends) if end in there]))
    begun, over = every["request_end_ns"].astype(np.int64)[at_relay], every.ints("end_ns", NEVER)[at_relay]
    wanted = sizes[free] - int(more[many.argmax()])
    sent = x["request_end_ns"].astype(np.int64)[free]

    def found(shift_ns: int) -> dict[int, int]:
        out = {}
        for place, size, ns in zip(free.tolist(), wanted.tolist(), (sent + shift_ns).tolist(), strict=True):
            fits = np.flatnonzero((theirs[at_relay] == size) & (begun <= ns + TOLERANCE_NS) & (ns <= over))
            if len(fits):
                out[place] = int(at_relay[fits[begun[fits].argmax()]])
        return out

    again = found(0)
    by_chance = max(len(found(int(shift * 1e9))) for shift in SHIFTS_S)
    if len(again) < FEWEST or by_chance > BY_CHANCE * len(again):
        return none
    return Again(again, _not_the_first(x["request_end_ns"].astype(np.int64), {**asked, **again}))


def _like_the_relays(side: Side, asked: Mapping[int, int]) -> Ints:
    """Exchanges that carry on none that the relay was asked, on connections that come from where its others do and begin alike (JA4)."""
    if not asked:
        return np.zeros(0, np.int64)
    c, kinds = side.connections, side.ja4
    of = side.owner
    alike = {(c["orig_ip"][row], kinds.get(row)) for row in np.unique(of[list(asked)]).tolist()}
    theirs = [row for row in np.unique(of).tolist() if (c["orig_ip"][row], kinds.get(row)) in alike]
    rest = np.setdiff1d(np.arange(len(of)), list(asked))
    return rest[np.isin(of[rest], theirs)]


def _not_the_first(sent: Ints, asked: Mapping[int, int]) -> Bools:
    """Which exchanges were sent for an exchange with the relay for which another was sent before."""
    out = np.zeros(len(sent), np.bool_)
    seen: set[int] = set()
    for place in sorted(asked, key=lambda k: int(sent[k])):
        out[place] = asked[place] in seen
        seen.add(asked[place])
    return out
