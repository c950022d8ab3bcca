"""tools/rounds.py: what it runs, and what it says of rounds that fail or cannot be had."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def rounds(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rounds", root / "tools" / "rounds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rounds", module)  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path / "logs")
    return module


def _main(rounds: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rounds.py", *arguments])
    status = rounds.main()
    assert isinstance(status, int)
    return status


def test_the_table_says_what_passed_failed_and_was_not_run(
    rounds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bad(ground: object) -> str:
        return str(ground.run(["sh", "-c", "echo first; echo it broke; exit 3"], tmp_path))  # type: ignore[attr-defined]

    def absent(_ground: object) -> str:
        raise rounds.NotRun("no such Python here")

    def good(ground: object) -> str:
        return str(ground.run(["sh", "-c", "echo $0: 12 passed", "x"], tmp_path))  # type: ignore[attr-defined]

    monkeypatch.setattr(rounds, "ROUNDS", {"good": ("all well", good), "bad": ("it breaks", bad), "absent": ("not here", absent)})
    assert _main(rounds, monkeypatch) == 1
    out, err = capsys.readouterr()
    rows = out.splitlines()[2:]
    assert rows[0].startswith("| `good` | all well | x: 12 passed | ")
    assert rows[1].startswith("| `bad` | it breaks | **failed**: sh -c echo first; echo it broke; exit 3: status 3 (it broke) | ")
    assert rows[2].startswith("| `absent` | not here | not run: no such Python here | ")
    assert "bad.log" in err
    assert "it broke" in (tmp_path / "logs" / "bad.log").read_text()
    assert _main(rounds, monkeypatch, "good", "absent") == 0
    assert [row[0] for row in rounds.kept()] == ["good", "bad", "absent"]
    assert "| `bad` | it breaks (" in rounds.page(rounds.kept())


@pytest.mark.parametrize("arguments", [["nonsense"], ["--write", "--quick"]])
def test_wrong_usage(rounds: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _main(rounds, monkeypatch, *arguments)
    assert ended.value.code == 2


def test_an_ordinary_user_has_no_rights_and_a_home(rounds: ModuleType, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only: becomes somebody else")
    tmp_path.chmod(0o755)
    ground = rounds.Ground(tmp_path, True, tmp_path / "log")
    said = ground.run(["sh", "-c", 'id -u; grep CapEff /proc/self/status; echo "$HOME"'], Path("/"), user=65534)
    lines = ground.log.read_text().split("\n")
    assert "65534" in lines
    assert any(line.split() == ["CapEff:", "0000000000000000"] for line in lines)
    assert said == str(tmp_path / "home" / "65534")
