"""Questions of the DNS over TCP (RFC 7766) that were never answered, each for itself: what a datagram says that was truncated to nothing is no answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.lenses._asked import OF_SERVERS, PENDING_NS, PORT
from netlens.lenses._unanswered import is_out_of_order
from netlens.lenses._view import FIN, RST, S, View
from netlens.parsers.streams import MAX_STREAMS
from netlens.text import printable

GAVE_UP_NS = 2 * S  #: a client that waits as long and closes has given up (RFC 8767 5)


class InVain(NamedTuple):
    """A question over TCP without an answer. ``closed``: the frame with which the server closed, None where it stayed silent for ``waited_ns``. ``beside``:
    questions on the same connection that it did answer. ``truncated``: a datagram had said that the answer is too long for it."""

    name: str
    type: str
    client: str
    resolver: str
    frame: int
    closed: int | None
    waited_ns: int
    beside: int
    truncated: bool

    @property
    def shown(self) -> str:
        """The name, with its type where that is not A."""
        return printable(self.name if self.type == "A" else f"{self.name} ({self.type})")


class OverTcp(NamedTuple):
    """How many questions came over TCP, and those that were answered in no way."""

    asked: int
    in_vain: list[InVain]


def over_tcp(view: View) -> OverTcp:
    """Questions on connections that were captured whole, of which the server closed with the question open, or said nothing until the client gave up."""
    lookups = view.side.capture.part.lookups
    names = ("transport", "qname", "qtype", "orig_ip", "resolver_ip", "query_ns", "query_frame", "answer_ns", "answer_frame")
    rows = [
        (transport, name.lower(), *rest)
        for transport, name, *rest in view.side.capture.table("lookups").tuples(*names)
        if name is not None and transport != "mdns"
    ]
    by_tcp = [r for r in rows if r[0] == "tcp" and r[5] is not None and r[2] not in OF_SERVERS]
    streams = int((view.sessions["resp_port"] == PORT).sum())
    cut = "cut_payload" in view.side.capture.table("quality")["reason"].tolist()  # nothing is read behind what the snaplen cut
    if not by_tcp or lookups is None or view.trail is None or view.one_sided or cut or 2 * streams > MAX_STREAMS:
        return OverTcp(len(by_tcp), [])
    bare = lookups.bare()
    answered: dict[tuple[str, str, str], int] = {}
    too_long = set()
    for _, name, kind, client, _, _, _, at, frame in rows:
        if frame in bare:
            too_long.add((name, kind, client))
        elif at is not None:
            answered[name, kind, client] = max(at, answered.get((name, kind, client), 0))
    t = view.trail.segments()
    at = np.flatnonzero(np.isin(t["frame"], [r[6] for r in by_tcp]))
    session = dict(zip(t["frame"][at].tolist(), t["session"][at].tolist(), strict=True))
    served: dict[int, int] = {}
    for r in by_tcp:
        if r[7] is not None and r[6] in session:
            served[session[r[6]]] = served.get(session[r[6]], 0) + 1
    whole, found = set(view.in_one), []
    for _, name, kind, client, resolver, sent, frame, at_ns, _ in by_tcp:
        k = session.get(frame, -1)
        if at_ns is not None or k not in whole or view.missing_bytes[k] or answered.get((name, kind, client), 0) >= sent:
            continue
        end = _end(view, k, sent, frame)
        if end is not None:
            found.append(InVain(name, kind, client, resolver, frame, *end, served.get(k, 0), (name, kind, client) in too_long))
    return OverTcp(len(by_tcp), found)


def _end(view: View, k: int, sent: int, frame: int) -> tuple[int | None, int] | None:
    """The frame with which the server closed on a question that it had taken in, or None, and how long that was waited for; None where it cannot be told."""
    seg = view.segments(k)
    if is_out_of_order(seg) or frame not in seg.frame:
        return None
    asked = seg.frame.index(frame)
    end = next((i for i in range(len(seg)) if seg.flags[i] & (FIN | RST)), None)
    if end is None:
        waited = view.end_of(frame) - sent
        return (None, waited) if waited >= PENDING_NS else None
    waited = seg.ts[end] - sent
    if seg.orig[end]:
        return (None, waited) if waited >= GAVE_UP_NS else None
    return (seg.frame[end], waited) if end > asked and seg.acked[end] >= seg.end(asked) else None
