"""Which names took long to resolve?

Asks: how long lookups took from the first query, repeats included, to the first answer; where a resolver library tried search suffixes first (RFC 1123
    6.1.4.3, resolv.conf(5): search, ndots), from the first of these on; what such suffixes cost where no lookup took long; whether EDNS is dropped; whether
    queries for a name that is asked for all the time have to be sent again.
Applies: where queries and answers of DNS were captured.
Cannot see: whether the resolver, its upstream or the way was slow; what a program's own cache answered.
Normal: tens of ms, up to a second for what no cache has. RFC 8767 5 sets 1.8 s for an answer because clients begin to give up at about 2 s.
    Where every answer took more than 1 s at the first try, it is no cache that lacks a name. By default (ndots:1) a name with a dot is asked for as it is
    first; containers have ndots:5, which costs nothing where the resolver is near. People feel 0.1 s (Nielsen). A client that hears nothing to a query with
    EDNS asks again without (RFC 6891 6.2.2); who knows no EDNS says FORMERR (7), and is not silent.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from statistics import median
from typing import Any, NamedTuple

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._asked import PORT, ROUND_NS, SAME_NS, Question, visible
from netlens.lenses._between import beyond, lost_between
from netlens.lenses._datagrams import ways
from netlens.lenses._view import ALIKE, S, View, finding, graded, most, seconds
from netlens.lenses.dns_failed import shorter
from netlens.lenses.dns_unanswered import silent_resolvers, unanswered
from netlens.text import plural, printable

ID = "dns-slow"
GROUP = "names"
RANK = 50
SLOW_NS = 2 * S  #: clients begin to give up (RFC 8767 5)
GAVE_UP_NS = 5 * S  #: the time-out of resolver libraries: one is enough
LATE_NS = S  #: worth a look
USUAL_NS = S * 3 // 10  #: a median above this is felt with each page
SHARE, LEAST = 0.1, 3
AGAIN_SHARE = 0.01  #: of lookups that were sent again: so few are lost on many ways, by radio above all
NEXT_NS = S // 10  #: from an answer to the next name of a search
FELT_NS, IN_ALL_NS, SOME_NS = S // 10, S, S // 10  #: for suffixes in vain, typically; in all within a minute; and worth a word
MINUTE_NS = 60 * S
HEADER, OPT_BYTES = 12, 11  #: of a query, and of EDNS in it, at least (RFC 6891 6.1.2)
_PAIR = ("A", "AAAA")


class _Query(NamedTuple):
    """What is needed of a row of the table of lookups."""

    qname: str | None
    qtype: str
    orig_ip: str
    orig_port: int
    resolver_ip: str
    query_ns: int
    answer_ns: int
    attempts: int
    query_frame: int
    answer_frame: int
    transport: str


def look(view: View) -> list[Finding]:
    """Answers that took long, or else queries that had to be sent again among many of one name, or suffixes that did."""
    found, suffixed = _of(view), _suffixed(view)
    if any(f.severity == "problem" for f in suffixed) and not any(f.severity == "problem" for f in found):
        return suffixed  # that is what costs the time
    return found or _sent_again(view) or suffixed


def _sent_again(view: View) -> list[Finding]:
    """Queries for addresses that a client sent again from the same port after seconds, and that were answered then: where a name is asked for all the time,
    others of it were answered meanwhile.

    A timer sends them again, so each time after as long; not a computer that slept. Who asks for a name from one port all the time (a resolver from port 53, a
    device) may ask anew."""
    rows = [_Query(*row) for row in view.side.capture.table("lookups").tuples(*_Query._fields)]
    asked = [r for r in rows if r.query_ns is not None and r.answer_ns is not None and r.transport == "udp" and is_one_host(r.resolver_ip)]
    told = {
        frame for silent in view.once(silent_resolvers) for _, q in silent.waited for frame in q.frames
    }  # what they waited for is known
    waited = [
        r
        for r in asked
        if r.attempts > 1 and SLOW_NS < r.answer_ns - r.query_ns <= SAME_NS and r.query_frame not in told
        if r.qtype in _PAIR and r.qname is not None and not r.qname.lower().rstrip(".").endswith(".arpa") and r.orig_port != PORT
    ]
    if len(waited) < LEAST:
        return []
    times = Counter((r.orig_ip, r.orig_port, r.qname, r.qtype) for r in asked)
    waited = [r for r in waited if times[r.orig_ip, r.orig_port, r.qname, r.qtype] == 1]
    usual = median(r.answer_ns - r.query_ns for r in waited) if waited else 0
    waited = [r for r in waited if abs(r.answer_ns - r.query_ns - usual) <= ALIKE * usual]
    if len(waited) < max(LEAST, AGAIN_SHARE * len(asked)):
        return []
    prompt = {(r.orig_ip, r.orig_port, r.qname, r.qtype) for r in asked if r.attempts == 1}
    halves = all(any((r.orig_ip, r.orig_port, r.qname, other) in prompt for other in _PAIR if other != r.qtype) for r in waited)
    longest = max(r.answer_ns - r.query_ns for r in waited)
    text = (
        f"{len(waited):,} of {plural(len(asked), 'DNS lookup')} ({most(printable(r.qname or '') for r in waited)}) were answered only when they were sent "
        f"again, up to {seconds(longest)} later ({most(r.resolver_ip for r in waited)})"
        f"{'; each is one of a pair, A and AAAA from one port, of which the other was answered at once' if halves else ''}."
    )
    values = {"questions": len(asked), "slow": len(waited), "longest_ms": longest / 1e6}
    advice = (
        "NAT on the way may lose one of two queries that leave one port at the same time (connection tracking on Linux): ask one after the other "
        "(resolv.conf: options single-request-reopen, or use-vc), or use a cache on the node."
        if halves
        else "Queries or their answers are lost on the way to the resolver: capture at its side."
    )
    return [finding(view, ID, "problem", text, [f for r in waited for f in (r.query_frame, r.answer_frame)], values, advice)]


def _not_passed_on(view: View, shown: list[Question]) -> str:
    """A clause that says how many of the queries did not come from the VM to the host; empty where that is not known of each."""
    host = beyond(view, min(q.first_ns for q in shown))
    if host is None:
        return ""
    names = ("txid", "qname", "qtype", "orig_port", "transport", "attempts")
    there: dict[Any, list[int]] = {}
    for *key, attempts in host.side.capture.table("lookups").tuples(*names):
        there.setdefault(tuple(key), []).append(attempts)
    frames = {frame for q in shown for frame in q.frames}
    mine = [row for row in view.side.capture.table("lookups").tuples("query_frame", *names) if row[0] in frames]
    pairs = [(row[-1], there.get(tuple(row[1:-1]), [])) for row in mine]
    if not pairs or any(len(rows) != 1 for _, rows in pairs):
        return ""
    return lost_between(sum(max(asked - rows[0], 0) for asked, rows in pairs), "query was", "queries were")


def _of(view: View) -> list[Finding]:
    told = {id(q) for silent in view.once(silent_resolvers) for _, q in silent.waited}  # what they waited for is known
    searched = view.once(searches)
    tried = {id(q) for names in searched.values() for q in names}
    without = _went_on(view)
    timed = [
        (without.get(id(q), q.answer_ns) - (searched[id(q)][-1] if id(q) in searched else q).first_ns, q)
        for q in visible(view)
        if q.answer_ns is not None and q.answer_ns >= q.first_ns and id(q) not in told | tried
    ]
    if not timed:
        return []
    slow = [q for took, q in timed if took > SLOW_NS]
    late = [q for took, q in timed if took > LATE_NS]
    longest = max(took for took, _ in timed)
    middle = median(took for took, _ in timed)
    grave = bool(slow) and (len(slow) >= LEAST or len(slow) >= SHARE * len(timed) or longest > GAVE_UP_NS)
    grave |= all(
        q.attempts == 1 and without.get(id(q), _answered_ns(q)) - q.first_ns > LATE_NS for _, q in timed
    )  # no suffixes, and nothing was lost
    lost, grave_loss = view.once(unanswered)
    if grave_loss and {r for q in slow for r in q.resolvers} <= {r for q in lost for r in q.resolvers}:
        grave = False  # of one cause: what was lost and asked again with success took long
    if not late and middle <= USUAL_NS:
        return []
    shown = slow if grave and slow else late
    values = {"questions": len(timed), "slow": len(slow), "late": len(late), "median_ms": middle / 1e6, "longest_ms": longest / 1e6}
    if not shown:
        if any(each.severity == "problem" for each in _suffixed(view)):
            return []  # that is what takes so long
        times = sum(len(q.times) for _, q in timed)
        often = f", asked {times:,} times" if times > len(timed) else ""
        text = f"DNS answers take {seconds(middle)} (median of {plural(len(timed), 'question')}{often})."
        return [finding(view, ID, "warning", text, [q.frames[0] for _, q in timed], values)]
    over = seconds(LATE_NS if shown is late else SLOW_NS)
    whom = most(r for q in shown for r in q.resolvers)
    took = f"more than {over}, the longest {seconds(longest)}" if len(shown) > 1 else seconds(longest)
    suffixed = [q for q in shown if id(q) in searched]
    names = most(plural(len(searched[id(q)]), "search suffix", "search suffixes") for q in suffixed)
    whose = (
        "it was"
        if len(shown) == 1
        else "they were"
        if len(suffixed) == len(shown)
        else f"{len(suffixed):,} of them {'was' if len(suffixed) == 1 else 'were'}"
    )
    which = f"; {whose} asked with {names} first" if suffixed else ""
    dropped = _without_edns(view, shown)
    which += "; none of the queries with EDNS (OPT) got an answer, those without did" if dropped else ""
    which += _not_passed_on(view, shown)
    alone = [q for q in shown if id(q) in without]
    if alone:
        how_many = "" if len(alone) == len(shown) else f"for {len(alone):,} of them "
        which += f"; then the client went {how_many}to another address of the name, without an answer"
    text = f"{len(shown):,} of {plural(len(timed), 'DNS question')} took {took} ({whom}): {most(q.shown for q in shown)}{which}."
    advice = f"Time the resolver (dig @{shown[0].resolvers[0]} {printable(shown[0].name)})" if grave else ""
    if grave:
        advice += "; a first query that is lost costs the client's time-out, usually 5 s." if any(q.attempts > 1 for q in shown) else "."
    if grave and len(suffixed) == len(shown):
        advice = (
            "Ask for full names with a dot at the end, or lower ndots and shorten the search list in resolv.conf; and time the resolver."
        )
    if grave and len(alone) == len(shown):
        advice = (
            f"Have the server of the name answer each type at once, with no record where there is none (RFC 4074 4.1): dig @{shown[0].resolvers[0]} "
            f"{printable(shown[0].name)} {shown[0].type}."
        )
    if dropped:
        advice = f"Something on the way to {whom} drops queries with EDNS (RFC 6891 6.2.5): let them through there, or switch EDNS off (resolv.conf)."
    frames = [f for q in shown for each in (*searched.get(id(q), ()), q) for f in each.frames + each.answer_frames]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _went_on(view: View) -> dict[int, int]:
    """By the id of a question for one type, when its client first went to an address of that name which it had by another type, before an answer came. One
    that had gone there before may go by what it knew."""
    asked = visible(view)
    known: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for q in asked:
        if q.rcode == "NOERROR" and q.addresses:
            known[q.client, q.name].append(q)
    late = [q for q in asked if q.answer_ns is not None and q.answer_ns - q.first_ns > LATE_NS and (q.client, q.name) in known]
    if not late:
        return {}
    opened: dict[tuple[str, str], int] = {}
    sessions = (view.column(name) for name in ("orig_ip", "resp_ip", "start_ns"))
    talks = ((t.source[0], t.destination[0], t.first_ns) for t in view.conversations if PORT not in (t.source[1], t.destination[1]))
    for client, server, ns in (*zip(*sessions, strict=True), *talks):
        opened[client, server] = min(ns, opened.get((client, server), ns))
    found = {}
    for q in late:
        others = [
            (other, opened.get((q.client, address), 0))
            for other in known[q.client, q.name]
            if other.type != q.type
            for address in other.addresses
        ]
        times = [ns for other, ns in others if max(q.first_ns, _answered_ns(other)) <= ns < _answered_ns(q)]
        if times:
            found[id(q)] = min(times)
    return found


def _without_edns(view: View, slow: list[Question]) -> bool:
    """Whether each of several slow names was asked for with EDNS first, and was answered when it was asked for without, while no query with EDNS was answered
    at all. A query with it is longer than its name makes it."""
    sent = {t.first_frame: t for t in view.conversations if t.destination[1] == PORT}
    back = {t.first_frame: t for t in view.conversations if t.source[1] == PORT}
    way, late, in_vain = view.once(ways), {f for q in slow for f in q.frames}, 0
    for name, asked, answered in view.side.capture.table("lookups").tuples("qname", "query_frame", "answer_frame"):
        answer = back.get(answered)
        taken = way.get((answer.destination, answer.source)) if answer is not None else None
        first = sent.get(asked)
        if name is None or taken is None or first is None:
            continue
        plain = HEADER + len(name.rstrip(".")) + 2 + 4  # lengths of labels, the root, type and class (RFC 1035 4.1)
        if taken.bytes != plain * taken.datagrams:
            return False
        in_vain += asked in late and first is not taken and first.bytes >= (plain + OPT_BYTES) * first.datagrams
    return in_vain >= max(LEAST, len(slow))


class _Search(NamedTuple):
    """A name that was asked for with suffixes first: how many, and how long until it was asked for as it is."""

    suffixes: int
    took_ns: int
    frame: int
    until_ns: int


def _suffixed(view: View) -> list[Finding]:
    """Names that exist as they are, and were asked for with suffixes first, each time."""
    found = view.once(_searched)
    if len(found) < LEAST:
        return []
    typical, in_all = median(s.took_ns for s in found), sum(s.took_ns for s in found)
    if in_all < SOME_NS:
        return []
    n = round(median(s.suffixes for s in found))
    text = (
        f"{plural(len(found), 'DNS lookup')} asked for names with {plural(n, 'search suffix', 'search suffixes')} first, which do not exist (NXDOMAIN): that "
        f"took typically {seconds(typical)} before each name itself was asked for, {seconds(in_all)} in all."
    )
    values = {"lookups": len(found), "suffixes": n, "typical_ms": typical / 1e6, "in_all_s": in_all / 1e9}
    grave = typical >= FELT_NS and _in_a_minute(found) >= IN_ALL_NS
    advice = "Ask for full names with a dot at the end, or lower ndots and shorten the search list in resolv.conf (dnsConfig of a pod); or cache near by."
    return [graded(view, ID, grave, text, [s.frame for s in found], values, advice)]


def _in_a_minute(found: list[_Search]) -> int:
    """What searches took within a minute, at most: a few in an hour are felt by nobody."""
    found = sorted(found, key=lambda s: s.until_ns)
    most_, in_all, at = 0, 0, 0
    for s in found:
        in_all += s.took_ns
        while found[at].until_ns < s.until_ns - MINUTE_NS:
            in_all -= found[at].took_ns
            at += 1
        most_ = max(most_, in_all)
    return most_


def _searched(view: View) -> list[_Search]:
    """By client and name, of one type, each time that a name was asked for behind the same with suffixes, as soon as the last of these was answered."""
    asked = [q for q in visible(view) if q.answer_ns is not None]
    found: list[_Search] = []
    good = {(q.client, q.name): q for q in reversed(asked) if q.rcode == "NOERROR" and q.addresses}
    tried: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for q in asked:
        if q.rcode == "NXDOMAIN":
            for name in shorter(q.name):
                if "." in name and (q.client, name) in good and good[q.client, name].type == q.type:
                    tried[q.client, name].append(q)
    answers = dict(view.side.capture.table("lookups").tuples("query_frame", "answer_ns")) if tried else {}
    for key, names in tried.items():
        named = [(q, True) for q in names] + [(good[key], False)]
        times = [(ns, frame, suffix) for q, suffix in named for ns, frame in zip(q.times, q.frames, strict=True)]
        begin: int | None = None
        last, count, first, answered = 0, 0, 0, 0
        for ns, frame, suffix in sorted(times):
            if begin is None or ns - last >= ROUND_NS:
                begin, count, first, answered = None, 0, frame, 0
            if suffix:
                begin, count = begin if begin is not None else ns, count + 1
                answered = max(answered, answers.get(frame) or ns)
            elif begin is not None:
                if 0 <= ns - answered <= NEXT_NS:  # else another program asks, or one that had not waited
                    found.append(_Search(count, ns - begin, first, ns))
                begin, count = None, 0
            last = ns
    return found


def searches(view: View) -> dict[int, list[Question]]:
    """By the id of a question that was answered at last, those with a suffix behind its name that were tried before it, one at once after another."""
    asked = [q for q in visible(view) if q.answer_ns is not None]
    good = {q.name for q in asked if q.rcode == "NOERROR" and q.addresses}
    tried: dict[tuple[str, str, str], list[Question]] = defaultdict(list)  # by client, type, and the name without a suffix
    for q in sorted((q for q in asked if q.rcode == "NXDOMAIN"), key=_answered_ns):
        for name in shorter(q.name):
            if name in good:
                tried[q.client, q.type, name].append(q)
    found: dict[int, list[Question]] = {}
    for q in asked:
        before = tried.get((q.client, q.type, q.name), []) if q.rcode == "NOERROR" else []
        begin, at, chain = q.first_ns, len(before), []
        while before:
            at = bisect.bisect_right(before, begin, 0, at, key=_answered_ns) - 1
            if at < 0 or begin - _answered_ns(before[at]) > NEXT_NS:
                break
            chain.append(before[at])
            begin = before[at].first_ns
        if chain:
            found[id(q)] = chain
    return found


def _answered_ns(q: Question) -> int:
    return q.answer_ns or 0
