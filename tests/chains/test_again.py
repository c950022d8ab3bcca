"""Requests that a relay sends again while the first is in progress."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from netlens.chains.again import sent_again
from netlens.schema import Table
from tests.chains.test_relays import table

RELAY, API = 0, 1  #: sessions; those upstream have one each
MORE = 22  #: bytes that TLS adds


def side(asked: list[tuple[float, float, int]], sent: list[tuple[float, float, int]], other: int | None = None) -> SimpleNamespace:
    """A machine with a relay: (start, duration, size) of what it was asked and of what it sent, in s. ``other``: which of the latter has another
    ClientHello."""
    made = table([(1e3 * start, 1e3 * (start + lasts), size) for start, lasts, size in (*asked, *sent)])
    sessions = [RELAY] * len(asked) + [API + k for k in range(len(sent))]
    every = Table(made.schema, {**made.columns, "session_id": np.array(sessions)})
    ends = [("127.0.0.1", 15001)] + [("203.0.113.10", 443)] * len(sent)
    return SimpleNamespace(
        capture=SimpleNamespace(table=lambda _: every),
        exchanges=every.take(np.arange(len(asked), len(asked) + len(sent))),
        owner=np.arange(len(sent)),
        connections={"orig_ip": np.array(["192.168.64.2"] * len(sent), object)},
        ja4={k: int(k == other) for k in range(len(sent))},
        sessions=SimpleNamespace(tuples=lambda *_: ends),
    )


def hedged(n: int = 12) -> tuple[list[tuple[float, float, int]], list[tuple[float, float, int]]]:
    """Every second request is sent again after 0.7 s."""
    asked = [(3.0 * k, 2.0, 1000 + 7 * k) for k in range(n)]
    sent = [(start + 0.01, 1.9, size + MORE) for start, _, size in asked]
    return asked, sent + [(start + 0.7, 1.9, size) for start, _, size in sent[::2]]


def test_what_a_relay_sends_again_is_its_own() -> None:
    asked, sent = hedged()
    found = sent_again(side(asked, sent), {k: k for k in range(12)})
    assert found.copies.tolist() == [False] * 12 + [True] * 6
    assert found.asked == {12 + k: 2 * k for k in range(6)}


def test_the_first_is_the_programs_whichever_was_matched() -> None:
    asked, sent = hedged()
    matched = {k: k for k in range(12) if k % 2} | {12 + k: 2 * k for k in range(6)}
    assert sent_again(side(asked, sent), matched).copies.tolist() == [False] * 12 + [True] * 6


def test_other_sizes_times_and_programs_are_not_the_same_request() -> None:
    asked, sent = hedged()
    matched = {k: k for k in range(12)}
    longer = [(start, lasts, size + 1) for start, lasts, size in sent[12:]]
    later = [(start + 2.5, lasts, size) for start, lasts, size in sent[12:]]
    for others in (longer, later, sent[12:14], []):
        assert not sent_again(side(asked, sent[:12] + others), matched).copies.any()
    assert sent_again(side(asked, sent, other=12), matched).copies.sum() == 5
    assert not sent_again(side(asked, sent), {}).copies.any()


def test_sizes_that_all_share_tell_nothing() -> None:
    asked = [(0.5 * k, 30.0, 1000) for k in range(12)]
    sent = [(start + 0.01, 29.0, 1000 + MORE) for start, _, _ in asked] + [(20.0 + k, 1.0, 1000 + MORE) for k in range(6)]
    assert not sent_again(side(asked, sent), {k: k for k in range(12)}).copies.any()
