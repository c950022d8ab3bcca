"""What would help: one file a fix, each predicted by the same replay (:mod:`netlens.lenses.refused.replay`). A new fix is a new file and nothing else.

Commands are to be pasted by a user, and names and addresses come from captures of strangers: they go through :func:`hosts` and ``shlex``.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from netlens.chains.reached import host_from_vm
from netlens.chains.situation import ELSEWISE, HOST, REJECTED, SIDES, UNLABELLED, VM, Situation
from netlens.chains.traffic import Traffic
from netlens.lenses.refused import replay, turns
from netlens.lenses.refused.counting import most_at_once
from netlens.lenses.refused.intents import Intents, S, intents
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change, Outcome, RuleLike, Setting
from netlens.parsers import errorlog
from netlens.parsers.connections import is_public
from netlens.registry import members
from netlens.text import plural

BY_HAND = "by hand: "  #: a caveat that begins so says what to do where there is no command
NO_COUNT = "no limit on what is open explains the refusals, so nothing can be predicted"
NOTICED = "how many depends on when the provider notices a broken-off answer: at best at once, else when a later write fails"
NEXT_TO_NONE = 0.02  #: share of the refusals
FAR_OFF = 0.3  #: a replay of no change that is off by more than this share, and by more than two refusals, is no good guide
MAX_HOSTS = 8  #: names or addresses in one command; more are no API but a whole network


@dataclass(frozen=True)
class Context:
    """What commands are made of. All of it may come from a stranger's recording.

    target_names, target_addresses : of the API.  path : "sshuttle", "nat" or "direct", how the VM reaches it.
    sshuttle_argv : the command line of the running sshuttle, with or without its own name; None if unknown.
    cause : id of the cause that was found.  port : of the API.
    over_time : the limit is one over time: what is open at once does not matter.  quota : the provider says that a quota is used up.
    host_address : of the host as the VM reaches it; None if unknown.
    at_once : most processes of one side that made requests over the same time, as far as error logs and addresses tell; 0 if that is not known.
    program : whose error log there is, as :mod:`netlens.logs` names it, the VM's first; None without one.
    by_relay : the VM's programs ask a proxy or relay on the host, and not the API itself.  relay_port : of that; 0 if there is none, or several.
    """

    target_names: Sequence[str] = ()
    target_addresses: Sequence[str] = ()
    path: str = "direct"
    sshuttle_argv: Sequence[str] | None = None
    cause: str | None = None
    port: int = 443
    over_time: bool = False
    quota: bool = False
    at_once: int = 0
    host_address: str | None = None
    program: str | None = None
    by_relay: bool = False
    relay_port: int = 0


def context(traffic: Traffic, cause: str | None, over_time: bool, quota: bool = False) -> Context:
    """What commands are made of, from the traffic."""
    vm = traffic.sides.get("vm") or traffic.upstream
    paths = vm.connections["path"][vm.target].tolist()
    path = max(("sshuttle", "nat", "direct"), key=paths.count) if paths else "direct"
    found, port = _servers(traffic)
    return Context(
        tuple(traffic.goal.names),
        found,
        path,
        traffic.beside.sshuttle,
        cause,
        port,
        over_time,
        quota,
        max([_addresses_of_vm(traffic), *(errorlog.at_once(log) for log in traffic.beside.logs.values())]),
        host_from_vm(traffic),
        next((log.program for _, log in sorted(traffic.beside.logs.items(), key=lambda named: named[0] != "vm") if log.program), None),
        vm is not traffic.upstream
        and all(ip not in found and not is_public(ip) for ip in set(vm.connections["resp_ip"][vm.target].tolist())),
        ports[0] if len(ports := sorted(set(vm.connections["resp_port"][vm.target].tolist()))) == 1 else 0,
    )


def _addresses_of_vm(traffic: Traffic) -> int:
    """From how many addresses of one family the VM's capture shows connections to the API: with containers, each of these has programs of its own."""
    vm = traffic.sides.get("vm")
    ips = set() if vm is None else {ipaddress.ip_address(ip) for ip in set(vm.connections["orig_ip"][vm.target].tolist())}
    return max(Counter(ip.version for ip in ips if not ip.is_loopback).values(), default=0)


def _servers(traffic: Traffic) -> tuple[tuple[str, ...], int]:
    """The API's addresses and its port where the requests leave: at the VM both may be those of a relay."""
    c, target = traffic.upstream.connections, traffic.upstream.target
    seen: Counter[tuple[str, int]] = Counter(zip(c["resp_ip"][target].tolist(), c["resp_port"][target].tolist(), strict=True))
    servers = Counter({end: number for end, number in seen.items() if is_public(end[0])}) or seen
    ports: Counter[int] = Counter()
    for (_, port), number in servers.items():
        ports[port] += number
    addresses = dict.fromkeys(ip for (ip, _), _ in servers.most_common())
    return tuple(addresses) or tuple(traffic.goal.addresses), next((port for port, _ in ports.most_common(1)), 443)


@dataclass(frozen=True)
class Variant:
    """One way to apply a fix. ``change``: None where no replay can tell. ``command``: None where none exists.  ``program``: what the program is started with
    then, where that is something else than the command."""

    id: str
    title: str
    change: Change | None
    command: str | None
    caveats: tuple[str, ...] = ()
    note: str = ""
    recommended: bool = False
    program: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What a fix would change; None where that cannot be said, and ``note`` says why.

    rejections_before : recorded.  rejections_after, peak_after : of the replay, in which the provider notices by its writes what is broken off.
    rejections_at_best : the same where it notices that at once.  added_wait_s : total waiting for a place of one's own queue.
    mean_wait_s : the same per request.  retry_wait_before_s, retry_wait_after_s : total waiting between a refusal and the accepted attempt.
    replayed_before : refusals that the replay of no change gives.  confidence : "good", "low" or None.  by_side : side -> (before, after).
    peak_before, peak_after : most of what counts (requests or connections) that is held at once, in one group.
    program : what the program is started with, beside the command; None: as before, or it is the command.
    """

    id: str
    title: str
    rejections_before: int
    rejections_after: int | None
    added_wait_s: float | None
    peak_before: int | None
    peak_after: int | None
    command: str | None
    caveats: list[str]
    note: str
    mean_wait_s: float | None = None
    retry_wait_before_s: float | None = None
    retry_wait_after_s: float | None = None
    replayed_before: int | None = None
    confidence: str | None = None
    by_side: dict[str, tuple[int, int]] = field(default_factory=dict)
    recommended: bool = False
    program: str | None = None
    rejections_at_best: int | None = None

    @property
    def left(self) -> str:
        """How many refusals are left: ``3``, ``0 to 3`` or "not predicted"."""
        if self.rejections_after is None:
            return "not predicted"
        best = self.rejections_at_best
        return f"{self.rejections_after:,}" if best in (None, self.rejections_after) else f"{best:,} to {self.rejections_after:,}"

    @property
    def to_paste(self) -> str:
        """Its command, and in a line of its own what the program is started with; "" if there is none."""
        return "\n".join(each for each in (self.command, self.program) if each)

    @property
    def how(self) -> str:
        """What to paste; where there is nothing, what to do in words."""
        return self.to_paste or next((text for text in self.caveats if text.startswith(BY_HAND)), "")

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "caveats": list(self.caveats), "by_side": {k: list(v) for k, v in self.by_side.items()}}


class Case:
    """What a fix looks at. ``rule`` and ``setting`` are None where no count decides."""

    def __init__(self, situation: Situation, rule: RuleLike | None, context: Context) -> None:
        self.situation, self.rule, self.context = situation, rule, context
        self.setting = Setting(situation, rule) if rule is not None else None
        self._outcomes: dict[tuple[Change, bool], Outcome] = {}

    @cached_property
    def intents(self) -> Intents:
        return self.setting.intents if self.setting else intents(self.situation)

    @cached_property
    def titles(self) -> frozenset[int]:
        return self.setting.titles if self.setting else turns.titles(self.intents, self.situation)

    @cached_property
    def own_peak(self) -> int:
        """Most requests that one side's program had in progress at once."""
        r = self.situation.requests
        masks = [r.side == side for side in np.unique(r.side)]
        return max((most_at_once(r.start_ns[m], r.done_ns[m]) for m in masks), default=0)

    def has(self, side: int) -> bool:
        """Whether there are requests or sessions of a side."""
        return bool((self.situation.requests.side == side).any() or (self.situation.sessions.side == side).any())

    @property
    def together(self) -> bool:
        """Whether both sides are there, and counted together as far as is known."""
        return self.has(VM) and self.has(HOST) and (self.rule is None or self.rule.scope == "egress")

    def replay(self, change: Change, *, at_once: bool = False) -> Outcome | None:
        """The outcome under a change; None where no count decides. ``at_once``: the provider knows at once of what is broken off."""
        if self.setting is None:
            return None
        at_once = at_once and replay.notice_matters(self.setting, change)
        if (change, at_once) not in self._outcomes:
            self._outcomes[change, at_once] = replay.replay(self.setting, change, at_once=at_once)
        return self._outcomes[change, at_once]


# --- the registry ------------------------------------------------------------------------------------------------------------------------

#: What may refuse, as far as fixes differ by it: a limit on what is open; one over time that sides reach together, or one by itself; a quota that the
#: provider names; the provider alone.
OPEN, SHARED_RATE, OWN_RATE, QUOTA, PROVIDER = ANYTHING = ("open", "shared-rate", "own-rate", "quota", "provider")
RATES = (SHARED_RATE, OWN_RATE)


class Fix(Protocol):
    """What a file of this folder has.

    TITLE : one line that says what is done.  RANK : how much it asks of the user, 1 to 9; among fixes that do equally well the simplest is first.
    AGAINST : which of :data:`ANYTHING` it may help against; else it is not offered.  CAVEATS : what to know before.
    """

    ID: str
    TITLE: str
    RANK: int
    AGAINST: tuple[str, ...]
    CAVEATS: tuple[str, ...]

    def variants(self, case: Case) -> list[Variant]:
        """What it comes to here; empty where there is nothing that it could change."""
        ...


def all_fixes() -> list[Fix]:
    """All fixes, simplest first."""
    return sorted((check(module) for module in members(__name__, Fix)), key=lambda fix: (fix.RANK, fix.ID))


def check(fix: Fix) -> Fix:
    """``fix`` if its values make sense, else a TypeError that names it and what is wrong."""
    if "\n" in fix.TITLE or not 1 <= fix.RANK <= 9 or not set(fix.AGAINST) <= set(ANYTHING):
        raise TypeError(f"fix {fix.ID}: TITLE must be one line, RANK between 1 and 9, AGAINST some of {', '.join(ANYTHING)}")
    return fix


def _refuses(case: Case) -> str:
    """Which of :data:`ANYTHING` refuses here. A limit that counts both sides may be one that they reach together, unless one is known to reach it alone."""
    context = case.context
    if context.cause == "provider":
        return PROVIDER
    if context.quota:
        return QUOTA
    if context.over_time:
        return (
            SHARED_RATE
            if context.cause == "same-nat-ip" or (context.cause is None and case.rule is not None and case.together)
            else OWN_RATE
        )
    return OPEN


def _variants(fix: Fix, case: Case) -> list[Variant]:
    found = fix.variants(case)
    for each in found:
        if not isinstance(each, Variant) or not re.fullmatch(re.escape(fix.ID) + r"(-\d+)?", each.id):
            raise TypeError(f"fix {fix.ID}: variants gave {each!r}; it must be a Variant whose id is {fix.ID} or {fix.ID}-NUMBER")
    return list(found)


# --- predictions -------------------------------------------------------------------------------------------------------------------------


def predict(situation: Situation, rule: RuleLike | None, context: Context | None = None) -> list[Prediction]:
    """What each fix that applies would change, best first: fewest refusals left, then least waiting, then simplest.

    Parameters
    ----------
    situation : what was recorded.  rule : what decides the refusals; None if no count does.  context : what commands are made of.

    Returns
    -------
    Empty if nothing was refused. Fixes whose effect cannot be computed come last, without numbers; those that do not help against what refuses
    here are left out.
    """
    case = Case(situation, rule, context or Context())
    if not _refusals(situation):
        return []
    out = []
    for fix in all_fixes():
        if _refuses(case) in fix.AGAINST:
            for variant in _variants(fix, case):
                prediction = _predict(case, variant)
                if isinstance(rule, TimeRule) and prediction.rejections_after is not None and not _helps(prediction):
                    continue
                out.append((_order(prediction, fix.RANK), prediction))
    return [prediction for _, prediction in sorted(out, key=lambda pair: pair[0])]


def _helps(p: Prediction) -> bool:
    """Whether fewer are refused than in the replay of no change, and than were recorded."""
    return (p.rejections_after or 0) < min(p.rejections_before, p.replayed_before or p.rejections_before)


def _refusals(situation: Situation) -> int:
    return int(np.count_nonzero(situation.requests.rejected == REJECTED))


def _order(p: Prediction, rank: int) -> tuple[Any, ...]:
    if p.rejections_after is None:
        return (1, 0, 0.0, rank, p.id)
    waiting = (p.added_wait_s or 0.0) + (p.retry_wait_after_s or 0.0)
    return (0, 0 if next_to_none(p) else p.rejections_after, round(waiting, 1), rank, p.id)


def next_to_none(p: Prediction) -> bool:
    """Whether a fix leaves so few refusals that what else it costs matters more."""
    return p.rejections_after is not None and p.rejections_after <= NEXT_TO_NONE * p.rejections_before


def _predict(case: Case, v: Variant) -> Prediction:
    before = _refusals(case.situation)
    outcome = case.replay(v.change) if v.change is not None else None
    setting = case.setting
    if outcome is None or setting is None:
        cause = "" if v.change is None else NO_COUNT
        note = "; ".join(each for each in (cause, v.note) if each)
        return Prediction(
            *(v.id, v.title, before, None, None, None, None, v.command, list(v.caveats), note), recommended=v.recommended, program=v.program
        )
    base, found = setting.as_recorded, setting.intents
    over_time = isinstance(setting.rule, TimeRule)
    notes = [v.note] if v.note else []
    same = outcome == base
    after = before if same else outcome.total
    at_best = min(after, _at_best(case, v.change, before))
    if same and at_best == after:
        notes.append("it would change nothing")
    if at_best < after:
        notes.append(NOTICED)
    recorded = setting.rejections
    sides = sorted(set(recorded) | set(outcome.rejections))
    by_side = {SIDES[s]: (recorded.get(s, 0), recorded.get(s, 0) if same else outcome.rejections.get(s, 0)) for s in sides}
    far = abs(base.total - before) > max(2.0, FAR_OFF * before)
    irregular = isinstance(setting.rule, TimeRule) and not setting.rule.fit.plain
    if far:
        notes.append(
            f"a replay without a change gives {plural(base.total, 'refusal')} instead of the {before} recorded: the numbers are rough"
        )
    if others := int((case.situation.requests.rejected == ELSEWISE).sum()):
        notes.append(f"{plural(others, 'refusal')} of another kind {'is' if others == 1 else 'are'} neither counted nor changed")
    if left := case.situation.facts.get("left_out"):
        notes.append(f"{left} are no part of the replay, and need nothing of this")
    if outcome.given_up:
        notes.append(f"{plural(outcome.given_up, 'request')} would never be accepted")
    if setting.situation.uncountable and setting.rule.unit == "requests":
        notes.append(f"requests could not be counted: {setting.situation.uncountable}")
    if unknown := int((case.situation.requests.rejected == UNLABELLED).sum()):
        notes.append(f"{plural(unknown, 'request')} of unknown outcome {'is' if unknown == 1 else 'are'} taken as accepted")
    waited = (found.accepted_ns - found.start_ns).sum() / S
    return Prediction(
        id=v.id,
        title=v.title,
        rejections_before=before,
        rejections_after=after,
        added_wait_s=round(outcome.queued_s, 3),
        peak_before=None if over_time else setting.peak,
        peak_after=None if over_time else setting.peak if same else outcome.peak,
        command=v.command,
        caveats=list(v.caveats),
        note="; ".join(notes),
        mean_wait_s=round(outcome.queued_s / outcome.requests, 3) if outcome.requests else 0.0,
        retry_wait_before_s=round(float(waited), 3),
        retry_wait_after_s=round(float(waited) if same else outcome.retrying_s, 3),
        replayed_before=base.total,
        confidence="low" if far or irregular or (setting.situation.uncountable and setting.rule.unit == "requests") else "good",
        by_side=by_side,
        recommended=v.recommended,
        program=v.program,
        rejections_at_best=at_best,
    )


def _at_best(case: Case, change: Change | None, before: int) -> int:
    """Refusals left where the provider knows at once of answers that are broken off."""
    assert change is not None
    outcome, base = case.replay(change, at_once=True), case.replay(replay.NOTHING, at_once=True)
    assert outcome is not None
    return before if outcome == base else outcome.total


# --- what commands are made of -----------------------------------------------------------------------------------------------------------

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z")


def names(context: Context) -> list[str]:
    """The target's names that have the syntax of host names (RFC 1123 section 2.1) and are no addresses; others are left out."""
    found = [n.rstrip(".") for n in context.target_names]
    return [n for n in dict.fromkeys(found) if _NAME.match(n) and not n.replace(".", "").isdigit()][:MAX_HOSTS]


def addresses(context: Context) -> list[str]:
    """The target's addresses that are some; others are left out."""
    out = []
    for text in context.target_addresses:
        try:
            out.append(str(ipaddress.ip_address(text.partition("%")[0])))
        except ValueError:
            continue
    return list(dict.fromkeys(out))[:MAX_HOSTS]


def hosts(context: Context) -> list[str]:
    """``name:port`` of the target, or ``address:port`` where it has no name; safe in a command."""
    port = context.port if 0 < context.port < 65536 else 443
    return [f"{n}:{port}" for n in names(context)] or [f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in addresses(context)]


ALL_SIDES = frozenset(range(len(SIDES)))
VM_ONLY, HOST_ONLY = frozenset({VM}), frozenset({HOST})
