"""Servers that did not hear that a handshake was over."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, WEB, Packet, S, close, exchange, found, ping, problems, talk
from tests.parsers.build import datagram, segment


def repeated(data: bytes = GET, heard: bool = False, synacks: int = 3) -> list[Packet]:
    """A server that repeats its SYN+ACK, and a client that acknowledges each and sends its data again."""
    made = talk()
    synack, wait = made.packets[1], S
    first = made.up("PA", data) if data else None
    for _ in range(synacks):
        made.at += wait
        wait *= 2
        made.again(synack)
        made.up("A")
        if first:
            made.again(first)
    if heard:
        made.down("A")
        made.down("PA", OK)
        made.up("A")
        close(made)
    return made.packets


def test_a_client_whose_packets_do_not_arrive(tmp_path: Path) -> None:
    this = found(tmp_path, repeated(), ping(30 * S))
    assert "handshake-unheard" in problems(this)
    assert this["handshake-unheard"].text == (
        f"{SERVER}:80 repeated its SYN+ACK 3 times on 1 connection though the client acknowledged each, and took none of its data in 7.0 s: what the client "
        "sends after its SYN is dropped."
    )


@pytest.mark.parametrize(
    "packets",
    [repeated(data=b""), repeated(heard=True), repeated(synacks=1)],
    ids=["the client says nothing", "it is heard in the end", "once"],
)
def test_answers_to_a_syn_that_are_repeated(tmp_path: Path, packets: list[Packet]) -> None:
    assert "handshake-unheard" not in found(tmp_path, packets, ping(30 * S))


def test_an_answer_to_a_syn_that_comes_again_when_data_was_taken(tmp_path: Path) -> None:
    """The connection was open long since."""
    made = exchange(talk())
    made.at += 5 * S
    made.again(made.packets[1])
    made.up("A")
    assert "slow-connect" not in found(tmp_path, close(made).packets, ping(30 * S))
    waits = talk()
    waits.at += 5 * S
    waits.again(waits.packets[1])
    waits.up("A")
    assert found(tmp_path, close(exchange(waits)).packets, ping(30 * S)).keys() & {"slow-connect"} == set()  # the client spoke only then


def queued(
    waiting: int = 4, others: int = 2, tries: int = 4, lossy: bool = False, step: int = 400 * MS, later: bool = False
) -> list[list[Packet]]:
    """New connections whose first data is taken only when it was sent for some times, beside others. ``later``: it is what they send as the second."""
    out = []
    for k in range(waiting):
        made = talk(41_000 + k, at=k * MS)
        if later:
            exchange(made)
        first = made.up("PA", GET)
        for _ in range(tries - 1):
            made.at += step
            made.again(first)
        made.down("A")
        made.down("PA", OK)
        made.up("A")
        out.append(close(made).packets)
    for k in range(others):
        made = talk(42_000 + k, at=k * MS)
        sent = made.up("PA", GET)
        if lossy:
            made.at += 300 * MS
            made.again(sent)
        made.down("A")
        made.at += S
        made.down("PA", OK)
        made.up("A")
        out.append(close(made).packets)
    return out


def test_a_queue_of_new_connections_that_is_full(tmp_path: Path) -> None:
    this = found(tmp_path, *queued(), ping(30 * S))
    assert this["handshake-unheard"].severity == "problem"
    assert this["handshake-unheard"].text == (
        f"4 new connections to {SERVER}:80 waited up to 1.2 s behind the handshake until their first data was taken (sent up to 4 times), while others went on "
        "without any loss: as if the server's queue of connections that wait to be accepted was full."
    )


@pytest.mark.parametrize(
    "packets",
    [queued(waiting=2), queued(others=0), queued(lossy=True), queued(tries=2, step=2 * S), queued(step=50 * MS), queued(later=True)],
    ids=["few", "no others", "others lose as well", "one repeat", "soon", "not their first data"],
)
def test_losses_that_are_no_full_queue(tmp_path: Path, packets: list[list[Packet]]) -> None:
    assert "handshake-unheard" not in found(tmp_path, *packets, ping(30 * S))


def with_lost_ones(lost: int, syns: int = 4, pause: int = S) -> list[Packet]:
    """Connections one after the other, of which some never open, and each next one does."""
    packets: list[Packet] = []
    for k in range(lost):
        at = 10 * k * S
        packets += [Packet(at + n * S, segment((CLIENT, 41_000 + k), WEB, "S", 5)) for n in range(syns)]
        packets += close(exchange(talk(42_000 + k, at + (syns - 1) * S + pause))).packets
    return packets


def test_connections_that_never_open_though_the_next_ones_do(tmp_path: Path) -> None:
    this = found(tmp_path, with_lost_ones(3), ping(60 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        "3 of 6 connections to 198.51.100.20:80 never got an answer (up to 4 SYNs over 3.0 s), though others did."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(with_lost_ones(2), id="two of them"),
        pytest.param(with_lost_ones(3, syns=2), id="given up at once"),
        pytest.param(with_lost_ones(3, pause=-2 * S), id="another one opens meanwhile"),
    ],
)
def test_single_connections_of_which_the_next_one_opens(tmp_path: Path, packets: list[Packet]) -> None:
    assert "connect-unanswered" not in problems(found(tmp_path, sorted(packets, key=lambda p: p.at), ping(60 * S)))


DEAD = "198.51.100.21"


def by_turns(waits: list[float], answers: bool = False, name: bool = True, lone: int = 0, later: int = 2 * S) -> list[Packet]:
    """A name with two addresses: a client tries one that is dead, and after a wait the other one.  lone : tries of the dead one alone.  later : by so much each
    time between tries is longer than the one before."""
    record = [DNSRR(rrname="www.shop.test", rdata=address) for address in (DEAD, SERVER)]
    question = DNSQR(qname="www.shop.test")
    reply = bytes(DNS(id=1, qr=1, rd=1, ra=1, qd=question, an=record))
    packets = [
        Packet(0, datagram((CLIENT, 5_000), ("198.51.100.53", 53), bytes(DNS(id=1, rd=1, qd=question)))),
        Packet(MS, datagram(("198.51.100.53", 53), (CLIENT, 5_000), reply)),
    ]
    packets = packets if name else []
    for k in range(len(waits) + lone):
        at = (1 + 10 * k) * S + later * k * (k + 1) // 2
        packets += [Packet(at + n * S, segment((CLIENT, 41_000 + k), (DEAD, 80), "S", 5)) for n in range(2)]
        if k < len(waits):
            packets += close(exchange(talk(42_000 + k, at + int(waits[k] * S)))).packets
    packets += close(exchange(talk(43_000, 100 * S, (DEAD, 80)))).packets if answers else []
    return sorted(packets, key=lambda p: p.at)


def test_one_of_two_addresses_that_is_dead(tmp_path: Path) -> None:
    this = found(tmp_path, by_turns([1.5, 1.5, 1.6]), ping(120 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        "198.51.100.21:80 never answered (3 connections): each time 192.0.2.10 went on to another address of that name (198.51.100.20), typically 1.5 s later."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(by_turns([0.25] * 4), id="both at once"),
        pytest.param(by_turns([1.5] * 2), id="twice"),
        pytest.param(by_turns([1.5, 4.0, 7.5, 2.0]), id="by chance"),
        pytest.param(by_turns([1.5] * 4, later=0), id="each by the timetable of a monitor"),
        pytest.param(by_turns([1.5] * 3, lone=1), id="asked for by itself"),
        pytest.param(by_turns([1.5] * 3, answers=True), id="not dead"),
        pytest.param(by_turns([1.5] * 3, name=False), id="of other names"),
    ],
)
def test_addresses_that_cost_no_wait(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, ping(120 * S)).get("connect-unanswered")
    assert this is None or "another address" not in this.text
