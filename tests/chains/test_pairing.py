"""Pairing against the truth of the recordings, and in odd situations made by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens import read
from netlens.chains import pairing, relays
from netlens.chains.compared import MAX_DELAY_NS
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.lab.check import Truth
from netlens.schema import Table
from tests.chains.build_pairs import API, HOST_IP, MS, T0, VM_IP, Conn, Exact, Made, S, capture, forwarded, watching
from tests.recordings import PROXIED

RECORDINGS = sorted(
    p.parent.name for p in (Path(__file__).parents[2] / "captures").glob("*/provider.jsonl") if p.parent.name not in PROXIED
)
_NAMES = ("sessions", "connections", "hellos", "lookups", "exchanges")


# --- recordings -----------------------------------------------------------------------------------------------------------------------


class Skewed:
    """The clock that the recording was made with."""

    uncertain_ns = 2_000

    def __init__(self, truth: Truth) -> None:
        self.skew = truth.skew

    def to_host(self, ns):
        ns = np.asarray(ns, np.int64)
        skewed = self.skew.offset_s * 1e9 + (ns - self.skew.at_ns) * (self.skew.drift_ppm * 1e-6)
        return ns - skewed.astype(np.int64)


@cache
def recorded(folder: Path):
    """Both captures as tables, and the truth: VM row -> host row, host row -> side, companions of the tunnel."""
    truth = Truth(folder)
    both = [Made({name: c.table(name) for name in _NAMES}) for c in (read(truth.manifest.side(side).path) for side in ("vm", "host"))]
    vm, host = (m.table("connections") for m in both)
    carried_by = {truth.sent[r["name"]]["connection"]: r["connection"] for r in truth.requests if r["name"] in truth.sent}
    # Lookups over TCP carry no request. The provider sees them in the order in which they were asked; without a tunnel, with their port.
    asked = [e for e in truth.of("vm", "connect") if e["to_port"] == 53]
    accepted = [e for e in truth.accepts.values() if e["to_port"] == 53]
    assert len(asked) == len(accepted)
    carried_by |= {a["connection"]: b["connection"] for a, b in zip(asked, accepted, strict=True)}

    def row_of(t: Table, port: int, ip: str, to_port: int, ns: int) -> int | None:
        ports = [p if p is not None else q for p, q in zip(t["nat_port"].tolist(), t["orig_port"].tolist(), strict=True)]
        same = [k for k in range(t.rows) if ports[k] == port and t["resp_ip"][k] == ip and t["resp_port"][k] == to_port]
        return min(same, key=lambda k: abs(int(t["start_ns"][k]) - ns), default=None)

    pairs, side_of, used = {}, {}, set()
    for number, e in truth.accepts.items():
        j = row_of(host, e["port"], e["to_ip"], e["to_port"], e["ns"])
        name = next((n for n, other in carried_by.items() if other == number), None)
        if j is None or name is None:
            continue
        used.add(j)
        side_of[j] = VM if name.startswith("vm-") else HOST
        if side_of[j] == VM:
            c = truth.opened[name]
            i = row_of(vm, c["port"], c["ip"], c["to_port"], truth.shown("vm", c["ns"]))
            if i is not None:
                pairs[i] = j
    companions = set(range(host.rows)) - used if truth.scenario == "fan-out" else set()
    return both[0], both[1], Skewed(truth), pairs, side_of | dict.fromkeys(companions, VM), companions


def without(made: Made, *names: str) -> Made:
    """The tables without hellos (and the names in them) or lookups."""
    out = dict(made.made)
    for name in names:
        out[name] = out[name].schema.empty()
    if "hellos" in names:
        c = out["connections"]
        out["connections"] = Table(c.schema, {**c.columns, "sni": np.full(c.rows, None, object)})
    return Made(out)


def hold(result: pairing.Pairing, pairs: dict[int, int]) -> tuple[int, list[tuple[int, int, int]]]:
    """How many are right, and what is wrong: (row, found, true)."""
    found = {i: int(result.host_of[i]) for i in pairs}
    return sum(found[i] == j for i, j in pairs.items()), [(i, found[i], j) for i, j in pairs.items() if found[i] not in (j, -1)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_are_paired_as_they_were_made(captures, name):
    vm, host, clock, pairs, side_of, companions = recorded(captures / name)
    result = pairing.pair(vm, host, clock)
    assert hold(result, pairs) == (len(pairs), [])
    for j, side in side_of.items():
        assert result.origin[j] in (side, UNKNOWN), (j, result.origin_why[j])
    assert set(np.flatnonzero(result.companion_of >= 0).tolist()) == companions
    assert len(result.lookup_pairs) == vm.table("lookups").rows
    for i, j in enumerate(result.host_of.tolist()):
        assert (result.method[i] == "") == (j < 0) == np.isnan(result.confidence[i])
        assert j < 0 or result.vm_of[j] == i
        assert result.method[i] == "assignment" or j < 0 or result.confidence[i] == 1.0


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("uncertain_ns", [2_000, 20 * MS, 1 << 62], ids=["known", "20 ms", "unknown"])
def test_without_hellos_nothing_is_paired_wrongly(captures, name, uncertain_ns):
    vm, host, clock, pairs, _, _ = recorded(captures / name)
    for names in (("hellos",), ("hellos", "lookups")):
        known = Exact(3 * S, uncertain_ns) if uncertain_ns > S else clock
        if uncertain_ns == 20 * MS:
            known = Skewed.__new__(Skewed)
            known.skew, known.uncertain_ns = clock.skew, uncertain_ns
        right, wrong = hold(pairing.pair(without(vm, *names), without(host, *names), known), pairs)
        assert not wrong
        if uncertain_ns == 2_000:
            assert right == len(pairs)


@pytest.mark.parametrize("name", ["clock-skew", "fan-out", "same-nat-ip-nat", "dns-over-tcp"])
def test_a_clock_that_is_wrong_is_found_out(captures, name):
    vm, host, _, pairs, _, _ = recorded(captures / name)
    for clock in (Exact(3 * S), Exact(-3 * S), Exact(3 * S, 1 << 62)):
        for keep in (vm, host), (without(vm, "hellos"), without(host, "hellos")):
            assert hold(pairing.pair(*keep, clock), pairs) == (len(pairs), [])


def test_where_rows_are_missing_no_other_takes_their_place(captures):
    rng = np.random.default_rng(5)
    for name in ("dns-over-tcp", "fan-out", "zombie-sshuttle", "older-tunnel"):
        vm, host, clock, pairs, _, _ = recorded(captures / name)
        for share in (0.2, 0.5):
            kept = [np.flatnonzero(rng.random(m.table("connections").rows) >= share) for m in (vm, host)]
            some = [without(m, "hellos", "lookups") for m in (vm, host)]
            for m, rows in zip(some, kept, strict=True):
                m.made["connections"] = m.made["connections"].take(rows)
            result = pairing.pair(*some, clock)
            for a, b in enumerate(result.host_of.tolist()):
                assert b < 0 or pairs[int(kept[0][a])] == kept[1][b]


# --- translation ----------------------------------------------------------------------------------------------------------------------


def test_translated_ones_have_the_same_numbers():
    vm = [Conn(0, S, port=1000 + k, isn=70_000 + k, answer=80_000 + k) for k in range(3)]
    host = [Conn(0, S, port=2000 + k, isn=70_000 + k, answer=80_000 + k) for k in (2, 0, 1)]
    result = pairing.pair(capture(vm, vm=True), capture(host), Exact(7 * S, 1 << 62))
    assert result.host_of.tolist() == [1, 2, 0]
    assert set(result.method) == {"isn"}
    assert result.origin.tolist() == [VM] * 3


def test_numbers_that_two_have_say_nothing():
    vm = [Conn(0, S, port=1, isn=70_000, answer=80_000)]
    host = [Conn(k, S, port=7 + k, isn=70_000, answer=80_000) for k in (0, 1)]
    result = pairing.pair(capture(vm, vm=True), capture(host), Exact())
    assert "isn" not in result.method


def test_an_unanswered_syn_is_known_by_its_own_number():
    vm = [Conn(0, S, 0, 0, port=1, isn=70_000, state="S0", closed="")]
    host = [Conn(0, S, 0, 0, port=9, isn=70_000, state="S0", closed=""), Conn(0, S, 0, 0, port=9, isn=70_001, state="S0", closed="")]
    assert pairing.pair(capture(vm, vm=True), capture(host), Exact()).host_of.tolist() == [0]


def test_older_ones_are_known_by_the_vms_address_while_they_overlap():
    older = {"port": 5555, "ip": VM_IP, "began": False}
    vm = [Conn(0, S, **older), Conn(20 * S, 30 * S, **older)]
    host = [Conn(20 * S, 30 * S, **older), Conn(0, S, **older), Conn(50 * S, 51 * S, **older)]
    result = pairing.pair(capture(vm, vm=True), capture(host), Exact())
    assert result.host_of.tolist() == [1, 0]
    assert set(result.method) == {"address"}
    assert result.origin.tolist() == [VM] * 3  # the last one too: it has the VM's address


def test_a_port_used_again_is_not_the_same_connection():
    vm = [Conn(0, S, port=5, ip=VM_IP, isn=70_000, answer=70_001)]
    host = [Conn(0, S, port=5, ip=VM_IP, isn=90_000, answer=90_001)]
    assert pairing.pair(capture(vm, vm=True), capture(host), Exact()).host_of.tolist() == [-1]


def test_loopback_is_never_shared():
    local = {"server": ("127.0.0.1", 8080), "ip": "127.0.0.1", "port": 5, "began": False}
    assert pairing.pair(capture([Conn(0, S, **local)], vm=True), capture([Conn(0, S, **local)]), Exact()).host_of.tolist() == [-1]


def test_what_the_host_opened_to_the_vm_is_the_hosts():
    own = Conn(0, S, ip="192.168.64.1", server=(VM_IP, 22), port=5, isn=70_000, answer=70_001)
    vm = [own, *(Conn(k, S, port=k, isn=80_000 + k, answer=90_000) for k in range(3))]
    result = pairing.pair(capture(vm, vm=True), capture([own]), Exact())
    assert result.method[0] == "isn"
    assert result.origin.tolist() == [HOST]


# --- hellos ---------------------------------------------------------------------------------------------------------------------------


def test_hellos_pair_whatever_the_clock():
    vm, host = forwarded([0, 0, 0])
    for k, (a, b) in enumerate(zip(vm, reversed(host), strict=True)):
        a.random = b.random = f"{k:064x}"
    result = pairing.pair(capture(vm, vm=True), capture(host), Exact(5 * S, 1 << 62))
    assert result.host_of.tolist() == [2, 1, 0]
    assert set(result.method) == {"hello"}


def test_a_random_seen_twice_falls_to_the_next_method():
    vm, host = forwarded([0, 5 * S], up=777, down=8_888)
    vm[0].random = host[0].random = "aa" * 32
    replayed = Conn(20 * S, 21 * S, random="aa" * 32, up=777, down=8_888, port=9)
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, replayed, watching()]), Exact())
    assert result.method.tolist() == ["assignment", "assignment", "isn"]
    assert result.host_of.tolist() == [0, 1, 3]


def test_another_hello_is_no_partner():
    vm, host = forwarded([0])
    vm[0].random, host[0].random = "aa" * 32, "bb" * 32
    result = pairing.pair(capture([vm[0], watching()], vm=True), capture([host[0], watching()]), Exact())
    assert result.host_of.tolist() == [-1, 1]


# --- assignment -----------------------------------------------------------------------------------------------------------------------


def test_different_totals_tell_a_burst_apart():
    vm, host = forwarded([k * 10_000 for k in range(8)], [9 * MS - k * MS for k in range(8)])
    for k, (a, b) in enumerate(zip(vm, host, strict=True)):
        a.up = b.up = 1000 + 37 * k
    result = pairing.pair(capture(vm, vm=True), capture(host[::-1]), Exact())
    # they would have changed places in the tunnel, which is a stream: so these totals are a trap
    assert result.host_of.tolist() == [-1] * 8
    vm, host = forwarded([k * 10_000 for k in range(8)], [2 * MS + k * 1000 for k in range(8)])
    for k, (a, b) in enumerate(zip(vm, host, strict=True)):
        a.up = b.up = 1000 + 37 * k
    result = pairing.pair(capture(vm, vm=True), capture(host[::-1]), Exact())
    assert result.host_of.tolist() == list(range(8))[::-1]
    assert np.all(result.confidence > 0.9)


def test_equal_ones_that_came_out_as_many_as_went_in_are_in_order():
    starts = [k * 300_000 for k in range(6)]
    vm, host = forwarded(starts, 5 * MS, server=(API, 53), up=28, down=44)
    quiet = [Conn(20 * S * k, 20 * S * k + S, port=k + 1, up=5, down=6) for k in range(1, 3)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, *quiet, watching()]), Exact())
    assert result.host_of.tolist() == [*range(6), 8]
    assert np.all(result.confidence[:6] <= 0.95)


def test_equal_ones_of_which_one_is_missing_are_not_guessed():
    starts = [k * 300_000 for k in range(6)]
    vm, host = forwarded(starts, 5 * MS, server=(API, 53), up=28, down=44)
    del host[2]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, watching()]), Exact())
    assert set(result.host_of[:6].tolist()) == {-1}


def test_lookups_over_tcp_are_told_by_their_ids():
    starts = [k * 300_000 for k in range(4)]
    vm, host = forwarded(starts, 20 * MS, server=(API, 53), up=28, down=44)
    del host[1]

    def asked(conns, ip, ids):
        return [
            {
                "txid": n,
                "qname": "api.z.ai",
                "qtype": "A",
                "transport": "tcp",
                "query_ns": T0 + c.start + MS,
                "orig_ip": ip,
                "orig_port": c.port,
            }
            for c, n in zip(conns, ids, strict=True)
        ]

    made = (
        capture([*vm, watching()], asked(vm, VM_IP, [5, 6, 7, 8]), vm=True),
        capture([*host, watching()], asked(host, HOST_IP, [5, 7, 8])),
    )
    result = pairing.pair(*made, Exact())
    assert result.host_of.tolist() == [0, -1, 1, 2, 3]
    assert result.lookup_pairs.tolist() == [[0, 0], [2, 1], [3, 2]]


def test_an_effect_is_not_before_its_cause():
    vm, host = forwarded([S])
    host[0].start -= 20 * MS
    assert pairing.pair(capture([*vm, watching()], vm=True), capture([*host, watching()]), Exact()).host_of.tolist() == [-1, 1]


def test_no_more_comes_out_than_went_in_unless_the_capture_lost_it():
    for lost, found in ((0, -1), (500, 0)):
        vm, host = forwarded([0], up=600)
        host[0].up, vm[0].lost_up = 1100, lost
        assert pairing.pair(capture([*vm, watching()], vm=True), capture([*host, watching()]), Exact()).host_of.tolist() == [found, 1]


def test_an_aborted_one_received_more_upstream():
    vm, host = forwarded([0, 10 * S])
    vm[0].closed, vm[0].end, host[0].down, host[0].end = "rst", 500 * MS, 9_000, 8 * S
    host[0].done = 501 * MS
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, watching()]), Exact())
    assert result.host_of.tolist() == [0, 1, 2]


def test_the_edge_of_a_capture_cuts_totals():
    """Both were open when the captures began, the host's a little later; the close shows that they belong together."""
    vm = [Conn(0, 9 * S, 5_000, 50_000, redirected=True, began=False), Conn(0, 30 * S, 7_000, 70_000, redirected=True, began=False)]
    host = [Conn(S, 30 * S + MS, 6_000, 60_000, began=False), Conn(S, 9 * S + MS, 4_000, 40_000, began=False)]
    result = pairing.pair(capture([*vm, watching(since=0)], vm=True), capture([*host, watching(since=S)]), Exact())
    assert result.host_of.tolist() == [1, 0, 2]


def test_without_a_clock_rare_totals_agree_on_one():
    starts = [0, 3 * S, 4 * S, 11 * S, 25 * S]
    vm, host = forwarded([s + 100 * S for s in starts])
    for k, (a, b) in enumerate(zip(vm, host, strict=True)):
        a.down = b.down = 5_000 + 111 * k
        b.start, b.end = b.start - 100 * S, b.end - 100 * S
    same = forwarded([5 * S + 100 * S, 6 * S + 100 * S], up=100, down=100)
    for b in same[1]:
        b.start, b.end = b.start - 100 * S, b.end - 100 * S
    result = pairing.pair(capture(vm + same[0], vm=True), capture(host + same[1]), Exact(0, 1 << 62))
    assert result.host_of.tolist() == list(range(7))


def test_without_a_clock_and_without_rare_totals_nothing_is_paired():
    starts = [2 * S * k for k in range(20)]
    vm, host = forwarded(starts, up=28, down=44)
    assert set(pairing.pair(capture(vm, vm=True), capture(host[3:]), Exact(0, 1 << 62)).host_of.tolist()) == {-1}


def test_a_connection_of_the_hosts_own_is_no_partner_even_if_it_fits():
    vm, host = forwarded([0])
    made = capture([*vm, watching()], vm=True), capture([*host, watching()])
    assert pairing.pair(*made, Exact()).host_of.tolist() == [0, 1]
    owned = [sample(host[0], "curl", 77)]
    result = pairing.pair(*made, Exact(), owned)
    assert result.host_of.tolist() == [-1, 1]
    assert result.origin[0] == HOST


def test_many_connections():
    rng = np.random.default_rng(11)
    n = 5_000
    starts = np.sort(rng.integers(0, 600 * S, n)).tolist()
    delays = (400_000 + rng.exponential(MS, n)).astype(int).tolist()
    at = np.maximum.accumulate(np.array(starts) + np.array(delays))  # in order
    vm, host = forwarded(starts, (at - np.array(starts)).tolist(), 5 * S)
    for a, b in zip(vm, host, strict=True):
        a.down = b.down = int(rng.integers(2_000, 60_000))
    result = pairing.pair(capture(vm, vm=True), capture(host), Exact())
    right = result.host_of == np.arange(n)
    assert right.mean() > 0.99
    assert not ((result.host_of >= 0) & ~right).any()


@settings(max_examples=60)
@given(st.data())
def test_any_two_captures_can_be_paired(data):
    """Few values, so that ties, copies and contradictions abound; whatever comes, each row has one partner at most."""
    few = st.sampled_from([0, 1, MS, 2 * MS, S, 3 * S])
    conn = st.builds(
        Conn,
        start=few,
        end=few.map(lambda x: x + 4 * S),
        up=st.sampled_from([0, 24, 600]),
        down=st.sampled_from([0, 7, 4000]),
        port=st.integers(1, 3),
        ip=st.sampled_from(["", VM_IP, "fe80::1%eth0"]),
        random=st.sampled_from([None, "aa" * 32, "bb" * 32]),
        isn=st.sampled_from([None, 70_000, 70_001]),
        answer=st.sampled_from([None, 80_000, 0xFFFFFFFF]),
        redirected=st.booleans(),
        path=st.sampled_from(["direct", "nat"]),
        began=st.booleans(),
        closed=st.sampled_from(["fin", "rst", ""]),
        state=st.sampled_from(["SF", "S0", "REJ"]),
        lost_up=st.sampled_from([0, 100]),
    )
    sides = [data.draw(st.lists(conn, max_size=7)) for _ in range(2)]
    clock = Exact(data.draw(st.sampled_from([0, S])), data.draw(st.sampled_from([0, MS, S, 1 << 62])))
    result = pairing.pair(capture(sides[0], vm=True), capture(sides[1]), clock)
    for i, j in enumerate(result.host_of.tolist()):
        assert j < 0 or result.vm_of[j] == i
    for j, i in enumerate(result.vm_of.tolist()):
        assert i < 0 or (result.host_of[i] == j and result.companion_of[j] < 0)
    assert np.all((result.confidence > 0) | np.isnan(result.confidence))


def test_empty_captures():
    empty = capture([])
    full = capture(forwarded([0])[0], vm=True)
    for vm, host in ((empty, empty), (full, empty), (empty, full)):
        result = pairing.pair(vm, host, Exact())
        assert len(result.host_of) == vm.table("connections").rows
        assert len(result.origin) == host.table("connections").rows
        assert result.lookup_pairs.shape == (0, 2)


# --- lookups --------------------------------------------------------------------------------------------------------------------------


def lookup(txid: int, ns: int, qname: str = "api.z.ai", **more) -> dict:
    return {"txid": txid, "qname": qname, "qtype": "A", "transport": "udp", "query_ns": T0 + ns, "answer_ns": T0 + ns + MS, **more}


def test_lookups_are_paired_by_id_and_name_near_each_other_in_time():
    vm = [lookup(1, 0), lookup(1, 30 * S), lookup(2, S, "other.example"), lookup(3, 2 * S)]
    host = [lookup(1, 30 * S + MS), lookup(2, S, "wrong.example"), lookup(1, MS, "API.z.ai"), lookup(3, 9 * S)]
    result = pairing.pair(capture([], vm, vm=True), capture([], host), Exact())
    assert result.lookup_pairs.tolist() == [[0, 2], [1, 0]]


def test_an_answer_pairs_where_the_query_was_not_captured():
    vm, host = [lookup(1, 0, query_ns=None, answer_ns=T0 + 5 * MS)], [lookup(1, 0, query_ns=None, answer_ns=T0 + 4 * MS)]
    assert pairing.pair(capture([], vm, vm=True), capture([], host), Exact()).lookup_pairs.tolist() == [[0, 0]]


def test_ids_used_again_are_not_paired_without_a_clock():
    vm, host = [lookup(1, 0), lookup(1, 30 * S)], [lookup(1, 40 * S), lookup(1, 70 * S)]
    assert not len(pairing.pair(capture([], vm, vm=True), capture([], host), Exact(0, 1 << 62)).lookup_pairs)


# --- companions -----------------------------------------------------------------------------------------------------------------------


def idle(start: int, port: int, **more) -> Conn:
    return Conn(start, start + S, 0, 7, port=port, closed="rst", **more)


def spread(count: int = 6) -> tuple[list[Conn], list[Conn]]:
    vm, host = forwarded([5 * S + 8 * S * k for k in range(count)])
    for k, (a, b) in enumerate(zip(vm, host, strict=True)):
        a.random = b.random = f"{k:064x}"
    return vm, host


def test_idle_sessions_that_open_with_forwarded_ones_accompany_them():
    vm, host = spread()
    beside = [idle(c.start - 200_000, 100 + k) for k, c in enumerate(host[:4])] + [idle(host[4].start + 2 * MS, 110)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, *beside, watching()]), Exact())
    assert result.companion_of.tolist() == [-1] * 6 + [0, 1, 2, 3, 4, -1]
    assert result.origin[6:11].tolist() == [VM] * 5


def test_idle_sessions_at_other_times_are_nobodys_companions():
    vm, host = spread()
    rng = np.random.default_rng(2)
    own = [idle(int(t), 100 + k) for k, t in enumerate(rng.integers(0, 55 * S, 40))]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, *own, watching()]), Exact())
    assert (result.companion_of >= 0).sum() == 0
    assert set(result.origin[6:46].tolist()) == {UNKNOWN}


@pytest.mark.parametrize(
    "other",
    [
        {"server": ("203.0.113.99", 443)},
        {"ip": "203.0.113.2"},
        {"random": "ee" * 32},
        {"began": False},
        {"state": "REJ"},
    ],
    ids=["another server", "another address", "it has a hello", "older than the capture", "refused"],
)
def test_what_is_no_companion(other):
    vm, host = spread()
    beside = [idle(c.start + MS, 100 + k, **other) for k, c in enumerate(host)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, *beside, watching()]), Exact())
    assert (result.companion_of >= 0).sum() == 0


def test_a_session_that_another_process_owns_is_no_companion():
    vm, host = spread()
    beside = [idle(c.start + MS, 100 + k) for k, c in enumerate(host)]
    owned = [sample(beside[0], "firefox", 9)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([*host, *beside, watching()]), Exact(), owned)
    assert result.companion_of[6:12].tolist() == [-1, 1, 2, 3, 4, 5]
    assert (result.origin[6], result.origin_why[6]) == (HOST, "socket of firefox")


# --- origins --------------------------------------------------------------------------------------------------------------------------


def sample(c: Conn, process: str, pid: int, side: str = "host", ns: int | None = None) -> dict:
    return {
        "side": side,
        "time_ns": T0 + (c.start + MS if ns is None else ns),
        "local": f"{HOST_IP}:{c.port}",
        "remote": f"{c.server[0]}:{c.server[1]}",
        "state": "ESTABLISHED",
        "process": process,
        "pid": pid,
    }


def own_hello(start: int = 20 * S, **more) -> Conn:
    return Conn(start, start + 3 * S, port=777, random="cc" * 32, up=1234, **more)


def origin_of(vm: list[Conn], host: list[Conn], clock=None, sockets=()) -> tuple[int, str]:
    """Of the first connection of the host."""
    result = pairing.pair(capture(vm, vm=True), capture(host), clock or Exact(), sockets)
    return int(result.origin[0]), str(result.origin_why[0])


def test_a_hello_that_the_vm_did_not_send_is_the_hosts_own():
    vm, host = spread()
    assert origin_of([*vm, watching()], [own_hello(), *host, watching()])[0] == HOST


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda vm: vm[0].__setattr__("lost_up", 100), "some are missing"),
        (
            lambda vm: [vm[0].__setattr__(*each) for each in (("random", None), ("up", 99), ("start", own_hello().start))],
            "some are missing",
        ),
        (lambda vm: vm[-1].__setattr__("end", 10 * S), "may not cover"),
        (lambda vm: vm[-1].__setattr__("start", 40 * S), "may not cover"),
    ],
    ids=["bytes were lost", "a hello is missing", "it ended before", "it began after"],
)
def test_a_hello_that_the_vms_capture_may_have_missed_is_unknown(change, why):
    vm, host = spread(1)
    vm.append(watching())
    change(vm)
    origin, text = origin_of(vm, [own_hello(), *host, watching()])
    assert origin == UNKNOWN
    assert why in text


@pytest.mark.parametrize(
    ("frames", "lost", "more", "whose"),
    [
        (4, 20, {}, HOST),
        (3, 20, {}, UNKNOWN),
        (14, 100, {}, UNKNOWN),
        (15, 100, {}, HOST),
        (40, 20, {"began": False, "random": None, "up": 99, "start": 20 * S, "end": 21 * S}, UNKNOWN),
        (40, 20, {"start": 40 * S, "end": 41 * S}, UNKNOWN),
    ],
    ids=[
        "few packets are missing",
        "it is short",
        "many are",
        "it is long",
        "one of the VM has no beginning",
        "nothing was recorded meanwhile",
    ],
)
def test_where_packets_are_missing_a_whole_connection_is_not(frames: int, lost: int, more: dict, whose: int):
    """Of the other connection of the VM, a fifth of the bytes or a twenty-fifth is missing."""
    vm, host = spread(1)
    vm.append(Conn(20 * S + 500 * MS, 22 * S, port=901, up=500, lost_up=lost, server=("198.51.100.7", 22), isn=3, answer=4))
    for name, value in more.items():
        setattr(vm[0] if more.get("began") is False else vm[1], name, value)
    assert origin_of([*vm, watching()], [own_hello(frames=frames), *host, watching()])[0] == whose


def test_a_hello_that_is_missing_at_another_time_is_no_doubt():
    vm, host = spread(1)
    vm[0].random, vm[0].up = None, 99
    assert abs(vm[0].start - own_hello().start) > MAX_DELAY_NS
    assert origin_of([*vm, watching()], [own_hello(), *host, watching()]) == (HOST, "its ClientHello is not among the VM's")


def test_an_address_that_the_host_has_as_well_tells_nothing():
    """pasta gives its guest the host's own, and opens connections of its own for the guest's."""
    theirs = {"ip": HOST_IP, "server": (API, 443)}
    vm = [Conn(k * S, k * S + 3 * S, random=f"{k:02x}" * 32, port=4000 + k, isn=10**6 + k, **theirs) for k in range(1, 6)]
    host = [Conn(c.start, c.end, random=c.random, port=5000 + k, isn=10**7 + k, **theirs) for k, c in enumerate(vm)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([own_hello(ip=HOST_IP), *host, watching()]), Exact(), ())
    assert result.shared == {HOST_IP}
    assert result.origin[:6].tolist() == [HOST, VM, VM, VM, VM, VM]
    # of one that only was passed on, it is the VM's own
    bridged = [replace(c, port=v.port, isn=v.isn) for c, v in zip(host, vm, strict=True)]
    result = pairing.pair(capture([*vm, watching()], vm=True), capture([own_hello(ip=HOST_IP), *bridged, watching()]), Exact(), ())
    assert not result.shared
    assert result.origin_why[0] == "from the VM's address"


def test_without_a_clock_no_hello_is_the_hosts_own():
    assert origin_of([Conn(0, S, redirected=True), watching()], [own_hello()], Exact(0, 1 << 62))[0] == UNKNOWN


def test_what_is_not_paired_is_unknown_and_not_the_hosts_own():
    vm, host = spread()
    assert origin_of([*vm, watching()], [Conn(20 * S, 21 * S, up=1, down=2, port=3), *host, watching()]) == (UNKNOWN, "not paired")


def test_sockets_tell_whose_it_is():
    vm, host = spread()
    unknown = Conn(20 * S, 24 * S, up=1, down=2, port=3)
    both = [*vm, watching()], [unknown, *host, watching()]
    tunnel = [sample(c, "python3", 500) for c in host]
    for sockets, expected in (
        ([sample(unknown, "curl", 7)], HOST),
        ([sample(unknown, "curl", 7, side="vm")], UNKNOWN),
        ([sample(unknown, "curl", 7, ns=50 * S)], UNKNOWN),
        ([sample(unknown, "python3", 7)], UNKNOWN),  # it may be the tunnel's
        ([*tunnel, sample(unknown, "python3", 7)], HOST),
        ([*tunnel, sample(unknown, "python3", 500)], VM),
        ([*tunnel, sample(unknown, "sshd", 7)], UNKNOWN),
        ([sample(unknown, "curl", 7), sample(unknown, "sshd", 8)], UNKNOWN),
        ([sample(unknown, "curl", 7) | {"local": f"[::ffff:{HOST_IP}]:3", "remote": f"[::ffff:{API}]:443"}], HOST),
        ([sample(unknown, "", 7), {}], UNKNOWN),
    ):
        assert origin_of(*both, sockets=sockets)[0] == expected, sockets


def test_ways_of_pairing_count_over_all_recordings(captures):
    """What the recordings are for: each method is used, and by hellos no tunnelled pair changes places."""
    used: dict[str, int] = defaultdict(int)
    for name in RECORDINGS:
        vm, host, clock, *_ = recorded(captures / name)
        result = pairing.pair(vm, host, clock)
        for method in result.method:
            used[method] += 1
        rows = np.flatnonzero(result.method == "hello")
        rows = rows[np.argsort(vm.table("connections")["start_ns"][rows])]
        assert np.all(np.diff(host.table("connections")["start_ns"][result.host_of[rows]]) >= 0)
    assert used["isn"] > 100
    assert used["hello"] > 100
    assert used["assignment"] > 30


# --- relays -----------------------------------------------------------------------------------------------------------------------


def test_what_a_relay_opened_is_whose_it_was_opened_for():
    """The host holds the VM's connection to the relay and, with the same hello, the relay's own; and one of the host's beside them."""
    relay = ("192.168.64.1", 8888)
    asked = Conn(10 * S, 14 * S, up=500, down=900, port=1, isn=7 << 20, answer=9 << 20, server=relay, random="aa" * 32)
    carried_on = Conn(10 * S + 2 * MS, 14 * S, up=480, down=880, port=2, random="aa" * 32)
    result = pairing.pair(capture([asked, watching()], vm=True), capture([asked, carried_on, own_hello(), watching()]), Exact())
    down, up, own = 0, 1, 2
    assert result.method[0] == "isn"
    assert result.vm_of[down] == 0
    through = relays.through(result, {up: (down,)})
    assert (through.vm_of[up], through.vm_of[down], through.host_of[0]) == (0, -1, up)
    assert through.origin[up] == result.origin[down]
    assert "opened by a relay" in through.origin_why[up]
    assert (through.origin[own], through.vm_of[own]) == (result.origin[own], -1)
    assert result.vm_of[down] == 0, "the pairing that was given is left as it is"
    assert relays.through(result, {}) is result
