"""Do two cards of one host answer for all its addresses?

Asks: whether the same two hardware addresses answer at once for the same two IP addresses or more.
Applies: where the answers to ARP are in the capture.
Cannot see: whether the host takes what comes by the other card (rp_filter), and whether the two are one host.
Normal: Linux answers by every card for all its addresses (arp_ignore 0), and most often nothing comes of it. Neighbours take the one or the other, so that
    traffic goes by a card that it was not meant for, or is dropped there. One address alone is address-conflict.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, most
from netlens.lenses.address_conflict import doubly_claimed
from netlens.text import plural

ID = "arp-flux"
GROUP = "handshakes"
RANK = 88


def look(view: View) -> list[Finding]:
    """At most one."""
    _, found = view.once(doubly_claimed)
    if not found:
        return []
    claims = [claim for groups in found.values() for group in groups for claim in group]
    times = sum(map(len, found.values()))
    text = (
        f"{most(claim.hardware for claim in claims)} both answer by ARP for {most(found)} ({plural(times, 'time')}), as two cards of one host in one "
        "network do (ARP flux): traffic comes by either."
    )
    advice = "If they are cards of one host, set arp_ignore=1 and arp_announce=2 there, or bond them."
    values = {"addresses": sorted(found), "times": times}
    return [finding(view, ID, "warning", text, [claim.frame for claim in claims], values, advice)]
