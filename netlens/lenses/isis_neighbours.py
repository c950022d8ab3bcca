"""Which routers speak IS-IS, or EIGRP, to each other and do not become neighbours?

Asks: whether two routers send Hellos on one network, again and again, and neither names the other as one that it hears (IS-IS); whether the Hellos of two
    that send each other nothing else (EIGRP) differ in what must be the same.
Applies: where the Hellos of both are in the capture; networks are told apart by interface and VLAN.
Cannot see: passwords and keys; what is behind the Hellos.
Normal: a router of IS-IS names another in the Hello behind the first one that it heard (ISO/IEC 10589 8.4.2, RFC 5303 3.2), in level 1 only if they have an
    area in common (8.4.2.2), in level 2 whatever their areas: two that are neighbours in any level are not told. IDs differ; how Hellos are authenticated does
    not. Routers of EIGRP have the number of their system, the weights of their metric (K values) and authentication in common (RFC 7868 5.3.2); two
    systems may share a network on purpose, which is a warning. So are two routers that have other neighbours each, or differ in nothing that can be seen.
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most, seconds
from netlens.parsers.isis import LEVEL_1, LEVEL_2, POINT_TO_POINT, Greeting, Hello
from netlens.text import plural

ID = "isis-neighbours"
GROUP = "handshakes"
RANK = 21
TIMES, SPAN_NS = 3, 10 * S  #: Hellos of each behind the first of the other; a Hello comes every 3 to 10 s, a neighbour takes two
_LEVELS = {LEVEL_1: 1, LEVEL_2: 2}

Pair = tuple[list[Hello], list[Hello]]


def look(view: View) -> list[Finding]:
    """At most one of each protocol."""
    return [*_isis(view), *_eigrp(view)]


def _isis(view: View) -> list[Finding]:
    routing = view.side.capture.isis
    pairs: list[Pair] = []
    near: set[frozenset[str]] = set()
    for said in routing.networks.values():
        for one, other in itertools.combinations(grouped(said, lambda h: h.source).values(), 2):
            if _hears(one, other) or _hears(other, one):
                near.add(frozenset((one[-1].source, other[-1].source)))
                continue
            since = max(one[0].ts, other[0].ts)
            pair = [h for h in one if h.ts >= since], [h for h in other if h.ts >= since]
            long = all(len(run) >= TIMES and run[-1].ts - since >= SPAN_NS for run in pair)
            if long and not any(h.heard is None for run in pair for h in run):
                pairs.append(pair)
    pairs = [pair for pair in pairs if frozenset((pair[0][-1].source, pair[1][-1].source)) not in near]
    if not pairs:
        return []
    grave = [pair for pair in pairs if _differences(*pair) and not all(any(h.heard for h in run) for run in pair)]
    one, other = (grave or pairs)[0]
    a, b = one[-1], other[-1]
    shown = grave or pairs
    sent = sum(len(run) for pair in shown for run in pair)
    lasted = max(run[-1].ts - run[0].ts for pair in shown for run in pair)
    more = f"; nor do {plural(len(shown) - 1, 'other pair')}" if len(shown) > 1 else ""
    why = " and ".join(_differences(one, other)) or "nothing that can be seen differs"
    level = f" of level {_LEVELS[a.kind]}" if a.kind in _LEVELS else ""
    text = (
        f"IS-IS: the routers{level} {a.router} and {b.router} do not take each other as neighbours: {why}{more} ({plural(sent, 'Hello')} over "
        f"{seconds(lasted)})."
    )
    values = {"pairs": len(shown), "hellos": sent, "longest_s": lasted / 1e9}
    advice = "Set the same at both ends (net, is-type, authentication), or speak level 2 between areas; until then they tell each other no routes."
    return [graded(view, ID, grave, text, [h.frame for pair in shown for run in pair for h in run], values, advice)]


def _hears(one: list[Hello], other: list[Hello]) -> bool:
    names = {h.router if h.kind == POINT_TO_POINT else h.source for h in other}
    return any(h.heard and h.heard & names for h in one)


def _differences(one: list[Hello], other: list[Hello]) -> list[str]:
    """Why two do not become neighbours, as far as their last Hellos tell."""
    a, b = one[-1], other[-1]
    common = a.levels & b.levels
    apart = not a.areas & b.areas and bool(a.areas and b.areas)
    found = [f"both have the ID {a.router}"] if a.router == b.router else []
    if apart and (a.kind == LEVEL_1 or (a.kind == POINT_TO_POINT and common == 1)):
        found.append(f"they are in different areas ({most(a.areas)} and {most(b.areas)}), and level 1 joins none")
    if a.kind == POINT_TO_POINT and not common:
        found.append(f"one takes neighbours in level {min(a.levels, b.levels)} alone, the other in level {max(a.levels, b.levels)}")
    if a.authentication != b.authentication:
        found.append(f"they differ in authentication ({a.authentication} and {b.authentication})")
    return found


def _eigrp(view: View) -> list[Finding]:
    routing = view.side.capture.isis
    apart: list[tuple[list[Greeting], list[Greeting], list[str]]] = []
    for said in routing.greetings.values():
        for one, other in itertools.combinations(grouped(said, lambda g: g.source).values(), 2):
            a, b = one[-1], other[-1]
            since = max(one[0].ts, other[0].ts)
            long = all(sum(g.ts >= since for g in run) >= TIMES and run[-1].ts - since >= SPAN_NS for run in (one, other))
            if not long or {(a.source, b.source), (b.source, a.source)} & routing.talking:
                continue
            common = {g.number for g in one} & {g.number for g in other}
            differ = [] if common else [f"autonomous system ({a.number} and {b.number})"]
            differ += [f"K values ({a.weights} and {b.weights})"] if common and a.weights != b.weights else []
            differ += (
                [f"authentication ({a.authentication} and {b.authentication})"] if common and a.authentication != b.authentication else []
            )
            if differ:
                apart.append((one, other, differ))
    if not apart:
        return []
    grave = [each for each in apart if not each[2][0].startswith("autonomous")]
    shown = grave or apart
    one, other, differ = shown[0]
    sent = sum(len(run) for one, other, _ in shown for run in (one, other))
    lasted = max(run[-1].ts - run[0].ts for one, other, _ in shown for run in (one, other))
    text = (
        f"EIGRP: {one[-1].source} and {other[-1].source} do not become neighbours: they differ in {' and '.join(differ)} ({plural(sent, 'Hello')} over "
        f"{seconds(lasted)})."
    )
    values = {"pairs": len(shown), "hellos": sent, "longest_s": lasted / 1e9}
    advice = "Set the same at both ends (metric weights, authentication mode); until then they tell each other no routes."
    return [graded(view, ID, grave, text, [g.frame for one, other, _ in shown for run in (one, other) for g in run], values, advice)]
