"""Which hosts ask to be let into the network (802.1X), and nobody asks them who they are?

Asks: whether a host says again and again that it is there (EAPOL-Start), and nobody asks for its identity.
Applies: where these frames are in the capture; no switch forwards them (IEEE 802.1X-2010 11.1.1), so that both ends of the link would be in it.
Cannot see: whether the port is meant to ask.
Normal: the port asks at once (IEEE 802.1X-2010 8.4, RFC 3748 2). On a port that does not know 802.1X a host says so three times and goes on without, as Windows
    does anywhere: that is a warning, and a problem where it gets no address either, unless one is heard by an address of its own making.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.leases import DISCOVER
from netlens.text import plural

ID = "port-access"
GROUP = "handshakes"
RANK = 13
TIMES, SPAN_NS = 3, 10 * S  #: every 30 s, three times (IEEE 802.1X-2010 8.6: startPeriod, maxStart)
LINK_LOCAL = ip_network("169.254.0.0/16")
DISCOVERS = 3  #: of a host that gets no address


def look(view: View) -> list[Finding]:
    """At most one."""
    link = view.side.capture.link
    left = {host: seen for host, seen in link.knocking.items() if len(seen) >= TIMES and seen[-1].ts - seen[0].ts >= SPAN_NS}
    if not left or link.asking:
        return []
    grave = {host: seen for host, seen in left.items() if _gets_no_address(view, host) and not _goes_on_without(view)}
    left = grave or left
    times, lasted = sum(map(len, left.values())), max(seen[-1].ts - seen[0].ts for seen in left.values())
    behind = ", and got no address by DHCP" if grave else ""
    text = f"Nobody asked {most(left)} who it is (802.1X): it said that it is there {plural(times, 'time')} over {seconds(lasted)} (EAPOL-Start){behind}."
    advice = (
        "802.1X is off on the switch's port, or the switch cannot reach its RADIUS server: look at the port (show authentication sessions)."
    )
    values = {"hosts": sorted(left), "times": times, "longest_s": lasted / 1e9}
    return [graded(view, ID, grave, text, [each.frame for seen in left.values() for each in seen], values, advice)]


def _gets_no_address(view: View, host: str) -> bool:
    kinds = [m.kind for m in view.side.capture.leases.get(host, ())]
    return kinds.count(DISCOVER) >= DISCOVERS and set(kinds) == {DISCOVER}


def _goes_on_without(view: View) -> bool:
    """Whether anybody is answered at an address that it gave itself (RFC 3927), so that the port lets it pass."""
    pairs = [(view.address(k, True), view.address(k, False)) for k in view.whole]
    pairs += [(p.source, p.destination) for p in view.side.capture.asking.pings.values() if p.answers]
    return any(ip_address(address) in LINK_LOCAL for pair in pairs for address in pair)
