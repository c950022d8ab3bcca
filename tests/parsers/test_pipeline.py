"""State of parts merges to the state of the whole, wherever the cut."""

from __future__ import annotations

import gzip
import itertools
import random
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import netlens
from netlens.parsers import pipeline
from netlens.parsers.pipeline import PRODUCTS, Part
from netlens.wire.containers import Batch, Reader

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def segment(src: str, sport: int, dst: str, dport: int, flags: int, seq: int, ack: int = 0, data: bytes = b"") -> bytes:
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, 5 << 4, flags, 1000, 0, 0) + data
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, socket.inet_aton(src), socket.inet_aton(dst)) + tcp


def datagram(src: str, sport: int, dst: str, dport: int, data: bytes) -> bytes:
    udp = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst)) + udp


def pcap(packets: list[tuple[int, bytes]]) -> bytes:
    """Packets (time in us, raw IP) as a pcap."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
    return out + b"".join(struct.pack("<IIII", 1000 + t // 10**6, t % 10**6, len(p), len(p)) + p for t, p in packets)


def client_hello(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """A real ClientHello of this Python's TLS library; None: it names no server."""
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello("api.example.test")
APP = b"\x17\x03\x03\x00\x64" + bytes(100)
LONG = b"\x17\x03\x03\x01\x90" + bytes(400)
QUERY = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03api\x07example\x04test\x00\x00\x01\x00\x01"
ANSWER = QUERY[:2] + b"\x81\x80\x00\x01\x00\x01" + QUERY[8:] + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x0a"


#: What is said (up, down, up, ...) before TLS begins.
NEGOTIATED = [
    [],
    [b"CONNECT api.example.test:443 HTTP/1.1\r\n\r\n", b"HTTP/1.0 200 Connection established\r\n\r\n"],
    [b"\x05\x01\x02", b"\x05\x02", b"\x01\x01a\x01b", b"\x01\x00", b"\x05\x01\x00\x01" + bytes(6), b"\x05\x00\x00\x01" + bytes(6)],
    [b"\x04\x01\x01\xbb\xcb\x00\x71\x0a\x00", b"\x00\x5a" + bytes(6)],
    [b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 443\r\n"],
    [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
    [b"GET / HTTP/1.1\r\n\r\n" * 3, b"HTTP/1.1 200 OK\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n" * 2, b"HTTP/1.1 200 OK\r\n\r\n" * 2],
]


def conversation(
    client: str, port: int, server: str, isn: int, proxied: bool, pieces: int, turns: int, close: str, before: Sequence[bytes] = ()
) -> list[bytes]:
    """Handshake, what is negotiated, a ClientHello in ``pieces``, ``turns`` requests with answers, and an end."""
    near = ("127.0.0.1", 12300) if proxied else (server, 443)
    seq, back = isn, isn * 7 % 2**32

    def up(flags: int, data: bytes = b"", again: bool = False) -> bytes:
        nonlocal seq
        packet = segment(client, port, *near, flags, seq, back, data)
        if not again:
            seq = (seq + len(data) + (flags & (SYN | FIN) > 0)) % 2**32
        return packet

    def down(flags: int, data: bytes = b"") -> bytes:
        nonlocal back
        packet = segment(server, 443, client, port, flags, back, seq, data)
        back = (back + len(data) + (flags & (SYN | FIN) > 0)) % 2**32
        return packet

    first = up(SYN)
    out = [first, first, down(SYN | ACK), up(ACK)]
    out += [(down if i % 2 else up)(PSH | ACK, data) for i, data in enumerate(before)]
    step = -(-len(HELLO) // pieces)
    out += [up(PSH | ACK, HELLO[i : i + step]) for i in range(0, len(HELLO), step)]
    out.append(down(PSH | ACK, b"\x16\x03\x03\x00\x20\x02" + bytes(31)))
    for _ in range(turns):
        out.append(up(PSH | ACK, APP))
        out.append(out[-1])  # retransmitted
        out += [down(PSH | ACK, LONG), down(PSH | ACK, APP), up(ACK)]  # of two sizes: two of one size would be tickets
    if close == "fin":
        out += [up(FIN | ACK), down(FIN | ACK), up(ACK)]
    elif close == "rst":
        out.append(up(RST | ACK))
    return out


def lookup_over_tcp(port: int, isn: int) -> list[bytes]:
    a, b = ("10.0.0.2", port), ("10.0.0.53", 53)
    q, r = struct.pack(">H", len(QUERY)) + QUERY, struct.pack(">H", len(ANSWER)) + ANSWER
    return [
        segment(*a, *b, SYN, isn),
        segment(*b, *a, SYN | ACK, 5, isn + 1),
        segment(*a, *b, PSH | ACK, isn + 1, 6, q[:9]),
        segment(*a, *b, PSH | ACK, isn + 10, 6, q[9:]),
        segment(*b, *a, PSH | ACK, 6, isn + 1 + len(q), r[:20]),
        segment(*b, *a, PSH | ACK, 26, isn + 1 + len(q), r[20:]),
    ]


def a_capture(rng: random.Random) -> list[tuple[int, bytes]]:
    """Interleaved conversations, ports used again, redirect halves, lookups, beginnings that were missed, neighbours swapped."""
    streams: list[list[bytes]] = []
    used = [(4000 + i, ("203.0.113.10", "203.0.113.11")[i % 2]) for i in range(6)]
    for port, server in rng.sample(used, rng.randint(1, 5)):
        one: list[bytes] = []
        proxied = rng.random() < 0.5
        for _ in range(rng.randint(1, 2)):  # the same ports again
            isn, end = rng.randint(1, 2**32 - 1), rng.choice(["fin", "rst", "open"])
            before = rng.choice(NEGOTIATED)
            one += conversation("10.0.0.2", port, server, isn, proxied, rng.randint(1, 4), rng.randint(0, 3), end, before)
        streams.append(one[rng.randint(0, 6) :])
    streams.append(lookup_over_tcp(rng.randint(5000, 5002), rng.randint(1, 2**31)))
    streams.append([datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)])
    order = [i for i, s in enumerate(streams) for _ in s]
    if rng.random() < 0.7:
        rng.shuffle(order)
    iters = [iter(s) for s in streams]
    packets = [next(iters[i]) for i in order]
    for i in range(len(packets) - 1):  # captures on several interfaces swap neighbours
        if rng.random() < 0.05:
            packets[i], packets[i + 1] = packets[i + 1], packets[i]
    return [(1000 * n, p) for n, p in enumerate(packets)]


def parts(packets: list[tuple[int, bytes]], cuts: list[int], tmp: Path) -> Part:
    """Read each piece as a part of its own, then merge them."""
    edges = [0, *cuts, len(packets)]
    out: Part | None = None
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        path = tmp / f"part{i}.pcap"
        path.write_bytes(pcap(packets[a:b]))
        part = Part(PRODUCTS, deferred=i > 0)
        reader = Reader([path])
        for batch in reader.batches():
            part.feed(batch)
        part.frames = reader.frame
        if out is None:
            out = part
        else:
            out.merge(part)
    assert out is not None
    return out


def tables(part: Part) -> dict[str, list[dict[str, Any]]]:
    lookups = part.lookups
    assert lookups is not None
    made = {"sessions": part.sessions(), "hellos": part.hellos.rows(), "exchanges": part.exchange_rows(), "lookups": lookups.rows()}
    rows = {name: list(table.records()) for name, table in made.items()}
    rows["hellos"].sort(key=lambda r: (r["frame"], r["session_id"]))
    return rows


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
@example(seed=2397)  # the SYN+ACK of a lookup over TCP before the SYN, a cut between them, and one before the answer
def test_parts_merge_to_the_whole(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp = tmp_path_factory.getbasetemp()
    rng = random.Random(seed)
    packets = a_capture(rng)
    cuts = sorted(rng.randint(0, len(packets)) for _ in range(rng.randint(1, 3)))
    whole, merged = tables(parts(packets, [], tmp)), tables(parts(packets, cuts, tmp))
    assert whole["sessions"] == merged["sessions"]
    assert whole["exchanges"] == merged["exchanges"]
    assert whole["hellos"] == merged["hellos"]
    assert whole["lookups"] == merged["lookups"]


@pytest.mark.parametrize("before", NEGOTIATED)
def test_every_cut_of_one_capture(tmp_path: Path, before: list[bytes]) -> None:
    packets = [
        (i * 1000, p)
        for i, p in enumerate(conversation("10.0.0.2", 4000, "203.0.113.10", 77, True, 3, 2, "fin", before) + lookup_over_tcp(5000, 9))
    ]
    whole = tables(parts(packets, [], tmp_path))
    assert len(whole["hellos"]) == 1
    assert whole["hellos"][0]["segments"] == 3
    assert len(whole["lookups"]) == 1
    assert len(whole["exchanges"]) >= 2
    for cut in range(len(packets) + 1):
        assert tables(parts(packets, [cut], tmp_path)) == whole, cut


def test_batches_of_any_size_give_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([(i * 1000, p) for i, p in enumerate(conversation("10.0.0.2", 4000, "203.0.113.10", 77, False, 3, 4, "fin"))]))
    seen = []
    for size in (1, 2, 7, 2048):
        part = Part(PRODUCTS)
        for batch in Reader([path], batch=size).batches():
            assert isinstance(batch, Batch)
            part.feed(batch)
        seen.append(tables(part))
    assert all(s == seen[0] for s in seen)


@pytest.mark.parametrize("packed", [False, True])
def test_one_core_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    path = tmp_path / "c.pcap"
    frames = [(i * 1000, p) for i, p in enumerate(conversation("10.0.0.2", 4000, "203.0.113.10", 77, False, 3, 4, "fin"))]
    path.write_bytes(gzip.compress(pcap(frames)) if packed else pcap(frames))
    seen = []
    for cores in (1, 2):
        monkeypatch.setattr(pipeline, "cores", lambda cores=cores: cores)
        seen.append(tables(pipeline.run([path])))
    assert seen[0] == seen[1]
    assert seen[0]["sessions"]


def test_quality_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    packets = conversation("10.0.0.2", 4000, "203.0.113.10", 77, False, 1, 1, "fin")
    path.write_bytes(pcap([(i, p) for i, p in enumerate(packets)] + [(99, b"\x45" + bytes(19)), (100, b"\x99")]))
    part = Part(PRODUCTS)
    for batch in Reader([path]).batches():
        part.feed(batch)
    from netlens.wire import decode

    assert int(part.counts[: len(decode.REASONS), 0].sum()) == part.frames == len(packets) + 2
    assert np.all(part.counts[:, 1] <= part.frames)


def test_dns_over_tcp_through_a_redirect(tmp_path: Path) -> None:
    """The query stands in the half towards the proxy's port, the answer in the half from port 53."""
    query, answer = struct.pack(">H", len(QUERY)) + QUERY, struct.pack(">H", len(ANSWER)) + ANSWER
    near, far = ("127.0.0.1", 12300), ("203.0.113.10", 53)
    client = ("10.0.0.2", 5000)
    packets = [
        segment(*client, *near, SYN, 9),
        segment(*far, *client, SYN | ACK, 5, 10),
        segment(*client, *near, PSH | ACK, 10, 6, query),
        segment(*far, *client, PSH | ACK, 6, 10 + len(query), answer),
    ]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([(i * 1000, p) for i, p in enumerate(packets)]))
    (row,) = netlens.read(path).table("lookups").records()
    assert (row["attempts"], row["answers"], row["path"], row["transport"]) == (1, ["203.0.113.10"], "sshuttle", "tcp")
    assert (row["orig_ip"], row["resolver_ip"]) == ("10.0.0.2", "203.0.113.10")


def test_the_rest_of_a_request_record_goes_on_with_the_request(tmp_path: Path) -> None:
    """A ticket in the middle of a request that spans segments opens no second exchange."""
    client, server = ("10.0.0.2", 5000), ("203.0.113.10", 443)
    request = b"\x17\x03\x03\x08\x00" + bytes(2048)
    ticket, reply = b"\x17\x03\x03\x01\x00" + bytes(256), b"\x17\x03\x03\x00\x64" + bytes(100)
    packets = [
        segment(*client, *server, SYN, 9),
        segment(*server, *client, SYN | ACK, 5, 10),
        segment(*client, *server, PSH | ACK, 10, 6, request[:1448]),
        segment(*server, *client, PSH | ACK, 6, 1458, ticket),
        segment(*client, *server, PSH | ACK, 1458, 6 + len(ticket), request[1448:]),
        segment(*server, *client, PSH | ACK, 6 + len(ticket), 10 + len(request), reply),
    ]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([(i * 1000, p) for i, p in enumerate(packets)]))
    (row,) = netlens.read(path).table("exchanges").records()
    assert row["up_bytes"] == len(request)
