"""Which packets took a detour?

Asks: whether a router told a host by ICMP redirect that another gateway is the better way.
Applies: where redirects are in the capture.
Cannot see: whether the host obeyed; whether the redirect was forged.
Normal: one redirect a destination, after which the host takes the better way (RFC 792, RFC 4861 8); a few where packets are under way. A host that is told
    of one destination again and again for a second and longer does not, and each packet crosses the network twice; most systems ignore redirects by
    default.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._connects import OPEN, UNANSWERED, attempts
from netlens.lenses._said import errors
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.parsers.icmp import REDIRECT
from netlens.text import plural

ID = "redirected"
GROUP = "delivery"
RANK = 83
TIMES, SPAN_NS = 5, S  #: of one destination: the host does not take the better way


def look(view: View) -> list[Finding]:
    found = [e for e in view.once(errors) if e.what == REDIRECT and e.destination[0]]
    if not found:
        return []
    text = (
        f"{most(e.reporter for e in found)} told {most(e.told for e in found)} of a better route to "
        f"{most(e.destination[0] for e in found)}: {most(e.gateway for e in found)} ({plural(len(found), 'time')})."
    )
    values = {
        "redirects": len(found),
        "gateways": sorted({e.gateway for e in found}),
        "destinations": sorted({e.destination[0] for e in found}),
    }
    advice = "Set that route on the host, or on its router: until then each packet crosses the network twice."
    opened = {a.server for a in view.once(attempts) if a.outcome == OPEN}
    dead = {a.server for a in view.once(attempts) if a.outcome == UNANSWERED} - opened
    if dead.issuperset(e.destination[0] for e in found):
        advice = "Nobody answered there: see whether that gateway is up and knows the way, before the route is set on the host."
    of = grouped(found, lambda e: (e.told, e.destination[0])).values()
    ignored = any(len(group) >= TIMES and group[-1].ts - group[0].ts >= SPAN_NS for group in of)
    return [finding(view, ID, "problem" if ignored else "note", text, [e.frame for e in found], values, advice)]
