"""Do several DHCP servers offer addresses?

Asks: whether more than one server made an offer to one DISCOVER.
Applies: where the offers are in the capture; many are sent to the client alone, which a switch shows to nobody else.
Cannot see: which of the servers is meant to be there.
Normal: a client may get several offers and takes one (RFC 2131 3.1), as from a pair of servers that stand in for each other. A router that somebody plugged in
    is seen in the same way, and gives addresses that lead nowhere.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, grouped, most
from netlens.parsers.leases import OFFER, Message
from netlens.text import plural

ID = "dhcp-servers"
GROUP = "sight"
RANK = 90


def look(view: View) -> list[Finding]:
    offers = [(client, m) for client, messages in view.side.capture.leases.items() for m in messages if m.kind == OFFER]
    by_question: dict[tuple[str, int], list[tuple[str, Message]]] = grouped(offers, lambda each: (each[0], each[1].xid))
    several = [group for group in by_question.values() if len({m.server for _, m in group}) > 1]
    if not several:
        return []
    servers = sorted({m.server for group in several for _, m in group})
    text = f"{plural(len(servers), 'DHCP server')} answered the same DISCOVER: {most(servers)} ({plural(len(several), 'time')})."
    values = {"servers": servers, "questions": len(several)}
    return [finding(view, ID, "note", text, [m.frame for group in several for _, m in group], values)]
