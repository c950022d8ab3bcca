"""Requests of the VM and of the host are paired over a relay that ends TLS by what encloses what, and not where that is in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.chains import linking, nesting
from netlens.chains.linking import link
from netlens.chains.paths import chains
from netlens.chains.situation import HOST, REJECTED, UNKNOWN, VM, joined
from netlens.lenses.refused import odds
from netlens.schema import Table
from netlens.tables import EXCHANGES
from tests.chains.build_chain import ACK, EGRESS, FIN, PSH, SERVER, Machine, Talk, hellos, request
from tests.chains.build_chain import T0 as T0_S
from tests.parsers.test_pipeline import SYN

MS = 1_000_000
T0 = 1_700_000_000_000 * MS


@dataclass
class Asked:
    """One exchange, times in ms: when it was sent, when the answer began and was over (None: not known), bytes; ``begun``: before it was sent."""

    sent: float
    first: float | None
    over: float | None
    up: int
    connection: int = 0
    begun: float = 0.1
    down: int = 1000


@dataclass
class Pair:
    """Both captures of some traffic, on the host's clock; ``truth``: number of the host's exchange -> that of the VM's."""

    vm: list[Asked] = field(default_factory=list)
    host: list[Asked] = field(default_factory=list)
    truth: dict[int, int] = field(default_factory=dict)


def side(rows: list[Asked], offset_ms: float = 0.0, ppm: float = 0.0, kinds: dict[int, int] | None = None) -> Any:
    """What is looked at of a capture, by a clock that is so far ahead."""
    n = len(rows)

    def stamp(t: float) -> int:
        return T0 + round((t + offset_ms + t * ppm * 1e-6) * MS)

    def column(times: list[float | None]) -> Any:
        return np.array([None if t is None else stamp(t) for t in times], object)

    columns: dict[str, Any] = {c.name: np.zeros(n, np.int64) if c.dtype == "int64" else np.full(n, None, object) for c in EXCHANGES} | {
        "start_ns": np.array([stamp(r.sent - r.begun) for r in rows], np.int64),
        "request_end_ns": np.array([stamp(r.sent) for r in rows], np.int64),
        "response_ns": column([r.first for r in rows]),
        "end_ns": column([r.over if r.over is not None else r.first for r in rows]),
        "up_bytes": np.array([r.up for r in rows], np.int64),
        "down_bytes": np.array([r.down for r in rows], np.int64),
        "complete": np.array([r.over is not None for r in rows], bool),
        "start_frame": np.argsort(np.argsort([r.sent for r in rows])) * 3 + 1,
        "end_frame": (np.argsort(np.argsort([r.over or r.sent for r in rows])) * 3 + 2).astype(object),
    }
    last = [stamp(max(t for t in (r.sent, r.first, r.over) if t is not None)) for r in rows]
    owner = np.array([r.connection for r in rows], np.int64)
    connections = SimpleNamespace(rows=int(owner.max()) + 1, tuples=lambda *_: [("192.168.64.1", 443)] * (int(owner.max()) + 1))
    return SimpleNamespace(
        exchanges=Table(EXCHANGES, columns),
        owner=owner,
        connections=connections,
        bounds_ns=(stamp(-1000), max(last) + 1_000 * MS),
        answered_ns=(np.array(last, np.int64), np.ones(n, bool)),
        ja4=kinds or {},
    )


def relayed(seed: int, requests: int = 80, others: int = 40, *, every_ms: float = 400, way_ms: float = 0.7, back_ms: float = 0.2) -> Pair:
    """Clients of a relay on two connections of its own, and programs of the host beside them."""
    rng = np.random.default_rng(seed)
    out, t = Pair(), 0.0
    for k in range(requests):
        t += rng.exponential(every_ms)
        way, back = 0.2 + rng.exponential(way_ms), 0.05 + rng.exponential(back_ms)
        first, up = rng.uniform(10, 800), int(rng.integers(400, 4000))
        over = first + rng.choice([0.0, rng.uniform(20, 2000)])
        out.vm.append(Asked(t, t + way + first + back, t + way + over + back + 0.01, up))
        out.host.append(Asked(t + way, t + way + first, t + way + over, up + 61 + int(rng.integers(0, 3)), k % 2))
        out.truth[k] = k
    for _ in range(others):
        at, first = rng.uniform(0, t), rng.uniform(10, 800)
        out.host.append(Asked(at, at + first, at + first + rng.uniform(0, 2000), int(rng.integers(400, 4000)), 2))
    return out


def found(pair: Pair, offset_ms: float = 0.0, ppm: float = 0.0, kinds: dict[int, int] | None = None) -> nesting.Nested | None:
    return nesting.nested(side(pair.vm, offset_ms, ppm), side(pair.host, kinds=kinds or {0: 0, 1: 0, 2: 1}))


@pytest.mark.parametrize("shared", [False, True])
def test_what_the_relay_asks_while_the_vms_capture_does_not_run_is_not_of_others(shared: bool) -> None:
    """Where the relay's connections are the VM's alone, it is the VM's; where others use them, nobody knows. What other connections carry is of others."""
    pair = relayed(3)
    if shared:
        pair.host += [Asked(each.sent + 7, each.sent + 907, each.sent + 907, 5000, 0) for each in pair.host[:40:8]]
    pair.vm, ends = pair.vm[:50], max(each.over or 0 for each in pair.vm[:50]) + 1_100
    pair.host = [each for k, each in enumerate(pair.host) if not 50 <= k < 80 or each.sent > ends]
    late = {k for k, each in enumerate(pair.host) if each.sent > ends}
    nested = found(pair, 3_000)
    assert nested is not None
    ours = {k for k in late if pair.host[k].connection < 2}
    assert len(ours) > 5
    assert {int(nested.side[k]) for k in ours} == {UNKNOWN if shared else VM}
    assert {int(nested.side[k]) for k in late - ours} == {HOST}


@pytest.mark.parametrize(("seed", "offset_ms", "ppm"), [(0, 0, 0), (1, 3_000, 0), (2, -7_250, 40), (3, 60_000, -80), (4, 900_000, 10)])
def test_requests_pair_and_tell_the_clock(seed: int, offset_ms: float, ppm: float) -> None:
    pair = relayed(seed)
    told = found(pair, offset_ms, ppm)
    assert told is not None
    assert {int(j): int(i) for j, i in enumerate(told.vm_of.tolist()) if i >= 0} == pair.truth
    assert not len(told.itself)
    assert (told.side[80:] == HOST).sum() >= 38  # one that begins with one of the VM's may be the relay's
    clock = told.clock
    assert clock.low_s is not None
    assert clock.high_s is not None
    assert clock.low_s <= offset_ms / 1e3 + pair.vm[0].sent * ppm * 1e-9 <= clock.high_s
    assert clock.high_s - clock.low_s < 0.002
    assert "enclose" in clock.note


def test_whose_connections_are_follows_from_their_requests() -> None:
    pair = relayed(5, others=20)
    pair.host[-1].connection = 1
    told = found(pair)
    assert told is not None
    whose = told.whose(side(pair.host))
    assert whose[0].tolist() == [VM, UNKNOWN, HOST]
    assert whose[1][1] == ""
    assert told.carriers == {0, 1}


def test_many_at_once_pair_by_size_and_time() -> None:
    """Ten in progress on average, and as many of the host's."""
    pair = relayed(6, 300, 300, every_ms=100)
    told = found(pair, 1_234)
    assert told is not None
    right = sum(told.vm_of[j] == i for j, i in pair.truth.items())
    assert right >= 0.98 * len(pair.truth)
    assert (told.vm_of[300:] >= 0).sum() <= 3


@pytest.mark.parametrize("seed", range(20))
def test_what_has_nothing_to_do_with_each_other_does_not_pair(seed: int) -> None:
    pair, other = relayed(seed), relayed(100 + seed, others=0)
    pair.host = [*other.host, *pair.host[80:]]
    assert found(pair) is None


def test_a_mirror_tells_nothing() -> None:
    """Each request goes out twice, as some relays send a copy to another version of a service: which of both counts for the VM is not known."""
    pair = relayed(7, others=0)
    rng = np.random.default_rng(1007)
    for k in range(80):
        asked = pair.host[k]
        over = asked.sent + rng.uniform(10, 2000)
        pair.host.append(Asked(asked.sent + 0.1, over, over, asked.up + 7, 2))
    assert found(pair, 500) is None
    assert found(pair, 500, kinds={0: 0, 1: 0, 2: 0}) is None


def test_a_relay_that_asks_again_tells_nothing() -> None:
    """What was refused at once it asks again a while later, and the VM sees the second answer."""
    pair = relayed(8, others=0)
    for k in range(0, 80, 2):
        asked = pair.host[k]
        pair.host[k] = Asked(asked.sent - 0.01, asked.sent + 5, asked.sent + 5, asked.up)
        later, vm = 250 + asked.sent, pair.vm[k]
        pair.host.append(Asked(later, later + 100, later + 300, asked.up, 0))
        pair.vm[k] = Asked(vm.sent, later + 100.2, later + 300.2, vm.up)
    assert found(pair) is None


@pytest.mark.parametrize(("behind", "delay"), [(True, 2.0), (True, 1_200.0), (False, 700.0)])
def test_a_relay_that_asks_something_besides_each_time_tells_nothing(behind: bool, delay: float) -> None:
    """A summary behind each answer, or the same to another model if an answer takes long: nobody sent these, and they are no others'."""
    pair = relayed(18, every_ms=1_500)
    rng = np.random.default_rng(1018)
    for k in range(80):
        at = (pair.vm[k].over if behind else pair.vm[k].sent) or 0.0
        at += delay + rng.exponential(1)
        pair.host.append(Asked(at, at + 100, at + rng.uniform(110, 900), int(rng.integers(400, 4000)), 3))
    assert found(pair, 300) is None


def with_two_retries() -> Pair:
    """Two of the VM's requests are refused at once upstream, and asked again 250 ms later by the relay."""
    pair = relayed(9)
    for k in (10, 40):
        asked, vm = pair.host[k], pair.vm[k]
        pair.host[k] = Asked(asked.sent, asked.sent + 5, asked.sent + 5, asked.up)
        later = 250 + asked.sent
        pair.host.append(Asked(later, later + 100, later + 300, asked.up, 0))
        pair.vm[k] = Asked(vm.sent, later + 100.2, later + 300.2, vm.up)
    return pair


def test_what_is_in_doubt_is_of_those_whose_connection_it_is_on() -> None:
    """No connection carries requests of the VM and of others."""
    told = found(with_two_retries())
    assert told is not None
    assert told.vm_of[10] == told.vm_of[40] == -1
    assert told.side.tolist() == [VM] * 80 + [HOST] * 40 + [VM] * 2


def test_it_stays_in_doubt_where_others_use_the_relay() -> None:
    pair = with_two_retries()
    for asked in pair.host[80:100]:
        asked.connection = 0
    told = found(pair)
    assert told is not None
    assert told.side[10] == told.side[40] == UNKNOWN
    assert (told.side[80:120] == VM).sum() == 0


def test_answers_of_the_relay_itself_have_no_partner() -> None:
    pair = relayed(10)
    rng = np.random.default_rng(1010)
    for at in rng.uniform(0, pair.vm[-1].sent, 30).tolist():
        pair.vm.append(Asked(at, at + 1, at + 1, int(rng.integers(400, 4000))))
    told = found(pair, -4_000)
    assert told is not None
    assert {int(j): int(i) for j, i in enumerate(told.vm_of.tolist()) if i >= 0} == pair.truth
    assert 25 <= len(told.itself) <= 30
    assert set(told.itself.tolist()) <= set(range(80, 110))
    assert told.by_relays(side(pair.vm)) == {("192.168.64.1", 443): len(told.itself)}


@pytest.mark.parametrize(("counted", "hidden"), [({}, True), ({3: False}, True), ({3: True}, False)])
def test_requests_that_share_a_connection_may_be_any_that_a_relay_seems_not_to_have_asked(counted: dict[int, bool], hidden: bool) -> None:
    upstream = SimpleNamespace(offering={3: None}, counted={row: SimpleNamespace(exact=exact) for row, exact in counted.items()})
    assert linking._is_hidden(upstream) == hidden  # type: ignore[arg-type]
    assert not linking._is_hidden(SimpleNamespace(offering={}, counted={}))  # type: ignore[arg-type]


def test_a_relay_that_has_requests_wait_is_followed() -> None:
    pair = relayed(11, way_ms=1_500)
    told = found(pair, 2_000)
    assert told is not None
    assert sum(told.vm_of[j] == i for j, i in pair.truth.items()) >= 78
    assert (told.side[80:] == VM).sum() == 0


def test_a_relay_that_passes_answers_on_whole_is_followed() -> None:
    """Its answers begin when they are over upstream."""
    pair = relayed(12)
    for asked in pair.vm:
        asked.first = asked.over
    told = found(pair, 2_000)
    assert told is not None
    assert {int(j): int(i) for j, i in enumerate(told.vm_of.tolist()) if i >= 0} == pair.truth


def test_answers_that_all_take_as_long_tell_nothing() -> None:
    """A program that asks once a second, and each answer takes 500 ms: a second later all looks the same."""
    pair = Pair()
    for k in range(60):
        t = 1_000.0 * k
        pair.vm.append(Asked(t, t + 500.3, t + 500.3, 900))
        pair.host.append(Asked(t + 0.4, t + 500.1, t + 500.1, 961))
    assert found(pair) is None


def test_requests_that_were_left_pair_by_how_their_answers_began() -> None:
    """The VM breaks off each third; the relay reads on."""
    pair = relayed(13)
    for asked in pair.vm[::3]:
        asked.over = None
    told = found(pair, 700)
    assert told is not None
    assert sum(told.vm_of[j] == i for j, i in pair.truth.items()) >= 78


def test_a_request_whose_last_bytes_are_late_still_nests() -> None:
    """An empty frame of HTTP/2 ends it when the relay has asked already."""
    pair = relayed(14)
    for asked in pair.vm:
        asked.sent, asked.begun = asked.sent + 6, 6.1
    told = found(pair)
    assert told is not None
    assert {int(j): int(i) for j, i in enumerate(told.vm_of.tolist()) if i >= 0} == pair.truth
    assert told.clock.low_s is not None
    assert told.clock.high_s is not None
    assert told.clock.low_s <= 0 <= told.clock.high_s


def test_few_requests_tell_nothing() -> None:
    assert found(relayed(15, nesting.ENOUGH - 1)) is None
    pair = relayed(16, others=0)
    pair.host = pair.host[:5]
    assert found(pair) is None


def test_a_clock_that_is_set_tells_nothing() -> None:
    """Half of the requests do not follow the others' line."""
    pair = relayed(17)
    late = side(pair.vm)
    for name in ("start_ns", "request_end_ns"):
        late.exchanges[name][40:] += 5_000 * MS
    for name in ("response_ns", "end_ns"):
        late.exchanges[name][40:] = [value + 5_000 * MS for value in late.exchanges[name][40:].tolist()]
    assert nesting.nested(late, side(pair.host)) is None


@pytest.mark.parametrize("seed", range(40))
def test_odd_captures_break_nothing(seed: int) -> None:
    """Answers that are missing, times that are zero or far off, sizes beyond reason."""
    rng = np.random.default_rng(seed)
    pair = relayed(seed, int(rng.integers(10, 60)), int(rng.integers(0, 60)), every_ms=float(rng.choice([0, 1, 50, 400])))
    for rows in (pair.vm, pair.host):
        for asked in rows:
            match int(rng.integers(60)):
                case 0 | 1:
                    asked.over = None
                case 2:
                    asked.first = asked.over = None
                case 3:
                    asked.sent = 0.0
                case 4:
                    asked.sent, asked.first, asked.over = 1e9, 1e9 + 1, 1e9 + 1
                case 5:
                    asked.up = int(rng.choice([0, 2**40]))
        if rng.random() < 0.2:
            rows[:] = [Asked(0.0, None, None, each.up) for each in rows]
    told = found(pair, float(rng.choice([0, 1e3, -1e12])))
    assert told is None or told.clock.pieces


# --- from packets


@dataclass
class Turns(Talk):
    """A connection with these turns: (request sent, answer begun, answer over, bytes of the request, bytes of the answer), in seconds."""

    asked: tuple[tuple[float, float, float, int, int], ...] = ()

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        t = self.start
        yield t, True, SYN, b""
        yield t + 0.0002, False, SYN | ACK, b""
        yield t + 0.0003, True, ACK, b""
        yield t + 0.0004, True, PSH | ACK, self.hello
        yield t + 0.0010, False, PSH | ACK, b"\x16\x03\x03\x03\xe8" + bytes(1000)
        for sent, first, over, up, down in self.asked:
            yield sent, True, PSH | ACK, request(up)
            yield first, False, PSH | ACK, request(down)
            if over > first:
                yield over, False, PSH | ACK, request(down + 300)
        end = self.asked[-1][2] + 1
        yield end, True, FIN | ACK, b""
        yield end + 0.0002, False, FIN | ACK, b""


def shared(limit: int = 3, seconds: float = 90, seed: int = 3) -> list[tuple[int, float, float, float, int, bool]]:
    """Two workers each of VM and host at a provider that answers ``limit`` requests at once: (worker, sent, begun, over, bytes, refused), worker 0 and 1 are
    the VM's."""
    rng = np.random.default_rng(seed)
    ready = {worker: float(rng.uniform(0.5, 2)) for worker in range(4)}
    until: list[float] = []
    out = []
    while min(ready.values()) < seconds:
        worker = min(ready, key=lambda each: ready[each])
        sent = ready[worker]
        refused = sum(each > sent for each in until) >= limit
        first = sent + (0.004 + rng.exponential(0.002) if refused else rng.uniform(0.1, 0.6))
        over = first if refused else first + rng.uniform(0.3, 1.8)
        until += [] if refused else [over]
        out.append((worker, sent, first, over, int(rng.integers(400, 4000)), refused))
        ready[worker] = over + (rng.uniform(0.8, 1.6) if refused else rng.uniform(0.1, 1))
    return out


def recorded(
    folder: Path,
    named: bool = True,
    ahead_s: float = 3,
    others_bytes: int | None = None,
    anew: bool = False,
    seconds: float = 90,
    mine: int = 2,
    itself: bool = False,
    upstream_name: str | None = "api.example.test",
    seed: int = 3,
) -> list[tuple[int, float, float, float, int, bool]]:
    """A recording of it: the relay asks on connections of its own for the VM, whose clock is ahead. ``others_bytes``: size of all requests of others.
    anew : what leaves the host does so on a connection for each request.  mine : so many workers are the VM's.  itself : the relay refuses, and not the
    provider.  upstream_name : that the relay asks for, if it names the server at all."""
    every = [
        (each[0], *each[1:4], others_bytes or each[4], each[5]) if each[0] >= mine else each for each in shared(seconds=seconds, seed=seed)
    ]
    rng = np.random.default_rng(1)
    vm, host = Machine(), Machine()
    upstream_hellos, own_hellos = (
        iter(hellos(len(every), upstream_name)),
        list(hellos(4, "api.example.test" if named else "relay.example.test")),
    )
    lines, ports = [], iter(range(1, len(every) + 1))
    for worker in range(4):
        theirs = [each[1:] for each in every if each[0] == worker]
        upstream = tuple(
            (s, f, o, up + 61 * (worker < mine), 200 if refused else 900) for s, f, o, up, refused in theirs if not (refused and itself)
        )
        for asked in zip(upstream, strict=True) if anew else (upstream,):
            port = next(ports)
            talk = Turns((EGRESS, 50000 + port), (SERVER, 443), asked[0][0] - 0.002, next(upstream_hellos), (8 + port) << 20, asked=asked)
            host.see(talk, (2, True))
        if worker >= mine:
            continue
        turns = []
        for sent, first, over, up, refused in theirs:
            way, back = rng.uniform(0.0002, 0.003), rng.uniform(0.0001, 0.002)
            turn = (sent - way + ahead_s, first + back + ahead_s, over + back + ahead_s, up, 230 if refused else 930)
            turns.append(turn)
            if refused:
                at = datetime.fromtimestamp(T0_S + turn[2] + 0.0005, UTC)
                lines.append((turn[2], f"{at:%Y-%m-%dT%H:%M:%S.%f}Z ERROR completion failed: 429 Too Many Requests\n"))
        end = ("192.168.122.1", 443 if named else 4000)
        vm.see(
            Turns(("192.168.122.2", 40001 + worker), end, turns[0][0] - 0.01, own_hellos[worker], (1 + worker) << 20, asked=tuple(turns)),
            (1, False),
        )
    vm.write(folder / "vm.pcap", 1)
    host.write(folder / "host.pcap", 2)
    (folder / "vm-errors.log").write_text("".join(line for _, line in sorted(lines)))
    return every


@pytest.mark.parametrize("named", [True, False])
def test_who_else_uses_the_address_shows_behind_a_relay_that_ends_tls(tmp_path: Path, named: bool) -> None:
    """By the target's name, or by a name of its own."""
    every = recorded(tmp_path, named)
    found = netlens.analyze(tmp_path, apis="api.example.test")
    made = found.assembled
    assert made.upstream.name == "host"
    r = made.situation.requests
    assert len(r) == len(every)
    truth = sorted(every, key=lambda each: each[1])
    assert r.side.tolist() == [VM if worker < 2 else HOST for worker, *_ in truth]
    assert [label == REJECTED for label in r.rejected.tolist()] == [refused for *_, refused in truth]
    verdicts = {v.id: v for v in found.hypotheses}
    assert verdicts["same-nat-ip"].verdict == "supported"
    assert verdicts["multiplexing"].verdict == "undecided"
    assert "without the relay that ends TLS" in (verdicts["multiplexing"].needs or "")
    assert verdicts["keep-alive"].verdict == "refuted"
    assert found.clock.method == "nested requests"
    assert found.clock.low_s is not None
    assert found.clock.high_s is not None
    assert found.clock.low_s <= 3 <= found.clock.high_s
    assert found.clock.high_s - found.clock.low_s < 0.002
    assert any("a relay between VM and host ends TLS" in note for note in found.quality["notes"])
    assert next(p for p in found.parties if p.name == "VM").addresses == ()
    assert made.once(chains)["proxy"] == 2
    parties = {p.name: p.requests for p in found.parties}
    assert parties == {"VM": sum(each[0] < 2 for each in every), "host": sum(each[0] > 1 for each in every)}
    assert found.counts["connections"] == 4


def test_a_relay_that_names_no_server_is_followed_by_what_it_carries_on(tmp_path: Path) -> None:
    """It ends TLS and asks without a name (Pound): the host's capture has the requests all the same."""
    every = recorded(tmp_path, upstream_name=None)
    found = netlens.analyze(tmp_path, apis="api.example.test")
    made = found.assembled
    assert made.upstream.name == "host"
    assert len(made.situation.requests) == len(every)
    assert made.goal.addresses == [SERVER]
    verdicts = {v.id: v.verdict for v in found.hypotheses}
    assert verdicts["same-nat-ip"] == "supported"
    assert any("name no server" in note for note in found.quality["notes"])


def test_servers_without_a_name_that_carry_nothing_on_are_not_the_target(tmp_path: Path) -> None:
    """The host asks another server without a name, and what it asks does not nest: only the VM's capture is used."""
    recorded(tmp_path, mine=2)
    (tmp_path / "other").mkdir()
    recorded(tmp_path / "other", mine=0, upstream_name=None, seed=4)
    (tmp_path / "host.pcap").write_bytes((tmp_path / "other" / "host.pcap").read_bytes())
    made = netlens.analyze(
        vm=str(tmp_path / "vm.pcap"), host=str(tmp_path / "host.pcap"), vm_errors=str(tmp_path / "vm-errors.log"), apis="api.example.test"
    ).assembled
    assert made.upstream.name == "vm"


def test_what_the_relay_may_ask_by_itself_is_no_others(tmp_path: Path) -> None:
    """What does not nest is all of one size, and on connections that begin as the relay's do: it may be how it sees whether the server is there."""
    every = recorded(tmp_path, others_bytes=700)
    found = netlens.analyze(tmp_path, apis="api.example.test")
    assert found.assembled.upstream.name == "host"
    assert len(found.assembled.situation.requests) == len(every)
    verdicts = {v.id: v for v in found.hypotheses}
    assert verdicts["same-nat-ip"].verdict == "undecided"
    assert "health checks off" in (verdicts["same-nat-ip"].needs or "")


@pytest.mark.parametrize("anew", [False, True])
def test_a_relay_that_opens_a_connection_for_each_request_leaves_the_odds_open(tmp_path: Path, anew: bool) -> None:
    """A limit on new connections would refuse the same, and none of what is weighed is one."""
    every = recorded(tmp_path, anew=anew, seconds=50)
    found = netlens.analyze(tmp_path, apis="api.example.test")
    r = found.assembled.situation.requests
    assert len(r) == len(every)
    # but the first of each of the VM's connections
    assert r.added.sum() == (sum(worker < 2 for worker, *_ in every) - 2 if anew else 0)
    assert bool(odds.possibilities(found.weighed.weighing)[0]) != anew


@pytest.mark.parametrize("mine", [4, 3])
def test_a_relay_that_refuses_by_itself_is_the_limiter(tmp_path: Path, mine: int) -> None:
    """Where others ask the relay too, what they asked is not seen, so nothing is told."""
    every = recorded(tmp_path, mine=mine, itself=True, seconds=120)
    found = netlens.analyze(tmp_path, apis="api.example.test")
    made = found.assembled
    assert made.upstream.name == "vm"
    truth = sorted((each for each in every if each[0] < mine), key=lambda each: each[1])
    assert [label == REJECTED for label in made.situation.requests.rejected.tolist()] == [refused for *_, refused in truth]
    assert [v.id for v in found.hypotheses if v.verdict == "supported"] == (["own-concurrency"] if mine == 4 else [])
    assert any("the relay at 192.168.122.1:443 refuses by itself" in note for note in found.quality["notes"])
    if mine == 4:
        assert found.limiter is not None
        assert (found.limiter["kind"], found.limiter["value"]) == ("concurrency", 3)


def test_recordings_that_are_weighed_together_keep_what_is_not_known(tmp_path: Path) -> None:
    recorded(tmp_path)
    made = netlens.analyze(tmp_path, apis="api.example.test").assembled
    assert joined([made.situation, made.situation]).facts["asked_anew"] == 2


def test_what_nests_is_found_again_where_the_clock_is_known_from_it(tmp_path: Path) -> None:
    """Captures are linked anew where one of several names alone is of interest."""
    recorded(tmp_path)
    made = netlens.analyze(tmp_path, apis="api.example.test").assembled
    captures = {name: netlens.read(tmp_path / f"{name}.pcap") for name in ("vm", "host")}
    again = link(captures, ("api.example.test",), clock=lambda: made.clock)
    assert again.nested is not None
    assert made.nested is not None
    assert again.nested.vm_of.tolist() == made.nested.vm_of.tolist()
