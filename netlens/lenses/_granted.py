"""Which errors of HTTP a client took as an answer: what was looked for and then made, what was asked for until it was ready, and nodes that say they are out.

Limits: only of requests in clear, by GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND, MKCOL and LOCK, whose first line is in one segment.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from netlens.lenses._unanswered import first_bytes
from netlens.lenses._view import S, View, grouped

LEAST = 3  #: requests that are a rhythm
EVEN = 1.5  #: times the shortest pause that the longest of a rhythm may last
CHECK_NS, CLOCK = 10 * S, 1.1  #: the same of who checks a server by the clock: the shortest pause, and how even
GROWS = 2.5  #: times the pause before that one may last of polls that become rarer (RFC 8628 3.5: slow_down; twice as long each time)
NEXT_NS = 2 * S  #: in which a program goes on by what it was told
NOT_THERE, THERE = (404, 410), 409
PAUSE_NS = S  #: between polls for something that is not ready; RFC 8628 3.5 has 5 s where the server names none
LATER = (408, 425, 429)  #: by which a server asks for time (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4)
STARTS_NS = S // 2  #: the same of who checks whether a server is ready
SEVERAL = 3  #: names of what is not there, that a program tries one after the other
NOT_ALLOWED, MKCOL = 405, int.from_bytes(b"MKCOL ", "big")
TRIES = 3  #: requests that are refused now and then, no more
AWAY = 503  #: what a node answers to who asks whether it can be used (RFC 9110 15.6.4)

Row = dict[str, Any]  #: an answer, as :func:`netlens.lenses.http_errors.final_answers` has it


def granted_later(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests with an error of 4xx that the same client was granted later, and never refused again: a 404 of what it then made, or what came to be
    (RFC 9110 9.3.3, 9.3.4); any other of a request that it sent again in an even rhythm (RFC 8628 3.3: authorization_pending), or once, at once, to make
    something. And a 503 of what it went on to ask for in the same rhythm when it was granted, as who checks a server that starts (of one that had granted
    nothing before, in whatever rhythm then), or that it sent again after ever longer pauses until it was granted, of such a server."""
    found: set[int] = set()
    given = grouped((r for r in answers if r["status"] < 300), lambda r: view.ends(r["session_id"])[2:])
    began = {server: min(r["start_ns"] for r in group) for server, group in given.items()}
    for group in _of_places(view, answers, view.side.capture.asked).values():
        granted = next((k for k, r in enumerate(group) if r["status"] < 300), 0)
        before, after = group[:granted], group[granted:]
        if not before or any(r["status"] >= 400 for r in after):
            continue
        if {r["status"] for r in before} == {AWAY}:
            starts = all(r["start_ns"] <= began.get(view.ends(r["session_id"])[2:], r["start_ns"]) for r in before)
            waiting = [*before, after[0]]
            checked = len(after) >= LEAST and _is_even(waiting if starts else group, STARTS_NS)
            if checked or (starts and _backs_off(waiting)):
                found |= {r["start_frame"] for r in before}  # a server that starts, and who waits for it
        if any(not 400 <= r["status"] < 500 for r in before):
            continue
        alike = {(r["status"], r["up_bytes"]) for r in before}
        polled = len(after) == 1 and len(alike) == 1 and group[granted]["up_bytes"] == before[0]["up_bytes"] and _is_poll(group)
        again = len(before) == 1 and before[0]["status"] not in LATER and _again(view, before[0], group[granted])
        if polled or again or all(r["status"] == 404 for r in before):
            found |= {r["start_frame"] for r in before}
    return found


def taken(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests by which a client looked for something, or made it, and did at once what that called for: what was not there (404) and had not been,
    it made, there or in the place around it, or found at another server; what was there already (409) it read. Who does the same twice, or is told the same
    again, has not got on by it."""
    capture = view.side.capture
    places, around, making = capture.asked, capture.asked_within, capture.making
    found: dict[tuple[str, int, int], list[int]] = {}
    went_on: set[int] = set()
    for (client, _, _), group in grouped(
        (r for r in answers if r["start_frame"] in places), lambda r: view.service(r["session_id"])
    ).items():
        group.sort(key=lambda r: r["start_frame"])
        went_on |= _goes_on(view, group)
        granted: set[int] = set()
        refused = Counter(places[r["start_frame"]] for r in group if r["status"] >= 400)
        for r, later in pairwise(group):
            first, second = r["start_frame"], later["start_frame"]
            place, next_place = places[first], places[second]
            if r["status"] < 300:
                granted.add(place)
            if later["status"] >= 300 or not _is_next(r, later):
                continue
            made = r["status"] in NOT_THERE and first not in making and second in making and next_place in (place, around[first])
            read = r["status"] == THERE and first in making and second not in making and place in (next_place, around[second])
            if read or (made and place not in granted and refused[place] == 1):
                found.setdefault((client, place, next_place), []).append(first)
    once = {frames[0] for frames in found.values() if len(frames) == 1}
    return once | went_on | _found_elsewhere(view, answers) | _found_beside(view, answers) | _made_before(view, answers)


def _is_next(r: Row, later: Row) -> bool:
    """Whether a request followed another one so soon that its client goes on by the answer."""
    return later["start_ns"] - (r["response_ns"] or r["start_ns"]) <= NEXT_NS


def _again(view: View, r: Row, later: Row) -> bool:
    """Whether something that was to be made was refused once, and granted when it was sent again at once: with fresh credentials, say."""
    making = view.side.capture.making
    return {r["start_frame"], later["start_frame"]} <= making and _is_next(r, later)


def _goes_on(view: View, group: list[Row]) -> set[int]:
    """Frames of requests to make what was there already (409), if each time the same client at once made something else: it wants it to be there, no more."""
    places, making = view.side.capture.asked, view.side.capture.making
    there: dict[int, list[tuple[int, bool]]] = {}
    for r, later in pairwise([*group, None]):
        if r is None or r["status"] != THERE or r["start_frame"] not in making:
            continue
        place = places[r["start_frame"]]
        on = (
            later is not None
            and later["status"] < 300
            and later["start_frame"] in making
            and places[later["start_frame"]] != place
            and _is_next(r, later)
        )
        there.setdefault(place, []).append((r["start_frame"], on))
    return {frame for seen in there.values() if all(on for _, on in seen) for frame, _ in seen}


def _found_elsewhere(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests for what one server has not (404), and the next one that is asked for the same path has."""
    found: set[int] = set()
    for group in _of_places(view, answers, view.side.capture.asked_paths).values():
        for r, later in pairwise(group):
            other = view.ends(r["session_id"])[2:] != view.ends(later["session_id"])[2:]
            if r["status"] in NOT_THERE and later["status"] < 300 and _is_next(r, later) and other and len(group) == LEAST - 1:
                found.add(r["start_frame"])
    return found


def _found_beside(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests for what is not there (404), each for another name in one place, sent one after the other at once until one is there: a program that
    knows what it wants by several names, as apt does an index. A page that lacks pictures goes on to ask for others, and a browser for several at a time."""
    places, around, making = view.side.capture.asked, view.side.capture.asked_within, view.side.capture.making
    found: set[int] = set()
    reads = (r for r in answers if r["start_frame"] in around and r["start_frame"] not in making)
    for group in grouped(reads, lambda r: (view.service(r["session_id"]), around[r["start_frame"]])).values():
        runs: list[list[Row]] = [[]]
        for r in sorted(group, key=lambda r: r["start_ns"]):
            runs[-1].append(r)
            if r["status"] not in NOT_THERE:
                runs.append([])
        if not runs.pop() and all(_finds(run) and len({places[r["start_frame"]] for r in run}) == len(run) for run in runs):
            found |= {r["start_frame"] for r in group if r["status"] in NOT_THERE}
    return found


def _finds(run: list[Row]) -> bool:
    """Whether somebody finds something, at once or after several tries, each sent when the one before was answered."""
    in_turn = all((a["response_ns"] or b["start_ns"] + 1) <= b["start_ns"] and _is_next(a, b) for a, b in pairwise(run))
    return run[-1]["status"] < 400 and (len(run) == 1 or (len(run) > SEVERAL and in_turn))


def _made_before(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests to make a folder that is there (405, RFC 4918 9.3.1), as the same client is told by what it asks for at that place."""
    places, making = view.side.capture.asked, view.side.capture.making
    refused = {r["start_frame"] for r in answers if r["status"] == NOT_ALLOWED and r["start_frame"] in making & places.keys()}
    folders = {frame for frame, head in first_bytes(view, refused).items() if head >> 16 == MKCOL}
    groups = _of_places(view, answers, places).values() if folders else ()
    return {r["start_frame"] for group in groups if any(r["status"] < 300 for r in group) for r in group if r["start_frame"] in folders}


def now_and_then(view: View, denied: list[Row], answers: list[Row]) -> bool:
    """Whether errors of 4xx are few tries of different things, by a client that the same server grants others: of one kind (reads, or writes) each comes a
    second and more after the one before, as from a person, or of a program that goes on without. What is asked for again later, or was granted, is needed."""
    places, making = view.side.capture.asked, view.side.capture.making
    services = {view.service(r["session_id"]) for r in denied}
    if len(services) != 1 or any(r["start_frame"] not in places for r in denied):
        return False
    theirs = [r for r in answers if r["status"] < 400 and view.service(r["session_id"]) in services]
    granted = {(places.get(r["start_frame"]), r["start_frame"] in making) for r in theirs}
    tries = grouped(denied, lambda r: (places[r["start_frame"]], r["start_frame"] in making))
    again = any(same[-1]["start_ns"] - same[0]["start_ns"] > S for same in tries.values())
    if not granted or len(denied) > TRIES or granted & tries.keys() or again:
        return False
    kinds = grouped(tries, lambda each: each[1]).values()
    return all(_are_apart(sorted(tries[each][0]["start_ns"] for each in kind)) for kind in kinds)


def _are_apart(times: list[int]) -> bool:
    """Whether times (ns, in order) are a second and more apart."""
    return all(b - a >= S for a, b in pairwise(times))


def of_checks(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests by which a client asks several servers in an even rhythm for one path, as a load balancer does, and to which some say 503 while others
    are well: who asks takes them out, and nobody waits for them."""
    found: set[int] = set()
    for group in _of_places(view, answers, view.side.capture.asked_paths).values():
        servers = grouped(group, lambda r: view.ends(r["session_id"])[2:])
        checked = [each for each in servers.values() if len(each) >= LEAST and _is_even(each, 0)]
        well = [each for each in checked if all(r["status"] < 400 for r in each)]
        if len(checked) == len(servers) and well:
            found |= {r["start_frame"] for each in checked for r in each if r["status"] == AWAY}
    return found


def _of_places(view: View, answers: list[Row], places: dict[int, int]) -> dict[tuple[str, int], list[Row]]:
    """Answers by client and place, in order."""
    known = (r for r in answers if r["start_frame"] in places)
    return grouped(known, lambda r: (view.ends(r["session_id"])[0], places[r["start_frame"]]))


def _is_even(group: list[Row], pause_ns: int) -> bool:
    """Whether requests follow each other in an even rhythm, at least so long apart."""
    return evenly([r["start_ns"] for r in group], pause_ns)


def evenly(times: list[int], pause_ns: int, even: float = EVEN) -> bool:
    """Whether times (ns, in order) follow each other in an even rhythm, at least so long apart."""
    pauses = [b - a for a, b in pairwise(times)]
    return len(times) >= LEAST and min(pauses) >= pause_ns and max(pauses) <= even * min(pauses)


def checks(times: list[int]) -> bool:
    """Whether these are times (ns) of who checks a server by the clock. What is done again at once is one time."""
    times = sorted(times)
    return evenly([b for a, b in pairwise([-CHECK_NS, *times]) if b - a > S], CHECK_NS, CLOCK)


def _is_poll(group: list[Row]) -> bool:
    """Whether requests follow each other with pauses that stay as they are, or grow."""
    pauses = _pauses(group)
    grow = all(a <= EVEN * b and b <= GROWS * a for a, b in pairwise(pauses))
    return len(group) >= LEAST and min(pauses) >= PAUSE_NS and grow


def _backs_off(group: list[Row]) -> bool:
    """Whether requests follow each other with ever longer pauses."""
    pauses = _pauses(group)
    return len(group) >= LEAST and pauses[0] >= STARTS_NS and all(EVEN * a <= b <= GROWS * a for a, b in pairwise(pauses))


def _pauses(group: list[Row]) -> list[int]:
    """From request to request, in ns."""
    return [b["start_ns"] - a["start_ns"] for a, b in pairwise(group)]
