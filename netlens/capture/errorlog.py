"""Error logs of the program, reduced to time and error lines.

Lines of such logs can be tens of kilobytes and hold prompts and keys. So nothing is cut out of a line; instead a line is *built* from what
is known to be harmless: its time, its level, and words of :data:`WORDS` that stand in it. What is not known is not copied.

Three forms (opencode writes the first two):

* ``ERROR 2026-01-25T16:33:41 +58ms service=llm ... error={...}`` (UTC, whole seconds; ``+58ms`` is the exact time since the line before). Of lines
  that are no errors time and ``+Nms`` are kept, because the fraction of a second can be recovered only from the chain of all lines.
* logfmt ``timestamp=2026-06-20T16:38:30.455Z level=ERROR ...``
* any line that begins with an ISO-8601 or epoch time.

A line is a rejection if it says 1302, 429, "High concurrency" or 并发数过高; in the first two forms only if its level is ERROR or WARN (a
prompt may talk about such numbers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Follows a file, or the newest ``*.log`` of a folder (opencode begins a new one each time). What was in it before is not shown; a file that
#: appears later is shown from its start.
SCRIPT = r"""
case $1 in "~/"*) set -- "$HOME/${1#??}";; esac
if [ ! -d "$1" ]; then
  if [ -e "$1" ]; then exec tail -n 0 -F -- "$1" 2>/dev/null; else exec tail -n +1 -F -- "$1" 2>/dev/null; fi
fi
seen= from=0 t=
trap '[ -n "$t" ] && kill $t; exit 0' TERM
while :; do
  newest=$(ls -t -- "$1" 2>/dev/null | grep '\.log$' | head -n 1)
  if [ -n "$newest" ] && [ "$newest" != "$seen" ]; then
    [ -n "$t" ] && kill $t
    tail -n "$from" -F -- "$1/$newest" 2>/dev/null & t=$!
    seen=$newest
  fi
  from=+1
  sleep 1 >/dev/null & wait $!
done
"""

_OPENCODE = re.compile(
    r"(?P<level>DEBUG|INFO|WARN|ERROR)\s+(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s+(?P<since>\+\d{1,12}ms)(?:\s+service=(?P<service>[a-z][a-z0-9._-]{0,31})(?=\s|$))?"
)
_LOGFMT = re.compile(r"(?:timestamp|time|ts)=\"?(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)\"?(?=\s|$)")
_LEVEL = re.compile(r"\blevel=\"?(?P<level>[A-Za-z]{1,8})\"?(?=\s|$)")
_ISO = re.compile(r"\[?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s?Z|\s?[+-]\d\d:?\d\d)?)(?![\d.])\]?")
_EPOCH = re.compile(r"\[?(?P<time>1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?)(?![\d.])\]?")

_NUMBER = r"(?<![\w.+-]){}(?![\w.])"
#: What is looked for in a line, and what is written instead: all that ever leaves one.
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
_REJECTION = tuple(text for _, text in WORDS[:4])
_ERROR = re.compile(r"\b(error|failed|failure|exception|refused|rejected|timed? ?out)\b", re.IGNORECASE)
MAX_LINE = 1 << 20  #: of a line that is looked at; more than the longest error body, and a log without line ends is no log


@dataclass(frozen=True)
class Reduced:
    """What is kept of one line."""

    text: str
    rejection: bool


def reduce_line(line: str) -> Reduced | None:
    """What may be kept of a line; None if nothing is worth keeping, or it has no time."""
    line = line[:MAX_LINE].lstrip("\ufeff \t")
    if found := _OPENCODE.match(line):
        level = found["level"]
        head = f"{level:<5} {found['time']} {found['since']}"
        if level not in ("ERROR", "WARN"):
            return Reduced(head, False)
        if found["service"]:
            head += f" service={found['service']}"
        return _with_words(head, line[found.end() :])
    if found := _LOGFMT.match(line):
        rest = line[found.end() :]
        told = _LEVEL.search(rest[:200])
        level = told["level"].upper() if told else ""
        if level not in ("ERROR", "WARN", "WARNING", "FATAL"):
            return None
        return _with_words(f"timestamp={found['time']} level={level}", rest)
    if found := _ISO.match(line) or _EPOCH.match(line):
        rest = line[found.end() :]
        reduced = _with_words(found["time"], rest)
        if reduced.rejection or _ERROR.search(rest):
            return reduced if reduced.text != found["time"] else Reduced(f"{found['time']} error", False)
    return None


def _with_words(head: str, rest: str) -> Reduced:
    words = [text for pattern, text in WORDS if pattern.search(rest)]
    return Reduced(" ".join([head, *words]), any(w in _REJECTION for w in words))
