"""Labels from the traffic alone: what refusals look like, and what programs do after them.

Theory of operation
-------------------
On HTTP/1.1 a refusal with a status is short, comes at once, and has nearly the same size each time, where answers are streams;
and the same request is sent again after a while and answered by a stream in the end. Which request is the same is told by its size, which says nothing where
accepted ones are followed by one of their size as well. Sizes at which this was seen to happen
:data:`MIN_CHAINS` times are the provider's refusal, and those after which it is sent again and again with waits that grow;
everything else of this size and shape is one too, streams are accepted, and what is neither stays
unknown. In clear 429 is a refusal, and so is 503 where others are answered meanwhile; a stream of a model that came to its end, and holds no error, was
accepted. Without such sizes all else is unknown: perhaps nothing was refused, perhaps refusals stand inside streams, whose size tells nothing.

Limits: any error with a short constant answer after which programs try again (500, 503) looks like a refusal in the traffic, unless lines of a log
name its status. A provider that refuses
both ways, by status and inside streams, has the latter taken for accepted. With HTTP/2 turns are no requests: without keys nothing is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import exp, log

import numpy as np

from netlens.chains.requests import UPSTREAM
from netlens.chains.situation import ACCEPTED, REJECTED, UNLABELLED
from netlens.chains.traffic import Traffic
from netlens.columns import MISSING, Bools, Ints
from netlens.lenses.refused.labels import INFERRED, STATUS, TAUGHT, Told
from netlens.lenses.refused.labels._labels import (
    ALIKE_BYTES,
    QUICK,
    SAME_REQUEST_BYTES,
    Answers,
    Columns,
    Labels,
    S,
    alike,
    chains,
    set_labels,
    unlabelled,
)
from netlens.parsers.chunks import DONE
from netlens.schema import ints_of

ID = "answers"
RANK = 4
OK, UNAVAILABLE = 200, 503
AT_WORK = 0.9  #: share of the answers that say "unavailable" which must come while another is being answered
MIN_CHAINS = 2  #: chains refused ... answered by a stream; one may be chance
#: That so many of a size are followed by their own request, if they are followed by another one of the same size as often as accepted ones are. Programs whose
#: requests all have one size (a path and a key, in a loop) follow every answer so.
CHANCE = 0.05
TIMER = 0.1  #: by which requests of a timer come sooner or later; back-offs are drawn from a wider range, and doubled
MOST_BY_TIMER = 0.5  #: share of the streams that a timer must follow, where it polls; by chance now and then one is followed so
CONFIRMED = 0.5  #: share of the answers of a size, as far as the same request came again, that must belong to such a chain
#: Waits that grow: how many at least, by which factor (back-offs double, less some chance), and which share must.
MIN_GROWING, GROWS, NEARLY_ALL = 5, 1.4, 0.8
NEAR_CLOSE_NS = 2 * S  #: an answer after which the program closes at once may have been broken off instead of refused


def tell(traffic: Traffic) -> Iterator[Told]:
    """By what requests look like upstream, which is what decides; the other capture's labels come from its log."""
    up = traffic.upstream
    counted = {k: False for row in up.owner[up.exchange_rows < 0].tolist() for k in up.session_ids[row]}  # requests, not turns
    named = any(log.events for log in traffic.beside.logs.values())
    labels = infer(up.exchanges, up.sessions, up.capture.table("hellos"), up.http2 | counted, named=named)
    whole = [a.frame for a in up.capture.chunked if a.events and a.state == DONE and a.finished and not a.failed]
    granted = (ints_of(up.exchanges, "status", 0) == OK) & np.isin(ints_of(up.exchanges, "response_frame", 0), whole)
    set_labels(labels, granted & (labels.rejected == UNLABELLED), ACCEPTED, STATUS)
    yield Told.of(labels, traffic.rows[:, UPSTREAM])


def infer(
    exchanges: Columns, sessions: Columns, hellos: Columns, http2: Mapping[int, bool | None] | None = None, *, named: bool = False
) -> Labels:
    """Labels from the shape of answers and what came after; see the theory above.

    exchanges : rows to the target, of one or both sides.  http2 : whether a session speaks HTTP/2, where more than its hello tells that.  named : a log says
    that requests were refused.
    """
    answers = Answers(exchanges)
    labels = unlabelled(len(answers))
    status = ints_of(exchanges, "status", 0)
    set_labels(labels, (status == 429) | _shed(answers), REJECTED, STATUS)
    set_labels(labels, (status >= 200) & (status < 400) & ~answers.stream, ACCEPTED, STATUS)
    h2 = _may_be_h2(ints_of(exchanges, "session_id", -1), hellos, http2 or {})
    usable = ~h2 & (status == 0)  # turns of HTTP/2 need not be requests
    if not usable.any():
        return labels
    again = chains(answers, usable)
    kinds, confirmed, sizes = refusal_sizes(answers, usable, again, named=named)
    if not sizes:
        return labels
    like = usable & answers.short & kinds
    closing = _closes_soon(answers, ints_of(exchanges, "session_id", -1), sessions)
    streams = usable & answers.stream
    quick = answers.waits <= QUICK * _usual_wait(answers.waits[streams], 10)
    sure = like & (confirmed | ~closing | quick & (again >= 0))  # what was broken off on purpose is not asked for again
    set_labels(labels, sure, REJECTED, INFERRED)
    set_labels(labels, streams, ACCEPTED, INFERRED)  # where refusals are short
    return replace(
        labels, note=f"answers of {', '.join(f'{s:,}' for s in sizes)} bytes are taken for refusals; other errors may look the same"
    )


def _shed(answers: Answers) -> Bools:
    """Answers in the clear by which a server refuses for now (RFC 9110 15.6.4) while it goes on answering others: nearly all of them, so that it is not down.
    All of them or none, as what is open would tell those that are taken from those that are not."""
    busy = answers.short & (answers.status == UNAVAILABLE)
    begun = np.sort(answers.start[answers.granted])
    over = np.sort(answers.end[answers.granted & answers.answered])
    beside = np.searchsorted(begun, answers.response[busy]) > np.searchsorted(over, answers.response[busy], "right")
    return busy if busy.sum() >= TAUGHT and beside.mean() >= AT_WORK else np.zeros(len(answers), np.bool_)


def _may_be_h2(session: Ints, hellos: Columns, http2: Mapping[int, bool | None]) -> Bools:
    """Whether turns may be no requests. A connection older than the capture is judged by the others; without any it is not known."""
    alpn: dict[int, bool] = {}
    for number, offered in zip(hellos["session_id"].tolist(), hellos["alpn"], strict=True):
        alpn[number] = alpn.get(number, False) or ("h2" in (offered or []) and http2.get(number) is not False)
    mine = [alpn[s] for s in set(session.tolist()) if s in alpn]
    other = any(mine) or not mine
    return np.array([alpn.get(s, other) for s in session.tolist()], bool)


def refusal_sizes(
    answers: Answers, usable: Bools, again: Ints, *, named: bool = False, slow: bool = False
) -> tuple[Bools, Bools, list[int]]:
    """(answers of the size of a refusal, those whose chain ended with a stream, the sizes).

    A chain is followed as long as answers are short (session tickets may make the first one on a connection longer); it counts if a stream ends it.
    named : a log says that requests were refused, so that it need not be shown that there is any.  slow : a refusal may take as long as a stream takes to
    begin; something else has to tell that it is one.
    """
    n = len(answers)
    short = np.flatnonzero(usable & answers.short)
    # Chains go forward in time, so from the last to the first each knows where the next one ends.
    last = np.arange(n)
    for row in short[np.argsort(-answers.start[short], kind="stable")].tolist():
        if (after := int(again[row])) >= 0:
            last[row] = last[after] if answers.short[after] else after
    confirmed = answers.stream[last] & (last != np.arange(n)) & usable
    streams = usable & answers.stream
    granted = np.flatnonzero(streams)
    # What was accepted is not asked for again: how often one of its size follows nevertheless is how often that is another one
    followed = chains(answers, usable, of=streams)
    granted_again = float((followed[granted] >= 0).mean()) if len(granted) else 0.0
    usual_wait = _usual_wait(answers.waits[granted], 50)
    kinds, sizes = np.zeros(n, bool), []
    left = short
    while len(left):
        down = np.sort(answers.down[left])
        counts = np.searchsorted(down, down + ALIKE_BYTES, "right") - np.searchsorted(down, down - ALIKE_BYTES, "left")
        centre = int(down[counts.argmax()])
        member = np.abs(answers.down[left] - centre) <= ALIKE_BYTES
        rows, left = left[member], left[~member]
        ended = set(last[rows[confirmed[rows]]].tolist())
        asked_again = rows[again[rows] >= 0]
        seen = len(ended) >= MIN_CHAINS and confirmed[asked_again].mean() >= CONFIRMED
        if seen and not named:
            many = int(confirmed[rows].sum())
            seen = _by_chance(many, len(rows), granted_again) <= CHANCE and not _polled(answers, asked_again, again, granted, followed)
        if not seen and not _backs_off(answers, rows, again):
            continue
        if not slow and np.median(answers.waits[rows]) > usual_wait:
            continue  # a refusal takes no thought
        kinds[rows] = True
        sizes.append(centre)
    return kinds, confirmed, sorted(sizes)


def _by_chance(many: int, of: int, each: float) -> float:
    """At most so likely are ``many`` or more ``of`` so many, where each has this chance (Chernoff's bound); 1 where that is what is to be expected."""
    share = many / of
    if share <= each:
        return 1.0
    if each == 0:
        return 0.0
    missing = (1 - share) * log((1 - share) / (1 - each)) if share < 1 else 0.0
    return exp(-of * (share * log(share / each) + missing))


def _polled(answers: Answers, rows: Ints, again: Ints, granted: Ints, followed: Ints) -> bool:
    """Whether streams that are asked for by requests of these sizes are followed by the next one as well, at the distance at which it follows the short
    answers: then it comes by a timer (what has not changed since is answered in short, RFC 9110 15.4.5)."""
    theirs = granted[alike(answers.up[granted], np.unique(answers.up[rows]), SAME_REQUEST_BYTES) & (followed[granted] >= 0)]
    if not len(theirs):
        return False
    after_short = float(np.median(answers.start[again[rows]] - answers.start[rows]))
    after_streams = answers.start[followed[theirs]] - answers.start[theirs]
    return bool((np.abs(after_streams - after_short) <= TIMER * after_short).mean() >= MOST_BY_TIMER)


def _usual_wait(waits: Ints, percent: int) -> float:
    """So long streams take to begin; where there are none, anything is quicker."""
    return float(np.percentile(waits, percent)) if len(waits) else np.inf


def _backs_off(answers: Answers, rows: Ints, again: Ints) -> bool:
    """Whether the same requests come again after these answers with waits that grow from one to the next, as a rule."""
    wait = {row: int(answers.start[again[row]] - answers.end[row]) for row in rows.tolist() if again[row] >= 0}
    pairs = [(wait[row], wait[after]) for row in wait if (after := int(again[row])) in wait]
    return len(pairs) >= MIN_GROWING and sum(later >= GROWS * first for first, later in pairs) >= NEARLY_ALL * len(pairs)


def _closes_soon(answers: Answers, session: Ints, sessions: Columns) -> Bools:
    """Whether the program's FIN, or a reset, comes right behind the answer."""
    fin, rst = ints_of(sessions, "orig_fin_ns", MISSING), ints_of(sessions, "rst_ns", MISSING)
    at = {number: i for i, number in enumerate(sessions["session_id"].tolist())}
    row = np.array([at.get(number, -1) for number in session.tolist()], np.int64)
    out = np.zeros(len(answers), bool)
    for when in (np.append(each, MISSING)[row] for each in (fin, rst)):
        out |= (when != MISSING) & (when >= answers.end) & (when - answers.end <= NEAR_CLOSE_NS)
    out &= answers.answered
    return out
