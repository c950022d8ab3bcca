"""Two recordings side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from netlens.chains.differing import Recorded, cautions, differences, other_api, same
from netlens.errors import NetlensError
from netlens.lenses.refused.comparison import ALPHA, POWER, TAIL_S, Comparison, Figures, compare
from netlens.text import interval, plural, printable, size


@dataclass(frozen=True)
class Compared(Comparison):
    """A comparison that knows what it compares, in words. ``sentence``: the verdict.

    differences : what else differs, in the manifests and in how connections went, a line each.
    details : test, sample and power behind ``sentence``, a line each.
    """

    sentence: str = ""
    differences: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


def compared(before: Recorded, after: Recorded) -> Compared:
    """Compare two recordings, with what differs between them and cautions. NetlensError if they are about different APIs, and nobody named these."""
    if (apart := other_api(before, after)) and any(each.given.apis_from != "named" for each in (before, after)):
        raise NetlensError(f"{apart}; nothing can be compared. If both are meant, name both: --api NAME --api NAME")
    found = told(compare(before.traffic.situation, after.traffic.situation), same(before.given, after.given))
    found.notes[:0] = cautions(before, after)
    found.differences.extend(differences(before, after))
    return found


def told(found: Comparison, alike: bool = False) -> Compared:
    """A comparison in words. ``alike``: both are the same recording."""
    given = {f.name: getattr(found, f.name) for f in fields(Comparison)}
    return Compared(**given, sentence=_sentence(found, alike), details=_details(found))


def lines(comparison: Compared) -> list[str]:
    """The verdict, what differs, the figures before and after, what they rest on, and cautions; one line each."""
    table = list(rows(comparison))
    wide, middle = max(len(name) for name, _, _ in table), max(len(before) for _, before, _ in table)
    out = [printable(comparison.sentence), *(f"differs: {line}" for line in comparison.differences), ""]
    out += [f"{name:<{wide}}  {before:<{middle}}  {after}".rstrip() for name, before, after in table]
    return [*out, "", *comparison.details, *(f"caution: {printable(note)}" for note in comparison.notes)]


def rows(c: Comparison) -> list[tuple[str, str, str]]:
    """(what, before, after) as they are shown."""
    out = [("", "before", "after")]

    def add(name: str, show: Callable[[Figures], str]) -> None:
        out.append((name, show(c.before), show(c.after)))

    add("recorded", lambda f: f"{f.duration_s:.1f} s")
    add("requests", _requests)
    add("  a minute", lambda f: f"{f.requests_per_minute:.1f}" if f.requests else "-")
    add("refused at least once", lambda f: "-" if f.rate is None else f"{f.refused:,}, {f.rate:.1%}")
    add("  95% interval", lambda f: "-" if f.rate_low is None or f.rate_high is None else f"{f.rate_low:.1%} to {f.rate_high:.1%}")
    if c.difference is not None and c.difference_low is not None and c.difference_high is not None:
        out.append(("  change, percentage points", "", f"{100 * c.difference:+.1f}"))
        out.append(("  95% interval", "", f"{100 * c.difference_low:+.1f} to {100 * c.difference_high:+.1f}"))
    add("refusals, each retry counted", lambda f: f"{f.refusals:,}")
    add("  a minute", lambda f: f"{f.refusals_per_minute:.1f}")
    for unit in ("requests", "connections"):
        for side, label in (("vm", "VM"), ("host", "host"), ("combined", "both together")):
            add(f"most {unit} at once, {label}", lambda f, u=unit, s=side: _most(f, u, s))  # type: ignore[misc]
    add("TCP sessions to the API", lambda f: f"{f.sessions:,}")
    add("  open for, median", lambda f: _seconds(f.lifetime_median_s))
    add("  open for, 90th percentile", lambda f: _seconds(f.lifetime_p90_s))
    add(f"  open over {TAIL_S:g} s after closing", _tails)
    return out


def _most(f: Figures, unit: str, side: str) -> str:
    least, most = f.in_flight_between[side] if unit == "requests" and f.in_flight_between else [f.peaks[unit][side]] * 2
    return interval(least, most)


def _requests(f: Figures) -> str:
    if not f.requests and f.unlabelled:
        return f"{f.unlabelled:,}, outcomes unknown"
    return f"{f.requests:,}" + (f" ({f.attempts:,} with retries)" if f.attempts != f.requests else "")


def _tails(f: Figures) -> str:
    if not f.tails:
        return "0"
    return f"{f.tails:,}, {f.tail_s:.1f} s in total" + ("" if f.tail_bytes is None else f", {size(f.tail_bytes)}")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


# --- the sentence ------------------------------------------------------------------------------------------------------------------------


def _share(f: Figures) -> str:
    return f"{f.refused:,} of {plural(f.requests, 'request')} ({f.rate or 0:.0%})"


def _sentence(c: Comparison, alike: bool) -> str:
    a, b = c.before, c.after
    if alike:
        return "Cannot tell: both are the same recording; give the one made before the change, then the one made after it."
    if c.p is None:
        which = "neither recording" if not a.requests and not b.requests else f"the recording {'after' if a.requests else 'before'}"
        return f"Cannot tell: {which} has {'a' if which[0] == 'n' else 'no'} request whose outcome is known."
    seen = f"{_share(a)} were refused before and {_share(b)} after"
    if c.verdict != "cannot-tell":
        return f"{c.verdict.capitalize()}: {seen} (Fisher's exact test, p {_p(c.p)})."
    if not a.refused and not b.refused:
        high = max(a.rate_high or 0.0, b.rate_high or 0.0)
        return f"Cannot tell: nothing was refused in either recording; a true share of up to {high:.0%} would fit that."
    if c.needed_requests is None:
        return f"Cannot tell: {seen}. The shares are equal here; a true difference may still hide in recordings this short."
    missing = [more for more in (c.more_minutes_before, c.more_minutes_after) if more is not None]
    if not any(missing):  # enough by the approximation, and yet the exact test does not say so
        return f"Cannot tell: {seen}. A little more recording of both should tell."
    return f"Cannot tell: {seen}. Chance alone can make that difference; to tell, {_minutes(c)} would be needed."


def _minutes(c: Comparison) -> str:
    """How long both would have to be in all, in round numbers."""
    needed = c.needed_requests or 0
    of_each = [_round(max(needed, f.requests) / f.requests_per_minute) for f in (c.before, c.after) if f.requests_per_minute]
    if len(set(of_each)) == 1:
        return f"about {of_each[0]} of each"
    return " and ".join(f"about {minutes} {when}" for minutes, when in zip(of_each, ("before", "after"), strict=False))


def _round(minutes: float) -> str:
    """Two digits are more than an estimate of a rate is worth."""
    if minutes < 1:
        return "a minute"
    step = 10 ** max(len(str(int(minutes))) - 2, 0)
    return f"{round(minutes / step) * step:,} minutes"


def _details(c: Comparison) -> list[str]:
    out = ["A request counts once, however often it was tried again. 95%: confidence interval."]
    if c.p is not None:
        out.append(f"Fisher's exact test, two-sided: p {_p(c.p)}; below {ALPHA} is a verdict.")
    if c.needed_requests is None:
        return out
    more = [(n, when) for n, when in ((c.more_minutes_before, "before"), (c.more_minutes_after, "after")) if n]
    wanted = f"{c.needed_requests:,} requests in each recording"
    out.append(f"If the true shares are those seen, {wanted} would give a verdict with a probability of {POWER:.0%} (power).")
    if more:
        missing = " and ".join(f"{_round(n)} of {when}" for n, when in more)
        undo = "; to record more of before, undo the change for that long" if c.more_minutes_before else ""
        out.append(f"At the rates seen, these are missing: {missing}{undo}.")
    return out


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.001 else "below 0.001"
