"""Small scenes for tests of limit and hypotheses: who held what when each request came, in a line or two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens.chains.situation import COMPANION, LOOKUPS, Situation
from netlens.lenses.refused.limit import infer
from netlens.lenses.refused.weighing import Weighing
from tests.lenses.refused.made import situation

if TYPE_CHECKING:
    from netlens.lenses.refused.verdict import Verdict

_SIDES = {"v": "vm", "h": "host", "u": "?"}
_LABELS = {"!": 1, ".": 0, "?": -1}


def rounds(*specs: str, gap_s: float = 60.0) -> Situation:
    """One round a minute, so that nothing is a retry of anything.

    "vvh!v" is two requests of the VM and one of the host, accepted and long, then one of the VM that is refused; "." instead of "!" is one that is
    accepted, "?" one of which nobody knows. "V" and "H" hold a place upstream though their program is done with it; "p" is a connection of the VM
    whose one request is soon answered and that idles then. "i" and "I" are connections of VM and host that carry nothing, "c" one that the tunnel
    opened besides, "d" one that carries lookups. Every request has a session of its own.
    """
    requests: list[tuple[str, int, float, float, int]] = []
    sessions: list[tuple[str, float, float]] = []
    done: dict[int, float] = {}
    kind: dict[int, int] = {}
    left: dict[int, float] = {}
    for k, spec in enumerate(specs):
        t = 1.0 + k * gap_s
        mark = next(c for c in spec if c in _LABELS)
        holders, probe = spec.split(mark)
        for j, who in enumerate(holders):
            begin, end = t + 0.1 * j, t + 10.0
            if who in "iIcd":
                if who != "i" and who != "I":
                    kind[len(sessions)] = COMPANION if who == "c" else LOOKUPS
                sessions.append(("host" if who == "I" else "vm", begin, end))
                continue
            if who == "p":
                requests.append(("vm", len(sessions), begin, begin + 1.0, 0))
                sessions.append(("vm", begin - 0.01, end))
                continue
            if who in "VH":
                done[len(requests)] = left[len(sessions)] = t + 2.0
            requests.append((_SIDES[who.lower()], len(sessions), begin, end, 0))
            sessions.append((_SIDES[who.lower()], begin - 0.01, end + 0.01))
        refused = mark == "!"
        requests.append((_SIDES[probe], len(sessions), t + 5.0, t + (5.05 if refused else 9.0), _LABELS[mark]))
        sessions.append((_SIDES[probe], t + 4.99, t + (5.06 if refused else 9.01)))
    return situation(requests, sessions, done=done, session_done=left, kind=kind)


def met(*rows: tuple[int, int]) -> Situation:
    """Requests of the VM a minute apart, each (others' connections open around it, label)."""
    requests, sessions = [], []
    for k, (count, label) in enumerate(rows):
        t = 60.0 * k + 10
        requests.append(("vm", len(sessions), t, t + 1, label))
        sessions += [("vm", t - 0.5, t + 2)] + [("vm", t - 1, t + 3)] * count
    return situation(requests, sessions)


def weighed(s: Situation, permutations: int = 999) -> Weighing:
    return Weighing(s, infer(s, permutations))


def judged(module: object, s: Situation) -> Verdict:
    """The verdict of one hypothesis; what holds for every verdict is checked on the way."""
    verdict: Verdict = module.judge(weighed(s))  # type: ignore[attr-defined]
    assert verdict.verdict in ("supported", "refuted", "undecided")
    assert (verdict.needs is None) == (verdict.verdict != "undecided")
    assert verdict.evidence or verdict.verdict == "undecided"
    for evidence in verdict.evidence:
        assert evidence.frames
        assert len(evidence.frames) <= 10
    share = verdict.attributable_fraction
    assert share is None or 0.0 <= share <= 1.0
    return verdict


def without_captures(s: Situation, *sides: str) -> Situation:
    """The same, seen without the capture of these sides: frames and times that only it shows are gone."""
    if "host" in sides:
        s = replace(s, host_seen=False, egress_seen=False)
    if "vm" in sides:
        r, c = s.requests, s.sessions
        none = np.zeros(len(r), np.int64)
        s = replace(
            s,
            vm_seen=False,
            requests=replace(r, done_ns=r.end_ns, vm_frame=none),
            sessions=replace(c, done_ns=c.end_ns, vm_frame=np.zeros(len(c), np.int64)),
        )
    return s
