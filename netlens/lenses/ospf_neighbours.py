"""Which routers speak OSPF to each other and do not become neighbours?

Asks: whether two routers send Hellos on one network, again and again, and neither names the other as one that it hears, or one of the two alone does; whether
    two begin to exchange their databases again and again, and never get on.
Applies: where the Hellos of both are in the capture; networks are told apart by interface, VLAN and netmask.
Cannot see: keys (that authentication differs is seen by its kind, the number of the key, or the password), lists of allowed neighbours, filters; an exchange
    of databases that breaks off in the middle.
Normal: a router names another in the Hello behind the first one that it heard (RFC 2328 10.5), if area, netmask, intervals, the kind of area and authentication
    are the same, of which a router that changes its key sends two for a while (RFC 2328 D.3); ID and instance tell apart what shares a network on purpose. Two
    routers that have other neighbours each may belong to different domains: that is a warning, and so are two that differ in nothing that can be seen. An ID
    that speaks from two addresses, and from one of them names neighbours, is one router with two links in the capture. Then it is not known what is on which
    link, nor with OSPFv3 in a capture of all interfaces that numbers none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.parsers.ospf import INIT, KEY, PASSWORD, Hello
from netlens.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

ID = "ospf-neighbours"
GROUP = "handshakes"
RANK = 21
TIMES = 3  #: Hellos of each behind the first of the other
SAME = "one router ID"
COOKED = 113  #: link type of a capture of all interfaces that does not tell them apart (LINUX_SLL)
AGAIN, EXCHANGE_NS = 4, 12 * S  #: the same beginning of an exchange, every 5 s without an answer (RxmtInterval: RFC 2328 C.3)
ALONE = 2  #: times its hello interval that a router goes on naming nobody

Pair = tuple[list[Hello], list[Hello]]


def look(view: View) -> list[Finding]:
    """Routers that ignore each other, and such of which one does not hear the other."""
    apart: list[Pair] = []
    grave: list[Pair] = []
    deaf: list[Pair] = []
    cooked = any(COOKED in given.link_types for given in view.side.capture.part.inputs)
    for (*_, version, _), said in view.side.capture.ospf.items():
        by_router = grouped(said, lambda hello: hello.source)
        links_of = {one[-1].source: _links(one[-1], by_router.values()) for one in by_router.values()}
        are_several = any(len(runs) > 1 and any(h.neighbours for run in runs for h in run) for runs in links_of.values())
        for one, other in itertools.combinations(by_router.values(), 2):
            since = max(one[0].ts, other[0].ts)
            pair = [h for h in one if h.ts >= since], [h for h in other if h.ts >= since]
            if min(map(len, pair)) < TIMES or not _is_one_network(one[-1], other[-1]):
                continue
            if any(run[-1].ts - since < ALONE * run[-1].hello_s * S for run in pair):
                continue
            runs = links_of[one[-1].source], links_of[other[-1].source]
            if one[-1].router == other[-1].router and any(h.neighbours for run in runs[0] for h in run):
                continue
            heard = [
                any(p.router in h.neighbours for run in mine for h in run if h.ts >= since)
                for mine, p in zip(runs, (other[0], one[0]), strict=True)
            ]
            if not any(heard):
                apart.append(pair)
                alone = not all(any(h.neighbours for h in run) for run in pair)
                if _differences(*pair) and alone and not (are_several or (cooked and version == 3)):
                    grave.append(pair)
            elif not all(heard):
                deaf.append(pair if heard[0] else pair[::-1])
    return [*_apart(view, apart, grave), *_deaf(view, deaf), *_never_exchanged(view)]


def _never_exchanged(view: View) -> list[Finding]:
    """Two routers of which one begins an exchange by the same description again and again, and goes no step further. Who is told a larger MTU than its own
    drops that description (RFC 2328 10.6); 0 is that of a virtual link (A.3.3)."""
    described = view.side.capture.described
    found = []
    for (network, one, other), said in described.items():
        back = described.get((network, other, one), [])
        begun = [each for each in said if each.flags & INIT]
        last = [each for each in begun if each.number == begun[-1].number]
        if (
            len(last) < AGAIN
            or last[-1].ts - last[0].ts < EXCHANGE_NS
            or not back
            or any(s.ts > last[0].ts for s in said if not s.flags & INIT)
        ):
            continue
        differ = said[-1].mtu != back[-1].mtu and bool(said[-1].mtu and back[-1].mtu)
        if differ or all(each.flags & INIT for each in back):
            found.append((one, other, last, back, differ))
    if not found:
        return []
    one, other, last, back, differ = max(found, key=lambda each: (each[4], len(each[2])))
    lasted = last[-1].ts - last[0].ts
    why = (
        f"their interfaces have different MTUs ({last[-1].mtu:,} and {back[-1].mtu:,} bytes)"
        if differ
        else "nothing that can be seen differs"
    )
    others = len({frozenset(each[:2]) for each in found}) - 1
    more = f", and so do {plural(others, 'other pair')}" if others else ""
    text = (
        f"OSPF: {one} and {other} hear each other, but never exchange their databases: {why}; {one} began {plural(len(last), 'time')} over "
        f"{seconds(lasted)} (ExStart){more}."
    )
    values = {"pairs": others + 1, "descriptions": len(last), "longest_s": lasted / 1e9, "mtu_bytes": sorted({last[-1].mtu, back[-1].mtu})}
    advice = (
        "Set the same MTU at both ends (ip mtu); ip ospf mtu-ignore hides it until a large packet is lost."
        if differ
        else "One does not get what the other sends to it alone: look at filters for unicast of IP protocol 89, and at duplicate addresses."
    )
    return [finding(view, ID, "problem", text, [each.frame for *_, sent, heard, _ in found for each in (*sent, *heard)], values, advice)]


def _links(one: Hello, all_runs: Iterable[list[Hello]]) -> list[list[Hello]]:
    """What the router says from each of its addresses here, by its ID."""
    return [run for run in all_runs if run[-1].router == one.router and _is_one_network(one, run[-1])]


def _is_one_network(one: Hello, other: Hello) -> bool:
    """By the wider netmask of the two; OSPFv3 names none, nor do links without addresses."""
    mask = one.mask & other.mask
    return -1 in (one.mask, other.mask) or (bool(mask) and one.number & mask == other.number & mask)


def _apart(view: View, pairs: list[Pair], grave: list[Pair]) -> list[Finding]:
    if not pairs:
        return []
    pairs = grave or pairs
    one, other = pairs[0]
    differ = sorted({name for pair in pairs for name in _differences(*pair)})
    sent = sum(len(run) for pair in pairs for run in pair)
    lasted = max(run[-1].ts - run[0].ts for pair in pairs for run in pair)
    more = [f"{a[-1].source} and {b[-1].source}" for a, b in pairs[1:]]
    behind = f"; nor do {_few(more)}" if more else ""
    text = (
        f"OSPF: {one[-1].source} and {other[-1].source} do not take each other as neighbours: {_why(one, other)}{behind} "
        f"({plural(sent, 'Hello')} over {seconds(lasted)})."
    )
    values = {"pairs": len(pairs), "hellos": sent, "differences": differ, "longest_s": lasted / 1e9}
    advice = "Set the same at both ends (show ip ospf interface); until then they tell each other no routes."
    return [graded(view, ID, grave, text, [h.frame for pair in pairs for run in pair for h in run], values, advice)]


def _few(told: list[str], joint: str = ", nor ") -> str:
    """The first two, and how many more pairs there are."""
    return joint.join([*told[:2], *([plural(len(told) - 2, "other pair")] if len(told) > 2 else [])])


def _differences(one: list[Hello], other: list[Hello]) -> list[str]:
    a, b = one[-1], other[-1]
    found = sorted(name for name, value in a.must_agree.items() if b.must_agree.get(name) != value)
    if {KEY, PASSWORD}.intersection(found) and ("authentication" in found or not _keys(one).isdisjoint(_keys(other))):
        found = [name for name in found if name not in (KEY, PASSWORD)]
    return found or ([SAME] if a.router == b.router else [])


def _keys(said: list[Hello]) -> set[tuple[str | None, str | None]]:
    """All that a router signs by: while keys change it sends each Hello by two."""
    return {(h.must_agree.get(KEY), h.must_agree.get(PASSWORD)) for h in said}


def _why(one: list[Hello], other: list[Hello]) -> str:
    a, b, differ = one[-1], other[-1], _differences(one, other)
    if differ == [SAME]:
        return f"both have the router ID {a.router}"
    if differ:
        told = [name if name == PASSWORD else f"{name} ({a.must_agree.get(name, '')} and {b.must_agree.get(name, '')})" for name in differ]
        return f"they differ in {' and '.join(told)}"
    both = most(frozenset.union(*(h.neighbours for h in one)) & frozenset.union(*(h.neighbours for h in other)))
    unseen = " (their keys cannot be seen)" if KEY in a.must_agree else ""
    return f"nothing that can be seen differs{unseen}" + (f", and both hear {both}, as spokes hear their hub alone" if both else "")


def _deaf(view: View, pairs: list[Pair]) -> list[Finding]:
    if not pairs:
        return []
    sent = sum(len(run) for pair in pairs for run in pair)
    lasted = max(run[-1].ts - run[0].ts for pair in pairs for run in pair)
    told = _few([f"{one[-1].source} hears {other[-1].source}, which does not hear {one[-1].source}" for one, other in pairs], "; ")
    deaf = most(other[-1].source for _, other in pairs)
    text = f"OSPF: {told} ({plural(sent, 'Hello')} over {seconds(lasted)})."
    advice = f"Hellos go to 224.0.0.5 (ff02::5), IP protocol 89: look at filters and multicast on the way to {deaf}, and at lists of neighbours there."
    frames = [h.frame for pair in pairs for run in pair for h in run]
    return [finding(view, ID, "problem", text, frames, {"pairs": len(pairs), "hellos": sent, "longest_s": lasted / 1e9}, advice)]
