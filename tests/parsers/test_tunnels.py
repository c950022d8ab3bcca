"""Which sessions came through which SSH connection, told by time and size alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens.parsers.sessions import SessionFold
from netlens.parsers.tunnels import REACTION_NS, SLOTS, TunnelWatch
from tests.parsers.build import MS, US, End, Packet, S, Talk, mixed, rows

VM, HOST, SSHD = "192.168.64.2", "203.0.113.1", ("192.168.64.1", 22)
API = ("203.0.113.10", 443)


def attributed(packets: Sequence[Packet], size: int = 2048) -> list[int]:
    """Session that each session came through, -1 for none."""
    state, watch = SessionFold(), TunnelWatch()
    buf, matrix = rows(packets)
    for at in range(0, len(matrix), size):
        batch = matrix[at : at + size]
        state.feed(batch)
        watch.feed(buf, batch, state.state())
    through: list[int] = watch.attributed(np.arange(state.n)).tolist()
    return through


def tunnel(port: int = 50000, sshd: End = SSHD, at: int = 0, banner: bool = True) -> Talk:
    """An SSH connection that was opened ``at``."""
    t = Talk((VM, port), sshd, isn=port * 7919, at=at).open()
    if banner:
        t.up("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
        t.down("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
    return t


def program(port: int, at: int, payloads: Sequence[tuple[int, int]] = ((10 * MS, 517),), syn: bool = True) -> Talk:
    """A session of the host that opens ``at`` and sends (after, bytes) each."""
    t = Talk((HOST, port), API, isn=port * 104_729, at=at, step=100 * US)
    if syn:
        t.open()
    else:
        t.seq, t.back = t.seq + 1, t.back + 1
    for after, size in payloads:
        t.at = at + after
        t.up("PA", size)
        t.down("PA", 1000)
    return t


def sends(ssh: Talk, *events: tuple[int, int]) -> None:
    """SSH payload towards sshd: (time, bytes)."""
    for at, size in events:
        ssh.at = at
        ssh.up("PA", size)


def test_steps_that_follow_ssh_payload() -> None:
    ssh = tunnel()
    sends(ssh, (S, 80), (S + 9 * MS, 600), (S + 100 * MS, 300))
    p = program(40000, S + MS, [(10 * MS, 517), (101 * MS, 250)])
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, 0]


@pytest.mark.parametrize(
    ("name", "syn_after", "hello_after", "hello_burst", "through"),
    [
        ("at once", 0, 0, 517, True),
        ("as measured", 2 * MS, 2 * MS, 600, True),
        ("a busy machine", REACTION_NS - 1, REACTION_NS - 1, 600, True),
        ("SYN too late", REACTION_NS + 1, MS, 600, False),
        ("payload too late", MS, REACTION_NS + 1, 600, False),
        ("burst too short for it", MS, MS, 516, False),
    ],
)
def test_bounds(name: str, syn_after: int, hello_after: int, hello_burst: int, through: bool) -> None:
    ssh = tunnel()
    sends(ssh, (S, 80), (2 * S, hello_burst))
    p = program(40000, S + syn_after, [(S - syn_after + hello_after, 517)])
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, 0 if through else -1], name


def test_a_burst_is_what_came_in_without_a_pause() -> None:
    parts = [(2 * S + i * MS, 200) for i in range(3)]
    ssh = tunnel()
    sends(ssh, (S, 80), *parts)
    p = program(40000, S + MS, [(S + 3 * MS, 517)])
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, 0]
    ssh = tunnel()
    sends(ssh, (S, 80), (2 * S, 400), (2 * S + 2 * REACTION_NS, 200))
    p = program(40000, S + MS, [(S + 2 * REACTION_NS + MS, 517)])
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, -1]


def test_four_of_five_payloads_must_follow() -> None:
    for late, through in ((1, 0), (2, -1)):
        ssh = tunnel()
        sends(ssh, (S, 80), *[((2 + i) * S, 600) for i in range(5)])
        steps = [((1 + i) * S + (MS if i < 5 - late else 500 * MS), 300) for i in range(5)]
        p = program(40000, S + MS, steps)
        assert attributed(mixed(ssh.packets, p.packets)) == [-1, through]


def test_a_repeated_syn_follows_a_timer() -> None:
    """The first SYN decides, even if SSH payload comes just before the second."""
    ssh = tunnel()
    sends(ssh, (2 * S - MS, 80), (2 * S + 9 * MS, 600))
    t = Talk((HOST, 40000), API, at=S)
    t.up("S")
    t.at = 2 * S
    t.again()
    t.down("SA")
    t.up("A")
    t.at = 2 * S + 10 * MS
    t.up("PA", 517)
    assert attributed(mixed(ssh.packets, t.packets)) == [-1, -1]


def test_retransmitted_payload_needs_no_second_burst() -> None:
    ssh = tunnel()
    sends(ssh, (S, 80), (S + 9 * MS, 600))
    p = program(40000, S + MS)
    p.at = 3 * S
    p.up("PA", 517, seq=p.seq - 517)
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, 0]


def test_payload_from_sshd_opens_nothing() -> None:
    ssh = tunnel()
    ssh.at = S
    ssh.down("PA", 80)
    ssh.at = S + 9 * MS
    ssh.down("PA", 600)
    assert attributed(mixed(ssh.packets, program(40000, S + MS).packets)) == [-1, -1]


def test_joined_after_its_syn() -> None:
    """The first payload alone must do where the capture began later."""
    ssh = Talk((VM, 50000), SSHD)
    sends(ssh, (S + 9 * MS, 600), (2 * S, 400))
    p = program(40000, S, [(10 * MS, 517), (S + MS, 300)], syn=False)
    assert attributed(mixed(ssh.packets, p.packets)) == [-1, 0]


def test_ssh_on_another_port_is_known_by_its_banner() -> None:
    for banner, through in ((True, 0), (False, -1)):
        ssh = tunnel(sshd=(SSHD[0], 2222), banner=banner)
        sends(ssh, (S, 80), (S + 9 * MS, 600))
        assert attributed(mixed(ssh.packets, program(40000, S + MS).packets)) == [-1, through]


def test_an_ssh_connection_comes_through_no_other() -> None:
    """Opened and sending right after another one's payload, on port 22 or not."""
    for port in (22, 2222):
        first = tunnel()
        sends(first, (S, 80), (S + 9 * MS, 5000), (S + 20 * MS, 5000))
        second = Talk((VM, 50001), (SSHD[0], port), at=S + MS).open()
        second.at = S + 10 * MS
        second.up("PA", b"SSH-2.0-OpenSSH_9.7\r\n")
        second.at = S + 21 * MS
        second.up("PA", 1000)
        packets = mixed(first.packets, second.packets)
        assert attributed(packets) == attributed(packets, 1) == [-1, -1]


def test_several_tunnels() -> None:
    """Each connection is given to the tunnel whose bursts it fits, also if another one's payload comes just before its SYN."""
    a, b = tunnel(50000), tunnel(50001, at=10 * MS)
    sends(a, (S, 80), (S + 9 * MS, 600), (3 * S, 80), (3 * S + 9 * MS, 600))
    sends(b, (2 * S, 80), (2 * S + 9 * MS, 600), (3 * S + MS // 2, 40))
    packets = mixed(a.packets, b.packets, *[program(40000 + i, i * S + MS).packets for i in (1, 2, 3)])
    assert attributed(packets) == [-1, -1, 0, 1, 0]


def test_more_tunnels_than_are_watched() -> None:
    """The ones that sent last are watched; one that comes back is taken up again."""
    n = 3 * SLOTS
    tunnels = [tunnel(50000 + i, at=i * 10 * MS) for i in range(n)]
    programs = []
    for i, ssh in enumerate(tunnels):
        at = (2 + i) * S
        sends(ssh, (at, 80), (at + 9 * MS, 600))
        programs.append(program(40000 + i, at + MS))
    found = attributed(mixed(*[t.packets for t in tunnels], *[p.packets for p in programs]))
    assert found == [-1] * n + list(range(n))


def _tunnelled(rng: random.Random, n: int, first: int, port: int = 50000) -> Iterator[list[Packet]]:
    """The SSH connection and its n forwarded connections of a few turns each."""
    ssh = tunnel(port)
    events: list[tuple[int, int]] = []
    talks = []
    for i in range(n):
        at = S + rng.randrange(60 * S)
        delay = rng.randrange(200 * US, 3 * MS)
        events.append((at, 68))
        steps = []
        after = 5 * MS
        for _ in range(rng.randint(1, 5)):
            size = rng.randint(200, 1800)
            events.append((at + after, size + rng.randint(30, 90)))
            steps.append((after + delay, size))
            after += rng.randrange(20 * MS, 2 * S)
        talks.append(program(first + i, at + delay, [(a - delay, s) for a, s in steps]))
    sends(ssh, *sorted(events))
    yield ssh.packets
    yield from (t.packets for t in talks)


@pytest.mark.parametrize("seed", range(3))
def test_programs_of_the_host_match_by_chance_only(seed: int) -> None:
    """A tunnel with some thirty connections a minute beside as many of the host's own: none of the tunnel's is missed, hardly one is added."""
    rng = random.Random(seed)
    through = list(_tunnelled(rng, 30, 40000))
    own = []
    for i in range(30):
        at = S + rng.randrange(60 * S)
        own.append(program(45000 + i, at, [(rng.randrange(2 * MS, 300 * MS) + j * S, rng.randint(200, 1800)) for j in range(3)]).packets)
    packets = mixed(*through, *own)
    state = SessionFold()
    _, matrix = rows(packets)
    state.feed(matrix)
    is_own = state.rows()["orig_port"] >= 45000
    found = np.array(attributed(packets))
    ours = found[~is_own][1:]
    assert (ours == 0).mean() >= 0.9  # two that open at one moment may swap their bursts
    assert (found[is_own] >= 0).sum() <= 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_batches_of_any_size_give_the_same_answer(seed: int) -> None:
    rng = random.Random(seed)
    packets = mixed(*_tunnelled(rng, 5, 40000), *_tunnelled(rng, 2, 41000, 50001))
    other = tunnel(52000, (SSHD[0], 2222), at=2 * S)
    sends(other, (3 * S, 500))
    packets = mixed(packets, other.packets)
    assert attributed(packets) == attributed(packets, 1) == attributed(packets, 5)
