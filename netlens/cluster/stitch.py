"""What is final of a file: its own sessions, and those that begin in it and go on elsewhere, stitched together from their rows.

The sessions of a stitched file are in order of their first frames; ``session_id`` among all files is given later. Frames are those of the whole capture.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from netlens.cluster.plan import OWN
from netlens.cluster.rows import Piece, SessionData, copied, joined, sends_of
from netlens.cluster.scan import Scan
from netlens.columns import Array
from netlens.parsers.pipeline import Part
from netlens.wire import columns as c


def stitch(
    found: Scan,
    home: Array,
    pieces: Sequence[Piece],
    first_frames: Sequence[int],
    interfaces: Sequence[Array | None],
    tunnels: bool,
) -> SessionData:
    """All that is final of one file.

    Parameters
    ----------
    home : int64[groups] of this file, see plan.homes.
    pieces : of the sessions that are folded here, in order of the files they come from.
    first_frames, interfaces : frames before each of these files, and their interfaces' numbers; last: those of this file itself.
    tunnels : whether some file holds SSH, so that tunnels must be looked for.
    """
    data = found.data if tunnels else replace(found.data, sends=None)
    parts = [data.take(home[found.facts.keys.group] == OWN, first_frames[-1], interfaces[-1])]
    if pieces:
        parts.append(_folded(found.facts.products, pieces, first_frames, interfaces, tunnels))
    return joined(parts)


def _folded(
    products: tuple[str, ...], pieces: Sequence[Piece], first_frames: Sequence[int], interfaces: Sequence[Array | None], tunnels: bool
) -> SessionData:
    """Fold the rows of ``pieces`` as one stream; as ``Part.merge``, but for sessions of several files and with all frames known."""
    part = Part([p for p in products if p != "tunnels"])
    part.fold.admit_all()  # a flood is bounded in each file, or not at all
    sends: list[Array] = []
    for one, first_frame, numbers in zip(pieces, first_frames, interfaces, strict=False):
        rows = one.packets(first_frame, numbers)
        names, ways = rows[:, [c.SESSION, c.DIRECTION]].T
        part.fold.feed(rows)
        began = one.begins[names]
        kept = np.full(len(one.begins), -1, np.int64)
        kept[names[began]] = rows[began, c.SESSION]
        turned = np.zeros(len(one.begins), np.bool_)
        turned[names] = ways != rows[:, c.DIRECTION]
        part.hellos.merge(one.hellos, kept, first_frame, turned)
        _read(part, one, rows, began, first_frame)
        part.follow(rows)
        if tunnels:
            sends.append(sends_of([rows], part.fold.sessions))
    state = part.state().copy()
    exchanges = None if part.exchanges is None else part.exchanges.rows(state)
    late = [copied(part.lookups)] if part.lookups is not None and part.lookups.messages else []
    sni = part.hellos.sni_of_sessions(len(state))
    return SessionData(state, part.fold.rare(), part.fold.missing(), sni, exchanges, late, np.concatenate(sends) if tunnels else None)


def _read(part: Part, one: Piece, rows: Array, began: Array, first_frame: int) -> None:
    """Read what the piece has of payload: hellos of sessions that went on into it from an earlier one, and DNS of all."""
    if not len(rows):
        return
    frames = rows[:, c.FRAME] - first_frame
    at = np.searchsorted(one.payload.frames, frames)
    known = at < len(one.payload.frames)
    known[known] = one.payload.frames[at[known]] == frames[known]
    rows[:, c.PAY_CAP] = 0
    rows[known, c.PAY_OFF] = one.payload.starts[at[known]]
    rows[known, c.PAY_CAP] = one.payload.starts[at[known] + 1] - one.payload.starts[at[known]]
    area = one.payload.data if len(one.payload.data) else np.zeros(1, np.uint8)
    if not began.all():
        part.hellos.feed(area, rows[~began])
    if part.streams is not None:
        part.streams.feed(area, rows, part.fold.state())
