"""Which connections were refused?

Asks: whether a SYN was answered by RST, or by an ICMP error that says the port is unreachable or prohibited, and whether an INIT of SCTP was by an ABORT (RFC
    9260 5.1, 8.4): nothing listens there, or a firewall says no;
    whether the host itself says so in the server's name (its own firewall): nothing went on, though others to that address do;
    whether a service refuses some connections of a client and takes others in between, again and again.
Applies: where the SYN and the answer are in the capture.
Cannot see: a refusal inside a proxy or tunnel.
Normal: a client that tries ::1 and then 127.0.0.1, or the other address family, within a second (RFC 8305 5); a browser that tries HTTPS, and then HTTP at
    once; a client of SMB that tries 139 beside 445; routers whose peer is not up yet; who is asked by ident who it is. A program that asks until a service is
    up, or a service that starts anew, is refused in one run; one that serves a few connections at a time refuses while it has as many. RFC 9293 3.10.7.1 has a
    closed port answer with RST: traceroute by TCP wants that (SYNs with a TTL that rises from 1), and so does who looks which ports are open and sends nothing.
"""

from __future__ import annotations

import bisect
import itertools

from netlens.chains import visibility
from netlens.columns import MISSING
from netlens.lenses import Finding, Severity
from netlens.lenses._asked import visible
from netlens.lenses._connects import OPEN, REFUSED, Attempt, attempts, reached_after, scanning
from netlens.lenses._said import rules_to_look_at, said
from netlens.lenses._traced import tracing
from netlens.lenses._view import S, View, finding, graded, grouped, most
from netlens.parsers import connections
from netlens.text import endpoint, plural

ID = "connect-refused"
GROUP = "handshakes"
RANK = 15
AT_ONCE_NS = S  #: reached otherwise so soon: nobody noticed
SOON_NS = 5 * S  #: reached so soon: worth a look
DNS = 53
ROUTING = (179, 646)  #: BGP, LDP: both sides try until one gets through
IDENT = 113  #: by which servers of IRC and mail ask who their client is, and go on without (RFC 1413)
RUNS = 3  #: of refusals, each between two connections that were taken, within :data:`SOON_NS`; a service that starts anew makes one
LEFT_OPEN = 10  #: connections to a service that had all been left open when it refused more
LOOKS, LOOKS_NS = 3, 60 * S  #: ports of a host, each tried once, and in which time: by hand (nc -z), or by a monitor
PEERS, PEERS_SHARE = 10, 0.2  #: as for connect-unanswered


def look(view: View) -> list[Finding]:
    """At most one of TCP, and one of SCTP."""
    return [*_of_tcp(view), *_of_sctp(view)]


def _of_sctp(view: View) -> list[Finding]:
    all_ = view.side.capture.associations
    refused = [a for a in all_ if a.refused]
    if not refused:
        return []
    taken = {(a.client, a.port): a.ts for a in all_ if not a.refused}  # the last time, by any server
    by_tcp = {(a.client, a.port) for a in view.once(attempts) if a.outcome == OPEN}  # Diameter may come either way (RFC 6733 2.1)
    lasting = [a for a in refused if taken.get((a.client, a.port), a.ts - 1) < a.ts and (a.client, a.port) not in by_tcp]
    shown = lasting or refused
    end = "" if lasting else "; it was taken later, there or at another server, or over TCP"
    were = "was" if len(shown) == 1 else "were"
    text = f"{len(shown):,} of {plural(len(all_), 'association')} of SCTP {were} refused by {most(endpoint(a.server, a.port) for a in shown)}{end}."
    values = {"attempts": len(all_), "refused": len(shown), "icmp_errors": 0}
    advice = "Nothing listens on that port over SCTP, or the service does not know that client: look at the service and its list of peers."
    return [graded(view, ID, lasting, text, [f for a in shown for f in (a.frame, a.answer_frame)], values, advice)]


def _of_tcp(view: View) -> list[Finding]:
    all_ = view.once(attempts)
    left_out = view.once(scanning) | view.once(tracing)
    refused = [a for a in all_ if a.outcome == REFUSED and a.session not in left_out]
    all_ = [a for a in all_ if a.session not in view.once(tracing)]
    if not refused:
        return []
    lasting = [a for a in refused if not reached_after(view, a, AT_ONCE_NS)]
    grave = [a for a in lasting if not reached_after(view, a, SOON_NS) and a.port not in (*ROUTING, IDENT)]
    soon = len(lasting) > len([a for a in lasting if not reached_after(view, a, SOON_NS)])
    looked = _looked_at(view, all_, grave)
    if looked:
        grave = [a for a in grave if a.session not in looked]
    most_answered = False
    if grave:
        tried = {a.server for a in all_ if a.client == grave[0].client and a.port == grave[0].port}
        hosts = {a.server for a in grave}
        answered = {a.server for a in all_ if a.outcome == OPEN and a.port == grave[0].port}
        if len(tried) >= PEERS and len(hosts) < PEERS_SHARE * len(tried) and len(answered) > len(hosts):
            grave, most_answered = [], True
    between = [] if grave else _between(view, all_, refused)
    grave = grave or between
    shown = grave or lasting or refused
    where, grave_ones = {(a.server, a.port) for a in grave}, {a.session for a in grave}
    # refused like these, and reached soon after: by which of them it was reached says nothing of the others
    besides = [a for a in refused if (a.server, a.port) in where and a.session not in grave_ones] if grave and not between else []
    ident = all(a.port == IDENT for a in shown)
    severity: Severity = "problem" if grave else "warning" if lasting and not ident else "note"
    whom = most(endpoint(a.server, a.port) for a in shown)
    why = [
        "; a client looked which ports are open, and sent nothing" if any(a.session in looked for a in shown) else "",
        "; most others were reached" if most_answered else "",
        f"; a service was reached within {SOON_NS // S} s" if soon else "",
        "; a router tries again until its peer takes it" if any(a.port in ROUTING for a in shown) else "",
    ]
    ends = {"warning": next(filter(None, why), ""), "note": "; the service was reached within a second after all"}
    if ident:
        ends["note"] = "; by ident a server asks who its client is (RFC 1413), and goes on without"
    heard = [e for a in shown for e in a.said]
    by = f" ({said(heard)})" if heard else ""
    others = sorted({e.reporter for e in heard} - {a.server for a in shown})
    n = len(shown) + len(besides)
    were = "was" if n == 1 else "were"
    if between:
        ends["problem"] = ", which took others of the same client right before and after"
    left_open = 0 if not grave or between else _never_closed(view, all_, grave)
    if left_open:
        ends["problem"] = f"; {left_open:,} connections to it were open then, and none had been closed"
    elif besides:
        ends["problem"] = f"; {len(besides):,} of them reached it, or the same by another way, within {SOON_NS // S} s"
    by_host = _by_host(view) if shown and not heard else set()
    itself = bool(by_host) and all(a.session in by_host for a in (*shown, *besides))
    told = f"to {whom} {were} refused on the way" if others and len(heard) >= len(shown) else f"{were} refused by {whom}"
    if itself:
        told = f"to {whom} {were} refused by the host itself, which let nothing of {'it' if n == 1 else 'them'} out and sent the reset in the server's name"
    text = f"{n:,} of {plural(len(all_), 'connection attempt')} {told}{by}{ends.get(severity, '')}."
    values = {"attempts": len(all_), "refused": n, "icmp_errors": len(heard)}
    advice = (
        "Nothing listens on that port, or a firewall rejects: check that the service runs (ss -ltn) and that address and port are right."
    )
    if itself:
        advice = (
            "The host's firewall rejects (REJECT with tcp-reset), or sends what is for that address to a port of its own: look at its rules "
            "(nft list ruleset, or iptables-save)."
        )
    elif between:
        advice = (
            "Behind that address a server may be gone, while others serve: see to which it hands connections (endpoints, upstreams), and whether all run. If "
            "there is one alone, it ends and starts again and again."
        )
    elif left_open:
        advice = (
            "The service takes no more at once (its limit, or its queue of new connections, is full), as connections to it are opened and not closed: have the "
            "client close or use again what it has opened (a pool), and the service close what is idle."
        )
    elif others:
        advice = f"A firewall on the way rejects: look at the rules of {most(others)}."
    elif rules := rules_to_look_at(heard):
        advice = rules
    cut = [] if others or between or left_open else cut_short(view, shown)
    if cut:
        text = f"{text[:-1]}; it had answered over UDP that the answer is too long for it (TC, truncated): {most(cut)}."
        advice = (
            "DNS answers that do not fit into a datagram come over TCP (RFC 7766 5): let the server listen on TCP port 53, and firewalls pass it, or "
            "have it allow "
            "longer datagrams (EDNS)."
        )
    frames = [f for a in (*shown, *besides) for f in (a.syn_frames[0], a.answer_frame)]
    return [finding(view, ID, severity, text, frames, values, advice if grave else "")]


def cut_short(view: View, refused: list[Attempt]) -> list[str]:
    """Names of which servers of DNS that refuse TCP, or say nothing there, had truncated the answer; none unless all attempts are of such."""
    lookups = view.side.capture.part.lookups
    bare = lookups.bare() if lookups is not None else set()
    asked = [q for q in visible(view) if not bare.isdisjoint(q.answer_frames)] if bare and all(a.port == DNS for a in refused) else []
    told = {(q.client, r) for q in asked for r in q.resolvers}
    return [q.shown for q in asked] if told and {(a.client, a.server) for a in refused} <= told else []


def _by_host(view: View) -> set[int]:
    """Sessions that came in at the host and were answered there in the name of another machine: the host's capture, of all its interfaces, shows that the
    answer was sent and that nothing went on, though other connections to that address are translated and go on."""
    traffic = view.traffic
    if traffic is None or traffic.upstream.name != "host" or not visibility.of_all_interfaces(traffic.upstream):
        return set()
    side = traffic.upstream
    s, c, state = side.sessions, side.connections, side.capture.part.state()
    went_out = connections.opened_here(state)
    reached = {c["resp_ip"][row] for row, ip in enumerate(c["nat_ip"].tolist()) if ip is not None}
    onward = set(s.ints("orig_isn", MISSING)[went_out].tolist())
    answered = connections.came_in_here(state) & (connections.first_seen(state) & 0xFF == connections.SLL_OUTGOING).any(axis=1)
    names = ("orig_ip", "orig_port", "resp_ip", "resp_port", "orig_isn")
    here = {
        key for key, is_answered in zip(s.tuples(*names), answered.tolist(), strict=True)
        if is_answered and key[2] in reached and key[4] is not None and key[4] not in onward
    }  # fmt: skip
    return {k for k, key in enumerate(view.sessions.tuples(*names)) if key in here}


def _looked_at(view: View, all_: list[Attempt], refused: list[Attempt]) -> set[int]:
    """Sessions of a client that tries several ports of a host one after the other, and says nothing where it is taken: it looks which are open."""
    found: set[int] = set()
    sent = view.column("orig_bytes")
    pairs = {(a.client, a.server) for a in refused}
    for group in grouped((a for a in all_ if (a.client, a.server) in pairs), lambda a: (a.client, a.server)).values():
        opened, ports = [a for a in group if a.outcome == OPEN], {a.port for a in group}
        once = len(ports) == len(group) and max(a.syn_ns[0] for a in group) - min(a.syn_ns[0] for a in group) <= LOOKS_NS
        if len(ports) >= LOOKS and opened and once and not any(sent[a.session] for a in opened):
            found |= {a.session for a in group}
    return found


def _between(view: View, all_: list[Attempt], refused: list[Attempt]) -> list[Attempt]:
    """Refusals among connections of the same client to the same service that were taken, if they come again and again: one server of several is gone."""
    services = {a.service for a in refused if a.port not in ROUTING}
    found: list[Attempt] = []
    for mine in grouped((a for a in all_ if a.service in services), lambda a: a.service).values():
        mine.sort(key=lambda a: a.syn_ns[0])
        runs = [(outcome, list(group)) for outcome, group in itertools.groupby(mine, key=lambda a: a.outcome)]
        among = [
            run
            for (before, first), (outcome, run), (after, last) in zip(runs, runs[1:], runs[2:], strict=False)
            if (before, outcome, after) == (OPEN, REFUSED, OPEN) and last[0].syn_ns[0] - first[-1].syn_ns[0] <= SOON_NS
        ]
        these = [a for run in among for a in run]
        if len(among) >= RUNS and not _is_full(view, all_, these):
            found += these
    return found


def _never_closed(view: View, all_: list[Attempt], refused: list[Attempt]) -> int:
    """How many connections to a service were open when it began to refuse more; 0 if some were opened later, if any had been closed, or if there are few. A
    service that ends closes them (RFC 9293 3.10.7)."""
    services = {(a.server, a.port) for a in refused}
    opened = [a for a in all_ if a.outcome == OPEN and (a.server, a.port) in services]
    first, closed = min(a.syn_ns[0] for a in refused), view.column("closed_ns")
    is_so = len(services) == 1 and all(a.answer_ns < first and (closed[a.session] or first) >= first for a in opened)
    return len(opened) if is_so and len(opened) >= LEFT_OPEN else 0


def _is_full(view: View, all_: list[Attempt], refused: list[Attempt]) -> bool:
    """Whether a service that refused (mostly) had as many connections open then as it ever had: it may take no more at once."""
    server, port = refused[0].server, refused[0].port
    opened = [a for a in all_ if a.outcome == OPEN and (a.server, a.port) == (server, port)]
    closed = view.column("closed_ns")
    begun, over = sorted(a.answer_ns for a in opened), sorted(ns for a in opened if (ns := closed[a.session]) is not None)

    def open_at(ns: int) -> int:
        return bisect.bisect_right(begun, ns) - bisect.bisect_left(over, ns)

    most_at_once = max(map(open_at, begun))
    return 2 * sum(open_at(a.syn_ns[0]) >= most_at_once for a in refused) > len(refused)
