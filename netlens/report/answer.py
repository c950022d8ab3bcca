"""The answer in words: what was asked, what was found, how sure it is, and what would make it surer.

The terminal, the page, the summary picture and the letter take their words from here, so that they cannot disagree. It says what
:class:`~netlens.analysis.Analysis` holds and computes nothing. Names and paths are strangers' text: whoever shows them escapes them (the page
by autoescape and :func:`netlens.text.printable`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlens.chains.situation import ACCEPTED, ELSEWISE
from netlens.lenses.refused import fixes
from netlens.lenses.refused.verdict import Verdict, needed
from netlens.report import findings
from netlens.text import duration, endpoint, interval, plural, printable, utc

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.lenses.refused.fixes import Prediction
    from netlens.lenses.refused.weighing import Weighed

UNITS = {"requests": "requests in flight", "connections": "open connections"}
SHARP = 0.005  #: share of a limit on bytes up to which it is told as one number
AT_ONCE = {"requests": "requests at once", "connections": "connections open at once"}
SOURCES = {
    "error log": "from the error log",
    "key log": "from decryption",
    "status": "by their HTTP status",
    "look-alike": "by likeness to logged refusals",
    "inferred": "inferred from traffic",
}
SIDE_NAMES = {"vm": "VM", "host": "host", "unknown": "unknown side", "capture": "capture"}
HARDLY_MORE = 0.05  #: share of the refusals; if no more outcomes than that are unknown, they hardly change how many were refused
NAMED = 3  #: names of the target that are told
HARDLY = 0.01  #: p up to which chance hardly explains it


@dataclass(frozen=True)
class Part:
    """A piece of the answer; ``role``: "cause", "limit", "fix" or "" for what joins them."""

    text: str
    role: str = ""


@dataclass(frozen=True)
class Fact:
    """A statement with a short name. ``good``: speaks for the answer (True), against it (False), or neither (None). ``brief``: without details."""

    name: str
    text: str
    good: bool | None = None
    brief: str = ""


def question(a: Analysis) -> str:
    if a.counts["rejections"]:
        return f"Why are requests to {target(a)} refused?"
    if findings.is_all(a):
        return "What is wrong in this capture?"
    return f"Are requests to {target(a)} refused, and {'why' if anything_refused(a) else 'what else is wrong'}?"


def anything_refused(a: Analysis) -> bool:
    """Whether a request was refused, or an error log tells of refusals that match none: only then are there causes and fixes to show."""
    return bool(a.counts["rejections"] or a.assembled.unmatched)


def target(a: Analysis) -> str:
    """The API's names, of many the first few."""
    names = a.target.names or a.target.addresses
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "") or "nothing"


def supported(a: Analysis) -> list[Verdict]:
    """The causes that the evidence supports, the one that is named first."""
    return sorted((v for v in a.hypotheses if v.verdict == "supported"), key=lambda v: v.id != a.cause)


def why_best(a: Analysis) -> str:
    """Why the best fix is the best, where others leave as few refusals: `` (of 5 fixes that leave none, it costs the least waiting and effort)``."""
    best = a.best_fix
    if best is None:
        return ""
    as_good = [f for f in a.fixes if f.rejections_after == best.rejections_after or (fixes.next_to_none(f) and fixes.next_to_none(best))]
    if len(as_good) < 2:
        return ""
    left = "none" if not any(f.rejections_after for f in as_good) else "almost none" if fixes.next_to_none(best) else best.left
    return f" (of {len(as_good)} fixes that leave {left}, it costs the least waiting and effort)"


def next_fixes(a: Analysis) -> list[Prediction]:
    """What to try besides the best fix: those that lower the refusals; if none does, those whose effect cannot be predicted."""
    best = a.best_fix
    lower_it = [f for f in a.fixes if f is not best and f.rejections_after is not None and f.rejections_after < f.rejections_before]
    return lower_it if best is not None else [f for f in a.fixes if f.rejections_after is None]


def headline(a: Analysis) -> list[Part]:
    """The answer in a few sentences, in pieces."""
    refused, requests = a.counts["rejections"], a.counts["exchanges"]
    hidden = a.assembled.situation.uncountable
    if not requests:
        return [Part(f"Requests cannot be counted without {hidden}." if hidden else _nothing(a)), *_needed(a)]
    if not refused and not (hidden and a.assembled.unmatched):
        said = f"No refusals found, but requests to {target(a)} cannot be counted without {hidden}." if hidden else _none_refused(a)
        return [Part(said), *_needed(a, "a cause")]
    if hidden:
        parts = [Part(f"Requests to {target(a)} were refused; how many, and of how many, cannot be told.")]
    else:
        known, _ = outcomes(a)
        least = "At least " if requests - known > HARDLY_MORE * refused else ""
        more = int(a.assembled.situation.facts.get("alike", 0))
        silent = f" {more:,} more short answers look the same, and may be refusals that were tried again in silence." if more else ""
        parts = [Part(f"{least}{refused:,} of {how_many(a)} to {target(a)} {'was' if refused == 1 else 'were'} refused.{silent}")]
    causes = supported(a)
    if not causes:
        return [*parts, Part(" "), Part("Cause unknown.", "cause"), *_needed(a)]
    for v in causes:
        share = "" if v.attributable_fraction is None else f", {v.attributable_fraction:.0%} of the refusals"
        parts += [Part(" "), Part(v.claim.removesuffix("."), "cause"), Part(f" ({v.id}{share}).")]
    if (words := limiter(a)) is not None:
        tied = a.limit.tied if a.limit is not None else []
        also = f" ({' and '.join(tied)} {'fit' if len(tied) > 1 else 'fits'} as well)" if tied else ""
        parts += [Part(" The limit is "), Part(words, "limit"), Part(f"{also}.")]
    if (fix := a.best_fix) is not None:
        parts += [Part(" Best fix: "), Part(fix.title, "fix"), Part(f" ({effect(fix)}).")]
    return parts


def findings_headline(a: Analysis) -> list[Part]:
    """The answer where nothing was refused: how much is wrong, and what is known of requests to the target."""
    hidden, requests = a.assembled.situation.uncountable, a.counts["exchanges"]
    if _failed(a) and not hidden and not findings.first(a.findings):
        return [Part(_none_refused(a))]  # that there is no problem is not known
    parts = [Part(f"{findings.headline(a)}.", "found")]
    if hidden:
        parts.append(Part(f" Requests to {target(a)} cannot be counted without {hidden}."))
    elif requests and not findings.is_all(a):
        parts.append(Part(f" {_none_refused(a)}"))
    return parts


def how_many(a: Analysis) -> str:
    """``43 requests``, or ``between 41 and 45 requests (most likely 43)`` where their number is in doubt."""
    between = a.counts["exchanges_between"]
    if between is None:
        return plural(a.counts["exchanges"], "request")
    return f"between {between[0]:,} and {between[1]:,} requests (most likely {a.counts['exchanges_likeliest']:,})"


def _failed(a: Analysis) -> list[str]:
    """What may be failures, in words: answers of a relay's own, refusals of error logs that match no request, answers that lines of the logs may mean, and
    requests without an answer."""
    facts = a.assembled.situation.facts
    unclear, left, unmatched, alike = (int(facts.get(name, 0)) for name in ("unclear", "left", "unmatched", "alike"))
    told = _by_relays(a)
    if doubtful := int(facts.get("in_doubt", 0)):
        told.append(
            f"of {plural(doubtful, 'request')} of HTTP/2 it is not known whether they were refused, as their answers cannot be told apart"
        )
    told += [f"{plural(unmatched, 'refusal')} in the error logs {'matches' if unmatched == 1 else 'match'} no request"] if unmatched else []
    told += [f"{plural(unclear, 'answer')} may be what lines of the error logs mean by failures"] if unclear else []
    would = "" if a.assembled.beside.logs else " (an error log of the program, or a TLS key log, would tell)"
    told += [f"{alike:,} short answers of the same size, sooner than others, may be refusals{would}"] if alike else []
    return [*told, *([f"{plural(left, 'request')} got no answer, as the server closed or reset the connection"] if left else [])]


def _by_relays(a: Analysis) -> list[str]:
    """Answers of relays that did not ask the API."""
    return [
        f"{plural(n, 'request')} got {'its' if n == 1 else 'their'} answer from the relay at {printable(endpoint(*where))}, which did not ask the API"
        for where, n in a.assembled.by_relays.items()
    ]


def _none_refused(a: Analysis) -> str:
    among = "in" if a.counts["exchanges_between"] is None else "among"
    told = f"{among} {how_many(a).removeprefix('between ').replace(' and ', ' to ')} to {target(a)}"
    if failed := _failed(a):
        return f"No refusals are certain {told}: {'; '.join(failed)}."
    if not a.assembled.beside.logs and not outcomes(a)[0]:
        return f"Refusals {told} would not show: that takes an error log of the program, or a TLS key log."
    return f"No refusals found {told}."


def most_at_once(a: Analysis) -> str:
    """How many requests were in progress at the peak: ``4``, or ``4 to 7``."""
    least, most = a.counts["in_flight_between"] or [a.peaks["upstream"]["requests"]["combined"]] * 2
    return interval(least, most)


def requests_in_brief(a: Analysis) -> str:
    """``43 to api.z.ai, at most 2 at once``; empty where there are none to count. Where :func:`how_sure` is not told, with what is known of outcomes."""
    requests = a.counts["exchanges"]
    if not requests or a.assembled.situation.uncountable or (a.target.guessed and not a.target.names):
        return ""
    at_once, number = most_at_once(a), how_many(a).replace(" requests", "").removesuffix(" request")
    how = f"{at_once} at once at the peak" if " to " in at_once else f"at most {at_once} at once"
    return f"{number} to {target(a)}, {how}" + (f"; outcomes {outcomes(a)[1]}" if findings.is_all(a) else "")


def sentence(a: Analysis) -> str:
    return "".join(part.text for part in headline(a))


def _nothing(a: Analysis) -> str:
    """What there is where no request is."""
    if a.target.names or a.target.addresses:
        return f"No requests to {target(a)} found."
    lookups = [t for side in a.sides.values() if (t := side.capture.table("lookups")).rows]
    rows, open_ = sum(t.rows for t in lookups), sum(sum(v is None for v in t["answer_ns"].tolist()) for t in lookups)
    return "No TCP requests found." + (f" {plural(rows, 'DNS lookup')}, {open_:,} unanswered." if rows else "")


def limit(weighed: Weighed) -> str:
    """``2 requests at once per egress address``; of one that changed ``3, then 2 requests at once per side (changed by 2026-11-28 10:01:15.000 UTC)``."""
    found, changes = weighed.limit, (weighed.limiter or {}).get("changes", [])
    assert found is not None
    span = interval(found.low, found.high)
    beside = ""
    if found.models:
        large, small = found.models
        if large is not None and small is not None:
            span = f"{large:,} large (and, to another model, {small:,} small)"
        else:
            which, rest = ("large", "small") if small is None else ("small", "large")
            span, beside = f"{found.value:,} {which}", f"; of the {rest} ones, to another model, none was refused"
    if changes:
        span = ", then ".join(f"{'at least ' * each['at_least']}{each['value']:,}" for each in changes)
    late = f", each given back {found.held_s:.2g} s after the answer" if found.held_s else ""
    when = f" (changed by {', '.join(utc(each['at_ns']) for each in changes[1:])})" if len(changes) > 1 else ""
    at_once = AT_ONCE.get(found.unit, found.unit)
    return f"{span} {at_once.replace('s ', ' ', 1) if span == '1' else at_once} {_whose(found.scope, weighed)}{late}{when}{beside}"


def _whose(scope: str, weighed: Weighed) -> str:
    if scope == "side":
        return "per side"
    return "for VM and host together" if weighed.weighing.situation.facts.get("apart") else "per egress address"


def limiter(a: Analysis) -> str | None:
    """The limit in words, of what is open or over time: ``60 requests in any 60 s per egress address``; None where none is known."""
    if a.limit is not None:
        return limit(a.weighed)
    if (sized := a.weighed.by_size) is not None:
        value = (a.weighed.limiter or {})["value"]
        return f"about {value:,} bytes of requests in progress {_whose(sized.rule.scope, a.weighed)}"
    if not (timely := a.weighed.by_time):
        return None
    fit, told = timely[0], timely[0].described()
    whose = _whose(fit.scope, a.weighed)
    if told["window"] == "bucket" and fit.limiter.COUNTS == "bytes":
        return f"{told['burst']:,} bytes at once and {told['value']:,} more every 60 s {whose}"
    if told["window"] == "bucket":
        return f"{plural(told['burst'], 'request')} in a burst, then one {fit.paces} {whose}"
    what = {"bytes": "bytes", "attempts": "attempts", "answers": "bytes of answers"}.get(fit.limiter.COUNTS, "requests")
    which = {"fixed": "each", "counter": "about any"}.get(told["window"], "any")
    value = ", then ".join(f"{value:,}" for _, value in fit.values) or f"{told['value']:,}"
    if what.startswith("bytes") and (span := a.weighed.span) is not None and span[1] - span[0] > SHARP * span[1]:
        value += f" ({span[0]:,} to {span[1]:,})"
    bar = f"; who exceeds it is refused for {fit.barred_s:.3g} s" if fit.barred_s else ""
    return f"{value} {what} in {which} {told['window_s']:.3g} s {whose}{bar}"


def effect(fix: Prediction) -> str:
    """``10 refusals become 0, 4.9 s of waiting added``."""
    if fix.rejections_after is None:
        return "not predicted"
    wait = f", {fix.added_wait_s:.1f} s of waiting added" if fix.added_wait_s else ""
    return f"{plural(fix.rejections_before, 'refusal becomes', 'refusals become')} {fix.left}{wait}"


def _needed(a: Analysis, what: str = "out") -> list[Part]:
    wanted = needed(a.hypotheses)
    return [Part(f" To find {what}, you need: "), Part(wanted[0]), Part(".")] if wanted else []


def how_sure(a: Analysis) -> list[Fact]:
    """What speaks for the answer and against it."""
    found = [Fact("odds", f"{v.id} {v.probability:.0%} likely, with so few refusals") for v in supported(a) if v.probability]
    found += fit_facts(a)
    r = a.weighed.weighing.situation.requests
    if others := r.refusal_class[r.rejected == ELSEWISE].tolist():
        kinds = ", ".join(sorted(set(others)))
        told = f"{plural(len(others), 'refusal')} {'is' if len(others) == 1 else 'are'} of another kind ({kinds}) and not explained by this"
        found.append(Fact("others", told, good=False))
    if left := a.weighed.weighing.situation.facts.get("left_out"):
        found.append(
            Fact(
                "apart",
                f"{left} are left out: they fit the limit only if they are counted by themselves, as with another key or model, or not at all",
                good=False,
            )
        )
    found += [Fact("relay", told, good=False) for told in _by_relays(a)]
    for v in supported(a)[:2]:
        if v.attributable_fraction is not None and v.id != "provider":
            which = "" if a.weighed.weighing.conditions else " at the limit"
            found.append(Fact(v.id, f"explains {v.attributable_fraction:.0%} of the refusals{which}", good=True))
    if any(v.id == "same-nat-ip" for v in supported(a)) and a.limit is not None and a.limit.scope == "egress":
        apart = a.assembled.situation.facts.get("apart")
        told = (
            "per key or account: the sides leave from different addresses"
            if apart
            else "per source address, or per key if both sides use one: packets cannot tell"
        )
        found.append(Fact("scope", told))
    found += [] if a.assembled.situation.uncountable else [_outcomes_fact(a)]
    if a.paired:
        clock = a.clock
        off = (
            "" if clock.low_s is None or clock.high_s is None else f"; clock offset known to ± {duration((clock.high_s - clock.low_s) / 2)}"
        )
        found.append(Fact("sides", f"both captured{off}", bool(off), "both sides captured"))
    else:
        seen = next(iter(a.sides.values())).vantage
        found.append(Fact("sides", f"only {'one side' if seen is None else f'the {SIDE_NAMES[seen]}'} was captured", good=False))
    fix = a.best_fix
    if fix is not None and fix.replayed_before is not None:
        told = f"replayed without a change: {plural(fix.replayed_before, 'refusal')}; recorded: {fix.rejections_before:,}"
        found.append(Fact("prediction", told, good=fix.confidence == "good"))
    return found


def _outcomes_fact(a: Analysis) -> Fact:
    known, told = outcomes(a)
    sources = Counter(a.weighed.weighing.situation.requests.source.tolist())
    firm = known - sources["inferred"]
    firm_enough = firm * 2 >= a.counts["exchanges"] if a.counts["exchanges"] else None
    likely = sources["look-alike"] + sources["inferred"]
    return Fact("outcomes", told, firm_enough, told.split(": ")[0] + (f" ({likely:,} by likeness or inference)" if likely else ""))


def how_sure_in_brief(a: Analysis) -> str:
    """In one line, without statistics: exceptions to the limit, outcomes, which sides were captured."""
    wanted = ("odds", "others", "apart", "relay", "chance", "exceptions", "condition", "ties", "outcomes", "sides")
    return "; ".join(
        ("outcomes " if fact.name == "outcomes" else "") + (fact.brief or fact.text)
        for fact in how_sure(a)
        if fact.name in wanted and (fact.brief or fact.name != "chance")
    )


def fit_facts(a: Analysis) -> list[Fact]:
    """How well the limit tells refused from accepted requests."""
    i = a.weighed.weighing.inference
    n = plural(i.refused + i.accepted, "request")
    chance = "p = {p:.2g}{most} that chance alone would tell refused from accepted this well"
    if a.limit is not None:
        off = _contradict(a.limit.misfits, n)
        found = [
            Fact("chance", chance.format(p=a.limit.p, most=""), True, _by_chance(a.limit.p)),
            Fact("exceptions", f"{off} (AUC {a.limit.auc:.2f})", a.limit.misfits == 0, off),
        ]
        if a.limit.tied:
            found.append(
                Fact("ties", f"{' and '.join(a.limit.tied)} {'fits' if len(a.limit.tied) == 1 else 'fit'} equally well", good=False)
            )
        return found
    if timely := [a.weighed.by_size] if a.weighed.by_size is not None else a.weighed.by_time:
        odd = timely[0].misses + timely[0].false_alarms
        p = timely[0].p
        return [Fact("chance", chance.format(p=p, most=" at most"), True, _by_chance(p)), Fact("exceptions", _contradict(odd, n), not odd)]
    if conditions := a.weighed.weighing.conditions:
        told = a.weighed.weighing.separation(conditions[0]).text
        return [
            Fact("chance", chance.format(p=conditions[0].p, most=" at most"), True, _by_chance(conditions[0].p)),
            Fact("condition", told, True),
        ]
    if i.refused and i.fits:
        best = max(i.fits, key=lambda f: f.auc)
        off = (
            f"no count tells refused from accepted better than chance; the best, {best.rule.name}, has AUC {best.auc:.2f}, p = {best.p:.2g}"
        )
        return [Fact("chance", off)]
    return []


def _by_chance(p: float) -> str:
    return "hardly by chance" if p <= HARDLY else "unlikely by chance"


def _contradict(odd: int, of: str) -> str:
    if not odd:
        return "no request clearly contradicts the limit"
    return f"{odd:,} of {of} clearly {'contradicts' if odd == 1 else 'contradict'} the limit"


def outcomes(a: Analysis) -> tuple[int, str]:
    """How many outcomes are known, and where from: ``known for 67 of 67 requests: 60 from the error log, 7 inferred from traffic``."""
    r = a.weighed.weighing.situation.requests  # of all recordings
    sources = Counter(s for s in r.source.tolist() if s)
    known = sum(sources.values())
    quiet = int(((r.source == "error log") & (r.rejected == ACCEPTED)).sum())
    silence = {"error log": f" ({quiet:,} of them because it names no error)"} if quiet else {}
    told = ", ".join(f"{n:,} {SOURCES.get(s, f'from {s}')}{silence.get(s, '')}" for s, n in sources.most_common())
    said = f"known for {known:,} of {plural(a.counts['exchanges'], 'request')}{_besides(a)}"
    return known, said + (f": {told}" if told else "")


def _besides(a: Analysis) -> str:
    """What is in no count, as its requests cannot be told apart."""
    n = int(a.assembled.situation.facts.get("connections_left_out", 0))
    return f", besides those on {plural(n, 'connection')} of others that cannot be told apart (HTTP/2)" if n else ""


def surer(a: Analysis) -> list[str]:
    """What to record or do next, most useful first."""
    out: list[str] = []
    for text in needed(a.hypotheses):  # the same capture is asked for once, whatever else it would show
        if len(out) < 2 and not any(text.startswith(before) for before in out):
            out.append(text)
    sources = Counter(a.assembled.situation.requests.source.tolist())
    unsure = sources["inferred"] + sources[""]
    if a.counts["exchanges"] and unsure * 4 > a.counts["exchanges"]:
        out.append(
            f"the programs' error logs (--vm-errors FILE, --host-errors FILE): no log tells the outcome of {plural(unsure, 'request')}"
        )
    if not a.paired and a.counts["exchanges"]:
        other = "the other side" if next(iter(a.sides)) is None else "the host" if "host" not in a.sides else "the VM"
        text = f"a capture of {other} over the same time"
        if not any(text in each or ("capture of the" in each and "same time" in each) for each in out):
            out.append(text)
    if a.limit is not None and a.limit.tied:
        alike = a.limit.rule, *a.limit.tied
        out = [each for each in out if not ("differ more" in each and all(rule in each for rule in alike))]  # the next one says how, too
        out.append(f"a recording in which {' and '.join(alike)} differ: with both sides busy at different times")
    if a.best_fix is not None:
        out.append("a proof: apply the fix, record again, and run netlens compare BEFORE AFTER")
    return out
