"""Which runs are taken for dead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netlens.lab import topology

if TYPE_CHECKING:
    import pytest


def test_stale_runs_are_those_whose_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nl12-vm", "nl12-host", "nl34-vm", "other", "nl56x"):
        (tmp_path / "etc" / name).mkdir(parents=True)
    monkeypatch.setattr(topology, "_RESOLV", tmp_path / "etc")
    monkeypatch.setattr(topology, "STATE", tmp_path / "none")
    monkeypatch.setattr(topology, "_namespaces", lambda: ["nl78-vm", "ndvm"])
    assert topology.stale(alive=lambda pid: pid == 34) == ["nl12", "nl56", "nl78"]
