"""HTTP/2 connections whose records leave doubts: the number of requests where it is next to certain, times within their intervals, or nothing."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from netlens.chains import endings, grammar, streams
from netlens.chains.explained import counting, forward_backward, learning, numbers
from netlens.chains.explained.counting import Counted
from netlens.chains.explained.forward_backward import explain
from netlens.chains.explained.model import Model
from netlens.chains.explained.talks import Talk
from tests.chains.test_endings import alone, ends_hidden, in_bursts, with_fields_apart
from tests.chains.test_streams import MS, OPENED, T0, Said, asked, connection, refused, streamed, together

if TYPE_CHECKING:
    import pytest

Times = list[tuple[int, int]]


def weighed(*conversations: Said, cut: int = 0) -> list[Counted | None]:
    """What is known of each; all of one server. ``cut`` : ms, when the capture ends, if it does before they do."""
    those = [connection(said, cut or 60_000, cut=bool(cut)) for said in conversations]
    return streams.likely(those, streams.learned(those, streams.NOTHING))


def likely(*conversations: Said, cut: int = 0) -> list[list[streams.Stream] | None]:
    """Requests of each whose number is certain, else None."""
    return [each.streams if each is not None and each.exact else None for each in weighed(*conversations, cut=cut)]


def fits(found: list[streams.Stream] | None, truth: Times) -> bool:
    """Whether there are as many requests, and each began and ended within its interval; ms."""
    if found is None or len(found) != len(truth):
        return False
    ended = sorted(found, key=lambda each: each.end_ns)
    begun = all(
        each.sent_ns - each.doubt_ns[0] <= T0 + ms * MS <= each.sent_ns + each.doubt_ns[1]
        for each, ms in zip(found, sorted(begin for begin, _ in truth), strict=True)
    )
    return begun and all(
        each.end_ns - each.doubt_ns[2] <= T0 + ms * MS <= each.end_ns + each.doubt_ns[3]
        for each, ms in zip(ended, sorted(end for _, end in truth), strict=True)
    )


def overlapping(rounds: int = 3) -> tuple[Said, Times]:
    """Two streams at a time, and a refusal beside them."""
    parts, truth = [OPENED], []
    for k in range(rounds):
        t = 5000 * k + 10
        for begin, end in ((t, t + 2000), (t + 500, t + 3000)):
            parts += [asked(begin, 900), streamed(begin + 220, end)]
            truth.append((begin, end))
        parts += [asked(t + 1500, 800), refused(t + 1512)]
        truth.append((t + 1500, t + 1512))
    return ends_hidden(together(*parts)), truth


def test_what_can_be_counted_stays_as_it_was() -> None:
    said, truth = overlapping()
    _, found = likely(alone(), said)
    assert fits(found, truth)
    assert found is not None
    assert all(each.doubt_ns == (0, 0, 0, 0) for each in found)


def test_several_at_a_time_in_bursts_that_may_hold_more_than_one() -> None:
    said, truth = overlapping()
    one = in_bursts(said)
    _, found, merged = likely(
        in_bursts(alone(12)), one, [(ms, 1700 if (ms, size) == (1510, 800) else size) for ms, size in one] + [(1523, -258)]
    )
    assert merged is None or len(merged) == len(truth) + 1
    assert fits(found, truth)
    assert found is not None
    short = [each.end_ns - each.answer_ns < 60 * MS for each in found]
    assert all(
        each.unsure or is_short == (end - begin < 60) for each, is_short, (begin, end) in zip(found, short, sorted(truth), strict=True)
    )


def test_an_end_within_a_piece_is_an_interval() -> None:
    said, truth = overlapping()
    hidden = [(ms, -151 if (ms, size) == (2010, -23) else size) for ms, size in said]
    _, found = likely(alone(6), hidden)
    assert fits(found, truth)
    assert found is not None
    assert any(each.doubt_ns[2] + each.doubt_ns[3] > 0 for each in found)


def test_two_refusals_in_one_record() -> None:
    parts = [
        OPENED,
        asked(10, 900),
        streamed(200, 1000),
        asked(2000, 700),
        asked(2003, 750),
        [(2030, -416)],
        asked(4000, 900),
        streamed(4200, 5000),
    ]
    said = with_fields_apart(ends_hidden(together(*parts)))
    _, found = likely(with_fields_apart(alone(6, 208)), said)
    assert fits(found, [(10, 1000), (2000, 2030), (2003, 2030), (4000, 5000)])


def refusals_at_once(first: int) -> tuple[Said, Times]:
    """Bursts of 4,000 bytes, each refused 15 ms later; the first of them may be several, refused in one record."""
    parts = [OPENED, *([(1000 * k + 10, 4000), (1000 * k + 25, -74)] for k in range(9)), [(9010, 4000 * first), (9025, -74 * first)]]
    return [*together(*parts), (10_010, 4000), (10_025, -74)], [(1000 * k + 10, 1000 * k + 25) for k in [*range(9), *[9] * first, 10]]


def test_several_refusals_in_one_record_are_as_many_requests() -> None:
    for first in (2, 3, 4):
        said, truth = refusals_at_once(first)
        *_, found = likely(in_bursts(alone(8, 74)), *(refusals_at_once(1)[0] for _ in range(4)), said)
        assert found is None or fits(found, truth)
        assert streams.counted(connection(said), streams.learned([connection(said)], streams.NOTHING))[1] is False


def test_heads_of_their_own_show_how_many_requests_one_write_holds() -> None:
    said, truth = [*OPENED], []
    for k in range(8):
        t, many = 3000 * k + 10, 1 + k % 3
        said.append((t, 2000 * many))
        said += together(
            *([(t + 200 + n, -127), *((t + 230 + n + 40 * i, -100 - 7 * i) for i in range(20)), (t + 1400, -9)] for n in range(many))
        )
        truth += [(t, t + 1400)] * many
    one = [*OPENED, *(each for k in range(6) for each in [(3000 * k + 10, 2000), *streamed(3000 * k + 210, 3000 * k + 1400)])]
    *_, found = likely(one, said)
    assert fits(found, truth)


def test_a_long_body_that_waits_for_the_window_is_one_request() -> None:
    said, truth = [*OPENED], []
    for k in range(8):
        t = 3000 * k + 10
        body = [(t, 16384)] * 4 + [(t, 190), (t + 21, -26), (t + 22, 16346), (t + 43, -26), (t + 44, 16346), (t + 44, 2740)]
        said += [*body, (t + 45, -26), *streamed(t + 200, t + 1000)[:-1], (t + 1500, 800), (t + 1515, -258)]
        truth += [(t + 44, t + 1000), (t + 1500, t + 1515)]
    *_, found = likely(in_bursts(alone(8)), said)
    assert fits(found, truth)


def test_nothing_is_explained_by_what_finds_other_numbers_than_were_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = overlapping()
    those = in_bursts(alone(12)), in_bursts(said)
    assert likely(*those)[1] is not None
    monkeypatch.setattr(numbers, "likeliest", lambda found: (1, 1.0, 0))
    counted, other = weighed(*those)
    assert counted is not None
    assert counted.least <= 1  # a write that was taken for one request may be several, so neither number is believed
    assert counted.most >= 24
    assert other is not None
    assert not other.exact
    apart = with_fields_apart(alone(12))
    monkeypatch.setattr(numbers, "likeliest", lambda found: (1, 1.0, 0))
    counted, other = weighed(apart, in_bursts(said))
    assert counted is not None
    assert (counted.least, counted.most) == (24, 24)


def test_a_request_without_a_body_is_not_explained_away() -> None:
    said, truth = overlapping()
    for form in (list, with_fields_apart):
        found = weighed(form(alone(6)), [*form(said), (20_000, 38), (20_010, -80)])[1]
        assert found is not None
        assert found.most > len(truth)
        assert not found.exact or fits(found.streams, [*truth, (20_000, 20_010)])


def test_several_at_a_time_that_are_in_progress_when_the_capture_ends_may_have_ended_before() -> None:
    said, truth = overlapping()
    for cut in (1_200, 11_200):
        begun = [[(ms, size) for ms, size in each if ms < cut] for each in (alone(6), said)]
        *_, found = weighed(*begun, cut=cut)
        assert found is not None
        assert found.least <= sum(begin < cut for begin, _ in truth) <= found.most
        left = [each for each in found.streams if each.end_ns < 0]
        assert all(each.unsure or sum(each.theirs.values()) < 0.95 for each in left)  # of none of these it is sure that it was answered
        assert len(left) == sum(begin < cut <= end for begin, end in truth)
        assert all(each.sent_ns + each.doubt_ns[2] >= T0 + cut * MS for each in left)


def test_a_hole_tells_nothing() -> None:
    said, _ = overlapping()
    assert streams.likely([connection(said, whole=False)], streams.NOTHING) == [None]


def test_what_would_take_long_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = overlapping(6)
    those = in_bursts(alone(12)), in_bursts(said)
    assert likely(*those)[1] is not None
    monkeypatch.setattr(forward_backward, "MOST_WEIGHED", 100)
    assert likely(*those)[1] is None


def test_memory_for_each_record_is_bounded() -> None:
    """What each way through a connection may change is kept, in arrays."""
    each = connection(in_bursts(overlapping(8)[0]))
    assert each.said is not None
    talk = Talk(each.said, each.over_ns, False, {}, grammar.told(each.said))
    model = Model(False)
    tracemalloc.start()
    found = explain(talk, talk.best, model)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None
    states = len(found.walk.ways.states)
    assert used < 400 * states


def test_records_of_one_size_are_several_answers_where_one_alone_is_one() -> None:
    known = endings.Shapes(short=frozenset({4945}), learned=True, whole=True, soon_ns=2848 * MS)
    one = in_bursts([*OPENED, *(each for k in range(8) for each in [(1000 * k + 10, 2900), (1000 * k + 30, -329 - 40 * k)])])
    assert streams.counted(connection(one), known)[1] is True
    several = [*one, (9010, 8759), *[(9040, -329)] * 3]
    assert streams.counted(connection(several), known)[1] is False


def test_nothing_is_learned_where_all_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "learn", None)  # which would be called
    those = in_bursts(alone(12)), in_bursts(alone(14)), in_bursts(alone(16))
    assert all(likely(*those))


def test_what_was_counted_is_compared_as_far_as_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    those: list[Talk] = []
    monkeypatch.setattr(numbers, "explained", lambda talk, model: those.append(talk) or [])
    monkeypatch.setattr(numbers, "LEARN_FROM", 50)
    talks = [Talk(one.said, 0, False, {}, []) for one in map(connection, [in_bursts(alone(12))] * 9) if one.said is not None]
    assert not numbers.disagrees(talks, [12] * 9, Model(False))
    assert 0 < len(those) < 9


def test_the_likeliest_number_is_told_and_there_are_as_many_rows() -> None:
    said: Said = [*OPENED, (10, 2100), (20, 2900), (40, -258), (1000, 2200), (1020, -261)]
    *_, found = weighed(*in_bursts_each(alone(12), said))
    assert found is not None
    assert found.least <= len(found.streams) <= found.most
    assert len(found.further) == found.most - len(found.streams)


def in_bursts_each(*conversations: Said) -> list[Said]:
    return [in_bursts(each) for each in conversations]


def test_learning_begins_again_with_several_requests_in_first_writes_if_that_explains_more(monkeypatch: pytest.MonkeyPatch) -> None:
    each = connection(in_bursts(alone(4)))
    assert each.said is not None
    talk = Talk(each.said, each.over_ns, False, {}, grammar.told(each.said))
    for better, doubtful in ((10.0, True), (1.0, True), (10.0, False)):
        monkeypatch.setattr(
            learning, "_learned", lambda _, m, *_of, at=better, doubt=doubtful: learning.Learned(m, [at if m.begins[0] else 0.0], doubt)
        )
        found = learning.learn([talk], False, [False])
        assert bool(found.begins[0]) == (better > learning.BETTER and doubtful)
    monkeypatch.setattr(learning, "_learned", lambda _, m, *_of: learning.Learned(m, [10.0 if m.begins[0] else 0.0], True))
    monkeypatch.setattr(learning, "AGAIN", 1)
    assert not learning.learn([talk], False, [False]).begins[0]


def test_a_client_whose_requests_show_outweighs_a_server_that_is_misread(monkeypatch: pytest.MonkeyPatch) -> None:
    each = connection(
        [*OPENED, *(part for k in range(5) for part in ((500 * k + 10, 102 if k == 0 else 45), (500 * k + 10, 900), (500 * k + 11, 9)))]
    )
    assert each.said is not None
    talk = Talk(each.said, each.over_ns, False, {}, grammar.told(each.said))
    assert len(talk.best.streams) == 5
    model = Model(False, records=500)
    monkeypatch.setattr(counting, "numbers", lambda found: [{3: 1.0}] + [{}] * (len(found) - 1))
    found = counting.requests(talk._replace(told=talk.told), model, agreed=False)
    assert found is not None
    assert found.least <= 5 <= found.most
