"""Is an address used twice?

Asks: whether two hardware addresses answered one question by ARP or neighbour discovery for the same address.
Applies: where such answers are in the capture.
Cannot see: which of the two is meant to have it.
Normal: one answer. A cluster that moves an address announces it anew (RFC 5227 3), and does not answer from two; a host with two cards in one network
    answers by both for all its addresses; anycast (RFC 4861 7.2.7) and virtual routers have several by design. A router that answers for others (proxy ARP,
    RFC 1027) beside the host itself is a conflict.
"""

from __future__ import annotations

import bisect
from collections import Counter

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most
from netlens.parsers.asking import Claim
from netlens.text import plural

ID = "address-conflict"
GROUP = "handshakes"
RANK = 18
SOON_NS = S // 10  #: behind the question; what comes later corrects what was said (bonding, a move)
#: Hardware addresses that several routers share (HSRP, GLBP, VRRP: RFC 9568 7.3)
SHARED = ("00:00:0c:07:ac", "00:00:0c:9f:f", "00:07:b4:00", "00:00:5e:00:01", "00:00:5e:00:02")
TIMES = 2  #: of one address; once may be a move


def look(view: View) -> list[Finding]:
    asking = view.side.capture.asking
    asked: dict[str, list[int]] = {}
    for (_, target), seen in asking.sought.items():
        asked.setdefault(target, []).extend(each.ts for each in seen)
    found: dict[str, list[list[Claim]]] = {}
    for address, claims in asking.claims.items():
        known = [claim for claim in claims if claim.answer and claim.hardware and not claim.hardware.startswith(SHARED)]
        if len({claim.hardware for claim in known}) < 2:
            continue
        times_ns = sorted(asked.get(address, ()))
        answers: dict[int, list[Claim]] = {}  # by the last question before
        for claim in known:
            answers.setdefault(bisect.bisect_right(times_ns, claim.ts), []).append(claim)
        for number, group in answers.items():
            soon = [claim for claim in group if number and claim.ts - times_ns[number - 1] <= SOON_NS]
            if len({claim.hardware for claim in soon}) > 1:
                found.setdefault(address, []).append(soon)
    # two cards of one host in one network answer for all its addresses
    cards = Counter(frozenset(claim.hardware for claim in groups[0]) for groups in found.values())
    found = {address: groups for address, groups in found.items() if cards[frozenset(claim.hardware for claim in groups[0])] == 1}
    if not found:
        return []
    times = sum(map(len, found.values()))
    hardware = most(claim.hardware for groups in found.values() for group in groups for claim in group)
    text = f"{most(found)} {'was' if len(found) == 1 else 'were'} claimed by different hardware addresses {plural(times, 'time')} ({hardware})."
    values = {"addresses": sorted(found), "times": times}
    grave = max(map(len, found.values())) >= TIMES
    advice = (
        "Find both by their hardware addresses (the switch's MAC table) and change the address of one. "
        "If both are cards of one host, set arp_ignore=1 there."
    )
    frames = [claim.frame for groups in found.values() for group in groups for claim in group]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice if grave else "")]
