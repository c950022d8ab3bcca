"""Lines that the SDKs for Python and JavaScript wrote against a stand-in: each attempt is one refusal, its class from what the program wrote in the end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from netlens.parsers import errorlog

HERE = Path(__file__).parent / "data"


def test_the_sdks_for_python() -> None:
    """openai 3.57 and anthropic 2.14: five requests, three attempts each."""
    log = errorlog.read(HERE / "python-sdks.log")
    attempts = [e for e in log.events if "httpx2" in e.kind]
    assert len(attempts) == 15
    assert Counter(e.refusal_class for e in log.events if "httpx2" not in e.kind) == {
        "concurrency": 1,
        "quota": 1,
        "rate": 2,
        "overload": 1,
    }
    last = [e for i, e in enumerate(attempts) if i % 3 == 2]
    assert [e.refusal_class for e in last] == ["concurrency", "quota", "rate", "overload", "rate"]


def test_the_sdks_for_javascript() -> None:
    """openai 6.49 and @anthropic-ai/sdk, a time put before each line."""
    log = errorlog.read(HERE / "javascript-sdks.log")
    attempts = [e for e in log.events if e.kind.startswith("javascript-sdk")]
    assert len(attempts) == 6
    assert [e.refusal_class for e in attempts][3:] == ["overload"] * 3
    assert log.events[2].refusal_class == "concurrency"
