"""Requests of HTTP/2 to an API, counted by the sizes of TLS records, where these leave no doubt.

Theory of operation
-------------------
Requests to the API of a model are POSTs with a body of JSON; their answers are a short JSON (a refusal) or a stream of many small frames. Of such a
connection, behind its opening (:mod:`netlens.parsers.http2`):

1. *Control* is told by its sizes: SETTINGS are acknowledged with 9 bytes, WINDOW_UPDATE and RST_STREAM have 13, often several together, PING has 17.
2. *A request is sent* with an empty DATA frame, 9 bytes in a record of their own, if the client does so (httpx); else (curl, Node) with the last record of a
   burst: its body comes at once, in full records and a rest, with pauses only where it waits for WINDOW_UPDATE. Where the acknowledgment of SETTINGS may
   be one of several records, or in none of its own, each way to read the client is tried.
3. *An answer ends* with an empty DATA frame, too, at many servers (nginx that does not buffer, hypercorn, h2). At others (END_STREAM in the last piece)
   nothing shows an end, and only a connection of one request can be counted: it ends with the last record.
4. *It must fit.* Requests and answers are counted apart from each other. No answer ends before its request, each has records of its own, and in the end
   nothing is left; or what is left began after nothing had been in progress, was alive to the end, and the client sent nothing since that may be RST_STREAM.
   If two ways to read the client fit and differ in number, or none fits, the connection is not countable.
5. *Which end belongs to which request* does not matter for how many are in flight. While several are, an end with a record of the size of short answers, or
   before any stream could have ended, is the latest request's; others are of streams, the oldest first. What sizes short answers have is learned from
   all connections (:func:`shapes`). Where both are possible, all requests in progress are unsure.

Limits: requests without a body, two in one record, two ends in one record, trailers, padding, and streams that the program broke off leave a connection
uncountable, as do most servers that end answers in their last piece. Of requests that are begun within a few ms, a refusal may be taken for the other's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from netlens.columns import NEVER
from netlens.parsers import http2
from netlens.parsers.http2 import ACKNOWLEDGMENT, MOST_SETTINGS, SETTING, WINDOW_UPDATE
from netlens.parsers.records import HEADER, Records

EMPTY = ACKNOWLEDGMENT  #: DATA without a byte: a frame's header (RFC 9113 4.1), as long as an acknowledgment of SETTINGS
PING = 17  #: RFC 9113 6.7; GOAWAY without words (6.8) is as long
PREFACE = 24  #: RFC 9113 3.4
MOST_WITH = 2  #: WINDOW_UPDATEs beside the server's SETTINGS
BODY = 200  #: the least that a request has, body and all
FULL = 16_384  #: bytes of a record, at most (RFC 8446 5.1)
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
MOST_READINGS = 4  #: records of which each may be the acknowledgment of SETTINGS; the first is it as a rule
AT_ONCE_NS = 5_000_000  #: between records of what is sent as a whole
WAIT_NS = 200_000_000  #: for WINDOW_UPDATE, at most
ALIVE_NS = 1_000_000_000  #: streams do not pause longer, as a rule; one that goes on for so long behind what may be its RST_STREAM was not broken off
BALANCED = 3  #: requests of a connection whose ends showed before nothing was in progress, for others to be in progress without one
#: An answer that lasts as long from its first byte to its last is a stream, and was accepted, and one of as many bytes; what takes less from its request to
#: its end is none. A short one lasts less than SHORT_NS, and between them nothing is claimed.
STREAM_NS, STREAM_BYTES = 150_000_000, 16_384
SHORT_NS = 60_000_000  #: first to last byte; 47 ms were measured where an acknowledgment was delayed between head and body
SHORT = 3  #: records of a short answer without its end
ALIKE = 2  #: bytes by which refusals differ
OFTEN = 3  #: ends of one size, for all of them to be short answers
CLIENT, SERVER = 0, 1


@dataclass(slots=True)
class Stream:
    """One request: times in ns, and frames; -1 where there is none.

    up, down : payload in bytes, with what TLS adds; ``down`` is the most that it may be.  sizes : of the records of its answer, as plaintext.
    mixed : others were in progress at the time.  unsure : another one may have ended instead.  quick : it ended soon after the latest request was begun.
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


@dataclass(frozen=True)
class Shapes:
    """Sizes of records by which answers are told apart.

    refusals : of the last records of short answers.  last : of those that end streams.  pieces : of all in streams that had their connection for themselves.
    plain : ends show, and each connection has one request.
    """

    refusals: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    pieces: frozenset[int] = frozenset()
    plain: bool = False


NOTHING = Shapes()


class _Record(NamedTuple):
    way: int
    size: int  # of its plaintext
    ts: int
    frame: int
    payload: int  # with what TLS adds


def shapes(connections: Sequence[Sequence[Stream]]) -> Shapes:
    """What answers look like, by those that had their connection for themselves, by short ones that came before any stream can have ended, by ends long after
    the latest request, which are of streams, and by those of one size that always come soon after one."""
    singles = sum(len(streams) == 1 and streams[0].end_ns >= 0 for streams in connections)
    plain = singles >= BALANCED and all(len(streams) <= 1 for streams in connections)
    ended = [each for streams in connections for each in streams if each.end_ns >= 0 and each.last]
    short = {each.last for each in ended if len(each.sizes) <= SHORT and each.end_ns - each.answer_ns <= SHORT_NS and not each.unsure}
    pieces = {size for each in ended if len(each.sizes) > SHORT and not each.mixed for size in each.sizes}
    last = {each.last for each in ended if not each.quick and (each.mixed or len(each.sizes) > SHORT)} - short
    often = Counter(each.last for each in ended if each.unsure)
    for size in often:
        near = range(size - ALIKE, size + ALIKE + 1)
        if sum(often[each] for each in near) >= OFTEN and size not in pieces and not last.intersection(near):
            short.add(size)
    return Shapes(frozenset(short), frozenset(last), frozenset(pieces), plain)


def counted(seen: Records, over_ns: int, known: Shapes = NOTHING) -> tuple[list[Stream], bool]:
    """Requests of a connection that speaks HTTP/2, in order of start, and whether they can be counted; without, they are what was found until then.

    over_ns : when the connection, or the capture, ended.  known : what answers look like.
    """
    said = http2.dialog(seen)
    if said is None or not len(said.at):
        return [], False
    at = said.at
    columns = said.way.tolist(), said.size.tolist(), seen.ts[at].tolist(), seen.frame[at].tolist(), (seen.size[at] + HEADER).tolist()
    records = [_Record(*row) for row in zip(*columns, strict=True)]
    begun = _opened(records)
    if begun is None:
        return [], False
    settings_ns, records = records[begun[0]].ts, begun[1]
    mine = [r for r in records if r.way == CLIENT]
    if mine and _is_preface(mine[0].size):
        records.remove(mine.pop(0))
    if all(r.size in CONTROL for r in mine):
        return [], True
    answers = _joined([r for r in records if r.way == SERVER])
    fitting: list[list[Stream]] = []
    found: list[Stream] = []
    for streams, apart in _readings(records, mine, settings_ns):
        found = found or streams
        if _with_ends(answers, streams, known) and _is_over(mine, answers, streams, apart, over_ns, known):
            fitting.append(streams)
    # one that leaves nothing open is right, though another would be, too, if the last request had been in progress
    fitting = [streams for streams in fitting if all(each.end_ns >= 0 for each in streams)] or fitting
    return (fitting[0], True) if len({len(streams) for streams in fitting}) == 1 else (found, False)


def _readings(records: list[_Record], mine: list[_Record], settings_ns: int) -> Iterator[tuple[list[Stream], bool]]:
    """Ways to read the client's records as requests, and whether each surely ends with an empty frame: the acknowledgment of SETTINGS, which is as long, may
    stand by itself or with something else."""
    kept = _joined(mine)
    acknowledged = [k for k, r in enumerate(kept) if r.size in ACKNOWLEDGMENTS and r.ts >= settings_ns][:MOST_READINGS]
    # last one that rather ends a body
    acknowledged.sort(key=lambda k: k > 0 and kept[k - 1].size not in CONTROL and kept[k].ts - kept[k - 1].ts < AT_ONCE_NS)
    if streams := next((each for k in acknowledged if (each := _ended(kept[:k] + kept[k + 1 :]))), []):
        yield streams, True
    if sum(r.size == EMPTY for r in mine) <= 1 and (streams := _by_bursts(records)):
        yield streams, False
    if all_of_them := _ended(kept):
        yield all_of_them, False


def _may_reset(r: _Record, after: _Record | None) -> bool:
    """Whether a record of the client may hold RST_STREAM: it is as long as WINDOW_UPDATE. Fields of a request may be as long as several frames, but its body
    follows at once."""
    fields = r.size > 2 * WINDOW_UPDATE and after is not None and after.size not in CONTROL and after.ts - r.ts < AT_ONCE_NS
    return r.size >= WINDOW_UPDATE and r.size in CONTROL and not fields


def _joined(records: list[_Record]) -> list[_Record]:
    """Records of one side without those of 9 bytes behind a full one: a frame of 16,384 bytes takes so many more than a record holds."""
    return [r for k, r in enumerate(records) if not (k and r.size == EMPTY and records[k - 1].size == FULL)]


def _opened(records: list[_Record]) -> tuple[int, list[_Record]] | None:
    """Place of the server's SETTINGS, and the records without these, tickets and the server's acknowledgment; None where they are not found."""
    theirs = [k for k, r in enumerate(records) if r.way == SERVER]
    if not theirs:
        return None
    first = http2.behind_tickets([records[k].size for k in theirs])
    opening = records[theirs[first]].size
    if not http2.is_opening(opening):
        return None
    dropped = set(theirs[: first + 1])
    # of 9 + 6 n + 13 m bytes with m up to 2, what 6 leaves tells whether another 9 are in it
    if opening % SETTING > MOST_WITH:
        for k in theirs[first + 1 :]:
            size = records[k].size
            if size in ACKNOWLEDGMENTS:
                dropped.add(k)
                break
            if size not in CONTROL:
                break  # it came with the first answer
    return theirs[first], [r for k, r in enumerate(records) if k not in dropped]


def _is_preface(size: int) -> bool:
    """Whether a client's first record holds the preface and SETTINGS, perhaps with WINDOW_UPDATE, and no request."""
    rest = size - PREFACE - ACKNOWLEDGMENT
    return any(0 <= rest - WINDOW_UPDATE * n <= SETTING * MOST_SETTINGS and not (rest - WINDOW_UPDATE * n) % SETTING for n in range(3))


def _ended(mine: list[_Record]) -> list[Stream] | None:
    """Requests by empty frames, none of which is an acknowledgment; None where one has no body, or something is left."""
    out: list[Stream] = []
    pieces: list[_Record] = []
    spare = 0  # bytes of bodies
    for r in mine:
        if r.size == EMPTY:
            spare += sum(piece.size for piece in pieces) - BODY
            if spare < 0:
                return None
            first = pieces[0] if pieces else r
            out.append(Stream(first.ts, r.ts, first.frame, sum(piece.payload for piece in pieces) + r.payload))
            pieces = []
        elif r.size not in CONTROL:
            pieces.append(r)
    return None if out and pieces else out


def _by_bursts(records: list[_Record]) -> list[Stream]:
    """Requests of a client that ends each with its last piece."""
    out: list[Stream] = []
    before: _Record | None = None
    waited = False  # for WINDOW_UPDATE
    for r in records:
        if r.way == SERVER:
            waited = r.size <= MOST_CONTROL and not r.size % WINDOW_UPDATE
        elif r.size not in CONTROL and r.size >= BODY:
            gap = r.ts - before.ts if before is not None else NEVER
            goes_on = gap < AT_ONCE_NS or (gap < WAIT_NS and before is not None and (waited or before.size == FULL))
            if goes_on:
                out[-1].sent_ns, out[-1].up = r.ts, out[-1].up + r.payload
            else:
                out.append(Stream(r.ts, r.ts, r.frame, r.payload))
            before, waited = r, False
    return out


def _with_ends(answers: list[_Record], streams: list[Stream], known: Shapes) -> bool:
    """Give each request its answer, in place; whether that fits."""
    waiting = streams[::-1]
    open_now: list[Stream] = []
    piece: _Record | None = None  # the server's latest, since the latest end
    for r in answers:
        while waiting and waiting[-1].begin_ns <= r.ts:
            open_now.append(waiting.pop())
        if len(open_now) > 1:
            for each in open_now:
                each.mixed = True
        if r.size == EMPTY:
            if not open_now:
                return False
            ended, short = _whose(open_now, piece, known)
            if not ended.sizes:
                return False
            if short and piece is not None:
                ended.answer_ns, ended.answer_frame, ended.sizes, ended.down = piece.ts, piece.frame, [piece.size], piece.payload
            ended.quick = r.ts - open_now[-1].sent_ns < STREAM_NS
            ended.last = piece.size if piece is not None else 0
            if ended.answer_ns < 0:  # it came before the request was whole
                ended.answer_ns, ended.answer_frame, ended.sent_ns = r.ts, r.frame, min(ended.sent_ns, r.ts)
            ended.end_ns, ended.end_frame, ended.down = r.ts, r.frame, ended.down + r.payload
            open_now.remove(ended)
            piece = None
        elif r.size not in CONTROL:
            piece = r
            for each in open_now:
                each.down += r.payload
                each.sizes.append(r.size)
                if each.answer_ns < 0 and r.ts >= each.sent_ns:
                    each.answer_ns, each.answer_frame = r.ts, r.frame
    return True


def _whose(open_now: list[Stream], piece: _Record | None, known: Shapes) -> tuple[Stream, bool]:
    """Which of the requests in progress ended, and whether with a short answer among others; where that is not known, all of them are unsure."""
    oldest, latest = open_now[0], open_now[-1]
    size, now_ns = (piece.size, piece.ts) if piece is not None else (0, NEVER)
    refused = any(abs(size - each) <= ALIKE for each in known.refusals)
    streamed = size in known.last or size in known.pieces
    short = now_ns - oldest.begin_ns < STREAM_NS or (refused and not streamed)  # none is old enough for a stream, or it looks refused
    if short or len(open_now) == 1:
        return latest, short and latest.mixed
    if refused or not (streamed or now_ns - latest.sent_ns >= STREAM_NS):
        for each in open_now:
            each.unsure = True
    return oldest, False


def _is_over(mine: list[_Record], answers: list[_Record], streams: list[Stream], apart: bool, over_ns: int, known: Shapes) -> bool:
    """Whether the requests that have no end are in progress when the connection or the capture ends. Of a connection of one request whose server shows no
    ends it is the last record, set in place."""
    open_now = [each for each in streams if each.end_ns < 0]
    if not open_now:
        return True
    pieces = [r for r in answers if r.ts >= open_now[0].begin_ns and r.size not in CONTROL]
    last_ns = pieces[-1].ts if pieces else open_now[-1].sent_ns
    resets = [r.ts for r, after in zip_longest(mine, mine[1:]) if r.ts >= streams[0].sent_ns and _may_reset(r, after)]
    if len(streams) == 1:
        sent = [r for r in mine if r.size not in CONTROL]
        if sum(r.size < FULL for r in sent) > 2 or sent[-1].ts > streams[0].sent_ns or not (apart or known.plain):
            return False  # more than its fields and the rest of its body
        if pieces and not known.plain:
            streams[0].end_ns, streams[0].end_frame = last_ns, pieces[-1].frame
        return not resets or over_ns - last_ns <= ALIVE_NS
    ends = sorted(each.end_ns for each in streams if each.end_ns >= 0)
    idle = [k for k, each in enumerate(streams) if bisect_right(ends, each.begin_ns) == k]  # those that began when nothing was in progress
    since_ns = streams[idle[-1]].begin_ns
    alive = over_ns - last_ns <= ALIVE_NS or last_ns < open_now[-1].sent_ns
    may_be_broken_off = [ns for ns in resets if ns >= since_ns]
    if len(open_now) == 1 and open_now[0] is streams[idle[-1]] and may_be_broken_off and last_ns - may_be_broken_off[-1] > ALIVE_NS:
        may_be_broken_off = []
    return idle[-1] >= BALANCED and alive and not may_be_broken_off
