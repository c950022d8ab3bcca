"""What sources of labels share: labels of exchanges, and exchanges as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens import logs
from netlens.chains.endings import SHORT_NS, STREAM_BYTES, STREAM_NS
from netlens.chains.situation import REJECTED, UNLABELLED
from netlens.columns import MISSING, Bools, Codes, Ints, Objects
from netlens.lenses.refused import kernels
from netlens.schema import ints_of

if TYPE_CHECKING:
    from netlens.parsers.errorlog import ErrorEvent

Columns = Mapping[str, npt.NDArray[Any]]


MS, S = 1_000_000, 1_000_000_000

# --- what an answer looks like
ALIKE_BYTES = 16  #: sizes of one refusal differ by digits of a number or a header; two TLS records more would be 44
SHORT_BYTES = 4096
QUICK = 0.5  #: of the shortest waits for the first byte of a stream
MANY_SIZES = 10  #: of answers, beside which one size of many quick answers is something else
SAME_REQUEST_BYTES = 4  #: one request sent again differs by a digit or two at most
BACK_OFF_NS = (400 * MS, 120 * S)  #: Retry-After of a second less what the clock may be off, to 30 s with room; programs give up after that


@dataclass(frozen=True, eq=False)
class Labels:
    """Per exchange: refused or not, and who says so; arrays of equal length.

    rejected : REJECTED, ACCEPTED or UNLABELLED.  source : "error log", "key log", "status", "look-alike", "inferred", or "" where unknown.
    refusal_class : of those refused, one of the classes of :mod:`netlens.logs`; else "".
    matched : (index of the event, row of the exchange).  unmatched : events for which there is no exchange; echoes of others are not among them.
    note : what a person should know about these labels; "" if nothing.  sizes : of refusals, as the log showed them.
    unclear : answers that a line of a log may mean, and that stay unknown for it.
    lag_ns : how far the lines of a log are from the answers that they were matched with, as a rule.  as_it_is : its times are taken as it has them.
    """

    rejected: Codes
    source: Objects
    refusal_class: Objects
    matched: list[tuple[int, int]] = field(default_factory=list)
    unmatched: list[ErrorEvent] = field(default_factory=list)
    note: str = ""
    sizes: tuple[int, ...] = ()
    lag_ns: int | None = None
    as_it_is: bool = True
    unclear: int = 0


def unlabelled(n: int) -> Labels:
    return Labels(np.full(n, UNLABELLED, np.int8), np.full(n, "", object), np.full(n, "", object))


def set_labels(labels: Labels, rows: Any, rejected: int, source: str = "", refusal_class: str = logs.UNKNOWN) -> None:
    labels.rejected[rows], labels.source[rows] = rejected, source
    labels.refusal_class[rows] = refusal_class if rejected == REJECTED else ""


class Answers:
    """Columns of exchanges as plain arrays; times that are missing are MISSING."""

    def __init__(self, exchanges: Columns):
        self.start = ints_of(exchanges, "start_ns", MISSING)
        self.asked = ints_of(exchanges, "request_end_ns", MISSING)
        self.response = ints_of(exchanges, "response_ns", MISSING)
        self.end = ints_of(exchanges, "end_ns", MISSING)
        self.up, self.down = ints_of(exchanges, "up_bytes", 0), ints_of(exchanges, "down_bytes", 0)
        #: of HTTP in the clear; 0 where it was not seen
        self.status = np.maximum(ints_of(exchanges, "status", 0), 0) if "status" in exchanges else np.zeros(len(self.start), np.int64)
        complete = np.asarray(exchanges["complete"])
        self.complete = complete if complete.dtype == np.bool_ else np.array([value is True or value == 1 for value in complete], bool)
        self.answered = (self.end != MISSING) & (self.response != MISSING)
        self.lasts = np.where(self.answered, self.end - np.where(self.answered, self.response, 0), 0)
        self.waits = np.where(self.answered, self.response - np.where(self.answered, self.asked, 0), 0)
        self.short = self.answered & self.complete & (self.lasts <= SHORT_NS) & (self.down <= SHORT_BYTES)
        self.granted = (self.status >= 200) & (self.status < 400)
        self.stream = self.answered & ((self.lasts >= STREAM_NS) | (self.down >= STREAM_BYTES))

    def __len__(self) -> int:
        return len(self.start)


def much_sooner(answers: Answers, among: Bools, streams: int) -> Bools:
    """Short answers that come much sooner than streams begin; or, where there are fewer than so many ``streams``, those of the commonest size of short ones
    ``among`` the answers, much sooner than others of many sizes."""
    others, looks = answers.stream, answers.short
    if others.sum() < streams:
        sizes, many = np.unique(answers.down[among & answers.short], return_counts=True)
        one_size = alike(answers.down, sizes[many == many.max(initial=0)])
        others, looks = answers.answered & ~one_size, looks & one_size
        if len(np.unique(answers.down[others])) < MANY_SIZES:
            return np.zeros(len(answers), np.bool_)
    return np.asarray(looks & (answers.waits <= QUICK * np.percentile(answers.waits[others], 10)))


def alike(values: Ints, sizes: Ints, within: int = ALIKE_BYTES) -> Bools:
    if not len(sizes):
        return np.zeros(len(values), bool)
    sizes = np.sort(sizes)
    at = np.searchsorted(sizes, values)
    below, above = sizes[np.maximum(at - 1, 0)], sizes[np.minimum(at, len(sizes) - 1)]
    return np.minimum(np.abs(values - below), np.abs(values - above)) <= within


def chains(answers: Answers, usable: Bools, soonest_ns: int = BACK_OFF_NS[0], of: Bools | None = None) -> Ints:
    """Per exchange the row of the next one with the same request within the time of a back-off; -1 without. of : for these; by default for short answers."""
    out = np.full(len(answers), -1, np.int64)
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((answers.start[rows], answers.up[rows]))]
    if not len(rows):
        return out
    asking = np.flatnonzero(usable & (answers.short if of is None else of))
    if not len(asking):
        return out
    asking = asking[np.lexsort((answers.end[asking], answers.up[asking]))]
    begins = np.append(np.flatnonzero(np.diff(answers.up[rows], prepend=-1)), len(rows))
    end, found = answers.end[asking], np.full(len(asking), -1)
    spans = answers.start[rows], rows, answers.up[asking], end + soonest_ns, end + BACK_OFF_NS[1]
    kernels.soonest_alike(answers.up[rows[begins[:-1]]], begins, *spans, SAME_REQUEST_BYTES, found)
    out[asking] = found
    return out
