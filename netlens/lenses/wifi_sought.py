"""Do stations look for a network of Wi-Fi that is not there?

Asks: whether a station asks again and again for a network by its name, and no access point has it.
Applies: where probe requests of IEEE 802.11 are in the capture, and access points are heard.
Cannot see: other channels; whether the station only looks whether a network that it knows is near.
Normal: stations ask for hidden networks that they know, wherever they are (IEEE 802.11-2020 11.1.4.3): worth knowing, no more.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.text import plural, printable

ID = "wifi-sought"
GROUP = "names"
RANK = 84
TIMES, SPAN_NS = 10, 30 * S


def look(view: View) -> list[Finding]:
    """At most one, a note."""
    wlan = view.side.capture.wlan
    there = {network.name for network in wlan.networks.values() if network.security}
    left = {
        name: asked
        for name, asked in wlan.sought.items()
        if name not in there and len(asked) >= TIMES and asked[-1].ts - asked[0].ts >= SPAN_NS
    }
    if not left or not there:
        return []
    times, lasted = sum(map(len, left.values())), max(asked[-1].ts - asked[0].ts for asked in left.values())
    stations = {each.station for asked in left.values() for each in asked}
    names = [f'"{printable(name)}"' for name in left]
    text = (
        f"{most(stations)} asked {plural(times, 'time')} for {most(names)} over {seconds(lasted)}: "
        f"no access point on this channel has the network."
    )
    values = {"times": times, "networks": sorted(left), "stations": sorted(stations)}
    return [finding(view, ID, "note", text, [each.frame for asked in left.values() for each in asked], values)]
