"""Two recordings compared: before and after a change. Did it help, or can that not be told yet?

Theory of operation
-------------------
1. What is counted are intents (:mod:`netlens.lenses.refused.intents`): refused at least once, or not. The retries of one request are no independent trials;
   counting them would make ten refusals of one unlucky request look like proof.
2. The rates are told apart by Fisher's exact test, two-sided: the sum of all tables with the same margins that are no likelier than the one seen.
3. How far apart they are: Newcombe's interval (1998, method 10) for the difference, from the Wilson intervals of both rates.
4. *better* or *worse* only if the test says so at :data:`ALPHA`. Else *cannot-tell*, and how much more recording would have told, were the rates
   what they seem: the sample of each side for a power of :data:`POWER` by the normal approximation with continuity correction (Fleiss, Levin, Paik 2003,
   section 4.3), in requests and in minutes at the rates at which requests came.

Limits: intents of one recording share their time of day, their load and the provider's mood: the test knows nothing of that, so record before
and after alternately, more than once. Requests of unknown outcome are left out. A change that also changes how many requests are made is seen in the
rates only.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from netlens.chains.endings import SHORT_NS, STREAM_NS
from netlens.chains.situation import ACCEPTED, REJECTED, UNLABELLED, Situation
from netlens.lenses.refused.counting import peaks, peaks_between
from netlens.lenses.refused.intents import S, intents
from netlens.lenses.refused.limit import log_choose
from netlens.text import plural

ALPHA = 0.05
POWER = 0.8
Z_ALPHA = 1.959964  #: two-sided 5 %
Z_POWER = 0.841621  #: 80 %
TAIL_S = 1.0  #: a session that ends upstream later than this after the program closed it has a tail; orderly ends take a round trip


@dataclass(frozen=True)
class Figures:
    """One recording in numbers. ``attempts``: labelled requests with each retry counted, ``refusals`` of them refused; ``requests``: intents with
    a known outcome, ``refused`` of them at least once; ``rate``: their share with its Wilson interval, None without requests.

    peaks : unit -> vm, host, combined.  in_flight_between : the same of requests, at least and at most; None where that is not in doubt.
    lifetime_s : median and p90 of upstream sessions; ``cut``: how many of these were open at an end of the capture.
    tails, tail_s, tail_bytes : sessions that outlived their program, for how long in sum, and bytes if they are known.
    """

    duration_s: float
    attempts: int
    refusals: int
    requests: int
    refused: int
    unlabelled: int
    rate: float | None
    rate_low: float | None
    rate_high: float | None
    requests_per_minute: float
    refusals_per_minute: float
    peaks: dict[str, dict[str, int]]
    sessions: int
    lifetime_median_s: float | None
    lifetime_p90_s: float | None
    cut: int
    tails: int
    tail_s: float
    tail_bytes: int | None
    in_flight_between: dict[str, tuple[int, int]] | None = None


@dataclass(frozen=True)
class Comparison:
    """Before and after. ``difference``: of the rates, after minus before, with its interval; ``p``: of Fisher's test; None without requests on a side.

    verdict : better, worse or cannot-tell.  needed_requests : on each side, in all; None if no number would do.
    more_minutes_before, more_minutes_after : recording that is still missing for that, at the observed rates.
    """

    before: Figures
    after: Figures
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    verdict: str
    needed_requests: int | None
    more_minutes_before: float | None
    more_minutes_after: float | None
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(before: Situation, after: Situation) -> Comparison:
    """Compare two recordings of the same programs."""
    (before, taught_before), (after, taught_after) = _taught(before, after), _taught(after, before)
    a, b = figures(before), figures(after)
    notes = _notes(a, b)
    for which, inferred in (("before", taught_before), ("after", taught_after)):
        if inferred:
            are = "is a stream" if inferred == 1 else "are streams"
            notes.append(
                f"{plural(inferred, 'answer')} {which} {are} and counted as accepted, as every refusal of the other recording is short"
            )
    difference = low = high = p = None
    if a.requests and b.requests:
        difference, low, high = newcombe(b.refused, b.requests, a.refused, a.requests)
        p = fisher(a.refused, a.requests - a.refused, b.refused, b.requests - b.refused)
    verdict = "cannot-tell"
    if p is not None and difference is not None and p < ALPHA and difference:
        verdict = "better" if difference < 0 else "worse"
    needed = None
    if verdict == "cannot-tell" and a.rate is not None and b.rate is not None and a.rate != b.rate:
        needed = max(sample_size(a.rate, b.rate), 1)
    more = [_minutes(needed, f) for f in (a, b)]
    return Comparison(a, b, difference, low, high, p, verdict, needed, more[0], more[1], notes)


def _taught(these: Situation, by: Situation) -> tuple[Situation, int]:
    """The situation with streams of unknown outcome as accepted, and how many these are, where all refusals of the other are short: a program that logs nothing
    but errors leaves no word where there are none."""
    r, other = these.requests, by.requests
    refused = other.rejected == REJECTED
    if not refused.any() or not ((other.end_ns - other.answer_ns)[refused & (other.answer_ns > 0)] <= SHORT_NS).all():
        return these, 0
    streams = (r.rejected == UNLABELLED) & (r.answer_ns > 0) & (r.end_ns - r.answer_ns >= STREAM_NS)
    labels = np.where(streams, np.int8(ACCEPTED), r.rejected)
    return replace(these, requests=replace(r, rejected=labels)), int(streams.sum())


# --- figures -----------------------------------------------------------------------------------------------------------------------------


def figures(situation: Situation) -> Figures:
    """The numbers of one recording."""
    r, s = situation.requests, situation.sessions
    found = intents(situation)
    labelled = np.logical_and.reduceat(r.rejected[found.rows] != UNLABELLED, found.begins[:-1]) if len(found) else np.zeros(0, np.bool_)
    refused = int(np.count_nonzero(found.refusals[labelled]))
    n = int(np.count_nonzero(labelled))
    refusals = int(np.count_nonzero(r.rejected == REJECTED))
    attempts = int(np.count_nonzero(r.rejected != UNLABELLED))
    duration = max(situation.capture_ns[1] - situation.capture_ns[0], 0) / S
    minutes = duration / 60
    low, high = wilson(refused, n) if n else (None, None)
    lifetime = (s.end_ns - s.start_ns) / S
    tails = np.maximum(s.end_ns - s.done_ns, 0) / S
    tailed = tails > TAIL_S
    cut = (s.end_ns >= situation.capture_ns[1]) | (s.start_ns <= situation.capture_ns[0])
    known_bytes = situation.facts.get("tail_bytes")
    return Figures(
        duration_s=duration,
        attempts=attempts,
        refusals=refusals,
        requests=n,
        refused=refused,
        unlabelled=len(r) - attempts,
        rate=refused / n if n else None,
        rate_low=low,
        rate_high=high,
        requests_per_minute=n / minutes if minutes else 0.0,
        refusals_per_minute=refusals / minutes if minutes else 0.0,
        peaks=peaks(situation),
        sessions=len(s),
        lifetime_median_s=float(np.median(lifetime)) if len(s) else None,
        lifetime_p90_s=float(np.quantile(lifetime, 0.9)) if len(s) else None,
        cut=int(np.count_nonzero(cut)),
        tails=int(np.count_nonzero(tailed)),
        tail_s=float(tails[tailed].sum()),
        tail_bytes=int(known_bytes) if isinstance(known_bytes, (int, np.integer)) else None,
        in_flight_between=peaks_between(situation),
    )


def _notes(a: Figures, b: Figures) -> list[str]:
    notes = []
    short, long = sorted((a.duration_s, b.duration_s))
    if long > 3 * short:
        notes.append(
            f"the recordings differ in length ({a.duration_s:.0f} s before, {b.duration_s:.0f} s after): compare shares, not totals"
        )
    slow, fast = sorted((a.requests_per_minute, b.requests_per_minute))
    if slow and fast > 2 * slow:
        notes.append(
            f"requests came at {a.requests_per_minute:.1f} a minute before and {b.requests_per_minute:.1f} after: the load was not the same"
        )
    for name, f in (("before", a), ("after", b)):
        if f.unlabelled:
            notes.append(f"{f.unlabelled} requests of unknown outcome {name} are left out")
        if f.cut:
            notes.append(f"{f.cut} of {f.sessions} sessions {name} were open at an end of the capture: their true lifetimes are longer")
    return notes


# --- statistics --------------------------------------------------------------------------------------------------------------------------


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z2 = Z_ALPHA**2
    centre = (hits + z2 / 2) / (n + z2)
    half = Z_ALPHA / (n + z2) * math.sqrt(hits * (n - hits) / n + z2 / 4)
    return max(centre - half, 0.0) if hits else 0.0, min(centre + half, 1.0) if hits < n else 1.0


def newcombe(hits1: int, n1: int, hits2: int, n2: int) -> tuple[float, float, float]:
    """Difference of two shares, first minus second, and its 95 % interval (Newcombe 1998, method 10)."""
    p1, p2 = hits1 / n1, hits2 / n2
    (l1, u1), (l2, u2) = wilson(hits1, n1), wilson(hits2, n2)
    d = p1 - p2
    return d, d - math.hypot(p1 - l1, u2 - p2), d + math.hypot(u1 - p1, p2 - l2)


def fisher(a: int, b: int, c: int, d: int) -> float:
    """Two-sided p of the table [[a, b], [c, d]]: all tables of the same margins that are no likelier."""
    n1, n2, hits = a + b, c + d, a + c
    total = log_choose(n1 + n2, hits)
    logs = {k: log_choose(n1, k) + log_choose(n2, hits - k) - total for k in range(max(0, hits - n2), min(n1, hits) + 1)}
    seen = logs[a] + 1e-7  # tables that are equally likely must not part by rounding
    return min(sum(math.exp(each) for each in logs.values() if each <= seen), 1.0)


def sample_size(p1: float, p2: float) -> int:
    """Requests on each side for a power of 80 % at a two-sided 5 % if the rates are p1 and p2 (Fleiss, Levin, Paik 2003, section 4.3)."""
    d = abs(p1 - p2)
    mean = (p1 + p2) / 2
    plain = (Z_ALPHA * math.sqrt(2 * mean * (1 - mean)) + Z_POWER * math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))) ** 2 / d**2
    return math.ceil(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * d))) ** 2)


def _minutes(needed: int | None, f: Figures) -> float | None:
    if needed is None or not f.requests_per_minute:
        return None
    return max(needed - f.requests, 0) / f.requests_per_minute
