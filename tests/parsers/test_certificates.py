"""Certificates in clear: read however they are cut into records and segments, and nothing made of what is none."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlens
from netlens.parsers.certificates import MAX_NAME, MAX_NAMES, Leaf, Shown, leaf
from tests.lenses.made import CLIENT, SERVER, talk
from tests.parsers.build import T0, Packet, S, mixed, segment, write
from tests.parsers.certificates import DONE, SERVER_HELLO, certificate, chain, message, record
from tests.parsers.test_pipeline import HELLO

NOW = T0 // S
VALID = certificate(NOW - 1000, NOW + 1000)
ISSUER = certificate(NOW - 9000, NOW - 8000, "Issuer")
LEAF = Leaf(NOW - 1000, NOW + 1000, "a.example")


def shown(folder: Path, packets: list[Packet]) -> list[Shown]:
    return netlens.api.Capture([write(folder / "made.pcap", mixed(packets))], trail=True).certificates


def handshake(*answers: bytes, ends: int = 443) -> list[Packet]:
    made = talk(server=(SERVER, ends))
    made.up("PA", HELLO)
    for data in answers:
        made.down("PA", data)
    made.up("A")
    return made.packets


def test_dates_and_name() -> None:
    assert leaf(VALID) == LEAF
    assert leaf(certificate(0, 4_102_444_800, generalized=True)) == Leaf(0, 4_102_444_800, "a.example")
    assert leaf(certificate(1, 2, "", alternative="b.example")) == Leaf(1, 2, "b.example", ("b.example",), itself=True)
    assert leaf(certificate(1, 2, "")) == Leaf(1, 2, "", itself=True)
    assert leaf(certificate(-631_152_000, 2)) == Leaf(-631_152_000, 2, "a.example")  # 1950, the first year of UTCTime
    found = leaf(certificate(1, 2, "x" * 500))
    assert found is not None
    assert len(found.name) == MAX_NAME


@pytest.mark.parametrize(
    ("name", "names", "host", "is_for"),
    [
        ("a.example", (), "A.example", True),
        ("a.example", (), "b.example", False),
        ("a.example", ("b.example",), "a.example", False),  # where there are DNS names, they count
        ("", ("x.example", "*.a.example"), "www.a.example", True),
        ("", ("*.a.example",), "a.example", False),
        ("", tuple(f"{k}.example" for k in range(MAX_NAMES + 1)), "a.example", True),  # those that were not read may have it
    ],
)
def test_whose_certificate_it_is(name: str, names: tuple[str, ...], host: str, is_for: bool) -> None:
    assert Leaf(0, 0, name, names).is_for(host) == is_for


def test_the_first_of_the_chain_counts(tmp_path: Path) -> None:
    one = record(22, SERVER_HELLO + chain(VALID, ISSUER) + DONE)
    (found,) = shown(tmp_path, handshake(one))
    assert (found.leaf, found.frame) == (LEAF, 5)


@pytest.mark.parametrize("seed", range(12))
def test_however_it_is_cut(tmp_path: Path, seed: int) -> None:
    """Into records anywhere, into segments anywhere, which come again, late and overlapping."""
    pick = random.Random(seed)
    messages = SERVER_HELLO + chain(certificate(NOW - 1000, NOW + 1000, padding=3000), ISSUER) + DONE
    cuts = [0, *sorted(pick.sample(range(1, len(messages)), pick.randrange(9))), len(messages)]
    stream = b"".join(record(22, messages[a:b]) for a, b in itertools.pairwise(cuts))
    made = talk(server=(SERVER, 443))
    made.up("PA", HELLO)
    first = made.back
    cuts = [0, *sorted(pick.sample(range(60, len(stream)), pick.randrange(1, 12))), len(stream)]
    pieces = [(a, stream[a : b + pick.choice((0, 0, 7))]) for a, b in itertools.pairwise(cuts)]
    rest = pieces[1:] + pick.sample(pieces, 1)
    pick.shuffle(rest)
    for at, data in [pieces[0], *rest]:
        made.down("A", data, seq=first + at)
    (found,) = shown(tmp_path, made.packets)
    assert found.leaf == LEAF


def test_what_shows_none(tmp_path: Path) -> None:
    hello, certs = record(22, SERVER_HELLO), record(22, chain(VALID))
    cipher = record(20, b"\x01")
    assert shown(tmp_path, handshake(hello + certs))
    assert not shown(tmp_path, handshake(hello + cipher + certs))  # resumed, or TLS 1.3
    assert not shown(tmp_path, handshake(hello, cipher, certs))
    assert not shown(tmp_path, handshake(hello, record(22, message(12, bytes(40))), certs))  # no certificate is asked for
    assert not shown(tmp_path, handshake(hello, record(22, chain())))
    assert not shown(tmp_path, handshake(hello, record(22, chain(VALID[:-1] + b"\x00", VALID)[:200]), record(23, bytes(40))))
    assert not shown(tmp_path, handshake(record(22, message(2, b"")[:4] + chain(b"\x30\x82\x01\x00" + bytes(20)))))


def test_of_the_client_nothing_is_read(tmp_path: Path) -> None:
    made = talk(server=(SERVER, 443))
    made.up("PA", HELLO)
    made.down("PA", record(22, SERVER_HELLO + DONE))
    made.up("PA", record(22, chain(VALID)))
    assert not shown(tmp_path, made.packets)


def test_a_hole_ends_it(tmp_path: Path) -> None:
    made = talk(server=(SERVER, 443))
    made.up("PA", HELLO)
    stream = record(22, SERVER_HELLO) + record(22, chain(VALID)) + record(22, DONE)
    made.down("PA", stream[:100])
    made.back += 50
    made.down("PA", stream[150:])
    assert not shown(tmp_path, made.packets)


def test_one_connection_is_read_once(tmp_path: Path) -> None:
    stream = record(22, SERVER_HELLO) + record(22, chain(VALID)) + record(22, DONE)
    packets = [p for k in range(5) for p in _moved(handshake(stream, stream), 1000 * k)]
    assert len({s.session for s in shown(tmp_path, packets)}) == 5


def _moved(packets: list[Packet], by: int) -> list[Packet]:
    """The same with the client at another port."""
    out = []
    for p in packets:
        data = bytearray(p.data)
        at = 20 if data[12:16] == bytes(map(int, CLIENT.split("."))) else 22
        data[at : at + 2] = (int.from_bytes(data[at : at + 2], "big") - by).to_bytes(2, "big")
        out.append(Packet(p.at, bytes(data)))
    return out


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    leaf(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=4))
def test_no_change_breaks_it(at: int, data: bytes) -> None:
    leaf(VALID[:at] + data + VALID[at + len(data) :])
    leaf(VALID[:at])


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.tuples(st.integers(-40, 300), st.binary(max_size=80)), max_size=12))
def test_no_segments_break_it(tmp_path_factory: pytest.TempPathFactory, data: list[tuple[int, bytes]]) -> None:
    packets = handshake(record(22, SERVER_HELLO))
    packets += [Packet(S + k, segment((SERVER, 443), (CLIENT, 40_000), "A", 80_000_001 + at, 1, b)) for k, (at, b) in enumerate(data)]
    shown(tmp_path_factory.mktemp("made"), packets)
