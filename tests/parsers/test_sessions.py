"""Sessions: what is one, what it holds, and that parts give the same rows as the whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netlens import arrays
from netlens.columns import Array
from netlens.parsers import session_fold, session_lookup, session_rows
from netlens.parsers import session_state as module
from netlens.parsers import sessions as sessions_module
from netlens.parsers.lifecycle import LEAST_ROWS, Kept
from netlens.parsers.session_fold import MAX_JUMP
from netlens.parsers.session_history import LETTERS, MAX_LETTERS
from netlens.parsers.session_holes import MAX_HOLES
from netlens.parsers.session_state import SIDE
from netlens.parsers.sessions import SessionFold
from netlens.wire import columns as c
from tests.parsers.build import MS, US, End, Packet, S, Talk, fold, mixed, one, rewritten, rows, same_split, segment, sessions

CLIENT, SERVER = ("10.0.0.1", 40000), ("203.0.113.9", 443)
C6, S6 = ("2001:db8::1", 40000), ("2001:db8:ffff::9", 443)
ISN, ANSWER = 0x1234_5678, 0x89AB_CDEF


def talk(client: End = CLIENT, server: End = SERVER, **more: Any) -> Talk:
    return Talk(client, server, **more)


# -- golden tables: what one row says --

_FIELDS = (
    ("retransmits", "again"),
    ("out_of_order", "order"),
    ("copies", "copy"),
    ("keepalives", "alive"),
    ("zero_windows", "zero"),
    ("missing_bytes", "missing"),
    ("bytes_after_fin", "after-fin"),
)


def _line(name: str, row: dict[str, Any]) -> str:
    out = [f"{name:<46} {row['state']:<6} {row['history']:<14} {row['orig_frames']}+{row['resp_frames']} frames"]
    out.append(f"{row['orig_bytes']}+{row['resp_bytes']} bytes")
    for field, short in _FIELDS:
        a, b = row["orig_" + field], row["resp_" + field]
        if a or b:
            out.append(f"{short} {a}+{b}")
    for field, unit in (("handshake_ms", "ms"), ("synack_ms", "ms"), ("half_closed_s", "s")):
        if row[field] is not None:
            out.append(f"{field.rsplit('_', 1)[0]} {row[field]:g} {unit}")
    if row["closed_ns"] is not None:
        out.append(f"closed after {(row['closed_ns'] - row['start_ns']) / 1e6:g} ms")
    return " | ".join(out)


def _scenarios() -> dict[str, list[Packet]]:
    out: dict[str, list[Packet]] = {}

    t = talk().open()
    out["handshake"] = t.packets

    t = talk()
    t.up("S")
    t.wait(S).again()
    t.down("SA")
    t.up("A")
    out["handshake, SYN repeated after 1 s"] = t.packets

    t = talk()
    t.up("S")
    t.down("SA")
    t.wait(S).again()
    t.up("A")
    out["handshake, SYN+ACK repeated"] = t.packets

    t = talk()
    t.up("S")
    t.down("SA")
    t.up("PA", 100)
    out["handshake, first data instead of the ACK"] = t.packets

    t = talk(C6, S6).open()
    t.up("PA", 100)
    t.down("PA", 200)
    out["IPv6"] = t.close().packets

    t = talk().open()
    t.up("PA", 100)
    t.wait(200 * MS).again()
    t.down("A")
    out["retransmission"] = t.packets

    t = talk().open()
    lost = t.up("PA", 100)
    t.packets.remove(lost)
    t.up("PA", 100)
    t.wait(200 * MS).again(lost)
    out["retransmission of what the capture had lost"] = t.packets

    t = talk().open()
    late = t.up("PA", 100)
    t.packets.remove(late)
    t.up("PA", 100)
    t.again(late)
    out["out of order"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.up("PA", 150, seq=t.seq - 100)
    t.seq += 50
    out["retransmission with more behind it"] = t.packets

    t = talk().open()
    for _ in range(3):
        t.up("PA", 10)
        t.packets[-1:] = [t.packets[-1], replace(t.packets[-1], at=t.at, iface=2)]
        t.down("A")
    out["copies on a second interface"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.down("A")
    for _ in range(3):
        t.wait(15 * S).up("A", seq=t.seq - 1)
        t.down("A")
    out["keep-alive probes without payload"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.down("A")
    t.wait(15 * S).up("A", 1, seq=t.seq - 1)
    t.down("A")
    out["keep-alive probe with one byte"] = t.packets

    t = talk().open()
    t.up("PA", 1)
    t.again(iface=2)
    t.down("A")
    out["copy of a segment of one byte"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.down("A", window=0)
    t.up("A", seq=t.seq - 1)
    t.down("A", window=0)
    t.down("A", window=500)
    out["zero window"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.up("FA")
    t.wait(2 * S)
    for _ in range(3):
        t.down("PA", 1000)
        t.up("A")
    t.down("FA")
    t.up("A")
    out["half-closed for 2 s, still receiving"] = t.packets

    t = talk().open()
    t.up("PA", 100)
    t.up("FA")
    t.down("PA", 1000)
    t.wait(9 * S).down("PA", 1000)
    out["half-closed until the end"] = t.packets

    t = talk().open()
    t.up("FA")
    t.wait(300 * MS).again()
    t.down("FA")
    t.up("A")
    out["FIN repeated"] = t.packets

    t = talk().open()
    t.down("R", b"out of memory")
    out["RST that carries words"] = t.packets

    t = talk()
    t.up("S", 100)
    t.down("SA")
    t.up("PA", 50)
    out["data with the SYN (fast open)"] = t.packets

    t = talk()
    t.up("S", 100)
    t.down("SA", ack=ISN + 1)
    t.wait(MS).up("PA", 100, seq=ISN + 1)
    out["data with the SYN, not accepted and sent again"] = t.packets

    t = talk().open()
    t.packets.remove(t.up("PA", 1000))
    t.down("A")
    t.up("PA", 10)
    out["missing from the capture"] = t.packets

    t = talk().open()
    data = t.up("PA", 1000)
    t.packets.remove(data)
    t.wait(5 * S).down("A")
    t.again(data)
    out["captured after its acknowledgment"] = t.packets

    t = talk().open()
    data = t.up("PA", 1)
    t.packets.remove(data)
    t.down("A")
    t.again(data)
    out["one byte captured after its acknowledgment"] = t.packets

    t = talk().open()
    fin = t.up("FA")
    t.packets.remove(fin)
    t.down("FA")
    t.again(fin)
    t.up("A")
    out["FIN captured after its acknowledgment"] = t.packets

    t = talk()
    t.up("S")
    t.down("S")
    t.up("SA", seq=ISN)
    t.down("SA", seq=ANSWER)
    t.up("PA", 10)
    t.down("PA", 20)
    out["simultaneous open"] = t.packets

    t = talk(isn=2**32 - 50, answer=2**32 - 1).open()
    for _ in range(3):
        t.up("PA", 100)
        t.down("PA", 1)
    t.again(t.packets[3])
    out["sequence numbers wrap"] = t.close().packets

    t = talk(("10.0.0.1", 7000), ("10.0.0.1", 7000), answer=ISN)
    t.up("S")
    t.up("SA", seq=ISN)
    t.up("PA", 10)
    out["a socket connected to itself"] = t.packets

    t = talk(("127.0.0.1", 50000), ("127.0.0.1", 8080)).open()
    t.up("PA", 10)
    t.down("PA", 20)
    out["both ends at one address"] = t.packets

    t = talk().open()
    t.wait(-10 * S).up("PA", 10)
    t.down("PA", 20)
    out["the clock steps back by 10 s"] = t.packets

    t = talk()
    t.up("S")
    t.wait(-10 * S).down("SA")
    t.up("A")
    out["the clock steps back inside the handshake"] = t.packets

    t = talk()
    t.up("PA", 100)
    t.down("PA", 200)
    t.up("A")
    out["joined mid-stream"] = t.packets

    t = talk()
    t.packets += [Packet(0, segment(SERVER, CLIENT, "A", ANSWER + 1, ISN + 7))]
    t.seq, t.back = ISN + 7, ANSWER + 1
    t.up("PA", 100)
    out["joined at an acknowledgment"] = t.packets

    t = talk()
    t.up("S")
    t.down("A", seq=777_000, ack=ISN + 90_000_000)
    t.up("R", seq=ISN + 90_000_000)
    out["the peer of an earlier connection answers"] = t.packets
    return out


def test_rows(golden: Callable[[str, str], None]) -> None:
    lines = [_line(name, row) for name, packets in _scenarios().items() for row in sessions(packets)]
    golden("sessions.txt", "\n".join(lines) + "\n")


def test_times_of_a_row() -> None:
    t = talk().open()
    t.up("PA", 10)
    t.down("PA", 20)
    t.wait(S).down("PA", 20)
    row = one(t.close().packets)
    at = [1_700_000_000 * S + p.at for p in t.packets]
    assert (row["start_ns"], row["end_ns"]) == (at[0], at[-1])
    assert (row["orig_first_payload_ns"], row["orig_last_payload_ns"]) == (at[3], at[3])
    assert (row["resp_first_payload_ns"], row["resp_last_payload_ns"]) == (at[4], at[5])
    assert (row["orig_fin_ns"], row["resp_fin_ns"], row["closed_ns"], row["rst_ns"]) == (at[6], at[7], at[7], None)
    assert (row["orig_isn"], row["resp_isn"], row["first_frame"], row["last_frame"]) == (ISN, ANSWER, 1, 9)
    assert row["duration_s"] == pytest.approx((at[-1] - at[0]) / 1e9)


def test_numbers_of_the_handshake_are_known_where_one_half_shows_them() -> None:
    t = talk()
    t.down("SA", ack=ISN + 1)
    t.seq = ISN + 1
    t.up("PA", 10)
    assert one(t.packets)["orig_isn"] == ISN
    t = talk()
    t.up("PA", 10)
    assert one(t.packets)["orig_isn"] is None


def test_history_is_cut() -> None:
    t = talk().open()
    packets = t.packets + [
        Packet(S + i, segment(CLIENT, SERVER, "A", ISN + 1, ANSWER + 1, window=0 if 10 ** (i % 7) > i else 1)) for i in range(2000)
    ]
    assert len(one(packets)["history"]) <= MAX_LETTERS
    assert len(LETTERS) <= 32  # five bits each


# -- bytes: payload that was seen, once --


def _pieces(rng: random.Random, total: int, wild: bool) -> list[tuple[int, int]]:
    """Segments that cover 0..total, some of them cut differently when sent again."""
    edges = sorted({0, total, *(rng.randrange(1, total) for _ in range(rng.randint(0, 12)))})
    out = list(itertools.pairwise(edges))
    if wild:
        for _ in range(rng.randint(0, 12)):
            a = rng.randrange(total)
            out.append((a, min(total, a + rng.randint(1, max(2, total // 3)))))
    return out


@given(seed=st.integers(0, 2**32), wild=st.booleans(), base=st.sampled_from([0, 1, 2**31 - 20, 2**32 - 700, 2**32 - 1]))
@settings(max_examples=150)
def test_bytes_are_the_union_of_what_was_seen(seed: int, wild: bool, base: int) -> None:
    """Any order, duplication and overlap; acknowledgments ahead of the data, as when two interfaces swap neighbours."""
    rng = random.Random(seed)
    total = rng.choice([2, 50, 1000, 60_000])
    pieces = _pieces(rng, total, wild)
    rng.shuffle(pieces)
    pieces += rng.sample(pieces, rng.randint(0, len(pieces)))
    if rng.random() < 0.3:
        pieces = pieces[: rng.randint(1, len(pieces))]  # some are never captured
    t = talk(isn=base).open()
    seen: set[int] = set()
    acknowledged = 0
    expected_fresh = []
    for a, b in pieces:
        if rng.random() < 0.2:
            acknowledged = max(acknowledged, rng.randint(0, total))
            t.down("A", ack=base + 1 + acknowledged)
        t.up("PA", b - a, seq=base + 1 + a)
        before = len(seen)
        seen |= set(range(a, b))
        expected_fresh.append(len(seen) - before)
    state = SessionFold()
    _, matrix = rows(t.packets)
    state.feed(matrix)
    (row,) = state.rows().records()
    data = matrix[(matrix[:, c.LENGTH] > 0) & (matrix[:, c.DIRECTION] == 0)]
    # A lone byte below everything seen is taken for a keep-alive probe, also where it repeats, but it is never new.
    assert data[:, c.FRESH].tolist() == expected_fresh
    assert data[:, c.OFFSET].tolist() == [a for a, _ in pieces]
    assert row["orig_bytes"] == len(seen)
    assert row["orig_missing_bytes"] == len(set(range(acknowledged)) - seen)
    counted = row["orig_retransmits"] + row["orig_keepalives"]
    assert counted + row["orig_out_of_order"] >= sum(f == 0 for f in expected_fresh)


@given(seed=st.integers(0, 2**32), wild=st.booleans(), base=st.sampled_from([1, 2**31 - 20, 2**32 - 700]))
@example(seed=0, wild=False, base=1)
@example(seed=141508, wild=False, base=1)
@settings(max_examples=150)
def test_bytes_of_a_stream_joined_mid_way_are_the_union_of_what_was_seen(seed: int, wild: bool, base: int) -> None:
    """No handshake was captured, and what comes first may be any segment or the peer's acknowledgment of any: what is older counts when it comes. What is
    below the first segment, and what was acknowledged before it, was sent before the capture."""
    rng = random.Random(seed)
    total = rng.choice([50, 1000, 60_000])
    pieces = [(a, b) for a, b in _pieces(rng, total, wild) if b - a > 1]  # a lone byte may be a probe
    rng.shuffle(pieces)
    pieces += rng.sample(pieces, rng.randint(0, len(pieces)))
    if rng.random() < 0.3:
        pieces = pieces[: rng.randint(1, len(pieces))]
    t = talk()
    seen: set[int] = set()
    acknowledged = 0
    first = None
    expected_fresh = []
    for a, b in pieces:
        if rng.random() < 0.2:
            acknowledged = max(acknowledged, rng.randint(0, total))
            t.down("A", ack=base + acknowledged)
        first = max(a, acknowledged) if first is None else first
        t.up("PA", b - a, seq=base + a)
        before = len(seen)
        seen |= set(range(a, b))
        expected_fresh.append(len(seen) - before)
    state = SessionFold()
    _, matrix = rows(t.packets)
    state.feed(matrix)
    (row,) = state.rows().records()
    data = matrix[(matrix[:, c.LENGTH] > 0) & (matrix[:, c.DIRECTION] == (0 if matrix[0, c.LENGTH] else 1))]
    assert data[:, c.FRESH].tolist() == expected_fresh
    ours, theirs = ("orig", "resp") if row["orig_bytes"] else ("resp", "orig")
    assert (row[f"{ours}_bytes"], row[f"{theirs}_bytes"]) == (len(seen), 0)
    assert first is not None
    assert row[f"{ours}_missing_bytes"] == len(set(range(first, acknowledged)) - seen), "before the capture nothing is missing"
    counted = row[f"{ours}_retransmits"] + row[f"{ours}_out_of_order"]
    assert counted >= sum(f == 0 for f in expected_fresh)


@pytest.mark.parametrize(
    ("server", "client", "first", "begun_by"),
    [(8001, 56106, "server", "client"), (8001, 56106, "client", "client"), (443, 900, "server", "client"), (40001, 50002, "server", "server"),
     (4001, 5002, "server", "server")],
)  # fmt: skip
def test_who_began_what_was_joined_mid_way_is_told_by_ports(server: int, client: int, first: str, begun_by: str) -> None:
    made = talk(("10.0.0.1", client), ("203.0.113.9", server)).open()
    (made.up if first == "client" else made.down)("PA", b"some")
    made.up("PA", b"more")
    assert one(made.packets[3:])["orig_port"] == {"client": client, "server": server}[begun_by]


def test_an_older_segment_of_a_stream_joined_mid_way() -> None:
    """In order 2, 1, 3 on the wire; and the end of an answer before its begin, as tcpdump wrote it once: 87 of 1,483 bytes were counted."""
    t = talk()
    t.up("PA", 100, seq=ISN + 100)
    t.up("PA", 100, seq=ISN)
    t.up("PA", 100, seq=ISN + 200)
    t.down("PA", 87, seq=ANSWER + 1396, ack=ISN + 300)
    t.down("A", 1396, seq=ANSWER, ack=ISN + 300)
    row = one(t.packets)
    assert (row["orig_bytes"], row["resp_bytes"]) == (300, 1483)
    assert (row["orig_out_of_order"], row["orig_retransmits"], row["resp_out_of_order"], row["resp_retransmits"]) == (1, 0, 1, 0)
    assert (row["orig_missing_bytes"], row["resp_missing_bytes"]) == (0, 0)


@pytest.mark.parametrize("size", [0, 1])
def test_probes_of_a_stream_joined_mid_way_are_no_payload(size: int) -> None:
    for packets in (["ack", "probe", "probe", "data"], ["mine", "probe", "data", "ack"]):
        t = talk()
        for what in packets:
            if what == "ack":
                t.down("A", ack=ISN)
            elif what == "mine":
                t.up("A", seq=ISN)
            elif what == "probe":
                t.up("A", size, seq=ISN - 1)
            else:
                t.up("PA", 10, seq=ISN)
        row = next(r for r in sessions(t.packets))
        up = "orig" if row["orig_bytes"] else "resp"
        assert row[f"{up}_bytes"] == 10
        assert row[f"{up}_keepalives"] == packets.count("probe")


def test_below_a_begin_that_is_known_nothing_counts() -> None:
    t = talk().open()
    t.up("PA", 10)
    t.up("PA", 10, seq=ISN - 50)
    t.down("PA", 10, seq=ANSWER - 50)
    assert (one(t.packets)["orig_bytes"], one(t.packets)["resp_bytes"]) == (10, 0)


@given(order=st.permutations(range(8)))
@settings(max_examples=60)
def test_holes_are_filled_in_any_order(order: list[int]) -> None:
    t = talk().open()
    for i in [9, *order]:
        t.up("PA", 100, seq=ISN + 1 + 100 * i)
    row = one(t.packets)
    assert row["orig_bytes"] == 900
    assert row["orig_retransmits"] + row["orig_out_of_order"] == 8
    state = fold(t.packets)
    t.up("PA", 100, seq=ISN + 1 + 800)
    assert one(t.packets)["orig_bytes"] == 1000
    assert holes_of(state)[0] == 1
    state = fold(t.packets)
    assert holes_of(state)[0] == 0
    assert state.sessions[0, SIDE + module.HOLES] == -1


def holes_of(state: SessionFold) -> Array:
    """int64[n]: the holes of the first side of each session."""
    sessions = state.state()
    return module.rare_numbers(sessions, np.zeros(len(sessions), np.int64), module.HOLE_COUNT, state.sparse)


def test_more_holes_than_are_kept() -> None:
    """The oldest are given up: their bytes are missing, what comes for them later repeats; memory does not grow."""
    n = MAX_HOLES + 50
    t = talk().open()
    for i in range(n):
        t.up("PA", 10, seq=ISN + 1 + 20 * i + 10)
    t.down("A", ack=ISN + 1 + 20 * n)
    row = one(t.packets)
    assert row["orig_bytes"] == 10 * n
    assert row["orig_missing_bytes"] == 10 * n
    state = fold(t.packets)
    assert holes_of(state)[0] == MAX_HOLES
    assert state.arrays.counts[module.HOLES_USED] <= MAX_HOLES + 1
    for i in range(n):
        t.up("PA", 10, seq=ISN + 1 + 20 * i)
    row = one(t.packets)
    assert row["orig_bytes"] == 10 * n + 10 * MAX_HOLES
    assert row["orig_missing_bytes"] == 10 * 50


def test_a_hole_may_be_cut_where_no_more_fit() -> None:
    t = talk().open()
    for i in range(MAX_HOLES):
        t.up("PA", 10, seq=ISN + 1 + 100 * i + 90)
    t.up("PA", 10, seq=ISN + 1 + 40)
    t.down("A", ack=ISN + 1 + 100 * MAX_HOLES)
    row = one(t.packets)
    assert row["orig_bytes"] == 10 * MAX_HOLES + 10
    assert row["orig_missing_bytes"] == 90 * MAX_HOLES - 10


def test_holes_of_many_sessions_share_their_memory() -> None:
    rng = random.Random(1)
    packets: list[Packet] = []
    for i in range(300):
        t = talk(("10.1.0.1", 1000 + i)).open()
        blocks = list(range(40))
        rng.shuffle(blocks)
        for b in blocks:
            t.up("PA", 100, seq=ISN + 1 + 100 * b)
        packets += t.packets
    state = fold(packets)
    assert set(state.rows()["orig_bytes"].tolist()) == {4000}
    assert (holes_of(state) == 0).all()


def test_rare_numbers_of_many_sessions_stay_theirs() -> None:
    """More sessions than there is room for at first, of which every third repeats a segment; some are forgotten, and the others go on."""
    talks = [talk(("10.1.0.1", 2000 + i)).open() for i in range(4 * LEAST_ROWS)]
    for i, t in enumerate(talks):
        t.up("PA", 100)
        if i % 3 == 0:
            t.again(-1)
    state = fold([packet for t in talks for packet in t.packets])
    rare = [1 if i % 3 == 0 else 0 for i in range(len(talks))]
    assert len(state.rare()) == 1 + sum(rare)
    assert state.rows()["orig_retransmits"].tolist() == rare
    stay = np.arange(0, len(talks), 2)
    state.forget(Kept.of(stay, len(talks)))
    assert len(state.rare()) == 1 + sum(rare[::2])
    later = []
    for i in stay.tolist():
        talks[i].packets.clear()
        talks[i].up("PA", 100)
        talks[i].again(-1)
        later += talks[i].packets
    state.feed(rows(later)[1])
    assert state.rows()["orig_retransmits"].tolist() == [n + 1 for n in rare[::2]]


@pytest.mark.parametrize("far", [MAX_JUMP, MAX_JUMP + 1, 2**31 - 1, 2**31 + 500, 2**32 - MAX_JUMP - 65_536])
def test_one_damaged_segment_costs_only_itself(far: int) -> None:
    t = talk().open()
    for i in range(10):
        t.up("PA", 100)
        t.down("PA", 50)
        if i == 4:
            t.up("PA", 100, seq=t.seq + far)
            t.up("A", seq=t.seq + far)
    row = one(t.packets)
    assert (row["orig_bytes"], row["orig_retransmits"], row["orig_missing_bytes"]) == (1100, 0, 0)
    assert row["resp_bytes"] == 500


def test_streams_longer_than_the_number_space() -> None:
    """5 GB in 64 kB segments, of which every hundredth is captured, acknowledged all the way."""
    t = talk(isn=2**32 - 5).open()
    total = 5 * 2**30
    for at in range(0, total, 6_000_000):
        t.up("PA", 60_000, seq=t.seq + at)
        t.down("A", ack=t.seq + at + 60_000)
    row = one(t.packets)
    n = -(-total // 6_000_000)
    assert row["orig_bytes"] == n * 60_000
    assert row["orig_missing_bytes"] == (n - 1) * 5_940_000


def test_a_copy_is_no_retransmission_and_the_other_way_round() -> None:
    t = talk().open()
    packets = []
    for p in t.close().packets:
        packets += [p, replace(p, at=p.at + 20 * US, iface=2, kind=4)]
    t.packets = packets
    row = one(t.packets)
    # SYN, FIN and payload are told as copies; an acknowledgment cannot be
    assert (row["orig_copies"], row["resp_copies"], row["orig_retransmits"], row["resp_retransmits"]) == (2, 2, 0, 0)


@pytest.mark.parametrize(("gap_ms", "order"), [(0.7, 1), (0.9, 0)])
def test_out_of_order_ends_before_the_round_trip(gap_ms: float, order: int) -> None:
    t = talk(step=MS // 2).open()  # round trip 1 ms
    late = t.up("PA", 100)
    t.packets.remove(late)
    t.up("PA", 100)
    t.packets.append(replace(late, at=t.packets[-1].at + int(gap_ms * MS)))
    row = one(t.packets)
    assert (row["orig_out_of_order"], row["orig_retransmits"]) == (order, 1 - order)


def flowing(late_ms: float, trip_ms: float = 10, lost: Sequence[int] = (5, 12, 20)) -> list[Packet]:
    """A download as its receiver records it, in which some segments come late while others go on arriving."""
    t = talk(step=0).open()
    t.packets[-1] = replace(t.packets[-1], at=int(trip_ms * MS))
    packets: list[Packet] = []
    for i in range(40):
        at = int(trip_ms * MS) + i * MS
        packets.append(replace(t.down("A", 1000), at=at + (int(late_ms * MS) + MS if i in lost else 0)))
    return sorted([*t.packets[:3], *packets], key=lambda p: p.at)


@pytest.mark.parametrize(("late_ms", "again"), [(3, 0), (9.5, 3), (12, 3)])
def test_a_loss_is_told_from_reordering_by_the_age_of_its_hole(late_ms: float, again: int) -> None:
    """Though the stream goes on: segments in between say nothing about the hole."""
    row = one(flowing(late_ms))
    assert (row["resp_retransmits"], row["resp_out_of_order"]) == (again, 3 - again)
    assert (row["resp_bytes"], row["resp_missing_bytes"]) == (40_000, 0)


def joined(seen: bool) -> list[Packet]:
    """A capture that begins while segments are on their way: acknowledged from 0 on, seen from 5,000 on.  seen : of both sides."""
    t = talk()
    t.up("A", ack=ANSWER)
    t.up("A", ack=ANSWER + 1000)
    if seen:
        t.down("A", 1000, seq=ANSWER + 5000)
        t.up("A", ack=ANSWER + 1000)
        t.down("A", 1000, seq=ANSWER + 1000)  # sent again, once before the capture
        t.down("A", 1000, seq=ANSWER + 7000)
    t.up("A", ack=ANSWER + 8000)
    return t.packets


def test_what_was_sent_before_the_capture_is_not_missing() -> None:
    row = one(joined(True))
    assert (row["resp_bytes"], row["resp_missing_bytes"]) == (3000, 1000)  # from 6,000 to 7,000
    assert one(joined(False))["resp_missing_bytes"] == 8000  # a side that is not recorded at all


def test_bytes_below_the_first_segment_are_missing_where_the_syn_was_seen() -> None:
    t = talk().open()
    t.packets.pop(1)  # the SYN+ACK was missed as well
    t.down("A", 1000, seq=ANSWER + 5001)
    t.up("A", ack=ANSWER + 6001)
    assert one(t.packets)["resp_missing_bytes"] == 5000


# -- what is one session --


def _captures(rng: random.Random, conversations: int) -> list[Packet]:
    """Ordinary conversations on few ports: reuse, retransmitted SYNs, resets, halves, missed beginnings, swapped neighbours."""
    streams: list[list[Packet]] = []
    for port in range(conversations):
        client, server = ("10.0.0.2", 30000 + port), ("203.0.113.10", rng.choice([443, 443, 34567]))
        proxied = rng.random() < 0.3
        near = ("127.0.0.1", 12300) if proxied else server
        stream: list[Packet] = []
        at = rng.randrange(20 * MS)
        for _ in range(rng.randint(1, 4)):
            isn, answer = (rng.choice([7, 100, rng.randrange(2**32)]) for _ in range(2))
            t = Talk(client, server, isn, answer, at, step=rng.choice([10 * US, MS]))
            t.up("S")
            if rng.random() < 0.3:
                t.wait(rng.choice([0, S])).again()
            kind = rng.choice(["normal", "normal", "normal", "refused", "unanswered"])
            if kind == "refused":
                t.down("RA", seq=rng.choice([0, answer]))
            elif kind == "normal":
                t.down("SA")
                if rng.random() < 0.2:
                    t.again()
                t.up("A")
                for _ in range(rng.randint(0, 4)):
                    t.up("PA", rng.choice([1, 10, 500]))
                    if rng.random() < 0.2:
                        t.again()
                    if rng.random() < 0.8:
                        t.down("PA", rng.choice([1, 1400]))
                    if rng.random() < 0.1:
                        t.down("A", window=0)
                    if rng.random() < 0.1:
                        t.up("A", seq=t.seq - 1)
                end = rng.choice(["close", "rst", "open", "fin"])
                if end == "close":
                    t.close()
                elif end == "rst":
                    rng.choice([t.up, t.down])("RA")
                elif end == "fin":
                    rng.choice([t.up, t.down])("FA")
            stream += rewritten_up(t.packets, server, near) if proxied else t.packets
            at = t.at + rng.choice([0, MS, S])
        if rng.random() < 0.3:
            stream = stream[rng.randint(0, len(stream) - 1) :]
        stream = [p for p in stream if rng.random() > 0.03]  # capture loss
        streams.append(stream)
    packets = mixed(*streams)
    for i in range(len(packets) - 1):
        if rng.random() < 0.05:
            packets[i], packets[i + 1] = packets[i + 1], packets[i]
    return packets


def rewritten_up(packets: Sequence[Packet], server: End, near: End) -> list[Packet]:
    """Redirect halves: what the client sends goes to ``near``, what it receives still comes from ``server``."""
    return [rewritten([p], {server: near}, later=0, iface=1)[0] if _to(p, server) else p for p in packets]


def _to(p: Packet, server: End) -> bool:
    return int.from_bytes(p.data[22:24], "big") == server[1]


@pytest.mark.tshark
@pytest.mark.parametrize("seed", range(3))
def test_split_as_tshark_splits(seed: int, tshark: str, tmp_path: Path) -> None:
    same_split(tshark, _captures(random.Random(seed), 300), tmp_path)


@pytest.mark.tshark
@pytest.mark.parametrize("seed", range(3))
def test_split_as_tshark_splits_nonsense(seed: int, tshark: str, tmp_path: Path) -> None:
    """All combinations of flags on few sequence numbers."""
    rng = random.Random(seed)
    packets = []
    for group in range(400):
        v6 = group % 5 == 0
        a: End = (f"2001:db8::{group:x}", 1000) if v6 else (f"10.0.{group >> 8}.{group & 255}", 1000)
        b: End = ("2001:db8:1::2", rng.choice([80, 1001])) if v6 else (rng.choice([a[0], "10.9.9.9"]), rng.choice([80, 1000]))
        flags = [f + e + r + s + k for f in ("", "F") for s in ("", "S") for r in ("", "R") for k in ("", "A") for e in ("", "P")]
        for _ in range(rng.choice([3, 5, 10, 20])):
            up = rng.random() < 0.6
            src, dst, base, peer = (a, b, 100, 500) if up else (b, a, 500, 100)
            bits = rng.choice([*flags, "S", "S", "SA", "SA", "A", "PA", "FA", "RA", "R"])
            seq = base + rng.choice([0, 0, 0, 1, 1, 2, 100, 101, -1, 2**31, 2**32 - 5])
            ack = peer + rng.choice([0, 1, 1, 1, 101, 2]) if "A" in bits else 0
            packets.append(Packet(len(packets) * MS, segment(src, dst, bits, seq, ack, bytes(rng.choice([0, 0, 1, 5])))))
    same_split(tshark, packets, tmp_path)


def _a(flags: str, seq: int, ack: int = 0, data: bytes = b"") -> bytes:
    return segment(CLIENT, SERVER, flags, seq, ack, data)


def _b(flags: str, seq: int, ack: int = 0, data: bytes = b"") -> bytes:
    return segment(SERVER, CLIENT, flags, seq, ack, data)


#: name -> (segments, session of each); the second as tshark 4.4 numbers them
REUSE: dict[str, tuple[list[bytes], list[int]]] = {
    "new SYN": ([_a("S", 100), _b("SA", 500, 101), _a("S", 200), _b("SA", 700, 201)], [0, 0, 1, 1]),
    "same SYN": ([_a("S", 100), _a("S", 100), _b("SA", 500, 101), _a("S", 100)], [0, 0, 0, 0]),
    "same SYN after FIN": ([_a("S", 100), _b("SA", 500, 101), _a("FA", 101, 501), _a("S", 100), _b("SA", 500, 101)], [0, 0, 0, 1, 1]),
    "same SYN after RST": ([_a("S", 100), _b("RA", 0, 101), _a("S", 100), _b("RA", 0, 101), _a("S", 100)], [0, 0, 1, 1, 2]),
    "same SYN after RST without ACK": ([_a("S", 100), _b("R", 0), _a("S", 100)], [0, 0, 1]),
    "same SYN+ACK after RST": ([_a("S", 100), _b("SA", 500, 101), _a("R", 101), _b("SA", 500, 101)], [0, 0, 0, 1]),
    "same SYN+ACK after FIN": ([_b("SA", 500, 101), _b("FA", 501, 101), _b("SA", 500, 101)], [0, 0, 1]),
    "same SYN+ACK after FIN without ACK": ([_b("SA", 500, 101), _b("F", 501), _b("SA", 500, 101)], [0, 0, 0]),
    "new SYN+ACK": (
        [_a("S", 100), _b("SA", 500, 101), _a("PA", 101, 501, b"x"), _b("SA", 900, 201), _b("PA", 901, 201, b"y")],
        [0, 0, 0, 1, 1],
    ),
    "half, new SYN+ACK": ([_b("SA", 500, 101), _b("PA", 501, 101, b"y"), _b("SA", 900, 201), _b("PA", 901, 201, b"y")], [0, 0, 1, 1]),
    "half, new SYN+ACK after FIN": (
        [_b("SA", 500, 101), _b("FA", 501, 101, b"y"), _b("SA", 900, 201), _b("PA", 901, 201, b"y")],
        [0, 0, 1, 1],
    ),
    "mid-stream, then SYN+ACK": ([_b("PA", 500, 101, b"z"), _b("SA", 900, 201), _b("PA", 901, 201, b"y")], [0, 1, 1]),
    "mid-stream, then SYN": ([_a("PA", 300, 700, b"q"), _a("S", 100), _b("SA", 500, 101)], [0, 1, 1]),
    "mid-stream, then its SYN": ([_a("PA", 301, 700, b"q"), _a("S", 300)], [0, 0]),
    "mid-stream FIN, then its SYN": ([_a("FA", 101, 501), _a("S", 100)], [0, 1]),
    "mid-stream RST, then its SYN": ([_a("R", 101), _a("S", 100)], [0, 1]),
    "SYN of the other side": ([_a("S", 100), _b("SA", 500, 101), _a("A", 101, 501), _b("S", 777), _a("SA", 333, 778)], [0, 0, 0, 1, 1]),
    "same SYN of the other side": (
        [_a("S", 100), _b("SA", 500, 101), _a("A", 101, 501), _b("S", 500), _a("SA", 333, 501)],
        [0, 0, 0, 0, 1],
    ),
    "known by acknowledgment": ([_a("A", 101, 501), _b("SA", 600, 101)], [0, 1]),
    "old SYN+ACK in the new session": (
        [_a("S", 100), _b("SA", 500, 101), _a("S", 200), _b("SA", 500, 101), _b("SA", 700, 201)],
        [0, 0, 1, 1, 2],
    ),
    "SYN and FIN": ([_a("SF", 100), _a("SF", 100), _a("S", 100)], [0, 0, 0]),
}


@pytest.mark.parametrize("name", REUSE)
def test_ports_used_again(name: str) -> None:
    segments, expected = REUSE[name]
    _, matrix = rows([Packet(i * MS, s) for i, s in enumerate(segments)])
    SessionFold().feed(matrix)
    assert matrix[:, c.SESSION].tolist() == expected


@pytest.mark.tshark
def test_ports_used_again_as_tshark_sees_it(tshark: str, tmp_path: Path) -> None:
    """All cases in one capture, each on addresses of its own."""
    packets = []
    for n, (segments, _) in enumerate(REUSE.values()):
        packets += rewritten(
            [Packet(i * MS, s) for i, s in enumerate(segments)], {CLIENT: (f"10.0.1.{n}", CLIENT[1])}, later=n * S, iface=1
        )
    same_split(tshark, packets, tmp_path)


# -- halves of a redirected connection --


def _mates(packets: Sequence[Packet]) -> list[int]:
    return fold(packets).state()[:, module.MATE].tolist()


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_halves_find_each_other(v6: bool, swapped: bool) -> None:
    client, server, near = (C6, S6, ("::1", 12300)) if v6 else (CLIENT, SERVER, ("127.0.0.1", 12300))
    t = Talk(client, server).open()
    t.up("PA", 10)
    t.down("PA", 20)
    halves = [
        rewritten([p], {server: near}, 0, 1)[0] if p.data[20 + 20 * v6 : 22 + 20 * v6] == client[1].to_bytes(2, "big") else p
        for p in t.packets
    ]
    if swapped:
        halves[0], halves[1] = halves[1], halves[0]
    assert _mates(halves) == [1, 0]


def test_halves_joined_mid_stream_and_with_ports_used_again() -> None:
    near = ("127.0.0.1", 12300)
    packets: list[Packet] = []
    for i in range(4):
        t = Talk(CLIENT, SERVER, 1_000_003 * (i + 1), 5_000_011 * (i + 1), at=i * S).open()
        t.up("PA", 600)
        t.down("PA", 1400)
        t.close()
        packets += rewritten_up(t.packets if i else t.packets[3:], SERVER, near)
    assert _mates(packets) == [1, 0, 3, 2, 5, 4, 7, 6]
    packets[0], packets[1] = packets[1], packets[0]
    assert _mates(packets)[:2] == [1, 0]


def test_what_is_no_half_finds_no_mate() -> None:
    other: End = ("198.51.100.7", 443)
    # one port to two servers, both answered
    a, b = Talk(CLIENT, SERVER, 100, 200).open(), Talk(CLIENT, other, 300, 400, at=10 * MS).open()
    assert _mates([*a.packets, *b.packets]) == [-1, -1]
    # one asked, another answers with a number that fits nothing
    assert _mates([Packet(0, segment(CLIENT, SERVER, "S", 100)), Packet(1, segment(other, CLIENT, "SA", 7, 202))]) == [-1, -1]
    # another client
    assert _mates([Packet(0, segment(CLIENT, SERVER, "S", 100)), Packet(1, segment(other, ("10.0.0.1", 9), "SA", 7, 101))]) == [-1, -1]


# -- state of parts --


def _parts(packets: Sequence[Packet], cuts: Sequence[int], right: bool) -> SessionFold:
    """Each piece folded alone, frames counted from 1, then merged from the left or from the right."""
    edges = [0, *cuts, len(packets)]
    folds = [fold(packets[a:b], deferred=i > 0) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    while len(folds) > 1:
        i = len(folds) - 2 if right else 0
        folds[i].merge(folds[i + 1], sizes[i])
        sizes[i : i + 2] = [sizes[i] + sizes[i + 1]]
        del folds[i + 1]
    return folds[0]


def _same(a: SessionFold, b: SessionFold) -> None:
    assert list(a.rows().records()) == list(b.rows().records())
    assert (a.state()[:, module.MATE] == b.state()[:, module.MATE]).all()


@given(seed=st.integers(0, 2**32), right=st.booleans())
@settings(max_examples=80)
def test_parts_merge_to_the_whole(seed: int, right: bool) -> None:
    rng = random.Random(seed)
    packets = _captures(rng, rng.randint(1, 8))
    cuts = sorted(rng.randint(0, len(packets)) for _ in range(rng.choice([1, 2, 2, 3])))
    _same(_parts(packets, cuts, right), fold(packets))


def test_parts_merge_wherever_the_cut() -> None:
    packets = _captures(random.Random(5), 4)
    whole = fold(packets)
    for cut in range(len(packets) + 1):
        _same(_parts(packets, [cut], False), whole)


def test_what_merge_returns_is_what_the_whole_would_have_written() -> None:
    packets = _captures(random.Random(9), 6)
    cut = len(packets) // 2
    whole = SessionFold()
    _, matrix = rows(packets)
    whole.feed(matrix)
    first = fold(packets[:cut])
    replay = first.merge(fold(packets[cut:], deferred=True), cut)
    fields = [c.FRAME, c.SESSION, c.DIRECTION, c.OFFSET, c.FRESH, c.ORDINAL, c.HINT]
    assert (replay[:, fields] == matrix[cut:][:, fields]).all()


def test_only_a_deferred_part_can_follow() -> None:
    with pytest.raises(ValueError, match="deferred"):
        SessionFold().merge(SessionFold())


def test_batches_of_any_size_give_the_same_state() -> None:
    packets = _captures(random.Random(3), 8)
    whole = fold(packets)
    for size in (1, 3, 64):
        state = SessionFold()
        _, matrix = rows(packets)
        for at in range(0, len(matrix), size):
            state.feed(matrix[at : at + size])
        _same(state, whole)


# -- hash table --


def _flood(n: int) -> np.ndarray[Any, Any]:
    """SYNs of n sessions, made as rows because packets would take longer than the test should."""
    _, base = rows([Packet(0, segment(CLIENT, SERVER, "S", 1))])
    matrix = np.repeat(base, n, axis=0)
    i = np.arange(n)
    matrix[:, c.FRAME] = i + 1
    matrix[:, c.TS] += i * US
    matrix[:, c.SRC_LO] += i % 251
    matrix[:, c.PORTS] = 4 << 32 | (i // 251 + 1000) << 16 | 443
    return matrix


def test_a_hundred_thousand_sessions() -> None:
    n = 100_000
    matrix = _flood(n)
    state = SessionFold()
    for at in range(0, n, 2048):
        state.feed(matrix[at : at + 2048])
    assert state.n == n
    assert matrix[:, c.SESSION].tolist() == list(range(n))
    again = _flood(n)[::-1].copy()  # all are found again
    state.feed(again)
    assert state.n == n
    assert again[:, c.SESSION].tolist() == list(range(n))[::-1]
    assert 2 * n <= len(state.arrays.table) <= 8 * n
    assert (state.state()[:, SIDE + module.FRAMES] == 2).all()


@pytest.mark.parametrize("what", ["address and port", "upper address bits"])
def test_colliding_by_design_takes_the_seed(what: str) -> None:
    """5-tuples that differ so that sums or shifts of their fields are equal: no seed may give them one hash."""
    n = 4000
    matrix = _flood(n)
    i = np.arange(n)
    if what == "address and port":
        matrix[:, c.SRC_LO] = matrix[0, c.SRC_LO]
        matrix[:, c.DST_LO] = matrix[0, c.DST_LO] + i
        matrix[:, c.PORTS] = 4 << 32 | 1000 << 16 | (40_000 - i)
    else:
        matrix[:, c.SRC_HI] = 0x2001 << 48
        matrix[:, c.SRC_LO] = i << 48
        matrix[:, c.PORTS] = 6 << 32 | 1000 << 16 | 443
    hashes = {int(session_lookup.key_hash(row, 12345)) for row in matrix}
    assert len(hashes) == n
    clients = set()
    state = SessionFold(seed=99)
    state.feed(matrix)
    clients = {int(session_lookup.client_hash(s, 99)) for s in state.state()}
    assert len(clients) == (1 if what == "address and port" else n)
    assert state.n == n


def test_rows_are_made_by_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes a share of them, with addresses and histories of its own; there may be more of these than there is room for at first."""
    packets = mixed(*(Talk((f"10.{k >> 8}.{k & 255}.2", 4000), ("203.0.113.10", 443), k, k, k * MS).open().packets for k in range(1500)))
    made = fold([*packets, *_captures(random.Random(3), 4)])
    alone = list(made.rows().records())
    assert len({row["orig_ip"] for row in alone}) >= 1500
    for cores in (2, 3, 7):
        monkeypatch.setattr(session_rows, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(session_rows, "LEAST_SHARE", 100)
        assert list(made.rows().records()) == alone
        assert [row for block in made.blocks(size=333) for row in block.records()] == alone


def test_the_last_rows_use_up_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_rows, "AT_A_TIME", 7)
    monkeypatch.setattr(arrays, "HUGE", 4096)
    made = fold(_captures(random.Random(4), 40))
    rows_of_it, n = list(made.rows().records()), made.n
    assert list(made.last_rows().records()) == rows_of_it
    assert (made.n, made.given_up) == (n, (0, None))
    for asks in (made.state, made.rows, made.missing):
        with pytest.raises(RuntimeError, match="used up"):
            asks()


def test_no_letter_is_not_the_letter_that_is_zero() -> None:
    """A first segment without flags has no letter, and where ports tell the roles, the mark for that and no other."""
    up = segment(("10.0.0.2", 40000), ("10.0.0.3", 443), "", 1)
    down = segment(("10.0.0.3", 443), ("10.0.0.4", 40000), "", 1)
    told = fold([Packet(0, up), Packet(MS, down)])
    assert told.rows()["history"].tolist() == ["", "^"]


def test_equal_hashes_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sessions in one chain of slots: a table whose every key is equal is slow, never wrong."""
    packets = _captures(random.Random(8), 6)
    _, matrix = rows(packets)
    whole = SessionFold()
    whole.feed(matrix.copy())
    uncompiled = [
        (sessions_module, "fold"),
        (sessions_module, "rehash"),
        (session_fold, "begin"),
        (session_fold, "_segment"),
        (session_lookup, "_find_mate"),
        (session_lookup, "find_again"),
        (session_lookup, "key_again"),
        (session_lookup, "newest_of_client"),
    ]
    for room, name in uncompiled:  # so that the hashes can be replaced
        monkeypatch.setattr(room, name, getattr(room, name).py_func)
    for room, name in ((session_fold, "key_hash"), (session_lookup, "key_hash"), (session_lookup, "client_hash")):
        monkeypatch.setattr(room, name, lambda row, seed: np.int64(7))
    with np.errstate(over="ignore"):
        slow = SessionFold()
        slow.feed(matrix.copy())
        slow._rehash(64 * len(matrix))
        _same(slow, whole)
    assert np.count_nonzero(slow.arrays.table) > 1
    assert (slow.arrays.table[7 : 7 + np.count_nonzero(slow.arrays.table)] != 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_short_way_is_the_long_way(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """What the fold does for segments of a steady session is what it does for all others."""
    rng = random.Random(seed)
    _, matrix = rows(_captures(rng, 6))
    for row in matrix:
        if rng.random() < 0.1:
            row[c.HINT] = rng.randrange(6)
        if rng.random() < 0.05:
            row[c.WINDOW] = 0
        if rng.random() < 0.05:
            row[c.ACK] = (row[c.ACK] + rng.choice([-3000, -1, 1, 3000])) & 0xFFFFFFFF
        if rng.random() < 0.05:
            row[c.SEQ] = (row[c.SEQ] + rng.choice([-3000, -1, 1, 3000])) & 0xFFFFFFFF
        if rng.random() < 0.05:
            row[c.FLAGS] = rng.choice([0x10, 0x18, 0x14, 0x11, 0x02, 0x00, 0x30])
        if rng.random() < 0.05:
            row[c.LENGTH] = rng.choice([0, 1, 70_000])
    short, short_rows = SessionFold(seed=1), matrix.copy()
    short.feed(short_rows)
    steady = (short.state()[:, module.FSM] & module.STEADY_MASK) >> module.STEADY_SHIFT & 15 != 0
    assert steady.any()
    long, long_rows = SessionFold(seed=1), matrix.copy()
    monkeypatch.setattr(sessions_module, "fold", session_fold.fold.py_func)
    monkeypatch.setattr(session_fold, "_segment", session_fold._segment.py_func)
    monkeypatch.setattr(session_fold, "_short_way", lambda *_: False)
    with np.errstate(over="ignore"):
        long.feed(long_rows)
    assert (short_rows == long_rows).all()
    assert (short.state() == long.state()).all()
    assert (short.arrays.sparse.holes == long.arrays.sparse.holes).all()
    assert (short.rare() == long.rare()).all()
    assert (short.arrays.counts == long.arrays.counts).all()
