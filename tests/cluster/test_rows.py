"""Rows of rotated files, each read on its own, are those of one process, wherever the cuts are."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netlens.cluster import fragments as fragments_module
from netlens.cluster import keys as keys_module
from netlens.cluster import plan as plan_module
from netlens.cluster import scan as scan_module
from netlens.errors import CaptureError, NetlensError
from netlens.parsers import session_state
from tests.cluster.rotate import anywhere, assert_same, cut, in_turn
from tests.fuzz.targets import traffic_capture
from tests.parsers import build
from tests.parsers.build import MS, US, Packet, S, Talk, datagram, mixed, rewritten
from tests.parsers.test_pipeline import ANSWER, HELLO, QUERY, a_capture, conversation, lookup_over_tcp, pcap
from tests.parsers.test_sessions import _captures

CLIENT, SERVER, NEAR = ("10.0.0.2", 40000), ("203.0.113.10", 443), ("127.0.0.1", 12300)


def check(data: bytes, cuts: Sequence[int], folder: Path, rng: random.Random | None = None, pack: bool = False) -> None:
    (folder / "whole.pcap").write_bytes(data)
    paths = cut(folder / "whole.pcap", folder, cuts, pack)
    assert_same(in_turn(paths, rng or random.Random(0)), paths, note=tuple(cuts))


def every_cut(packets: Sequence[Packet], folder: Path, most: int = 2) -> None:
    """All ways to cut once, and with ``most`` 2 all ways to cut twice."""
    data = build.pcap(packets)
    for cuts in itertools.combinations_with_replacement(range(len(packets) + 1), most):
        check(data, cuts, folder)


# -- anything, cut anywhere --


def test_recordings_cut_anywhere(captures: Path, tmp_path: Path) -> None:
    rng = random.Random(6)
    found = sorted(captures.glob("*/*.pcap.gz"))
    assert len(found) > 20
    for i, capture in enumerate(found):
        paths = cut(capture, tmp_path / str(i), anywhere(rng, 1500, 6), pack=i % 5 == 0)
        assert_same(in_turn(paths, rng), paths, note=capture)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuts")


@given(seed=st.integers(0, 2**32))
@example(seed=15988)
@settings(max_examples=100)
def test_conversations_and_lookups(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    packets = a_capture(rng)
    check(pcap(packets), anywhere(rng, len(packets), rng.choice([1, 2, 3, 8])), folder, rng)


@given(seed=st.integers(0, 2**32))
@example(seed=20805)
@settings(max_examples=100)
def test_ports_used_again_halves_and_losses(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    packets = _captures(rng, rng.randint(1, 8))
    check(build.pcap(packets), anywhere(rng, len(packets), rng.choice([1, 2, 3, 8])), folder, rng)


@given(data=st.binary(min_size=20, max_size=600), seed=st.integers(0, 2**32))
@settings(max_examples=100)
def test_nonsense(data: bytes, seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    check(traffic_capture(data), anywhere(rng, len(data) // 10, rng.choice([1, 2, 3, 8])), folder, rng)


@pytest.mark.parametrize("what", ["rows", "payload"])
def test_what_was_not_kept_is_read_again(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows where the guess about what other files may ask for is always wrong, and where payload has no room."""
    again = []
    scan = scan_module.scan

    def counted(*arguments: object) -> object:
        again.append(len(arguments) > 3)
        return scan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan_module, "scan", counted)
    if what == "rows":
        monkeypatch.setattr(scan_module, "_edge", lambda state, *_: np.zeros(len(state), bool))
    else:
        monkeypatch.setattr(scan_module, "PAYLOAD_BYTES", 0)
    for seed in range(40):
        rng = random.Random(seed)
        packets = a_capture(rng)
        check(pcap(packets), anywhere(rng, len(packets), 4), tmp_path, rng)
    assert any(again)


def test_equal_hashes_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections whose hashes are equal go together, which is more work and no other rows."""
    monkeypatch.setattr(keys_module, "_mixed", lambda x: x & np.uint64(1))
    for seed in range(20):
        rng = random.Random(seed)
        packets = _captures(rng, 6)
        check(build.pcap(packets), anywhere(rng, len(packets), 4), tmp_path, rng)


def test_the_plan_is_what_makes_them_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the comparison above fails: it can see a difference."""
    monkeypatch.setattr(plan_module, "_same_flows", lambda s, _: (np.zeros(len(s), bool),) * 2 + (np.zeros((len(s), 2), bool),) * 2)
    with pytest.raises(AssertionError):
        check(build.pcap(Talk(CLIENT, SERVER).open().close().packets), [3], tmp_path)


# -- one case each, cut everywhere --


def test_redirect_halves(tmp_path: Path) -> None:
    """What the client sends and what it receives are two sessions, which find each other over files; the port is used twice."""
    packets: list[Packet] = []
    for i in range(2):
        t = Talk(CLIENT, SERVER, 1_000_003 * (i + 1), 5_000_011 * (i + 1), at=i * S).open()
        t.up("PA", 600)
        t.down("PA", 1400)
        t.close()
        packets += [rewritten([p], {SERVER: NEAR}, 0, 1)[0] if p.data[20:22] == struct.pack(">H", CLIENT[1]) else p for p in t.packets]
    every_cut(packets, tmp_path)
    # nothing but the client's address and port ties them: each half is one frame, and the files between hold others
    between = Talk(("10.0.0.3", 40000), SERVER, at=10 * US, step=10 * US).open()
    every_cut([packets[0], *between.packets, packets[1]], tmp_path)


def test_nat_copies(tmp_path: Path) -> None:
    t = Talk(CLIENT, SERVER).open()
    t.up("PA", HELLO)
    t.down("PA", 900)
    t.close()
    every_cut(mixed(t.packets, rewritten(t.packets, {CLIENT: ("198.51.100.1", 61000)})), tmp_path, most=1)


def test_a_port_used_again_in_another_file(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for i, isn in enumerate((100, 70_000, 70_000, 4_000_000_000)):  # the third has the number of the second
        t = Talk(CLIENT, SERVER, isn, isn + 5, at=i * 30 * S).open()
        t.up("PA", 10)
        t.close()
        packets += t.packets[: 4 if i == 0 else None]  # the first is not closed
    every_cut(packets, tmp_path, most=1)
    check(build.pcap(packets), [4, 11, 18], tmp_path)


def test_a_syn_again_in_the_next_file(tmp_path: Path) -> None:
    """Sent again without an answer, or captured again behind some of a hello or a question: it begins nothing."""
    unanswered = Talk(CLIENT, SERVER)
    unanswered.up("S")
    for pause in (1, 3, 7):
        unanswered.wait(pause * S).again()
    every_cut(unanswered.packets, tmp_path)
    hello = conversation("10.0.0.2", 4000, "203.0.113.10", 77, False, 3, 1, "fin")
    question = lookup_over_tcp(5000, 9)
    for stream, places in ((hello, (4, 5, 6)), (question, (3, 4, 5))):
        for place in places:
            packets = [*stream[:place], stream[0], *stream[place:]]
            data = pcap([(1000 * i, p) for i, p in enumerate(packets)])
            for i in range(len(packets) + 1):
                check(data, [i], tmp_path)


@pytest.mark.parametrize("pieces", [2, 5])
def test_a_hello_in_several_files(pieces: int, tmp_path: Path) -> None:
    stream = conversation("10.0.0.2", 4000, "203.0.113.10", 2**32 - 300, False, pieces, 2, "fin")
    data = pcap([(1000 * i, p) for i, p in enumerate(stream)])
    for i, j in itertools.combinations(range(pieces + 6), 2):
        check(data, [i, j], tmp_path)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [4, 5])
    made = in_turn(paths, random.Random(0))
    assert made.table("sessions")["sni"].tolist() == ["api.example.test"]


def test_questions_asked_again_in_other_files(tmp_path: Path) -> None:
    resolver = ("10.0.0.53", 53)
    out = [Packet(i * 5 * S, datagram(("10.0.0.2", 6000), resolver, QUERY)) for i in range(3)]
    out += [Packet(10 * S + 40 * MS, datagram(resolver, ("10.0.0.2", 6000), ANSWER))]
    out += [Packet(11 * S + i * MS, p) for i, p in enumerate(lookup_over_tcp(5000, 2**32 - 4))]
    every_cut(out, tmp_path)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [1, 2, 3])
    assert in_turn(paths, random.Random(0)).table("lookups")["attempts"].tolist() == [3, 1]


def _fragments(at: int, ident: int, data: bytes, size: int = 16) -> list[Packet]:
    """An IPv4 packet in pieces of ``size`` bytes of payload."""
    header, payload = data[:20], data[20:]
    pieces = []
    for i in range(0, len(payload), size):
        piece = payload[i : i + size]
        more = 0x2000 if i + size < len(payload) else 0
        fields = struct.pack(">HHH", 20 + len(piece), ident, more | i // 8)
        pieces.append(Packet(at + i * MS, header[:2] + fields + header[8:] + piece))
    return pieces


def test_fragments_in_several_files(tmp_path: Path) -> None:
    resolver = ("10.0.0.53", 53)
    asked = _fragments(0, 7, datagram(("10.0.0.2", 6000), resolver, QUERY))
    assert len(asked) == 3
    every_cut([*asked, Packet(S, datagram(resolver, ("10.0.0.2", 6000), ANSWER))], tmp_path)
    # the first piece of another datagram of the same number was lost: what is old is not joined to what is new, what is not is
    for later in (10 * S, 70 * S):
        again = _fragments(later, 7, datagram(("10.0.0.2", 6001), resolver, QUERY))
        every_cut([asked[0], *again, Packet(later + S, datagram(resolver, ("10.0.0.2", 6001), ANSWER))], tmp_path)


def test_more_fragments_than_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments_module, "MAX_SEEN", 1)
    resolver = ("10.0.0.53", 53)
    streams = [_fragments(i * MS, 7 + i, datagram(("10.0.0.2", 6000 + i), resolver, QUERY)) for i in range(3)]
    every_cut(mixed(*streams), tmp_path)


def test_interfaces_are_told_apart_by_position_type_and_name(tmp_path: Path) -> None:
    """A repetition on the same interface is a retransmission, on another one a copy; files count their interfaces anew."""

    def pcapng(names: Sequence[bytes], frames: Sequence[tuple[int, Packet]]) -> bytes:
        def block(kind: int, body: bytes) -> bytes:
            body += bytes(-len(body) % 4)
            return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))

        out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        for name in names:
            out += block(1, struct.pack("<HHI", 101, 0, 0) + struct.pack("<HH", 2, len(name)) + name + bytes(-len(name) % 4) + bytes(4))
        for iface, p in frames:
            time = (build.T0 + p.at) // 1000
            out += block(6, struct.pack("<IIIII", iface, time >> 32, time & 0xFFFFFFFF, len(p.data), len(p.data)) + p.data)
        return out

    t = Talk(CLIENT, SERVER).open()
    for _ in range(4):
        t.up("PA", 100)
        t.again()
    t.close()
    made = t.packets
    paths = []
    named = (b"eth0", b"eth1"), (b"eth1", b"eth0"), (b"eth2", b"eth1")
    for i, names in enumerate(named):
        path = tmp_path / f"{i}.pcapng"
        path.write_bytes(pcapng(names, [(k % 2, p) for k, p in enumerate(made[5 * i : 5 * i + 5])]))
        paths.append(str(path))
    assert_same(in_turn(paths, random.Random(0)), paths)


def test_snaplen_and_empty_files(tmp_path: Path) -> None:
    data = traffic_capture(bytes(range(200)))
    check(data, [0, 0, 5, 5, 5, 20, 20], tmp_path)


# -- what is told --


def test_damage_and_order_are_told_as_by_one_process(tmp_path: Path) -> None:
    import netlens

    packets = [Packet(i * S, p.data) for i, p in enumerate(Talk(CLIENT, SERVER).open().close().packets)]
    build.write(tmp_path / "whole.pcap", packets)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [2, 4])
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:-5])
    order = [paths[2], paths[0], paths[1]]
    made, whole = in_turn(order, random.Random(0)), netlens.read(order)
    assert_same(made, order)
    assert made.warnings == whole.warnings
    assert len(made.warnings) == 2


def test_a_flood_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_state, "MAX_SLIGHT", 10)
    packets = [Packet(i * MS, build.segment(("10.0.0.2", 1000 + i), SERVER, "S", i)) for i in range(20)]
    build.write(tmp_path / "whole.pcap", packets)
    made = in_turn(cut(tmp_path / "whole.pcap", tmp_path, [7]), random.Random(0))
    assert made.table("sessions").rows == 20
    assert made.warnings[0].startswith("20 sessions are one frame or unanswered SYNs")


def test_a_file_that_changes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_edge", lambda state, *_: np.zeros(len(state), bool))
    build.write(tmp_path / "whole.pcap", Talk(CLIENT, SERVER).open().close().packets)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [3])
    found = scan_module.scan([paths[1]], ("sessions",), 1)
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes()[:24])
    with pytest.raises(CaptureError, match="changed while it was read"):
        scan_module.piece(found, np.ones(1, bool), 1, *[np.zeros(0, np.int64)] * 3)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    build.write(tmp_path / "whole.pcap", [])
    with pytest.raises(NetlensError, match="no table 'hellos'"):
        in_turn([str(tmp_path / "whole.pcap")], random.Random(0), ("hellos",))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
@example(seed=1885)
def test_a_hello_behind_many_segments(seed: int, folder: Path) -> None:
    """A stream is looked at for a hello only so long, over all files; then its payload is not handed on."""
    rng = random.Random(seed)
    t = Talk(CLIENT, SERVER, rng.randrange(2**32), rng.randrange(2**32)).open()
    for _ in range(rng.choice([0, 3, 20, 31, 32, 33, 45])):
        rng.choice([t.up, t.down])("PA", rng.randint(1, 30))
        if rng.random() < 0.1:
            t.again()
    size = rng.choice([100, 200, len(HELLO)])
    for at in range(0, len(HELLO), size):
        t.up("PA", HELLO[at : at + size])
        if rng.random() < 0.2:
            t.down()
    for _ in range(rng.choice([0, 8, 40])):
        rng.choice([t.up, t.down])("PA", 10)
    packets = [p for p in t.packets[rng.choice([0, 0, 2]) :] if rng.random() > rng.choice([0, 0.03])]
    check(build.pcap(packets), anywhere(rng, len(packets), 4), folder, rng)


def test_payload_that_is_not_looked_at_stays(tmp_path: Path) -> None:
    t = Talk(CLIENT, SERVER).open()
    for _ in range(120):
        t.down("PA", 1000)
        t.up()
    build.write(tmp_path / "whole.pcap", t.packets)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [83, 163])
    found = [scan_module.scan([p], ("sessions",), 1) for p in paths]
    plan = plan_module.plan([f.facts.keys for f in found])
    pieces = [
        scan_module.piece(f, h == 0, 1, *more) for f, h, *more in zip(found, plan.homes, plan.resumed, plan.quiet, plan.smooth, strict=True)
    ]
    assert [len(p.rows) for p in pieces] == [83, 80, 80]
    assert [len(p.payload.data) for p in pieces] == [0, 0, 0]
    assert len(found[1].payload.data) >= 32_000


def test_one_side_of_everything_binds_nothing(tmp_path: Path) -> None:
    """Where the other side takes another way, a client's port that is used again does not tie its sessions together."""
    packets: list[Packet] = []
    for i in range(4):
        t = Talk(CLIENT, (SERVER[0], 443 + i), 1000 * i, at=i * S)
        for flags, size in (("S", 0), ("A", 0), ("PA", 100), ("FA", 0)):
            t.up(flags, size)
        packets += t.packets
    build.write(tmp_path / "whole.pcap", packets)
    paths = cut(tmp_path / "whole.pcap", tmp_path, [4, 8, 12])
    plan = plan_module.plan([scan_module.scan([p], ("sessions",), 1).facts.keys for p in paths])
    assert [h.tolist() for h in plan.homes] == [[plan_module.OWN]] * 4
    assert_same(in_turn(paths, random.Random(0)), paths)
