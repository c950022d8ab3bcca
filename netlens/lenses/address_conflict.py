"""Is an address used twice?

Asks: whether two hardware addresses answered one question by ARP or neighbour discovery for the same address; whether a host
    that asked if an IPv6 address is free, to take it, was told that it is not; whether two announce the same address in turn; whether who had
    announced one does so anew at once behind another that announces it, as who defends its address does (RFC 5227 2.4), or three and more announce it within
    10 s.
Applies: where such answers are in the capture.
Cannot see: which of the two is meant to have it.
Normal: one answer. A cluster that moves an address announces it anew (RFC 5227 3), and does not answer from two; a host with two cards in one network
    answers by both for all its addresses (arp-flux); anycast (RFC 4861 7.2.7) and virtual routers have several by design. A router that answers for others
    (proxy ARP, RFC 1027) beside the host itself is a conflict. An IPv6 host asks before it takes an address, from nobody's address, and who has it tells all
    (RFC 4862 5.4, RFC 4861 7.2.4); who has not taken it for good yet does not insist (RFC 4429 3.3). Who then has it all the same has moved it there. For
    IPv4 switches ask from nobody's address where hosts are, so that this says nothing. A standby that takes over has missed
    some beats before, of a second each most often (RFC 9568 6.1), so it does not move there and back within half a second; two cards of one host announce
    together. Once is a warning: two members of a pair may both be active for a moment. Who sleeps, walks from one repeater to another, or is maintained has an
    address announced by another in turn, for half a minute and longer each: a warning.
"""

from __future__ import annotations

import bisect
from collections import Counter
from itertools import groupby, pairwise

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, graded, most
from netlens.parsers.asking import Claim
from netlens.text import plural

ID = "address-conflict"
GROUP = "handshakes"
RANK = 11  #: before what fails for it
SOON_NS = S // 10  #: behind the question; what comes later corrects what was said (bonding, a move)
#: Hardware addresses that several routers share (HSRP, GLBP, VRRP: RFC 9568 7.3)
SHARED = ("00:00:0c:07:ac", "00:00:0c:9f:f", "00:07:b4:00", "00:00:5e:00:01", "00:00:5e:00:02")
TOLD_NS = S  #: behind a test of an address; RFC 4862 5.1 waits so long (RetransTimer)
TURNS, TURN_NS = 3, 60 * S  #: of each of two hosts; a move is one, there and back two; and the time between two of them
BACK_NS = 10 * S  #: within which the other takes it back, again and again; who stands in for another, or sleeps, keeps it longer
#: Behind another's announcement, at once; the first must not be older than :data:`BACK_NS` (RFC 5227 1.1: DEFEND_INTERVAL).
DEFENDED_NS = S // 2
SEVERAL = 3  #: hosts; two may be a pair
TIMES = 2  #: of one address; once may be a move


def look(view: View) -> list[Finding]:
    """Addresses that two hosts have, and such that a host may not take."""
    return [*_of_two(view), *_defended(view), *_in_turn(view), *_taken(view)]


def _announced(view: View, address: str) -> list[Claim]:
    """Announcements of an address that nobody had asked for, by hosts of their own."""
    claims = view.side.capture.asking.claims[address]
    return [claim for claim in claims if not claim.answer and claim.hardware and not claim.hardware.startswith(SHARED)]


def _defence(announced: list[Claim]) -> list[Claim]:
    """Announcements with which a host defends an address: what it said before, what another said, and its answer to that, of each time."""
    runs = [list(group) for _, group in groupby(announced, lambda claim: claim.hardware)]
    first = {claim.hardware: claim.ts for claim in reversed(announced)}
    found = []
    for (*_, before), (other, *_), (again, *_) in zip(runs, runs[1:], runs[2:], strict=False):
        together = abs(first[other.hardware] - first[again.hardware]) <= SOON_NS
        in_time = SOON_NS < other.ts - before.ts <= BACK_NS and again.ts - other.ts <= DEFENDED_NS
        if before.hardware == again.hardware and in_time and not together:
            found += [before, other, again]
    return found


def _several(announced: list[Claim]) -> list[Claim]:
    """Announcements of :data:`SEVERAL` hosts and more within :data:`BACK_NS`; what comes together counts as one, as cards of one host."""
    apart = [claim for before, claim in pairwise([None, *announced]) if claim and (before is None or claim.ts - before.ts > SOON_NS)]
    times = [claim.ts for claim in apart]
    for k, ns in enumerate(times):
        within = apart[k : bisect.bisect_right(times, ns + BACK_NS)]
        if len({claim.hardware for claim in within}) >= SEVERAL:
            return within
    return []


def _of_several(view: View) -> dict[str, tuple[list[Claim], list[Claim]]]:
    """By address of IPv4, with which announcements it was defended, and by which several hosts took it."""
    told, cards = view.once(doubly_claimed)
    found = {}
    for address in view.side.capture.asking.claims:
        announced = _announced(view, address)
        if ":" in address or address in told or address in cards or len({claim.hardware for claim in announced}) < TIMES:
            continue
        both = _defence(announced), _several(announced)
        if any(both):
            found[address] = both
    return found


def _defended(view: View) -> list[Finding]:
    """Addresses that a host defends against another, or that several announce at a time."""
    every = view.once(_of_several)
    grave = [address for address, (defence, several) in every.items() if len(defence) // 3 + bool(several) >= TIMES]
    found = {address: every[address] for address in grave or every}
    if not found:
        return []
    claims = [claim for both in found.values() for claims in both for claim in claims]
    times = sum(len(defence) // 3 for defence, _ in found.values())
    hosts = {claim.hardware for claim in claims}
    were, by = "was" if len(found) == 1 else "were", plural(len(hosts), "hardware address", "hardware addresses")
    text = f"{most(found)} {were} announced by {by} ({most(sorted(hosts))})"
    text += (
        f", one of which said so anew at once, as who defends its address does ({plural(times, 'time')})."
        if times
        else f" within {BACK_NS // S} s."
    )
    advice = (
        "Several hosts have that address: find them by their hardware addresses (the switch's MAC table) and change the address of all but one. If they are a "
        "cluster, more than one believes to be active: look at the link by which they hear each other."
    )
    values = {"addresses": sorted(found), "times": times}
    return [graded(view, ID, grave, text, [claim.frame for claim in claims], values, advice)]


def _in_turn(view: View) -> list[Finding]:
    """Addresses that two hosts announce in turn, unasked: each takes it from the other."""
    asking, (told, cards) = view.side.capture.asking, view.once(doubly_claimed)
    found: dict[str, list[Claim]] = {}
    grave: list[str] = []
    for address in asking.claims.keys() - view.once(_of_several).keys():
        announced = _announced(view, address)
        hosts = Counter(claim.hardware for claim in announced)
        if len(hosts) != 2 or min(hosts.values()) < TURNS or address in told or address in cards:
            continue
        changes = [claim for before, claim in pairwise(announced) if before.hardware != claim.hardware]
        if len(changes) >= 2 * TURNS - 1 and announced[-1].ts - announced[0].ts <= len(changes) * TURN_NS:
            found[address] = changes
            soon = sum(
                SOON_NS < after.ts - before.ts <= BACK_NS for before, after in pairwise(changes)
            )  # two cards of one host announce together
            grave += [address] if soon >= 2 * TURNS - 2 else []
    found = {address: found[address] for address in grave or found}
    if not found:
        return []
    times = sum(map(len, found.values()))
    hardware = most(claim.hardware for changes in found.values() for claim in changes)
    text = (
        f"{most(found)} {'was' if len(found) == 1 else 'were'} taken in turn by different hardware addresses that announced it unasked ({hardware}): it moved "
        f"{plural(times, 'time')}."
    )
    advice = (
        "Two hosts have that address: find both by their hardware addresses (the switch's MAC table) and change the address of one. If they are a pair, of "
        "which one stands in for the other, both believe to be active: look at the link by which they hear each other."
    )
    values = {"addresses": sorted(found), "times": times}
    return [graded(view, ID, grave, text, [claim.frame for changes in found.values() for claim in changes], values, advice)]


def _taken(view: View) -> list[Finding]:
    """IPv6 addresses that a host wanted, and another one has."""
    asking = view.side.capture.asking
    found: dict[str, list[tuple[Claim, Claim]]] = {}
    for address, tests in asking.tested.items():
        claims = [claim for claim in asking.claims.get(address, ()) if claim.hardware]
        owners, asked = {claim.hardware for claim in claims}, {test.hardware for test in tests}
        if len(owners) != 1 or owners & asked or next(iter(owners)).startswith(SHARED):
            continue
        times = [claim.ts for claim in claims]
        for test in tests:
            at = bisect.bisect_left(times, test.ts)
            if at < len(times) and times[at] - test.ts <= TOLD_NS and not claims[at].answer:
                found.setdefault(address, []).append((test, claims[at]))
    if not found:
        return []
    pairs = [pair for group in found.values() for pair in group]
    one = len(found) == 1
    text = (
        f"{most(found)} {'is' if one else 'are'} in use already: {most(test.hardware for test, _ in pairs)} asked whether it may take "
        f"{'it' if one else 'them'}, and {most(claim.hardware for _, claim in pairs)} answered ({plural(len(pairs), 'time')})."
    )
    advice = "Give one of the two hosts another address; if DHCP gave it, take the other's address out of the server's range."
    frames = [each.frame for pair in pairs for each in pair]
    return [finding(view, ID, "problem", text, frames, {"addresses": sorted(found), "times": len(pairs)}, advice)]


def doubly_claimed(view: View) -> tuple[dict[str, list[list[Claim]]], dict[str, list[list[Claim]]]]:
    """By address, the answers of different hardware to one question each; and those of two cards of one host, which answer for all its addresses."""
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
    of = {address: frozenset(claim.hardware for claim in groups[0]) for address, groups in found.items()}
    cards = Counter(of.values())
    two_cards = {address: groups for address, groups in found.items() if cards[of[address]] > 1}
    return {address: groups for address, groups in found.items() if address not in two_cards}, two_cards


def _of_two(view: View) -> list[Finding]:
    found, _ = view.once(doubly_claimed)
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
    return [graded(view, ID, grave, text, frames, values, advice)]
