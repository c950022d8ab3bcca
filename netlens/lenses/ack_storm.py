"""Do two ends answer each other's acknowledgments without end?

Asks: whether both ends of a connection sent the same bare acknowledgment again and again in turn, while one of them acknowledges what the other never sent.
Applies: to connections captured in both directions.
Cannot see: who put the bytes in, or changed the sequence numbers: without a capture elsewhere a firewall and an attacker look the same.
Normal: an end that hears an acknowledgment of what it has not sent answers with one of its own (RFC 9293 3.10.7.4), once. Keep-alives and window probes are
    answered too (RFC 9293 3.8.4, 3.8.6.1), but there both ends agree on what was sent, but for the one byte before it that a probe has; acknowledgments of
    data that was lost or left out come from one end, or go on. Linux answers no more than twice a second (RFC 5961 7), others each time.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Ints
from netlens.lenses import Finding
from netlens.lenses._view import FIN, RST, SYN, View, finding, grouped, most, seconds
from netlens.text import plural

ID = "ack-storm"
GROUP = "delivery"
RANK = 43
LEAST = 20  #: answers in turn; of a few the ends got over it
FIRST = 0  #: what is acknowledged behind the SYN, which both ends agree on if it is beyond


def storms(view: View) -> dict[int, list[int]]:
    """Sessions with at least :data:`LEAST` such answers: where these stand in the trail."""
    if view.trail is None or not view.sessions.rows:
        return {}
    answers = _answers(view)
    session = view.trail.segments()["session"]
    found = {}
    for k, rows in grouped(answers.tolist(), lambda i: int(session[i])).items():
        if len(rows) >= LEAST and len(never := _never_sent(view, k, np.array(rows))) >= LEAST:
            found[k] = never.tolist()
    return {k: found[k] for k in sorted(set(found).intersection(view.in_one))} if found else {}


def _never_sent(view: View, k: int, rows: Ints) -> Ints:
    """Those of a session's answers that follow an acknowledgment of more than their sender had sent; a program may repeat old segments. Where both ends never
    agreed, something on the way counts otherwise (a SYN proxy, a firewall that randomizes), and each end was told so."""
    assert view.trail is not None
    t, at = view.trail.segments(), view.trail.of(k)
    way, until = t["way"][at], t["offset"][at] + t["length"][at]
    never: Ints = np.zeros(len(rows), np.bool_)
    for end in (0, 1):
        sent = np.maximum.accumulate(np.where(way == end, until, np.iinfo(until.dtype).min))
        beyond = (way[rows - at.start] == end) & (t["acked"][rows - 1] > sent[rows - at.start] + 1)
        if beyond.any():
            acked = t["acked"][at][: rows[beyond][0] - 1 - at.start]
            agreed = (way[: len(acked)] != end) & (acked > FIRST) & (acked <= sent[: len(acked)] + 1)
            never |= beyond & agreed.any()
    return rows[never]


def _answers(view: View) -> Ints:
    """Bare acknowledgments in turn of which both sides repeat the same, and the last follows one of what its sender never sent: rows of the trail."""
    assert view.trail is not None
    t = view.trail.segments()
    bare = (t["length"] == 0) & (t["flags"] & (SYN | FIN | RST) == 0)
    i = np.flatnonzero(bare[3:] & bare[2:-1] & bare[1:-2] & bare[:-3]) + 3
    session, way, sent, acked = t["session"], t["way"], t["offset"], t["acked"]
    i = i[(session[i] == session[i - 3]) & (way[i] == way[i - 2]) & (way[i - 1] == way[i - 3]) & (way[i] != way[i - 1])]
    for column in (sent, acked):
        i = i[(column[i] == column[i - 2]) & (column[i - 1] == column[i - 3])]
    found: Ints = i[acked[i - 1] > sent[i] + 1]
    return found


def look(view: View) -> list[Finding]:
    """Connections of which the ends no longer agree on what was sent."""
    found = view.once(storms)
    if not found or view.trail is None:
        return []
    t = view.trail.segments()
    total = sum(len(rows) for rows in found.values())
    longest = max(int(t["ts"][rows[-1]] - t["ts"][rows[0]]) for rows in found.values())
    deaf = most(view.address(k, bool(orig)) for k, rows in found.items() for orig in view.by_originator(np.array(rows[:1])).tolist())
    text = (
        f"Both ends of {plural(len(found), 'connection')} ({most(view.server(k) for k in found)}) answered each other's acknowledgments again and again, "
        f"{total:,} times over {seconds(longest)}: the other side acknowledges what {deaf} never sent."
    )
    values = {"connections": len(found), "answers": total, "longest_s": longest / 1e9}
    advice = (
        "The ends no longer agree on what was sent: a firewall, proxy or load balancer on the way changes sequence numbers or sends in their names, or an "
        "attacker has put data into the connection. End the connection, and compare with a capture at the other side."
    )
    return [finding(view, ID, "problem", text, [int(f) for rows in found.values() for f in t["frame"][rows].tolist()], values, advice)]
