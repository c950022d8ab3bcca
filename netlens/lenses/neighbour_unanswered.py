"""Which addresses of the local network did not answer?

Asks: whether ARP or neighbour discovery asked for an address again and again, and nobody claimed it; whether a host looked for a PPPoE server and found none.
Applies: where requests are in the capture, and so is something that came back to the host that asked (in a switched network others hear the requests
    alone). A host that asks five times, a second apart, shows by itself that nobody answers (RFC 1122 2.3.2.1), which is a warning; a problem where it
    asks on for one or two addresses, where the address had answered before and the host's connections get no answer since, or where the host then says of
    two connections and more that the address is unreachable (RFC 1122 3.2.2.1).
Cannot see: whether the host is off, in another network, or does not want to be found.
Normal: RFC 4861 10 asks three times, 1 s apart, and Linux does so for ARP; then the program is told that there is no route to the host. A host that asks for
    many addresses is looking around (a scanner, a router that is scanned), and a DHCP server asks whether an address is free. Linux' bonding asks for its
    neighbours once a second, answered or not (arp_interval): twenty questions at an even pace are a warning. Who sends something meanwhile is there, whoever
    asks. Who looks for a PPPoE server in vain waits longer each time (RFC 2516 8), so that its broadcasts (PADI) show by themselves that no offer (PADO) came;
    a warning if DHCP gives it an address, by which it may do.
"""

from __future__ import annotations

import itertools

import numpy as np

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._said import TCP, errors
from netlens.lenses._view import S, View, finding, graded, most, seconds
from netlens.parsers.asking import Seen
from netlens.parsers.icmp import HOST
from netlens.parsers.leases import ACK
from netlens.parsers.leases import SERVER as DHCP_SERVER
from netlens.text import plural

ID = "neighbour-unanswered"
GROUP = "handshakes"
RANK = 12
TIMES, LEAST_NS, MOST_NS = 3, S, 10 * S  #: asked so often, in so long
PROOF, PROOF_NS = 5, (S // 2, 2 * S)  #: so often, with such a time between
#: so often in a row, for so many addresses: two attempts to send (RFC 4861 10 asks three times for each), so a program tries again
AGAIN, FEW = 6, 2
OFTEN, EVEN = 20, 1.05  #: so often, with no pause longer than so many times the shortest: a clock asks, not a program that wants to send
CONNECTIONS = 2  #: that a host says were in vain: a program, or several, try again
SLOWER = 1.5  #: times as long as before; twice is asked for (RFC 2516 8)
MANY = 8  #: addresses that one host asks for in vain: it looks around


def look(view: View) -> list[Finding]:
    """Addresses, and servers of PPPoE."""
    return [*_addresses(view), *_of_pppoe(view)]


def _of_pppoe(view: View) -> list[Finding]:
    link = view.side.capture.link
    left = {host: seen for host, seen in link.sought.items() if host not in link.offered and _backs_off(seen)}
    if not left:
        return []
    served = {host for host in left if any(each.kind == ACK for each in view.side.capture.leases.get(host, ()))}
    grave = left.keys() - served
    left = {host: seen for host, seen in left.items() if host in grave} or left
    times, lasted = sum(map(len, left.values())), max(seen[-1].ts - seen[0].ts for seen in left.values())
    text = f"No PPPoE server answered {most(left)}: {plural(times, 'broadcast')} (PADI) over {seconds(lasted)}, not one offer (PADO)"
    text += "." if grave else "; it got an address by DHCP meanwhile."
    values = {"hosts": sorted(left), "requests": times, "longest_s": lasted / 1e9}
    advice = "The modem has no sync or bridges another VLAN (some providers want a tag), or nobody serves PPPoE there: look at its state, and at the tag."
    frames = [each.frame for seen in left.values() for each in seen]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _backs_off(seen: list[Seen]) -> bool:
    """Whether a host repeats itself and waits longer before the last time than before the second, at some place."""
    gaps = [b.ts - a.ts for a, b in itertools.pairwise(seen)]
    return any(a >= LEAST_NS and b >= SLOWER * a for a, b in itertools.pairwise(gaps))


def _addresses(view: View) -> list[Finding]:
    asking = view.side.capture.asking
    if not asking.sought:
        return []
    if stopped := _stopped(view):
        return stopped
    partners = _partners(view)
    lost: dict[str, list[tuple[str, str]]] = {}
    for (source, target), seen in asking.sought.items():
        if target in asking.claims or source in view.once(_dhcp) or not _insists(seen):
            continue
        if view.once(_spoke).get(target, 0) > seen[TIMES - 1].ts:
            continue
        if _near(partners, source) or (_proves(seen) and (source, target) not in view.once(_reached)):
            lost.setdefault(source, []).append((source, target))
    shown = [pair for pairs in lost.values() if len(pairs) <= MANY for pair in pairs]
    if not shown:
        return []
    # who has something else to talk to does not wait for this one, as far as is seen; with one partner alone, the capture may be the partner's
    others = {address for k in view.whole for address in view.ends(k)[::2]} | {t.source[0] for t in view.conversations}
    by_clock = {pair for pair in shown if _by_clock(asking.sought[pair])}
    grave = [pair for pair in shown if pair not in by_clock and pair[0] not in others and len(partners.get(pair[0], ())) > 1]
    in_vain = view.once(_in_vain)
    grave = grave or [pair for pair in shown if len(in_vain.get(pair, ())) >= CONNECTIONS]
    grave = grave or [pair for pair in shown if pair not in by_clock and len(shown) <= FEW and _proves(asking.sought[pair], AGAIN)]
    shown = grave or shown
    requests = sum(len(asking.sought[pair]) for pair in shown)
    lasted = max(asking.sought[pair][-1].ts - asking.sought[pair][0].ts for pair in shown)
    targets, sources = sorted({target for _, target in shown}), sorted({source for source, _ in shown})
    connections = sum(len(in_vain.get(pair, ())) for pair in shown)
    told = f", and told those who wanted to connect that it is unreachable ({plural(connections, 'connection')})" if connections else ""
    monitored = by_clock.issuperset(shown)
    if monitored:
        told += ", at an even pace, as a monitor does (bonding's arp_interval)"
    text = (
        f"Nobody answered for {most(target for _, target in shown)}: {most(source for source, _ in shown)} asked for "
        f"{'its' if len(targets) == 1 else 'their'} hardware address {plural(requests, 'time')} over {seconds(lasted)}{told}."
    )
    values = {"addresses": targets, "asked_by": sources, "requests": requests, "longest_s": lasted / 1e9, "connections": connections}
    advice = "The host is off, in another network (VLAN, netmask), or the address is wrong: look at ip neigh, and at the switch."
    frames = [each.frame for pair in shown for each in asking.sought[pair]]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, "" if monitored and not grave else advice)]


def _in_vain(view: View) -> dict[tuple[str, str], set[tuple[str, int]]]:
    """By who says so and of which address: the ends whose connections found nobody there."""
    found: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for e in view.once(errors):
        if e.protocol == TCP and e.what == HOST:
            found.setdefault((e.reporter, e.destination[0]), set()).add(e.source)
    return found


def _stopped(view: View) -> list[Finding]:
    """Addresses that had answered a host and do not any more, while its connections to others get no answer: its router."""
    asking = view.side.capture.asking
    found: list[tuple[str, str, list[Seen], int]] = []
    for (source, target), seen in asking.sought.items():
        if (target, source) not in asking.near or source in view.once(_dhcp) or len(seen) < PROOF:
            continue
        known = max(claim.ts for claim in asking.claims[target])
        later = [each for each in seen if each.ts > known]
        if len(found) < MANY and _proves(later) and (failed := _silent_since(view, source, target, later[0].ts)):
            found.append((source, target, later, failed))
    if not found:
        return []
    requests, failed = sum(len(later) for *_, later, _ in found), sum(n for *_, n in found)
    lasted = max(later[-1].ts - later[0].ts for *_, later, _ in found)
    targets, sources = sorted({target for _, target, *_ in found}), sorted({source for source, *_ in found})
    text = (
        f"{most(targets)} stopped answering for {'its' if len(targets) == 1 else 'their'} hardware address (ARP or neighbour discovery): {most(sources)} asked "
        f"{plural(requests, 'time')} over {seconds(lasted)}, and {plural(failed, 'connection')} of it got no answer meanwhile."
    )
    values = {"addresses": targets, "asked_by": sources, "requests": requests, "longest_s": lasted / 1e9, "connections": failed}
    advice = "The gateway or host is down, has moved, or the switch drops its answers: look at it, at ip neigh, and for a second one with its address."
    return [finding(view, ID, "problem", text, [each.frame for *_, later, _ in found for each in later], values, advice)]


def _silent_since(view: View, source: str, target: str, since: int) -> int:
    """Connections of a host on which it went on to send, and nothing came, since some time; 0 if it heard anybody else than hosts of its own network, or
    sent to the silent one alone, which may have been switched off."""
    claims, failed, beyond = view.side.capture.asking.claims, 0, False
    if view.once(_told_over_udp).get(source, 0) >= since:
        return 0
    for partner, sent, heard in view.once(_last).get(source, ()):
        if heard >= since and partner not in claims:
            return 0
        silent = sent >= since > heard
        failed += silent
        beyond |= silent and partner != target
    return failed if beyond else 0


def _told_over_udp(view: View) -> dict[str, int]:
    """By address, when it was last sent a datagram by who is not known to be of its own network."""
    claims, found = view.side.capture.asking.claims, dict[str, int]()
    for t in view.conversations:
        if t.source[0] not in claims:
            found[t.destination[0]] = max(t.last_ns, found.get(t.destination[0], 0))
    return found


def _last(view: View) -> dict[str, list[tuple[str, int, int]]]:
    """By address, of each of its connections: with whom, when it sent the last segment, and when it got the last one."""
    if view.trail is None:
        return {}
    t = view.trail.segments()
    last = np.zeros((2, view.sessions.rows), np.int64)
    np.maximum.at(last, (np.where(view.by_originator(), 0, 1), t["session"]), t["ts"])
    found: dict[str, list[tuple[str, int, int]]] = {}
    for k, (up, down) in enumerate(last.T.tolist()):
        client, server = view.ends(k)[::2]
        found.setdefault(client, []).append((server, up, down))
        found.setdefault(server, []).append((client, down, up))
    return found


def _insists(seen: list[Seen]) -> bool:
    """Whether somebody asked again and again, as a program waits, and not from time to time."""
    times = [each.ts for each in seen]
    return len(times) >= TIMES and any(LEAST_NS <= last - first <= MOST_NS for first, last in zip(times, times[TIMES - 1 :], strict=False))


def _by_clock(seen: list[Seen]) -> bool:
    """Whether somebody asks at an even pace, whatever comes of it."""
    gaps = [after.ts - before.ts for before, after in itertools.pairwise(seen)]
    return len(seen) >= OFTEN and max(gaps) <= EVEN * min(gaps)


def _spoke(view: View) -> dict[str, int]:
    """By address, when it last sent something that was captured."""
    found: dict[str, int] = {}
    said = [(t.source[0], t.last_ns) for t in view.conversations]
    said += [(address, sent) for address, partners in view.once(_last).items() for _, sent, _ in partners]
    for ping in view.side.capture.asking.pings.values():
        said += [(ping.source, each.ts) for each in ping.requests.values()]
        said += [(ping.destination, each.ts) for each in ping.answers.values()]
    for address, ts in said:
        found[address] = max(ts, found.get(address, 0))
    return found


def _proves(seen: list[Seen], times_in_a_row: int = PROOF) -> bool:
    """Whether somebody who had an answer would not have asked so."""
    times, run = [each.ts for each in seen], 1
    for before, after in itertools.pairwise(times):
        run = run + 1 if PROOF_NS[0] <= after - before <= PROOF_NS[1] else 1
        if run == times_in_a_row:
            return True
    return False


def _reached(view: View) -> set[tuple[str, str]]:
    """Who sent something to whom, and so knows the hardware address, or that of a router."""
    ends = [view.ends(k) for k in range(view.sessions.rows)]
    return (
        {(t.source[0], t.destination[0]) for t in view.conversations}
        | {pair for a, _, b, _ in ends for pair in ((a, b), (b, a))}
        | {(p.source, p.destination) for p in view.side.capture.asking.pings.values()}
    )


def _partners(view: View) -> dict[str, set[str]]:
    """Whom each address exchanged packets with, one to one."""
    asking = view.side.capture.asking
    pairs = set(asking.near) | {(e.reporter, e.told) for e in view.side.capture.icmp_errors}
    pairs |= {(view.ends(k)[0], view.ends(k)[2]) for k in view.whole}
    pairs |= {(t.source[0], t.destination[0]) for t in view.conversations if is_one_host(t.destination[0])}
    pairs |= {(p.destination, p.source) for p in asking.pings.values() if p.answers}
    found: dict[str, set[str]] = {}
    for a, b in pairs:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return found


def _near(partners: dict[str, set[str]], source: str) -> bool:
    """Whether what is told to ``source`` would be in the capture: not if all that it exchanged was with one host that has others, and so is the one
    that was captured at."""
    mine = partners.get(source, set())
    return len(mine) > 1 or any(len(partners[other]) == 1 for other in mine)


def _dhcp(view: View) -> set[str]:
    """Servers of DHCP, which ask whether an address is free before they give it away."""
    return {t.source[0] for t in view.conversations if t.source[1] == DHCP_SERVER}
