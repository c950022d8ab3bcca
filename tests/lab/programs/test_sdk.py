"""Programs that use an SDK: what their tables may hold, and what is said where the SDK is not installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from netlens.lab.programs import sdk
from netlens.lab.topology import LabError


def test_a_table_is_checked() -> None:
    assert sdk.Behaviour.of({"side": "vm", "package": "anthropic", "wait_s": [1, 2]}).wait_s == (1, 2)
    for wrong in ({"side": "moon"}, {"side": "vm", "package": "gopher"}, {"side": "vm", "speed": 3}):
        with pytest.raises(ValueError, match=r"side vm or host|has no speed"):
            sdk.check(wrong)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "PACKAGES", ("no_such_sdk",))
    monkeypatch.delenv(sdk.FOLDER, raising=False)
    context: Any = SimpleNamespace(scenario=SimpleNamespace(name="sdk-x"))
    with pytest.raises(
        LabError, match=r"sdk-x runs the Python package no_such_sdk: pip install --target FOLDER no_such_sdk, then set NETLENS_LAB_PACKAGES"
    ):
        sdk.start(context, "vm", [{"side": "vm", "package": "no_such_sdk"}])
