"""Requests whose client waited in vain, and gave up: inside TLS, and of HTTP/2 in clear.

What is asked inside TLS cannot be read, so only that is told of which nothing else looks like it. A client of HTTP/1.1 closes: its request was acknowledged,
and nothing came back. One of HTTP/2 resets the stream, by a frame of 13 bytes (RFC 9113 6.4), in a record by itself or with PING or GOAWAY; after seconds
without a word of the server, to which it could say as little.

Normal: who does not want to wait closes after some time, a program after the same each time. A person leaves a page that goes on waiting for events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.lenses._requests import asked
from netlens.lenses._view import S, View, grouped
from netlens.parsers.records import APPLICATION

LEAST_NS = 3 * S
SOON_NS, MOST = S // 2, 0.5  #: in clear: shorter waits may be for the quickest of several; and the share of all
REQUEST = 200  #: bytes; less may be what a client says for the connection's sake
_FRAME, _RESET, _PING, _GOAWAY = 9, 4, 8, 8  # bytes of a header and of what follows it (RFC 9113 4.1, 6.4, 6.7, 6.8)
_RESETS = tuple(_FRAME + _RESET + more for more in (0, _FRAME + _PING, _FRAME + _GOAWAY, _FRAME + _GOAWAY + _FRAME))
_HIDDEN = (17, 24, 16)  # what encryption adds: TLS 1.3; AES-GCM and ChaCha20 of TLS 1.2
RESETS = tuple(size + more for size in _RESETS for more in _HIDDEN)


class GivenUp(NamedTuple):
    """How long it was waited for an answer, or for more of it, and the frames of the last word and of the end."""

    session: int
    wait_ns: int
    frames: tuple[int, int]


def given_up(view: View) -> list[GivenUp]:
    """In order of sessions."""
    found = [
        GivenUp(a.session, a.wait_ns, (a.frames[0], a.frames[-1]))
        for a in view.once(asked).remarkable
        if not a.http and a.given_up and a.wait_ns >= LEAST_NS
    ]
    return sorted([*found, *_of_http2(view)])


def cancelled(view: View) -> list[GivenUp]:
    """Requests of HTTP/2 in clear that clients reset before any answer (as gRPC does at a deadline), where most of what they asked of that service ended so."""
    calls = [(k, calls) for k in view.first_copies if (calls := view.side.capture.grpc.get(k)) is not None and calls.whole]
    found: list[GivenUp] = []
    for group in grouped(calls, lambda each: view.service(each[0])).values():
        given_up = [GivenUp(k, g.wait_ns, (g.asked, g.frame)) for k, each in group for g in each.given_up if g.wait_ns >= SOON_NS]
        found += given_up if len(given_up) >= MOST * sum(each.requests for _, each in group) else []
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
        for i in late.tolist():
            resets = [j for j in range(i, len(way)) if ts[j] - ts[i] < S and way[j] == 0 and size[j] in RESETS]
            if resets and (way[:i] == 0).any() and size[:i][way[:i] == 0].max() >= REQUEST:
                found.append(GivenUp(k, int(ts[i] - ts[i - 1]), (int(frame[i - 1]), int(frame[resets[0]]))))
    return found
