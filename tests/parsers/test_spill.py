"""State of sessions in a file: the same sessions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from netlens.api import Capture
from netlens.parsers import spill
from netlens.parsers.session_state import S_WIDTH
from netlens.report.exports import Rows, write
from netlens.report.exports.parquet import write_groups
from tests.bench.generate import generate


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spill") / "short.pcap"
    generate("short", path, sessions=6000)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if memory were a thousandth of what it is."""
    monkeypatch.setattr(spill, "SPILL_AT", 1024)
    monkeypatch.setattr(spill, "KEPT", 128)
    monkeypatch.setattr(spill, "STEP", 64)


@pytest.mark.usefixtures("small")
def test_sessions_are_what_they_are_in_memory(capture: Path, tmp_path: Path) -> None:
    spilled = Capture([capture], ("sessions", "exchanges"), spill_to=str(tmp_path))
    assert spilled.part.fold._file is not None
    here = Capture([capture], ("sessions", "exchanges"))
    for name in ("sessions", "exchanges"):
        a, b = here.table(name).to_pandas(), spilled.table(name).to_pandas()
        assert len(a) > 5000
        assert a.equals(b)
    assert os.listdir(tmp_path) == []  # the file has no name


@pytest.mark.usefixtures("small")
def test_blocks_make_the_same_file(capture: Path, tmp_path: Path) -> None:
    import pandas as pd

    here = Capture([capture], ("sessions",)).table("sessions")
    write(Rows(here), "parquet", str(tmp_path / "one.parquet"))
    spilled = Capture([capture], ("sessions",), spill_to=str(tmp_path))
    blocks = spilled.part.fold.blocks(None, 1000)
    write_groups(blocks, spilled.part.fold.n, str(tmp_path / "blocks.parquet"))
    one, other = pd.read_parquet(tmp_path / "one.parquet"), pd.read_parquet(tmp_path / "blocks.parquet")
    assert one.equals(other)
    assert one.attrs == other.attrs
    assert (other["session_id"] == np.arange(6000)).all()


def test_a_capture_without_sessions_makes_a_file_without_rows(tmp_path: Path) -> None:
    import pandas as pd

    from netlens.parsers.sessions import SessionFold

    fold = SessionFold()
    write_groups(fold.blocks(), 0, str(tmp_path / "none.parquet"))
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0


@pytest.mark.usefixtures("small")
def test_a_folder_without_room_leaves_the_state_in_memory(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    here = Capture([capture], ("sessions",)).table("sessions").to_pandas()
    missing = Capture([capture], ("sessions",), spill_to=str(tmp_path / "missing"))
    assert missing.table("sessions").to_pandas().equals(here)
    allocate, calls = spill._allocate, iter((True, False))
    monkeypatch.setattr(spill, "_allocate", lambda *a: allocate(*a) if next(calls) else full(*a))
    later = Capture([capture], ("sessions",), spill_to=str(tmp_path))
    assert later.table("sessions").to_pandas().equals(here)
    assert later.part.fold._file is None


def test_pages_that_are_given_back_keep_their_values(tmp_path: Path) -> None:
    file = spill.StateFile(str(tmp_path), S_WIDTH)
    file.grow(1000)
    first = file.rows
    first[:, 0] = np.arange(1000)
    file.give_back(900)
    file.grow(3000)
    file.rows[999, 1] = 7
    assert (file.rows[:1000, 0] == np.arange(1000)).all()
    assert first[999, 1] == 7
    assert (file.rows[1000:] == 0).all()
