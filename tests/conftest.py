"""What all tests share: the bundled captures, tshark as a second opinion, golden text files, the property-test profiles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Commands that tests start buffer their output as most people's do; containers often set this, and it hides what is never flushed.
os.environ.pop("PYTHONUNBUFFERED", None)

# No deadlines: the first example of a kernel may compile it, which takes seconds once and says nothing about the code.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A submission is judged by the same examples each time; new ones are for the developer to find.
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))

# Wireshark's own installer for macOS puts its programs on no PATH.
_MORE_PATHS = "/Applications/Wireshark.app/Contents/MacOS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing with them")


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_MORE_PATHS)


def need_program(name: str, why: str) -> str:
    """The path of a program; without it the test is skipped, or fails where CI=true so that no check is lost unseen."""
    if found := _program(name):
        return found
    message = f"{name} is not installed ({why}); `make system` installs it or says how"
    if IN_CI:
        pytest.fail(message)
    pytest.skip(message)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tshark"):
        need_program("tshark", "the second opinion of this test")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of bundled recordings, one folder each."""
    return ROOT / "captures"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of small captures made for one test each, with their generators beside them."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def tshark() -> str:
    """The path of tshark, for tests that ask for a second opinion."""
    return need_program("tshark", "the second opinion of this test")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: compare text with ``golden/<name>`` beside the test's module; ``--update-golden`` writes the file."""
    folder = request.path.parent / "golden"
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str) -> None:
        file = folder / name
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{file.relative_to(ROOT)} does not exist; after a look at what it would hold: pytest --update-golden"
        assert text == file.read_text(encoding="utf-8")

    return check
