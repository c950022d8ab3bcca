"""Is an address used twice?

Asks: whether two hardware addresses answered one question by ARP or neighbour discovery for the same address.
Applies: where such answers are in the capture.
Cannot see: which of the two is meant to have it.
Normal: one answer. A cluster that moves an address announces it anew (RFC 5227 3), and does not answer from two; a router that answers for others (proxy
    ARP, RFC 1027) beside the host itself does.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from netlens.lenses._view import S, finding, most, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View
    from netlens.parsers.asking import Claim

ID = "address-conflict"
GROUP = "handshakes"
RANK = 18
SOON_NS = S  #: of each other: answers to one question
TIMES = 2  #: once may be a move


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view)]


def _of(view: View) -> list[Finding]:
    asking = view.side.capture.asking
    found: dict[str, list[list[Claim]]] = {}
    for address, claims in asking.claims.items():
        asked: list[int] = sorted(seen.ts for (_, target), each in asking.sought.items() if target == address for seen in each)
        known = [claim for claim in claims if claim.hardware]
        answers: dict[int, list[Claim]] = {}  # by the last question before
        for claim in known:
            answers.setdefault(bisect.bisect_right(asked, claim.ts), []).append(claim)
        for number, group in answers.items():
            soon = [claim for claim in group if number and claim.ts - asked[number - 1] <= SOON_NS]
            if len({claim.hardware for claim in soon}) > 1:
                found.setdefault(address, []).append(soon)
    if not found:
        return []
    times = sum(map(len, found.values()))
    hardware = most(claim.hardware for groups in found.values() for group in groups for claim in group)
    text = f"{most(found)} {'is' if len(found) == 1 else 'are'} used twice: {plural(times, 'time')} two hosts answered for it ({hardware})."
    values = {"addresses": sorted(found), "times": times}
    grave = times >= TIMES
    advice = "Find both hosts by their hardware addresses (the switch's table) and give one another address." if grave else ""
    frames = [claim.frame for groups in found.values() for group in groups for claim in group]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]
