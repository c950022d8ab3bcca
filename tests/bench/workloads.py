"""What the generated captures hold: one function per workload, and the truth that goes with it.

A workload is a function from a random generator, a scale and a number of sessions to a :class:`Plan`; adding one is writing the function
and naming it in :data:`WORKLOADS`. All build their frames session by session as columns and leave the interleaving to the sort by time.

Scale K makes every session K times as long and keeps their number and how many are open at once: twice the file, the same state to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tests.bench.frames import ETHERNET, LINUX_SLL2, SYN, TCP, UDP, Array, Frames, Overlay

#: 2024-01-01 00:00:00 UTC
EPOCH_NS = 1_704_067_200_000_000_000
SEGMENT = 1448  #: 1500 bytes of MTU less 20 of IPv4, 20 of TCP and 12 of timestamps
OPEN_AT_ONCE = 400  #: sessions open at any time, on average
CLIENTS, SERVERS = 250, 200
#: ports that no dissector of Wireshark claims, so that the peers are not charged for protocols netlens does not read
PLAIN_PORTS = (7301, 7411, 18301, 28311)
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16


@dataclass
class Plan:
    """Frames, how to write them, and the truth that does not depend on the order of frames.

    ``session`` is the session each frame belongs to (-1: none), ``forward`` whether its originator sent it. ``sessions`` and ``lookups``
    are truth tables by row: the columns that ``generate.truth`` cannot count from the frames. A column ``x_index`` of lookups holds
    indices into ``frames`` (-1: none) and becomes ``x_frame``.
    """

    frames: Frames
    session: Array
    forward: Array
    sessions: dict[str, Array]
    lookups: dict[str, Array]
    link: int = ETHERNET
    container: str = "pcap"
    snaplen: int = 262144
    interfaces: int = 1
    connections: int = 0
    again: Array | None = None  #: frames that repeat what was sent before: their bytes are not new


@dataclass(frozen=True)
class Workload:
    """``sessions`` is the default number of sessions (of lookups, for a workload of lookups)."""

    name: str
    title: str
    sessions: int
    build: Callable[[np.random.Generator, int, int], Plan]
    suffix: str = ".pcap"


def _microseconds(rng: np.random.Generator, low: int, high: int, size: int) -> Array:
    return rng.integers(low, high, size) * 1000


def _starts(rng: np.random.Generator, durations: Array, at_once: int) -> Array:
    """Start times such that ``at_once`` sessions are open on average; the first is at the epoch."""
    span = int(durations.sum()) // at_once
    starts = np.sort(rng.integers(0, max(span, 1000), len(durations))) // 1000 * 1000
    return EPOCH_NS + starts - starts[0]


@dataclass
class _Blocks:
    """Handshake, exchanges and close of every session, in order: the plan before there are frames."""

    session: Array
    segments: Array  # response segments; 0 for handshake and close
    first: Array  # bool: handshake
    last: Array  # bool: close
    exchange: Array  # number of the exchange in its session
    frames: Array


@dataclass
class _Roles:
    """What each frame of a plan is: its block, its position there, and masks; ``opening`` is the first request of a session."""

    block: Array
    position: Array
    request: Array
    data: Array
    opening: Array
    close: Array


def _blocks(rng: np.random.Generator, scale: int, sessions: int, most_exchanges: int, most_segments: int, acks: bool) -> _Blocks:
    base = rng.integers(1, most_exchanges + 1, sessions)
    base_start = np.cumsum(base) - base
    # at least one segment, on average one more than half of the most
    segments = rng.integers(1, most_segments + 1, int(base.sum()))
    # Handshake and close do not grow with the scale; short exchanges of two segments, six frames each, stand in for them so that
    # scale K has exactly K times the frames.
    filler = scale - 1 if acks else 3 * (scale - 1)
    count = scale * base + filler + 2
    session = np.repeat(np.arange(sessions), count)
    number = np.arange(len(session)) - np.repeat(np.cumsum(count) - count, count)
    exchange = number - 1
    first, last = number == 0, number == np.repeat(count, count) - 1
    real = ~first & ~last & (exchange < scale * base[session])
    size = np.where(first | last, 0, 2 if acks else 1)
    size[real] = segments[base_start[session[real]] + exchange[real] % base[session[real]]]
    frames = np.where(first | last, 3, 2 + 2 * size if acks else 1 + size)
    return _Blocks(session, size, first, last, exchange, frames)


def _tcp(
    rng: np.random.Generator,
    scale: int,
    sessions: int,
    *,
    most_exchanges: int = 5,
    most_segments: int = 11,
    acks: bool = True,
    ports: tuple[int, ...] = PLAIN_PORTS,
    first_request_bytes: int | None = None,
) -> tuple[Plan, _Roles]:
    """Sessions with handshake, exchanges (request, segments of a response, each acknowledged) and an orderly close by either side.

    Without ``acks`` nothing is acknowledged by a segment of its own.
    """
    blocks = _blocks(rng, scale, sessions, most_exchanges, most_segments, acks)
    frame_block = np.repeat(np.arange(len(blocks.frames), dtype=np.int32), blocks.frames)
    position = np.arange(len(frame_block)) - np.repeat(np.cumsum(blocks.frames) - blocks.frames, blocks.frames)
    session = blocks.session[frame_block].astype(np.int32)
    first, last = blocks.first[frame_block], blocks.last[frame_block]
    total = len(session)

    # Who sends: the client the request and every second frame after it; the close is opened by either side.
    server_data = (position >= 2) & (position % 2 == 0) if acks else position >= 1
    server_closes = rng.random(sessions) < 0.5
    forward = np.where(server_data, False, position != 1)
    forward = np.where(first, position != 1, forward)
    forward = np.where(last, (position != 1) ^ server_closes[session], forward)

    middle = ~first & ~last
    request = middle & (position == 0)
    data = middle & server_data
    final = data & (position == blocks.frames[frame_block] - (2 if acks else 1))
    length = np.zeros(total, np.int64)
    length[request] = rng.integers(80, 1200, int(request.sum()))
    length[data] = SEGMENT
    length[final] = rng.integers(200, SEGMENT, int(final.sum()))
    opening = request & (blocks.exchange[frame_block] == 0)
    if first_request_bytes:
        length[opening] = first_request_bytes

    flags = np.full(total, _ACK, np.int64)
    flags[first & (position == 0)] = _SYN
    flags[first & (position == 1)] = _SYN | _ACK
    flags[last & (position < 2)] = _FIN | _ACK
    flags[request | final] = _PSH | _ACK

    # Times: a round trip of 8 to 60 ms before what the server answers, next to nothing before what the client does.
    rtt = _microseconds(rng, 8_000, 60_000, sessions)[session]
    gap = _microseconds(rng, 15, 60, total)
    gap[data] = _microseconds(rng, 60, 300, int(data.sum()))
    turn = (position == 1) & (forward != (position == 0))
    gap[turn] += rtt[turn]
    if acks:
        answer = data & (position == 2)
        gap[answer] += _microseconds(rng, 4_000, 90_000, int(answer.sum()))
    think = request & ~opening
    gap[think] += _microseconds(rng, 100_000, 1_300_000, int(think.sum()))
    plan = _put_together(rng, session, forward, first & (position == 0), first & (position < 2), length, flags, gap, ports)
    return plan, _Roles(frame_block, position, request, data, opening, last)


def _put_together(
    rng: np.random.Generator,
    session: Array,
    forward: Array,
    begins: Array,
    opens: Array,
    length: Array,
    flags: Array,
    gap: Array,
    ports: tuple[int, ...],
    at_once: int = OPEN_AT_ONCE,
) -> Plan:
    """Sessions whose frames arrive in order, each ``gap`` ns after the one before; ``begins``: SYNs; ``opens``: SYNs and their answers."""
    total = len(session)
    bounds = np.flatnonzero(begins)
    sessions = len(bounds)
    ends = np.append(bounds[1:], total) - 1
    gap[bounds] = 0
    elapsed = np.cumsum(gap)
    elapsed -= elapsed[bounds][session]
    time_ns = _starts(rng, elapsed[ends], at_once)[session] + elapsed

    number = rng.permutation(sessions)
    client, server = number % CLIENTS, rng.integers(0, SERVERS, sessions)
    orig_ip = (10 << 24 | 20 << 16) + (client // 200 << 8) + client % 200 + 10
    resp_ip = (203 << 24 | 113 << 8) + server + 20
    orig_port = 1100 + number // CLIENTS  # one port per session of a client: no 5-tuple comes twice
    resp_port = np.array(ports)[rng.integers(0, len(ports), sessions)]
    frames = Frames(
        time_ns=time_ns,
        kind=np.where(opens, SYN, TCP).astype(np.int8),
        src=np.where(forward, orig_ip[session], resp_ip[session]),
        dst=np.where(forward, resp_ip[session], orig_ip[session]),
        sport=np.where(forward, orig_port[session], resp_port[session]),
        dport=np.where(forward, resp_port[session], orig_port[session]),
        length=length,
        flags=flags,
        window=np.where(opens, 64240, 502),
        **_sequence(rng, session, forward, length, flags, bounds, time_ns),
    )
    truth = {"orig_ip": orig_ip, "orig_port": orig_port, "resp_ip": resp_ip, "resp_port": resp_port, "state": np.full(sessions, "SF")}
    return Plan(frames, session, forward, truth, {}, connections=sessions)


def _sequence(
    rng: np.random.Generator, session: Array, forward: Array, length: Array, flags: Array, bounds: Array, time_ns: Array
) -> dict[str, Any]:
    """Sequence and acknowledgment numbers and timestamps of frames that arrive in order and are acknowledged by whatever follows."""
    advance = length + ((flags & (_SYN | _FIN)) != 0)
    sent = []
    for way in (True, False):
        mine = np.where(forward == way, advance, 0)
        before = np.cumsum(mine) - mine
        sent.append(before - before[bounds][session] + rng.integers(0, 1 << 32, len(bounds))[session])
    seq = np.where(forward, sent[0], sent[1])
    ack = np.where(flags == _SYN, 0, np.where(forward, sent[1], sent[0]))
    base = rng.integers(1 << 20, 1 << 30, (2, len(bounds)))
    tsval = np.where(forward, base[0][session], base[1][session]) + (time_ns - EPOCH_NS) // 1_000_000
    index = np.arange(len(session))
    heard = np.where(forward, np.maximum.accumulate(np.where(forward, -1, index)), np.maximum.accumulate(np.where(forward, index, -1)))
    tsecr = np.where(heard >= bounds[session], tsval[heard], 0)
    return {"seq": seq, "ack": ack, "tsval": tsval, "tsecr": tsecr}


def full(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """Sessions of 10 to 126 frames: small requests, responses of 1448-byte segments, pure acknowledgments."""
    return _tcp(rng, scale, sessions)[0]


def ten(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """Sessions of ten frames: what a command takes before there is any work."""
    return _tcp(rng, scale, sessions, most_exchanges=1, most_segments=1)[0]


def snap(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``full``, cut at 128 bytes a frame."""
    plan = full(rng, scale, sessions)
    plan.snaplen = 128
    return plan


def pcapng(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``full``, in a pcapng of two interfaces with nanosecond times."""
    plan = full(rng, scale, sessions)
    plan.container, plan.interfaces = "pcapng", 2
    plan.frames.interface = plan.session % 2
    # below the 15 us that frames of a session are apart at least
    plan.frames.time_ns = plan.frames.time_ns + rng.integers(0, 1000, len(plan.frames))
    return plan


def short(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """Sessions of one small exchange, eight frames; some are unanswered, refused, aborted or never closed."""
    plan, roles = _tcp(rng, scale, sessions, most_exchanges=1, most_segments=1, acks=False)
    frames, session = plan.frames, plan.session
    outcome = rng.choice(5, sessions, p=[0.9, 0.03, 0.03, 0.02, 0.02])
    unanswered, refused, unclosed, aborted = (outcome[session] == k for k in (1, 2, 3, 4))
    start = np.flatnonzero((frames.flags == _SYN) & (roles.position == 0))
    index = np.arange(len(frames)) - start[session]  # position in the session
    reset = refused & (index == 1)
    frames.kind[reset] = TCP
    frames.seq[reset] = 0  # a refusal has no sequence number of its own (RFC 9293 3.10.7.1)
    frames.flags[reset | (aborted & roles.close & (roles.position == 0))] = _RST | _ACK
    lost = (unanswered & (index > 0)) | (refused & (index > 1)) | (unclosed & roles.close) | (aborted & roles.close & (roles.position > 0))
    aborter = plan.forward[(roles.position == 0) & roles.close]
    plan.sessions["state"] = np.where(outcome == 4, np.where(aborter, "RSTO", "RSTR"), np.array(["SF", "S0", "REJ", "S1", ""])[outcome])
    return _keep(plan, ~lost)


def _keep(plan: Plan, mask: Array) -> Plan:
    for column in fields(Frames):
        values = getattr(plan.frames, column.name)
        if isinstance(values, np.ndarray):
            setattr(plan.frames, column.name, values[mask])
    plan.session, plan.forward = plan.session[mask], plan.forward[mask]
    return plan


def nat(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``full``, captured on all interfaces (LINUX_SLL2) of a host that translates: every frame before and after translation."""
    plan = full(rng, scale, sessions)
    inner = plan.frames
    host = (192 << 24 | 168 << 16 | 1 << 8) + 20
    number = np.arange(sessions)
    public_ip, public_port = host + number // 60_000, 2000 + number % 60_000
    forward, session = plan.forward, plan.session
    delay = _microseconds(rng, 2, 12, len(inner))  # less than the 15 us that frames of a session are apart at least
    # a client's frame comes in on the bridge (interface 3) and leaves on the uplink (2); a server's the other way round
    columns: dict[str, Any] = {
        "time_ns": np.concatenate([inner.time_ns + np.where(forward, 0, delay), inner.time_ns + np.where(forward, delay, 0)]),
        "src": np.concatenate([inner.src, np.where(forward, public_ip[session], inner.src)]),
        "dst": np.concatenate([inner.dst, np.where(forward, inner.dst, public_ip[session])]),
        "sport": np.concatenate([inner.sport, np.where(forward, public_port[session], inner.sport)]),
        "dport": np.concatenate([inner.dport, np.where(forward, inner.dport, public_port[session])]),
        "interface": np.repeat([3, 2], len(inner)),
        "packet_type": np.concatenate([np.where(forward, 0, 4), np.where(forward, 4, 0)]),
    }
    for name in ("kind", "length", "seq", "ack", "flags", "window", "tsval", "tsecr"):
        columns[name] = np.tile(getattr(inner, name), 2)
    truth = {k: np.tile(v, 2) for k, v in plan.sessions.items()}
    truth["orig_ip"] = np.concatenate([plan.sessions["orig_ip"], public_ip])
    truth["orig_port"] = np.concatenate([plan.sessions["orig_port"], public_port])
    truth["connection"] = np.tile(number, 2)
    return Plan(
        Frames(**columns),
        np.concatenate([session, session + sessions]),
        np.tile(forward, 2),
        truth,
        {},
        link=LINUX_SLL2,
        connections=sessions,
    )


def _rows(parts: Sequence[bytes | Array], count: int) -> Array:
    """Byte matrix of ``count`` rows: constants are repeated, matrices stand as they are."""
    return np.concatenate([np.tile(np.frombuffer(p, np.uint8), (count, 1)) if isinstance(p, bytes) else p for p in parts], axis=1)


def _digits(number: Array, width: int) -> Array:
    """Decimal digits of each number as a matrix of ASCII bytes."""
    return (number[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)


def _u16(values: Array) -> Array:
    return np.stack([values >> 8 & 255, values & 255], axis=1).astype(np.uint8)


def _text(rows: Array) -> Array:
    return np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").ravel().astype(f"U{rows.shape[1]}")


_HELLO_BYTES = 517  #: what browsers and OpenSSL pad a ClientHello to, with its record header


def _client_hellos(names: Array, randoms: Array, shares: Array) -> Array:
    def extension(kind: int, body: bytes) -> bytes:
        return kind.to_bytes(2) + len(body).to_bytes(2) + body

    count, width = names.shape
    sni: list[bytes | Array] = [b"\x00\x00", (width + 5).to_bytes(2), (width + 3).to_bytes(2), b"\x00", width.to_bytes(2), names]
    others = (
        extension(10, bytes.fromhex("0004001d0017"))
        + extension(13, bytes.fromhex("0006040308040401"))
        + extension(16, b"\x00\x0c\x02h2\x08http/1.1")
        + extension(43, bytes.fromhex("0403040303"))
        + extension(45, b"\x01\x01")
    )
    share: list[bytes | Array] = [bytes.fromhex("003300260024001d0020"), shares]
    extensions = width + 9 + len(others) + 10 + 32
    # record, message, version, random, session id, ciphers, compression, length of the extensions
    before = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 6 + 2 + 2
    padding = _HELLO_BYTES - before - extensions - 4
    return _rows(
        [
            bytes.fromhex("160301") + (_HELLO_BYTES - 5).to_bytes(2) + b"\x01" + (_HELLO_BYTES - 9).to_bytes(3) + b"\x03\x03",
            randoms,
            b"\x20",
            shares[:, ::-1],
            bytes.fromhex("0006130113021303") + b"\x01\x00" + (extensions + 4 + padding).to_bytes(2),
            *sni,
            others,
            *share,
            extension(21, bytes(padding)),
        ],
        count,
    )


def tls(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``full`` on port 443: a ClientHello and a ServerHello in each session, the rest application data in well-formed records."""
    plan, roles = _tcp(rng, scale, sessions, ports=(443,), first_request_bytes=_HELLO_BYTES)
    names = _rows([b"s", _digits(np.arange(sessions), 7), b".bench.example"], sessions)
    randoms, shares, answers = (rng.integers(0, 256, (sessions, 32), np.uint8) for _ in range(3))
    length = plan.frames.length
    blocks = int(roles.block[-1]) + 1
    # 15,928 bytes at most, so a response is one record (RFC 8446 5.1: 2^14 and 256)
    response_bytes = np.bincount(roles.block[roles.data], length[roles.data], blocks).astype(np.int64)
    opening = np.flatnonzero(roles.opening)
    request = np.flatnonzero(roles.request & ~roles.opening)
    response = np.flatnonzero(roles.data & (roles.position == 2))
    first_blocks = np.zeros(blocks, bool)
    first_blocks[roles.block[opening]] = True
    greeting, later = response[first_blocks[roles.block[response]]], response[~first_blocks[roles.block[response]]]
    server_hellos = _rows(
        [
            bytes.fromhex("160303007a020000760303"),
            answers,
            b"\x20",
            shares[:, ::-1],  # the session id of the ClientHello
            bytes.fromhex("130100002e00330024001d0020"),
            answers[:, ::-1],
            bytes.fromhex("002b00020304" + "140303000101" + "170303"),
            _u16(response_bytes[roles.block[greeting]] - 138),
        ],
        sessions,
    )
    plan.frames.overlays = [
        Overlay(opening, _client_hellos(names, randoms, shares)),
        Overlay(greeting, server_hellos),
        Overlay(request, _rows([b"\x17\x03\x03", _u16(length[request] - 5)], len(request))),
        Overlay(later, _rows([b"\x17\x03\x03", _u16(response_bytes[roles.block[later]] - 5)], len(later))),
    ]
    plan.sessions["sni"] = _text(names)
    plan.sessions["client_random"] = randoms
    return plan


def mixed(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """Whoever speaks next is drawn for each segment: many turns, segments of all sizes, short and very long sessions, thousands of them open."""
    return _mixed(rng, scale, sessions, PLAIN_PORTS)[0]


def mixed_tls(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``mixed`` on port 443: the first segments of both ends are hellos, short ones begin with a record."""
    plan, opening = _mixed(rng, scale, sessions, (443,), _HELLO_BYTES)
    names = _rows([b"m", _digits(np.arange(sessions), 7), b".bench.example"], sessions)
    randoms, shares = (rng.integers(0, 256, (sessions, 32), np.uint8) for _ in range(2))
    length = plan.frames.length
    records = np.flatnonzero((length >= 32) & (length < SEGMENT) & ~opening)
    plan.frames.overlays = [
        Overlay(np.flatnonzero(opening), _client_hellos(names, randoms, shares)),
        Overlay(records, _rows([b"\x17\x03\x03", _u16(length[records] - 5)], len(records))),
    ]
    plan.sessions["sni"] = _text(names)
    plan.sessions["client_random"] = randoms
    return plan


def lossy(rng: np.random.Generator, scale: int, sessions: int) -> Plan:
    """As ``mixed``, with one data segment in 50 sent again, and about as many overtaken by the next."""
    plan, _ = _mixed(rng, scale, sessions, PLAIN_PORTS)
    frames, session, forward = plan.frames, plan.session, plan.forward
    data = frames.length > 0
    # Two neighbours of one end change places: nothing else of the session lies between, so only the order is another.
    pair = np.flatnonzero(
        data[:-1] & data[1:] & (session[:-1] == session[1:]) & (forward[:-1] == forward[1:]) & (rng.random(len(data) - 1) < 0.08)
    )
    pair = pair[np.diff(pair, prepend=-3) > 2]
    pair = pair[frames.time_ns[pair + 1] - frames.time_ns[pair] < 2_000_000]  # below the 3 ms from which on it might be a repetition
    frames.time_ns[pair], frames.time_ns[pair + 1] = frames.time_ns[pair + 1], frames.time_ns[pair]
    moved = np.zeros(len(data), np.bool_)
    moved[pair], moved[pair + 1] = True, True
    ends = np.flatnonzero(np.append(session[1:] != session[:-1], True))
    close_ns = frames.time_ns[ends - 2][session]
    late = _microseconds(rng, 30_000, 250_000, len(data))
    may_be = np.flatnonzero(data & ~moved & (frames.time_ns + late < close_ns))
    repeated = np.sort(rng.choice(may_be, len(data) // scale // 80 * scale, replace=False))
    of = np.concatenate([np.arange(len(data)), repeated])
    again = np.arange(len(of)) >= len(data)
    for column in fields(Frames):
        values = getattr(frames, column.name)
        if isinstance(values, np.ndarray):
            setattr(frames, column.name, values[of])
    frames.time_ns[again] += late[repeated]
    frames.tsval[again] += late[repeated] // 1_000_000
    plan.session, plan.forward, plan.again = session[of], forward[of], again
    for name, way in (("orig", True), ("resp", False)):
        plan.sessions[f"{name}_retransmits"] = np.bincount(session[repeated[forward[repeated] == way]], minlength=sessions)
        plan.sessions[f"{name}_out_of_order"] = np.bincount(session[pair[forward[pair] == way]], minlength=sessions)
    return plan


def _mixed(rng: np.random.Generator, scale: int, sessions: int, ports: tuple[int, ...], hello_bytes: int = 0) -> tuple[Plan, Array]:
    """The plan, and which frames are the first payload of their session."""
    # Most sessions are short and most segments are in long ones, as everywhere (Crovella and Bestavros 1997: Pareto, exponent near 1.1).
    count = scale * (np.minimum(2 + (rng.pareto(1.1, sessions) * 8).astype(np.int64), 4000) + 6)
    session = np.repeat(np.arange(sessions, dtype=np.int32), count)
    position = np.arange(len(session)) - np.repeat(np.cumsum(count) - count, count)
    closing = position - (count - 3)[session]
    first, last = position < 3, closing >= 0
    forward = rng.random(len(session)) < 0.5
    forward = np.where(first, position != 1, forward)
    forward |= position == 3  # clients speak first
    forward = np.where(last, (closing != 1) ^ (rng.random(sessions) < 0.5)[session], forward)
    size = rng.choice(3, len(session), p=[0.35, 0.25, 0.4])
    size[position == 3] = 1
    length = np.choose(size, [0, rng.integers(20, SEGMENT, len(session)), SEGMENT])
    length[first | last] = 0
    opening = position == 3
    if hello_bytes:
        length[opening] = hello_bytes
    flags = np.where((length > 0) & (length < SEGMENT), _PSH | _ACK, _ACK)
    flags[position == 0] = _SYN
    flags[position == 1] = _SYN | _ACK
    flags[last & (closing < 2)] = _FIN | _ACK
    gap = _microseconds(rng, 20, 400, len(session))
    pause = rng.random(len(session)) < 0.1
    gap[pause] += _microseconds(rng, 1_000, 400_000, int(pause.sum()))
    turn = position == 1
    gap[turn] += _microseconds(rng, 8_000, 60_000, sessions)
    return _put_together(rng, session, forward, position == 0, position < 2, length, flags, gap, ports, 5000), opening


def dns(rng: np.random.Generator, scale: int, lookups: int) -> Plan:
    """UDP lookups at one resolver: A, AAAA, A behind a CNAME, NXDOMAIN; some retried, some never answered. Scale multiplies the lookups."""
    count = lookups * scale
    number = np.arange(count)
    query_ns = EPOCH_NS + np.sort(rng.integers(0, count * 250, count)) * 1000  # 4000 a second
    query_ns -= query_ns[0] - EPOCH_NS
    what = rng.choice(4, count, p=[0.6, 0.2, 0.1, 0.1])  # A, AAAA, A behind a CNAME, NXDOMAIN
    answered = rng.random(count) >= 0.02
    retried = ~answered | (rng.random(count) < 0.03)
    retry_ns = query_ns + _microseconds(rng, 1_000_000, 5_000_000, count)
    answer_ns = np.where(retried, retry_ns, query_ns) + _microseconds(rng, 300, 40_000, count)
    shuffled = rng.permutation(count)
    client = shuffled % CLIENTS
    orig_ip = (10 << 24 | 20 << 16) + (client // 200 << 8) + client % 200 + 10
    orig_port = 10_000 + shuffled // CLIENTS % 50_000
    resolver = (10 << 24 | 20 << 16) + (255 << 8) + 53
    txid = rng.integers(0, 65536, count)
    qtype = np.where(what == 1, 28, 1)

    again, replied = np.flatnonzero(retried), np.flatnonzero(answered)
    lookup = np.concatenate([number, again, replied])
    forward = np.arange(len(lookup)) < count + len(again)
    names = _rows([b"\x08n", _digits(number, 7), b"\x05bench\x07example\x00"], count)
    question = np.concatenate([names, _u16(qtype), _rows([b"\x00\x01"], count)], axis=1)
    asked = np.concatenate([_u16(txid), _rows([bytes.fromhex("01000001000000000000")], count), question], axis=1)
    overlays = [Overlay(np.flatnonzero(forward), asked[lookup[forward]])]
    address = rng.integers(1, 255, (count, 1), np.uint8)
    pointer = bytes.fromhex("c00c")
    answers: list[tuple[str, list[bytes | Array]]] = [
        ("81800001000100000000", [pointer, bytes.fromhex("000100010000003c0004c63364"), address]),
        ("81800001000100000000", [pointer, bytes.fromhex("001c00010000003c001020010db8") + bytes(11), address]),
        # the CNAME "edge" under the last two labels of the question, at offset 21; its own name is at offset 52
        ("81800001000200000000", [bytes.fromhex("c00c000500010000003c00070465646765c015c034000100010000003c0004c63364"), address]),
        ("81830001000000000000", []),
    ]
    for kind, (header, records) in enumerate(answers):
        chosen = replied[what[replied] == kind]
        tail = [p if isinstance(p, bytes) else p[chosen] for p in records]
        data = _rows([_u16(txid[chosen]), bytes.fromhex(header), question[chosen], *tail], len(chosen))
        overlays.append(Overlay(count + len(again) + np.flatnonzero(what[replied] == kind), data))
    length = np.zeros(len(lookup), np.int64)
    for overlay in overlays:
        length[overlay.frames] = overlay.data.shape[1]
    nothing = np.zeros(len(lookup), np.int8)
    frames = Frames(
        time_ns=np.concatenate([query_ns, retry_ns[again], answer_ns[replied]]),
        kind=np.full(len(lookup), UDP, np.int8),
        src=np.where(forward, orig_ip[lookup], resolver),
        dst=np.where(forward, resolver, orig_ip[lookup]),
        sport=np.where(forward, orig_port[lookup], 53),
        dport=np.where(forward, 53, orig_port[lookup]),
        length=length,
        seq=nothing,
        ack=nothing,
        flags=nothing,
        window=nothing,
        tsval=nothing,
        tsecr=nothing,
        overlays=overlays,
    )
    answer_index = np.full(count, -1)
    answer_index[replied] = count + len(again) + np.arange(len(replied))
    truth = {
        "qname": _text(_rows([names[:, 1:9], b".bench.example"], count)),
        "qtype": np.where(qtype == 28, "AAAA", "A"),
        "rcode": np.where(answered, np.where(what == 3, "NXDOMAIN", "NOERROR"), ""),
        "orig_ip": orig_ip,
        "orig_port": orig_port,
        "txid": txid,
        "attempts": 1 + retried.astype(np.int64),
        "query_ns": query_ns,
        "answer_ns": np.where(answered, answer_ns, -1),
        "query_index": number,
        "answer_index": answer_index,
    }
    return Plan(frames, np.full(len(lookup), -1), forward, {}, truth)


_ALL = (
    Workload("full", "Ethernet pcap, TCP sessions with data both ways", 40_000, full),
    Workload("snap", "as full with more sessions, cut at 128 bytes a frame", 104_400, snap),
    Workload("short", "a million TCP sessions of eight small frames", 1_000_000, short),
    Workload("dns", "a million DNS lookups over UDP", 1_000_000, dns),
    Workload("nat", "LINUX_SLL2 on a translating host: every frame twice", 20_000, nat),
    Workload("pcapng", "as full, pcapng with two interfaces and nanoseconds", 40_000, pcapng, ".pcapng"),
    Workload("gzip", "as full with a quarter of the sessions, compressed", 10_000, full, ".pcap.gz"),
    Workload("ten", "one session, ten packets", 1, ten),
    Workload("tls", "as full on port 443, a ClientHello in each session", 40_000, tls),
    Workload("mixed", "short and long TCP sessions, ends that speak at random, 5,000 open at once", 30_000, mixed),
    Workload("mixed-tls", "as mixed on port 443, a ClientHello in each session", 30_000, mixed_tls),
    Workload("lossy", "as mixed, with segments sent again and overtaken", 30_000, lossy),
)
WORKLOADS: dict[str, Workload] = {w.name: w for w in _ALL}
