"""Two captures and what lies beside them become one situation: whose, when done, which label, and what was given in the wrong place."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import netlens
from netlens.chains import origins
from netlens.chains.inputs import Beside
from netlens.chains.linking import link
from netlens.chains.parties import parties
from netlens.chains.requests import UPSTREAM
from netlens.chains.situation import HOST, LOOKUPS, REJECTED, REQUESTS, UNKNOWN, UNLABELLED, VM, Underway
from netlens.chains.traffic import _side_by_side, rebuild
from netlens.errors import NetlensError
from netlens.lenses.refused.counting import Rule, others
from netlens.lenses.refused.deciding import unknown_sides
from netlens.lenses.refused.labels import labelled
from netlens.lenses.refused.labels.error_log import MAX_UNMATCHED
from netlens.parsers import errorlog
from netlens.report import answer
from tests.bench.two_sides import generate
from tests.lenses.refused.made import situation
from tests.parsers.build import Packet, datagram, write
from tests.parsers.test_pipeline import ACK, FIN, PSH, SYN, pcap, segment
from tests.recordings import FOLDER, copy, expected, with_keys

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.chains.side import Side

S = 1_000_000_000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording whose truth is known: 60 connections through sshuttle."""
    folder = tmp_path_factory.mktemp("sshuttle")
    generate(folder, connections=60, limit=4)
    return folder


@pytest.fixture(scope="module")
def pair_nat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nat")
    generate(folder, connections=60, limit=4, path="nat")
    return folder


def truth(folder: Path) -> dict[str, int]:
    made: dict[str, int] = json.loads((folder / "truth.json").read_text())
    return made


def records(path: Path) -> tuple[bytes, list[bytes]]:
    """Header and records of a little-endian pcap."""
    data = path.read_bytes()
    out, at = [], 24
    while at < len(data):
        size = 16 + int(struct.unpack_from("<I", data, at + 8)[0])
        out.append(data[at : at + size])
        at += size
    return data[:24], out


def cut_down(path: Path, to: Path, keep: slice | None = None, without: tuple[int, ...] = (), shift_s: int = 0) -> str:
    """A copy of a capture with some frames (``without``: numbers from 1), at another time."""
    header, all_of_them = records(path)
    chosen = [r for k, r in enumerate(all_of_them, 1) if k not in without]
    chosen = chosen[keep] if keep is not None else chosen
    moved = [struct.pack("<I", struct.unpack_from("<I", r)[0] + shift_s) + r[4:] for r in chosen]
    to.write_bytes(header + b"".join(moved))
    return str(to)


def analyzed(folder: Path, **changes: str | None) -> Analysis:
    given: dict[str, str | None] = {
        "vm": str(folder / "vm.pcap"),
        "host": str(folder / "host.pcap"),
        "vm_errors": str(folder / "vm-errors.log"),
        "host_errors": str(folder / "host-errors.log"),
        **changes,
    }
    return netlens.analyze(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


# --- both sides ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pair", "pair_nat"])
def test_every_request_once_with_its_side_label_and_mate(path: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(path)
    found, told = analyzed(folder), truth(folder)
    made = found.assembled
    r = made.situation.requests
    assert len(r) == told["requests"]
    known = r.rejected != UNLABELLED
    assert int((r.rejected == REJECTED).sum()) == told["refused"]
    assert known.mean() > 0.9
    assert set(np.unique(r.side).tolist()) == {VM, HOST}
    assert int((made.situation.sessions.kind == REQUESTS).sum()) == told["to_the_api"]
    assert ((r.vm_frame > 0) == (r.side == VM)).all()
    assert (r.host_frame > 0).all()
    assert (np.diff(r.start_ns) >= 0).all()
    assert made.unmatched == []
    assert found.cause == ("own-concurrency" if told["alone"] > told["refused"] / 2 else "same-nat-ip")
    assert found.limit is not None
    assert found.limit.value == told["limit"]


@pytest.mark.parametrize("path", ["pair", "pair_nat"])
def test_a_request_starts_before_it_is_done_and_is_done_before_its_place_is_free(path: str, request: pytest.FixtureRequest) -> None:
    made = analyzed(request.getfixturevalue(path)).assembled
    r, s = made.situation.requests, made.situation.sessions
    for table in (r, s):
        assert (table.start_ns <= table.done_ns).all()
        assert (table.done_ns <= table.end_ns).all()
    assert (s.start_ns[r.session] <= r.start_ns).all()
    assert ((r.end_ns - r.done_ns) < 0.05 * S).all()  # here programs read to the end


def test_done_is_when_the_program_broke_off_not_when_the_provider_noticed() -> None:
    made = netlens.analyze(FOLDER / "zombie-sshuttle").assembled.situation.requests
    assert ((made.end_ns - made.done_ns) > S).sum() >= 5
    direct = netlens.analyze(FOLDER / "zombie-direct").assembled.situation.requests
    assert ((direct.end_ns - direct.done_ns) > S).sum() == 0


def test_where_counts_differ_each_request_still_finds_its_own(pair: Path, tmp_path: Path) -> None:
    whole = analyzed(pair).assembled.situation.requests
    vm = np.flatnonzero(whole.side == VM)
    sessions, counts = np.unique(whole.session[vm], return_counts=True)
    mine = vm[whole.session[vm] == sessions[counts.argmax()]]
    assert len(mine) >= 3
    lost = int(whole.vm_frame[mine[1]])  # the second request of a connection was not captured on the VM
    found = analyzed(pair, vm=cut_down(pair / "vm.pcap", tmp_path / "vm.pcap", without=(lost,))).assembled.situation.requests
    before = dict(zip(whole.host_frame.tolist(), whole.vm_frame.tolist(), strict=True))
    after = {h: v + (v >= lost) for h, v in zip(found.host_frame.tolist(), found.vm_frame.tolist(), strict=True) if v}
    assert int(whole.host_frame[mine[1]]) not in after
    assert all(before[h] == v for h, v in after.items())
    assert len(after) == sum(v > 0 for v in before.values()) - 1


def test_sessions_that_are_open_at_the_end_are_held_until_then(pair: Path, tmp_path: Path) -> None:
    frames = truth(pair)["frames"]["host"]  # type: ignore[index]
    found = analyzed(pair, host=cut_down(pair / "host.pcap", tmp_path / "host.pcap", keep=slice(0, frames // 2))).assembled
    s, r = found.situation.sessions, found.situation.requests
    end = found.sides["host"].capture.part.bounds_ns[1]
    assert (s.end_ns <= max(end, int(s.start_ns.max()) + 1)).all()
    still = s.end_ns == end
    assert still.sum() >= 2
    assert (r.end_ns <= end)[~r.outside].all()
    assert found.situation.capture_ns[1] <= end


@pytest.mark.parametrize(
    ("apart_s", "session", "sent", "told"), [(1.0, 1, 500, True), (1.0, 0, 500, False), (3.0, 1, 500, False), (1.0, 1, 40, False)]
)
def test_requests_side_by_side_on_several_connections_are_turns_of_http1(apart_s: float, session: int, sent: int, told: bool) -> None:
    rows = [("vm", k % 2 * session, apart_s * k, apart_s * k + 2.0, 0) for k in range(8)]
    made = situation(rows).requests
    assert _side_by_side(replace(made, sent_bytes=np.full(len(made), sent))) is told


def test_a_side_of_which_nothing_was_side_by_side_leaves_the_protocol_open() -> None:
    rows = [("vm", k % 2, 1.0 * k, 1.0 * k + 2.0, 0) for k in range(8)] + [("host", 2, 20.0 + 3 * k, 21.0 + 3 * k, 0) for k in range(8)]
    made = situation(rows).requests
    sized = replace(made, sent_bytes=np.full(len(made), 500))
    assert not _side_by_side(sized)
    assert _side_by_side(sized.take(sized.side == VM))
    assert not _side_by_side(sized.take(slice(0)))


def test_lookups_over_tcp_to_the_apis_own_address_are_no_requests(tmp_path: Path) -> None:
    packets = [
        *talk(4000, 443, 0, b"GET / HTTP/1.1\r\n\r\n"),
        *talk(4001, 53, 10, b"\0\x1c\x12\x34\x01\0\0\1\0\0\0\0\0\0\1a\2zz\0\0\1\0\1"),
    ]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(sorted(packets)))
    made = netlens.analyze(str(path), apis="203.0.113.9").assembled.situation
    assert sorted(made.sessions.kind.tolist()) == [REQUESTS, LOOKUPS]
    assert len(made.requests) == 1


def talk(port: int, to: int, at_ms: int, data: bytes) -> list[tuple[int, bytes]]:
    """(us, packet): a session with one request and one answer."""
    client, server = ("198.51.100.7", port), ("203.0.113.9", to)
    asked, told = 1 + len(data), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if to == 443 else data
    steps = [
        (client, server, SYN, 0, 0, b""),
        (server, client, SYN | ACK, 0, 1, b""),
        (client, server, ACK, 1, 1, b""),
        (client, server, PSH | ACK, 1, 1, data),
        (server, client, PSH | ACK, 1, asked, told),
        (client, server, FIN | ACK, asked, 1 + len(told), b""),
        (server, client, FIN | ACK, 1 + len(told), asked + 1, b""),
    ]
    isn = {client: 700_000, server: 1_400_000}
    return [
        ((at_ms + k) * 1000, segment(*a, *b, flags, isn[a] + seq, isn[b] + ack if flags & ACK else 0, payload))
        for k, (a, b, flags, seq, ack, payload) in enumerate(steps)
    ]


def test_lookups_over_tcp_count_as_such() -> None:
    made = netlens.analyze(FOLDER / "dns-over-tcp").assembled.situation
    assert (made.sessions.kind == LOOKUPS).sum() > 10
    assert not (made.sessions.kind[made.requests.session] == LOOKUPS).any()


# --- one side -----------------------------------------------------------------------------------------------------------------------------------


def test_one_side_says_what_it_sees(pair: Path) -> None:
    vm = netlens.analyze(vm=str(pair / "vm.pcap")).assembled.situation
    assert (vm.vm_seen, vm.host_seen, vm.egress_seen) == (True, False, False)
    assert set(vm.requests.side.tolist()) == {VM}
    assert (vm.requests.host_frame == 0).all()
    host = netlens.analyze(host=str(pair / "host.pcap")).assembled.situation
    assert (host.vm_seen, host.host_seen, host.egress_seen) == (False, True, True)
    assert (host.requests.vm_frame == 0).all()
    untold = netlens.analyze(str(pair / "vm.pcap")).assembled.situation
    assert (untold.vm_seen, untold.host_seen) == (True, False)  # redirect halves tell


def test_what_cannot_be_told_apart_is_unknown(tmp_path: Path) -> None:
    # one session of the host's capture: neither forwarded for certain nor surely its own
    path = tmp_path / "host.pcap"
    path.write_bytes(pcap(sorted(talk(4000, 443, 0, b"GET / HTTP/1.1\r\n\r\n"))))
    made = netlens.analyze(host=str(path)).assembled.situation
    assert set(made.requests.side.tolist()) <= {UNKNOWN, HOST}


# --- labels -------------------------------------------------------------------------------------------------------------------------------------


def test_each_sides_log_labels_its_own_requests_only(pair: Path) -> None:
    r = analyzed(pair, host_errors=None).assembled.situation.requests
    assert set(r.source[(r.side == HOST) & (r.rejected != UNLABELLED)].tolist()) <= {"inferred"}
    assert "error log" in r.source[r.side == VM].tolist()
    r = analyzed(pair, vm_errors=None).assembled.situation.requests
    assert set(r.source[(r.side == VM) & (r.rejected != UNLABELLED)].tolist()) <= {"inferred"}
    assert "error log" in r.source[r.side == HOST].tolist()


def begun_later(pair: Path, share: float, to: Path) -> Analysis:
    """What is found where the host's capture begins when so much of it is over, and the logs and the VM's capture are whole."""
    for name in ("vm.pcap", "vm-errors.log", "host-errors.log"):
        shutil.copy(pair / name, to / name)
    header, frames = records(pair / "host.pcap")
    (to / "host.pcap").write_bytes(header + b"".join(frames[int(share * len(frames)) :]))
    return netlens.analyze(to)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_host_that_is_captured_later_shows_whose_older_connections_are(pair: Path, share: float, tmp_path: Path) -> None:
    def ends(up: Side) -> list[tuple[Any, ...]]:
        return list(zip(*(up.connections[name].tolist() for name in ("orig_ip", "orig_port", "resp_ip")), strict=True))

    whole = analyzed(pair).assembled
    whose = dict(zip(ends(whole.upstream), whole.origin.tolist(), strict=True))
    made = begun_later(pair, share, tmp_path).assembled
    assert made.pairing is not None
    old = np.flatnonzero(made.upstream.connections["started_before_capture"].astype(bool) & made.upstream.target)
    told = [row for row in old.tolist() if made.origin[row] != UNKNOWN]
    assert [int(made.origin[row]) for row in told] == [whose[ends(made.upstream)[row]] for row in told]
    assert len(told) > len(old) / 2
    assert "requests" in made.pairing.method.tolist()


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_what_the_vms_capture_alone_has_is_counted_but_no_evidence(pair: Path, share: float, tmp_path: Path) -> None:
    """The host's capture began later: of the requests before nobody knows what others had open."""
    whole, found = analyzed(pair).assembled.situation.requests, begun_later(pair, share, tmp_path)
    r, weighed = found.assembled.situation.requests, found.weighed.weighing.situation.requests
    assert found.assembled.vm is not None
    assert r.outside.any()
    assert set(r.side[r.outside].tolist()) == {VM}
    assert not r.host_frame[r.outside].any()
    assert set(r.vm_frame[r.outside].tolist()) <= set(whole.vm_frame.tolist())
    assert not (weighed.rejected[r.outside] >= 0).any()
    before, after = ((each.side == VM).sum() for each in (whole, r))
    assert abs(int(before) - int(after)) <= 1  # one that was under way
    known = {frame: label for frame, label in zip(whole.vm_frame.tolist(), whole.rejected.tolist(), strict=True) if frame}
    told = r.outside & (r.rejected != UNLABELLED)
    assert told.sum() > 0.9 * r.outside.sum()
    assert [known[frame] for frame in r.vm_frame[told].tolist()] == r.rejected[told].tolist()
    counts = found.to_dict()["counts"]
    assert (counts["exchanges"], counts["rejections"]) == (len(r), int((r.rejected == REJECTED).sum()))
    assert any("are counted, but no evidence" in note for note in found.quality["notes"])


def test_the_vms_log_tells_of_requests_that_the_hosts_capture_alone_has(pair_nat: Path, tmp_path: Path) -> None:
    """The VM's capture ended earlier, its log and the host's capture went on."""
    whole = analyzed(pair_nat).assembled.situation.requests
    for name in ("host.pcap", "vm-errors.log", "host-errors.log"):
        shutil.copy(pair_nat / name, tmp_path / name)
    header, frames = records(pair_nat / "vm.pcap")
    (tmp_path / "vm.pcap").write_bytes(header + b"".join(frames[: len(frames) // 2]))
    found = netlens.analyze(tmp_path).assembled.situation.requests
    refused, told = ((r.side == VM) & (r.rejected == REJECTED) & (r.source == "error log") for r in (whole, found))
    assert told.sum() >= 0.9 * refused.sum() > 0
    assert set(found.host_frame[told].tolist()) <= set(whole.host_frame[refused].tolist())


def test_answers_that_were_under_way_when_the_capture_began_hold_places(pair: Path, tmp_path: Path) -> None:
    later = begun_later(pair, 0.3, tmp_path)
    situation, whole = later.assembled.situation, analyzed(pair).assembled.situation.requests
    begin = later.assembled.upstream.bounds_ns[0]
    going_on = (whole.start_ns < begin) & (whole.end_ns > begin)
    assert sorted(situation.underway.end_ns.tolist()) == sorted(whole.end_ns[going_on].tolist())
    assert going_on.any()
    more, fewer = (others(each, Rule("requests", "egress")).count for each in (situation, replace(situation, underway=Underway.none())))
    early = situation.requests.start_ns < situation.underway.end_ns.min()
    assert (more[early] - fewer[early]).tolist() == [int(going_on.sum())] * int(early.sum())
    assert (more >= fewer).all()
    assert later.limit is not None
    assert later.limit.value == truth(pair)["limit"]


def test_two_servers_far_away_are_no_chain_however_alike_two_old_connections_look(pair: Path, tmp_path: Path) -> None:
    """Cut off in the midst, two connections to two servers may be left with as many bytes at the same times."""
    made = begun_later(pair, 0.6, tmp_path).assembled
    assert made.served == {}
    assert made.upstream.name == "host"
    assert made.pairing is not None


def test_a_log_of_a_further_machine_labels_that_machines_requests(pair: Path) -> None:
    whole = analyzed(pair).assembled.situation.requests
    captures = {name: netlens.Capture([str(pair / f"{name}.pcap")], trail=True) for name in ("vm", "host")}
    linked = link(captures, ("api.z.ai",))
    rows = np.flatnonzero((linked.origin == HOST) & linked.upstream.target).tolist()
    same_clock = SimpleNamespace(pieces=(0,), uncertain_ns=0, to_host=lambda ns: ns)
    logs = {"vm": errorlog.read(str(pair / "vm-errors.log")), "vm2": errorlog.read(str(pair / "host-errors.log"))}
    claimed = replace(linked, claimed=dict.fromkeys(rows, "vm2"), clocks={"vm2": same_clock})  # type: ignore[dict-item]
    made = labelled(rebuild(claimed, Beside(logs)))
    assert made.situation.requests.rejected.tolist() == whole.rejected.tolist()
    assert made.situation.requests.source.tolist() == whole.source.tolist()
    assert {party.name: party.refused for party in parties(made)}["vm2"] == int(((whole.rejected == REJECTED) & (whole.side == HOST)).sum())


def test_traffic_alone_labels_what_no_log_covers(pair: Path) -> None:
    r = analyzed(pair, vm_errors=None, host_errors=None).assembled.situation.requests
    assert set(r.source.tolist()) <= {"inferred", ""}
    assert int((r.rejected == REJECTED).sum()) == truth(pair)["refused"]


def test_lines_that_match_nothing_are_told_and_named(pair: Path, tmp_path: Path) -> None:
    log = tmp_path / "vm-errors.log"
    log.write_text(
        (pair / "vm-errors.log").read_text() + 'timestamp=2026-01-25T23:00:00.000Z level=ERROR error.error="High concurrency"\n' * 3
    )
    found = analyzed(pair, vm_errors=str(log))
    assert len(found.assembled.unmatched) == 3
    assert {u["side"] for u in found.assembled.unmatched} == {"vm"}
    assert any("3 refusals in the error log of the VM match no request in the capture" in note for note in found.quality["notes"])


def test_a_log_of_another_day_says_nothing(pair: Path, tmp_path: Path) -> None:
    log = tmp_path / "other.log"
    log.write_text((pair / "vm-errors.log").read_text().replace("2026-01-25", "2026-01-12"))
    found = analyzed(pair, vm_errors=str(log), host_errors=None)
    assert set(found.assembled.situation.requests.source.tolist()) <= {"inferred", ""}
    assert any("no refusal in the error log falls on the end of an answer" in note for note in found.quality["notes"])


def test_logs_that_were_exchanged_are_noticed_and_left_out(pair: Path) -> None:
    for name in ("same-nat-ip-sshuttle", "same-nat-ip-nat"):
        folder = FOLDER / name
        files = {"vm": str(folder / "vm.pcap.gz"), "host": str(folder / "host.pcap.gz")}
        found = netlens.analyze(**files, vm_errors=str(folder / "host-errors.log"), host_errors=str(folder / "vm-errors.log"))  # type: ignore[arg-type]
        assert any("are --vm-errors and --host-errors swapped?" in note for note in found.quality["notes"]), name
        assert found.cause in (None, "same-nat-ip"), name
    right = analyzed(pair)
    assert not any("swapped" in note for note in right.quality["notes"])


def test_a_log_that_repeats_itself_without_end_takes_no_time(pair: Path, tmp_path: Path) -> None:
    text = (pair / "vm-errors.log").read_text()
    log = tmp_path / "vm-errors.log"
    log.write_text(text * (2_000_000 // len(text)))
    found = analyzed(pair, vm_errors=str(log))
    assert len(found.assembled.unmatched) <= MAX_UNMATCHED
    assert int((found.assembled.situation.requests.rejected == REJECTED).sum()) <= truth(pair)["requests"]


# --- HTTP/2 -------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pool-lingers", "pool-lingers-excluded", "same-nat-ip-nat", "own-concurrency-idle-host"])
def test_where_the_snaplen_leaves_no_protocol_requests_are_not_counted(name: str, tmp_path: Path) -> None:
    """Two bytes of each payload: the turns of a handshake would be requests, and tickets refusals, and the provider at fault."""
    found = netlens.analyze(cut(FOLDER / name, 74, tmp_path))
    assert not [v for v in found.hypotheses if v.verdict == "supported"]
    assert not [v for v in found.hypotheses if v.verdict == "refuted" and v.id in expected(name)["causes"]]
    wanted = "captures of whole packets (tcpdump -s 0), to tell requests from handshakes: what these hold of each is too short"
    assert {v.needs for v in found.hypotheses if v.id in ("own-concurrency", "provider")} == {wanted}


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("two-causes", {"same-nat-ip", "keep-alive"}),
        ("same-nat-ip-sshuttle", {"same-nat-ip"}),
        ("own-concurrency-idle-host", {"own-concurrency"}),
    ],
)
@pytest.mark.parametrize("snaplen", [96, 82])
def test_where_the_snaplen_hides_hellos_requests_tell_whose_connections_are(
    name: str, causes: set[str], snaplen: int, tmp_path: Path
) -> None:
    found = netlens.analyze(cut(FOLDER / name, snaplen, tmp_path))
    assert {v.id for v in found.hypotheses if v.verdict == "supported"} == causes


@pytest.mark.parametrize("snaplen", [96, 82])
def test_where_the_snaplen_hides_whose_connections_are_whole_packets_are_asked_for(
    snaplen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the host's log match none of its requests, whose they are being unknown: neither clocks nor more refusals would help."""
    monkeypatch.setattr(origins._Unpaired, "cannot_be", lambda *_: False)  # nor do the requests tell
    found = netlens.analyze(cut(FOLDER / "two-causes", snaplen, tmp_path))
    said = {v.needs for v in found.hypotheses if v.id in ("same-nat-ip", "provider")}
    assert said == {"captures of whole packets (tcpdump -s 0), to tell whose the connections are"}


@pytest.mark.parametrize("name", ["same-nat-ip-bridge", "same-nat-ip-nat", "same-nat-ip-vxlan"])
def test_where_nothing_is_relayed_interfaces_tell_whose_connections_are_despite_the_snaplen(name: str, tmp_path: Path) -> None:
    found = netlens.analyze(cut(FOLDER / name, 96, tmp_path))
    unknown = {party.name: party.requests for party in found.parties}.get("unknown", 0)
    assert (found.cause, unknown <= 1) == ("same-nat-ip", True)
    assert {v.id for v in found.hypotheses if v.verdict == "supported"} == {"same-nat-ip"}


def cut(recording: Path, snaplen: int, folder: Path) -> Path:
    """Both captures with packets cut, and the logs as they are."""
    for side in ("vm", "host"):
        whole = folder / f"{side}.whole"
        whole.write_bytes(gzip.decompress((recording / f"{side}.pcap.gz").read_bytes()))
        header, frames = records(whole)
        short = [f[:8] + struct.pack("<I", min(len(f) - 16, snaplen)) + f[12 : 16 + snaplen] for f in frames]
        (folder / f"{side}.pcap").write_bytes(header + b"".join(short))
        shutil.copy(recording / f"{side}-errors.log", folder)
    return folder


def test_http2_without_a_key_log_is_counted_where_records_leave_no_doubt(tmp_path: Path) -> None:
    sent = (FOLDER / "http2/provider.jsonl").read_text().count('"event": "request"')
    found = netlens.analyze(copy("http2", tmp_path / "r", without=("provider.jsonl", "vm-keylog.txt")))
    assert found.assembled.situation.uncountable is None
    assert found.counts["exchanges"] == sent
    assert found.limit is not None
    assert (found.cause, found.limit.value) == ("own-concurrency", 2)


def test_http2_without_a_key_log_cannot_be_counted_in_doubt(tmp_path: Path) -> None:
    found = netlens.analyze(copy("http2-excluded", tmp_path / "r", without=("provider.jsonl", "vm-keylog.txt")))
    assert found.assembled.situation.uncountable is not None
    assert "TLS key log" in found.assembled.situation.uncountable
    assert found.limit is None
    assert all(v.verdict != "supported" for v in found.hypotheses)


def test_that_nothing_can_be_counted_does_not_mean_that_something_was_refused(tmp_path: Path) -> None:
    given = ("provider.jsonl", "vm-keylog.txt", "vm-errors.log", "host-errors.log")
    found = netlens.analyze(copy("http2", tmp_path / "r", without=given))
    assert found.assembled.situation.uncountable is not None
    assert not found.counts["rejections"]
    said = answer.sentence(found)
    assert "were refused" not in said
    assert said.startswith("No refusals found, but requests to api.z.ai cannot be counted without a TLS key log")


@pytest.mark.tshark
@pytest.mark.parametrize("name", ["http2", "http2-excluded"])  # the second goes through NAT: each stream is in the host's capture twice
def test_streams_of_http2_are_requests_each_once(name: str) -> None:
    events = [json.loads(line) for line in (FOLDER / name / "provider.jsonl").read_text().splitlines()]
    made = with_keys(FOLDER / name).assembled
    r = made.situation.requests
    vm = r.side == VM
    asked = sum(e["event"] == "request" and str(e.get("name", "")).startswith("vm") for e in events)
    assert made.situation.uncountable is None
    assert int(vm.sum()) == asked
    assert (r.stream[vm] >= 0).all()
    assert len(set(zip(r.session[vm].tolist(), r.stream[vm].tolist(), strict=True))) == asked
    assert (made.rows[r.stream >= 0, UPSTREAM] == -1).all()


# --- given in the wrong place -------------------------------------------------------------------------------------------------------------------


def test_the_same_capture_for_both_sides_is_refused(pair: Path) -> None:
    with pytest.raises(NetlensError, match=r"the captures of VM and host are the same \([\d,]+ frames\); give one of each side"):
        netlens.analyze(vm=str(pair / "vm.pcap"), host=str(pair / "vm.pcap"))


def test_exchanged_sides_are_noticed(pair: Path) -> None:
    found = netlens.analyze(vm=str(pair / "host.pcap"), host=str(pair / "vm.pcap"))
    assert found.quality["notes"][0] == "the capture given with --vm seems to be from the host: are --vm and --host swapped?"
    assert all(v.verdict != "supported" or v.id == "provider" for v in found.hypotheses) or found.cause is None
    assert not any("swapped" in note for note in netlens.analyze(vm=str(pair / "vm.pcap"), host=str(pair / "host.pcap")).quality["notes"])


def test_captures_of_different_times_are_told(pair: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    generate(other, connections=20, seed=7)
    late = cut_down(other / "host.pcap", tmp_path / "late.pcap", shift_s=86_400)
    found = netlens.analyze(vm=str(pair / "vm.pcap"), host=late)
    assert any(note.startswith("the captures do not overlap: the VM's ends 86,") for note in found.quality["notes"])
    assert found.cause is None
    assert unknown_sides(found.assembled.situation).startswith("captures of both sides over the same time")
    both = netlens.analyze(vm=str(pair / "vm.pcap"), host=str(pair / "host.pcap"))
    assert not unknown_sides(both.assembled.situation).startswith("captures of both")


@pytest.mark.parametrize("empty", ["vm", "host"])
def test_an_empty_side_names_no_target(empty: str, pair: Path, tmp_path: Path) -> None:
    nothing = cut_down(pair / "vm.pcap", tmp_path / "empty.pcap", keep=slice(0, 0))
    found = analyzed(pair, **{empty: nothing})
    assert found.target.names == ["api.z.ai"]
    assert all(v.verdict != "supported" for v in found.hypotheses)
    assert found.to_dict()["cause"] is None


def test_an_api_that_one_side_alone_has(pair: Path, tmp_path: Path) -> None:
    found = netlens.analyze(vm=str(pair / "vm.pcap"), host=str(pair / "host.pcap"), apis="cdn.aa.b")
    assert found.target.names == ["cdn.aa.b"]
    nothing = cut_down(pair / "vm.pcap", tmp_path / "empty.pcap", keep=slice(0, 0))
    assert netlens.analyze(vm=nothing, host=str(pair / "host.pcap"), apis="cdn.aa.b").counts["exchanges"] > 0
    with pytest.raises(
        NetlensError, match=r"^--api nowhere\.example: this capture has no connection there, only to api\.z\.ai, cdn\.aa\.b$"
    ):
        netlens.analyze(vm=str(pair / "vm.pcap"), host=str(pair / "host.pcap"), apis="nowhere.example")


def test_an_api_of_the_manifest_that_is_not_there_is_called_so(pair: Path) -> None:
    captures: dict[str | None, netlens.Capture] = {"vm": netlens.read(pair / "vm.pcap")}
    with pytest.raises(
        NetlensError, match=r"^the manifest's API other\.example: this capture has no connection there, .* --api NAME chooses another$"
    ):
        link(captures, ("other.example",), manifest=True)


def test_a_host_whose_capture_holds_no_connection(pair_nat: Path, tmp_path: Path) -> None:
    """Packets of a tunnel alone, beside one of a connection that had been open before."""
    outer = datagram(("10.8.0.2", 51_820), ("10.8.0.1", 51_820), bytes(100))
    seconds, fraction = struct.unpack_from("<II", (pair_nat / "vm.pcap").read_bytes(), 24)
    host = write(tmp_path / "host.pcap", [Packet((seconds + k) * S + fraction, outer) for k in range(3)])
    vm = cut_down(pair_nat / "vm.pcap", tmp_path / "vm.pcap", slice(60, 62))
    found = netlens.analyze(vm=vm, host=host, apis="api.z.ai")
    assert found.assembled.situation.facts["pairs"] == 0
