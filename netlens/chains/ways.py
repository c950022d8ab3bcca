"""The compiled walk over all ways to read what a client wrote (:mod:`netlens.chains.grammar`), with the number of requests as a part of the state."""

from __future__ import annotations

import numpy as np

from netlens.wire.compiled import lean

MOST_OPEN = 16  #: requests that have not ended
FEW = 4  #: requests, of which the fields are longer than those of later ones
WINDOW = 120  #: numbers of requests that are likely at a time, at most; where 300 requests leave many in doubt it is some 40
NEGLIGIBLE = 1e-9  #: probability of a state beside the likeliest
#: What a move is: it acknowledges SETTINGS, is a piece of a body, of the first request, of one of the first but the very first.
ACKNOWLEDGES, BODY, FIRST, EARLY = 1, 2, 4, 8


@lean
def forward(first, begun, ended, change, flags, odds, total, best, came, low, evidence):
    """Weigh the moves of each write, ``first[k]`` to ``first[k + 1]``: what each begins, ends, and changes of requests that wait, ``flags``, and how likely it
    is.

    total, best : [k % 2, requests begun, waiting, acknowledged], of all ways and of the likeliest, to the likeliest state; all 0 but the beginning.
    came : [k, requests begun beyond ``low[k]``, waiting, acknowledged], by which move the likeliest way came here.  low : the least number of requests begun
    before each write, and in the end.  evidence : of one number, to which is added how likely all ways are (a logarithm).  Returns the greatest number in the
    end; -1 where no way fits.
    """
    high = 0
    for k in range(len(first) - 1):
        now, then = k & 1, 1 - (k & 1)
        reach = high
        for m in range(first[k], first[k + 1]):
            reach = max(reach, high + begun[m])
        reach = min(reach, low[k] + WINDOW - 1)
        for b in range(low[k], reach + 1):
            for w in range(MOST_OPEN + 1):
                for a in range(2):
                    total[then, b, w, a] = 0.0
                    best[then, b, w, a] = -1.0
        for b in range(low[k], high + 1):
            for w in range(MOST_OPEN + 1):
                for a in range(2):
                    p, q = total[now, b, w, a], best[now, b, w, a]
                    if p == 0.0:
                        continue
                    for m in range(first[k], first[k + 1]):
                        left, to, flag = w + change[m], b + begun[m], flags[m]
                        if left < 0 or left > MOST_OPEN or to > reach:
                            continue
                        if (flag & ACKNOWLEDGES and a) or (flag & BODY and w == 0) or (begun[m] > 0 and w < ended[m]):
                            continue
                        if (flag & FIRST and b > 0) or (flag & EARLY and not 0 < b < FEW):
                            continue
                        told = max(a, flag & ACKNOWLEDGES)
                        total[then, to, left, told] += p * odds[m]
                        if q * odds[m] > best[then, to, left, told]:
                            best[then, to, left, told] = q * odds[m]
                            came[k, to - low[k], left, told] = m - first[k]
        most = top = 0.0
        for b in range(low[k], reach + 1):
            for w in range(MOST_OPEN + 1):
                for a in range(2):
                    most = max(most, total[then, b, w, a])
                    top = max(top, best[then, b, w, a])
        if most <= 0.0:
            return -1
        evidence[0] += np.log(most)
        least, greatest = -1, -1
        for b in range(low[k], reach + 1):
            for w in range(MOST_OPEN + 1):
                for a in range(2):
                    if total[then, b, w, a] > NEGLIGIBLE * most:
                        total[then, b, w, a] /= most
                        best[then, b, w, a] /= top if top > 0.0 else 1.0
                        least = b if least < 0 else least
                        greatest = b
                    else:
                        total[then, b, w, a] = 0.0
        low[k + 1], high = least, greatest
    return high
