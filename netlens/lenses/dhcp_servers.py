"""Do several DHCP servers offer addresses, and do they agree? Does one refuse what it offers?

Asks: whether more than one server made an offer to one DISCOVER, with other routers or DNS servers; whether a client's requests for what it was offered are
    refused (NAK) each time.
Applies: where the offers are in the capture; many are sent to the client alone, which a switch shows to nobody else.
Cannot see: which of the servers is meant to be there.
Normal: a client may get several offers and takes one (RFC 2131 3.1), as from a pair of servers that stand in for each other and offer the same routers and
    DNS servers, in whatever order; a server for network boots offers neither. Two routers that serve a network together may each offer itself: that is a
    warning. Where one refuses what a client was offered by the other, or they offer addresses of different networks, they do not know of each other, as
    where somebody plugged in a router; not where a relay asks all of them, as somebody has set it to: two networks may share a link. A NAK to
    a host that comes from another network is followed by an offer and an ACK (RFC 2131 3.2).
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding, Severity
from netlens.lenses._view import S, View, finding, grouped, most, seconds
from netlens.parsers.leases import ACK, NAK, OFFER, Message
from netlens.text import plural

ID = "dhcp-servers"
GROUP = "handshakes"
RANK = 29  #: before what a NAK says
TIMES, SPAN_NS = 3, 3 * S  #: offers that were refused


def look(view: View) -> list[Finding]:
    """Several servers, and one that refuses what it offers."""
    return [*_several(view), *_refused(view)]


def _several(view: View) -> list[Finding]:
    leases = view.side.capture.leases
    offers = [(client, m) for client, messages in leases.items() for m in messages if m.kind == OFFER]
    by_question: dict[tuple[str, int], list[tuple[str, Message]]] = grouped(offers, lambda each: (each[0], each[1].xid))
    several = {key: [m for _, m in group] for key, group in by_question.items() if len({m.server for _, m in group}) > 1}
    if not several:
        return []
    differing = {key: group for key, group in several.items() if _differ(group, "routers") or _differ(group, "name_servers")}
    fighting = {key: group for key, group in differing.items() if _differ(group, "routers") and _apart(group, key[1], leases[key[0]])}
    shown = fighting or differing or several
    servers = sorted({m.server for group in shown.values() for m in group})
    text = f"{plural(len(servers), 'DHCP server')} answered the same DISCOVER: {most(servers)} ({plural(len(shown), 'time')})"
    values = {"servers": servers, "questions": len(shown)}
    severity: Severity = "problem" if fighting else "warning" if differing else "note"
    advice = ""
    if differing:
        what = "routers" if any(_differ(group, "routers") for group in shown.values()) else "DNS servers"
        names = {m.server: m.routers if what == "routers" else m.name_servers for group in shown.values() for m in group}
        text += f", with different {what}: {', '.join(f'{server} gives {most(given)}' for server, given in sorted(names.items()) if given)}"
        advice = "If only one is meant to serve here, find the other by the switch's MAC table, and let switches drop its offers (DHCP snooping)."
    return [finding(view, ID, severity, f"{text}.", [m.frame for group in shown.values() for m in group], values, advice)]


def _differ(offers: list[Message], what: str) -> bool:
    """Whether two servers give nothing of this in common."""
    given = {m.server: getattr(m, what) for m in offers if getattr(m, what)}
    return any(not one & other for one, other in itertools.combinations(given.values(), 2))


def _apart(offers: list[Message], xid: int, messages: list[Message]) -> bool:
    """Whether servers that offered do not know of each other: one refused the client, whom another one served, or their networks differ."""
    answers = [m for m in messages if m.xid == xid and m.kind in (ACK, NAK)]
    refused, served = ({m.server for m in answers if m.kind == kind} for kind in (NAK, ACK))
    networks = {m.server: m.network for m in offers if m.network}
    return bool(refused and served - refused) or (len(set(networks.values())) > 1 and not all(m.relayed for m in offers))


def _refused(view: View) -> list[Finding]:
    found: dict[str, list[Message]] = {}
    for client, messages in view.side.capture.leases.items():
        offered = {(m.xid, m.server) for m in messages if m.kind == OFFER}
        refused = {m.xid: m for m in messages if m.kind == NAK and (m.xid, m.server) in offered}
        in_vain = list(refused.values())
        if len(in_vain) >= TIMES and in_vain[-1].ts - in_vain[0].ts >= SPAN_NS and not any(m.kind == ACK for m in messages):
            found[client] = in_vain
    if not found:
        return []
    frames = [m.frame for group in found.values() for m in group]
    lasted = max(group[-1].ts - group[0].ts for group in found.values())
    servers = most(m.server for group in found.values() for m in group)
    text = f"{servers} offered {most(found)} an address by DHCP and refused it (NAK) {plural(len(frames), 'time')} over {seconds(lasted)}; no ACK came."
    advice = f"Look at the log of {servers}: the address is taken, its range is full, or another server answers in its name."
    return [finding(view, ID, "problem", text, frames, {"clients": len(found), "refused": len(frames), "longest_s": lasted / 1e9}, advice)]
