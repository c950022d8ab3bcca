"""What was asked of the DNS, as who asked sees it: one question is its name and type with all repeats, ids and servers together.

What is asked again and again after an answer, and gets none, is another question.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

from netlens.addresses import is_one_host
from netlens.chains.copies import COPY_NS
from netlens.lenses._view import S, View, grouped, most
from netlens.tables import FAILURES
from netlens.text import printable

#: The next time the same is asked after this is another question: a resolver library gives up after 5 s twice (resolv.conf(5): timeout 5, attempts 2).
SAME_NS = 15 * S
#: A name that is asked for so long after the last time is asked for by a program again, not by a library that walks through types and suffixes
ROUND_NS = S
#: RFC 1035 4.2.1: "the minimum retransmission interval should be 2-5 seconds": what was asked more recently is pending.
PENDING_NS = 5 * S
#: Questions of machines among themselves, not of a program that waits for a name: zone transfers, updates, keys.
OF_SERVERS = ("SOA", "AXFR", "IXFR", "TKEY", "TSIG", "NULL")
_NEVER_ALONE = (*OF_SERVERS, "ANY")  #: the last is asked in another's name, to have much sent to it
#: A forwarder passes a question on at once
PASSED_ON_NS = S // 10
PORT = 53
SERVERS = 3  #: that a client asks at most (resolv.conf(5): MAXNS); failures from more, and nothing else, go to whose address was forged (RFC 5358)
AGAIN = 2  #: times asked: somebody still waits for it
ORPHANS = 0.1  #: of all lookups; a capture that begins in the middle has one or two


class _Lookup(NamedTuple):
    """What is needed of a row of the table of lookups."""

    qname: str
    qtype: str
    orig_ip: str
    resolver_ip: str
    query_ns: int
    answer_ns: int | None
    rcode: str | None
    attempts: int
    answers: list[str] | None
    cnames: list[str] | None
    query_frame: int
    answer_frame: int | None
    transport: str


@dataclass(slots=True)
class Question:
    """One question, its name in lower case. ``answer_ns`` and ``rcode``: of the first answer, and of the last one; None without."""

    name: str
    type: str
    client: str
    resolvers: list[str]
    first_ns: int
    last_ns: int
    attempts: int
    answer_ns: int | None
    rcode: str | None
    addresses: list[str]
    leads_to: list[str]  # by CNAME, the last step
    frames: list[int]  # of the queries
    answer_frames: list[int]
    times: list[int]  # of the queries, ns
    of_a_host: bool  # whether the name is one that people give to a host

    @property
    def shown(self) -> str:
        """The name, with its type where that is not A."""
        return printable(self.name if self.type == "A" else f"{self.name} ({self.type})")

    @property
    def pending(self) -> bool:
        return self.answer_ns is None

    @property
    def forward(self) -> bool:
        """Whether somebody wanted the address of a name."""
        return self.type in ("A", "AAAA") and self.of_a_host

    @property
    def tunnelled(self) -> bool:
        """Whether the name looks like data rather than a name: a label of more than 40 characters."""
        return len(self.name) > 40 and any(len(label) > 40 for label in self.name.split("."))


def questions(view: View) -> list[Question]:
    """All questions to resolvers (not multicast, not broadcast) whose first query is in the capture."""
    at_once = {t.first_frame: t.datagrams for t in view.conversations if t.last_ns - t.first_ns < COPY_NS}
    rows = starmap(_Lookup, view.side.capture.table("lookups").tuples(*_Lookup._fields))
    cut = "cut_payload" in view.side.capture.table("quality")["reason"].tolist()  # over TCP, nothing is read behind what the snaplen cut
    asked: dict[tuple[str, str, str], list[_Lookup]] = defaultdict(list)
    for row in rows:
        if _counts(row) and not (cut and row.transport == "tcp" and row.answer_ns is None):
            asked[row.qname.lower(), row.qtype, row.orig_ip].append(_without_copies(row, at_once))
    out = []
    for (name, type_, client), group in asked.items():
        run: list[_Lookup] = []
        for row in group:
            if run and abs(row.query_ns - run[-1].query_ns) > SAME_NS:
                out += [_question(name, type_, client, part) for part in _parted(run)]
                run = []
            run.append(row)
        out += [_question(name, type_, client, part) for part in _parted(run)]
    return sorted(out, key=lambda q: q.frames[0])


def _parted(run: list[_Lookup]) -> list[list[_Lookup]]:
    """Lookups of one name: what was asked again in vain after the last good answer stands by itself."""
    if len(run) == 1:
        return [run]
    known = max((r.answer_ns for r in run if r.answer_ns is not None and r.rcode not in FAILURES), default=None)
    if known is None:
        return [run]
    later = [r for r in run if r.query_ns > known]
    if any(r.answer_ns is not None for r in later) or sum(r.attempts for r in later) < AGAIN:
        return [run]
    return [[r for r in run if r.query_ns <= known], later]


def _counts(row: _Lookup) -> bool:
    known = row.query_ns is not None and row.qname is not None and row.query_frame is not None
    return known and row.transport != "mdns" and row.qtype not in OF_SERVERS and is_one_host(row.resolver_ip)


def _without_copies(row: _Lookup, at_once: dict[int, int]) -> _Lookup:
    """A lookup; where all its queries came from one port within :data:`COPY_NS` (``at_once``: datagrams by first frame), the others were recorded again,
    not asked."""
    return row._replace(attempts=1) if 1 < row.attempts <= at_once.get(row.query_frame, 0) else row


def _question(name: str, type_: str, client: str, rows: list[_Lookup]) -> Question:
    answered = [r for r in rows if r.answer_ns is not None]
    good = [r for r in answered if r.rcode not in FAILURES]
    times = [r.query_ns for r in rows]
    return Question(
        name,
        type_,
        client,
        list(dict.fromkeys([r.resolver_ip for r in rows])),
        min(times),
        max(times),
        sum([max(r.attempts, 1) for r in rows]),
        min([r.answer_ns for r in good or answered if r.answer_ns is not None], default=None),
        (good or answered)[-1].rcode if answered else None,
        [text for r in answered for text in r.answers or ()],
        [r.cnames[-1] for r in answered if r.cnames],
        [r.query_frame for r in rows],
        [r.answer_frame for r in answered if r.answer_frame is not None],
        times,
        _is_of_a_host(name),
    )


def _is_of_a_host(name: str) -> bool:
    """Whether a name is no address, no service, and no address asked for in a blocklist (RFC 5782 2.1)."""
    if all(label.isdigit() or len(label) == 1 for label in name.split(".", 4)[:4]):
        return False
    return "." in name and not (name.endswith(".arpa") or name.startswith(("wpad", "isatap", "_", "b._", "lb._")) or "._" in name)


def rounds(group: Iterable[Question]) -> list[tuple[int, int]]:
    """When a name was asked for, of whatever type: the first and last query (ns) of each round, rounds being :data:`ROUND_NS` apart."""
    found: list[tuple[int, int]] = []
    for ns in sorted(ns for q in group for ns in q.times):
        if found and ns - found[-1][1] < ROUND_NS:
            found[-1] = found[-1][0], ns
        else:
            found.append((ns, ns))
    return found


def addressed(asked: list[Question]) -> set[tuple[str, str]]:
    """Clients with the names (in lower case) of which they were told an address."""
    return {(q.client, q.name.lower()) for q in asked if q.rcode == "NOERROR" and q.addresses}


IN_CIRCLES = "Each of the two forwards to the other: let one of them ask a resolver elsewhere, or answer for these names itself."


def told_of_circles(asked: Iterable[Question], failed: Iterable[Question]) -> str:
    """What is added to a text where resolvers ask each other for names of ``failed``; "" else. Its advice is :data:`IN_CIRCLES`."""
    names = {(q.name, q.type) for q in failed}
    circles = in_circles(q for q in asked if (q.name, q.type) in names)
    return f"; {most(f'{here} and {there}' for here, there in circles)} ask each other the same, in circles" if circles else ""


def in_circles(asked: Iterable[Question]) -> list[tuple[str, str]]:
    """Pairs of resolvers that ask each other the same, with each other's address as client, of questions that were not answered or failed: at once, while the
    other's question is open. Two that each want the same at another time, of the other, do not pass it on."""
    ways: dict[tuple[str, str, str, str], list[Question]] = defaultdict(list)
    for q in asked:
        if q.answer_ns is None or q.rcode in FAILURES:
            for r in q.resolvers:
                ways[q.name, q.type, q.client, r].append(q)
    found = set()
    for (name, type_, here, there), questions_ in ways.items():
        back = sorted(ns for q in ways.get((name, type_, there, here), ()) for ns in q.times)
        if any(_is_passed_on(q, back) for q in questions_):
            found.add((min(here, there), max(here, there)))
    return sorted(found)


def _is_passed_on(q: Question, back: list[int]) -> bool:
    """Whether at one of these times (in order) somebody asked the same, right behind a query, and before its answer."""
    for ns in q.times:
        at = bisect.bisect_left(back, ns)
        if at < len(back) and back[at] - ns <= PASSED_ON_NS and (q.answer_ns is None or back[at] <= q.answer_ns):
            return True
    return False


def told(view: View) -> list[Question]:
    """What answers alone tell of questions that were not recorded (RFC 1035 4.1): those that were asked before the capture began, and those of who was not
    recorded at all, of each name, type and client one. Without frames of queries, their times are those of the answers."""
    return view.once(_told)


def _told(view: View) -> list[Question]:
    names = (
        "qname",
        "qtype",
        "orig_ip",
        "orig_port",
        "resolver_ip",
        "txid",
        "query_ns",
        "answer_ns",
        "rcode",
        "answers",
        "cnames",
        "answer_frame",
        "transport",
    )
    asked, ids, answered = set(), set(), set()
    alone: dict[tuple[str, str, str], dict[tuple[int, int, str], _Lookup]] = defaultdict(dict)
    for name, type_, client, port, server, txid, query_ns, answer_ns, rcode, answers, cnames, frame, transport in view.side.capture.table(
        "lookups"
    ).tuples(*names):
        if name is None or transport == "mdns":
            continue
        key = name.lower(), type_
        if query_ns is not None:
            asked.add((*key, client))
            ids.add((*key, txid))
            answered |= {key} if answer_ns is not None else set()
        elif answer_ns is not None and type_ not in _NEVER_ALONE and is_one_host(client):
            row = _Lookup(name, type_, client, server, answer_ns, answer_ns, rcode, 0, answers, cnames, 0, frame, transport)
            alone[(*key, client)].setdefault((port, txid, rcode), row)  # what comes again is a copy
    begun, sending = view.side.bounds_ns[0], view.once(_sending) if alone else set()
    out = []
    for (name, type_, client), by_id in alone.items():
        rows = [r for r in by_id.values() if client not in sending or r.query_ns - begun <= SAME_NS]
        known = (name, type_) in answered or (name, type_, client) in asked or any((name, type_, txid) in ids for _, txid, _ in by_id)
        if known:
            continue
        last_good = max((r.query_ns for r in rows if r.rcode not in FAILURES), default=0)
        for part in ([r for r in rows if r.query_ns - last_good <= SAME_NS], [r for r in rows if r.query_ns - last_good > SAME_NS]):
            if part:
                question = _question(name, type_, client, part)
                question.frames, question.attempts = [], len(part)
                out.append(question)
    good = {q.client for q in out if q.rcode not in FAILURES}
    servers = {client: {r for q in group for r in q.resolvers} for client, group in grouped(out, lambda q: q.client).items()}
    return [q for q in out if q.client in good or len(servers[q.client]) <= SERVERS]


def _sending(view: View) -> set[str]:
    """Addresses whose own packets are in the capture: their questions would be, too."""
    up, down = view.column("orig_frames"), view.column("resp_frames")
    sent = {view.address(k, orig) for k in view.first_copies for orig, frames in ((True, up[k]), (False, down[k])) if frames}
    return sent | {t.source[0] for t in view.conversations}


def filtered(view: View) -> bool:
    """Whether the capture holds answers whose questions it lacks: then it may lack answers as well."""
    lookups = view.side.capture.table("lookups")
    orphans = sum(query is None and transport != "mdns" for query, transport in lookups.tuples("query_ns", "transport"))
    return orphans >= 2 and orphans >= ORPHANS * lookups.rows


def holds_more(view: View) -> bool:
    """Whether a capture holds more than DNS."""
    asking = view.side.capture.asking
    others = any(PORT not in (t.source[1], t.destination[1]) for t in view.conversations) or set(view.column("resp_port")) - {PORT}
    return bool(asking.claims or asking.pings or others)


def visible(view: View) -> list[Question]:
    """Questions whose answers would be in the capture."""
    return view.once(_visible)


def _visible(view: View) -> list[Question]:
    asked = view.once(questions)
    deaf = {client for client in {q.client for q in asked} if view.hears_nothing(client)}
    return [q for q in asked if q.client not in deaf]
