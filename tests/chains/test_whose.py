"""Which request of HTTP/2 each answer is of, where several are in progress; made connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from netlens.chains.explained import whose
from netlens.chains.situation import ACCEPTED, REJECTED
from tests.chains.test_endings import alone, ends_hidden
from tests.chains.test_explained import weighed
from tests.chains.test_streams import MS, OPENED, T0, Said, analysed, asked, refused, streamed, together

if TYPE_CHECKING:
    from pathlib import Path

UPDATE = 13  #: bytes of WINDOW_UPDATE, and of RST_STREAM


def beside(rounds: int = 12, *, shown: bool = True) -> tuple[Said, list[int], list[int]]:
    """A request that waits long for its stream, and one behind it that is refused 12 ms later, before the stream begins; ms of the refusals, and of all
    requests."""
    parts, refusals, begun = [OPENED], [], []
    for k in range(rounds):
        t = 3000 * k + 10
        gap = 60 + 37 * (k % 9)
        parts += [asked(t, 900), asked(t + gap, 900), refused(t + gap + 12), streamed(t + 600 + 11 * (k % 5), t + 1500)]
        refusals.append(t + gap + 12)
        begun += [t, t + gap]
    said = together(*parts)
    return (said if shown else ends_hidden(said)), refusals, begun


@pytest.mark.parametrize("shown", [True, False], ids=["ends show", "ends are hidden"])
def test_a_refusal_is_of_the_request_that_is_as_old_as_others_were(tmp_path: Path, shown: bool) -> None:
    said, refusals, begun = beside(shown=shown)
    found = analysed(
        tmp_path, [said, alone(8)] if not shown else [said], refusals + ([3000 * k + 2025 for k in range(8)] if not shown else [])
    )
    r = found.assembled.situation.requests
    assert found.assembled.situation.uncountable is None
    latest = {T0 + 10**9 + ms * MS for ms in begun[1::2]}  # the capture begins a second later
    mine = np.isin(r.start_ns - r.start_ns.min() + min(latest) - (begun[1] - begun[0]) * MS, list(latest)) if shown else None
    if mine is not None:
        assert (r.rejected[mine] == REJECTED).all()
        assert (r.rejected[~mine][:-1] == ACCEPTED).all()
    assert int((r.rejected == REJECTED).sum()) == len(refusals) + (0 if shown else 8)
    took = (r.end_ns - r.start_ns)[r.rejected == REJECTED] // MS
    assert took.max() <= 15


def test_the_answer_of_either_is_known_where_both_are_refused(tmp_path: Path) -> None:
    """Two requests begin at once and both are refused: whose answer is whose does not matter."""
    parts, refusals = [OPENED], []
    for k in range(10):
        t = 2000 * k + 10
        parts += [asked(t, 900), asked(t, 900), refused(t + 12), refused(t + 15), asked(t + 500, 900), streamed(t + 700, t + 1500)]
        refusals += [t + 12, t + 15]
    found = analysed(tmp_path, [together(*parts)], refusals)
    r = found.assembled.situation.requests
    assert found.assembled.situation.uncountable is None
    assert int((r.rejected == REJECTED).sum()) == 20
    assert int((r.rejected == ACCEPTED).sum()) >= 9


def test_no_short_answer_is_that_of_two() -> None:
    counts = {0: {(5, 5): 0.5, (6, 6): 0.5}, 1: {(5, 5): 0.5, (6, 6): 0.5}, 2: {(7, 9): 0.7, (8, 10): 0.3}}
    looks = {(5, 5): 250, (6, 6): 340, (7, 9): -1, (8, 10): -1}
    one, other, stream = whose.shared(counts, [0, 1, 2], looks.__getitem__)
    assert {one.pair, other.pair} == {(5, 5), (6, 6)}
    assert one.theirs == other.theirs == {(5, 5): 0.5, (6, 6): 0.5}
    assert stream.pair == (7, 9)
    assert stream.theirs == {(7, 9): pytest.approx(1.0)}
    lost, *_ = whose.shared({0: {(5, 5): 0.1}}, [0], looks.__getitem__)
    assert lost.pair is None


def test_one_of_two_requests_owns_a_short_answer_that_either_may_have() -> None:
    either = {(2, 2): 0.5, (4, 5): 0.5}
    looks = {(2, 2): 250, (4, 5): -1}
    found = whose.shared({0: either, 1: either}, [0, 1], looks.__getitem__)
    assert sorted(each.look for each in found) == [-1, 250]
    assert all(each.theirs == {(2, 2): 0.5, (4, 5): 0.5} for each in found)


def test_a_short_answer_that_is_there_is_somebodys() -> None:
    """Long answers beside it are more likely of each request, and in sum nearly one more than there are."""
    every = {(3, 3): 1 / 3, (4, 9): 1 / 3, (5, 8): 1 / 3}
    other = {start: {(12 + start, 20 + start): 1.0, (30, 31): 0.2} for start in (6, 7, 8)}
    looks = {pair: 208 if pair == (3, 3) else -1 for counts in (every, *other.values()) for pair in counts}
    found = whose.shared({0: every, 1: every, 2: every, **other}, [0, 1, 2, 6, 7, 8], looks.__getitem__)
    assert [each.look for each in found].count(208) == 1


def test_ages_are_told_apart_by_the_size_of_an_answer() -> None:
    ages = whose.Ages()
    for k in range(20):
        ages.add(whose.Age("short", 250, 38 * MS + k * MS // 10), 1.0)
        ages.add(whose.Age("short", 420, 300 * MS + 7 * k * MS), 1.0)
    quick, late = (ages.odds(whose.Age("short", 250, ms * MS))[0] for ms in (39, 82))
    assert quick > 20 * late
    quick, late = (ages.odds(whose.Age("short", 420, ms * MS))[0] for ms in (39, 340))
    assert late > quick


def test_short_answers_are_learned_by_the_server_that_resets_the_stream_behind_them() -> None:
    """nginx refuses by the head of a request, and does not read its body: RST_STREAM follows (RFC 9113 8.1). Refusals come beside streams all the time."""
    parts, truth = [OPENED], []
    for k in range(10):
        t = 3000 * k + 10
        parts += [asked(t, 900), streamed(t + 300, t + 2500)]
        truth.append((t, t + 2500))
        for begin in (t + 400, t + 900, t + 1300, t + 1900):
            parts += [asked(begin, 900), [(begin + 18, -223), (begin + 18, -UPDATE)]]
            truth.append((begin, begin + 18))
    found = weighed(together(*parts))[0]
    assert found is not None
    assert found.least <= len(truth) <= found.most
    short = sorted((each.end_ns - T0) // MS for each in found.streams if 0 <= each.end_ns - each.sent_ns < 60 * MS)
    assert sum(end in short for begin, end in truth if end - begin == 18) >= 38


def test_work_is_bounded_where_many_are_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten requests wait at a time, of which any may be refused, or several: what is weighed ends where the budget does, and what is left is unsure."""
    parts = [OPENED]
    for k in range(6):
        t = 3000 * k + 10
        parts += [asked(t + 3 * j, 900) for j in range(10)]
        parts += [refused(t + 60 + 7 * j) if j % 3 else streamed(t + 300 + 11 * j, t + 1500 + 40 * j) for j in range(10)]
    said = ends_hidden(together(*parts))
    work: list[int] = []
    edges = whose._edges

    def counted(*those: Any) -> Any:
        out = edges(*those)
        work.append(len(out[0]))
        return out

    monkeypatch.setattr(whose, "_edges", counted)
    whole = weighed(said)[0]
    assert whole is not None
    assert sum(work) <= 150 * len(work)  # 337, were those made that will not be kept
    before, most = sum(work), 2000
    work.clear()
    monkeypatch.setattr(whose, "MOST_WEIGHED", most, raising=False)
    monkeypatch.setattr(whose, "FOR_A_ROUND", most, raising=False)
    found = weighed(said)[0]
    assert found is not None
    assert sum(work) <= (whose.ROUNDS + 1) * (most + 1000) < before
    assert (found.least, found.most) == (whole.least, whole.most)
    assert sum(each.unsure for each in found.streams) > sum(each.unsure for each in whole.streams)


def test_a_label_is_that_of_the_answer_where_requests_began_at_one_moment(tmp_path: Path) -> None:
    """Two requests begin within 2 ms, and either may be refused some ms later, while the other one waits for its stream: age does not tell which."""
    parts, refusals = [OPENED], []
    for k in range(16):
        t, refused_at = 3000 * k + 10, 3000 * k + 10 + (17, 12, 14, 19)[k % 4]
        parts += [asked(t, 900), asked(t + 2, 900), refused(refused_at), streamed(t + 600 + 11 * (k % 5), t + 1500)]
        refusals.append(refused_at)
    r = analysed(tmp_path, [together(*parts)], refusals).assembled.situation.requests
    short = r.end_ns - r.start_ns < 50 * MS
    assert (r.rejected[short] == REJECTED).all()
    assert int(short.sum()) == 16
    assert not (r.rejected[~short] == REJECTED).any()
    assert int((r.rejected[~short] == ACCEPTED).sum()) >= 15


def test_refusals_beside_streams_all_the_time_are_no_heads_of_streams() -> None:
    """Streams follow each other without a pause, and most requests are refused beside them at once: nothing shows where an answer ends."""
    parts, truth = [OPENED], []
    for lane in range(2):
        for k in range(4):
            begin = 3000 * k + 1500 * lane + 10
            parts += [asked(begin, 900), streamed(begin + 400 + 17 * k, begin + 3040)]
            truth.append((begin, begin + 3040))
    for k in range(40):
        begin = 333 + 290 * k + 7 * (k % 5)
        parts += [asked(begin, 900), refused(begin + 1, 161)]
        truth.append((begin, begin + 1))
    found = weighed(ends_hidden(together(*parts)))[0]
    assert found is not None
    assert found.least <= len(truth) <= found.most
    ended = {(each.end_ns - T0) // MS for each in found.streams if 0 <= each.end_ns - each.sent_ns <= 5 * MS}
    assert len(ended & {end for begin, end in truth if end - begin == 1}) >= 38
