"""The provider counts host and VM together, as they share an address or a key, and together they exceed the limit.

Claim: without the other side's traffic, at least half of the refusals would have met less than the limit. Seen from either side.
Refuted: the other side had nothing open with the provider while requests were refused, or its traffic changes next to nothing under the rule that fits; its
    requests were accepted while the quota was used up.
Undecided: only one side was captured, or what the host sends cannot be told from what it forwards; a quota is used up, and both sides sent requests;
    or most of what is not the VM's a relay may have opened by itself; or the provider
    says that it limits what is in progress, and no count of what was captured tells when it refuses: others, who are not seen, may fill the limit.
Source: cause A of the investigation (docs/glossary.md). That both sides use one key looks the same from outside: the rule is then per key.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.situation import ACCEPTED, HOST, REQUESTS, UNKNOWN, VM
from netlens.lenses.refused import opened
from netlens.lenses.refused.counting import Adjustment
from netlens.lenses.refused.deciding import ABOUT_HALF, ONE_PLAN
from netlens.lenses.refused.evidence import time_evidence
from netlens.lenses.refused.judging import HALF, limit_verdict, share_verdict, without_others_tied
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.logs import CONCURRENCY, QUOTA
from netlens.text import plural

ID = "same-nat-ip"
LETTER = "A"
CLAIM = "The provider counts host and VM together, as they share an address or a key, and together they exceed the limit."
RANK = 1
UNSEEN = (
    "to know who else uses this address or key: the provider says that it limits requests in progress, and those that were captured do not fill the limit. "
    "A run with another key, or by another way out, tells which"
)
SEVERAL = 2  #: one accepted request may have been sent before the quota was used up
WITHOUT = Adjustment(others_side=True)


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    structure = missing = None
    if weighing.chance and weighing.refusal_class == CONCURRENCY:  # that nobody who was captured fills the limit says nothing of others
        return undecided(UNSEEN)
    if not s.egress_seen:
        missing = f"{s.other_capture}, which shows what else leaves from its address"
    else:
        there = {side for side in (VM, HOST) if bool(np.any((s.sessions.side == side) & (s.sessions.kind == REQUESTS)))}
        unknown = bool((s.sessions.side == UNKNOWN).any()) or bool(s.facts.get("other_names"))  # which the provider may count too
        if s.vm_seen and not unknown and there in ({VM}, {HOST}):
            other = "host" if there == {VM} else "VM"
            structure = Evidence(
                f"no program on the {other} opened a connection to the provider", weighing.session_frames(s.sessions.kind == REQUESTS)
            )
        elif weighing.named == QUOTA:
            if (apart := _went_on(weighing)) is not None:
                return refuted(apart)
            return undecided(ONE_PLAN)
        elif opened.share_of_others(s) >= HALF and (own := opened.unasked(weighing)):
            missing = opened.without_its_own(own)
    if structure is None and weighing.by_time:
        return _over_time(weighing, missing)
    return limit_verdict(weighing, WITHOUT, structure=structure, missing=missing, told=f"without {_whose(weighing)} traffic")


def _went_on(weighing: Weighing) -> Evidence | None:
    """That one side's requests were accepted while the quota of the other was used up: then it is not one quota; None where it does not show."""
    r = weighing.situation.requests
    for mine, other in ((VM, HOST), (HOST, VM)):
        refused = weighing.refused & (r.side == mine)
        if not refused.any() or (weighing.refused & (r.side == other)).any():
            continue
        first, last = r.start_ns[refused].min(), r.start_ns[refused].max()
        went_on = (r.side == other) & (r.rejected == ACCEPTED) & (r.start_ns > first) & (r.start_ns < last)
        if went_on.sum() >= SEVERAL:
            names = {VM: "VM", HOST: "host"}
            text = f"{plural(int(went_on.sum()), 'request')} of the {names[other]} were accepted while the quota of the {names[mine]} was used up"
            return Evidence(text, weighing.frames(went_on))
    return None


def _whose(weighing: Weighing) -> str:
    """Whose traffic is taken away, in the genitive: each side's is taken from the other's; who that is, is said where it is more than the host."""
    others = str(weighing.situation.facts.get("others") or "the host")
    return "the other side's" if others == "the host" else f"the other side's ({others})"


def _over_time(weighing: Weighing, missing: str | None) -> Verdict:
    """Under a limit over time: the share of its refusals that would have been below it without the other side's requests."""
    fit = weighing.by_time[0]
    found = weighing.alone(fit)
    told = f"{found.told(spared=True)} would have succeeded without {_whose(weighing)} requests"
    evidence = [Evidence(told, weighing.frames(found.gone if found.gone.any() else found.at)), time_evidence(weighing, fit)]
    return share_verdict(weighing, fit.p, evidence, missing, ABOUT_HALF, without_others_tied(weighing))
