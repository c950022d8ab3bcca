"""Which HTTP requests were answered with an error?

Asks: how many final answers of HTTP/1.1 in the clear (or read with keys) have a status of 4xx or 5xx; how many requests in the clear were redirected in
    circles; how many answers ended before their Content-Length or last chunk, and streams of events do again and again; whether a proxy grants no
    CONNECT; of HTTP/2 in clear also which streams were reset for an error, or refused and never sent again.
Applies: where statuses could be read. What a server closed on without an answer is covered by closed-unanswered.
Cannot see: HTTP inside TLS without keys, HTTP/2 and QUIC; whether the client expected the error.
Normal: 401 and 407 that the client answers with credentials (RFC 9110 11.6), 304, 412, 416, a 404 to HEAD, to what is looked for at every site (favicon.ico,
    robots.txt, wpad.dat) or among many, redirections. 5xx is the server's fault (RFC 9110 15.6): twice, or a tenth, is a fault; of 4xx half. What a client
    looks for, and makes as it is not there, or finds at the next server; what is there already (409), and is then read; what it asks for until it is ready
    (RFC 8628 3.5); a node that tells who checks it that it is out, while others are well, or that it starts. Streams that are made while they are sent
    (logs, watches, films) have no end of their own, but events in answer to a POST have. A redirection may lead back once, with a cookie; a client detects
    circles (RFC 9110 15.4). A proxy asks for a password that a person then types. A recording of the server's side alone has its answers, though not what
    was asked. Less that is granted shows nothing of what is refused for its size (411, 413). A 404 to reads and writes for which there was an answer until then
    tells that what was there is gone; to one of them it may be an answer. What a program
    knows by several names it asks for by one after the other, until one is there; few tries of different things, seconds apart, of which others are
    granted, need not matter. Who asks again and again with credentials to which nothing is granted gets nowhere, but in an even rhythm may wait for it. A
    client that is let in no more may have logged out, or be another user behind a proxy: a warning. A body that is refused try after try, each on a
    connection of its own, is stored nowhere, unless in pieces elsewhere; 421 may be asked again by a new connection, so what each connection begins with is
    misdirected for good; 429 is a client's to wait out, and trouble where nothing is taken at the first try.
"""

from __future__ import annotations

import bisect
from collections import Counter
from itertools import groupby, pairwise
from math import comb
from typing import Any

import numpy as np

from netlens.lenses import Finding, Severity, _ttl
from netlens.lenses._asked import visible
from netlens.lenses._chunks import AGAIN_NS, cut_off, feeds_cut, feeds_reset, known, misread
from netlens.lenses._granted import NEXT_NS, NOT_THERE, PAUSE_NS, checks, evenly, granted_later, now_and_then, of_checks, taken
from netlens.lenses._unanswered import first_bytes, requests, trickling
from netlens.lenses._view import FIN, RST, S, View, finding, graded, grouped, most, seconds
from netlens.parsers.bodies import SWITCHING, Body, Redirect, number_of
from netlens.parsers.chunks import Chunked
from netlens.parsers.grpc import ERRORS, STREAM_CLOSED, Calls, TurnedAway
from netlens.text import plural, printable, size

ID = "http-errors"
GROUP = "answers"
RANK = 31
SERVER_TIMES, SERVER_SHARE = 2, 0.1
CLIENT_TIMES, CLIENT_SHARE, SOME_SHARE = 2, 0.5, 0.1
AT_ONCE_NS, STORM = S // 10, 5  #: behind an error: no pause; and how many of these, and half of all errors, are told
CAPTIVE = 2  #: questions whether the internet is there that are led elsewhere
CIRCLES = 10  #: redirections that a client follows; Go gives up after so many, browsers after 20, Python after 30
FOLLOWED_NS = S  #: from one redirection to the next; a server that has its client wait for something in this way takes longer
GUESSED = 10  #: wrong passwords in a row; accounts are locked after 3 to 10 (NIST SP 800-63B 5.2.2 allows up to 100)
PROXY, CHALLENGED = 407, 3  #: answers of a proxy that grants nothing; a first one is ordinary
CREDENTIALS_NS = 10 * S  #: in which a program answers a challenge by itself
CHALLENGES = (401, 407)
UNAUTHORIZED, FORBIDDEN, NOT_ALLOWED = 401, 403, 405
HEAD, DELETE = int.from_bytes(b"HEAD", "big"), int.from_bytes(b"DELETE", "big")
#: What statuses say (RFC 9110 15.5, 15.6, RFC 6585 4)
_ADVICE = {
    401: "The server wants credentials, or rejects those that were sent.",
    403: "The server knows the request and forbids it: look at the permissions of these credentials, or at a filter in front.",
    404: "The server has nothing at that path: check the path and the host name.",
    411: "The server, or a proxy in front of it, takes no body whose length is not said before (chunked): have the client say it, or the proxy gather it.",
    410: "What the client asks for was taken away for good, as an old version of an interface: have it ask for what took its place.",
    426: "The server wants another version of the protocol, which it names in Upgrade: update the client.",
    407: "The proxy wants credentials (Proxy-Authorization).",
    412: "The client changes what somebody else has changed since (its ETag is old): have it read that anew before it writes.",
    413: "The server does not accept a body of that size: raise its limit (client_max_body_size in nginx), or send less.",
    415: "The server does not take a body of that kind: compare Content-Type and Content-Encoding of the request with what it takes.",
    417: "The server, or a proxy in front of it, takes no Expect: 100-continue: have the client leave it out (curl -H 'Expect:'), or update that proxy.",
    421: "The server, or a proxy in front of it, does not serve that name or path on this address: check where the name leads, and the proxy's hosts.",
    423: "Somebody else has locked it: wait until that ends, or have the server let go of a lock that is left (its time-out).",
    429: "The server limits requests: send fewer, and wait as long as Retry-After says.",
    502: "A proxy had no usable answer from the server behind it: look at that server, and at the proxy's log.",
    503: "The server, or one behind the proxy, is overloaded or down for now: look there.",
    504: "A proxy waited in vain for the server behind it: look at that server, and at the proxy's time-out.",
}
#: By number of host and path, the number of the host by which systems see whether the internet is there: Android, Apple, Windows, Firefox, NetworkManager
_INTERNET = {
    number_of(host + path): number_of(host)
    for host, paths in {
        "connectivitycheck.gstatic.com": ("/generate_204",),
        "connectivitycheck.android.com": ("/generate_204",),
        "clients3.google.com": ("/generate_204",),
        "www.google.com": ("/generate_204", "/gen_204"),
        "play.googleapis.com": ("/generate_204",),
        "captive.apple.com": ("/", "/hotspot-detect.html"),
        "www.apple.com": ("/library/test/success.html",),
        "www.msftconnecttest.com": ("/connecttest.txt",),
        "www.msftncsi.com": ("/ncsi.txt",),
        "detectportal.firefox.com": ("/success.txt", "/success.txt?ipv4", "/success.txt?ipv6", "/canonical.html"),
        "nmcheck.gnome.org": ("/check_network_status.txt",),
        "connectivity-check.ubuntu.com": ("/",),
        "network-test.debian.org": ("/nm",),
        "fedoraproject.org": ("/static/hotspot.txt",),
        "ping.archlinux.org": ("/nm-check.txt",),
    }.items()
    for path in paths
}
SOUGHT = (404, 409, 410)  #: what is not there, or is there already: who looks for something before it makes it goes on by that
#: Said to what a client sends, whatever it asked: too large, of a kind that is not taken, locked (RFC 9110 15.5.14, 15.5.16, RFC 4918 11.3)
OF_WRITES = (413, 415, 423)
IN_VAIN, IN_VAIN_NS = 3, S  #: writes to one place that are refused to the last, and over how long
#: Said to the body, or to how it is announced: sooner than that, it is refused to the last where each try has a connection of its own
OF_BODIES = (413, 415, 417, 423)
MISDIRECTED, TOO_MANY = 421, 429
HELD_NS = 2 * S  #: that somebody waits who must send the same again and again, until it is taken
OF_SIZE = (411, 413)  #: said to how much a client sends, or to that it does not say how much (RFC 9110 15.5.12, 15.5.14)
LOST, BY_CHANCE = 3, 100  #: requests that fail at the end; in so many orders of a client's requests these would not all stand there
CHANGED = 412
HARMLESS = (CHANGED, 416)  #: what the client asked for itself (RFC 9110 13), or has already


def look(view: View) -> list[Finding]:
    """Errors, requests that got nowhere, and answers that were cut off."""
    return [
        *_of(view),
        *_unasked(view),
        *_preflights(view),
        *_posted(view),
        *_over_http2(view),
        *_broken(view),
        *_turned_away(view),
        *_challenged(view),
        *_captive(view),
        *_circling(view),
        *_cut_off(view),
        *_in_chunks(view),
        *_unended(view),
    ]


def final_answers(view: View) -> list[dict[str, Any]]:
    """Answers with a status, but for challenges that the client answered."""
    kept, heads = set(view.first_copies) | view.halves, view.once(_heads)
    x = view.side.capture.table("exchanges")
    status = x.ints("status", -1)
    x = x.take((status >= 200) | (status == SWITCHING))
    names = ("session_id", "start_ns", "response_ns", "status", "start_frame", "response_frame", "up_bytes")
    rows = [dict(zip(names, row, strict=True)) for row in x.tuples(*names)]
    rows = [r for r in rows if r["session_id"] in kept]
    rows = [r for r in rows if not (r["status"] == 404 and r["start_frame"] in heads)]
    rejected, out = _rejected(view, rows), []
    for group in grouped(rows, lambda r: view.ends(r["session_id"])[::2]).values():
        let_in = sorted(r["start_ns"] for r in group if r["status"] not in CHALLENGES)
        for r in group:
            answered = r["response_ns"] or 0
            if r["start_frame"] in rejected:
                out.append(r)
                continue
            k = bisect.bisect_left(let_in, answered)
            if r["status"] not in CHALLENGES or k == len(let_in) or let_in[k] - answered > CREDENTIALS_NS:
                out.append(r)
    return sorted((r for r in out if r["status"] != SWITCHING), key=lambda r: r["start_frame"])


def _rejected(view: View, rows: list[dict[str, Any]]) -> set[int]:
    """Frames of requests that bore a password or token and were answered 401, again and again, for what that client was never given: other requests, as for
    another token, do not show that it was let in. Or for what it was given after many tries, each made when it knew the answer to the one before."""
    chosen = view.side.capture.bearing & view.side.capture.asked.keys()
    found: set[int] = set()
    for group in grouped((r for r in rows if r["start_frame"] in chosen), lambda r: _place(view, r)).values():
        if len(group) >= CHALLENGED and {r["status"] for r in group} == {401}:
            found |= {r["start_frame"] for r in group}
        for status, run in groupby(sorted(group, key=lambda r: r["start_ns"]), lambda r: r["status"]):
            tries = list(run)
            if status == 401 and _in_turn(tries) >= GUESSED:
                found |= {r["start_frame"] for r in tries}
    return found


def _in_turn(rows: list[dict[str, Any]]) -> int:
    """How many of these requests follow each other, each sent when the one before was answered."""
    n, known = 0, 0
    for r in rows:
        if r["start_ns"] >= known:
            n, known = n + 1, r["response_ns"] or r["start_ns"]
    return n


def _place(view: View, r: dict[str, Any]) -> tuple[str, int]:
    """Who asked for what."""
    return view.ends(r["session_id"])[0], view.side.capture.asked[r["start_frame"]]


def _for_one_client(view: View, answers: list[dict[str, Any]], rejected: set[int]) -> set[int]:
    """Frames of requests with a password or token that one client is never granted, while another one is granted the same: a wrong one may be meant, as of who
    checks that it is rejected."""
    asked = view.side.capture.asked
    served: dict[int, set[str]] = {}
    for r in answers:
        if r["status"] < 300 and r["start_frame"] in asked:
            client, place = _place(view, r)
            served.setdefault(place, set()).add(client)
    theirs = [(r["start_frame"], _place(view, r)) for r in answers if r["start_frame"] in rejected]
    return {frame for frame, (client, place) in theirs if served.get(place, set()) - {client}}


def _in_vain(view: View, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers to what a client wanted to have stored at one place, again and again, that refused it to the last: what it had is not there."""
    chosen, matching = view.side.capture.making & view.side.capture.asked.keys(), view.side.capture.matching
    found = []
    for group in grouped((r for r in answers if r["start_frame"] in chosen), lambda r: _place(view, r)).values():
        least = min((r["up_bytes"] for r in group if r["status"] in OF_SIZE), default=0)
        before = [None, *group]
        last = max((k for k, r in enumerate(group) if r["status"] < 400 and not _is_smaller(r, before[k], least)), default=-1)
        run = [r for r in group[last + 1 :] if r["status"] >= 400 and r["status"] not in (*SOUGHT, *CHALLENGES)]
        # who makes what must not be there (If-None-Match: *) has asked for a 412
        run = [r for r in run if r["status"] != CHANGED or r["start_frame"] in matching]
        long = len(run) >= IN_VAIN and (run[-1]["start_ns"] - run[0]["start_ns"] >= IN_VAIN_NS or _are_new_tries(view, run))
        if long and len({r["status"] for r in run}) == 1:
            found += run
    return found


def _are_new_tries(view: View, run: list[dict[str, Any]]) -> bool:
    """Whether what was sent was refused each time on a connection of its own, the next when that was known, and the client had nothing stored since, in any
    form (in pieces, say, or as a copy), and did not go on to other things as one does that tries what is refused."""
    if not (len({r["session_id"] for r in run}) == len(run) == _in_turn(run) and run[0]["status"] in OF_BODIES):
        return False
    client, server = view.service(run[0]["session_id"])[:2]
    granted = [r for r in view.once(_granted_to).get(client, []) if r["start_ns"] > run[0]["start_ns"]]
    stored = view.once(_storing)
    later = [r for r in granted if r["start_ns"] > run[-1]["start_ns"] and view.service(r["session_id"])[1] == server]
    return len(later) < IN_VAIN and not any(r["start_frame"] in stored for r in granted)


def _granted_to(view: View) -> dict[str, list[dict[str, Any]]]:
    """What was granted, by client."""
    return grouped((r for r in view.once(final_answers) if r["status"] < 400), lambda r: view.ends(r["session_id"])[0])


def _storing(view: View) -> set[int]:
    """Frames of requests by which something is stored, also as a copy (RFC 4918 9.8, 9.9)."""
    return (
        view.side.capture.making
        | _beginning(view, int.from_bytes(b"COPY", "big"), 32)
        | _beginning(view, int.from_bytes(b"MOVE", "big"), 32)
    )


def _done_elsewhere(view: View, answers: list[dict[str, Any]]) -> set[int]:
    """Frames of bodies that a server refused, and of requests that it held for misdirected, where the next that the client was granted
    (and stored) was each time at another server, at once."""
    told = [r for r in answers if r["status"] in (*OF_BODIES, MISDIRECTED)]
    found: set[int] = set()
    for (client, server), group in grouped(told, lambda r: view.service(r["session_id"])[:2]).items():
        granted, stored = sorted(view.once(_granted_to).get(client, []), key=lambda r: r["start_ns"]), view.once(_storing)
        for of_body, refused in grouped(group, lambda r: r["status"] != MISDIRECTED).items():
            like = [r for r in granted if not of_body or r["start_frame"] in stored]
            times = [r["start_ns"] for r in like]
            since = [r["response_ns"] or r["start_ns"] for r in refused]
            following = [(like[k], ns) for ns in since if (k := bisect.bisect_left(times, ns)) < len(like)]
            if len(following) == len(refused) and all(
                r["start_ns"] - ns <= NEXT_NS and view.service(r["session_id"])[1] != server for r, ns in following
            ):
                found |= {r["start_frame"] for r in refused}
    return found


def _misdirected(view: View, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers 421 to the first request of a connection, again and again: who hears that may ask by a new connection (RFC 9110 15.5.20), where it is the same.
    Who asks in an even rhythm checks something, and a place that is given at another time is served. Who gets nothing else from a server that others are served
    by may be a bot that knows its bare address, or check that an old name is gone."""
    asked = view.side.capture.asked
    if not any(r["status"] == MISDIRECTED for r in answers):
        return []
    firsts: dict[int, int] = {}
    for r in answers:
        firsts.setdefault(r["session_id"], r["start_frame"])
    given = {_place(view, r) for r in answers if r["status"] < 400 and r["start_frame"] in asked}
    told = [
        r
        for r in answers
        if r["status"] == MISDIRECTED and firsts[r["session_id"]] == r["start_frame"] in asked and _place(view, r) not in given
    ]
    served = grouped((r for r in answers if r["status"] < 400), lambda r: view.ends(r["session_id"])[2:])
    found = []
    for (client, *server), group in grouped(told, lambda r: (view.ends(r["session_id"])[0], *view.ends(r["session_id"])[2:])).items():
        clients = {view.ends(r["session_id"])[0] for r in served.get(tuple(server), [])}
        if len(group) >= IN_VAIN and not evenly([r["start_ns"] for r in group], 0) and (not clients or client in clients):
            found += group
    return found


def _held(view: View, answers: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What a client wanted to have taken at one place, and was told each time that it asks too often (429) until it had waited: each request from the first try
    to the one that was granted. Who waits once, as Retry-After says, does so by design; one that is granted at once shows that
    there is room at times; tries in an even rhythm are by a timetable."""
    chosen, found = view.side.capture.making & view.side.capture.asked.keys(), []
    told = {_place(view, r) for r in answers if r["status"] == TOO_MANY and r["start_frame"] in chosen}
    rows = (r for r in answers if r["start_frame"] in chosen and _place(view, r) in told) if told else ()
    for group in grouped(rows, lambda r: _place(view, r)).values():
        tries: list[list[dict[str, Any]]] = [[]]
        for r in sorted(group, key=lambda r: r["start_ns"]):
            tries[-1].append(r)
            if r["status"] != TOO_MANY:
                tries.append([])
        done = [run for run in tries if run and run[-1]["status"] != TOO_MANY]
        held = [run for run in done if len(run) > 2 and run[-1]["status"] < 300 and run[-1]["start_ns"] - run[0]["start_ns"] >= HELD_NS]
        times = sorted(r["start_ns"] for r in group)
        if len(held) >= IN_VAIN and len(held) == len(done) and _in_turn(group) == len(group) and not evenly(times, 0):
            found += held
    return found


def _is_smaller(r: dict[str, Any], before: dict[str, Any] | None, least: int) -> bool:
    """Whether a request that was granted shows nothing of those of its place that are refused for their size, ``least`` bytes and more: it is smaller, and the
    one before was not refused so just before, as by a client that then sends less at once."""
    then_less = (
        before is not None and before["status"] in OF_SIZE and r["start_ns"] - (before["response_ns"] or before["start_ns"]) <= NEXT_NS
    )
    return r["up_bytes"] < least and not then_less


def _by_service(view: View, answers: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Answers to requests with a password or token, of each client and server."""
    bearing = view.side.capture.bearing
    return [*grouped((r for r in answers if r["start_frame"] in bearing), lambda r: view.service(r["session_id"])).values()]


def _insisting(borne: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Answers 403 by which a client gets nothing, however often it asks: of all that it asks for with credentials none is granted (RFC 9110 15.5.4;
    who is granted something else may have asked whether it may). Who heeds that asks no more; who waits for something asks in an even rhythm."""
    found = []
    for group in borne:
        times = sorted(r["start_ns"] for r in group)
        if len(group) >= IN_VAIN and all(r["status"] == FORBIDDEN for r in group):
            found += group if times[-1] - times[0] >= IN_VAIN_NS and not evenly(times, PAUSE_NS) else []
    return found


def _expired(borne: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Answers 401 to a client that had been let in with a password or token, and from some time on is not to the last: it has expired, or was taken back, and
    the client does not renew it."""
    found = []
    for group in borne:
        first = next((k for k, r in enumerate(group) if r["status"] == UNAUTHORIZED), len(group))
        run = group[first:]
        if (
            len(run) >= LOST
            and all(r["status"] == UNAUTHORIZED for r in run)
            and comb(len(group), first) >= BY_CHANCE
            and run[-1]["start_ns"] - run[0]["start_ns"] >= IN_VAIN_NS
            and not checks([r["start_ns"] for r in run])
        ):
            found += run
    return found


def _gone(view: View, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers 404 and 410 at a place where a client had all that it asked for, reads and writes, and from some time on neither to the last: what it wrote to
    is gone, as a session is when its server is restarted. Who looks something up there, or asks for work, does either. Not what the client itself deleted."""
    asked, making = view.side.capture.asked, view.side.capture.making
    found = []
    for group in grouped((r for r in answers if r["start_frame"] in asked), lambda r: _place(view, r)).values():
        first = next((k for k, r in enumerate(group) if r["status"] in NOT_THERE), len(group))
        run = group[first:]
        writes = [r for r in run if r["start_frame"] in making]
        if (
            len(writes) >= LOST
            and all(r["status"] in NOT_THERE for r in run)
            and all(r["status"] < 300 for r in group[:first])
            and comb(len(group), first) >= BY_CHANCE
            and all(len({r["start_frame"] in making for r in each}) > 1 for each in (group[:first], run))
            and writes[-1]["start_ns"] - writes[0]["start_ns"] >= IN_VAIN_NS
            and not any(head >> 16 == DELETE for head in first_bytes(view, {r["start_frame"] for r in group}).values())
        ):
            found += run
    return found


def served_later(view: View, error: dict[str, Any], answers: list[dict[str, Any]]) -> bool:
    """Whether the same client asked for the same again, and was given it: a program that tries again has lost some time (RFC 9110 15.6.4, 10.2.3)."""
    asked, client = view.side.capture.asked, view.ends(error["session_id"])[0]
    place = asked.get(error["start_frame"])
    return place is not None and any(
        r["status"] < 400 and r["start_frame"] > error["start_frame"] and asked.get(r["start_frame"]) == place
        for r in answers
        if view.ends(r["session_id"])[0] == client
    )


def _heads(view: View) -> set[int]:
    """Frames of HEAD requests, by which clients ask whether something is there."""
    return _beginning(view, HEAD, 32)


def _beginning(view: View, number: int, shift: int) -> set[int]:
    """Frames of which the first bytes, without the last ``shift`` bits of eight bytes, are this number."""
    if view.trail is None:
        return set()
    t = view.trail.segments()
    return set(t["frame"][(t["head"] >> np.uint64(shift) == number) & (t["length"] > 0)].tolist())


def _of(view: View) -> list[Finding]:
    answers = view.once(final_answers)
    rejected = _rejected(view, answers)
    others_served = _for_one_client(view, answers, rejected)
    borne = _by_service(view, answers)
    probing, gone, expired = view.side.capture.probing, _gone(view, answers), _expired(borne)
    insisting = [r for r in _insisting(borne) if r["start_frame"] not in others_served]
    elsewhere = _done_elsewhere(view, answers)
    vain = {r["start_frame"] for r in [*_in_vain(view, answers), *gone, *insisting, *_misdirected(view, answers)]} - elsewhere
    held = _held(view, answers)
    out = {r["start_frame"] for r in expired}
    ours = [
        r
        for r in answers
        if 400 <= r["status"] < 500
        and (r["status"] not in HARMLESS or r["start_frame"] in vain | out)
        and not (r["status"] == 404 and r["start_frame"] in probing)
    ]
    theirs = [r for r in answers if r["status"] >= 500]
    errors = ours + theirs
    if not errors:
        return []
    n = len(answers)
    granted, checked = granted_later(view, answers) - rejected, of_checks(view, answers)
    amiss = [r for r in theirs if r["start_frame"] not in checked | granted]
    lasting = amiss if len(amiss) >= SERVER_TIMES else [r for r in amiss if not served_later(view, r, answers)]
    acted_on = (taken(view, answers) | elsewhere) - granted
    denied = [r for r in ours if r["start_frame"] not in granted | acted_on | others_served]
    grave = len(lasting) >= SERVER_TIMES or len(lasting) >= max(SERVER_SHARE * n, 1)
    grave |= len(denied) >= CLIENT_TIMES and len(denied) >= CLIENT_SHARE * n and not now_and_then(view, denied, answers)
    grave |= (len(errors) == n and errors[0]["status"] != 404) or bool(vain or held)
    some = bool(theirs or expired) or len(ours) >= SOME_SHARE * n
    codes = Counter(r["status"] for r in errors)
    told = _each(codes) if len(errors) > 1 else f"{errors[0]['status']}"
    whom = most(view.server(r["session_id"]) for r in errors)
    ends = [f"{len(granted):,} of these requests {'was' if len(granted) == 1 else 'were'} granted later"] if granted else []
    if checked:
        ends.append(f"{len(checked):,} of them told a health check that this server is out of service")
    if acted_on:
        ends.append(f"for {len(acted_on):,} of them the client took the error as the answer and went on")
    if upgrades := [r for r in errors if r["start_frame"] in view.side.capture.upgrading]:
        ends.append(f"{len(upgrades):,} of these requests asked for a WebSocket (Upgrade)")
    in_clear = [r for r in errors if r["response_frame"] in view.side.capture.wanting_tls]
    if in_clear:
        ends.append(f"{len(in_clear):,} of them say that plain HTTP was sent to a port that takes TLS alone")
    at_once = _at_once(view, theirs)
    if at_once:
        ends.append(
            f"{len(at_once):,} of these requests are the same as the one before, sent again within {seconds(AT_ONCE_NS)} of its error"
        )
    if others_served:
        ends.append(f"{len(others_served):,} of them carried credentials that the server rejects, while another client is served there")
    if gone:
        ends.append(f"{len(gone):,} of them ask for what the client was given before")
    if expired:
        ends.append(
            f"{len(expired):,} of them say 401 to a client that had been let in until then, and was not again: a token may have expired"
        )
    if held:
        waited = max(run[-1]["start_ns"] - run[0]["start_ns"] for run in held)
        ends.append(
            f"{len(held):,} requests had to be sent up to {max(map(len, held))} times, and waited up to {seconds(waited)} to be taken"
        )
    end = "".join(f"; {each}" for each in ends)
    text, values = _told(n, codes, told)
    text += f", from {whom}{end}."
    severity: Severity = "problem" if grave else "warning" if some else "note"
    frames = [f for r in errors for f in (r["start_frame"], r["response_frame"])]
    advice = ""
    if gone:
        advice = "What was there is gone, as a session is when its server was restarted: have the client begin anew when it hears that."
    elif grave:
        worse = theirs if len(lasting) >= SERVER_TIMES or len(lasting) >= max(SERVER_SHARE * n, 1) else ours or theirs
        advice = _ADVICE.get(Counter(r["status"] for r in worse).most_common(1)[0][0]) or (
            "5xx: look at the server's log."
            if theirs and len(theirs) >= len(ours)
            else "4xx: the server does not accept the requests: check address, method and credentials."
        )
        if at_once and worse is theirs:
            advice += " Have the client wait before it tries again, and longer each time; it makes things worse as it is."
        if 2 * len(in_clear) > len(errors):
            advice = "The port takes TLS alone: use https:// there, or the port for plain HTTP."
        elif 2 * len(upgrades) > len(errors):
            advice = (
                "The server does not switch to WebSocket: a proxy in front of it must pass on Upgrade and Connection (RFC 9110 7.8; proxy_set_header and "
                "proxy_http_version 1.1 of nginx), or the path is not that of the WebSocket."
            )
    return [finding(view, ID, severity, text, frames, values, advice)]


def _each(codes: Counter[int]) -> str:
    """The most frequent statuses, with how often each came."""
    return ", ".join(f"{count:,} × {status}" for status, count in codes.most_common(4))


def _told(n: int, codes: Counter[int], told: str, what: str = "HTTP") -> tuple[str, dict[str, Any]]:
    """How many of ``n`` responses are errors, and which: the begin of a sentence, and as values."""
    errors = codes.total()
    text = f"{errors:,} of {plural(n, f'{what} response')} {'is an error' if errors == 1 else 'are errors'} ({told})"
    return text, {"responses": n, "errors": errors, "statuses": {str(status): count for status, count in sorted(codes.items())}}


def _unasked(view: View) -> list[Finding]:
    """Errors among the answers of connections of which the server's side alone was recorded: to what, nobody knows."""
    s, kept = view.sessions, set(view.first_copies) - view.halves
    alone = (s["orig_frames"] == 0) != (s["resp_frames"] == 0)
    answers = [a for a in view.side.capture.unasked if a.session in kept and alone[a.session]]
    theirs = [a for a in answers if a.status >= 500]
    ours = [a for a in answers if 400 <= a.status < 500 and a.status not in (*HARMLESS, *CHALLENGES)]
    errors = theirs + ours
    if not errors:
        return []
    n = len(answers)
    grave = len(theirs) >= max(SERVER_TIMES, SERVER_SHARE * n) or len(ours) >= max(CLIENT_TIMES, CLIENT_SHARE * n)
    grave |= sum(a.status in OF_WRITES for a in ours) >= IN_VAIN
    codes = Counter(a.status for a in errors)
    text, values = _told(n, codes, _each(codes))
    text += f", from {most(view.server(a.session) for a in errors)}; the requests were not recorded."
    advice = _ADVICE.get(codes.most_common(1)[0][0], "") if grave else ""
    return [finding(view, ID, "problem" if grave else "warning", text, [a.frame for a in errors], values, advice)]


def _preflights(view: View) -> list[Finding]:
    """Preflights of CORS that a server does not grant, and that no request follows: a browser sends none then (Fetch Standard 4.8), other clients may."""
    places, client = view.side.capture.asked, view.column("orig_ip")
    names = ("start_frame", "response_frame", "status")
    every, preflights = requests(view, *names), view.side.capture.preflights
    rows = [r for r in every if r[1] in preflights and r[3] is not None and r[3] >= 200]
    granted = {(client[k], places[first]) for k, first, _, status in rows if status < 300}
    last = {(client[k], places.get(first)): first for k, first, *_ in every if first not in preflights}
    unasked = [r for r in rows if r[3] >= 300 and (client[r[0]], places[r[1]]) not in granted]
    denied = [r for r in unasked if last.get((client[r[0]], places[r[1]]), 0) < r[1]]
    if len(denied) < CLIENT_TIMES:
        return []
    whom, codes = most(view.server(k) for k, *_ in denied), Counter(status for *_, status in denied)
    text = (
        f"{len(denied):,} of {plural(len(rows), 'preflight')} (OPTIONS) were not permitted by {whom} ({_each(codes)}): a browser then does not send its "
        "request, and none followed."
    )
    advice = "A preflight bears no credentials and follows no redirection: have the server, or the login in front of it, answer OPTIONS with 200 or 204."
    values = {"preflights": len(rows), "denied": len(denied)}
    return [finding(view, ID, "problem", text, [f for _, *both, _ in denied for f in both], values, advice)]


def _posted(view: View) -> list[Finding]:
    """What was posted and got lost in a redirection, behind which clients mostly ask by GET (RFC 9110 15.4.2, 15.4.3), and that is not allowed there."""
    kept = set(view.in_one)
    told = [r for r in view.side.capture.redirects if r.posted and r.status in (301, 302) and r.session in kept]
    if not told:
        return []
    places, client, making = view.side.capture.asked, view.column("orig_ip"), view.side.capture.making
    rows = [r for r in requests(view, "start_ns", "start_frame", "status") if r[3] == NOT_ALLOWED and r[2] not in making]
    asked = grouped(rows, lambda r: (client[r[0]], places.get(r[2])))
    then = [(r, next((each for each in asked.get((client[r.session], r.place), ()) if each[1] >= r.ts), None)) for r in told]
    found = [(r.frame, each[2]) for r, each in then if each is not None and each[1] - r.ts <= FOLLOWED_NS]
    if len(found) < CLIENT_TIMES:
        return []
    whom = most(view.server(r.session) for r in told)
    text = f"{plural(len(found), 'POST')} to {whom} got lost: redirected (301, 302), the client asked by GET, which is not allowed there (405)."
    advice = "Post to the address to which it is redirected (a slash at the end, the host's other name), or have the server redirect with 307 or 308."
    return [finding(view, ID, "problem", text, [f for both in found for f in both], {"posts": len(found)}, advice)]


def _calls(view: View) -> list[tuple[int, Calls]]:
    """Sessions of HTTP/2 in clear."""
    return [(k, calls) for k in view.first_copies if (calls := view.side.capture.grpc.get(k)) is not None]


def _over_http2(view: View) -> list[Finding]:
    """Errors among the answers of HTTP/2 in clear."""
    calls = _calls(view)
    errors = [(k, status, frame) for k, each in calls for status, frame in each.errors]
    if not errors:
        return []
    n, codes = sum(each.answers for _, each in calls), Counter(status for _, status, _ in errors)
    theirs = sum(count for status, count in codes.items() if status >= 500)
    ours = sum(count for status, count in codes.items() if status < 500 and status not in (*HARMLESS, *CHALLENGES))
    # to which requests these belong is not known: what was looked for in vain may have been made, or read, by as many others
    denied = ours >= max(CLIENT_TIMES, CLIENT_SHARE * n) and (ours > CLIENT_SHARE * n or ours > sum(codes[status] for status in SOUGHT))
    grave = theirs >= max(SERVER_TIMES, SERVER_SHARE * n) or denied
    text, values = _told(n, codes, _each(codes), "HTTP/2")
    text += f", from {most(view.server(k) for k, *_ in errors)}."
    advice = _ADVICE.get(codes.most_common(1)[0][0], "") if grave else ""
    return [finding(view, ID, "problem" if grave else "warning", text, [frame for *_, frame in errors], values, advice)]


def _broken(view: View) -> list[Finding]:
    """Streams of HTTP/2 in clear that one side reset for an error, not as it wants no more (RFC 9113 8.1, 8.7)."""
    calls = _calls(view)
    amiss = [(k, each) for k, call in calls for each in call.broken if each.code in ERRORS and each.code != STREAM_CLOSED]
    out = []
    for by_client in (True, False):
        found = [(k, each) for k, each in amiss if each.by_client == by_client]
        if not found:
            continue
        n, whom = len(found), most(view.server(k) for k, _ in found)
        code = most(ERRORS[each.code] for _, each in found)
        text = f"{n:,} of {plural(sum(call.requests for _, call in calls), 'HTTP/2 request')} {'was' if n == 1 else 'were'} broken off: "
        text += f"the client did not take what {whom} answered ({code})." if by_client else f"{whom} reset the stream ({code})."
        grave = n >= SERVER_TIMES
        advice = (
            "The answer breaks a rule of HTTP/2, as by a field that belongs to HTTP/1.1 (Connection, Upgrade, Transfer-Encoding: RFC 9113 8.2.2): see what "
            "the server or the proxy in front of it adds."
            if by_client
            else "Look at the server's log for that moment, and at that of the proxy in front of it."
        )
        frames = [each.frame for _, each in found]
        out.append(graded(view, ID, grave, text, frames, {"broken": n}, advice))
    return out


def _turned_away(view: View) -> list[Finding]:
    """Requests of HTTP/2 in clear of which a server did nothing as there were too many at once (RFC 9113 8.7), and that their client never sent again."""
    found: list[TurnedAway] = []
    whom, all_ = [], 0
    for group in grouped(_calls(view), lambda each: view.service(each[0])).values():
        last: dict[int, int] = {}
        for _, calls in group:
            for path, frame in calls.paths.items():
                last[path] = max(frame, last.get(path, 0))
        lost = sorted(
            (each for _, calls in group for each in calls.turned_away if last[each.path] <= each.asked), key=lambda each: each.frame
        )
        unknown = sum(frame > lost[0].frame for _, calls in group for frame in calls.unnamed) if lost else 0
        lost = lost[unknown:]  # so many may have been sent again
        requested = sum(calls.requests for _, calls in group)
        if len(lost) >= max(LOST, SERVER_SHARE * requested) and lost[-1].ts - lost[0].ts >= S:
            found, all_ = found + lost, all_ + requested
            whom.append(view.server(group[0][0]))
    if not found:
        return []
    text = f"{len(found):,} of {plural(all_, 'HTTP/2 request')} got nothing: {most(whom)} refused the stream (REFUSED_STREAM), and none was sent again."
    advice = (
        "Nothing was done of these, so they may be sent again. The server takes fewer at once than the client sends (SETTINGS_MAX_CONCURRENT_STREAMS): "
        "have the client heed that."
    )
    return [finding(view, ID, "problem", text, [each.frame for each in found], {"refused": len(found)}, advice)]


def _challenged(view: View) -> list[Finding]:
    """Proxies that grant a client no CONNECT as they want credentials; where it had sent some, they do not take these."""
    kept = set(view.first_copies) - view.halves
    found = []
    for group in grouped((p for p in view.side.capture.proxied if p.session in kept), lambda p: view.ends(p.session)[::2]).values():
        refused = [p for p in group if p.status == PROXY]
        if len(refused) >= CHALLENGED and len(refused) == len(group):
            found.append(refused)
    rejected = [group for group in found if sum(p.credentials for p in group) >= SERVER_TIMES]
    shown = [p for group in rejected or found for p in group]
    if not shown:
        return []
    why = "did not take the client's credentials" if rejected else "wants credentials, and the client sent none"
    text = f"{plural(len(shown), 'CONNECT')} got nowhere: the proxy {most(view.server(p.session) for p in shown)} {why} (407)."
    advice = "Check user and password for the proxy." if rejected else _ADVICE[PROXY]
    values = {"refused": len(shown), "with_credentials": sum(p.credentials for p in shown)}
    return [finding(view, ID, "problem" if rejected else "warning", text, [p.frame for p in shown], values, advice)]


def _circling(view: View) -> list[Finding]:
    """Clients that follow redirections to where they had been, again and again, and are given nothing at any of these places."""
    kept = set(view.first_copies) - view.halves
    told = grouped((r for r in view.side.capture.redirects if r.session in kept), lambda r: view.ends(r.session)[0])
    found: dict[str, list[Redirect]] = {}
    for client, group in told.items():
        chains: dict[int, tuple[list[Redirect], set[int]]] = {}  # by where the last one leads; with the places that were asked
        for r in group:
            chain, places = chains.pop(r.asked, ([], set()))
            if chain and r.ts - chain[-1].ts > FOLLOWED_NS:
                chain, places = [], set()
            chain.append(r)
            places.add(r.asked)
            chains[r.place] = chain, places
            if len(chain) >= CIRCLES and len(places) <= len(chain) // 2 and len(chain) > len(found.get(client, ())):
                found[client] = chain
    if not found:
        return []
    in_circles = {(client, r.asked) for client, chain in found.items() for r in chain}
    asked = view.side.capture.asked
    rows = requests(view, "start_frame", "status")
    served = {
        (view.ends(k)[0], asked.get(first, 0)) for k, first, status in rows if status and status >= 200 and not 300 < status < 400
    } & in_circles
    shown = [r for client, chain in found.items() if not any((client, each.asked) in served for each in chain) for r in chain]
    if not shown:
        return []
    text = (
        f"{len(shown):,} HTTP requests were redirected in circles: {most(view.server(r.session) for r in shown)} sends the client back to where it "
        "had been, and gives it nothing there."
    )
    advice = "The server redirects to what redirects back (http and https behind a proxy, a cookie that is never accepted): follow it with curl -vL."
    return [finding(view, ID, "problem", text, [r.frame for r in shown], {"redirects": len(shown)}, advice)]


def _at_once(view: View, errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Requests that failed like the same one before them of the same client, sent again without a pause (RFC 9110 10.2.3)."""
    asked, client = view.side.capture.asked, view.column("orig_ip")
    named = (r for r in errors if r["start_frame"] in asked)
    again = grouped(named, lambda r: (client[r["session_id"]], asked[r["start_frame"]], r["up_bytes"])).values()
    found = [b for group in again for a, b in pairwise(group) if 0 <= b["start_ns"] - (a["response_ns"] or 0) <= AT_ONCE_NS]
    return found if len(found) >= max(STORM, len(errors) / 2) else []


def _captive(view: View) -> list[Finding]:
    """Clients of which each question whether the internet is there (RFC 8952 3, RFC 8910) is sent to another host, and is never answered as it should be."""
    asked, site = view.side.capture.asked, {sent.frame: sent.host for sent in view.side.capture.sent_elsewhere}
    rows = [
        r
        for r in requests(view, "start_frame", "response_frame", "status")
        if asked.get(r[1]) in _INTERNET and r[3] is not None and r[3] >= 200
    ]
    led: list[tuple[int, int, int, int]] = []
    for group in grouped(rows, lambda r: view.ends(r[0])[0]).values():
        sent = [(k, first, answer, site[answer]) for k, first, answer, status in group if 300 < status < 400 and answer in site]
        away = [each for each in sent if each[3] != _INTERNET[asked[each[1]]]]
        if len(away) >= CAPTIVE and len(away) == len(group) and len({host for *_, host in away}) == 1:
            led += away
    if not led:
        return []
    names = {number_of(q.name): q.name for q in visible(view)}
    whither = most(printable(names[host]) for *_, host in led if host in names)
    text = (
        f"{plural(len(led), 'question')} of {most(view.ends(k)[0] for k, *_ in led)} whether the internet is there "
        f"{'was' if len(led) == 1 else 'were'} all led to {whither or 'one other host'}: a captive portal stands before it."
    )
    advice = "Log in at the portal (open any http:// address in a browser), or have this device let through by its hardware address."
    last: dict[str, int] = {}
    for k, first, *_ in led:
        last[view.ends(k)[0]] = max(first, last.get(view.ends(k)[0], 0))
    severity: Severity = "warning" if all(_gets_out(view, client, frame) for client, frame in last.items()) else "problem"
    return [finding(view, ID, severity, text, [f for _, *both, _ in led for f in both], {"redirects": len(led)}, advice)]


def _gets_out(view: View, client: str, since: int) -> bool:
    """Whether several servers answer a client inside TLS later: it has logged in."""
    first, protocol, answered = view.sessions["first_frame"], view.sessions["protocol"], view.sessions["resp_bytes"]
    later = np.flatnonzero((first > since) & (protocol == "tls") & (answered > 0)).tolist()
    return len({view.ends(k)[2] for k in later if view.ends(k)[0] == client}) >= CAPTIVE


def _unended(view: View) -> list[Finding]:
    """Clients that keep a server waiting for heads that never end."""
    found = view.once(trickling)
    if not found:
        return []
    all_ = [each for group in found for each in group]
    ends = [view.ends(group[0][0]) for group in found]
    text = (
        f"{len(all_):,} HTTP requests from {most(end[0] for end in ends)} never ended: their heads came in up to {max(len(f) for _, f in all_):,} pieces, with "
        f"pauses, and hold a connection of {most(view.server(group[0][0]) for group in found)} each (slowloris)."
    )
    values = {"requests": len(all_), "clients": sorted({end[0] for end in ends})}
    advice = "Let the server close connections whose head does not come in time (RequestReadTimeout, client_header_timeout), and limit them by address."
    return [finding(view, ID, "problem", text, [f for _, frames in all_ for f in frames], values, advice)]


def _cut_off(view: View) -> list[Finding]:
    """Answers of which less came than they had announced, before the server closed or reset the connection."""
    bodies = view.side.capture.bodies
    if view.one_sided or not bodies:
        return []
    kept = set(view.in_one)
    missing = view.sessions["resp_missing_bytes"]
    came = view.sessions["resp_bytes"]
    last = {body.session: body for body in bodies if body.session in kept and not missing[body.session] and came[body.session] < body.end}
    found = [(body, got) for body in last.values() if (got := _left_out(view, body, int(came[body.session]))) is not None]
    if not found:
        return []
    n, all_ = len(found), sum(body.session in kept for body in bodies)
    worst, got = max(found, key=lambda each: each[0].length - each[1])
    whom = most(view.server(body.session) for body, _ in found)
    text = (
        f"{n:,} of {plural(all_, 'HTTP answer')} {'was' if n == 1 else 'were'} cut off: {whom} ended the connection after {size(got)} of {size(worst.length)}"
        f"{' (in the worst case)' if n > 1 else ''}"
    )
    strays = view.once(_strays)
    behind = [(strays[end], body) for body, _ in found if (end := view.ends(body.session)[:2]) in strays]
    if behind:
        text += (
            f"; to {len(behind):,} of these clients {most(view.server(k) for k, _ in behind)} had sent a piece, and the client reset that"
        )
    values = {"answers": all_, "cut_off": n, "longest_missing_bytes": worst.length - got, "strays": len(behind)}
    resets = [body.session for body, _ in found if view.column("rst_ns")[body.session] is not None]
    hops = _ttl.sent_by_another(view, resets) if len(resets) == n and not behind else None
    text += _ttl.told(hops, n) if hops else ""
    advice = (
        "A NAT in front of the server lets some segments pass untranslated, as those that its connection tracking holds for invalid: drop them there, or have "
        "it take them (nf_conntrack_tcp_be_liberal)."
        if behind
        else _ttl.ADVICE
        if hops
        else "The server's program ended or gave up, or a proxy between has a time-out or a size limit: look at their logs for that moment."
    )
    frames = [body.frame for body, _ in found] + [view.column("first_frame")[k] for k, _ in behind]
    return [finding(view, ID, "problem", text + ".", frames, values, advice)]


def _strays(view: View) -> dict[tuple[str, int], int]:
    """By address and port, sessions in which a client does nothing but reset what somebody sends who had not been asked."""
    s = view.sessions
    chosen = ~s["saw_syn"] & (s["orig_bytes"] == 0) & (s["resp_bytes"] > 0)
    return {view.ends(k)[:2]: k for k in view.whole if chosen[k] and view.column("rst_ns")[k] is not None}


def _in_chunks(view: View) -> list[Finding]:
    """Answers in chunks of which the last one did not come, or a size is no number."""
    if view.one_sided or not view.side.capture.chunked:
        return []
    cut, live = cut_off(view)
    ended = "cut off: {} ended the connection before the last chunk"
    misled = "unreadable: {} sent a chunk size that is not a hexadecimal number (RFC 9112 7.1)"
    look_at = "The server's program ended or gave up, or a proxy between has a time-out: look at their logs for that moment."
    repair = (
        "The server's program writes chunks by itself and wrongly, or something on the way changes what it writes: have its library do it."
    )
    return [
        *_of_chunks(view, cut, "warning" if live else "problem", ended, look_at),
        *_of_chunks(view, misread(view), "problem", misled, repair),
        *_feeds(view),
    ]


def _feeds(view: View) -> list[Finding]:
    """Streams of events that a server or proxy cuts again and again: by a timer, which those who have one do not know of, or for a reason of its own."""
    out = []
    for timed in (True, False):
        found = [(cuts, silence) for cuts, silence in feeds_cut(view) if (silence is not None) == timed]
        every = [each for cuts, _ in found for each in cuts]
        if not every:
            continue
        silences = [silence for _, silence in found if silence is not None]
        after = f" after {seconds(min(silences))} of silence" if timed else ""
        text = f"{plural(len(every), 'stream')} of events were cut off{after}: {most(view.server(a.session) for a, _ in every)} ended the connection "
        text += "before the last chunk, and the client began anew each time."
        advice = "Something ends streams that are silent for so long, as a proxy's read timeout: raise it, or have the program send comments now and then."
        grave = timed and max(silences) <= AGAIN_NS
        frames = [frame for answer, end in every for frame in (answer.frame, end)]
        out.append(graded(view, ID, grave, text, frames, {"cut_off": len(every)}, advice))
    if not out and (reset := feeds_reset(view)):
        text = f"{plural(len(reset), 'stream')} of events ended with a reset from {most(view.server(a.session) for a, _ in reset)} before the last chunk."
        out.append(finding(view, ID, "warning", text, [f for a, end in reset for f in (a.frame, end)], {"cut_off": len(reset)}))
    return out


def _of_chunks(view: View, found: list[tuple[Chunked, int]], severity: Severity, what: str, advice: str) -> list[Finding]:
    if not found:
        return []
    n, all_ = len(found), known(view)
    whom = most(view.server(answer.session) for answer, _ in found)
    text = f"{n:,} of {plural(all_, 'HTTP answer')} in chunks {'was' if n == 1 else 'were'} {what.format(whom)}."
    frames = [frame for answer, end in found for frame in (answer.frame, answer.bad_frame, end) if frame]
    return [finding(view, ID, severity, text, frames, {"answers": all_, "cut_off": n}, advice if severity == "problem" else "")]


def _left_out(view: View, body: Body, came: int) -> int | None:
    """Bytes of a body that came before the server ended the connection; None where the client ended it first, or HEAD was asked.  came : bytes of the
    server's stream, less than to the end of the body."""
    seg = view.segments(body.session)
    upto, asked = body.start, 0
    for i in range(len(seg)):
        if seg.orig[i] and seg.length[i] and seg.frame[i] < body.frame:
            asked = seg.head[i] if seg.head[i] >> 56 else asked
        if not seg.orig[i]:
            upto = max(upto, seg.end(i))
        if seg.flags[i] & (FIN | RST) and seg.frame[i] >= body.frame:
            lost = upto >= body.end  # all was sent, but not all came: it may be sent again, until somebody resets
            if lost and not seg.orig[i] and not seg.flags[i] & RST:
                continue
            if seg.orig[i] or asked >> 32 == HEAD:
                return None
            return max(body.length - (body.end - (came if lost else upto)), 0)
    return None
