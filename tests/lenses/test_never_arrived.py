"""Data that had been sent and never arrived, as later packets show; and what looks like it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import GET, MS, SERVER, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.test_pipeline import HELLO

if TYPE_CHECKING:
    from tests.parsers.build import Talk

HTTPS = (SERVER, 443)
FULL = 1448


def on_its_way(made: Talk, data: int) -> None:
    """The server sends what does not arrive."""
    made.down("A", data)
    made.packets.pop()


def hole(
    small: int = 1200, waits: int = 9 * S, alive: bool = True, lost: int = 2 * FULL, filled: bool = False, given_up: bool = True
) -> list[Packet]:
    """A hello that is answered by two full segments, a shorter one, two full ones and the rest; the full ones do not come."""
    made = talk(server=HTTPS)
    made.up("PA", HELLO)
    made.down("A")
    begin = made.back
    on_its_way(made, lost)
    made.down("PA", small)
    made.up("A", ack=begin)
    on_its_way(made, lost)
    made.down("PA", 589)
    made.up("A", ack=begin)
    if filled:
        made.down("A", lost, seq=begin)
        made.up("A", ack=begin + lost + small)
        made.down("A", lost, seq=begin + lost + small)
        made.up("A")
    made.at += waits
    if given_up:
        made.up("FA", ack=None if filled else begin)
    else:
        made.up("PA", b"more", ack=begin)
    if alive:
        made.down("A")
    return made.packets


def test_a_hole_that_is_never_filled(tmp_path: Path) -> None:
    this = found(tmp_path, hole(), ping(30 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text == (
        "1 connection stood still for 9.0 s until the other side gave up: 5,792 bytes from api.example.test:443 never came, though what was sent later did; "
        "only large packets were lost."
    )
    assert "MTU" in this["stalled"].advice


def test_a_hole_whose_size_says_nothing(tmp_path: Path) -> None:
    for packets in (hole(small=FULL), hole(alive=False), hole(lost=1311 + 700)):
        this = found(tmp_path, packets, ping(30 * S))
        assert problems(this) == {"stalled"}
        assert "large packets" not in this["stalled"].text
        assert this["stalled"].values["too_large"] == 0


def test_a_hole_at_which_a_client_waits_still(tmp_path: Path) -> None:
    this = found(tmp_path, hole(given_up=False), ping(30 * S))
    assert "gave up" not in this["stalled"].text
    assert this["stalled"].values["given_up"] == 0


@pytest.mark.parametrize("packets", [hole(filled=True), hole(waits=S)], ids=["filled", "closed at once"])
def test_holes_that_nobody_waits_for(tmp_path: Path, packets: list[Packet]) -> None:
    assert "stalled" not in found(tmp_path, packets, ping(30 * S))


def test_what_the_recorder_missed_is_acknowledged(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET)
    for _ in range(4):
        on_its_way(made, 5 * FULL)
        made.down("PA", 700)
        made.up("A")
        made.at += 3 * S
    assert "stalled" not in found(tmp_path, close(made).packets, ping(30 * S))


def unseen(sent: int = 11 * FULL, waits: int = 8 * S, late: int = 40 * MS, before: int = 241, then: bool = False) -> list[Packet]:
    """An answer of which only the acknowledgment of the client's FIN tells. ``before``: an answer that came. ``then``: it comes behind the FIN."""
    first = exchange(talk(39_000), answer=bytes(before))
    close(first)
    made = talk(at=S)
    made.up("PA", GET)
    made.down("A")
    begin = made.back
    made.at += waits
    made.up("FA")
    made.at += late
    if then:
        for _ in range(sent // FULL):
            made.down("A", FULL)
    else:
        on_its_way(made, sent)
    made.down("A")
    assert made.back == begin + sent
    return first.packets + made.packets


def test_an_answer_of_which_nothing_came(tmp_path: Path) -> None:
    this = found(tmp_path, unseen(), ping(30 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text == (
        f"1 connection stood still for 8.0 s until the other side gave up: 15,928 bytes from {SERVER}:80 never came, as the acknowledgment of the FIN shows; "
        "only large packets were lost."
    )
    this = found(tmp_path, unseen(before=1300), ping(30 * S))
    assert "large packets" not in this["stalled"].text


@pytest.mark.parametrize(
    "packets",
    [unseen(then=True), unseen(sent=100), unseen(waits=2 * S), unseen(late=2 * S)],
    ids=["it comes behind the FIN", "little", "soon", "much later"],
)
def test_fins_whose_acknowledgment_tells_nothing(tmp_path: Path, packets: list[Packet]) -> None:
    assert "stalled" not in found(tmp_path, packets, ping(30 * S))


def probed(short: int = 600, trip: int = 20 * MS, flight: int = 11 * FULL, waits: int = 3500 * MS) -> list[Packet]:
    """The first segments of an answer are lost; then a short one comes, later ones far behind it, and what was between."""
    made = talk(step=trip // 2)
    made.up("PA", GET)
    made.down("A")
    made.at += waits
    begin = made.back
    made.down("A", short)
    made.up("A")
    made.back = begin + flight
    made.down("A", short)
    made.up("A", ack=begin + short)
    at = begin + short
    while at < begin + flight:
        size = min(short, begin + flight - at)
        made.down("A", size, seq=at)
        at += size
        made.up("A", ack=at)
    made.up("A")
    for _ in range(20):
        made.down("A", short)
        made.up("A")
    return close(made).packets


def test_an_answer_whose_first_segments_were_lost(tmp_path: Path) -> None:
    this = found(tmp_path, probed(), ping(30 * S))
    assert problems(this) == {"stalled"}
    assert "15,928 bytes from" in this["stalled"].text
    assert this["stalled"].text.endswith("came only then, in short segments; only large packets were lost.")


@pytest.mark.parametrize("packets", [probed(short=FULL), probed(flight=6 * 600)], ids=["full", "one flight"])
def test_a_late_answer_with_a_loss_behind_its_first_segment(tmp_path: Path, packets: list[Packet]) -> None:
    """Then the server may have been late."""
    assert "stalled" not in found(tmp_path, packets, ping(30 * S))


def test_healthy(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, healthy(), ping(30 * S)))


def forgotten(pause: int = 8 * S, spoke: bool = True, heard: bool = False, times: int = 6) -> list[Packet]:
    """A connection that nobody acknowledges any more after a pause."""
    made = talk(server=(SERVER, 6379))
    if spoke:
        exchange(made, b"PING\r\n", b"+PONG\r\n")
    made.at += pause
    first = made.up("PA", b"PING\r\n")
    wait = 250 * MS
    for _ in range(times):
        made.at += wait
        wait *= 2
        made.again(first)
    if heard:
        made.down("A")
    return made.packets


def test_a_connection_that_was_forgotten_while_it_was_idle(tmp_path: Path) -> None:
    this = found(tmp_path, forgotten(), healthy(at=20 * S), ping(60 * S))["stalled"]
    assert "; nothing had been sent for 8.0 s before, so a firewall or NAT on the way may have forgotten the connection." in this.text
    assert "keep-alives" in this.advice


@pytest.mark.parametrize(
    "packets", [forgotten(pause=S), forgotten(spoke=False), forgotten(heard=True)], ids=["soon", "never", "in the end"]
)
def test_connections_that_were_not_forgotten(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, healthy(at=20 * S), ping(60 * S))["stalled"]
    assert "forgotten" not in this.text
    assert this.values["idle_s"] == 0


def unheard_hello(lost: int = 2 * 1408, heard: bool = True, waits: int = 7 * S) -> list[Packet]:
    """A hello to which two full segments of the answer, as a certificate needs them, do not come; the client gives up after a while. ``heard``: the hello
    arrived."""
    small = close(exchange(talk(39_000))).packets
    made = talk(server=HTTPS, at=S)
    made.up("PA", HELLO)
    if not heard:
        for wait in (S, 2 * S, 4 * S):
            made.at += wait
            made.up("PA", HELLO, seq=made.seq - len(HELLO))
        made.at += waits
        made.up("FA")
        return small + made.packets
    made.down("A")
    begin = made.back
    if lost:
        on_its_way(made, lost)
    made.at += waits
    made.up("FA", ack=begin)
    made.down("A")
    return small + made.packets


def test_a_certificate_that_never_came_is_no_program_that_hangs(tmp_path: Path) -> None:
    this = found(tmp_path, unheard_hello(), ping(30 * S))
    assert problems(this) == {"stalled"}
    assert "2,816 bytes from api.example.test:443 never came" in this["stalled"].text
    assert "only large packets were lost" in this["stalled"].text
    assert "tls-failed" not in this


def test_a_hello_that_nobody_acknowledged_says_nothing_about_the_server(tmp_path: Path) -> None:
    this = found(tmp_path, unheard_hello(heard=False), ping(60 * S))
    assert problems(this) == {"stalled"}
    assert "tls-failed" not in this


def test_a_server_that_does_not_answer_a_hello(tmp_path: Path) -> None:
    this = found(tmp_path, unheard_hello(lost=0), ping(30 * S))
    assert "stalled" not in this
    assert "no hello from the server" in this["tls-failed"].text
