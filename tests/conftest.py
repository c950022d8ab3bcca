"""What all tests share: the bundled captures, tshark as a second opinion, golden text files, how many examples properties get, the order."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Commands that tests start buffer their output as most people's do; containers often set this, and it hides what is never flushed.
os.environ.pop("PYTHONUNBUFFERED", None)
os.environ["NETLENS_DEBUG"] = "1"  # a lens that fails ends the program
os.environ.setdefault("NETLENS_KERNELS", "now")  # after a change of a kernel, tests are of what it compiles to

# No deadlines: the first example of a kernel may compile it, which takes seconds once and says nothing about the code.
# derandomize: hypothesis itself sets it where CI=true, and would try the same examples for ever.
settings.register_profile("netlens", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, derandomize=False)
settings.load_profile("netlens")

#: Examples of each property in CI, as a multiple of what the property asks for. They are new ones each time; `make properties` takes thousands.
CI_EXAMPLES = "x2"

# Wireshark's own installer for macOS puts its programs on no PATH.
_MORE_PATHS = "/Applications/Wireshark.app/Contents/MacOS"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing with them")
    parser.addoption(
        "--examples",
        metavar="N",
        type=_examples,
        default=_examples(CI_EXAMPLES if IN_CI else "x1"),
        help=f"examples of each property: a number, or xN for N times as many as it asks for (x1; {CI_EXAMPLES} where CI=true)",
    )
    parser.addoption(
        "--shuffle",
        metavar="SEED",
        type=lambda text: int(text) or random.SystemRandom().randrange(1, 1 << 32),
        help="run modules, and the tests in each of them, in the random order of SEED (0: of a new one, which is printed)",
    )


def _examples(text: str) -> tuple[int, bool]:
    """A number, and whether it is a multiple."""
    if not re.fullmatch(r"x?[1-9][0-9]*", text):
        raise ValueError(text)  # pytest's parser says which option is wrong
    return int(text.removeprefix("x")), text.startswith("x")


@pytest.hookimpl(tryfirst=True)  # before hypothesis looks at its option
def pytest_configure(config: pytest.Config) -> None:
    if seeds := getattr(config, "workerinput", {}).get("seeds"):
        config.option.hypothesis_seed, config.option.shuffle = seeds
    elif IN_CI and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(1 << 32))  # new examples for each submission
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `make test &` of a script: the programs that tests interrupt would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist's workers parse the command line themselves, and would each take seeds of their own."""
    node.workerinput["seeds"] = (node.config.option.hypothesis_seed, node.config.option.shuffle)


def pytest_report_header(config: pytest.Config) -> list[str]:
    number, times = config.option.examples
    seed = config.option.hypothesis_seed
    lines = [f"examples of a property: {'x' if times else ''}{number}" + (f"; the same again: --hypothesis-seed={seed}" if seed else "")]
    if config.option.shuffle is not None:
        lines.append(f"in random order; the same again: --shuffle={config.option.shuffle}")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, times = config.option.examples
    for function in {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}:
        if is_hypothesis_test(function):
            # Where hypothesis' own plugin reads it; there is no public way to change a decorator that has been applied.
            asked = function._hypothesis_internal_use_settings
            function._hypothesis_internal_use_settings = settings(asked, max_examples=asked.max_examples * number if times else number)
    if config.option.shuffle is not None:
        # Tests of a module stay together: what a module sets up for all of them is made once, as always.
        place = random.Random(config.option.shuffle)
        modules = sorted({item.path for item in items})
        order = dict(zip(modules, place.sample(range(len(modules)), len(modules)), strict=True))
        items.sort(key=lambda item: (order[item.path], place.random()))


def pytest_collection_finish() -> None:
    """Where frames leave their destination open, scapy asks the network for it (ARP, two seconds each), and takes broadcast if that fails: it does."""
    if scapy := sys.modules.get("scapy.config"):
        scapy.conf.L2socket = _no_network


def _no_network(*_: object, **__: object) -> None:
    raise OSError("tests send nothing into the network")


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


@pytest.fixture(autouse=True)
def pipes_break_as_before() -> Iterator[None]:
    """A command that ran in this process left SIGPIPE to end it, silently, when a later test's reader goes away."""
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)
