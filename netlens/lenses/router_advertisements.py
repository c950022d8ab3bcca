"""Do two routers give the hosts of one network addresses of different prefixes?

Asks: whether router advertisements of two routers on one interface name no prefix in common.
Applies: where they are in the capture, in frames of Ethernet without a tag.
Cannot see: which of the routers is meant to be there.
Normal: routers of one network say the same (RFC 4861 6.2.7). A network with two uplinks has a prefix of each on purpose (RFC 8028), so this is no more than a
    warning; a host that shares its own connection, or a router that somebody plugged in, looks the same (RFC 6104). One that has no route to give (lifetime 0),
    leaves by saying so, or moves to another prefix, is none.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, grouped, most
from netlens.parsers.routers import Advertised

ID = "router-advertisements"
GROUP = "handshakes"
RANK = 89


def look(view: View) -> list[Finding]:
    """At most one."""
    shown = [each for said in view.side.capture.router_advertisements.values() for each in _apart(said)]
    if not shown:
        return []
    routers = grouped(shown, lambda each: each.router)
    told = most(f"{router} ({', '.join(sorted(said[-1].prefixes))})" for router, said in routers.items())
    text = f"{len(routers)} routers advertise different prefixes to the hosts of one network: {told}."
    prefixes = sorted({prefix for each in shown for prefix in each.prefixes})
    advice = "If only one of them is meant to, find the other by its address (the switch's MAC table), and let switches drop its advertisements (RA guard)."
    return [finding(view, ID, "warning", text, [each.frame for each in shown], {"routers": sorted(routers), "prefixes": prefixes}, advice)]


def _apart(said: list[Advertised]) -> list[Advertised]:
    """What routers say of which no two ever named the same prefix, where there are several."""
    left = {router for router, (*_, last) in grouped(said, lambda each: each.router).items() if not last.prefixes}
    said = [each for each in said if each.router not in left and each.prefixes]
    ever: dict[str, frozenset[str]] = {}
    for each in said:
        ever[each.router] = ever.get(each.router, frozenset()) | each.prefixes
    apart = len(ever) > 1 and sum(map(len, ever.values())) == len(frozenset().union(*ever.values()))
    return said if apart else []
