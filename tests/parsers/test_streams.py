"""DNS over TCP: messages come out whole however the stream is cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR

from netlens.parsers import streams as module
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.sessions import SessionFold
from netlens.parsers.streams import MAX_BYTES, DnsStreams, _Direction
from tests.parsers.build import T0, End, Packet, Talk, rows, segment

if TYPE_CHECKING:
    import pytest

CLIENT, RESOLVER = ("10.0.0.2", 45000), ("10.0.0.53", 53)


def question(i: int) -> bytes:
    return bytes(DNS(id=i, rd=1, qd=DNSQR(qname=f"host{i}.example.test", qtype="A")))


def answer(i: int) -> bytes:
    name = f"host{i}.example.test"
    return bytes(DNS(id=i, qr=1, qd=DNSQR(qname=name, qtype="A"), an=DNSRR(rrname=name, type="A", ttl=60, rdata=f"203.0.113.{i % 256}")))


def framed(*messages: bytes) -> bytes:
    """RFC 7766 section 8: two bytes of length before each."""
    return b"".join(len(m).to_bytes(2, "big") + m for m in messages)


def lookups(packets: Sequence[Packet], size: int = 2048) -> list[dict[str, Any]]:
    return list(fed(packets, size)[0].rows().records())


def fed(packets: Sequence[Packet], size: int = 2048) -> tuple[LookupBuilder, DnsStreams]:
    state, builder = SessionFold(), LookupBuilder()
    streams = DnsStreams(builder)
    buf, matrix = rows(packets)
    for at in range(0, len(matrix), size):
        batch = matrix[at : at + size]
        state.feed(batch)
        streams.feed(buf, batch, state.state())
    return builder, streams


def expected(rows: Sequence[dict[str, Any]], numbers: Sequence[int]) -> None:
    assert sorted(r["qname"] for r in rows) == sorted(f"host{i}.example.test" for i in numbers)
    for r in rows:
        i = int(r["qname"].removeprefix("host").split(".")[0])
        assert (r["transport"], r["answers"], r["orig_ip"], r["resolver_ip"]) == ("tcp", [f"203.0.113.{i % 256}"], CLIENT[0], RESOLVER[0])


def test_cut_anywhere() -> None:
    q, a = framed(question(1), question(2)), framed(answer(2), answer(1))
    for cut in range(max(len(q), len(a)) + 1):
        t = Talk(CLIENT, RESOLVER).open()
        for data in (q[:cut], q[cut:]):
            if data:
                t.up("PA", data)
        for data in (a[:cut], a[cut:]):
            if data:
                t.down("PA", data)
        found = lookups(t.close().packets)
        expected(found, [1, 2])


def test_a_byte_at_a_time() -> None:
    t = Talk(CLIENT, RESOLVER).open()
    for byte in framed(question(7)):
        t.up("PA", bytes([byte]))
    ends = [t.down("PA", bytes([byte])) for byte in framed(answer(7))][-1]
    (row,) = lookups(t.packets)
    expected([row], [7])
    assert row["answer_ns"] == T0 + ends.at
    assert lookups(t.packets, 3) == [row]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_any_order_overlap_and_repetition(seed: int) -> None:
    rng = random.Random(seed)
    numbers = list(range(rng.randint(1, 8)))
    t = Talk(CLIENT, RESOLVER, isn=rng.choice([5, 2**32 - 40])).open()
    up, down = framed(*map(question, numbers)), framed(*map(answer, numbers))
    for data, send, base in ((up, t.up, t.seq), (down, t.down, t.back)):
        edges = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randint(0, 10)))})
        pieces = list(itertools.pairwise(edges))
        for _ in range(rng.randint(0, 5)):
            a = rng.randrange(len(data))
            pieces.append((a, min(len(data), a + rng.randint(1, 60))))
        rng.shuffle(pieces)
        for a, b in pieces:
            send("PA", data[a:b], seq=base + a)
    expected(lookups(t.packets), numbers)
    assert lookups(t.packets, 1) == lookups(t.packets)


def test_two_directions_and_two_sessions_do_not_mix() -> None:
    talks = [Talk((CLIENT[0], 45000 + i), RESOLVER, isn=99 * i).open() for i in range(5)]
    for half in (slice(0, 9), slice(9, None)):
        for i, t in enumerate(talks):
            t.up("PA", framed(question(i))[half])
    for half in (slice(0, 30), slice(30, None)):
        for i, t in enumerate(talks):
            t.down("PA", framed(answer(i))[half])
    expected(lookups(sorted((p for t in talks for p in t.packets), key=lambda p: p.at)), range(5))


def test_bytes_that_are_missing_end_it() -> None:
    t = Talk(CLIENT, RESOLVER).open()
    t.up("PA", framed(question(1)))
    lost = t.up("PA", framed(question(2)))
    t.packets.remove(lost)
    t.up("PA", framed(question(3)))
    assert [r["qname"] for r in lookups(t.packets)] == ["host1.example.test"]
    t.again(lost)
    assert len(lookups(t.packets)) == 3


def test_rows_to_skip() -> None:
    t = Talk(CLIENT, RESOLVER).open()
    t.up("PA", framed(question(1)))
    buf, matrix = rows(t.packets)
    state = SessionFold()
    state.feed(matrix)
    builder = LookupBuilder()
    DnsStreams(builder).feed(buf, matrix, state.state(), np.ones(len(matrix), bool))
    assert builder.rows().rows == 0


def test_nonsense_is_passed_over() -> None:
    """Messages of no length, too short for a header, and 65,535 bytes of nothing."""
    t = Talk(CLIENT, RESOLVER).open()
    for data in (bytes(20), b"\x00\x05abcde", b"\xff\xff" + bytes(65_000), bytes(535), framed(question(4))):
        for at in range(0, len(data), 60_000):
            t.up("PA", data[at : at + 60_000])
    assert [r["qname"] for r in lookups(t.packets) if r["qname"]] == ["host4.example.test"]


def test_a_direction_waits_for_so_much_and_no_more() -> None:
    d = _Direction()
    for i in range(1, 100_000):
        d.add(2 * i, b"x")
        assert d.held <= MAX_BYTES + module.MAX_PIECES * module.PIECE
    assert d.lost
    assert (d.held, d.later, d.data) == (0, [], b"")
    assert d.add(0, framed(question(1))) == []


def test_what_a_direction_holds_is_counted() -> None:
    rng = random.Random(4)
    data = framed(*[rng.randbytes(rng.randint(0, 300)) for _ in range(60)])
    cuts = sorted(rng.sample(range(1, len(data)), 200))
    pieces = list(zip([0, *cuts], [*cuts, len(data)], strict=True))
    rng.shuffle(pieces)
    d = _Direction()
    messages = []
    for a, b in pieces:
        messages += d.add(a, data[a:b])
        assert d.held == len(d.data) + sum(len(p) + module.PIECE for _, p in d.later)
    assert framed(*messages) == data
    assert d.held == 0


def test_memory_of_many_directions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1 << 20)
    packets = []
    for i in range(300):
        client: End = ("10.0.0.2", 1000 + i)
        packets += [Packet(i, segment(client, RESOLVER, "S", 0))]
        packets += [Packet(i, segment(client, RESOLVER, "PA", 10 + 20_000 * k, 1, bytes(10_000))) for k in range(5)]
    _, streams = fed(packets)
    assert streams.waiting <= 1 << 20
    assert streams.waiting == sum(d.held for d in streams.open.values())
    monkeypatch.setattr(module, "MAX_STREAMS", 10)
    _, streams = fed(packets)
    assert len(streams.open) == 10
    assert streams.waiting == sum(d.held for d in streams.open.values())


def test_merge_takes_over_what_is_unfinished() -> None:
    q = framed(question(1))
    first, later = DnsStreams(LookupBuilder()), DnsStreams(LookupBuilder())
    later.open[0, 0] = _Direction()
    later.open[0, 0].add(0, q[:10])
    later.open[1, 0] = _Direction()
    later.open[2, 0] = _Direction()
    first.merge(later, np.array([5, -1, 7]), np.array([False, False, True]))
    assert list(first.open) == [(5, 0), (7, 1)]  # the latter with its directions the other way round
    assert first.waiting == first.open[5, 0].held
    assert first.open[5, 0].add(10, q[10:]) == [question(1)]
