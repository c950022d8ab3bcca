"""The letter to the provider's support (``support.md``): what was seen, what was tried, and the question.

It holds numbers and times of what the provider saw itself, and nothing else: no key, no prompt, no payload, no name or address of the user's machines but
the public one they leave from. Whatever is free text on its way in (what was tested) goes through :func:`clean`.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.situation import REJECTED, Situation
from netlens.report import answer
from netlens.text import plural, printable, utc

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.lenses.refused.replay import RuleLike

SHOWN = 12  #: refusals that are listed; support looks a handful up in its logs
LONGEST = 300  #: characters of one line of free text; more is a log, not a sentence


@dataclass(frozen=True)
class SupportFacts:
    """What the text is made of. Times are ns UTC.

    requests : attempts, each retry counted, None if not known (``between``: at least and at most, where that is in doubt); ``refusals`` of them were
    refused, at ``refusal_ns``.  in_flight, connections : others' that were in progress or open at each refusal, in the same order (empty if unknown).
    peak_requests, peak_connections : most at once in the whole recording.
    unit, scope : of the inferred rule ("requests" or "connections"; "side" or "egress"), None if no count decides.  limit, limit_low, limit_high :
    others in progress from which on requests were refused, and what fits as well.  p : of chance.
    why : how they were refused ("for high concurrency", "by a rate limit"; "" if nothing says).  over_time : the limit in words where it is one over time.
    target : name of the API.  codes : as in the error messages ("1302").  egress_address : shown only if it is public.  tested : sentences.
    """

    started_ns: int
    ended_ns: int
    requests: int | None
    refusals: int
    refusal_ns: Sequence[int] = ()
    in_flight: Sequence[int] = ()
    connections: Sequence[int] = ()
    peak_requests: int | None = None
    between: tuple[int, int] | None = None
    peak_connections: int | None = None
    unit: str | None = None
    scope: str | None = None
    limit: int | None = None
    limit_low: int | None = None
    limit_high: int | None = None
    p: float | None = None
    why: str = ""
    over_time: str | None = None
    target: str | None = None
    codes: Sequence[str] = ()
    egress_address: str | None = None
    tested: Sequence[str] = ()


def facts(situation: Situation, rule: RuleLike | None = None, **more: object) -> SupportFacts:
    """Facts from a situation; ``more`` are fields of :class:`SupportFacts` that it does not know (target, p, tested ...)."""
    from netlens.lenses.refused.counting import most_at_once

    r, s = situation.requests, situation.sessions
    refused, held = r.rejected == REJECTED, r.held
    at = r.start_ns[refused]
    flying = np.searchsorted(np.sort(r.start_ns[held]), at, "right") - np.searchsorted(np.sort(r.end_ns[held]), at, "right")
    known = r.session[refused]
    own = (known >= 0) & (known < len(s))
    begun = np.searchsorted(np.sort(s.start_ns), at, "right") - np.searchsorted(np.sort(s.end_ns), at, "right")
    start, end = situation.capture_ns
    found: dict[str, object] = {
        "requests": len(r) if situation.uncountable is None else None,
        "between": situation.between,
        "refusals": int(refused.sum()),
        "refusal_ns": at.tolist(),
        "in_flight": flying.tolist(),
        "connections": (begun - own).tolist(),
        "peak_requests": most_at_once(r.start_ns[held], r.end_ns[held])
        if situation.uncountable is None and situation.between is None
        else None,
        "peak_connections": most_at_once(s.start_ns, s.end_ns),
    }
    if situation.uncountable is not None:
        found["in_flight"] = ()
    if rule is not None:
        found |= {"unit": rule.unit, "scope": rule.scope, "limit": rule.value}
        found |= {"limit_low": getattr(rule, "low", None), "limit_high": getattr(rule, "high", None), "p": getattr(rule, "p", None)}
    return SupportFacts(**({"started_ns": start, "ended_ns": end} | found | more))  # type: ignore[arg-type]


def _how_many(f: SupportFacts) -> str:
    if f.between is not None:
        likeliest = f" (most likely {f.requests:,})" if f.requests is not None else ""
        return f"between {f.between[0]:,} and {f.between[1]:,} requests{likeliest}"
    return "a number of requests that cannot be told" if f.requests is None else plural(f.requests, "request")


def text(facts: SupportFacts) -> str:
    """The letter, as Markdown that also reads as plain text."""
    f = facts
    where = clean(f.target) if f.target else "your API"
    codes = sorted({clean(c) for c in f.codes})
    said = f" with {'code' if len(codes) == 1 else 'codes'} {', '.join(codes)}" if codes else ""
    why = f" {f.why}" if f.why else ""
    share = f" ({f.refusals / f.requests:.0%})" if f.requests and f.between is None else ""
    out = [
        f"Subject: requests to {where} refused{why}",
        "",
        "Hello,",
        "",
        f"Some of our requests to {where} are refused{why}{said}.",
        "We recorded the traffic with a packet capture.",
        "",
        "Account, model, and the key's id (never the key): [fill in]",
        "",
        "## What was recorded",
        "",
        f"- from {utc(f.started_ns)} to {utc(f.ended_ns)}",
        f"- {_how_many(f)} (each retry counted), {f.refusals:,} of them refused{share}",
    ]
    if (address := _public(f.egress_address)) is not None:
        out.append(f"- all of them came from {address}")
    peaks = [(f.peak_requests, "accepted request", "in flight"), (f.peak_connections, "connection", "open")]
    known = [f"{plural(n, what)} {how}" for n, what, how in peaks if n is not None]
    if known:
        out.append(f"- at most {' and '.join(known)} at the same time, all programs together")
    out += _refusals(f)
    out += ["", "## What fits", "", *_rule(f)]
    if tested := [clean(line) for line in f.tested if clean(line)]:
        out += ["", "## What we checked", "", *(f"- {line}" for line in tested)]
    out += [
        "",
        "## What we would like to know",
        "",
        "1. Which unit is counted: requests in flight, connections that are open, or requests in a window of time?",
        "2. Is it counted per key, per account, per model, or per source address?",
        "3. What is our limit, and can it be raised?",
        "4. When does a request that the client has aborted stop counting?",
        "5. What do your logs show for the refusals above: which requests did you count at these times?",
        "",
        "We can send the time and size of any of these requests.",
        "",
        "Thank you.",
    ]
    return "\n".join(out) + "\n"


def _refusals(f: SupportFacts) -> list[str]:
    if not f.refusal_ns:
        return []
    out = ["", "## Refusals", ""]
    order = sorted(range(len(f.refusal_ns)), key=lambda k: f.refusal_ns[k])
    for k in order[:SHOWN]:
        held = [
            f"{values[k]} other {name if values[k] != 1 else name[:-1]} {how}"
            for values, name, how in ((f.in_flight, "accepted requests", "in flight"), (f.connections, "connections", "open"))
            if len(values) == len(f.refusal_ns)
        ]
        out.append(f"- {utc(f.refusal_ns[k])}" + (f": {', '.join(held)}" if held else ""))
    if len(order) > SHOWN:
        out.append(f"- and {len(order) - SHOWN:,} more, the last at {utc(f.refusal_ns[order[-1]])}")
    for values, name in ((f.in_flight, "accepted requests in flight"), (f.connections, "connections open")):
        if len(values) == len(f.refusal_ns):
            counted = ", ".join(f"{n}: {times}x" for n, times in sorted(Counter(values).items()))
            out.append(f"- other {name} at the refusals: {counted}")
    return out


def _rule(f: SupportFacts) -> list[str]:
    if f.over_time is not None:
        return [f"This limit fits: {f.over_time}."]
    if f.unit is None or f.limit is None:
        return ["No count of requests or connections that we can see tells refused from accepted requests."]
    what = {"requests": "requests in flight", "connections": "open connections"}.get(f.unit, "requests in flight")
    whose = {"side": "of one client (one key)", "egress": "from one source address"}.get(f.scope or "", "")
    low, high = f.limit_low, f.limit_high
    also = f" (anything from {low} to {high} fits as well)" if low is not None and high is not None and low != high else ""
    chance = "" if f.p is None else f" By chance alone, a fit this good has p {f'= {f.p:.2g}' if f.p >= 0.001 else 'below 0.001'}."
    return [f"A request is refused when there are already {f.limit} or more other {what} {whose}{also}.{chance}"]


# --- what must not leave the house -------------------------------------------------------------------------------------------------------

#: What announces itself as a key, looks like one, or is a long run of what keys are made of with a digit in it. "with another key: no change" is none.
_SECRET = re.compile(
    r"(?i)\bauthorization\b\s*[:=]\s*\S+(?:\s+\S+)?|\bbearer\s+\S+|\b(?:password|secret)\b\s*[:=]\s*\S+"
    r"|\b(?:token|key)\b\s*[:=]\s*(?=\S*\d)\S{4,}|\b(?:sk|pk|ghp|gho|xox[a-z])[-_]\S+|(?=[\w.+/=-]*\d)[\w+/=-]{20,}(?:\.[\w+/=-]+)*"
)
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)")
_PERSON = re.compile(r"[\w.+-]+@[\w.-]+|(?:/home/|/Users/)[^\s/]+")


def clean(line: str) -> str:
    """Free text without control characters, line breaks, keys, addresses, mail addresses, user names and Markdown that hides something."""
    line = printable(" ".join(str(line).split()))
    line = _SECRET.sub("[left out]", line)
    line = _PERSON.sub("[left out]", line)
    line = _ADDRESS.sub(lambda m: m[0] if _public(m[0]) else "[address]", line)
    line = line.replace("<", "&lt;").replace("`", "'").replace("](", "] (")
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _public(address: str | None) -> str | None:
    """The address if anybody on the internet may see it, else None."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    return str(found) if found.is_global else None


def of(analysis: Analysis, *, with_address: bool = True) -> str:
    """The letter for an analysis. ``with_address``: also the public address that the requests came from (an anonymised one is of no use)."""
    made = analysis.assembled
    c = made.upstream.connections
    rows = np.flatnonzero(made.upstream.target)
    # after source translation where its copy was captured, else who opened it
    addresses = [nat or orig for nat, orig in zip(c["nat_ip"][rows].tolist(), c["orig_ip"][rows].tolist(), strict=True)]
    codes = {event.code for log in made.beside.logs.values() for event in log.events if event.code}
    refuted = {v.id for v in analysis.hypotheses if v.verdict == "refuted"}
    bounds = made.upstream.capture.part.bounds_ns  # of the capture nearest to the provider
    return text(
        facts(
            made.situation,
            analysis.limit,
            target=analysis.target.label if analysis.target.names else None,
            egress_address=max(dict.fromkeys(addresses), key=addresses.count) if addresses and with_address else None,
            codes=sorted(codes),
            tested=[told for cause, told in _TESTED.items() if cause in refuted],
            **({} if bounds is None else {"started_ns": bounds[0], "ended_ns": bounds[1]}),
            why=_WHY.get(analysis.weighed.weighing.refusal_class, ""),
            over_time=answer.limiter(analysis) if analysis.limit is None else None,
        )
    )


#: How requests were refused, by the class of the refusals.
_WHY = {
    logs.CONCURRENCY: "for high concurrency",
    logs.RATE: "by a rate limit",
    logs.QUOTA: "for a used-up quota",
    logs.OVERLOAD: "for overload",
}

_TESTED = {
    "multiplexing": "whether a tunnel or proxy opens more connections than the program: it does not",
    "dns": "whether name lookups hold connections open: they do not",
    "provider": "whether refusals come at random: they do not",
}
