"""Situations of known truth, drawn at random: what ``netlens.lenses.refused.weighing.weigh`` sees, and what really was the matter.

Theory of operation
-------------------
1. A *family* draws a set-up: programs, path, provider, and which part of it the captures see (:class:`View`). Families are made on purpose for
   what is easily confused; ``FAMILIES`` tells each one's purpose.
2. ``tests.bench.world`` runs it. :func:`observe` fills a Situation with what an analyst would have in his tables, no more.
3. The truth is counterfactual: a cause is a cause if at least half of the refusals that the analyst knows of would have been acceptances had its
   items been absent at that moment, by the provider's own bookkeeping. ``own-concurrency``: the side's own requests reached the limit alone.
   ``provider``: overload, or others elsewhere filled the limit alone.
4. Under a limit over time what is accepted in place of a refusal takes of the limit, too, and programs ask for more once they are served. So each side is
   also simulated by itself: by how much less it is refused for each request that is accepted is a reading of its own.
5. Where the definition leaves room (the other side's lookups and companions, its leftovers, refusals of the VM or of both) each share is a
   range over all readings. A range that touches :data:`BORDERLINE` or has both sides of it is borderline: neither right nor wrong.

Limits: labels are wrong in one family only, else at most missing. Of a quota the provider says that it is one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log

import numpy as np

from netlens.chains.situation import (
    ACCEPTED,
    COMPANION,
    HOST,
    KINDS,
    LOOKUPS,
    REJECTED,
    REQUESTS,
    SIDES,
    UNKNOWN,
    UNLABELLED,
    VM,
    Requests,
    Sessions,
    Situation,
    Underway,
)
from netlens.lab.provider.limiters.overload import Settings as Overload
from netlens.lenses.refused.classes import of_one_class
from tests.bench.world import ELSEWHERE, Flow, Held, History, OverTime, Path, Program, Provider, Request, Retry, S, Setup, ns, simulate

#: that situations have; of others no truth is known
CAUSES = ("same-nat-ip", "multiplexing", "dns", "keep-alive", "own-concurrency", "own-rate", "provider")
BORDERLINE = (0.35, 0.65)
EPOCH_NS = 1_764_000_000 * S
FEWEST_REQUESTS = 5
ANALYSTS_MARGIN_NS = 2_000_000  #: what an analyst adds to the round trip for what provider and host compute


@dataclass(frozen=True)
class View:
    """What the captures see of a world. Fractions of the time for ``begins`` and ``ends``.

    few : the captures are cut so that one to so many refusals are in them.  clock_half_ns : half the interval of the clock's offset; the true one
    is anywhere in it.  unpaired_fraction : of the VM's upstream sessions that could not be matched with one of the VM's.
    wrong_fraction : of the refusals that are believed to be accepted.  classes : of refusals, by what refused ("limit", "overload").
    """

    vm_seen: bool = True
    host_seen: bool = True
    begins: float = 0.0
    ends: float = 1.0
    few: int = 0
    host_labelled: bool = True
    unlabelled_fraction: float = 0.0
    clock_half_ns: int = 0
    unpaired_fraction: float = 0.0
    wrong_fraction: float = 0.0
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """``causes`` without regard to borderline ones.  shares : per cause the smallest and the largest reading.

    limit, rule : the provider's, None where nothing is counted.  shown : whether the captures hold a request accepted at one less than the limit and
    one refused at the limit, by the provider's count, so that the value can be told at all.  kind, values : of the limiter, as the JSON calls them.
    """

    causes: frozenset[str]
    borderline: frozenset[str]
    shares: dict[str, tuple[float, float]]
    limit: int | None
    rule: str | None
    shown: bool
    kind: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    limiter: str = ""  # the same more finely, as netlens' limiters call it


@dataclass(frozen=True, eq=False)
class Drawn:
    """A situation with its truth. ``rows``: the provider's own entry for each row of ``situation.requests``."""

    family: str
    seed: int
    situation: Situation
    truth: Truth
    n_rejections: int
    setup: Setup
    view: View
    history: History = field(repr=False)
    rows: list[Request] = field(repr=False)


# --- what the analyst has ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Observed:
    situation: Situation
    rows: list[Request]  # of each row of the requests
    flows: list[Flow]  # of each row of the sessions


class _Observer:
    """Fills the tables from what happened, as far as the captures see it."""

    def __init__(self, history: History, view: View, rng: random.Random) -> None:
        self.history, self.view, self.rng = history, view, rng
        setup = history.setup
        self.begin, self.end = ns(history.end_ns / S * view.begins), ns(history.end_ns / S * view.ends)
        self.tunnelled = setup.path.kind != "nat"
        self.delay = ns(setup.path.vm_delay_s)
        self.half = ns(setup.provider.rtt_s / 2)
        self.clock_error = round(rng.uniform(-1, 1) * view.clock_half_ns)
        vm_flows = [f.number for f in history.flows if f.program.side == VM and f.kind == REQUESTS]
        self.unpaired = {number for number in vm_flows if rng.random() < view.unpaired_fraction}
        self.unpaired_connections = {history.flows[number].connection for number in self.unpaired}
        self.overhead = rng.randint(200, 700)  # bytes of headers and TLS records, which a provider does not count

    def observe(self) -> Observed:
        flows = sorted(
            ((first, f) for f in self.history.flows if self.captured(f) and (first := self.first_frame(f)) is not None),
            key=lambda each: (each[0], each[1].number),
        )
        row_of = {f.number: row for row, (_, f) in enumerate(flows)}
        requests = sorted(
            (r for r in self.history.requests if r.flow.number in row_of and self.begin <= r.start_ns <= self.end),
            key=lambda r: (r.start_ns, r.number),
        )
        return Observed(
            Situation(
                self.requests(requests, row_of),
                self.sessions(flows),
                self.view.vm_seen,
                self.view.host_seen,
                self.view.host_seen,
                (EPOCH_NS + self.begin, EPOCH_NS + self.end),
                2 * self.half + ANALYSTS_MARGIN_NS + self.view.clock_half_ns + (0 if self.view.host_seen else 2 * self.delay),
                None,
                self.facts(f for _, f in flows),
                underway=self.underway(row_of),
                midway_ns=EPOCH_NS + self.begin if any(f.opened_ns < self.begin for _, f in flows) else None,
            ),
            requests,
            [f for _, f in flows],
        )

    def captured(self, flow: Flow) -> bool:
        """Whether it is in a capture at all, at whatever time."""
        if flow.program.side == ELSEWHERE:
            return False
        return self.view.host_seen or (flow.program.side == VM and flow.kind != COMPANION)

    def first_frame(self, flow: Flow) -> int | None:
        """When it is seen first, or None: of one that is older, the next piece of an answer, request or FIN."""
        if flow.opened_ns > self.end:
            return None
        if flow.opened_ns >= self.begin:
            return flow.opened_ns
        if any(r.start_ns < self.begin < r.end_ns for r in flow.requests):
            return self.begin
        later = [t for t in (flow.gone_ns, flow.end_ns, *(r.start_ns for r in flow.requests)) if self.begin <= t <= self.end]
        return min(later, default=None)

    # --- columns

    def side(self, flow: Flow) -> int:
        if flow.program.side == VM and (self.forwarded_unseen(flow) or self.is_unpaired(flow)):
            return UNKNOWN
        return flow.program.side

    def forwarded_unseen(self, flow: Flow) -> bool:
        """Whether the host alone was captured, and cannot tell what it forwards from what is its own."""
        return not self.view.vm_seen and self.tunnelled and flow.program.side == VM

    def is_unpaired(self, flow: Flow) -> bool:
        return flow.program.side == VM and flow.kind != LOOKUPS and flow.connection in self.unpaired_connections

    def done(self, flow: Flow, done_ns: int, gone_ns: int, end_ns: int) -> int:
        """When the program was done, as the captures show it; before it is cut to the row's start and end."""
        if self.is_unpaired(flow):
            return end_ns
        if flow.program.side == VM and not self.view.vm_seen:
            return gone_ns
        both = flow.program.side == VM and self.view.host_seen
        return done_ns + self.clock_error if both else done_ns

    def here(self, ns_at_wire: int) -> int:
        """A time at the upstream wire as the capture point has it. (Without the host that is the VM.)"""
        return ns_at_wire if self.view.host_seen else ns_at_wire - self.delay

    def sessions(self, flows: Sequence[tuple[int, Flow]]) -> Sessions:
        rows = []
        for first, flow in flows:
            start = max(self.here(first), self.begin)
            end = flow.end_ns
            if not self.view.host_seen:
                # A tunnel's near end answers at once; of the far end nothing is known.
                end = flow.done_ns + S // 1000 if self.tunnelled else flow.end_ns + self.delay
            end = max(min(end, self.end), start)
            done = min(max(self.done(flow, flow.done_ns, flow.gone_ns, end), start), end)
            known = not self.forwarded_unseen(flow) and not self.is_unpaired(flow)
            kind = flow.kind if known or flow.kind == LOOKUPS else REQUESTS
            rows.append((self.side(flow), start, end, done, flow.connection if known else -1, kind, self.in_vm(flow)))
        side, start, end, done, connection, kind, in_vm = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 7
        return Sessions(
            np.array(side, np.int8),
            EPOCH_NS + np.array(start, np.int64),
            EPOCH_NS + np.array(end, np.int64),
            EPOCH_NS + np.array(done, np.int64),
            np.array(connection, np.int64),
            np.array(kind, np.int8),
            *self.frames(in_vm),
        )

    def requests(self, requests: Sequence[Request], row_of: dict[int, int]) -> Requests:
        rows = []
        for r in requests:
            start = max(self.here(r.start_ns), self.begin)
            end = max(self.ended(r), start)
            done = min(max(self.done(r.flow, r.done_ns, r.gone_ns, end), start), end)
            told = (*self.label(r), r.stream, self.in_vm(r.flow), r.sent_bytes + self.overhead, r.answer_bytes + self.overhead)
            rows.append((self.side(r.flow), row_of[r.flow.number], start, end, done, *told))
        side, session, start, end, done, label, source, stream, in_vm, sent, answers = (
            (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 11
        )
        return Requests(
            np.array(side, np.int8),
            np.array(session, np.int64),
            EPOCH_NS + np.array(start, np.int64),
            EPOCH_NS + np.array(end, np.int64),
            EPOCH_NS + np.array(done, np.int64),
            np.array(label, np.int8),
            np.array(source, np.object_),
            np.array(stream, np.int64),
            *self.frames(in_vm),
            refusal_class=np.array(
                [self.refusal_class(r) if each == REJECTED else "" for each, r in zip(label, requests, strict=True)], np.object_
            ),
            sent_bytes=np.array(sent, np.int64),
            answer_bytes=np.array(answers, np.int64),
        )

    def ended(self, r: Request) -> int:
        """The end of its answer, as far as it is captured."""
        if self.view.host_seen:
            return min(r.end_ns, self.end)
        if r.complete and r.done_ns >= r.end_ns:
            return min(r.done_ns, self.end)
        return min(r.done_ns + S // 1000 if self.tunnelled else r.end_ns + self.delay, self.end)

    def underway(self, row_of: dict[int, int]) -> Underway:
        """What was asked before the captures began and is answered in them. Of HTTP/2 none: what the server sends first belongs to no one request."""
        old = [r for r in self.history.requests if r.flow.number in row_of and r.start_ns < self.begin < r.end_ns and r.stream < 0]
        columns = ((self.side(r.flow) for r in old), (row_of[r.flow.number] for r in old), (EPOCH_NS + self.ended(r) for r in old))
        return Underway(*(np.array(list(column), kind) for column, kind in zip(columns, (np.int8, np.int64, np.int64), strict=True)))

    def refusal_class(self, request: Request) -> str:
        """As the provider's code has it, where it says what it is."""
        it = self.history.setup.provider.over_time
        if it is not None and it.kind == "quota":
            return "quota"
        return self.view.classes.get(request.refused or "", "unknown")

    def label(self, request: Request) -> tuple[int, str]:
        """ACCEPTED, REJECTED or UNLABELLED, and where that comes from."""
        unknown = (UNLABELLED, "")
        if request.flow.program.side == HOST and not self.view.host_labelled:
            return unknown
        if request.refused and not request.flow.program.logged:
            return unknown  # it looks like a refusal, and nobody says so
        answered = request.end_ns if request.refused else request.decided_ns + self.half
        if answered > self.end or self.rng.random() < self.view.unlabelled_fraction:
            return unknown
        if request.refused and self.rng.random() < self.view.wrong_fraction:
            return ACCEPTED, "error log"
        source = "key log" if request.stream > 0 else "inferred" if self.side(request.flow) == UNKNOWN else "error log"
        return (REJECTED if request.refused else ACCEPTED), source

    def in_vm(self, flow: Flow) -> bool:
        return self.view.vm_seen and flow.program.side == VM and flow.kind != COMPANION and not self.is_unpaired(flow)

    def frames(self, in_vm: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
        """Running numbers of the rows in each capture, 0 where it is not in it."""
        there = np.array(in_vm, np.int64)
        host = np.arange(1, len(there) + 1, dtype=np.int64) if self.view.host_seen else np.zeros(len(there), np.int64)
        return host, np.cumsum(there) * there

    def facts(self, flows: Iterable[Flow]) -> dict[str, int]:
        if not (self.view.vm_seen and self.view.host_seen):
            return {}
        return {"pairs": sum(self.in_vm(f) and f.kind == REQUESTS for f in flows), "lookups": 0}


def observe(history: History, view: View, rng: random.Random) -> Observed:
    """The tables that an analyst has of this."""
    return _Observer(history, view, rng).observe()


# --- what is true -----------------------------------------------------------------------------------------------------------------------------


def _below(held: Sequence[Held], limit: int, goes: Callable[[Held], bool]) -> bool:
    """Whether less than the limit is held once all that ``goes`` is away."""
    return sum(h.takes for h in held if not goes(h)) < limit


def readings(request: Request, limit: int, over_time: str = "") -> dict[str, tuple[bool, ...]]:
    """Per cause, whether it has this refusal on its account: the strict reading first, then wider ones."""
    if request.refused == "overload":
        return {cause: (cause == "provider",) for cause in CAUSES}
    if over_time:
        strict = "own-rate" if request.alone else "same-nat-ip"
        # how much of a quota was used before the recording nobody knows, so where both use it either may be blamed
        return {cause: (cause == strict, cause == strict or (cause == "own-rate" and over_time == "quota")) for cause in CAUSES}
    side, held = request.flow.program.side, request.held
    other = HOST if side == VM else VM
    own = sum(h.takes for h in held if h.side == side and h.kind == REQUESTS and not h.over)
    elsewhere = sum(h.takes for h in held if h.side == ELSEWHERE)
    return {
        "same-nat-ip": (
            _below(held, limit, lambda h: h.side == other and h.kind == REQUESTS),
            _below(held, limit, lambda h: h.side == other),
        ),
        "multiplexing": (_below(held, limit, lambda h: h.kind == COMPANION),),
        "dns": (_below(held, limit, lambda h: h.kind == LOOKUPS),),
        "keep-alive": (
            _below(held, limit, lambda h: h.over and h.side == side and h.kind == REQUESTS),
            _below(held, limit, lambda h: h.over and h.kind != LOOKUPS),
        ),
        # Where others elsewhere fill the rest, the side's own are no cause alone, and not innocent either.
        "own-rate": (False, False),  # no provider of these situations counts over time
        "own-concurrency": (own >= limit, own >= limit or _elsewhere_decides(held, limit)),
        "provider": (
            elsewhere >= limit,
            elsewhere >= limit or _elsewhere_decides(held, limit),
        ),
    }


def _elsewhere_decides(held: Sequence[Held], limit: int) -> bool:
    return _below(held, limit, lambda h: h.side == ELSEWHERE)


def truth(history: History, situation: Situation, rows: Sequence[Request]) -> Truth:
    """The truth about the refusals that the situation knows of."""
    provider = history.setup.provider
    judged, _ = of_one_class(situation)  # refusals of other classes are not what is judged
    known = [r for r, label in zip(rows, judged.requests.rejected.tolist(), strict=True) if label == REJECTED]
    told = [readings(r, r.limit, provider.over_time.kind if provider.over_time else "") for r in known]
    groups = [told, [each for each, r in zip(told, known, strict=True) if r.flow.program.side == VM]]
    spared = _spared(history, known) if provider.over_time and provider.over_time.kind != "quota" else []
    causes, borderline, shares = set(), set(), {}
    for cause in CAUSES:
        found = [share for group in groups if group for share in _shares(group, cause)]
        if not found:
            continue
        found += {"same-nat-ip": spared, "own-rate": [1.0 - share for share in spared]}.get(cause, [])
        low, high = min(found), max(found)
        shares[cause] = (low, high)
        if found[0] >= 0.5:
            causes.add(cause)
        if low <= BORDERLINE[1] and high >= BORDERLINE[0]:
            borderline.add(cause)
    counted = provider.counts in ("requests", "connections")
    return Truth(
        frozenset(causes),
        frozenset(borderline),
        shares,
        provider.limit if counted else None,
        f"{provider.counts} per {provider.per}" if counted else None,
        counted
        and any(r.refused == "limit" and r.count == r.limit for r in known)
        and any(not r.refused and r.count == r.limit - 1 for r in rows),
        *_limiter(provider, known),
        _finely(provider, known),
    )


def _spared(history: History, known: Sequence[Request]) -> list[float]:
    """The share of the refusals, of both sides and of the VM, that would not come for as many accepted requests if each side were by itself; empty where
    one side sends nothing."""
    setup = history.setup
    refused = {side: sum(r.flow.program.side == side for r in known) for side in (VM, HOST)}
    if not all(_by_side(history, side) for side in refused):
        return []
    share = {}
    for side in refused:
        itself = simulate(replace(setup, programs=tuple(p for p in setup.programs if p.side in (side, ELSEWHERE))))
        together, alone = _a_request(history, side), _a_request(itself, side)
        share[side] = min(max(1.0 - alone / together, 0.0), 1.0) if together else 0.0
    both = sum(share[side] * n for side, n in refused.items()) / max(sum(refused.values()), 1)
    return [both, share[VM]] if refused[VM] else [both]


def _by_side(history: History, side: int) -> list[Request]:
    return [r for r in history.requests if r.flow.program.side == side and r.refused != "overload"]


def _a_request(history: History, side: int) -> float:
    """How often a side is refused for each request that is accepted."""
    refused = [r.refused is not None for r in _by_side(history, side)]
    return sum(refused) / max(len(refused) - sum(refused), 1)


FINELY = {
    "sliding": "sliding-window",
    "fixed": "fixed-window",
    "bucket": "token-bucket",
    "attempts": "attempts-window",
    "quota": "quota",
    "volume-bucket": "volume-bucket",
    "answers": "answers-window",
}


def _finely(provider: Provider, known: Sequence[Request]) -> str:
    it = provider.over_time
    if known and all(r.refused == "overload" for r in known):
        return "overload"
    if it is not None:
        return FINELY.get(it.kind.replace(" ", "-"), "volume-fixed" if it.edge_s >= 0 else "volume-window")
    if provider.counts == "bytes":
        return "bytes in progress"
    special = ((provider.late_s, "late release"), (provider.changes, "changing limit"), (provider.small_limit, "limit a model"))
    return next((name for there, name in special if there), "concurrency")


def _limiter(provider: Provider, known: Sequence[Request]) -> tuple[str | None, dict[str, float]]:
    """Kind of the limiter, and what is to be found of it."""
    it = provider.over_time
    if known and all(r.refused == "overload" for r in known):
        return "overload", {}
    if it is None:
        if provider.counts == "nothing":
            return ("overload" if provider.overload else None), {}
        last = provider.changes[-1][1] if provider.changes else provider.limit
        if provider.small_limit and 2 * sum(r.small for r in known) > len(known):  # of two limits that which refuses more is named
            last = provider.small_limit
        return "concurrency", {"value": last} | ({"held_s": provider.late_s} if provider.late_s else {})
    if it.kind == "quota":
        return "quota", {}
    if it.kind in ("volume", "answers"):
        return "volume", {"value": it.limit, "window_s": it.window_s}
    if it.kind == "volume bucket":
        return "volume", {"value": 60.0 * it.limit / it.window_s, "burst": it.limit}
    if it.kind == "bucket":
        last = it.refill_s(known[-1].start_ns) if known else it.window_s
        return "rate", {"refill_s": last, "burst": it.limit}
    return "rate", {"value": it.limit, "window_s": it.window_s}


def _shares(told: Sequence[dict[str, tuple[bool, ...]]], cause: str) -> list[float]:
    """The share of refusals on a cause's account under its strict and its widest reading."""
    return [sum(each[cause][which] for each in told) / len(told) for which in (0, -1)]


# --- families ---------------------------------------------------------------------------------------------------------------------------------

Plan = tuple[Setup, View]


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))


def _retry(rng: random.Random) -> Retry:
    """As opencode does; or without patience; or in storms."""
    kind = rng.random()
    if kind < 0.6:
        return Retry()
    if kind < 0.85:
        return Retry(rng.uniform(0.2, 1.5), 1.0, rng.randint(2, 8), honours_retry_after=False)
    return Retry(rng.uniform(0.1, 0.5), 1.2, rng.randint(2, 5), rng.randint(2, 3), honours_retry_after=False)


def _program(rng: random.Random, side: int, key: str, **changes: object) -> Program:
    """An agent's usual ways; ``changes`` are a family's own."""
    turns = rng.randint(1, 4)
    drawn = Program(
        side,
        key,
        agents=rng.choice((1, 1, 2, 3)),
        start_s=rng.choice((0.0, rng.uniform(0, 5))),
        title=rng.random() < 0.5,
        turns=(turns, turns + rng.randint(0, 4)),
        think_s=(0.1, _log_uniform(rng, 0.4, 6.0)),
        idle_s=(0.5, _log_uniform(rng, 2.0, 30.0)),
        answer_s=_log_uniform(rng, 1.5, 15.0),
        spread=rng.uniform(0.2, 0.9),
        short_fraction=rng.choice((0.0, 0.2, 0.5)),
        abort_fraction=rng.choice((0.0, 0.0, 0.1)),
        abort_with=rng.choice(("fin", "rst")),
        reuse=rng.random() < 0.85,
        keep_s=_log_uniform(rng, 0.05, 20.0),
        retry=_retry(rng),
    )
    return replace(drawn, **changes)  # type: ignore[arg-type]


def _provider(rng: random.Random, counts: str, per: str, limit: int, **changes: object) -> Provider:
    drawn = Provider(
        counts,
        per,
        limit,
        rtt_s=_log_uniform(rng, 0.001, 0.25),
        jitter_s=rng.uniform(0.0, 0.003),
        refusal_s=(0.001, _log_uniform(rng, 0.002, 0.3)),
        close_s=rng.choice((0.0, 0.0, rng.uniform(0.0, 0.5))),
        retry_after_s=rng.choice((None, None, None, rng.uniform(1.0, 10.0))),
    )
    return replace(drawn, **changes)  # type: ignore[arg-type]


def _path(rng: random.Random, kind: str | None = None, fan_out: tuple[int, ...] = (0,)) -> Path:
    return Path(kind or rng.choice(("nat", "sshuttle 1.3", "sshuttle 2")), _log_uniform(rng, 0.0002, 0.004), fan_out)


def _setup(rng: random.Random, provider: Provider, path: Path, *programs: Program) -> Setup:
    return Setup("", _log_uniform(rng, 20, 1800), provider, path, programs)


def _peak(*programs: Program) -> int:
    """Requests in flight at most, storms aside."""
    return sum(p.agents * (1 + p.title) for p in programs)


def _unit(rng: random.Random) -> str:
    return "requests" if rng.random() < 0.75 else "connections"


def _between(rng: random.Random, low: int, high: int) -> int:
    """A limit in [low, high], at least 1 and at most 6."""
    low, high = max(1, min(low, 6)), max(1, min(high, 6))
    return rng.randint(low, max(low, high))


def _together(rng: random.Random, key: str, per: str, **changes: object) -> Setup:
    """Host and VM, each within the limit, not both."""
    unit = "requests" if per == "key" else _unit(rng)
    tight = {} if unit == "requests" else {"reuse": True, "keep_s": _log_uniform(rng, 0.02, 0.5)}
    vm = _program(rng, VM, "vm", agents=rng.randint(1, 2), **(tight | changes))
    host = _program(rng, HOST, key, agents=rng.randint(1, 2), **tight)
    limit = _between(rng, max(_peak(vm), _peak(host)), _peak(vm, host) - 1)
    return _setup(rng, _provider(rng, unit, per, limit), _path(rng), vm, host)


def same_nat_ip(rng: random.Random) -> Plan:
    """the host busy behind the same address; together they exceed what either does not alone"""
    return _together(rng, "host", "ip"), View()


def same_key(rng: random.Random) -> Plan:
    """the host busy with the same key, the limit is per key: from outside the same as per address"""
    return _together(rng, "vm", "key"), View()


def _own(rng: random.Random, per: str, *others: Program, **changes: object) -> Setup:
    """A VM whose own agents exceed the limit."""
    unit = "requests" if per == "key" else _unit(rng)
    vm = _program(rng, VM, "vm", agents=rng.randint(2, 4), **changes)
    return _setup(rng, _provider(rng, unit, per, _between(rng, 1, _peak(vm) - 1)), _path(rng), vm, *others)


def own_key(rng: random.Random) -> Plan:
    """VM alone exceeds its key's limit, the host is busy with a key of its own: not same-nat-ip"""
    return _own(rng, "key", _program(rng, HOST, "host")), View()


def idle_host(rng: random.Random) -> Plan:
    """VM alone exceeds the limit per address, the host has at most idle connections: not same-nat-ip"""
    host = _program(rng, HOST, "host", agents=0, idle_connections=rng.randint(0, 3))
    setup = _own(rng, "ip", host)
    return replace(setup, provider=replace(setup.provider, counts="requests")), View()


def zombies(rng: random.Random) -> Plan:
    """answers broken off go on upstream, where alone it is seen"""
    return _zombies(rng), View()


def _zombies(rng: random.Random, *others: Program) -> Setup:
    vm = _program(
        rng,
        VM,
        "vm",
        agents=1,
        title=rng.random() < 0.2,
        abort_fraction=rng.uniform(0.3, 0.7),
        answer_s=_log_uniform(rng, 4, 20),
        short_fraction=0.0,
    )
    limit = _between(rng, _peak(vm, *others), _peak(vm, *others) + 1)
    return _setup(rng, _provider(rng, "requests", rng.choice(("ip", "key")), limit), _path(rng, "sshuttle 1.3"), vm, *others)


def zombies_and_host(rng: random.Random) -> Plan:
    """broken-off answers and a busy host: mostly neither alone"""
    setup = _zombies(rng, _program(rng, HOST, "host", agents=1, title=False))
    return replace(setup, provider=replace(setup.provider, per="ip")), View()


def pool_lingers(rng: random.Random) -> Plan:
    """idle connections fill a limit on connections"""
    vm = _program(rng, VM, "vm", agents=rng.randint(1, 2), reuse=rng.random() < 0.3, keep_s=_log_uniform(rng, 3, 40))
    others = [_program(rng, HOST, "host", agents=1, title=False)] if rng.random() < 0.3 else []
    limit = _between(rng, _peak(vm, *others), _peak(vm, *others) + 2)
    return _setup(rng, _provider(rng, "connections", rng.choice(("ip", "ip", "key")), limit), _path(rng), vm, *others), View()


def idle_pools(rng: random.Random) -> Plan:
    """connections are open and idle, but requests are what is counted: not keep-alive"""
    lingering = {"reuse": False, "keep_s": _log_uniform(rng, 5, 60)}
    if rng.random() < 0.5:
        setup = _own(rng, rng.choice(("ip", "key")), **lingering)
    else:
        setup = _together(rng, "host", "ip", **lingering)
    return replace(setup, provider=replace(setup.provider, counts="requests")), View()


def _fan_out(rng: random.Random, counts: tuple[int, ...]) -> Setup:
    vm = _program(rng, VM, "vm", agents=rng.choice((1, 1, 2)), reuse=rng.random() < 0.5, keep_s=_log_uniform(rng, 0.02, 0.5))
    most = max(counts)
    # The companions beside a request's own connection are others' already: below that many nothing would ever be accepted.
    limit = _between(rng, max(_peak(vm), min(counts) + 1, most - 1), _peak(vm) * (1 + most) - 1)
    return _setup(rng, _provider(rng, "connections", "ip", limit), _path(rng, rng.choice(("sshuttle 1.3", "sshuttle 2")), counts), vm)


def fan_out(rng: random.Random) -> Plan:
    """the tunnel opens up to four connections beside each, varying"""
    return _fan_out(rng, tuple(range(rng.choice((0, 0, 1)), rng.randint(3, 4) + 1))), View()


def fan_out_constant(rng: random.Random) -> Plan:
    """the tunnel opens as many connections beside each, always: almost like requests in flight"""
    return _fan_out(rng, (rng.randint(1, 3),)), View()


def dns_over_tcp(rng: random.Random) -> Plan:
    """lookups keep connections to the provider open, which count"""
    vm = _program(
        rng,
        VM,
        "vm",
        agents=rng.choice((1, 1, 2)),
        keep_s=_log_uniform(rng, 0.05, 1.5),
        dns_tcp=True,
        dns_every=rng.random() < 0.8,
        dns_keep_s=_log_uniform(rng, 1.0, 10.0),
    )
    limit = _between(rng, _peak(vm) + 1, _peak(vm) + 3)
    return _setup(rng, _provider(rng, "connections", "ip", limit), _path(rng), vm), View()


def http2(rng: random.Random) -> Plan:
    """many requests on one connection"""
    per = rng.choice(("key", "ip"))
    host = [_program(rng, HOST, "host", http2=rng.random() < 0.5)] if rng.random() < 0.5 else []
    setup = _own(rng, per, *host, http2=True)
    return replace(setup, provider=replace(setup.provider, counts="requests")), View()


def _overloaded(rng: random.Random, overload: Overload, **changes: object) -> Setup:
    """Nothing is counted, refusals are drawn."""
    path = _path(rng, fan_out=rng.choice(((0,), (0,), (0, 1, 2))))
    programs = [_program(rng, VM, "vm", **changes)]
    if rng.random() < 0.6:
        programs.append(_program(rng, HOST, rng.choice(("vm", "host")), **changes))
    if rng.random() < 0.2:
        programs[0] = replace(programs[0], dns_tcp=True, dns_every=rng.random() < 0.5)
    return _setup(rng, _provider(rng, "nothing", "ip", 0, overload=overload), path, *programs)


def overload_steady(rng: random.Random) -> Plan:
    """refusals at random, 5 to 60 %"""
    return _overloaded(rng, Overload(rng.uniform(0.05, 0.6))), View()


def overload_bursts(rng: random.Random) -> Plan:
    """refusals at random in bursts"""
    every = _log_uniform(rng, 5, 60)
    return _overloaded(rng, Overload(rng.uniform(0.3, 0.95), every, every * rng.uniform(0.1, 0.5))), View()


def retry_storm(rng: random.Random) -> Plan:
    """refusals at random, and the retries make a concurrency of their own"""
    retry = Retry(rng.uniform(0.02, 0.4), rng.choice((1.0, 1.5)), rng.randint(3, 8), rng.randint(2, 4), honours_retry_after=False)
    overload = Overload(rng.uniform(0.1, 0.6))
    if rng.random() < 0.4:
        every = _log_uniform(rng, 5, 60)
        overload = Overload(rng.uniform(0.4, 0.9), every, every * rng.uniform(0.1, 0.5))
    return _overloaded(rng, overload, retry=retry), View()


def elsewhere(rng: random.Random) -> Plan:
    """others use the same account from somewhere that no capture shows"""
    unseen = _program(rng, ELSEWHERE, "vm", agents=rng.randint(1, 2))
    setup = _own(rng, rng.choice(("key", "key", "ip")), unseen) if rng.random() < 0.5 else _together(rng, rng.choice(("vm", "host")), "key")
    if unseen not in setup.programs:
        setup = replace(setup, programs=(*setup.programs, unseen))
    return setup, View()


def healthy(rng: random.Random) -> Plan:
    """a limit that is not reached"""
    vm, host = (_program(rng, side, key, retry=Retry(), abort_fraction=0.0) for side, key in ((VM, "vm"), (HOST, "host")))
    return _setup(rng, _provider(rng, "requests", "ip", max(6, _peak(vm, host))), _path(rng), vm, host), View()


def one_side_silent(rng: random.Random) -> Plan:
    """VM or host alone has anything with the provider"""
    setup, view = CORES[rng.choice(("own-key", "idle-host", "pool-lingers", "overload-steady", "overload-bursts", "retry-storm"))](rng)
    side = rng.choice((VM, HOST))
    program = replace(next(p for p in setup.programs if p.side == VM), side=side)
    return replace(setup, programs=(program,)), view


def rule_and_overload(rng: random.Random) -> Plan:
    """a rule, and some refusals at random besides"""
    setup, view = _core(rng, random_too=False)
    return replace(setup, provider=replace(setup.provider, overload=Overload(rng.uniform(0.02, 0.3)))), view


def anything(rng: random.Random) -> Plan:
    """all at random"""
    counts, per = rng.choice(("requests", "requests", "connections", "nothing")), rng.choice(("ip", "key"))
    overload = Overload(_log_uniform(rng, 0.02, 0.6)) if counts == "nothing" or rng.random() < 0.2 else None
    programs = [_anyones(rng, VM, "vm") for _ in range(rng.randint(1, 2))]
    programs += [_anyones(rng, HOST, rng.choice(("vm", "host"))) for _ in range(rng.randint(0, 2))]
    programs += [_anyones(rng, ELSEWHERE, "vm") for _ in range(rng.choice((0, 0, 0, 1)))]
    fans = rng.choice(((0,), (0,), (0,), (0, 1), (1,), (0, 1, 2, 3, 4)))
    return _setup(rng, _provider(rng, counts, per, rng.randint(1, 6), overload=overload), _path(rng, fan_out=fans), *programs), View()


def _anyones(rng: random.Random, side: int, key: str) -> Program:
    start_s = rng.choice((0.0, 0.0, _log_uniform(rng, 5, 300)))
    return _program(
        rng,
        side,
        key,
        start_s=start_s,
        stop_s=rng.choice((1e9, 1e9, start_s + _log_uniform(rng, 30, 600))),
        abort_fraction=rng.choice((0.0, 0.0, 0.2, 0.5)),
        http2=rng.random() < 0.1,
        dns_tcp=rng.random() < 0.1,
        dns_every=rng.random() < 0.5,
        idle_connections=rng.choice((0, 0, 0, 2)),
    )


def _over_time(rng: random.Random, kind: str) -> Plan:
    """Programs that send more than a limit over time allows; the limit is per key, or both sides share it."""
    setup = _own(rng, "key")
    vm = replace(setup.programs[0], answer_s=_log_uniform(rng, 0.5, 6.0), keep_s=5.0)
    host = [_program(rng, HOST, rng.choice(("vm", "host", "host")), answer_s=_log_uniform(rng, 0.5, 6.0))] if rng.random() < 0.5 else []
    window_s = rng.choice((10.0, 20.0, 30.0, 60.0)) if kind == "fixed" else rng.choice((10.0, 60.0, round(_log_uniform(rng, 5, 90), 1)))
    limit = max(2, round(window_s * rng.uniform(0.08, 0.4)))
    if kind == "bucket":
        limit, window_s = rng.randint(2, 10), round(_log_uniform(rng, 1.0, 8.0), 2)
    if kind == "quota":
        limit, window_s = rng.randint(20, 60), _log_uniform(rng, 60, 600)
    provider = replace(setup.provider, counts="nothing", limit=0, over_time=OverTime(kind, limit, window_s, rng.uniform(0, window_s)))
    return replace(setup, provider=provider, programs=(vm, *host), seconds=_log_uniform(rng, 200, 1800)), View()


def sliding_window(rng: random.Random) -> Plan:
    """so many accepted requests in a sliding window"""
    return _over_time(rng, "sliding")


def fixed_window(rng: random.Random) -> Plan:
    """so many accepted requests from one round time to the next"""
    return _over_time(rng, "fixed")


def token_bucket(rng: random.Random) -> Plan:
    """a bucket of tokens"""
    return _over_time(rng, "bucket")


def attempts_window(rng: random.Random) -> Plan:
    """so many attempts in a sliding window, refused ones too"""
    return _over_time(rng, "attempts")


def quota(rng: random.Random) -> Plan:
    """so many requests, then none until a reset; the provider says so"""
    return _over_time(rng, "quota")


def volume_window(rng: random.Random) -> Plan:
    """so many bytes in a window, which slides or begins at round times; with the request's own bytes or without"""
    setup, view = _over_time(rng, "volume")
    it = setup.provider.over_time
    assert it is not None
    low, high = _log_uniform(rng, 800, 6_000), _log_uniform(rng, 8_000, 60_000)
    sizes = {"prompt_bytes": (low, high), "title_bytes": rng.randint(800, 3_000)}
    own = rng.random() < 0.6
    limit = round(max(it.limit, 2) * (high - low) / log(high / low))  # as many requests of the mean size
    edge_s = rng.choice((-1.0, it.edge_s))
    window_s = it.window_s if edge_s < 0 else rng.choice((10.0, 20.0, 30.0, 60.0))
    limit = max(round(limit * window_s / it.window_s), round(1.2 * high))
    provider = replace(setup.provider, over_time=OverTime("volume", limit, window_s, edge_s, own))
    programs = tuple(replace(p, **sizes) for p in setup.programs)  # type: ignore[arg-type]
    return replace(setup, provider=provider, programs=programs), view


def volume_bucket(rng: random.Random) -> Plan:
    """a bucket of bytes, with the request's own or without; tokens are bytes, or nearly so"""
    setup, view = _over_time(rng, "volume bucket")
    low, high = _log_uniform(rng, 800, 6_000), _log_uniform(rng, 8_000, 60_000)
    mean, fills_s = (high - low) / log(high / low), rng.uniform(10.0, 60.0)
    limit = round(max(mean * rng.uniform(2.0, 8.0), 1.2 * high))
    it = OverTime("volume bucket", limit, fills_s, own=rng.random() < 0.7, spread=rng.choice((0.0, 0.0, 0.02)))
    programs = tuple(replace(p, prompt_bytes=(low, high), title_bytes=rng.randint(800, 3_000)) for p in setup.programs)
    return replace(setup, provider=replace(setup.provider, over_time=it), programs=programs), view


def volume_answers(rng: random.Random) -> Plan:
    """so many bytes of answers in a sliding window, each counted when it is over"""
    setup, view = _over_time(rng, "answers")
    it = setup.provider.over_time
    assert it is not None
    window_s = rng.choice((10.0, 20.0, 60.0))
    limit = round(3_000 * setup.programs[0].answer_s * rng.uniform(2.0, 6.0) * max(window_s / 20.0, 1.0))
    return replace(setup, provider=replace(setup.provider, over_time=replace(it, limit=limit, window_s=window_s))), view


def bucket_changes(rng: random.Random) -> Plan:
    """a bucket of tokens that is filled at another pace from some time on"""
    setup, view = _over_time(rng, "bucket")
    it = setup.provider.over_time
    assert it is not None
    then = setup.seconds * rng.uniform(0.3, 0.7), it.window_s * rng.choice((0.3, 0.5, 2.0, 3.0))
    return replace(setup, provider=replace(setup.provider, over_time=replace(it, then=then))), view


def model_limits(rng: random.Random) -> Plan:
    """each model has a limit of its own: titles, which are small, go to a small one"""
    return _by_model(rng, {"prompt_bytes": (_log_uniform(rng, 8_000, 30_000), 34_000), "title_bytes": 2_900})


def models_alike(rng: random.Random) -> Plan:
    """each model has a limit of its own, and nothing shows which request is for which"""
    return _by_model(rng, {"small_fraction": rng.uniform(0.1, 0.5)})


def _by_model(rng: random.Random, sizes: dict[str, object]) -> Plan:
    setup = _own(rng, "key", title=True, small_model=True)
    vm = replace(setup.programs[0], **sizes)  # type: ignore[arg-type]
    host = [_program(rng, HOST, "host", small_model=True, **sizes)] if rng.random() < 0.5 else []
    provider = replace(setup.provider, counts="requests", limit=_between(rng, 1, vm.agents - 1), small_limit=_between(rng, 1, vm.agents))
    return replace(setup, provider=provider, programs=(vm, *host)), View()


def second_program(rng: random.Random) -> Plan:
    """two programs on the VM, of which one has no log: its refusals are not known to be any"""
    setup, view = _core(rng)
    other = _program(rng, VM, "vm", agents=rng.randint(1, 2), logged=False)
    return replace(setup, programs=(*setup.programs, other)), view


def limit_and_overload(rng: random.Random) -> Plan:
    """a limit, and besides an overload that the provider's code tells apart"""
    names = ("same-nat-ip", "own-key", "idle-host", "pool-lingers", "zombies", "sliding-window", "fixed-window", "token-bucket")
    setup, view = CORES[rng.choice(names)](rng)
    overload = Overload(rng.uniform(0.05, 0.3)) if rng.random() < 0.5 else Overload(rng.uniform(0.3, 0.9), 20.0, rng.uniform(2, 8))
    classes = {"limit": rng.choice(("unknown", "rate" if setup.provider.over_time else "concurrency")), "overload": "overload"}
    return replace(setup, provider=replace(setup.provider, overload=overload)), replace(view, classes=classes)


def given_back_late(rng: random.Random) -> Plan:
    """places are given back late: requests stay counted after their answer"""
    setup = _own(rng, "key") if rng.random() < 0.5 else _together(rng, "host", "ip")
    late_s = round(_log_uniform(rng, 0.5, 15), 2)
    return replace(setup, provider=replace(setup.provider, counts="requests", late_s=late_s), seconds=_log_uniform(rng, 100, 1800)), View()


def bytes_in_progress(rng: random.Random) -> Plan:
    """what is limited is the bytes, or tokens, of requests in progress"""
    low, high = _log_uniform(rng, 800, 6_000), _log_uniform(rng, 12_000, 80_000)
    kind = rng.random()
    if kind < 0.45:
        setup = _own(rng, "key", *([_program(rng, HOST, "host")] if rng.random() < 0.4 else []))
    elif kind < 0.75:
        setup = _together(rng, *rng.choice((("host", "ip"), ("vm", "key"))))
    else:
        setup = _zombies(rng, *([_program(rng, HOST, "host", agents=1, title=False)] if rng.random() < 0.3 else []))
    mean = (high - low) / log(high / low)
    limit = round(setup.provider.limit * mean * rng.uniform(0.8, 1.6))
    provider = replace(setup.provider, counts="bytes", limit=limit, own=rng.random() < 0.7, spread=rng.choice((0.0, 0.0, 0.02)))
    programs = tuple(replace(p, prompt_bytes=(low, high), title_bytes=rng.randint(800, 3_000)) for p in setup.programs)
    return replace(setup, provider=provider, programs=programs, seconds=_log_uniform(rng, 100, 1800)), View()


def limit_changes(rng: random.Random) -> Plan:
    """the limit is lowered, or raised, while recording"""
    setup = _own(rng, "key") if rng.random() < 0.5 else _together(rng, "host", "ip")
    first, seconds = setup.provider.limit, _log_uniform(rng, 200, 1800)
    changes: tuple[tuple[float, int], ...] = ()
    if first > 2 and rng.random() < 0.4:  # it shrinks and shrinks
        changes = tuple((seconds * (k + rng.uniform(0.2, 0.8)) / (first - 1), first - k - 1) for k in range(first - 1))
    elif (second := max(1, first + rng.choice((-2, -1, 1)))) != first:
        changes = ((seconds * rng.uniform(0.3, 0.7), second),)
    return replace(setup, provider=replace(setup.provider, counts="requests", changes=changes), seconds=seconds), View()


#: Families that others change the view of.
CORES: dict[str, Callable[[random.Random], Plan]] = {
    "same-nat-ip": same_nat_ip,
    "same-key": same_key,
    "own-key": own_key,
    "idle-host": idle_host,
    "zombies": zombies,
    "zombies-and-host": zombies_and_host,
    "pool-lingers": pool_lingers,
    "idle-pools": idle_pools,
    "fan-out": fan_out,
    "fan-out-constant": fan_out_constant,
    "dns-over-tcp": dns_over_tcp,
    "http2": http2,
    "overload-steady": overload_steady,
    "overload-bursts": overload_bursts,
    "retry-storm": retry_storm,
    "sliding-window": sliding_window,
    "fixed-window": fixed_window,
    "token-bucket": token_bucket,
    "attempts-window": attempts_window,
    "quota": quota,
    "volume-window": volume_window,
    "model-limits": model_limits,
    "models-alike": models_alike,
    "given-back-late": given_back_late,
    "limit-changes": limit_changes,
}
RANDOM = ("overload-steady", "overload-bursts", "retry-storm")


def _core(rng: random.Random, random_too: bool = True) -> Plan:
    return CORES[rng.choice([name for name in CORES if random_too or name not in RANDOM])](rng)


def few_rejections(rng: random.Random) -> Plan:
    """any of the above, cut so that one to four refusals are left"""
    setup, _ = _core(rng)
    return setup, View(few=4)


def under_ten(rng: random.Random) -> Plan:
    """any of the above, cut so that one to nine refusals are left"""
    setup, _ = _core(rng)
    return setup, View(few=9)


def host_unlabelled(rng: random.Random) -> Plan:
    """nobody knows which of the host's requests were refused"""
    setup, _ = _core(rng)
    if all(p.side != HOST for p in setup.programs):
        setup = replace(setup, programs=(*setup.programs, _program(rng, HOST, "host", agents=1)))
    return setup, View(host_labelled=False)


def labels_missing(rng: random.Random) -> Plan:
    """of a tenth of the requests nobody knows"""
    setup, _ = _core(rng)
    return setup, View(unlabelled_fraction=0.1)


def labels_wrong(rng: random.Random) -> Plan:
    """one refusal in thirty is believed to be accepted"""
    setup, _ = _core(rng)
    return setup, View(wrong_fraction=1 / 30)


def clock_uncertain(rng: random.Random) -> Plan:
    """the VM's clock is known to a few or to hundreds of milliseconds"""
    setup, _ = _core(rng)
    return setup, View(clock_half_ns=ns(_log_uniform(rng, 0.001, 0.3)))


def begins_in_the_middle(rng: random.Random) -> Plan:
    """what was before the captures is not in the tables"""
    setup, _ = _core(rng)
    return replace(setup, seconds=max(setup.seconds, 60.0)), View(begins=rng.uniform(0.2, 0.7))


def vm_capture_only(rng: random.Random) -> Plan:
    """the host was not captured"""
    setup, _ = _core(rng)
    return setup, View(host_seen=False)


def host_capture_only(rng: random.Random) -> Plan:
    """the VM was not captured"""
    setup, _ = _core(rng)
    return setup, View(vm_seen=False)


def unpaired(rng: random.Random) -> Plan:
    """some sessions upstream could not be matched with the VM's"""
    setup, _ = _core(rng)
    return setup, View(unpaired_fraction=rng.uniform(0.02, 0.4))


def far_provider(rng: random.Random) -> Plan:
    """a round trip of 150 to 250 ms"""
    setup, view = _core(rng)
    return replace(setup, provider=replace(setup.provider, rtt_s=rng.uniform(0.15, 0.25))), view


FAMILIES: dict[str, Callable[[random.Random], Plan]] = CORES | {
    "elsewhere": elsewhere,
    "healthy": healthy,
    "one-side-silent": one_side_silent,
    "rule-and-overload": rule_and_overload,
    "anything": anything,
    "few-rejections": few_rejections,
    "under-ten": under_ten,
    "host-unlabelled": host_unlabelled,
    "second-program": second_program,
    "limit-and-overload": limit_and_overload,
    "labels-missing": labels_missing,
    "labels-wrong": labels_wrong,
    "clock-uncertain": clock_uncertain,
    "begins-in-the-middle": begins_in_the_middle,
    "vm-capture-only": vm_capture_only,
    "host-capture-only": host_capture_only,
    "unpaired": unpaired,
    "far-provider": far_provider,
    "volume-bucket": volume_bucket,
    "volume-answers": volume_answers,
    "bucket-changes": bucket_changes,
    "bytes-in-progress": bytes_in_progress,
}
#: How often a family comes up; once where it is not named. Of those that are new none does, so that seeds go on to mean what they meant: ``--family`` does.
WEIGHTS = {
    "volume-bucket": 0,
    "volume-answers": 0,
    "bucket-changes": 0,
    "bytes-in-progress": 0,
    "anything": 4,
    "overload-steady": 2,
    "overload-bursts": 2,
    "retry-storm": 2,
    "few-rejections": 2,
    "under-ten": 3,
    "same-nat-ip": 2,
    "rule-and-overload": 2,
    "sliding-window": 2,
    "fixed-window": 2,
    "token-bucket": 2,
    "given-back-late": 2,
    "limit-changes": 2,
    "volume-window": 2,
    "model-limits": 2,
    "second-program": 2,
    "limit-and-overload": 2,
}


# --- drawing ----------------------------------------------------------------------------------------------------------------------------------


def family_of(seed: int) -> str:
    """The family that a seed draws."""
    names = list(FAMILIES)
    return random.Random(f"family {seed}").choices(names, [WEIGHTS.get(name, 1) for name in names])[0]


def draw(seed: int, family: str | None = None) -> Drawn:
    """The situation of a seed, always the same. Draws again where fewer than :data:`FEWEST_REQUESTS` requests come of it."""
    family = family or family_of(seed)
    for attempt in range(1000):
        name = f"{family} {seed} {attempt}"
        setup, view = FAMILIES[family](random.Random(name))
        history = simulate(replace(setup, seed=name))
        observed = _observe(history, view, random.Random(f"view {name}"))
        if observed is not None and len(observed[0].rows) >= FEWEST_REQUESTS:
            seen, view = observed
            refusals = int((of_one_class(seen.situation)[0].requests.rejected == REJECTED).sum())
            facts = truth(history, seen.situation, seen.rows)
            return Drawn(family, seed, seen.situation, facts, refusals, history.setup, view, history, seen.rows)
    raise ValueError(f"{family} {seed}: nothing comes of this family")


def _observe(history: History, view: View, rng: random.Random) -> tuple[Observed, View] | None:
    """The tables; where few refusals are wanted, of a stretch that has one to so many of them."""
    if not view.few:
        return observe(history, view, rng), view
    refused = sum(r.refused is not None and r.flow.program.side != ELSEWHERE for r in history.requests)
    for _ in range(30 if refused else 0):
        length = min(rng.uniform(1.0, view.few + 0.5) / refused, 1.0)
        begins = rng.uniform(0.0, 1.0 - length)
        cut = replace(view, begins=begins, ends=begins + length)
        seen = observe(history, cut, rng)
        if 1 <= (seen.situation.requests.rejected == REJECTED).sum() <= view.few:
            return seen, cut
    return None


# --- showing ----------------------------------------------------------------------------------------------------------------------------------


def as_text(drawn: Drawn, most: int = 60) -> str:
    """A situation to read: set-up, truth, and the tables with what the provider counted."""
    s, begin = drawn.situation, drawn.situation.capture_ns[0]
    setup, facts = drawn.setup, drawn.truth

    def at(time_ns: int) -> str:
        return f"{(time_ns - begin) / S:9.3f}"

    lines = [f"family {drawn.family}, seed {drawn.seed}: {FAMILIES[drawn.family].__doc__}"]
    lines += [f"  {setup.provider}", f"  {setup.path}", *(f"  {p}" for p in setup.programs), f"  {drawn.view}"]
    lines.append(f"{len(s.requests)} requests, {drawn.n_rejections} refused, {len(s.sessions)} sessions, {at(s.capture_ns[1]).strip()} s")
    shares = ", ".join(f"{cause} {low:.2f} to {high:.2f}" for cause, (low, high) in facts.shares.items() if high)
    lines.append(
        f"causes {sorted(facts.causes)}, borderline {sorted(facts.borderline)}, limit {facts.limit} {facts.rule}; shares: {shares}"
    )
    lines.append("sessions: row side kind connection start end done")
    for i in range(min(len(s.sessions), most)):
        t = s.sessions
        who = f"{SIDES[t.side[i]]:8}{KINDS[t.kind[i]]:10}{t.connection[i]:5}"
        lines.append(f"{i:5} {who} {at(t.start_ns[i])} {at(t.end_ns[i])} {at(t.done_ns[i])}")
    lines.append("requests: row side session stream start end done label; what the provider counted and why it refused")
    for i in range(min(len(s.requests), most)):
        t, r = s.requests, drawn.rows[i]
        label = {ACCEPTED: "accepted", REJECTED: "rejected", UNLABELLED: "?"}[int(t.rejected[i])]
        held = " ".join(f"{_side_name(h.side)}/{KINDS[h.kind]}{'/over' * h.over}" for h in r.held)
        who = f"{SIDES[t.side[i]]:8}{t.session[i]:5}{t.stream[i]:5}"
        lines.append(f"{i:5} {who} {at(t.start_ns[i])} {at(t.end_ns[i])} {at(t.done_ns[i])} {label:9} {r.count} {r.refused or ''} {held}")
    return "\n".join(lines)


def _side_name(side: int) -> str:
    return "elsewhere" if side == ELSEWHERE else SIDES[side]
