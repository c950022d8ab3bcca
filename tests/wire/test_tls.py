"""ClientHellos: what is read out of one, and that nothing a stranger sends can make the kernel read wrong or never end."""

from __future__ import annotations

import random
import ssl
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.wire import tls
from tests.wire.hello import read_hello

GREASE = [0x0A0A + 0x1010 * i for i in range(16)]
RANDOM = bytes(range(32))

# The example of the JA4 specification: Chrome 112.
SPEC_CIPHERS = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035]
SPEC_EXTENSIONS = [
    0x001B,
    0x0000,
    0x0033,
    0x0010,
    0x4469,
    0x0017,
    0x002D,
    0x000D,
    0x0005,
    0x0023,
    0x0012,
    0x002B,
    0xFF01,
    0x000B,
    0x000A,
    0x0015,
]
SPEC_SIGALGS = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]
SPEC_JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def values(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def sni_extension(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, vector(2, bytes([kind]) + vector(2, name))


def alpn_extension(*names: bytes) -> tuple[int, bytes]:
    return 16, vector(2, b"".join(vector(1, n) for n in names))


def message(
    extensions: list[tuple[int, bytes]] | None, *, ciphers: list[int] | None = None, legacy: int = 0x0303, session_id: bytes = bytes(32)
) -> bytes:
    """A ClientHello handshake message; ``extensions`` None leaves even their length out, as before TLS 1.2."""
    body = values(legacy) + RANDOM + vector(1, session_id) + vector(2, values(*(ciphers or [0x1301, 0xC02F]))) + b"\x01\x00"
    if extensions is not None:
        body += vector(2, b"".join(values(k) + vector(2, d) for k, d in extensions))
    return b"\x01" + vector(3, body)


def record(fragment: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + values(version) + vector(2, fragment)


def records(handshake: bytes, size: int) -> bytes:
    return b"".join(record(handshake[i : i + size]) for i in range(0, len(handshake), size))


def hello(name: bytes | None = b"example.com", *more: tuple[int, bytes]) -> bytes:
    return record(message(([] if name is None else [sni_extension(name)]) + list(more)))


def chrome(name: bytes = b"www.example.com", seed: int = 1, extra: int = 0) -> bytes:
    """What Chrome sends since 2024: GREASE everywhere, extensions permuted, a post-quantum key share, more than one segment long."""
    rng = random.Random(seed)
    grease = rng.choice(GREASE)
    body = {
        0x0000: sni_extension(name)[1],
        0x0010: alpn_extension(b"h2", b"http/1.1")[1],
        0x000D: vector(2, values(*SPEC_SIGALGS)),
        0x000A: vector(2, values(grease, 0x11EC, 29, 23, 24)),
        0x002B: vector(1, values(grease, 0x0304, 0x0303)),
        0x0033: vector(
            2,
            values(grease) + vector(2, b"\0") + values(0x11EC) + vector(2, rng.randbytes(1216)) + values(29) + vector(2, rng.randbytes(32)),
        ),
        0xFE0D: rng.randbytes(186),
        0x4469: vector(2, vector(1, b"h2")),
    }
    kinds = [k for k in SPEC_EXTENSIONS if k != 0x0015] + [0xFE0D]
    rng.shuffle(kinds)
    extensions = [(grease, b""), *((k, body.get(k, b"\0")) for k in kinds), (rng.choice(GREASE), b"\0" * (1 + extra))]
    return record(message(extensions, ciphers=[grease, *SPEC_CIPHERS]))


def openssl(name: str | None = "api.example.com", alpn: tuple[str, ...] = ("h2", "http/1.1"), most: ssl.TLSVersion | None = None) -> bytes:
    """The hello of the OpenSSL that this Python is built with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if most is not None:
        context.maximum_version = most
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def parse(data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    buf = np.frombuffer(data, np.uint8).copy()
    scratch = np.zeros(tls.SCRATCH, np.uint8)
    row = np.empty(tls.HELLO_WIDTH, np.int64)
    return tls.parse_hello(buf, 0, len(buf), scratch, row), row, scratch if row[tls.WHERE] == 1 else buf


def test_openssl_hello() -> None:
    data = openssl()
    got = read_hello(data)
    assert got is not None
    assert (got.sni, got.alpn, got.version, got.complete) == ("api.example.com", ["h2", "http/1.1"], "TLS1.3", True)
    assert got.random == data[11:43].hex()
    assert got.length_bytes == len(data) - 9
    assert got.ja4 is not None
    assert got.ja4.startswith("t13d")
    assert got.ja4[8:10] == "h2"


def test_openssl_without_name_and_tls13() -> None:
    got = read_hello(openssl(None, (), ssl.TLSVersion.TLSv1_2))
    assert got is not None
    assert (got.sni, got.alpn, got.version) == (None, [], "TLS1.2")
    assert got.ja4 is not None
    assert got.ja4.startswith("t12i")
    assert got.ja4[8:10] == "00"


def test_ja4_of_the_specification() -> None:
    assert tls.ja4(0x0304, True, [b"h2", b"http/1.1"], SPEC_CIPHERS, SPEC_EXTENSIONS, SPEC_SIGALGS) == SPEC_JA4


def test_ja4_without_signature_algorithms_has_no_underscore_in_the_hashed_text() -> None:
    import hashlib

    expected = hashlib.sha256(b"0005,000a").hexdigest()[:12]
    assert tls.ja4(0x0303, False, [], [], [0x000A, 0x0005], []) == f"t12i000200_000000000000_{expected}"


def test_ja4_counts_stop_at_99_and_nothing_hashes_to_zeros() -> None:
    assert tls.ja4(0x0300, True, [], list(range(200)), [0, 16], []).startswith("ts3d990200_")
    assert tls.ja4(0x0300, True, [], [], [0, 16], []).endswith("_000000000000_000000000000")
    assert tls.ja4(0x7F12, True, [], [], [], []).startswith("t00d")


@pytest.mark.parametrize(
    ("first", "letters"),
    [
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"h", "hh"),
        (b"http/1.1", "h1"),
    ],
)
def test_ja4_alpn_letters_of_the_specification(first: bytes, letters: str) -> None:
    assert tls.ja4(0x0304, True, [first], [], [], [])[8:10] == letters


def test_chrome_permuted_extensions_have_one_key_and_one_fingerprint() -> None:
    keys, prints = set(), set()
    for seed in range(20):
        data = chrome(seed=seed)
        assert len(data) > 1460
        _, row, src = parse(data)
        out = np.zeros(tls.SCRATCH + 16, np.uint8)
        keys.add(out[: tls.write_key(src, row, np.empty(tls.MAX_SORT, np.int64), out, 0)].tobytes())
        got = read_hello(data)
        assert got is not None
        prints.add((got.sni, tuple(got.alpn), got.version, got.ja4))
    assert len(keys) == len(prints) == 1
    assert prints.pop()[:3] == ("www.example.com", ("h2", "http/1.1"), "TLS1.3")


def test_every_offset_of_a_row() -> None:
    data = openssl()
    status, row, src = parse(data)
    assert (status, row[tls.WHERE], row[tls.WELL_FORMED], row[tls.USED], row[tls.LEGACY]) == (tls.COMPLETE, 0, 1, len(data), 0x0303)
    assert src[row[tls.SNI] : row[tls.SNI] + row[tls.SNI_LEN]].tobytes() == b"api.example.com"
    assert src[row[tls.ALPN] : row[tls.ALPN] + row[tls.ALPN_LEN]].tobytes() == b"\x02h2\x08http/1.1"
    assert src[row[tls.RANDOM] : row[tls.RANDOM] + 32].tobytes() == data[11:43]
    assert row[tls.SESSION_ID_LEN] in (0, 32)
    assert row[tls.CIPHERS_LEN] % 2 == 0
    assert row[tls.EXTENSIONS] + row[tls.EXTENSIONS_LEN] == len(data)
    assert b"\x03\x04" in src[row[tls.VERSIONS] : row[tls.VERSIONS] + row[tls.VERSIONS_LEN]].tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 37, 100, 1000])
def test_message_over_several_records_reads_the_same(size: int) -> None:
    data = openssl()
    status, row, _ = parse(records(data[5:], size) + b"behind")
    assert (status, row[tls.WHERE]) == (tls.COMPLETE, 1)
    assert row[tls.USED] == len(records(data[5:], size))
    assert read_hello(records(data[5:], size)) == read_hello(data)


@pytest.mark.parametrize("size", [None, 3, 200])
def test_cut_anywhere_is_incomplete(size: int | None) -> None:
    data = openssl() if size is None else records(openssl()[5:], size)
    for cut in range(len(data)):
        if cut:
            assert parse(data[:cut])[0] == tls.INCOMPLETE, cut
        got = read_hello(data[:cut])
        if got is not None:
            assert (got.sni, got.ja4, got.complete) == ("api.example.com", None, False)
            assert got.version in (None, "TLS1.3")
    assert read_hello(data[:-1]) is not None


def test_other_record_between_the_fragments() -> None:
    data = openssl()[5:]
    assert parse(record(data[:100]) + record(b"\x01", 20) + record(data[100:]))[0] == tls.NOT_HELLO


@pytest.mark.parametrize(
    "front", [record(b"\x01", 20), b"PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)]
)
def test_what_may_stand_before_the_hello(front: bytes) -> None:
    data = hello()
    assert read_hello(front + data) == read_hello(data)
    for cut in range(1, len(front)):
        assert parse(front[:cut])[0] in (tls.INCOMPLETE, tls.NOT_HELLO)
    assert parse(front)[0] == tls.NOT_HELLO


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        record(b"\x02" + message([])[1:]),  # a ServerHello
        record(message([]), kind=23),
        record(message([]), version=0x0505),
        record(b"") + hello(),
        b"\x16\x03\x01\xff\xff\x01" + bytes(100),
        record(b"\x01" + vector(3, bytes(20))),
        record(b"\x01\x02\x00\x00" + bytes(500)),  # 128 KiB
        record(message([], session_id=bytes(33))),
        b"PROXY " + b"x" * 200,
    ],
)
def test_no_hello(data: bytes) -> None:
    assert parse(data)[0] == tls.NOT_HELLO
    assert read_hello(data) is None


def test_names_are_data() -> None:
    def name_of(raw: bytes) -> str | None:
        got = read_hello(hello(raw))
        assert got is not None
        return got.sni

    assert name_of(b"a\x1b[31m\\\xff\x00<b>") == "a\\x1b[31m\\x5c\\xff\\x00<b>"
    assert name_of("bücher.example".encode()) == "b\\xc3\\xbccher.example"
    assert name_of(b"Example.COM") == "Example.COM"
    assert name_of(b"") is None
    assert name_of(b"x" * 5000) == "x" * tls.MAX_SNI


def test_first_host_name_counts() -> None:
    both = (0, vector(2, b"\x05" + vector(2, b"other") + b"\x00" + vector(2, b"one.example") + b"\x00" + vector(2, b"two.example")))
    got = read_hello(record(message([both, sni_extension(b"three.example")])))
    assert got is not None
    assert got.sni == "one.example"
    got = read_hello(record(message([(0, b"")])))
    assert got is not None
    assert got.ja4 is not None
    assert (got.sni, got.ja4[3]) == (None, "d")


@pytest.mark.parametrize(
    ("legacy", "offered", "text"),
    [
        (0x0303, None, "TLS1.2"),
        (0x0302, None, "TLS1.1"),
        (0x0301, None, "TLS1.0"),
        (0x0300, None, "SSL3.0"),
        (0x0303, [0xFAFA, 0x0304, 0x0303], "TLS1.3"),
        (0x0303, [0xFAFA, 0x0301, 0x0303], "TLS1.2"),
        (0x0303, [0xFAFA], "TLS1.2"),
        (0x0303, [0x7F12, 0x0303], "TLS1.3-draft18"),
        (0x0303, [0x1234], "0x1234"),
    ],
)
def test_version(legacy: int, offered: list[int] | None, text: str) -> None:
    extensions = [] if offered is None else [(43, vector(1, values(*offered)))]
    got = read_hello(record(message(extensions, legacy=legacy)))
    assert got is not None
    assert got.version == text


def test_without_any_extensions() -> None:
    got = read_hello(record(message(None, legacy=0x0300)))
    assert got is not None
    assert (got.sni, got.alpn, got.version) == (None, [], "SSL3.0")
    assert got.ja4 is not None
    assert got.ja4.startswith("ts3i020000_")
    assert got.ja4.endswith("_000000000000")


def test_contradicting_lengths_give_no_fingerprint() -> None:
    whole = message([sni_extension(b"example.com"), alpn_extension(b"h2")])
    longer = bytearray(whole)
    at = whole.index(values(16) + vector(2, alpn_extension(b"h2")[1]))
    longer[at + 3] += 9  # the ALPN extension reaches over the end
    got = read_hello(record(bytes(longer)))
    assert got is not None
    assert (got.sni, got.ja4, got.complete) == ("example.com", None, True)


def test_grease_is_ignored_everywhere() -> None:
    """Also among the signature algorithms, as the specification says; Wireshark 4.4 leaves it in there. No known client sends it there."""
    plain = [sni_extension(b"example.com"), (13, vector(2, values(0x0403, 0x0804))), (43, vector(1, values(0x0304)))]
    greased = [(g, b"") for g in GREASE] + [
        sni_extension(b"example.com"),
        (13, vector(2, values(0x0403, *GREASE, 0x0804))),
        (43, vector(1, values(*GREASE, 0x0304))),
    ]
    one = read_hello(record(message(plain, ciphers=[0x1301, 0x1302])))
    other = read_hello(record(message(greased, ciphers=[*GREASE, 0x1302, 0x1301])))
    assert one is not None
    assert other is not None
    assert one.ja4 is not None
    assert (one.ja4, one.version) == (other.ja4, other.version)
    assert one.ja4.startswith("t13d020300_")


def test_very_many_extensions() -> None:
    kinds = [k for k in range(0x1000, 0x1000 + 3000) if k not in GREASE]
    random.Random(3).shuffle(kinds)
    got = read_hello(record(message([(k, b"") for k in kinds])))
    assert got is not None
    assert got.ja4 == tls.ja4(0x0303, False, [], [0x1301, 0xC02F], kinds, [])


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    read_hello(data)
    read_hello(hello()[:5] + data)
    read_hello(hello()[:43] + data)


@given(st.data())
def test_any_change_of_a_hello(data: st.DataObject) -> None:
    raw = bytearray(chrome() if data.draw(st.booleans()) else records(message([sni_extension(b"a.example"), alpn_extension(b"h2")]), 50))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, min(len(raw) - 1, 400)))] = data.draw(
            st.sampled_from([0, 1, 2, 3, 22, 127, 255]) | st.integers(0, 255)
        )
    status, row, src = parse(bytes(raw))
    for at, size in ((tls.SNI, tls.SNI_LEN), (tls.ALPN, tls.ALPN_LEN), (tls.CIPHERS, tls.CIPHERS_LEN), (tls.SIGALGS, tls.SIGALGS_LEN)):
        if row[at] >= 0:
            assert 0 <= row[size] <= len(src) - row[at]
    if status != tls.NOT_HELLO and row[tls.RANDOM] >= 0:
        out = np.zeros(tls.SCRATCH + 16, np.uint8)
        end = tls.write_key(src, row, np.empty(tls.MAX_SORT, np.int64), out, 0)
        assert end <= max(row[tls.TOTAL], 0) + 20
        tls.describe_key(out[:end].tobytes())
    read_hello(bytes(raw))


@given(st.binary(max_size=300))
def test_escape_is_printable_and_reversible(raw: bytes) -> None:
    text = tls.escape(raw)
    assert text.isascii()
    assert text.isprintable()
    assert text.encode().decode("unicode_escape").encode("latin-1") == raw


def write_capture(path: Path, payloads: list[bytes], port: int = 443) -> None:
    """A raw-IP pcap with one TCP session per payload, opened by its SYN, in segments of at most 1400 bytes."""
    frames = []
    for i, payload in enumerate(payloads):
        for seq, flags, data in [(0, 2, b""), *((1 + at, 24, payload[at : at + 1400]) for at in range(0, len(payload), 1400))]:
            segment = struct.pack(">HHIIBBHHH", 20000 + i, port, seq, int(flags != 2), 5 << 4, flags, 65535, 0, 0) + data
            frames.append(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2") + segment)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    path.write_bytes(head + b"".join(struct.pack("<IIII", 1, i, len(f), len(f)) + f for i, f in enumerate(frames)))


@pytest.mark.tshark
def test_tshark_reads_the_same(tshark: str, tmp_path: Path) -> None:
    hellos = [
        openssl(),
        openssl(None, ()),
        openssl("a.example", ("http/1.1",), ssl.TLSVersion.TLSv1_2),
        *(chrome(seed=s) for s in range(4)),
        hello(b"no.sigalgs.example"),
        record(message(None, legacy=0x0301)),
        record(message([(0x0D, vector(2, values(0x0403, 0x0804))), (0x0A0A, b""), (43, vector(1, values(0x0302)))])),
        records(openssl("records.example")[5:], 400),
        record(message([sni_extension(b"many.example"), *((0x2000 + i, b"") for i in range(120))], ciphers=list(range(1, 150)))),
    ]
    file = tmp_path / "hellos.pcap"
    write_capture(file, hellos)
    fields = ["tls.handshake.extensions_server_name", "tls.handshake.random", "tls.handshake.ja4", "tls.handshake.length"]
    out = subprocess.run(
        [tshark, "-r", file, "-Y", "tls.handshake.type == 1", "-T", "fields", *(x for f in fields for x in ("-e", f))],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ours = []
    for data in hellos:
        got = read_hello(data)
        assert got is not None
        ours.append(f"{got.sni or ''}\t{got.random}\t{got.ja4}\t{got.length_bytes}")
    assert out.splitlines() == ours
