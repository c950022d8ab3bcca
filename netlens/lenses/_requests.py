"""Requests and how long their answers took, where that can be said."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.chains.divided import RELAY, STREAM, Divided
from netlens.chains.traffic import Traffic
from netlens.lenses import divided
from netlens.lenses._repeats import deliveries
from netlens.lenses._view import FIN, RST, S, View


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


def asked(view: View) -> list[Asked]:
    """Requests on connections seen in both directions without a gap, while nothing had to be sent again; not the turns of HTTP/2."""
    x = view.side.capture.table("exchanges")
    names = ("session_id", "request_end_ns", "response_ns", "end_ns", "status", "down_bytes", "start_frame", "response_frame", "end_frame")
    kept, halves = set(view.whole), view.halves
    protocols, lost = view.column("protocol"), view.sessions["resp_missing_bytes"] + view.sessions["orig_missing_bytes"]
    fins, resets = view.column("orig_fin_ns"), view.column("rst_ns")
    repeats: dict[int, list[tuple[int, int]]] = {}
    for d in view.once(deliveries):
        repeats[d.session] = [(r.start_ns, r.end_ns) for r in d.repeats]
    out, shared = [], view.side.http2
    for k, sent, response, end, status, down, first, answer_frame, end_frame in x.tuples(*names):
        if k not in kept or k in halves or lost[k] > 0 or protocols[k] not in ("http", "tls") or shared.get(k):
            continue
        http = protocols[k] == "http" and (status is not None or response is None)
        until, given_up = response, False
        if response is not None and fins[k] is not None and sent < fins[k] < response and 0 <= (resets[k] or 0) - response <= S:
            until, response, down, given_up = fins[k], None, 0, True  # it came to a program that had closed
        elif response is None:
            until, given_up = _gave_up(view, k, sent)
            if until is None:
                continue
        wait = until - sent
        if any(begin < until and finish > sent - S for begin, finish in repeats.get(k, ())) or not 0 <= wait < 3600 * S:
            continue
        took = end - response if end is not None and response is not None else 0
        frames = [f for f in (first, answer_frame, end_frame) if f]
        out.append(Asked(k, http, wait, response is not None, down, max(took, 0), frames, status, given_up))
    return out


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
    row = view.traffic.once(_rows).get((view.side.name, request.session, request.frames[0]))
    return None if row is None else divided(view.traffic)[row]


def _rows(traffic: Traffic) -> dict[tuple[str | None, int, int], int]:
    """Rows of budgets by capture, session and first frame."""
    d = divided(traffic)
    vantages = [d.vantages[k] for k in d.vantage.tolist()]
    return {key: row for row, key in enumerate(zip(vantages, d.session.tolist(), d.frame.tolist(), strict=True))}


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
