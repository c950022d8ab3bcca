"""Connections or requests stay counted after the program was done with them.

Claim: cut where the program was done with it (its FIN or RST, or the end of the answer), at least half of the refusals would have met less than
the limit: pools that keep connections, half-closed tails, streams that go on after they were broken off.
Refuted: cutting changes next to nothing under the rule that fits, or nothing outlived the program's interest.
Undecided: when the program was done is seen on the VM, how long the provider's side lived on the host; one of them is missing, or
their clocks cannot be compared, or packets are missing.
Source: cause D of the investigation (docs/glossary.md); RFC 9293 3.6.1 (half-closed).
"""

from __future__ import annotations

from dataclasses import replace

from netlens.lenses.refused.counting import Adjustment
from netlens.lenses.refused.judging import limit_verdict
from netlens.lenses.refused.verdict import Evidence, Verdict
from netlens.lenses.refused.weighing import Weighing

ID = "keep-alive"
LETTER = "D"
CLAIM = "Connections or requests still count after the program is done with them."
RANK = 4
WITHOUT = Adjustment(leftovers=True)
LOST = 0.002  #: share of the payload that is missing from a capture; an answer whose end is, lasts until the next packet, in that capture alone
LESS_LOSS = "captures with less loss (tcpdump -B 65536): where ends of answers are missing, requests seem to go on"


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    structure = missing = None
    best = weighing.inference.best
    late = best is not None and best.rule.held_s > 0 and bool(weighing.undecided_kind)  # what nobody sees end may count on at the provider
    if not s.egress_seen or not s.vm_seen:
        missing = f"{s.other_capture}: the VM shows when the program was done, the host how long the connection lived upstream"
    elif s.facts.get("clock_unknown"):
        missing = "captures whose clocks can be compared, by packets that are in both (of the SSH connection, or before and after NAT)"
    elif not (s.requests.end_ns > s.requests.done_ns).any() and not (s.sessions.end_ns > s.sessions.done_ns).any():
        structure = Evidence(
            "every request and connection ended upstream when the program was done with it", weighing.session_frames(s.sessions.end_ns > 0)
        )
    verdict = limit_verdict(
        weighing,
        WITHOUT,
        structure=structure if not weighing.grounds and not late else None,
        missing=missing,
        told="if each request and connection had ended when the program was done with it",
    )
    if verdict.verdict == "supported" and s.facts.get("lost_share", 0.0) > LOST:
        return replace(verdict, verdict="undecided", needs=LESS_LOSS)
    return verdict
