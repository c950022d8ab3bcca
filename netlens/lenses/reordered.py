"""Did packets overtake each other?

Asks: how many segments with data came behind later ones of the same stream, within a round trip.
Applies: to connections captured in both directions, away from the sender.
Cannot see: whether the network or the recorder changed their order; what was lost and sent again within a round trip looks the same.
Normal: a few, wherever packets take several ways (RFC 4737). Three later ones make a sender repeat what was only late, and slow down (RFC 5681 3.2). It costs
    speed, breaks nothing, and so is never more than a warning.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._repeats import deliveries
from netlens.lenses._view import View, finding, most
from netlens.text import plural

ID = "reordered"
GROUP = "delivery"
RANK = 71
LATE, SHARE = 20, 0.02  #: segments of a connection


def look(view: View) -> list[Finding]:
    shown = [d for d in view.once(deliveries) if len(d.late) >= max(LATE, SHARE * d.segments) and len(d.late) > d.resent]
    if not shown:
        return []
    late, segments, spurious = sum(len(d.late) for d in shown), sum(d.segments for d in shown), sum(d.spurious for d in shown)
    end = f", and {spurious:,} were sent again in vain" if spurious else ""
    text = (
        f"{late:,} of {plural(segments, 'data segment')} came out of order on {plural(len(shown), 'connection')} "
        f"({most(view.server(d.session) for d in shown)}){end}."
    )
    values = {"connections": len(shown), "late": late, "segments": segments, "spurious": spurious}
    return [finding(view, ID, "warning", text, [frame for d in shown for frame in d.late], values)]
