"""From a situation to verdicts: rules are fitted, every cause is judged by them, and the one with the largest share is named.

:class:`Weighing` is what causes judge by: which kind of limit tells refused from accepted, and which share of the refusals goes without something.
How they judge is in :mod:`netlens.lenses.refused.judging`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from netlens import logs
from netlens.chains.situation import ACCEPTED, REJECTED, UNKNOWN, UNLABELLED, Requests, Sessions, Situation
from netlens.columns import Bools
from netlens.lenses.refused import causes, chance, condition, irregular_over_time, odds, over_time, queue, sides, sizes
from netlens.lenses.refused.alone import Alone, alone
from netlens.lenses.refused.classes import beside_others, never_all_refuted, of_one_class, seen_upstream
from netlens.lenses.refused.counting import Adjustment, Counts, Rule, models, others, patience
from netlens.lenses.refused.deciding import needs
from netlens.lenses.refused.judging import HALF, LITTLE
from netlens.lenses.refused.limit import ENOUGH, PERMUTATIONS, TIE, Inference, Limit, RuleFit, infer, likelihoods, one_rate, runs
from netlens.lenses.refused.limit import by_chance as by_chance_of
from netlens.lenses.refused.limiters import SIZED, USUAL_S
from netlens.lenses.refused.odds import Possibility
from netlens.lenses.refused.over_time import Fit, roundest
from netlens.lenses.refused.replay import SizedRule
from netlens.lenses.refused.verdict import Evidence, Verdict, statistics
from netlens.text import plural

ALPHA = 0.05  #: p (after Holm) at or below which separation is not chance; docs/calibration.md has what comes of it
#: Times that a limit over time must have been reached, with fewer than 10 refusals and with more (one on what is open: the latter, always): what is
#: reached once may as well be an overload that lasted a while.
RUNS = (3, 2)
BEYOND = float(
    np.log(1_000)
)  #: log likelihood by which a limit that bars must be likelier than a plain one: that one in a thousand such is
MANY = 10  #: refusals
MOST_HIT = 0.8  #: share of the refusals that meet the limit for certain, where none is an exception and its value is told
SENSITIVITY = 0.75  #: share of the refusals that must stand at or above the limit: below it something else refuses too
PRECISION = 0.75  #: share of the requests at or above the limit that must be refused: a limit refuses all of them
HELD = 3.0  #: times as long as most answers
LATE_S = 10.0  #: longer than any provider is known to need until it gives a place back
UNLABELLED_SHARE = 0.5  #: of the requests; what a limit over time counts is then mostly guessed
FEW_UNLABELLED = 0.1  #: share of the requests that hardly matters
#: p and times reached, from which on a limit over time without exception is believed all the same: what is guessed wrongly makes exceptions
CERTAINLY, TURNS = 1e-6, 5
#: Share of the requests that a limit over time may leave unexplained where the provider says that it counts what is in progress. True ones leave none of
#: 46 to 115; what looks like one, as a provider counts broken-off answers on for a while, left 5 to 9 %.
AGAINST_ITS_WORD = 0.02
#: p of a limit on what is open with hardly an exception, up to which it is believed against the word "overloaded"; and of a limit over time without any,
#: which is searched for, and of a condition, which leaves the word in doubt
HARDLY_CHANCE, AGAINST_OVERLOAD = 0.01, 1e-3
EXPLAINED = 0.3  #: share of the chance model's log likelihood that a rule must explain (McFadden's R2): retry storms make 0.2 of their own
#: The same of limits on bytes: 157 of 160 true ones explained 0.66 or more (median 0.93), five that were none 0.3 to 0.56.
EXPLAINED_BY_BYTES = 0.6
#: The same of a limit over time that the provider's word speaks of, though it does not pass as a rule: where six others filled it together with one program,
#: what that program sent explained 0.39 at most.
FILLED = 0.5
FEW_BROKEN, BROKEN_SHARE = 3, 0.2  #: broken-off answers, and their share of the refusals, from which on they may be why
FAR = 5.0  #: log units by which one kind of limit is far better than another
MARGIN = 1.0  #: log units by which a rule must beat the chance model
#: How many stretches of refusals chance takes. Of 134 true `provider` 131 had as many; of four wrong ones, all of fewer than 10 refusals, none.
STRETCHES = 3
HINT = 0.3  #: separation that is a hint of a rule which is not modelled here, if it is beyond chance
WHOSE = 0.8  #: share of the requests of which it must be known whose they are
BLURRED = 0.01  #: share of the payload that is missing from a capture
COVERED = 0.8  #: share of the requests that were sent while all captures were made; else each of few refusals is of a time of which half is missing
ASTRAY = 0.05  #: share of the refusals that may match no request where chance is told: no rule survives a tenth of wrong labels
UNMATCHED = 0.25  #: share of the refusals; silent retries leave none, and the edges of a recording a few
BY_SIZE = {"bytes": "bytes", "answers": "answer bytes"}  #: units of what limiters count by size, in the words of the JSON
SCOPE_WORDS = {"side": "party", "egress": "egress"}  #: scopes of rules in the words of the JSON
FRAMES = 5  #: frames cited for a statement


class Without(NamedTuple):
    """Of the refusals ``at`` a limit, those that fall below it once something is taken away.

    low, high : their share for certain, and at most. What belongs to an unknown side may be the request's own, which no cause takes away; what began or
    ended very near to the request may or may not have been counted.  gone : which fall below it, as counted, all of unknown side being the request's own.
    kept : which do not, as counted, none of it being so.
    """

    low: float
    high: float
    at: Bools
    gone: Bools
    kept: Bools


@dataclass(frozen=True, eq=False)
class Weighing:
    """A situation with its fitted rules.

    time_fits : limits over time (:func:`netlens.lenses.refused.over_time.fits`).  refusal_class : the class of its refusals.
    rarer : those that are tried later and do not tell refused from accepted by themselves; chance must explain the labels as well as they do. None that bars
        who exceeds it: its evidence is that of fewer labels.
    """

    situation: Situation
    inference: Inference
    time_fits: list[Fit] = field(default_factory=list)
    refusal_class: str = logs.UNKNOWN
    rarer: list[Fit] = field(default_factory=list)

    @cached_property
    def named(self) -> str:
        """The limiter that the provider's own words name: "quota" or "overload", however few the refusals; "" if they name none, or what was counted
        contradicts them."""
        i, best = self.inference, self.inference.best
        named = self.refusal_class in (logs.QUOTA, logs.OVERLOAD) and i.refused > 0 and self.in_doubt is None
        if self.refusal_class == logs.OVERLOAD and best is not None and best.hits >= MANY:  # providers say "overloaded" of limits, too
            named = named and not (best.p <= HARDLY_CHANCE and self._hardly_odd(best) and self.separates(best))
        if named and self.refusal_class == logs.OVERLOAD:
            flawless = (f for f in self.time_fits if f.plain and not f.misses + f.false_alarms and f.p <= AGAINST_OVERLOAD)
            named = (best is None or best.rule.sized is None) and not any(map(self.separates, flawless))
        if self.refusal_class == logs.QUOTA and not self.from_a_moment_on:  # and "quota" of what is counted by the minute
            named = not any(map(self.separates, self.time_fits))
        return self.refusal_class if named else ""

    @property
    def accepted_before(self) -> int:
        """Requests that were accepted before the first refusal."""
        r = self.situation.requests
        return int(((r.rejected == ACCEPTED) & (r.start_ns < r.start_ns[self.refused].min())).sum())

    @cached_property
    def in_doubt(self) -> RuleFit | None:
        """What refusals that say "overloaded" need all the same, by the best plain rule: so many others in progress that chance hardly ever does as well. None
        where they need nothing, or a limit tells refused from accepted.

        Who sheds load refuses the likelier the more is in progress; but where a provider is overloaded, answers take longer, and more is in progress, too.
        """
        i, r = self.inference, self.situation.requests
        if self.refusal_class != logs.OVERLOAD or not i.enough:
            return None
        found = [(condition.find(f.counts.count, self.refused, r.rejected >= 0, i.first), f) for f in self.conditional]
        clear = [
            (each.evidence, conditional_on(f, each))
            for each, f in found
            if each is not None and each.p <= (AGAINST_OVERLOAD if each.misses or each.hits < each.above else HARDLY_CHANCE)
        ]
        if i.best is not None and i.best.hits >= MANY and self._hardly_odd(i.best) and self.separates(i.best):
            return None
        return max(clear, key=lambda each: each[0])[1] if clear else None

    @cached_property
    def kind(self) -> str:
        """What kind of limit tells refused from accepted: "concurrency" (what is open), "rate" (what was sent before), "either", or "" for none."""
        if self.named or self.in_doubt is not None:
            return ""
        best, timely = self.inference.best, [f for f in self.time_fits if self.separates(f)]
        # one beyond chance that may fit as well, if what is uncertain fits, needs not tell by itself beside one that does
        by_open = best is not None and (self.separates(best) or (best.p <= ALPHA and any(map(self.separates, self.inference.tied))))
        far = by_open and best is not None and self.long_held(best)
        if best is None or not timely:
            return "either" if far or (by_open and self._late_or_timely) else "concurrency" if by_open and not self._outdone else ""
        # what leaves fewer exceptions is not outdone by the price of its search
        clearer = min(f.misses + f.false_alarms for f in timely) < (own := best.misses + best.false_alarms)
        open_ll, time_ll = (self._of_known_sides(fit)[0] for fit in (best, timely[0]))
        if by_open and open_ll >= time_ll + TIE and not clearer and not far:
            return "concurrency"
        if best.rule.held_s > HELD * self._usual_s and time_ll >= open_ll - TIE and timely[0].misses + timely[0].false_alarms <= own:
            return "rate"  # a place that stays taken for much longer than any answer takes is one in a window, which is far more usual
        # what is uncertain about counts of what is open is no evidence for another kind of limit
        could = max(self._of_known_sides(f)[1] for f in self.inference.fits)
        if by_open and self.situation.facts.get("lost_share", 0.0) > BLURRED:
            return "either"  # where packets are missing, ends of connections are, and what was open is known less well than what was sent
        # a place given back late by as long as a window is the window in other words; where the provider speaks of frequency, it is one
        said = self.refusal_class == logs.RATE and best.rule.held_s > 0
        return "rate" if said or time_ll >= could + TIE else "either"

    @property
    def _late_or_timely(self) -> bool:
        """Whether the best rule has places given back late, for a time that is searched for, and a limit over time explains as much, with more exceptions."""
        best = self.inference.fits[0]
        return best.rule.held_s > 0.0 and any(f.log_likelihood >= best.log_likelihood - TIE for f in self._rivals)

    @property
    def _outdone(self) -> bool:
        """Whether a limit over time explains far more than what is open could, though not enough to be claimed: then neither is."""
        could = max(f.possible_log_likelihood for f in self.inference.fits)
        return any(f.log_likelihood > could + FAR for f in self._rivals)

    @cached_property
    def _rivals(self) -> list[Fit]:
        """The limits over time that may stand against what is open."""
        return [f for f in self.time_fits if self._clear_of_bytes(f)]

    def _of_known_sides(self, fit: RuleFit | Fit) -> tuple[float, float]:
        """Log likelihood of the labels, at least and at most, without requests of unknown sides: what these met is uncertain for a rule on what is open and
        plain chance for one over time, which says nothing of either. With them where too few refusals are left."""
        r = self.situation.requests
        possible = fit.possible_log_likelihood if isinstance(fit, RuleFit) else fit.log_likelihood
        used = r.rejected >= 0
        if isinstance(fit, RuleFit) and fit.other_account is not None:
            used &= r.side != fit.other_account
        known = used & (r.side != UNKNOWN)
        unknown = used & ~known
        if not unknown.any() or (known & self.refused).sum() < ENOUGH:
            return fit.log_likelihood, possible
        if isinstance(fit, Fit) and fit.scope == "side":
            chance = one_rate(self.refused[unknown])
            return fit.log_likelihood - chance, possible - chance
        of_all, of_known = (likelihoods(fit.counts, self.refused, rows, np.array([fit.value])) for rows in (used, known))
        return (
            fit.log_likelihood + float(of_known[0][0] - of_all[0][0]),
            possible + float(of_known[1][0] - of_all[1][0]),
        )

    def long_held(self, fit: RuleFit) -> bool:
        """Whether places would stay taken so long after the answers that the limit is one over time, which may not fit only because requests of unknown
        sides, or lost packets, hide what was sent."""
        return fit.rule.held_s > max(HELD * self._usual_s, LATE_S)

    @property
    def supporting_share(self) -> float:
        """Share of the refusals that must go with a cause for it to be supported: with few, or if only what refusals need is known, one more or less must not
        turn it."""
        return HALF if self.inference.refused >= MANY and (self.rules or self.by_time) else 1.0 - LITTLE

    @property
    def _usual_s(self) -> float:
        """How long most answers take at most."""
        r = self.situation.requests
        accepted = r.rejected == ACCEPTED
        return float(np.percentile((r.end_ns - r.start_ns)[accepted], 90)) / 1e9 if accepted.any() else 0.0

    def _usual_bytes(self, counts: str) -> float:
        """The median size of what was accepted, or of its answers."""
        r = self.situation.requests
        sizes = r.answer_bytes if counts == "answers" else r.sent_bytes
        return float(np.median(sizes[r.rejected == ACCEPTED])) if (r.rejected == ACCEPTED).any() else 0.0

    @cached_property
    def by_time(self) -> list[Fit]:
        """The limits over time that tell refused from accepted, the best first, if that is the kind of limit; else none."""
        return [f for f in self.time_fits if self.separates(f)] if self.kind == "rate" else []

    @property
    def many_unlabelled(self) -> bool:
        """Whether it is not known of so many requests whether they were refused that this may be why something else is still possible."""
        return bool((self.situation.requests.rejected == UNLABELLED).mean() > FEW_UNLABELLED)

    @property
    def outcomes_wanted(self) -> str:
        """What would show which requests were refused."""
        labels = self.situation.requests.rejected
        logs_wanted = "the error log of each program, or a TLS key log (SSLKEYLOGFILE)"
        unknown = int((labels == UNLABELLED).sum())
        return f"{logs_wanted}: of {unknown:,} of {plural(len(labels), 'request')} it is not known whether they were refused"

    @cached_property
    def undecided_kind(self) -> str:
        """What would decide, where a limit on what is open and one over time fit about equally well; "" where they do not."""
        if self.kind != "either":
            return ""
        if (self.situation.requests.rejected == UNLABELLED).mean() > UNLABELLED_SHARE:
            return self.outcomes_wanted
        best, other = self.inference.fits[0], next((f for f in self.time_fits if self.separates(f)), None)
        if other is None and self._late_or_timely:
            other = self._rivals[0]
        if other is None:
            return (
                f"a recording in which it is known whose each request is: {best.rule.name} explains the refusals, "
                "and so would a limit on what was sent over time"
            )
        return (
            f"a recording with pauses and longer answers: {best.rule.name} and {other.name} explain the refusals equally well, "
            "so the limit may be on what is in progress, or on what was sent over time"
        )

    @cached_property
    def refused(self) -> Bools:
        return self.situation.requests.rejected == REJECTED

    @cached_property
    def rules(self) -> list[RuleFit]:
        """The best rule on what is open and those tied with it, if that is the kind of limit; else none."""
        best = self.inference.best
        return [best, *self.inference.tied] if best is not None and self.kind == "concurrency" else []

    @property
    def grounds(self) -> list[RuleFit]:
        """What causes that let something be open are judged by: the limit, or else what refusals need."""
        return self.rules or self.conditions

    def separates(self, fit: RuleFit | Fit) -> bool:
        """Whether a rule tells refused from accepted: beyond chance, better than one rate for all, and with few exceptions."""
        chance, ll = self.by_chance, fit.log_likelihood
        if isinstance(fit, RuleFit):  # what is uncertain is a toss of a coin for the rule, and explains nothing for chance either
            chance, ll = chance + fit.possible_log_likelihood - ll, fit.possible_log_likelihood
        elif fit.unseen is not None and fit.unseen.any():  # nor does a limit explain what was decided before the capture
            labels = self.situation.requests.rejected
            seen = (labels >= 0) & ~fit.unseen
            chance, ll = by_chance_of(labels[seen] == REJECTED), ll - fit.unseen_log_likelihood
        if isinstance(fit, Fit) and not (self._clear_of_bytes(fit) and self._clear_enough(fit)):
            return False
        # where the provider says that it counts over time, a limit that leaves no exception was no overload, and no outage
        told = isinstance(fit, Fit) and self.says_rate and not fit.misses + fit.false_alarms
        if not told and fit.runs < (RUNS[self.inference.refused >= MANY] if isinstance(fit, Fit) else RUNS[1]):
            return False  # one bad minute has a beginning and an end, and some window or count fits these
        if not told and (
            any(f.log_likelihood > ll + TIE for f in self.reached_for_good) or (isinstance(fit, Fit) and self.from_a_moment_on)
        ):
            return False
        return (
            self.inference.enough
            and fit.hits >= ENOUGH
            and fit.p <= ALPHA
            and ll > max(chance + MARGIN, chance * (1.0 - EXPLAINED))
            and self._mostly_at(fit)
        )

    def _hardly_odd(self, fit: RuleFit | Fit) -> bool:
        """Whether hardly any request contradicts a rule."""
        return fit.misses + fit.false_alarms <= AGAINST_ITS_WORD * (self.inference.refused + self.inference.accepted)

    def _clear_of_bytes(self, fit: Fit) -> bool:
        """Whether a limit on bytes, if it is one, explains enough: sizes differ so much that some number of bytes parts few refusals from what is accepted, or
        goes with what is in progress; and no limit on bytes is that of a single request."""
        if fit.limiter.COUNTS not in SIZED:
            return True
        most = fit.log_likelihood > self.by_chance * (1.0 - EXPLAINED_BY_BYTES)
        return fit.hits >= MANY and most and fit.value >= 2 * self._usual_bytes(fit.limiter.COUNTS)

    def _clear_enough(self, fit: Fit) -> bool:
        """Whether so many outcomes are known that something may be said of what was sent, and against the provider's word that it counts what is in
        progress, hardly any contradicts."""
        i, labels = self.inference, self.situation.requests.rejected
        flawless = not fit.misses + fit.false_alarms and fit.p <= CERTAINLY and fit.runs >= TURNS
        if (labels == UNLABELLED).mean() > UNLABELLED_SHARE and not flawless:
            return False
        if i.accepted < ENOUGH and not (flawless or self.says_rate):
            return False  # some window parts so few from all that are refused
        exact = self._hardly_odd(fit)
        window, usual = fit.described()["window"], fit.parameter_s in USUAL_S
        lasted = self.situation.requests.end_ns - self.situation.requests.start_ns
        if i.refused < MANY and fit.span_s * 1e9 < np.median(lasted[labels == ACCEPTED]):
            return False  # what comes as near to each other as that is in progress together, and few refusals tell no difference
        if i.refused < MANY and not usual and window != "bucket" and fit.misses + fit.false_alarms:
            return False  # of all lengths, one comes near to a few bursts
        if not fit.plain and not exact:
            return False  # it fits more than others do
        if fit.begun and (fit.hits < HALF * i.refused or fit.false_alarms > AGAINST_ITS_WORD * i.accepted):
            return (
                False  # it explains little if it reaches back over most of the recording; and a storm of retries makes exceptions look few
            )
        if self.refusal_class != logs.CONCURRENCY:
            return exact or usual or window != "fixed"  # of all lengths with all edges, one comes near to every burst
        # answers that were broken off and are counted on for a while look like a window, but hardly of a length that providers use
        return exact and (usual or window == "bucket" or not self.many_broken_off)

    @property
    def taken(self) -> RuleFit | Fit | None:
        """The rule that tells refused from accepted, whatever its kind; None where none does."""
        return self.rules[0] if self.rules else self.by_time[0] if self.by_time else None

    @property
    def unexplained(self) -> int:
        """Refusals below the rule that is taken, where they are more than hardly any: something else refuses, too."""
        fit = self.taken
        if fit is None or fit.misses <= AGAINST_ITS_WORD * (self.inference.refused + self.inference.accepted):
            return 0
        return fit.misses

    @property
    def explained(self) -> float:
        """How many log units better than chance the rule that is taken explains the labels."""
        return self.taken.log_likelihood - self.by_chance if self.taken is not None else 0.0

    @cached_property
    def reached_for_good(self) -> list[Fit]:
        """Limits over time that explain all and were reached once, never to be left again: a quota, an outage, or a limit that counts what is refused."""
        return [f for f in self.time_fits if f.runs == 1 and not f.misses + f.false_alarms]

    @cached_property
    def from_a_moment_on(self) -> bool:
        """Whether nothing was accepted any more once a request of a side was refused: it may be an outage, or a quota, which nothing tells apart."""
        return self.inference.enough and self._for_good

    @cached_property
    def _for_good(self) -> bool:
        """The same, however few refusals there are."""
        r = self.situation.requests
        of_side = [(r.start_ns[mine & self.refused].min(), mine) for side in np.unique(r.side[self.refused]) for mine in [r.side == side]]
        return not any((r.start_ns[mine & (r.rejected == ACCEPTED)] > first).any() for first, mine in of_side)

    @cached_property
    def few_stretches(self) -> bool:
        """Whether refusals came in so few stretches, with nothing of the same side accepted in them, that they are not told from a window that was partly used
        up before: of no side in as many as chance takes. Of many refusals a stretch at either end of the recording does not count, as it may go on."""
        r = self.situation.requests
        of_sides = [self.refused[(r.side == side) & (r.rejected >= 0)] for side in np.unique(r.side)]
        ends = self.inference.refused >= MANY
        return all(runs(each) - ends * int(each[:1].sum() + each[-1:].sum()) < STRETCHES for each in of_sides)

    @cached_property
    def says_rate(self) -> bool:
        """Whether most refusals say that too much was sent over time."""
        said = self.situation.requests.refusal_class[self.refused] == logs.RATE
        return self.refusal_class == logs.RATE and bool(2 * said.sum() > said.size)

    @cached_property
    def shut_out(self) -> tuple[int, int] | None:
        """See :func:`netlens.lenses.refused.sides.shut_out`."""
        return sides.shut_out(self)

    @cached_property
    def of_one_side(self) -> tuple[int, int, int] | None:
        """See :func:`netlens.lenses.refused.sides.of_one_side`."""
        return sides.of_one_side(self)

    @property
    def many_broken_off(self) -> int:
        """How many answers programs broke off before the last refusal, if so many that these may be why: for how long the provider goes on counting them is
        not seen. Else 0."""
        r = self.situation.requests
        broken = int((r.broken_off & (r.start_ns < r.start_ns[self.refused].max(initial=0))).sum())
        # that they count on for a while is the best that there is
        explained = bool(self.inference.fits) and self.inference.fits[0].rule.broken_s > 0
        return broken if broken >= max(FEW_BROKEN, 0.0 if explained else self.inference.refused * BROKEN_SHARE) else 0

    @cached_property
    def unmatched(self) -> int:
        """Refusals of the logs that match no request, where they are so many that the labels may be of the wrong requests; else 0."""
        n = int(self.situation.facts.get("unmatched", 0))
        return n if n > UNMATCHED * self.inference.refused else 0

    @cached_property
    def by_chance(self) -> float:
        """The log likelihood of the labels by chance, at one rate or in bursts."""
        labels = self.situation.requests.rejected
        return max(self.inference.chance_log_likelihood, by_chance_of(labels[labels >= 0] == REJECTED))

    @cached_property
    def chance(self) -> bool:
        """See :func:`netlens.lenses.refused.chance.told`; not where the provider says that it limits what is sent over time, which no overload does, or where
        each connection has a limit."""
        return self._by_no_count and not self.says_rate and self.by_connection is None

    @cached_property
    def against_its_word(self) -> bool:
        """Whether the provider says that it limits what is sent over time, and the refusals do not follow what was captured: neither any count, nor what the
        programs themselves had sent. Somebody else may use the same key, or it counts what is not seen."""
        return self.says_rate and not (self.kind or self.named) and (self._by_no_count or not self._reached)

    @cached_property
    def by_connection(self) -> Fit | None:
        """A limit over time on what one connection upstream carries, where nothing else tells refused from accepted and it leaves hardly an exception."""
        i = self.inference
        if self.kind or self.named or i.refused < MANY:
            return None
        fit = over_time.by_connection(self.situation, i.first)
        if fit is None or not self._hardly_odd(fit):
            return None
        return fit if self.separates(fit) else None

    @cached_property
    def _reached(self) -> bool:
        """Whether what was sent before reaches some limit over time at most refusals and at few acceptances: not where somebody else fills it, as requests are
        refused then that come after less than others which were accepted. How often chance does as well is not asked."""
        least = self.by_chance * (1.0 - FILLED)
        return any(self._clear_of_bytes(f) and f.log_likelihood > least and self._mostly_at(f) for f in self.time_fits)

    @staticmethod
    def _mostly_at(fit: RuleFit | Fit) -> bool:
        """Whether most refusals are at the limit, and most of what is at the limit was refused."""
        return fit.hits >= SENSITIVITY * (fit.hits + fit.misses) and fit.hits >= PRECISION * (fit.hits + fit.false_alarms)

    @cached_property
    def _by_no_count(self) -> bool:
        return chance.told(self)

    @cached_property
    def regular_s(self) -> float:
        """See :func:`netlens.lenses.refused.chance.regular_s`."""
        return chance.regular_s(self)

    @cached_property
    def may_be_chance(self) -> bool:
        """See :func:`netlens.lenses.refused.chance.may_be_told`."""
        return chance.may_be_told(self)

    @cached_property
    def blocked_s(self) -> float:
        """See :func:`netlens.lenses.refused.chance.blocked_s`."""
        return chance.blocked_s(self)

    @property
    def chance_against_word(self) -> bool:
        """See :func:`netlens.lenses.refused.chance.against_word`."""
        return chance.against_word(self)

    @property
    def accepted_wanted(self) -> int:
        """Accepted requests that chance takes. Of few refusals it takes more, because a window that began before the recording looks like chance."""
        return odds.FEW if self.inference.refused <= odds.MOST else ENOUGH

    @property
    def seen_whole(self) -> bool:
        """Whether everything was seen that may count, and which requests were refused."""
        s, refused = self.situation, self.inference.refused
        if not (self.inference.fits and s.egress_seen) or s.facts.get("protocol_unknown"):
            return False  # it may be HTTP/2, where turns are not requests and counting them tells nothing
        if s.facts.get("same_provider"):
            return False  # what was sent there may count, too
        if (s.requests.side == UNKNOWN).mean() > 1.0 - WHOSE:
            return False  # a limit for each side could not be told
        # a log that is off mislabels a few, which hides any rule
        return not self.unmatched and int(s.facts.get("unmatched", 0)) <= ASTRAY * refused

    @cached_property
    def told_by_odds(self) -> bool:
        """Whether a cause that is next to certain may be supported for that: everything was seen, no limit over time fits as well or stands behind places held
        for long, and it is not one bad minute alone, nor all refused from a moment on, of which nobody knows whether it would have ended."""
        s, i = self.situation, self.inference
        if not (s.vm_seen and s.egress_seen) or i.refused < odds.FEWEST_TOLD or i.accepted < odds.ACCEPTED or self.unmatched:
            return False
        if s.facts.get("clock_unknown") or s.facts.get("same_provider"):
            return False
        if self.undecided_kind or any(map(self.long_held, i.fits)):
            return False
        again = i.chains >= odds.AGAIN or any(f.runs >= RUNS[1] and f.hits >= HALF * i.refused for f in i.fits)
        return again and not (s.sessions.side == UNKNOWN).any() and self.covered >= COVERED and not self._for_good

    @property
    def filled(self) -> bool:
        """Whether nearly all that is at the limit was refused, by the best rule. Where it was not, though the provider says that it counts what is in
        progress, somebody else holds places at times, who is not seen, or its models count by themselves."""
        best = self.inference.best
        if self.refusal_class != logs.CONCURRENCY or best is None:
            return True
        return best.hits >= PRECISION * (best.hits + best.false_alarms)

    @property
    def covered(self) -> float:
        """Share of the requests that were sent while all captures were made."""
        (first, last), start = self.situation.capture_ns, self.situation.requests.start_ns
        return float(((start >= first) & (start <= last)).mean()) if len(start) else 0.0

    @property
    def conditional(self) -> list[RuleFit]:
        """The rules that conditions may be of. Not those on connections: who is refused tries again by another one, so more are open where more is refused."""
        return [f for f in self.inference.fits if f.rule == f.rule.plain and f.rule.unit == "requests"]

    @cached_property
    def conditions(self) -> list[RuleFit]:
        """Where no limit tells refused from accepted: how many others refusals need all the same (:mod:`netlens.lenses.refused.condition`), by each plain rule
        that tells it, the best first; none where chance or a limit over time does about as well."""
        if self.kind or self.named or self.in_doubt is not None or self.chance or not (self.inference.enough and self.seen_whole):
            return []
        r, chance = self.situation.requests, by_chance_of(self.refused[self.inference.first])
        over_time = max((f.first_log_likelihood - chance for f in self._rivals), default=0.0)
        out: list[tuple[float, RuleFit]] = []
        for fit in self.conditional:
            at_best = np.where(self.refused, fit.counts.high, fit.counts.low)  # what is uncertain must not hide one that may hold as well
            tried = [condition.find(each, self.refused, r.rejected >= 0, self.inference.first) for each in (fit.counts.count, at_best)]
            found = max((each for each in tried if each is not None), key=lambda each: each.evidence, default=None)
            if found is not None and found.p <= HARDLY_CHANCE and found.evidence >= over_time + TIE:
                out.append((found.evidence, conditional_on(fit, found)))
        return [fit for _, fit in sorted(out, key=lambda each: -each[0])]

    @property
    def may_be_counted(self) -> bool:
        """Whether a limit on what is open explains the refusals better than chance if, and only if, all that is uncertain in the counts fits it."""
        least = self.by_chance + MARGIN
        return any(f.possible_log_likelihood > least >= f.log_likelihood for f in self.inference.fits)

    @property
    def partly(self) -> RuleFit | None:
        """The best rule on what is open, where it is beyond chance and leaves too many exceptions to be the whole of it."""
        best = self.inference.best
        if best is None or self.inference.refused < MANY or self.separates(best):
            return None
        beyond = best.p <= ALPHA and best.youden >= HINT and best.log_likelihood > self.by_chance + MARGIN
        return best if beyond else None

    def shares(self, fit: RuleFit, adjustment: Adjustment) -> Without:
        """As :meth:`without`, over every limit that fits as well: the smallest and the largest share, and which refusals at ``value``. Of a
        condition they are shares of all refusals, of which some may have another reason."""
        found = self.without(fit, adjustment)
        if fit.low < fit.value:
            lower = self.without(fit, adjustment, fit.low)
            found = found._replace(low=min(found.low, lower.low), high=max(found.high, lower.high))
        return found._replace(low=fit.explains * found.low, high=1.0 - fit.explains * (1.0 - found.high))

    def without(self, fit: RuleFit, adjustment: Adjustment, limit: int | None = None) -> Without:
        """What becomes of the refusals at or above the limit once ``adjustment`` is made."""
        limit = fit.value if limit is None else limit
        at = self.refused & (fit.counts.count >= limit)
        if fit.other_account is not None:
            at &= self.situation.requests.side != fit.other_account
        if not at.any():
            return Without(0.0, 0.0, at, at, at)
        fewer = self._others(fit.rule, adjustment)
        # of several that begin at one moment it is not known who was first; but who was refused at the limit had found it reached, by what is still there
        least = np.maximum(np.minimum(fewer.low, fewer.count), limit - (fit.counts.high - fewer.lasting))
        low, high = (float((at & (count < limit)).sum() / at.sum()) for count in (fewer.high, least))
        return Without(low, high, at, at & (fewer.count + fewer.unknown < limit), at & (fewer.count >= limit))

    def _others(self, rule: Rule, adjustment: Adjustment) -> Counts:
        """:func:`netlens.lenses.refused.counting.others`, counted once."""
        if (rule, adjustment) not in self._counted:
            self._counted[rule, adjustment] = others(self.situation, rule, adjustment)
        return self._counted[rule, adjustment]

    @cached_property
    def _counted(self) -> dict[tuple[Rule, Adjustment], Counts]:
        return {}

    def met(self, fit: RuleFit | Fit) -> Bools:
        """Refused requests that came when the limit was reached."""
        return self.refused & (fit.counts.count >= fit.value)

    def models_met(self, fit: RuleFit) -> tuple[bool, ...]:
        """Of the large requests and of the small ones, whether any was refused at the limit: what refused none shows none."""
        which = models(self.situation.requests)[self.met(fit)]
        return tuple(bool((which == model).any()) for model in (0, 1))

    def alone(self, fit: Fit) -> Alone:
        """What each side by itself would be refused under a limit over time, worked out once."""
        if fit not in self._alone:
            self._alone[fit] = alone(self.situation, fit)
        return self._alone[fit]

    @cached_property
    def _alone(self) -> dict[Fit, Alone]:
        return {}

    def frames(self, mask: Bools) -> list[tuple[str, int]]:
        """The first few of these requests, in each capture that has them."""
        return _frames(self.situation.requests, mask)

    def session_frames(self, mask: Bools) -> list[tuple[str, int]]:
        """The same of sessions."""
        return _frames(self.situation.sessions, mask)

    def values(self, fit: RuleFit) -> list[tuple[int, int, bool]]:
        """Of a limit that changes: from when on, its value, and whether that is the least it was, as nothing was refused while it held."""
        refused_ns = self.situation.requests.start_ns[self.refused]
        edges = [at for at, _ in fit.rule.changes]
        ends = [*edges[1:], np.iinfo(np.int64).max][: len(edges)]
        return [
            (at, fit.value - lower, not bool(((refused_ns >= at) & (refused_ns < end)).any()))
            for (at, lower), end in zip(fit.rule.changes, ends, strict=True)
        ]

    def separation(self, fit: RuleFit) -> Evidence:
        """One sentence on how a rule separates."""
        r = self.situation.requests
        others, were = ("requests", "were in flight") if fit.rule.unit == "requests" else ("connections", "were open")
        whose = "from the same egress address" if fit.rule.scope == "egress" else "of the same side"
        if (found := fit.condition) is not None:
            low = f"fewer than {found.value}" if found.value > 1 else "no"
            parts = (
                f"while {low} other {others} {whose} {were}, {found.misses:,} of {plural(found.below, 'request')} were refused",
                f"while {found.value} or more were, {found.hits:,} of {found.above:,}",
                "which of these are refused depends on something that is not seen (limits of single models, another program, more than one reason)",
            )
            return Evidence("; ".join(parts), self.frames(self.met(fit)), f"p {fit.p:.2g}")
        many = str(fit.value)
        if (sized := fit.rule.sized) is not None:
            own = ", with its own," if sized.own else ""
            told = (
                f"{fit.hits:,} of {int(self.refused.sum()):,} refused requests came while the bytes of other requests {whose} in flight{own} came to "
                f"{roundest(fit.low, fit.value):,} or more; {fit.false_alarms:,} of {int((r.rejected == 0).sum()):,} accepted ones did"
            )
            return Evidence(told, self.frames(self.met(fit)), statistics(fit))
        if fit.rule.changes:
            values = (f"{'at least ' * least}{value}" for _, value, least in self.values(fit))
            many = f"as many as the limit ({', then '.join(values)})"
        if fit.rule.models:
            large, small = (fit.value - lower for lower in fit.rule.models)
            met, were = self.models_met(fit), f"{were} for the same model, by their size"
            if all(met):
                many = f"{large} (or, of small requests, {small})"
            else:
                many, others = (f"{large}", f"large {others}") if met[0] else (f"{small}", f"small {others}")
        if fit.rule.held_s:
            were += f", or had been until {fit.rule.held_s:g} s before"
        if fit.rule.broken_s:
            were += f", or had been broken off less than {fit.rule.broken_s:g} s before"
        if fit.rule.waited and (waits := patience(r)) is not None:
            were = f"were being served when it was refused, after a wait of about {waits.wait_ns / 1e9:.2g} s"
        if fit.rule.by_writes:
            were += ", or had been broken off and the server had not written since"
        text = (
            f"{fit.hits:,} of {int(self.refused.sum()):,} refused requests came while {many} or more other {others} {whose} {were}; "
            f"{fit.false_alarms:,} of {int((r.rejected == 0).sum()):,} accepted ones did"
        )
        return Evidence(text, self.frames(self.met(fit)), statistics(fit))


def conditional_on(fit: RuleFit, found: condition.Condition) -> RuleFit:
    """The rule with a condition in place of its limit."""
    value, alarms = found.value, found.above - found.hits
    return replace(
        fit, low=value, high=value, value=value, hits=found.hits, misses=found.misses, false_alarms=alarms, p=found.p, condition=found
    )


def _frames(table: Requests | Sessions, mask: Bools) -> list[tuple[str, int]]:
    rows = np.flatnonzero(mask)[:FRAMES]
    return [(side, int(f)) for side, column in (("host", table.host_frame), ("vm", table.vm_frame)) for f in column[rows].tolist() if f]


@dataclass(frozen=True, eq=False)
class Weighed:
    """The verdicts in the order of the report, and what they rest on. ``possibilities``: what may refuse, with 1 to 9 refusals."""

    weighing: Weighing
    verdicts: list[Verdict]
    possibilities: list[Possibility] = field(default_factory=list)

    @cached_property
    def cause(self) -> str | None:
        """The cause that is named: the supported one with the largest share."""
        supported = [v for v in self.verdicts if v.verdict == "supported"]
        return max(supported, key=lambda v: v.attributable_fraction or 0.0).id if supported else None

    @cached_property
    def likely(self) -> dict[str, float]:
        """With 1 to 9 refusals, the probability of each kind of limiter, given the cause that is named if one is."""
        found = {kind: odds.probability(self.possibilities, kind, self.cause) for kind in odds.KINDS}
        return {kind: probability for kind, probability in found.items() if probability is not None}

    @cached_property
    def limit(self) -> Limit | None:
        """The limit on how much is open at once; None where none tells refused from accepted, or each counts by its size."""
        w = self.weighing
        if not self.rules or self.by_size is not None:
            return None
        small = models(w.situation.requests)[w.refused] == 1
        return Limit.of(self.rules, bool(2 * small.sum() > small.size), w.models_met(self.rules[0]))

    @property
    def by_size(self) -> RuleFit | None:
        """The limit on bytes in progress; None where that is not what tells refused from accepted."""
        return self.rules[0] if self.rules and self.rules[0].rule.sized is not None else None

    @property
    def rule_by_size(self) -> SizedRule | None:
        """The same as the replay decides by it."""
        fit = self.by_size
        return SizedRule(fit.rule.scope, fit.value, fit.rule.sized) if fit is not None and fit.rule.sized is not None else None

    @cached_property
    def rules(self) -> list[RuleFit]:
        """The rules that tell refused from accepted; where none passes its test and a cause is next to certain all the same, those that leave no exception, and
        one value."""
        w = self.weighing
        if (
            w.rules
            or w.kind
            or w.named
            or self.cause in (None, "own-rate", "provider")
            or self.likely.get("concurrency", 0.0) < odds.LIKELY
        ):
            return w.rules
        scopes = ("egress",) if self.cause == "same-nat-ip" else ("side", "egress")
        fits = [w.inference.best, *w.inference.tied] if w.inference.best is not None else []
        left = [f for f in fits if f.rule.scope in scopes and f.rule == f.rule.plain and not f.misses + f.false_alarms and f.low == f.high]
        return left if left and left[0].hits >= MOST_HIT * w.inference.refused else []

    @property
    def by_time(self) -> list[Fit]:
        """The limits over time that may be told: none where all is refused from a moment on, as it shows no window and no refill; but who is refused as
        refused attempts count stays so, and what it takes is told by what came before."""
        found = self.weighing.by_time
        told = not self.weighing.from_a_moment_on or (bool(found) and found[0].limiter.COUNTS == "attempts")
        return found if told else []

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """From where to where the limit over time may lie; None without one."""
        return over_time.span(self.weighing.situation, self.by_time[0]) if self.by_time else None

    @cached_property
    def queue(self) -> queue.Queue | None:
        """The queue that requests stood in, where nothing was refused."""
        return queue.fit(self.weighing.situation)

    @cached_property
    def limiter(self) -> dict[str, Any] | None:
        """What the provider does, as the JSON has it: kind, unit, scope and numbers; only the kind where no rule tells refused from accepted but the cause
        that is named makes it likely, and None where nothing does."""
        w = self.weighing
        told: dict[str, Any] = {
            "kind": w.named, "unit": "requests", "scope": "egress", "per_address": False, "value": None, "low": None, "high": None,
            "window_s": None, "window": None, "burst": None, "refill_s": None, "held_s": None, "barred_s": None, "changes": [], "models": [],
            "classes": sorted(set(w.situation.requests.refusal_class[w.refused].tolist())), "auc": None, "p": None, "tied": [],
        }  # fmt: skip
        if (sized := self.by_size) is not None:
            return told | {
                "kind": "concurrency", "unit": "bytes", "scope": SCOPE_WORDS[sized.rule.scope], "value": roundest(sized.low, sized.value),
                "low": sized.low, "high": sized.high, "auc": sized.auc, "p": sized.p, "tied": [f.rule.name for f in self.rules[1:]],
            }  # fmt: skip
        if self.rules:
            best, limit = self.rules[0], self.limit
            assert limit is not None
            return told | {
                "kind": "concurrency", "unit": best.rule.unit, "scope": SCOPE_WORDS[best.rule.scope], "per_address": best.rule.per_address,
                "value": limit.value, "low": limit.low, "high": limit.high, "auc": best.auc, "p": best.p,
                "held_s": limit.held_s or None, "changes": [{"at_ns": at, "value": value, "at_least": least} for at, value, least in w.values(best)],
                "models": list(limit.models),
                "tied": limit.tied,
            }  # fmt: skip
        if self.by_time:
            fit = self.by_time[0]
            own = fit.described()
            low, high = (own["value"], own["value"]) if own["window"] == "bucket" else self.span or (0, 0)
            return told | own | {
                "kind": fit.limiter.KIND, "unit": BY_SIZE.get(fit.limiter.COUNTS, "requests"), "scope": SCOPE_WORDS[fit.scope],
                "low": low, "high": high, "auc": fit.auc, "p": fit.p, "barred_s": fit.barred_s or None,
                "changes": [{"at_ns": at, "value": value, "at_least": False} for at, value in fit.told],
                "tied": [f.name for f in self.by_time[1:] if f.log_likelihood >= fit.log_likelihood - TIE],
            }  # fmt: skip
        if (waits := self.queue) is not None:
            return told | {
                "kind": "queue", "scope": SCOPE_WORDS[waits.scope], "value": waits.value, "low": waits.low, "high": waits.high,
            }  # fmt: skip
        if w.named == logs.QUOTA:
            return told | {"low": w.accepted_before or None}  # what was used of it before the recording is not seen
        if w.named:
            return told
        if w.chance or self.cause == "provider":
            return told | {"kind": logs.OVERLOAD}
        sure = [kind for kind, probability in self.likely.items() if self.cause is not None and probability >= odds.LIKELY]
        return told | {"kind": sure[0]} if sure else None


def _preferred(fit: Fit) -> float:
    """Sizes differ so much that a limit on bytes fits more than one on requests."""
    return -fit.log_likelihood + (TIE if fit.limiter.COUNTS in SIZED else 0.0)


def _begun_before(weighing: Weighing) -> list[Fit]:
    """The limits over time; instead of each that explains less, the same with what was sent before the recording unknown, though no connection was open then:
    its window may have been used up in part already. Asking both ways costs log 2, and like all that is tried later it is believed only with hardly an
    exception."""
    s, found = weighing.situation, weighing.time_fits
    if s.midway_ns is not None or not found:
        return found
    better = {fit.name: fit for fit in found}
    # what was sent while the capture ran is known: no window reaches further back
    begins = min(s.capture_ns[0], int(s.requests.start_ns[0]))
    for fit in over_time.fits(replace(s, midway_ns=begins), weighing.inference.first):
        priced = fit.if_begun(float(np.log(2)))
        if fit.name not in better or priced.log_likelihood > better[fit.name].log_likelihood:
            better[fit.name] = priced
    return sorted(better.values(), key=_preferred)


def _barring(weighing: Weighing) -> list[Fit]:
    """Limits that bar who exceeds them for a while, where a plain window explains the refusals with exceptions, that leave next to none of these and are far
    more likely: some window fits what comes as a run of refusals after each time that the limit was run into."""
    plain = weighing.by_time[:1]
    if not plain or plain[0].misses + plain[0].false_alarms < irregular_over_time.TRIGGERS:
        return []
    most = (plain[0].misses + plain[0].false_alarms) // irregular_over_time.TRIGGERS
    found = irregular_over_time.fits(weighing.situation, weighing.inference.first, changing=False)
    better = [fit for fit in found if fit.misses + fit.false_alarms < most and fit.log_likelihood > plain[0].log_likelihood + BEYOND]
    return [fit for fit in better if weighing.separates(fit)]


def weigh(situation: Situation, permutations: int = PERMUTATIONS) -> Weighed:
    """Weigh every cause against what was captured."""
    situation, refusal_class = of_one_class(seen_upstream(situation))
    inference = sizes.beside(situation, infer(situation, permutations))
    weighing = Weighing(situation, inference, over_time.fits(situation, inference.first), refusal_class)
    sized = bool(weighing.by_time) and weighing.by_time[0].limiter.COUNTS in SIZED  # which fits more than a limit on requests
    if inference.refused >= MANY:  # of all lengths with all edges, one fits any few refusals
        if sized or not (weighing.kind or weighing.named):
            more = [*over_time.fits(situation, inference.first, unusual=True), *irregular_over_time.fits(situation, inference.first)]
            if found := [fit for fit in more if weighing.separates(fit)]:
                weighing = replace(weighing, time_fits=sorted([*weighing.time_fits, *found], key=_preferred))
            else:
                weighing = replace(weighing, rarer=[fit for fit in more if not fit.barred_s])
        elif barring := _barring(weighing):
            weighing = replace(weighing, time_fits=sorted([*weighing.time_fits, *barring], key=_preferred))
        if not (weighing.kind or weighing.named):
            weighing = replace(weighing, time_fits=_begun_before(weighing))
    verdicts = beside_others(weighing, never_all_refuted(weighing, causes.judge_all(weighing)))
    readings = odds.possibilities(weighing)
    return Weighed(weighing, _with_odds(weighing, verdicts, *readings), readings[0] if inference.refused <= odds.MOST else [])


def _with_odds(weighing: Weighing, verdicts: list[Verdict], plain: list[Possibility], kindly: list[Possibility]) -> list[Verdict]:
    """The verdicts, of few refusals with their probabilities. What is not likely is not supported, and what is next to certain is, if all was captured: by
    either reading of what is uncertain. What is possible is not refuted where refusals are few, or a cause that a rule supports is not likely."""
    refused = weighing.inference.refused
    few = refused <= odds.MOST
    found = {v.id: odds.probability(plain, v.id) for v in verdicts}
    likely = {name: min(p, odds.probability(kindly, name) or 0.0) for name, p in found.items() if p is not None}
    least = {"provider": odds.SURE_OF_CHANCE} if few else {}
    doubted = [v.id for v in verdicts if v.verdict == "supported" and likely.get(v.id, 1.0) < least.get(v.id, odds.LIKELY)]
    out = []
    for v in (replace(v, probability=found[v.id] if few else None) for v in verdicts):
        if v.verdict == "undecided" and _next_to_certain(weighing, v.id, likely.get(v.id, 0.0), plain):
            told = f"with {plural(refused, 'refusal')}, this is the cause in {likely[v.id]:.0%} of such situations"
            evidence = [*v.evidence, Evidence(told, weighing.frames(weighing.refused))]
            v = replace(v, verdict="supported", needs=None, evidence=evidence)
        elif v.id in doubted:
            needed = f"a longer recording: {'with so few refusals ' if few else ''}other explanations are still plausible"
            v = replace(v, verdict="undecided", needs=weighing.outcomes_wanted if weighing.many_unlabelled else needed)
        elif v.verdict == "refuted" and (few or doubted) and odds.possible(plain, v.id):
            needed = f"a longer recording: {'with so few refusals ' if few else ''}{v.id} is still possible ({found[v.id]:.0%})"
            needed = weighing.outcomes_wanted if weighing.many_unlabelled else needed
            v = replace(v, verdict="undecided", needs=needs(weighing) if (found[v.id] or 0.0) >= HALF else needed)
        out.append(v)
    return out


def _next_to_certain(weighing: Weighing, cause: str, likely: float, plain: list[Possibility]) -> bool:
    """Whether a cause so likely is supported though no rule says so."""
    chance = cause == "provider"
    if likely < (odds.SURE_OF_CHANCE if chance else odds.SURE) or odds.over_time(plain, cause):
        return False
    if chance:
        return weighing.told_by_odds and weighing.may_be_chance and not weighing.may_be_counted
    return weighing.told_by_odds and weighing.filled
