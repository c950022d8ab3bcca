"""Answers in chunks (RFC 9112 7.1) that ended before their last chunk, or that nobody can read on as a size is no number."""

from __future__ import annotations

from netlens.lenses._view import FIN, RST, View
from netlens.parsers.chunks import BAD, UNKNOWN, Chunked


def cut_off(view: View) -> list[tuple[Chunked, int]]:
    """Answers behind which the server ended the connection before the last chunk, with the frame of its FIN or RST."""
    return [(a, end) for a in _last(view) if a.state < BAD and (end := _ended(view, a, by_client=False)) is not None]


def misread(view: View) -> list[tuple[Chunked, int]]:
    """Answers with a size that is no number, behind which either side ended the connection, with the frame of that."""
    bad = [a for a in _last(view) if a.state == BAD]
    return [(a, end) for a in bad if (end := _ended(view, a, by_client=True)) is not None]


def known(view: View) -> int:
    """Answers in chunks that could be read."""
    return sum(a.state != UNKNOWN for a in view.side.capture.chunked)


def _last(view: View) -> list[Chunked]:
    """Of each session that was captured in both directions, the last answer in chunks, unless it is whole."""
    kept, missing = set(view.whole) - view.halves, view.sessions["resp_missing_bytes"]
    last = {a.session: a for a in view.side.capture.chunked}
    return [a for a in last.values() if a.session in kept and not missing[a.session] and (a.state == BAD or not a.over)]


def _ended(view: View, answer: Chunked, by_client: bool) -> int | None:
    """The frame with which a side ended the connection behind all that was read of an answer; None where anything else came first."""
    seg = view.segments(answer.session)
    for i in range(len(seg)):
        if seg.frame[i] < answer.frame:
            continue
        if seg.orig[i] and seg.fresh[i]:
            return None  # the client goes on, so it took the answer for whole
        if not seg.orig[i] and not by_client and seg.offset[i] + seg.length[i] > answer.at:
            return None  # more came than was read
        if seg.flags[i] & (FIN | RST):
            return seg.frame[i] if by_client or not seg.orig[i] else None
    return None
