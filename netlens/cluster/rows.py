"""What travels between files: packet rows packed to 64 bytes, payload by frame, and sessions with what hangs on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netlens.columns import Array
from netlens.parsers import session_state as s_
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.lookup_columns import gather
from netlens.parsers.lookups import LookupBuilder
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire import dns as d
from netlens.wire.addresses import other_way

# ---- a packed packet row, int64[m, R_WIDTH]; addresses and ports are those of its session ----
R_FRAME, R_TS, R_HINT, R_IFACE, R_NUMBERS, R_LENGTH, R_REST, R_SESSION = range(8)
R_WIDTH = 8
# R_NUMBERS: sequence number << 32 | acknowledgment; R_REST: captured payload << 32 | flags << 16 | window; R_SESSION: session << 1 | direction

# ---- what the search for tunnels needs of a payload or SYN of an originator, int64[m, T_WIDTH] ----
T_COLUMNS = (c.FRAME, c.TS, c.SESSION, c.DIRECTION, c.FLAGS, c.FRESH, c.HINT)

_T_SESSION = T_COLUMNS.index(c.SESSION)


def packed(log: list[Array], kept: Array) -> Array:
    """int64[m, R_WIDTH] of the kept sessions' rows. Takes the log apart, so that both need not be held."""
    out = []
    while log:
        rows = log.pop(0)
        rows = rows[kept[rows[:, c.SESSION]]]
        block = np.empty((len(rows), R_WIDTH), np.int64)
        block[:, R_FRAME], block[:, R_TS], block[:, R_HINT] = rows[:, c.FRAME], rows[:, c.TS], rows[:, c.HINT]
        block[:, R_IFACE], block[:, R_LENGTH] = rows[:, c.IFACE], rows[:, c.LENGTH]
        block[:, R_NUMBERS] = rows[:, c.SEQ] << 32 | rows[:, c.ACK]
        block[:, R_REST] = rows[:, c.PAY_CAP] << 32 | rows[:, c.FLAGS] << 16 | rows[:, c.WINDOW]
        block[:, R_SESSION] = rows[:, c.SESSION] << 1 | rows[:, c.DIRECTION]
        out.append(block)
    return np.concatenate([*out, np.zeros((0, R_WIDTH), np.int64)])


def sends_of(log: Sequence[Array], state: Array) -> Array:
    """int64[m, len(T_COLUMNS)]: what the search for tunnels reads of packet rows, SYNs and new payload of originators."""
    out = [np.zeros((0, len(T_COLUMNS)), np.int64)]
    for rows in log:
        orig = (state[rows[:, c.SESSION], s_.FSM] >> 8) & 1
        opens = rows[:, c.FLAGS] & (c.SYN | c.ACK_FLAG) == c.SYN
        out.append(rows[(rows[:, c.DIRECTION] == orig) & (opens | (rows[:, c.FRESH] > 0))][:, list(T_COLUMNS)])
    return np.concatenate(out)


def renumbered(iface: Array, interfaces: Array | None) -> Array:
    """Interfaces as they count over all files; ``interfaces``: by number in the file, None if they are the same."""
    if interfaces is None:
        return iface
    out: Array = np.where(iface < 0, iface, interfaces[np.maximum(iface, 0) >> 40] << 40 | iface & ((1 << 40) - 1))
    return out


@dataclass
class Payload:
    """Payload by frame: ``data[starts[i] : starts[i + 1]]`` is that of frame ``frames[i]``."""

    frames: Array
    starts: Array
    data: Array
    leads: Array  # bool: see kernels.leading

    @classmethod
    def of(cls, parts: list[tuple[Array, Array, Array, Array]]) -> "Payload":
        """Of each part its frames, sizes, data and leads."""
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, bool)
        frames, sizes, data, leads = (np.concatenate(arrays) for arrays in zip(nothing, *parts, strict=True))
        return cls(frames, np.append(0, np.cumsum(sizes)), data, leads)

    def take(self, frames: Array, behind: Array | None = None) -> "Payload":
        """The payload of those of ``frames`` (ascending) that have some; of ``behind`` (bool by frame) without what leads."""
        place = np.searchsorted(frames, self.frames)
        found = place < len(frames)
        found[found] = frames[place[found]] == self.frames[found]
        if behind is not None:
            found[found] = ~(self.leads[found] & behind[place[found]])
        at = np.flatnonzero(found)
        sizes = self.starts[at + 1] - self.starts[at]
        out = np.empty(int(sizes.sum()), np.uint8)
        gather(self.data, self.starts[at], sizes, out)
        return Payload.of([(self.frames[at], sizes, out, self.leads[at])])


@dataclass
class Piece:
    """The rows of some sessions of one file, with what was read from their payload."""

    rows: Array  # int64[m, R_WIDTH]; sessions counted within the piece
    ends: Array  # int64[n, 5], the first columns of the session state
    begins: Array  # bool[n]: began here, so that hellos found here stand
    payload: Payload
    hellos: HelloBuilder

    def packets(self, first_frame: int, interfaces: Array | None) -> Array:
        """int64[m, WIDTH]: the packet rows; SESSION and DIRECTION are the piece's own."""
        r = self.rows
        out = np.zeros((len(r), c.WIDTH), np.int64)
        k, direction = r[:, R_SESSION] >> 1, r[:, R_SESSION] & 1
        ends = self.ends[k]
        swap = direction == 1
        for there, back, column in ((0, 2, c.SRC_HI), (1, 3, c.SRC_LO), (2, 0, c.DST_HI), (3, 1, c.DST_LO)):
            out[:, column] = np.where(swap, ends[:, back], ends[:, there])
        ports = ends[:, 4]
        out[:, c.PORTS] = np.where(swap, other_way(ports), ports)
        out[:, c.FRAME], out[:, c.TS], out[:, c.HINT] = r[:, R_FRAME] + first_frame, r[:, R_TS], r[:, R_HINT]
        out[:, c.IFACE] = renumbered(r[:, R_IFACE], interfaces)
        out[:, c.KIND], out[:, c.LENGTH] = c.TCP, r[:, R_LENGTH]
        out[:, c.SEQ], out[:, c.ACK] = (r[:, R_NUMBERS] >> 32) & 0xFFFFFFFF, r[:, R_NUMBERS] & 0xFFFFFFFF
        out[:, c.PAY_CAP], out[:, c.FLAGS], out[:, c.WINDOW] = r[:, R_REST] >> 32, (r[:, R_REST] >> 16) & 0xFFFF, r[:, R_REST] & 0xFFFF
        out[:, c.SESSION], out[:, c.DIRECTION], out[:, c.TSVAL] = k, direction, -1
        return out

    def __sizeof__(self) -> int:
        return 4096 + self.rows.nbytes + self.ends.nbytes + self.payload.data.nbytes + self.hellos.nbytes


@dataclass
class SessionData:
    """Sessions in order of their first frames, and what hangs on them. ``MATE`` and ``session_id`` count within it."""

    state: Array  # int64[n, S_WIDTH]
    rare: Array  # int64[m, RARE_WIDTH]
    missing: Array  # int64[n, 2]
    sni: Array  # object[n]
    exchanges: Table | None
    messages: list[tuple[Array, Array]]  # rows and texts of DNS messages
    sends: Array | None  # see sends_of; None: tunnels are not looked for

    def __sizeof__(self) -> int:
        arrays = [
            self.state,
            self.rare,
            self.missing,
            *(array for pair in self.messages for array in pair),
            *([] if self.sends is None else [self.sends]),
        ]
        table = 0 if self.exchanges is None else 100 * self.exchanges.rows * len(self.exchanges)
        return 4096 + sum(array.nbytes for array in arrays) + 60 * len(self.sni) + table

    def take(self, own: Array, first_frame: int, interfaces: Array | None) -> "SessionData":
        """The sessions ``own`` (bool[n]) and all messages, with the frames and interfaces of the whole capture."""
        place = np.where(own, np.cumsum(own) - 1, -1)
        state = self.state[own]
        state[:, [s_.FIRST_FRAME, s_.LAST_FRAME]] += first_frame
        for side in (s_.SIDE, s_.SIDE + s_.SIDE_WIDTH):
            state[:, side + s_.IFACE] = renumbered(state[:, side + s_.IFACE], interfaces)
        mates = state[:, s_.MATE]
        state[:, s_.MATE] = np.where(mates >= 0, place[mates], -1)
        exchanges = self.exchanges
        if exchanges is not None:
            kept = exchanges.take(own[exchanges["session_id"]])
            frames = {name: _later(kept[name], first_frame) for name in ("start_frame", "response_frame", "end_frame")}
            exchanges = Table(EXCHANGES, {**kept, "session_id": place[kept["session_id"]], **frames})
        messages = []
        for plain, texts in self.messages:
            rows = plain.copy()
            rows[:, d.FRAME] += first_frame
            rows[:, d.IFACE] = renumbered(rows[:, d.IFACE], interfaces)
            messages.append((rows, texts))
        sends = self.sends
        if sends is not None:
            sends = sends[own[sends[:, _T_SESSION]]]
            sends[:, 0] += first_frame
            sends[:, _T_SESSION] = place[sends[:, _T_SESSION]]
        rare = s_.rare_rows(state, self.rare)
        return SessionData(state, rare, self.missing[own], self.sni[own], exchanges, messages, sends)


def copied(lookups: LookupBuilder) -> tuple[Array, Array]:
    """Rows and texts of its messages, without the room behind them."""
    rows, texts = lookups.content()
    return rows.copy(), texts.copy()


def joined(parts: Sequence[SessionData]) -> SessionData:
    """Several, as one in order of first frames."""
    state = np.concatenate([part.state for part in parts])
    order = np.argsort(state[:, s_.FIRST_FRAME], kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    bases = np.cumsum([0, *(len(part.state) for part in parts)]).tolist()
    mates = state[:, s_.MATE] + np.repeat(bases[:-1], [len(part.state) for part in parts])
    state[:, s_.MATE] = np.where(state[:, s_.MATE] >= 0, place[mates], -1)
    first_rare = np.repeat(np.cumsum([0, *(len(part.rare) - 1 for part in parts[:-1])]), [len(part.state) for part in parts])
    state[:, s_.RARE] += np.where(state[:, s_.RARE] > 0, first_rare, 0)
    columns: dict[str, list[Array]] = {}
    sends = []
    for part, base in zip(parts, bases, strict=False):
        for name, values in () if part.exchanges is None else part.exchanges.items():
            columns.setdefault(name, []).append(place[values + base] if name == "session_id" else values)
        if part.sends is not None:
            rows = part.sends.copy()
            rows[:, _T_SESSION] = place[rows[:, _T_SESSION] + base]
            sends.append(rows)
    tunnelled = np.concatenate(sends) if sends else None
    return SessionData(
        state[order],
        np.concatenate([parts[0].rare, *(part.rare[1:] for part in parts[1:])]),
        np.concatenate([part.missing for part in parts])[order],
        np.concatenate([part.sni for part in parts])[order],
        Table(EXCHANGES, {name: np.concatenate(values) for name, values in columns.items()}) if columns else None,
        [pair for part in parts for pair in part.messages],
        None if tunnelled is None else tunnelled[np.argsort(tunnelled[:, 0], kind="stable")],
    )


def _later(frames: Array, by: int) -> Array:
    """Frame numbers (int64, or objects with None) raised by ``by``."""
    out: Array = frames.copy()
    known = slice(None) if frames.dtype != object else np.array([v is not None for v in frames.tolist()], bool)
    out[known] = out[known] + by
    return out
