"""Lookups are to blame: their connections count against the provider's limit, or they lead to an address of the API that refuses.

Claim: without the connections of DNS over TCP (or TLS), at least half of the refusals would have met less than the limit.
Refuted: no lookup travelled over a connection; UDP holds nothing open.
Undecided: connections of lookups were opened, and what leaves was not captured; or one of the API's addresses alone refuses, as far as is known, and no limit
explains it; else
only through the other causes' reasons.
Source: cause C of the investigation (docs/glossary.md).
"""

from __future__ import annotations

from netlens.chains.situation import LOOKUPS
from netlens.lenses.refused.counting import Adjustment
from netlens.lenses.refused.judging import limit_verdict
from netlens.lenses.refused.sides import of_one_address
from netlens.lenses.refused.verdict import Evidence, Verdict, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.logs import QUOTA
from netlens.text import plural

ID = "dns"
LETTER = "C"
CLAIM = "Connections for DNS lookups count against the provider's limit, or lookups lead to an address of the API that refuses."
RANK = 3
WITHOUT = Adjustment(lookups=True)


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    theirs = s.sessions.kind == LOOKUPS
    structure = missing = None
    if not weighing.kind and weighing.named != QUOTA and (one := of_one_address(s)) is not None:
        return undecided(one.needed)
    if not weighing.kind and weighing.named != QUOTA and of_one_address(s, known=False) is not None:
        return undecided(weighing.outcomes_wanted)
    if not theirs.any() and s.facts.get("lookups_unseen"):
        missing = f"{s.other_capture}: the VM opened connections for lookups, but this capture does not show them leave"
    elif not theirs.any():
        udp = int(s.facts.get("lookups", 0))
        told = f"{'the only lookup' if udp == 1 else f'all {udp:,} lookups'} used UDP, which holds no connection open"
        frames = s.facts.get("lookup_frames") or weighing.session_frames(s.sessions.kind != LOOKUPS)
        structure = Evidence(told if udp else "no lookup used a connection", frames)
    return limit_verdict(
        weighing,
        WITHOUT,
        structure=structure,
        missing=missing,
        told=f"without the {plural(int(theirs.sum()), 'connection')} of lookups" if theirs.any() else "",
    )
