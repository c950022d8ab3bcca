"""Which answer of HTTP/2 is whose, once it is known where requests begin and where answers end.

Which end belongs to which request does not matter for how many are in flight, only for labels. While several are in progress, an end with a record of the size
of short answers, or before any stream could have ended, is the latest request's; others are of streams, the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netlens.chains.asked import EMPTY, Record, Stream
from netlens.chains.endings import ALIKE, STREAM_NS, End, Shapes
from netlens.columns import NEVER

MOST_OPEN = 100  #: requests in progress on a connection; servers allow no more, as a rule (RFC 9113 6.5.2)


def give(
    answers: list[Record],
    streams: list[Stream],
    known: Shapes,
    ends: Mapping[int, Sequence[End]],
    *,
    all_told: bool,
) -> bool:
    """Give each request its answer, in place; whether that fits. ``ends``: what ends with a record, by place.  ``all_told``: nothing comes while no request is
    in progress."""
    if len(streams) - sum(map(len, ends.values())) > MOST_OPEN:
        return False
    waiting = streams[::-1]
    open_now: list[Stream] = []
    piece: Record | None = None  # the server's latest, since the latest end
    for k, r in enumerate(answers):
        while waiting and waiting[-1].begin_ns <= r.ts:
            open_now.append(waiting.pop())
        if len(open_now) > MOST_OPEN:
            return False
        if len(open_now) > 1:
            for each in open_now:
                each.mixed = True
        if r.size != EMPTY:
            if all_told and not open_now:
                return False
            piece = r
            for each in open_now:
                each.down += r.payload
                each.sizes.append(r.size)
                if each.answer_ns < 0 and r.ts >= each.sent_ns:
                    each.answer_ns, each.answer_frame = r.ts, r.frame
        for kind in ends.get(k, ()):
            if not open_now or not _end(open_now, r, piece, known, kind):
                return False
        if k in ends:
            piece = None
    return True


def _end(open_now: list[Stream], r: Record, piece: Record | None, known: Shapes, kind: End) -> bool:
    """End one of the requests in progress with a record; whether that fits."""
    ended, short = _whose(open_now, piece, known, kind)
    if not ended.sizes:
        return False
    if short and piece is not None:
        ended.answer_ns, ended.answer_frame, ended.sizes, ended.down = piece.ts, piece.frame, [piece.size], piece.payload
    ended.quick = r.ts - open_now[-1].sent_ns < STREAM_NS
    ended.last = piece.size if piece is not None else 0
    if ended.answer_ns < 0:  # it came before the request was whole
        ended.answer_ns, ended.answer_frame, ended.sent_ns = r.ts, r.frame, min(ended.sent_ns, r.ts)
    ended.end_ns, ended.end_frame, ended.down = r.ts, r.frame, ended.down + (r.payload if r.size == EMPTY else 0)
    open_now.remove(ended)
    return True


def _whose(open_now: list[Stream], piece: Record | None, known: Shapes, kind: End) -> tuple[Stream, bool]:
    """Which of the requests in progress ended, and whether with a short answer among others; where that is not known, all of them are unsure."""
    oldest, latest = open_now[0], open_now[-1]
    if kind == End.STREAM:
        return oldest, False
    if kind != End.UNKNOWN:
        return latest, latest.mixed
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
