"""Lines of a log, one refusal each."""

from __future__ import annotations

from netlens.watch.peaks import SECOND
from netlens.watch.refusals import Answer, Inference, Log

LLM = 'ERROR 2026-01-25T16:33:41 +58ms service=llm code=1302 status=429 "High concurrency"'
SESSION = 'ERROR 2026-01-25T16:33:41 +1ms service=session code=1302 "High concurrency"'


def test_a_line_is_a_refusal_with_its_code() -> None:
    found = Log("vm").line(LLM, 5 * SECOND)
    assert found is not None
    assert (found.time_ns, found.side, found.source, found.code) == (5 * SECOND, "vm", "error log", "1302")


def test_the_second_line_of_one_refusal_is_an_echo() -> None:
    log = Log("vm")
    assert log.line(LLM, SECOND) is not None
    assert log.line(SESSION, SECOND + 1_000_000) is None
    assert log.line(LLM, SECOND + 2_000_000) is not None  # another request
    assert log.line(SESSION, 3 * SECOND) is not None  # too late for an echo


def answer(session: int, start_s: float, down: int, lasts_s: float, complete: bool = True) -> Answer:
    start = int(start_s * SECOND)
    return Answer(
        session, start, start, start + 10_000_000, start + 10_000_000 + int(lasts_s * SECOND), 900, down, 0, complete, None, None, False, "vm", "a"
    )  # fmt: skip


def test_inference_tells_each_once() -> None:
    inference = Inference()
    rows = []
    for i in range(4):
        rows += [answer(i, 10 * i, 420, 0.0), answer(i, 10 * i + 3, 50_000, 2.0)]
    inference.add(rows[:2])
    assert inference.new() == []  # one chain may be chance
    inference.add(rows)
    assert len(inference.new()) == 4
    inference.add(rows)
    assert inference.new() == []


def test_inference_is_bounded() -> None:
    from netlens.watch.refusals import KEPT

    inference = Inference()
    inference.add(answer(i, i, 420, 0.0) for i in range(KEPT + 100))
    assert len(inference.answers) == KEPT
