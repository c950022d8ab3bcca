"""Connections: which sessions are one connection of a program, and by which path it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from netlens.parsers import connections as module
from netlens.parsers.connections import build, is_private, is_public
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.sessions import SessionFold
from netlens.parsers.tunnels import TunnelWatch
from netlens.wire import columns as c
from tests.parsers.build import INCOMING, MS, OUTGOING, US, End, Packet, S, Talk, datagram, mixed, rewritten, rows, segment

if TYPE_CHECKING:
    from netlens.schema import Table

VM, HOST_IN, HOST_OUT = "192.168.64.2", "192.168.64.1", "192.168.1.20"
API, OTHER = ("203.0.113.10", 443), ("203.0.113.11", 443)
NEAR = ("127.0.0.1", 12300)


def tables(packets: Sequence[Packet]) -> tuple[Table, Table, Table]:
    """(connections, lookups, tunnels) of a capture, through the parsers that feed them."""
    buf, matrix = rows(packets)
    state, lookups, watch = SessionFold(), LookupBuilder(), TunnelWatch()
    state.feed(matrix)
    lookups.feed(buf, matrix)
    watch.feed(buf, matrix, state.state())
    return build(state.state(), state.rows(), lookups.rows(), watch.attributed(np.arange(state.n)))


def connections(packets: Sequence[Packet]) -> list[dict[str, Any]]:
    return list(tables(packets)[0].records())


def shown(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["path"], row["orig_ip"], row["orig_port"], row["resp_ip"], row["resp_port"], row["session_ids"]


def numbers(i: int) -> dict[str, int]:
    """Initial sequence numbers that look drawn at random and are never equal."""
    return {"isn": (i * 2_654_435_761 + 77_777) % 2**32, "answer": (i * 40_503_000_001 + 1_234_567) % 2**32}


def plain(client: End = (VM, 40000), server: End = API, i: int = 1, at: int = 0, close: bool = True, **more: Any) -> Talk:
    t = Talk(client, server, **numbers(i), at=at, **more).open()
    t.up("PA", 500)
    t.down("PA", 1400)
    return t.close() if close else t


def halves(packets: Sequence[Packet], near: End = NEAR, server: End = API) -> list[Packet]:
    """As the VM sees it: what goes to the server goes to the proxy instead; the answers still say whose they are."""
    v6 = ":" in server[0]
    at = 42 if v6 else 22
    return [rewritten([p], {server: near}, 0, p.iface)[0] if p.data[at : at + 2] == server[1].to_bytes(2, "big") else p for p in packets]


# -- redirect halves --


def test_halves_are_one_connection() -> None:
    (row,) = connections(halves(plain().packets))
    assert shown(row) == ("sshuttle", VM, 40000, *API, [0, 1])
    assert (row["state"], row["orig_bytes"], row["resp_bytes"], row["redirect_port"]) == ("SF", 500, 1400, 12300)
    assert (row["vantage"], row["origin"], row["open_at_end"], row["started_before_capture"]) == ("vm", "vm", False, False)
    assert (row["first_frame"], row["last_frame"], row["duration_s"]) == (1, 8, pytest.approx(0.006))


def test_halves_of_ipv6() -> None:
    client, server = ("fd00::2", 40000), ("2001:db8::10", 443)
    (row,) = connections(halves(plain(client, server).packets, ("::1", 12300), server))
    assert shown(row) == ("sshuttle", *client, *server, [0, 1])
    assert row["vantage"] == "vm"


def test_halves_captured_in_swapped_order() -> None:
    packets = halves(plain().packets)
    packets[0], packets[1] = packets[1], packets[0]
    (row,) = connections(packets)
    assert shown(row) == ("sshuttle", VM, 40000, *API, [0, 1])
    assert row["state"] == "SF"


def test_halves_with_the_client_port_used_again() -> None:
    """Also while the receiving half of the first still stands open, and to another server."""
    packets = halves(plain(i=1, close=False).packets)
    packets += halves(plain(i=2, at=S).packets)
    packets += halves(plain(server=OTHER, i=3, at=2 * S).packets, server=OTHER)
    found = connections(packets)
    assert [shown(r)[3:] for r in found] == [(*API, [0, 1]), (*API, [2, 3]), (*OTHER, [4, 5])]
    assert [r["state"] for r in found] == ["S1", "SF", "SF"]
    assert [r["open_at_end"] for r in found] == [True, False, False]


def test_halves_joined_mid_stream() -> None:
    t = plain(close=False)
    t.up("PA", 300)
    t.down("PA", 900)
    for cut in (3, 4, 5):
        (row,) = connections(halves(t.packets[cut:]))
        assert shown(row) == ("sshuttle", VM, 40000, *API, [0, 1])
        assert row["started_before_capture"]


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda t: t.up("RA"), "RSTO"),
        (lambda t: t.down("RA"), "RSTR"),
        (lambda t: t.up("FA"), "S2"),
        (lambda t: t.down("FA"), "S3"),
        (lambda t: t.up("A"), "S1"),
    ],
)
def test_states_of_halves(end: Callable[[Talk], object], state: str) -> None:
    t = plain(close=False)
    end(t)
    (row,) = connections(halves(t.packets))
    assert row["state"] == state
    assert row["open_at_end"] == (state in ("S1", "S2", "S3"))


def test_refused_and_unanswered_halves() -> None:
    t = Talk((VM, 40000), API, **numbers(1))
    t.up("S")
    (row,) = connections(halves(t.packets))
    # nothing came back, so nothing shows where it was meant to go
    assert (row["path"], row["resp_ip"], row["state"]) == ("direct", "127.0.0.1", "S0")
    t.down("RA", seq=0)
    (row,) = connections(halves(t.packets))
    assert (row["path"], row["resp_ip"], row["state"], row["open_at_end"]) == ("sshuttle", API[0], "REJ", False)


def test_one_port_to_two_rewritten_addresses_is_no_pair_of_halves() -> None:
    """The answer of the inner address is captured before the second SYN: for a moment it looks like a half."""
    inner: End = ("10.9.9.9", 8443)
    before = plain().packets
    after = rewritten(before, {API: inner}, later=1)
    packets = mixed(before, after)
    second = packets.index(after[0])
    packets.insert(second + 1, packets.pop(second + 2 if packets[second + 2] in after else second + 1))
    order = [before[0], after[1], after[0], before[1], *packets[4:]]
    (row,) = connections(order)
    assert row["path"] == "nat"
    assert (row["resp_ip"], row["state"], sorted(row["session_ids"])) == (API[0], "SF", [0, 1])


# -- NAT copies --


def snat(packets: Sequence[Packet], client: End = (VM, 40000), outside: End = (HOST_OUT, 51000), later: int = 20 * US) -> list[Packet]:
    """What the host sees of it on both interfaces: outgoing packets inside first, incoming ones outside first."""
    outer = rewritten(packets, {client: outside}, later)
    out: list[Packet] = []
    for inner, copy in zip(packets, outer, strict=True):
        if inner.data[12:16] == bytes(int(x) for x in client[0].split(".")):
            out += [inner, copy]
        else:
            out += [Packet(inner.at, copy.data, 2, INCOMING), Packet(copy.at, inner.data, 1, OUTGOING)]
    return out


def test_source_nat_copies_are_one_connection() -> None:
    (row,) = connections(snat(plain().packets))
    assert shown(row) == ("nat", VM, 40000, *API, [0, 1])
    assert (row["nat_ip"], row["nat_port"], row["state"]) == (HOST_OUT, 51000, "SF")
    assert (row["vantage"], row["origin"], row["orig_bytes"], row["resp_bytes"]) == ("host", "vm", 500, 1400)


def test_destination_nat_copies_are_one_connection() -> None:
    packets = plain().packets
    (row,) = connections(mixed(packets, rewritten(packets, {API: ("10.9.9.9", 8443)})))
    assert shown(row) == ("nat", VM, 40000, *API, [0, 1])
    assert row["nat_ip"] is None


def test_destination_nat_does_not_make_the_vm_a_host() -> None:
    packets = plain().packets
    packets = mixed(packets, rewritten(packets, {API: ("10.9.9.9", 8443)}), plain((VM, 40001), OTHER, 2, at=S).packets)
    assert [r["path"] for r in connections(packets)] == ["nat", "nat"]


def test_three_copies() -> None:
    inner = plain().packets
    middle = rewritten(inner, {(VM, 40000): (HOST_OUT, 51000)}, 20 * US, 2)
    outer = rewritten(middle, {(HOST_OUT, 51000): ("10.8.0.2", 52000), API: ("198.51.100.9", 8443)}, 20 * US, 3)
    half = rewritten(middle, {(HOST_OUT, 51000): ("10.8.0.2", 52000)}, 20 * US, 3)
    for last in (half, rewritten(half, {API: ("198.51.100.9", 8443)}, 20 * US, 4)):
        (row,) = connections(mixed(inner, middle, half, last) if last is not half else mixed(inner, middle, half))
        assert (row["orig_ip"], row["nat_ip"], row["nat_port"], row["path"]) == (VM, "10.8.0.2", 52000, "nat")
    # both ends renamed at once, and no copy in between: nothing ties it to the others
    assert len(connections(mixed(inner, middle, outer))) == 2


def test_an_unanswered_syn_is_joined_across_interfaces_only() -> None:
    t = Talk((VM, 40000), API, **numbers(1))
    t.up("S")
    t.wait(S).again()
    (row,) = connections(snat(t.packets))
    assert shown(row) == ("nat", VM, 40000, *API, [0, 1])
    assert (row["state"], row["open_at_end"]) == ("S0", True)
    same = [Packet(p.at, p.data) for p in snat(t.packets)]
    assert len(connections(same)) == 2


def test_nat_with_ports_used_again() -> None:
    packets = []
    for i in range(4):
        packets += snat(plain(i=i + 1, at=i * 100 * MS).packets)
    found = connections(packets)
    assert [(r["path"], r["session_ids"]) for r in found] == [("nat", [2 * i, 2 * i + 1]) for i in range(4)]


def test_two_vms_with_equal_ports() -> None:
    second = "192.168.64.3"
    packets = mixed(
        snat(plain(i=1).packets),
        snat(plain((second, 40000), i=2, at=5 * US).packets, (second, 40000), (HOST_OUT, 40000)),
    )
    found = connections(packets)
    assert sorted((r["orig_ip"], r["nat_port"]) for r in found) == [(VM, 51000), (second, 40000)]
    assert {r["path"] for r in found} == {"nat"}


def test_loss_on_one_side() -> None:
    t = plain()
    whole = snat(t.packets)
    for lost in range(2, len(whole)):  # without its SYN a copy may be joined at another number
        (row,) = connections(whole[:lost] + whole[lost + 1 :])
        assert (row["path"], row["orig_ip"], row["orig_bytes"], row["resp_bytes"], row["state"]) == ("nat", VM, 500, 1400, "SF"), lost


def test_copies_joined_mid_stream() -> None:
    """The first packet may be an answer, which is seen outside first; the VM is the originator all the same."""
    t = plain(close=False)
    for _ in range(2):
        t.up("PA", 100)
        t.down("PA", 200)
    packets = snat(t.packets)
    for cut in range(6, 12, 2):
        (row,) = connections(packets[cut:])
        assert (row["path"], row["orig_ip"], row["nat_ip"]) == ("nat", VM, HOST_OUT)
        # also where packet types do not tell, as on Ethernet
        (row,) = connections([Packet(p.at, p.data, p.iface, INCOMING) for p in packets[cut:]])
        assert (row["path"], row["orig_ip"], row["nat_ip"]) == ("nat", VM, HOST_OUT)


def test_copies_captured_in_swapped_order() -> None:
    packets = snat(plain().packets)
    for i in range(0, len(packets), 2):
        packets[i], packets[i + 1] = packets[i + 1], packets[i]
    (row,) = connections(packets)
    assert (row["orig_ip"], row["nat_ip"]) == (VM, HOST_OUT)


@pytest.mark.parametrize("isn", [0, 1, 100, 65_000])
def test_numbers_that_are_not_random_join_nothing(isn: int) -> None:
    packets: list[Packet] = []
    for i in range(5):
        t = Talk((f"10.0.0.{i + 1}", 1000), API, isn, 3_000_000_000, at=i * MS).open()
        packets += t.packets
    assert [r["session_ids"] for r in connections(packets)] == [[i] for i in range(5)]


def test_a_scanner_with_one_number_for_all_joins_nothing() -> None:
    for flags, n in (("RA", 6), ("RA", 40), ("", 6), ("", 40)):
        packets = []
        for port in range(n):
            packets.append(Packet(port * MS, segment((VM, 40000), ("10.0.0.9", port + 1), "S", 3_000_000_000)))
            if flags:
                packets.append(Packet(port * MS + US, segment(("10.0.0.9", port + 1), (VM, 40000), flags, 0, 3_000_000_001)))
        assert all(len(r["session_ids"]) == 1 for r in connections(packets))


def test_equal_numbers_of_strangers_are_chance() -> None:
    a = Talk(("10.0.0.1", 1), ("10.0.0.2", 80), **numbers(1)).open()
    b = Talk(("10.0.0.3", 1), ("10.0.0.4", 80), **numbers(1)).open()
    assert len(connections(mixed(a.packets, b.packets))) == 2
    late = Talk(("10.0.0.1", 1), ("10.0.0.4", 80), **numbers(1), at=2 * S).open()
    assert len(connections([*a.packets, *late.packets])) == 2


def test_routed_copies_are_one_session_already() -> None:
    """The same 5-tuple on two interfaces: nothing is translated, nothing to join."""
    t = plain(("198.51.100.2", 40000))
    packets = mixed(t.packets, [Packet(p.at + 10 * US, p.data, 2, OUTGOING) for p in t.packets])
    (row,) = connections(packets)
    assert (row["path"], row["session_ids"], row["orig_bytes"], row["state"]) == ("direct", [0], 500, "SF")


# -- paths, vantage, origin --


def test_private_to_public_is_translated_beyond() -> None:
    (row,) = connections(plain().packets)
    assert (row["path"], row["vantage"], row["origin"]) == ("nat", None, None)
    (row,) = connections(plain(("198.51.100.2", 40000)).packets)
    assert row["path"] == "direct"
    (row,) = connections(plain(server=("10.0.0.1", 443)).packets)
    assert row["path"] == "direct"


def test_guest_address_that_sends_here_means_the_vm() -> None:
    packets = [Packet(p.at, p.data, 1, OUTGOING if i % 2 == 0 else INCOMING) for i, p in enumerate(plain().packets)]
    assert connections(packets)[0]["vantage"] == "vm"
    packets = [Packet(p.at, p.data, 1, OUTGOING if i % 2 == 0 else INCOMING) for i, p in enumerate(plain((HOST_OUT, 1)).packets)]
    assert connections(packets)[0]["vantage"] is None


def test_the_host_beside_its_vm() -> None:
    """Copies show the host; its own connections are direct, and without a tunnel surely its own."""
    own = plain((HOST_OUT, 33333), i=9, at=S).packets
    found = connections([*snat(plain().packets), *own])
    assert [(r["path"], r["origin"], r["vantage"]) for r in found] == [("nat", "vm", "host"), ("direct", "host", "host")]
    ssh = Talk((VM, 50000), (HOST_IN, 22), **numbers(5), at=2 * S).open()
    found = connections([*snat(plain().packets), *own, *ssh.packets])
    assert [r["origin"] for r in found][:2] == ["vm", None]


@pytest.mark.parametrize(
    ("ip", "private", "public"),
    [
        ("10.1.2.3", True, False),
        ("172.31.255.255", True, False),
        ("172.32.0.1", False, True),
        ("100.64.0.1", True, False),
        ("fd12::1", True, False),
        ("fe80::1", True, False),
        ("203.0.113.10", False, True),
        ("2001:db8::1", False, True),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("224.0.0.251", False, False),
        ("0.0.0.0", False, False),
    ],
)
def test_addresses(ip: str, private: bool, public: bool) -> None:
    assert (is_private(ip), is_public(ip)) == (private, public)


# -- tunnels --


def ssh_session(at: int = 0, client: End = (VM, 50000), server: End = (HOST_IN, 22), i: int = 50) -> Talk:
    t = Talk(client, server, **numbers(i), at=at).open()
    t.up("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
    t.down("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
    return t


def test_the_tunnel_is_no_connection() -> None:
    ssh = ssh_session()
    packets = [*ssh.packets, *halves(plain(at=S).packets)]
    ssh.packets.clear()
    ssh.at = 3 * S
    ssh.up("PA", 100)
    made, _, tunnels = tables([*packets, *ssh.packets])
    (row,) = made.records()
    assert (row["path"], row["tunnel_session_id"]) == ("sshuttle", 0)
    (tunnel,) = tunnels.records()
    assert (tunnel["session_id"], tunnel["side"], tunnel["carries"], tunnel["connections"]) == (0, "vm", "sshuttle", 1)
    assert "12300" in tunnel["evidence"]


def test_an_ssh_connection_that_carries_nothing_is_a_connection() -> None:
    made, _, tunnels = tables([*ssh_session().packets, *plain(at=S).packets])
    assert [r["resp_port"] for r in made.records()] == [22, 443]
    (tunnel,) = tunnels.records()
    assert (tunnel["carries"], tunnel["side"], tunnel["connections"]) == (None, None, 0)


def test_redirected_connections_go_through_the_tunnel_that_is_up() -> None:
    """Two tunnels one after the other, beside an idle one; a connection before all of them has none."""
    packets: list[list[Packet]] = []
    for n, (first, last) in enumerate([(1, 3), (5, 7)]):
        ssh = ssh_session(first * S, (VM, 50000 + n), i=50 + n)
        ssh.at = last * S
        ssh.up("PA", 5000)
        packets.append(ssh.packets)
    idle = ssh_session(S, (VM, 50009), i=59)
    idle.at = 9 * S
    idle.up("PA", 10)
    for n, at in enumerate([0, 2, 4, 6, 8]):
        packets.append(halves(plain((VM, 40000 + n), i=n, at=at * S).packets))
    made, _, tunnels = tables(mixed(*packets, idle.packets))
    ports = dict(zip(tunnels["session_id"].tolist(), [50000, 50009, 50001], strict=True))
    through = [r["tunnel_session_id"] for r in made.records()]
    assert [ports.get(t) for t in through] == [None, 50000, 50009, 50001, 50009]


def forwarded(ssh: Talk, i: int, at: int, server: End = API) -> list[Packet]:
    """The host's side of one tunnelled connection: each step follows SSH payload by 1 ms."""
    t = Talk((HOST_OUT, 42000 + i), server, **numbers(100 + i), iface=2)
    ssh.at = at
    ssh.up("PA", 100)
    t.at = at + MS
    t.up("S")
    t.down("SA")
    t.up("A")
    ssh.at = at + 10 * MS
    ssh.up("PA", 600)
    t.at = at + 11 * MS
    t.up("PA", 517)
    t.down("PA", 3000)
    return t.close().packets


def test_the_far_side() -> None:
    ssh = ssh_session()
    packets = [forwarded(ssh, i, (1 + i) * S) for i in range(3)]
    own = plain((HOST_OUT, 33333), OTHER, i=9, at=10 * S).packets
    made, _, tunnels = tables(mixed(ssh.packets, *packets, own))
    assert [(r["path"], r["origin"], r["tunnel_session_id"], r["vantage"]) for r in made.records()] == [
        *[("sshuttle", "vm", 0, "host")] * 3,
        ("direct", None, None, "host"),
    ]
    (tunnel,) = tunnels.records()
    assert (tunnel["side"], tunnel["carries"], tunnel["connections"]) == ("host", "sshuttle", 3)


def test_the_machine_that_opened_a_tunnel_has_nothing_come_out_of_it() -> None:
    """In step with the SSH payload, but from the machine of the ssh client: its own program, whose traffic the SSH payload only resembles."""
    ssh = ssh_session()
    packets = [Packet(p.at, rewritten([p], {(HOST_OUT, 42001): (VM, 42001)})[0].data, p.iface) for p in forwarded(ssh, 1, S)]
    made, _, tunnels = tables(mixed(ssh.packets, packets))
    assert [(r["path"], r["tunnel_session_id"], r["vantage"]) for r in made.records() if r["resp_port"] == 443] == [("nat", None, None)]
    assert tunnels["carries"].tolist() == [None]


# -- lookups --


def answer(client: End, name: str, ip: str, at: int, txid: int = 7) -> list[Packet]:
    server = ("192.168.64.1", 53)
    question = DNSQR(qname=name, qtype="A")
    q = DNS(id=txid, rd=1, qd=question)
    a = DNS(id=txid, qr=1, qd=question, an=DNSRR(rrname=name, type="A", ttl=60, rdata=ip))
    return [Packet(at, datagram(client, server, bytes(q))), Packet(at + MS, datagram(server, client, bytes(a)))]


def test_connections_are_linked_to_the_latest_lookup_before_them() -> None:
    hour = 3600 * S
    packets = [
        *answer((VM, 5000), "api.example.test", API[0], 0, 1),
        *plain((VM, 40000), i=1, at=S).packets,
        *answer((VM, 5001), "api.example.test", API[0], 2 * S, 2),
        *plain((VM, 40001), i=2, at=3 * S).packets,
        *plain((VM, 40002), i=3, at=4 * S).packets,
        *plain(("192.168.64.3", 40002), i=4, at=5 * S).packets,  # another machine asked nobody
        *plain((VM, 40003), OTHER, i=5, at=6 * S).packets,  # another address
        *plain((VM, 40004), i=6, at=2 * hour).packets,  # too long ago
    ]
    made, lookups, _ = tables(packets)
    assert lookups["connection_ids"].tolist() == [[0], [1, 2]]
    assert made.rows == 6


# -- as a whole --


def test_an_empty_capture() -> None:
    assert [t.rows for t in tables([])] == [0, 0, 0]


def test_rows_are_in_order_of_start_and_sessions_are_in_one_connection() -> None:
    packets = mixed(
        halves(plain(i=1, at=5).packets),
        plain((VM, 40001), OTHER, i=2, at=3).packets,
        plain((VM, 40002), OTHER, i=3, at=0).packets,
    )
    made = connections(packets)
    assert [r["connection_id"] for r in made] == [0, 1, 2]
    assert [r["start_ns"] for r in made] == sorted(r["start_ns"] for r in made)
    assert sorted(k for r in made for k in r["session_ids"]) == [0, 1, 2, 3]


def _many(n: int, kind: str) -> np.ndarray[Any, Any]:
    """Rows of n sessions: SYN and SYN+ACK, or halves, copies, tunnels beside redirected connections."""
    _, syn = rows([Packet(0, segment((VM, 1), API, "S", 0))])
    matrix = np.repeat(syn, 2 * n, axis=0)
    i = np.arange(n) // (1 if kind in ("plain", "one number") else 2)
    second = np.arange(n) % 2 == 1
    numbers = np.random.default_rng(1).integers(MIN, 2**32, (2, n))
    isn, back = numbers[0][i], numbers[1][i]
    if kind == "one number":
        isn, back = np.full(n, 3_000_000_000), np.full(n, 3_100_000_000)
    client, server = syn[0, c.SRC_LO] + i % 200, np.full(n, syn[0, c.DST_LO])
    sport, dport = 1024 + i // 200, np.full(n, 443)
    if kind == "copies":
        client = np.where(second, syn[0, c.SRC_LO] + 10_000, client)
        sport = np.where(second, 1024 + i % 60_000, sport)
        server = server + i // 60_000
    up, down = matrix[0::2], matrix[1::2]
    up[:, c.FRAME], down[:, c.FRAME] = 2 * np.arange(n) + 1, 2 * np.arange(n) + 2
    up[:, c.TS] += np.arange(n) * US
    down[:, c.TS] = up[:, c.TS] + 100
    up[:, c.SRC_LO], up[:, c.DST_LO], up[:, c.PORTS] = client, server, 4 << 32 | sport << 16 | dport
    down[:, c.SRC_LO], down[:, c.DST_LO], down[:, c.PORTS] = server, client, 4 << 32 | dport << 16 | sport
    if kind == "halves":
        _, near = rows([Packet(0, segment((VM, 1), NEAR, "S", 0))])
        up[:, c.DST_LO] = near[0, c.DST_LO]
        up[:, c.PORTS] = 4 << 32 | sport << 16 | 12300
        _, tunnel = rows([Packet(0, segment((VM, 1), (HOST_IN, 22), "S", 0))])
        up[second, c.DST_LO] = tunnel[0, c.DST_LO]  # as many SSH connections, of the same machines
        up[second, c.PORTS] = 4 << 32 | sport[second] << 16 | 22
        down[second, c.SRC_LO] = tunnel[0, c.DST_LO]
        down[second, c.PORTS] = 4 << 32 | 22 << 16 | sport[second]
    up[:, c.SEQ], down[:, c.SEQ], down[:, c.ACK] = isn, back, (isn + 1) % 2**32
    down[:, c.FLAGS] = c.SYN | c.ACK_FLAG
    return matrix


MIN = module.MIN_ISN


@pytest.mark.parametrize(("kind", "expected"), [("plain", 100_000), ("copies", 50_000), ("halves", 50_000), ("one number", 100_000)])
def test_a_hundred_thousand_sessions(kind: str, expected: int) -> None:
    """No step may be quadratic: also where all sessions have one number, or all are tunnels of one machine."""
    matrix = _many(100_000, kind)
    state, watch = SessionFold(), TunnelWatch()
    state.feed(matrix)
    watch.feed(np.zeros(0, np.uint8), matrix, state.state())
    began = time.perf_counter()
    made, _, tunnels = build(state.state(), state.rows(), LookupBuilder().rows(), watch.attributed(np.arange(state.n)))
    print(f"{kind}: {state.n} sessions to {made.rows} connections in {time.perf_counter() - began:.2f} s")
    applications = made["resp_port"] == 443
    assert applications.sum() == expected
    if kind == "halves":
        assert tunnels.rows == 50_000
        assert (made["path"][applications] == "sshuttle").all()
    elif kind == "copies":
        assert (made["path"] == "nat").all()
        assert all(len(x) == 2 for x in made["session_ids"])
