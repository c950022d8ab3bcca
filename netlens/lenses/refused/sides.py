"""What is told by how differently the two sides fare, or the API's addresses: one alone is refused, one alone is shut out, one alone asks anything."""

from __future__ import annotations

from math import lgamma, log, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netlens.chains.situation import ACCEPTED, HOST, REJECTED, UNLABELLED, VM, Situation
from netlens.columns import NEVER
from netlens.lenses.refused.counting import Rule

if TYPE_CHECKING:
    from netlens.lenses.refused.weighing import Weighing

ONE_SIDED = 0.01  #: how often, under one rate for all, every refusal falls on one side's requests
OWN = Rule("requests", "side")
EDGE = 5  #: refusals at a limit, and acceptances just below it, where not all that counts was seen as it leaves
COVERED = 0.8  #: share of the requests that were sent while all captures were made
FAR = 5.0  #: log units by which what is open must explain less than that a side was shut out


def of_one_side(weighing: Weighing) -> tuple[int, int, int] | None:
    """(side, its requests, the other side's) where all refusals are of one side, which one rate for all does not explain: it leaves by another way, or has
    another key. None else."""
    r, refused = weighing.situation.requests, int(weighing.refused.sum())
    for side, other in ((VM, HOST), (HOST, VM)):
        mine, theirs = (int(((r.side == each) & (r.rejected >= 0)).sum()) for each in (side, other))
        alone = refused and theirs and not (weighing.refused & (r.side != side)).any()
        if alone and prod((mine - k) / (mine + theirs - k) for k in range(refused)) < ONE_SIDED:
            return side, mine, theirs
    return None


class Addresses(NamedTuple):
    """refusing, other : an address of the API where requests were refused, and one where none was, those with most requests; "" if not known.
    refused : how many.  here, there : requests to addresses of either kind, from the first refusal to the last."""

    refusing: str
    other: str
    refused: int
    here: int
    there: int

    @property
    def needed(self) -> str:
        """What would decide."""
        return (
            f"a recording in which all programs ask the same address of the API: of {self.here:,} requests to {self.refusing or 'one address'} "
            f"{self.refused:,} were refused, of {self.there:,} to {self.other or 'another'} meanwhile none"
        )


def of_one_address(situation: Situation, *, known: bool = True) -> Addresses | None:
    """Where all refusals are of requests to some of the API's addresses, and others were asked meanwhile and refused nothing, which one rate for all does
    not explain. None else. ``known``: only by requests of which it is known; else by all, as if the others had been accepted."""
    r, s = situation.requests, situation.sessions
    refused = r.rejected == REJECTED
    if not refused.any():
        return None
    first, last = r.start_ns[refused].min(), r.start_ns[refused].max()
    asked = (
        ((r.rejected >= 0) | ((r.rejected == UNLABELLED) & (not known))) & (r.session >= 0) & (r.start_ns >= first) & (r.start_ns <= last)
    )
    address = s.address[np.maximum(r.session, 0)]
    refusing = np.isin(address, address[refused & (r.session >= 0)])
    k, here, there = int(refused.sum()), int((asked & refusing).sum()), int((asked & ~refusing).sum())
    if not there or (refused & (r.session < 0)).any() or prod((here - j) / (here + there - j) for j in range(k)) >= ONE_SIDED:
        return None
    names = situation.facts.get("addresses", {})
    one, other = (names.get(int(np.bincount(address[asked & rows]).argmax()), "") for rows in (refusing, ~refusing))
    return Addresses(one, other, k, here, there)


def shut_out(weighing: Weighing) -> tuple[int, int] | None:
    """(side, requests of the other side) where nothing of a side was accepted any more from a moment on, and these requests of the other were, and none was
    refused before it was shut out in turn: that is no outage, unless both might have fallen so by chance as it began. A limit of the side's own was used up,
    for good or until it sends nothing for a while. None else, and where what is open explains it about as well."""
    i, r, refused = weighing.inference, weighing.situation.requests, weighing.refused
    if not (weighing.from_a_moment_on and weighing.seen_whole):
        return None
    by_itself = -sum(log(1 + ((r.side == side) & (r.rejected >= 0)).sum()) for side in np.unique(r.side[refused]))
    if any(f.possible_log_likelihood > by_itself - FAR for f in i.fits if not weighing.long_held(f)):
        return None
    for side, other in ((VM, HOST), (HOST, VM)):
        mine = refused & (r.side == side)
        since = (r.side == other) & (r.start_ns > r.start_ns[mine].min(initial=NEVER))
        went_on = since & (r.rejected == ACCEPTED) & (r.start_ns < r.start_ns[since & refused].min(initial=NEVER))
        meanwhile = mine & (r.start_ns < r.start_ns[went_on].max(initial=-1))
        n, k = int(meanwhile.sum()), int(went_on.sum())
        if n and k and lgamma(n + k + 1) - lgamma(n + 1) - lgamma(k + 1) >= -log(ONE_SIDED):  # of so many ways to mix them, this one
            return side, k
    return None


def nobody_else_here(weighing: Weighing) -> bool:
    """Whether all that leaves is the side's own, though it is not seen as it leaves: the host was captured on all its interfaces meanwhile and asks nothing of
    the target, and the side's own requests leave nothing to others: :data:`EDGE` refusals at their limit and as many acceptances just below it. Who else uses
    the way out beyond the host is never seen."""
    rules, labels = weighing.rules, weighing.situation.requests.rejected
    if not weighing.situation.facts.get("host_silent") or weighing.covered < COVERED or len(rules) != 1 or rules[0].rule != OWN:
        return False
    best = rules[0]
    edges = ((labels == REJECTED) & (best.counts.count == best.value), (labels == ACCEPTED) & (best.counts.count == best.value - 1))
    return not best.misses and all(edge.sum() >= EDGE for edge in edges)
