"""A request counts once, whatever relays of the machine it goes over, and as the provider's own log has it, second by second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netlens.chains import inputs
from netlens.watch.groups import ALL
from netlens.watch.peaks import SECOND
from netlens.watch.state import Watched
from netlens.watch.view import view_of
from tests.chains.build_chain import EGRESS, HERE, IN, SERVER, Machine, Talk, hellos
from tests.watch.helpers import play

if TYPE_CHECKING:
    from netlens.watch.refusals import Refusal

VM, BRIDGE, API = "192.168.122.2", "192.168.122.1", (SERVER, 443)
COMES_IN, LEAVES, LOOPBACK = ((3, True),), ((2, False),), ((1, False), (1, True))
CONNECT = (b"CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n")
LATE_NS = SECOND // 20  #: a program writes a time down later than it happened, on a busy machine

Intervals = Sequence[tuple[int, int]]


def most(intervals: Intervals, low: int, high: int) -> int:
    """Most at once within [low, high)."""
    inside = [(max(start, low), end) for start, end in intervals if start < high and end > low and start < end]
    return max((sum(s <= at < e for s, e in inside) for at, _ in inside), default=0)


@pytest.mark.parametrize(
    "name",
    [
        "own-concurrency-connect",
        "own-concurrency-haproxy",
        "zombie-haproxy",
        "same-nat-ip-socks",
        "same-nat-ip-bridge",
        "same-nat-ip-vxlan",
    ],
)
def test_counts_follow_the_providers_log_within_a_second(captures: Path, name: str) -> None:
    events = [json.loads(line) for line in (captures / name / "provider.jsonl").read_text().splitlines()]
    done = {e["request"]: e["ns"] for e in events if e["event"] == "done"}
    true = [(e["first_ns"], done[e["request"]]) for e in events if e["event"] == "request"]
    seen: list[tuple[int, int]] = []

    class Spy(Watched):
        def tick(self, now_ns: int) -> list[Refusal]:
            found = super().tick(now_ns)
            seen.append((now_ns, view_of(self, now_ns).all.requests.now))
            return found

    given = inputs.from_folder(str(captures / name))
    play(Spy("host", given.apis), given.captures["host"])
    assert len(seen) > 30
    for now, count in seen:
        longest = [(start - LATE_NS, end + SECOND) for start, end in true]
        shortest = [(start + SECOND, end) for start, end in true]
        assert most(shortest, now - SECOND, now) <= count <= most(longest, now - SECOND - LATE_NS, now + LATE_NS)


def peaks(folder: Path, machine: Machine, name: str = "host", interface: int | None = None) -> tuple[int, int]:
    machine.write(folder / "a.pcap", interface)
    watched = Watched(name, ("api.example.test",), (BRIDGE, EGRESS) if interface is not None else ())
    play(watched, [folder / "a.pcap"])
    return watched.exact()[ALL]


def proxied(own: Iterable[bytes]) -> Machine:
    """Two connections of the VM to a proxy on the host, which carries each on with a hello of its own or the VM's."""
    host = Machine()
    for k, (asked, carried) in enumerate(zip(hellos(2), own, strict=True)):
        host.see(Talk((VM, 40001 + k), (BRIDGE, 8888), 1, asked, (1 + k) << 20, negotiation=CONNECT), *COMES_IN)
        host.see(Talk((EGRESS, 50001 + k), API, 1.0005, carried, (7 + k) << 20), *LEAVES)
    return host


def test_what_a_proxy_carries_on_counts_where_it_leaves(tmp_path: Path) -> None:
    assert peaks(tmp_path, proxied(hellos(2))) == (2, 2)


def test_where_only_the_way_into_the_proxy_is_seen_that_counts(tmp_path: Path) -> None:
    assert peaks(tmp_path, proxied(hellos(2)), interface=3) == (2, 2)


def test_redirected_connections_count_where_they_leave(tmp_path: Path) -> None:
    """Both ways of redirecting: what the machine opened itself, as halves on loopback, and what came in for another."""
    host = Machine()
    for k, hello in enumerate(hellos(2)):
        half = Talk((EGRESS, 41001 + k), API, 1, hello, (1 + k) << 20)
        for t, up, packet in half.packets():
            if not up:
                host.frames.append((t, 1, IN, HERE, packet))
        host.see(replace(half, server=("127.0.0.1", 3129), one_way=True), (1, True), kind=HERE)
        host.see(Talk((VM, 42001 + k), API, 1, hello, (3 + k) << 20), *COMES_IN)
        host.see(Talk((EGRESS, 50001 + k), API, 1.0005, hello, (5 + k) << 20), *LEAVES)
        host.see(Talk((EGRESS, 50003 + k), API, 1.0005, hello, (7 + k) << 20), *LEAVES)
    assert peaks(tmp_path, host) == (4, 4)


def test_what_may_go_on_through_ssh_counts_where_it_is_seen(tmp_path: Path) -> None:
    """One program asks over ``ssh -D``, another one directly: nothing else shows the requests of the first."""
    vm = Machine()
    asked, other = hellos(2)
    vm.see(Talk((VM, 40022), (BRIDGE, 22), 0.5, b"SSH-2.0-OpenSSH_9.9\r\n", 3 << 20), *LEAVES)
    vm.see(Talk(("127.0.0.1", 39999), ("127.0.0.1", 1080), 1, asked, 5 << 20, negotiation=CONNECT), *LOOPBACK, kind=HERE)
    vm.see(Talk((VM, 40001), API, 1, other, 7 << 20), *LEAVES)
    assert peaks(tmp_path, vm, "vm") == (2, 2)


def test_what_a_proxy_of_the_program_carries_on_counts_once(tmp_path: Path) -> None:
    vm = Machine()
    (hello,) = hellos(1)
    vm.see(Talk(("127.0.0.1", 39999), ("127.0.0.1", 8889), 1, hello, 5 << 20, negotiation=CONNECT), *LOOPBACK, kind=HERE)
    vm.see(Talk((VM, 40001), API, 1.0005, hello, 7 << 20), *LEAVES)
    assert peaks(tmp_path, vm, "vm") == (1, 1)


def test_a_pool_that_was_open_before_counts_where_the_names_addresses_are_known(tmp_path: Path) -> None:
    """Its hello is not in the capture, nor a lookup."""
    (hello,) = hellos(1)
    Machine().see(Talk((EGRESS, 50001), API, 1, hello, 1 << 20, begins=1.05), *LEAVES).write(tmp_path / "a.pcap")
    found = []
    for resolved in ({}, {"api.example.test": [SERVER]}):
        watched = Watched("host", ("api.example.test",), resolved=resolved)
        play(watched, [tmp_path / "a.pcap"])
        found.append(watched.exact()[ALL])
    assert found == [(0, 0), (1, 1)]


def test_a_pool_that_is_reset_long_after_its_last_answer_has_nothing_in_flight(tmp_path: Path) -> None:
    (hello,) = hellos(1)
    talk = Talk((EGRESS, 50001), API, 1, hello, 1 << 20, sizes=(500, 700), every=6, reset=True)
    host = Machine().see(talk, *LEAVES)
    host.write(tmp_path / "a.pcap")
    now: list[int] = []

    class Spy(Watched):
        def tick(self, now_ns: int) -> list[Refusal]:
            found = super().tick(now_ns)
            now.append(view_of(self, now_ns).all.requests.now)
            return found

    play(Spy("host", ("api.example.test",)), [tmp_path / "a.pcap"])
    assert now[0] == 1  # and again at the second
    assert now[-2:] == [0, 0]
