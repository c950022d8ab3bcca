"""Tunnels and other protocols beside TCP and UDP of which nothing comes back, ICMP that says why, and packets that are too large for a link."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, SERVER, close, exchange, found, healthy, ping, problems, talk
from tests.lenses.test_icmp import error
from tests.parsers.build import MS, Packet, S, _ip, datagram, segment

if TYPE_CHECKING:
    from pathlib import Path

IPV6, GRE, ESP, SCTP = 41, 47, 50, 132
PROTOCOL, TOO_BIG, PARTS = (3, 2), (3, 4), (11, 1)
INIT, INIT_ACK, ABORT = 1, 2, 6
SPARE = "198.51.100.99"


def sctp(chunk: int, *at: int, back: bool = False, server: str = SERVER, port: int = 3868) -> list[Packet]:
    ends, ports = ((server, CLIENT), (port, 40_000)) if back else ((CLIENT, server), (40_000, port))
    return [Packet(ts, _ip(*ends, SCTP, struct.pack(">HH8xBBH16x", *ports, chunk, 0, 20))) for ts in at]


def carried(protocol: int, *at: int, back: bool = False) -> list[Packet]:
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return [Packet(ts, _ip(*ends, protocol, bytes([0x30, 1, 0x88, 0x0B]) + bytes(60))) for ts in at]


def test_sctp_that_nobody_answers(tmp_path: Path) -> None:
    this = found(tmp_path, sctp(INIT, 0, 3 * S, 9 * S), healthy())["one-way"]
    assert this.severity == "problem"
    assert this.text == f"{SERVER} never answered over SCTP: {CLIENT} sent 3 INITs over 9.0 s."


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*sctp(INIT, 0, 3 * S, 9 * S), *sctp(INIT_ACK, 9 * S + MS, back=True)], id="answered"),
        pytest.param(sctp(INIT, 0, S), id="twice"),
        pytest.param([*sctp(INIT, 0), *sctp(0, 3 * S, 9 * S)], id="one direction of an association"),
    ],
)
def test_sctp_that_is_answered(tmp_path: Path, packets: list[Packet]) -> None:
    assert "one-way" not in found(tmp_path, packets, healthy())


def associated(port: int) -> list[Packet]:
    """With another server."""
    sent = [*sctp(INIT, MS, server=SPARE, port=port), *sctp(0, 3 * MS, S, server=SPARE, port=port)]
    return sorted([*sent, *sctp(INIT_ACK, 2 * MS, back=True, server=SPARE, port=port)], key=lambda each: each.at)


def test_sctp_where_another_server_stands_in(tmp_path: Path) -> None:
    silent = sctp(INIT, 0, 3 * S, 9 * S)
    assert "one-way" not in found(tmp_path, silent, associated(3868), healthy())
    assert found(tmp_path, silent, associated(2905), healthy())["one-way"].severity == "problem"  # for something else


def test_sctp_where_nothing_that_is_sent_back_is_recorded(tmp_path: Path) -> None:
    assert "one-way" not in found(tmp_path, sctp(INIT, 0, 3 * S, 9 * S))


def answered(at: int, chunk: int, tag: int, server: str = SERVER) -> list[Packet]:
    """An INIT that asks for this tag, and the answer to it."""
    init = struct.pack(">HHIIBBHI12x", 40_000, 3868, 0, 0, INIT, 0, 20, tag)
    answer = struct.pack(">HHIIBBHI12x", 3868, 40_000, tag, 0, chunk, 0, 20, 99)
    return [Packet(at, _ip(CLIENT, server, SCTP, init)), Packet(at + MS, _ip(server, CLIENT, SCTP, answer))]


def test_sctp_that_is_refused(tmp_path: Path) -> None:
    this = found(tmp_path, answered(0, INIT_ACK, 7), answered(S, ABORT, 8), answered(2 * S, ABORT, 9), healthy())["connect-refused"]
    assert this.severity == "problem"
    assert this.text == f"2 of 3 associations of SCTP were refused by {SERVER}:3868."


@pytest.mark.parametrize("server", [SERVER, SPARE])
def test_sctp_that_is_taken_later(tmp_path: Path, server: str) -> None:
    this = found(tmp_path, answered(0, ABORT, 7), answered(S, INIT_ACK, 8, server), healthy())["connect-refused"]
    assert this.severity == "warning"
    assert this.text.endswith("; it was taken later, there or at another server, or over TCP.")


def test_an_association_that_ends_by_an_abort(tmp_path: Path) -> None:
    end = Packet(S, _ip(SERVER, CLIENT, SCTP, struct.pack(">HHIIBBHI12x", 3868, 40_000, 7, 0, ABORT, 0, 20, 0)))
    assert "connect-refused" not in found(tmp_path, [*answered(0, INIT_ACK, 7), end], healthy())


def control(at: int = 0) -> list[Packet]:
    return close(exchange(talk(at=at, server=(SERVER, 1723)), b"\0\x9c\0\1\x1a+<M", b"\0\x9c\0\1\x1a+<M")).packets


def test_a_tunnel_of_pptp_that_goes_one_way(tmp_path: Path) -> None:
    this = found(tmp_path, control(), carried(GRE, *(S * k for k in range(1, 6))))["one-way"]
    assert this.severity == "problem"
    assert this.text == (
        f"PPTP: the control connection works, but nothing comes back through the tunnel (GRE): {CLIENT} sent 5 packets over 4.0 s to {SERVER}."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*control(), *carried(GRE, *(S * k for k in range(1, 6))), *carried(GRE, 5 * S + MS, back=True)], id="both ways"),
        pytest.param([*control(), *carried(GRE, S, 2 * S)], id="twice"),
        pytest.param([*healthy(), *carried(GRE, *(S * k for k in range(1, 6)))], id="no PPTP: a mirror of traffic goes one way"),
    ],
)
def test_tunnels_of_gre_that_may_be_so(tmp_path: Path, packets: list[Packet]) -> None:
    assert "one-way" not in found(tmp_path, sorted(packets, key=lambda each: each.at))


def test_ipsec_that_goes_one_way(tmp_path: Path) -> None:
    sent = carried(ESP, *(S * k for k in range(25)))
    this = found(tmp_path, sent, healthy())["one-way"]
    assert this.severity == "warning"
    assert this.text == f"IPsec goes one way, from {CLIENT} to {SERVER}: 25 packets over 24.0 s of ESP, and none came back."
    assert "one-way" not in found(tmp_path, sent, carried(ESP, 20 * S + MS, back=True), healthy())
    assert "one-way" not in found(tmp_path, sent)  # perhaps one direction was recorded


def test_ipsec_in_udp_that_goes_one_way(tmp_path: Path) -> None:
    """Of what goes to its port, IKE is answered."""

    def sent(data: bytes, *at: int, back: bool = False) -> list[Packet]:
        ends = (SERVER, 4500), (CLIENT, 4500)
        return [Packet(ts, datagram(*(ends if back else ends[::-1]), data)) for ts in at]

    esp, ike = b"\xf4\xdc\x0a\xe5" + bytes(60), bytes(4) + b"initiate" + bytes(60)
    out = [*sent(esp, *(S * k for k in range(25))), *sent(b"\xff", 3 * S), *sent(ike, 2 * S), *sent(ike, 2 * S + MS, back=True)]
    this = found(tmp_path, sorted(out, key=lambda each: each.at), healthy())["one-way"]
    assert this.text == f"IPsec goes one way, from {CLIENT} to {SERVER}: 25 packets over 24.0 s of ESP, and none came back."
    assert "one-way" not in found(tmp_path, out, sent(esp, 20 * S + MS, back=True), healthy())


def quoted(protocol: int, to: str = SERVER) -> bytes:
    return _ip(CLIENT, to, protocol, bytes(8))


@pytest.mark.parametrize(
    ("protocol", "name"), [(IPV6, "IPv6 in IPv4 (protocol 41)"), (SCTP, "SCTP (protocol 132)"), (200, "IP protocol 200")]
)
def test_a_host_that_does_not_speak_a_protocol(tmp_path: Path, protocol: int, name: str) -> None:
    sent = [Packet(k * S, quoted(protocol)) for k in range(4)]
    told = [p for k in range(4) for p in error(k * S + MS, PROTOCOL, quoted(protocol), SERVER)]
    this = found(tmp_path, sent, told, healthy())["unreachable"]
    assert this.severity == "problem"
    assert this.text == f"4 packets of {name} to {SERVER} reached nobody; {SERVER} said: protocol unreachable."
    assert "not in the capture" not in this.text


@pytest.mark.parametrize(
    "protocols",
    [pytest.param([SCTP, GRE, ESP, 88] * 2, id="somebody tries all"), pytest.param([SCTP] * 2, id="twice")],
)
def test_protocols_that_are_tried(tmp_path: Path, protocols: list[int]) -> None:
    told = [p for k, protocol in enumerate(protocols) for p in error(k * S, PROTOCOL, quoted(protocol), SERVER)]
    assert "unreachable" not in problems(found(tmp_path, told, healthy()))


def test_a_host_that_speaks_the_protocol_all_the_same(tmp_path: Path) -> None:
    told = [p for k in range(4) for p in error(k * S + MS, PROTOCOL, quoted(SCTP), SERVER)]
    assert "unreachable" not in found(tmp_path, told, sctp(INIT_ACK, 5 * S, back=True), healthy())


def too_large(size: int, mtu: int, *at: int) -> list[Packet]:
    packet = segment((CLIENT, 40_000), (SERVER, 80), "A", 5, data=b"x" * (size - 40))
    return [p for ts in at for p in error(ts, TOO_BIG, packet, rest=bytes(2) + mtu.to_bytes(2, "big"))]


def upload(size: int) -> list[Packet]:
    made = talk()
    for _ in range(12):
        made.up("PA", b"x" * (size - 40))
        made.down("A")
        made.at += S // 2
    return made.packets


TIMES = [S // 2 * k for k in range(1, 12)]


def test_a_sender_that_does_not_obey(tmp_path: Path) -> None:
    this = found(tmp_path, upload(1500), too_large(1500, 1400, *TIMES))["path-mtu"]
    assert this.severity == "problem"
    assert (
        this.text
        == f"{CLIENT} goes on to send packets that are too large for a link behind 203.0.113.1 (MTU 1,400): 11 ICMP errors over 5.0 s."
    )


def test_packets_that_were_merged(tmp_path: Path) -> None:
    words = "which are not so long where they are sent: 11 ICMP errors over 5.0 s."
    assert words in found(tmp_path, upload(1400), too_large(2800, 1500, *TIMES))["path-mtu"].text
    assert words in found(tmp_path, upload(1500), too_large(1500, 1500, *TIMES))["path-mtu"].text
    assert words not in found(tmp_path, upload(1500), too_large(1512, 1500, *TIMES))["path-mtu"].text  # by the options of TCP


@pytest.mark.parametrize("times", [TIMES[:3], [S + k for k in range(40)], [*(k * MS for k in range(20)), 60 * S]])
def test_a_sender_that_learns(tmp_path: Path, times: list[int]) -> None:
    assert "path-mtu" not in found(tmp_path, upload(1500), too_large(1500, 1400, *times))


def datagrams_too_large(*sizes: int) -> list[Packet]:
    """An error a second, each about a datagram of another size."""
    sent = [datagram((CLIENT, 40_000), (SERVER, 443), b"x" * (size - 28)) for size in sizes]
    return [p for k, data in enumerate(sent) for p in error(S * k, TOO_BIG, data, rest=(1300).to_bytes(4, "big"))]


def flow(n: int, answers: int) -> list[Packet]:
    """Datagrams that are small enough."""
    sent = [Packet(50 * MS * k, datagram((CLIENT, 40_000), (SERVER, 443), bytes(900))) for k in range(n)]
    back = [Packet(50 * MS * k + MS, datagram((SERVER, 443), (CLIENT, 40_000), bytes(40))) for k in range(answers)]
    return sorted(sent + back, key=lambda each: each.at)


@pytest.mark.parametrize("sizes", [[1500, 1500, 1500, 1450, 1450, 1400], [1500, 1480, 1460, 1440, 1420, 1400]])
def test_who_probes_for_the_size_that_fits(tmp_path: Path, sizes: list[int]) -> None:
    assert "path-mtu" not in found(tmp_path, flow(100, 100), datagrams_too_large(*sizes))


def test_datagrams_that_are_too_large(tmp_path: Path) -> None:
    """Of one size they are no probes; but if the rest passes, it is not known."""
    told = datagrams_too_large(*[1500] * 6)
    assert found(tmp_path, flow(100, 100), told)["path-mtu"].severity == "warning"
    assert found(tmp_path, flow(100, 0), told)["path-mtu"].severity == "problem"
    assert found(tmp_path, flow(10, 10), told)["path-mtu"].severity == "problem"


def test_fragments_that_something_drops(tmp_path: Path) -> None:
    """Of each large one of them; small ones, in between, arrive."""
    sent = [Packet(S * k, datagram((CLIENT, 40_000 + k % 2 * k), (SERVER, 514), b"<13>1 - a")) for k in range(12)]
    told = [p for k in range(0, 12, 2) for p in error(S * (k + 30), PARTS, datagram((CLIENT, 40_000), (SERVER, 514), b"<13>1 - a"), SERVER)]
    assert found(tmp_path, sent, told)["unreachable"].severity == "problem"
    assert found(tmp_path, sent, told[:2])["unreachable"].severity == "warning"


DISCOVERY = bytes.fromhex("0010020000000000") + bytes(40)


def test_an_access_point_without_a_controller(tmp_path: Path) -> None:
    asked = [Packet(2 * S * k, datagram((CLIENT, 5246), (SERVER, 5246), DISCOVERY)) for k in range(6)]
    this = found(tmp_path, asked, healthy())["udp-unanswered"]
    assert this.severity == "problem"
    assert "(CAPWAP)" in this.text
    other = [Packet(MS, datagram(("198.51.100.9", 5246), (CLIENT, 5246), DISCOVERY))]
    assert "udp-unanswered" not in problems(
        found(tmp_path, asked, other, [Packet(2, datagram((CLIENT, 5246), ("198.51.100.9", 5246), DISCOVERY))], healthy())
    )


def test_answers_to_what_was_asked_of_all(tmp_path: Path) -> None:
    """They repeat what they say as often as they are asked: not who answers, but who asks, waits."""
    times = [0, 1, 3, 7, 15, 31]
    asked = [Packet(S * at, datagram((CLIENT, 546), ("224.0.0.99", 547), b"\1\0\0\7")) for at in times]
    told = [Packet(S * at + MS, datagram((SERVER, 547), (CLIENT, 546), b"\2\0\0\7" + bytes(20))) for at in times]
    assert "udp-unanswered" not in found(tmp_path, asked, told, healthy(), ping(60 * S))


def test_sctp_whose_init_is_sent_again_where_nothing_else_is_recorded(tmp_path: Path) -> None:
    """Any answer would end that, be it recorded or not; a new INIT has another tag."""
    first = answered(0, INIT_ACK, 7)[0]

    def sent(*tags: int) -> list[Packet]:
        return [Packet(3 * S * k, answered(0, INIT_ACK, tag)[0].data) for k, tag in enumerate(tags)]

    assert found(tmp_path, sent(7, 7, 7, 7))["one-way"].severity == "problem"
    assert "one-way" not in found(tmp_path, sent(7, 8, 9, 10))
    assert "one-way" not in found(tmp_path, sent(7, 7, 8, 9))
    copies = [Packet(3 * S * k + d, answered(0, INIT_ACK, k + 1)[0].data) for k in range(4) for d in (0, MS)]
    assert "one-way" not in found(tmp_path, [first, *copies])


def nhrp(kind: int, at: int, number: int = 1, code: int = 0, back: bool = False) -> Packet:
    fixed = struct.pack(">HHIBBHHHBBBB", 1, 0x0800, 0, 0, 255, 48, 0, 0, 1, kind, 4, 0)
    body = bytes([4, 4]) + b"\x80\x02" + number.to_bytes(4, "big") + bytes(12) + bytes([code]) + bytes(11)
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return Packet(at, _ip(*ends, GRE, b"\0\0\x20\1" + fixed + body))


def registered(at: int, code: int = 0) -> list[Packet]:
    return [nhrp(3, at), nhrp(4, at + MS, code=code, back=True)]


def test_registrations_of_nhrp_that_get_no_reply(tmp_path: Path) -> None:
    vain = [nhrp(3, at * S) for at in (60, 68, 84, 116)]
    this = found(tmp_path, registered(0), vain, registered(200 * S))["one-way"]
    assert this.severity == "problem"
    assert this.text == f"NHRP: {SERVER} did not reply to 4 registrations of {CLIENT} over 56.0 s."
    assert "one-way" not in found(tmp_path, vain)  # perhaps replies were not recorded
    assert "one-way" not in found(tmp_path, registered(0), vain[:2], registered(90 * S))


def test_registrations_of_nhrp_that_are_refused(tmp_path: Path) -> None:
    this = found(tmp_path, registered(0, 15), registered(60 * S, 15))["one-way"]
    assert this.severity == "problem"
    assert this.text == f"NHRP: {SERVER} refused 2 registrations of {CLIENT}: address not unique (15)."
    assert "one-way" not in found(tmp_path, registered(0, 15), registered(60 * S))  # taken later
