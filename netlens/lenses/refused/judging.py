"""What causes share when they judge: the same questions in the same order, and the sentences that answer them.

A verdict rests on three questions, in this order. Could the captures have shown it at all (``missing`` says what lacks)? Does a rule separate
refused from accepted requests beyond chance? And would its refusals have happened without the cause?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.side import WORDS
from netlens.chains.situation import ACCEPTED, HOST, SIDES, UNKNOWN, UNLABELLED, VM, Situation
from netlens.lenses.refused.counting import patience
from netlens.lenses.refused.limit import ENOUGH, TIE
from netlens.lenses.refused.over_time import Fit, without_others
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, statistics, supported, undecided
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.lenses.refused.counting import Adjustment
    from netlens.lenses.refused.limit import RuleFit
    from netlens.lenses.refused.weighing import Weighing

HALF = 0.5  #: share of the refusals that must go with a cause for it to be supported
LITTLE = 0.35  #: below this share the cause is refuted; between, two recordings of one situation may fall on either side of a half
UNKNOWN_SIDES = "a capture of the VM over the same time, or sockets.jsonl, to tell whose connections they are"
SOCKETS = "sockets.jsonl of the host (netlens capture records it), to tell whose connections they are"
ONE_TIME = "captures of both sides over the same time, to tell whose connections they are: one of these ends before the other begins"
WHOLE_PACKETS = "captures of whole packets (tcpdump -s 0), to tell whose the connections are"
EARLIER = "captures of both sides that begin before the connections do, or sockets.jsonl, to tell whose they are"
MANY_UNKNOWN = 0.2  #: share of the requests, from which on it matters more than more requests would
BLIND = "a capture of the VM with -i any over the same time: this one shows none of its programs' traffic, so its error log matches nothing"
UNSEEN = (
    "a capture in which the program's own connections show (-i any, over the same time): this one has no request, so nothing tells why there are {} in the "
    "error log"
)
BEYOND = (
    "a capture where the connections leave for the provider, or a run without the relay: they go into one on the host and leave elsewhere, where "
    "others, who are not seen, may use the same address"
)
BEGINNINGS = (
    "captures that begin before the connections do: only there it shows whether they speak HTTP/2, where requests that share a connection "
    "cannot be told apart"
)
UNSURE_ORDER = "a recording with fewer requests at the same moment: which of them came first cannot be told, and the answer depends on it"
ONE_PLAN = "to know whether both sides use one key or plan: the provider says that a quota is used up, and then both use it up"
ABOUT_HALF = "a longer recording, because this cause explains only about half of the refusals"


def limit_verdict(weighing: Weighing, adjustment: Adjustment, *, structure: Evidence | None, missing: str | None, told: str) -> Verdict:
    """Verdict on a cause that lets a limit be reached.

    Parameters
    ----------
    structure : a fact of the captures that refutes it whatever was refused ("no lookup travelled over TCP"), or None.
    missing : the capture that could show it and is not there, or None.
    told : "without it", for the sentence on the share; empty where nothing was seen that could be left out.
    """
    if structure is not None:
        return refuted(structure, share=0.0 if weighing.grounds else None)
    rules = weighing.grounds
    if not rules:
        return without_rules(weighing, missing)
    shares = [weighing.shares(fit, adjustment) for fit in rules]
    best, at, gone = rules[0], shares[0].at, shares[0].gone
    share = float(gone.sum() / max(at.sum(), 1))
    met, succeeded = ("at the limit", "succeeded") if best.condition is None else (f"with {best.value} or more others", "met fewer")
    text = f"{int(gone.sum()):,} of {plural(int(at.sum()), 'refusal')} {met} ({share:.0%}) would have {succeeded} {told}"
    evidence = [Evidence(text, weighing.frames(gone if gone.any() else at))] if told else []
    evidence.append(weighing.separation(best))
    share *= best.explains
    low, high = min(s.low for s in shares), max(s.high for s in shares)
    if missing is not None:
        return undecided(missing, share, best.p, evidence)
    half = weighing.supporting_share
    if low >= half:
        return supported(share, best.p, evidence)
    if high < LITTLE:
        return refuted(*evidence, share=share, p=best.p)
    needed, unclear = ABOUT_HALF, doubt(weighing) if high >= half > low else ""
    if len(rules) > 1 and high >= half and unclear in ("", UNSURE_ORDER):
        needed = fit_equally(weighing)
    elif unclear:
        needed = unclear
    return undecided(needed, share, best.p, evidence)


def unknown_sides(situation: Situation) -> str:
    """What would tell whose connections are that nobody is known to have opened."""
    if situation.facts.get("no_overlap"):
        return ONE_TIME
    return SOCKETS if situation.vm_seen and situation.host_seen else UNKNOWN_SIDES


def doubt(weighing: Weighing) -> str:
    """What would decide where what goes for certain and what goes at most lie on either side of a half."""
    s = weighing.situation
    return unknown_sides(s) if (s.sessions.side == UNKNOWN).any() or (s.requests.side == UNKNOWN).any() else UNSURE_ORDER


Share = tuple[float, float]  #: for certain, and at most


def without_others_tied(weighing: Weighing) -> list[Share]:
    """The share of refusals at the limit that would have succeeded without the other side, under each limit over time that fits about equally well; the
    best first."""
    best = weighing.by_time[0]
    out = []
    for fit in weighing.by_time:
        if fit.log_likelihood >= best.log_likelihood - TIE:
            at, gone, maybe = without_others(weighing.situation, fit)
            out.append((float(gone.sum() / at.sum()), float(maybe.sum() / at.sum())) if at.any() else (0.0, 0.0))
    return out


def share_verdict(
    weighing: Weighing, p: float, evidence: list[Evidence], missing: str | None, between: str, shares: list[Share]
) -> Verdict:
    """Verdict by the share of refusals that go with a cause under a limit over time.

    Parameters
    ----------
    between : what is needed where it is about half.  shares : under all limits that fit about equally well, the best first.
    """
    (share, most), least_of_all, most_of_all = shares[0], min(low for low, _ in shares), max(high for _, high in shares)
    if missing is not None:
        return undecided(missing, share, p, evidence)
    if least_of_all >= weighing.supporting_share:
        return supported(share, p, evidence)
    if most < LITTLE and most_of_all < HALF:
        return refuted(*evidence, share=share, p=p)
    if share < HALF <= most:
        between = unknown_sides(weighing.situation)
    elif least_of_all < HALF <= most_of_all:
        between = "a recording in which one side pauses now and then: a limit for each side and one for both fit equally well"
    return undecided(between, share, p, evidence)


def without_rules(weighing: Weighing, missing: str | None = None) -> Verdict:
    """Verdict on a cause that needs a limit on what is open, where no such limit explains the refusals."""
    if weighing.named:
        return refuted(named_evidence(weighing))
    if weighing.undecided_kind:
        return undecided(missing or weighing.undecided_kind)
    if weighing.by_time and missing is None:
        return refuted(time_evidence(weighing, weighing.by_time[0]))
    if weighing.chance:
        return refuted(chance_evidence(weighing))
    return undecided(missing or needs(weighing))


def used_up_together(weighing: Weighing) -> bool:
    """Whether both sides were refused, and nothing of either was accepted from the first refusal to the last: one quota that both use up looks so."""
    r, refused = weighing.situation.requests, weighing.refused
    if not all((refused & (r.side == side)).any() for side in (VM, HOST)):
        return False
    first, last = r.start_ns[refused].min(), r.start_ns[refused].max()
    return not ((r.rejected == ACCEPTED) & (r.start_ns > first) & (r.start_ns < last)).any()


def fit_equally(weighing: Weighing) -> str:
    """What would decide between rules that are tied."""
    return f"a recording in which {' and '.join(fit.rule.name for fit in weighing.grounds)} differ more, because here they fit equally well"


def time_evidence(weighing: Weighing, fit: Fit) -> Evidence:
    """One sentence on how a limit over time separates refused from accepted requests."""
    r = weighing.situation.requests
    accepted = int((r.rejected == 0).sum())
    whose = "from the same egress address" if fit.scope == "egress" else "by the same side"
    told = fit.described()
    about = "about " if told["window"] == "counter" else ""
    if told["window"] == "bucket" and fit.limiter.COUNTS == "bytes":
        own = "with their own bytes " if fit.reading.own else ""
        rule = f"when requests {whose} had {own}used up {told['burst']:,} bytes, of which {told['value'] / 60:,.0f} come back every second"
    elif told["window"] == "bucket":
        rule = f"when requests {whose} had used up {told['burst']} tokens, one of which comes back {fit.paces}"
    elif fit.limiter.COUNTS == "answers":
        rule = f"when answers to requests {whose} had come to {fit.value:,} bytes or more in the {told['window_s']:.4g} s before"
    elif fit.limiter.COUNTS == "bytes":
        rule = (
            f"when, together with those accepted {whose} in the {told['window_s']:.4g} s before, they came to {fit.value:,} bytes or more"
        )
    elif fit.limiter.COUNTS == "attempts":
        rule = f"when {fit.value} or more, including refused ones, had been sent {whose} in {about}the {told['window_s']:.4g} s before"
    else:
        since = "since the window began" if told["window"] == "fixed" else "before"
        rule = f"when {fit.value} or more had been accepted {whose} in {about}the {told['window_s']:.4g} s {since}"
    if fit.changes:
        rule = rule.replace(f"{fit.value:,}", f"the limit ({', then '.join(f'{value:,}' for _, value in fit.values)})", 1)
    if fit.barred_s:
        rule += f", or less than {fit.barred_s:g} s after a request was refused for that"
    met, all_at = weighing.met(fit), fit.counts.count >= fit.value
    alarms = int((all_at & (r.rejected == ACCEPTED)).sum())
    text = (
        f"{int(met.sum()):,} of {int(weighing.refused.sum()):,} refused requests came {rule}; {alarms:,} of {accepted:,} accepted ones did"
    )
    if fit.unseen is not None and (early := int((weighing.refused & fit.unseen & ~met).sum())):
        text += f"; {early:,} of the others came in the first {fit.parameter_s:.4g} s of the recording, when what was sent before it may have counted too"
    return Evidence(text, weighing.frames(met), statistics(fit))


def not_chance_evidence(weighing: Weighing) -> Evidence:
    """Why it is no whim of the provider, where a limit on what is open tells refused from accepted."""
    fit = weighing.rules[0]
    refused, accepted = int(weighing.refused.sum()), int((weighing.situation.requests.rejected == 0).sum())
    text = (
        f"refusals follow local traffic: {fit.hits:,} of {refused:,} came when the limit was reached; "
        f"{fit.false_alarms:,} of {plural(accepted, 'accepted request')} did"
    )
    return Evidence(text, weighing.frames(weighing.met(fit)), statistics(fit))


def not_time_evidence(weighing: Weighing) -> Evidence:
    """Why no limit over time does it, where a limit on what is open tells refused from accepted."""
    best = weighing.rules[0]
    frames = weighing.frames(weighing.met(best))
    what = "in flight" if best.rule.unit == "requests" else "open"
    if best.rule.sized is not None:
        what = "in flight, in bytes,"
    if not weighing.time_fits:
        return Evidence(
            f"no limit over time tells refused from accepted requests; a limit on what is {what} does", frames, statistics(best)
        )
    fit = weighing.time_fits[0]
    odd, own = fit.misses + fit.false_alarms, best.misses + best.false_alarms
    text = f"a limit on what is {what} leaves {plural(own, 'exception')}; of all limits over time the best ({fit.name}) leaves {odd:,}"
    if odd <= own:
        text += ", and it needs a window chosen to fit"
    return Evidence(text, frames, f"log likelihood {fit.log_likelihood:.1f}, on what is {what} {best.log_likelihood:.1f}")


def named_evidence(weighing: Weighing) -> Evidence:
    """Why it refused, in the provider's own words."""
    what = {logs.QUOTA: "a quota is used up until it resets", logs.OVERLOAD: "the provider, or the model, is overloaded"}[weighing.named]
    n = int(weighing.refused.sum())
    return Evidence(f"{plural(n, 'refusal')} {'says' if n == 1 else 'say'} why: {what}", weighing.frames(weighing.refused))


def shut_out_evidence(weighing: Weighing) -> Evidence | None:
    """That a side was shut out, which no outage does; None if none was."""
    if (found := weighing.shut_out) is None:
        return None
    side, went_on = found
    mine = weighing.refused & (weighing.situation.requests.side == side)
    whose, other = (WORDS[SIDES[each]] for each in (side, HOST if side == VM else VM))
    text = (
        f"from a moment on all {plural(int(mine.sum()), 'request')} of the {whose} were refused, while {went_on:,} of the {other}'s were accepted: no outage, "
        "but a limit of its own that was used up (a quota, a window, or one that counts refused attempts: which of these is not seen)"
    )
    return Evidence(text, weighing.frames(mine))


def rate_evidence(weighing: Weighing) -> Evidence | None:
    """That the provider says that too much was sent over time, and one side alone may have done so; None if it does not say so, or both may have."""
    i, r = weighing.inference, weighing.situation.requests
    if not (weighing.says_rate and i.enough and weighing.seen_whole) or weighing.kind or weighing.against_its_word:
        return None
    sides = [side for side in np.unique(r.side).tolist() if side != UNKNOWN]
    alone = len(sides) == 1 and not (r.side == UNKNOWN).any()
    if not alone and weighing.of_one_side is None:
        return None
    also = "nobody else was seen to send anything" if alone else "nothing of the other side was refused"
    n = int(weighing.refused.sum())
    text = f"{plural(n, 'refusal')} of one side say that too much was sent over time, and {also}; what is counted, and by which limit, is not seen"
    return Evidence(text, weighing.frames(weighing.refused))


def chance_evidence(weighing: Weighing) -> Evidence:
    i = weighing.inference
    best = max(i.fits, key=lambda f: f.youden)
    text = (
        f"{i.refused:,} of {plural(i.refused + i.accepted, 'request')} were refused, and no count predicts which: the best, {best.rule.name}, "
        f"separates {best.youden:.0%} at most; a limit would separate nearly all"
    )
    if weighing.regular_s:
        text += f"; refusals come at regular times, every {weighing.regular_s:.3g} s"
    return Evidence(text, weighing.frames(weighing.refused), statistics(best))


def _of_load(weighing: Weighing, fit: RuleFit) -> str:
    """What would decide, where refusals say "overloaded" and need others in progress."""
    found = fit.condition
    assert found is not None
    fewer = f"fewer than {found.value} other requests were" if found.value > 1 else "no other request was"
    return (
        f"a run with fewer requests at a time: refusals say that the provider is overloaded, but {found.misses:,} of {plural(found.below, 'request')} were "
        f"refused while {fewer} in progress, and {found.hits:,} of {found.above:,} while more were. If none is refused then, the program's own requests "
        "are what the provider sheds; if as many are, it is overloaded, and slower answers only let more be in progress"
    )


def needs(weighing: Weighing) -> str:
    """What would decide, where no rule separates and chance is not told either."""
    i, s = weighing.inference, weighing.situation
    if s.uncountable:
        return s.uncountable
    whose_unknown = len(s.requests) > 0 and float((s.requests.side == UNKNOWN).mean()) > MANY_UNKNOWN
    match = "matches" if weighing.unmatched == 1 else "match"
    off = f"error logs on the same clocks as the captures: {plural(weighing.unmatched, 'refusal')} in these {match} no request"
    if s.facts.get("vm_blind") and i.refused < ENOUGH <= i.refused + weighing.unmatched:
        return BLIND
    if weighing.unmatched and not len(s.requests):
        return UNSEEN.format(plural(weighing.unmatched, "refusal"))
    if whose_unknown and s.facts.get("hellos_cut") and i.refused + weighing.unmatched:
        return WHOLE_PACKETS
    if i.refused < ENOUGH <= i.refused + weighing.unmatched:
        return off
    if i.refused == 0:
        return weighing.outcomes_wanted if s.facts.get("alike") else "a recording in which requests are refused"
    if not i.accepted:
        if (s.requests.rejected == UNLABELLED).any():
            return weighing.outcomes_wanted
        return "a recording in which some requests are accepted"
    if not i.enough:
        return f"a recording with at least {ENOUGH} refusals; this one has {i.refused}"
    if weighing.undecided_kind:
        return weighing.undecided_kind
    if weighing.in_doubt is not None:
        return _of_load(weighing, weighing.in_doubt)
    if not s.egress_seen:
        return s.other_capture
    if others := s.facts.get("same_provider"):
        return f"to have all that this provider may count analysed together (--api once for each of {', '.join(map(printable, others))} and the target)"
    if weighing.unmatched:
        return off
    if s.facts.get("leaves_elsewhere"):
        return BEYOND
    if whose_unknown:
        return EARLIER if s.vm_seen and s.host_seen else UNKNOWN_SIDES
    if i.accepted < ENOUGH:
        return f"a recording with at least {ENOUGH} accepted requests; this one has {i.accepted}"
    if s.facts.get("protocol_unknown"):
        return BEGINNINGS
    if (shared := weighing.by_connection) is not None:
        return (
            f"a recording in which each program has connections of its own up to the provider: {shared.value} requests in "
            f"any {shared.parameter_s:.4g} s of one connection "
            f"explain the refusals ({plural(shared.misses + shared.false_alarms, 'exception')} in {i.refused + i.accepted:,}), "
            "which no limit by side or address does"
        )
    if weighing.against_its_word:
        return (
            "to know who else uses this key or account: the provider says that too much was sent over time, and what was captured does not "
            "explain when it says so. Others may fill the limit, or it counts what is not seen (tokens of answers)"
        )
    if (waits := patience(s.requests)) is not None:
        return (
            f"to know from the provider what requests wait for: refusals come about {waits.wait_ns / 1e9:.2g} s after the request, as if it had waited for "
            "a place that never came free, and nothing that was captured tells who held it"
        )
    if weighing.many_broken_off:
        return (
            f"a recording in which programs break off no answer: they left {weighing.many_broken_off:,} here, and for how long the provider goes "
            "on counting these is not seen; if nothing is refused then, that was it"
        )
    if weighing.from_a_moment_on:
        r = s.requests
        went_on = bool((r.start_ns[r.rejected == ACCEPTED] > r.start_ns[weighing.refused].min()).any())
        whose, outage = ("all of one side", "") if went_on else ("all", " an outage,")
        return (
            f"a recording with a pause: stop every program for some minutes, then start one. From a moment on {whose} was refused here, as under{outage} "
            "a quota, or a limit that counts refused attempts"
        )
    if blocked := weighing.blocked_s:
        return (
            f"to know from the provider what it limits: whoever is refused once is refused for {blocked:.3g} s each time, as by a block for whoever exceeds "
            "a limit, and nothing that was captured tells which limit that is"
        )
    if weighing.chance_against_word:
        return (
            "a longer recording of one program with one model and a key of its own: the provider says that it limits requests in progress, and no count of "
            "those that were captured tells when it refuses. Perhaps requests weigh differently (by model or size), or there are places that it gives back "
            "late, or others with the same key or address hold them"
        )
    if weighing.reached_for_good:
        return "a longer recording, in which the limit is reached again: refusals in one stretch alone fit several limits over time equally well"
    if weighing.of_one_side is not None:
        side, mine, theirs = weighing.of_one_side
        whose, other = (WORDS[SIDES[each]] for each in (side, HOST if side == VM else VM))
        return (
            f"a recording in which VM and host use one key and one way out: of the {whose}'s {plural(mine, 'request')} {i.refused:,} were refused, of the "
            f"{other}'s {theirs:,} none, which one rate for all does not explain"
        )
    if (partly := weighing.partly) is not None:
        return (
            f"a recording of one program with one model and one key: {partly.rule.name} explain the refusals in part "
            f"({plural(partly.misses + partly.false_alarms, 'exception')}); something else refuses or counts, too, or a clock was set meanwhile"
        )
    if weighing.few_stretches:
        return (
            "a longer recording: refusals came in few stretches, as an overload makes them, or a limit that had been used up in part before the "
            "recording began"
        )
    if (best := next((f for f in i.fits if f.hits and not f.misses + f.false_alarms), None)) is not None:
        return f"a longer recording: {best.rule.name} separate refused from accepted requests, but of so few they may do so by chance"
    if i.accepted < (least := weighing.accepted_wanted):
        return f"a recording with at least {least} accepted requests; this one has {i.accepted}"
    return "a longer recording: no count separates refused from accepted requests clearly, but chance alone does not explain them either"
