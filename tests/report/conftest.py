"""Analyses of bundled recordings, made once a run, and Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import netlens
from tests.conftest import IN_CI
from tests.report import browser


@pytest.fixture(scope="session")
def analysis(captures: Path) -> Callable[[str], Any]:
    """``analysis(name)``: of a bundled recording."""
    return cache(lambda name: netlens.analyze(captures / name))


@pytest.fixture(scope="session")
def chromium() -> Iterator[browser.Browser]:
    """A running Chromium; without the program tests are skipped, or fail where CI=true."""
    program = browser.find()
    if program is None:
        message = "Chromium is not installed (opens the report); `make system` installs it or says how"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    with browser.Browser(program) as running:
        yield running
