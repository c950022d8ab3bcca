"""The trace by the rules of its format: slices of a track lie in one another, arrows begin and end in slices, times are exact.

(Trace Event Format, the document that Perfetto and Chrome name; read back with decimal numbers, as no float may stand between.)
"""

from __future__ import annotations

import io
import json
import subprocess
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import netlens
from netlens.parsers.sessions import SessionFold
from netlens.report.exports import Rows, trace
from netlens.wire import columns as c
from tests.parsers.build import S, Talk, mixed, rows, unreachable, write
from tests.parsers.test_pipeline import ACK, ANSWER, HELLO, PSH, QUERY, SYN, conversation, datagram, pcap, segment
from tests.wire.links import RAW

Event = dict[str, Any]
ENDS = ("192.0.2.1", 40000), ("192.0.2.2", 443)


def load(text: str) -> tuple[dict[str, Any], list[Event]]:
    whole = json.loads(text, parse_float=Decimal)
    for event in whole["traceEvents"]:
        for key in ("ts", "dur"):
            if key in event:
                ns = event[key] * 1000
                assert ns == int(ns)
                event[key] = int(ns)
                assert key == "ts" or ns >= 0
    return whole, whole["traceEvents"]


def of(capture: netlens.Capture, table: str = "connections") -> list[Event]:
    out = io.StringIO()
    zero = capture.part.first_ns or 0
    trace.write(Rows(capture.table(table), None, capture.table, zero), out)
    whole, events = load(out.getvalue())
    assert whole["displayTimeUnit"] == "ns"
    assert whole["otherData"]["first_frame_ns"] == str(zero)
    obeys_the_format(events)
    return events


def obeys_the_format(events: list[Event]) -> None:
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for e in events:
        assert e["ph"] in "MXiCsf"
        assert e["pid"] > 0
        assert e.get("tid", 0) not in {x["pid"] for x in events}
        if e["ph"] == "X":
            open_slices = [s for s in tracks[e["pid"], e["tid"]] if s[0] <= e["ts"] < s[1] or (s[0] == s[1] == e["ts"])]
            assert all(a <= e["ts"] and e["ts"] + e["dur"] <= b for a, b in open_slices), f"{e['name']} overlaps {open_slices}"
            tracks[e["pid"], e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    arrows: dict[int, list[Event]] = defaultdict(list)
    for e in events:
        if e["ph"] in "sf":
            assert any(a <= e["ts"] <= b for a, b in tracks[e["pid"], e["tid"]])
            arrows[e["id"]].append(e)
    for start, end in arrows.values():
        assert (start["ph"], end["ph"], end["bp"]) == ("s", "f", "e")
        assert (start["cat"], start["name"]) == (end["cat"], end["name"])
        assert start["ts"] <= end["ts"]
    named = {(e["pid"], e.get("tid")) for e in events if e["ph"] == "M" and e["name"] in ("thread_name", "process_name")}
    assert set(tracks) <= named
    assert {(pid, None) for pid, _ in tracks} <= named


def slices(events: list[Event], kind: str, prefix: str = "") -> list[Event]:
    return [e for e in events if e["ph"] == "X" and e["cat"] == kind and e["name"].startswith(prefix)]


def read(tmp_path: Path, packets: list[tuple[int, bytes]]) -> netlens.Capture:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(packets))
    return netlens.read(path)


@pytest.fixture
def capture(tmp_path: Path) -> netlens.Capture:
    """A lookup, a direct connection, one through a redirect, one to another server that stays open."""
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 2, 2, "fin")
    packets += conversation("10.0.0.2", 4001, "203.0.113.10", 99999, True, 1, 1, "rst")
    packets += [segment("10.0.0.2", 4002, "198.51.100.7", 80, SYN, 5)]
    return read(tmp_path, [(i * 1000, p) for i, p in enumerate(packets)])


def test_connections_are_tracks_with_their_exchanges(capture: netlens.Capture) -> None:
    events = of(capture)
    rows = list(capture.table("connections").records())
    bars = [e for e in slices(events, "tcp") if not e["name"].startswith("session")]
    assert len({(e["pid"], e["tid"]) for e in bars}) == len(bars) == len(rows) == 3
    zero = capture.part.first_ns or 0
    for bar, row in zip(sorted(bars, key=lambda e: e["args"]["connection_id"]), rows, strict=True):
        assert (bar["ts"] + zero, bar["dur"]) == (row["start_ns"], row["end_ns"] - row["start_ns"])
        assert bar["args"]["state"] == row["state"]
        assert bar["args"]["wireshark"].count(" || ") == len(row["session_ids"]) - 1
    exchanges = slices(events, "http", "request")
    assert len(exchanges) == capture.table("exchanges").rows
    assert {e["name"] for e in slices(events, "http")} == {"request", "waiting", "receiving"}
    servers = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert servers == {"all servers", "DNS", "api.example.test:443", "198.51.100.7:80"}


def test_arrows_lead_to_halves_and_from_lookups(capture: netlens.Capture) -> None:
    events = of(capture)
    starts = [e for e in events if e["ph"] == "s"]
    halves = next(r["session_ids"] for r in capture.table("connections").records() if r["redirect_port"])
    assert [e["cat"] for e in starts].count("sshuttle") == len(halves) == len(slices(events, "tcp", "session")) == 2
    linked = [k for r in capture.table("lookups").records() for k in r["connection_ids"]]
    assert [e["cat"] for e in starts].count("lookup") == len(linked) > 0


def test_counters_show_the_concurrency(capture: netlens.Capture) -> None:
    events = of(capture)
    found: dict[tuple[int, str], list[Event]] = defaultdict(list)
    for e in events:
        if e["ph"] == "C":
            found[e["pid"], e["name"]].append(e)
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    for (pid, name), steps in found.items():
        counts = [next(iter(e["args"].values())) for e in steps]
        assert [e["ts"] for e in steps] == sorted({e["ts"] for e in steps})
        assert counts[-1] == 0
        assert min(counts) >= 0
        if processes[pid] == "api.example.test:443":
            assert max(counts) == 1, name
    assert {name for _, name in found} == {"connections", "requests"}


def test_times_are_exact_to_the_nanosecond_far_into_a_capture() -> None:
    for ns in (0, 1, 999, 1001, 10**9 + 7, 86_400 * 30 * 10**9 + 123_456_789, -1, -1001):
        _, (event,) = load(f'{{"traceEvents":[{trace._dumps({"ph": "i", "ts": ns})}]}}')
        assert event["ts"] == ns


def test_sessions_are_tracks_of_their_own(capture: netlens.Capture) -> None:
    events = of(capture, "sessions")
    bars = slices(events, "tcp", "session")
    assert len({(e["pid"], e["tid"]) for e in bars}) == len(bars) == capture.table("sessions").rows
    assert len(slices(events, "http", "request")) == capture.table("exchanges").rows
    assert not [e for e in events if e["ph"] in "sf"]


def test_an_exchange_beyond_the_end_of_its_connection_is_cut(tmp_path: Path) -> None:
    """The server answers on after both ends have said that they are done: damage, but no slice may leave its track's order."""
    packets = conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 1, 1, "fin")
    late = segment("203.0.113.10", 443, "10.0.0.2", 4000, PSH | ACK, 77777 * 7 + 600, 1, b"\x17\x03\x03\x00\x40" + bytes(64))
    made = read(tmp_path, [(i * 1000, p) for i, p in enumerate([*packets, late])])
    of(made)
    of(made, "sessions")


def test_a_clock_that_is_set_back_makes_no_negative_slice(tmp_path: Path) -> None:
    packets = conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 1, 2, "fin")
    of(read(tmp_path, [(5_000_000 - i * 1000, p) for i, p in enumerate(packets)]))


def test_many_connections_share_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_TRACKS", 5)
    packets: list[tuple[int, bytes]] = []
    for i in range(8):
        one = conversation("10.0.0.2", 4000 + i, "203.0.113.10", 77777 * (i + 1), i % 2 == 1, 1, 1, "fin")
        packets += [((i * 10 + k) * 1000, p) for k, p in enumerate(one)]  # each overlaps the next only
    made = read(tmp_path, sorted(packets, key=lambda p: p[0]))
    events = of(made)
    bars = slices(events, "tcp")
    assert len(bars) == made.table("connections").rows == 8
    assert len({e["tid"] for e in bars}) == 2


def test_hostile_names_are_text(tmp_path: Path) -> None:
    name = b"api.example.test"
    evil = b'</script>\x1b"\\\x07.t'
    assert len(evil) <= len(name)
    hello = HELLO.replace(name, evil.ljust(len(name), b"x"))
    a, b = ("10.0.0.2", 4000), ("203.0.113.10", 443)
    packets = [
        segment(*a, *b, SYN, 1),
        segment(*b, *a, SYN | ACK, 9, 2),
        segment(*a, *b, ACK, 2, 10),
        segment(*a, *b, PSH | ACK, 2, 10, hello),
    ]
    made = read(tmp_path, [(i * 1000, p) for i, p in enumerate(packets)])
    out = io.StringIO()
    trace.write(Rows(made.table("sessions"), None, made.table), out)
    assert r"</script>\x1b" in load(out.getvalue())[1][0]["args"]["name"]
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert "\\u001b" not in out.getvalue()  # escaped once for people, before JSON


def test_nothing_is_an_empty_trace(tmp_path: Path) -> None:
    assert of(read(tmp_path, [])) == []
    assert of(read(tmp_path, []), "sessions") == []


def test_bundled_recordings_obey_the_format(captures: Path) -> None:
    for side in ("vm", "host"):
        made = netlens.read(captures / "same-nat-ip-sshuttle" / f"{side}.pcap.gz")
        assert len(slices(of(made), "http", "request")) > 5
        of(made, "sessions")


@pytest.mark.tshark
def test_the_filters_show_their_session_in_wireshark(tmp_path: Path, tshark: str) -> None:
    """Also where an ICMP error quotes a connection, which Wireshark numbers too, and where a 5-tuple is used again."""
    one, two = (Talk(*ENDS, isn=n, at=n * S).open().close() for n in (1, 2))
    six = Talk(("2001:db8::1", 4000), ("2001:db8::2", 443), at=3 * S).open().close()
    packets = mixed([unreachable(1)], one.packets, two.packets, six.packets)
    path = write(tmp_path / "c.pcap", packets, RAW)
    capture = netlens.read(path)
    bars = slices(of(capture, "sessions"), "tcp")
    assert len(bars) == 3
    _, matrix = rows(packets)
    SessionFold().feed(matrix)
    for bar in bars:
        shown = subprocess.run(
            [tshark, "-r", str(path), "-Y", bar["args"]["wireshark"], "-T", "fields", "-e", "frame.number"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert [int(x) for x in shown] == matrix[matrix[:, c.SESSION] == bar["args"]["session_id"], c.FRAME].tolist()


def test_filters_without_frames_where_several_files_are_the_capture(capture: netlens.Capture) -> None:
    text = io.StringIO()
    trace.write(Rows(capture.table("sessions"), None, capture.table, one_file=False), text)
    bars = slices(load(text.getvalue())[1], "tcp")
    assert len(bars) == capture.table("sessions").rows
    assert not any("frame.number" in bar["args"]["wireshark"] for bar in bars)
    assert "(ip.addr == 10.0.0.2 && tcp.port == 4002 && ip.addr == 198.51.100.7 && tcp.port == 80)" in {
        b["args"]["wireshark"] for b in bars
    }
