"""Refusals in the program's own log: when they were written down, and how exactly that is known.

Theory of operation
-------------------
1. Lines are of the formats of :mod:`netlens.logs`, as the program wrote them or as the recorder reduced them; formats may be mixed. What makes a
   line a refusal stands there too.
2. A time is a span ``low_ns`` to ``high_ns`` in which the line was written: as wide as the last digit that was written. Times are UTC unless they
   name a zone, and stay in the clock of the log's own side (:func:`converted` takes them to another). One without a date, or without a year, is as near
   as may be to the line before; :func:`dated` finds the day by the capture.
3. opencode's classic form has whole seconds; :mod:`netlens.parsers.errorlog_chains` finds the milliseconds.

Limits: lines longer than ``logs.MAX_LINE`` are looked at up to there, but for batches (:func:`netlens.logs.longest`). Of a log of more than ``MAX_LINES``
lines, ``MAX_EVENTS`` refusals or the bytes of :mod:`netlens.sidefiles` the beginning is read, and the note says so. Continuation lines (a stack, say) have no
time and count as unread.

Lines hold prompts and keys: nothing of one but its number, its time and the error code ever leaves this module.
"""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from netlens import logs
from netlens.parsers.errorlog_chains import MS, SECOND, Chain
from netlens.sidefiles import Lines
from netlens.text import plural, printable

_COLOURS = re.compile(logs.COLOURS.pattern.encode())
_COMPOSE = re.compile(logs.COMPOSE.pattern.encode())
ECHO_NS = 500 * MS  #: the lines of one refusal are written together
NEAR = 8  #: lines after one that are looked at for its echo
_URL_HOST = re.compile(r"https?://([a-zA-Z0-9.-]+)")
#: A server after a word that says it was asked; without a scheme in three parts at least, as modules have two.
_ASKED = re.compile(
    r"\b(?:GET|POST|PUT|PATCH|DELETE|HEAD|[Ff]rom|(?:[Bb]ase_?)?[Uu][Rr][LlIi]|[Aa]pi_?[Bb]ase|[Hh]ost(?:name)?|[Ee]ndpoint)\b[\"']?[ :=]{1,3}[\"']?"
    r"(?:https?://(?P<url>[a-zA-Z0-9.-]+)|(?P<name>[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63}){1,6}\.[a-zA-Z]{2,24})(?![\w.]))"
)
#: Where neither this is nor a scheme, nothing is that the former finds, which takes ten times as long.
_DOTTED = re.compile(r"\.[a-zA-Z0-9-]{1,63}\.[a-zA-Z]")
#: The same in the form of urllib3 at level DEBUG, and in OpenTelemetry's conventions for HTTP.
_CONNECTED = re.compile(r"https?://(?P<debug>[a-zA-Z0-9.-]+):\d{1,5} \"[A-Z]{3,7} /")
_ATTRIBUTE = re.compile(
    r'"(?:server\.address|net\.peer\.name|url\.full|http\.url)"(?:\s?:\s?|\s?,\s?"value"\s?:\s?\{\s?"stringValue"\s?:\s?)"(?:https?://)?'
    r"(?P<attribute>[a-zA-Z0-9.-]+)"
)
_PROVIDER = re.compile(r"providerID[\"']?[=:]\s*[\"']?([\w.-]+)")
MAX_URLS = 8
_FAULTS = frozenset({"ERROR", "FATAL", "CRITICAL"})
MAX_LINES = 10_000_000  #: some 50 bytes of memory each
MAX_EVENTS = 100_000  #: one a second for a day; some 600 bytes each
SEAM = 1_000  #: records that two pieces of a log may share
MAX_STARTS = 1_000_000  #: of requests
MAX_SINCE_MS = 400 * 86_400_000  #: a longer silence in one run is damage; sums of a million of them stay within int64


@dataclass(frozen=True)
class ErrorEvent:
    """A line that says that a request was refused.

    time_ns : middle of the span.  low_ns, high_ns : the line was written in low_ns <= t <= high_ns.  line : its number in the file, from 1.
    code : the provider's error code ("1302"), if it was said.  refusal_class : one of the classes of :mod:`netlens.logs`.
    file : the log.  kind : form, level and service, for telling apart the lines that one refusal may leave.
    chain : spans of events of one chain (>= 0) are equally wide, and the true times lie equally far within them.
    small : whether it was a request for a title; None if the line does not say.  session : which lines are of one session; "" if it does not say.
    url_hosts : hosts of the URLs in it, and those of ``asked``.  provider : opencode's id of the provider; "" if it does not say.
    bare : it is taken for a refusal by a number alone, which may be any number.
    asked : servers that it says were asked, with a scheme or without ("GET https://...", "429 from api...").
    by_url : those of them that it names by a URL, or as the server's address, and not by a word that may be any machine's name.
    elsewhere : these are not the target's, as far as is known.  passing : see :class:`netlens.logs.Refusal`.
    """

    time_ns: int
    low_ns: int
    high_ns: int
    line: int
    code: str | None
    file: str
    kind: str = ""
    chain: int = -1
    refusal_class: str = logs.UNKNOWN
    small: bool | None = None
    session: str = ""
    url_hosts: tuple[str, ...] = ()
    provider: str = ""
    bare: bool = False
    asked: tuple[str, ...] = ()
    by_url: tuple[str, ...] = ()
    elsewhere: bool = False
    passing: bool = False


@dataclass(frozen=True)
class Start:
    """A line that says that a request starts, at ``low_ns`` to ``high_ns``.  session : which lines are of one session.  small : it is for a title.
    run : which lines are of one process; "" if it is not said."""

    low_ns: int
    high_ns: int
    line: int
    session: str
    small: bool
    run: str = ""


@dataclass(frozen=True)
class ErrorLog:
    """What a log says.

    events : in order of time.  lines : all lines.  unread : lines that are not empty and have no time that can be read.
    first_ns, last_ns : earliest and latest time in it, whatever the line says; None without any.
    complete : lines that are no errors are in it too, so that silence between its times says something.
    note : one line if something keeps the log from being of full use.  cut : only its beginning was read, as it is larger than a log may be.
    unclear_ns : times of faults in words that are not known; each may tell of a refusal.
    starts : of requests, in order of time, where the program writes down every one.
    program : whose forms they and the refusals have, as :mod:`netlens.logs` names it ("any" where the forms are those of many); None without any.
    other : first and last instant at which lines may have been written that say that a request failed otherwise (by a status such as 500), and hosts of
        URLs in them.
    failed : first and last instant at which a fault was written that says how a request failed otherwise, how (:func:`netlens.logs.failure`), and hosts of URLs
        in it; of several lines that one failure leaves the first.
    untimed : where no line has a time, the class of each that tells of a refusal.
    begins, ends : checksums of its first and last :data:`SEAM` records, those of the first ones with their lines.
    """

    events: list[ErrorEvent]
    lines: int
    unread: int
    note: str | None
    first_ns: int | None
    last_ns: int | None
    complete: bool = False
    cut: bool = False
    unclear_ns: tuple[int, ...] = ()
    starts: tuple[Start, ...] = ()
    program: str | None = None
    untimed: tuple[str, ...] = ()
    other: tuple[tuple[int, int, tuple[str, ...]], ...] = ()
    failed: tuple[tuple[int, int, str, tuple[str, ...]], ...] = ()
    begins: tuple[tuple[int, int], ...] = ()
    ends: tuple[int, ...] = ()


def at_once(log: ErrorLog) -> int:
    """Most processes of the program that made requests over the same time, as far as its account of requests tells; 0 without one."""
    runs: dict[str, tuple[int, int]] = {}
    for start in log.starts:
        first, last = runs.get(start.run, (start.low_ns, start.high_ns))
        runs[start.run] = min(first, start.low_ns), max(last, start.high_ns)
    most = now = 0
    for _, change in sorted([(first, 1) for first, _ in runs.values()] + [(last, -1) for _, last in runs.values()]):
        now += change
        most = max(most, now)
    return most


def converted(log: ErrorLog, to_host: Callable[[int], int]) -> ErrorLog:
    """The log in another clock; ``to_host`` takes int64 ns of the log's side to int64 ns of the other."""
    events = []
    for event in log.events:
        low, high = sorted((int(to_host(event.low_ns)), int(to_host(event.high_ns))))
        events.append(replace(event, low_ns=low, high_ns=high, time_ns=(low + high) // 2))
    first = None if log.first_ns is None else int(to_host(log.first_ns))
    last = None if log.last_ns is None else int(to_host(log.last_ns))
    unclear = tuple(int(to_host(time)) for time in log.unclear_ns)
    other = tuple((int(to_host(low)), int(to_host(high)), hosts) for low, high, hosts in log.other)
    failed = tuple((int(to_host(low)), int(to_host(high)), how, hosts) for low, high, how, hosts in log.failed)
    starts = tuple(replace(each, low_ns=int(to_host(each.low_ns)), high_ns=int(to_host(each.high_ns))) for each in log.starts)
    events.sort(key=lambda e: (e.time_ns, e.line))
    return replace(log, events=events, first_ns=first, last_ns=last, unclear_ns=unclear, starts=starts, other=other, failed=failed)


def dated(log: ErrorLog, until_ns: int) -> ErrorLog:
    """The log with date and year in its times, if they lack them: of the days and years that they may be of, it ends nearest to ``until_ns``."""
    if log.last_ns is None or log.last_ns >= logs.UNDATED_NS:
        return log
    off = logs.nearest(log.last_ns, until_ns) - log.last_ns
    return converted(log, lambda time: time + off)


def read(path: str | os.PathLike[str]) -> ErrorLog:
    """Read a log, also a gzipped one; it is streamed.

    Raises
    ------
    CaptureError
        it cannot be opened or read.
    """
    name = os.fsdecode(path)
    return _read(Lines(name, MAX_LINES, logs.MAX_LINE, "the error log", logs.longest), name)


#: What those who turn logs over put behind a name, or before its end, for the older pieces: a count or a date (logrotate, Python's handlers, logback,
#: lumberjack), and the form in which they are packed.
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst)$", re.IGNORECASE)
_DATE = r"[-._](?:19|20)\d\d-?\d\d(?:-?\d\d)?(?:[-_T. ]?\d\d[-:.]?\d\d(?:[-:.]?\d\d(?:\.\d{1,6})?)?)?"
_TURN = re.compile(rf"(?:{_DATE}(?:\.\d{{1,3}})?|\.\d{{1,3}}|\.old)(?=$|\.[A-Za-z]{{2,5}}$)")


def pieces(paths: Sequence[str], found: Sequence[ErrorLog]) -> list[ErrorLog]:
    """The logs, those that are pieces of one that was turned over (``agent.log.1``, ``agent.log``) as one: their names differ by a count or a date alone, and
    one ends before the next begins, or with the lines with which that begins. A piece without a line says nothing."""
    groups: dict[str, list[ErrorLog]] = {}
    for path, log in zip(paths, found, strict=True):
        folder, name = os.path.split(path)
        groups.setdefault(os.path.join(folder, _TURN.sub("", _PACKED.sub("", name))), []).append(log)
    out = []
    for group in groups.values():
        written = [log for log in group if log.first_ns is not None or log.unread] or group
        order = sorted(written, key=lambda log: log.first_ns or 0)
        order = [log if i == 0 else _without_shared(order[i - 1], log) for i, log in enumerate(order)]
        apart = all(a.last_ns and b.first_ns and b.first_ns >= a.last_ns - SECOND for a, b in itertools.pairwise(order))
        whole = replace(joined(order), first_ns=order[0].first_ns, last_ns=order[-1].last_ns)
        out += [whole] if apart and len(order) > 1 else written
    return out


def _without_shared(before: ErrorLog, log: ErrorLog) -> ErrorLog:
    """A log without the lines at its begin that are those at the end of the one before: who turns it over by copying it, or ships it, may write some twice."""
    begins, end = tuple(each for each, _ in log.begins), before.last_ns
    n = next((n for n in range(min(len(before.ends), len(begins)), 1, -1) if before.ends[-n:] == begins[:n]), 0)
    if not n or end is None:
        return log
    last = log.begins[n - 1][1]
    return replace(
        log,
        events=[e for e in log.events if e.line > last],
        first_ns=end,
        unclear_ns=tuple(ns for ns in log.unclear_ns if ns > end),
        starts=tuple(s for s in log.starts if s.line > last),
        other=tuple(each for each in log.other if each[0] > end),
        failed=tuple(each for each in log.failed if each[0] > end),
    )


def joined(found: Sequence[ErrorLog]) -> ErrorLog:
    """The logs of several programs of one side as one. Its silence says something only while all of them tell of it."""
    if len(found) == 1:
        return found[0]
    firsts, lasts = [log.first_ns for log in found if log.first_ns is not None], [log.last_ns for log in found if log.last_ns is not None]
    whole = len(firsts) == len(found)
    return ErrorLog(
        sorted((event for log in found for event in log.events), key=lambda e: (e.time_ns, e.file, e.line)),
        sum(log.lines for log in found),
        sum(log.unread for log in found),
        None,
        max(firsts) if whole else None,
        min(lasts) if whole else None,
        all(log.complete for log in found),
        any(log.cut for log in found),
        tuple(time for log in found for time in log.unclear_ns),
        tuple(sorted((start for log in found for start in log.starts), key=lambda start: start.low_ns)),
        next((log.program for log in sorted(found, key=lambda log: (log.program == "any", -len(log.events))) if log.program), None),
        tuple(each for log in found for each in log.untimed),
        tuple(each for log in found for each in log.other),
        tuple(each for log in found for each in log.failed),
    )


#: Ids of what a line is about, which say nothing of what became of it: records differ by no more as a rule.
_IDS = re.compile(r"\b(?:[a-z]{2,8}_(?=[0-9A-Za-z]*\d)[0-9A-Za-z]{6,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b")
SAME_WORDS = 1_000  #: records of which it is known what they say
_refusal, _failure = lru_cache(SAME_WORDS)(logs.refusal), lru_cache(SAME_WORDS)(logs.failure)
_words, _names_status = lru_cache(SAME_WORDS)(logs.words), lru_cache(SAME_WORDS)(logs.names_status)

#: Hosts of URLs, a provider's id, servers that were asked, and those of them by a URL.
_Names = tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]
_NO_NAMES: _Names = ((), "", (), ())


def _named(record: str) -> _Names:
    """What a record says of whom it asked."""
    hosts = dict.fromkeys(found[1].lower().rstrip(".") for found in itertools.islice(_URL_HOST.finditer(record), MAX_URLS))
    asked, by_url = dict[str, None](), dict[str, None]()
    those = (_ASKED, _CONNECTED, _ATTRIBUTE) if "://" in record or _DOTTED.search(record) else (_ATTRIBUTE,)
    for found in itertools.islice(itertools.chain(*(each.finditer(record) for each in those)), MAX_URLS):
        name = next(filter(None, found.groups())).lower().rstrip(".")
        asked[name] = None
        by_url |= {} if found.re is _ASKED and not found["url"] else {name: None}
    provider = _PROVIDER.search(record)
    return tuple(hosts | asked), provider[1] if provider else "", tuple(asked), tuple(by_url)


def _names(said: str, how: str) -> bool:
    """Whether words name the status by which a request failed."""
    return how.startswith("status ") and re.search(rf"\b{how.removeprefix('status ')}\b", said) is not None


_Span = tuple[int, int]  #: first and last ns


class _Refused(NamedTuple):
    """A line that says that a request was refused. ``row``: of the chain, or -1."""

    row: int
    span: _Span
    line: int
    kind: str
    refusal: logs.Refusal
    about: logs.About | None
    names: _Names


class _Reader:
    """What the lines of one log say, line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chain = Chain()
        self.refused: list[_Refused] = []
        self.starts: list[Start] = []
        self.unclear: dict[str, list[int]] = {"": []}  # by program; of errors that say which request they are of, under ""
        self.accounts: set[str] = set()  # programs that write down the start of every request
        self.whose: Counter[str] = Counter()  # programs whose refusals or starts they are
        self.untimed: list[str] = []
        self.other: list[tuple[int, int, tuple[str, ...]]] = []  # of faults that name another status
        self.failed: list[tuple[int, int, str, tuple[str, ...]]] = []
        self.echo: tuple[str, str] = ("", "")  # how the last of these failed, and which kind of line says so
        self.unread = 0
        self.told: set[int] = set()  # refusals by time and words
        self.quiet = False  # a line that is no error was read
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.before_ns: int | None = None  # the line before
        self.joined = True  # to the line before it in the chain

    def take(self, line: int, raw: bytes) -> None:
        raw = _plainly(raw)
        if not raw.strip():
            return
        # Most lines are long and of no interest: only their head is decoded.
        text = (raw if raw[:1] == b"{" else raw[: logs.HEAD]).decode("utf-8", "replace")
        form, head = logs.recognise(text) or (None, None)
        if form is None or head is None or (span := head.span) is None:
            self._without_time(raw, text)
            return
        span = self._as_near_as_may_be(span)
        refusal, names = None, _NO_NAMES
        kind = f"{form.ID} {head.level} {head.service}".strip() if head.fault else ""
        if head.fault:
            whole = raw.decode("utf-8", "replace") if len(raw) > logs.HEAD else text
            refusal = self._fault(form, head, span, kind, whole)
            names = _named(whole) if refusal else _NO_NAMES
            if refusal and self._is_repeated(span, form.said(whole[head.rest :])):
                return
        else:
            self._quiet(form, head, span, line)
        row = self._row(span, head.since_ms)
        if refusal:
            self.refused.append(_Refused(row, span, line, kind, refusal, head.about, names))
        self.first_ns = span[0] if self.first_ns is None else min(self.first_ns, span[0])
        self.last_ns = span[1] if self.last_ns is None else max(self.last_ns, span[1])

    def _without_time(self, raw: bytes, text: str) -> None:
        self.unread += 1
        if (
            self.last_ns is None
            and len(self.untimed) < MAX_EVENTS
            and logs.in_known_words(text)
            and (told := logs.refusal(text, fault=False))
        ):
            self.untimed.append(told.refusal_class)
        self.joined = self.joined and not logs.holds_head(raw)

    def _as_near_as_may_be(self, span: _Span) -> _Span:
        """To the line before, if a date or year is missing."""
        if span[0] < logs.UNDATED_NS and self.before_ns is not None:
            off = logs.nearest(span[0], self.before_ns) - span[0]
            span = span[0] + off, span[1] + off
        self.before_ns = span[0]
        return span

    def _fault(self, form: logs.LogFormat, head: logs.Head, span: _Span, kind: str, whole: str) -> logs.Refusal | None:
        """What a fault says of a refusal; how a request failed otherwise is noted."""
        rest = whole[head.rest :]
        said = _IDS.sub("id", form.said(rest))
        refusal = _refusal(said, fault=head.level in logs.FAULTS)
        self.whose[form.PROGRAM] += refusal is not None
        if refusal and self._is_echo(span) and _names(said, self.failed[-1][2]):
            self.failed.pop()  # curl writes the status, and then what the server said
        if refusal is None and head.level in _FAULTS and not _words(said):
            those = self.unclear.setdefault("" if head.about else form.PROGRAM, [])
            those += [span[0]] if len(those) < MAX_EVENTS else []
        if refusal is None and len(self.other) < MAX_EVENTS and _names_status(said):
            self.other.append((*span, _named(whole)[0]))
        if head.level in (*_FAULTS, "") and len(self.failed) < MAX_EVENTS and (how := _failure(said)):
            if self.echo[0] != how or self.echo[1] == kind or not self._is_echo(span):
                self.failed.append((*span, how, _named(whole)[0]))
                self.echo = how, kind
        self.quiet = self.quiet or (not head.level and not refusal and not logs.words(rest))
        return refusal

    def _is_echo(self, span: _Span) -> bool:
        """Whether a line may be of the failure that was told last."""
        return bool(self.failed) and span[0] - self.failed[-1][1] <= ECHO_NS

    def _is_repeated(self, span: _Span, said: str) -> bool:
        """Whether a refusal was told before in the same words with the same time, and later lines since: what ships logs sends again what nobody
        acknowledged."""
        key, known = hash((span, said)), len(self.told)
        self.told.add(key)
        return len(self.told) == known and self.last_ns is not None and span[1] < self.last_ns and span[1] - span[0] < SECOND

    def _quiet(self, form: logs.LogFormat, head: logs.Head, span: _Span, line: int) -> None:
        """A line that is no fault may say that a request starts."""
        self.quiet = True
        if head.about and head.about.starts and len(self.starts) < MAX_STARTS:
            self.starts.append(Start(*span, line, head.about.session, head.about.small, head.about.run))
            self.accounts.add(form.PROGRAM)
            self.whose[form.PROGRAM] += 1

    def _row(self, span: _Span, since_ms: int | None) -> int:
        """Of the chain; -1 of a line that is of none."""
        if since_ms is None:
            return -1
        self.joined = self.joined and abs(since_ms) <= MAX_SINCE_MS
        row = self.chain.add(span[0], since_ms * MS if self.joined else 0, self.joined)
        self.joined = True
        return row

    def events(self) -> list[ErrorEvent]:
        """In order of time."""
        out = []
        for row, span, line, kind, refusal, about, (hosts, provider, asked, by_url) in self.refused:
            low, high, chain = self.chain.span(row) if row >= 0 else (*span, -1)
            out.append(
                ErrorEvent(
                    (low + high) // 2, low, high, line, refusal.code, self.name, kind, chain, refusal.refusal_class, about.small if about else None,
                    about.session if about else "", hosts, provider, refusal.bare, asked, by_url, passing=refusal.passing,
                )
            )  # fmt: skip
        return _classed(sorted(out, key=lambda e: (e.time_ns, e.line)))

    def doubts(self) -> tuple[int, ...]:
        """Times of faults that may be of a request: a program that writes down every request says of each error whether it is a request's."""
        return tuple(sorted(ns for program, those in self.unclear.items() if program not in self.accounts for ns in those))


def _plainly(raw: bytes) -> bytes:
    """As :func:`netlens.logs.plainly`."""
    if b"\x1b" in raw:
        raw = _COLOURS.sub(b"", raw)
    raw = raw.lstrip(b"\xef\xbb\xbf \t\0\r")
    return raw[found.end() :] if b"| " in raw[:100] and (found := _COMPOSE.match(raw)) else raw


def _read(rows: Lines, name: str) -> ErrorLog:
    reader, lines, begun = _Reader(name), 0, 1
    begins, ends = list[tuple[int, int]](), deque[int](maxlen=SEAM)
    for raw, count in logs.records(rows):
        if len(reader.refused) >= MAX_EVENTS:
            rows.cut = f"its first {plural(MAX_EVENTS, 'refusal')}"
            break
        begun = lines + 1 if count else begun  # records of one line have its number
        reader.take(begun, raw)
        if raw.strip():
            ends.append(zlib.crc32(raw))
            begins += [(ends[-1], begun)] if len(begins) < SEAM else []
        lines += count
    events, untimed = reader.events(), reader.untimed
    program = max((name for name, n in reader.whose.items() if n), key=lambda name: (name != "any", reader.whose[name]), default=None)
    return ErrorLog(
        events,
        lines,
        reader.unread,
        rows.note or _note(name, events, lines, reader.unread, reader.first_ns, len(untimed)),
        reader.first_ns,
        reader.last_ns,
        complete=reader.quiet,
        cut=rows.cut is not None,
        unclear_ns=reader.doubts(),
        starts=tuple(sorted(reader.starts, key=lambda start: start.low_ns)),
        program=program,
        untimed=tuple(untimed) if reader.last_ns is None else (),
        other=tuple(reader.other),
        failed=tuple(reader.failed),
        begins=tuple(begins),
        ends=tuple(ends),
    )


def _classed(events: list[ErrorEvent]) -> list[ErrorEvent]:
    """The events with the classes that their echoes name: a library writes a status, and then the program what the provider said.

    Lines of one kind, of which all that have such an echo are of one class, are of that class: of a request that is tried three times the last is echoed.
    """
    found, by_kind = list(events), dict[str, set[tuple[str, str | None]]]()
    for i, event in enumerate(events):
        if event.refusal_class != logs.UNKNOWN:
            continue
        for after in events[i + 1 : i + 1 + NEAR]:
            if after.low_ns - event.high_ns > ECHO_NS:
                break
            if after.file == event.file and after.kind != event.kind and after.refusal_class != logs.UNKNOWN:
                found[i] = replace(event, refusal_class=after.refusal_class, code=after.code)
                by_kind.setdefault(event.kind, set()).add((after.refusal_class, after.code))
                break
    for i, event in enumerate(found):
        if event.refusal_class == logs.UNKNOWN and len(said := by_kind.get(event.kind, set())) == 1:
            refusal_class, code = next(iter(said))
            found[i] = replace(event, refusal_class=refusal_class, code=code)
    return found


def _note(name: str, events: list[ErrorEvent], lines: int, unread: int, first: int | None, untimed: int) -> str | None:
    shown = printable(name)
    if lines and first is None:
        told = f"; {plural(untimed, 'line')} of it {'tells' if untimed == 1 else 'tell'} of refusals" if untimed else ""
        return f"{shown}: no line begins with a time that can be read{told}; put a time before each line (... 2>&1 | ts '%FT%T%z')"
    rough = sum(e.high_ns - e.low_ns >= SECOND for e in events)
    if rough:
        return f"{shown}: {rough:,} of {plural(len(events), 'refusal')} known to the second only"
    if unread > lines // 2:
        return f"{shown}: {unread:,} of {plural(lines, 'line')} without a time that can be read"
    return None
