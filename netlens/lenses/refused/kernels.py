"""The compiled loops over requests: of the search for limits, once for each value that is tried, of replays of requests in flight, and of lines of logs.

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
#: Of what :func:`best_limit` found: the limit, how many refused and how many accepted requests are below it.
VALUE, MISSES, CALMS = range(3)


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
def open_at(starts, ends, times, out):
    """How many of [start, end) hold each time; all in order, int64."""
    begun = ended = 0
    for k in range(len(times)):
        while begun < len(starts) and starts[begun] <= times[k]:
            begun += 1
        while ended < len(ends) and ends[ended] <= times[k]:
            ended += 1
        out[k] = begun - ended


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


# --- replays of requests in flight: see netlens.lenses.refused.replay, whose loop this is, with what is counted in it

#: Columns of intents, int64[n, 10]: times in ns; the model it asks; whether it is left out; the intent it depends on (-1: none), how far from its end, or
#: from its start.
START, LASTED, BUSY, HOLD, SIDE, MODEL, LEFT_OUT, AFTER, DISTANCE, FROM_START, GIVES_UP = range(11)
CAP, PACE_NS, REFUSAL_NS, MOST, BY_SIDE = range(5)  #: of the settings; the first two are -1 where there is none
GROUP, EXEMPT, LINE = range(3)  #: by side: which are counted together, whether the limit holds, which wait for each other under a cap
UNKNOWN = 2  #: side
REFUSALS, FIRST, QUEUED_AT, QUEUED_NS, CHILD, SIBLING, BEHIND, STATE_WIDTH = range(8)  #: columns of what becomes of intents
WAITED, RETRYING, PEAK, GIVEN_UP, TOTALS_WIDTH = range(5)  #: of the totals, ns or counts; behind them refusals by side
HELD, IN_PROGRESS, NEXT_NS, HEAD, TAIL = range(5)  #: rows of the lines: places held, and by line what is in progress and who waits
_TRY = 1 << 40  #: of an event's second number, which is this (but 0 for done), four times the intent, and what more is told of it


@lean
def _push(heap, n, time, what):
    """Add to a heap of ``n`` events, int64[2, ...]: times, and what happens, which parts equal times."""
    k = n
    while k > 0:
        up = (k - 1) >> 1
        if heap[0, up] < time or (heap[0, up] == time and heap[1, up] <= what):
            break
        heap[0, k], heap[1, k] = heap[0, up], heap[1, up]
        k = up
    heap[0, k], heap[1, k] = time, what
    return n + 1


@lean
def _pop(heap, n):
    """Take the first off a heap of ``n`` events."""
    n -= 1
    time, what = heap[0, n], heap[1, n]
    k = np.int64(0)
    while 2 * k + 1 < n:
        down = 2 * k + 1
        if down + 1 < n and (
            heap[0, down + 1] < heap[0, down] or (heap[0, down + 1] == heap[0, down] and heap[1, down + 1] < heap[1, down])
        ):
            down += 1
        if time < heap[0, down] or (time == heap[0, down] and what <= heap[1, down]):
            break
        heap[0, k], heap[1, k] = heap[0, down], heap[1, down]
        k = down
    heap[0, k], heap[1, k] = time, what
    return n


@lean
def _push_end(ends, n, time):
    """Add to a heap of ``n`` times."""
    k = n
    while k > 0 and ends[(k - 1) >> 1] > time:
        ends[k] = ends[(k - 1) >> 1]
        k = (k - 1) >> 1
    ends[k] = time
    return n + 1


@lean
def _drop_ends(ends, n, now):
    """Take off a heap of ``n`` times all that are not later than ``now``."""
    while n > 0 and ends[0] <= now:
        n -= 1
        time = ends[n]
        k = np.int64(0)
        while 2 * k + 1 < n:
            down = 2 * k + 1
            if down + 1 < n and ends[down + 1] < ends[down]:
                down += 1
            if time <= ends[down]:
                break
            ends[k] = ends[down]
            k = down
        ends[k] = time
    return n


@lean
def _limit_at(limits, changes, model, now):
    if changes.shape[0] == 0:
        return limits[model]
    for k in range(changes.shape[0] - 1, -1, -1):
        if changes[k, 0] <= now:
            return changes[k, 1]
    return changes[0, 1]


@lean
def _begin(intents, state, k, from_start, now, heap, n):
    """Try what depends on an intent, from its start or from its end."""
    j = state[k, CHILD]
    while j >= 0:
        if intents[j, FROM_START] == from_start:
            n = _push(heap, n, now + intents[j, DISTANCE], _TRY + 4 * j)
        j = state[j, SIBLING]
    return n


@lean
def _next_free(intents, k):
    """The intent from ``k`` on that depends on none."""
    while k < intents.shape[0] and intents[k, AFTER] >= 0:
        k += 1
    return k


@lean
def replay(intents, settings, sides, limits, changes, delays, state, totals, heap, ends, lines):
    """Replay intents under a limit on requests in flight.

    Parameters
    ----------
    intents, settings : see :data:`START`, which rises, and :data:`CAP`.  sides : int64[3, 3], see :data:`GROUP`.  limits : by model.
    changes : int64[m, 2], from when on the limit is another.  delays : ns to the next attempt after the first, second ... refusal.
    state, totals : zeros, filled in; see :data:`REFUSALS` and :data:`WAITED`.
    heap, ends, lines : int64[2, 2 n + 8], int64[6, n + 1], zeros int64[5, 6]; for use here.
    """
    cap, pace_ns, refusal_ns = settings[CAP], settings[PACE_NS], settings[REFUSAL_NS]
    n = np.int64(0)
    for k in range(intents.shape[0]):
        for column in (FIRST, QUEUED_AT, CHILD, SIBLING, BEHIND):
            state[k, column] = -1
    for line in range(sides.shape[0]):
        lines[HEAD, line] = -1
    for k in range(intents.shape[0]):
        after = intents[k, AFTER]
        if after >= 0:
            state[k, SIBLING] = state[after, CHILD]
            state[after, CHILD] = k
    next_free = _next_free(intents, 0)
    while n > 0 or next_free < intents.shape[0]:
        k = next_free
        if k < intents.shape[0] and (
            n == 0 or intents[k, START] < heap[0, 0] or (intents[k, START] == heap[0, 0] and _TRY + 4 * k < heap[1, 0])
        ):
            now, what = intents[k, START], _TRY + 4 * k
            next_free = _next_free(intents, k + 1)
        else:
            now, what = heap[0, 0], heap[1, 0]
            n = _pop(heap, n)
        k, more = (
            (what & (_TRY - 1)) >> 2,
            what & 3,
        )  # more: 1 done for good, 0 refused and to be tried again, 2 done without having been made
        if what < _TRY:
            if more:
                n = _begin(intents, state, k, 0, now, heap, n)
            if cap < 0 or more == 2:
                continue
            line = sides[intents[k, SIDE], LINE]
            lines[IN_PROGRESS, line] -= 1
            k = lines[HEAD, line]
            if k < 0:
                continue
            lines[HEAD, line] = state[k, BEHIND]
            state[k, BEHIND] = -1
            totals[WAITED] += now - state[k, QUEUED_AT]
            state[k, QUEUED_NS] += now - state[k, QUEUED_AT]
        elif state[k, FIRST] < 0:
            state[k, FIRST] = now
            n = _begin(intents, state, k, 1, now, heap, n)
            if intents[k, LEFT_OUT]:
                n = _push(heap, n, now + intents[k, LASTED], 4 * k + 2)
                continue
        side = intents[k, SIDE]
        group, line = sides[side, GROUP], sides[side, LINE]
        if pace_ns >= 0:
            later = max(now, lines[NEXT_NS, group])
            if later > now:
                totals[WAITED] += later - now
                state[k, QUEUED_NS] += later - now
                n = _push(heap, n, later, _TRY + 4 * k)
                continue
            lines[NEXT_NS, group] = now + pace_ns
        if cap >= 0:
            if lines[IN_PROGRESS, line] >= cap:
                if lines[HEAD, line] < 0:
                    lines[HEAD, line] = k
                else:
                    state[lines[TAIL, line], BEHIND] = k
                lines[TAIL, line] = k
                state[k, QUEUED_AT] = now
                continue
            lines[IN_PROGRESS, line] += 1
        place = 2 * group + intents[k, MODEL]
        held = _drop_ends(ends[place], lines[HELD, place], now)
        if held < _limit_at(limits, changes, intents[k, MODEL], now) or sides[side, EXEMPT]:
            held = _push_end(ends[place], held, now + intents[k, HOLD])
            if not (side == UNKNOWN and settings[BY_SIDE]):
                totals[PEAK] = max(totals[PEAK], held)
            totals[RETRYING] += now - state[k, FIRST] - state[k, QUEUED_NS]
            n = _push(heap, n, now + intents[k, BUSY], 4 * k + 1)
        else:
            state[k, REFUSALS] += 1
            totals[TOTALS_WIDTH + side] += 1
            over = state[k, REFUSALS] >= settings[MOST]
            totals[GIVEN_UP] += over
            over = over or intents[k, GIVES_UP]
            n = _push(heap, n, now + refusal_ns, 4 * k + over)
            if not over:
                delay = max(delays[state[k, REFUSALS] - 1], refusal_ns + 1)
                n = _push(heap, n, now + delay, _TRY + 4 * k)
        lines[HELD, place] = held


# --- which request of a program follows which: see netlens.lenses.refused.turns, whose rule this is

MOST_DONE, DEPENDENT_NS, CLOSED_NS = range(3)  #: of the settings


@lean
def follow(events, settings, starts, ends, side, first, last, closed, on, distance, heights, done):
    """The intent that each one follows: of those of its side that are done and that nothing else has followed, by their sessions.

    Parameters
    ----------
    events : int64[2 n], in order of time: intents that end, and those that start plus n.  settings : see :data:`MOST_DONE`.
    starts, ends : int64[n], ns.  side, first, last : int64[n]: its side, the sessions of its first and of its last attempt, -1 without.
    closed : int64[sessions], when programs were done with them, ns.
    on, distance : int64[n], -1 and any; filled in where something is followed and nothing was told before (-1).
    heights, done : zeros int64[sides], int64[sides, n]; for use here.
    """
    n = len(starts)
    for event in events:
        k = event
        if event < n:
            done[side[k], heights[side[k]]] = k
            heights[side[k]] += 1
            continue
        k -= n
        if on[k] >= 0:
            continue
        stack, height = done[side[k]], heights[side[k]]
        latest = gone = own = np.int64(-1)
        for place in range(height - 1, max(height - 1 - settings[MOST_DONE], -1), -1):
            i = stack[place]
            if starts[k] - ends[i] > settings[DEPENDENT_NS]:
                break  # they stand in order of their ends
            if last[i] == first[k] and first[k] >= 0:
                own = place
                break
            if gone < 0 and 0 <= last[i] < len(closed) and closed[last[i]] <= ends[i] + settings[CLOSED_NS]:
                gone = place
            if latest < 0:
                latest = place
        if own < 0:
            own = gone if first[k] >= 0 and gone >= 0 else latest
        if own >= 0:
            on[k] = stack[own]
            distance[k] = starts[k] - ends[stack[own]]
            for place in range(own, height - 1):
                stack[place] = stack[place + 1]
            heights[side[k]] -= 1


# --- which answer each line of a log means: see netlens.lenses.refused.labels, whose tables these fill


@lean
def pair_costs(low, high, begin, end, look, first, stop, settings, out):
    """What each line costs with each answer; inf for those that it cannot mean.

    Parameters
    ----------
    low, high : int64[n], when each line was written, ns.  first, stop : int64[n], which answers it may mean, as places in ``end``.
    begin, end, look : int64[m], int64[m], float64[m] when answers began and ended, in order of the latter, and what their looks cost.
    settings : float64[5]: how late lines are as a rule (ns), what that costs, how much later costs 1 more (ns); what a line before its answer costs, and how
        much earlier costs 1 more (ns).
    out : float64[n, m], filled in.
    """
    usual, usually, unit, early, lead = settings[0], settings[1], settings[2], settings[3], settings[4]
    for k in range(len(low)):
        for j in range(len(end)):
            if j < first[k] or j >= stop[k]:
                out[k, j] = np.inf
                continue
            lag = float(min(max(0, low[k] - end[j]), high[k] - end[j]))
            if lag < 0 and high[k] >= begin[j]:  # a client tells of the status as soon as it has read that
                lag = 0.0
            if lag < 0:
                out[k, j] = early - lag / lead + look[j]
            else:
                out[k, j] = min(lag, usual) / usual * usually + max(lag - usual, 0.0) / unit + look[j]


@lean
def assign(costs, alone, best, origin, chosen):
    """The answer of each line, -1 for none: cheapest in total, answers rising.

    Parameters
    ----------
    costs : float64[n, m], inf where impossible.  alone : float64[n], what a line without an answer costs.
    best : zeros float64[m + 1].  origin : int32[n, m + 1]. Both are for use here.  chosen : int64[n], filled in.
    """
    n, m = costs.shape
    for k in range(n):
        at = np.int64(0)
        lowest = np.inf
        before = np.inf  # the best of one answer fewer, without this line
        for j in range(m + 1):
            without = best[j] + alone[k]
            with_it = before + costs[k, j - 1] if j else np.inf
            before = best[j]
            now = min(with_it, without)
            if j == 0 or now < lowest:  # where fewer answers are as good, go there
                lowest = now
                at = 2 * j + (with_it < without)
            best[j] = lowest
            origin[k, j] = at
    j = m
    for k in range(n - 1, -1, -1):
        j = origin[k, j] >> 1
        chosen[k] = -1
        if origin[k, j] & 1:
            j -= 1
            chosen[k] = j


@lean
def ties(costs, chosen, short, margins, tied):
    """Answers of which it is not clear which are meant: a free one costs a line about as little as its own.

    Parameters
    ----------
    costs, chosen : see :func:`assign`.  short : bool[m].  margins : float64[2], of costs; the second is that from others towards short ones.
    tied : int8[m], of chosen ones 1, else 0; of those that are not clear filled in with 2 and 3.
    """
    for k in range(len(chosen)):
        own = chosen[k]
        if own < 0:
            continue
        for j in range(costs.shape[1]):
            if not tied[j] & 1 and costs[k, j] <= costs[k, own] + margins[int(short[j] and not short[own])]:
                tied[j] = 2
                tied[own] = 3


@lean
def soonest_alike(sizes, begins, starts, rows, asked, earliest, latest, apart, found):
    """Of each answer the row of the next request of about its request's size.

    Parameters
    ----------
    sizes : int64[s], rising, of all requests.  begins : int64[s + 1], where those of each size begin in what follows.
    starts, rows : int64[n], in order of size, start and row.
    asked : int64[m], size of each answer's request, rising.  earliest, latest : int64[m], ns, within which the next one starts.
    apart : bytes by which sizes may differ.  found : int64[m] of -1, filled in with rows.
    """
    first = 0
    for k in range(len(asked)):
        while first < len(sizes) and sizes[first] < asked[k] - apart:
            first += 1
        size = first
        soonest = latest[k] + 1
        while size < len(sizes) and sizes[size] <= asked[k] + apart:
            at, end = begins[size], begins[size + 1]
            at += _first_from(starts[at:end], earliest[k])
            if at < end and (starts[at] < soonest or (starts[at] == soonest and rows[at] < found[k])):
                soonest = starts[at]
                found[k] = rows[at]
            size += 1


@lean
def retries(starts, ends, refused, sizes, sessions, following, back_off, alike, room, found):
    """The retry of each refused request of one side, in order of time; the rules: :mod:`netlens.lenses.refused.intents`.

    Parameters
    ----------
    starts, ends : int64[n], ns, in order of start.  refused : int64[m], rising, places in these.  sizes : int64[n], bytes, 0 where unknown.
    sessions : int64[n].  following : int64[n], the next request on the same connection, n if there is none.
    back_off : int64[6], ns: the first delay if none was found; the one that was, or -1; by how much it grows; the longest; by how much a delay may be off, and
    by how many thousandths of it besides.
    alike : int64[2]: bytes by which a request that is sent again may differ; how many of one size within the longest delay may be retries.
    room : zeros int64[2, n].  found : int64[n] of -1, filled in with the places of retries.
    """
    level, taken = room[0], room[1]  # refusals before each attempt; whether it is a retry
    usual, first, longest, same = back_off[0], back_off[1], back_off[3], alike[0]
    n = len(starts)
    for i in range(len(refused)):
        k = refused[i]
        after = ends[k]
        wanted = usual if first < 0 else first
        for _ in range(level[k] if first >= 0 and back_off[2] > 1 else 0):
            if wanted >= longest:
                break
            wanted = max(min(wanted * back_off[2], longest), first)
        slack = back_off[4] + wanted * back_off[5] // 1000
        chosen = np.int64(-1)
        off = slack
        j = max(_first_from(starts, after + wanted - slack), k + 1)
        while j < n and starts[j] <= after + wanted + slack:  # the nearest to the delay
            differs = abs(starts[j] - after - wanted)
            if differs <= off and not taken[j] and _alike(sizes, j, k, same):
                chosen = j
                off = differs
            j += 1
        if chosen < 0 and first >= 0:  # the next on its connection, unused until about then: a busy machine wakes programs late
            j = following[k]
            if j < min(_first_from(starts, after + wanted + wanted // 2), k + 256) and not taken[j]:
                if starts[j] >= after + wanted // 2 and _alike(sizes, j, k, same):
                    chosen = j
        if chosen < 0 and sizes[k]:  # the next of its size, if few are
            begin = _first_from(starts, after + usual // 4)
            many = 0
            for j in range(max(begin, k + 1), min(_first_from(starts, after + longest), begin + 256)):
                if sizes[j] and abs(sizes[j] - sizes[k]) <= same:
                    many += 1
                    if chosen < 0 and not taken[j]:
                        chosen = np.int64(j)
            if many > alike[1]:
                chosen = np.int64(-1)
        if chosen < 0 and first < 0:  # no delay is known: the next on its connection, else the next of its side
            begin = max(_first_from(starts, after), k + 1)
            for j in range(begin, min(_first_from(starts, after + longest), begin + 64)):
                if not taken[j] and _alike(sizes, j, k, same) and (chosen < 0 or sessions[j] == sessions[k]):
                    chosen = np.int64(j)
                    if sessions[j] == sessions[k]:
                        break
        if chosen >= 0:
            taken[chosen] = 1
            level[chosen] = level[k] + 1
            found[k] = chosen


@lean
def _first_from(times, at):
    """The place of the first of rising times that is not before another."""
    low, high = np.int64(0), np.int64(len(times))
    while low < high:
        middle = (low + high) >> 1
        if times[middle] < at:
            low = middle + 1
        else:
            high = middle
    return low


@lean
def _alike(sizes, one, other, same):
    """Whether two requests may be the same, as far as their sizes are known."""
    return sizes[one] == 0 or sizes[other] == 0 or abs(sizes[one] - sizes[other]) <= same
