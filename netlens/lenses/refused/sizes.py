"""Bytes in progress: does the size of the requests that are open tell which others are refused?

Claim: a request is refused if, and only if, others are in progress and their bytes, with its own or without, come to a limit; one alone is let through.
Theory of operation: as a limit on requests in progress (:mod:`netlens.lenses.refused.counting`), but each counts by its size. Sizes are those of uploads, less
what headers and one TLS record make as a rule, which is searched for; a token is about four bytes. The log of all that is tried, limits too, is taken off, so
that the ratio to chance bounds ``p``.
It is believed only with hardly an exception, and where it explains far more than any number of requests or connections could: some number of bytes parts
few refusals from what is accepted. Where it is not, it still speaks against chance.
Cannot be told from: a limit on requests in progress, where all are of nearly one size.
Source: servers of models that admit prompts by the room that their tokens take in memory (vLLM's cache of keys and values).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netlens.chains.situation import REJECTED, Situation
from netlens.columns import Bools, Ints
from netlens.lenses.refused import limit
from netlens.lenses.refused.counting import Rule, Sized, rules
from netlens.lenses.refused.irregular import RARE, priced
from netlens.lenses.refused.limit import TIE, Inference, RuleFit
from netlens.lenses.refused.over_time import MOST_OVERHEAD, OVERHEAD_STEP, OVERHEADS

MOST = 4_000  #: requests that are searched: those in a row of which the most were refused
LEAST = 10  #: refusals
TURNS = 5  #: times that the limit must have been reached
HARDLY_CHANCE = 0.01  #: p
ODD = 0.02  #: share of the requests that it may leave unexplained
EXPLAINED = 0.6  #: share of the chance model's log likelihood that it must explain
NEARLY_ALL = 0.95  #: the same of a rule on numbers, beside which none on bytes is looked for
FAR = 5.0  #: log units by which it must explain more than any number of what is open could


def fits(situation: Situation, first: Bools) -> list[RuleFit]:
    """The best rule on bytes in progress of each scope, the best first, the price of the search taken off; empty where sizes are not known.

    Parameters
    ----------
    first : requests that count for chance, as of :class:`netlens.lenses.refused.limit.Inference`.
    """
    r, labelled, rejected = situation.requests, situation.requests.rejected >= 0, situation.requests.rejected == REJECTED
    if situation.uncountable or not r.sent_bytes.any() or not rejected.any() or not (r.rejected == 0).any():
        return []
    part = situation if len(r) <= MOST else replace(situation, requests=r.take(_telling(rejected)))
    scopes = [rule for rule in rules(situation) if rule.unit == "requests" and not rule.per_address]
    tries = len(scopes) * 2 * (MOST_OVERHEAD // OVERHEAD_STEP)
    out = []
    for rule in scopes:
        first_tried = [Sized(overhead, own) for overhead in OVERHEADS for own in (True, False)]
        found = _best(part, rule, first_tried)
        assert found.rule.sized is not None
        found = _best(
            part, rule, [found.rule.sized, *(found.rule.sized._replace(overhead=k) for k in range(0, MOST_OVERHEAD, OVERHEAD_STEP))]
        )
        if part is not situation:
            found = limit.at_its_best(situation, found.rule, labelled)
        distinct = len(np.unique(found.counts.count[labelled]))
        out.append(priced(found, RARE + float(np.log(tries * distinct)), rejected, first))
    return sorted(out, key=lambda fit: -fit.log_likelihood)


def _telling(rejected: Bools) -> Ints:
    """:data:`MOST` rows that follow one another, of which the most were refused."""
    so_far = np.append(0, np.cumsum(rejected))
    first = int(np.argmax(so_far[MOST:] - so_far[:-MOST]))
    return np.arange(first, first + MOST)


def _best(situation: Situation, rule: Rule, tried: list[Sized]) -> RuleFit:
    """The rule by the reading of sizes that explains most."""
    labelled = situation.requests.rejected >= 0
    return max((limit.at_its_best(situation, replace(rule, sized=each), labelled) for each in tried), key=lambda fit: fit.log_likelihood)


def beside(situation: Situation, inference: Inference) -> Inference:
    """With the rules on bytes in progress, in front where these tell refused from accepted; none where the best one on numbers explains nearly all, which bytes
    do beside it only where all are of nearly one size."""
    if not inference.fits:
        return inference
    labels = situation.requests.rejected
    chance = max(inference.chance_log_likelihood, limit.by_chance(labels[labels >= 0] == REJECTED))
    if inference.fits[0].possible_log_likelihood >= chance * (1.0 - NEARLY_ALL) or not (found := fits(situation, inference.first)):
        return inference
    inference = replace(inference, sized=found)
    best, could = found[0], max(f.possible_log_likelihood for f in inference.fits)
    if inference.refused < LEAST or best.runs < TURNS or best.p > HARDLY_CHANCE:
        return inference
    if best.misses + best.false_alarms > ODD * (inference.refused + inference.accepted):
        return inference
    if best.possible_log_likelihood <= max(chance * (1.0 - EXPLAINED), could + FAR):
        return inference
    near = sorted((f for f in found if f.log_likelihood >= best.log_likelihood - TIE), key=lambda fit: fit.rule.scope != "side")
    return replace(inference, fits=[*near, *inference.fits])
