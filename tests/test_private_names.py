"""The check for private names reports what reaches into another module, and nothing else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

OTHER = "class Base:\n    def _kept(self): ...\n\n\ndef _helper(): ...\n"


@pytest.fixture(scope="module")
def tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("private_names", root / "tools" / "private_names.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found(tool: ModuleType, tmp_path: Path) -> Callable[[str], list[str]]:
    """What is reported of a module ``netlens/here/module.py`` of that text."""
    for name, text in {"other.py": OTHER, "here/_shared.py": "x = 1\n", "far/deep/_shared.py": "x = 1\n"}.items():
        path = tmp_path / "netlens" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def uses(text: str) -> list[str]:
        path = tmp_path / "netlens" / "here" / "module.py"
        path.write_text(text)
        return [what for _, what in tool.uses(path, tmp_path)]

    return uses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from netlens.other import _helper\n", "netlens.other._helper"),
        ("from netlens import other\nother._helper()\n", "other._helper"),
        ("def f(thing):\n    return thing._rows\n", "thing._rows"),
        ("def f(thing):\n    thing._rows = 1\n", "thing._rows"),
        ("from netlens.far.deep._shared import x\n", "netlens.far.deep._shared"),
        ("from netlens.far.deep import _shared\n", "netlens.far.deep._shared"),
        ("from netlens.other import Base\nclass A(Base):\n    def _kept(self): ...\n", "_kept, which overrides that of Base"),
    ],
)
def test_another_modules_private_names_are_reported(found: Callable[[str], list[str]], text: str, said: str) -> None:
    assert found(text) == [said]


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def __init__(self): self._x = 1\n    def same(self, other): return self._x == other._x\n",
        "from netlens.here._shared import x\nfrom netlens.here import _shared\n",
        "import os\nos._exit(0)\n",
        "from netlens.other import Base\nclass A(Base):\n    def _more(self): super()._kept()\n",
        "_ = 1\n__all__ = []\n",
    ],
)
def test_what_may_be_used(found: Callable[[str], list[str]], text: str) -> None:
    assert found(text) == []
