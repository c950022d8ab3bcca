"""Do private addresses leave for the internet?

Asks: whether a host sends by a private address (RFC 1918, RFC 6598) to a public one and is never answered, on a network whose own hosts have public addresses.
Applies: where ARP of that network is in the capture, as on the outer side of a router, and the private address has none there.
Cannot see: whether that network leads to the internet, where nobody can answer such an address, or is one of several that know each other.
Normal: NAT gives what leaves for the internet a public address (RFC 3022 2). Between networks of one organization private addresses go as they are. Who
    acknowledges something was answered, though by a way that was not recorded.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.text import plural
from netlens.wire.columns import ACK_FLAG

ID = "private-sources"
GROUP = "handshakes"
RANK = 30
TIMES, SPAN_NS = 3, 3 * S  #: as SYNs of connect-unanswered
_PRIVATE = [IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
_OF_NOBODY = [IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")]


def look(view: View) -> list[Finding]:
    """At most one."""
    asking = view.side.capture.asking
    here = {source for source, _ in asking.sought} | asking.claims.keys()
    near = {address for address in here if ":" not in address}
    if not near or not all(map(_is_public, near)):
        return []
    served = {client for k in view.whole for client in view.ends(k)[::2]} | {t.destination[0] for t in view.conversations}
    up, starts, ends = view.column("orig_frames"), view.column("start_ns"), view.column("end_ns")
    found: dict[str, list[int]] = {}
    for k in view.first_copies:
        client, _, server, _ = view.ends(k)
        if _is_in(client, _PRIVATE) and _is_public(server) and client not in served:
            found.setdefault(client, []).append(k)
    found = {
        client: those
        for client, those in found.items()
        if sum(up[k] for k in those) >= TIMES
        and max(ends[k] for k in those) - min(starts[k] for k in those) >= SPAN_NS
        and not any(flags & ACK_FLAG for k in those for flags in view.opening(k).flags)
    }
    if not found:
        return []
    sessions = [k for those in found.values() for k in those]
    lasted = max(max(ends[k] for k in those) - min(starts[k] for k in those) for those in found.values())
    text = (
        f"{most(found)} sends by a private address to {most(view.ends(k)[2] for k in sessions)}, beside hosts with public ones ({most(near)}), and is never "
        f"answered: {plural(len(sessions), 'connection')} over {seconds(lasted)}."
    )
    advice = "If this is the way to the internet, NAT is missing: look at the rule for masquerading on the router (its interface, its source network)."
    frames = [view.segments(k).frame[0] for k in sessions if len(view.segments(k))]
    return [finding(view, ID, "warning", text, frames, {"sources": sorted(found), "connections": len(sessions)}, advice)]


def _is_in(address: str, networks: list[IPv4Network]) -> bool:
    return ":" not in address and any(IPv4Address(address) in network for network in networks)


def _is_public(address: str) -> bool:
    return ":" not in address and not _is_in(address, [*_PRIVATE, *_OF_NOBODY])
