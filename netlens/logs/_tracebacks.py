"""What programs write below a record of a fault, which may be all that names a refusal: Python (``logger.exception``) a traceback, and at its end what was
raised; JavaScript the error as an object, a line for each of its keys; Java's own logging the level and the words. And objects of JSON that are written with an
indent, over many lines. Errors whose words have several lines name the status in one of these.

Sources: docs.python.org/3/library/traceback.html (exceptions that were raised while another was handled follow each other); nodejs.org/api/util.html
(``util.inspect``), and JSON with an indent; java.util.logging.SimpleFormatter.
"""

import re
from collections.abc import Iterable, Iterator

from netlens.logs._batches import apart

_BEGINS = b"Traceback (most recent call last):"
_RAISED = re.compile(rb"[A-Za-z_][\w.]{0,200}(?::\s|$)")
_AGAIN = (b"During handling of the above exception", b"The above exception was the direct cause")
_OF_ASYNCIO = (b"future: ", b"task: ", b"handle: ", b"protocol: ", b"transport: ")  #: between a record and its traceback
#: Of the record above, as others were not written with the traceback: what a program prints has no time of its own.
_FAULT = re.compile(rb"\b(?:error|exception|fail\w*|critical|fatal|warn\w*)\b", re.IGNORECASE)
_OPENS = re.compile(rb"[\[{(]\s*$")
_CLOSES = (b"}", b"]", b")")
#: What of an object says what went wrong.
_KEY = re.compile(rb"\s+[\"']?(?:code|status(?:_?code)?|message|type|error|name|reason)[\"']?\s*:", re.IGNORECASE)
#: The first line of a record of Java's, and how the second begins.
_JAVA = re.compile(rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d(?:\s|\xe2\x80\xaf)[AP]M \S")
_JAVA_SAYS = re.compile(rb"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ")
#: Any status of an error, as no part of a time or of another number.
_STATUS = re.compile(rb"(?<![\w.,:+-])[45]\d\d(?![\w,:-]|\.\w)")
#: A line that begins with one, perhaps behind words that call it one. No time does.
_STATED = re.compile(
    rb"\s*(?:(?:[A-Za-z(][\w.)/]{0,60}(?:[:=] ?| )){1,8}(?:(?<=[:=])|(?<=[:=] )|(?<=rror )|(?<=tatus )|(?<=ode )|(?<=HTTP )|(?<=HTTP/1\.1 )|(?<=HTTP/2 ))"
    rb"[45]\d\d(?!\w|[.,:-]\d)|[45]\d\d(?=:| ?[A-Z(]|\s*$))"
)
_BLANK = 3  #: lines without a word between the two
_LOOK = 800  #: bytes of a record in which that is looked for
_MOST = 1 << 20  #: bytes to which a record may grow


class Records:
    """Joins to each record what was raised, as the traceback below it says.  fresh : whether the last line began a record.  begun : it is sure to go on."""

    def __init__(self) -> None:
        self._held: bytes | None = None
        self._lines = 0
        self._inside = self._raised = self._open = False
        self._blank: int | None = None  # lines behind a fault that names no status; None of any other record
        self.fresh, self.begun = True, False
        self._indent: bytes | None = None  # of an object's brackets, while it is not closed

    def feed(self, line: bytes) -> tuple[bytes, int] | None:
        """The record before, if it ends with this line: its text and how many lines it had."""
        self.fresh = not self._is_below(line)
        if not self.fresh:
            self._lines += 1
            return None
        done = self.end()
        self._held, self._lines = line, 1
        bare = line.rstrip()
        self._indent = bare[:-1] if bare.endswith(b"{") and not bare[:-1].strip() else None
        self.begun = self._indent is not None or _JAVA.match(line) is not None
        self._open = _OPENS.search(line, max(len(line) - 8, 0)) is not None and _FAULT.search(line, 0, _LOOK) is not None
        self._blank = 0
        return done

    def end(self) -> tuple[bytes, int] | None:
        """The record that may still go on; None if there is none."""
        done = None if self._held is None else (self._held, self._lines)
        self._held, self._inside, self._raised, self._open, self._indent, self.begun = None, False, False, False, None, False
        return done

    def _is_below(self, line: bytes) -> bool:
        if self._held is None or len(self._held) > _MOST:
            return False
        blank = not line.strip()
        begun, self.begun = self.begun, self._indent is not None
        if self._indent is not None:
            return self._is_of_object(line)
        if begun and _JAVA_SAYS.match(line):
            self._held += b" " + line
            return True
        if self._open:
            self._open = line[:1] in b" \t" and not blank
            if self._open and _KEY.match(line):
                self._held += b" " + line.strip()
            if self._open or line.startswith(_CLOSES):
                return True
        if line.startswith(_BEGINS):
            self._inside = self._inside or self._raised or _FAULT.search(self._held, 0, _LOOK) is not None
            return self._inside
        if self._inside and (blank or line[:1] in b" \t"):
            return True
        if self._inside and _RAISED.match(line):
            self._held += b" " + line
            self._inside, self._raised = False, True
            return True
        self._inside = False
        if self._is_status(line, blank):
            return True
        return line.startswith(_OF_ASYNCIO) if not self._raised else blank or line.startswith(_AGAIN)

    def _is_status(self, line: bytes, blank: bool) -> bool:
        """Whether a line, or the empty one before it, says with which status the request failed of which the record tells."""
        if self._held is None or self._blank is None or not (blank or _STATED.match(line)):
            return False
        said = self._held[:_LOOK] + self._held[-_LOOK:]
        if self._blank >= _BLANK or not _FAULT.search(said) or _STATUS.search(said):
            self._blank = None
            return False
        self._blank += 1
        if not blank:
            self._held, self._blank = self._held + b" " + line, None
        return True

    def _is_of_object(self, line: bytes) -> bool:
        """Whether a line belongs to an object that was begun: those within are further to the right than its brackets."""
        assert self._indent is not None
        bare = line.rstrip()
        closes = bare in (self._indent + b"}", self._indent + b"},")
        inside = bare.startswith(self._indent) and bare[len(self._indent) :][:1] in b" \t" and bool(bare)
        if closes or inside:
            self._held = (self._held or b"") + b" " + bare.strip()
        if closes or not inside:
            self._indent, self.begun = None, False
        return closes or inside


def records(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each record of a log, and how many lines it has; of several in one line the first has them."""
    joining = Records()

    def done() -> Iterator[tuple[bytes, int] | None]:
        yield from map(joining.feed, lines)
        yield joining.end()

    for record, n in filter(None, done()):
        for i, each in enumerate(apart(record)):
            yield each, 0 if i else n
