"""What others held when a request came: by hand, and against counting one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.chains.situation import COMPANION, LOOKUPS, REJECTED, REQUESTS, UNKNOWN, Situation
from netlens.lenses.refused import counting
from netlens.lenses.refused.counting import RULES, Adjustment, Rule, others
from tests.lenses.refused.made import situation

REQ_SIDE, REQ_EGRESS, CON_SIDE, CON_EGRESS = RULES


def test_rules_are_in_order_of_preference() -> None:
    assert [r.name for r in RULES] == [
        "requests per side",
        "requests per egress address",
        "connections per side",
        "connections per egress address",
    ]


def test_a_request_meets_those_in_flight_but_not_itself() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("vm", 1, 2, 3, 0), ("host", 2, 2.5, 6, 0), ("vm", 3, 4, 7, 1)])
    assert others(s, REQ_EGRESS).count.tolist() == [0, 1, 2, 2]
    assert others(s, REQ_SIDE).count.tolist() == [0, 1, 0, 1]
    assert others(s, REQ_EGRESS, Adjustment(others_side=True)).count.tolist() == [0, 1, 0, 1]


def test_a_refused_request_holds_no_place_and_ends_come_before_starts() -> None:
    s = situation([("vm", 0, 1, 5, 1), ("vm", 1, 2, 3, 0), ("vm", 2, 3, 4, 0)])
    assert others(s, REQ_SIDE).count.tolist() == [0, 0, 0]
    assert others(s, CON_SIDE).count.tolist() == [0, 1, 2]  # the refused one's connection is open all the same


def test_connections_count_idle_ones_and_not_the_own() -> None:
    s = situation([("vm", 0, 1, 2, 0), ("vm", 1, 5, 6, 0), ("vm", 0, 7, 8, 0)], [("vm", 0.5, 9), ("vm", 4.5, 6.5)])
    assert others(s, CON_SIDE).count.tolist() == [0, 1, 0]
    assert others(s, REQ_SIDE).count.tolist() == [0, 0, 0]
    # without leftovers the idle connection is gone between its two requests
    assert others(s, CON_SIDE, Adjustment(leftovers=True)).count.tolist() == [0, 0, 0]


def test_leftovers_of_requests_are_cut_where_the_program_was_done() -> None:
    s = situation([("vm", 0, 1, 9, 0), ("vm", 1, 5, 6, 1)], done={0: 2})
    assert others(s, REQ_SIDE).count.tolist() == [0, 1]
    assert others(s, REQ_SIDE, Adjustment(leftovers=True)).count.tolist() == [0, 0]


def test_what_a_reset_ended_may_have_been_counted_a_moment_longer() -> None:
    """The real opencode behind sshuttle 1.3: the tunnel's reset reached the provider 4 to 43 ms before a request that it still refused."""
    made = situation([("vm", 0, 1, 5, 0), ("vm", 1, 5.04, 5.05, 1), ("vm", 2, 5.6, 7, 0)])
    s = replace(made, requests=replace(made.requests, broken_off=np.array([True, False, False])))
    met = others(s, REQ_SIDE)
    assert (met.low.tolist(), met.count.tolist(), met.high.tolist()) == ([0, 0, 0], [0, 0, 0], [0, 1, 0])
    assert others(s, REQ_SIDE, Adjustment(leftovers=True)).high.tolist() == [0, 0, 0]
    assert others(made, REQ_SIDE).high.tolist() == [0, 0, 0]


def test_companions_and_lookups_are_taken_away_each_by_its_own_adjustment() -> None:
    s = situation([("vm", 0, 2, 3, 0)], [("vm", 1, 4), ("vm", 1.1, 4), ("vm", 0.5, 9), ("host", 0, 9)], kind={1: COMPANION, 2: LOOKUPS})
    assert others(s, CON_EGRESS).count.tolist() == [3]
    assert others(s, CON_EGRESS, Adjustment(companions=True)).count.tolist() == [2]
    assert others(s, CON_EGRESS, Adjustment(lookups=True)).count.tolist() == [2]
    assert others(s, CON_EGRESS, Adjustment(leftovers=True)).count.tolist() == [3]
    assert others(s, CON_EGRESS, Adjustment(others_side=True)).count.tolist() == [2]


def test_streams_of_one_connection_count_for_each_other() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("vm", 0, 2, 6, 0), ("vm", 0, 3, 4, 1)], stream={0: 1, 1: 3, 2: 5})
    assert others(s, REQ_SIDE).count.tolist() == [0, 1, 2]
    assert others(s, CON_SIDE).count.tolist() == [0, 0, 0]


def test_turns_of_one_connection_never_count_for_each_other() -> None:
    s = situation([("vm", 0, 1, 2, 0), ("vm", 0, 2.0005, 4, 0)], uncertain_ns=2_000_000)
    counts = others(s, REQ_SIDE)
    assert counts.count.tolist() == counts.low.tolist() == counts.high.tolist() == [0, 0]


def test_what_begins_or_ends_near_the_time_is_uncertain() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("vm", 1, 1.001, 5, 0), ("vm", 2, 4.9985, 6, 0), ("vm", 3, 5.5, 6, 0)], uncertain_ns=2_000_000)
    counts = others(s, REQ_SIDE)
    assert counts.count.tolist() == [0, 1, 2, 1]
    assert counts.low.tolist() == [0, 0, 0, 1]
    assert counts.high.tolist() == [1, 1, 2, 1]


FAR = 200_000_000  # a round trip
OTHERS = Adjustment(others_side=True)


def bounds(s: Situation, rule: Rule = REQ_SIDE, adjustment: Adjustment = OTHERS) -> list[tuple[int, int]]:
    counts = others(s, rule, adjustment)
    return list(zip(counts.low.tolist(), counts.high.tolist(), strict=True))


def test_an_answer_that_was_seen_to_end_is_over_when_a_later_request_arrives() -> None:
    """Half a round trip lies between the provider and what was seen of each."""
    ended = situation([("vm", 0, 1, 5, 0), ("vm", 1, 5.05, 8, 0)], uncertain_ns=FAR)
    ends_behind = situation([("vm", 0, 1, 5, 0), ("vm", 1, 4.95, 8, 0)], uncertain_ns=FAR)
    assert bounds(ended)[1] == (0, 0)
    assert bounds(ends_behind)[1] == (0, 1)
    assert bounds(replace(ended, egress_seen=False))[1] == (0, 1)
    assert bounds(ended, adjustment=counting.AS_SEEN)[1] == (0, 1)  # rules are fitted with all that may be uncertain


def test_requests_arrive_in_the_order_in_which_they_were_sent_unless_near() -> None:
    apart = situation([("vm", 0, 1, 5, 0), ("vm", 1, 1.05, 5, 0)], uncertain_ns=FAR)
    near = situation([("vm", 0, 1, 5, 0), ("vm", 1, 1.02, 5, 0)], uncertain_ns=FAR)
    assert bounds(apart) == [(0, 0), (1, 1)]
    assert bounds(near) == [(0, 1), (0, 1)]


def test_a_connection_counts_when_its_handshake_is_over() -> None:
    s = situation([("vm", 0, 1.15, 5, 0), ("vm", 1, 2, 5, 0)], [("vm", 1, 6), ("vm", 1.1, 6)], uncertain_ns=FAR)
    assert bounds(s, CON_SIDE) == [(0, 1), (1, 1)]


def test_when_the_program_was_done_is_seen_by_another_clock() -> None:
    s = situation([("vm", 0, 1, 9, 0), ("vm", 1, 5, 8, 0)], done={0: 4.9}, uncertain_ns=FAR)
    assert bounds(s, adjustment=Adjustment(leftovers=True))[1] == (0, 1)
    assert bounds(s)[1] == (1, 1)


def test_a_session_of_unknown_side_may_belong_to_either() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("?", 1, 2, 6, 0), ("host", 2, 3, 4, 0)])
    counts = others(s, REQ_SIDE)
    assert (counts.count.tolist(), counts.low.tolist(), counts.high.tolist()) == ([0, 0, 0], [0, 0, 0], [0, 1, 1])
    assert others(s, REQ_EGRESS).count.tolist() == [0, 1, 2]


def test_peaks() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("vm", 1, 2, 3, 0), ("host", 2, 2.5, 6, 0)])
    assert counting.peaks(s)["requests"] == {"vm": 2, "host": 1, "combined": 3}
    assert counting.peaks(situation([]))["connections"] == {"vm": 0, "host": 0, "combined": 0}


def one_by_one(s: Situation, rule: Rule, adjustment: Adjustment) -> list[int]:
    """The definition, read aloud; stretches of use as DESIGN has them: until the answer, or until the program closes."""
    r, c = s.requests, s.sessions
    out = []
    for i in range(len(r)):
        t, n = r.start_ns[i], 0
        mine = lambda side: side == r.side[i] != UNKNOWN or (rule.scope == "egress" and not adjustment.others_side)  # noqa: B023, E731
        if rule.unit == "requests":
            for j in range(len(r)):
                end = r.done_ns[j] if adjustment.leftovers else r.end_ns[j]
                n += bool(
                    j != i and r.rejected[j] != REJECTED and mine(r.side[j]) and r.start_ns[j] <= t < max(end, r.start_ns[j] + 1)
                    and (r.session[j] != r.session[i] or r.stream[i] >= 0)
                )  # fmt: skip
        else:
            for k in range(len(c)):
                if k == r.session[i] or not mine(c.side[k]):
                    continue
                if (adjustment.companions and c.kind[k] == COMPANION) or (adjustment.lookups and c.kind[k] == LOOKUPS):
                    continue
                spans = [(c.start_ns[k], c.end_ns[k])]
                if adjustment.leftovers and c.kind[k] != LOOKUPS:
                    on = [j for j in range(len(r)) if r.session[j] == k] if c.kind[k] == REQUESTS else []
                    spans = [(r.start_ns[j], r.done_ns[j]) for j in on] or [(c.start_ns[k], c.done_ns[k])]
                    if on:
                        spans.append((min(c.start_ns[k], r.start_ns[on[0]]), r.done_ns[on[0]]))
                n += any(a <= t < max(b, a + 1) for a, b in spans)
        out.append(int(n))
    return out


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    m = draw(st.integers(1, 5))
    sessions, kind, left = [], {}, {}
    for k in range(m):
        start = draw(st.integers(0, 20))
        length = draw(st.integers(1, 20))
        sessions.append((draw(st.sampled_from(["vm", "host", "?"])), float(start), float(start + length)))
        left[k] = float(start + draw(st.integers(0, length)))
        if draw(st.booleans()):
            kind[k] = draw(st.sampled_from([COMPANION, LOOKUPS]))
    carriers = [k for k in range(m) if k not in kind] or [0]
    kind.pop(carriers[0], None)
    requests, done = [], {}
    for k in carriers:
        side, start, end = sessions[k]
        times = sorted(set(draw(st.lists(st.integers(int(start), int(end)), max_size=4))))
        for a, b in zip(times[::2], times[1::2], strict=False):  # turns of one session do not overlap
            requests.append((side, k, float(a), float(b), draw(st.sampled_from([-1, 0, 1]))))
    requests.sort(key=lambda r: r[2])
    for i, r in enumerate(requests):
        done[i] = float(draw(st.integers(int(r[2]), int(r[3]))))
    return situation(requests, sessions, done=done, session_done=left, kind=kind)


@given(situations(), st.sampled_from(RULES), st.builds(Adjustment, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
def test_counts_are_those_of_the_definition(s: Situation, rule: Rule, adjustment: Adjustment) -> None:
    counts = others(s, rule, adjustment)
    assert counts.count.tolist() == one_by_one(s, rule, adjustment)
    assert (counts.low <= counts.count).all()
    assert (counts.count <= counts.high).all()


@pytest.mark.parametrize("rule", RULES)
def test_nothing_to_count(rule: Rule) -> None:
    assert len(others(situation([]), rule).count) == 0


def test_what_may_have_ended_earlier_or_begun_later_is_between_low_and_high() -> None:
    made = situation([("vm", 0, 1, 9, 0), ("vm", 1, 4, 5, 0), ("vm", 2, 7, 8, 0)])

    def doubted(*of_first_s: int) -> Situation:
        doubt = np.zeros((3, 4), np.int64)
        doubt[0] = np.array(of_first_s) * 10**9
        return replace(made, requests=replace(made.requests, doubt_ns=doubt))

    assert others(made, REQ_SIDE).low.tolist() == [0, 1, 1]
    for each, low, high in (
        (doubted(0, 0, 3, 0), [0, 1, 0], [0, 1, 1]),
        (doubted(0, 4, 0, 0), [0, 0, 1], [0, 1, 1]),
        (doubted(0, 0, 0, 9), [0, 1, 1], [0, 1, 1]),
    ):
        met = others(each, REQ_SIDE)
        assert met.count.tolist() == [0, 1, 1]
        assert (met.low.tolist(), met.high.tolist()) == (low, high)
    ended = situation([("vm", 0, 1, 3, 0), ("vm", 1, 4, 5, 0)])
    later = replace(ended, requests=replace(ended.requests, doubt_ns=np.array([[0, 0, 0, 2 * 10**9], [0, 0, 0, 0]])))
    assert (others(ended, REQ_SIDE).high.tolist(), others(later, REQ_SIDE).high.tolist()) == ([0, 0], [0, 1])
