"""The measurement of workers cuts files that are the capture again, and counts what moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import cluster
from tests.bench.generate import generate

if TYPE_CHECKING:
    import pytest


def test_rotated_files_are_the_capture_and_what_moves_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETLENS_BENCH_DIR", str(tmp_path))
    capture = tmp_path / "small.pcap"
    generate("full", capture, sessions=60)
    paths = cluster.rotated(capture, 3)
    whole = capture.read_bytes()
    assert b"".join(Path(p).read_bytes()[24:] for p in paths) == whole[24:]
    assert all(Path(p).read_bytes()[:24] == whole[:24] for p in paths)
    sizes = [Path(p).stat().st_size for p in paths]
    assert max(sizes) - min(sizes) < 10_000
    made = Path(paths[0]).stat().st_mtime_ns
    assert cluster.rotated(capture, 3) == paths
    assert Path(paths[0]).stat().st_mtime_ns == made
    lines = cluster.moved(paths, "sessions").splitlines()
    assert f"60 sessions, {sum(sizes):,} bytes read" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["scan", "facts_of", "piece", "stitch", "_count"]
