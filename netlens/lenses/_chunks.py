"""Answers in chunks (RFC 9112 7.1) that ended before their last chunk, or that nobody can read on as a size is no number.

What is made while it is sent (a log that is followed, a watch, a live recording) ends when its source does, or when somebody has had enough, and many servers
then just close. It is told by its type (:mod:`netlens.parsers.bodies`), or by pauses all along. Events in answer to a POST, as of a language model, have pauses
and an end all the same.
"""

from __future__ import annotations

from itertools import pairwise

from netlens.lenses._view import FIN, RST, S, View, grouped, timed_out
from netlens.parsers.chunks import BAD, DONE, UNKNOWN, Chunked

CUTS, AGAIN_NS = 3, 10 * S  #: streams that end so, and how soon the next begins
LIVE, PAUSE_NS, LIVE_NS = 5, S // 4, 5 * S  #: pauses in an answer that is made while it is sent, how long each is, and how long all last


def cut_off(view: View) -> tuple[list[tuple[Chunked, int]], bool]:
    """Answers behind which the server ended the connection before the last chunk, with the frame of its FIN or RST; and whether all are live, which may be
    their end. Where others are not, these alone."""
    open_ = [(a, end) for a in unended(view) if a.state < BAD and not a.feed and (end := _ended(view, a, by_client=False)) is not None]
    cut = [(a, end) for a, end in open_ if not _is_live(view, a)]
    return cut or open_, not cut


def feeds_cut(view: View) -> list[tuple[list[tuple[Chunked, int]], int | None]]:
    """Of each client and server, streams of events in answer to GET that the server ended before the last chunk, again and again, each followed by the next;
    and after which silence of the server, if a timer ends them: None for others, and where the client goes on where they stopped."""
    starts, open_, found = view.column("start_ns"), {a.session for a in unended(view)}, []
    for group in grouped((a for a in view.side.capture.chunked if a.feed), lambda a: view.service(a.session)).values():
        cuts, silences, pause = [], [], 0
        for a, then in zip(group, [*group[1:], None], strict=True):
            seg = view.segments(a.session)
            end = _ended(view, a, by_client=False) if a.session in open_ and a.state < BAD else None
            if end is None and then is None and a.state != DONE:
                continue  # it is open still, or the client left
            at = seg.frame.index(end) if end is not None else -1
            if end is None or (then is not None and not 0 <= starts[then.session] - seg.ts[at] <= AGAIN_NS):
                break
            cuts.append((a, end))
            came = [seg.ts[i] for i in range(at) if not seg.orig[i] and seg.fresh[i] and seg.frame[i] >= a.frame]
            silences.append(seg.ts[at] - max(came))
            pause = max([pause, *(later - one for one, later in pairwise(came))])
        else:
            timed = timed_out(silences, pause) and not any(a.resumes for a in group)
            found += [(cuts, min(silences) if timed else None)] if len(cuts) >= CUTS else []
    return found


def feeds_reset(view: View) -> list[tuple[Chunked, int]]:
    """Streams of events in answer to GET that the server's side ended by a reset before the last chunk: their end is none that it wanted."""
    open_ = [a for a in unended(view) if a.feed and a.state < BAD]
    ended = [(a, end) for a in open_ if (end := _ended(view, a, by_client=False)) is not None]
    return [(a, end) for a, end in ended if (seg := view.segments(a.session)).flags[seg.frame.index(end)] & RST]


def misread(view: View) -> list[tuple[Chunked, int]]:
    """Answers with a size that is no number, behind which either side ended the connection, with the frame of that."""
    bad = [a for a in unended(view) if a.state == BAD]
    return [(a, end) for a in bad if (end := _ended(view, a, by_client=True)) is not None]


def known(view: View) -> int:
    """Answers in chunks that could be read."""
    return sum(a.state != UNKNOWN for a in view.side.capture.chunked)


def unended(view: View) -> list[Chunked]:
    """Of each session that was captured in both directions, the last answer in chunks, unless it is whole."""
    kept, missing = set(view.in_one), view.sessions["resp_missing_bytes"]
    last = {a.session: a for a in view.side.capture.chunked}
    return [a for a in last.values() if a.session in kept and not missing[a.session] and (a.state == BAD or not a.over)]


def _ended(view: View, answer: Chunked, by_client: bool) -> int | None:
    """The frame with which a side ended the connection behind all that was read of an answer; None where anything else came first."""
    seg = view.segments(answer.session)
    for i in range(len(seg)):
        if seg.frame[i] < answer.frame:
            if seg.flags[i] & (FIN | RST):
                return None  # the client asked for no more
            continue
        if seg.orig[i] and seg.fresh[i]:
            return None  # the client goes on, so it took the answer for whole
        if not seg.orig[i] and not by_client and seg.end(i) > answer.at:
            return None  # more came than was read
        if seg.flags[i] & (FIN | RST):
            return seg.frame[i] if by_client or not seg.orig[i] else None
    return None


def _is_live(view: View, answer: Chunked) -> bool:
    """Whether an answer came with pauses all along, as what is made while it is sent and has no end of its own."""
    if answer.events:
        return False
    seg = view.segments(answer.session)
    came = [seg.ts[i] for i in range(len(seg)) if not seg.orig[i] and seg.fresh[i] and seg.frame[i] >= answer.frame]
    pauses = [b - a for a, b in pairwise(came) if b - a >= PAUSE_NS]
    return len(pauses) >= LIVE and sum(pauses) >= LIVE_NS
