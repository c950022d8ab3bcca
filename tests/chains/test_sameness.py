"""Sameness: every byte that was changed, dropped or swapped between two captures is found; nothing else is."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlens
from netlens.api import read_side_by_side
from netlens.chains import sameness
from netlens.chains.linking import Linked, link
from tests.parsers.build import MS, End, Packet, S, mixed, segment, write
from tests.recordings import FOLDER
from tests.wire.test_tls import hello

if TYPE_CHECKING:
    from netlens.chains.sameness import Difference, Sameness

SERVER: End = ("203.0.113.10", 443)
VM, HOST = "192.168.64.2", "203.0.113.1"
SEED = 20_261_126
HELLO = hello(b"api.example")


@dataclass
class Wire:
    """One connection at one capture point: its streams, and how they came to be captured."""

    client: End
    isns: tuple[int, int]
    streams: tuple[bytes, bytes]  # what the client sent, what the server sent
    at: int
    fins: tuple[bool, bool] = (True, True)
    closes: int = 0  # who does so first
    lost: list[tuple[int, int]] = field(default_factory=list)  # (end, position) whose segment is not in the capture
    server: End = SERVER
    thinks: int = 0  # ns before it answers

    def packets(self, draw: random.Random) -> list[Packet]:
        """In segments of any length, some sent twice, some out of order; the other end acknowledges all."""
        out: list[Packet] = []
        now = self.at
        ends = (self.client, self.server)

        def send(end: int, flags: str, position: int, data: bytes = b"") -> None:
            nonlocal now
            now += draw.randrange(50_000, 400_000)
            ack = 0 if flags == "S" else self.isns[1 - end] + 1 + (done[1 - end] if flags != "SA" else 0)
            out.append(Packet(now, segment(ends[end], ends[1 - end], flags, self.isns[end] + position, ack, data)))

        done = [0, 0]
        send(0, "S", 0)
        send(1, "SA", 0)
        send(0, "A", 1)
        for end in (0, 1):
            now += self.thinks if end else 0
            pieces, position = [], 0
            while position < len(self.streams[end]):
                size = draw.choice((1, 17, 500, 1000, 1448, 4000))
                pieces.append((position, self.streams[end][position : position + size]))
                position += size
            for k in range(len(pieces) - 1):
                if pieces[k][0] and draw.random() < 0.1:
                    pieces[k], pieces[k + 1] = pieces[k + 1], pieces[k]
            for position, data in pieces:
                gone = position > len(HELLO) and any(e == end and position <= p < position + len(data) for e, p in self.lost)
                if not gone:
                    send(end, "PA", position + 1, data)
                    if draw.random() < 0.1:
                        send(end, "PA", position + 1, data)
                done[end] = max(done[end], position + len(data))
            send(1 - end, "A", done[1 - end] + 1)
        for end in (self.closes, 1 - self.closes):
            if self.fins[end]:
                send(end, "FA", done[end] + 1)
                done[end] += 1
        send(0, "A", done[0] + 1)
        return out


def damaged(stream: bytes, draw: random.Random, least: int) -> tuple[bytes, int]:
    """A stream with one thing changed behind ``least``, and where it first differs."""
    at = draw.randrange(least, len(stream) - 1)
    kind = draw.choice(("corrupted", "dropped", "swapped"))
    if kind == "dropped":
        out = stream[:at] + stream[at + draw.choice((1, 2, 100)) :]
    elif kind == "swapped":
        out = stream[:at] + stream[at + 1 : at + 2] + stream[at : at + 1] + stream[at + 2 :]
    else:
        out = stream[:at] + bytes([stream[at] ^ (1 << draw.randrange(8))]) + stream[at + 1 :]
    if out == stream:
        return damaged(stream, draw, least)
    return out, next((k for k, (a, b) in enumerate(zip(stream, out, strict=False)) if a != b), min(len(out), len(stream)))


def linked(folder: Path, pairs: list[tuple[Wire, Wire]], draw: random.Random, hashed: bool = True) -> Linked:
    """``hashed``: while the captures were read; else they are read again for it."""
    paths = {
        name: str(write(folder / f"{name}.pcap", mixed(*([pair[k].packets(draw) for pair in pairs]))))
        for k, name in enumerate(("vm", "host"))
    }
    captures: dict[str | None, netlens.Capture] = {name: netlens.Capture([path], trail=True) for name, path in paths.items()}
    if hashed:
        read_side_by_side(captures.values())
    assert all((each.part.hasher is not None) == hashed for each in captures.values())
    return link(captures, ("203.0.113.10",))


def pair(k: int, draw: random.Random) -> tuple[Wire, Wire]:
    """One connection on both sides of NAT, or of a relay that opens another."""
    start = k * 20 * MS
    first = HELLO[:11] + draw.randbytes(32) + HELLO[43:]  # its random: behind the headers of record and message, and the version
    streams = (first + draw.randbytes(draw.randrange(300, 6000)), b"\x16\x03\x03\x00\x7a" + draw.randbytes(draw.randrange(300, 9000)))
    isns = draw.randrange(1 << 32), draw.randrange(1 << 32)
    other = isns if k % 2 else (draw.randrange(1 << 32), draw.randrange(1 << 32))
    return Wire((VM, 1024 + k), isns, streams, start), Wire((HOST, 1024 + k), other, streams, start + MS // 2)


def lose(wire: Wire, draw: random.Random, besides: tuple[int, int] | None) -> None:
    """Sometimes, a segment is not in the capture; not the one that holds what is to be found, nor the beginning."""
    end = draw.randrange(2)
    at = draw.randrange(600, len(wire.streams[end])) if len(wire.streams[end]) > 600 else None
    if at is not None and draw.random() < 0.3 and not (besides is not None and besides[0] == end and abs(besides[1] - at) < 4200):
        wire.lost.append((end, at))


def by_port(of: Linked, found: Sameness) -> dict[int, list[Difference]]:
    out: dict[int, list[Difference]] = {}
    assert of.vm is not None
    for d in found.differences:
        out.setdefault(int(of.vm.connections["orig_port"][d.row]), []).append(d)
    return out


@pytest.mark.parametrize("hashed", [True, False])
def test_a_thousand_changes_are_found_and_what_was_only_not_captured_is_not(tmp_path: Path, hashed: bool) -> None:
    draw = random.Random(SEED)
    pairs, true = [], {}
    for k in range(1400):
        near, far = pair(k, draw)
        where = None
        if k < 1000:
            end = draw.randrange(2)
            sender, receiver = (near, far) if end == 0 else (far, near)
            changed, position = damaged(sender.streams[end], draw, 260)
            streams = list(receiver.streams)
            streams[end] = changed
            receiver.streams = (streams[0], streams[1])
            near.closes = far.closes = end
            where = end, position
            true[1024 + k] = where
        for wire in (near, far):
            lose(wire, draw, where)
        pairs.append((near, far))
    of = linked(tmp_path, pairs, draw, hashed)
    found = sameness.compare(of)
    assert found is not None
    told = by_port(of, found)
    assert set(told) == set(true)
    for port, (end, position) in true.items():
        (d,) = told[port]
        assert (d.orig, d.position) == (end == 0, position)
        assert min(d.frames) > 0
    assert found.connections == len(pairs)


def test_the_frames_that_are_named_hold_the_first_byte_that_differs(tmp_path: Path) -> None:
    draw = random.Random(1)
    near, far = pair(0, draw)
    stream = far.streams[1]
    near.streams = (near.streams[0], stream[:290] + bytes([stream[290] ^ 1]) + stream[291:])
    of = linked(tmp_path, [(near, far)], draw)
    found = sameness.compare(of)
    assert found is not None
    (d,) = found.differences
    assert d.position == 290
    for side, frame in zip((of.vm, of.upstream), d.frames, strict=True):
        assert side is not None
        assert side.capture.trail is not None
        t = side.capture.trail.segments()
        k = int((t["frame"] == frame).argmax())
        assert t["offset"][k] <= 290 < t["offset"][k] + t["length"][k]


def test_the_finding_says_where_it_begins(tmp_path: Path) -> None:
    draw = random.Random(6)
    near, far = pair(0, draw)
    near.streams = (near.streams[0], near.streams[1][:300] + bytes(200) + near.streams[1][500:])
    same = [pair(k, draw) for k in range(1, 4)]
    of = linked(tmp_path, [(near, far), *same], draw)
    captures = {name: str(side.capture.paths[0]) for name, side in of.sides.items()}
    (this,) = (f for f in netlens.analyze(**captures, apis="203.0.113.10").findings if f.id == "damaged")
    assert this.severity == "problem"
    assert (
        "1 of 4 connections did not come out as it went in: what was received from api.example:443 differs from byte 300 on (VM frame "
        in this.text
    )
    assert {side for side, _ in this.frames} == {"vm", "host"}
    for name, k in (("vm", 0), ("host", 1)):  # the same connections, undamaged
        write(Path(captures[name]), mixed(*(each[k].packets(draw) for each in same)))
    (this,) = (f for f in netlens.analyze(**captures, apis="203.0.113.10").findings if f.id == "damaged")
    assert (this.severity, this.values["connections"], this.values["damaged"]) == ("note", 3, 0)


def cut(by: int, **how: object) -> tuple[Wire, Wire]:
    """A pair whose answer lacks its end at the VM."""
    draw = random.Random(2)
    near, far = pair(0, draw)
    near.streams = (near.streams[0], near.streams[1][:-by])
    near.closes = far.closes = 1
    for name, value in how.items():
        setattr(near, name, value)
    return near, far


def test_an_answer_that_ends_early_though_both_ends_were_seen_is_damage(tmp_path: Path) -> None:
    of = linked(tmp_path, [cut(100)], random.Random(3))
    found = sameness.compare(of)
    assert found is not None
    (d,) = found.differences
    assert (d.orig, d.missing) == (False, 100)


def test_an_answer_whose_end_was_not_captured_or_not_waited_for_is_none(tmp_path: Path) -> None:
    for k, how in enumerate(({"fins": (True, False)}, {"fins": (False, False)}, {"closes": 0})):
        (tmp_path / str(k)).mkdir()
        found = sameness.compare(linked(tmp_path / str(k), [cut(100, **how)], random.Random(3)))
        assert found is not None
        assert not found.differences
        assert found.connections == 1


def test_what_a_checksum_failed_for_and_was_sent_again_is_no_damage(tmp_path: Path) -> None:
    draw = random.Random(4)
    near, far = pair(1, draw)
    packets = near.packets(draw)
    at = max(range(len(packets)), key=lambda k: len(packets[k].data))
    bad = packets[at].data[:-1] + bytes([packets[at].data[-1] ^ 0xFF])
    packets.insert(at, Packet(packets[at].at - 1000, bad))
    vm = write(tmp_path / "vm.pcap", mixed(packets))
    host = write(tmp_path / "host.pcap", mixed(far.packets(draw)))
    of = link({"vm": netlens.api.Capture([vm], trail=True), "host": netlens.api.Capture([host], trail=True)}, ("203.0.113.10",))
    found = sameness.compare(of)
    assert found is not None
    assert not found.differences
    assert found.connections == 1


def through_relay(folder: Path, answers: list[tuple[bytes, bytes]], asks: tuple[bytes, bytes] = (b"", b"")) -> Sameness:
    """A program's requests in the clear to a relay on the host, and the relay's own: answers as the program got them and as the server gave them."""
    draw, near, far = random.Random(7), [], []
    for k, pair_of in enumerate(answers):
        sent = [b"GET /%d HTTP/1.1\r\nHost: api.example\r\nAccept: */*\r\n%s\r\n" % (k, more) for more in asks]
        got = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in pair_of]
        isns = [(draw.randrange(1 << 20, 1 << 32), draw.randrange(1 << 20, 1 << 32)) for _ in range(2)]
        at = k * 400 * MS
        near.append(Wire((VM, 2000 + k), isns[0], (sent[0], got[0]), at, server=("192.168.64.1", 8080), thinks=150 * MS))
        far.append(Wire((HOST, 3000 + k), isns[1], (sent[1], got[1]), at + 10 * MS, server=(SERVER[0], 80), thinks=50 * MS))
    legs = [wire.packets(draw) for wire in near]
    own = [wire.packets(draw) for wire in far]
    captures: dict[str | None, netlens.Capture] = {
        "vm": netlens.Capture([str(write(folder / "vm.pcap", mixed(*legs)))], trail=True),
        "host": netlens.Capture([str(write(folder / "host.pcap", mixed(*legs, *own)))], trail=True),
    }
    read_side_by_side(captures.values())
    found = sameness.compare(link(captures, (SERVER[0],)))
    assert found is not None
    return found


def test_what_a_relay_passes_on_is_compared_on_both_of_its_connections(tmp_path: Path) -> None:
    """Five answers come out as they went in, one differs by a bit."""
    bodies = [random.Random(k).randbytes(9000) for k in range(6)]
    found = through_relay(tmp_path, [(body, body) for body in bodies])
    assert (found.differences, found.connections, found.through_relay, found.to_relay) == ([], 6, 6, 0)
    changed = bodies[3][:4000] + bytes([bodies[3][4000] ^ 4]) + bodies[3][4001:]
    found = through_relay(tmp_path, [(changed if k == 3 else body, body) for k, body in enumerate(bodies)])
    (d,) = found.differences
    assert (d.row, d.orig, d.relayed, d.position) == (3, False, True, 4000 + len(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"))
    assert min(d.frames) > 0


@pytest.mark.parametrize("writes", ["requests", "answers", "longer answers"])
def test_a_relay_that_writes_anew_damages_nothing(tmp_path: Path, writes: str) -> None:
    """It adds a field to each request, or changes what is in all answers: then only what goes to it was compared, which is said."""
    bodies = [random.Random(k).randbytes(9000) for k in range(6)]
    other = {
        "requests": lambda body: body,
        "answers": lambda body: body[:-4] + b"miss",
        "longer answers": lambda body: body + b"<!-- seen -->",
    }
    found = through_relay(
        tmp_path, [(other[writes](body), body) for body in bodies], (b"", b"Via: 1.1 relay\r\n" if writes == "requests" else b"")
    )
    assert (found.differences, found.connections, found.through_relay, found.to_relay) == ([], 6, 0, 6)


@pytest.mark.parametrize("name", ["healthy", "same-nat-ip-nat", "dns-over-tcp", "older-tunnel", "zombie-sshuttle", "same-nat-ip-vxlan"])
def test_the_laboratory_s_tunnels_damage_nothing(name: str) -> None:
    captures = {side: netlens.api.Capture([FOLDER / name / f"{side}.pcap.gz"], trail=True) for side in ("vm", "host")}
    read_side_by_side(captures.values())
    found = sameness.compare(link(captures, ("203.0.113.10",)))
    assert found is not None
    assert found.differences == []
    assert found.connections > 2
    assert found.bytes > 50_000


def test_a_capture_that_is_no_file_is_not_compared(tmp_path: Path) -> None:
    of = linked(tmp_path, [pair(0, random.Random(5))], random.Random(5))
    Path(of.sides["vm"].capture.paths[0]).unlink()
    assert sameness.compare(of) is None
    assert S > 0
