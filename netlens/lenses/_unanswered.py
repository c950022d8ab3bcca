"""Requests of HTTP in clear, and what ended a connection before their answers: what several lenses ask."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.lenses._requests import HTTP2
from netlens.lenses._view import ACK, FIN, RST, SYN, S, Segments, View, grouped

#: A client that asks again within this on a new connection, and is served, has lost nothing (RFC 9110 9.2.2)
AGAIN_NS = 2 * S
AT_A_TIME = 10  #: connections of one client that wait for the end of a head; a person who types has one
PIECES, PIECE, PIECE_NS = 3, 64, S // 2  #: of a head behind the first, bytes of each at most, and the pause before each at least
BODYLESS = (b"GET ", b"HEAD ")  #: requests that are whole with their head


def requests(view: View, *names: str) -> list[tuple[Any, ...]]:
    """Session and columns of the exchanges of HTTP/1.1 in clear that were captured in both directions."""
    x, kept = view.side.capture.table("exchanges"), set(view.in_one)
    chosen = (view.sessions["protocol"] == "http") & (view.first_requests != HTTP2)
    x = x.take(chosen[x["session_id"]])
    return [r for r in x.tuples("session_id", *names) if r[0] in kept]


def first_bytes(view: View, frames: set[int]) -> dict[int, int]:
    """Of segments with data, by frame, the first bytes as one number."""
    if view.trail is None:
        return {}
    t = view.trail.segments()
    chosen = np.isin(t["frame"], list(frames)) & (t["length"] > 0)
    return dict(zip(t["frame"][chosen].tolist(), t["head"][chosen].tolist(), strict=True))


def times_of(served: Iterable[tuple[tuple[Any, ...], int]]) -> dict[tuple[Any, ...], list[int]]:
    """By service, when, in order of time.  served : service and time in ns."""
    return {service: sorted(ns for _, ns in group) for service, group in grouped(served, lambda each: each[0]).items()}


def is_among(served: dict[tuple[Any, ...], list[int]], service: tuple[Any, ...], since_ns: int) -> bool:
    """Whether a client was served by the same service within :data:`AGAIN_NS`.  served : as :func:`times_of` has it."""
    times = served.get(service, [])
    at = bisect.bisect_left(times, since_ns)
    return at < len(times) and times[at] < since_ns + AGAIN_NS


def closed_on(view: View, k: int, sent_ns: int) -> int | None:
    """The frame of the server's FIN that acknowledges all of a request and follows no answer, or of the RST to one that met its FIN. None where the order of
    the capture is not that of the wire: then an answer may stand before its request."""
    seg = view.segments(k)
    if is_out_of_order(seg):
        return None
    upto = 0
    closed = False  # before the request came
    for i in range(len(seg)):
        if seg.orig[i]:
            upto = max(upto, seg.end(i))
        if seg.ts[i] < sent_ns:
            closed |= not seg.orig[i] and bool(seg.flags[i] & FIN)
            continue
        if seg.orig[i] and seg.flags[i] & (FIN | RST):
            if closed:
                continue  # it had been told
            return None  # the client gave up first
        if not seg.orig[i] and (seg.length[i] or seg.flags[i] & (FIN | RST)):
            closed |= bool(seg.flags[i] & FIN) and not seg.length[i] and seg.acked[i] >= upto
            return seg.frame[i] if closed and not seg.length[i] else None
    return None


def is_out_of_order(seg: Segments) -> bool:
    """Whether what one side acknowledges comes only later in the capture, as it does where two cards with clocks of their own recorded one direction each."""
    upto, acked = {True: 0, False: 0}, {True: 0, False: 0}
    for i in range(len(seg)):
        orig, end = seg.orig[i], seg.end(i)
        if seg.fresh[i] and seg.offset[i] < acked[not orig] and end <= acked[not orig] and end > upto[orig]:
            return True
        upto[orig] = max(upto[orig], end)
        if seg.flags[i] & ACK and not seg.flags[i] & (SYN | RST):
            acked[orig] = max(acked[orig], seg.acked[i])
    return False


def trickling(view: View) -> list[list[tuple[int, list[int]]]]:
    """(session, frames) of requests without a body whose head came in pieces for a while and never ended; for each client and server with many at a time."""
    headless, missing = view.side.capture.headless, view.missing_bytes
    if view.one_sided or not headless:
        return []
    open_ = [
        (k, first)
        for k, answered, first in requests(view, "response_ns", "start_frame")
        if answered is None and first in headless and not missing[k]
    ]
    bodyless = {f for f, head in first_bytes(view, {first for _, first in open_}).items() if head.to_bytes(8, "big").startswith(BODYLESS)}
    found = [(k, frames) for k, first in open_ if first in bodyless and (frames := _pieces(view, k, first))]
    by_service = grouped(found, lambda each: view.service(each[0])).values()
    return [group for group in by_service if _at_a_time(view, [k for k, _ in group]) >= AT_A_TIME]


def _at_a_time(view: View, sessions: list[int]) -> int:
    """How many of some sessions were open at a time."""
    starts, ends = (sorted(int(view.sessions[name][k]) for k in sessions) for name in ("start_ns", "end_ns"))
    return max((n + 1 - bisect.bisect_left(ends, start) for n, start in enumerate(starts)), default=0)


def _pieces(view: View, k: int, first: int) -> list[int]:
    """Frames of a request that came in small pieces, with a pause before each."""
    seg = view.segments(k)
    sent = [i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i] and seg.frame[i] >= first]
    slow = all(seg.ts[b] - seg.ts[a] >= PIECE_NS and seg.length[b] <= PIECE for a, b in pairwise(sent))
    return [seg.frame[i] for i in sent] if slow and len(sent) > PIECES else []
