"""Which datagrams reached nobody?

Asks: whether an ICMP error says of UDP datagrams, of pings, or of other protocols (tunnels, SCTP) that their port, protocol, host or network is unreachable,
    prohibited, or too many hops away, or that fragments of them are missing, and nobody ever answered; and of which packets that are not in the
    capture errors say so.
Applies: where the errors are in the capture.
Cannot see: datagrams that are dropped in silence; what the program made of it.
Normal: a client that has closed its socket says so of answers that come late (RFC 1122 4.1.3.1), those to multicast among them; a service that answered
    before and stops; traceroute, which wants such errors; a stray error about what was sent before the capture began. Three pings and more are covered
    by ping-unanswered, TCP by connect-refused and connect-unanswered, DNS by dns-unanswered. Nobody waits for an answer to syslog or voice; whoever asks
    (QUIC, NTP, RADIUS, ...) does, unless it has the same over TCP or from another server (a VPN:
    TCP at any port of that server; of several peers of WireGuard, one may be away). Logs are lost, though, if all of them are answered so for seconds,
    and their sender has no other server for them (RFC 5426 5: it does not learn of it). What
    traceroute sends has few hops to make; what had 32 and more, and ran out of them, went in circles (RFC 1122 3.2.1.7: 64 are usual).
    A fragment may be lost as any packet may; not of all that two say to each other from a moment on, nor of most of a conversation. A host that says again and
    again that it does not speak one protocol is a problem for who sends it; who tries several looks around. A host that tells itself so of connections which
    are not in the capture, again and again, does not let them leave (a firewall of its own, or no neighbour there).
"""

from __future__ import annotations

from collections import Counter

from netlens.lenses import Finding, Severity
from netlens.lenses._datagrams import (
    PATIENT,
    SPARE,
    TUNNELS,
    VPN,
    answered,
    asks,
    by_tcp,
    has_other_peers,
    has_other_tunnel,
    requests,
    stands_in,
)
from netlens.lenses._said import ICMP, TCP, UDP, fate, rules_to_look_at, said, undelivered
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.lenses.ping_unanswered import TIMES as PINGS
from netlens.parsers.carried import KEPT
from netlens.parsers.icmp import EXPIRED, PROTOCOL, REASSEMBLY, Error
from netlens.parsers.trail import Conversation
from netlens.text import endpoint, plural

ID = "unreachable"
GROUP = "handshakes"
RANK = 81
DNS = 53
ANSWERS_FROM = (1900, 3702, 5353, 5355)  #: SSDP, WS-Discovery, mDNS, LLMNR: asked by multicast, answered to one
TIMES = 2  #: datagrams in vain; a single one may be a greeting to a peer that is gone
USUAL_HOPS = 32
MOST_LOST = 3  #: datagrams without an answer for each error; a host limits how often it says so, and some are still to come
REFUSALS, REFUSALS_NS = 3, 2 * S  #: errors of a host that does not speak a protocol
PROTOCOLS = {2: "IGMP", 4: "IP in IP (protocol 4)", 41: "IPv6 in IPv4 (protocol 41)", 47: "GRE (protocol 47)", 50: "ESP (protocol 50)", 51: "AH (protocol 51)",
             88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 115: "L2TPv3 (protocol 115)", 132: "SCTP (protocol 132)"}  # fmt: skip
CUT_OFF = 0.25  #: of the datagrams from one host to a service, when fragments of them are missing: no chance
OWN = 3  #: connections that a host does not let leave
LOGS, LOGS_NS = 3, 3 * S  #: errors about syslog, or a tunnel, and how long; a server that starts anew is there again sooner or later
TOLD_NS = 2 * S  #: Linux says so at most once a second after the first few (icmp_ratelimit)
REASSEMBLED_NS = 15 * S  #: a host waits at least so long for fragments (RFC 791 3.2; RFC 1122 3.3.2 wants 60 s, Linux takes 30)
_FRAGMENTS = "Something on the way drops fragments (a firewall, NAT): let them pass, or send what fits into one packet."
SHARE = 0.1  #: of all frames; a capture that holds little else was made to see such errors


def look(view: View) -> list[Finding]:
    """Datagrams, pings, other protocols, and what is not in it."""
    return [*_of(view), *_of_pings(view), *_of_protocols(view), *_of_others(view)]


def _of(view: View) -> list[Finding]:
    flows = {(destination, source): errors for (protocol, source, destination), errors in view.once(undelivered).items() if protocol == UDP}
    if not flows or view.trail is None:
        return []
    talks = {(c.source, c.destination): c for c in view.conversations}
    shown = []
    for (destination, source), errors in flows.items():
        asked = talks.get((source, destination))
        if asked is not None and (destination, source) not in talks and destination[1] != DNS and not _is_answer(source, destination):
            shown.append((asked, errors))
    if not shown:
        return []
    lost = _lost_logs(view, shown)
    waited = lost or any(asks(asked) not in ("", *PATIENT) and not _has_it(view, asked) for asked, _ in shown)
    waited = waited or any(_is_tunnel(view, asked, errors) for asked, errors in shown)
    sent = sum(asked.datagrams if _all_along(asked, errors) else len(errors) for asked, errors in shown)
    heard = [e for _, errors in shown for e in errors]
    whom = most(endpoint(*asked.destination) for asked, _ in shown)
    circling = all(asked.hops >= USUAL_HOPS and {e.what for e in errors} == {EXPIRED} for asked, errors in shown)
    became = f"went in circles, as a TTL of {USUAL_HOPS} and more ran out on the way" if circling else fate(heard)
    text = f"{plural(sent, 'datagram')} to {whom} {became}; {said(heard)}."
    values = {
        "flows": len(shown),
        "datagrams": sent,
        "icmp_errors": len(heard),
        "destinations": sorted({endpoint(*asked.destination) for asked, _ in shown}),
    }
    advice, why = "Check that the service runs (ss -lun) and that address and port are right.", "nothing listens there"
    if rules := rules_to_look_at(heard):
        advice, why = rules, "a firewall rejects them"
    if lost:
        advice = f"These logs are lost: {why}. {advice}"
    if circling:
        advice = f"Look at the routes of {most(e.reporter for e in heard)} and of the routers beside it (ip route)."
    elif {e.what for e in heard} == {REASSEMBLY}:
        advice = _FRAGMENTS
    frames = [f for asked, errors in shown for f in (asked.first_frame, *(e.frame for e in errors))]
    cut = _is_cut(view, shown)
    severity: Severity = "note" if sent < TIMES else "problem" if waited or circling or cut else "warning"
    return [finding(view, ID, severity, text, frames, values, advice)]


def _all_along(asked: Conversation, errors: list[Error]) -> bool:
    """Whether errors are about the first and the last datagrams, and so, as a host limits how often it says it, about those between."""
    return _reach([e.ts for e in errors], asked.first_ns, asked.last_ns)


def _reach(times: list[int], first_ns: int, last_ns: int) -> bool:
    """Whether errors come from the first datagram to the last."""
    return min(times) - first_ns <= TOLD_NS and last_ns - max(times) <= TOLD_NS


def _is_tunnel(view: View, asked: Conversation, errors: list[Error]) -> bool:
    """Whether who sends to the port of a tunnel hears again and again that nobody listens there, and has none elsewhere."""
    lasted = max(e.ts for e in errors) - min(e.ts for e in errors)
    if (
        asked.destination[1] not in TUNNELS
        or len(errors) < LOGS
        or lasted < LOGS_NS
        or _has_it(view, asked)
        or has_other_tunnel(view, asked)
    ):
        return False
    back = {c.source for c in view.conversations if c.destination[0] == asked.source[0]}
    return not any(end[1] in TUNNELS for end in back)


def _is_cut(view: View, shown: list[tuple[Conversation, list[Error]]]) -> bool:
    """Whether fragments are missing of much of what one host sends to another's service, for seconds: something drops them."""
    parts = grouped((e for _, errors in shown for e in errors if e.what == REASSEMBLY), lambda e: (e.source[0], e.destination))
    if not parts:
        return False
    sent = Counter[tuple[str, tuple[str, int]]]()
    for talk in view.conversations:
        sent[talk.source[0], talk.destination] += talk.datagrams
    times = {key: [e.ts for e in group] for key, group in parts.items()}
    return any(len(t) >= max(LOGS, CUT_OFF * sent[key]) and max(t) - min(t) >= LOGS_NS for key, t in times.items())


def _is_log(talk: Conversation) -> bool:
    """Whether a conversation begins by a priority of syslog, "<13>" (RFC 5424 6.2.1)."""
    head = talk.head.to_bytes(8, "big")
    digits, found, _ = head[1:5].partition(b">")
    return head[:1] == b"<" and bool(found) and digits.isdigit()


def _lost_logs(view: View, shown: list[tuple[Conversation, list[Error]]]) -> bool:
    """Whether a sender of syslog hears of all it sends to a server, from the first to the last, that nobody listens, and sends it to no other server."""
    errors: dict[tuple[str, tuple[str, int]], list[int]] = {}
    for asked, said_ in shown:
        if _is_log(asked):
            errors.setdefault((asked.source[0], asked.destination), []).extend(e.ts for e in said_)
    if not errors:
        return False
    sent: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
    for talk in filter(_is_log, view.conversations):
        of = sent.setdefault(talk.source[0], {})
        first, last = of.get(talk.destination, (talk.first_ns, talk.last_ns))
        of[talk.destination] = min(first, talk.first_ns), max(last, talk.last_ns)
    for (sender, server), times in errors.items():
        first, last = sent[sender][server]
        if len(sent[sender]) == 1 and len(times) >= LOGS and last - first >= LOGS_NS and _reach(times, first, last):
            return True
    return False


def _of_pings(view: View) -> list[Finding]:
    pings = view.side.capture.asking.pings.values()
    asked: Counter[tuple[str, str]] = Counter()
    for p in pings:
        asked[p.source, p.destination] += len(p.requests)
    known = {(p.source, p.destination) for p in pings if p.answers} | {pair for pair, n in asked.items() if n >= PINGS}
    speaking = {address for k in view.whole for address in view.ends(k)[::2]}
    found = [
        (whom, e)
        for (protocol, (source, _), (whom, _)), errors in view.once(undelivered).items()
        if protocol in ICMP and (source, whom) in asked and (source, whom) not in known and whom not in speaking
        for e in errors
    ]
    if not found:
        return []
    hosts = sorted({whom for whom, _ in found})
    sent = sum(n for (_, whom), n in asked.items() if whom in hosts)
    text = f"{plural(sent, 'ping')} to {most(whom for whom, _ in found)} {fate(e for _, e in found)}; {said(e for _, e in found)}."
    values = {"pings": sent, "icmp_errors": len(found), "destinations": hosts}
    advice = "Whoever says so has no route to that address, or a rule against it: look there."
    return [finding(view, ID, "warning", text, [e.frame for _, e in found], values, advice)]


def _of_protocols(view: View) -> list[Finding]:
    """Errors about packets of other protocols, which are not looked at one by one: tunnels, SCTP."""
    carried = view.side.capture.carried
    lost = {
        (protocol, source[0], destination[0]): group
        for (protocol, source, destination), group in view.once(undelivered).items()
        if _is_beside(view, protocol, source[0], destination[0]) and (protocol, destination[0], source[0]) not in carried
    }
    if not lost:
        return []
    asked = {pair: {p for p, *other in lost if tuple(other) == pair} for pair in {(source, destination) for _, source, destination in lost}}
    grave = {
        key: group
        for key, group in lost.items()
        if all(e.what == PROTOCOL and e.reporter == key[2] for e in group)
        and len(group) >= REFUSALS
        and group[-1].ts - group[0].ts >= REFUSALS_NS
        and len(asked[key[1:]]) == 1  # else somebody tries them all
    }
    shown = grave or lost
    found = [e for group in shown.values() for e in group]
    sent = sum(max(carried[key].packets if key in carried else 0, len(group)) for key, group in shown.items())
    names = most(PROTOCOLS.get(protocol, f"IP protocol {protocol}") for protocol, *_ in shown)
    hosts = sorted({destination for *_, destination in shown})
    text = f"{plural(sent, 'packet')} of {names} to {most(hosts)} {fate(found)}; {said(found)}."
    values = {"packets": sent, "icmp_errors": len(found), "destinations": hosts, "protocols": sorted({protocol for protocol, *_ in shown})}
    advice = (
        f"{most(hosts)} does not speak that protocol: set it up there (a tunnel, a kernel module), or look for another address."
        if grave
        else ""
    )
    severity = None if grave else _by_share(view, len(found))
    return [finding(view, ID, severity or "problem", text, [e.frame for e in found], values, advice)]


def _is_beside(view: View, protocol: int, source: str, destination: str) -> bool:
    """Whether packets of a protocol beside TCP, UDP and ICMP are in the capture, or may be, as it is none that is kept."""
    carried = view.side.capture.carried
    known = protocol not in KEPT or (protocol, source, destination) in carried or (protocol, destination, source) in carried
    return protocol not in (0, TCP, UDP, *ICMP) and known


def _by_share(view: View, n: int) -> Severity:
    return "warning" if n >= SHARE * view.side.capture.part.frames else "note"


def _of_others(view: View) -> list[Finding]:
    """Errors about packets of which neither direction is in the capture."""
    lost = view.once(undelivered)
    if not lost:
        return []
    known = {frozenset((c.source, c.destination)) for c in view.conversations}
    if TCP in {protocol for protocol, *_ in lost}:
        known |= {frozenset(view.way(k, True)) for k in range(view.sessions.rows)}
    pinged = {frozenset((p.source, p.destination)) for p in view.side.capture.asking.pings.values()}
    found = [
        e
        for (protocol, source, destination), errors in lost.items()
        if not _is_beside(view, protocol, source[0], destination[0])
        and (frozenset((source[0], destination[0])) not in pinged if protocol in ICMP else frozenset((source, destination)) not in known)
        and not (protocol in ICMP and view.side.capture.asking.traces(source[0], destination[0]))
        and not (protocol == UDP and _is_answer(source, destination))
        for e in errors
    ]
    parts = [e for e in found if e.what == REASSEMBLY]
    rest = [e for e in found if e.what != REASSEMBLY]
    own = [e for e in rest if e.protocol == TCP and e.reporter == e.told == e.source[0]]  # what a host tells itself
    severity: Severity | None = "problem" if len(own) >= OWN else None
    return [*(_cut(view) or _unseen(view, parts, "")), *_unseen(view, own if severity else rest, " not in the capture", severity)]


def _cut(view: View) -> list[Finding]:
    """Errors about fragments that are missing, where the same two had talked to each other, and who missed them said nothing any more since."""
    spoke = {(c.source, c.destination): c for c in view.conversations}
    cut = [
        e
        for (protocol, source, destination), errors in view.once(undelivered).items()
        if protocol == UDP and (asked := spoke.get((source, destination))) and (back := spoke.get((destination, source)))
        if len(parts := [e for e in errors if e.what == REASSEMBLY]) >= TIMES and back.last_ns <= parts[0].ts - REASSEMBLED_NS
        if asked.datagrams - back.datagrams <= MOST_LOST * len(parts)  # else most of what needs no answer arrives
        for e in parts
    ]
    return _unseen(view, cut, "", "problem")


def _unseen(view: View, found: list[Error], where: str, severity: Severity | None = None) -> list[Finding]:
    if not found:
        return []
    n = len(found)
    whom = most(endpoint(*e.destination) if e.destination[1] else e.destination[0] for e in found if e.destination[0])
    missing = f" that {'is' if n == 1 else 'are'}{where}" if where else ""
    text = f"{plural(n, 'packet')}{f' to {whom}' if whom else ''}{missing} {fate(found)}; {said(found)}."
    values = {"icmp_errors": n, "destinations": sorted({endpoint(*e.destination) for e in found if e.destination[0]})}
    advice = "" if where else _FRAGMENTS
    if severity and where:
        advice = f"{most(e.reporter for e in found)} did not let them leave: look at its own firewall, and at its routes and neighbours (ip route, ip neigh)."
    return [finding(view, ID, severity or _by_share(view, n), text, [e.frame for e in found], values, advice)]


def _is_answer(source: tuple[str, int], destination: tuple[str, int]) -> bool:
    """Whether a datagram went from a service to who had asked it."""
    return source[1] < destination[1] and (source[1] < 1024 or source[1] in ANSWERS_FROM)


def _has_it(view: View, asked: Conversation) -> bool:
    """Whether a client that asked in vain gets the same another way."""
    (client, _), server = asked.source, asked.destination
    others = [
        talks
        for (protocol, who, whom), talks in view.once(requests).items()
        if protocol in SPARE and (protocol, who) == (asks(asked), client) and stands_in(server, whom)
    ]
    if (asks(asked) == "WireGuard" and has_other_peers(view, asked.source, server)) or (
        asks(asked) in VPN and has_other_tunnel(view, asked)
    ):
        return True
    return by_tcp(view, client, *server) or any(answered(view, t) for talks in others for t in talks)
