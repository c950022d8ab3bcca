"""Does the spanning tree come to rest?

Asks: whether bridges tell of changes of the topology again and again, and whether they name two roots in turn.
Applies: where BPDUs are in the capture, those of Cisco for each VLAN among them; trees are told apart by interface, VLAN and system ID extension.
Cannot see: which link comes and goes; what happens on other links.
Normal: a change is told for a time that BPDUs give themselves: the maximum age and the forward delay (IEEE 802.1D-1998 8.5.3.13, 35 s unless set otherwise),
    or a hello and a second (802.1D-2004 17.21.7). A port where a computer starts or sleeps makes some changes, unless it is an edge port. A root that is
    replaced is one change of roots; a bridge that hears of a better root says so at once (802.1D-2004 17.6), so that two are not named in turn. Bridges that
    never name the other's root may be of two trees, as of two bridges of one host: that is a warning, and so are changes that came to an end.
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.switches import Bpdu
from netlens.text import plural

ID = "spanning-tree"
GROUP = "handshakes"
RANK = 22
CHANGES, PACE_NS = 4, 60 * S  #: at least so many, one in such a time
TURNS = 6  #: as of virtual routers
HELLOS = 3  #: that a bridge waits for the next one (802.1D-2004 17.21.23)

Trees = dict[tuple[tuple[int, ...], int, str, int], list[Bpdu]]


def look(view: View) -> list[Finding]:
    """At most one of roots, and one of changes."""
    trees = view.side.capture.switches.trees
    if not trees:
        return []
    return [*_roots(view, trees), *_changes(view, trees)]


def _changes(view: View, trees: Trees) -> list[Finding]:
    counted = {port: (_times(said), said) for port, said in trees.items()}
    restless = {
        port: (times, [each for each in said if each.changed])
        for port, (times, said) in counted.items()
        if times >= CHANGES and said[-1].ts - said[0].ts <= times * PACE_NS
    }
    if not restless:
        return []
    grave = {port: each for port, each in restless.items() if not _is_over(each[1], trees[port], each[0])}
    restless = grave or restless
    port, (_, told) = max(restless.items(), key=lambda each: len(each[1][1]))
    times = max(n for n, _ in restless.values())
    lasted = told[-1].ts - told[0].ts
    since = "" if grave else f", and not in the last {seconds(trees[port][-1].ts - told[-1].ts)}"
    text = (
        f"Spanning tree: the topology changed at least {times} times within {seconds(lasted)}, as {plural(len(told), 'BPDU')} of "
        f"{most(each.bridge for each in told)} tell{'s' if len(told) == 1 else ''} (root {most(each.root for each in told)}){since}."
    )
    values = {"changes": times, "bpdus": len(told), "longest_s": lasted / 1e9, "roots": sorted({each.root for each in told})}
    advice = (
        "A link comes and goes, and each time switches forget where hosts are: find the port (show spanning-tree detail: last change from), "
        "look at its cable and counters; make ports of hosts edge ports (portfast)."
    )
    return [graded(view, ID, grave, text, [each.frame for each in told], values, advice)]


def _is_over(told: list[Bpdu], said: list[Bpdu], times: int) -> bool:
    """Whether no change came for longer than from one to the next, as when a site, or one port after the other, has started."""
    quiet = said[-1].ts - told[-1].ts
    begins = [group[0].ts for changed, group in ((c, list(g)) for c, g in itertools.groupby(said, lambda each: each.changed)) if changed]
    pace = max((begins[-1] - begins[0]) // max(len(begins) - 1, 1), (told[-1].ts - told[0].ts) // times)
    since = said[-1].ts - begins[-1] if len(begins) > 1 else quiet
    return quiet > HELLOS * told[-1].hello_ns and since > pace


def _times(said: list[Bpdu]) -> int:
    """How many changes it takes at least to tell of them so long."""
    times = 0
    for changed, group in itertools.groupby(said, lambda each: each.changed):
        if changed:
            run = list(group)
            heard = sum(min(b.ts - a.ts, HELLOS * b.hello_ns) for a, b in itertools.pairwise(run))
            times += 1 + max(heard - 2 * run[0].hello_ns, 0) // max(*(each.change_ns for each in run), S)
    return times


def _roots(view: View, trees: Trees) -> list[Finding]:
    by_network: dict[tuple[tuple[int, ...], int], list[Bpdu]] = {}
    for (network, tree, _, _), said in trees.items():
        by_network.setdefault((network, tree), []).extend(said)
    apart = [turns for said in by_network.values() if (turns := _turns(said))]
    grave = [turns for said in by_network.values() for tree in _separate(said) if (turns := _turns(tree))]
    found = grave or apart
    if not found:
        return []
    turns = max(found, key=len)
    roots, lasted = most(each.root for each in turns), seconds(turns[-1].ts - turns[0].ts)
    if grave:
        text = f"Spanning tree: the root changed {len(turns) - 1} times within {lasted}: {roots}."
    else:
        text = f"Spanning tree: {roots} are named side by side as roots over {lasted}, each by bridges that never name another: separate trees."
    values = {"changes": len(turns) - 1 if grave else 0, "roots": sorted({each.root for each in turns}), "trees": len(found)}
    advice = "BPDUs are lost on a link between the bridges, or one comes and goes."
    return [graded(view, ID, grave, text, [each.frame for each in turns], values, advice)]


def _turns(said: list[Bpdu]) -> list[Bpdu]:
    """Where another root is named than before; [] if that is not again and again."""
    turns = [next(iter(group)) for _, group in itertools.groupby(sorted(said), lambda each: each.root)]
    lasted = turns[-1].ts - turns[0].ts
    return turns if len(turns) >= TURNS and HELLOS * turns[0].hello_ns <= lasted <= len(turns) * PACE_NS else []


def _separate(said: list[Bpdu]) -> list[list[Bpdu]]:
    """BPDUs by tree: bridges are in one that ever named the same root, or one of them the other."""
    members: list[set[str]] = []
    for pair in {(each.bridge, each.root) for each in said}:
        joined = [group for group in members if not group.isdisjoint(pair)]
        members = [group for group in members if group not in joined] + [set(pair).union(*joined)]
    return [[each for each in said if each.root in group] for group in members]
