"""Does the recorder hear the frames of Wi-Fi well enough?

Asks: how loud data frames of a network are where they were recorded.
Applies: where the card says so (radiotap, PPI).
Cannot see: how loud they are at the station and at the access point.
Normal: cards receive down to -82 dBm at the lowest rates, and need -64 dBm and more for high ones (IEEE 802.11-2020 table 17-18 and 19-23); what is weaker is
    missed in part, so that the capture has holes.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, grouped, most
from netlens.lenses._wifi import network
from netlens.text import plural

ID = "wifi-signal"
GROUP = "sight"
RANK = 92
LEAST, WEAK_DBM = 50, -82


def look(view: View) -> list[Finding]:
    """At most one, a warning."""
    weak: dict[str, float] = {}
    frames = 0
    for ap, each in grouped(view.side.capture.wlan.flows.items(), lambda item: item[0][0]).items():
        heard, loud = sum(f.heard for _, f in each), sum(f.loud for _, f in each)
        if heard >= LEAST and loud / heard <= WEAK_DBM:
            weak[ap] = loud / heard
            frames += heard
    if not weak:
        return []
    text = (
        f"{plural(frames, 'data frame')} of {most(network(view, ap) for ap in weak)} {'was' if frames == 1 else 'were'} heard at "
        f"{min(weak.values()):.0f} dBm on average: others will be missing."
    )
    advice = "Record nearer to the station and its access point, or with a better antenna; if the station stands where the recorder does, its link is as weak."
    return [finding(view, ID, "warning", text, [], {"frames": frames, "dbm": min(weak.values()), "access_points": sorted(weak)}, advice)]
