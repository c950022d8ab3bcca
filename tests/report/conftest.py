"""Analyses of bundled recordings, made once a run, and Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import netlens
from netlens.report import html
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


@pytest.fixture(scope="session")
def page_text(captures: Path) -> Callable[[str], str]:
    """``page_text(name)``: of a bundled recording, named as from where pytest runs: what a page says, and its height, is the same wherever the project lies."""
    named = cache(lambda name: netlens.analyze(os.path.relpath(captures / name)))
    return lambda name: html.render(named(name), named(name).to_dict())


@pytest.fixture
def report(page_text: Callable[[str], str], tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / f"{name}.html"
        path.write_text(page_text(name), encoding="utf-8")
        return path

    return make
