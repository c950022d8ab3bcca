"""Comparison of two recordings; the statistics against published and hand-computed values."""

from __future__ import annotations

import json
import math

import pytest

from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import comparison
from netlens.lenses.refused.comparison import compare
from netlens.report import comparison as report
from tests.lenses.refused import journals
from tests.lenses.refused.made_up import situation


def recorded(n: int, refused: int, apart_s: float = 60.0):
    """``n`` requests, the first ``refused`` of which are refused once and never tried again."""
    rows = [(VM, apart_s * k, apart_s * k + (0.1 if k < refused else 1), int(k < refused)) for k in range(n)]
    return situation(rows, [] if not n else None, end_s=apart_s * max(n, 1))


# --- statistics --------------------------------------------------------------------------------------------------------------------------


def test_fisher():
    # Fisher's tea: 3 and 1 of 4 each; tables no likelier: (16 + 16 + 1 + 1) / 70
    assert comparison.fisher(3, 1, 1, 3) == pytest.approx(34 / 70)
    # [[10, 0], [0, 10]]: the two extreme tables of C(20, 10)
    assert comparison.fisher(10, 0, 0, 10) == pytest.approx(2 / math.comb(20, 10))
    assert comparison.fisher(0, 5, 0, 7) == 1
    assert comparison.fisher(2000, 3000, 2000, 3000) == pytest.approx(1)


def test_fisher_by_enumeration():
    for a, b, c, d in ((1, 9, 11, 3), (0, 4, 5, 2), (7, 2, 3, 8), (1, 1, 1, 1)):
        n1, n2, hits = a + b, c + d, a + c
        ways = {k: math.comb(n1, k) * math.comb(n2, hits - k) for k in range(max(0, hits - n2), min(n1, hits) + 1)}
        exact = sum(w for w in ways.values() if w <= ways[a]) / math.comb(n1 + n2, hits)
        assert comparison.fisher(a, b, c, d) == pytest.approx(exact)


def test_wilson_and_newcombe():
    # Newcombe 1998, table II: 56/70 - 48/80, method 10: 0.0524 to 0.3339; 9/10 - 3/10: 0.1705 to 0.8090; 10/10 - 0/10: 0.6075 to 1
    for (x, m, y, n), (low, high) in {
        (56, 70, 48, 80): (0.0524, 0.3339),
        (9, 10, 3, 10): (0.1705, 0.8090),
        (10, 10, 0, 10): (0.6075, 1.0),
        (0, 10, 0, 10): (-0.2775, 0.2775),
    }.items():
        d, a, b = comparison.newcombe(x, m, y, n)
        assert (d, a, b) == (pytest.approx(x / m - y / n), pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert comparison.wilson(0, 10) == (0, pytest.approx(0.2775, abs=1e-4))


def test_sample_size():
    # by hand: p = 0.2, 0.4; z 1.96 and 0.8416: (1.96 sqrt(0.42) + 0.8416 sqrt(0.40))^2 / 0.04 = 81.2; corrected 91
    assert comparison.sample_size(0.2, 0.4) == comparison.sample_size(0.4, 0.2) == 91


# --- verdicts ------------------------------------------------------------------------------------------------------------------------------


def test_better_and_worse():
    better, worse = compare(recorded(40, 20), recorded(40, 0)), compare(recorded(40, 0), recorded(40, 20))
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert (better.difference, better.p) == (-0.5, worse.p)
    assert better.difference_high is not None
    assert better.difference_high < 0
    assert report.told(better).sentence.startswith("Better: 20 of 40 requests (50%) were refused before and 0 of 40 requests (0%) after")
    assert better.needed_requests is None


def test_cannot_tell_says_how_much_more():
    found = compare(recorded(20, 4), recorded(20, 8))  # 20 % and 40 %, a request a minute
    assert found.verdict == "cannot-tell"
    assert found.needed_requests == 91
    assert found.more_minutes_before == pytest.approx(71, rel=0.02)
    assert any("91 requests in each recording" in line for line in report.told(found).details)


def test_nothing_refused_in_either():
    found = compare(recorded(30, 0), recorded(30, 0))
    assert (found.verdict, found.p, found.needed_requests) == ("cannot-tell", 1, None)
    assert "nothing was refused" in report.told(found).sentence


def test_the_same_share():
    found = compare(recorded(30, 3), recorded(30, 3))
    assert found.needed_requests is None
    assert "The shares are equal here" in report.told(found).sentence


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (recorded(0, 0), recorded(5, 1), "the recording before has no request"),
        (recorded(5, 1), recorded(0, 0), "the recording after has no request"),
        (recorded(0, 0), recorded(0, 0), "neither recording has a request"),
    ],
)
def test_no_requests(before, after, says: str):
    found = compare(before, after)
    assert (found.verdict, found.p, found.difference) == ("cannot-tell", None, None)
    assert says in report.told(found).sentence
    json.dumps(found.to_dict())
    report.lines(report.told(found))


def test_unlabelled_requests_are_left_out():
    s = recorded(10, 2)
    s.requests.rejected[5:] = -1
    found = compare(s, recorded(10, 0))
    assert (found.before.requests, found.before.refused, found.before.unlabelled) == (5, 2, 5)
    assert any("5 requests of unknown outcome before" in note for note in found.notes)
    s.requests.rejected[:] = -1
    assert compare(s, recorded(10, 0)).p is None


def test_retries_are_no_independent_trials():
    chain = [(VM, 0, 0.1, 1), (VM, 2.1, 2.2, 1), (VM, 6.2, 6.3, 1), (VM, 14.3, 15, 0)]
    found = compare(situation(chain), recorded(5, 0))
    assert (found.before.attempts, found.before.refusals, found.before.requests, found.before.refused) == (4, 3, 1, 1)


def test_peaks_lifetimes_and_tails():
    requests = [(VM, 0, 4, 0, None, 0), (HOST, 1, 3, 0, None, 1), (VM, 2, 2.1, 1, None, 2)]
    sessions = [(VM, 0, 10, 4), (HOST, 1, 3), (VM, 2, 4)]
    f = comparison.figures(situation(requests, sessions, facts={"tail_bytes": 1234}))
    assert f.peaks == {"requests": {"vm": 1, "host": 1, "combined": 2}, "connections": {"vm": 2, "host": 1, "combined": 3}}
    assert (f.tails, f.tail_s, f.tail_bytes) == (1, 6, 1234)
    assert (f.lifetime_median_s, f.lifetime_p90_s) == (2, pytest.approx(8.4))


def test_different_lengths_and_loads_are_noted():
    found = compare(recorded(10, 1, apart_s=1), recorded(10, 1, apart_s=60))
    assert len([note for note in found.notes if "length" in note or "load" in note]) == 2


def test_the_laboratorys_recordings():
    zombie = compare(journals.situation("zombie-sshuttle"), journals.situation("zombie-excluded"))
    shared = compare(journals.situation("same-nat-ip-sshuttle"), journals.situation("same-nat-ip-excluded"))
    assert (zombie.verdict, shared.verdict) == ("better", "cannot-tell")
    assert zombie.before.tails == 5


@pytest.mark.parametrize(("refusal_s", "stream_s", "known"), [(0.01, 0.9, 20), (0.5, 0.9, 0), (0.01, 0.1, 0)])
def test_streams_that_no_log_speaks_of_are_accepted_where_all_refusals_were_short(refusal_s: float, stream_s: float, known: int) -> None:
    """A program that logs nothing but errors leaves no word where there are none."""
    before = situation([(VM, 60.0 * k, 60.0 * k + (0.1 + refusal_s if k < 12 else 1), int(k < 12)) for k in range(24)], end_s=1440.0)
    after = situation([(VM, 60.0 * k, 60.0 * k + 0.1 + stream_s, -1) for k in range(20)], end_s=1200.0)
    for each in (before, after):
        object.__setattr__(each.requests, "answer_ns", each.requests.start_ns + 100_000_000)
    found = compare(before, after)
    assert (found.after.requests, found.after.refused) == (known, 0)
    assert found.verdict == ("better" if known else "cannot-tell")
    assert any("20 answers after are streams" in note for note in found.notes) is bool(known)
