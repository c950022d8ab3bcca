"""Packet digests: of the chosen connections only, alike at two capture points, bounded in number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netlens
from netlens.api import Capture
from netlens.errors import CaptureError
from netlens.parsers import packet_digests as m
from netlens.parsers import session_state as s_
from tests.parsers.build import MS, OUTGOING, T0, US, Array, Packet, Talk, mixed, rewritten, write

VM, HOST, API = ("192.168.64.2", 40000), ("192.168.64.1", 22), ("203.0.113.10", 443)
KEYS = [m.DIRECTION, m.SEQ, m.ACK, m.STAMP, m.LENGTH, m.FLAGS, m.WINDOW, m.KEY]


def flows(path: Path) -> Array:
    """Of all sessions, the end that sent the first packet first."""
    return netlens.read(path).part.state()[:, [s_.A_HI, s_.A_LO, s_.B_HI, s_.B_LO, s_.PORTS]]


def talk(n: int = 5, **more: int) -> list[Packet]:
    made = Talk(VM, HOST, **more).open()
    for k in range(n):
        made.up("PA", 10 + k)
        made.down("A")
    return made.close().packets


def test_only_of_the_chosen_flow(tmp_path: Path) -> None:
    other = Talk(VM, API, at=100 * US).open().close().packets
    path = write(tmp_path / "a.pcap", mixed(talk(), other))
    every = flows(path)
    found = m.collect([str(path)], every[:1])
    assert len(found) == 16
    assert set(found[:, m.FLOW]) == {0}
    assert found[:6, m.DIRECTION].tolist() == [0, 1, 0, 0, 1, 0]
    assert found[:6, m.LENGTH].tolist() == [0, 0, 0, 10, 0, 11]
    assert found[:3, m.FLAGS].tolist() == [2, 2, 0]
    assert found[0, m.TIME] == T0
    assert (np.diff(found[:, m.FRAME]) > 0).all()
    # both, and none
    assert np.bincount(m.collect([str(path)], every)[:, m.FLOW]).tolist() == [16, 6]
    assert len(m.collect([str(path)], every[:0])) == 0


def test_order_of_ends_is_the_callers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", talk())
    a_hi, a_lo, b_hi, b_lo, ports = flows(path)[0].tolist()
    turned = np.array([[b_hi, b_lo, a_hi, a_lo, ports >> 32 << 32 | (ports & 0xFFFF) << 16 | ports >> 16 & 0xFFFF]])
    straight, back = m.collect([str(path)], flows(path)), m.collect([str(path)], turned)
    assert (straight[:, m.DIRECTION] == 1 - back[:, m.DIRECTION]).all()
    assert (straight[:, m.FRAME] == back[:, m.FRAME]).all()


def test_ipv6_and_the_same_ports_in_ipv4(tmp_path: Path) -> None:
    six = Talk(("2001:db8::2", 40000), ("2001:db8::1", 22)).open().packets
    path = write(tmp_path / "a.pcap", mixed(six, talk(at=10 * MS)))
    found = m.collect([str(path)], flows(path)[:1])
    assert len(found) == 3


def test_same_key_after_translation(tmp_path: Path) -> None:
    inside = Talk(VM, API).open()
    inside.up("PA", 500)
    inside.down("PA", 900)
    after = rewritten(inside.packets, {VM: ("203.0.113.1", 61000)})
    near, far = (write(tmp_path / f"{k}.pcap", x) for k, x in enumerate((inside.packets, after)))
    a, b = (m.collect([str(p)], flows(p)) for p in (near, far))
    assert (a[:, KEYS] == b[:, KEYS]).all()
    assert len(np.unique(a[:, m.KEY])) == len(a)
    assert set(b[:, m.IFACE] & 0xFF) == {OUTGOING}


def test_window_updates_have_another_key(tmp_path: Path) -> None:
    made = Talk(VM, HOST).open()
    made.up("A")
    made.up("A", window=2000)
    path = write(tmp_path / "a.pcap", made.packets)
    assert len(np.unique(m.collect([str(path)], flows(path))[2:, m.KEY])) == 2


def test_several_files_are_one_stream(tmp_path: Path) -> None:
    packets = talk(20)
    whole = write(tmp_path / "whole.pcap", packets)
    parts = [write(tmp_path / f"{k}.pcap", packets[k : k + 11]) for k in range(0, len(packets), 11)]
    expected = m.collect([str(whole)], flows(whole))
    assert (m.collect([str(p) for p in parts], flows(whole)) == expected)[:, [m.TIME, m.FRAME, m.KEY]].all()


def test_the_trail_tells_the_same_as_a_second_pass(tmp_path: Path) -> None:
    """A port used twice, IPv6, both orders of the ends, and a session that is not asked for."""
    again = Talk(VM, HOST, at=10**9).open().close().packets
    six = Talk(("2001:db8::2", 40000), ("2001:db8::1", 22), at=7 * US).open().close().packets
    path = write(tmp_path / "a.pcap", mixed(talk(), again, six, Talk(VM, API, at=100 * US).open().packets))
    capture = Capture([path], trail=True)
    wanted = np.concatenate([flows(path)[:1], flows(path)[[-1]][:, [2, 3, 0, 1, 4]]])
    wanted[1, 4] = wanted[1, 4] >> 32 << 32 | (wanted[1, 4] & 0xFFFF) << 16 | wanted[1, 4] >> 16 & 0xFFFF
    assert capture.trail is not None
    for cap in (m.CAP, 12):
        assert (m.of_trail(capture.trail, flows(path), wanted, cap) == m.collect(capture.paths, wanted, cap)).all()
    assert len(m.of_trail(capture.trail, flows(path), wanted)) > 20
    assert len(m.of_trail(capture.trail, flows(path), wanted[:0])) == 0


def test_no_second_pass_over_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = write(tmp_path / "a.pcap", talk())
    assert m.readable_again([str(path)])
    for paths in (["-"], [str(path), "-"], [str(tmp_path / "pipe")], [str(tmp_path / "none")]):
        assert not m.readable_again(paths)
        with pytest.raises(CaptureError):
            m.collect(paths, flows(path))


def many(n: int, seed: int = 1) -> Array:
    """Marks at random times, with random keys."""
    rng = np.random.default_rng(seed)
    marks = np.zeros((n, m.DIGEST_WIDTH), np.int64)
    marks[:, m.TIME] = T0 + np.sort(rng.integers(0, 10**11, n))
    marks[:, m.FRAME] = np.arange(1, n + 1)
    marks[:, m.KEY] = rng.integers(-(1 << 63), (1 << 63) - 1, n)
    return marks


def test_thinned_evenly_in_time_and_in_order() -> None:
    marks = np.concatenate([many(50_000), many(100)])
    marks[50_000:, m.TIME] += 10**11  # a quiet time after a busy one: none of it is given up
    thinned = m.thin(marks, 10_000)
    assert 9_000 < len(thinned) <= 10_000
    assert (np.diff(thinned[:50, m.FRAME]) > 0).all()
    assert (thinned[:, m.TIME] > T0 + 10**11).sum() == 100
    assert m.thin(marks, 60_000) is marks


def test_thinned_alike_at_two_capture_points() -> None:
    """Delayed, with another clock, and thinned in several rounds on one side: what is left is mostly the same."""
    near = many(200_000)
    far = near.copy()
    far[:, m.TIME] += np.random.default_rng(2).integers(0, 10**7, len(far)) + 3_700_000_000
    far = far[np.argsort(far[:, m.TIME])]
    rounds = far[:0]
    for k in range(0, len(far), 20_000):
        rounds = m.thin(np.concatenate([rounds, far[k : k + 20_000]]), 10_000)
    kept = np.intersect1d(m.thin(near, 10_000)[:, m.KEY], rounds[:, m.KEY])
    assert len(kept) > 6_000


@given(st.integers(0, 5000), st.integers(m.STRETCHES, 3000), st.integers(0, 10))
def test_thin_keeps_no_more_than_it_may(n: int, cap: int, seed: int) -> None:
    marks = many(n, seed)
    thinned = m.thin(marks, cap)
    assert len(thinned) <= cap
    assert len(thinned) >= min(n, 1)
    assert np.isin(thinned[:, m.FRAME], marks[:, m.FRAME]).all()


def test_cap_of_a_capture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", talk(10_000, step=US))
    found = m.collect([str(path)], flows(path), cap=2000)
    assert 1000 < len(found) <= 2000
    assert (np.diff(found[:, m.FRAME]) > 0).all()
