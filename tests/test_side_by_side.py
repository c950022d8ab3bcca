"""Several captures read at the same time: the tables of each are those of it alone, and what ends one ends all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from netlens import CaptureError, api
from netlens.api import TABLES, Capture, read_side_by_side


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("netlens.threads", "netlens.parsers.pipeline"):
        monkeypatch.setattr(f"{module}.cores", lambda: 2)


def pair(captures: Path) -> list[Path]:
    return [captures / "same-nat-ip-sshuttle" / f"{side}.pcap.gz" for side in ("vm", "host")]


@pytest.mark.parametrize("trail", [False, True])
def test_the_tables_are_those_of_each_alone(captures: Path, trail: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    together = [Capture([path], trail=trail) for path in pair(captures)]
    alone = [Capture([path], trail=trail) for path in pair(captures)]
    monkeypatch.setattr(api, "ON_TWO_CORES", 1)  # however much larger one is
    read_side_by_side(together)
    assert all("part" in vars(each) for each in together)
    for each, other in zip(together, alone, strict=True):
        assert {name: list(each.table(name).records()) for name in TABLES} == {name: list(other.table(name).records()) for name in TABLES}


def test_one_that_is_much_smaller_is_read_after_the_other(captures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large, small = pair(captures)[1], tmp_path / "small.pcap"
    small.write_bytes(large.read_bytes()[: large.stat().st_size // 10])
    monkeypatch.setattr(Capture, "_read", lambda self, _progress, alone=True: alone)
    for paths, alone in (([large, small], True), ([large, large], False)):
        read = [Capture([path]) for path in paths]
        read_side_by_side(read)
        assert [each.part for each in read] == [alone, alone]


@pytest.mark.parametrize("broken", [[0], [1], [0, 1]])
def test_of_two_that_cannot_be_read_the_first_is_told(captures: Path, tmp_path: Path, broken: list[int]) -> None:
    paths = [Path(shutil.copy(path, tmp_path)) for path in pair(captures)]
    for k in broken:
        paths[k].write_text("no capture\n" * 10_000)
    with pytest.raises(CaptureError, match=f"{paths[broken[0]].name}: looks like text"):
        read_side_by_side([Capture([path]) for path in paths])


def test_who_interrupts_one_interrupts_all(captures: Path) -> None:
    told: list[int] = []

    def interrupted(_done: int, _frames: int) -> None:
        raise KeyboardInterrupt

    read = [
        Capture([path], progress=progress) for path, progress in zip(pair(captures), (interrupted, lambda *_: told.append(1)), strict=True)
    ]
    with pytest.raises(KeyboardInterrupt):
        read_side_by_side(read)
    assert "part" not in vars(read[0])
