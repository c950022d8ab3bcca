"""Which names got no answer?

Asks: whether lookups stayed without any answer, counting all repeats of a question, all ids and all servers together.
Applies: where DNS over UDP or TCP was captured in both directions. Multicast DNS and broadcasts need no answer.
Cannot see: lookups over TLS, HTTPS or QUIC; without an ICMP error, whether the question or the answer was lost. One asked in the last 5 s of the
    capture is pending.
Normal: RFC 1035 4.2.1 asks again after 2 to 5 s at the earliest; RFC 8767 5 lets a resolver try for 10 to 30 s. A question that another server or a
    repeat answered was answered. A single one of many is noise; a tenth of all, or one that was asked again in vain while few were asked, is a fault. Where no
    question was asked again and no answer is in the capture, it was recorded one-sided.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlens.lenses._asked import PENDING_NS, Question, filtered, visible
from netlens.lenses._said import UDP, said, undelivered
from netlens.lenses._view import finding, most, views
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.lenses import Finding
    from netlens.lenses._view import View
    from netlens.parsers.icmp import Error

ID = "dns-unanswered"
GROUP = "names"
RANK = 10
SHARE = 0.1  #: of all questions; with fewer than a tenth open, programs went on (a capture with 6 % open among parallel questions: nobody waited)
NAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?\Z"
)  #: may stand in a command that is pasted
PORT = 53
LEAST = 3  #: that were asked once only; one or two may be a filter of the capture


def look(traffic: Traffic) -> list[Finding]:
    """At most one of each capture."""
    return [found for view in views(traffic) for found in _of(view)]


def unanswered(view: View) -> tuple[list[Question], bool]:
    """Questions without an answer, and whether they are a problem."""
    asked = visible(view)
    told = view.once(errors_of)
    open_ = [
        q
        for q in asked
        if q.answer_ns is None
        and (view.end_of(q.frames[0]) - q.first_ns >= PENDING_NS or {e.destination[0] for e in _heard(told, q)} >= set(q.resolvers))
    ]
    again = sum(q.attempts > 1 for q in open_)
    heard = {resolver for q in asked if q.answer_ns is not None for resolver in q.resolvers}
    once = [
        q for q in open_ if q.attempts == 1 and heard.intersection(q.resolvers)
    ]  # who asks once each time and hears nothing at all was recorded one-sided
    grave = len(open_) >= SHARE * len(asked) and (again > 0 or len(once) >= LEAST)
    return open_, bool(open_) and not filtered(view) and (grave or (again >= LEAST and len(open_) >= LEAST))


def errors_of(view: View) -> dict[tuple[str, str], list[Error]]:
    """ICMP errors about lookups, by who asked whom."""
    found: dict[tuple[str, str], list[Error]] = {}
    for (protocol, source, destination), errors in view.once(undelivered).items():
        if protocol == UDP and destination[1] == PORT:
            found.setdefault((source[0], destination[0]), []).extend(errors)
    return found


def _heard(told: dict[tuple[str, str], list[Error]], q: Question) -> list[Error]:
    """What was said while a question was open."""
    return [
        e
        for resolver in q.resolvers
        for e in told.get((q.client, resolver), ())
        if 0 <= e.ts - q.first_ns <= PENDING_NS + q.last_ns - q.first_ns
    ]


def _of(view: View) -> list[Finding]:
    open_, grave = view.once(unanswered)
    if not open_:
        return []
    queries, silent = _queries(view, {(q.name, q.type, q.client) for q in open_})
    again = sum(q.attempts > 1 for q in open_)
    resolvers = most(r for q in open_ for r in q.resolvers)
    told = view.once(errors_of)
    heard = list(dict.fromkeys(e for q in open_ for e in _heard(told, q)))
    why = f"; {said(heard)}" if heard else ""
    text = f"{silent:,} of {plural(queries, 'DNS lookup')} to {resolvers} got no answer{why}."
    values = {
        "lookups": queries,
        "unanswered": silent,
        "questions": len(open_),
        "asked_again": again,
        "icmp_errors": len(heard),
        "resolvers": sorted({r for q in open_ for r in q.resolvers}),
    }
    example = next((f"dig @{q.resolvers[0]} {q.name}" for q in open_ if q.resolvers and NAME.match(q.name)), "dig @RESOLVER NAME")
    advice = f"Ask the resolver directly ({example}); if it does not answer, name another one in resolv.conf, or look for what drops UDP port 53."
    frames = [*(f for q in open_ for f in q.frames), *(e.frame for e in heard)]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _queries(view: View, open_: set[tuple[str, str, str]]) -> tuple[int, int]:
    """Lookups (of the table) to the resolvers in question, and those of open questions without an answer."""
    t = view.side.capture.table("lookups")
    rows = list(
        zip(*(t[name].tolist() for name in ("qname", "qtype", "orig_ip", "resolver_ip", "answer_ns", "query_ns", "transport")), strict=True)
    )
    theirs = [r for r in rows if r[5] is not None and r[6] != "mdns"]
    silent = [r for r in theirs if r[4] is None and ((r[0] or "").lower(), r[1], r[2]) in open_]
    resolvers = {r[3] for r in silent}
    return sum(r[3] in resolvers for r in theirs), len(silent)
