"""Which routers speak OSPF to each other and do not become neighbours?

Asks: whether two routers send Hellos on one network, again and again, and neither names the other as one that it hears, or one of the two alone does.
Applies: where the Hellos of both are in the capture; networks are told apart by interface, VLAN and netmask.
Cannot see: keys (that authentication differs is seen by its kind), lists of allowed neighbours, filters; what comes after the Hellos, as a database
    that cannot be exchanged for its MTU.
Normal: a router names another in the Hello behind the first one that it heard (RFC 2328 10.5), if area, netmask, intervals, the kind of area and authentication
    are the same; ID and instance tell apart what shares a network on purpose. Two routers that have other neighbours each may belong to different domains:
    that is a warning, and so are two that differ in nothing that can be seen.
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, graded, most, seconds
from netlens.parsers.ospf import Hello
from netlens.text import plural

ID = "ospf-neighbours"
GROUP = "handshakes"
RANK = 21
TIMES = 3  #: Hellos of each behind the first of the other
SAME = "one router ID"
ALONE = 2  #: times its hello interval that a router goes on naming nobody


def look(view: View) -> list[Finding]:
    """Routers that ignore each other, and such of which one does not hear the other."""
    apart: list[tuple[list[Hello], list[Hello]]] = []
    deaf: list[tuple[list[Hello], list[Hello]]] = []
    for said in view.side.capture.ospf.values():
        by_router: dict[str, list[Hello]] = {}
        for hello in said:
            by_router.setdefault(hello.source, []).append(hello)
        for one, other in itertools.combinations(by_router.values(), 2):
            since = max(one[0].ts, other[0].ts)
            pair = [h for h in one if h.ts >= since], [h for h in other if h.ts >= since]
            if min(map(len, pair)) < TIMES or not _is_one_network(one[-1], other[-1]):
                continue
            if any(run[-1].ts - since < ALONE * run[-1].hello_s * S for run in pair):
                continue
            heard = [any(p.router in h.neighbours for h in run) for run, p in ((pair[0], other[0]), (pair[1], one[0]))]
            if not any(heard):
                apart.append(pair)
            elif not all(heard):
                deaf.append(pair if heard[0] else pair[::-1])
    return [*_apart(view, apart), *_deaf(view, deaf)]


def _is_one_network(one: Hello, other: Hello) -> bool:
    """By the wider netmask of the two; OSPFv3 names none, nor do links without addresses."""
    mask = one.mask & other.mask
    return -1 in (one.mask, other.mask) or (bool(mask) and one.number & mask == other.number & mask)


def _apart(view: View, pairs: list[tuple[list[Hello], list[Hello]]]) -> list[Finding]:
    if not pairs:
        return []
    grave = [pair for pair in pairs if _differences(*pair) and not all(any(h.neighbours for h in run) for run in pair)]
    pairs = grave or pairs
    one, other = pairs[0]
    differ = sorted({name for pair in pairs for name in _differences(*pair)})
    names = most(f"{a[-1].source} and {b[-1].source}" for a, b in pairs)
    sent = sum(len(run) for pair in pairs for run in pair)
    lasted = max(run[-1].ts - run[0].ts for pair in pairs for run in pair)
    text = (
        f"OSPF: {names} do not take each other as neighbours: {_why(one[-1], other[-1])} ({plural(sent, 'Hello')} over {seconds(lasted)})."
    )
    values = {"pairs": len(pairs), "hellos": sent, "differences": differ, "longest_s": lasted / 1e9}
    advice = "Set the same at both ends (show ip ospf interface); until then no route goes between them."
    return [graded(view, ID, grave, text, [h.frame for pair in pairs for run in pair for h in run], values, advice)]


def _differences(one: list[Hello], other: list[Hello]) -> list[str]:
    a, b = one[-1], other[-1]
    found = sorted(name for name, value in a.must_agree.items() if b.must_agree.get(name) != value)
    return found or ([SAME] if a.router == b.router else [])


def _why(one: Hello, other: Hello) -> str:
    differ = _differences([one], [other])
    if differ == [SAME]:
        return f"both have the router ID {one.router}"
    told = [f"{name} ({one.must_agree.get(name, '')} and {other.must_agree.get(name, '')})" for name in differ]
    return f"they differ in {' and '.join(told)}" if told else "nothing that can be seen differs"


def _deaf(view: View, pairs: list[tuple[list[Hello], list[Hello]]]) -> list[Finding]:
    if not pairs:
        return []
    sent = sum(len(run) for pair in pairs for run in pair)
    lasted = max(run[-1].ts - run[0].ts for pair in pairs for run in pair)
    heard, deaf = most(one[-1].source for one, _ in pairs), most(other[-1].source for _, other in pairs)
    text = f"OSPF: {heard} hears {deaf}, which does not hear {heard} ({plural(sent, 'Hello')} over {seconds(lasted)})."
    advice = f"Hellos go to 224.0.0.5 (ff02::5), IP protocol 89: look at filters and multicast on the way to {deaf}, and at its list of neighbours."
    frames = [h.frame for pair in pairs for run in pair for h in run]
    return [finding(view, ID, "problem", text, frames, {"pairs": len(pairs), "hellos": sent, "longest_s": lasted / 1e9}, advice)]
