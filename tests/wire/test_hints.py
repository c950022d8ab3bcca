"""Hints: what a payload starts with, in one number."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.wire import hints as h
from netlens.wire.hints import payload_hint, segment_hint
from netlens.wire.tls import NOT_HELLO, look
from tests.wire.helpers import ip4, one, tcp, udp


def hint(payload: bytes, cap: int | None = None, filler: int = 0) -> int:
    """The hint of a payload of which ``cap`` bytes were captured; what lies around it is ``filler``."""
    cap = len(payload) if cap is None else min(cap, len(payload))
    buf = np.frombuffer(bytearray(bytes([filler]) * 9 + payload[:cap] + bytes([filler]) * 9), np.uint8)
    return int(payload_hint(buf, 9, cap, len(payload)))


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    return struct.pack(">BHH", kind, version, len(body)) + body


DATA, ALERT, CHANGE = record(23, bytes(70)), record(21, b"\1\0"), record(20, b"\1")
HELLO, SERVER = record(22, b"\1" + bytes(200), 0x0301), record(22, b"\2" + bytes(90))


def facts(value: int) -> tuple[int, int, int]:
    """(application-data records, length of the first, of the last)"""
    return value >> h.COUNT_SHIFT & 0xFF, value >> h.FIRST_SHIFT & 0xFFFF, value >> h.LAST_SHIFT & 0xFFFF


def test_fields_do_not_share_bits() -> None:
    flags = [h.CLIENT_HELLO, h.SERVER_HELLO, h.HANDSHAKE, h.CHANGE_CIPHER, h.ALERT, h.APPLICATION, h.WHOLE, h.NO_HELLO]
    fields = [h.CLASS_MASK, *flags, 0xFF << h.COUNT_SHIFT, 0xFFFF << h.FIRST_SHIFT, 0xFFFF << h.LAST_SHIFT, h.PROTOCOL_MASK]
    fields.append(h.MAX_ALIKE << h.ALIKE_SHIFT)
    assert sum(fields) == np.bitwise_or.reduce(np.array(fields, np.int64))
    assert max(fields) < 1 << 63
    classes = [h.NOTHING, h.TLS, h.SSH, h.HTTP_REQUEST, h.HTTP_RESPONSE, h.HTTP2_PREFACE, h.CONNECT, h.SOCKS, h.SOCKS_REPLY, h.PROXY]
    assert len(set(classes)) == len(classes)
    assert max(classes) <= h.CLASS_MASK


@pytest.mark.parametrize(
    ("payload", "flags", "data"),
    [
        (HELLO, h.CLIENT_HELLO | h.HANDSHAKE | h.WHOLE, (0, 0, 0)),
        (SERVER + CHANGE + DATA, h.SERVER_HELLO | h.HANDSHAKE | h.CHANGE_CIPHER | h.APPLICATION | h.WHOLE, (1, 70, 70)),
        (CHANGE + record(23, bytes(53)), h.CHANGE_CIPHER | h.APPLICATION | h.WHOLE, (1, 53, 53)),
        (record(22, b"\x0b" + bytes(9)), h.HANDSHAKE | h.WHOLE, (0, 0, 0)),
        (ALERT, h.ALERT | h.WHOLE, (0, 0, 0)),
        (DATA, h.APPLICATION | h.WHOLE, (1, 70, 70)),
        (DATA + record(23, bytes(19)), h.APPLICATION | h.WHOLE, (2, 70, 19)),
        (DATA + record(23, bytes(300))[:100], h.APPLICATION, (2, 70, 300)),  # the last record goes on in the next segment
        (DATA[:-1], h.APPLICATION, (1, 70, 70)),
        (DATA + b"\x17\x03", h.APPLICATION, (1, 70, 70)),  # a record header split over two segments
        (DATA + b"no record", h.APPLICATION, (1, 70, 70)),
        (record(23, b""), h.APPLICATION | h.WHOLE, (1, 0, 0)),
        (record(22, b""), h.HANDSHAKE | h.WHOLE, (0, 0, 0)),
        (record(23, bytes(h.TLS_MAX_RECORD)), h.APPLICATION | h.WHOLE, (1, h.TLS_MAX_RECORD, h.TLS_MAX_RECORD)),
    ],
)
def test_tls(payload: bytes, flags: int, data: tuple[int, int, int]) -> None:
    value = hint(payload)
    assert value & h.CLASS_MASK == h.TLS
    assert value & (0x7F << 4) == flags
    assert facts(value) == data


@pytest.mark.parametrize(
    ("sizes", "alike"), [([], 0), ([70], 1), ([70, 70], 2), ([70, 70, 71], 2), ([70, 71, 70], 1), ([70, 70, 71, 70], 2), ([9] * 20, 15)]
)
def test_how_many_records_are_as_long_as_the_first(sizes: list[int], alike: int) -> None:
    payload = CHANGE + b"".join(record(23, bytes(size)) for size in sizes)
    assert hint(payload) >> h.ALIKE_SHIFT & h.MAX_ALIKE == alike


def test_tls_cut_by_the_snaplen() -> None:
    payload = DATA + SERVER + record(23, bytes(33))
    assert facts(hint(payload, 60)) == (1, 70, 70)
    assert hint(payload, 60) & h.WHOLE == 0
    assert hint(payload, 75 + 5) & (h.HANDSHAKE | h.SERVER_HELLO) == h.HANDSHAKE  # the byte that says which is cut
    assert hint(payload, 75 + 6) & (h.HANDSHAKE | h.SERVER_HELLO) == h.HANDSHAKE | h.SERVER_HELLO
    assert facts(hint(payload, len(payload) - 33)) == (2, 70, 33)
    assert hint(payload, len(payload) - 33) & h.WHOLE  # known from the lengths alone


@pytest.mark.parametrize(
    ("payload", "flags", "size"),
    [
        (record(23, bytes(700)), h.APPLICATION | h.WHOLE, 700),
        (record(20, b"\x01") + record(23, bytes(53)), h.APPLICATION | h.CHANGE_CIPHER | h.WHOLE, 53),  # the client's Finished
        (record(22, b"\x01" + bytes(500)), h.HANDSHAKE, 0),
        (record(21, bytes(19)), h.ALERT, 0),
        (record(20, b"\x01"), h.CHANGE_CIPHER, 0),
        (b"\x17\x03\x05\x00" + bytes(40), None, 0),
        (b"\x17\x03\x03\x49" + bytes(40), None, 0),
    ],
)
def test_four_bytes_of_tls_are_read_as_one_record(payload: bytes, flags: int | None, size: int) -> None:
    """IPv6 and options of TCP on a cooked interface leave no more of a snaplen of 96; the length of a segment is known all the same."""
    value = hint(payload, 4, 0x17)
    if flags is None:
        assert value == 0
        return
    assert value & 0xFFF == h.TLS | flags
    assert facts(value) == (int(size > 0), size, size)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x17\x03\x03",
        b"\x17\x03\x03\x00",
        b"\x18\x03\x03\x00\x03\x01\x00\x00",  # heartbeat: never a turn
        b"\x13\x03\x03\x00\x03abc",
        b"\x16\x02\x00\x00\x03abc",
        b"\x16\x03\x05\x00\x03abc",
        b"\x16\x03\x03\x48\x01" + bytes(40),  # longer than a record can be
        b"\x80\x2e\x01\x03\x01",  # SSLv2 hello
        bytes(40),
        b"HTTP/1.1 2x0 ",
        b"HTTP/1.1 20",
        b"HTTP 200 OK   ",
        b"HTTPS everywhere",
        b"SSH",
        b"GETTING there",
        b"get / HTTP/1.1",
        b"PRIVMSG #channel :hello",
    ],
)
def test_nothing(payload: bytes) -> None:
    assert hint(payload) == 0


@pytest.mark.parametrize(
    ("line", "http"),
    [
        (b"OPTIONS * HTTP/1.1\r\n", True),
        (b"OPTIONS /v1 HTTP/1.1\r\n", True),
        (b"OPTIONS http://a.example/ HTTP/1.1\r\n", True),
        (b"OPTIONS ", True),
        (b"OPTIONS rtsp://10.2.2.2:8554/ RTSP/1.0\r\n", False),
        (b"OPTIONS sip:carol@chicago.example SIP/2.0\r\n", False),
    ],
)
def test_options_of_other_protocols_is_no_http(line: bytes, http: bool) -> None:
    assert (hint(line) & h.CLASS_MASK == h.HTTP_REQUEST) == http


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_http_requests(method: str) -> None:
    assert hint(f"{method} /v1/chat HTTP/1.1\r\n".encode()) == h.HTTP_REQUEST
    assert hint(f"{method} /".encode(), 4) == h.HTTP_REQUEST


@pytest.mark.parametrize("status", [100, 200, 429, 503, 999, 0])
def test_http_responses(status: int) -> None:
    for version in ("1.0", "1.1"):
        value = hint(f"HTTP/{version} {status:03} x".encode())
        assert value & h.CLASS_MASK == h.HTTP_RESPONSE
        assert value >> h.STATUS_SHIFT == status
    assert hint(f"HTTP/1.1 {status:03}".encode(), 11) == 0


def test_others() -> None:
    assert hint(b"SSH-2.0-OpenSSH_9.6\r\n") == h.SSH
    assert hint(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == h.HTTP2_PREFACE


def test_many_records_end_somewhere() -> None:
    value = hint(record(23, b"") * 300)
    assert facts(value)[0] == h.MAX_RECORDS_PER_SEGMENT
    assert value & h.WHOLE == 0


def test_of_rows() -> None:
    assert one(ip4(tcp(DATA))).hint == hint(DATA) | h.NO_HELLO
    assert one(ip4(tcp(DATA)), cut=60).hint == hint(DATA, 20) | h.NO_HELLO
    assert one(ip4(tcp(HELLO))).hint == hint(HELLO)
    assert one(ip4(tcp())).hint == 0
    assert one(ip4(udp(DATA), 17)).hint == 0  # datagrams have none


def reference(payload: bytes, cap: int) -> int:
    """Records one after the other, read plainly."""
    value, lengths, p = h.TLS, [], 0
    for _ in range(h.MAX_RECORDS_PER_SEGMENT):
        if p + 5 > cap:
            break
        kind, major, minor, size = struct.unpack_from(">BBBH", payload, p)
        if kind not in (20, 21, 22, 23) or major != 3 or minor > 4 or size > h.TLS_MAX_RECORD:
            break
        value |= {20: h.CHANGE_CIPHER, 21: h.ALERT, 22: h.HANDSHAKE, 23: h.APPLICATION}[kind]
        if kind == 22 and p + 5 < cap:
            value |= {1: h.CLIENT_HELLO, 2: h.SERVER_HELLO}.get(payload[p + 5], 0)
        if kind == 23:
            lengths.append(size)
        p += 5 + size
        if p >= len(payload):
            value |= h.WHOLE if p == len(payload) else 0
            break
    if lengths:
        value |= len(lengths) << h.COUNT_SHIFT | lengths[0] << h.FIRST_SHIFT | lengths[-1] << h.LAST_SHIFT
        alike = next((i for i, size in enumerate(lengths) if size != lengths[0]), len(lengths))
        value |= min(alike, h.MAX_ALIKE) << h.ALIKE_SHIFT
    return value


RECORD = st.tuples(
    st.sampled_from([20, 21, 22, 22, 23, 23, 24]), st.binary(max_size=40), st.sampled_from([0x0300, 0x0301, 0x0303, 0x0304, 0x0305])
)


@given(records=st.lists(RECORD, max_size=12), rest=st.binary(max_size=8), lost=st.integers(0, 20), cap=st.integers(0, 600))
def test_any_records(records: list[tuple[int, bytes, int]], rest: bytes, lost: int, cap: int) -> None:
    payload = b"".join(record(*r) for r in records) + rest
    payload = payload[: len(payload) - lost] if lost < len(payload) else payload
    cap = min(cap, len(payload))
    value = hint(payload, cap, 0x17)
    if cap == 4 < len(payload):  # read as one record
        assert value & h.CLASS_MASK in (h.NOTHING, h.TLS)
        return
    expected = reference(payload, cap)
    if expected == h.TLS:  # not even one record
        assert value & h.CLASS_MASK != h.TLS
    else:
        assert value == expected


STARTS = st.sampled_from([b"", b"HTTP/1.1 ", b"SSH-", b"GET ", b"\x17\x03\x03", b"\x16\x03\x01\x00"])


@given(start=STARTS, rest=st.binary(max_size=60), cap=st.integers(0, 60))
def test_any_payload(start: bytes, rest: bytes, cap: int) -> None:
    values = {hint(start + rest, cap, filler) for filler in (0, 0x03, 0x17, 0x20, 0x34, 0xFF)}  # what was not captured is not read
    (value,) = values
    assert 0 <= value < 1 << h.PROTOCOL_SHIFT
    assert value & h.CLASS_MASK <= h.PROXY


V1, V2 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 443\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)
NAME = b"\x03\x04name\x01\xbb"


def test_connect_names_an_authority() -> None:
    for target in ("api.example.test:443", "[2001:db8::1]:443", "203.0.113.10:443"):
        assert hint(f"CONNECT {target} HTTP/1.1\r\n".encode()) == h.CONNECT
    assert hint(b"CONNECT api", 8) == h.HTTP_REQUEST  # cut before it


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_four_letters_are_enough_where_the_rest_is_blanked(method: str) -> None:
    """An anonymized copy keeps no more of a request."""
    assert hint(method[:4].encode() + bytes(60)) == (h.CONNECT if method == "CONNECT" else h.HTTP_REQUEST)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x05\x01\x00", h.SOCKS),
        (b"\x05\x03\x00\x01\x02", h.SOCKS),
        (b"\x05\x02\x00\x80", h.SOCKS),  # a private method
        (b"\x05\x01\x00\x05\x01\x00" + NAME, h.SOCKS),  # with the request behind it
        (b"\x05\x00", h.SOCKS_REPLY),
        (b"\x05\xff", h.SOCKS_REPLY),
        (b"\x01\x00", h.SOCKS_REPLY),
        (b"\x05\x00\x00\x01" + bytes(6), h.SOCKS_REPLY | h.LAST_REPLY),
        (b"\x05\x05\x00\x01" + bytes(6), h.SOCKS_REPLY | h.LAST_REPLY),  # refused
        (b"\x05\x00\x00\x04" + bytes(18), h.SOCKS_REPLY | h.LAST_REPLY),
        (b"\x05\x00\x00" + NAME, h.SOCKS_REPLY | h.LAST_REPLY),
        (b"\x05\x00\x00\x01" + bytes(6) + b"220 mail\r\n", h.SOCKS_REPLY | h.LAST_REPLY),  # with what a server says first
        (b"\x05\x00\x05\x00\x00\x01" + bytes(6), h.SOCKS_REPLY | h.LAST_REPLY),  # to a client that did not wait
        (b"\x04\x01\x01\xbb\xcb\x00\x71\x0a\x00", h.SOCKS),
        (b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00name\x00", h.SOCKS),
        (b"\x00\x5a" + bytes(6), h.SOCKS_REPLY | h.LAST_REPLY),
        (b"\x00\x5b" + bytes(6), h.SOCKS_REPLY | h.LAST_REPLY),
        (b"\x05\x01\x20", 0),
        (b"\x05\x02\x00", 0),
        (b"\x05\x00\x0b\x03" + bytes(60), 0),  # DCE/RPC
        (b"\x04\x01\x01\xbb\xcb\x00\x71\x0a", 0),
        (b"\x04\x03\x01\xbb\xcb\x00\x71\x0a\x00", 0),
        (b"\x00\x5a", 0),
        (b"\x00\x00\x0c\x04" + bytes(20), 0),  # a frame of HTTP/2
        (b"\x01", 0),
        (V1, h.PROXY),
        (V2, h.PROXY),
        (V1[:-1], 0),
        (V2[:-1], 0),
        (b"PROXIMITY " * 20, 0),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", 0),
        (V1 + b"GET / HTTP/1.1\r\n", h.HTTP_REQUEST | len(V1) << h.PREFIX_SHIFT),
        (V2 + b"GET / HTTP/1.1\r\n", h.HTTP_REQUEST | len(V2) << h.PREFIX_SHIFT),
        (V2 + b"CONNECT name:443 HTTP/1.1\r\n", h.CONNECT),
    ],
)
def test_what_comes_before_the_protocol(payload: bytes, expected: int) -> None:
    assert hint(payload) == hint(payload, filler=255) == expected


@given(header=st.sampled_from([V1, V2]), body=st.sampled_from([HELLO, DATA + ALERT, SERVER + CHANGE + DATA]), cut=st.integers(5, 400))
def test_tls_behind_a_proxy_header_is_as_without_it(header: bytes, body: bytes, cut: int) -> None:
    assert hint(header + body, len(header) + cut) == hint(body, cut)


@pytest.mark.parametrize("method", ["PROPFIND", "REPORT", "M-SEARCH", "UNLOCK", "SEARCH", "UPDATEREDIRECTREF", "QUERY"])
def test_other_methods_by_the_whole_line(method: str) -> None:
    assert hint(f"{method} /x?y=1 HTTP/1.1\r\n".encode()) == h.HTTP_REQUEST
    assert hint(f"{method} http://name/x HTTP/1.1\r\n".encode()) == h.HTTP_REQUEST
    for other in (
        f"{method} /x\r\n",
        f"{method} /x y HTTP/1.1\r\n",
        f"{method} HTTP/1.1\r\n",
        f"{method}\r\n/x HTTP/1.1\r\n",
        f"{method} /x HTTP",
    ):
        assert hint(other.encode()) == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"DELE 1\r\n\r\n",
        b"POSTGRES",
        b"HEADLESS",
        b"OPTIMAL x",
        b"TRACKING",
        b"PATCHES!",
        b"CONNECTED",
        b"LIST /home\r\n",
        b"USER name\r\n",
    ],
)
def test_words_of_other_protocols_are_no_methods(payload: bytes) -> None:
    assert hint(payload) == 0


def more(payload: bytes, cap: int | None = None) -> int:
    return hint(payload, cap) >> h.MORE_SHIFT & h.MAX_MORE


def test_how_many_messages_begin_in_a_segment() -> None:
    get, post = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /b HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    ok, empty = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 304 Not Modified\r\n\r\n"
    assert [more(get * n) for n in (1, 2, 5, 40)] == [0, 1, 4, h.MAX_MORE]
    assert [more(x) for x in (get + post, post + get + get, get + b"POSTGRES IS NOT ONE", ok + b" GET / HTTP/1.1")] == [1, 2, 0, 0]
    assert [more(x) for x in (ok, ok + empty, empty * 3 + ok, ok * 40, ok + b"HTTPS", ok + b"HTTP/1.1 100 Continue")] == [
        0,
        1,
        3,
        h.MAX_MORE,
        0,
        0,
    ]
    assert more(ok + ok, len(ok) + 8) == 0  # cut
    assert hint(ok * 2) >> h.STATUS_SHIFT & 0x3FF == 200


BEGINS = [
    b"",
    HELLO,
    CHANGE + HELLO,
    SERVER,
    DATA,
    b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12),
    b"POST /",
    b"SSH-2.0",
]


@given(st.sampled_from(BEGINS), st.sampled_from(BEGINS), st.binary(max_size=40), st.integers(2, 300))
def test_where_the_hint_says_no_hello_begins_none_is_found(first: bytes, second: bytes, rest: bytes, cap: int) -> None:
    payload = first + second + rest
    if len(payload) < 2:
        return
    cap = min(cap, len(payload))
    buf = np.frombuffer(bytearray(payload), np.uint8)
    found = int(segment_hint(buf, 0, cap, len(payload)))
    assert found & ~h.NO_HELLO == int(payload_hint(buf, 0, cap, len(payload)))
    if found & h.NO_HELLO:
        assert look(buf, 0, cap) == NOT_HELLO
    assert bool(found & h.NO_HELLO) == (payload[0] not in (13, 20, 22, 80))
