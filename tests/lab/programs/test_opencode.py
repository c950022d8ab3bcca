"""The real opencode as a program of the laboratory: what it is told, and what is said where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlens.lab.programs import opencode
from netlens.lab.programs.opencode import Behaviour
from netlens.lab.topology import LabError


def test_its_provider_is_the_stand_in_and_titles_can_be_off() -> None:
    values = opencode.configuration(Behaviour(side="vm", key="vm-key", base_url="http://192.168.64.1:8900/api"))
    options = values["provider"][opencode.PROVIDER]["options"]
    assert options == {"baseURL": "http://192.168.64.1:8900/api", "apiKey": "vm-key"}
    assert "agent" not in values
    assert opencode.configuration(Behaviour(side="vm", title=False))["agent"] == {"title": {"disable": True}}


def test_where_it_is_missing_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETLENS_LAB_OPENCODE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert opencode.binary() is None
    with pytest.raises(LabError, match="netlens lab install opencode"):
        opencode.start(None, "vm", [])  # type: ignore[arg-type]
    assert str(opencode.folder()).startswith(str(tmp_path))


def test_npm_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network' >&2; exit 1\n", encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LabError, match=r"npm could not install opencode-ai@.*: npm error network"):
        opencode.install()
