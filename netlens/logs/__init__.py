"""What programs write down when the provider refuses a request: one log format a file.

Theory of operation
-------------------
1. A log is read record by record; a record is a line, with what a traceback of Python below it says was raised, or one object of JSON. Formats may be
   mixed in one log, so each record finds its own: the first format, in their ``RANK``, that recognises it. The plain one comes last.
2. ``recognise`` reads the head of a record: its time, its level, who wrote it. It is asked for every record of logs of millions of lines, and may be handed
   the first ``HEAD`` characters only; a record of JSON is handed over whole, as its time may stand at its end.
3. ``said`` is asked only where the head says that the record may tell of a refusal (``Head.fault``: the level is that of a fault, as prompts may talk
   about refusals, or there are no levels). In the words that it gives, :func:`refusal` and :func:`words` look for what is known: class, code, status,
   retry delay. The text goes nowhere.
4. ``write`` gives a head as the format writes it. That, and the words of :data:`WORDS`, is all that the recorder and the anonymizer copy: a record is
   *built* of what is known to be harmless, nothing is cut out of it. What is written so is recognised and read as the record it was made of.

A new format is a new file here, and nothing else; ``tools/new.py log NAME`` writes one. Its docstring says whose it is, how a record looks and where that is
known from (``Source:``); real records are its test data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from netlens import registry
from netlens.logs._account import About
from netlens.logs._batches import apart, longest
from netlens.logs._times import UNDATED_NS, nearest
from netlens.logs._times import span as _span
from netlens.logs._tracebacks import Records, records
from netlens.logs._words import (
    CLASS_OF_CODE,
    CLASSES,
    CONCURRENCY,
    FAULTS,
    NO_PLACE,
    OTHER,
    OVERLOAD,
    OWN_LIMIT,
    QUOTA,
    RATE,
    REFUSALS,
    UNANSWERED,
    UNKNOWN,
    WORDS,
    Refusal,
    failure,
    in_known_words,
    names_status,
    refusal,
    refusal_class,
    words,
)

__all__ = [
    "CLASSES", "CLASS_OF_CODE", "CLIENTS", "CONCURRENCY", "FAULTS", "NO_PLACE", "OTHER", "OVERLOAD", "OWN_LIMIT", "QUOTA", "RATE", "REFUSALS",
    "UNANSWERED", "UNDATED_NS", "UNKNOWN", "WORDS", "About", "Head", "LogFormat", "Records", "Refusal", "apart", "failure", "formats", "holds_head",
    "in_known_words", "longest", "names_status", "nearest", "plainly", "recognise", "records", "refusal", "refusal_class", "words",
]  # fmt: skip

SECTIONS = ("Source",)  #: what the docstring of a format says
#: Loggers of the libraries that programs ask providers with. Their names are harmless, and their lines of level INFO tell of refusals too.
CLIENTS = frozenset((
    "httpx2", "httpcore2", "httpx", "httpcore", "openai", "openai._base_client", "anthropic", "anthropic._base_client", "litellm", "urllib3", "aiohttp",
))  # fmt: skip
COLOURS = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")  #: of terminals, which some logs keep
COMPOSE = re.compile(r"[\w.-]{1,64} {0,30}\| ")  #: before each line that ``docker compose logs`` shows
MAX_LINE = 1 << 20  #: of a line that is looked at; more than the longest error body, and a log without line ends is no log
HEAD = 800  #: characters in which time, level and service stand: all are written first
#: What makes a record that no format recognises a damaged one of the classic format instead of the rest of the one before.
_HEAD_INSIDE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\s+\+-?\d+ms|\s\+-?\d{1,12}ms\sservice=|\0")
_LOOK = 1 << 16  #: bytes of a record that are searched for that


@dataclass(frozen=True)
class Head:
    """The head of a record.

    time : as it stands there.  rest : where what follows the head begins.
    fault : the record may tell of a refusal.  level, service : "" where there is none.
    since_ms : time since the record before, if the format tells it (then records that are no refusals are needed, too).
    about : what it says of its request, refused or not.
    """

    time: str
    rest: int
    fault: bool = True
    level: str = ""
    service: str = ""
    since_ms: int | None = None
    about: About | None = None

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last instant, in ns, that are written like its time; None if there is no such time. See :func:`nearest` for those before UNDATED_NS."""
        return _span(self.time)


class LogFormat(Protocol):
    """A module of this package."""

    ID: str  #: the file's name with ``-`` for ``_``
    PROGRAM: str  #: whose log it is; "any"
    RANK: int  #: the narrow formats come first

    def recognise(self, record: str, /) -> Head | None:
        """The head of a record of this format; None of another, or of one without a time."""

    def said(self, rest: str, /) -> str:
        """What the rest of a record says in words, without what is no more than data (durations, sizes). Asked only where ``head.fault``."""

    def write(self, head: Head, /) -> str:
        """The head as this format writes it, and nothing else."""


@cache
def formats() -> tuple[LogFormat, ...]:
    """Every format, the narrow ones first."""
    return tuple(sorted(registry.members(__name__, LogFormat, SECTIONS, ("ID", "RANK")), key=lambda each: each.RANK))


def recognise(record: str) -> tuple[LogFormat, Head] | None:
    """The format of a record and its head; None if no format recognises it."""
    for each in formats():
        if (found := each.recognise(record)) is not None:
            return each, found
    return None


def plainly(line: str) -> str:
    """A line without what stands before a record (byte order mark, blanks, a container's name) and without a terminal's colours."""
    if "\x1b" in line:
        line = COLOURS.sub("", line)
    line = line.lstrip("\ufeff \t\0\r")
    return line[found.end() :] if (found := COMPOSE.match(line)) else line


def holds_head(record: bytes) -> bool:
    """Whether a record that no format recognises is a damaged one, and no continuation."""
    return _HEAD_INSIDE.search(record, 0, _LOOK) is not None
