"""Requests and how long their answers took, where that can be said."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from netlens.chains.divided import RELAY, STREAM, Divided
from netlens.chains.traffic import Traffic
from netlens.columns import MISSING, NEVER, Ints
from netlens.lenses import divided
from netlens.lenses._repeats import deliveries
from netlens.lenses._view import FIN, RST, SEAM_NS, S, View

NOTICED_NS = S
HTTP2 = int.from_bytes(b"PRI * HT", "big")  #: how a client of HTTP/2 begins (RFC 9113 3.4)
LARGE_BYTES = 100_000  #: less may come in a round trip or two, so that it tells no rate


@dataclass(slots=True)
class Asked:
    """A request: ``wait_ns`` to the first byte of the answer (or to the end, if there was none), ``http`` in clear."""

    session: int
    http: bool
    wait_ns: int
    answered: bool
    down_bytes: int
    took_ns: int  # from the first to the last byte of the answer
    frames: list[int]
    status: int | None = None
    given_up: bool = False  # by the client, which closed before any answer came


class Requests(NamedTuple):
    """remarkable : those that waited for :data:`NOTICED_NS` at least, got no answer, or one of :data:`LARGE_BYTES` and more in clear.  others : how many others
    there are.  others_http : how many of these in clear."""

    remarkable: list[Asked]
    others: int
    others_http: int


def asked(view: View) -> Requests:
    """Requests on connections seen in both directions without a gap, while nothing had to be sent again; not the turns of HTTP/2."""
    x, s = view.side.capture.table("exchanges"), view.sessions
    names = ("session_id", "request_end_ns", "response_ns", "end_ns", "status", "down_bytes", "start_frame", "response_frame", "end_frame")
    fins, resets = view.column("orig_fin_ns"), view.column("rst_ns")
    repeats: dict[int, list[tuple[int, int]]] = {}
    for d in view.once(deliveries):
        repeats[d.session] = [(r.start_ns, r.end_ns) for r in d.repeats]
    clear = s["protocol"] == "http"
    usable, repeated = np.zeros((2, s.rows), bool)
    usable[view.whole], repeated[list(repeats)] = True, True
    usable &= (clear | (s["protocol"] == "tls")) & (view.missing_bytes <= 0)
    if view.contents_alone:  # what was sent again may be of a later connection with the same ports
        usable &= s["orig_retransmits"] + s["resp_retransmits"] == 0
    usable[[*view.halves, *(k for k, spoken in view.side.http2.items() if spoken)]] = False
    usable &= view.first_requests != HTTP2  # in clear
    x = x.take(np.flatnonzero(usable[x["session_id"]]))
    # most are answered soon: these are only counted
    session, asked_ns, told_ns = x["session_id"], x.ints("request_end_ns"), x.ints("response_ns", NEVER)
    in_clear = clear[session] & (x.ints("status") != MISSING)
    fin = s.ints("orig_fin_ns", NEVER)[session]
    soon = (told_ns != NEVER) & (told_ns >= asked_ns) & (told_ns < asked_ns + NOTICED_NS) & ~((asked_ns < fin) & (fin < told_ns))
    soon &= ~repeated[session] & ~(in_clear & (x["down_bytes"] >= LARGE_BYTES))
    out, others = [], [int((soon & ~in_clear).sum()), int((soon & in_clear).sum())]
    for k, sent, response, end, status, down, first, answer_frame, end_frame in x.take(np.flatnonzero(~soon)).tuples(*names):
        http = bool(clear[k]) and (status is not None or response is None)
        until, given_up = response, False
        if response is not None and fins[k] is not None and sent < fins[k] < response and 0 <= (resets[k] or 0) - response <= S:
            until, response, down, given_up = fins[k], None, 0, True  # it came to a program that had closed
        elif response is None:
            until, given_up = (None, False) if view.contents_alone else _gave_up(view, k, sent)
            if until is None:
                continue
        wait = _lasted(view, sent, until)
        if any(begin < until and finish > sent - S for begin, finish in repeats.get(k, ())) or not 0 <= wait < SEAM_NS:
            continue
        if response is not None and wait < NOTICED_NS and not (http and down >= LARGE_BYTES):
            others[http] += 1
            continue
        took = _lasted(view, response, end) if end is not None and response is not None else 0
        frames = [f for f in (first, answer_frame, end_frame) if f]
        out.append(Asked(k, http, wait, response is not None, down, max(took, 0), frames, status, given_up))
    return Requests(out, sum(others), others[1])


def _lasted(view: View, begin: int, end: int) -> int:
    """How long something lasted. Where one of two clocks was set meanwhile, or may have been (between the last packet that both captures share before and the
    first after), nobody knows which: what both allow."""
    clock, took = view.traffic.clock, end - begin
    if not clock.steps:
        return took
    of_vm = view.side is view.traffic.vm
    for before, after in pairwise(clock.pieces):
        bounds = np.array([before.until_ns, after.from_ns], np.int64)
        offsets = [int(piece.offset_ns(bounds[k : k + 1])[0]) for k, piece in enumerate((before, after))]
        first, last = bounds if of_vm else bounds - offsets
        if begin < last and end > first:
            took -= max((offsets[1] - offsets[0]) * (1 if of_vm else -1), 0)
    return max(took, 0) if end >= begin else took


def _gave_up(view: View, k: int, sent: int) -> tuple[int | None, bool]:
    """When the client gave an unanswered request up (FIN or RST; True), or the capture ended; None if the request was not even acknowledged."""
    seg = view.segments(k)
    acknowledged = False
    for i in range(len(seg)):
        if seg.ts[i] < sent:
            continue
        if not seg.orig[i]:
            acknowledged = True
        if seg.flags[i] & (FIN | RST):
            return (seg.ts[i], True) if seg.orig[i] and acknowledged else (None, False)
    return (view.end_of(seg.frame[-1]) if acknowledged and len(seg) else None), False


def budget_of(view: View, request: Asked) -> Divided | None:
    """The time budget of a request of a capture."""
    d, (order, frames) = divided(view.traffic), view.traffic.once(_by_frame)
    frame = request.frames[0]
    for row in order[np.searchsorted(frames, frame) : np.searchsorted(frames, frame, "right")].tolist():
        if d.session[row] == request.session and d.vantages[d.vantage[row]] == view.side.name:
            return d[row]
    return None


def _by_frame(traffic: Traffic) -> tuple[Ints, Ints]:
    """Rows of budgets in the order of the frames at which requests begin, and these frames."""
    frames = divided(traffic).frame
    order = np.argsort(frames, kind="stable")
    return order, frames[order]


def relayed(budget: Divided | None) -> tuple[int, str]:
    """How long the first byte of the answer was waited for because of relays that were measured (ns), and the one that took most of it."""
    took: dict[int, int] = {}
    for spell in budget.spells if budget is not None else ():
        if spell.phase == STREAM:
            break
        if spell.phase == RELAY:
            took[spell.relay] = took.get(spell.relay, 0) + spell.end_ns - spell.start_ns
    if budget is None or not took:
        return 0, ""
    return sum(took.values()), budget.relays[max(took, key=lambda k: took[k])]
