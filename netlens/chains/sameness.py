"""Sameness: whether what came out of a tunnel or relay is what went in, byte for byte, from captures on both sides.

Theory of operation
-------------------
1. Compared are the two directions of connections that were paired (:mod:`netlens.chains.pairing`): the session in the program's capture and the last one in
   the host's, as streams of bytes. Segments, retransmissions and their order do not matter (:mod:`netlens.parsers.stream_digests`).
2. *Alignment.* Where the very packets go on (NAT, a bridge), positions are sequence numbers. Where a relay opens a connection of its own, a stream begins with
   its first byte; but what a relay was told before (CONNECT, SOCKS) is not passed on, so that TLS begins with its first record.
3. A pair that rests on sizes and times only is one if either direction begins alike; else nothing is said about it.
4. Blocks whose hashes differ, or of which either capture lacks bytes, are read again, and each byte that both have is compared. A byte that was sent twice,
   differently, is the same if either sending is: then a checksum failed on the way, and TCP mended it.
5. What is missing at the end is damage only if it cannot be anything else: both captures show the stream's end (FIN), nobody reset, and the receiver did not
   close first, or long after the last byte had gone in.

Out of reach: relays that encrypt anew or ask in connections of their own (a reverse proxy); connections that began before a capture, where a relay numbers
anew; bytes that either capture lacks. All is counted. Bytes beyond :data:`MOST_READ` that would have to be read again are not, and count as not compared.
"""

from __future__ import annotations

import bisect
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from netlens.arrays import give_back
from netlens.chains.paths import SSHUTTLE
from netlens.columns import NEVER, Ints
from netlens.parsers import stream_digests
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.session_state import BASE, BASE_ACKED, BASE_KIND, BASE_SYN, FIN_END, FSM, ORIGINATOR_SHIFT, SIDE, SIDE_WIDTH, UNSET
from netlens.parsers.stream_digests import Digest, Stream
from netlens.threads import in_parallel

if TYPE_CHECKING:
    from netlens.chains.linking import Linked
    from netlens.chains.side import Side

EXACT = ("isn", "address")  #: pairs whose packets are the same
PASSED_ON = "passed on"  #: by a relay on the host, whose first connection was paired
HANDSHAKE = 0x16  #: kind of the record that TLS begins with
MOST_READ = 64 << 20  #: bytes read again of each capture; a block is 1 kB of streams up to 4 MB
ALIKE = 64  #: bytes that two streams begin with by chance as well as never
ALL_ALIKE = 16  #: of a stream that is no longer: a question over TCP has 12 bytes besides its name, its number among them
GIVEN_UP_NS = (
    2_000_000_000  #: what a tunnel holds for less when the receiver closes is dropped; more than the longest delay that was seen (0.1 s)
)
NEAR = 1 << 30  #: bytes between two sequence numbers of one stream, at most


@dataclass(frozen=True)
class Difference:
    """The first place where two streams differ. ``row``: connection of the VM's capture.  orig : in what the program sent.

    position : byte of the stream as the VM's capture counts it.  frames : that hold it, in the VM's and in the host's capture; 0 where none does.
    missing : so many bytes at the end did not come out; 0: bytes are others.
    """

    row: int
    host_row: int
    orig: bool
    position: int
    frames: tuple[int, int]
    missing: int = 0


@dataclass
class Sameness:
    """``connections``: with at least one direction compared; ``bytes`` : that both captures have, compared.  skipped : why a connection was not -> how many."""

    connections: int = 0
    bytes: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


ANEW = "over a relay that asks in connections of its own"
BEGUN = "open before the capture"
UNSURE = "not certainly the same connection"
EMPTY = "without payload in both captures"
REWRITTEN = "in clear through a proxy, which may rewrite HTTP"
UNPAIRED = "in the VM's capture only"


@dataclass
class _Pair:
    """One direction of a pair: rows of the connections, the two streams, and their lengths where both ends are known."""

    row: int
    host_row: int
    orig: bool
    exact: bool
    sure: bool
    vm: Stream
    host: Stream


def compare(linked: Linked) -> Sameness | None:
    """What both captures hold of each connection, compared; None without two captures that can be read again."""
    pairs, vm = linked.pairing, linked.vm
    if pairs is None or vm is None:
        return None
    host = linked.upstream
    if not (readable_again(vm.capture.paths) and readable_again(host.capture.paths)):
        return None
    found, chosen = Sameness(), []
    sides = _Ends(vm, linked.clock.to_host), _Ends(host)
    for row, mate in enumerate(pairs.host_of.tolist()):
        if mate < 0:
            if vm.target[row] and linked.clock_told:
                found.skipped[ANEW if linked.carried else UNPAIRED] += 1
            continue
        if _may_rewrite(linked, row, mate):
            found.skipped[REWRITTEN] += 1
            continue
        method = str(pairs.method[row]) if mate not in linked.served else PASSED_ON
        made = [_pair(sides, row, mate, orig, method) for orig in (True, False)]
        kept = [each for each in made if isinstance(each, _Pair)]
        chosen += kept
        if not kept:
            found.skipped[next(str(each) for each in made)] += 1
    numbers = stream_digests.factors(os.urandom(16))
    digests = in_parallel(
        lambda: stream_digests.collect(vm.capture.paths, [p.vm for p in chosen], numbers),
        lambda: stream_digests.collect(host.capture.paths, [p.host for p in chosen], numbers),
    )
    _judge(found, sides, chosen, digests)
    del digests
    give_back()
    return found


def _may_rewrite(linked: Linked, row: int, mate: int) -> bool:
    """Whether what carries a connection of the VM's may be a proxy that changes what it passes on: HTTP in clear, and no tunnel or translation."""
    assert linked.vm is not None
    assert linked.pairing is not None
    side = linked.vm
    clear = any(side.sessions["protocol"][k] == "http" for k in side.session_ids[row])
    passed_on = mate in linked.served or (linked.pairing.method[row] not in EXACT and side.connections["path"][row] != SSHUTTLE)
    return clear and passed_on


class _Ends:
    """What is asked of one capture's sessions."""

    def __init__(self, side: Side, moved: Callable[[Ints], Ints] = np.array) -> None:
        self.side, self._moved = side, moved
        state = side.capture.part.state()
        self.originator: list[int] = ((state[:, FSM] >> ORIGINATOR_SHIFT) & 1).tolist()
        s = side.sessions
        #: by direction, as packet rows have it: of each session the columns that are asked for
        self.columns = {
            column: [state[:, SIDE + way * SIDE_WIDTH + column].tolist() for way in (0, 1)] for column in (BASE, BASE_KIND, FIN_END)
        }
        self.saw_syn = s["saw_syn"].tolist()
        self.bytes = {True: s["orig_bytes"].tolist(), False: s["resp_bytes"].tolist()}
        self.missing = {True: s["orig_missing_bytes"].tolist(), False: s["resp_missing_bytes"].tolist()}
        self.trail = side.capture.trail
        self.fins = {True: s.ints("orig_fin_ns", NEVER), False: s.ints("resp_fin_ns", NEVER)}
        self.resets = s.ints("rst_ns", NEVER)
        self.lasts = {True: s.ints("orig_last_payload_ns", NEVER), False: s.ints("resp_last_payload_ns", NEVER)}

    def session(self, row: int, orig: bool) -> int:
        """Of a connection, the session that carries a direction, of copies the last."""
        ids = self.side.session_ids[row]
        sent = self.bytes[orig]
        return ids[0] if len(ids) == 1 else max(ids, key=lambda k: (sent[k] > 0, k))

    def way(self, session: int, orig: bool) -> int:
        """The direction of the session, as packet rows have it."""
        return self.originator[session] if orig else 1 - self.originator[session]

    def column(self, session: int, orig: bool, column: int) -> int:
        return self.columns[column][self.way(session, orig)][session]

    def begins(self, session: int, orig: bool) -> bool:
        """Whether the beginning of the stream is known."""
        return self.column(session, orig, BASE_KIND) in (BASE_SYN, BASE_ACKED) and bool(self.saw_syn[session] or not orig)

    @cached_property
    def _records(self) -> dict[tuple[int, int], int]:
        """Where the first handshake record of TLS begins in a stream, by session and direction; of those streams that have one."""
        if self.trail is None:
            return {}
        t = self.trail.segments()
        at = np.flatnonzero((t["head"] >> np.uint64(56) == HANDSHAKE) & (t["length"] > 0))
        streams, first = np.unique(2 * t["session"][at].astype(np.int64) + t["way"][at], return_index=True)
        offsets = np.maximum(t["offset"][at[first]], 0)
        return dict(zip(zip((streams >> 1).tolist(), (streams & 1).tolist(), strict=True), offsets.tolist(), strict=True))

    def first_record(self, session: int, orig: bool) -> int:
        """Where TLS begins in a stream; 0 where nothing tells."""
        return self._records.get((session, self.way(session, orig)), 0)

    def frame(self, session: int, orig: bool, offset: int) -> int:
        """The first frame that holds a byte of a stream; of a byte that none has, that before it."""
        if self.trail is None:
            return 0
        at, all_ = self.trail.of(session), self.trail.segments()
        chosen = at.start + np.flatnonzero((all_["way"][at] == self.way(session, orig)) & (all_["length"][at] > 0))
        seg = {name: all_[name][chosen] for name in ("offset", "length", "frame")}
        if not len(chosen):
            return 0
        holding = np.flatnonzero((seg["offset"] <= offset) & (seg["offset"] + seg["length"] > offset))
        before = np.flatnonzero(seg["offset"] <= offset)
        return int(seg["frame"][holding[0] if len(holding) else before[-1] if len(before) else 0])

    def length(self, session: int, orig: bool) -> int | None:
        """Of a whole stream, whose end was seen."""
        end = self.column(session, orig, FIN_END)
        return None if end == UNSET or not self.begins(session, orig) else end - 1

    def last(self, session: int, orig: bool) -> int:
        """When the last new payload of a direction was captured."""
        return int(self.lasts[orig][session])

    def on_host(self, ns: int) -> int:
        """A time of this capture on the host's clock."""
        return ns if ns == NEVER else int(self._moved(np.array([ns], np.int64))[0])

    def first(self, row: int, orig: bool, resets: bool) -> int:
        """The first FIN of an end of a connection, or its first RST."""
        ids = self.side.session_ids[row]
        return min(int(self.fins[orig][k]) if not resets else int(self.resets[k]) for k in ids)


def _pair(sides: tuple[_Ends, _Ends], row: int, mate: int, orig: bool, method: str) -> _Pair | str:
    """A direction of a pair as two streams with common positions; else why it cannot be compared."""
    near, far = sides
    a, b = near.session(row, orig), far.session(mate, orig)
    if not near.bytes[orig][a] or not far.bytes[orig][b]:
        return EMPTY
    sizes = [e.bytes[orig][k] + e.missing[orig][k] for e, k in ((near, a), (far, b))]
    moved = 0, 0
    apart = ((far.column(b, orig, BASE) - near.column(a, orig, BASE) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
    if method in EXACT and abs(apart) < NEAR:
        moved = max(-apart, 0), max(apart, 0)
    elif near.begins(a, orig) and far.begins(b, orig):
        moved = -near.first_record(a, orig), -far.first_record(b, orig)
    else:
        return BEGUN
    length = min(size + move for size, move in zip(sizes, moved, strict=True))
    if length <= 0:
        return EMPTY
    return _Pair(
        row,
        mate,
        orig,
        method in EXACT,
        method != "assignment",
        *(Stream(k, e.way(k, orig), move, length) for e, k, move in zip(sides, (a, b), moved, strict=True)),
    )


def _judge(found: Sameness, sides: tuple[_Ends, _Ends], pairs: list[_Pair], digests: list[list[Digest]]) -> None:
    """Fill in what was compared and what differs."""
    differ, amounts = _differing(pairs, digests)
    suspects = [_suspects(p, a, b) if odd else [] for p, a, b, odd in zip(pairs, *digests, differ, strict=True)]
    wanted = _within(pairs, suspects)
    read: list[dict[tuple[int, int], stream_digests.Bytes]] = [{}, {}]
    if wanted:
        each = zip(sides, ([p.vm for p in pairs], [p.host for p in pairs]), strict=True)
        read = in_parallel(*(partial(stream_digests.read_blocks, e.side.capture.paths, streams, wanted) for e, streams in each))
    sure = {p.row for p in pairs if p.sure} | _proven(pairs, digests, read)
    compared: set[int] = set()
    unsure: set[int] = set()
    for k, pair in enumerate(pairs):
        if pair.row not in sure:
            unsure.add(pair.row)
            continue
        seen = digests[0][k].seen
        amount = amounts[k] - sum(int(seen[at]) for at, _, _ in suspects[k])
        position: int | None = None
        for start, _ in wanted.get(k, ()):
            mine, theirs = read[0][k, start], read[1][k, start]
            both = mine.seen & theirs.seen
            amount += int(both.sum())
            other = (
                both & (mine.first != theirs.first) & (mine.last != theirs.last) & (mine.first != theirs.last) & (mine.last != theirs.first)
            )
            if position is None and other.any():
                position = start + int(np.argmax(other))
        missing = 0
        if position is None:
            position, missing = _cut_short(sides, pair)
        if position is not None:
            at = [position - stream.moved for stream in (pair.vm, pair.host)]
            frames = tuple(e.frame(s.session, pair.orig, o) for e, s, o in zip(sides, (pair.vm, pair.host), at, strict=True))
            found.differences.append(Difference(pair.row, pair.host_row, pair.orig, at[0], (frames[0], frames[1]), missing))
        found.bytes += amount
        if amount or position is not None:
            compared.add(pair.row)
    found.connections = len(compared)
    found.skipped[UNSURE] += len(unsure)
    found.skipped += Counter()


def _differing(pairs: list[_Pair], digests: list[list[Digest]]) -> tuple[list[bool], list[int]]:
    """Of each pair, whether any block is not the same and whole in both captures; and how many bytes the VM's capture has. Of all blocks at once."""
    counts = [len(d.seen) for d in digests[0]]
    of = np.repeat(np.arange(len(pairs)), counts)
    if not len(of):
        return [False] * len(pairs), [0] * len(pairs)
    (hashes, seen), (their_hashes, their_seen) = (
        [np.concatenate([getattr(d, name) for d in each]) for name in ("hashes", "seen")] for each in digests
    )
    ends = np.cumsum(counts)
    shift, length = np.array([d.shift for d in digests[0]]), np.array([p.vm.length for p in pairs])
    full = (1 << shift)[of]
    some = np.array(counts) > 0
    full[ends[some] - 1] = (length - ((np.array(counts) - 1) << shift))[some]
    odd = (hashes != their_hashes) | (seen != their_seen) | (seen != full)
    amounts = np.zeros(len(pairs), np.int64)
    np.add.at(amounts, of, seen)
    return (np.bincount(of[odd], minlength=len(pairs)) > 0).tolist(), amounts.tolist()


def _suspects(pair: _Pair, a: Digest, b: Digest) -> list[tuple[int, int, int]]:
    """(block, first position, end) of blocks that differ, or that cannot be compared by their hashes."""
    n = len(a.seen)
    full = np.full(n, 1 << a.shift, np.int64)
    full[-1:] = pair.vm.length - ((n - 1) << a.shift)
    alike = (a.hashes == b.hashes) & (a.seen == b.seen) & (a.seen == full)
    if alike.all():
        return []
    odd = ~alike & (a.seen > 0) & (b.seen > 0)
    return [(int(k), int(k) << a.shift, min((int(k) + 1) << a.shift, pair.vm.length)) for k in np.flatnonzero(odd)]


def _within(pairs: list[_Pair], suspects: list[list[tuple[int, int, int]]]) -> dict[int, list[tuple[int, int]]]:
    """What is read again, the beginnings of all streams first."""
    out: dict[int, list[tuple[int, int]]] = {}
    left = MOST_READ
    queue = sorted((turn, k, start, end) for k, blocks in enumerate(suspects) for turn, (_, start, end) in enumerate(blocks))
    for _, k, start, end in queue:
        if end - start > left:
            break
        left -= end - start
        bisect.insort(out.setdefault(k, []), (start, end))
    return out


def _proven(pairs: list[_Pair], digests: list[list[Digest]], read: list[dict[tuple[int, int], stream_digests.Bytes]]) -> set[int]:
    """Connections of which a direction begins alike."""
    out = set()
    for k, pair in enumerate(pairs):
        a, b = digests[0][k], digests[1][k]
        if not len(a.seen):
            continue
        alike = bool(a.hashes[0] == b.hashes[0] and a.seen[0] == b.seen[0] >= min(ALIKE, max(pair.vm.length, ALL_ALIKE)))
        if not alike and (k, 0) in read[0]:
            mine, theirs = read[0][k, 0], read[1][k, 0]
            both = mine.seen & theirs.seen
            alike = bool(both[:ALIKE].sum() == ALIKE and (mine.first[:ALIKE] == theirs.first[:ALIKE]).all())
        if alike:
            out.add(pair.row)
    return out


def _cut_short(sides: tuple[_Ends, _Ends], pair: _Pair) -> tuple[int | None, int]:
    """Position from which on a stream did not come out though both its ends were seen, and how many bytes; None if it did."""
    near, far = sides
    mine, theirs = near.length(pair.vm.session, pair.orig), far.length(pair.host.session, pair.orig)
    if mine is None or theirs is None or mine + pair.vm.moved == theirs + pair.host.moved:
        return None, 0
    mine, theirs = mine + pair.vm.moved, theirs + pair.host.moved
    if pair.exact:
        return min(mine, theirs), abs(mine - theirs)
    out, row = (far, pair.host_row) if pair.orig else (near, pair.row)
    into, row_in, stream = (near, pair.row, pair.vm) if pair.orig else (far, pair.host_row, pair.host)
    if min(e.first(r, pair.orig, resets=True) for e, r in ((out, row), (into, row_in))) != NEVER:
        return None, 0
    # whoever closes first does not wait for what is on its way
    if out.first(row, not pair.orig, resets=False) <= out.first(row, pair.orig, resets=False):
        closed, last = out.on_host(out.first(row, not pair.orig, resets=False)), into.on_host(into.last(stream.session, pair.orig))
        if closed < last + GIVEN_UP_NS:
            return None, 0
    return min(mine, theirs), abs(mine - theirs)
