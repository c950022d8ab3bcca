"""How many requests a connection had, by all that was said on it, and by what its client wrote alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from netlens.chains import grammar
from netlens.chains.explained.forward_backward import SURE, Found, explain
from netlens.chains.explained.kernels import NEGLIGIBLE
from netlens.chains.explained.learning import LEARN_FROM
from netlens.chains.explained.model import Model
from netlens.chains.explained.steps import many
from netlens.chains.explained.talks import Talk, first
from netlens.chains.explained.tallies import Tally

LIKELY = 0.9  #: that a number is another than was counted

Numbers = dict[int, float]  #: probability of each number of requests
Ways = list[tuple[grammar.Told, Found]]  #: ways to read the client of which one fits, explained


def explained(talk: Talk, model: Model) -> Ways:
    return [(each, one) for each in talk.ways if (one := explain(talk, each.reading, model)) is not None]


def numbers(found: Ways) -> list[Numbers]:
    """By way to read the client; in all 1."""
    most = max((one.evidence + each.weight for each, one in found), default=0.0)
    out = [{n: p * exp(one.evidence + each.weight - most) for n, p in one.numbers.items()} for each, one in found]
    total = sum(sum(of.values()) for of in out)
    return [{n: p / total for n, p in of.items()} for of in out]


def of_all(ways: Sequence[Numbers]) -> Tally[int]:
    """By all ways to read the client."""
    out: Tally[int] = Tally()
    for each in ways:
        out.add(each)
    return out


def likeliest_way(ways: Sequence[Numbers], number: int) -> int:
    """Place of the way to read the client by which the number is likeliest."""
    return max(range(len(ways)), key=lambda k: ways[k].get(number, 0.0))


def likeliest(found: Ways) -> tuple[int, float, int]:
    """The likeliest number of requests by all ways to read the client, its probability, and the place of the likeliest way that has it."""
    ways = numbers(found)
    totals = of_all(ways)
    number = max(totals, key=totals.__getitem__)
    return number, totals[number], likeliest_way(ways, number)


def disagrees(talks: Sequence[Talk], counted: Sequence[int], model: Model) -> dict[int, tuple[int, bool]]:
    """Numbers of requests that what was learned finds, where these are others than were counted without it, which is unlikely, and whether they are next to
    certain: of the first connections, as many as it is learned from, by place."""
    out = {}
    for k, (talk, n) in enumerate(zip(first(talks, LEARN_FROM), counted, strict=False)):
        if found := explained(talk, model):
            number, p, _ = likeliest(found)
            if number != n and (p >= SURE or sum(each.get(n, 0.0) for each in numbers(found)) <= 1 - LIKELY):
                out[k] = number, p >= SURE
    return out


def by_client(ways: Sequence[grammar.Told], model: Model | None) -> Numbers:
    """By what the client wrote alone, by the ways to read it."""
    out: Tally[int] = Tally()
    plain = model or Model(False)
    for each in ways:
        of: Numbers = {0: 1.0}
        for k in range(len(each.reading.streams)):
            begins = many(each.reading, k, plain)
            more: Tally[int] = Tally()
            for n, p in of.items():
                for further, q in enumerate(begins):
                    more[n + further] += p * q
            total = more.total()
            of = {n: p / total for n, p in more.items() if p > NEGLIGIBLE * total}
        out.add({n: exp(each.weight) * p for n, p in of.items()})
    total = out.total()
    return {n: p / total for n, p in out.items()} if total else {}


def surely(ways: Sequence[grammar.Told], sure: float) -> int:
    """The number that is so likely at least by what the client wrote alone; 0 if none is."""
    return next((n for n, p in by_client(ways, None).items() if p >= sure), 0)
