"""How many requests a connection had, where signs that cannot come out even by chance tell it without anything learned.

1. *Begun and ended.* Where answers are streams, pieces are of about one size, so that what is of other sizes begins answers, as it has their fields, or ends
   them. As many are begun as are ended, none ends before it is begun, and none is in progress behind the last end.
2. *Paid for.* nginx sends one WINDOW_UPDATE for each body, whatever its size, and HAProxy one for each DATA frame and one each time that it has read
   (:mod:`netlens.chains.explained.updates`).
3. *Heads*, of servers that write them in records of their own: as many as there are ends, by a coarser look at sizes (17 of 18 such numbers were right), so
   that they tell only what nothing else does. Go writes every head so, also behind WINDOW_UPDATEs of as many bytes, so that there are no fewer answers, and as
   many if that is the likeliest number.
4. *Ends*, if there are as many as the model of what was learned finds likeliest. Neither is sure by itself (22 of 24 were right where both agreed, the other
   two of all that was written at once).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from operator import attrgetter

from netlens.chains import asked, grammar
from netlens.chains.asked import EMPTY, FULL, MOST_TOGETHER, PING, Record
from netlens.chains.explained.counting import Counted
from netlens.chains.explained.numbers import by_client
from netlens.chains.explained.talks import EMPTY_NS, LONGER, LONGEST_HEAD, MS, SHORT_HEAD, Talk, pieces_of
from netlens.parsers.http2 import WINDOW_UPDATE

LONGEST_END = 30  #: bytes of an end, at most
LONGEST_PIECE = 1 << 20
WIDEST = 16  #: bytes by which pieces differ, at most, for fields to be told by what they add
ALLOWED = 0.005  #: how likely a number is by the client alone, at least, for ends to be enough
SEVERAL = 1.6  #: times that a body is as long as others, if it may be several
ENDS_NS = 20 * MS  #: from the last piece to the empty frame behind it, at most
LEAST_HEAD = 30  #: bytes of the first head, as nothing of it was said before, at least
WINDOW = 4096  #: bytes of bodies for each WINDOW_UPDATE of Go, at least
WHOLE_READ = FULL // 2  #: bytes of a body for each WINDOW_UPDATE of HAProxy, at most, so that none has two, and all are in one record


def number(talk: Talk, told: Counted | None) -> int | None:
    """Requests of a connection; None where nothing shows how many, or what does disagrees.

    told : what is known of them without signs.
    """
    shown = _shown(talk, told)
    if not talk.said.apart or told is None or not is_over(talk):
        return shown
    heads, together = heads_apart(talk)
    heads += together
    if shown is None:
        likeliest, (even, ended) = len(told.streams), _by_heads(talk)
        if heads == likeliest or (not heads and likeliest in _behind_updates(talk)):
            return likeliest
        return heads if heads == even == ended > 0 else None
    return shown if shown >= heads > 0 and not (told.exact and told.most > shown) else None


def heads_apart(talk: Talk) -> tuple[int, int]:
    """Heads of a server that writes them in records of their own, but those that may be WINDOW_UPDATEs; and those of which two that were written at once are in
    one record, perhaps with WINDOW_UPDATEs before them. Neither where the first may have others beside it, or where any may be missing of what was written all
    at once."""
    if not talk.said.apart or not talk.said.answers:
        return 0, 0
    starts = [each.begin_ns for each in talk.best.streams]
    asides, (_, *looks) = talk.asides(starts), talk.looks(starts)
    first_ns = talk.said.answers[0].ts
    before = max((r.size for r in talk.controls if r.ts < first_ns), default=0)
    if talk.at_once and talk.said.answers[0].size > LONGEST_HEAD and before <= LEAST_HEAD:
        return 0, 0  # it may hold several
    hidden = (talk.at_once or talk.said.at_once) and any(
        look.head <= 0 for look, r in zip(asides, talk.controls, strict=True) if r.ts >= first_ns
    )
    if hidden or not talk.said.acknowledged:
        return 0, 0
    heads = {look.size for look in looks if look.head > 0}
    two = {a + b + n * WINDOW_UPDATE for a in heads for b in heads for n in range(MOST_TOGETHER + 1)}
    pieces = pieces_of([look.size for look in looks if not look.empty])
    hold_two = two & {*range(SHORT_HEAD + 1, LONGEST_HEAD + 1)} - {*pieces}
    return 1 + sum(look.head > 0 for look in (*looks, *asides)), 2 * sum(look.size in hold_two for look in looks if not look.head)


def other_heads(talk: Talk, number: int) -> int:
    """Heads where they speak against a number of requests: more, of which two are in one record, or one less, and as many as answers that end; else 0."""
    heads, together = heads_apart(talk)
    heads += together
    return heads if (together and heads > number) or (0 < heads == number - 1 == _by_heads(talk)[1]) else 0


def _behind_updates(talk: Talk) -> range:
    """Requests that were written all at once to a server of which heads may be as long as WINDOW_UPDATEs: as many as answers that end, if there may be as many
    heads; else none.

    Go sends a WINDOW_UPDATE for every :data:`WINDOW` of what it has read, at least, so that what is beyond these is heads.
    """
    answers = talk.said.answers
    if not talk.at_once or not talk.said.acknowledged:
        return range(0)
    looks = talk.looks([talk.best.streams[0].begin_ns])
    short = [r for r in talk.controls if r.ts < answers[-1].ts]
    seen = 1 + sum(look.head > 0 for look in looks[1:]) + sum(r.size == PING for r in short)
    may_be = sum(map(asked.updates, short))
    updates = 1 + talk.best.streams[0].up // WINDOW  # the first one is for the connection as it opens
    _, ended = _by_heads(talk)
    return range(ended, ended + 1) if seen + max(may_be - updates, 0) <= ended <= seen + may_be else range(0)


def _shown(talk: Talk, told: Counted | None) -> int | None:
    """Requests by what comes out even; None where nothing does, or what does disagrees."""
    once = talk.at_once or talk.said.at_once
    even = _begun_and_ended(talk.said.answers, widest=WIDEST if once else LONGEST_PIECE) if is_over(talk) else 0
    shown = {n for n in (_paid(talk) if talk.at_once else 0, even) if n}
    if len(shown) == 1:
        return shown.pop()
    if shown or told is None:
        return None
    paid, likeliest = paid_in_all(talk), len(told.streams)
    if paid > told.most or (paid and paid >= told.least and (talk.said.bodies or paid == likeliest)):
        return paid
    if not is_over(talk):
        return None
    by_heads, ended = _by_heads(talk)
    if by_heads and (by_heads == likeliest or not told.exact):
        return by_heads
    empty = empty_ends(talk) if talk.said.answers[-1].size == EMPTY else 0
    if empty == likeliest > 1:
        return likeliest
    allowed = not once and not talk.said.waited and by_client(talk.ways, None).get(likeliest, 0.0) >= ALLOWED
    return likeliest if ended == likeliest > 1 and allowed else None


def is_over(talk: Talk) -> bool:
    """Whether the connection was closed, and all that was asked for seems to be answered."""
    answers, asked_for = talk.said.answers, talk.best.streams
    return not talk.cut and bool(answers and asked_for) and asked_for[-1].begin_ns < answers[-1].ts


def _paid(talk: Talk) -> int:
    """Bodies that the server paid for with WINDOW_UPDATEs before it answered; 0 where it does not do so as a rule."""
    said = talk.said
    first_ns = said.answers[0].ts if said.answers else talk.over_ns
    records = [asked.updates(r) for r in talk.controls if r.ts <= first_ns and asked.updates(r)]
    if any(n > MOST_TOGETHER for n in records[1:]):
        return 0  # it is rather the head of an answer
    if said.pays == 1:
        return sum(records)
    bodies = sum(records) - len(records)  # each read has one for the connection
    return bodies if said.pays and sum(r.size for r in said.mine) <= min(WHOLE_READ * bodies, FULL) else 0


def _begun_and_ended(answers: Sequence[Record], widest: int) -> int:
    """Answers that are begun and ended; 0 where records do not show that, or pieces with fields before them do not, as pieces differ by more bytes than
    ``widest``."""
    said = [r.size for r in answers if r.size != EMPTY]
    pieces = pieces_of(said)
    if not said or (not pieces and answers[-1].size != EMPTY) or (answers[0].size > LONGEST_HEAD and len(pieces) > widest):
        return 0
    last = said[-1] if said[-1] < pieces.start else EMPTY  # what streams end with, with an empty frame behind it or without
    # a last piece with what was used is longer than others; what looks so may also be the beginning of another answer
    told = _even(answers, pieces, last, (EMPTY,)) or _even(answers, pieces, last, (EMPTY, last))
    longest, empty = answers[0].size + LONGER, [r.ts for r in answers if r.size == EMPTY]
    bodies = [r.ts for r in answers if r.size > longest and r.size not in pieces]
    each_ends = all(bisect_right(empty, ns + ENDS_NS) > bisect_left(empty, ns) for ns in bodies)
    if told or answers[0].size > LONGEST_HEAD or answers[-1].size != EMPTY or not each_ends:
        return told
    return _even(answers, range(longest + 1, LONGEST_PIECE), EMPTY, (EMPTY,))  # heads have records of their own


def _even(answers: Sequence[Record], pieces: range, last: int, behind: Sequence[int]) -> int:
    """Answers that are begun and ended; 0 where these are not as many.  last : bytes of what ends one, if it is not empty.  behind : bytes of what stands at
    once behind a piece of any size."""
    begun = ended = 0
    for k, (r, after) in enumerate(zip_longest(answers, answers[1:])):
        then = _soon(r, after)
        if r.size == EMPTY or (k and then != EMPTY and r.size == last):
            ended += 1
        elif k and (r.size in pieces or then in behind) and begun > ended:
            continue
        elif r.size in pieces and k:
            return 0  # of none that is in progress
        else:
            begun += 1
        if ended > begun:
            return 0
    return begun if begun == ended else 0


def empty_ends(talk: Talk) -> int:
    """Empty frames, each of which ends an answer."""
    return sum(r.size == EMPTY for r in talk.said.answers)


def paid_in_all(talk: Talk) -> int:
    """Bodies that nginx paid for, which is one WINDOW_UPDATE each, or HAProxy, which has one more for each read, and reads long bodies in parts, so that these
    are not told; 0 of other servers. Requests without a body are beside these, and those that it refuses without having read them."""
    said, records = talk.said, [n for r in talk.controls if (n := asked.updates(r))]
    heads = any(asked.updates(r) > MOST_TOGETHER + (said.pays > 1) for r in said.updates)  # rather heads that are as long
    if not said.pays or heads or (said.pays > 1 and max(w.size for w in grammar.written(said.mine, said.preface)) > WHOLE_READ):
        return 0
    return sum(records) - (len(records) if said.pays > 1 else 0)


def _by_heads(talk: Talk) -> tuple[int, int]:
    """Answers whose heads have a record of their own (Go, HAProxy) that end as often as they begin, 0 where they do not; and how often they end.

    What is as short as the first head, and no piece nor an end, is a head (HPACK makes none longer but for a few bytes); what is longer and no piece is a whole
    body. One record may hold both.
    """
    said = talk.said
    late = (r for r in said.updates if r.size in asked.ACKNOWLEDGMENTS and r.size > EMPTY and r.ts > said.answers[0].ts)
    records = sorted([*said.answers, *late], key=attrgetter("ts", "frame"))
    longest = records[0].size + LONGER
    pieces = pieces_of([r.size for r in records if r.size != EMPTY])
    if records[0].size > LONGEST_HEAD or records[0].size in pieces:
        return 0, 0
    others = [r.size for r in records[1:] if r.size != EMPTY and r.size not in pieces]
    bodies = Counter(size for size in others if size > longest)
    heads = {size for size in others if size <= longest}
    with_head = {size + head for size, n in bodies.items() if n > 1 for head in heads}
    last = next((r.size for r in reversed(records) if r.size != EMPTY), EMPTY)
    ends = (EMPTY, last) if last < min(pieces.start, LONGEST_END) else (EMPTY,)
    even, begun, ended = True, 1, 0
    for r, after in pairwise([*records[1:], None]):
        assert r is not None
        then = _soon(r, after)
        before_empty, before_end = then == EMPTY, then in ends
        if r.size == EMPTY or (not before_empty and r.size in ends):
            ended += 1
        elif r.size in pieces or (before_end and (pieces or before_empty)):
            continue
        elif r.size <= longest:
            begun += 1
        else:
            ended += 1
            begun += any(abs(r.size - each) <= 1 for each in with_head)
        even = even and ended <= begun
    several = max(bodies, default=0) > SEVERAL * min([*bodies, *pieces[-1:]], default=0)  # one record may hold so many
    differ = talk.at_once and not pieces and records[-1].size != EMPTY and len({*bodies} - with_head) > 1
    return begun if even and begun == ended and not (several or differ) else 0, ended


def _soon(r: Record, after: Record | None) -> int:
    """Bytes of what follows a record at once; 0 of nothing."""
    return after.size if after is not None and after.ts - r.ts <= EMPTY_NS else 0
