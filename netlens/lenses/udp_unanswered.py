"""Which requests over UDP got no answer?

Asks: whether a client that opened a conversation over UDP by a request (QUIC, DTLS, WireGuard, OpenVPN, IKE, L2TP, GTP, NTP, SNMP, RADIUS, SIP, Kerberos,
    RPC, CoAP, RDP, DHCP) sent it again for seconds and heard nothing.
Applies: where the first datagram is in the capture and its sender hears something in it (of QUIC, WireGuard, RDP and DHCP, always). DNS is told by
    dns-unanswered, ICMP errors by unreachable.
Cannot see: whether the request or the answer was lost, or a firewall dropped it; protocols over UDP that it does not know.
Normal: RFC 9002 6.2.2 and RFC 9147 5.8 send a first flight again after 1, 2 and 4 s. A browser that has no way for QUIC takes TCP (RFC 9114 3.1), a client
    of NTP or RADIUS another server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlens.addresses import is_one_host
from netlens.lenses._datagrams import PATIENT, SPARE, answered, by_tcp, hearing, requests
from netlens.lenses._said import UDP, undelivered
from netlens.lenses._view import S, finding, most, seconds, views
from netlens.parsers.leases import DISCOVER, REQUEST
from netlens.text import endpoint, plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View
    from netlens.parsers.leases import Message
    from netlens.parsers.trail import Conversation

ID = "udp-unanswered"
GROUP = "handshakes"
RANK = 15
TIMES, SPAN_NS = 3, 3 * S  #: as SYNs of connect-unanswered
BY_TCP = ("QUIC", "RDP")  #: whose clients have TCP as well
BY_ITSELF = ("QUIC", "RDP", "WireGuard")  #: whose repeated first datagrams prove that no answer came, whatever else is in the capture
ATTEMPT_NS = 600 * S  #: clients that gave up try again after some minutes
AGAIN_NS = S // 2  #: a DHCP message that comes again sooner was recorded twice, or handed on by a relay
LEFT_ALONE = 4  #: messages without an answer: an answer or two may be lost
SOON_NS = 2 * S  #: another try that was answered so soon


@dataclass
class Silent:
    """A service that did not answer a client."""

    protocol: str
    server: tuple[str, int]
    talks: list[Conversation]  # without an answer
    made_up: bool  # nobody waited: the client got what it wanted another way, or asks from time to time

    @property
    def tried(self) -> int:
        return max(t.datagrams for t in self.talks)

    @property
    def lasted_ns(self) -> int:
        return max(t.last_ns - t.first_ns for t in self.talks)


def look(traffic: Traffic) -> list[Finding]:
    """Of each capture at most one, and one of DHCP."""
    return [found for view in views(traffic) for found in [*_of(view), *_leases(view)]]


def _silent(view: View) -> list[Silent]:
    if view.one_sided or view.trail is None:
        return []
    told = view.once(undelivered)
    asked, heard = view.once(requests), view.once(hearing)
    content = {key for key, talks in asked.items() if any(answered(view, t) for t in talks)}
    found = []
    for (protocol, client, server), talks in asked.items():
        heard_of = [t for t in talks if answered(view, t)]
        open_ = [
            t
            for t in talks
            if not answered(view, t)
            and t.datagrams >= TIMES
            and t.last_ns - t.first_ns >= SPAN_NS
            and (UDP, t.source, t.destination) not in told
            and not any(a.first_ns <= t.last_ns + SOON_NS and a.last_ns >= t.first_ns for a in heard_of)
        ]
        if open_ and (client in heard or protocol in BY_ITSELF):
            instead = (protocol in BY_TCP and by_tcp(view, client, *server)) or (
                protocol in SPARE and any(key[:2] == (protocol, client) and key[2] != server for key in content)
            )
            found.append(Silent(protocol, server, open_, instead or protocol in PATIENT))
    return found


def _of(view: View) -> list[Finding]:
    every = _silent(view)
    grave = [s for s in every if not s.made_up]
    shown = grave or every
    if not shown:
        return []
    tries = sum(map(len, view.once(requests).values()))
    silent = sum(len(s.talks) for s in shown)
    longest = max(s.lasted_ns for s in shown)
    text = (
        f"{silent:,} of {plural(tries, 'try', 'tries')} to reach a server over UDP ({', '.join(sorted({s.protocol for s in shown}))}) got no answer: "
        f"{most(endpoint(*s.server) for s in shown)} (up to {max(s.tried for s in shown)} datagrams over {seconds(longest)})."
    )
    values = {
        "unanswered": silent,
        "tries": tries,
        "servers": sorted({endpoint(*s.server) for s in shown}),
        "datagrams": sum(t.datagrams for s in shown for t in s.talks),
        "longest_s": longest / 1e9,
        "protocols": sorted({s.protocol for s in shown}),
    }
    advice = "The service is down, or something drops UDP on its port: look there (ss -lun) and at the firewalls between, and capture at the server's side."
    served = {server for (_, _, server), talks in view.once(requests).items() if any(answered(view, t) for t in talks)}
    if all(s.server in served for s in shown):
        advice = "It answered others, so it ignored these, or they were lost: look at its log (a secret or a client that it does not know)."
    frames = [t.first_frame for s in sorted(shown, key=lambda s: -s.lasted_ns) for t in s.talks]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice if grave else "")]


def _leases(view: View) -> list[Finding]:
    """Clients of DHCP that repeat what they asked and are told nothing."""
    left = {client: run for client, messages in view.side.capture.leases.items() if (run := _in_vain(messages))}
    if not left:
        return []
    longest = max(run[-1].ts - run[0].ts for run in left.values())
    text = f"No DHCP server answered {most(left)}: {plural(sum(map(len, left.values())), 'request')} over {seconds(longest)}."
    values = {"clients": len(left), "datagrams": sum(map(len, left.values())), "longest_s": longest / 1e9, "protocols": ["DHCP"]}
    others = any(map(is_one_host, view.once(hearing)))  # whose traffic was recorded; the client is a neighbour whose broadcasts are heard
    grave = max(map(len, left.values())) >= LEFT_ALONE and not others
    advice = "No DHCP server is on this network, or it has no address left, or something drops its answers: look there, and at the relay or VLAN between."
    frames = [m.frame for run in left.values() for m in run]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice if grave else "")]


def _in_vain(messages: list[Message]) -> list[Message]:
    """The longest run of a client's DISCOVERs, or of one REQUEST, that shows that it was told nothing; [] if none does.

    Who is offered an address asks for it (REQUEST), which ends a run of DISCOVERs as any answer does.
    """
    longest: list[Message] = []
    run: list[Message] = []
    for m in messages:
        goes_on = run and m.ts - run[-1].ts <= ATTEMPT_NS and m.kind == run[-1].kind and (m.kind == DISCOVER or m.xid == run[-1].xid)
        if goes_on and m.ts - run[-1].ts < AGAIN_NS:
            continue
        run = [*run, m] if goes_on else [m] if m.kind in (DISCOVER, REQUEST) else []
        if len(run) >= TIMES and run[-1].ts - run[0].ts >= max(SPAN_NS, longest[-1].ts - longest[0].ts if longest else 0):
            longest = run
    return longest
