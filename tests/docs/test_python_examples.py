"""Python examples of README and of the page on hypotheses."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import docs_examples
import pytest

import netlens
from netlens import registry
from netlens.lenses.refused import causes

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "captures"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs_examples.sandbox(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = blocks("README.md")
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize(("recording", "verdict"), [("fan-out", "supported"), ("zombie-sshuttle", "refuted"), ("healthy", "refuted")])
def test_the_hypothesis_that_the_page_writes_is_one(recording: str, verdict: str) -> None:
    module = ModuleType("netlens.lenses.refused.causes.beside")
    exec(compile("".join(blocks("docs/how-to/new-hypothesis.md")), "new-hypothesis.md", "exec"), module.__dict__)
    registry.check(module, causes.Cause, causes.SECTIONS)
    weighing = netlens.analyze(CAPTURES / recording).weighed.weighing
    found = module.judge(weighing)
    assert (module.ID, module.LETTER, found.verdict) == ("beside", "H", verdict)
    assert found.evidence[0].frames
