"""Requests whose client waited in vain, and gave up: inside TLS, and of HTTP/2 in clear.

What is asked inside TLS cannot be read, so only that is told of which nothing else looks like it. A client of HTTP/1.1 closes: its request was acknowledged,
and nothing came back. One of HTTP/2 resets the stream, by a frame of 13 bytes (RFC 9113 6.4), in a record by itself or with PING or GOAWAY; after seconds
without a word of the server, to which it could say as little.

Normal: who does not want to wait closes after some time, a program after the same each time. A person leaves a page that goes on waiting for events. What
only tells (logs, telemetry, MQTT) is never answered, so a client of HTTP/1.1 must offer that protocol or use its port; and a program may end its own long
polls, beside what is answered or for hours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.lenses._requests import asked
from netlens.lenses._view import S, View, grouped
from netlens.parsers.records import APPLICATION, Records

LEAST_NS = 3 * S
#: A shorter wait is a timer's where so many connections of a client ended after the same time, and the server answered it nothing on any other
SHORT_NS, ALIKE_NS, ALIKE = S, S // 10, 3
SHORTEST = 5 + len(b"GET / HTTP/1.1\r\n\r\n") + 17  #: bytes of a request of HTTP/1.1 inside TLS at least; close_notify has fewer
SOON_NS, MOST = S // 2, 0.5  #: in clear: shorter waits may be for the quickest of several; and the share of all
_WEB, HTTPS = {"http/1.1", "h2"}, 443
REQUEST = 200  #: bytes; less may be what a client says for the connection's sake
_FRAME, _RESET, _PING, _GOAWAY = 9, 4, 8, 8  # bytes of a header and of what follows it (RFC 9113 4.1, 6.4, 6.7, 6.8)
_RESETS = tuple(_FRAME + _RESET + more for more in (0, _FRAME + _PING, _FRAME + _GOAWAY, _FRAME + _GOAWAY + _FRAME))
_HIDDEN = (17, 24, 16)  # what encryption adds: TLS 1.3; AES-GCM and ChaCha20 of TLS 1.2
RESETS = tuple(size + more for size in _RESETS for more in _HIDDEN)
#: What a server says for the connection's sake: an alert of TLS 1.3; SETTINGS acknowledged, WINDOW_UPDATE, PING, or two of them. At first SETTINGS, with or
#: without these
_CONTROL = (_FRAME, _FRAME + _RESET, _FRAME + _PING)
CONTROL = {2 + 17, *(a + b + more for a in _CONTROL for b in (0, *_CONTROL) for more in _HIDDEN)}
SETTINGS = {_FRAME + 6 * n + more + rest for n in range(9) for rest in (0, *_CONTROL, 2 * _FRAME + _RESET) for more in _HIDDEN}
OPENING = 4  #: of its records, with tickets before
TOGETHER_NS, TOGETHER = S // 20, 3  #: what a client says with a reset, in records


class GivenUp(NamedTuple):
    """How long the client waited in ns, and the frames of the last word before that and of the end."""

    session: int
    wait_ns: int
    frames: tuple[int, int]


def given_up(view: View) -> list[GivenUp]:
    """In order of sessions."""
    offered = {k: alpn or () for k, alpn in view.side.capture.table("hellos").tuples("session_id", "alpn")}
    web = {k for k, alpn in offered.items() if not _WEB.isdisjoint(alpn) or (not alpn and view.ends(k)[3] == HTTPS)}
    found = [
        GivenUp(a.session, a.wait_ns, (a.frames[0], a.frames[-1]))
        for a in view.once(asked).remarkable
        if not a.http and a.given_up and a.wait_ns >= LEAST_NS and a.session in web
    ]
    offering = {k for k in web if offered[k]}
    return sorted([*found, *_short(view, offering), *_of_http2(view)])


def _short(view: View, offering: set[int]) -> list[GivenUp]:
    """Waits of some seconds, of sessions that offered HTTP: whatever its version, a server answers what a client says first (RFC 9113 6.5.3: SETTINGS)."""
    x = view.side.capture.table("exchanges")
    sizes = dict(x.tuples("start_frame", "up_bytes"))
    short = [
        a
        for a in view.once(asked).remarkable
        if not a.http
        and a.given_up
        and SHORT_NS <= a.wait_ns < LEAST_NS
        and a.session in offering
        and sizes.get(a.frames[0], 0) >= SHORTEST
    ]
    of_service = grouped(short, lambda a: view.service(a.session))
    if not of_service:
        return []
    answered = answering(view, set(of_service))
    found: list[GivenUp] = []
    for service, group in of_service.items():
        waits = [a.wait_ns for a in group]
        if service not in answered and len({a.session for a in group}) >= ALIKE and max(waits) - min(waits) <= ALIKE_NS:
            found += [GivenUp(a.session, a.wait_ns, (a.frames[0], a.frames[-1])) for a in group]
    return found


def answering(view: View, services: set[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    """Of some services (client, server, port) those that answered anything inside TLS, before their client had closed."""
    x, fins, records = view.side.capture.table("exchanges"), view.column("orig_fin_ns"), view.side.capture.records
    found = set()
    for k, response in x.tuples("session_id", "response_ns"):
        service = view.service(k)
        if service in services and service not in found and response is not None and not (fins[k] is not None and fins[k] < response):
            said = records.of(k) if records is not None and view.side.http2.get(k) else None
            if said is None or _has_answers(said):
                found.add(service)
    return found


def _has_answers(said: Records) -> bool:
    data = np.flatnonzero(said.kind == APPLICATION)
    way, size = said.way[data].tolist(), said.size[data].tolist()
    asked_at = next((i for i, n in enumerate(size) if not way[i] and n >= REQUEST), None)
    return asked_at is not None and _is_answered(way, size, asked_at, len(size))


def _is_answered(way: list[int], size: list[int], asked_at: int, until: int) -> bool:
    """Whether a server says more behind a request than is for the connection's sake."""
    first = next((i for i, w in enumerate(way) if not w), 0)  # the client's Finished, or its preface
    its = [i for i in range(first, until) if way[i]]
    opened = next((n for n, i in enumerate(its[:OPENING]) if size[i] in SETTINGS), -1)
    return any(size[i] not in CONTROL for n, i in enumerate(its) if n > opened and i > asked_at)


def cancelled(view: View) -> list[GivenUp]:
    """Requests of HTTP/2 in clear that clients reset before any answer (as gRPC does at a deadline), where most of what they asked of that service ended so."""
    calls = [(k, calls) for k in view.first_copies if (calls := view.side.capture.grpc.get(k)) is not None and calls.whole]
    found: list[GivenUp] = []
    for group in grouped(calls, lambda each: view.service(each[0])).values():
        given_up = [GivenUp(k, g.wait_ns, (g.asked, g.frame)) for k, each in group for g in each.given_up if g.wait_ns >= SOON_NS]
        found += given_up if len(given_up) >= MOST * sum(each.requests for _, each in group) else []
    return found


def cancelled_beside(view: View) -> list[GivenUp]:
    """The same of each method of which most ended so, while others of that service were answered: who waits for something there lets go of it as well."""
    calls = [(k, calls) for k in view.first_copies if (calls := view.side.capture.grpc.get(k)) is not None and calls.whole]
    known = {g.session for g in view.once(cancelled)}
    found: list[GivenUp] = []
    for group in grouped(calls, lambda each: view.service(each[0])).values():
        every = [(k, g) for k, each in group for g in each.given_up if g.wait_ns >= SOON_NS and g.path and k not in known]
        for path, these in grouped(every, lambda each: each[1].path).items():
            if len(these) >= MOST * sum(each.times.get(path, 0) for _, each in group):
                found += [GivenUp(k, g.wait_ns, (g.asked, g.frame)) for k, g in these]
    return found


def _of_http2(view: View) -> list[GivenUp]:
    records, s = view.side.capture.records, view.sessions
    lasted, missing = s["end_ns"] - s["start_ns"], s["orig_missing_bytes"] + s["resp_missing_bytes"]
    found: list[GivenUp] = []
    for k in view.in_one:
        if records is None or not view.side.http2.get(k) or lasted[k] < LEAST_NS or missing[k] or (said := records.of(k)) is None:
            continue
        data = np.flatnonzero(said.kind == APPLICATION)
        way, size, ts, frame = said.way[data], said.size[data], said.ts[data], said.frame[data]
        # the client's next word after so long, and none of the server in between
        late = np.flatnonzero((way[1:] == 0) & (np.diff(ts) >= LEAST_NS)) + 1
        ways, sizes = way.tolist(), size.tolist()
        for i in late.tolist():
            # a new request may stand before the reset, but no word of the server, to which the client may say as little
            together = [j for j in range(i, min(i + TOGETHER, len(ways))) if not way[i : j + 1].any() and ts[j] - ts[i] <= TOGETHER_NS]
            reset = next((j for j in together if sizes[j] in RESETS), None)
            asked_at = next((j for j in range(i - 1, -1, -1) if not ways[j] and sizes[j] >= REQUEST), None)
            if reset is not None and asked_at is not None and not _is_answered(ways, sizes, asked_at, i):
                found.append(GivenUp(k, int(ts[i] - ts[i - 1]), (int(frame[i - 1]), int(frame[reset]))))
    return found
