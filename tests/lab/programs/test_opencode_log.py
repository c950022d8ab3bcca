"""Log lines in opencode's two formats, as its users' logs have them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netlens.lab.clock import Skew
from netlens.lab.programs._opencode_log import OpencodeLog

AT = int(datetime(2026, 1, 25, 16, 33, 41, 900_000, UTC).timestamp() * 1000) * 1_000_000


def lines(path: Path, form: str, skew: Skew | None = None) -> list[str]:
    log = OpencodeLog(path, form, skew)
    log.line("INFO", "stream", AT, service="llm", small="true")
    log.line("INFO", "stream", AT + 158_000_000, service="llm", small="false")
    log.refusal("stream error", "1302", "High concurrency usage", service="llm")
    log.close()
    return path.read_text(encoding="utf-8").splitlines()


def test_classic_has_whole_seconds_and_the_time_since_the_line_before(tmp_path: Path) -> None:
    first, second, error = lines(tmp_path / "log", "classic")
    assert first == "INFO  2026-01-25T16:33:41 +0ms service=llm small=true stream"
    assert second == "INFO  2026-01-25T16:33:42 +158ms service=llm small=false stream"
    assert re.fullmatch(r'ERROR \S+ \+\d+ms service=llm error=\{.*"statusCode": 429.*1302.*High concurrency usage.*\} stream error', error)


def test_logfmt_has_milliseconds_and_quotes(tmp_path: Path) -> None:
    first, second, error = lines(tmp_path / "log", "logfmt")
    assert first == "timestamp=2026-01-25T16:33:41.900Z level=INFO service=llm small=true message=stream"
    assert second.startswith("timestamp=2026-01-25T16:33:42.058Z ")
    assert error.endswith('error.error="AI_APICallError: High concurrency usage" error.code=1302 message="stream error"')


def test_the_clock_of_the_side_is_in_the_lines(tmp_path: Path) -> None:
    skewed = lines(tmp_path / "log", "logfmt", Skew(-3.0, 1000.0, AT - 1_000_000_000))
    assert skewed[0].startswith("timestamp=2026-01-25T16:33:38.901Z "), "three seconds behind, and one millisecond gained in a second"


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such log format"):
        OpencodeLog(tmp_path / "log", "xml")
