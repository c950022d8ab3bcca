"""The forms that other programs read, through the commands as people run them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from netlens.report.communityid import community_id
from tests.cli.test_commands import run
from tests.lenses.made import S, lookup
from tests.parsers.build import mixed, write
from tests.parsers.test_pipeline import ANSWER, QUERY, conversation, datagram, pcap


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 2, 2, "fin")
    packets += conversation("10.0.0.2", 4001, "203.0.113.10", 99999, True, 1, 1, "rst")
    path = tmp_path_factory.mktemp("exports") / "small.pcap"
    path.write_bytes(pcap([(i * 1000, p) for i, p in enumerate(packets)]))
    return path


@pytest.mark.parametrize(("command", "bars"), [("sessions", 3), ("connections", 4)])  # connections: two, and two halves of one of them
def test_trace(capture: Path, tmp_path: Path, command: str, bars: int) -> None:
    out = tmp_path / "trace.json"
    done = run(command, str(capture), "--format", "trace", "-o", str(out))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    events = json.loads(out.read_text())["traceEvents"]
    assert len([e for e in events if e["ph"] == "X" and e["cat"] == "tcp"]) == bars
    assert run(command, str(capture), "--format", "trace").stdout == out.read_text()
    limited = run(command, str(capture), "--format", "trace", "--limit", "1")
    assert "1 of" in limited.stderr
    assert len([e for e in json.loads(limited.stdout)["traceEvents"] if e["ph"] == "X" and e["cat"] == "tcp"]) == 1


def test_failed_lookups_and_long_names(tmp_path: Path) -> None:
    long = f"{'a' * 60}.example.test"
    lookups = [lookup(long, 0, txid=1), lookup("b.example.test", S, 2 * S, 2, txid=2), lookup("c.example.test", 3 * S, 4 * S, txid=3)]
    path = write(tmp_path / "made.pcap", mixed(*lookups))
    rows = list(csv.DictReader(io.StringIO(run("dns", str(path), "--failed", "--format", "csv").stdout)))
    assert [(row["qname"], row["rcode"]) for row in rows] == [(long, ""), ("b.example.test", "SERVFAIL")]
    assert f"{'a' * 31}…aaa.example.test" in (table := run("dns", str(path), "--failed").stdout)
    assert long not in table
    assert long in run("dns", str(path), "--columns", "qname").stdout


@pytest.mark.parametrize("command", ["sessions", "connections"])
def test_community_id_in_every_form(capture: Path, tmp_path: Path, command: str) -> None:
    rows = json.loads(run(command, str(capture), "--format", "json", "--community-id").stdout)
    assert rows
    for row in rows:
        assert list(row)[-1] == "community_id"
        assert row["community_id"] == community_id(row["orig_ip"], row["orig_port"], row["resp_ip"], row["resp_port"])
    ids = [row["community_id"] for row in rows]
    for more in (["--columns", "sni,community_id"], ["--columns", "sni", "--community-id"]):
        shown = list(csv.DictReader(io.StringIO(run(command, str(capture), "--format", "csv", *more).stdout)))
        assert [list(r) for r in shown] == [["sni", "community_id"]] * len(ids)
        assert [r["community_id"] for r in shown] == ids
    table = run(command, str(capture), "--community-id").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["community_id", *ids]
    out = tmp_path / "out.parquet"
    assert run(command, str(capture), "--community-id", "--format", "parquet", "-o", str(out)).returncode == 0
    import pyarrow.parquet as pq

    assert pq.read_table(out)["community_id"].to_pylist() == ids
    assert "Community ID" in pq.read_schema(out).field("community_id").metadata[b"meaning"].decode()


def test_zeek_logs(capture: Path) -> None:
    conn = run("sessions", str(capture), "--format", "zeek", "--community-id").stdout.splitlines()
    assert conn[4] == "#path\tconn"
    assert conn[6].endswith("\ttunnel_parents\tip_proto\tcommunity_id")
    assert len([line for line in conn if not line.startswith("#")]) == 3
    dns = run("dns", str(capture), "--format", "zeek").stdout.splitlines()
    assert dns[4] == "#path\tdns"
    assert len([line for line in dns if not line.startswith("#")]) == 1
    assert "\tapi.example.test\t" in dns[8]


@pytest.mark.parametrize(("command", "form"), [("sessions", "zeek"), ("dns", "zeek"), ("sessions", "trace"), ("connections", "trace")])
def test_forms_with_columns_of_their_own_take_no_others(capture: Path, command: str, form: str) -> None:
    done = run(command, str(capture), "--format", form, "--columns", "sni")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--format {form} has its own columns" in done.stderr


def test_lookups_have_no_community_id(capture: Path) -> None:
    assert run("dns", str(capture), "--community-id").returncode == 2
    assert "no column 'community_id'" in run("dns", str(capture), "--columns", "community_id").stderr
