"""Does a PROFINET device answer to the name by which it is sought, and no second one?

Asks: whether somebody looks for a device by its name again and again (DCP Identify) and none answers; whether two devices answer to one question by one name.
Applies: where the questions are in the capture, which go to all. They are asked for as long as nobody answers.
Cannot see: answers, which go to who asks alone, where the capture is taken elsewhere.
Normal: a controller asks for a device until it is there, as one that is switched on later, and then no more; a tool asks once whether a name is free. Of one
    name there is one device on a network (IEC 61158-6-10 4.3.1.4); a device without a name says an empty one; a device that was replaced no longer answers.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, most, seconds
from netlens.parsers.stations import Station
from netlens.text import plural

ID = "station-names"
GROUP = "names"
RANK = 17
TIMES, SPAN_NS = 5, 8 * S  #: questions for one name: controllers ask every second or two
PAUSES, ON_NS = (
    3,
    2 * S,
)  #: after the last question, by which nobody has answered yet; whoever answers does so to one, unseen by other ports of a switch
ONE_QUESTION_NS = 5 * S  #: within which answers to one question come (the longest delay for which one may ask: 1.28 s)


def look(view: View) -> list[Finding]:
    """At most one of names that two have, and one of names that nobody has."""
    return [*_twice(view), *_nobody(view)]


def _twice(view: View) -> list[Finding]:
    found: dict[str, list[Station]] = {}
    for (_, name), said in view.side.capture.stations.found.items():
        of_two = [
            each
            for same in grouped(said, lambda s: s.transaction).values()
            if len({s.device for s in same}) > 1 and same[-1].ts - same[0].ts <= ONE_QUESTION_NS
            for each in same
        ]
        if of_two:
            found.setdefault(name, []).extend(of_two)
    if not found:
        return []
    devices = most(each.device for said in found.values() for each in said)
    text = f"PROFINET: {devices} answer to the same name, {most(found)} ({plural(sum(map(len, found.values())), 'answer')} to Identify)."
    values = {"names": sorted(found), "devices": sorted({each.device for said in found.values() for each in said})}
    advice = (
        "A controller finds two devices for one and drives neither: give one of them another name (its blinking LED shows which it is)."
    )
    return [finding(view, ID, "problem", text, [each.frame for said in found.values() for each in said], values, advice)]


def _nobody(view: View) -> list[Finding]:
    stations = view.side.capture.stations
    vain = {
        (who, name): seen
        for (network, who, name), seen in stations.sought.items()
        if len(seen) >= TIMES
        and seen[-1].ts - seen[0].ts >= SPAN_NS
        and (network, name) not in stations.found
        and view.end_of(seen[-1].frame) - seen[-1].ts <= ON_NS + PAUSES * (seen[-1].ts - seen[0].ts) // (len(seen) - 1)
    }
    if not vain:
        return []
    asked, lasted = sum(map(len, vain.values())), max(seen[-1].ts - seen[0].ts for seen in vain.values())
    text = (
        f"PROFINET: no device answers to the name {most(name for _, name in vain)}: {most(who for who, _ in vain)} asked {plural(asked, 'time')} over "
        f"{seconds(lasted)} (DCP Identify)."
    )
    values = {"names": sorted({name for _, name in vain}), "asked": asked, "longest_s": lasted / 1e9}
    advice = "The device is off, not connected, or has another name, or none, as a spare one has: give it the name of the project, and compare every letter."
    return [finding(view, ID, "problem", text, [s.frame for seen in vain.values() for s in seen], values, advice)]
