"""TLS ClientHellos of all sessions: who was asked for, found in the stream wherever it begins and however it was split.

Theory of operation
-------------------
One int32 per session and direction says what is to be done with its next segment of new payload:

1. positive, *looking*: that many segments may still begin a hello. A direction starts with :data:`LOOKS`, because STARTTLS, CONNECT
   proxies, RDP and PostgreSQL put the hello behind other messages; but it always begins a segment (or follows a PROXY header or
   ChangeCipherSpec).
2. zero, *over*: nothing more is looked at. This is the state of almost every packet, which then costs one comparison.
3. negative, *collecting*: bytes are put into a slot at their stream offset until the hello is whole. A slot is taken when a hello begins
   but does not end in a segment (post-quantum key shares make it longer than one), or when bytes arrive behind a hole while looking: they
   may be the second half of a hello whose first half is late. Where bytes overlap, those that came first stay.

A hello that is whole in its segment is parsed in place. After a hello the direction is looked at for :data:`LOOKS_AFTER` segments more: a
HelloRetryRequest (RFC 8446 4.1.4) makes the client send a second one, which gets its own row, as it does in Wireshark.

What gives a row: every whole hello; and of a hello that stays incomplete (cut by the snapshot length, capture loss, end of the capture,
too many segments, too many hellos at once) what could be read, if random and server name are among it. Such a row has ``ja4`` null,
``alpn`` as far as read, ``version`` null unless supported_versions was read, and the frame that brought its last bytes. Whatever was not
whole is counted, see :data:`MEANINGS`.

The kernel writes only what a row needs: random, server name, and a key on which version, ALPN and JA4 depend (see ``netlens.wire.tls``).
Names and keys repeat, so that Python does two dictionary look-ups per hello.

Limits
------
* A hello cut in two by the border between parts that are merged later is not joined: a part does not keep the start of sessions it joins
  mid-way.
* Client and server are not told apart: a hello is recorded for whoever sends it.
* A second hello later than :data:`LOOKS_AFTER` segments after the first is missed. Renegotiation is encrypted and invisible anyway.
* ``sni`` may not be a host name: it is what a stranger wrote, escaped by ``netlens.wire.tls.escape``.
"""

from functools import lru_cache
from typing import Any

import numpy as np

# isort: off
from netlens.columns import Array, objects
from netlens.parsers.hello_scan import (
    Arrays, FACT_WIDTH, FREE, F_DIRECTION, F_FRAME, F_KEY, F_KEY_LEN, F_LENGTH, F_SEGMENTS, F_SESSION, F_SNI, F_SNI_LEN, F_TS, LOOKS, MAX_SEGMENTS,
    N_EVICTED, N_INCOMPLETE, OLDEST, Output, SLOTS, SLOT_BYTES, SLOT_WIDTH, S_BASE, S_FRAME, S_HIGH, S_NEXT, S_OWNER, S_PREV, S_STARTS, Slots, Work,
    ask_for_payload, close_slot, drop_slot, merge_looks, open_slot, peek, scan,
)  # fmt: skip

# isort: on
from netlens.parsers.lifecycle import LEAST_ROWS, Kept
from netlens.schema import Table
from netlens.tables import HELLOS
from netlens.wire import tls

ROW_BYTES = 400  #: what a found hello takes, about
TEXTS = 1 << 16  #: names, and keys, whose texts are remembered; a stranger may send such as never repeat
#: Reasons counted, with what they mean: for the quality table.
MEANINGS = {
    "hello_cut": "ClientHellos cut by the snapshot length whose random and server name could be read: rows without JA4.",
    "hello_cut_unreadable": "ClientHellos cut by the snapshot length before their server name: no row.",
    "hello_given_up": f"ClientHellos not whole within {MAX_SEGMENTS} segments or {SLOT_BYTES} bytes: capture loss or odd traffic.",
    "hello_evicted": f"ClientHellos given up because {SLOTS} later ones were incomplete at the same time.",
    "hello_incomplete": "ClientHellos still incomplete at the end of the capture.",
    "hello_malformed": "Whole ClientHellos with lengths that contradict each other: rows with what could be read, without JA4.",
}


class Found:
    """Found hellos as columns: blocks of numbers, and one list entry per hello for what Python makes of it."""

    def __init__(self) -> None:
        self.numbers: list[Array] = []  # int64[n, FACT_WIDTH]
        self.randoms: list[Array] = []  # uint8[n, 32]
        self.sni: list[str | None] = []
        self.described: list[tuple[str | None, list[str], str | None]] = []

    @property
    def sessions(self) -> Array:
        return self.facts()[:, F_SESSION]

    @property
    def offers_http2(self) -> list[bool]:
        return ["h2" in alpn for _, alpn, _ in self.described]

    def extend(self, other: "Found") -> None:
        self.numbers += other.numbers
        self.randoms += other.randoms
        self.sni += other.sni
        self.described += other.described

    def where(self, keep: Array) -> "Found":
        """The rows of a boolean mask, as a copy."""
        out = Found()
        if len(keep):
            out.numbers = [self.facts()[keep]]
            out.randoms = [np.concatenate(self.randoms)[keep]] if self.randoms else []
            chosen = np.flatnonzero(keep).tolist()
            out.sni = [self.sni[i] for i in chosen]
            out.described = [self.described[i] for i in chosen] if self.described else []
        return out

    def facts(self) -> Array:
        if len(self.numbers) > 1:
            self.numbers = [np.concatenate(self.numbers)]
        return self.numbers[0] if self.numbers else np.empty((0, FACT_WIDTH), np.int64)


class HelloBuilder:
    """Finds the ClientHellos in batches of packet rows and keeps a row of each.

    Parameters
    ----------
    full : bool
        False keeps session and server name only (what a table of sessions needs); :meth:`rows` is then not available.
    slots : int
        hellos that can be put together at the same time

    Notes
    -----
    The state grows by 16 bytes per session. Rows of the ``alpn`` column share their list objects with each other.
    """

    def __init__(self, full: bool = True, *, slots: int = SLOTS) -> None:
        self.full = full
        meta = np.full((slots, SLOT_WIDTH), -1, np.int64)
        meta[:-1, S_NEXT] = np.arange(1, slots)
        # Zeros of the operating system: pages that are never touched take no memory.
        data, held = np.zeros((slots, SLOT_BYTES), np.uint8), np.zeros((slots, SLOT_BYTES), np.uint8)
        counts = np.full((len(MEANINGS), 2), -1, np.int64)
        counts[:, 0] = 0
        looks, expected = np.full(2 * LEAST_ROWS, LOOKS, np.int32), np.zeros(2 * LEAST_ROWS, np.int32)
        self._arrays = Arrays(looks, expected, counts, Slots(meta, data, held, np.array([0, -1, -1])), Output.empty(), Work.room())
        self._found = Found()
        self._remember_texts()

    def _remember_texts(self) -> None:
        self._name, self._described = lru_cache(TEXTS)(_name), lru_cache(TEXTS)(tls.describe_key)
        self._names_known: dict[str, str] = {}

    def feed(self, buf: Array, packets: Array) -> None:
        """Take in a batch; all that is needed of its sessions stands in the packet rows."""
        start = 0
        while True:
            start, session = scan(buf, packets, start, self.full, self._arrays)
            if start >= len(packets):
                return
            if session >= 0:
                self._reserve(session + 1)
            else:
                self._flush()

    def _reserve(self, sessions: int) -> None:
        looks, expected = self._arrays.looks, self._arrays.expected
        have = len(looks) // 2
        if sessions > have:
            more = 2 * (max(sessions, 2 * have) - have)
            looks = np.concatenate([looks, np.full(more, LOOKS, np.int32)])
            self._arrays = self._arrays._replace(looks=looks, expected=np.concatenate([expected, np.zeros(more, np.int32)]))

    def _flush(self) -> None:
        self._flush_into(self._found, self._arrays.out)

    def _flush_into(self, rows: Found, out: Output) -> None:
        """Turn what the kernel found into rows and empty its buffers."""
        n, text_bytes = out.used.tolist()
        if n == 0:
            return
        block = out.facts[:n].copy()
        data = out.arena[:text_bytes].tobytes()
        out.used[:] = 0
        rows.numbers.append(block)
        rows.sni += self._names(data, block[:, F_SNI], block[:, F_SNI] + block[:, F_SNI_LEN])
        if self.full:
            ends = block[:, F_KEY] + block[:, F_KEY_LEN]
            rows.described += [self._described(data[a:b]) for a, b in zip(block[:, F_KEY].tolist(), ends.tolist(), strict=True)]
            rows.randoms.append(out.randoms[:n].copy())

    def _names(self, data: bytes, begins: Array, ends: Array) -> list[str | None]:
        """Server names, of texts from the given places on up to others. What is alike is one object."""
        pairs = zip(begins.tolist(), ends.tolist(), strict=True)
        text = tls.plain(data)
        if text is None:
            return [self._name(data[a:b]) for a, b in pairs]
        if len(self._names_known) > TEXTS:
            self._names_known.clear()
        return [self._names_known.setdefault(name, name) if (name := text[a:b]) else None for a, b in pairs]

    def rest(self) -> None:
        """Let go of the room to work in."""
        self._flush()
        self._arrays = self._arrays._replace(out=Output.empty(), work=Work.room())

    def drain(self) -> Found:
        """Take out what was found since the last time. Hellos that are still incomplete stay."""
        self._flush()
        found, self._found = self._found, Found()
        return found

    def http2_since(self, seen: int) -> tuple[list[tuple[int, int]], int]:
        """(session, direction) of the hellos found behind the first ``seen`` that offer HTTP/2; and how many have been found so far."""
        self._flush()
        described, new = self._found.described, len(self._found.described) - seen
        if not new:
            return [], seen
        offers = np.array(["h2" in alpn for _, alpn, _ in described[seen:]], bool)
        blocks: list[Array] = []
        for block in reversed(self._found.numbers):
            blocks.insert(0, block)
            if sum(map(len, blocks)) >= new:
                break
        facts = np.concatenate(blocks)[-new:][offers]
        return [(session, way) for session, way in facts[:, [F_SESSION, F_DIRECTION]].tolist()], seen + new

    def _all(self) -> tuple[Found, Array]:
        """All rows, those of incomplete hellos last, and the counters with these included. Changes nothing: more may be fed afterwards."""
        self._flush()
        counts = self._arrays.counts.copy()
        k = int(self._arrays.slots.ends[OLDEST])
        if k < 0:
            return self._found, counts
        rows = Found()
        rows.extend(self._found)
        arrays = self._arrays._replace(counts=counts, out=Output.empty())
        while k >= 0:
            k = peek(k, self.full, arrays)
            self._flush_into(rows, arrays.out)
        return rows, counts

    def sni_of_sessions(self, n_sessions: int) -> Array:
        """Server name of the first hello that has one, per session row; None without. Object array of ``n_sessions``."""
        rows, _ = self._all()
        out = np.full(n_sessions, None, object)
        facts = rows.facts()
        if len(facts) == 0:
            return out
        names = objects(rows.sni)
        usable = np.flatnonzero((facts[:, F_SESSION] < n_sessions) & (facts[:, F_SNI_LEN] > 0))
        order = usable[np.argsort(facts[usable, F_FRAME], kind="stable")][::-1]
        out[facts[order, F_SESSION]] = names[order]  # assigned in order: the earliest comes last and stays
        return out

    def rows(self) -> Table:
        """The table HELLOS, in order of frame."""
        if not self.full:
            raise ValueError("a HelloBuilder with full=False keeps server names only")
        rows, _ = self._all()
        facts = rows.facts()
        if len(facts) == 0:
            return HELLOS.empty()
        order = np.argsort(facts[:, F_FRAME], kind="stable")
        facts = facts[order]
        picks = order.tolist()
        text = np.concatenate(rows.randoms)[order].tobytes().hex()
        sni, described = rows.sni, [rows.described[i] for i in picks]
        return Table(
            HELLOS,
            {
                "session_id": facts[:, F_SESSION].copy(),
                "frame": facts[:, F_FRAME].copy(),
                "time_ns": facts[:, F_TS].copy(),
                "sni": objects([sni[i] for i in picks]),
                "alpn": objects([d[1] for d in described]),
                "random": objects([text[i : i + 64] for i in range(0, len(text), 64)]),
                "version": objects([d[0] for d in described]),
                "ja4": objects([d[2] for d in described]),
                "length_bytes": facts[:, F_LENGTH].copy(),
                "segments": facts[:, F_SEGMENTS].copy(),
            },
        )

    @property
    def counted(self) -> dict[str, tuple[int, int | None]]:
        """How often each reason of :data:`MEANINGS` happened, and the frame of the first; hellos incomplete at this moment are in ``hello_incomplete``."""
        return {name: (count, None if first < 0 else first) for name, (count, first) in zip(MEANINGS, self._all()[1].tolist(), strict=True)}

    def merge(self, other: "HelloBuilder", place: Array, frame_offset: int = 0, turned: Array | None = None) -> None:
        """Take over what ``other`` found in the part of the capture that follows this one.

        Parameters
        ----------
        place : int64 array
            row of this builder's sessions for each session row of ``other``; -1 drops what was found on it
        frame_offset : int
            added to the frame numbers of ``other``
        turned : bool array, optional
            sessions of ``other`` whose directions are the other way round here: the SYN+ACK came before the SYN, and the cut between them

        Notes
        -----
        A hello half of which lies in each part stays incomplete. One that begins in ``other`` and ends in a third part is joined.
        """
        if other.full != self.full:
            raise ValueError("HelloBuilders with and without full cannot be merged")
        self._flush()
        other._flush()
        added = Found()
        added.extend(other._found)
        if added.numbers:
            added = added.where(place[added.sessions] >= 0)
            facts = added.facts()
            if turned is not None:
                facts[:, F_DIRECTION] ^= turned[facts[:, F_SESSION]]
            facts[:, F_SESSION] = place[facts[:, F_SESSION]]
            facts[:, F_FRAME] += frame_offset
        self._found.extend(added)
        counts = self._arrays.counts
        for i, (count, first) in enumerate(other._arrays.counts.tolist()):
            counts[i, 0] += count
            if first >= 0:
                counts[i, 1] = first + frame_offset if counts[i, 1] < 0 else min(counts[i, 1], first + frame_offset)
        n = min(len(place), len(other._arrays.looks) // 2)
        if n == 0:
            return
        self._reserve(int(place.max()) + 1)
        ways = np.zeros(n, np.bool_) if turned is None else turned
        merge_looks(self._arrays, other._arrays.looks, other._arrays.expected, place, ways, n)
        for side in (0, 1):
            collect = other._arrays.looks[side : 2 * n : 2]
            for session in np.flatnonzero((collect < 0) & (place[:n] >= 0)).tolist():
                owner = 2 * int(place[session]) + (side ^ int(ways[session]))
                self._take_over(other._arrays.slots, -int(collect[session]) - 1, owner, frame_offset)

    def _take_over(self, theirs: Slots, k: int, owner: int, frame_offset: int) -> None:
        """Go on collecting here what is in slot ``k`` of ``theirs``; if there is no room, the hello is given up and counted."""
        slots, looks = self._arrays.slots, self._arrays.looks
        if looks[owner] < 0:
            self._drop(-int(looks[owner]) - 1, N_INCOMPLETE)
        if slots.ends[FREE] < 0:
            self._drop(int(slots.ends[OLDEST]), N_EVICTED)
        mine = open_slot(owner, slots)
        slots.meta[mine, S_BASE:S_PREV] = theirs.meta[k, S_BASE:S_PREV]
        slots.meta[mine, S_STARTS:] = theirs.meta[k, S_STARTS:]
        slots.meta[mine, S_FRAME] += frame_offset
        high = int(theirs.meta[k, S_HIGH])
        slots.data[mine, :high] = theirs.data[k, :high]
        slots.held[mine, :high] = theirs.held[k, :high]
        looks[owner] = -(mine + 1)

    def _drop(self, k: int, reason: int) -> None:
        self._flush()
        drop_slot(k, reason, self.full, self._arrays)

    # --- the life of the state

    def forget(self, kept: Kept) -> None:
        slots = self._arrays.slots
        used = np.flatnonzero(slots.meta[:, S_OWNER] >= 0)
        owner = slots.meta[used, S_OWNER]
        now = kept.renamed(owner >> 1)
        for slot in used[now < 0].tolist():
            close_slot(slot, slots)
        slots.meta[used[now >= 0], S_OWNER] = (2 * now + (owner & 1))[now >= 0]
        # the state knows sessions that sent payload; others are beyond its end
        self._arrays = self._arrays._replace(
            looks=kept.rows(self._arrays.looks.reshape(-1, 2), LOOKS).ravel(),
            expected=kept.rows(self._arrays.expected.reshape(-1, 2)).ravel(),
        )

    def extract(self, place: Array) -> "HelloBuilder":
        """What is known of some sessions, in no more memory than it needs; ``place``: their new rows, -1 for the others."""
        at = np.flatnonzero(place >= 0)
        collecting = int((self.looking(len(place))[0][at] < 0).sum())
        out = HelloBuilder(self.full, slots=max(collecting, 1))
        out.merge(self, place)
        return out

    def looking(self, n: int) -> tuple[Array, Array]:
        """Of ``n`` sessions int64[n, 2] each: the looking state by direction (see above), and the end of the stream as far as it was looked at."""
        known = min(n, len(self._arrays.looks) // 2)
        looks, expected = np.full((n, 2), LOOKS, np.int64), np.zeros((n, 2), np.int64)
        looks[:known] = self._arrays.looks[: 2 * known].reshape(-1, 2)
        expected[:known] = self._arrays.expected[: 2 * known].reshape(-1, 2)
        return looks, expected

    def is_looked_at(self, sessions: Array, directions: Array) -> Array:
        """bool[n]: whether the next payload of a session in that direction is looked at."""
        at = 2 * sessions + directions
        known = at < len(self._arrays.looks)
        return ~known | (self._arrays.looks[np.where(known, at, 0)] != 0)

    def asking(self, sessions: int) -> Array:
        """Room to work in for :meth:`asks_for`, once for all rows of so many sessions."""
        self._reserve(sessions)
        return np.zeros((len(self._arrays.looks), 5), np.int64)

    def asks_for(self, packets: Array, turn: int, room: Array) -> tuple[Array, int, int]:
        """Of which rows the payload must be there when they are fed, as far as can be told before.  turn : from 1, another one each time.

        Returns int64[n, 2], where the payload of each lies and its size; the number of zeros that must come before; and the size of all. In this order their
        rows expect it; the other rows lose theirs.
        """
        wanted = np.empty((len(packets), 2), np.int64)
        n, zeros, size = ask_for_payload(packets, self._arrays.looks, self._arrays.expected, turn, room, wanted)
        return wanted[:n], int(zeros), int(size)

    @property
    def is_crowded(self) -> bool:
        """Whether a hello was given up for others that were incomplete at the same time."""
        return bool(self._arrays.counts[N_EVICTED, 0])

    @property
    def collected(self) -> tuple[int, int]:
        """Hellos that are put together at this moment, and how many were at the same time at most."""
        meta = self._arrays.slots.meta
        return int((meta[:, S_OWNER] >= 0).sum()), int((meta[:, S_HIGH] >= 0).sum())

    @property
    def nbytes(self) -> int:
        slots = int((self._arrays.slots.meta[:, S_OWNER] >= 0).sum())
        return slots * 2 * SLOT_BYTES + self._arrays.looks.nbytes + self._arrays.expected.nbytes + ROW_BYTES * len(self._found.sni)

    def __getstate__(self) -> tuple[Any, ...]:
        """Without room that is empty, and what can be made again."""
        self._flush()
        return self.full, self._arrays[:4], self._found

    def __setstate__(self, held: tuple[Any, ...]) -> None:
        self.full, (looks, expected, counts, slots), self._found = held
        self._arrays = Arrays(looks, expected, counts, slots, Output.empty(), Work.room())
        self._remember_texts()


def _name(raw: bytes) -> str | None:
    return tls.escape(raw) if raw else None
