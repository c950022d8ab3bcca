"""The provider counts per source address; host and VM share one, and together exceed the limit.

Claim: without the other side's traffic, at least half of the refusals would have met less than the limit. Seen from either side.
Refuted: the other side had nothing with the provider while requests were refused, or its traffic changes next to nothing under the rule that fits.
Undecided: only one side was captured, or what the host sends cannot be told from what it forwards.
Source: cause A of the investigation (docs/glossary.md). That both sides use one key looks the same from outside: the rule is then per key.
"""

from __future__ import annotations

import numpy as np

from netlens.analysis.counting import Adjustment
from netlens.analysis.situation import HOST, REQUESTS, VM
from netlens.analysis.weighing import Evidence, Verdict, Weighing, limit_verdict

ID = "same-nat-ip"
CAUSE = "A"
CLAIM = "The provider counts per source address; host and VM share one, and together exceed the limit."


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    structure = missing = None
    if not s.egress_seen:
        missing = f"{s.egress_missing or 'a capture of the host over the same time'}: what else leaves by its address"
    else:
        there = {side for side in (VM, HOST) if bool(np.any((s.sessions.side == side) & (s.sessions.kind == REQUESTS)))}
        unknown = int((s.sessions.side == 2).sum())
        if s.vm_seen and not unknown and there in ({VM}, {HOST}):
            other = "host" if there == {VM} else "VM"
            structure = Evidence(f"the {other} opened no connection to the provider", weighing.session_frames(s.sessions.kind == REQUESTS))
    return limit_verdict(
        weighing,
        ID,
        CAUSE,
        CLAIM,
        Adjustment(others_side=True),
        structure=structure,
        missing=missing,
        told="without the other side's traffic",
    )
