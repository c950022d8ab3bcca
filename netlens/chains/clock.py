"""How far the VM's clock is ahead of the host's: offset with a guaranteed interval, drift, and steps.

Theory of operation
-------------------
1. *Common packets.* A packet seen in both captures bounds the offset: it was captured where it came from before it was captured where it went.
   One packet each way gives an interval as wide as the sum of their delays, and the quickest of many give microseconds. Connections worth a look
   at each packet (:mod:`netlens.parsers.packet_digests`) are those with one 5-tuple in both captures (the SSH connection; what the host routes,
   on the VM's side of its NAT) and those with the same two initial sequence numbers (NAT, of which the host captured the far side only). Packets
   are matched by direction, sequence and acknowledgment number, TCP timestamps, length and window, so that neither a handshake from before the
   capture nor a reused port matters. Offload merges and splits segments on one side only; those do not match and are not missed.
2. *Several packets that look the same* on one side are copies of one packet (bridge and port, before and after a router) if each is of another
   interface: any copy is a true sighting, and those nearest to the other machine bound best. Otherwise some are retransmissions, and only the
   earliest where it came from and the latest where it went are surely in that order.
3. *Which way* a direction goes is seen in the times, not guessed from addresses: of two packets in opposite directions shortly after each other,
   the difference of clocks (VM minus host) appears smaller in the one from the VM, by both delays. Of copies the first sightings
   count: what lies between them and the last makes that difference larger, never smaller. Addresses and what the capture says of outgoing packets decide
   only where that is silent.
4. *Through a tunnel* there are no common packets, but common bytes: a TLS connection with the same ClientHello random is one byte stream on
   both sides. A byte of the request was sent by the VM before the host sent it on; a byte of the response reached the host before the VM. Each
   segment of the receiving side with new bytes gives a bound. Without such streams, lookups do (the host forwards a query with the VM's
   transaction id). The interval is as wide as the tunnel is slow: 0.3 to 5 ms in the laboratory.
5. From bounds to offset, drift and steps: :mod:`netlens.chains.offset`.

Limits
------
- Capture loss can forge a bound: a retransmission with equal numbers, whose first sending is missing in one capture and whose second is missing in
  the other. TCP timestamps make that all but impossible; without them only packets with payload, SYN and FIN are used.
- A proxy that rewrites sequence numbers or timestamps (OpenBSD's ``modulate state``) leaves no common packets.
- With traffic in one direction only there is no interval; then ``offset_s`` is None, and times are converted as if the quickest packet had taken no
  time, which is noted.
- When the VM's clock is set back, some of its times occur twice. :meth:`Clock.to_host` takes them as after the step unless told the frames.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens.api import Capture
from netlens.arrays import give_back
from netlens.aside import Aside
from netlens.chains.compared import FAR_NS
from netlens.chains.copies import COPY_BARE_NS
from netlens.chains.offset import Bounds, Corridor, Fit, Piece, Step, fit, join
from netlens.columns import Bools, Ints, distinct_rows
from netlens.errors import NetlensError
from netlens.parsers import packet_digests as m
from netlens.parsers import session_state as s_
from netlens.parsers.trail import Trail
from netlens.threads import in_parallel
from netlens.wire.addresses import other_way

FLOWS = 4096  #: connections looked at, those with most frames first; one would do
STREAMS = 512  #: tunnelled connections looked at; each takes some Python
#: Half of the range of possible drifts up to which its middle is reported: half of what cheap crystals are off (50 ppm).
KNOWN_PPM = 20.0
#: No clock that is left alone drifts more: NTP gives up at 500 ppm. Used where the corridor is extended beyond what bounds it, and for the note.
STEEP = 500e-6
#: Half the interval where there is a bound on one side only: no path between a VM and its host takes a second.
GUESS_NS = 500_000_000
#: Two packets vote on which way is which if they are nearer to each other than drift could matter: their gap must exceed this part of the time between.
VOTE_SLOPE = 1e-3
VOTE_NS = 2_000  #: and twice what rounding makes
FEW = 4  #: frames cited per side
NESTED = "nested requests"  #: a method of :mod:`netlens.chains.nesting`
WHAT = {"causal bounds": "bounds from tunnelled bytes or lookups", NESTED: "requests to a relay that enclose what it asked"}
CHANCE = 1e-3  #: expected number of lookups with equal transaction id by chance, above which a single match proves nothing
SSH_PORT = 22


@dataclass(frozen=True, eq=False)
class Clock:
    """VM clock minus host clock.

    offset_s, low_s, high_s : at the first common packet, the interval being guaranteed; all None where nothing bounds it on both sides.
    drift_ppm : how much faster the VM's clock runs (where it changes: in the longest piece); None where it cannot be told.
    method : "ssh packets", "nat copies", "common packets", "causal bounds", several of these with commas, "nested requests", or "none".
    packets : common packets used; of causal bounds, the bounds; of nested requests, these.
    steps : when a clock was set, and by how much.
    frames : a few frame numbers that it rests on, "vm" and "host".
    note : one sentence for people.
    pieces : lines that convert times; none converts nothing.
    """

    offset_s: float | None
    low_s: float | None
    high_s: float | None
    drift_ppm: float | None
    method: str
    packets: int
    steps: list[Step]
    frames: dict[str, list[int]]
    note: str
    pieces: tuple[Piece, ...] = field(default=(), repr=False)
    uncertain_ns: int = 0  #: how far a converted time can be off (half of the widest interval, nearly); 0 where nothing is converted

    def to_host(self, vm_ns: Ints, vm_frames: Ints | None = None) -> Ints:
        """The VM's capture times on the host's clock; unchanged where the offset is unknown.

        Parameters
        ----------
        vm_frames : frame numbers of the times, if known: they tell apart times that a clock that was set back showed twice.
        """
        times = np.asarray(vm_ns, np.int64)
        if not self.pieces:
            return times.copy()
        which = np.zeros(times.shape, np.int64)
        for k, piece in enumerate(self.pieces[1:], 1):
            which[times >= piece.from_ns if vm_frames is None else np.asarray(vm_frames) >= piece.from_frame] = k
        out = np.empty_like(times)
        for k, piece in enumerate(self.pieces):
            mine = which == k
            out[mine] = times[mine] - piece.offset_ns(times[mine])
        return out

    def to_dict(self) -> dict[str, Any]:
        names = ("offset_s", "low_s", "high_s", "drift_ppm", "method", "packets", "steps", "frames", "note")
        return {name: getattr(self, name) for name in names} | {"steps": [asdict(step) for step in self.steps]}


def identity(note: str) -> Clock:
    """Of one capture, or of two with nothing in common: times stay as they are."""
    return Clock(None, None, None, None, "none", 0, [], {"vm": [], "host": []}, note)


def estimate(vm: Capture, host: Capture, same: Sequence[tuple[int, int]] = ()) -> Clock:
    """The VM's clock against the host's, from captures of both sides of the same time.

    Parameters
    ----------
    same : sessions of both that are known to be one byte stream, though no hello shows it.

    Raises
    ------
    CaptureError, WireError
        a file cannot be read.
    """
    if not vm.part.frames or not host.part.frames:
        return identity("One of the captures is empty, so the clocks cannot be compared. Times are used as they are.")
    known = _at_hand(vm) and _at_hand(host)
    bounds, methods, packets, undecided = _common_packets(vm, host) if known else (join([]), [], 0, 0)
    if not bounds.two_sided:
        causal = _causal(vm, host, known, same)
        if len(causal):
            bounds, methods, packets = join([bounds, causal]), [*methods, "causal bounds"], packets + len(causal)
    if not len(bounds):
        if undecided:
            why = "The captures share packets, but nothing shows which way they went, so the clocks cannot be compared"
        elif not known:
            why = "A capture that is not a file cannot be read again to look for common packets, so the clocks cannot be compared"
        else:
            why = "No packet, tunnelled connection or lookup tells how far the clocks are apart"
        return identity(why + ". Times are used as they are.")
    return of_bounds(bounds, ", ".join(methods), packets, vm.part.bounds_ns)


MANY = 100_000  #: frames of both captures from which on another process is worth its 20 ms


def beside(vm: Capture, host: Capture, *more: Callable[[Any], Any]) -> Aside:
    """Another process for :func:`ahead` where the captures are large, and for ``more`` behind that, functions that are handed the captures."""
    return Aside((_of_both, *more) if vm.part.frames + host.part.frames >= MANY else (), (vm, host))


def ahead(vm: Capture, host: Capture, other: Aside | None = None) -> Callable[[], Clock]:
    """Begin to estimate the VM's clock, in ``other``; what is returned waits for it. Errors: see :func:`estimate`."""
    process = other or beside(vm, host)
    return lambda: process.results(_of_both).get(_of_both) or estimate(vm, host)


def _of_both(captures: tuple[Capture, Capture]) -> Clock:
    return estimate(*captures)


# -- common packets --

FOR_CLOCKS = ("seq", "ack", "iface")  #: columns of the trail that nothing else asks for


def _whole_trail(capture: Capture) -> Trail | None:
    """What was kept of all segments while the capture was read; None where it was not, or not of all."""
    trail = capture.part.trail
    return trail if trail is not None and trail.has(*FOR_CLOCKS) else None


def _at_hand(capture: Capture) -> bool:
    """Whether single packets are known, or can be read again."""
    return _whole_trail(capture) is not None or m.readable_again(capture.paths)


def _digests(capture: Capture, flows: Ints) -> Ints:
    trail = _whole_trail(capture)
    if trail is None:
        return m.collect(capture.paths, flows)
    return m.of_trail(trail, _ends(capture.part.state()), flows)


def _ends(state: Ints) -> Ints:
    """5-tuples of sessions as they stand there."""
    return state[:, [s_.A_HI, s_.A_LO, s_.B_HI, s_.B_LO, s_.PORTS]]


def _common_packets(vm: Capture, host: Capture) -> tuple[Bounds, list[str], int, int]:
    """Bounds from packets in both captures; how they were found; how many packets; how many say nothing because their direction is unknown."""
    flows_vm, flows_host, kinds = _flows(vm, host)
    if not len(kinds):
        return join([]), [], 0, 0
    a, b = in_parallel(lambda: _digests(vm, flows_vm), lambda: _digests(host, flows_host))
    give_back()
    first, second = _groups(a), _groups(b)
    _, i, j = np.intersect1d(first["key"], second["key"], assume_unique=True, return_indices=True)
    same = np.ones(len(i), np.bool_)
    for column in (m.DIRECTION, m.SEQ, m.ACK, m.STAMP, m.LENGTH, m.FLAGS, m.WINDOW):
        same &= a[first["early"][i], column] == b[second["early"][j], column]
    if not same.any():
        return join([]), [], 0, 0
    (early_vm, late_vm, copies_vm), (early_host, late_host, copies_host) = (
        (of["early"][at[same]], of["late"][at[same]], of["copies"][at[same]]) for of, at in ((first, i), (second, j))
    )
    copies = copies_vm & copies_host
    # Of a packet that each capture saw once, or at once once more, the first sightings tell the way: the machine that it came from saw it before the other did.
    soon = np.maximum(a[late_vm, m.TIME] - a[early_vm, m.TIME], b[late_host, m.TIME] - b[early_host, m.TIME]) < COPY_BARE_NS
    ways = _ways(a[early_vm], b[early_host], copies | soon, flows_vm)
    flow = a[early_vm, m.FLOW]
    sent = a[early_vm, m.DIRECTION] == ways[flow]  # the VM sent it
    known = ways[flow] >= 0
    late = sent == copies  # at the VM; it is the other one at the host
    at_vm, at_host = np.where(late, late_vm, early_vm)[known], np.where(late, early_host, late_host)[known]
    times = a[at_vm, m.TIME]
    bounds = Bounds(times, times - b[at_host, m.TIME], ~sent[known], a[at_vm, m.FRAME], b[at_host, m.FRAME]).in_order()
    used: Counter[str] = Counter()
    for kind, packets in zip(kinds, np.bincount(flow[known], minlength=len(kinds)).tolist(), strict=True):
        used[kind] += packets
    return bounds, [k for k, n in used.most_common() if n], len(bounds), int((~known).sum())


def _groups(marks: Ints) -> dict[str, npt.NDArray[Any]]:
    """Packets that look the same: key, row of the earliest and of the latest, and whether all are of different interfaces.

    Without timestamps only those with bytes of their own are what they seem (keep-alives repeat, 0 or 1 byte long); the others are left out.
    """
    rows = np.flatnonzero((marks[:, m.STAMP] > 0) | (marks[:, m.LENGTH] > 1) | (marks[:, m.FLAGS] != 0))
    order = rows[np.lexsort((marks[rows, m.TIME], marks[rows, m.KEY]))]
    key = marks[order, m.KEY]
    start = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    end = np.append(start[1:], len(key))[: len(start)] - 1
    size = end - start + 1
    copies = size == 1
    several = np.flatnonzero(~copies)
    if len(several):
        by_iface = rows[np.lexsort((marks[rows, m.IFACE], marks[rows, m.KEY]))]
        fresh = np.append(True, (np.diff(marks[by_iface, m.KEY]) != 0) | (np.diff(marks[by_iface, m.IFACE]) != 0))
        copies = np.add.reduceat(fresh.astype(np.int64), start) == size
    return {"key": key[start], "early": order[start], "late": order[end], "copies": copies}


def _flows(vm: Capture, host: Capture) -> tuple[Ints, Ints, list[str]]:
    """Connections that may have packets in both captures, as flows of each, with ends in the same order; and of the VM's, what kind each is."""
    states = [capture.part.state() for capture in (vm, host)]
    tuples = [m.canonical(_ends(state))[0] for state in states]
    number = distinct_rows(*np.concatenate(tuples).T)[1]
    seen = [number[: len(tuples[0])], number[len(tuples[0]) :]]
    local = [_loopback(t) for t in tuples]
    isns = [_isns(c) for c in (vm, host)]
    frames = states[0][:, s_.SIDE + s_.FRAMES] + states[0][:, s_.SIDE + s_.SIDE_WIDTH + s_.FRAMES]
    _, i, j = np.intersect1d(seen[0], seen[1], return_indices=True)
    busiest = np.argsort(-np.where(local[0][i], 0, frames[i]), kind="stable")[:FLOWS]
    busiest = busiest[~local[0][i[busiest]]]
    i, j = i[busiest], j[busiest]
    numbers, times = np.unique(isns[1][isns[1] >= 0], return_counts=True)
    ports = tuples[0][i, s_.PORTS]
    ssh = ((ports & 0xFFFF) == SSH_PORT) | ((ports >> 16 & 0xFFFF) == SSH_PORT) | (vm.table("sessions")["protocol"][i] == "ssh")
    kinds = np.where(ssh, "ssh packets", np.where(np.isin(isns[1][j], numbers[times > 1]), "nat copies", "common packets"))
    # NAT of which the host captured the far side only: the VM's 5-tuple is not in its capture, the initial numbers are.
    # A machine that translates has several sessions of these numbers (a container's, in the VM): of the VM the last that was seen, of the host the
    # first, which are the nearest to each other. Any of them is a true sighting.
    p = np.flatnonzero(np.isin(isns[0], numbers) & ~np.isin(seen[0], seen[1]) & ~local[0])
    p = p[np.argsort(-frames[p], kind="stable")[: FLOWS - len(i)]]
    q = np.flatnonzero(np.isin(isns[1], isns[0][p]) & ~local[1])
    shared, last = np.unique(isns[0][p][::-1], return_index=True)
    p = p[::-1][last]
    p, q = p[np.isin(shared, isns[1][q])], q[np.unique(isns[1][q], return_index=True)[1]]
    return (
        np.concatenate([tuples[0][i], _by_originator(states[0][p])]),
        np.concatenate([tuples[1][j], _by_originator(states[1][q])]),
        [*kinds.tolist(), *["nat copies"] * len(p)],
    )


def _by_originator(state: Ints) -> Ints:
    """5-tuples with the originator first."""
    k4 = state[:, s_.PORTS]
    back = np.column_stack([state[:, [s_.B_HI, s_.B_LO, s_.A_HI, s_.A_LO]], other_way(k4)])
    return np.where((state[:, s_.FSM] >> 8 & 1 == 1)[:, None], back, _ends(state))


def _loopback(ends: Ints) -> Bools:
    """Connections inside one machine: their 5-tuples mean nothing elsewhere."""
    v4 = ends[:, 4] >> 32 == 4
    out = np.zeros(len(ends), bool)
    for hi, lo in ((ends[:, 0], ends[:, 1]), (ends[:, 2], ends[:, 3])):
        out |= np.where(v4, lo >> 24 & 255 == 127, (hi == 0) & (lo == 1))
    return out


def _isns(capture: Capture) -> Ints:
    """Both initial sequence numbers of each session as one number; -1 where one is unknown."""
    table = capture.table("sessions")
    orig, resp = (table.ints(f"{side}_isn", -1) for side in ("orig", "resp"))
    # 62 bits, so that it stays positive; which of four equals it is does not matter beside the packets' own numbers
    return np.where((orig >= 0) & (resp >= 0), (orig << 32 | resp) & (1 << 62) - 1, -1)


def _ways(early_vm: Ints, early_host: Ints, sure: Bools, flows: Ints) -> Ints:
    """Per flow, the direction (0, 1) in which its packets go from the VM to the host; -1 unknown. ``sure``: packets that were not sent again."""
    order = np.lexsort((early_vm[:, m.FRAME], early_vm[:, m.FLOW]))
    flow, direction = early_vm[order, m.FLOW], early_vm[order, m.DIRECTION]
    diff = early_vm[order, m.TIME] - early_host[order, m.TIME]
    vote = _votes(flow, direction == 1, diff, early_vm[order, m.TIME], sure[order])
    votes = np.zeros(len(flows), np.int64)
    np.add.at(votes, flow[:-1], vote)
    # a direction that one machine only ever sends, as its capture says, comes from there
    for marks, machine in ((early_vm, 1), (early_host, -1)):
        way = 2 * marks[:, m.FLOW] + marks[:, m.DIRECTION]
        every, sent = (np.bincount(each, minlength=2 * len(flows)) for each in (way, way[marks[:, m.IFACE] & 0xFF == 4]))
        shares = (np.where(every > 0, 1, 0) * (np.where(sent == every, 1, 0) - np.where(sent == 0, 1, 0))).reshape(-1, 2).T
        told = np.where((shares[0] == 1) & (shares[1] < 1), 1, np.where((shares[1] == 1) & (shares[0] < 1), -1, 0)) * machine
        votes = np.where(votes == 0, told, votes)
    ways = np.where(votes > 0, 0, np.where(votes < 0, 1, -1))
    # the VM's addresses are those on its side of the flows that are decided
    ends = [list(map(tuple, flows[:, [s_.A_HI, s_.A_LO]].tolist())), list(map(tuple, flows[:, [s_.B_HI, s_.B_LO]].tolist()))]
    of_vm = {ends[w][k] for k, w in enumerate(ways.tolist()) if w >= 0}
    of_vm -= {ends[1 - w][k] for k, w in enumerate(ways.tolist()) if w >= 0}
    for k in np.flatnonzero(ways < 0).tolist():
        a, b = (ends[e][k] in of_vm for e in (0, 1))
        ways[k] = -1 if a == b else 0 if a else 1
    return ways


def _votes(flow: Ints, kind: Bools, diff: Ints, at: Ints, sure: Bools | None = None) -> Ints:
    """For each row and the next: 1 if they show that what is not of ``kind`` comes from the VM, -1 if that what is does, 0 if nothing."""
    gap = np.diff(diff) * np.where(kind[1:], 1, -1)
    counts = (flow[1:] == flow[:-1]) & (kind[1:] != kind[:-1]) & (np.abs(gap) > VOTE_NS + VOTE_SLOPE * np.abs(np.diff(at)))
    if sure is not None:
        counts &= sure[1:] & sure[:-1]
    return np.where(counts, np.sign(gap), 0).astype(np.int64)


# -- common bytes and lookups --


def _causal(vm: Capture, host: Capture, known: bool, same: Sequence[tuple[int, int]]) -> Bounds:
    """Bounds from bytes and lookups that both captures hold, ``known``: so are single packets.

    The VM is where requests come from, unless the times show it is the other: then the captures were given the other way round.
    """
    as_given = join([])
    for turned in (False, True):
        first, second = (host, vm) if turned else (vm, host)
        bounds = join(_streams(first, second, [pair[::-1] if turned else pair for pair in same])) if known else join([])
        if not bounds.two_sided:
            bounds = join([bounds, *_lookups(first, second)])
        if bounds.two_sided and _votes(np.zeros(len(bounds), np.int64), bounds.upper, bounds.diff_ns, bounds.vm_ns).sum() >= 0:
            return bounds.reversed() if turned else bounds
        if not turned and not bounds.two_sided:
            as_given = bounds
    return as_given


def _table(capture: Capture, name: str) -> Any:
    """A table, or None where the capture was read without it."""
    try:
        return capture.table(name)
    except NetlensError:
        return None


def _session_of_random(capture: Capture) -> dict[str, int]:
    """Session of each ClientHello random; of copies the first session."""
    hellos = _table(capture, "hellos")
    out: dict[str, int] = {}
    if hellos is not None:
        for random, session in hellos.tuples("random", "session_id"):
            if random:
                out.setdefault(random, session)
    return out


def _streams(vm: Capture, host: Capture, same: Sequence[tuple[int, int]]) -> list[Bounds]:
    """Bounds from TLS connections that are one byte stream on both sides."""
    here, there = _session_of_random(vm), _session_of_random(host)
    common = [*((here[r], there[r]) for r in here if r in there), *same]
    if len(common) > STREAMS:  # spread over the recording
        common = [common[k] for k in np.linspace(0, len(common) - 1, STREAMS).astype(int).tolist()]
    at_vm = _segments(vm, _whole(vm, [a for a, _ in common]))
    at_host = _segments(host, _whole(host, [b for _, b in common]))
    parts = []
    for mine, theirs in zip(at_vm, at_host, strict=True):
        for source, sink, upper in ((mine[0], theirs[0], False), (theirs[1], mine[1], True)):
            if not len(source) or not len(sink):
                continue
            # the last byte of each segment: its source is the last segment that begins at or before it
            at = np.searchsorted(source[:, 2], sink[:, 3] - 1, side="right") - 1
            source, sink = source[at[at >= 0]], sink[at >= 0]
            a, b = (sink, source) if upper else (source, sink)
            parts.append(Bounds(a[:, 0], a[:, 0] - b[:, 0], np.full(len(a), upper), a[:, 1], b[:, 1]))
    return parts


def _whole(capture: Capture, sessions: list[int]) -> list[list[int]]:
    """Each session with the others of its connection: redirect halves, NAT copies."""
    connections = _table(capture, "connections")
    rows = connections["session_ids"].tolist() if connections is not None else []
    of = {session: list(ids) for ids in rows for session in ids}
    return [of.get(session, [session]) for session in sessions]


def _segments(capture: Capture, groups: list[list[int]]) -> list[tuple[Ints, Ints]]:
    """Of each group of sessions (those of one connection) the segments with new bytes of originator and responder.

    Each is int64[n, 4]: time, frame, stream offset of the first and one after the last byte; in order of all of these.
    """
    table, state = capture.table("sessions"), capture.part.state()
    wanted = sorted({s for group in groups for s in group})
    unique, row = np.unique(_by_originator(state[wanted]), axis=0, return_inverse=True)
    flow_of = dict(zip(wanted, row.ravel().tolist(), strict=True))
    marks = _digests(capture, unique) if wanted else np.zeros((0, m.DIGEST_WIDTH), np.int64)
    marks = marks[marks[:, m.LENGTH] > 0]
    marks = marks[np.argsort(marks[:, m.FLOW], kind="stable")]
    starts = np.searchsorted(marks[:, m.FLOW], np.arange(len(unique) + 1))
    out = []
    for group in groups:
        sides: tuple[list[Ints], list[Ints]] = ([], [])
        for s in group:
            own = marks[starts[flow_of[s]] : starts[flow_of[s] + 1]]
            own = own[(own[:, m.FRAME] >= table["first_frame"][s]) & (own[:, m.FRAME] <= table["last_frame"][s])]
            for direction, name in enumerate(("orig_isn", "resp_isn")):
                isn = table[name][s]
                if isn is None:
                    continue
                some = own[own[:, m.DIRECTION] == direction]
                begin = (some[:, m.SEQ] - isn - 1) & 0xFFFFFFFF
                segment = np.column_stack([some[:, m.TIME], some[:, m.FRAME], begin, begin + some[:, m.LENGTH]])
                sides[direction].append(segment[begin < 1 << 31])  # beyond 2 GiB a number may have wrapped
        out.append((_advancing(sides[0]), _advancing(sides[1])))
    return out


def _advancing(parts: list[Ints]) -> Ints:
    """Segments that go beyond all earlier ones: what repeats or fills a hole says nothing about when its bytes came first."""
    if not parts:
        return np.zeros((0, 4), np.int64)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    reached = np.append(0, np.maximum.accumulate(rows[:, 3]))[: len(rows)]
    rows[:, 2] = np.maximum(rows[:, 2], reached)
    return rows[rows[:, 3] > reached]


def _lookups(vm: Capture, host: Capture) -> list[Bounds]:
    """Bounds from lookups that the host forwarded (or routed) with the VM's transaction id: its query comes after the VM's, its answer before.

    Transaction ids have 16 bits and names repeat, so some agree by chance. Those that most others contradict are left out, and one alone counts
    only if chance is unlikely to have made it.
    """
    sides: list[dict[tuple[Any, ...], list[int]]] = []
    tables = [_table(c, "lookups") for c in (vm, host)]
    if tables[0] is None or tables[1] is None:
        return []
    for t in tables:
        found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for k, key in enumerate(t.tuples("txid", "qname", "qtype", "transport")):
            if key[3] == "udp" and t["attempts"][k] == 1 and t["query_ns"][k] is not None and t["answer_ns"][k] is not None:
                found[key].append(k)
        sides.append(found)
    common = [(rows[0], sides[1][key][0]) for key, rows in sides[0].items() if len(rows) == 1 and len(sides[1].get(key, ())) == 1]
    if not common:
        return []
    a, b = (t.take(np.array([pair[side] for pair in common])) for side, t in enumerate(tables))
    names = [Counter(key[1:] for key, rows in found.items() for _ in rows) for found in sides]
    by_chance = sum(n * names[1][name] for name, n in names[0].items()) / 65536
    query, answer = ((a[n].astype(np.int64), b[n].astype(np.int64)) for n in ("query_ns", "answer_ns"))
    low, high = query[0] - query[1], answer[0] - answer[1]
    # which offset do most agree with: the sweep of an interval each
    room = (STEEP * np.abs(query[0] - np.median(query[0]))).astype(np.int64)
    edges = np.concatenate([low - room, high + room])
    change = np.concatenate([np.ones(len(low), np.int64), np.full(len(high), -1)])
    order = np.lexsort((-change, edges))
    depth = np.cumsum(change[order])
    best = edges[order][int(np.argmax(depth))]
    agree = (low - room <= best) & (best <= high + room) & (low <= high)
    if agree.sum() * 2 <= len(agree) or (agree.sum() == 1 and by_chance > CHANCE):
        return []
    parts = []
    for name, upper in (("query", False), ("answer", True)):
        t_vm, t_host = (x[f"{name}_ns"][agree].astype(np.int64) for x in (a, b))
        f_vm, f_host = (x[f"{name}_frame"][agree].astype(np.int64) for x in (a, b))
        parts.append(Bounds(t_vm, t_vm - t_host, np.full(len(t_vm), upper), f_vm, f_host))
    return parts


# -- the result --


def of_bounds(bounds: Bounds, method: str, packets: int, vm_bounds_ns: tuple[int, int] | None) -> Clock:
    """What bounds of any kind say, in order of the VM's frames: ``packets`` of them, found by ``method``."""
    if not bounds.two_sided:
        upper = bool(bounds.upper[0])
        at = int(np.argmin(bounds.diff_ns) if upper else np.argmax(bounds.diff_ns))
        best = bounds.take(slice(at, at + 1))
        note = (
            f"Common traffic goes only from the {'host to the VM' if upper else 'VM to the host'}: the VM's clock is at "
            f"{'most' if upper else 'least'} {bounds.diff_ns[at] / 1e9:+.6f} s from the host's, and times are converted with that."
        )
        return Clock(None, None, None, None, method, packets, [], _frames(best), note, (_flat(best),), GUESS_NS)
    found = fit(bounds, KNOWN_PPM / 1e6)
    if not found.pieces:
        nearest = Corridor(bounds)
        piece = _flat(bounds, nearest)
        note = (
            f"No clock offset agrees with all {packets:,} common packets, not even one that steps or changes its rate. "
            f"The nearest, {piece.offset_ns(bounds.vm_ns[:1])[0] / 1e9:+.6f} s, is used and misses by {-nearest.gap_ns / 2e6:.3f} ms."
        )
        return Clock(None, None, None, None, method, packets, [], _frames(bounds), note, (piece,), max(GUESS_NS, int(-nearest.gap_ns / 2)))
    first = found.pieces[0]
    # the first packet; of those before it, if any, no bounds of both kinds agree
    low, high = found.at_start(first.from_ns)
    offset = int(first.offset_ns(np.array([first.from_ns]))[0])
    longest = max(found.pieces, key=lambda p: p.until_ns - p.from_ns)
    # slopes are per second of the VM's clock, a drift is per second of the host's
    drift = longest.slope / (1 - longest.slope) * 1e6 if longest.known else None
    uncertain = _uncertain(found, vm_bounds_ns)
    return Clock(
        offset / 1e9,
        low / 1e9,
        high / 1e9,
        drift,
        method,
        packets,
        found.steps,
        _frames(first.bounds),
        _note(found, offset / 1e9, low / 1e9, high / 1e9, drift, longest, method, packets),
        tuple(found.pieces),
        uncertain,
    )


def _flat(bounds: Bounds, corridor: Corridor | None = None) -> Piece:
    """A conversion that nothing guarantees."""
    c = corridor or Corridor(bounds)
    return Piece(int(bounds.vm_ns[0]), int(bounds.vm_frame[0]), int(bounds.vm_ns[-1]), c, bounds, c, sum(c.slopes) / 2, False)


def _frames(bounds: Bounds) -> dict[str, list[int]]:
    """The first bound and the tightest of each kind."""
    rows = {0}
    for upper in (False, True):
        kind = np.flatnonzero(bounds.upper == upper)
        if len(kind):
            tightness = bounds.diff_ns[kind] * (-1 if upper else 1)
            rows.add(int(kind[np.argmax(tightness)]))
    index = sorted(rows)[:FEW]
    return {"vm": bounds.vm_frame[index].tolist(), "host": bounds.host_frame[index].tolist()}


def _uncertain(found: Fit, vm_bounds_ns: tuple[int, int] | None) -> int:
    """How far a converted time can be off over the VM's capture; outside the outermost bounds with drifts that a clock can have."""
    widest = 0.0
    last = len(found.pieces) - 1
    for k, piece in enumerate(found.pieces):
        ends = [piece.from_ns, piece.until_ns]
        if vm_bounds_ns is not None and k == 0:
            ends.append(min(vm_bounds_ns[0], piece.from_ns))
        if vm_bounds_ns is not None and k == last:
            ends.append(max(vm_bounds_ns[1], piece.until_ns))
        widest = max(widest, *(piece.miss_ns(end, STEEP) for end in ends))
    if found.bends:  # lines that should meet and do not show how far they are from what they stand for
        at = {s.at_ns for s in found.steps}
        for before, after in pairwise(found.pieces):
            here = np.array([after.from_ns])
            if int(after.from_ns - after.bounds.diff_ns[0]) not in at:
                widest += abs(int(before.offset_ns(here)[0] - after.offset_ns(here)[0]))
    return int(min(widest, FAR_NS)) + 1


def _note(found: Fit, offset: float, low: float, high: float, drift: float | None, longest: Piece, method: str, packets: int) -> str:
    within = _short(max(high - offset, offset - low))
    if low <= 0 <= high:
        text = f"The clocks of VM and host agree to within {_short(max(high, -low))}"
    else:
        text = f"The VM's clock is {abs(offset):.6f} s {'ahead of' if offset > 0 else 'behind'} the host's, to within {within}"
    if drift is None:
        text += ". Their drift is unknown: they share too little traffic"
    else:
        least, most = longest.used.slopes
        error = f"{(most - least) / 2 * 1e6:.2f} ppm"
        agree = low <= 0 <= high
        whose = "the VM's " if agree else ""
        if least <= 0 <= most:
            text += f", and {'drift' if agree else 'drifts'} by less than {max(most, -least) * 1e6:.2f} ppm"
        else:
            text += f", and {whose}{'gains' if drift > 0 else 'loses'} {abs(drift):.2f} ppm, to within {error}"
        if abs(longest.slope) > STEEP:
            text += ". No clock drifts like that by itself: it was being adjusted"
    if found.steps:
        sizes = ", ".join(f"{s.size_s:+.6f} s" for s in found.steps[:3]) + (" and more" if len(found.steps) > 3 else "")
        text += f"; one was set {len(found.steps)} time{'s' if len(found.steps) > 1 else ''} while recording ({sizes})"
    if found.bends:
        text += f"; the rate changed {found.bends} time{'s' if found.bends > 1 else ''}"
    if found.wrong:
        text += f"; {found.wrong} of the bounds contradict all others and are ignored"
    what = WHAT.get(method, "packets seen in both captures")
    return f"{text}. Based on {packets:,} {what} ({method})."


def _short(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
