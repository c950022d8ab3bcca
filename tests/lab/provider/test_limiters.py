"""The provider's limits, without clock or socket."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from netlens.lab.provider.admission import Admission
from netlens.lab.provider.limiters import Held, Request, kinds, queue, quota, rate, volume
from netlens.lab.provider.limiters.concurrency import Settings as Concurrency
from netlens.lab.provider.limiters.overload import Settings as Overload


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


def sent(kind: Any, settings: Any, requests: list[Request]) -> list[bool]:
    """Whether each is accepted, one after the other."""
    held = Held()
    for request in requests:
        held.sent.append((request, not kind.decide(settings, request, held)))
    return [accepted for _, accepted in held.sent]


def at(*seconds: float, sizes: tuple[int, ...] = (), key: str = "k") -> list[Request]:
    return [Request(n, n, "a", key, s, size=sizes[n] if sizes else 0) for n, s in enumerate(seconds)]


@pytest.mark.parametrize(
    ("settings", "seconds", "accepted"),
    [
        (rate.Settings(2, 10), (1, 2, 3, 11.5, 11.6), (True, True, False, True, False)),
        (rate.Settings(2, 10, "fixed"), (8, 9, 9.5, 10.5, 11, 12), (True, True, False, True, True, False)),
        (rate.Settings(2, 10, attempts=True), (1, 2, 3, 11.5, 12.5), (True, True, False, False, False)),
        (rate.Settings(2, 10, "bucket"), (1, 2, 3, 10, 13, 40, 41, 42), (True, True, False, False, True, True, True, False)),
    ],
)
def test_rates_over_time(settings: rate.Settings, seconds: tuple[float, ...], accepted: tuple[bool, ...]) -> None:
    assert tuple(sent(rate, settings, at(*seconds))) == accepted


def test_a_rate_is_of_one_key() -> None:
    assert sent(rate, rate.Settings(1, 10), at(1) + at(2, key="other")) == [True, True]


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        (volume.Settings(100, 10), (True, False, True, False, False)),
        (volume.Settings(100, 10, own=False), (True, True, False, False, True)),
        (volume.Settings(100, 10, "fixed"), (True, False, True, False, True)),
    ],
)
def test_bytes_over_time(settings: volume.Settings, accepted: tuple[bool, ...]) -> None:
    assert tuple(sent(volume, settings, at(1, 2, 3, 4, 12.5, sizes=(60, 50, 40, 1, 90)))) == accepted


def test_a_quota_is_used_up_until_its_reset() -> None:
    assert sent(quota, quota.Settings(2, 10), at(1, 2, 3, 12.9, 13.1, 14, 15)) == [True, True, False, False, True, True, False]


def test_places_given_back_late_limits_that_change_and_models() -> None:
    late = Admission({"concurrency": Concurrency("requests", "key", 1, held_s=3.0)})
    assert late.ask(1, 1, "a", "k", 0).refused is None
    late.done(1, 5.0)
    assert late.ask(2, 2, "a", "k", 7.9).refused == "concurrency"
    assert late.ask(3, 3, "a", "k", 8.1).refused is None
    shrinking = Concurrency("requests", "key", 3, changes=[(10, 2), (20, 1)])
    assert [shrinking.limit_for(each) for each in at(9, 10, 25)] == [3, 2, 1]
    models = Admission({"concurrency": Concurrency("requests", "key", 2, models={"small": 1})})
    asked = [models.ask(n, n, "a", "k", 0, model=model).refused for n, model in enumerate(("large", "small", "small", "large", "large"))]
    assert asked == [None, None, "concurrency", None, "concurrency"]


def test_a_queue_serves_in_order_and_refuses_nothing() -> None:
    admission = Admission({"queue": queue.Settings(1)})
    admission.ask(1, 1, "a", "k", 0)
    served: list[int] = []
    waiting = []
    for number in (2, 3):
        thread = threading.Thread(target=lambda n=number: (admission.ask(n, n, "a", "k", 0), served.append(n)))
        thread.start()
        while len(admission._line) < number - 1:
            thread.join(0.001)
        waiting.append(thread)
    assert served == []
    for number in (1, 2, 3):
        admission.done(number)
        if number < 3:
            waiting[number - 1].join()
            assert served == list(range(2, number + 2))


def test_what_was_sent_alone_is_told() -> None:
    admission = Admission({"rate": rate.Settings(2, 10)})
    sides = ("vm", "host", "vm", "vm")
    decisions = [admission.ask(n, n, "a", "k", n, side=side) for n, side in enumerate(sides)]
    assert [(d.refused, d.alone) for d in decisions] == [(None, None), (None, None), ("rate", False), ("rate", False)]


@pytest.mark.parametrize(
    "wrong",
    [(rate.Settings, (0, 1)), (rate.Settings, (1, 0)), (rate.Settings, (1, 1, "leap")), (volume.Settings, (0, 1)), (quota.Settings, (0,)),
     (queue.Settings, (0,)), (queue.Settings, (1, "person"))],
)  # fmt: skip
def test_limits_over_time_that_make_no_sense_are_refused(wrong: tuple[Any, tuple[Any, ...]]) -> None:
    kind, values = wrong
    with pytest.raises(ValueError, match=r"refuses everything|sliding|serves nobody|per ip or key"):
        kind(*values)
