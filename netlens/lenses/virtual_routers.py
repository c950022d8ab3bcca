"""Do two routers say at once that they are the master of one virtual router, or in turn, again and again?

Asks: whether advertisements of VRRP, or of HSRP from routers that are active, for the same number and addresses come from two routers in turn, for longer than
    a change of masters takes; whether the master changes again and again.
Applies: where both are in the capture, as on the network of both, or a port that sees all; networks are told apart by interface and VLAN.
Cannot see: why they do not hear each other (a filter for multicast or protocol 112, a broken link, another password or version).
Normal: one master. One that hears another of higher priority is silent at once (RFC 9568 6.4.3), and a backup takes over only after three intervals without
    it; so a change of masters leaves one or two advertisements of each, and two changes (it fails, it comes back) a long run of each. Three failures and
    returns within minutes are no accident, unless the master says that it gives up (priority 0), as when somebody stops it. In HSRP who hears a better router
    that is active speaks no longer as such at once, a Coup takes over, and a Resign gives up (RFC 2281 5.1, 5.3, 6).
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.parsers.routers import Master, VirtualRouter
from netlens.text import plural

ID = "virtual-routers"
GROUP = "handshakes"
RANK = 19
TURNS = 6  #: times that the other one speaks; of a change one, or three where the old master speaks once more
SPAN_NS = 3 * S  #: RFC 9568 6.1: a backup waits for three intervals, of a second each unless somebody sets another


_ROLE = {"VRRP": "master", "HSRP": "active router"}
_WAY = {"VRRP": "protocol 112, to 224.0.0.18 or ff02::12", "HSRP": "UDP port 1985, to 224.0.0.2 or 224.0.0.102"}
CHANGES, PACE_NS = 6, 120 * S  #: of the master: it fails and comes back three times, a change at least in such a time


def look(view: View) -> list[Finding]:
    """At most one of two masters at once, and one of changes."""
    return [*_at_once(view), *_again_and_again(view)]


def _again_and_again(view: View) -> list[Finding]:
    found: dict[VirtualRouter, list[Master]] = {}
    for key, said in view.side.capture.virtual_routers.items():
        first = _failures(said)
        changes = len(first) - 1
        if changes >= CHANGES and first[-1].ts - first[0].ts <= changes * PACE_NS and not _in_turn([m for m in said if m.priority]):
            found[key] = first
    if not found:
        return []
    (_, number, addresses), first = max(found.items(), key=lambda each: len(each[1]))
    changes, lasted = len(first) - 1, first[-1].ts - first[0].ts
    priorities, protocol = sorted({m.priority for m in first}), first[0].protocol
    text = (
        f"The {_ROLE[protocol]} of {_named(protocol, number, addresses)} changed {changes} times within {seconds(lasted)}, between "
        f"{most(m.router for m in first)} ({protocol}, priorities {', '.join(map(str, priorities))})."
    )
    values = {"virtual_routers": len(found), "changes": changes, "routers": sorted({m.router for m in first}), "longest_s": lasted / 1e9}
    advice = "One of them loses and regains its right to be the master: look at what it tracks (a link, a script), or switch preemption off, or delay it."
    return [finding(view, ID, "problem", text, [m.frame for group in found.values() for m in group], values, advice)]


def _failures(said: list[Master]) -> list[Master]:
    """Of each master's time the first, but of such that begin or end a planned stop (the master before said that it gives up: priority 0); [] without."""
    times: list[Master] = []
    planned = [False]
    for _, group in itertools.groupby(said, lambda m: m.router):
        run = list(group)
        speaking = [m for m in run if m.priority]
        if speaking and not (times and times[-1].router == speaking[0].router):
            times.append(speaking[0])
            planned.append(not run[-1].priority)
        elif speaking:
            planned[-1] = not run[-1].priority
    kept = [k for k in range(1, len(times)) if not (planned[k] or planned[k - 1])]
    return [times[kept[0] - 1], *(times[k] for k in kept)] if kept else []


def _at_once(view: View) -> list[Finding]:
    split = {key: run for key, said in view.side.capture.virtual_routers.items() if (run := _in_turn([m for m in said if m.priority]))}
    if not split:
        return []
    routers = most(m.router for run in split.values() for m in run)
    lasted = max(run[-1].ts - run[0].ts for run in split.values())
    sent = sum(map(len, split.values()))
    names = most(_named(run[0].protocol, number, addresses) for (_, number, addresses), run in split.items())
    protocol = max(split.values(), key=len)[0].protocol
    text = (
        f"{routers} claim at the same time to be the {_ROLE[protocol]} of {names}: {plural(sent, 'advertisement')} of {protocol} in turn over "
        f"{seconds(lasted)}."
    )
    values = {"virtual_routers": len(split), "advertisements": sent, "routers": sorted({m.router for run in split.values() for m in run})}
    advice = (
        f"They do not hear each other: let {protocol} ({_WAY[protocol]}) pass between them, and compare version, password and interval."
    )
    return [
        finding(view, ID, "problem", text, [m.frame for run in split.values() for m in run], {**values, "longest_s": lasted / 1e9}, advice)
    ]


def _named(protocol: str, number: int, addresses: tuple[str, ...]) -> str:
    return f"{', '.join(addresses)} ({'VRID' if protocol == 'VRRP' else f'{protocol} group'} {number})"


def _in_turn(said: list[Master]) -> list[Master]:
    """The longest run in which two routers speak in turn; [] if it is none to speak of."""
    # of what one says without the other in between, the last: so copies count once
    turns = [group for _, group in ((router, list(group)) for router, group in itertools.groupby(said, lambda m: m.router))]
    if len(turns) < TURNS:
        return []
    longest: list[Master] = []
    run: list[Master] = []
    for group in turns:
        if run and len(group) > 1 and group[-1].ts - group[0].ts > SPAN_NS:
            longest, run = max(longest, run, key=len), [group[-1]]
        else:
            run.append(group[-1])
    longest = max(longest, run, key=len)
    return longest if len(longest) >= TURNS and longest[-1].ts - longest[0].ts >= SPAN_NS else []
