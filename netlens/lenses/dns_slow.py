"""Which names took long to resolve?

Asks: how long lookups took from the first query, repeats included, to the first answer; where a resolver library tried search suffixes first (RFC 1123
    6.1.4.3, resolv.conf(5): search, ndots), from the first of these on.
Applies: where queries and answers of DNS were captured.
Cannot see: whether the resolver, its upstream or the way was slow; what a program's own cache answered.
Normal: tens of ms, up to a second for what no cache has. RFC 8767 5 sets 1.8 s for an answer because clients begin to give up at about 2 s.
    Where every answer took more than 1 s at the first try, it is no cache that lacks a name.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from statistics import median

from netlens.lenses import Finding
from netlens.lenses._asked import Question, visible
from netlens.lenses._view import S, View, finding, most, seconds
from netlens.lenses.dns_failed import shorter
from netlens.lenses.dns_unanswered import silent_resolvers, unanswered
from netlens.text import plural

ID = "dns-slow"
GROUP = "names"
RANK = 50
SLOW_NS = 2 * S  #: clients begin to give up (RFC 8767 5)
GAVE_UP_NS = 5 * S  #: the time-out of resolver libraries: one is enough
LATE_NS = S  #: worth a look
USUAL_NS = S * 3 // 10  #: a median above this is felt with each page
SHARE, LEAST = 0.1, 3
NEXT_NS = S // 10  #: from an answer to the next name of a search


def look(view: View) -> list[Finding]:
    told = {id(q) for silent in view.once(silent_resolvers) for _, q in silent.waited}  # what they waited for is known
    searched = view.once(searches)
    tried = {id(q) for names in searched.values() for q in names}
    timed = [
        (q.answer_ns - (searched[id(q)][-1] if id(q) in searched else q).first_ns, q)
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
    grave |= all(q.attempts == 1 and (q.answer_ns or 0) - q.first_ns > LATE_NS for _, q in timed)  # no suffixes, and nothing was lost
    lost, grave_loss = view.once(unanswered)
    if grave_loss and {r for q in slow for r in q.resolvers} <= {r for q in lost for r in q.resolvers}:
        grave = False  # of one cause: what was lost and asked again with success took long
    if not late and middle <= USUAL_NS:
        return []
    shown = slow if grave and slow else late
    values = {"questions": len(timed), "slow": len(slow), "late": len(late), "median_ms": middle / 1e6, "longest_ms": longest / 1e6}
    if not shown:
        text = f"DNS answers take {seconds(middle)} (median of {plural(len(timed), 'question')})."
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
    text = f"{len(shown):,} of {plural(len(timed), 'DNS question')} took {took} ({whom}){which}."
    advice = "Time the resolver (dig @RESOLVER NAME); a first query that is lost costs the client's time-out, usually 5 s." if grave else ""
    if grave and len(suffixed) == len(shown):
        advice = (
            "Ask for full names with a dot at the end, or lower ndots and shorten the search list in resolv.conf; and time the resolver."
        )
    frames = [f for q in shown for each in (*searched.get(id(q), ()), q) for f in each.frames + each.answer_frames]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


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
