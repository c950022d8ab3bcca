"""Lines of a log, one refusal each."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netlens.watch.monitor import Monitor
from netlens.watch.peaks import SECOND
from netlens.watch.refusals import Answer, Inference, Log
from netlens.watch.replay import Replay
from netlens.watch.state import Watched

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


#: As the recorder keeps them of opencode 1.18; the last line follows the last of five retries, and says that it gives up.
GIVES_UP = """\
timestamp=2026-11-26T18:40:11.263Z level=ERROR run=d2b27c42 session.id=ses_d42abc6e small=false "quota exceeded" AI_APICallError "stream error"
timestamp=2026-11-26T18:40:43.931Z level=ERROR run=d2b27c42 session.id=ses_d42abc6e small=false "quota exceeded" AI_APICallError "stream error"
timestamp=2026-11-26T18:40:43.935Z level=ERROR "quota exceeded" AI_APICallError
"""


def test_giving_up_is_no_refusal_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "vm-errors.log").write_text(GIVES_UP)
    played = Replay({}, Monitor({}), 0, threading.Event(), {"vm": str(tmp_path / "vm-errors.log")})
    assert len(played.refusals) == 2
    live = Log("vm")
    found = [live.line(text, SECOND * (10 * k if k < 2 else 10)) for k, text in enumerate(GIVES_UP.splitlines())]
    assert [each is not None for each in found] == [True, True, False]


def answer(session: int, start_s: float, down: int, lasts_s: float, complete: bool = True) -> Answer:
    """To a request of a size of its session's own, which is sent again where that is refused."""
    start, up = int(start_s * SECOND), 900 + 40 * session
    return Answer(
        session, start, start, start + 10_000_000, start + 10_000_000 + int(lasts_s * SECOND), up, down, 0, complete, None, None, False, "vm", "a"
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


@pytest.mark.parametrize("lines", [0, 2, 100])
def test_what_the_traffic_shows_beyond_the_logs_is_told(captures: Path, tmp_path: Path, lines: int) -> None:
    """As of a second program, which writes no log: the log of the VM tells of the first few."""
    there = captures / "same-nat-ip-nat"
    refused = sum(json.loads(line).get("refused") is not None for line in (there / "provider.jsonl").read_text().splitlines())
    rows = (there / "vm-errors.log").read_text().splitlines(keepends=True)
    errors = [k for k, row in enumerate(rows) if "ERROR" in row]
    (tmp_path / "vm.log").write_text("".join(row for k, row in enumerate(rows) if k not in errors[lines:]))
    watched = {"host": Watched("host", ("api.z.ai",))}
    monitor = Monitor(watched, logged=("vm",))  # type: ignore[arg-type]
    replay = Replay({"host": (str(there / "host.pcap.gz"),)}, monitor, 0, threading.Event(), {"vm": str(tmp_path / "vm.log")})
    for times in replay.run():
        monitor.snapshot(times)
    last = monitor.snapshot(times, final=True)
    assert last.refused == min(lines, len(errors))
    assert last.refused + last.inferred == refused


def test_times_without_a_date_are_of_the_days_of_the_capture(captures: Path, tmp_path: Path) -> None:
    there = captures / "same-nat-ip-nat"
    rows = [row for row in (there / "vm-errors.log").read_text().splitlines() if "ERROR" in row]
    times = [re.search(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d\.\d{3})", row) for row in rows]
    (tmp_path / "vm.log").write_text("".join(f"{each[2]} ERROR High concurrency usage of this API\n" for each in times if each))
    monitor = Monitor({"host": Watched("host", ("api.z.ai",))}, logged=("vm",))  # type: ignore[arg-type]
    replay = Replay({"host": (str(there / "host.pcap.gz"),)}, monitor, 0, threading.Event(), {"vm": str(tmp_path / "vm.log")})
    days = {datetime.fromtimestamp(found.time_ns / 1e9, UTC).date().isoformat() for found in replay.refusals}
    assert days == {each[1] for each in times if each}


def test_inference_is_bounded() -> None:
    from netlens.watch.refusals import KEPT

    inference = Inference()
    inference.add(answer(i, i, 420, 0.0) for i in range(KEPT + 100))
    assert len(inference.answers) == KEPT
