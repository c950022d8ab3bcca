"""The clock of two captures: bundled recordings as they are and with other clocks written into them, and conversations made by hand."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.api import Capture
from netlens.chains.clock import Clock, ahead, estimate, identity
from tests.parsers.build import INCOMING, MS, OUTGOING, T0, US, Packet, S, Talk, datagram, mixed, rewritten, write
from tests.wire.links import RAW, SLL2

VM, HOST, API = ("192.168.64.2", 40000), ("192.168.64.1", 22), ("203.0.113.10", 443)
UPLINK = ("203.0.113.1", 61000)
Tick = Callable[[int], int]
NEAR = 60e-6  # s: conversations of some milliseconds leave all slopes open, which widens their intervals a little


def of(vm: Path, host: Path) -> Clock:
    return estimate(netlens.read(vm), netlens.read(host))


# -- bundled recordings --


class Recorded:
    """One capture file as records that can be given other times, or left out."""

    def __init__(self, path: Path):
        data = gzip.decompress(path.read_bytes())
        self.header, at = data[4:24], 24
        self.times: list[int] = []
        self.frames: list[bytes] = []
        while at < len(data):
            seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
            self.times.append(seconds * S + micros * US)
            self.frames.append(data[at + 16 : at + 16 + size])
            at += 16 + size

    def only(self, keep: Callable[[bytes], bool]) -> Recorded:
        chosen = [k for k, frame in enumerate(self.frames) if keep(frame)]
        self.times, self.frames = [self.times[k] for k in chosen], [self.frames[k] for k in chosen]
        return self

    def write(self, path: Path, tick: Tick = lambda t: t) -> Path:
        out = [struct.pack("<I", 0xA1B23C4D) + self.header]
        for time, frame in zip(self.times, self.frames, strict=True):
            shown = tick(time)
            out.append(struct.pack("<IIII", shown // S, shown % S, len(frame), len(frame)) + frame)
        path.write_bytes(b"".join(out))
        return path


def ports(frame: bytes) -> set[int]:
    """Both ports of a frame of a LINUX_SLL2 capture in IPv4."""
    ip = frame[20:]
    return set(struct.unpack_from(">HH", ip, (ip[0] & 15) * 4)) if ip[0] >> 4 == 4 and ip[9] in (6, 17) else set()


def is_dns(frame: bytes) -> bool:
    return frame[29] == 17 and bool(ports(frame) & {53, 12299, 12298, 12297})


def rewrite(folder: Path, name: str, captures: Path, tick: Tick, keep: Callable[[bytes], bool] = lambda _: True) -> tuple[Clock, Recorded]:
    """The clock of a recording whose VM had another one, and the VM's capture as it was."""
    vm, host = (Recorded(captures / name / f"{side}.pcap.gz").only(keep) for side in ("vm", "host"))
    return of(vm.write(folder / "vm.pcap", tick), host.write(folder / "host.pcap")), vm


def check(clock: Clock, vm: Recorded, tick: Tick, within_us: float = 100) -> None:
    """The true offset is inside, and all times are converted to within what is claimed."""
    assert clock.offset_s is not None
    assert clock.low_s is not None
    assert clock.high_s is not None
    first = int(clock.pieces[0].bounds.vm_frame[0]) - 1
    true = (tick(vm.times[first]) - vm.times[first]) / 1e9
    assert clock.low_s - 1e-9 <= true <= clock.high_s + 1e-9
    assert clock.low_s <= clock.offset_s <= clock.high_s
    assert clock.high_s - clock.low_s < within_us / 1e6
    times = np.array([tick(t) for t in vm.times])
    converted = clock.to_host(times, np.arange(1, len(times) + 1))
    wrong = np.abs(converted - np.array(vm.times))
    assert np.sort(wrong)[int(0.98 * len(wrong))] <= clock.uncertain_ns + US
    assert clock.uncertain_ns <= within_us * US


@pytest.mark.parametrize("name", ["clock-skew", "zombie-clock-skew", "same-nat-ip-nat", "older-tunnel", "healthy", "fan-out-excluded"])
def test_bundled_recordings(name: str, captures: Path) -> None:
    said = tomllib.loads((captures / name / "manifest.toml").read_text(encoding="utf-8"))["lab"]["clock"]
    clock = of(captures / name / "vm.pcap.gz", captures / name / "host.pcap.gz")
    assert clock.offset_s is not None
    assert clock.low_s is not None
    assert clock.high_s is not None
    shown = int(clock.pieces[0].bounds.vm_ns[0])
    drift, ahead = said["drift_ppm"] / 1e6, said["offset_s"] * 1e9
    true = (ahead + (shown - said["at_ns"] - ahead) / (1 + drift) * drift) / 1e9
    assert clock.low_s <= true <= clock.high_s
    assert clock.high_s - clock.low_s < 20e-6
    assert clock.drift_ppm == pytest.approx(said["drift_ppm"], abs=0.5)
    assert clock.steps == []
    assert clock.packets > 200
    assert ("nat copies" if "nat" in name or "excluded" in name else "ssh packets") in clock.method


@pytest.mark.parametrize(("offset", "ppm"), [(3 * S, 100), (-3 * S, -100), (12_345 * US, 0), (-7 * 3600 * S, 30), (0, -0.4)])
@pytest.mark.parametrize("name", ["fan-out", "same-nat-ip-nat"])
def test_another_clock(offset: int, ppm: float, name: str, captures: Path, tmp_path: Path) -> None:
    def tick(t: int) -> int:
        return t + offset + int((t - 1_795_573_000 * S) * ppm * 1e-6)

    clock, vm = rewrite(tmp_path, name, captures, tick)
    check(clock, vm, tick)
    assert clock.drift_ppm == pytest.approx(ppm, abs=0.5)
    assert len(clock.pieces) == 1


@pytest.mark.parametrize("jump", [-3 * S, -2 * MS, 500 * US, 400 * MS, 3600 * S])
def test_clock_that_was_set(jump: int, captures: Path, tmp_path: Path) -> None:
    middle = Recorded(captures / "zombie-sshuttle" / "vm.pcap.gz").times[900]

    def tick(t: int) -> int:
        return t + S + (jump if t >= middle else 0)

    clock, vm = rewrite(tmp_path, "zombie-sshuttle", captures, tick)
    check(clock, vm, tick)
    assert len(clock.steps) == 1
    step = clock.steps[0]
    assert step.low_s <= jump / 1e9 <= step.high_s
    assert step.high_s - step.low_s < 100e-6
    assert 0 <= step.at_ns - middle < 2 * S
    assert "set 1 time" in clock.note
    if jump < 0:
        # without frames what was shown twice is taken as after the step; the rest is not in doubt
        times = np.array([tick(t) for t in vm.times])
        doubtful = (times >= times[899] + jump) & (np.arange(len(times)) < 1100)
        converted = clock.to_host(times)
        assert np.abs(converted - np.array(vm.times))[~doubtful].max() <= clock.uncertain_ns + US


def test_clock_that_was_slewed(captures: Path, tmp_path: Path) -> None:
    middle = Recorded(captures / "zombie-sshuttle" / "vm.pcap.gz").times[900]

    def tick(t: int) -> int:
        return t - S + max(0, t - middle) // 2000  # 500 ppm, what adjtime does

    clock, vm = rewrite(tmp_path, "zombie-sshuttle", captures, tick)
    check(clock, vm, tick, 1000)
    assert clock.steps == []
    assert "rate changed 1 time" in clock.note
    assert [p.slope * 1e6 for p in clock.pieces] == pytest.approx([0, 500], abs=1)


@pytest.mark.parametrize("name", ["fan-out", "zombie-sshuttle", "dns-over-tcp", "older-tunnel", "http2"])
def test_through_the_tunnel_only(name: str, captures: Path, tmp_path: Path) -> None:
    """Without the SSH connection no packet is common: bytes are."""

    def tick(t: int) -> int:
        return t + 3 * S + int((t - 1_795_573_000 * S) * 20e-6)

    clock, vm = rewrite(tmp_path, name, captures, tick, lambda frame: 22 not in ports(frame))
    assert clock.method == "causal bounds"
    check(clock, vm, tick, 2500)
    assert clock.drift_ppm is None or clock.drift_ppm == pytest.approx(20, abs=20)


def test_lookups_only(captures: Path, tmp_path: Path) -> None:
    def tick(t: int) -> int:
        return t - 2 * S

    clock, vm = rewrite(tmp_path, "same-nat-ip-sshuttle", captures, tick, is_dns)
    assert clock.method == "causal bounds"
    check(clock, vm, tick, 20_000)


@pytest.mark.parametrize("keep", [lambda _: True, lambda frame: 22 not in ports(frame), is_dns], ids=["all", "no-ssh", "lookups"])
def test_captures_given_the_other_way_round(keep: Callable[[bytes], bool], captures: Path, tmp_path: Path) -> None:
    """Then the offset has the other sign, and is still inside."""
    vm, host = (Recorded(captures / "same-nat-ip-sshuttle" / f"{side}.pcap.gz").only(keep) for side in ("vm", "host"))
    clock = of(host.write(tmp_path / "host.pcap"), vm.write(tmp_path / "vm.pcap", lambda t: t + 3 * S))
    assert clock.offset_s is not None
    assert clock.low_s is not None
    assert clock.high_s is not None
    assert clock.low_s <= -3 <= clock.high_s
    assert clock.high_s - clock.low_s < 0.02


def test_one_capture_given_twice(captures: Path) -> None:
    clock = of(captures / "fan-out" / "vm.pcap.gz", captures / "fan-out" / "vm.pcap.gz")
    assert clock.low_s is not None
    assert clock.high_s is not None
    assert clock.low_s <= 0 <= clock.high_s < 10e-6


def test_captures_of_different_times(captures: Path) -> None:
    clock = of(captures / "fan-out" / "vm.pcap.gz", captures / "healthy" / "host.pcap.gz")
    assert (clock.offset_s, clock.method, clock.pieces) == (None, "none", ())


def test_half_of_the_packets_are_missing(captures: Path, tmp_path: Path) -> None:
    vm, host = (Recorded(captures / "fan-out" / f"{side}.pcap.gz") for side in ("vm", "host"))
    for k, capture in enumerate((vm, host)):
        kept = np.random.default_rng(k).random(len(capture.frames)) < 0.5
        numbered = iter(kept.tolist())
        capture.only(lambda _, n=numbered: next(n))  # type: ignore[misc]
    check(of(vm.write(tmp_path / "vm.pcap"), host.write(tmp_path / "host.pcap")), vm, lambda t: t)


# -- made by hand --


def seen(packets: list[Packet], up: Callable[[Packet], bool], delay: int = 200 * US) -> tuple[list[Packet], list[Packet]]:
    """What VM and host capture of packets on their way, stamped in the middle of it."""
    vm = [Packet(p.at - delay if up(p) else p.at + delay, p.data) for p in packets]
    host = [Packet(p.at + delay if up(p) else p.at - delay, p.data) for p in packets]
    return mixed(vm), mixed(host)


def from_vm(p: Packet) -> bool:
    return p.data[12:16] == bytes([192, 168, 64, 2])


def chat(n: int = 20, client: tuple[str, int] = VM, server: tuple[str, int] = HOST, **more: int) -> Talk:
    talk = Talk(client, server, **more).open()
    for k in range(n):
        talk.up("PA", 50 + k)
        talk.down("PA", 150 + k)
    return talk


def later(packets: list[Packet], ns: int) -> list[Packet]:
    return [Packet(p.at + ns, p.data, p.iface, p.kind) for p in packets]


def files(folder: Path, vm: list[Packet], host: list[Packet], link: int = RAW) -> tuple[Path, Path]:
    return write(folder / "vm.pcap", vm, link), write(folder / "host.pcap", host, link)


def test_plain_conversation_without_addresses_or_packet_types_to_go_by(tmp_path: Path) -> None:
    vm, host = seen(chat().packets, from_vm)
    clock = of(*files(tmp_path, later(vm, 5 * S), host))
    assert (clock.low_s, clock.high_s) == pytest.approx((5 - 400e-6, 5 + 400e-6), abs=NEAR)
    assert clock.method == "ssh packets"
    assert clock.packets == 43 - 1  # the bare acknowledgment says too little without a timestamp
    assert set(clock.frames) == {"vm", "host"}
    assert all(1 <= f <= 43 for side in clock.frames.values() for f in side)
    assert "ahead of" in clock.note
    assert clock.drift_ppm is None  # 43 ms: nothing to tell
    assert "drift is unknown" in clock.note


def test_host_that_opens_the_connection_and_ipv6(tmp_path: Path) -> None:
    talk = chat(client=("2001:db8::1", 5000), server=("2001:db8::2", 22))
    vm, host = seen(talk.packets, lambda p: p.data[23] == 2)
    clock = of(*files(tmp_path, vm, later(host, 5 * S)))
    assert (clock.low_s, clock.high_s) == pytest.approx((-5 - 400e-6, -5 + 400e-6), abs=NEAR)


def test_nat_of_which_the_host_captured_the_uplink(tmp_path: Path) -> None:
    vm, host = seen(chat(server=API).packets, from_vm)
    clock = of(*files(tmp_path, vm, rewritten(host, {VM: UPLINK}, later=0)))
    assert (clock.low_s, clock.high_s) == pytest.approx((-400e-6, 400e-6), abs=NEAR)
    assert clock.method == "nat copies"


def test_copies_on_two_interfaces_bound_by_the_nearer(tmp_path: Path) -> None:
    """A routed host captures everything twice: as it comes in and as it goes out."""
    vm, host = seen(chat(server=API).packets, from_vm)
    twice = mixed(host, [Packet(p.at + (MS // 10 if from_vm(p) else -MS // 10), p.data, 2, OUTGOING) for p in host])
    clock = of(*files(tmp_path, vm, twice, SLL2))
    assert (clock.low_s, clock.high_s) == pytest.approx((-400e-6, 400e-6), abs=NEAR)


@pytest.mark.parametrize("host_opens", [False, True])
def test_a_routed_host_that_sees_each_packet_come_in_and_go_out(host_opens: bool, tmp_path: Path) -> None:
    """Both ways come in and go out there, so only times tell the way; of a capture on one side no packet says that it left."""
    vm, host = seen(chat(server=API).packets, lambda p: from_vm(p) != host_opens)

    def both(p: Packet) -> list[Packet]:
        near = 1 if from_vm(p) != host_opens else 2
        return [Packet(p.at - MS // 10, p.data, near, INCOMING), Packet(p.at + MS // 10, p.data, 3 - near, OUTGOING)]

    here, there = write(tmp_path / "vm.pcap", later(vm, 5 * S), RAW), write(tmp_path / "host.pcap", mixed(*(both(p) for p in host)), SLL2)
    clock = of(here, there)
    assert (clock.low_s, clock.high_s) == pytest.approx((5 - 300e-6, 5 + 300e-6), abs=NEAR)


def test_a_mirror_port_that_gives_each_packet_twice(tmp_path: Path) -> None:
    vm, host = seen(chat(server=API).packets, from_vm)
    clock = of(*files(tmp_path, later(vm, 5 * S), mixed(host, later(host, 5 * US))))
    assert (clock.low_s, clock.high_s) == pytest.approx((5 - 405e-6, 5 + 405e-6), abs=NEAR)


def test_retransmissions_bound_loosely_but_rightly(tmp_path: Path) -> None:
    """The VM's first sending is lost on the way, and the capture cannot tell the two apart."""
    talk = chat(4)
    lost = talk.packets[-2]
    vm, host = seen(talk.packets, from_vm)
    gone = next(p for p in host if p.data == lost.data)
    host = [p if p is not gone else Packet(p.at + 30 * MS, p.data) for p in host]
    vm = mixed(vm, [Packet(gone.at + 30 * MS - 400 * US, gone.data)])
    clock = of(*files(tmp_path, vm, mixed(host)))
    assert clock.low_s is not None
    assert clock.high_s is not None
    assert clock.low_s <= 0 <= clock.high_s
    assert clock.high_s - clock.low_s == pytest.approx(800e-6, abs=150e-6)


def test_keep_alives_that_all_look_the_same_are_not_used(tmp_path: Path) -> None:
    """The host's capture ends before the VM's begins, but for a silence in which nothing was sent: only the probes would match, and wrongly."""
    talk = chat(3)
    for _ in range(4):
        talk.wait(75 * S)
        talk.up("A", 1, seq=talk.seq - 1)
        talk.down("A")
    vm, host = seen(talk.packets, from_vm)
    clock = of(*files(tmp_path, vm[-2:], host[:-2]))
    assert clock.offset_s is None


def test_one_packet_each_way(tmp_path: Path) -> None:
    vm, host = seen(chat().packets[3:5], from_vm)
    clock = of(*files(tmp_path, later(vm, S), host))
    assert clock.low_s is not None
    assert clock.high_s is not None
    assert clock.low_s <= 1 <= clock.high_s
    assert clock.drift_ppm is None
    assert clock.packets == 2


@pytest.mark.parametrize("k", [3, 4])
def test_one_packet_bounds_on_one_side(k: int, tmp_path: Path) -> None:
    """Which way it went is told by the packet type that captures of all interfaces hold."""
    vm, host = seen(chat().packets[k : k + 1], from_vm)
    sent = from_vm(vm[0])
    vm = [Packet(p.at + 7200 * S, p.data, 1, OUTGOING if sent else INCOMING) for p in vm]
    host = [Packet(p.at, p.data, 1, INCOMING if sent else OUTGOING) for p in host]
    clock = of(*files(tmp_path, vm, host, SLL2))
    assert (clock.offset_s, clock.low_s, clock.high_s) == (None, None, None)
    assert f"only from the {'VM to the host' if sent else 'host to the VM'}" in clock.note
    assert clock.packets == 1
    # much nearer than no conversion
    at = np.array([T0 + vm[0].at])
    assert abs(int(clock.to_host(at)[0]) - T0 - host[0].at) < MS
    assert clock.uncertain_ns > 0


def test_one_packet_of_which_nothing_tells_the_way(tmp_path: Path) -> None:
    vm, host = seen(chat().packets[3:4], from_vm)
    clock = of(*files(tmp_path, vm, host))
    assert clock.offset_s is None
    assert "which way" in clock.note
    assert clock.pieces == ()


def test_loopback_of_both_machines_is_not_common(tmp_path: Path) -> None:
    inside = chat(client=("127.0.0.1", 4000), server=("127.0.0.1", 5000)).packets
    clock = of(*files(tmp_path, inside, later(inside, S)))
    assert clock.method == "none"


def test_reused_port(tmp_path: Path) -> None:
    """The host's capture holds an earlier connection of the same 5-tuple; the VM's a later one."""
    early, both, late = (chat(isn=n, answer=~n & 0xFFFFFFFF, at=n * S).close().packets for n in (1, 10, 20))
    first, second = seen(early + both, from_vm), seen(both + late, from_vm)
    clock = of(*files(tmp_path, second[0], first[1]))
    assert (clock.low_s, clock.high_s) == pytest.approx((-400e-6, 400e-6), abs=NEAR)


def test_handshake_older_than_the_capture(tmp_path: Path) -> None:
    vm, host = seen(chat(30).packets[9:], from_vm)
    clock = of(*files(tmp_path, vm[4:], host))
    assert (clock.low_s, clock.high_s) == pytest.approx((-400e-6, 400e-6), abs=NEAR)


def test_rotated_files(tmp_path: Path) -> None:
    vm, host = seen(chat(100).packets, from_vm)
    parts = [write(tmp_path / f"{k}.pcap", vm[k : k + 50], RAW) for k in range(0, len(vm), 50)]
    whole = write(tmp_path / "host.pcap", host, RAW)
    clock = estimate(netlens.read(parts), netlens.read(whole))
    assert (clock.low_s, clock.high_s) == pytest.approx((-400e-6, 400e-6), abs=NEAR)
    assert clock.packets == 202


@pytest.mark.parametrize("empty", ["vm", "host", "both"])
def test_empty_captures(empty: str, tmp_path: Path) -> None:
    packets = {side: [] if empty in (side, "both") else chat().packets for side in ("vm", "host")}
    clock = of(*files(tmp_path, packets["vm"], packets["host"]))
    assert clock.method == "none"
    assert "empty" in clock.note


def test_only_udp(tmp_path: Path) -> None:
    packets = [Packet(k * MS, datagram(VM, API, b"x" * k)) for k in range(10)]
    assert of(*files(tmp_path, packets, packets)).method == "none"


def query(txid: int, up: bool, name: bytes = b"\x03api\x01z\x02ai\x00") -> bytes:
    flags = (0x0100, 1, 0) if up else (0x8180, 1, 1)
    answer = b"" if up else struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + bytes([203, 0, 113, 10])
    return struct.pack(">HHHHHH", txid, *flags, 0, 0) + name + struct.pack(">HH", 1, 1) + answer


def lookup(txid: int, at: int, client: tuple[str, int], took: int) -> list[Packet]:
    server = ("203.0.113.53", 53)
    return [Packet(at, datagram(client, server, query(txid, True))), Packet(at + took, datagram(server, client, query(txid, False)))]


def test_lookups_that_agree_by_chance_are_left_out(tmp_path: Path) -> None:
    vm = [p for k in range(6) for p in lookup(100 + k, k * S, (VM[0], 5000 + k), 10 * MS)]
    host = [p for k in range(6) for p in lookup(100 + k + (40 if k == 4 else 0), k * S + 4 * MS, ("203.0.113.1", 6000 + k), 2 * MS)]
    host += lookup(104, 55 * S, ("203.0.113.1", 7000), MS)  # the host's own, with the number of the VM's fifth
    clock = of(*files(tmp_path, vm, mixed(host)))
    assert clock.method == "causal bounds"
    assert clock.packets == 10
    assert (clock.low_s, clock.high_s) == pytest.approx((-4e-3, 4e-3), abs=100e-6)


def test_a_single_match_among_many_lookups_proves_nothing(tmp_path: Path) -> None:
    vm = [p for k in range(10) for p in lookup(100 + k, k * S, (VM[0], 5000 + k), 10 * MS)]
    host = [p for k in range(10) for p in lookup(109 + k, k * S, ("203.0.113.1", 6000 + k), 2 * MS)]
    assert of(*files(tmp_path, vm, host)).method == "none"


def test_files_that_are_gone_or_were_pipes(tmp_path: Path) -> None:
    vm, host = (netlens.read(p) for p in files(tmp_path, *seen(chat().packets, from_vm)))
    assert len(vm.sessions) == len(host.sessions) == 1
    (tmp_path / "vm.pcap").unlink()
    clock = estimate(vm, host)
    assert clock.method == "none"
    assert "cannot be read again" in clock.note


def test_captures_from_a_pipe_that_were_read_with_single_segments(tmp_path: Path) -> None:
    """Nothing has to be read a second time then."""
    paths = files(tmp_path, *seen(chat().packets, from_vm))
    vm, host = (Capture([p], trail=True) for p in paths)
    expected = estimate(vm, host)
    assert expected.packets
    vm, host = (Capture([p], trail=True) for p in paths)
    assert len(vm.sessions) == len(host.sessions) == 1
    for path in paths:
        path.unlink()
    assert estimate(vm, host).to_dict() == expected.to_dict()


def test_more_segments_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are read again then, so that the clock is known to their end."""
    paths = files(tmp_path, *seen(chat(5000).packets, from_vm))
    expected = estimate(*(Capture([p], trail=True) for p in paths))
    monkeypatch.setattr("netlens.parsers.trail.MAX_SEGMENTS", 10)
    captures = [Capture([p], trail=True) for p in paths]
    assert all(c.trail is not None and c.trail.left_out for c in captures)
    assert estimate(*captures).to_dict() == expected.to_dict()


@pytest.mark.skipif(sys.platform != "linux", reason="no process is forked elsewhere")
@pytest.mark.parametrize("dies", [False, True])
def test_large_captures_are_compared_by_another_process(dies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by this one, should it end without a word."""
    captures = [Capture([p], trail=True) for p in files(tmp_path, *seen(chat().packets, from_vm))]
    expected = estimate(*captures)
    here, asked = os.getpid(), []

    def counted(*both: Capture) -> Clock:
        if os.getpid() != here and dies:
            os._exit(9)
        asked.append(os.getpid())
        return estimate(*both)

    monkeypatch.setattr("netlens.chains.clock.MANY", 0)
    monkeypatch.setattr("netlens.chains.clock.estimate", counted)
    monkeypatch.setattr("netlens.threads.cores", lambda: 2)
    told = ahead(*captures)
    assert told().to_dict() == expected.to_dict()
    assert asked == ([here] if dies else [])


def test_bounds_that_describe_no_clock(tmp_path: Path) -> None:
    """Times at random: the interval is empty, and that is said."""
    talk = chat(200)
    rng = np.random.default_rng(1)
    vm, host = ([Packet(int(rng.integers(0, 100 * S)), p.data) for p in talk.packets] for _ in range(2))
    vm = sorted(vm, key=lambda p: talk.packets.index(next(q for q in talk.packets if q.data == p.data)))
    clock = of(*files(tmp_path, vm, host))
    assert clock.offset_s is None
    assert "No clock offset agrees with all" in clock.note
    assert clock.uncertain_ns > S


def test_dict_and_identity() -> None:
    clock = identity("Only one capture was given.")
    said: dict[str, Any] = clock.to_dict()
    assert list(said) == ["offset_s", "low_s", "high_s", "drift_ppm", "method", "packets", "steps", "frames", "note"]
    assert said["method"] == "none"
    times = np.array([1, T0])
    assert clock.to_host(times).tolist() == times.tolist()
    assert clock.uncertain_ns == 0


def test_steps_are_in_the_dict(captures: Path, tmp_path: Path) -> None:
    middle = Recorded(captures / "zombie-sshuttle" / "vm.pcap.gz").times[900]
    clock, _ = rewrite(tmp_path, "zombie-sshuttle", captures, lambda t: t + (S if t >= middle else 0))
    (step,) = clock.to_dict()["steps"]
    assert list(step) == ["at_ns", "size_s", "low_s", "high_s"]
    assert step["size_s"] == pytest.approx(1, abs=1e-4)
