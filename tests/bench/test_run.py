"""The benchmark's report and its refusals; nothing is measured here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench.check import address_text
from tests.bench.generate import generate
from tests.bench.run import (
    AT_ONCE,
    CAPINFOS,
    INFLATE,
    NETLENS,
    NETLENS_COMMAND,
    ONE_CORE,
    TCPTRACE,
    TSHARK,
    BenchError,
    Contestant,
    Result,
    _from_json,
    _to_json,
    check_parquet,
    measure,
    merge,
    missing,
    report,
    targets,
)


def data(**changes: Any) -> dict[str, Any]:
    fast = Result(CAPINFOS.name, [0.4, 0.3, 0.5], [10**7], packets=1000)
    ours = Result(NETLENS.name, [0.5, 0.7, 0.5], [2 * 10**8], rows=40, packets=1000)
    absent = Result("dpkt loop", packets=1000, failure="not installed")
    growth = {"full": {"1": [ours], "2": [Result(NETLENS.name, [1.0], [3 * 10**8], packets=2000)]}}
    base = {"machine": {"CPU": "one"}, "versions": {"tshark": "4.4"}, "date": "2026-01-01", "repeat": 3, "growth": growth, "small": []}
    return base | {"workloads": {"full": [fast, ours, absent]}, "captures": {"full": {"frames": 1000, "bytes": 10**6}}} | changes


def test_report_has_medians_ratios_and_who_is_absent() -> None:
    text = report(data())
    assert "| netlens, in process | 0.500 | 0.500 to 0.700 | 2,000 | 200 | 40 | 1.25 |" in text
    assert "| dpkt loop | not installed |" in text


def test_targets_are_judged_by_medians() -> None:
    met = {claim: met for claim, _, _, met in targets(data())}
    assert met["full: sessions in process / capinfos -c"] is False
    assert met["sessions in process / capinfos -c, geometric mean of 1 workloads"] is False
    assert met["full: peak memory, in process"] is True
    assert met["full, 1 to 2 times as long, in process: time for twice the packets"] is True
    assert met["full, 1 to 2 times as long, in process: peak memory"] is False
    assert met["full: whole command / tcptrace -n"] is None
    two = data(
        workloads={
            name: [Result(CAPINFOS.name, [0.4], [1], packets=10), Result(NETLENS.name, [s], [1], packets=10)]
            for name, s in (("mixed", 0.2), ("short", 0.5))
        }
    )
    measured = {claim: (text, met) for claim, _, text, met in targets(two)}
    assert measured["sessions in process / capinfos -c, geometric mean of 2 workloads"] == ("0.791", True)  # sqrt(0.5 * 1.25)
    assert measured["short: sessions in process / capinfos -c"][1] is False
    assert measured["mixed: sessions in process / capinfos -c"][1] is True
    slower = data(
        workloads={"short": [Result(NETLENS_COMMAND.name, [3.0], [1], packets=10), Result(TCPTRACE.name, [2.0], [1], packets=10)]}
    )
    assert {claim: met for claim, _, _, met in targets(slower)}["short: whole command / the fastest peer (tcptrace -n)"] is False


def test_a_bound_stands_beside_what_it_bounds() -> None:
    times = {CAPINFOS: 0.6, NETLENS: 0.5, ONE_CORE: 0.8, AT_ONCE: 0.45, NETLENS_COMMAND: 1.0, TSHARK: 4.0}
    results = [Result(contestant.name, [seconds], [1], packets=10) for contestant, seconds in times.items()]
    packed = [*results, Result(INFLATE.name, [0.6], [1], packets=10)]
    found = {claim: (text, met) for claim, _, text, met in targets(data(workloads={"mixed": results, "gzip": packed}))}
    assert found["mixed: sessions in process, all cores / one"] == ("0.500 s / 0.800 s = 0.625; the bound is 0.450 s = 0.562", True)
    assert found["gzip: whole command / tshark -q -z conv,tcp"] == ("1.000 s / 4.000 s = 0.250; the bound is 0.600 s = 0.150", False)
    assert found["gzip: whole command / the fastest peer (tshark -q -z conv,tcp)"][1] is True


def test_bounds_are_measured(tmp_path: Path) -> None:
    plain, packed = tmp_path / "c.pcap", tmp_path / "c.pcap.gz"
    generate("short", plain, sessions=20)
    generate("gzip", packed, sessions=20)
    for contestant, capture in ((AT_ONCE, plain), (INFLATE, packed)):
        result = Result(contestant.name)
        measure(contestant, capture, capture, tmp_path, result)
        assert not result.failure, result.failure
        assert result.seconds[0] > 0
        assert result.peak_bytes[0] > 0


def test_results_survive_being_stored() -> None:
    assert report(_from_json(_to_json(data()))) == report(data())


@pytest.mark.parametrize("what", [{"machine": {"CPU": "two"}}, {"versions": {"tshark": "4.2"}}, {"repeat": 5}])
def test_results_of_other_machines_or_programs_are_not_merged(what: dict[str, Any]) -> None:
    assert set(merge(data(workloads={"dns": []}), data())["workloads"]) == {"full", "dns"}
    with pytest.raises(BenchError, match=next(iter(what))):
        merge(data(), data(**what))


def test_a_failing_program_is_listed_with_its_first_words(tmp_path: Path) -> None:
    program = "import sys; sys.exit('cannot read ' + sys.argv[1])"
    contestant = Contestant("failing", lambda capture, _, __: [sys.executable, "-c", program, str(capture)])
    result = Result("failing")
    measure(contestant, tmp_path / "x.pcap", tmp_path, tmp_path, result)
    assert result.failure == "failed (exit code 1): cannot read x.pcap"
    assert result.seconds == []


def test_a_program_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    assert missing(Contestant("x", lambda *_: [], program="no-such-program-anywhere")) == "not installed"
    assert missing(Contestant("x", lambda *_: [], module="no-such-module-anywhere")) == "not installed"
    assert missing(Contestant("x", lambda *_: [], program=sys.executable)) == ""


@pytest.mark.parametrize(("workload", "table"), [("short", "sessions"), ("tls", "sessions"), ("dns", "lookups")])
def test_parquet_is_held_against_the_truth(workload: str, table: str, tmp_path: Path) -> None:
    capture, parquet = tmp_path / "c.pcap", tmp_path / "c.parquet"
    truth = generate(workload, capture, sessions=100)
    prefix = table[:-1] + "."
    columns = {name.removeprefix(prefix): values for name, values in truth.items() if name.startswith(prefix) and values.ndim == 1}
    columns |= {name: address_text(values) for name, values in columns.items() if name.endswith("_ip")}
    arrays = {name: pa.array(values, mask=(values == "") | (values == -1)) for name, values in columns.items()}  # null as netlens has it
    pq.write_table(pa.table(arrays), parquet)
    assert check_parquet(parquet, capture, table) == 100
    wrong = "end_ns" if table == "sessions" else "query_ns"
    pq.write_table(pa.table(arrays | {wrong: pa.array(columns[wrong] + (np.arange(100) == 41))}), parquet)
    with pytest.raises(BenchError, match=f"{wrong}: 1 of 100 rows differ, the first is row 41"):
        check_parquet(parquet, capture, table)
