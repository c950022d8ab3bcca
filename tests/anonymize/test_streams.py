"""What is spread over frames: hellos, DNS over TCP, fragments; in order, out of order, with holes."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest

from netlens.anonymize import streams
from netlens.anonymize.mapper import Mapper
from netlens.api import Capture
from tests.anonymize.frames import SECRET, anonymous, assert_alike
from tests.parsers.build import NEGOTIATED, Packet, Talk, pcap, segment
from tests.wire import helpers as w
from tests.wire.helpers import decode_paths, ip4, udp
from tests.wire.test_tls import chrome, records

CLIENT, SERVER = ("192.168.64.2", 50000), ("203.0.113.10", 443)
MAPPER = Mapper(SECRET)


def question(name: str, ident: int = 7, answers: int = 0, kind: int = 1) -> bytes:
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    head = struct.pack(">HHHHHH", ident, 0x8180 if answers else 0x0100, 1, answers, 0, 0)
    records_ = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([198, 51, 100, k]) for k in range(answers))
    return head + wire + struct.pack(">HH", kind, 1) + records_


def talk(pieces: list[bytes], order: list[int] | None = None, server: tuple[str, int] = SERVER, fill: int = 0) -> list[Packet]:
    """A connection whose client sends ``pieces``, seen in ``order``; ``fill`` frames of others come between."""
    t = Talk(CLIENT, server)
    t.up("S")
    t.down("SA")
    t.up("A")
    sent = [t.up("PA", piece) for piece in pieces]
    head = t.packets[: -len(sent)]
    chosen = [sent[k] for k in (order or range(len(sent)))]
    noise = [Packet(0, segment(("10.9.9.9", 1), ("10.9.9.8", 2), "A", k)) for k in range(fill)]
    packets = [*head, chosen[0], *noise, *chosen[1:]]
    return [Packet(n * 1000, p.data, p.iface, p.kind) for n, p in enumerate(packets)]


def hellos(path: Path) -> list[tuple[object, ...]]:
    rows = Capture([path], ("hellos",)).table("hellos").records()
    return [(r["sni"], r["ja4"], r["alpn"], r["version"], r["frame"], r["length_bytes"]) for r in rows if True]


def both(packets: list[Packet], folder: Path) -> tuple[Path, Path]:
    source, target = anonymous(pcap(packets), folder)
    assert_alike(source, target)
    return source, target


def assert_same_hellos(source: Path, target: Path, count: int = 1) -> None:
    before, after = hellos(source), hellos(target)
    assert len(before) == count
    assert after == [(MAPPER.name(str(sni)), *rest) for sni, *rest in before]


@pytest.mark.parametrize("cut", [6, 60, 200, 700, 1400])
def test_a_hello_in_two_segments(cut: int, tmp_path: Path) -> None:
    data = chrome(b"intranet.example.com", seed=cut)
    assert_same_hellos(*both(talk([data[:cut], data[cut:]]), tmp_path))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_hello_in_three_segments_in_any_order(order: tuple[int, ...], tmp_path: Path) -> None:
    data = chrome(b"intranet.example.com", seed=3)
    source, target = both(talk([data[:500], data[500:1100], data[1100:]], list(order)), tmp_path)
    assert_same_hellos(source, target)
    assert b"intranet" not in target.read_bytes()


def test_a_hello_in_several_records(tmp_path: Path) -> None:
    whole = chrome(b"intranet.example.com", seed=5)
    data = records(whole[5:], 300)
    assert_same_hellos(*both(talk([data]), tmp_path))
    assert_same_hellos(*both(talk([data[:1000], data[1000:]]), tmp_path))


def test_a_hello_whose_end_is_not_there(tmp_path: Path) -> None:
    data = chrome(b"intranet.example.com", seed=3)
    _, target = both(talk([data[:900]]), tmp_path)
    assert b"intranet" not in target.read_bytes()


def test_a_hello_whose_end_comes_after_the_window(tmp_path: Path) -> None:
    """What is not whole in time stays zero, and that is all."""
    data = chrome(b"intranet.example.com", seed=3)
    source, target = both(talk([data[:700], data[700:]], fill=2048 * (streams.WINDOW + 2)), tmp_path)
    assert b"intranet" not in target.read_bytes()
    near, image = both(talk([data[:700], data[700:]], fill=2048 * (streams.WINDOW - 2)), tmp_path)
    assert_same_hellos(near, image)
    assert len(hellos(source)) == 1


def test_checksums_of_patched_frames_are_right(tmp_path: Path) -> None:
    from tests.anonymize.test_frames import checked, is_right

    data = chrome(b"intranet.example.com", seed=3)
    packets = [Packet(p.at, checked(p.data, 6), p.iface, p.kind) for p in talk([data[:700], data[700:]])]
    _, target = both(packets, tmp_path)
    assert all(is_right(frame[20:], 6) for frame in w.read(target).data)


# --- DNS over TCP ---------------------------------------------------------------------------------------------------------------------------


def lookups(path: Path) -> list[tuple[object, ...]]:
    rows = Capture([path], ("lookups",)).table("lookups").records()
    names = ("qtype", "rcode", "transport", "attempts", "query_ns", "answer_ns", "txid", "path")
    return [(r["qname"], r["answers"], *(r[n] for n in names)) for r in rows]


def assert_same_lookups(source: Path, target: Path, count: int) -> None:
    before, after = lookups(source), lookups(target)
    assert len(before) == count
    assert after == [
        (None if name is None else MAPPER.name(str(name)), [MAPPER.address(a) for a in answers], *rest)  # type: ignore[attr-defined]
        for name, answers, *rest in before
    ]


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (20,), (2, 3, 30), (45,), (10, 50, 90)])
def test_questions_over_tcp(cuts: tuple[int, ...], tmp_path: Path) -> None:
    data = b"".join(struct.pack(">H", len(m)) + m for m in (question("printer.example.com", 1), question("mail.example.com", 2)))
    edges = [0, *cuts, len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    for order in (None, list(range(len(pieces)))[::-1]):
        source, target = both(talk(pieces, order, server=("203.0.113.53", 53)), tmp_path)
        assert_same_lookups(source, target, 2)
        assert b"printer" not in target.read_bytes()


def test_a_redirected_question_over_tcp(tmp_path: Path) -> None:
    """sshuttle: the question goes to a port of the proxy, the answer comes from port 53."""
    message = question("printer.example.com", 9)
    client, proxy, server = ("192.168.64.2", 41000), ("127.0.0.1", 12300), ("203.0.113.53", 53)
    answer = question("printer.example.com", 9, answers=2)
    rows = [
        segment(client, proxy, "S", 1000),
        segment(server, client, "SA", 5000, 1001),
        segment(client, proxy, "A", 1001, 5001),
        segment(client, proxy, "PA", 1001, 5001, struct.pack(">H", len(message)) + message),
        segment(server, client, "PA", 5001, 1001 + 2 + len(message), struct.pack(">H", len(answer)) + answer),
    ]
    source, target = both([Packet(k * 1000, data) for k, data in enumerate(rows)], tmp_path)
    assert_same_lookups(source, target, 1)


# --- datagrams ------------------------------------------------------------------------------------------------------------------------------


def test_names_of_all_sections_compressed_ones_too(tmp_path: Path) -> None:
    name = b"\x03www\x07example\x03com\x00"

    def record(owner: bytes, kind: int, data: bytes) -> bytes:
        return owner + struct.pack(">HHIH", kind, 1, 300, len(data)) + data

    answers = [
        record(b"\xc0\x0c", 5, b"\x03cdn\xc0\x10"),
        record(b"\x03cdn\xc0\x10", 5, b"\x04edge\x06vendor\x03net\x00"),
        record(b"\x04edge\x06vendor\x03net\x00", 1, bytes([198, 51, 100, 9])),
    ]
    more = [
        record(b"\xc0\x10", 2, b"\x02ns\xc0\x10"),
        record(b"\xc0\x10", 6, b"\x02ns\xc0\x10\x05admin\xc0\x10" + struct.pack(">5I", 2026, 1, 2, 3, 4)),
        record(b"\xc0\x10", 15, b"\x00\x0a\x04mail\xc0\x10"),
        record(b"\xc0\x10", 16, b"\x0bv=spf1 -all\x06secret"),
        record(b"\xc0\x10", 33, struct.pack(">HHH", 1, 2, 5060) + b"\x03sip\xc0\x10"),
        record(b"\xc0\x0c", 65, b"\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x04\x00\x04" + bytes([198, 51, 100, 9])),
        record(b"\x00", 41, b"\x00\x08\x00\x07\x00\x01\x18\x00\xc6\x33\x64"),
    ]
    message = struct.pack(">HHHHHH", 7, 0x8180, 1, len(answers), 0, len(more)) + name + b"\0\1\0\1" + b"".join(answers + more)
    packets = [ip4(udp(question("www.example.com"), sport=40000, dport=53), 17, src="192.168.64.2", dst="203.0.113.53")]
    packets.append(ip4(udp(message, sport=53, dport=40000), 17, src="203.0.113.53", dst="192.168.64.2"))
    source, target = anonymous(w.pcap(packets), tmp_path)
    assert_alike(source, target)
    assert_same_lookups(source, target, 1)
    data = target.read_bytes()
    for piece in (b"www", b"example", b"cdn", b"edge", b"vendor", b"admin", b"mail", b"spf", b"secret", b"sip", bytes([198, 51, 100])):
        assert piece not in data
    image = decode_paths(target).packets[1].payload
    assert MAPPER.name("ns.example.com").split(".")[0].encode() in image, "a name behind a pointer is the name it is elsewhere"
    assert MAPPER.name("mail.example.com").split(".")[0].encode() in image
    assert b"\x02h2" in image


def fragments(datagram: bytes, size: int, ident: int = 5) -> list[bytes]:
    out = []
    for at in range(0, len(datagram), size):
        more = at + size < len(datagram)
        out.append(
            ip4(
                datagram[at : at + size],
                17,
                src="203.0.113.53",
                dst="192.168.64.2",
                ident=ident,
                fragment=(0x2000 if more else 0) | at // 8,
            )
        )
    return out


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_fragmented_answer(order: tuple[int, ...], tmp_path: Path) -> None:
    message = question("printer.example.com", 4, answers=6)
    parts = fragments(udp(message, sport=53, dport=40000), 48)
    parts = [*parts[:2], b"".join(parts[2:3])] if len(parts) == 3 else parts
    assert len(parts) == 3
    source, target = anonymous(w.pcap([parts[k] for k in order]), tmp_path)
    assert_alike(source, target)
    assert_same_lookups(source, target, 1)
    assert b"printer" not in target.read_bytes()


def test_fragments_that_are_not_all_there_say_nothing(tmp_path: Path) -> None:
    parts = fragments(udp(question("printer.example.com", 4, answers=6), sport=53, dport=40000), 48)
    source, target = anonymous(w.pcap(parts[:2]), tmp_path)
    assert_alike(source, target)
    assert b"printer" not in target.read_bytes()
    for before, after in zip(w.read(source).data, w.read(target).data, strict=True):
        assert after[20:] == bytes(len(before) - 20)


def test_many_unfinished_things_take_bounded_memory_and_time(tmp_path: Path) -> None:
    """A thousand directions of DNS that never end a message, hellos without an end, fragments of nothing."""
    begun = chrome(b"intranet.example.com")[:200]
    packets = []
    for k in range(6000):
        port = 1024 + k
        packets.append(segment(("10.0.0.1", port), ("203.0.113.53", 53), "PA", 1, 1, b"\xff\xff" + bytes(20)))
        packets.append(segment(("10.0.0.2", port), SERVER, "PA", 1, 1, begun))
        packets.append(ip4(bytes(64), 17, ident=k & 0xFFFF, fragment=0x2000))
    _, target = anonymous(w.pcap(packets), tmp_path)
    assert b"intranet" not in target.read_bytes()
    one_flow = [segment(("10.0.0.2", 5), SERVER, "PA", 1, 1, begun)]
    one_flow += [segment(("10.0.0.2", 5), SERVER, "PA", 1000 + k, 1, b"x") for k in range(8000)]
    anonymous(w.pcap(one_flow), tmp_path)


GET, OK = b"GET /private HTTP/1.1\r\nHost: intranet\r\n\r\n", b"HTTP/1.1 200 private\r\nX: private\r\n\r\nprivate"


@pytest.mark.parametrize("how", [*NEGOTIATED, "pipelined", "PROXY in the segment"])
def test_the_copy_shows_the_same_exchanges(how: str, tmp_path: Path) -> None:
    """Behind CONNECT, SOCKS and PROXY headers, and pipelined; of names, users and passwords nothing is left."""
    t = Talk(CLIENT, ("203.0.113.10", 8080)).open()
    for who, data in NEGOTIATED.get(how, []):
        (t.up if who == "up" else t.down)("PA", data)
    if how == "PROXY in the segment":
        t.up("PA", NEGOTIATED["PROXY"][0][1] + GET)
        t.down("PA", OK)
    for times in (1, 3 if how == "pipelined" else 1):
        t.up("PA", GET * times)
        t.down("PA", OK * times)
    source, target = both(t.close().packets, tmp_path)
    before, after = (Capture([path]).table("exchanges") for path in (source, target))
    assert before.rows >= 2
    for name in before.columns:
        assert before[name].tolist() == after[name].tolist(), name
    for private in (b"private", b"intranet", b"api.example", b"secret", b"user"):
        assert private not in target.read_bytes()
