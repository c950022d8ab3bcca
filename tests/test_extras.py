"""What a plain installation can do without the optional packages, and what it says where one is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netlens.errors import NetlensError
from netlens.extras import EXTRAS, need
from tests.conftest import ROOT

#: Runs the command line as if the optional packages were not installed.
WITHOUT = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {set(EXTRAS)!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
from netlens.cli import main
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_plain_installation_analyses_and_writes_the_report(tmp_path: Path) -> None:
    done = run("analyze", "captures/own-concurrency-idle-host", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "own-concurrency" in done.stdout
    assert (
        "no pictures: pictures are drawn with matplotlib, which is not installed; install it: pip install 'netlens[plots]'" in done.stderr
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.json", "support.md"}


@pytest.mark.parametrize("form", ["table", "csv", "json", "zeek"])
def test_tables_need_no_pandas(form: str) -> None:
    done = run("sessions", "captures/healthy/vm.pcap.gz", "--format", form)
    assert done.returncode == 0, done.stderr
    assert "203.0.113.10" in done.stdout


def test_parquet_says_what_to_install(tmp_path: Path) -> None:
    done = run("sessions", "captures/healthy/vm.pcap.gz", "--format", "parquet", "-o", str(tmp_path / "rows.parquet"))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr.strip()
        == "netlens: Parquet and Arrow tables need pyarrow, which is not installed; install it: pip install 'netlens[pandas]'"
    )
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NetlensError, match=r"DataFrames need pandas, which is not installed; install it: pip install 'netlens\[pandas\]'"):
        need("pandas")


def test_what_is_installed_is_no_error() -> None:
    for package in EXTRAS:
        need(package)
