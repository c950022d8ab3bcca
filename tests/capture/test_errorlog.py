"""Error logs reduced to times and codes: nothing a program or a person wrote is copied.

The lines are made after the two formats that opencode is documented to write and published logs show; keys and prompts in them are invented.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens import logs
from netlens.capture import errorlog, known_logs
from netlens.capture.errorlog import reduce_line
from netlens.capture.processes import LineProcess

SECRET = "sk-live-0123456789abcdef please summarise my diary"


@pytest.mark.parametrize(
    ("line", "kept", "rejection"),
    [
        (
            (
                'ERROR 2026-01-25T16:33:41 +58ms service=llm providerID=zai modelID=glm-4.7 error={"error":{"statusCode":429,"responseBody":'
                '"{\\"error\\":{\\"code\\":\\"1302\\",\\"message\\":\\"High concurrency usage of this API, please reduce concurrency\\"}}"}} '
                f"stream error {SECRET}"
            ),
            'ERROR 2026-01-25T16:33:41 +58ms service=llm code=1302 status=429 "High concurrency" "stream error"',
            True,
        ),
        (f"INFO  2026-01-25T16:33:41 +3ms service=session prompt={SECRET} 1302 429", "INFO  2026-01-25T16:33:41 +3ms", False),
        ("ERROR 2026-01-25T16:33:41 +429ms service=llm error=AbortError", "ERROR 2026-01-25T16:33:41 +429ms service=llm AbortError", False),
        (
            f'timestamp=2026-06-20T16:38:30.455Z level=ERROR run={SECRET} message="stream error" error.error="AI_APICallError: 您当前使用该API的并发数过高"',
            'timestamp=2026-06-20T16:38:30.455Z level=ERROR 并发数过高 AI_APICallError "stream error"',
            True,
        ),
        (f"timestamp=2026-06-20T16:38:30.455Z level=INFO message={SECRET} 429", None, False),
        (
            "timestamp=2026-06-20T16:38:30.455Z level=INFO run=77 message=stream providerID=zai modelID=mine session.id=ses_secret small=true agent=x",
            "timestamp=2026-06-20T16:38:30.455Z level=INFO run=696317c4 message=stream session.id=ses_5ca2e8e5 small=true",
            False,
        ),
        (
            "INFO  2026-01-25T16:33:41 +3ms service=llm providerID=zai modelID=mine sessionID=ses_secret small=false agent=build stream",
            "INFO  2026-01-25T16:33:41 +3ms sessionID=ses_5ca2e8e5 small=false stream",
            False,
        ),
        (
            (
                'timestamp=2026-06-20T16:38:30.455Z level=ERROR message="stream error" session.id=ses_secret small=true '
                f'error.error="AI_RetryError: Failed after 3 attempts. Last error: words of tomorrow, {SECRET}"'
            ),
            'timestamp=2026-06-20T16:38:30.455Z level=ERROR session.id=ses_5ca2e8e5 small=true AI_RetryError "stream error"',
            True,
        ),
        ("2026-06-20T16:38:30+02:00 HTTP 429", "2026-06-20T16:38:30+02:00 status=429", True),
        ("[2026-06-20 16:38:30,455] high concurrency usage", '2026-06-20 16:38:30,455 "High concurrency"', True),
        (f"1782059910.455 error 1302 {SECRET}", "1782059910.455 code=1302", True),
        (f"1782059910455 request failed: {SECRET}", "1782059910455 error", False),
        (f"2026-06-20T16:38:30Z sent {SECRET}", None, False),
        (f"a line without a time says 429 {SECRET}", None, False),
        ("2026-06-20T16:38:30Z port 14290 id 1302x v4.29 -429", None, False),
        ("", None, False),
    ],
)
def test_lines(line: str, kept: str | None, rejection: bool) -> None:
    found = reduce_line(line)
    assert (found.text if found else None) == kept
    assert (found.refusal if found else False) == rejection


_WORD = "|".join(re.escape(text) for _, text in logs.WORDS)
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s?Z|\s?[+-]\d\d:?\d\d)?|1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?"
_ALLOWED = re.compile(
    rf"(?:(?:(?:DEBUG|INFO|WARN|ERROR) *)?(?:timestamp=)?(?:{_TIME})(?: \+\d+ms)?(?: service=[a-z][a-z0-9._-]{{0,31}})?"
    rf"(?: level=(?:INFO|ERROR|WARN|WARNING|FATAL))?)(?: run=[0-9a-f]{{8}})?(?: message=stream)?"
    rf"(?: (?:session\.id|sessionID)=ses_[0-9a-f]{{8}} small=(?:true|false))?(?: stream)?(?: error)?(?: (?:{_WORD}))*"
)
_HEADS = st.sampled_from(
    [
        "",
        "ERROR 2026-01-25T16:33:41 +58ms ",
        "INFO  2026-01-25T16:33:41 +5ms ",
        "timestamp=2026-06-20T16:38:30.455Z level=ERROR ",
        "1782059910 ",
    ]
)
_TAILS = st.lists(
    st.sampled_from(
        [
            "1302",
            "429",
            "session.id=ses_secret42 small=true",
            "message=stream",
            "error",
            "service=llm",
            "High concurrency",
            "并发数过高",
            SECRET,
            "level=ERROR",
        ]
    )
    | st.text()
)


@given(_HEADS, _TAILS, st.sampled_from([" ", ""]))
def test_nothing_else_is_ever_copied(head: str, tail: list[str], between: str) -> None:
    found = reduce_line(head + between.join(tail))
    assert found is None or _ALLOWED.fullmatch(found.text), found


def test_the_reduced_line_is_read_as_what_it_was() -> None:
    """Reducing what is reduced changes nothing, so that the copy can stand in for the log."""
    for line in (
        "ERROR 2026-01-25T16:33:41 +58ms service=llm error=1302",
        "INFO  2026-01-25T16:33:41 +3ms x",
        "timestamp=2026-06-20T16:38:30.455Z level=ERROR 1302",
        "timestamp=2026-06-20T16:38:30.455Z level=INFO message=stream session.id=ses_secret small=true agent=title",
        "INFO  2026-01-25T16:33:41 +3ms service=llm sessionID=ses_secret small=false agent=build stream",
        "2026-06-20T16:38:30Z 429",
    ):
        once = reduce_line(line)
        assert once is not None
        twice = reduce_line(once.text.replace("code=", "code: ").replace("status=", "status: "))
        assert twice == once


class Followed:
    """Lines of a follower, awaited."""

    def __init__(self, path: Path | str, said: list[str] | None = None):
        self.lines: list[str] = []
        self.said: list[str] = [] if said is None else said
        self.changed = threading.Condition()
        argv = known_logs.script(str(path)) or ["sh", "-c", errorlog.SCRIPT, "netlens", str(path)]
        self.process = LineProcess(argv, errorlog.taker(str(path), self.take, self.say))

    def say(self, text: str) -> None:
        with self.changed:
            self.said.append(text)
            self.changed.notify_all()

    def take(self, line: str) -> None:
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def until(self, line: str, write: Path) -> None:
        """Append ``line`` to ``write`` until it is seen: when a follower has begun cannot be known from outside."""
        deadline = time.monotonic() + 20
        with self.changed:
            while line not in self.lines and time.monotonic() < deadline:
                with write.open("a") as file:
                    file.write(line + "\n")
                self.changed.wait(0.2)
            assert line in self.lines


def test_a_file_is_followed_from_now_on(tmp_path: Path) -> None:
    log = tmp_path / "a b; $(id).log"
    log.write_text("old\n")
    followed = Followed(log)
    try:
        followed.until("new", log)
    finally:
        followed.process.stop()
    assert "old" not in followed.lines


def test_a_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    followed = Followed(tmp_path / "later.log")
    try:
        followed.until("first", tmp_path / "later.log")
    finally:
        followed.process.stop()


def test_the_newest_log_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text("old\n")
    followed = Followed(tmp_path)
    try:
        followed.until("to the first", tmp_path / "1.log")
        (tmp_path / "2.txt").write_text("no log\n")
        followed.until("to the second", tmp_path / "2.log")
    finally:
        followed.process.stop()
    assert not {"old", "no log"} & set(followed.lines)
    left = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


@pytest.mark.parametrize(
    ("rest", "refusal_class"),
    [
        ('error={"code":"1302","message":"Rate limit reached for requests"}', "concurrency"),
        ('error.error="AI_APICallError: Rate limit reached for requests"', "unknown"),
        ('error.error="AI_APICallError: words of tomorrow"', "unknown"),
        ('error.error="AI_APICallError: words" status=503', None),
        ('error.error="AI_APICallError" cause=ECONNRESET', None),
        ("High concurrency usage of this API, please reduce concurrency", "concurrency"),
        ("您当前使用该API的并发数过高", "concurrency"),
        ("Rate limit reached for gpt-4o in organization org-1 on tokens per min", "rate"),
        ('{"type":"rate_limit_error"}', "rate"),
        ('{"type":"overloaded_error"} status 529', "overload"),
        ('code="1305"', "overload"),
        ("code: 1312", "overload"),
        ("code=1308 usage limit reached", "quota"),
        ("insufficient_quota", "quota"),
        ("code=1113", "other"),
        ("HTTP 429 Too Many Requests", "unknown"),
        ("a title about high prices", None),
    ],
)
def test_classes_of_refusals(rest: str, refusal_class: str | None) -> None:
    assert logs.refusal_class(rest) == refusal_class
    if refusal_class is not None:  # the recorder's words mean the same
        assert logs.refusal_class(" ".join(logs.words(rest))) == refusal_class


def test_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    """It was never followed, without a word: tail gave up when what appeared was a folder."""
    folder = tmp_path / "log"
    said: list[str] = []
    followed = Followed(folder, said)
    try:
        with followed.changed:
            assert followed.changed.wait_for(lambda: said, 20)
        folder.mkdir()
        (folder / "1.log").write_text("the very first\n")
        followed.until("new", folder / "1.log")
    finally:
        followed.process.stop()
    assert followed.lines[0] == "the very first"
    assert said == [
        f"{folder}: does not exist yet; it is followed from its start when it appears",
        f"{folder}: exists now, and is followed",
    ]


def test_a_follower_that_waits_for_its_file_ends(tmp_path: Path) -> None:
    said: list[str] = []
    followed = Followed(tmp_path / "never", said)
    with followed.changed:
        assert followed.changed.wait_for(lambda: said, 20)
    followed.process.stop()
    left = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


def test_only_the_script_speaks_for_itself() -> None:
    lines: list[str] = []
    said: list[str] = []
    take = errorlog.taker("a\x1b[2J", lines.append, said.append)
    for line in ("%%netlens missing", "%%netlens other", "%%netlens there"):
        take(line)
    assert said == ["a\\x1b[2J: does not exist yet; it is followed from its start when it appears"]
    assert lines == ["%%netlens other", "%%netlens there"]


@pytest.fixture
def opencode_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of opencode's logs, of a user whose home has a blank in its name."""
    data = tmp_path / "a home" / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return data / "opencode" / "log"


def test_a_programs_log_is_found_and_each_later_one_is_followed_from_its_start(opencode_logs: Path) -> None:
    """Older versions begin a file a run, and two runs may go on at once; today's appends to one."""
    opencode_logs.mkdir(parents=True)
    first = opencode_logs / "2026-06-20T163830.log"
    first.write_text("before the recording\n", encoding="utf-8")
    followed = Followed("opencode")
    try:
        followed.until("first", first)
        second = opencode_logs / "2026-06-20T163930.log"
        second.write_text("the start of the second\n", encoding="utf-8")
        followed.until("second", second)
        followed.until("first again", first)
        second.rename(second.with_suffix(".log.1"))
        second.write_text("after the rotation\n", encoding="utf-8")
        followed.until("second again", second)
    finally:
        followed.process.stop()
    assert "before the recording" not in followed.lines
    assert followed.lines.count("the start of the second") == 1
    assert "after the rotation" in followed.lines
    assert followed.said == [f"opencode: follows {first}"]


def test_a_program_that_has_no_log_yet(opencode_logs: Path) -> None:
    followed = Followed("opencode")
    try:
        with followed.changed:
            assert followed.changed.wait_for(lambda: followed.said, 20)
        opencode_logs.mkdir(parents=True)
        followed.until("a line", opencode_logs / "opencode.log")
    finally:
        followed.process.stop()
    assert followed.said == [
        "opencode: does not exist yet; it is followed from its start when it appears",
        f"opencode: follows {opencode_logs}/opencode.log",
    ]


def test_words_that_are_not_known_are_kept_and_told_of() -> None:
    line = 'timestamp=2026-06-20T16:38:30.455Z level=ERROR message="stream error" error.error="AI_APICallError: {}"'
    unknown, known = reduce_line(line.format("Slow lane, please")), reduce_line(line.format("High concurrency usage"))
    assert unknown is not None
    assert known is not None
    assert (unknown.refusal, unknown.unknown, known.refusal, known.unknown) == (True, True, True, False)
    assert "Slow lane" not in unknown.text
