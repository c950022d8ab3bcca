"""Names that clients ask for again and again, and after which answers of other servers they do so."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from netlens.lenses._asked import Question, rounds
from netlens.lenses._view import S, View, grouped
from netlens.text import plural

#: So many rounds, on average no further apart: a program that still needs the name. What a page or a report needs is asked for once a visit or a minute
ROUNDS, APART_NS = 4, 15 * S
STORM = 20  #: times in a row; a library asks four times for a name (two servers, two attempts: resolv.conf(5)), and three suffixes are other names
LED_NS = S // 10  #: from the end of an answer until its client asks for the name that stands in it
AT_ONCE_NS = S  #: from there until it does so again, having sent the request again: polls and reports have a pace of seconds


class Wanted(NamedTuple):
    """A name that a client asks for in several rounds: first and last queries of each, in ns."""

    client: str
    name: str
    questions: list[Question]
    rounds: list[tuple[int, int]]

    @property
    def how_often(self) -> str:
        """Such as "5 times over 12.4 s"; what is asked for within a second is one time."""
        return f"{plural(len(self.rounds), 'time')} over {(self.rounds[-1][0] - self.rounds[0][0]) / S:.1f} s"

    @property
    def frames(self) -> list[int]:
        """Of queries and answers."""
        return [f for q in self.questions for f in q.frames + q.answer_frames]


def wanted_again(asked: Iterable[Question]) -> list[Wanted]:
    """Names, each with who asks for it in :data:`ROUNDS` rounds and more, seconds apart, or without a pause."""
    groups = grouped(asked, lambda q: (q.client, q.name))
    found = [Wanted(client, name, group, _without_pause(group) or rounds(group)) for (client, name), group in groups.items()]
    return [w for w in found if len(w.rounds) >= ROUNDS and w.rounds[-1][0] - w.rounds[0][0] <= APART_NS * (len(w.rounds) - 1)]


def _without_pause(group: list[Question]) -> list[tuple[int, int]]:
    """Each time that a name was asked for, in rounds as those of :func:`rounds`, where a client asks :data:`STORM` times and more in a row, for longer than a
    moment, though it is answered each time."""
    stormy = [q for q in group if len(q.answer_frames) >= STORM and q.last_ns - q.first_ns >= AT_ONCE_NS]
    return [(ns, ns) for q in stormy[:1] for ns in q.times]


class Led(NamedTuple):
    """A name for which a client asks at once after answers of one service, of which ``session`` is one session; ``frames`` of these answers; how many requests
    it then sent again at once, to be led to the name once more."""

    session: int
    name: str
    frames: list[int]
    again: int


def led_to(view: View, asked: Iterable[Question]) -> list[Led]:
    """Names that stand in answers which need not be readable, as far as can be told: a client asks for one within :data:`LED_NS` after an answer, then sends
    the request again (both have the size that they had), and asks for the name once more within :data:`AT_ONCE_NS` after the first time."""
    when = grouped(sorted((ns, q.client, q.name) for q in asked for ns in q.times), lambda each: each[1])
    if not when:
        return []
    kept, protocol = set(view.first_copies), view.column("protocol")
    found: dict[tuple[tuple[str, str, int], str], dict[int, tuple[int, ...]]] = {}
    names = ("session_id", "start_ns", "end_ns", "up_bytes", "down_bytes", "status", "end_frame")
    for k, start, end, up, down, status, frame in view.side.capture.table("exchanges").tuples(*names):
        if k not in kept or end is None or protocol[k] not in ("tls", "http") or not (status is None or 300 <= status < 400):
            continue
        theirs = when.get(view.ends(k)[0], [])
        at = bisect.bisect_left(theirs, (end, "", ""))
        if at < len(theirs) and theirs[at][0] <= end + LED_NS:
            asked_ns, _, name = theirs[at]
            found.setdefault((view.service(k), name), {})[asked_ns] = asked_ns, start, up, down, frame, k  # the last answer before
    out = []
    for (_, name), answers in found.items():
        led = sorted(answers.values())
        again = sum(a[2:4] == b[2:4] and a[0] <= b[1] and b[0] - a[0] <= AT_ONCE_NS for a, b in pairwise(led))
        out.append(Led(led[0][5], name, [each[4] for each in led], again))
    return out
