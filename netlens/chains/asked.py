"""What both sides of an HTTP/2 connection said behind its opening, as sizes and times of records, and the ways to read the client's as requests.

See :mod:`netlens.chains.streams` for what these sizes are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, zip_longest
from typing import NamedTuple

from netlens.columns import NEVER
from netlens.parsers import http2
from netlens.parsers.http2 import ACKNOWLEDGMENT, SETTING, WINDOW_UPDATE
from netlens.parsers.records import HEADER, Records

PAYING_OPENS = ACKNOWLEDGMENT + 3 * SETTING  #: SETTINGS of nginx and HAProxy
APART_OPENS = frozenset(ACKNOWLEDGMENT + n * SETTING for n in (4, 5, 6))  #: SETTINGS of Go, by version
EMPTY = ACKNOWLEDGMENT  #: DATA without a byte: a frame's header (RFC 9113 4.1), as long as an acknowledgment of SETTINGS
PING = 17  #: RFC 9113 6.7; GOAWAY without words (6.8) is as long
WINDOW = 65_535  #: of a stream and of a connection, unless the server says otherwise (RFC 9113 6.9.2)
MOST_WITH = 2  #: WINDOW_UPDATEs beside the server's SETTINGS
BODY = 200  #: the least that a request has, body and all
FULL = http2.FULL
LEAST_FULL = FULL - 100  #: what is left of a full frame behind a record that is nearly full
MOST_CONTROL = 8 * WINDOW_UPDATE
#: Sizes of an acknowledgment of SETTINGS, WINDOW_UPDATE or RST_STREAM, PING, or one of these with several WINDOW_UPDATEs.
CONTROL = frozenset(
    first + WINDOW_UPDATE * more
    for first in (WINDOW_UPDATE, ACKNOWLEDGMENT, PING)
    for more in range(8)
    if first + WINDOW_UPDATE * more <= MOST_CONTROL
)
#: Sizes of an acknowledgment, alone or with several WINDOW_UPDATEs.
ACKNOWLEDGMENTS = frozenset(range(ACKNOWLEDGMENT, MOST_CONTROL + 1, WINDOW_UPDATE))
#: Sizes of the server's records beside answers: SETTINGS are acknowledged, or PING, with WINDOW_UPDATEs or without.
ASIDE = frozenset(first + WINDOW_UPDATE * more for first in (ACKNOWLEDGMENT, PING) for more in range(3)) - {EMPTY}
FEW = 3 * WINDOW_UPDATE  #: less than any answer
UPDATE_NS = 300_000_000  #: from a body to the server's WINDOW_UPDATE, at most
ACKNOWLEDGED_NS = 1_000_000_000  #: from the server's SETTINGS to their acknowledgment, at most, if the client says something before it
MOST_READINGS = 4  #: records of which each may be the acknowledgment of SETTINGS; the first is it as a rule
AT_ONCE_NS = 5_000_000  #: between records of what is sent as a whole
BODY_NS = 50_000_000  #: from fields to the body
ALLOWED_NS = 15_000_000  #: from WINDOW_UPDATE to what it allows
WAIT_NS = 200_000_000  #: for WINDOW_UPDATE, at most
MOST_PAUSED = 0.2  #: share of requests with a longer pause in their bodies
PINGED_NS = 1_000_000_000  #: from PING to its answer, at most
CLIENT, SERVER = 0, 1
FIELDS = 15, 190  #: of a request, in a record of their own: Go's take 16 bytes once all of them are indexed, Java's 154, as it indexes few
USUAL = 150  #: bytes of such fields, at most, as a rule
#: Longer fields are looked for up to so many bytes, are longer by so many at most on a connection's first request, and differ by so many as a
#: rule, and by so many where nothing else can stand; as many of them, and this share of what stands before bodies, have to be alike; and they are read as if
#: they were of so many bytes.
MOST_LONG, FIRST_LONGER, LONG_DIFFER, LONG_OTHER = 4_000, 300, 8, 80
LEAST_LONG, SHARE_LONG, READ_AS = 3, 0.4, 100
#: How else they stand in a record: of how many requests, with how many bytes beside, and by how many they may be shorter and longer.
_BESIDE = [(n, beside, (-LONG_DIFFER, LONG_DIFFER)) for n, beside in ((1, ACKNOWLEDGMENT), (2, 0), (2, ACKNOWLEDGMENT))]
FIELDS_DIFFER = range(-5, 5)  #: bytes, on one connection
OPENING = 10  #: records of the client behind the server's SETTINGS, by which they are acknowledged
FAREWELL = 64  #: bytes of GOAWAY with words; Java's has 34
MOST_TOGETHER = 4  #: requests whose fields stand in one record
MOST_BESIDE = 2  #: frames of 13 bytes behind ends of bodies, in one record
REPEATED = 2  #: bodies, to be no chance
MOST_FIELDS = 0.6  #: share of bursts that begin with them, behind the first


@dataclass(slots=True)
class Stream:
    """One request: times in ns, and frames; -1 where there is none.

    up, down : payload in bytes, with what TLS adds; ``down`` is the most that it may be.  sizes : of the records of its answer, as plaintext.
    mixed : others were in progress at the time.  unsure : another one may have ended instead.  quick : it ended soon after the latest request was begun.
    doubt_ns : by how much it may have begun earlier and later, and ended earlier and later.  parts : records of a burst that may end a body.
    theirs : how likely the answer that ended at each time was its own; empty where that was not asked.
    """

    begin_ns: int
    sent_ns: int
    frame: int
    up: int
    answer_ns: int = -1
    answer_frame: int = -1
    end_ns: int = -1
    end_frame: int = -1
    down: int = 0
    sizes: list[int] = field(default_factory=list)
    mixed: bool = False
    unsure: bool = False
    quick: bool = False
    last: int = 0  # size of the record before its end
    doubt_ns: tuple[int, int, int, int] = (0, 0, 0, 0)
    parts: int = 1
    theirs: dict[int, float] = field(default_factory=dict)


class Record(NamedTuple):
    way: int
    size: int  # of its plaintext
    ts: int
    frame: int
    payload: int  # with what TLS adds


class Reading(NamedTuple):
    """One way to read the client's records as requests, in order of start.

    apart : each surely ends with an empty frame.  together : several may have been sent in one burst and be taken for one.
    likely : nothing of the client speaks against it: the acknowledgment of SETTINGS is where it is looked for, each request has a body.
    many : how likely each start is one of no request, one, two and so on, if that was weighed by all that the client said (:mod:`netlens.chains.grammar`).
    """

    streams: list[Stream]
    apart: bool
    together: bool
    likely: bool = True
    many: tuple[tuple[float, ...], ...] = ()


class Said(NamedTuple):
    """Records behind the opening of each side, without what is left of full frames, and of the server's those of answers alone; ``readings`` are empty where
    the client asked nothing.  bodies : each request seems to have a body.  settings_ns : of the server's SETTINGS.  preface : records of the client's opening.
    updates : what may be the server's WINDOW_UPDATEs, or heads of as few bytes, behind its opening; and what is as long as PING and is none.
    pinged : how many PINGs the server sent, or answered.  paid : WINDOW_UPDATEs for bodies in the server's
    opening.  pays : how many it is known to send for each (0: it is not).  refused : those of the server behind which an error log has the line of a refusal.
    at_once : the client begins all that it asks for in its first write, several requests as easily as one.  seldom_several : it offers HTTP/1.1 as well, so one
    write seldom begins several.  apart : the server writes the head of each answer in a record of its own, as Go does.  acknowledged : it has acknowledged
    SETTINGS in a record without an answer, so that no other is an acknowledgment.  waited : requests waited for the connection, and were written at once then,
    so that fields of some may stand with the first body (hyper).
    """

    mine: list[Record]
    answers: list[Record]
    readings: list[Reading]
    bodies: bool = True
    settings_ns: int = -NEVER
    preface: int = 0
    updates: Sequence[Record] = ()
    pinged: int = 0
    paid: Record | None = None
    pays: int = 0
    refused: frozenset[Record] = frozenset()
    at_once: bool = False
    seldom_several: bool = False
    apart: bool = False
    acknowledged: bool = False
    waited: bool = False


def is_data(r: Record) -> bool:
    """Whether a record of the client is of a request, or one of the server's in between may be of an answer."""
    return r.size not in CONTROL


def updates(r: Record) -> int:
    """How many WINDOW_UPDATEs are in a record of control."""
    return next((n for _, n in control(r.size)), 0)


def control(size: int) -> Iterator[tuple[int, int]]:
    """What a record of so many bytes may be, as far as it is control: the size of an acknowledgment or PING in it, or 0, and how many WINDOW_UPDATEs."""
    for of in (0, EMPTY, PING):
        n, rest = divmod(size - of, WINDOW_UPDATE)
        if not rest and n >= 0:
            yield of, n


def long_fields(each: Said, least: int = LEAST_LONG, within_ns: int = BODY_NS) -> tuple[int, ...]:
    """Bytes of fields in records of their own that are longer than :data:`FIELDS`, of what stands right before bodies on a connection, ``least`` alike; more
    than one number where programs share it. A token in them is said anew with each request where HPACK must not keep it (RFC 7541 7.1.3)."""
    before_bodies = _before_bodies(each, within_ns)
    found: list[int] = []
    while before_bodies:
        usual, alike = _usual(before_bodies)
        if not FIELDS[1] < usual <= MOST_LONG or alike < max(least, SHARE_LONG * len(before_bodies)):
            break
        found.append(usual)
        before_bodies = [size for size in before_bodies if abs(size - usual) > LONG_DIFFER]
    return tuple(found)


def _before_bodies(each: Said, within_ns: int = BODY_NS) -> list[int]:
    """Sizes of what stands right before bodies, with no answer in between, and begins requests as a rule."""
    answered = [r.ts for r in each.answers]
    return sorted(
        r.size
        for before, r, after in zip([None, *each.mine], each.mine, each.mine[1:], strict=False)
        if _may_begin(before, r)
        and r.size >= FIELDS[0]
        and after.size >= BODY
        and after.ts - r.ts <= within_ns
        and abs(after.size - r.size) > LONG_DIFFER
        and bisect_right(answered, r.ts) == bisect_left(answered, after.ts)
    )


def _usual(sizes: Sequence[int]) -> tuple[int, int]:
    """The size, of sorted ones, of which most are about as long, and how many."""
    alike = {size: bisect_right(sizes, size + LONG_DIFFER) - bisect_left(sizes, size - LONG_DIFFER) for size in dict.fromkeys(sizes)}
    usual = max(alike, key=alike.__getitem__, default=0)
    return usual, alike.get(usual, 0)


def _shows_fields(each: Said) -> bool | None:
    """Whether its client sends fields in records of their own; None where it sent too few bodies to tell."""
    sizes = _before_bodies(each)
    if sum(r.size >= BODY for r in each.mine) < LEAST_LONG:
        return None
    return _usual(sizes)[1] >= max(LEAST_LONG, SHARE_LONG * len(sizes))


def _shortened(records: Sequence[Record], usual: Sequence[int]) -> list[Record]:
    """The same with long fields as if they were short: those of one request or two, perhaps with an acknowledgment or the end of a body before them, or those
    of one with a body that is as long as several others. Where nothing else can stand, they may differ by more: a path, a length, a field that others lack."""
    out = list(records)
    begins = _begin(records, usual)
    first = min((k for k in begins if records[k].size > FIELDS[1]), default=-1)
    mine = Counter(r.size for r in records if r.way == CLIENT and r.size >= BODY)
    bodies = [size for size, n in mine.items() if n >= LEAST_LONG and min(abs(size - long) for long in usual) > LONG_OTHER]
    with_bodies = [(1, size, (-LONG_DIFFER, LONG_DIFFER)) for size in bodies]
    for k, r in enumerate(records):
        if r.way == CLIENT and r.size > FIELDS[1]:
            alone = (-LONG_OTHER, FIRST_LONGER if k == first else LONG_OTHER) if k in begins else (-LONG_DIFFER, LONG_DIFFER)
            longer = [
                (more, n, beside)
                for size in usual
                for n, beside, (least, most) in ((1, 0, alone), *_BESIDE, *with_bodies)
                if least <= (more := r.size - beside - n * size) <= most
            ]
            if longer:
                more, n, beside = min(longer, key=lambda each: (abs(each[0]), each[1:]))
                out[k] = r._replace(size=more + n * READ_AS + beside)
    return out


def _begin(records: Sequence[Record], usual: Sequence[int]) -> set[int]:
    """Places of the client's records that stand behind an end of a body, or long behind what it said before: as a rule they begin a request. Where bodies end
    with an empty frame, what stands behind ``usual`` fields and has none behind it is no body, and begins one, too."""
    out = set()
    mine = [k for k, r in enumerate(records) if r.way == CLIENT]
    ends = sum(records[k].size == EMPTY for k in mine) >= LEAST_LONG
    before: Record | None = None
    rest = fields = False  # of a full frame; what came before
    for k, then in zip_longest(mine, mine[1:]):
        r = records[k]
        if _may_begin(before, r, rest=rest) or (fields and ends and then is not None and records[then].size != EMPTY):
            out.add(k)
        fields = min(abs(r.size - size) for size in usual) <= (LONG_OTHER if k in out else LONG_DIFFER)
        rest = r.size == EMPTY and before is not None and before.size == FULL
        before = r
    return out


def _may_begin(before: Record | None, r: Record, *, rest: bool = False) -> bool:
    """Whether what a client says stands behind an end of a body, or long behind what it said before.  rest : that is what is left of a full frame."""
    return before is None or (before.size <= EMPTY and not rest) or r.ts - before.ts > BODY_NS


def said_of_all(seen: Sequence[Records]) -> list[Said | None]:
    """What both sides of the connections of a capture said, long fields as if they were short; None where that cannot be told."""
    every = [said(records) for records in seen]
    long = [long_fields(each) if each else () for each in every]
    of_others = tuple(dict.fromkeys(size for sizes in long for size in sizes))  # few requests show none by themselves
    few = _few_long(every, long, of_others)
    opened = [_opens_apart(records) if each is not None and each.answers else None for records, each in zip(seen, every, strict=True)]
    apart = [opening is not None and (*opening[:1], True) in opened for opening in opened]
    return [
        said(records, sizes or more or of_others, apart=by_itself) if by_itself or sizes or more or of_others else each
        for records, each, sizes, more, by_itself in zip(seen, every, long, few, apart, strict=True)
    ]


def _few_long(every: Sequence[Said | None], long: Sequence[Sequence[int]], of_others: Sequence[int]) -> list[tuple[int, ...]]:
    """By connection, long fields of those that have too few bodies to show them, and none about as long as those ``of_others``, if most others send fields in
    records of their own: then what stands at once before bodies is fields there, too."""
    shown = [_shows_fields(each) if each else None for each in every]
    that_do, others = shown.count(True), len(shown) - shown.count(None) - 1
    out: list[tuple[int, ...]] = []
    for each, sizes, does in zip(every, long, shown, strict=True):
        few = long_fields(each, 1, AT_ONCE_NS) if each and not (sizes or does) and 2 * that_do > others + (does is None) else ()
        like_others = any(-LONG_OTHER <= usual - other <= FIRST_LONGER for usual in few[:1] for other in of_others)
        out.append(() if like_others else few)
    return out


def _opens_apart(seen: Records) -> tuple[int, bool] | None:
    """Bytes of the SETTINGS of a server that may open as Go does, and whether it surely does: the WINDOW_UPDATE of the connection stands behind them in a
    record of its own; None of others. If the client was quick, it may be in that of the acknowledgment, as it is with hyper."""
    dialog = http2.dialog(seen)
    theirs = dialog.size[dialog.way == SERVER].tolist() if dialog is not None else []
    opening, *behind = theirs[http2.behind_tickets(theirs) :][:2] if theirs else [0]
    may = opening in APART_OPENS and behind and behind[0] in (WINDOW_UPDATE, ACKNOWLEDGMENT + WINDOW_UPDATE)
    return (opening, behind[0] == WINDOW_UPDATE) if may else None


def said(seen: Records, long: Sequence[int] = (), *, apart: bool = False) -> Said | None:
    """What both sides of a connection that speaks HTTP/2 said; None where that cannot be told.  long : bytes of long fields (:func:`long_fields`).
    apart : the server writes heads in records of their own."""
    dialog = http2.dialog(seen)
    if dialog is None or not len(dialog.at):
        return None
    at = dialog.at
    columns = dialog.way.tolist(), dialog.size.tolist(), seen.ts[at].tolist(), seen.frame[at].tolist(), (seen.size[at] + HEADER).tolist()
    records = [Record(*row) for row in zip(*columns, strict=True)]
    mine = [r for r in records if r.way == CLIENT]
    preface = http2.prefaces([r.size for r in mine[:2]])
    nothing = preface > 0 and not any(map(is_data, mine[preface:]))  # hyper opens several connections, and takes the first
    if len(mine) == len(records):  # it was never answered
        return Said(mine[preface:] if nothing else mine, [], [], False, preface=preface)
    begun = _opened(records)
    if begun is None:
        return Said(mine[preface:], [], [], False, preface=preface) if nothing else None
    settings_ns, records = records[begun[0]].ts, _each_end(_shortened(begun[1], long) if long else begun[1])
    mine = [r for r in records if r.way == CLIENT]
    preface = http2.prefaces([r.size for r in mine[:2]])
    for _ in range(preface):
        records.remove(mine.pop(0))
    if _is_farewell(records):
        records.remove(mine.pop())
    waited = preface > 1
    if waited and (each_of_first := _each_of_first(records)):
        records, waited = each_of_first, False
        mine = [r for r in records if r.way == CLIENT]
    readings = list(_readings(records, mine, settings_ns)) if any(map(is_data, mine)) else []
    kept = _joined(mine)
    pinged = _pinged(records)
    acknowledged = len(begun[2]) > 1
    answers = _joined(_answers(records, pinged, acknowledged=apart and acknowledged))
    pings = _pings(records, pinged)
    kept_too = {*answers, *pings}
    updates = [r for r in records if r.way == SERVER and not is_data(r) and r not in kept_too]
    bodies = _all_with_bodies(kept) and _by_fields(kept)[1]
    return Said(
        mine,
        answers,
        readings,
        bodies,
        settings_ns,
        preface,
        updates,
        len(pings),
        *_paid(begun[2], updates),
        apart=apart,
        acknowledged=acknowledged,
        waited=waited,
    )


def _each_end(records: Sequence[Record]) -> list[Record]:
    """The same where what ends several bodies at once, of a client that ends others with an empty frame, is as many records (Node), and what stands behind an
    end in one record is one of its own (RST_STREAM of what was answered, got)."""
    mine = [r for r in records if r.way == CLIENT and (r.size not in CONTROL or r.size in ACKNOWLEDGMENTS)]
    ends = sum(r.size == EMPTY for r in _joined(mine))
    several: dict[Record, tuple[int, int]] = {}
    sent = 0  # since an end
    for before, r, after in zip([None, *mine], mine, [*mine[1:], None], strict=False):
        n, beside = _ends_in(r.size)
        open_still = after is not None and after.size == EMPTY
        is_rest = beside > 0 and _is_left(r, before)
        if n + beside > 1 and ends > n and sent >= n * BODY and not open_still and not is_rest:
            several[r] = n, beside
        sent = 0 if r.size == EMPTY or r in several else sent + r.size
    out: list[Record] = []
    for r in records:
        n, beside = several.get(r, (0, 0))
        out += [r._replace(size=EMPTY, payload=r.payload // (n + bool(beside)))] * n if n else [r]
        out += [r._replace(size=beside * WINDOW_UPDATE, payload=r.payload // (n + 1))] if beside else []
    return out


def _each_of_first(records: list[Record]) -> list[Record]:
    """The same of a client that writes all that waits for its connection at once (hyper), with a record for the fields of each of these requests.

    They stand in one record with those of the first, with what is left of a full frame, or with the first body. Each body is one frame, or full ones and a
    rest, so that there are as many requests as records that end bodies, until a window is full; and one for each record with fields. Nothing is returned where
    no body follows at once.
    """
    mine = [r for r in records if r.way == CLIENT and is_data(r)]
    later = [r.size for before, r, after in zip(mine, mine[1:], mine[2:], strict=False) if _is_fields(before, r, after)]
    usual = max(later, key=later.count, default=0)
    until = next(
        (k for k, (r, after) in enumerate(pairwise(mine), 1) if after.ts - r.ts > AT_ONCE_NS or (usual and abs(after.size - usual) <= 1)),
        len(mine),
    )
    first, bodies = mine[:1], mine[1:until]
    if not bodies or first[0].size > MOST_TOGETHER * FIELDS[1]:
        return []
    begun, ended, sent = 1, 0, first[0].size
    other: dict[Record, Record] = {}
    for before, r in pairwise([*first, *bodies]):
        sent += r.size
        n = _times(r.size - EMPTY, usual, with_acknowledgment=False) if usual and before.size >= FULL else 0
        if n:
            begun += n
            other[r] = r._replace(size=EMPTY)
        elif r.size < FULL and sent <= WINDOW and not (before.size >= FULL and r.size <= MOST_TOGETHER * EMPTY):
            ended += 1
            other[r] = r._replace(size=max(r.size, BODY))  # it is none of fields
    number = max(begun, ended)
    beside = min(number - begun, max(first[0].size // usual - 1, 0)) if usual else 0  # with those of the first
    if first[0].size - beside * usual >= 2 * usual if usual else number > 1:
        return []  # there may be more
    out = []
    for r in records:
        if r == first[0]:
            payload = r.payload // number
            out += [r._replace(size=r.size - beside * usual, payload=payload), *[r._replace(size=usual, payload=payload)] * (number - 1)]
        else:
            out.append(other.get(r, r))
    return out


def _is_fields(before: Record, r: Record, after: Record) -> bool:
    """Whether a record stands where the fields of a body do."""
    return FIELDS[0] <= r.size <= FIELDS[1] and r.ts - before.ts > AT_ONCE_NS and r.size < after.size and after.ts - r.ts <= BODY_NS


def _ends_in(size: int) -> tuple[int, int]:
    """How many ends of bodies a record of so many bytes may hold, and how many frames of 13 bytes behind them; none if it is no such record."""
    for beside in range(MOST_BESIDE + 1):
        n, rest = divmod(size - beside * WINDOW_UPDATE, EMPTY)
        if not rest and 0 < n <= MOST_TOGETHER:
            return n, beside
    return 0, 0


def _is_farewell(records: Sequence[Record]) -> bool:
    """Whether the client's last record is GOAWAY (RFC 9113 6.8), with some words (Java) or without: as short as fields, shorter than those of its requests if
    it has words, one of which was answered, and what the server says behind it is no answer."""
    last = next((k for k in range(len(records) - 1, -1, -1) if records[k].way == CLIENT), 0)
    heads = [r.size for r in records[:last] if r.way == CLIENT and is_data(r) and r.size >= FIELDS[0]]
    said_more = any(is_data(r) for r in records[last + 1 :])
    answered = any(r.way == SERVER and is_data(r) for r in records[:last])
    size = records[last].size if records else 0
    with_words = size > PING and size + len(FIELDS_DIFFER) < min(heads, default=0)
    return bool(heads) and answered and FIELDS[0] <= size <= FAREWELL and (size == PING or with_words) and not said_more


def _answers(records: list[Record], pinged: Sequence[int], *, acknowledged: bool) -> list[Record]:
    """The server's records without control: WINDOW_UPDATEs follow bodies, SETTINGS are acknowledged as a connection begins, and PING is answered.

    pinged : when the client sent PING.  acknowledged : SETTINGS surely are.
    """
    out = []
    sent_ns = latest_ns = -NEVER
    theirs = 0
    for r in records:
        if r.way == CLIENT:
            if is_data(r):
                sent_ns = r.ts if r.size >= BODY or r.ts - latest_ns <= BODY_NS else sent_ns
                latest_ns = r.ts
            continue
        theirs += 1
        if r.size == PING:
            aside = True  # see ``_pings``; the others are heads
        elif r.size in ASIDE:
            aside = (theirs <= OPENING and not acknowledged) if r.size in ACKNOWLEDGMENTS else _is_near(r.ts, pinged)
        else:
            aside = r.size % WINDOW_UPDATE == 0 and r.size <= MOST_CONTROL and (r.size <= FEW or r.ts - sent_ns <= UPDATE_NS)
        if not aside:
            out.append(r)
    return out


def _pinged(records: Sequence[Record]) -> list[int]:
    """When the client sent what may be PING (RFC 9113 6.7), but GOAWAY in the end, which is as long."""
    pings = [r.ts for r in records if r.way == CLIENT and PING <= r.size <= MOST_CONTROL and not (r.size - PING) % WINDOW_UPDATE]
    if pings and records[-1].way == CLIENT and records[-1].size == PING:
        pings.pop()
    return pings


def _pings(records: list[Record], pinged: Sequence[int]) -> set[Record]:
    """The server's records as long as PING that are PING, which is answered with PING by either side (RFC 9113 6.7), or its last words, GOAWAY."""
    theirs = [r for r in records if r.way == SERVER]
    last = next((k for k in range(len(theirs) - 1, -1, -1) if theirs[k].size != PING), -1)
    return {r for k, r in enumerate(theirs) if r.size == PING and (k > last or _is_near(r.ts, pinged))}


def _is_near(ns: int, times: Sequence[int]) -> bool:
    at = bisect_left(times, ns - PINGED_NS)
    return at < len(times) and times[at] <= ns + PINGED_NS


def _readings(records: list[Record], mine: list[Record], settings_ns: int) -> Iterator[Reading]:
    """Ways to read the client's records as requests: the acknowledgment of SETTINGS, which is as long as an empty frame, may stand by itself or with something
    else."""
    kept = _joined(mine)
    behind = bisect_left(kept, settings_ns, key=lambda r: r.ts)
    acknowledged = [
        k for k, r in enumerate(kept) if r.size in ACKNOWLEDGMENTS and (k == behind or settings_ns <= r.ts <= settings_ns + ACKNOWLEDGED_NS)
    ][:MOST_READINGS]
    # last one that rather ends a body
    acknowledged.sort(key=lambda k: k > 0 and kept[k - 1].size not in CONTROL and kept[k].ts - kept[k - 1].ts < AT_ONCE_NS)
    joined = _with_fields(kept, settings_ns)
    begun, bodies = _by_fields(kept)
    bodies = bodies and _all_with_bodies(kept)
    all_of_them = _ended(kept)
    at, streams = next(((k, each) for k in acknowledged if (each := _ended(kept[:k] + kept[k + 1 :]))), (0, []))
    one = at if streams or not acknowledged else acknowledged[0]
    paused = _by_pauses(kept[:one] + kept[one + 1 :] if acknowledged else kept, max(len(streams), len(all_of_them or ())))
    bodies = bodies and not paused
    if streams:
        fits = len(begun) == len(streams) or (not joined and len(begun) < len(streams))
        # a request that was begun since would have had it beside
        later = all_of_them is not None and any(
            before.size == EMPTY and is_data(r) for before, r in pairwise(kept[max(behind - 1, 0) : at])
        )
        yield Reading(streams, True, False, bodies and fits and not later and _without_pauses(streams))
    unacknowledged = kept[:at] + kept[at + 1 :] if streams else kept
    if sum(r.size == EMPTY for r in kept) <= 1 or not (begun or _without_pauses(streams)) or _long_ones_end(unacknowledged):
        streams, fields = _by_bursts(records, within_turns=False)
        others = [] if fields else _by_bursts(records, within_turns=True)[0]
        more = len(others) > len(streams)
        whole = fields or _in_one_piece(records)
        if streams:
            yield Reading(streams, False, not fields, whole and not more and (fields or _all_with_bodies(kept)))
        if more:
            yield Reading(others, False, True, whole and _all_with_bodies(kept))
    if all_of_them:
        elsewhere = joined or not acknowledged or (behind < len(kept) and kept[behind].size >= LEAST_FULL)
        yield Reading(
            all_of_them, False, False, bodies and (len(begun) == len(all_of_them) or (elsewhere and len(begun) < len(all_of_them)))
        )
        if len(begun) > len(all_of_them) - (not joined):
            yield Reading(begun, False, False, bodies)
    if paused:
        yield Reading(paused, False, False)


def _long_ones_end(mine: Sequence[Record]) -> bool:
    """Whether of bodies in one piece none ends with an empty frame, and of those longer than a frame all do (undici)."""
    data = [r for r in mine if r.size not in CONTROL or r.size == EMPTY]
    ends = [k for k, r in enumerate(data) if r.size == EMPTY]
    of_long = [any(r.size > LEAST_FULL for r in data[max(k - 2, 0) : k]) for k in ends]
    ended = {j for k in ends for j in (k - 1, k - 2)}
    short = sum(BODY <= r.size < LEAST_FULL and k not in ended for k, r in enumerate(data))
    return len(ends) >= REPEATED and all(of_long) and short >= REPEATED


def _without_pauses(streams: Sequence[Stream]) -> bool:
    """Whether few requests go on behind a pause: else only some end with an empty frame, as bodies longer than a frame do (undici)."""
    paused = sum(each.sent_ns - each.begin_ns > WAIT_NS for each in streams)
    return bool(streams) and paused <= MOST_PAUSED * len(streams)


def _with_fields(mine: list[Record], settings_ns: int) -> bool:
    """Whether the acknowledgment of SETTINGS stands in one record with the fields of a request."""
    sizes = [r.size for r in mine if FIELDS[0] <= r.size <= FIELDS[1] and is_data(r)][1:]  # those of the first are longer
    most = max(set(sizes), key=sizes.count, default=0)
    near = [r.size for before, r in pairwise(filter(is_data, mine)) if r.ts >= settings_ns and not _is_left(r, before)][:OPENING]
    return most > 0 and any(_times(size - ACKNOWLEDGMENT, most, with_acknowledgment=False) for size in near)


def _times(size: int, most: int, *, with_acknowledgment: bool = True) -> int:
    """How many times fields of ``most`` bytes, or about as many, are in a record; 0 if it is no such number."""
    for n in range(1, MOST_TOGETHER + 1):
        if abs(size - most * n) <= n or (with_acknowledgment and abs(size - ACKNOWLEDGMENT - most * n) <= n):
            return n
    return 0


def _all_with_bodies(mine: list[Record]) -> bool:
    """Whether no fields of a request stand alone, as far as these have a record of their own: a body follows soon, or something that is none of another
    request's fields (a busy machine), or once the server allows it."""
    data = [r for r in mine if is_data(r)]
    sent = list(accumulate(r.size for r in data))
    return all(
        after is not None and (after.ts - r.ts <= BODY_NS or after.size > MOST_TOGETHER * FIELDS[1] or so_far >= WINDOW)
        for before, r, after, so_far in zip([None, *data], data, [*data[1:], None], sent, strict=False)
        if FIELDS[0] <= r.size <= FIELDS[1] and not _is_left(r, before)
    )


def _by_fields(mine: list[Record]) -> tuple[list[Stream], bool]:
    """Requests by the fields before their bodies, of a client that ends each with an empty frame: where several are begun at once, fields stand in one record,
    and so may ends, or what is left of a full frame and an end. And whether all of these fields are alike: others are of requests without a body."""
    data = [r for r in mine if is_data(r)]
    heads = [
        r
        for before, r in zip([None, *data], data, strict=False)
        if FIELDS[0] <= r.size <= MOST_TOGETHER * FIELDS[1] and not _is_left(r, before)
    ]
    sizes = [r.size for r in heads[1:] if r.size <= FIELDS[1]]  # those of the first are longer
    most = max(set(sizes), key=sizes.count, default=0)
    if not heads or sizes.count(most) < 2:
        return [], True
    ends = [r.ts for r in mine if r.size == EMPTY]
    out = []
    alike = True
    for k, r in enumerate(heads):
        many = 1 if k == 0 or r.size - most in FIELDS_DIFFER else _times(r.size, most)
        alike = alike and (many > 0 or r.size > FIELDS[1])
        at = bisect_left(ends, r.ts)
        sent_ns = ends[at] if at < len(ends) and ends[at] - r.ts <= WAIT_NS else r.ts
        out += [Stream(r.ts, sent_ns, r.frame, r.payload) for _ in range(many)]
    return out, alike


def _in_one_piece(records: list[Record]) -> bool:
    """Whether no body seems to be followed by another one at once: the last record of one is not full, unless it waits for WINDOW_UPDATE."""
    before: Record | None = None
    update_ns = -NEVER
    for r in records:
        if r.way == SERVER:
            update_ns = update_ns if is_data(r) else r.ts
        elif is_data(r) and r.size >= BODY:
            at_once = before is not None and before.size < LEAST_FULL and r.ts - before.ts < AT_ONCE_NS
            if at_once and r.ts - update_ns > ALLOWED_NS:
                return False
            before = r
    return True


def _is_left(r: Record, before: Record | None) -> bool:
    """Whether a record may be what is left of a full frame."""
    return before is not None and before.size > LEAST_FULL and r.ts - before.ts < WAIT_NS


def _joined(records: list[Record]) -> list[Record]:
    """Records of one side without those of 9 bytes behind a full one: a frame of 16,384 bytes takes so many more than a record holds."""
    return [r for k, r in enumerate(records) if not (k and r.size == EMPTY and records[k - 1].size == FULL)]


def _opened(records: list[Record]) -> tuple[int, list[Record], list[Record]] | None:
    """Place of the server's SETTINGS, the records without these, tickets and the server's acknowledgment, and the latter two; None where they are not found."""
    theirs = [k for k, r in enumerate(records) if r.way == SERVER]
    if not theirs:
        return None
    first = http2.behind_tickets([records[k].size for k in theirs])
    opening = records[theirs[first]].size
    if not http2.is_opening(opening):
        # a server that answers a request at once puts the head into the same record
        asked_before = any(r.size >= BODY for r in records[: theirs[first]])
        at_once = all(records[theirs[first]].ts - records[k].ts <= AT_ONCE_NS for k in theirs[:first])
        if not asked_before or not at_once or opening > http2.MOST_WITH_HEAD:
            return None
        return theirs[first], [r for k, r in enumerate(records) if k not in theirs[:first]], []
    dropped = set(theirs[: first + 1])
    opening_of = [records[theirs[first]]]
    # of 9 + 6 n + 13 m bytes with m up to 2, what 6 leaves tells whether another 9 are in it
    if opening % SETTING > MOST_WITH:
        for k in theirs[first + 1 :]:
            size = records[k].size
            if size in ACKNOWLEDGMENTS:
                dropped.add(k)
                opening_of.append(records[k])
                break
            if size not in CONTROL:
                break  # it came with the first answer
    return theirs[first], [r for k, r in enumerate(records) if k not in dropped], opening_of


def _paid(opened: Sequence[Record], behind: Sequence[Record]) -> tuple[Record | None, int]:
    """WINDOW_UPDATEs of the server's opening that are for bodies, as one record, and how many it sends for each body: of nginx and HAProxy, told by their three
    settings and by such WINDOW_UPDATEs. The former has one of the connection behind its settings, the latter none, but one each time that it has read (none,
    and 0, of others).

    behind : what else the server sends of that kind."""
    at_once = next((n for of, n in control(opened[0].size - PAYING_OPENS) if of in (0, ACKNOWLEDGMENT)), -1) if opened else -1
    by_reads = at_once == 0 or (at_once > 1 and any(updates(r) for r in behind) and all(updates(r) != 1 for r in behind))
    several = at_once + sum(updates(r) for r in opened[1:]) - (not by_reads)
    if at_once < 0 or several + sum(map(updates, behind[:1])) <= 0:
        return None, 0
    return (opened[-1]._replace(size=several * WINDOW_UPDATE) if several > 0 else None), 1 + by_reads


def _by_pauses(mine: list[Record], most: int) -> list[Stream]:
    """Requests of a client that writes fields and body at once and ends bodies with an empty frame, if some without a body are alike and longer than fields
    are, as they hold a token, and there are more than ``most`` then: what is no full frame is one of them where a pause is behind it."""
    data = [r for r in mine if r.size not in CONTROL or r.size == EMPTY]
    alone = {r for r, after in pairwise(data) if EMPTY < r.size < LEAST_FULL and after.size != EMPTY and after.ts - r.ts > AT_ONCE_NS}
    sizes = sorted(r.size for r in alone if r.size > FIELDS[1])
    alike = any(b - a <= LONG_DIFFER for a, b in pairwise(sizes))
    ends = sum(r.size == EMPTY for r in data)
    out = (_ended(mine, alone) or []) if alike and ends >= REPEATED else []
    return out if len(out) > most else []


def _ended(mine: list[Record], long: Set[Record] = frozenset()) -> list[Stream] | None:
    """Requests by empty frames, none of which is an acknowledgment; None where one has no body, or something is left. Of a client that writes fields and body
    at once, a short write by itself is a request without a body, and so are ``long`` ones."""
    out: list[Stream] = []
    pieces: list[Record] = []
    spare = 0  # bytes of bodies
    alone = _alone(mine)
    for r in mine:
        if (r in alone or r in long) and not pieces:
            out.append(Stream(r.ts, r.ts, r.frame, r.payload))
        elif r.size == EMPTY:
            spare += sum(piece.size for piece in pieces) - BODY
            if spare < 0:
                return None
            first = pieces[0] if pieces else r
            out.append(Stream(first.ts, r.ts, first.frame, sum(piece.payload for piece in pieces) + r.payload))
            pieces = []
        elif r.size not in CONTROL:
            pieces.append(r)
    return None if out and pieces else out


def _alone(mine: Sequence[Record]) -> set[Record]:
    """Writes as short as fields, of a client that writes a body soon behind few of them."""
    data = [r for r in mine if is_data(r)]
    short = [
        (r, after)
        for before, r, after in zip_longest([None, *data[:-1]], data, data[1:])
        if r is not None and FIELDS[0] <= r.size <= FIELDS[1] and not _is_left(r, before)
    ]
    followed = sum(after is not None and after.ts - r.ts <= BODY_NS for r, after in short)
    return set() if 2 * followed > len(short) else {r for r, _ in short}


def _by_bursts(records: list[Record], *, within_turns: bool) -> tuple[list[Stream], bool]:
    """Requests of a client that ends each with its last piece, and whether fields show where each begins. ``within_turns``: none is sent
    while the server says something else."""
    bursts = _bursts(records, set(), within_turns)
    leads = [lead for _, lead in bursts[1:]]
    most = max(set(leads), key=leads.count, default=0)
    fields = {most + more for more in FIELDS_DIFFER if most + more >= FIELDS[0]}
    known = len(leads) > 1 and most >= FIELDS[0] and sum(lead in fields for lead in leads) >= MOST_FIELDS * len(leads)
    if known and most % WINDOW_UPDATE == 0:  # it may be WINDOW_UPDATEs, which curl sends as an answer begins, right before its next request
        mine = [r for r in records if r.way == CLIENT]
        followed = [after.size >= BODY and after.ts - r.ts < AT_ONCE_NS for r, after in pairwise(mine) if r.size == most]
        known = sum(followed) >= MOST_FIELDS * len(followed)
    streams = [stream for stream, _ in (_bursts(records, fields, within_turns) if known else bursts)]
    for each, after in zip_longest(streams, streams[1:]):
        if each.up < BODY:
            # its body may come behind the fields of the next
            if after is None or after.begin_ns - each.begin_ns >= AT_ONCE_NS or after.up < 2 * BODY:
                return [], known
            each.sent_ns = max(each.sent_ns, after.begin_ns)
    return streams, known


def _bursts(records: list[Record], fields: set[int], within_turns: bool) -> list[tuple[Stream, int]]:
    """Requests, and what stood right before the body of each, in bytes: 0 for what is too long or too short for its fields alone. What begins with ``fields``
    is a new request, however soon it comes."""
    out: list[tuple[Stream, int]] = []
    before: Record | None = None  # of a body
    lead: Record | None = None  # the client's latest
    waited = False  # for WINDOW_UPDATE
    begun = False  # by its fields
    sent = 0
    mine = [r for r in records if r.way == CLIENT]
    bodies = {r for r, after in pairwise(mine) if after.size >= BODY and after.ts - r.ts < AT_ONCE_NS}
    for r in records:
        if r.way == SERVER:
            waited = r.size <= MOST_CONTROL and not r.size % WINDOW_UPDATE
            if is_data(r) and lead is not None and not lead.size % WINDOW_UPDATE:
                lead = None  # which let the server go on with an answer
            if within_turns and is_data(r) and r.size % WINDOW_UPDATE:
                before = None
            continue
        waited = waited and sent >= WINDOW  # no body waits before
        sent += r.size
        if r.size in fields and not _is_left(r, lead) and (r.size % WINDOW_UPDATE or r in bodies):
            out.append((Stream(r.ts, r.ts, r.frame, r.payload), r.size))
            begun = True
        elif is_data(r) and r.size >= BODY:
            gap = r.ts - before.ts if before is not None else NEVER
            goes_on = gap < AT_ONCE_NS or (gap < WAIT_NS and before is not None and (waited or before.size == FULL))
            if out and (begun or goes_on or (fields and gap < WAIT_NS)):
                stream = out[-1][0]
                stream.parts += before is not None and not begun and not waited and gap < AT_ONCE_NS and before.size < LEAST_FULL
                stream.sent_ns, stream.up = r.ts, stream.up + r.payload
            else:
                near = lead is not None and r.ts - lead.ts < AT_ONCE_NS and FIELDS[0] <= lead.size <= FIELDS[1]
                out.append((Stream(r.ts, r.ts, r.frame, r.payload), lead.size if near and lead is not None else 0))
            before, waited, begun = r, False, False
        lead = r
    return out
