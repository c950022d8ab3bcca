"""How many requests a client wrote at once, where signs that do not depend on each other, or that cannot be by chance, tell it without anything learned.

Two such signs are known. nginx and HAProxy send so many WINDOW_UPDATEs for each body (:mod:`netlens.chains.explained.updates`). And where answers are streams,
pieces are of about one size, so that what is of other sizes begins answers, as it has their fields, or ends them: as many are begun as are ended, none ends
before it is begun, and none is in progress behind the last end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from netlens.chains import asked
from netlens.chains.asked import EMPTY, FULL, Record
from netlens.chains.explained.talks import MS, Talk

APART = 4  #: bytes by which sizes of pieces follow each other, at most
LEAST_PIECES, MOST_ARE_PIECES, SIZES = 5, 0.4, 3  #: records, share of all, and different sizes of these
EMPTY_NS = 3 * MS  #: from the last piece to the empty frame behind it
WHOLE_READ = FULL // 2  #: bytes of a body for each WINDOW_UPDATE of HAProxy, at most, so that none has two


def number(talk: Talk) -> int | None:
    """Requests of a connection; None where nothing shows how many, or what does disagrees."""
    over = not talk.cut and talk.said.answers and talk.best.streams and talk.best.streams[-1].begin_ns < talk.said.answers[-1].ts
    shown = {n for n in (_paid(talk) if talk.at_once else 0, _begun_and_ended(talk.said.answers) if over else 0) if n}
    return shown.pop() if len(shown) == 1 else None


def _paid(talk: Talk) -> int:
    """Bodies that the server paid for with WINDOW_UPDATEs before it answered; 0 where it does not do so as a rule."""
    said = talk.said
    first_ns = said.answers[0].ts if said.answers else talk.over_ns
    records = [asked.updates(r) for r in talk.controls if r.ts <= first_ns and asked.updates(r)]
    if said.pays == 1:
        return sum(records)
    bodies = sum(records) - len(records)  # each read has one for the connection
    return bodies if said.pays and talk.best.streams[0].up <= WHOLE_READ * bodies else 0


def _begun_and_ended(answers: Sequence[Record]) -> int:
    """Answers that are begun and ended; 0 where records do not show that."""
    pieces = _pieces([r.size for r in answers if r.size != EMPTY])
    if not answers or (not pieces and answers[-1].size != EMPTY):
        return 0
    begun = ended = 0
    for k, (r, after) in enumerate(zip_longest(answers, answers[1:])):
        before_empty = after is not None and after.size == EMPTY and after.ts - r.ts <= EMPTY_NS
        if r.size == EMPTY or (k and not before_empty and r.size == answers[-1].size and r.size < pieces.start):
            ended += 1
        elif k and (r.size in pieces or before_empty) and begun > ended:
            continue
        elif r.size in pieces and k:
            return 0  # of none that is in progress
        else:
            begun += 1
        if ended > begun:
            return 0
    return begun if begun == ended else 0


def _pieces(sizes: Sequence[int]) -> range:
    """Sizes of pieces: of those that follow each other closely the most records; empty where these are few, or of one size."""
    groups: list[list[int]] = [[]]
    for size in sorted(sizes):
        if groups[-1] and size - groups[-1][-1] > APART:
            groups.append([])
        groups[-1].append(size)
    most = max(groups, key=len)
    enough = len(most) >= max(LEAST_PIECES, MOST_ARE_PIECES * len(sizes)) and len({*most}) >= SIZES
    return range(most[0], most[-1] + 1) if enough else range(0)
