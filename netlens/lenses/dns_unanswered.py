"""Which names got no answer?

Asks: whether lookups stayed without any answer, counting all repeats of a question, all ids and all servers together; whether a resolver never
    answered, so that names waited for the next one, of whatever family; whether a silent resolver stands behind the one that was asked.
Applies: where DNS over UDP or TCP was captured in both directions. Multicast DNS and broadcasts need no answer.
Cannot see: lookups over TLS, HTTPS or QUIC; without an ICMP error, whether the question or the answer was lost. One asked in the last 5 s of the
    capture is pending, unless it was tried three times and more over 2 s already.
Normal: a resolver waits for servers behind it: where it asked one of these for the same in vain, that one is named. RFC 1035 4.2.1 asks again after 2 to 5 s
    at the earliest; RFC 8767 5 lets a resolver try for 10 to 30 s. A question that another server or a repeat answered was answered; resolvers that are asked
    side by side need not all answer. A single one of many is noise; a tenth of all, or one that was asked again in vain while few were asked, is a fault.
    Where no question was asked again and no answer is in the capture, it was recorded one-sided.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import NamedTuple

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._asked import IN_CIRCLES, PENDING_NS, PORT, SAME_NS, Question, addressed, filtered, holds_more, told_of_circles, visible
from netlens.lenses._datagrams import hearing
from netlens.lenses._over_tcp import InVain, over_tcp
from netlens.lenses._said import UDP, said, undelivered
from netlens.lenses._view import S, View, finding, grouped, most, seconds, up_to
from netlens.parsers.icmp import PORT as NO_PROGRAM
from netlens.parsers.icmp import Error
from netlens.parsers.trail import Conversation
from netlens.text import plural
from netlens.wire.addresses import ip_text

ID = "dns-unanswered"
GROUP = "names"
RANK = 10
SHARE = 0.1  #: of all questions; with fewer than a tenth open, programs went on (a capture with 6 % open among parallel questions: nobody waited)
#: may stand in a command that is pasted
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?\Z")
LEAST = 3  #: that were asked once only; one or two may be a filter of the capture
SOME = 200  #: conversations that began later are looked at for one question
#: Tries of a question to which only pieces of answers came, so long before the end: fragments of one datagram come together (RFC 791 3.2)
TRIES, PIECES_NS = 2, S
#: A question that was tried so often for so long is a problem even if an answer is on its way (dns-slow: RFC 8767 5)
INSISTED, SLOW_NS = 3, 2 * S
TOLD_TRIES = 4  #: times as many tries as lookups
NUMBERS = 2  #: of questions that were asked by the other family again
WAITED_NS = S  #: a name that another resolver answered only so late waited for a silent one


def look(view: View) -> list[Finding]:
    """Resolvers that never answered, questions that nobody answered, and answers from addresses that were not asked."""
    return [*_never(view), *_of(view), *_over_tcp(view), *_elsewhere(view)]


def unanswered(view: View) -> tuple[list[Question], bool]:
    """Questions without an answer, and whether they are a problem."""
    asked = visible(view)
    told = view.once(errors_of)
    joined = {t.first_frame for t, _, _ in view.once(asked_by_other_family)}
    open_ = [
        q
        for q in asked
        if q.answer_ns is None
        and q.frames[0] not in joined
        and (
            view.end_of(q.frames[0]) - q.first_ns >= PENDING_NS
            or _insisted(view, q)
            or {e.destination[0] for e in _heard(told, q)} >= set(q.resolvers)
            or _answered_in_pieces(view, q)
        )
    ]
    has_address = addressed(asked)
    # nobody waits for AAAA or HTTPS beside an address
    needed = [q for q in open_ if q.attempts > 1 or (q.client, q.name.lower()) not in has_address]
    again = sum(q.attempts > 1 for q in open_)
    heard = {resolver for q in asked if q.answer_ns is not None for resolver in q.resolvers}
    # who asks once each time and hears nothing at all was recorded one-sided
    once = [q for q in needed if q.attempts == 1 and heard.intersection(q.resolvers)]
    if not heard and not again and not any(_heard(told, q) for q in open_):
        return [], False  # recorded one-sided
    grave = len(needed) >= SHARE * len(asked) and (again > 0 or len(once) >= LEAST)
    return open_, bool(open_) and not filtered(view) and (grave or (again >= LEAST and len(open_) >= LEAST))


def _insisted(view: View, q: Question) -> bool:
    """Whether a question, alone at its ports, was tried so often for so long that an answer that is still on its way is too late. Its tries bear one number."""
    if q.attempts < INSISTED or any((r, q.client) in view.once(_in_pieces) for r in q.resolvers):
        return False
    first, tries = view.once(_by_number)
    mine = tries.get((q.client, first.get(q.frames[0], 0)), [])
    return sum(t.datagrams for t in mine) == q.attempts and max(t.last_ns for t in mine) - q.first_ns >= SLOW_NS


def _by_number(view: View) -> tuple[dict[int, int], dict[tuple[str, int], list[Conversation]]]:
    """How conversations with resolvers begin, number and flags, by their first frame; and they, by client and that."""
    talks = [t for t in view.conversations if t.destination[1] == PORT]
    return {t.first_frame: t.head for t in talks}, grouped(talks, lambda t: (t.source[0], t.head))


@dataclass
class Silent:
    """A resolver that never answered. ``waited``: questions that another one answered, with how long they waited for this one first."""

    address: str
    queries: int
    waited: list[tuple[int, Question]]


def silent_resolvers(view: View) -> list[Silent]:
    """Resolvers that were asked and never answered, of which names waited until another one was asked."""
    if view.one_sided or filtered(view):
        return []
    talks = [t for t in view.conversations if t.destination[1] == PORT and is_one_host(t.destination[0])]
    speaking = {t.source[0] for t in view.conversations if t.source[1] == PORT}
    heard = hearing(view)
    late = grouped((q for q in visible(view) if q.answer_ns is not None and q.answer_ns - q.first_ns > WAITED_NS), lambda q: q.client)
    asked_of = {
        client: sorted((t.first_ns, t.destination[0]) for t in group) for client, group in grouped(talks, lambda t: t.source[0]).items()
    }
    found = []
    for (client, resolver), mine in grouped(talks, lambda t: (t.source[0], t.destination[0])).items():
        if resolver in speaking or client not in heard:
            continue
        mine.sort(key=lambda t: t.first_ns)
        begun, last = [t.first_ns for t in mine], list(accumulate((t.last_ns for t in mine), max))
        waited = []
        for q in late.get(client, ()):
            before = bisect.bisect_right(begun, q.first_ns)
            if not before or last[before - 1] < q.first_ns:
                continue
            later = asked_of[client][bisect.bisect_left(asked_of[client], (q.first_ns, "")) :][:SOME]
            following = next((ns for ns, whom in later if whom != resolver and whom in q.resolvers), None)
            if following is not None and q.first_ns + WAITED_NS < following <= (q.answer_ns or 0):
                waited.append((following - q.first_ns, q))
        if waited:
            found.append(Silent(resolver, sum(t.datagrams for t in mine), waited))
    told = {s.address for s in found}
    for resolver, group in grouped(view.once(asked_by_other_family), lambda each: each[0].destination[0]).items():
        if resolver not in speaking | told:
            sent = sum(t.datagrams for t in talks if t.destination[0] == resolver)
            found.append(Silent(resolver, sent, [(later.first_ns - first.first_ns, q) for first, later, q in group]))
    return found


def asked_by_other_family(view: View) -> list[tuple[Conversation, Conversation, Question]]:
    """Queries over IPv6 that were asked again over IPv4, or the other way round, when a while had passed, and answered then: the first, the later one, and its
    question. A library keeps the number of a question when it asks the next resolver, so that one host shows itself by two addresses."""
    _, tries = view.once(_by_number)
    by_first = {q.frames[0]: q for q in visible(view)}
    asked = ((t, q) for group in tries.values() for t in group if (q := by_first.get(t.first_frame)) is not None)
    found = []
    for group in grouped(asked, lambda each: (each[0].head, each[1].name, each[1].type)).values():
        group.sort(key=lambda each: each[0].first_ns)
        begun = [t.first_ns for t, _ in group]
        for t, q in group:
            if q.answer_ns is not None:
                continue
            since, until = max(t.first_ns + WAITED_NS + 1, t.last_ns), t.first_ns + SAME_NS
            later = group[bisect.bisect_left(begun, since) : bisect.bisect_right(begun, until)][:SOME]
            by_other = ((o, its) for o, its in later if (":" in o.source[0]) != (":" in t.source[0]) and its.answer_ns is not None)
            found += [(t, *each) for each in islice(by_other, 1)]
    # who has one number for all that it asks, as monitors do, may ask by both families on purpose
    numbers = {resolver: {t.head for t, _, _ in group} for resolver, group in grouped(found, lambda each: each[0].destination[0]).items()}
    return [each for each in found if len(numbers[each[0].destination[0]]) >= NUMBERS]


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
    every, grave = view.once(unanswered)
    by_tcp = {v.frame for v in view.once(over_tcp).in_vain}
    open_ = [q for q in every if not by_tcp.issuperset(q.frames)]
    if not open_:
        return []
    keys = {(q.name, q.type, q.client) for q in open_}
    queries, silent, pending = _queries(view, keys, {(q.name, q.type, q.client) for q in visible(view) if q.pending} - keys)
    again = sum(q.attempts > 1 for q in open_)
    resolvers = most(r for q in open_ for r in q.resolvers)
    told = view.once(errors_of)
    heard = list(dict.fromkeys(e for q in open_ for e in _heard(told, q)))
    why, cause = f"; {said(heard)}" if heard else "", "look for what drops UDP port 53"
    names = most(q.shown for q in open_ if not q.tunnelled)
    if all((r, q.client) in view.once(_in_pieces) for q in open_ for r in q.resolvers):
        why += "; only some fragments of their answers arrived"
        cause = "let fragments through, or have the resolver send less at a time (an EDNS buffer of 1,232 bytes)"
    circles = told_of_circles(visible(view), open_)
    behind = [] if circles else _behind(view, open_)
    others = bool(behind) and _answer_others(view, behind)
    why += circles
    if behind:
        why += f"; {most(here for here, _, _ in behind)} asked {most(there for _, there, _ in behind)} for the same in vain"
        why += ", which answers for others" if others else ""
    later = f"; {pending:,} more were asked too close to the end of the capture to tell" if pending else ""
    tries = sum(q.attempts for q in open_)
    text = (
        f"{silent:,} of {plural(queries, 'DNS lookup')} to {resolvers} got no answer{f' in {tries:,} tries' if tries >= TOLD_TRIES * silent else ''}"
        f"{f' ({names})' if names else ''}{why}{later}."
    )
    values = {
        "lookups": queries,
        "unanswered": silent,
        "questions": len(open_),
        "asked_again": again,
        "icmp_errors": len(heard),
        "resolvers": sorted({r for q in open_ for r in q.resolvers}),
    }
    example = next((_dig(q) for q in open_ if q.resolvers and NAME.match(q.name)), "dig @RESOLVER NAME")
    if heard and all(e.what == NO_PROGRAM for e in heard):
        cause = f"start the DNS server of {most(e.reporter for e in heard)}, where no program listens on UDP port 53"
    advice = f"Ask the resolver directly ({example}); if it does not answer, name another one in resolv.conf, or {cause}."
    if circles:
        advice = IN_CIRCLES
    elif behind:
        here, there, q = behind[0]
        advice = (
            f"Ask that server from {here} ({_dig(q, there)}): it is down or replaced, or what drops UDP port 53 stands between these two. Until it answers, "
            f"take it out of the forwarders of {here}, or out of the name servers of the zone; {here} itself only waits for it."
        )
        if others:
            advice = (
                f"Ask that server from {here} ({_dig(q, there)}): it answers for other names, so that a filter of its own drops these (a list of blocked "
                "names), or it waits itself for the servers of their zone."
            )
    frames = [*(f for q in open_ for f in q.frames), *(e.frame for e in heard)]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _over_tcp(view: View) -> list[Finding]:
    """Questions over TCP that were never answered, over UDP neither."""
    over = view.once(over_tcp)
    found = over.in_vain
    if not found:
        return []
    asked = visible(view)
    has_address = addressed(asked)
    needed = {(v.name, v.type) for v in found if (v.client, v.name) not in has_address}
    whom, names = most(v.resolver for v in found), most(v.shown for v in found)
    text = f"{len(found):,} of {plural(over.asked, 'DNS question')} over TCP got no answer: {_how(found, whom)} ({names})"
    text += "; over UDP it said that the answer is too long (TC, truncated)" if any(v.truncated for v in found) else ""
    text += "" if needed else "; the client got an address of the name all the same"
    values = {
        "lookups": over.asked,
        "unanswered": len(found),
        "closed": sum(v.closed is not None for v in found),
        "resolvers": sorted({v.resolver for v in found}),
    }
    one_each = all(v.beside and v.closed is not None for v in found)
    advice = (
        f"Let {whom} answer all that is asked on one connection (RFC 7766 6.2.1.1) before it closes; resolv.conf's single-request has glibc ask one after the "
        "other."
        if one_each
        else f"Ask it over TCP (dig +tcp @{found[0].resolver} NAME); see in its log, and at what stands before its TCP port {PORT}, why no answer comes."
    )
    grave = bool(needed) and len(needed) >= SHARE * len(asked) and not filtered(view)
    frames = [f for v in found for f in (v.frame, v.closed)]
    return [finding(view, ID, "problem" if grave else "warning", f"{text}.", frames, values, advice)]


def _how(found: list[InVain], whom: str) -> str:
    """What a server did instead of answering questions over TCP."""
    closed = [v for v in found if v.closed is not None]
    silent = [v.waited_ns for v in found if v.closed is None]
    behind = " behind the answer to another one" if closed and all(v.beside for v in closed) else ""
    often = f" ({len(closed):,} times)" if silent and closed else ""
    parts = [f"closed the connection{behind}{often}"] if closed else []
    parts += [f"was silent for {up_to(silent)}{seconds(max(silent))}"] if silent else []
    return f"{whom} {' or '.join(parts)}"


def _behind(view: View, open_: list[Question]) -> list[tuple[str, str, Question]]:
    """Who was asked in vain by whom who had been asked the same: the resolver, the server behind it, the client's question. Only where each question in vain
    was asked of such a resolver, or by one. A resolver that had got an answer, and asked no further, had one to give. A server that is silent where clients are
    answered, too, is not waited for."""
    theirs = {r for q in open_ for r in q.resolvers}
    passed = view.once(_passed_on)
    in_vain = {(q.name, q.type) for q in open_}
    served = (
        {(q.name, q.type, r) for q in visible(view) if q.answer_ns is not None for r in q.resolvers if r in theirs} if passed else set()
    )
    harmless = {(key[2], r.server) for key in served if key[:2] not in in_vain for r in passed.get(key, ())[:SOME] if r.answer_ns is None}
    found: dict[tuple[str, str], Question] = {}
    waiting: set[int] = set()
    for q in open_:
        silent: dict[str, set[str]] = {}
        for here in q.resolvers:
            rows = passed.get((q.name, q.type, here), [])
            since = bisect.bisect_left(rows, q.first_ns - PENDING_NS, key=lambda r: r.query_ns)
            until = bisect.bisect_right(rows, q.last_ns + PENDING_NS, key=lambda r: r.query_ns)
            mine = rows[max(since, until - SOME) : until]
            known = max((r.answer_ns for r in mine if r.answer_ns is not None and r.answer_ns <= q.last_ns + PENDING_NS), default=0)
            silent[here] = {r.server for r in mine if r.answer_ns is None and r.query_ns >= known and (here, r.server) not in harmless}
        if silent and all(silent.values()):
            waiting.add(id(q))
            found |= {(here, there): q for here, each in silent.items() for there in each}
    asked = {here for here, _ in found}
    of_none = [q for q in open_ if id(q) not in waiting and q.client not in asked]
    return [] if of_none else [(here, there, q) for (here, there), q in found.items() if there not in asked]


class _Passed(NamedTuple):
    """A query to a server, as the table of lookups has it."""

    query_ns: int
    server: str
    answer_ns: int | None


def _passed_on(view: View) -> dict[tuple[str, str, str], list[_Passed]]:
    """Queries by name, type, and who sent them, in order of time."""
    found: dict[tuple[str, str, str], list[_Passed]] = {}
    for name, kind, who, server, query_ns, answer_ns in view.side.capture.table("lookups").tuples(
        "qname", "qtype", "orig_ip", "resolver_ip", "query_ns", "answer_ns"
    ):
        if query_ns is not None:
            found.setdefault(((name or "").lower(), kind, who), []).append(_Passed(query_ns, server, answer_ns))
    for rows in found.values():
        rows.sort(key=lambda r: r.query_ns)
    return found


def _answer_others(view: View, behind: list[tuple[str, str, Question]]) -> bool:
    """Whether the servers behind answer those that ask them for other names."""
    pairs = {(here, there) for here, there, _ in behind}
    answering = {(key[2], r.server) for key, rows in view.once(_passed_on).items() for r in rows if r.answer_ns is not None}
    return pairs <= answering


def _never(view: View) -> list[Finding]:
    silent = view.once(silent_resolvers)
    if not silent:
        return []
    waited = [each for s in silent for each in s.waited]
    longest = max(ns for ns, _ in waited)
    frames = [f for _, q in waited for f in q.frames + q.answer_frames]
    whom = most(s.address for s in silent)
    others = most(r for _, q in waited for r in q.resolvers if r not in {s.address for s in silent})
    queries = sum(s.queries for s in silent)
    text = (
        f"{whom} never answered a DNS query ({'one try' if queries == 1 else f'{queries:,} tries'}): {plural(len(waited), 'question')} waited up to "
        f"{seconds(longest)} until {others or 'another resolver'} was asked."
    )
    values = {
        "resolvers": [s.address for s in silent],
        "lookups": queries,
        "unanswered": queries,
        "questions": len(waited),
        "longest_s": longest / 1e9,
    }
    advice = f"Take {whom} out of resolv.conf (or out of the DHCP options), or make it answer: {_dig(waited[0][1], silent[0].address)}."
    return [finding(view, ID, "problem", text, frames, values, advice)]


def _in_pieces(view: View) -> dict[tuple[str, str], list[int]]:
    """From whom to whom datagrams came of which fragments are missing, and when they began."""
    found: dict[tuple[str, str], list[int]] = {}
    for (_, version, s_hi, s_lo, d_hi, d_lo, *_), datagram in view.side.capture.part.decoder.fragments.open.items():
        found.setdefault((ip_text(s_hi, s_lo, version), ip_text(d_hi, d_lo, version)), []).append(datagram.since_ns)
    return found


def _answered_in_pieces(view: View, q: Question) -> bool:
    """Whether a question was repeated and a piece of an answer came to each try but the last; a filter by ports leaves no other pieces, and nothing else."""
    if q.attempts < TRIES or not view.once(_in_pieces) or not view.once(holds_more):
        return False
    until = view.end_of(q.frames[0]) - PIECES_NS
    came = [ns for r in q.resolvers for ns in view.once(_in_pieces).get((r, q.client), ()) if q.first_ns <= ns <= until]
    return len(came) >= max(q.attempts - 1, TRIES)


def _elsewhere(view: View) -> list[Finding]:
    """Answers that came from another address than was asked, and that the client refused (ICMP port unreachable)."""
    talks = {(t.source, t.destination): t for t in view.conversations if PORT in (t.source[1], t.destination[1])}
    asked_by = grouped((t for t in talks.values() if t.destination[1] == PORT), lambda t: t.source)
    found: dict[tuple[str, str, str], list[Error]] = {}
    for (protocol, source, destination), errors in view.once(undelivered).items():
        if protocol != UDP or source[1] != PORT or (source, destination) not in talks or (destination, source) in talks:
            continue
        asked = [t.destination[0] for t in asked_by.get(destination, ()) if (t.destination, t.source) not in talks]
        refused = [e for e in errors if e.what == NO_PROGRAM and e.reporter == destination[0]]
        if asked and refused:
            found.setdefault((destination[0], asked[0], source[0]), []).extend(refused)
    if not found:
        return []
    every = [e for errors in found.values() for e in errors]
    clients, asked_of, answering = (most(key[k] for key in found) for k in range(3))
    text = f"Queries to {asked_of} were answered from {answering}, and {clients} rejected the answers ({plural(len(every), 'time')})."
    values = {"resolvers": sorted({key[1] for key in found}), "answered_from": sorted({key[2] for key in found}), "answers": len(every)}
    advice = f"Have the server answer from the address that was asked (it has several), or ask {answering}."
    return [finding(view, ID, "problem", text, [e.frame for e in every], values, advice)]


def _dig(q: Question, resolver: str | None = None) -> str:
    name = q.name if NAME.match(q.name) else "NAME"
    return f"dig @{resolver or q.resolvers[0]} {name}{'' if q.type == 'A' or not q.type.isalnum() else f' {q.type}'}"


def _queries(view: View, open_: set[tuple[str, str, str]], pending: set[tuple[str, str, str]]) -> tuple[int, int, int]:
    """Lookups (of the table) to the resolvers in question, less pending ones; those of open questions without an answer; pending ones."""
    t = view.side.capture.table("lookups")
    rows = list(t.tuples("qname", "qtype", "orig_ip", "resolver_ip", "answer_ns", "query_ns", "transport"))
    theirs = [r for r in rows if r[5] is not None and r[6] != "mdns"]
    silent = [r for r in theirs if r[4] is None and ((r[0] or "").lower(), r[1], r[2]) in open_]
    resolvers = {r[3] for r in silent}
    asked = [r for r in theirs if r[3] in resolvers]
    left = sum(r[4] is None and ((r[0] or "").lower(), r[1], r[2]) in pending for r in asked)
    return len(asked) - left, len(silent), left
