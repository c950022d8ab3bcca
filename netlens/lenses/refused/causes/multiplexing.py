"""The tunnel makes more connections upstream than the program opened.

Claim: with one upstream session for each connection of the program, at least half of the refusals would have met less than the limit.
Refuted: each connection of the program has exactly one upstream session.
Undecided: the host was not captured, so that upstream sessions are not seen; or for some of them it is not known whose they are; or a relay opens a
connection for each request, and a limit on new connections would refuse the same ones as one on requests; or it asks by itself (health checks); or it
    ends TLS where no capture shows it, so that nobody knows which of its connections it opened for which of the program's.
Source: cause B of the investigation (docs/glossary.md); sshuttle itself opens exactly one (its ssnet.py).
"""

from __future__ import annotations

import numpy as np

from netlens.chains.situation import COMPANION, UNKNOWN, Situation
from netlens.columns import Bools
from netlens.lenses.refused import opened
from netlens.lenses.refused.counting import Adjustment
from netlens.lenses.refused.deciding import unknown_sides
from netlens.lenses.refused.judging import LITTLE, limit_verdict
from netlens.lenses.refused.verdict import Evidence, Verdict, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.text import plural

ID = "multiplexing"
LETTER = "B"
CLAIM = "The tunnel opens more connections to the provider than the program did."
RANK = 2
WITHOUT = Adjustment(companions=True)
ASKED_ANEW = "a recording without the relay that ends TLS, to know which of its connections stands for which of the program's"


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    companions = s.sessions.kind == COMPANION
    structure = missing = None
    if not (s.vm_seen and s.egress_seen):
        missing = f"{s.other_capture}, to match each connection of the program with those to the provider"
    elif (spared := opened.spared_if_kept(weighing)) >= LITTLE:
        return undecided(opened.needed(weighing), spared)
    elif s.facts.get("asked_anew"):
        missing = ASKED_ANEW
    elif (own := opened.unasked(weighing)) and not (companions.any() or s.requests.again.any()):
        missing = opened.without_its_own(own)
    elif not (companions.any() or s.requests.again.any()) and _maybe(s).any():
        missing = unknown_sides(s)
    elif not (companions.any() or s.requests.added.any() or s.requests.again.any() or s.facts.get("unasked")):
        pairs = int(s.facts.get("pairs", 0))
        one = "the only connection" if pairs == 1 else f"each of the {pairs:,} connections"
        structure = Evidence(
            f"{one} of the VM left the host as exactly one"
            if pairs
            else "no connection reached the provider besides those of the programs",
            weighing.session_frames(np.asarray(s.sessions.vm_frame > 0)),
        )
    return limit_verdict(
        weighing,
        WITHOUT,
        structure=structure,
        missing=missing,
        told=_told(s, int(companions.sum())),
    )


def _told(s: Situation, companions: int) -> str:
    """What is left out."""
    if again := int(s.requests.again.sum()):
        return f"without the {plural(again, 'request')} that a relay sent again while the first was in progress"
    return f"without the {plural(companions, 'connection')} that the tunnel added" if companions else ""


def _maybe(s: Situation) -> Bools:
    """Connections that may be the tunnel's: nobody is known to have opened them, and no request is on them, or some of the VM's own are not known."""
    idle = ~np.isin(np.arange(len(s.sessions)), s.requests.session)
    return (s.sessions.side == UNKNOWN) & (idle | bool(s.facts.get("unpaired")))
