"""Bytes in progress: does the size of the requests that are open tell which others are refused?

Claim: a request is refused if, and only if, others are in progress and their bytes, with its own or without, come to a limit; one alone is let through.
Theory of operation: sizes are those of uploads, less what headers and one TLS record make as a rule; a token is about four bytes. Likelihood and noise are
those of :mod:`netlens.lenses.refused.over_time`. The log of all that is tried, limits too, is taken off, so that the ratio to chance bounds ``p``.
It is no cause by itself. Where it separates, something local explains the refusals: chance is not told, and that the provider says it is overloaded is no
reason that lies with the provider alone.
Cannot be told from: a limit on requests in progress, where all are of nearly one size.
Source: servers of models that admit prompts by the room that their tokens take in memory (vLLM's cache of keys and values).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from netlens.chains.situation import REJECTED, Requests, Situation
from netlens.columns import Bools, Ints
from netlens.lenses.refused import limit
from netlens.lenses.refused.over_time import OVERHEADS, Reading, best_limit, counted, together


@dataclass(frozen=True, eq=False)
class Filled:
    """How bytes in progress fit, at their best limit.

    counts : bytes of others in progress when each request came, with its own where that counts; 0 with no others.
    log_likelihood, first_log_likelihood : of all labels and of first refusals, the price of the search taken off.  p : as of
    :class:`netlens.lenses.refused.over_time.Fit`, and so are the others.
    """

    value: int
    own: bool
    log_likelihood: float
    first_log_likelihood: float
    p: float
    hits: int
    misses: int
    false_alarms: int
    runs: int
    counts: Ints = field(repr=False)


def fit(situation: Situation, first: Bools) -> Filled | None:
    """The best count of bytes in progress, of each side or of all; None where sizes are not known. ``first``: requests that count for chance."""
    r, labelled = situation.requests, situation.requests.rejected >= 0
    rejected = r.rejected == REJECTED
    if situation.uncountable or not r.sent_bytes.any() or not rejected.any() or not (r.rejected == 0).any():
        return None
    sides, scopes = together(situation)
    tried = list(product(scopes, OVERHEADS, (True, False)))
    best: Filled | None = None
    for scope, overhead, own in tried:
        groups = [np.arange(len(r))] if scope == "egress" else [np.flatnonzero(r.side == side) for side in sides]
        counts, used = np.zeros(len(r), np.int64), np.zeros(len(r), np.bool_)
        for rows in groups:
            counts[rows] = in_progress(r.take(rows), Reading(overhead, own), counted(r)[rows])
            used[rows] = labelled[rows]
        price = float(np.log(len(tried) * max(len(np.unique(counts[used])), 1)))
        ll, (_, value, _) = best_limit(counts, rejected, used)
        ll += limit.one_rate(rejected[labelled & ~used]) - price
        if not np.isfinite(ll) or (best is not None and ll <= best.log_likelihood):
            continue
        alone = best_limit(counts, rejected, used & first)[0] - price
        at = counts >= value
        best = Filled(
            value, own, ll, alone,
            float(min(1.0, np.exp(min(limit.by_chance(rejected[used & first]) - alone, 0.0)))),
            int((used & rejected & at).sum()),
            int((used & rejected & ~at).sum()),
            int((used & ~rejected & at).sum()),
            limit.runs_of(used & rejected & at, used, groups),
            counts,
        )  # fmt: skip
    return best


def in_progress(requests: Requests, reading: Reading, counted: Bools) -> Ints:
    """Bytes of others in progress when each of these requests came, and its own where ``reading`` says so; 0 with no others.

    Parameters
    ----------
    counted : those that hold something until they are answered.
    """
    r, size = requests, reading.taken(requests.sent_bytes)
    held = np.where(counted, size, 0)

    def upto(times: Ints) -> Ints:
        """Bytes of those whose time is not after the start of each."""
        order = np.argsort(times, kind="stable")
        return np.concatenate([[0], np.cumsum(held[order])])[np.searchsorted(times[order], r.start_ns, "right")]

    others = upto(r.start_ns) - upto(np.maximum(r.end_ns, r.start_ns + 1)) - held
    return np.where(others > 0, others + (size if reading.own else 0), 0)
