"""When lines of opencode's classic log were written, to the millisecond.

Theory of operation
-------------------
1. The form has whole seconds, and the exact milliseconds since the line before. Let T be the time of a line: T is within its second, and T of the next line
   is T plus its ``+Nms``. So each line of an unbroken chain bounds the time of the first one, and the spans are intersected; some ten lines fix a time
   to a tenth of a second, a hundred to milliseconds.
2. Chains break: the program is started again, files are joined, lines are lost. Then no time fits all lines. The lines are cut into as few chains as
   possible, once from the start and once from the end. Any break lies between the two places at which these cuts are made; lines in between
   keep their second, the others are in the same chain whichever way it is cut. A line that cannot be read, but holds what looks like
   the head of one, breaks the chain too. Where breaks are frequent, lines are missing, and every line keeps its second.

Limits: a lost line whose ``+Nms`` was so short that all seconds still fit leaves no trace, and times on one side of it may be off by that
much. That a restarted program's clock and the chain agree by chance, within one second, is not seen either.
"""

from __future__ import annotations  # Python 3.11 has no array[int]

from array import array
from collections.abc import Callable
from functools import cached_property

MS = 1_000_000
SECOND = 1_000_000_000
LINES_A_BREAK = 50  #: a log that breaks more often has lines missing; then breaks too small to be seen must be expected everywhere


class Chain:
    """All lines of the classic form, in the order of the file."""

    def __init__(self) -> None:
        self.second = array("q")  # ns
        self.since = array("q")  # ns; 0 where a damaged line may stand before
        self.joined = array("b")

    def add(self, second_ns: int, since_ns: int, joined: bool) -> int:
        self.second.append(second_ns)
        self.since.append(since_ns)
        self.joined.append(joined)
        return len(self.second) - 1

    @cached_property
    def span(self) -> Callable[[int], tuple[int, int, int]]:
        """Row of a line -> first and last instant at which it was written, and its chain (-1 if it is not known).

        With c the sum of +Nms up to a line, its second s bounds the chain's time 0 to s - c ... s - c + 1 s - 1 ms (T is in whole milliseconds here;
        the millisecond it was cut to is added at the end).
        """
        n = len(self.second)
        forward, backward = _cut(self, range(n)), _cut(self, range(n - 1, -1, -1))
        last = max(backward, default=0)
        if last > n // LINES_A_BREAK:
            return lambda i: (self.second[i], self.second[i] + SECOND, -1)
        sums = array("q", [0]) * n
        total = 0
        for i in range(n):
            total += self.since[i]
            sums[i] = total
        # Lines that lie in chain k counted from the start and in chain k counted from the end
        low: dict[int, int] = {}
        high: dict[int, int] = {}
        sure = array("q", [-1]) * n
        for i in range(n):
            k = forward[i]
            if last - backward[i] == k:
                sure[i] = k
                at = self.second[i] - sums[i]
                low[k] = max(low.get(k, at), at)
                high[k] = min(high.get(k, at + SECOND - MS), at + SECOND - MS)

        def span(i: int) -> tuple[int, int, int]:
            k = sure[i]
            if k < 0:
                return self.second[i], self.second[i] + SECOND, -1
            return low[k] + sums[i], high[k] + sums[i] + MS, k

        return span


def _cut(chain: Chain, order: range) -> array[int]:
    """Number of the chain that each line belongs to, if chains are made as long as they go in this order."""
    out = array("q", [0]) * len(order)
    number, at, low, high = 0, 0, -(1 << 62), 1 << 62
    forward = order.step > 0
    second, since, joined = chain.second, chain.since, chain.joined
    for i in order:
        if forward:
            at += since[i]
            breaks = not joined[i]
        else:
            breaks = i + 1 < len(order) and not joined[i + 1]
            if i + 1 < len(order):
                at -= since[i + 1]
        bound = second[i] - at
        a, b = max(low, bound), min(high, bound + SECOND - MS)
        if breaks or a > b:
            number += i != order[0]
            a, b = bound, bound + SECOND - MS
        low, high = a, b
        out[i] = number
    return out
