"""Exchanges: turns of payload to requests and responses; the TLS records are those of this Python's TLS library."""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens.parsers import exchanges as module
from netlens.parsers.exchanges import ExchangeBuilder
from netlens.parsers.lifecycle import Kept
from netlens.parsers.sessions import SessionFold
from tests.parsers import build
from tests.parsers.build import ASK, MS, NEGOTIATED, T0, Packet, S, Talk, Turns, mixed, rewritten, rows

VM, API, NEAR = ("192.168.64.2", 40000), ("203.0.113.10", 443), ("127.0.0.1", 12300)
MSS = 1448


def exchanges(packets: Sequence[Packet], size: int = 2048) -> list[dict[str, Any]]:
    state, builder = SessionFold(), ExchangeBuilder()
    buf, matrix = rows(packets)
    for at in range(0, len(matrix), size):
        batch = matrix[at : at + size]
        state.feed(batch)
        builder.feed(buf, batch, state.state())
    return list(builder.rows(state.state()).records())


def one(packets: Sequence[Packet]) -> dict[str, Any]:
    found = exchanges(packets)
    assert len(found) == 1, [(r["start_frame"], r["response_frame"]) for r in found]
    return found[0]


# -- turns of plain payload --


def plain(port: int = 34567) -> Talk:
    return Talk(VM, (API[0], port)).open()


def frame(packets: Sequence[Packet], packet: Packet) -> int:
    return next(i for i, p in enumerate(packets) if p is packet) + 1


def test_one_turn() -> None:
    t = plain()
    first, last = t.up("PA", 100), t.up("PA", 50)
    begins, _, ends = t.down("PA", 10), t.down("PA", 1400), t.down("PA", 7)
    row = one(t.close().packets)
    assert (row["exchange_id"], row["session_id"]) == (0, 0)
    assert (row["up_bytes"], row["down_bytes"]) == (150, 1417)
    assert (row["start_ns"], row["request_end_ns"]) == (T0 + first.at, T0 + last.at)
    assert (row["response_ns"], row["end_ns"]) == (T0 + begins.at, T0 + ends.at)
    assert [row[f + "_frame"] for f in ("start", "response", "end")] == [frame(t.packets, p) for p in (first, begins, ends)]
    assert (row["complete"], row["status"], row["rejected"]) == (True, None, None)


def test_turns_on_one_connection() -> None:
    t = plain()
    for i in range(5):
        t.up("PA", 100 + i)
        t.down("A")
        t.down("PA", 1000 + i)
        t.down("PA", 1)
        t.wait(S)
    found = exchanges(t.packets)
    assert [(r["up_bytes"], r["down_bytes"]) for r in found] == [(100 + i, 1001 + i) for i in range(5)]
    assert [r["complete"] for r in found] == [True] * 4 + [False]
    assert [r["exchange_id"] for r in found] == list(range(5))


def test_pipelined_requests_are_one() -> None:
    t = plain()
    for _ in range(3):
        t.up("PA", 100)
    for _ in range(3):
        t.down("PA", 200)
    row = one(t.packets)
    assert (row["up_bytes"], row["down_bytes"]) == (300, 600)


def test_what_repeats_is_no_turn() -> None:
    t = plain()
    request = t.up("PA", 100)
    t.again()
    t.down("PA", 200)
    t.wait(S).again()
    t.again(request)  # a late copy of the request is no second one
    t.again(iface=2)
    t.wait(15 * S).up("A", 1, seq=t.seq - 1)  # keep-alive probe
    t.down("A")
    t.down("PA", 300)
    row = one(t.packets)
    assert (row["up_bytes"], row["down_bytes"]) == (100, 500)


def test_no_answer_and_no_request() -> None:
    t = plain()
    t.up("PA", 100)
    row = one(t.packets)
    assert (row["response_ns"], row["end_ns"], row["response_frame"], row["end_frame"], row["down_bytes"]) == (None, None, None, None, 0)
    assert not row["complete"]
    t = plain()
    t.down("PA", 100)  # a greeting, or the rest of an answer whose request is older than the capture
    assert exchanges(t.packets) == []


@pytest.mark.parametrize(
    ("how", "complete"),
    [
        ("both close", True),
        ("server closes", True),
        ("client closes behind the answer", True),
        ("capture ends with the client's FIN", False),
        ("capture ends", False),
        ("client aborts", False),
        ("server aborts", False),
        ("client RST after the server's FIN", True),
        ("client FIN amid the answer", False),
        ("client FIN amid the answer, server FIN at its end", True),
    ],
)
def test_complete(how: str, complete: bool) -> None:
    t = plain()
    t.up("PA", 100)
    t.down("PA", 1000)
    if how == "both close":
        t.close()
    elif how == "server closes":
        t.down("FA")
    elif how == "client closes behind the answer":
        t.up("FA")
        t.down("A")
    elif how == "capture ends with the client's FIN":
        t.up("FA")
    elif how == "client aborts":
        t.up("RA")
    elif how == "server aborts":
        t.down("RA")
    elif how == "client RST after the server's FIN":
        t.down("FA")
        t.up("R")
    elif how.startswith("client FIN amid"):
        t.up("FA")
        t.down("PA", 1000)
        if how.endswith("its end"):
            t.down("FA")
    assert one(t.packets)["complete"] is complete


def halves(packets: Sequence[Packet]) -> list[Packet]:
    return [rewritten([p], {API: NEAR}, 0, 1)[0] if p.data[22:24] == API[1].to_bytes(2, "big") else p for p in packets]


@pytest.mark.parametrize("end", ["close", "open", "rst", "server fin"])
def test_redirect_halves_are_read_as_one(end: str) -> None:
    t = Talk(VM, API).open()
    for i in range(3):
        t.up("PA", 100 + i)
        t.down("PA", 1000 + i)
    if end == "close":
        t.close()
    elif end == "rst":
        t.up("RA")
    elif end == "server fin":
        t.down("FA")
    whole, split = exchanges(t.packets), exchanges(halves(t.packets))
    assert whole == split
    assert [r["session_id"] for r in split] == [0, 0, 0]
    # the receiving half captured first
    packets = halves(t.packets)
    packets[0], packets[1] = packets[1], packets[0]
    again = exchanges(packets)
    assert [{**r, "session_id": 0} for r in again] == whole
    assert [r["session_id"] for r in again] == [1, 1, 1]


def test_ssh_has_no_exchanges() -> None:
    t = Talk(VM, (API[0], 2222)).open()
    t.up("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
    t.down("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
    t.up("PA", 100)
    t.down("PA", 100)
    t.up("PA", 100)
    assert len(exchanges(t.packets)) <= 1  # the first banner alone does not show yet that it is one
    t = Talk(VM, (API[0], 22))  # older than the capture
    t.up("PA", 100)
    t.down("PA", 100)
    assert exchanges(t.packets) == []


# -- HTTP in the clear --


def http(*parts: tuple[str, bytes]) -> Talk:
    t = plain(80)
    for who, data in parts:
        (t.up if who == "up" else t.down)("PA", data)
    return t


GET = ("up", b"GET /v1/models HTTP/1.1\r\nHost: api.example.test\r\n\r\n")


@pytest.mark.parametrize(("status", "rejected"), [(200, False), (429, True), (503, False), (404, False), (101, False)])
def test_status(status: int, rejected: bool) -> None:
    row = one(http(GET, ("down", b"HTTP/1.1 %d X\r\n\r\n" % status), ("down", b"HTTP/1.1 999 in the body")).packets)
    assert (row["status"], row["rejected"]) == (status, rejected)


def test_each_turn_has_its_status() -> None:
    parts = [p for status in (200, 429, 200) for p in (GET, ("down", b"HTTP/1.1 %d X\r\n\r\n" % status))]
    assert [r["status"] for r in exchanges(http(*parts).packets)] == [200, 429, 200]


def test_100_continue_opens_no_response() -> None:
    post = ("up", b"POST /v1/chat HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
    t = http(post, ("down", b"HTTP/1.1 100 Continue\r\n\r\n"), ("up", b"x" * 500), ("down", b"HTTP/1.1 429 Too Many Requests\r\n\r\n"))
    row = one(t.packets)
    assert (row["status"], row["up_bytes"], row["response_frame"]) == (429, len(post[1]) + 500, 7)
    t = http(GET, ("down", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), ("down", b"HTTP/1.1 200 OK\r\n\r\n"))
    assert (one(t.packets)["status"], one(t.packets)["response_frame"]) == (200, 6)


def test_100_continue_with_the_answer_behind_it() -> None:
    t = http(GET, ("down", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody"))
    row = one(t.packets)
    assert (row["status"], row["rejected"], row["response_frame"]) == (None, None, 5)


# -- TLS --


class Tls:
    """A TLS session between two memory buffers, put on the wire segment by segment."""

    def __init__(
        self, pem: Path, tickets: int = 2, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, groups: str | None = None, mss: int = MSS
    ):
        """``mss``: payload of a segment; what is sent before the handshake goes over ``talk``."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pem)
        server.num_tickets = tickets
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.maximum_version = version
        if groups:
            server.set_ecdh_curve(groups)  # another than the client guesses: HelloRetryRequest
        self.down_in, self.up_out, self.up_in, self.down_out = (ssl.MemoryBIO() for _ in range(4))
        self.client = client.wrap_bio(self.down_in, self.up_out, server_hostname="api.example.test")
        self.server = server.wrap_bio(self.up_in, self.down_out, server_side=True)
        self.talk = Talk(VM, API).open()
        self.mss = mss

    def step(self, client: bool) -> bytes:
        """Go on with the handshake on one side; what it wants to send."""
        with contextlib.suppress(ssl.SSLWantReadError):
            (self.client if client else self.server).do_handshake()
        return (self.up_out if client else self.down_out).read()

    def up(self, data: bytes) -> None:
        self.up_in.write(data)
        for at in range(0, len(data), self.mss):
            self.talk.up("PA", data[at : at + self.mss])

    def down(self, data: bytes) -> None:
        self.down_in.write(data)
        for at in range(0, len(data), self.mss):
            self.talk.down("PA", data[at : at + self.mss])

    def handshake(self) -> bytes:
        """All but the end of it: the client's Finished, which is not sent yet."""
        while True:
            try:
                self.client.do_handshake()
                return self.up_out.read()
            except ssl.SSLWantReadError:
                self.up(self.up_out.read())
                self.down(self.step(False))

    def goodbye(self) -> bytes:
        """The client's close_notify."""
        with contextlib.suppress(ssl.SSLError):  # it would like one in return
            self.client.unwrap()
        return self.up_out.read()

    def sealed(self, client: bool, size: int) -> bytes:
        (self.client if client else self.server).write(bytes(size))
        return (self.up_out if client else self.down_out).read()


def record(size: int) -> bytes:
    """One of application data."""
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def records(data: bytes) -> list[bytes]:
    out = []
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        out.append(data[:size])
        data = data[size:]
    return out


@pytest.fixture(scope="module")
def pem(data: Path) -> Path:
    return data / "tls" / "server.pem"


def shown(row: dict[str, Any]) -> tuple[int, int]:
    return row["up_bytes"], row["down_bytes"]


@pytest.mark.parametrize("tickets", [0, 1, 2, 4])
@pytest.mark.parametrize("groups", [None, "secp384r1"])
def test_tls_1_3(pem: Path, tickets: int, groups: str | None) -> None:
    """The client waits for nothing; Finished, tickets and alerts are in no exchange."""
    tls = Tls(pem, tickets, groups=groups)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    expected = []
    for i in range(3):
        request, response = tls.sealed(True, 300 + i), tls.sealed(False, 5000 + i)
        tls.up(request)
        tls.down(response)
        expected.append((len(request), len(response)))
    tls.up(tls.goodbye())
    found = exchanges(tls.talk.close().packets)
    assert [shown(r) for r in found] == expected
    assert all(r["complete"] for r in found)


def padded(data: bytes) -> bytes:
    """As Java sends it: 16 bytes more in each record of TLS 1.3 (RFC 8446 5.4)."""
    out = b""
    for each in records(data):
        more = 16 * (each[0] == 0x17)
        out += each[:3] + (len(each) - 5 + more).to_bytes(2, "big") + each[5:] + bytes(more)
    return out


@pytest.mark.parametrize("shorter", [0, 16])
@pytest.mark.parametrize("tickets", [1, 2])
def test_a_client_that_pads(pem: Path, tickets: int, shorter: int) -> None:
    """Java's Finished is none of a request, and its two alerts are none. ``shorter``: by SHA-256."""
    tls = Tls(pem, tickets)
    said = tls.handshake()
    tls.up_in.write(said)
    tls.step(False)
    *before, finished = records(said)
    finished = finished[:3] + (len(finished) - 5 - shorter).to_bytes(2, "big") + finished[5 : len(finished) - shorter]
    tls.talk.up("PA", padded(b"".join([*before, finished])))
    ticket = record(250)
    for _ in range(tickets):
        tls.talk.down("PA", ticket)
    for i in range(3):
        tls.talk.up("PA", padded(tls.sealed(True, 300 + i)))
        tls.talk.down("PA", tls.sealed(False, 5000 + i))
    tls.talk.wait(S)
    for _ in range(2):
        tls.talk.up("PA", record(35))
    found = exchanges(tls.talk.close().packets)
    assert [r["up_bytes"] for r in found] == [338 + i for i in range(3)]
    assert all(r["complete"] for r in found)


def test_a_client_that_pads_gives_up(pem: Path) -> None:
    tls = Tls(pem)
    said = tls.handshake()
    tls.up_in.write(said)
    tls.step(False)
    tls.talk.up("PA", padded(said))
    asked = tls.talk.up("PA", padded(tls.sealed(True, 300)))
    tls.talk.wait(S)
    tls.talk.up("PA", record(35))
    row = one(tls.talk.close().packets)
    assert (row["up_bytes"], row["request_end_ns"], row["response_ns"]) == (338, T0 + asked.at, None)


@pytest.mark.parametrize("tickets", [2, 3, 4])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_tickets_after_the_request_open_no_response(pem: Path, tickets: int, apart: bool, joined: bool) -> None:
    """The request leaves with the Finished (in its segment or behind it); the tickets come in one segment or in several."""
    tls = Tls(pem, tickets)
    finished = tls.handshake()
    request = tls.sealed(True, 300)
    if joined:
        tls.up(finished + request)
    else:
        tls.up(finished)
        tls.up(request)
    sent = tls.step(False)
    assert len(records(sent)) == tickets
    for piece in records(sent) if apart else [sent]:
        tls.talk.wait(41 * MS)
        tls.down(piece)
    tls.talk.wait(S)
    answered = tls.talk.at
    response = tls.sealed(False, 20_000)
    tls.down(response)
    row = one(tls.talk.packets)
    assert shown(row) == (len(request), len(response))
    assert row["response_ns"] == T0 + answered


@pytest.mark.parametrize("alone", [0, 1])
def test_an_answer_in_the_segment_of_the_tickets(pem: Path, alone: int) -> None:
    """Nagle holds the second ticket back until the first is acknowledged, and the answer leaves with it."""
    tls = Tls(pem, 2)
    finished = tls.handshake()
    tls.up(finished)
    tls.up(tls.sealed(True, 300))
    sent = records(tls.step(False))
    for ticket in sent[:alone]:
        tls.down(ticket)
    answered = tls.talk.wait(41 * MS).at
    tls.down(b"".join(sent[alone:]) + tls.sealed(False, 700))
    row = one(tls.talk.packets)
    assert (shown(row), row["response_ns"]) == ((322, 722), T0 + answered)


def test_half_of_the_tickets_before_the_request(pem: Path) -> None:
    tls = Tls(pem, 2)
    finished = tls.handshake()
    tls.up(finished)
    first, second = records(tls.step(False))
    tls.down(first)
    request = tls.sealed(True, 300)
    tls.up(request)
    tls.down(second)
    assert one(tls.talk.packets)["response_ns"] is None
    response = tls.sealed(False, 700)
    tls.down(response)
    assert shown(one(tls.talk.packets)) == (len(request), len(response))


def test_a_single_ticket_after_the_request_is_a_known_limit(pem: Path) -> None:
    tls = Tls(pem, 1)
    finished = tls.handshake()
    tls.up(finished + tls.sealed(True, 300))
    ticket = tls.step(False)
    tls.down(ticket)
    tls.down(tls.sealed(False, 700))
    row = one(tls.talk.packets)
    assert row["down_bytes"] == len(ticket) + 722


@pytest.mark.parametrize("size", [250, 600])
def test_short_answers_of_one_size_are_no_tickets(pem: Path, size: int) -> None:
    tls = Tls(pem, 0)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    for _ in range(4):
        tls.up(tls.sealed(True, 300))
        tls.down(tls.sealed(False, size))
    assert [shown(r) for r in exchanges(tls.talk.packets)] == [(322, size + 22)] * 4


def test_full_records_in_one_large_segment_are_no_tickets(pem: Path) -> None:
    """Offloaded segments of 64 kB hold several records of 16,401 bytes."""
    tls = Tls(pem, 0, mss=60_000)
    finished = tls.handshake()
    tls.up(finished)
    tls.up(tls.sealed(True, 300))
    tls.down(tls.sealed(False, 2 * 16384))
    tls.down(tls.sealed(False, 100))
    row = one(tls.talk.packets)
    assert shown(row) == (322, 2 * 16406 + 122)


def test_tls_1_2(pem: Path) -> None:
    """Nothing but requests and responses is application data, also if a request is as long as a Finished of TLS 1.3."""
    for first in (29, 45, 300):  # 53 and 69 bytes of record
        looks_like_hello = True
        while looks_like_hello:  # one Finished in 256 does; both of a session are hard to get
            tls = Tls(pem, version=ssl.TLSVersion.TLSv1_2)
            for _ in range(2):
                up = tls.step(True)
                tls.up(up)
                down = tls.step(False)
                tls.down(down)
            looks_like_hello = records(up)[-1][5] == 1 and records(down)[-1][5] == 2
        request = tls.sealed(True, first)
        tls.up(request)
        two = tls.sealed(False, 200) + tls.sealed(False, 200)
        tls.down(two)
        row = one(tls.talk.packets)
        assert shown(row) == (len(request), len(two))


def test_an_aborted_stream(pem: Path) -> None:
    tls = Tls(pem)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    tls.up(tls.sealed(True, 300))
    for _ in range(5):
        tls.down(tls.sealed(False, 90))
    tls.up(tls.goodbye())
    tls.talk.up("FA")
    tls.down(tls.sealed(False, 90))  # the server has not noticed yet
    tls.talk.up("R")
    row = one(tls.talk.packets)
    assert shown(row) == (322, 6 * 112)
    assert not row["complete"]


def test_joined_mid_stream(pem: Path) -> None:
    """The end of an answer belongs to no request; the next turn does."""
    tls = Tls(pem)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    for _ in range(2):
        tls.up(tls.sealed(True, 300))
        tls.down(tls.sealed(False, 5000))
    packets = tls.talk.packets
    turn = [i for i, p in enumerate(packets) if len(p.data) == 40 + 322]
    found = exchanges(packets[turn[0] + 2 :])
    assert [shown(r) for r in found] == [(322, 5022)]


def test_a_handshake_message_split_before_the_capture_is_no_request(pem: Path) -> None:
    """Joined inside the ClientHello."""
    tls = Tls(pem, mss=600)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    tls.up(tls.sealed(True, 300))
    tls.down(tls.sealed(False, 500))
    hello = next(i for i, p in enumerate(tls.talk.packets) if len(p.data) > 600)
    row = one(tls.talk.packets[hello + 1 :])
    assert shown(row) == (322, 522)


def test_halves_of_tls(pem: Path) -> None:
    tls = Tls(pem)
    finished = tls.handshake()
    tls.up(finished + tls.sealed(True, 300))
    tls.down(tls.step(False))
    tls.down(tls.sealed(False, 5000))
    t = tls.talk.close()
    assert exchanges(halves(t.packets)) == exchanges(t.packets)
    assert [shown(r) for r in exchanges(t.packets)] == [(322, 5022)]


# -- tickets, and answers that come before the request has ended --


def test_a_ticket_between_two_records_of_a_request(pem: Path) -> None:
    """As opencode's (Bun's) 31 kB requests: a segment ends with the first record, and the tickets come one behind each record."""
    tls = Tls(pem, 2, mss=7240)
    finished = tls.handshake()
    request = tls.sealed(True, 31_000)
    one_record, two = records(request)
    tls.up(finished)
    first, second = records(tls.step(False))
    before = tls.talk.seq
    tls.up(one_record)
    tls.talk.down("PA", first, ack=before + 7240)  # sent before the record had arrived
    tls.talk.back += len(first)
    tls.up(two)
    tls.down(second)
    response = tls.sealed(False, 700)
    tls.down(response)
    row = one(tls.talk.packets)
    assert shown(row) == (len(request), len(response))
    assert row["response_ns"] == T0 + tls.talk.packets[-1].at


@pytest.mark.parametrize("answered", [True, False])
def test_a_ticket_behind_a_full_record(pem: Path, answered: bool) -> None:
    """The server had all of the first record, but a full record is not the last one of what is written."""
    tls = Tls(pem, 1, mss=16_406)
    finished = tls.handshake()
    request = tls.sealed(True, 31_000)
    tls.up(finished)
    ticket = tls.step(False)
    one_record, two = records(request)
    tls.up(one_record)
    tls.down(ticket)
    tls.up(two)
    response = tls.sealed(False, 700) if answered else ticket
    if answered:
        tls.down(response)
    # without a later one, what came early is the answer: a refusal may be as short as a ticket
    assert shown(one(tls.talk.packets)) == (len(request), len(response))


def test_a_ticket_that_leaves_before_the_request_arrives(pem: Path) -> None:
    """Servers that send one ticket (Go): its acknowledgment tells that the request was not there yet."""
    tls = Tls(pem, 1)
    finished = tls.handshake()
    tls.up(finished)
    there = tls.talk.seq
    ticket = tls.step(False)
    request = tls.sealed(True, 300)
    tls.up(request)
    tls.talk.down("PA", ticket, ack=there)
    tls.talk.back += len(ticket)
    answered = tls.talk.at
    tls.down(tls.sealed(False, 700))
    row = one(tls.talk.packets)
    assert (shown(row), row["response_ns"]) == ((len(request), 722), T0 + answered)


def test_an_early_refusal_is_the_answer(pem: Path) -> None:
    """413 while the upload is under way: what the client had sent, and still writes, belongs to the refused request; the next is another."""
    tls = Tls(pem, 2, mss=16_406)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    tls.up(tls.sealed(True, 300))
    tls.down(tls.sealed(False, 900))
    first, *rest = records(tls.sealed(True, 60_000))
    tls.up(first)
    refused, seen = tls.talk.at, tls.talk.back
    tls.down(tls.sealed(False, 413))
    tls.talk.up("PA", rest[0], ack=seen)  # under way when the refusal came
    tls.talk.seq += len(rest[0])
    for record in rest[1:]:
        tls.up(record)
    tls.talk.wait(S)
    again = tls.sealed(True, 200)
    tls.up(again)
    tls.down(tls.sealed(False, 500))
    found = exchanges(tls.talk.packets)
    assert [shown(r) for r in found] == [(322, 922), (len(first) + sum(map(len, rest)), 435), (222, 522)]
    assert found[1]["response_ns"] == found[1]["end_ns"] == T0 + refused


def test_100_continue_in_tls(pem: Path) -> None:
    tls = Tls(pem, 2)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    for _ in range(2):
        tls.up(tls.sealed(True, 250))
        tls.down(tls.sealed(False, len(b"HTTP/1.1 100 Continue\r\n\r\n")))
        tls.up(tls.sealed(True, 5000))
        tls.down(tls.sealed(False, 700))
    assert [shown(r) for r in exchanges(tls.talk.packets)] == [(272 + 5022, 722)] * 2


@pytest.mark.parametrize("at_once", [True, False])
def test_100_continue_behind_a_single_ticket(pem: Path, at_once: bool) -> None:
    """The first request of a connection: the server's ticket and its leave to go on stand before the body, in one segment or two."""
    tls = Tls(pem, 1)
    finished = tls.handshake()
    tls.up(finished)
    ticket = tls.step(False)
    tls.up(tls.sealed(True, 190))
    go_on = tls.sealed(False, len(b"HTTP/1.1 100 Continue\r\n\r\n"))
    for each in (ticket + go_on,) if at_once else (ticket, go_on):
        tls.down(each)
    tls.up(tls.sealed(True, 5000))
    tls.down(tls.sealed(False, 700))
    assert [shown(r) for r in exchanges(tls.talk.packets)] == [(212 + 5022, 722)]


def test_both_ends_of_the_wire_see_the_same_requests() -> None:
    """A request that the client wrote before an answer reached it is one with the request before it, wherever it was captured."""
    t = plain()
    t.up("PA", 100)
    seen = t.back
    t.down("PA", 50)
    t.up("PA", 30, ack=seen)
    t.seq += 30
    t.down("PA", 60)
    t.up("PA", 100)
    t.down("PA", 70)
    there = exchanges(t.packets)
    here = t.packets.copy()
    here[4], here[5] = replace(here[5], at=here[4].at), replace(here[4], at=here[5].at)
    assert [shown(r) for r in there] == [shown(r) for r in exchanges(here)] == [(130, 110), (100, 70)]


def test_what_the_server_sent_before_the_request_arrived_is_no_answer() -> None:
    t = plain()
    before = t.seq
    t.up("PA", 100)
    t.down("PA", 20, ack=before)
    t.back += 20
    assert one(t.packets)["response_ns"] is None
    t.down("PA", 30)
    assert one(t.packets)["down_bytes"] == 30


# -- the end of an answer --


@pytest.mark.parametrize("end", ["stays open", "client closes", "client closes, the server's close_notify, RST"])
def test_the_end_of_an_answer_is_its_last_byte(pem: Path, end: str) -> None:
    """Whatever follows: silence, FIN, an alert of 24 bytes in a segment of its own, RST."""
    tls = Tls(pem, 2)
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    tls.up(tls.sealed(True, 300))
    tls.down(tls.sealed(False, 900))
    last = tls.talk.packets[-1].at
    tls.talk.up("A")
    tls.talk.wait(9 * S)
    if end != "stays open":
        tls.talk.up("FA")
        tls.talk.down("A")
    if end.endswith("RST"):
        with contextlib.suppress(ssl.SSLError):
            tls.server.unwrap()
        alert = tls.down_out.read()
        assert len(alert) == 24
        tls.down(alert)
        tls.talk.up("R")
    row = one(tls.talk.packets)
    assert (row["end_ns"], shown(row)) == (T0 + last, (322, 922))
    assert row["complete"] is (end != "stays open")


# -- what is negotiated before the protocol proper --

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def spoken(talk: Talk, turns: Turns) -> None:
    for who, data in turns:
        (talk.up if who == "up" else talk.down)("PA", data)


@pytest.mark.parametrize("how", NEGOTIATED)
@pytest.mark.parametrize("tickets", [0, 2])
def test_tls_behind_a_negotiation(pem: Path, how: str, tickets: int) -> None:
    """Exactly the requests that the program made; Finished and tickets are none in there either."""
    tls = Tls(pem, tickets)
    spoken(tls.talk, NEGOTIATED[how])
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    for i in range(3):
        tls.up(tls.sealed(True, 300 + i))
        tls.down(tls.sealed(False, 5000 + i))
    tls.up(tls.goodbye())
    packets = tls.talk.close().packets
    assert [shown(r) for r in exchanges(packets)] == [(322 + i, 5022 + i) for i in range(3)]
    assert exchanges(packets, 1) == exchanges(packets)
    assert [r["protocol"] for r in build.sessions(packets)] == ["tls"]
    assert [shown(r) for r in exchanges(halves(packets))] == [(322 + i, 5022 + i) for i in range(3)]


@pytest.mark.parametrize("how", NEGOTIATED)
def test_http_and_ssh_behind_a_negotiation(how: str) -> None:
    t = Talk(VM, (API[0], 8080)).open()
    spoken(t, [*NEGOTIATED[how], GET, ("down", OK), GET, ("down", OK)])
    found = exchanges(t.packets)
    assert [(shown(r), r["status"]) for r in found] == [((len(GET[1]), len(OK)), 200)] * 2
    t = Talk(VM, (API[0], 8080)).open()
    banner = b"SSH-2.0-OpenSSH_9.7\r\n"
    spoken(t, [*NEGOTIATED[how], ("down", banner), ("up", banner), ("down", bytes(900)), ("up", bytes(700)), ("down", bytes(40))])
    assert exchanges(t.packets) == []


def test_other_protocols_behind_a_negotiation() -> None:
    """What the client says first, and unknown messages, are turns as anywhere."""
    for how, before in NEGOTIATED.items():
        t = Talk(VM, (API[0], 8080)).open()
        spoken(t, [*before, ("up", bytes([9]) * 30), ("down", bytes([9]) * 40), ("up", bytes([9]) * 31), ("down", bytes([9]) * 41)])
        assert [shown(r) for r in exchanges(t.packets)] == [(30, 40), (31, 41)], how


def test_a_proxy_header_in_front_of_the_first_message(pem: Path) -> None:
    for header in (NEGOTIATED["PROXY"][0][1], NEGOTIATED["PROXY, version 2"][0][1]):
        t = Talk(VM, (API[0], 8080)).open()
        spoken(t, [("up", header + GET[1]), ("down", OK)])
        assert shown(one(t.packets)) == (len(GET[1]), len(OK))
        tls = Tls(pem)
        tls.talk.up("PA", header + tls.step(True))
        tls.up_in.write(records_of(tls))
        tls.down(tls.step(False))
        finished = tls.step(True)
        tls.up(finished + tls.sealed(True, 300))
        tls.down(tls.step(False))
        tls.down(tls.sealed(False, 900))
        assert shown(one(tls.talk.packets)) == (322, 922)


def records_of(tls: Tls) -> bytes:
    """The payload of the last segment from its first TLS record on."""
    data = tls.talk.packets[-1].data[40:]
    return data[data.index(b"\x16\x03") :]


@pytest.mark.parametrize("status", [403, 429, 502, 504])
def test_a_connect_that_was_refused_is_the_request_that_failed(status: int) -> None:
    t = Talk(VM, (API[0], 8888)).open()
    spoken(t, [("up", ASK), ("down", b"HTTP/1.1 %d No\r\n\r\n" % status)])
    row = one(t.close().packets)
    assert (row["status"], row["rejected"], row["complete"]) == (status, status == 429, True)


def test_payload_like_socks_is_a_turn_where_no_socks_follows() -> None:
    t = plain()
    spoken(t, [("up", b"\x05\x01\x00"), ("down", b"\x09" * 30), ("up", b"\x05\x01\x00"), ("down", b"\x05\x00")])
    assert [shown(r) for r in exchanges(t.packets)] == [(3, 30), (3, 2)]


def test_socks_that_never_ends_is_given_up() -> None:
    """GSSAPI wraps everything; what looks like an answer of SOCKS and is none may not hide a session."""
    t = plain()
    spoken(t, [("up", b"\x05\x01\x01"), ("down", b"\x05\x01")])
    for _ in range(3):
        spoken(t, [("up", b"\x09" * 600), ("down", b"\x09" * 700)])
    assert shown(exchanges(t.packets)[-1]) == (600, 700)


UPGRADE = ("up", b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
SWITCHING = ("down", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")


def test_messages_behind_an_upgrade_are_no_requests() -> None:
    t = http(GET, ("down", OK), UPGRADE, SWITCHING)
    for i in range(5):
        t.up("PA", b"\x81\x85" + bytes(9))
        t.down("PA", b"\x81\x7e" + bytes(200 + i))
    found = exchanges(t.packets)  # the connection is still open
    assert [(r["status"], r["complete"]) for r in found] == [(200, True), (101, True)]
    assert shown(found[1]) == (len(UPGRADE[1]), len(SWITCHING[1]))


def test_streams_behind_an_upgrade_to_http_2_are_no_turns() -> None:
    t = http(
        UPGRADE,
        SWITCHING,
        ("up", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
        ("down", bytes(60)),
        ("up", bytes(9)),
        ("down", bytes(9)),
    )
    assert len(exchanges(t.packets)) == 1


def test_tls_behind_an_upgrade(pem: Path) -> None:
    """RFC 2817, as printers do."""
    tls = Tls(pem)
    spoken(tls.talk, [UPGRADE, SWITCHING])
    finished = tls.handshake()
    tls.up(finished)
    tls.down(tls.step(False))
    tls.up(tls.sealed(True, 300))
    tls.down(tls.sealed(False, 900))
    assert [shown(r) for r in exchanges(tls.talk.packets)][1:] == [(322, 922)]


def test_the_body_of_a_request_is_no_request() -> None:
    """In the clear a request begins with its first line. An early refusal, and what the client still sends of the body."""
    post = ("up", b"POST /upload HTTP/1.1\r\nContent-Length: 4000\r\n\r\n")
    refused = ("down", b"HTTP/1.1 413 Content Too Large\r\n\r\n")
    t = http(post, ("up", b"x" * 1000), refused, ("up", b"x" * 1000), ("up", b"x" * 2000), GET, ("down", OK))
    assert [(shown(r), r["status"]) for r in exchanges(t.packets)] == [
        ((len(post[1]) + 4000, len(refused[1])), 413),
        ((len(GET[1]), len(OK)), 200),
    ]


# -- pipelined requests --


def answers(*statuses: int, body: bytes = b"") -> bytes:
    return b"".join(b"HTTP/1.1 %d X\r\n\r\n" % status + body for status in statuses)


@pytest.mark.parametrize("asked", ["each in a segment", "all in one segment"])
@pytest.mark.parametrize("told", ["each in a segment", "all in one segment", "behind a body, inside a segment"])
@pytest.mark.parametrize("end", ["asks again", "closes", "stays open"])
def test_pipelined_http_requests(asked: str, told: str, end: str) -> None:
    """tshark counts the same three requests, and a fourth."""
    t = http(*([GET] * 3 if asked.startswith("each") else [("up", GET[1] * 3)]))
    if told.startswith("each"):
        for status in (200, 304, 429):
            t.down("PA", answers(status))
    elif told.startswith("all"):
        t.down("PA", answers(200, 304, 429))
    else:
        spoken(t, [("down", answers(200) + b"x" * 50), ("down", b"x" * 50 + answers(304, 429))])
    if end == "asks again":
        spoken(t, [GET, ("down", answers(404))])
    found = exchanges((t.close() if end == "closes" else t).packets)
    assert len(found) == 3 + (end == "asks again")
    assert sum(r["up_bytes"] for r in found) == len(GET[1]) * len(found)
    if told.startswith("each"):
        assert [r["status"] for r in found[:3]] == [200, 304, 429]
    if told.startswith(("each", "all")) or end != "stays open":
        assert all(r["response_ns"] is not None for r in found)
    assert [r["start_frame"] for r in found] == sorted(r["start_frame"] for r in found)
    assert found[-1]["complete"] is (end == "closes")
    if end == "asks again":
        assert found[-1]["status"] == 404


def test_requests_without_the_answers() -> None:
    """A capture of one direction: as many as there are request lines, none of them answered."""
    n = 3 * module.MAX_QUEUED
    t = plain(80)
    for i in range(n):
        t.up("PA", b"POST /%d HTTP/1.1\r\n\r\n" % i)
        t.up("PA", b"x" * 70)
    only_up = [p for p in t.packets if p.data[20:22] == VM[1].to_bytes(2, "big")]
    found = exchanges(only_up)
    assert len(found) == n
    assert all(r["up_bytes"] > 70 and r["response_ns"] is None and not r["complete"] for r in found)
    assert exchanges(only_up, 1) == found


def test_more_pipelined_requests_than_fit_at_once() -> None:
    packets = []
    for i in range(300):
        t = Talk((VM[0], 40000 + i), (API[0], 80), at=i).open()
        spoken(t, [GET] * 9)
        packets += t.packets
    assert len(exchanges(packets)) == 300 * 9


def test_queued_requests_of_forgotten_sessions_make_room() -> None:
    """What a watch of days does: sessions are taken out, the others move up, and the queue does not grow."""
    state, builder = SessionFold(), ExchangeBuilder()

    def feed(packets: list[Packet]) -> None:
        buf, matrix = rows(packets)
        state.feed(matrix)
        builder.feed(buf, matrix, state.state())

    talks = []
    for i in range(40):
        t = Talk((VM[0], 40000 + i), (API[0], 80), at=i).open()
        spoken(t, [GET] * (1 + i % 5))
        feed(t.packets)
        talks.append(t)
    used = int(builder.arrays.counts[module.QUEUE_USED])
    assert used == sum(i % 5 for i in range(40))
    kept = np.arange(1, 40, 2)
    builder.forget(Kept.of(kept, 40))
    sessions = state.sessions[kept]
    found = list(builder.rows(sessions).records())
    assert len(found) == sum(1 + i % 5 for i in range(1, 40, 2))
    assert {r["session_id"] for r in found} == set(range(20))
    # the room of those that are gone is used again, to the last row
    free, at = 0, int(builder.arrays.counts[module.FREE_ROW])
    while at >= 0:
        free, at = free + 1, int(builder.arrays.queue[at, module.Q_NEXT])
    assert free == sum(i % 5 for i in range(0, 40, 2))


def test_a_byte_before_the_first_request_line_is_no_request() -> None:
    """The first frame of a capture may be a keep-alive probe."""
    t = http(("up", b"\0"), GET, ("down", OK), GET, ("down", OK))
    found = exchanges(t.packets)
    assert [r["status"] for r in found] == [200, 200]
    assert [r["start_frame"] for r in found] == [k for k, p in enumerate(t.packets, 1) if b"GET " in p.data]


def test_a_page_about_http_is_one_answer() -> None:
    t = http(GET, ("down", answers(200) + b"HTTP/1.1 200 OK is a status line\r\n\r\n"), GET, ("down", answers(404)))
    assert [r["status"] for r in exchanges(t.packets)] == [200, 404]


def test_a_method_that_is_not_known_by_name() -> None:
    """WebDAV begins with OPTIONS; what follows is no rest of it."""
    find = ("up", b"PROPFIND /calendar HTTP/1.1\r\nDepth: 1\r\n\r\n")
    t = http(("up", b"OPTIONS / HTTP/1.1\r\n\r\n"), ("down", OK), find, ("up", b"<propfind/>"), ("down", answers(207)))
    assert [r["status"] for r in exchanges(t.packets)] == [200, 207]


@pytest.mark.parametrize("how", ["CONNECT", "SOCKS4", "SOCKS5 without waiting"])
def test_a_request_that_does_not_wait_for_the_tunnel(how: str) -> None:
    t = Talk(VM, (API[0], 8080)).open()
    ups = [turn for turn in NEGOTIATED[how] if turn[0] == "up"]
    spoken(t, [*ups, GET, *(turn for turn in NEGOTIATED[how] if turn[0] == "down"), ("down", OK)])
    row = one(t.packets)
    assert (shown(row), row["status"]) == ((len(GET[1]), len(OK)), 200)


# -- any capture --


def _random(rng: random.Random) -> list[Packet]:
    talks = []
    for i in range(rng.randint(1, 5)):
        t = Talk((VM[0], 40000 + i), (API[0], rng.choice([80, 443, 34567])), isn=rng.randrange(2**32), at=rng.randrange(9) * MS).open()
        for _ in range(rng.randint(0, 6)):
            kind = rng.choice(
                [
                    b"",
                    b"HTTP/1.1 429 X\r\n\r\n",
                    GET[1],
                    GET[1] * 3,
                    ASK,
                    b"\x05\x01\x00",
                    b"\x05\x00",
                    SWITCHING[1],
                    b"\x17\x03\x03\x00\x35" + bytes(53),
                    b"\x17\x03\x03\x01\x00" + bytes(256),
                ]
            )
            (t.up if rng.random() < 0.5 else t.down)("PA", kind or rng.choice([1, 100]))
            if rng.random() < 0.2:
                t.again()
        talks.append(t.close() if rng.random() < 0.5 else t)
    packets = mixed(*[halves(t.packets) if rng.random() < 0.3 else t.packets for t in talks])
    return [replace(p, iface=rng.choice([1, 1, 2])) for p in packets if rng.random() > 0.05]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_batches_of_any_size_give_the_same_rows(seed: int) -> None:
    packets = _random(random.Random(seed))
    whole = exchanges(packets)
    assert exchanges(packets, 1) == exchanges(packets, 7) == whole
    assert [r["exchange_id"] for r in whole] == list(range(len(whole)))
    for r in whole:
        assert r["start_ns"] <= r["request_end_ns"]
        assert (r["response_ns"] is None) == (r["end_ns"] is None) == (r["response_frame"] is None)
        assert r["response_ns"] is None or r["response_ns"] <= r["end_ns"]
        assert r["up_bytes"] > 0


def test_more_exchanges_than_fit_at_once() -> None:
    n = 10_000
    t = Talk(VM, (API[0], 34567)).open()
    for _ in range(n):
        t.up("PA", 1)
        t.down("PA", 1)
    builder = ExchangeBuilder()
    builder.arrays = builder.arrays._replace(finished=builder.arrays.finished[:64])
    state = SessionFold()
    buf, matrix = rows(t.packets)
    state.feed(matrix)
    builder.feed(buf, matrix, state.state())
    assert builder.rows(state.state()).rows == n


def test_more_sessions_than_at_first() -> None:
    packets = mixed(*[_small(i) for i in range(3000)])
    assert len(exchanges(packets)) == 3000


def _small(i: int) -> list[Packet]:
    t = Talk((f"10.1.{i >> 8}.{i & 255}", 1000), (API[0], 34567), at=i)
    t.up("PA", 10)
    t.down("PA", 10)
    return t.packets


def test_constants_are_what_the_library_sends(pem: Path) -> None:
    tls = Tls(pem)
    finished = tls.handshake()
    assert len(records(finished)[-1]) - 5 in (module.FINISHED_SHA256, module.FINISHED_SHA384)
    tls.up(finished)
    tickets = tls.step(False)
    assert all(module.MIN_TICKET <= len(r) - 5 <= module.MAX_TICKET for r in records(tickets))
    tls.down(tickets)
    assert len(tls.goodbye()) - 5 == module.ALERT_RECORD
