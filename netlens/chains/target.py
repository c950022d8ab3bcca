"""The target: which server the question is about.

Named (``--api``): every connection whose server name or address, or the name looked up for it, is one of those. Otherwise guessed, and the
guess is stated: a known LLM API if one was contacted; else the server that had the most connections open at once, then the most connections.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netlens.chains import overlap
from netlens.chains.side import Side
from netlens.columns import Bools, by_value
from netlens.errors import NetlensError
from netlens.parsers.connections import is_public
from netlens.schema import Table
from netlens.text import plural, printable

#: Names of APIs that answer "reduce concurrency" or its like; suffixes match whole labels.
KNOWN_APIS = (
    "api.z.ai",
    "open.bigmodel.cn",
    "api.zhipu.ai",
    "bigmodel.cn",
    "z.ai",
    "api.openai.com",
    "api.anthropic.com",
    "api.deepseek.com",
    "api.mistral.ai",
    "api.groq.com",
    "openrouter.ai",
    "generativelanguage.googleapis.com",
    "api.moonshot.cn",
    "dashscope.aliyuncs.com",
)
#: Domains of one provider each, whose APIs may count requests together.
OF_ONE_PROVIDER = (
    ("z.ai", "bigmodel.cn", "zhipu.ai"),
    ("moonshot.cn", "moonshot.ai"),
    ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
)


ALIKE = 4  #: requests one after the other whose answers all differ in size: what has the same sizes elsewhere carries the same


@dataclass(frozen=True)
class Target:
    """Server names and addresses in question; ``why`` says how they were chosen; ``rows`` are the connections to it."""

    names: list[str]
    addresses: list[str]
    guessed: bool
    why: str
    rows: np.ndarray[Any, Any] = field(repr=False)  # bool per connection

    @property
    def label(self) -> str:
        return ", ".join(self.names or self.addresses) or "nothing"


def matching(name: str | None, wanted: Iterable[str]) -> str | None:
    """The one of ``wanted`` that is ``name``, or ends it after a dot; None if there is none."""
    name = (name or "").lower().rstrip(".")
    return next((w for w in wanted if name and (name == w or name.endswith("." + w))), None)


def _named_by(apis: tuple[str, ...], manifest: bool) -> str:
    """How messages call the APIs that were named: as they were written."""
    return f"the manifest's API {', '.join(printable(a) for a in apis)}" if manifest else " ".join(f"--api {printable(a)}" for a in apis)


def find(sides: Mapping[str | None, Side], upstream: Side, apis: tuple[str, ...], manifest: bool) -> Target:
    """Choose the target where the program in question runs, and find it in the other capture by its names, or its addresses if it has none. If the
    program asks nobody beyond the local network, a known API that the other capture shows is taken instead. Connections without a name, as they are older than
    a capture, are told by the target's public addresses in the other one.

    Where the program reaches it over a relay, and no name tells it in the other capture, what carries on the same requests there goes to it.

    The sides' ``target`` is set.
    """
    first = sides.get("vm") or upstream
    if not apis and not _asks_public(first):
        first = next((side for side in sides.values() if _asks_known(side)), first)  # what the VM asks may be a relay
    goal: Target | None = None
    reached: set[str] = set()
    for side in (first, *(s for s in sides.values() if s is not first)):
        c = side.connections
        wanted = apis or tuple(goal.names or goal.addresses if goal else ())
        try:
            chosen = choose(c, side.capture.table("lookups"), wanted, manifest=manifest, reached=reached, tunnels=side.vpn)
            reached.update(filter(is_public, chosen.addresses))
        except NetlensError:
            if not (goal or len(sides) > 1) or (side is not first and goal is None):
                raise
            side.target = np.zeros(c.rows, bool)
            continue
        side.target = _with_nameless(c, chosen.rows) & ~side.for_lookups
        if goal is None or not (goal.names or goal.addresses):  # a capture without connections names no target
            goal = chosen
    if goal is None:  # named, and not even in the second capture
        raise NetlensError(f"{_named_by(apis, manifest)}: no connection of these captures goes there")
    if not any(map(is_public, goal.addresses)):
        for side in sides.values():
            if side is not first and not side.target.any():
                side.target = _with_nameless(side.connections, _carrying_on(first, side)) & ~side.for_lookups
                reached.update(side.connections["resp_ip"][side.target].tolist())
    if reached and not any(map(is_public, goal.addresses)):  # those that the program's capture shows are a relay's
        goal = replace(goal, addresses=sorted(reached))
    return goal


def _carrying_on(program: Side, side: Side) -> Bools:
    """Connections without a name, to public addresses, that carry requests of the program to the target: a relay passed on its bytes."""
    c = side.connections
    asked = set[Any]().union(*_runs(program, program.target).values())
    nameless = np.array([sni is None and is_public(ip) for sni, ip in c.tuples("sni", "resp_ip")], bool)
    out = np.zeros(c.rows, bool)
    out[[row for row, runs in _runs(side, nameless).items() if not asked.isdisjoint(runs)]] = True
    return out


def same_bytes(program: Side, side: Side) -> list[tuple[int, int]]:
    """Connections of both to the target, whole in both captures, that carry the same bytes, where no hello shows it: a relay passed them on."""
    here, there = (_whole(each, public) for each, public in ((program, False), (side, True)))
    found: list[tuple[int, int]] = []
    if here and there:
        runs, theirs = _runs(program, program.target), _runs(side, side.target)
        pairs = [(rows[0], there[size][0]) for size, rows in here.items() if len(rows) == 1 == len(there.get(size, ()))]
        found = [(i, j) for i, j in pairs if j not in side.randoms and not runs.get(i, set()).isdisjoint(theirs.get(j, ()))]
    return found


def _whole(side: Side, public: bool) -> dict[tuple[int, int], list[int]]:
    """Connections to the target, at public addresses or at others, by how much they carry each way, without what is older than the capture."""
    c = side.connections
    rows = np.flatnonzero(side.target & ~c["started_before_capture"].astype(bool))
    out: dict[tuple[int, int], list[int]] = {}
    columns = (c[name][rows].tolist() for name in ("resp_ip", "orig_bytes", "resp_bytes"))
    for row, ip, up, down in zip(rows.tolist(), *columns, strict=True):
        if is_public(ip) == public:
            out.setdefault((up, down), []).append(row)
    return out


def _runs(side: Side, rows: Bools) -> dict[int, set[Any]]:
    """By connection of ``rows``, the sizes of each :data:`ALIKE` exchanges that follow each other, where all answers are of different sizes."""
    x = side.capture.table("exchanges")
    owner = overlap.owner_rows(x, side.connections)
    chosen = np.flatnonzero((owner >= 0) & rows[owner])
    sizes: dict[int, list[tuple[int, int]]] = {}
    for row, up, down in zip(*(values[chosen].tolist() for values in (owner, x["up_bytes"], x["down_bytes"])), strict=True):
        sizes.setdefault(row, []).append((up, down))
    runs = {row: zip(*(those[k:] for k in range(ALIKE)), strict=False) for row, those in sizes.items()}
    return {row: {run for run in those if len({down for _, down in run}) == ALIKE} for row, those in runs.items()}


def _asks_known(side: Side) -> bool:
    return any(matching(name, KNOWN_APIS) for name in set(side.connections["sni"].tolist()))


def _asks_public(side: Side) -> bool:
    """Whether anything but remote shells and lookups goes to a public address."""
    c = side.connections
    return any(is_public(ip) for ip in set(c["resp_ip"][~np.isin(c["resp_port"], (22, 53, 853))].tolist()))


def find_or_guess(sides: Mapping[str | None, Side], upstream: Side, apis: tuple[str, ...], manifest: bool, notes: list[str]) -> Target:
    """:func:`find`; but where the captures show no server's name at all (begun in the middle, cut payload, a base URL that names a relay), the target is
    guessed, and that is noted: the named one cannot be told from others. Names of servers in the local network are those of relays, perhaps."""
    try:
        return find(sides, upstream, apis, manifest)
    except NetlensError:
        named = any(
            name is not None and is_public(ip)  # a server of the local network may be a relay that has a name of its own
            for side in sides.values()
            for name, ip in side.connections.tuples("sni", "resp_ip")
        )
        if not apis or named or not any(side.connections.rows for side in sides.values()):
            raise
    # nearest to the provider first: the busiest server of the VM's capture may be a relay
    side = next(s for s in (upstream, *sides.values()) if s.connections.rows)
    c = side.connections
    public = np.array(by_value(is_public, c["resp_ip"].tolist()), bool) & ~np.isin(c["resp_port"], (22, 53, 853))
    guess = choose(c.take(np.flatnonzero(public)) if public.any() else c, side.capture.table("lookups"))
    find(sides, upstream, tuple(guess.addresses), False)
    notes.append(
        f"{_named_by(apis, manifest)}: the captures show no server's name (ClientHellos are missing or cut, or programs ask a relay); "
        f"{printable(guess.label)} is taken instead: {guess.why}"
    )
    return guess


def at_same_address(side: Side) -> list[str]:
    """Other names that connections with requests ask for at the addresses and ports of the target: the provider may count these with it."""
    c = side.connections
    there = set(zip(c["resp_ip"][side.target].tolist(), c["resp_port"][side.target].tolist(), strict=True))
    own = set(c["sni"][side.target].tolist())  # also of hops that do not leave
    rows = enumerate(zip(c["resp_ip"].tolist(), c["resp_port"].tolist(), c["sni"].tolist(), side.target.tolist(), strict=True))
    others = {row: sni for row, (ip, port, sni, is_target) in rows if sni and sni not in own and not is_target and (ip, port) in there}
    return sorted({others[row] for row in others.keys() & _asking(side)}) if others else []


def _asking(side: Side) -> set[int]:
    """Rows of the connections that carry requests."""
    return {side.connection_of[k] for k in side.capture.table("exchanges")["session_id"].tolist() if k in side.connection_of}


def of_same_provider(side: Side) -> list[str]:
    """Other APIs of the target's provider that connections with requests ask, at whatever address: they may count together."""
    names = side.connections["sni"]
    own, every = set(names[side.target].tolist()), names.tolist()
    domains = [each for each in OF_ONE_PROVIDER if any(matching(name, each) for name in own)]
    if not domains or own >= set(every):
        return []
    return sorted({name for row in _asking(side) if (name := every[row]) not in own and any(matching(name, each) for each in domains)})


def _with_nameless(connections: Table, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Also connections without a hello to an address and port of the target: as they asked for no other name, it is the same server."""
    there = set(zip(connections["resp_ip"][rows].tolist(), connections["resp_port"][rows].tolist(), strict=True))
    if not there:
        return rows
    theirs = [sni is None and (ip, port) in there for ip, port, sni in connections.tuples("resp_ip", "resp_port", "sni")]
    return rows | np.array(theirs, dtype=bool)


def choose(
    connections: Table,
    lookups: Table,
    apis: tuple[str, ...] = (),
    *,
    manifest: bool = False,
    reached: Collection[str] = (),
    tunnels: Bools | None = None,
) -> Target:
    """The target of a capture. ``manifest``: the manifest of a recording named the APIs, nobody on the command line.  ``reached``: addresses at which another
    capture has it.  tunnels : which connections carry packets, and no requests.

    Raises
    ------
    NetlensError
        an API was named and no connection of the capture goes to it; the message lists what there is.
    """
    if apis:
        return _named(connections, lookups, apis, manifest, reached)
    known = np.array([matching(s, KNOWN_APIS) is not None for s in connections["sni"].tolist()], dtype=bool)
    if known.any():
        return _of(connections, known, True, "a known LLM API")
    labels = overlap.labels(connections, "target")
    # what runs over TCP but is no application's own question: remote shells and name lookups
    plain = ~np.isin(connections["resp_port"], (22, 53, 853))
    if tunnels is not None:
        plain &= ~tunnels
    if not plain.any():
        plain = np.ones(connections.rows, dtype=bool)
    if not connections.rows:
        return Target([], [], True, "no TCP connection is in the capture", plain)
    names, back, counts = np.unique(labels[plain].astype(str), return_inverse=True, return_counts=True)
    chosen = connections.take(np.flatnonzero(plain))
    # only the busiest can have the highest peak worth naming; more would take long on a capture of many servers
    busiest = np.argsort(-counts, kind="stable")[:20]
    peaks = {int(i): overlap.connections_curve(chosen.take(np.flatnonzero(back == i))).peak().count for i in busiest}
    best = max(busiest.tolist(), key=lambda i: (peaks[i], int(counts[i])))
    rows = labels == names[best]
    alone = [i for i in busiest.tolist() if (peaks[i], counts[i]) == (peaks[best], counts[best])] == [best]
    busy = f"{peaks[best]:,} open at once, {plural(int(counts[best]), 'connection')} in all"
    why = "the only server" if len(names) == 1 else f"of {len(names):,} servers, {'the' if alone else 'one of the'} busiest ({busy})"
    return _of(connections, rows & plain, True, why)


def _named(connections: Table, lookups: Table, apis: tuple[str, ...], manifest: bool, reached: Collection[str]) -> Target:
    names, addresses = set(), set()
    for api in apis:
        try:
            addresses.add(str(ipaddress.ip_address(api)))
        except ValueError:
            names.add(api.lower().rstrip("."))
    by_sni = np.array([matching(s, names) is not None for s in connections["sni"].tolist()], dtype=bool)
    by_address = np.array([ip in addresses for ip in connections["resp_ip"].tolist()], dtype=bool)
    # where no hello was captured, the answer to the lookup tells, or another capture; a shared address (CDN) with another SNI is somebody else's
    looked_up = {a for name, answers in lookups.tuples("qname", "answers") if matching(name, names) for a in answers or ()}.union(reached)
    by_lookup = np.array([s is None and ip in looked_up for s, ip in connections.tuples("sni", "resp_ip")], dtype=bool)
    rows = by_sni | by_address | by_lookup
    if not connections.rows:  # a capture of a tunnel's outside, say; what logs tell is still worth saying
        return Target(sorted(names), sorted(addresses), False, "named, but no TCP connection is in the capture", rows)
    if not rows.any():
        there = sorted({s for s in connections["sni"].tolist() if s}) or sorted(set(connections["resp_ip"].tolist()))
        few = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
        told = _named_by(apis, manifest)
        other = "; --api NAME chooses another" if manifest else ""
        raise NetlensError(f"{told}: this capture has no connection there, only to {printable(few) or 'nobody'}{other}")
    return _of(connections, rows, False, "from the manifest" if manifest else "named")


def _of(connections: Table, rows: np.ndarray[Any, Any], guessed: bool, why: str) -> Target:
    names = sorted({s for s in connections["sni"][rows].tolist() if s})
    return Target(names, sorted(set(connections["resp_ip"][rows].tolist())), guessed, why, rows)
