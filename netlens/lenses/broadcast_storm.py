"""Does the same broadcast come again and again, as where switches are connected in a circle?

Asks: whether one question by ARP came more than a hundred times within a second; whether one host asked by ARP a thousand times a second, for the same
    addresses again and again.
Applies: to ARP over Ethernet.
Cannot see: whether switches send the same frame in circles, or a host sends it anew without pause: a question by ARP has no number of its own. So this is a
    warning; a problem where one of the two hosts meanwhile could not be reached, or only after seconds.
Normal: a host asks for an address once a second at most (RFC 1122 2.3.2.1); who looks for hosts asks for many, for each a few times. A port that mirrors
    many others records each question as often at once, within a millisecond or two, and then no more. A thousand broadcasts a second fill a Wi-Fi channel, on
    which each goes at 1 Mbit/s and so takes about a millisecond (IEEE 802.11-2020 10.6.5.3, 15.2.3).
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from netlens.lenses import Finding
from netlens.lenses._connects import NOT_HEARD, OPEN, UNANSWERED, attempts
from netlens.lenses._view import S, View, finding, graded, grouped, most
from netlens.lenses.slow_connect import LONG_NS
from netlens.parsers.asking import Seen
from netlens.text import plural

ID = "broadcast-storm"
GROUP = "delivery"
RANK = 13  #: before connections that fail for it
MANY, MANY_NS = 2000, 2 * S  #: questions of one host, and within which time
EACH, ADDRESSES = 10, 16  #: of each of so many addresses in the middle; who looks for hosts asks two or three times (nmap, arp-scan)
KERNEL_NS = 900_000_000  #: between questions for one address: a second (RFC 1122 2.3.2.1), less what clocks differ
GOES_ON = 50  #: times within a second, copies within 2 ms (netlens.parsers.asking) left out


def _goes_on(times_ns: list[int]) -> bool:
    return any(later - earlier < S for earlier, later in zip(times_ns, times_ns[GOES_ON:], strict=False))


def look(view: View) -> list[Finding]:
    """At most one of one question, and one of many."""
    return [*_of_one(view), *_of_many(view)]


def _of_many(view: View) -> list[Finding]:
    """Hosts that ask for many addresses, again and again, so fast that it keeps all others busy."""
    by_host = grouped(view.side.capture.asking.sought.items(), lambda each: each[0][0])
    found: dict[str, list[int]] = {}
    paced: dict[str, bool] = {}
    rate = addresses = total = 0
    for host, asked in by_host.items():
        seen = sorted(each for _, times in asked for each in times)
        if ":" in host or len(asked) < ADDRESSES or len(seen) < MANY or median(len(times) for _, times in asked) < EACH:
            continue
        fastest = min(later.ts - first.ts for first, later in zip(seen, seen[MANY - 1 :], strict=False))
        if fastest <= MANY_NS:
            found[host] = [each.frame for each in seen]
            paced[host] = median(_pauses(asked)) >= KERNEL_NS
            rate, addresses, total = max(rate, MANY * S // max(fastest, 1)), addresses + len(asked), total + len(seen)
    if not found:
        return []
    verb = "fills" if all(paced.values()) else "floods"
    text = (
        f"{most(found)} {verb} the network with ARP: {total:,} questions, {rate:,} a second, for the same {plural(addresses, 'address', 'addresses')} again "
        "and again."
    )
    advice = (
        "Each one reaches all hosts of the network, and on Wi-Fi takes a millisecond of it: find that host by its hardware address (the switch's MAC "
        "table) and look for what runs there (a scanner without pause, a broken device)."
    )
    if all(paced.values()):  # a system's own pace, for each address
        text += " It may be a router that looks for them as somebody beyond it scans them all: see where what it forwards comes from."
    values = {"questions": total, "most_a_second": rate, "addresses": addresses, "hosts": sorted(found)}
    frames = [frame for each in found.values() for frame in each]
    return [graded(view, ID, not all(paced.values()), text, frames, values, advice)]


def _pauses(asked: list[tuple[tuple[str, str], list[Seen]]]) -> list[int]:
    """Of questions for one address, from each to the next (ns)."""
    return [later.ts - first.ts for _, times in asked for first, later in pairwise(sorted(times))]


def _of_one(view: View) -> list[Finding]:
    asking = view.side.capture.asking
    bursts = {pair: burst for pair, burst in asking.bursts.items() if _goes_on([seen.ts for seen in asking.sought.get(pair, ())])}
    if not bursts:
        return []
    times = max(burst.times for burst in bursts.values())
    asked = most(f"{target}, asked for by {source}" for source, target in bursts)
    text = f"The same broadcast came up to {times:,} times within a second ({plural(len(bursts), 'question')} by ARP: {asked})."
    hosts = {address for pair in bursts for address in pair}
    harmed = [
        a
        for a in view.once(attempts)
        if (a.outcome in (UNANSWERED, NOT_HEARD) or (a.outcome == OPEN and a.usable_ns - a.syn_ns[0] >= LONG_NS))
        and {a.client, a.server} & hosts
    ]
    if harmed:
        text = f"{text.removesuffix('.')}; {plural(len(harmed), 'connection')} of these hosts could not be opened meanwhile, or only after seconds."
    advice = "Look for switches that are connected in a loop (spanning tree, counters of broadcasts), or for a program on that host that asks without pause."
    return [
        finding(
            view,
            ID,
            "problem" if harmed else "warning",
            text,
            [*(burst.frame for burst in bursts.values()), *(frame for a in harmed for frame in a.syn_frames)],
            {"questions": len(bursts), "most_a_second": times, "connections": len(harmed)},
            advice,
        )
    ]
