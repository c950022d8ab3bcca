"""WINDOW_UPDATEs that many servers send for each body (RFC 9113 6.9), so that their number tells how many requests a write began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netlens.chains import asked
from netlens.chains.asked import FULL, UPDATE_NS
from netlens.chains.explained.talks import MS, Talk

ALONE_NS = 60 * MS  #: from a body to the requests before and behind it, to learn of its WINDOW_UPDATEs
LEAST_SEEN = 5  #: bodies with as many of them
AS_A_RULE = 0.75  #: share of these among bodies with any
MOST_MISSED = 0.15  #: share of bodies without one
NEARLY_ALL, TIMES, LATER_NS = 0.95, 2, 20 * MS  #: share of their delays; one that is late takes so many times as long, and some more
OTHER = 0.02  #: bodies that had none, or as many as another, beside those that were seen
LEAST_OTHER = 1e-3  #: how likely either is, at least


class Updates(NamedTuple):
    """WINDOW_UPDATEs that a server sends for each body: how many (0: not as a rule), how often none shows, how long after it at most, and how often there are
    others."""

    each: int = 0
    missed: float = 1.0
    within_ns: int = 0
    other: float = 1.0

    def odds(self, several: int, bodies: int) -> float:
        """How likely ``several`` in one record are those of so many bodies; of a window of the connection, one is enough for all."""
        fits = bodies and several in (self.each * bodies, (self.each - 1) * bodies + 1)
        return 1 - self.other if fits else self.other


#: Of servers that are known to send them, until enough of theirs were seen.
KNOWN = {each: Updates(each, OTHER, UPDATE_NS, OTHER) for each in (1, 2)}


def updates(talks: Sequence[Talk]) -> Updates:
    """What a server sends for bodies, by those behind which no other request begins for a while."""
    those = [sent for talk in talks for sent in _sent(talk)]
    seen = Counter(many for many, _ in those)
    bodies, none = seen.total(), seen[0]
    each, n = max(seen.items(), key=lambda item: (item[0] > 0, item[1]), default=(0, 0))
    if not each or n < LEAST_SEEN or n < AS_A_RULE * (bodies - none) or none > MOST_MISSED * bodies:
        return Updates()
    delays = sorted(delay_ns for many, delay_ns in those if many)
    others = bodies - none - n - seen[2 * each]
    missed, other = (max((k + OTHER) / (bodies + 1), LEAST_OTHER) for k in (none, others))
    return Updates(each, missed, TIMES * delays[int(len(delays) * NEARLY_ALL)] + LATER_NS, other)


def _sent(talk: Talk) -> Iterator[tuple[int, int]]:
    """How many came of each body that is alone, and the delay of the last one."""
    streams = talk.best.streams
    for before, each, after in zip([None, *streams], streams, [*streams[1:], None], strict=False):
        if before is not None and each.begin_ns - before.sent_ns < ALONE_NS:
            continue
        if after is not None and after.begin_ns - each.sent_ns < ALONE_NS:
            continue
        if each.up < FULL and each.begin_ns > talk.said.settings_ns:
            until = min(after.begin_ns if after is not None else talk.over_ns, each.sent_ns + UPDATE_NS)
            those = [r for r in talk.said.updates if each.sent_ns < r.ts < until and asked.updates(r)]
            yield sum(map(asked.updates, those)), those[-1].ts - each.sent_ns if those else 0
