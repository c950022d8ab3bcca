"""Requests to the target on the host's clock, each once, whichever capture has it; not yet whether it was refused.

Theory of operation
-------------------
1. Requests are the exchanges of the connections to the target, of NAT copies one. A request was sent with its last byte. Its answer is over when the
   next request or an orderly close shows it, or when nothing followed for a while (:data:`netlens.chains.side.SILENCE_NS`): programs keep connections
   open long after their last answer. Otherwise the request is held until its connection closes, or the capture ends.
2. When the program was *done* with it is seen where the program runs: the same exchange of the paired connection in the VM's capture (by its number
   on the connection, else by time), or its FIN or RST, also to a relay; never later than upstream.
3. A request of HTTP/2 is a stream, which a key log shows, or the sizes of TLS records (:mod:`netlens.chains.streams`); its connection has no turns that
   would be requests.

Limits: exchanges of a connection whose counts differ between the captures (capture loss) are matched by time; a wrong match shifts ``done_ns``, never
a label of the upstream's own side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.compared import TOLERANCE_NS
from netlens.chains.noticed import noticed
from netlens.chains.parties import addresses_of_vm
from netlens.chains.situation import HOST, UNKNOWN, UNLABELLED, VM, Requests, Sessions, Underway
from netlens.columns import NEVER, Bools, Codes, Ints

if TYPE_CHECKING:
    from netlens.chains.linking import Linked
    from netlens.chains.side import Side
    from netlens.parsers.decrypted import Decrypted

LEAST_BYTES = 100  #: of a request of HTTP/1.1 with a key in TLS; what else clients of HTTP/2 send (windows, pings) is shorter
#: A program that is done this much before its answer is over is done with it then: times of two captures say no more, and the next request would meet it.
TOGETHER_NS = 1_000_000
FAREWELL_BYTES = 64  #: a close_notify takes 24 to 47 bytes (RFC 8446 6.1, with padding of none), a session ticket comes at the beginning
#: The first five bytes of records that hold five: of TLS 1.3, and of TLS 1.2 with GCM and with ChaCha20 (RFC 8446 5.2, 5288, 7905).
LAST_CHUNKS = tuple(0x17 << 32 | 0x0303 << 16 | 5 + more for more in (17, 24, 16))
SOON_NS = 1_000_000_000  #: from the last of an answer that was broken off to the reset: a pause of a stream, and round trips
BLOCK = 1024  #: segments that are looked at together
#: An answer that takes as long is a stream; of so many it is looked at how they end, at least and at most, and so many must end alike.
STREAM_NS, FEWEST_STREAMS, MOST_LOOKED_AT, NEARLY_ALL = 50_000_000, 5, 200, 0.95
UPSTREAM, VM_ROW, STREAM = range(3)  #: columns of ``rows``


def requests(linked: Linked, sessions: Sessions, row_of: dict[int, int], alone: Ints, keys: Decrypted | None) -> tuple[Requests, Ints]:
    """Requests in order of start, unlabelled, and where each stands: int64[n, 3], -1 where it is not.

    Columns of the latter: row of the upstream's ``exchange_rows``, of the VM's (its own, or that of the same request), of the key log's.
    """
    up, vm = linked.upstream, linked.vm
    x, n = up.exchanges, up.exchanges.rows
    place = np.full(up.connections.rows, -1)
    place[list(row_of)] = list(row_of.values())
    carrier = place[up.owner]
    start = x["request_end_ns"].astype(np.int64)
    end, _ = up.answered_ns
    # a program that closes after the answer was done with the request when it had read the answer
    done = np.minimum(end, sessions.done_ns[carrier]) if len(sessions) else end.copy()
    _done_with_relay(linked, done)
    frame, vm_frame = x["start_frame"].astype(np.int64), np.zeros(n, np.int64)
    mate = np.full(n, -1, np.int64)
    if vm is not None:
        mate = _mates(linked, vm, start) if linked.nested is None else linked.nested.vm_of
        k = np.flatnonzero(mate >= 0)
        over_ns, over = _over_in_vm(linked, vm)
        # by clocks that requests tell, which the relay held up, the program seems to have an answer before it was sent
        late = 0 if linked.nested is None else linked.clock.uncertain_ns
        finished = k[over[mate[k]] & linked.clock_told]
        done[finished] = np.minimum(done[finished], linked.clock.to_host(over_ns[mate[finished]]) + late)
        closed_ns = vm.done_ns[vm.owner[mate[k]]]  # of a connection to a relay, which goes on by itself for a while
        closed = (closed_ns != NEVER) & linked.clock_told
        done[k[closed]] = np.minimum(done[k[closed]], linked.clock.to_host(closed_ns[closed]) + late)
        vm_frame[k] = vm.exchanges["start_frame"][mate[k]]
    side = linked.origin[up.owner].astype(np.int8) if linked.nested is None else linked.nested.side
    _take_over(linked, side, sessions, carrier)
    here, there = (frame, vm_frame) if up.name != "vm" else (np.zeros(n, np.int64), frame)
    done = np.maximum(np.where(end - done < TOGETHER_NS, end, done), start)
    table = _unlabelled(side, carrier, start, np.maximum(end, start), done, here, there, x["up_bytes"].astype(np.int64))
    broken_off = _broken_off(up)
    known = noticed(linked, table.end_ns, table.done_ns, broken_off, mate)
    by_size = np.arange(n) >= n - len(up.streams)
    stream = np.where(by_size, 2 * _place_of(up.owner) + 1, -1)  # clients give odd numbers, one after the other (RFC 9113 5.1.1)
    table = replace(
        table,
        stream=stream,
        answer_ns=x.ints("response_ns", 0),
        broken_off=broken_off,
        noticed_ns=known,
        doubt_ns=up.doubt_ns,
        added=_added(linked),
        answer_bytes=x["down_bytes"].astype(np.int64),
    )
    rows = np.stack([np.arange(n), mate, np.full(n, -1)], axis=1)
    if keys is not None:
        table, rows = _with_streams(linked, keys, table, rows, row_of, sessions)
    if len(alone) and vm is not None:
        more, theirs = _of_vm(linked, vm, alone, len(sessions) - len(alone))
        table, rows = table.joined(more), np.concatenate([rows, theirs])
    if vm is not None and len(left := _outside(linked, vm, rows[:, VM_ROW])):
        more, theirs = _as_vm_has_them(linked, vm, left, np.full(len(left), -1, np.int64), NEVER)
        table, rows = table.joined(replace(more, outside=np.ones(len(left), np.bool_))), np.concatenate([rows, theirs])
    table = replace(table, again=_again(linked, rows))
    order = np.lexsort((table.host_frame, table.start_ns))
    return table.take(order), rows[order]


def _again(linked: Linked, rows: Ints) -> Bools:
    """Which of the requests a relay sent again."""
    out = np.zeros(len(rows), np.bool_)
    for column, found in ((UPSTREAM, linked.again), (VM_ROW, linked.again_in_vm)):
        if found is not None and found.copies.any():
            known = rows[:, column] >= 0
            out[known] |= found.copies[rows[known, column]]
    return out


def underway(linked: Linked, row_of: dict[int, int]) -> Underway:
    """Requests that were sent before the capture began and answered in it: on a connection that was open then, the server sends first."""
    up = linked.upstream
    trail = up.capture.part.trail
    old = np.flatnonzero(up.target & up.opened & up.connections["started_before_capture"].astype(bool))
    if trail is None or not len(old):
        return Underway.none()
    t = trail.segments()
    found = []
    for row in (row for row in old.tolist() if row in row_of):
        for k in up.session_ids[row]:
            fresh, way, ts = (t[name][trail.of(k)] for name in ("fresh", "way", "ts"))
            asks = (fresh > 0) & (way == up.originator[k])
            answer = np.flatnonzero(fresh[: int(asks.argmax()) if asks.any() else len(asks)] > 0)
            if fresh[answer].sum() > FAREWELL_BYTES and ts[answer].max() > up.bounds_ns[0]:
                found.append((int(linked.origin[row]), row_of[row], int(ts[answer].max())))
                break
    if not found:
        return Underway.none()
    side, session, end = (np.array(column, np.int64) for column in zip(*found, strict=True))
    return Underway(side.astype(np.int8), session, end)


def _done_with_relay(linked: Linked, done: Ints) -> None:
    """Of requests that a relay carries on, when the program was done with the relay at the latest, as the upstream's own capture shows it; in place."""
    up = linked.upstream
    x, closed_ns = up.capture.table("exchanges"), up.done_ns
    for i, asked in linked.asked_of_relay.items():
        closed = int(closed_ns[up.connection_of[int(x["session_id"][asked])]])
        done[i] = min(int(done[i]), closed)


def _added(linked: Linked) -> Bools:
    """Per exchange of the upstream, whether a relay opened a connection for it though the program sent it on one that it had used before."""
    up = linked.upstream
    every = up.capture.table("exchanges")
    out = np.zeros(up.exchanges.rows, np.bool_)
    if linked.carried:
        older = up.connections["started_before_capture"].astype(bool)
        opens = (_place_of(up.owner) == 0) & ~older[up.owner]
        place = _place_of(every["session_id"].astype(np.int64))
        out[[i for i, asked in linked.asked_of_relay.items() if opens[i] and place[asked]]] = True
    if linked.nested is not None and linked.vm is not None:
        mate = linked.nested.vm_of
        opens = (_place_of(up.owner) == 0) & ~up.connections["started_before_capture"].astype(bool)[up.owner]
        out = opens & (mate >= 0) & (_place_of(linked.vm.owner)[mate] > 0)
    return out


def _broken_off(up: Side) -> Bools:
    """Per exchange of the upstream, whether it is the last of a connection that its program left before the answer was over: that ended with a reset while
    it was under way or within :data:`SOON_NS`, the server not having closed, or was closed before the answer began, or while more of it than a farewell was
    still to come."""
    x, s = up.exchanges, up.sessions
    begun, over, answered = x["start_ns"].astype(np.int64), x.ints("end_ns", -1), x.ints("response_ns", NEVER)
    order = np.lexsort((-np.arange(x.rows), begun, up.owner))
    last = order[np.diff(up.owner[order], append=-1) != 0]
    rows, begun, over, answered = up.owner[last], begun[last], over[last], answered[last]
    reset, closed = up.most(s.ints("rst_ns", -1))[rows], up.least(s.ints("orig_fin_ns", NEVER))[rows]
    more = up.most(s["resp_bytes_after_fin"].astype(np.int64))[rows] > FAREWELL_BYTES
    by_reset = (begun <= reset) & (reset <= np.maximum(over, begun) + SOON_NS) & (reset < up.least(s.ints("resp_fin_ns", NEVER))[rows])
    # a client that has closed behind the answer resets what the server says farewell with; others reset behind the last chunk
    by_reset &= ~((answered <= over) & (over <= closed) & (closed <= reset) & ~more)
    for k in np.flatnonzero(by_reset).tolist():
        by_reset[k] = not _whole(up, up.session_ids[rows[k]], int(reset[k]))
    # a program that says that it has no more to send before the answer begins may wait for it
    unanswered = (answered == NEVER) & (closed < NEVER) & ~up.left_by_server[last]
    out = np.zeros(x.rows, np.bool_)
    soon = (
        (answered + STREAM_NS <= over)
        & (over <= closed)
        & (closed <= over + SOON_NS)
        & (closed < up.least(s.ints("resp_fin_ns", NEVER))[rows])
    )
    for k in np.flatnonzero(soon & ~more).tolist() if _in_chunks(up, last[closed <= over + SOON_NS]) else ():
        more[k] = not _whole(up, up.session_ids[rows[k]], int(closed[k]))
    out[last] = by_reset | unanswered | (more & (closed >= answered))
    # what is too short in TLS to hold a key asks whether the server is there: who checks that resets behind the answer, as HAProxy does
    sealed = (s["protocol"] == "tls")[x["session_id"].astype(np.int64)]
    out &= ~sealed | (x["up_bytes"].astype(np.int64) >= LEAST_BYTES)
    return out


def _in_chunks(up: Side, closed: Ints) -> bool:
    """Whether answers end with a chunk in a TLS record of its own: so do nearly all streams that were whole, as the program did not close right behind them.

    closed : exchanges behind which it did.
    """
    x = up.exchanges
    over, answered = x.ints("end_ns", -1), x.ints("response_ns", NEVER)
    whole_ones = np.ones(x.rows, np.bool_)
    whole_ones[closed] = False
    streams = np.flatnonzero(whole_ones & (over - answered >= STREAM_NS))[:MOST_LOOKED_AT]
    whole = sum(_whole(up, up.session_ids[up.owner[k]], int(over[k])) for k in streams.tolist())
    return len(streams) >= FEWEST_STREAMS and whole >= NEARLY_ALL * len(streams)


def _whole(up: Side, ids: list[int], until: int) -> bool:
    """Whether the server's last segment until then is the last chunk of HTTP/1.1 (RFC 9112 7.1) in a TLS record of its own."""
    trail = up.capture.trail
    if trail is None:
        return False
    t, whole = trail.segments(), False
    for k in ids:
        at = trail.of(k)
        stop = at.start + int(np.searchsorted(t["ts"][at], until, "right"))
        while stop > at.start:  # backwards, as it is near: a connection may have a million segments, and two hundred streams
            begin = max(stop - BLOCK, at.start)
            theirs = np.flatnonzero((t["way"][begin:stop] != up.originator[k]) & (t["fresh"][begin:stop] > 0))
            if len(theirs):
                last = begin + int(theirs[-1])
                whole = int(t["head"][last]) >> 24 in LAST_CHUNKS and int(t["length"][last]) == (int(t["head"][last]) >> 24 & 0xFFFF) + 5
                break
            stop = begin
    return whole


def _over_in_vm(linked: Linked, vm: Side) -> tuple[Ints, Bools]:
    """Per exchange of the VM, when its program had the answer, and whether that is known; what a relay there asks, the program has from the relay."""
    over_ns, over = vm.answered_ns
    over_ns, over = over_ns.copy(), over.copy()
    x = vm.capture.table("exchanges")
    ends = x.ints("end_ns", -1)
    again = {} if linked.again_in_vm is None else linked.again_in_vm.asked
    for i, asked in {**linked.asked_in_vm, **again}.items():
        if x["complete"][asked] and ends[asked] >= 0:
            over_ns[i], over[i] = ends[asked], True
    return over_ns, over


def _unlabelled(side: Codes, session: Ints, start: Ints, end: Ints, done: Ints, host_frame: Ints, vm_frame: Ints, sent: Ints) -> Requests:
    n = len(side)
    nothing, no_stream = np.full(n, "", object), np.full(n, -1, np.int64)
    return Requests(
        side, session, start, end, done, np.full(n, UNLABELLED, np.int8), nothing, no_stream, host_frame, vm_frame, nothing.copy(), sent
    )


def _of_vm(linked: Linked, vm: Side, alone: Ints, first_session: int) -> tuple[Requests, Ints]:
    """Of the VM's connections without a session upstream; ``first_session``: row of the first of these in the table of sessions."""
    at = {row: first_session + k for k, row in enumerate(alone.tolist())}
    last = linked.upstream.bounds_ns[1]
    rows = np.flatnonzero(np.isin(vm.owner, alone))
    rows = rows[linked.clock.to_host(vm.exchanges["request_end_ns"].astype(np.int64))[rows] <= last]
    return _as_vm_has_them(linked, vm, rows, np.array([at[row] for row in vm.owner[rows].tolist()], np.int64), last)


def _outside(linked: Linked, vm: Side, known: Ints) -> Ints:
    """Rows of the VM's exchanges that were sent before the host's capture began, or after it ended, and so are not among those that are ``known``."""
    common = linked.nested is not None or (linked.pairing is not None and bool((linked.pairing.host_of >= 0).any()))
    if not common or not linked.clock.pieces:
        return np.zeros(0, np.int64)
    begin, end = linked.upstream.bounds_ns
    sent = linked.clock.to_host(vm.exchanges["request_end_ns"].astype(np.int64))
    out = (sent < begin) | (sent > end)
    out[known[known >= 0]] = False
    return np.flatnonzero(out)


def _as_vm_has_them(linked: Linked, vm: Side, rows: Ints, session: Ints, last: int) -> tuple[Requests, Ints]:
    """Exchanges of the VM that no exchange upstream is; ``last``: when what is known of them ends."""
    x, n = vm.exchanges.take(rows), len(rows)
    start = linked.clock.to_host(x["request_end_ns"].astype(np.int64))
    end = np.maximum(np.minimum(linked.clock.to_host(vm.answered_ns[0][rows]), last), start)
    frame = x["start_frame"].astype(np.int64)
    table = _unlabelled(np.full(n, VM, np.int8), session, start, end, end, np.zeros(n, np.int64), frame, x["up_bytes"].astype(np.int64))
    table = replace(table, doubt_ns=vm.doubt_ns[rows], answer_bytes=x["down_bytes"].astype(np.int64))
    return table, np.stack([np.full(n, -1), rows, np.full(n, -1)], axis=1)


def _mates(linked: Linked, vm: Side, start: Ints) -> Ints:
    """Per exchange of the upstream, the row of the VM's exchanges that is the same request; -1 without."""
    assert linked.pairing is not None
    out = np.full(len(start), -1, np.int64)
    owner, vm_of, clock = linked.upstream.owner, linked.pairing.vm_of, linked.clock
    vm_start = clock.to_host(vm.exchanges["start_ns"].astype(np.int64))
    in_order = np.argsort(vm.owner, kind="stable")
    count = np.bincount(vm.owner, minlength=vm.connections.rows + 1)  # one more, of none
    begin = np.cumsum(count) - count

    def requests_of(row: int) -> Ints:
        """Rows of the VM's exchanges, of the connection that is the upstream's ``row``."""
        k = int(vm_of[row])
        return in_order[begin[k] : begin[k] + count[k]] if k >= 0 else in_order[:0]

    mate = vm_of[owner]
    theirs = count[mate]
    alike = np.flatnonzero(theirs == np.bincount(owner, minlength=len(vm_of))[owner])
    out[alike] = in_order[begin[mate[alike]] + _place_of(owner)[alike]]
    # something was not captured: each takes the last one that began before it, each once
    for row, mine in _by(np.where((theirs > 0) & (out < 0), owner, -1)).items():
        if row >= 0:
            there = requests_of(row)
            at = np.searchsorted(vm_start[there], start[mine] + clock.uncertain_ns, "right") - 1
            taken: set[int] = set()
            for i, j in zip(mine, at.tolist(), strict=True):
                if j >= 0 and j not in taken:
                    out[i] = there[j]
                    taken.add(j)
    every = linked.upstream.capture.table("exchanges")
    for i, asked in linked.asked_of_relay.items():
        row = linked.upstream.connection_of[int(every["session_id"][asked])]
        there = requests_of(row)
        at_ns = clock.to_host(vm.exchanges["request_end_ns"].astype(np.int64)[there])
        before = np.flatnonzero(at_ns <= int(every["request_end_ns"][asked]) + clock.uncertain_ns + TOLERANCE_NS)
        if len(before):
            out[i] = there[int(before[-1])]
    return out


def _take_over(linked: Linked, side: Codes, sessions: Sessions, carrier: Ints) -> None:
    """A request that a relay carries on belongs to whoever asked the relay; the relay's connection does so if all its requests are of one side."""
    up = linked.upstream
    x, c = up.capture.table("exchanges"), up.connections
    inner = set(c["orig_ip"][up.target].tolist())
    in_vm = addresses_of_vm(linked)
    for i, asked in linked.asked_of_relay.items():
        row = up.connection_of[int(x["session_id"][asked])]
        known, ip = int(linked.origin[row]), c["orig_ip"][row]
        # who is neither the host nor the VM, whose addresses are known where it was captured, is another party
        other = ip in inner or is_loopback(ip) or (in_vm and ip not in in_vm)
        side[i] = known if known != UNKNOWN else HOST if other else VM
    if linked.carried:
        # what else such a connection carries was asked of the relay too, nobody knows by whom
        asked_on = np.unique(carrier[sorted(linked.asked_of_relay)])
        rest = np.isin(carrier, asked_on[asked_on >= 0])
        rest[list(linked.asked_of_relay)] = False
        side[rest] = UNKNOWN
        for k in np.unique(carrier[carrier >= 0]).tolist():
            whose = np.unique(side[carrier == k])
            sessions.side[k] = whose[0] if len(whose) == 1 else UNKNOWN


def _with_streams(
    linked: Linked, keys: Decrypted, table: Requests, rows: Ints, row_of: dict[int, int], sessions: Sessions
) -> tuple[Requests, Ints]:
    """HTTP/2 requests from the key log in place of the turns of their sessions."""
    up = linked.upstream
    streams = [(k, r, up.connection_of.get(r.session_id, -1)) for k, r in enumerate(keys.rows) if r.http == "2"]
    copies: dict[int, Counter[int]] = defaultdict(Counter)  # of NAT copies one is read: the one that shows most
    for _, r, owner in streams:
        copies[owner][r.session_id] += 1
    read = {max(tally, key=lambda k: (tally[k], -k)) for tally in copies.values()}
    extra: list[tuple[int, ...]] = []
    for k, r, owner in streams:
        session = row_of.get(owner, -1)
        if session < 0 or not up.target[owner] or r.session_id not in read:
            continue
        begin = r.request_end_ns if r.request_end_ns is not None else r.start_ns
        end = r.end_ns if r.end_ns is not None else int(sessions.end_ns[session])
        done = min(end, int(sessions.done_ns[session]))
        extra.append((int(linked.origin[owner]), session, begin, max(end, begin), max(done, begin), r.stream, r.frame, k))
    if not extra:
        return table, rows
    kept = np.flatnonzero(~np.isin(up.owner, list(copies)))
    side, carrier, start, ends, dones, stream, frame, number = (np.array(c, np.int64) for c in zip(*extra, strict=True))
    none = np.zeros(len(extra), np.int64)
    more = _unlabelled(side.astype(np.int8), carrier, start, ends, dones, frame, sessions.vm_frame[carrier], none)
    more.stream[:] = stream
    missing = np.full(len(extra), -1, np.int64)
    return table.take(kept).joined(more), np.concatenate([rows[kept], np.stack([missing, missing, number], axis=1)])


def _place_of(owner: Ints) -> Ints:
    """Per exchange, its place on its connection."""
    order = np.argsort(owner, kind="stable")
    begins = np.flatnonzero(np.diff(owner[order], prepend=-1))
    out = np.empty(len(owner), np.int64)
    out[order] = np.arange(len(owner)) - np.repeat(begins, np.diff(begins, append=len(owner)))
    return out


def _by(values: Ints) -> dict[int, list[int]]:
    """Positions of each value, in order."""
    out: dict[int, list[int]] = defaultdict(list)
    for k, v in enumerate(values.tolist()):
        out[v].append(k)
    return out
