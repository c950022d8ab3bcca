"""What the captures say: the verdict on every cause with its evidence, the limit, the fixes, and the facts they rest on.

One capture or two: with one, everything that it can show is said, and what the other would decide. All numbers are of the tables; every claim
cites frames. Nothing here computes what is weighed: captures are rebuilt in :mod:`netlens.chains` and looked at in :mod:`netlens.lenses`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens import lenses
from netlens.api import Capture, read_side_by_side
from netlens.arrays import give_back, no_cycles
from netlens.chains import overlap, target
from netlens.chains.clock import FOR_CLOCKS, Clock, ahead, beside
from netlens.chains.divided import Division, document, table
from netlens.chains.inputs import Inputs, log_of, read_beside, read_logs, read_sockets
from netlens.chains.linking import CODES, link
from netlens.chains.nesting import NEARLY_ALL, RELAYS_OWN
from netlens.chains.parties import Party, parties
from netlens.chains.paths import chains
from netlens.chains.requests import UPSTREAM
from netlens.chains.situation import HOST, REJECTED, SIDES, UNKNOWN, VM, Situation, joined
from netlens.chains.traffic import Traffic, rebuild
from netlens.extras import need
from netlens.lenses import Finding, refused
from netlens.lenses.refused import counting
from netlens.lenses.refused.labels import labelled
from netlens.lenses.refused.labels.error_log import behind_lines
from netlens.text import endpoint, plural, printable
from netlens.threads import in_parallel

if TYPE_CHECKING:
    import pandas as pd

    from netlens.aside import Aside
    from netlens.chains.side import Side
    from netlens.columns import Bools, Ints
    from netlens.lenses.refused.fixes import Prediction
    from netlens.lenses.refused.limit import Limit
    from netlens.lenses.refused.verdict import Verdict
    from netlens.lenses.refused.weighing import Weighed
    from netlens.parsers.errorlog import ErrorLog
    from netlens.schema import Table

EXPLAINS = 0.9  #: AUC from which a limit explains which requests were refused; true ones have 0.97 and more
CLEARLY = 0.02  #: of AUC; between counts that differ in nothing it is 0, where the other name is half of what counts it was 0.2
MANY = 5_000  #: requests from which on two processes share the work: below, it is done before another one has begun
TAIL_S = 1.0  #: a half-closed session that received for longer than this is told of; orderly closes take a round trip


@dataclass(frozen=True)
class PeakFacts:
    """A peak and the frames that make it."""

    count: int
    from_ns: int
    to_ns: int
    frames: list[int]


@dataclass(frozen=True)
class SideFindings:
    """What one capture shows by itself. ``requests``: bool per exchange, to the target, of NAT copies one."""

    capture: Capture
    vantage: str | None
    rows: np.ndarray[Any, Any]  # bool per connection: to the target
    connections: PeakFacts
    in_flight: PeakFacts
    tails: list[dict[str, Any]]
    paths: dict[str, int]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        part = self.capture.part
        return {
            "vantage": self.vantage,
            "first_ns": part.first_ns,
            "last_ns": part.last_ns,
            "connections": int(self.rows.sum()),
            "peaks": {"connections": asdict(self.connections), "in_flight": asdict(self.in_flight)},
            "paths": self.paths,
            "tails": self.tails,
            "notes": self.notes,
        }


@dataclass(frozen=True, eq=False)
class Analysis:
    """The findings; ``to_dict`` is the JSON of ``netlens analyze``, whose fields are attributes here.

    sides : findings of each capture by side ("vm", "host"; None for one whose side nobody told); ``vm``, ``host`` and ``capture`` are their tables.
    """

    inputs: list[dict[str, Any]]
    quality: dict[str, Any]
    clock: Clock
    target: target.Target
    counts: dict[str, Any]
    peaks: dict[str, Any]
    limit: Limit | None
    hypotheses: list[Verdict]
    cause: str | None
    fixes: list[Prediction]
    sides: dict[str | None, SideFindings]
    assembled: Traffic
    weighed: Weighed
    given: Inputs
    findings: list[Finding]

    @property
    def capture(self) -> Capture:
        """The capture of what the provider saw: the host's if there is one, else the only one."""
        return self.assembled.upstream.capture

    @property
    def vm(self) -> Capture | None:
        return self.sides["vm"].capture if "vm" in self.sides else None

    @property
    def host(self) -> Capture | None:
        return self.sides["host"].capture if "host" in self.sides else None

    @property
    def tails(self) -> list[dict[str, Any]]:
        """Connections that received on for more than a second after their program had closed them, by the capture that shows it."""
        return [{**tail, "side": name} for name, side in self.sides.items() for tail in side.tails]

    @property
    def paths(self) -> dict[str, int]:
        """How connections went, as seen where the program in question runs."""
        return (self.sides.get("vm") or next(iter(self.sides.values()))).paths

    @property
    def paired(self) -> bool:
        """Whether both sides were captured."""
        return "vm" in self.sides and "host" in self.sides

    @property
    def requests(self) -> pd.DataFrame:
        """Requests to the target on the host's clock, one row each, with how many others were counted under each rule that was fitted.

        side ("vm", "host", "unknown"), start_ns (last byte sent), end_ns (upstream), done_ns (as the program saw it), rejected (nullable
        boolean), source of that label, session (row of the upstream sessions), stream (HTTP/2, else missing), host_frame, vm_frame.
        """
        need("pandas")
        import pandas as pd

        r = self.assembled.situation.requests
        columns: dict[str, Any] = {
            "side": [SIDES[k] for k in r.side.tolist()],
            "start_ns": r.start_ns,
            "end_ns": r.end_ns,
            "done_ns": r.done_ns,
            "rejected": pd.array([None if v < 0 else bool(v) for v in r.rejected.tolist()], dtype="boolean"),
            "source": r.source,
            "session": r.session,
            "stream": pd.array([None if v < 0 else v for v in r.stream.tolist()], dtype="Int64"),
            "host_frame": pd.array([v or None for v in r.host_frame.tolist()], dtype="Int64"),
            "vm_frame": pd.array([v or None for v in r.vm_frame.tolist()], dtype="Int64"),
        }
        for fit in self.weighed.weighing.inference.fits:
            columns[fit.rule.name] = fit.counts.count
        return pd.DataFrame(columns)

    @property
    def parties(self) -> list[Party]:
        """Who sent requests to the target, as far as the captures tell them apart."""
        return self.assembled.once(parties)

    @property
    def divided(self) -> Division:
        """Where the time of every request went, each with its time line, on the host's clock."""
        return lenses.divided(self.assembled)

    @property
    def budget(self) -> pd.DataFrame:
        """Where the time of every request went: phases of integer nanoseconds whose sum is exactly the total (:data:`netlens.tables.BUDGET`)."""
        return table(self.divided).to_pandas()

    @property
    def best_fix(self) -> Prediction | None:
        """The first fix whose effect is predicted and is one."""
        return next((f for f in self.fixes if f.rejections_after is not None and f.rejections_after < f.rejections_before), None)

    @property
    def limiter(self) -> dict[str, Any] | None:
        """What the provider does, as far as the refusals show it: see the JSON."""
        return self.weighed.limiter

    def let_segments_go(self) -> None:
        """Give back the memory of single segments, a quarter of all. Afterwards nothing that lenses look at can be asked for, nor an overview."""
        for side in self.sides.values():
            if (trail := side.capture.part.trail) is not None:
                trail.let_go()

    def to_dict(self) -> dict[str, Any]:
        # turns of HTTP/2 are no requests: what they would count is not known
        hidden = ("exchanges", "rejections", "refused_by_class") if self.assembled.situation.uncountable else ()
        files = {name or SIDES[VM]: side.capture.paths[0] for name, side in self.sides.items()}
        if None in self.sides:
            files = dict.fromkeys(SIDES[:2], self.sides[None].capture.paths[0])
        return {
            "inputs": self.inputs,
            "quality": self.quality,
            "clock": self.clock.to_dict() if self.paired else None,
            "target": {name: getattr(self.target, name) for name in ("names", "addresses", "guessed", "why")},
            "counts": self.counts | dict.fromkeys(hidden),
            "peaks": self.peaks,
            "paths": self.paths,
            "tails": self.tails,
            "limit": None
            if self.limit is None
            else {k: v for k, v in asdict(self.limit).items() if k not in ("held_s", "changes", "models")},
            "limiter": self.limiter,
            "limiter_probabilities": self.weighed.likely or None,
            "hypotheses": [v.to_dict(files) for v in self.hypotheses],
            "cause": self.cause,
            "fixes": [f.to_dict() for f in self.fixes],
            "best_fix": None if self.best_fix is None else self.best_fix.id,
            "findings": [f.to_dict(files) for f in self.findings],
            "unmatched_rejections": self.assembled.unmatched,
            "chains": self.assembled.once(chains),
            "parties": [party.to_dict() | ({"requests": None, "refused": None} if hidden else {}) for party in self.parties],
            "budget": self.assembled.once(_budget),
            "sides": {name or "capture": side.to_dict() for name, side in self.sides.items()},
        }


def rebuilt(captures: Mapping[str | None, Capture], given: Inputs, clock: Clock | None = None, *, at_relay: bool = False) -> Traffic:
    """What programs did, with labels on their requests. ``clock``: if it is known; the captures forget what it is found by. ``at_relay``: see
    :func:`netlens.chains.linking.link`.

    Raises
    ------
    NetlensError
        a file cannot be read, or a named API is in no capture.
    """
    read_side_by_side(captures.values())
    trails = [trail for capture in captures.values() if (trail := capture.part.trail) is not None]
    in_parallel(*(trail.segments for trail in trails))  # put in order before there are two processes

    def logs(_: object = None) -> dict[str, ErrorLog]:
        return read_logs(given)

    told: Callable[[], Clock] | None = (lambda: clock) if clock else None
    other: Aside | None = None
    if clock is None and {"vm", "host"} <= captures.keys():
        vm, host = captures["vm"], captures["host"]
        other = beside(vm, host, logs)
        told = ahead(vm, host, other)
    samples = read_sockets(given.sockets) if given.sockets is not None else ()
    keys = bool(given.keylogs or given.requests)

    @cache
    def read() -> dict[str, ErrorLog]:
        found = other.results().get(logs) if other else None
        return logs() if found is None else found

    def taught(side: Side, ns: Ints, sizes: Ints) -> Bools:
        log = log_of(given, side.of_log(), read(), side.bounds_ns[1], [])
        return behind_lines(log, ns, sizes) if log is not None else np.zeros(len(ns), np.bool_)

    manifest = given.apis_from == "the manifest"
    linked = link(captures, given.apis, samples, manifest=manifest, keys=keys, clock=told, at_relay=at_relay, taught=taught)
    for trail in trails:
        trail.forget(*(name for name in FOR_CLOCKS if name != "iface" or not trail.heard_on_air))
    names = [*(side.of_log() for side in linked.sides.values()), *linked.clocks]
    traffic = rebuild(linked, read_beside(given, linked.upstream.capture, names, read()))
    give_back()  # two processes have all of it from here on
    return labelled(traffic.knowing(aside=lenses.ahead(traffic, _shown, _budget)) if len(traffic.rows) >= MANY else traffic)


@no_cycles()
def analyze(captures: Mapping[str | None, Capture], given: Inputs) -> Analysis:
    """Findings of one or two captures.

    Parameters
    ----------
    captures : by side, with all tables.  given : what lies beside them, see :mod:`netlens.chains.inputs`.

    Raises
    ------
    CaptureError, WireError
        a file cannot be read.
    NetlensError
        a named API is in no capture.
    """
    made = _with_same_address(_of_one_server(_at_relay(rebuilt(captures, given), captures, given), captures, given), captures, given)
    judged = made.once(refused.judge)
    found = lenses.look(made)
    weighed, situation = judged.weighed, made.situation
    shown = made.once(_shown)
    sides = {name: SideFindings(side.capture, rows=side.target, **shown[name]) for name, side in made.sides.items()}
    notes = given.notes + [f"{name}: {note}" if len(sides) > 1 else note for name, side in sides.items() for note in side.notes]
    notes += made.notes
    notes += [situation.uncountable] if situation.uncountable else []
    return Analysis(
        [_input(i, name, side.vantage) for name, side in sides.items() for i in side.capture.part.inputs]
        + [_input(i, name, None) for name, side in made.further.items() for i in side.capture.part.inputs],
        {
            "first_ns": min((s.capture.part.first_ns for s in sides.values() if s.capture.part.first_ns is not None), default=None),
            "last_ns": max((s.capture.part.last_ns for s in sides.values() if s.capture.part.last_ns is not None), default=None),
            "reasons": [{**row, "side": name} for name, side in sides.items() for row in side.capture.table("quality").records()],
            "notes": notes,
        },
        made.clock,
        made.goal,
        _counts(made),
        _peaks(made, sides),
        weighed.limit,
        weighed.verdicts,
        weighed.cause,
        judged.fixes,
        sides,
        made,
        weighed,
        given,
        found,
    )


def _at_relay(made: Traffic, captures: Mapping[str | None, Capture], given: Inputs) -> Traffic:
    """What the VM asks a relay on the host, if the relay refused by itself: it answered requests without asking the API, nearly all that the VM's log calls
    refused are among these, and the API refused none."""
    if made.nested is None or len(made.by_relays) != 1 or (made.situation.requests.rejected == REJECTED).any():
        return made
    asked = rebuilt(captures, given, made.clock, at_relay=True)
    rejected = asked.situation.requests.rejected == REJECTED
    itself = np.isin(asked.rows[rejected, UPSTREAM], made.nested.itself)
    if asked.upstream.name != "vm" or itself.sum() < RELAYS_OWN or itself.mean() < NEARLY_ALL:
        return made
    (where, _), *_ = made.by_relays.items()
    note = (
        f"the relay at {printable(endpoint(*where))} refuses by itself: it did not ask the API for {int(itself.sum()):,} of {plural(len(itself), 'request')} "
        "that were refused, and the API refused none. So what the VM asks the relay is counted"
    )
    return replace(asked, notes=[*asked.notes, note])


def _of_one_server(made: Traffic, captures: Mapping[str | None, Capture], given: Inputs) -> Traffic:
    """The traffic to one of several guessed names, if only that one's requests were refused, and they are explained no worse by themselves."""
    if given.apis or not made.goal.guessed or len(made.goal.names) < 2:
        return made
    rows = made.rows[:, UPSTREAM]
    refused_rows = rows[(made.situation.requests.rejected == REJECTED) & (rows >= 0)]
    names = set(made.upstream.connections["sni"][made.upstream.owner[refused_rows]].tolist())
    if len(names) != 1 or None in names:
        return made
    alone = rebuilt(captures, replace(given, apis=tuple(names), apis_from="named"), made.clock)
    if _explained(alone) < _explained(made) - CLEARLY:
        return made
    others = ", ".join(printable(name) for name in made.goal.names if name not in names)
    goal = replace(alone.goal, guessed=True, why=f"{made.goal.why}; no request to {others} was refused")
    return replace(alone, goal=goal)


def _explained(of: Traffic) -> float:
    """How well a limit on what is open separates refused from accepted requests; 0 without one."""
    fit = of.once(refused.judge).weighed.limit
    return 0.0 if fit is None or math.isnan(fit.auc) else fit.auc


def _with_same_address(made: Traffic, captures: Mapping[str | None, Capture], given: Inputs) -> Traffic:
    """The traffic that explains the refusals better: that of the target, or that of all names at its addresses and of its provider, which may be counted
    together.

    Where the target's alone explains nothing, all is taken: a cause that rests on a part would be judged on what was left out. So it is where none of
    its requests was refused for certain, but logs tell of refusals that are none of its.
    """
    near, related = target.at_same_address(made.upstream), target.of_same_provider(made.upstream)
    names = sorted({*near, *related})
    if not names or not ((made.situation.requests.rejected == REJECTED).any() or made.situation.facts.get("unmatched")):
        return made
    wider = rebuilt(
        captures, replace(given, apis=(*(given.apis or made.goal.names or made.goal.addresses), *names), apis_from="named"), made.clock
    )
    explained = [_explained(of) for of in (made, wider)]
    certain = [int((of.situation.requests.rejected == REJECTED).sum()) for of in (made, wider)]
    left = [int(of.situation.facts.get("unmatched", 0)) for of in (made, wider)]
    needed = CLEARLY if left[1] >= left[0] else -CLEARLY  # refusals that only the other name's requests can be speak for it
    chosen = wider if explained[1] > explained[0] + needed or explained[0] < EXPLAINS else made
    extra = len(wider.situation.requests) - len(made.situation.requests)
    requests = f"{plural(extra, 'request')} to {', '.join(printable(name) for name in names)} {'at the same address' if near else 'of the same provider'}"
    shown = (
        f"with them the limit separates refused from accepted requests with AUC {explained[1]:.2f}, without with {explained[0]:.2f}"
        if any(explained)
        else f"with them {plural(certain[1], 'refusal')} can be seen, without {certain[0]:,}, and neither shows a limit"
    )
    chosen.notes.append(f"{requests} {'are counted as well' if chosen is wider else 'are not counted'}: {shown}")
    if chosen is made:
        return made
    every = list(dict.fromkeys([*made.goal.names, *names]))
    return replace(wider, goal=replace(wider.goal, names=every, guessed=made.goal.guessed, why=made.goal.why))


def together(found: Sequence[Analysis]) -> Analysis:
    """Several recordings of one situation weighed as one: the limiter and the causes are shared, clocks and parties are each recording's own.

    Tables and pictures are those of the recording with most refusals.
    """
    shown = max(found, key=lambda each: int(each.counts["rejections"] or 0))
    situation = joined([each.assembled.situation for each in found])
    judged = refused.judge(replace(shown.assembled, situation=situation))
    counts: dict[str, Any] = {}
    for name, value in shown.counts.items():
        if name in (*_BETWEEN, "exchanges_by_connection"):
            continue
        values = [each.counts.get(name) for each in found]
        if isinstance(value, dict):
            counts[name] = dict(sorted(sum((Counter(each) for each in values), Counter[str]()).items()))
        else:
            counts[name] = sum(each or 0 for each in values)
    counts |= _between(situation) | {"exchanges_by_connection": None}  # sessions of several recordings have no common names
    weighed = judged.weighed
    return replace(
        shown,
        quality={**shown.quality, "notes": shown.quality["notes"] + _unlike(found)},
        counts=counts,
        limit=weighed.limit,
        hypotheses=weighed.verdicts,
        cause=weighed.cause,
        fixes=judged.fixes,
        weighed=weighed,
    )


def _unlike(found: Sequence[Analysis]) -> list[str]:
    """What speaks against the recordings being of one situation."""
    names = dict.fromkeys(", ".join(each.target.names or each.target.addresses) for each in found)
    causes = dict.fromkeys(each.cause for each in found if each.cause is not None)
    out = [f"the recordings are of requests to different servers: {printable('; '.join(names))}"] if len(names) > 1 else []
    by_themselves = f"by themselves the recordings have different causes ({', '.join(causes)}), so they may be of different situations"
    return [*out, *([by_themselves] if len(causes) > 1 else [])]


def _input(i: Any, side: str | None, vantage: str | None) -> dict[str, Any]:
    names = ("path", "container", "frames", "bytes", "snaplen", "link_types")
    return {name: getattr(i, name) for name in names} | {"vantage": side or vantage, "warnings": i.warnings}


def _counts(made: Traffic) -> dict[str, Any]:
    """Of both captures together: sessions on either wire; connections, lookups and requests of programs, each once."""
    s = made.situation
    pairs = made.pairing
    connections = int(made.upstream.target.sum())
    lookups = sum(side.capture.table("lookups").rows for side in made.sides.values())
    if pairs is not None:
        lookups -= len(pairs.lookup_pairs)
        vm = made.sides["vm"]
        companions = int(((pairs.companion_of >= 0) & made.upstream.target).sum())
        connections += int((vm.target & (pairs.host_of < 0)).sum()) - companions
        connections -= 0 if made.nested is None else len(made.nested.carriers)
    return {
        "sessions": sum(side.sessions.rows for side in made.sides.values()),
        "connections": connections,
        "lookups": lookups,
        "exchanges": len(s.requests),
        **_between(s),
        "exchanges_by_connection": _by_connection(made) if s.between is not None else None,
        "rejections": int((s.requests.rejected == REJECTED).sum()),
        "refused_by_class": dict(sorted(Counter(s.requests.refusal_class[s.requests.rejected == REJECTED].tolist()).items())),
    }


_BETWEEN = ("exchanges_between", "exchanges_likeliest", "in_flight_between")


def _between(situation: Situation) -> dict[str, Any]:
    """How many requests there are, at least and at most, and most likely, as there are rows of them; and how many in progress at once, at least and at most;
    None where that is not in doubt."""
    if situation.between is None:
        return dict.fromkeys(_BETWEEN)
    told = [*situation.between], len(situation.requests), [*counting.in_flight_between(situation)]
    return dict(zip(_BETWEEN, told, strict=True))


def _by_connection(made: Traffic) -> list[dict[str, int]] | None:
    """The same by connection of HTTP/2 on which it is in doubt, named by its session in the upstream's capture."""
    up = made.upstream
    told = [
        {"session_id": up.read_of[row], "least": those.least, "likeliest": len(those.streams), "most": those.most}
        for row, those in sorted(up.counted.items())
        if not those.exact
    ]
    return told or None


def _peaks(made: Traffic, sides: Mapping[str | None, SideFindings]) -> dict[str, Any]:
    """Most application connections to the target open at once, as the programs saw them: of the VM, of the host itself, together.

    What a relay opens by itself, beside others or to carry requests on, is no program's.
    """
    up = made.upstream
    c = up.connections
    relays = np.zeros(c.rows, bool) if made.pairing is None else made.pairing.companion_of >= 0
    relays[up.owner[list(made.asked_of_relay)]] = made.pairing is not None
    if made.nested is not None:
        relays[list(made.nested.carriers)] = True
    rows = np.flatnonzero(up.target & ~relays)
    out: dict[str, Any] = {"vm": None, "host": None, "combined": None}
    start, end, side = c["start_ns"][rows].copy(), c["end_ns"][rows].copy(), _origin(made, rows)
    if made.pairing is not None:
        vm = made.sides["vm"]
        theirs = np.flatnonzero(vm.target)
        begin, close = (made.clock.to_host(vm.connections[name][theirs]) for name in ("start_ns", "end_ns"))
        others = side != VM  # of those of the VM, what the VM saw
        start, end = np.concatenate([start[others], begin]), np.concatenate([end[others], close])
        side = np.concatenate([side[others], np.full(len(theirs), VM, np.int8)])
    known = (side == VM).any() or up.name == "vm" or made.pairing is not None
    if known:
        out["vm"] = overlap.curve(start[side == VM], end[side == VM]).peak().count
    if _host_used(made):
        out["host"] = overlap.curve(start[side == HOST], end[side == HOST]).peak().count
        out["combined"] = overlap.curve(start, end).peak().count
    if made.pairing is None:
        only = sides[up.name]
        out["capture"] = {"connections": asdict(only.connections), "in_flight": asdict(only.in_flight)}
    out["upstream"] = counting.peaks(made.situation)
    return out


def _host_used(made: Traffic) -> bool:
    """Whether what leaves the host is in the capture that is used; not where nothing tells which of its connections carries what, and only the VM's is."""
    return made.situation.host_seen and made.upstream.name != "vm"


def _origin(made: Traffic, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if made.pairing is not None:
        return made.pairing.origin[rows]
    if not _host_used(made):
        return np.full(len(rows), VM, np.int8)
    return np.array([CODES.get(o, UNKNOWN) for o in made.upstream.connections["origin"][rows].tolist()], np.int8)


def _shown(made: Traffic) -> dict[str | None, dict[str, Any]]:
    """Of each capture what it shows by itself, as :class:`SideFindings` has it."""
    return {name: _of_side(side) for name, side in made.sides.items()}


def _of_side(side: Side) -> dict[str, Any]:
    connections, sessions = side.connections, side.sessions
    chosen = connections.take(np.flatnonzero(side.target))
    bounds = side.capture.part.bounds_ns
    open_peak = overlap.connections_curve(chosen, bounds).peak() if chosen.rows else None
    theirs = side.exchanges
    flight_peak = overlap.exchanges_curve(theirs, sessions, None, bounds).peak() if theirs.rows else None
    return {
        "vantage": side.name or (connections["vantage"][0] if connections.rows else None),
        "connections": _facts(open_peak, chosen["first_frame"]),
        "in_flight": _facts(flight_peak, theirs["start_frame"]),
        "tails": _tails(sessions, chosen),
        "paths": dict(Counter(chosen["path"].tolist())),
        "notes": _notes(side, chosen),
    }


def _budget(made: Traffic) -> dict[str, Any]:
    return document(lenses.divided(made))


def _facts(peak: overlap.Peak | None, frames: np.ndarray[Any, Any]) -> PeakFacts:
    if peak is None:
        return PeakFacts(0, 0, 0, [])
    return PeakFacts(peak.count, peak.from_ns, peak.to_ns, sorted(int(f) for f in frames[peak.members]))


def _tails(sessions: Table, connections: Table) -> list[dict[str, Any]]:
    """Connections of the target that went on receiving after the program had closed its side; ``session_id``: the one that received.

    Of a redirected connection the FIN stands in one half and the payload in the other, so that the bytes after it are not known (None).
    """
    out = []
    closed, received = (sessions[name].tolist() for name in ("orig_fin_ns", "resp_last_payload_ns"))
    for row, ids in enumerate(connections["session_ids"].tolist()):
        fins = [(t, k) for k in ids if (t := closed[k]) is not None]
        lasts = [(t, k) for k in ids if (t := received[k]) is not None]
        if not fins or not lasts:
            continue
        (fin, _), (last, receiver) = min(fins), max(lasts)
        if (last - fin) / 1e9 > TAIL_S:
            known = closed[receiver] is not None
            out.append(
                {
                    "connection_id": int(connections["connection_id"][row]),
                    "session_id": receiver,
                    "tail_s": (last - fin) / 1e9,
                    "bytes": int(sessions["resp_bytes_after_fin"][receiver]) if known else None,
                    "frames": [int(connections["first_frame"][row]), int(connections["last_frame"][row])],
                }
            )
    return out


def _notes(side: Side, connections: Table) -> list[str]:
    """Sentences that must precede any conclusion."""
    notes = []
    capture, there = side.capture, side.seen
    if there.lost_bytes:
        notes.append(
            f"capture loss: {plural(there.lost_bytes, 'byte that was acknowledged is', 'bytes that were acknowledged are')} not in the capture "
            f"({there.lost_share:.1%} of the payload); "
            "counts may be low"
        )
    elif there.one_way:
        notes.append("the capture has only one direction of the traffic")
    reasons = dict(zip(capture.table("quality")["reason"].tolist(), capture.table("quality")["frames"].tolist(), strict=True))
    if reasons.get("cut_payload"):
        notes.append(f"the snaplen truncated {plural(reasons['cut_payload'], 'frame')}; server names and lookups in them may be missing")
    notes += capture.part.unread()
    if reasons.get("quic_initial"):
        notes.append(f"{plural(reasons['quic_initial'], 'QUIC Initial packet')}: requests over QUIC are not seen")
    before = int(connections["started_before_capture"].sum())
    if before:
        notes.append(f"{before:,} of the connections {'was' if before == 1 else 'were'} open before the capture began")
    counted = {k for row in side.owner[side.exchange_rows < 0].tolist() for k in side.session_ids[row]}
    of = [[side.http2[k] for k in ids if k in side.http2 and k not in counted] for ids in connections["session_ids"].tolist()]
    for n, how in ((sum(True in told for told in of), "is spoken"), (sum(None in told and True not in told for told in of), "was offered")):
        if n:
            notes.append(f"HTTP/2 {how} on {plural(n, 'connection')}: requests cannot be told apart by turn-taking there")
    return notes
