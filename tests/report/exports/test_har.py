"""The HTTP archive: by the rules of HAR 1.2, and as haralyzer (a reader by others) reads it."""

from __future__ import annotations

import io
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from netlens import api, lenses
from netlens.report.exports import Rows, har
from tests.cli.test_commands import run
from tests.lenses.made import close, exchange, lookup, talk
from tests.parsers.build import MS, mixed, write
from tests.recordings import FOLDER

CAPTURE = FOLDER / "same-nat-ip-nat" / "host.pcap.gz"
#: http://www.softwareishard.com/blog/har-12-spec: what an entry must have.
REQUEST = {
    "method": str,
    "url": str,
    "httpVersion": str,
    "cookies": list,
    "headers": list,
    "queryString": list,
    "headersSize": int,
    "bodySize": int,
}
RESPONSE = {
    "status": int, "statusText": str, "httpVersion": str, "cookies": list, "headers": list, "content": dict, "redirectURL": str, "headersSize": int,
    "bodySize": int,
}  # fmt: skip
TIMES = ("blocked", "dns", "connect", "send", "wait", "receive")  # ssl is part of connect


def archive(path: Path) -> Any:
    capture = api.Capture([path], trail=True)
    out = io.StringIO()
    har.write(
        Rows(capture.table("exchanges"), None, lambda name: lenses.budget_of(capture) if name == "budget" else capture.table(name)), out
    )
    return json.loads(out.getvalue(), parse_float=Decimal)


def obeys_the_format(whole: Any) -> list[Any]:
    log = whole["log"]
    assert log["version"] == "1.2"
    assert set(log["creator"]) == {"name", "version"}
    for entry in log["entries"]:
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
        for part, wanted in (("request", REQUEST), ("response", RESPONSE)):
            assert {name: type(value) for name, value in entry[part].items()} == wanted
        assert set(entry["response"]["content"]) == {"size", "mimeType"}
        assert entry["cache"] == {}
        times = entry["timings"]
        assert min(times["send"], times["wait"], times["receive"]) >= 0
        assert sum(times[name] for name in TIMES if times[name] != -1) == entry["time"]
        assert times["ssl"] <= max(times["connect"], 0)
    return list(log["entries"])


def test_times_are_those_of_the_budget(tmp_path: Path) -> None:
    made = close(exchange(exchange(talk(at=50 * MS, step=10 * MS), wait=100 * MS), wait=30 * MS))
    first, second = obeys_the_format(archive(write(tmp_path / "made.pcap", mixed(lookup("a.example", 0, 40 * MS), made.packets))))
    assert first["timings"] == {"blocked": 20, "dns": 40, "connect": 20, "ssl": -1, "send": 0, "wait": 120, "receive": 0}
    assert first["response"]["status"] == 200
    assert first["request"]["url"] == "http://198.51.100.20:80/"
    assert {second["timings"][name] for name in ("blocked", "dns", "connect", "ssl")} == {-1}


def test_a_recording_s_requests_are_entries_once_and_sums_are_exact() -> None:
    entries = obeys_the_format(archive(CAPTURE))
    copies = api.Capture([CAPTURE]).table("exchanges").rows
    assert 60 < len(entries) < copies
    assert sum(e["timings"]["ssl"] != -1 for e in entries) > 5
    assert all(e["time"] * 1_000_000 == e["_netlens"]["total_ns"] for e in entries)


def test_another_program_reads_it(tmp_path: Path) -> None:
    haralyzer = pytest.importorskip("haralyzer")
    path = tmp_path / "requests.har"
    done = run("exchanges", str(CAPTURE), "--format", "har", "-o", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    read = haralyzer.HarParser(json.loads(path.read_text(encoding="utf-8")))
    (page,) = read.pages
    assert len(page.entries) == len(obeys_the_format(json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)))
    assert {entry.url for entry in page.entries} == {"https://api.z.ai:443/"}
    assert min(entry.startTime for entry in page.entries) == page.entries[0].startTime
    assert all(entry.timings["wait"] + entry.timings["receive"] <= entry.time + 1e-6 for entry in page.entries)


def test_nothing_is_an_archive_too_and_workers_are_refused(tmp_path: Path) -> None:
    assert obeys_the_format(archive(write(tmp_path / "made.pcap", mixed(lookup("a.example", 0, 40 * MS))))) == []
    done = run("exchanges", str(CAPTURE), "--format", "har", "--workers", "2")
    assert done.returncode == 2
    assert "single packets" in done.stderr
