"""Extracts: the frames of a session and no others, byte for byte, with their times; what is read from them is what was read from the whole."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.errors import CaptureError, NetlensError
from netlens.report import extract, findings
from netlens.text import display_filter, duration
from tests.lenses.made import S, close, exchange, healthy, ping, talk
from tests.lenses.test_lenses import lookups
from tests.parsers.build import mixed, write
from tests.parsers.test_pipeline import conversation, segment
from tests.parsers.test_pipeline import pcap as micro_pcap
from tests.wire import helpers

#: Facts of a connection that do not rest on other traffic.
OWN = (
    "orig_ip", "orig_port", "resp_ip", "resp_port", "sni", "start_ns", "end_ns", "duration_s", "state", "orig_bytes", "resp_bytes",
    "started_before_capture", "open_at_end", "redirect_port", "nat_ip", "nat_port",
)  # fmt: skip
NUMBERS = ("session_id", "first_frame", "last_frame")  #: what an extract counts anew


def run(*args: str, data: bytes | None = None, **more: Any) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "netlens", "extract", *args], input=data, capture_output=True, timeout=300, check=False, **more
    )
    assert b"Traceback" not in done.stderr
    return done


def refused(done: subprocess.CompletedProcess[bytes], says: str, status: int = 1) -> None:
    assert done.returncode == status
    assert done.stdout == b""
    lines = [
        line
        for line in done.stderr.decode().splitlines()
        if "compiling its kernels" not in line and "warning: " not in line  # what was not read is said before
    ]
    assert says in lines[-1]
    assert status == 2 or len(lines) == 1


def facts(capture: netlens.Capture, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    row = list(capture.table("connections").records())[number]
    sessions = [r for r in capture.table("sessions").records() if r["session_id"] in row["session_ids"]]
    return {k: row[k] for k in OWN}, [{k: str(v) for k, v in r.items() if k not in NUMBERS} for r in sessions]


@pytest.mark.parametrize("recording", ["same-nat-ip-sshuttle/vm", "same-nat-ip-nat/host", "dns-over-tcp/vm"])
def test_every_connection_of_a_recording_reads_the_same_by_itself(captures: Path, tmp_path: Path, recording: str) -> None:
    path = str(captures / f"{recording}.pcap.gz")
    whole = netlens.read(path)
    sessions, connections = whole.table("sessions"), whole.table("connections")
    out = tmp_path / "out.pcap"
    for number in range(min(connections.rows, 12)):
        ids = extract.sessions_of(connections, [number])
        selection = extract.select([path], sessions, ids)
        assert len(selection.frames) == sum(int(sessions["orig_frames"][k] + sessions["resp_frames"][k]) for k in ids)
        assert extract.write([path], selection, str(out)) == len(selection.frames)
        alone = netlens.read(out)
        assert alone.table("connections").rows == 1
        assert facts(alone, 0) == facts(whole, number)


def test_frames_are_copied_byte_for_byte_in_order(captures: Path, tmp_path: Path) -> None:
    path = captures / "same-nat-ip-sshuttle" / "vm.pcap.gz"
    selection = extract.select([str(path)], netlens.read(path).table("sessions"), [2])
    out = tmp_path / "out.pcap"
    extract.write([str(path)], selection, str(out))
    whole, part = helpers.read(path).frames, helpers.read(out).frames
    assert part == [whole[f - 1] for f in selection.frames.tolist()]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two conversations, interleaved; the second one uses the ports of the first again."""
    one = conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 2, 2, "fin")
    other = conversation("10.0.0.2", 4001, "203.0.113.10", 99999, False, 1, 1, "rst")
    again = conversation("10.0.0.2", 4000, "203.0.113.10", 12345678, False, 1, 1, "fin")
    packets = [p for pair in zip(one, other, strict=False) for p in pair] + one[len(other) :] + again
    path = tmp_path / "two.pcap"
    path.write_bytes(micro_pcap([(i * 1000, p) for i, p in enumerate(packets)]))
    return path


def test_a_port_used_again_is_another_session(two: Path, tmp_path: Path) -> None:
    sessions = netlens.read(two).table("sessions")
    chosen = [extract.select([str(two)], sessions, [k]).frames for k in range(3)]
    assert sum(map(len, chosen)) == len(np.unique(np.concatenate(chosen))) == len(helpers.read(two).frames)
    both = extract.select([str(two)], sessions, [0, 2]).frames
    assert both.tolist() == sorted([*chosen[0].tolist(), *chosen[2].tolist()])


def test_several_files_and_gzip_are_one_stream(two: Path, tmp_path: Path) -> None:
    data, frames = two.read_bytes(), helpers.read(two).frames
    cut = 24 + sum(16 + len(f[0]) for f in frames[:9])
    first, second = tmp_path / "a.pcap.gz", tmp_path / "b.pcap"
    first.write_bytes(gzip.compress(data[:cut]))
    second.write_bytes(data[:24] + data[cut:])
    whole = run(str(two), "--connection", "1", "-w", "-")
    parts = run(str(first), str(second), "--connection", "1", "-w", "-")
    assert whole.returncode == parts.returncode == 0
    assert whole.stdout == parts.stdout
    assert b"frames of 1 session written as pcap\n" in parts.stderr


def test_connections_and_sessions_may_be_named_together_and_again(two: Path) -> None:
    done = run(str(two), "--connection", "0", "--session", "1", "--session", "0", "-w", "-")
    assert b"of 2 sessions" in done.stderr


@pytest.mark.parametrize("nano", [False, True])
def test_times_keep_their_resolution(tmp_path: Path, nano: bool) -> None:
    path, out = tmp_path / "c.pcap", tmp_path / "o.pcap"
    path.write_bytes(
        helpers.pcap([helpers.ip4(helpers.tcp(b"x", seq=i)) for i in range(3)], nano=nano, start_ns=helpers.START_NS + nano * 7)
    )
    extract.write([str(path)], extract.select([str(path)], netlens.read(path).table("sessions"), [0]), str(out))
    assert helpers.read(out).times == helpers.read(path).times
    assert out.read_bytes()[:4] == (b"\x4d\x3c\xb2\xa1" if nano else b"\xd4\xc3\xb2\xa1")


def pcapng_of_two_interfaces() -> bytes:
    """A session on Ethernet and its copies on a raw interface, in tenths of nanoseconds, in big-endian; and another session."""
    made = (
        helpers.Pcapng(">").interface(helpers.ETHERNET, tsresol=9, name="eth0").interface(helpers.RAW, tsresol=9, name="tun0", snaplen=96)
    )
    for i, (flags, data) in enumerate([(2, b""), (16, b""), (24, b"hello")]):
        packet = helpers.ip4(helpers.tcp(data, seq=100 + (i > 0), flags=flags))
        made.enhanced(helpers.ethernet(packet), helpers.START_NS + i * 1_000_001, 0)
        made.enhanced(helpers.ip4(helpers.tcp(b"other", sport=5, seq=i)), helpers.START_NS + i * 1_000_001 + 9, 1)
        made.enhanced(packet, helpers.START_NS + i * 1_000_001 + 19, 1, wire=len(packet) + (i == 2))
    return made.bytes()


def test_several_interfaces_stay_apart_in_a_pcapng(tmp_path: Path) -> None:
    path, out = tmp_path / "c.pcapng", tmp_path / "o.pcap"
    path.write_bytes(pcapng_of_two_interfaces())
    done = run(str(path), "--session", "0", "-w", str(out))
    assert b"written as pcapng (pcap cannot hold frames of 2 interfaces)" in done.stderr
    whole, part = helpers.read(path), helpers.read(out)
    assert [f[:3] + f[4:] for f in part.frames] == [f[:3] + f[4:] for i, f in enumerate(whole.frames) if i % 3 != 1]
    assert part.ifaces == [0, 1] * 3
    assert part.reader is not None
    assert [key[2] for key in part.reader.interfaces] == [b"eth0", b"tun0"]
    before, after = netlens.read(path).table("sessions"), netlens.read(out).table("sessions")
    assert after["orig_copies"][0] == before["orig_copies"][0] > 0
    assert after["orig_retransmits"][0] == before["orig_retransmits"][0] == 0


def test_one_interface_of_several_makes_a_pcap_unless_a_pcapng_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    path.write_bytes(pcapng_of_two_interfaces())
    assert run(str(path), "--session", "1", "-w", "-").stdout[:4] == b"\x4d\x3c\xb2\xa1"
    out = tmp_path / "o.pcapng"
    run(str(path), "--session", "1", "-w", str(out))
    assert out.read_bytes()[:4] == b"\n\r\r\n"
    assert len(helpers.read(out).frames) == 3


def test_fragments_come_with_the_frame_that_completes_them(tmp_path: Path) -> None:
    """A segment in three IP fragments, the last one first, between two whole ones and fragments of another datagram."""
    data = helpers.tcp(bytes(64), seq=101)
    pieces = [
        helpers.ip4(data[a : a + 32], ident=7, fragment=(a // 8) | (0x2000 if a + 32 < len(data) else 0)) for a in range(0, len(data), 32)
    ]
    other = helpers.ip4(helpers.udp(bytes(40))[:32], proto=17, ident=8, fragment=0x2000)
    frames = [helpers.ip4(helpers.tcp(flags=2, seq=100)), pieces[2], other, pieces[0], pieces[1], helpers.ip4(helpers.tcp(b"z", seq=165))]
    path, out = tmp_path / "c.pcap", tmp_path / "o.pcap"
    path.write_bytes(helpers.pcap(frames))
    sessions = netlens.read(path).table("sessions")
    assert sessions["orig_bytes"].tolist() == [65]
    selection = extract.select([str(path)], sessions, [0])
    assert selection.frames.tolist() == [1, 2, 4, 5, 6]
    extract.write([str(path)], selection, str(out))
    assert netlens.read(out).table("sessions")["orig_bytes"].tolist() == [65]


def test_ipv6_and_times_that_a_pcap_cannot_hold(tmp_path: Path) -> None:
    made = helpers.Pcapng().interface(helpers.RAW, tsresol=9)
    late = (1 << 32) * 10**9 + 5
    for i in range(3):
        made.enhanced(helpers.ip6(helpers.tcp(b"x", seq=i)), late + i)
    path, out = tmp_path / "c.pcapng", tmp_path / "o.pcap"
    path.write_bytes(made.bytes())
    extract.write([str(path)], extract.select([str(path)], netlens.read(path).table("sessions"), [0]), str(out))
    assert helpers.read(out).times == [late, late + 1, late + 2]


def test_an_input_is_never_written_over(two: Path, tmp_path: Path) -> None:
    before = two.read_bytes()
    link = tmp_path / "link.pcap"
    link.symlink_to(two)
    hard = tmp_path / "hard.pcap"
    os.link(two, hard)
    for name in (two, link, hard):
        refused(run(str(two), "--session", "0", "-w", str(name)), "is the input itself")
    with two.open("r+b") as file:
        done = subprocess.run(
            [sys.executable, "-m", "netlens", "extract", str(two), "--session", "0", "-w", "-"],
            stdout=file,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"standard output: is the input itself" in done.stderr
    assert two.read_bytes() == before


def test_refusals_are_one_line_each(two: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "o.pcap")
    refused(run(str(two), "--connection", "3", "-w", out), "no connection 3 is in the capture; they go from 0 to 2")
    refused(run(str(two), "--session", "9", "-w", out), "no session 9 is in the capture")
    refused(run("-", "--session", "0", "-w", out, data=two.read_bytes()), "standard input: can be read once only")
    refused(run(str(tmp_path / "no.pcap"), "--session", "0", "-w", out), "no such file")
    refused(run(str(tmp_path), "--session", "0", "-w", out), "is a directory")
    refused(run(str(two), "--session", "0", "-w", str(tmp_path / "no" / "x.pcap")), "cannot be written")
    refused(run(str(two), "-w", out), "--connection N or --session N", status=2)
    refused(run(str(two), "--session", "-1", "-w", out), "-1 is not a whole number of 0 or more", status=2)
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(helpers.pcap([]))
    refused(run(str(empty), "--connection", "0", "-w", out), "no connection 0 is in the capture; there are none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.pcap", "two.pcap"]


def test_a_named_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(run(str(tmp_path / "pipe"), "--session", "0", "-w", "-"), "can be read once only")


def test_a_capture_that_shrinks_meanwhile_is_told_of(two: Path, tmp_path: Path) -> None:
    selection = extract.select([str(two)], netlens.read(two).table("sessions"), [2])
    two.write_bytes(two.read_bytes()[:2000])
    with pytest.raises(CaptureError, match="changed while it was read"):
        extract.write([str(two)], selection, str(tmp_path / "o.pcap"))
    assert not (tmp_path / "o.pcap").exists()
    with pytest.raises(NetlensError, match="no session -1"):
        extract.select([str(two)], netlens.read(two).table("sessions"), [-1])


def test_a_cut_capture_is_read_as_far_as_it_goes(two: Path, tmp_path: Path) -> None:
    two.write_bytes(two.read_bytes()[:-3])
    done = run(str(two), "--connection", "1", "-w", "-")
    assert done.returncode == 0
    assert done.stderr.decode().count("cut short") == 1
    assert done.stdout


def test_mid_stream_and_one_sided_sessions_are_found_in_both_directions(tmp_path: Path) -> None:
    packets = [segment("10.0.0.9", 443, "10.0.0.1", 5000, 16, 5, 6, b"x"), segment("10.0.0.1", 5000, "10.0.0.9", 443, 16, 6, 6, b"y")]
    path = tmp_path / "c.pcap"
    path.write_bytes(micro_pcap([(i, p) for i, p in enumerate(packets)]))
    assert extract.select([str(path)], netlens.read(path).table("sessions"), [0]).frames.tolist() == [1, 2]


@pytest.mark.tshark
def test_tshark_reads_it_with_the_right_streams(captures: Path, tmp_path: Path, tshark: str) -> None:
    path = captures / "same-nat-ip-sshuttle" / "vm.pcap.gz"
    row = next(r for r in netlens.read(path).table("connections").records() if len(r["session_ids"]) == 2)
    for name in ("o.pcap", "o.pcapng"):
        out = tmp_path / name
        assert run(str(path), "--connection", str(row["connection_id"]), "-w", str(out)).returncode == 0
        fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "ip.src", "-e", "ip.dst", "-e", "tcp.seq_raw", "-e", "frame.len"]
        wanted = " || ".join(
            display_filter(((r["orig_ip"], r["orig_port"]), (r["resp_ip"], r["resp_port"])), (r["first_frame"], r["last_frame"]))
            for r in netlens.read(path).table("sessions").records()
            if r["session_id"] in row["session_ids"]
        )
        whole = subprocess.run([tshark, "-r", str(path), "-Y", wanted, *fields], capture_output=True, text=True, check=True).stdout
        part = subprocess.run([tshark, "-r", str(out), *fields], capture_output=True, text=True, check=True).stdout
        assert part == whole
        streams = subprocess.run(
            [tshark, "-r", str(out), "-T", "fields", "-e", "tcp.stream"], capture_output=True, text=True, check=True
        ).stdout
        assert set(streams.split()) == {"0", "1"}


def test_the_command_and_connections_agree(two: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.pcap"
    assert run(str(two), "--connection", "1", "-w", str(out)).returncode == 0

    def rows(path: Path) -> list[dict[str, Any]]:
        shown = subprocess.run(
            [sys.executable, "-m", "netlens", "connections", str(path), "--format", "json"], capture_output=True, check=True
        )
        found: list[dict[str, Any]] = json.loads(shown.stdout)
        return found

    (alone,) = rows(out)
    assert {k: alone[k] for k in OWN} == {k: rows(two)[1][k] for k in OWN}


# -- comments


def shown(path: Path) -> dict[int, list[str]]:
    """Comments by frame, as tshark reads them."""
    fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.comment", "-E", "occurrence=a", "-E", "aggregator=/s"]
    done = subprocess.run(["tshark", "-n", "-r", str(path), "-Y", "frame.comment", *fields], capture_output=True, check=True)
    rows = [line.split("\t", 1) for line in done.stdout.decode().splitlines()]
    return {int(frame): text.split(" netlens ") for frame, text in rows}


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is missing")
def test_comments_stand_where_tshark_reads_them(captures: Path, tmp_path: Path) -> None:
    source, out = captures / "same-nat-ip-nat" / "host.pcap.gz", tmp_path / "commented.pcapng"
    done = run(str(source), "--comments", "-w", str(out))
    assert done.returncode == 0, done.stderr
    whole, again = netlens.read(source), netlens.read(out)
    assert again.part.frames == whole.part.frames
    assert again.table("sessions").to_pandas().equals(whole.table("sessions").to_pandas())
    found = shown(out)
    analysis = netlens.analyze(source)
    budget = analysis.budget
    assert len(budget) > 60
    exchanges = whole.exchanges
    for number, total in zip(budget["exchange_id"], budget["total_ns"], strict=True):
        row = exchanges.iloc[number]
        begins, ends = " ".join(found[row.start_frame]), " ".join(found[row.end_frame])
        assert f"request {number} to api.z.ai:443 begins" in begins
        assert f"request {number} to api.z.ai:443: the answer ends; {duration(total / 1e9)} in all: " in ends
    for finding in analysis.findings:
        assert all(finding.id in " ".join(found[frame]) for _, frame in finding.frames)
    assert all(f"connection {row.connection_id}" in " ".join(found[row.first_frame]) for row in whole.connections.itertuples())


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is missing")
def test_comments_of_one_connection_are_on_its_frames_in_the_extract(captures: Path, tmp_path: Path) -> None:
    source, out = captures / "same-nat-ip-sshuttle" / "vm.pcap.gz", tmp_path / "one.pcapng"
    done = run(str(source), "--comments", "--connection", "1", "-w", str(out))
    assert done.returncode == 0, done.stderr
    found = shown(out)
    assert "connection 1" in " ".join(found[1])
    assert not any("connection 0" in text for texts in found.values() for text in texts)
    assert any("sshuttle" in text for texts in found.values() for text in texts)
    assert max(found) <= netlens.read(out).part.frames


def test_a_pcap_holds_no_comments(captures: Path, tmp_path: Path) -> None:
    refused(
        run(str(captures / "healthy" / "vm.pcap.gz"), "--comments", "-w", str(tmp_path / "out.pcap")), "only a pcapng holds comments", 2
    )


def test_a_capture_without_frames_has_nothing_to_copy(tmp_path: Path) -> None:
    empty, out = tmp_path / "empty.pcap", tmp_path / "out.pcapng"
    empty.write_bytes(helpers.pcap([]))
    refused(run(str(empty), "--comments", "-w", str(out)), f"{empty}: nothing to copy: the capture has no frames")
    assert not out.exists()


def test_strangers_text_in_comments_is_printable(tmp_path: Path) -> None:
    from scapy.layers.dns import DNS, DNSQR

    from tests.parsers.build import Packet, datagram, mixed, write

    query = bytes(DNS(id=1, rd=1, qd=DNSQR(qname=b"a\x1b[31m\n.example")))
    path = write(tmp_path / "hostile.pcap", mixed([Packet(0, datagram(("192.0.2.1", 5000), ("192.0.2.53", 53), query))]))
    out = tmp_path / "out.pcapng"
    assert run(str(path), "--comments", "-w", str(out)).returncode == 0
    assert b"netlens lookup 0, A a" in out.read_bytes()
    assert b"\x1b[31m" not in out.read_bytes().split(b"netlens lookup", 1)[1]


# -- what is not TCP, and frames by number --


def numbers(whole: Path, part: Path) -> list[int]:
    """Which frames of a capture an extract has."""
    frames = helpers.read(whole).frames
    return [frames.index(frame) + 1 for frame in helpers.read(part).frames]


def test_lookups_findings_and_frames_by_number(tmp_path: Path) -> None:
    path, out = write(tmp_path / "made.pcap", mixed(lookups(30, missing=25), healthy(), ping(60 * S))), tmp_path / "out.pcap"
    a = netlens.analyze(str(path))
    (this,) = [f for f in a.findings if f.id == "dns-unanswered"]
    assert (len(this.frames), this.frames_in_all) == (20, 25)
    assert a.to_dict()["findings"][a.findings.index(this)]["frames_in_all"] == 25
    assert run(str(path), "--finding", this.id, "-w", str(out)).returncode == 0
    assert numbers(path, out) == [frame for _, frame in this.every]
    (row,) = [r for r in a.capture.table("lookups").records() if r["answer_frame"]][:1]
    assert run(str(path), "--lookup", str(row["lookup_id"]), "-w", str(out)).returncode == 0
    assert numbers(path, out) == [row["query_frame"], row["answer_frame"]]
    assert run(str(path), "--frames", "2,4-6,5", "-w", str(out)).returncode == 0
    assert numbers(path, out) == [2, 4, 5, 6]
    assert run(str(path), "--frames", "1", "--session", "0", "-w", str(out)).returncode == 0
    session = a.capture.table("sessions")
    assert numbers(path, out) == sorted({1, *extract.select([str(path)], session, [0]).frames.tolist()})
    refused(run(str(path), "--frames", "1-9999", "-w", str(out)), "no frame 9999 is in the capture; it has ")
    refused(run(str(path), "--frames", "6-4", "-w", str(out)), "'6-4' is neither a frame number nor a range", 2)
    refused(run(str(path), "--finding", "stalled", "-w", str(out)), "stalled was not found in the capture; found was: dns-unanswered")
    refused(run(str(path), "--lookup", "30", "-w", str(out)), "no lookup 30 is in the capture; they go from 0 to ")


def test_where_no_tcp_is_the_message_names_what_works(tmp_path: Path) -> None:
    path = write(tmp_path / "made.pcap", mixed(lookups(3, missing=1), ping(60 * S)))
    says = "no session 0 is in the capture; there are none; --lookup, --finding and --frames take what is not TCP"
    refused(run(str(path), "--session", "0", "-w", str(tmp_path / "out.pcap")), says)


def test_a_finding_of_connections_names_the_worst_one_and_the_command(tmp_path: Path) -> None:
    slow = [close(exchange(talk(40_001 + k, at=k * S), wait=wait * S)).packets for k, wait in enumerate((4, 9, 6))]
    path = write(tmp_path / "made.pcap", mixed(*slow))
    a = netlens.analyze(str(path))
    (this,) = [f for f in a.findings if f.id == "slow-server"]
    assert this.connections == [1, 2, 0]
    what, command = findings.to_extract(a, this)
    assert what == "connection 1 (also 2, 0)"
    assert command == f"netlens extract {path} --connection 1 -w connection-1.pcap"


def test_what_two_captures_show_together_is_taken_out_by_its_frames(analysis: Callable[[str], Any], tmp_path: Path) -> None:
    a = analysis("two-causes")
    (this,) = [f for f in a.findings if f.id == "refused"]
    _, command = findings.to_extract(a, this)
    _, _, *args = shlex.split(command)
    assert "--frames" in args
    assert run(*args, cwd=tmp_path).returncode == 0
    side = this.frames[0][0]
    assert len(helpers.read(tmp_path / "refused.pcap").frames) == sum(name == side for name, _ in this.frames)
