"""The commands as people run them: a process, its output, its exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from netlens.cli import COMMANDS
from netlens.lenses.refused.causes import all_causes
from tests.parsers.test_pipeline import ANSWER, QUERY, conversation, datagram, pcap


def run(*args: str, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run netlens; standard output must be text, and no traceback may ever show."""
    done = subprocess.run([sys.executable, "-m", "netlens", *args], input=data, capture_output=True, timeout=300, check=False)
    out = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in out.stderr
    return out


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lookups' worth of DNS, a direct connection, and one through a redirect."""
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += conversation("10.0.0.2", 4000, "203.0.113.10", 77, False, 2, 2, "fin")
    packets += conversation("10.0.0.2", 4001, "203.0.113.10", 99, True, 1, 1, "rst")
    path = tmp_path_factory.mktemp("cli") / "small.pcap"
    path.write_bytes(pcap([(i * 1000, p) for i, p in enumerate(packets)]))
    return path


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_help_ends_with_an_example_of_its_command(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    examples = done.stdout.split("Examples:")[-1]
    assert f"netlens {command}" in examples


@pytest.mark.parametrize("command", ["", *COMMANDS, "lab run", "lab check", "lab prove"])
def test_help_cuts_nothing_and_speaks_of_no_types(command: str) -> None:
    said = run(*command.split(), "--help").stdout.split("Example")[0]
    assert "..." not in re.sub(r"\[?[A-Z|]+\]?\.\.\.|A,B,\.\.\.", "", said)  # what may be repeated is written so
    assert not re.search(r" (INTEGER|FLOAT|TEXT|RANGE|UUID|FILENAME)\b", said)


def test_help_lists_all_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.M)


@pytest.mark.parametrize("group", [(), ("lab",)])
def test_without_a_command_the_help_is_shown_as_lines(group: tuple[str, ...]) -> None:
    done = run(*group)
    told = done.stdout + done.stderr  # click before 8.2 prints it as what was asked for
    assert told.startswith("Usage: netlens")
    assert "\nCommands:\n" in told
    assert "\\x0a" not in told


def test_choices_that_are_missing_are_named_in_one_line() -> None:
    done = run("capture")
    assert done.returncode == 2
    assert done.stderr.endswith("netlens: Missing option '--side'. Choose from: vm, host, both\n")


def test_a_misspelt_command_is_wrong_usage_and_names_the_near_one() -> None:
    done = run("session", "x.pcap")
    assert done.returncode == 2
    assert "did you mean sessions?" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("command", "rows", "column"),
    [("sessions", 3, "session_id"), ("connections", 2, "connection_id"), ("dns", 1, "lookup_id"), ("exchanges", 3, "exchange_id")],
)
def test_formats_hold_the_same_rows(capture: Path, tmp_path: Path, command: str, rows: int, column: str) -> None:
    as_json = run(command, str(capture), "--format", "json")
    assert (as_json.returncode, as_json.stderr) == (0, "")
    loaded = json.loads(as_json.stdout)
    assert len(loaded) == rows
    assert [r[column] for r in loaded] == list(range(rows))
    as_csv = list(csv.DictReader(io.StringIO(run(command, str(capture), "--format", "csv").stdout)))
    assert [r[column] for r in as_csv] == [str(i) for i in range(rows)]
    assert list(as_csv[0]) == list(loaded[0])
    table = run(command, str(capture)).stdout.splitlines()
    assert len(table) == rows + 1
    assert table[0].split()[0] == column
    out = tmp_path / "out.parquet"
    assert run(command, str(capture), "--format", "parquet", "-o", str(out)).returncode == 0
    import pyarrow.parquet as pq

    read = pq.read_table(out)
    assert read.column_names == list(loaded[0])
    assert read.to_pylist() == [{**r} for r in loaded]
    assert read.schema.field(column).metadata[b"meaning"]
    assert [p.name for p in tmp_path.iterdir()] == ["out.parquet"]  # nothing is left beside it


def test_standard_input_gives_the_same_rows(capture: Path) -> None:
    assert (
        run("sessions", "-", "--format", "json", data=capture.read_bytes()).stdout
        == run("sessions", str(capture), "--format", "json").stdout
    )


def test_several_files_are_one_stream(capture: Path, tmp_path: Path) -> None:
    data = capture.read_bytes()
    whole = json.loads(run("sessions", str(capture), "--format", "json").stdout)
    first, second = tmp_path / "a.pcap", tmp_path / "b.pcap"
    cut = 24 + sum(16 + int.from_bytes(data[o + 8 : o + 12], "little") for o in offsets(data)[:9])
    first.write_bytes(data[:cut])
    second.write_bytes(data[:24] + data[cut:])
    assert json.loads(run("sessions", str(first), str(second), "--format", "json").stdout) == whole


def offsets(data: bytes) -> list[int]:
    out, at = [], 24
    while at < len(data):
        out.append(at)
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    return out


def test_zeek_conn_log(capture: Path) -> None:
    lines = run("sessions", str(capture), "--format", "zeek").stdout.splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    types = next(line for line in lines if line.startswith("#types")).split("\t")[1:]
    rows = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]
    assert len(fields) == len(types)
    assert len(rows) == 3
    assert rows[0]["id.orig_h"] == "10.0.0.2"
    assert rows[0]["conn_state"] == "SF"
    assert rows[0]["service"] == "ssl"


def test_columns_and_limit(capture: Path) -> None:
    done = run("connections", str(capture), "--columns", "path,sni", "--format", "csv", "--limit", "1")
    assert done.stdout == "path,sni\nnat,api.example.test\n"
    assert "1 of 2 rows shown" in done.stderr
    wrong = run("connections", str(capture), "--columns", "duration")
    assert wrong.returncode == 2
    assert "no column 'duration'; near: duration_s" in wrong.stderr


def test_parquet_needs_a_file(capture: Path) -> None:
    done = run("sessions", str(capture), "--format", "parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "-o FILE.parquet" in done.stderr


def test_output_that_cannot_be_written(capture: Path, tmp_path: Path) -> None:
    done = run("sessions", str(capture), "-o", str(tmp_path / "no" / "such" / "file.csv"), "--format", "csv")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_devices_are_written_to_and_never_replaced(capture: Path, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("this system has no /dev/full")
    done = run("sessions", str(capture), "-o", str(full), "--format", "csv")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert full.is_char_device()
    with full.open("w") as output:
        shown = subprocess.run(
            [sys.executable, "-m", "netlens", "sessions", str(capture)], stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert shown.returncode == 1
    assert shown.stderr == b"netlens: the output cannot be written (no space left on device)\n"


def test_files_that_overlap_in_time_are_told_of(capture: Path) -> None:
    done = run("sessions", str(capture), str(capture), "--format", "json")
    assert done.returncode == 0
    assert "begins" in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_tables_count_from_the_first_frame(capture: Path) -> None:
    starts = {c: run(c, str(capture), "--columns", "start").stdout.split()[1:] for c in ("sessions", "connections", "dns", "exchanges")}
    assert starts["dns"][0] == "0.000000"
    assert starts["sessions"][0] == starts["connections"][0] == "0.002000"


def test_hostile_names_are_shown_as_data(tmp_path: Path) -> None:
    name = b"\x1b[31m\xe2\x80\xaeevil"
    question = QUERY[:12] + bytes([len(name)]) + name + b"\x00\x00\x01\x00\x01"
    path = tmp_path / "h.pcap"
    path.write_bytes(pcap([(0, datagram("10.0.0.2", 6000, "10.0.0.53", 53, question))]))
    for form in ("table", "csv", "json"):
        out = run("dns", str(path), "--format", form).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "evil" in out


def test_a_terminal_gets_a_table_and_a_broken_pipe_is_no_error(capture: Path) -> None:
    parent, child = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "netlens", "sessions", str(capture)], stdout=child, stderr=subprocess.PIPE, timeout=300, check=False
    )
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert done.returncode == 0
    assert "orig_bytes" in shown  # in 80 columns the name has to go
    assert "left out for lack of width: " in done.stderr.decode()
    assert "sni" in done.stderr.decode()
    script = shlex.join([sys.executable, "-m", "netlens", "sessions", str(capture), "--format", "csv"]) + " | head -1"
    piped = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert piped.stdout.startswith("session_id,")
    assert piped.stderr == ""


def test_analyze(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "findings"
    done = run("analyze", str(capture), "-o", str(out))
    assert done.returncode == 0
    assert "api.example.test" in done.stdout
    assert "No problem found" in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert report == json.loads(run("analyze", str(capture), "--format", "json").stdout)
    assert report["cause"] is None
    judged = [h["id"] for h in report["hypotheses"]]
    assert judged == [cause.ID for cause in all_causes()]
    assert {"same-nat-ip", "multiplexing", "dns", "keep-alive", "own-concurrency", "own-rate", "provider"} <= set(judged)
    assert not [h for h in report["hypotheses"] if h["verdict"] == "supported"]
    assert all(h["needs"] for h in report["hypotheses"] if h["verdict"] == "undecided")
    assert all(h["evidence"] for h in report["hypotheses"] if h["verdict"] == "refuted")
    assert report["counts"]["connections"] == 2
    assert report["target"]["names"] == ["api.example.test"]
    assert report["target"]["guessed"] is True
    pictures = {f"{n}.{e}" for n in ("timeline", "concurrency", "lookups", "lifetimes", "summary") for e in ("png", "svg")}
    assert {p.name for p in out.iterdir()} == pictures | {"report.json", "report.html"}


def test_analyze_a_recording_of_both_sides(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    data = capture.read_bytes()
    (folder / "vm.pcap").write_bytes(data)
    (folder / "host.pcap").write_bytes(data)
    refused = run("analyze", str(folder))
    assert refused.returncode == 1
    assert "the captures of VM and host are the same" in refused.stderr
    (folder / "host.pcap").write_bytes(data[: offsets(data)[-2]])
    report = json.loads(run("analyze", str(folder), "--format", "json").stdout)
    assert set(report["sides"]) == {"vm", "host"}
    assert {side: report["peaks"][side] for side in ("vm", "host", "combined")} == {"vm": 1, "host": 0, "combined": 1}
    assert report["clock"]["low_s"] <= 0 <= report["clock"]["high_s"]
    assert report["cause"] is None
    assert run("analyze", str(tmp_path)).returncode == 1
    assert run("analyze").returncode == 2


def test_an_api_that_is_not_there_says_what_is(capture: Path) -> None:
    done = run("analyze", str(capture), "--api", "nowhere.test")
    assert done.returncode == 1
    assert "api.example.test" in done.stderr
    named = json.loads(run("analyze", str(capture), "--api", "203.0.113.10", "--format", "json").stdout)
    assert named["target"]["guessed"] is False


def test_analyze_a_recording_whose_capture_was_rotated(capture: Path, tmp_path: Path) -> None:
    data = capture.read_bytes()
    cut = offsets(data)[9]
    (tmp_path / "vm-0001.pcap").write_bytes(data[:cut])
    (tmp_path / "vm-0002.pcap").write_bytes(data[:24] + data[cut:])
    report = json.loads(run("analyze", str(tmp_path), "--format", "json").stdout)
    assert [Path(i["path"]).name for i in report["inputs"]] == ["vm-0001.pcap", "vm-0002.pcap"]
    assert report["counts"] == json.loads(run("analyze", str(capture), "--format", "json").stdout)["counts"]


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_a_file_name_that_is_no_text(capture: Path, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.pcap")
    with open(path, "wb") as file:
        file.write(capture.read_bytes())
    done = run("analyze", os.fsdecode(path), "--format", "json")
    assert os.fsencode(json.loads(done.stdout)["inputs"][0]["path"]) == path


@pytest.mark.parametrize("command", ["sessions", "connections", "dns", "exchanges", "analyze"])
def test_what_was_not_read_is_said_by_every_command(command: str, tmp_path: Path) -> None:
    """A capture that is all tunnel gave an empty table, exit 0 and no word."""
    path = tmp_path / "gre.pcap"
    gre = struct.pack(">BBHHHBBH8s", 0x45, 0, 28, 0, 0, 64, 47, 0, bytes(8)) + bytes(8)
    path.write_bytes(pcap([(1, gre), (2, gre)]))
    done = run(command, str(path))
    assert done.returncode == 0
    said = "no TCP or UDP was read in 2 frames: 2 in GRE tunnels, not IP or too deep (not read)"
    assert done.stderr == f"netlens: warning: {path}: {said}\n"
    if command == "analyze":
        assert said in " ".join(done.stdout.split())


def test_an_empty_table_says_what_the_capture_holds_instead(tmp_path: Path) -> None:
    path = tmp_path / "dns.pcap"
    path.write_bytes(pcap([(1, datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY))]))
    assert run("sessions", str(path)).stderr == "netlens: no sessions found in 1 frame: 1 UDP\n"
    assert run("dns", str(path)).stderr == ""
