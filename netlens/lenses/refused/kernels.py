"""The compiled loops of the search for limits: over requests, once for each value that is tried.

They read and write arrays that their callers made and checked; ``score`` and the like are float64, ``label`` is int8 (:data:`REFUSED` and so on).
"""

from __future__ import annotations

import numpy as np

from netlens.wire.compiled import lean

ACCEPTED, REFUSED, UNUSED = 0, 1, 2  #: labels of requests; of unused ones it is not asked how they fit
BUCKETS = 4096  #: of counts; 64 kB for both labels, which stays in a processor's cache
SLACK = 1e-9  #: of a bound, for what is rounded
MAX_COUNT = 1_000_000_000  #: larger counts are as good as this
#: Rows of the tables of a noise (:class:`netlens.lenses.refused.limit.Noise`): log gamma of wrong, right and both; a constant.
WRONG, RIGHT, BOTH, CONSTANT = range(4)
VALUE, MISSES, CALMS = range(
    3
)  #: of what :func:`best_limit` found: the limit, how many refused and how many accepted requests are below it


@lean
def window_sums(starts, before, width, out):
    """What was taken in the ``width`` ns before each request; ``before``: what was taken before each, and at the end."""
    first = 0
    for i in range(len(starts)):
        since = starts[i] - width
        while first < i and starts[first] <= since:
            first += 1
        out[i] = before[i] - before[first]


@lean
def edge_sums(starts, before, edge, width, out):
    """What was taken before each request since its window began; windows of ``width`` ns follow each other from ``edge`` on, both ways."""
    if len(starts) == 0:
        return
    end = edge + ((starts[0] - edge) // width + 1) * width
    since = before[0]
    for i in range(len(starts)):
        if starts[i] >= end:
            end = edge + ((starts[i] - edge) // width + 1) * width
            since = before[i]
        out[i] = before[i] - since


@lean
def whole(score, room, counts):
    """A limit of whole requests is reached where the score is above the next lower number: 1.2 used of 2 leaves less than one."""
    for i in range(len(score)):
        used = score[i] + room[i] - 1e-9
        if used >= MAX_COUNT:
            counts[i] = MAX_COUNT
        else:
            count = int(used)
            counts[i] = count + (used > count)


@lean
def _noise(tables, wrong, right):
    return tables[WRONG, wrong] + tables[RIGHT, right] - tables[BOTH, wrong + right] - tables[CONSTANT, 0]


@lean
def _sort(values):
    """In order, in place (Shell's sort, gaps of Ciura): buckets hold few."""
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, len(values)):
            value = values[i]
            j = i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value


@lean
def best_limit(counts, label, tables, below, rest, found, log_likelihood):
    """The limit of the highest likelihood, where refused requests are those with so high a count; of equally good ones the lowest. 1 if it is better
    than what ``log_likelihood`` held, which is then replaced; else 0.

    Counts are put into buckets. No limit inside a bucket is more likely than all outcomes but those of its requests, so few buckets are looked into,
    and the result is exact. No limit is tried where no refused request has just that count, or at 0.

    Parameters
    ----------
    counts : int64[n], none negative.  label : int8[n].  tables : of the noise, for all requests together.
    below : int64[4, BUCKETS + 1].  rest : int64[2, n]. Both are for use here.
    found : int64[3], see :data:`VALUE`.  log_likelihood : float64[1].
    """
    most = np.int64(0)
    for i in range(len(counts)):
        if label[i] != UNUSED:
            most = max(most, counts[i])
    shift = np.int64(0)
    while most >> shift >= BUCKETS:
        shift += 1
    used = (most >> shift) + 1
    for b in range(used + 1):
        below[ACCEPTED, b] = below[REFUSED, b] = 0
    for i in range(len(counts)):
        if label[i] != UNUSED:
            below[label[i], (counts[i] >> shift) + 1] += 1
    for b in range(used):
        below[ACCEPTED, b + 1] += below[ACCEPTED, b]
        below[REFUSED, b + 1] += below[REFUSED, b]
    accepted, refused = below[ACCEPTED, used], below[REFUSED, used]
    likely, limit = np.int64(-1), -np.inf
    better = 0
    for b in range(used):
        misses, calms = below[REFUSED, b], below[ACCEPTED, b]
        if below[REFUSED, b + 1] == misses:
            continue
        if shift == 0:
            ll = _noise(tables, accepted - calms, refused - misses) + _noise(tables, misses, calms)
            if b > 0 and ll > log_likelihood[0]:
                log_likelihood[0], better = ll, 1
                found[VALUE], found[MISSES], found[CALMS] = b, misses, calms
        else:
            bound = _bound(b, tables, below, used)
            if bound > limit:
                likely, limit = b, bound
    if likely < 0 or limit < log_likelihood[0] - SLACK:
        return better
    for b in range(used):
        below[2 + ACCEPTED, b], below[2 + REFUSED, b] = below[ACCEPTED, b], below[REFUSED, b]
    for i in range(len(counts)):
        if label[i] != UNUSED:
            b = counts[i] >> shift
            rest[label[i], below[2 + label[i], b]] = counts[i]
            below[2 + label[i], b] += 1
    better = _look_into(likely, better, tables, below, used, rest, found, log_likelihood)
    for b in range(used):
        if below[REFUSED, b + 1] > below[REFUSED, b] and b != likely and _bound(b, tables, below, used) >= log_likelihood[0] - SLACK:
            better = _look_into(b, better, tables, below, used, rest, found, log_likelihood)
    return better


@lean
def _bound(b, tables, below, used):
    """More than the log likelihood of any limit in a bucket: that of all outcomes without its requests."""
    return _noise(tables, below[ACCEPTED, used] - below[ACCEPTED, b + 1], below[REFUSED, used] - below[REFUSED, b + 1]) + _noise(
        tables, below[REFUSED, b], below[ACCEPTED, b]
    )


@lean
def _look_into(b, better, tables, below, used, rest, found, log_likelihood):
    """Try every limit in a bucket; whether one so far is better than all that were known."""
    accepted, refused = below[ACCEPTED, used], below[REFUSED, used]
    first, end, calms, calms_end = below[REFUSED, b], below[REFUSED, b + 1], below[ACCEPTED, b], below[ACCEPTED, b + 1]
    _sort(rest[REFUSED, first:end])
    _sort(rest[ACCEPTED, calms:calms_end])
    for misses in range(first, end):
        value = rest[REFUSED, misses]
        if value == 0 or (misses > first and value == rest[REFUSED, misses - 1]):
            continue
        while calms < calms_end and rest[ACCEPTED, calms] < value:
            calms += 1
        ll = _noise(tables, accepted - calms, refused - misses) + _noise(tables, misses, calms)
        if ll > log_likelihood[0] or (better and ll == log_likelihood[0] and value < found[VALUE]):
            log_likelihood[0], better = ll, 1
            found[VALUE], found[MISSES], found[CALMS] = value, misses, calms
    return better
