"""The sentences that are evidence for and against a cause, with the frames and numbers they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.side import WORDS
from netlens.chains.situation import ACCEPTED, HOST, SIDES, UNKNOWN, VM
from netlens.lenses.refused.over_time import Fit
from netlens.lenses.refused.verdict import Evidence, statistics
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.lenses.refused.weighing import Weighing


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
    refused = weighing.refused
    n, before = int(refused.sum()), weighing.accepted_before
    text = f"{plural(n, 'refusal')} {'says' if n == 1 else 'say'} why: {what}"
    if weighing.named == logs.QUOTA and before:
        text += f"; {plural(before, 'request')} {'was' if before == 1 else 'were'} accepted before the first"
    return Evidence(text, weighing.frames(refused))


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
    if weighing.refusal_class == logs.CONCURRENCY:
        text += "; the provider says it limits requests in progress, so programs that use the same key or address and were not captured may fill the limit"
    return Evidence(text, weighing.frames(weighing.refused), statistics(best))
