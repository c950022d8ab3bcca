"""Which requests the provider refused: from an error log, from a TLS key log, or from the traffic alone.

Theory of operation
-------------------
Log. 1. The program writes a refusal down when it has read the answer: the line follows the answer's last byte, on an idle machine within a
millisecond (measured: 0.07 to 48 ms over 2,100 refusals, the long ones with a tunnel and delayed acknowledgments between), on a busy one
later, and before it where the error stands in a stream that goes on a little. So an event and an answer may belong together if the one lies
at most :data:`EARLY_NS` before and :data:`LATE_NS` after the end of the other.
2. Of all ways to give each event an answer of its own, the cheapest is taken (dynamic programming over both in order of time). What a pair costs
grows with its lag, and is higher if the answer does not look like a refusal; leaving an event out costs more than any pair.
3. How long the lag usually is is learned from the events that leave no choice, and what a refusal looks like from all. Refusals are all of nearly one size
if the provider answers with a status; if it refuses inside streams they are not, and size says nothing. Events of one chain of the log (see
parsers.errorlog) share what is left open about their times, so those without a choice narrow the others.
4. One refusal may leave several lines of different kinds (the stream's error, the session's, "retrying"). A line of another kind right behind one is
its echo: it gets an answer only if an unclaimed one looks like a refusal.
5. Where two answers fit an event about equally well, neither is claimed: both are unknown. So is a stream where refusals are short.
6. *Look-alikes.* Once the log has shown what refusals look like, an answer without a line that looks exactly like them was refused too, if programs
usually sent the same request again after such answers. SDKs retry without a word: one line stands for up to three refusals (measured). Otherwise
it stays unknown. Streams outside the time of the log were accepted; all else there stays unknown.
7. An answer that looks different and has no event was accepted if the log covers it; but not if most events found no answer, for then the log is of
another time, side or program.

Key log. Status and error code tell; exchanges find their request by session and frame.

Traffic alone. 8. On HTTP/1.1 a refusal with a status is short, comes at once, and has nearly the same size each time, where answers are streams;
and the same request is sent again after a while and answered by a stream in the end. Sizes at which this was seen to happen
:data:`MIN_CHAINS` times are the provider's refusal; everything else of this size and shape is one too, streams are accepted, and what is neither stays
unknown. Without such sizes all is unknown: perhaps nothing was refused, perhaps refusals stand inside streams, whose size tells nothing.

Limits: the log's lines are believed. Any error with a short constant answer after which programs try again (500, 503) looks like a refusal in the
traffic. A provider that refuses both ways, by status and inside streams, has the latter taken for accepted there. With HTTP/2 turns are no requests:
without keys nothing is inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens import logs
from netlens.parsers.errorlog import ErrorEvent, ErrorLog, converted
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.parsers.decrypted import Decrypted, DecryptedRequest

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[Any]]

REJECTED, ACCEPTED, UNKNOWN = 1, 0, -1
ERROR_LOG, KEY_LOG, LOOK_ALIKE, INFERRED = "error log", "key log", "look-alike", "inferred"
MS, S = 1_000_000, 1_000_000_000

#: docs.z.ai/api-reference/api-code: refusals of a request that is right in itself; all of them come with status 429.
REFUSAL_CODES = frozenset(logs.CLASS_OF_CODE)

# --- log: lags and costs. A cost of 1 is what a lag beyond the usual costs per LAG_UNIT_NS.
EARLY_NS = (
    400 * MS
)  #: an error event in a stream is read before the stream's end, which follows within a round trip and the server's next write
LATE_NS = 2 * S  #: a machine busy enough to write a line later than that would have fewer requests in flight than matter
USUAL_NS = 60 * MS  #: a delayed acknowledgment (40 ms on Linux) and some; replaced by what is learned
AT_ONCE_NS = 5 * MS  #: of several lines the quickest follows its answer at least this soon
LAG_UNIT_NS = 100 * MS  #: less where lines are known to follow at once
MIN_LEAD = 2  #: lines more than any other place in the span of a chain must explain
MIN_LEARNED = 4  #: events from which lag, look and place in a chain are learned
TOO_EARLY = 0.6  #: cost of a line before the answer's end; more than MARGIN, as it happens inside streams only
UNLIKE = 30.0  #: cost of an answer that does not look like the refusals; outweighs any lag but one near LATE_NS
ONE_LOOK = 0.8  #: share of the events that must have a short answer of these sizes before them
NOT_READ = 1.0  #: cost of an answer that the program did not read to its end
SLOW_HINT = 0.2  #: cost of a long answer while it is not known how refusals look; a hint, no more
ALONE = 1000.0  #: cost of an event without an answer
MARGIN = 0.5  #: costs this close are no reason to prefer one answer; half of LAG_UNIT_NS
MAX_CELLS = (
    1 << 22
)  #: of a table of costs, 32 MB; only thousands of requests a second reach it, and then its edges are matched a little worse
SHORT_MARGIN = 3.0  #: the same towards a short answer while it is not known how refusals look
#: How far before a line its answer is looked for while learning what refusals look like; opencode writes up to 360 ms later (measured).
NEAR_NS = 600 * MS
MANY = 1.5  #: answers that look like refusals for each event; where there are more, they are retries without a line, or something else
MIN_OTHERS = 0.1  #: share of the answers that must be of other sizes, for a size to say anything
RETRIED = 0.5  #: share of those beyond the events after which the same request must come again, for them to be refusals
SILENT_RETRY_NS = 200 * MS  #: the OpenAI and Anthropic SDKs wait 0.375 s before the first of their retries, less on a clock that is off
ECHO_NS = 500 * MS  #: the lines of one refusal are written together
MAX_OPEN = (
    64  #: refusals that may have their echo still to come; half a second of a busy program has ten, a log that repeats itself thousands
)
BELIEVED = 0.5  #: share of events that must find an answer for silence to mean anything

# --- what an answer looks like
ALIKE_BYTES = 16  #: sizes of one refusal differ by digits of a number or a header; two TLS records more would be 44
SHORT_NS = 60 * MS  #: first to last byte; 47 ms were measured where an acknowledgment was delayed between head and body
SHORT_BYTES = 4096
STREAM_NS = 150 * MS  #: first to last byte; between the two nothing is claimed
STREAM_BYTES = 16384

# --- traffic alone
SAME_REQUEST_BYTES = 4  #: one request sent again differs by a digit or two at most
BACK_OFF_NS = (400 * MS, 120 * S)  #: Retry-After of a second less what the clock may be off, to 30 s with room; programs give up after that
MIN_CHAINS = 2  #: chains refused ... answered by a stream; one may be chance
CONFIRMED = 0.5  #: share of the answers of a size, as far as the same request came again, that must belong to such a chain
QUICK = 0.5  #: of the shortest waits for the first byte of a stream
NEAR_CLOSE_NS = 2 * S  #: an answer after which the program closes at once may have been broken off instead of refused


@dataclass(frozen=True, eq=False)
class Labels:
    """Per exchange: refused or not, and who says so; arrays of equal length.

    rejected : REJECTED, ACCEPTED or UNKNOWN.  source : "error log", "key log", "look-alike", "inferred", or "" where unknown.  reason : why, in a
    few words.  refusal_class : of those refused, one of the classes of :mod:`netlens.logs`; else "".
    matched : (index of the event, row of the exchange).  unmatched : events for which there is no exchange; echoes of others are not among them.
    note : what a person should know about these labels; "" if nothing.  sizes : of refusals, as the log showed them.
    ends : when each answer ended, where a log was matched.
    """

    rejected: npt.NDArray[np.int8]
    source: npt.NDArray[np.object_]
    reason: npt.NDArray[np.object_]
    refusal_class: npt.NDArray[np.object_]
    matched: list[tuple[int, int]] = field(default_factory=list)
    unmatched: list[ErrorEvent] = field(default_factory=list)
    note: str = ""
    sizes: tuple[int, ...] = ()
    ends: Ints | None = field(default=None, repr=False)


def _labels(n: int, reason: str) -> Labels:
    source, reasons, classes = np.empty(n, object), np.empty(n, object), np.empty(n, object)
    source[:], reasons[:], classes[:] = "", reason, ""
    return Labels(np.full(n, UNKNOWN, np.int8), source, reasons, classes)


def _set(labels: Labels, rows: Any, rejected: int, source: str, reason: str, refusal_class: str = logs.UNKNOWN) -> None:
    labels.rejected[rows], labels.source[rows], labels.reason[rows] = rejected, source if rejected != UNKNOWN else "", reason
    labels.refusal_class[rows] = refusal_class if rejected == REJECTED else ""


class _Answers:
    """Columns of exchanges as plain arrays; times that are missing are NONE."""

    NONE = np.iinfo(np.int64).min

    def __init__(self, exchanges: Columns):
        self.start = _ints(exchanges["start_ns"], self.NONE)
        self.asked = _ints(exchanges["request_end_ns"], self.NONE)
        self.response = _ints(exchanges["response_ns"], self.NONE)
        self.end = _ints(exchanges["end_ns"], self.NONE)
        self.up, self.down = _ints(exchanges["up_bytes"], 0), _ints(exchanges["down_bytes"], 0)
        self.complete = np.array([value is True or value == 1 for value in exchanges["complete"]], bool)
        self.answered = (self.end != self.NONE) & (self.response != self.NONE)
        self.lasts = np.where(self.answered, self.end - np.where(self.answered, self.response, 0), 0)
        self.waits = np.where(self.answered, self.response - np.where(self.answered, self.asked, 0), 0)
        self.short = self.answered & self.complete & (self.lasts <= SHORT_NS) & (self.down <= SHORT_BYTES)
        self.stream = self.answered & ((self.lasts >= STREAM_NS) | (self.down >= STREAM_BYTES))

    def __len__(self) -> int:
        return len(self.start)


def _ints(values: Any, missing: int) -> Ints:
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    # pandas' missing value is none of these, and a float would not hold nanoseconds since 1970
    return np.array([int(v) if isinstance(v, (int, np.integer)) else missing for v in np.asarray(values, object)], np.int64)


# --- the error log ----------------------------------------------------------------------------------------------------------------------------


def from_log(
    exchanges: Columns,
    log: ErrorLog,
    to_host: Callable[[int], int] | None = None,
    *,
    covers: bool = False,
    slack_ns: int = 2 * MS,
    taught: tuple[int, ...] = (),
) -> Labels:
    """Labels from one side's error log.

    Parameters
    ----------
    exchanges : rows of that side to the target, as captured on either side.
    log : the side's log.
    to_host : takes the log's times to the clock of the exchanges; None if they are the same.
    covers : the log is known to hold all that happened while the exchanges were captured; otherwise its first and last time are its bounds.
    slack_ns : how far clocks may be off beyond the spans of the events.
    taught : sizes of refusals that the log of another program of the same provider has shown, for a log that shows none.
    """
    if to_host is not None:
        log = converted(log, to_host)
    answers = _Answers(exchanges)
    labels = _labels(len(answers), "the error log does not cover it")
    events = log.events
    match = _match(answers, events, slack_ns, np.array(sorted(taught), np.int64))
    covered = _covered(answers, log, covers)
    doubted = _doubted(answers, events, match, covered)
    classes = [events[event].refusal_class for event, _ in match.pairs]
    if not doubted:
        _set(labels, covered, ACCEPTED, ERROR_LOG, "the error log says nothing against it")
        if match.sizes:
            _set(labels, answers.stream & ~covered, ACCEPTED, LOOK_ALIKE, "a stream, where refusals are short")
        if match.retried:
            like = max(sorted(set(classes)), key=classes.count, default=logs.UNKNOWN)
            _set(
                labels,
                match.looks_refused,
                REJECTED,
                LOOK_ALIKE,
                "looks like the refusals in the error log, and is retried like them",
                like,
            )
        else:
            _set(labels, match.looks_refused, UNKNOWN, "", "looks like the refusals in the error log, but has no line there")
    unsure = [row for row in match.doubtful if not (match.retried and match.looks_refused[row])]  # both were refused, one has the line
    _set(labels, unsure, UNKNOWN, "", "a line of the error log may mean it, or another answer")
    for event, row in match.pairs:
        if row not in match.doubtful:
            code = f" ({events[event].code})" if events[event].code else ""
            reason = f"line {events[event].line} of the error log{code}"
            _set(labels, row, REJECTED, ERROR_LOG, reason, events[event].refusal_class)
    taken = {event for event, _ in match.pairs}
    unmatched = [event for i, event in enumerate(events) if i not in taken and i not in match.echoes]
    return replace(
        labels,
        matched=match.pairs,
        unmatched=unmatched,
        note=doubted or _note(answers, match, unsure, unmatched, covered),
        sizes=match.sizes,
        ends=answers.end,
    )


def typical_lag_ns(labels: Labels, log: ErrorLog | None) -> int | None:
    """How far the lines of a log are from the answers that they were matched with, as a rule; None without any.

    Needs ``labels`` to be those of :func:`from_log` with this log.
    """
    if log is None or not labels.matched or labels.ends is None:
        return None
    events = log.events
    lags = [max(events[i].low_ns - end, end - events[i].high_ns, 0) for i, row in labels.matched for end in [int(labels.ends[row])]]
    return int(np.median(lags))


@dataclass
class _Match:
    pairs: list[tuple[int, int]]  # index of event, row
    echoes: set[int]
    doubtful: set[int]
    looks_refused: npt.NDArray[np.bool_]  # of those without a line for certain
    sizes: tuple[int, ...]  # of refusals, which are short, so that streams are none; empty if not known
    retried: bool  # what looks refused, but has no line, is asked for again as a rule


def _match(answers: _Answers, events: Sequence[ErrorEvent], slack_ns: int, taught: Ints) -> _Match:
    n = len(answers)
    rows = np.flatnonzero(answers.answered)
    rows = rows[np.argsort(answers.end[rows], kind="stable")]
    echoes = _echoes(events)
    main = [i for i in range(len(events)) if i not in echoes]
    low = np.array([events[i].low_ns for i in main], np.int64) - slack_ns
    high = np.array([events[i].high_ns for i in main], np.int64) + slack_ns
    end = answers.end[rows]
    first = np.searchsorted(end, low - LATE_NS, "left")
    stop = np.searchsorted(end, high + EARLY_NS, "right")
    if _tighten([events[i] for i in main], end, low, high, slack_ns):
        first = np.searchsorted(end, low - LATE_NS, "left")
        stop = np.searchsorted(end, high + EARLY_NS, "right")
    sizes = _sizes(answers, rows, low, high) if main else None
    if sizes is None and len(taught):
        sizes = taught
    usual = _usual(answers, rows, low, _sure(end, low, high, first, stop), sizes)
    look = _look(answers, sizes)
    # one size or two of all refusals: then they can be told by it
    looks = np.zeros(n, bool) if sizes is None else answers.short & _alike(answers.down, sizes)

    def cost(i: int, a: int, b: int) -> Floats:
        """Of the event i with rows a to b."""
        return _lag_cost(low[i] - end[a:b], high[i] - end[a:b], usual) + look[rows[a:b]]

    pairs: list[tuple[int, int]] = []
    doubtful: set[int] = set()
    floor = 0
    for group in _groups(first, stop):
        a, b = max(int(first[group[0]]), floor), int(max(stop[group[0] : group[-1] + 1]))
        costs = np.full((len(group), max(b - a, 0)), np.inf)
        for k, i in enumerate(group):
            if (begin := max(int(first[i]), a)) < stop[i]:
                costs[k, begin - a : stop[i] - a] = cost(i, begin, int(stop[i]))
        chosen = _assign(costs)
        found = [(k, a + j) for k, j in enumerate(chosen) if j >= 0]
        pairs += [(main[group[k]], int(rows[j])) for k, j in found]
        doubtful |= {int(rows[a + j]) for j in _ties(costs, chosen, answers.short[rows[a:b]] if sizes is None else None)}
        if sizes is not None:  # a stream, where refusals are short
            doubtful |= {int(rows[j]) for k, j in found if costs[k, j - a] >= UNLIKE and answers.stream[rows[j]]}
        floor = max([floor, *(j + 1 for _, j in found)])
    taken = {row for _, row in pairs}
    if sizes is not None:
        for i in sorted(echoes):
            a = int(np.searchsorted(end, events[i].low_ns - slack_ns - usual, "left"))
            b = int(np.searchsorted(end, events[i].high_ns + slack_ns, "right"))
            if free := [row for row in rows[a:b].tolist() if looks[row] and row not in taken]:
                row = min(free, key=lambda r: abs(events[i].time_ns - int(answers.end[r])))
                pairs.append((i, row))
                taken.add(row)
    looks[list(taken - doubtful)] = False
    retried = bool(looks.any()) and _retried(answers, looks)
    return _Match(sorted(pairs), echoes, doubtful, looks, () if sizes is None else tuple(sizes.tolist()), retried)


def _retried(answers: _Answers, rows: npt.NDArray[np.bool_]) -> bool:
    """Whether the same request came again soon after these answers, as a rule."""
    return float((_chains(answers, np.ones(len(answers), bool), SILENT_RETRY_NS)[rows] >= 0).mean()) >= RETRIED


def _echoes(events: Sequence[ErrorEvent]) -> set[int]:
    """Lines of another kind than one shortly before that has no echo of this kind yet."""
    out: set[int] = set()
    open_now: list[tuple[ErrorEvent, set[str]]] = []
    for i, event in enumerate(events):
        open_now = [each for each in open_now[-MAX_OPEN:] if event.low_ns - each[0].high_ns <= ECHO_NS]
        for before, kinds in open_now:
            if before.file == event.file and before.line < event.line and before.kind != event.kind and event.kind not in kinds:
                kinds.add(event.kind)
                out.add(i)
                break
        else:
            open_now.append((event, set()))
    return out


def _lag_cost(low: Ints, high: Ints, usual: int) -> Floats:
    """Cost of a lag known to lie in low..high: nothing at once, little within the usual, then by the time; too early costs more."""
    lag = np.clip(0, low, high).astype(np.float64)
    unit = min(max(2 * usual, 20 * MS), LAG_UNIT_NS)  # where lines follow at once, one that comes late is the stranger
    late = np.maximum(lag, 0)
    return np.where(
        lag < 0,
        TOO_EARLY - lag / (LAG_UNIT_NS / 4),
        np.minimum(late, usual) / usual * (MARGIN / 2) + np.maximum(late - usual, 0) / unit,
    )


def _sure(end: Ints, low: Ints, high: Ints, first: Ints, stop: Ints) -> dict[int, int]:
    """Event -> answer (both by position) where there is no choice: they have only each other, or it is the only answer right before the line."""
    claims = np.zeros(len(end) + 1, np.int64)
    np.add.at(claims, first, 1)
    np.add.at(claims, stop, -1)
    claims = np.cumsum(claims)
    # With many agents nobody is ever alone.
    a, b = np.searchsorted(end, low - USUAL_NS, "left"), np.searchsorted(end, high, "right")
    out = {}
    for i in range(len(low)):
        if stop[i] - first[i] == 1 and claims[first[i]] == 1:
            out[i] = int(first[i])
        elif b[i] - a[i] == 1:
            out[i] = int(a[i])
    return out


def _tighten(events: Sequence[ErrorEvent], end: Ints, low: Ints, high: Ints, slack_ns: int) -> bool:
    """Narrow the spans of chains in place; True if any was.

    All lines of a chain lie equally far within their spans. So the place is looked for at which most of them find an answer that ended at once
    before; it is taken if no other is nearly as good.
    """
    members: dict[tuple[str, int], list[int]] = {}
    for i, event in enumerate(events):
        if event.chain >= 0 and event.high_ns - event.low_ns > 2 * AT_ONCE_NS:
            members.setdefault((event.file, event.chain), []).append(i)
    changed = False
    for those in members.values():
        ends = [end[np.searchsorted(end, low[i], "left") : np.searchsorted(end, high[i], "right")] - low[i] - slack_ns for i in those]
        if sum(len(e) > 0 for e in ends) < MIN_LEARNED:
            continue
        place, owner = np.concatenate(ends), np.repeat(np.arange(len(ends)), [len(e) for e in ends])
        order = np.argsort(place, kind="stable")
        place, owner = place[order], owner[order]
        stop = np.searchsorted(place, place + AT_ONCE_NS, "right")
        votes = np.array([len(set(owner[a:b].tolist())) for a, b in enumerate(stop)])
        best = int(votes.argmax())
        rivals = votes[np.abs(place - place[best]) > 2 * AT_ONCE_NS]
        if votes[best] < max(MIN_LEARNED, BELIEVED * len(those)) or (len(rivals) and rivals.max() > votes[best] - MIN_LEAD):
            continue
        first, last = int(place[best]), int(place[stop[best] - 1])
        for i in those:
            low[i] += first
            high[i] = min(high[i], low[i] + last - first + 2 * slack_ns)
        changed = True
    return changed


def _usual(answers: _Answers, rows: Ints, low: Ints, sure: dict[int, int], sizes: Ints | None) -> int:
    """How long after its answer a line is usually written, from events without a choice."""
    if sizes is not None:
        sure = {i: j for i, j in sure.items() if _alike(answers.down[rows[j : j + 1]], sizes)[0]}
    if len(sure) < MIN_LEARNED:
        return USUAL_NS
    lags = np.maximum(low[list(sure)] - answers.end[rows[list(sure.values())]], 0)
    return int(np.clip(2 * np.percentile(lags, 95), AT_ONCE_NS, LATE_NS))


def _sizes(answers: _Answers, rows: Ints, low: Ints, high: Ints) -> Ints | None:
    """Sizes of refusals: such that nearly each event has a short answer of one of them before it, and there are not many more of these than events."""
    n, end = len(low), answers.end[rows]
    a, b = np.searchsorted(end, low - NEAR_NS, "left"), np.searchsorted(end, high, "right")
    near = [those[answers.short[those]] for those in (rows[i:j] for i, j in zip(a, b, strict=True))]
    found = [answers.down[those] for those in near]
    if n < 2 or not sum(map(len, found)):
        return None
    sizes = _modes(np.concatenate([np.unique(each) for each in found]), n)
    explained = sum(bool(_alike(each, sizes).any()) for each in found)
    within = rows[np.searchsorted(end, low.min() - LATE_NS) : np.searchsorted(end, high.max() + LATE_NS)]
    alike = within[answers.short[within] & _alike(answers.down[within], sizes)]
    if explained < (ONE_LOOK if n >= MIN_LEARNED else 1.0) * n:
        return None
    if len(alike) > MANY * n:  # retries without a line, unless all answers are of these sizes
        looks = np.zeros(len(answers), bool)
        looks[alike] = True
        if len(within) - len(alike) < MIN_OTHERS * len(within) or not _retried(answers, looks):
            return None
    return sizes


def _modes(values: Ints, events: int) -> Ints:
    """Sizes that occur again and again: twice, and with a tenth of the events."""
    found = [v for v in np.unique(values) if (np.abs(values - v) <= ALIKE_BYTES).sum() >= max(2, events / 10)]
    return np.array(found, np.int64)


def _alike(values: Ints, sizes: Ints) -> npt.NDArray[np.bool_]:
    if not len(sizes):
        return np.zeros(len(values), bool)
    sizes = np.sort(sizes)
    at = np.searchsorted(sizes, values)
    below, above = sizes[np.maximum(at - 1, 0)], sizes[np.minimum(at, len(sizes) - 1)]
    return np.minimum(np.abs(values - below), np.abs(values - above)) <= ALIKE_BYTES


def _look(answers: _Answers, sizes: Ints | None) -> Floats:
    unread = np.where(answers.complete, 0.0, NOT_READ)
    if sizes is None:
        return unread + np.minimum(answers.lasts / S, 1.0) * SLOW_HINT
    return unread + np.where(_alike(answers.down, sizes) & (answers.lasts <= SHORT_NS), 0.0, UNLIKE)


def _groups(first: Ints, stop: Ints) -> Iterable[list[int]]:
    """Events whose candidates overlap, in order; at most so many that a table of them stays small."""
    group: list[int] = []
    reach = -1
    for i in range(len(first)):
        if stop[i] <= first[i]:
            continue
        if group and (first[i] >= reach or (len(group) + 1) * (max(reach, int(stop[i])) - first[group[0]]) > MAX_CELLS):
            yield group
            group = []
        group.append(i)
        reach = max(reach, int(stop[i]))
    if group:
        yield group


def _assign(costs: Floats) -> list[int]:
    """Column for each row, -1 for none: cheapest in total, columns rising. costs : float64[rows, columns], inf where impossible."""
    n, m = costs.shape
    best = np.zeros(m + 1)
    taken = np.zeros((n, m + 1), bool)  # row k takes column j - 1, if the first j columns are free for rows 0..k
    origin = np.zeros((n, m + 1), np.int32)
    for k in range(n):
        with_it = np.concatenate([[np.inf], best[:-1] + costs[k]])
        without = best + ALONE
        now = np.minimum(with_it, without)
        lowest = np.minimum.accumulate(now)
        # where the minimum over fewer columns is as good, go there
        change = np.concatenate([[True], now[1:] < lowest[:-1]])
        origin[k] = np.maximum.accumulate(np.where(change, np.arange(m + 1), 0))
        taken[k] = with_it < without
        best = lowest
    out, j = [-1] * n, m
    for k in range(n - 1, -1, -1):
        j = int(origin[k, j])
        if taken[k, j]:
            j -= 1
            out[k] = j
    return out


def _ties(costs: Floats, chosen: list[int], short: npt.NDArray[np.bool_] | None) -> set[int]:
    """Columns of which it is not clear which are meant: a free one costs an event about as little as the chosen one.

    short : where it is not known how refusals look, the short answers; beside one of these, a long one is not chosen for a little less lag.
    """
    free = np.ones(costs.shape[1], bool)
    free[[j for j in chosen if j >= 0]] = False
    out: set[int] = set()
    for k, j in enumerate(chosen):
        if j >= 0:
            margin = np.where(short, SHORT_MARGIN, MARGIN) if short is not None and not short[j] else MARGIN
            others = np.flatnonzero(free & (costs[k] <= costs[k, j] + margin))
            if len(others):
                out |= {j, *others.tolist()}
    return out


def _covered(answers: _Answers, log: ErrorLog, covers: bool) -> npt.NDArray[np.bool_]:
    if covers:
        return np.ones(len(answers), bool)
    if log.first_ns is None or log.last_ns is None:
        return np.zeros(len(answers), bool)
    until = np.where(answers.answered, answers.end, answers.start)
    return (answers.start >= log.first_ns - S) & (until <= log.last_ns)  # the log of a run begins with its first request, at one second


def _doubted(answers: _Answers, events: Sequence[ErrorEvent], match: _Match, covered: npt.NDArray[np.bool_]) -> str:
    """Why silence of this log means nothing; "" if it does."""
    if not len(answers) or not covered.any():
        return ""
    begin, end = answers.start.min(), max(int(answers.end.max()), int(answers.start.max()))
    inside = [i for i, e in enumerate(events) if e.high_ns >= begin and e.low_ns <= end and i not in match.echoes]
    found = {event for event, _ in match.pairs}
    hits = sum(i in found for i in inside)
    if len(inside) >= MIN_LEARNED and hits < BELIEVED * len(inside):
        return (
            f"only {hits} of {plural(len(inside), 'rejection')} that the error log has of this time fall on the end of an answer: "
            "is it the log of this side, and are its times UTC?"
        )
    return ""


def _note(answers: _Answers, match: _Match, unsure: Sequence[int], unmatched: Sequence[ErrorEvent], covered: npt.NDArray[np.bool_]) -> str:
    parts = []
    if not match.pairs and unmatched and len(answers):
        parts.append("no rejection of the error log falls on the end of an answer" + _shifted(answers, unmatched))
    if unsure:
        parts.append(f"{plural(len(unsure), 'answer')} may or may not be meant by a line of the error log, and stay unknown")
    open_rows = int((~covered).sum())
    if open_rows:
        parts.append(f"{plural(open_rows, 'exchange')} outside the time of the error log")
    return "; ".join(parts)


def _shifted(answers: _Answers, events: Sequence[ErrorEvent]) -> str:
    """Whether the events would fit if the log's times were of another zone."""
    end = np.sort(answers.end[answers.answered])
    times = np.array([e.time_ns for e in events], np.int64)
    best = (0, 0)
    for quarter in range(-56, 57):
        at = times - quarter * 900 * S
        near = np.searchsorted(end, at + EARLY_NS, "right") - np.searchsorted(end, at - LATE_NS, "left")
        best = max(best, (int((near > 0).sum()), quarter))
    if best[1] and best[0] >= max(MIN_LEARNED, 0.8 * len(events)):
        return f"; they would if its times were UTC{best[1] / 4:+g} h"
    return ""


# --- the key log ------------------------------------------------------------------------------------------------------------------------------


def refused(row: DecryptedRequest) -> int:
    """REJECTED, ACCEPTED, or UNKNOWN (no answer, or an error that is no refusal)."""
    if row.status == 429 or row.code in REFUSAL_CODES:
        return REJECTED
    if row.status is None or row.code is not None or row.status >= 400:
        return UNKNOWN
    return ACCEPTED


def from_decrypted(exchanges: Columns, decrypted: Decrypted) -> Labels:
    """Labels of exchanges by turn-taking, or of rows that name their HTTP/2 ``stream``, from what the key log shows."""
    answers = _Answers(exchanges)
    labels = _labels(len(answers), "not decrypted")
    sessions = _ints(exchanges["session_id"], -1)
    frames = _ints(exchanges["start_frame"], 0) if "start_frame" in exchanges else np.zeros(len(answers), np.int64)
    streams = _ints(exchanges["stream"], -1) if "stream" in exchanges else np.full(len(answers), -1, np.int64)
    by_stream = {(row.session_id, row.stream): row for row in decrypted.rows if row.http == "2"}
    turns: dict[int, list[DecryptedRequest]] = {}
    for row in decrypted.rows:
        turns.setdefault(row.session_id, []).append(row)
    order = np.lexsort((frames, sessions))
    for at, i in enumerate(order.tolist()):
        session = int(sessions[i])
        if session not in turns:
            continue
        if streams[i] >= 0:
            own = [by_stream[session, int(streams[i])]] if (session, int(streams[i])) in by_stream else []
        elif any(row.http == "2" for row in turns[session]):
            labels.reason[i] = "HTTP/2: turns are no requests"
            continue
        else:
            after = order[at + 1] if at + 1 < len(order) and sessions[order[at + 1]] == session else -1
            stop = frames[after] if after >= 0 else np.iinfo(np.int64).max
            own = [row for row in turns[session] if frames[i] <= row.frame < stop]
        told = {refused(row) for row in own}
        if len(told) == 1 and (label := told.pop()) != UNKNOWN:
            status = ", ".join(str(row.status) + (f" with code {row.code}" if row.code else "") for row in own)
            codes = [logs.CLASS_OF_CODE[row.code] for row in own if row.code in logs.CLASS_OF_CODE]
            _set(labels, i, label, KEY_LOG, f"status {status}", codes[0] if codes else logs.UNKNOWN)
        elif own:
            labels.reason[i] = "its answers say different things" if len(own) > 1 else "its answer says neither"
    note = decrypted.note or ""
    return replace(labels, note=note)


# --- the traffic alone ------------------------------------------------------------------------------------------------------------------------


def infer(exchanges: Columns, sessions: Columns, hellos: Columns) -> Labels:
    """Labels from the shape of answers and what came after; see the theory above. exchanges : rows to the target, of one or both sides."""
    answers = _Answers(exchanges)
    n = len(answers)
    labels = _labels(n, "the traffic does not show it")
    status = _ints(exchanges["status"], 0)
    _set(labels, status == 429, REJECTED, INFERRED, "HTTP status 429")
    _set(labels, (status >= 200) & (status < 400) & ~answers.stream, ACCEPTED, INFERRED, "HTTP status below 400")
    h2 = _offers_h2(_ints(exchanges["session_id"], -1), hellos)
    labels.reason[h2] = "HTTP/2 may be spoken, or it is not known: turns need not be requests"
    usable = ~h2 & (status == 0)
    if not usable.any():
        return labels
    chains = _chains(answers, usable)
    kinds, confirmed, sizes = _refusal_sizes(answers, usable, chains)
    if not len(sizes):
        return labels
    alike = usable & answers.short & kinds
    closing = _closes_soon(answers, _ints(exchanges["session_id"], -1), sessions)
    streams = usable & answers.stream
    quick = answers.waits <= QUICK * np.percentile(answers.waits[streams], 10)
    sure = alike & (confirmed | ~closing | quick & (chains >= 0))  # what was broken off on purpose is not asked for again
    _set(labels, sure, REJECTED, INFERRED, "short, quick, of the provider's refusal size")
    labels.reason[alike & ~sure] = "like a refusal, but the program closed right behind it"
    _set(labels, streams, ACCEPTED, INFERRED, "a stream, where refusals are short")
    labels.reason[usable & ~alike & ~answers.stream] = "neither a stream nor of the provider's refusal size"
    return replace(
        labels, note=f"answers of {', '.join(f'{s:,}' for s in sizes)} bytes are taken for refusals; other errors may look the same"
    )


def _offers_h2(session: Ints, hellos: Columns) -> npt.NDArray[np.bool_]:
    """Whether turns may be no requests. A connection older than the capture is judged by the others; without any it is not known."""
    alpn: dict[int, bool] = {}
    for number, offered in zip(hellos["session_id"].tolist(), hellos["alpn"], strict=True):
        alpn[number] = alpn.get(number, False) or "h2" in (offered or [])
    mine = [alpn[s] for s in set(session.tolist()) if s in alpn]
    other = any(mine) or not mine
    return np.array([alpn.get(s, other) for s in session.tolist()], bool)


def _chains(answers: _Answers, usable: npt.NDArray[np.bool_], soonest_ns: int = BACK_OFF_NS[0]) -> Ints:
    """Per exchange the row of the next one with the same request within the time of a back-off; -1 without."""
    out = np.full(len(answers), -1, np.int64)
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((answers.start[rows], answers.up[rows]))]
    sizes, begins = np.unique(answers.up[rows], return_index=True)
    by_size = dict(zip(sizes.tolist(), np.split(rows, begins[1:]), strict=True))
    for row in np.flatnonzero(usable & answers.short).tolist():
        best = None
        for size in range(int(answers.up[row]) - SAME_REQUEST_BYTES, int(answers.up[row]) + SAME_REQUEST_BYTES + 1):
            if (those := by_size.get(size)) is None:
                continue
            at = np.searchsorted(answers.start[those], answers.end[row] + soonest_ns)
            if at < len(those) and answers.start[those[at]] <= answers.end[row] + BACK_OFF_NS[1]:
                found = (int(answers.start[those[at]]), int(those[at]))
                best = found if best is None else min(best, found)
        if best is not None:
            out[row] = best[1]
    return out


def _refusal_sizes(
    answers: _Answers, usable: npt.NDArray[np.bool_], chains: Ints
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[int]]:
    """(answers of the size of a refusal, those whose chain ended with a stream, the sizes).

    A chain is followed as long as answers are short (session tickets may make the first one on a connection longer); it counts if a stream ends it.
    """
    n = len(answers)
    short = np.flatnonzero(usable & answers.short)
    # Chains go forward in time, so from the last to the first each knows where the next one ends.
    last = np.arange(n)
    for row in short[np.argsort(-answers.start[short], kind="stable")].tolist():
        if (after := int(chains[row])) >= 0:
            last[row] = last[after] if answers.short[after] else after
    confirmed = answers.stream[last] & (last != np.arange(n)) & usable
    streams = usable & answers.stream
    kinds, sizes = np.zeros(n, bool), []
    left = short
    while len(left):
        down = np.sort(answers.down[left])
        counts = np.searchsorted(down, down + ALIKE_BYTES, "right") - np.searchsorted(down, down - ALIKE_BYTES, "left")
        centre = int(down[counts.argmax()])
        member = np.abs(answers.down[left] - centre) <= ALIKE_BYTES
        rows, left = left[member], left[~member]
        ended = set(last[rows[confirmed[rows]]].tolist())
        again = rows[chains[rows] >= 0]
        if len(ended) < MIN_CHAINS or confirmed[again].mean() < CONFIRMED:
            continue
        if np.median(answers.waits[rows]) > np.median(answers.waits[streams]):
            continue  # a refusal takes no thought
        kinds[rows] = True
        sizes.append(centre)
    return kinds, confirmed, sorted(sizes)


def _closes_soon(answers: _Answers, session: Ints, sessions: Columns) -> npt.NDArray[np.bool_]:
    """Whether the program's FIN, or a reset, comes right behind the answer."""
    fin, rst = _ints(sessions["orig_fin_ns"], answers.NONE), _ints(sessions["rst_ns"], answers.NONE)
    at = {int(number): i for i, number in enumerate(sessions["session_id"])}
    out = np.zeros(len(answers), bool)
    for i, number in enumerate(session.tolist()):
        if number in at and answers.answered[i]:
            for when in (int(fin[at[number]]), int(rst[at[number]])):
                out[i] |= when != answers.NONE and 0 <= when - int(answers.end[i]) <= NEAR_CLOSE_NS
    return out
