"""Hellos in streams: split, late, repeated, cut and behind other messages; and the bounds that hold against strangers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.parsers import hello_scan
from netlens.parsers.hellos import HelloBuilder
from netlens.wire import columns as col
from tests.wire.hello import read_hello
from tests.wire.test_tls import alpn_extension, chrome, hello, message, openssl, record, records, sni_extension, vector

OPENSSL = openssl()
RETRY = record(b"\x01", 20)  # the ChangeCipherSpec before a second hello
DATA = b"\x17\x03\x03\x00\x40" + bytes(64)


class Seg(NamedTuple):
    """A segment: stream offset and payload; ``cap`` bytes of it captured, ``fresh`` bytes of it new (by default all)."""

    offset: int
    data: bytes
    session: int = 0
    direction: int = 0
    cap: int | None = None
    fresh: int | None = None
    kind: int = col.TCP


def batch(segments: Iterable[Seg], first_frame: int = 1) -> tuple[np.ndarray, np.ndarray]:
    segments = list(segments)
    pkts = np.zeros((max(len(segments), 1), col.WIDTH), np.int64)
    data = b""
    parts, at = [], 0
    for i, s in enumerate(segments):
        cap = len(s.data) if s.cap is None else s.cap
        fresh = len(s.data) if s.fresh is None else s.fresh
        row = {
            col.FRAME: first_frame + i, col.TS: 1000 * (first_frame + i), col.KIND: s.kind, col.LENGTH: len(s.data),
            col.PAY_OFF: at, col.PAY_CAP: cap, col.SESSION: s.session, col.DIRECTION: s.direction, col.OFFSET: s.offset, col.FRESH: fresh,
        }  # fmt: skip
        for column, value in row.items():
            pkts[i, column] = value
        parts.append(s.data[:cap])
        at += cap
    data = b"".join(parts)
    return np.frombuffer(data or b"\0", np.uint8).copy(), pkts[: len(segments)]


def build(segments: Iterable[Seg], builder: HelloBuilder | None = None, first_frame: int = 1) -> HelloBuilder:
    builder = builder or HelloBuilder()
    builder.feed(*batch(segments, first_frame))
    return builder


def rows(builder: HelloBuilder) -> list[dict]:
    return list(builder.rows().records())


def names(builder: HelloBuilder) -> list[str | None]:
    return builder.rows()["sni"].tolist()


def stream(data: bytes, *cuts: int, session: int = 0, start: int = 0) -> list[Seg]:
    """``data`` as one segment per piece between ``cuts``."""
    edges = [0, *sorted(set(cuts) - {0, len(data)}), len(data)]
    return [Seg(start + a, data[a:b], session) for a, b in itertools.pairwise(edges)]


def value_columns(row: dict) -> dict:
    return {k: v for k, v in row.items() if k not in ("session_id", "frame", "time_ns", "segments")}


def counted(builder: HelloBuilder) -> dict[str, int]:
    return {name: count for name, (count, _) in builder.counted.items() if count}


def test_whole_in_one_segment() -> None:
    builder = build([Seg(0, b"\0" * 9, kind=col.UDP, session=-1), *stream(OPENSSL, session=3)])
    (row,) = rows(builder)
    want = read_hello(OPENSSL)
    assert want is not None
    assert row == {
        "session_id": 3, "frame": 2, "time_ns": 2000, "sni": "api.example.com", "alpn": ["h2", "http/1.1"], "random": want.random,
        "version": "TLS1.3", "ja4": want.ja4, "length_bytes": len(OPENSSL) - 9, "segments": 1,
    }  # fmt: skip
    assert builder.sni_of_sessions(5).tolist() == [None, None, None, "api.example.com", None]
    assert counted(builder) == {}


def test_nothing() -> None:
    builder = build([])
    assert builder.rows().rows == 0
    assert builder.sni_of_sessions(2).tolist() == [None, None]
    assert HelloBuilder(False).sni_of_sessions(0).tolist() == []


@pytest.mark.parametrize("data", [OPENSSL, chrome(), records(OPENSSL[5:], 60)], ids=["openssl", "chrome", "records"])
@pytest.mark.parametrize("late", [False, True])
def test_split_at_every_byte(data: bytes, late: bool) -> None:
    cuts = range(1, len(data))
    segments = [s for i in cuts for s in (stream(data, i, session=i)[::-1] if late else stream(data, i, session=i))]
    builder = build(segments)
    got = rows(builder)
    assert [r["session_id"] for r in got] == list(cuts)
    assert {r["segments"] for r in got} == {2}
    assert [r["frame"] for r in got] == [2 * i for i in cuts]
    assert len({str(value_columns(r)) for r in got}) == 1
    want = read_hello(data)
    assert want is not None
    assert (got[0]["sni"], got[0]["ja4"], got[0]["random"]) == (want.sni, want.ja4, want.random)
    assert counted(builder) == {}


@pytest.mark.parametrize("data", [chrome(), records(OPENSSL[5:], 300)], ids=["chrome", "records"])
def test_any_order_overlap_and_repetition(data: bytes) -> None:
    rng = random.Random(5)
    want = read_hello(data)
    assert want is not None
    segments = []
    for session in range(300):
        pieces = stream(data, *rng.sample(range(1, len(data)), rng.randint(1, 6)), session=session)
        # Retransmissions that begin earlier and end later than what they repeat.
        pieces += [
            s._replace(offset=s.offset - back, data=data[s.offset - back : s.offset + len(s.data)])
            for s in pieces[1:]
            for back in [min(s.offset, 9)]
        ]
        rng.shuffle(pieces)
        # A true FRESH: bytes of this session not seen before.
        seen: set[int] = set()
        for s in pieces:
            span = set(range(s.offset, s.offset + len(s.data)))
            segments.append(s._replace(fresh=len(span - seen)))
            seen |= span
    builder = build(segments)
    got = rows(builder)
    assert sorted(r["session_id"] for r in got) == list(range(300))
    assert {(r["sni"], r["ja4"], r["random"]) for r in got} == {(want.sni, want.ja4, want.random)}
    assert counted(builder) == {}


@pytest.mark.parametrize("byte", [0x14, 0x16], ids=["ChangeCipherSpec", "handshake"])
def test_few_bytes_behind_a_hole_do_not_begin_a_hello_though_they_look_so(byte: int) -> None:
    data = OPENSSL[:11] + bytes([byte]) * 32 + OPENSSL[43:]  # its random, RFC 8446 4.1.2
    for size in (1, 2):
        builder = build([Seg(20, data[20 : 20 + size]), *stream(data[:20]), *stream(data[20 + size :], start=20 + size)])
        assert names(builder) == ["api.example.com"]


def test_bytes_that_came_first_stay() -> None:
    data = hello(b"first.example")
    other = hello(b"other.example")
    at = data.index(b"first") + 3
    builder = build([Seg(0, data[:at]), Seg(0, other[: at + 4], fresh=4), Seg(at + 4, data[at + 4 :])])
    assert names(builder) == ["firer.example"]
    assert counted(builder) == {}


def test_repeated_hello_is_one_row() -> None:
    builder = build([*stream(OPENSSL), Seg(0, OPENSSL, fresh=0)])
    assert len(rows(builder)) == 1


@pytest.mark.parametrize("apart", [False, True])
def test_second_hello_after_retry_has_its_own_row(apart: bool) -> None:
    again = hello(b"api.example.com")
    second = [Seg(len(OPENSSL), RETRY), Seg(len(OPENSSL) + 6, again)] if apart else [Seg(len(OPENSSL), RETRY + again)]
    builder = build([*stream(OPENSSL, 100), *second, Seg(5000, DATA)])
    assert names(builder) == ["api.example.com"] * 2
    assert builder.sni_of_sessions(1).tolist() == ["api.example.com"]


def test_first_name_of_a_session() -> None:
    builder = build([Seg(0, hello(None)), Seg(len(hello(None)), hello(b"one.example")), Seg(0, hello(b"two.example"), direction=1)])
    assert names(builder) == [None, "one.example", "two.example"]
    assert builder.sni_of_sessions(1).tolist() == ["one.example"]


def test_behind_other_messages() -> None:
    talk = [b"EHLO client.example\r\n", b"STARTTLS\r\n"]
    at, segments = 0, []
    for line in talk:
        segments.append(Seg(at, line))
        at += len(line)
    builder = build([*segments, *stream(OPENSSL, 700, start=at)])
    assert names(builder) == ["api.example.com"]
    # With the second half first, and with a hole that capture loss made before it.
    assert names(build([*segments, *stream(OPENSSL, 700, start=at)[::-1]])) == ["api.example.com"]
    assert names(build([segments[0], *stream(OPENSSL, 700, start=at + 1000)])) == ["api.example.com"]
    lossy = build([segments[0], Seg(at + 100, b"NOOP\r\n"), *stream(OPENSSL, 700, start=at + 106)])
    assert names(lossy) == ["api.example.com"]
    assert counted(lossy) == {}


def test_joined_mid_way_with_negative_offsets() -> None:
    # No hole was seen, so nothing told that the first bytes were the second half of something.
    assert rows(build([Seg(0, OPENSSL[900:]), Seg(-900, OPENSSL[:900])]))[0]["ja4"] is None
    assert names(build([Seg(-5000, DATA), Seg(-4000, OPENSSL)])) == ["api.example.com"]


def test_looking_ends() -> None:
    plain = [Seg(10 * i, b"x" * 10) for i in range(hello_scan.LOOKS - 1)]
    assert names(build([*plain, *stream(OPENSSL, start=10 * len(plain))])) == ["api.example.com"]
    plain.append(Seg(10 * len(plain), b"x" * 10))
    assert names(build([*plain, *stream(OPENSSL, start=10 * len(plain))])) == []


def test_other_direction_does_not_use_up_the_looks() -> None:
    plain = [Seg(10 * i, b"x" * 10, direction=1) for i in range(100)]
    assert names(build([*plain, *stream(OPENSSL)])) == ["api.example.com"]


def test_holes_in_other_streams_give_nothing_and_are_no_losses() -> None:
    segments = [Seg(2000 * i, b"x" * 1000, session=s) for s in range(5) for i in range(60)]
    builder = build(segments)
    assert names(builder) == []
    assert counted(builder) == {}


@pytest.mark.parametrize("cap", [54, 107, 108, 200, 400])
def test_snapshot_length(cap: int) -> None:
    data = hello(b"short.example", alpn_extension(b"h2"), (21, bytes(1000)))
    builder = build([Seg(0, data, cap=cap)])
    if cap < 108:  # where the name ends
        assert rows(builder) == []
        assert counted(builder) == {"hello_cut_unreadable": 1}
        assert builder.counted["hello_cut_unreadable"][1] == 1
    else:
        (row,) = rows(builder)
        assert (row["sni"], row["ja4"], row["version"], row["segments"]) == ("short.example", None, None, 1)
        assert row["alpn"] == (["h2"] if cap > 150 else row["alpn"])
        assert counted(builder) == {"hello_cut": 1}
        assert builder.sni_of_sessions(1).tolist() == ["short.example"]


def test_snapshot_length_cuts_the_second_segment() -> None:
    data = record(message([(21, bytes(900)), sni_extension(b"far.example"), (0x1234, bytes(900))]))
    whole = stream(data, 800)
    assert names(build([whole[0], whole[1]._replace(cap=600)])) == ["far.example"]
    assert names(build([whole[0], whole[1]._replace(cap=100)])) == []
    # A segment behind the hello may be cut as it likes.
    builder = build([*whole, Seg(len(data), DATA, cap=3)])
    assert (names(builder), counted(builder)) == (["far.example"], {})


def test_second_half_never_comes() -> None:
    data = record(message([sni_extension(b"half.example"), (21, bytes(3000))]))
    builder = build([Seg(0, data[:1400])])
    for _ in range(2):  # asking changes nothing
        (row,) = rows(builder)
        assert (row["sni"], row["ja4"], row["frame"], row["segments"]) == ("half.example", None, 1, 1)
        assert counted(builder) == {"hello_incomplete": 1}
    builder.feed(*batch([Seg(1400, data[1400:])], 2))
    (row,) = rows(builder)
    assert row["ja4"] is not None
    assert (row["frame"], row["segments"], counted(builder)) == (2, 2, {})


def test_given_up_after_too_many_segments() -> None:
    data = record(message([sni_extension(b"slow.example"), (21, bytes(3000))]))
    segments = [Seg(0, data[:1400])] + [Seg(20000 + i, b"x") for i in range(40)]
    builder = build(segments)
    assert counted(builder) == {"hello_given_up": 1}
    assert names(builder) == ["slow.example"]


def test_segments_behind_the_hello_do_not_count() -> None:
    data = chrome()
    first, second = stream(data, 1000)
    builder = build([first, Seg(len(data), DATA), Seg(len(data) + len(DATA), DATA), second])
    (row,) = rows(builder)
    assert (row["segments"], row["frame"]) == (2, 4)


def test_longer_than_a_slot() -> None:
    big = record(message([sni_extension(b"big.example"), (0x1234, bytes(16000)), (0x1235, b"")]))
    assert len(big) < hello_scan.SLOT_BYTES
    assert counted(build(stream(big, *range(1400, len(big), 1400)))) == {}
    too_big = records(message([sni_extension(b"big.example"), (0x1234, bytes(40000))]), 16000)
    builder = build(stream(too_big, *range(4000, len(too_big), 4000)))
    assert (names(builder), counted(builder)) == (["big.example"], {"hello_given_up": 1})
    # In one segment of an offloading card it is no problem.
    assert rows(build(stream(too_big)))[0]["ja4"] is not None


def test_too_many_at_once() -> None:
    data = [record(message([sni_extension(b"host%d.example" % i), (21, bytes(2000))])) for i in range(10)]
    builder = build((Seg(0, d[:1000], session=i) for i, d in enumerate(data)), HelloBuilder(slots=4))
    assert counted(builder) == {"hello_evicted": 6, "hello_incomplete": 4}
    builder.feed(*batch([Seg(1000, d[1000:], session=i) for i, d in enumerate(data)], 11))
    got = rows(builder)
    assert counted(builder) == {"hello_evicted": 6}
    assert [(r["sni"], r["ja4"] is None) for r in got] == [(f"host{i}.example", i < 6) for i in range(10)]
    # Slots are given back: as many again fit.
    builder.feed(*batch([s for i, d in enumerate(data[:4]) for s in stream(d, 500, session=20 + i)], 21))
    assert len(rows(builder)) == 14
    assert counted(builder) == {"hello_evicted": 6}


def test_malformed_hello_is_counted() -> None:
    bad = bytearray(message([sni_extension(b"odd.example"), (0x1234, b"xyz")]))
    bad[-4] = 200
    builder = build(stream(record(bytes(bad))))
    assert counted(builder) == {"hello_malformed": 1}
    assert (rows(builder)[0]["sni"], rows(builder)[0]["ja4"]) == ("odd.example", None)


def test_many_hellos_drain_and_grow() -> None:
    """More than one drain's worth, sessions beyond the first reservation, and names that differ."""
    n = 20000
    rng = np.random.default_rng(1)
    order = rng.permutation(n)
    short, full = HelloBuilder(False), HelloBuilder()
    for at in range(0, n, 2048):
        part = batch([Seg(0, hello(b"h%d.example" % (i % 7000)), session=int(i)) for i in order[at : at + 2048]], at + 1)
        short.feed(*part)
        full.feed(*part)
    want = [f"h{i % 7000}.example" for i in range(n)]
    assert full.sni_of_sessions(n).tolist() == short.sni_of_sessions(n).tolist() == want
    table = full.rows()
    assert table["session_id"].tolist() == order.tolist()
    assert table["frame"].tolist() == list(range(1, n + 1))
    assert len(set(table["ja4"].tolist())) == 1
    with pytest.raises(ValueError, match="full"):
        short.rows()


def test_read_only_buffer() -> None:
    buf, pkts = batch(stream(chrome(), 900))
    buf.flags.writeable = False
    builder = HelloBuilder()
    builder.feed(buf, pkts)
    assert names(builder) == ["www.example.com"]


SESSIONS = [
    stream(OPENSSL),
    stream(chrome(seed=2), 1400),
    stream(chrome(seed=3), 700, 1400)[::-1],
    [Seg(0, b"EHLO x\r\n"), Seg(8, OPENSSL)],
    [Seg(0, b"GET / HTTP/1.1\r\n\r\n")],
    [Seg(0, OPENSSL[:900])],
]


@pytest.mark.parametrize("full", [True, False])
def test_merged_parts_are_the_whole(full: bool) -> None:
    """Sessions that begin in one part each; the second part numbers its sessions anew."""
    first = [s._replace(session=i) for i, part in enumerate(SESSIONS) for s in part]
    whole = build([*first, *(s._replace(session=s.session + 6) for s in first)], HelloBuilder(full))
    one, two = build(first, HelloBuilder(full)), build(first, HelloBuilder(full))
    one.merge(two, np.arange(6, 12), len(first))
    assert one.sni_of_sessions(12).tolist() == whole.sni_of_sessions(12).tolist()
    assert one.counted == whole.counted
    if full:
        ours, theirs = rows(one), rows(whole)
        for r in ours + theirs:
            del r["time_ns"]
        assert ours == theirs
    # What the second part had begun is ended in a third.
    rest = batch([Seg(900, OPENSSL[900:], session=11)], 100)
    one.feed(*rest)
    whole.feed(*rest)
    assert one.counted == whole.counted
    assert one.sni_of_sessions(12).tolist() == whole.sni_of_sessions(12).tolist()


def test_merge_with_half_a_hello_in_each_part() -> None:
    """Not joined, but not lost: the name is in the first half."""
    one, two = build([Seg(0, OPENSSL[:900])]), build([Seg(0, OPENSSL[900:])])
    one.merge(two, np.array([0]), 1)
    assert names(one) == ["api.example.com"]
    assert counted(one) == {"hello_incomplete": 1}
    with pytest.raises(ValueError, match="full"):
        one.merge(HelloBuilder(False), np.array([0]))


def test_merge_into_full_slots() -> None:
    half = record(message([sni_extension(b"half.example"), (21, bytes(2000))]))[:1000]
    one = build([Seg(0, half, session=i) for i in range(3)], HelloBuilder(slots=3))
    two = build([Seg(0, half, session=i) for i in range(2)], HelloBuilder(slots=3))
    one.merge(two, np.array([0, 5]), 3)
    assert names(one) == ["half.example"] * 5
    assert counted(one) == {"hello_incomplete": 4, "hello_evicted": 1}


def test_cut_into_batches_anywhere() -> None:
    segments = [s._replace(session=i) for i, part in enumerate(SESSIONS) for s in part]
    whole = rows(build(segments))
    for cut in range(len(segments) + 1):
        builder = build(segments[:cut])
        assert rows(build(segments[cut:], builder, cut + 1)) == whole


PIECES = st.one_of(
    st.sampled_from([OPENSSL[:6], OPENSSL[:60], OPENSSL, RETRY, DATA, chrome()[:1400], hello(b"x.example"), record(vector(1, b"\x01"))]),
    st.binary(min_size=1, max_size=40),
)
SEGMENTS = st.builds(
    Seg,
    offset=st.one_of(st.integers(-50, 200), st.integers(-(2**40), 2**40)),
    data=PIECES,
    session=st.integers(-1, 3),
    direction=st.integers(0, 1),
    cap=st.one_of(st.none(), st.integers(0, 5)),
    fresh=st.one_of(st.none(), st.integers(-1, 3)),
    kind=st.sampled_from([col.TCP, col.TCP, col.TCP, col.UDP]),
)


@given(st.lists(SEGMENTS, max_size=60), st.booleans())
def test_any_segments(segments: list[Seg], full: bool) -> None:
    segments = [s._replace(cap=None if s.cap is None else min(s.cap, len(s.data))) for s in segments]
    builder = build(segments, HelloBuilder(full, slots=2))
    found = builder.sni_of_sessions(4)
    assert all(count >= 0 for count, _ in builder.counted.values())
    if full:
        assert len(set(found) - {None} - set(names(builder))) == 0
        assert all(r["segments"] >= 1 for r in rows(builder))
    # Every slot is either free or owned by exactly one direction, once.
    slots, state = builder._arrays.slots, builder._arrays.looks
    meta = slots.meta
    in_use = {k for k in range(2) if meta[k, hello_scan.S_OWNER] >= 0}
    assert {-int(s) - 1 for s in state if s < 0} == in_use
    chain, k = set(), int(slots.ends[hello_scan.FREE])
    while k >= 0:
        assert k not in chain
        chain.add(k)
        k = int(meta[k, hello_scan.S_NEXT])
    assert chain == {0, 1} - in_use
    for k in chain:
        assert not slots.held[k].any()


@given(st.integers(-5, 5000), st.integers(-5, 5000), st.integers(0, 5000))
def test_offsets_outside_the_buffer(pay_off: int, cap: int, length: int) -> None:
    buf, pkts = batch([Seg(0, OPENSSL), Seg(0, OPENSSL[:100], session=1), Seg(100, OPENSSL[100:], session=1)])
    pkts[:, col.PAY_OFF] = pay_off
    pkts[:, col.PAY_CAP] = cap
    pkts[:, col.LENGTH] = length
    builder = HelloBuilder(slots=2)
    builder.feed(buf, pkts)
    builder.rows()
