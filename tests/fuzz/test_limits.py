"""Every bound on what a capture of a stranger may cost, with an input beyond it."""

from __future__ import annotations

import gzip
import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netlens.analysis import Analysis, analyze
from netlens.api import Capture
from netlens.chains.inputs import Inputs
from netlens.parsers import session_state as s_
from netlens.parsers.hello_scan import SLOT_BYTES
from netlens.parsers.pipeline import Part
from netlens.parsers.session_fold import MAX_JUMP
from netlens.parsers.session_lookup import WAITING
from netlens.parsers.sessions import SessionFold
from netlens.report import html, page_data, scene
from netlens.wire import columns as c
from netlens.wire import dns, fragments, framing, gunzip, tls
from netlens.wire.containers import Reader
from tests.wire import helpers
from tests.wire.hello import read_hello


def read(path: Path) -> Reader:
    reader = Reader([path])
    for _ in reader.batches():
        pass
    return reader


def warnings(reader: Reader) -> list[str]:
    return [w for i in reader.inputs for w in i.warnings]


# --- containers -------------------------------------------------------------------------------------------------------------------------


def test_a_gzip_that_becomes_a_thousand_times_as_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzip, "GUNZIP_FREE", 4 << 20)
    path = tmp_path / "bomb.pcap.gz"
    path.write_bytes(gzip.compress(helpers.pcap([b"\x45" * 40]) + bytes(64 << 20)))
    reader = read(path)
    (warning,) = warnings(reader)
    assert "more than 200 times its size" in warning
    assert reader.frame < (20 << 20) // 16  # 200 times its 65 kB, in records of 16 bytes


def test_a_capture_that_compresses_well_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzip, "GUNZIP_FREE", 1 << 20)
    path = tmp_path / "one-flow.pcap.gz"
    path.write_bytes(gzip.compress(helpers.pcap([helpers.ip4(helpers.tcp(bytes(1400), seq=i * 1400)) for i in range(4000)])))
    reader = read(path)
    assert reader.frame == 4000
    assert warnings(reader) == []


def test_a_pcapng_of_nothing_but_interfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20)
    path = tmp_path / "interfaces.pcapng"
    path.write_bytes(section + interface * (framing.MAX_INTERFACES + 1))
    (warning,) = warnings(read(path))
    assert "more than 65536 interfaces in one section" in warning
    monkeypatch.setattr(framing, "MAX_DESCRIPTIONS", 1000)
    path.write_bytes((section + interface) * 501)
    (warning,) = warnings(read(path))
    assert "more than 1000 sections and interfaces" in warning


# --- fragments --------------------------------------------------------------------------------------------------------------------------


def _fragment_rows(pieces: list[tuple[int, int, int]]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(identification, offset, bytes) of fragments that are never the last."""
    return np.array(
        [[i + 1, 1, 0, 4, 0, 1, 0, 2, ident, 17, at * 2 + 1, 0, size, size] for i, (ident, at, size) in enumerate(pieces)], np.int64
    )


def test_fragments_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "MAX_RUNS", 100)
    held, quality = fragments.Fragments(), np.zeros((64, 2), np.int64)
    held.feed(np.zeros(8, np.uint8), _fragment_rows([(ident, at * 16, 8) for ident in range(20) for at in range(30)]), quality)
    assert held.runs == sum(len(d.starts) for d in held.open.values()) <= 130
    assert held.given_up + len(held.open) == 20
    many = _fragment_rows([(ident, 0, 8) for ident in range(fragments.MAX_DATAGRAMS + 50)])
    monkeypatch.setattr(fragments, "MAX_RUNS", 1 << 16)
    held = fragments.Fragments()
    held.feed(np.zeros(8, np.uint8), many, quality)
    assert (len(held.open), held.given_up, held.runs) == (fragments.MAX_DATAGRAMS, 50, fragments.MAX_DATAGRAMS)


# --- DNS --------------------------------------------------------------------------------------------------------------------------------


def _name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def test_cname_chains_are_followed_sixteen_steps(tmp_path: Path) -> None:
    question = _name("n0.test") + struct.pack(">HH", 1, 1)
    steps = 40
    records = b""
    for i in range(steps):
        target = _name(f"n{i + 1}.test")
        records += _name(f"n{i}.test") + struct.pack(">HHIH", 5, 1, 60, len(target)) + target
    records += _name(f"n{steps}.test") + struct.pack(">HHIH", 1, 1, 60, 4) + bytes(4)
    head = struct.pack(">HHHHHH", 1, 0x8180, 1, steps + 1, 0, 0)
    path = tmp_path / "chain.pcap"
    query = helpers.udp(struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + question)
    answer = helpers.udp(head + question + records, sport=53, dport=40000)
    path.write_bytes(helpers.pcap([helpers.ip4(query, 17), helpers.ip4(answer, 17, src="192.0.2.2", dst="192.0.2.1")]))
    (row,) = Capture([path], ["lookups"]).lookups.to_dict("records")
    assert len(row["cnames"]) == dns.MAX_CNAMES
    assert row["answers"] == []


@pytest.mark.parametrize("pointers", [1, dns.MAX_POINTERS, dns.MAX_POINTERS + 1, 5000])
def test_pointers_to_pointers(pointers: int) -> None:
    message = bytearray(12) + _name("x")
    target = 12
    for _ in range(pointers):
        at = len(message)
        message += struct.pack(">H", 0xC000 | target)
        target = at
    buf, arena = np.frombuffer(bytearray(message), np.uint8), np.zeros(600, np.uint8)
    after, used, _ = dns.read_name(buf, 0, len(buf), target, arena, 0, 600, True)
    assert (after, arena[:used].tobytes()) == ((len(buf), b"x") if pointers <= dns.MAX_POINTERS else (-1, b""))


@pytest.mark.parametrize("target", [0, 1, 2, 5])
def test_pointers_that_lead_in_a_circle(target: int) -> None:
    message = bytearray(12) + bytearray(b"\1a\xc0\x0c") + struct.pack(">H", 0xC00C + target)
    buf, arena = np.frombuffer(bytearray(message), np.uint8), np.zeros(600, np.uint8)
    for start in (12, 14, 16):
        after, _, _ = dns.read_name(buf, 0, len(buf), start, arena, 0, 600, True)
        assert after == -1


# --- TLS --------------------------------------------------------------------------------------------------------------------------------


def _hello(extra: int) -> bytes:
    extensions = b"\0\0\0\x10\0\x0e\0\0\x0bexample.org" + struct.pack(">HH", 21, extra % 65000) + bytes(extra % 65000)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack(">H", len(extensions) & 0xFFFF) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"".join(
        b"\x16\3\1" + struct.pack(">H", len(message[i : i + 16384])) + message[i : i + 16384] for i in range(0, len(message), 16384)
    )


def test_hellos_longer_than_any_client_sends() -> None:
    assert read_hello(_hello(1000)) is not None
    claims = b"\x16\3\1\x40\0\1" + (tls.MAX_MESSAGE + 1).to_bytes(3, "big") + b"\3\3" + bytes(16000)
    assert read_hello(claims) is None


def test_a_hello_that_does_not_fit_its_slot_is_given_up_and_counted(tmp_path: Path) -> None:
    data = _hello(40000)
    path = tmp_path / "long.pcap"
    packets = [helpers.ip4(helpers.tcp(flags=2, seq=999))]
    packets += [helpers.ip4(helpers.tcp(data[i : i + 1400], seq=1000 + i)) for i in range(0, len(data), 1400)]
    assert len(data) > SLOT_BYTES
    path.write_bytes(helpers.pcap(packets))
    capture = Capture([path], ["hellos", "quality"])
    assert "hello_given_up" in set(capture.quality["reason"])
    assert len(capture.hellos) == 1  # what was there of it: its name stands at its begin


# --- sessions ---------------------------------------------------------------------------------------------------------------------------


def _syns(count: int, begin: int = 0) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Packet rows of SYNs of as many different clients, in batches."""
    for at in range(begin, begin + count, c.BATCH):
        n = min(c.BATCH, begin + count - at)
        rows = np.zeros((n, c.WIDTH), np.int64)
        rows[:, c.FRAME] = np.arange(at, at + n) + 1
        rows[:, c.TS] = 1_700_000_000_000_000_000 + rows[:, c.FRAME] * 1000
        rows[:, c.SRC_LO], rows[:, c.DST_LO] = c.V4_PREFIX | (0x0B000000 + np.arange(at, at + n)), c.V4_PREFIX | 0x0A000001
        rows[:, c.PORTS] = 4 << 32 | 40000 << 16 | 443
        rows[:, c.KIND], rows[:, c.FLAGS], rows[:, c.SEQ], rows[:, c.TSVAL], rows[:, c.SESSION] = c.TCP, c.SYN, 99, -1, -1
        rows[:, c.WINDOW] = 8192
        yield rows


def _answered(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]], frame: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The SYN+ACK to a SYN, and the client's data behind it."""
    out = np.concatenate([rows, rows])
    out[0, [c.SRC_LO, c.DST_LO]] = rows[0, [c.DST_LO, c.SRC_LO]]
    out[0, [c.PORTS, c.FLAGS, c.SEQ, c.ACK]] = 4 << 32 | 443 << 16 | 40000, c.SYN | c.ACK_FLAG, 500, 100
    out[1, [c.FLAGS, c.SEQ, c.ACK, c.LENGTH]] = c.ACK_FLAG | c.PSH, 100, 501, 10
    out[:, c.FRAME] = frame, frame + 1
    return out


def test_a_flood_of_syns_is_bounded_and_counted_and_hides_no_connection() -> None:
    fold, flood = SessionFold(seed=1), s_.MAX_SLIGHT + 3 * WAITING
    seen = 0
    for number, rows in enumerate(_syns(flood)):
        fold.feed(rows)
        if number % 20 == 0:  # one client of it is real
            seen += 1
            answer = _answered(rows[-1:].copy(), int(rows[-1, c.FRAME]))
            fold.feed(answer)
            assert (answer[:, c.SESSION] >= 0).all()
            assert answer[1, c.FRESH] == 10
    # a real one that is answered gives its place back
    assert s_.MAX_SLIGHT <= fold.n <= s_.MAX_SLIGHT + seen
    table = fold.rows()
    whole = table["history"] == "ShD"
    assert whole.sum() == seen
    assert (table["orig_bytes"][whole] == 10).all()
    lost, first = fold.given_up
    assert fold.n + lost == flood
    assert first is not None
    assert first > s_.MAX_SLIGHT
    assert len(fold.sessions) * s_.S_WIDTH * 8 < 200e6


def test_repeated_syns_of_a_flood_are_not_counted_again() -> None:
    # with this seed none of the hundred shares a place with another; of two that do, each would send the other away three times
    fold = SessionFold(seed=1)
    for rows in _syns(s_.MAX_SLIGHT):
        fold.feed(rows)
    for _ in range(3):
        for rows in _syns(100, s_.MAX_SLIGHT):
            fold.feed(rows)
            assert (rows[:, c.SESSION] == -1).all()
    assert fold.given_up[0] == 100
    assert fold.n == s_.MAX_SLIGHT


def test_without_a_flood_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "few.pcap"
    path.write_bytes(helpers.pcap([helpers.ip4(helpers.tcp(flags=2, sport=i)) for i in range(1000, 2000)]))
    part = Part(("sessions",))
    for batch in Reader([path]).batches():
        part.feed(batch)
    assert part.fold.n == 1000
    assert part.fold.given_up == (0, None)
    assert "sessions_given_up" not in set(part.quality()["reason"].tolist())


def test_parts_of_a_flood_are_merged_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    first, later = SessionFold(seed=1), SessionFold(deferred=True, seed=2)
    whole = SessionFold(seed=1)
    flood = s_.MAX_SLIGHT + 5000
    for rows in _syns(flood):
        again = rows.copy()
        whole.feed(again)
        (first if rows[0, c.FRAME] < flood // 2 else later).feed(rows)
    first.merge(later)
    assert first.n == whole.n
    assert first.given_up == whole.given_up
    assert (first.state() == whole.state()).all()


def _segments(port: int, offsets: list[int], length: int = 100) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Packet rows of a client: its SYN, then segments of ``length`` bytes at these offsets."""
    rows = np.zeros((1 + len(offsets), c.WIDTH), np.int64)
    rows[:, c.FRAME] = np.arange(len(rows)) + 1
    rows[:, c.TS] = 1_700_000_000_000_000_000 + rows[:, c.FRAME] * 1000
    rows[:, c.SRC_LO], rows[:, c.DST_LO] = c.V4_PREFIX | 0x0B000001, c.V4_PREFIX | 0x0A000001
    rows[:, c.PORTS] = 4 << 32 | port << 16 | 443
    rows[:, c.KIND], rows[:, c.FLAGS], rows[:, c.TSVAL], rows[:, c.SESSION], rows[:, c.WINDOW] = c.TCP, c.ACK_FLAG, -1, -1, 8192
    rows[0, c.FLAGS], rows[0, c.SEQ] = c.SYN, 99
    rows[1:, c.SEQ], rows[1:, c.LENGTH] = (np.array(offsets) + 100) & 0xFFFFFFFF, length
    return rows


def test_a_hole_that_is_made_again_and_again_is_one() -> None:
    """Jumps of a gigabyte back and forth: holes that lay over each other would all be split by one segment (more rows than there are), and filled by it."""
    again = [1000]
    for _ in range(100):
        again += [1000 - MAX_JUMP, -100, 1000]  # back, forth to the begin, and the hole from there to 1000
    fold = SessionFold()
    rows = _segments(50000, [*again, 500])
    fold.feed(rows[:-1])
    before = int(fold.arrays.counts[s_.HOLES_USED])
    fold.feed(rows[-1:])
    assert fold.arrays.counts[s_.HOLES_USED] <= before + 1
    assert rows[-1, c.FRESH] == 100
    assert before < 100 + 10
    (missing,) = fold.rows()["orig_missing_bytes"]
    assert missing < MAX_JUMP + 2000


@pytest.mark.parametrize("free", range(1, 6))
def test_holes_have_room(free: int) -> None:
    """A segment that splits a hole, and one that jumps and acknowledges, where the rows of holes are nearly all in use."""
    fold = SessionFold()
    rows = len(fold.arrays.sparse.holes)
    for port in range(1, 50):
        if (wanted := min(200, rows - 1 - free - int(fold.arrays.counts[s_.HOLES_USED]))) == 0:
            break
        segments = _segments(port, [2000 * (i + 1) for i in range(wanted)])
        fold.feed(segments)
    segments = _segments(50000, [10_000, 5_000, 20_000, 15_000, 30_000])
    for i in range(len(segments)):
        fold.feed(segments[i : i + 1])
        assert fold.arrays.counts[s_.HOLES_USED] < len(fold.arrays.sparse.holes)


# --- as they are told ---------------------------------------------------------------------------------------------------------------------


def test_the_limits_are_as_they_are_told(root: Path) -> None:
    rows = [line.split("|") for line in (root / "SECURITY.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    told = {row[3].strip(" `"): int(row[2].replace(",", "")) for row in rows if len(row) == 5 and row[2].replace(",", "").strip().isdigit()}
    assert len(told) > 15
    for name, value in told.items():
        module, _, constant = name.rpartition(".")
        assert getattr(importlib.import_module(f"netlens.{module}"), constant) == value, name


# --- what is written --------------------------------------------------------------------------------------------------------------------


def _found(path: Path, connections: int) -> Analysis:
    packets = []
    for i in range(connections):
        ends = {"src": f"10.{i >> 8}.{i & 255}.1", "dst": "203.0.113.9"}
        packets += [helpers.ip4(helpers.tcp(flags=2, seq=99), **ends), helpers.ip4(helpers.tcp(b"GET / HTTP/1.1\r\n\r\n", seq=100), **ends)]
    path.write_bytes(helpers.pcap(packets))
    found = analyze({None: Capture([path])}, Inputs({None: (str(path),)}))
    assert found.counts["sessions"] == connections
    return found


def test_findings_do_not_grow_with_the_capture(tmp_path: Path) -> None:
    assert len(json.dumps(_found(tmp_path / "many.pcap", 3000).to_dict())) < 100_000


def test_the_page_grows_by_a_bar_a_connection_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are cut; what is drawn of a connection and of its request takes a fifth of what they take in a capture."""
    monkeypatch.setattr(page_data, "MAX_ROWS", 100)
    monkeypatch.setattr(scene, "MAX_CALLS", 100)
    few, many = (
        len(html.render(found, found.to_dict())) for found in (_found(tmp_path / "a.pcap", 1000), _found(tmp_path / "b.pcap", 4000))
    )
    assert many - few < 48 * 3000
