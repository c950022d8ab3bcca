"""Error logs of the program, reduced to time and error lines.

Lines of such logs can be tens of kilobytes and hold prompts and keys. So nothing is cut out of a line; instead a line is *built* from what
is known to be harmless: its time, its level, and words of :data:`netlens.logs.WORDS` that stand in it. What is not known is not copied.

Of opencode's classic format all lines leave their time and ``+Nms``, because the fraction of a second can be recovered only from the chain of
all of them. The formats are those of :mod:`netlens.logs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from netlens import logs
from netlens.capture import known_logs
from netlens.capture.processes import LineProcess
from netlens.logs import FAULTS, MAX_LINE
from netlens.text import printable

MARK = "%%netlens"  #: begins what the script itself says, before the first line of a log
#: Follows a file, or the newest ``*.log`` of a folder (opencode begins a new one each time). What was in it before is not shown; a file or folder that
#: appears later is shown from its start.
SCRIPT = r"""
case $1 in "~/"*) set -- "$HOME/${1#??}";; esac
from=0
if [ ! -e "$1" ]; then
  echo "%%netlens missing"
  trap 'exit 0' TERM
  while [ ! -e "$1" ]; do sleep 1 >/dev/null & wait $!; done
  echo "%%netlens there"
  from=+1
fi
[ -r "$1" ] || echo "%%netlens unreadable"
[ -d "$1" ] || exec tail -n "$from" -F -- "$1" 2>/dev/null
seen= t=
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

FOLLOWS = f"{MARK} follows "
_NEWS = {
    f"{MARK} missing": "does not exist yet; it is followed from its start when it appears",
    f"{MARK} there": "exists now, and is followed",
    f"{MARK} unreadable": "cannot be read, so its refusals are missed",
}


def taker(name: str, take: Callable[[str], None], say: Callable[[str], None]) -> Callable[[str], None]:
    """Takes what the script prints: lines of the log go to ``take``, what the script says of ``name`` to ``say``. Behind the first line of the log all are its
    own, whatever they look like."""
    begun = False

    def line(text: str) -> None:
        nonlocal begun
        news = None if begun else _NEWS.get(text)
        if not begun and text.startswith(FOLLOWS):
            news = f"follows {printable(text.removeprefix(FOLLOWS))}"
        if news is not None:
            say(f"{printable(name)}: {news}")
        else:
            begun = True
            take(text)

    return line


_ERROR = re.compile(r"\b(error|failed|failure|exception|refused|rejected|timed? ?out)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Reduced:
    """What is kept of one line.  unknown : it is taken for a refusal only because a call failed, in words that are not known."""

    text: str
    refusal: bool
    unknown: bool = False


def reduce_line(line: str) -> Reduced | None:
    """What may be kept of a line; None if nothing is worth keeping, or it has no time."""
    line = logs.plainly(line[:MAX_LINE])
    if (known := logs.recognise(line)) is None:
        return None
    form, head = known
    chained = head.since_ms is not None
    if not head.fault:
        return Reduced(form.write(replace(head, service="")), False) if chained or (head.about and head.about.starts) else None
    rest = line[head.rest :]
    said = form.said(rest)
    refused = logs.refusal(said, fault=head.level in logs.FAULTS) is not None
    words = logs.words(said)
    if not head.level and not refused:  # a format without levels
        if not _ERROR.search(rest):
            return None
        words = words or ["error"]
    if head.level not in FAULTS and head.level and not refused:  # of level INFO, and no refusal
        return Reduced(form.write(replace(head, service="")), False) if chained else None
    known_service = chained or head.service in logs.CLIENTS
    text = " ".join([form.write(head if known_service else replace(head, service="")), *words])
    return Reduced(text, refused, refused and not logs.in_known_words(said))


class Taking:
    """Takes the lines of a log as they come, and keeps what may be kept of its records. One of a fault that by itself is no refusal waits for the next line,
    as the traceback below it may say what was raised."""

    def __init__(self, keep: Callable[[Reduced], None]) -> None:
        self._keep, self._records = keep, logs.Records()
        self._kept: Reduced | None = None  # of the first line of the record that may still go on

    def take(self, line: str) -> None:
        raw = line.encode("utf-8", "replace")
        for each in logs.apart(raw):
            self._take(each, line if each is raw else each.decode("utf-8", "replace"))

    def _take(self, raw: bytes, line: str) -> None:
        self._done(self._records.feed(raw))
        if self._records.fresh:
            self._kept = reduce_line(line)
            if (self._kept is None and not self._records.begun) or (self._kept is not None and self._kept.refusal):
                self.end()

    def end(self) -> None:
        """There are no more lines."""
        self._done(self._records.end())

    def _done(self, record: tuple[bytes, int] | None) -> None:
        if record is None:
            return
        text, lines = record
        kept = reduce_line(text.decode("utf-8", "replace")) if lines > 1 else self._kept
        if kept is not None:
            self._keep(kept)


def follow(
    path: str, name: str, keep: Callable[[Reduced], None], say: Callable[[str], None], wrap: Callable[[list[str]], list[str]] = list
) -> LineProcess:
    """Follow a log, or the logs of a known program, here or where ``wrap`` leads: what may be kept goes to ``keep``, news of the file itself to ``say``."""

    taking = Taking(keep)
    argv = known_logs.script(path) or ["sh", "-c", SCRIPT, "netlens", path]
    return LineProcess(argv, taker(name, taking.take, say), wrap, end=taking.end)
