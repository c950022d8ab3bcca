"""Which packets took a detour?

Asks: whether a router told a host by ICMP redirect that another gateway is the better way.
Applies: where redirects are in the capture.
Cannot see: whether the host obeyed; whether the redirect was forged.
Normal: one redirect a destination, after which the host takes the better way (RFC 792, RFC 4861 8). Many mean that it does not, and each packet crosses the
    network twice; most systems ignore redirects by default.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._said import errors
from netlens.lenses._view import View, finding, most
from netlens.parsers.icmp import REDIRECT
from netlens.text import plural

ID = "redirected"
GROUP = "delivery"
RANK = 83


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
    return [finding(view, ID, "note", text, [e.frame for e in found], values, advice)]
