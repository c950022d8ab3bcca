"""Does a file over TFTP stop where its numbers end, or come twice?

Asks: whether a transfer stands still behind block 65535, as one side cannot count on (RFC 1350 has two bytes for the number, and says nothing of more); whether
    from some block on each block and each acknowledgment is sent twice, to the end (the sorcerer's apprentice, RFC 1123 4.2.3.1).
Applies: to conversations over UDP whose acknowledgments go up one by one, at whatever ports.
Cannot see: whether the file was whole before.
Normal: the number begins anew at 0 or 1 where both can, and at 1 for another file, which may come at the same ports; a block that is lost is sent again, and
    then all goes on. Of what is recorded twice both have one identification of IP.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Array
from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding
from netlens.parsers.blocks import ACKNOWLEDGES, DATA, DST, FRAME, IDENT, KIND, NUMBER, PORTS, SRC, TS
from netlens.text import plural

ID = "file-stopped"
GROUP = "delivery"
RANK = 46
LEAST, IN_ORDER = 20, 0.9  #: acknowledgments, and the share of them that follow the one before
LAST = 0xFFFF
TIMES, SPAN_NS = 3, 3 * S  #: blocks behind the last that are sent in vain
TWICE = 0.9  #: share of blocks
LAG = 4  #: blocks by which what comes again may be behind


def look(view: View) -> list[Finding]:
    """At most one of each kind."""
    t = view.side.capture.blocks
    if len(t) < 2 * LEAST:
        return []
    stopped: list[tuple[int, ...]] = []
    doubled: list[tuple[int, ...]] = []
    files = 0
    for part in _files(t):
        blocks, acks = part[part[:, KIND] == DATA], part[part[:, KIND] == ACKNOWLEDGES]
        if len(blocks) < LEAST or len(acks) < LEAST or not _in_order(acks):
            continue
        files += 1
        if frames := _stopped(blocks, acks):
            stopped.append(frames)
        elif (times := _doubled(blocks)) and _doubled(acks):
            doubled.append(times)
    found = []
    if stopped:
        tries = len(stopped[0]) - 1
        text = f"{len(stopped):,} of {plural(files, 'file')} over TFTP stopped behind block 65,535: the next was sent {tries} times, and not taken."
        advice = (
            "One side cannot count beyond two bytes: let both agree on larger blocks (blksize, RFC 2348), take another client, or HTTP."
        )
        values = {"files": files, "stopped": len(stopped)}
        found.append(finding(view, ID, "problem", text, [f for frames in stopped for f in frames], values, advice))
    if doubled:
        text = (
            f"{len(doubled):,} of {plural(files, 'file')} over TFTP came twice from some block on: each block and each acknowledgment was sent two times "
            "(the sorcerer's apprentice)."
        )
        advice = "One side answers an acknowledgment that it had before (RFC 1123 4.2.3.1 forbids it): update it; something delayed the first one."
        found.append(
            finding(view, ID, "problem", text, [f for frames in doubled for f in frames], {"files": files, "doubled": len(doubled)}, advice)
        )
    return found


def _files(t: Array) -> list[Array]:
    """By who sends blocks to whom, and from which block 1 on."""
    acks = (t[:, KIND] == ACKNOWLEDGES)[:, None]
    ports = t[:, PORTS]
    back = ports & ~0xFFFFFFFF | (ports & 0xFFFF) << 16 | ports >> 16 & 0xFFFF
    ends = np.where(acks, np.stack([t[:, DST], t[:, SRC], back], axis=1), np.stack([t[:, SRC], t[:, DST], ports], axis=1))
    order = np.lexsort(ends.T)
    begins = np.flatnonzero(np.diff(ends[order], axis=0).any(axis=1)) + 1
    return [each for part in np.split(t[order], begins) for each in _one_by_one(part)]


def _one_by_one(part: Array) -> list[Array]:
    at = np.flatnonzero(part[:, KIND] == DATA)
    number = part[at, NUMBER]
    before = number[:-1]
    return np.split(part, at[1:][(number[1:] == 1) & (before > 1 + LAG) & (before < LAST - LAG)])


def _steps(numbers: Array) -> Array:
    return (np.diff(numbers) + 0x8000) % 0x10000 - 0x8000


def _in_order(acks: Array) -> bool:
    return bool(np.isin(_steps(acks[:, NUMBER]), (0, 1)).mean() >= IN_ORDER)


def _stopped(blocks: Array, acks: Array) -> tuple[int, ...]:
    """Frames of the last acknowledgment and of what came in vain behind it."""
    at = np.flatnonzero(acks[:, NUMBER] == LAST)
    if not len(at) or (acks[at[0] :, NUMBER] != LAST).any():
        return ()
    last = acks[at[0]]
    vain = blocks[(blocks[:, TS] > last[TS]) & (blocks[:, NUMBER] != LAST)]
    if len(vain) < TIMES or vain[-1, TS] - vain[0, TS] < SPAN_NS:
        return ()
    return (int(last[FRAME]), *vain[:, FRAME].tolist())


def _doubled(rows: Array) -> tuple[int, ...]:
    """Frames of the first that came twice, if nearly all behind it do."""
    place = np.concatenate(([0], np.cumsum(_steps(rows[:, NUMBER]))))
    order = np.argsort(place, kind="stable")
    place, idents, frames = place[order], rows[order, IDENT], rows[order, FRAME]
    again = np.flatnonzero((np.diff(place) == 0) & (idents[1:] != idents[:-1]) & (idents[1:] > 0) & (idents[:-1] > 0))
    if len(again) < LEAST:
        return ()
    first = again[0]
    behind = len(np.unique(place[first:]))
    return tuple(frames[first : first + 2].tolist()) if len(np.unique(place[again])) >= TWICE * behind else ()
