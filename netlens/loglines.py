"""The grammar of the program's logs: what the recorder reduces and the parser reads.

Three forms (opencode writes the first two):

* classic: ``ERROR 2026-01-25T16:33:41 +58ms service=llm ... error={...}``: UTC, whole seconds; ``+58ms`` is the exact time since the line before.
* logfmt: ``timestamp=2026-06-20T16:38:30.455Z level=ERROR ...``
* plain: any line that begins with an ISO-8601 or epoch time, such as text of a screen that was saved with its time.

A line is a rejection if it says 1302, 429, "High concurrency" or 并发数过高, or names another code of the provider for a refusal (``code=1305``; all
of them come with status 429, but the second form does not say so). In the first two forms that counts only if the level is that of a fault: a
prompt may talk about such numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CLASSIC, LOGFMT, PLAIN = "classic", "logfmt", "plain"

_CLASSIC = re.compile(
    r"(?P<level>DEBUG|INFO|WARN|ERROR)\s+(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s+(?P<since>\+-?\d{1,12}ms)(?:\s+service=(?P<service>[a-z][a-z0-9._-]{0,31})(?=\s|$))?",
    re.ASCII,
)
_LOGFMT = re.compile(
    r"(?:timestamp|time|ts)=\"?(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)\"?(?=\s|$)", re.ASCII
)
_LEVEL = re.compile(r"\blevel=\"?(?P<level>[A-Za-z]{1,8})\"?(?=\s|$)")
_SERVICE = re.compile(r"\bservice=\"?(?P<service>[a-z][a-z0-9._-]{0,31})\"?(?=\s|$)")
_ISO = re.compile(r"\[?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s?Z|\s?[+-]\d\d:?\d\d)?)(?![\d.])\]?", re.ASCII)
_EPOCH = re.compile(r"\[?(?P<time>1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?)(?![\d.])\]?", re.ASCII)

FAULTS = ("ERROR", "WARN", "WARNING", "FATAL")  #: levels at which a line may be a rejection
HEAD = 200  #: characters behind the time in which level and service stand: both are written first

_NUMBER = r"(?<![\w+-])(?<!\w\.){}(?!\w|\.\w)"  # no part of a longer number, of a version, of an identifier, of ``+429ms``
#: What is looked for in a line, and what the recorder writes instead: all that ever leaves one.
WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(_NUMBER.format("1302")), "code=1302"),
    (re.compile(_NUMBER.format("429")), "status=429"),
    (re.compile(r"high concurrency", re.IGNORECASE), '"High concurrency"'),
    (re.compile("并发数过高"), "并发数过高"),
    *((re.compile(_NUMBER.format(code)), f"code={code}") for code in ("1113", "1303", "1304", "1305", "1308", "1310", "1312", "1313")),
    *((re.compile(_NUMBER.format(status)), f"status={status}") for status in ("500", "502", "503", "504", "529")),
    *(
        (re.compile(rf"\b{name}\b"), name)
        for name in (
            "AI_APICallError",
            "AI_RetryError",
            "AbortError",
            "TimeoutError",
            "ECONNREFUSED",
            "ECONNRESET",
            "ENOTFOUND",
            "EPIPE",
            "ETIMEDOUT",
        )
    ),
    (re.compile(r"stream error", re.IGNORECASE), '"stream error"'),
)
_REFUSED = tuple(pattern for pattern, _ in WORDS[:4])
#: docs.z.ai/api-reference/api-code: arrears, frequency, daily, overloaded, usage, weekly, model overloaded, fair use. A bare number may be anything.
_NAMED = re.compile(r"\bcode\b[\\\"'\s:=]{1,8}(?:1113|1303|1304|1305|1308|1310|1312|1313)(?!\w|\.\w)")
MAX_LINE = 1 << 20  #: of a line that is looked at; more than the longest error body, and a log without line ends is no log


@dataclass(frozen=True)
class Line:
    """The head of a line: its form, the time as it stands there, level and service ("" where there is none), and where the rest begins.

    ``since`` : classic only, as written ("+58ms").
    """

    form: str
    time: str
    level: str
    service: str
    since: str
    rest: int

    @property
    def fault(self) -> bool:
        """Whether a line of this head may be a rejection."""
        return self.form == PLAIN or self.level in FAULTS


def head(line: str) -> Line | None:
    """Read the head of a line; None if it has no time."""
    if found := _CLASSIC.match(line):
        return Line(CLASSIC, found["time"], found["level"], found["service"] or "", found["since"], found.end())
    if found := _LOGFMT.match(line):
        near = line[found.end() : found.end() + HEAD]
        level, service = _LEVEL.search(near), _SERVICE.search(near)
        return Line(LOGFMT, found["time"], level["level"].upper() if level else "", service["service"] if service else "", "", found.end())
    if found := _ISO.match(line) or _EPOCH.match(line):
        return Line(PLAIN, found["time"], "", "", "", found.end())
    return None


def words(rest: str) -> list[str]:
    """The known words of the rest of a line, as the recorder writes them."""
    return [text for pattern, text in WORDS if pattern.search(rest)]


def says_rejection(rest: str) -> bool:
    """Whether the rest of a line speaks of a rejection."""
    return any(pattern.search(rest) for pattern in _REFUSED) or _NAMED.search(rest) is not None
