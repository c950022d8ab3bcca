"""Error logs: times to the span that is sure, in both of opencode's forms, raw, reduced, damaged and joined."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from netlens import logs
from netlens.capture.errorlog import reduce_line
from netlens.errors import CaptureError
from netlens.lab.check import Truth, bundled
from netlens.parsers import errorlog
from netlens.parsers.errorlog import MS, SECOND, ErrorLog

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDINGS = bundled(ROOT / "captures")
T0 = 1_769_358_821_000  # ms; 2026-01-25T16:33:41Z
SECRET = "sk-live-0123456789abcdef please summarise my diary"


def read(folder: Path, data: bytes | str) -> ErrorLog:
    path = folder / "errors.log"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return errorlog.read(path)


def iso(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}"


def classic(times: list[int], errors: set[int], first_since: int = 0) -> list[str]:
    """Lines at the given times (ms), those of ``errors`` rejections."""
    out, last = [], times[0] - first_since
    for i, ms in enumerate(times):
        level, rest = ("ERROR", "service=llm error=429 stream error") if i in errors else ("INFO ", f"service=session {SECRET}")
        out.append(f"{level} {iso(ms)} +{ms - last}ms {rest}")
        last = ms
    return out


# -- one line --


@pytest.mark.parametrize(
    ("line", "low_ms", "width_ns", "code"),
    [
        ('ERROR 2026-01-25T16:33:41 +58ms service=llm error={"code":"1302"} stream error', 0, SECOND, "1302"),
        ('WARN  2026-01-25T16:33:41 +58ms service=llm statusCode":429,', 0, SECOND, None),
        (
            'timestamp=2026-01-25T16:33:41.455Z level=ERROR message="stream error" error.error="AI_APICallError: 您当前使用该API的并发数过高"',
            455,
            MS,
            None,
        ),
        ('timestamp=2026-01-25T16:33:41.455Z level=ERROR error.error="AI_APICallError: overloaded" error.code=1305', 455, MS, "1305"),
        ("2026-01-25T16:33:41.455Z High concurrency usage of this API [retrying in 3s attempt #2]", 455, MS, None),
        ("[2026-01-25 16:33:41,455] HTTP 429.", 455, MS, None),
        ("2026-01-25T16:33:41 code: 1302", 0, SECOND, "1302"),  # without a zone: UTC
        ("2026-01-25T18:33:41.5+02:00 HTTP 429", 500, SECOND // 10, None),
        ("2026-01-25T11:03:41.123456789-0530 HTTP 429", 123.456789, 1, None),
        ("1769358821 429", 0, SECOND, None),
        ("1769358821.455 429", 455, MS, None),
        ("1769358821455 429", 455, MS, None),
        ("1769358821455000 429", 455, 1000, None),
        ("1769358821455000001 429", 455.000001, 1, None),
        ("\ufeff \t1769358821455 429\r", 455, MS, None),
        ("2026-01-25T16:33:40.9Z 429", -100, SECOND // 10, None),
        ("2026-01-25T16:32:60Z status=429", -1000 * 41 + 0, SECOND, None),  # a leap second
    ],
)
def test_a_rejection(tmp_path: Path, line: str, low_ms: float, width_ns: int, code: str | None) -> None:
    log = read(tmp_path, line)
    assert len(log.events) == 1
    event = log.events[0]
    assert (event.low_ns, event.high_ns) == (T0 * MS + round(low_ms * MS), T0 * MS + round(low_ms * MS) + width_ns)
    assert event.low_ns <= event.time_ns <= event.high_ns
    assert (event.line, event.code, event.file) == (1, code, str(tmp_path / "errors.log"))
    assert (log.lines, log.unread) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        "INFO  2026-01-25T16:33:41 +3ms service=session prompt=1302 429 High concurrency",
        "DEBUG 2026-01-25T16:33:41 +3ms code=1305",
        "ERROR 2026-01-25T16:33:41 +429ms service=llm error=AbortError",
        "ERROR 2026-01-25T16:33:41 +4ms took 1305 tokens",
        "timestamp=2026-01-25T16:33:41.455Z level=INFO 429",
        "2026-01-25T16:33:41Z port 14290 id 1302x v4.29 -429 4.429 429.5",
        "2026-01-25T16:33:41.429Z ok",
        "1769358821.429 ok",
    ],
)
def test_no_rejection(tmp_path: Path, line: str) -> None:
    log = read(tmp_path, line)
    assert (log.events, log.unread) == ([], 0)
    assert log.first_ns is not None
    assert log.first_ns // SECOND == T0 // 1000


@pytest.mark.parametrize(
    "line",
    ["429", "on 2026-01-25T16:33:41Z 429", "2026-13-25T16:33:41Z 429", "2026-01-25T24:33:41Z 429", "9999-01-25T16:33:41Z 429", "17693588210 429",
     "0001-01-01T00:00:00+14:00 429", "ERROR 2026-01-25T16:33:41 +99999999999999ms 429x"],
)  # fmt: skip
def test_no_time(tmp_path: Path, line: str) -> None:
    log = read(tmp_path, f"{line} {SECRET}\n\n")
    if log.events:  # the plain form of what is no line of opencode's
        pytest.fail(str(log.events))
    assert log.lines == 2
    assert log.unread + (log.first_ns is not None) == 1
    assert "diary" not in str(log)


# -- chains --


def test_milliseconds_are_recovered(tmp_path: Path) -> None:
    times = [T0 + 137 * i + 5 for i in range(100)]
    log = read(tmp_path, "\n".join(classic(times, {50})))
    event = log.events[0]
    assert event.low_ns <= times[50] * MS <= event.high_ns - MS
    assert event.high_ns - event.low_ns <= 20 * MS
    assert (event.line, event.chain) == (51, 0)


@given(
    gaps=st.lists(st.integers(0, 4000), max_size=60),
    start=st.integers(0, 10_000),
    errors=st.sets(st.integers(0, 60)),
    since=st.integers(0, 10**6),
    runs=st.integers(1, 3),
    extra=st.sampled_from(["", "    at async fn (file.ts:12)", "\x00\x7f junk", "ERROR in a stack"]),
)
def test_the_true_time_is_within_the_span(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], start: int, errors: set[int], since: int, runs: int, extra: str
) -> None:
    """Also where runs follow each other in one file (each new start is at least as far away as no chain can hide)."""
    lines, true = [], []
    at = T0 + start
    for _ in range(runs):
        times = [at]
        for gap in gaps:
            times.append(times[-1] + gap)
        for i, line in enumerate(classic(times, errors, since)):
            lines += [line, extra] if extra else [line]
            if i in errors:
                true.append(times[i])
        at = times[-1] + since + 2001 + start
    log = read(tmp_path_factory.mktemp("log"), "\n".join(lines))
    assert len(log.events) == len(true)
    for event, ms in zip(log.events, true, strict=True):
        assert event.low_ns <= ms * MS
        assert (ms + 1) * MS <= event.high_ns
        assert event.high_ns - event.low_ns <= SECOND


def test_a_break_leaves_the_lines_around_it_their_second(tmp_path: Path) -> None:
    """A line is lost somewhere: T of what comes after seems too early, which shows only some lines later."""
    times = [T0 + 100 * i for i in range(120)]
    lines = classic(times, set(range(120)))
    del lines[60]  # its +100ms is missing, the seconds show it at the next change of second at the latest
    log = read(tmp_path, "\n".join(lines))
    kept = times[:60] + times[61:]
    assert len(log.events) == len(kept)
    for event, ms in zip(log.events, kept, strict=True):
        assert event.low_ns <= ms * MS < event.high_ns
    assert {e.chain for e in log.events} == {0, 1, -1}
    rough = [e.line for e in log.events if e.chain == -1]
    assert len(rough) <= 12
    assert min(rough) <= 61 <= max(rough) + 1


def test_where_lines_are_missing_everywhere_nothing_is_refined(tmp_path: Path) -> None:
    times = [T0 + 333 * i for i in range(120)]
    lines = [line for i, line in enumerate(classic(times, set(range(120)))) if i % 5]
    log = read(tmp_path, "\n".join(lines))
    assert {(e.chain, e.high_ns - e.low_ns) for e in log.events} == {(-1, SECOND)}
    assert log.note is not None
    assert "96 of 96" in log.note


def test_a_clock_set_back_within_a_run(tmp_path: Path) -> None:
    """The program's own difference says so."""
    times = [T0 + 50, T0 + 90, T0 - 4000, T0 - 3900]
    log = read(tmp_path, "\n".join(classic(times, {3})))
    assert log.unread == 0
    assert log.events[0].low_ns <= times[3] * MS < log.events[0].high_ns
    assert log.first_ns == (T0 - 4000) * MS


def test_a_damaged_line_breaks_the_chain(tmp_path: Path) -> None:
    times = [T0 + 100 * i for i in range(20)]
    lines = classic(times, {19})
    lines[10] = "garbage " + lines[10]
    log = read(tmp_path, "\n".join(lines))
    assert log.unread == 1
    assert log.events[0].low_ns <= times[19] * MS < log.events[0].high_ns


# -- whole logs --


@pytest.mark.parametrize("recording", [path for path in RECORDINGS if not Truth(path).real], ids=lambda path: path.name)
def test_bundled_logs(recording: Path, tmp_path: Path) -> None:
    """Each refusal that a program saw is in its log, and was written within the span, raw or reduced."""
    truth = Truth(recording)
    for side in ("vm", "host"):
        path = recording / f"{side}-errors.log"
        log = errorlog.read(path)
        seen = sorted(truth.shown(side, e["ns"]) for e in truth.of(side, "done") if e["refused"])
        assert len(log.events) == len(seen)
        for event, ns in zip(log.events, seen, strict=True):
            assert event.low_ns - 20 * MS <= ns <= event.high_ns  # the line comes right after
            assert event.high_ns - event.low_ns < SECOND
            assert event.code in ("1302", "1305")
        assert_reduced_is_read_alike(path, log, tmp_path)


def assert_reduced_is_read_alike(path: Path, log: ErrorLog, tmp_path: Path) -> None:
    reduced = [kept.text for line in path.read_text().splitlines() if (kept := reduce_line(line))]
    again = read(tmp_path, "\n".join(reduced))
    assert [(e.low_ns, e.high_ns, e.code) for e in again.events] == [(e.low_ns, e.high_ns, e.code) for e in log.events]
    assert again.unread == 0


@pytest.mark.parametrize("recording", [path for path in RECORDINGS if Truth(path).real], ids=lambda path: path.name)
def test_bundled_logs_of_the_real_program(recording: Path, tmp_path: Path) -> None:
    """It keeps no journal: each line is a refusal of the provider's log, written at most three seconds later."""
    refused = [e["ns"] for e in Truth(recording).requests if e["refused"]]
    path = recording / "vm-errors.log"
    log = errorlog.read(path)
    assert 5 <= len(log.events) <= len(refused)
    for event in log.events:
        assert any(-MS <= event.high_ns - ns <= 3 * SECOND for ns in refused)
    assert_reduced_is_read_alike(path, log, tmp_path)


@given(st.lists(st.binary() | st.sampled_from(
    [b"\n", b"\r\n", b"ERROR 2026-01-25T16:33:41 +58ms ", b"INFO  2026-01-25T16:33:42 +9ms\n", b"429", b"timestamp=2026-01-25T16:33:41.455Z level=ERROR ",
     b"\xff\xfe", b"\0", b"1769358821 ", b"ERROR 2026-01-25T16:33:41 +999999999999ms 429\n", b"+-5ms"])))  # fmt: skip
def test_no_bytes_are_too_odd(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    data = b"".join(parts)
    assume(not data.startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")))  # gzip that is none cannot be read; lines of UTF-16 end otherwise
    log = read(tmp_path_factory.mktemp("log"), data)
    assert log.lines == len(data.split(b"\n")) - data.endswith(b"\n") - (not data)
    assert 0 <= log.unread <= log.lines
    assert log.events == sorted(log.events, key=lambda e: (e.time_ns, e.line))
    for event in log.events:
        assert 1 <= event.line <= log.lines
        assert event.low_ns <= event.time_ns <= event.high_ns


def test_long_lines(tmp_path: Path) -> None:
    line = b"ERROR 2026-01-25T16:33:41 +58ms service=llm "
    log = read(tmp_path, line + b"x" * 70_000 + b" 429 \n" + line + b"y" * (logs.MAX_LINE + 5) + b" 429\n" + line + b"429")
    assert (log.lines, [e.line for e in log.events]) == (3, [1, 3])


def test_a_failure_is_told_again_behind_a_refusal_that_took_its_place(tmp_path: Path) -> None:
    """curl writes the status, and then what the server said; another program's line of the same failure comes behind."""
    log = read(
        tmp_path,
        "2026-01-25T16:33:41.000Z ERROR a: request failed: status 500\n2026-01-25T16:33:41.100Z ERROR b: status 500 rate limit exceeded\n"
        "2026-01-25T16:33:41.200Z CRITICAL c: request failed: status 500\n",
    )
    assert len(log.events) == 1
    assert [how for *_, how, _ in log.failed] == ["status 500"]


def test_gzip_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(b"2026-01-25T16:33:41Z 429\r\n\r\n2026-01-25T16:33:42Z 429"))
    log = errorlog.read(path)
    assert (log.lines, log.unread, len(log.events)) == (3, 0, 2)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(CaptureError, match=re.escape(str(path))):
        errorlog.read(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.log"):
        with pytest.raises(CaptureError) as caught:
            errorlog.read(path)
        assert "\n" not in str(caught.value)


def test_another_kind_of_file_is_told(tmp_path: Path) -> None:
    log = read(tmp_path, SECRET)
    assert log.note is not None
    assert "no line begins with a time" in log.note
    assert SECRET not in log.note
    empty = read(tmp_path, b"")
    assert (empty.note, empty.lines, empty.first_ns) == (None, 0, None)


def test_converted(tmp_path: Path) -> None:
    log = read(tmp_path, "2026-01-25T16:33:41Z ok\n2026-01-25T16:33:43.1Z 429\n2026-01-25T16:33:45Z ok")
    there = errorlog.converted(log, lambda ns: ns - 5 * SECOND)
    assert there.first_ns == log.first_ns - 5 * SECOND  # type: ignore[operator]
    assert there.last_ns == log.last_ns - 5 * SECOND  # type: ignore[operator]
    assert there.events[0].low_ns == log.events[0].low_ns - 5 * SECOND
    assert there.events[0].high_ns == log.events[0].high_ns - 5 * SECOND


def test_of_several_codes_the_first_counts_also_in_the_copy(tmp_path: Path) -> None:
    """The copy had codes in an order of its own, so that a refusal for overload became one for concurrency."""
    line = 'ERROR 2026-01-25T16:33:41 +58ms service=llm error={"statusCode":429,"code":"1305"} then code=1302'
    kept = reduce_line(line)
    assert kept is not None
    assert kept.text.endswith("service=llm code=1305 status=429 code=1302")
    (tmp_path / "log").write_text(f"{line}\n{kept.text}\n")
    assert [event.code for event in errorlog.read(tmp_path / "log").events] == ["1305", "1305"]


def test_logs_of_several_programs_speak_while_all_of_them_do(tmp_path: Path) -> None:
    paths = []
    for name, hour in (("a", "10"), ("b", "11")):
        path = tmp_path / f"{name}.log"
        path.write_text(f"2026-06-20T{hour}:00:00Z status 429\n2026-06-20T{hour}:50:00Z done\n")
        paths.append(path)
    one, two = (errorlog.read(path) for path in paths)
    both = errorlog.joined([one, two])
    assert [event.file for event in both.events] == [str(path) for path in paths]
    assert (both.first_ns, both.last_ns) == (two.first_ns, one.last_ns)


def turned_over(folder: Path, older: str, newer: str, apart: bool = True) -> ErrorLog:
    """Two logs with refusals at 1 and 2, and at 3 and 4 s; or at 1 and 3, and at 2 and 4 s."""
    paths = [folder / older, folder / newer]
    for path, times in zip(paths, ((1, 2), (3, 4)) if apart else ((1, 3), (2, 4)), strict=True):
        text = "".join(f"2026-01-25T16:33:0{s}.000Z INFO start\n2026-01-25T16:33:0{s}.500Z ERROR status 429\n" for s in times).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    names = [str(path) for path in reversed(paths)]
    return errorlog.joined(errorlog.pieces(names, [errorlog.read(name) for name in names]))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("agent.log.1", "agent.log"),
        ("agent.log.2.gz", "agent.log.1"),
        ("agent.log-20260125", "agent.log"),
        ("agent.log-20260124.gz", "agent.log-20260125"),
        ("agent.log.2026-01-25_16-33", "agent.log"),
        ("agent-2026-01-24.log", "agent-2026-01-25.log"),
        ("agent-2026-01-25T16-33-01.123.log", "agent.log"),
        ("agent.1.log", "agent.log"),
        ("agent.log.old", "agent.log"),
        ("agent.2026-01-25.0.log.gz", "agent.2026-01-25.1.log"),
    ],
)
def test_pieces_of_a_log_that_was_turned_over_are_one(tmp_path: Path, older: str, newer: str) -> None:
    log = turned_over(tmp_path, older, newer)
    assert len(log.events) == 4
    assert (log.first_ns, log.last_ns) == (log.events[0].low_ns - 500 * MS, log.events[-1].high_ns)


@pytest.mark.parametrize(
    ("older", "newer", "apart"),
    [("agent.log.1", "agent.log", False), ("agent-1.log", "agent-2.log", True), ("vm.log", "host.log", True), ("a.log.1", "b.log", True)],
)
def test_logs_of_two_programs_are_no_pieces_of_one(tmp_path: Path, older: str, newer: str, apart: bool) -> None:
    """Their times overlap, or their names are of two programs: the silence of the one says nothing while only the other tells."""
    log = turned_over(tmp_path, older, newer, apart)
    assert len(log.events) == 4
    assert log.last_ns is not None
    assert log.last_ns < log.events[-1].low_ns


def seam(shared: int, *, empty: bool = False) -> tuple[str, str, str]:
    """Three pieces with a refusal each second, of which each begins with so many lines of the one before."""
    lines = [f"2026-01-25T16:33:{k // 2:02d}.{k % 2 * 500:03d}Z {'ERROR status 429' if k % 2 else f'INFO start {k}'}\n" for k in range(90)]
    pieces = ("".join(lines[:30]), "".join(lines[30 - shared : 60]), "".join(lines[60 - shared :]))
    return (pieces[0], "".join(lines[30:]), "\n") if empty else pieces


@pytest.mark.parametrize(
    "pieces", [seam(0), seam(15), seam(2), seam(0, empty=True)], ids=["apart", "shared", "two lines", "just turned over"]
)
def test_pieces_that_share_lines_or_are_empty(tmp_path: Path, pieces: tuple[str, str, str]) -> None:
    names = [str(tmp_path / name) for name in ("a.log.2", "a.log.1", "a.log")]
    for name, text in zip(names, pieces, strict=True):
        Path(name).write_text(text)
    log = errorlog.joined(errorlog.pieces(names, [errorlog.read(name) for name in names]))
    assert [e.low_ns for e in log.events] == [T0 // 1000 * SECOND - 41 * SECOND + k * SECOND + 500 * MS for k in range(45)]
    assert (log.first_ns, log.last_ns) == (log.events[0].low_ns - 500 * MS, log.events[-1].high_ns)


def test_a_batch_of_records_is_read_beyond_what_other_lines_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(records: int) -> str:
        told = ",".join(
            f'{{"timeUnixNano": "{(T0 + k) * MS}", "severityNumber": 17, "body": {{"stringValue": "failed: 429 {"x" * 900}"}}}}'
            for k in range(records)
        )
        return f'{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{told}]}}]}}]}}\n'

    log = read(tmp_path, batch(2000) + batch(3) + '{"text": "' + "x" * 3_000_000 + '"}\n')
    assert ([e.line for e in log.events], log.lines) == ([1] * 2000, 3)  # those of the second are the same
    monkeypatch.setattr("netlens.logs._batches.MAX_BATCH", 1_500_000)
    log = read(tmp_path, batch(3) + batch(2000) + batch(2))
    assert (len(log.events), log.lines) == (3, 3)
    assert log.note is not None
    assert log.note.endswith("line 2 is longer than 1.5 MB, and what is in it was not read")


def test_the_account_of_requests_tells_processes_that_were_at_work_together(tmp_path: Path) -> None:
    def line(second: int, run: str) -> str:
        return (
            f"timestamp=2026-06-20T16:38:{second:02d}.455Z level=INFO run={run} message=stream session.id=ses_{run} small=false agent=build"
        )

    one_after_another = read(tmp_path, "\n".join([line(1, "a"), line(5, "a"), line(7, "b"), line(9, "b")]))
    assert [start.small for start in one_after_another.starts] == [False] * 4
    assert len({start.session for start in one_after_another.starts}) == 2
    assert errorlog.at_once(one_after_another) == 1
    assert errorlog.at_once(read(tmp_path, "\n".join([line(1, "a"), line(5, "b"), line(7, "a"), line(9, "b")]))) == 2
    assert errorlog.at_once(read(tmp_path, "2026-06-20T16:38:30Z HTTP 429\n")) == 0


# -- times without a date, and logs without times --


@pytest.mark.parametrize(
    ("time", "true"),
    [
        ("2026/01/25 16:33:41", "2026-01-25T16:33:41"),
        ("1/25/2026, 4:33:41 PM", "2026-01-25T16:33:41"),
        ("25/01/2026, 16:33:41", "2026-01-25T16:33:41"),
        ("25.1.2026, 16:33:41", "2026-01-25T16:33:41"),
        ("Jan 25 16:33:41", "2026-01-25T16:33:41"),
        ("16:33:41", "2026-01-25T16:33:41"),
        ("[16:33:41.250]", "2026-01-25T16:33:41"),
        ("Sun Jan 25 16:33:41 2026", "2026-01-25T16:33:41"),
        ("Sun Jan 25 2026 17:33:41 GMT+0100 (CET)", "2026-01-25T16:33:41"),
        ("[01/25/26 16:33:41]", "2026-01-25T16:33:41"),
        ("agent-1  | 2026-01-25T16:33:41Z", "2026-01-25T16:33:41"),
    ],
)
def test_times_as_go_syslog_and_countries_write_them(tmp_path: Path, time: str, true: str) -> None:
    found = errorlog.dated(read(tmp_path, f"{time} ERROR 429 Too Many Requests\n"), T0 * MS + 3600 * SECOND)
    (event,) = found.events
    assert iso(event.low_ns // MS) == true


def test_midnight_passes_in_a_log_without_dates(tmp_path: Path) -> None:
    lines = [f"{time} 429 Too Many Requests" for time in ("23:59:58", "23:59:59", "00:00:01", "09:00:00")]
    midnight = (T0 // 86_400_000 + 1) * 86_400 * SECOND
    found = errorlog.dated(read(tmp_path, "\n".join(lines)), midnight + 10 * 3600 * SECOND)
    assert [(event.low_ns - midnight) // SECOND for event in found.events] == [-2, -1, 1, 9 * 3600]


def test_new_year_passes_in_a_log_without_years(tmp_path: Path) -> None:
    log = read(tmp_path, "Dec 31 23:59:59 vm agent[7]: 429\nJan  1 00:00:01 vm agent[7]: 429\n")
    found = errorlog.dated(log, int(datetime(2027, 1, 1, 1, tzinfo=UTC).timestamp()) * SECOND)
    assert [iso(event.low_ns // MS) for event in found.events] == ["2026-12-31T23:59:59", "2027-01-01T00:00:01"]


def test_dates_that_are_there_are_kept(tmp_path: Path) -> None:
    log = read(tmp_path, "2026-01-25T16:33:41Z 429\n16:33:42 429\n")
    assert errorlog.dated(log, 0) == log
    assert [event.low_ns // MS - T0 for event in log.events] == [0, 1000]


def test_a_log_without_times_says_how_many_there_were(tmp_path: Path) -> None:
    log = read(tmp_path, "litellm.RateLimitError: Rate limit reached for glm-4.7\nRetrying in 0.2 seconds...\n" * 3)
    assert (log.untimed, log.events) == (("rate",) * 3, [])
    assert log.note is not None
    assert "3 lines of it tell of refusals" in log.note
    assert read(tmp_path, "2026-01-25T16:33:41Z start\nlitellm.RateLimitError: 429\n").untimed == ()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_as_powershell_writes_it(tmp_path: Path, encoding: str) -> None:
    text = "\ufeff2026-01-25T16:33:41Z ERROR 429 Zu viele Anfragen \u4e0a\r\n2026-01-25T16:33:42Z INFO ok\r\n"
    log = read(tmp_path, text.encode(encoding))
    assert (log.lines, log.unread, [event.line for event in log.events]) == (2, 0, [1])


@pytest.mark.parametrize(
    ("said", "bare"),
    [
        ("retry budget 429 left", True),
        ("POST /v1/chat 429 in 13ms", True),
        ("429 Too Many Requests", False),
        ("HTTP 429", False),
        ("Error code: 429 - {}", False),
        ('"POST /v1 HTTP/1.1" 529 -', False),
        ("Request failed with status code 429", False),
    ],
)
def test_a_number_that_nobody_calls_a_status(tmp_path: Path, said: str, bare: bool) -> None:
    (event,) = read(tmp_path, f"2026-01-25T16:33:41Z {said}\n").events
    assert event.bare == bare


@pytest.mark.parametrize("said", ["Overloaded", "ERROR Overloaded", "529: Overloaded"])
def test_overloaded_in_a_word(tmp_path: Path, said: str) -> None:
    (event,) = read(tmp_path, f"2026-01-25T16:33:41Z {said}\n").events
    assert event.refusal_class == logs.OVERLOAD


def test_what_a_shipper_sends_twice_is_told_once(tmp_path: Path) -> None:
    """Two refused in one moment are two, and so are those of two seconds that are written to the second alone."""
    line = "2026-12-01T08:10:4{}.976Z ERROR Error code: 429\n"
    batch = line.format(1) + line.format(1) + line.format(2)
    assert len(read(tmp_path, batch).events) == 3
    assert len(read(tmp_path, batch + line.format(5) + batch + line.format(6)).events) == 5
    rough = "2026-12-01T08:10:4{}Z ERROR Error code: 429\n"
    assert len(read(tmp_path, rough.format(1) + rough.format(2) + rough.format(1)).events) == 3


def test_ids_say_nothing_of_what_became_of_a_request(tmp_path: Path) -> None:
    """Lines are read alike that differ by them only; what stands behind them is read."""
    line = 'timestamp=2026-01-25T16:33:{:02d}.837Z level=ERROR service=llm sessionID={} message="stream error" error.error="{}"'
    told = [
        (line.format(0, "ses_111aX0001", "socket closed"), False),
        (line.format(1, "ses_222bY0002", "High concurrency usage of this API, please reduce concurrency"), True),
        (line.format(2, "0e3c4290-4290-4290-8290-429042904290", "socket closed"), False),
        (line.format(3, "ses_333cZ0003", "High concurrency usage of this API, please reduce concurrency"), True),
        (line.format(4, "ses_444dW0004", "429 Too Many Requests"), True),
    ]
    log = read(tmp_path, "\n".join(text for text, _ in told) + "\n")
    assert [event.line for event in log.events] == [k for k, (_, refused) in enumerate(told, 1) if refused]
    assert [event.refusal_class for event in log.events] == [logs.CONCURRENCY, logs.CONCURRENCY, logs.UNKNOWN]
