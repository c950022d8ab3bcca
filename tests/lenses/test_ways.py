"""What a way does to packets: large ones, fragments, selective acknowledgments, addresses and services that two share; and what looks like it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether

from tests.lenses.made import CLIENT, GET, MS, SERVER, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.lenses.test_neighbours import MAC, NOBODY, OTHER, OWN, THIRD, is_at, who_has
from tests.lenses.test_neighbours import found as found_on_link
from tests.lenses.test_never_arrived import on_its_way
from tests.lenses.test_windows import with_options
from tests.parsers.build import _ip, datagram

if TYPE_CHECKING:
    from tests.parsers.build import Talk

FULL = 1448


def swallowed(alive: bool = True, short: bool = False, idle: int = 0, passed: int = 88) -> list[Packet]:
    """An answer of which only full segments are sent, in vain. ``alive``: its client closes then.  short : what is sent last is short.  passed : bytes of an
    answer on another connection."""
    first = close(exchange(talk(39_000), answer=bytes(passed)))
    made = talk(at=S)
    made.up("PA", GET)
    made.down("A")
    made.at += idle
    begin = made.back
    for size in (FULL, FULL, 300 if short else FULL):
        made.down("A", size)
    for k in range(5):
        made.at += (S // 5) << k
        made.down("A", FULL, seq=begin)
    if alive:
        made.at += S
        made.up("FA", ack=begin)
        made.down("A")
    return [*first.packets, *made.packets]


@pytest.mark.parametrize("alive", [True, False])
def test_full_segments_alone_are_lost(tmp_path: Path, alive: bool) -> None:
    this = found(tmp_path, swallowed(alive), ping(60 * S))
    assert problems(this) == {"stalled"}
    assert (
        "only large packets were lost (1,448 bytes were sent 6 times in vain, while up to 88 arrived on other connections"
        in this["stalled"].text
    )
    assert this["stalled"].advice.startswith("A link on the way does not carry packets that large")
    assert ("the peer is gone instead" in this["stalled"].advice) != alive


@pytest.mark.parametrize(
    "packets",
    [swallowed(passed=FULL), swallowed(alive=False, short=True), swallowed(alive=False, idle=30 * S)],
    ids=["others as large arrived", "short ones were lost as well", "nothing had been said for long"],
)
def test_full_segments_that_others_show_to_pass(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, ping(120 * S))["stalled"].values["too_large"] == 0


def jumbo(lost: int, mss: int = 8960) -> list[Packet]:
    """Of an answer only the last, short segment comes."""
    made = talk()
    made.packets[:2] = [with_options(packet, [("MSS", mss)]) for packet in made.packets[:2]]
    made.up("PA", GET)
    made.down("A")
    begin = made.back
    on_its_way(made, lost)
    made.down("PA", 852)
    made.up("A", ack=begin)
    made.at += 8 * S
    made.up("FA", ack=begin)
    made.down("A")
    return made.packets


def test_jumbo_frames_that_a_switch_drops(tmp_path: Path) -> None:
    this = found(tmp_path, jumbo(7 * 8948), ping(30 * S))["stalled"]
    assert this.text.endswith("; only large packets were lost.")
    for packets in (jumbo(7 * 8948 + 2), jumbo(7 * 8948, mss=1460)):
        assert "large packets" not in found(tmp_path, packets, ping(30 * S))["stalled"].text


def torn(tries: int = 3, unasked: bool = True, whole: bool = False, every: int = 1500 * MS) -> list[Packet]:
    """To each request over UDP the first fragment of an answer comes. ``whole``: and then the other one.  unasked : IGMP is in the capture, besides
    ping."""
    client, server = (CLIENT, 5_000), (SERVER, 4_000)
    packets = [Packet(0, datagram(client, server, b"hello")), Packet(8 * MS, datagram(server, client, b"yes"))]
    for k in range(tries):
        at = S + k * every
        body = datagram(server, client, bytes(3000))[20:]
        first, second = (IP(src=SERVER, dst=CLIENT, proto=17, id=77 + k, flags=flags, frag=frag) for flags, frag in (("MF", 0), (0, 185)))
        packets += [Packet(at, datagram(client, server, b"large")), Packet(at + 9 * MS, bytes(first / body[:1480]))]
        if whole:
            packets.append(Packet(at + 10 * MS, bytes(second / body[1480:])))
    if unasked:
        packets.append(Packet(20 * S, _ip(SERVER, "224.0.0.22", 2, b"\x22" + bytes(15))))
    echo = b"\x00\x00" + bytes(2) + b"\x00\x07\x00\x01" + bytes(48)
    packets += [Packet(20 * S, _ip(CLIENT, SERVER, 1, b"\x08" + echo[1:])), Packet(20 * S + 9 * MS, _ip(SERVER, CLIENT, 1, echo))]
    return packets


def test_answers_of_which_only_the_first_fragment_comes(tmp_path: Path) -> None:
    this = found(tmp_path, torn())
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text == (
        "Only the first IP fragment of 3 answers over UDP from 198.51.100.20:4000 came, and never the rest: 192.0.2.10 asked again for 3.0 s and got nothing."
    )
    for packets in (torn(tries=2), torn(unasked=False), torn(whole=True)):  # an accident; as a filter for ports leaves it
        assert "udp-unanswered" not in problems(found(tmp_path, packets))


def lossy(shift: int, blocks: int = 6, late: int = S // 2, syn: int = 0) -> list[Packet]:
    """A download of which three segments are lost, and sent again ``late``; ``shift``: by how much its SACK blocks are off.  syn : how long its client waited
    for the answer to its first SYN."""
    made = talk(at=syn, step=MS // 10)
    if syn:
        made.packets.insert(0, Packet(0, made.packets[0].data))
    made.up("PA", GET)
    made.down("A")
    for _ in range(3):
        begin = made.back
        made.down("A", FULL)
        for k in range(blocks):
            made.down("A", FULL)
            made.up("A", ack=begin)
            low = (begin + FULL + shift) % 2**32
            made.packets[-1] = with_options(made.packets[-1], [("SAck", (low, (low + (k + 1) * FULL) % 2**32))])
        made.at += late
        made.down("A", FULL, seq=begin)
        made.up("A")
    return close(made).packets


@pytest.mark.parametrize("shift", [123_456_789, -123_456_789])
def test_selective_acknowledgments_that_lead_astray(tmp_path: Path, shift: int) -> None:
    this = found(tmp_path, lossy(shift), ping(30 * S))
    assert problems(this) == {"packet-loss"}
    assert "; 18 of 18 selective acknowledgments (SACK) speak of bytes that were never sent" in this["packet-loss"].text
    assert "sequence numbers" in this["packet-loss"].advice


def test_selective_acknowledgments_that_are_right(tmp_path: Path) -> None:
    assert "SACK" not in found(tmp_path, lossy(0), ping(30 * S))["packet-loss"].text


def test_a_syn_that_was_lost_like_the_rest(tmp_path: Path) -> None:
    this = found(tmp_path, lossy(0, late=S // 4, syn=S), ping(30 * S))["packet-loss"]
    assert this.severity == "problem"
    assert "and 1.0 s before that for a SYN" in this.text
    assert found(tmp_path, lossy(0, late=S // 4), ping(30 * S))["packet-loss"].severity == "warning"
    assert "packet-loss" not in found(tmp_path, lossy(0, syn=S // 10), ping(30 * S))  # copies, as where captures were merged


def announced(hardware: str, at: float) -> tuple[float, Ether]:
    return at, Ether(src=hardware, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=hardware, psrc=NOBODY, hwdst="ff:ff:ff:ff:ff:ff", pdst=NOBODY)


def test_two_hosts_that_take_an_address_in_turn(tmp_path: Path) -> None:
    this = found_on_link(tmp_path, [announced((OTHER, THIRD)[k % 2], float(k)) for k in range(8)])
    assert this["address-conflict"].severity == "problem"
    assert this["address-conflict"].text == (
        f"192.0.2.50 was taken in turn by different hardware addresses that announced it unasked ({THIRD} and {OTHER}): it moved 7 times."
    )


@pytest.mark.parametrize(
    "hosts",
    [
        [OTHER, OTHER, OTHER, THIRD, THIRD, THIRD, OTHER, OTHER, OTHER],
        [OTHER, THIRD, OTHER, THIRD],
        ["00:00:5e:00:01:01", THIRD] * 4,
    ],
    ids=["there and back", "twice", "a virtual router"],
)
def test_addresses_that_move(tmp_path: Path, hosts: list[str]) -> None:
    assert "address-conflict" not in found_on_link(tmp_path, [announced(host, float(k)) for k, host in enumerate(hosts)])


@pytest.mark.parametrize(
    "times", [[40.0 * k for k in range(8)], [30.0 * (k // 2) + 0.01 * (k % 2) for k in range(16)]], ids=["sleeps", "two cards"]
)
def test_addresses_that_others_stand_in_for(tmp_path: Path, times: list[float]) -> None:
    this = found_on_link(tmp_path, [announced((OTHER, THIRD)[k % 2], at) for k, at in enumerate(times)])
    assert this["address-conflict"].severity == "warning"


FOURTH = "02:00:00:00:00:44"


def test_a_host_that_defends_its_address(tmp_path: Path) -> None:
    """Against two others within the time of RFC 5227 1.1; once may be a pair of which both were active for a moment."""
    said = [announced(OTHER, 0.0), announced(THIRD, 0.7), announced(OTHER, 0.71), announced(FOURTH, 1.2)]
    this = found_on_link(tmp_path, said)["address-conflict"]
    assert this.severity == "problem"
    assert this.text.startswith("192.0.2.50 was announced by 3 hardware addresses (")
    assert this.text.endswith(", one of which said so anew at once, as who defends its address does (1 time).")
    assert found_on_link(tmp_path, said[:3])["address-conflict"].severity == "warning"
    twice = [*said[:3], *((20 + at, each) for at, each in said[:3])]
    assert found_on_link(tmp_path, twice)["address-conflict"].severity == "problem"


def test_three_hosts_that_announce_one_address(tmp_path: Path) -> None:
    this = found_on_link(tmp_path, [announced(host, 3.0 * k) for k, host in enumerate((OTHER, THIRD, FOURTH))])["address-conflict"]
    assert this.severity == "warning"
    assert this.text.endswith(" within 10 s.")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([(OTHER, 0.0), (THIRD, 300.0), (FOURTH, 600.0)], id="leases that are given anew"),
        pytest.param([(OTHER, 0.0), (THIRD, 3.6), (OTHER, 8.0)], id="a standby that takes over, and the first comes back"),
        pytest.param([(OTHER, 0.0), (THIRD, 0.01), (OTHER, 1.0), (THIRD, 1.01), (OTHER, 2.0)], id="two cards of one host"),
        pytest.param(
            [(host, t + k / 100) for t in (0.0, 1.0, 2.0) for k, host in enumerate((OTHER, THIRD, FOURTH))], id="three cards of one host"
        ),
        pytest.param([("00:00:5e:00:01:01", 0.0), (THIRD, 0.7), ("00:00:5e:00:01:01", 0.71)], id="a virtual router"),
        pytest.param([(OTHER, 0.0), (OTHER, 0.2), (THIRD, 5.0), (THIRD, 5.2), (THIRD, 5.4)], id="a machine that was replaced"),
        pytest.param([(OTHER, 0.0), (THIRD, 60.0), (OTHER, 60.1)], id="long after: who sleeps wakes as another stands in for it"),
    ],
)
def test_addresses_that_nobody_defends(tmp_path: Path, said: list[tuple[str, float]]) -> None:
    assert "address-conflict" not in found_on_link(tmp_path, [announced(*each) for each in said])


def test_a_port_that_mirrors_many(tmp_path: Path) -> None:
    asked = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc=OWN, pdst=NOBODY)
    assert "broadcast-storm" not in found_on_link(tmp_path, [(40.0 * turn + 0.00001 * k, asked) for turn in range(3) for k in range(121)])


def test_a_circle_of_switches_that_keeps_hosts_from_each_other(tmp_path: Path) -> None:
    asked = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc=OWN, pdst=NOBODY)
    made = talk(client=OWN, step=0)
    made.packets.clear()
    for k in range(4):
        made.at = (S << k) - S
        made.up("S", seq=made.seq - 1)
    syns = [(p.at / S, Ether(src=MAC, dst=OTHER) / IP(p.data)) for p in made.packets]
    this = found_on_link(tmp_path, [(0.003 * k, asked) for k in range(300)] + syns + [who_has(NOBODY, 30.0), is_at(NOBODY, OTHER, 30.1)])
    assert this["broadcast-storm"].severity == "problem"
    assert "1 connection of these hosts could not be opened meanwhile" in this["broadcast-storm"].text


def held_open(count: int = 20, closes: bool = False, refused: int = 5) -> list[Packet]:
    """Connections that are left open, and others that are refused then."""
    packets: list[Packet] = []
    for k in range(count):
        made: Talk = exchange(talk(40_000 + k, at=k * 50 * MS))
        packets += (close(made) if closes else made).packets
    for k in range(refused):
        made = talk(41_000 + k, at=2 * S + k * 50 * MS)
        del made.packets[1:]
        made.seq, made.at = (41_000 + k) * 1000 + 1, 2 * S + k * 50 * MS + MS
        made.down("RA", seq=0)
        packets += made.packets
    return packets


def test_a_service_that_is_full_of_connections_that_nobody_closes(tmp_path: Path) -> None:
    this = found(tmp_path, held_open(), ping(30 * S))["connect-refused"]
    assert this.severity == "problem"
    assert this.text.endswith("; 20 connections to it were open then, and none had been closed.")
    assert "not closed" in this.advice
    for packets in (held_open(closes=True), held_open(count=5)):
        assert "none had been closed" not in found(tmp_path, packets, healthy(), ping(30 * S))["connect-refused"].text


def used_again(*waits: int) -> list[Packet]:
    """A client that has forgotten a connection opens one from the same port; ``waits``: before each further SYN."""
    made: Talk = exchange(talk())
    old = made.seq, made.back
    made.at = 5 * S
    made.seq, made.back = 50_000_000, 70_000_000
    for wait in waits:
        made.up("S", seq=made.seq)
        made.down("A", seq=old[1], ack=old[0])
        made.up("R", seq=old[0])
        made.at += wait
    made.up("S")
    made.down("SA")
    made.up("A")
    return close(exchange(made)).packets


def test_a_port_whose_earlier_connection_the_server_still_holds(tmp_path: Path) -> None:
    for waits, severity in (((10 * MS,), "note"), ((S,), "warning"), ((S, 2 * S), "problem")):
        this = found(tmp_path, used_again(*waits), ping(60 * S))["slow-connect"]
        assert this.severity == severity
        assert "still held an earlier one from the same port (half-open)" in this.text
    assert "slow-connect" not in found(tmp_path, used_again(45 * S), ping(90 * S))  # somebody tries anew
