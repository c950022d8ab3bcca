"""Generated captures are what their truth says, by scapy's and tshark's reading."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP, UDP, in4_chksum
from scapy.utils import checksum, rdpcap

from tests.bench.check import address_text, differences
from tests.bench.generate import generate, is_current, load_truth, parameters
from tests.bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from scapy.packet import Packet

    from tests.bench.frames import Array

SESSIONS = {"short": 200, "dns": 200, "ten": 1}
OF_SESSIONS = [name for name in WORKLOADS if name != "dns"]


def make(workload: str, folder: Path, **options: int) -> tuple[Path, dict[str, Array]]:
    path = folder / f"{workload}{WORKLOADS[workload].suffix}"
    options.setdefault("sessions", SESSIONS.get(workload, 6))
    return path, generate(workload, path, **options)


def nanoseconds(packet: Packet) -> int:
    return int(packet.time * 10**9)  # scapy's times are decimal, not float


@pytest.mark.parametrize("workload", OF_SESSIONS)
def test_sessions_are_as_a_naive_recount_finds_them(workload: str, tmp_path: Path) -> None:
    path, truth = make(workload, tmp_path)
    rows: dict[tuple[str, int, str, int], dict[str, Any]] = {}
    sent: set[tuple[Any, ...]] = set()
    packets = rdpcap(str(path))
    assert len(packets) == truth["frames"]
    for frame, packet in enumerate(packets, 1):
        ip, tcp = packet[IP], packet[TCP]
        forward, backward = (ip.src, tcp.sport, ip.dst, tcp.dport), (ip.dst, tcp.dport, ip.src, tcp.sport)
        if tcp.flags == "S":
            assert forward not in rows, "a 5-tuple comes twice"
            rows[forward] = dict.fromkeys(("orig_frames", "resp_frames", "orig_bytes", "resp_bytes"), 0)
            rows[forward] |= {"first_frame": frame, "start_ns": nanoseconds(packet)}
        side, row = ("orig", rows[forward]) if forward in rows else ("resp", rows[backward])
        row[f"{side}_frames"] += 1
        size = ip.len - 4 * ip.ihl - 4 * tcp.dataofs
        if size and (side, forward, backward, tcp.seq) not in sent:  # else it is sent again
            row[f"{side}_bytes"] += size
            sent.add((side, forward, backward, tcp.seq))
        row["last_frame"], row["end_ns"] = frame, nanoseconds(packet)
    found = {name: np.array([row[name] for row in rows.values()]) for name in ("start_ns", "end_ns", "first_frame", "last_frame")}
    for side in ("orig", "resp"):
        for what in ("frames", "bytes"):
            found[f"{side}_{what}"] = np.array([row[f"{side}_{what}"] for row in rows.values()])
    for number, name in enumerate(("orig_ip", "orig_port", "resp_ip", "resp_port")):
        found[name] = np.array([key[number] for key in rows])
    found["state"] = truth["session.state"]
    if "session.sni" in truth:
        found["sni"] = truth["session.sni"]
    assert differences(truth, found, "sessions") == []


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "snap"])
def test_checksums_are_those_scapy_computes(workload: str, tmp_path: Path) -> None:
    path, _ = make(workload, tmp_path)
    for packet in rdpcap(str(path)):
        transport = TCP if TCP in packet else UDP
        # from the bytes as they are: layers of scapy that other tests have loaded would write the payload anew
        ip, begin = packet[IP], 4 * packet[IP].ihl
        raw = bytearray(ip.original[: ip.len])
        at = begin + (16 if transport is TCP else 6)
        raw[10:12] = raw[at : at + 2] = bytes(2)
        computed = checksum(bytes(raw[:begin])), in4_chksum(ip.proto, ip, bytes(raw[begin:]))
        assert computed == (ip.chksum, packet[transport].chksum)


def test_lookups_are_as_a_naive_recount_finds_them(tmp_path: Path) -> None:
    path, truth = make("dns", tmp_path)
    rows: dict[tuple[str, int, int], dict[str, Any]] = {}
    for frame, packet in enumerate(rdpcap(str(path)), 1):
        dns, ip, udp = packet[DNS], packet[IP], packet[UDP]
        if not dns.qr:
            asked = {"qname": dns.qd[0].qname.decode()[:-1], "qtype": {1: "A", 28: "AAAA"}[dns.qd[0].qtype], "rcode": ""}
            times = {"query_ns": nanoseconds(packet), "query_frame": frame, "answer_ns": -1, "answer_frame": -1}
            row = rows.setdefault((ip.src, udp.sport, dns.id), asked | times | {"attempts": 0})
            row["attempts"] += 1
            continue
        row = rows[ip.dst, udp.dport, dns.id]
        assert row["qname"] == dns.qd[0].qname.decode()[:-1]
        assert len(dns.an) == dns.ancount
        row |= {"rcode": {0: "NOERROR", 3: "NXDOMAIN"}[dns.rcode], "answer_ns": nanoseconds(packet), "answer_frame": frame}
    found = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    for number, name in enumerate(("orig_ip", "orig_port", "txid")):
        found[name] = np.array([key[number] for key in rows])
    assert differences(truth, found, "lookups") == []
    assert {"", "NOERROR", "NXDOMAIN"} == set(truth["lookup.rcode"])


def test_short_sessions_end_in_every_way(tmp_path: Path) -> None:
    _, truth = make("short", tmp_path)
    assert set(truth["session.state"]) == {"SF", "S0", "REJ", "S1", "RSTO", "RSTR"}


def test_nat_keeps_what_translation_keeps(tmp_path: Path) -> None:
    path, truth = make("nat", tmp_path)
    seen = Counter((p[TCP].seq, p[TCP].ack, int(p[TCP].flags), p[IP].len, p[TCP].options[2]) for p in rdpcap(str(path)))
    assert set(seen.values()) == {2}
    assert truth["connections"] == 6
    assert len(truth["session.orig_ip"]) == 12
    assert sorted(truth["session.connection"]) == sorted([*range(6), *range(6)])


@pytest.mark.parametrize("workload", list(WORKLOADS))
def test_the_seed_decides_every_byte(workload: str, tmp_path: Path) -> None:
    first, truth = make(workload, tmp_path, seed=7)
    content = first.read_bytes()
    again, same = make(workload, tmp_path, seed=7)
    assert content == again.read_bytes()
    assert all(np.array_equal(truth[name], same[name]) for name in truth)
    other, _ = make(workload, tmp_path, seed=8)
    assert content != other.read_bytes()


@pytest.mark.parametrize("workload", OF_SESSIONS)
def test_scale_lengthens_sessions_and_adds_none(workload: str, tmp_path: Path) -> None:
    _, one = make(workload, tmp_path)
    _, three = make(workload, tmp_path, scale=3)
    assert len(one["session.orig_ip"]) == len(three["session.orig_ip"])
    if workload != "short":  # sessions cut short cannot grow
        assert three["frames"] == 3 * one["frames"]


def test_a_stamp_tells_complete_files_made_with_the_same_parameters(tmp_path: Path) -> None:
    path, truth = make("full", tmp_path, sessions=3)
    wanted = parameters("full", 1, 1, 3)
    assert is_current(path, wanted)
    assert not is_current(path, wanted | {"seed": 2})
    assert np.array_equal(load_truth(path)["session.start_ns"], truth["session.start_ns"])
    with path.open("ab") as file:
        file.write(b"\0")
    assert not is_current(path, wanted)


def test_a_difference_is_found_and_named(tmp_path: Path) -> None:
    _, truth = make("full", tmp_path, sessions=3)
    found = {name.removeprefix("session."): values for name, values in truth.items() if name.startswith("session.")}
    found |= {"orig_ip": address_text(found["orig_ip"]), "resp_ip": address_text(found["resp_ip"])}
    assert differences(truth, found, "sessions") == []
    found["resp_bytes"] = found["resp_bytes"] + np.array([0, 1, 0])
    assert re.match(r"sessions.resp_bytes: 1 of 3 rows differ, the first is row 1", differences(truth, found, "sessions")[0])
    assert differences(truth, {"orig_ip": found["orig_ip"][:2]}, "sessions") == ["sessions: 2 rows, 3 expected"]


@pytest.mark.tshark
@pytest.mark.parametrize("workload", list(WORKLOADS))
def test_tshark_has_nothing_to_complain_of(workload: str, tmp_path: Path) -> None:
    path, truth = make(workload, tmp_path)
    checked = [f"{p}.check_checksum:TRUE" for p in ("ip", "tcp", "udp")]
    options = [word for option in checked for word in ("-o", option)]
    fields = ["-T", "fields", "-e", "tcp.stream", "-e", "_ws.expert.message", "-e", "tls.handshake.extensions_server_name"]
    done = subprocess.run(["tshark", "-r", str(path), *options, *fields], capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == truth["frames"]
    fine = ("Connection", "This frame", "This legacy_version", "DNS query retransmission", "")  # a retried lookup is one
    assert [message for _, message, _ in rows if not message.startswith(fine)] == []
    wrong = "malformed|checksum" if workload == "lossy" else "malformed|checksum|retransmission"
    assert not re.search(wrong, " ".join(m for _, m, _ in rows if "DNS" not in m), re.IGNORECASE)
    if workload != "dns":
        frames = Counter(int(stream) for stream, _, _ in rows)
        assert [frames[n] for n in range(len(frames))] == (truth["session.orig_frames"] + truth["session.resp_frames"]).tolist()
    if workload == "tls":
        assert {int(stream): name for stream, _, name in rows if name} == dict(enumerate(truth["session.sni"]))
