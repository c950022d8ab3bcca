"""Do frames of Wi-Fi get through?

Asks: how many data frames to one station carry the bit Retry, by network.
Applies: where data frames of IEEE 802.11 are in the capture, encrypted or not.
Cannot see: what the recorder did not hear; it may hear the second sending only.
Normal: who gets no acknowledgment sends the frame again at once (IEEE 802.11-2020 10.3.4.4); a tenth is everyday, as rates are tried out. Programs notice it
    as delay only.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import View, finding, grouped, most
from netlens.lenses._wifi import network

ID = "wifi-retries"
GROUP = "delivery"
RANK = 74
LEAST, SHARE = 200, 0.3  #: data frames of one network, and which share of them


def look(view: View) -> list[Finding]:
    """At most one, a warning."""
    flows = view.side.capture.wlan.flows
    sums = {
        ap: (sum(f.frames for _, f in each), sum(f.again for _, f in each))
        for ap, each in grouped(flows.items(), lambda item: item[0][0]).items()
    }
    bad = {ap: each for ap, each in sums.items() if each[0] >= LEAST and each[1] >= SHARE * each[0]}
    if not bad:
        return []
    chosen = sorted(((k, f) for k, f in flows.items() if k[0] in bad), key=lambda item: -item[1].again)
    (_, worst, up), flow = chosen[0]
    frames, again = sum(n for n, _ in bad.values()), sum(n for _, n in bad.values())
    loud = f", heard at {flow.loud / flow.heard:.0f} dBm" if flow.heard and flow.loud else ""
    text = (
        f"{again:,} of {frames:,} data frames ({again / frames:.0%}) of {most(network(view, ap) for ap in bad)} were sent again on the air, most "
        f"{'by' if up else 'to'} {worst} ({flow.again / max(flow.frames, 1):.0%}{loud})."
    )
    values = {"frames": frames, "again": again, "access_points": sorted(bad), "station": worst}
    advice = "Look for others on the channel, for what disturbs it, and for how far the station is from the access point; another channel or band may be free."
    return [finding(view, ID, "warning", text, [frame for _, f in chosen for frame in f.shown], values, advice)]
