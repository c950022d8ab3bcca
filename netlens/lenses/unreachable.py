"""Which datagrams found nobody?

Asks: whether an ICMP error says of UDP datagrams that their port, host or network is unreachable, prohibited, or too many hops away, and nobody ever answered.
Applies: where the datagrams and the errors are in the capture.
Cannot see: datagrams that are dropped in silence; what the program made of it.
Normal: a client that has closed its socket says so of answers that come late (RFC 1122 4.1.3.1), those to multicast among them; a service that answered
    before and stops; traceroute, which wants such errors. TCP is told by connect-refused and connect-unanswered, DNS by dns-unanswered. Nobody waits for an
    answer to syslog or voice; who asks (QUIC, NTP, RADIUS, ...) does, unless it has the same over TCP or from another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.lenses._datagrams import PATIENT, SPARE, answered, asks, by_tcp, requests
from netlens.lenses._said import UDP, said, undelivered
from netlens.lenses._view import finding, most, views
from netlens.text import endpoint, plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding, Severity
    from netlens.lenses._view import View
    from netlens.parsers.trail import Conversation

ID = "unreachable"
GROUP = "handshakes"
RANK = 81
DNS = 53
ANSWERS_FROM = (1900, 3702, 5353, 5355)  #: SSDP, WS-Discovery, mDNS, LLMNR: asked by multicast, answered to one
TIMES = 2  #: datagrams in vain; a single one may be a greeting to a peer that is gone


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view)]


def _of(view: View) -> list[Finding]:
    flows = {(destination, source): errors for (protocol, source, destination), errors in view.once(undelivered).items() if protocol == UDP}
    if not flows or view.trail is None:
        return []
    talks = {(c.source, c.destination): c for c in view.conversations}
    shown = []
    for (destination, source), errors in flows.items():
        asked = talks.get((source, destination))
        answer = source[1] < destination[1] and (source[1] < 1024 or source[1] in ANSWERS_FROM)
        if asked is not None and (destination, source) not in talks and destination[1] != DNS and not answer:
            shown.append((asked, errors))
    if not shown:
        return []
    waited = any(asks(asked) not in ("", *PATIENT) and not _has_it(view, asked) for asked, _ in shown)
    sent = sum(asked.datagrams for asked, _ in shown)
    heard = [e for _, errors in shown for e in errors]
    whom = most(endpoint(*asked.destination) for asked, _ in shown)
    text = f"{plural(sent, 'datagram')} to {whom} found nobody; {said(heard)}."
    values = {
        "flows": len(shown),
        "datagrams": sent,
        "icmp_errors": len(heard),
        "destinations": sorted({endpoint(*asked.destination) for asked, _ in shown}),
    }
    advice = "Check that the service runs (ss -lun) and that address and port are right."
    frames = [f for asked, errors in shown for f in (asked.first_frame, *(e.frame for e in errors))]
    severity: Severity = "note" if sent < TIMES else "problem" if waited else "warning"
    return [finding(view, ID, severity, text, frames, values, advice)]


def _has_it(view: View, asked: Conversation) -> bool:
    """Whether a client that asked in vain gets the same another way."""
    (client, _), server = asked.source, asked.destination
    others = [
        talks
        for (protocol, who, whom), talks in view.once(requests).items()
        if protocol in SPARE and (protocol, who) == (asks(asked), client) and whom != server
    ]
    return by_tcp(view, client, *server) or any(answered(view, t) for talks in others for t in talks)
