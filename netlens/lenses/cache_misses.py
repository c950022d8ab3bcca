"""Did a cache lose what had been stored in it?

Asks: of reads of memcached by key, how many found nothing though the key had been stored before, its time was not over, and nobody deleted it.
Applies: to the text protocol at port 11211, to commands of one key.
Cannot see: what other clients delete or overwrite beside the capture; pipelined commands. So this is never more than a warning. Of a key only a number is kept
    that tells whether two are the same.
Normal: a key that was never stored is not there (a cold cache), and neither is one whose time is over (protocol.txt, Expiration times: seconds up to 30 days,
    else a date) or that was deleted. A full memcached gives up what was used least recently (its documentation, LRU), some of which is asked for again; where
    that is a tenth of the reads of what was stored while somebody looked, it is too small for what it is to hold.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.parsers.denials import BY_NAME, Answer
from netlens.text import endpoint

ID = "cache-misses"
GROUP = "answers"
RANK = 84
LEAST, SHARE = 10, 0.1  #: reads that found nothing, and of all reads of what had been stored
MEMCACHED = BY_NAME["memcached"].NAME
PORT, DIGEST = 11211, 4  #: bytes of a key's number
RELATIVE_S = 60 * 60 * 24 * 30  #: of exptime; more is a date
FOR_GOOD = 1 << 62
STORED, VALUE, END, DELETED, OK = (
    int.from_bytes(word.ljust(8, b"\0"), "big") for word in (b"STORED\r\n", b"VALUE ", b"END\r\n", b"DELETED\r", b"OK\r\n")
)


def look(view: View) -> list[Finding]:
    """What servers of memcached no longer had."""
    answers = [a for a in view.side.capture.denials if a.protocol == MEMCACHED and not a.no]
    if len(answers) < LEAST or view.one_sided:
        return []
    said = _first_words(view)
    found: list[Answer] = []
    reads = 0
    for group in grouped(answers, lambda a: a.server).values():
        lost, of = _lost(sorted(group, key=lambda a: a.ts), said)
        if len(lost) >= max(LEAST, SHARE * of):
            found += lost
            reads += of
    if not found:
        return []
    text = (
        f"{len(found):,} of {reads:,} reads from {most(endpoint(a.server, PORT) for a in found)} (memcached) of what had been stored before found nothing, "
        "though its time was not over: evicted, or deleted by somebody else."
    )
    return [finding(view, ID, "warning", text, [a.frame for a in found], {"reads": reads, "misses": len(found)})]


def _first_words(view: View) -> dict[int, int]:
    """By frame, how answers begin: segments of a server behind one of its client."""
    if view.trail is None or not view.sessions.rows:
        return {}
    t = view.trail.segments()
    rows = np.flatnonzero((view.sessions["resp_port"] == PORT)[t["session"]] & (t["fresh"] > 0) & (t["length"] > 0))
    orig, of = view.by_originator(rows), t["session"][rows]
    first = 1 + np.flatnonzero(orig[:-1] & ~orig[1:] & (of[:-1] == of[1:]))
    return dict(zip(t["frame"][rows[first]].tolist(), t["head"][rows[first]].tolist(), strict=True))


def _lost(answers: list[Answer], said: dict[int, int]) -> tuple[list[Answer], int]:
    """Reads of one server that found nothing of what it should have, and reads of all that it should have.  answers : in order."""
    until: dict[bytes, int] = {}  # by key
    lost: list[Answer] = []
    reads = 0
    for a in answers:
        word, key = said.get(a.frame, 0), a.asked[:DIGEST]
        if word == OK:  # flush_all
            until.clear()
        elif word == STORED and len(a.asked) > DIGEST:
            lasts = int.from_bytes(a.asked[DIGEST:], "big")
            until[key] = FOR_GOOD if not lasts else a.ts + lasts * S if lasts <= RELATIVE_S else lasts * S
        elif word == DELETED:
            until.pop(key, None)
        elif len(a.asked) == DIGEST and a.ts < until.get(key, 0) and (word == END or word >> 16 == VALUE >> 16):
            reads += 1
            if word == END:
                lost.append(a)
                del until[key]
    return lost, reads
