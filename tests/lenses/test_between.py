"""Two captures of the same connections: where data was lost, who sent a reset, and who is not to blame for a wait."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import netlens
from netlens.chains.linking import link
from netlens.chains.visibility import forwarded_ports
from tests.lenses.made import GET, MS, S, close, exchange, healthy, lookup, ping, talk
from tests.parsers.build import Packet, Talk, mixed, rewritten, segment, write

if TYPE_CHECKING:
    from pathlib import Path

    from netlens.lenses import Finding


def found(folder: Path, vm: list[Packet], host: list[Packet]) -> list[Finding]:
    given = {
        side: str(write(folder / f"{side}.pcap", mixed(packets, healthy(), ping(60 * S)))) for side, packets in (("vm", vm), ("host", host))
    }
    return netlens.analyze(**given).findings


def download(lost: int, between: bool) -> tuple[list[Packet], list[Packet]]:
    """What the VM and the host see of a download of which each tenth segment is sent twice: the first is lost between them, or behind the host."""
    made = talk()
    made.up("PA", GET)
    missing: list[Packet] = []
    for k in range(60):
        made.down("A", (b"HTTP/1.1 200 OK\r\n\r\n" if k == 0 else b"") + bytes(1000))
        if k % 10 == 5 and lost:
            first = made.packets[-1]
            missing.append(first)
            made.at += 400 * MS
            made.again(first)
            lost -= 1
        made.up("A")
    close(made)
    seen = [p for p in made.packets if not any(p is gone for gone in missing)]
    return (seen, made.packets) if between else (made.packets, made.packets)


def test_data_that_was_lost_between_the_captures(tmp_path: Path) -> None:
    vm, host = download(4, between=True)
    texts = [each.text for each in found(tmp_path, vm, host) if each.id == "packet-loss"]
    assert any("4 kB were lost between the VM's and the host's capture" in text for text in texts), texts


def test_data_that_was_lost_beyond_both(tmp_path: Path) -> None:
    vm, host = download(4, between=False)
    texts = [each.text for each in found(tmp_path, vm, [*host, *healthy(40_901, S)]) if each.id == "packet-loss"]
    assert texts
    assert all("; nothing was lost between the VM's and the host's capture" in text for text in texts)


def holes(port: int, at: int, lost: dict[int, int]) -> tuple[list[Packet], list[Packet]]:
    """A download as the VM and the host see it: of some segments so many sendings are lost between them, while those behind them arrive."""
    made = talk(port, at=at)
    made.up("PA", GET)
    gone: list[Packet] = []
    for k in range(400):
        first = made.down("A", (b"HTTP/1.1 200 OK\r\n\r\n" if k == 0 else b"") + bytes(1000))
        if k not in lost:
            made.up("A")
            continue
        gone.append(first)
        missing = made.back - 1000
        for _ in range(3):
            made.down("A", 1000)
            made.up("A", ack=missing)
        for _ in range(lost[k] - 1):
            made.at += 20 * MS
            gone.append(made.again(first))
        made.at += 40 * MS
        made.again(first)
        made.up("A")
    close(made)
    return [p for p in made.packets if not any(p is each for each in gone)], made.packets


def test_one_amount_is_told_where_one_capture_shows_more_that_was_sent_again(tmp_path: Path) -> None:
    """On the second connection a repeat is lost as well: three sendings at the host, two at the VM, which would be too few to tell of it."""
    both = holes(40_001, 0, dict.fromkeys((50, 100, 150, 200), 1)), holes(40_002, 30 * S, {50: 1, 150: 2})
    vm, host = ([p for each in both for p in each[k]] for k in (0, 1))
    told = [each.text for each in found(tmp_path, vm, host) if each.id == "packet-loss"]
    assert [text.rpartition("; ")[2] for text in told] == ["7 kB were lost between the VM's and the host's capture (in both captures)."]
    assert "on 2 connections" in told[0]


def test_a_reset_that_only_the_vm_sees(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET)
    host = list(made.packets)
    made.down("R")
    resets = [each for each in found(tmp_path, made.packets, host) if each.id == "reset"]
    assert next(each.text for each in resets if each.severity == "problem") == (
        "1 of 2 connections was reset in the name of 198.51.100.20:80 by something between the two captures (the host's capture shows no reset) "
        "while a request was open (the VM's capture)."
    )


SWAPPED = "the capture given with --vm seems to be from the host: are --vm and --host swapped?"
INSIDE, OWN, OUTSIDE = "172.17.0.2", "192.168.64.2", "203.0.113.1"  #: a container of the VM, the VM, the host


def seen_as(*sources: str) -> list[list[Packet]]:
    """What a capture holds of three connections, whose source is translated where it was made if it has several."""
    out = []
    for after, source in enumerate(sources):
        for k in range(3):
            made = talk(41_000 + k, k * S + 20_000 * after, client=source)
            out.append(close(exchange(made)).packets)
    return out


@pytest.mark.parametrize(
    ("vm", "host", "swapped"),
    [
        pytest.param((OWN,), (OWN, OUTSIDE), False, id="NAT on the host"),
        pytest.param((OWN, OUTSIDE), (OWN,), True, id="the other way round"),
        pytest.param((OWN,), (OUTSIDE,), False, id="the host's way out alone"),
        pytest.param((OUTSIDE,), (OWN,), True, id="that, the other way round"),
        pytest.param((INSIDE, OWN), (OWN, OUTSIDE), False, id="containers in the VM"),
        pytest.param((OWN, OUTSIDE), (INSIDE, OWN), True, id="containers, the other way round"),
        pytest.param((INSIDE, OWN), (OWN,), False, id="containers in the VM, before the host translates"),
        pytest.param((OWN,), (OWN,), False, id="no NAT"),
        pytest.param((OUTSIDE,), (OUTSIDE,), False, id="public addresses"),
    ],
)
def test_captures_given_the_wrong_way_round_are_told_by_what_nat_does(
    tmp_path: Path, vm: tuple[str, ...], host: tuple[str, ...], swapped: bool
) -> None:
    given = {
        side: str(write(tmp_path / f"{side}.pcap", mixed(*seen_as(*sources), ping(60 * S + (side == "host")))))
        for side, sources in (("vm", vm), ("host", host))
    }
    assert (SWAPPED in netlens.analyze(**given).quality["notes"]) == swapped


def test_of_captures_given_the_wrong_way_round_nothing_is_said_about_losses(tmp_path: Path) -> None:
    vm, host = download(4, between=True)
    nat = [p for packets in seen_as(OWN, OUTSIDE) for p in packets], [p for packets in seen_as(OWN) for p in packets]
    for swapped in (False, True):
        order = (vm, host) if not swapped else (host, vm)
        texts = [
            each.text
            for each in found(tmp_path, *(mixed(each, nat[k if swapped else 1 - k]) for k, each in enumerate(order)))
            if each.id == "packet-loss"
        ]
        assert texts
        assert any("lost between the VM's and the host's capture" in text for text in texts) is not swapped


@pytest.mark.parametrize(("set_", "waits"), [("vm", 0), ("host", 0), ("", 0), ("", 3)])
def test_a_clock_that_is_set_while_an_answer_is_awaited_makes_nobody_wait(tmp_path: Path, set_: str, waits: int) -> None:
    """One of the clocks goes on by 2.5 s meanwhile; or none does, and the answer is late."""
    made: list[Packet] = []
    for k in range(40):
        this = exchange(talk(41_000 + k, k * S // 4 + (k > 20) * waits * S), wait=100 * MS + (k == 20) * waits * S)
        made += close(this).packets
    at = next(p.at for p in made if p.at > 5 * S + 50 * MS)  # while one is awaited
    shift = {side: [Packet(p.at + 2500 * MS * (p.at >= at), p.data) for p in made] if side == set_ else made for side in ("vm", "host")}
    vm, host = shift["vm"], [Packet(p.at + MS // 2, p.data) for p in shift["host"]]
    given = {
        side: str(write(tmp_path / f"{side}.pcap", packets)) for side, packets in (("vm", vm), ("host", [*host, *healthy(40_901, 20 * S)]))
    }
    analysis = netlens.analyze(**given)
    assert len(analysis.clock.steps) == bool(set_)
    assert any(each.id == "slow-server" for each in analysis.findings) == bool(waits)


@pytest.mark.parametrize(
    ("case", "by_host"),
    [
        pytest.param("rejected", True, id="the host's firewall"),
        pytest.param("server", False, id="the server itself, behind NAT"),
        pytest.param("own", False, id="a service of the host's own"),
        pytest.param("unseen", False, id="what goes on is seen of no connection"),
    ],
)
def test_a_connection_that_the_host_itself_refuses(tmp_path: Path, case: str, by_host: bool) -> None:
    server = ("192.168.64.1" if case == "own" else "198.51.100.20", 81)
    nat = {(OWN, 41_000): (OUTSIDE, 41_000), (OWN, 41_001): (OUTSIDE, 41_001)}
    vm: list[Packet] = []
    host: list[Packet] = []
    for made in (close(exchange(talk(41_000, client=OWN))), talk(41_001, S, server, OWN)):
        refused = made.packets[0].at >= S
        packets = (
            [made.packets[0], Packet(made.packets[1].at, segment(server, (OWN, 41_001), "RA", 0, 41_001 * 1000 + 1))]
            if refused
            else made.packets
        )
        to_vm = [Packet(p.at, p.data, 1, 4 if k in _down(packets) else 0) for k, p in enumerate(packets)]
        out = [replace(p, kind=0 if k in _down(packets) else 4) for k, p in enumerate(rewritten(packets, nat))]
        vm += packets
        host += [*to_vm, *(out if (case == "server" or not refused) and case != "unseen" else [])]
    given = {"vm": vm, "host": [*host, *(Packet(p.at, p.data, 2, 4) for p in ping(60 * S))]}
    paths = {side: str(write(tmp_path / f"{side}.pcap", mixed(packets))) for side, packets in given.items()}
    for captures in (paths, {"host": paths["host"]}):
        texts = [each.text for each in netlens.analyze(**captures).findings if each.id == "connect-refused"]
        assert texts
        assert any("refused by the host itself" in text for text in texts) == by_host, texts


@pytest.mark.parametrize(
    ("has", "told"),
    [
        pytest.param("loopback", ["127.0.0.1:8080"], id="a port that ssh forwards"),
        pytest.param("", [], id="another interface was captured"),
        pytest.param("without ssh", [], id="a service of the VM's own"),
    ],
)
def test_where_programs_ask_what_ssh_forwards(tmp_path: Path, has: str, told: list[str]) -> None:
    ssh = close(
        exchange(
            talk(42_000, server=("192.168.64.1", 22 if has != "without ssh" else 2222), client=OWN), b"SSH-2.0-x\r\n", b"SSH-2.0-y\r\n"
        )
    ).packets
    asks = close(exchange(talk(42_001, S, ("127.0.0.1", 8080), "127.0.0.1"))).packets if has else []
    out = close(exchange(talk(42_002, S, client=OUTSIDE))).packets
    captures: dict[str | None, netlens.Capture] = {
        name: netlens.Capture([str(write(tmp_path / f"{name}.pcap", mixed(*packets)))])
        for name, packets in (("vm", [ssh, asks]), ("host", [ssh, out, healthy(40_902, 20 * S)]))
    }
    assert forwarded_ports(link(captures, ("198.51.100.20",))) == told


def _down(packets: list[Packet]) -> set[int]:
    """Which packets go to the VM."""
    return {k for k, p in enumerate(packets) if p.data[16:20] == bytes(map(int, OWN.split(".")))}


def test_an_answer_that_became_a_reset_on_its_way(tmp_path: Path) -> None:
    """The host's capture holds the answer, which the server sends again until the client's host resets it; the VM's holds a reset, and that answer."""
    made = talk()
    made.up("PA", GET)
    before = list(made.packets)
    answer = made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(700))
    made.at += 300 * MS
    again = made.again(answer)
    made.at += MS
    last = made.up("R")
    host = [*before, answer, again, last]
    forged = talk()
    forged.up("PA", GET)
    forged.down("RA")
    vm = [*forged.packets, again, last]
    resets = [each for each in found(tmp_path, vm, [*host, *healthy(40_901, S)]) if each.id == "reset"]
    assert [(each.severity, "in the name of 198.51.100.20:80 by something between the two captures" in each.text) for each in resets] == [
        ("problem", True)
    ]


def test_an_answer_that_its_server_s_reset_overtakes_is_there(tmp_path: Path) -> None:
    """The server resets behind its whole answer, and packets change their order on the way."""
    made = talk()
    made.up("PA", GET)
    made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(700))
    made.down("RA")
    *before, answer, reset = made.packets
    for order in ([answer, reset], [Packet(reset.at, answer.data), Packet(reset.at + MS, reset.data)][::-1]):
        assert not [
            each
            for each in found(tmp_path, [*before, *order], [*made.packets, *healthy(40_901, S)])
            if each.id == "reset" and each.severity == "problem"
        ]


def test_a_server_whose_answer_was_lost_on_the_way_is_not_slow(tmp_path: Path) -> None:
    vm: list[Packet] = []
    host: list[Packet] = []
    for k in range(3):
        made: Talk = talk(41_000 + k, 10 * k * S)
        exchange(made)
        made.up("PA", GET)
        made.down("A")
        lost = [made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n")]
        for wait in (200, 400, 800, 2_000):
            made.at += wait * MS
            lost.append(made.again(lost[0]))
        made.up("A")
        close(made)
        host += made.packets
        vm += [p for p in made.packets if not any(p is gone for gone in lost[:-1])]
    ids = {each.id for each in found(tmp_path, vm, host) if each.severity == "problem"}
    assert "stalled" in ids
    assert "slow-server" not in ids


def test_syns_that_do_not_come_to_the_host(tmp_path: Path) -> None:
    made = Talk(("192.0.2.10", 45_000), ("198.51.100.20", 8080), isn=1)
    for wait in (1, 2, 4):
        made.up("S", seq=1)
        made.at += wait * S
    advice = [each.advice for each in found(tmp_path, made.packets, []) if each.id == "connect-unanswered"]
    assert len(advice) == 1
    assert advice[0].startswith("The host's capture has none of these SYNs: unless it was recorded with a filter")


def at_host(packets: list[Packet]) -> list[Packet]:
    """The same, as the host sees it: half a millisecond nearer to the server."""
    client = bytes([192, 0, 2, 10])
    return [Packet(p.at + (MS // 2 if p.data[12:16] == client else -MS // 2), p.data) for p in packets]


def opened_late(port: int, at: int) -> tuple[list[Packet], list[Packet]]:
    """A connection whose first SYN does not come to the host, as both see it."""
    first = talk(port, at=at).packets[0]
    made = close(exchange(talk(port, at=at + 1100 * MS))).packets
    return [first, *made], made


def test_syns_that_were_lost_between_the_captures(tmp_path: Path) -> None:
    (vm, host), beside = opened_late(41_000, 5 * S), close(exchange(talk(40_800, at=S))).packets
    clock = [p for k in range(6) for p in close(exchange(talk(42_000 + k, at=10 * S + k * S))).packets]  # which tells it
    texts = [each.text for each in found(tmp_path, [*beside, *vm, *clock], at_host([*beside, *host, *clock])) if each.id == "slow-connect"]
    assert len(texts) == 1
    assert texts[0].endswith("; 1 SYN was lost between the VM's and the host's capture (the VM's capture).")


def test_of_syns_that_both_captures_show_nothing_was_lost_in_between(tmp_path: Path) -> None:
    vm, _ = opened_late(41_000, 5 * S)
    clock = [p for k in range(6) for p in close(exchange(talk(42_000 + k, at=10 * S + k * S))).packets]
    texts = [each.text for each in found(tmp_path, [*vm, *clock], at_host([*vm, *clock, *healthy(40_901, S)])) if each.id == "slow-connect"]
    assert texts
    assert not any("lost between" in text for text in texts)


def test_of_a_host_that_was_recorded_later_nothing_is_said_about_syns(tmp_path: Path) -> None:
    vm, host = opened_late(41_000, 5 * S)
    clock = [p for k in range(6) for p in close(exchange(talk(42_000 + k, at=10 * S + k * S))).packets]
    given = {
        side: str(write(tmp_path / f"{side}.pcap", mixed(packets, clock, ping(60 * S)))) for side, packets in (("vm", vm), ("host", host))
    }
    texts = [each.text for each in netlens.analyze(**given).findings if each.id == "slow-connect"]
    assert texts
    assert not any("lost between" in text for text in texts)


@pytest.mark.parametrize("lost", [0, 2])
def test_queries_that_were_lost_between_the_captures(lost: int, tmp_path: Path) -> None:
    queries = [lookup(f"{k}.example", (5 + 8 * k) * S, (8 + 8 * k) * S, port=5_000 + k, txid=100 + k) for k in range(4)]
    again = [[Packet(each[0].at + 2900 * MS, each[0].data)] for each in queries]
    clock = [p for k in range(6) for p in close(exchange(talk(42_000 + k, at=50 * S + k * S))).packets]
    both = [p for k in range(4) for p in (*queries[k], *again[k])]
    gone = [queries[k][0] for k in range(lost)]
    vm, host = sorted(both, key=lambda p: p.at), [p for p in sorted(both, key=lambda p: p.at) if not any(p is each for each in gone)]
    texts = [each.text for each in found(tmp_path, [*vm, *clock], at_host([*host, *clock, *healthy(40_901, S)])) if each.id == "dns-slow"]
    assert texts
    assert any("; 2 queries were lost between the VM's and the host's capture" in text for text in texts) == bool(lost)


def test_of_a_capture_that_ends_before_the_other_nothing_is_said_about_losses(tmp_path: Path) -> None:
    vm, host = download(4, between=False)
    texts = [each.text for each in found(tmp_path, vm[:-60], host) if each.id == "packet-loss"]
    assert texts
    assert not any("lost between" in text for text in texts)


def test_what_both_captures_show_is_told_once(tmp_path: Path) -> None:
    """A slow server: the same connections, with frames of both captures; a connection that only one has is another thing."""
    late = [p for k in range(3) for p in close(exchange(talk(41_000 + k, at=k * S), wait=6 * S)).packets]
    told = [each for each in found(tmp_path, late, [*late, *healthy(40_901, S)]) if each.id == "slow-server"]
    assert [each.text.endswith("for the answer's first byte (in both captures).") for each in told] == [True]
    assert {side for side, _ in told[0].frames} == {"vm", "host"}
    beside = close(exchange(talk(42_000), wait=7 * S)).packets
    told = [each for each in found(tmp_path, late, [*late, *beside]) if each.id == "slow-server"]
    assert [each.text.rpartition(" (")[2] for each in told] == ["the VM's capture).", "the host's capture)."]
