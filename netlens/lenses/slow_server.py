"""Which requests did a server answer late?

Asks: how long it took from the last byte of a request to the first of its answer, while the client did nothing and nothing was lost.
Applies: to HTTP/1.1 in the clear (and to what waits for 100 before its body), to the hello of a TLS server, to greetings (SSH, SMTP, FTP, POP3, IMAP, VNC,
    MySQL), and to logins (SSH, FTP, POP3, IMAP, MySQL, PostgreSQL, IRC); to requests over UDP that came again with their mark until they were answered (see
    udp-unanswered), or were given up by then; inside TLS to turns, which are judged more carefully: a wait there may be a push channel or a long poll, but
    not if clients give up after the same time, as they do with requests of HTTP/2 in clear; as a warning to answers of HTTP/1.1 in clear that come to
    clients which had given up after the same time each, however soon; to silences within answers that come event by event, to a POST (a
    warning: a tool may run meanwhile). To queries to databases in clear that wait for others, and commands of caches that are never slow (Redis, memcached;
    see _late_answers); that another query took long is a warning; of WebSockets in clear to pings (RFC 6455 5.5.2) behind which the server says nothing until
    the client leaves, but not in order.
Cannot see: what the server did meanwhile, or asked others, unless that is in the capture (then it is named, see _behind); of one capture, the share of the
    way. With a capture on both sides of a tunnel or relay its share is measured, and where it is most of the wait, the server is not blamed.
Normal: people notice 1 s and leave after 10 s (Nielsen); a model or a report may need longer. Protocols that wait for events (push, chat, subscriptions) are
    not looked at, nor is what a server answers without content after the same time again and again (RFC 6202 2: a long poll that timed out), what asks to be
    kept waiting by its address, what is open at the end of the capture on a connection on which an answer was waited for as long before (a warning), and what
    a model makes up within a minute. A wrong password is answered late on purpose, a peer of WireGuard that slept answers when it wakes, and a second factor
    needs a person: of SSH only what precedes the first password is looked at.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from netlens.addresses import is_one_host
from netlens.chains.budget import NETWORK
from netlens.chains.divided import RELAY, STALL, Divided
from netlens.columns import NEVER
from netlens.lenses import Finding, Severity, _databases
from netlens.lenses._behind import Behind, answers_each, behind, named
from netlens.lenses._datagrams import PATIENT
from netlens.lenses._given_up import GivenUp, answering, cancelled, cancelled_beside, given_up
from netlens.lenses._in_line import QUICK_NS, Turn, in_line
from netlens.lenses._late_answers import late_commands, late_statements
from netlens.lenses._logins import HeldUp, held_up
from netlens.lenses._lost import never_arrived
from netlens.lenses._repeats import stalled, with_repeats
from netlens.lenses._requests import NOTICED_NS, Asked, asked, budget_of, relayed
from netlens.lenses._said import UDP, End, errors
from netlens.lenses._services import Silence, silences, without_beats
from netlens.lenses._view import SEAM_NS, S, View, finding, graded, grouped, most, seconds, up_to, views
from netlens.lenses.reset import greets
from netlens.parsers.chunks import Chunked
from netlens.parsers.icmp import PORT as NO_PROGRAM
from netlens.parsers.icmp import Error
from netlens.parsers.udp_requests import ATTEMPT_NS, Request
from netlens.text import endpoint, plural

ID = "slow-server"
GROUP = "time"
RANK = 52
LONG_NS = 5 * S  #: once is enough
LATE_NS = 3 * S  #: twice, or a tenth of all
STEADY_NS, STEADY = 2 * S, 3  #: of each request for one place, and so many of them: nobody ever gets that sooner
TIMES, SHARE = 2, 0.1
MADE_UP_NS = 60 * S  #: a model's answer that is sent as a whole takes so long; most clients wait for some minutes
TOLD_SHARE, MOST_SHARE = 0.1, 0.5  #: of the longest wait, from which on a relay's share is told, and is the reason
LOOK = (
    "The requests were acknowledged at once, so the time was spent at the server or behind it: look at its log. A proxy or tunnel that acknowledges for "
    "the server looks the same, and so does an answer that was lost on the way here: if so, capture behind it as well."
)
GAVE_UP = (
    "The server had the requests, and did not answer in the time that the client allows (its timeout): look at the server's log; what a model works out "
    "may need longer. A proxy or tunnel that acknowledges for the server looks the same: capture behind it as well."
)
GREET = "The server is busy, waits for something itself (a lookup, a backend), or pauses on purpose (mail servers do): look at its log."
LOGIN = (
    "The server waited for somebody else, most often for the name of the client's address (UseDNS, reverse lookups), for its ident (port 113), or for a "
    "directory: see that these answer, or switch them off."
)
UNHEARD = "Requests or answers are lost, or the server is slow or was not there yet: look at its log, and capture at its side."
LEFT = "The server is slow, or waits for something itself (a directory, a script): look at its log, or let the client wait longer."
GO_ON = (
    "Have the server, or the proxy before it, answer Expect: 100-continue (RFC 9110 10.1.1), or the client not send it (curl -H 'Expect:')."
)
LINE = "Find what they waited for: a pool with too few connections to the database (its size, and what holds them), or a lock that a long one held."
HELD = "End transactions as soon as their work is done: find the program that left one open (idle in transaction), or have the server end such ones."
BLOCKED = "Redis serves nobody while one command runs: its SLOWLOG names it (KEYS, a script, a large key, SAVE); else look at the machine (swap, a fork)."
AT_ONCE_NS = S // 10  #: who leaves sooner wanted no answer: health checks, what only tells
LEAST_NS = S // 1000  #: that is worth telling apart
ALIKE = 0.02  #: of each other: waits that a timer ends
DEADLINES = 3
POLLED = 10  #: who goes on after so many has polls that it ends itself
PATIENCE, PATIENCE_NS = 0.05, S // 5  #: the same for that of a client, whichever is more
POLLS, SAME_BYTES = 3, 8  #: and by how many they differ, as a number in them may have a digit more
GREETING_NS = 10 * S  #: mail servers pause on purpose, postscreen for 6 s (postscreen_greet_wait), others for 5 s
TRIES = 3  #: of a request over UDP
_TOLD = ("DTLS",)  #: by slow-connect
#: Logins that wait for a person with a second factor: RADIUS' Access-Request (RFC 2865 4.1), and IKE behind its first exchange (RFC 7296 2.16, 2.23)
_SECOND_FACTOR = (("RADIUS", 1645), ("RADIUS", 1812), ("IKE", 4500))
GO_ON_NS = S * 9 // 10  #: for a client to send its body without a word; curl waits 1 s, .NET 0.35 s, which few would notice
GO_ON_TIMES = 3
STREAMED, STOPS = 10, 10  #: events that came before a silence, and times as long as nine in ten of the pauses between them it lasts
NO_FRAME = 1 << 62
STOPPED = (
    "The server, or the model behind it, made nothing meanwhile: look at its status and load. A proxy that gathers what it passes on (proxy_buffering of "
    "nginx) looks the same: capture behind it as well."
)
UNANSWERED_NS = 10 * S  #: without any answer: what the end of the capture may owe


def look(view: View) -> list[Finding]:
    """Requests, what comes before them (hellos of TLS, greetings and logins), and services that fall silent."""
    of_http = [*_of(view), *_given_up(view), *_cancelled(view), *_not_told(view), *_too_late(view)]
    return [
        *of_http,
        *_stopped(view),
        *_first_words(view),
        *_logins(view),
        *_late_datagrams(view),
        *_silent(view),
        *_without_beats(view),
        *_in_line(view),
        *_late_commands(view),
    ]


class _Wait(NamedTuple):
    """took_ns : to the answer, where that is another wait."""

    session: int
    wait_ns: int
    frames: list[int]
    took_ns: int = 0


class _Waits:
    """What a finding says of some waits: how long at most, for whom, and the frames, the longest first."""

    def __init__(self, view: View, waits: Sequence[_Wait | Asked | GivenUp | HeldUp | Silence | Turn]) -> None:
        self.number, self.longest_ns = len(waits), max(each.wait_ns for each in waits)
        self.whom = most(view.server(each.session) for each in waits)
        self.how_long = f"{up_to(waits)}{seconds(self.longest_ns)}"
        self.frames = [frame for each in sorted(waits, key=lambda each: -each.wait_ns) for frame in each.frames]

    def values(self, unanswered: int | None = None, **of: int) -> dict[str, Any]:
        """of : how many there are, waits or not, by what they are."""
        silent = {} if unanswered is None else {"unanswered": unanswered}
        return {**of, "slow": self.number, **silent, "longest_s": self.longest_ns / 1e9}


def _of(view: View) -> list[Finding]:
    """Requests of HTTP in clear, and turns inside TLS."""
    remarkable, others, others_http = view.once(asked)
    given_up = [a for a in remarkable if a.http and a.given_up and a.wait_ns >= NOTICED_NS]
    gone = {id(a) for a in given_up} if len(given_up) >= TIMES else set()  # one may be a person who does not want to wait
    never_came = {(k.session, frame) for k in view.once(never_arrived) for frame in k.frames}  # stalled says it
    remarkable = [a for a in remarkable if not any((a.session, frame) in never_came for frame in a.frames)]
    all_ = [a for a in remarkable if a.answered or a.wait_ns >= UNANSWERED_NS or id(a) in gone]
    clear = [a for a in all_ if a.http]
    may_wait = _may_wait(view, clear)
    clear = _not_lost(view, clear)
    pending = {id(a) for a in clear if not (a.answered or a.given_up) and _waited_before(view, a)}
    due = [a for a in clear if id(a) not in may_wait | pending]
    causes = behind(view, [a for a in due if a.wait_ns >= STEADY_NS])
    steady = _steady(view, due) | _held_up(view, due, causes)
    late = [a for a in due if a.wait_ns >= LATE_NS or id(a) in gone | steady]
    of_clear = len(clear) + others_http
    long = any(a.wait_ns >= LONG_NS for a in due)
    grave = long or len(late) >= TIMES or (bool(late) and len(late) >= SHARE * of_clear)
    hidden = [a for a in all_ if not a.http and a.answered and a.wait_ns >= LONG_NS]
    some = [a for a in clear if a.wait_ns >= NOTICED_NS]
    shown = late if grave else (late or some) + hidden
    if not grave and {id(a) for a in shown} <= may_wait:
        return []
    polled = view.once(_polled)
    if hidden and not grave:
        as_polls = [a for a in hidden if a.session in polled]
        if len(as_polls) == len(shown):
            told = _first_bytes(view, shown, "request", len(all_) + others)
            text = f"{told.text[:-1]}; the same again and again, ended by a timer while others are answered at once, as long polls are."
            return [replace(told, severity="note", text=text, advice="")]
        shown = [a for a in shown if a.session not in polled]
    return [
        _first_bytes(view, shown, "HTTP request", of_clear, grave, causes)
        if grave or not hidden
        else _first_bytes(view, shown, "request", len(all_) + others)
    ]


def _first_bytes(
    view: View, shown: list[Asked], kind: str, of: int, grave: bool = False, causes: dict[int, Behind] | None = None
) -> Finding:
    slowest = max(shown, key=lambda a: a.wait_ns)
    longest = slowest.wait_ns
    in_relay, relay = relayed(budget_of(view, slowest)) if len(view.traffic.sides) > 1 else (0, "")
    share = f", {seconds(in_relay)} of it in {relay}" if in_relay >= TOLD_SHARE * longest else ""
    silent = sum(not a.answered for a in shown)
    left = sum(a.given_up for a in shown)
    end = f"; {silent:,} got none{' before the client gave up' if left == silent else ''}" if silent else ""
    waits = _Waits(view, shown)
    held = [(a, causes[id(a)]) for a in shown if causes and id(a) in causes]
    held = held if 2 * len(held) > len(shown) else []  # else chance
    whose, whom = most(view.address(a.session, False) for a, _ in held), named(view, [w for _, w in held])
    if held:
        longest_behind = seconds(max(w.wait_ns for _, w in held))
        end += f"; {whose} itself waited {up_to(held)}{longest_behind} for {whom} meanwhile"
        end += f", in {len(held):,} of them" if len(held) < len(shown) else ""
    text = f"{len(shown):,} of {plural(of, kind)}, to {waits.whom}, waited {waits.how_long} for the answer's first byte{share}{end}."
    values = waits.values(requests=of, unanswered=silent) | ({"relay": relay, "in_relay_s": in_relay / 1e9} if share else {})
    advice = LOOK
    if in_relay >= MOST_SHARE * longest:
        advice = f"Most of the wait was between the two captures ({relay}), not at the server: look at what carries the traffic there."
    elif held:
        advice = (
            f"Most likely {whose} could not answer before {whom} did: look there (its slow queries, its log, its load), and for what {whose} itself holds "
            "there (locks of its own transactions)."
        )
        values["behind"] = sorted({endpoint(*view.ends(w.session)[2:]) for _, w in held})
    frames = [
        f
        for a in sorted(shown, key=lambda a: -a.wait_ns)
        for f in (*a.frames[:2], *(causes[id(a)].frames if held and causes and id(a) in causes else ()))
    ]
    return graded(view, ID, grave, text, frames, values, advice)


def _held_up(view: View, due: list[Asked], causes: dict[int, Behind]) -> set[int]:
    """Ids of requests to a server (for what is not worked out for a client, as by POST) none of which it answers sooner, as it waits each time for another one
    that answers all that it is asked."""
    if len(causes) < STEADY:
        return set()
    of = Counter(view.ends(k)[2:] for k in view.side.capture.table("exchanges")["session_id"].tolist())
    making = view.side.capture.making
    due = [a for a in due if id(a) in causes and a.frames[0] not in making and answers_each(view, causes[id(a)])]
    slow = grouped(due, lambda a: view.ends(a.session)[2:])
    return {id(a) for server, group in slow.items() if len(group) == of[server] >= STEADY for a in group}


def _may_wait(view: View, clear: list[Asked]) -> set[int]:
    """Ids of requests that may take their time: polls, and what a model makes up."""
    kept_waiting, making_up = view.side.capture.polls, view.side.capture.making_up
    made_up = (a for a in clear if a.answered and a.wait_ns < MADE_UP_NS and a.frames[0] in making_up)
    return {id(a) for a in (*_polls(clear), *made_up)} | {id(a) for a in clear if a.frames[0] in kept_waiting}


def _waited_before(view: View, request: Asked) -> bool:
    """Whether an answer that came before on the same connection had been waited for as long: what the end of the capture leaves open then, may be answered as
    well. Of an answer whose request is not in the capture, from its begin on."""
    seg = view.segments(request.session)
    asked_ns: int | None = None if view.column("saw_syn")[request.session] else view.side.bounds_ns[0]
    for i in range(bisect.bisect_left(seg.frame, request.frames[0])):
        if not seg.length[i] or not seg.fresh[i]:
            continue
        if seg.orig[i]:
            asked_ns = seg.ts[i]
        elif asked_ns is not None:
            if seg.ts[i] - asked_ns >= request.wait_ns:
                return True
            asked_ns = None
    return False


def _not_lost(view: View, clear: list[Asked]) -> list[Asked]:
    """Without those of which the other capture shows that they were lost on the way, which stalled and packet-loss tell."""
    if len(view.traffic.sides) < 2 or not any(other.once(stalled) for other in views(view.traffic)):
        return clear
    return [a for a in clear if a.wait_ns < NOTICED_NS or _stood(budget_of(view, a)) < MOST_SHARE * a.wait_ns]


def _given_up(view: View) -> list[Finding]:
    """Requests inside TLS whose client gave up, again and again after the same time."""
    found = _left_waiting(view)
    again = _alike(view, found, TIMES)
    shown = again or [g for g in found if g.wait_ns >= UNANSWERED_NS]
    if not shown:
        return []
    n, waits = len(shown), _Waits(view, shown)
    after = f"{seconds(waits.longest_ns)} each time" if len({round(g.wait_ns / S) for g in again}) == 1 else waits.how_long
    text = f"{plural(n, 'request')} inside TLS to {waits.whom} got no answer until the client gave up after {after}."
    grave = bool(again) and n <= POLLED and not answering(view, {view.service(g.session) for g in again})
    return [graded(view, ID, grave, text, waits.frames, waits.values(requests=n, unanswered=n), GAVE_UP)]


def _too_late(view: View) -> list[Finding]:
    """Requests of HTTP in clear whose client gave up sooner than a person would, each time after the same time from its begin on: its timeout. The answers
    came all the same, and were reset. Who leaves a page, types on, or took another's answer leaves at any time."""
    remarkable, _, others_http = view.once(asked)
    http = [a for a in remarkable if a.http]
    shown = [a for a in http if a.given_up and a.status is not None and a.wait_ns < NOTICED_NS]
    if len(shown) < TIMES or min(a.wait_ns for a in shown) < AT_ONCE_NS:
        return []
    budgets = [budget_of(view, a) for a in shown]
    took = [b.end_ns - b.begin_ns for b in budgets if b is not None]
    if len(took) < len(shown) or max(took) > min(took) * (1 + ALIKE):
        return []
    late = [_since(view, a) for a in shown]
    came = " to ".join(dict.fromkeys((seconds(min(late)), seconds(max(late)))))
    waits, of = _Waits(view, shown), len(http) + others_http
    text = (
        f"{len(shown):,} of {plural(of, 'HTTP request')}, to {waits.whom}, were given up by the client after {seconds(max(took))} each time (its timeout); "
        f"the answers came {came} after the requests, and were reset."
    )
    frames = [frame for a in shown for frame in a.frames[:2]]
    return [graded(view, ID, False, text, frames, waits.values(requests=of, unanswered=len(shown)), LOOK)]


def _since(view: View, request: Asked) -> int:
    """From the last byte of a request to the first of an answer that came too late (ns)."""
    seg = view.segments(request.session)
    sent = [i for i in range(len(seg)) if seg.orig[i] and seg.length[i] and request.frames[0] <= seg.frame[i] < request.frames[1]]
    came = bisect.bisect_left(seg.frame, request.frames[1])
    return seg.ts[min(came, len(seg) - 1)] - seg.ts[sent[-1]] if sent else 0


def _alike(view: View, found: list[GivenUp], times: int) -> list[GivenUp]:
    """Those of which so many of one client waited about equally long."""
    waits = {service: sorted(g.wait_ns for g in group) for service, group in grouped(found, lambda g: view.service(g.session)).items()}

    def as_long(g: GivenUp) -> int:
        near, of = max(int(g.wait_ns * PATIENCE), PATIENCE_NS), waits[view.service(g.session)]
        return bisect.bisect_right(of, g.wait_ns + near) - bisect.bisect_left(of, g.wait_ns - near)

    return [g for g in found if as_long(g) >= times]


def _cancelled(view: View) -> list[Finding]:
    """Requests of HTTP/2 in clear that clients cancelled after the same time."""
    all_ = _alike(view, view.once(cancelled), DEADLINES)
    shown = all_ or _alike(view, cancelled_beside(view), DEADLINES)
    if not shown:
        return []
    n, waits = len(shown), _Waits(view, shown)
    of = sum(view.side.capture.grpc[k].requests for k in {g.session for g in shown})
    text = (
        f"{n:,} of {plural(of, 'HTTP/2 request')} to {waits.whom} got no answer until the client cancelled them after {waits.how_long} "
        f"(a deadline of gRPC, or a timeout){'' if all_ else '; those of other methods were answered'}."
    )
    return [graded(view, ID, all_, text, [f for g in shown for f in g.frames], waits.values(requests=of, unanswered=n), LOOK)]


def _steady(view: View, slow: list[Asked]) -> set[int]:
    """Ids of requests for a page or file (not of what is worked out for a client, as by POST) that each took so long, whoever asked."""
    places, making = view.side.capture.asked, view.side.capture.making
    times = Counter(place for frame, place in places.items() if frame not in making)
    long = (a for a in slow if a.answered and a.wait_ns >= STEADY_NS and a.frames[0] in places and a.frames[0] not in making)
    by_place = grouped(long, lambda a: places[a.frames[0]])
    return {id(a) for place, group in by_place.items() if len(group) == times[place] >= STEADY for a in group}


def _stood(budget: Divided | None) -> int:
    """How long a request stood still, or was on a way without a relay, in ns."""
    if budget is None:
        return 0
    return budget.ns(STALL) + sum(budget.ns(RELAY, k) for k, relay in enumerate(budget.relays) if relay == NETWORK)


def _in_a_loop(view: View) -> dict[int, list[int]]:
    """Sessions of TLS with requests of one length, none of them answered soon, and the next at once behind each answer, with the waits (ns)."""
    x, tls = view.side.capture.table("exchanges"), view.sessions["protocol"] == "tls"
    session, begun, said, ended, sent = x["session_id"], x["start_ns"], x.ints("response_ns", -1), x.ints("end_ns", -1), x["up_bytes"]
    chosen = tls & (np.bincount(session, minlength=len(tls)) >= POLLS)
    chosen[session[(said >= 0) & (said - begun < LATE_NS)]] = False
    rows = np.flatnonzero(chosen[session])
    rows = rows[np.argsort(session[rows], kind="stable")]
    found: dict[int, list[int]] = {}
    for of in np.split(rows, np.flatnonzero(np.diff(session[rows])) + 1) if len(rows) else ():
        apart, took = begun[of[1:]] - ended[of[:-1]], (said[of] - begun[of])[said[of] >= 0]
        if np.ptp(sent[of]) <= SAME_BYTES and len(took) and ((apart >= 0) & (apart <= AT_ONCE_NS) & (said[of[:-1]] >= 0)).all():
            found[int(session[of[0]])] = took.tolist()
    return found


def _polled(view: View) -> dict[int, int]:
    """Those of a loop that are long polls (RFC 6202 2), with the longest wait of all to that server (ns): a timer of the server ends some of them, and it
    answers others soon. A server that is slow each time to a program that asks the same again does not show both."""
    x, protocol = view.side.capture.table("exchanges"), view.column("protocol")
    loops = grouped(view.once(_in_a_loop), view.service)
    if not loops:
        return {}
    soon = (x.ints("response_ns", NEVER) < x["start_ns"] + NOTICED_NS) & (x.ints("response_ns", -1) >= 0)
    quick = {view.service(k) for k in set(x["session_id"][soon].tolist()) if protocol[k] == "tls"}
    polled: dict[int, int] = {}
    for service, sessions in loops.items():
        waits = [wait for k in sessions for wait in view.once(_in_a_loop)[k]]
        if service in quick and sum(wait >= max(waits) * (1 - ALIKE) for wait in waits) >= POLLS:
            polled |= dict.fromkeys(sessions, max(waits))
    return polled


def _left_waiting(view: View) -> list[GivenUp]:
    """Requests inside TLS that clients gave up: of a loop, on any port, what waited clearly longer than all that was answered, where no poll is."""
    polled, loops = view.once(_polled), view.once(_in_a_loop)

    def longer(wait_ns: int, than_ns: int) -> bool:
        return wait_ns > than_ns + max(int(than_ns * PATIENCE), PATIENCE_NS)

    ended = [a for a in view.once(asked).remarkable if not a.http and a.given_up and a.session in loops]
    of_loops = [GivenUp(a.session, a.wait_ns, (a.frames[0], a.frames[-1])) for a in ended if longer(a.wait_ns, max(loops[a.session]))]
    return sorted({g for g in [*view.once(given_up), *of_loops] if g.session not in polled or longer(g.wait_ns, polled[g.session])})


def _polls(clear: list[Asked]) -> list[Asked]:
    """Requests that a server answered without content, after (nearly) the same time each."""
    empty = [a for a in clear if a.status in (204, 304) and a.wait_ns >= NOTICED_NS]
    waits = sorted(a.wait_ns for a in empty)
    return [
        a
        for a in empty
        if bisect.bisect_right(waits, a.wait_ns * (1 + ALIKE)) - bisect.bisect_left(waits, a.wait_ns * (1 - ALIKE)) >= POLLS
    ]


def _first_words(view: View) -> list[Finding]:
    """Servers that were slow to say hello (TLS) or to greet."""
    s, x = view.sessions, view.side.capture.table("hellos")
    asked_ns = dict(x.tuples("session_id", "time_ns"))
    lossy = view.once(with_repeats) | {each.session for each in view.once(never_arrived)}
    first, their_first = view.column("orig_first_payload_ns"), view.column("resp_first_payload_ns")
    hellos: list[tuple[int, int]] = []
    greetings: list[tuple[int, int]] = []
    of_databases: list[tuple[int, int]] = []
    mysql, missing = _databases.greets(view.first_replies), s["resp_missing_bytes"]
    for k in view.whole:
        if k in view.halves or k in lossy or their_first[k] is None or missing[k]:
            continue
        if k in asked_ns:
            hellos.append((k, their_first[k] - asked_ns[k]))
        elif (
            (mysql[k] or greets(int(view.first_replies[k])))
            and (first[k] is None or first[k] > their_first[k])
            and s["handshake_ms"][k] > 0
        ):
            took = their_first[k] - int(s["start_ns"][k]) - int(s["handshake_ms"][k] * 1e6)
            (of_databases if mysql[k] else greetings).append((k, took))
    out = []
    words = ((hellos, "TLS handshake", "hello"), (greetings, "connection", "greeting"), (of_databases, "connection", "greeting"))
    for all_, what, of in words:
        late = [_Wait(k, ns, [int(s["first_frame"][k])]) for k, ns in all_ if LATE_NS <= ns < SEAM_NS]
        if not late:
            continue
        waits = _Waits(view, late)
        grave = waits.longest_ns >= LONG_NS or len(late) >= TIMES or len(late) >= SHARE * len(all_)
        if all_ is greetings:
            grave = waits.longest_ns >= GREETING_NS
        text = f"{len(late):,} of {plural(len(all_), what)} waited {waits.how_long} for the server's {of} ({waits.whom})."
        frames = [frame for each in late for frame in each.frames]
        out.append(graded(view, ID, grave, text, frames, waits.values(connections=len(all_)), LOGIN if all_ is of_databases else GREET))
    return out


def _logins(view: View) -> list[Finding]:
    """Logins that a server held up."""
    late = view.once(held_up)
    if not late:
        return []
    waits, all_ = _Waits(view, late), _connections(view, late)
    protocols = sorted({each.protocol for each in late})
    text = f"{len(late):,} of {plural(all_, 'connection')} to {waits.whom} waited {waits.how_long} for the server in the login ({', '.join(protocols)})."
    return [finding(view, ID, "problem", text, waits.frames, waits.values(connections=all_) | {"protocols": protocols}, LOGIN)]


def _connections(view: View, waits: Sequence[HeldUp | Silence]) -> int:
    """How many there are to the servers that were waited for."""
    servers = {view.ends(each.session)[2:] for each in waits}
    return sum(view.ends(k)[2:] in servers for k in view.whole)


def _late_datagrams(view: View) -> list[Finding]:
    """Requests over UDP that were answered when they had come several times, one at a time: who asks many side by side loses some; and when their clients had
    given them up, as these say of the answer (port unreachable)."""
    requests = [r for r in view.side.capture.requests if r.protocol not in _TOLD and is_one_host(r.server[0])]
    left = [r for r in requests if LATE_NS <= r.answer_ns - r.first_ns < ATTEMPT_NS and _is_refused(view, r)]
    left = left if len(left) >= TIMES or len(left) >= SHARE * len(requests) else []  # who asks often does so again
    monitored = [r for r in requests if r.protocol == "SNMP"]
    requests = [r for r in requests if r.protocol not in PATIENT or left]
    late = [
        r
        for r in requests
        if r.protocol not in PATIENT
        and r.tries >= TRIES
        and LONG_NS <= r.answer_ns - r.first_ns < ATTEMPT_NS
        and r.answer_ns - r.last_ns < LONG_NS
    ]
    late = left or late
    if not late:
        requests, late = monitored, _always_late(monitored)
    if not late:
        return []
    grave = left or [r for r in late if r.protocol not in ("WireGuard", *PATIENT) and (r.protocol, r.server[1]) not in _SECOND_FACTOR]
    late = grave or late
    longest, tries = max(r.answer_ns - r.first_ns for r in late), max(r.tries for r in late)
    protocols = sorted({r.protocol for r in late})
    end = ", after the client had given up" if left else ""
    text = (
        f"{len(late):,} of {plural(len(requests), 'request')} over UDP ({', '.join(protocols)}) got an answer only after {up_to(late)}"
        f"{plural(tries, 'try', 'tries')} and {seconds(longest)}{end}: {most(endpoint(*r.server) for r in late)}."
    )
    values = {"requests": len(requests), "slow": len(late), "longest_s": longest / 1e9, "tries": tries, "protocols": protocols}
    frames = [f for r in late for f in (*r.frames[: r.tries], r.answer_frame)]
    return [graded(view, ID, grave, text, frames, values, LEFT if left else UNHEARD)]


def _always_late(requests: list[Request]) -> list[Request]:
    """Requests of monitors to servers each answer of which came only when they had been asked again: who gives up after the first try gets none."""
    by_server = grouped((r for r in requests if r.answer_ns), lambda r: (r.client[0], r.server))
    slow = (rs for rs in by_server.values() if len(rs) >= TRIES and all(r.tries > 1 and r.answer_ns - r.first_ns >= S for r in rs))
    return [r for rs in slow for r in rs]


def _is_refused(view: View, r: Request) -> bool:
    """Whether a client says of an answer that it is not there any more."""
    return any(e.ts >= r.answer_ns for e in view.once(_closed).get((r.server, r.client), ()))


def _closed(view: View) -> dict[tuple[End, End], list[Error]]:
    """Errors that say that a port is closed, whatever its number, by source and destination of the datagram that came to it."""
    return grouped((e for e in view.once(errors) if e.protocol == UDP and e.what == NO_PROGRAM), lambda e: (e.source, e.destination))


def _silent(view: View) -> list[Finding]:
    """Servers of other protocols that acknowledged a message and never answered it."""
    all_of = [] if view.one_sided else view.once(silences)
    if not all_of:
        return []
    sure = [each for each in all_of if not each.doubtful]
    found = sure or all_of
    waits, all_ = _Waits(view, found), _connections(view, found)
    end = " before the client gave up" if all(each.given_up for each in found) else ""
    end += "" if sure else "; what was sent last may not want one yet"
    text = (
        f"{len(found):,} of {plural(all_, 'connection')} to {waits.whom} ({', '.join(sorted({each.protocol for each in found}))}) "
        f"waited {seconds(waits.longest_ns)} for an answer and got none{end}."
    )
    return [graded(view, ID, sure, text, waits.frames, waits.values(connections=all_, unanswered=len(found)), LOOK)]


def _without_beats(view: View) -> list[Finding]:
    """Servers of AMQP that fall silent, heartbeats included."""
    found = [] if view.one_sided else view.once(without_beats)
    if not found:
        return []
    waits = _Waits(view, found)
    text = f"{plural(len(found), 'connection')} to {waits.whom} (AMQP) heard nothing for {waits.how_long}, not even heartbeats, while the client sent its own."
    return [finding(view, ID, "problem", text, waits.frames, waits.values(connections=len(found)), LOOK)]


def _in_line(view: View) -> list[Finding]:
    """Queries to databases that waited for those of others, or for transactions that stood idle."""
    found, of = in_line(view)
    held = [(turn, before) for turn, before in found if before.idle and turn.wait_ns >= LATE_NS]
    if len(found) < TIMES and not held:
        return _late_statements(view, set())
    shown = [turn for turn, _ in held or found]
    waits = _Waits(view, shown)
    # once is a burst, as when a program starts, or a lock that is held on purpose
    often = all(max(times) - min(times) >= LATE_NS for times in ([t.asked_ns for t in shown], [t.answered_ns for t in shown]))
    then = "a transaction of another connection ended that had stood idle" if held else "one of another connection was"
    text = (
        f"{len(shown):,} of {plural(len(of), 'query', 'queries')} to {waits.whom} waited in line {waits.how_long}: each was answered as soon as {then}, "
        f"and the same takes {seconds(QUICK_NS)} at most at other times."
    )
    frames = [frame for pair in sorted(held or found, key=lambda pair: -pair[0].wait_ns) for each in pair for frame in each.frames]
    severity: Severity = "problem" if held or (waits.longest_ns >= LATE_NS and often) else "warning"
    rest = _late_statements(view, {turn.frames for pair in found for turn in pair})
    return [finding(view, ID, severity, text, frames, waits.values(requests=len(of)) | {"held": len(held)}, HELD if held else LINE), *rest]


def _late_statements(view: View, told: set[tuple[int, int]]) -> list[Finding]:
    """Statements that a database answered late; whether they are much work nobody knows.  told : frames of those that waited in line."""
    late, of = late_statements(view, told)
    if not late:
        return []
    waits = _Waits(view, late)
    text = f"{len(late):,} of {plural(len(of), 'query', 'queries')} to {waits.whom} waited {waits.how_long} for the answer's first byte"
    others = [turn.wait_ns for turn in of if turn.wait_ns < LATE_NS]
    text += f"; most others within {seconds(max(median(others), LEAST_NS))}."
    return [finding(view, ID, "warning", text, waits.frames, waits.values(requests=len(of)))]


def _late_commands(view: View) -> list[Finding]:
    """Commands of caches that look something up in memory, and were answered late."""
    out = []
    for late in late_commands(view):
        waits = _Waits(view, late.turns)
        text = f"{waits.number:,} of {plural(late.of, 'command')} to {waits.whom} ({late.protocol}) waited {waits.how_long} for the answer"
        text += ", and others until the same moment: it does one command at a time, and one took that long." if late.together else "."
        out.append(graded(view, ID, late.grave, text, waits.frames, waits.values(requests=late.of), BLOCKED if late.together else LOOK))
    return out


def _not_told(view: View) -> list[Finding]:
    """Requests whose client waited for 100 (Continue) before it sent the body, and heard nothing (RFC 9110 10.1.1)."""
    expecting = {} if view.one_sided else view.side.capture.expecting
    kept, missing = set(view.in_one), view.missing_bytes
    lossy = view.once(with_repeats)
    usable = [(k, frame) for frame, k in expecting.items() if k in kept and k not in lossy and not missing[k]]
    all_ = [waited for k, frame in usable if (waited := _waited(view, k, frame)) is not None]
    late = [each for each in all_ if each.wait_ns >= GO_ON_NS]
    if not late or len(late) * 2 < len(all_):
        return []
    waits = _Waits(view, late)
    felt = sum(each.wait_ns >= SHARE * each.took_ns for each in late)  # not beside a body that takes a minute
    text = (
        f"{len(late):,} of {plural(len(all_), 'HTTP request')} with a body waited {waits.how_long} for permission to go on (100 Continue), which {waits.whom} "
        "did not send."
    )
    severity: Severity = "problem" if felt >= GO_ON_TIMES else "warning"
    return [finding(view, ID, severity, text, [f for each in late for f in each.frames], waits.values(requests=len(all_)), GO_ON)]


def _stopped(view: View) -> list[Finding]:
    """Answers that come event by event, to a POST, as of a language model, and stop for seconds though the client has all that came and nothing was lost."""
    kept, missing, lossy = set(view.in_one), view.missing_bytes, view.once(with_repeats)
    streams = [a for a in view.side.capture.chunked if a.events and a.session in kept and a.session not in lossy and not missing[a.session]]
    behind: dict[int, int] = {}  # by id, the frame of the next answer on the connection
    for group in grouped(view.side.capture.chunked, lambda a: a.session).values():
        behind |= {id(a): then.frame for a, then in pairwise(group)}
    found = [(wait, a) for a in streams if (wait := _stop(view, a, behind.get(id(a), NO_FRAME))) is not None]
    if not found:
        return []
    waits = _Waits(view, [wait for wait, _ in found])
    text = (
        f"{len(found):,} of {plural(len(streams), 'answer')} in a stream of events stopped for {waits.how_long} in the middle, and then went on "
        f"({waits.whom}); nothing was lost, and the client had all that had come."
    )
    return [finding(view, ID, "warning", text, waits.frames, waits.values(requests=len(streams)), STOPPED)]


def _stop(view: View, answer: Chunked, until: int) -> _Wait | None:
    """The longest silence within an answer, if it is one beside the pace at which events came before. What a model thinks before its first words is none."""
    seg = view.segments(answer.session)
    first, end = bisect.bisect_left(seg.frame, answer.frame), bisect.bisect_left(seg.frame, until)
    came = [i for i in range(first, end) if not seg.orig[i] and seg.fresh[i]]
    pauses = [seg.ts[b] - seg.ts[a] for a, b in pairwise(came)]
    at = max(range(STREAMED, len(pauses)), key=pauses.__getitem__, default=-1)
    if at < 0 or not LONG_NS <= pauses[at] < SEAM_NS or pauses[at] < STOPS * sorted(pauses[:at])[at * 9 // 10]:
        return None
    last, then = came[at], came[at + 1]
    heard = [i for i in range(last, then) if seg.orig[i] and seg.acked[i] >= seg.end(last)]
    if not heard or any(seg.window[i] == 0 or seg.length[i] for i in range(last, then) if seg.orig[i]):
        return None
    return _Wait(answer.session, pauses[at], [seg.frame[last], seg.frame[then]])


def _waited(view: View, k: int, frame: int) -> _Wait | None:
    """From a request's head to its body, with the frames of both; None where the server spoke before."""
    seg = view.segments(k)
    at = bisect.bisect_left(seg.frame, frame)
    after = next((i for i in range(at + 1, len(seg)) if seg.length[i] and (seg.fresh[i] or not seg.orig[i])), None)
    if after is None or not seg.orig[after]:
        return None
    answer = next((i for i in range(after, len(seg)) if seg.length[i] and not seg.orig[i]), len(seg) - 1)
    return _Wait(k, seg.ts[after] - seg.ts[at], [frame, seg.frame[after]], seg.ts[answer] - seg.ts[at])
