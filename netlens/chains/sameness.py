"""Sameness: whether what came out of a tunnel or relay is what went in, byte for byte, from captures on both sides.

Theory of operation
-------------------
1. Compared are the two directions of connections that were paired (:mod:`netlens.chains.pairing`): the session in the program's capture and the last one in
   the host's, as streams of bytes. Segments, retransmissions and their order do not matter (:mod:`netlens.parsers.stream_digests`). They were hashed while
   the captures were read, and are read again only where positions are not offsets of the stream, or where something differs or is missing.
2. *Alignment.* Where the very packets go on (NAT, a bridge), positions are sequence numbers. Where a relay opens a connection of its own, a stream begins with
   its first byte; but what a relay was told before (CONNECT, SOCKS) is not passed on, so that TLS begins with its first record.
3. A pair that rests on sizes and times only is one if either direction begins alike; else nothing is said about it.
4. Blocks whose hashes differ, or of which either capture lacks bytes, are read again, and each byte that both have is compared. A byte that was sent twice,
   differently, is the same if either sending is: then a checksum failed on the way, and TCP mended it.
5. What is missing at the end is damage only if it cannot be anything else: both captures show the stream's end (FIN), nobody reset, and the receiver did not
   close first, or long after the last byte had gone in.

6. A relay on the host that asks in connections of its own may pass bytes on (socat, a load balancer of TCP) or write requests and answers anew (a reverse
   proxy). Where each of its connections carries on one of the VM's, both are compared if it shows that it passes bytes on: all requests are the same, all
   answers as long, and at least half of the answers the same. So is what goes in the clear through anything that might rewrite HTTP.

Out of reach: relays that encrypt or write anew, of which it is counted what was compared as far as the relay only; connections that began before a capture,
where a relay numbers anew; bytes that either capture lacks. All is counted. Bytes beyond :data:`MOST_READ` that would have to be read again are not, and count
as not compared.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from netlens.chains.linking import Linked
from netlens.chains.paths import SSHUTTLE
from netlens.chains.side import Side
from netlens.columns import NEVER, Bools, Ints
from netlens.parsers import stream_digests
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.session_state import BASE, BASE_ACKED, BASE_KIND, BASE_SYN, FIN_END, SIDE, SIDE_WIDTH, UNSET
from netlens.parsers.stream_digests import Digests, Streams
from netlens.threads import in_parallel

EXACT = ("isn", "address")  #: pairs whose packets are the same
HANDSHAKE = 0x16  #: kind of the record that TLS begins with
MOST_READ = 64 << 20  #: bytes read again of each capture; a block is 1 kB in the first 2 MB of a stream
ALIKE = 64  #: bytes that two streams begin with by chance as well as never
ALL_ALIKE = 16  #: of a stream that is no longer: a question over TCP has 12 bytes besides its name, its number among them
#: what a tunnel holds for less when the receiver closes is dropped; more than the longest delay that was seen (0.1 s)
GIVEN_UP_NS = 2_000_000_000
NEAR = 1 << 30  #: bytes between two sequence numbers of one stream, at most


@dataclass(frozen=True)
class Difference:
    """The first place where two streams differ. ``row``: connection of the VM's capture.  orig : in what the program sent.

    position : byte of the stream as the VM's capture counts it.  frames : that hold it, in the VM's and in the host's capture; 0 where none does.
    missing : so many bytes at the end did not come out; 0: bytes are others.  relayed : behind a relay on the host, which took the connection.
    """

    row: int
    host_row: int
    orig: bool
    position: int
    frames: tuple[int, int]
    missing: int = 0
    relayed: bool = False


@dataclass
class Sameness:
    """``connections``: with at least one direction compared; ``bytes`` : that both captures have, compared.  skipped : why a connection was not -> how many.

    to_relay : connections that end at a relay on the host, compared as far as that.  through_relay : compared with what a relay on the host made of them.
    """

    connections: int = 0
    bytes: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    to_relay: int = 0
    through_relay: int = 0


PASSED_ON = 0.5  #: share of a relay's answers that are the same where it passes bytes on; what damages more than every second one is not told from rewriting
ANEW = "over a relay that asks in connections of its own"
BEGUN = "open before the capture"
UNSURE = "not certainly the same connection"
EMPTY = "without payload in both captures"
REWRITTEN = "in the clear through a proxy, which may rewrite HTTP"
UNPAIRED = "in the VM's capture only"


class _Pairs(NamedTuple):
    """Directions of pairs: rows of the connections, how they were found, and the two streams; [n] each."""

    row: Ints
    host_row: Ints
    orig: Bools
    exact: Bools
    sure: Bools
    vm: Streams
    host: Streams

    def take(self, rows: Any) -> _Pairs:
        row, host_row, orig, exact, sure, vm, host = self
        return _Pairs(row[rows], host_row[rows], orig[rows], exact[rows], sure[rows], vm.take(rows), host.take(rows))


def compare(linked: Linked) -> Sameness | None:
    """What both captures hold of each connection, compared; None without two captures that can be read again."""
    pairs, vm = linked.pairing, linked.vm
    if pairs is None or vm is None:
        return None
    host = linked.upstream
    if not (readable_again(vm.capture.paths) and readable_again(host.capture.paths)):
        return None
    found = Sameness()
    rows: list[tuple[int, int, bool, bool]] = []
    perhaps: list[tuple[int, int, bool, bool]] = []
    sides = _Ends(vm, linked.clock.to_host), _Ends(host)
    carried_on = _carried_on(linked, host)
    at_relay: set[int] = set()
    in_clear = vm.most((vm.sessions["protocol"] == "http").astype(np.int64)) > 0
    for row, mate in enumerate(pairs.host_of.tolist()):
        if mate < 0:
            if vm.target[row] and linked.clock_told:
                found.skipped[ANEW if linked.carried else UNPAIRED] += 1
            continue
        if in_clear[row] and _may_rewrite(linked, row, mate):
            perhaps.append((row, mate, False, False))
            continue
        if vm.target[row] and not host.target[mate]:
            at_relay.add(row)
            if mate in carried_on:
                perhaps.append((row, carried_on[mate], False, False))
        if mate in linked.served:  # without a hello that both carry, what goes on may be encrypted anew: then the bytes must tell
            rows.append((row, mate, False, not vm.randoms.get(row, set()).isdisjoint(host.randoms.get(mate, ()))))
        else:
            method = str(pairs.method[row])
            rows.append((row, mate, method in EXACT, method != "assignment"))
    compared = _compare(found, sides, rows)
    beyond = Sameness()
    told = _compare(beyond, sides, perhaps, _passed_on)
    found.skipped[REWRITTEN] += len({row for row, *_ in perhaps} - set(told) - at_relay)
    found.skipped += Counter()
    found.differences += [replace(d, relayed=d.row in at_relay) for d in beyond.differences]
    found.through_relay, found.to_relay = len(at_relay & set(told)), len(at_relay & set(compared) - set(told))
    compared = told | compared
    found.connections, found.bytes = len(compared), sum(compared.values())
    for side in (vm, host):
        side.capture.part.hasher = None  # 5 MB for a million packets; nobody compares these captures again
    return found


def _compare(
    found: Sameness,
    sides: tuple[_Ends, _Ends],
    rows: list[tuple[int, int, bool, bool]],
    certain: Callable[[tuple[_Ends, _Ends], _Pairs, Bools], Bools] | None = None,
) -> dict[int, int]:
    """Compare pairs (see :func:`_directions`); the connections of which anything was -> bytes.

    certain : which of them are what the host made of the VM's; by default those that begin alike.
    """
    chosen, left = _directions(sides, rows, whole=certain is not None)
    of_captures = zip((side.side.capture for side in sides), (chosen.vm, chosen.host), strict=True)
    digests = in_parallel(*(partial(stream_digests.digests, c.part.hasher, c.paths, streams) for c, streams in of_captures))
    found.skipped.update(left)
    return _judge(found, sides, chosen, digests, certain)


def _passed_on(sides: tuple[_Ends, _Ends], pairs: _Pairs, differ: Bools) -> Bools:
    """Which pairs are of a relay that passes bytes on as they are: see the theory. By the address at which the VM asks."""
    c = sides[0].side.connections
    whom = list(c.tuples("resp_ip", "resp_port"))
    by_relay: dict[Any, list[int]] = {}
    for k, row in enumerate(pairs.row.tolist()):
        by_relay.setdefault(whom[row], []).append(k)
    sizes = [
        np.where(pairs.orig, *(e.bytes[orig][s.session] + e.missing[orig][s.session] for orig in (True, False)))
        for e, s in zip(sides, (pairs.vm, pairs.host), strict=True)
    ]
    alike, told = (sizes[0] == sizes[1]) & ~(pairs.orig & differ), np.zeros(len(pairs.row), np.bool_)
    for of in by_relay.values():
        answers = differ[of][~pairs.orig[of]]
        told[of] = alike[of].all() and (len(answers) == 0 or answers.mean() <= 1 - PASSED_ON)
    return told


def _carried_on(linked: Linked, host: Side) -> dict[int, int]:
    """Connection with a relay on the host -> the one connection of the relay's that carries on its requests, and no other's."""
    session = host.capture.table("exchanges")["session_id"]
    links = {tuple(host.connection_of.get(int(session[k]), -1) for k in (asked, own)) for own, asked in linked.carried.items()}
    many = [Counter(link[k] for link in links) for k in (0, 1)]
    return {asked: own for asked, own in links if asked >= 0 <= own and many[0][asked] == many[1][own] == 1}


def _may_rewrite(linked: Linked, row: int, mate: int) -> bool:
    """Whether what carries a connection of the VM's in clear (HTTP) may be a proxy that changes what it passes on: no tunnel or translation."""
    assert linked.vm is not None
    assert linked.pairing is not None
    return mate in linked.served or (linked.pairing.method[row] not in EXACT and linked.vm.connections["path"][row] != SSHUTTLE)


class _Ends:
    """What is asked of one capture's sessions, of many at a time: ``sessions`` are int64[n], ``orig`` is the direction."""

    def __init__(self, side: Side, moved: Callable[[Ints], Ints] = np.array) -> None:
        self.side, self._moved = side, moved
        self.state = side.capture.part.state()
        s = side.sessions
        self.saw_syn = s["saw_syn"].astype(bool)
        self.bytes = {True: s["orig_bytes"], False: s["resp_bytes"]}
        self.missing = {True: s["orig_missing_bytes"], False: s["resp_missing_bytes"]}
        self.trail = side.capture.trail
        self.fins = {True: s.ints("orig_fin_ns", NEVER), False: s.ints("resp_fin_ns", NEVER)}
        self.resets = s.ints("rst_ns", NEVER)
        self.lasts = {True: s.ints("orig_last_payload_ns", NEVER), False: s.ints("resp_last_payload_ns", NEVER)}

    def sessions(self, rows: Ints, orig: bool) -> Ints:
        """Of connections, the sessions that carry a direction, of copies the last."""
        last = self.side.most(np.arange(len(self.saw_syn)))[rows]
        sent = self.side.most(np.where(self.bytes[orig] > 0, np.arange(len(self.saw_syn)), -1))[rows]
        return np.where(sent >= 0, sent, last)

    def ways(self, sessions: Ints, orig: bool) -> Ints:
        """The direction of sessions, as packet rows have it."""
        found: Ints = self.side.originator[sessions] if orig else 1 - self.side.originator[sessions]
        return found

    def column(self, sessions: Ints, orig: bool, column: int) -> Ints:
        found: Ints = self.state[sessions, SIDE + self.ways(sessions, orig) * SIDE_WIDTH + column]
        return found

    def begins(self, sessions: Ints, orig: bool) -> Bools:
        """Whether the beginning of the stream is known."""
        return np.isin(self.column(sessions, orig, BASE_KIND), (BASE_SYN, BASE_ACKED)) & (self.saw_syn[sessions] | (not orig))

    @cached_property
    def _records(self) -> tuple[Ints, Ints]:
        """Streams (2 * session + direction, rising) with a handshake record of TLS, and where the first begins in each."""
        if self.trail is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        t = self.trail.segments()
        head = t["head"]  # compared as a whole: shifted, all of them would be copied
        at = np.flatnonzero((head >= np.uint64(HANDSHAKE << 56)) & (head < np.uint64((HANDSHAKE + 1) << 56)) & (t["length"] > 0))
        streams, first = np.unique(2 * t["session"][at].astype(np.int64) + t["way"][at], return_index=True)
        return streams, np.maximum(t["offset"][at[first]], 0)

    def first_records(self, sessions: Ints, orig: bool) -> Ints:
        """Where TLS begins in streams; 0 where nothing tells."""
        streams, offsets = self._records
        if not len(streams):
            return np.zeros(len(sessions), np.int64)
        wanted = 2 * sessions + self.ways(sessions, orig)
        at = np.minimum(np.searchsorted(streams, wanted), len(streams) - 1)
        return np.where(streams[at] == wanted, offsets[at], 0)

    def lengths(self, sessions: Ints, orig: bool) -> Ints:
        """Of whole streams, whose end was seen; -1 of others."""
        end = self.column(sessions, orig, FIN_END)
        return np.where((end == UNSET) | ~self.begins(sessions, orig), -1, end - 1)

    def frame(self, stream: Streams, offset: int) -> int:
        """The first frame that holds a byte of one stream; of a byte that none has, that before it."""
        if self.trail is None:
            return 0
        at, all_ = self.trail.of(int(stream.session)), self.trail.segments()
        chosen = at.start + np.flatnonzero((all_["way"][at] == stream.way) & (all_["length"][at] > 0))
        seg = {name: all_[name][chosen] for name in ("offset", "length", "frame")}
        if not len(chosen):
            return 0
        holding = np.flatnonzero((seg["offset"] <= offset) & (seg["offset"] + seg["length"] > offset))
        before = np.flatnonzero(seg["offset"] <= offset)
        return int(seg["frame"][holding[0] if len(holding) else before[-1] if len(before) else 0])

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


def _directions(sides: tuple[_Ends, _Ends], rows: list[tuple[int, int, bool, bool]], whole: bool = False) -> tuple[_Pairs, Counter[str]]:
    """Both directions of pairs as streams with common positions, and why neither of one can be compared -> how many.

    Parameters
    ----------
    rows : connection of the VM's capture, of the host's, whether their packets are the same, and whether it is certain that they are a pair.
    whole : what a relay was told before is passed on as well, if anything is.
    """
    near, far = sides
    row, mate, exact, sure = (
        (np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), "llbb", strict=True)) if rows else [np.zeros(0, int)] * 4
    )
    each, reasons = [], []
    for orig in (True, False):
        a, b = near.sessions(row, orig), far.sessions(mate, orig)
        empty = (near.bytes[orig][a] == 0) | (far.bytes[orig][b] == 0)
        sizes = [e.bytes[orig][k] + e.missing[orig][k] for e, k in ((near, a), (far, b))]
        apart = ((far.column(b, orig, BASE) - near.column(a, orig, BASE) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        by_number = exact.astype(bool) & (np.abs(apart) < NEAR)
        moved = [
            np.where(by_number, np.maximum(by, 0), 0 if whole else -e.first_records(k, orig))
            for e, k, by in ((near, a, -apart), (far, b, apart))
        ]
        begun = ~by_number & ~(near.begins(a, orig) & far.begins(b, orig))
        length = np.minimum(sizes[0] + moved[0], sizes[1] + moved[1])
        reasons.append(np.where(~empty & begun, BEGUN, np.where(empty | (length <= 0), EMPTY, "")))
        streams = (Streams(k, e.ways(k, orig), by, length) for e, k, by in zip(sides, (a, b), moved, strict=True))
        each.append(_Pairs(row, mate, np.full(len(row), orig), exact.astype(bool), sure.astype(bool), *streams))
    columns: list[Any] = [
        Streams(*map(np.concatenate, zip(*of, strict=True))) if isinstance(of[0], Streams) else np.concatenate(of)
        for of in zip(*each, strict=True)
    ]
    order = np.argsort(np.concatenate([np.arange(len(row))] * 2), kind="stable")  # the directions of a pair beside each other
    kept = np.concatenate(reasons) == ""
    neither = (reasons[0] != "") & (reasons[1] != "")
    return _Pairs(*columns).take(order[kept[order]]), Counter(reasons[0][neither].tolist())


def _judge(
    found: Sameness,
    sides: tuple[_Ends, _Ends],
    pairs: _Pairs,
    digests: list[Digests],
    certain: Callable[[tuple[_Ends, _Ends], _Pairs, Bools], Bools] | None,
) -> dict[int, int]:
    """Fill in what differs, and why what was not compared; the connections of which anything was -> bytes."""
    differ, amounts = _differing(pairs, digests)
    told = None if certain is None else certain(sides, pairs, differ)
    if told is not None:
        differ &= told
    suspects = {k: _suspects(int(pairs.vm.length[k]), *(d.of(k) for d in digests)) for k in np.flatnonzero(differ).tolist()}
    wanted = _within(suspects)
    read: list[dict[tuple[int, int], stream_digests.Bytes]] = [{}, {}]
    if wanted:
        each = zip(sides, (pairs.vm, pairs.host), strict=True)
        read = in_parallel(*(partial(stream_digests.read_blocks, e.side.capture.paths, streams, wanted) for e, streams in each))
    sure = np.isin(pairs.row, list(set(pairs.row[pairs.sure].tolist()) | _proven(pairs, digests, read))) if told is None else told
    broken = np.zeros(len(sure), bool)
    for k in np.flatnonzero(sure & (differ | _ends_apart(sides, pairs))).tolist():
        pair = pairs.take(k)
        seen = digests[0].of(k)[1]
        amounts[k] -= sum(int(seen[at]) for at, _, _ in suspects.get(k, ()))
        position: int | None = None
        for start, _ in wanted.get(k, ()):
            mine, theirs = read[0][k, start], read[1][k, start]
            both = mine.seen & theirs.seen
            amounts[k] += int(both.sum())
            other = (
                both & (mine.first != theirs.first) & (mine.last != theirs.last) & (mine.first != theirs.last) & (mine.last != theirs.first)
            )
            if position is None and other.any():
                position = start + int(np.argmax(other))
        missing = 0
        if position is None:
            position, missing = _cut_short(sides, pair)
        if position is not None:
            broken[k] = True
            at = [position - int(stream.moved) for stream in (pair.vm, pair.host)]
            frames = tuple(e.frame(s, o) for e, s, o in zip(sides, (pair.vm, pair.host), at, strict=True))
            found.differences.append(Difference(int(pair.row), int(pair.host_row), bool(pair.orig), at[0], (frames[0], frames[1]), missing))
    found.skipped[UNSURE] += len(np.unique(pairs.row[~sure]))
    compared: Counter[int] = Counter()
    for k in np.flatnonzero(sure & (broken | (amounts > 0))).tolist():
        compared[int(pairs.row[k])] += int(amounts[k])
    return dict(compared)


def _differing(pairs: _Pairs, digests: list[Digests]) -> tuple[Bools, Ints]:
    """Of each pair, whether any block is not the same and whole in both captures; and how many bytes the VM's capture has. Of all blocks at once."""
    mine, theirs = digests
    counts = np.diff(mine.begins)
    of = np.repeat(np.arange(len(counts)), counts)
    start, end = _bounds(np.arange(len(of)) - mine.begins[of], pairs.vm.length[of])
    full = end - start
    odd = (mine.hashes != theirs.hashes) | (mine.seen != theirs.seen) | (mine.seen != full)
    amounts = np.zeros(len(counts), np.int64)
    np.add.at(amounts, of, mine.seen)
    return np.bincount(of[odd], minlength=len(counts)) > 0, amounts


def _bounds(block: Ints, length: Any) -> tuple[Ints, Ints]:
    """Begins and ends of blocks of streams that are so long."""
    return stream_digests.starts(block), np.minimum(stream_digests.starts(block + 1), length)


def _suspects(length: int, mine: tuple[Ints, Ints], theirs: tuple[Ints, Ints]) -> list[tuple[int, int, int]]:
    """(block, first position, end) of blocks that differ, or that cannot be compared by their hashes; of each side hashes and bytes seen."""
    (hashes, seen), (their_hashes, their_seen) = mine, theirs
    start, end = _bounds(np.arange(len(seen)), length)
    alike = (hashes == their_hashes) & (seen == their_seen) & (seen == end - start)
    odd = np.flatnonzero(~alike & (seen > 0) & (their_seen > 0))
    return list(zip(odd.tolist(), start[odd].tolist(), end[odd].tolist(), strict=True))


def _within(suspects: dict[int, list[tuple[int, int, int]]]) -> dict[int, list[tuple[int, int]]]:
    """What is read again, the beginnings of all streams first."""
    out: dict[int, list[tuple[int, int]]] = {}
    left = MOST_READ
    queue = sorted((turn, k, start, end) for k, blocks in suspects.items() for turn, (_, start, end) in enumerate(blocks))
    for _, k, start, end in queue:
        if end - start > left:
            break
        left -= end - start
        bisect.insort(out.setdefault(k, []), (start, end))
    return out


def _proven(pairs: _Pairs, digests: list[Digests], read: list[dict[tuple[int, int], stream_digests.Bytes]]) -> set[int]:
    """Connections of which a direction begins alike."""
    mine, theirs = digests
    some = np.flatnonzero(np.diff(mine.begins) > 0)
    first = mine.begins[some]
    least = np.minimum(ALIKE, np.maximum(pairs.vm.length[some], ALL_ALIKE))
    alike = (mine.hashes[first] == theirs.hashes[first]) & (mine.seen[first] == theirs.seen[first]) & (theirs.seen[first] >= least)
    out = set(pairs.row[some[alike]].tolist())
    for k in some[~alike].tolist():
        if (k, 0) in read[0]:
            near, far = read[0][k, 0], read[1][k, 0]
            both = near.seen & far.seen
            if both[:ALIKE].sum() == ALIKE and (near.first[:ALIKE] == far.first[:ALIKE]).all():
                out.add(int(pairs.row[k]))
    return out


def _ends_apart(sides: tuple[_Ends, _Ends], pairs: _Pairs) -> Bools:
    """Streams of which both ends were seen, at different positions."""
    apart = np.zeros(len(pairs.row), bool)
    for orig in (True, False):
        of = np.flatnonzero(pairs.orig == orig)
        mine, theirs = (e.lengths(s.session[of], orig) for e, s in zip(sides, (pairs.vm, pairs.host), strict=True))
        apart[of] = (mine >= 0) & (theirs >= 0) & (mine + pairs.vm.moved[of] != theirs + pairs.host.moved[of])
    return apart


def _cut_short(sides: tuple[_Ends, _Ends], pair: _Pairs) -> tuple[int | None, int]:
    """Position from which on a stream (one pair) did not come out though both its ends were seen, and how many bytes; None if it did."""
    near, far = sides
    orig, row, host_row = bool(pair.orig), int(pair.row), int(pair.host_row)
    mine, theirs = (int(e.lengths(s.session, orig)) for e, s in ((near, pair.vm), (far, pair.host)))
    if mine < 0 or theirs < 0 or mine + pair.vm.moved == theirs + pair.host.moved:
        return None, 0
    mine, theirs = mine + int(pair.vm.moved), theirs + int(pair.host.moved)
    if pair.exact:
        return min(mine, theirs), abs(mine - theirs)
    out, row_out = (far, host_row) if orig else (near, row)
    into, row_in, stream = (near, row, pair.vm) if orig else (far, host_row, pair.host)
    if min(e.first(r, orig, resets=True) for e, r in ((out, row_out), (into, row_in))) != NEVER:
        return None, 0
    # whoever closes first does not wait for what is on its way
    if out.first(row_out, not orig, resets=False) <= out.first(row_out, orig, resets=False):
        closed, last = out.on_host(out.first(row_out, not orig, resets=False)), into.on_host(into.last(int(stream.session), orig))
        if closed < last + GIVEN_UP_NS:
            return None, 0
    return min(mine, theirs), abs(mine - theirs)
