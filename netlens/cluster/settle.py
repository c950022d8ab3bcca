"""What is final of a file: its own sessions, and those that begin in it and go on elsewhere, folded from their rows.

The sessions of a settled file are in order of their first frames; ``session_id`` among all files is given later. Frames are those of the whole capture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netlens.cluster.plan import OWN
from netlens.cluster.scan import T_COLUMNS, Piece, Scan, copied, renumbered, sends_of
from netlens.parsers import session_state as s_
from netlens.parsers.pipeline import Part
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire import dns as d

Array = np.ndarray[Any, Any]

_EXCHANGE_FRAMES = ("start_frame", "response_frame", "end_frame")


@dataclass
class Settled:
    """Sessions in order of their first frames, and what hangs on them. ``MATE`` and ``session_id`` count within it."""

    state: Array  # int64[n, S_WIDTH]
    missing: Array  # int64[n, 2]
    sni: Array  # object[n]
    exchanges: Table | None
    messages: list[tuple[Array, Array]]  # rows and texts of DNS messages
    sends: Array | None  # int64[m, len(T_COLUMNS)]

    @property
    def first_frames(self) -> Array:
        return self.state[:, s_.FIRST_FRAME].copy()

    def __sizeof__(self) -> int:
        table = 0 if self.exchanges is None else 100 * self.exchanges.rows * len(self.exchanges)
        texts = sum(rows.nbytes + arena.nbytes for rows, arena in self.messages)
        return (
            4096
            + self.state.nbytes
            + self.missing.nbytes
            + 60 * len(self.sni)
            + table
            + texts
            + (0 if self.sends is None else self.sends.nbytes)
        )


@dataclass
class _Block:
    state: Array
    missing: Array
    sni: Array
    exchanges: Table | None
    sends: list[Array] = field(default_factory=list)


def settle(
    found: Scan,
    home: Array,
    pieces: Sequence[Piece],
    first_frames: Sequence[int],
    interfaces: Sequence[Array | None],
    at: int,
    tunnels: bool,
) -> Settled:
    """Settle file ``at``.

    Parameters
    ----------
    home : int64[groups] of this file, see plan.homes.
    pieces : of the sessions that are folded here, in order of the files they come from.
    first_frames, interfaces : frames before each of these files, and their interfaces' numbers; last: those of this file itself.
    tunnels : whether some file holds SSH, so that tunnels must be looked for.
    """
    blocks = [_own(found, home[found.keys.group] == OWN, first_frames[-1], interfaces[-1], tunnels)]
    messages = []
    if found.messages is not None:
        messages.append(moved(found.messages, first_frames[-1], interfaces[-1]))
    if pieces:
        block, late = _folded(found.products, pieces, first_frames, interfaces, tunnels)
        blocks.append(block)
        messages += late
    order = np.argsort(np.concatenate([b.state[:, s_.FIRST_FRAME] for b in blocks]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    exchanges: list[dict[str, Array]] = []
    base = 0
    for b in blocks:
        mates = b.state[:, s_.MATE]
        b.state[:, s_.MATE] = np.where(mates >= 0, place[np.maximum(mates, 0) + base] if len(place) else mates, -1)
        if b.exchanges is not None:
            exchanges.append({**b.exchanges, "session_id": place[b.exchanges["session_id"] + base]})
        for some in b.sends:
            some[:, T_COLUMNS.index(c.SESSION)] = place[some[:, T_COLUMNS.index(c.SESSION)] + base]
        base += len(b.state)
    sends: Array | None = None
    if tunnels:
        rows = np.concatenate([*(r for b in blocks for r in b.sends), np.zeros((0, len(T_COLUMNS)), np.int64)])
        sends = rows[np.argsort(rows[:, 0], kind="stable")]
    return Settled(
        np.concatenate([b.state for b in blocks])[order],
        np.concatenate([b.missing for b in blocks])[order],
        np.concatenate([b.sni for b in blocks])[order],
        Table(EXCHANGES, {k: np.concatenate([e[k] for e in exchanges]) for k in exchanges[0]}) if exchanges else None,
        messages,
        sends,
    )


def _own(found: Scan, own: Array, first_frame: int, interfaces: Array | None, tunnels: bool) -> _Block:
    names = np.flatnonzero(own)
    place = np.full(len(own), -1, np.int64)
    place[names] = np.arange(len(names))
    state = found.state[names]
    state[:, s_.FIRST_FRAME] += first_frame
    state[:, s_.LAST_FRAME] += first_frame
    for side in (s_.SIDE, s_.SIDE + s_.SIDE_WIDTH):
        state[:, side + s_.IFACE] = renumbered(state[:, side + s_.IFACE], interfaces)
    mates = state[:, s_.MATE]
    state[:, s_.MATE] = np.where(mates >= 0, place[mates], -1)
    exchanges = None
    if found.exchanges is not None:
        kept = found.exchanges.take(own[found.exchanges["session_id"]])
        columns = dict(kept)
        columns["session_id"] = place[columns["session_id"]]
        for name in _EXCHANGE_FRAMES:
            columns[name] = _later(columns[name], first_frame)
        exchanges = Table(EXCHANGES, columns)
    block = _Block(state, found.missing[names], found.sni[names], exchanges)
    if tunnels and found.sends is not None:
        session = T_COLUMNS.index(c.SESSION)
        rows = found.sends[own[found.sends[:, session]]]
        rows[:, 0] += first_frame
        rows[:, session] = place[rows[:, session]]
        block.sends.append(rows)
    return block


def _later(frames: Array, by: int) -> Array:
    """Frame numbers (int64, or objects with None) raised by ``by``."""
    if frames.dtype != object:
        out: Array = frames + by
        return out
    known = np.array([v is not None for v in frames.tolist()], dtype=bool)
    out = np.full(len(frames), None, dtype=object)
    out[known] = (frames[known].astype(np.int64) + by).astype(object)
    return out


def _folded(
    products: tuple[str, ...], pieces: Sequence[Piece], first_frames: Sequence[int], interfaces: Sequence[Array | None], tunnels: bool
) -> tuple[_Block, list[tuple[Array, Array]]]:
    """Fold the rows of ``pieces`` as one stream; as ``Part.merge``, but for sessions of several files and with all frames known."""
    part = Part([p for p in products if p != "tunnels"])
    part.fold.admit_all()  # a flood is bounded in each file, or not at all
    sends: list[Array] = []
    for one, first_frame, numbers in zip(pieces, first_frames, interfaces, strict=False):
        rows = one.packets(first_frame, numbers)
        names = rows[:, c.SESSION].copy()
        part.fold.feed(rows)
        began = one.begins[names]
        kept = np.full(len(one.begins), -1, np.int64)
        kept[names[began]] = rows[began, c.SESSION]
        part.hellos.merge(one.hellos, kept, first_frame)
        _read(part, one, rows, began, first_frame)
        part.follow(rows)
        if tunnels:
            sends.append(sends_of(rows, part.fold.sessions))
    state = part.state().copy()
    exchanges = None if part.exchanges is None else part.exchanges.rows(state)
    late = []
    if part.lookups is not None and part.lookups.messages:
        late.append(copied(part.lookups))
    return _Block(state, part.fold.missing(), part.hellos.sni_of_sessions(len(state)), exchanges, sends), late


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


def moved(messages: tuple[Array, Array], first_frame: int, interfaces: Array | None) -> tuple[Array, Array]:
    """DNS messages of a file with the frames and interfaces of the whole."""
    rows = messages[0].copy()
    rows[:, d.FRAME] += first_frame
    rows[:, d.IFACE] = renumbered(rows[:, d.IFACE], interfaces)
    return rows, messages[1]
