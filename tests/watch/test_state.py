"""The live state against the tables: bundled recordings, made ones, and what is forgotten on the way."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from netlens.chains import inputs
from netlens.watch import state
from netlens.watch.groups import ALL
from netlens.watch.peaks import SECOND
from netlens.watch.state import Watched
from netlens.watch.view import view_of
from tests.conftest import ROOT
from tests.watch.helpers import by_target, found_by_analyze, play

if TYPE_CHECKING:
    from netlens.watch.refusals import Refusal

#: In which the VM asks a relay by its address, in clear text: nothing in its capture names the API.
IN_CLEAR = {"own-concurrency-haproxy", "zombie-haproxy"}
RECORDINGS = sorted(p.name for p in (ROOT / "captures").iterdir() if p.is_dir() and p.name not in IN_CLEAR)


@pytest.mark.parametrize("name", RECORDINGS)
def test_peaks_are_those_of_analyze(captures: Path, name: str) -> None:
    given = inputs.from_folder(str(captures / name))
    wanted = found_by_analyze(captures / name)
    for side, files in given.captures.items():
        watched = Watched(side, given.apis)
        end = play(watched, files)
        seen = view_of(watched, end).all
        # nothing of these recordings is silent to its end without being closed, so the running peak is the same
        assert watched.exact()[ALL] == (seen.connections.peak, seen.requests.peak), side
        # turns of HTTP/2 are what can be followed live; an analysis has the sizes of records to tell requests from each other
        compared = slice(1 if name.startswith("http2") else 2)
        assert watched.exact()[ALL][compared] == wanted[side][compared], side


@pytest.mark.parametrize("name", ["two-causes", "same-nat-ip-nat", "fan-out", "zombie-sshuttle"])
@pytest.mark.parametrize("step_s", [0.05, 7.0])
def test_ticks_of_any_length(captures: Path, name: str, step_s: float) -> None:
    given = inputs.from_folder(str(captures / name))
    wanted = found_by_analyze(captures / name)
    for side, files in given.captures.items():
        watched = Watched(side, given.apis)
        play(watched, files, int(step_s * SECOND))
        assert watched.exact()[ALL] == wanted[side], side


@pytest.mark.parametrize("name", RECORDINGS[::3])
def test_forgetting_changes_no_number(captures: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "GRACE_NS", 12 * SECOND)
    monkeypatch.setattr(state, "SYN_GRACE_NS", 15 * SECOND)
    monkeypatch.setattr(state, "LEAST_FORGOTTEN", 1)
    given = inputs.from_folder(str(captures / name))
    wanted = found_by_analyze(captures / name)
    for side, files in given.captures.items():
        watched = Watched(side, given.apis)
        watched.ended_connections.max_rows = watched.ended_requests.max_rows = 2
        end = play(watched, files)
        assert watched.exact()[ALL] == wanted[side], side
        seen = view_of(watched, end).all
        assert (seen.connections.peak, seen.requests.peak) == wanted[side], side
        assert watched.forgotten + watched.table.n > 0


def test_something_is_forgotten_in_these_recordings(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "GRACE_NS", 12 * SECOND)
    monkeypatch.setattr(state, "LEAST_FORGOTTEN", 1)
    watched = Watched("host", ("api.z.ai",))
    play(watched, [captures / "fan-out" / "host.pcap.gz"])
    assert watched.forgotten > 20
    assert len(watched.part.fold.state()) == watched.table.n


def test_targets_without_a_named_api(captures: Path) -> None:
    path = captures / "same-nat-ip-nat" / "host.pcap.gz"
    watched = Watched("host")
    play(watched, [path])
    wanted = {name: count for name, count in by_target([path]).items() if not name.endswith((":22", ":53"))}
    assert {name[1]: counts[0] for name, counts in watched.exact().items() if name[0] == "target"} == wanted


def test_sides_of_the_host(captures: Path) -> None:
    watched = Watched("host", ("api.z.ai",))
    end = play(watched, [captures / "same-nat-ip-nat" / "host.pcap.gz"])
    assert {line.side: line.connections.peak for line in view_of(watched, end).lines} == {"host": 2, "vm": 2}
    watched = Watched("host", ("api.z.ai",))
    end = play(watched, [captures / "fan-out" / "host.pcap.gz"])
    assert {line.side: line.connections.peak for line in view_of(watched, end).lines} == {"host?": 6, "vm": 2}  # a tunnel is up


def test_the_vantage_is_inferred(captures: Path) -> None:
    for side in ("vm", "host"):
        watched = Watched(None, ("api.z.ai",))
        play(watched, [captures / "same-nat-ip-sshuttle" / f"{side}.pcap.gz"])
        assert watched.table.vantage == side


def test_tails_while_they_last(captures: Path) -> None:
    watched = Watched("host", ("api.z.ai",))
    seen = []

    class Spy(Watched):
        def tick(self, now_ns: int) -> list[Refusal]:
            found = super().tick(now_ns)
            seen.extend((tail.client, tail.last_ns - tail.since_ns) for tail in view_of(self, now_ns).tails)
            return found

    watched = Spy("host", ("api.z.ai",))
    end = play(watched, [captures / "zombie-sshuttle" / "host.pcap.gz"])
    assert view_of(watched, end).tails_seen == 4
    assert len({client for client, _ in seen}) == 3  # the fourth had closed when the second was over
    assert max(length for _, length in seen) > 2 * SECOND


def test_http2_is_told(captures: Path) -> None:
    watched = Watched("vm", ("api.z.ai",))
    end = play(watched, [captures / "http2" / "vm.pcap.gz"])
    assert [line.http2 for line in view_of(watched, end).lines] == [True]


def test_refusals_that_the_traffic_shows(captures: Path) -> None:
    found: list[Refusal] = []
    play(Watched("host", ("api.z.ai",)), [captures / "same-nat-ip-nat" / "host.pcap.gz"], refusals=found)
    assert len(found) == 13  # what the provider's own journal says
    assert {r.source for r in found} == {"inferred"}
    found.clear()
    play(Watched("vm", ("api.z.ai",)), [captures / "healthy" / "vm.pcap.gz"], refusals=found)
    assert found == []


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    """More open connections than are kept: the longest silent are forgotten, and it goes on."""
    path = tmp_path / "flood.pcap"
    _write_flood(path, 9000)
    watched = Watched(None, (), max_sessions=2000)
    end = play(watched, [path])
    assert watched.table.n <= 2000 + 1000
    assert watched.forgotten >= 6000
    assert view_of(watched, end).all.connections.now > 0


def _write_flood(path: Path, count: int) -> None:
    """SYN, SYN+ACK and ACK of ``count`` connections to one server, 1,000 a second, none of which closes."""
    import struct

    pick = random.Random(1)
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
    for i in range(count):
        client, isn, answer = 0x0A000000 + i // 50000, pick.getrandbits(31) | 1 << 20, pick.getrandbits(31) | 1 << 20
        port, server = 1024 + i % 50000, 0xCB00710A
        for k, (src, dst, sp, dp, seq, ack, flags) in enumerate(
            (
                (client, server, port, 443, isn, 0, 2),
                (server, client, 443, port, answer, isn + 1, 18),
                (client, server, port, 443, isn + 1, answer + 1, 16),
            )
        ):
            ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst)
            tcp = struct.pack(">HHIIBBHHH", sp, dp, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0)
            out += struct.pack("<IIII", 1_700_000_000 + i // 1000, i % 1000 * 1000 + k, 40, 40) + ip + tcp
    path.write_bytes(out)


def test_silent_connections_cost_nothing_anew(tmp_path: Path) -> None:
    """Only what changed is looked at: a tick over many silent connections brings none of them up to date."""
    path = tmp_path / "many.pcap"
    _write_flood(path, 3000)
    watched = Watched(None)
    end = play(watched, [path])
    described: list[int] = []
    table_describe = watched.table._describe
    watched.table._describe = lambda s, heads: (described.append(len(heads)), table_describe(s, heads))[1]  # type: ignore[method-assign]
    for i in range(1, 4):
        watched.tick(end + i * SECOND)
    assert described == []
    assert view_of(watched, end + 3 * SECOND).all.connections.now == 3000


def test_renumbering_keeps_rows_together(captures: Path) -> None:
    """Sessions of one connection are kept or forgotten together, and references follow."""
    from netlens.parsers import session_state as s_
    from netlens.watch import connection_table as conn

    watched = Watched("vm", ("api.z.ai",))
    play(watched, [captures / "same-nat-ip-sshuttle" / "vm.pcap.gz"])
    table = watched.table
    before = {int(watched.part.fold.sessions[k, s_.FIRST_FRAME]) for k in table.heads()}
    gone = table.heads()[::2]
    lost = {int(watched.part.fold.sessions[k, s_.FIRST_FRAME]) for k in gone}
    watched._drop(gone)
    t = table.columns[:, : table.n]
    assert {int(watched.part.fold.sessions[k, s_.FIRST_FRAME]) for k in table.heads()} == before - lost
    pair = t[conn.PAIR]
    paired = np.flatnonzero(pair >= 0)
    assert (pair[pair[paired]] == paired).all()
    mate = watched.part.fold.state()[paired, s_.MATE]
    assert (mate == pair[paired]).all()
    assert (t[conn.HEAD] < table.n).all()
