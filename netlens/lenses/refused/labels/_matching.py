"""Which answer each line of an error log means.

Theory of operation
-------------------
1. The program writes a refusal down when it has read the answer: the line follows the answer's last byte, on an idle machine within a
millisecond (measured: 0.07 to 48 ms over 2,100 refusals, the long ones with a tunnel and delayed acknowledgments between), on a busy one
later, and before it where the error stands in a stream that goes on a little. So an event and an answer may belong together if the one lies
at most :data:`EARLY_NS` before and :data:`LATE_NS` after the end of the other.
2. Of all ways to give each event an answer of its own, the cheapest is taken (dynamic programming over both in order of time). What a pair costs
grows with its lag, and is higher if the answer does not look like a refusal; leaving an event out costs more than any pair.
3. How long the lag usually is, and what a refusal looks like, is learned from what stands at once behind answers of few sizes far more often than by chance;
else the lag from the events that leave no choice, and the look from all. Refusals are all of nearly one size
if the provider answers with a status; if it refuses inside streams they are not, and size says nothing. Events of one chain of the log (see
parsers.errorlog) share what is left open about their times, so those without a choice narrow the others.
4. One refusal may leave several lines of different kinds (the stream's error, the session's, "retrying"). A line of another kind right behind one is
its echo: it gets an answer only if an unclaimed one looks like a refusal. A line that says the same as the one before, within a moment, may be of the same
refusal, too: a program tells of the last try, and then that it gives up. It costs little (:data:`REPEATED`) to leave it without an answer.
5. Where two answers fit an event about equally well, neither is claimed: both are doubtful. So is a stream where refusals are short.
6. In the clear the status tells: where nearly each line has an answer with one of :data:`OF_LIMITS` before it, lines mean these.
7. opencode says of each line whether it is about a title, and writes down every request's start. Requests for titles are of another order of size (2.9 kB
against 31 kB, measured): where the sizes fall into two such groups, of as many requests as the log tells of, a line of the one kind means no request of
the other. And the line of a refusal that comes too late for any answer means the only short one since the line of that request's start.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from netlens.chains.endings import SHORT_NS
from netlens.columns import Bools, Floats, Ints, distinct_rows
from netlens.lenses.refused import kernels
from netlens.lenses.refused.labels import MISTAKEN, TAUGHT
from netlens.lenses.refused.labels._labels import ALIKE_BYTES, MS, QUICK, Answers, S, alike, chains
from netlens.lenses.refused.labels.answers import refusal_sizes
from netlens.parsers.errorlog import ErrorEvent, Start

# --- lags and costs: a cost of 1 is what a lag beyond the usual costs per LAG_UNIT_NS
#: an error event in a stream is read before the stream's end, which follows within a round trip and the server's next write
EARLY_NS = 400 * MS
#: Of a program that writes all its lines late, which shows where the answers in so much time before them are short and of one size.
LATEST_NS = 4 * S
LATE_NS = 2 * S  #: a machine busy enough to write a line later than that would have fewer requests in flight than matter
USUAL_NS = 60 * MS  #: a delayed acknowledgment (40 ms on Linux) and some; replaced by what is learned
ELSEWHERE_NS = tuple(ms * MS for ms in (150, 230, 310, 390, 470, 550))  #: from where lines stand, for what is chance
NEARLY_ALL = 0.7  #: share of the short answers right before lines that are of these sizes, if not each line has one
CLEARLY, FEW = 4.0, 1.5  #: standard deviations from what is chance, and answers more, where other tries have no lines
#: share of lines that stand so soon behind an answer beyond chance, and of those that would elsewhere
NEARLY_EVERY, MOST_TOLD, MOST_CHANCE = 0.95, 0.9, 0.5
AT_ONCE_NS = 5 * MS  #: of several lines the quickest follows its answer at least this soon
LAG_UNIT_NS = 100 * MS  #: less where lines are known to follow at once
MIN_LEAD = 2  #: lines more than any other place in the span of a chain must explain
MIN_LEARNED = 4  #: events from which lag, look and place in a chain are learned
TOO_EARLY = 0.6  #: cost of a line before the answer's end; more than MARGIN, as it happens inside streams only
UNLIKE = 30.0  #: cost of an answer that does not look like the refusals; outweighs any lag but one near LATE_NS
ONE_LOOK = 0.8  #: share of the events that must have a short answer of these sizes before them
MANY_LOOKS = 4  #: sizes of what is taken for refusals from which on most may be of other answers: hardly a provider has so many wordings
SURELY = 8  #: answers of one size all of which have a line: less may be chance where lines are many, or known to the second
NOT_READ = 1.0  #: cost of an answer that the program did not read to its end
SLOW_HINT = 0.2  #: cost of a long answer while it is not known how refusals look; a hint, no more
ALONE = 1000.0  #: cost of an event without an answer
REPEATED = 2.0  #: the same of one that says what the line before says, within a moment; more than the lag of any of two answers at once
OUTSIDE = UNLIKE  #: the same of one before the first answer or after the last: a log may begin before the capture and end after it
MARGIN = 0.5  #: costs this close are no reason to prefer one answer; half of LAG_UNIT_NS
#: of a table of costs, 32 MB; only thousands of requests a second reach it, and then its edges are matched a little worse
MAX_CELLS = 1 << 22
SHORT_MARGIN = 3.0  #: the same towards a short answer while it is not known how refusals look
#: How far before a line its answer is looked for while learning what refusals look like; opencode writes up to 360 ms later (measured).
NEAR_NS = 600 * MS
MANY = 1.5  #: answers that look like refusals for each event; where there are more, they are retries without a line, or something else
MIN_OTHERS, ENOUGH_OTHERS = 0.1, 5  #: share of the answers that must be of other sizes, for a size to say anything, or so many
RETRIED = 0.5  #: share of those beyond the events after which the same request must come again, for them to be refusals
SILENT_RETRY_NS = 200 * MS  #: the OpenAI and Anthropic SDKs wait 0.375 s before the first of their retries, less on a clock that is off
ECHO_NS = 500 * MS  #: the lines of one refusal are written together
#: refusals that may have their echo still to come; half a second of a busy program has ten, a log that repeats itself thousands
MAX_OPEN = 64
#: between the sizes of requests for titles and of others; opencode's are 10 times apart, and turns grow by a tenth or two
ANOTHER_ORDER = 4.0
VARY = 0.9  #: sizes for each answer, where an answer is of another's size by chance only
SLOWER = 1.5  #: times the longest wait for a refusal that has a line, of one that has none
OF_LIMITS = (429, 503, 529)  #: statuses by which limits refuse
BELIEVED = 0.5  #: share of events that must find an answer for silence to mean anything


@dataclass
class Match:
    pairs: list[tuple[int, int]]  # index of event, row
    echoes: set[int]
    doubtful: set[int]
    looks_refused: Bools  # of those without a line for certain
    sizes: tuple[int, ...]  # of refusals, which are short, so that streams are none; empty if not known
    retried: bool  # what looks refused, but has no line, is asked for again as a rule


def match(
    answers: Answers, events: Sequence[ErrorEvent], slack_ns: int, taught: Ints, small: Bools | None = None, starts: Sequence[Start] = ()
) -> Match:
    """Which answer each line means.  small : per answer whether it is of a title (:func:`small_ones`); None if that cannot be told.  starts : of the log."""
    n = len(answers)
    rows = np.flatnonzero(answers.answered)
    rows = rows[np.argsort(answers.end[rows], kind="stable")]
    echoed = echoes(events)
    main = [i for i in range(len(events)) if i not in echoed]
    low = np.array([events[i].low_ns for i in main], np.int64) - slack_ns
    high = np.array([events[i].high_ns for i in main], np.int64) + slack_ns
    end = answers.end[rows]
    _by_account([events[i] for i in main], starts, answers, small, low, high, slack_ns)
    first = np.searchsorted(end, low - LATE_NS, "left")
    stop = np.searchsorted(end, high + EARLY_NS, "right")
    if tighten([events[i] for i in main], end, low, high, slack_ns):
        first = np.searchsorted(end, low - LATE_NS, "left")
        stop = np.searchsorted(end, high + EARLY_NS, "right")
    known = _while_answering(end, low, high, NEAR_NS)  # others may mean what was not captured
    at_once, sizes = _each_has_its_line(answers, rows, low[known], high[known])
    at_once = at_once or _at_once(end, low[known], high[known])
    by_status = _by_status(answers, rows, low[known], high[known])
    if by_status is not None:
        sizes = np.unique(answers.down[by_status])
    if sizes is None and at_once:
        sizes = _sizes(answers, rows, low[known], high[known], 2 * at_once)
    if sizes is None:
        sizes = _sizes(answers, rows, low[known], high[known], NEAR_NS)
    if sizes is None and len(taught):
        sizes = taught
    if sizes is None:
        sizes = _seen(answers, rows, low[known], high[known])
    slow = np.zeros(n, np.bool_)
    if sizes is not None and by_status is None and known.any():
        sizes, slow = _soonest(answers, rows, sizes, low[known], high[known])
    look = _look(answers, sizes) if by_status is None else np.where(by_status, 0.0, UNLIKE)
    if sizes is None and (sizes := _sizes(answers, rows, low[known], high[known], LATEST_NS)) is not None:
        sizes, slow = _soonest(answers, rows, sizes, low[known], high[known])
        look, at_once = _look(answers, sizes) * (LATEST_NS / LATE_NS), 0
        first = np.searchsorted(end, low - LATEST_NS, "left")
    if sizes is None and not at_once:
        slow = _beside_quick(answers, len(low))
    usual = at_once or _usual(answers, rows, low, _sure(end, low, high, first, stop), sizes)
    # one size or two of all refusals: then they can be told by it
    looks = np.zeros(n, bool) if sizes is None else answers.short & alike(answers.down, sizes) if by_status is None else by_status.copy()

    alone = np.where(_while_answering(end, low, high, usual), ALONE, OUTSIDE)
    if sizes is not None:
        refused = end[looks[rows]]  # one of them is right before, which both mean; else they may be two of another size
        near = np.searchsorted(refused, high, "right") > np.searchsorted(refused, low - usual - 2 * AT_ONCE_NS, "left")
        repeated = _repeated([events[i] for i in main], low, high) & near
        alone[repeated] = REPEATED
    title = np.array([-1 if events[i].small is None else int(bool(events[i].small)) for i in main], np.int8)

    looked = look[rows]
    begin = np.where(answers.short[rows], answers.response[rows], end)
    unit = min(max(2 * usual, 20 * MS), LAG_UNIT_NS)  # where lines follow at once, one that comes late is the stranger
    settings = np.array([usual, MARGIN / 2, unit, TOO_EARLY, LAG_UNIT_NS / 4])

    def costs_of(group: Ints, a: int, b: int) -> Floats:
        """Of each event with each of the rows a to b; inf where it cannot be meant."""
        found = np.empty((len(group), b - a))
        spans = (low[group], high[group], begin[a:b], end[a:b], looked[a:b], first[group] - a, stop[group] - a)
        kernels.pair_costs(*spans, settings, found)
        if small is not None:
            found += np.where((title[group, None] >= 0) & (title[group, None] != small[rows[a:b]]), UNLIKE, 0.0)
        return found

    pairs: list[tuple[int, int]] = []
    doubtful: set[int] = set()
    floor = 0
    for group in _groups(first, stop):
        a, b = max(int(first[group[0]]), floor), int(max(stop[group[0] : group[-1] + 1]))
        costs = costs_of(np.array(group), a, max(b, a))
        chosen = _assign(costs, alone[group])
        found = [(k, a + j) for k, j in enumerate(chosen.tolist()) if j >= 0]
        pairs += [(main[group[k]], int(rows[j])) for k, j in found]
        doubtful |= {int(rows[a + j]) for j in _ties(costs, chosen, answers.short[rows[a:b]] if sizes is None else None)}
        if sizes is not None:  # a stream, where refusals are short
            unlike = answers.stream | slow
            doubtful |= {int(rows[j]) for k, j in found if costs[k, j - a] >= UNLIKE and unlike[rows[j]]}
        elif not at_once:
            doubtful |= {int(rows[j]) for _, j in found if slow[rows[j]]}
        floor = max([floor, *(j + 1 for _, j in found)])
    taken = {row for _, row in pairs}
    if sizes is not None:
        echoed |= {main[k] for k in np.flatnonzero(repeated).tolist()} - {i for i, _ in pairs}
        for i in sorted(echoed):
            a = int(np.searchsorted(end, events[i].low_ns - slack_ns - usual, "left"))
            b = int(np.searchsorted(end, events[i].high_ns + slack_ns, "right"))
            if free := [row for row in rows[a:b].tolist() if looks[row] and row not in taken]:
                row = min(free, key=lambda r: abs(events[i].time_ns - int(answers.end[r])))
                pairs.append((i, row))
                taken.add(row)
    waits = answers.waits[[row for row in taken - doubtful if looks[row]]]
    if len(waits) >= TAUGHT:
        looks &= answers.waits <= SLOWER * waits.max()
    looks[list(taken - doubtful)] = False
    retried = bool(looks.any()) and tried_again_soon(answers, looks)
    if retried and sizes is not None:
        looks |= _late(answers, sizes, [row for row in taken - doubtful if answers.short[row]])
        looks[list(taken - doubtful)] = False
    return Match(sorted(pairs), echoed, doubtful, looks, () if sizes is None else tuple(sizes.tolist()), retried)


def _late(answers: Answers, sizes: Ints, sure: list[int]) -> Bools:
    """Answers to the byte of the size of refusals and sooner than nearly all answers of other sizes: what waited for a way that loses packets, or for a busy
    server, is later than any refusal that has a line. And the few that are later still, if hardly any two of the others are of one size. sure : answers that
    have a line."""
    others = answers.answered & ~alike(answers.down, sizes)
    if others.sum() < TAUGHT or not sure:
        return np.zeros(len(answers), np.bool_)
    exact = answers.short & np.isin(answers.down, answers.down[sure])
    sooner = exact & (answers.waits <= np.percentile(answers.waits[others], 10))
    vary = len(np.unique(answers.down[others])) >= VARY * others.sum()
    return np.asarray(exact if vary and (exact & ~sooner).sum() <= MISTAKEN * sooner.sum() else sooner)


def _by_account(
    events: Sequence[ErrorEvent], starts: Sequence[Start], answers: Answers, small: Bools | None, low: Ints, high: Ints, slack_ns: int
) -> None:
    """Move the spans of events that come too late for any answer, in place, to the end of the one that they must mean: the only short one, of a request that
    was sent after the log tells of its start, before the line. On a busy machine lines are seconds late."""
    begun: dict[tuple[str, bool], list[int]] = {}
    for start in starts:
        begun.setdefault((start.session, start.small), []).append(start.low_ns)
    short = np.flatnonzero(answers.short)
    short = short[np.argsort(answers.start[short], kind="stable")]
    sent = answers.start[short]
    for i, event in enumerate(events):
        times = begun.get((event.session, bool(event.small)), []) if event.session else []
        at = bisect_right(times, event.low_ns) - 1
        if at < 0:
            continue
        a, b = np.searchsorted(sent, [times[at] - slack_ns, event.high_ns + slack_ns]).tolist()
        those = [row for row in short[a:b].tolist() if answers.end[row] <= event.high_ns + slack_ns]
        if small is not None:
            those = [row for row in those if small[row] == event.small]
        if len(those) == 1 and answers.end[those[0]] < low[i] - LATE_NS:
            low[i] = high[i] = answers.end[those[0]]


def small_ones(answers: Answers, starts: Sequence[Start]) -> Bools | None:
    """Per answer whether its request is one for a title, by its size; None where sizes and the log's account do not agree on that."""
    sizes = np.unique(answers.up[answers.up > 0])
    if len(sizes) < 2 or not len(starts):
        return None
    ratios = sizes[1:] / sizes[:-1]
    at = int(ratios.argmax())
    small: Bools = answers.up <= sizes[at]
    begin, end = int(answers.start.min()) - LATE_NS, int(answers.start.max())
    told = [start.small for start in starts if begin <= start.low_ns <= end]
    # tries of an SDK are requests, too, which the log need not tell of
    lacking = max(sum(told) - int(small.sum()), 0) + max(len(told) - sum(told) - int((~small).sum()), 0)
    return small if ratios[at] >= ANOTHER_ORDER and told and lacking <= max(2, MIN_OTHERS * len(answers)) else None


def tried_again(answers: Answers, starts: Sequence[Start], small: Bools, slack_ns: int) -> list[int]:
    """Short answers after which the log tells of the same title being asked for again. Titles are asked for once a session."""
    rows = np.flatnonzero(small)
    free = rows[np.argsort(answers.start[rows], kind="stable")].tolist()
    of_session: dict[str, list[int]] = {}
    for start in (each for each in starts if each.small):
        while free and answers.start[free[0]] < start.low_ns - slack_ns - USUAL_NS:
            free.pop(0)
        if free and answers.start[free[0]] <= start.high_ns + slack_ns + LATE_NS:
            of_session.setdefault(start.session, []).append(free.pop(0))
    return [row for those in of_session.values() for row in those[:-1] if answers.short[row]]


def tried_again_soon(answers: Answers, rows: Bools) -> bool:
    """Whether the same request came again soon after these answers, as a rule, and more often than after other short ones: requests may be all of one size."""
    again = chains(answers, np.ones(len(answers), bool), SILENT_RETRY_NS) >= 0
    others = answers.short & ~rows
    return bool(again[rows].mean() >= RETRIED and (others.sum() < MIN_LEARNED or again[rows].mean() >= again[others].mean()))


def echoes(events: Sequence[ErrorEvent]) -> set[int]:
    """Lines of another kind than one shortly before that has no echo of this kind yet."""
    out: set[int] = set()
    open_now: list[tuple[ErrorEvent, set[str]]] = []
    for i in _as_written(events):
        event = events[i]
        open_now = [each for each in open_now[-MAX_OPEN:] if event.low_ns - each[0].high_ns <= ECHO_NS]
        for before, kinds in open_now:
            if before.file == event.file and before.line <= event.line and before.kind != event.kind and event.kind not in kinds:
                kinds.add(event.kind)
                out.add(i)
                break
        else:
            open_now.append((event, set()))
    return out


def _as_written(events: Sequence[ErrorEvent]) -> list[int]:
    """The events in order of time, but those of one file whose times are swapped by a moment in order of their lines: what stamps them may read standard output
    and standard error one after the other."""
    at, latest = {}, dict[str, int]()
    for i in sorted(range(len(events)), key=lambda i: events[i].line):
        before = latest.get(events[i].file, 0)
        at[i] = before if 0 < before - events[i].low_ns <= AT_ONCE_NS else events[i].low_ns
        latest[events[i].file] = at[i]
    return sorted(at, key=lambda i: (at[i], events[i].line))


def _repeated(events: Sequence[ErrorEvent], low: Ints, high: Ints) -> Bools:
    """Lines that say the same as the one before of their file, within a moment: of the same failure, unless each has an answer."""
    found, before = np.zeros(len(events), np.bool_), dict[str, int]()
    for i in sorted(range(len(events)), key=lambda i: events[i].line):
        event, j = events[i], before.get(events[i].file)
        before[event.file] = i
        if j is not None and (events[j].refusal_class, events[j].code, events[j].small) == (event.refusal_class, event.code, event.small):
            found[i] = max(high[i], high[j]) - min(low[i], low[j]) <= 2 * AT_ONCE_NS
    return found


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


def tighten(events: Sequence[ErrorEvent], end: Ints, low: Ints, high: Ints, slack_ns: int) -> bool:
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


def _each_has_its_line(answers: Answers, rows: Ints, low: Ints, high: Ints) -> tuple[int, Ints | None]:
    """How soon behind its answer (or in it) each line is written, and sizes of short answers nearly all of which have one so soon, or far more of them than
    by chance, so that nearly each line has its answer. (0, None) if that does not show."""
    if len(low) < MIN_LEARNED:
        return 0, None
    short = rows[answers.short[rows]]
    short = short[(answers.end[short] >= low.min() - USUAL_NS) & (answers.end[short] <= high.max())]
    begin, end, down = answers.response[short], answers.end[short], answers.down[short]
    low, high = np.sort(low), np.sort(high)

    def have(within_ns: int, off_ns: int) -> Bools:
        """Which answers have a line so soon behind them."""
        found: Bools = np.searchsorted(low, end + off_ns + within_ns, "right") > np.searchsorted(high, begin + off_ns, "left")
        return found

    within_ns = AT_ONCE_NS
    while within_ns <= USUAL_NS and len(short):
        near = have(within_ns, 0)
        chance = float(np.mean([have(within_ns, sign * off).mean() for off in ELSEWHERE_NS for sign in (-1, 1)]))
        sizes, left = np.zeros(0, np.int64), np.ones(len(short), np.bool_)
        while left.any() and chance <= MOST_CHANCE:
            values, many = np.unique(down[left & near], return_counts=True)
            if not len(values) or (of := left & (np.abs(down - values[many.argmax()]) <= ALIKE_BYTES)).sum() < MIN_LEARNED:
                break
            told = near[of].mean() - chance
            by_chance = (CLEARLY * np.sqrt(chance * (1 - chance) * of.sum()) + FEW) / of.sum()
            if told >= MOST_TOLD * (1 - chance) or told >= by_chance:
                sizes = np.union1d(sizes, down[of])
            left &= ~of
        of = np.isin(down, sizes)
        have_one = np.searchsorted(np.sort(begin[of]), high, "right") > np.searchsorted(np.sort(end[of]), low - within_ns, "left")
        enough = have_one.mean() >= ONE_LOOK or (have_one.mean() >= BELIEVED and (near & of).sum() >= NEARLY_ALL * near.sum())
        if enough or _latest_ns(answers, sizes) is not None:
            return within_ns, sizes
        within_ns *= 2
    return 0, None


def _at_once(end: Ints, low: Ints, high: Ints) -> int:
    """How soon behind an answer nearly every line is written, beyond what is chance where many answers end; 0 if that does not show."""
    if len(low) < MIN_LEARNED or not len(end):
        return 0

    def share(within_ns: int, off_ns: int) -> float:
        return float((np.searchsorted(end, high + off_ns, "right") > np.searchsorted(end, low + off_ns - within_ns, "left")).mean())

    within_ns = AT_ONCE_NS
    while within_ns <= USUAL_NS:
        chance = float(np.mean([share(within_ns, sign * off) for off in ELSEWHERE_NS for sign in (-1, 1)]))
        if share(within_ns, 0) - chance >= NEARLY_EVERY * (1 - chance) and chance <= MOST_CHANCE:
            return within_ns
        within_ns *= 2
    return 0


def _usual(answers: Answers, rows: Ints, low: Ints, sure: dict[int, int], sizes: Ints | None) -> int:
    """How long after its answer a line is usually written, from events without a choice."""
    events, meant = np.array(list(sure), np.int64), rows[np.array(list(sure.values()), np.int64)]
    if sizes is not None:
        looks = alike(answers.down[meant], sizes)
        events, meant = events[looks], meant[looks]
    if len(events) < MIN_LEARNED:
        return USUAL_NS
    lags = np.maximum(low[events] - answers.end[meant], 0)
    return int(np.clip(2 * np.percentile(lags, 95), AT_ONCE_NS, LATE_NS))


def _sizes(answers: Answers, rows: Ints, low: Ints, high: Ints, near_ns: int) -> Ints | None:
    """Sizes of refusals: such that nearly each event has a short answer of one of them in so much time before it, and there are not many more of these than
    events."""
    n, end = len(low), answers.end[rows]
    if n < 2:
        return None
    a, b = np.searchsorted(end, low - near_ns, "left"), np.searchsorted(end, high, "right")
    counts = np.maximum(b - a, 0)
    event = np.repeat(np.arange(n), counts)
    near = rows[np.arange(len(event)) + np.repeat(a - (np.cumsum(counts) - counts), counts)]
    event, near = event[answers.short[near]], near[answers.short[near]]
    if not len(near):
        return None
    sizes = _modes(distinct_rows(event, answers.down[near])[0][:, 1], n)
    explained = len(np.unique(event[alike(answers.down[near], sizes)]))
    within = rows[np.searchsorted(end, low.min() - LATE_NS) : np.searchsorted(end, high.max() + LATE_NS)]
    like = within[answers.short[within] & alike(answers.down[within], sizes)]
    if explained < (ONE_LOOK if n >= MIN_LEARNED else 1.0) * n:
        return None
    if len(like) > MANY * n:  # retries without a line, unless all answers are of these sizes
        looks = np.zeros(len(answers), bool)
        looks[like] = True
        others = int((answers.answered & ~(answers.short & alike(answers.down, sizes))).sum())
        if others < min(MIN_OTHERS * len(within), ENOUGH_OTHERS) or not tried_again_soon(answers, looks):
            return None
    return sizes


def _soonest(answers: Answers, rows: Ints, sizes: Ints, low: Ints, high: Ints) -> tuple[Ints, Bools]:
    """The sizes without those of answers that lines only happen to follow, and the answers that are as late as these: some come at once and are of one size,
    as a limit refuses before any work is done, and others, later by far, of many sizes, few of each or not each with its line. Lines that stand behind these
    may be another machine's in a log of both, or may have been written late, as of a command that tried again by itself."""
    none = np.zeros(len(answers), np.bool_)
    short = rows[answers.short[rows]]
    short = short[np.argsort(answers.down[short], kind="stable")]
    begins = np.searchsorted(answers.down[short], sizes - ALIKE_BYTES, "left").tolist()
    ends = np.searchsorted(answers.down[short], sizes + ALIKE_BYTES, "right").tolist()
    of_size = [short[begin:end] for begin, end in zip(begins, ends, strict=True)]
    usual = [float(np.percentile(answers.waits[those], 90)) if len(those) >= MIN_LEARNED else np.inf for those in of_size]
    if len(sizes) < MANY_LOOKS or not np.isfinite(soon := SLOWER * min(usual)):
        latest, ends = _latest_ns(answers, sizes), answers.end[rows[answers.short[rows] & alike(answers.down[rows], sizes)]]
        have_one = np.searchsorted(ends, high, "right") > np.searchsorted(ends, low - NEAR_NS, "left")
        if latest is None or have_one.mean() >= ONE_LOOK:
            return sizes, none
        return sizes, np.asarray(answers.waits * QUICK >= latest)  # lines are of others, too

    low, high = np.sort(low), np.sort(high)

    def told(those: Ints) -> float:
        """Share of answers that have a line soon behind them."""
        ends = answers.end[those]
        ends = ends[(ends >= low[0] - NEAR_NS) & (ends <= high[-1])]
        near = np.searchsorted(low, ends + NEAR_NS, "right") > np.searchsorted(high, ends, "left")
        return float(near.mean()) if len(ends) else 0.0

    late = np.array([np.percentile(answers.waits[of], 10) * QUICK >= soon and (len(of) < SURELY or told(of) < MOST_TOLD) for of in of_size])
    if late.sum() < MANY_LOOKS - 1 or told(of_size[int(np.argmin(usual))]) < BELIEVED:
        return sizes, none
    return sizes[~late], np.asarray(answers.waits * QUICK >= soon)


def _beside_quick(answers: Answers, lines: int) -> Bools:
    """Answers that come much later than many of one size, half as many as there are lines and more, where lines do not show which they mean."""
    sizes, many = np.unique(answers.down[answers.short], return_counts=True)
    first = sizes[many == many.max(initial=0)]
    if len(first) != 1 or many.max() < BELIEVED * lines or (latest := _latest_ns(answers, first)) is None:
        return np.zeros(len(answers), np.bool_)
    return np.asarray(answers.waits * QUICK >= latest)


def _latest_ns(answers: Answers, sizes: Ints) -> float | None:
    """How late refusals of some sizes come at most, if that is much sooner than all other answers; else None."""
    of = answers.short & alike(answers.down, sizes)
    others = answers.waits[answers.answered & ~of]
    if of.sum() < MIN_LEARNED or len(others) < TAUGHT:
        return None
    latest = SLOWER * float(np.percentile(answers.waits[of], 90))
    return latest if latest <= QUICK * float(np.percentile(others, 10)) else None


def _by_status(answers: Answers, rows: Ints, low: Ints, high: Ints) -> Bools | None:
    """Answers in the clear that failed by the status of a limit, where nearly each line has one before it: then no line means another. None where statuses
    cannot be read, or refusals stand inside streams."""
    failed = answers.answered & answers.short & np.isin(answers.status, OF_LIMITS)
    end = answers.end[rows[failed[rows]]]
    if len(low) < MIN_LEARNED or not len(end):
        return None
    have_one = np.searchsorted(end, high, "right") > np.searchsorted(end, low - NEAR_NS, "left")
    return np.asarray(failed) if have_one.mean() >= ONE_LOOK else None


def _seen(answers: Answers, rows: Ints, low: Ints, high: Ints) -> Ints | None:
    """Sizes that the traffic shows to be refusals, where nearly each event has one of them before it: a log of one line or two shows none by itself.

    A refusal that the provider holds back for a while shows in the traffic, too, once a line says that there was one.
    """
    usable = np.ones(len(answers), bool)
    sizes = np.array(refusal_sizes(answers, usable, chains(answers, usable), named=True, slow=True)[2], np.int64)
    like = rows[answers.short[rows] & alike(answers.down[rows], sizes)]
    end = answers.end[like]
    explained = int((np.searchsorted(end, high, "right") > np.searchsorted(end, low - NEAR_NS, "left")).sum())
    return sizes if len(low) and len(sizes) and explained >= (ONE_LOOK if len(low) >= MIN_LEARNED else 1.0) * len(low) else None


def _modes(values: Ints, events: int) -> Ints:
    """Sizes that occur again and again: twice, and with a tenth of the events."""
    found = [v for v in np.unique(values) if (np.abs(values - v) <= ALIKE_BYTES).sum() >= max(2, events / 10)]
    return np.array(found, np.int64)


def _look(answers: Answers, sizes: Ints | None) -> Floats:
    unread = np.where(answers.complete, 0.0, NOT_READ)
    if sizes is None:
        return unread + np.minimum(answers.lasts / S, 1.0) * SLOW_HINT
    return unread + np.where(alike(answers.down, sizes) & (answers.lasts <= SHORT_NS), 0.0, UNLIKE)


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


def _while_answering(end: Ints, low: Ints, high: Ints, late_ns: int) -> Bools:
    """Which lines may be of the time from the first answer to the last, and ``late_ns`` more.  end : of the answers, ascending."""
    return (high >= end[0]) & (low <= end[-1] + late_ns) if len(end) else np.zeros(len(low), bool)


def _assign(costs: Floats, alone: Floats) -> Ints:
    """Column for each row, -1 for none: cheapest in total, columns rising. costs : float64[rows, columns], inf where impossible.  alone : of none."""
    n, m = costs.shape
    chosen = np.empty(n, np.int64)
    kernels.assign(costs, alone, np.zeros(m + 1), np.empty((n, m + 1), np.int32), chosen)
    return chosen


def _ties(costs: Floats, chosen: Ints, short: Bools | None) -> list[int]:
    """Columns of which it is not clear which are meant: a free one costs an event about as little as the chosen one.

    short : where it is not known how refusals look, the short answers; beside one of these, a long one is not chosen for a little less lag.
    """
    tied = np.zeros(costs.shape[1], np.int8)
    tied[chosen[chosen >= 0]] = 1
    kernels.ties(costs, chosen, np.zeros(len(tied), np.bool_) if short is None else short, np.array([MARGIN, SHORT_MARGIN]), tied)
    found: list[int] = np.flatnonzero(tied > 1).tolist()
    return found
