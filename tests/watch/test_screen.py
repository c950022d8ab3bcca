"""What is drawn: it fits, it is aligned, and names of strangers are data."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from netlens.watch import screen
from netlens.watch.connection_table import Kind
from netlens.watch.monitor import Monitor, Snapshot
from netlens.watch.peaks import SECOND
from netlens.watch.refusals import Refusal
from netlens.watch.state import Watched
from tests.watch.helpers import play


@pytest.fixture(scope="module")
def frames() -> dict[str, Snapshot]:
    from tests.conftest import ROOT

    out = {}
    for name, limit in (("two-causes", 2), ("http2", 2), ("healthy", 50)):
        watched = {side: Watched(side, ("api.z.ai",)) for side in ("vm", "host")}
        monitor = Monitor(watched, limit)
        ends = {side: play(one, [ROOT / "captures" / name / f"{side}.pcap.gz"]) for side, one in watched.items()}
        for i in range(9):
            monitor.refusal(Refusal(ends["vm"] - i * SECOND, "vm", "error log", "1302"))
        out[name] = monitor.snapshot(ends)
    return out


def texts(snapshot: Snapshot, width: int, height: int) -> list[str]:
    return ["".join(text for text, _ in parts) for parts in screen.lines(snapshot, width, height, "any (host)  api.z.ai")]


@pytest.mark.parametrize("size", [(40, 10), (60, 14), (80, 24), (120, 30), (200, 50), (20, 5), (5, 2), (1, 1)])
@pytest.mark.parametrize("name", ["two-causes", "http2", "healthy"])
def test_every_size_fits(frames: dict[str, Snapshot], name: str, size: tuple[int, int]) -> None:
    shown = texts(frames[name], *size)
    assert len(shown) <= size[1]
    assert max(cell_len(line) for line in shown) <= size[0]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_columns_are_aligned(frames: dict[str, Snapshot], width: int) -> None:
    shown = texts(frames["two-causes"], width, 30)
    head = next(line for line in shown if line.startswith("TARGET"))
    rows = [line for line in shown if line.startswith(("api.z.ai", "all"))]
    assert len(rows) == 4
    ends = [head.index(word) + len(word) for word in (("peak", "req") if width == 40 else ("now", "peak"))]
    for row in rows:
        for end in ends:
            assert row[end - 1].isdigit()
            assert row[end : end + 1] in ("", " ")


def test_the_small_terminal_has_what_matters(frames: dict[str, Snapshot]) -> None:
    shown = texts(frames["two-causes"], 40, 10)
    assert any("limit 2" in line for line in shown)
    assert any(line.startswith("all") for line in shown)
    assert any(line.startswith("refusals    9") for line in shown)


def test_http2_has_no_requests(frames: dict[str, Snapshot]) -> None:
    row = next(line for line in texts(frames["http2"], 80, 24) if line.startswith("api.z.ai"))
    assert row.split()[-1] == "-"
    assert frames["http2"].limit is not None
    assert frames["http2"].limit.unit == "connections"


def test_a_name_of_a_stranger_is_shown_as_text() -> None:
    watched = Watched(None)
    watched.table.kinds.append(Kind("a\x1b[31m\u202eevil\n", "203.0.113.1", 443, False, False, False))
    watched.tick(SECOND)
    monitor = Monitor({None: watched}, 1)
    group = watched.groups.names.index(("target", "a\x1b[31m\u202eevil\n", ""))
    watched.connections.peak[group] = 3
    watched.connections.peak[watched.groups.names.index(("row", "a\x1b[31m\u202eevil\n", ""))] = 3
    snapshot = monitor.snapshot({None: SECOND})
    shown = "\n".join(texts(snapshot, 100, 24) + screen.plain(snapshot) + screen.summary(snapshot))
    assert "evil" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_spark() -> None:
    assert screen.spark([0] * 295 + [8, 8, 4, 4, 1], 60)[-1] == "█"
    assert screen.spark([0] * 300, 60) == " " * 60
    assert screen.spark([0] * 299 + [1], 60).strip() == "▁"
    assert screen.spark([0] * 299 + [1], 60, ascii_only=True).strip() == "."
    assert len(screen.spark([5] * 300, 7)) == 7


def test_plain_lines(frames: dict[str, Snapshot], captures: Path) -> None:
    shown = screen.plain(frames["two-causes"])
    assert sum("refusal" in line for line in shown) == 9
    assert any("api.z.ai vm  connections" in line for line in shown)


def test_numbers_stay_short() -> None:
    for value in (0, 9_999, 10_000, 99_949, 123_456, 999_999, 1_000_000, 12_345_678_901):
        assert len(screen._count(value)) <= 5
