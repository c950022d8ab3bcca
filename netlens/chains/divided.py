"""The time of requests, divided: spells that follow each other without a gap, columns of all requests together, and their sums by group.

:mod:`netlens.chains.budget` divides them. A hundred thousand requests have a million spells, so all stand in a few arrays (:class:`Division`), and
one request becomes an object (:class:`Divided`) where somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, overload

import numpy as np

from netlens.columnar import pieces
from netlens.columns import NEVER, Bools, Ints, distinct_rows, objects
from netlens.schema import DTYPES, Table
from netlens.tables import BUDGET

CLIENT, LOOKUP, CONNECT, TLS, RELAY, WIRE, SERVER, UNANSWERED, STREAM, STALL = PHASES = (
    "client", "lookup", "connect", "tls", "relay", "wire", "server", "unanswered", "stream", "stall",
)  # fmt: skip
LISTED = 100  #: requests in JSON; 0.5 kB each


class Spell(NamedTuple):
    """A stretch of a request's time. ``relay``: which of the relays, with the phase of that name."""

    start_ns: int
    end_ns: int
    phase: str
    relay: int = -1


@dataclass(frozen=True, slots=True)
class Pass:
    """A request as one connection carried it, with its times on the host's clock. ``exchange``: row of that capture's exchanges; -1: a stream of HTTP/2."""

    vantage: str | None
    exchange: int
    start_ns: int
    sent_ns: int
    answered_ns: int | None
    end_ns: int


@dataclass(frozen=True, slots=True)
class Divided:
    """One request. ``spells`` follow each other without a gap; ``request``: row of the situation's requests, -1 for what goes elsewhere.

    unmeasured : phases whose share is not known, and so in another.  passes : the connections that carried it, from the program to the server; what
    lies between two of them is one of ``relays``.
    """

    vantage: str | None
    exchange: int | None
    session: int
    stream: int | None
    server: str
    request: int
    party: str
    process: str | None
    spells: tuple[Spell, ...]
    relays: tuple[str, ...]
    unmeasured: frozenset[str]
    uncertain_ns: int
    status: int | None
    complete: bool
    frame: int
    passes: tuple[Pass, ...] = ()

    @property
    def begin_ns(self) -> int:
        return self.spells[0].start_ns

    @property
    def end_ns(self) -> int:
        return self.spells[-1].end_ns

    def ns(self, phase: str, relay: int = -1) -> int:
        """Time in a phase."""
        return sum(s.end_ns - s.start_ns for s in self.spells if s.phase == phase and (relay < 0 or s.relay == relay))


class Words:
    """Values as numbers: each new one gets the next."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[Any]:
        return list(self._numbers)


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of several columns, any number of them for each request: those of request ``k`` are ``offsets[k]`` to ``offsets[k + 1]``."""

    offsets: Ints
    columns: tuple[Ints, ...]

    @property
    def owner(self) -> Ints:
        """The request of each row."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def rows(self, k: int) -> Iterator[tuple[int, ...]]:
        """Those of one request."""
        own = slice(*self.offsets[k : k + 2].tolist())
        return zip(*(column[own].tolist() for column in self.columns), strict=True)

    def take(self, index: Ints) -> Ragged:
        offsets, places = pieces(self.offsets, index)
        return Ragged(offsets, tuple(column[places] for column in self.columns))


@dataclass(frozen=True, eq=False)
class Division(Sequence[Divided]):
    """Requests as columns, one element each; as a sequence, one :class:`Divided` each.

    whose : numbers in ``parties`` of (party, process).  way : numbers in ``ways`` of the names of relays.  vantage : numbers in ``vantages``.
    exchange, stream : -1 for None.  hidden : bool[n, phases], what is unmeasured.  status : int or None.
    spells : start, end, number of the phase, relay.  passes : vantage, exchange, start, sent, answered (NEVER: not), end.
    """

    vantages: list[Any]
    servers: list[Any]
    parties: list[Any]
    ways: list[Any]
    vantage: Ints
    exchange: Ints
    session: Ints
    stream: Ints
    server: Ints
    request: Ints
    whose: Ints
    way: Ints
    hidden: Bools
    uncertain_ns: Ints
    status: np.ndarray[Any, Any]
    complete: Bools
    frame: Ints
    spells: Ragged
    passes: Ragged

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Divided]:
        return (self._one(k) for k in range(len(self)))

    @overload
    def __getitem__(self, k: int) -> Divided: ...

    @overload
    def __getitem__(self, k: slice) -> Division: ...

    def __getitem__(self, k: int | slice) -> Divided | Division:
        if isinstance(k, slice):
            return self.take(np.arange(len(self))[k])
        return self._one(range(len(self))[k])

    def take(self, index: Ints) -> Division:
        """Those at ``index``, in that order."""
        taken: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            taken[f.name] = value if isinstance(value, list) else value.take(index) if isinstance(value, Ragged) else value[index]
        return Division(**taken)

    @property
    def begin_ns(self) -> Ints:
        return self.spells.columns[0][self.spells.offsets[:-1]]

    @property
    def end_ns(self) -> Ints:
        return self.spells.columns[1][self.spells.offsets[1:] - 1]

    @property
    def unanswered(self) -> Bools:
        """bool[n]: whether the program got no answer, as far as was captured."""
        first = self.passes.offsets[:-1]
        silent, known = np.zeros(len(self), bool), np.diff(self.passes.offsets) > 0
        silent[known] = self.passes.columns[4][first[known]] == NEVER
        return silent

    def phases_ns(self) -> Ints:
        """int64[n, phases]: of each request."""
        start, end, phase, _ = self.spells.columns
        return self._sums(self.spells.owner, end - start, phase, len(PHASES))

    def relays_ns(self) -> Ints:
        """int64[n, most relays]: of each request, of each of its relays."""
        start, end, phase, relay = self.spells.columns
        of = (phase == PHASES.index(RELAY)) & (relay >= 0)
        return self._sums(self.spells.owner[of], (end - start)[of], relay[of], max(map(len, self.ways), default=0))

    def _sums(self, owner: Ints, ns: Ints, column: Ints, width: int) -> Ints:
        out = np.zeros((len(self), width), np.int64)
        np.add.at(out, (owner, column), ns)
        return out

    def _one(self, k: int) -> Divided:
        party, process = self.parties[self.whose[k]]
        exchange, stream = int(self.exchange[k]), int(self.stream[k])
        return Divided(
            self.vantages[self.vantage[k]],
            None if exchange < 0 else exchange,
            int(self.session[k]),
            None if stream < 0 else stream,
            self.servers[self.server[k]],
            int(self.request[k]),
            party,
            process,
            tuple(Spell(start, end, PHASES[phase], relay) for start, end, phase, relay in self.spells.rows(k)),
            self.ways[self.way[k]],
            frozenset(phase for phase, is_hidden in zip(PHASES, self.hidden[k].tolist(), strict=True) if is_hidden),
            int(self.uncertain_ns[k]),
            self.status[k],
            bool(self.complete[k]),
            int(self.frame[k]),
            tuple(
                Pass(self.vantages[vantage], row, start, sent, None if answered == NEVER else answered, end)
                for vantage, row, start, sent, answered, end in self.passes.rows(k)
            ),
        )


# --- by server, party and program


@dataclass(frozen=True)
class Group:
    """Requests of one party (and program) to one server, with where their time went.

    unanswered : how many of them got no answer.  unrecorded : of how many of these not one packet of the server was recorded.
    by_phase : phase -> ns of all of them; None: of none of them is it known.  by_relay : relay -> ns.
    """

    server: str
    target: bool
    party: str
    process: str | None
    requests: int
    unanswered: int
    total_ns: int
    by_phase: dict[str, int | None]
    by_relay: dict[str, int]
    unrecorded: int = 0

    def to_dict(self) -> dict[str, Any]:
        phases = {f"{phase}_ns": ns for phase, ns in self.by_phase.items()}
        return (
            {name: getattr(self, name) for name in ("server", "target", "party", "process", "requests", "unanswered", "total_ns")}
            | phases
            | {"relays_ns": self.by_relay}
        )


def groups(divided: Division, unrecorded: Bools | None = None) -> list[Group]:
    """By server, party and program: the target first, then by time. ``unrecorded``: bool[n], requests on connections without a packet of the server."""
    if not len(divided):
        return []
    d = divided
    known, group, _ = distinct_rows(d.server, (d.request >= 0).astype(np.int64), d.whose)
    order = np.argsort(_firsts(group, len(known)))  # as they come
    n = len(known)
    requests, total = np.bincount(group, minlength=n), _exact(group, d.end_ns - d.begin_ns, n)
    silent, phases = np.bincount(group, d.unanswered, n), d.phases_ns()
    unseen = np.zeros(n) if unrecorded is None else np.bincount(group, d.unanswered & unrecorded, n)
    told = [_exact(group, np.where(d.hidden[:, k], 0, phases[:, k]), n) for k in range(len(PHASES))]
    measured = [np.bincount(group, ~d.hidden[:, k], n) > 0 for k in range(len(PHASES))]
    relays: list[dict[str, int]] = [{} for _ in range(n)]
    ways, of, _ = distinct_rows(group, d.way)
    by_relay = d.relays_ns()
    sums = [_exact(of, by_relay[:, k], len(ways)) for k in range(by_relay.shape[1])]
    for k in np.argsort(_firsts(of, len(ways))).tolist():
        mine = relays[ways[k, 0]]
        for place, relay in enumerate(d.ways[ways[k, 1]]):
            mine[relay] = mine.get(relay, 0) + sums[place][k]
    made = []
    for g in order.tolist():
        server, target, whose = known[g].tolist()
        party, process = d.parties[whose]
        by_phase = {phase: told[k][g] if measured[k][g] else None for k, phase in enumerate(PHASES)}
        counts = int(requests[g]), int(silent[g])
        made.append(Group(d.servers[server], bool(target), party, process, *counts, total[g], by_phase, relays[g], int(unseen[g])))
    return sorted(made, key=lambda g: (not g.target, -g.total_ns, g.server, g.party))


def _firsts(of: Ints, n: int) -> Ints:
    """Where each of ``n`` kinds stands first."""
    out = np.empty(n, np.int64)
    out[of[::-1]] = np.arange(len(of))[::-1]
    return out


def _exact(of: Ints, ns: Ints, n: int) -> list[int]:
    """Sums by group. Times come from strangers, so the sum of two may be more than 64 bits hold; in halves, floats hold those of millions exactly."""
    low, high = (np.bincount(of, half, n) for half in (ns & 0xFFFFFFFF, ns >> 32))
    return [(int(h) << 32) + int(part) for part, h in zip(low.tolist(), high.tolist(), strict=True)]


def document(divided: Division) -> dict[str, Any]:
    """For JSON: groups, and the requests to the target one by one (the first :data:`LISTED`)."""
    asked = np.flatnonzero(divided.request >= 0)
    names = [c.name for c in BUDGET if c.name not in ("budget_id", "target")]
    rows = [{name: row[name] for name in names} for row in table(divided.take(asked[:LISTED])).records()]
    return {"groups": [group.to_dict() for group in groups(divided)], "requests": rows, "left_out": max(len(asked) - LISTED, 0)}


def table(d: Division) -> Table:
    """The budget as a table, see :data:`netlens.tables.BUDGET`."""
    begin, end, phases, relays_ns = d.begin_ns, d.end_ns, d.phases_ns(), d.relays_ns().tolist()
    relays = [d.ways[k] for k in d.way.tolist()]
    whose = [d.parties[k] for k in d.whose.tolist()]
    columns: dict[str, Any] = {
        "budget_id": np.arange(len(d)),
        "vantage": [d.vantages[k] for k in d.vantage.tolist()],
        "exchange_id": _or_none(d.exchange),
        "session_id": d.session,
        "stream": _or_none(d.stream),
        "server": [d.servers[k] for k in d.server.tolist()],
        "target": d.request >= 0,
        "party": [party for party, _ in whose],
        "process": [process for _, process in whose],
        "begin_ns": begin,
        "end_ns": end,
        "total_ns": end - begin,
        **{
            f"{phase}_ns": [None if hidden else ns for hidden, ns in zip(d.hidden[:, k].tolist(), phases[:, k].tolist(), strict=True)]
            for k, phase in enumerate(PHASES)
        },
        "relays": [list(names) for names in relays],
        "relays_ns": [ns[: len(names)] for names, ns in zip(relays, relays_ns, strict=True)],
        "uncertain_ns": d.uncertain_ns,
        "status": d.status.tolist(),
        "complete": d.complete,
        "first_frame": d.frame,
    }
    made = {}
    for column in BUDGET:
        values = columns[column.name]
        made[column.name] = np.array(values, DTYPES[column.dtype]) if DTYPES[column.dtype] != np.dtype("O") else objects(values)
    return Table(BUDGET, made)


def _or_none(values: Ints) -> list[int | None]:
    return [None if v < 0 else v for v in values.tolist()]
