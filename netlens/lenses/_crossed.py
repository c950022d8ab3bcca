"""Servers of Modbus whose answers bear the transaction number of another request than the one they come to, and mail servers behind a firewall that overwrites
what they offer.

A server of Modbus copies the number of a request into its answer (Modbus Messaging on TCP/IP 4.2: MBAP header), and a master drops what bears another. Where
several requests are open, gateways answer them in any order; so only answers count whose number no open request has. Each of these is taken for an answer to
the oldest one.
A firewall that inspects SMTP puts stars in place of the greeting, and X in place of STARTTLS. Mail goes on in clear through it; a client that says EHLO, hears
that, and leaves, wants what it did not find. Who only looks whether the server is there says HELO, or nothing, or comes by the clock.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses._granted import checks
from netlens.lenses._repeats import with_repeats
from netlens.lenses._services import MODBUS
from netlens.lenses._view import FIN, RST, Segments, View, grouped

TIMES = 3  #: answers on a connection, or clients that left
_STARS = int.from_bytes(b"220 ****", "big")
_GOES_ON = (b"MAIL", b"STAR", b"AUTH")


def crossed(view: View) -> list[tuple[int, list[int]]]:
    """(session, frames) of Modbus with such answers, at least half of those that count."""
    missing, lossy, saw_syn = view.missing_bytes, view.once(with_repeats), view.sessions["saw_syn"]
    asked = set(np.flatnonzero((view.sessions["resp_port"] == MODBUS) & saw_syn & (missing == 0)).tolist()) - lossy
    return [(k, frames) for k in filter(asked.__contains__, view.in_one) if (frames := _of_others(view.segments(k)))]


def _of_others(seg: Segments) -> list[int]:
    """Frames of answers with a number that no open request has."""
    waiting: list[int] = []
    found, answers = [], 0
    for i in range(len(seg)):
        if not seg.fresh[i]:
            continue
        head = seg.text(i)
        if head[2:4] != bytes(2) or int.from_bytes(head[4:6], "big") + 6 != seg.length[i]:
            return []  # several in one segment, or none
        number = int.from_bytes(head[:2], "big")
        if seg.orig[i]:
            waiting.append(number)
        elif waiting:
            answers += 1
            if number in waiting:
                waiting.remove(number)
            else:
                waiting.pop(0)
                found.append(seg.frame[i])
    return found if len(found) >= TIMES and 2 * len(found) >= answers else []


def masked(view: View) -> list[tuple[int, bool, list[int]]]:
    """(session, whether it is no check by the clock, frames) of clients of SMTP that left a masked server after EHLO, again and again; none where anybody went
    on with it."""
    left: dict[int, list[int]] = {}
    served: set[tuple[str, int]] = set()
    starred = set(np.flatnonzero(view.first_replies == np.uint64(_STARS)).tolist())
    for k in filter(starred.__contains__, view.in_one):
        seg = view.opening(k)
        said = [(seg.text(i)[:4].upper(), seg.frame[i]) for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]]
        if any(word in _GOES_ON for word, _ in said):
            served.add(view.ends(k)[2:])
        end = seg.closing()
        listed = [seg.frame[i] for i in range(len(seg)) if not seg.orig[i] and seg.fresh[i] and seg.text(i)[:3] == b"250"]
        ended = said[-1:] and (said[-1][0] == b"QUIT" or (end >= 0 and seg.orig[end] and seg.flags[end] & (FIN | RST)))
        if listed and ended and [word for word, _ in said if word != b"QUIT"] == [b"EHLO"]:
            left[k] = [said[0][1], listed[0]]
    of = grouped((k for k in left if view.ends(k)[2:] not in served), view.service)
    starts = view.column("start_ns")
    return [(k, not checks([starts[j] for j in group]), left[k]) for group in of.values() if len(group) >= TIMES for k in group]
