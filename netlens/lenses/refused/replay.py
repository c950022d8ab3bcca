"""What if: the recorded requests replayed under a counting rule, with something changed.

Theory of operation
-------------------
1. What is replayed is not what was sent but what was *wanted*: intents (:mod:`netlens.lenses.refused.intents`), each a request with its retries.
2. An intent holds a place upstream for as long as its accepted attempt did, and keeps the program busy for as long as it did; one that was never
   accepted, for its side's median. A refused attempt holds no place. Retries in the replay come after the delays that the recording shows.
3. **The loop is closed where the recording shows that it is.** An agent asks, thinks, asks again: a later turn begins its recorded pause after
   the turn before it is done, however long that took. Which turn is before it: of the turns of its side that are done, the one that was done
   last and that nothing else has followed. Where pairs of requests begin together at a fixed distance (a title and the first turn), the second keeps
   that distance to the first. A pause longer than :data:`~netlens.lenses.refused.turns.DEPENDENT_NS` is not tied: the turn begins when it did.
4. Connections follow the attempts: an attempt opens a connection if it did so in the recording though one was idle, or if none is idle now;
   after the answer it idles as long as its like did; what the tunnel opened beside it, and the lookups before it, come and go with it. Sessions that
   carried no request (and those of HTTP/2, which all requests share) stay where they were.
5. An answer that was broken off holds its place until the provider knows of that, at the latest when its writes show it
   (:mod:`netlens.chains.noticed`), at the earliest when the program was done with it. The first is what is replayed unless ``at_once`` is asked for.
6. An attempt is refused if others hold the limit or more. At equal times ends come before starts.
7. With no change the replay must give about the recorded number of refusals (:attr:`Setting.as_recorded`). Where it does not, the numbers of the
   fixes deserve less trust, and say so.

Limits: small changes of time send a replay along another path, so that two refusals more or less mean nothing. The requests that a program would
have made besides, had it waited less, are not invented. Latencies stay as recorded. A connection is counted from its first request, not from its
handshake some milliseconds before. Sides whose programs share no pool are given one. A side that is unknown is in nobody's ``side`` count.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from netlens.chains.situation import BY_SSHUTTLE, COMPANION, DIRECTLY, LOOKUPS, RECORDED, REJECTED, UNKNOWN, Sessions, Situation
from netlens.columns import Bools, Ints
from netlens.lenses.refused import kernels
from netlens.lenses.refused.counting import Sized, models, most_at_once, open_at, peaks
from netlens.lenses.refused.intents import MS, Intents, S, intents
from netlens.lenses.refused.limiters import SIZED, Meter
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.turns import dependencies, titles

TOGETHER_NS = S  #: a lookup this close before a request was made for it
PRECONNECT_NS = 200 * MS  #: a connection that waits longer for its first request was opened in advance
UNLIMITED = 1 << 40  #: others in progress, where a model refused none
MAX_ATTEMPTS = 12  #: of one intent, or as many as were recorded: four minutes of opencode's back-off. A crowded replay must drain


class RuleLike(Protocol):
    """What counts, and from how many others on a request is refused."""

    @property
    def unit(self) -> str: ...  # requests or connections
    @property
    def scope(self) -> str: ...  # side or egress
    @property
    def value(self) -> int: ...


# --- what is replayed ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What is different. Sides are sets of VM, HOST, UNKNOWN; by default nothing is.

    without_sides : make no requests and have no sessions.  without : intents that are not made.
    cap : most requests that a side has in progress as its program sees it; the rest wait their turn.  cap_shared : all sides together.
    cut : sides whose programs' ends reach the provider, which notices them late.  by_sshuttle : by way of sshuttle 2, which does so too.
    close_idle : connections end with their answer.
    without_companions : sides for which the tunnel opens nothing besides.  without_lookups : no sessions of DNS over TCP.
    own_address : each side has an egress address of its own.
    pace_s : seconds from one attempt to the next, of each side or, where all are counted together, of all; earlier ones wait.
    waits : after a refusal the program tries again when the limit lets it.  smaller : share of its size that each request keeps.
    """

    without_sides: frozenset[int] = frozenset()
    without: frozenset[int] = frozenset()
    cap: int | None = None
    cap_shared: bool = False
    cut: frozenset[int] = frozenset()
    by_sshuttle: bool = False
    close_idle: bool = False
    without_companions: frozenset[int] = frozenset()
    without_lookups: bool = False
    own_address: bool = False
    pace_s: float | None = None
    waits: bool = False
    smaller: float = 1.0


NOTHING = Change()


@dataclass(frozen=True)
class SizedRule:
    """A limit on the bytes of requests in progress, as the replay decides by it."""

    scope: str
    value: int
    sized: Sized
    unit: str = "requests"  # what holds a place


@dataclass(frozen=True)
class Outcome:
    """What a replay gave.

    rejections : refused attempts, by side.  refused : intents refused at least once.  queued_s : waiting for a place under the cap.
    retrying_s : from the first attempt to the accepted one, without queueing.  peak : most of what counts that was held at once in one group.
    given_up : intents that were never accepted.  requests : intents that were made.
    """

    rejections: dict[int, int]
    refused: int
    queued_s: float
    retrying_s: float
    peak: int
    given_up: int
    requests: int

    @property
    def total(self) -> int:
        return sum(self.rejections.values())


@dataclass(frozen=True, eq=False)
class _Beside:
    """A session that opens with a connection: how much later it ends than the connection, or than the connection's start."""

    end: int
    with_end: bool


@dataclass(eq=False)
class Setting:
    """A situation, and all that replays of it under one rule have in common.

    A side that was never refused although others held the limit is taken to have an account of its own with a higher limit (``side`` scope only).
    """

    situation: Situation
    rule: RuleLike
    intents: Intents = field(init=False)

    def __post_init__(self) -> None:
        self.intents = intents(self.situation)

    @cached_property
    def as_recorded(self) -> Outcome:
        """The replay of no change."""
        return replay(self, NOTHING)

    @property
    def rejections(self) -> dict[int, int]:
        """Recorded refusals by side."""
        r = self.situation.requests
        sides, counts = np.unique(r.side[r.rejected == REJECTED], return_counts=True)
        return dict(zip(sides.tolist(), counts.tolist(), strict=True))

    @cached_property
    def peak(self) -> int:
        """Most of what counts that was held at once, as recorded."""
        return peak(self.situation, self.rule)

    @cached_property
    def titles(self) -> frozenset[int]:
        """Intents that are title requests: see :func:`netlens.lenses.refused.turns.titles`."""
        return titles(self.intents, self.situation)

    @cached_property
    def exempt(self) -> frozenset[int]:
        """Sides that the limit does not hold for."""
        if isinstance(self.rule, TimeRule):
            return self.rule.exempt(self.situation)
        if self.rule.scope != "side":
            return frozenset()
        never = set(np.unique(self.situation.requests.side).tolist()) - set(self.rejections)
        return frozenset(s for s in never if _would_be_refused(self.situation, self.rule, s)) | {UNKNOWN}

    @cached_property
    def after(self) -> tuple[Ints, Ints, Bools]:
        """Per intent: the one it depends on (-1: none), its distance in ns, and whether that is from the other's start."""
        return dependencies(self.intents, self.situation)

    @cached_property
    def table(self) -> Ints:
        """Intents as kernels have them; what a change decides is 0."""
        found, (on, distance, from_start) = self.intents, self.after
        lasted, open_ = np.maximum(found.finished_ns - found.start_ns, 0), np.zeros(len(found), np.int64)
        columns = [found.start_ns, lasted, found.busy_ns, open_, found.side, open_, open_, on, distance, from_start, found.gives_up]
        return np.stack([np.asarray(column, np.int64) for column in columns], axis=1)

    @cached_property
    def connections(self) -> _Connections:
        return _Connections(self)


def peak(situation: Situation, rule: RuleLike) -> int:
    """Most places that were held at once in one group of ``rule``."""
    most = peaks(situation)[rule.unit]
    return most["combined"] if rule.scope == "egress" else max(most["vm"], most["host"])


def _would_be_refused(situation: Situation, rule: RuleLike, side: int) -> bool:
    r, s = situation.requests, situation.sessions
    mine = r.side == side
    if rule.unit == "requests":
        return most_at_once(r.start_ns[mine], r.end_ns[mine]) > rule.value
    theirs = s.side == side
    return bool((open_at(s.start_ns[theirs], s.end_ns[theirs], r.start_ns[mine]) - 1 >= rule.value).any())


class _Connections:
    """What the recording tells of connections, per row of Requests and per session."""

    def __init__(self, setting: Setting) -> None:
        r, s = setting.situation.requests, setting.situation.sessions
        self.uses: dict[int, list[int]] = {}
        for row, session in enumerate(r.session.tolist()):
            if 0 <= session < len(s):
                self.uses.setdefault(session, []).append(row)
        shared = {k for k, rows in self.uses.items() if any(r.stream[row] >= 0 for row in rows)}
        self.modelled = set(self.uses) - shared
        self.keep_ns = self._keep(setting)
        self.opens, self.insists, self.idles = self._attempts(setting)
        self.tail_ns = np.maximum(s.end_ns - s.done_ns, 0).tolist()
        last = {session: rows[-1] for session, rows in self.uses.items()}
        #: by who tells the provider: session -> from the program's end to when the provider knows of it
        self.unnoticed_ns = {
            told: {k: max(int(r.noticed_ns[row, told] - r.done_ns[row]), 0) for k, row in last.items()} for told in (DIRECTLY, BY_SSHUTTLE)
        }
        self.beside, attached = self._companions(s)
        self.lookups, looked = self._lookups(setting)
        self._openers: dict[int, list[int]] = {}
        for row, side in enumerate(r.side.tolist()):
            if self.opens[row]:
                self._openers.setdefault(side, []).append(row)
        self.each_looks_up = any(not self.opens[row] for row in self.lookups)
        rest = set(range(len(s))) - self.modelled - attached - looked
        #: (side, start, end, done, kind) of what stays where it was
        self.background = [(int(s.side[k]), int(s.start_ns[k]), int(s.end_ns[k]), int(s.done_ns[k]), int(s.kind[k])) for k in sorted(rest)]
        for k in self.modelled:
            first = int(r.start_ns[self.uses[k][0]])
            if first - s.start_ns[k] > PRECONNECT_NS:
                self.background.append((int(s.side[k]), int(s.start_ns[k]), first, first, int(s.kind[k])))

    def like(self, side: int, number: int, otherwise: int) -> int:
        """One of the side's attempts that opened a connection, in turn."""
        rows = self._openers.get(side)
        return rows[number % len(rows)] if rows else otherwise

    def _keep(self, setting: Setting) -> dict[int, int]:
        """How long a side's connections idle before they are closed; those that are closed at once (broken off) say nothing about it."""
        r, s = setting.situation.requests, setting.situation.sessions
        idle: dict[int, list[int]] = {}
        for session in self.modelled:
            lingers = int(s.done_ns[session] - r.done_ns[self.uses[session]].max())
            if lingers > 10 * MS and s.done_ns[session] < setting.situation.capture_ns[1]:
                idle.setdefault(int(s.side[session]), []).append(lingers)
        return {side: int(np.median(values)) for side, values in idle.items()}

    def _attempts(self, setting: Setting) -> tuple[list[bool], list[bool], list[int]]:
        """Per row: whether it opened its connection, whether it did so though one was idle, how long the connection idled after it."""
        r, s = setting.situation.requests, setting.situation.sessions
        n = len(r)
        opens, insists, idles = [False] * n, [False] * n, [0] * n
        idle_from: dict[int, list[int]] = {}
        idle_to: dict[int, list[int]] = {}
        for session in self.modelled:
            rows = self.uses[session]
            opens[rows[0]] = True
            for row, following in zip(rows, [*rows[1:], None], strict=True):
                done = int(r.done_ns[row])
                if following is None:
                    until = max(int(s.done_ns[session]), done)
                    idles[row] = until - done
                else:
                    until = max(int(r.start_ns[following]), done)
                    idles[row] = max(until - done, self.keep_ns.get(int(r.side[row]), 0))
                idle_from.setdefault(int(r.side[row]), []).append(done)
                idle_to.setdefault(int(r.side[row]), []).append(until)
        ranges = {side: (np.sort(idle_from[side]), np.sort(idle_to[side])) for side in idle_from}
        for session in self.modelled:
            row = self.uses[session][0]
            begins, ends = ranges[int(r.side[row])]
            at = int(min(s.start_ns[session], r.start_ns[row]))
            insists[row] = int(np.searchsorted(begins, at) - np.searchsorted(ends, at)) > 0
        return opens, insists, idles

    def _companions(self, s: Sessions) -> tuple[dict[int, list[_Beside]], set[int]]:
        parents = {int(s.connection[k]): k for k in sorted(self.modelled) if s.connection[k] >= 0}
        out: dict[int, list[_Beside]] = {}
        attached = set()
        for k in np.flatnonzero(s.kind == COMPANION).tolist():
            parent = parents.get(int(s.connection[k]))
            if parent is None or k in self.modelled:
                continue
            with_end = abs(int(s.end_ns[k] - s.end_ns[parent])) <= abs(int(s.end_ns[k] - s.start_ns[parent]))
            out.setdefault(parent, []).append(_Beside(int(s.end_ns[k] - (s.end_ns if with_end else s.start_ns)[parent]), with_end))
            attached.add(k)
        return out, attached

    def _lookups(self, setting: Setting) -> tuple[dict[int, list[tuple[int, int]]], set[int]]:
        """Row -> (ns before it, duration) of the lookups' sessions made for it."""
        r, s = setting.situation.requests, setting.situation.sessions
        out: dict[int, list[tuple[int, int]]] = {}
        attached = set()
        by_side = {side: np.flatnonzero(r.side == side) for side in np.unique(r.side).tolist()}
        for k in np.flatnonzero(s.kind == LOOKUPS).tolist():
            rows = by_side.get(int(s.side[k]), np.zeros(0, np.int64))
            at = int(np.searchsorted(r.start_ns[rows], s.start_ns[k]))
            if at < len(rows) and r.start_ns[rows[at]] - s.start_ns[k] <= TOGETHER_NS:
                before = int(r.start_ns[rows[at]] - s.start_ns[k])
                out.setdefault(int(rows[at]), []).append((before, max(int(s.end_ns[k] - s.start_ns[k]), 1)))
                attached.add(k)
        return out, attached


# --- replay ------------------------------------------------------------------------------------------------------------------------------

_CLOSE, _EXPIRE, _DONE, _OPEN, _TRY = range(5)  # kinds of events, in the order in which those of one time happen


def replay(setting: Setting, change: Change = NOTHING, *, at_once: bool = False) -> Outcome:
    """Replay the intents of a setting under its rule with a change. ``at_once``: the provider knows at once of what is broken off."""
    change = bare(setting, change)
    if change == NOTHING and not at_once and "as_recorded" in setting.__dict__:
        return setting.as_recorded
    if isinstance(setting.rule, TimeRule):
        return _Timely(setting, change, at_once).run()
    if isinstance(setting.rule, SizedRule):
        return _BySize(setting, change, at_once).run()
    return (_Connected if setting.rule.unit == "connections" else _InFlight)(setting, change, at_once).run()


def bare(setting: Setting, change: Change) -> Change:
    """The change without what it cannot change in this setting."""
    found, s, connected = setting.intents, setting.situation.sessions, setting.rule.unit == "connections"
    tails = found.side[found.hold_ns > found.busy_ns]
    if connected:
        tails = s.side[s.end_ns > s.done_ns]
    there = set(found.side.tolist()) | (set(s.side.tolist()) if connected else set())
    return replace(
        change,
        without_sides=change.without_sides & there,
        cut=change.cut & set(tails.tolist()),
        close_idle=change.close_idle and connected,
        without_companions=change.without_companions & set(s.side[s.kind == COMPANION].tolist()) if connected else frozenset(),
        without_lookups=change.without_lookups and connected and bool((s.kind == LOOKUPS).any()),
        own_address=change.own_address and setting.rule.scope == "egress",
        cap_shared=change.cap_shared and change.cap is not None,
    )


def _told(change: Change) -> int:
    """By whom the provider learns of what is broken off: a column of ``noticed_ns``."""
    return BY_SSHUTTLE if change.by_sshuttle else DIRECTLY


def _hold(setting: Setting, change: Change, at_once: bool) -> Ints:
    """How long each intent holds its place."""
    found, rule = setting.intents, setting.rule
    told = getattr(rule, "broken_s", 0.0) > 0 or getattr(rule, "by_writes", False)  # the recording shows that it is not at once
    recorded = found.hold_ns if at_once and not told else found.noticed_ns[:, RECORDED]
    held = recorded
    if change.cut:
        cut = found.busy_ns if at_once else np.minimum(found.noticed_ns[:, _told(change)], recorded)
        held = np.where(np.isin(found.side, list(change.cut)), cut, recorded)
    return held + round(getattr(rule, "held_s", 0.0) * S)


def notice_matters(setting: Setting, change: Change) -> bool:
    """Whether it changes anything when the provider learns of what is broken off."""
    if isinstance(setting.rule, TimeRule) or setting.rule.unit == "connections":
        return True
    change = bare(setting, change)
    return not np.array_equal(_hold(setting, change, True), _hold(setting, change, False))


class _Replay:
    """What all replays share; what is counted, its subclasses decide."""

    def __init__(self, setting: Setting, change: Change, at_once: bool) -> None:
        self.setting, self.change, self.at_once = setting, change, at_once
        rule = setting.rule
        self.limit, self.exempt = rule.value, setting.exempt
        self.changes: tuple[tuple[int, int], ...] = getattr(rule, "changes", ())
        self.models = tuple(UNLIMITED if each is None else each for each in getattr(rule, "models", ()))
        apart = rule.scope == "side" or change.own_address
        self.group = {side: side if apart else 0 for side in range(UNKNOWN + 1)}
        self.events: list[tuple[int, int, int, int]] = []  # time, kind, what, more
        self.next_ns: dict[int, int] = {}
        self.peak = 0
        found = setting.intents
        self.hold_ns = _hold(setting, change, at_once)
        self.left_out = np.isin(found.side, list(change.without_sides)) | np.isin(np.arange(len(found)), list(change.without))
        self.most = max(MAX_ATTEMPTS, int(found.refusals.max(initial=0)) + 1)
        #: after a first refusal, unless it is the program that changes
        self.gives_up = found.gives_up & (not change.waits)
        self.delays = [found.delay_ns(k) for k in range(1, self.most + 1)]
        self.refusal_ns = max(found.refusal_ns, 1)

    def run(self) -> Outcome:
        found, change = self.setting.intents, self.change
        n = len(found)
        sides, busy, left_out = found.side.tolist(), found.busy_ns.tolist(), self.left_out.tolist()
        starts, ends = found.start_ns.tolist(), found.finished_ns.tolist()
        on, distance, from_start = (column.tolist() for column in self.setting.after)
        followers: list[list[int]] = [[] for _ in range(n)]
        companions: list[list[int]] = [[] for _ in range(n)]
        for k, i in enumerate(on):
            if i < 0:
                self.events.append((starts[k], _TRY, k, 0))
            else:
                (companions if from_start[k] else followers)[i].append(k)
        heapq.heapify(self.events)
        most, delays, refusal_ns, gives_up = self.most, self.delays, self.refusal_ns, self.gives_up.tolist()
        refused, first, queued_at, waited = [0] * n, [-1] * n, [-1] * n, 0
        retrying = 0
        rejections: dict[int, int] = {}
        in_progress = dict.fromkeys(range(UNKNOWN + 1), 0)
        queues: dict[int, deque[int]] = {side: deque() for side in range(UNKNOWN + 1)}
        cap, given_up = change.cap, 0
        events, push, pop = self.events, heapq.heappush, heapq.heappop
        queued_ns = [0] * n
        while events:
            now, kind, k, more = pop(events)
            if kind < _DONE or kind == _OPEN:
                self.other(now, kind, k, more)
                continue
            if kind == _DONE:
                # `more`: 1 done for good, 0 refused and to be tried again, 2 done without having been made
                if more < 2:
                    self.finished(now, k)
                if more:
                    for j in followers[k]:
                        push(events, (now + distance[j], _TRY, j, 0))
                if cap is None or more == 2:
                    continue
                line = 0 if change.cap_shared else sides[k]
                in_progress[line] -= 1
                if not queues[line]:
                    continue
                k = queues[line].popleft()
                waited += now - queued_at[k]
                queued_ns[k] += now - queued_at[k]
                queued_at[k] = -1
            elif first[k] < 0:
                first[k] = now
                for j in companions[k]:
                    push(events, (now + distance[j], _TRY, j, 0))
                if left_out[k]:
                    push(events, (now + max(ends[k] - starts[k], 0), _DONE, k, 2))
                    continue
            side = sides[k]
            if (later := self.paced(now, side)) > now:
                waited += later - now
                queued_ns[k] += later - now
                push(events, (later, _TRY, k, 0))
                continue
            if cap is not None:
                line = 0 if change.cap_shared else side
                if in_progress[line] >= cap:
                    queues[line].append(k)
                    queued_at[k] = now
                    continue
                in_progress[line] += 1
            if self.accepts(now, k, side, refused[k]):
                retrying += now - first[k] - queued_ns[k]
                push(events, (now + busy[k], _DONE, k, 1))
            else:
                refused[k] += 1
                rejections[side] = rejections.get(side, 0) + 1
                over = refused[k] >= most
                given_up += over
                over = over or gives_up[k]
                push(events, (now + refusal_ns, _DONE, k, int(over)))
                if not over:
                    delay = delays[refused[k] - 1] if not change.waits else self.free_in(now, k, side)
                    push(events, (now + max(delay, refusal_ns + 1), _TRY, k, 0))
        made = n - int(self.left_out.sum())
        return Outcome(rejections, sum(1 for x in refused if x), waited / S, retrying / S, self.peak, given_up, made)

    def accepts(self, now: int, k: int, side: int, refusals: int) -> bool:
        """Whether an attempt is accepted, which then counts."""
        raise NotImplementedError

    def paced(self, now: int, side: int) -> int:
        """When an attempt may be made: now, or later where attempts are paced."""
        if self.change.pace_s is None:
            return now
        line = self.group[side]
        at = max(now, self.next_ns.get(line, 0))
        if at == now:
            self.next_ns[line] = now + round(self.change.pace_s * S)
        return at

    def free_in(self, now: int, k: int, side: int) -> int:
        """How long until an attempt would be accepted."""
        return 0

    def limit_at(self, now: int) -> int:
        """The limit, which may change."""
        if not self.changes:
            return self.limit
        return next((value for at, value in reversed(self.changes) if at <= now), self.changes[0][1])

    def finished(self, now: int, k: int) -> None:
        """The program is done with an attempt."""

    def other(self, now: int, kind: int, what: int, more: int) -> None:
        """Another event."""


class _InFlight(_Replay):
    """Of requests in flight: the whole loop is a kernel, as this is what most replays are of."""

    def run(self) -> Outcome:
        found, change, rule = self.setting.intents, self.change, self.setting.rule
        n, sides = len(found), range(UNKNOWN + 1)
        table = self.setting.table.copy()
        table[:, kernels.HOLD], table[:, kernels.LEFT_OUT], table[:, kernels.GIVES_UP] = self.hold_ns, self.left_out, self.gives_up
        if self.models:
            table[:, kernels.MODEL] = models(self.setting.situation.requests)[found.first]
        cap = -1 if change.cap is None else change.cap
        pace_ns = -1 if change.pace_s is None else round(change.pace_s * S)
        settings = np.array([cap, pace_ns, self.refusal_ns, self.most, rule.scope == "side"], np.int64)
        each = [[self.group[side], side in self.exempt, 0 if change.cap_shared else side] for side in sides]
        limits = np.array(self.models or (self.limit, self.limit), np.int64)
        delays = np.zeros(self.most, np.int64) if change.waits else np.array(self.delays, np.int64)
        changes = np.array([] if self.models else self.changes, np.int64).reshape(-1, 2)
        state, totals = np.zeros((n, kernels.STATE_WIDTH), np.int64), np.zeros(kernels.TOTALS_WIDTH + len(sides), np.int64)
        rooms = np.zeros((2, 2 * n + 8), np.int64), np.zeros((2 * len(sides), n + 1), np.int64), np.zeros((5, 2 * len(sides)), np.int64)
        kernels.replay(table, settings, np.array(each, np.int64), limits, changes, delays, state, totals, *rooms)
        waited, retrying, peak, given_up, *rejections = totals.tolist()
        refused = int((state[:, kernels.REFUSALS] > 0).sum())
        by_side = {side: count for side, count in enumerate(rejections) if count}
        return Outcome(by_side, refused, waited / S, retrying / S, peak, given_up, n - int(self.left_out.sum()))


class _Timely(_Replay):
    """Of what is sent over time."""

    def __init__(self, setting: Setting, change: Change, at_once: bool) -> None:
        super().__init__(setting, change, at_once)
        rule = setting.rule
        assert isinstance(rule, TimeRule)
        self.attempts, self.barred_ns = rule.counts == "attempts", rule.barred_ns
        self.barred_until: dict[int, int] = {}  # by group
        self.meters = {group: rule.meter() for group in set(self.group.values())}
        self.taken = [1.0] * len(setting.intents)
        self.answers = rule.counts == "answers"
        # when answers will be over, and what they take
        self.awaited: dict[int, list[tuple[int, float]]] = {group: [] for group in self.meters}
        if rule.counts in SIZED:
            r, last = setting.situation.requests, setting.intents.last
            sizes = r.answer_bytes[last] if self.answers else r.sent_bytes[last]
            self.taken = (rule.fit.reading.taken(sizes) * (1.0 if self.answers else change.smaller)).tolist()
        #: What must be left for a request, which may not be asked for its own size.
        self.room = self.taken if rule.fit.reading.own else [1.0] * len(self.taken)

    def accepts(self, now: int, k: int, side: int, refusals: int) -> bool:
        if side in self.exempt:
            return True
        group = self.group[side]
        if now < self.barred_until.get(group, now):
            return False
        meter = self._meter(group, now)
        free = meter.free_at(now, self.room[k]) <= now
        if free and self.answers:
            heapq.heappush(self.awaited[group], (now + int(self.setting.intents.busy_ns[k]), self.taken[k]))
        elif free or self.attempts:
            meter.take(now, self.taken[k])
        if not free:
            self.barred_until[group] = now + self.barred_ns
        return free

    def free_in(self, now: int, k: int, side: int) -> int:
        group = self.group[side]
        return max(self._meter(group, now).free_at(now, self.room[k]), self.barred_until.get(group, now)) - now + MS

    def _meter(self, group: int, now: int) -> Meter:
        """Of a group, with all answers taken that are over."""
        awaited = self.awaited[group]
        while awaited and awaited[0][0] <= now:
            self.meters[group].take(*heapq.heappop(awaited))
        return self.meters[group]


class _BySize(_Replay):
    """Of requests in flight that count by their size; ``peak`` is of requests."""

    def __init__(self, setting: Setting, change: Change, at_once: bool) -> None:
        super().__init__(setting, change, at_once)
        rule = setting.rule
        assert isinstance(rule, SizedRule)
        last = setting.intents.last
        self.taken = (rule.sized.taken(setting.situation.requests)[last] * change.smaller).tolist()
        self.room = self.taken if rule.sized.own else [0.0] * len(self.taken)
        self.held: dict[int, list[tuple[int, float]]] = {group: [] for group in set(self.group.values())}  # until when, and what it takes

    def accepts(self, now: int, k: int, side: int, refusals: int) -> bool:
        held = self._held(self.group[side], now)
        free = not held or sum(taken for _, taken in held) + self.room[k] < self.limit or side in self.exempt
        if free:
            heapq.heappush(held, (now + int(self.hold_ns[k]), self.taken[k]))
            self.peak = max(self.peak, len(held))
        return free

    def free_in(self, now: int, k: int, side: int) -> int:
        """When so many are over that there is room."""
        held = sorted(self._held(self.group[side], now))
        left = sum(taken for _, taken in held)
        for until, taken in held:
            left -= taken
            if left + self.room[k] < self.limit:
                return until - now + MS
        return (held[-1][0] - now if held else 0) + MS

    def _held(self, group: int, now: int) -> list[tuple[int, float]]:
        """What a group has in progress."""
        held = self.held[group]
        while held and held[0][0] <= now:
            heapq.heappop(held)
        return held


class _Connected(_Replay):
    """Of connections not yet closed."""

    def __init__(self, setting: Setting, change: Change, at_once: bool) -> None:
        super().__init__(setting, change, at_once)
        self.known = setting.connections
        self.rows = setting.intents.attempts
        self.session = setting.situation.requests.session.tolist()
        self.sides = setting.intents.side.tolist()
        self.session_sides = setting.situation.sessions.side.tolist()
        self.count = dict.fromkeys(range(UNKNOWN + 1), 0)
        self.idle: dict[int, list[int]] = {side: [] for side in range(UNKNOWN + 1)}
        self.using: list[tuple[int, int]] = [(-1, 0)] * len(self.rows)  # per intent: its connection, and how long that may idle after it
        self.profile: list[int] = []  # per connection: the session it is modelled on
        self.turn: list[int] = []  # how often it was used: an expiry of an earlier turn is void
        for side, start, end, done, kind in self.known.background:
            if side in change.without_sides or (kind == LOOKUPS and change.without_lookups):
                continue
            if kind == COMPANION and side in change.without_companions:
                continue
            self.events.append((start, _OPEN, self.group[side], 0))
            self.events.append((max(min(end, done) if side in change.cut else end, start + 1), _CLOSE, self.group[side], 0))

    def other(self, now: int, kind: int, what: int, more: int) -> None:
        if kind == _OPEN:
            self._open(what)
        elif kind == _CLOSE:
            self.count[what] -= 1
        elif self.turn[what] == more:
            self._end(what, now)

    def _open(self, group: int) -> None:
        self.count[group] += 1
        if self.count[group] > self.peak and not (group == UNKNOWN and self.setting.rule.scope == "side"):
            self.peak = self.count[group]

    def _keep_open(self, group: int, now: int, end: int) -> None:
        self._open(group)
        heapq.heappush(self.events, (max(end, now + 1), _CLOSE, group, 0))

    def _end(self, connection: int, now: int) -> None:
        """The program closes a connection: it leaves the pool, and upstream when its tail is over."""
        session = self.profile[connection]
        side = self.session_sides[session]
        if connection in self.idle[side]:
            self.idle[side].remove(connection)
        end = now + self.known.tail_ns[session]
        if side in self.change.cut:
            end = now if self.at_once else min(end, now + self.known.unnoticed_ns[_told(self.change)].get(session, 0))
        group = self.group[side]
        heapq.heappush(self.events, (end, _CLOSE, group, 0))
        if side not in self.change.without_companions:
            for each in self.known.beside.get(session, ()):
                if each.with_end:  # it is open from the connection's start on
                    heapq.heappush(self.events, (max(end + each.end, now), _CLOSE, group, 0))

    def _connect(self, now: int, side: int, session: int) -> int:
        group = self.group[side]
        self.profile.append(session)
        self.turn.append(0)
        self._open(group)
        if side not in self.change.without_companions:
            for each in self.known.beside.get(session, ()):
                if each.with_end:
                    self._open(group)
                else:
                    self._keep_open(group, now, now + max(each.end, 1))
        return len(self.profile) - 1

    def accepts(self, now: int, k: int, side: int, refusals: int) -> bool:
        rows = self.rows[k]
        known = self.known
        # More retries than were recorded are each like some attempt of the side: a tunnel that opens more beside one connection need not beside the next.
        row = rows[refusals] if refusals < len(rows) else known.like(side, k + refusals, rows[-1])
        session = self.session[row]
        group = self.group[side]
        connection, new = -1, False
        if session in known.modelled:
            idle = self.idle[side]
            if not (known.opens[row] and known.insists[row]) and idle and not self.change.close_idle:
                connection = idle.pop()
            else:
                connection, new = self._connect(now, side, session), True
            self.turn[connection] += 1
        if not self.change.without_lookups and (new or known.each_looks_up):
            for before, lasts in known.lookups.get(row, ()):
                self._keep_open(group, now, now - before + lasts)
        own = int(connection >= 0 or session in known.uses)  # its session is counted: here, or in the background
        accepted = self.count[group] - own < self.limit_at(now) or side in self.exempt
        last = rows[-1] if accepted else row
        if accepted:
            idles = known.idles[last]
        else:
            idles = known.idles[row] if refusals < len(rows) - 1 else known.keep_ns.get(side, known.idles[row])
        self.using[k] = (connection, 0 if self.change.close_idle else idles)
        return accepted

    def finished(self, now: int, k: int) -> None:
        connection, idles = self.using[k]
        if connection < 0:
            return
        side = self.sides[k]
        self.using[k] = (-1, 0)
        if idles <= 0:
            self._end(connection, now)
            return
        self.idle[side].append(connection)
        heapq.heappush(self.events, (now + idles, _EXPIRE, connection, self.turn[connection]))
