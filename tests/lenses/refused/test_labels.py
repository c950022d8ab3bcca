"""Rejections: labels of the bundled recordings against what the provider wrote down, and the rules one by one on made-up answers."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netlens
from netlens import logs
from netlens.chains.requests import UPSTREAM
from netlens.chains.side import Side as CaptureSide
from netlens.chains.situation import ACCEPTED, ELSEWISE, REJECTED, UNLABELLED
from netlens.lab.check import Report, Side, Truth, bundled
from netlens.lab.check.labels import matched
from netlens.lenses.refused import labels as labels_of
from netlens.lenses.refused.labels import Told, _matching, error_log, key_log, name_by_size
from netlens.lenses.refused.labels._records import behind_lines
from netlens.lenses.refused.labels.answers import infer
from netlens.lenses.refused.labels.error_log import from_log
from netlens.lenses.refused.labels.key_log import from_decrypted
from netlens.parsers import decrypted, errorlog
from netlens.parsers.decrypted import Decrypted, DecryptedRequest
from netlens.parsers.errorlog import ErrorEvent, ErrorLog
from tests.parsers.test_pipeline import datagram, pcap

if TYPE_CHECKING:
    from netlens.lenses.refused.labels._labels import Labels

ROOT = Path(__file__).resolve().parent.parent.parent.parent
RECORDINGS = bundled(ROOT / "captures")
#: Of programs that keep a journal; requests of the real program are held against the provider's log in tests/lab.
PLAIN = [path for path in RECORDINGS if "http2" not in path.name and not Truth(path).real]
MS, S = 1_000_000, 1_000_000_000
T0 = 1_700_000_000 * S
REFUSAL = 259


# -- bundled recordings --


class Seen:
    """One side's capture and, for each of its exchanges that the truth knows, whose it was and whether it was refused."""

    def __init__(self, recording: Path, side: str):
        self.truth = truth = Truth(recording)
        result = truth.manifest.side(side)
        assert result is not None
        capture = netlens.read(result.path)
        self.exchanges, self.sessions, self.hellos = (capture.table(name) for name in ("exchanges", "sessions", "hellos"))
        known = Side(Report(str(recording), truth.scenario), truth, side)
        row_of = {number: row for row, number in enumerate(self.exchanges["exchange_id"].tolist())}
        self.rows: dict[int, tuple[str, bool]] = {}
        for row, event in known._pair(known._seen_by_provider() if side == "host" else known._opened_here()):
            found = known.exchanges.get(row["connection_id"], [])
            if side == "host":
                true = [e for e in truth.requests if e["connection"] == event["connection"]]
            else:
                true = [truth.served[e["request"]] for e in truth.of("vm", "request") if e["connection"] == event["connection"]]
            if row["resp_port"] != 443:  # lookups
                continue
            both = min(len(true), len(found))  # of a connection older than the recording only the last ones are in it
            assert both == len(true) == len(found) or truth.shown(side, event["ns"]) < known.began
            for one, other in zip(found[len(found) - both :], true[len(true) - both :], strict=True):
                self.rows[row_of[one["exchange_id"]]] = other["name"].partition("-")[0], bool(other["refused"])

    def of(self, whose: str | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(rows, refused)"""
        rows = sorted(row for row, (side, _) in self.rows.items() if whose in (None, side))
        return np.array(rows, np.int64), np.array([self.rows[row][1] for row in rows], bool)


@cache
def seen(recording: Path, side: str) -> Seen:
    return Seen(recording, side)


@pytest.mark.parametrize("side", ["vm", "host"])
@pytest.mark.parametrize("recording", PLAIN, ids=lambda path: path.name)
def test_error_logs_of_the_bundled_recordings(recording: Path, side: str) -> None:
    """All refusals are found, and nothing else is called one; the VM's log also with the host's capture, through the tunnel."""
    at = seen(recording, side)
    for whose in ("vm", "host"):
        rows, refused = at.of(whose)
        if not len(rows):
            continue
        log = errorlog.read(recording / f"{whose}-errors.log")
        to_host = (lambda ns, truth=at.truth: 2 * ns - truth.shown("vm", ns)) if (whose, side) == ("vm", "host") else None
        labels = from_log(at.exchanges.take(rows), log, to_host, covers=True)
        assert labels.rejected.tolist() == refused.astype(int).tolist()
        assert len(labels.matched) == refused.sum()
        assert set(labels.source) == {"error log"}
        assert len(labels.unmatched) <= (recording.name == "older-tunnel")  # one refusal is older than the recording
        bounded = from_log(at.exchanges.take(rows), log, to_host)
        told = bounded.rejected != UNLABELLED
        assert (bounded.rejected[told] == refused[told]).all()
        assert told[refused].all()


@pytest.mark.parametrize("side", ["vm", "host"])
@pytest.mark.parametrize("recording", PLAIN, ids=lambda path: path.name)
def test_what_is_inferred_is_never_wrong(recording: Path, side: str) -> None:
    at = seen(recording, side)
    rows, refused = at.of()
    labels = infer(at.exchanges.take(rows), at.sessions, at.hellos)
    told = labels.rejected != UNLABELLED
    assert (labels.rejected[told] == refused[told]).all()
    assert set(labels.source[told]) <= {"inferred"}
    if recording.name == "refused-in-stream" or not refused.any():
        assert not told.any()
    elif refused.sum() >= 8:
        assert told[refused].mean() >= 0.7


@pytest.mark.tshark
def test_key_log_and_error_log_agree() -> None:
    """HTTP/2: streams as the key log shows them, refusals as the error log has them."""
    recording = ROOT / "captures" / "http2"
    keys = decrypted.requests([str(recording / "host.pcap.gz")], str(recording / "vm-keylog.txt"))
    columns: dict[str, list[Any]] = {
        "session_id": [r.session_id for r in keys.rows],
        "stream": [r.stream for r in keys.rows],
        "start_ns": [r.start_ns for r in keys.rows],
        "request_end_ns": [r.request_end_ns for r in keys.rows],
        "response_ns": [r.response_ns for r in keys.rows],
        "end_ns": [r.end_ns for r in keys.rows],
        "up_bytes": [0 for r in keys.rows],
        "down_bytes": [0 for r in keys.rows],
        "complete": [r.complete for r in keys.rows],
    }
    exchanges = {name: np.array(values, object) for name, values in columns.items()}
    by_keys = from_decrypted(exchanges, keys)
    by_log = from_log(exchanges, errorlog.read(recording / "vm-errors.log"), covers=True)
    assert by_keys.rejected.tolist() == by_log.rejected.tolist()
    assert (by_keys.rejected == REJECTED).sum() >= 5
    assert not by_log.unmatched


def test_turns_of_http2_are_not_labelled() -> None:
    recording = ROOT / "captures" / "http2"
    capture = netlens.read(recording / "host.pcap.gz")
    labels = infer(capture.table("exchanges"), capture.table("sessions"), capture.table("hellos"))
    assert set(labels.rejected) == {UNLABELLED}


def test_without_keys_a_log_tells_which_requests_of_http2_were_refused(tmp_path: Path) -> None:
    """Each line stands right behind the record that ends a refusal; the provider's own log says whose it is."""
    recording = tmp_path / "http2"
    shutil.copytree(ROOT / "captures" / "http2", recording, ignore=shutil.ignore_patterns("*keylog*"))
    truth = Truth(recording)
    found = matched(netlens.analyze(str(recording)), truth)
    said = Counter((label, bool(event["refused"])) for label, event in found)
    assert len(found) == len(truth.requests)
    assert said[ACCEPTED, True] == said[REJECTED, False] == 0
    assert said[REJECTED, True] >= 5
    assert said[UNLABELLED, True] + said[UNLABELLED, False] <= 0.1 * len(found)


# -- made-up answers --


def table(*answers: tuple[Any, ...], session: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Answers as (end in ms, size, how long in ms, size of the request); the request was sent 100 ms before the first byte of the answer."""
    rows = []
    for i, (end, size, lasts, *more) in enumerate(answers):
        stop = T0 + round(end * MS)
        first = stop - round(lasts * MS)
        rows.append(
            (session + i, first - 100 * MS, first - 100 * MS, first, stop, more[0] if more else 1000 + 50 * i, size, None, True, i + 1)
        )
    names = [
        "session_id",
        "start_ns",
        "request_end_ns",
        "response_ns",
        "end_ns",
        "up_bytes",
        "down_bytes",
        "status",
        "complete",
        "start_frame",
    ]
    return {name: np.array([row[k] for row in rows], object) for k, name in enumerate(names)}


def log(*lines: tuple[Any, ...], first: float = -10_000, last: float = 1e6) -> ErrorLog:
    """Lines as (time in ms, width in ms, kind)."""
    events = []
    for i, (at, *more) in enumerate(lines):
        low, high = T0 + round(at * MS), T0 + round((at + (more[0] if more else 1)) * MS)
        events.append(ErrorEvent((low + high) // 2, low, high, i + 1, "1302", "x.log", more[1] if len(more) > 1 else "classic ERROR llm"))
    return ErrorLog(events, len(events), 0, None, T0 + round(first * MS), T0 + round(last * MS), True)


def behind(at_ms: Sequence[float], records: Sequence[tuple[float, int]]) -> list[int]:
    """Places of the records, each with its time (ms) and size, behind which a log is taken to have a line."""
    ns, sizes = (np.array([each[k] for each in records]) for k in (0, 1))
    return np.flatnonzero(behind_lines(log(*((ms,) for ms in at_ms)), T0 + (ns * MS).astype(np.int64), sizes.astype(np.int64))).tolist()


def test_lines_right_behind_records_are_of_refusals_that_end_with_these() -> None:
    stream = [(137.0 * k, 150 + k) for k in range(60)]
    ends = [(700.0 + 900 * k, 186 if k == 0 else 170) for k in range(6)]
    records = sorted(stream + ends)
    at = [ms + 1.3 for ms, _ in ends]
    assert behind(at, records) == [records.index(each) for each in ends]
    assert behind(at[:3], records) == []  # too few
    assert behind([ms + 211 for ms in at], records) == []  # they stand behind nothing


def test_where_records_are_everywhere_sizes_tell_which_a_line_is_of() -> None:
    stream = [(4.0 * k, 150 + k % 40) for k in range(2000)]
    ends = [(701.0 + 900 * k, 310) for k in range(8)]
    records = sorted(stream + ends)
    assert behind([ms + 2.5 for ms, _ in ends], records) == [records.index(each) for each in ends]
    assert behind([ms + 2.5 for ms, _ in ends], stream) == []


def test_the_answer_right_before_the_line() -> None:
    labels = from_log(table((1000, 700, 900), (2000, 259, 0), (3000, 700, 900)), log((2000.5,)))
    assert labels.rejected.tolist() == [ACCEPTED, REJECTED, ACCEPTED]
    assert labels.matched == [(0, 1)]
    assert labels.source[1] == "error log"


@pytest.mark.parametrize(("sent_ms", "label"), [(5000, UNLABELLED), (3000, ACCEPTED)])
def test_what_was_sent_just_before_the_end_may_still_be_refused(sent_ms: int, label: int) -> None:
    made = table((1000, 700, 900), (2000, 259, 0), (4000, 700, 900), (sent_ms, 0, 0))
    made["response_ns"][3] = made["end_ns"][3] = None
    made["complete"][3] = False
    assert from_log(made, log((2000.5,))).rejected.tolist() == [ACCEPTED, REJECTED, ACCEPTED, label]


def test_several_refused_at_once() -> None:
    answers = table(*((1000 + i, REFUSAL, 0) for i in range(5)), (5000, 700, 900))
    assert from_log(answers, log(*((1006 + i,) for i in range(5)))).rejected.tolist() == [REJECTED] * 5 + [ACCEPTED]


def test_echoes_are_not_counted_twice() -> None:
    """Two lines for each refusal, and another answer ends close by."""
    answers = table((1000, REFUSAL, 0), (1003, 700, 900), (3000, REFUSAL, 0), (5000, REFUSAL, 0), (7000, REFUSAL, 0), (7010, 800, 900))
    lines = [
        (at + d, 1, f"classic ERROR {who}") for at in (1000, 3000, 5000, 7000) for d, who in ((0.5, "llm"), (1.5, "session.processor"))
    ]
    labels = from_log(answers, log(*lines))
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, REJECTED, REJECTED, REJECTED, ACCEPTED]
    assert labels.unmatched == []


@pytest.mark.parametrize("again_ms", [0.4, -0.6])
@pytest.mark.parametrize("kind", ["plain", "levelled ERROR"])
def test_a_last_try_that_is_told_twice_is_one_refusal(kind: str, again_ms: float) -> None:
    """Of one kind, or of two, whose times may be swapped by what stamps them; other answers, which are no streams, end shortly before."""
    refused = range(1_000, 13_000, 2_000)
    answers = table(*(each for at in refused for each in ((at - 150, 830, 200), (at, REFUSAL, 0))), (20_000, 900, 200))
    lines = [(at + 0.8 + off, 0.01, which) for at in refused for off, which in ((0, "plain"), (again_ms, kind))]
    labels = from_log(answers, log(*lines))
    assert labels.rejected.tolist() == [ACCEPTED, REJECTED] * 6 + [ACCEPTED]
    assert labels.unmatched == []


def test_two_that_are_refused_in_one_moment_have_a_line_each() -> None:
    refused = range(1_000, 13_000, 2_000)
    answers = table(
        *(each for at in refused for each in ((at - 150, 830, 200), (at, REFUSAL, 0), (at + 1, REFUSAL, 0))), (20_000, 900, 200)
    )
    labels = from_log(answers, log(*((at + 0.8 + off, 0.01, "plain") for at in refused for off in (0, 1))))
    assert labels.rejected.tolist() == [ACCEPTED, REJECTED, REJECTED] * 6 + [ACCEPTED]
    assert len(labels.matched) == 12


def test_two_that_are_refused_in_one_moment_by_longer_answers_have_a_line_each() -> None:
    """The first answers of two connections, with session tickets: no answer of the usual size is near."""
    sure = [(at, REFUSAL, 0) for at in range(1_000, 13_000, 2_000)]
    answers = table(*sure, (15_000, REFUSAL + 270, 0), (15_001, REFUSAL + 270, 0), (20_000, 900, 200))
    labels = from_log(answers, log(*((at + 0.8, 0.01, "plain") for at, *_ in sure), (15_001.8, 0.01, "plain"), (15_001.8, 0.01, "plain")))
    assert labels.rejected.tolist() == [REJECTED] * 8 + [ACCEPTED]


def test_a_line_between_two_equal_answers_claims_neither() -> None:
    labels = from_log(table((1000, 700, 900), (1001, 700, 900), (9000, 700, 900)), log((1000.2, 30)))
    assert labels.rejected.tolist() == [UNLABELLED, UNLABELLED, ACCEPTED]
    assert "may or may not" in labels.note


def test_the_look_decides_once_it_is_known() -> None:
    sure = [(1000 * i, REFUSAL, 0) for i in range(1, 6)]
    labels = from_log(table(*sure, (9000, REFUSAL, 0), (9040, 700, 900)), log(*((at + 0.3,) for at, *_ in sure), (9000, 60)))
    assert labels.rejected.tolist() == [REJECTED] * 6 + [ACCEPTED]


def test_what_looks_refused_but_has_no_line_is_not_called_accepted() -> None:
    sure = [(1000 * i, REFUSAL, 0) for i in range(1, 6)]
    labels = from_log(table(*sure, (20_000, REFUSAL, 0), (30_000, 700, 900)), log(*((at + 0.3,) for at, *_ in sure)))
    assert labels.rejected.tolist() == [REJECTED] * 5 + [UNLABELLED, ACCEPTED]


def test_a_refusal_in_another_form_that_was_retried_in_silence_is_not_called_accepted() -> None:
    """Six refusals with a line, one of another size (529) without, and streams: it comes as quickly as they do, and much sooner than any stream."""
    sure = [(10_000 * k, REFUSAL, 0, 700 + 40 * k) for k in range(1, 7)]
    other = (75_000, REFUSAL - 90, 0, 1_500)
    streams = [(80_000 + 5_000 * k, 3_000 + 10 * k, 900, 2_000 + 50 * k) for k in range(5)]
    answers = table(*sure, other, *streams)
    answers["response_ns"][:7] -= 95 * MS  # streams begin after 100 ms, refusals come after 5
    answers["end_ns"][:7] -= 95 * MS
    labels = from_log(answers, log(*((at - 95 + 0.3,) for at, *_ in sure)), covers=True)
    assert labels.rejected.tolist() == [REJECTED] * 6 + [UNLABELLED] + [ACCEPTED] * 5


@pytest.mark.parametrize(("wait_ms", "label"), [(20, UNLABELLED), (700, ACCEPTED)])
def test_a_refusal_of_a_busy_server_without_a_line_is_not_called_accepted(wait_ms: int, label: int) -> None:
    """Answers that are no streams, the quickest after 800 ms; refusals come after 5 ms, one of their size after more than any of them."""
    sure = [(10_000 * k, REFUSAL, 0, 700 + 40 * k) for k in range(1, 7)]
    others = [(80_000 + 5_000 * k, 600 + 50 * k, 0, 2_000 + 50 * k) for k in range(5)]
    answers = table(*sure, (75_000, REFUSAL, 0, 1_500), *others)
    waits = np.array([5] * 6 + [wait_ms] + [800 + 100 * k for k in range(5)])
    for name in ("start_ns", "request_end_ns"):
        answers[name] = answers["response_ns"] - waits * MS
    labels = from_log(answers, log(*((at + 0.3,) for at, *_ in sure)), covers=True)
    assert labels.rejected.tolist() == [REJECTED] * 6 + [label] + [ACCEPTED] * 5


def served(*ends: float) -> list[tuple[float, int, float]]:
    """Answers of a model that are no streams."""
    sizes = np.random.default_rng(3).integers(20, 40, len(ends)) * 36
    return [(at, int(size), 0) for at, size in zip(ends, sizes, strict=True)]


def slowly(made: dict[str, np.ndarray[Any, Any]], wait_ms: int = 1500) -> dict[str, np.ndarray[Any, Any]]:
    """The same, but that all that is not of a refusal's size was waited for."""
    late = made["down_bytes"] != REFUSAL
    for name in ("start_ns", "request_end_ns"):
        made[name][late] = made["response_ns"][late] - wait_ms * MS
    return made


def test_lines_of_another_machines_refusals_mean_no_answers_here() -> None:
    """A log of two machines: of the lines a third have their answers, of one size and at once, and the others stand somewhere behind answers of a model."""
    draw = np.random.default_rng(1)
    refused, ours = [(4_000 * k, REFUSAL, 0) for k in range(1, 10)], sorted(draw.integers(1_000, 40_000, 60).tolist())
    lines = [(at + 2,) for at, *_ in refused] + [(at,) for at in draw.integers(4_000, 38_000, 11).tolist()]
    answers = slowly(table(*refused, *served(*ours)))
    labels = from_log(answers, log(*sorted(lines)))
    assert ACCEPTED not in labels.rejected[:9].tolist()
    assert REJECTED not in labels.rejected[9:].tolist()
    assert labels.sizes == (REFUSAL,)


def test_lines_that_a_command_writes_when_its_retries_are_over_mean_no_answers_that_were_granted() -> None:
    """curl --retry: a script stamps what it said at the end, to the second, when the last try was answered by the model."""
    rows, lines = [], []
    for k, (at, size, _) in enumerate(served(*sorted(np.random.default_rng(2).integers(3_000, 60_000, 58).tolist()))):
        rows += [(at - 2_600, REFUSAL, 0, 5_000 + 60 * k)] * (k % 3 == 0) + [(at, size, 0, 5_000 + 60 * k)]
        lines += [(at // 1000 * 1000, 1000)] * (k % 3 == 0)
    answers = slowly(table(*rows))
    labels = from_log(answers, log(*lines))
    refused = answers["down_bytes"] == REFUSAL
    assert (labels.rejected[~refused] != REJECTED).all()
    assert (labels.rejected[refused] != ACCEPTED).all()


def test_refusals_of_several_looks_that_each_have_their_line_keep_them() -> None:
    """Late ones among them, as of a queue that was full: all of these have a line."""
    soon, late = [(10_000 * k, REFUSAL, 0) for k in range(1, 10)], [(10_000 * k + 4_000, 500 + 60 * (k % 4), 0) for k in range(1, 37)]
    answers = slowly(table(*soon, *late, *served(*(10_000 * k + 7_000 for k in range(1, 37)))))
    labels = from_log(answers, log(*((at + 2,) for at, *_ in sorted([*soon, *late]))))
    assert labels.rejected.tolist() == [REJECTED] * 45 + [ACCEPTED] * 36


def hidden_retries(tries: int, rounds: int = 8, refused: int = REFUSAL) -> tuple[dict[str, np.ndarray[Any, Any]], ErrorLog, list[int]]:
    """A program whose SDK tries again in silence: one line for so many refusals; (answers, log, whether each was refused)."""
    answers, lines, truth = [], [], []
    for k in range(rounds):
        at, size = 20_000 * k, 30_000 + 40 * k
        for n in range(tries):
            answers.append((at + 1000 + 700 * n * (n + 1), refused, 0, size))
            truth.append(REJECTED)
        lines.append((answers[-1][0] + 1,))
        answers.append((at + 15_000, 6_000 + 300 * k, 3_000, size + 5))
        truth.append(ACCEPTED)
    return table(*answers), log(*lines), truth


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_refusals_that_are_retried_in_silence_are_told_by_their_look(tries: int) -> None:
    answers, lines, truth = hidden_retries(tries)
    labels = from_log(answers, lines)
    assert labels.rejected.tolist() == truth
    assert (labels.source == "look-alike").sum() == (tries - 1) * 8
    assert set(labels.refusal_class[labels.rejected == REJECTED]) == {"unknown"}


@pytest.mark.parametrize(("late", "label"), [(2, UNLABELLED), (12, ACCEPTED)], ids=["a few", "as many as are no stragglers"])
def test_late_answers_of_the_size_of_refusals_that_are_retried_in_silence(late: int, label: int) -> None:
    """They come after 700 ms, later than streams begin and much later than all that are known: of a busy machine, or of another kind if they are many."""
    answers, lines, truth = hidden_retries(2)
    columns = table(*[(400_000 + 9_000 * k, REFUSAL, 0, 50_000 + 900 * k) for k in range(late)])
    for name in ("start_ns", "request_end_ns"):
        columns[name] = columns["response_ns"] - 700 * MS
        answers[name] = answers["response_ns"] - np.where(np.array(truth) == REJECTED, 5 * MS, 100 * MS)
    both = {name: np.concatenate([answers[name], columns[name]]) for name in answers}
    labels = from_log(both, lines, covers=True)
    assert labels.rejected.tolist() == [*truth, *[label] * late]


def no_streams(late_ms: tuple[int, ...], sizes: int = 97) -> tuple[dict[str, np.ndarray[Any, Any]], ErrorLog, int]:
    """A program whose SDK tries again twice in silence; answers are no streams, come after 800 ms and are hardly ever of one size, refusals come after 5 ms,
    some of them late. (answers, log, refusals)"""
    answers, lines, waits = [], [], []
    for k in range(30):
        at, size = 20_000 * k, 3_000 + 40 * k
        for n in range(3):
            answers.append((at + 1000 + 900 * n * (n + 1), REFUSAL, 0, size))
            waits.append(5 + n)
        if k % 4 == 0:
            lines.append((answers[-1][0] + 1,))
        answers.append((at + 15_000, 600 + (k * 37) % sizes * 10, 0, size))
        waits.append(800 + 20 * k)
    for n, wait in enumerate(late_ms):
        waits[4 * (6 + n) + 1] = wait
    made = table(*answers)
    for name in ("start_ns", "request_end_ns"):
        made[name] = made["response_ns"] - np.array(waits) * MS
    return made, log(*lines, first=40_000, last=540_000), 90


@pytest.mark.parametrize(("streams", "least"), [(False, 5), (False, 4), (True, 1)])
def test_a_log_that_names_no_error_does_not_make_accepted_what_looks_refused(streams: bool, least: int) -> None:
    """A log at a level that leaves refusals out: many short answers of one size that come at once, where all others are of many sizes and take long."""
    answers = [(2_000 * k, 600 + 90 * k, 900 if streams else 0, 4_000 + 50 * k) for k in range(1, 31)]
    refused = [(2_000 * k + 500, REFUSAL, 0, 9_000 + 50 * k) for k in range(1, 1 + least)]
    made = table(*answers, *refused)
    waits = np.array([800 + 20 * k for k in range(30)] + [5] * least) * MS
    for name in ("start_ns", "request_end_ns"):
        made[name] = made["response_ns"] - waits
    labels = from_log(made, log(first=0, last=70_000))
    assert labels.rejected[:30].tolist() == [ACCEPTED] * 30
    assert labels.rejected[30:].tolist() == [UNLABELLED if streams or least >= 5 else ACCEPTED] * least


@pytest.mark.parametrize(
    ("late_ms", "sizes"), [((), 97), ((90,) * 12, 97), ((90, 300, 900), 97), ((90,) * 12, 3)], ids=["none", "many", "some", "of few sizes"]
)
def test_late_refusals_are_told_by_their_size_where_no_other_answer_has_it(late_ms: tuple[int, ...], sizes: int) -> None:
    """A way that loses packets; also the answers that the log does not cover are known."""
    answers, lines, refused = no_streams(late_ms, sizes)
    labels = from_log(answers, lines)
    is_refused = answers["down_bytes"] == REFUSAL
    assert is_refused.sum() == refused
    assert labels.rejected.tolist() == np.where(is_refused, REJECTED, ACCEPTED).tolist()


def test_answers_later_than_others_are_refused_only_if_sizes_vary() -> None:
    answers, lines, _ = no_streams((900, 900, 900), 3)
    labels = from_log(answers, lines)
    late = (answers["down_bytes"] == REFUSAL) & (answers["response_ns"] - answers["request_end_ns"] == 900 * MS)
    assert labels.rejected[late].tolist() == [UNLABELLED] * 3


def test_where_nearly_all_are_refused_a_few_streams_are_enough_to_tell_them() -> None:
    """A limit of tokens a minute, used up at once: after the first streams nothing but refusals, one line for two of them."""
    streams = [(1000 + 900 * k, 7_000 + 10 * k, 800, 900 + 20 * k) for k in range(6)]
    refused = [(at + 10_000 + 3_000 * k, REFUSAL, 0, 3_000 + 30 * k) for k in range(80) for at in (0, 700)]
    labels = from_log(table(*streams, *refused), log(*((at + 0.4,) for at, *_ in refused[1::2])))
    assert labels.rejected.tolist() == [ACCEPTED] * 6 + [REJECTED] * 160
    assert (labels.source == "look-alike").sum() == 80


@pytest.mark.parametrize("delay", [0, 1_400])
def test_one_line_is_enough_where_the_traffic_shows_the_size(delay: float) -> None:
    """An SDK gives up once in a recording; the provider may take longer for a refusal than for the first byte of a stream."""
    answers = table(*SHOWN, (60_000, REFUSAL, 0, 2_100))
    refused = np.array([1, 0, 1, 1, 0, 1, 0, 1], bool)
    for name in ("start_ns", "request_end_ns"):
        answers[name] = answers[name] - np.where(refused, round(delay * MS), 0)
    labels = from_log(answers, log((60_000.3,)))
    assert (labels.rejected == REJECTED).tolist() == refused.tolist()
    assert labels.source.tolist()[:-1].count("look-alike") == 4


def test_one_line_that_is_not_behind_such_an_answer_teaches_nothing() -> None:
    labels = from_log(table(*SHOWN, (60_000, 5_000, 900, 2_100)), log((60_000.3,)))
    assert labels.sizes == ()
    assert "look-alike" not in set(labels.source)


def test_where_all_answers_look_alike_silence_is_no_refusal() -> None:
    """Short answers of one size to everything: the size says nothing, and what has no line stays accepted as the log says."""
    rows = [(1000 * k, REFUSAL, 0, 500 + k) for k in range(1, 60)]
    labels = from_log(table(*rows), log(*((1000 * k + 0.3,) for k in range(1, 60, 10))))
    assert int((labels.rejected == REJECTED).sum()) == 6
    assert "look-alike" not in set(labels.source)


def test_streams_outside_the_time_of_the_log_were_accepted_and_the_rest_is_unknown() -> None:
    sure = [(1000 * i, REFUSAL, 0) for i in range(1, 6)]
    labels = from_log(table(*sure, (20_000, 9_000, 900), (30_000, 700, 10)), log(*((at + 0.3,) for at, *_ in sure), first=0, last=6_000))
    assert labels.rejected.tolist() == [REJECTED] * 5 + [ACCEPTED, UNLABELLED]
    assert labels.source[5] == "look-alike"


def test_a_log_without_enough_lines_is_taught_by_that_of_the_other_program() -> None:
    answers = table((1000, REFUSAL, 0, 2_900), (3_100, REFUSAL, 0, 2_900), (7_300, 5_000, 900, 2_900), (9_000, 8_000, 900, 31_000))
    alone = from_log(answers, log())
    assert alone.rejected.tolist() == [ACCEPTED] * 4
    taught = from_log(answers, log(), taught=(REFUSAL,))
    assert taught.rejected.tolist() == [REJECTED, REJECTED, ACCEPTED, ACCEPTED]
    assert taught.source.tolist() == ["look-alike", "look-alike", "error log", "error log"]


def test_one_line_between_two_that_were_both_refused_labels_both() -> None:
    sure = [(5000 * i, REFUSAL, 0, 31_000 + 50 * i) for i in range(1, 7)]
    twins = [(40_000, REFUSAL, 0, 2_900), (40_006, REFUSAL, 0, 31_900), (42_100, 5_000, 900, 2_900), (43_000, 5_000, 700, 31_900)]
    labels = from_log(table(*sure, *twins), log(*((at + 0.3,) for at, *_ in sure), (40_006.4,)))
    assert labels.rejected.tolist()[6:] == [REJECTED, REJECTED, ACCEPTED, ACCEPTED]


def test_lines_of_opencode_may_come_a_third_of_a_second_late() -> None:
    rows = [(5000 * i, REFUSAL, 0) for i in range(1, 6)]
    late = (2.7, 8.6, 271.4, 17.2, 356.5)
    labels = from_log(table(*rows, (40_000, 700, 900)), log(*((at + by,) for (at, *_), by in zip(rows, late, strict=True))))
    assert labels.sizes == (REFUSAL,)
    assert labels.rejected.tolist() == [REJECTED] * 5 + [ACCEPTED]


def test_a_program_that_writes_all_its_lines_seconds_late() -> None:
    """Each line stands right behind the end of a stream; that the answers before it are of one size tells what it means."""
    answers = [a for k in range(12) for a in ((6_000 * k + 1_000, REFUSAL, 0), (6_000 * k + 3_000 + 90 * (k % 4), 700 + k, 900))]
    lines = [(6_000 * k + 3_005 + 90 * (k % 4),) for k in range(12)]
    assert from_log(table(*answers), log(*lines)).rejected.tolist() == [REJECTED, ACCEPTED] * 12


def test_lines_that_stand_at_once_behind_their_answers_mean_none_of_the_others_just_before() -> None:
    """Of several programs: answers of all sizes end 8 to 30 ms before each refusal, as short as these; each line stands 2 ms behind its own."""
    rows, refused = [], []
    for k in range(20):
        at = 500 * k + 1_000
        for before in (30, 8 + k % 9):
            rows.append((at - before, 300 + 37 * (k % 7) + before, 0, 900))
            refused.append(False)
        rows.append((at, 250 if k % 5 else 274, 0, 900))  # the first of a second is longer by its date
        refused.append(True)
    labels = from_log(table(*rows), log(*((500 * k + 1_002,) for k in range(20))))
    assert (labels.rejected == REJECTED).tolist() == refused
    assert not (labels.rejected[np.array(refused)] == UNLABELLED).any()


def test_a_line_within_an_answer_means_that_one() -> None:
    """SDKs tell of a status as soon as they have read the head; the body of some comes 40 ms later."""
    rows = [row for k in range(12) for row in ((900 * k + 1_000, 250, 40, 900), (900 * k + 959, 420 + 37 * (k % 5), 0, 900))]
    labels = from_log(table(*rows), log(*((900 * k + 962,) for k in range(12))))
    assert (labels.rejected == REJECTED).tolist() == [True, False] * 12


def test_short_answers_as_quick_as_refusals_are_not_accepted_by_the_silence_of_a_log_that_misses_some() -> None:
    """A second program logs nothing; its first refusal on each connection is longer than all that have a line."""
    logged = [(1_000 * k, REFUSAL, 0, 900 + 50 * k) for k in range(1, 11)]
    silent = [(1_000 * k + 500, REFUSAL + 90 * (k == 1), 0, 3_000 + 50 * k) for k in range(1, 11)]
    streams = [(1_000 * k + 800, 3_000 + k, 900, 6_000 + 50 * k) for k in range(1, 11)]
    made = table(*logged, *silent, *streams)
    for name in ("start_ns", "request_end_ns"):
        made[name][20:] -= 50 * MS
    labels = from_log(made, log(*((1_000 * k + 1,) for k in range(1, 11))))
    assert labels.rejected[:10].tolist() == [REJECTED] * 10
    assert ACCEPTED not in labels.rejected[10:20].tolist()
    assert labels.rejected[20:].tolist() == [ACCEPTED] * 10


def of_a_moment(exchanges: dict[str, Any], later_ms: int = 5, nobodys: float = 0.0, exact: bool = True) -> Any:
    """Traffic of two requests on one connection, either of which may have either of the answers, or nobody the second."""
    n = len(exchanges["start_ns"])
    rows = np.full((n, 3), -1, np.int64)
    rows[:, UPSTREAM] = np.arange(n)
    perhaps = {0: {0: 0.5, 1: 0.5 - nobodys}, 1: {0: 0.5, 1: 0.5}}
    side = SimpleNamespace(
        streams=[None] * n,
        owner=np.zeros(n, np.int64),
        unsure=np.zeros(n, bool),
        perhaps=perhaps,
        exchanges=exchanges,
        counted={0: SimpleNamespace(exact=exact)},
    )
    requests = SimpleNamespace(start_ns=np.array([T0, T0 + later_ms * MS]))
    return SimpleNamespace(rows=rows, vm=None, nested=None, upstream=side, situation=SimpleNamespace(requests=requests))


@pytest.mark.parametrize(
    ("made", "labels", "kept"),
    [
        pytest.param({}, [REJECTED, ACCEPTED], [REJECTED, ACCEPTED], id="each has one of them"),
        pytest.param({"later_ms": 6}, [REJECTED, ACCEPTED], [UNLABELLED] * 2, id="one is asked for later"),
        pytest.param({"nobodys": 0.1}, [REJECTED, ACCEPTED], [REJECTED, UNLABELLED], id="one is perhaps nobody's"),
        pytest.param({"nobodys": -0.1}, [REJECTED, ACCEPTED], [REJECTED, UNLABELLED], id="one is perhaps two"),
        pytest.param({}, [ACCEPTED, REJECTED], [UNLABELLED] * 2, id="they do not look like that"),
        pytest.param({"exact": False}, [REJECTED, ACCEPTED], [UNLABELLED] * 2, id="there may be more requests"),
    ],
)
def test_a_label_is_that_of_the_answer_of_requests_that_began_at_one_moment(
    made: dict[str, Any], labels: list[int], kept: list[int]
) -> None:
    told = Told.nothing(2)
    told.rejected[:] = labels
    labels_of._unsure(of_a_moment(table((1000, REFUSAL, 0), (1000, 3_000, 900, 2_000)), **made), told)
    assert told.rejected.tolist() == kept


def test_requests_of_one_size_are_not_tried_again_for_that() -> None:
    """All requests are of one size, so that one follows says nothing of an answer that looks like a refusal."""
    refused = [(2_000 * k, 250, 0, 900) for k in range(1, 9)]
    like = [(2_000 * k + 700, 255, 0, 900 if k < 6 else 5_000 + 50 * k) for k in range(1, 9)]
    others = [row for k in range(1, 9) for row in ((2_000 * k + 1_200, 420 + 20 * k, 0, 900), (2_000 * k + 1_900, 4_000, 400, 900))]
    labels = from_log(table(*refused, *like, *others), log(*((2_000 * k + 1,) for k in range(1, 9))))
    assert labels.rejected[:8].tolist() == [REJECTED] * 8
    assert labels.rejected[8:16].tolist() == [UNLABELLED] * 8


def test_lines_that_name_another_provider_are_none_of_this_one() -> None:
    def events(*names: tuple[tuple[str, ...], str]) -> ErrorLog:
        made = log(*((1_000 * k,) for k in range(len(names))))
        return replace(made, events=[replace(e, url_hosts=hosts, provider=who) for e, (hosts, who) in zip(made.events, names, strict=True)])

    def kept(*names: tuple[tuple[str, ...], str], target: tuple[str, ...] = ("api.z.ai",)) -> list[int]:
        return [event.line - 1 for event in error_log.of_target(events(*names), target).events]

    assert kept((("api.openai.com",), ""), (("api.z.ai",), ""), ((), "")) == [1, 2]
    assert kept((("docs.z.ai", "api.openai.com"), ""), (("github.com",), "")) == [0, 1]
    assert kept(((), "openai"), ((), "zai-coding-plan"), ((), "zai"), ((), "mine")) == [1, 2, 3]
    assert kept(((), "openai"), ((), "openai")) == [0, 1]  # its base URL may be another
    assert kept((("api.openai.com",), ""), target=()) == [0]


def test_lines_that_name_a_server_beside_the_target_are_none_of_this_one() -> None:
    lines = log((1_000,), (2_000,))
    named = replace(lines, events=[replace(lines.events[0], url_hosts=("other.test",)), lines.events[1]])
    assert [e.line for e in error_log.of_target(named, ["api.z.ai"], {"other.test", "api.z.ai"}).events] == [2]
    assert error_log.of_target(named, ["api.z.ai"], {"api.z.ai"}) == named  # not seen beside it: it may be the base URL of a relay
    gateway = replace(lines, events=[replace(e, url_hosts=("other.test",)) for e in lines.events])
    assert error_log.of_target(gateway, ["api.z.ai"], {"other.test"}) == gateway  # all ask it, and nobody the target
    assert not error_log.of_target(gateway, ["api.z.ai"], {"other.test", "api.z.ai"}).events


#: Answers of which every third is a refusal, and times in ms that follow none of them.
MIXED = tuple(
    a
    for k in range(12)
    for a in ((3_000 * k, REFUSAL, 0), (3_000 * k + 1_100, 5_000 + 60 * k, 400), (3_000 * k + 2_300, 9_000 + 60 * k, 400))
)
ANYWHERE = tuple(2_700 * k + (k * k * 389) % 2_000 + 300 for k in range(12))


def asking(lines: ErrorLog, *hosts: str) -> ErrorLog:
    return replace(lines, events=[replace(e, asked=hosts, url_hosts=hosts) for e in lines.events])


def test_lines_that_ask_an_unseen_server_are_believed_only_if_they_follow_the_answers() -> None:
    """A program may ask a relay whose name the capture does not show; and a log may be of another program altogether."""
    target = ["api.z.ai"]
    strange = error_log.of_target(asking(log(*((at,) for at in ANYWHERE)), "api.other.test"), target, {"api.z.ai"})
    left = from_log(table(*MIXED), strange)
    assert set(left.rejected.tolist()) == {UNLABELLED}
    assert "12 refusals of it name a server that is not the target" in left.note
    assert not left.unmatched
    relay = error_log.of_target(asking(log(*((3_000 * k + 1,) for k in range(12))), "api.other.test"), target, {"api.z.ai"})
    assert from_log(table(*MIXED), relay).rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED] * 12
    for host in ("api.z.ai", "localhost", "10.0.0.1"):
        assert not any(e.elsewhere for e in error_log.of_target(asking(log((1_000,)), host), target, {"api.z.ai"}).events)
    assert not any(e.elsewhere for e in error_log.of_target(asking(log((1_000,)), "x.test"), target, {"x.test"}).events)


def test_lines_that_stand_behind_answers_of_another_server_are_none_of_this_one() -> None:
    """A program asks two providers, and its lines name neither; in the second log its lines mean the target's, and something else is asked after each."""
    beside = {"api.other.test": np.array([T0 + (at - 1) * MS for at in ANYWHERE], np.int64)}
    left = from_log(table(*MIXED), log(*((at,) for at in ANYWHERE)), beside=beside)
    assert set(left.rejected.tolist()) == {UNLABELLED}
    assert not left.unmatched
    assert "12 refusals of it stand right behind answers of api.other.test, and not of the target" in left.note
    own = log(*((3_000 * k + 1,) for k in range(12)))
    telemetry = {"events.test": np.array([T0 + 3_000 * k * MS for k in range(12)], np.int64)}
    for others in (telemetry, beside, {"busy.test": np.arange(T0, T0 + 40 * S, 100 * MS)}, {}):
        found = from_log(table(*MIXED), own, beside=others)
        assert found.rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED] * 12
        assert not found.note


def test_a_line_that_names_nobody_is_of_the_server_that_the_line_before_names() -> None:
    """httpx writes whom it asked, and then the program that this failed."""
    made = log((1_000, 1, "httpx"), (1_010, 1, "app"), (5_000, 1, "app"), (9_000, 1, "httpx"), (9_020, 1, "httpx"), (9_030, 1, "app"))
    named = {0: ("api.openai.com",), 3: ("api.openai.com",), 4: ("api.z.ai",)}
    lines = replace(made, events=[replace(e, url_hosts=named.get(k, ()), asked=named.get(k, ())) for k, e in enumerate(made.events)])
    found = error_log.of_target(lines, ["api.z.ai"]).events
    assert [(e.line, e.elsewhere) for e in found] == [(2, True), (3, False), (5, False), (6, False)]


def test_lines_of_one_wording_that_follow_no_answer_are_left_out_beside_others_that_do() -> None:
    own = log(*((3_000 * k + 1,) for k in range(12)))
    other = log(*((at, 1, "plain") for at in ANYWHERE))
    both = replace(own, events=sorted([*own.events, *(replace(e, refusal_class="rate") for e in other.events)], key=lambda e: e.time_ns))
    labels = from_log(table(*MIXED), both)
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED] * 12
    assert "rate" not in labels.refusal_class
    assert "12 refusals of it, of one wording" in labels.note
    coarse = [replace(e, low_ns=e.low_ns - 500 * MS, high_ns=e.high_ns + 500 * MS) for e in other.events]  # answers end in any second
    rough = from_log(table(*MIXED), replace(both, events=sorted([*own.events, *coarse], key=lambda e: e.time_ns)))
    assert "of one wording" not in rough.note
    alone = from_log(table(*MIXED), other)  # without others beside them nothing is known
    assert "of one wording" not in alone.note


@pytest.mark.parametrize(
    ("after", "its_class"), [((9_000, 7_000, 400), "rate"), ((3_500, 7_000, 1_400), "quota"), ((9_000, REFUSAL, 0), "quota")]
)
def test_a_quota_after_which_requests_are_accepted_is_a_rate(after: tuple[int, int, int], its_class: str) -> None:
    """Gemini words quotas of a minute and of a day alike, and says in how many seconds to try again."""
    made = log(*((1_000 * k + 1,) for k in (3, 4, 5, 6)))
    made = replace(made, events=[replace(e, refusal_class="quota", code=None, passing=True) for e in made.events])
    answers = table((1_000, 7_000, 400), *((1_000 * k, REFUSAL, 0) for k in (3, 4, 5, 6)), after)
    assert set(from_log(answers, made).refusal_class[1:5]) == {its_class}
    lasting = replace(made, events=[replace(e, passing=False) for e in made.events])
    assert set(from_log(answers, lasting).refusal_class[1:5]) == {"quota"}


def test_servers_that_a_line_says_were_asked_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "2026-11-30 09:52:49,771 - embedder - ERROR - RateLimitError: Error code: 429 from api.embed.test, retry in 98s\n"
        "2026-11-30 09:52:50,771 - billing - ERROR - GET https://api.pay.test/v1/charges failed: 429 Too Many Requests\n"
        "2026-11-30 09:52:51,771 - app - ERROR - 429 from openai.types import x; see https://docs.pay.test\n"
    )
    found = errorlog.read(path).events
    assert [e.asked for e in found] == [("api.embed.test",), ("api.pay.test",), ()]
    assert [e.url_hosts for e in found] == [("api.embed.test",), ("api.pay.test",), ("docs.pay.test",)]
    seen = error_log.of_target(ErrorLog(found, 3, 0, None, None, None), ["api.z.ai"], {"api.z.ai", "api.embed.test"})
    assert [(e.line, e.elsewhere) for e in seen.events] == [(3, False)]  # only documentation
    unseen = error_log.of_target(ErrorLog(found, 3, 0, None, None, None), ["api.z.ai"])
    assert [(e.line, e.elsewhere) for e in unseen.events] == [(1, True), (2, True), (3, False)]


def test_whom_urllib3_and_attributes_of_opentelemetry_say_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        '2026-11-30 09:52:49,771 - urllib3.connectionpool - DEBUG - https://events.test:443 "POST /api/1/envelope/ HTTP/1.1" 429 41\n'
        '{"timeUnixNano": "1796032370000000000", "severityNumber": 17, "body": {"stringValue": "status 429"}, "attributes": '
        '[{"key": "server.address", "value": {"stringValue": "otlp.vendor.test"}}]}\n'
        '{"time": "2026-11-30T09:52:51Z", "level": "error", "msg": "status 429", "server.address": "otlp.vendor.test"}\n'
        '{"time": "2026-11-30T09:52:52Z", "level": "error", "msg": "status 429", "host": "web-1.prod.example.test"}\n'
    )
    found = errorlog.read(path).events
    assert [e.by_url for e in found] == [("events.test",), ("otlp.vendor.test",), ("otlp.vendor.test",), ()]
    seen = error_log.of_target(ErrorLog(found, 4, 0, None, None, None), ["api.z.ai"], {"api.z.ai"})
    assert [(e.line, e.elsewhere) for e in seen.events] == [
        (4, True)
    ]  # a machine's name, perhaps: believed if its lines follow the answers


def by_url(lines: ErrorLog, *hosts: str) -> ErrorLog:
    return replace(lines, events=[replace(e, by_url=hosts) for e in asking(lines, *hosts).events])


def test_lines_with_the_url_of_another_server_are_none_of_a_target_that_is_asked_by_its_name() -> None:
    """Also where they follow its answers, and none of that server is captured; not where the target is not seen to be asked."""
    right_behind = log(*((3_000 * k + 1,) for k in range(12)))
    target, direct = ["api.z.ai"], {"api.z.ai"}
    assert not error_log.of_target(by_url(right_behind, "events.test"), target, direct).events
    assert len(error_log.of_target(by_url(right_behind, "events.test"), target, {"gw.test.corp"}).events) == 12
    own = by_url(right_behind, "api.z.ai")
    assert error_log.of_target(own, target, direct) == own
    one = replace(own, events=[*own.events, *by_url(right_behind, "localhost").events])
    assert error_log.of_target(one, target, direct) == own  # it names its target


def test_a_relay_on_the_machine_is_believed_where_its_lines_stand_behind_what_looks_refused() -> None:
    right_behind = log(*((3_000 * k + 1,) for k in range(12)))
    for host in ("localhost", "host.docker.internal", "127.0.0.1"):
        relay = error_log.of_target(by_url(right_behind, host), ["api.z.ai"], {"api.z.ai"})
        assert from_log(table(*MIXED), relay).rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED] * 12
        granted = table(
            *((3_000 * k, 5_000 + 60 * k, 400) for k in range(12)), *((3_000 * k + 1_500, 9_000 + 60 * k, 400) for k in range(12))
        )
        assert REJECTED not in from_log(granted, relay).rejected  # a database that is asked after each answer


def test_what_so_many_lines_have_shown_is_believed_outside_the_time_of_the_log() -> None:
    """Nothing is tried again; each answer of the size that the log covers has its line."""
    answers = [a for k in range(20) for a in ((1_000 * k, REFUSAL, 0), (1_000 * k + 500, 5_000 + 60 * k, 400))]
    lines = [(1_000 * k + 1,) for k in range(10, 20)]
    found = from_log(table(*answers), log(*lines, first=9_990, last=1e6))
    assert found.rejected.tolist() == [REJECTED, ACCEPTED] * 20
    assert set(found.source[:20:2]) == {"look-alike"}
    few = from_log(table(*answers), log(*lines[-4:], first=15_990, last=1e6))
    assert few.rejected[:30:2].tolist() == [UNLABELLED] * 15
    some = from_log(table(*answers), log(*lines[::2], first=9_990, last=1e6))  # half of them have no line there
    assert some.rejected[:20:2].tolist() == [UNLABELLED] * 10


def test_a_bare_number_means_no_stream() -> None:
    answers = [(1_000 * k, 5_000 + 60 * k, 400) for k in range(8)]
    made = log(*((1_000 * k + 1,) for k in range(8)))
    said = from_log(table(*answers), made)
    bare = from_log(table(*answers), replace(made, events=[replace(e, bare=True) for e in made.events]))
    assert (set(said.rejected), set(bare.rejected)) == ({REJECTED}, {ACCEPTED})


@pytest.mark.parametrize(("lines", "label"), [(10, REJECTED), (20, REJECTED), (13, UNLABELLED), (7, UNLABELLED)])
def test_a_log_without_times_tells_by_its_number(lines: int, label: int) -> None:
    answers = [a for k in range(10) for a in ((1_000 * k, REFUSAL, 0), (1_000 * k + 500, 5_000 + 60 * k, 400))]
    made = ErrorLog([], lines, lines, None, None, None, untimed=("rate",) * lines)
    found = from_log(table(*answers), made)
    assert set(found.rejected[::2]) == {label}
    assert set(found.refusal_class[::2]) == {"rate" if label == REJECTED else ""}


def test_whom_a_line_names_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        '{"time": "2026-01-25T16:33:41.000Z", "level": "error", "error": "429 rate limit", "url": "https://API.OpenAI.com/v1", "see": "http://x.test"}\n'
        'ERROR 2026-01-25T16:33:42 +58ms service=llm providerID=zai-coding-plan error={"error":{"statusCode":429,"message":"High concurrency usage"}}\n'
    )
    first, second = errorlog.read(path).events
    assert (first.url_hosts, first.provider) == (("api.openai.com", "x.test"), "")
    assert (second.url_hosts, second.provider) == ((), "zai-coding-plan")


def test_only_what_the_log_covers_is_accepted() -> None:
    answers = table((1000, 700, 500), (5000, 700, 500), (9000, 700, 500))
    assert from_log(answers, log(first=3000, last=7000)).rejected.tolist() == [UNLABELLED, ACCEPTED, UNLABELLED]
    assert from_log(answers, log(first=3000, last=7000), covers=True).rejected.tolist() == [ACCEPTED] * 3
    nothing = replace(log(), first_ns=None, last_ns=None)
    assert from_log(answers, nothing).rejected.tolist() == [UNLABELLED] * 3
    assert from_log(answers, nothing, covers=True).rejected.tolist() == [ACCEPTED] * 3


def test_a_log_of_another_time_labels_nothing() -> None:
    answers = table(*((5000 * i, 700, 900) for i in range(1, 20)))
    labels = from_log(answers, log(*((5000 * i + 2600,) for i in range(2, 18))))
    assert set(labels.rejected) == {UNLABELLED}
    assert "is it the log of this side" in labels.note
    assert len(labels.unmatched) == 16


def test_times_of_another_zone_are_told() -> None:
    answers = table(*((5000 * i, REFUSAL, 0) for i in range(1, 20)))
    hour = 3_600_000
    labels = from_log(answers, log(*((5000 * i + 2 * hour + 1,) for i in range(2, 18)), first=2 * hour, last=3 * hour))
    assert labels.rejected.tolist()[1:17] == [REJECTED] * 16
    assert "UTC+2 h" in labels.note


def shifted_by(seconds: float) -> Labels:
    """Refusals now and then, each asked for again and answered by a stream, with a log whose times are off."""
    rng = np.random.default_rng(3)
    begun = np.cumsum(rng.uniform(2500, 9000, 16)).tolist()
    answers = [row for k, at in enumerate(begun) for row in ((at, REFUSAL, 0, 1000 + 50 * k), (at + 2200, 4000, 1200, 1000 + 50 * k))]
    lines = log(*((at + 1 - 1000 * seconds,) for at in begun), first=-1e6)
    return from_log(table(*answers), lines)


@pytest.mark.parametrize("seconds", [7.0, -3.5, 600.0])
def test_a_log_whose_times_are_off_by_a_constant_is_read_with_that(seconds: float) -> None:
    """A capture whose times were shifted, or a log of a machine with another clock."""
    labels = shifted_by(seconds)
    assert labels.rejected[::2].tolist() == [REJECTED] * 16
    assert REJECTED not in labels.rejected[1::2].tolist()
    assert f"{abs(seconds):.1f} s {'later' if seconds > 0 else 'earlier'}" in labels.note


def test_a_log_of_another_hour_is_not_read_as_if_it_were_of_this() -> None:
    assert REJECTED not in shifted_by(7777.0).rejected.tolist()


def test_an_error_line_in_unknown_words_is_no_acceptance() -> None:
    answers = table(*((5000 * i, REFUSAL, 0) for i in range(1, 5)))
    read = log(first=0, last=60_000)
    assert set(from_log(answers, read).rejected) == {ACCEPTED}
    labels = from_log(answers, replace(read, unclear_ns=(T0 + 10_002 * MS,)))
    assert labels.rejected.tolist() == [ACCEPTED, UNLABELLED, ACCEPTED, ACCEPTED]
    assert "lines with unknown wording" in labels.note
    assert labels.unclear == 1


def test_answers_of_the_size_of_other_failures_are_no_refusals() -> None:
    """An SDK tries again after HTTP 500 without a word; at last it gives up and writes the status down."""
    answers = table(*(a for k in range(8) for a in ((1_000 * k, 298, 0), (1_000 * k + 600, 5_000 + 60 * k, 400))))
    answers["request_end_ns"][::2] = answers["response_ns"][::2] - 5 * MS
    read = log()
    assert from_log(answers, read).rejected[::2].tolist() == [UNLABELLED] * 8
    line = T0 + 5_000 * MS
    told = from_log(answers, replace(read, other=((line, line + S, ()),)))
    assert told.rejected.tolist() == [ACCEPTED] * 16
    refused = from_log(answers, replace(log((3_001,), (6_001,)), other=((line, line + S, ()),)))
    assert set(refused.rejected[::2]) <= {REJECTED, UNLABELLED}, "the refusals have that size"


def test_what_the_server_does_not_allow_is_neither_refused_nor_accepted() -> None:
    """401 of a second program with an old key, in the same log: no evidence of a limit, and no place that is held."""
    answers = table(
        *(a for k in range(8) for a in ((3000 * k + 1000, REFUSAL, 0), (3000 * k + 2000, 330, 0), (3000 * k + 3000, 5000, 800)))
    )
    read = log(*((3000 * k + 1001,) for k in range(8)))
    spans = [(T0 + (3000 * k + 2001) * MS, T0 + (3000 * k + 2002) * MS) for k in range(8)]
    other, failed = tuple((*each, ()) for each in spans), tuple((*each, "status 401", ()) for each in spans)
    labels = from_log(answers, replace(read, other=other, failed=failed))
    assert labels.rejected.tolist() == [REJECTED, ELSEWISE, ACCEPTED] * 8
    assert labels.refusal_class.tolist() == [logs.UNKNOWN if k % 3 == 0 else logs.OTHER if k % 3 == 1 else "" for k in range(24)]
    busy = from_log(answers, replace(read, other=other, failed=tuple((*each, "status 500", ()) for each in spans)))
    assert busy.rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED] * 8, "what failed in the server had passed the limit"
    gateway = from_log(answers, replace(read, other=other, failed=tuple((*each, "status 502", ()) for each in spans)))
    assert gateway.rejected.tolist() == [REJECTED, UNLABELLED, ACCEPTED] * 8


def test_a_line_of_a_failure_is_no_silence() -> None:
    """Pages of an outage, each of another size and none of them quick: what a line may mean is not accepted for want of a line that says refused."""
    answers = table(*(a for k in range(8) for a in ((2000 * k + 1000, 400 + 90 * k, 0), (2000 * k + 2000, 5000, 800))))
    assert set(from_log(answers, log()).rejected.tolist()) == {ACCEPTED}
    spans = [(T0 + 2000 * k * MS, T0 + (2000 * k + 1999) * MS) for k in range(8)]  # known to two seconds
    labels = from_log(answers, replace(log(), failed=tuple((*each, "status 520", ()) for each in spans)))
    assert labels.rejected.tolist() == [UNLABELLED, ACCEPTED] * 8
    assert labels.unclear == 8


def with_503(
    rows: Sequence[tuple[float, int, float]], spells: Sequence[int], wait_ms: int = 20, times: int = 1
) -> tuple[Labels, np.ndarray[Any, Any]]:
    """Labels of answers, some of which failed by status 503 in so many spells of so many, each with its line, between ``rows``; and which these are."""
    gaps = np.linspace(10_000, 190_000, len(spells))
    busy = [at + 150 * k for at, many in zip(gaps.tolist(), spells, strict=True) for k in range(many)]
    made = slowly(table(*rows, *((at, REFUSAL, 0) for at in busy)))
    made["start_ns"][len(rows) :] = made["request_end_ns"][len(rows) :] = made["response_ns"][len(rows) :] - wait_ms * MS
    failed = tuple((T0 + round(at + 1) * MS, T0 + round(at + 2) * MS, "status 503", ()) for at in busy for _ in range(times))
    return from_log(made, replace(log(), failed=failed)), made["down_bytes"] == REFUSAL


@pytest.mark.parametrize(
    ("spells", "wait_ms", "label"),
    [
        ((2, 1, 3, 1, 2, 1, 2, 1, 1), 20, REJECTED),
        ((14,), 20, UNLABELLED),  # the server was down
        ((7, 0, 0, 0, 7), 20, UNLABELLED),  # twice
        ((2, 1, 3, 1, 2, 1, 2, 1, 1), 1_200, UNLABELLED),  # a gateway waited for what is behind it
        ((1, 0, 0, 1, 0, 0, 1), 20, UNLABELLED),  # a few
    ],
)
def test_503_is_a_refusal_where_others_are_served_between_again_and_again(spells: tuple[int, ...], wait_ms: int, label: int) -> None:
    """As nginx' limits answer, of whose page the program writes down nothing but the status."""
    for times in (1, 2):  # two handlers write down each
        labels, busy = with_503(served(*np.random.default_rng(5).uniform(4_000, 200_000, 60).tolist()), spells, wait_ms, times)
        assert set(labels.rejected[busy].tolist()) == {label}
    assert set(labels.rejected[~busy].tolist()) <= {ACCEPTED, UNLABELLED}


def test_the_clock_is_converted() -> None:
    labels = from_log(table((1000, REFUSAL, 0), (3000, 700, 900)), log((8000.4,)), lambda ns: ns - 7 * S)
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED]


def test_lines_behind_the_last_answer_displace_no_others() -> None:
    """The program goes on when the capture has ended: its later lines mean answers that nobody captured."""
    answers = [(1000 * i, REFUSAL, 0) if i % 3 else (1000 * i, 3000, 600) for i in range(1, 31)]
    lines = [(1000 * i + 5,) for i in range(1, 31) if i % 3]
    later = [(30_400 + 300 * k,) for k in range(8)]
    whole, more = from_log(table(*answers), log(*lines)), from_log(table(*answers), log(*lines, *later))
    assert more.rejected.tolist() == whole.rejected.tolist()
    assert [event.line for event in more.unmatched] == [len(lines) + 1 + k for k in range(8)]
    assert len(more.matched) == len(lines)


def test_lines_before_the_first_answer_displace_no_others() -> None:
    answers = [(1000 * i, REFUSAL, 0) if i % 3 else (1000 * i, 3000, 600) for i in range(1, 31)]
    lines = [(1000 * i + 5,) for i in range(1, 31) if i % 3]
    earlier = [(-2_000 + 340 * k,) for k in range(8)]
    more = from_log(table(*answers), log(*earlier, *lines))
    assert more.rejected.tolist() == from_log(table(*answers), log(*lines)).rejected.tolist()


def test_nothing_at_all() -> None:
    empty = table()
    assert len(from_log(empty, log((1,))).rejected) == 0
    assert len(from_log(empty, log((1,))).unmatched) == 1
    assert len(infer(empty, sessions(0), hellos(0)).rejected) == 0
    assert len(from_decrypted(empty, Decrypted([])).rejected) == 0


@given(st.integers(0, 4), st.integers(0, 6), st.data())
def test_assignment_is_the_cheapest(n: int, m: int, data: st.DataObject) -> None:
    cell = st.floats(0, 10) | st.just(np.inf)
    costs = np.array([[data.draw(cell) for _ in range(m)] for _ in range(n)]).reshape(n, m)
    chosen = _matching._assign(costs, np.full(n, _matching.ALONE))
    taken = [j for j in chosen if j >= 0]
    assert taken == sorted(set(taken))

    def total(columns: tuple[int, ...]) -> float:
        return sum(_matching.ALONE if j < 0 else float(costs[k, j]) for k, j in enumerate(columns))

    every = itertools.product(range(-1, m), repeat=n)
    best = min(total(c) for c in every if (t := [j for j in c if j >= 0]) == sorted(set(t)))
    assert total(tuple(chosen)) == pytest.approx(best)


def test_thousands_of_requests_and_lines_in_one_second() -> None:
    answers = table(*((10 * i, REFUSAL, 0) for i in range(4000)))
    labels = from_log(answers, log(*((10 * i + 0.2, 1000) for i in range(0, 4000, 2))))
    assert len(labels.matched) == 2000


# -- key log --


def request(session: int, frame: int, status: int | None, code: str | None = None, http: str = "1.1", stream: int = -1) -> DecryptedRequest:
    return DecryptedRequest(session, stream, T0, T0, T0, T0, status, code, True, frame, frame, frame, http)


def test_status_and_code() -> None:
    cases = [
        (200, None, ACCEPTED),
        (429, None, REJECTED),
        (200, "1302", REJECTED),
        (500, "1305", REJECTED),
        (500, "500", UNLABELLED),
        (None, None, UNLABELLED),
    ]
    for status, code, expected in cases:
        assert key_log.refused(request(0, 1, status, code)) == expected


def test_exchanges_find_their_requests() -> None:
    answers = table((1000, 259, 0), (2000, 700, 900), (3000, 259, 0), (4000, 259, 0), (5000, 259, 0))
    answers["session_id"] = np.array([0, 0, 0, 1, 2], object)
    answers["start_frame"] = np.array([10, 20, 30, 15, 5], object)
    keys = Decrypted([request(0, 12, 429), request(0, 22, 200), request(0, 31, None), request(1, 15, 200, http="2", stream=1)], "a note")
    labels = from_decrypted(answers, keys)
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, UNLABELLED, UNLABELLED, UNLABELLED]
    assert labels.source.tolist() == ["key log", "key log", "", "", ""]
    assert labels.note == "a note"
    answers["stream"] = np.array([-1, -1, -1, 1, 1], object)
    assert from_decrypted(answers, keys).rejected.tolist() == [REJECTED, ACCEPTED, UNLABELLED, ACCEPTED, UNLABELLED]


# -- the traffic alone --


def hellos(n: int, alpn: tuple[str, ...] = ("http/1.1",)) -> dict[str, np.ndarray[Any, Any]]:
    offered = np.empty(n, object)
    offered[:] = [list(alpn) for _ in range(n)]
    return {"session_id": np.arange(n), "alpn": offered}


def sessions(n: int, fin: dict[int, int] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    fins = np.array([(fin or {}).get(i) for i in range(n)], object)
    return {"session_id": np.arange(n), "orig_fin_ns": fins, "rst_ns": np.full(n, None, object)}


def chain(at: float, up: int, refusals: int = 1, size: int = REFUSAL, lasts: float = 900) -> list[tuple[float, int, float, int]]:
    """Refused some times, then answered."""
    out: list[tuple[float, int, float, int]] = [(at + 2500 * i, size, 0, up) for i in range(refusals)]
    return [*out, (at + 2500 * refusals + lasts + 200, 4000, lasts, up)]


def inferred(answers: Sequence[tuple[float, int, float, int]], **more: Any) -> Labels:
    n = len(answers)
    return infer(table(*answers), more.get("sessions", sessions(n)), more.get("hellos", hellos(n)))


SHOWN = [*chain(1000, 1500), *chain(11_000, 1700, 2), *chain(31_000, 1900)]


def test_refusals_are_short_alike_and_tried_again() -> None:
    labels = inferred(SHOWN)
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, REJECTED, REJECTED, ACCEPTED, REJECTED, ACCEPTED]
    assert set(labels.source) == {"inferred"}
    assert "259 bytes" in labels.note


def test_three_streams_that_are_followed_at_any_distance_are_no_timer() -> None:
    """The middle one of these distances is about the back-off."""
    gaps = [17_000, 2600, 1500]
    answers = [
        each
        for k, gap in enumerate(gaps)
        for each in (*chain(60_000 * k, 1500 + 200 * k), (60_000 * k + 3600 + gap, 4000, 900, 1500 + 200 * k))
    ]
    answers += [each for k in range(3, 12) for each in chain(60_000 * k, 1500 + 200 * k)]
    assert inferred(answers).rejected.tolist() == 3 * [REJECTED, ACCEPTED, ACCEPTED] + 9 * [REJECTED, ACCEPTED]


@pytest.mark.parametrize("factor", [2.0, 1.0])
def test_what_is_sent_again_and_again_after_ever_longer_waits_was_refused(factor: float) -> None:
    """No try is ever answered by a stream, as another program holds all places. At even distances it may be anything."""
    at, waits = 1000.0, [500 * factor**k for k in range(7)]
    tries = [(at + sum(waits[:k]), REFUSAL, 0, 1500) for k in range(8)]
    labels = inferred([*tries, *((2000 + 3000 * k, 4000, 900, 1700 + 50 * k) for k in range(9))])
    assert set(labels.rejected[:8].tolist()) == ({REJECTED} if factor > 1 else {UNLABELLED})


def test_nothing_but_refusals_sent_again_after_ever_longer_waits() -> None:
    """Where everything is refused, no stream shows how long an answer takes to begin."""
    tries = [(1000.0 + sum(500 * 2**k for k in range(n)), REFUSAL, 0, 1500) for n in range(8)]
    assert set(inferred(tries).rejected.tolist()) == {REJECTED}


@pytest.mark.parametrize(
    ("streams_alike", "label"), [(True, UNLABELLED), (False, REJECTED)], ids=["all requests of one size", "only those sent again"]
)
def test_requests_that_all_have_one_size_are_not_sent_again(streams_alike: bool, label: int) -> None:
    """A program asks for this and that in a loop, by requests of one size: what follows a quick short answer is the next one, as behind all others."""
    turns: list[tuple[float, int, float]] = [(1000 + 700 * k, *((REFUSAL, 0) if k % 5 == 0 else (20_000, 40))) for k in range(20)]
    labels = inferred(
        [(at, size, lasts, 190 if streams_alike or k % 5 in (0, 1) else 500 + 40 * k) for k, (at, size, lasts) in enumerate(turns)]
    )
    assert labels.rejected[0] == label


def test_the_last_try_of_a_program_that_gave_up() -> None:
    labels = inferred([*SHOWN, (60_000, REFUSAL + 3, 0, 2100)])
    assert labels.rejected[-1] == REJECTED


def test_an_answer_that_the_program_cut_off_is_not_a_refusal() -> None:
    """One piece of a stream, as short as a refusal by chance, then the program's FIN."""
    answers = [*SHOWN, (60_000, REFUSAL, 0, 2100)]
    n = len(answers)
    labels = inferred(answers, sessions=sessions(n, {n - 1: T0 + 60_001 * MS}))
    assert labels.rejected.tolist() == [*inferred(SHOWN).rejected.tolist(), UNLABELLED]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([(1000 * i, 259, 0, 500 + i) for i in range(30)], id="all answers are short"),
        pytest.param([*chain(1000, 1500)], id="one chain"),
        pytest.param([(1000 * i, 4000, 900, 500 + 10 * i) for i in range(30)], id="streams alone"),
        pytest.param(
            [*((2000 * i, 900, 0, 300) for i in range(30)), *((3000 * i, 4000, 900, 900 + 10 * i) for i in range(20))], id="a poll beside streams"
        ),
        pytest.param([x for i in range(8) for x in ((10_000 * i, 4000, 700, 900 + 9 * i), (10_000 * i + 3500, 4000, 900, 900 + 9 * i))],
                     id="refused inside streams, tried again"),
        pytest.param([x for i in range(8) for x in ((10_000 * i, 300 + 40 * i, 0, 900 + 9 * i), (10_000 * i + 3500, 4000, 900, 900 + 9 * i))],
                     id="short answers of all sizes"),
    ],
)  # fmt: skip
def test_without_the_marks_nothing_is_claimed(answers: list[tuple[float, int, float, int]]) -> None:
    labels = inferred(answers)
    assert set(labels.rejected) == {UNLABELLED}
    assert labels.note == ""


def test_http2_is_not_inferred() -> None:
    n = len(SHOWN)
    for offered in (hellos(n, ("h2", "http/1.1")), hellos(0)):
        labels = inferred(SHOWN, hellos=offered)
        assert set(labels.rejected) == {UNLABELLED}
    assert (inferred(SHOWN, hellos=hellos(3)).rejected != UNLABELLED).all()  # connections older than the capture, beside others of HTTP/1.1


def test_a_status_in_the_clear() -> None:
    answers = table((1000, 259, 0), (2000, 300, 0), (3000, 300, 0))
    answers["status"] = np.array([429, 200, 503], object)
    labels = infer(answers, sessions(3), hellos(0))
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, UNLABELLED]
    assert labels.source.tolist() == ["status", "status", ""]  # read, not inferred


def in_clear(beside: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Twelve streams of 1.9 s, one after the other; with each a 503, while it lasts or behind all of them."""
    streams = [(2_000 * k + 1_950, 900 + k, 1_900) for k in range(12)]
    made = table(*streams, *((2_000 * k + (700 if beside else 30_000), 321, 0) for k in range(12)))
    made["status"] = np.array([200] * 12 + [503] * 12, object)
    return made


@pytest.mark.parametrize(("beside", "label"), [(True, REJECTED), (False, UNLABELLED)])
def test_a_server_that_is_not_available_for_some_while_it_answers_others_refuses(beside: bool, label: int) -> None:
    """503 in the clear; where nothing is answered meanwhile the server is down."""
    labels = infer(in_clear(beside), sessions(24), hellos(0))
    assert labels.rejected[12:].tolist() == [label] * 12
    assert set(labels.source[12:]) == {"status" if label == REJECTED else ""}


def test_lines_in_whole_seconds_mean_answers_that_failed_by_their_status() -> None:
    """Streams end in the same seconds, 50 ms before."""
    lines = [(2_000 * k, 1_000, "levelled ERROR") for k in range(12)]
    assert from_log(in_clear(True), log(*lines)).rejected.tolist() == [ACCEPTED] * 12 + [REJECTED] * 12


def test_a_line_that_names_a_status_means_no_answer_with_another() -> None:
    told = log()
    lines = tuple((T0 + 2_000 * k * MS, T0 + (2_000 * k + 1_000) * MS, "status 503", ()) for k in range(12))
    labels = from_log(in_clear(True), replace(told, failed=lines))
    assert labels.unclear == 12  # not the streams that end in these seconds
    assert set(labels.rejected[:12]) == {ACCEPTED}


@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 6000), st.integers(0, 3000), st.integers(0, 3000)), max_size=30),
    st.booleans(),
)
def test_any_traffic(answers: list[tuple[int, int, int, int]], complete: bool) -> None:
    made = table(*answers)
    made["complete"] = np.full(len(answers), complete, object)
    if answers:
        for name in ("response_ns", "end_ns"):
            made[name][0] = None
    labels = infer(made, sessions(len(answers)), hellos(len(answers)))
    assert len(labels.rejected) == len(labels.source) == len(answers)
    assert ((labels.rejected == UNLABELLED) == (labels.source == "")).all()
    found = from_log(made, log(*((a[0], 50) for a in answers[::2])))
    assert len({row for _, row in found.matched}) == len(found.matched)
    assert ((found.rejected == UNLABELLED) == (found.source == "")).all()


# --- together ---------------------------------------------------------------------------------------------------------------------------------


def test_the_first_that_says_anything_is_believed() -> None:
    a = np.array([REJECTED, UNLABELLED, UNLABELLED], np.int8)
    b = np.array([ACCEPTED, REJECTED, UNLABELLED], np.int8)
    found = Told.nothing(3)
    for these, by, of in ((a, "key log", "rate"), (b, "error log", "quota")):
        found.add(Told(these, np.array([by] * 3, object), np.array([of] * 3, object)))
    assert found.rejected.tolist() == [REJECTED, REJECTED, UNLABELLED]
    assert found.source.tolist() == ["key log", "error log", ""]
    assert found.refusal_class.tolist() == ["rate", "quota", ""]


@pytest.mark.parametrize(
    ("missing", "source", "label"), [(1448, "error log", UNLABELLED), (1448, "status", ACCEPTED), (0, "error log", ACCEPTED)]
)
def test_what_may_be_two_requests_as_packets_are_missing_is_not_accepted(missing: int, source: str, label: int) -> None:
    """The answer to the first comes, then, where packets of the client are missing, more that it sent: of three exchanges, the second is of that kind."""
    made = table((1000, 700, 900), (2000, 400, 600), (4000, 700, 900), session=0)
    made["request_end_ns"][1] = made["response_ns"][1] + 500 * MS
    exchanges = {name: values.astype(np.int64) for name, values in made.items() if name not in ("status", "complete")}
    exchanges["session_id"][:] = 0
    side = SimpleNamespace(exchanges=Columns(exchanges), sessions=Columns({"orig_missing_bytes": np.array([missing])}))
    side.run_together = vars(CaptureSide)["run_together"].func(side)
    told = Told(np.full(3, ACCEPTED, np.int8), np.array([source] * 3, object), np.full(3, "", object))
    rows = np.full((3, 3), -1, np.int64)
    rows[:, UPSTREAM] = np.arange(3)
    labels_of._run_together(SimpleNamespace(upstream=side, vm=None, rows=rows), told)  # type: ignore[arg-type]
    assert told.rejected.tolist() == [ACCEPTED, label, ACCEPTED]


class Columns(dict[str, Any]):
    """Some columns of a table."""

    def ints(self, name: str, missing: int) -> Any:
        return self[name]


@pytest.mark.parametrize(
    ("sizes", "wait_ms", "alike"), [(40, 5, 30), (40, 90, 0), (3, 5, 0)], ids=["refusals", "no sooner than others", "others of few sizes"]
)
def test_what_may_be_refused_where_nothing_is_a_stream_and_nobody_keeps_a_log(sizes: int, wait_ms: int, alike: int) -> None:
    made = table(*((1000 * k, REFUSAL if k % 2 else 500 + 7 * (k % sizes), 0) for k in range(60)))
    for name in ("start_ns", "request_end_ns"):
        made[name] = made["response_ns"] - np.where(np.arange(60) % 2, wait_ms, 100 + np.arange(60)) * MS
    rows = np.full((60, 3), -1, np.int64)
    rows[:, UPSTREAM] = np.arange(60)
    traffic = SimpleNamespace(upstream=SimpleNamespace(exchanges=made), rows=rows, goal=SimpleNamespace(guessed=False, names=[]))
    assert labels_of._perhaps_refused(traffic, Told.nothing(60)) == alike  # type: ignore[arg-type]
    one = Told.nothing(60)
    one.rejected[1] = REJECTED  # certain, by the last try of several
    assert labels_of._perhaps_refused(traffic, one) == max(alike - 1, 0)  # type: ignore[arg-type]
    one.rejected[[3, 5, 7, 9]] = REJECTED
    assert labels_of._perhaps_refused(traffic, one) == 0  # type: ignore[arg-type]


def test_refusals_of_one_size_are_of_the_class_that_is_said_of_them() -> None:
    told = Told(
        np.array([REJECTED] * 5 + [ACCEPTED], np.int8),
        np.array(["error log", "inferred", "look-alike", "error log", "inferred", "error log"], object),
        np.array(["overload", "unknown", "unknown", "rate", "unknown", ""], object),
    )
    name_by_size(told, np.array([300, 301, 0, 500, 400, 300]))
    assert told.refusal_class.tolist() == ["overload", "overload", "unknown", "rate", "unknown", ""]


def test_where_two_classes_have_the_size_none_is_taken() -> None:
    told = Told(np.full(3, REJECTED, np.int8), np.full(3, "error log", object), np.array(["rate", "quota", "unknown"], object))
    name_by_size(told, np.array([300, 306, 303]))
    assert told.refusal_class.tolist() == ["rate", "quota", "unknown"]


# -- an account of every request --

OPENCODE = """timestamp=2026-11-26T04:45:01.191Z level=ERROR run=1 message="Failed to fetch models.dev" cause="Cause([Fail(HttpClientError)])"
timestamp=2026-11-26T04:45:01.668Z level=INFO run=1 message=stream providerID=zai modelID=glm session.id=ses_one small=true agent=title mode=primary
timestamp=2026-11-26T04:45:02.136Z level=INFO run=1 message=stream providerID=zai modelID=glm session.id=ses_one small=false agent=build mode=primary
timestamp=2026-11-26T04:45:{late}Z level=ERROR run=1 message="stream error" session.id=ses_one small=false error.error="AI_APICallError: High concurrency"
timestamp=2026-11-26T04:45:07.237Z level=INFO run=1 message=stream providerID=zai modelID=glm session.id=ses_one small=false agent=build mode=primary
"""
LINE_NS = 1_795_668_300 * S  #: 04:45:00


def opencode_log(folder: Path, text: str) -> ErrorLog:
    path = folder / "vm-errors.log"
    path.write_text(text, encoding="utf-8")
    return errorlog.read(path)


def at_that_time(*answers: tuple[Any, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """As ``table``, in ms after 04:45."""
    made = table(*answers)
    return made | {name: made[name] - T0 + LINE_NS for name in ("start_ns", "request_end_ns", "response_ns", "end_ns")}


TITLE, MAIN = 2924, 31264  #: bytes of such requests


def test_a_line_about_a_turn_means_no_title(tmp_path: Path) -> None:
    """The only line: the title's answer ends 50 ms before it, the refusal of the turn 370 ms before it."""
    answers = at_that_time((2935, 1333, 1000, TITLE), (2619, REFUSAL, 0, MAIN), (9468, 2416, 1600, MAIN))
    labels = from_log(answers, opencode_log(tmp_path, OPENCODE.replace("{late}", "02.988")), covers=True)
    assert labels.rejected.tolist() == [ACCEPTED, REJECTED, ACCEPTED]
    assert labels.sizes == ()


def test_a_line_that_is_written_seconds_late_means_the_request_that_had_begun(tmp_path: Path) -> None:
    answers = at_that_time((7950, 4952, 4600, TITLE), (2238, REFUSAL, 0, MAIN), (15154, 2897, 2400, MAIN))
    labels = from_log(answers, opencode_log(tmp_path, OPENCODE.replace("{late}", "04.601")), covers=True)
    assert labels.rejected.tolist() == [ACCEPTED, REJECTED, ACCEPTED]
    assert not labels.unmatched


def test_a_title_that_is_asked_for_again_was_refused_without_a_line(tmp_path: Path) -> None:
    again = OPENCODE.splitlines()[1].replace("04:45:01.668", "04:45:04.100")
    text = "".join(f"{line}\n" for line in [*OPENCODE.splitlines()[:3], again, OPENCODE.splitlines()[4]])
    answers = at_that_time((1950, REFUSAL, 0, TITLE), (5000, 1800, 2500, MAIN), (5100, 700, 800, TITLE), (9468, 2416, 1600, MAIN))
    labels = from_log(answers, opencode_log(tmp_path, text), covers=True)
    assert labels.rejected.tolist() == [REJECTED, ACCEPTED, ACCEPTED, ACCEPTED]
    assert labels.source[0] == "error log"


def test_errors_that_are_of_no_request_cast_no_doubt(tmp_path: Path) -> None:
    answers = at_that_time((1180, 300, 0, TITLE), (2300, 300, 0, MAIN), (9468, 2416, 1600, MAIN))
    lines = [line for line in OPENCODE.splitlines(keepends=True) if "stream error" not in line]
    assert from_log(answers, opencode_log(tmp_path, "".join(lines)), covers=True).rejected.tolist() == [ACCEPTED] * 3
    alone = from_log(answers, opencode_log(tmp_path, lines[0]), covers=True)
    assert alone.rejected.tolist() == [UNLABELLED, ACCEPTED, ACCEPTED], "without the account the line may mean anything"


def test_a_log_beside_a_capture_without_a_request(tmp_path: Path) -> None:
    """Of the outside of a tunnel, say: the log is told of, and what would show more."""
    at = 1_800_000_000
    sent = [(at * 10**6 + k * 10**5, datagram("10.0.0.2", 4000, "10.0.0.9", 4500, bytes(100))) for k in range(100)]
    (tmp_path / "vm.pcap").write_bytes(pcap(sent))
    refused = [datetime.fromtimestamp(at + 1000 + k, UTC).strftime("%Y-%m-%dT%H:%M:%SZ ERROR status 429") for k in range(1, 9)]
    (tmp_path / "vm-errors.log").write_text("\n".join(refused))
    found = netlens.analyze(tmp_path, apis="api.example.test")
    assert found.cause is None
    needs = {v.id: v.needs for v in found.hypotheses}["provider"]
    assert needs is not None
    assert "this one has no request, so nothing tells why there are 8 refusals in the error log" in needs


def test_a_line_of_a_relay_is_believed_before_the_silence_of_the_program_that_asked_it() -> None:
    """A gateway asks again with another key: it writes down what the program never sees. Not what it asks for others, which their own log tells, nor answers
    that do not look refused."""
    made = table(*((1_000 * k, REFUSAL if k % 2 else 9_000, 0 if k % 2 else 800) for k in range(1, 13)))
    lines = log(*((1_000 * k + 0.5,) for k in range(1, 13, 2)))
    found = from_log(made, lines)
    assert found.sizes
    side = SimpleNamespace(exchanges=made)
    requests = np.array([[k, k, -1] for k in range(12)], np.int64)
    traffic = SimpleNamespace(rows=requests, asked_of_relay={k: 100 + k for k in range(6)})
    told = error_log._of_relay(traffic, side, found, np.arange(12))  # type: ignore[arg-type]
    assert told.rejected.tolist() == [REJECTED, UNLABELLED] * 3 + [UNLABELLED] * 6
    assert set(told.refusal_class[told.rejected == REJECTED].tolist()) == set(found.refusal_class[found.rejected == REJECTED].tolist())
    streams = from_log(table(*((1_000 * k, 9_000 + 100 * k, 800) for k in range(1, 13))), lines)
    assert set(error_log._of_relay(traffic, side, streams, np.arange(12)).rejected.tolist()) == {UNLABELLED}  # type: ignore[arg-type]


def test_failures_of_a_known_api_beside_the_target_are_none_of_this_one() -> None:
    """Also where the capture shows that it was asked; but not of a gateway that all lines name, while nobody asks the target itself."""
    made = replace(
        log((1_000,)),
        failed=((T0, T0, "status 403", ("api.anthropic.com",)), (T0, T0, "status 500", ("gw.test.corp",)), (T0, T0, "time-out", ())),
    )
    kept = error_log.of_target(made, ["api.z.ai"], {"api.z.ai", "api.anthropic.com", "gw.test.corp"}).failed
    assert [how for _, _, how, _ in kept] == ["time-out"]
    through = error_log.of_target(replace(asking(made, "gw.test.corp"), failed=made.failed), ["api.z.ai"], {"gw.test.corp"}).failed
    assert [how for _, _, how, _ in through] == ["status 500", "time-out"]


@pytest.mark.parametrize(
    ("hours", "said"),
    [(-24, "ends 23.9 h before the capture begins"), (30, "begins 29.0 h after the capture ends"), (0, "match no request")],
)
def test_a_log_of_another_day_is_called_one(hours: int, said: str) -> None:
    """A zone makes no more than 14 hours."""
    shift = hours * 3600 * S
    lines = log((1_500,), (200_000,), first=0, last=300_000)
    lines = replace(
        lines,
        events=[replace(e, low_ns=e.low_ns + shift, high_ns=e.high_ns + shift, time_ns=e.time_ns + shift) for e in lines.events],
        first_ns=T0 + shift,
        last_ns=T0 + 300 * S + shift,
    )
    found = from_log(table((1_000, 700, 900), (5_000, 800, 900)), lines)
    found = replace(found, matched=[], unmatched=lines.events)
    side = SimpleNamespace(bounds_ns=(T0, T0 + 3600 * S))
    told = error_log._told(found, np.array([0, 1]), side, lines, "vm", "the VM")  # type: ignore[arg-type]
    assert any(said in note for note in told.notes)
    assert any("another day" in note for note in told.notes) == (hours != 0)
