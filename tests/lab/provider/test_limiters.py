"""The provider's limits, without clock or socket."""

from __future__ import annotations

import pytest

from netlens.lab.provider.admission import Admission
from netlens.lab.provider.limiters import kinds
from netlens.lab.provider.limiters.concurrency import Concurrency
from netlens.lab.provider.limiters.overload import Overload
from netlens.lab.provider.limiters.quota import Quota
from netlens.lab.provider.limiters.rate import Rate


def test_requests_per_ip_counts_what_others_hold() -> None:
    admission = Admission({"concurrency": Concurrency("requests", "ip", 2)})
    assert admission.ask(1, 1, "a", "k1", 0).refused is None
    assert admission.ask(2, 2, "a", "k2", 0).refused is None
    third = admission.ask(3, 3, "a", "k3", 0)
    assert (third.refused, third.others) == ("concurrency", (1, 2))
    assert admission.ask(4, 4, "b", "k1", 0).refused is None, "another address has a count of its own"


def test_a_refused_request_holds_no_place() -> None:
    admission = Admission({"concurrency": Concurrency("requests", "ip", 1)})
    admission.ask(1, 1, "a", "k", 0)
    assert admission.ask(2, 2, "a", "k", 0).refused == "concurrency"
    admission.done(1)
    admission.done(2)
    assert admission.ask(3, 3, "a", "k", 0) == admission.ask(4, 4, "b", "k", 0), "nothing is held any more"
    assert admission.held()[0] == 2


def test_requests_per_key_do_not_care_for_the_address() -> None:
    admission = Admission({"concurrency": Concurrency("requests", "key", 1)})
    assert admission.ask(1, 1, "a", "k1", 0).refused is None
    assert admission.ask(2, 2, "a", "k2", 0).refused is None
    assert admission.ask(3, 3, "b", "k1", 0).refused == "concurrency"


def test_the_connection_that_carries_a_request_is_not_among_the_others() -> None:
    admission = Admission({"concurrency": Concurrency("connections", "ip", 2)})
    assert [admission.opened(number, "a") for number in (1, 2, 3)] == [1, 2, 3]
    assert admission.opened(4, "b") == 1
    refused = admission.ask(1, 1, "a", "k", 0)
    assert (refused.refused, refused.others) == ("concurrency", (2, 3))
    admission.closed(2)
    assert admission.ask(2, 1, "a", "k", 0).refused is None


def test_overload_is_drawn_once_for_each_request_and_seeded() -> None:
    limits = {"overload": Overload(0.5)}
    runs = [[Admission(limits, seed).ask(n, n, "a", "k", 0).refused for n in range(1)] for seed in (1, 1)]
    assert runs[0] == runs[1]
    one, other = Admission(limits, 7), Admission(limits, 7)
    first = [one.ask(n, n, "a", "k", 0).refused for n in range(200)]
    assert first == [other.ask(n, n, "b", "j", 0).refused for n in range(200)]
    assert 60 < first.count("overload") < 140


def test_bursts_come_at_the_end_of_each_period() -> None:
    burst = Overload(1.0, every_s=10, lasts_s=3)
    assert [burst.now(second) for second in (0, 6.9, 7, 9.9, 10, 17)] == [False, False, True, True, False, True]


@pytest.mark.parametrize("wrong", [("packets", "ip", 1), ("requests", "person", 1), ("requests", "ip", 0), ("connections", "key", 2)])
def test_rules_that_make_no_sense_are_refused(wrong: tuple[str, str, int]) -> None:
    with pytest.raises(ValueError, match=r"rule|limit|key"):
        Concurrency(*wrong)


def test_each_kind_is_a_file() -> None:
    assert {"concurrency", "overload"} <= set(kinds())


def refused(limit: Rate | Quota, *seconds: float) -> list[float]:
    """Times of the requests that are refused, of one key, each answered at once."""
    admission = Admission({"rate" if isinstance(limit, Rate) else "quota": limit})
    out = []
    for number, at in enumerate(seconds):
        if admission.ask(number, number, "a", "k", at).refused:
            out.append(at)
        admission.done(number)
    return out


def test_a_rate_counts_what_was_accepted_in_its_window() -> None:
    assert refused(Rate("key", 2, 10.0), 1, 2, 3, 10.5, 11.5, 12.5) == [3, 10.5]
    assert refused(Rate("key", 2, 10.0, "fixed"), 1, 9, 9.5, 10.5, 11, 12) == [9.5, 12], "it begins anew at multiples of the window"
    assert refused(Rate("key", 3, 2.0, "bucket"), 1, 1.1, 1.2, 1.3, 3.3, 3.4, 20, 20.1, 20.2, 20.3) == [1.3, 3.4, 20.3], (
        "a token in 2 s, three at most"
    )


def test_a_quota_refuses_everything_until_its_reset() -> None:
    assert refused(Quota("key", 2, 60.0), 1, 2, 3, 59, 60, 61, 62) == [3, 59, 62]
    assert refused(Quota("key", 1), 1, 2, 300) == [2, 300]
