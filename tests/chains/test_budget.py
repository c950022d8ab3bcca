"""The time budget: nothing is left over or counted twice, and what it says is what program and provider of the laboratory logged."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netlens
from netlens.chains.divided import (
    CLIENT,
    CONNECT,
    LOOKUP,
    PHASES,
    RELAY,
    SERVER,
    STALL,
    STREAM,
    TLS,
    UNANSWERED,
    WIRE,
    Divided,
    Division,
    Spell,
    groups,
)
from netlens.columns import NEVER
from netlens.lab.check.truth import Truth
from netlens.report.time_budget import sentence
from netlens.tables import BUDGET
from tests.lenses.made import CLIENT as PROGRAM
from tests.lenses.made import GET, OK, close, exchange, lookup, ping, talk
from tests.lenses.made import SERVER as WEB_SERVER
from tests.lenses.test_lenses import only
from tests.parsers.build import MS, Packet, S, mixed, write
from tests.parsers.test_connections import halves
from tests.parsers.test_pipeline import client_hello
from tests.recordings import FOLDER

PROMPT_NS = 1_000_000  #: what writing a journal takes at most, nearly always: 0.3 ms in the median
#: Share of what the journals say that may be off by more: a program that had to wait for a processor logs late.
LATE = 0.02
STEPS = (
    "syn_ns", "resyn_ns", "synack_ns", "resynack_ns", "open_ns", "asked_ns", "hello_ns", "turn_ns", "again_ns", "flight_ns", "ready_ns", "lookup_ns",
    "looked_up_ns",
)  # fmt: skip
RECORDINGS = ("healthy", "dns-over-tcp", "same-nat-ip-nat", "zombie-clock-skew")


def whole(divided: Division) -> None:
    """Every nanosecond of every request has one phase."""
    for d in divided:
        assert all(a.end_ns == b.start_ns for a, b in pairwise(d.spells))
        assert all(s.start_ns <= s.end_ns and s.phase in PHASES for s in d.spells)
        assert sum(d.ns(phase) for phase in PHASES) == d.end_ns - d.begin_ns
        assert sum(d.ns(RELAY, k) for k in range(len(d.relays))) <= d.ns(RELAY)


def of(folder: Path, *streams: list[Packet]) -> Division:
    divided = netlens.analyze(str(write(folder / "made.pcap", mixed(*streams)))).divided
    whole(divided)
    return divided


def ms(d: Divided) -> dict[str, int]:
    return {phase: d.ns(phase) // MS for phase in PHASES if d.ns(phase) >= MS}


# --- what packets show


def test_a_request_begins_with_its_lookup_and_every_step_is_named(tmp_path: Path) -> None:
    made = talk(at=50 * MS, step=10 * MS)  # SYN at 50, SYN+ACK at 60, ACK at 70
    made.at = 75 * MS
    made.up("PA", GET)
    made.at = 200 * MS
    made.down("PA", OK[:20])
    made.at = 260 * MS
    made.down("PA", OK[20:])
    close(made)
    (d,) = of(tmp_path, lookup("a.example", 0, 40 * MS), made.packets)
    assert ms(d) == {LOOKUP: 40, CLIENT: 15, CONNECT: 20, WIRE: 10, SERVER: 115, STREAM: 60}
    assert d.begin_ns == d.spells[0].start_ns
    assert d.server == f"{WEB_SERVER}:80"


def test_a_second_request_on_the_connection_begins_with_itself(tmp_path: Path) -> None:
    made = exchange(talk(step=MS), wait=20 * MS)
    made.at = 5 * S
    divided = of(tmp_path, close(exchange(made, wait=30 * MS)).packets)
    assert [d.ns(CONNECT) // MS for d in divided] == [2, 0]
    assert divided[1].begin_ns - divided[0].begin_ns == 5 * S


def test_a_connection_that_was_ready_long_before_is_not_part_of_the_wait(tmp_path: Path) -> None:
    made = talk(step=MS)
    made.at = 10 * S
    (d,) = of(tmp_path, close(exchange(made, wait=20 * MS)).packets)
    assert d.ns(CONNECT) == 0
    assert d.end_ns - d.begin_ns < 100 * MS


def test_a_lookup_of_long_before_is_not_part_of_the_wait(tmp_path: Path) -> None:
    (d,) = of(tmp_path, lookup("a.example", 0, 40 * MS), close(exchange(talk(at=3 * S))).packets)
    assert d.ns(LOOKUP) == 0


def test_a_lost_syn_is_time_of_connecting(tmp_path: Path) -> None:
    first = talk(at=0)
    syn = Packet(0, first.packets[0].data)
    late = talk(at=S, step=MS)
    (d,) = of(tmp_path, [syn], close(exchange(late)).packets)
    assert d.ns(CONNECT) // MS == 1002


def test_waiting_for_data_that_was_sent_again_is_a_stall(tmp_path: Path) -> None:
    made = talk(step=MS)
    made.up("PA", GET)
    made.down("A")
    made.at = 100 * MS
    start, body = made.back, OK + bytes(3000)
    for k in (0, 2):  # the second piece is lost
        made.down("A", body[k * 1000 : k * 1000 + 1000], seq=start + k * 1000)
    made.up("A", ack=start + 1000)
    made.at = 700 * MS
    made.down("A", body[1000:2000], seq=start + 1000)
    made.back = start + 3000
    made.up("A")
    (d,) = of(tmp_path, close(made).packets)
    assert d.ns(STALL) // MS in (598, 599)
    assert d.ns(STALL) + d.ns(STREAM) // MS * MS <= d.end_ns - d.begin_ns


def test_what_a_request_without_an_answer_waits_is_no_time_of_the_server(tmp_path: Path) -> None:
    made = talk(step=MS)
    made.up("PA", GET)
    made.down("A")
    (d,) = of(tmp_path, made.packets, ping(20 * S))
    assert not d.complete
    assert (d.ns(SERVER), d.ns(STALL)) == (0, 0)
    assert 19 * S < d.ns(UNANSWERED) < 20 * S


def test_until_an_unanswered_request_is_acknowledged_all_is_a_stall(tmp_path: Path) -> None:
    made = talk(step=MS)
    seq = made.seq
    made.up("PA", GET)
    for at in (S, 3 * S, 7 * S):
        made.at = at
        made.up("PA", GET, seq=seq)
    made.at = 10 * S
    made.down("A")
    divided = of(tmp_path, made.packets, ping(20 * S))
    assert [round(divided[0].ns(phase) / S) for phase in (SERVER, STALL, UNANSWERED)] == [0, 10, 10]
    (g,) = groups(divided)
    assert g.unanswered == 1
    assert sentence(g).startswith("1 request (never answered), 20 s: ")


def test_half_of_a_redirected_connection_has_not_the_proxy_s_port(tmp_path: Path) -> None:
    whole_one = close(exchange(talk(40_001))).packets
    lone = talk(40_002, at=S)
    lone.up("PA", GET)
    sent = only(halves(lone.packets, server=(WEB_SERVER, 80)), PROGRAM)
    divided = of(tmp_path, halves(whole_one, server=(WEB_SERVER, 80)), sent, ping(20 * S))
    assert [d.server for d in divided] == [f"{WEB_SERVER}:80", "127.0.0.1:12300 (redirected to sshuttle)"]


def test_what_the_handshake_does_not_tell_is_null_and_in_the_server_s_share(tmp_path: Path) -> None:
    made = exchange(talk(step=5 * MS), wait=50 * MS)
    later = exchange(made, wait=50 * MS)
    path = write(tmp_path / "made.pcap", mixed(close(later).packets[5:]))
    a = netlens.analyze(str(path))
    assert a.budget["wire_ns"].isna().all()
    assert (a.budget["server_ns"] > 50 * MS).all()
    assert all(g.by_phase[WIRE] is None for g in groups(a.divided))


def test_sending_while_earlier_bytes_are_on_their_way_is_the_wire_s(tmp_path: Path) -> None:
    (d,) = of(tmp_path, _in_pieces(segments=2))
    assert d.ns(CLIENT) // MS in range(70, 76)
    assert d.ns(WIRE) // MS in range(200, 210)


def test_an_acknowledgment_that_was_delayed_is_no_time_on_the_wire(tmp_path: Path) -> None:
    """A receiver may wait with the acknowledgment of one segment: the round trip of the handshake tells how long that was on its way."""
    (d,) = of(tmp_path, _in_pieces(segments=1))
    assert d.ns(CLIENT) // MS in range(262, 276)
    assert d.ns(WIRE) // MS in range(2, 8)


def _in_pieces(segments: int) -> list[Packet]:
    """A request in three pieces, of which the first two have so many segments and are acknowledged 100 ms later."""
    made = talk(step=MS)
    made.up("A", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1000 + 2000 * segments) + bytes(1000))
    for piece in range(2):
        for _ in range(segments - (piece == 0)):
            made.up("PA", 1000)
        made.at += 100 * MS
        made.down("A")
    made.at += 70 * MS  # all is acknowledged: the program has not said more
    made.up("PA", 1000)
    made.down("PA", OK)
    return close(made).packets


def test_a_farewell_for_which_nobody_waits_is_no_request(tmp_path: Path) -> None:
    made = exchange(talk(server=(WEB_SERVER, 5432)), b"Q\0\0\0\x0dselect\0", b"T\0\0\0\x04")
    made.up("PA", b"X\0\0\0\x04")
    (d,) = of(tmp_path, close(made).packets, ping(20 * S))
    assert d.complete
    hung = exchange(talk(server=(WEB_SERVER, 5432)), b"Q\0\0\0\x0dselect\0", b"T\0\0\0\x04")
    hung.up("PA", b"Q\0\0\0\x0dselect\0")
    hung.at += 5 * S
    assert len(of(tmp_path, close(hung).packets, ping(20 * S))) == 2


@pytest.mark.parametrize("port", [1, 2])
def test_a_lookup_is_of_the_connection_that_follows_it(port: int, tmp_path: Path) -> None:
    asked = [*lookup("a.example", 0, 10 * MS, port=5001, txid=1), *lookup("a.example", 12 * MS, 30 * MS, port=5002, txid=2)]
    first, second = (close(exchange(talk(port=40_000 + k, at=at))).packets for k, at in ((1, 11 * MS), (2, 31 * MS)))
    divided = of(tmp_path, sorted(asked, key=lambda p: p.at), first, second)
    assert [d.ns(LOOKUP) // MS for d in divided] == [10, 18]


def opening_of(**at: int | None) -> Any:
    """How a connection was opened; None is not seen."""
    from netlens.chains.openings import MOMENTS

    return np.array([NEVER if (ns := at.get(name)) is None else ns for name in MOMENTS], np.int64)


def two_hops(near: dict[str, Any], far: dict[str, Any], trip: int | None = None) -> dict[str, int]:
    """How long each phase takes of a request that two captures show."""
    from netlens.chains.painting import Hop

    hops = [Hop(*each["at"], opening_of(**each["opened"]) if "opened" in each else None, each.get("waits", [])) for each in (near, far)]
    took: dict[str, int] = defaultdict(int)
    for spell in painted(hops, trip):
        took[spell.phase] += spell.end_ns - spell.start_ns
    return dict(took)


@pytest.mark.parametrize("off", [-20, 0, 15])
def test_the_way_back_of_a_stream_is_counted_once_on_any_clock(off: int) -> None:
    """30 there, 30 back, a server of 100, and 300 of answer; then the same where the relay passes the last byte on 50 later."""
    far = (30 + off, 40 + off, 140 + off, 440 + off)
    assert two_hops({"at": (0, 10, 170, 470)}, {"at": far}) == {CLIENT: 10, RELAY: 60, SERVER: 100, STREAM: 300}
    assert two_hops({"at": (0, 10, 170, 520)}, {"at": far}) == {CLIENT: 10, RELAY: 110, SERVER: 100, STREAM: 300}


def test_a_relay_that_holds_the_first_byte_back_is_as_long_as_it_holds_it() -> None:
    assert two_hops({"at": (0, 0, 370, 470)}, {"at": (30, 30, 140, 440)}) == {RELAY: 260, SERVER: 110, STREAM: 100}


def test_what_a_relay_says_before_it_is_answered_is_no_stream() -> None:
    """As a relay that ends TLS sends tickets behind the request."""
    assert two_hops({"at": (0, 0, 35, 470)}, {"at": (30, 30, 430, 440)}) == {RELAY: 60, SERVER: 400, STREAM: 10}


def test_a_standstill_within_an_answer_that_both_captures_show_is_one() -> None:
    near, far = {"at": (0, 0, 170, 570), "waits": [(200, 400)]}, {"at": (30, 30, 140, 540), "waits": [(170, 370)]}
    assert two_hops(near, far) == {RELAY: 60, SERVER: 110, STREAM: 200, STALL: 200}


WAY = 30 * MS


def opened(at: int, way: int = 0, again: int = 0, back: int = 0, local: int = 0) -> dict[str, int]:
    """A TCP handshake: the SYN comes ``way`` later, and ``again`` later once more; the answer 20 ms behind it, and ``back`` later here."""
    answered = at + way + again + 20 * MS + back
    return {"syn_ns": at + way, "resyn_ns": at + way + again, "synack_ns": answered, "resynack_ns": answered, "open_ns": answered + local}


def test_the_way_between_two_captures_is_no_time_of_connecting() -> None:
    near = {"syn_ns": 0, "resyn_ns": 0, "synack_ns": 80 * MS, "resynack_ns": 80 * MS, "open_ns": 80 * MS}
    far = {"syn_ns": WAY, "resyn_ns": WAY, "synack_ns": 50 * MS, "resynack_ns": 50 * MS, "open_ns": 110 * MS}
    took = two_hops(
        {"at": (80 * MS, 80 * MS, 200 * MS, 200 * MS), "opened": near}, {"at": (110 * MS, 110 * MS, 170 * MS, 170 * MS), "opened": far}
    )
    assert took == {CONNECT: 20 * MS, RELAY: 120 * MS, SERVER: 60 * MS}


@pytest.mark.parametrize("lost", ["up", "down"])
def test_a_syn_or_its_answer_that_is_lost_between_two_captures_is_time_of_connecting(lost: str) -> None:
    near = {"syn_ns": 0, "resyn_ns": S, "synack_ns": S + 80 * MS, "resynack_ns": S + 80 * MS, "open_ns": S + 80 * MS}
    first = S + WAY if lost == "up" else WAY
    far = {"syn_ns": first, "resyn_ns": first, "synack_ns": first + 20 * MS, "resynack_ns": S + 50 * MS, "open_ns": S + 110 * MS}
    at = S + 80 * MS
    took = two_hops(
        {"at": (at, at, at + 120 * MS, at + 120 * MS), "opened": near},
        {"at": (at + WAY, at + WAY, at + 90 * MS, at + 90 * MS), "opened": far},
    )
    assert took == {CONNECT: S + 20 * MS, RELAY: 120 * MS, SERVER: 60 * MS}


def test_a_relay_that_answers_the_syn_itself_has_the_time_until_it_is_connected() -> None:
    near = {"syn_ns": 0, "resyn_ns": 0, "synack_ns": 100_000, "resynack_ns": 100_000, "open_ns": 3 * MS}
    far = {"syn_ns": 2 * MS, "resyn_ns": 2 * MS, "synack_ns": 22 * MS, "resynack_ns": 22 * MS, "open_ns": 22 * MS}
    took = two_hops({"at": (3 * MS, 3 * MS, 90 * MS, 90 * MS), "opened": near}, {"at": (22 * MS, 22 * MS, 80 * MS, 80 * MS), "opened": far})
    assert took == {CONNECT: 22 * MS, RELAY: 10 * MS, SERVER: 58 * MS}


@pytest.mark.parametrize("turns", [1, 2])
def test_the_way_between_two_captures_is_no_time_of_tls(turns: int) -> None:
    """One turn as in TLS 1.3, two as in TLS 1.2; the server takes 5 ms each time."""

    def opening(up: int, down: int) -> dict[str, int]:
        first, said = up, 65 * MS - down
        tls = {"syn_ns": -MS, "open_ns": 0, "hello_ns": first, "turn_ns": said, "again_ns": 65 * MS + up}
        return tls | (
            {"flight_ns": said, "ready_ns": 65 * MS + up} if turns == 1 else {"flight_ns": 130 * MS - down, "ready_ns": 130 * MS - down}
        )

    at = turns * 65 * MS
    near = {"at": (at, at, at + 100 * MS, at + 100 * MS), "opened": opening(0, 0)}
    far = {"at": (at + WAY, at + WAY, at + 70 * MS, at + 70 * MS), "opened": opening(WAY, WAY) | {"syn_ns": None, "open_ns": None}}
    far["opened"] |= {"syn_ns": 0, "open_ns": 0}
    took = two_hops(near, far)
    assert took[TLS] == turns * 5 * MS
    assert took[RELAY] == turns * 60 * MS + 60 * MS


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_hello_in_pieces_is_no_step_of_the_handshake_behind_it(pieces: int, tmp_path: Path) -> None:
    """As it is with keys for quantum computers; and the client's last message may share a segment with the request."""
    hello = client_hello("a.example")
    made = talk(step=MS, server=(WEB_SERVER, 443))
    for k in range(pieces):
        made.up("PA", hello[k * len(hello) // pieces : (k + 1) * len(hello) // pieces])
    made.at += 20 * MS
    made.down("PA", b"\x16\x03\x03\x03\xe8" + bytes(1000))
    made.up("PA", b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x01\xf4" + bytes(500))
    made.at += 50 * MS
    made.down("PA", b"\x17\x03\x03\x01\x90" + bytes(400))
    (d,) = of(tmp_path, close(made).packets)
    assert d.ns(TLS) // MS in (20, 21, 22)


def test_a_handshake_that_took_longer_than_later_round_trips_does_not_tell_the_wire(tmp_path: Path) -> None:
    """As when the address of a neighbour is asked for meanwhile. An answer that comes at once bounds the wire, but does not tell it of another connection."""
    made = talk(step=30 * MS)
    made.step = 10 * MS
    (d,) = of(tmp_path, close(exchange(made, wait=50 * MS)).packets)
    assert (d.ns(WIRE) // MS, d.ns(SERVER) // MS) == (10, 60)


def test_of_a_syn_that_was_sent_twice_nobody_knows_which_one_was_answered(tmp_path: Path) -> None:
    first = Packet(0, talk(at=0).packets[0].data)
    packets = [first, *close(exchange(talk(at=S, step=MS), wait=50 * MS)).packets]
    alone = of(tmp_path, packets)[0]
    assert alone.ns(WIRE) == 0
    assert WIRE in alone.unmeasured
    beside = of(tmp_path, packets, close(exchange(talk(40_002, at=3 * S, step=10 * MS), wait=50 * MS)).packets)[0]
    assert beside.ns(WIRE) // MS == 10


def _upload(last_ack: int, segments: int = 24, trip: int = 10 * MS) -> list[Packet]:
    """A request that leaves at once and stands in a queue: each two segments are acknowledged 5 ms behind the two before, the rest ``last_ack`` behind these;
    the answer comes 50 ms later."""
    made = talk(step=trip)
    made.step = 1000
    start = made.seq
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    head %= 1000 * segments - len(head % 10_000)
    made.up("A", head + bytes(1000 - len(head)))
    for _ in range(segments - 1):
        made.up("A", 1000)
    made.at += trip
    for k in range(2, segments, 2):
        made.at += 5 * MS
        made.down("A", ack=start + 1000 * k)
    made.at += last_ack
    made.down("A")
    made.at += 50 * MS
    made.down("PA", OK)
    return close(made).packets


def test_what_a_request_stands_in_a_queue_is_no_time_of_the_server(tmp_path: Path) -> None:
    (d,) = of(tmp_path, _upload(5 * MS))
    assert d.ns(SERVER) // MS in (49, 50)


def test_an_acknowledgment_of_one_segment_that_is_delayed_is_no_queue(tmp_path: Path) -> None:
    """The last segment is one alone: what those before it show of the queue counts, and the delay is the server's."""
    (d,) = of(tmp_path, _upload(40 * MS, segments=23))
    assert d.ns(SERVER) // MS in range(88, 92)


def test_a_request_is_waited_for_until_it_is_sent_again_and_the_server_from_then_on(tmp_path: Path) -> None:
    made = talk(step=10 * MS)
    seq = made.seq
    made.up("PA", GET)
    made.at += 200 * MS
    made.up("PA", GET, seq=seq)
    made.down("A")
    made.at += 40 * MS
    made.down("PA", OK)
    (d,) = of(tmp_path, close(made).packets)
    assert (d.ns(STALL) // MS, d.ns(WIRE) // MS, d.ns(SERVER) // MS) == (210, 10, 50)


@pytest.mark.parametrize("takes", [True, False])
def test_a_request_that_its_program_gave_up_ends_when_it_did(takes: bool, tmp_path: Path) -> None:
    """Unless it had only said all, and takes the answer: then it may end by a reset as well."""
    made = talk(step=MS)
    made.up("PA", GET)
    made.down("A")
    made.at += 300 * MS
    made.up("FA")
    made.down("A")
    made.at += 500 * MS
    made.down("PA", OK)
    if takes:
        made.up("A")
        made.down("FA")
    made.up("R")
    (d,) = of(tmp_path, made.packets, ping(20 * S))
    assert d.complete == takes
    assert d.ns(UNANSWERED) // MS == (0 if takes else 302)
    assert (d.end_ns - d.begin_ns) // MS == (807 if takes else 305)


# --- whatever the times


@st.composite
def disordered(draw: st.DrawFn) -> list[Any]:
    """Hops whose times stand in no order, as losses and clocks that were set make them."""
    from netlens.chains.painting import Hop  # the property is of what follows from hops, however these came to be

    time = st.integers(-50, 50)
    maybe = st.none() | time
    hops = []
    for _ in range(draw(st.integers(1, 3))):
        opening = draw(st.none() | st.builds(opening_of, **dict.fromkeys(STEPS, maybe)))
        spans = draw(st.lists(st.tuples(time, time), max_size=3))
        hops.append(
            Hop(draw(time), draw(time), draw(maybe), draw(time), opening, spans, flights=draw(st.lists(st.tuples(time, time), max_size=2)))
        )
    return hops


def painted(hops: list[Any], trip: int | None, ahead: tuple[int, int, int] | None = None) -> list[Spell]:
    """The time line of one request by itself."""
    from netlens.chains.painting import Ahead, Hops, divide

    looked_up = np.array([] if ahead is None else [[0, *ahead]], np.int64).reshape(-1, 4).T
    found = divide(Hops.of([hops]), np.array([NEVER if trip is None else trip], np.int64), Ahead(*looked_up))
    return [Spell(start, end, PHASES[phase], relay) for start, end, phase, relay in found.rows(0)]


@given(disordered(), st.none() | st.integers(0, 80), st.none() | st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.just(0)))
def test_no_order_of_times_leaves_a_rest(hops: list[Any], trip: int | None, ahead: tuple[int, int, int] | None) -> None:
    spells = painted(hops, trip, ahead)
    assert all(a.end_ns == b.start_ns for a, b in pairwise(spells))
    assert all(s.end_ns > s.start_ns for s in spells) or (len(spells) == 1 and spells[0].start_ns == spells[0].end_ns)
    assert all((s.phase == RELAY) == (s.relay >= 0) for s in spells)


@given(st.lists(disordered(), min_size=1, max_size=4))
def test_requests_are_painted_together_as_alone(requests: list[list[Any]]) -> None:
    from netlens.chains import painting

    n = len(requests)
    trips = np.array([NEVER if k % 2 else 30 for k in range(n)], np.int64)
    found = painting.divide(painting.Hops.of(requests), trips, painting.Ahead(*np.empty((4, 0), np.int64)))
    for k, hops in enumerate(requests):
        together = [Spell(start, end, PHASES[phase], relay) for start, end, phase, relay in found.rows(k)]
        assert together == painted(hops, None if k % 2 else 30)


def test_times_of_a_group_add_up_beyond_64_bits() -> None:
    from netlens.chains.divided import Division, Ragged

    longest, n = 2**63 - 2, 3
    spells = Ragged(np.arange(n + 1), (np.zeros(n, np.int64), np.full(n, longest), np.full(n, PHASES.index(SERVER)), np.full(n, -1)))
    zero, passes = np.zeros(n, np.int64), Ragged(np.zeros(n + 1, np.int64), tuple(np.empty((6, 0), np.int64)))
    (group,) = groups(
        Division(
            [None], ["a.example:443"], [("VM", None)], [()], zero, zero, zero, zero - 1, zero, zero, zero, zero,
            np.zeros((n, len(PHASES)), bool), zero, np.full(n, None), np.ones(n, bool), zero, spells, passes,
        )
    )  # fmt: skip
    assert group.total_ns == group.by_phase[SERVER] == 3 * longest


# --- the laboratory's truth


class Journals:
    """What program and provider of a recording logged, by request; times are true."""

    def __init__(self, name: str) -> None:
        self.truth = t = Truth(FOLDER / name)
        both = [*t.programs["vm"], *t.programs["host"]]
        self.heard = {e["request"]: e["ns"] for e in both if e["event"] == "answer"}
        self.answered = {e["request"]: e["ns"] for e in t.provider if e["event"] == "answer"}
        self.lookups = {side: [e["ns"] for e in t.programs[side] if e["event"] == "lookup"] for side in t.programs}
        self.first: dict[str, str] = {}
        for e in sorted(t.sent.values(), key=lambda e: e["ns"]):
            self.first.setdefault(e["connection"], e["request"])

    def told(self, d: Divided, port: int, start_ns: int) -> dict[str, tuple[int, int]]:
        """Of one request: what is said about it -> (found, logged); empty if no journal tells."""
        t = self.truth
        near = [
            e
            for e in t.requests
            if abs(e["ns"] - start_ns) < 20 * MS and (s := t.sent.get(e["name"])) and t.opened[s["connection"]]["port"] == port
        ]
        if not near:
            return {}
        served = min(near, key=lambda e: abs(e["ns"] - start_ns))
        sent, done = t.sent[served["name"]], t.done.get(served["request"])
        received, heard = t.received.get(served["name"]), self.heard.get(served["name"])
        if not done or not received or heard is None or not (done["how"] == received["how"] == "complete"):
            return {}
        answered, last, end = self.answered[served["request"]], done["last_ns"], received["ns"]
        out = {"server": (d.ns(SERVER) + d.ns(WIRE), answered - served["ns"])}
        at = max(k for k, s in enumerate(d.spells) if s.phase in (SERVER, WIRE))
        before, behind = d.spells[:at], d.spells[at + 1 :]

        def relay(spells: Any) -> int:
            return sum(s.end_ns - s.start_ns for s in spells if s.phase == RELAY)

        fresh = self.first[sent["connection"]] == served["name"] and d.ns(CONNECT) > 0
        if d.relays:
            out["stream"] = (d.ns(STREAM), min(end - heard, last - answered))  # the way back is counted once, with the first byte
            streams = next((k for k, s in enumerate(behind) if s.phase == STREAM), None)
            if streams is None:
                out["the answer's relay"] = (relay(behind), end - answered)
            else:
                out["the answer's relay"] = (relay(behind[:streams]), heard - answered)
                out["the last byte's relay"] = (relay(behind[streams:]), max((end - heard) - (last - answered), 0))
            if not fresh:
                out["the request's relay"] = (relay(before), served["ns"] - sent["sent_ns"])
        else:
            out["stream"] = (d.ns(STREAM), end - heard)
        if fresh:
            opened = t.opened[sent["connection"]]["ns"]
            connect = next(s.start_ns for s in d.spells if s.phase == CONNECT)
            asked = max((ns for ns in self.lookups[served["name"].partition("-")[0]] if ns <= opened), default=opened)
            out["opening"] = (next(s.start_ns for s in d.spells if s.phase in (SERVER, WIRE)) - connect, served["ns"] - opened)
            if d.ns(LOOKUP):
                out["lookup"] = (connect - d.begin_ns, opened - asked)
        else:
            out["total"] = (d.end_ns - d.begin_ns, end - sent["ns"])
        return out


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_phase_is_within_a_millisecond_of_what_program_and_provider_logged(name: str) -> None:
    a = netlens.analyze(FOLDER / name)
    whole(a.divided)
    journals, start = Journals(name), a.assembled.situation.requests.start_ns
    off: dict[str, list[int]] = defaultdict(list)
    for d in a.divided:
        if d.request < 0:
            continue
        port = int(a.sides[d.vantage].capture.table("sessions")["orig_port"][d.session])
        for what, (found, logged) in journals.told(d, port, int(start[d.request])).items():
            off[what].append(max(abs(found - logged) - d.uncertain_ns, 0))
    assert len(off["server"]) > 15
    assert {"opening", "lookup", "stream", "total"} <= set(off)
    for what, errors in off.items():
        assert np.median(errors) < PROMPT_NS / 2, what
        assert sum(e > PROMPT_NS for e in errors) <= max(LATE * len(errors), 1), (what, sorted(errors)[-5:])


def test_the_tunnel_s_share_is_measured_with_two_captures_and_not_guessed_with_one() -> None:
    both, vm, host = (netlens.analyze(**given) for given in (
        {"capture": FOLDER / "healthy"}, {"vm": FOLDER / "healthy/vm.pcap.gz"}, {"host": FOLDER / "healthy/host.pcap.gz"},
    ))  # fmt: skip
    mine = both.budget[both.budget["party"] == "VM"]
    assert mine["relays"].tolist() == [["sshuttle"]] * len(mine)
    assert (mine["relay_ns"] > MS).mean() > 0.9
    assert (mine["relay_ns"] == [each[0] for each in mine["relays_ns"]]).all()
    assert (both.budget["relay_ns"][both.budget["party"] == "host"] == 0).all()
    assert vm.budget["relay_ns"].isna().all()
    assert vm.budget["wire_ns"].isna().all()
    assert host.budget["relay_ns"][host.budget["party"] == "VM"].isna().all()


def test_without_a_common_clock_the_relay_s_time_is_the_same_in_all(tmp_path: Path) -> None:
    """How long the program waited less how long the host waited depends on no clock."""
    from tests.recordings import copy

    true = netlens.analyze(FOLDER / "same-nat-ip-sshuttle").budget
    moved = netlens.analyze(copy("same-nat-ip-sshuttle", tmp_path / "moved", offset_s=-37.25, drift_ppm=80.0)).budget
    a, b = (t[(t["party"] == "VM") & t["target"]] for t in (true, moved))
    reused = (a["connect_ns"] == 0).to_numpy()
    assert len(a) == len(b)
    assert np.abs(a["relay_ns"].to_numpy() - b["relay_ns"].to_numpy())[reused].max() < 0.1 * MS + 80e-6 * 2 * S


def test_the_table_is_as_declared_and_its_sums_are_exact() -> None:
    a = netlens.analyze(FOLDER / "same-nat-ip-nat")
    assert list(a.budget.columns) == BUDGET.names()
    phases = a.budget[[f"{phase}_ns" for phase in PHASES]].fillna(0).sum(axis=1)
    assert (phases == a.budget["total_ns"]).all()
    document = a.to_dict()["budget"]
    assert sum(g["total_ns"] for g in document["groups"]) == a.budget["total_ns"].sum()
    assert len(document["requests"]) == int(a.budget["target"].sum())
    assert PROGRAM not in str(document)


def test_tls_is_divided_from_the_request() -> None:
    budget = netlens.analyze(FOLDER / "same-nat-ip-nat").budget
    opened = budget[budget["connect_ns"] > 0]
    assert len(opened) > 3
    assert (opened[f"{TLS}_ns"] > 0.3 * MS).all()
    assert (budget[budget["connect_ns"] == 0][f"{TLS}_ns"] == 0).all()
