"""DNS messages: questions, names, compression, chains, records, damage. Messages are built by scapy or, where it refuses, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRMX, DNSRROPT, DNSRRSOA, DNSRRSRV

from netlens.wire import dns as d
from netlens.wire.addresses import ip_text, ip_texts

HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
ANSWER_HEADER = b"\x12\x34\x81\x80\x00\x01"


def parse(message: bytes, cap: int | None = None, transport: int = d.UDP, before: bytes = b"") -> dict[str, object] | None:
    """Parse one message that lies behind ``before``; None if it is none. Everything outside the message is 0xAA and must not be read."""
    cap = len(message) if cap is None else cap
    buf = np.frombuffer(bytearray(before + message[:cap] + b"\xaa" * 300), np.uint8)
    arena = np.full(d.room(cap) + 3, 0xEE, np.uint8)
    row = np.zeros(d.MESSAGE_WIDTH, np.int64)
    scratch = np.empty((d.MAX_RECORDS, d.SCRATCH_WIDTH), np.int64)
    used, records = d.parse_message(buf, len(before), cap, len(message), transport, arena, 3, row, scratch)
    if used < 0:
        return None
    assert 3 <= used <= len(arena)
    meta, question = int(row[d.META]), int(row[d.QUESTION])
    at, size = int(row[d.NAME]), question >> 32
    found: dict[str, object] = {
        "txid": meta & 0xFFFF,
        "answer": bool(meta >> 31 & 1),
        "opcode": meta >> 27 & 15,
        "rcode": (meta >> 32 & 255) << 4 | meta >> 16 & 15,
        "transport": meta >> 40 & 3,
        "questions": meta >> 46,
        "read": bool(meta >> 42 & d.QUESTION_READ),
        "cut": bool(meta >> 42 & d.ANSWERS_CUT),
        "strict": bool(meta >> 42 & d.STRICT),
        "qname": arena[at : at + size].tobytes().decode("ascii"),
        "qtype": question & 0xFFFF,
        "qclass": question >> 16 & 0xFFFF,
        "hash": int(row[d.HASH]),
        "records": records,
    }
    at = int(row[d.ANSWER]) >> 20
    stop = at + (int(row[d.ANSWER]) & 0xFFFFF)
    assert 3 <= at <= stop <= used
    lists: dict[int, list[str]] = {d.CNAME_STEP: [], d.FINAL: []}
    while at < stop:
        kind, rtype = int(arena[at]), int(arena[at + 1]) << 8 | int(arena[at + 2])
        size = int(arena[at + 3]) << 8 | int(arena[at + 4])
        data = arena[at + 5 : at + 5 + size].tobytes()
        if rtype in (1, 28):
            number = int.from_bytes(data, "big")
            lists[kind].append(ip_text(number >> 64, number & (1 << 64) - 1, 4 if rtype == 1 else 6))
        else:
            lists[kind].append(data.decode("ascii"))
        at += 5 + size
    assert at == stop
    found["cnames"], found["answers"] = lists[d.CNAME_STEP], lists[d.FINAL]
    return found


def read(message: bytes, **options: int) -> dict[str, object]:
    found = parse(message, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def query(name: str = "api.z.ai", qtype: str = "A", txid: int = 0x1234, **more: object) -> bytes:
    return bytes(DNS(id=txid, rd=1, qd=DNSQR(qname=name, qtype=qtype), **more))


def answer(records: list[object], name: str = "api.z.ai", qtype: str = "A", **more: object) -> bytes:
    return bytes(DNS(id=0x1234, qr=1, rd=1, ra=1, qd=DNSQR(qname=name, qtype=qtype), an=records, **more))


def wire_name(*labels: bytes) -> bytes:
    return b"".join(bytes([len(x)]) + x for x in labels) + b"\0"


def test_query() -> None:
    got = read(query("API.z.ai", "AAAA", 0xBEEF))
    assert (got["txid"], got["answer"], got["qname"], got["qtype"], got["qclass"], got["questions"]) == (
        0xBEEF,
        False,
        "API.z.ai",
        28,
        1,
        1,
    )
    assert got["read"]
    assert got["strict"]
    assert not got["cut"]
    assert got["hash"] == read(query("api.Z.AI", "A"))["hash"]
    assert got["hash"] != read(query("api.z.ab"))["hash"]


def test_result_code_with_its_extension() -> None:
    assert read(answer([], rcode=3))["rcode"] == 3
    assert read(answer([], ar=[DNSRROPT(extrcode=1)]))["rcode"] == 16
    assert d.rcode_text(16) == "BADVERS"
    assert d.rcode_text(99) == "RCODE99"
    assert (d.type_text(65), d.type_text(65280)) == ("HTTPS", "TYPE65280")


def test_chain_in_any_order_and_strangers_left_out() -> None:
    records = [
        DNSRR(rrname="Edge.cdn.net", type="A", rdata="192.0.2.2"),
        DNSRR(rrname="lb.cdn.net", type="CNAME", rdata="edge.cdn.net"),
        DNSRR(rrname="other.example", type="A", rdata="192.0.2.9"),
        DNSRR(rrname="API.z.ai", type="CNAME", rdata="lb.cdn.net"),
        DNSRR(rrname="edge.cdn.net", type="A", rdata="192.0.2.1"),
        DNSRR(rrname="edge.cdn.net", type="AAAA", rdata="2001:db8::1"),
    ]
    got = read(answer(records))
    assert got["cnames"] == ["lb.cdn.net", "edge.cdn.net"]
    assert got["answers"] == ["192.0.2.2", "192.0.2.1"]
    assert not got["cut"]


def test_circular_and_long_chains_end() -> None:
    circle = [DNSRR(rrname=a, type="CNAME", rdata=b) for a, b in (("api.z.ai", "b.x"), ("b.x", "c.x"), ("c.x", "api.z.ai"))]
    got = read(answer(circle))
    assert (got["cnames"], got["answers"]) == (["b.x", "c.x", "api.z.ai"], [])
    names = ["api.z.ai", *(f"n{i}.x" for i in range(40))]
    got = read(answer([DNSRR(rrname=a, type="CNAME", rdata=b) for a, b in itertools.pairwise(names)]))
    assert got["cnames"] == names[1 : 1 + d.MAX_CNAMES]


def test_a_cname_that_was_asked_for_is_the_answer() -> None:
    got = read(answer([DNSRR(rrname="api.z.ai", type="CNAME", rdata="b.x")], qtype="CNAME"))
    assert (got["cnames"], got["answers"]) == ([], ["b.x"])


@pytest.mark.parametrize(
    ("qtype", "record", "text"),
    [
        ("AAAA", DNSRR(rrname="api.z.ai", type="AAAA", rdata="2001:db8::1"), "2001:db8::1"),
        ("PTR", DNSRR(rrname="api.z.ai", type="PTR", rdata="host.example"), "host.example"),
        ("NS", DNSRR(rrname="api.z.ai", type="NS", rdata="ns.api.z.ai"), "ns.api.z.ai"),
        ("MX", DNSRRMX(rrname="api.z.ai", preference=10, exchange="mail.api.z.ai"), "10 mail.api.z.ai"),
        ("SRV", DNSRRSRV(rrname="api.z.ai", priority=1, weight=20, port=65535, target="s.x"), "1 20 65535 s.x"),
        ("TXT", DNSRR(rrname="api.z.ai", type="TXT", rdata=[b'v=1 "x.y"', b"\xff\\"]), r'"v=1 \034x.y\034" "\255\092"'),
        (
            "SOA",
            DNSRRSOA(rrname="api.z.ai", mname="ns.x", rname="root.x", serial=4294967295, refresh=2, retry=30, expire=400, minimum=0),
            "ns.x root.x 4294967295 2 30 400 0",
        ),
        ("HTTPS", DNSRR(rrname="api.z.ai", type=65, rdata=b"\x00\x01\x00\xab"), r"\# 4 000100ab"),
        ("NULL", DNSRR(rrname="api.z.ai", type=10, rdata=b""), r"\# 0"),
    ],
)
def test_records_as_text(qtype: str, record: object, text: str) -> None:
    assert read(answer([record], qtype=qtype))["answers"] == [text]


def test_any_takes_all_types() -> None:
    records = [DNSRR(rrname="api.z.ai", type="A", rdata="192.0.2.1"), DNSRR(rrname="api.z.ai", type="NS", rdata="ns.x")]
    assert read(answer(records, qtype="ALL"))["answers"] == ["192.0.2.1", "ns.x"]


def test_bad_rdata_hides_no_other_record() -> None:
    records = [DNSRR(rrname="api.z.ai", type="A", rdata="192.0.2.1")]
    message = bytearray(answer([*records, *records]))
    message[6:8] = b"\0\3"
    message += wire_name(b"api", b"z", b"ai") + b"\0\1\0\1\0\0\0\0\0\3\1\2\3"
    got = read(bytes(message))
    assert got["answers"] == ["192.0.2.1", "192.0.2.1"]
    assert got["cut"]


def test_hostile_names_are_escaped() -> None:
    got = read(HEADER + wire_name(b"a.b", b"\\\"'<script>", b"\x00\x1b[31m\xff", b"x y") + b"\0\1\0\1")
    assert got["qname"] == "a\\046b.\\092\"'<script>.\\000\\027[31m\\255.x y"
    # A dot inside a label is not the dot between labels.
    assert got["hash"] != read(HEADER + wire_name(b"a", b"b", b"\\\"'<script>", b"\x00\x1b[31m\xff", b"x y") + b"\0\1\0\1")["hash"]


def test_root() -> None:
    got = read(HEADER + b"\0\0\2\0\1")
    assert (got["qname"], got["qtype"], got["read"]) == (".", 2, True)


def test_names_of_255_octets_and_no_more() -> None:
    whole = [b"\xff" * 63] * 3
    got = read(HEADER + wire_name(*whole, b"\xff" * 61) + b"\0\1\0\1")
    assert got["read"]
    assert len(str(got["qname"])) == 4 * (3 * 63 + 61) + 3
    assert not read(HEADER + wire_name(*whole, b"\xff" * 62) + b"\0\1\0\1")["read"]


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # to itself
        b"\xc0\x0e\xc0\x0c",  # to and fro
        b"\x01a\xc0\x0c",  # to its own beginning
        b"\x01a\xc0\x0e",  # to itself behind a label
        b"\xff\xff",  # forwards, out of the message
        b"\xc0",  # cut
        b"\x41a\x00",  # extended label type
        b"\x3fshort",
    ],
)
def test_bad_names_are_unread_but_a_message(name: bytes) -> None:
    got = read(HEADER + name + b"\0\1\0\1"[: 4 if len(name) > 1 else 0])
    assert not got["read"]
    assert not got["strict"]
    assert got["cut"]
    assert (got["qname"], got["hash"]) == ("", 0)


def test_pointers_into_the_header_and_in_steps() -> None:
    # Owner -> question; target -> label + pointer to the question's second label.
    message = ANSWER_HEADER + b"\0\2\0\0\0\0" + wire_name(b"api", b"z", b"ai") + b"\0\1\0\1"
    at = len(message)
    message += b"\xc0\x0c\0\5\0\1\0\0\0\1\0\6\3cdn\xc0\x10"
    message += b"\xc0" + bytes([at + 12]) + b"\0\1\0\1\0\0\0\1\0\4\xc0\0\2\7"
    got = read(message)
    assert (got["cnames"], got["answers"], got["cut"]) == (["cdn.z.ai"], ["192.0.2.7"], False)


def test_cut_at_every_byte() -> None:
    message = answer(
        [
            DNSRR(rrname="api.z.ai", type="CNAME", rdata="b.x"),
            DNSRR(rrname="b.x", rdata="192.0.2.1"),
            DNSRR(rrname="b.x", rdata="192.0.2.2"),
        ]
    )
    whole = read(message)
    assert whole["answers"] == ["192.0.2.1", "192.0.2.2"]
    question = 12 + 10 + 4
    for cap in range(len(message)):
        got = parse(message, cap=cap)
        if cap < d.MIN_MESSAGE:
            assert got is None
            continue
        assert got is not None
        assert got["cut"]
        assert got["answer"]
        assert got["txid"] == 0x1234
        assert got["rcode"] == 0
        assert got["read"] == (cap >= question)
        assert got["qname"] == ("api.z.ai" if cap >= question else "")
        for kind in ("cnames", "answers"):
            some, every = got[kind], whole[kind]
            assert isinstance(some, list)
            assert isinstance(every, list)
            assert some == every[: len(some)]


def test_looks_of_dns() -> None:
    """What a port does not say is told by strictness alone: every odd thing ends it."""
    good = query()
    assert read(good)["strict"]
    assert read(answer([DNSRR(rrname="api.z.ai", rdata="192.0.2.1")]))["strict"]
    assert read(query(ar=[DNSRROPT()]))["strict"]
    for at, value in ((2, 0x11), (3, 0x41), (3, 0x03), (5, 2), (7, 1), (9, 1), (11, 3), (len(good) - 1, 9)):
        odd = bytearray(good)
        odd[at] = value
        assert not read(bytes(odd))["strict"], (at, value)
    assert not read(good + b"\0")["strict"]


def test_mdns_response_is_read_by_owner() -> None:
    message = bytes(
        DNS(
            qr=1,
            aa=1,
            qd=[],
            an=[
                DNSRR(rrname="_http._tcp.local", type="PTR", rdata="My Printer._http._tcp.local"),
                DNSRR(rrname="p.local", type="A", rclass=0x8001, rdata="192.0.2.1"),
                DNSRR(rrname="_http._tcp.local", type="PTR", rdata="Two._http._tcp.local"),
                DNSRR(rrname="p.local", type="AAAA", rclass=0x8001, rdata="2001:db8::1"),
            ],
        )
    )
    buf = np.frombuffer(bytearray(message), np.uint8)
    arena = np.zeros(d.room(len(message)), np.uint8)
    row = np.zeros(d.MESSAGE_WIDTH, np.int64)
    scratch = np.empty((d.MAX_RECORDS, d.SCRATCH_WIDTH), np.int64)
    used, records = d.parse_message(buf, 0, len(message), len(message), d.MDNS, arena, 0, row, scratch)
    seen = []
    while (last := d.next_owner(buf, 0, len(message), records, arena, used, len(arena), row, scratch)) >= 0:
        at = int(row[d.NAME])
        seen.append((arena[at : at + (int(row[d.QUESTION]) >> 32)].tobytes(), int(row[d.QUESTION]) & 0xFFFF, int(row[d.ANSWER]) & 0xFFFFF))
        used = last
    assert seen == [(b"_http._tcp.local", 12, 57), (b"p.local", 1, 9), (b"p.local", 28, 21)]


def test_many_records_stay_within_their_room() -> None:
    """Each record's compressed name expands to 250 octets; the arena's room is a bound, and the rest is marked as cut."""
    name = wire_name(*[b"\xff" * 60] * 4)
    message = bytearray(ANSWER_HEADER + b"\x03\x00\0\0\0\0" + name + b"\0\x0c\0\1")
    message += b"\xc0\x0c\0\x0c\0\1\0\0\0\1\0\2\xc0\x0c" * 0x300
    got = read(bytes(message))
    assert got["cut"]
    assert 0 < len(got["answers"]) <= d.MAX_RECORDS


@given(st.binary(max_size=600), st.integers(0, 700), st.sampled_from([d.UDP, d.TCP, d.MDNS]), st.binary(max_size=5))
def test_no_bytes_crash_or_are_read_outside(data: bytes, cap: int, transport: int, before: bytes) -> None:
    cap = min(cap, len(data))
    first = parse(data, cap, transport, before)
    assert first == parse(data[:cap] + b"\x55" * (len(data) - cap), cap, transport, before[::-1])


@given(st.binary(max_size=300), st.integers(0, 8), st.integers(0, 8))
def test_no_records_crash(tail: bytes, answers: int, more: int) -> None:
    message = ANSWER_HEADER + bytes([0, answers, 0, more, 0, more]) + wire_name(b"api", b"z", b"ai") + b"\0\xff\0\1" + tail
    got = read(message)
    assert got["qname"] == "api.z.ai"


@given(
    st.lists(st.sampled_from([b"\xc0\x0c", b"\xc0\x10", b"\xc0\x1a", b"\x01a", b"\x03abc", b"\0", b"\0\1\0\1", b"\xc0\xff"]), max_size=40)
)
def test_pointer_soup_ends(parts: list[bytes]) -> None:
    read(HEADER + b"".join(parts))
    read(ANSWER_HEADER + b"\0\x09\0\x09\0\x09" + b"".join(parts))


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=8).filter(lambda x: sum(map(len, x)) + len(x) < 255))
def test_names_round_trip(labels: list[bytes]) -> None:
    text = str(read(HEADER + wire_name(*labels) + b"\0\1\0\1")["qname"])
    back: list[bytes] = [b""]
    i = 0
    while i < len(text):
        if text[i] == ".":
            back.append(b"")
            i += 1
        elif text[i] == "\\":
            back[-1] += bytes([int(text[i + 1 : i + 4])])
            i += 4
        else:
            back[-1] += text[i].encode()
            i += 1
    assert back == labels


def test_address_text() -> None:
    assert ip_text(0, 0xFFFF << 32 | 0x7F000001, 4) == "127.0.0.1"
    assert ip_text(0, 0xFFFF << 32 | 0x7F000001, 6) == "::ffff:127.0.0.1"
    assert ip_text(0x20010DB800000000, 1, 6) == "2001:db8::1"
    assert ip_text(-1, -1, 6) == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    hi = np.array([0, 0, -1, 0], np.int64)
    lo = np.array([0xFFFF << 32 | 0xC0000201, 0xFFFF << 32 | 0xC0000201, 5, 0xFFFF << 32 | 0xC0000201], np.int64)
    texts = ip_texts(hi, lo, np.array([4, 6, 6, 4], np.int64))
    assert texts.tolist() == ["192.0.2.1", "::ffff:192.0.2.1", "ffff:ffff:ffff:ffff::5", "192.0.2.1"]
    assert texts[0] is texts[3]
    assert ip_texts(hi[:0], lo[:0], 4).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.booleans()), max_size=50))
def test_address_columns_equal_single_ones(values: list[tuple[int, bool]]) -> None:
    lo = np.array([v | 0xFFFF << 32 for v, _ in values], np.int64)
    hi = np.zeros(len(values), np.int64)
    version = np.array([4 if is_v4 else 6 for _, is_v4 in values], np.int64)
    assert ip_texts(hi, lo, version).tolist() == [ip_text(0, int(x), int(v)) for x, v in zip(lo, version, strict=True)]
