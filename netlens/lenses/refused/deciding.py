"""What would decide, where a verdict is undecided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.chains.side import WORDS
from netlens.chains.situation import ACCEPTED, HOST, SIDES, UNKNOWN, UNLABELLED, VM, Situation
from netlens.lenses.refused.counting import patience
from netlens.lenses.refused.limit import ENOUGH
from netlens.lenses.refused.sides import of_one_address
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.lenses.refused.limit import RuleFit
    from netlens.lenses.refused.weighing import Weighing

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
EACH_TOO = "a recording in which one side sends nothing for a while: the limit counts both together, and how often each would reach it alone is not clear"
ABOUT_HALF = "a longer recording, because this cause explains only about half of the refusals"


def unknown_sides(situation: Situation) -> str:
    """What would tell whose connections are that nobody is known to have opened."""
    if situation.facts.get("no_overlap"):
        return ONE_TIME
    return SOCKETS if situation.vm_seen and situation.host_seen else UNKNOWN_SIDES


def doubt(weighing: Weighing) -> str:
    """What would decide where what goes for certain and what goes at most lie on either side of a half."""
    s = weighing.situation
    return unknown_sides(s) if (s.sessions.side == UNKNOWN).any() or (s.requests.side == UNKNOWN).any() else UNSURE_ORDER


def fit_equally(weighing: Weighing) -> str:
    """What would decide between rules that are tied."""
    return f"a recording in which {' and '.join(fit.rule.name for fit in weighing.grounds)} differ more, because here they fit equally well"


def needs(weighing: Weighing) -> str:
    """What would decide, where no rule separates and chance is not told either: of what lacks, what matters most."""
    for lack in (_of_outcomes, _of_sight, _of_what_refuses, _of_clarity):
        if (told := lack(weighing)) is not None:
            return told
    return "a longer recording: no count separates refused from accepted requests clearly, but chance alone does not explain them either"


def _of_outcomes(weighing: Weighing) -> str | None:
    """Where it is not known of enough requests whether they were refused."""
    i, s = weighing.inference, weighing.situation
    if s.uncountable:
        return s.uncountable
    few = i.refused < ENOUGH <= i.refused + weighing.unmatched
    if s.facts.get("vm_blind") and few:
        return BLIND
    if weighing.unmatched and not len(s.requests):
        return UNSEEN.format(plural(weighing.unmatched, "refusal"))
    if _many_unknown(s) and s.facts.get("hellos_cut") and i.refused + weighing.unmatched:
        return WHOLE_PACKETS
    if few:
        return _same_clocks(weighing)
    if i.refused == 0:
        return weighing.outcomes_wanted if s.facts.get("alike") else "a recording in which requests are refused"
    if not i.accepted:
        return weighing.outcomes_wanted if (s.requests.rejected == UNLABELLED).any() else "a recording in which some requests are accepted"
    if not i.enough and s.facts.get("alike"):
        return weighing.outcomes_wanted
    return None if i.enough else f"a recording with at least {ENOUGH} refusals; this one has {i.refused}"


def _of_sight(weighing: Weighing) -> str | None:
    """Where others may count who were not seen."""
    i, s = weighing.inference, weighing.situation
    if weighing.undecided_kind:
        return weighing.undecided_kind
    if weighing.in_doubt is not None:
        return _of_load(weighing, weighing.in_doubt)
    if not s.egress_seen:
        return s.other_capture
    if others := s.facts.get("same_provider"):
        return f"to have all that this provider may count analysed together (--api once for each of {', '.join(map(printable, others))} and the target)"
    if weighing.unmatched:
        return _same_clocks(weighing)
    if s.facts.get("leaves_elsewhere"):
        return BEYOND
    if _many_unknown(s):
        return EARLIER if s.vm_seen and s.host_seen else UNKNOWN_SIDES
    if i.accepted < ENOUGH:
        return f"a recording with at least {ENOUGH} accepted requests; this one has {i.accepted}"
    return BEGINNINGS if s.facts.get("protocol_unknown") else None


def _of_load(weighing: Weighing, fit: RuleFit) -> str:
    """Where refusals say "overloaded" and need others in progress."""
    found = fit.condition
    assert found is not None
    fewer = f"fewer than {found.value} other requests were" if found.value > 1 else "no other request was"
    return (
        f"a run with fewer requests at a time: refusals say that the provider is overloaded, but {found.misses:,} of {plural(found.below, 'request')} were "
        f"refused while {fewer} in progress, and {found.hits:,} of {found.above:,} while more were. If none is refused then, the program's own requests "
        "are what the provider sheds; if as many are, it is overloaded, and slower answers only let more be in progress"
    )


def _of_what_refuses(weighing: Weighing) -> str | None:
    """Where the provider may count or do what a capture does not show."""
    i, s = weighing.inference, weighing.situation
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
    return None


def _of_clarity(weighing: Weighing) -> str | None:
    """Where refusals are too few, or too much alike, to tell limits apart."""
    i = weighing.inference
    if weighing.chance_against_word:
        return (
            "a longer recording of one program with one model and a key of its own: the provider says that it limits requests in progress, and no count of "
            "those that were captured tells when it refuses. Perhaps requests weigh differently (by model or size), or there are places that it gives back "
            "late, or others with the same key or address hold them"
        )
    if (one := of_one_address(weighing.situation)) is not None:
        return one.needed
    if weighing.reached_for_good:
        return "a longer recording, in which the limit is reached again: here it is reached once, which several limits over time fit equally well"
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
    return None


def _many_unknown(s: Situation) -> bool:
    return len(s.requests) > 0 and float((s.requests.side == UNKNOWN).mean()) > MANY_UNKNOWN


def _same_clocks(weighing: Weighing) -> str:
    match = "matches" if weighing.unmatched == 1 else "match"
    return f"error logs on the same clocks as the captures: {plural(weighing.unmatched, 'refusal')} in these {match} no request"
