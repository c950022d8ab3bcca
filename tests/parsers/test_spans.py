"""A capture that several cores read, a span each, has the rows that one reader makes of it, wherever it is divided."""

from __future__ import annotations

import itertools
import random
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens.errors import CaptureError
from netlens.parsers import pipeline, session_join, sessions, spans
from netlens.parsers.pipeline import LIGHT, Part
from netlens.parsers.session_state import rare_rows
from netlens.wire import columns as c
from netlens.wire import spans as wire_spans
from netlens.wire import writing
from netlens.wire.containers import Reader
from netlens.wire.spans import A_FRAME, A_SYN, LEAST, borders
from tests.parsers import build
from tests.parsers.build import MS, US, Packet, Talk, mixed
from tests.parsers.test_pipeline import APP, HELLO, a_capture, segment
from tests.parsers.test_pipeline import pcap as pcap_of
from tests.wire.links import RAW

REQUEST = b"POST /v1 HTTP/1.1\r\nHost: api.example\r\nContent-Length: 9\r\n\r\n"


def as_one(path: Path) -> Part:
    part = Part(LIGHT)
    reader = Reader([path])
    for batch in reader.batches():
        part.feed(batch)
    part.inputs, part.frames = reader.inputs, reader.frame
    return part


def rows(part: Part) -> Any:
    return list(part.sessions().records()), list(part.quality().records()), part.bounds_ns, part.inputs[0].damage


def records(data: bytes) -> list[int]:
    """Byte offset of each record of a pcap."""
    found, at = [], 24
    while at + 16 <= len(data):
        found.append(at)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    return found


def taken_over(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each span that is read from now on whether it was put behind the part before it as it is."""
    told: list[bool] = []
    join = spans._take_over

    def listening(part: Part, later: Any) -> bool:
        told.append(join(part, later))
        return told[-1]

    monkeypatch.setattr(spans, "_take_over", listening)
    return told


def ordinary() -> list[Packet]:
    """Connections of which some are open at any time."""
    talks = []
    for k in range(40):
        t = Talk(("10.0.0.2", 30000 + k), ("203.0.113.10", 443), 1000 * k, 77 * k, k * MS, step=US).open()
        t.up("PA", HELLO)
        for turn in range(30):
            t.up("PA", APP)
            for _ in range(5):
                t.down("PA", APP)
            t.up("A")
            t.wait(50 * MS * (turn % 3))
        talks.append(t.close().packets)
    return mixed(*talks)


def in_pieces(t: Talk, rng: random.Random) -> None:
    """A hello, or a record that is none, in segments that come in any order."""
    said, first = rng.choice([HELLO, HELLO[5:], APP * 4]), len(t.packets)
    borders = [0, *sorted(rng.sample(range(1, len(said)), rng.randint(1, 4))), len(said)]
    for begin, end in pairwise(borders):
        t.up("PA", said[begin:end])
    times = [p.at for p in t.packets[first:]]
    rng.shuffle(times)
    t.packets[first:] = [replace(p, at=at) for p, at in zip(t.packets[first:], times, strict=True)]


def transfers(rng: random.Random, n: int) -> list[Packet]:
    """Long answers, now and then with a segment that is lost, late, repeated or from before, a shut window, a probe, a hello, or a protocol shown late."""
    streams = []
    for k in range(n):
        server = ("203.0.113.10", rng.choice([443, 80, 34567]))
        t = Talk(
            (f"10.0.0.{2 + k % 3}", 30000 + k // 3), server, rng.randrange(2**32), rng.randrange(2**32), rng.randrange(9 * MS), step=US
        )
        for _ in range(rng.randint(1, 3)):
            if rng.random() < 0.9:
                t.open()
            for _ in range(rng.randint(0, 60)):
                odd = rng.random()
                if odd < 0.03:
                    rng.choice([t.up, t.down])("A", window=0)
                elif odd < 0.06:
                    t.again(rng.randrange(len(t.packets)) if t.packets else t.up())
                elif odd < 0.08:
                    t.up("A", 1, seq=t.seq - 1)
                elif odd < 0.10:
                    t.back += rng.choice([1400, 1 << 31])
                elif odd < 0.12:
                    t.up("PA", HELLO)
                elif odd < 0.13:
                    t.up("PA", HELLO[:300])
                elif odd < 0.15:
                    in_pieces(t, rng)
                elif odd < 0.17:
                    rng.choice([t.up, t.down])("PA", rng.choice([APP, REQUEST, b"SSH-2.0-x\r\n", b"\x05\x01\x00"]))
                elif odd < 0.19:
                    rng.choice([t.up, t.down])("FA")
                elif odd < 0.20:
                    rng.choice([t.up, t.down])("RA")
                for _ in range(rng.randint(1, 6)):
                    t.down("A", rng.choice([1400, 1400, 1]))
                    if rng.random() < 0.5:
                        t.up("A")
                if rng.random() < 0.3:
                    t.up("PA", rng.choice([200, 1]))
            if rng.random() < 0.5:
                t.close()
            t.seq, t.back = rng.randrange(2**32), rng.randrange(2**32)
        packets = [p for p in t.packets if rng.random() > 0.002]
        for i in range(len(packets) - 1):
            if rng.random() < 0.01:
                packets[i : i + 2] = replace(packets[i], at=packets[i + 1].at), replace(packets[i + 1], at=packets[i].at)
        streams.append(packets)
    return mixed(*streams)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_spans_make_the_whole(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "spans.pcap"
    if rng.random() < 0.5:
        path.write_bytes(pcap_of(a_capture(rng)))
    else:
        build.write(path, transfers(rng, rng.randint(1, 6)), RAW)
    whole = rows(as_one(path))
    offsets = records(path.read_bytes())[1:]
    for _ in range(3):
        cuts = sorted(rng.sample(offsets, min(rng.randint(1, 3), len(offsets))))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sessions, "JOINED", rng.choice([1, 2, 7, sessions.JOINED]))
            part = spans.read(str(path), cuts)
        assert part is None or rows(part) == whole, cuts


def test_spans_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ordinary connections, whichever are open where the capture is divided, none makes a span be read again."""
    told = taken_over(monkeypatch)
    path = build.write(tmp_path / "c.pcap", ordinary(), RAW)
    whole, offsets = rows(as_one(path)), records(path.read_bytes())
    for cuts in ([offsets[len(offsets) // 2]], [offsets[len(offsets) * k // 4] for k in (1, 2, 3)], [offsets[1]], [offsets[-1]]):
        part = spans.read(str(path), cuts)
        assert part is not None
        assert rows(part) == whole
        blocks = [row for block in part.fold.blocks(None, 7) for row in block.records()]
        assert blocks == [row | {"sni": None} for row in whole[0]]
        assert len(part.state()) == len(whole[0])  # what lies behind the state is put into it
        assert rows(part) == whole
    assert len(told) == 6
    assert all(told)
    assert whole[0][0]["sni"] == "api.example.test"


def test_a_long_transfer_is_kept_in_a_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    join = spans._take_over
    monkeypatch.setattr(spans, "_take_over", lambda part, later: (kept.append(later.kept.finished()), join(part, later))[1])
    t = Talk(("10.0.0.2", 30000), ("203.0.113.10", 443), step=US).open()
    t.up("PA", HELLO)
    for _ in range(3000):
        t.down("A", 1400)
        t.down("PA", APP)
        t.up("A")
    path = build.write(tmp_path / "c.pcap", t.close().packets, RAW)
    offsets = records(path.read_bytes())
    part = spans.read(str(path), [offsets[len(offsets) // 2]])
    assert part is not None
    assert rows(part) == rows(as_one(path))
    [each] = kept
    assert len(each) < 30
    assert (each[:, c.KIND] != c.TCP).any()


def test_what_cannot_be_told_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SYN repeated across the border, whose answer follows: the span alone would begin a session with it."""
    told = taken_over(monkeypatch)
    up, down = ("10.0.0.2", 4000, "203.0.113.10", 443), ("203.0.113.10", 443, "10.0.0.2", 4000)
    other = [(i, segment("10.0.0.3", 1000 + i, "203.0.113.10", 443, 2, i)) for i in range(5)]
    packets = [(0, segment(*up, 2, 7)), *other, (10, segment(*up, 2, 7)), (11, segment(*down, 18, 99, 8)), (12, segment(*up, 16, 8, 100))]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap_of(packets))
    offsets = records(path.read_bytes())
    part = spans.read(str(path), [offsets[3]])
    assert part is not None
    assert rows(part) == rows(as_one(path))
    assert told == [False]
    assert len(rows(part)[0]) == 6


def test_too_much_that_goes_on_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_ROWS", 20)
    told = taken_over(monkeypatch)
    path = build.write(tmp_path / "c.pcap", transfers(random.Random(4), 6), RAW)
    offsets = records(path.read_bytes())
    part = spans.read(str(path), [offsets[len(offsets) // 2]])
    assert part is not None
    assert rows(part) == rows(as_one(path))
    assert told == []


def test_a_place_that_is_no_record_does_no_harm(tmp_path: Path) -> None:
    path = build.write(tmp_path / "c.pcap", transfers(random.Random(5), 3), RAW)
    offsets, whole = records(path.read_bytes()), rows(as_one(path))
    middle = offsets[len(offsets) // 2]
    for cuts in ([middle + 3], [middle + 3, offsets[-9]], [offsets[9], middle + 3], [offsets[-1] + 5]):
        part = spans.read(str(path), cuts)
        assert part is None or rows(part) == whole, cuts


def test_a_damaged_or_cut_file_says_what_it_says_in_one(tmp_path: Path) -> None:
    data = build.pcap(ordinary(), RAW)
    offsets = records(data)
    middle, path = len(offsets) // 2, tmp_path / "c.pcap"
    for broken in (data[:-7], data[: offsets[middle + 9] + 8] + b"\xff" * 4 + data[offsets[middle + 9] + 12 :]):
        for cut in (middle, middle + 20):
            path.write_bytes(broken)
            part = spans.read(str(path), [offsets[cut]])
            assert part is not None
            assert rows(part) == rows(as_one(path))
            assert part.inputs[0].damage
            assert part.inputs[0].warnings == as_one(path).inputs[0].warnings


def test_records_are_found_from_anywhere(tmp_path: Path) -> None:
    """Also in payload that looks like records, as long as it does not go on like them."""
    rng = random.Random(7)
    likely = b"".join(struct.pack("<IIII", 1000, 5, 40, 40) + bytes(40) for _ in range(LEAST - 1))
    packets = [
        (i, segment("10.0.0.2", 1000, "203.0.113.10", 443, 16, 7 * i, 9, rng.randbytes(rng.randrange(900)) + likely + b"\xff"))
        for i in range(400)
    ]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap_of(packets))
    offsets = set(records(path.read_bytes()))
    for parts in range(2, 9):
        found = borders(str(path), parts)
        assert len(found) == parts - 1
        assert set(found) <= offsets
    other = tmp_path / "big.pcap"
    big = bytearray(path.read_bytes())
    big[:24] = struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 101)
    for at in offsets:
        big[at : at + 16] = struct.pack(">IIII", *struct.unpack_from("<IIII", big, at))
    other.write_bytes(big)
    assert borders(str(other), 4) == borders(str(path), 4)
    (tmp_path / "text").write_text("no capture at all, but longer than a head")
    assert borders(str(tmp_path / "text"), 4) == []


def test_spans_take_about_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short packets take as long as long ones: where they are, a span has fewer bytes."""
    monkeypatch.setattr(wire_spans, "SAMPLED", 1 << 10)
    sizes = [0] * 3000 + [1400] * 1000
    packets = [(i, segment("10.0.0.2", 1000, "203.0.113.10", 443, 16, 7 * i, 9, bytes(size))) for i, size in enumerate(sizes)]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap_of(packets))
    offsets = records(path.read_bytes())
    [cut] = borders(str(path), 2)
    costs = [A_FRAME + size for size in sizes]
    assert sum(costs[: offsets.index(cut)]) == pytest.approx(sum(costs) / 2, rel=0.1)


@pytest.mark.parametrize("pcapng", [False, True])
def test_sessions_that_begin_take_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pcapng: bool) -> None:
    monkeypatch.setattr(wire_spans, "SAMPLED", 1 << 10)
    flags = [2] * 2000 + [16] * 2000
    ethernet = bytes(12) + b"\x08\x00"
    packets = [(i, ethernet + segment("10.0.0.2", 1000, "203.0.113.10", 443, each, 7 * i, 9, bytes(400))) for i, each in enumerate(flags)]
    path = tmp_path / "c.pcap"
    blocks = [writing.packet(0, data, build.T0 + i, len(data)) for i, data in packets]
    path.write_bytes(writing.SECTION + writing.interface(1) + b"".join(blocks) if pcapng else pcap_of(packets))
    [cut] = borders(str(path), 2)
    costs = [A_FRAME + 400 + A_SYN * (each == 2) for each in flags]
    before = round(len(flags) * cut / path.stat().st_size)
    assert sum(costs[:before]) == pytest.approx(sum(costs) / 2, rel=0.1)


@pytest.mark.parametrize("more", ["", "interface", "section"])
def test_spans_of_a_pcapng(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    """Interfaces are described at its beginning; where one is in the midst of it, too, it is read as one."""
    told = taken_over(monkeypatch)
    packets = ordinary()
    blocks = [writing.packet(k % 2, p.data, build.T0 + p.at, len(p.data)) for k, p in enumerate(packets)]
    head = writing.SECTION + 2 * writing.interface(101)
    if more:
        blocks.insert(len(blocks) // 2 - 40, head if more == "section" else writing.interface(101))
    path = tmp_path / "c.pcapng"
    path.write_bytes(head + b"".join(blocks))
    ends = list(itertools.accumulate(map(len, blocks), initial=len(head)))
    whole = rows(as_one(path))
    assert borders(str(path), 2)[0] in ends
    assert set(borders(str(path), 5)) < set(ends)
    for cuts in ([ends[len(ends) // 2]], [ends[len(ends) // 4], ends[len(ends) // 2]], [ends[len(ends) // 2] + 4], [ends[4], ends[-4]]):
        part = spans.read(str(path), cuts)
        assert part is None or rows(part) == whole, cuts
        assert (part is None) <= bool(more)
    assert any(told) or more


def test_large_captures_are_divided_among_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.write(tmp_path / "c.pcap", transfers(random.Random(8), 6), RAW)
    whole = rows(as_one(path))
    told, done = taken_over(monkeypatch), list[tuple[int, int]]()
    monkeypatch.setattr(pipeline, "LARGE", 1000)
    monkeypatch.setattr(spans, "LEAST_BYTES", 1000)
    for cores in (1, 2, 5):
        told.clear()
        done.clear()
        for module in (pipeline, spans):
            monkeypatch.setattr(module, "cores", lambda cores=cores: cores)
        part = pipeline.run([path], LIGHT, lambda size, frames: done.append((size, frames)))
        assert rows(part) == whole
        assert part.frames == as_one(path).frames
        assert part.bytes == path.stat().st_size
        assert len(told) == cores - 1
        assert max(done) == (part.bytes, part.frames)
    pipeline.run([path, path], LIGHT)
    pipeline.run([path], pipeline.PRODUCTS)
    assert len(told) == 4


def test_who_stops_is_not_kept_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.write(tmp_path / "c.pcap", transfers(random.Random(9), 6), RAW)
    offsets = records(path.read_bytes())

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spans.read(str(path), offsets[9:12], stop)
    with pytest.raises(CaptureError, match="no such file"):
        spans.read(str(tmp_path / "none.pcap"), [99])


def test_sessions_of_a_client_that_may_be_halves(tmp_path: Path) -> None:
    """What makes redirect halves one connection may lie in the part before: `client > proxy` there, `server > client` in the span."""
    up, down = ("10.0.0.2", 4000, "127.0.0.1", 12300), ("203.0.113.10", 443, "10.0.0.2", 4000)
    packets = [(i, segment("10.0.0.3", 1000 + i, "203.0.113.10", 443, 2, i)) for i in range(4)]
    packets += [
        (10, segment(*up, 2, 7)),
        (11, segment(*down, 18, 99, 8)),
        (12, segment(*up, 16, 8, 100)),
        (13, segment(*down, 24, 100, 8, b"x")),
    ]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap_of(packets))
    whole = as_one(path)
    for cut in records(path.read_bytes())[1:]:
        part = spans.read(str(path), [cut])
        assert part is not None
        assert rows(part) == rows(whole)
        assert (part.state() == whole.state()).all()


def test_state_is_that_of_the_whole(tmp_path: Path) -> None:
    """Not only its rows: what is fed afterwards goes on from it."""
    for seed in range(12):
        rng = random.Random(seed)
        path = build.write(tmp_path / "c.pcap", transfers(rng, 5), RAW)
        offsets, whole = records(path.read_bytes()), as_one(path)
        part = spans.read(str(path), sorted(rng.sample(offsets[1:], 2)))
        if part is None:
            continue
        mine, its = part.state().copy(), whole.state().copy()
        for side in (session_join.SIDE, session_join.SIDE + session_join.SIDE_WIDTH):
            lists = [holes(p, s[:, side + session_join.HOLES]) for p, s in ((part, mine), (whole, its))]
            assert lists[0] == lists[1]
            mine[:, side + session_join.HOLES] = its[:, side + session_join.HOLES] = 0
        assert (rare_rows(mine, part.fold.rare()) == rare_rows(its, whole.fold.rare())).all()
        assert (mine == its).all()
        for p in (part, whole):
            for batch in Reader([path]).batches():
                p.feed(batch)
        assert rows(part)[0] == rows(whole)[0]


def holes(part: Part, heads: build.Array) -> list[list[tuple[int, int]]]:
    matrix, found = part.fold.arrays.sparse.holes, []
    for head in heads.tolist():
        found.append([])
        while head >= 0:
            found[-1].append(tuple(matrix[head, :2].tolist()))
            head = int(matrix[head, 2])
    return found


def test_spans_join_in_any_number(tmp_path: Path) -> None:
    path = build.write(tmp_path / "c.pcap", transfers(random.Random(10), 4), RAW)
    offsets, whole = records(path.read_bytes()), rows(as_one(path))
    for step in (61, 100, 200):
        cuts = offsets[step::step]
        part = spans.read(str(path), cuts)
        assert part is None or rows(part) == whole
        assert len(list(itertools.pairwise(cuts))) > 2


def test_a_capture_without_tcp(tmp_path: Path) -> None:
    packet = (
        struct.pack(">BBHHHBBHII", 0x45, 0, 32, 1, 0, 64, 17, 0, 0x0A000001, 0x0A000002) + struct.pack(">HHHH", 4000, 4001, 12, 0) + b"data"
    )
    path = tmp_path / "udp.pcap"
    frames = (writing.pcap_record(packet, k * MS, len(packet), US) for k in range(40))
    path.write_bytes(writing.pcap_header(RAW, unit_ns=US) + b"".join(frames))
    for table in (Part.sessions, Part.last_sessions):
        part = spans.read(str(path), [records(path.read_bytes())[20]])
        assert part is not None
        assert (part.packets, table(part).rows) == (40, 0)
