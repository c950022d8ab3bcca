"""The first screen in words: the question, the answer in one sentence, how sure it is, and what would make it surer.

Says what :class:`~netlens.analysis.Analysis` holds and nothing else; the page and the summary picture take their words from here. Names and
paths in them are strangers' text: whoever shows them escapes them (the page by autoescape and :func:`netlens.text.printable`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlens.text import plural

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.lenses.refused.fixes import Prediction
    from netlens.lenses.refused.verdict import Verdict

UNITS = {"requests": "requests in flight", "connections": "open connections"}
SCOPES = {"side": "per side (one key or account)", "egress": "per egress address (host and VM together)"}
SOURCES = {
    "error log": "the error log",
    "key log": "decryption",
    "look-alike": "likeness to logged refusals",
    "inferred": "the traffic (inferred)",
}
SIDE_NAMES = {"vm": "VM", "host": "host", "unknown": "unknown side", "capture": "capture"}
NAMED = 3  #: names of the target that are told
WEAK_AUC = 0.9  #: below this the page says how many do not fit, also where the interval of the limit is one number


@dataclass(frozen=True)
class Part:
    """A piece of the answer; ``role``: "cause", "limit", "fix" or "" for what joins them."""

    text: str
    role: str = ""


@dataclass(frozen=True)
class Fact:
    """A statement with a short name. ``good``: speaks for the answer (True), against it (False), or neither (None)."""

    name: str
    text: str
    good: bool | None = None


def question(a: Analysis) -> str:
    """What is asked."""
    return f"Why are requests to {target(a)} refused?" if a.counts["rejections"] else f"Are requests to {target(a)} refused, and why?"


def target(a: Analysis) -> str:
    """The API's names, of many the first few."""
    names = a.target.names or a.target.addresses
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "") or "nothing"


def supported(a: Analysis) -> list[Verdict]:
    """The causes that the evidence supports, the one that is named first."""
    return sorted((v for v in a.hypotheses if v.verdict == "supported"), key=lambda v: v.id != a.cause)


def best_fix(a: Analysis) -> Prediction | None:
    """The first fix whose effect is predicted and is one."""
    return next((f for f in a.fixes if f.rejections_after is not None and f.rejections_after < f.rejections_before), None)


def next_fixes(a: Analysis) -> list[Prediction]:
    """What to try besides the best fix: those that lower the refusals; if none does, those whose effect cannot be predicted."""
    best = best_fix(a)
    lower_it = [f for f in a.fixes if f is not best and f.rejections_after is not None and f.rejections_after < f.rejections_before]
    return lower_it if best is not None else [f for f in a.fixes if f.rejections_after is None]


def headline(a: Analysis) -> list[Part]:
    """The answer in one sentence, in pieces."""
    refused, requests = a.counts["rejections"], a.counts["exchanges"]
    hidden = a.assembled.situation.uncountable
    if not requests:
        return [
            Part("Requests cannot be counted here: " + hidden if hidden else f"No request to {target(a)} is in the capture."),
            *_needed(a),
        ]
    if not refused and not hidden:
        said = f"None of {plural(requests, 'request')} to {target(a)} is known to have been refused, so nothing is to be explained."
        return [Part(said), *_needed(a)]
    start = f"{refused:,} of {plural(requests, 'request')} to {target(a)} were refused"
    causes = supported(a)
    if not causes:
        return [Part(f"{start}; "), Part("why is undecided", "cause"), Part("."), *_needed(a)]
    parts = [Part(f"{start}: "), Part(lower(causes[0].claim), "cause")]
    for more in causes[1:]:
        parts += [Part("; also, "), Part(lower(more.claim), "cause")]
    if (words := limiter(a)) is not None:
        parts += [Part("; the limit is "), Part(words, "limit")]
    if (fix := best_fix(a)) is not None:
        parts += [Part("; best fix: "), Part(lower(fix.title), "fix"), Part(f" ({effect(fix)})")]
    return [*parts, Part(".")]


def sentence(a: Analysis) -> str:
    return "".join(part.text for part in headline(a))


def limit(a: Analysis) -> str:
    """``2 requests in flight per egress address``."""
    assert a.limit is not None
    span = f"{a.limit.value:,}" if a.limit.low == a.limit.high else f"{a.limit.low:,} to {a.limit.high:,}"
    return f"{span} {UNITS.get(a.limit.unit, a.limit.unit)} per {'side' if a.limit.scope == 'side' else 'egress address'}"


def limiter(a: Analysis) -> str | None:
    """The limit in words, of what is open or over time: ``60 requests in any 60 s per egress address``; None where none is known."""
    if a.limit is not None:
        return limit(a)
    if not (timely := a.weighed.weighing.by_time):
        return None
    fit, told = timely[0], timely[0].described()
    whose = "per side" if fit.scope == "side" else "per egress address"
    if told["window"] == "bucket":
        return f"{plural(told['burst'], 'request')} at once and one more every {told['refill_s']:.3g} s {whose}"
    what = {"bytes": f"{told['value']:,} bytes", "attempts": f"{told['value']:,} attempts"}.get(
        fit.limiter.COUNTS, f"{told['value']:,} requests"
    )
    return f"{what} in {'each' if told['window'] == 'fixed' else 'any'} {told['window_s']:.3g} s {whose}"


def effect(fix: Prediction) -> str:
    """``10 refusals become 0, 4.9 s of waiting added``."""
    if fix.rejections_after is None:
        return "not predicted"
    wait = f", {fix.added_wait_s:.1f} s of waiting added" if fix.added_wait_s else ""
    return f"{plural(fix.rejections_before, 'refusal')} become {fix.rejections_after:,}{wait}"


def lower(text: str) -> str:
    """A sentence as a clause: without its last stop, and its first letter small unless it begins a name (DNS)."""
    text = text.removesuffix(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _needed(a: Analysis) -> list[Part]:
    wanted = needs(a)
    return [Part(" What would decide: "), Part(wanted[0]), Part(".")] if wanted else []


def needs(a: Analysis) -> list[str]:
    """What would decide the undecided causes, what most of them need first."""
    wanted = Counter(v.needs for v in a.hypotheses if v.verdict == "undecided" and v.needs)
    return [text for text, _ in wanted.most_common()]


def how_sure(a: Analysis) -> list[Fact]:
    """What speaks for the answer and against it."""
    found: list[Fact] = []
    i = a.weighed.weighing.inference
    if a.limit is not None:
        found.append(Fact("chance", f"alone would tell refused from accepted as well with p = {a.limit.p:.2g}", good=True))
        if a.limit.misfits or a.limit.auc < WEAK_AUC:
            n = plural(i.refused + i.accepted, "request")
            off = f"{a.limit.misfits:,} of {n} clearly {'contradicts' if a.limit.misfits == 1 else 'contradict'} the limit (AUC {a.limit.auc:.2f})"
            found.append(Fact("exceptions", off, good=a.limit.misfits == 0))
        else:
            found.append(Fact("exceptions", f"no request clearly contradicts the limit (AUC {a.limit.auc:.2f})", good=True))
        if a.limit.tied:
            found.append(
                Fact("ties", f"{' and '.join(a.limit.tied)} {'fits' if len(a.limit.tied) == 1 else 'fit'} equally well", good=False)
            )
    elif timely := a.weighed.weighing.by_time:
        best_in_time = timely[0]
        found.append(Fact("chance", f"alone would tell refused from accepted as well with p = {best_in_time.p:.2g} at most", good=True))
        odd = best_in_time.misses + best_in_time.false_alarms
        n = plural(i.refused + i.accepted, "request")
        found.append(Fact("exceptions", f"{odd:,} of {n} clearly {'contradicts' if odd == 1 else 'contradict'} the limit", good=not odd))
    elif i.refused and i.fits:
        best = max(i.fits, key=lambda f: f.auc)
        found.append(
            Fact("chance", f"no count separates beyond chance: the best, {best.rule.name}, has AUC {best.auc:.2f}, p = {best.p:.2g}")
        )
    for v in supported(a)[:2]:
        if v.attributable_fraction is not None and v.id != "provider":
            found.append(Fact(v.id, f"{v.attributable_fraction:.0%} of the refusals at the limit go with it", good=True))
    found.append(_labels(a))
    if a.paired:
        clock = a.clock
        off = "" if clock.low_s is None or clock.high_s is None else f", their clocks known to ± {span_s((clock.high_s - clock.low_s) / 2)}"
        found.append(Fact("sides", f"both were captured{off}", good=bool(off)))
    else:
        seen = next(iter(a.sides.values())).vantage
        found.append(Fact("sides", f"only {'one side' if seen is None else f'the {SIDE_NAMES[seen]}'} was captured", good=False))
    fix = best_fix(a)
    if fix is not None and fix.replayed_before is not None:
        told = f"the replay without any change gives {plural(fix.replayed_before, 'refusal')}; {fix.rejections_before:,} were recorded"
        found.append(Fact("prediction", told, good=fix.confidence == "good"))
    return found


def surer(a: Analysis) -> list[str]:
    """What to record or do next, most useful first."""
    out = [text for text in needs(a)[:2] if text]
    sources = Counter(a.assembled.situation.requests.source.tolist())
    unsure = sources["inferred"] + sources[""]
    if a.counts["exchanges"] and unsure * 4 > a.counts["exchanges"]:
        out.append(f"the programs' error logs (--vm-errors FILE, --host-errors FILE): {plural(unsure, 'outcome')} not told by any log")
    if not a.paired and a.counts["exchanges"]:
        other = "the other side" if next(iter(a.sides)) is None else "the host" if "host" not in a.sides else "the VM"
        text = f"a capture of {other} over the same time"
        if not any(text in each or ("capture of the" in each and "same time" in each) for each in out):
            out.append(text)
    if a.limit is not None and a.limit.tied:
        out.append(f"a recording in which {a.limit.rule} and {' and '.join(a.limit.tied)} differ: both sides busy at different times")
    if best_fix(a) is not None:
        out.append("the proof: apply the fix, record again, and run: netlens compare BEFORE AFTER")
    return out


def _labels(a: Analysis) -> Fact:
    sources = Counter(s for s in a.assembled.situation.requests.source.tolist() if s)
    requests = a.counts["exchanges"]
    known = sum(sources.values())
    told = ", ".join(f"{n:,} from {SOURCES.get(s, s)}" for s, n in sources.most_common())
    unknown = f", {requests - known:,} unknown" if requests > known else ""
    firm = known - sources["inferred"]
    return Fact(
        "outcomes",
        (told or "none known") + unknown + f" (of {plural(requests, 'request')})",
        good=firm * 2 >= requests if requests else None,
    )


def span_s(seconds: float) -> str:
    """A duration with a unit that fits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
