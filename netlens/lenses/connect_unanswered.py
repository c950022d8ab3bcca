"""Which connections were never answered?

Asks: whether SYNs stayed without SYN+ACK and without RST, however often they were repeated, until their client closed what it had not got, or met a
    connection that the server still held; which ICMP error says why; whether no connection over IPv6 is answered while those over IPv4 are; whether one
    address of a name costs a second and more each time until the next one is tried; whether another address answers than was asked; whether the answers do
    not arrive, as routers say, or come in another VLAN; whether each is reset beside the client's own TCP, which asks on; whether SYNs go in circles; whether
    a server answered many SYNs of many addresses after which nothing came, or had no room for so many (RFC 4987).
Applies: where the SYNs are in the capture and what their sender hears would be.
Cannot see: without an ICMP error, whether the SYN or its answer was lost, or a firewall dropped it. A SYN at the end of the capture is pending.
Normal: RFC 6298 2.1 and 5.5: a SYN is repeated after 1, 2 and 4 s, by Linux since 6.5 at first after 1 s each. One address of several that is silent while
    another is connected at once costs nobody anything (RFC 8305 5), nor does one connection of which the next one opens, but some hundred ms each time where
    it is so with all of IPv6; among peers of a peer-to-peer program some are always gone. A server that still holds an old connection of these ports is told
    so by a RST, and takes the next SYN (RFC 9293 3.5.1). A capture of SYNs and SYN+ACKs alone shows no handshake completed; a server that repeats its SYN+ACK
    shows that it was not (RFC 9293 3.8.1). Who wants a connection sends its SYN again, who only wants to fill a server's queue does not. A TCP that resets
    has given up; only where a SYN+ACK acknowledges something else it says so and waits for the right one (RFC 9293 3.10.7.3). A packet that is seen several
    times with fewer hops left passes routers of one machine; sixteen times, no way is so long (RFC 2453 3.2).
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from itertools import pairwise
from statistics import median
from typing import TypeVar

import numpy as np

from netlens.lenses import Finding, Severity
from netlens.lenses._came_to_nothing import reset_in_its_name, rounds, turned_back
from netlens.lenses._connects import (
    HALF_OPEN,
    NOT_HEARD,
    OPEN,
    UNANSWERED,
    Attempt,
    aliases,
    attempts,
    by_ipv4,
    most_within,
    reached_after,
    scanning,
)
from netlens.lenses._elsewhere import misplaced
from netlens.lenses._ignored import ignored_answers, reason
from netlens.lenses._said import errors, said
from netlens.lenses._view import LONGER, S, View, finding, graded, grouped, most, seconds, up_to
from netlens.lenses.connect_refused import cut_short
from netlens.parsers.icmp import EXPIRED, REDIRECT, Error
from netlens.text import endpoint, plural

T = TypeVar("T")
ID = "connect-unanswered"
GROUP = "handshakes"
RANK = 14
SYNS, SPAN_NS = 3, 2 * S  #: three SYNs over 2 s: the answer to the first had twice the time-out of RFC 6298
ELSEWHERE_NS = 2 * S  #: another address of the service that was reached so soon
LEFT = 3  #: connections that never opened, though the next one did
#: SYNs of so many addresses that a server answers and that lead to nothing, of all; and SYN+ACKs repeated, of these, where nobody completes a handshake
MANY, MANY_SHARE, REPEATED_SHARE = 100, 0.5, 0.1
#: Of SYNs without an answer, not sent again; a server that is busy hears nearly all of them again after a second (RFC 6298 2.1)
LONE_SHARE = 0.9
#: SYNs that were answered before the first one that was not; of scanners a filter lets by now one, now another
ROOM = 10
#: Of a service's connections that are not in the capture as a whole (Zeek's policy/misc/capture-loss): the recorder missed answers as well
UNSEEN_SHARE = 0.1
#: What a client waits until it takes the next address: as long as for one SYN that was lost; and how many of its connections to the others begin so
FELT_NS, SHARE = S, 0.1
#: Of the times between tries of a dead address that are so near their median: a monitor asks each address of a name by its own timetable
STEADY_SHARE, STEADY = 0.75, 0.05
FALLBACKS = 3  #: connections over IPv6 in vain, within more than a moment; of one or two that server may not be there
FLOOD_NS = 60 * S  #: Linux holds a SYN for 63 s; in a day as many scanners come by
SHOWER_NS = S // 2  #: scanners and clients of an outage come one by one
TAKEN_NS = 5 * S  #: a SYN that was taken at last, so soon
DNS, FTP = 53, 21
FEW_NAMES = 2  #: other addresses of a hardware address; a router answers for many
USUAL_HOPS = 32  #: with which packets begin at least
KNOCK_NS = S
OWN_PORTS = 1024  #: from here on programs choose
PEERS, PEERS_SHARE = 10, 0.2  #: of so many hosts on a port, fewer than this share silent: peers that are gone


def look(view: View) -> list[Finding]:
    """Services that never answered, such that answered some connections, and such that others answered for."""
    return [*_misplaced(view), *_turned_back(view), *_reset(view), *_in_circles(view), *_of(view)]


def _turned_back(view: View) -> list[Finding]:
    """Services whose answers do not arrive, as routers on their way say."""
    found = []
    for (client, server, port), group in grouped(_told_of(view, turned_back), lambda each: view.service(each.session)).items():
        heard, synacks = [e for each in group for e in each.said], sum(len(each.synacks) for each in group)
        expired = all(e.what == EXPIRED for e in heard)
        became = f"did not arrive, as their TTL ran out on the way ({plural(len(heard), 'time')})" if expired else "did not arrive"
        text = (
            f"{plural(len(group), 'connection')} from {client} to {endpoint(server, port)} never opened: the answers of {server} "
            f"({plural(synacks, 'SYN+ACK')}) {became}; {said(heard)}."
        )
        values = {"unanswered": len(group), "clients": [client], "servers": [server], "synacks": synacks, "icmp_errors": len(heard)}
        whom, hops = most(e.reporter for e in heard), max(each.hops for each in group)
        advice = f"The way back is broken: look at the routes and neighbours of {whom} (ip route, ip neigh), and at its firewall."
        if expired:
            advice = f"Packets to {client} go in circles: look at the routes of {whom} and of the routers beside it (ip route)."
            if 0 < hops < USUAL_HOPS:
                values["ttl"] = hops
                advice = (
                    f"The answers had a TTL of {hops} where they were captured: {server}, or what rewrites its packets, sends them with one that is too low "
                    f"(net.ipv4.ip_default_ttl, net.ipv6.conf.all.hop_limit, a TTL rule in a firewall)."
                )
        frames = [f for each in group for f in (*(e.frame for e in each.said), *each.synacks)]
        found.append(finding(view, ID, "problem", text, frames, values, advice))
    return found


def _reset(view: View) -> list[Finding]:
    """Clients whose connections somebody else resets in their name as soon as they are answered."""
    found = []
    for (client, server, port), group in grouped(_told_of(view, reset_in_its_name), lambda each: view.service(each.session)).items():
        resets, syns = sum(len(each.resets) for each in group), sum(len(each.syns) for each in group)
        text = (
            f"{plural(len(group), 'connection')} from {client} to {endpoint(server, port)} never opened: {server} answered, and each answer (SYN+ACK) "
            f"was reset "
            f"(RST) in the name of {client}, which sent its SYN again all the same ({plural(resets, 'RST')}, {plural(syns, 'SYN')})."
        )
        values = {"unanswered": len(group), "clients": [client], "servers": [server], "syns": syns, "resets": resets}
        advice = (
            f"A TCP that resets does not go on to ask, so something else resets: a firewall or a security program on {client} or right before it. Look at its "
            f"rules and its log."
        )
        frames = [f for each in group for three in zip(each.syns, each.synacks, each.resets, strict=False) for f in three]
        found.append(finding(view, ID, "problem", text, frames, values, advice))
    return found


def _in_circles(view: View) -> list[Finding]:
    """Services to which SYNs go in circles."""
    shown = _told_of(view, rounds)
    if not shown:
        return []
    worst = max(shown, key=lambda each: len(each.frames))
    services = grouped(shown, lambda each: view.service(each.session))
    text = (
        f"{plural(len(shown), 'connection')} to {most(endpoint(*view.ends(each.session)[2:]) for each in shown)} never opened: routers send the SYNs of "
        f"{most(client for client, *_ in services)} to each other in a loop ({up_to(shown)}{len(worst.frames)} times, while the hop limit (TTL) fell from "
        f"{worst.first} to {worst.last})."
    )
    values = {"unanswered": len(shown), "times": len(worst.frames), "servers": sorted({server for _, server, _ in services})}
    advice = (
        f"Each of two routers takes the other one for the way to {most(server for _, server, _ in services)}: look at the routes of both (ip route "
        f"get), and for "
        "a network that is announced and not there (a route to nowhere for the rest of it, RFC 7084 W-5, ends such loops)."
    )
    return [finding(view, ID, "problem", text, [f for each in shown for f in each.frames], values, advice)]


def _told_of(view: View, of: Callable[[View], list[T]]) -> list[T]:
    """Nothing where a capture is one-sided."""
    return [] if view.one_sided else view.once(of)


def _misplaced(view: View) -> list[Finding]:
    """Services for which another address answers."""
    found = []
    by_ends = grouped(view.once(misplaced), lambda m: (*view.service(m.session), view.server(m.answered_by)))
    for (client, server, port, other), group in by_ends.items():
        syns = sorted(ns for m in group for ns in m.syn_ns)
        if len(syns) < SYNS or syns[-1] - syns[0] < SPAN_NS:
            continue
        what = "rejects the answer (RST)" if any(m.reset for m in group) else "ignores the answer"
        text = (
            f"{plural(len(group), 'connection')} from {client} to {endpoint(server, port)} never opened ({plural(len(syns), 'SYN')}): {other} answers in its "
            f"place. {client} did not ask that address, and {what}."
        )
        values = {"unanswered": len(group), "syns": len(syns), "clients": [client], "servers": [server]}
        advice = (
            "A router or firewall translates the address on the way there, and the answer does not come back through it: translate the client's address as "
            "well (hairpin NAT), have both directions take one way, or let the client use the server's own address (split DNS)."
        )
        found.append(finding(view, ID, "problem", text, [f for m in group for f in m.frames], values, advice))
    return found


def _of(view: View) -> list[Finding]:
    if view.one_sided:
        return []
    left_out = view.once(scanning)
    silent = [a for a in view.once(attempts) if a.outcome == UNANSWERED and a.session not in left_out and a.client not in view.heard_unseen]
    knocks = _knocks(view, silent)
    flood = {a.session for each in (_flooded, _showered) for left in view.once(each).values() for a in left}
    flood |= {each.session for each in view.once(rounds)}
    silent = [a for a in silent if a.session not in knocks and a.session not in flood]
    if view.once(_of_syns_alone):  # a filter, and some answers may take another way
        opened = {(a.server, a.port) for a in view.once(attempts) if a.outcome == OPEN}
        silent = [a for a in silent if (a.server, a.port) not in opened]
    groups = grouped(silent, lambda a: a.service)
    given_up, early = [], []
    for group in groups.values():
        syns = sorted(t for a in group for t in a.syn_ns)
        last = view.end_of(group[0].syn_frames[0]) - syns[0]
        left = any(a.left_ns - a.syn_ns[0] >= SPAN_NS for a in group)  # somebody waited so long
        if (len(syns) >= SYNS and syns[-1] - syns[0] >= SPAN_NS) or left or any(a.said for a in group):
            given_up.append(group)
        elif last >= SPAN_NS:
            early.append(group)
    given_up = [group for group in given_up if not reached_after(view, group[0], ELSEWHERE_NS) or _waited(view, group)]
    early = [group for group in early if not reached_after(view, group[0], ELSEWHERE_NS)]
    grave = [group for group in given_up if not _peers(view, group[0])]
    shown = grave or given_up or early
    answering = {a.service for a in view.once(attempts) if a.outcome == OPEN}
    some = [group for group in shown if group[0].service in answering]
    never = [group for group in shown if group[0].service not in answering]
    severity: Severity = "problem" if grave else "warning"
    shown_already = {a.session for group in shown for a in group}
    fell_back = [a for a in silent if a.session not in shown_already]
    told = {each.session for each in view.once(turned_back)} | {each.session for each in view.once(rounds)}
    deaf = [a for a in view.once(attempts) if a.outcome == NOT_HEARD and a.session not in told]
    stuck = [a for a in view.once(attempts) if a.outcome == HALF_OPEN and not reached_after(view, a, TAKEN_NS)]
    return [
        *_not_heard(view, deaf),
        *_unfinished(view),
        *_in_showers(view),
        *_half_open(view, stuck),
        *(_never(view, never, severity) if never else []),
        *(_some(view, some, severity) if some else []),
        *_by_ipv4(view, fell_back),
        *_by_another(view, fell_back),
    ]


def _of_syns_alone(view: View) -> bool:
    """Whether no session has more than SYNs and SYN+ACKs."""
    syns = {a.session: a.syns + a.synacks for a in view.once(attempts)}
    up, down = view.column("orig_frames"), view.column("resp_frames")
    return all(up[k] + down[k] <= syns.get(k, 0) for k in view.first_copies)


def _not_heard(view: View, deaf: list[Attempt]) -> list[Finding]:
    """Servers whose answers do not arrive: they and the client repeat themselves."""
    if not deaf:
        return []
    n, all_ = len(deaf), len(view.once(attempts))
    clients, servers = most(a.client for a in deaf), most(endpoint(a.server, a.port) for a in deaf)
    text = (
        f"{n:,} of {plural(all_, 'connection')} never opened: {servers} answered, but {clients} did not receive the answer "
        f"({up_to(deaf)}{plural(max(a.synacks for a in deaf), 'SYN+ACK')})."
    )
    values = {"unanswered": n, "connections": all_, "synacks": sum(a.synacks for a in deaf)}
    why = ignored_answers(view, deaf)
    if why:
        text = f"{text[:-1]}: {why.text}."
    cloned = {} if why else {a.client: others for a in deaf if (others := _of_one_card(view, a.client))}
    if len(cloned) == len({a.client for a in deaf}):
        both = most(address for client, others in cloned.items() for address in (client, *sorted(others)))
        text = f"{text[:-1]}; {both} have one hardware address."
    advice = (
        why.advice
        if why
        else (
            "The way back is broken: look at routes and firewalls from the server to the client, and capture at the client's side. "
            "If this is the client's own capture, its firewall drops the answers."
        )
    )
    if cloned and "one hardware address" in text:
        advice = (
            "If these are two machines, one was cloned from the other: give each a hardware address (MAC) of its own; switches send to one of them. "
            f"{advice}"
        )
    return [finding(view, ID, "problem", text, [f for a in deaf for f in (*a.syn_frames, a.answer_frame)], values, advice)]


def _of_one_card(view: View, address: str) -> set[str]:
    """Other addresses, one or two, for which the hardware address of a host answers as well, and that were heard in the capture."""
    claims = view.side.capture.asking.claims
    cards = {claim.hardware for claim in claims.get(address, ()) if claim.hardware}
    others = {other for other, told in claims.items() if other != address and cards & {claim.hardware for claim in told}}
    heard = {a.client for a in view.once(attempts) if a.outcome == OPEN and a.usable_ns}
    return others if len(others) <= FEW_NAMES and others <= heard else set()


def _flooded(view: View) -> dict[tuple[str, int], list[Attempt]]:
    """Services with many SYNs that lead to nothing: they were answered, and then came no acknowledgment and no RST, though time was left; or a server that
    answers some, and does not complete those either, has no room for more, and nobody sends them again, as who wants a connection does (RFC 9293 3.8.1).
    Nothing is said where a part of the service's connections was not recorded as a whole."""
    last, reset = view.side.bounds_ns[1] - S, view.column("rst_ns")
    tried = grouped((a for a in view.once(attempts) if a.outcome in (OPEN, UNANSWERED)), lambda a: (a.server, a.port))
    found: dict[tuple[str, int], list[Attempt]] = {}
    for service, group in tried.items():
        opened = [a for a in group if a.outcome == OPEN]
        left = [a for a in opened if not a.usable_ns and reset[a.session] is None and a.answer_ns <= last]
        if not left or len(left) < MANY_SHARE * len(opened):
            continue
        more_than_syns = any(a.usable_ns for a in opened) or sum(a.synacks > 1 for a in left) >= REPEATED_SHARE * len(left)
        lone = [a for a in group if a.outcome == UNANSWERED and len(a.syn_ns) == 1 and not a.said and a.syn_ns[0] <= last]
        lone = lone if len(lone) >= LONE_SHARE * sum(a.outcome == UNANSWERED and a.syn_ns[0] <= last for a in group) else []
        first = min((a.syn_ns[0] for a in lone), default=0)
        lone = lone if sum(a.answer_ns < first for a in left) >= ROOM else []
        # a TCP that is answered acknowledges or resets, so that of few addresses each counts
        many = most_within([*left, *lone], lambda a: a.client, FLOOD_NS) >= MANY or _alone_in_vain(left) >= MANY
        if more_than_syns and many and not _is_sampled(view, service):
            found[service] = [*left, *lone]
    return found


def _alone_in_vain(left: list[Attempt]) -> int:
    """Most SYNs within some time that were answered in vain and not sent again, as a client does that does not hear the answer."""
    return most_within([a for a in left if a.syns == 1], lambda a: a.session, FLOOD_NS)


def _showered(view: View) -> dict[tuple[str, int], list[Attempt]]:
    """Services with SYNs of many addresses at once, of which none is answered, and none sent again though time was left. A host may have no way back to
    addresses that are forged, or a filter drops what is too much. Nothing is said where the capture may hold SYNs alone."""
    if view.once(_of_syns_alone) and not view.side.capture.asking.claims and not view.conversations:
        return {}
    last, flooded = view.side.bounds_ns[1] - SPAN_NS, view.once(_flooded)
    tried = grouped((a for a in view.once(attempts) if a.outcome in (OPEN, UNANSWERED)), lambda a: (a.server, a.port))
    found: dict[tuple[str, int], list[Attempt]] = {}
    for service, group in tried.items():
        lone = [a for a in group if a.outcome == UNANSWERED and len(a.syn_ns) == 1 and not a.said and a.syn_ns[0] <= last]
        most_ = len(lone) >= max(LONE_SHARE * sum(a.outcome == UNANSWERED for a in group), MANY_SHARE * len(group), MANY)
        if most_ and service not in flooded and most_within(lone, lambda a: a.client, SHOWER_NS) >= MANY and not _is_sampled(view, service):
            found[service] = lone
    return found


def _in_showers(view: View) -> list[Finding]:
    """Services with SYNs of many addresses at once that lead to nothing."""
    found = view.once(_showered)
    if not found:
        return []
    shown = [a for lone in found.values() for a in lone]
    clients = len({a.client for a in shown})
    text = (
        f"{plural(len(shown), 'SYN')} to {most(endpoint(*service) for service in found)} came from {plural(clients, 'address', 'addresses')} at once, as in a "
        "SYN flood: none was answered, and nobody sent them again."
    )
    values = {"unfinished": len(shown), "connections": sum((a.server, a.port) in found for a in view.once(attempts)), "clients": clients}
    return [finding(view, ID, "warning", text, [a.syn_frames[0] for a in shown], values)]


def _is_sampled(view: View, service: tuple[str, int]) -> bool:
    """Whether a part of a service's connections is not in the capture as a whole."""
    saw_syn, missing = view.column("saw_syn"), view.missing_bytes
    theirs = [k for k in view.first_copies if view.ends(k)[2:] == service]
    return sum(not saw_syn[k] or missing[k] > 1 for k in theirs) >= UNSEEN_SHARE * len(theirs)


def _unfinished(view: View) -> list[Finding]:
    """Services with many SYNs that lead to nothing."""
    found = view.once(_flooded)
    if not found:
        return []
    shown = [a for left in found.values() for a in left]
    lone = sum(a.outcome == UNANSWERED for a in shown)
    all_ = sum((a.server, a.port) in found and a.outcome in (OPEN, UNANSWERED) for a in view.once(attempts))
    clients = len({a.client for a in shown})
    text = (
        f"{len(shown):,} of {plural(all_, 'connection')} to {most(endpoint(*service) for service in found)} were never completed: the server answered, "
        f"and nothing came after it, from {plural(clients, 'address', 'addresses')}."
    )
    if lone:
        text = (
            f"{len(shown):,} of {plural(all_, 'connection')} to {most(endpoint(*service) for service in found)} came to nothing, as in a SYN flood, from "
            f"{plural(clients, 'address', 'addresses')}: the server answered {len(shown) - lone:,}, and nothing came after it; {lone:,} SYNs it did not "
            "answer, and nobody sent them again."
        )
    advice = (
        "From many addresses that you do not know this is a SYN flood: use SYN cookies (net.ipv4.tcp_syncookies=1), and limit SYNs before the server. "
        "From your own, the server's answers do not reach them: look at the way back."
    )
    values = {"unfinished": len(shown), "connections": all_, "clients": clients}
    return [finding(view, ID, "problem", text, [f for a in shown for f in (*a.syn_frames[:1], a.answer_frame)], values, advice)]


def _half_open(view: View, stuck: list[Attempt]) -> list[Finding]:
    """Servers that answer a SYN by an ACK of another connection, again and again."""
    if not stuck:
        return []
    n, all_ = len(stuck), len(view.once(attempts))
    clients, servers = most(a.client for a in stuck), most(endpoint(a.server, a.port) for a in stuck)
    tries = sum(len(a.syn_ns) for a in stuck)
    text = (
        f"{n:,} of {plural(all_, 'connection')} never opened: {servers} answered with an ACK of an older connection, which {clients} reset "
        f"({plural(tries, 'try', 'tries')})."
    )
    values = {"unanswered": n, "connections": all_, "tries": tries}
    grave = any(len(group) > 1 or len(group[0].syn_ns) > 1 for group in grouped(stuck, lambda a: a.service).values())
    advice = (
        "The server, or a firewall or load balancer before it, still holds a connection on these ports, and the resets do not reach it: look there "
        "(ss -tan, connection tracking), and do not use the same client port again so soon."
    )
    frames = [f for a in stuck for f in (*a.syn_frames, a.answer_frame)]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _some(view: View, shown: list[list[Attempt]], severity: Severity) -> list[Finding]:
    """Of services that answered other connections of the same client."""
    services = {g[0].service for g in shown}
    tried = sum(a.service in services for a in view.once(attempts))
    failed = [a for g in shown for a in g]
    syns = max(len(a.syn_ns) for a in failed)
    took = max(a.span_ns for a in failed)
    one = "one SYN each" if len(failed) > 1 else "one SYN"
    how = f"{up_to(failed)}{plural(syns, 'SYN')} over {seconds(took)}" if syns > 1 else one
    whom = most(endpoint(a.server, a.port) for a in failed)
    heard = [e for a in failed for e in a.said]
    why = reason(view, failed) if not heard else None
    told = said(heard) if heard else why.text if why else ""
    text = f"{len(failed):,} of {plural(tried, 'connection')} to {whom} never got an answer ({how}), though others did{f'; {told}' if told else ''}."
    values = {"unanswered": len(failed), "connections": tried, "services": len(services), "syns": sum(len(a.syn_ns) for a in failed)}
    advice = (
        "The server takes no more connections (ss -ltn there: Recv-Q at Send-Q means a full accept queue, as its program does not accept), "
        "or something on the way drops some of them: one link of several (LAG, ECMP), or one host of those behind a balancer."
    )
    if why:
        advice = why.advice
    if heard:
        advice = f"For a while {most(e.reporter for e in heard)} could not reach it: look at the routes, links and neighbours there (ip route, ip neigh)."
    frames = [f for a in failed for f in (*a.syn_frames, *(e.frame for e in a.said))]
    return [finding(view, ID, severity, text, frames, values, advice)]


def _waited(view: View, group: list[Attempt]) -> bool:
    """Whether a client waited in vain for several connections to a service, and reached it in no other way meanwhile, though afterwards."""
    return sum(len(a.syn_ns) >= SYNS and a.span_ns >= SPAN_NS and not reached_after(view, a, 0) for a in group) >= LEFT


def _never(view: View, shown: list[list[Attempt]], severity: Severity) -> list[Finding]:
    services = {(g[0].server, g[0].port) for g in shown}
    n = len(services)
    whom = most(endpoint(g[0].server, g[0].port) for g in shown)
    syns = [t for g in shown for a in g for t in a.syn_ns]
    tried = max(sum(len(a.syn_ns) for a in g) for g in shown)
    took = max(max(a.syn_ns[-1] for a in g) - g[0].syn_ns[0] for g in shown)
    all_ = len({(a.server, a.port) for a in view.once(attempts)})
    how = f"{up_to(shown)}{tried} tries over {seconds(took)}" if tried > 1 else "one try each" if len(shown) > 1 else "one try"
    if len(shown) == 1 and len(shown[0]) > 1:
        how = f"{plural(len(shown[0]), 'connection')}, {how}"
    heard = [e for g in shown for a in g for e in a.said]
    why = reason(view, [a for g in shown for a in g]) if not heard else None
    told = said(heard) if heard else why.text if why else ""
    who = f"{n:,} of {plural(all_, 'server')} never answered a connection: {whom}"
    if services <= {(a.server, a.port) for a in view.once(attempts) if a.outcome == OPEN}:
        clients, asked = {g[0].client for g in shown}, {a.client for a in view.once(attempts) if (a.server, a.port) in services}
        who = f"{len(clients):,} of {plural(len(asked), 'client')} ({most(clients)}) never got an answer from {whom}"
    text = f"{who} ({how}){f'; {told}' if told else ''}."
    values = {"unanswered": n, "services": all_, "syns": len(syns), "longest_s": took / 1e9, "icmp_errors": len(heard)}
    advice = (
        "The host is off, the port is filtered, or there is no route back: test with nc -vz HOST PORT, and capture at the server's side."
    )
    ports: dict[str, set[int]] = {}
    for a in view.once(attempts):
        if a.outcome == OPEN:
            ports.setdefault(a.server, set()).add(a.port)
    if all(ports.get(g[0].server, set()) - {g[0].port} for g in shown):
        advice = "The host answers on other ports, so a firewall drops this one, or its program does not accept connections: check both at the server."
    if {g[0].port for g in shown} == {DNS}:
        advice = "DNS answers that are too long for UDP come over TCP: allow TCP port 53 to the resolver."
        if cut := cut_short(view, [a for g in shown for a in g]):
            text = f"{text[:-1]}; it had answered over UDP that the answer is too long for it (TC, truncated): {most(cut)}."
    if _not_passed(view, shown):
        advice = (
            "The host's capture has none of these SYNs: unless it was recorded with a filter or on another interface, something between the VM and the host "
            "drops them (a firewall, a route)."
        )
    if why:
        advice = why.advice
    waits = [by_ipv4(view, a) if ":" in a.server else None for g in shown for a in g]
    if not told and None not in waits:
        typical = median(wait for wait in waits if wait is not None)
        instead = most(endpoint(*each) for g in shown for a in g for each in _instead(view, a))
        text = f"{text[:-1]}; each time its client went on by IPv4{f' ({instead})' if instead else ''}, typically {seconds(typical)} later."
        values["wait_s"] = typical / 1e9
        advice = (
            "IPv6 is announced (AAAA) and leads nowhere: look at its route from here to the server and back, or announce none. A program that tries both at "
            "once (RFC 8305) does not wait."
        )
    passive = [_passive(view, g[0]) for g in shown]
    if not told and (controls := [each for each in passive if each]) and len(controls) == len(shown):
        named = most(endpoint(*each) for each in controls)
        other = all(each[0] != g[0].server for each, g in zip(controls, shown, strict=True))
        text = f"{text[:-1]}; {named} had just named {'that address and port' if other else 'that port'} for data of FTP (passive mode)."
        advice = (
            "The server names an address of its own network: tell it which one clients reach (pasv_address of vsftpd, MasqueradeAddress of ProFTPD), or let "
            "clients use that of the control connection, or EPSV (RFC 2428)."
            if other
            else "Let the server's range of ports for passive mode through its firewall (pasv_min_port and pasv_max_port of vsftpd), or have that follow FTP."
        )
    redirects = [] if told else [view.once(redirected_to).get((g[0].client, g[0].server), []) for g in shown]
    redirects = [[e for e in group if e.ts <= g[0].syn_ns[-1] + SPAN_NS] for group, g in zip(redirects, shown, strict=False)]
    if redirects and all(redirects):
        every = [e for group in redirects for e in group]
        gateways = most(e.gateway for e in every)
        text = f"{text[:-1]}; {most(e.reporter for e in every)} had told to send that by {gateways} (ICMP redirect, {plural(len(every), 'time')})."
        advice = (
            f"See whether {gateways} is up and knows the way, and take that route from the router that says so, or have it send no redirects "
            f"(net.ipv4.conf.all.send_redirects=0), or hosts take none (accept_redirects=0). {advice}"
        )
    if any(e.what == EXPIRED for e in heard):
        advice = f"Packets go in circles: look at the routes of {most(e.reporter for e in heard)} and of the routers beside it (ip route)."
    elif heard:
        advice = f"The host is off, or {most(e.reporter for e in heard)} has no route to it: look at the routes and neighbours there (ip route, ip neigh)."
    frames = [f for g in shown for a in g for f in (*a.syn_frames, *(e.frame for e in a.said))]
    return [finding(view, ID, severity, text, frames, values, advice)]


def redirected_to(view: View) -> dict[tuple[str, str], list[Error]]:
    """ICMP redirects (RFC 792) by who was told, and about which destination."""
    return grouped((e for e in view.once(errors) if e.what == REDIRECT), lambda e: (e.told, e.destination[0]))


def _instead(view: View, failed: Attempt) -> list[tuple[str, int]]:
    """What a client reached by IPv4 when a SYN over IPv6 got no answer."""
    wait = by_ipv4(view, failed)
    at = None if wait is None else failed.syn_ns[0] + wait
    return [(a.server, a.port) for a in view.once(attempts) if a.syn_ns[0] == at and a.port == failed.port and a.outcome == OPEN]


def _passive(view: View, failed: Attempt) -> tuple[str, int] | None:
    """The server of FTP that had told a client where to come for data (227 and 229: RFC 959 4.1.2, RFC 2428 3) right before it did."""
    for k in view.whole:
        client, server, port = view.service(k)
        if port == FTP and client == failed.client:
            seg = view.segments(k)
            told = (seg.ts[i] for i in range(len(seg)) if not seg.orig[i] and seg.text(i)[:4] in (b"227 ", b"229 "))
            if any(0 <= failed.syn_ns[0] - ts <= S for ts in told):
                return server, port
    return None


def _by_ipv4(view: View, silent: list[Attempt]) -> list[Finding]:
    """Clients of which no connection over IPv6 is answered, while the same service is reached by IPv4 (RFC 8305 5) each time."""
    over6 = [
        a for a in silent if ":" in a.server and not a.server.startswith("fe80") and view.end_of(a.syn_frames[0]) - a.syn_ns[0] >= SPAN_NS
    ]
    if len(over6) < FALLBACKS:
        return []
    near = _by_ipv6(view, {a.client for a in over6})
    waits = {a.session: wait for a in over6 if a.client not in near and (wait := by_ipv4(view, a)) is not None}
    tried = Counter(a.client for a in view.once(attempts) if ":" in a.server)
    left = Counter(a.client for a in over6 if a.session in waits)
    clients = {client for client, n in left.items() if n >= FALLBACKS and n == tried[client]}
    times = grouped((a for a in over6 if a.client in clients), lambda a: a.client)
    clients = {client for client, group in times.items() if group[-1].syn_ns[0] - group[0].syn_ns[0] >= SPAN_NS}
    shown = [a for a in over6 if a.client in clients]
    if not shown:
        return []
    typical = median(waits[a.session] for a in shown)
    text = (
        f"IPv6 does not work for {most(clients)}: none of {plural(len(shown), 'connection')} over it got an answer "
        f"({most(endpoint(a.server, a.port) for a in shown)}), and all went on by IPv4, typically {seconds(typical)} later."
    )
    told = {told for _, told in view.side.capture.asking.near}
    values = {"unanswered": len(shown), "connections": len(view.once(attempts)), "wait_s": typical / 1e9}
    advice = "Look at the route of IPv6 from here to the outside and back (ping -6), or announce none (router advertisements, AAAA) where there is none."
    return [finding(view, ID, "problem" if clients & told else "warning", text, [f for a in shown for f in a.syn_frames], values, advice)]


def _by_another(view: View, silent: list[Attempt]) -> list[Finding]:
    """Addresses that answer nobody, of names that have others as well: each time a client begins with one it waits, as its timer has it, and goes on with the
    next. Who tries the next one within :data:`FELT_NS` waits for nobody (RFC 8305 5: 250 ms)."""
    answering = {(a.server, a.port) for a in view.once(attempts) if a.outcome == OPEN}
    tried = grouped(view.once(attempts), lambda a: (a.client, a.port))
    found: list[tuple[Attempt, Attempt]] = []
    for (client, server, port), group in grouped(silent, lambda a: a.service).items():
        others = aliases(view, server)
        if len(group) < LEFT or (server, port) in answering or not others or any(a.said for a in group) or _is_steady(group):
            continue
        theirs = sorted((a for a in tried[client, port] if a.server in others), key=lambda a: a.syn_ns[0])
        begun = [a.syn_ns[0] for a in theirs]
        at = [bisect.bisect_right(begun, a.syn_ns[0]) for a in group]
        went = [(a, theirs[k]) for a, k in zip(group, at, strict=True) if k < len(theirs) and theirs[k].outcome == OPEN]
        waits = [b.syn_ns[0] - a.syn_ns[0] for a, b in went]
        if len(went) < len(group) or min(waits) < FELT_NS or max(waits) > LONGER * min(waits) or len(went) < SHARE * len(theirs):
            continue
        found += went
    if not found:
        return []
    typical = median(b.syn_ns[0] - a.syn_ns[0] for a, b in found)
    text = (
        f"{most(endpoint(a.server, a.port) for a, _ in found)} never answered ({plural(len(found), 'connection')}): each time "
        f"{most(a.client for a, _ in found)} went on to another address of that name ({most(b.server for _, b in found)}), typically {seconds(typical)} later."
    )
    values = {"unanswered": len(found), "connections": len(view.once(attempts)), "wait_s": typical / 1e9}
    advice = "Take that address out of the DNS until its host is up again, or bring it up; who tries both addresses at once (RFC 8305) does not wait."
    return [finding(view, ID, "problem", text, [f for a, b in found for f in (*a.syn_frames, *b.syn_frames[:1])], values, advice)]


def _is_steady(group: list[Attempt]) -> bool:
    """Whether tries come at equal intervals."""
    between = [b.syn_ns[0] - a.syn_ns[0] for a, b in pairwise(group)]
    typical = median(between)
    return sum(abs(ns - typical) <= STEADY * typical for ns in between) >= STEADY_SHARE * len(between)


def _by_ipv6(view: View, clients: set[str]) -> set[str]:
    """Those of some addresses that are told something from outside their network (of 64 bits: RFC 4291 2.5.1)."""
    heard = {ends for k in view.whole for ends in (view.ends(k)[::2], view.ends(k)[2::-2]) if ends[0] in clients}
    heard |= {(t.destination[0], t.source[0]) for t in view.conversations if t.destination[0] in clients}
    heard |= {(p.source, p.destination) for p in view.side.capture.asking.pings.values() if p.answers and p.source in clients}
    return {told for told, by in heard if not by.startswith("fe80") and _network(told) != _network(by)}


def _network(address: str) -> int:
    return int(ip_address(address)) >> 64


def _knocks(view: View, silent: list[Attempt]) -> set[int]:
    """Sessions of one SYN that is never repeated, with another port of the same server tried right behind: port knocking."""
    single = [a for a in silent if len(a.syn_ns) == 1 and not a.said]
    if not single:
        return set()
    tried = grouped(view.once(attempts), lambda a: (a.client, a.server))
    order = {key: sorted((a.syn_ns[0], a.port) for a in group) for key, group in tried.items()}
    found = set()
    for a in single:
        times = order[a.client, a.server]
        low, high = (bisect.bisect_left(times, (a.syn_ns[0] + ns, 0)) for ns in (0, KNOCK_NS))
        if any(port != a.port for _, port in times[low:high]):
            found.add(a.session)
    return found


def _not_passed(view: View, shown: list[list[Attempt]]) -> bool:
    """Whether the host's capture shows other connections of the VM, and none to these services."""
    traffic = view.traffic
    if view.side is not traffic.vm or traffic.pairing is None or not (traffic.pairing.host_of >= 0).any():
        return False
    s = traffic.upstream.sessions
    there = set(s.tuples("resp_ip", "resp_port"))
    first, last = traffic.upstream.bounds_ns
    sent = traffic.clock.to_host(np.array([t for g in shown for a in g for t in a.syn_ns], np.int64))
    return bool((sent >= first).all() and (sent <= last).all()) and not any((g[0].server, g[0].port) in there for g in shown)


def _peers(view: View, failed: Attempt) -> bool:
    """Whether this is one of many hosts on its port (or each on one of its own, where an ICMP error tells at the first try), most of which answer."""
    any_port = bool(failed.said) and failed.port >= OWN_PORTS
    tried, silent = view.once(_hosts)[failed.client, 0 if any_port else failed.port]
    return tried >= PEERS and silent < PEERS_SHARE * tried


def _hosts(view: View) -> dict[tuple[str, int], tuple[int, int]]:
    """By client and port (0: any that programs choose): hosts that it tried, and how many of these never answered."""
    tried: dict[tuple[str, int], dict[str, bool]] = {}
    for a in view.once(attempts):
        for port in (a.port, 0) if a.port >= OWN_PORTS else (a.port,):
            answered = tried.setdefault((a.client, port), {})
            answered[a.server] = answered.get(a.server, False) or a.outcome == OPEN
    return {key: (len(answered), sum(not each for each in answered.values())) for key, answered in tried.items()}
