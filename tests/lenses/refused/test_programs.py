"""What programs other than opencode are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netlens import logs
from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import BY_HAND, Case, Context, cap, no_title, other_key, other_provider, queue
from netlens.parsers import errorlog
from tests.lenses.refused.fixes.test_each import CONTEXT, Rule, variants
from tests.lenses.refused.fixes.test_each import sized as sized_case

WHERE = "127.0.0.1:8900"
PYTHON = "OpenAI or Anthropic SDK for Python"
TWO = [(0, 0, 2, 0), (0, 0.5, 3, 0)]


@pytest.mark.parametrize(
    ("name", "api", "command"),
    [
        ("Claude Code", "api.anthropic.com", "ANTHROPIC_BASE_URL=http://127.0.0.1:8900 claude"),
        ("Claude Code", "api.z.ai", "ANTHROPIC_BASE_URL=http://127.0.0.1:8900/api/anthropic claude"),
        ("Codex", "api.openai.com", "codex -c openai_base_url=http://127.0.0.1:8900/v1"),
        ("aider", "api.deepseek.com", "OPENAI_API_BASE=http://127.0.0.1:8900 aider"),
        (PYTHON, "api.z.ai", "OPENAI_BASE_URL=http://127.0.0.1:8900/api/coding/paas/v4 PROGRAM"),
        (PYTHON, "api.anthropic.com", "ANTHROPIC_BASE_URL=http://127.0.0.1:8900 PROGRAM"),
        (PYTHON, "api.example", "OPENAI_BASE_URL=http://127.0.0.1:8900/PATH PROGRAM"),
        ("Cline or Roo Code", "api.z.ai", None),
        ("any", "api.z.ai", None),
    ],
)
def test_programs_are_led_to_a_proxy(name: str, api: str, command: str | None) -> None:
    found, caveats = programs.led(name, api, WHERE)
    assert found == command
    assert any(WHERE in each for each in caveats) is (command is None)
    assert (programs.PATH_CAVEAT in caveats) is ("PATH" in (command or ""))
    assert (programs.PROGRAM_CAVEAT in caveats) is ("PROGRAM" in (command or ""))


def test_every_name_is_that_of_a_form_of_logs() -> None:
    assert set(programs._BY_NAME) <= {form.PROGRAM for form in logs.formats()}


def told(context: Context) -> list:
    """What a program is told to do, of each fix that names commands."""
    found = variants(queue, TWO, Rule("requests", "side", 1), context) + variants(cap, TWO, context=context)
    found += variants(other_provider, TWO, context=context) + variants(other_key, TWO, None, context)
    found += no_title.variants(Case(*titles(), context))
    assert len(found) == 5
    return found


@pytest.mark.parametrize("name", sorted({form.PROGRAM for form in logs.formats()} - {"opencode"}))
def test_no_other_program_is_told_to_start_opencode(name: str) -> None:
    for variant in told(replace(CONTEXT, program=name, quota=True)):
        assert "opencode" not in f"{variant.command} {variant.program} {variant.caveats}"
        if variant.id.startswith("cap-"):
            assert variant.command or any(text.startswith(BY_HAND) for text in variant.caveats)  # what to do is always said


def test_where_no_log_tells_the_program_nothing_is_pasted_for_opencode() -> None:
    """What it would be told is said beside what to do by hand."""
    for variant in told(replace(CONTEXT, program=None, quota=True)):
        assert "opencode" not in f"{variant.command} {variant.program}"
        assert any("(opencode: " in text for text in variant.caveats)


def titles() -> tuple:
    case = sized_case(
        [(0, 0, 1, 0), (0, 0.02, 1, 0), (0, 9, 10, 0), (0, 9.02, 10, 0), (0, 20, 21, 0), (0, 20.02, 21, 0)], *[2900, 31000] * 3
    )
    return case.situation, case.rule


def test_whose_log_it_is(tmp_path: Path) -> None:
    def program(text: str) -> str | None:
        (tmp_path / "log").write_text(text, encoding="utf-8")
        return errorlog.read(tmp_path / "log").program

    own = "2026-01-25T16:33:41.000Z ERROR 429 High concurrency usage of this API\n"
    classic = 'ERROR 2026-01-25T16:33:41 +58ms service=llm error={"error":{"statusCode":429,"message":"High concurrency usage"}}\n'
    assert program("2026-01-25T16:33:41.000Z INFO all is well\n") is None
    assert program(own) == "any"
    assert program(classic) == "opencode"
    assert program(own + own + classic) == "opencode"
    (tmp_path / "own").write_text(own, encoding="utf-8")
    assert errorlog.joined([errorlog.read(tmp_path / "own"), errorlog.read(tmp_path / "log")]).program == "opencode"
