"""Error logs of the program, reduced to time and error lines.

Lines of such logs can be tens of kilobytes and hold prompts and keys. So nothing is cut out of a line; instead a line is *built* from what
is known to be harmless: its time, its level, and words of :data:`netlens.loglines.WORDS` that stand in it. What is not known is not copied.

Of lines of the classic form that are no errors time and ``+Nms`` are kept, because the fraction of a second can be recovered only from the
chain of all lines. The forms are those of :mod:`netlens.loglines`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from netlens import loglines
from netlens.loglines import MAX_LINE
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
        if news is not None:
            say(f"{printable(name)}: {news}")
        else:
            begun = True
            take(text)

    return line


_ERROR = re.compile(r"\b(error|failed|failure|exception|refused|rejected|timed? ?out)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Reduced:
    """What is kept of one line."""

    text: str
    rejection: bool


def reduce_line(line: str) -> Reduced | None:
    """What may be kept of a line; None if nothing is worth keeping, or it has no time."""
    line = line[:MAX_LINE].lstrip("\ufeff \t")
    found = loglines.head(line)
    if found is None:
        return None
    rest = line[found.rest :]
    if found.form == loglines.CLASSIC:
        text = f"{found.level:<5} {found.time} {found.since}"
        if not found.fault:
            return Reduced(text, False)
        return _with_words(f"{text} service={found.service}" if found.service else text, rest)
    if found.form == loglines.LOGFMT:
        return _with_words(f"timestamp={found.time} level={found.level}", rest) if found.fault else None
    reduced = _with_words(found.time, rest)
    if reduced.rejection or _ERROR.search(rest):
        return reduced if reduced.text != found.time else Reduced(f"{found.time} error", False)
    return None


def _with_words(head: str, rest: str) -> Reduced:
    return Reduced(" ".join([head, *loglines.words(rest)]), loglines.says_rejection(rest))
