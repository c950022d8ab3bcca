"""The bundle for the provider's support."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netlens.analysis import analyze
from netlens.anonymize import secret
from netlens.api import TABLES, Capture
from netlens.chains.inputs import Inputs, from_folder
from netlens.errors import NetlensError
from netlens.report.bundle import _about, bundle
from tests.recordings import FOLDER


def found(given: Inputs) -> dict[str, Any]:
    return analyze({side: Capture(paths, TABLES) for side, paths in given.captures.items()}, given).to_dict()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    given = from_folder(str(FOLDER / "same-nat-ip-sshuttle"))
    path = tmp_path_factory.mktemp("bundle") / "b.zip"
    with pytest.MonkeyPatch.context() as patch:  # one secret in 130 makes an address one of those that were there
        patch.setattr(secret, "fresh", lambda: bytes(secret.SIZE))
        told = bundle(given, found(given), str(path))
    assert told.differs == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    archive = zipfile.ZipFile(path)
    assert sorted(archive.namelist()) == sorted(told.names)
    return archive


def test_it_holds_a_recording_its_findings_and_the_letter(made: zipfile.ZipFile, tmp_path: Path) -> None:
    assert {"report.json", "support.md", "ABOUT.txt", "recording/vm.pcap.gz", "recording/host.pcap.gz"} <= set(made.namelist())
    made.extractall(tmp_path)
    report = json.loads(made.read("report.json"))
    assert report["cause"] == "same-nat-ip"
    assert report["target"]["names"] == ["api.z.ai"], "the provider knows its own name"
    assert found(from_folder(str(tmp_path / "recording")))["cause"] == "same-nat-ip"


def test_it_holds_nothing_of_the_original(made: zipfile.ZipFile) -> None:
    everything = b"".join(made.read(name) for name in made.namelist())
    for private in (b"203.0.113", b'192.168.64.2"', os.fsencode(FOLDER), b"/tmp", b"root@", b"glm-4", b"all of them came from"):
        assert private not in everything
    assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in made.infolist())


def test_one_capture(tmp_path: Path) -> None:
    given = replace(Inputs({None: (str(FOLDER / "same-nat-ip-nat" / "host.pcap.gz"),)}), apis=("203.0.113.10",))
    told = bundle(given, found(given), str(tmp_path / "b.zip"))
    assert told.differs == []
    assert "recording/capture.pcap.gz" in told.names


def test_a_name_that_nobody_named_is_replaced(tmp_path: Path) -> None:
    """The target of a capture of one's own network is guessed; its name goes nowhere unless it is said to be the API's."""
    raw = gzip.decompress((FOLDER / "same-nat-ip-nat" / "host.pcap.gz").read_bytes())
    raw = raw.replace(b"\3api\1z\2ai\0", b"\3git\1q\2zz\0").replace(b"api.z.ai", b"git.q.zz")
    (tmp_path / "host.pcap").write_bytes(raw)
    given = from_folder(str(tmp_path))
    for apis, kept in (((), False), (("git.q.zz",), True)):
        named = given.with_options(apis=apis)
        path = tmp_path / f"{kept}.zip"
        told = bundle(named, found(named), str(path))
        assert told.differs == []
        assert told.renamed == ([] if kept else ["git.q.zz"])
        archive = zipfile.ZipFile(path)
        everything = b"".join(gzip.decompress(d) if d[:2] == b"\x1f\x8b" else d for d in map(archive.read, archive.namelist()))
        assert (b"git.q.zz" in everything) == (b"\3git\1q" in everything) == kept


def test_names_of_missing_files_stay_at_home(tmp_path: Path) -> None:
    given = replace(from_folder(str(FOLDER / "healthy")), missing=("keys of alice.txt",), reasons=("alice broke it",), complete=False)
    bundle(given, found(given), str(tmp_path / "b.zip"))
    archive = zipfile.ZipFile(tmp_path / "b.zip")
    assert all(b"alice" not in archive.read(name) for name in archive.namelist())


def test_it_is_never_written_over_and_never_half(tmp_path: Path) -> None:
    given = from_folder(str(FOLDER / "healthy"))
    document = found(given)
    (tmp_path / "b.zip").write_text("mine")
    with pytest.raises(NetlensError, match="exists"):
        bundle(given, document, str(tmp_path / "b.zip"))
    assert (tmp_path / "b.zip").read_text() == "mine"
    gone = replace(given, captures={"vm": (str(tmp_path / "gone.pcap"),)})
    with pytest.raises(NetlensError):
        bundle(gone, document, str(tmp_path / "c.zip"))
    with pytest.raises(NetlensError, match="standard input"):
        bundle(replace(given, captures={None: ("-",)}), document, str(tmp_path / "c.zip"))
    assert [p.name for p in tmp_path.iterdir()] == ["b.zip"]


def test_names_of_a_stranger_are_text_in_the_letter() -> None:
    about = _about(["report.json", "vm.pcap"], ["api\x1b[2J.z.ai\nfrom: me", "\u202eai.z"], 1, "capture\x1b[31m.pcap")
    assert about.replace("\n", "").isprintable()
    assert "api\\x1b[2J.z.ai\\x0afrom: me, \\u202eai.z" in about
