"""What Python's logging writes below a record: the exception may be all that names a refusal."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from netlens import logs
from netlens.anonymize.recordings import reduced
from netlens.capture.errorlog import Reduced, Taking
from netlens.parsers import errorlog

REFUSED = "Error code: 429 - {'error': {'code': '1302', 'message': 'High concurrency usage of this API, please reduce concurrency'}}"


class RateLimitError(Exception):
    pass


def fail(how: str) -> None:
    if how == "alone":
        raise RateLimitError(REFUSED)
    try:
        raise ConnectionError("status")
    except ConnectionError as error:
        if how == "caused":
            raise RateLimitError(REFUSED) from error
        raise RateLimitError(REFUSED)  # noqa: B904 -- while another was handled


@pytest.fixture(params=["alone", "caused", "meanwhile"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the real logging writes it."""
    path = tmp_path / "app.log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("app.worker")
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.info("started")
    for n in range(3):
        try:
            fail(request.param)
        except RateLimitError:
            logger.exception("request %d failed", n)
    logger.error("another thing failed")
    try:
        raise ValueError("too long: 17 words")
    except ValueError:
        logger.exception("a bug")
    handler.close()
    return path


def test_refusals_in_tracebacks_are_read(log: Path) -> None:
    found = errorlog.read(log)
    assert [(e.code, e.refusal_class) for e in found.events] == [("1302", "concurrency")] * 3
    lines = log.read_text().splitlines()
    assert [lines[e.line - 1].split(": ", 1)[1] for e in found.events] == ["request 0 failed", "request 1 failed", "request 2 failed"]
    assert found.lines == len(lines)
    assert len(found.unclear_ns) == 2  # the other thing, and the bug
    assert found.unread == 0


def test_the_copy_and_the_recorder_have_the_same_refusals(log: Path, tmp_path: Path) -> None:
    original = errorlog.read(log)
    taken: list[Reduced] = []
    taking = Taking(taken.append)
    for line in log.read_text().splitlines():
        taking.take(line)
    taking.end()
    copy = "\n".join(reduced(record.decode()) + "\n-" * (n - 1) for record, n in logs.records(log.read_bytes().splitlines()))
    for text, numbered in ((copy, True), ("\n".join(each.text for each in taken), False)):
        assert "app.py" not in text
        assert "long" not in text
        path = tmp_path / "reduced.log"
        path.write_text(text + "\n")
        again = errorlog.read(path)
        assert [(e.time_ns, e.code, e.refusal_class) for e in again.events] == [
            (e.time_ns, e.code, e.refusal_class) for e in original.events
        ]
        assert not numbered or [e.line for e in again.events] == [e.line for e in original.events]
    assert [each.refusal for each in taken].count(True) == 3


def test_an_error_that_javascript_prints_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    path.write_text(
        "2026-11-28T21:01:14.691Z Attempt 1 failed with status 503. Retrying with backoff... ApiError: [{\n"
        '  "error": {\n    "code": 503,\n    "message": "The model is overloaded. Please try again later.",\n    "status": "UNAVAILABLE"\n  }\n}]\n'
        "2026-11-28T21:01:15.000Z asked again with {\n"
        '  "message": "what does High concurrency usage of this API mean?"\n}\n'
        "2026-11-28T21:01:16.145Z request failed: Error {\n  status: 429,\n  headers: {},\n  message: 'High concurrency usage of this API'\n}\n"
        "2026-11-28T21:01:17.000Z done\n"
    )
    found = errorlog.read(path)
    assert [(e.line, e.refusal_class) for e in found.events] == [(1, "overload"), (11, "concurrency")]
    assert found.lines == 16


JAVA = (
    "Nov 30, 2026 12:30:53 PM com.acme.Agent lambda$main$0\nSEVERE: completion failed: HTTP 429 Too many concurrent requests\n"
    "Nov 30, 2026 12:30:54\u202fPM com.acme.Agent run\nINFO: the model wrote: too many concurrent requests\n"
    "Nov 30, 2026 1:31:12 PM com.acme.Agent run\nSEVERE: completion failed: HTTP 429 Too many concurrent requests\njava.io.IOException: x\n\tat a.b(c.java:1)\n"
)
OBJECTS = (
    '{\n  "time": "2026-11-30T12:30:53.755Z",\n  "level": "ERROR",\n  "error": {\n    "text": "429 Too many concurrent requests"\n  }\n}\n'
    '{\n  "time": "2026-11-30T12:30:54.000Z",\n  "level": "INFO",\n  "text": "429 Too many concurrent requests"\n}\n'
    '[\n  {\n    "text": "429 Too many concurrent requests",\n    "time": "2026-11-30T13:31:12.000Z"\n  },\n'
    '  {\n    "time": "2026-11-30T13:31:13.000Z",\n2026-11-30T13:31:14.000Z cut\n'
)


@pytest.mark.parametrize(("text", "lines"), [(JAVA, [1, 5]), (OBJECTS, [1, 14])], ids=["Java's own logging", "JSON with an indent"])
def test_records_over_several_lines(text: str, lines: list[int], tmp_path: Path) -> None:
    path, again = tmp_path / "agent.log", tmp_path / "kept.log"
    path.write_text(text)
    found = errorlog.read(path)
    assert [(e.line, e.refusal_class) for e in found.events] == [(line, "concurrency") for line in lines]
    assert [e.low_ns // 1_000_000_000 for e in found.events] == [1796041853, 1796045472]
    assert found.lines == text.count("\n")
    taken: list[Reduced] = []
    taking = Taking(taken.append)
    for line in text.splitlines():
        taking.take(line)
    taking.end()
    again.write_text("\n".join(each.text for each in taken))
    assert [(e.low_ns, e.refusal_class) for e in errorlog.read(again).events] == [(e.low_ns, e.refusal_class) for e in found.events]


BELOW = (
    "2026-11-30 18:41:18,700 - worker - ERROR - turn 6 failed: HfHubHTTPError: (Request ID: req_59)\n\n"
    "429 Too Many Requests for url: https://router.example.net/v1/chat/completions.\nRate limit reached.\n"
    '2026-11-30 18:41:19,872 - worker - ERROR - turn 8 failed\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n'
    "app.HfHubHTTPError: (Request ID: req_60)\n\n429 Too Many Requests for url: https://router.example.net/v1/chat/completions.\n"
    "2026-11-30 18:41:20,500 - worker - ERROR - turn 9 failed:\nopenai.RateLimitError: Error code: 429 - too many\n"
    "2026-11-30 18:41:21,500 - worker - INFO - turn 10\n429 Too Many Requests\n"  # nothing failed
    "2026-11-30 18:41:22,500 - worker - ERROR - turn 11 failed: Error code: 401\n\n429 Too Many Requests\n"  # of another status
    "2026-11-30 18:41:23,500 - worker - ERROR - turn 12 failed\n429 items are left\n"
    "2026-11-30 18:41:24,500 - worker - ERROR - turn 13 failed\n\n\n\n\n429 Too Many Requests\n"  # far below
)


def test_a_status_below_a_record_is_of_that_record(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    path.write_text(BELOW)
    found = errorlog.read(path)
    assert [(e.line, e.low_ns // 1_000_000 % 100_000) for e in found.events] == [(1, 78_700), (5, 79_872), (11, 80_500)]
    assert [each[2] for each in found.failed] == ["status 401"]
    assert found.lines == BELOW.count("\n")
    taken: list[Reduced] = []
    taking = Taking(taken.append)
    for line in BELOW.splitlines():
        taking.take(line)
    taking.end()
    assert [each.refusal for each in taken].count(True) == 3


def test_a_refusal_waits_for_no_further_line() -> None:
    taken: list[Reduced] = []
    taking = Taking(taken.append)
    taking.take(f"2026-06-20 16:38:30,455 ERROR app: {REFUSED}")
    assert [each.refusal for each in taken] == [True]
    taking.take("Traceback (most recent call last):")
    taking.take('  File "app.py", line 1, in call')
    taking.take(f"app.RateLimitError: {REFUSED}")
    taking.end()
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["2026-06-20 16:38:30 INFO app: asked", "Traceback (most recent call last):", "E: 429"], 3),  # not written together
        (["ERROR x", "Traceback (most recent call last):", "  a", "", "E: 1", "", "F: 2"], 2),
        (["ERROR x", "future: <Task>", "Traceback (most recent call last):", "  a", "E", "next"], 2),
        (["ERROR x", "Traceback (most recent call last):", "  a"], 1),  # the log ends there
        ([], 0),
    ],
)
def test_where_records_end(lines: list[str], wanted: int) -> None:
    found = list(logs.records([line.encode() for line in lines]))
    assert len(found) == wanted
    assert sum(count for _, count in found) == len(lines)
