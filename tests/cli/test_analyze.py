"""``netlens analyze`` as people type it: both sides, recordings, one capture; its JSON, its files, its one-line refusals."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netlens.lenses.refused.causes import all_causes
from tests.bench.two_sides import generate
from tests.cli.test_bad_input import refused, run
from tests.parsers.test_pipeline import ANSWER, QUERY, conversation, datagram
from tests.wire.helpers import Pcapng, ip4, ip6, pcap, tcp, udp

CAPTURES = Path(__file__).parents[2] / "captures"
R = CAPTURES / "same-nat-ip-sshuttle"
VM, HOST = str(R / "vm.pcap.gz"), str(R / "host.pcap.gz")
LOGS = ("--vm-errors", str(R / "vm-errors.log"), "--host-errors", str(R / "host-errors.log"))

#: The contract, and what is ours besides.
CONTRACT = ("inputs", "quality", "clock", "target", "counts", "peaks", "limit", "limiter", "hypotheses", "cause", "fixes", "findings")
OURS = ("best_fix", "paths", "tails", "unmatched_rejections", "chains", "parties", "sides", "budget", "limiter_probabilities")


def found(*args: str, data: bytes | None = None) -> dict[str, Any]:
    done = run("analyze", *args, "--format", "json", data=data)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def both() -> dict[str, Any]:
    return found("--vm", VM, "--host", HOST, *LOGS)


# --- JSON ---------------------------------------------------------------------------------------------------------------------------------------


def test_the_json_is_one_object_with_the_fields_of_the_contract_and_ours(both: dict[str, Any]) -> None:
    assert set(CONTRACT) <= set(both)
    assert set(both) - set(CONTRACT) == set(OURS)
    assert set(both["clock"]) >= {"offset_s", "low_s", "high_s", "drift_ppm", "method"}
    assert both["clock"]["low_s"] <= both["clock"]["offset_s"] <= both["clock"]["high_s"]
    assert set(both["target"]) >= {"names", "addresses"}
    in_doubt = {"exchanges_between", "exchanges_likeliest", "exchanges_by_connection", "in_flight_between"}
    assert set(both["counts"]) == {"sessions", "connections", "lookups", "exchanges", "rejections", "refused_by_class"} | in_doubt
    assert [both["counts"][name] for name in in_doubt] == [None] * 4
    assert both["counts"]["refused_by_class"] == {"concurrency": both["counts"]["rejections"]}
    assert (both["limiter"]["kind"], both["limiter"]["unit"], both["limiter"]["scope"], both["limiter"]["value"]) == (
        "concurrency",
        "requests",
        "egress",
        2,
    )
    assert set(both["peaks"]) >= {"vm", "host", "combined"}
    assert set(both["limit"]) >= {"rule", "value", "low", "high", "auc", "p"}
    ids = [h["id"] for h in both["hypotheses"]]
    assert ids == [cause.ID for cause in all_causes()]
    assert set(ids) >= {"same-nat-ip", "multiplexing", "dns", "keep-alive", "own-concurrency", "own-rate", "provider"}
    for h in both["hypotheses"]:
        assert set(h) >= {"id", "verdict", "attributable_fraction", "p", "evidence", "needs"}
        assert h["verdict"] in ("supported", "refuted", "undecided")
        assert (h["needs"] is None) == (h["verdict"] != "undecided")
        assert all(set(e) == {"text", "detail", "frames"} for e in h["evidence"])
        assert all(set(f) == {"file", "frame"} and f["file"] in (VM, HOST) for e in h["evidence"] for f in e["frames"])
    for fix in both["fixes"]:
        assert set(fix) >= {"id", "rejections_before", "rejections_after", "added_wait_s", "command"}
    assert (both["cause"], both["limit"]["value"]) == ("same-nat-ip", 2)


def test_without_a_limit_it_is_null() -> None:
    document = found(str(CAPTURES / "healthy"))
    assert (document["limit"], document["cause"], document["counts"]["rejections"]) == (None, None, 0)
    one = found(VM)
    assert one["clock"] is None
    assert one["limit"] is None


def test_the_same_command_says_the_same(both: dict[str, Any]) -> None:
    assert found("--host", HOST, *LOGS, "--vm", VM) == both


# --- what can be named --------------------------------------------------------------------------------------------------------------------------


def test_a_recording_with_and_without_its_manifest(tmp_path: Path, both: dict[str, Any]) -> None:
    document = found(str(R))
    assert (document["cause"], document["limit"]["value"], document["target"]["guessed"]) == ("same-nat-ip", 2, False)
    bare = tmp_path / "bare"
    bare.mkdir()
    for side in ("vm", "host"):
        (bare / f"{side}.pcap").write_bytes(gzip.decompress((R / f"{side}.pcap.gz").read_bytes()))
        shutil.copy(R / f"{side}-errors.log", bare)
    document = found(str(bare))
    assert document["target"]["guessed"]
    assert {k: document[k] for k in ("counts", "limit", "cause")} == {k: both[k] for k in ("counts", "limit", "cause")}


def test_rotated_parts_are_one_capture(tmp_path: Path, both: dict[str, Any]) -> None:
    for side in ("vm", "host"):
        data = gzip.decompress((R / f"{side}.pcap.gz").read_bytes())
        cuts, at = [24], 24
        while at < len(data):
            at += 16 + struct.unpack_from("<I", data, at + 8)[0]
            cuts.append(at)
        for k in range(4):
            part = data[:24] + data[cuts[len(cuts) * k // 4] : cuts[min(len(cuts) * (k + 1) // 4, len(cuts) - 1)]]
            (tmp_path / f"{side}-{k + 8}.pcap").write_bytes(part)  # 8 9 10 11: by number, not by letter
        shutil.copy(R / f"{side}-errors.log", tmp_path)
    document = found(str(tmp_path))
    assert len(document["inputs"]) == 8
    assert {k: document[k] for k in ("counts", "limit", "cause")} == {k: both[k] for k in ("counts", "limit", "cause")}


def test_one_side_may_be_standard_input(both: dict[str, Any]) -> None:
    document = found("--vm", "-", "--host", HOST, *LOGS, data=gzip.decompress(Path(VM).read_bytes()))
    assert {k: document[k] for k in ("counts", "cause")} == {k: both[k] for k in ("counts", "cause")}
    done = run("analyze", "--vm", "-", "--host", "-", data=b"")
    assert done.returncode == 2
    assert "only one side can be standard input; give a file for the other" in done.stderr


def test_one_capture_says_what_it_shows_and_what_would_decide() -> None:
    done = run("analyze", VM, "--vm-errors", str(R / "vm-errors.log"))
    assert done.returncode == 0
    assert done.stderr == ""
    assert "you need   a capture of the host over the same time" in done.stdout


def test_api_by_name_and_by_address() -> None:
    for api in ("api.z.ai", "API.Z.AI.", "z.ai", "203.0.113.10"):
        document = found(VM, "--api", api)
        assert document["target"]["addresses"] == ["203.0.113.10"]
        assert not document["target"]["guessed"]


# --- files ----------------------------------------------------------------------------------------------------------------------------------------


def test_o_writes_the_report_and_the_pictures(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er"
    done = run("analyze", str(R), "-o", str(out), "--format", "json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert json.loads((out / "report.json").read_text()) == document
    names = {p.name for p in out.rglob("*") if p.is_file()}
    assert {"report.json", "concurrency.png", "concurrency.svg", "timeline.png", "timeline.svg"} <= names
    assert not [n for n in names if n.startswith(".")]


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_o_that_is_no_directory(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("analyze", VM, "-o", str(tmp_path / where))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


# --- refused --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "give a capture"),
        ([VM, "--host", HOST], "give either a CAPTURE or RECORDING, or the sides"),
        ([VM, HOST], "each must be a recording (a folder)"),
        ([str(R), str(R)], "the same recording is given twice"),
        ([VM, "--format", "yaml"], "'yaml' is not one of 'text', 'json'"),
        (["--vm"], "requires an argument"),
    ],
)
def test_wrong_usage(args: list[str], says: str) -> None:
    done = run("analyze", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--vm", VM, "--host", VM], "the captures of VM and host are the same"),
        (["--vm", VM, "--host", "nope.pcap"], "nope.pcap: no such file"),
        (["--vm", VM, "--host", HOST, "--vm-errors", "nope.log"], "nope.log: the error log cannot be read (no such file or directory)"),
        (["--vm", VM, "--host", HOST, "--vm-errors", str(CAPTURES)], "is a directory, not a file"),
        (["--vm", VM, "--host", HOST, "--keylog", "nope.txt"], "nope.txt: the key log cannot be read (no such file or directory)"),
        (["--vm", VM, "--host", HOST, "--api", "a\x1b[31m.example"], r"--api a\x1b[31m.example: this capture has no connection there"),
        ([str(CAPTURES)], "this folder has no host.pcap or vm.pcap"),
    ],
)
def test_input_that_cannot_be_used(args: list[str], says: str) -> None:
    refused(run("analyze", *args), says)


def test_a_manifest_whose_api_nobody_called(tmp_path: Path) -> None:
    shutil.copytree(R, tmp_path / "r")
    manifest = tmp_path / "r" / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('names = ["api.z.ai"]', 'names = ["other.example"]'))
    refused(run("analyze", str(tmp_path / "r")), "the manifest's API other.example", "only to api.z.ai", "--api NAME chooses another")
    assert found(str(tmp_path / "r"), "--api", "api.z.ai")["cause"] == "same-nat-ip"


def test_files_that_the_manifest_names_and_nobody_finds_are_told(tmp_path: Path) -> None:
    shutil.copytree(R, tmp_path / "r")
    (tmp_path / "r" / "vm.pcap.gz").unlink()
    document = found(str(tmp_path / "r"))
    assert "the folder lacks vm.pcap.gz, which the manifest names" in document["quality"]["notes"]
    assert document["cause"] is None


@pytest.mark.parametrize(
    "content", [b"", os.urandom(50_000), b"no time here\n" * 100, gzip.compress(b"")], ids=["empty", "binary", "text", "gz"]
)
def test_an_error_log_without_errors_is_no_error(content: bytes, tmp_path: Path) -> None:
    log = tmp_path / "e.log"
    log.write_bytes(content)
    document = found("--vm", VM, "--host", HOST, "--vm-errors", str(log))
    assert document["cause"] in ("same-nat-ip", None)  # what the traffic shows


@pytest.mark.parametrize("content", [b"", os.urandom(50_000)], ids=["empty", "binary"])
def test_a_key_log_without_keys_is_told(content: bytes, tmp_path: Path) -> None:
    keys = tmp_path / "k.txt"
    keys.write_bytes(content)
    document = found("--vm", VM, "--host", HOST, *LOGS, "--keylog", str(keys))
    assert document["cause"] == "same-nat-ip"
    assert any("holds no TLS keys" in note for note in document["quality"]["notes"])


# --- odd captures -----------------------------------------------------------------------------------------------------------------------------------


def test_captures_without_a_connection(tmp_path: Path) -> None:
    header = pcap([])
    only_udp = pcap([ip4(udp(b"x" * 30), 17), ip6(udp(b"y" * 30), 17)])
    for name, data in (("empty", header), ("udp", only_udp)):
        (tmp_path / f"{name}.pcap").write_bytes(data)
        document = found(str(tmp_path / f"{name}.pcap"))
        assert document["target"]["names"] == document["target"]["addresses"] == []
        assert document["counts"]["exchanges"] == 0
        assert document["cause"] is None
    pair = found("--vm", str(tmp_path / "empty.pcap"), "--host", str(tmp_path / "udp.pcap"))
    assert pair["cause"] is None
    assert run("analyze", "--vm", str(tmp_path / "empty.pcap"), "--host", str(tmp_path / "empty.pcap")).returncode == 0


def test_ipv6(tmp_path: Path) -> None:
    path = tmp_path / "six.pcap"
    path.write_bytes(pcap([ip6(tcp(flags=2, seq=99)), ip6(tcp(b"x" * 50, seq=100)), ip6(tcp(b"y" * 50, seq=150))]))
    document = found(str(path))
    (address,) = document["target"]["addresses"]
    assert ":" in address
    assert found(str(path), "--api", address)["target"]["guessed"] is False


def test_a_capture_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(gzip.decompress(Path(VM).read_bytes())[:100_001])
    done = run("analyze", "--vm", str(path), "--host", HOST, *LOGS, "--format", "json")
    assert done.returncode == 0
    assert "cut short in the middle of a record" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    json.loads(done.stdout)


def test_names_from_strangers_stay_data(tmp_path: Path) -> None:
    evil = os.fsencode(str(tmp_path)) + b"/a\x1b[31m\nb\xff.pcap"
    shutil.copy(VM, evil)
    done = run("analyze", os.fsdecode(evil), "-v")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"a\x1b[31m\x0ab" in done.stdout
    document = found(os.fsdecode(evil))
    assert os.fsencode(document["inputs"][0]["path"]) == evil


@pytest.mark.parametrize("path", ["sshuttle", "nat"])
def test_a_pair_of_ten_thousand_packets(path: str, tmp_path: Path) -> None:
    truth = generate(tmp_path, connections=150, path=path)
    document = found(str(tmp_path))
    assert document["counts"]["exchanges"] == truth["requests"]
    assert document["counts"]["connections"] == truth["to_the_api"]
    assert (document["cause"], document["limit"]["value"]) == ("same-nat-ip", truth["limit"])
    assert document["clock"]["low_s"] <= 1.234567 + 20e-6 * 1.5 <= document["clock"]["high_s"] + 1e-4


def test_help_has_an_example_that_can_be_pasted() -> None:
    done = run("analyze", "--help")
    assert "netlens analyze --vm vm.pcap --host host.pcap --vm-errors opencode.log" in done.stdout


@pytest.fixture(scope="module")
def odd_times() -> dict[str, list[tuple[int, bytes]]]:
    """Packets with their times in us: all of them before 1970, from before to after, and with a clock that is set back by an hour."""
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY)]
    packets += [p for k in range(6) for p in conversation("10.0.0.2", 4000 + k, "203.0.113.10", 77 + k, False, 2, 2, "fin")]
    packets += [datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]  # in the set-back capture before its question
    step, hour = 10_000, 3_600_000_000
    back = len(packets) // 2 + 5  # inside a connection
    return {
        "before 1970": [(i * step - 9 * hour, p) for i, p in enumerate(packets)],
        "around 1970": [(i * step - 1_000_000, p) for i, p in enumerate(packets)],
        "set back": [(i * step + 9 * hour - (hour if i >= back else 0), p) for i, p in enumerate(packets)],
    }


@pytest.mark.parametrize("which", ["before 1970", "around 1970", "set back"])
def test_times_before_1970_and_a_clock_that_is_set_back(which: str, odd_times: dict[str, list[tuple[int, bytes]]], tmp_path: Path) -> None:
    """Everything counts from the earliest frame: no command fails over such times, and none shows a negative one."""
    path, out = str(tmp_path / "c.pcapng"), tmp_path / "out"
    earliest = min(t for t, _ in odd_times[which])
    file = Pcapng().interface(tsoffset=min(0, earliest // 1_000_000))
    for t, packet in odd_times[which]:
        file.enhanced(packet, t - min(0, earliest // 1_000_000) * 1_000_000)
    Path(path).write_bytes(file.bytes())
    text = run("analyze", path, "-o", str(out))
    assert (text.returncode, text.stderr.count("\n")) == (0, 1), text.stderr
    assert not re.search(r"-\d+[.,\d]* m?s\b", text.stdout), text.stdout
    quality = json.loads((out / "report.json").read_text())["quality"]
    assert quality["first_ns"] == earliest * 1000
    assert quality["last_ns"] == max(t for t, _ in odd_times[which]) * 1000
    assert {"report.html", "summary.png", "lookups.svg"} <= {p.name for p in out.iterdir()}
    for command, columns in (
        ("sessions", "start,duration_s,half_closed_s"),
        ("connections", "start,duration_s"),
        ("dns", "start,latency_ms"),
        ("exchanges", "start,wait_ms,total_ms"),
    ):
        done = run(command, path, "--columns", columns)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) > 1
        assert "-" not in done.stdout, done.stdout
        assert run(command, path, "--format", "json").returncode == 0
    for command, form in (("sessions", "trace"), ("connections", "trace"), ("sessions", "zeek"), ("dns", "zeek")):
        done = run(command, path, "--format", form)
        assert done.returncode == 0, done.stderr
        assert not re.search(r'"(ts|dur)":-', done.stdout)
    replayed = run("watch", "--replay", path, "--speed", "0")
    assert replayed.returncode == 0, replayed.stderr
    assert " in 00:-" not in replayed.stdout


def test_a_file_before_1970_that_follows_another_does_not_overlap_it(tmp_path: Path) -> None:
    for k in range(2):
        file = Pcapng().interface(tsoffset=-1000)
        for i in range(3):
            file.enhanced(ip4(tcp(flags=2, seq=99), src=f"192.0.2.{10 + i}"), (100 * k + i) * 1_000_000)
        (tmp_path / f"{k}.pcapng").write_bytes(file.bytes())
    done = run("sessions", str(tmp_path / "0.pcapng"), str(tmp_path / "1.pcapng"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_ends_it_quietly() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join([sys.executable, '-m', 'netlens', 'analyze', str(R)])} | head -1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "12 of 67 requests to api.z.ai were refused.\n"
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_recordings_that_disagree_are_said_to() -> None:
    unlike = found(str(CAPTURES / "same-nat-ip-nat"), str(CAPTURES / "own-concurrency-excluded"))
    (said,) = (note for note in unlike["quality"]["notes"] if note.startswith("by themselves the recordings have different causes"))
    assert "same-nat-ip, own-concurrency" in said
    alike = run("analyze", str(CAPTURES / "same-nat-ip-nat"), str(R))
    assert "by themselves" not in alike.stdout
    assert re.search(r"outcomes known for (\d+) of \1 requests", re.sub(r"\s+", " ", alike.stdout))
