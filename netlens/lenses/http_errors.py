"""Which HTTP requests were answered with an error?

Asks: how many final answers of HTTP/1.1 in clear (or read with keys) have a status of 4xx or 5xx; and of requests in clear, how many the server closed on
    without an answer.
Applies: where statuses could be read.
Cannot see: HTTP inside TLS without keys, HTTP/2 and QUIC; whether the client expected the error.
Normal: 401 and 407 that the client answers with credentials (RFC 9110 11.6), 304, 416, a 404 among many, redirections. 5xx is the server's fault
    (RFC 9110 15.6): twice, or a tenth, is a fault; of 4xx half.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from netlens.lenses._view import FIN, RST, S, finding, grouped, most, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View

ID = "http-errors"
GROUP = "answers"
RANK = 31
SERVER_TIMES, SERVER_SHARE = 2, 0.1
CLIENT_TIMES, CLIENT_SHARE, SOME_SHARE = 2, 0.5, 0.1
CREDENTIALS_NS = 10 * S  #: in which a program answers a challenge by itself
CHALLENGES = (401, 407)
HARMLESS = (416,)  #: the client has all of it already


def look(traffic: Traffic) -> list[Finding]:
    """Of each capture, errors, and requests without an answer."""
    return [found for view in views(traffic) for found in [*_of(view), *_empty(view)]]


def final_answers(view: View) -> list[dict[str, Any]]:
    """Answers with a status, but for challenges that the client answered."""
    kept = set(view.first_copies)
    x = view.side.capture.table("exchanges")
    names = ("session_id", "start_ns", "response_ns", "status", "start_frame", "response_frame")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(x[name].tolist() for name in names), strict=True)]
    rows = [
        r for r in rows if r["status"] is not None and r["status"] >= 200 and (r["session_id"] in kept or r["session_id"] in view.halves)
    ]
    ends = {r["session_id"]: view.ends(r["session_id"]) for r in rows}
    out = []
    for group in grouped(rows, lambda r: (ends[r["session_id"]][0], ends[r["session_id"]][2])).values():
        group.sort(key=lambda r: r["start_ns"])
        for r, later in zip(group, [*group[1:], None], strict=True):
            if r["status"] in CHALLENGES and later is not None and 0 <= later["start_ns"] - (r["response_ns"] or 0) <= CREDENTIALS_NS:
                continue
            out.append(r)
    return sorted(out, key=lambda r: r["start_frame"])


def _of(view: View) -> list[Finding]:
    answers = view.once(final_answers)
    ours = [r for r in answers if 400 <= r["status"] < 500 and r["status"] not in HARMLESS]
    theirs = [r for r in answers if r["status"] >= 500]
    errors = ours + theirs
    if not errors:
        return []
    n = len(answers)
    grave = len(theirs) >= SERVER_TIMES or len(theirs) >= max(SERVER_SHARE * n, 1)
    grave |= len(ours) >= CLIENT_TIMES and len(ours) >= CLIENT_SHARE * n
    grave |= len(errors) == n and errors[0]["status"] != 404
    some = bool(theirs) or len(ours) >= SOME_SHARE * n
    codes = Counter(r["status"] for r in errors)
    told = ", ".join(f"{count:,} times {status}" for status, count in codes.most_common(4)) if len(errors) > 1 else f"{errors[0]['status']}"
    whom = most(view.server(r["session_id"]) for r in errors)
    text = f"{len(errors):,} of {plural(n, 'HTTP response')} {'is an error' if len(errors) == 1 else 'are errors'} ({told}), from {whom}."
    values = {"responses": n, "errors": len(errors), "statuses": {str(status): count for status, count in sorted(codes.items())}}
    severity = "problem" if grave else "warning" if some else "note"
    frames = [f for r in errors for f in (r["start_frame"], r["response_frame"])]
    advice = ""
    if grave:
        advice = (
            "5xx: look at the server's log."
            if theirs and len(theirs) >= len(ours)
            else "4xx: the server does not accept the requests: check address, method and credentials."
        )
    return [finding(view, ID, severity, text, frames, values, advice)]  # type: ignore[arg-type]


def _empty(view: View) -> list[Finding]:
    """Requests that the server acknowledged, and then closed on without a byte."""
    if view.one_sided:
        return []
    kept = set(view.whole) - set(view.halves)
    protocols, missing = view.column("protocol"), view.sessions["resp_missing_bytes"]
    x = view.side.capture.table("exchanges")
    names = ("session_id", "request_end_ns", "response_ns", "start_frame")
    rows = [
        r
        for r in zip(*(x[name].tolist() for name in names), strict=True)
        if r[0] in kept and protocols[r[0]] == "http" and not missing[r[0]]
    ]
    found = [(k, first, fin) for k, sent, answered, first in rows if answered is None and (fin := _closed_on(view, k, sent)) is not None]
    if not found:
        return []
    n = len(found)
    whom = most(view.server(k) for k, _, _ in found)
    text = f"{n:,} of {plural(len(rows), 'HTTP request')} got no answer: {whom} closed the connection instead."
    grave = n >= SERVER_TIMES or n >= max(SERVER_SHARE * len(rows), 1)
    advice = "Look at the server's log of that moment: its program ended, or it gave the request up." if grave else ""
    values = {"requests": len(rows), "unanswered": n}
    frames = [f for _, *both in found for f in both]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _closed_on(view: View, k: int, sent_ns: int) -> int | None:
    """The frame of the server's FIN that acknowledges all of a request and follows no answer."""
    seg = view.segments(k)
    upto = 0
    for i in range(len(seg)):
        if seg.orig[i]:
            upto = max(upto, seg.offset[i] + seg.length[i])
        if seg.ts[i] < sent_ns:
            continue
        if seg.orig[i] and seg.flags[i] & (FIN | RST):
            return None  # the client gave up first
        if not seg.orig[i] and (seg.length[i] or seg.flags[i] & (FIN | RST)):
            return seg.frame[i] if seg.flags[i] & FIN and not seg.length[i] and seg.acked[i] >= upto else None
    return None
